"""Simulated spheres in a real lung, drawn by code of its own (not `miliary.image.simulate`).

The blur of each real scan is stated here and does not come from the estimate under test. A sphere is covered
on a lattice five or so times as fine as the scan, blurred in plane, integrated over the slice, and replaces
the lung it displaces: on a vessel, which is as dense as the sphere, it adds next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.spatial import cKDTree

from miliary.model.scan import Scan

FloatArray = npt.NDArray[np.float64]

FWHM_PER_SIGMA = 2.3548
FINE_MM = 0.2
BACKGROUND_SIGMA_MM = 0.9
ATTACHED_HU = -500.0
AERATED_HU = -500.0


@dataclass(frozen=True)
class Blur:
    """Assumed blur of a scan: in-plane Gaussian and box slice profile, as full widths [mm]."""

    fwhm_mm: float
    slice_mm: float


@dataclass(frozen=True)
class Inserted:
    """A scan with spheres in it, and their truth (with `attached` and `aerated`)."""

    scan: Scan
    truth: pd.DataFrame


def draw_centres(
    generator: np.random.Generator,
    labels: npt.NDArray[np.uint8],
    spacing_zyx_mm: tuple[float, float, float],
    radius_mm: FloatArray,
    *,
    gap_mm: float,
) -> FloatArray:
    """Uniform fractional indices (n, 3) inside the labels, surfaces at least `gap_mm` apart."""
    inside = np.flatnonzero(labels)
    spacing = np.asarray(spacing_zyx_mm)
    placed: list[FloatArray] = []
    tree, tree_size = None, 0
    for _ in range(400 * len(radius_mm)):
        if len(placed) == len(radius_mm):
            return np.array(placed)
        at = np.unravel_index(inside[generator.integers(len(inside))], labels.shape)
        index = np.array(at) + generator.uniform(-0.5, 0.5, 3)
        point, i = index * spacing, len(placed)
        # The tree is rebuilt now and then; what came after it is compared one by one.
        if i - tree_size > 100:
            tree, tree_size = cKDTree(np.array(placed) * spacing), i
        recent = np.array(placed[tree_size:]).reshape(-1, 3) * spacing
        near = tree.query_ball_point(point, 2 * radius_mm.max() + gap_mm) if tree is not None else []
        others = np.concatenate([np.array(placed).reshape(-1, 3)[near] * spacing, recent])
        reach = np.concatenate([radius_mm[near], radius_mm[tree_size:i]]) + radius_mm[i] + gap_mm
        if not (np.linalg.norm(others - point, axis=1) < reach).any():
            placed.append(index)
    raise ValueError(f"no room for {len(radius_mm)} spheres {gap_mm:g} mm apart; ask for fewer")


def render_sphere(
    index_zyx: FloatArray,
    radius_mm: float,
    spacing_zyx_mm: tuple[float, float, float],
    blur: Blur,
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Blurred occupancy of one sphere around its voxel.

    Returns
    -------
    first : ndarray, shape (3,)
        Index of the first voxel of the patch.
    occupancy : ndarray
        Share of each voxel's signal that comes from the sphere; sums to its volume in voxels.
    """
    spacing = np.asarray(spacing_zyx_mm)
    sigma = blur.fwhm_mm / FWHM_PER_SIGMA
    reach = np.array([blur.slice_mm / 2, 3.5 * sigma, 3.5 * sigma]) + radius_mm
    half = np.ceil(reach / spacing).astype(int) + 1
    nearest = np.rint(index_zyx).astype(np.int64)
    factor = np.maximum(np.ceil(spacing / FINE_MM).astype(int), 2)
    fine = spacing / factor
    axes = [
        np.arange(-h * f, h * f + 1) * step - (index - whole) * gap
        for h, f, step, gap, index, whole in zip(half, factor, fine, spacing, index_zyx, nearest, strict=True)
    ]
    distance = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
    cover = np.clip(0.5 - (distance - radius_mm) / fine.mean(), 0, 1)
    cover *= 4 / 3 * np.pi * radius_mm**3 / (cover.sum() * np.prod(fine))
    for axis in (1, 2):
        cover = gaussian_filter1d(cover, sigma / fine[axis], axis=axis, mode="constant", truncate=5)
        cover = np.take(cover, np.arange(0, cover.shape[axis], factor[axis]), axis=axis)
    offset = np.arange(-half[0] * factor[0], half[0] * factor[0] + 1) * fine[0]
    profile = np.clip((blur.slice_mm / 2 - np.abs(offset - offset[:: factor[0], None])) / fine[0] + 0.5, 0, 1)
    profile /= profile.sum(axis=1).max()
    return nearest - half, np.einsum("kf,fyx->kyx", profile, cover)


