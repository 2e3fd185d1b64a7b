"""What was measured on one scan, as a table on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def show_scan(summary: Mapping[str, Any]) -> None:
    """Print what was measured on one scan as a table that a person can read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _summary_rows(summary):
        table.add_row(name, text)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print()
    console.print(table)


def _summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each line of the summary."""
    nodules, lungs, sizes = summary["nodules"], summary["lungs"], summary["nodules"]["diameter_mm"]
    sides = [
        f"{side}: {part['count']} ("
        + ", ".join(f"{zone} {count}" for zone, count in part["by_zone"].items())
        + ")"
        for side, part in nodules["by_side"].items()
    ]
    volume, error = nodules["total_volume_mm3"], nodules["total_volume_mm3_err"]
    rows = [
        ("nodules", f"{nodules['count']:,}   {_text(nodules['count_per_litre'], '.4g')} per litre of lung"),
        ("total volume", f"{volume:,.0f} +- {error:,.0f} mm3 (solid-equivalent)"),
        *_describe_corrected(summary["corrected"], summary["completeness"]),
        ("diameter", _describe_sizes(sizes)),
        *_describe_lesions(summary["lesions"]),
        *(("" if number else "where", text) for number, text in enumerate(sides)),
        ("attenuation", ", ".join(f"{name} {n}" for name, n in nodules["by_attenuation"].items())),
        ("calcified, apart", f"{summary['calcified']['count']}"),
        *_describe_corrections(summary.get("corrections")),
        ("lungs", f"right {lungs['right_ml']:,.0f} mL, left {lungs['left_ml']:,.0f} mL"),
        ("noise", f"{_text(summary['noise']['sd_hu'], '.1f')} HU"),
        (
            "blur (FWHM)",
            f"{summary['psf']['fwhm_xy_mm']:.2f} mm in plane, {summary['psf']['fwhm_z_mm']:.2f} mm along z",
        ),
    ]
    return rows + [("warning", f"{w['message']} [{w['code']}]") for w in summary["warnings"]]


def _describe_corrected(
    corrected: Mapping[str, Any], completeness: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """What is there, not only what was found, and what size the scan shows at all."""
    if corrected["count"] is None:
        return [("corrected", corrected["count_reason"])]
    count, volume = corrected["count_ci95"], corrected["total_volume_mm3_ci95"]
    half, most = completeness["diameter_50_mm"], completeness["diameter_90_mm"]
    least = f"{corrected['min_diameter_mm']:.2f} mm"
    number = f"{corrected['count']:,.0f} ({count[0]:,.0f} to {count[1]:,.0f}) of {least} or more"
    size = f"{corrected['total_volume_mm3']:,.0f} ({volume[0]:,.0f} to {volume[1]:,.0f}) mm3"
    shares = f"half are found from {_text(half, '.2f')} mm, nine tenths from {_text(most, '.2f')} mm"
    return [("corrected", f"{number}, {size}"), ("completeness", shares)]


def _describe_lesions(lesions: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A line for each large lesion."""
    rows = []
    for lesion in lesions:
        words = [f"{lesion['long_axis_mm']:.1f} x {lesion['short_axis_mm']:.1f} mm"]
        if lesion["is_cavitary"]:
            wall = [lesion[f"wall_thickness_{name}mm"] for name in ("", "min_", "max_")]
            words.append("cavitary, wall {:.1f} mm ({:.1f} to {:.1f})".format(*wall))
        place = lesion["lobe"] if lesion["lobe"] != "not_determined" else f"{lesion['side']} lung"
        words.append(f"{place}, {lesion['zone']} zone")
        rows.append((f"lesion {lesion['id']}", ", ".join(words)))
    return rows


def _describe_corrections(applied: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """A line on what a reader changed, where a reader was asked."""
    if applied is None:
        return []
    told = f"rejected {applied['n_rejected']}, added {applied['n_added']}"
    return [("by a reader", f"{told}, lesions corrected {applied['n_lesions']}")]


def _text(value: float | None, style: str) -> str:
    return "not known" if value is None else format(value, style)


def _describe_sizes(sizes: Mapping[str, Any]) -> str:
    if sizes["n"] == 0:
        return "no nodules"
    low, high = f"{sizes['p10']:.2f}", f"{sizes['p90']:.2f}"
    return f"median {sizes['median']:.2f} mm, 10th to 90th percentile {low} to {high} mm"
