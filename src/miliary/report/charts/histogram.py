"""Histogram of several scans with bars side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from miliary.report.charts.svg import (
    choose_ticks,
    close_svg,
    define_textures,
    draw_legend_entry,
    open_svg,
    write_text,
)

_WIDTH, _HEIGHT = 720.0, 270.0
_LEFT, _BOTTOM, _TOP, _RIGHT = 56.0, 48.0, 26.0, 12.0


@dataclass(frozen=True)
class BarSeries:
    """Counts of one scan by bin.

    Parameters
    ----------
    name : str
        Name in the legend.
    counts : sequence of float
        One per bin; one more than the bins where the last counts everything larger.
    """

    name: str
    counts: Sequence[float]


def draw_histogram(
    edges: Sequence[float], series: Sequence[BarSeries], *, title: str, x_label: str, y_label: str
) -> Markup:
    """Draw counts of several scans over common bins.

    Parameters
    ----------
    edges : sequence of float
        Edges of the bins, ascending.
    series : sequence of BarSeries
    title, x_label, y_label : str

    Returns
    -------
    Markup
        An ``<svg>``; a bin that is open above ends in ``+``.
    """
    n_bins = max((len(s.counts) for s in series), default=0)
    peak = max((max(s.counts, default=0.0) for s in series), default=0.0) or 1.0
    cell = (_WIDTH - _LEFT - _RIGHT) / max(n_bins, 1)
    scale = (_HEIGHT - _TOP - _BOTTOM) / peak
    base = _HEIGHT - _BOTTOM
    parts = [open_svg(_WIDTH, _HEIGHT, title), define_textures("bar")]
    # Nodules are counted in whole numbers.
    for tick in (tick for tick in choose_ticks(0.0, peak) if tick == int(tick)):
        y = base - tick * scale
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(write_text(_LEFT - 6, y + 4, f"{tick:,.0f}", anchor="end"))
    bar = cell * 0.84 / max(len(series), 1)
    for index, one in enumerate(series):
        for position, count in enumerate(one.counts):
            x = _LEFT + position * cell + cell * 0.08 + index * bar
            parts.append(
                f'<rect x="{x:.1f}" y="{base - count * scale:.1f}" width="{bar:.1f}" '
                f'height="{count * scale:.1f}" fill="url(#bar{index % 4})" stroke="#222" stroke-width=".6">'
                f"<title>{escape(one.name)}: {count:,.0f}</title></rect>"
            )
        parts += draw_legend_entry(_LEFT + 8 + index * 190, one.name, index, texture="bar")
    for position in range(0, n_bins + 1, 2):
        label = f"{edges[position]:g}" if position < len(edges) else "+"
        parts.append(write_text(_LEFT + position * cell, base + 16, label, anchor="middle"))
    parts.append(write_text((_LEFT + _WIDTH) / 2, _HEIGHT - 10, x_label, anchor="middle"))
    parts.append(write_text(4, 14, y_label))
    return close_svg(parts)
