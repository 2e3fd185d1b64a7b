"""Find lesions of 8 mm and more: compact dense bodies in the lungs, including cavities.

From the center of every dense body thicker than a vessel, rays are cast in all directions. A lesion ends
after about the same distance in all of them; a vessel, a hilum or the edge of the heart does not. A mass on
the pleura is dense beyond it too; there a ray ends at a smooth outline of the lung.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy import regions
from miliary.image.anatomy.lobes import CoarseLungs, estimate_lobes
from miliary.image.kernels import loops
from miliary.image.lesions.outline import (
    LesionOutline,
    measure_axes,
    measure_density,
    measure_wall,
    outline_lesion,
)
from miliary.model.ct_result import Lungs, Psf
from miliary.model.lesion import MIN_LONG_AXIS_MM, Attachment, Lesion, PointLpsMm
from miliary.model.scan import Scan, Side, Zone
from miliary.model.vocabulary import Origin

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

COARSE_MM = 2.0
MARGIN_MM = 16.0
DENSE_HU, RAY_HU, CAVITY_HU = -450.0, -500.0, -600.0
# A body thinner than this everywhere is a vessel, a scar or a small nodule.
CORE_MM, CORE_MISSES = 2.6, 2
CAVITY_MM3 = (20.0, 110_000.0)
HULL_MM, HULL_GRID_MM = 14.0, 4.0
REACH_MM, RAY_STEP_MM, AIR_RUN_MM = 45.0, 0.7, 2.4
# In 93 % of the directions a ray ends within this multiple of the median distance; a long cylinder reaches
# 2.2.
MAX_STRETCH, STRETCH_SHARE = 1.6, 0.93
# A cavity: from within gas, this share of rays meets dense tissue at about the same distance and soon leaves
# it. A bronchus is a tube, and in the hilum it is embedded in more than its wall. With a cavity, more rays
# may continue along vessels that touch the wall.
HOLLOW_MM, INNER_SHARE, HOLLOW_SHARE, MAX_WALL = 3.0, 0.9, 0.85, 1.0
SCREEN_SLACK = 0.3
MIN_RADIUS_MM, MAX_HULL_SHARE = 3.2, 0.5
ATTACHED_SHARE = 0.04
SEED_CLEARANCE_MM, MAX_SEED_STRETCH, MAX_ENDLESS_SHARE = 4.0, 3.0, 0.2
# Smallest share of the ball around the longest diameter that a lesion fills; a plate or a strand fills less.
MIN_FILL = 0.15
SAME_LESION_MM = 2.0
# Consolidation is both fainter than solid tissue and blurred at its edge; a lesion is at most one of these.
FAINT_HU, SOFT_EDGE_MM = -25.0, 1.5


@dataclass(frozen=True)
class LesionsFound:
    """Lesions of one scan with their voxels.

    Parameters
    ----------
    lesions : tuple of Lesion
        In order of decreasing volume, numbered from 1.
    shapes : tuple of LesionOutline
        One per lesion, in the same order.
    """

    lesions: tuple[Lesion, ...]
    shapes: tuple[LesionOutline, ...]

    def contains(self, index_zyx: F64, *, margin_mm: float = 1.5) -> Mask:
        """Which points (n, 3), as indices of the scan, lie within `margin_mm` of a lesion; shape (n,)."""
        inside = np.zeros(len(index_zyx), dtype=bool)
        for shape in self.shapes:
            inside |= shape.contains(index_zyx, margin_mm=margin_mm)
        return inside


@dataclass(frozen=True)
class _Field:
    """Block means of the box of the lungs [HU], lung labels, and the inside of a smooth outline of them."""

    hu: F32
    labels: npt.NDArray[np.uint8]
    hull: Mask
    start: F64
    factor: F64
    spacing_mm: F64

    def index_in_scan(self, index: F64) -> F64:
        return np.asarray(index * self.factor + self.start + (self.factor - 1.0) / 2.0)

    def index_here(self, index_in_scan: F64) -> F64:
        return np.asarray((index_in_scan - self.start - (self.factor - 1.0) / 2.0) / self.factor)


@dataclass(frozen=True)
class _Rays:
    """Rays from one point through dense tissue: distance [mm] to its end, and why (0 air, 1 hull, 2 never).

    `inner_mm` is the distance to its beginning [mm].
    """

    center: F64
    inner_mm: F64
    distance_mm: F64
    end: npt.NDArray[np.int64]

    @property
    def radius_mm(self) -> float:
        return float(np.median(self.distance_mm))

    @property
    def stretch(self) -> float:
        return float(_measure_stretch(self.inner_mm, self.distance_mm))

    @property
    def share(self) -> float:
        """Share of rays that must end within the permitted distance."""
        return float(_choose_share(self.inner_mm, self.distance_mm))

    @property
    def hull_share(self) -> float:
        return float((self.end == 1).mean())

    @property
    def endless_share(self) -> float:
        return float((self.end == 2).mean())

    @property
    def is_compact(self) -> bool:
        return (
            self.radius_mm >= MIN_RADIUS_MM
            and self.stretch <= MAX_STRETCH
            and self.hull_share <= MAX_HULL_SHARE
            and self.endless_share <= 1.0 - self.share
        )


def find_lesions(
    scan: Scan, lungs: Lungs, *, psf: Psf, seeds_lps_mm: Iterable[Sequence[float]] = ()
) -> LesionsFound:
    """Find and measure the lesions of a scan whose longest axial diameter is 8 mm or more.

    Parameters
    ----------
    scan : Scan
        The scan.
    lungs : Lungs
        Lung labels on its grid.
    psf : Psf
        Blur of the scan, to correct the thickness of walls.
    seeds_lps_mm : iterable of (x, y, z)
        Points in or on lesions that a reader marked [mm]. The dense body around each is measured whatever its
        shape or size, and replaces a lesion found there.

    Returns
    -------
    LesionsFound
        Empty where there are none. Consolidation, a hilum, or a mass wider than about 28 mm on the pleura is
        found only with a seed.
    """
    if not lungs.labels.any():
        return LesionsFound((), ())
    field = _make_field(scan, lungs)
    compact = _find_compact(field)
    given = [_follow_seed(field, scan, seed, compact) for seed in seeds_lps_mm]
    seen = [(rays, Origin.CORRECTED) for rays in given if rays is not None]
    seen += [(rays, Origin.MEASURED) for rays in compact]
    found: list[tuple[Lesion, LesionOutline]] = []
    for rays, origin in seen:
        center = field.index_in_scan(rays.center)
        if any(shape.contains(center[None], margin_mm=SAME_LESION_MM)[0] for _, shape in found):
            continue
        measured = _measure(scan, lungs, psf, field, rays, origin)
        if measured is not None:
            found.append(measured)
    if not found:
        return LesionsFound((), ())
    found.sort(key=lambda pair: -pair[0].volume_mm3)
    coarse = CoarseLungs(field.hu, field.labels, field.spacing_mm)
    centroids = scan.grid.index_from_lps([lesion.centroid_lps_mm for lesion, _ in found]).reshape(-1, 3)
    sides = [lesion.side for lesion, _ in found]
    lobes = estimate_lobes(coarse, field.index_here(centroids), sides)
    lesions = tuple(
        replace(lesion, id=number, lobe=lobe.lobe, lobe_confidence=lobe.confidence, lobe_reason=lobe.reason)
        for number, ((lesion, _), lobe) in enumerate(zip(found, lobes, strict=True), start=1)
    )
    return LesionsFound(lesions, tuple(shape for _, shape in found))


def _make_field(scan: Scan, lungs: Lungs) -> _Field:
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    box = _bound_lungs(lungs.labels)
    margin = [round(MARGIN_MM / step) for step in spacing]
    view = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(box, margin, lungs.labels.shape, strict=True)
    )
    factor = np.array([max(1, round(COARSE_MM / step)) for step in spacing])
    shape = tuple(-(-(s.stop - s.start) // f) for s, f in zip(view, factor, strict=True))
    hu = np.empty(shape, dtype=np.float32)
    labels = np.empty(shape, dtype=np.uint8)
    loops.run_rows(_shrink, shape[0], scan.voxels_hu[view], lungs.labels[view], tuple(factor), hu, labels)
    coarse_mm = spacing * factor
    start = np.array([s.start for s in view], dtype=np.float64)
    return _Field(hu, labels, _find_hull(labels, coarse_mm), start, factor.astype(np.float64), coarse_mm)


def _bound_lungs(labels: npt.NDArray[np.uint8]) -> list[slice]:
    """Bounding box of the lungs to within four voxels; the margin around it is wider than that."""
    step = 4
    inside = labels[::step, ::step, ::step] > 0
    hits = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [slice(int(hit[0]) * step, int(hit[-1]) * step + step) for hit in hits]


@nb.njit(nogil=True, cache=True, fastmath=True)
def _shrink(first, last, voxels, labels, factor, hu, small):  # type: ignore[no-untyped-def]
    """Block means of the voxels, limited to -1024..200 HU, and the label at the center of each block."""
    fz, fy, fx = factor
    nz, ny, nx = voxels.shape
    for k in range(first, last):
        for j in range(hu.shape[1]):
            for i in range(hu.shape[2]):
                total = 0.0
                count = 0
                for z in range(k * fz, min(nz, (k + 1) * fz)):
                    for y in range(j * fy, min(ny, (j + 1) * fy)):
                        for x in range(i * fx, min(nx, (i + 1) * fx)):
                            total += min(max(float(voxels[z, y, x]), -1024.0), 200.0)
                            count += 1
                hu[k, j, i] = total / count
                z, y, x = k * fz + fz // 2, j * fy + fy // 2, i * fx + fx // 2
                small[k, j, i] = labels[min(z, nz - 1), min(y, ny - 1), min(x, nx - 1)]


def _find_hull(labels: npt.NDArray[np.uint8], spacing_mm: F64) -> Mask:
    """The lungs with dents narrower than twice `HULL_MM` filled, each lung separately."""
    stride = np.maximum(1, np.round(HULL_GRID_MM / spacing_mm)).astype(int)
    small = labels[:: stride[0], :: stride[1], :: stride[2]]
    closed = np.zeros(small.shape, dtype=bool)
    for side in (1, 2):
        closed |= close_ball(small == side, spacing_mm * stride, HULL_MM)
    rows = [
        np.minimum((np.arange(n) + s // 2) // s, m - 1)
        for n, s, m in zip(labels.shape, stride, small.shape, strict=True)
    ]
    return np.asarray(closed[np.ix_(*rows)] | (labels > 0))


def close_ball(mask: Mask, spacing_mm: F64, radius_mm: float) -> Mask:
    """Binary closing by a ball, from distance transforms.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        What is closed; voxels beyond the array count as outside.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing [mm].
    radius_mm : float
        Radius of the ball [mm].

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    if not mask.any():
        return mask
    pad = [int(np.ceil(radius_mm / s)) + 1 for s in spacing_mm]
    wide = np.pad(mask, [(p, p) for p in pad])
    grown = regions.measure_distance(~wide, spacing_mm) <= radius_mm
    kept = regions.measure_distance(grown, spacing_mm) > radius_mm
    inner = tuple(slice(p, -p) for p in pad)
    return np.asarray(kept[inner] | mask)


