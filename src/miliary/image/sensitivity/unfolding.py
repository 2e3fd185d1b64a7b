"""Fit the completeness curve, and correct counts and sizes by unfolding.

Some nodules are missed, the diameters of the others are measured with error, and false positives are added.
Completeness and measurement error are known from the injected nodules, so the distribution of true diameters
follows by maximum likelihood (Richardson-Lucy deconvolution [1]_ [2]_), slightly smoothed at every step.
Intervals come from a parametric bootstrap: reported nodules are simulated from the result and unfolded again.

References
----------
.. [1] Richardson WH, J Opt Soc Am 1972;62:55-59.
.. [2] Lucy LB, Astron J 1974;79:745-754.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from miliary.image.sensitivity.injection import Recovery
from miliary.image.sensitivity.location_factor import LocationFactor
from miliary.image.sensitivity.small_counts import LEAST_CHANCE, bound_count, bound_missed, weigh_exact
from miliary.model.completeness import Estimate

F64 = npt.NDArray[np.float64]

# Bins of the logarithm of the diameter.
STEP = 0.04
EDGES_MM = np.exp(np.arange(np.log(0.5), np.log(14.0), STEP))
CENTERS_MM = np.sqrt(EDGES_MM[:-1] * EDGES_MM[1:])
VOLUMES_MM3 = np.pi / 6.0 * CENTERS_MM**3
# Below this completeness the number of nodules cannot be estimated.
MIN_COMPLETENESS = LEAST_CHANCE
ROUNDS = 30
SMOOTHING = 0.02
# Bins to either side over which the first guess is smoothed: twice the scatter of a diameter.
START = 3
N_DRAWS = 300
MIN_FOUND = 40
# Below this number the interval is made from differences instead of ratios, since it may include zero.
FEW = 20.0
# A number or a volume [mm3] below this is what smoothing leaves of nothing.
TRACE = 0.005
# Nodules hidden where none is found are taken to be at most this large [mm].
LARGE_HIDDEN_MM = 3.0
RESPONSE_WIDTH = 0.18
# Limit of a single error in robust standard deviations.
OUTLIER = 3.0
# Where diameters above the second are this biased, large nodules must not explain many smaller ones.
ASTRAY, LARGE_MM = 0.2, 3.0
# Nodules are at most this much larger than the largest reported one.
ROOM = 1.25
# Weak priors of the parameters: position, ln width, logit of the upper end, ln skewness.
EXPECTED = np.array([0.3, -2.1, 4.0, 0.5])
EXPECTED_SD = np.array([1.0, 0.7, 1.3, 0.8])


@dataclass(frozen=True)
class CompletenessCurve:
    """Probability of detection as a function of diameter, ``end * expit((ln d - position) / width) ** skew``.

    Parameters
    ----------
    parameters : ndarray of float64, shape (4,)
        Position, ln width, logit of the end, ln skew.
    covariance : ndarray of float64, shape (4, 4)
        Covariance of the parameters.
    """

    parameters: F64
    covariance: F64

    def at(self, diameter_mm: npt.ArrayLike) -> F64:
        """Completeness, 0 to 1, at diameters [mm]."""
        return _evaluate(self.parameters, np.log(np.asarray(diameter_mm, dtype=np.float64)))

    def draw(self, diameter_mm: F64, n: int, rng: np.random.Generator) -> F64:
        """Draw `n` curves from the posterior, evaluated at diameters [mm], shape (n, diameters)."""
        drawn = rng.multivariate_normal(self.parameters, self.covariance, size=n, method="eigh")
        drawn = np.clip(drawn, EXPECTED - 4.0 * EXPECTED_SD, EXPECTED + 4.0 * EXPECTED_SD)
        return np.stack([_evaluate(row, np.log(diameter_mm)) for row in drawn])

    def find_diameter_mm(self, share: float) -> float | None:
        """Smallest diameter [mm] of which `share` are found; None where that is not reached up to 14 mm."""
        fine = np.geomspace(EDGES_MM[0], EDGES_MM[-1], 2000)
        reached = np.flatnonzero(self.at(fine) >= share)
        return float(fine[reached[0]]) if len(reached) else None


def _evaluate(parameters: F64, x: F64) -> F64:
    position, width, end, skew = parameters
    return np.asarray(np.exp(log_expit(end) + np.exp(skew) * log_expit((x - position) * np.exp(-width))))


def fit_curve(recovery: Recovery) -> CompletenessCurve:
    """Fit the completeness curve of maximum posterior probability.

    Parameters
    ----------
    recovery : Recovery
        Injected nodules and which of them were found.

    Returns
    -------
    CompletenessCurve
    """
    x, found = np.log(recovery.diameter_mm), recovery.is_found

    def loss(parameters: F64) -> float:
        p = np.clip(_evaluate(parameters, x), 1e-9, 1.0 - 1e-9)
        likelihood = np.sum(np.log(p[found])) + np.sum(np.log1p(-p[~found]))
        return float(0.5 * np.sum(((parameters - EXPECTED) / EXPECTED_SD) ** 2) - likelihood)

    best = np.asarray(minimize(loss, EXPECTED, method="BFGS", options={"gtol": 1e-4}).x, dtype=np.float64)
    return CompletenessCurve(
        best, np.asarray(np.linalg.inv(_measure_curvature(loss, best)), dtype=np.float64)
    )


def _measure_curvature(loss: Callable[[F64], float], at: F64, step: float = 1e-3) -> F64:
    """Second derivatives by central differences, made positive definite."""
    n = len(at)
    out = np.empty((n, n))
    unit = step * np.eye(n)
    for i in range(n):
        for j in range(n):
            v = [loss(at + a * unit[i] + b * unit[j]) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            out[i, j] = (v[0] - v[1] - v[2] + v[3]) / (4.0 * step * step)
    values, vectors = np.linalg.eigh(0.5 * (out + out.T))
    return np.asarray(vectors @ np.diag(np.maximum(values, 0.5)) @ vectors.T)


@dataclass(frozen=True)
class SizeResponse:
    """Distribution of the measured diameter of a found nodule, per bin of true diameter.

    Parameters
    ----------
    bias, scatter : ndarray of float64, shape (bins,)
        Mean and standard deviation of the logarithm of measured over true diameter.
    matrix : ndarray of float64, shape (bins, bins)
        Probability of a measured bin (row) given the true bin (column). Columns sum to one, or to zero for
        large diameters that this scan measures with gross error.
    """

    bias: F64
    scatter: F64
    matrix: F64


def measure_response(recovery: Recovery) -> SizeResponse:
    """Measure bias and scatter of the diameter from the injected nodules that were found.

    Parameters
    ----------
    recovery : Recovery
        At least one nodule must have been found.

    Returns
    -------
    SizeResponse
    """
    x = np.log(recovery.diameter_mm[recovery.is_found])
    error = np.log(recovery.measured_mm[recovery.is_found]) - x
    center = np.log(CENTERS_MM)
    low, high = np.quantile(x, [0.05, 0.97])
    bias, scatter = _smooth(x, error, np.clip(center, low, high))
    bias_there, scatter_there = _smooth(x, error, np.clip(x, low, high))
    standard = np.sort(np.clip((error - bias_there) / scatter_there, -OUTLIER, OUTLIER))
    edges = np.log(EDGES_MM)
    edges = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    below = np.searchsorted(standard, (edges[:, None] - center - bias) / scatter) / len(standard)
    matrix = np.diff(below, axis=0)
    # A diameter whose fit fails must not be used to explain nodules of the size it is mistaken for.
    matrix[:, (np.abs(bias) > ASTRAY) & (CENTERS_MM > LARGE_MM)] = 0.0
    return SizeResponse(bias, scatter, matrix)


def _smooth(x: F64, values: F64, at: F64) -> tuple[F64, F64]:
    """Locally weighted mean and standard deviation of values at each of `at`, outliers limited."""
    weight = np.exp(-0.5 * ((x - at[:, None]) / RESPONSE_WIDTH) ** 2) + 1e-12
    weight /= weight.sum(axis=1, keepdims=True)
    middle = float(np.median(values))
    reach = OUTLIER * max(1.4826 * float(np.median(np.abs(values - middle))), 0.02)
    limited = np.clip(values, middle - reach, middle + reach)
    mean = weight @ limited
    variance = weight @ limited**2 - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.01**2))


def _shift(counts: F64, bins: int) -> F64:
    """Counts shifted up by some bins, filled with zeros."""
    out = np.zeros_like(counts)
    n = counts.shape[-1]
    out[..., max(0, bins) : n + min(0, bins)] = counts[..., max(0, -bins) : n - max(0, bins)]
    return out


def unfold(counted: F64, false: F64, completeness: F64, matrix: F64) -> F64:
    """Unfold counts by measured diameter into numbers of nodules by true diameter.

    Parameters
    ----------
    counted, false : ndarray, shape (..., bins)
        Reported nodules per bin of measured diameter, and how many of them are expected to be false
        positives.
    completeness : ndarray, shape (..., bins)
        Probability of detection per bin of true diameter, 0 to 1.
    matrix : ndarray, shape (bins, bins)
        From `SizeResponse`.

    Returns
    -------
    ndarray of float64, shape (..., bins)
        Number of nodules per bin of true diameter; 0 where completeness is too low.
    """
    filled = np.flatnonzero(counted.reshape(-1, counted.shape[-1]).any(axis=0))
    largest = EDGES_MM[filled[-1] + 1] if len(filled) else EDGES_MM[-1]
    known = (completeness >= MIN_COMPLETENESS) & (ROOM * largest >= CENTERS_MM)
    # Starting from the measured diameters: large nodules are not used to explain small ones far from them.
    near = np.stack([_shift(np.maximum(counted - false, 0.0), k) for k in range(-START, START + 1)])
    there = np.where(known, near.mean(axis=0) / np.maximum(completeness, MIN_COMPLETENESS), 0.0)
    found = np.where(known, completeness, 0.0)
    for _ in range(ROUNDS):
        expected = (there * found) @ matrix.T + false + 1e-9
        there = there * ((counted / expected) @ matrix)
        wider = there * found
        moved = np.zeros_like(wider)
        moved[..., 1:] += SMOOTHING * wider[..., :-1]
        moved[..., :-1] += SMOOTHING * wider[..., 1:]
        there = np.where(known, ((1.0 - 2.0 * SMOOTHING) * wider + moved) / np.maximum(found, 1e-9), 0.0)
    return there


@dataclass(frozen=True)
class Chances:
    """What the exact limits at few marks need: found nodules, false marks, and draws of what is uncertain.

    Parameters
    ----------
    found, false : ndarray of float64, shape (bins,)
        Estimated number of found nodules per bin of true diameter, of false positives per bin of measured.
    detection : ndarray of float64, shape (draws, bins)
        Draws of the probability of detection.
    false_factor : ndarray of float64, shape (draws,)
        Draws of the factor on the number of false positives.
    hidden_mm3 : ndarray of float64, shape (bins,)
        Volume up to which nodules of that size may hide where none of them is found.
    """

    found: F64
    false: F64
    detection: F64
    false_factor: F64
    hidden_mm3: F64

    def count_marks(self, share: F64) -> float:
        """Number of marks, false ones included, in a share (bins,) of the bins."""
        return float((self.found + self.false) @ share)

    def bound(self, share: F64, *, seed: int = 0) -> tuple[float, float]:
        """95 % limits of the number of nodules in a share (bins,) of the bins.

        The probability of detection is the harmonic mean over the found nodules and one more of the smallest
        size, where most may hide: with none found that one alone counts.
        """
        chance = np.maximum(self.detection, MIN_COMPLETENESS)
        smallest = chance[:, min(int(np.flatnonzero(share)[0]), chance.shape[1] - 1)]
        found = self.found * share
        mean = (found.sum() + 1.0) / ((1.0 / chance) @ found + 1.0 / smallest)
        false = float(self.false @ share) * self.false_factor
        return bound_count(self.count_marks(share), mean, false, seed=seed)

    def bound_hidden_mm3(self, share: F64) -> float:
        """Volume [mm3] up to which nodules may hide where none is found, in a share (bins,) of the bins.

        Nodules of `LARGE_HIDDEN_MM` and less, or of the smallest size where that is larger: of whichever size
        gives the largest volume.
        """
        first = int(np.flatnonzero(share)[0])
        within = slice(first, max(first + 1, int(np.searchsorted(CENTERS_MM, LARGE_HIDDEN_MM))))
        return float(self.hidden_mm3[within].max())


@dataclass(frozen=True)
class Corrected:
    """Corrected number of nodules per bin of true diameter, with bootstrap draws for its error.

    Parameters
    ----------
    number : ndarray of float64, shape (bins,)
        The estimate.
    truths : ndarray of float64, shape (draws, bins)
        Simulated true numbers.
    estimates : ndarray of float64, shape (draws, bins)
        Estimate from each simulation; its difference from the truth shows the error of `number`.
    chances : Chances
        For the limits where few nodules were found.
    """

    number: F64
    truths: F64
    estimates: F64
    chances: Chances

    def measure(self, at_least_mm: float) -> tuple[Estimate, Estimate]:
        """Number and volume of the nodules of at least a diameter, with their 95 % intervals.

        Parameters
        ----------
        at_least_mm : float
            Smallest diameter [mm].

        Returns
        -------
        count : Estimate
            Where few were found, the limits are the wider of those simulated and those of `bound_count`.
        volume : Estimate
            Total volume [mm3]; where few were found, nodules that may be hidden have the mean volume of the
            others or, where that is more, that of `Chances.bound_hidden_mm3` together.
        """
        share = np.clip((np.log(EDGES_MM[1:]) - np.log(at_least_mm)) / STEP, 0.0, 1.0)
        count, volume = (self._propagate(share, weight) for weight in (share, share * VOLUMES_MM3))
        exact = weigh_exact(self.chances.count_marks(share))
        if exact > 0.0:
            low, high = self.chances.bound(share)
            more, fewer = max(high - count.value, 0.0), min(low / max(count.value, 1e-9), 1.0)
            hidden = max(more * volume.value / max(count.value, 1.0), self.chances.bound_hidden_mm3(share))
            count = _widen(count, low, high, exact)
            volume = _widen(volume, fewer * volume.value, volume.value + hidden, exact)
        return _drop_traces(count), _drop_traces(volume)

    def _propagate(self, share: F64, weight: F64) -> Estimate:
        """Weighted number with the limits of the simulations."""
        value = float(self.number @ weight)
        truth, estimate = self.truths @ weight, self.estimates @ weight
        if self.number @ share < FEW:
            low, high = value - np.quantile(estimate - truth, [0.975, 0.025])
        else:
            ratio = estimate / np.maximum(truth, 1e-9)
            # Smoothing biases all draws alike; dividing by the median ratio removes it.
            low, value, high = value / np.maximum(np.quantile(ratio, [0.975, 0.5, 0.025]), 0.05)
        return Estimate(value, max(0.0, min(low, value)), max(high, value))


def _widen(estimate: Estimate, low: float, high: float, weight: float) -> Estimate:
    """Limits moved to wider ones, by a weight from 0 to 1."""
    return Estimate(
        estimate.value,
        estimate.low - weight * max(estimate.low - low, 0.0),
        estimate.high + weight * max(high - estimate.high, 0.0),
    )


def _drop_traces(estimate: Estimate) -> Estimate:
    """What unfolding leaves where nothing is becomes zero."""
    return Estimate(*(0.0 if number < TRACE else number for number in dataclasses.astuple(estimate)))


def count_by_diameter(diameter_mm: F64, weights: F64 | None = None) -> F64:
    """Histogram of diameters over the bins `EDGES_MM`.

    Parameters
    ----------
    diameter_mm : ndarray, shape (n,)
        Measured diameters [mm]; those outside all bins count in the nearest.
    weights : ndarray, shape (n,), optional
        Weight of each nodule; 1 when not given.

    Returns
    -------
    ndarray of float64, shape (bins,)
    """
    inside = np.clip(diameter_mm, CENTERS_MM[0], CENTERS_MM[-1])
    return np.histogram(inside, bins=EDGES_MM, weights=weights)[0].astype(np.float64)


def correct_counts(
    counted: F64,
    false: F64,
    curve: CompletenessCurve,
    response: SizeResponse,
    *,
    false_log_sd: float,
    scale_error: float,
    model_error: float,
    location: LocationFactor | None = None,
    seed: int = 0,
) -> Corrected:
    """Unfold the counts of one scan, and simulate the error of the result.

    Parameters
    ----------
    counted, false : ndarray, shape (bins,)
        Reported nodules, and expected false positives, per bin of measured diameter.
    curve : CompletenessCurve
        Probability of detection by true diameter.
    response : SizeResponse
        Distribution of measured diameters.
    false_log_sd : float
        One-sigma error of the logarithm of the number of false positives.
    scale_error : float
        Relative one-sigma error that all diameters share.
    model_error : float
        One-sigma error of the log-odds of detection beyond that of the curve.
    location : LocationFactor, optional
        Factor on completeness for the location of the reported nodules.
    seed : int
        Seed of the simulations.

    Returns
    -------
    Corrected
    """
    rng = np.random.default_rng([seed, 52])
    factor_there = np.ones_like(CENTERS_MM) if location is None else location.at(CENTERS_MM)
    estimated = np.clip(curve.at(CENTERS_MM) * factor_there, 0.0, 1.0)
    number = unfold(counted, false, estimated, response.matrix)
    there = np.floor(number + rng.random((N_DRAWS, len(number)))).astype(np.int64)
    true_curves = curve.draw(CENTERS_MM, N_DRAWS, rng)
    true_curves = _shift_odds(true_curves, model_error * rng.standard_normal((N_DRAWS, 1)))
    log_sd = 0.0 if location is None else location.log_sd_at(CENTERS_MM)
    true_curves = true_curves * factor_there * np.exp(log_sd * rng.standard_normal((N_DRAWS, 1)))
    true_curves = np.clip(true_curves, 0.0, 1.0)
    again = np.zeros((N_DRAWS, len(number)))
    for column in np.flatnonzero(there.any(axis=0)):
        chance = true_curves[:, column, None] * response.matrix[:, column]
        chance = np.concatenate([chance, 1.0 - chance.sum(axis=1, keepdims=True)], axis=1)
        again += rng.multinomial(there[:, column], np.clip(chance, 0.0, 1.0))[:, :-1]
    again = _rescale(again, scale_error * rng.standard_normal((N_DRAWS, 1)))
    factor = np.exp(false_log_sd * rng.standard_normal((N_DRAWS, 1)))
    hidden = bound_missed(true_curves) * VOLUMES_MM3
    chances = Chances(number * estimated, false, true_curves, factor[:, 0], hidden)
    again += rng.poisson(false * factor)
    estimate = unfold(again, false + 0.0 * again, estimated + 0.0 * again, response.matrix)
    return Corrected(number, there.astype(np.float64), estimate, chances)


def _shift_odds(chance: F64, by: F64) -> F64:
    chance = np.clip(chance, 1e-9, 1.0 - 1e-9)
    return np.asarray(expit(logit(chance) + by))


def _rescale(counts: F64, log_factor: F64) -> F64:
    """Counts (draws, bins) with all diameters multiplied by one factor per draw, its logarithm (draws, 1)."""
    n = counts.shape[1]
    bins = np.floor(log_factor / STEP)
    share = log_factor / STEP - bins
    source = np.arange(n) - bins.astype(np.int64)

    def _take(index: npt.NDArray[np.int64]) -> F64:
        inside = (index >= 0) & (index < n)
        return np.where(inside, np.take_along_axis(counts, np.clip(index, 0, n - 1), axis=1), 0.0)

    return np.asarray((1.0 - share) * _take(source) + share * _take(source - 1))
