"""Pattern of the nodules in the lungs, and the published definitions of miliary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.pattern import PatternLabel
from miliary.model.saved.scan_summary import DefinitionVerdict, PatternMeasure, ScanSummary
from miliary.model.study import SavedScan, StudyResult
from miliary.report import charts
from miliary.report.assessments import SIGNS, AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.measures import find_measured, make_cell, title_scan
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.section import Section
from miliary.report.sources import Sources

# How a reason begins where a condition of a definition is open; of a scan it could not be measured.
_NOT_STATED, _NOT_TOLD = "not stated: ", "not told by this scan: "


@dataclass(frozen=True)
class PatternShare:
    """Probability of one pattern."""

    pattern: str
    share: Markup


@dataclass(frozen=True)
class PatternLine:
    """Probabilities of one scan, the reason for its label, and the test of random placement (else empty)."""

    scan: str
    shares: tuple[PatternShare, ...]
    reason: str
    placement: Markup


@dataclass(frozen=True)
class EvidenceDrawing:
    """The evidence for the pattern of one scan, drawn."""

    scan: str
    drawing: Markup


@dataclass(frozen=True)
class DefinitionRow:
    """One published definition: its title, verdict with a sign, and why."""

    title: str
    sign: str
    verdict: str
    why: str


@dataclass(frozen=True)
class DefinitionTable:
    """All definitions as one scan meets them."""

    scan: str
    rows: tuple[DefinitionRow, ...]


@dataclass(frozen=True)
class PatternContent:
    """Pattern by scan, then definitions by scan and by the record."""

    lines: tuple[PatternLine, ...]
    evidence: tuple[EvidenceDrawing, ...]
    pictures: tuple[PagePicture, ...]
    definitions: tuple[DefinitionTable, ...]
    record_definitions: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[PatternContent]:
    """The section on pattern and definitions."""
    scans = find_measured(study)
    lines = [_make_line(scan, summary, catalog, sources) for scan, summary in scans]
    evidence = tuple(
        _draw_evidence(title_scan(scan, catalog), measures, catalog)
        for scan, summary in scans
        if (measures := (*summary.pattern.evidence, *summary.pattern.gradients))
    )
    content = PatternContent(
        lines=tuple(line for line in lines if line.shares or line.reason),
        evidence=evidence,
        # A saved figure repeats the drawing, in small print that no other language reaches.
        pictures=() if evidence else PictureRenderer(study, catalog).render_kind("pattern"),
        definitions=tuple(
            DefinitionTable(title_scan(scan, catalog), tuple(map(_make_definition, summary.definitions)))
            for scan, summary in scans
            if summary.definitions
        ),
        record_definitions=make_rows(study.case, "definition.", catalog),
    )
    return Section("pattern", catalog("section.pattern"), "sections/pattern_and_definition.html", content)


def _make_line(scan: SavedScan, summary: ScanSummary, catalog: Catalog, sources: Sources) -> PatternLine:
    shares = tuple(
        PatternShare(
            catalog.word(label), make_cell(scan, f"pattern.probabilities.{label}", sources, style=".0%")
        )
        for label in summary.pattern.probabilities
    )
    placement = Markup("")
    randomness = summary.pattern.randomness
    if randomness.p_value is not None:
        p_value = make_cell(scan, "pattern.randomness.p_value", sources, style=".2g")
        is_best = summary.pattern.label == PatternLabel.RANDOM
        rejected = "pattern.rejected_although" if is_best else "pattern.rejected"
        text = catalog(rejected if randomness.is_rejected else "pattern.not_rejected")
        placement = Markup(text).format(p=p_value, n=randomness.n_placements or "?")  # noqa: S704  our own words
    return PatternLine(title_scan(scan, catalog), shares, summary.pattern.reason, placement)


def _draw_evidence(name: str, measures: Iterable[PatternMeasure], catalog: Catalog) -> EvidenceDrawing:
    effects = [
        charts.Effect(
            catalog.texts.get(f"evidence.{one.name}") or one.meaning or one.name, one.ratio, *one.ratio_ci95
        )
        for one in measures
        if one.ratio is not None and one.ratio > 0
    ]
    title = f"{name}: {catalog('pattern.alt')}"
    return EvidenceDrawing(
        name, charts.draw_effects(effects, title=title, label=catalog("pattern.as_random"))
    )


def _say_open(reason: str) -> str:
    """Why a definition cannot be told of a scan: a measured limit is not one that nobody stated."""
    return _NOT_TOLD + reason.removeprefix(_NOT_STATED) if reason.startswith(_NOT_STATED) else reason


def _make_definition(definition: DefinitionVerdict) -> DefinitionRow:
    return DefinitionRow(
        title=definition.title,
        sign=SIGNS[definition.verdict],
        verdict=definition.verdict,
        why=_say_open(definition.reason) or definition.statement.replace(f"{definition.title}: ", "", 1),
    )
