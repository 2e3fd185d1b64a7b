"""Compiled neighbor counts over sets of points that are sorted by their first coordinate."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(nogil=True, cache=True)
def drop_close(first, last, points, draws, kept, apart_mm):  # type: ignore[no-untyped-def]
    """Thin each draw to points at least `apart_mm` from all points kept earlier in the same draw.

    `points` (n, 3) are sorted by their first coordinate [mm]; `draws` (k, m) holds ascending rows of them.
    `kept` (k, m) receives the rows kept, followed by -1.
    """
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
    """Count pairs by distance, and measure each point's distance to its nearest neighbor, for each draw.

    `points` (n, 3) are sorted by their first coordinate [mm] and the rows of a draw (k, m) ascend, so that
    the search up and down from each point ends early. `sizes` (k,) is the number of rows of each draw,
    `edges` (b + 1,) bounds the bins of distance [mm]. `pairs` (k, b) and `nearest` (k, m) [mm] receive the
    results.
    """
    n_bins = edges.shape[0] - 1
    reach = edges[n_bins]
    position = np.empty((3, draws.shape[1]))
    # Loops upward and downward count from zero on slices: numba checks every index that may be negative.
    for k in range(first, last):
        n = sizes[k]
        for i in range(n):
            for a in range(3):
                position[a, i] = points[draws[k, i], a]
        for i in range(n):
            z, y, x = position[0, i], position[1, i], position[2, i]
            best = np.inf
            after_z, after_y, after_x = position[0, i + 1 : n], position[1, i + 1 : n], position[2, i + 1 : n]
            for j in range(n - i - 1):
                dz = after_z[j] - z
                if dz > reach and dz * dz > best:
                    break
                dy = after_y[j] - y
                dx = after_x[j] - x
                square = dz * dz + dy * dy + dx * dx
                best = min(best, square)
                # A little beyond the last edge: rounding decides there, so the distance itself is compared.
                if square < 1.001 * reach * reach:
                    d = np.sqrt(square)
                    if edges[0] <= d < reach:
                        bin_ = 0
                        while d >= edges[bin_ + 1]:
                            bin_ += 1
                        pairs[k, bin_] += 1
            for j in range(i):
                dz = z - position[0, i - 1 - j]
                if dz * dz > best:
                    break
                dy = position[1, i - 1 - j] - y
                dx = position[2, i - 1 - j] - x
                best = min(best, dz * dz + dy * dy + dx * dx)
            nearest[k, i] = np.sqrt(best)
