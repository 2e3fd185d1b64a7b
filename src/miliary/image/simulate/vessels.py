"""Arterial, venous and airway trees that fill the lungs, as lists of short tapering pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.simulate.chest_anatomy import (
    AnatomyParameters,
    CoarseField,
    HardNegatives,
    carina_lps_mm,
    hilum_lps_mm,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """Short straight tubes.

    Parameters
    ----------
    ends_zyx_mm : ndarray, shape (n, 2, 3)
        Start and end of each axis in the body frame.
    radius_mm : ndarray, shape (n, 2)
        Radius at start and end.
    """

    ends_zyx_mm: FloatArray
    radius_mm: FloatArray

    @classmethod
    def join(cls, parts: list[Pieces]) -> Pieces:
        """All pieces of several lists."""
        if not parts:
            return cls(np.empty((0, 2, 3)), np.empty((0, 2)))
        return cls(
            np.concatenate([part.ends_zyx_mm for part in parts]),
            np.concatenate([part.radius_mm for part in parts]),
        )


@dataclass(frozen=True)
class Trees:
    """Blood vessels, airway walls (outer surface), airway lumens and the tips of the arteries."""

    vessels: Pieces
    walls: Pieces
    lumens: Pieces
    tips_zyx_mm: FloatArray


@nb.njit(cache=True, nogil=True)
def _grow(points, start, fraction, seed):  # type: ignore[no-untyped-def]
    """Binary tree from `start` to every point, splitting the points along their longest axis.

    Returns parent index, end position and number of tips fed per node; node 0 is the start.
    """
    np.random.seed(seed)
    n = points.shape[0]
    order = np.arange(n)
    parent = np.full(2 * n + 2, -1, np.int64)
    pos = np.zeros((2 * n + 2, 3))
    fed = np.zeros(2 * n + 2, np.int64)
    pos[0] = start
    fed[0] = n
    stack = np.zeros((256, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, n, 0
    top, used = 1, 1
    while top > 0:
        top -= 1
        lo, hi, at = stack[top, 0], stack[top, 1], stack[top, 2]
        count = hi - lo
        center = np.zeros(3)
        for i in range(lo, hi):
            center += points[order[i]]
        center /= count
        node = used
        used += 1
        parent[node] = at
        fed[node] = count
        if count == 1:
            pos[node] = points[order[lo]]
            continue
        f = fraction * (0.7 + 0.6 * np.random.random()) * (0.75 if count > 10 else 1.0)
        for k in range(3):
            pos[node, k] = pos[at, k] + f * (center[k] - pos[at, k])
        cov = np.zeros((3, 3))
        for i in range(lo, hi):
            d = points[order[i]] - center
            for a in range(3):
                for b in range(3):
                    cov[a, b] += d[a] * d[b]
        axis = np.random.normal(0.0, 1.0, 3)
        for _ in range(6):
            new = np.zeros(3)
            for a in range(3):
                for b in range(3):
                    new[a] += cov[a, b] * axis[b]
            axis = new / (np.sqrt(np.sum(new * new)) + 1e-12)
        spread = 0.0
        for a in range(3):
            for b in range(3):
                spread += axis[a] * cov[a, b] * axis[b]
        # Side branches feed what is near, the main branch goes on to what is far: long straight paths.
        toward = 0.0
        for k in range(3):
            toward += (pos[node, k] - center[k]) * axis[k]
        sign = 1.0 if toward > 0 else -1.0
        off = sign * (0.3 + 0.9 * np.random.random()) if count > 10 else np.random.normal(0.0, 0.4)
        cut = off * np.sqrt(spread / count)
        i, j = lo, hi - 1
        while i <= j:
            s = 0.0
            for k in range(3):
                s += (points[order[i], k] - center[k]) * axis[k]
            if s < cut:
                i += 1
            else:
                order[i], order[j] = order[j], order[i]
                j -= 1
        if i in (lo, hi):
            i = (lo + hi) // 2
        stack[top, 0], stack[top, 1], stack[top, 2] = lo, i, node
        stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = i, hi, node
        top += 2
    return parent[:used], pos[:used], fed[:used]


@nb.njit(cache=True, nogil=True)
def _bend(parent, pos, radius, tortuosity, n_steps, seed):  # type: ignore[no-untyped-def]
    """Replace each segment by a curve that leaves its parent smoothly and wanders a little."""
    np.random.seed(seed)
    n = pos.shape[0]
    ends = np.zeros(((n - 1) * n_steps, 2, 3))
    radii = np.zeros(((n - 1) * n_steps, 2))
    at = 0
    for node in range(1, n):
        a, b = pos[parent[node]], pos[node]
        chord = b - a
        length = np.sqrt(np.sum(chord * chord)) + 1e-9
        lead = chord.copy()
        if parent[node] > 0:
            grand = a - pos[parent[parent[node]]]
            # The main branch goes on smoothly, a small side branch leaves at its own angle.
            follow = 1.2 * (radius[node] / radius[parent[node]]) ** 3
            lead = chord / length + follow * grand / (np.sqrt(np.sum(grand * grand)) + 1e-9)
            lead = lead / (np.sqrt(np.sum(lead * lead)) + 1e-9) * length
        c1 = a + lead / 3 + np.random.normal(0.0, tortuosity, 3) * length
        c2 = b - chord / 3 + np.random.normal(0.0, tortuosity, 3) * length
        # A child leaves its parent at the child's own calibre, within the first step.
        r0 = min(radius[parent[node]], 1.15 * radius[node])
        last = a.copy()
        for s in range(1, n_steps + 1):
            t = s / n_steps
            p = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * c1 + 3 * (1 - t) * t * t * c2 + t**3 * b
            ends[at, 0] = last
            ends[at, 1] = p
            radii[at, 0] = r0 + (radius[node] - r0) * (t - 1 / n_steps)
            radii[at, 1] = r0 + (radius[node] - r0) * t
            last = p
            at += 1
    return ends, radii


def _tip_points(
    p: AnatomyParameters, chest: CoarseField, lobe: int, *, per_litre: float, rng: np.random.Generator
) -> FloatArray:
    """Jittered lattice of points in one lobe that keeps off the pleura and the fissures."""
    side = (1e6 / per_litre) ** (1 / 3)
    mask = (chest.values["lobe"] == lobe) & (chest.values["lung"] > 0)
    mask &= chest.values["side"] == (1 if lobe <= 3 else 2)
    index = np.argwhere(mask)
    if len(index) == 0:
        return np.empty((0, 3))
    low = index.min(0) * chest.spacing_mm + chest.origin_zyx_mm
    high = index.max(0) * chest.spacing_mm + chest.origin_zyx_mm
    lattice = np.stack(
        np.meshgrid(*[np.arange(low[i], high[i] + side, side) for i in range(3)], indexing="ij"), -1
    ).reshape(-1, 3)
    points = lattice + rng.uniform(-0.45, 0.45, lattice.shape) * side
    depth = chest.sample("lung", points)
    rim = p.clear_rim_mm * rng.uniform(0.6, 1.6, len(points))
    nearest = np.clip(
        np.rint((points - chest.origin_zyx_mm) / chest.spacing_mm).astype(int), 0, np.array(mask.shape) - 1
    )
    keep = (depth > rim) & mask[tuple(nearest.T)]
    keep &= np.abs(chest.sample("fissure", points)) > 0.6 * rim
    return np.asarray(points[keep])


def _root(p: AnatomyParameters, side: int, *, vein: bool, lower: bool) -> FloatArray:
    """Where the tree of a lobe starts, (z, y, x)."""
    x, y, z = hilum_lps_mm(p, side)
    if vein:
        return np.array([z - (26.0 if lower else 8.0), y + (6.0 if lower else -16.0), x * 0.75])
    return np.array([z, y, x])


def _airway(
    p: AnatomyParameters,
    hard: HardNegatives,
    parent: npt.NDArray[np.int64],
    pos: FloatArray,
    radius: FloatArray,
    seed: int,
) -> tuple[Pieces, Pieces]:
    """Walls and lumens of the airways beside the arteries that are wide enough to have one."""
    lumen = np.minimum(p.airway_ratio * radius, 6.0)
    wall = (0.1 + p.airway_wall_ratio * lumen) * hard.wall_thickening
    direction = pos - pos[np.maximum(parent, 0)]
    direction /= np.linalg.norm(direction, axis=1)[:, None] + 1e-9
    aside = np.array([0.3, 0.8, -np.sign(pos[0, 2])])
    aside = aside - (direction @ aside)[:, None] * direction
    aside /= np.linalg.norm(aside, axis=1)[:, None] + 1e-9
    shifted = pos + aside * (radius + lumen + wall)[:, None] * 1.02
    keep = np.flatnonzero((lumen > 0.7) & (parent >= 0))
    keep = np.concatenate([[0], keep])
    renumber = np.zeros(len(pos), np.int64)
    renumber[keep] = np.arange(len(keep))
    if len(keep) < 2:
        return Pieces.join([]), Pieces.join([])
    ends, radii = _bend(renumber[parent[keep]], shifted[keep], lumen[keep], p.tortuosity * 0.6, 5, seed)
    outer = radii + (0.1 + p.airway_wall_ratio * radii) * hard.wall_thickening
    return Pieces(ends, outer), Pieces(ends, radii)


def _central_airways(p: AnatomyParameters) -> Pieces:
    """Lumens of trachea and main bronchi."""
    carina = carina_lps_mm(p)[::-1]
    top = carina + np.array([p.lung_height_mm * 0.34 + 60, -8.0, 0.0])
    ends = [np.stack([top, carina])]
    radii = [[8.5, 8.0]]
    for side in (1, 2):
        hilum = hilum_lps_mm(p, side)[::-1]
        ends.append(np.stack([carina, hilum]))
        radii.append([7.0, 5.0])
    return Pieces(np.array(ends), np.array(radii))


def _outside_heart(pieces: Pieces, chest: CoarseField, hilum_zyx_mm: FloatArray) -> npt.NDArray[np.bool_]:
    """Pieces in the lung or near the hilum: a path may not bore through heart or diaphragm."""
    middle = pieces.ends_zyx_mm.mean(axis=1)
    in_lung = chest.sample("lung", middle) > -1.0 if len(middle) else np.zeros(0, bool)
    return np.asarray(in_lung | (np.linalg.norm(middle - hilum_zyx_mm, axis=1) < 26.0))


def grow_trees(p: AnatomyParameters, chest: CoarseField, hard: HardNegatives) -> Trees:
    """Grow all trees of a chest.

    Parameters
    ----------
    p : AnatomyParameters
    chest : CoarseField
        From `anatomy.build_fields`.
    hard : HardNegatives

    Returns
    -------
    Trees
    """
    rng = np.random.default_rng([p.seed, 5])
    vessels, walls, lumens, tips = [], [], [_central_airways(p)], []
    for side, lobes in ((1, (1, 2, 3)), (2, (4, 5))):
        for lobe in lobes:
            for vein in (False, True):
                share = 0.8 if vein else 1.0
                points = _tip_points(p, chest, lobe, per_litre=share * p.n_terminals_per_litre, rng=rng)
                if len(points) < 2:
                    continue
                root = _root(p, side, vein=vein, lower=lobe in (3, 5))
                seeds = rng.integers(0, 2**31 - 1, 3)
                parent, pos, fed = _grow(points, root, p.branch_fraction, int(seeds[0]))
                r0 = p.terminal_radius_mm * rng.uniform(0.75, 1.3, len(fed)) ** (fed < 4)
                radius = np.minimum(r0 * fed ** (1 / p.murray_exponent), 8.0)
                ends, radii = _bend(parent, pos, radius, p.tortuosity, 4, int(seeds[1]))
                vessels.append(Pieces(ends, radii))
                if not vein:
                    tips.append(points)
                    wall, lumen = _airway(p, hard, parent, pos, radius, int(seeds[2]))
                    keep = _outside_heart(lumen, chest, root)
                    walls.append(Pieces(wall.ends_zyx_mm[keep], wall.radius_mm[keep]))
                    lumens.append(Pieces(lumen.ends_zyx_mm[keep], lumen.radius_mm[keep]))
    return Trees(
        Pieces.join(vessels),
        Pieces.join(walls),
        Pieces.join(lumens),
        np.concatenate(tips) if tips else np.empty((0, 3)),
    )
