"""Lung that is inside the field of view of both scans, and the part of the lungs that points belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.regions import locate
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, Lungs
from miliary.model.scan import Grid, Side, Zone
from miliary.model.transform import Transform

F64 = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

PITCH_MM = 4.0
# A part of the lung is its side and zone; parts are numbered in this order.
PARTS: tuple[tuple[Side, Zone], ...] = tuple((side, zone) for side in Side for zone in Zone)


@dataclass(frozen=True)
class CommonLung:
    """Lung that is inside the field of view of both scans.

    Parameters
    ----------
    baseline_coverage, followup_coverage : float
        Share of the lung of each scan inside the field of view of the other, 0 to 1.
    baseline_ml, followup_ml : ndarray, shape (6,)
        Volume of common lung on each scan, for each of `PARTS` [mL].
    """

    baseline_coverage: float
    followup_coverage: float
    baseline_ml: F64
    followup_ml: F64

    @property
    def coverage(self) -> float:
        """The smaller of the two shares, 0 to 1."""
        return min(self.baseline_coverage, self.followup_coverage)


@dataclass(frozen=True)
class PointLocations:
    """Location of n points of either scan.

    Parameters
    ----------
    part : ndarray of int64, shape (n,)
        Number of the part of the lungs in `PARTS`.
    baseline_mm : ndarray of float64, shape (n, 3)
        Position in the frame of the baseline, LPS [mm].
    is_common : ndarray of bool, shape (n,)
        Whether the point is inside the field of view of the other scan.
    """

    part: IntArray
    baseline_mm: F64
    is_common: BoolArray


def find_common_lung(
    baseline: Lungs, baseline_grid: Grid, followup: Lungs, followup_grid: Grid, transform: Transform
) -> CommonLung:
    """Measure the lung that is inside the field of view of both scans.

    Parameters
    ----------
    baseline, followup : Lungs
        Lung labels of both scans.
    baseline_grid, followup_grid : Grid
        Grids of both scans.
    transform : Transform
        Maps points of the baseline to points of the follow-up.

    Returns
    -------
    CommonLung
        On both scans, parts are defined by the zones of the baseline.
    """
    volumes, shares = [], []
    for lungs, grid in ((baseline, baseline_grid), (followup, followup_grid)):
        is_baseline = lungs is baseline
        points, voxel_ml = _sample_lung(lungs.labels, grid)
        location = locate_points(
            points,
            baseline_labels=baseline.labels,
            baseline_grid=baseline_grid,
            followup_grid=followup_grid,
            transform=transform,
            is_baseline=is_baseline,
        )
        count = np.bincount(location.part[location.is_common], minlength=len(PARTS))
        volumes.append(np.asarray(count * voxel_ml, dtype=np.float64))
        shares.append(float(location.is_common.mean()) if len(points) else 0.0)
    return CommonLung(shares[0], shares[1], volumes[0], volumes[1])


def locate_points(
    points_lps_mm: F64,
    *,
    baseline_labels: npt.NDArray[np.uint8],
    baseline_grid: Grid,
    followup_grid: Grid,
    transform: Transform,
    is_baseline: bool,
) -> PointLocations:
    """Locate points of either scan: part of the lungs, position in the baseline, and whether common to both.

    Parameters
    ----------
    points_lps_mm : ndarray, shape (n, 3)
        Points (x, y, z) in the frame of their own scan, LPS [mm].
    baseline_labels : ndarray of uint8, shape (z, y, x) of `baseline_grid`
        Lung labels of the baseline.
    baseline_grid, followup_grid : Grid
        Grids of both scans.
    transform : Transform
        Maps points of the baseline to points of the follow-up.
    is_baseline : bool
        Whether the points are of the baseline.

    Returns
    -------
    PointLocations
    """
    if not len(points_lps_mm):
        return PointLocations(np.empty(0, dtype=np.int64), np.empty((0, 3)), np.empty(0, dtype=bool))
    if is_baseline:
        in_baseline, in_other, other = points_lps_mm, transform.apply(points_lps_mm), followup_grid
    else:
        in_baseline = transform.invert_points(points_lps_mm)
        lost = ~np.isfinite(in_baseline).all(axis=1)
        in_baseline[lost] = baseline_grid.lps_from_index(np.asarray(baseline_grid.shape_zyx) * 10.0)
        in_other, other = in_baseline, baseline_grid
    index = baseline_grid.index_from_lps(in_baseline)
    return PointLocations(find_parts(baseline_labels, index), in_baseline, _is_inside(in_other, other))


def _is_inside(points_lps_mm: F64, grid: Grid) -> BoolArray:
    index = grid.index_from_lps(points_lps_mm)
    inside = (index >= -0.5) & (index <= np.asarray(grid.shape_zyx) - 0.5)
    return np.asarray(inside.all(axis=1))


def _sample_lung(labels: npt.NDArray[np.uint8], grid: Grid) -> tuple[F64, float]:
    """Points (n, 3) of the lung about 4 mm apart, and the volume that each represents [mL]."""
    stride = [max(1, round(PITCH_MM / step)) for step in grid.spacing_zyx_mm]
    cut = tuple(slice(s // 2, None, s) for s in stride)
    index = np.argwhere(labels[cut] > 0) * stride + [s // 2 for s in stride]
    return grid.lps_from_index(index), grid.voxel_volume_mm3 * float(np.prod(stride)) / 1000.0


def find_parts(labels: npt.NDArray[np.uint8], index_zyx: F64) -> IntArray:
    """Find the part of the lungs that points belong to.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels: 0 outside, 1 right, 2 left.
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of `labels`; those outside the lungs belong to the nearest lung.

    Returns
    -------
    ndarray of int64, shape (n,)
        Numbers in `PARTS`.
    """
    location = np.clip(np.round(index_zyx).astype(np.int64), 0, np.asarray(labels.shape) - 1)
    label = labels[location[:, 0], location[:, 1], location[:, 2]]
    part = np.zeros(len(location), dtype=np.int64)
    for value, first in ((LABEL_RIGHT, 0), (LABEL_LEFT, 3)):
        own = label == value
        filled = np.flatnonzero((labels[:, ::2, ::2] == value).any(axis=(1, 2)))
        if own.any() and len(filled):
            height = (index_zyx[own, 0] - filled[0]) / max(1, filled[-1] - filled[0])
            part[own] = first + np.select([height < 1 / 3, height < 2 / 3], [2, 1], 0)
    outside = np.flatnonzero(label == 0)
    if len(outside):
        sides, zones = _locate_outside(labels, index_zyx[outside])
        part[outside] = [PARTS.index((Side(s), Zone(z))) for s, z in zip(sides, zones, strict=True)]
    return part


def _locate_outside(
    labels: npt.NDArray[np.uint8], index_zyx: F64
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Side and zone of points outside the lungs, on a coarse copy of the labels."""
    stride = np.maximum(1, np.asarray(labels.shape) // 96)
    coarse = np.ascontiguousarray(labels[:: stride[0], :: stride[1], :: stride[2]])
    return locate(coarse, index_zyx / stride)
