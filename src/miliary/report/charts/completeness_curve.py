"""Curves of completeness: the probability that a nodule is found, by its diameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from miliary.report.charts.svg import (
    SERIES_DASH,
    SERIES_FILL,
    choose_ticks,
    close_svg,
    define_textures,
    draw_legend_entry,
    open_svg,
    write_text,
)

_WIDTH, _HEIGHT = 720.0, 270.0
_LEFT, _BOTTOM, _TOP, _RIGHT = 56.0, 48.0, 26.0, 12.0
_SMALLEST_SPAN_MM = 3.0


@dataclass(frozen=True)
class CompletenessLine:
    """What one scan finds, by diameter.

    Parameters
    ----------
    name : str
        Name in the legend.
    diameter_mm, probability : sequence of float
        Points of the curve; empty where only the two diameters were saved.
    low, high : sequence of float
        95 % band of the probability, as long as the curve; empty where none was saved.
    d50_mm, d90_mm : float or None
        Diameter at which 50 % and 90 % are found.
    """

    name: str
    diameter_mm: Sequence[float] = ()
    probability: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    d50_mm: float | None = None
    d90_mm: float | None = None

    def until(self, diameter_mm: float) -> CompletenessLine:
        """The same curve without the points above a diameter."""
        n = sum(x <= diameter_mm for x in self.diameter_mm)
        return replace(
            self,
            diameter_mm=self.diameter_mm[:n],
            probability=self.probability[:n],
            low=self.low[:n],
            high=self.high[:n],
        )


@dataclass(frozen=True)
class _Plot:
    """Maps a diameter and a probability to a point of the drawing."""

    span_mm: float

    def x(self, diameter_mm: float) -> float:
        return _LEFT + diameter_mm * (_WIDTH - _LEFT - _RIGHT) / self.span_mm

    def y(self, probability: float) -> float:
        share = min(max(probability, 0.0), 1.0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def points(self, diameters_mm: Sequence[float], probabilities: Sequence[float]) -> list[str]:
        pairs = zip(diameters_mm, probabilities, strict=False)
        return [f"{self.x(d):.1f},{self.y(p):.1f}" for d, p in pairs]


def draw_completeness(lines: Sequence[CompletenessLine], *, title: str, x_label: str, y_label: str) -> Markup:
    """Draw the probability of being found by diameter, with its band and the 50 % and 90 % diameters.

    Parameters
    ----------
    lines : sequence of CompletenessLine
    title, x_label, y_label : str

    Returns
    -------
    Markup
        An ``<svg>``.
    """
    plot = _Plot(_choose_span_mm(lines))
    parts = [open_svg(_WIDTH, _HEIGHT, title), define_textures("line")]
    for tick in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        y = plot.y(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(write_text(_LEFT - 6, y + 4, f"{tick:.0%}", anchor="end"))
    parts += [
        write_text(plot.x(tick), _HEIGHT - _BOTTOM + 16, f"{tick:g}", anchor="middle")
        for tick in choose_ticks(0.0, plot.span_mm, about=8)
    ]
    for index, line in enumerate(lines):
        parts += _draw_line(line.until(plot.span_mm), plot, index)
        parts += draw_legend_entry(_LEFT + 8 + index * 190, line.name, index, texture="line")
    parts.append(write_text((_LEFT + _WIDTH) / 2, _HEIGHT - 10, x_label, anchor="middle"))
    parts.append(write_text(4, 14, y_label))
    return close_svg(parts)


def _choose_span_mm(lines: Sequence[CompletenessLine]) -> float:
    """Largest diameter drawn: beyond the rise of the curves nothing changes."""
    ends_mm = [max(line.diameter_mm, default=0.0) for line in lines]
    ends_mm += [line.d90_mm for line in lines if line.d90_mm is not None]
    rises_mm = [2.5 * d for line in lines for d in (line.d50_mm, line.d90_mm) if d]
    return min(max([*ends_mm, 1.0]), max([*rises_mm, _SMALLEST_SPAN_MM]))


def _draw_line(line: CompletenessLine, plot: _Plot, index: int) -> list[str]:
    color, dash = SERIES_FILL[index % 4], SERIES_DASH[index % 4]
    parts = []
    if line.low and line.high:
        upper = plot.points(line.diameter_mm, line.high)
        lower = plot.points(line.diameter_mm, line.low)
        parts.append(f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{color}" opacity=".15"/>')
    parts.append(
        f'<polyline points="{" ".join(plot.points(line.diameter_mm, line.probability))}" fill="none" '
        f'stroke="{color}" stroke-width="2.4" stroke-dasharray="{dash}"/>'
    )
    for diameter_mm, share in ((line.d50_mm, 0.5), (line.d90_mm, 0.9)):
        if diameter_mm is not None:
            parts.append(
                f'<circle cx="{plot.x(diameter_mm):.1f}" cy="{plot.y(share):.1f}" r="4.5" fill="#fff" '
                f'stroke="{color}" stroke-width="2">'
                f"<title>{escape(line.name)}: {share:.0%}, {diameter_mm:.2f} mm</title></circle>"
            )
    return parts
