"""`Transform`: where each point of the baseline lies in the follow-up scan.

An affine map plus a displacement field on a coarse grid, in patient LPS millimetres. The field is
interpolated linearly between its nodes and held constant beyond its border.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.model.scan import Grid

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_CORNERS = tuple((z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1))


@dataclass(frozen=True)
class Transform:
    """Map of baseline (fixed) points to follow-up (moving) points.

    ``moving = matrix @ fixed + offset_lps_mm + displacement(fixed)``

    Parameters
    ----------
    matrix : ndarray, shape (3, 3)
        Affine part, acting on (x, y, z).
    offset_lps_mm : ndarray, shape (3,)
    grid : Grid, optional
        Nodes of the displacement field, in the frame of the baseline.
    displacement_lps_mm : ndarray of float32, shape (z, y, x, 3), optional
        (x, y, z) displacement [mm] at the nodes. Given together with `grid` or not at all.
    """

    matrix: F64
    offset_lps_mm: F64
    grid: Grid | None = None
    displacement_lps_mm: F32 | None = None

    def __post_init__(self) -> None:
        if np.shape(self.matrix) != (3, 3) or np.shape(self.offset_lps_mm) != (3,):
            raise ValueError("a transform needs a (3, 3) matrix and an offset of 3 numbers")
        if (self.grid is None) != (self.displacement_lps_mm is None):
            raise ValueError("a displacement field and its grid belong together")
        if self.grid is None or self.displacement_lps_mm is None:
            return
        shape = self.displacement_lps_mm.shape
        if shape != (*self.grid.shape_zyx, 3):
            raise ValueError(f"displacements have shape {shape}, their grid {self.grid.shape_zyx}")

    @classmethod
    def identity(cls) -> Transform:
        """The map that moves nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def affine(cls, matrix: npt.ArrayLike, offset_lps_mm: npt.ArrayLike) -> Transform:
        """An affine map without a displacement field."""
        return cls(np.array(matrix, dtype=np.float64), np.array(offset_lps_mm, dtype=np.float64))

    @cached_property
    def _inverse_matrix(self) -> F64:
        return np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)

    def displacement_at(self, points_lps_mm: npt.ArrayLike) -> F64:
        """Displacement field (n, 3) in mm at baseline points (n, 3) in LPS mm, without the affine part."""
        points = _as_points(points_lps_mm)
        if self.grid is None or self.displacement_lps_mm is None:
            return np.zeros_like(points)
        return _interpolate(self.displacement_lps_mm, self.grid.index_from_lps(points))

    def apply(self, points_lps_mm: npt.ArrayLike) -> F64:
        """Follow-up points (n, 3) of baseline points (n, 3), both (x, y, z) LPS mm."""
        points = _as_points(points_lps_mm)
        moved: F64 = points @ self.matrix.T + self.offset_lps_mm + self.displacement_at(points)
        return moved

    def invert_points(
        self, points_lps_mm: npt.ArrayLike, *, tolerance_mm: float = 0.01, max_iterations: int = 60
    ) -> F64:
        """Baseline points (n, 3) of follow-up points (n, 3), both LPS mm, found by iteration.

        The iteration converges where the field changes by less than the affine part does; points whose
        image is still off by more than 100 `tolerance_mm` in the end come back as NaN.
        """
        target = _as_points(points_lps_mm)
        points = (target - self.offset_lps_mm) @ self._inverse_matrix.T
        if self.grid is None or not len(target):
            return points
        for _ in range(max_iterations):
            miss = self.apply(points) - target
            if np.abs(miss).max() < tolerance_mm:
                return points
            points -= miss @ self._inverse_matrix.T
        miss_mm = np.linalg.norm(self.apply(points) - target, axis=1)
        points[miss_mm > 100.0 * tolerance_mm] = np.nan
        return points

    def jacobian(self) -> F64:
        """Local volume change at the nodes of the grid, shape (z, y, x); shape (1, 1, 1) without a field.

        Determinant of the derivative by central differences: 2 where a volume doubles, 0 or less where
        the map folds.
        """
        if self.grid is None or self.displacement_lps_mm is None:
            return np.full((1, 1, 1), np.linalg.det(self.matrix))
        field = self.displacement_lps_mm.astype(np.float64)
        slopes = [np.gradient(field, axis=a) if field.shape[a] > 1 else field * 0.0 for a in range(3)]
        return self._determinant(np.stack(slopes, axis=-1))

    def jacobian_at(self, points_lps_mm: npt.ArrayLike) -> F64:
        """Local volume change (n,) at baseline points (n, 3) in LPS mm."""
        points = _as_points(points_lps_mm)
        if self.grid is None:
            return np.full(len(points), np.linalg.det(self.matrix))
        return _interpolate(self.jacobian()[..., None], self.grid.index_from_lps(points))[:, 0]

    def min_jacobian(self) -> float:
        """Smallest local volume change at any corner of any cell of the grid; above 0 nothing folds."""
        if self.grid is None or self.displacement_lps_mm is None or min(self.grid.shape_zyx) < 2:
            return float(self.jacobian().min())
        field = self.displacement_lps_mm.astype(np.float64)
        steps = [np.diff(field, axis=a) for a in range(3)]
        lowest = math.inf
        for corner in _CORNERS:
            # The derivative at a corner of a trilinear cell: the three edges that meet there.
            slopes = []
            for a in range(3):
                window = tuple(
                    slice(None) if b == a else slice(corner[b], corner[b] + field.shape[b] - 1)
                    for b in range(3)
                )
                slopes.append(steps[a][window])
            lowest = min(lowest, float(self._determinant(np.stack(slopes, axis=-1)).min()))
        return lowest

    def _determinant(self, slopes: F64) -> F64:
        """Determinants of the map from the slopes (..., component, axis z y x) of its field per node."""
        assert self.grid is not None
        per_mm = np.linalg.inv(self.grid.step_lps_mm)
        derivative = np.einsum("...ca,ka->...ck", slopes, per_mm) + self.matrix
        return np.asarray(np.linalg.det(derivative), dtype=np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Plain arrays that hold the whole transform, for `numpy.savez`."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "matrix": np.asarray(self.matrix, dtype=np.float64),
            "offset_lps_mm": np.asarray(self.offset_lps_mm, dtype=np.float64),
        }
        if self.grid is not None and self.displacement_lps_mm is not None:
            arrays["displacement_lps_mm"] = self.displacement_lps_mm
            arrays["grid_spacing_zyx_mm"] = np.asarray(self.grid.spacing_zyx_mm, dtype=np.float64)
            arrays["grid_origin_lps_mm"] = np.asarray(self.grid.origin_lps_mm, dtype=np.float64)
            arrays["grid_axes_lps"] = np.asarray(self.grid.axes_lps, dtype=np.float64)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Transform:
        """The transform that `to_arrays` took apart.

        Raises
        ------
        KeyError, ValueError
            An array is missing or has the wrong shape.
        """
        matrix = np.asarray(arrays["matrix"], dtype=np.float64)
        offset = np.asarray(arrays["offset_lps_mm"], dtype=np.float64)
        if "displacement_lps_mm" not in arrays:
            return cls(matrix, offset)
        field = np.ascontiguousarray(arrays["displacement_lps_mm"], dtype=np.float32)
        if field.ndim != 4:
            raise ValueError(f"displacements have {field.ndim} axes instead of 4")
        nz, ny, nx = field.shape[:3]
        dz, dy, dx = (float(v) for v in arrays["grid_spacing_zyx_mm"])
        x, y, z = (float(v) for v in arrays["grid_origin_lps_mm"])
        axes = tuple((float(r[0]), float(r[1]), float(r[2])) for r in arrays["grid_axes_lps"])
        return cls(matrix, offset, Grid((nz, ny, nx), (dz, dy, dx), (x, y, z), axes), field)


def _as_points(points_lps_mm: npt.ArrayLike) -> F64:
    points = np.asarray(points_lps_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points need shape (n, 3), not {points.shape}")
    return points


def _interpolate(values: npt.NDArray[Any], index_zyx: F64) -> F64:
    """Trilinear values (n, c) of (z, y, x, c) at fractional indices (n, 3), constant beyond the border."""
    last = np.asarray(values.shape[:3]) - 1
    place = np.clip(index_zyx, 0, last)
    low = np.minimum(place.astype(np.int64), np.maximum(last - 1, 0))
    part = place - low
    out = np.zeros((len(place), values.shape[3]))
    for corner in _CORNERS:
        weight = np.prod(np.where(corner, part, 1.0 - part), axis=1)
        at = np.minimum(low + corner, last)
        out += weight[:, None] * values[at[:, 0], at[:, 1], at[:, 2]]
    return out
