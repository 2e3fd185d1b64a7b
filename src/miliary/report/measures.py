"""Measured numbers as cells of a table: value, interval, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from miliary.model.saved.case_summary import CaseSummary
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.scan_summary import CorrectedTotal, ScanSummary
from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.model.vocabulary import Origin
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.paths import Member, find_reason, follow
from miliary.report.sources import Sources

SIDES = ("right", "left")
ZONES = ("upper", "middle", "lower")


def find_measured(study: StudyResult) -> list[tuple[SavedScan, ScanSummary]]:
    """Find the scans that have results.

    Parameters
    ----------
    study : StudyResult

    Returns
    -------
    list of (SavedScan, ScanSummary)
        In the order of the study; a scan whose ``scan.json`` cannot be read is left out.
    """
    return [(scan, scan.record) for scan in study.scans if scan.record is not None]


def find_compared(study: StudyResult) -> list[tuple[SavedComparison, ComparisonSummary]]:
    """Find the comparisons that have results.

    Parameters
    ----------
    study : StudyResult

    Returns
    -------
    list of (SavedComparison, ComparisonSummary)
        In the order of the study; one whose ``response.json`` cannot be read is left out.
    """
    return [(one, one.record) for one in study.comparisons if one.record is not None]


def find_common_totals(
    scans: Sequence[tuple[SavedScan, ScanSummary]], *, prefer: float | None = None
) -> list[tuple[int, CorrectedTotal]] | None:
    """Corrected totals of all scans from one diameter on, so that before and after are alike.

    Parameters
    ----------
    scans : sequence of (SavedScan, ScanSummary)
        From `find_measured`.
    prefer : float, optional
        Diameter [mm] to take where all of them state it; else the smallest that each of them states.

    Returns
    -------
    list of (int, CorrectedTotal) or None
        Place and content of the row in each scan's ``corrected.at_least``; None with fewer than two scans,
        or where they state no diameter in common.
    """
    tables = [{row.diameter_mm: n for n, row in enumerate(s.corrected.at_least)} for _, s in scans]
    common = set.intersection(*map(set, tables)) if len(tables) > 1 else set()
    if not common:
        return None
    least = prefer if prefer in common else min(common)
    return [
        (table[least], summary.corrected.at_least[table[least]])
        for table, (_, summary) in zip(tables, scans, strict=True)
    ]


def find_compared_size(study: StudyResult) -> float | None:
    """Smallest diameter [mm] of the volumes of the last comparison; None where there is none."""
    sizes = [summary.response.min_diameter_mm for _, summary in find_compared(study)]
    return next((size for size in reversed(sizes) if size is not None), None)


def locate(saved: SavedScan | SavedComparison) -> Member:
    """Name the file that holds the summary of a scan or of a comparison.

    Parameters
    ----------
    saved : SavedScan or SavedComparison

    Returns
    -------
    Member
    """
    folder = "" if saved.path == "." else f"{saved.path}/"
    if isinstance(saved, SavedScan):
        return Member(f"{folder}scan.json", ScanSummary)
    return Member(f"{folder}response.json", ComparisonSummary)


def locate_case(study: StudyResult) -> Member:
    """The file that holds the case of a study."""
    return Member(study.case_path, CaseSummary)


def locate_series(study: StudyResult) -> Member:
    """The file that holds the series of a study."""
    return Member(study.series_path, SeriesSummary)


def is_simulated(saved: SavedScan | SavedComparison) -> bool:
    """Whether a member was measured on simulated scans."""
    return saved.record is not None and saved.record.origin == Origin.SIMULATED


def title_scan(scan: SavedScan, catalog: Catalog) -> str:
    """Name of a scan on the page, with a word where it was simulated."""
    simulated = f" ({catalog('word.simulated')})" if is_simulated(scan) else ""
    return catalog.word(scan.label) + simulated


def name_pair(compared: SavedComparison, catalog: Catalog) -> str:
    """Names of the two scans of a comparison, earlier one first."""
    return f"{catalog.word(compared.baseline)} \u2192 {catalog.word(compared.followup)}"


def make_cell(
    saved: SavedScan | SavedComparison, path: str, sources: Sources, *, style: str = ",.0f"
) -> Markup:
    """One measured number for a table.

    Parameters
    ----------
    saved : SavedScan or SavedComparison
    path : str
        Dotted path in the member's summary, checked as by `follow`.
    sources : Sources
        Cites the member.
    style : str
        Format of `format_number`.

    Returns
    -------
    Markup
        The number with its source on hover, else the saved reason why there is none, else a dash.
    """
    value = follow(saved.record, path)
    if value is None:
        return make_empty_cell(find_reason(saved.record, path))
    return sources.number(format_number(value, style), locate(saved), path, note=False)


def make_empty_cell(reason: str | None) -> Markup:
    """Cell of a number that was not measured: the reason, or a dash where none is stated."""
    return Markup('<span class="none">{0}</span>').format(reason or "\u2013")


def format_interval(interval: tuple[float, float] | None, style: str) -> Markup:
    """Write a 95 % interval in brackets, to follow its number.

    Parameters
    ----------
    interval : (float, float) or None
        Lower and upper limit.
    style : str
        Format of `format_number`.

    Returns
    -------
    Markup
        Empty where there is no interval.
    """
    if interval is None:
        return Markup("")
    low, high = (format_number(value, style) for value in interval)
    return Markup(" <span class='ci'>({0}\u2013{1})</span>").format(low, high)


def make_interval_cell(
    saved: SavedScan | SavedComparison, path: str, sources: Sources, *, style: str, interval: str
) -> Markup:
    """One measured number with its 95 % interval, for a table.

    Parameters
    ----------
    saved : SavedScan or SavedComparison
    path, interval : str
        Dotted paths of the number and of its interval in the member's summary; `interval` is empty for a
        number without one.
    sources : Sources
        Cites the member.
    style : str
        Format of `format_number`, for both.

    Returns
    -------
    Markup
    """
    cell = make_cell(saved, path, sources, style=style)
    return cell + format_interval(follow(saved.record, interval) if interval else None, style)