def _find_compact(field: _Field) -> list[_Rays]:
    """Rays of all compact bodies, in order of decreasing radius."""
    starts = _list_starts(field)
    centers = np.empty_like(starts)
    stretch = np.empty(len(starts))
    loops.run_rows(_screen, len(starts), _tissue(field), starts, _FEW, centers, stretch)
    found = [_cast(field, center, _MANY) for center in centers[stretch <= MAX_STRETCH + SCREEN_SLACK]]
    return sorted((rays for rays in found if rays.is_compact), key=lambda rays: -rays.radius_mm)


def _list_starts(field: _Field) -> F64:
    """Centers of thick dense bodies, and of air enclosed by dense tissue, shape (n, 3)."""
    cores = np.zeros(field.hu.shape, dtype=np.uint8)
    offsets = _ball(field.spacing_mm, CORE_MM)
    limit = np.float32(DENSE_HU)
    loops.run_rows(_find_cores, len(cores), field.hu, field.hull, offsets, limit, CORE_MISSES, cores)
    labels, n = ndimage.label(cores)
    starts = [_middle(labels, i + 1, box) for i, box in enumerate(ndimage.find_objects(labels, n))]
    air = field.hu < CAVITY_HU
    # The wall of a cavity may have a gap, or be too thin for the blocks: erosion separates the air there.
    for gas in (air, ndimage.binary_erosion(air)):
        starts += _list_enclosed(gas, field)
    return np.unique(np.array(starts).reshape(-1, 3), axis=0)


