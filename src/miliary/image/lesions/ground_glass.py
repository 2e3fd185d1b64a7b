"""Ground-glass and part-solid lesions of 8 mm and more: hazy, compact bodies that are fainter than tissue.

On block means with vessels cut off in height, a lesion rises above the lung around it as a plateau that ends
after about the same way in all directions. A gradient by gravity or motion has no such end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.anatomy import regions
from miliary.image.lesions.field import LesionField
from miliary.image.lesions.outline import LesionOutline, measure_axes, smooth_distances
from miliary.image.lesions.rays import MANY, RAY_HU, Rays, cast, center_rays, list_peaks
from miliary.model.lesion import MIN_LONG_AXIS_MM
from miliary.model.scan import Scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# The lung around: this percentile of blocks of about 10 mm within about 50 mm.
BLOCK_MM, AROUND_BLOCKS, LOCAL_PERCENTILE = 10.0, 5, 40.0
MIN_LUNG_SHARE, USUAL_LUNG_HU = 0.2, -850.0
# Vessels count up to this much above the lung [HU]; a plateau lies so much above it, nearly without gaps.
CLIP_HU, RISE_HU, GAP_HU, MIN_FILLED = 320.0, 100.0, 50.0, 0.8
# Denser than this it is no ground glass.
DENSE_HU = -350.0
MIN_DEPTH_MM, MAX_STARTS, SAME_BODY_SHARE = 3.0, 60, 0.8
MAX_GROUND_STRETCH, MAX_EDGE_SHARE = 1.7, 0.45
PLATEAU_HU = (-780.0, -350.0)
# The surface is looked for after this much smoothing [mm].
SMOOTH_MM, SOLID_SMOOTH_MM, SOLID_OPEN_MM, SOFT_HU = 1.2, 0.5, 1.0, 20.0
# Vessels up to twice this width are cut off: share of the radius, and its limits [mm].
OPEN_SHARE, OPEN_MM = 0.25, (2.0, 3.5)
MIN_GLASS_VOXELS = 30
MIN_FILL_OF_BALL, MIN_GLASS_SHARE = 0.25, 0.6
# A plateau does not get denser from its surface inward; consolidation that fades at its edge does [HU/mm].
MAX_SLOPE_HU_MM, EDGE_MM = 45.0, 2.0
# What has its middle nearer to the outline of the lung than this share of its length is partial volume.
MIN_DEPTH_SHARE = 0.38
# A halo this much longer than the solid lesion, and this share of the volume, is ground glass, not blur.
MIN_HALO_MM, MIN_HALO_SHARE = 5.0, 0.4


@dataclass(frozen=True)
class GroundGlass:
    """One ground-glass or part-solid lesion.

    Parameters
    ----------
    shape : LesionOutline
        The whole lesion, on the voxels of the scan, smoothed and with vessels cut off in height.
    solid : LesionOutline or None
        Its solid part; None where it has none of 2 mm.
    density_hu : float
        Of the ground-glass part [HU].
    rise_hu : float
        How much that lies above the lung around [HU].
    glass_share : float
        Share of its voxels off the edge with the attenuation of ground glass.
    """

    shape: LesionOutline
    solid: LesionOutline | None
    density_hu: float
    rise_hu: float
    glass_share: float


@dataclass(frozen=True)
class Haze:
    """What ground glass is looked for on.

    Parameters
    ----------
    field : LesionField
        Attenuation above the lung around, vessels cut off in height, in place of attenuation.
    lung_hu : ndarray of float32, shape of the field
        Of the lung around [HU].
    core : ndarray of bool
        Plateaus.
    depth_mm : ndarray of float32
        Depth below the outline of the lungs [mm].
    """

    field: LesionField
    lung_hu: F32
    core: Mask
    depth_mm: F32


def find_haze(field: LesionField) -> Haze:
    """Where the lung is denser than the lung around it, without vessels.

    Parameters
    ----------
    field : LesionField
        The lungs.

    Returns
    -------
    Haze
    """
    lung = field.labels > 0
    around = _find_lung_around(field, lung)
    inside = ndimage.binary_erosion(field.hull)
    weight = ndimage.uniform_filter(inside.astype(np.float32), 3)
    rise = np.minimum(field.hu - around, CLIP_HU)
    rise[~inside] = 0.0
    smooth = ndimage.uniform_filter(rise, 3) / np.maximum(weight, 0.3)
    smooth[~inside] = 0.0
    filled = ndimage.uniform_filter(((rise > GAP_HU) & inside).astype(np.float32), 3)
    core = inside & (smooth > RISE_HU) & (filled > MIN_FILLED * weight)
    depth = regions.measure_distance(field.hull, field.spacing_mm)
    return Haze(
        replace(field, hu=smooth.astype(np.float32)), around, core, np.asarray(depth, dtype=np.float32)
    )


def _find_lung_around(field: LesionField, lung: Mask) -> F32:
    """Attenuation of the lung around each block [HU]."""
    # Every other row and column is enough for a percentile.
    thin = np.array([1, 2, 2])
    hu, lung_thin = field.hu[:, ::2, ::2], lung[:, ::2, ::2]
    n = np.maximum(1, np.round(BLOCK_MM / (field.spacing_mm * thin))).astype(int)
    counts = [-(-size // step) for size, step in zip(hu.shape, n, strict=True)]
    pad = [(0, c * s - size) for c, s, size in zip(counts, n, hu.shape, strict=True)]
    hu = np.pad(np.where(lung_thin, hu, np.float32(np.inf)), pad, constant_values=np.inf)
    blocks = hu.reshape(counts[0], n[0], counts[1], n[1], counts[2], n[2]).transpose(0, 2, 4, 1, 3, 5)
    flat = blocks.reshape(*counts, -1)
    n_known = np.isfinite(flat).sum(axis=-1)
    known = n_known >= MIN_LUNG_SHARE * flat.shape[-1]
    if not known.any():
        return np.full(lung.shape, USUAL_LUNG_HU, dtype=np.float32)
    at = (LOCAL_PERCENTILE / 100.0 * n_known[known]).astype(int)
    value = np.zeros(tuple(counts), dtype=np.float32)
    value[known] = np.take_along_axis(np.sort(flat[known], axis=-1), at[:, None], axis=-1)[:, 0]
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    value = ndimage.percentile_filter(value[tuple(nearest)], LOCAL_PERCENTILE, size=AROUND_BLOCKS)
    rows = [
        np.minimum(np.arange(size) // (s * t), m - 1)
        for size, s, t, m in zip(lung.shape, n, thin, value.shape, strict=True)
    ]
    return np.asarray(ndimage.uniform_filter(value, 2)[np.ix_(*rows)], dtype=np.float32)


def find_ground_glass(scan: Scan, field: LesionField, haze: Haze) -> list[GroundGlass]:
    """Find ground-glass and part-solid lesions.

    Parameters
    ----------
    scan : Scan
        The scan.
    field : LesionField
        The lungs.
    haze : Haze
        Of that field.

    Returns
    -------
    list of GroundGlass
        Those whose longest axial diameter is 8 mm or more, largest first.
    """
    found: list[GroundGlass] = []
    depth = regions.measure_distance(haze.core, haze.field.spacing_mm)
    starts = list_peaks(
        depth,
        haze.field.spacing_mm,
        min_depth_mm=MIN_DEPTH_MM,
        same_body_share=SAME_BODY_SHARE,
        max_n=MAX_STARTS,
    )
    for start in starts:
        one = measure_around(scan, field, haze, start)
        if one is None or one.glass_share < MIN_GLASS_SHARE:
            continue
        middle = one.shape.start + one.shape.centroid_zyx
        if any(other.shape.contains(middle[None], margin_mm=2.0)[0] for other in found):
            continue
        found.append(one)
    return sorted(found, key=lambda one: -one.shape.volume_mm3)


def measure_around(scan: Scan, field: LesionField, haze: Haze, start: F64) -> GroundGlass | None:
    """Measure the hazy body around a place.

    Parameters
    ----------
    scan : Scan
        The scan.
    field : LesionField
        The lungs.
    haze : Haze
        Of that field.
    start : ndarray, shape (3,)
        Index in the field.

    Returns
    -------
    GroundGlass or None
        None where it is not compact, too small or not of the density of ground glass.
    """
    at = tuple(np.round(start).astype(int))
    rise = float(haze.field.hu[at])
    lifted = replace(haze.field, hu=haze.field.hu - np.float32(0.5 * rise) + np.float32(RAY_HU))
    rays = center_rays(lifted, start)
    if rays is None:
        return None
    rays = _recenter_level(haze, rays)
    if not _is_compact(rays):
        return None
    lung_hu = float(haze.lung_hu[at])
    shape = _outline(scan, field, rays, lung_hu)
    if shape is None:
        return None
    middle = np.round(field.index_here(shape.start + shape.centroid_zyx)).astype(int)
    middle = np.clip(middle, 0, np.asarray(field.hull.shape) - 1)
    return _judge(scan, shape, float(haze.depth_mm[tuple(middle)]))


def _recenter_level(haze: Haze, rays: Rays) -> Rays:
    """Rays from the same center at half the height there."""
    at = tuple(np.clip(np.round(rays.center).astype(int), 0, np.asarray(haze.field.hu.shape) - 1))
    rise = max(float(haze.field.hu[at]), RISE_HU)
    return cast(
        replace(haze.field, hu=haze.field.hu - np.float32(0.5 * rise) + np.float32(RAY_HU)),
        rays.center,
        MANY,
    )


def _is_compact(rays: Rays) -> bool:
    return (
        2.0 * rays.radius_mm >= MIN_LONG_AXIS_MM - 2.0
        and rays.stretch <= MAX_GROUND_STRETCH
        and rays.hull_share <= MAX_EDGE_SHARE
        and rays.endless_share <= 0.07
    )


def _outline(scan: Scan, field: LesionField, rays: Rays, lung_hu: float) -> LesionOutline | None:
    """The whole lesion on the voxels of the scan."""
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    center = field.index_in_scan(rays.center)
    limit = smooth_distances(MANY, rays.distance_mm)
    reach = float(limit.max()) + 4.0
    low = np.maximum(0, np.floor(center - reach / spacing)).astype(int)
    high = np.minimum(scan.grid.shape_zyx, np.ceil(center + reach / spacing).astype(int) + 1)
    view = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    hu = np.minimum(np.asarray(scan.voxels_hu[view], dtype=np.float32), lung_hu + CLIP_HU)
    hu = ndimage.gaussian_filter(hu, SMOOTH_MM / spacing)
    away = _measure_away(hu.shape, center - low, spacing)
    at = [field.index_along(axis, np.arange(v.start, v.stop)) for axis, v in enumerate(view)]
    near = [np.clip(np.round(a).astype(int), 0, n - 1) for a, n in zip(at, field.hull.shape, strict=True)]
    offset = (np.stack(np.meshgrid(*[np.arange(n) for n in hu.shape], indexing="ij"), -1) + low) - center
    room = (away < reach) & (hu > lung_hu + 0.5 * RISE_HU) & field.hull[np.ix_(*near)]
    direction = offset[room] * spacing / np.maximum(away[room], 1e-9)[:, None]
    room[room] = away[room] < limit[cKDTree(MANY).query(direction)[1]]
    plateau = float(np.median(hu[away < max(0.5 * rays.radius_mm, 3.0)]))
    mask = room
    width = float(np.clip(OPEN_SHARE * rays.radius_mm, *OPEN_MM))
    for _ in range(2):
        kept = _keep_thick(room & (hu > 0.5 * (lung_hu + plateau)), spacing, width, away)
        if kept is None:
            return None
        mask = kept
        # Around a solid part the plateau is that of the ground glass, not of what was cut off in height.
        glass = ndimage.binary_erosion(mask, iterations=2) & (hu < lung_hu + CLIP_HU - 30.0)
        if np.count_nonzero(glass) >= MIN_GLASS_VOXELS:
            plateau = min(plateau, max(float(np.median(hu[glass])), lung_hu + RISE_HU))
    return LesionOutline(hu, mask, np.zeros_like(mask), low.astype(np.float64), spacing, lung_hu, plateau)


def _measure_away(shape: tuple[int, ...], center: F64, spacing: F64) -> F64:
    """Distance of every voxel from a center [mm]."""
    z, y, x = (((np.arange(n) - c) * s) ** 2 for n, c, s in zip(shape, center, spacing, strict=True))
    return np.asarray(np.sqrt(z[:, None, None] + y[:, None] + x))


def _keep_thick(body: Mask, spacing: F64, radius_mm: float, away: F64 | None) -> Mask | None:
    """A body without what is thinner than twice a radius; its largest part, or that nearest to a center."""
    depth = ndimage.distance_transform_edt(np.pad(body, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    labels, n = ndimage.label(depth > radius_mm)
    if not n:
        return None
    numbers = range(1, n + 1)
    if away is not None:
        chosen = 1 + int(np.argmin(ndimage.minimum(away, labels, numbers)))
    else:
        chosen = 1 + int(np.argmax(ndimage.sum_labels(labels > 0, labels, numbers)))
    grown = ndimage.distance_transform_edt(labels != chosen, sampling=spacing) <= radius_mm + 0.3 * spacing[1]
    mask: Mask = ndimage.binary_fill_holes(body & grown)
    return mask


def _judge(scan: Scan, shape: LesionOutline, depth_mm: float) -> GroundGlass | None:
    """The lesion with its solid part; None where it is no ground glass."""
    view = tuple(slice(int(a), int(a) + n) for a, n in zip(shape.start, shape.mask.shape, strict=True))
    hu = ndimage.gaussian_filter(
        np.asarray(scan.voxels_hu[view], dtype=np.float32), SOLID_SMOOTH_MM / shape.spacing_mm
    )
    axes = measure_axes(shape)
    if axes.long_mm < MIN_LONG_AXIS_MM or depth_mm < MIN_DEPTH_SHARE * axes.long_mm:
        return None
    if shape.mask.sum() * np.prod(shape.spacing_mm) < MIN_FILL_OF_BALL * np.pi / 6.0 * axes.long_mm**3:
        return None
    solid = _find_solid(shape, hu)
    glass = ndimage.binary_erosion(shape.mask, iterations=1)
    if solid is not None:
        glass &= ~ndimage.binary_dilation(solid.mask, iterations=2)
    glass &= hu < DENSE_HU
    if np.count_nonzero(glass) * np.prod(shape.spacing_mm) < 60.0:
        return None
    density = float(np.median(hu[glass]))
    slope = _measure_slope(hu, glass, shape)
    if not PLATEAU_HU[0] < density < PLATEAU_HU[1] or slope > MAX_SLOPE_HU_MM:
        return None
    inner = hu[ndimage.binary_erosion(shape.mask)]
    share = float(np.mean((inner > PLATEAU_HU[0] - 20.0) & (inner < DENSE_HU))) if len(inner) else 0.0
    return GroundGlass(shape, solid, density, density - shape.lung_hu, share)


def _measure_slope(hu: F32, glass: Mask, shape: LesionOutline) -> float:
    """How much denser ground glass gets for each millimeter below the surface [HU/mm]."""
    depth = ndimage.distance_transform_edt(np.pad(shape.mask, 1), sampling=shape.spacing_mm)[1:-1, 1:-1, 1:-1]
    inner = glass & (depth > EDGE_MM)
    if np.count_nonzero(inner) < 30 or np.ptp(depth[inner]) < 1.0:
        return 0.0
    return float(np.polyfit(depth[inner], hu[inner], 1)[0])


def _find_solid(shape: LesionOutline, hu: F32) -> LesionOutline | None:
    """The solid part of a lesion; None where it has none."""
    inside = shape.mask & (hu < DENSE_HU)
    glass_hu = float(np.median(hu[inside])) if inside.any() else PLATEAU_HU[1]
    level = 0.5 * (glass_hu + SOFT_HU)
    mask = _keep_thick(shape.mask & (hu > level), shape.spacing_mm, SOLID_OPEN_MM, None)
    if mask is None:
        return None
    return LesionOutline(hu, mask, np.zeros_like(mask), shape.start, shape.spacing_mm, glass_hu, SOFT_HU)


def solid_axis_mm(found: GroundGlass) -> float:
    """Longest axial diameter of the solid part.

    Parameters
    ----------
    found : GroundGlass

    Returns
    -------
    float
        [mm]; 0 where there is none.
    """
    return 0.0 if found.solid is None else measure_axes(found.solid).long_mm


def is_halo(found: GroundGlass, solid_mm: float, solid_mm3: float) -> bool:
    """Whether ground glass around a solid lesion is more than its blurred edge and spicules.

    Parameters
    ----------
    found : GroundGlass
    solid_mm, solid_mm3 : float
        Longest axial diameter and volume of the solid lesion.

    Returns
    -------
    bool
    """
    whole_mm = measure_axes(found.shape).long_mm
    halo_mm3 = found.shape.volume_mm3 - solid_mm3
    return whole_mm >= solid_mm + MIN_HALO_MM and halo_mm3 >= MIN_HALO_SHARE * found.shape.volume_mm3
