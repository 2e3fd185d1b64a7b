"""A case report's draft in the order of the CARE checklist, filled from what was saved.

What the record does not state is left to the clinician and marked; nothing is invented.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from miliary import __version__
from miliary.model.study import Picture, StudyResult
from miliary.report.answer import select, sort_editions, write_answer
from miliary.report.case_panels import CasePanels
from miliary.report.catalog import Catalog, load_catalog
from miliary.report.page import describe_methods
from miliary.report.reading import JsonObject, find, items, number, spell, text, words
from miliary.report.scan_panels import caption_radiograph
from miliary.report.sources import Sources

_TAGS = re.compile(r"<sup.*?</sup>|<[^>]+>")
_MAX_FIGURES = 12


@dataclass(frozen=True)
class Table:
    """A table with its heading row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Illustration:
    """A numbered picture with its caption."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class Section:
    """One heading of CARE: paragraphs, gaps for the clinician, tables and pictures."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Illustration, ...] = ()


@dataclass(frozen=True)
class Draft:
    """The whole draft."""

    title: str
    about: str
    language: str
    sections: tuple[Section, ...] = field(default=())


def write_draft(study: StudyResult, *, language: str = "en") -> Draft:
    """Fill the checklist's headings from a study.

    Parameters
    ----------
    study : StudyResult
    language : str
        Of headings and gaps; statements stay as they were saved.
    """
    writer = _Writer(study, load_catalog(language))
    return Draft(
        title=writer.t("draft.title"),
        about=writer.t("draft.about", version=__version__),
        language=language,
        sections=tuple(writer.sections()),
    )