def _list_enclosed(gas: Mask, field: _Field) -> list[F64]:
    """Centers of the components of gas that have the size of a cavity."""
    labels, n = ndimage.label(gas)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:] * float(np.prod(field.spacing_mm))
    boxes = ndimage.find_objects(labels, n)
    fit = np.flatnonzero((sizes > CAVITY_MM3[0]) & (sizes < CAVITY_MM3[1]))
    middles = [_middle(labels, int(i) + 1, boxes[i]) for i in fit]
    return [middle for middle in middles if field.hull[tuple(np.round(middle).astype(int))]]


def _middle(labels: npt.NDArray[np.int32], value: int, box: tuple[slice, ...]) -> F64:
    """The voxel of a component nearest to its mean."""
    points = np.argwhere(labels[box] == value).astype(np.float64)
    points += [s.start for s in box]
    return np.asarray(points[np.argmin(((points - points.mean(0)) ** 2).sum(1))])


def _ball(spacing_mm: F64, radius_mm: float) -> npt.NDArray[np.int64]:
    """Offsets (n, 3) of a ball, in voxels."""
    reach = [int(radius_mm / s) for s in spacing_mm]
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    return np.ascontiguousarray(grid[((grid * spacing_mm) ** 2).sum(1) <= radius_mm**2]).astype(np.int64)


