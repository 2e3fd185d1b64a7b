"""Compiled filters, local maxima and sorting on float32 volumes (z, y, x).

Every kernel that runs over a volume takes ``first`` and ``last``, the range of slices or rows it works on, so
that `run_rows` can hand pieces of the range to several threads.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


class SeparableKernel(NamedTuple):
    """Half kernels along each axis, from `sample_gaussian`."""

    z: F32
    y: F32
    x: F32


def sample_gaussian(sigma: float, *, truncate: float = 3.5) -> F32:
    """Half of a sampled Gaussian kernel, integrated over each sample.

    Parameters
    ----------
    sigma : float
        Standard deviation in samples; under 0.05 the kernel is the identity.
    truncate : float
        Half-length of the kernel in standard deviations.

    Returns
    -------
    ndarray of float32, shape (reach + 1,)
        Weights from the center (index 0) outward. The whole, mirrored kernel sums to one.
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

    Plain threads instead of numba's parallel loops: each of those takes a second to compile, and waits by
    spinning when the machine is busy.

    Parameters
    ----------
    kernel : callable
        Compiled with ``nogil=True``; writes its result into one of `arguments`.
    n : int
        Number of slices or rows. Nothing is called when it is 0.
    *arguments
        Passed on unchanged to every call.
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
    left = deque(pairwise(edges))

    def work() -> None:
        # Each thread takes its next piece itself, so that a thread with a short piece never waits for a
        # scheduler.
        while True:
            try:
                first, last = left.popleft()
            except IndexError:
                return
            kernel(first, last, *arguments)

    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(work) for _ in range(n_threads - 1)]
        work()
        for other in others:
            other.result()


@nb.njit(nogil=True, cache=True, fastmath=True)
def filter_slices(first, last, src, kernel, wide_spans, spans, out):  # type: ignore[no-untyped-def]
    """Separable filter of slices `first` to `last`, within spans of each row.

    `kernel` is a `SeparableKernel`. `wide_spans` (z, y, 2, 2) bounds what is filtered along z, `spans`
    what is written, see `span_labels`. `src` and `out` may be ring buffers that hold a part of the slices:
    slice z is at z modulo their length. The filter along z writes one slice at a time, into a plane that
    stays in the processor's cache. Loops along x count from zero on slices of the rows: numba does not
    vectorize where an index might be negative.
    """
    kernel_z, kernel_y, kernel_x = kernel
    nz, ny, nx = spans.shape[0], src.shape[1], src.shape[2]
    n_src, n_out = src.shape[0], out.shape[0]
    rz, ry, rx = kernel_z.shape[0] - 1, kernel_y.shape[0] - 1, kernel_x.shape[0] - 1
    plane = np.empty((ny, nx), dtype=np.float32)
    line = np.empty(nx + 2 * rx, dtype=np.float32)
    for z in range(first, last):
        for y in range(ny):
            for s in range(2):
                a, b = wide_spans[z, y, s, 0], wide_spans[z, y, s, 1]
                row, here, w = plane[y, a:b], src[z % n_src, y, a:b], kernel_z[0]
                for x in range(b - a):
                    row[x] = w * here[x]
                for k in range(1, rz + 1):
                    below = src[max(z - k, 0) % n_src, y, a:b]
                    above = src[min(z + k, nz - 1) % n_src, y, a:b]
                    w = kernel_z[k]
                    for x in range(b - a):
                        row[x] += w * (below[x] + above[x])
        for y in range(ny):
            for s in range(2):
                a, b = spans[z, y, s, 0], spans[z, y, s, 1]
                if a >= b:
                    continue
                low, high = max(a - rx, 0), min(b + rx, nx)
                n = high - low
                part, here, w = line[rx + low : rx + high], plane[y, low:high], kernel_y[0]
                for x in range(n):
                    part[x] = w * here[x]
                for k in range(1, ry + 1):
                    back = plane[max(y - k, 0), low:high]
                    front = plane[min(y + k, ny - 1), low:high]
                    w = kernel_y[k]
                    for x in range(n):
                        part[x] += w * (back[x] + front[x])
                if low == 0:
                    for x in range(rx):
                        line[x] = line[rx]
                if high == nx:
                    for x in range(rx):
                        line[rx + nx + x] = line[rx + nx - 1]
                row, here, w = out[z % n_out, y, a:b], line[rx + a : rx + b], kernel_x[0]
                for x in range(b - a):
                    row[x] = w * here[x]
                for k in range(1, rx + 1):
                    left, right = line[rx + a - k : rx + b - k], line[rx + a + k : rx + b + k]
                    w = kernel_x[k]
                    for x in range(b - a):
                        row[x] += w * (left[x] + right[x])


