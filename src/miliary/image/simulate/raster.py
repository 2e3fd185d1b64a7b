"""Compiled rasterization of coarse fields, tubes and nodules to a voxel grid, conserving mass.

Kernels work on a slab of slices, so that slabs run in threads independently. Tubes thinner than a voxel keep
their cross-section: the soft edge is scaled so that its integral over the cross-section is that of the disc.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


def run_slabs(task: Callable[[int, int], None], n_slices: int, *, n_threads: int) -> None:
    """Call ``task(first, last)`` for contiguous slabs of slices, several at once.

    Parameters
    ----------
    task : callable
        Works on slices `first` to `last`, independently of others.
    n_slices : int
        Number of slices.
    n_threads : int
        Number of threads.
    """
    n_slabs = max(1, min(n_slices, 4 * n_threads))
    edges = np.linspace(0, n_slices, n_slabs + 1).astype(int)
    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(task, int(a), int(b)) for a, b in pairwise(edges)]:
            done.result()


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(field, i, j, k, fz, fy, fx):  # type: ignore[no-untyped-def]
    """Trilinear value in the cell whose lowest corner is (i, j, k)."""
    a = (field[i, j, k] * (1 - fx) + field[i, j, k + 1] * fx) * (1 - fy)
    a += (field[i, j + 1, k] * (1 - fx) + field[i, j + 1, k + 1] * fx) * fy
    b = (field[i + 1, j, k] * (1 - fx) + field[i + 1, j, k + 1] * fx) * (1 - fy)
    b += (field[i + 1, j + 1, k] * (1 - fx) + field[i + 1, j + 1, k + 1] * fx) * fy
    return a * (1 - fz) + b * fz


@nb.njit(cache=True, nogil=True, inline="always")
def _wrap(value, period):  # type: ignore[no-untyped-def]
    """Remainder below the period: that of a tiny negative number rounds up to the period itself."""
    rest = value % period
    return rest if rest < period else 0.0


class ChestFields(NamedTuple):
    """The fields of a `CoarseField` by name, with its origin and spacing.

    `lung`, `body`, `bone` and `fissure` are signed distances [mm], positive inside; `tissue` and `air` are
    the attenuation outside and inside the lungs [HU].
    """

    low: FloatArray
    spacing: float
    lung: Float32Array
    body: Float32Array
    bone: Float32Array
    tissue: Float32Array
    air: Float32Array
    fissure: Float32Array


class Material(NamedTuple):
    """Periodic unit-variance texture and its standard deviation [HU], fissure thickness [mm], bone [HU]."""

    texture: Float32Array
    texture_hu: float
    fissure_mm: float
    bone_hu: float


class Ellipsoid(NamedTuple):
    """Center [mm], unit axes as rows, radii [mm], lobes (amplitude and three phases) and volume [mm3]."""

    center: FloatArray
    axes: FloatArray
    radii: FloatArray
    lobes: FloatArray
    volume: float


class VoxelBox(NamedTuple):
    """First index and shape of a box of voxels, position of voxel 0 and voxel size [mm], all (z, y, x)."""

    low: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]
    start: FloatArray
    step: FloatArray


@nb.njit(cache=True, nogil=True)
def paint_chest(out, depth, first, last, start, step, fields, material):  # type: ignore[no-untyped-def]
    """Fill slices [first, last) of `out` [HU] and `depth`, the signed distance to the pleura [mm].

    `start` and `step` (3,) are the position of voxel 0 and the voxel size in the body frame [mm].
    """
    low, coarse, lung, body, bone, tissue, air, fissure = fields
    texture, texture_hu, fissure_mm, bone_hu = material
    ny, nx = out.shape[1], out.shape[2]
    cz, cy, cx = lung.shape
    period = texture.shape[0] - 1
    edge = (step[0] + step[1] + step[2]) / 3.0
    for i in range(first, last):
        z = (start[0] + i * step[0] - low[0]) / coarse
        z = min(max(z, 0.0), cz - 1.001)
        iz = int(z)
        fz = z - iz
        tz = _wrap((start[0] + i * step[0]) / 1.3, period)
        for j in range(ny):
            ym = start[1] + j * step[1]
            y = (ym - low[1]) / coarse
            for k in range(nx):
                xm = start[2] + k * step[2]
                x = (xm - low[2]) / coarse
                if y < 0 or x < 0 or y >= cy - 1.001 or x >= cx - 1.001:
                    out[i, j, k] = -1000.0
                    depth[i, j, k] = -99.0
                    continue
                iy, ix = int(y), int(x)
                fy, fx = y - iy, x - ix
                d_body = _mix(body, iz, iy, ix, fz, fy, fx)
                c_body = min(1.0, max(0.0, 0.5 + d_body / edge))
                if c_body == 0.0:
                    out[i, j, k] = -1000.0
                    depth[i, j, k] = -99.0
                    continue
                d = _mix(lung, iz, iy, ix, fz, fy, fx)
                depth[i, j, k] = d
                c_lung = min(1.0, max(0.0, 0.5 + d / edge))
                value = 0.0
                if c_lung < 1.0:
                    soft = _mix(tissue, iz, iy, ix, fz, fy, fx)
                    # The pleura and the muscle next to it are never fat.
                    if d > -1.5:
                        soft = max(soft, 20.0)
                    b = _mix(bone, iz, iy, ix, fz, fy, fx)
                    c_bone = min(1.0, max(0.0, 0.5 + b / edge))
                    if c_bone > 0.0:
                        shell = bone_hu * (2.2 - min(1.4, b * 0.5)) if b < 3.0 else bone_hu * 0.7
                        soft += c_bone * (shell - soft)
                    value = soft
                if c_lung > 0.0:
                    hu = _mix(air, iz, iy, ix, fz, fy, fx)
                    ty, tx = _wrap(ym / 1.3, period), _wrap(xm / 1.3, period)
                    jz, jy, jx = int(tz), int(ty), int(tx)
                    hu += texture_hu * _mix(texture, jz, jy, jx, tz - jz, ty - jy, tx - jx)
                    f = abs(_mix(fissure, iz, iy, ix, fz, fy, fx))
                    # A sheet thinner than a voxel fills the share thickness / voxel of it.
                    c_fis = fissure_mm / edge * max(0.0, 1.0 - f / edge)
                    hu += min(1.0, c_fis) * (30.0 - hu)
                    value = value * (1 - c_lung) + hu * c_lung
                out[i, j, k] = -1000.0 * (1 - c_body) + value * c_body


@nb.njit(cache=True, nogil=True)
def add_tubes(out, first, last, start, step, ends, radius, detail_mm):  # type: ignore[no-untyped-def]
    """Add the volume share of tubes with `ends` (n, 2, 3) and `radius` (n, 2) [mm] to slices [first, last).

    Tubes are cut flat at their ends and added, so that a chain of them keeps its volume; tubes wider than a
    voxel are rounded at the ends and united by the maximum.
    """
    n = ends.shape[0]
    small = min(step[0], step[1], step[2])
    for piece in range(n):
        ra, rb = radius[piece, 0], radius[piece, 1]
        rmax = max(ra, rb)
        wide = rmax > 1.5 * small
        target = min(max(0.8 * rmax, detail_mm), small)
        if wide:
            target = max(target, 0.75)
        nz = max(1, int(np.ceil(step[0] / target - 1e-6)))
        ny = max(1, int(np.ceil(step[1] / target - 1e-6)))
        nx = max(1, int(np.ceil(step[2] / target - 1e-6)))
        hz, hy, hx = step[0] / nz, step[1] / ny, step[2] / nx
        w = 1.2 * max(hz, hy, hx)
        az, ay, ax = ends[piece, 0, 0], ends[piece, 0, 1], ends[piece, 0, 2]
        dz, dy, dx = ends[piece, 1, 0] - az, ends[piece, 1, 1] - ay, ends[piece, 1, 2] - ax
        length2 = dz * dz + dy * dy + dx * dx
        if length2 < 1e-12:
            continue
        reach = rmax + w
        i0 = max(first, int(np.floor((min(az, az + dz) - reach - start[0]) / step[0] + 0.5)))
        i1 = min(last - 1, int(np.ceil((max(az, az + dz) + reach - start[0]) / step[0] - 0.5)))
        if i1 < i0:
            continue
        j0 = max(0, int(np.floor((min(ay, ay + dy) - reach - start[1]) / step[1] + 0.5)))
        j1 = min(out.shape[1] - 1, int(np.ceil((max(ay, ay + dy) + reach - start[1]) / step[1] - 0.5)))
        k0 = max(0, int(np.floor((min(ax, ax + dx) - reach - start[2]) / step[2] + 0.5)))
        k1 = min(out.shape[2] - 1, int(np.ceil((max(ax, ax + dx) + reach - start[2]) / step[2] - 0.5)))
        diag = 0.5 * np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
        for i in range(i0, i1 + 1):
            pz = start[0] + i * step[0] - az
            for j in range(j0, j1 + 1):
                py = start[1] + j * step[1] - ay
                for k in range(k0, k1 + 1):
                    px = start[2] + k * step[2] - ax
                    t = (pz * dz + py * dy + px * dx) / length2
                    t = min(1.0, max(0.0, t))
                    q2 = (pz - t * dz) ** 2 + (py - t * dy) ** 2 + (px - t * dx) ** 2
                    far = reach + diag
                    if q2 > far * far:
                        continue
                    total = 0.0
                    for a in range(nz):
                        sz = pz + ((a + 0.5) / nz - 0.5) * step[0]
                        for b in range(ny):
                            sy = py + ((b + 0.5) / ny - 0.5) * step[1]
                            for c in range(nx):
                                sx = px + ((c + 0.5) / nx - 0.5) * step[2]
                                t = (sz * dz + sy * dy + sx * dx) / length2
                                if wide:
                                    t = min(1.0, max(0.0, t))
                                elif t < 0.0 or t >= 1.0:
                                    continue
                                rho = np.sqrt((sz - t * dz) ** 2 + (sy - t * dy) ** 2 + (sx - t * dx) ** 2)
                                r = ra + t * (rb - ra)
                                if rho >= r + 0.5 * w:
                                    continue
                                cover = min(1.0, 0.5 - (rho - r) / w)
                                # Scale so that the soft-edged profile integrates to pi r^2.
                                if r >= 0.5 * w:
                                    cover *= r * r / (r * r + w * w / 12.0)
                                else:
                                    cover *= 3.0 * w * r * r / (r + 0.5 * w) ** 3
                                total += cover
                    if total > 0.0:
                        share = total / (nz * ny * nx)
                        if wide:
                            out[i, j, k] = max(out[i, j, k], share)
                        else:
                            out[i, j, k] = min(1.0, out[i, j, k] + share)


@nb.njit(cache=True, nogil=True)
def blend(out, share, first, last, density, only_raise):  # type: ignore[no-untyped-def]
    """Replace the given share of every voxel by `density` [HU], and clear the share."""
    for i in range(first, last):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                s = share[i, j, k]
                if s > 0.0:
                    change = density - out[i, j, k]
                    if not only_raise or change > 0:
                        out[i, j, k] += s * change
                    share[i, j, k] = 0.0


@nb.njit(cache=True, nogil=True)
def render_share(ellipsoid, box, n_sub):  # type: ignore[no-untyped-def]
    """Volume share of one nodule in the voxels of a box.

    The surface of the `Ellipsoid` may be raised and lowered by low-order lobes; each voxel of the `VoxelBox`
    is sampled `n_sub` (3,) times. The sum is scaled to the volume exactly.
    """
    center, axes, radii, lobes, volume = ellipsoid
    low, shape, start, step = box
    out = np.zeros((shape[0], shape[1], shape[2]))
    nz, ny, nx = n_sub[0], n_sub[1], n_sub[2]
    h = max(step[0] / nz, step[1] / ny, step[2] / nx)
    rmin = min(radii[0], radii[1], radii[2])
    total = 0.0
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                value = 0.0
                for a in range(nz):
                    qz = start[0] + (low[0] + i + (a + 0.5) / nz - 0.5) * step[0] - center[0]
                    for b in range(ny):
                        qy = start[1] + (low[1] + j + (b + 0.5) / ny - 0.5) * step[1] - center[1]
                        for c in range(nx):
                            qx = start[2] + (low[2] + k + (c + 0.5) / nx - 0.5) * step[2] - center[2]
                            u = (axes[0, 0] * qz + axes[0, 1] * qy + axes[0, 2] * qx) / radii[0]
                            v = (axes[1, 0] * qz + axes[1, 1] * qy + axes[1, 2] * qx) / radii[1]
                            s = (axes[2, 0] * qz + axes[2, 1] * qy + axes[2, 2] * qx) / radii[2]
                            q = np.sqrt(u * u + v * v + s * s)
                            bump = 1.0
                            if lobes[0] != 0.0 and q > 1e-9:
                                bump += lobes[0] * (
                                    np.sin(3 * u / q + lobes[1]) * np.cos(2.5 * v / q + lobes[2])
                                    + 0.7 * np.sin(4 * s / q + lobes[3])
                                )
                            value += min(1.0, max(0.0, 0.5 + (bump - q) * rmin / h))
                out[i, j, k] = value
                total += value
    out *= volume / (step[0] * step[1] * step[2]) / total
    return out
