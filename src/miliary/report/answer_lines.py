"""The answer in five lines: burden, pattern and definition, stage, driver and therapy, response.

Every sentence repeats what was saved and says where; nothing is weighed here. Sentences of different origin
are kept apart, so that simulated facts are never joined to published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from markupsafe import Markup

from miliary.model.assessment import Assessment, Severity
from miliary.model.nodules import Fate
from miliary.model.pattern import PatternLabel
from miliary.model.saved.case_summary import EventSummary
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.saved.scan_summary import CorrectedTotal, ScanSummary
from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.model.vocabulary import Origin, Result
from miliary.report.assessments import select_assessments, select_queries, sort_by_edition
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    find_common_totals,
    find_compared,
    find_compared_size,
    find_measured,
    locate,
    locate_case,
    locate_series,
)
from miliary.report.paths import find_reason, follow
from miliary.report.sources import Sources, join

_MIN_TIME_POINTS = 2
# What the rules say of a limit that lies within the interval of what was measured.
_TOO_CLOSE = re.compile(r"too close to tell: ([^()]*)")
# Lines that scans have to fill; the others are the record's.
_OF_SCANS = frozenset({"burden", "pattern", "response"})
RECORD_ORIGINS = frozenset({Origin.PUBLISHED, Origin.RECORDED})
_OPEN_RESULTS = ("not_stated", "not_tested", "failed", "negative_method_insufficient")


@dataclass(frozen=True)
class Sentence:
    """One statement.

    Parameters
    ----------
    statement : Markup
        Every number a link to its source, references in brackets at the end.
    origin : str
        Where its facts come from: published, recorded, measured, simulated or corrected.
    is_kept : bool
        False where another part of the board page says the same.
    """

    statement: Markup
    origin: str
    is_kept: bool = True


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

    @property
    def missing_of_scans(self) -> str:
        """Why the line says nothing, in the column of the scans; empty where a column says something."""
        return self.missing if self.name in _OF_SCANS and not self.sentences else ""

    @property
    def missing_of_record(self) -> str:
        """Why the line says nothing, in the column of the record; empty where a column says something."""
        return "" if self.name in _OF_SCANS or self.sentences else self.missing

    @property
    def of_scans(self) -> tuple[Sentence, ...]:
        """What was measured on scans, whether simulated or not, and corrected by readers."""
        return tuple(s for s in self.sentences if s.origin not in RECORD_ORIGINS)

    @property
    def of_record(self) -> tuple[Sentence, ...]:
        """What was published or recorded, and what rules say of that."""
        return tuple(s for s in self.sentences if s.origin in RECORD_ORIGINS)


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
        rows = find_common_totals(scans, prefer=find_compared_size(self.study))
        common = {} if rows is None else {scan.label: row for (scan, _), row in zip(scans, rows, strict=True)}
        for scan, summary in find_measured(self.study):
            row = common.get(scan.label)
            said = self._write_burden_of(scan, summary) if row is None else self._write_common(scan, *row)
            sentence = self._cite(said, summary.origin or Origin.MEASURED)
            yield replace(sentence, is_kept=bool(summary.doubt))

    def write_pattern(self) -> Iterator[Sentence]:
        """Pattern and definitions met, scan by scan, then the definitions by the record."""
        for scan, summary in find_measured(self.study):
            origin = summary.origin or Origin.MEASURED
            name = self.t.word(scan.label)
            if summary.pattern.label is not None:
                yield self._cite(self._write_pattern_of(scan, summary), origin)
            if summary.definitions:
                verdicts = [(one.verdict, one.title) for one in summary.definitions]
                reasons = [one.reason for one in summary.definitions if one.verdict == "not_assessable"]
                note = self.sources.footnote(locate(scan), "definitions")
                yield Sentence(self._tally_definitions(name, verdicts, note, reasons), origin)
        yield from self._write_case_definitions()

    def _write_pattern_of(self, scan: SavedScan, summary: ScanSummary) -> Markup:
        """The pattern that fits best, and whether random placement itself fits."""
        pattern, label = summary.pattern, summary.pattern.label or ""
        placement: Markup | str = ""
        if pattern.randomness.p_value is not None:
            rejected = "rejected_although" if label == PatternLabel.RANDOM else "rejected"
            key = rejected if pattern.randomness.is_rejected else "not_rejected"
            placement = self._say(f"answer.{key}", p=self._number(scan, "pattern.randomness.p_value", ".2g"))
        has_chance = pattern.probabilities.get(PatternLabel(label)) is not None
        return self._say(
            "answer.pattern_chance" if has_chance else "answer.pattern_only",
            scan=self.t.word(scan.label),
            pattern=self.t.word(label),
            chance=self._number(scan, f"pattern.probabilities.{label}", ".0%") if has_chance else "",
            placement=placement,
        )

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
                yield Sentence(self._write_positive(gene, note), gene.origin)
        unknown = [_name_gene(gene) for gene in genes if gene.value in _OPEN_RESULTS]
        if unknown:
            sentence = self._say("answer.open_genes", genes=", ".join(unknown), note=note)
            yield Sentence(sentence, genes[0].origin, is_kept=False)
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

    def _write_positive(self, gene: Assessment, note: Markup | str) -> Markup:
        """A positive gene with the tests that showed it: a stain shows a protein and no alteration."""
        name = _name_gene(gene)
        tests = self.study.case.record.tests if self.study.case else ()
        shown = [
            (test.label or test.id, result.alteration)
            for test in tests
            for result in test.genes
            if result.gene.upper() == name.upper() and result.result is Result.POSITIVE
        ]
        methods = ", ".join(f"{label} ({alteration})" if alteration else label for label, alteration in shown)
        is_stain_only = bool(select_queries(self.study.case, f"drivers.single_method.{name.lower()}"))
        return self._say(
            "answer.positive",
            gene=name,
            methods=methods or self.t("answer.method_unknown"),
            stain=self.t("answer.stain_only") if is_stain_only else "",
            note=note,
        )

    def _events(self, kind: str) -> list[EventSummary]:
        """Events of one kind in the record; none where there is no case."""
        events = self.study.case.record.events if self.study.case else ()
        return [event for event in events if event.kind == kind]

    def _cite(self, statement: Markup, origin: str) -> Sentence:
        """A sentence with the references of its numbers at its end."""
        return Sentence(statement + self.sources.take_notes(), origin)

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

    def _tally_definitions(
        self,
        name: str,
        verdicts: Iterable[tuple[str, str]],
        note: Markup,
        reasons: Iterable[str] = (),
    ) -> Markup:
        """How many published definitions are met; `verdicts` holds verdict and title of each.

        `reasons` say why some cannot be told: where a limit lies within the interval of a size, that is said,
        because a later scan with a narrower interval may meet a definition that this one leaves open.
        """
        found = list(verdicts)
        met = [title.removesuffix(".") for verdict, title in found if verdict == "met"]
        close = [match[1] for reason in reasons if (match := _TOO_CLOSE.search(reason))]
        why = self.t("answer.too_close", n=len(close), seen=close[0]) if close else ""
        return self._say(
            "answer.definitions",
            scan=name,
            n=len(found),
            met=len(met),
            which=f" ({', '.join(met)})" if met else "",
            not_met=sum(verdict == "not_met" for verdict, _ in found),
            open=sum(verdict == "not_assessable" for verdict, _ in found),
            why=why,
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
        yield self._cite(sentence, series.origin or Origin.MEASURED)

    def _write_comparison(self, compared: SavedComparison, summary: ComparisonSummary) -> Iterator[Sentence]:
        origin = summary.origin or Origin.MEASURED
        yield self._cite(self._write_ratio(compared, summary), origin)
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        if summary.recist.target_response:
            change: Markup | str = ""
            if summary.recist.change_percent is not None:
                percent = self._number(compared, "recist.change_percent", "+.1f")
                change = self._say("answer.target_change", change=percent)
            response = self.t.word(summary.recist.target_response)
            yield self._cite(self._say("answer.targets", **names, response=response, change=change), origin)
        if summary.no_longer_seen is not None and summary.no_longer_seen.may_remain is not None:
            sentence = self._say(
                "answer.unseen",
                n=self._number(compared, "no_longer_seen.count"),
                remain=self._number(compared, "no_longer_seen.may_remain"),
                ci=self._interval(compared, "no_longer_seen.may_remain_ci95"),
            )
            yield self._cite(sentence, origin)
        if Fate.NEW in summary.tracks and Fate.GROWN in summary.tracks:
            new, grown = (self._number(compared, f"tracks.{fate}") for fate in (Fate.NEW, Fate.GROWN))
            yield self._cite(self._say("answer.new", new=new, grown=grown), origin)
        if summary.lesion.baseline_mm is not None:
            sentence = self._say(
                "answer.lesion",
                before=self._number(compared, "lesion.baseline_mm", ".1f"),
                after=self._number(compared, "lesion.followup_mm", ".1f"),
                drawn=self._say_drawn(summary),
            )
            yield self._cite(sentence, origin)

    def _say_drawn(self, summary: ComparisonSummary) -> str:
        """Which scans' diameter a reader drew by hand; empty where none."""
        sides = (("baseline", summary.lesion.baseline), ("followup", summary.lesion.followup))
        drawn = [self.t.word(name) for name, one in sides if one and one.origin is Origin.CORRECTED]
        return self.t("answer.drawn", scans=", ".join(drawn)) if drawn else ""

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
            size=self._number(compared, "response.min_diameter_mm", ".2f"),
            ratio=self._number(compared, "response.volume_ratio", ".3g"),
            ci=self._interval(compared, "response.volume_ratio_ci95", ".3g"),
            category=self.t.word(response.category) if response.category else self.t("answer.unknown"),
            gate=self.t.word(gate.verdict) if gate.verdict else self.t("answer.unknown"),
        )


def _name_gene(assessment: Assessment) -> str:
    return assessment.statement.partition(":")[0] or assessment.rule_id.split(".")[-1].upper()
