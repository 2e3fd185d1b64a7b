"""The answer in five lines: burden, pattern and definition, stage, driver and therapy, response.

Every sentence repeats what was saved and says where; nothing is weighed here. Sentences of different origin
are kept apart, so that simulated facts are never joined to published ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.assessment import Assessment, Severity
from miliary.model.saved.case_summary import EventSummary
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.saved.scan_summary import CorrectedTotal, ScanSummary
from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.model.vocabulary import Origin, Result
from miliary.report.assessments import group_by_severity, select_assessments, select_queries, sort_by_edition
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    find_common_totals,
    find_compared,
    find_measured,
    locate,
    locate_case,
    locate_series,
    name_pair,
)
from miliary.report.paths import find_reason, follow
from miliary.report.section import Section
from miliary.report.sources import Sources, join

_MIN_TIME_POINTS = 2
_OPEN_RESULTS = ("not_stated", "not_tested", "failed", "negative_method_insufficient")


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
            GateVerdict(name_pair(compared, catalog), summary.comparability.verdict or "not_assessable")
            for compared, summary in find_compared(study)
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

    def write_burden(self) -> Iterator[Sentence]:
        """Number and volume of the nodules, scan by scan; corrected for what the scan misses where known."""
        scans = [pair for pair in find_measured(self.study) if pair[1].corrected.at_least]
        rows = find_common_totals(scans)
        common = {} if rows is None else {scan.label: row for (scan, _), row in zip(scans, rows, strict=True)}
        for scan, summary in find_measured(self.study):
            row = common.get(scan.label)
            said = self._write_burden_of(scan, summary) if row is None else self._write_common(scan, *row)
            yield Sentence(said, summary.origin or Origin.MEASURED)

    def write_pattern(self) -> Iterator[Sentence]:
        """Pattern and definitions met, scan by scan, then the definitions by the record."""
        for scan, summary in find_measured(self.study):
            origin = summary.origin or Origin.MEASURED
            name, label = self.t.word(scan.label), summary.pattern.label
            if label is not None:
                has_chance = summary.pattern.probabilities.get(label) is not None
                key = "answer.pattern_chance" if has_chance else "answer.pattern_only"
                chance = self._number(scan, f"pattern.probabilities.{label}", ".0%") if has_chance else ""
                yield Sentence(self._say(key, scan=name, pattern=self.t.word(label), chance=chance), origin)
            if summary.definitions:
                verdicts = [(one.verdict, one.title) for one in summary.definitions]
                note = self.sources.footnote(locate(scan), "definitions")
                yield Sentence(self._tally_definitions(name, verdicts, note), origin)
        yield from self._write_case_definitions()

    def write_stage(self) -> Iterator[Sentence]:
        """Stage group of each edition, then how many queries the stage as written raised."""
        for group in sort_by_edition(select_assessments(self.study.case, "tnm.group")):
            parts = [
                str(a.value)
                for letter in ("t", "n", "m")
                for a in select_assessments(self.study.case, f"tnm.{letter}")
                if a.rule_id == f"tnm.{letter}" and a.edition == group.edition and a.value
            ]
            value = group.value or " / ".join(group.values)
            if value:
                sentence = self._say(
                    "answer.stage_group",
                    group=value,
                    edition=group.edition.replace("tnm", "TNM"),
                    parts=" ".join(parts),
                    note=self.sources.footnote(locate_case(self.study), "assessments: tnm"),
                )
                yield Sentence(sentence, group.origin)
        queries = select_queries(self.study.case, "tnm.asserted")
        if queries:
            yield Sentence(self._say("answer.stage_queries", n=len(queries)), queries[0].origin)

    def write_driver(self) -> Iterator[Sentence]:
        """Positive genes, genes without a usable result, drugs, and queries about the therapy."""
        genes = select_assessments(self.study.case, "drivers.gene.")
        note = self.sources.footnote(locate_case(self.study), "assessments: drivers") if genes else ""
        for gene in genes:
            if gene.value == Result.POSITIVE:
                detail = ", ".join(gene.values)
                sentence = self._say(
                    "answer.positive",
                    gene=_name_gene(gene),
                    detail=f" ({detail})" if detail else "",
                    note=note,
                )
                yield Sentence(sentence, gene.origin)
        unknown = [_name_gene(gene) for gene in genes if gene.value in _OPEN_RESULTS]
        if unknown:
            sentence = self._say("answer.open_genes", genes=", ".join(unknown), note=note)
            yield Sentence(sentence, genes[0].origin)
        for drug in self._events("treatment"):
            dose = f", {drug.detail}" if drug.detail else ""
            yield self._quote(self._say("answer.drug", drug=drug.label, dose=dose), drug)
        queries = select_queries(self.study.case, "therapy.")
        if queries:
            yield Sentence(self._say("answer.therapy_queries", n=len(queries)), queries[0].origin)

    def write_response(self) -> Iterator[Sentence]:
        """Ratio of each comparison, the nadir, response by diameter, and response as recorded in words."""
        for compared, summary in find_compared(self.study):
            yield from self._write_comparison(compared, summary)
        yield from self._write_nadir()
        for best in select_assessments(self.study.case, "recist."):
            if best.rule_id == "recist.best_response":
                why = f" {self.t('answer.because', reason=best.reason)}" if best.reason else ""
                note = self.sources.footnote(locate_case(self.study), "assessments: recist")
                yield Sentence(join([best.statement, why, note], ""), best.origin)
        for event in self._events("response"):
            yield self._quote(self._say("answer.in_words", words=event.label), event)

    def _events(self, kind: str) -> list[EventSummary]:
        """Events of one kind in the record; none where there is no case."""
        events = self.study.case.record.events if self.study.case else ()
        return [event for event in events if event.kind == kind]

    def _quote(self, statement: Markup, event: EventSummary) -> Sentence:
        return Sentence(statement, event.origin or "")

    def _number(self, saved: SavedScan | SavedComparison, path: str, style: str = ",.0f") -> Markup | str:
        value = follow(saved.record, path)
        if value is None:
            return self.t("answer.unknown")
        return self.sources.number(format_number(value, style), locate(saved), path)

    def _interval(self, saved: SavedScan | SavedComparison, path: str, style: str = ",.0f") -> str:
        interval = follow(saved.record, path)
        if interval is None:
            return ""
        low, high = (format_number(v, style) for v in interval)
        return " " + self.t("answer.interval", low=low, high=high)

    def _say(self, key: str, /, **facts: object) -> Markup:
        return Markup(self.t(key)).format(**facts)  # noqa: S704  the catalog is ours; format escapes the facts

    def _write_common(self, scan: SavedScan, place: int, row: CorrectedTotal) -> Markup:
        """The burden from a diameter on that all scans of the study state: before and after compare."""
        at = f"corrected.at_least[{place}]"

        def number(value: float, name: str, style: str = ",.0f") -> Markup:
            return self.sources.number(format_number(value, style), locate(scan), f"{at}.{name}")

        def interval(limits: tuple[float, float]) -> str:
            low, high = (format_number(value, ",.0f") for value in limits)
            return " " + self.t("answer.interval", low=low, high=high)

        return self._say(
            "answer.corrected",
            scan=self.t.word(scan.label),
            count=number(row.count, "count"),
            count_ci=interval(row.count_ci95),
            smallest=number(row.diameter_mm, "diameter_mm", ".2f"),
            volume=number(row.total_volume_mm3, "total_volume_mm3"),
            volume_ci=interval(row.total_volume_mm3_ci95),
        )

    def _write_burden_of(self, scan: SavedScan, summary: ScanSummary) -> Markup:
        name = self.t.word(scan.label)
        if summary.validity is not None and summary.doubt:
            return self._say(
                "answer.outside",
                scan=name,
                count=self._number(scan, "nodules.count"),
                reasons="; ".join(summary.validity.reasons),
            )
        if summary.corrected.count is not None:
            return self._say(
                "answer.corrected",
                scan=name,
                count=self._number(scan, "corrected.count"),
                count_ci=self._interval(scan, "corrected.count_ci95"),
                smallest=self._number(scan, "corrected.min_diameter_mm", ".2f"),
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
        by_origin: dict[Origin, list[Assessment]] = {}
        for assessment in select_assessments(self.study.case, "definition."):
            if assessment.severity is Severity.INFO:
                by_origin.setdefault(assessment.origin, []).append(assessment)
        for origin, group in by_origin.items():
            verdicts = [(a.verdict, a.statement.partition(":")[0]) for a in group]
            note = self.sources.footnote(locate_case(self.study), "assessments: definition")
            yield Sentence(self._tally_definitions(self.t("answer.record"), verdicts, note), origin)

    def _write_nadir(self) -> Iterator[Sentence]:
        """The last of several follow-ups against the smallest burden so far."""
        series = self.study.series
        if series is None or not series.nadir or len(series.time_points) < _MIN_TIME_POINTS:
            return
        last = series.time_points[-1]
        if last.ratio_to_nadir is None:
            return
        path = f"time_points[{len(series.time_points) - 1}].ratio_to_nadir"
        sentence = self._say(
            "answer.nadir",
            nadir=self.t.word(series.nadir),
            last=self.t.word(last.followup),
            ratio=self.sources.number(
                format_number(last.ratio_to_nadir, ".3g"), locate_series(self.study), path
            ),
        )
        yield Sentence(sentence, series.origin or Origin.MEASURED)

    def _write_comparison(self, compared: SavedComparison, summary: ComparisonSummary) -> Iterator[Sentence]:
        origin = summary.origin or Origin.MEASURED
        yield Sentence(self._write_ratio(compared, summary), origin)
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        if summary.recist.target_response:
            change: Markup | str = ""
            if summary.recist.change_percent is not None:
                percent = self._number(compared, "recist.change_percent", "+.1f")
                change = self._say("answer.target_change", change=percent)
            response = self.t.word(summary.recist.target_response)
            yield Sentence(self._say("answer.targets", **names, response=response, change=change), origin)
        if summary.no_longer_seen is not None and summary.no_longer_seen.may_remain is not None:
            sentence = self._say(
                "answer.unseen",
                n=self._number(compared, "no_longer_seen.count"),
                remain=self._number(compared, "no_longer_seen.may_remain"),
                ci=self._interval(compared, "no_longer_seen.may_remain_ci95"),
            )
            yield Sentence(sentence, origin)
        if summary.lesion.baseline_mm is not None:
            sentence = self._say(
                "answer.lesion",
                before=self._number(compared, "lesion.baseline_mm", ".1f"),
                after=self._number(compared, "lesion.followup_mm", ".1f"),
            )
            yield Sentence(sentence, origin)

    def _write_ratio(self, compared: SavedComparison, summary: ComparisonSummary) -> Markup:
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        gate, response = summary.comparability, summary.response
        if response.volume_ratio is None:
            reason = find_reason(summary, "response.volume_ratio")
            return self._say(
                "answer.no_ratio",
                **names,
                reason=reason or "; ".join(gate.reasons),
                gate=self.t.word(gate.verdict or "not_assessable"),
            )
        return self._say(
            "answer.ratio",
            **names,
            ratio=self._number(compared, "response.volume_ratio", ".3g"),
            ci=self._interval(compared, "response.volume_ratio_ci95", ".3g"),
            category=self.t.word(response.category) if response.category else self.t("answer.unknown"),
            gate=self.t.word(gate.verdict) if gate.verdict else self.t("answer.unknown"),
        )


def _name_gene(assessment: Assessment) -> str:
    return assessment.statement.partition(":")[0] or assessment.rule_id.split(".")[-1].upper()
