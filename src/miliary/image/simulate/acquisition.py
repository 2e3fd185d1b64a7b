"""Simulate the scanner: in-plane transfer function, slice profile, reconstruction kernel and noise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

FWHM_PER_SIGMA = 2.354820045
_BOOST_FREQUENCY_PER_FWHM = 0.55


@dataclass(frozen=True)
class ScanProtocol:
    """Settings of a simulated scan.

    Parameters
    ----------
    shape_zyx : tuple of int
        Number of voxels along each axis.
    spacing_zyx_mm : tuple of float
        Distance of voxel centers along each axis [mm].
    psf_fwhm_mm : float
        In-plane full width at half maximum of the whole system, pixel included [mm].
    psf_tail : float
        Share of the PSF in a second Gaussian 2.5 times as wide, 0 to 1; 0 for a Gaussian.
    slice_thickness_mm : float
        Full width at half maximum of the slice profile [mm]; may exceed the slice distance.
    slice_profile : str
        ``box`` or ``triangle``.
    edge_overshoot : float
        Overshoot of a sharp kernel at an edge, as a share of the step, 0 to 0.3.
    noise_sd_hu : float
        Standard deviation of the noise in the lung [HU].
    noise_correlation_mm : float
        Correlation length of the in-plane noise [mm], 0 for white noise. The power spectrum is that of
        filtered back projection, a ramp times a Gaussian; it peaks at 0.11 / length.
    clip_low_hu : float or None
        Lowest attenuation; values below are raised to it [HU]. None leaves them.
    center_lps_mm : tuple of float or None
        Center (x, y, z) of the field of view in the body frame [mm]; the center of the lungs by default.
    """

    shape_zyx: tuple[int, int, int] = (350, 512, 512)
    spacing_zyx_mm: tuple[float, float, float] = (1.0, 0.7, 0.7)
    psf_fwhm_mm: float = 1.4
    psf_tail: float = 0.0
    slice_thickness_mm: float = 1.0
    slice_profile: str = "box"
    edge_overshoot: float = 0.0
    noise_sd_hu: float = 20.0
    noise_correlation_mm: float = 0.35
    clip_low_hu: float | None = -1024.0
    center_lps_mm: tuple[float, float, float] | None = None

    @property
    def n_sub_slices(self) -> int:
        """Number of slices rendered per slice of the scan, so that the slice profile is resolved."""
        limit = min(1.0, self.slice_thickness_mm)
        return max(1, int(np.ceil(self.spacing_zyx_mm[0] / limit - 0.26)))

    @property
    def sigma_xy_mm(self) -> float:
        """In-plane standard deviation of the central part of the PSF [mm]."""
        return self.psf_fwhm_mm / FWHM_PER_SIGMA

    @property
    def sigma_z_mm(self) -> float:
        """Standard deviation of the slice profile [mm]."""
        return float(self.slice_thickness_mm / (12.0 if self.slice_profile == "box" else 6.0) ** 0.5)


def _transfer(f: FloatArray, sigma_mm: float, tail: float, boost: float, fwhm_mm: float) -> FloatArray:
    """Modulation transfer at frequency f [1/mm]; 1 at zero frequency."""
    core = np.exp(-2 * (np.pi * f * sigma_mm) ** 2)
    if tail > 0:
        core = (1 - tail) * core + tail * np.exp(-2 * (np.pi * f * 2.5 * sigma_mm) ** 2)
    u = (f * fwhm_mm / _BOOST_FREQUENCY_PER_FWHM) ** 2
    return np.asarray(core * (1 + boost * u * np.exp(1 - u)))


def boost_for_overshoot(overshoot: float, *, fwhm_mm: float) -> float:
    """Boost of the transfer function that makes an edge overshoot, by bisection.

    Parameters
    ----------
    overshoot : float
        Overshoot as a share of the step; 0 or less gives no boost.
    fwhm_mm : float
        In-plane full width at half maximum of the PSF [mm].

    Returns
    -------
    float
        Relative increase of the transfer function at its maximum.
    """
    if overshoot <= 0:
        return 0.0
    n, h = 1024, fwhm_mm / 12
    f = np.abs(np.fft.fftfreq(n, h))
    step = np.where(np.arange(n) < n // 2, 1.0, 0.0)
    spectrum = np.fft.fft(step)

    def reached(boost: float) -> float:
        edge = np.fft.ifft(spectrum * _transfer(f, fwhm_mm / FWHM_PER_SIGMA, 0.0, boost, fwhm_mm)).real
        return float(edge.max() - 1)

    low, high = 0.0, 8.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reached(middle) < overshoot else (low, middle)
    return 0.5 * (low + high)


def slice_weights(thickness_mm: float, step_mm: float, *, profile: str, done: float = 1 / 12) -> FloatArray:
    """Weights of rendered slices that together have the variance of a slice profile.

    Parameters
    ----------
    thickness_mm : float
        Full width at half maximum of the profile [mm].
    step_mm : float
        Distance of the rendered slices [mm].
    profile : str
        ``box`` or ``triangle``.
    done : float
        Variance that rendering already has [squared steps].

    Returns
    -------
    ndarray of float64, odd length
        Symmetric weights that sum to one.
    """
    wanted = thickness_mm**2 / (12.0 if profile == "box" else 6.0) / step_mm**2 - done

    def weights(length: float) -> FloatArray:
        half = int(np.ceil(length / 2 + 0.5))
        k = np.arange(-half, half + 1)
        w = np.clip(np.minimum(k + 0.5, length / 2) - np.maximum(k - 0.5, -length / 2), 0, None)
        w = w / w.sum()
        return np.convolve(w, w) if profile == "triangle" else w

    if wanted <= 1e-6:
        return np.ones(1)
    low, high = 1e-6, 200.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        w = weights(middle)
        k = np.arange(len(w)) - len(w) // 2
        low, high = (middle, high) if float(w @ k**2) < wanted else (low, middle)
    return weights(0.5 * (low + high))


def _frequency(shape_yx: tuple[int, int], spacing_yx: tuple[float, float]) -> FloatArray:
    fy = np.fft.fftfreq(shape_yx[0], spacing_yx[0])[:, None]
    fx = np.fft.rfftfreq(shape_yx[1], spacing_yx[1])[None, :]
    return np.asarray(np.hypot(fy, fx))


def _noise_amplitude(frequency: FloatArray, correlation_mm: float) -> FloatArray:
    """Amplitude spectrum of the noise, up to a factor."""
    if correlation_mm <= 0:
        return np.ones_like(frequency)
    power = (frequency + 0.02 / correlation_mm) * np.exp(-((2 * np.pi * frequency * correlation_mm) ** 2))
    return np.asarray(np.sqrt(power))


def average_slices(fine: Float32Array, protocol: ScanProtocol) -> Float32Array:
    """Apply the slice profile to finely rendered slices and keep one in `n_sub_slices`.

    Parameters
    ----------
    fine : ndarray of float32, shape (z * n_sub_slices, y, x)
        Rendered attenuation [HU].
    protocol : ScanProtocol
        Shape, spacing and slice profile of the scan.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        Attenuation [HU].
    """
    n = protocol.n_sub_slices
    step = protocol.spacing_zyx_mm[0] / n
    # Variance of the voxel itself, and of the mean of the two central sub-slices where their number is even.
    done = 1 / 12 + (0.25 if n % 2 == 0 else 0.0)
    w = slice_weights(protocol.slice_thickness_mm, step, profile=protocol.slice_profile, done=done)
    half = len(w) // 2
    out = np.empty(protocol.shape_zyx, np.float32)
    offset = (n - 1) / 2
    for i in range(protocol.shape_zyx[0]):
        # With an even number of sub-slices the centre falls between two of them.
        low = int(np.floor(i * n + offset))
        frac = i * n + offset - low
        row = np.zeros_like(out[i])
        for k, weight in enumerate(w):
            at = low + k - half
            row += np.float32(weight * (1 - frac)) * fine[min(max(at, 0), len(fine) - 1)]
            if frac:
                row += np.float32(weight * frac) * fine[min(max(at + 1, 0), len(fine) - 1)]
        out[i] = row
    return out


def acquire(
    slices_hu: Float32Array, protocol: ScanProtocol, *, seed: int, n_threads: int = 2
) -> Float32Array:
    """Blur in plane and add noise.

    Parameters
    ----------
    slices_hu : ndarray of float32, shape (z, y, x)
        Attenuation after the slice profile [HU]; not modified.
    protocol : ScanProtocol
        PSF and noise.
    seed : int
        Seed of the noise.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
    """
    nz, ny, nx = slices_hu.shape
    hy, hx = protocol.spacing_zyx_mm[1:]
    pad = int(np.ceil(3 * protocol.psf_fwhm_mm / min(hy, hx)))
    size = (fft.next_fast_len(ny + pad, real=True), fft.next_fast_len(nx + pad, real=True))
    f = _frequency(size, (hy, hx))
    # The pixel has already averaged over its own width.
    sigma = np.sqrt(max(protocol.sigma_xy_mm**2 - (hy * hy + hx * hx) / 24, 1e-4))
    boost = boost_for_overshoot(protocol.edge_overshoot, fwhm_mm=protocol.psf_fwhm_mm)
    transfer = _transfer(f, float(sigma), protocol.psf_tail, boost, protocol.psf_fwhm_mm).astype(np.float32)
    grain = _noise_amplitude(f, protocol.noise_correlation_mm).astype(np.float32)
    full = np.concatenate([grain[:, :1] ** 2, 2 * grain[:, 1:] ** 2], axis=1).sum()
    grain /= np.sqrt(full / (size[0] * size[1]))
    noise_z = slice_weights(protocol.slice_thickness_mm, protocol.spacing_zyx_mm[0], profile="box")
    noise_z = noise_z / np.sqrt(np.sum(noise_z**2))
    half = len(noise_z) // 2
    out = np.empty_like(slices_hu)

    def white(i: int) -> Float32Array:
        rng = np.random.default_rng([seed, 11, i + 100])
        return rng.standard_normal(size, dtype=np.float32)

    def work(first: int, last: int) -> None:
        drawn: dict[int, Float32Array] = {}
        for i in range(first, last):
            image = np.full(size, -1000.0, np.float32)
            image[:ny, :nx] = slices_hu[i]
            spectrum = fft.rfft2(image) * transfer
            if protocol.noise_sd_hu > 0:
                for k in range(i - half, i + half + 1):
                    if k not in drawn:
                        drawn[k] = white(k)
                drawn.pop(i - half - 1, None)
                mixed = sum(
                    np.float32(noise_z[k - i + half]) * drawn[k] for k in range(i - half, i + half + 1)
                )
                spectrum += fft.rfft2(mixed) * (grain * np.float32(protocol.noise_sd_hu))
            out[i] = fft.irfft2(spectrum, s=size)[:ny, :nx]

    edges = np.linspace(0, nz, n_threads + 1).astype(int)
    with ThreadPoolExecutor(n_threads) as pool:
        for job in [pool.submit(work, int(a), int(b)) for a, b in pairwise(edges)]:
            job.result()
    return out


def blur_share(
    share: FloatArray, spacing_zyx_mm: tuple[float, float, float], sigma_xy_mm: float, sigma_z_mm: float
) -> FloatArray:
    """Gaussian blur of a small rendered volume, reduced by the blur that the voxels themselves cause.

    Parameters
    ----------
    share : ndarray, shape (z, y, x)
        Rendered share of each voxel, 0 to 1.
    spacing_zyx_mm : tuple of float
        Voxel spacing [mm].
    sigma_xy_mm, sigma_z_mm : float
        Standard deviation of the total blur in plane and along z [mm].

    Returns
    -------
    ndarray of float64, shape (z, y, x)
    """
    h = np.asarray(spacing_zyx_mm)
    wanted = np.array([sigma_z_mm, sigma_xy_mm, sigma_xy_mm])
    sigma = np.sqrt(np.maximum(wanted**2 - h * h / 12, 0.0)) / h
    return np.asarray(ndimage.gaussian_filter(share, sigma, mode="constant", truncate=4.0))
