"""Right and left: two lungs that touch taken apart, and a lone one named by its place or outline."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy import lung_checks, regions
from miliary.image.anatomy.coarse import Coarse
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TISSUE_HU = -300.0
# One lung is no wider than this.
ONE_LUNG_MM = 190.0
# Centers of two lungs that touch lie this share of their common width apart, those of others at least so far;
# the smaller one has at least this share of the larger.
APART_SHARE, APART_MM, SMALLER_SHARE = 0.42, 60.0, 0.03
# The rim of the other lung lies within so many blocks of the side of the field.
EDGE_BLOCKS = 4
# Surface on which two lungs touch, as a share of one face of a cube as large as the smaller lung.
NECK_SHARE = 0.4
# The seam between two lungs that touch: attenuation to look below, and the share of both that is left there.
SEAM_HU, SEAM_SHARE = (-550.0, -650.0, -700.0, -750.0, -800.0), 0.6
# Distance of the slices in which the outline of a lone lung is looked at.
HOLLOW_STEP_MM, HOLLOW_SHARE = 7.0, 0.15
# What more of the tissue lies on the inner side of a lone lung, as a share of all of it.
TISSUE_SHARE = 0.1
# Distance from the midline of the body from which the side of a lone lung is clear.
OFF_MIDLINE_MM = 20.0


def label_parts(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Face-connected components and the size of each label (index 0: background, size 0)."""
    labels, n = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    sizes[0] = 0
    return labels, sizes


@nb.njit(nogil=True, cache=True)
def _sum_by_label(labels, values, total):  # type: ignore[no-untyped-def]
    for i in range(labels.size):
        total[labels[i]] += values[i]