class _Writer:
    def __init__(self, study: StudyResult, catalog: Catalog) -> None:
        self.study, self.t = study, catalog
        self.panels = CasePanels(study, catalog)
        self.record = self.panels.record
        self.answer = {line.name: line for line in write_answer(study, catalog, Sources())}

    def sections(self) -> Iterator[Section]:
        """Every heading in CARE's order."""
        gap = self.t
        yield Section(
            gap("draft.h_title"),
            tuple(filter(None, (text(self.record, "title"),))),
            (gap("draft.gap_title"),),
        )
        yield Section(gap("draft.h_key_words"), gaps=(gap("draft.gap_key_words"),))
        yield Section(
            gap("draft.h_abstract"), self._answers(), (gap("draft.gap_abstract"), gap("draft.gap_lesson"))
        )
        yield Section(gap("draft.h_introduction"), self._neighbors(), (gap("draft.gap_introduction"),))
        yield self._patient()
        yield Section(gap("draft.h_findings"), self._said("imaging"), (gap("draft.gap_examination"),))
        yield self._timeline()
        yield self._diagnosis()
        yield self._therapy()
        yield self._outcome()
        yield Section(
            gap("draft.h_discussion"),
            tuple(self._statements(select(self.study.case, "literature."))),
            (gap("draft.gap_discussion"), gap("draft.gap_limits")),
        )
        yield Section(gap("draft.h_perspective"), gaps=(gap("draft.gap_perspective"),))
        yield self._consent()
        yield Section(gap("draft.h_methods"), tuple(describe_methods(self.study, self.panels, self.t)))
        yield self._figures()
        yield Section(gap("draft.h_references"), tuple(self._references()))

    def _answers(self, *names: str) -> tuple[str, ...]:
        """One paragraph for each line and origin: what was simulated never stands among published facts."""
        lines = [line for name, line in self.answer.items() if not names or name in names]
        said = []
        for line in lines:
            for origin in dict.fromkeys(s.origin for s in line.sentences):
                parts = [_plain(s.said) for s in line.sentences if s.origin == origin]
                said.append(f"{line.title}: {' '.join(parts)} [{self.t.word(origin)}]")
        return tuple(said)

    def _statements(self, assessments: Iterable[JsonObject]) -> Iterator[str]:
        for assessment in assessments:
            if text(assessment, "verdict") == "met" and text(assessment, "severity") == "info":
                cited = " ".join(f"[{name}]" for name in words(assessment, "citations")[:3])
                yield f"{text(assessment, 'statement')} {cited}".strip()

    def _neighbors(self) -> tuple[str, ...]:
        return tuple(self._statements(select(self.study.case, "differential.frequency")))

    def _said(self, *kinds: str) -> tuple[str, ...]:
        """Events of some kinds, one sentence each."""
        found = []
        for event in items(self.record, "events"):
            if text(event, "kind") in kinds:
                detail = text(event, "detail")
                when = self._when(event)
                parts = [spell(text(event, "label")) + (f": {detail}" if detail else ""), f"({when})"]
                found.append(" ".join(parts) + f" [{self.t.word(text(event, 'origin'))}].")
        return tuple(found)

    def _when(self, event: JsonObject) -> str:
        day = number(event, "day")
        if day is not None:
            return self.t("timeline.day", n=f"{day:g}")
        return text(event, "when") or self.t("draft.not_reported")

    def _patient(self) -> Section:
        patient = find(self.record, "patient")
        facts = []
        for name in ("age_years", "sex", "region", "ancestry", "smoking", "pack_years", "ecog"):
            value = find(patient, name)
            shown = self.t("draft.not_reported") if value is None else self._shown(value)
            facts.append((self.t(f"draft.p_{name}"), shown))
        stated = [
            (self.t.word(name), self.t.word(str(presence)))
            for part in ("symptoms", "history")
            for name, presence in (find(self.record, part) or {}).items()
        ]
        table = Table((self.t("table.what"), self.t("table.value")), tuple(facts + stated))
        gaps = (self.t("draft.gap_history"), self.t("draft.gap_family"))
        return Section(self.t("draft.h_patient"), gaps=gaps, tables=(table,))

    def _shown(self, value: object) -> str:
        return f"{value:g}" if isinstance(value, int | float) else self.t.word(str(value))

    def _timeline(self) -> Section:
        rows = tuple(
            (
                self._when(event),
                self.t.texts.get(f"timeline.{text(event, 'kind')}", text(event, "kind")),
                spell(text(event, "label")),
                text(event, "detail"),
            )
            for event in items(self.record, "events")
        )
        header = tuple(self.t(f"table.{name}") for name in ("when", "kind", "what", "detail"))
        zero = text(self.record, "day_zero")
        paragraphs = (f"{self.t('timeline.day_zero')} {zero}",) if zero else ()
        has_gap = any(number(event, "day") is None for event in items(self.record, "events")) or not rows
        gaps = (self.t("draft.gap_dates"),) if has_gap else ()
        return Section(self.t("draft.h_timeline"), paragraphs, gaps, (Table(header, rows),) if rows else ())

    def _diagnosis(self) -> Section:
        labs = tuple(
            (
                spell(text(lab, "analyte")),
                self._lab_value(lab),
                self._lab_range(lab),
                self._when(lab),
            )
            for lab in items(self.record, "labs")
        )
        header = tuple(self.t(f"table.{name}") for name in ("analyte", "value", "range", "when"))
        ranked = [f"{row['place']}. {row['name']}" for row in self.panels.differential()[:3]]
        paragraphs = (
            *self._said("pathology", "molecular", "microbiology"),
            *self._answers("pattern", "stage"),
            *((f"{self.t('section.differential')}: {'; '.join(ranked)}.",) if ranked else ()),
        )
        gaps = (self.t("draft.gap_challenges"), self.t("draft.gap_reasoning"))
        return Section(self.t("draft.h_diagnosis"), paragraphs, gaps, (Table(header, labs),) if labs else ())

    def _lab_value(self, lab: JsonObject) -> str:
        value = number(lab, "value")
        if value is None:
            return self.t.word(text(lab, "change")) if text(lab, "change") else self.t("draft.not_reported")
        return f"{text(lab, 'comparator')}{value:g} {text(lab, 'unit')}".strip()

    def _lab_range(self, lab: JsonObject) -> str:
        low, high = number(lab, "low"), number(lab, "high")
        if low is None and high is None:
            return self.t("draft.not_reported")
        ends = ["" if end is None else f"{end:g}" for end in (low, high)]
        return f"{ends[0]}\u2013{ends[1]} ({text(lab, 'range')})"

    def _therapy(self) -> Section:
        queries = [
            a for a in select(self.study.case, "therapy.") if text(a, "severity") in {"error", "query"}
        ]
        gaps = tuple(text(a, "statement") for a in queries) or (self.t("draft.gap_therapy"),)
        return Section(self.t("draft.h_therapy"), self._said("treatment"), gaps)

    def _outcome(self) -> Section:
        paragraphs = (*self._answers("burden", "response"), *self._said("response", "adverse_event"))
        graded = sort_editions(select(self.study.case, "ctcae."))
        rows = [(text(row, "statement"), text(row, "reason") or "\u2013") for row in graded]
        header = (self.t("table.finding"), self.t("table.why"))
        tables = (Table(header, tuple(rows)),) if rows else ()
        return Section(self.t("draft.h_outcome"), paragraphs, (self.t("draft.gap_outcome"),), tables)

    def _consent(self) -> Section:
        ethics = find(self.record, "ethics")
        said = []
        for name in ("consent_written", "committee_approval", "committee_waiver"):
            stated = text(ethics, name)
            if stated and stated != "not_stated":
                said.append(f"{self.t(f'draft.e_{name}')}: {self.t.word(stated)}.")
        gaps = () if text(ethics, "consent_written") == "present" else (self.t("draft.gap_consent"),)
        return Section(self.t("draft.h_consent"), tuple(said), gaps)

    def _figures(self) -> Section:
        chosen = list(self._choose_figures())[:_MAX_FIGURES]
        figures = tuple(
            Illustration(picture, self.t("draft.figure", n=index, caption=caption[:1].upper() + caption[1:]))
            for index, (picture, caption) in enumerate(chosen, start=1)
        )
        gaps = () if figures else (self.t("draft.gap_figures"),)
        return Section(self.t("draft.h_figures"), gaps=gaps, figures=figures)

    def _choose_figures(self) -> Iterator[tuple[Picture, str]]:
        """Radiographs, a picture of every comparison, then slabs, projection and lesions of every scan."""
        for picture in self.study.radiographs:
            yield picture, caption_radiograph(picture.about, self.t) + "."
        for compared in self.study.comparisons:
            for picture in compared.pictures:
                if picture.data and not picture.about:
                    caption = self.t.texts.get(f"figure.{picture.name}", picture.name)
                    yield (
                        picture,
                        self._captioned(
                            caption,
                            f"{self.t.word(compared.baseline)}, {self.t.word(compared.followup)}",
                            compared,
                        ),
                    )
        for scan in self.study.scans:
            for picture in scan.pictures:
                kind = picture.kind if picture.about else picture.name
                wanted = picture.name in {"coronal_2_5mm", "frontal", "pattern", "completeness"}
                if picture.data and (wanted or kind == "lesion"):
                    title = self.t.texts.get(f"figure.{kind}") or text(picture.about, "title") or kind
                    yield picture, self._captioned(title, self.t.word(scan.label), scan)

    def _captioned(self, title: str, label: str, saved: object) -> str:
        origin = text(getattr(saved, "summary", {}), "origin")
        word = f" ({self.t('word.simulated')})"
        # A saved title may say it already.
        return f"{title.replace(word, '')}: {label}{word if origin == 'simulated' else ''}."

    def _references(self) -> Iterator[str]:
        yield from words(self.record, "sources")
        for name, said, doi, basis, _ in self.panels.citations():
            checked = "" if basis == "read" else f" ({self.t.word(basis)})"
            yield f"[{name}] {said}" + (f", doi {doi}" if doi else "") + checked


