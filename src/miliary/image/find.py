"""Candidates: maxima of the negative Laplacian of Gaussian over four scales, inside the lungs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.ct_result import Lungs
from miliary.image import _kernels
from miliary.scan import Scan

F32 = npt.NDArray[np.float32]

SCALES_MM = (0.5, 0.75, 1.1, 1.6)
# Response [HU] of the weakest candidate: a floor, and a multiple of the response's own spread.
FLOOR_HU = 12.0
FLOOR_SIGMAS = 2.0
MERGE_MM = 1.0
MARGIN_MM = 12.0
MASK_MARGIN_MM = 1.5


@dataclass(frozen=True)
class LungBox:
    """The part of a scan that holds the lungs.

    Parameters
    ----------
    voxels_hu : ndarray of float32, shape (z, y, x)
        Attenuation of the box, limited to -1024..1500 [HU].
    labels : ndarray of uint8
        Lung labels of the box.
    start_zyx : tuple of int
        First voxel of the box in the scan.
    spacing_zyx_mm : tuple of float
    """

    voxels_hu: F32
    labels: npt.NDArray[np.uint8]
    start_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Candidates:
    """Places that may be nodules.

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


def crop_to_lungs(scan: Scan, lungs: Lungs) -> LungBox:
    """The lungs with a margin of 12 mm, as float32.

    Raises
    ------
    ValueError
        The labels are empty.
    """
    spacing = scan.grid.spacing_zyx_mm
    boxes = ndimage.find_objects((lungs.labels > 0).view(np.uint8))
    if not boxes:
        raise ValueError("lungs.labels holds no lung")
    view = tuple(
        slice(max(0, s.start - round(MARGIN_MM / d)), min(n, s.stop + round(MARGIN_MM / d)))
        for s, d, n in zip(boxes[0], spacing, lungs.labels.shape, strict=True)
    )
    voxels = np.ascontiguousarray(scan.voxels_hu[view], dtype=np.float32)
    np.clip(voxels, -1024.0, 1500.0, out=voxels)
    start = (view[0].start, view[1].start, view[2].start)
    return LungBox(voxels, np.ascontiguousarray(lungs.labels[view]), start, spacing)


def smooth_finest(box: LungBox) -> F32:
    """The box after the Gaussian of the finest scale [HU]."""
    sz, sy, sx = (SCALES_MM[0] / s for s in box.spacing_zyx_mm)
    return _kernels.filter_gaussian(box.voxels_hu, (sz, sy, sx))


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
    mask = _dilate(box.labels > 0, box.spacing_zyx_mm)
    fields = _filter_scales(smooth_hu, box.labels, spacing)
    spread = _measure_spread(fields, box) if spread_hu is None else spread_hu
    found = [
        _list_maxima(field, mask, max(FLOOR_HU, FLOOR_SIGMAS * s))
        for field, s in zip(fields, spread, strict=True)
    ]
    index = np.concatenate([f[0] for f in found])
    scale = np.concatenate([np.full(len(f[0]), k) for k, f in enumerate(found)])
    significance = np.concatenate([f[1] / s for f, s in zip(found, spread, strict=True)])
    keep = _merge(index, significance, box, spacing)
    index, scale = index[keep], scale[keep]
    responses = np.stack([f.ravel()[index] for f in fields], axis=1) if len(index) else np.zeros((0, 4))
    position = _refine(fields, index, scale, box.voxels_hu.shape)
    return Candidates(position, scale.astype(np.int64), responses.astype(np.float32), spread)


def _measure_spread(fields: list[F32], box: LungBox) -> npt.NDArray[np.float64]:
    """Robust spread of each response inside the lungs."""
    inner = np.flatnonzero(box.labels.ravel())[:: max(1, int(box.labels.sum() // 200_000))]
    return np.array([1.4826 * np.median(np.abs(f.ravel()[inner])) for f in fields])


def _filter_scales(
    smooth_hu: F32, labels: npt.NDArray[np.uint8], spacing: npt.NDArray[np.float64]
) -> list[F32]:
    """Responses at all scales; each scale is smoothed from the one before.

    Only where they are needed: in the mask that maxima are sought in with one voxel around, each earlier
    scale as much farther as the filters after it reach. Elsewhere the arrays hold anything.
    """
    steps = [np.sqrt(b**2 - a**2) / spacing for a, b in pairwise(SCALES_MM)]
    reaches = [[len(_kernels.sample_gaussian(s)) - 1 for s in step] for step in steps]
    margin = np.ceil(MASK_MARGIN_MM / spacing).astype(int) + 2
    margins = [margin]
    for reach in reaches[::-1]:
        margins.insert(0, margins[0] + reach)
    response_spans = _kernels.span_labels(labels, tuple(margin))
    buffer = np.empty_like(smooth_hu)
    smooth = smooth_hu
    fields = []
    for k, sigma in enumerate(SCALES_MM):
        if k:
            wide = margins[k] + [0, *reaches[k - 1][1:]]
            smooth = _kernels.filter_gaussian(
                smooth,
                tuple(steps[k - 1]),
                buffer=buffer,
                spans=_kernels.span_labels(labels, tuple(margins[k])),
                wide_spans=_kernels.span_labels(labels, tuple(wide)),
            )
        field = np.empty_like(smooth)
        weights = np.asarray(sigma**2 / spacing**2, dtype=np.float32)
        _kernels.laplacian(smooth, weights, field, spans=response_spans)
        fields.append(field)
    return fields


def _dilate(mask: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """Mask grown by a small margin, so that nodules on the pleura have their maximum inside."""
    grown = mask
    for axis, step in enumerate(spacing):
        n = max(1, round(MASK_MARGIN_MM / step)) if step <= 2.0 * MASK_MARGIN_MM else 0
        for _ in range(n):
            wider = grown.copy()
            low = [slice(None)] * 3
            high = [slice(None)] * 3
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            wider[tuple(low)] |= grown[tuple(high)]
            wider[tuple(high)] |= grown[tuple(low)]
            grown = wider
    return grown.view(np.uint8)


def _list_maxima(field: F32, mask: npt.NDArray[np.uint8], floor: float) -> tuple[npt.NDArray[np.int64], F32]:
    counts = np.zeros(field.shape[0], dtype=np.int64)
    _kernels.count_maxima(field, mask, np.float32(floor), counts)
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    index = np.empty(int(counts.sum()), dtype=np.int64)
    value = np.empty(len(index), dtype=np.float32)
    _kernels.list_maxima(field, mask, np.float32(floor), first, index, value)
    return index, value


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
    _kernels.suppress(pairs, kept)
    return np.sort(order[kept])


def _refine(
    fields: list[F32], index: npt.NDArray[np.int64], scale: npt.NDArray[np.int64], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Sub-voxel position by a parabola through the response along each axis."""
    position = np.stack(np.unravel_index(index, shape), axis=1).astype(np.float64)
    strides = (shape[1] * shape[2], shape[2], 1)
    for k, field in enumerate(fields):
        rows = np.flatnonzero(scale == k)
        flat = field.ravel()
        here = flat[index[rows]]
        for axis, step in enumerate(strides):
            low, high = flat[index[rows] - step], flat[index[rows] + step]
            bend = 2.0 * here - low - high
            shift = np.where(bend > 1e-6, 0.5 * (high - low) / np.maximum(bend, 1e-6), 0.0)
            position[rows, axis] += np.clip(shift, -0.5, 0.5)
    return position
