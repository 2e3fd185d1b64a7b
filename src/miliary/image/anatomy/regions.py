"""Position inside the lungs: depth below the outer surface, side and zone."""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.kernels import loops
from miliary.model.ct_result import LABEL_RIGHT
from miliary.model.scan import Side, Zone

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

DEPTH_GRID_MM = 2.2


def measure_depth(
    labels: npt.NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], index_zyx: F64
) -> F64:
    """Distance from points to the outer surface of the lungs, on a coarse grid.

    Fast enough for every candidate; see `measure_distance_to_surface` for the exact distance.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels, 0 outside.
    spacing_zyx_mm : tuple of float
        Voxel spacing of `labels` [mm].
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of `labels`.

    Returns
    -------
    ndarray of float64, shape (n,)
        Distance [mm], positive inside and negative outside. Interpolated on a grid of about 2 mm: accurate to
        about 1 mm, and up to 1.4 mm too small deep in the lung.
    """
    if not len(index_zyx):
        return np.empty(0)
    stride = tuple(max(1, round(DEPTH_GRID_MM / s)) for s in spacing_zyx_mm)
    inside = labels[:: stride[0], :: stride[1], :: stride[2]] > 0
    sampling = [s * n for s, n in zip(spacing_zyx_mm, stride, strict=True)]
    depth = measure_distance(inside, sampling) - measure_distance(~inside, sampling)
    # The transform measures to voxel centers; the surface lies half a cell before the first center inside.
    half = 0.5 * float(np.mean(sampling))
    depth -= np.sign(depth) * half * np.minimum(1.0, np.abs(depth) / (2 * half))
    at = index_zyx / np.asarray(stride)
    return np.asarray(ndimage.map_coordinates(depth, at.T, order=1, mode="nearest"), dtype=np.float64)


def measure_distance(inside: npt.NDArray[np.bool_], spacing_zyx_mm: Sequence[float] | F64) -> F32:
    """Exact Euclidean distance transform, on all threads [1]_.

    Equal to ``scipy.ndimage.distance_transform_edt``, which runs on one.

    Parameters
    ----------
    inside : ndarray of bool, shape (z, y, x)
        True inside the object.
    spacing_zyx_mm : sequence of float
        Voxel spacing [mm].

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        Distance from each voxel inside to the nearest voxel center outside [mm], 0 outside. Infinite
        everywhere where no voxel is outside.

    References
    ----------
    .. [1] Felzenszwalb PF, Huttenlocher DP, Theory of Computing 2012;8:415-428.
    """
    squared = np.where(inside, np.float32(np.inf), np.float32(0.0))
    sz, sy, sx = (float(s) for s in spacing_zyx_mm)
    loops.run_rows(_sweep_planes, len(squared), squared, sy, sx)
    loops.run_rows(_sweep_z, squared.shape[1], squared, sz)
    return np.asarray(np.sqrt(squared), dtype=np.float32)


@nb.njit(nogil=True, cache=True)
def _sweep_planes(first, last, squared, sy, sx):  # type: ignore[no-untyped-def]
    work = np.empty((3, max(squared.shape[1], squared.shape[2]) + 1))
    for z in range(first, last):
        for y in range(squared.shape[1]):
            # Written with a step, so that rows and columns have one type and the callee is compiled once.
            _lower_envelope(squared[z, y, ::1], sx, work)
        for x in range(squared.shape[2]):
            _lower_envelope(squared[z, :, x], sy, work)


@nb.njit(nogil=True, cache=True)
def _sweep_z(first, last, squared, sz):  # type: ignore[no-untyped-def]
    work = np.empty((3, squared.shape[0] + 1))
    for y in range(first, last):
        for x in range(squared.shape[2]):
            _lower_envelope(squared[:, y, x], sz, work)


@nb.njit(cache=True)
def _lower_envelope(line, step, work):  # type: ignore[no-untyped-def]
    """Squared distances along a line, in place: the lower envelope of a parabola on every finite sample."""
    n = line.shape[0]
    center, height, start = work[0], work[1], work[2]
    count = 0
    for i in range(n):
        if line[i] == np.inf:
            continue
        q, f = i * step, float(line[i])
        begin = -np.inf
        while count > 0:
            p = center[count - 1]
            begin = ((f + q * q) - (height[count - 1] + p * p)) / (2.0 * (q - p))
            if begin > start[count - 1]:
                break
            count -= 1
            begin = -np.inf
        center[count], height[count], start[count] = q, f, begin
        count += 1
    if count == 0:
        return
    k = 0
    for i in range(n):
        q = i * step
        while k + 1 < count and start[k + 1] <= q:
            k += 1
        line[i] = (q - center[k]) ** 2 + height[k]