def span_whole(shape: tuple[int, ...]) -> I64:
    """Spans that cover every row of a volume from end to end.

    Parameters
    ----------
    shape : tuple of int
        Shape (z, y, x) of the volume.

    Returns
    -------
    ndarray of int64, shape (z, y, 2, 2)
        As from `span_labels`: the first stretch is the whole row, the second is empty.
    """
    spans = np.zeros((shape[0], shape[1], 2, 2), dtype=np.int64)
    spans[:, :, 0, 1] = shape[2]
    return spans


def span_labels(labels: npt.NDArray[np.uint8], margins: Iterable[Sequence[int] | I64]) -> list[I64]:
    """Stretches of each row that labels 1 and 2 cover, widened by margins.

    Filters work only inside these spans, since most of a chest CT is not lung.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels: 0 outside, 1 right, 2 left.
    margins : iterable of sequence of int
        Margins (z, y, x) in voxels; one result is made for each.

    Returns
    -------
    list of ndarray of int64, shape (z, y, 2, 2)
        For each margin the begin and end along x of up to two stretches per row; begin equals end where there
        is none. The second stretch begins no earlier than the first ends.
    """
    nz, ny, nx = labels.shape
    rows = np.empty((nz, ny, 2, 2), dtype=np.int64)
    run_rows(_span_rows, nz, labels, rows)
    return [_widen_spans(rows, margin, nx) for margin in margins]


def _widen_spans(rows: I64, margin: Sequence[int] | I64, nx: int) -> I64:
    spans = np.empty_like(rows)
    size = (2 * int(margin[0]) + 1, 2 * int(margin[1]) + 1)
    for s in range(2):
        begin = ndimage.minimum_filter(rows[:, :, s, 0], size) - margin[2]
        end = ndimage.maximum_filter(rows[:, :, s, 1], size) + margin[2]
        none = begin >= end
        spans[:, :, s, 0] = np.where(none, 0, np.maximum(begin, 0))
        spans[:, :, s, 1] = np.where(none, 0, np.minimum(end, nx))
    first, second = spans[:, :, 0], spans[:, :, 1]
    turned = (second[..., 0] < first[..., 0]) & (second[..., 1] > 0)
    spans[turned] = spans[turned][:, ::-1]
    # Stretches that overlap are joined into one, so that no voxel is filtered twice.
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


def filter_gaussian(volume: F32, sigma_zyx: tuple[float, float, float]) -> F32:
    """Gaussian filter of a volume; values beyond the border repeat the border.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        C-contiguous; not modified.
    sigma_zyx : tuple of float
        Standard deviation along each axis [voxels].

    Returns
    -------
    ndarray of float32, shape (z, y, x)
    """
    kernel = SeparableKernel(*(sample_gaussian(s) for s in sigma_zyx))
    out, spans = np.empty_like(volume), span_whole(volume.shape)
    run_rows(filter_slices, len(volume), volume, kernel, spans, spans, out)
    return out


