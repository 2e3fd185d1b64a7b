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
    shrinkage = _Shrinkage(was[is_followed], now[is_followed], after)
    rng = np.random.default_rng([seed, 71])
    once = np.ones(len(shrinkage.followed_mm))
    value = shrinkage.count_remaining(once, unseen)
    drawn = [
        shrinkage.count_remaining(
            np.bincount(rng.integers(0, len(once), len(once)), minlength=len(once)).astype(np.float64),
            unseen[rng.integers(0, n, n)],
        )
        for _ in range(N_DRAWS)
    ]
    low, high = np.quantile(rng.poisson(drawn), [0.025, 0.975])
    return UnseenNodules(n, value, min(float(low), value), min(max(float(high), value), float(n)))


class _Shrinkage:
    """How nodules shrink, by those followed: their diameters before and after [mm]."""

    def __init__(self, before_mm: F64, after_mm: F64, after: Detectability) -> None:
        self.followed_mm = before_mm
        # One that is seen stands for those of its size that are not.
        self._weight = 1.0 / np.maximum(after.at(after_mm), LEAST_SEEN)
        self._seen = after.at(GRID_MM[:, None] * (after_mm / before_mm))

    def count_remaining(self, times: F64, unseen_mm: F64) -> float:
        """Expected number of the unseen that remain, each followed nodule counted so many times."""
        weight = self._weight * times
        seen_if_there = self._seen @ weight / weight.sum()
        seen_followed, seen_unseen = (
            np.interp(mm, GRID_MM, seen_if_there) for mm in (self.followed_mm, unseen_mm)
        )
        # Share of all nodules that is still there: those followed over those that would be, were all there.
        expected = float((seen_followed * times).sum() + seen_unseen.sum())
        there = min(1.0, float(times.sum()) / max(expected, 1e-9))
        hidden = there * (1.0 - seen_unseen)
        return float((hidden / np.maximum(hidden + 1.0 - there, 1e-9)).sum())
