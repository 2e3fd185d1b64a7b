"""Measured numbers as cells of a table: value, interval, or the reason why there is none."""

from __future__ import annotations

from markupsafe import Markup

from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.reading import number, pair, text
from miliary.report.sources import Sources

SIDES = ("right", "left")
ZONES = ("upper", "middle", "lower")


def find_measured(study: StudyResult) -> list[SavedScan]:
    """Scans whose summary could be read."""
    return [scan for scan in study.scans if scan.summary]


def locate_member(saved: SavedScan | SavedComparison) -> str:
    """Path of a member's summary within the study folder."""
    file = "scan.json" if isinstance(saved, SavedScan) else "response.json"
    return file if saved.path == "." else f"{saved.path}/{file}"


def is_simulated(saved: SavedScan | SavedComparison) -> bool:
    """Whether a member was measured on simulated scans."""
    return text(saved.summary, "origin") == "simulated"


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
        Dotted path in the member's summary.
    sources : Sources
        Cites the member.
    style : str
        Format of `format_number`.

    Returns
    -------
    Markup
        The number with its source on hover, else the saved reason why there is none, else a dash.
    """
    value = number(saved.summary, path)
    if value is None:
        return make_empty_cell(text(saved.summary, f"{path}_reason"))
    return sources.number(format_number(value, style), locate_member(saved), path, note=False)


def make_empty_cell(reason: str | None) -> Markup:
    """Cell of a number that was not measured: the reason, or a dash where none is stated."""
    return Markup('<span class="none">{0}</span>').format(reason or "\u2013")


def format_interval(interval: tuple[float, float] | None, style: str) -> Markup:
    """A 95 % interval in brackets behind its number; empty where there is none."""
    if interval is None:
        return Markup("")
    low, high = (format_number(value, style) for value in interval)
    return Markup(" <span class='ci'>({0}\u2013{1})</span>").format(low, high)


def make_interval_cell(
    saved: SavedScan | SavedComparison, path: str, sources: Sources, *, style: str, interval: str
) -> Markup:
    """One measured number with its 95 % interval, saved at a path of its own; empty for no interval."""
    cell = make_cell(saved, path, sources, style=style)
    return cell + format_interval(pair(saved.summary, interval) if interval else None, style)
