"""Fit a smooth displacement field to scattered, uncertain displacements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

from miliary.model.scan import Grid

F64 = npt.NDArray[np.float64]

MAX_STEPS = 60
TOLERANCE = 2e-3
_CORNERS = tuple((z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1))


def weigh_nodes(grid: Grid, points_lps_mm: F64) -> sparse.csr_array:
    """Trilinear weights of the nodes of a grid at points.

    Parameters
    ----------
    grid : Grid
        Nodes of the field.
    points_lps_mm : ndarray, shape (n, 3)
        Points (x, y, z) in LPS [mm]; those outside the grid count as on its border.

    Returns
    -------
    sparse array, shape (n, number of nodes)
    """
    shape = np.asarray(grid.shape_zyx)
    index = np.clip(grid.index_from_lps(points_lps_mm), 0, shape - 1)
    low = np.minimum(index.astype(np.int64), shape - 2)
    part = index - low
    columns, weights = [], []
    for corner in _CORNERS:
        at = low + corner
        columns.append((at[:, 0] * shape[1] + at[:, 1]) * shape[2] + at[:, 2])
        weights.append(np.prod(np.where(corner, part, 1.0 - part), axis=1))
    rows = np.tile(np.arange(len(index)), len(_CORNERS))
    data = (np.concatenate(weights), (rows, np.concatenate(columns)))
    return sparse.csr_array(data, shape=(len(index), int(shape.prod())))


def fit_field(
    grid: Grid, nodes: sparse.csr_array, target_mm: F64, precision: F64, *, start: F64, stiffness: float
) -> F64:
    """Fit a field that follows precise displacements and is smooth elsewhere.

    Minimizes the weighted squared misfit plus the squared Laplacian, by preconditioned conjugate gradients.

    Parameters
    ----------
    grid : Grid
        Nodes of the field.
    nodes : sparse array, shape (n, number of nodes)
        From `weigh_nodes`.
    target_mm : ndarray, shape (n, 3)
        Measured displacements (x, y, z) [mm].
    precision : ndarray, shape (n, 3, 3)
        Inverse covariance of each displacement [1/mm2].
    start : ndarray, shape (z, y, x, 3)
        First guess of the field [mm].
    stiffness : float
        Weight of the squared Laplacian, integrated over the grid [mm-1].

    Returns
    -------
    ndarray of float64, shape (z, y, x, 3)
        Displacement (x, y, z) at each node [mm].
    """
    bending = stiffness * grid.voxel_volume_mm3 * _squared_laplacian(grid)
    typical = float(np.trace(precision, axis1=1, axis2=2).sum()) / 3.0 / max(1, nodes.shape[1])
    shape = (*grid.shape_zyx, 3)
    back = sparse.csr_array(nodes.T)

    def act(field: F64) -> F64:
        at = nodes @ field.reshape(-1, 3)
        pulled = back @ np.einsum("nij,nj->ni", precision, at)
        return np.asarray(pulled.reshape(shape) + _spectral(field, bending))

    right = np.asarray(back @ np.einsum("nij,nj->ni", precision, target_mm)).reshape(shape)
    inverse = 1.0 / (bending + typical)
    return _conjugate_gradients(act, right, start, lambda field: _spectral(field, inverse))


def _conjugate_gradients(
    act: Callable[[F64], F64], right: F64, start: F64, precondition: Callable[[F64], F64]
) -> F64:
    """Solve ``act(x) = right`` for a symmetric positive operator, to `TOLERANCE` or `MAX_STEPS` steps."""
    solution = start.copy()
    residual = right - act(solution)
    eased = precondition(residual)
    direction, power = eased, float(np.vdot(residual, eased))
    goal = TOLERANCE**2 * float(np.vdot(right, precondition(right)))
    for _ in range(MAX_STEPS):
        if power <= goal:
            break
        image = act(direction)
        step = power / float(np.vdot(direction, image))
        solution += step * direction
        residual -= step * image
        eased = precondition(residual)
        power, last = float(np.vdot(residual, eased)), power
        direction = eased + (power / last) * direction
    return solution


def _spectral(field: F64, factor: F64) -> F64:
    """Multiply the cosine spectrum of each component (z, y, x, 3) by `factor` (z, y, x)."""
    spectrum = fft.dctn(field, axes=(0, 1, 2), norm="ortho")
    return np.asarray(fft.idctn(spectrum * factor[..., None], axes=(0, 1, 2), norm="ortho"))


def _squared_laplacian(grid: Grid) -> F64:
    """Eigenvalues (z, y, x) of the squared Laplacian with reflecting borders [mm-4]."""
    along = [
        (2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n)) / s**2
        for n, s in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True)
    ]
    return np.asarray((along[0][:, None, None] + along[1][:, None] + along[2]) ** 2)