def laplacian(smooth: F32, weights: F32, out: F32) -> None:
    """Weighted negative Laplacian of a smoothed volume, positive where it is locally bright.

    Parameters
    ----------
    smooth : ndarray of float32, shape (z, y, x)
        The smoothed volume.
    weights : ndarray of float32, shape (3,)
        Weight of the second difference along each axis; scale^2 / spacing^2 gives the scale-normalized
        Laplacian in the unit of `smooth`.
    out : ndarray of float32, shape (z, y, x)
        Receives the result; the first and last voxel of every row are 0.
    """
    run_rows(laplacian_slices, len(smooth), smooth, weights, span_whole(smooth.shape), out)


@nb.njit(nogil=True, cache=True, fastmath=True)
def laplacian_slices(first, last, smooth, weights, spans, out):  # type: ignore[no-untyped-def]
    """Slices of the negative Laplacian within `spans`, see `span_labels`; volumes may be ring buffers."""
    nz, ny, nx = spans.shape[0], smooth.shape[1], smooth.shape[2]
    n_smooth, n_out = smooth.shape[0], out.shape[0]
    wz, wy, wx = weights
    total = 2.0 * (wz + wy + wx)
    for z in range(first, last):
        k, low, high = z % n_smooth, max(z - 1, 0) % n_smooth, min(z + 1, nz - 1) % n_smooth
        for y in range(ny):
            for s in range(2):
                a, b = max(spans[z, y, s, 0], 1), min(spans[z, y, s, 1], nx - 1)
                here, left, right = (
                    smooth[k, y, a:b],
                    smooth[k, y, a - 1 : b - 1],
                    smooth[k, y, a + 1 : b + 1],
                )
                up, down = smooth[low, y, a:b], smooth[high, y, a:b]
                back, front = smooth[k, max(y - 1, 0), a:b], smooth[k, min(y + 1, ny - 1), a:b]
                part = out[z % n_out, y, a:b]
                for x in range(b - a):
                    part[x] = (
                        total * here[x]
                        - wz * (up[x] + down[x])
                        - wy * (back[x] + front[x])
                        - wx * (left[x] + right[x])
                    )
            row = out[z % n_out, y]
            row[0] = 0.0
            row[nx - 1] = 0.0


@nb.njit(nogil=True, cache=True)
def list_maxima(first, last, field, spans, labels, reach, floor, found):  # type: ignore[no-untyped-def]
    """List every 26-neighbor maximum above `floor` near a label; returns their number.

    `found` is a pair of arrays for the flat index and the value of each, with room for an eighth of the
    voxels. Near is within `reach` (3,) voxels along each axis. `field` may be a ring buffer of slices, valid
    within `spans`, which must cover everything near a label and one voxel more.
    """
    index, value = found
    nz, ny, nx = labels.shape
    n_field = field.shape[0]
    n = 0
    for z in range(max(1, first), min(nz - 1, last)):
        below, here, above = field[(z - 1) % n_field], field[z % n_field], field[(z + 1) % n_field]
        for y in range(1, ny - 1):
            for s in range(2):
                a, b = max(spans[z, y, s, 0], 1), min(spans[z, y, s, 1], nx - 1)
                row = here[y, a - 1 : b + 1]
                for x in range(b - a):
                    v = row[x + 1]
                    # Ties go to the first voxel in memory order, so that a plateau gives one maximum.
                    if (
                        v <= floor
                        or row[x] >= v
                        or row[x + 2] > v
                        or _is_passed(here[y - 1, a - 1 : b + 1], x, v, True)
                        or _is_passed(here[y + 1, a - 1 : b + 1], x, v, False)
                    ):
                        continue
                    passed = False
                    for dy in range(-1, 2):
                        passed = (
                            passed
                            or _is_passed(below[y + dy, a - 1 : b + 1], x, v, True)
                            or _is_passed(above[y + dy, a - 1 : b + 1], x, v, False)
                        )
                    if not passed and _is_near(labels, z, y, a + x, reach):
                        index[n] = (z * ny + y) * nx + a + x
                        value[n] = v
                        n += 1
    return n


