"""Choose the operating point of one scan: from which probability on a candidate is reported.

False candidates are the same with and without disease: vessels. In every lung their number falls off with
their score close to exponentially, so those of low scores, where hardly any nodule is, tell how many lie
above any higher score. The threshold starts at the strictest one, that of the weights, and is lowered as long
as the false positives expected in this way stay few beside what is found (`FALSE_SHARE`). A lung without
disease keeps the strict one, and a lung full of nodules misses fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from miliary.image.nodules import judge
from miliary.model.ct_result import OperatingPoint

F64 = npt.NDArray[np.float64]

# Of what is reported this share may be expected to be false.
FALSE_SHARE = 0.07
# With fewer marks than this at the strictest threshold a lung cannot be told from one with other disease only
# (up to 8 per liter are asked for there). Its tail is heavier than expected: 10 and 12 false positives were
# expected on two such development scans, 36 and 42 were there.
LEAST_PER_LITRE = 8.0
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


def choose_operating_point(
    position_mm: F64, score: F64, probability: F64, *, strictest: float, litres: float
) -> OperatingPoint:
    """Lower the threshold as long as few false positives are expected, where there are nodules to find.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        Positions (z, y, x) of the candidates [mm].
    score : ndarray, shape (n,)
        Log-odds at the share of nodules of training.
    probability : ndarray, shape (n,)
        Probability of being a nodule at the share of this scan, 0 to 1.
    strictest : float
        The threshold of the weights, 0 to 1.
    litres : float
        Volume of the lungs [L].

    Returns
    -------
    OperatingPoint
    """
    if not len(score):
        return OperatingPoint(strictest, strictest, None)
    # All scores are shifted alike to become probabilities, so one order serves both.
    shift = float(np.median(logit(np.clip(probability, 1e-12, 1.0 - 1e-12)) - score))
    rows = judge.select_reported(position_mm, probability, float(expit(TAIL[0] + shift)))
    scores = np.sort(score[rows])
    tail = fit_tail(score[rows], probability[rows])
    first = float(logit(strictest)) - shift
    if tail is None:
        return OperatingPoint(strictest, strictest, None)
    tried = np.concatenate([[first], scores[(scores < first) & (scores >= TAIL[1])][::-1]])
    reported = len(scores) - np.searchsorted(scores, tried, side="left")
    if reported[0] < LEAST_PER_LITRE * litres:
        tried, reported = tried[:1], reported[:1]
    allowed = FALSE_SHARE * reported
    refused = np.flatnonzero(tail.above(tried) > allowed)
    last = tried[max(0, (int(refused[0]) if len(refused) else len(tried)) - 1)]
    expected = min(float(tail.above(last)), float(len(scores) - np.searchsorted(scores, last, side="left")))
    # Rounded down, so that the candidate it was lowered to is reported.
    threshold = strictest if last >= first else float(np.floor(1e4 * expit(last + shift)) / 1e4)
    return OperatingPoint(threshold, strictest, expected)
