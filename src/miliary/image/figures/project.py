"""Render slabs and projections, the pictures that are saved with a result.

Only the voxels of the slabs shown are read. Pixels are square in millimeters. Radiological convention: the
left of the patient is on the right of the picture, the head is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.scan import Grid, Scan

Rgb = tuple[int, int, int]

SLAB_MM = 5.0
WINDOW_HU = (-1350.0, 150.0)

# Palette of Okabe and Ito, distinguishable by color-blind readers; brightness differs too.
COLORS: dict[str, Rgb] = {
    Attenuation.SOLID: (230, 159, 0),
    Attenuation.SUBSOLID: (86, 180, 233),
    Attenuation.UNRESOLVED: (240, 228, 66),
    Attenuation.CALCIFIED: (204, 121, 167),
}

# Outlines of the right and the left lung, thin and half transparent.
OUTLINE_COLORS: dict[int, Rgb] = {LABEL_RIGHT: (255, 90, 90), LABEL_LEFT: (90, 160, 255)}

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
    part = volume[(slice(None),) * axis + (slice(first, last),)]
    projection: npt.NDArray[np.generic] = part.max(axis=axis)
    return projection


def render_preview(scan: Scan, labels: npt.NDArray[np.uint8], nodules: Nodules) -> npt.NDArray[np.uint8]:
    """Render the preview of a result: 5 mm slabs, plain above, with lungs and nodules outlined below.

    Axial slabs through the upper, middle and lower lung and a coronal slab through the center of the lungs,
    in a lung window (-1350 to 150 HU). A nodule is circled where its sphere intersects the slab, in the color
    of its attenuation class. The outline of the lungs, in the middle of the slab, is red on the right and
    blue on the left, so that one look tells whether it is right.

    Parameters
    ----------
    scan : Scan
        The scan.
    labels : ndarray of uint8, shape (z, y, x) of the scan
        Lung labels, 0 outside; the whole scan is shown where there are none.
    nodules : Nodules
        All reported nodules.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        RGB.
    """
    box = find_lung_box(labels, scan.grid)
    pixel_mm = find_pixel_mm(box, scan.grid)
    panels = [
        _outline_lungs(make_panel(scan, nodules, slab, box, pixel_mm), labels, box)
        for slab in _choose_slabs(labels, box)
    ]
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
    """Write "SIMULATED" into the lower right corner of a picture.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns) or (rows, columns, 3)
        The picture; not modified.

    Returns
    -------
    ndarray of uint8, same shape
        A copy; pictures under 80 pixels are returned unchanged.
    """
    image = Image.fromarray(pixels)
    if min(image.size) < 80:
        return pixels
    draw = ImageDraw.Draw(image)
    font = _font(13)
    corner = (image.width - draw.textlength("SIMULATED", font=font) - 6, image.height - 20)
    white, black = (255, 0) if pixels.ndim == 2 else (_TEXT, (0, 0, 0))
    draw.text(corner, "SIMULATED", fill=white, font=font, stroke_width=2, stroke_fill=black)
    return np.asarray(image)


@dataclass(frozen=True)
class Slab:
    """One slab through a scan.

    Parameters
    ----------
    caption : str
        Name of the slab.
    axis : int
        Axis projected along: 0 for axial, 1 for coronal.
    center : int
        Index of its center along that axis.
    thickness_mm : float
        Thickness [mm].
    """

    caption: str
    axis: int
    center: int
    thickness_mm: float = SLAB_MM


class Circle(NamedTuple):
    """A nodule on a panel: row in the table, column, row and radius [pixels], attenuation class."""

    nodule: int
    column: float
    row: float
    radius: float
    attenuation: str


@dataclass(frozen=True)
class Panel:
    """A slab as a gray picture.

    Parameters
    ----------
    slab : Slab
        What is shown.
    image : PIL.Image.Image
        The picture.
    circles : tuple of Circle
        The nodules whose sphere intersects the slab.
    outlines : ndarray of uint8, shape of the picture, optional
        Lung label on the outline of each lung, 0 elsewhere.
    """

    slab: Slab
    image: Image.Image
    circles: tuple[Circle, ...]
    outlines: npt.NDArray[np.uint8] | None = None


def find_pixel_mm(box: tuple[slice, slice, slice], grid: Grid) -> float:
    """Side of a pixel with which a part of a scan fills the width of a panel.

    Parameters
    ----------
    box : tuple of slice
        Part of the scan (z, y, x).
    grid : Grid
        Grid of the scan.

    Returns
    -------
    float
        Side of a pixel [mm], at least 0.2 mm.
    """
    return max((box[2].stop - box[2].start) * grid.spacing_zyx_mm[2] / PANEL_WIDTH_PX, 0.2)


def slab_range(n: int, center: int, thickness: float) -> tuple[int, int]:
    """Range of voxels of a slab.

    Parameters
    ----------
    n : int
        Number of voxels of the scan along the axis.
    center : int
        Index of the center of the slab.
    thickness : float
        Thickness [voxels]; at least one voxel is taken.

    Returns
    -------
    tuple of int
        First and one past the last index, within the scan.
    """
    count = max(1, round(thickness))
    first = min(max(center - (count - 1) // 2, 0), n - 1)
    return first, min(first + count, n)


def find_lung_box(labels: npt.NDArray[np.uint8], grid: Grid) -> tuple[slice, slice, slice]:
    """Bounding box of the lungs with a margin of 8 mm.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) of `grid`
        Lung labels, 0 outside.
    grid : Grid
        Grid of the scan.

    Returns
    -------
    tuple of slice
        Along (z, y, x); the whole scan where there is no lung.
    """
    # Every third millimeter is enough, since the margin is wider.
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


def _choose_slabs(labels: npt.NDArray[np.uint8], box: tuple[slice, slice, slice]) -> list[Slab]:
    """Three axial slabs by height, and the coronal slab through the median of the lung tissue."""
    bottom, top = box[0].start, box[0].stop - 1
    middle_slice = labels[(bottom + top) // 2] > 0
    depth = np.flatnonzero(middle_slice.any(axis=1))
    center_y = int(np.median(depth)) if len(depth) else (box[1].start + box[1].stop) // 2
    heights = (("upper", 0.78), ("middle", 0.52), ("lower", 0.27))
    slabs = [Slab(f"axial, {name}", 0, round(bottom + part * (top - bottom))) for name, part in heights]
    return [*slabs, Slab("coronal, middle", 1, center_y)]


def make_panel(
    scan: Scan, nodules: Nodules, slab: Slab, box: tuple[slice, slice, slice], pixel_mm: float
) -> Panel:
    """Project, window and resample one slab to square pixels, and place its circles.

    Parameters
    ----------
    scan : Scan
        The scan.
    nodules : Nodules
        Nodules to circle.
    slab : Slab
        The slab.
    box : tuple of slice
        Part of the scan that is shown, from `find_lung_box`.
    pixel_mm : float
        Side of a pixel [mm].

    Returns
    -------
    Panel
    """
    spacing = scan.grid.spacing_zyx_mm
    across = list(box)
    across[slab.axis] = slice(None)
    projection = render_slab_mip(
        scan.voxels_hu[tuple(across)],
        axis=slab.axis,
        center_index=slab.center,
        thickness_mm=slab.thickness_mm,
        spacing_mm=spacing[slab.axis],
    )
    row_axis = 1 if slab.axis == 0 else 0
    low, high = WINDOW_HU
    gray = np.clip((projection.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    if row_axis == 0:
        gray = gray[::-1]  # rows run down the picture, z runs towards the head
    size = (
        max(1, round(gray.shape[1] * spacing[2] / pixel_mm)),
        max(1, round(gray.shape[0] * spacing[row_axis] / pixel_mm)),
    )
    image = Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC)
    return Panel(slab, image, _place_circles(scan.grid, nodules, slab, box, pixel_mm))


def _outline_lungs(panel: Panel, labels: npt.NDArray[np.uint8], box: tuple[slice, slice, slice]) -> Panel:
    """The panel with the outlines of the lungs in the middle of its slab."""
    across: list[slice | int] = list(box)
    across[panel.slab.axis] = panel.slab.center
    plane = labels[tuple(across)]
    if panel.slab.axis == 1:
        plane = plane[::-1]
    picture = Image.fromarray(np.ascontiguousarray(plane)).resize(panel.image.size, Image.Resampling.NEAREST)
    sides = np.pad(np.asarray(picture), 1)
    core = sides[1:-1, 1:-1]
    inner = np.ones(core.shape, dtype=bool)
    for rows, columns in ((slice(None, -2), slice(1, -1)), (slice(2, None), slice(1, -1)),
                          (slice(1, -1), slice(None, -2)), (slice(1, -1), slice(2, None))):  # fmt: skip
        inner &= sides[rows, columns] == core
    return replace(panel, outlines=np.where(inner, np.uint8(0), core))


def _place_circles(
    grid: Grid, nodules: Nodules, slab: Slab, box: tuple[slice, slice, slice], pixel_mm: float
) -> tuple[Circle, ...]:
    """Circles of the nodules whose sphere intersects the slab, in pixels of the panel."""
    if len(nodules) == 0:
        return ()
    spacing = np.asarray(grid.spacing_zyx_mm)
    index = grid.index_from_lps(nodules.position_lps_mm)
    radius_mm = np.nan_to_num(nodules["diameter_mm"] / 2.0)
    first, last = slab_range(grid.shape_zyx[slab.axis], slab.center, slab.thickness_mm / spacing[slab.axis])
    reach = radius_mm / spacing[slab.axis]
    along = index[:, slab.axis]
    shown = np.flatnonzero((along + reach >= first - 0.5) & (along - reach <= last - 0.5))
    row_axis = 1 if slab.axis == 0 else 0
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
    caption = f"{panel.slab.caption}, {SLAB_MM:g} mm MIP"
    if is_marked:
        caption += f": {len(panel.circles)} marked"
    draw.text((left, top + 4), caption, fill=_TEXT, font=_font(13))
    top += _CAPTION_PX
    picture = panel.image.convert("RGB")
    if is_marked:
        if panel.outlines is not None:
            for label, color in OUTLINE_COLORS.items():
                picture.paste(color, mask=Image.fromarray((panel.outlines == label).astype(np.uint8) * 160))
        pen = ImageDraw.Draw(picture)
        for _, column, row, radius, attenuation in panel.circles:
            corners = [column - radius, row - radius, column + radius, row + radius]
            pen.ellipse(corners, outline=COLORS[attenuation])
    canvas.paste(picture, (left, top))
    for text, column in (("R", left + 5), ("L", left + panel.image.width - 15)):
        draw.text((column, top + 3), text, fill=_TEXT, font=_font(15), stroke_width=2, stroke_fill=(0, 0, 0))


def _draw_footer(draw: ImageDraw.ImageDraw, top: int, pixel_mm: float, nodules: Nodules) -> None:
    """Scale bar of 50 mm, and the meaning of the colors with the counts of the whole scan."""
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
    """The font of Pillow, so that pictures do not depend on the machine."""
    return ImageFont.load_default(size=size)
