"""Share of the lungs that contains nodules, and the distribution of true diameters."""

from __future__ import annotations

from itertools import product

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.model.ct_result import COMMON_VOLUME_ERROR
from miliary.model.extent import Extent, TrueSizes
from miliary.model.nodules import Nodules
from miliary.model.scan import Side, Zone

F64 = npt.NDArray[np.float64]

CELL_MM = 15.0
MIN_SIZES = 10
GRID_POINTS, ITERATIONS, MAX_SIZES = 60, 60, 1000
LEAST_ERR_MM = 0.05
NORMAL_95 = 1.96


def measure_extent(box: LungBox, nodules: Nodules, position_mm: F64, *, false_per_litre: float) -> Extent:
    """Measure the share of the lungs in cells of 15 mm that contain at least one nodule.

    Parameters
    ----------
    box : LungBox
        The lungs.
    nodules : Nodules
        The n nodules that count as disease.
    position_mm : ndarray, shape (n, 3)
        Their centers (z, y, x) from the first voxel of the box [mm].
    false_per_litre : float
        Expected false positives per liter of lung; the share of cells that they alone would involve is
        subtracted.

    Returns
    -------
    Extent
        Without a fraction where there is no lung.
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    size = np.asarray(box.labels.shape) * spacing
    shape = tuple(int(n) for n in np.ceil(size / CELL_MM))
    cells = [
        np.minimum(((np.arange(n) + 0.5) * step / CELL_MM).astype(np.int64), m - 1)
        for n, step, m in zip(box.labels.shape, spacing, shape, strict=True)
    ]
    volume = np.zeros(shape)
    loops.run_rows(_fill_cells, shape[0], box.labels, cells[0], cells[1], cells[2], volume)
    volume *= float(np.prod(spacing))
    total = float(volume.sum())
    n_cells = total / CELL_MM**3
    counts = {
        f"{side.value}.{zone.value}": int(
            np.count_nonzero((nodules["side"] == side.value) & (nodules["zone"] == zone.value))
        )
        for side, zone in product(Side, Zone)
    }
    if total == 0.0:
        return Extent(None, None, CELL_MM, 0.0, false_per_litre, counts)
    cell = np.clip((position_mm / CELL_MM).astype(int), 0, np.asarray(shape) - 1)
    is_involved = np.zeros(shape, dtype=bool)
    is_involved[tuple(cell.T)] = True
    seen = float(volume[is_involved].sum()) / total
    # Mean probability that a cell without nodules has no false positive either.
    clean = float((volume * np.exp(-false_per_litre * volume / 1e6)).sum()) / total
    fraction = max(0.0, 1.0 - (1.0 - seen) / clean)
    half = NORMAL_95 * float(np.sqrt(max(seen * (1.0 - seen), 1.0 / n_cells) / n_cells)) / clean
    limits = (max(0.0, fraction - half), min(1.0, fraction + half))
    return Extent(fraction, limits, CELL_MM, n_cells, false_per_litre, counts)


@nb.njit(nogil=True, cache=True)
def _fill_cells(first, last, labels, cell_z, cell_y, cell_x, out):  # type: ignore[no-untyped-def]
    """Count the lung voxels of the cells whose first index lies in the range."""
    for z in range(labels.shape[0]):
        k = cell_z[z]
        if k < first or k >= last:
            continue
        for y in range(labels.shape[1]):
            j = cell_y[y]
            for x in range(labels.shape[2]):
                if labels[z, y, x] > 0:
                    out[k, j, cell_x[x]] += 1.0


def estimate_true_sizes(diameter_mm: F64, diameter_mm_err: F64) -> TrueSizes:
    """Estimate the distribution of true diameters from measured diameters and their errors.

    The distribution is a histogram fitted by expectation-maximization to the measured diameters, each blurred
    by its own error; few iterations keep it smooth.

    Parameters
    ----------
    diameter_mm, diameter_mm_err : ndarray, shape (n,)
        Measured diameters and their one-sigma errors [mm]; rows with NaN in either are not used.

    Returns
    -------
    TrueSizes
        Median and 90th percentile. The interval of the latter accounts for the number of nodules and for the
        error common to all diameters. Without values, and with the reason, for fewer than ten diameters.
    """
    known = np.isfinite(diameter_mm) & np.isfinite(diameter_mm_err)
    sizes, errors = diameter_mm[known], np.maximum(diameter_mm_err[known], LEAST_ERR_MM)
    n = len(sizes)
    if n < MIN_SIZES:
        return TrueSizes(n, reason=f"fewer than {MIN_SIZES} nodules have a size")
    order = np.argsort(sizes)
    rows = order[np.linspace(0, n - 1, min(n, MAX_SIZES)).astype(int)]
    share, grid = _unblur(sizes[rows], errors[rows])
    cumulative = np.concatenate([[0.0], np.cumsum(share)])
    step = grid[1] - grid[0]
    edges = np.concatenate([grid - step / 2, [grid[-1] + step / 2]])

    def quantile(level: float) -> float:
        return float(np.interp(min(max(level, 0.0), 1.0), cumulative, edges))

    half = NORMAL_95 * float(np.sqrt(0.09 / n))
    common = NORMAL_95 * COMMON_VOLUME_ERROR / 3.0
    p90 = quantile(0.9)
    limits = (quantile(0.9 - half) * (1.0 - common), quantile(0.9 + half) * (1.0 + common))
    return TrueSizes(n, quantile(0.5), p90, limits)


def _unblur(sizes: F64, errors: F64) -> tuple[F64, F64]:
    """Share of true diameters at each point of a grid, and the grid [mm]."""
    grid = np.linspace(max(0.1, sizes.min() - errors.max()), sizes.max() + 0.1, GRID_POINTS)
    likely = np.exp(-0.5 * ((sizes[:, None] - grid) / errors[:, None]) ** 2) / errors[:, None] + 1e-12
    share = np.full(GRID_POINTS, 1.0 / GRID_POINTS)
    for _ in range(ITERATIONS):
        share *= (likely / (likely @ share)[:, None]).mean(axis=0)
    return share / share.sum(), grid
