"""Find candidates: maxima of the negative Laplacian of Gaussian over four scales, inside the lungs.

The search is meant to miss no nodule and therefore lists tens of thousands of candidates, most of them points
of vessels; `judge` gives each its probability.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.kernels.scales import search_scales

F32 = npt.NDArray[np.float32]

SCALES_MM = (0.5, 0.75, 1.1, 1.6)
# Response [HU] of the weakest candidate: a floor, and a multiple of the response's own standard deviation.
FLOOR_HU = 12.0
FLOOR_SIGMAS = 2.0
# Maxima closer than this belong to one candidate.
MERGE_MM = 1.0
# A maximum may lie this far outside the labels: that of a nodule on the pleura does.
MASK_MARGIN_MM = 1.5
# Candidates are ordered by cubes of this many voxels a side, so that neighbors share the processor's cache.
BLOCK = 16


@dataclass(frozen=True)
class Candidates:
    """Positions that may be nodules, n of them, ordered by blocks of the lungs.

    Parameters
    ----------
    index_zyx : ndarray of float64, shape (n, 3)
        Position as a fractional index of the lung box.
    scale : ndarray of int64, shape (n,)
        Number, in `SCALES_MM`, of the scale with the strongest response.
    responses_hu : ndarray of float32, shape (n, scales)
        Scale-normalized response at the candidate's voxel [HU].
    response_sd_hu : ndarray of float64, shape (scales,)
        Robust standard deviation of the response in the lung [HU].
    """

    index_zyx: npt.NDArray[np.float64]
    scale: npt.NDArray[np.int64]
    responses_hu: F32
    response_sd_hu: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index_zyx)

    def select(self, rows: npt.NDArray[np.int64]) -> Candidates:
        """The candidates of the given rows, shape (m,), in that order."""
        return replace(
            self, index_zyx=self.index_zyx[rows], scale=self.scale[rows], responses_hu=self.responses_hu[rows]
        )


def smooth_finest(box: LungBox) -> F32:
    """Smooth a lung box by the Gaussian of the finest scale, `SCALES_MM[0]`.

    Parameters
    ----------
    box : LungBox
        The lungs; not modified.

    Returns
    -------
    ndarray of float32, shape (z, y, x) of the box
        Smoothed attenuation [HU].
    """
    sz, sy, sx = (SCALES_MM[0] / s for s in box.spacing_zyx_mm)
    return loops.filter_gaussian(box.voxels_hu, (sz, sy, sx))


def find_candidates(
    box: LungBox, smooth_hu: F32, *, response_sd_hu: npt.NDArray[np.float64] | None = None
) -> Candidates:
    """Find maxima of the scale-normalized negative Laplacian of Gaussian in and just around the lungs.

    Parameters
    ----------
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `smooth_finest`.
    response_sd_hu : ndarray, shape (scales,), optional
        Robust standard deviation of the response in the lung [HU], where it is known from a larger part of
        the scan; measured on the box when not given.

    Returns
    -------
    Candidates
        No rows where there are none.
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    # Without a known standard deviation the final floor is known only after the search.
    least = np.full(len(SCALES_MM), FLOOR_HU) if response_sd_hu is None else _floors(response_sd_hu)
    maxima, sampled = search_scales(
        smooth_hu, box.labels, spacing, scales_mm=SCALES_MM, reach=_reach(spacing), floors=least
    )
    sd = 1.4826 * np.median(np.abs(sampled), axis=0) if response_sd_hu is None else response_sd_hu
    strong = maxima.value > _floors(sd).astype(np.float32)[maxima.scale]
    index, scale = maxima.index[strong], maxima.scale[strong]
    keep = _merge(index, maxima.value[strong] / sd[scale], box, spacing)
    rows = np.flatnonzero(strong)[keep]
    voxel = np.stack(np.unravel_index(maxima.index[rows], box.voxels_hu.shape), axis=1)
    order = np.lexsort((voxel // BLOCK).T[::-1])
    rows, voxel = rows[order], voxel[order]
    position = voxel.astype(np.float64) + maxima.shift[rows]
    return Candidates(position, maxima.scale[rows], maxima.responses[rows], sd)


def _floors(response_sd_hu: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(FLOOR_HU, FLOOR_SIGMAS * response_sd_hu)


def _reach(spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Voxels (z, y, x) that a maximum may lie outside the labels; 0 across thick slices."""
    voxels = np.maximum(1, np.round(MASK_MARGIN_MM / spacing))
    return np.where(spacing <= 2.0 * MASK_MARGIN_MM, voxels, 0).astype(np.int64)


def _merge(
    index: npt.NDArray[np.int64],
    significance: npt.NDArray[np.floating],
    box: LungBox,
    spacing: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Rows of the maxima that remain: of any closer than `MERGE_MM`, at any scale, the most significant."""
    if not len(index):
        return np.empty(0, dtype=np.int64)
    from scipy.spatial import cKDTree

    order = np.argsort(-significance, kind="stable")
    points = np.stack(np.unravel_index(index[order], box.voxels_hu.shape), axis=1) * spacing
    pairs = cKDTree(points).query_pairs(MERGE_MM, output_type="ndarray")
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    kept = np.ones(len(order), dtype=bool)
    loops.suppress(pairs, kept)
    return np.sort(order[kept])
