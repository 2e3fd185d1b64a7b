"""Find both lungs: air inside the body on a coarse grid, airways out, sides apart, outline closed.

The work is done on a grid of about 2 mm as a field of lung fraction per voxel, which keeps the outline
better than a voxel when it is interpolated back to the grid of the scan. In a small chest, a child's, the
grid and all other lengths shrink with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy import lung_checks, lung_sides
from miliary.image.anatomy.body import BodyExtent, measure_body
from miliary.image.anatomy.coarse import Coarse, measure_coarse
from miliary.image.anatomy.fill import replace_fill
from miliary.image.kernels import loops
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, Lungs
from miliary.model.scan import Scan, ScanWarning

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

AIR_MAX_HU = -450.0
LUNG_HU = -850.0
SOFT_HU = 30.0
CLOSING_MM = 7.0
MIN_LUNGS_ML = 300.0
MIN_PART_ML = 4.0
MAX_AIRWAY_ML, TRACHEA_HU = 160.0, -930.0
GAS_HU = -965.0
PART_GAP_MM = 6.0
# The dome of the diaphragm, seen as a hole in a slice of lung: large, and on tissue that goes on below, where
# under a mass that touches the chest wall there is lung again.
DOME_ML, DOME_SHARE, DOME_DEPTH_MM = 5.0, 0.5, 30.0
# Gas in the bowel: darker than lung, and its wall is tissue, where that of a bulla is lung.
DARK_HU, BOWEL_HU, BOWEL_ML, MAX_LUNG_SHARE = -940.0, -960.0, (1.0, 3000.0), 0.3
# Share of dark voxels from which air is gas, not lung: of a part, and of a whole lung, which emphysema
# darkens.
GAS_PART_SHARE, GAS_LUNG_SHARE, WHOLE_LUNG_ML = 0.35, 0.8, 500.0
CUT_LUNG_ML, CUT_LUNG_HU = 100.0, -950.0
TISSUE_HU, WALL_MM, ENCLOSED_SHARE = -300.0, 8.0, 0.55
# Share of the lung round a part of it that lies no higher than its top.
BESIDE_SHARE = 0.25
MIN_LUNG_ML, LUNG_HU_RANGE = 60.0, (-960.0, -480.0)
# Lung that a scan shows only the end of may be less.
MIN_CUT_LUNGS_ML, MIN_CUT_LUNG_ML = 60.0, 20.0
# A lung whose wall lies outside the field: this much of it [mL] lies so deep [mm] under its surface, its
# density there, and the share of vessels in it.
CORE_ML, CORE_DEPTH_MM, CORE_HU_RANGE = 60.0, 9.0, (-915.0, -500.0)
VESSEL_HU, VESSEL_SHARE, MAX_CORE_GAS, MIN_CORE_ML = -600.0, (0.01, 0.15), 0.1, 5.0
# Share of it that lies within the skin, as far as that is seen, and between walls.
MIN_BODY_SHARE, MIN_ENCLOSED_SHARE = 0.9, 0.05
# A part of which more than this lies that deep is thick; one with less than this two blocks deep is a sheet.
THICK_SHARE, SHEET_SHARE = 0.1, 0.03


def _inner_air(coarse: Coarse) -> Mask:
    """Air that lies inside the body."""
    air = coarse.hu < AIR_MAX_HU
    if coarse.field is not None:
        air &= coarse.field
    labels, sizes = lung_sides.label_parts(air)
    border = np.unique(labels[:, _find_rim(coarse)])
    inside = sizes > 0
    inside[border] = False
    means = lung_sides.mean_by_label(labels, coarse.hu, sizes)
    is_large = sizes * coarse.voxel_ml > coarse.scale_ml(CUT_LUNG_ML)
    # A narrow field of view cuts through the lungs themselves. Air outside the body is darker than lung, and
    # what is not, as foam, lies on one side of the body only; so does the air inside a table.
    is_lung = is_large & (means > CUT_LUNG_HU) & (means < 0.0)
    doubtful = (is_large & inside) | is_lung
    covers = np.zeros(len(sizes), dtype=bool)
    if doubtful.any():
        shares = lung_sides.mean_by_label(labels, _is_enclosed(coarse), sizes)
        enclosed = shares > ENCLOSED_SHARE
        whole = np.sort(sizes[is_large & inside & enclosed])
        for index in np.flatnonzero(is_lung & enclosed & ~inside):
            # Where both lungs lie whole in the field, what else is there has to show that it is lung.
            is_third = len(whole) > 1 and sizes[index] < whole[-2]
            enclosed[index] = _is_thick_or_vascular(coarse, labels == index, is_third=is_third)
            covers[index] = is_third and not enclosed[index]
        for index in np.flatnonzero(is_lung & ~enclosed & ~inside & ~covers & (shares > MIN_ENCLOSED_SHARE)):
            enclosed[index] = _looks_like_lung(coarse, labels == index)
        inside[is_large & ~enclosed] = False
        inside[is_lung & enclosed] = True
    inner: Mask = inside[labels]
    # Through an open mouth, or padding above a tilted scan, the trachea joins one lung to the air outside.
    leaked, sizes = lung_sides.label_parts(_inner_air_by_slice(air, coarse) & ~inner & ~covers[labels])
    means = lung_sides.mean_by_label(leaked, coarse.hu, sizes)
    back = (sizes * coarse.voxel_ml > coarse.scale_ml(CUT_LUNG_ML)) & (means > CUT_LUNG_HU) & (means < 0.0)
    if back.any():
        back &= lung_sides.mean_by_label(leaked, _is_enclosed(coarse), sizes) > ENCLOSED_SHARE
        inner |= back[leaked]
    return inner


def _looks_like_lung(coarse: Coarse, part: Mask) -> bool:
    """Air at the rim of the field that is lung by itself: thick, of the density of lung, and full of vessels.

    A field within the chest shows no wall round a lung. Air between covers is thin, foam holds no vessels.
    """
    # Where the skin is seen nothing beyond it is lung.
    z, y, x = np.nonzero(part)
    is_body = (y >= coarse.rows[z, 0]) & (y < coarse.rows[z, 1])
    is_body &= (x >= coarse.columns[z, 0]) & (x < coarse.columns[z, 1])
    if np.mean(is_body) < MIN_BODY_SHARE:
        return False
    reach = max(1, round(CORE_DEPTH_MM * coarse.scale / coarse.spacing_mm[1]))
    own, core, hu = _find_depth(coarse, part, reach)
    if np.count_nonzero(core) * coarse.voxel_ml < coarse.scale_ml(CORE_ML):
        return False
    air = hu[core & own]
    is_lung = CORE_HU_RANGE[0] < float(air.mean()) < CORE_HU_RANGE[1]
    is_lung &= float(np.mean(air < GAS_HU)) < MAX_CORE_GAS
    return bool(is_lung and VESSEL_SHARE[0] < float(np.mean(hu[core] > VESSEL_HU)) < VESSEL_SHARE[1])


def _is_thick_or_vascular(coarse: Coarse, part: Mask, *, is_third: bool) -> bool:
    """Whether air at the rim of the field is thick, or holds vessels: air under a cover is and does neither.

    What is too small to tell counts as lung, unless it is a thin sheet. Beside two whole lungs a thick part
    must hold the vessels of a lung as well: foam and folded covers are thick, and their folds are few.
    """
    reach = max(1, round(CORE_DEPTH_MM * coarse.scale / coarse.spacing_mm[1]))
    _, core, hu = _find_depth(coarse, part, reach)
    if np.count_nonzero(core) > THICK_SHARE * np.count_nonzero(part):
        return not is_third or float(np.mean(hu[core] > VESSEL_HU)) > 2.0 * VESSEL_SHARE[0]
    _, core, hu = _find_depth(coarse, part, 2)
    if np.count_nonzero(core) * coarse.voxel_ml < coarse.scale_ml(MIN_CORE_ML):
        return bool(np.count_nonzero(core) > SHEET_SHARE * np.count_nonzero(part))
    return float(np.mean(hu[core] > VESSEL_HU)) > 0.5 * VESSEL_SHARE[0]


def _find_depth(coarse: Coarse, part: Mask, reach: int) -> tuple[Mask, Mask, F32]:
    """A part in its box, what lies `reach` blocks and more under its surface, and the attenuation there.

    What the part encloses belongs to it, and the edge of the scan is no surface.
    """
    box = _box(part, margin=reach + 3)
    own = np.pad(part[box], reach + 3, mode="edge")
    deep = ndimage.binary_erosion(ndimage.binary_closing(own, iterations=2), iterations=reach)
    inner = (slice(reach + 3, -reach - 3),) * 3
    return part[box], deep[inner], coarse.hu[box]


def _find_rim(coarse: Coarse) -> Mask:
    """Blocks (j, i) at the edge of the part of the scan, or at that of a round field of view."""
    rim = np.ones(coarse.hu.shape[1:], dtype=bool)
    rim[1:-1, 1:-1] = False
    if coarse.field is not None:
        rim |= ndimage.binary_dilation(~coarse.field, iterations=1)
    return rim


def _is_enclosed(coarse: Coarse) -> Mask:
    """Where at least 8 mm of the body lie on two opposite sides: in front and behind, or right and left."""
    tissue = coarse.hu > TISSUE_HU
    for k, ((top, bottom), (first, last)) in enumerate(zip(coarse.rows, coarse.columns, strict=True)):
        tissue[k, : max(0, top)] = tissue[k, max(0, bottom) :] = False
        tissue[k, :, : max(0, first)] = tissue[k, :, max(0, last) :] = False
    out = np.zeros(tissue.shape, dtype=bool)
    for axis in (1, 2):
        wall = math.ceil(WALL_MM * coarse.scale / coarse.spacing_mm[axis])
        before = np.cumsum(tissue, axis=axis, dtype=np.int16)
        out |= (before >= wall) & (np.take(before, [-1], axis=axis) - before >= wall)
    return out


def _inner_air_by_slice(air: Mask, coarse: Coarse) -> Mask:
    """As `_inner_air`, each slice for itself: where air outside leaks in through the ends of the scan."""
    rim = _find_rim(coarse)
    out = np.zeros_like(air)
    for k, plane in enumerate(air):
        labels, n = ndimage.label(plane)
        keep = np.ones(n + 1, dtype=bool)
        keep[0] = False
        keep[labels[rim]] = False
        out[k] = keep[labels]
    return out


def _find_airway_seed(coarse: Coarse, inner: Mask) -> Mask:
    """Trachea: a round pocket of air near the midline that runs through several slices."""
    seed = np.zeros_like(inner)
    (sz, sy, sx), scale = coarse.spacing_mm, coarse.scale
    filled = np.flatnonzero(inner.any(axis=(1, 2)))
    if not len(filled):
        return seed
    body = coarse.hu > TISSUE_HU
    is_whole = coarse.midline is not None
    # The trachea is looked for from the top of the inner air down to the middle of its height.
    top, low = filled[-1], filled[0] + int(0.4 * (filled[-1] - filled[0]))
    chain: list[tuple[int, Mask, npt.NDArray[np.float64]]] = []
    best: list[tuple[int, Mask, npt.NDArray[np.float64]]] = []
    for k in range(top, low - 1, -1):
        midline = np.flatnonzero(body[k].any(axis=0))
        center_x = 0.5 * (midline[0] + midline[-1]) if len(midline) else inner.shape[2] / 2
        labels, _ = ndimage.label(inner[k])
        found: tuple[float, Mask, npt.NDArray[np.float64]] | None = None
        for index, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is None:
                continue
            height, width = (box[0].stop - box[0].start) * sy, (box[1].stop - box[1].start) * sx
            part = labels[box] == index
            area = part.sum() * sy * sx
            is_round = max(height, width) <= 2.6 * min(height, width) + 2 * sx
            if not (50.0 * scale**2 <= area <= 900.0 and is_round):
                continue
            y, x = np.nonzero(part)
            center = np.array([y.mean() + box[0].start, x.mean() + box[1].start])
            off = abs(center[1] - center_x) * sx
            darkest = coarse.hu[k][box][part].min()
            # A field that cuts the body has its middle elsewhere: there only the density tells.
            if darkest > (-800.0 if is_whole else TRACHEA_HU) or (is_whole and off > 45.0):
                continue
            score = off + (0.0 if not chain else 3.0 * np.hypot(*((center - chain[-1][2]) * (sy, sx))))
            if found is None or score < found[0]:
                found = (score, labels == index, center)
        if found is None or (chain and np.hypot(*((found[2] - chain[-1][2]) * (sy, sx))) > 12.0):
            chain = []
        if found is not None:
            chain = [*chain, (k, found[1], found[2])]
        if len(chain) > len(best):
            best = chain
    if len(best) * sz < 15.0 * scale:
        return seed
    for k, plane, _ in best:
        seed[k] = plane
    return seed


def _find_airways(coarse: Coarse, inner: Mask) -> Mask:
    """Trachea and main bronchi: the largest growth from the trachea before it leaks into the lungs."""
    seed = _find_airway_seed(coarse, inner)
    if not seed.any():
        return seed
    box = _airway_box(seed, coarse)
    whole, seed_whole = np.zeros_like(inner), seed
    hu, inner, seed = coarse.hu[box], inner[box], seed[box]
    best = seed & (hu < -700)
    previous_ml, most, unit = 0.0, coarse.scale_ml(MAX_AIRWAY_ML), coarse.scale_ml(1.0)
    for limit in (-985, -970, -955, -940, -925, -910, -895, -880, -860, -840, -815, -790, -765, -740, -700):
        labels, sizes = lung_sides.label_parts(inner & (hu < limit))
        touched = np.zeros(len(sizes), dtype=bool)
        touched[labels[seed]] = True
        touched[0] = False
        grown = touched[labels]
        ml = grown.sum() * coarse.voxel_ml
        if ml > most or (previous_ml > 25.0 * unit and ml > 1.6 * previous_ml + 10.0 * unit):
            break
        best, previous_ml = grown | best, ml
    whole[box] = ndimage.binary_dilation(best, ndimage.generate_binary_structure(3, 1)) & inner
    return whole | seed_whole


def _airway_box(seed: Mask, coarse: Coarse) -> tuple[slice, slice, slice]:
    """Where the trachea and the main bronchi can be: round the trachea and down to 13 cm below it."""
    near = _box(seed, margin=0)
    reach = ((130.0, 0.0), (60.0, 60.0), (80.0, 80.0))
    out = [
        slice(max(0, s.start - round(low / d)), min(n, s.stop + round(high / d)))
        for s, (low, high), d, n in zip(near, reach, coarse.spacing_mm, seed.shape, strict=True)
    ]
    return out[0], out[1], out[2]


def _find_bowel_gas(coarse: Coarse, air: Mask) -> Mask:
    """Gas under a diaphragm so thin that it counts as joined to the lung above it."""
    out = np.zeros_like(air)
    labels, sizes = lung_sides.label_parts(air & (coarse.hu < DARK_HU))
    ml = sizes * coarse.voxel_ml
    means = lung_sides.mean_by_label(labels, coarse.hu, sizes)
    boxes = ndimage.find_objects(labels)
    ball = ndimage.generate_binary_structure(3, 1)
    least, most = (coarse.scale_ml(v) for v in BOWEL_ML)
    for index in np.flatnonzero((ml > least) & (ml < most) & (means < BOWEL_HU)):
        box = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in boxes[index - 1])
        gas = labels[box] == index
        rim = ndimage.binary_dilation(gas, ball)
        wall = ndimage.binary_dilation(rim, ball) & ~rim
        if np.mean(air[box][wall]) < MAX_LUNG_SHARE:
            out[box] |= rim & air[box]
    return out


@dataclass(frozen=True)
class _Separated:
    """Coarse labels 1 (right) and 2 (left), and whether the side of a lone lung is sure.

    `left_out_ml` is air with the density of lung that lies beside neither of them.
    """

    sides: npt.NDArray[np.int32]
    left_out_ml: float
    is_side_sure: bool = True


def _separate(coarse: Coarse, air: Mask) -> _Separated:
    """The air that belongs to the lungs, by side.

    Raises
    ------
    NoLungsError
        No component of plausible size and density.
    """
    labels, sizes = lung_sides.label_parts(air)
    means = lung_sides.mean_by_label(labels, coarse.hu, sizes)
    dark = lung_sides.mean_by_label(labels, coarse.hu < DARK_HU, sizes)
    ml = sizes * coarse.voxel_ml
    is_gas = dark > np.where(ml > coarse.scale_ml(WHOLE_LUNG_ML), GAS_LUNG_SHARE, GAS_PART_SHARE)
    is_at_end = np.zeros(len(sizes), dtype=bool)
    is_at_end[np.unique(labels[[0, -1]])] = True
    is_at_end[np.unique(labels[:, _find_rim(coarse)])] = coarse.midline is None
    least = np.where(is_at_end, MIN_CUT_LUNG_ML, MIN_LUNG_ML)
    is_lung = (ml > coarse.scale_ml(1.0) * least) & ~is_gas
    is_lung &= (means > LUNG_HU_RANGE[0]) & (means < LUNG_HU_RANGE[1])
    order = [int(i) for i in np.argsort(sizes)[::-1] if is_lung[i]]
    _require_lungs(labels, ml, coarse, order)
    out = lung_sides.choose_lungs(coarse, labels, sizes, order)
    n_sides = int(out.max())
    centers = [lung_sides.center_x(out == side) for side in range(1, n_sides + 1)]
    if n_sides == 2 and centers[0] > centers[1]:
        out = np.where(out > 0, 3 - out, 0).astype(np.int32)
    is_sure = True
    if n_sides == 1:
        label, is_sure = lung_sides.name_single(coarse, out > 0)
        out *= label
    _add_parts(out, coarse, labels, np.flatnonzero(~is_gas & (ml > coarse.scale_ml(MIN_PART_ML))), means)
    used = np.zeros(len(sizes), dtype=bool)
    used[labels[out > 0]] = True
    return _Separated(out, float(sum(ml[index] for index in order if not used[index])), is_sure)


def _require_lungs(
    labels: npt.NDArray[np.int32], ml: npt.NDArray[np.floating[Any]], coarse: Coarse, order: list[int]
) -> None:
    """Raise `NoLungsError` where there is too little lung; a scan or a field that cuts it may show less."""
    ends = np.concatenate([labels[[0, -1]].ravel(), labels[:, _find_rim(coarse)].ravel()])
    is_cut = bool(order) and bool(np.isin(ends, order).any())
    least = coarse.scale_ml(MIN_CUT_LUNGS_ML if is_cut else MIN_LUNGS_ML)
    found_ml = float(ml[order].sum())
    if found_ml < least:
        size = "" if coarse.scale == 1.0 else f" in a chest of {coarse.scale:.2f} times an adult's size"
        raise NoLungsError(
            f"no lungs found: {found_ml:.0f} mL of air inside the body look like lung, at least {least:.0f} "
            f"mL are needed{size}; expected a chest CT in HU with the lungs in its field of view: check the "
            "series, its rescale and its field, or give the lungs as a mask"
        )


def _add_parts(
    out: npt.NDArray[np.int32],
    coarse: Coarse,
    labels: npt.NDArray[np.int32],
    parts: npt.NDArray[np.int64],
    means: npt.NDArray[np.float64],
) -> None:
    """Give other parts of aerated lung to the side they touch; what lies below the lungs is bowel."""
    parts = parts[(means[parts] > GAS_HU) & (means[parts] < AIR_MAX_HU)]
    boxes = ndimage.find_objects(labels)
    gap = [round(PART_GAP_MM * coarse.scale / d) for d in coarse.spacing_mm]
    for index in parts:
        own_box = boxes[index - 1]
        if (out[own_box][labels[own_box] == index] > 0).any():
            continue
        box = tuple(slice(max(0, s.start - g), s.stop + g) for s, g in zip(own_box, gap, strict=True))
        near, own = out[box], labels[box] == index
        counts = np.bincount(near.ravel(), minlength=3)[1:3]
        if not counts.any():
            continue
        # Beside a lung, not under it: air that has lung above its own top only is under the diaphragm.
        height = np.arange(len(own))[:, None, None]
        top = np.flatnonzero(own.any(axis=(1, 2)))[-1]
        if np.count_nonzero((near > 0) & (height <= top)) >= BESIDE_SHARE * counts.sum():
            near[own] = counts.argmax() + 1


@nb.njit(nogil=True, cache=True)
def _flat_max(first, last, padded, offsets, reach, sign, out):  # type: ignore[no-untyped-def]
    """Grey dilation (sign 1) or erosion (sign -1) by the offsets (n, 3); `padded` reaches beyond `out`."""
    _, ny, nx = out.shape
    for k in range(first, last):
        for j in range(ny):
            row = out[k, j]
            row[:] = -np.inf
            for m in range(offsets.shape[0]):
                z = k + reach[0] + offsets[m, 0]
                y = j + reach[1] + offsets[m, 1]
                x = reach[2] + offsets[m, 2]
                line = padded[z, y, x : x + nx]
                for i in range(nx):
                    row[i] = max(row[i], sign * line[i])
            for i in range(nx):
                row[i] *= sign


def _close(fraction: F32, spacing_mm: tuple[float, float, float], radius_mm: float) -> F32:
    """Grey closing by a ball: dents narrower than it are filled."""
    reach = [int(radius_mm / s) for s in spacing_mm]
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    inside = ((grid * np.asarray(spacing_mm)) ** 2).sum(1) <= radius_mm**2
    offsets = np.ascontiguousarray(grid[inside]).astype(np.int64)
    size = np.asarray(reach)
    # Dilated on a margin of its own, so that the erosion sees what the ball saw beyond the box.
    dilated = np.empty(tuple(n + 2 * r for n, r in zip(fraction.shape, reach, strict=True)), dtype=np.float32)
    wide = np.pad(fraction, [(2 * r, 2 * r) for r in reach], mode="edge")
    loops.run_rows(_flat_max, len(dilated), wide, offsets, size, np.float32(1), dilated)
    closed = np.empty_like(fraction)
    loops.run_rows(_flat_max, len(closed), dilated, offsets, size, np.float32(-1), closed)
    return closed


def _fill_slices(fraction: F32, coarse: Coarse) -> None:
    """Fill what the lung encloses within a slice, lesions and large vessels, but no dome of the diaphragm.

    In place; the first axis goes towards the head.
    """
    tissue = fraction <= 0.5
    hole = np.zeros(fraction.shape, dtype=bool)
    for k, plane in enumerate(tissue):
        outside, n = ndimage.label(plane)
        if n > 1:
            open_ = np.zeros(n + 1, dtype=bool)
            open_[np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])] = True
            open_[0] = True
            hole[k] = ~open_[outside]
    hole &= ~_find_domes(hole, tissue, coarse)
    fraction[hole] = 1.0


def _find_domes(hole: Mask, tissue: Mask, coarse: Coarse) -> Mask:
    """Holes that stand on tissue which is no hole: the top of the liver or of the spleen."""
    labels, sizes = lung_sides.label_parts(hole)
    out = np.zeros_like(hole)
    least = coarse.scale_ml(DOME_ML)
    if sizes.max(initial=0) * coarse.voxel_ml < least:
        return out
    foot = np.zeros_like(hole)
    foot[1:] = hole[1:] & ~hole[:-1]
    below = np.zeros((len(tissue) + 1, *tissue.shape[1:]), dtype=np.int16)
    np.cumsum(tissue, axis=0, out=below[1:])
    reach = max(1, round(DOME_DEPTH_MM * coarse.scale / coarse.spacing_mm[0]))
    for k in range(1, len(foot)):
        first = max(0, k - reach)
        foot[k] &= below[k] - below[first] == k - first
    boxes = ndimage.find_objects(labels)
    for index in np.flatnonzero(sizes * coarse.voxel_ml >= least):
        box = boxes[index - 1]
        own = labels[box] == index
        widest = np.count_nonzero(own, axis=(1, 2)).max()
        if np.count_nonzero(own & foot[box]) > DOME_SHARE * widest:
            out[box] |= own
    return out


@nb.njit(nogil=True, cache=True)
def _refine(first, last, fields, voxels, factor, start, labels):  # type: ignore[no-untyped-def]
    """Interpolate the fields (right, left, airway) to the scan and label where a lung passes one half."""
    fz, fy, fx = factor
    _, ny, nx = labels.shape
    _, cz, cy, cx = fields.shape
    for z in range(first, last):
        pz = min(max((z + start[0] + 0.5) / fz - 0.5 - start[3], 0.0), cz - 1.0)
        k0 = int(pz)
        k1 = min(k0 + 1, cz - 1)
        wz = pz - k0
        line = np.empty((3, cx))
        for y in range(ny):
            py = min(max((y + start[1] + 0.5) / fy - 0.5 - start[4], 0.0), cy - 1.0)
            j0 = int(py)
            j1 = min(j0 + 1, cy - 1)
            wy = py - j0
            any_lung = False
            for f in range(3):
                for i in range(cx):
                    low = fields[f, k0, j0, i] * (1 - wy) + fields[f, k0, j1, i] * wy
                    high = fields[f, k1, j0, i] * (1 - wy) + fields[f, k1, j1, i] * wy
                    v = low * (1 - wz) + high * wz
                    line[f, i] = v
                    any_lung |= f < 2 and v > 0.0
            if not any_lung:
                continue
            for x in range(nx):
                px = min(max((x + start[2] + 0.5) / fx - 0.5 - start[5], 0.0), cx - 1.0)
                i0 = int(px)
                i1 = min(i0 + 1, cx - 1)
                wx = px - i0
                right = line[0, i0] * (1 - wx) + line[0, i1] * wx
                left = line[1, i0] * (1 - wx) + line[1, i1] * wx
                top = max(right, left)
                # Sharp corners (recesses) are lost on the coarse grid: there the voxel itself decides.
                is_lung = top > 0.5 or (top > 0.15 and voxels[z, y, x] < -550)
                if is_lung and line[2, i0] * (1 - wx) + line[2, i1] * wx <= 0.5:
                    labels[z, y, x] = 1 if right >= left else 2


def find_lungs(scan: Scan) -> tuple[Lungs, tuple[ScanWarning, ...]]:
    """Both lungs of a chest CT, with vessels, nodules and enclosed lesions, without the large airways.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    lungs : Lungs
        Labels on the grid of the scan.
    warnings : tuple of ScanWarning
        `airways_not_found`, `single_lung`, and those of `lung_checks.check_lungs`.

    Raises
    ------
    NoLungsError
        Less than 300 mL of aerated lung inside the body (100 mL where the scan ends within the lungs; less in
        a smaller chest), or lungs that do not lie side by side.
    """
    scan = replace_fill(scan)
    body = measure_body(scan)
    coarse = measure_coarse(scan, body)
    inner = _inner_air(coarse)
    airways = _find_airways(coarse, inner)
    air = inner & ~airways
    separated = _separate(coarse, air & ~_find_bowel_gas(coarse, air))
    sides = separated.sides
    fractions = _fractions(coarse, sides, airways)
    labels = _label_voxels(scan, body, coarse, sides, fractions, airways)
    cut = lung_checks.measure_cut(coarse, sides, scan.grid.shape_zyx)
    cut_off = is_cut_off(labels, scan) or cut.is_cut
    warnings, checks = lung_checks.check_lungs(
        coarse,
        sides,
        cut=cut,
        is_cut_off=cut_off,
        has_airways=bool(airways.any()),
        left_out_ml=separated.left_out_ml,
        is_side_sure=separated.is_side_sure,
    )
    opaque = lung_checks.find_opaque(coarse, sides)
    return Lungs(labels, scan.grid.voxel_volume_mm3, cut_off, checks=checks, opaque=opaque), warnings


def _label_voxels(
    scan: Scan,
    body: BodyExtent,
    coarse: Coarse,
    sides: npt.NDArray[np.int32],
    fractions: tuple[F32, F32],
    airways: Mask,
) -> npt.NDArray[np.uint8]:
    """Labels on the grid of the scan from the fields on the coarse one."""
    labels = np.zeros(scan.grid.shape_zyx, dtype=np.uint8)
    box = _box(sides > 0, margin=4)
    first = (0, *coarse.offset_yx)
    start = [s.start * f for s, f in zip(box, coarse.factor, strict=True)]
    shape = [n - o for n, o in zip(labels.shape, first, strict=True)]
    stop = [min(s.stop * f, n) for s, f, n in zip(box, coarse.factor, shape, strict=True)]
    view = tuple(slice(o + a, o + b) for o, a, b in zip(first, start, stop, strict=True))
    offsets = np.array([*start, *(s.start for s in box)], dtype=np.int64)
    fields = np.stack([f[box] for f in (*fractions, airways.astype(np.float32))])
    part = labels[view]
    loops.run_rows(_refine, len(part), fields, scan.voxels_hu[view], coarse.factor, offsets, part)
    if body.field is not None:
        part[:, ~body.field[view[1:]]] = 0
    return labels


def _fractions(coarse: Coarse, sides: npt.NDArray[np.int32], airways: Mask) -> tuple[F32, F32]:
    """Closed lung-fraction fields of the right and the left lung."""
    fields = []
    for label in (LABEL_RIGHT, LABEL_LEFT):
        field = np.zeros_like(coarse.hu)
        if (sides == label).any():
            box = _box(sides == label, margin=5)
            own = sides[box] == label
            near = ndimage.binary_dilation(own, ndimage.generate_binary_structure(3, 3))
            near &= ~airways[box] & ((sides[box] == 0) | own)
            fraction = np.clip((SOFT_HU - coarse.hu[box]) / (SOFT_HU - LUNG_HU), 0.0, 1.0)
            fraction = np.where(near, fraction, np.float32(0))
            closed = _close(fraction, coarse.spacing_mm, CLOSING_MM * coarse.scale)
            _fill_slices(closed, coarse)
            field[box] = closed
        fields.append(field)
    return fields[0], fields[1]


def _box(mask: Mask, *, margin: int) -> tuple[slice, slice, slice]:
    """Bounding box of a mask with a margin, inside the array."""
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        slices.append(slice(max(0, hit[0] - margin), min(mask.shape[axis], hit[-1] + 1 + margin)))
    return slices[0], slices[1], slices[2]


def is_cut_off(labels: npt.NDArray[np.uint8], scan: Scan) -> bool:
    """Whether more than 3 cm2 of lung lie in any outermost slice, row or column.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) of the scan
        0 outside the lungs.
    scan : Scan

    Returns
    -------
    bool
    """
    sz, sy, sx = scan.grid.spacing_zyx_mm
    faces = ((labels[[0, -1]], sy * sx), (labels[:, [0, -1]], sz * sx), (labels[:, :, [0, -1]], sz * sy))
    return any(np.count_nonzero(face) * area > 300.0 for face, area in faces)
