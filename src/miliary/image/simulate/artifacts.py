"""Artifacts of a simulated scan: motion, streaks, coarse noise, and a kernel that enhances edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from miliary.image.simulate.acquisition import ScanProtocol
from miliary.image.simulate.other_findings import OtherFindings

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

BODY_ABOVE_HU = -300.0


def blur_motion(slices_hu: Float32Array, protocol: ScanProtocol, severity: float, *, seed: int) -> None:
    """Double the contours on some slices: the body was seen at two places while they were measured.

    Parameters
    ----------
    slices_hu : ndarray of float32, shape (z, y, x)
        Attenuation before blur and noise [HU], changed in place.
    protocol : ScanProtocol
        Grid of the scan.
    severity : float
        0 to 1: 1 to 6 mm, on a fifth to all of the slices.
    seed : int
        Seed of place and direction.
    """
    rng = np.random.default_rng([seed, 60])
    n = len(slices_hu)
    hz, hy, hx = protocol.spacing_zyx_mm
    z = np.arange(n) * hz
    amount = np.zeros(n)
    for _ in range(2 + round(3 * severity)):
        width = rng.uniform(8, 15 + 45 * severity)
        amount += rng.uniform(1, 5) * severity * np.exp(-0.5 * ((z - rng.uniform(0, z[-1] + 1)) / width) ** 2)
    angle = rng.uniform(0, np.pi)
    # Beside the heart more than elsewhere, as a bump that moves.
    near = ndimage.gaussian_filter(rng.standard_normal((4, 4)), 0.6)
    near = np.clip(
        ndimage.zoom(near / near.std(), (slices_hu.shape[1] / 4, slices_hu.shape[2] / 4), order=1), 0, 1.5
    )
    far = np.clip(1.0 - near, 0.0, 1.0).astype(np.float32)
    for i in np.flatnonzero(amount > 0.4):
        shift = 0.5 * amount[i] * np.array([np.sin(angle) / hy, np.cos(angle) / hx])
        one, two = (ndimage.shift(slices_hu[i], s * shift, order=1, mode="nearest") for s in (-1, 1))
        moved = 0.5 * (one + two)
        slices_hu[i] = far * slices_hu[i] + (1 - far) * moved if i % 2 else moved


def add_artifacts(
    image_hu: Float32Array,
    protocol: ScanProtocol,
    other: OtherFindings,
    *,
    metal_zyx: FloatArray,
    seed: int,
) -> None:
    """Add coarse noise, streaks and the enhancement of edges to a scan.

    Parameters
    ----------
    image_hu : ndarray of float32, shape (z, y, x)
        Attenuation after blur and noise [HU], changed in place.
    protocol : ScanProtocol
        Grid of the scan.
    other : OtherFindings
        Severities.
    metal_zyx : ndarray, shape (n, 3)
        Voxel index of pieces of metal.
    seed : int
        Seed of the noise.
    """
    rng = np.random.default_rng([seed, 61])
    if other.low_dose > 0:
        _add_noise(image_hu, protocol, 15.0 + 60.0 * other.low_dose, rng)
    if other.streaks > 0:
        _add_shoulder_streaks(image_hu, protocol, other.streaks * (1.8 if other.arms_down else 1.0), rng)
        if len(metal_zyx):
            _add_metal_streaks(image_hu, protocol, other.streaks, metal_zyx, rng)
    if other.sharp_kernel > 0:
        sigma = rng.uniform(0.6, 1.0)
        gain = np.float32(0.4 + 1.6 * other.sharp_kernel)
        smooth = [sigma / h for h in protocol.spacing_zyx_mm[1:]]
        for k, plane in enumerate(image_hu):
            image_hu[k] += gain * (plane - ndimage.gaussian_filter(plane, smooth))


def _body_factor(plane: Float32Array) -> Float32Array:
    """More noise where more tissue is passed: 0.6 at the rim of the body to 1.4 in its middle."""
    small = ndimage.gaussian_filter((plane[::8, ::8] > BODY_ABOVE_HU).astype(np.float32), 8)
    big = np.repeat(np.repeat(small, 8, axis=0), 8, axis=1)[: plane.shape[0], : plane.shape[1]]
    return np.asarray(0.6 + 0.8 * big / max(float(big.max()), 1e-3), dtype=np.float32)


def _grain(
    shape: tuple[int, int], spacing: tuple[float, float], coarse_mm: float, along_mm: float
) -> FloatArray:
    """Amplitude of noise by frequency: a ramp under a Gaussian; `along_mm` draws it out along x."""
    fy = fft.fftfreq(shape[0], spacing[0])[:, None]
    fx = fft.rfftfreq(shape[1], spacing[1])[None]
    f = np.hypot(fy, fx)
    return np.asarray(np.sqrt(f + 0.03) * np.exp(-((2 * f * coarse_mm) ** 2) - (fx * along_mm) ** 2))


def _add_noise(image: Float32Array, protocol: ScanProtocol, sd_hu: float, rng: np.random.Generator) -> None:
    shape = (image.shape[1], image.shape[2])
    spacing = protocol.spacing_zyx_mm[1:]
    plain = _grain(shape, spacing, float(rng.uniform(0.5, 1.1)), 0.0)
    streaky = _grain(shape, spacing, 0.7, float(rng.uniform(3, 8)))
    share = float(rng.uniform(0.1, 0.5))
    last = np.zeros(shape, np.float32)
    # Neighboring slices share some of their projections.
    carry = np.float32(np.exp(-protocol.spacing_zyx_mm[0] / max(protocol.slice_thickness_mm, 0.3)))
    for k, plane in enumerate(image):
        white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
        one, two = (fft.irfft2(white * a, s=shape) for a in (plain, streaky))
        fresh = (one / one.std() + share * two / two.std()).astype(np.float32)
        last = carry * last + np.sqrt(1 - carry**2) * fresh
        image[k] += np.float32(sd_hu) * last * _body_factor(plane)


def _add_shoulder_streaks(
    image: Float32Array, protocol: ScanProtocol, severity: float, rng: np.random.Generator
) -> None:
    shape = (image.shape[1], image.shape[2])
    grain = _grain(shape, protocol.spacing_zyx_mm[1:], 0.5, float(rng.uniform(10, 25)))
    top = np.linspace(0, 1, len(image))
    for k, height in enumerate(np.clip((top - 0.55) / 0.35, 0, 1)):
        if height <= 0:
            continue
        noise = fft.irfft2(fft.rfft2(rng.standard_normal(shape, dtype=np.float32)) * grain, s=shape)
        image[k] += np.float32(110.0 * severity * height) * (noise / noise.std()).astype(np.float32)


def _add_metal_streaks(
    image: Float32Array,
    protocol: ScanProtocol,
    severity: float,
    metal_zyx: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Bright and dark rays from metal on its slice."""
    y, x = np.arange(image.shape[1])[:, None], np.arange(image.shape[2])[None, :]
    phase = rng.uniform(0, 2 * np.pi, 6)
    for slice_ in range(len(image)):
        here = metal_zyx[np.abs(metal_zyx[:, 0] - slice_) <= 0.5]
        for center in here[:: max(1, len(here) // 3)]:
            away = np.hypot(
                (y - center[1]) * protocol.spacing_zyx_mm[1], (x - center[2]) * protocol.spacing_zyx_mm[2]
            )
            angle = np.arctan2(y - center[1], x - center[2])
            rays = sum(np.sin((5 + 4 * k) * angle + phase[k]) for k in range(6))
            image[slice_] += (90 * severity * np.asarray(rays) / 2 / (1 + away / 25.0)).astype(np.float32)
