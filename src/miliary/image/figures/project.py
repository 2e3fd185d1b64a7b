"""Slabs and projections: the pictures that are saved with a result.

Only the voxels of the slabs shown are read. Panels have one scale in mm, so a circle is a circle.
Radiological convention: the patient's left is on the right of the picture, the head up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from miliary.model.nodules import Attenuation, Nodules
from miliary.model.scan import Grid, Scan

Rgb = tuple[int, int, int]

SLAB_MM = 5.0
WINDOW_HU = (-1350.0, 150.0)

# Okabe and Ito's palette, told apart by color-blind readers; brightness differs too.
COLORS: dict[str, Rgb] = {
    Attenuation.SOLID: (230, 159, 0),
    Attenuation.SUBSOLID: (86, 180, 233),
    Attenuation.UNRESOLVED: (240, 228, 66),
    Attenuation.CALCIFIED: (204, 121, 167),
}

PANEL_WIDTH_PX = 500
_MARGIN_MM = 8.0
_GAP_PX = 6
_CAPTION_PX = 22
_FOOTER_PX = 30
_CIRCLE_MARGIN_MM = 1.5
_TEXT: Rgb = (225, 225, 225)


def render_slab_mip(
    volume: npt.NDArray[np.generic],
    *,
    axis: int,
    center_index: int,
    thickness_mm: float,
    spacing_mm: float,
) -> npt.NDArray[np.generic]:
    """Maximum-intensity projection of one slab.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
        Any real dtype; only the slab is read.
    axis : int
        Axis projected along.
    center_index : int
        Index of the slab's middle along `axis`; the slab is cut off at the ends of the volume.
    thickness_mm, spacing_mm : float
        Thickness of the slab and voxel spacing along `axis` [mm].

    Returns
    -------
    ndarray
        The two remaining axes in their order, dtype of `volume`.
    """
    first, last = slab_range(volume.shape[axis], center_index, thickness_mm / spacing_mm)
    slab = volume[(slice(None),) * axis + (slice(first, last),)]
    projection: npt.NDArray[np.generic] = slab.max(axis=axis)
    return projection


def render_preview(scan: Scan, labels: npt.NDArray[np.uint8], nodules: Nodules) -> npt.NDArray[np.uint8]:
    """The picture of a result: 5 mm slabs, plain above and with the nodules marked below.

    Axial slabs through the upper, middle and lower lung and a coronal slab through the middle of the
    lungs, in a lung window (-1350 to 150 HU). A nodule is circled where its sphere meets the slab, in
    the color of its attenuation class.

    Parameters
    ----------
    scan : Scan
    labels : ndarray of uint8, shape (z, y, x) of the scan
        Lungs, 0 outside; where there are none the whole scan is shown.
    nodules : Nodules

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
    """
    box = find_lung_box(labels, scan.grid)
    pixel_mm = find_pixel_mm(box, scan.grid)
    panels = [make_panel(scan, nodules, view, box, pixel_mm) for view in _choose_views(labels, box)]
    height = max(panel.image.height for panel in panels)
    width = sum(panel.image.width + _GAP_PX for panel in panels) + _GAP_PX
    row_px = height + _CAPTION_PX
    canvas = Image.new("RGB", (width, 2 * row_px + _FOOTER_PX))
    draw = ImageDraw.Draw(canvas)
    for row, is_marked in enumerate((False, True)):
        left = _GAP_PX
        for panel in panels:
            _place_panel(canvas, draw, panel, (left, row * row_px), is_marked=is_marked)
            left += panel.image.width + _GAP_PX
    _draw_footer(draw, 2 * row_px, pixel_mm, nodules)
    return np.asarray(canvas)


def stamp_simulated(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same picture with "SIMULATED" in its lower right corner; too small ones stay as they are.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns) or (rows, columns, 3)
    """
    image = Image.fromarray(pixels)
    if min(image.size) < 80:
        return pixels
    draw = ImageDraw.Draw(image)
    font = _font(13)
    place = (image.width - draw.textlength("SIMULATED", font=font) - 6, image.height - 20)
    white, black = (255, 0) if pixels.ndim == 2 else (_TEXT, (0, 0, 0))
    draw.text(place, "SIMULATED", fill=white, font=font, stroke_width=2, stroke_fill=black)
    return np.asarray(image)


