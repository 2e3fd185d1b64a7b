"""Limits of the number of nodules where few were found: exact for the binomial of finding them.

Of T nodules each is found with probability s, and F of the marks are false. With k marks, T cannot be so
large that k or fewer would be seen in less than 2.5 % of cases, nor so small that k or more would [1]_.
Finding none at s = 0.5 allows up to 5 nodules, at s = 0.9 one. The probability of detection and the number of
false positives are uncertain, so the tail is the mean over draws of both (the first makes the binomial a
beta-binomial). False positives cannot be more than the marks: draws with more are left out [2]_.

A bootstrap cannot give these limits: simulated from an estimate of none it finds none.

References
----------
.. [1] Clopper CJ, Pearson ES, Biometrika 1934;26:404-413.
.. [2] Roe BP, Woodroofe MB, Phys Rev D 1999;60:053009.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainc

F64 = npt.NDArray[np.float64]

TAIL = 0.025
# The tail is nearly the same with a draw of the curve more or less.
MAX_DRAWS = 100
# Lower limit of a probability of detection: below it nothing can be counted.
LEAST_CHANCE = 0.08
# Up to the first number of marks the exact limits hold, from the second on the propagated ones alone.
EXACT_TO, PROPAGATED_FROM = 20.0, 40.0


def bound_count(n_marks: float, chance: F64, expected_false: F64, *, seed: int = 0) -> tuple[float, float]:
    """95 % limits of the number of nodules, from the number of marks.

    Parameters
    ----------
    n_marks : float
        Number of marks, false ones included; a fraction where sizes are shared between classes.
    chance : ndarray, shape (draws,)
        Draws of the probability that a nodule is found, 0 to 1.
    expected_false : ndarray, shape (draws,)
        Draws of the expected number of false marks.
    seed : int
        Seed of the number of false marks.

    Returns
    -------
    low, high : float
        Limits of the number of nodules in the lungs, found and missed.
    """
    rng = np.random.default_rng([seed, 55])
    chance = np.clip(chance[:MAX_DRAWS], LEAST_CHANCE, 1.0 - 1e-9)
    false = rng.poisson(expected_false[:MAX_DRAWS]).astype(np.float64)
    possible = false <= n_marks
    if not possible.any():
        false, possible = np.zeros_like(false), np.ones_like(possible)
    chance, found = chance[possible], n_marks - false[possible]
    first, last = float(found.min()), 4.0 * (n_marks + 5.0) / LEAST_CHANCE

    def as_few(there: float) -> float:
        """Probability that so few are found."""
        missed = np.maximum(there - found, 0.0)
        few = betainc(np.maximum(missed, 1e-9), found + 1.0, 1.0 - chance)
        return float(np.where(missed > 0.0, few, 1.0).mean())

    def as_many(there: float) -> float:
        """Probability that so many are found."""
        enough = betainc(np.maximum(found, 1e-9), np.maximum(there - found, 0.0) + 1.0, chance)
        return float(np.where(found <= 0.0, 1.0, np.where(there < found, 0.0, enough)).mean())

    high = _find_crossing(as_few, first, last, is_falling=True)
    low = _find_crossing(as_many, first, max(high, first), is_falling=False)
    return low, high


def _find_crossing(tail: Callable[[float], float], first: float, last: float, *, is_falling: bool) -> float:
    """Where a tail probability crosses `TAIL`; the end of the range where it does not."""
    if (tail(first) < TAIL) == is_falling:
        return first
    if (tail(last) < TAIL) != is_falling:
        return last
    return float(brentq(lambda there: tail(there) - TAIL, first, last, xtol=1e-3))


def bound_missed(chance: F64) -> F64:
    """Upper 95 % limit of the number of nodules of each size where none of that size is found.

    Parameters
    ----------
    chance : ndarray, shape (draws, sizes)
        Draws of the probability that a nodule is found, 0 to 1.

    Returns
    -------
    ndarray of float64, shape (sizes,)
        What `bound_count` gives as upper limit for no marks.
    """
    log_missed = np.log1p(-np.clip(chance[:MAX_DRAWS], LEAST_CHANCE, 1.0 - 1e-9))
    low, high = np.zeros(chance.shape[1]), np.full(chance.shape[1], 20.0 / LEAST_CHANCE)
    for _ in range(24):
        middle = 0.5 * (low + high)
        is_beyond = np.exp(log_missed * middle).mean(axis=0) < TAIL
        low, high = np.where(is_beyond, low, middle), np.where(is_beyond, middle, high)
    return high


def weigh_exact(n_marks: float) -> float:
    """Weight of the exact limits against those of the bootstrap: 1 at few marks, falling to 0.

    Parameters
    ----------
    n_marks : float
        Number of marks.

    Returns
    -------
    float
        0 to 1.
    """
    return float(np.clip((PROPAGATED_FROM - n_marks) / (PROPAGATED_FROM - EXACT_TO), 0.0, 1.0))