def insert_spheres(
    scan: Scan,
    labels: npt.NDArray[np.uint8],
    blur: Blur,
    *,
    seed: int,
    n: int = 1500,
    diameter_mm: tuple[float, float] = (1.5, 3.2),
    density_hu: tuple[float, float] = (20.0, 60.0),
    gap_mm: float = 6.0,
) -> Inserted:
    """Insert spheres anywhere inside the lung labels of a scan."""
    generator = np.random.default_rng(seed)
    diameter = generator.uniform(*diameter_mm, size=n)
    hu = generator.uniform(*density_hu, size=n)
    spacing = scan.grid.spacing_zyx_mm
    centres = draw_centres(generator, labels, spacing, diameter / 2, gap_mm=gap_mm)
    original = scan.voxels_hu
    voxels = original.astype(np.float32)
    is_attached, is_aerated = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for i, centre in enumerate(centres):
        first, occupancy = render_sphere(centre, diameter[i] / 2, spacing, blur)
        place, part = _overlap(first, occupancy.shape, original.shape)
        share = occupancy[part]
        background = _local_background(original[place], spacing)
        voxels[place] += (share * (hu[i] - background)).astype(np.float32)
        is_attached[i], is_aerated[i] = _surroundings(background, share, centre, place, spacing, diameter[i])
    lps = scan.grid.lps_from_index(centres)
    truth = pd.DataFrame(
        {
            "x_mm": lps[:, 0],
            "y_mm": lps[:, 1],
            "z_mm": lps[:, 2],
            "diameter_mm": diameter,
            "volume_mm3": np.pi / 6 * diameter**3,
            "kind": "nodule",
            "density_hu": hu,
            "shape": "sphere",
            "attached": is_attached,
            "aerated": is_aerated,
        }
    )
    if np.issubdtype(original.dtype, np.integer):
        voxels = np.rint(voxels)
    changed = Scan(
        voxels.astype(original.dtype), scan.grid, scan.acquisition, scan.warnings, scan.source_order
    )
    return Inserted(changed, truth)


def _overlap(
    first: npt.NDArray[np.int64], size: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a patch lies in the volume, and which part of the patch lies there."""
    low = np.maximum(first, 0)
    high = np.minimum(first + size, shape)
    place = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    return place, part


def _local_background(patch: npt.NDArray[np.generic], spacing: tuple[float, float, float]) -> FloatArray:
    """What the sphere displaces: the scan with most of its noise smoothed away, vessels kept."""
    sigma = [BACKGROUND_SIGMA_MM / step if step < 1.5 else 0.0 for step in spacing]
    return gaussian_filter(patch.astype(float), sigma, mode="nearest")


def _surroundings(
    background: FloatArray,
    share: FloatArray,
    centre: FloatArray,
    place: tuple[slice, ...],
    spacing: tuple[float, float, float],
    diameter_mm: float,
) -> tuple[bool, bool]:
    """Whether something dense touches the sphere, and whether it displaces aerated lung."""
    axes = [
        (np.arange(part.start, part.stop) - c) * step
        for part, c, step in zip(place, centre, spacing, strict=True)
    ]
    distance = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
    is_near = distance < diameter_mm / 2 + 1.0
    is_attached = bool((background[is_near] > ATTACHED_HU).any())
    return is_attached, bool((share * background).sum() / share.sum() < AERATED_HU)
