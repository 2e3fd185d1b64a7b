"""Map of the burden seen from the front, in seven steps from light to dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from miliary.report.charts.svg import close_svg, open_svg, write_text

# Light to dark, so that a copy without color keeps the order.
_SCALE = ("#f7fbff", "#d6e6f4", "#abd0e6", "#6aaed6", "#3787c0", "#105ba4", "#08306b")
_MAP_WIDTH, _LEGEND_WIDTH = 380.0, 110

MapRows = Sequence[Sequence[float | None]]
"""Burden [mm3 per mL] by row (top to bottom) and column (patient's right to left); None outside the lungs."""


def find_map_peak(maps: Iterable[MapRows]) -> float:
    """Burden at which the common scale of several maps ends: 98 of 100 cells lie at or below it.

    Parameters
    ----------
    maps : iterable of rows of float or None

    Returns
    -------
    float
        0 where no map has a cell.
    """
    values = sorted(v for one in maps for row in one for v in row if v is not None)
    return values[int(0.98 * (len(values) - 1))] if values else 0.0


def draw_burden_map(rows: MapRows, *, title: str, peak: float, side_names: tuple[str, str]) -> Markup:
    """Draw one map with its legend.

    Parameters
    ----------
    rows : sequence of sequence of float or None
        Burden [mm3 per mL]; None outside the lungs.
    title : str
    peak : float
        Burden [mm3 per mL] at which the scale ends.
    side_names : (str, str)
        Words for the patient's right and left.

    Returns
    -------
    Markup
        An ``<svg>``.
    """
    n_columns = max((len(row) for row in rows), default=0)
    cell = _MAP_WIDTH / max(n_columns, 1)
    right = n_columns * cell
    parts = [open_svg(right + _LEGEND_WIDTH, max(len(rows) * cell + 6, 150.0), title)]
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if value is None:
                continue
            step = 0 if value <= 0 or peak <= 0 else min(1 + int(6 * value / peak), 6)
            parts.append(
                f'<rect x="{c * cell:.1f}" y="{r * cell:.1f}" width="{cell:.1f}" height="{cell:.1f}" '
                f'fill="{_SCALE[step]}" stroke="#b8c4cc" stroke-width=".4"><title>{value:g}</title></rect>'
            )
    parts += [
        write_text(4, 14, side_names[0], css="strong"),
        write_text(right, 14, side_names[1], anchor="end", css="strong"),
    ]
    for step, color in enumerate(_SCALE if peak > 0 else _SCALE[:1]):
        y = 12 + (6 - step) * 18
        parts.append(
            f'<rect x="{right + 10:.1f}" y="{y}" width="16" height="16" fill="{color}" stroke="#555"/>'
        )
        parts.append(write_text(right + 31, y + 12, _label_step(step, peak)))
    return close_svg(parts)


def _label_step(step: int, peak: float) -> str:
    if step == 0:
        return "0"
    if step == 6:
        return f"> {peak * 5 / 6:.2g}"
    return f"{peak * (step - 1) / 6:.2g}\u2013{peak * step / 6:.2g}"
