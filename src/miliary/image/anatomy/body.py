"""The body on a scan: where it lies, how large it is, and where the field of view ends.

What lies beside the body - table, mattress, clothes, tubes - is thin or apart from it, whatever the field of
view; so the body is the largest thick piece of tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull

from miliary.model.scan import Scan

Mask = npt.NDArray[np.bool_]

# Points are sampled this far apart; tissue thinner than three of them is no part of the core of the body.
SAMPLE_MM = 4.0
CORE_HU = -300.0
# What is added to the core again on each side: the layer that the erosion took, and skin.
MARGIN_MM = 12.0
# A chest this wide and deep, or larger, is an adult's; smaller ones shrink all lengths, with a reserve.
ADULT_WIDTH_MM, ADULT_DEPTH_MM, SCALE_RESERVE, SCALE_MIN = 340.0, 220.0, 1.25, 0.35
# Slices of the padding that is looked for, and how far from a circle its edge may lie.
PADDING_SLICES, CIRCLE_ERROR_PIXELS, MIN_EDGE_POINTS, MIN_CORNERS = 12, 1.5, 20, 8
# Padding as the reader leaves it, and the highest value that can be padding.
PADDING_HU, PADDING_MAX_HU = -1024, -1000


@dataclass(frozen=True)
class BodyExtent:
    """Extent of the body in the voxels of a scan.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (z, 2)
        First and past-the-last row and column of the body in each slice, skin included; the edge of the
        slices where the field of view does not show that side of the body.
    scale : float
        Size of the chest relative to an adult's, 0.35 to 1; lengths scale with it. Where the field of view
        cuts the body this rests on the field.
    midline : float or None
        Column halfway between the sides of the body; None where a side lies outside the field of view.
    field : ndarray of bool, shape (y, x), or None
        Inside the round field of view; None where it fills the slices.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    scale: float
    midline: float | None
    field: Mask | None


def measure_body(scan: Scan) -> BodyExtent:
    """Where the body lies, apart from table and clothes.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    BodyExtent
        Without any thick tissue the whole field counts as body, at scale 1.
    """
    field = find_field(scan)
    nz, ny, nx = scan.grid.shape_zyx
    step = [max(1, round(SAMPLE_MM / s)) for s in scan.grid.spacing_zyx_mm]
    tissue = scan.voxels_hu[:: step[0], :: step[1], :: step[2]] > CORE_HU
    if field is not None:
        # The edge of the field cuts the body but does not make it thin.
        tissue |= ~field[:: step[1], :: step[2]] & ndimage.binary_dilation(
            tissue & field[:: step[1], :: step[2]], ndimage.generate_binary_structure(3, 1)
        )
    core = _find_core(tissue)
    rows = _measure_extent(np.any(core, axis=2), nz, ny, step[0], step[1], scan.grid.spacing_zyx_mm[1])
    columns = _measure_extent(np.any(core, axis=1), nz, nx, step[0], step[2], scan.grid.spacing_zyx_mm[2])
    bounds = _bound_field(field, ny, nx)
    used = core.sum(axis=(1, 2))
    used = np.repeat(used > 0.5 * used.max(initial=0), step[0])[:nz]
    if not used.any():
        return BodyExtent(_fill(nz, ny), _fill(nz, nx), 1.0, None, field)
    depth_mm, ends_y, _ = _measure_span(rows[used], bounds[0], scan.grid.spacing_zyx_mm[1])
    width_mm, ends_x, middle = _measure_span(columns[used], bounds[1], scan.grid.spacing_zyx_mm[2])
    is_deep, is_wide = all(ends_y), all(ends_x)
    ratios = np.array([width_mm / ADULT_WIDTH_MM, depth_mm / ADULT_DEPTH_MM])
    # What the field of view cuts off makes a length a lower bound only.
    ratio = float(np.sqrt(ratios.prod())) if is_deep and is_wide else float(ratios.max())
    return BodyExtent(
        rows=_open_ends(rows, ends_y, ny),
        columns=_open_ends(columns, ends_x, nx),
        scale=float(np.clip(SCALE_RESERVE * ratio, SCALE_MIN, 1.0)),
        midline=middle if is_wide else None,
        field=field,
    )


def _fill(nz: int, n: int) -> npt.NDArray[np.int64]:
    """Extent of a body that fills an axis of n voxels in all slices."""
    return np.tile(np.array([0, n], dtype=np.int64), (nz, 1))


