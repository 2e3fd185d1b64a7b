"""Find both lungs: air inside the body on a coarse grid, airways out, sides apart, outline closed.

The work is done on a grid of about 2 mm as a field of lung fraction per voxel, which keeps the outline
better than a voxel when it is interpolated back to the grid of the scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy import regions
from miliary.image.kernels import loops
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, Lungs
from miliary.model.scan import Scan, ScanWarning

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

COARSE_MM = 2.3
AIR_MAX_HU = -450.0
LUNG_HU = -850.0
SOFT_HU = 30.0
CLOSING_MM = 7.0
MIN_LUNGS_ML = 300.0
MIN_PART_ML = 4.0
MAX_AIRWAY_ML = 160.0
GAS_HU = -965.0
PART_GAP_MM = 6.0
# The dome of the diaphragm, seen as a hole in a slice of lung: large, and on tissue that goes on below, where
# under a mass that touches the chest wall there is lung again.
DOME_ML, DOME_SHARE, DOME_DEPTH_MM = 5.0, 0.5, 30.0
# Gas in the bowel: darker than lung, and its wall is tissue, where that of a bulla is lung.
DARK_HU, BOWEL_HU, BOWEL_ML, MAX_LUNG_SHARE = -940.0, -960.0, (1.0, 500.0), 0.3
CUT_LUNG_ML, CUT_LUNG_HU, CUT_RIM_SHARE = 100.0, -950.0, 0.5
TISSUE_HU, WALL_MM, BETWEEN_WALLS_SHARE = -300.0, 8.0, 0.6


@dataclass(frozen=True)
class Coarse:
    """Block means of a scan: values [HU], block size in voxels and voxel size [mm] per axis."""

    hu: F32
    factor: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        """Volume of one coarse voxel [mL]."""
        return math.prod(self.spacing_mm) / 1000.0


@nb.njit(nogil=True, cache=True, fastmath=True)
def _block_mean(first, last, voxels, fz, fy, fx, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = voxels.shape
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                total = 0.0
                count = 0
                for z in range(k * fz, min(nz, (k + 1) * fz)):
                    for y in range(j * fy, min(ny, (j + 1) * fy)):
                        for x in range(i * fx, min(nx, (i + 1) * fx)):
                            total += min(max(float(voxels[z, y, x]), -1024.0), 200.0)
                            count += 1
                out[k, j, i] = total / count


def measure_coarse(scan: Scan) -> Coarse:
    """Block means of about `COARSE_MM` per axis; HU limited to -1024..200 so that bone weighs as tissue."""
    factor = tuple(max(1, round(COARSE_MM / s)) for s in scan.grid.spacing_zyx_mm)
    shape = tuple(-(-n // f) for n, f in zip(scan.grid.shape_zyx, factor, strict=True))
    out = np.empty(shape, dtype=np.float32)
    loops.run_rows(_block_mean, shape[0], scan.voxels_hu, *factor, out)
    spacing = tuple(s * f for s, f in zip(scan.grid.spacing_zyx_mm, factor, strict=True))
    return Coarse(out, factor, spacing)  # type: ignore[arg-type]


def _label(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Face-connected components and the size of each label (index 0: background, size 0)."""
    labels, n = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    sizes[0] = 0
    return labels, sizes


@nb.njit(nogil=True, cache=True)
def _sum_by_label(labels, values, total):  # type: ignore[no-untyped-def]
    for i in range(labels.size):
        total[labels[i]] += values[i]


