"""What is drawn over a picture: marks, scale bar, sides, watermark."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

from miliary.model.saved.figure_index import FigureEntry, MarkEntry
from miliary.report.charts.svg import close_svg, write_text

_SCALE_BAR_MM = 50.0
_MIN_MARK_PX = 4.0
# The right of the patient is at the left of these pictures.
_PLANES_WITH_SIDES = frozenset({"axial", "coronal", "frontal"})
_STYLES: Mapping[str, str] = {
    "solid": "stroke:#e69f00",
    "subsolid": "stroke:#56b4e9;stroke-dasharray:5 3",
    "unresolved": "stroke:#f0e442;stroke-dasharray:2 2",
    "calcified": "stroke:#ff9ad5;stroke-dasharray:8 2 2 2",
    "kept": "stroke:#f0e442",
    "shrunk": "stroke:#56b4e9",
    "grown": "stroke:#ff8c42",
    "no_longer_seen": "stroke:#ff9ad5",
    # As files of earlier versions call it.
    "gone": "stroke:#ff9ad5",
    "new": "stroke:#e69f00",
}
# Each fate of a nodule has a shape of its own: triangle down or up, square, diamond; a kept one is a circle.
_CORNERS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "shrunk": ((0.0, 1.3), (-1.15, -0.7), (1.15, -0.7)),
    "grown": ((0.0, -1.3), (-1.15, 0.7), (1.15, 0.7)),
    "no_longer_seen": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "gone": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "new": ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
}


def draw_overlay(entry: FigureEntry, size_px: tuple[int, int], *, watermark: str = "") -> Markup:
    """Draw what lies over a slab or a projection.

    Parameters
    ----------
    entry : FigureEntry
        Plane, marks and size of a pixel.
    size_px : (int, int)
        Width and height of the picture.
    watermark : str
        Word across the picture; empty for none.

    Returns
    -------
    Markup
        An ``<svg>``; empty for a picture without a plane, which has its scale drawn in.
    """
    if not entry.plane:
        return Markup("")
    width, height = size_px
    bar = _SCALE_BAR_MM / (entry.pixel_mm or 1.0)
    parts = [f'<svg class="over" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">']
    if watermark:
        parts.append(
            f'<text class="water" x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle" '
            f'transform="rotate(-24 {width / 2:g} {height / 2:g})">{escape(watermark)}</text>'
        )
    parts.append(f'<g class="marks">{"".join(_draw_mark(mark) for mark in entry.marks)}</g>')
    parts.append(f'<path d="M10 {height - 12:g}h{bar:.1f}" class="bar"/>')
    parts.append(write_text(14 + bar, height - 8, f"{_SCALE_BAR_MM:g} mm", css="on"))
    if entry.plane in _PLANES_WITH_SIDES:
        parts += [write_text(6, 20, "R", css="on"), write_text(width - 18, 20, "L", css="on")]
    return close_svg(parts)


def _draw_mark(mark: MarkEntry) -> str:
    style = _STYLES.get(mark.label, _STYLES["solid"])
    title = f"<title>{mark.id} {escape(mark.label)}</title>"
    x, y = mark.column_px, mark.row_px
    corners = _CORNERS.get(mark.label)
    if corners is None:
        return f'<circle cx="{x:g}" cy="{y:g}" r="{mark.radius_px:g}" style="{style}">{title}</circle>'
    size = max(mark.radius_px, _MIN_MARK_PX)
    points = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" style="{style}">{title}</polygon>'
