"""Blur of a scan: in plane from the edge between skin and air, along z from the slice thickness."""

from __future__ import annotations

import math
from dataclasses import replace

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.body import find_field
from miliary.model.ct_result import Psf
from miliary.model.scan import Scan, ScanWarning

DEFAULT_FWHM_XY_MM = 1.3
FWHM_LIMITS_MM = (0.5, 3.5)
PROFILE_HALF = 7
MIN_EDGES = 60
SIGMA_PER_FWHM = 1.0 / 2.3548
# Standard deviation of a box, per its width: of all slice profiles with a given width at half maximum that do
# not rise away from their middle, the rectangle of that width has the smallest one.
SIGMA_PER_BOX = 1.0 / math.sqrt(12.0)
# An estimate is noisy: this share below a limit it is put on the limit without a word.
LIMIT_SLACK = 0.15
# No whole-body scanner resolves more in plane than a point spread of this width at half maximum [mm].
LEAST_FWHM_XY_MM = 0.3


@nb.njit(cache=True)
def _edge_widths(voxels, field, rows, half, out):  # type: ignore[no-untyped-def]
    """Width [pixels] of clean steps from air to tissue along x, nearly normal to the row.

    A step blurred by a Gaussian has steepest slope A / (sigma sqrt(2 pi)); the second moment of the
    slope is used instead, since it does not depend on where the pixels fall.
    """
    n = 0
    nx = voxels.shape[2]
    for m in range(rows.shape[0]):
        z, y = rows[m, 0], rows[m, 1]
        for direction in (1, -1):
            start = half if direction == 1 else nx - 1 - half
            x = start
            # Walk in from the side to the first tissue.
            while half <= x < nx - half and voxels[z, y, x] < -500:
                x += direction
            if not half <= x < nx - half:
                continue
            # What begins at the edge of a round field of view is cut, not blurred.
            if not field[y, x - direction * 3]:
                continue
            low = 0.0
            high = 0.0
            for i in range(3):
                low += voxels[z, y, x - direction * (half - i)] / 3.0
                high += voxels[z, y, x + direction * (half - i)] / 3.0
            amplitude = high - low
            if low > -900 or amplitude < 750 or high > 250:
                continue
            # Rows above and below must cross at the same place: the edge is normal to the row.
            shift = 0.0
            for dy in (-2, 2):
                v = voxels[z, y + dy, x] - voxels[z, y, x]
                shift = max(shift, abs(v) / amplitude)
            if shift > 0.12:
                continue
            m0 = 0.0
            m1 = 0.0
            for i in range(-half + 1, half):
                d = (voxels[z, y, x + direction * (i + 1)] - voxels[z, y, x + direction * i]) / amplitude
                m0 += d
                m1 += d * (i + 0.5)
            if not 0.8 < m0 < 1.2:
                continue
            mean = m1 / m0
            m2 = 0.0
            worst = 0.0
            for i in range(-half + 1, half):
                d = (voxels[z, y, x + direction * (i + 1)] - voxels[z, y, x + direction * i]) / amplitude
                if abs(i + 0.5 - mean) <= 4.0:
                    m2 += d * (i + 0.5 - mean) ** 2
                elif abs(d) > worst:
                    worst = abs(d)
            if m2 <= 0.05 or worst > 0.12 or n >= out.shape[0]:
                continue
            out[n] = m2
            n += 1
    return n


