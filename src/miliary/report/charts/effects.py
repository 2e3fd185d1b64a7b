"""Measures of the pattern as multiples of what random placement would show."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from miliary.report.charts.svg import close_svg, open_svg, write_text

_WIDTH, _LEFT, _RIGHT = 720.0, 390.0, 20.0
_LINE = 28.0
_TICKS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
_SMALLEST_RATIO = 0.02


@dataclass(frozen=True)
class Effect:
    """One measure of the pattern.

    Parameters
    ----------
    name : str
        What was measured, in words.
    ratio : float
        Measured over expected under random placement; positive.
    low, high : float or None
        95 % interval of the ratio; None where none was saved.
    """

    name: str
    ratio: float
    low: float | None = None
    high: float | None = None


def draw_effects(effects: Sequence[Effect], *, title: str, label: str) -> Markup:
    """Draw ratios with their intervals on a logarithmic axis.

    Parameters
    ----------
    effects : sequence of Effect
    title : str
    label : str
        Words at a ratio of 1.

    Returns
    -------
    Markup
        An ``<svg>``.
    """
    height = 40 + _LINE * len(effects) + 22
    values = [v for effect in effects for v in (effect.ratio, effect.low, effect.high) if v]
    reach = max([math.log(4)] + [abs(math.log(max(v, _SMALLEST_RATIO))) for v in values])

    def at(ratio: float) -> float:
        share = math.log(min(max(ratio, math.exp(-reach)), math.exp(reach))) / reach
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (share + 1) / 2

    parts = [open_svg(_WIDTH, height, title)]
    for tick in _TICKS:
        if abs(math.log(tick)) <= reach + 1e-9:
            css = "axis" if tick == 1.0 else "grid"
            x = at(tick)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{height - 24:.1f}" class="{css}"/>')
            parts.append(write_text(x, height - 8, f"{tick:g}", anchor="middle"))
    for index, effect in enumerate(effects):
        y = 38 + index * _LINE
        lines = textwrap.wrap(effect.name, 58)[:2] or [""]
        first = y + 4 - 6 * (len(lines) - 1)
        parts += [write_text(4, first + 12 * row, line) for row, line in enumerate(lines)]
        if effect.low and effect.high:
            ends = f'x1="{at(effect.low):.1f}" x2="{at(effect.high):.1f}"'
            parts.append(f'<line {ends} y1="{y}" y2="{y}" class="axis"/>')
        x = at(effect.ratio) - 4
        parts.append(f'<rect x="{x:.1f}" y="{y - 4}" width="8" height="8" fill="#0072b2"/>')
    parts.append(write_text(at(1.0), 14, label, anchor="middle"))
    return close_svg(parts)