def find_field(scan: Scan) -> Mask | None:
    """Where a round field of view lies in the slices, from the constant padding round it.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    ndarray of bool, shape (y, x), or None
        None where no padding with a circular edge is seen: still air is not taken for padding.
    """
    sample = scan.voxels_hu[:: max(1, scan.grid.shape_zyx[0] // PADDING_SLICES)]
    lowest = max(int(sample.min()), PADDING_HU)
    shown = sample.max(axis=0) > lowest
    if lowest > PADDING_MAX_HU or shown.mean() > 0.995 or not shown.any():
        return None
    labels, n = ndimage.label(shown)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel(), minlength=n + 1)[1:])
    edge = np.argwhere(largest & ~ndimage.binary_erosion(largest, border_value=1))
    if len(edge) < MIN_EDGE_POINTS:
        return None
    # Still air at the edge looks like padding and dents it; the corners of the hull lie on the circle.
    corners = edge[ConvexHull(edge).vertices].astype(np.float64)
    last = np.asarray(shown.shape) - 2
    corners = corners[np.all((corners > 1) & (corners < last), axis=1)]
    if len(corners) < MIN_CORNERS:
        return None
    # Circle by linear least squares: y^2 + x^2 = a y + b x + c.
    design = np.column_stack([corners, np.ones(len(corners))])
    (a, b, c), *_ = np.linalg.lstsq(design, (corners**2).sum(axis=1), rcond=None)
    radius = np.sqrt(max(c + 0.25 * (a * a + b * b), 0.0))
    error = np.hypot(corners[:, 0] - 0.5 * a, corners[:, 1] - 0.5 * b) - radius
    if np.sqrt(np.mean(error**2)) > CIRCLE_ERROR_PIXELS:
        return None
    y, x = np.ogrid[: shown.shape[0], : shown.shape[1]]
    field: Mask = np.hypot(y - 0.5 * a, x - 0.5 * b) <= radius
    return field | largest


def _find_core(tissue: Mask) -> Mask:
    """The largest piece that is left of tissue when its outermost layer is taken off."""
    eroded = ndimage.binary_erosion(tissue, ndimage.generate_binary_structure(3, 1), border_value=1)
    labels, n = ndimage.label(eroded)
    if n == 0:
        return np.zeros_like(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    core: Mask = labels == np.argmax(sizes)
    return core


def _measure_extent(
    line: Mask, nz: int, n: int, step_z: int, step: int, spacing_mm: float
) -> npt.NDArray[np.int64]:
    """First and past-the-last voxel along one axis in every slice, from sampled ones (z, n), margin included.

    They may lie outside the slices.
    """
    margin = round(MARGIN_MM / spacing_mm)
    out = np.tile(np.array([0, n], dtype=np.int64), (len(line), 1))
    filled = line.any(axis=1)
    if filled.any():
        out[:, 0] = np.where(filled, line.argmax(axis=1) * step - margin, n + margin)
        out[:, 1] = np.where(filled, (line.shape[1] - line[:, ::-1].argmax(axis=1)) * step + margin, -margin)
        # Neighboring slices share the wider extent, and slices without any core that of the others.
        out[:, 0] = ndimage.minimum_filter1d(out[:, 0], 5)
        out[:, 1] = ndimage.maximum_filter1d(out[:, 1], 5)
        empty = out[:, 0] >= out[:, 1]
        out[empty] = (out[~empty, 0].min(), out[~empty, 1].max())
    return np.repeat(out, step_z, axis=0)[:nz]


def _bound_field(field: Mask | None, ny: int, nx: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and past-the-last row and column of the field."""
    if field is None:
        return (0, ny), (0, nx)
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _open_ends(extent: npt.NDArray[np.int64], is_seen: tuple[bool, bool], n: int) -> npt.NDArray[np.int64]:
    """The extent within n voxels, up to the edge of the slices where an end of the body is not seen."""
    out = np.clip(extent, 0, n)
    if not is_seen[0]:
        out[:, 0] = 0
    if not is_seen[1]:
        out[:, 1] = n
    return out


def _measure_span(
    extent: npt.NDArray[np.int64], bounds: tuple[int, int], spacing_mm: float
) -> tuple[float, tuple[bool, bool], float]:
    """Typical length [mm] of an extent, whether each of its ends is seen, and the voxel in its middle."""
    first, last = (float(v) for v in np.median(extent, axis=0))
    # The core of a body that the field cuts reaches its edge; skin that is seen keeps it away from there.
    margin, layer = round(MARGIN_MM / spacing_mm), SAMPLE_MM / spacing_mm
    first, last = first + margin, last - margin
    is_seen = (first > bounds[0] + layer, last < bounds[1] - layer)
    middle = 0.5 * (first + last - 1.0)
    if all(is_seen):
        return (last - first) * spacing_mm + 2.0 * SAMPLE_MM, is_seen, middle
    return (min(last, bounds[1]) - max(first, bounds[0])) * spacing_mm, is_seen, middle
