"""The burden in one small table: found, corrected at one size, share of the lung, thirds of both lungs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.saved.scan_summary import CorrectedTotal, ScanSummary
from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    SIDES,
    ZONES,
    find_common_totals,
    find_compared,
    find_compared_size,
    find_measured,
    format_interval,
    locate,
    make_cell,
    make_empty_cell,
    make_interval_cell,
)
from miliary.report.paths import find_reason, follow
from miliary.report.sources import Sources

_RATIO = "response.volume_ratio"


@dataclass(frozen=True)
class BurdenLine:
    """One line of the table: a cell for each scan, and the ratio of the last comparison (else empty)."""

    name: str
    cells: tuple[Markup, ...]
    ratio: Markup


@dataclass(frozen=True)
class BurdenTable:
    """Names of the scans, the lines, whether any has a ratio, and what has to be said below them."""

    scan_names: tuple[str, ...] = ()
    lines: tuple[BurdenLine, ...] = ()
    has_ratio: bool = False
    notes: tuple[Markup | str, ...] = ()


def tabulate_burden(study: StudyResult, catalog: Catalog, sources: Sources) -> BurdenTable:
    """Tabulate the burden of every scan.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog
    sources : Sources
        Takes the places of the numbers.

    Returns
    -------
    BurdenTable
        Corrected numbers of all scans are of one diameter, that of the last comparison where they state it.
        No lines where no scan was measured.
    """
    return _Tabulator(study, catalog, sources).tabulate()


class _Tabulator:
    """Makes the lines of the table from one study."""

    def __init__(self, study: StudyResult, catalog: Catalog, sources: Sources) -> None:
        self.t, self.sources = catalog, sources
        self.scans = find_measured(study)
        compared = find_compared(study)
        self.compared = compared[-1] if compared else None
        shown = [(scan, summary) for scan, summary in self.scans if summary.corrected.at_least]
        rows = find_common_totals(shown, prefer=find_compared_size(study))
        self.common: dict[str, tuple[int, CorrectedTotal]] = (
            {} if rows is None else dict(zip([scan.label for scan, _ in shown], rows, strict=True))
        )

    def tabulate(self) -> BurdenTable:
        if not self.scans:
            return BurdenTable()
        lines = tuple(self._list_lines())
        return BurdenTable(
            scan_names=tuple(self.t.word(scan.label) for scan, _ in self.scans),
            lines=lines,
            has_ratio=any(line.ratio for line in lines),
            notes=tuple(self._list_notes()),
        )

    def _list_lines(self) -> Iterator[BurdenLine]:
        yield self._line(self.t("board.found"), "nodules.count")
        yield self._line(self.t("board.false"), "corrected.false_marks.expected")
        sizes = {row.diameter_mm for _, row in self.common.values()}
        size = format_number(sizes.pop(), ".2f") if sizes else ""
        if size:
            yield BurdenLine(self.t("board.count", size=size), self._common_cells("count"), Markup(""))
            yield BurdenLine(
                self.t("board.volume", size=size),
                self._common_cells("total_volume_mm3"),
                self._ratio(size),
            )
        else:
            yield self._line(self.t("board.own_count"), "corrected.count", interval="corrected.count_ci95")
            yield self._line(
                self.t("board.own_volume"),
                "corrected.total_volume_mm3",
                interval="corrected.total_volume_mm3_ci95",
            )
        yield BurdenLine(
            self.t("board.share"),
            tuple(self._share(scan, summary) for scan, summary in self.scans),
            Markup(""),
        )
        yield self._line(self.t("board.involved"), "extent.lung_fraction_involved", style=".1%")
        yield from self._list_zones()

    def _line(self, name: str, path: str, *, style: str = ",.0f", interval: str = "") -> BurdenLine:
        cells = tuple(
            make_interval_cell(scan, path, self.sources, style=style, interval=interval)
            for scan, _ in self.scans
        )
        return BurdenLine(name, cells, Markup(""))

    def _common_cells(self, name: str) -> tuple[Markup, ...]:
        cells = []
        for scan, _ in self.scans:
            if scan.label not in self.common:
                cells.append(make_empty_cell(find_reason(scan.record, "corrected.count")))
                continue
            place, row = self.common[scan.label]
            value = row.count if name == "count" else row.total_volume_mm3
            limits = row.count_ci95 if name == "count" else row.total_volume_mm3_ci95
            path = f"corrected.at_least[{place}].{name}"
            number = self.sources.number(format_number(value, ",.0f"), locate(scan), path, note=False)
            cells.append(number + format_interval(limits, ",.0f"))
        return tuple(cells)

    def _ratio(self, size: str) -> Markup:
        """The ratio of volumes, where it is of the same size as the line."""
        if self.compared is None:
            return Markup("")
        saved, summary = self.compared
        least = summary.response.min_diameter_mm
        if least is None or format_number(least, ".2f") != size:
            return Markup("")
        return make_interval_cell(saved, _RATIO, self.sources, style=".3g", interval=f"{_RATIO}_ci95")

    def _share(self, scan: SavedScan, summary: ScanSummary) -> Markup:
        """Corrected volume of the nodules as a share of the volume of the lungs."""
        place, row = self.common.get(scan.label, (None, None))
        volume = summary.corrected.total_volume_mm3 if row is None else row.total_volume_mm3
        lung_ml = summary.lungs.total_ml
        if volume is None or not lung_ml:
            return make_empty_cell(find_reason(scan.record, "corrected.total_volume_mm3"))
        path = (
            "corrected.total_volume_mm3" if row is None else f"corrected.at_least[{place}].total_volume_mm3"
        )
        # A quotient of two numbers that stand on the page, each with its own source.
        return Markup("<span title='{0}: {1} / lungs.total_ml'>{2:.2g} %</span>").format(
            locate(scan).path, path, volume / lung_ml / 10.0
        )

    def _list_zones(self) -> Iterator[BurdenLine]:
        for side in SIDES:
            for zone in ZONES:
                path = f"nodules.by_side.{side}.by_zone.{zone}"
                if any(follow(summary, path) is not None for _, summary in self.scans):
                    name = self.t("board.zone", side=self.t.word(side), zone=self.t.word(zone))
                    cells = tuple(make_cell(scan, path, self.sources) for scan, _ in self.scans)
                    yield BurdenLine(name, cells, self._zone_ratio(side, zone))

    def _zone_ratio(self, side: str, zone: str) -> Markup:
        if self.compared is None:
            return Markup("")
        saved, summary = self.compared
        for index, region in enumerate(summary.response.by_zone):
            if region.side == side and region.zone == zone:
                return self._region_ratio(saved, summary, index)
        return Markup("")

    def _region_ratio(self, saved: SavedComparison, summary: ComparisonSummary, index: int) -> Markup:
        region = summary.response.by_zone[index]
        if region.volume_ratio is None:
            return make_empty_cell(find_reason(region, "volume_ratio") or region.excluded_because)
        path = f"response.by_zone[{index}].volume_ratio"
        label = format_number(region.volume_ratio, ".3g")
        number = self.sources.number(label, locate(saved), path, note=False)
        return number + format_interval(region.volume_ratio_ci95, ".3g")

    def _list_notes(self) -> Iterator[Markup | str]:
        """Why numbers that a reader would compare are not of one size, or not in the order expected."""
        if self.compared is not None and self.compared[1].response.ratio_basis:
            yield self.t("board.ratio_basis")
        for scan, summary in self.scans:
            if summary.corrected.explanation:
                yield self.t("board.below", scan=self.t.word(scan.label), why=summary.corrected.explanation)
            elif explain_volume(summary):
                yield self.t("board.volume_below", scan=self.t.word(scan.label))


def explain_volume(summary: ScanSummary) -> bool:
    """Whether the corrected volume lies below the one found, so that a page has to say why.

    Parameters
    ----------
    summary : ScanSummary

    Returns
    -------
    bool
    """
    corrected, found = summary.corrected.total_volume_mm3, summary.nodules.total_volume_mm3
    return corrected is not None and found is not None and corrected < found