def estimate_psf(scan: Scan) -> Psf:
    """Gaussian width of the blur in plane and along z, the voxel's own box included.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    Psf
        `source` says `edge` when enough clean skin edges were found, else `assumed`
        (a standard kernel). Along z a slice profile of the nominal thickness is taken,
        or of the slice distance where the files do not say.
    """
    sz, _, sx = scan.grid.spacing_zyx_mm
    nz, ny, _ = scan.grid.shape_zyx
    rng = np.random.default_rng(0)
    rows = np.stack(
        [rng.integers(nz // 8, max(nz // 8 + 1, nz - nz // 8), 12000), rng.integers(3, ny - 3, 12000)], axis=1
    )
    widths = np.empty(8000)
    field = find_field(scan)
    field = np.ones(scan.grid.shape_zyx[1:], dtype=bool) if field is None else field
    n = _edge_widths(scan.voxels_hu, field, rows, PROFILE_HALF, widths)
    source = "assumed"
    fwhm = DEFAULT_FWHM_XY_MM
    if n >= MIN_EDGES:
        # Skin is not a perfect step: the sharper half of the edges stands for the scanner.
        fwhm = float(np.sqrt(np.quantile(widths[:n], 0.3))) * sx / SIGMA_PER_FWHM
        source = "edge"
    limited = float(np.clip(fwhm, max(FWHM_LIMITS_MM[0], 1.1 * sx), FWHM_LIMITS_MM[1]))
    is_far = abs(limited - fwhm) > LIMIT_SLACK * limited
    return Psf(
        limited * SIGMA_PER_FWHM,
        _sigma_z(scan, sz),
        source,
        least_sigma_z_mm=(scan.acquisition.slice_thickness_mm or 0.0) * SIGMA_PER_BOX,
        at_limit=("xy",) if source == "edge" and is_far else (),
        edge_pixels=fwhm / sx if source == "edge" else None,
    )


def _sigma_z(scan: Scan, step_mm: float) -> float:
    """Width of the slice profile: a box of the nominal thickness, softened by the helix."""
    thickness = scan.acquisition.slice_thickness_mm or step_mm
    thickness = max(float(thickness), 0.4)
    return float(thickness * 0.36)


def limit_slice(psf: Psf) -> Psf:
    """A blur whose width along z is not below what its slice allows.

    Parameters
    ----------
    psf : Psf

    Returns
    -------
    Psf
        With `z` among `at_limit` where the width had to be raised by more than the noise of the estimate.
    """
    least = psf.least_sigma_z_mm
    limits = tuple(name for name in psf.at_limit if name != "z")
    if psf.sigma_z_mm >= least:
        return replace(psf, at_limit=limits)
    is_far = psf.sigma_z_mm < (1.0 - LIMIT_SLACK) * least
    return replace(psf, sigma_z_mm=least, at_limit=(*limits, "z") if is_far else limits)


def limit_in_plane(psf: Psf, *, pixel_mm: float, max_ring: float) -> Psf:
    """A blur in plane that a scanner can have: not below the pixel's own box, the ring within its range.

    Parameters
    ----------
    psf : Psf
        As the nodules tell it.
    pixel_mm : float
        Side of a pixel.
    max_ring : float
        The largest ring that is looked for.

    Returns
    -------
    Psf
        With `xy` or `ring` among `at_limit` where they lie at their limits.
    """
    least = max(pixel_mm * SIGMA_PER_BOX, LEAST_FWHM_XY_MM * SIGMA_PER_FWHM)
    limits = [name for name in psf.at_limit if name == "z"]
    if psf.sigma_xy_mm <= least:
        limits.append("xy")
    if psf.ring >= max_ring - 1e-9:
        limits.append("ring")
    return replace(psf, sigma_xy_mm=max(least, psf.sigma_xy_mm), at_limit=tuple(limits))


def warn_blur(psf: Psf) -> tuple[ScanWarning, ...]:
    """What is doubtful about the blur.

    Parameters
    ----------
    psf : Psf

    Returns
    -------
    tuple of ScanWarning
        `blur_at_limit` where an estimate lies at a limit, or the marks contradict every blur.
    """
    why = {
        "z": f"along z it came out below what the slice thickness allows and was set to "
        f"{psf.sigma_z_mm / SIGMA_PER_FWHM:.2f} mm",
        "xy": f"in plane it lies at its limit of {psf.sigma_xy_mm / SIGMA_PER_FWHM:.2f} mm",
        "ring": f"the ring of the kernel lies at its limit of {psf.ring:.1f}",
    }
    reasons = [why[name] for name in psf.at_limit]
    if psf.source == "unclear":
        reasons.append("what is marked is wider than any scanner blurs")
    if not reasons:
        return ()
    return (
        ScanWarning(
            "blur_at_limit",
            f"The blur (width at half maximum) is doubtful: {'; '.join(reasons)}. Marks that contradict the "
            "scanner are mostly no nodules; sizes, counts and corrected numbers hold no better than it does.",
        ),
    )


def profile_fwhm_mm(psf: Psf) -> npt.NDArray[np.float64]:
    """Full widths at half maximum (z, y, x) [mm] of a Gaussian PSF."""
    return np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm]) / SIGMA_PER_FWHM
