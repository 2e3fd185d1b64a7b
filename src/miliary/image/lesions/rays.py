"""Rays from a point through dense tissue, and where to start them: thick dense bodies and enclosed gas.

A lesion ends after about the same distance in all directions; a vessel, a hilum or the edge of the heart
does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.kernels import loops
from miliary.image.lesions.field import LesionField

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DENSE_HU, RAY_HU, CAVITY_HU = -450.0, -500.0, -600.0
# A body thinner than this everywhere is a vessel, a scar or a small nodule.
CORE_MM, CORE_MISSES = 2.6, 2
CAVITY_MM3 = (20.0, 110_000.0)
# Side of the cube [voxels] in which a place must be the thickest.
PEAK_WINDOW = 5
REACH_MM, RAY_STEP_MM, AIR_RUN_MM = 45.0, 0.7, 2.4
# In 93 % of the directions a ray ends within this multiple of the median distance; a long cylinder reaches
# 2.2.
MAX_STRETCH, STRETCH_SHARE = 1.6, 0.93
# A cavity: from within gas, this share of rays meets dense tissue at about the same distance and soon leaves
# it. A bronchus is a tube, and in the hilum it is embedded in more than its wall. With a cavity, more rays
# may continue along vessels that touch the wall.
HOLLOW_MM, INNER_SHARE, HOLLOW_SHARE, MAX_WALL = 3.0, 0.9, 0.85, 1.0
MIN_RADIUS_MM, MAX_HULL_SHARE = 3.2, 0.5


@dataclass(frozen=True)
class Rays:
    """Rays from one point through dense tissue: distance [mm] to its end, and why (0 air, 1 hull, 2 never).

    `inner_mm` is the distance to its beginning [mm].
    """

    center: F64
    inner_mm: F64
    distance_mm: F64
    end: npt.NDArray[np.int64]

    @property
    def radius_mm(self) -> float:
        """Median distance to the end of a ray [mm]."""
        return float(np.median(self.distance_mm))

    @property
    def stretch(self) -> float:
        """Distance that nearly all rays stay within, over their median: 1 for a ball."""
        return float(_measure_stretch(self.inner_mm, self.distance_mm))

    @property
    def share(self) -> float:
        """Share of rays that must end within the permitted distance."""
        return float(_choose_share(self.inner_mm, self.distance_mm))

    @property
    def hull_share(self) -> float:
        """Share of rays that end at the hull."""
        return float((self.end == 1).mean())

    @property
    def endless_share(self) -> float:
        """Share of rays that do not end within reach."""
        return float((self.end == 2).mean())

    @property
    def is_compact(self) -> bool:
        """Whether it ends after about the same way in nearly all directions, and not mostly at the hull."""
        return self.ends_within(MAX_HULL_SHARE)

    def ends_within(self, max_hull_share: float, max_stretch: float = MAX_STRETCH) -> bool:
        """Whether it is compact where up to this share of the rays may end at the hull."""
        return (
            self.radius_mm >= MIN_RADIUS_MM
            and self.stretch <= max_stretch
            and self.hull_share <= max_hull_share
            and self.endless_share <= 1.0 - self.share
        )


def list_starts(field: LesionField) -> F64:
    """Centers of thick dense bodies, and of air enclosed by dense tissue.

    Parameters
    ----------
    field : LesionField

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Indices in the field.
    """
    cores = np.zeros(field.hu.shape, dtype=np.uint8)
    offsets = list_ball(field.spacing_mm, CORE_MM)
    limit = np.float32(DENSE_HU)
    loops.run_rows(_find_cores, len(cores), field.hu, field.hull, offsets, limit, CORE_MISSES, cores)
    labels, n = ndimage.label(cores)
    starts = [_middle(labels, i + 1, box) for i, box in enumerate(ndimage.find_objects(labels, n))]
    air = field.hu < CAVITY_HU
    # The wall of a cavity may have a gap, or be too thin for the blocks: erosion separates the air there.
    for gas in (air, ndimage.binary_erosion(air)):
        starts += _list_enclosed(gas, field)
    return np.unique(np.array(starts).reshape(-1, 3), axis=0)


def list_peaks(
    depth_mm: F64 | F32, spacing_mm: F64, *, min_depth_mm: float, same_body_share: float, max_n: int
) -> list[F64]:
    """Thickest places of a tissue, one for each body, thickest first.

    Parameters
    ----------
    depth_mm : ndarray, shape (z, y, x)
        Depth in the tissue, 0 outside [mm].
    spacing_mm : ndarray, shape (3,)
        Of the voxels [mm].
    min_depth_mm : float
        Smallest depth of a place [mm].
    same_body_share : float
        Two places nearer than this share of the depth of the thicker one belong to one body.
    max_n : int
        At most so many places.

    Returns
    -------
    list of ndarray of float64, shape (3,)
        Indices.
    """
    is_peak = (depth_mm >= min_depth_mm) & (depth_mm == ndimage.maximum_filter(depth_mm, size=PEAK_WINDOW))
    places, values = np.argwhere(is_peak).astype(np.float64), depth_mm[is_peak]
    order = np.argsort(-values, kind="stable")
    kept: list[F64] = []
    reach: list[float] = []
    for place, value in zip(places[order], values[order], strict=True):
        away = [float(np.linalg.norm((place - other) * spacing_mm)) for other in kept]
        if all(a > same_body_share * r for a, r in zip(away, reach, strict=True)):
            kept.append(place)
            reach.append(float(value))
            if len(kept) == max_n:
                break
    return kept


def _list_enclosed(gas: Mask, field: LesionField) -> list[F64]:
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


def list_ball(spacing_mm: F64, radius_mm: float) -> npt.NDArray[np.int64]:
    """Voxels of a ball around the origin.

    Parameters
    ----------
    spacing_mm : ndarray, shape (3,)
    radius_mm : float

    Returns
    -------
    ndarray of int64, shape (n, 3)
        Offsets in voxels.
    """
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


FEW, MANY = list_directions(60), list_directions(200)


class _Tissue(NamedTuple):
    """What rays are cast through: attenuation [HU], inside of the outline of the lungs, spacing [mm]."""

    hu: F32
    hull: Mask
    spacing: F64


def make_tissue(field: LesionField) -> _Tissue:
    """What the compiled loops take of a field.

    Parameters
    ----------
    field : LesionField

    Returns
    -------
    tuple
        Attenuation, inside of the hull, spacing.
    """
    return _Tissue(field.hu, field.hull, field.spacing_mm)


def cast(field: LesionField, center: F64, directions: F64) -> Rays:
    """Rays from a point of the field.

    Parameters
    ----------
    field : LesionField
    center : ndarray, shape (3,)
        Index in the field.
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x).

    Returns
    -------
    Rays
    """
    inner, distance = np.empty(len(directions)), np.empty(len(directions))
    end = np.empty(len(directions), dtype=np.int64)
    _cast_rays(make_tissue(field), center, directions, inner, distance, end)
    return Rays(center, inner, distance, end)


def center_rays(field: LesionField, start: F64) -> Rays | None:
    """Rays from the center of the body around a point.

    Parameters
    ----------
    field : LesionField
    start : ndarray, shape (3,)
        Index in the field.

    Returns
    -------
    Rays or None
        None where the center is outside the lungs.
    """
    center, stretch = np.empty((1, 3)), np.empty(1)
    screen(0, 1, make_tissue(field), start[None], FEW, center, stretch)
    return cast(field, center[0], MANY) if np.isfinite(stretch[0]) else None


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
def screen(first, last, tissue, starts, directions, centers, stretch):  # type: ignore[no-untyped-def]
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
