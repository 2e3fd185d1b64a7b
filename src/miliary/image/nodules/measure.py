"""Measure nodules: a blurred ball on a local background, fitted together with its neighbors.

Below about three blur widths, the apparent size of a nodule is that of the blur, but its integrated excess
attenuation is preserved. The free parameters are therefore background, integrated excess and position, as in
the photometry of stars [1]_; the diameter of the ball follows from the excess at the reference density.

References
----------
.. [1] Stetson PB, Publ Astron Soc Pac 1987;99:191-222.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.quality.blur import limit_in_plane, limit_slice
from miliary.model.ct_result import Noise, Psf

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

REFERENCE_HU = 40.0
# A ball of radius one, blurred by at least 0.35 of its radius, is this difference of two Gaussians
# (weights sum to one, variances per axis); found by least squares on the blurred profile.
BALL_WEIGHTS = (89.51189173, -88.51189173)
BALL_VARIANCES = (0.11363172, 0.11258081)
# Error of the model as a share of it, texture of the lung, and priors on background and position (one sigma).
MODEL_ERROR = 0.08
TEXTURE_HU = 12.0
BACKGROUND_SD_HU = 40.0
POSITION_SD_MM = 0.5
MAX_DIAMETER_MM = 8.0
ROUNDS = 4
CALIBRATION_ROUNDS = 3
STEPS = 3
NEIGHBOR_MM = 7.0
MIN_CALIBRATORS, ENOUGH_CALIBRATORS, MAX_CALIBRATORS = 10, 25, 100
CALIBRATOR_MAX_HU, CALIBRATOR_LEAST_HU = 60.0, 120.0
# Contrast of a calibrator in standard deviations of the noise; the second where the first leaves too few.
CALIBRATOR_NOISE = (8.0, 5.0)
CALIBRATOR_SHARE = 0.8
# The ring is the undershoot that a sharp kernel leaves around bright objects, as a share of the blur.
RING_STEP, MAX_RING = 0.2, 1.6
SHARP_RING, SHARP_GAIN = 0.8, 0.94
# Share of the scatter by which a step of the ring must improve the fit at this noise; of a larger scatter the
# same mismatch is a smaller share.
RING_GAIN, RING_GAIN_HU = 0.0125, 20.0
RING_FACTORS = (0.88, 1.0, 1.12, 1.24, 1.36)
RING_WIDTH = 2.0
CALIBRATION_FACTORS = (0.6, 0.75, 0.9, 1.05, 1.2, 1.35)
# No scanner blurs as much as this [mm]: detections that require it are not nodules.
MAX_SIGMA_MM = 1.7


@dataclass(frozen=True)
class Fit:
    """Fitted values of n nodules.

    Parameters
    ----------
    position_mm : ndarray of float64, shape (n, 3)
        Center (z, y, x) from the first voxel of the box [mm].
    background_hu : ndarray of float64, shape (n,)
        Local background [HU].
    excess_hu_mm3, excess_hu_mm3_err : ndarray of float64, shape (n,)
        Integral of the attenuation above the background, and its one-sigma error [HU mm3].
    misfit : ndarray of float64, shape (n,)
        Root mean square weighted residual, in units of the expected scatter; about 1 for a good fit.
    outlier_share : ndarray of float64, shape (n,)
        Share of the voxels used that are much brighter than the model, 0 to 1: vessels, pleura.
    peak_hu, model_peak_hu : ndarray of float64, shape (n,)
        Attenuation at the highest voxel of the model with neighboring nodules subtracted, and the model
        there [HU].
    """

    position_mm: F64
    background_hu: F64
    excess_hu_mm3: F64
    excess_hu_mm3_err: F64
    misfit: F64
    outlier_share: F64
    peak_hu: F64
    model_peak_hu: F64


@nb.njit(cache=True)
def _gauss(out, n, start, step, center, variance):  # type: ignore[no-untyped-def]
    """Gaussian at `n` samples from index `start`."""
    for i in range(n):
        d = (start + i) * step - center
        out[i] = np.exp(-0.5 * d * d / variance)


@nb.njit(cache=True)
def _solve(a, b, n):  # type: ignore[no-untyped-def]
    """Cholesky solution of a x = b in place of b; a is overwritten by its factor."""
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(max(s, 1e-12)) if i == j else s / a[j, j]
    for i in range(n):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


class _BallModel(NamedTuple):
    """Blurred ball as a sum of Gaussians: variances of the blur (z, y, x) [mm2], and `_mix` of the ball."""

    sigma2: F64
    weights: F64
    variances: F64


@nb.njit(cache=True)
def _profile(out, low, size, spacing, position, diameter, ball, work):  # type: ignore[no-untyped-def]
    """Blurred ball of unit integral on the voxels of a window, and its three position derivatives.

    The derivatives only where `out`, shape (4 or 1, z, y, x), has room; `work` is (4, longest side) floats.
    """
    sigma2, weights, variances = ball
    ez, ey, ex, slope_x = work[0], work[1], work[2], work[3]
    n = size[2]
    radius2 = 0.25 * diameter * diameter
    out[:] = 0.0
    for g in range(weights.shape[0]):
        vz = sigma2[0] + radius2 * variances[g, 0]
        vy = sigma2[1] * variances[g, 1] + radius2 * variances[g, 0]
        vx = sigma2[2] * variances[g, 1] + radius2 * variances[g, 0]
        _gauss(ez, size[0], low[0], spacing[0], position[0], vz)
        _gauss(ey, size[1], low[1], spacing[1], position[1], vy)
        _gauss(ex, n, low[2], spacing[2], position[2], vx)
        norm = weights[g] / np.sqrt((2.0 * np.pi) ** 3 * vz * vy * vx)
        for i in range(n):
            slope_x[i] = ((low[2] + i) * spacing[2] - position[2]) / vx
        for k in range(size[0]):
            dz = ((low[0] + k) * spacing[0] - position[0]) / vz
            for j in range(size[1]):
                plane = norm * ez[k] * ey[j]
                level = out[0, k, j]
                if out.shape[0] == 1:
                    for i in range(n):
                        level[i] += plane * ex[i]
                    continue
                dy = ((low[1] + j) * spacing[1] - position[1]) / vy
                by_z, by_y, by_x = out[1, k, j], out[2, k, j], out[3, k, j]
                for i in range(n):
                    v = plane * ex[i]
                    level[i] += v
                    by_z[i] += v * dz
                    by_y[i] += v * dy
                    by_x[i] += v * slope_x[i]


class _FitData(NamedTuple):
    """Voxels [HU] and spacing [mm] of the box, noise and density of a solid nodule [HU], steps per round."""

    volume_hu: F32
    spacing_mm: F64
    noise_sd_hu: float
    reference_hu: float
    n_steps: int


class _FitStart(NamedTuple):
    """Starting positions (n, 3) [mm] and background (n,) [HU], and neighbors as offsets into a flat list."""

    position_mm: F64
    background_hu: F64
    first: npt.NDArray[np.int64]
    neighbors: npt.NDArray[np.int64]


@nb.njit(nogil=True, cache=True)
def _fit_round(begin, end, data, ball, start, old, new, quality):  # type: ignore[no-untyped-def]
    """One round for each nodule with its neighbors held at `old`.

    Parameters of a nodule are z, y, x [mm], background [HU] and excess [HU mm3].
    """
    volume, spacing, noise_sd, reference_hu, steps = data
    sigma2 = ball.sigma2
    start_mm, shell_hu, first, neighbors = start
    reach = np.empty(3, dtype=np.int64)
    low = np.empty(3, dtype=np.int64)
    size = np.empty(3, dtype=np.int64)
    normal = np.empty((5, 5))
    right = np.empty(5)
    for m in range(begin, end):
        p = new[m]
        for a in range(5):
            p[a] = old[m, a]
        volume_mm3 = max(p[4], 1.0) / max(reference_hu - p[3], 100.0)
        diameter = min((6.0 * volume_mm3 / np.pi) ** (1.0 / 3.0), MAX_DIAMETER_MM)
        for a in range(3):
            r = 0.5 * diameter + 2.2 * np.sqrt(sigma2[a]) + 0.6
            reach[a] = max(1, int(np.ceil(r / spacing[a])))
            c = int(np.round(start_mm[m, a] / spacing[a]))
            low[a] = max(0, c - reach[a])
            size[a] = min(volume.shape[a], c + reach[a] + 1) - low[a]
        nz, ny, nx = size[0], size[1], size[2]
        model = np.empty((4, nz, ny, nx))
        alone = np.empty((1, nz, ny, nx))
        other = np.zeros((nz, ny, nx))
        work = np.empty((5, max(nz, ny, nx)))
        along_x = work[4]
        for q in range(first[m], first[m + 1]):
            o = neighbors[q]
            v = max(old[o, 4], 1.0) / max(reference_hu - old[o, 3], 100.0)
            d = min((6.0 * v / np.pi) ** (1.0 / 3.0), MAX_DIAMETER_MM)
            _profile(alone, low, size, spacing, old[o, :3], d, ball, work)
            for k in range(nz):
                for j in range(ny):
                    for i in range(nx):
                        other[k, j, i] += old[o, 4] * alone[0, k, j, i]
        n_used = 0
        n_out = 0
        chi = 0.0
        for _ in range(steps):
            volume_mm3 = max(p[4], 1.0) / max(reference_hu - p[3], 100.0)
            diameter = min((6.0 * volume_mm3 / np.pi) ** (1.0 / 3.0), MAX_DIAMETER_MM)
            _profile(model, low, size, spacing, p[:3], diameter, ball, work)
            for i in range(nx):
                ux = ((low[2] + i) * spacing[2] - p[2]) / (reach[2] * spacing[2] + 1e-9)
                along_x[i] = ux * ux
            n_used = 0
            n_out = 0
            chi = 0.0
            # Written out: a loop over the 15 sums takes twice as long.
            s00 = s10 = s11 = s20 = s21 = s22 = s30 = s31 = s32 = s33 = 0.0
            s40 = s41 = s42 = s43 = s44 = r0 = r1 = r2 = r3 = r4 = 0.0
            for k in range(nz):
                uz = ((low[0] + k) * spacing[0] - p[0]) / (reach[0] * spacing[0] + 1e-9)
                for j in range(ny):
                    uy = ((low[1] + j) * spacing[1] - p[1]) / (reach[1] * spacing[1] + 1e-9)
                    apart = uz * uz + uy * uy
                    if apart > 1.25:
                        continue
                    seen = volume[low[0] + k, low[1] + j, low[2] : low[2] + nx]
                    for i in range(nx):
                        if apart + along_x[i] > 1.25:
                            continue
                        fit = p[4] * model[0, k, j, i]
                        r = seen[i] - other[k, j, i] - p[3] - fit
                        s2 = noise_sd**2 + TEXTURE_HU**2 + (MODEL_ERROR * fit) ** 2
                        z = r / np.sqrt(s2)
                        w = 1.0
                        # What is brighter than the model is a vessel or the pleura more often than noise.
                        if z > 2.0:
                            w = (2.0 / z) ** 2
                        elif z < -8.0:
                            w = 8.0 / -z
                        n_used += 1
                        if z > 4.0:
                            n_out += 1
                        chi += w * z * z
                        w /= s2
                        c0 = p[4] * model[1, k, j, i]
                        c1 = p[4] * model[2, k, j, i]
                        c2 = p[4] * model[3, k, j, i]
                        c4 = model[0, k, j, i]
                        w0, w1, w2, w4 = w * c0, w * c1, w * c2, w * c4
                        s00 += w0 * c0
                        s10 += w1 * c0
                        s11 += w1 * c1
                        s20 += w2 * c0
                        s21 += w2 * c1
                        s22 += w2 * c2
                        s30 += w0
                        s31 += w1
                        s32 += w2
                        s33 += w
                        s40 += w4 * c0
                        s41 += w4 * c1
                        s42 += w4 * c2
                        s43 += w4
                        s44 += w4 * c4
                        r0 += w0 * r
                        r1 += w1 * r
                        r2 += w2 * r
                        r3 += w * r
                        r4 += w4 * r
            normal[0, 0] = s00
            normal[1, 0], normal[1, 1] = s10, s11
            normal[2, 0], normal[2, 1], normal[2, 2] = s20, s21, s22
            normal[3, 0], normal[3, 1], normal[3, 2], normal[3, 3] = s30, s31, s32, s33
            normal[4, 0], normal[4, 1], normal[4, 2], normal[4, 3], normal[4, 4] = s40, s41, s42, s43, s44
            right[0], right[1], right[2], right[3], right[4] = r0, r1, r2, r3, r4
            for a in range(3):
                normal[a, a] += 1.0 / POSITION_SD_MM**2
                right[a] += (start_mm[m, a] - p[a]) / POSITION_SD_MM**2
            normal[3, 3] += 1.0 / BACKGROUND_SD_HU**2
            right[3] += (shell_hu[m] - p[3]) / BACKGROUND_SD_HU**2
            normal[4, 4] += 1e-12
            _solve(normal, right, 5)
            for a in range(3):
                p[a] += min(max(right[a], -0.3), 0.3)
                p[a] = min(max(p[a], start_mm[m, a] - 1.0), start_mm[m, a] + 1.0)
            p[3] = min(p[3] + right[3], reference_hu)
            p[4] = max(p[4] + right[4], 1.0)
        # Variance of the excess: last diagonal of the inverse, from the Cholesky factor.
        quality[m, 0] = 1.0 / normal[4, 4]
        quality[m, 1] = np.sqrt(chi / max(n_used, 1))
        quality[m, 2] = n_out / max(n_used, 1)
        best = 0.0
        for k in range(size[0]):
            for j in range(size[1]):
                for i in range(size[2]):
                    if model[0, k, j, i] > best:
                        best = model[0, k, j, i]
                        quality[m, 3] = p[3] + p[4] * best
                        quality[m, 4] = volume[low[0] + k, low[1] + j, low[2] + i] - other[k, j, i]


def fit_balls(
    box: LungBox,
    position_mm: F64,
    *,
    background_hu: F64,
    contrast_hu: F64,
    psf: Psf,
    noise: Noise,
) -> Fit:
    """Fit blurred balls at given positions, neighbors within 7 mm together.

    Parameters
    ----------
    box : LungBox
        The lungs.
    position_mm : ndarray, shape (n, 3)
        Starting centers (z, y, x) from the first voxel of the box [mm].
    background_hu, contrast_hu : ndarray, shape (n,)
        Attenuation of the surroundings and height of the nodule above it, as starting values [HU].
    psf : Psf
        Blur of the scan.
    noise : Noise
        Noise of the scan.

    Returns
    -------
    Fit
        Errors follow from the curvature of the fit, increased for correlated noise and the error of the
        model.
    """
    start = _start_fit(box, position_mm, background_hu, contrast_hu, psf)
    old, quality = _fit_rounds(box, position_mm, background_hu, start, psf, noise, n_rounds=ROUNDS)
    spacing = np.asarray(box.spacing_zyx_mm)
    area = spacing[1] * spacing[2]
    correlated = np.sqrt(1.0 + 4.0 * np.pi * noise.correlation_mm**2 / area)
    err = np.hypot(quality[:, 0] * correlated, 0.03 * old[:, 4])
    return Fit(
        position_mm=old[:, :3].copy(),
        background_hu=old[:, 3].copy(),
        excess_hu_mm3=old[:, 4].copy(),
        excess_hu_mm3_err=err,
        misfit=quality[:, 1],
        outlier_share=quality[:, 2],
        peak_hu=quality[:, 4],
        model_peak_hu=quality[:, 3],
    )


def _start_fit(box: LungBox, position_mm: F64, background_hu: F64, contrast_hu: F64, psf: Psf) -> F64:
    """First parameters (n, 5): z, y, x [mm], background [HU], excess [HU mm3]."""
    sigma2 = np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm]) ** 2
    blurred = np.prod(np.sqrt(2.0 * np.pi * (sigma2 + 0.2)))
    height = np.maximum(contrast_hu, 30.0)
    # The fit of a large nodule that starts small treats its rim as vessel, and stays small.
    radius = np.zeros(len(position_mm))
    spacing = np.asarray(box.spacing_zyx_mm)
    level = background_hu + 0.5 * height
    loops.run_rows(_measure_radius, len(radius), box.voxels_hu, spacing, position_mm, level, radius)
    ball = 4.0 / 3.0 * np.pi * radius**3
    return np.column_stack([position_mm, background_hu, height * np.maximum(blurred, ball)])


@nb.njit(nogil=True, cache=True)
def _measure_radius(first, last, volume, spacing, position, level, out):  # type: ignore[no-untyped-def]
    """Largest radius [mm] up to which every shell is mostly above a level, which vessels never fill."""
    n_shells = 10
    inside = np.empty(n_shells)
    total = np.empty(n_shells)
    for m in range(first, last):
        inside[:] = 0.0
        total[:] = 0.0
        z0 = max(0, int(np.ceil((position[m, 0] - 4.0) / spacing[0])))
        z1 = min(volume.shape[0] - 1, int((position[m, 0] + 4.0) / spacing[0]))
        y0 = max(0, int(np.ceil((position[m, 1] - 4.0) / spacing[1])))
        y1 = min(volume.shape[1] - 1, int((position[m, 1] + 4.0) / spacing[1]))
        x0 = max(0, int(np.ceil((position[m, 2] - 4.0) / spacing[2])))
        x1 = min(volume.shape[2] - 1, int((position[m, 2] + 4.0) / spacing[2]))
        for z in range(z0, z1 + 1):
            dz = z * spacing[0] - position[m, 0]
            for y in range(y0, y1 + 1):
                dy = y * spacing[1] - position[m, 1]
                for x in range(x0, x1 + 1):
                    dx = x * spacing[2] - position[m, 2]
                    k = int(np.sqrt(dz * dz + dy * dy + dx * dx) / 0.4)
                    if k < n_shells:
                        total[k] += 1.0
                        if volume[z, y, x] > level[m]:
                            inside[k] += 1.0
        k = 0
        while k < n_shells and inside[k] >= 0.7 * total[k]:
            k += 1
        out[m] = 0.4 * k


def _fit_rounds(
    box: LungBox,
    position_mm: F64,
    background_hu: F64,
    start: F64,
    psf: Psf,
    noise: Noise,
    *,
    n_rounds: int,
) -> tuple[F64, F64]:
    """Parameters (n, 5) and quality (n, 5) after some rounds from `start`, which stays as it is."""
    sigma2 = np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm]) ** 2
    data = _FitData(box.voxels_hu, np.asarray(box.spacing_zyx_mm), max(noise.sd_hu, 1.0), REFERENCE_HU, STEPS)
    ball = _BallModel(sigma2, *_mix(psf.ring))
    fixed = _FitStart(position_mm, background_hu, *_list_neighbors(position_mm))
    old, new, quality = start.copy(), np.empty_like(start), np.zeros((len(start), 5))
    for _ in range(n_rounds):
        loops.run_rows(_fit_round, len(start), data, ball, fixed, old, new, quality)
        old, new = new, old
    return old, quality


def calibrate_psf(
    box: LungBox, position_mm: F64, *, background_hu: F64, contrast_hu: F64, psf: Psf, noise: Noise
) -> Psf:
    """Estimate the blur of a scan from its nodules, as the seeing is estimated from a field of stars.

    Up to 100 clear, isolated nodules are fitted with blurs of several widths; the widths that leave the
    smallest scatter, in plane and along z, replace those estimated from the skin edge and the slice
    thickness.

    Parameters
    ----------
    box : LungBox
        The lungs.
    position_mm : ndarray, shape (n, 3)
        Centers (z, y, x) of the reported nodules from the first voxel of the box [mm].
    background_hu, contrast_hu : ndarray, shape (n,)
        Attenuation of their surroundings and height above it [HU].
    psf : Psf
        First estimate of the blur.
    noise : Noise
        Noise of the scan.

    Returns
    -------
    Psf
        With `source` ``nodules``. `psf` unchanged where fewer than 10 nodules are suitable; `psf` with
        `source` ``unclear`` where the best width is larger than that of any scanner.
    """
    rows = _choose_calibrators(position_mm, background_hu, contrast_hu, noise)
    if len(rows) < MIN_CALIBRATORS:
        return psf
    fits = _CalibrationFits(box, position_mm[rows], background_hu[rows], contrast_hu[rows], psf, noise)
    best, scatter = _scan_width(fits, psf, CALIBRATION_FACTORS)
    # A narrow core with much ring and a far too wide one without any are separated by a ridge: try both.
    sharp, its_scatter = _scan_width(fits, replace(psf, ring=SHARP_RING), CALIBRATION_FACTORS)
    if its_scatter < SHARP_GAIN * scatter:
        best = sharp
    best, scatter = _scan_slice(fits, best)
    best, scatter = _scan_width(fits, best, RING_FACTORS)
    # A wider core with a ring fits nearly as well as a narrow one without, and lowers every volume by up to a
    # fifth: a ring is accepted only as far as each step of it clearly improves the fit.
    gain = _require_gain(noise)
    is_better = True
    while is_better:
        is_better = False
        # The scatter of noisy scans is uneven: one poor step does not end the search, two do.
        for n_steps in (1, 2):
            ring = best.ring + n_steps * RING_STEP
            if ring > MAX_RING + 1e-9:
                break
            wider, its_scatter = _scan_width(fits, replace(best, ring=ring), RING_FACTORS)
            if its_scatter <= (1.0 - n_steps * gain) * scatter:
                best, scatter, is_better = wider, its_scatter, True
                break
    while best.ring >= RING_STEP - 1e-9:
        smaller, its_scatter = _scan_width(fits, replace(best, ring=best.ring - RING_STEP), RING_FACTORS)
        if its_scatter > (1.0 + gain) * scatter:
            break
        best, scatter = smaller, its_scatter
    if best.ring > 0.0:
        best, _ = _scan_slice(fits, best)
    if best.sigma_xy_mm > MAX_SIGMA_MM:
        return replace(psf, source="unclear")
    return replace(limit_in_plane(best, pixel_mm=box.spacing_zyx_mm[2], max_ring=MAX_RING), source="nodules")


def _choose_calibrators(
    position_mm: F64, background_hu: F64, contrast_hu: F64, noise: Noise
) -> npt.NDArray[np.int64]:
    """The clearest isolated nodules; fainter ones only where there are too few clear ones."""
    # Calcium is brighter than the fitted ball, and would make the scan appear sharper.
    usable = (background_hu + contrast_hu < CALIBRATOR_MAX_HU) & _is_isolated(position_mm)
    rows = np.empty(0, dtype=np.int64)
    for least in CALIBRATOR_NOISE:
        rows = np.flatnonzero(usable & (contrast_hu > max(least * noise.sd_hu, CALIBRATOR_LEAST_HU)))
        if len(rows) >= ENOUGH_CALIBRATORS:
            break
    return rows[np.argsort(-contrast_hu[rows], kind="stable")][:MAX_CALIBRATORS]


def _require_gain(noise: Noise) -> float:
    """Share of the scatter by which a ring must improve the fit of a scan as noisy as this.

    Not more for quiet scans: what balls do not fit there is shape as often as blur.
    """
    usual, here = (sd * sd + TEXTURE_HU * TEXTURE_HU for sd in (RING_GAIN_HU, noise.sd_hu))
    return RING_GAIN * min(1.0, usual / here)


def _scan_width(fits: _CalibrationFits, psf: Psf, factors: tuple[float, ...]) -> tuple[Psf, float]:
    """The in-plane width that fits the nodules best, within factors of the one given, and its scatter."""
    factor, scatter = fits.scan([(f, replace(psf, sigma_xy_mm=psf.sigma_xy_mm * f)) for f in factors])
    return replace(psf, sigma_xy_mm=psf.sigma_xy_mm * factor), scatter


def _scan_slice(fits: _CalibrationFits, psf: Psf) -> tuple[Psf, float]:
    """The same for the width along z."""
    factor, scatter = fits.scan(
        [(f, replace(psf, sigma_z_mm=psf.sigma_z_mm * f)) for f in CALIBRATION_FACTORS]
    )
    return limit_slice(replace(psf, sigma_z_mm=psf.sigma_z_mm * factor)), scatter


class _CalibrationFits:
    """Fits the same few nodules with one blur after another, each starting from the previous result."""

    def __init__(
        self, box: LungBox, position_mm: F64, background_hu: F64, contrast_hu: F64, psf: Psf, noise: Noise
    ) -> None:
        self._data = (box, position_mm, background_hu)
        self._noise = noise
        self._used: npt.NDArray[np.int64] | None = None
        start = _start_fit(box, position_mm, background_hu, contrast_hu, psf)
        self._last, _ = _fit_rounds(*self._data, start, psf, noise, n_rounds=ROUNDS)

    def scan(self, candidates: list[tuple[float, Psf]]) -> tuple[float, float]:
        """Value, among ascending evenly spaced ones, of the smallest scatter, and that scatter.

        The scatter is the mean square misfit of the nodules that fit best at first: those attached to a
        vessel fit no blur.
        """
        at = np.array([value for value, _ in candidates])
        scatter = np.array([self._measure_scatter(psf) for _, psf in candidates])
        k = int(np.clip(np.argmin(scatter), 1, len(at) - 2))
        low, mid, high = scatter[k - 1 : k + 2]
        bend = max(low - 2.0 * mid + high, 1e-9)
        shift = float(np.clip(0.5 * (low - high) / bend, -1.0, 1.0))
        least = mid - 0.25 * (low - high) * shift
        return float(at[k] + shift * (at[1] - at[0])), float(min(least, scatter.min()))

    def _measure_scatter(self, psf: Psf) -> float:
        self._last, quality = _fit_rounds(
            *self._data, self._last, psf, self._noise, n_rounds=CALIBRATION_ROUNDS
        )
        square = quality[:, 1] ** 2
        if self._used is None:
            self._used = np.argsort(square, kind="stable")[: math.ceil(CALIBRATOR_SHARE * len(square))]
        return float(square[self._used].mean())


def _is_isolated(position_mm: F64) -> npt.NDArray[np.bool_]:
    """Which nodules have no other within 5 mm."""
    if len(position_mm) < 2:
        return np.ones(len(position_mm), dtype=bool)
    distance, _ = cKDTree(position_mm).query(position_mm, k=2)
    return np.asarray(distance[:, 1] > 5.0)


def _mix(ring: float) -> tuple[F64, F64]:
    """Gaussians of the model: weights (k,); variance of the ball and factor on that of the blur (k, 2).

    A sharp kernel undershoots around bright objects: a share `ring` of the blur is subtracted again at
    `RING_WIDTH` times its width, while the sum stays one.
    """
    weights, variances = np.asarray(BALL_WEIGHTS), np.asarray(BALL_VARIANCES)
    core = np.column_stack([variances, np.ones(2)])
    if ring == 0.0:
        return weights, core
    wide = np.column_stack([variances, np.full(2, RING_WIDTH**2)])
    return np.concatenate([(1.0 + ring) * weights, -ring * weights]), np.concatenate([core, wide])


def _list_neighbors(position_mm: F64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each position the others within `NEIGHBOR_MM`: offsets (n + 1,) into a flat list, and the list."""
    n = len(position_mm)
    if n < 2:
        return np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int64)
    pairs = cKDTree(position_mm).query_pairs(NEIGHBOR_MM, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    first = np.searchsorted(both[:, 0], np.arange(n + 1))
    return first.astype(np.int64), np.ascontiguousarray(both[:, 1], dtype=np.int64)