def _mean_by_label(
    labels: npt.NDArray[np.int32], values: npt.NDArray[np.generic], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Mean of `values` over each label; 0 for the background, whose size counts as 0."""
    total = np.zeros(len(sizes))
    _sum_by_label(labels.ravel(), values.ravel(), total)
    return np.where(sizes > 0, total / np.maximum(sizes, 1), 0.0)


def _center_x(mask: Mask) -> float:
    """Mean index along x."""
    count = np.count_nonzero(mask, axis=(0, 1))
    return float(np.average(np.arange(len(count)), weights=count))


def _inner_air(coarse: Coarse) -> Mask:
    """Air that is not connected to the border of the field of view within the slices."""
    air = coarse.hu < AIR_MAX_HU
    labels, sizes = _label(air)
    rim = np.concatenate([labels[:, e].ravel() for e in (0, -1)] + [labels[:, :, e].ravel() for e in (0, -1)])
    border, contact = np.unique(rim, return_counts=True)
    inside = sizes > 0
    # A narrow field of view cuts through the lungs themselves. Air outside the body is darker than lung, and
    # foam under the patient, which is not, has no chest wall on both sides.
    means = _mean_by_label(labels, coarse.hu, sizes)
    is_lung = (sizes[border] * coarse.voxel_ml > CUT_LUNG_ML) & (means[border] > CUT_LUNG_HU)
    is_lung &= contact < CUT_RIM_SHARE * len(rim)
    if is_lung.any():
        between = _mean_by_label(labels, _is_between_walls(coarse), sizes)
        is_lung &= between[border] > BETWEEN_WALLS_SHARE
    inside[border[~is_lung]] = False
    inner: Mask = inside[labels]
    by_slice = _inner_air_by_slice(air)
    if inner.sum() * coarse.voxel_ml < MIN_LUNGS_ML:
        return by_slice
    # Through an open mouth, or padding above a tilted scan, the trachea joins one lung to the air outside.
    leaked, sizes = _label(by_slice & ~inner)
    means = _mean_by_label(leaked, coarse.hu, sizes)
    inner |= ((sizes * coarse.voxel_ml > CUT_LUNG_ML) & (means > CUT_LUNG_HU) & (means < 0.0))[leaked]
    return inner


def _is_between_walls(coarse: Coarse) -> Mask:
    """Where at least 8 mm of tissue lie both in front and behind."""
    tissue = coarse.hu > TISSUE_HU
    ahead = np.cumsum(tissue, axis=1, dtype=np.int16)
    wall = math.ceil(WALL_MM / coarse.spacing_mm[1])
    inside: Mask = (ahead >= wall) & (ahead[:, -1:] - ahead >= wall)
    return inside


def _inner_air_by_slice(air: Mask) -> Mask:
    """As `_inner_air`, each slice for itself: where air outside leaks in through the ends of the scan."""
    out = np.zeros_like(air)
    for k, plane in enumerate(air):
        labels, n = ndimage.label(plane)
        keep = np.ones(n + 1, dtype=bool)
        keep[0] = False
        keep[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = False
        out[k] = keep[labels]
    return out


def _find_airway_seed(coarse: Coarse, inner: Mask) -> Mask:
    """Trachea: a round pocket of air near the midline that runs through several slices."""
    seed = np.zeros_like(inner)
    sz, sy, sx = coarse.spacing_mm
    filled = np.flatnonzero(inner.any(axis=(1, 2)))
    if not len(filled):
        return seed
    body = coarse.hu > TISSUE_HU
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
            if not (50.0 <= area <= 900.0 and max(height, width) <= 2.6 * min(height, width) + 2 * sx):
                continue
            y, x = np.nonzero(part)
            center = np.array([y.mean() + box[0].start, x.mean() + box[1].start])
            off = abs(center[1] - center_x) * sx
            if off > 45.0 or coarse.hu[k][box][part].min() > -800:
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
    if len(best) * sz < 15.0:
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
    previous_ml = 0.0
    for limit in (-985, -970, -955, -940, -925, -910, -895, -880, -860, -840, -815, -790, -765, -740, -700):
        labels, sizes = _label(inner & (hu < limit))
        touched = np.zeros(len(sizes), dtype=bool)
        touched[labels[seed]] = True
        touched[0] = False
        grown = touched[labels]
        ml = grown.sum() * coarse.voxel_ml
        if ml > MAX_AIRWAY_ML or (previous_ml > 25.0 and ml > 1.6 * previous_ml + 10.0):
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
    labels, sizes = _label(air & (coarse.hu < DARK_HU))
    ml = sizes * coarse.voxel_ml
    means = _mean_by_label(labels, coarse.hu, sizes)
    boxes = ndimage.find_objects(labels)
    ball = ndimage.generate_binary_structure(3, 1)
    for index in np.flatnonzero((ml > BOWEL_ML[0]) & (ml < BOWEL_ML[1]) & (means < BOWEL_HU)):
        box = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in boxes[index - 1])
        gas = labels[box] == index
        rim = ndimage.binary_dilation(gas, ball)
        wall = ndimage.binary_dilation(rim, ball) & ~rim
        if np.mean(air[box][wall]) < MAX_LUNG_SHARE:
            out[box] |= rim & air[box]
    return out


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
    columns: Mask = np.any(coarse.hu > TISSUE_HU, axis=1)
    middles = [0.5 * (hit[0] + hit[-1]) for hit in map(np.flatnonzero, columns) if len(hit)]
    return float(np.median(middles)) if middles else 0.5 * coarse.hu.shape[2]


def _split_sides(part: Mask, coarse: Coarse, midline: float) -> npt.NDArray[np.int32]:
    """Labels 1 and 2 for two lungs that touch, `midline` the index along x; label 1 alone for one lung."""
    depth = regions.measure_distance(part, coarse.spacing_mm)
    for level in np.arange(2.0, 24.0, 2.0):
        labels, sizes = _label(depth > level)
        order = np.argsort(sizes)[::-1]
        if len(order) < 3 or sizes[order[1]] < 0.25 * sizes[order[0]]:
            continue
        centers = ndimage.center_of_mass(np.ones_like(labels), labels, order[:2])
        if abs(centers[0][2] - centers[1][2]) * coarse.spacing_mm[2] < 60.0:
            continue
        sides = np.zeros(part.shape, dtype=np.int32)
        right, left = sorted(range(2), key=lambda k: float(centers[k][2]))
        # Where nothing shows between the lungs they meet behind the breastbone: each grows in its own half of
        # the body first, or one would take a tongue of the other that is nearer to it.
        before = np.arange(part.shape[2]) < midline
        for side, marker, half in ((1, right, before), (2, left, ~before)):
            own = np.where((labels == order[marker]) & half, np.int32(side), np.int32(0))
            _grow_sides(own, part & half)
            sides += own
        _grow_sides(sides, part)
        return sides
    return part.astype(np.int32)


def _separate(coarse: Coarse, air: Mask) -> npt.NDArray[np.int32]:
    """Coarse labels 1 (right) and 2 (left) of the air that belongs to the lungs.

    Raises
    ------
    NoLungsError
        No component of plausible size and density.
    """
    labels, sizes = _label(air)
    order = np.argsort(sizes)[::-1]
    means = _mean_by_label(labels, coarse.hu, sizes)
    lungs = [int(i) for i in order if sizes[i] * coarse.voxel_ml > 60.0 and -960.0 < means[i] < -480.0][:2]
    if not lungs or sum(sizes[lungs]) * coarse.voxel_ml < MIN_LUNGS_ML:
        raise NoLungsError(
            "no lungs found: less than 300 mL of air inside the body; expected a chest CT in HU, "
            "check the series and its rescale"
        )
    out = np.zeros(air.shape, dtype=np.int32)
    if len(lungs) == 2 and sizes[lungs[1]] > 0.12 * sizes[lungs[0]]:
        out[labels == lungs[0]], out[labels == lungs[1]] = 1, 2
    else:
        box = _box(labels == lungs[0], margin=1)
        midline = _find_midline(coarse) - box[2].start
        out[box] = _split_sides(np.ascontiguousarray(labels[box] == lungs[0]), coarse, midline)
    n_sides = int(out.max())
    centers = [_center_x(out == side) for side in range(1, n_sides + 1)]
    if n_sides == 2 and centers[0] > centers[1]:
        out = np.where(out > 0, 3 - out, 0).astype(np.int32)
    if n_sides == 1:
        out *= _side_of_single(coarse, centers[0])
    _add_parts(out, coarse, labels, sizes, means, lungs)
    return out


def _side_of_single(coarse: Coarse, center_x: float) -> int:
    """Label of a lone lung: heart and spine lie on its inner side, where there is more tissue."""
    columns = np.count_nonzero(coarse.hu > TISSUE_HU, axis=(0, 1))
    split = round(center_x)
    return LABEL_RIGHT if columns[split + 1 :].sum() > columns[:split].sum() else LABEL_LEFT


def _add_parts(
    out: npt.NDArray[np.int32],
    coarse: Coarse,
    labels: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    means: npt.NDArray[np.float64],
    lungs: list[int],
) -> None:
    """Give smaller parts of aerated lung to the side they touch; bowel gas (near -1000 HU) is left out."""
    parts = [
        i
        for i in np.flatnonzero(sizes * coarse.voxel_ml > MIN_PART_ML)
        if i not in lungs and GAS_HU < means[i] < AIR_MAX_HU
    ]
    if not parts:
        return
    boxes = ndimage.find_objects(labels)
    for index in parts:
        box = tuple(
            slice(max(0, s.start - round(PART_GAP_MM / d)), s.stop + round(PART_GAP_MM / d))
            for s, d in zip(boxes[index - 1], coarse.spacing_mm, strict=True)
        )
        near = out[box]
        counts = np.bincount(near.ravel(), minlength=3)[1:3]
        if counts.any():
            near[labels[box] == index] = counts.argmax() + 1


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
    labels, sizes = _label(hole)
    out = np.zeros_like(hole)
    if sizes.max(initial=0) * coarse.voxel_ml < DOME_ML:
        return out
    foot = np.zeros_like(hole)
    foot[1:] = hole[1:] & ~hole[:-1]
    below = np.zeros((len(tissue) + 1, *tissue.shape[1:]), dtype=np.int16)
    np.cumsum(tissue, axis=0, out=below[1:])
    reach = max(1, round(DOME_DEPTH_MM / coarse.spacing_mm[0]))
    for k in range(1, len(foot)):
        first = max(0, k - reach)
        foot[k] &= below[k] - below[first] == k - first
    boxes = ndimage.find_objects(labels)
    for index in np.flatnonzero(sizes * coarse.voxel_ml >= DOME_ML):
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
        `lungs_cut_off`, `single_lung`, `lung_volume_ratio`, `airways_not_found`.

    Raises
    ------
    NoLungsError
        Less than 300 mL of aerated lung inside the body.
    """
    coarse = measure_coarse(scan)
    inner = _inner_air(coarse)
    airways = _find_airways(coarse, inner)
    air = inner & ~airways
    sides = _separate(coarse, air & ~_find_bowel_gas(coarse, air))
    fractions = _fractions(coarse, sides, airways)
    labels = np.zeros(scan.grid.shape_zyx, dtype=np.uint8)
    box = _box(sides > 0, margin=4)
    start = [s.start * f for s, f in zip(box, coarse.factor, strict=True)]
    stop = [min(s.stop * f, n) for s, f, n in zip(box, coarse.factor, labels.shape, strict=True)]
    view = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    offsets = np.array([*start, *(s.start for s in box)], dtype=np.int64)
    fields = np.stack([f[box] for f in (*fractions, airways.astype(np.float32))])
    part = labels[view]
    loops.run_rows(_refine, len(part), fields, scan.voxels_hu[view], coarse.factor, offsets, part)
    lungs = Lungs(labels, scan.grid.voxel_volume_mm3, _is_cut_off(labels, scan))
    return lungs, _warn(lungs, airways, sides)


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
            closed = _close(np.where(near, fraction, np.float32(0)), coarse.spacing_mm, CLOSING_MM)
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


def _is_cut_off(labels: npt.NDArray[np.uint8], scan: Scan) -> bool:
    """More than 3 cm2 of lung in any outermost slice, row or column."""
    sz, sy, sx = scan.grid.spacing_zyx_mm
    faces = ((labels[[0, -1]], sy * sx), (labels[:, [0, -1]], sz * sx), (labels[:, :, [0, -1]], sz * sy))
    return any(np.count_nonzero(face) * area > 300.0 for face, area in faces)


def _warn(lungs: Lungs, airways: Mask, sides: npt.NDArray[np.int32]) -> tuple[ScanWarning, ...]:
    out = []
    if lungs.is_cut_off:
        out.append(ScanWarning("lungs_cut_off", "Part of the lungs lies outside the scan."))
    n_right, n_left = (np.count_nonzero(sides == label) for label in (LABEL_RIGHT, LABEL_LEFT))
    if not n_right or not n_left:
        out.append(
            ScanWarning(
                "single_lung", "Only one lung was found; its side is a guess from where there is more tissue."
            )
        )
    elif not 0.5 < n_right / n_left < 2.5:
        out.append(
            ScanWarning(
                "lung_volume_ratio",
                f"The right lung measures {n_right / n_left:.1f} times the left one; check the lung mask.",
            )
        )
    if not airways.any():
        out.append(ScanWarning("airways_not_found", "No trachea was found; airways may count as lung."))
    return tuple(out)
