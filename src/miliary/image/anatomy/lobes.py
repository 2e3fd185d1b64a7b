"""Lobe of a point in the lungs, from a prior on the course of the fissures and the visible sheets.

From the shape of the lung alone, the height of a fissure above a point of the axial plane is known to about
2 cm. Where the scan shows a thin bright sheet of about the expected slope, that evidence dominates. Fissures
are modeled as planes with some deviation; each tile of a lung votes for the heights at which a sheet passes
through it, and the probability of each plane follows from prior and votes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary.image.kernels import loops
from miliary.model.ct_result import LABEL_RIGHT
from miliary.model.scan import Side
from miliary.model.vocabulary import Lobe

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

CONFIDENT = 0.95
TILE_MM, SAMPLE_MM, LEVEL_MM = 18.0, 4.5, 3.0
SHEET_MM, CLIP_HU = 3.5, 60.0
# Range of a vote in robust standard deviations of all votes: less counts as none, more counts as the limit.
VOTE_FROM, VOTE_MOST = 1.5, 4.0
# Neighboring tiles see the same curvature of the fissure, so their votes are not independent.
SHARE_OF_VOTE = 0.35
# Standard deviation of the fissure about its plane [mm].
BEND_MM = 7.0
MIN_TILE_SAMPLES = 8


@dataclass(frozen=True)
class LobeEstimate:
    """Lobe of one point.

    Parameters
    ----------
    lobe : Lobe or None
        The most probable lobe; None where its probability is below `CONFIDENT`.
    confidence : float
        Probability of the most probable lobe, 0 to 1, whether it is named or not.
    reason : str
        Why no lobe is named; empty otherwise.
    """

    lobe: Lobe | None
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class _Fissure:
    """Prior of one fissure: mean and standard deviation of each parameter of its plane.

    `height` at the middle of the lung's depth as a share of the lung's height, `slope` of height over depth
    (towards the back), `tilt` of height over distance from the midline.
    """

    height: tuple[float, float]
    slope: tuple[float, float]
    tilt: tuple[float, float]


OBLIQUE = _Fissure((0.48, 0.065), (0.9, 0.22), (0.0, 0.12))
HORIZONTAL = _Fissure((0.52, 0.065), (0.05, 0.12), (0.0, 0.12))


@dataclass(frozen=True)
class CoarseLungs:
    """The lungs on a grid of about 2 mm.

    Parameters
    ----------
    hu : ndarray of float32, shape (z, y, x)
        Attenuation [HU].
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels: 0 outside, 1 right, 2 left.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing (z, y, x) [mm].
    """

    hu: F32
    labels: npt.NDArray[np.uint8]
    spacing_mm: F64


def estimate_lobes(lungs: CoarseLungs, index_zyx: F64, sides: Sequence[Side]) -> list[LobeEstimate]:
    """Estimate the lobe of each of some points.

    Parameters
    ----------
    lungs : CoarseLungs
        Attenuation and labels that the points refer to.
    index_zyx : ndarray, shape (n, 3)
        Points as fractional indices of the coarse grid.
    sides : sequence of Side, n of them
        Lung of each point.

    Returns
    -------
    list of LobeEstimate
        One per point; the lobe is named where its probability is at least `CONFIDENT`.
    """
    points = np.asarray(index_zyx, dtype=np.float64) * lungs.spacing_mm
    return [_estimate(lungs, point, side) for point, side in zip(points, sides, strict=True)]


def _estimate(lungs: CoarseLungs, point_mm: F64, side: Side) -> LobeEstimate:
    label = LABEL_RIGHT if side is Side.RIGHT else 3 - LABEL_RIGHT
    box = _bounds(lungs, label)
    if box is None:
        return LobeEstimate(None, 0.0, "this lung was not found")
    above = _probability_above(lungs, label, box, OBLIQUE, point_mm)
    if side is Side.LEFT:
        chances = {Lobe.LUL: above, Lobe.LLL: 1.0 - above}
    else:
        upper = _probability_above(lungs, label, box, HORIZONTAL, point_mm)
        chances = {Lobe.RUL: above * upper, Lobe.RML: above * (1.0 - upper), Lobe.RLL: 1.0 - above}
    best = max(chances, key=lambda lobe: chances[lobe])
    if chances[best] >= CONFIDENT:
        return LobeEstimate(best, chances[best])
    likely = sorted(chances, key=lambda lobe: -chances[lobe])[:2]
    listed = ", ".join(f"{lobe.value} {chances[lobe]:.0%}" for lobe in likely)
    reason = f"near where a fissure is expected: {listed}"
    return LobeEstimate(None, chances[best], reason)


def _bounds(lungs: CoarseLungs, label: int) -> F64 | None:
    """Lowest and highest (z, y, x) of one lung [mm], shape (2, 3); None where it has under 100 voxels."""
    own = lungs.labels == label
    if own.sum() < 100:
        return None
    limits = np.empty((2, 3))
    for axis in range(3):
        counts = own.sum(axis=tuple({0, 1, 2} - {axis}))
        filled = np.flatnonzero(counts)
        limits[:, axis] = np.array([filled[0], filled[-1]]) * lungs.spacing_mm[axis]
    return limits


def _probability_above(lungs: CoarseLungs, label: int, box: F64, fissure: _Fissure, point_mm: F64) -> float:
    """Probability that a point lies above the fissure."""
    planes, prior = _list_planes(box, fissure)
    tiles = _list_tiles(lungs, label, box)
    heights = np.arange(box[0, 0], box[1, 0] + LEVEL_MM, LEVEL_MM)
    slopes = fissure.slope[0] + fissure.slope[1] * np.array([-1.2, 0.0, 1.2])
    votes = np.empty((len(tiles) + 1, len(heights)))
    every = np.vstack([tiles, point_mm[1:]])
    lung = _OneLung(lungs.hu, lungs.labels, label, lungs.spacing_mm)
    loops.run_rows(_collect_votes, len(every), lung, every, heights, slopes, votes)
    weights = _weigh(votes)
    # For every plane and tile: how well the votes of the tile agree with the fissure near the plane.
    log_score = prior.copy()
    for tile, weight in zip(tiles, weights[:-1], strict=True):
        expected = _heights_at(planes, tile)
        log_score += SHARE_OF_VOTE * np.log(np.interp(expected, heights, _soften(weight)))
    chance = np.exp(log_score - log_score.max())
    chance /= chance.sum()
    expected = _heights_at(planes, point_mm[1:])
    near = np.exp(-0.5 * ((heights - expected[:, None]) / BEND_MM) ** 2) * weights[-1]
    near /= near.sum(axis=1, keepdims=True)
    below = near[:, heights <= point_mm[0]].sum(axis=1)
    return float(chance @ below)


def _list_planes(box: F64, fissure: _Fissure) -> tuple[F64, F64]:
    """Grid of planes (n, 5) as height at the center, slope, tilt, center (y, x); log prior of each."""
    steps = np.linspace(-2.25, 2.25, 13)
    few = np.linspace(-1.8, 1.8, 7)
    three = np.array([-1.2, 0.0, 1.2])
    tall = box[1, 0] - box[0, 0]
    middle = box.mean(axis=0)
    planes, prior = [], []
    for a, s, c in product(steps, few, three):
        height = box[0, 0] + tall * (fissure.height[0] + a * fissure.height[1])
        slope = fissure.slope[0] + s * fissure.slope[1]
        planes.append((height, slope, c * fissure.tilt[1], middle[1], middle[2]))
        prior.append(-0.5 * (a * a + s * s + c * c))
    return np.array(planes), np.array(prior)


def _heights_at(planes: F64, at_yx: F64) -> F64:
    """Height of each plane at a position (y, x) [mm]."""
    y, x = at_yx[0] - planes[:, 3], at_yx[1] - planes[:, 4]
    return np.asarray(planes[:, 0] + planes[:, 1] * y + planes[:, 2] * x)


def _list_tiles(lungs: CoarseLungs, label: int, box: F64) -> F64:
    """Centers (n, 2) as (y, x) [mm] of tiles of the axial plane that the lung projects to."""
    seen = (lungs.labels == label).sum(axis=0) > 6
    tiles = []
    for y in np.arange(box[0, 1] + TILE_MM / 2, box[1, 1], TILE_MM):
        for x in np.arange(box[0, 2] + TILE_MM / 2, box[1, 2], TILE_MM):
            j, i = int(y / lungs.spacing_mm[1]), int(x / lungs.spacing_mm[2])
            if seen[min(j, seen.shape[0] - 1), min(i, seen.shape[1] - 1)]:
                tiles.append((y, x))
    return np.array(tiles).reshape(-1, 2)


class _OneLung(NamedTuple):
    """What `_collect_votes` samples: the coarse grid and the label of one lung."""

    hu: F32
    labels: npt.NDArray[np.uint8]
    label: int
    spacing_mm: F64


@nb.njit(nogil=True, cache=True)
def _collect_votes(first, last, lung, tiles, heights, slopes, votes):  # type: ignore[no-untyped-def]
    """For each tile and height, mean excess [HU] of a sheet there over both its sides, for the best slope."""
    hu, labels, label, spacing = lung
    reach = TILE_MM / 2
    for m in range(first, last):
        for k in range(heights.shape[0]):
            best = np.nan
            for s in range(slopes.shape[0]):
                slope = slopes[s]
                norm = np.sqrt(1.0 + slope * slope)
                dz, dy = SHEET_MM / norm, -SHEET_MM * slope / norm
                total = 0.0
                count = 0
                v = -reach
                while v <= reach:
                    w = -reach
                    while w <= reach:
                        z = heights[k] + slope * v
                        y, x = tiles[m, 0] + v, tiles[m, 1] + w
                        a = _at(hu, labels, label, z + dz, y + dy, x, spacing)
                        b = _at(hu, labels, label, z, y, x, spacing)
                        c = _at(hu, labels, label, z - dz, y - dy, x, spacing)
                        if not (np.isnan(a) or np.isnan(b) or np.isnan(c)):
                            total += min(max(b - 0.5 * (a + c), -CLIP_HU), CLIP_HU)
                            count += 1
                        w += SAMPLE_MM
                    v += SAMPLE_MM
                if count >= MIN_TILE_SAMPLES:
                    value = total / count
                    if np.isnan(best) or value > best:
                        best = value
            votes[m, k] = best


@nb.njit(nogil=True, cache=True)
def _at(hu, labels, label, z_mm, y_mm, x_mm, spacing):  # type: ignore[no-untyped-def]
    """Interpolated attenuation [HU]; NaN outside the lung."""
    z, y, x = z_mm / spacing[0], y_mm / spacing[1], x_mm / spacing[2]
    k, j, i = int(z + 0.5), int(y + 0.5), int(x + 0.5)
    if z < 0 or y < 0 or x < 0 or k >= hu.shape[0] or j >= hu.shape[1] or i >= hu.shape[2]:
        return np.nan
    if labels[k, j, i] != label:
        return np.nan
    k, j, i = min(int(z), hu.shape[0] - 2), min(int(y), hu.shape[1] - 2), min(int(x), hu.shape[2] - 2)
    a, b, c = z - k, y - j, x - i
    value = 0.0
    for dz in range(2):
        for dy in range(2):
            wzy = (a if dz else 1.0 - a) * (b if dy else 1.0 - b)
            value += wzy * (hu[k + dz, j + dy, i] * (1.0 - c) + hu[k + dz, j + dy, i + 1] * c)
    return value


def _weigh(votes: F64) -> F64:
    """Likelihood ratio of a fissure at each height of each tile, 1 where there is no evidence for one."""
    known = votes[np.isfinite(votes)]
    if len(known) < 20:
        return np.ones_like(votes)
    middle = float(np.median(known))
    sd = 1.4826 * float(np.median(np.abs(known - middle)))
    score = (np.nan_to_num(votes, nan=middle) - middle) / max(sd, 1.0)
    excess = np.clip(score, VOTE_FROM, VOTE_MOST) - VOTE_FROM
    return np.asarray(np.exp(1.6 * excess))


def _soften(weight: F64) -> F64:
    """A tile's likelihood of a plane: that of its heights, smoothed by the deviation from the plane."""
    half = int(3 * BEND_MM / LEVEL_MM)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * LEVEL_MM / BEND_MM) ** 2)
    padded = np.pad(weight, half, constant_values=1.0)
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), mode="valid"))
