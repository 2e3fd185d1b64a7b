"""How much disease each scan shows, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.saved.figure_index import FigureEntry
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.study import SavedScan, StudyResult
from miliary.report import charts
from miliary.report.board.burden_table import explain_volume
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    SIDES,
    ZONES,
    find_common_totals,
    find_compared_size,
    find_measured,
    format_interval,
    locate,
    make_cell,
    make_empty_cell,
    make_interval_cell,
    title_scan,
)
from miliary.report.paths import find_reason, follow
from miliary.report.section import Section
from miliary.report.sources import Sources

_EXCESS_CI = "corrected.excess_check.total_volume_mm3_ci95"
# Word of the catalog, path in scan.json, format, path of the 95 % interval.
MEASURES = (
    ("smallest", "corrected.min_diameter_mm", ".2f", ""),
    ("corrected_count", "corrected.count", ",.0f", "corrected.count_ci95"),
    ("corrected_volume", "corrected.total_volume_mm3", ",.0f", "corrected.total_volume_mm3_ci95"),
    ("at_least_1", "corrected.count_at_least_1_mm", ",.0f", ""),
    ("false_marks", "corrected.false_marks.expected", ",.0f", "corrected.false_marks.expected_ci95"),
    ("excess", "corrected.excess_check.total_volume_mm3", ",.0f", _EXCESS_CI),
    ("count", "nodules.count", ",.0f", ""),
    ("per_litre", "nodules.count_per_litre", ",.0f", ""),
    ("volume", "nodules.total_volume_mm3", ",.0f", ""),
    ("mass", "nodules.total_excess_mass_mg", ",.0f", ""),
    ("median", "nodules.diameter_mm.median", ".2f", ""),
    ("p90", "nodules.diameter_mm.p90", ".2f", ""),
    ("d50", "completeness.diameter_50_mm", ".2f", ""),
    ("d90", "completeness.diameter_90_mm", ".2f", ""),
    ("involved", "extent.lung_fraction_involved", ".1%", ""),
    ("calcified", "calcified.count", ",.0f", ""),
    ("lungs", "lungs.total_ml", ",.0f", ""),
    ("opaque", "lungs.opaque_ml", ",.0f", ""),
    ("noise", "noise.sd_hu", ".1f", ""),
    ("slice", "acquisition.slice_thickness_mm", ".2f", ""),
)


@dataclass(frozen=True)
class MeasureRow:
    """One measure, a cell for each scan."""

    name: str
    cells: tuple[Markup, ...]


@dataclass(frozen=True)
class OutsideScan:
    """A scan outside what was validated, and why."""

    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ZoneRow:
    """Nodules in one third of one lung, or the volume in one lung; a cell for each scan."""

    side: str
    zone: str
    cells: tuple[Markup, ...]


@dataclass(frozen=True)
class MapDrawing:
    """Map of the burden of one scan."""

    name: str
    drawing: Markup


@dataclass(frozen=True)
class BurdenContent:
    """Scans outside validity, measures and zones by scan, scans whose two totals disagree, and maps."""

    outside: tuple[OutsideScan, ...]
    scan_names: tuple[str, ...]
    measures: tuple[MeasureRow, ...]
    explanations: tuple[str, ...]
    disagreements: tuple[str, ...]
    zones: tuple[ZoneRow, ...]
    maps: tuple[MapDrawing, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[BurdenContent]:
    """The section on the burden."""
    scans = [scan for scan, _ in find_measured(study)]
    content = BurdenContent(
        outside=tuple(
            OutsideScan(title_scan(scan, catalog), summary.validity.reasons)
            for scan, summary in find_measured(study)
            if summary.validity is not None and summary.doubt
        ),
        scan_names=tuple(catalog.word(scan.label) for scan in scans),
        measures=(
            *_list_measures(scans, catalog, sources),
            *_list_common(find_measured(study), catalog, sources, find_compared_size(study)),
        ),
        explanations=tuple(_explain(study, catalog)),
        disagreements=tuple(
            title_scan(scan, catalog)
            for scan, summary in find_measured(study)
            if (check := summary.corrected.excess_check) is not None and not check.agrees
        ),
        zones=_list_zones(scans, catalog, sources),
        maps=_draw_maps(study, catalog),
    )
    return Section("burden", catalog("section.burden"), "sections/burden.html", content)


def _explain(study: StudyResult, catalog: Catalog) -> Iterator[str]:
    """Why a corrected number or volume lies below the one that was found."""
    for scan, summary in find_measured(study):
        name = title_scan(scan, catalog)
        if summary.corrected.explanation:
            yield catalog("board.below", scan=name, why=summary.corrected.explanation)
        elif explain_volume(summary):
            yield catalog("board.volume_below", scan=name)


def _list_measures(scans: list[SavedScan], catalog: Catalog, sources: Sources) -> tuple[MeasureRow, ...]:
    return tuple(
        MeasureRow(
            catalog(f"facts.{key}"),
            tuple(make_interval_cell(scan, path, sources, style=style, interval=interval) for scan in scans),
        )
        for key, path, style, interval in MEASURES
        if any(follow(scan.record, path) is not None or find_reason(scan.record, path) for scan in scans)
    )


def _list_common(
    scans: Sequence[tuple[SavedScan, ScanSummary]], catalog: Catalog, sources: Sources, size: float | None
) -> tuple[MeasureRow, ...]:
    """Corrected number and volume of all scans from one diameter on; none where they share no diameter.

    `size` is taken where all of them state it.
    """
    shown = [(scan, summary) for scan, summary in scans if summary.corrected.at_least]
    rows = find_common_totals(shown, prefer=size)
    if rows is None:
        return ()
    at = dict(zip([scan.label for scan, _ in shown], rows, strict=True))

    def cell(scan: SavedScan, name: str) -> Markup:
        if scan.label not in at:
            return make_empty_cell(find_reason(scan.record, "corrected.count"))
        place, row = at[scan.label]
        value = row.count if name == "count" else row.total_volume_mm3
        limits = row.count_ci95 if name == "count" else row.total_volume_mm3_ci95
        path = f"corrected.at_least[{place}].{name}"
        number = sources.number(format_number(value, ",.0f"), locate(scan), path, note=False)
        return number + format_interval(limits, ",.0f")

    least = format_number(rows[0][1].diameter_mm, ".2f")
    return tuple(
        MeasureRow(catalog(f"facts.common_{name}", size=least), tuple(cell(scan, name) for scan, _ in scans))
        for name in ("count", "total_volume_mm3")
    )


def _list_zones(scans: list[SavedScan], catalog: Catalog, sources: Sources) -> tuple[ZoneRow, ...]:
    rows = [
        (side, catalog.word(zone), f"nodules.by_side.{side}.by_zone.{zone}")
        for side in SIDES
        for zone in ZONES
    ]
    rows += [(side, catalog("zones.volume"), f"nodules.by_side.{side}.total_volume_mm3") for side in SIDES]
    return tuple(
        ZoneRow(catalog.word(side), zone, tuple(make_cell(scan, path, sources) for scan in scans))
        for side, zone, path in rows
        if any(follow(scan.record, path) is not None for scan in scans)
    )


def _draw_maps(study: StudyResult, catalog: Catalog) -> tuple[MapDrawing, ...]:
    maps = [
        (title_scan(scan, catalog), picture.entry.values)
        for scan in study.scans
        for picture in scan.pictures
        if isinstance(picture.entry, FigureEntry)
        and picture.entry.kind == "burden_map"
        and picture.entry.values is not None
    ]
    peak = charts.find_map_peak(rows for _, rows in maps)
    sides = (catalog.word("right"), catalog.word("left"))
    return tuple(
        MapDrawing(
            name,
            charts.draw_burden_map(rows, title=f"{name}: {catalog('map.alt')}", peak=peak, side_names=sides),
        )
        for name, rows in maps
    )
