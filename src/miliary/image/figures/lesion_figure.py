"""Render close-ups of lesions: axial at the longest diameter, the same with diameters, and coronal.

Radiological convention: the left of the patient is on the right of the picture, the head is up.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from miliary.image.figures.project import WINDOW_HU
from miliary.model.figure import Figure
from miliary.model.lesion import Lesion, LesionAttenuation
from miliary.model.scan import Scan

F64 = npt.NDArray[np.float64]
Rgb = tuple[int, int, int]

PANEL_PX, GAP_PX, CAPTION_PX = 360, 6, 22
MIN_WIDTH_MM, WIDTH_SHARE = 50.0, 2.4
_LONG: Rgb = (240, 228, 66)
_SHORT: Rgb = (86, 180, 233)
_TEXT: Rgb = (225, 225, 225)
_KINDS = {
    LesionAttenuation.SOLID: "lesion",
    LesionAttenuation.PART_SOLID: "part-solid lesion",
    LesionAttenuation.GROUND_GLASS: "ground-glass lesion",
}


def render_lesions(scan: Scan, lesions: Iterable[Lesion]) -> tuple[Figure, ...]:
    """Render one picture per lesion.

    Parameters
    ----------
    scan : Scan
        The scan.
    lesions : iterable of Lesion
        Its lesions.

    Returns
    -------
    tuple of Figure
        Named ``lesion_<id>``, kind ``lesion``. The longest diameter is drawn as a solid line, the short axis
        dashed.
    """
    return tuple(_render(scan, lesion) for lesion in lesions)


def _render(scan: Scan, lesion: Lesion) -> Figure:
    width_mm = max(MIN_WIDTH_MM, WIDTH_SHARE * lesion.long_axis_mm)
    pixel_mm = width_mm / PANEL_PX
    index = scan.grid.index_from_lps
    ends = index(lesion.long_axis_ends_lps_mm)
    middle = index(lesion.centroid_lps_mm)
    on_slice = np.array([ends[:, 0].mean(), *middle[1:]])
    axial = _cut(scan, on_slice, axis=0, pixel_mm=pixel_mm)
    coronal = _cut(scan, middle, axis=1, pixel_mm=pixel_mm)
    drawn = axial.copy()
    draw = ImageDraw.Draw(drawn)
    for points, color, is_dashed in (
        (ends, _LONG, False),
        (index(lesion.short_axis_ends_lps_mm), _SHORT, True),
    ):
        line = _to_pixels(points, on_slice, scan, pixel_mm)
        _draw_line(draw, line, color, is_dashed=is_dashed)
    size = f"{lesion.long_axis_mm:.1f} x {lesion.short_axis_mm:.1f} mm"
    if lesion.attenuation is not LesionAttenuation.SOLID:
        size += f", solid part {lesion.solid_axis_mm:.1f} mm"
    captions = ("axial", size, "coronal")
    canvas = Image.new("RGB", (3 * PANEL_PX + 4 * GAP_PX, PANEL_PX + CAPTION_PX + GAP_PX))
    pen = ImageDraw.Draw(canvas)
    for k, (panel, caption) in enumerate(zip((axial, drawn, coronal), captions, strict=True)):
        left = GAP_PX + k * (PANEL_PX + GAP_PX)
        canvas.paste(panel, (left, CAPTION_PX))
        pen.text((left, 3), caption, fill=_TEXT, font=ImageFont.load_default(size=13))
        for text, at in (("R", left + 5), ("L", left + PANEL_PX - 15)):
            pen.text((at, CAPTION_PX + 3), text, fill=_TEXT, font=ImageFont.load_default(size=15))
    _draw_scale(pen, pixel_mm)
    where = f"{lesion.side.value} {lesion.zone.value} zone"
    kind = "cavitary lesion" if lesion.is_cavitary else _KINDS[lesion.attenuation]
    return Figure(
        name=f"lesion_{lesion.id}",
        kind="lesion",
        title=f"{kind} {lesion.id}, {where}: {lesion.long_axis_mm:.1f} mm",
        pixels=np.asarray(canvas),
        pixel_mm=pixel_mm,
        facts={"lesion_id": lesion.id, "window_hu": list(WINDOW_HU)},
    )


def _cut(scan: Scan, middle: F64, *, axis: int, pixel_mm: float) -> Image.Image:
    """A square of one slice around a point; black beyond the scan."""
    spacing = scan.grid.spacing_zyx_mm
    rows = 1 if axis == 0 else 0
    k = int(np.clip(round(middle[axis]), 0, scan.grid.shape_zyx[axis] - 1))
    offset = (np.arange(PANEL_PX) - (PANEL_PX - 1) / 2) * pixel_mm
    down = offset if axis == 0 else -offset
    row = middle[rows] + down / spacing[rows]
    column = middle[2] + offset / spacing[2]
    first = [max(0, int(np.floor(v.min())) - 1) for v in (row, column)]
    last = [int(np.ceil(v.max())) + 3 for v in (row, column)]
    view: list[slice | int] = [slice(first[0], last[0])] * 3
    view[axis], view[2] = k, slice(first[1], last[1])
    plane = scan.voxels_hu[tuple(view)].astype(np.float32)
    low, high = WINDOW_HU
    gray = np.clip((plane - low) * (255.0 / (high - low)), 0, 255)
    shown = _interpolate(gray, row - first[0], column - first[1])
    return Image.fromarray(shown.astype(np.uint8)).convert("RGB")


def _interpolate(plane: npt.NDArray[np.float32], row: F64, column: F64) -> npt.NDArray[np.float32]:
    """Bilinear values at the crossings of fractional rows and columns, 0 outside."""
    ny, nx = plane.shape
    inside = ((row >= -0.5) & (row <= ny - 0.5))[:, None] & ((column >= -0.5) & (column <= nx - 0.5))
    y, x = np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)
    j, i = np.minimum(y.astype(int), max(ny - 2, 0)), np.minimum(x.astype(int), max(nx - 2, 0))
    b, c = (y - j)[:, None].astype(np.float32), (x - i).astype(np.float32)
    j1, i1 = np.minimum(j + 1, ny - 1), np.minimum(i + 1, nx - 1)
    top = plane[j][:, i] * (1 - c) + plane[j][:, i1] * c
    low = plane[j1][:, i] * (1 - c) + plane[j1][:, i1] * c
    return np.asarray(np.where(inside, top * (1 - b) + low * b, 0.0), dtype=np.float32)


def _to_pixels(points: F64, middle: F64, scan: Scan, pixel_mm: float) -> list[tuple[float, float]]:
    """Columns and rows of points in the axial panel."""
    away = (points - middle) * np.asarray(scan.grid.spacing_zyx_mm) / pixel_mm + (PANEL_PX - 1) / 2
    return [(float(x), float(y)) for _, y, x in away]


def _draw_line(
    draw: ImageDraw.ImageDraw, ends: list[tuple[float, float]], color: Rgb, *, is_dashed: bool
) -> None:
    if not is_dashed:
        draw.line(ends, fill=color, width=2)
        return
    first, last = np.asarray(ends[0]), np.asarray(ends[1])
    n = max(1, int(np.linalg.norm(last - first) / 6.0))
    for k in range(0, n, 2):
        a, b = (first + (last - first) * t / n for t in (k, min(k + 1, n)))
        draw.line([tuple(a), tuple(b)], fill=color, width=2)


def _draw_scale(draw: ImageDraw.ImageDraw, pixel_mm: float) -> None:
    """Draw a bar of 10 mm in the first panel."""
    bottom = CAPTION_PX + PANEL_PX - 10
    draw.line([(GAP_PX + 8, bottom), (GAP_PX + 8 + 10.0 / pixel_mm, bottom)], fill=_TEXT, width=3)
    draw.text((GAP_PX + 8, bottom - 18), "10 mm", fill=_TEXT, font=ImageFont.load_default(size=13))
