"""Compiled counts over point sets that are sorted by height."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(nogil=True, cache=True)
def drop_close(first, last, points, draws, kept, apart_mm):  # type: ignore[no-untyped-def]
    """Of each draw (sorted rows of `points`), keep what is `apart_mm` from all that was kept before it."""
    for k in range(first, last):
        n = 0
        for i in range(draws.shape[1]):
            row = draws[k, i]
            good = True
            j = n - 1
            while j >= 0 and points[row, 0] - points[kept[k, j], 0] < apart_mm:
                other = kept[k, j]
                dz = points[row, 0] - points[other, 0]
                dy = points[row, 1] - points[other, 1]
                dx = points[row, 2] - points[other, 2]
                if dz * dz + dy * dy + dx * dx < apart_mm * apart_mm:
                    good = False
                    break
                j -= 1
            if good:
                kept[k, n] = row
                n += 1
        for i in range(n, draws.shape[1]):
            kept[k, i] = -1


@nb.njit(nogil=True, cache=True)
def count_neighbors(first, last, points, draws, sizes, edges, pairs, nearest):  # type: ignore[no-untyped-def]
    """Pairs of each draw by distance, and each point's distance to its nearest neighbor.

    `points` are sorted by their first coordinate and the rows of a draw ascend, so that a scan up and down
    from each point ends early.
    """
    n_bins = edges.shape[0] - 1
    reach = edges[n_bins]
    for k in range(first, last):
        n = sizes[k]
        for i in range(n):
            a = draws[k, i]
            best = np.inf
            j = i + 1
            while j < n:
                b = draws[k, j]
                dz = points[b, 0] - points[a, 0]
                if dz > reach and dz > best:
                    break
                dy = points[b, 1] - points[a, 1]
                dx = points[b, 2] - points[a, 2]
                d = np.sqrt(dz * dz + dy * dy + dx * dx)
                best = min(best, d)
                if edges[0] <= d < reach:
                    bin_ = 0
                    while d >= edges[bin_ + 1]:
                        bin_ += 1
                    pairs[k, bin_] += 1
                j += 1
            j = i - 1
            while j >= 0:
                b = draws[k, j]
                dz = points[a, 0] - points[b, 0]
                if dz > best:
                    break
                dy = points[b, 1] - points[a, 1]
                dx = points[b, 2] - points[a, 2]
                best = min(best, np.sqrt(dz * dz + dy * dy + dx * dx))
                j -= 1
            nearest[k, i] = best
