"""Canonical array order: from the array of a file to (z, y, x) and back.

The canonical array is a permutation and flips of the file's array, never a resampling: the axis nearest
to the patient's head comes first, then the one nearest to the back, then the one nearest to the left.
What is left of an oblique orientation stays in `Grid.axes_lps`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.model.scan import FloatArray, Grid, SourceOrder

# Row i: the direction that canonical axis i (z, y, x) should follow.
_CANONICAL_AXES = np.array([(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])


def find_source_order(source_axes_lps: npt.ArrayLike) -> SourceOrder:
    """Permutation and flips that bring a file's array nearest to (z, y, x).

    Parameters
    ----------
    source_axes_lps : array_like, shape (3, 3)
        Row i is the unit LPS vector along which the index of the file's array axis i grows, slowest
        axis first.

    Returns
    -------
    SourceOrder
    """
    projection = _CANONICAL_AXES @ np.asarray(source_axes_lps, dtype=np.float64).T
    axes = max(
        itertools.permutations(range(3)),
        key=lambda order: sum(abs(projection[i, axis]) for i, axis in enumerate(order)),
    )
    flips = tuple(bool(projection[i, axis] < 0.0) for i, axis in enumerate(axes))
    return SourceOrder(axes=(axes[0], axes[1], axes[2]), flips=(flips[0], flips[1], flips[2]))


def canonical_view(source: npt.NDArray[Any], order: SourceOrder) -> npt.NDArray[Any]:
    """The file's array seen as (z, y, x); no data is copied."""
    return np.flip(source.transpose(order.axes), _flipped_axes(order))


def source_view(canonical: npt.NDArray[Any], order: SourceOrder) -> npt.NDArray[Any]:
    """A (z, y, x) array seen in the order of the file; no data is copied."""
    flipped = np.flip(canonical, _flipped_axes(order))
    return flipped.transpose(np.argsort(order.axes))


def canonical_grid(
    shape: tuple[int, int, int],
    *,
    spacing_mm: npt.ArrayLike,
    origin_lps_mm: npt.ArrayLike,
    axes_lps: npt.ArrayLike,
    order: SourceOrder,
) -> Grid:
    """The grid of the canonical array of a file.

    Parameters
    ----------
    shape : tuple of int
        Shape of the file's array, slowest axis first.
    spacing_mm : array_like, shape (3,)
        Distance between voxels along each axis of the file's array [mm].
    origin_lps_mm : array_like, shape (3,)
        (x, y, z) of the file's first voxel [mm].
    axes_lps : array_like, shape (3, 3)
        Row i is the unit LPS direction of the file's array axis i.
    order : SourceOrder

    Returns
    -------
    Grid
    """
    axes = np.asarray(axes_lps, dtype=np.float64)
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    origin = np.array(origin_lps_mm, dtype=np.float64)
    directions = []
    for axis, flip in zip(order.axes, order.flips, strict=True):
        if flip:
            origin += axes[axis] * spacing[axis] * (shape[axis] - 1)
        directions.append(_vector(-axes[axis] if flip else axes[axis]))
    nz, ny, nx = (shape[axis] for axis in order.axes)
    return Grid(
        shape_zyx=(nz, ny, nx),
        spacing_zyx_mm=_vector(spacing[list(order.axes)]),
        origin_lps_mm=_vector(origin),
        axes_lps=(directions[0], directions[1], directions[2]),
    )


def source_geometry(
    grid: Grid, order: SourceOrder
) -> tuple[tuple[int, int, int], tuple[float, float, float], FloatArray, FloatArray]:
    """Shape, spacing [mm], origin [LPS mm] and axes (rows) of the file's array; undoes `canonical_grid`."""
    axes = np.empty((3, 3))
    spacing = np.empty(3)
    shape = np.empty(3, dtype=np.int64)
    first_index = np.zeros(3)
    for i, (axis, flip) in enumerate(zip(order.axes, order.flips, strict=True)):
        direction = np.asarray(grid.axes_lps[i])
        axes[axis] = -direction if flip else direction
        spacing[axis] = grid.spacing_zyx_mm[i]
        shape[axis] = grid.shape_zyx[i]
        if flip:
            first_index[i] = grid.shape_zyx[i] - 1
    n0, n1, n2 = (int(n) for n in shape)
    return (n0, n1, n2), _vector(spacing), grid.lps_from_index(first_index), axes


def _flipped_axes(order: SourceOrder) -> tuple[int, ...]:
    return tuple(i for i, flip in enumerate(order.flips) if flip)


def _vector(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    # Adding zero turns -0.0 into 0.0, which reads better in a result.
    x, y, z = (float(value) + 0.0 for value in values)
    return (x, y, z)
