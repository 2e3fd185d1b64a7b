"""Laplacian-of-Gaussian responses of a volume at several scales, a few slices at a time.

Whole volumes of every scale take more memory than all the rest of a run, and allocating that takes longer
than the filters. Here each scale is a ring buffer of slices that moves through the volume behind the previous
scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.kernels import loops

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

# Slices that the ring buffers advance by.
STEP = 8
# A piece filters some twenty slices that the previous piece filters too; shorter pieces would be mostly that.
MIN_PIECE = 40
N_SAMPLES = 200_000


@dataclass(frozen=True)
class Maxima:
    """Maxima of the response, n of them, ordered by scale and then by position in memory.

    Parameters
    ----------
    index : ndarray of int64, shape (n,)
        Flat index of the voxel in the volume.
    scale : ndarray of int64, shape (n,)
        Number of the scale at which it is a maximum.
    value : ndarray of float32, shape (n,)
        Response at that scale [HU].
    responses : ndarray of float32, shape (n, scales)
        Response of the same voxel at all scales [HU].
    shift : ndarray of float32, shape (n, 3)
        Offset (z, y, x) from the voxel to the sub-voxel maximum, from a parabola along each axis, at most
        half a voxel [voxels].
    """

    index: I64
    scale: I64
    value: F32
    responses: F32
    shift: F32

    @staticmethod
    def join(parts: Sequence[Maxima]) -> Maxima:
        """Concatenate several lists of maxima in their order."""
        return Maxima(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in Maxima.__dataclass_fields__)
        )


@dataclass(frozen=True)
class _Plan:
    """Kernels and extents of the filters; `kernels` has an entry per step, the other lists one per scale."""

    kernels: list[loops.SeparableKernel]
    weights: list[F32]
    # Where each smoothed scale is needed, and how many slices before its response.
    spans: list[I64]
    ahead: list[int]
    response_spans: I64
    reach: I64
    floors: F64


def search_scales(
    smooth_hu: F32, labels: U8, spacing_mm: F64, *, scales_mm: Sequence[float], reach: I64, floors: F64
) -> tuple[Maxima, F32]:
    """Find maxima of the scale-normalized negative Laplacian of Gaussian in and near labeled voxels [1]_.

    Parameters
    ----------
    smooth_hu : ndarray of float32, shape (z, y, x)
        The volume after the Gaussian of the first scale [HU].
    labels : ndarray of uint8, shape (z, y, x)
        Maxima are searched where the label is set and up to `reach` voxels from there.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing (z, y, x) [mm].
    scales_mm : sequence of float
        Standard deviations of the Gaussians, ascending [mm].
    reach : ndarray of int64, shape (3,)
        Margin around the labels (z, y, x) [voxels].
    floors : ndarray, shape (scales,)
        Response that a maximum must exceed at each scale [HU].

    Returns
    -------
    maxima : Maxima
        No rows where there are none.
    sampled : ndarray of float32, shape (n, scales)
        Response at labeled voxels a constant number apart, some `N_SAMPLES` of them [HU].

    References
    ----------
    .. [1] Lindeberg T, Int J Comput Vis 1998;30:79-116.
    """
    plan = _make_plan(labels, spacing_mm, scales_mm, reach, floors)
    picked = _pick_samples(labels)
    pieces = _cut(plan.response_spans, nb.get_num_threads())
    with ThreadPoolExecutor(len(pieces)) as pool:
        done = list(pool.map(lambda piece: _search_piece(piece, smooth_hu, labels, plan, picked), pieces))
    by_scale = [Maxima.join([part for found, _ in done for part in found[k]]) for k in range(len(scales_mm))]
    return Maxima.join(by_scale), np.concatenate([sampled for _, sampled in done])


def _make_plan(labels: U8, spacing_mm: F64, scales_mm: Sequence[float], reach: I64, floors: F64) -> _Plan:
    steps = [np.sqrt(b**2 - a**2) / spacing_mm for a, b in pairwise(scales_mm)]
    kernels = [loops.SeparableKernel(*(loops.sample_gaussian(float(s)) for s in step)) for step in steps]
    # Each scale is smoothed from the previous one, which is therefore needed farther by the filter's length.
    margins, ahead = [reach + 2], [1]
    for step in kernels[::-1]:
        margins.insert(0, margins[0] + np.array([len(kernel) - 1 for kernel in step]))
        ahead.insert(0, ahead[0] + len(step[0]) - 1)
    spans = loops.span_labels(labels, margins)
    weights = [np.asarray(sigma**2 / spacing_mm**2, dtype=np.float32) for sigma in scales_mm]
    return _Plan(kernels, weights, spans, ahead, spans[-1], reach, floors)


def _pick_samples(labels: U8) -> list[I64]:
    """Flat indices, per slice, of labeled voxels a constant number apart."""
    step = max(1, int(labels.sum() // N_SAMPLES))
    picked, seen = [], 0
    for z, plane in enumerate(labels):
        inside = np.flatnonzero(plane)
        picked.append(inside[-seen % step :: step] + z * plane.size)
        seen += len(inside)
    return picked


def _cut(spans: I64, n_threads: int) -> list[tuple[int, int]]:
    """Split the slices into pieces of about the same work: first and one past the last slice of each."""
    n_pieces = max(1, min(n_threads, len(spans) // MIN_PIECE))
    work = np.cumsum((spans[..., 1] - spans[..., 0]).sum(axis=(1, 2)) + 1)
    edges = np.searchsorted(work, work[-1] * np.arange(1, n_pieces) / n_pieces)
    return list(pairwise([0, *(int(edge) for edge in edges), len(spans)]))


def _search_piece(
    piece: tuple[int, int], smooth_hu: F32, labels: U8, plan: _Plan, picked: list[I64]
) -> tuple[list[list[Maxima]], F32]:
    """Maxima in one piece of the slices, a list per scale, and the responses sampled there."""
    first, last = piece
    shape = labels.shape[1:]
    fields = [np.empty((STEP + 2, *shape), dtype=np.float32) for _ in plan.weights]
    room = (STEP // 2 + 1) * (shape[0] // 2 + 1) * (shape[1] // 2 + 1)
    index, value = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.float32)
    found: list[list[Maxima]] = [[] for _ in fields]
    sampled = []
    for begin, end in _run_rings(piece, smooth_hu, plan, fields):
        own = range(max(first, begin), min(last, end))
        sampled.append(_take(fields, np.concatenate([picked[z] for z in own] or [index[:0]])))
        # The last new slice still lacks its upper neighbor, so its maxima are listed in the next round.
        for k, (field, floor) in enumerate(zip(fields, plan.floors, strict=True)):
            n = loops.list_maxima(
                max(first, begin - 1),
                min(last, end - 1),
                field,
                plan.response_spans,
                labels,
                plan.reach,
                np.float32(floor),
                (index, value),
            )
            at = index[:n].copy()
            found[k].append(
                Maxima(at, np.full(n, k), value[:n].copy(), _take(fields, at), _find_tops(field, at))
            )
    return found, np.concatenate(sampled)


def _run_rings(
    piece: tuple[int, int], smooth_hu: F32, plan: _Plan, fields: list[F32]
) -> Iterator[tuple[int, int]]:
    """Fill the ring buffers of the responses step by step; yields the range of slices that are new.

    One slice more than the piece has is filled on either side, where there is one.
    """
    nz = len(smooth_hu)
    begin, last = max(0, piece[0] - 1), min(nz, piece[1] + 1)
    lengths = [min(nz, STEP + 2 * ahead) for ahead in plan.ahead[1:]]
    rings = [smooth_hu, *(np.empty((n, *smooth_hu.shape[1:]), dtype=np.float32) for n in lengths)]
    filled = [max(0, begin - ahead) for ahead in plan.ahead]
    while begin < last:
        end = min(begin + STEP, last)
        for k in range(1, len(rings)):
            goal = min(nz, end + plan.ahead[k])
            spans = (plan.spans[k - 1], plan.spans[k])
            loops.filter_slices(filled[k], goal, rings[k - 1], plan.kernels[k - 1], *spans, rings[k])
            filled[k] = goal
        for ring, weights, field in zip(rings, plan.weights, fields, strict=True):
            loops.laplacian_slices(begin, end, ring, weights, plan.response_spans, field)
        yield begin, end
        begin = end


def _take(fields: list[F32], index: I64) -> F32:
    """Responses (n, scales) at flat indices of voxels whose slices are in the ring buffers."""
    z, rest = np.divmod(index, fields[0][0].size)
    slot = z % len(fields[0])
    return np.stack([field.reshape(len(field), -1)[slot, rest] for field in fields], axis=1)


def _find_tops(field: F32, index: I64) -> F32:
    """Offset [voxels] of the maximum of a parabola through three samples from the middle one, per axis."""
    z, rest = np.divmod(index, field[0].size)
    flat, n, nx = field.reshape(len(field), -1), len(field), field.shape[2]
    here = flat[z % n, rest]
    shift = np.empty((len(index), 3), dtype=np.float32)
    for axis, (dz, step) in enumerate(((1, 0), (0, nx), (0, 1))):
        low, high = flat[(z - dz) % n, rest - step], flat[(z + dz) % n, rest + step]
        bend = 2.0 * here - low - high
        top = np.where(bend > 1e-6, 0.5 * (high - low) / np.maximum(bend, 1e-6), 0.0)
        shift[:, axis] = np.clip(top, -0.5, 0.5)
    return shift
