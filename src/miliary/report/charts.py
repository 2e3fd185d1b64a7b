"""Small drawings in SVG: readable in black and white, told apart without color, no script.

Every function returns a whole ``<svg>`` with a title for those who hear the page.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from miliary.report.reading import as_number, find, items, number, numbers, pair, text

# Okabe and Ito's palette, darkened where it must show on white; each series has its own texture too.
SERIES_FILL = ("#0072b2", "#d55e00", "#5f6b00", "#8b3a78")
SERIES_DASH = ("", "6 3", "2 3", "8 3 2 3")
MARK_STYLE: Mapping[str, str] = {
    "solid": "stroke:#e69f00",
    "subsolid": "stroke:#56b4e9;stroke-dasharray:5 3",
    "unresolved": "stroke:#f0e442;stroke-dasharray:2 2",
    "calcified": "stroke:#ff9ad5;stroke-dasharray:8 2 2 2",
    "kept": "stroke:#f0e442",
    "shrunk": "stroke:#56b4e9",
    "grown": "stroke:#ff8c42",
    "gone": "stroke:#ff9ad5",
    "new": "stroke:#e69f00",
}
# What became of a nodule has a shape of its own: triangle down or up, square, diamond; a circle stayed.
_MARK_CORNERS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "shrunk": ((0.0, 1.3), (-1.15, -0.7), (1.15, -0.7)),
    "grown": ((0.0, -1.3), (-1.15, 0.7), (1.15, 0.7)),
    "gone": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "new": ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
}
# Light to dark, so that a copy without color keeps the order.
SCALE = ("#f7fbff", "#d6e6f4", "#abd0e6", "#6aaed6", "#3787c0", "#105ba4", "#08306b")


@dataclass(frozen=True)
class Series:
    """One row of bars or one line: its name and values by position."""

    name: str
    values: Sequence[float]


def open_svg(width: float, height: float, title: str, *, css: str = "chart") -> str:
    """Opening tag of a drawing that is an image to a screen reader."""
    return (
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    )


def write_text(x: float, y: float, said: object, *, anchor: str = "start", css: str = "") -> str:
    """One line of text."""
    style = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(said)}</text>'


def choose_ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round values that cover a range."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / about
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _textures(name: str) -> str:
    """Fills of the series of one drawing: plain, hatched, dotted, crossed; some printers look no further."""
    lines = ("", "M0 6L6 0", "M3 3h.01", "M0 0L6 6M0 6L6 0")
    parts = []
    for index, (fill, line) in enumerate(zip(SERIES_FILL, lines, strict=True)):
        stroke = f'<path d="{line}" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/>' if line else ""
        parts.append(
            f'<pattern id="{name}{index}" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<rect width="6" height="6" fill="{fill}"/>{stroke}</pattern>'
        )
    return f"<defs>{''.join(parts)}</defs>"


def draw_histogram(
    edges: Sequence[float], series: Sequence[Series], *, title: str, x_label: str, y_label: str
) -> Markup:
    """Bars side by side over common bins; the last bin may be open above."""
    width, height, left, bottom, top = 720.0, 270.0, 56.0, 48.0, 26.0
    n = max((len(s.values) for s in series), default=0)
    peak = max((max(s.values, default=0.0) for s in series), default=0.0) or 1.0
    # Nodules are whole.
    ticks = [tick for tick in choose_ticks(0.0, peak) if tick == int(tick)]
    cell = (width - left - 12) / max(n, 1)
    scale = (height - top - bottom) / peak
    parts = [open_svg(width, height, title), _textures("bar")]
    for tick in ticks:
        y = height - bottom - tick * scale
        parts.append(f'<line x1="{left}" x2="{width - 12}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(write_text(left - 6, y + 4, f"{tick:,.0f}", anchor="end"))
    bar = cell * 0.84 / max(len(series), 1)
    for place, one in enumerate(series):
        for index, value in enumerate(one.values):
            x = left + index * cell + cell * 0.08 + place * bar
            parts.append(
                f'<rect x="{x:.1f}" y="{height - bottom - value * scale:.1f}" width="{bar:.1f}" '
                f'height="{value * scale:.1f}" fill="url(#bar{place % 4})" stroke="#222" stroke-width=".6">'
                f"<title>{escape(one.name)}: {value:,.0f}</title></rect>"
            )
        parts += _legend_entry(left + 8 + place * 190, one.name, place, css="bar")
    for index in range(0, n + 1, 2):
        said = f"{edges[index]:g}" if index < len(edges) else "+"
        parts.append(write_text(left + index * cell, height - bottom + 16, said, anchor="middle"))
    parts.append(write_text((left + width) / 2, height - 10, x_label, anchor="middle"))
    parts.append(write_text(4, 14, y_label))
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def _legend_entry(x: float, name: str, place: int, *, css: str) -> list[str]:
    box = (
        f'<rect x="{x + 110:.1f}" y="5" width="12" height="12" fill="url(#{css}{place % 4})" stroke="#222"/>'
    )
    return [box, write_text(x + 127, 15, name[:26])]


def draw_completeness(
    curves: Sequence[tuple[str, Mapping[str, Sequence[float]], float | None, float | None]],
    *,
    title: str,
    x_label: str,
    y_label: str,
) -> Markup:
    """Probability of being found by diameter, with its band, and the 50 % and 90 % diameters.

    Each curve is (name, {"x", "y", "low", "high"}, 50 % diameter, 90 % diameter).
    """
    width, height, left, bottom, top = 720.0, 270.0, 56.0, 48.0, 26.0
    far = max([max(c["x"], default=0.0) for _, c, _, _ in curves] + [d or 0.0 for *_, d in curves] + [1.0])
    # Beyond the rise nothing happens: the curve is drawn where it tells something.
    risen = max([2.5 * d for *_, half, most in curves for d in (half, most) if d] + [3.0])
    far = min(far, risen)
    curves = [(name, _crop(curve, far), d50, d90) for name, curve, d50, d90 in curves]
    across = (width - left - 12) / far
    down = height - top - bottom
    parts = [open_svg(width, height, title), _textures("line")]
    for tick in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        y = height - bottom - tick * down
        parts.append(f'<line x1="{left}" x2="{width - 12}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(write_text(left - 6, y + 4, f"{tick:.0%}", anchor="end"))
    parts += [
        write_text(left + tick * across, height - bottom + 16, f"{tick:g}", anchor="middle")
        for tick in choose_ticks(0.0, far, about=8)
    ]
    for place, (name, curve, d50, d90) in enumerate(curves):
        color, dash = SERIES_FILL[place % 4], SERIES_DASH[place % 4]

        def at(x: float, y: float) -> str:
            return f"{left + x * across:.1f},{height - bottom - min(max(y, 0.0), 1.0) * down:.1f}"

        if curve["low"] and curve["high"]:
            upper = [at(x, y) for x, y in zip(curve["x"], curve["high"], strict=False)]
            lower = [at(x, y) for x, y in zip(curve["x"], curve["low"], strict=False)]
            parts.append(f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{color}" opacity=".15"/>')
        line = " ".join(at(x, y) for x, y in zip(curve["x"], curve["y"], strict=False))
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2.4" '
            f'stroke-dasharray="{dash}"/>'
        )
        for diameter, share in ((d50, 0.5), (d90, 0.9)):
            if diameter is not None:
                cx, cy = at(diameter, share).split(",")
                parts.append(
                    f'<circle cx="{cx}" cy="{cy}" r="4.5" fill="#fff" stroke="{color}" stroke-width="2">'
                    f"<title>{escape(name)}: {share:.0%}, {diameter:.2f} mm</title></circle>"
                )
        parts += _legend_entry(left + 8 + place * 190, name, place, css="line")
    parts.append(write_text((left + width) / 2, height - 10, x_label, anchor="middle"))
    parts.append(write_text(4, 14, y_label))
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def _crop(curve: Mapping[str, Sequence[float]], far: float) -> Mapping[str, Sequence[float]]:
    n = sum(x <= far for x in curve["x"])
    return {name: values[:n] for name, values in curve.items()}


def read_curve(summary: object) -> Mapping[str, Sequence[float]] | None:
    """The completeness curve of ``scan.json``, whichever of its forms it has."""
    for name in ("completeness.curve", "completeness"):
        part = find(summary, name)
        x = numbers(part, "diameter_mm")
        y = numbers(part, "probability") or numbers(part, "detected") or numbers(part, "completeness")
        if len(x) > 1 and len(x) == len(y):
            low, high = (
                numbers(part, f"ci95_{end}") or numbers(part, f"probability_{end}") or numbers(part, end)
                for end in ("low", "high")
            )
            fits = len(low) == len(high) == len(x)
            return {"x": x, "y": y, "low": low if fits else [], "high": high if fits else []}
    rows = items(summary, "completeness.curve")
    points = [(number(r, "diameter_mm"), number(r, "probability")) for r in rows]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    if len(known) > 1:
        return {"x": [x for x, _ in known], "y": [y for _, y in known], "low": [], "high": []}
    return None


def draw_effects(rows: Sequence[Mapping[str, object]], *, title: str, label: str) -> Markup:
    """Ratios to what random placement would show, with their intervals, on a logarithmic axis."""
    known = []
    for row in rows:
        ratio = as_number(row.get("ratio"))
        low, high = pair(row, "ratio_ci95") or (None, None)
        if ratio is not None and ratio > 0:
            known.append((str(row.get("meaning") or row.get("name") or ""), ratio, low, high))
    width, line = 720.0, 28.0
    height = 40 + line * len(known) + 22
    left = 390.0
    reach = max(
        [math.log(4)] + [abs(math.log(max(v, 0.02))) for _, r, lo, hi in known for v in (r, lo, hi) if v]
    )

    def at(value: float) -> float:
        share = math.log(min(max(value, math.exp(-reach)), math.exp(reach))) / reach
        return left + (width - left - 20) * (share + 1) / 2

    parts = [open_svg(width, height, title)]
    for tick in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0):
        if abs(math.log(tick)) <= reach + 1e-9:
            css = "axis" if tick == 1.0 else "grid"
            x = at(tick)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{height - 24:.1f}" class="{css}"/>')
            parts.append(write_text(x, height - 8, f"{tick:g}", anchor="middle"))
    for index, (name, ratio, low, high) in enumerate(known):
        y = 38 + index * line
        lines = textwrap.wrap(name, 58)[:2] or [""]
        first = y + 4 - 6 * (len(lines) - 1)
        parts += [write_text(4, first + 12 * place, said) for place, said in enumerate(lines)]
        if low and high:
            parts.append(f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" class="axis"/>')
        parts.append(f'<rect x="{at(ratio) - 4:.1f}" y="{y - 4}" width="8" height="8" fill="#0072b2"/>')
    parts.append(write_text(at(1.0), 14, label, anchor="middle"))
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def find_map_peak(maps: Iterable[Mapping[str, object]]) -> float:
    """Where the scale of several burden maps ends: one cell in fifty may lie above."""
    values = sorted(v for one in maps for row in _rows(one) for v in row if v is not None)
    return values[int(0.98 * (len(values) - 1))] if values else 0.0


def _rows(about: Mapping[str, object]) -> list[list[float | None]]:
    values = about.get("values")
    rows = [row for row in values if isinstance(row, list)] if isinstance(values, list) else []
    return [[as_number(v) for v in row] for row in rows]


def draw_burden_map(
    about: Mapping[str, object], *, title: str, peak: float, words: Mapping[str, str]
) -> Markup:
    """The burden seen from the front, in seven steps from light to dark."""
    rows = _rows(about)
    n_rows, n_columns = len(rows), max((len(row) for row in rows), default=0)
    cell = 380.0 / max(n_columns, 1)
    width, height = n_columns * cell + 110, max(n_rows * cell + 6, 150.0)
    parts = [open_svg(width, height, title)]
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if value is None:
                continue
            step = 0 if value <= 0 or peak <= 0 else min(1 + int(6 * value / peak), 6)
            parts.append(
                f'<rect x="{c * cell:.1f}" y="{r * cell:.1f}" width="{cell:.1f}" height="{cell:.1f}" '
                f'fill="{SCALE[step]}" stroke="#b8c4cc" stroke-width=".4"><title>{value:g}</title></rect>'
            )
    side = n_columns * cell
    parts += [
        write_text(4, 14, words["right"], css="strong"),
        write_text(side, 14, words["left"], anchor="end", css="strong"),
    ]
    for step, color in enumerate(SCALE if peak > 0 else SCALE[:1]):
        y = 12 + (6 - step) * 18
        said = "0" if step == 0 else f"{peak * (step - 1) / 6:.2g}\u2013{peak * step / 6:.2g}"
        said = f"> {peak * 5 / 6:.2g}" if step == 6 else said
        parts.append(
            f'<rect x="{side + 10:.1f}" y="{y}" width="16" height="16" fill="{color}" stroke="#555"/>'
        )
        parts.append(write_text(side + 31, y + 12, said))
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def draw_marks(about: Mapping[str, object], *, scale_word: str, watermark: str = "") -> Markup:
    """What lies over a slab: scale bar and sides always, circles where marks are shown."""
    size = numbers(about, "size_px")
    if len(size) != 2 or not (text(about, "plane") or about.get("long_axis_px")):
        return Markup("")
    width, height = size
    pixel_mm = number(about, "pixel_mm") or 1.0
    bar = 50.0 / pixel_mm
    parts = [f'<svg class="over" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">']
    if watermark:
        parts.append(
            f'<text class="water" x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle" '
            f'transform="rotate(-24 {width / 2:g} {height / 2:g})">{escape(watermark)}</text>'
        )
    parts.append(f'<g class="marks">{"".join(_mark_shapes(about))}</g>')
    parts.append(f'<path d="M10 {height - 12:g}h{bar:.1f}" class="bar"/>')
    parts.append(write_text(14 + bar, height - 8, scale_word, css="on"))
    if text(about, "plane") in {"axial", "coronal", "frontal"}:
        parts += [write_text(6, 20, "R", css="on"), write_text(width - 18, 20, "L", css="on")]
    parts += _line_shapes(about)
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def _mark_shapes(about: Mapping[str, object]) -> Iterable[str]:
    marks = about.get("marks")
    for mark in marks if isinstance(marks, list) else []:
        if not isinstance(mark, list) or len(mark) != 5:
            continue
        column, row, radius = (as_number(v) for v in mark[1:4])
        if column is None or row is None or radius is None:
            continue
        style = MARK_STYLE.get(str(mark[4]), MARK_STYLE["solid"])
        title = f"<title>{escape(mark[0])} {escape(mark[4])}</title>"
        corners = _MARK_CORNERS.get(str(mark[4]))
        if corners is None:
            yield f'<circle cx="{column:g}" cy="{row:g}" r="{radius:g}" style="{style}">{title}</circle>'
            continue
        size = max(radius, 4.0)
        points = " ".join(f"{column + x * size:.1f},{row + y * size:.1f}" for x, y in corners)
        yield f'<polygon points="{points}" style="{style}">{title}</polygon>'


def _line_shapes(about: Mapping[str, object]) -> Iterable[str]:
    """Diameters drawn over a lesion: the long axis whole, the short one dashed."""
    for name, dash in (("long_axis_px", ""), ("short_axis_px", "5 4")):
        ends = about.get(name)
        if not isinstance(ends, list) or len(ends) != 2:
            continue
        points = [as_number(v) for end in ends if isinstance(end, list) for v in end]
        if len(points) == 4 and None not in points:
            x1, y1, x2, y2 = points
            yield f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" class="caliper" stroke-dasharray="{dash}"/>'
