"""Compiled separable filters on float32 volumes (z, y, x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


def sample_gaussian(sigma: float, *, truncate: float = 3.5) -> F32:
    """Half kernel (index 0 at the centre) of a Gaussian of `sigma` samples, integrated over each sample.

    The whole, mirrored kernel sums to one; `sigma` under 0.05 gives the identity.
    """
    if sigma < 0.05:
        return np.ones(1, dtype=np.float32)
    reach = max(1, math.ceil(truncate * sigma))
    edges = np.arange(reach + 2) - 0.5
    cdf = np.array([math.erf(e / (sigma * math.sqrt(2.0))) for e in edges])
    half = 0.5 * np.diff(cdf)
    half /= half[0] + 2.0 * half[1:].sum()
    return np.asarray(half, dtype=np.float32)


def run_rows(kernel: Callable[..., None], n: int, *arguments: Any) -> None:
    """Call ``kernel(first, last, *arguments)`` on pieces of ``range(n)``, on the threads numba is set to.

    Kernels release the interpreter's lock. Plain threads instead of numba's parallel loops: each of those
    takes a second to compile, and waits by spinning when the machine is busy.
    """
    n_threads = nb.get_num_threads()
    n_pieces = min(n, 1 if n_threads == 1 else 8 * n_threads)
    if n_threads == 1 or n_pieces < 2:
        if n:
            kernel(0, n, *arguments)
        return
    # One row compiles where that is still to be done; the threads then find it compiled.
    kernel(0, 1, *arguments)
    edges = [1 + (n - 1) * k // n_pieces for k in range(n_pieces + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        pieces = [pool.submit(kernel, a, b, *arguments) for a, b in pairwise(edges)]
        for piece in pieces:
            piece.result()


@nb.njit(nogil=True, cache=True, fastmath=True)
def _filter_z(first, last, src, kernel, spans, out):  # type: ignore[no-untyped-def]
    nz, _, _ = src.shape
    reach = kernel.shape[0] - 1
    for y in range(first, last):
        for z in range(nz):
            row = out[z, y]
            center = src[z, y]
            for s in range(2):
                a, b = spans[z, y, s, 0], spans[z, y, s, 1]
                for x in range(a, b):
                    row[x] = kernel[0] * center[x]
                for k in range(1, reach + 1):
                    low = src[max(z - k, 0), y]
                    high = src[min(z + k, nz - 1), y]
                    w = kernel[k]
                    for x in range(a, b):
                        row[x] += w * (low[x] + high[x])


@nb.njit(nogil=True, cache=True, fastmath=True)
def _filter_yx(first, last, src, kernel_y, kernel_x, spans, out):  # type: ignore[no-untyped-def]
    _, ny, nx = src.shape
    ry, rx = kernel_y.shape[0] - 1, kernel_x.shape[0] - 1
    for z in range(first, last):
        line = np.empty(nx + 2 * rx, dtype=np.float32)
        for y in range(ny):
            center = src[z, y]
            for s in range(2):
                a, b = spans[z, y, s, 0], spans[z, y, s, 1]
                if a >= b:
                    continue
                low, high = max(a - rx, 0), min(b + rx, nx)
                for x in range(low, high):
                    line[rx + x] = kernel_y[0] * center[x]
                for k in range(1, ry + 1):
                    back = src[z, max(y - k, 0)]
                    front = src[z, min(y + k, ny - 1)]
                    w = kernel_y[k]
                    for x in range(low, high):
                        line[rx + x] += w * (back[x] + front[x])
                if low == 0:
                    line[:rx] = line[rx]
                if high == nx:
                    line[rx + nx :] = line[rx + nx - 1]
                row = out[z, y]
                for x in range(a, b):
                    row[x] = kernel_x[0] * line[rx + x]
                for k in range(1, rx + 1):
                    w = kernel_x[k]
                    for x in range(a, b):
                        row[x] += w * (line[rx + x - k] + line[rx + x + k])


def span_whole(shape: tuple[int, ...]) -> I64:
    """Spans, see `span_labels`, that take in every row from end to end."""
    spans = np.zeros((shape[0], shape[1], 2, 2), dtype=np.int64)
    spans[:, :, 0, 1] = shape[2]
    return spans


def span_labels(labels: npt.NDArray[np.uint8], margin: tuple[int, int, int]) -> I64:
    """Stretch of each row that labels 1 and 2 cover, with a margin in voxels per axis.

    Returns
    -------
    ndarray of int64, shape (z, y, 2, 2)
        Begin and end along x of one stretch per label, begin = end where there is none; the second begins
        no earlier than the first ends.
    """
    nz, ny, nx = labels.shape
    spans = np.empty((nz, ny, 2, 2), dtype=np.int64)
    run_rows(_span_rows, nz, labels, spans)
    size = (2 * margin[0] + 1, 2 * margin[1] + 1)
    for s in range(2):
        begin = ndimage.minimum_filter(spans[:, :, s, 0], size) - margin[2]
        end = ndimage.maximum_filter(spans[:, :, s, 1], size) + margin[2]
        none = begin >= end
        spans[:, :, s, 0] = np.where(none, 0, np.maximum(begin, 0))
        spans[:, :, s, 1] = np.where(none, 0, np.minimum(end, nx))
    first, second = spans[:, :, 0], spans[:, :, 1]
    turned = (second[..., 0] < first[..., 0]) & (second[..., 1] > 0)
    spans[turned] = spans[turned][:, ::-1]
    # Where both overlap one stretch takes in both.
    both = (second[..., 1] > 0) & (second[..., 0] <= first[..., 1])
    first[..., 1] = np.where(both, np.maximum(first[..., 1], second[..., 1]), first[..., 1])
    second[both] = 0
    return spans


@nb.njit(nogil=True, cache=True)
def _span_rows(first, last, labels, spans):  # type: ignore[no-untyped-def]
    nx = labels.shape[2]
    for z in range(first, last):
        for y in range(labels.shape[1]):
            for s in range(2):
                spans[z, y, s, 0] = nx + 1_000_000
                spans[z, y, s, 1] = -1_000_000
            for x in range(nx):
                label = labels[z, y, x]
                if 0 < label <= 2:
                    spans[z, y, label - 1, 0] = min(spans[z, y, label - 1, 0], x)
                    spans[z, y, label - 1, 1] = x + 1


def filter_gaussian(
    volume: F32,
    sigma_zyx: tuple[float, float, float],
    *,
    buffer: F32 | None = None,
    out: F32 | None = None,
    spans: I64 | None = None,
    wide_spans: I64 | None = None,
) -> F32:
    """Gaussian filter of a float32 volume.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x), C-contiguous
    sigma_zyx : tuple of float
        Width per axis in voxels.
    buffer, out : ndarray of float32, optional
        Work and result arrays of the same shape, made when not given; neither may be `volume`.
    spans, wide_spans : ndarray of int64, optional
        Where the result is wanted, and the same with a margin of the kernel's reach in plane, see
        `span_labels`; all of it when not given. What lies outside `spans` is left as it was in `out`.

    Returns
    -------
    ndarray of float32
        `out`; values beyond the border repeat the border.
    """
    kz, ky, kx = (sample_gaussian(s) for s in sigma_zyx)
    out = np.empty_like(volume) if out is None else out
    spans = span_whole(volume.shape) if spans is None else spans
    if len(kz) == 1:
        run_rows(_filter_yx, volume.shape[0], volume, ky, kx, spans, out)
        return out
    buffer = np.empty_like(volume) if buffer is None else buffer
    wide_spans = span_whole(volume.shape) if wide_spans is None else wide_spans
    run_rows(_filter_z, volume.shape[1], volume, kz, wide_spans, buffer)
    run_rows(_filter_yx, volume.shape[0], buffer, ky, kx, spans, out)
    return out


def laplacian(smooth: F32, weights: F32, out: F32, *, spans: I64 | None = None) -> None:
    """Negative Laplacian of a smoothed volume; `weights` (3,) are scale^2 / spacing^2 per axis.

    Only within `spans`, see `span_labels`, where they are given.
    """
    spans = span_whole(smooth.shape) if spans is None else spans
    run_rows(_laplacian, smooth.shape[0], smooth, weights, spans, out)


@nb.njit(nogil=True, cache=True, fastmath=True)
def _laplacian(first, last, smooth, weights, spans, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = smooth.shape
    wz, wy, wx = weights
    total = 2.0 * (wz + wy + wx)
    for z in range(first, last):
        for y in range(ny):
            here = smooth[z, y]
            up, down = smooth[max(z - 1, 0), y], smooth[min(z + 1, nz - 1), y]
            back, front = smooth[z, max(y - 1, 0)], smooth[z, min(y + 1, ny - 1)]
            row = out[z, y]
            for s in range(2):
                for x in range(max(spans[z, y, s, 0], 1), min(spans[z, y, s, 1], nx - 1)):
                    row[x] = (
                        total * here[x]
                        - wz * (up[x] + down[x])
                        - wy * (back[x] + front[x])
                        - wx * (here[x - 1] + here[x + 1])
                    )
            row[0] = 0.0
            row[nx - 1] = 0.0


def count_maxima(field: F32, mask: npt.NDArray[np.uint8], floor: np.float32, counts: I64) -> None:
    """Number of maxima per slice, see `list_maxima`."""
    run_rows(_count_maxima, field.shape[0], field, mask, floor, counts)


@nb.njit(nogil=True, cache=True)
def _count_maxima(first, last, field, mask, floor, counts):  # type: ignore[no-untyped-def]
    value = np.empty(0, dtype=field.dtype)
    for z in range(max(1, first), min(field.shape[0] - 1, last)):
        counts[z] = _scan_slice(field, mask, floor, z, counts[:0], value, counts[z])


def list_maxima(
    field: F32, mask: npt.NDArray[np.uint8], floor: np.float32, first: I64, index: I64, value: F32
) -> None:
    """Flat index and value of every 26-neighbor maximum above `floor` where `mask` is set.

    `first` holds per slice the place of its first maximum in `index` and `value`.
    """
    run_rows(_list_maxima, field.shape[0], field, mask, floor, first, index, value)


@nb.njit(nogil=True, cache=True)
def _list_maxima(begin, end, field, mask, floor, first, index, value):  # type: ignore[no-untyped-def]
    for z in range(max(1, begin), min(field.shape[0] - 1, end)):
        _scan_slice(field, mask, floor, z, index, value, first[z])


@nb.njit(cache=True)
def _scan_slice(field, mask, floor, z, index, value, place):  # type: ignore[no-untyped-def]
    """Number of maxima of a slice; kept where `index` has rows."""
    ny, nx = field.shape[1], field.shape[2]
    keep = index.shape[0] > 0
    n = 0
    for y in range(1, ny - 1):
        for x in range(1, nx - 1):
            v = field[z, y, x]
            if v <= floor or mask[z, y, x] == 0:
                continue
            best = True
            for dz in range(-1, 2):
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        w = field[z + dz, y + dy, x + dx]
                        # Ties go to the first voxel in memory order, so that a plateau gives one maximum.
                        before = dz < 0 or (dz == 0 and (dy < 0 or (dy == 0 and dx < 0)))
                        if w > v or (w == v and before):
                            best = False
                            break
                    if not best:
                        break
                if not best:
                    break
            if best:
                if keep:
                    index[place + n] = (z * ny + y) * nx + x
                    value[place + n] = v
                n += 1
    return n


@nb.njit(cache=True)
def suppress(pairs, kept):  # type: ignore[no-untyped-def]
    """Drop the later of each pair whose earlier one is kept; pairs are sorted by the earlier one."""
    for m in range(pairs.shape[0]):
        if kept[pairs[m, 0]]:
            kept[pairs[m, 1]] = False


@nb.njit(cache=True)
def sort_few(values):  # type: ignore[no-untyped-def]
    """Sort some dozens of numbers in place, ascending, by insertion; numba's own takes seconds to compile."""
    for k in range(1, values.shape[0]):
        value = values[k]
        place = k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@nb.njit(cache=True)
