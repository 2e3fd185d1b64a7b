"""Outline one lesion on the grid of the scan and measure it: axes, volume, density, cavity and wall.

Surfaces are where the attenuation crosses the mean of its two sides, found between voxels. This is unbiased
by blur as long as a wall is thicker than the blur, and corrected by a model where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.special import ndtr

from miliary.image.lesions.surface import find_vessels
from miliary.model.ct_result import Lungs, Psf
from miliary.model.lesion import Wall
from miliary.model.scan import Scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FindOutside = Callable[[tuple[slice, ...]], Mask]

LUNG_HU, AIR_HU = -850.0, -1000.0
SOLID_LIMITS_HU = (10.0, 100.0)
# Strands and vessels up to twice this width are cut off: share of the radius, and its limits.
OPENING_SHARE, OPENING_LIMITS_MM = 0.2, (1.0, 2.5)
EDGE_MM = 1.2
# So much brighter than a lesion, after smoothing, is another tissue.
BRIGHT_HU, BRIGHT_SMOOTH_MM = 90.0, 1.5
MIN_CAVITY_MM3, MIN_CAVITY_SHARE = 12.0, 0.012
# Grid of the local hull; the blurred edge of the chest wall reaches this far into the lung.
HULL_STEP_MM, RIM_MM = 1.2, 0.8
NEIGHBORS = 9
# A point of the outline may protrude this far beyond the median within this angle on both sides.
BUMP_RAD, BUMP_MM = 0.26, 0.2


@dataclass(frozen=True)
class LesionOutline:
    """The voxels of a lesion in a box of the scan.

    Parameters
    ----------
    hu : ndarray of float32, shape (z, y, x)
        Attenuation of the box.
    mask : ndarray of bool
        The lesion with its cavity filled, strands and vessels cut off.
    cavity : ndarray of bool, shape (z, y, x)
        Gas inside the lesion.
    start : ndarray, shape (3,)
        Index in the scan of the first voxel of the box.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing (z, y, x) [mm].
    lung_hu, solid_hu : float
        Attenuation of the surrounding lung and of the solid part [HU].
    """

    hu: F32
    mask: Mask
    cavity: Mask
    start: F64
    spacing_mm: F64
    lung_hu: float
    solid_hu: float

    @property
    def edge_hu(self) -> float:
        """Attenuation of the outer surface: the mean of lung and solid part [HU]."""
        return 0.5 * (self.lung_hu + self.solid_hu)

    @property
    def volume_mm3(self) -> float:
        """Volume of the whole lesion including its cavity [mm3]; voxels at the edge count partially."""
        share = np.clip((self.hu - self.lung_hu) / (self.solid_hu - self.lung_hu), 0.0, 1.0)
        inner = ndimage.binary_erosion(self.mask)
        rim = ndimage.binary_dilation(self.mask) & ~inner
        # Beyond the mask only the blurred edge belongs to the lesion, not a vessel that was cut off.
        rim &= self.mask | (self.hu < self.edge_hu)
        return float((inner.sum() + share[rim].sum()) * np.prod(self.spacing_mm))

    @property
    def edge_mm(self) -> float:
        """Width of the outer edge between 30 and 80 % of its step [mm], from the volume in that range."""
        share = (self.hu - self.lung_hu) / (self.solid_hu - self.lung_hu)
        near = ndimage.binary_dilation(self.mask, iterations=2)
        near &= ~ndimage.binary_dilation(self.cavity, iterations=2)
        volume = float((near & (share > 0.3) & (share < 0.8)).sum() * np.prod(self.spacing_mm))
        surface = np.pi ** (1 / 3) * (6.0 * self.volume_mm3) ** (2 / 3)
        return float(volume / max(surface, 1e-6))

    @property
    def centroid_zyx(self) -> F64:
        """Mean position of its voxels as an index of the box, shape (3,)."""
        return np.asarray(np.argwhere(self.mask).mean(axis=0))

    def contains(self, index_zyx: F64, *, margin_mm: float) -> Mask:
        """Which points (n, 3), as indices of the scan, lie inside or within `margin_mm`; shape (n,)."""
        local = (np.asarray(index_zyx) - self.start) * self.spacing_mm
        voxels = np.argwhere(self.mask) * self.spacing_mm
        distance, _ = cKDTree(voxels).query(local)
        return np.asarray(distance <= margin_mm + 0.5 * float(self.spacing_mm.max()))


@dataclass(frozen=True)
class LesionAxes:
    """Longest axial diameter and the longest one perpendicular to it.

    Parameters
    ----------
    long_mm, short_mm : float
        Lengths [mm].
    long_ends, short_ends : ndarray of float64, shape (2, 3)
        Their ends as fractional indices of the box.
    """

    long_mm: float
    long_ends: F64
    short_mm: float
    short_ends: F64


def outline_lesion(
    scan: Scan,
    lungs: Lungs,
    center_zyx: F64,
    *,
    directions: F64,
    distance_mm: F64,
    is_attached: bool,
    is_compact: bool = True,
    surface: FindOutside | None = None,
) -> LesionOutline | None:
    """Find the voxels of the dense body around a point.

    Parameters
    ----------
    scan : Scan
        The scan.
    lungs : Lungs
        Lung labels on its grid.
    center_zyx : ndarray, shape (3,)
        Center of the lesion as an index of the scan.
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x).
    distance_mm : ndarray, shape (n,)
        Approximate distance from the center to the surface along each [mm].
    is_attached : bool
        Whether it adjoins pleura or mediastinum; it is then cut off at a smooth outline of the lung.
    is_compact : bool
        Whether its surface is about equally far in all directions. Vessels are cut off from lesions with a
        cavity, and from solid ones only if not compact, since there a lobe looks the same.
    surface : callable, optional
        Gives for a part of the scan what lies outside the lung (bool); by default a smooth outline of it with
        dents filled that are as wide as the lesion.

    Returns
    -------
    LesionOutline or None
        None where there is no dense tissue.
    """
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    radius_mm = float(np.median(distance_mm))
    limit = smooth_distances(directions, distance_mm)
    reach = float(limit.max())
    view, start = _crop(center_zyx, reach + 5.0, spacing, scan.grid.shape_zyx)
    hu = np.asarray(scan.voxels_hu[view], dtype=np.float32)
    center = center_zyx - start
    away = _distance(hu.shape, center, spacing)
    lung_hu = _typical_lung(hu, lungs.labels[view])
    solid_hu = _typical_solid(hu[away < radius_mm + 1.0])
    solid = hu > 0.5 * (lung_hu + solid_hu)
    outside = np.zeros_like(solid)
    if is_attached:
        if surface is not None:
            outside = surface(view)
            solid &= ~_find_brighter(hu, away < 0.6 * radius_mm, spacing)
        else:
            outside = ~_find_local_hull(lungs, center_zyx, reach, view, spacing)
        solid &= ~outside
    body = _choose_body(solid & _is_within(away, center, spacing, directions, limit), away < 1.1 * radius_mm)
    if body is None:
        return None
    shape = _shape(hu, body, outside, center, start, spacing, radius_mm, lung_hu, solid_hu)
    # The wall of a cavity is even, so that a vessel protrudes from it; in a solid lesion a lobe looks the
    # same.
    if shape is None or (is_compact and not shape.cavity.any()):
        return shape
    whole = np.zeros_like(body)
    box = _bounds(body, pad=0)
    whole[box] = _fill(body[box] | outside[box]) & ~outside[box]
    vessels = find_vessels(whole, solid, center, spacing, directions)
    kept = _choose_body(body & ~vessels, away < 1.1 * radius_mm) if vessels.any() else None
    if kept is None:
        return shape
    return _shape(hu, kept, outside, center, start, spacing, radius_mm, lung_hu, solid_hu) or shape


def _shape(
    hu: F32,
    body: Mask,
    outside: Mask,
    center: F64,
    start: F64,
    spacing: F64,
    radius_mm: float,
    lung_hu: float,
    solid_hu: float,
) -> LesionOutline | None:
    """Fill a body, cut off strands and find the gas in it."""
    box = _bounds(body, pad=2)
    filled = _fill(body[box] | outside[box]) & ~outside[box]
    mask = _open(filled, center - [s.start for s in box], spacing, radius_mm)
    if mask is None:
        return None
    part = np.ascontiguousarray(hu[box])
    cavity = _find_cavity(part, mask, solid_hu, spacing)
    return LesionOutline(part, mask, cavity, start + [s.start for s in box], spacing, lung_hu, solid_hu)


def _find_brighter(hu: F32, near: Mask, spacing: F64) -> Mask:
    """What is brighter than the middle of a lesion beyond noise: vessels with contrast agent, and bone."""
    smooth = ndimage.gaussian_filter(hu, BRIGHT_SMOOTH_MM / spacing)
    middle = smooth[near & (smooth > SOLID_LIMITS_HU[0] - 60.0)]
    if len(middle) < 20:
        return np.zeros(hu.shape, dtype=bool)
    return np.asarray(smooth > float(np.median(middle)) + BRIGHT_HU)


def smooth_distances(directions: F64, distance_mm: F64) -> F64:
    """Upper limit of a lesion along each direction; the median over neighbors excludes vessels.

    Parameters
    ----------
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x).
    distance_mm : ndarray, shape (n,)
        Distance to the surface along each [mm].

    Returns
    -------
    ndarray of float64, shape (n,)
        [mm].
    """
    near = np.argsort(-directions @ directions.T, axis=1)[:, :NEIGHBORS]
    return np.asarray(1.15 * np.median(distance_mm[near], axis=1) + 2.0)


def _is_within(away: F32, center: F64, spacing: F64, directions: F64, limit_mm: F64) -> Mask:
    """Voxels nearer to the center than the limit of their nearest direction."""
    near = away < float(limit_mm.max())
    unit = (np.argwhere(near) - center) * spacing
    unit /= np.maximum(np.linalg.norm(unit, axis=1), 1e-9)[:, None]
    _, nearest = cKDTree(directions).query(unit)
    within = np.zeros(away.shape, dtype=bool)
    within[near] = away[near] < limit_mm[nearest]
    return within


def _crop(center: F64, half_mm: float, spacing: F64, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], F64]:
    low = np.maximum(0, np.floor(center - half_mm / spacing)).astype(int)
    high = np.minimum(shape, np.ceil(center + half_mm / spacing).astype(int) + 1)
    low = np.minimum(low, high - 1)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), low.astype(np.float64)


def _distance(shape: tuple[int, ...], center: F64, spacing: F64) -> F32:
    """Distance of every voxel from a center [mm]."""
    z, y, x = (((np.arange(n) - c) * s) ** 2 for n, c, s in zip(shape, center, spacing, strict=True))
    return np.asarray(np.sqrt(z[:, None, None] + y[:, None] + x), dtype=np.float32)


def _typical_lung(hu: F32, labels: npt.NDArray[np.uint8]) -> float:
    around = hu[(labels > 0) & (hu < -600.0)]
    return float(np.median(around)) if len(around) > 50 else LUNG_HU


def _typical_solid(hu: F32) -> float:
    """Attenuation of the solid part [HU], limited from below since a thin wall appears less dense by blur."""
    dense = hu[hu > -300.0]
    value = float(np.quantile(dense, 0.75)) if len(dense) > 20 else SOLID_LIMITS_HU[0]
    return float(np.clip(value, *SOLID_LIMITS_HU))


def _find_local_hull(
    lungs: Lungs, center: F64, reach_mm: float, view: tuple[slice, ...], spacing: F64
) -> Mask:
    """Smooth outline of the lung around a lesion at its edge: dents as wide as the lesion are filled."""
    radius = reach_mm + 2.0
    wide, _ = _crop(center, reach_mm + 2.0 * radius, spacing, lungs.labels.shape)
    stride = np.maximum(1, np.round(HULL_STEP_MM / spacing)).astype(int)
    labels = lungs.labels[wide]
    near = labels[tuple(slice(None, None, s) for s in stride)]
    counts = np.bincount(labels.ravel(), minlength=3)[1:3]
    side = near == (1 + int(counts[1] > counts[0]))
    step = spacing * stride
    # Padded, so that the distance transform knows that there is no lung beyond the scan.
    pad = np.ceil(radius / step).astype(int) + 1
    side = np.pad(side, [(int(p), int(p)) for p in pad])
    grown = ndimage.distance_transform_edt(~side, sampling=step) <= radius
    depth = ndimage.distance_transform_edt(grown, sampling=step).astype(np.float32)
    positions = [
        (np.arange(v.start, v.stop) - w.start) / s + p
        for v, w, s, p in zip(view, wide, stride, pad, strict=True)
    ]
    at = np.stack(np.meshgrid(*positions, indexing="ij"))
    fine = ndimage.map_coordinates(depth, at, order=1, mode="nearest")
    return np.asarray(fine > radius + RIM_MM)


def _choose_body(dense: Mask, near: Mask) -> Mask | None:
    """The component that fills most of the neighborhood of the center; None where there is none."""
    labels, n = ndimage.label(dense)
    counts = np.bincount(labels[near], minlength=n + 1)
    counts[0] = 0
    return labels == counts.argmax() if counts.any() else None


def _bounds(mask: Mask, *, pad: int) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    return tuple(
        slice(max(0, s.start - pad), min(n, s.stop + pad)) for s, n in zip(box, mask.shape, strict=True)
    )


def _fill(body: Mask) -> Mask:
    """Fill what the body encloses in space, in axial slices, or in both coronal and sagittal slices.

    The cap of a thin wall is lost between thick slices, so a cavity may be open in space.
    """
    planes = [
        np.moveaxis(
            np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, axis, 0)]), 0, axis
        )
        for axis in range(3)
    ]
    return np.asarray(ndimage.binary_fill_holes(body) | planes[0] | (planes[1] & planes[2]))


def _open(filled: Mask, center: F64, spacing: F64, radius_mm: float) -> Mask | None:
    """Cut off vessels and spicules, thinner than the lesion, by an opening; None if nothing is left."""
    width = float(np.clip(OPENING_SHARE * radius_mm, *OPENING_LIMITS_MM))
    wide = np.pad(filled, 1)
    depth = ndimage.distance_transform_edt(wide, sampling=spacing)[1:-1, 1:-1, 1:-1]
    cores = depth > min(width, 0.8 * float(depth.max()))
    labels, n = ndimage.label(cores)
    if not n:
        return None
    away = _distance(filled.shape, center, spacing)
    nearest = ndimage.minimum(away, labels, range(1, n + 1))
    core = labels == 1 + int(np.argmin(nearest))
    grown = ndimage.distance_transform_edt(~core, sampling=spacing)
    mask: Mask = filled & (grown <= width + 0.3 * float(spacing[1]))
    return mask


def _find_cavity(hu: F32, mask: Mask, solid_hu: float, spacing: F64) -> Mask:
    """Gas inside the mask, away from its edge; nowhere true if too little to be called a cavity."""
    inner = ndimage.binary_erosion(mask, iterations=1)
    gas = inner & (hu < 0.5 * (AIR_HU + solid_hu))
    labels, n = ndimage.label(gas)
    sizes = np.bincount(labels.ravel(), minlength=n + 1) * float(np.prod(spacing))
    sizes[0] = 0.0
    least = max(MIN_CAVITY_MM3, MIN_CAVITY_SHARE * float(mask.sum() * np.prod(spacing)))
    return np.asarray((sizes >= least)[labels])


def measure_axes(shape: LesionOutline) -> LesionAxes:
    """Measure the longest diameter in an axial slice and the longest perpendicular to it in that slice.

    Parameters
    ----------
    shape : LesionOutline
        The lesion.

    Returns
    -------
    LesionAxes
        Between half-maximum points, to a fraction of a voxel.

    Raises
    ------
    ValueError
        The mask holds no voxel.
    """
    best: tuple[float, int, F64, F64] | None = None
    for k in np.flatnonzero(shape.mask.any(axis=(1, 2))).tolist():
        points = _cut_bumps(_outline(shape, k) * shape.spacing_mm[1:])
        hull = _hull_points(points)
        gap = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
        i, j = divmod(int(gap.argmax()), len(hull))
        if best is None or gap[i, j] > best[0]:
            best = (float(gap[i, j]), k, hull, np.array([hull[i], hull[j]]))
    if best is None:
        raise ValueError("shape.mask holds no voxel")
    length, k, hull, ends = best
    width, across = _longest_across(hull, ends)
    step = shape.spacing_mm[1:]
    at_slice = np.full((2, 1), float(k))
    return LesionAxes(length, np.hstack([at_slice, ends / step]), width, np.hstack([at_slice, across / step]))


def _cut_bumps(points: F64) -> F64:
    """Limit an outline (n, 2) [mm] to slightly beyond the local median radius, to remove stubs of vessels."""
    center = points.mean(axis=0)
    away = points - center
    radius = np.hypot(*away.T)
    angle = np.arctan2(away[:, 0], away[:, 1])
    gap = np.abs((angle[:, None] - angle + np.pi) % (2 * np.pi) - np.pi)
    nearby = np.where(gap < BUMP_RAD, radius, np.nan)
    limit = np.nanmedian(nearby, axis=1) + BUMP_MM
    return np.asarray(center + away * np.minimum(1.0, limit / np.maximum(radius, 1e-9))[:, None])


def _outline(shape: LesionOutline, k: int) -> F64:
    """Points (n, 2) between the pixels of one slice where the edge passes, as (y, x) indices."""
    mask, hu = np.pad(shape.mask[k], 1), np.pad(shape.hu[k], 1, constant_values=shape.lung_hu)
    return np.asarray(_crossings(mask, hu, shape.edge_hu)[0] - 1.0)


def _crossings(mask: Mask, hu: F32, level: float) -> tuple[F64, npt.NDArray[np.int64]]:
    """Points (n, d) between neighbors inside and outside `mask` where `hu` crosses `level`, and their axes.

    Where both neighbors are on one side of the level, the border has another reason: the midpoint is taken.
    """
    points, axes = [], []
    for axis in range(mask.ndim):
        here = [slice(None)] * mask.ndim
        there = [slice(None)] * mask.ndim
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        a, b = mask[tuple(here)], mask[tuple(there)]
        where = np.argwhere(a != b)
        u = hu[tuple(here)][tuple(where.T)].astype(np.float64)
        v = hu[tuple(there)][tuple(where.T)].astype(np.float64)
        change = v - u
        share = np.where(np.abs(change) > 1.0, (level - u) / np.where(change == 0, 1.0, change), 0.5)
        share = np.where((share < 0.0) | (share > 1.0), 0.5, share)
        point = where.astype(np.float64)
        point[:, axis] += share
        points.append(point)
        axes.append(np.full(len(point), axis))
    return np.concatenate(points), np.concatenate(axes)


def _hull_points(points: F64) -> F64:
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return points


def _longest_across(hull: F64, ends: F64) -> tuple[float, F64]:
    """Length [mm] and ends of the longest chord of a convex outline perpendicular to a line."""
    along = (ends[1] - ends[0]) / max(float(np.linalg.norm(ends[1] - ends[0])), 1e-9)
    aside = np.array([-along[1], along[0]])
    u, v = (hull - ends[0]) @ along, (hull - ends[0]) @ aside
    order = np.argsort(np.arctan2(v - v.mean(), u - u.mean()))
    u, v = np.append(u[order], u[order][0]), np.append(v[order], v[order][0])
    best = (0.0, 0.0, 0.0, 0.0)
    for at in np.unique(u):
        low, high = np.minimum(u[:-1], u[1:]), np.maximum(u[:-1], u[1:])
        hit = np.flatnonzero((low <= at) & (at <= high))
        span = u[hit + 1] - u[hit]
        t = np.where(np.abs(span) > 1e-9, (at - u[hit]) / np.where(span == 0, 1.0, span), 0.0)
        heights = v[hit] + t * (v[hit + 1] - v[hit])
        heights = np.append(heights, v[:-1][np.abs(u[:-1] - at) < 1e-9])
        if np.ptp(heights) > best[0]:
            best = (float(np.ptp(heights)), float(at), float(heights.min()), float(heights.max()))
    width, at, low_v, high_v = best
    return width, np.array([ends[0] + at * along + low_v * aside, ends[0] + at * along + high_v * aside])


def measure_density(shape: LesionOutline) -> float:
    """Mean attenuation of the solid part at least 1.2 mm from its surfaces.

    Parameters
    ----------
    shape : LesionOutline
        The lesion.

    Returns
    -------
    float
        Attenuation [HU]; of the densest quarter where the solid part is too thin.
    """
    solid = shape.mask & ~shape.cavity
    depth = ndimage.distance_transform_edt(np.pad(solid, 1), sampling=shape.spacing_mm)[1:-1, 1:-1, 1:-1]
    inner = shape.hu[(depth > EDGE_MM) & ndimage.binary_erosion(solid)]
    if len(inner) < 20:
        inner = shape.hu[solid & (shape.hu >= np.quantile(shape.hu[solid], 0.75))]
    return float(inner.mean())


def measure_wall(shape: LesionOutline, psf: Psf) -> Wall | None:
    """Measure the cavity and the thickness of the wall around it.

    Thickness is measured from every point of the inner surface to the nearest point of the outer one. A wall
    about as thin as the blur appears thicker and less dense than it is; its thickness is corrected by the
    profile of a blurred slab.

    Parameters
    ----------
    shape : LesionOutline
        The lesion.
    psf : Psf
        Blur of the scan.

    Returns
    -------
    Wall or None
        None for a lesion without a cavity.
    """
    if not shape.cavity.any():
        return None
    gas_hu = _typical_gas(shape)
    inner_level = 0.5 * (gas_hu + shape.solid_hu)
    cavity = np.pad(shape.cavity, 1)
    mask = np.pad(shape.mask, 1)
    hu = np.pad(shape.hu, 1, constant_values=shape.lung_hu)
    inside, _ = _crossings(cavity, hu, inner_level)
    outside, _ = _crossings(mask, hu, shape.edge_hu)
    inside, outside = inside * shape.spacing_mm, outside * shape.spacing_mm
    seen, nearest = cKDTree(outside).query(inside)
    normal = (outside[nearest] - inside) / np.maximum(seen, 1e-6)[:, None]
    sigma = np.sqrt(
        (normal[:, 0] * psf.sigma_z_mm) ** 2 + (normal[:, 1:] ** 2).sum(axis=1) * psf.sigma_xy_mm**2
    )
    thickness = _correct_thickness(seen, sigma, gas_hu, shape)
    low, high = np.quantile(thickness, [0.02, 0.98])
    return Wall(
        cavity_volume_mm3=_measure_gas(shape, gas_hu),
        mean_mm=float(thickness.mean()),
        min_mm=float(low),
        max_mm=float(high),
    )


def _typical_gas(shape: LesionOutline) -> float:
    """Attenuation of the gas [HU], limited from above since a small cavity appears denser by blur."""
    return float(np.clip(np.quantile(shape.hu[shape.cavity], 0.25), AIR_HU, -900.0))


def _measure_gas(shape: LesionOutline, gas_hu: float) -> float:
    """Volume of the cavity [mm3]: missing attenuation in it and two voxels around, over that of gas."""
    near = ndimage.binary_dilation(shape.cavity, iterations=2) & ndimage.binary_erosion(shape.mask)
    near |= shape.cavity
    share = np.clip((shape.solid_hu - shape.hu[near]) / (shape.solid_hu - gas_hu), 0.0, 1.0)
    return float(share.sum() * np.prod(shape.spacing_mm))


def _correct_thickness(seen_mm: F64, sigma_mm: F64, gas_hu: float, shape: LesionOutline) -> F64:
    """True thickness [mm] of slabs with an apparent half-maximum width, blurred by `sigma_mm`."""
    gas, lung = gas_hu - shape.solid_hu, shape.lung_hu - shape.solid_hu
    truth = np.linspace(0.2, 8.0, 157)
    at = np.linspace(-6.0, 14.0, 2001)
    widths = np.empty(len(truth))
    for i, w in enumerate(truth):
        profile = gas * ndtr(-at) + lung * ndtr(at - w)
        peak = int(profile.argmax())
        inner = (
            at[np.flatnonzero(profile[:peak] < 0.5 * gas)[-1]] if (profile[:peak] < 0.5 * gas).any() else 0.0
        )
        after = np.flatnonzero(profile[peak:] < 0.5 * lung)
        widths[i] = at[peak + after[0]] - inner if len(after) else 0.0
    # In units of the blur. The apparent width first falls, then rises with the truth; only the rise is
    # inverted.
    first = int(widths.argmin())
    seen = seen_mm / np.maximum(sigma_mm, 1e-6)
    scaled = np.interp(seen, np.maximum.accumulate(widths[first:]), truth[first:])
    return np.asarray(np.where(seen < truth[-1], scaled, seen) * sigma_mm)
