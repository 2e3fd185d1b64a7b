"""Writes the draft of a case report from a study.

What the record does not state is left to the clinician and marked; nothing is invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from miliary import __version__
from miliary.model.assessment import Assessment, Severity, Verdict
from miliary.model.saved.case_summary import EthicsSummary, EventSummary, LabSummary, RecordSummary
from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.model.vocabulary import Origin, Presence
from miliary.report.answer_lines import write_answer
from miliary.report.assessments import select_assessments, select_queries, sort_by_edition
from miliary.report.care.draft import Draft, DraftFigure, DraftSection, DraftTable
from miliary.report.catalog import Catalog, load_catalog
from miliary.report.diagnosis_ranking import rank_diagnoses
from miliary.report.formatting import spell
from miliary.report.measures import is_simulated
from miliary.report.paths import follow
from miliary.report.pictures import caption_radiograph, find_entry
from miliary.report.sections.methods import describe_methods
from miliary.report.sections.references import list_citations
from miliary.report.sources import Sources

_TAGS = re.compile(r'\s*<a class="note".*?</a>|<[^>]+>')
_CITED = re.compile(r"\[([a-z][\w.-]*)\]")
_MAX_FIGURES = 12
_MAX_CITATIONS = 3
_MAX_DIAGNOSES = 3
_PATIENT_FACTS = ("age_years", "sex", "region", "ancestry", "smoking", "pack_years", "ecog")
_SCAN_FIGURES = frozenset({"coronal_2_5mm", "frontal", "pattern", "completeness"})


def write_draft(study: StudyResult, *, language: str = "en") -> Draft:
    """Fill the headings of CARE from a study.

    Parameters
    ----------
    study : StudyResult
    language : str
        One of `LANGUAGES`: of headings and gaps; statements stay as they were saved.

    Returns
    -------
    Draft

    Raises
    ------
    ValueError
        For another language.
    """
    catalog = load_catalog(language)
    return Draft(
        title=catalog("draft.title"),
        about=catalog("draft.about", version=__version__),
        language=language,
        sections=tuple(DraftWriter(study, catalog).write_sections()),
    )


class DraftWriter:
    """Writes the sections of a draft from one study."""

    def __init__(self, study: StudyResult, catalog: Catalog) -> None:
        self.study, self.t = _leave_simulated(study), catalog
        self.has_left_out = self.study is not study
        self.record = study.case.record if study.case else RecordSummary()
        self.answer = {line.name: line for line in write_answer(self.study, catalog, Sources())}

    def write_sections(self) -> Iterator[DraftSection]:
        """Every heading in the order of CARE, then methods, figures and the references that were cited."""
        known = self.study.case.citations if self.study.case else {}
        # The sources of the record come first in the list and take the first numbers.
        first = len(self.record.sources) + 1
        numbers: dict[str, int] = {}

        def cite(match: re.Match[str]) -> str:
            name = match[1]
            return f"[{numbers.setdefault(name, first + len(numbers))}]" if name in known else match[0]

        for section in self._write_body():
            paragraphs = tuple(_CITED.sub(cite, paragraph) for paragraph in section.paragraphs)
            yield replace(section, paragraphs=paragraphs)
        yield self._section("references", self._references(numbers))

    def _write_body(self) -> Iterator[DraftSection]:
        title = self.record.title
        yield self._section("title", (title,) if title else (), gaps=("title",))
        yield self._section("key_words", gaps=("key_words",))
        yield self._section("abstract", self._answers(), gaps=("abstract", "lesson"))
        frequency = select_assessments(self.study.case, "differential.frequency")
        yield self._section("introduction", self._statements(frequency), gaps=("introduction",))
        yield self._write_patient()
        yield self._section("findings", self._events("imaging"), gaps=("examination",))
        yield self._write_timeline()
        yield self._write_diagnosis()
        yield self._write_therapy()
        yield self._write_outcome()
        literature = select_assessments(self.study.case, "literature.")
        yield self._section("discussion", self._statements(literature), gaps=("discussion", "limits"))
        yield self._section("perspective", gaps=("perspective",))
        yield self._write_consent()
        left_out = (self.t("draft.left_out"),) if self.has_left_out else ()
        yield self._section("methods", (*describe_methods(self.study, self.t), *left_out))
        yield self._write_figures()

    def _section(
        self,
        name: str,
        paragraphs: Iterable[str] = (),
        *,
        gaps: Iterable[str] = (),
        tables: tuple[DraftTable, ...] = (),
    ) -> DraftSection:
        """A section by the name of its heading; gaps by their names too."""
        return DraftSection(
            self.t(f"draft.h_{name}"),
            tuple(paragraphs),
            tuple(self.t(f"draft.gap_{gap}") for gap in gaps),
            tables,
        )

    def _answers(self, *names: str) -> tuple[str, ...]:
        """Lines of the answer, one paragraph for each line and origin, so that origins are never mixed."""
        paragraphs = []
        for line in self.answer.values():
            if names and line.name not in names:
                continue
            for origin in dict.fromkeys(s.origin for s in line.sentences):
                parts = [_strip_markup(s.statement) for s in line.sentences if s.origin == origin]
                paragraphs.append(f"{line.title}: {' '.join(parts)} [{self.t.word(origin)}]")
        return tuple(paragraphs)

    def _statements(self, assessments: Iterable[Assessment]) -> tuple[str, ...]:
        """Plain statements that hold, with what they cite."""
        statements = []
        for assessment in assessments:
            if assessment.verdict is Verdict.MET and assessment.severity is Severity.INFO:
                cited = " ".join(f"[{name}]" for name in assessment.citations[:_MAX_CITATIONS])
                statements.append(f"{assessment.statement} {cited}".strip())
        return tuple(statements)

    def _events(self, *kinds: str) -> tuple[str, ...]:
        """Events of some kinds, one sentence each."""
        sentences = []
        for event in self.record.events:
            if event.kind in kinds:
                label = spell(event.label)
                what = f"{label}: {event.detail}" if event.detail else label
                origin = self.t.word(event.origin or "")
                when = f" ({self._when(event)})" if event.day is not None or event.when else ""
                sentences.append(f"{what}{when} [{origin}].")
        return tuple(sentences)

    def _when(self, item: EventSummary | LabSummary) -> str:
        if item.day is not None:
            return self.t("timeline.day", n=f"{item.day:g}")
        return item.when or self.t("draft.not_reported")

    def _write_patient(self) -> DraftSection:
        rows = [
            (self.t(f"draft.p_{name}"), self._format_fact(follow(self.record.patient, name)))
            for name in _PATIENT_FACTS
        ]
        rows += [
            (self.t.word(name), self.t.word(presence))
            for part in (self.record.symptoms, self.record.history)
            for name, presence in part.items()
        ]
        table = DraftTable((self.t("table.what"), self.t("table.value")), tuple(rows))
        return self._section("patient", gaps=("history", "family"), tables=(table,))

    def _format_fact(self, value: object) -> str:
        if value in {None, ""}:
            return self.t("draft.not_reported")
        return f"{value:g}" if isinstance(value, int | float) else self.t.word(str(value))

    def _write_timeline(self) -> DraftSection:
        # That a day is missing is said once, as a gap.
        rows = [
            (
                self._when(event) if event.day is not None or event.when else "\u2013",
                self.t.texts.get(f"timeline.{event.kind}", event.kind),
                spell(event.label),
                event.detail,
            )
            for event in self.record.events
        ]
        zero = self.record.day_zero
        has_gap = not rows or any(event.day is None for event in self.record.events)
        return self._section(
            "timeline",
            (f"{self.t('timeline.day_zero')} {zero}",) if zero else (),
            gaps=("dates",) if has_gap else (),
            tables=self._tables(("when", "kind", "what", "detail"), rows),
        )

    def _write_diagnosis(self) -> DraftSection:
        rows = [
            (spell(lab.analyte), self._lab_value(lab), self._lab_range(lab), self._when(lab))
            for lab in self.record.labs
        ]
        diagnoses = rank_diagnoses(self.study, self.t)[:_MAX_DIAGNOSES]
        ranked = "; ".join(f"{row.rank}. {row.name}" for row in diagnoses)
        paragraphs = (
            *self._events("pathology", "molecular", "microbiology"),
            *self._answers("pattern", "stage"),
            *((f"{self.t('section.differential')}: {ranked}.",) if ranked else ()),
        )
        return self._section(
            "diagnosis",
            paragraphs,
            gaps=("challenges", "reasoning"),
            tables=self._tables(("analyte", "value", "range", "when"), rows),
        )

    def _tables(self, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> tuple[DraftTable, ...]:
        """One table by the names of its columns; none where it has no row."""
        if not rows:
            return ()
        return (DraftTable(tuple(self.t(f"table.{name}") for name in header), tuple(rows)),)

    def _lab_value(self, lab: LabSummary) -> str:
        if lab.value is None:
            return self.t.word(lab.change) if lab.change else self.t("draft.not_reported")
        return f"{lab.comparator}{lab.value:g} {lab.unit}".strip()

    def _lab_range(self, lab: LabSummary) -> str:
        if lab.low is None and lab.high is None:
            return self.t("draft.not_reported")
        low, high = (None if end is None else f"{end:g}" for end in (lab.low, lab.high))
        key = "between" if low and high else "from" if low else "up_to"
        return self.t(f"draft.range_{key}", low=low, high=high, range=lab.range)

    def _write_therapy(self) -> DraftSection:
        queries = tuple(a.statement for a in select_queries(self.study.case, "therapy."))
        gaps = queries or (self.t("draft.gap_therapy"),)
        return DraftSection(self.t("draft.h_therapy"), self._events("treatment"), gaps)

    def _write_outcome(self) -> DraftSection:
        graded = sort_by_edition(select_assessments(self.study.case, "ctcae."))
        rows = [(a.statement, a.reason or "\u2013") for a in graded]
        return self._section(
            "outcome",
            (*self._answers("burden", "response"), *self._events("response", "adverse_event")),
            gaps=("outcome",),
            tables=self._tables(("finding", "why"), rows),
        )

    def _write_consent(self) -> DraftSection:
        ethics = self.record.ethics or EthicsSummary()
        stated = (
            ("consent_written", ethics.consent_written),
            ("committee_approval", ethics.committee_approval),
            ("committee_waiver", ethics.committee_waiver),
        )
        paragraphs = [
            f"{self.t(f'draft.e_{name}')}: {self.t.word(presence)}."
            for name, presence in stated
            if presence is not Presence.NOT_STATED
        ]
        has_consent = ethics.consent_written is Presence.PRESENT
        return self._section("consent", paragraphs, gaps=() if has_consent else ("consent",))

    def _write_figures(self) -> DraftSection:
        chosen = list(self._choose_figures())[:_MAX_FIGURES]
        figures = tuple(
            DraftFigure(picture, self.t("draft.figure", n=index, caption=caption[:1].upper() + caption[1:]))
            for index, (picture, caption) in enumerate(chosen, start=1)
        )
        gaps = () if figures else (self.t("draft.gap_figures"),)
        return DraftSection(self.t("draft.h_figures"), gaps=gaps, figures=figures)

    def _choose_figures(self) -> Iterator[tuple[Picture, str]]:
        """Radiographs, a picture of every comparison, then slabs, projection and lesions of every scan."""
        for picture in self.study.radiographs:
            yield picture, caption_radiograph(picture, self.t) + "."
        for compared in self.study.comparisons:
            scans = f"{self.t.word(compared.baseline)}, {self.t.word(compared.followup)}"
            for picture in compared.pictures:
                if picture.data and picture.entry is None:
                    title = self.t.texts.get(f"figure.{picture.name}", picture.name)
                    yield picture, self._caption(title, scans, compared)
        for scan in self.study.scans:
            for picture in scan.pictures:
                entry = find_entry(picture)
                if picture.data and (picture.name in _SCAN_FIGURES or entry.kind == "lesion"):
                    title = self.t.texts.get(f"figure.{entry.kind}") or entry.title or entry.kind
                    yield picture, self._caption(title, self.t.word(scan.label), scan)

    def _caption(self, title: str, scans: str, saved: SavedScan | SavedComparison) -> str:
        simulated = f" ({self.t('word.simulated')})"
        # A saved title may hold the word already.
        return f"{title.replace(simulated, '')}: {scans}{simulated if is_simulated(saved) else ''}."

    def _references(self, numbers: Mapping[str, int]) -> Iterator[str]:
        """The sources of the record, then what the draft cites, in the order of their numbers."""
        for number, source in enumerate(self.record.sources, start=1):
            yield f"[{number}] {source}"
        cited = {one.id: one for one in list_citations(self.study)}
        for name, number in numbers.items():
            one = cited[name]
            basis = "" if one.basis == "read" else f" ({self.t.word(one.basis)})"
            yield f"[{number}] {one.text}" + (f", doi {one.doi}" if one.doi else "") + basis


def _leave_simulated(study: StudyResult) -> StudyResult:
    """A study without its simulated scans where it holds a real case: they say nothing of the patient."""
    if study.case is None or study.case.origin is Origin.SIMULATED:
        return study
    scans = tuple(scan for scan in study.scans if not is_simulated(scan))
    compared = tuple(one for one in study.comparisons if not is_simulated(one))
    if len(scans) == len(study.scans) and len(compared) == len(study.comparisons):
        return study
    series = study.series if compared else None
    return replace(study, scans=scans, comparisons=compared, series=series)


def _strip_markup(markup: str) -> str:
    """Words of a sentence without its footnotes."""
    return Markup(_TAGS.sub("", str(markup))).unescape()  # noqa: S704  turned into text, never shown as markup
