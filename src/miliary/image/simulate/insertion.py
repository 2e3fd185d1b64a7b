"""Simulated nodules put into a real scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from miliary.image.simulate.acquisition import blur_share
from miliary.image.simulate.nodule_population import Body, draw_body, paste, render_body
from miliary.model.scan import Scan

FloatArray = npt.NDArray[np.float64]


class GaussianBlur(Protocol):
    """Anything that tells the blur of a scan as one-sigma widths [mm]."""

    @property
    def sigma_xy_mm(self) -> float:
        """In-plane width [mm]."""

    @property
    def sigma_z_mm(self) -> float:
        """Width along z [mm]."""


def insert_nodules(
    scan: Scan,
    positions_lps_mm: npt.ArrayLike,
    diameters_mm: npt.ArrayLike,
    densities_hu: npt.ArrayLike,
    *,
    psf: GaussianBlur,
    lung_labels: npt.NDArray[np.uint8] | None = None,
    seed: int,
    shapes: Sequence[str] | None = None,
) -> Scan:
    """Put simulated nodules into a scan, which keeps its own noise.

    Each nodule adds its volume share, blurred by the PSF, times (density - local attenuation). The
    local attenuation is that of a robustly smoothed neighborhood where that is lung; inside tissue
    already denser it is the tissue's own, so that a nodule on a vessel does not add twice.

    Parameters
    ----------
    scan : Scan
        Not modified.
    positions_lps_mm : array-like, shape (n, 3)
        Centres in patient LPS (x, y, z) [mm].
    diameters_mm, densities_hu : array-like, shape (n,)
        Diameter of the equal-volume sphere [mm]; attenuation [HU].
    psf : GaussianBlur
        Widths of the scan's PSF, pixel and slice included.
    lung_labels : ndarray of uint8, optional
        Where given, nothing is added outside the lung.
    seed : int
        Feeds orientation and shape.
    shapes : sequence of str, optional
        ``sphere``, ``ellipsoid`` or ``lobulated`` per nodule; spheres by default.

    Returns
    -------
    Scan
        float32 voxels for float input, int16 for int16.
    """
    positions = np.asarray(positions_lps_mm, dtype=np.float64).reshape(-1, 3)
    diameters = np.broadcast_to(np.asarray(diameters_mm, dtype=np.float64), len(positions))
    densities = np.broadcast_to(np.asarray(densities_hu, dtype=np.float64), len(positions))
    step = np.asarray(scan.grid.spacing_zyx_mm)
    centers = scan.grid.index_from_lps(positions) * step
    voxels = scan.voxels_hu.astype(np.float32)
    for i, center in enumerate(centers):
        rng = np.random.default_rng([seed, 31, i])
        body = draw_body(
            center,
            float(diameters[i]),
            float(densities[i]),
            shape="sphere" if shapes is None else shapes[i],
            axis_ratio=1.4,
            rng=rng,
        )
        low, blurred = _blurred_share(body, step, psf)
        where, part = paste(voxels, low, blurred)
        if part.size == 0:
            continue
        if lung_labels is not None:
            part = part * (lung_labels[where] > 0)
        voxels[where] += _added(voxels[where], part, float(densities[i]))
    if scan.voxels_hu.dtype == np.int16:
        return replace(scan, voxels_hu=np.clip(np.rint(voxels), -32768, 32767).astype(np.int16))
    return replace(scan, voxels_hu=voxels)


def _blurred_share(
    body: Body, step_zyx_mm: FloatArray, psf: GaussianBlur
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Share of each voxel after the PSF, sampled at voxel centres from a finer rendering.

    Rendered on the voxels themselves, a nodule smaller than a voxel would snap to their centres.
    """
    sigma = np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm])
    fold = 2 * np.ceil(step_zyx_mm / 0.4 / 2 - 0.5).astype(np.int64) + 1
    fine = step_zyx_mm / fold
    margin = np.ceil(4.0 * sigma / fine).astype(int)
    low, share = render_body(
        body, np.zeros(3), fine, margin_voxels=(int(margin[0]), int(margin[1]), int(margin[2]))
    )
    spacing = (float(fine[0]), float(fine[1]), float(fine[2]))
    blurred = blur_share(share, spacing, psf.sigma_xy_mm, psf.sigma_z_mm)
    # Voxel centres are the fine voxels whose index is a multiple of the fold.
    first = -((-low) // fold)
    picked = blurred[
        tuple(slice(int(a), None, int(k)) for a, k in zip(first * fold - low, fold, strict=True))
    ]
    return first, picked * (body.volume_mm3 / float(np.prod(step_zyx_mm)) / picked.sum())


def _added(
    local_hu: npt.NDArray[np.float32], share: FloatArray, density_hu: float
) -> npt.NDArray[np.float32]:
    """Attenuation that a nodule of `density_hu` adds to voxels of which it fills `share`."""
    around = float(np.percentile(local_hu, 40))
    # Noise must neither be replaced nor scaled: only what clearly stands above lung counts as tissue.
    spread = 1.4826 * float(
        np.median(np.abs(local_hu[local_hu < around + 150] - around))
        if np.any(local_hu < around + 150)
        else 30.0
    )
    above = local_hu - around
    weight = np.clip((above - 3 * spread) / (2 * spread + 40.0), 0.0, 1.0)
    background = around + weight * above
    return np.asarray(share * np.clip(density_hu - background, 0.0, None), dtype=np.float32)
