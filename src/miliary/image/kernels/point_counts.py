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
    place = np.empty((3, draws.shape[1]))
    # Loops upward and downward count from zero on slices: numba checks every index that may be negative.
    for k in range(first, last):
        n = sizes[k]
        for i in range(n):
            for a in range(3):
                place[a, i] = points[draws[k, i], a]
        for i in range(n):
            z, y, x = place[0, i], place[1, i], place[2, i]
            best = np.inf
            after_z, after_y, after_x = place[0, i + 1 : n], place[1, i + 1 : n], place[2, i + 1 : n]
            for j in range(n - i - 1):
                dz = after_z[j] - z
                if dz > reach and dz * dz > best:
                    break
                dy = after_y[j] - y
                dx = after_x[j] - x
                square = dz * dz + dy * dy + dx * dx
                best = min(best, square)
                # A little beyond the reach: on which side of it a pair lies is told by the distance itself.
                if square < 1.001 * reach * reach:
                    d = np.sqrt(square)
                    if edges[0] <= d < reach:
                        bin_ = 0
                        while d >= edges[bin_ + 1]:
                            bin_ += 1
                        pairs[k, bin_] += 1
            for j in range(i):
                dz = z - place[0, i - 1 - j]
                if dz * dz > best:
                    break
                dy = place[1, i - 1 - j] - y
                dx = place[2, i - 1 - j] - x
                best = min(best, dz * dz + dy * dy + dx * dx)
            nearest[k, i] = np.sqrt(best)