def _plain(markup: str) -> str:
    """Words of a sentence without its footnotes."""
    from markupsafe import Markup

    return Markup(_TAGS.sub("", str(markup))).unescape()  # noqa: S704  turned into text, never shown as markup


def render_markdown(draft: Draft) -> str:
    """The draft as Markdown; pictures are named, not embedded."""
    lines = [f"# {draft.title}", "", draft.about, ""]
    t = load_catalog(draft.language)
    for section in draft.sections:
        lines += [f"## {section.heading}", ""]
        for paragraph in section.paragraphs:
            lines += [_escape(paragraph), ""]
        for table in section.tables:
            lines += [_row(table.header), _row(tuple("---" for _ in table.header), is_raw=True)]
            lines += [*map(_row, table.rows), ""]
        for gap in section.gaps:
            lines += [f"> {_escape(t('draft.gap', what=gap))}", ""]
        for figure in section.figures:
            lines += [_escape(figure.caption), ""]
    return "\n".join(lines)


def _escape(said: str) -> str:
    return re.sub(r"([\\`*_<>#|])", r"\\\1", said)


def _row(cells: Iterable[str], *, is_raw: bool = False) -> str:
    return "| " + " | ".join(c if is_raw else _escape(c).replace("\n", " ") for c in cells) + " |"


def render_docx(draft: Draft) -> bytes:
    """The draft as a Word document; gaps are highlighted, pictures embedded with their captions."""
    from docx import Document
    from docx.enum.text import WD_COLOR_INDEX
    from docx.shared import Cm

    t = load_catalog(draft.language)
    document = Document()
    document.core_properties.author = ""
    document.core_properties.title = draft.title
    document.core_properties.language = draft.language
    document.add_heading(draft.title, level=0)
    document.add_paragraph(draft.about)
    for section in draft.sections:
        document.add_heading(section.heading, level=1)
        for paragraph in section.paragraphs:
            document.add_paragraph(_printable(paragraph))
        for table in section.tables:
            _add_table(document, table)
        for gap in section.gaps:
            run = document.add_paragraph().add_run(_printable(t("draft.gap", what=gap)))
            run.font.highlight_color = WD_COLOR_INDEX.YELLOW
        for figure in section.figures:
            # A picture that no reader of pictures knows is named all the same.
            with contextlib.suppress(Exception):
                document.add_picture(io.BytesIO(figure.picture.data), width=Cm(14))
            document.add_paragraph(_printable(figure.caption), style="Caption")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _add_table(document: object, table: Table) -> None:
    add = getattr(document, "add_table")  # noqa: B009  python-docx publishes no types for it
    made = add(rows=1, cols=len(table.header))
    made.style = "Table Grid"
    for cell, said in zip(made.rows[0].cells, table.header, strict=True):
        cell.text = _printable(said)
    for row in table.rows:
        for cell, said in zip(made.add_row().cells, row, strict=True):
            cell.text = _printable(said)


def _printable(said: str) -> str:
    """Without the control characters that XML cannot hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "", said)
