"""Whether two scans may be compared, and what the comparison found."""

from __future__ import annotations

from dataclasses import dataclass, fields

from markupsafe import Markup

from miliary.model.saved.comparison_summary import ComparisonSummary, OpacitySummary, TimePointSummary
from miliary.model.study import SavedComparison, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    find_compared,
    format_interval,
    is_simulated,
    locate,
    locate_series,
    make_cell,
    make_empty_cell,
    make_interval_cell,
    name_pair,
)
from miliary.report.paths import find_reason, follow
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.section import Section
from miliary.report.sources import Sources

# Word of the catalog, path in response.json, format, path of the 95 % interval.
MEASURES = (
    ("volume_ratio", "response.volume_ratio", ".3g", "response.volume_ratio_ci95"),
    ("count_ratio", "response.count_ratio", ".3g", "response.count_ratio_ci95"),
    ("unseen", "no_longer_seen.may_remain", ",.0f", "no_longer_seen.may_remain_ci95"),
    ("count_before", "response.baseline.count", ",.0f", ""),
    ("count_after", "response.followup.count", ",.0f", ""),
    ("lesion_before", "lesion.baseline_mm", ".1f", ""),
    ("lesion_after", "lesion.followup_mm", ".1f", ""),
    ("days", "days_between", ".0f", ""),
)
_SERIES_COLUMNS = (
    ("days_between", ".0f"),
    ("volume_ratio", ".3g"),
    ("ratio_to_nadir", ".3g"),
    ("lesion_mm", ".1f"),
)


@dataclass(frozen=True)
class NamedCell:
    """One row of a table of measures: its name and the number."""

    name: str
    cell: Markup


@dataclass(frozen=True)
class RegionRow:
    """Ratio of volumes in one side or zone of the lungs, and why the zone was left out (else empty)."""

    where: str
    cell: Markup
    excluded_because: str


@dataclass(frozen=True)
class Gate:
    """Verdict and measures of one comparison.

    Parameters
    ----------
    title : str
        Names of both scans.
    verdict : str
        comparable, comparable_after_correction, not_comparable or not_assessable.
    reasons : tuple of str
    measures : tuple of NamedCell
        Ratios, lesion and days, what the gate looked at, and numbers of nodules by fate.
    category, category_kind, category_reason : str
        Change by volume; empty where none was judged.
    regions : tuple of RegionRow
    opacities : tuple of str
        New shadows, each in words.
    warnings : tuple of str
        What the comparison warns of.
    ratio_basis : str
        What the ratios rest on; empty where it was not saved.
    is_simulated : bool
    note : Markup
        Footnote of the verdict.
    """

    title: str
    verdict: str
    reasons: tuple[str, ...]
    measures: tuple[NamedCell, ...]
    category: str
    category_kind: str
    category_reason: str
    regions: tuple[RegionRow, ...]
    opacities: tuple[str, ...]
    warnings: tuple[str, ...]
    ratio_basis: str
    is_simulated: bool
    note: Markup


@dataclass(frozen=True)
class FollowupRow:
    """One follow-up of a series against the baseline: days, ratios and lesion, verdict and category."""

    name: str
    is_nadir: bool
    days: Markup
    verdict: str
    cells: tuple[Markup, ...]
    category: str


