"""Pattern of the nodules in the lungs, and the published definitions of miliary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedScan, StudyResult
from miliary.report import charts
from miliary.report.assessments import SIGNS, AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.measures import find_measured, make_cell, title_scan
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.reading import JsonObject, as_number, find, items, pair, text
from miliary.report.sections.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class PatternShare:
    """Probability of one pattern."""

    pattern: str
    share: Markup


@dataclass(frozen=True)
class PatternLine:
    """Probabilities of one scan, and the reason for its label (else empty)."""

    scan: str
    shares: tuple[PatternShare, ...]
    reason: str


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
    content = PatternContent(
        lines=tuple(
            line
            for line in (_make_line(scan, catalog, sources) for scan in scans)
            if line.shares or line.reason
        ),
        evidence=tuple(
            _draw_evidence(scan, rows, catalog)
            for scan in scans
            if (rows := items(scan.summary, "pattern.evidence") + items(scan.summary, "pattern.gradients"))
        ),
        pictures=PictureRenderer(study, catalog).render_kind("pattern"),
        definitions=tuple(
            DefinitionTable(title_scan(scan, catalog), tuple(_make_definition(row) for row in rows))
            for scan in scans
            if (rows := items(scan.summary, "definitions"))
        ),
        record_definitions=make_rows(study.case, "definition.", catalog),
    )
    return Section("pattern", catalog("section.pattern"), "sections/pattern.html", content)


def _make_line(scan: SavedScan, catalog: Catalog, sources: Sources) -> PatternLine:
    given = find(scan.summary, "pattern.probabilities")
    shares = tuple(
        PatternShare(
            catalog.word(name), make_cell(scan, f"pattern.probabilities.{name}", sources, style=".0%")
        )
        for name in (given if isinstance(given, Mapping) else {})
    )
    return PatternLine(title_scan(scan, catalog), shares, text(scan.summary, "pattern.reason"))


def _draw_evidence(scan: SavedScan, rows: list[JsonObject], catalog: Catalog) -> EvidenceDrawing:
    effects = []
    for row in rows:
        ratio = as_number(row.get("ratio"))
        low, high = pair(row, "ratio_ci95") or (None, None)
        if ratio is not None and ratio > 0:
            name = str(row.get("meaning") or row.get("name") or "")
            effects.append(charts.Effect(name, ratio, low, high))
    name = title_scan(scan, catalog)
    title = f"{name}: {catalog('pattern.alt')}"
    return EvidenceDrawing(
        name, charts.draw_effects(effects, title=title, label=catalog("pattern.as_random"))
    )


def _make_definition(row: JsonObject) -> DefinitionRow:
    title, verdict = text(row, "title"), text(row, "verdict")
    return DefinitionRow(
        title=title or text(row, "id") or "?",
        sign=SIGNS.get(verdict, "?"),
        verdict=verdict or "not_assessable",
        why=text(row, "reason") or text(row, "statement").replace(f"{title}: ", "", 1),
    )
