"""What is drawn over a picture: marks, scale bar, sides, diameters of a lesion, watermark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from miliary.report.charts.svg import close_svg, write_text
from miliary.report.reading import as_number, number, numbers, text

_SCALE_BAR_MM = 50.0
_STYLES: Mapping[str, str] = {
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
# Each fate of a nodule has a shape of its own: triangle down or up, square, diamond; a kept one is a circle.
_CORNERS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "shrunk": ((0.0, 1.3), (-1.15, -0.7), (1.15, -0.7)),
    "grown": ((0.0, -1.3), (-1.15, 0.7), (1.15, 0.7)),
    "gone": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "new": ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
}


def draw_overlay(about: Mapping[str, object], *, scale_label: str, watermark: str = "") -> Markup:
    """Draw what lies over a slab, a projection or a close-up of a lesion.

    Parameters
    ----------
    about : mapping
        The picture's entry in ``figures.json``.
    scale_label : str
        Words at the scale bar of 50 mm.
    watermark : str
        Word across the picture; empty for none.

    Returns
    -------
    Markup
        An ``<svg>``; empty for a picture that has neither a plane nor diameters.
    """
    size = numbers(about, "size_px")
    if len(size) != 2 or not (text(about, "plane") or about.get("long_axis_px")):
        return Markup("")
    width, height = size
    bar = _SCALE_BAR_MM / (number(about, "pixel_mm") or 1.0)
    parts = [f'<svg class="over" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">']
    if watermark:
        parts.append(
            f'<text class="water" x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle" '
            f'transform="rotate(-24 {width / 2:g} {height / 2:g})">{escape(watermark)}</text>'
        )
    parts.append(f'<g class="marks">{"".join(_draw_marks(about))}</g>')
    parts.append(f'<path d="M10 {height - 12:g}h{bar:.1f}" class="bar"/>')
    parts.append(write_text(14 + bar, height - 8, scale_label, css="on"))
    if text(about, "plane") in {"axial", "coronal", "frontal"}:
        parts += [write_text(6, 20, "R", css="on"), write_text(width - 18, 20, "L", css="on")]
    parts += _draw_diameters(about)
    return close_svg(parts)


def _draw_marks(about: Mapping[str, object]) -> Iterable[str]:
    marks = about.get("marks")
    for mark in marks if isinstance(marks, list) else []:
        if not isinstance(mark, list) or len(mark) != 5:
            continue
        column, row, radius = (as_number(v) for v in mark[1:4])
        if column is None or row is None or radius is None:
            continue
        style = _STYLES.get(str(mark[4]), _STYLES["solid"])
        title = f"<title>{escape(mark[0])} {escape(mark[4])}</title>"
        corners = _CORNERS.get(str(mark[4]))
        if corners is None:
            yield f'<circle cx="{column:g}" cy="{row:g}" r="{radius:g}" style="{style}">{title}</circle>'
            continue
        size = max(radius, 4.0)
        points = " ".join(f"{column + x * size:.1f},{row + y * size:.1f}" for x, y in corners)
        yield f'<polygon points="{points}" style="{style}">{title}</polygon>'


def _draw_diameters(about: Mapping[str, object]) -> Iterable[str]:
    """Diameters of a lesion: the long axis as a solid line, the short one dashed."""
    for name, dash in (("long_axis_px", ""), ("short_axis_px", "5 4")):
        ends = about.get(name)
        if not isinstance(ends, list) or len(ends) != 2:
            continue
        points = [as_number(v) for end in ends if isinstance(end, list) for v in end]
        if len(points) == 4 and None not in points:
            x1, y1, x2, y2 = points
            yield f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" class="caliper" stroke-dasharray="{dash}"/>'