@dataclass(frozen=True)
class View:
    """One slab: caption, axis projected along, index of its middle, thickness [mm]."""

    caption: str
    axis: int
    center: int
    thickness_mm: float = SLAB_MM


class Circle(NamedTuple):
    """A nodule on a panel: row of the table, column, row and radius [px], attenuation class."""

    nodule: int
    column: float
    row: float
    radius: float
    attenuation: str


@dataclass(frozen=True)
class Panel:
    """A slab as a gray picture, with the circles that mark it."""

    view: View
    image: Image.Image
    circles: tuple[Circle, ...]


def find_pixel_mm(box: tuple[slice, slice, slice], grid: Grid) -> float:
    """Side of a picture's pixel [mm], so that the lungs fill its width."""
    return max((box[2].stop - box[2].start) * grid.spacing_zyx_mm[2] / PANEL_WIDTH_PX, 0.2)


def slab_range(n: int, center: int, thickness: float) -> tuple[int, int]:
    """First and one past the last index of a slab of `thickness` voxels, at least one voxel."""
    count = max(1, round(thickness))
    first = min(max(center - (count - 1) // 2, 0), n - 1)
    return first, min(first + count, n)


def find_lung_box(labels: npt.NDArray[np.uint8], grid: Grid) -> tuple[slice, slice, slice]:
    """Bounding box of the lungs with a margin; the whole scan where there are none."""
    # A coarse look is enough: the margin is wider than its step.
    steps = tuple(max(1, int(3.0 / spacing)) for spacing in grid.spacing_zyx_mm)
    coarse = labels[:: steps[0], :: steps[1], :: steps[2]] > 0
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(coarse.any(axis=others))
        size, spacing = labels.shape[axis], grid.spacing_zyx_mm[axis]
        if len(inside) == 0:
            return (slice(0, labels.shape[0]), slice(0, labels.shape[1]), slice(0, labels.shape[2]))
        margin = round(_MARGIN_MM / spacing)
        first = int(inside[0]) * steps[axis] - margin
        last = int(inside[-1]) * steps[axis] + margin + steps[axis]
        box.append(slice(max(first, 0), min(last, size)))
    return (box[0], box[1], box[2])


def _choose_views(labels: npt.NDArray[np.uint8], box: tuple[slice, slice, slice]) -> list[View]:
    """Three axial slabs by height, the middle coronal one by where the lung tissue lies."""
    bottom, top = box[0].start, box[0].stop - 1
    middle_slice = labels[(bottom + top) // 2] > 0
    depth = np.flatnonzero(middle_slice.any(axis=1))
    center_y = int(np.median(depth)) if len(depth) else (box[1].start + box[1].stop) // 2
    heights = (("upper", 0.78), ("middle", 0.52), ("lower", 0.27))
    views = [View(f"axial, {name}", 0, round(bottom + part * (top - bottom))) for name, part in heights]
    return [*views, View("coronal, middle", 1, center_y)]


def make_panel(
    scan: Scan, nodules: Nodules, view: View, box: tuple[slice, slice, slice], pixel_mm: float
) -> Panel:
    """Project, window and resample one slab to square pixels, and place its circles."""
    spacing = scan.grid.spacing_zyx_mm
    across = list(box)
    across[view.axis] = slice(None)
    slab = render_slab_mip(
        scan.voxels_hu[tuple(across)],
        axis=view.axis,
        center_index=view.center,
        thickness_mm=view.thickness_mm,
        spacing_mm=spacing[view.axis],
    )
    row_axis = 1 if view.axis == 0 else 0
    low, high = WINDOW_HU
    gray = np.clip((slab.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    if row_axis == 0:
        gray = gray[::-1]  # rows run down the picture, z runs towards the head
    size = (
        max(1, round(gray.shape[1] * spacing[2] / pixel_mm)),
        max(1, round(gray.shape[0] * spacing[row_axis] / pixel_mm)),
    )
    image = Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC)
    return Panel(view, image, _place_circles(scan.grid, nodules, view, box, pixel_mm))


def _place_circles(
    grid: Grid, nodules: Nodules, view: View, box: tuple[slice, slice, slice], pixel_mm: float
) -> tuple[Circle, ...]:
    """Circles of the nodules whose sphere meets the slab, in pixels of the panel."""
    if len(nodules) == 0:
        return ()
    spacing = np.asarray(grid.spacing_zyx_mm)
    index = grid.index_from_lps(nodules.position_lps_mm)
    radius_mm = np.nan_to_num(nodules["diameter_mm"] / 2.0)
    first, last = slab_range(grid.shape_zyx[view.axis], view.center, view.thickness_mm / spacing[view.axis])
    reach = radius_mm / spacing[view.axis]
    along = index[:, view.axis]
    shown = np.flatnonzero((along + reach >= first - 0.5) & (along - reach <= last - 0.5))
    row_axis = 1 if view.axis == 0 else 0
    columns = (index[:, 2] - box[2].start + 0.5) * spacing[2] / pixel_mm
    rows = (index[:, row_axis] - box[row_axis].start + 0.5) * spacing[row_axis] / pixel_mm
    if row_axis == 0:
        rows = (box[0].stop - 0.5 - index[:, 0]) * spacing[0] / pixel_mm
    radii = (radius_mm + _CIRCLE_MARGIN_MM) / pixel_mm
    return tuple(
        Circle(int(i), float(columns[i]), float(rows[i]), float(radii[i]), str(nodules["attenuation"][i]))
        for i in shown
    )


def _place_panel(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], *, is_marked: bool
) -> None:
    """Paste one panel with its caption, sides and, in the lower row, its circles."""
    left, top = corner
    caption = f"{panel.view.caption}, {SLAB_MM:g} mm MIP"
    if is_marked:
        caption += f": {len(panel.circles)} marked"
    draw.text((left, top + 4), caption, fill=_TEXT, font=_font(13))
    top += _CAPTION_PX
    picture = panel.image.convert("RGB")
    if is_marked:
        pen = ImageDraw.Draw(picture)
        for _, column, row, radius, attenuation in panel.circles:
            corners = [column - radius, row - radius, column + radius, row + radius]
            pen.ellipse(corners, outline=COLORS[attenuation])
    canvas.paste(picture, (left, top))
    for text, column in (("R", left + 5), ("L", left + panel.image.width - 15)):
        draw.text((column, top + 3), text, fill=_TEXT, font=_font(15), stroke_width=2, stroke_fill=(0, 0, 0))


def _draw_footer(draw: ImageDraw.ImageDraw, top: int, pixel_mm: float, nodules: Nodules) -> None:
    """Scale bar of 50 mm and the colors' meaning with the counts of the whole scan."""
    length = round(50.0 / pixel_mm)
    middle = top + _FOOTER_PX // 2
    draw.line([(_GAP_PX, middle), (_GAP_PX + length, middle)], fill=_TEXT, width=3)
    draw.text((_GAP_PX + length + 8, middle - 8), "50 mm", fill=_TEXT, font=_font(13))
    left = _GAP_PX + length + 90.0
    for name, color in COLORS.items():
        draw.ellipse([left, middle - 6, left + 12, middle + 6], outline=color, width=2)
        count = int(np.count_nonzero(nodules["attenuation"] == str(name)))
        text = f"{name} ({count} in the scan)"
        draw.text((left + 18, middle - 8), text, fill=_TEXT, font=_font(13))
        left += 40 + draw.textlength(text, font=_font(13))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font: nothing is looked up on the machine."""
    return ImageFont.load_default(size=size)
