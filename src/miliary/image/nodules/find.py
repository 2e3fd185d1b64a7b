"""Candidates: maxima of the negative Laplacian of Gaussian over four scales, inside the lungs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.kernels.scales import search_scales

F32 = npt.NDArray[np.float32]

SCALES_MM = (0.5, 0.75, 1.1, 1.6)
# Response [HU] of the weakest candidate: a floor, and a multiple of the response's own spread.
FLOOR_HU = 12.0
FLOOR_SIGMAS = 2.0
MERGE_MM = 1.0
MASK_MARGIN_MM = 1.5
# Side of the blocks of voxels that candidates are listed by.
BLOCK = 16


@dataclass(frozen=True)
class Candidates:
    """Places that may be nodules, block by block of the lungs.

    Parameters
    ----------
    index_zyx : ndarray, shape (n, 3)
        Sub-voxel position in the lung box.
    scale : ndarray of int, shape (n,)
        Number of the scale with the strongest response.
    responses_hu : ndarray of float32, shape (n, scales)
        Scale-normalized response at the candidate's voxel.
    spread_hu : ndarray, shape (scales,)
        Robust spread of the response in the lung.
    """

    index_zyx: npt.NDArray[np.float64]
    scale: npt.NDArray[np.int64]
    responses_hu: F32
    spread_hu: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.index_zyx)

    def select(self, rows: npt.NDArray[np.int64]) -> Candidates:
        """The candidates of given rows."""
        return replace(
            self, index_zyx=self.index_zyx[rows], scale=self.scale[rows], responses_hu=self.responses_hu[rows]
        )


def smooth_finest(box: LungBox) -> F32:
    """The box after the Gaussian of the finest scale [HU]."""
    sz, sy, sx = (SCALES_MM[0] / s for s in box.spacing_zyx_mm)
    return loops.filter_gaussian(box.voxels_hu, (sz, sy, sx))


def find_candidates(
    box: LungBox, smooth_hu: F32, *, spread_hu: npt.NDArray[np.float64] | None = None
) -> Candidates:
    """Maxima of the scale-normalized negative Laplacian of Gaussian in and just around the lungs.

    Parameters
    ----------
    box : LungBox
    smooth_hu : ndarray of float32
        From `smooth_finest`.
    spread_hu : ndarray, shape (scales,), optional
        Spread of the response in the lung, where it is known from a larger part of the scan.

    Returns
    -------
    Candidates
        Zero rows where there are none.
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    # The floor follows from responses that are known at the end of the search only.
    least = np.full(len(SCALES_MM), FLOOR_HU) if spread_hu is None else _floors(spread_hu)
    maxima, sampled = search_scales(
        smooth_hu, box.labels, spacing, scales_mm=SCALES_MM, reach=_reach(spacing), floors=least
    )
    spread = 1.4826 * np.median(np.abs(sampled), axis=0) if spread_hu is None else spread_hu
    strong = maxima.value > _floors(spread).astype(np.float32)[maxima.scale]
    index, scale = maxima.index[strong], maxima.scale[strong]
    keep = _merge(index, maxima.value[strong] / spread[scale], box, spacing)
    rows = np.flatnonzero(strong)[keep]
    voxel = np.stack(np.unravel_index(maxima.index[rows], box.voxels_hu.shape), axis=1)
    # Neighbors follow each other, so that what one looks at is in the cache for the next.
    order = np.lexsort((voxel // BLOCK).T[::-1])
    rows, voxel = rows[order], voxel[order]
    position = voxel.astype(np.float64) + maxima.shift[rows]
    return Candidates(position, maxima.scale[rows], maxima.responses[rows], spread)


def _floors(spread_hu: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(FLOOR_HU, FLOOR_SIGMAS * spread_hu)


def _reach(spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Voxels that a maximum may lie outside the labels: those on the pleura have theirs there."""
    voxels = np.maximum(1, np.round(MASK_MARGIN_MM / spacing))
    return np.where(spacing <= 2.0 * MASK_MARGIN_MM, voxels, 0).astype(np.int64)


def _merge(
    index: npt.NDArray[np.int64],
    significance: npt.NDArray[np.floating],
    box: LungBox,
    spacing: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Of maxima closer than `MERGE_MM`, at any scales, the most significant one."""
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