def measure_distance_to_surface(
    labels: npt.NDArray[np.uint8], spacing_zyx_mm: tuple[float, float, float], index_zyx: F64
) -> F64:
    """Distance from points to the nearest voxel face between lung and non-lung.

    Exact for the given labels and slower than `measure_depth`; used for the rows of a result.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels, 0 outside.
    spacing_zyx_mm : tuple of float
        Voxel spacing of `labels` [mm].
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of `labels`.

    Returns
    -------
    ndarray of float64, shape (n,)
        Distance [mm], positive inside and negative outside; infinite where the labels have no surface within
        the array.
    """
    if not len(index_zyx):
        return np.empty(0)
    spacing = np.asarray(spacing_zyx_mm)
    surface = _list_faces(labels) * spacing
    voxel = np.clip(np.round(index_zyx).astype(int), 0, np.asarray(labels.shape) - 1)
    sign = np.where(labels[tuple(voxel.T)] > 0, 1.0, -1.0)
    if not len(surface):
        return np.full(len(index_zyx), np.inf) * sign
    distance, _ = cKDTree(surface, balanced_tree=False, compact_nodes=False).query(index_zyx * spacing)
    return np.asarray(sign * distance)


def _list_faces(labels: npt.NDArray[np.uint8]) -> F64:
    """Centers (n, 3) of the faces between voxels inside and outside, as fractional indices."""
    counts = np.zeros(len(labels), dtype=np.int64)
    loops.run_rows(_count_faces, len(labels), labels, counts)
    first = np.concatenate([[0], np.cumsum(counts)])
    faces = np.empty((int(first[-1]), 3))
    loops.run_rows(_fill_faces, len(labels), labels, first, faces)
    return faces


@nb.njit(nogil=True, cache=True)
def _count_faces(begin, end, labels, counts):  # type: ignore[no-untyped-def]
    unused = np.empty((0, 3))
    for z in range(begin, end):
        counts[z] = _scan_faces(labels, z, counts[z], unused)


@nb.njit(nogil=True, cache=True)
def _fill_faces(begin, end, labels, first, faces):  # type: ignore[no-untyped-def]
    for z in range(begin, end):
        _scan_faces(labels, z, first[z], faces)


@nb.njit(cache=True)
def _scan_faces(labels, z, first, faces):  # type: ignore[no-untyped-def]
    """Count the faces of slice `z` towards the next voxel along each axis; stored where `faces` has rows."""
    nz, ny, nx = labels.shape
    keep = faces.shape[0] > 0
    n = 0
    for y in range(ny):
        for x in range(nx):
            inside = labels[z, y, x] > 0
            for axis in range(3):
                a, b, c = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                if a < nz and b < ny and c < nx and (labels[a, b, c] > 0) != inside:
                    if keep:
                        faces[first + n, 0] = 0.5 * (z + a)
                        faces[first + n, 1] = 0.5 * (y + b)
                        faces[first + n, 2] = 0.5 * (x + c)
                    n += 1
    return n


def locate(
    labels: npt.NDArray[np.uint8], index_zyx: F64
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Side and zone of points.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels: 0 outside, 1 right, 2 left.
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of `labels`. A point outside the lungs belongs to the label that is most
        frequent in the smallest box around it that contains any.

    Returns
    -------
    side, zone : ndarray of str (object), shape (n,)
        Values of `Side` and `Zone`. Zones are thirds of the height of the lung of that side.
    """
    voxel = np.clip(np.round(index_zyx).astype(int), 0, np.asarray(labels.shape) - 1)
    label = labels[voxel[:, 0], voxel[:, 1], voxel[:, 2]].copy()
    for row in np.flatnonzero(label == 0):
        label[row] = _nearest_label(labels, voxel[row])
    side = np.where(label == LABEL_RIGHT, Side.RIGHT.value, Side.LEFT.value).astype(object)
    zone = np.full(len(voxel), Zone.MIDDLE.value, dtype=object)
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


def _nearest_label(labels: npt.NDArray[np.uint8], voxel: npt.NDArray[np.int64]) -> int:
    """The most frequent label in the smallest box around a voxel that contains any."""
    for reach in (2, 4, 8, 16, 1 << 20):
        view = labels[tuple(slice(max(0, p - reach), p + reach + 1) for p in voxel)]
        counts = np.bincount(view.ravel(), minlength=3)[1:3]
        if counts.any():
            return int(counts.argmax()) + 1
    return LABEL_RIGHT
