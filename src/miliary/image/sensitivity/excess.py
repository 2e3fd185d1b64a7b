"""Total nodule volume without detection, as a check: blob-like attenuation summed over the lung.

For every voxel of the lung, the smallest eigenvalue of the negative Hessian at one scale measures how much
the attenuation falls off in all directions; in tubes and sheets there is a direction in which it does not.
Its sum over the lung is that of the nodules, each contributing as a ball of its size, plus that of forks,
bends and tips of vessels, which is known per liter from lungs without nodules and varies much between
patients. No maximum is searched and no candidate is classified, so an error of either shows as a
disagreement. It is a check within a factor, not a second measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.nodules import measure
from miliary.image.nodules.find import SCALES_MM
from miliary.model.completeness import Completeness, Estimate, ExcessCheck
from miliary.model.ct_result import Psf

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SCALE_MM = 1.0
# The edge of the chest wall disturbs the voxels nearer to the surface; fissures and noise stay below the
# floor.
RIM_MM = 3.0
FLOOR_HU = 60.0
REFERENCE_MM = np.geomspace(0.8, 6.0, 16)
# From development crops of simulated lungs, each with the standard deviation of its logarithm: forks, bends
# and tips of the vessels in one liter contribute as much as this many balls of 2 mm, and nodules, which are
# no balls and lie between vessels, contribute this share of what balls would.
VESSELS_PER_LITRE, VESSELS_LOG_SD, VESSEL_MM = 130.0, 0.6, 2.0
SHARE_OF_BALL, SHARE_LOG_SD = 0.5, 0.25


@dataclass(frozen=True)
class Blobness:
    """Sum of the blob-like attenuation of a scan.

    Parameters
    ----------
    total : float
        The sum over the inner lung [HU mm3].
    litres : float
        Volume of the inner lung [L].
    lung_share : float
        Share of the lung that the inner lung is, 0 to 1.
    """

    total: float
    litres: float
    lung_share: float


def measure_blobness(box: LungBox, smooth_hu: F32) -> Blobness:
    """Sum, over the inner lung, the part of the smallest curvature that exceeds a floor.

    Parameters
    ----------
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `find.smooth_finest` [HU].

    Returns
    -------
    Blobness
        All zero where the lungs are thinner than twice the rim.
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    inner = _erode(box.labels, spacing)
    n_inner, n_lung = np.count_nonzero(inner), np.count_nonzero(box.labels)
    if not n_inner:
        return Blobness(0.0, 0.0, 0.0)
    sums = _pool(smooth_hu, inner, spacing)
    voxel_mm3 = float(np.prod(spacing))
    return Blobness(sums * voxel_mm3, n_inner * voxel_mm3 / 1e6, n_inner / n_lung)


def _erode(labels: npt.NDArray[np.uint8], spacing: F64) -> npt.NDArray[np.uint8]:
    """The lung without its rim, as uint8: voxels with only lung in the box of `RIM_MM` around them."""
    out = (labels > 0).astype(np.uint8)
    for axis, step in enumerate(spacing):
        reach = max(1, round(RIM_MM / step))
        out = ndimage.minimum_filter1d(out, 2 * reach + 1, axis=axis)
    return out


def _pool(smooth_hu: F32, inner: npt.NDArray[np.uint8], spacing: F64) -> float:
    sigma = np.sqrt(SCALE_MM**2 - SCALES_MM[0] ** 2) / spacing
    wide = loops.filter_gaussian(smooth_hu, (float(sigma[0]), float(sigma[1]), float(sigma[2])))
    rows = np.zeros(len(wide))
    loops.run_rows(_pool_slices, len(wide), wide, inner, spacing, SCALE_MM**2, FLOOR_HU, rows)
    return float(rows.sum())


@nb.njit(nogil=True, cache=True)
def _pool_slices(first, last, v, inner, spacing, scale2, floor, out):  # type: ignore[no-untyped-def]
    """Sum per slice of what of the smallest eigenvalue of the negative Hessian exceeds `floor`."""
    nz, ny, nx = v.shape
    sz, sy, sx = spacing
    for z in range(max(1, first), min(nz - 1, last)):
        total = 0.0
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if inner[z, y, x] == 0:
                    continue
                c = 2.0 * v[z, y, x]
                a = scale2 * (c - v[z, y, x - 1] - v[z, y, x + 1]) / (sx * sx)
                b = scale2 * (c - v[z, y - 1, x] - v[z, y + 1, x]) / (sy * sy)
                d = scale2 * (c - v[z - 1, y, x] - v[z + 1, y, x]) / (sz * sz)
                # The smallest eigenvalue is below every diagonal element: most voxels end here.
                if a <= floor or b <= floor or d <= floor:
                    continue
                e = v[z, y + 1, x + 1] - v[z, y + 1, x - 1] - v[z, y - 1, x + 1] + v[z, y - 1, x - 1]
                f = v[z + 1, y, x + 1] - v[z + 1, y, x - 1] - v[z - 1, y, x + 1] + v[z - 1, y, x - 1]
                g = v[z + 1, y + 1, x] - v[z + 1, y - 1, x] - v[z - 1, y + 1, x] + v[z - 1, y - 1, x]
                e *= -0.25 * scale2 / (sy * sx)
                f *= -0.25 * scale2 / (sz * sx)
                g *= -0.25 * scale2 / (sz * sy)
                least = _smallest_eigenvalue(a, b, d, e, f, g)
                if least > floor:
                    total += least - floor
        out[z] = total


