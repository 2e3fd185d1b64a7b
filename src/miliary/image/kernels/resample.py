"""Resample a volume to the grid of another scan, through a spatial transform where one is given."""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.kernels import loops
from miliary.model.scan import Grid
from miliary.model.transform import Transform

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
OUTSIDE_HU = -1024.0


class _IndexMap(NamedTuple):
    """From a voxel index of the target to one of the source, as row vectors.

    ``source = index @ turn + shift + field(index @ to_node + node)``; a field of one node is no field.
    """

    turn: F64
    shift: F64
    field: F32
    to_node: F64
    node: F64


def resample_volume(
    volume: npt.NDArray[np.generic],
    grid: Grid,
    target: Grid,
    *,
    transform: Transform | None = None,
    fill: float = OUTSIDE_HU,
    order: int = 1,
) -> F32:
    """Resample a volume to another grid.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x) of `grid`
        Any integer or floating type; not modified.
    grid : Grid
        Grid of the volume (that of the follow-up scan where a transform is given).
    target : Grid
        Grid of the result (in the frame of the baseline scan where a transform is given).
    transform : Transform, optional
        Maps points of `target` to points of `grid`, both LPS [mm]; the identity when not given.
    fill : float
        Value of voxels that lie more than half a voxel outside `grid`, in the unit of `volume`.
    order : int
        1 interpolates linearly; 0 takes the nearest voxel, as labels need.

    Returns
    -------
    ndarray of float32, shape (z, y, x) of `target`
    """
    transform = transform or Transform.identity()
    per_mm = np.linalg.inv(grid.step_lps_mm)
    turn = target.step_lps_mm @ transform.matrix.T @ per_mm
    start = transform.matrix @ np.asarray(target.origin_lps_mm) + transform.offset_lps_mm
    shift = (start - np.asarray(grid.origin_lps_mm)) @ per_mm
    if transform.grid is None or transform.displacement_lps_mm is None:
        field, to_node, node = np.zeros((1, 1, 1, 3), np.float32), np.zeros((3, 3)), np.zeros(3)
    else:
        field = (transform.displacement_lps_mm.astype(np.float64) @ per_mm).astype(np.float32)
        to_node = target.step_lps_mm @ np.linalg.inv(transform.grid.step_lps_mm)
        node = transform.grid.index_from_lps(target.origin_lps_mm)
    out = np.empty(target.shape_zyx, dtype=np.float32)
    to_source = _IndexMap(turn, shift, field, np.ascontiguousarray(to_node), np.asarray(node, np.float64))
    loops.run_rows(_resample, out.shape[0], volume, to_source, np.float32(fill), order == 0, out)
    return out


@nb.njit(nogil=True, cache=True, fastmath=True)
def _resample(first, last, volume, to_source, fill, is_nearest, out):  # type: ignore[no-untyped-def]
    """Slices `first` to `last` of the target, each voxel interpolated at its place in the source."""
    turn, shift, field, to_node, node = to_source
    nz, ny, nx = volume.shape
    gz, gy, gx = field.shape[0], field.shape[1], field.shape[2]
    has_field = gz * gy * gx > 1
    for z in range(first, last):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                az = shift[0] + z * turn[0, 0] + y * turn[1, 0] + x * turn[2, 0]
                ay = shift[1] + z * turn[0, 1] + y * turn[1, 1] + x * turn[2, 1]
                ax = shift[2] + z * turn[0, 2] + y * turn[1, 2] + x * turn[2, 2]
                if has_field:
                    bz = node[0] + z * to_node[0, 0] + y * to_node[1, 0] + x * to_node[2, 0]
                    by = node[1] + z * to_node[0, 1] + y * to_node[1, 1] + x * to_node[2, 1]
                    bx = node[2] + z * to_node[0, 2] + y * to_node[1, 2] + x * to_node[2, 2]
                    bz = min(max(bz, 0.0), gz - 1.0)
                    by = min(max(by, 0.0), gy - 1.0)
                    bx = min(max(bx, 0.0), gx - 1.0)
                    kz, ky, kx = int(bz), int(by), int(bx)
                    lz, ly, lx = min(kz + 1, gz - 1), min(ky + 1, gy - 1), min(kx + 1, gx - 1)
                    wz, wy, wx = bz - kz, by - ky, bx - kx
                    for c in range(3):
                        near = (field[kz, ky, kx, c] * (1 - wx) + field[kz, ky, lx, c] * wx) * (1 - wy) + (
                            field[kz, ly, kx, c] * (1 - wx) + field[kz, ly, lx, c] * wx
                        ) * wy
                        far = (field[lz, ky, kx, c] * (1 - wx) + field[lz, ky, lx, c] * wx) * (1 - wy) + (
                            field[lz, ly, kx, c] * (1 - wx) + field[lz, ly, lx, c] * wx
                        ) * wy
                        value = near * (1 - wz) + far * wz
                        if c == 0:
                            az += value
                        elif c == 1:
                            ay += value
                        else:
                            ax += value
                outside = az < -0.5 or ay < -0.5 or ax < -0.5
                outside = outside or az > nz - 0.5 or ay > ny - 0.5 or ax > nx - 0.5
                if outside:
                    out[z, y, x] = fill
                    continue
                az = min(max(az, 0.0), nz - 1.0)
                ay = min(max(ay, 0.0), ny - 1.0)
                ax = min(max(ax, 0.0), nx - 1.0)
                if is_nearest:
                    out[z, y, x] = volume[int(az + 0.5), int(ay + 0.5), int(ax + 0.5)]
                    continue
                kz, ky, kx = int(az), int(ay), int(ax)
                lz, ly, lx = min(kz + 1, nz - 1), min(ky + 1, ny - 1), min(kx + 1, nx - 1)
                wz, wy, wx = az - kz, ay - ky, ax - kx
                near = (volume[kz, ky, kx] * (1 - wx) + volume[kz, ky, lx] * wx) * (1 - wy) + (
                    volume[kz, ly, kx] * (1 - wx) + volume[kz, ly, lx] * wx
                ) * wy
                far = (volume[lz, ky, kx] * (1 - wx) + volume[lz, ky, lx] * wx) * (1 - wy) + (
                    volume[lz, ly, kx] * (1 - wx) + volume[lz, ly, lx] * wx
                ) * wy
                out[z, y, x] = near * (1 - wz) + far * wz
