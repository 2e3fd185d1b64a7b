"""Voxel noise in the lung, from the quietest patches of a high-passed volume."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.kernels import loops
from miliary.model.ct_result import Lungs, Noise
from miliary.model.scan import Scan

PATCH = 7
MAX_PATCHES = 6000
QUIET_SHARE = 0.35


@nb.njit(nogil=True, cache=True)
def _patch_moments(first, last, voxels, centers, half, out):  # type: ignore[no-untyped-def]
    """Per patch: variance of the residual of a plane fit in the slice, and its lag-one products."""
    n = 2 * half + 1
    count = n * n
    ramp = 0.0
    for i in range(n):
        ramp += (i - half) ** 2
    ramp *= n
    for m in range(first, last):
        z, y0, x0 = centers[m, 0], centers[m, 1] - half, centers[m, 2] - half
        mean = 0.0
        gy = 0.0
        gx = 0.0
        for j in range(n):
            for i in range(n):
                v = float(voxels[z, y0 + j, x0 + i])
                mean += v
                gy += v * (j - half)
                gx += v * (i - half)
        mean /= count
        gy /= ramp
        gx /= ramp
        res = np.empty((n, n))
        var = 0.0
        for j in range(n):
            for i in range(n):
                r = float(voxels[z, y0 + j, x0 + i]) - mean - gy * (j - half) - gx * (i - half)
                res[j, i] = r
                var += r * r
        lag = 0.0
        for j in range(n - 1):
            for i in range(n - 1):
                lag += 0.5 * res[j, i] * (res[j, i + 1] + res[j + 1, i])
        out[m, 0] = var / (count - 3)
        out[m, 1] = lag / (n - 1) ** 2
        out[m, 2] = mean


def estimate_noise(scan: Scan, lungs: Lungs, *, seed: int = 0) -> Noise:
    """Noise SD [HU] and in-plane correlation length [mm] in the lung.

    Small in-plane patches inside the lung are detrended by a plane; the quietest third, where no vessel
    passes, gives the variance (corrected for that choice) and the lag-one autocorrelation.

    Parameters
    ----------
    scan : Scan
    lungs : Lungs
    seed : int
        Of the choice of patches.

    Returns
    -------
    Noise
        `correlation_mm` is the Gaussian length whose lag-one correlation is the one seen; 0 if none.
    """
    half = PATCH // 2
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero(lungs.labels)
    if not len(inside):
        return Noise(0.0)
    picks = inside[rng.integers(0, len(inside), size=4 * MAX_PATCHES)]
    centers = np.stack(np.unravel_index(picks, lungs.labels.shape), axis=1)
    shape = np.asarray(lungs.labels.shape)
    fits = np.all((centers[:, 1:] >= half) & (centers[:, 1:] < shape[1:] - half), axis=1)
    centers = centers[fits]
    z, y, x = centers.T
    whole = np.ones(len(centers), dtype=bool)
    for dy, dx in ((-half, -half), (-half, half), (half, -half), (half, half)):
        whole &= lungs.labels[z, y + dy, x + dx] > 0
    centers = np.ascontiguousarray(centers[whole][:MAX_PATCHES])
    if not len(centers):
        return Noise(0.0)
    moments = np.empty((len(centers), 3))
    loops.run_rows(_patch_moments, len(centers), scan.voxels_hu, centers, half, moments)
    return _summarize(moments, scan)


def _summarize(moments: npt.NDArray[np.float64], scan: Scan) -> Noise:
    variance, lag = moments[:, 0], moments[:, 1]
    quiet = np.argsort(variance)[: max(1, int(QUIET_SHARE * len(variance)))]
    typical = float(np.median(variance[quiet]))
    # Sampling scatter of a patch variance makes the quietest third too quiet by about this factor.
    scatter = np.sqrt(2.0 / (PATCH * PATCH - 3))
    sd = float(np.sqrt(typical / max(0.5, 1.0 - 0.9 * scatter)))
    rho = float(np.clip(np.median(lag[quiet]) / max(typical, 1e-9), 0.0, 0.98))
    pixel = scan.grid.spacing_zyx_mm[2]
    length = pixel / np.sqrt(-4.0 * np.log(rho)) if rho > 0.02 else 0.0
    return Noise(sd, float(length))
