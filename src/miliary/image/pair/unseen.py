"""How many nodules that the follow-up no longer shows may still be there, too small to be seen.

Nodules that were followed tell by how much nodules shrink; the follow-up's own completeness tells how many
of those that shrank so far it would show. What shrank further than anything that is still seen leaves no
trace, so the estimate is a least one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from miliary.image.pair.detectability import Detectability
from miliary.model.comparison import UnseenNodules
from miliary.model.nodules import Fate, Tracks

F64 = npt.NDArray[np.float64]

MIN_FOLLOWED = 10
LEAST_SEEN = 0.05
N_DRAWS = 200
GRID_MM = np.geomspace(0.5, 12.0, 60)
UNKNOWN = "what each scan misses was not measured"


def estimate_unseen(
    tracks: Tracks, before: Detectability, after: Detectability, *, seed: int = 0
) -> UnseenNodules:
    """Estimate how many of the nodules without a partner are still there.

    Parameters
    ----------
    tracks : Tracks
        What became of each nodule.
    before, after : Detectability
        How well baseline and follow-up show nodules.
    seed : int
        Of the draws for the interval.

    Returns
    -------
    UnseenNodules
        Without an estimate, and with the reason, where completeness was not measured on both scans or too
        few nodules were followed to tell how they shrink.
    """
    n = tracks.count(Fate.NO_LONGER_SEEN)
    if n == 0:
        return UnseenNodules(0, 0.0, 0.0, 0.0)
    if not (before.is_measured and after.is_measured):
        return UnseenNodules(n, reason=UNKNOWN)
    was, now = (np.cbrt(tracks[f"{name}_volume_mm3"] * 6.0 / np.pi) for name in ("baseline", "followup"))
    unseen = was[tracks["fate"] == Fate.NO_LONGER_SEEN.value]
    is_followed = np.isfinite(was) & np.isfinite(now) & (was > 0)
    if np.count_nonzero(is_followed) < MIN_FOLLOWED:
        return UnseenNodules(n, reason=f"fewer than {MIN_FOLLOWED} nodules were followed")
    pairs = np.column_stack([was[is_followed], now[is_followed]])
    rng = np.random.default_rng([seed, 71])
    drawn = [
        _count_remaining(pairs[rng.integers(0, len(pairs), len(pairs))], _draw(unseen, rng), after)
        for _ in range(N_DRAWS)
    ]
    value = _count_remaining(pairs, unseen, after)
    low, high = np.quantile(rng.poisson(drawn), [0.025, 0.975])
    return UnseenNodules(n, value, min(float(low), value), min(max(float(high), value), float(n)))


def _draw(values: F64, rng: np.random.Generator) -> F64:
    return values[rng.integers(0, len(values), len(values))]


def _count_remaining(pairs: F64, unseen: F64, after: Detectability) -> float:
    """Expected number of the unseen that remain, given diameters (n, 2) of those followed [mm]."""
    factor = pairs[:, 1] / pairs[:, 0]
    # One that is seen stands for those of its size that are not.
    weight = 1.0 / np.maximum(after.at(pairs[:, 1]), LEAST_SEEN)
    seen_if_there = (after.at(GRID_MM[:, None] * factor) * weight).sum(axis=1) / weight.sum()

    def chance(diameter_mm: F64) -> F64:
        return np.asarray(np.interp(diameter_mm, GRID_MM, seen_if_there))

    seen_followed, seen_unseen = chance(pairs[:, 0]), chance(unseen)
    # Share of all nodules that is still there: those followed over those that would be, were all there.
    there = min(1.0, len(pairs) / max(float(seen_followed.sum() + seen_unseen.sum()), 1e-9))
    hidden = there * (1.0 - seen_unseen)
    return float((hidden / np.maximum(hidden + 1.0 - there, 1e-9)).sum())
