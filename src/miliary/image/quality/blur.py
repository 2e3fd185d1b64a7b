"""Blur of a scan: in plane from the edge between skin and air, along z from the slice thickness."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.model.ct_result import Psf
from miliary.model.scan import Scan

DEFAULT_FWHM_XY_MM = 1.3
FWHM_LIMITS_MM = (0.5, 3.5)
PROFILE_HALF = 7
MIN_EDGES = 60
SIGMA_PER_FWHM = 1.0 / 2.3548


@nb.njit(cache=True)
def _edge_widths(voxels, rows, half, out):  # type: ignore[no-untyped-def]
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
    n = _edge_widths(scan.voxels_hu, rows, PROFILE_HALF, widths)
    source = "assumed"
    fwhm = DEFAULT_FWHM_XY_MM
    if n >= MIN_EDGES:
        # Skin is not a perfect step: the sharper half of the edges stands for the scanner.
        fwhm = float(np.sqrt(np.quantile(widths[:n], 0.3))) * sx / SIGMA_PER_FWHM
        source = "edge"
    fwhm = float(np.clip(fwhm, max(FWHM_LIMITS_MM[0], 1.1 * sx), FWHM_LIMITS_MM[1]))
    return Psf(fwhm * SIGMA_PER_FWHM, _sigma_z(scan, sz), source)


def _sigma_z(scan: Scan, step_mm: float) -> float:
    """Width of the slice profile: a box of the nominal thickness, softened by the helix."""
    thickness = scan.acquisition.slice_thickness_mm or step_mm
    thickness = max(float(thickness), 0.4)
    return float(thickness * 0.36)


def profile_fwhm_mm(psf: Psf) -> npt.NDArray[np.float64]:
    """Full widths at half maximum (z, y, x) [mm] of a Gaussian PSF."""
    return np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm]) / SIGMA_PER_FWHM
