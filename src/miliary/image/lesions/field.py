"""Block means of the box of the lungs, on which lesions are looked for, and a smooth outline of the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy import regions
from miliary.image.anatomy.coarse import measure_block_means
from miliary.model.ct_result import Lungs
from miliary.model.scan import Scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

COARSE_MM = 2.0
MARGIN_MM = 16.0
HULL_MM, HULL_GRID_MM = 14.0, 4.0


@dataclass(frozen=True)
class LesionField:
    """Block means of the box of the lungs, and where lung is.

    Parameters
    ----------
    hu : ndarray of float32, shape (z, y, x)
        Attenuation, limited to -1024 to 200 [HU].
    labels : ndarray of uint8
        1 right, 2 left lung.
    hull : ndarray of bool
        Inside a smooth outline of the lungs.
    start, factor : ndarray, shape (3,)
        First voxel of the box in the scan, and voxels of the scan per block.
    spacing_mm : ndarray, shape (3,)
        Of the blocks [mm].
    """

    hu: F32
    labels: npt.NDArray[np.uint8]
    hull: Mask
    start: F64
    factor: F64
    spacing_mm: F64

    def index_in_scan(self, index: F64) -> F64:
        """Index in the scan of an index here."""
        return np.asarray(index * self.factor + self.start + (self.factor - 1.0) / 2.0)

    def index_along(self, axis: int, index_in_scan: npt.ArrayLike) -> F64:
        """Index here along one axis of indices in the scan along it."""
        index = np.asarray(index_in_scan, dtype=np.float64)
        return np.asarray((index - self.start[axis] - (self.factor[axis] - 1.0) / 2.0) / self.factor[axis])

    def index_here(self, index_in_scan: F64) -> F64:
        """Index here of an index in the scan."""
        return np.asarray((index_in_scan - self.start - (self.factor - 1.0) / 2.0) / self.factor)


def make_field(scan: Scan, lungs: Lungs) -> LesionField:
    """Block means of about 2 mm of the box of the lungs.

    Parameters
    ----------
    scan : Scan
    lungs : Lungs
        Lung labels on its grid; not empty.

    Returns
    -------
    LesionField
    """
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    box = _bound_lungs(lungs.labels)
    margin = [round(MARGIN_MM / step) for step in spacing]
    view = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(box, margin, lungs.labels.shape, strict=True)
    )
    fz, fy, fx = (max(1, round(COARSE_MM / step)) for step in spacing)
    factor = np.array([fz, fy, fx])
    hu = measure_block_means(scan.voxels_hu[view], (fz, fy, fx))
    # The label at the center of each block.
    middles = [
        np.minimum(np.arange(n) * f + f // 2, v.stop - v.start - 1)
        for n, f, v in zip(hu.shape, factor, view, strict=True)
    ]
    labels = np.ascontiguousarray(lungs.labels[view][np.ix_(*middles)])
    coarse_mm = spacing * factor
    start = np.array([s.start for s in view], dtype=np.float64)
    return LesionField(hu, labels, _find_hull(labels, coarse_mm), start, factor.astype(np.float64), coarse_mm)


def _bound_lungs(labels: npt.NDArray[np.uint8]) -> list[slice]:
    """Bounding box of the lungs to within four voxels; the margin around it is wider than that."""
    step = 4
    inside = labels[::step, ::step, ::step] > 0
    hits = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [slice(int(hit[0]) * step, int(hit[-1]) * step + step) for hit in hits]


def _find_hull(labels: npt.NDArray[np.uint8], spacing_mm: F64) -> Mask:
    """The lungs with dents narrower than twice `HULL_MM` filled, each lung separately."""
    stride = np.maximum(1, np.round(HULL_GRID_MM / spacing_mm)).astype(int)
    small = labels[:: stride[0], :: stride[1], :: stride[2]]
    closed = np.zeros(small.shape, dtype=bool)
    for side in (1, 2):
        closed |= close_ball(small == side, spacing_mm * stride, HULL_MM)
    rows = [
        np.minimum((np.arange(n) + s // 2) // s, m - 1)
        for n, s, m in zip(labels.shape, stride, small.shape, strict=True)
    ]
    return np.asarray(closed[np.ix_(*rows)] | (labels > 0))


def close_ball(mask: Mask, spacing_mm: F64, radius_mm: float) -> Mask:
    """Binary closing by a ball, from distance transforms.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        What is closed; voxels beyond the array count as outside.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing [mm].
    radius_mm : float
        Radius of the ball [mm].

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    if not mask.any():
        return mask
    pad = [int(np.ceil(radius_mm / s)) + 1 for s in spacing_mm]
    wide = np.pad(mask, [(p, p) for p in pad])
    grown = regions.measure_distance(~wide, spacing_mm) <= radius_mm
    kept = regions.measure_distance(grown, spacing_mm) > radius_mm
    inner = tuple(slice(p, -p) for p in pad)
    return np.asarray(kept[inner] | mask)
