"""Blurred balls, rendered slowly: dense samples of a ball, blurred on the dense grid, read at the voxels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from miliary.image.anatomy.lung_box import LungBox

LUNG_HU = -850.0
NODULE_HU = 40.0


def render_balls(shape, spacing, centers_mm, diameters_mm, *, sigma_mm, background_hu=LUNG_HU, dense=5):
    """Volume of balls of 40 HU; the blur is Gaussian, `sigma_mm` per axis, and includes the voxel."""
    spacing = np.asarray(spacing, dtype=float)
    sigma = np.broadcast_to(np.asarray(sigma_mm, dtype=float), 3)
    volume = np.full(shape, background_hu, dtype=np.float64)
    step = spacing / dense
    for center, diameter in zip(centers_mm, diameters_mm, strict=True):
        reach = 0.5 * diameter + 4.5 * sigma
        low = np.maximum(0, np.floor((center - reach) / spacing)).astype(int)
        high = np.minimum(np.asarray(shape), np.ceil((center + reach) / spacing).astype(int) + 1)
        n = (high - low - 1) * dense + 1
        z, y, x = (low[a] * spacing[a] + np.arange(n[a]) * step[a] - center[a] for a in range(3))
        inside = (
            z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 < 0.25 * diameter**2
        ).astype(float)
        # Counting dense samples is off by a few per cent for the smallest balls; the mass is made exact.
        inside *= np.pi / 6 * diameter**3 / (inside.sum() * np.prod(step))
        blurred = ndimage.gaussian_filter(inside, sigma / step, mode="constant", truncate=6)
        view = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        volume[view] += (NODULE_HU - background_hu) * blurred[::dense, ::dense, ::dense]
    return volume


def make_box(volume, spacing):
    """A box that is lung throughout."""
    labels = np.ones(volume.shape, dtype=np.uint8)
    return LungBox(np.ascontiguousarray(volume, dtype=np.float32), labels, (0, 0, 0), tuple(spacing))


def lattice_mm(counts, pitch_mm, *, seed, jitter_mm=0.4):
    """Centres on a lattice, moved at random so that they fall anywhere within a voxel."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), -1).reshape(-1, 3)
    centers = (grid + 0.5) * pitch_mm
    return centers + np.random.default_rng(seed).uniform(-jitter_mm, jitter_mm, centers.shape)
