"""Where lung would lie if nothing opaque took its place: a wide outline, and its surface behind a lesion.

The wide outline fills dents of up to 64 mm in each lung, and takes from the mirror image of the other lung
what lies above the domes, and away from great vessels and heart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from miliary.image.anatomy import regions
from miliary.image.lesions.field import HULL_GRID_MM, LesionField, close_ball
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WIDE_MM = 32.0
# The two halves of a chest are alike to within this.
MIRROR_MM = 6.0
# The mirror image counts above this share of the height, so far from the midline. Below the second share of
# the height and in front of that share of the depth lies the heart, so far to the right and left.
DOME_SHARE, VESSELS_MM = 0.3, 40.0
HEART_HEIGHT_SHARE, HEART_DEPTH_SHARE = 0.65, 0.7
HEART_MM = {LABEL_RIGHT: 70.0, LABEL_LEFT: 110.0}
SPINE_MM = {LABEL_RIGHT: 15.0, LABEL_LEFT: VESSELS_MM}
MIN_SLICES = 4
# The surface behind a lesion continues that of the lung in a shell around it [mm], from so near the surface.
SHELL_MM, NEAR_SURFACE_MM, N_SHELL = (4.0, 18.0), 6.0, 400
# Balls that fill a dent end in front of a wall that bends away; the continued surface lies behind by less.
BEYOND_MM = 4.0


def find_wide_hull(field: LesionField) -> Mask:
    """Where lung would lie if nothing opaque took its place.

    Parameters
    ----------
    field : LesionField
        The lungs.

    Returns
    -------
    ndarray of bool, shape of the field
    """
    stride = np.maximum(1, np.round(HULL_GRID_MM / field.spacing_mm)).astype(int)
    small = field.labels[:: stride[0], :: stride[1], :: stride[2]]
    step = field.spacing_mm * stride
    closed = {side: close_ball(small == side, step, WIDE_MM) for side in (LABEL_RIGHT, LABEL_LEFT)}
    hull = closed[LABEL_RIGHT] | closed[LABEL_LEFT]
    if all(part.any() for part in closed.values()):
        for side in closed:
            hull |= _mirror(closed, side, small, step)
    rows = [
        np.minimum((np.arange(n) + s // 2) // s, m - 1)
        for n, s, m in zip(field.labels.shape, stride, small.shape, strict=True)
    ]
    return np.asarray(hull[np.ix_(*rows)] | (field.labels > 0))


def _mirror(closed: dict[int, Mask], side: int, labels: npt.NDArray[np.uint8], step: F64) -> Mask:
    """The mirror image of the other lung where the two halves of a chest are alike, less a margin."""
    other = LABEL_RIGHT + LABEL_LEFT - side
    middle = find_midline(labels)[:, None]
    columns = np.arange(labels.shape[2])
    mirrored = np.rint(2.0 * middle - columns).astype(int)
    is_inside = (mirrored >= 0) & (mirrored < labels.shape[2])
    is_inside &= (columns < middle) if side == LABEL_RIGHT else (columns > middle)
    at = np.broadcast_to(np.clip(mirrored, 0, labels.shape[2] - 1)[:, None], labels.shape)
    image = np.take_along_axis(closed[other], at, axis=2)
    image &= is_inside[:, None]
    off_mm = np.abs(columns - middle) * step[2]
    filled = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    rows = np.flatnonzero((labels > 0).any(axis=(0, 2)))
    height = filled[-1] - filled[0]
    image[: filled[0] + int(DOME_SHARE * height)] = False
    top = filled[0] + int(HEART_HEIGHT_SHARE * height)
    back = rows[0] + int(HEART_DEPTH_SHARE * (rows[-1] - rows[0]))
    image[:top, :back] &= (off_mm[:top] > HEART_MM[side])[:, None]
    # Beside the spine the left lung ends at the aorta, so that the right one reaches at least as far.
    image[:, :back] &= (off_mm > VESSELS_MM)[:, None]
    image[:, back:] &= (off_mm > SPINE_MM[side])[:, None]
    kept: Mask = (regions.measure_distance(image, step) > MIRROR_MM) & ~closed[other]
    return kept


def find_midline(labels: npt.NDArray[np.uint8]) -> F64:
    """Index along x halfway between the outer ends of the lungs in each slice: a straight line.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        1 right, 2 left lung.

    Returns
    -------
    ndarray of float64, shape (z,)
        The middle of the array where too few slices hold both lungs.
    """
    both = (labels == LABEL_RIGHT).any(axis=(1, 2)) & (labels == LABEL_LEFT).any(axis=(1, 2))
    k = np.flatnonzero(both)
    if len(k) < MIN_SLICES:
        return np.full(len(labels), 0.5 * (labels.shape[2] - 1))
    ends = np.array([np.flatnonzero((labels[z] > 0).any(axis=0))[[0, -1]] for z in k])
    width = ends[:, 1] - ends[:, 0]
    is_wide = width > 0.6 * width.max()
    k, middle = k[is_wide], ends.mean(axis=1)[is_wide]
    if len(k) < MIN_SLICES:
        return np.full(len(labels), float(np.median(middle)))
    error = np.abs(np.polyval(np.polyfit(k, middle, 1), k) - middle)
    near = error <= max(float(np.quantile(error, 0.75)), 1.0)
    return np.asarray(np.polyval(np.polyfit(k[near], middle[near], 1), np.arange(len(labels))))


def continue_surface(field: LesionField, center: F64, directions: F64, limit_mm: F64) -> F32 | None:
    """Continue the surface of the lung around a lesion behind it.

    A smooth function of the place, the signed distance to the outline of the lung, is fitted in a shell
    around the lesion and taken inside it; it extends the wide outline by a few millimeters at most.

    Parameters
    ----------
    field : LesionField
        The lungs, with the wide outline as hull.
    center : ndarray, shape (3,)
        Center of the lesion, as an index of the field.
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x).
    limit_mm : ndarray, shape (n,)
        How far the lesion reaches along each [mm].

    Returns
    -------
    ndarray of float32, shape of the field, or None
        Distance below the surface of the lung [mm], negative outside; NaN away from the lesion. None where
        too little of the surface is seen around it.
    """
    reach = float(limit_mm.max())
    low = np.maximum(0, np.floor(center - (reach + SHELL_MM[1] + 6.0) / field.spacing_mm)).astype(int)
    high = np.minimum(
        field.hu.shape, np.ceil(center + (reach + SHELL_MM[1] + 6.0) / field.spacing_mm).astype(int) + 1
    )
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    side = _choose_side(field, box)
    inside = close_ball(field.labels[box] == side, field.spacing_mm, 8.0)
    depth = _signed_depth(inside, field.spacing_mm)
    points = np.stack(np.meshgrid(*[np.arange(n) for n in inside.shape], indexing="ij"), axis=-1)
    offset = ((points + low - center) * field.spacing_mm).reshape(-1, 3)
    away = np.linalg.norm(offset, axis=1)
    limit = limit_mm[_nearest_direction(offset, away, directions)]
    values = depth.ravel()
    shell = (away > limit + SHELL_MM[0]) & (away < limit + SHELL_MM[1]) & (np.abs(values) < NEAR_SURFACE_MM)
    chosen = np.flatnonzero(shell)
    if len(chosen) < 60:
        return None
    chosen = chosen[:: max(1, len(chosen) // N_SHELL)]
    surface = RBFInterpolator(
        offset[chosen], values[chosen], kernel="thin_plate_spline", smoothing=1.0, degree=1
    )
    wide = ndimage.gaussian_filter(
        _signed_depth(field.hull[box], field.spacing_mm), 2.0 / field.spacing_mm
    ).ravel()
    wanted = np.flatnonzero((away <= limit + 8.0) & (np.abs(wide) < 3.0 * BEYOND_MM))
    out = np.full(field.hu.shape, np.nan, dtype=np.float32)
    part = wide.astype(np.float32)
    part[wanted] = np.maximum(wide[wanted], np.minimum(surface(offset[wanted]), wide[wanted] + BEYOND_MM))
    out[box] = part.reshape(inside.shape)
    return out


def _signed_depth(inside: Mask, spacing_mm: F64) -> F64:
    """Distance below the surface of a mask [mm], negative outside."""
    depth = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    depth -= ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    return np.asarray(depth - 0.5 * np.sign(depth) * float(spacing_mm.mean()))


def _choose_side(field: LesionField, box: tuple[slice, ...]) -> int:
    """The lung with more voxels around a point."""
    counts = np.bincount(field.labels[box].ravel(), minlength=3)
    return LABEL_RIGHT if counts[LABEL_RIGHT] >= counts[LABEL_LEFT] else LABEL_LEFT


def _nearest_direction(offset: F64, away: F64, directions: F64) -> npt.NDArray[np.int64]:
    """Index of the direction nearest to each offset (n, 3)."""
    _, nearest = cKDTree(directions).query(offset / np.maximum(away, 1e-9)[:, None])
    return np.asarray(nearest, dtype=np.int64)