@dataclass(frozen=True)
class GateContent:
    """Every follow-up of a series, then every comparison, then their pictures other than slabs."""

    series: tuple[FollowupRow, ...]
    gates: tuple[Gate, ...]
    pictures: tuple[PagePicture, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[GateContent]:
    """The section on comparability and change."""
    gates = tuple(
        _make_gate(compared, summary, catalog, sources) for compared, summary in find_compared(study)
    )
    content = GateContent(
        series=_make_series(study, catalog, sources),
        gates=gates,
        pictures=PictureRenderer(study, catalog).render_unpaired(),
    )
    return Section("gate", catalog("section.gate"), "sections/gate.html", content)


def _make_gate(
    compared: SavedComparison, summary: ComparisonSummary, catalog: Catalog, sources: Sources
) -> Gate:
    facts = _list_facts(compared, summary, catalog, sources)
    measures = _list_measures(compared, summary, catalog, sources)
    regions = _list_regions(compared, summary, catalog, sources)
    tracks = tuple(
        NamedCell(catalog.word(fate), make_cell(compared, f"tracks.{fate}", sources))
        for fate in summary.tracks
    )
    return Gate(
        title=name_pair(compared, catalog),
        verdict=summary.comparability.verdict or "not_assessable",
        reasons=summary.comparability.reasons,
        measures=(*measures, *facts, *tracks),
        category=summary.response.category or "",
        category_kind=summary.response.category_kind,
        category_reason=summary.response.category_reason,
        regions=regions,
        opacities=tuple(_describe_opacity(one, catalog) for one in summary.new_opacities),
        warnings=tuple(warning.message for warning in summary.warnings),
        ratio_basis=summary.response.ratio_basis,
        is_simulated=is_simulated(compared),
        note=sources.footnote(locate(compared), "comparability"),
    )


def _list_facts(
    compared: SavedComparison, summary: ComparisonSummary, catalog: Catalog, sources: Sources
) -> tuple[NamedCell, ...]:
    """Numbers that the verdict rests on."""
    return tuple(
        NamedCell(
            catalog(f"alike.{field.name}"),
            make_cell(compared, f"comparability.{field.name}", sources, style=".3g"),
        )
        for field in fields(summary.comparability)
        if isinstance(getattr(summary.comparability, field.name), int | float)
    )


def _list_measures(
    compared: SavedComparison, summary: ComparisonSummary, catalog: Catalog, sources: Sources
) -> tuple[NamedCell, ...]:
    sizes = {
        name: catalog("answer.unknown") if size is None else format_number(size, ".2f")
        for name, size in (
            ("volume_size", summary.response.min_diameter_mm),
            ("count_size", summary.response.count_diameter_mm),
        )
    }
    return tuple(
        NamedCell(
            catalog(f"gate.{key}", **sizes),
            make_interval_cell(compared, path, sources, style=style, interval=interval),
        )
        for key, path, style, interval in MEASURES
        if follow(summary, path) is not None or find_reason(summary, path)
    )


def _list_regions(
    compared: SavedComparison, summary: ComparisonSummary, catalog: Catalog, sources: Sources
) -> tuple[RegionRow, ...]:
    """Both lungs, then their thirds."""
    rows = []
    for name, regions in (("by_side", summary.response.by_side), ("by_zone", summary.response.by_zone)):
        for index, region in enumerate(regions):
            where = " ".join(catalog.word(word) for word in (region.side, region.zone) if word)
            if region.volume_ratio is None:
                reason = find_reason(region, "volume_ratio")
                cell = make_empty_cell(reason or region.excluded_because)
            else:
                ci = region.volume_ratio_ci95
                interval = f" ({ci[0]:.3g}\u2013{ci[1]:.3g})" if ci else ""
                path = f"response.{name}[{index}].volume_ratio"
                label = f"{region.volume_ratio:.3g}{interval}"
                cell = sources.number(label, locate(compared), path, note=False)
            rows.append(RegionRow(where, cell, region.excluded_because))
    return tuple(rows)


def _describe_opacity(opacity: OpacitySummary, catalog: Catalog) -> str:
    return catalog(
        "gate.opacity",
        kind=catalog.word(opacity.kind),
        side=catalog.word(opacity.side),
        zone=catalog.word(opacity.zone),
        ml=f"{opacity.volume_ml:.0f}",
    )


def _make_series(study: StudyResult, catalog: Catalog, sources: Sources) -> tuple[FollowupRow, ...]:
    rows = []
    for index, point in enumerate(study.series.time_points if study.series else ()):
        nadir = study.series.nadir if study.series else None
        days, *cells = (
            _make_series_cell(study, point, f"time_points[{index}].{name}", style=style, sources=sources)
            for name, style in _SERIES_COLUMNS
        )
        rows.append(
            FollowupRow(
                name=catalog.word(point.followup),
                is_nadir=point.followup == nadir,
                days=days,
                verdict=point.comparability or "not_assessable",
                cells=tuple(cells),
                category=point.category or "",
            )
        )
    return tuple(rows)


def _make_series_cell(
    study: StudyResult, point: TimePointSummary, path: str, *, style: str, sources: Sources
) -> Markup:
    """One number of one time point, a ratio with its interval; a dash where it is not known."""
    name = path.rpartition(".")[2]
    value = follow(point, name)
    cell = Markup("\u2013")
    if value is not None:
        cell = sources.number(format_number(value, style), locate_series(study), path, note=False)
    interval = point.volume_ratio_ci95 if name == "volume_ratio" else None
    return cell + format_interval(interval, ".3g")
