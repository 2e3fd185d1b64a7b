"""A scan as block means of about 2 mm, cropped to the body: the grid on which the lungs are found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.body import BodyExtent
from miliary.image.kernels import loops
from miliary.model.scan import Scan

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

COARSE_MM = 2.3


@dataclass(frozen=True)
class Coarse:
    """Block means of the part of a scan that holds the body.

    Parameters
    ----------
    hu : ndarray of float32, shape (k, j, i)
        Mean attenuation of each block [HU].
    factor : tuple of int
        Size of a block in voxels.
    spacing_mm : tuple of float
        Size of a block.
    offset_yx : tuple of int
        First row and column of the part in the voxels of the scan.
    scale : float
        Size of the chest relative to an adult's; lengths are multiplied with it.
    midline : float or None
        Index along the last axis halfway between the sides of the body; None where one is not seen.
    field : ndarray of bool, shape (j, i), or None
        Blocks wholly inside a round field of view; None where it fills the slices.
    rows, columns : ndarray of int64, shape (k, 2)
        First and past-the-last row and column of the body in each slice.
    """

    hu: F32
    factor: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    offset_yx: tuple[int, int]
    scale: float
    midline: float | None
    field: Mask | None
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    @property
    def voxel_ml(self) -> float:
        """Volume of one coarse voxel [mL]."""
        return math.prod(self.spacing_mm) / 1000.0

    def scale_ml(self, volume_ml: float) -> float:
        """A volume of an adult chest as it is in this one [mL]."""
        return volume_ml * self.scale**3


def measure_block_means(voxels_hu: npt.NDArray[np.generic], factor: tuple[int, int, int]) -> F32:
    """Mean attenuation of blocks of voxels, limited to -1024..200 HU so that bone weighs as tissue.

    Parameters
    ----------
    voxels_hu : ndarray, shape (z, y, x)
        Attenuation [HU].
    factor : tuple of int
        Size of a block in voxels; the last block along an axis may be smaller.

    Returns
    -------
    ndarray of float32, shape (k, j, i)
        Means [HU].
    """
    shape = tuple(-(-n // f) for n, f in zip(voxels_hu.shape, factor, strict=True))
    out = np.empty(shape, dtype=np.float32)
    loops.run_rows(_block_mean, shape[0], voxels_hu, *factor, out)
    return out


@nb.njit(nogil=True, cache=True, fastmath=True)
def _block_mean(first, last, voxels, fz, fy, fx, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = voxels.shape
    for k in range(first, last):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                total = 0.0
                count = 0
                for z in range(k * fz, min(nz, (k + 1) * fz)):
                    for y in range(j * fy, min(ny, (j + 1) * fy)):
                        for x in range(i * fx, min(nx, (i + 1) * fx)):
                            total += min(max(float(voxels[z, y, x]), -1024.0), 200.0)
                            count += 1
                out[k, j, i] = total / count


def measure_coarse(scan: Scan, body: BodyExtent) -> Coarse:
    """Block means over the part of a scan that holds the body.

    Parameters
    ----------
    scan : Scan
    body : BodyExtent
        Of this scan.

    Returns
    -------
    Coarse
        Blocks of about `COARSE_MM` per axis, in a smaller chest less; HU are limited to -1024..200, so that
        bone weighs as tissue.
    """
    fz, fy, fx = (max(1, round(COARSE_MM * body.scale / s)) for s in scan.grid.spacing_zyx_mm)
    factor = (fz, fy, fx)
    _, ny, nx = scan.grid.shape_zyx
    # The part begins on a multiple of the block, so that the blocks are those of the whole slice.
    y0, x0 = int(body.rows[:, 0].min()) // fy * fy, int(body.columns[:, 0].min()) // fx * fx
    y1, x1 = min(ny, int(body.rows[:, 1].max())), min(nx, int(body.columns[:, 1].max()))
    out = measure_block_means(scan.voxels_hu[:, y0:y1, x0:x1], factor)
    shape = out.shape
    spacing = tuple(s * f for s, f in zip(scan.grid.spacing_zyx_mm, factor, strict=True))
    field: Mask | None = None
    if body.field is not None:
        inside = body.field[y0:y1, x0:x1]
        missing = [(0, n * f - m) for n, f, m in zip(shape[1:], factor[1:], inside.shape, strict=True)]
        blocks = np.pad(inside, missing, mode="edge").reshape(shape[1], fy, shape[2], fx)
        whole: Mask = np.all(blocks, axis=(1, 3))
        field = None if whole.all() else whole
    middle = np.minimum(np.arange(shape[0]) * factor[0] + factor[0] // 2, len(body.rows) - 1)
    return Coarse(
        hu=out,
        factor=factor,
        spacing_mm=spacing,  # type: ignore[arg-type]
        offset_yx=(y0, x0),
        scale=body.scale,
        midline=None if body.midline is None else (body.midline - x0 + 0.5) / fx - 0.5,
        field=field,
        rows=(body.rows[middle] - y0) // fy,
        columns=(body.columns[middle] - x0) // fx,
    )
