"""Distance of points to the surface of the lung, its vessels and its fissures, on a grid of about 1.3 mm.

Vessels are connected bright regions in the lung that are larger than a nodule and no reported nodule.
Distances are measured in the same way at nodules and at random points, so that the error of the grid cancels
when the two are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy import regions
from miliary.image.anatomy.fissures import find_sheets
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

CELL_MM = 1.3
VESSEL_HU = -550.0
# A vessel is brighter than the lung by at least this share of the way to blood, so that haze is no vessel.
VESSEL_BLOOD_HU = 0.0
VESSEL_SHARE = 0.35
# Smaller pieces may be missed nodules; visible vessels are larger.
MIN_VESSEL_MM3 = 90.0
REACH_MM = 12.0
# Most points are far from any fissure, and the cost of the search grows with the cube of the reach.
FISSURE_REACH_MM = 7.0
DEEP_GRID_MM = 4.0
FISSURE_DEPTH_MM = 5.0
EMPTY_HU = -850.0
# A nodule hides the fissure it lies on: its cells are filled from those around, weighted by distance.
FILL_SIGMA_MM, FILL_REACH = 1.3, 4

_OUTSIDE, _RIM, _INSIDE = 0, 1, 2


@dataclass(frozen=True)
class Surroundings:
    """Coarse maps of one lung box; points are (z, y, x) [mm] from the center of the first voxel of the box.

    Parameters
    ----------
    lung : ndarray of uint8, shape (z, y, x)
        Lung label of each cell: 0 outside, 1 right, 2 left.
    vessel, fissure : ndarray of uint8, shape (z, y, x)
        1 where a cell contains vessel, or looks like fissure.
    cell_mm : ndarray, shape (3,)
        Size of a cell (z, y, x) [mm].
    offset_mm : ndarray, shape (3,)
        Center of cell (0, 0, 0).
    deep_mm : ndarray of float32
        Depth below the surface of the lung [mm] on a grid of every `deep_step`-th cell.
    deep_step : tuple of int
        Cells (z, y, x) per cell of `deep_mm`.
    """

    lung: U8
    vessel: U8
    fissure: U8
    cell_mm: F64
    offset_mm: F64
    deep_mm: F32
    deep_step: tuple[int, int, int]

    def side_of(self, points_mm: F64) -> U8:
        """Lung label (0 outside) at points (n, 3), shape (n,)."""
        index = np.rint((points_mm - self.offset_mm) / self.cell_mm).astype(np.int64)
        inside = np.all((index >= 0) & (index < self.lung.shape), axis=1)
        out = np.zeros(len(points_mm), np.uint8)
        out[inside] = self.lung[tuple(index[inside].T)]
        return out

    def measure_depth_mm(self, points_mm: F64) -> F64:
        """Distance of points (n, 3) to the surface of the lung [mm]: 0 outside, at most `REACH_MM`."""
        return self._search(self.lung, points_mm, is_inverse=True)

    def measure_vessel_mm(self, points_mm: F64) -> F64:
        """Distance of points (n, 3) to the nearest vessel [mm]: 0 inside one, at most `REACH_MM`."""
        return self._search(self.vessel, points_mm, is_inverse=False)

    def measure_fissure_mm(self, points_mm: F64) -> F64:
        """Distance of points (n, 3) to the nearest fissure [mm], infinite beyond `FISSURE_REACH_MM`."""
        if not self.fissure.any():
            return np.full(len(points_mm), np.inf)
        distance = self._search(self.fissure, points_mm, is_inverse=False, reach_mm=FISSURE_REACH_MM)
        return np.where(distance < FISSURE_REACH_MM, distance, np.inf)

    def measure_deep_mm(self, points_mm: F64) -> F64:
        """Depth of points (n, 3) below the surface [mm] on the coarser grid, without upper limit."""
        index = (points_mm - self.offset_mm) / (self.cell_mm * self.deep_step)
        return np.asarray(
            ndimage.map_coordinates(self.deep_mm, index.T, order=1, mode="nearest"), dtype=np.float64
        )

    def draw_points(self, n: int, rng: np.random.Generator) -> F64:
        """Draw `n` points uniformly from the lungs, shape (n, 3) [mm]."""
        cells = np.flatnonzero(self.lung)
        pick = cells[rng.integers(0, len(cells), n)]
        index = np.stack(np.unravel_index(pick, self.lung.shape), axis=1) + rng.uniform(-0.5, 0.5, (n, 3))
        return np.asarray(index * self.cell_mm + self.offset_mm)

    @property
    def lung_mm3(self) -> float:
        """Volume of the lungs [mm3]."""
        return float(np.count_nonzero(self.lung) * np.prod(self.cell_mm))

    def _search(self, field: U8, points_mm: F64, *, is_inverse: bool, reach_mm: float = REACH_MM) -> F64:
        out = np.full(len(points_mm), reach_mm)
        if len(points_mm):
            offsets, length = _list_offsets(tuple(float(step) for step in self.cell_mm))
            index = (points_mm - self.offset_mm) / self.cell_mm
            loops.run_rows(
                _search_nearest, len(index), index, field, is_inverse, (offsets, length), self.cell_mm, out
            )
        return out


def find_surroundings(box: LungBox, smooth_hu: F32, position_mm: F64, diameter_mm: F64) -> Surroundings:
    """Make coarse maps of the lungs, their vessels and their fissures.

    Parameters
    ----------
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        The box after the Gaussian of the finest scale [HU].
    position_mm : ndarray, shape (n, 3)
        Centers (z, y, x) of the reported nodules from the first voxel of the box [mm]. They are not counted
        as vessel, and are removed before fissures are searched.
    diameter_mm : ndarray, shape (n,)
        Their diameters [mm]; NaN counts as 2 mm.

    Returns
    -------
    Surroundings
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    factor = np.maximum(1, np.rint(CELL_MM / spacing)).astype(np.int64)
    shape = tuple(int(n) for n in -(-np.asarray(box.labels.shape) // factor))
    brightest, mean = np.empty(shape, np.float32), np.empty(shape, np.float32)
    state, label = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    cells = _CoarseCells(brightest, mean, state, label)
    loops.run_rows(_coarsen, shape[0], smooth_hu, box.labels, factor, cells)
    cell = np.asarray(spacing * factor, dtype=np.float64)
    offset = 0.5 * (factor - 1) * spacing
    step = tuple(max(1, round(DEEP_GRID_MM / c)) for c in cell)
    deep = regions.measure_distance(label[:: step[0], :: step[1], :: step[2]] > 0, cell * step)
    below = _upsample(deep > FISSURE_DEPTH_MM, step, shape)
    index = (position_mm - offset) / cell
    radius = np.nan_to_num(diameter_mm, nan=2.0) / 2 + 0.5 * float(cell.mean())
    is_free = np.ones(shape, np.uint8)
    _carve(is_free, index, radius, cell)
    vessel = _find_vessels(brightest, state, is_free, cell)
    _fill_in(mean, is_free, cell)
    fissure = find_sheets(mean, below, cell)
    _remove_near(fissure, vessel)
    return Surroundings(label, vessel, fissure, cell, offset, deep, step)


def _find_vessels(brightest_hu: F32, state: U8, is_free: U8, cell: F64) -> U8:
    """Cells that contain vessel: bright, free of nodules, and in a connected piece larger than a nodule."""
    lung_hu = _typical_hu(brightest_hu, state)
    floor = max(VESSEL_HU, lung_hu + VESSEL_SHARE * (VESSEL_BLOOD_HU - lung_hu))
    vessel = np.zeros(state.shape, np.uint8)
    loops.run_rows(_mark_bright, len(vessel), brightest_hu, state, np.float32(floor), vessel)
    vessel &= is_free
    _keep_large(vessel, MIN_VESSEL_MM3 / float(np.prod(cell)))
    return vessel


def _fill_in(mean_hu: F32, is_free: U8, cell: F64) -> None:
    """Give the cells of nodules the mean of the free ones around."""
    cells = np.argwhere(is_free == 0)
    away = np.meshgrid(*([np.arange(-FILL_REACH, FILL_REACH + 1)] * 3), indexing="ij")
    square = sum((a * c) ** 2 for a, c in zip(away, cell, strict=True))
    weight = np.exp(-0.5 * square / FILL_SIGMA_MM**2).astype(np.float32)
    filled = np.empty(len(cells), np.float32)
    loops.run_rows(_mean_around, len(cells), mean_hu, is_free, cells, weight, filled)
    mean_hu[tuple(cells.T)] = filled


def _remove_near(fissure: U8, vessel: U8) -> None:
    """Clear what touches a vessel: the side of a wide one looks like a sheet."""
    cells = np.argwhere(fissure)
    last = np.asarray(fissure.shape) - 1
    beside = np.zeros(len(cells), dtype=bool)
    for shift in np.ndindex(3, 3, 3):
        beside |= vessel[tuple(np.clip(cells + np.asarray(shift) - 1, 0, last).T)] > 0
    fissure[tuple(cells[beside].T)] = 0


def _upsample(coarse: npt.NDArray[np.bool_], step: tuple[int, int, int], shape: tuple[int, ...]) -> U8:
    """A mask of every `step`-th cell on all cells."""
    for axis, n in enumerate(step):
        coarse = np.repeat(coarse, n, axis=axis)
    return np.ascontiguousarray(coarse[tuple(slice(0, n) for n in shape)]).view(np.uint8)


def _typical_hu(brightest: F32, state: U8) -> float:
    """Median attenuation of the lung's cells [HU]."""
    inside = np.flatnonzero(state.ravel() == _INSIDE)
    if not len(inside):
        return VESSEL_HU
    return float(np.median(brightest.ravel()[inside[:: max(1, len(inside) // 100_000)]]))


def _keep_large(mask: U8, min_cells: float) -> None:
    """Clear the connected pieces of `mask` that have fewer cells."""
    pieces, n = ndimage.label(mask, structure=np.ones((3, 3, 3), bool))
    if n:
        size = np.bincount(pieces.ravel(), minlength=n + 1)
        keep = (size >= min_cells).astype(np.uint8)
        keep[0] = 0
        np.take(keep, pieces, out=mask)


@lru_cache(maxsize=4)
def _list_offsets(cell_mm: tuple[float, float, float]) -> tuple[npt.NDArray[np.int16], F64]:
    """Cell offsets within reach, nearest first, and the least distance [mm] each can be at."""
    half = [int(np.ceil(REACH_MM / c)) + 1 for c in cell_mm]
    grid = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1).reshape(-1, 3)
    # The point is anywhere in its cell, so an offset may be nearer than its center by half a cell.
    least = np.sqrt(((np.maximum(np.abs(grid) - 0.5, 0) * cell_mm) ** 2).sum(axis=1))
    order = np.argsort(least, kind="stable")
    order = order[least[order] < REACH_MM + max(cell_mm)]
    return grid[order].astype(np.int16), least[order]


@nb.njit(nogil=True, cache=True)
def _search_nearest(first, last, index, field, is_inverse, neighbors, cell, out):  # type: ignore[no-untyped-def]
    """Distance from points to the surface of the nearest set (or, inverse, unset) cell."""
    offsets, least = neighbors
    nz, ny, nx = field.shape
    half = (cell[0] + cell[1] + cell[2]) / 6.0
    for row in range(first, last):
        z0, y0, x0 = index[row, 0], index[row, 1], index[row, 2]
        kz, ky, kx = int(np.rint(z0)), int(np.rint(y0)), int(np.rint(x0))
        best = out[row] + half
        for k in range(offsets.shape[0]):
            if least[k] >= best:
                break
            z, y, x = kz + offsets[k, 0], ky + offsets[k, 1], kx + offsets[k, 2]
            if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                continue
            if (field[z, y, x] == 0) == is_inverse:
                dz, dy, dx = (z - z0) * cell[0], (y - y0) * cell[1], (x - x0) * cell[2]
                distance = np.sqrt(dz * dz + dy * dy + dx * dx)
                best = min(best, distance)
        out[row] = max(0.0, best - half)


@nb.njit(nogil=True, cache=True)
def _mean_around(first, last, mean, is_free, cells, weight, out):  # type: ignore[no-untyped-def]
    """Weighted mean of the free cells around each of `cells`; its own value where there is none."""
    nz, ny, nx = mean.shape
    reach = weight.shape[0] // 2
    for row in range(first, last):
        z, y, x = cells[row]
        total, n = 0.0, 0.0
        for k in range(max(0, z - reach), min(nz, z + reach + 1)):
            for j in range(max(0, y - reach), min(ny, y + reach + 1)):
                for i in range(max(0, x - reach), min(nx, x + reach + 1)):
                    if is_free[k, j, i] > 0:
                        w = weight[k - z + reach, j - y + reach, i - x + reach]
                        n += w
                        total += w * mean[k, j, i]
        out[row] = total / n if n > 0.0 else mean[z, y, x]


class _CoarseCells(NamedTuple):
    """What `_coarsen` writes of each cell: attenuation [HU], 0 outside, 1 rim, 2 inside, and lung label."""

    brightest: F32
    mean: F32
    state: U8
    label: U8


@nb.njit(nogil=True, cache=True)
def _coarsen(first, last, smooth, labels, factor, cells):  # type: ignore[no-untyped-def]
    """Summarize the voxels of each cell; only those inside the lung count for the attenuation."""
    brightest, mean, state, label = cells
    nz, ny, nx = smooth.shape
    fz, fy, fx = factor
    for i in range(first, last):
        z1 = min(nz, (i + 1) * fz)
        for j in range(state.shape[1]):
            y1 = min(ny, (j + 1) * fy)
            for k in range(state.shape[2]):
                x1 = min(nx, (k + 1) * fx)
                top = np.float32(-2000.0)
                n, filled = 0, 0
                right = 0
                total = 0.0
                for z in range(i * fz, z1):
                    for y in range(j * fy, y1):
                        for x in range(k * fx, x1):
                            n += 1
                            value = labels[z, y, x]
                            if value > 0:
                                filled += 1
                                right += 1 if value == 1 else 0
                                top = max(top, smooth[z, y, x])
                                total += smooth[z, y, x]
                brightest[i, j, k] = top
                mean[i, j, k] = total / filled if filled > 0 else EMPTY_HU
                state[i, j, k] = 2 if filled == n else (1 if filled > 0 else 0)
                label[i, j, k] = 0 if 2 * filled < n else (1 if 2 * right >= filled else 2)


@nb.njit(nogil=True, cache=True)
def _mark_bright(first, last, brightest, state, floor, out):  # type: ignore[no-untyped-def]
    """Mark cells above `floor` whose neighbors are all inside: what is bright at the rim is chest wall."""
    nz, ny, nx = state.shape
    for i in range(first, last):
        for j in range(ny):
            for k in range(nx):
                if brightest[i, j, k] < floor or state[i, j, k] != 2:
                    continue
                good = True
                for dz in range(-1, 2):
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            z, y, x = i + dz, j + dy, k + dx
                            # Beyond the edge of the scan there is lung that was not scanned, not chest wall.
                            if z >= 0 and y >= 0 and x >= 0 and z < nz and y < ny and x < nx:
                                good = good and state[z, y, x] == 2
                if good:
                    out[i, j, k] = 1


@nb.njit(nogil=True, cache=True)
def _carve(mask, index, radius_mm, cell):  # type: ignore[no-untyped-def]
    """Clear the cells of `mask` within each ball."""
    for row in range(index.shape[0]):
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for a in range(3):
            reach = radius_mm[row] / cell[a]
            low[a] = max(0, int(np.ceil(index[row, a] - reach)))
            high[a] = min(mask.shape[a] - 1, int(np.floor(index[row, a] + reach)))
        for z in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                for x in range(low[2], high[2] + 1):
                    dz = (z - index[row, 0]) * cell[0]
                    dy = (y - index[row, 1]) * cell[1]
                    dx = (x - index[row, 2]) * cell[2]
                    if dz * dz + dy * dy + dx * dx <= radius_mm[row] ** 2:
                        mask[z, y, x] = 0
