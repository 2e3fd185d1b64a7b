"""The answer in five lines: burden, pattern and definition, stage, driver and therapy, response.

Every sentence repeats what was saved and says where; nothing is weighed here. Sentences of different origin
are kept apart, so that simulated facts are never joined to published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.report.assessments import group_by_severity, select_assessments, select_queries, sort_by_edition
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import find_measured, locate_member, name_pair
from miliary.report.reading import JsonObject, find, items, number, pair, text, words
from miliary.report.sections.section import Section
from miliary.report.sources import Sources, join

_POSITIVE = "positive"
_OPEN_GENES = ("not_stated", "not_tested", "failed", "negative_method_insufficient")


@dataclass(frozen=True)
class Sentence:
    """One statement.

    Parameters
    ----------
    statement : Markup
        With a footnote behind each number.
    origin : str
        Where its facts come from: published, recorded, measured, simulated or corrected.
    """

    statement: Markup
    origin: str


@dataclass(frozen=True)
class AnswerLine:
    """One of the five lines.

    Parameters
    ----------
    name : str
        burden, pattern, stage, driver or response.
    title : str
    sentences : tuple of Sentence
        Empty where nothing was saved.
    missing : str
        Why there is no sentence, shown where there is none.
    """

    name: str
    title: str
    sentences: tuple[Sentence, ...]
    missing: str


@dataclass(frozen=True)
class OpenCount:
    """How many errors, queries or notes the case holds."""

    severity: str
    n: int


@dataclass(frozen=True)
class GateVerdict:
    """Whether the two scans of a comparison may be compared."""

    title: str
    verdict: str


@dataclass(frozen=True)
class AnswerContent:
    """The five lines, and below them what is open at a glance."""

    lines: tuple[AnswerLine, ...]
    open_counts: tuple[OpenCount, ...]
    gates: tuple[GateVerdict, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[AnswerContent]:
    """The section that opens the page."""
    content = AnswerContent(
        lines=write_answer(study, catalog, sources),
        open_counts=tuple(
            OpenCount(severity, len(group)) for severity, group in group_by_severity(study.case).items()
        ),
        gates=tuple(
            GateVerdict(
                name_pair(compared, catalog),
                text(compared.summary, "comparability.verdict") or "not_assessable",
            )
            for compared in study.comparisons
            if compared.summary
        ),
    )
    return Section("answer", catalog("section.answer"), "sections/answer.html", content)


def write_answer(study: StudyResult, catalog: Catalog, sources: Sources) -> tuple[AnswerLine, ...]:
    """Write the five lines of a study in their order.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog
    sources : Sources
        Takes the footnotes of the sentences.

    Returns
    -------
    tuple of AnswerLine
    """
    writer = AnswerWriter(study, catalog, sources)
    return tuple(
        AnswerLine(name, catalog(f"answer.{name}"), tuple(sentences), catalog(f"answer.no_{name}"))
        for name, sentences in (
            ("burden", writer.write_burden()),
            ("pattern", writer.write_pattern()),
            ("stage", writer.write_stage()),
            ("driver", writer.write_driver()),
            ("response", writer.write_response()),
        )
    )


class AnswerWriter:
    """Writes the sentences of the five lines from one study."""

    def __init__(self, study: StudyResult, catalog: Catalog, sources: Sources) -> None:
        self.study, self.t, self.sources = study, catalog, sources
        self.case_member = study.case_path

    def write_burden(self) -> Iterator[Sentence]:
        """Number and volume of the nodules, scan by scan; corrected for what the scan misses where known."""
        for scan in find_measured(self.study):
            yield Sentence(self._write_burden_of(scan), text(scan.summary, "origin") or "measured")

    def write_pattern(self) -> Iterator[Sentence]:
        """Pattern and definitions met, scan by scan, then the definitions by the record."""
        for scan in self.study.scans:
            label = text(scan.summary, "pattern.label")
            origin = text(scan.summary, "origin") or "measured"
            name = self.t.word(scan.label)
            if label:
                path = f"pattern.probabilities.{label}"
                has_chance = number(scan.summary, path) is not None
                key = "answer.pattern_chance" if has_chance else "answer.pattern_only"
                chance = self._number(scan, path, ".0%") if has_chance else ""
                yield Sentence(self._say(key, scan=name, pattern=self.t.word(label), chance=chance), origin)
            definitions = items(scan.summary, "definitions")
            if definitions:
                verdicts = [(text(d, "verdict"), text(d, "title") or text(d, "id")) for d in definitions]
                note = self.sources.footnote(locate_member(scan), "definitions")
                yield Sentence(self._tally_definitions(name, verdicts, note), origin)
        yield from self._write_case_definitions()

    def write_stage(self) -> Iterator[Sentence]:
        """Stage group of each edition, then how many queries the stage as written raised."""
        for group in sort_by_edition(select_assessments(self.study.case, "tnm.group")):
            edition = text(group, "edition")
            parts = [
                str(find(a, "value"))
                for letter in ("t", "n", "m")
                for a in select_assessments(self.study.case, f"tnm.{letter}")
                if text(a, "rule_id") == f"tnm.{letter}"
                and text(a, "edition") == edition
                and find(a, "value")
            ]
            value = find(group, "value") or " / ".join(words(group, "values"))
            if value:
                sentence = self._say(
                    "answer.stage_group",
                    group=value,
                    edition=edition.replace("tnm", "TNM"),
                    parts=" ".join(parts),
                    note=self.sources.footnote(self.case_member, "assessments: tnm"),
                )
                yield Sentence(sentence, text(group, "origin"))
        queries = select_queries(self.study.case, "tnm.asserted")
        if queries:
            yield Sentence(self._say("answer.stage_queries", n=len(queries)), text(queries[0], "origin"))

    def write_driver(self) -> Iterator[Sentence]:
        """Positive genes, genes without a usable result, drugs, and queries about the therapy."""
        genes = select_assessments(self.study.case, "drivers.gene.")
        note = self.sources.footnote(self.case_member, "assessments: drivers") if genes else ""
        for gene in genes:
            if find(gene, "value") == _POSITIVE:
                detail = ", ".join(words(gene, "values"))
                sentence = self._say(
                    "answer.positive",
                    gene=_name_gene(gene),
                    detail=f" ({detail})" if detail else "",
                    note=note,
                )
                yield Sentence(sentence, text(gene, "origin"))
        unknown = [_name_gene(gene) for gene in genes if find(gene, "value") in _OPEN_GENES]
        if unknown:
            sentence = self._say("answer.open_genes", genes=", ".join(unknown), note=note)
            yield Sentence(sentence, text(genes[0], "origin"))
        for drug in items(self.study.case, "record.events"):
            if text(drug, "kind") == "treatment":
                dose = text(drug, "detail")
                sentence = self._say(
                    "answer.drug", drug=text(drug, "label"), dose=f", {dose}" if dose else ""
                )
                yield Sentence(sentence, text(drug, "origin"))
        queries = select_queries(self.study.case, "therapy.")
        if queries:
            yield Sentence(self._say("answer.therapy_queries", n=len(queries)), text(queries[0], "origin"))

    def write_response(self) -> Iterator[Sentence]:
        """Ratio of each comparison, the nadir, response by diameter, and response as recorded in words."""
        for compared in self.study.comparisons:
            if compared.summary:
                yield from self._write_comparison(compared)
        yield from self._write_nadir()
        for best in select_assessments(self.study.case, "recist."):
            if text(best, "rule_id") == "recist.best_response":
                reason = text(best, "reason")
                why = f" {self.t('answer.because', reason=reason)}" if reason else ""
                note = self.sources.footnote(self.case_member, "assessments: recist")
                yield Sentence(join([text(best, "statement"), why, note], ""), text(best, "origin"))
        for event in items(self.study.case, "record.events"):
            if text(event, "kind") == "response":
                yield Sentence(
                    self._say("answer.in_words", words=text(event, "label")), text(event, "origin")
                )

    def _number(self, saved: SavedScan | SavedComparison, path: str, style: str = ",.0f") -> Markup | str:
        value = number(saved.summary, path)
        if value is None:
            return self.t("answer.unknown")
        return self.sources.number(format_number(value, style), locate_member(saved), path)

    def _interval(self, saved: SavedScan | SavedComparison, path: str, style: str = ",.0f") -> str:
        interval = pair(saved.summary, path)
        if interval is None:
            return ""
        low, high = (format_number(v, style) for v in interval)
        return " " + self.t("answer.interval", low=low, high=high)

    def _say(self, key: str, /, **facts: object) -> Markup:
        return Markup(self.t(key)).format(**facts)  # noqa: S704  the catalog is ours; format escapes the facts

    def _write_burden_of(self, scan: SavedScan) -> Markup:
        name = self.t.word(scan.label)
        if number(scan.summary, "corrected.count") is not None:
            return self._say(
                "answer.corrected",
                scan=name,
                count=self._number(scan, "corrected.count"),
                count_ci=self._interval(scan, "corrected.count_ci95"),
                smallest=self._number(scan, "corrected.min_diameter_mm", ".1f"),
                volume=self._number(scan, "corrected.total_volume_mm3"),
                volume_ci=self._interval(scan, "corrected.total_volume_mm3_ci95"),
            )
        return self._say(
            "answer.uncorrected",
            scan=name,
            count=self._number(scan, "nodules.count"),
            volume=self._number(scan, "nodules.total_volume_mm3"),
            error=self._number(scan, "nodules.total_volume_mm3_err"),
        )

    def _tally_definitions(self, name: str, verdicts: Iterable[tuple[str, str]], note: Markup) -> Markup:
        """How many published definitions are met; `verdicts` holds verdict and title of each."""
        found = list(verdicts)
        met = [title.removesuffix(".") for verdict, title in found if verdict == "met"]
        return self._say(
            "answer.definitions",
            scan=name,
            n=len(found),
            met=len(met),
            which=f" ({', '.join(met)})" if met else "",
            not_met=sum(verdict == "not_met" for verdict, _ in found),
            open=sum(verdict == "not_assessable" for verdict, _ in found),
            note=note,
        )

    def _write_case_definitions(self) -> Iterator[Sentence]:
        by_origin: dict[str, list[JsonObject]] = {}
        for assessment in select_assessments(self.study.case, "definition."):
            if text(assessment, "severity") == "info":
                by_origin.setdefault(text(assessment, "origin"), []).append(assessment)
        for origin, group in by_origin.items():
            verdicts = [(text(a, "verdict"), text(a, "statement").partition(":")[0]) for a in group]
            note = self.sources.footnote(self.case_member, "assessments: definition")
            yield Sentence(self._tally_definitions(self.t("answer.record"), verdicts, note), origin)

    def _write_nadir(self) -> Iterator[Sentence]:
        """The last of several follow-ups against the smallest burden so far."""
        series, nadir = self.study.series, text(self.study.series, "nadir")
        points = items(series, "time_points")
        ratio = number(points[-1], "ratio_to_nadir") if points else None
        if not nadir or len(points) < 2 or ratio is None:
            return
        path = f"time_points[{len(points) - 1}].ratio_to_nadir"
        sentence = self._say(
            "answer.nadir",
            nadir=self.t.word(nadir),
            last=self.t.word(text(points[-1], "followup")),
            ratio=self.sources.number(format_number(ratio, ".3g"), self.study.series_path, path),
        )
        yield Sentence(sentence, text(series, "origin") or "measured")

    def _write_comparison(self, compared: SavedComparison) -> Iterator[Sentence]:
        summary = compared.summary
        origin = text(summary, "origin") or "measured"
        yield Sentence(self._write_ratio(compared), origin)
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        response = text(summary, "recist.target_response")
        if response:
            change: Markup | str = ""
            if number(summary, "recist.change_percent") is not None:
                percent = self._number(compared, "recist.change_percent", "+.1f")
                change = self._say("answer.target_change", change=percent)
            sentence = self._say("answer.targets", **names, response=self.t.word(response), change=change)
            yield Sentence(sentence, origin)
        if number(summary, "lesion.baseline_mm") is not None:
            sentence = self._say(
                "answer.lesion",
                before=self._number(compared, "lesion.baseline_mm", ".1f"),
                after=self._number(compared, "lesion.followup_mm", ".1f"),
            )
            yield Sentence(sentence, origin)

    def _write_ratio(self, compared: SavedComparison) -> Markup:
        summary = compared.summary
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        verdict = text(summary, "comparability.verdict")
        category = text(summary, "response.category")
        if number(summary, "response.volume_ratio") is None:
            reasons = words(summary, "comparability.reasons")
            return self._say(
                "answer.no_ratio",
                **names,
                reason=text(summary, "response.volume_ratio_reason") or "; ".join(reasons),
                gate=self.t.word(verdict or "not_assessable"),
            )
        return self._say(
            "answer.ratio",
            **names,
            ratio=self._number(compared, "response.volume_ratio", ".3g"),
            ci=self._interval(compared, "response.volume_ratio_ci95", ".3g"),
            category=self.t.word(category) if category else self.t("answer.unknown"),
            gate=self.t.word(verdict) if verdict else self.t("answer.unknown"),
        )


def _name_gene(assessment: JsonObject) -> str:
    statement = text(assessment, "statement")
    return statement.partition(":")[0] or text(assessment, "rule_id").split(".")[-1].upper()