@nb.njit(cache=True)
def _is_passed(row, x, v, before):  # type: ignore[no-untyped-def]
    """Whether one of three neighbors in a row exceeds `v`, or equals it in a row earlier in memory order."""
    best = max(row[x], row[x + 1], row[x + 2])
    return best > v or (before and best == v)


@nb.njit(cache=True)
def _is_near(labels, z, y, x, reach):  # type: ignore[no-untyped-def]
    """Whether a label lies in the box of `reach` voxels around one."""
    if labels[z, y, x] > 0:
        return True
    nz, ny, nx = labels.shape
    for c in range(max(0, z - reach[0]), min(nz, z + reach[0] + 1)):
        for b in range(max(0, y - reach[1]), min(ny, y + reach[1] + 1)):
            for a in range(max(0, x - reach[2]), min(nx, x + reach[2] + 1)):
                if labels[c, b, a] > 0:
                    return True
    return False


@nb.njit(cache=True)
def suppress(pairs, kept):  # type: ignore[no-untyped-def]
    """Greedy suppression: clear `kept` for the second of each pair whose first is kept.

    `pairs` (n, 2) holds row numbers in order of decreasing preference, sorted by the first of each pair.
    """
    for m in range(pairs.shape[0]):
        if kept[pairs[m, 0]]:
            kept[pairs[m, 1]] = False


@nb.njit(cache=True)
def sort_few(values):  # type: ignore[no-untyped-def]
    """Insertion sort of some dozens of numbers in place; numba's own sort takes seconds to compile."""
    for k in range(1, values.shape[0]):
        value = values[k]
        slot = k
        while slot > 0 and values[slot - 1] > value:
            values[slot] = values[slot - 1]
            slot -= 1
        values[slot] = value


@nb.njit(cache=True)
def copy_row(source, out):  # type: ignore[no-untyped-def]
    """Copy a row to one of the same length.

    An assignment to a slice would make numba compile the formatting of an error message: two seconds of a
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
    """Radix sort of a short row of float32 in place, no NaN; four times as fast as numba's `sort`."""
    n = values.shape[0]
    bits = values.view(np.uint32)
    sign, byte = np.uint32(0x80000000), np.uint32(255)
    keys, other, count = sorting[0], sorting[1], sorting[2]
    count[:1024] = 0
    for i in range(n):
        b = bits[i]
        # Negative numbers are inverted, so that the order of the bits is the order of the numbers.
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


# Rows of `sort_columns` hold as many numbers as the processor compares at a time.
LANES = 16


@functools.lru_cache(maxsize=4)
def list_comparators(n: int) -> npt.NDArray[np.uint32]:
    """Sorting network: pairs of positions that sort any `n` numbers when compared and exchanged in order.

    Batcher's merge exchange [1]_.

    Parameters
    ----------
    n : int
        How many numbers are sorted.

    Returns
    -------
    ndarray of uint32, shape (m, 2)

    References
    ----------
    .. [1] Knuth DE, The Art of Computer Programming 3, 2nd ed. 1998, algorithm 5.2.2M.
    """
    pairs = []
    highest = 1 << max(0, (n - 1).bit_length() - 1)
    p = highest
    while p:
        q, r, d = highest, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.array(pairs, dtype=np.uint32).reshape(-1, 2)


@nb.njit(cache=True, fastmath=True)
def sort_columns(table, comparators):  # type: ignore[no-untyped-def]
    """Sort each column of a table of float32 in place, ascending, without NaN; fastest with `LANES` columns.

    The comparisons are those of `list_comparators`, the same for all columns, so that all columns are
    compared in one vector instruction.
    """
    n = table.shape[1]
    for c in range(comparators.shape[0]):
        low, high = table[comparators[c, 0]], table[comparators[c, 1]]
        for k in range(n):
            a, b = low[k], high[k]
            low[k] = min(a, b)
            high[k] = max(a, b)
