"""Choose the operating point of one scan: from which probability on a candidate is reported.

False candidates are the same with and without disease: vessels. In every lung their number falls off with
their score close to exponentially, so those of low scores, where hardly any nodule is, tell how many lie
above any higher score. The threshold starts at that of the weights and is lowered as long as the false
positives expected in this way stay few beside what is found (`FALSE_SHARE`), so that a lung full of nodules
misses fewer. Where hardly anything is found the false positives of an unusual lung could be all of it: the
threshold is raised (`raise_by`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from miliary.image.nodules import judge
from miliary.model.ct_result import OperatingPoint

F64 = npt.NDArray[np.float64]

# False positives per liter at the threshold of the weights in the worst lung that the trees never saw
# (`lidc-idri-0314`, trained without it: 9 to 14, see validation/RESULTS.md). Of what would be reported this
# share may be false in such a lung, or this many per liter.
WORST_PER_LITRE, WORST_SHARE, LEAST_PER_LITRE = 13.0, 0.3, 4.5
# Of what is reported this share may be expected to be false where the threshold is lowered.
FALSE_SHARE = 0.05
# Scores (log-odds at the share of nodules of training) between which the false candidates are counted; the
# threshold is not lowered into that range.
TAIL = (-4.0, -2.0)
# Fewer candidates there say nothing.
LEAST_IN_TAIL = 10.0
# Slope of the fall and its standard deviation between lungs: 0.78 to 1.14 in 14 development scans (real ones
# and of both simulators, with and without nodules). Faint nodules among few candidates would flatten it.
SLOPE, SLOPE_SD = 0.95, 0.08
SLOPES = np.linspace(0.3, 2.0, 171)


@dataclass(frozen=True)
class FalseTail:
    """Number of false candidates of at least a score: ``number * exp(-slope * (score - TAIL[0]))``."""

    number: float
    slope: float

    def above(self, score: npt.ArrayLike) -> F64:
        """Expected number of false candidates of at least each score."""
        return np.asarray(self.number * np.exp(-self.slope * (np.asarray(score) - TAIL[0])))


def fit_tail(score: F64, probability: F64) -> FalseTail | None:
    """Fit an exponential to the scores of the false candidates in `TAIL`, by maximum posterior probability.

    Parameters
    ----------
    score : ndarray, shape (n,)
        Log-odds of the candidates at the share of nodules of training.
    probability : ndarray, shape (n,)
        Their probability of being a nodule; each counts as one less it.

    Returns
    -------
    FalseTail or None
        None where `TAIL` holds fewer than `LEAST_IN_TAIL`.
    """
    inside = (score >= TAIL[0]) & (score < TAIL[1])
    weight = 1.0 - probability[inside]
    total = float(weight.sum())
    if total < LEAST_IN_TAIL:
        return None
    width = TAIL[1] - TAIL[0]
    mean = float(weight @ (score[inside] - TAIL[0])) / total
    likelihood = total * (np.log(SLOPES) - np.log(-np.expm1(-SLOPES * width)) - SLOPES * mean)
    slope = float(SLOPES[np.argmax(likelihood - 0.5 * ((SLOPES - SLOPE) / SLOPE_SD) ** 2)])
    return FalseTail(total / float(-np.expm1(-slope * width)), slope)


def raise_by(reported_per_litre: float) -> float:
    """How far the threshold is raised where few candidates would be reported.

    Parameters
    ----------
    reported_per_litre : float
        Candidates at or above the threshold of the weights, per liter of lung [1/L].

    Returns
    -------
    float
        Log-odds to add to the threshold of the weights; 0 where there is enough to find.
    """
    allowed = max(LEAST_PER_LITRE, WORST_SHARE * reported_per_litre)
    return max(0.0, float(np.log(WORST_PER_LITRE / allowed)) / SLOPE)


def choose_operating_point(
    position_mm: F64, score: F64, probability: F64, *, default: float, litres: float
) -> OperatingPoint:
    """Raise the threshold where little is found, lower it where few of many would be false positives.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        Positions (z, y, x) of the candidates [mm].
    score : ndarray, shape (n,)
        Log-odds at the share of nodules of training.
    probability : ndarray, shape (n,)
        Probability of being a nodule at the share of this scan, 0 to 1.
    default : float
        The threshold of the weights, 0 to 1.
    litres : float
        Volume of the lungs [L].

    Returns
    -------
    OperatingPoint
    """
    # All scores are shifted alike to become probabilities, so one order serves both.
    shifts = logit(np.clip(probability, 1e-12, 1.0 - 1e-12)) - score
    shift = float(np.median(shifts)) if len(shifts) else 0.0
    rows = judge.select_reported(position_mm, probability, float(expit(TAIL[0] + shift)))
    scores = np.sort(score[rows])
    tail = fit_tail(score[rows], probability[rows])
    first = float(logit(default)) - shift
    reported = _count_from(scores, first)
    higher = raise_by(float(reported) / litres)
    if higher > 0.0:
        raised = first + higher
        threshold = float(np.ceil(1e4 * expit(raised + shift)) / 1e4)
        return OperatingPoint(threshold, default, _expect_false(tail, scores, raised))
    if tail is None:
        return OperatingPoint(default, default, None)
    last = _lower(tail, scores, first)
    # Rounded down, so that the candidate it was lowered to is reported.
    threshold = default if last >= first else float(np.floor(1e4 * expit(last + shift)) / 1e4)
    return OperatingPoint(threshold, default, _expect_false(tail, scores, last))


def _lower(tail: FalseTail, scores: F64, first: float) -> float:
    """Lowest score from `first` down at which the expected false positives are still few enough."""
    tried = np.concatenate([[first], scores[(scores < first) & (scores >= TAIL[1])][::-1]])
    refused = np.flatnonzero(tail.above(tried) > FALSE_SHARE * _count_from(scores, tried))
    return float(tried[max(0, (int(refused[0]) if len(refused) else len(tried)) - 1)])


def _count_from(scores: F64, least: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """How many of the sorted scores are at least each given one."""
    return np.asarray(len(scores) - np.searchsorted(scores, least, side="left"))


def _expect_false(tail: FalseTail | None, scores: F64, least: float) -> float | None:
    """Expected false positives from a score on, never more than are reported; None where nothing tells."""
    return None if tail is None else min(float(tail.above(least)), float(_count_from(scores, least)))
