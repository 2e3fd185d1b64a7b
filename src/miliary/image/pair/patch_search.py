"""Find patches of one volume in another: normalized correlation over a cube of offsets, and its peak."""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.kernels import loops

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class PatchGeometry(NamedTuple):
    """Size of patches and of their search.

    Parameters
    ----------
    radius : int
        Half of the side of a patch; the side is ``2 * radius + 1`` [voxels].
    stride : int
        Every how many voxels a patch is sampled along each axis.
    reach : int
        Largest offset along each axis [voxels].
    """

    radius: int
    stride: int
    reach: int

    @property
    def margin(self) -> int:
        """Voxels needed around every center along each axis."""
        return self.radius + self.reach

    @property
    def n_samples(self) -> int:
        """Number of voxels compared per offset."""
        return (2 * self.radius // self.stride + 1) ** 3


def choose_centers(image: F32, inside: npt.NDArray[np.bool_], cell: int, *, start: int = 0) -> I64:
    """Choose the voxel of highest local variance in every cube that contains any voxel of `inside`.

    Parameters
    ----------
    image : ndarray of float32, shape (z, y, x)
        The volume that patches are taken from.
    inside : ndarray of bool, same shape
        Where centers may be.
    cell : int
        Side of the cubes [voxels].
    start : int
        Index of the first voxel of the first cube along each axis; another start gives other centers.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        Indices (z, y, x), at most one per cube.
    """
    mean = loops.filter_gaussian(image, (1.0, 1.0, 1.0))
    variance = loops.filter_gaussian(np.square(image - mean), (1.0, 1.0, 1.0))
    shape = tuple(max(0, n - start) // cell + 1 for n in image.shape)
    out = np.full((*shape, 3), -1, dtype=np.int64)
    loops.run_rows(_best_of_cells, shape[0], variance, inside, cell, start, out)
    rows = out.reshape(-1, 3)
    return rows[rows[:, 0] >= 0]


@nb.njit(nogil=True, cache=True)
def _best_of_cells(first, last, variance, inside, cell, start, out):  # type: ignore[no-untyped-def]
    """Index of the highest variance in every cube; `out` stays -1 where there is none."""
    nz, ny, nx = variance.shape
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                best = -1.0
                for z in range(start + k * cell, min(nz, start + (k + 1) * cell)):
                    for y in range(start + j * cell, min(ny, start + (j + 1) * cell)):
                        for x in range(start + i * cell, min(nx, start + (i + 1) * cell)):
                            if inside[z, y, x] and variance[z, y, x] > best:
                                best = variance[z, y, x]
                                out[k, j, i, 0] = z
                                out[k, j, i, 1] = y
                                out[k, j, i, 2] = x


def correlate(fixed: F32, moving: F32, centers: I64, search: PatchGeometry, *, floor: float) -> F32:
    """Normalized correlation of the patch around each center with another volume, at every offset.

    Parameters
    ----------
    fixed, moving : ndarray of float32, shape (z, y, x)
        On one grid, at least `search.margin` voxels wider than the centers on every side.
    centers : ndarray of int64, shape (n, 3)
        Indices (z, y, x).
    search : PatchGeometry
        Size of the patches and of the search.
    floor : float
        Variance of the noise, added to that of both patches, so that flat patches do not correlate.

    Returns
    -------
    ndarray of float32, shape (n, k, k, k)
        Correlation at the offsets from -reach to reach along each axis, k = 2 * reach + 1.
    """
    k = 2 * search.reach + 1
    out = np.empty((len(centers), k, k, k), dtype=np.float32)
    loops.run_rows(_correlate, len(centers), fixed, moving, centers, search, np.float32(floor), out)
    return out


@nb.njit(nogil=True, cache=True, fastmath=True)
def _correlate(first, last, fixed, moving, centers, search, floor, out):  # type: ignore[no-untyped-def]
    """Correlation of patches `first` to `last` at all offsets."""
    radius, stride, reach = search
    side = 2 * radius // stride + 1
    n = side * side * side
    patch = np.empty((side, side, side), dtype=np.float32)
    for row in range(first, last):
        z0, y0, x0 = centers[row, 0] - radius, centers[row, 1] - radius, centers[row, 2] - radius
        mean = np.float32(0.0)
        for a in range(side):
            for b in range(side):
                for c in range(side):
                    patch[a, b, c] = fixed[z0 + a * stride, y0 + b * stride, x0 + c * stride]
                    mean += patch[a, b, c]
        mean /= n
        own = np.float32(0.0)
        for a in range(side):
            for b in range(side):
                for c in range(side):
                    patch[a, b, c] -= mean
                    own += patch[a, b, c] * patch[a, b, c]
        own = own / n + floor
        for dz in range(-reach, reach + 1):
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    both = np.float32(0.0)
                    total = np.float32(0.0)
                    square = np.float32(0.0)
                    for a in range(side):
                        for b in range(side):
                            line = moving[z0 + dz + a * stride, y0 + dy + b * stride]
                            mine = patch[a, b]
                            at = x0 + dx
                            for c in range(side):
                                value = line[at + c * stride]
                                both += mine[c] * value
                                total += value
                                square += value * value
                    total /= n
                    other = max(square / n - total * total, np.float32(0.0)) + floor
                    out[row, dz + reach, dy + reach, dx + reach] = both / n / np.sqrt(own * other)


def find_peaks(scores: F32, expected: F64, coupling: float) -> tuple[F64, F64, F64]:
    """Find the best offset of each center, to a fraction of a voxel.

    Parameters
    ----------
    scores : ndarray of float32, shape (n, k, k, k)
        From `correlate`.
    expected : ndarray, shape (n, 3)
        Offset (z, y, x) expected from neighboring patches [voxels].
    coupling : float
        Penalty on the correlation per squared voxel of distance from it.

    Returns
    -------
    offset : ndarray, shape (n, 3)
        Offset (z, y, x) [voxels].
    score : ndarray, shape (n,)
        Correlation at the peak; 0 where the maximum lies on the border of the cube, so that there is no peak.
    curvature : ndarray, shape (n, 3, 3)
        Negative second derivatives of the correlation at the peak [1/voxel2], positive semidefinite.
    """
    n = len(scores)
    offset, score = np.empty((n, 3)), np.empty(n)
    hessian = np.empty((n, 3, 3))
    loops.run_rows(_peak, n, scores, expected, coupling, offset, score, hessian)
    values, axes = np.linalg.eigh(-hessian)
    values = np.maximum(values, 0.0)
    return offset, score, np.einsum("nij,nj,nkj->nik", axes, values, axes)


@nb.njit(nogil=True, cache=True)
def _peak(first, last, scores, expected, coupling, offset, score, hessian):  # type: ignore[no-untyped-def]
    """Penalized maximum of each cube, refined by one Newton step."""
    k = scores.shape[1]
    reach = k // 2
    for n in range(first, last):
        cube = scores[n]
        best = -1e9
        z, y, x = 0, 0, 0
        for a in range(k):
            pz = coupling * (a - reach - expected[n, 0]) ** 2
            for b in range(k):
                py = pz + coupling * (b - reach - expected[n, 1]) ** 2
                for c in range(k):
                    value = cube[a, b, c] - py - coupling * (c - reach - expected[n, 2]) ** 2
                    if value > best:
                        best = value
                        z, y, x = a, b, c
        offset[n, 0], offset[n, 1], offset[n, 2] = z - reach, y - reach, x - reach
        score[n] = cube[z, y, x]
        hessian[n] = 0.0
        if z == 0 or y == 0 or x == 0 or z == k - 1 or y == k - 1 or x == k - 1:
            score[n] = 0.0
            continue
        here = cube[z, y, x]
        h = hessian[n]
        h[0, 0] = cube[z + 1, y, x] + cube[z - 1, y, x] - 2 * here
        h[1, 1] = cube[z, y + 1, x] + cube[z, y - 1, x] - 2 * here
        h[2, 2] = cube[z, y, x + 1] + cube[z, y, x - 1] - 2 * here
        h[0, 1] = 0.25 * (
            cube[z + 1, y + 1, x] - cube[z + 1, y - 1, x] - cube[z - 1, y + 1, x] + cube[z - 1, y - 1, x]
        )
        h[0, 2] = 0.25 * (
            cube[z + 1, y, x + 1] - cube[z + 1, y, x - 1] - cube[z - 1, y, x + 1] + cube[z - 1, y, x - 1]
        )
        h[1, 2] = 0.25 * (
            cube[z, y + 1, x + 1] - cube[z, y + 1, x - 1] - cube[z, y - 1, x + 1] + cube[z, y - 1, x - 1]
        )
        h[1, 0], h[2, 0], h[2, 1] = h[0, 1], h[0, 2], h[1, 2]
        slope = np.array(
            [
                0.5 * (cube[z + 1, y, x] - cube[z - 1, y, x]),
                0.5 * (cube[z, y + 1, x] - cube[z, y - 1, x]),
                0.5 * (cube[z, y, x + 1] - cube[z, y, x - 1]),
            ]
        )
        # Regularized, so that the step stays finite along a straight vessel.
        step = np.linalg.solve(np.eye(3) * 1e-3 - h, slope)
        for c in range(3):
            offset[n, c] += min(max(step[c], -0.75), 0.75)