@nb.njit(nogil=True, cache=True)
def _find_cores(first, last, hu, hull, offsets, limit, misses, out):  # type: ignore[no-untyped-def]
    """Mark voxels whose neighborhood is dense except for a few voxels."""
    nz, ny, nx = hu.shape
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                if not hull[z, y, x] or hu[z, y, x] <= limit:
                    continue
                bad = 0
                for m in range(offsets.shape[0]):
                    a, b, c = z + offsets[m, 0], y + offsets[m, 1], x + offsets[m, 2]
                    outside = a < 0 or b < 0 or c < 0 or a >= nz or b >= ny or c >= nx
                    if outside or hu[a, b, c] <= limit:
                        bad += 1
                        if bad > misses:
                            break
                if bad <= misses:
                    out[z, y, x] = 1


def list_directions(n: int) -> F64:
    """Evenly distributed unit vectors, by the golden angle.

    Parameters
    ----------
    n : int
        How many.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        As (z, y, x).
    """
    k = np.arange(n) + 0.5
    z = 1.0 - 2.0 * k / n
    turn = np.pi * (1.0 + 5.0**0.5) * k
    flat = np.sqrt(1.0 - z * z)
    return np.stack([z, flat * np.cos(turn), flat * np.sin(turn)], axis=1)


_FEW, _MANY = list_directions(60), list_directions(200)


class _Tissue(NamedTuple):
    """What rays are cast through: attenuation [HU], inside of the outline of the lungs, spacing [mm]."""

    hu: F32
    hull: Mask
    spacing: F64


def _tissue(field: _Field) -> _Tissue:
    return _Tissue(field.hu, field.hull, field.spacing_mm)


def _cast(field: _Field, center: F64, directions: F64) -> _Rays:
    inner, distance = np.empty(len(directions)), np.empty(len(directions))
    end = np.empty(len(directions), dtype=np.int64)
    _cast_rays(_tissue(field), center, directions, inner, distance, end)
    return _Rays(center, inner, distance, end)


def _center(field: _Field, start: F64) -> _Rays | None:
    """Rays from the center of the body around `start`; None where the center is outside the lungs."""
    center, stretch = np.empty((1, 3)), np.empty(1)
    _screen(0, 1, _tissue(field), start[None], _FEW, center, stretch)
    return _cast(field, center[0], _MANY) if np.isfinite(stretch[0]) else None


@nb.njit(nogil=True, cache=True)
def _order(values):  # type: ignore[no-untyped-def]
    """A sorted copy of a row."""
    out = np.empty(values.shape[0])
    loops.copy_row(values, out)
    loops.sort_few(out)
    return out