def copy_row(source, out):  # type: ignore[no-untyped-def]
    """Copy a row to one of the same length.

    An assignment to a slice makes numba compile a sentence for the error it may raise: two seconds of a
    first run.
    """
    for k in range(out.shape[0]):
        out[k] = source[k]


@nb.njit(cache=True)
def make_sorting(n):  # type: ignore[no-untyped-def]
    """Work space for `sort_floats` of up to `n` values: two rows of keys, one of counts."""
    return np.empty((3, max(n, 1024)), dtype=np.uint32)


@nb.njit(cache=True)
def sort_floats(values, sorting):  # type: ignore[no-untyped-def]
    """Sort a short row of float32 in place, ascending, no NaN: byte by byte, four times as fast as `sort`."""
    n = values.shape[0]
    bits = values.view(np.uint32)
    sign, byte = np.uint32(0x80000000), np.uint32(255)
    keys, other, count = sorting[0], sorting[1], sorting[2]
    count[:1024] = 0
    for i in range(n):
        b = bits[i]
        # Turned so that the order of the bits is the order of the numbers.
        b = ~b if b & sign else b | sign
        keys[i] = b
        count[b & byte] += 1
        count[256 + ((b >> np.uint32(8)) & byte)] += 1
        count[512 + ((b >> np.uint32(16)) & byte)] += 1
        count[768 + (b >> np.uint32(24))] += 1
    for p in range(4):
        total = np.uint32(0)
        for k in range(256 * p, 256 * p + 256):
            here = count[k]
            count[k] = total
            total += here
        shift = np.uint32(8 * p)
        for i in range(n):
            b = keys[i]
            d = 256 * p + ((b >> shift) & byte)
            other[count[d]] = b
            count[d] += 1
        keys, other = other, keys
    for i in range(n):
        b = keys[i]
        bits[i] = (b ^ sign) if b & sign else ~b
