"""Find new opacities: lung that is denser on the follow-up than its change in volume explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.kernels.resample import resample_volume
from miliary.image.pair.common_lung import PARTS, find_parts
from miliary.model.comparison import Opacity, OpacityKind
from miliary.model.ct_result import Lungs
from miliary.model.scan import Grid, Scan
from miliary.model.transform import Transform

F32 = npt.NDArray[np.float32]

PITCH_MM = 3.0
_FLUID_HU = (-40.0, 40.0)
_AIR_HU = -1000.0


def find_new_opacities(
    baseline: Scan,
    baseline_lungs: Lungs,
    followup: Scan,
    transform: Transform,
    *,
    min_rise_hu: float,
    consolidation_min_hu: float,
    min_volume_ml: float,
    lesions_mm: Sequence[tuple[float, float, float, float]] = (),
) -> tuple[tuple[Opacity, ...], npt.NDArray[np.float64]]:
    """Find ground glass, consolidation and effusion that were not present at baseline.

    Both scans are averaged to 3 mm and median filtered, so that new or vanished nodules have no effect; the
    expected density accounts for the local change in volume of the lung.

    Parameters
    ----------
    baseline, followup : Scan
        The two scans.
    baseline_lungs : Lungs
        Lung labels of the baseline, which include a lung that later filled with fluid.
    transform : Transform
        Maps points of the baseline to points of the follow-up.
    min_rise_hu : float
        Smallest rise in attenuation [HU].
    consolidation_min_hu : float
        Attenuation from which an opacity is consolidation, not ground glass [HU].
    min_volume_ml : float
        Smallest volume of an opacity [mL].
    lesions_mm : sequence of (x, y, z, radius)
        Known lesions in the frame of the baseline [mm], excluded.

    Returns
    -------
    opacities : tuple of Opacity
        In order of decreasing volume.
    share : ndarray, shape (6,)
        Share of each of `PARTS` that is newly dense, 0 to 1.
    """
    labels, grid = _coarse_labels(baseline_lungs.labels, baseline.grid)
    before = _smooth(_average(baseline), grid, None)
    after = _smooth(_average(followup), grid, transform)
    inside = labels > 0
    points = grid.lps_from_index(np.argwhere(inside))
    growth = np.clip(transform.jacobian_at(points), 0.3, 3.0)
    expected = np.zeros(labels.shape, dtype=np.float32)
    expected[inside] = _AIR_HU + (before[inside] - _AIR_HU) / growth
    rise = np.where(inside & (after > -1020.0), after - expected, 0.0)
    for x, y, z, radius in lesions_mm:
        _blank(rise, grid, (x, y, z), radius + 2.0 * PITCH_MM)
    # Borders misaligned by a voxel or two are thinner than this, and are removed by the opening.
    dense = ndimage.binary_opening(rise >= min_rise_hu, iterations=2)
    found, n = ndimage.label(dense)
    voxel_ml = grid.voxel_volume_mm3 / 1000.0
    size = np.bincount(found.ravel(), minlength=n + 1) * voxel_ml
    opacities = [
        _describe(found == k, rise, after, labels, grid, consolidation_min_hu)
        for k in range(1, n + 1)
        if size[k] >= min_volume_ml
    ]
    kept = np.isin(found, np.flatnonzero(size >= min_volume_ml)) & (found > 0)
    parts = find_parts(labels, np.argwhere(inside).astype(np.float64))
    total = np.maximum(np.bincount(parts, minlength=len(PARTS)), 1)
    share = np.bincount(parts[kept[inside]], minlength=len(PARTS)) / total
    return tuple(sorted(opacities, key=lambda o: -o.volume_ml)), share


def _coarse_labels(labels: npt.NDArray[np.uint8], grid: Grid) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Labels on a grid of about 3 mm around the lungs."""
    stride = [max(1, round(PITCH_MM / step)) for step in grid.spacing_zyx_mm]
    small = labels[:: stride[0], :: stride[1], :: stride[2]]
    box = ndimage.find_objects((small > 0).astype(np.uint8))[0]
    spacing = tuple(s * n for s, n in zip(grid.spacing_zyx_mm, stride, strict=True))
    origin = grid.lps_from_index([b.start * s for b, s in zip(box, stride, strict=True)])
    cut = np.ascontiguousarray(small[box])
    nz, ny, nx = cut.shape
    origin_lps = (float(origin[0]), float(origin[1]), float(origin[2]))
    return cut, Grid((nz, ny, nx), (spacing[0], spacing[1], spacing[2]), origin_lps, grid.axes_lps)


