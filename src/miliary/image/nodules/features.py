"""Features of the neighborhood of a candidate: attenuation along rays in all directions.

A nodule ends in every direction; a vessel continues in one or two, a fissure or the pleura in a plane. Each
candidate is sampled on 48 axes (96 directions) at ten radii in millimeters, so that the features mean the
same on any grid. They are normalized by the contrast over a low quantile of the surrounding attenuation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.nodules.find import Candidates
from miliary.model.ct_result import Noise, Psf

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

N_AXES = 48
RADII_MM = (0.6, 1.1, 1.6, 2.1, 2.7, 3.3, 4.0, 5.0, 6.5, 8.5)
MOMENT_AT = (1, 2, 4, 6, 7)
BRANCH_AT = (3, 5, 7)
# Size of the region connected to the center above these shares of its contrast: rays miss a vessel that
# bends.
FLOOD_LEVELS = (0.5, 0.3)
FLOOD_MM = 9.0
FLOOD_VOXELS = 300
QUANTILES = ("max", "q90", "q75", "q50", "q25", "q10", "mean")


def _axes() -> F64:
    """Even directions over a hemisphere (spherical Fibonacci lattice), shape (48, 3) as (z, y, x)."""
    k = np.arange(N_AXES) + 0.5
    z = k / N_AXES
    angle = math.pi * (1.0 + math.sqrt(5.0)) * k
    flat = np.sqrt(1.0 - z * z)
    return np.stack([z, flat * np.sin(angle), flat * np.cos(angle)], axis=1)


AXES = _axes()
DIRECTIONS = np.concatenate([AXES, -AXES])
COSINE = np.asarray(DIRECTIONS @ DIRECTIONS.T, dtype=np.float32)
# Directions within 31 degrees are neighbors on the sphere.
_CLOSE = (COSINE > 0.86) & ~np.eye(len(DIRECTIONS), dtype=bool)
N_NEAR = _CLOSE.sum(axis=1)
NEAR = np.argsort(~_CLOSE, axis=1, kind="stable")[:, : N_NEAR.max()].astype(np.int64)


def name_features() -> tuple[str, ...]:
    """Names of the columns that `measure_features` returns, in order.

    ``ray_<quantile>_<mm>``: quantile over directions at a radius; ``pair``: best pair of opposite rays;
    ``through`` and ``branch``: the same for the minimum along the ray so far; ``pieces``, ``largest``,
    ``covered``: connected groups of bright directions; ``linear``, ``planar``, ``dipole``: moments of the
    brightness over the sphere; ``half`` and ``width``: radius and diameter at half of the contrast;
    ``flood``: size of the connected region; ``log``: Laplacian-of-Gaussian responses.
    """
    names = ["contrast_hu", "background_hu", "shell_sd_hu", "contrast_over_noise", "context_hu"]
    names += [f"ray_{q}_{r}" for r in RADII_MM for q in QUANTILES]
    names += [f"pair_{r}" for r in RADII_MM] + [f"through_{r}" for r in RADII_MM]
    names += [f"branch1_{r}" for r in RADII_MM]
    names += [f"branch{k}_{RADII_MM[r]}" for r in BRANCH_AT for k in (2, 3)]
    names += [f"bent_{RADII_MM[r]}" for r in BRANCH_AT]
    names += [f"{kind}_{RADII_MM[r]}" for r in BRANCH_AT for kind in ("pieces", "largest", "covered")]
    names += [f"{kind}_{RADII_MM[r]}" for r in MOMENT_AT for kind in ("linear", "planar", "dipole")]
    names += [
        "half_mean",
        "half_sd",
        "half_min",
        "half_max",
        "width_min",
        "width_mid",
        "width_max",
        "width_ratio",
    ]
    names += [f"{kind}_{level}" for level in FLOOD_LEVELS for kind in ("flood_mm3", "flood_reach_mm")]
    names += [f"log_over_contrast_{k}" for k in range(4)] + [f"log_over_spread_{k}" for k in range(4)]
    names += ["scale", "depth_mm", "noise_hu", "psf_xy_mm", "psf_z_mm", "step_z_mm"]
    return tuple(names)


FEATURE_NAMES = name_features()

QUICK_RADII_MM = (1.1, 2.1, 3.3, 4.2)
QUICK_DIRECTIONS = DIRECTIONS[np.r_[0:N_AXES:2, N_AXES : 2 * N_AXES : 2]]
QUICK_NAMES = (
    "contrast_hu",
    "background_hu",
    *(f"{kind}_{r}" for r in QUICK_RADII_MM for kind in ("mean", "max", "pair", "through", "branch1")),
    *(f"log_over_spread_{k}" for k in range(4)),
    "scale",
)
N_RAY_FEATURES = FEATURE_NAMES.index(f"flood_mm3_{FLOOD_LEVELS[0]}")


def _offset_rays(directions: F64, radii_mm: tuple[float, ...], spacing_zyx_mm: F64) -> F32:
    """Offsets [voxels] of the samples of all rays from the candidate, shape (3, radii, directions)."""
    offsets = np.asarray(radii_mm)[:, None, None] * directions / spacing_zyx_mm
    return np.ascontiguousarray(np.moveaxis(offsets, -1, 0), dtype=np.float32)


@nb.njit(cache=True, fastmath=True)
def _sample_rays(volume, point, offsets, rays):  # type: ignore[no-untyped-def]
    """Trilinear attenuation at `point` + `offsets`, in single precision, into `rays`."""
    nz, ny, nx = volume.shape
    flat = volume.ravel()
    zero, edge = np.float32(0.0), np.float32(1.001)
    top_z, top_y, top_x = np.float32(nz) - edge, np.float32(ny) - edge, np.float32(nx) - edge
    z0, y0, x0 = np.float32(point[0]), np.float32(point[1]), np.float32(point[2])
    # Unsigned, since numba checks every index that may be negative.
    one, step_y, step_z = np.uint64(1), np.uint64(nx), np.uint64(ny * nx)
    for r in range(offsets.shape[1]):
        for d in range(offsets.shape[2]):
            z = min(max(z0 + offsets[0, r, d], zero), top_z)
            y = min(max(y0 + offsets[1, r, d], zero), top_y)
            x = min(max(x0 + offsets[2, r, d], zero), top_x)
            k, j, i = int(z), int(y), int(x)
            wz, wy, wx = z - np.float32(k), y - np.float32(j), x - np.float32(i)
            p = np.uint64((k * ny + j) * nx + i)
            q = p + step_z
            a = flat[p] + (flat[p + one] - flat[p]) * wx
            b = flat[p + step_y] + (flat[p + step_y + one] - flat[p + step_y]) * wx
            c = flat[q] + (flat[q + one] - flat[q]) * wx
            e = flat[q + step_y] + (flat[q + step_y + one] - flat[q + step_y]) * wx
            a += (b - a) * wy
            c += (e - c) * wy
            rays[r, d] = a + (c - a) * wz


@nb.njit(cache=True)
def _count_pieces(bright, near, n_near, stack, seen):  # type: ignore[no-untyped-def]
    """Number of connected groups of bright directions, and size of the largest."""
    n = bright.shape[0]
    seen[:] = False
    pieces = 0
    largest = 0
    for start in range(n):
        if not bright[start] or seen[start]:
            continue
        pieces += 1
        size = 0
        stack[0] = start
        depth = 1
        seen[start] = True
        while depth > 0:
            depth -= 1
            here = stack[depth]
            size += 1
            for k in range(n_near[here]):
                other = near[here, k]
                if bright[other] and not seen[other]:
                    seen[other] = True
                    stack[depth] = other
                    depth += 1
        largest = max(largest, size)
    return pieces, largest


@nb.njit(cache=True)
def _make_window(spacing, reach_mm):  # type: ignore[no-untyped-def]
    """Work space of `_flood`: squared distance [mm2] from the center, stamps of visited voxels, half size.

    Voxels farther than `reach_mm` carry a stamp above any that a flood uses, so that one comparison covers
    both "visited" and "too far".
    """
    half = np.empty(3, dtype=np.int64)
    for a in range(3):
        half[a] = int(reach_mm / spacing[a]) + 1
    distance = np.empty((2 * half[0] + 1, 2 * half[1] + 1, 2 * half[2] + 1), dtype=np.float32)
    seen = np.zeros(distance.shape, dtype=np.int32)
    for z in range(distance.shape[0]):
        for y in range(distance.shape[1]):
            for x in range(distance.shape[2]):
                dz, dy, dx = (
                    (z - half[0]) * spacing[0],
                    (y - half[1]) * spacing[1],
                    (x - half[2]) * spacing[2],
                )
                d = dz * dz + dy * dy + dx * dx
                distance[z, y, x] = d
                if d > reach_mm * reach_mm:
                    seen[z, y, x] = np.iinfo(np.int32).max
    return distance.ravel(), seen.ravel(), half


@nb.njit(cache=True)
def _flood(volume, point, level, window, stamp, places, cells):  # type: ignore[no-untyped-def]
    """Volume [voxels] and farthest distance [mm] of the region connected to a point above a level.

    Connected through faces within the window of `_make_window`; stops when `places`, flat indices of the
    voxels reached, is full. `cells` are the same voxels in the window; `stamp` grows from flood to flood.
    """
    distance, seen, half = window
    nz, ny, nx = volume.shape
    flat = volume.ravel()
    cz, cy, cx = round(point[0]), round(point[1]), round(point[2])
    cz, cy, cx = min(max(cz, 0), nz - 1), min(max(cy, 0), ny - 1), min(max(cx, 0), nx - 1)
    wy, wx = 2 * half[1] + 1, 2 * half[2] + 1
    # Unsigned, since numba checks every index that may be negative; a step back wraps around.
    steps = np.array([ny * nx, -ny * nx, nx, -nx, 1, -1]).view(np.uint64)
    strides = np.array([wy * wx, -wy * wx, wx, -wx, 1, -1]).view(np.uint64)
    is_inner = half[0] <= cz < nz - half[0] and half[1] <= cy < ny - half[1] and half[2] <= cx < nx - half[2]
    far = np.float32(0.0)
    places[0] = (cz * ny + cy) * nx + cx
    cells[0] = (half[0] * wy + half[1]) * wx + half[2]
    seen[cells[0]] = stamp
    head = 0
    tail = 1
    while head < tail < places.shape[0] - 6:
        place, cell = places[head], cells[head]
        head += 1
        for k in range(6):
            other = cell + strides[k]
            if seen[other] >= stamp:
                continue
            if not is_inner and _leaves(int(place), k, nz, ny, nx):
                continue
            seen[other] = stamp
            if flat[place + steps[k]] < level:
                continue
            far = max(far, distance[other])
            places[tail] = place + steps[k]
            cells[tail] = other
            tail += 1
    return tail, math.sqrt(far)


@nb.njit(cache=True)
def _leaves(place, k, nz, ny, nx):  # type: ignore[no-untyped-def]
    """Whether step `k` of a flood from a flat index goes out of the volume."""
    if k == 0:
        return place >= (nz - 1) * ny * nx
    if k == 1:
        return place < ny * nx
    if k == 2:
        return place // nx % ny == ny - 1
    if k == 3:
        return place // nx % ny == 0
    if k == 4:
        return place % nx == nx - 1
    return place % nx == 0


@nb.njit(cache=True, fastmath=True)
def _moments(g, axes, out):  # type: ignore[no-untyped-def]
    """Linear, planar and dipole moments of brightness `g` (n,) over directions `axes` (3, n)."""
    az, ay, ax = axes[0], axes[1], axes[2]
    total = z = y = x = zz = zy = zx = yy = yx = xx = 0.0
    for d in range(g.shape[0]):
        w = max(g[d], np.float32(0.0))
        wz, wy, wx = w * az[d], w * ay[d], w * ax[d]
        total += w
        z += wz
        y += wy
        x += wx
        zz += wz * az[d]
        zy += wz * ay[d]
        zx += wz * ax[d]
        yy += wy * ay[d]
        yx += wy * ax[d]
        xx += wx * ax[d]
    if total < 1e-3:
        out[0] = 0.0
        out[1] = 0.0
        out[2] = 0.0
        return
    m00, m01, m02 = zz / total, zy / total, zx / total
    m11, m12, m22 = yy / total, yx / total, xx / total
    # Eigenvalues of a symmetric 3 x 3 matrix of trace one, in closed form.
    q = 1.0 / 3.0
    p1 = m01**2 + m02**2 + m12**2
    p2 = (m00 - q) ** 2 + (m11 - q) ** 2 + (m22 - q) ** 2 + 2.0 * p1
    p = math.sqrt(max(p2 / 6.0, 1e-12))
    b00, b11, b22 = (m00 - q) / p, (m11 - q) / p, (m22 - q) / p
    b01, b02, b12 = m01 / p, m02 / p, m12 / p
    det = b00 * (b11 * b22 - b12 * b12) - b01 * (b01 * b22 - b12 * b02) + b02 * (b01 * b12 - b11 * b02)
    phi = math.acos(min(1.0, max(-1.0, det / 2.0))) / 3.0
    e1 = q + 2.0 * p * math.cos(phi)
    e3 = q + 2.0 * p * math.cos(phi + 2.0 * math.pi / 3.0)
    e2 = 1.0 - e1 - e3
    out[0] = e1 - e2
    out[1] = e2 - e3
    out[2] = math.sqrt(z * z + y * y + x * x) / total


@nb.njit(cache=True)
def _find_in_three(columns, first, places, out):  # type: ignore[no-untyped-def]
    """Order statistics, at ascending ranks `places`, of three sorted columns taken together."""
    n = columns.shape[0]
    i, j, k, found = 0, 0, 0, 0
    for place in range(places[-1] + 1):
        a = columns[i, first] if i < n else np.float32(np.inf)
        b = columns[j, first + 1] if j < n else np.float32(np.inf)
        c = columns[k, first + 2] if k < n else np.float32(np.inf)
        least = min(a, b, c)
        if a == least and i < n:
            i += 1
        elif b == least and j < n:
            j += 1
        else:
            k += 1
        if place == places[found]:
            out[found] = least
            found += 1


@nb.njit(cache=True)
def _find_ranked(values, rank):  # type: ignore[no-untyped-def]
    """Order statistic of some dozens of values; rank 0 is the smallest."""
    found = values[0]
    for i in range(values.shape[0]):
        v = values[i]
        below, equal = 0, 0
        for k in range(values.shape[0]):
            below += values[k] < v
            equal += values[k] == v
        if below <= rank < below + equal:
            found = v
    return found


class _RayGeometry(NamedTuple):
    """Directions (96 of them) and radii of the rays, and what follows from them.

    `offsets` (3, radii, directions) [voxels], `axes` (3, directions), `cosine` between directions, `near` the
    neighbors of each direction on the sphere and `n_near` their number, `comparators` to sort over
    directions.
    """

    offsets: F32
    axes: F64
    radii_mm: F64
    cosine: F32
    near: npt.NDArray[np.int64]
    n_near: npt.NDArray[np.int64]
    comparators: npt.NDArray[np.uint32]


@nb.njit(nogil=True, cache=True, fastmath=True)
def _measure_rays(begin, end, volume, index, geometry, noise_sd, out):  # type: ignore[no-untyped-def]
    """All ray features of candidates `begin` to `end`; `geometry` is a `_RayGeometry`."""
    offsets, axes, radii, cosine, near, n_near, comparators = geometry
    n_dir, n_rad = axes.shape[1], radii.shape[0]
    half = n_dir // 2
    rays = np.empty((n_rad, n_dir), dtype=np.float32)
    reach = np.empty((n_rad, n_dir), dtype=np.float32)
    line = np.empty((2, n_dir), dtype=np.float32)
    ordered = np.zeros((n_dir, loops.LANES), dtype=np.float32)
    shell = np.empty(3, dtype=np.float32)
    shell_at = np.array([int(0.1 * 3 * n_dir), int(0.3 * 3 * n_dir), int(0.6 * 3 * n_dir)])
    here = np.zeros((3, 1, 1), dtype=np.float32)
    flags = np.empty((2, n_dir), dtype=np.bool_)
    stack = np.empty(n_dir, dtype=np.int64)
    radius_half = line[0]
    width = line[1, :half]
    bright, seen = flags[0], flags[1]
    triple = np.empty(3)
    for m in range(begin, end):
        point, row = index[m], out[m]
        _sample_rays(volume, point, here, rays)
        center = rays[0, 0]
        _sample_rays(volume, point, offsets, rays)
        for r in range(n_rad):
            for d in range(n_dir):
                ordered[d, r] = rays[r, d]
        loops.sort_columns(ordered, comparators)
        _find_in_three(ordered, 5, shell_at, shell)
        background = shell[1]
        contrast = max(center - background, 20.0)
        spread = 0.7413 * (shell[2] - shell[0])
        context = 0.0
        for d in range(n_dir):
            context += rays[n_rad - 1, d] / n_dir
        row[0] = contrast
        row[1] = background
        row[2] = spread
        row[3] = contrast / max(noise_sd, 1.0)
        row[4] = context
        f = 5
        for r in range(n_rad):
            mean = 0.0
            ray, lowest, before = rays[r], reach[r], reach[max(r - 1, 0)]
            for d in range(n_dir):
                ray[d] = (ray[d] - background) / contrast
                mean += ray[d]
            for d in range(n_dir):
                lowest[d] = ray[d] if r == 0 else min(ray[d], before[d])
            row[f] = (ordered[n_dir - 1, r] - background) / contrast
            row[f + 1] = (ordered[int(0.9 * n_dir), r] - background) / contrast
            row[f + 2] = (ordered[int(0.75 * n_dir), r] - background) / contrast
            row[f + 3] = (ordered[int(0.5 * n_dir), r] - background) / contrast
            row[f + 4] = (ordered[int(0.25 * n_dir), r] - background) / contrast
            row[f + 5] = (ordered[int(0.1 * n_dir), r] - background) / contrast
            row[f + 6] = mean / n_dir
            f += 7
        for r in range(n_rad):
            pair = through = single = np.float32(-9.0)
            front, back = rays[r, :half], rays[r, half:]
            front_reach, back_reach = reach[r, :half], reach[r, half:]
            for d in range(half):
                pair = max(pair, min(front[d], back[d]))
                through = max(through, min(front_reach[d], back_reach[d]))
                single = max(single, max(front_reach[d], back_reach[d]))
            row[f + r] = pair
            row[f + n_rad + r] = through
            row[f + 2 * n_rad + r] = single
        f += 3 * n_rad
        for b in range(3):
            r = 3 + 2 * b
            first = 0
            for d in range(n_dir):
                if reach[r, d] > reach[r, first]:
                    first = d
            second = -1
            for d in range(n_dir):
                if cosine[first, d] < 0.5 and (second < 0 or reach[r, d] > reach[r, second]):
                    second = d
            third = -1
            bent = -9.0
            for d in range(n_dir):
                away = cosine[first, d] < 0.5 and cosine[second, d] < 0.5
                if away and (third < 0 or reach[r, d] > reach[r, third]):
                    third = d
                if cosine[first, d] < -0.35:
                    bent = max(bent, reach[r, d])
            row[f + 2 * b] = reach[r, second]
            row[f + 2 * b + 1] = reach[r, third]
            row[f + 6 + b] = bent
            for d in range(n_dir):
                bright[d] = rays[r, d] > 0.4
            pieces, largest = _count_pieces(bright, near, n_near, stack, seen)
            covered = 0
            for d in range(n_dir):
                covered += bright[d]
            row[f + 9 + 3 * b] = pieces
            row[f + 10 + 3 * b] = largest
            row[f + 11 + 3 * b] = covered
        f += 18
        for k in range(5):
            r = 1 if k == 0 else (2 if k == 1 else (4 if k == 2 else (6 if k == 3 else 7)))
            _moments(rays[r], axes, triple)
            row[f] = triple[0]
            row[f + 1] = triple[1]
            row[f + 2] = triple[2]
            f += 3
        mean = 0.0
        square = 0.0
        low = 99.0
        high = 0.0
        for d in range(n_dir):
            before, at = 1.0, 0.0
            found = radii[n_rad - 1]
            for r in range(n_rad):
                if rays[r, d] < 0.5:
                    found = at + (radii[r] - at) * (before - 0.5) / max(before - rays[r, d], 1e-3)
                    break
                before, at = rays[r, d], radii[r]
            radius_half[d] = found
            mean += found / n_dir
            square += found * found / n_dir
            low = min(low, found)
            high = max(high, found)
        narrow, wide = 99.0, 0.0
        front, back = radius_half[:half], radius_half[half:]
        for d in range(half):
            width[d] = front[d] + back[d]
            narrow = min(narrow, width[d])
            wide = max(wide, width[d])
        row[f] = mean
        row[f + 1] = math.sqrt(max(square - mean * mean, 0.0))
        row[f + 2] = low
        row[f + 3] = high
        row[f + 4] = narrow
        row[f + 5] = _find_ranked(width, half // 2)
        row[f + 6] = wide
        row[f + 7] = wide / max(narrow, 0.3)


class _FloodSettings(NamedTuple):
    """Levels as shares of the contrast, limits of a flood, and the first column it is written to."""

    spacing_mm: F64
    levels: F64
    reach_mm: float
    max_voxels: int
    column: int


@nb.njit(nogil=True, cache=True)
def _measure_floods(first, last, volume, index, settings, out):  # type: ignore[no-untyped-def]
    """Size of the region connected to each candidate above some levels; needs its ray features in `out`."""
    spacing, levels, flood_mm, n_queue, column = settings
    window = _make_window(spacing, flood_mm)
    voxel_mm3 = spacing[0] * spacing[1] * spacing[2]
    places = np.empty(n_queue, dtype=np.uint64)
    cells = np.empty(n_queue, dtype=np.uint64)
    stamp = 0
    for m in range(first, last):
        for k in range(levels.shape[0]):
            stamp += 1
            level = out[m, 1] + levels[k] * out[m, 0]
            n, far = _flood(volume, index[m], level, window, stamp, places, cells)
            out[m, column + 2 * k] = n * voxel_mm3
            out[m, column + 2 * k + 1] = far


@nb.njit(nogil=True, cache=True, fastmath=True)
def _measure_quick(first, last, volume, index, offsets, out):  # type: ignore[no-untyped-def]
    """Quick features of candidates `first` to `last`."""
    n_rad, n_dir = offsets.shape[1], offsets.shape[2]
    half = n_dir // 2
    rays = np.empty((n_rad, n_dir), dtype=np.float32)
    here = np.zeros((3, 1, 1), dtype=np.float32)
    reach = np.empty(n_dir, dtype=np.float32)
    shell = np.empty(2 * n_dir, dtype=np.float32)
    sorting = loops.make_sorting(2 * n_dir)
    for m in range(first, last):
        _sample_rays(volume, index[m], here, rays)
        center = rays[0, 0]
        _sample_rays(volume, index[m], offsets, rays)
        loops.copy_row(rays[n_rad - 2], shell[:n_dir])
        loops.copy_row(rays[n_rad - 1], shell[n_dir:])
        loops.sort_floats(shell, sorting)
        background = shell[int(0.3 * shell.shape[0])]
        contrast = max(center - background, 20.0)
        out[m, 0] = contrast
        out[m, 1] = background
        reach[:] = 9.0
        for r in range(n_rad):
            mean = 0.0
            high = -9.0
            pair = -9.0
            through = -9.0
            single = -9.0
            for d in range(n_dir):
                g = (rays[r, d] - background) / contrast
                rays[r, d] = g
                reach[d] = min(reach[d], g)
                mean += g / n_dir
                high = max(high, g)
                single = max(single, reach[d])
            for d in range(half):
                pair = max(pair, min(rays[r, d], rays[r, d + half]))
                through = max(through, min(reach[d], reach[d + half]))
            out[m, 2 + 5 * r] = mean
            out[m, 3 + 5 * r] = high
            out[m, 4 + 5 * r] = pair
            out[m, 5 + 5 * r] = through
            out[m, 6 + 5 * r] = single


def measure_quick_features(smooth_hu: F32, candidates: Candidates, box: LungBox) -> F32:
    """Measure a few features, cheap enough for every candidate, to drop those that are plainly no nodule.

    Parameters
    ----------
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `find.smooth_finest` [HU].
    candidates : Candidates
        The n candidates.
    box : LungBox
        The lungs.

    Returns
    -------
    ndarray of float32, shape (n, len(QUICK_NAMES))
        Columns as `QUICK_NAMES`; contrast and background in HU, the others without unit.
    """
    out = np.zeros((len(candidates), len(QUICK_NAMES)), dtype=np.float32)
    loops.run_rows(
        _measure_quick,
        len(candidates),
        smooth_hu,
        candidates.index_zyx,
        _offset_rays(QUICK_DIRECTIONS, QUICK_RADII_MM, np.asarray(box.spacing_zyx_mm)),
        out,
    )
    out[:, -5:-1] = candidates.responses_hu / np.maximum(candidates.response_sd_hu, 1.0)
    out[:, -1] = candidates.scale
    return out


def measure_features(
    smooth_hu: F32, candidates: Candidates, box: LungBox, *, depth_mm: F64, noise: Noise, psf: Psf
) -> F32:
    """Measure all features of each candidate.

    Parameters
    ----------
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `find.smooth_finest` [HU].
    candidates : Candidates
        The n candidates.
    box : LungBox
        The lungs.
    depth_mm : ndarray, shape (n,)
        Distance to the outer surface of the lung, negative outside [mm].
    noise : Noise
        Noise of the scan.
    psf : Psf
        Blur of the scan, before its calibration on nodules.

    Returns
    -------
    ndarray of float32, shape (n, len(FEATURE_NAMES))
        Columns as `FEATURE_NAMES`; normalized by the contrast unless the name ends in a unit.
    """
    n = len(candidates)
    out = np.zeros((n, len(FEATURE_NAMES)), dtype=np.float32)
    spacing = np.asarray(box.spacing_zyx_mm)
    geometry = _RayGeometry(
        offsets=_offset_rays(DIRECTIONS, RADII_MM, spacing),
        axes=np.ascontiguousarray(DIRECTIONS.T),
        radii_mm=np.asarray(RADII_MM),
        cosine=COSINE,
        near=NEAR,
        n_near=N_NEAR,
        comparators=loops.list_comparators(len(DIRECTIONS)),
    )
    loops.run_rows(_measure_rays, n, smooth_hu, candidates.index_zyx, geometry, noise.sd_hu, out)
    # Two kernels, not one: each compiles in half the time, and the second in another process.
    floods = _FloodSettings(spacing, np.asarray(FLOOD_LEVELS), FLOOD_MM, FLOOD_VOXELS, N_RAY_FEATURES)
    loops.run_rows(_measure_floods, n, smooth_hu, candidates.index_zyx, floods, out)
    f = N_RAY_FEATURES + 2 * len(FLOOD_LEVELS)
    out[:, f : f + 4] = candidates.responses_hu / out[:, :1]
    out[:, f + 4 : f + 8] = candidates.responses_hu / np.maximum(candidates.response_sd_hu, 1.0)
    out[:, f + 8] = candidates.scale
    out[:, f + 9] = depth_mm
    out[:, f + 10] = noise.sd_hu
    out[:, f + 11] = psf.sigma_xy_mm
    out[:, f + 12] = psf.sigma_z_mm
    out[:, f + 13] = box.spacing_zyx_mm[0]
    return out
