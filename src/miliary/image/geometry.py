"""Places inside the lungs: depth below the outer surface, side, zone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.ct_result import LABEL_RIGHT
from miliary.scan import Side, Zone

F64 = npt.NDArray[np.float64]

DEPTH_GRID_MM = 2.2


def measure_depth(
    labels: npt.NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], index_zyx: F64
) -> F64:
    """Distance [mm] from points to the outer surface of the lungs, negative outside.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels, 0 outside.
    spacing_zyx_mm : tuple of float
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of `labels`.

    Returns
    -------
    ndarray, shape (n,)
        Interpolated on a grid of about 2 mm, good to about 1 mm, and up to 1.4 mm
        too small deep in the lung; see `measure_distance_to_surface`.
    """
    if not len(index_zyx):
        return np.empty(0)
    stride = tuple(max(1, round(DEPTH_GRID_MM / s)) for s in spacing_zyx_mm)
    inside = labels[:: stride[0], :: stride[1], :: stride[2]] > 0
    sampling = [s * n for s, n in zip(spacing_zyx_mm, stride, strict=True)]
    depth = ndimage.distance_transform_edt(inside, sampling=sampling).astype(np.float32)
    depth -= ndimage.distance_transform_edt(~inside, sampling=sampling).astype(np.float32)
    # A surface lies half a cell before the first voxel inside.
    half = 0.5 * float(np.mean(sampling))
    depth -= np.sign(depth) * half * np.minimum(1.0, np.abs(depth) / (2 * half))
    at = index_zyx / np.asarray(stride)
    return np.asarray(ndimage.map_coordinates(depth, at.T, order=1, mode="nearest"), dtype=np.float64)


def measure_distance_to_surface(
    labels: npt.NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], index_zyx: F64
) -> F64:
    """Distance [mm] from points to the nearest voxel face between lung and not lung, negative outside.

    Slower than `measure_depth` and exact for the labels as they are; for the rows of a result.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    spacing_zyx_mm : tuple of float
    index_zyx : ndarray, shape (n, 3)

    Returns
    -------
    ndarray, shape (n,)
        Infinite where the labels have no surface within the array.
    """
    if not len(index_zyx):
        return np.empty(0)
    inside = labels > 0
    faces = []
    for axis in range(3):
        where = np.argwhere(np.diff(inside.view(np.int8), axis=axis)).astype(np.float64)
        where[:, axis] += 0.5
        faces.append(where)
    spacing = np.asarray(spacing_zyx_mm)
    surface = np.concatenate(faces) * spacing
    place = np.clip(np.round(index_zyx).astype(int), 0, np.asarray(labels.shape) - 1)
    sign = np.where(inside[tuple(place.T)], 1.0, -1.0)
    if not len(surface):
        return np.full(len(index_zyx), np.inf) * sign
    distance, _ = cKDTree(surface, balanced_tree=False, compact_nodes=False).query(index_zyx * spacing)
    return np.asarray(sign * distance)


def locate(
    labels: npt.NDArray[np.uint8], index_zyx: F64
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Side and zone of points.

    Points outside the labels belong to the nearest label within the smallest box that finds one.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        1 right, 2 left.
    index_zyx : ndarray, shape (n, 3)

    Returns
    -------
    side, zone : ndarrays of str, shape (n,)
        Zones are thirds of the height of the lung of that side.
    """
    place = np.clip(np.round(index_zyx).astype(int), 0, np.asarray(labels.shape) - 1)
    label = labels[place[:, 0], place[:, 1], place[:, 2]].copy()
    for row in np.flatnonzero(label == 0):
        label[row] = _nearest_label(labels, place[row])
    side = np.where(label == LABEL_RIGHT, Side.RIGHT.value, Side.LEFT.value).astype(object)
    zone = np.full(len(place), Zone.MIDDLE.value, dtype=object)
    for value in (1, 2):
        own = label == value
        filled = np.flatnonzero((labels == value).any(axis=(1, 2)))
        if not own.any() or not len(filled):
            continue
        height = (index_zyx[own, 0] - filled[0]) / max(1, filled[-1] - filled[0])
        zone[own] = np.select(
            [height < 1 / 3, height < 2 / 3], [Zone.LOWER.value, Zone.MIDDLE.value], Zone.UPPER.value
        )
    return side, zone


def _nearest_label(labels: npt.NDArray[np.uint8], place: npt.NDArray[np.int64]) -> int:
    for reach in (2, 4, 8, 16, 1 << 20):
        view = labels[tuple(slice(max(0, p - reach), p + reach + 1) for p in place)]
        counts = np.bincount(view.ravel(), minlength=3)[1:3]
        if counts.any():
            return int(counts.argmax()) + 1
    return LABEL_RIGHT