def _average(scan: Scan) -> tuple[F32, Grid]:
    """Means over blocks of about 3 mm."""
    grid = scan.grid
    block = [max(1, round(PITCH_MM / step)) for step in grid.spacing_zyx_mm]
    n = [size // b for size, b in zip(scan.voxels_hu.shape, block, strict=True)]
    cut = scan.voxels_hu[: n[0] * block[0], : n[1] * block[1], : n[2] * block[2]]
    mean = np.empty((n[0], n[1], n[2]), dtype=np.float32)
    for z in range(n[0]):
        slab = cut[z * block[0] : (z + 1) * block[0]].mean(axis=0, dtype=np.float32)
        mean[z] = slab.reshape(n[1], block[1], n[2], block[2]).mean(axis=(1, 3))
    origin = grid.lps_from_index([(b - 1) / 2 for b in block])
    origin_lps = (float(origin[0]), float(origin[1]), float(origin[2]))
    spacing = [s * b for s, b in zip(grid.spacing_zyx_mm, block, strict=True)]
    return mean, Grid((n[0], n[1], n[2]), (spacing[0], spacing[1], spacing[2]), origin_lps, grid.axes_lps)


def _smooth(averaged: tuple[F32, Grid], target: Grid, transform: Transform | None) -> F32:
    """Averaged scan on the grid of the coarse labels, median filtered."""
    volume = resample_volume(averaged[0], averaged[1], target, transform=transform)
    return np.asarray(ndimage.median_filter(volume, size=3), dtype=np.float32)


def _blank(rise: npt.NDArray[np.floating], grid: Grid, center: tuple[float, ...], radius_mm: float) -> None:
    """Set what lies within a sphere to 0."""
    index = grid.index_from_lps(center)
    axes = [
        ((np.arange(n) - at) * step) ** 2
        for n, at, step in zip(rise.shape, index, grid.spacing_zyx_mm, strict=True)
    ]
    rise[axes[0][:, None, None] + axes[1][:, None] + axes[2] <= radius_mm**2] = 0.0


def _describe(
    mask: npt.NDArray[np.bool_],
    rise: npt.NDArray[np.floating],
    after: F32,
    labels: npt.NDArray[np.uint8],
    grid: Grid,
    consolidation_min_hu: float,
) -> Opacity:
    """Measure one opacity, given as a mask of the coarse grid."""
    index = np.argwhere(mask).astype(np.float64)
    center = index.mean(axis=0)
    nearest = index[np.argmin(((index - center) ** 2).sum(axis=1))]
    side, zone = PARTS[int(np.bincount(find_parts(labels, index)).argmax())]
    point = grid.lps_from_index(nearest)
    return Opacity(
        kind=_name_kind(mask, after, labels, consolidation_min_hu),
        volume_ml=float(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000.0,
        rise_hu=float(rise[mask].mean()),
        center_lps_mm=(float(point[0]), float(point[1]), float(point[2])),
        side=side.value,
        zone=zone.value,
    )


def _name_kind(
    mask: npt.NDArray[np.bool_], after: F32, labels: npt.NDArray[np.uint8], consolidation_min_hu: float
) -> OpacityKind:
    """Kind of an opacity: fluid is homogeneous, as dense as water, and lies along the pleura."""
    level = float(np.median(after[mask]))
    if level < consolidation_min_hu:
        return OpacityKind.GROUND_GLASS
    rim = (labels > 0) & ~ndimage.binary_erosion(labels > 0, iterations=4)
    is_outer = float(rim[mask].mean()) > 0.5
    is_even = float(after[mask].std()) < 60.0
    is_fluid = _FLUID_HU[0] <= level <= _FLUID_HU[1]
    return OpacityKind.EFFUSION if is_fluid and is_outer and is_even else OpacityKind.CONSOLIDATION