def mean_by_label(
    labels: npt.NDArray[np.int32], values: npt.NDArray[np.generic], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Mean of `values` over each label; 0 for the background, whose size counts as 0."""
    total = np.zeros(len(sizes))
    _sum_by_label(labels.ravel(), values.ravel(), total)
    return np.where(sizes > 0, total / np.maximum(sizes, 1), 0.0)


def center_x(mask: Mask) -> float:
    """Mean index along x."""
    count = np.count_nonzero(mask, axis=(0, 1))
    return float(np.average(np.arange(len(count)), weights=count))


@nb.njit(cache=True)
def _grow_sides(sides, part):  # type: ignore[no-untyped-def]
    """Fill the part from both markers at one speed, so that each voxel goes to the side nearer within it."""
    nz, ny, nx = part.shape
    queue = np.empty(part.size, dtype=np.int64)
    head, tail = 0, 0
    for i in range(part.size):
        if sides.flat[i] > 0:
            queue[tail] = i
            tail += 1
    while head < tail:
        i = queue[head]
        head += 1
        z, y, x = i // (ny * nx), (i // nx) % ny, i % nx
        for dz, dy, dx in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)):
            a, b, c = z + dz, y + dy, x + dx
            if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx and part[a, b, c] and sides[a, b, c] == 0:
                sides[a, b, c] = sides[z, y, x]
                queue[tail] = (a * ny + b) * nx + c
                tail += 1


def _find_midline(coarse: Coarse) -> float:
    """Index along x halfway between the sides of the body."""
    if coarse.midline is not None:
        return coarse.midline
    columns: Mask = np.any(coarse.hu > TISSUE_HU, axis=1)
    middles = [0.5 * (hit[0] + hit[-1]) for hit in map(np.flatnonzero, columns) if len(hit)]
    return float(np.median(middles)) if middles else 0.5 * coarse.hu.shape[2]


def _split_sides(part: Mask, hu: F32, coarse: Coarse, midline: float) -> npt.NDArray[np.int32]:
    """Labels 1 and 2 for two lungs that touch, label 1 alone for one lung.

    Parameters
    ----------
    part : ndarray of bool
        Air of both lungs, a box of the coarse grid.
    hu : ndarray of float32, shape of `part`
    coarse : Coarse
    midline : float
        Index along x in this box.
    """
    # The pleura between them shows as a seam that is a little brighter than lung.
    for limit in SEAM_HU:
        labels, sizes = label_parts(part & (hu < limit))
        pair = _find_pair(labels, sizes) or _find_sliver(labels, sizes, coarse)
        if pair is not None and sizes[list(pair)].sum() > SEAM_SHARE * np.count_nonzero(part):
            sides = np.where(labels == pair[0], np.int32(1), np.int32(0))
            sides += np.where(labels == pair[1], np.int32(2), np.int32(0))
            _grow_sides(sides, part)
            return sides if _has_neck(sides, coarse) else part.astype(np.int32)
    depth = regions.measure_distance(part, coarse.spacing_mm)
    for level in coarse.scale * np.arange(2.0, 24.0, 2.0):
        labels, sizes = label_parts(depth > level)
        pair = _find_pair(labels, sizes)
        if pair is None:
            continue
        sides = np.zeros(part.shape, dtype=np.int32)
        # Where nothing shows between the lungs they meet behind the breastbone: each grows in its own half of
        # the body first, or one would take a tongue of the other that is nearer to it.
        before = np.arange(part.shape[2]) < midline
        for side, marker, half in ((1, pair[0], before), (2, pair[1], ~before)):
            own = np.where((labels == marker) & half, np.int32(side), np.int32(0))
            _grow_sides(own, part & half)
            sides += own
        _grow_sides(sides, part)
        return sides if _has_neck(sides, coarse) else part.astype(np.int32)
    return part.astype(np.int32)


def _has_neck(sides: npt.NDArray[np.int32], coarse: Coarse) -> bool:
    """Two lungs meet on a small surface; halves of one lung meet on a whole section of it."""
    contact_mm2 = 0.0
    for axis, spacing in enumerate(coarse.spacing_mm):
        before, after = (np.moveaxis(sides, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        contact_mm2 += np.count_nonzero(before * after == 2) * coarse.voxel_ml * 1000.0 / spacing
    smaller_ml = min(np.count_nonzero(sides == side) for side in (1, 2)) * coarse.voxel_ml
    return bool(contact_mm2 < NECK_SHARE * (1000.0 * smaller_ml) ** (2.0 / 3.0))


def _find_pair(labels: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """The right and the left of the two largest components, where they can be two lungs."""
    order = np.argsort(sizes)[::-1][:2]
    if len(order) < 2 or sizes[order[1]] < 0.25 * sizes[order[0]] or sizes[order[1]] == 0:
        return None
    centers = [center_x(labels == index) for index in order]
    if abs(centers[0] - centers[1]) < APART_SHARE * (labels.shape[2] - 2):
        return None
    right, left = sorted(range(2), key=lambda k: centers[k])
    return int(order[right]), int(order[left])


def _find_sliver(
    labels: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64], coarse: Coarse
) -> tuple[int, int] | None:
    """The right and the left of a lung and the rim of the other one, where the field cuts the body."""
    order = np.argsort(sizes)[::-1][:2]
    if coarse.midline is not None or len(order) < 2:
        return None
    share = sizes[order[1]] / sizes[order[0]]
    if not SMALLER_SHARE < share < 0.25:
        return None
    centers = [center_x(labels == index) for index in order]
    if abs(centers[0] - centers[1]) * coarse.spacing_mm[2] < APART_MM * coarse.scale:
        return None
    # It is cut by the side of the field; a margin of one block lies round the part.
    columns = np.flatnonzero((labels == order[1]).any(axis=(0, 1)))
    if columns[0] > EDGE_BLOCKS and columns[-1] < labels.shape[2] - 1 - EDGE_BLOCKS:
        return None
    right, left = sorted(range(2), key=lambda k: centers[k])
    return int(order[right]), int(order[left])


def choose_lungs(
    coarse: Coarse, labels: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64], order: list[int]
) -> npt.NDArray[np.int32]:
    """Labels 1 and 2 for two lungs, in any order, or 1 for a lone one.

    The largest component is both lungs where it is wide, or alone, and falls apart into two that lie side by
    side; else the other lung is the next component beside it.
    """
    boxes = ndimage.find_objects(labels)
    out = np.zeros(labels.shape, dtype=np.int32)
    first = boxes[order[0] - 1]
    out[first][labels[first] == order[0]] = 1
    other = _find_other(coarse, labels, sizes, order, boxes)
    is_wide = (first[2].stop - first[2].start) * coarse.spacing_mm[2] > ONE_LUNG_MM * coarse.scale
    if is_wide or other is None:
        box = _grow_box(first, 1, out.shape)
        midline = _find_midline(coarse) - box[2].start
        out[box] = _split_sides(np.ascontiguousarray(out[box] == 1), coarse.hu[box], coarse, midline)
    if out[first].max() == 1 and other is not None:
        out[boxes[other - 1]][labels[boxes[other - 1]] == other] = 2
    return out


def _find_other(
    coarse: Coarse,
    labels: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    order: list[int],
    boxes: list[tuple[slice, slice, slice]],
) -> int | None:
    """The largest component beside the first one, at the same height and well to one side."""
    first = boxes[order[0] - 1]
    center = center_x(labels[first] == order[0]) + first[2].start
    for index in order[1:]:
        box = boxes[index - 1]
        off_mm = abs(center_x(labels[box] == index) + box[2].start - center) * coarse.spacing_mm[2]
        common = min(box[0].stop, first[0].stop) - max(box[0].start, first[0].start)
        is_beside = common > lung_checks.COMMON_HEIGHT_SHARE * (box[0].stop - box[0].start)
        is_apart = off_mm > APART_MM * coarse.scale
        if is_beside and is_apart and sizes[index] > SMALLER_SHARE * sizes[order[0]]:
            return index
    return None


def _grow_box(box: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """A box with a margin, inside the array."""
    z, y, x = (
        slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, shape, strict=True)
    )
    return z, y, x


def name_single(coarse: Coarse, lung: Mask) -> tuple[int, bool]:
    """Label of a lone lung, from where it lies or else from its outline, and whether that is sure.

    Ribs make the outer side convex; heart, hilum and spine hollow the inner one.
    """
    if coarse.midline is not None:
        off = center_x(lung) - coarse.midline
        if abs(off) * coarse.spacing_mm[2] > OFF_MIDLINE_MM * coarse.scale:
            return (LABEL_RIGHT if off < 0 else LABEL_LEFT), True
    hollow = np.zeros(2)
    step = max(1, round(HOLLOW_STEP_MM / coarse.spacing_mm[0]))
    for plane in lung[::step]:
        filled = np.flatnonzero(plane.any(axis=1))
        if len(filled) < 3:
            continue
        rows = plane[filled]
        sides = (rows.argmax(axis=1), rows[:, ::-1].argmax(axis=1))
        for side, gap in enumerate(sides):
            hollow[side] += np.sum(gap - _lower_hull(filled, gap))
    hollow_label = LABEL_RIGHT if hollow[1] > hollow[0] else LABEL_LEFT
    # Heart and spine lie on the inner side, where there is more tissue.
    columns = np.count_nonzero(coarse.hu > TISSUE_HU, axis=(0, 1))
    split = round(center_x(lung))
    before, after = float(columns[:split].sum()), float(columns[split + 1 :].sum())
    tissue_label = LABEL_RIGHT if after > before else LABEL_LEFT
    is_hollow = abs(hollow[1] - hollow[0]) > HOLLOW_SHARE * hollow.sum()
    is_sure = hollow_label == tissue_label and abs(after - before) > TISSUE_SHARE * (after + before)
    return (hollow_label if is_hollow else tissue_label), is_hollow and is_sure


def _lower_hull(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The lower convex hull of points with ascending x, at every x."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return np.interp(x, x[hull], y[hull])
