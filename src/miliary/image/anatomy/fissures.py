"""Find fissures: bright sheets thinner than a voxel.

A cell counts as fissure where the second derivative of attenuation is strongly negative in one direction only
and other such cells lie in its own plane rather than off it. In vessels it is negative in two directions, in
nodules in three.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.kernels import loops

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

# Smallest curvature across a sheet, in robust standard deviations of that in the lung; largest curvature
# along it, as a share of that across.
BEND, ALONG = 1.6, 0.5
DISC_MM = 6.0
# Cells nearer to the plane than the first support a sheet, those farther than the second speak against it.
IN_PLANE_MM, OFF_PLANE_MM = 1.2, 2.0
# Thickness of a full disc that the supporting cells must amount to.
SUPPORT_MM = 0.4
AREA_MM2 = 100.0
# Apparent thickness on the grid of a sheet of no thickness.
THICK_MM = 1.0
# Brighter is vessel or wall: a fissure is mostly air.
BRIGHTEST_HU = -450.0
CAP_HU = -300.0


def find_sheets(mean_hu: F32, deep: U8, cell_mm: F64) -> U8:
    """Find the cells that look like fissure, from the eigenvalues of the Hessian.

    Parameters
    ----------
    mean_hu : ndarray of float32, shape (z, y, x)
        Mean attenuation of each cell [HU]. Overwritten, to save memory.
    deep : ndarray of uint8, shape (z, y, x)
        1 where a cell lies inside the lung, away from its surface.
    cell_mm : ndarray, shape (3,)
        Size of a cell (z, y, x) [mm].

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 in sheets of at least `AREA_MM2`, 0 elsewhere.
    """
    smooth = loops.filter_gaussian(np.minimum(mean_hu, np.float32(CAP_HU), out=mean_hu), tuple(0.9 / cell_mm))
    trace = mean_hu
    loops.laplacian(smooth, (-1.0 / cell_mm**2).astype(np.float32), trace)
    inner = np.flatnonzero(deep)
    out = np.zeros(deep.shape, np.uint8)
    if len(inner) < 1000:
        return out
    sample = trace.ravel()[inner[:: max(1, len(inner) // 200_000)]]
    sd = 1.4826 * float(np.median(np.abs(sample - np.median(sample))))
    normal, bent = np.zeros((*deep.shape, 3), np.int8), np.zeros(deep.shape, np.uint8)
    loops.run_rows(_mark_bent, deep.shape[0], smooth, trace, deep, np.float32(sd), cell_mm, (normal, bent))
    del smooth
    loops.run_rows(_count_support, deep.shape[0], bent, normal, cell_mm, out)
    del normal, bent
    pieces, n = ndimage.label(out, structure=np.ones((3, 3, 3), bool))
    if n:
        area = np.bincount(pieces.ravel(), minlength=n + 1) * float(np.prod(cell_mm)) / THICK_MM
        keep = (area >= AREA_MM2).astype(np.uint8)
        keep[0] = 0
        np.take(keep, pieces, out=out)
    return out


@nb.njit(nogil=True, cache=True)
def _mark_bent(first, last, smooth, trace, deep, sd, cell, out):  # type: ignore[no-untyped-def]
    """Mark cells with curvature in one direction only; `out` is the direction times 100 and the mark."""
    normal, bent = out
    nz, ny, nx = smooth.shape
    h = np.empty((3, 3))
    for z in range(max(1, first), min(nz - 1, last)):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if deep[z, y, x] == 0 or smooth[z, y, x] > BRIGHTEST_HU:
                    continue
                if trace[z, y, x] > -0.8 * BEND * sd:
                    continue
                c = smooth[z, y, x]
                h[0, 0] = (smooth[z + 1, y, x] - 2 * c + smooth[z - 1, y, x]) / cell[0] ** 2
                h[1, 1] = (smooth[z, y + 1, x] - 2 * c + smooth[z, y - 1, x]) / cell[1] ** 2
                h[2, 2] = (smooth[z, y, x + 1] - 2 * c + smooth[z, y, x - 1]) / cell[2] ** 2
                h[0, 1] = (
                    smooth[z + 1, y + 1, x]
                    - smooth[z + 1, y - 1, x]
                    - smooth[z - 1, y + 1, x]
                    + smooth[z - 1, y - 1, x]
                ) / (4 * cell[0] * cell[1])
                h[0, 2] = (
                    smooth[z + 1, y, x + 1]
                    - smooth[z + 1, y, x - 1]
                    - smooth[z - 1, y, x + 1]
                    + smooth[z - 1, y, x - 1]
                ) / (4 * cell[0] * cell[2])
                h[1, 2] = (
                    smooth[z, y + 1, x + 1]
                    - smooth[z, y + 1, x - 1]
                    - smooth[z, y - 1, x + 1]
                    + smooth[z, y - 1, x - 1]
                ) / (4 * cell[1] * cell[2])
                h[1, 0], h[2, 0], h[2, 1] = h[0, 1], h[0, 2], h[1, 2]
                least, middle, most = _find_eigenvalues(h)
                if least > -BEND * sd or max(abs(middle), abs(most)) > -ALONG * least:
                    continue
                across = normal[z, y, x]
                _write_direction(h, middle, most, across)
                if across[0] != 0 or across[1] != 0 or across[2] != 0:
                    bent[z, y, x] = 1


@nb.njit(nogil=True, cache=True)
def _find_eigenvalues(h):  # type: ignore[no-untyped-def]
    """Ascending eigenvalues of a symmetric 3 x 3 matrix that is not a multiple of the unit matrix."""
    q = (h[0, 0] + h[1, 1] + h[2, 2]) / 3.0
    a, b, c = h[0, 0] - q, h[1, 1] - q, h[2, 2] - q
    d, e, f = h[0, 1], h[0, 2], h[1, 2]
    p = np.sqrt((a * a + b * b + c * c + 2.0 * (d * d + e * e + f * f)) / 6.0) + 1e-12
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    angle = np.arccos(min(1.0, max(-1.0, determinant / (2.0 * p**3)))) / 3.0
    most = q + 2.0 * p * np.cos(angle)
    least = q + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0)
    return least, 3.0 * q - most - least, most


@nb.njit(nogil=True, cache=True)
def _write_direction(h, middle, most, out):  # type: ignore[no-untyped-def]
    """Unit eigenvector (times 100) of the least eigenvalue.

    By Cayley-Hamilton, the columns of (h - middle)(h - most) are multiples of it; the longest is taken.
    """
    best = 0.0
    for column in range(3):
        v = np.empty(3)
        for a in range(3):
            v[a] = -(middle + most) * h[a, column]
            for b in range(3):
                v[a] += h[a, b] * h[b, column]
            if a == column:
                v[a] += middle * most
        length = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
        if length > best:
            best = length
            for a in range(3):
                out[a] = np.int8(np.rint(100.0 * v[a] / length))


@nb.njit(nogil=True, cache=True)
def _count_support(first, last, bent, normal, cell, out):  # type: ignore[no-untyped-def]
    """Mark the cells that have more such cells in their own plane around them than off it."""
    nz, ny, nx = out.shape
    rz, ry, rx = int(DISC_MM / cell[0]), int(DISC_MM / cell[1]), int(DISC_MM / cell[2])
    volume = cell[0] * cell[1] * cell[2]
    least = SUPPORT_MM * np.pi * DISC_MM**2 / volume
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                if bent[z, y, x] == 0:
                    continue
                a, b, c = normal[z, y, x, 0], normal[z, y, x, 1], normal[z, y, x, 2]
                uz, uy, ux = a * 0.01, b * 0.01, c * 0.01
                count = 0
                for k in range(max(0, z - rz), min(nz, z + rz + 1)):
                    dz = (k - z) * cell[0]
                    for j in range(max(0, y - ry), min(ny, y + ry + 1)):
                        dy = (j - y) * cell[1]
                        for i in range(max(0, x - rx), min(nx, x + rx + 1)):
                            if bent[k, j, i] == 0:
                                continue
                            dx = (i - x) * cell[2]
                            if dz * dz + dy * dy + dx * dx > DISC_MM**2:
                                continue
                            off = abs(dz * uz + dy * uy + dx * ux)
                            if off < IN_PLANE_MM:
                                p, q, r = normal[k, j, i, 0], normal[k, j, i, 1], normal[k, j, i, 2]
                                if abs(p * uz + q * uy + r * ux) > 85:
                                    count += 1
                            elif off > OFF_PLANE_MM:
                                count -= 1
                if count >= least:
                    out[z, y, x] = 1