@nb.njit(nogil=True, cache=True)
def _middle_of(order):  # type: ignore[no-untyped-def]
    """Median of a sorted row."""
    n = order.shape[0]
    return 0.5 * (order[(n - 1) // 2] + order[n // 2])


@nb.njit(nogil=True, cache=True)
def _choose_share(inner, distance):  # type: ignore[no-untyped-def]
    """Share of rays that must end within `MAX_STRETCH`: fewer for a cavity with an even, thin wall."""
    order = _order(inner)
    last, middle = len(order) - 1, _middle_of(order)
    low, high = order[int((1.0 - INNER_SHARE) * last)], order[int(INNER_SHARE * last)]
    is_even = low * MAX_STRETCH >= middle and high <= MAX_STRETCH * middle
    is_wall = _middle_of(_order(distance)) - middle <= MAX_WALL * middle
    return HOLLOW_SHARE if middle >= HOLLOW_MM and is_even and is_wall else STRETCH_SHARE


@nb.njit(nogil=True, cache=True)
def _measure_stretch(inner, distance):  # type: ignore[no-untyped-def]
    """Quantile of the distances of rays over their median: near 1 for a ball."""
    order = _order(distance)
    return order[int(_choose_share(inner, distance) * (len(order) - 1))] / max(_middle_of(order), 1e-6)


@nb.njit(nogil=True, cache=True)
def _cast_rays(tissue, center, directions, inner, distance, end):  # type: ignore[no-untyped-def]
    """Follow rays outward through dense tissue until a run of air, or the hull."""
    hu, hull, spacing = tissue
    nz, ny, nx = hu.shape
    for r in range(directions.shape[0]):
        sz, sy, sx = directions[r] / spacing
        seen, run, last, t = False, 0.0, 0.0, 0.0
        inner[r], distance[r], end[r] = REACH_MM, REACH_MM, 2
        while t < REACH_MM:
            z, y, x = center[0] + t * sz, center[1] + t * sy, center[2] + t * sx
            k, j, i = int(z + 0.5), int(y + 0.5), int(x + 0.5)
            if k < 0 or j < 0 or i < 0 or k >= nz or j >= ny or i >= nx or not hull[k, j, i]:
                distance[r], end[r] = t, 1
                inner[r] = min(inner[r], t)
                break
            k, j, i = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
            a, b, c = z - k, y - j, x - i
            v = 0.0
            for dz in range(2):
                for dy in range(2):
                    wzy = (a if dz else 1.0 - a) * (b if dy else 1.0 - b)
                    row = hu[k + dz, j + dy]
                    v += wzy * (row[i] * (1.0 - c) + row[i + 1] * c)
            if v > RAY_HU:
                if not seen:
                    inner[r] = t
                seen, run, last = True, 0.0, t
            elif seen:
                run += RAY_STEP_MM
                if run >= AIR_RUN_MM:
                    distance[r], end[r] = last + 0.5 * RAY_STEP_MM, 0
                    break
            t += RAY_STEP_MM


@nb.njit(nogil=True, cache=True)
def _screen(first, last, tissue, starts, directions, centers, stretch):  # type: ignore[no-untyped-def]
    """Move each start to the center of its body; stretch of the rays from there, inf outside the lungs."""
    hu, hull, spacing = tissue
    n = directions.shape[0]
    inner, distance, end = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    for m in range(first, last):
        center = centers[m]
        loops.copy_row(starts[m], center)
        stretch[m] = np.inf
        is_inside = True
        for _ in range(3):
            _cast_rays(tissue, center, directions, inner, distance, end)
            radius = _middle_of(_order(distance))
            # The mean end point of rays from a point off the center of a ball is two thirds of the way to it.
            for axis in range(3):
                shift = 0.0
                for r in range(n):
                    shift += directions[r, axis] * min(distance[r], 1.6 * radius)
                center[axis] += 1.5 * shift / n / spacing[axis]
            z, y, x = int(center[0] + 0.5), int(center[1] + 0.5), int(center[2] + 0.5)
            is_inside = 0 <= z < hu.shape[0] and 0 <= y < hu.shape[1] and 0 <= x < hu.shape[2]
            if not is_inside or not hull[z, y, x]:
                is_inside = False
                break
        if is_inside:
            _cast_rays(tissue, center, directions, inner, distance, end)
            stretch[m] = _measure_stretch(inner, distance)


def _follow_seed(
    field: _Field, scan: Scan, seed_lps_mm: Sequence[float], compact: Sequence[_Rays]
) -> _Rays | None:
    """Rays from the center of the body at a reader's point; None where there is no dense tissue near it."""
    index = scan.grid.index_from_lps(np.asarray(seed_lps_mm, dtype=np.float64))
    start = np.clip(field.index_here(index), 0, np.asarray(field.hu.shape) - 1.0)
    # A compact body that was found has a better center than the point.
    for rays in compact:
        if np.linalg.norm((rays.center - start) * field.spacing_mm) < rays.radius_mm:
            return rays
    centered = _center(field, start)
    if centered is not None and centered.endless_share < MAX_ENDLESS_SHARE:
        away = np.linalg.norm((centered.center - start) * field.spacing_mm)
        if away < centered.radius_mm + SEED_CLEARANCE_MM and centered.stretch < MAX_SEED_STRETCH:
            return centered
    near = _ball(field.spacing_mm, SEED_CLEARANCE_MM) + np.round(start).astype(int)
    near = near[((near >= 0) & (near < field.hu.shape)).all(axis=1)]
    dense = near[field.hu[tuple(near.T)] > RAY_HU]
    if not len(dense):
        return None
    return _cast(field, dense[np.argmin(((dense - start) ** 2).sum(axis=1))].astype(np.float64), _MANY)


def _measure(
    scan: Scan, lungs: Lungs, psf: Psf, field: _Field, rays: _Rays, origin: Origin
) -> tuple[Lesion, LesionOutline] | None:
    """Measure the lesion around the center of the rays; None where it is no lesion."""
    is_attached = rays.hull_share > ATTACHED_SHARE
    center = field.index_in_scan(rays.center)
    shape = outline_lesion(
        scan,
        lungs,
        center,
        directions=_MANY,
        distance_mm=rays.distance_mm,
        is_attached=is_attached,
        is_compact=rays.is_compact,
    )
    if shape is None:
        return None
    axes = measure_axes(shape)
    ball_mm3 = np.pi / 6.0 * axes.long_mm**3
    wall, density = measure_wall(shape, psf), measure_density(shape)
    is_patch = wall is None and density < FAINT_HU and shape.edge_mm > SOFT_EDGE_MM
    is_other = axes.long_mm < MIN_LONG_AXIS_MM or shape.volume_mm3 < MIN_FILL * ball_mm3 or is_patch
    if is_other and origin is not Origin.CORRECTED:
        return None
    centroid = shape.start + shape.centroid_zyx
    sides, zones = regions.locate(field.labels, field.index_here(centroid)[None])

    def ends(index: F64) -> tuple[PointLpsMm, PointLpsMm]:
        first, last = scan.grid.lps_from_index(shape.start + index)
        return _point(first), _point(last)

    attachment = Attachment.NONE
    if is_attached:
        attachment = _name_attachment(rays, field, Side(sides[0]))
    lesion = Lesion(
        id=0,
        long_axis_mm=axes.long_mm,
        long_axis_ends_lps_mm=ends(axes.long_ends),
        short_axis_mm=axes.short_mm,
        short_axis_ends_lps_mm=ends(axes.short_ends),
        volume_mm3=shape.volume_mm3,
        density_hu=density,
        centroid_lps_mm=_point(scan.grid.lps_from_index(centroid)),
        side=Side(sides[0]),
        zone=Zone(zones[0]),
        attachment=attachment,
        wall=wall,
        origin=origin,
    )
    return lesion, shape


def _name_attachment(rays: _Rays, field: _Field, side: Side) -> Attachment:
    """Mediastinum where rays meet the hull toward the midline with the other lung beyond; else pleura."""
    met = _MANY[rays.end == 1].mean(axis=0)
    inward = 1.0 if side is Side.RIGHT else -1.0
    if met[2] * inward < 0.5 * float(np.linalg.norm(met)):
        return Attachment.PLEURA
    z, y, x = np.round(rays.center).astype(int)
    other = 2 if side is Side.RIGHT else 1
    z = int(np.clip(z, 0, field.labels.shape[0] - 1))
    y = int(np.clip(y, 0, field.labels.shape[1] - 1))
    line = field.labels[z, y, x:] if side is Side.RIGHT else field.labels[z, y, :x]
    return Attachment.MEDIASTINUM if (line == other).any() else Attachment.PLEURA


def _point(values: npt.ArrayLike) -> PointLpsMm:
    x, y, z = (float(value) for value in np.asarray(values))
    return x, y, z