@nb.njit(cache=True)
def _smallest_eigenvalue(a, b, d, e, f, g):  # type: ignore[no-untyped-def]
    """Of the symmetric matrix with diagonal (a, b, d) and e = ab, f = ad, g = bd elements."""
    q = (a + b + d) / 3.0
    p = (a - q) ** 2 + (b - q) ** 2 + (d - q) ** 2 + 2.0 * (e * e + f * f + g * g)
    p = np.sqrt(p / 6.0)
    if p < 1e-6:
        return q
    a, b, d, e, f, g = (a - q) / p, (b - q) / p, (d - q) / p, e / p, f / p, g / p
    det = a * (b * d - g * g) - e * (e * d - g * f) + f * (e * g - b * f)
    angle = np.arccos(min(1.0, max(-1.0, det / 2.0))) / 3.0
    return q + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0)


def measure_ball_blobness(psf: Psf, spacing_zyx_mm: tuple[float, float, float], background_hu: float) -> F64:
    """Blob-like attenuation of one blurred ball of each diameter of `REFERENCE_MM`, on an even background.

    Parameters
    ----------
    psf : Psf
        Blur of the scan.
    spacing_zyx_mm : tuple of float
        Voxel spacing [mm].
    background_hu : float
        Attenuation of the lung [HU].

    Returns
    -------
    ndarray of float64, shape (len(REFERENCE_MM),)
        Sum as in `measure_blobness` [HU mm3].
    """
    spacing = np.asarray(spacing_zyx_mm)
    half = np.ceil((3.0 + 4.0) / spacing).astype(int)
    fine = np.maximum(1, np.round(spacing / 0.25).astype(int)) | 1
    size = (2 * half + 1) * fine
    steps = spacing / fine
    axes = [(np.arange(n) - (n - 1) / 2 + 0.2 * f) * s for n, f, s in zip(size, fine, steps, strict=True)]
    distance = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
    finest = SCALES_MM[0]
    widths = np.hypot([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm], finest)
    across = measure.RING_WIDTH * psf.sigma_xy_mm
    wide = np.hypot([psf.sigma_z_mm, across, across], finest)
    out = np.empty(len(REFERENCE_MM))
    inner = np.ones(tuple(2 * half + 1), dtype=np.uint8)
    for k, diameter in enumerate(REFERENCE_MM):
        ball = np.clip(0.5 - (distance - 0.5 * diameter) / float(steps.mean()), 0.0, 1.0)
        ball *= np.pi * diameter**3 / 6.0 / (ball.sum() * np.prod(steps))
        blurred = (1.0 + psf.ring) * ndimage.gaussian_filter(
            ball, widths / steps, mode="constant", truncate=3.5
        )
        if psf.ring > 0.0:
            blurred -= psf.ring * ndimage.gaussian_filter(ball, wide / steps, mode="constant", truncate=3.5)
        picked = blurred[tuple(slice(f // 2, None, f) for f in fine)]
        volume = np.ascontiguousarray((measure.REFERENCE_HU - background_hu) * picked, dtype=np.float32)
        out[k] = _pool(volume, inner, spacing) * float(np.prod(spacing))
    return out


def check_excess(
    completeness: Completeness,
    blobness: Blobness,
    *,
    psf: Psf,
    spacing_zyx_mm: tuple[float, float, float],
    background_hu: float,
) -> ExcessCheck | None:
    """Estimate the total nodule volume from blob-like attenuation, and compare it with the corrected volume.

    Parameters
    ----------
    completeness : Completeness
        Corrected numbers; only the distribution of sizes is used for the estimate.
    blobness : Blobness
        From `measure_blobness`.
    psf : Psf
        Blur of the scan.
    spacing_zyx_mm : tuple of float
        Voxel spacing [mm].
    background_hu : float
        Attenuation of the lung [HU].

    Returns
    -------
    ExcessCheck or None
        None where nothing was corrected or there is no inner lung. The two volumes agree where their 95 %
        intervals overlap.
    """
    if not completeness.at_least or completeness.counts is None or blobness.litres <= 0.0:
        return None
    edges, counts = np.asarray(completeness.edges_mm), np.asarray(completeness.counts)
    middle = np.sqrt(edges[1:] * edges[:-1])
    per_ball_at = measure_ball_blobness(psf, spacing_zyx_mm, background_hu)
    per_ball = np.interp(middle, REFERENCE_MM, per_ball_at)
    above = middle >= completeness.at_least[0].diameter_mm
    predicted = SHARE_OF_BALL * float(np.sum((counts * per_ball)[above]))
    stated = completeness.at_least[0].total_volume_mm3
    if predicted <= 0.0:
        return None
    like_vessel = float(np.interp(VESSEL_MM, REFERENCE_MM, per_ball_at))
    side = 1.96 * np.array([0.0, 1.0, -1.0])
    vessels = VESSELS_PER_LITRE * like_vessel * blobness.litres * np.exp(VESSELS_LOG_SD * side)
    # Scaled from the inner lung to the whole, and to volume by the distribution of sizes.
    mm3 = stated.value / predicted / blobness.lung_share * np.exp(-SHARE_LOG_SD * side)
    value, low, high = np.maximum(blobness.total - vessels, 0.0) * mm3
    agrees = bool(low <= stated.high and high >= stated.low)
    return ExcessCheck(Estimate(float(value), float(low), float(high)), agrees)
