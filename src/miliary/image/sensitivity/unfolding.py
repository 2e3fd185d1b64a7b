"""From marks to nodules: the completeness curve, and counts and sizes corrected by it.

What is marked is a thinned, smeared copy of what is there, plus false marks. The thinning and the smearing
are known from the injected nodules, so the sizes that are there follow by maximum likelihood
(Richardson 1972, J Opt Soc Am 62:55-59; Lucy 1974, Astron J 79:745-754), smoothed a little at every step.
Intervals come from drawing the marks again from the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from miliary.image.sensitivity.injection import Recovery
from miliary.image.sensitivity.placement import PlaceFactor
from miliary.model.completeness import Estimate

F64 = npt.NDArray[np.float64]

# Bins of the logarithm of the diameter.
STEP = 0.04
EDGES_MM = np.exp(np.arange(np.log(0.5), np.log(14.0), STEP))
CENTERS_MM = np.sqrt(EDGES_MM[:-1] * EDGES_MM[1:])
VOLUMES_MM3 = np.pi / 6.0 * CENTERS_MM**3
# Where hardly any nodule is found, nothing can be said of how many there are.
MIN_COMPLETENESS = 0.08
ROUNDS = 30
SMOOTHING = 0.02
# Bins to either side over which the marks are spread to start with: twice the scatter of a size.
START = 3
N_DRAWS = 300
MIN_FOUND = 40
# Fewer nodules than these have an interval by differences, as it may hold none.
FEW = 20.0
RESPONSE_WIDTH = 0.18
# Fits that went astray, in robust standard deviations; large nodules do not pass for many small ones.
OUTLIER = 3.0
ASTRAY, LARGE_MM = 0.2, 3.0
# Nodules are at most this much larger than the largest mark.
ROOM = 1.25
# Weak expectations of the curve's parameters: place, width and skewness of the rise, height of its end.
EXPECTED = np.array([0.3, -2.1, 4.0, 0.5])
EXPECTED_SD = np.array([1.0, 0.7, 1.3, 0.8])


@dataclass(frozen=True)
class Curve:
    """Probability of detection against diameter.

    ``end * expit((ln d - place) / width) ** skew``, the parameters being (place, ln width, logit end,
    ln skew) with their covariance.
    """

    parameters: F64
    covariance: F64

    def at(self, diameter_mm: npt.ArrayLike) -> F64:
        """Completeness at diameters."""
        return _evaluate(self.parameters, np.log(np.asarray(diameter_mm, dtype=np.float64)))

    def draw(self, diameter_mm: F64, n: int, rng: np.random.Generator) -> F64:
        """Curves as likely as this one, shape (n, diameters)."""
        drawn = rng.multivariate_normal(self.parameters, self.covariance, size=n, method="eigh")
        drawn = np.clip(drawn, EXPECTED - 4.0 * EXPECTED_SD, EXPECTED + 4.0 * EXPECTED_SD)
        return np.stack([_evaluate(row, np.log(diameter_mm)) for row in drawn])

    def find_diameter_mm(self, share: float) -> float | None:
        """Smallest diameter of which `share` are found; None where no diameter up to 14 mm is."""
        fine = np.geomspace(EDGES_MM[0], EDGES_MM[-1], 2000)
        reached = np.flatnonzero(self.at(fine) >= share)
        return float(fine[reached[0]]) if len(reached) else None


def _evaluate(parameters: F64, x: F64) -> F64:
    place, width, end, skew = parameters
    return np.asarray(np.exp(log_expit(end) + np.exp(skew) * log_expit((x - place) * np.exp(-width))))


def fit_curve(recovery: Recovery) -> Curve:
    """Completeness curve of maximum posterior probability, with the covariance of its parameters.

    Parameters
    ----------
    recovery : Recovery

    Returns
    -------
    Curve
    """
    x, found = np.log(recovery.diameter_mm), recovery.is_found

    def loss(parameters: F64) -> float:
        p = np.clip(_evaluate(parameters, x), 1e-9, 1.0 - 1e-9)
        likelihood = np.sum(np.log(p[found])) + np.sum(np.log1p(-p[~found]))
        return float(0.5 * np.sum(((parameters - EXPECTED) / EXPECTED_SD) ** 2) - likelihood)

    best = np.asarray(minimize(loss, EXPECTED, method="BFGS", options={"gtol": 1e-4}).x, dtype=np.float64)
    return Curve(best, np.asarray(np.linalg.inv(_measure_curvature(loss, best)), dtype=np.float64))


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
class Response:
    """How a found nodule's diameter is measured: bias and scatter of its logarithm, and the whole smearing.

    `bias`, `scatter` per bin of true diameter; `matrix` (measured bin, true bin) has columns that sum to one,
    or to nothing for sizes that this scan measures wrongly.
    """

    bias: F64
    scatter: F64
    matrix: F64


def measure_response(recovery: Recovery) -> Response:
    """Size bias and scatter from the injected nodules that were found."""
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
    # A size whose fit goes astray is not made to explain the marks that it would be mistaken for.
    matrix[:, (np.abs(bias) > ASTRAY) & (CENTERS_MM > LARGE_MM)] = 0.0
    return Response(bias, scatter, matrix)


def _smooth(x: F64, values: F64, at: F64) -> tuple[F64, F64]:
    """Weighted mean and standard deviation of values around each place, outliers drawn in."""
    weight = np.exp(-0.5 * ((x - at[:, None]) / RESPONSE_WIDTH) ** 2) + 1e-12
    weight /= weight.sum(axis=1, keepdims=True)
    middle = float(np.median(values))
    reach = OUTLIER * max(1.4826 * float(np.median(np.abs(values - middle))), 0.02)
    drawn_in = np.clip(values, middle - reach, middle + reach)
    mean = weight @ drawn_in
    variance = weight @ drawn_in**2 - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.01**2))


def _shift(counts: F64, bins: int) -> F64:
    """Counts some bins higher, zeros from outside."""
    out = np.zeros_like(counts)
    n = counts.shape[-1]
    out[..., max(0, bins) : n + min(0, bins)] = counts[..., max(0, -bins) : n - max(0, bins)]
    return out


def unfold(marked: F64, false: F64, completeness: F64, matrix: F64) -> F64:
    """Number of nodules per bin of true diameter, shape (..., bins).

    Parameters
    ----------
    marked, false : ndarray, shape (..., bins)
        Marks per bin of measured diameter, and how many of them are expected to be false.
    completeness : ndarray, shape (..., bins)
    matrix : ndarray, shape (bins, bins)
        From `Response`.
    """
    filled = np.flatnonzero(marked.reshape(-1, marked.shape[-1]).any(axis=0))
    largest = EDGES_MM[filled[-1] + 1] if len(filled) else EDGES_MM[-1]
    known = (completeness >= MIN_COMPLETENESS) & (ROOM * largest >= CENTERS_MM)
    # Starting from the marks where they are: large nodules that no mark is near are not called upon to
    # explain small ones.
    near = np.stack([_shift(np.maximum(marked - false, 0.0), k) for k in range(-START, START + 1)])
    there = np.where(known, near.mean(axis=0) / np.maximum(completeness, MIN_COMPLETENESS), 0.0)
    found = np.where(known, completeness, 0.0)
    for _ in range(ROUNDS):
        expected = (there * found) @ matrix.T + false + 1e-9
        there = there * ((marked / expected) @ matrix)
        wider = there * found
        spread = np.zeros_like(wider)
        spread[..., 1:] += SMOOTHING * wider[..., :-1]
        spread[..., :-1] += SMOOTHING * wider[..., 1:]
        there = np.where(known, ((1.0 - 2.0 * SMOOTHING) * wider + spread) / np.maximum(found, 1e-9), 0.0)
    return there


@dataclass(frozen=True)
class Corrected:
    """Nodules per bin of true diameter.

    `number` (bins,) is the estimate; `truths` (draws, bins) are worlds like it, and `estimates` (draws, bins)
    what the same estimate makes of each: how far it errs there is how far it may err here.
    """

    number: F64
    truths: F64
    estimates: F64

    def measure(self, at_least_mm: float, weight: F64 | None = None) -> Estimate:
        """Weighted number of nodules of at least a diameter, with its 95 % interval."""
        share = np.clip((np.log(EDGES_MM[1:]) - np.log(at_least_mm)) / STEP, 0.0, 1.0)
        weight = share if weight is None else share * weight
        value = float(self.number @ weight)
        truth, estimate = self.truths @ weight, self.estimates @ weight
        if self.number @ share < FEW:
            low, high = value - np.quantile(estimate - truth, [0.975, 0.025])
        else:
            ratio = estimate / np.maximum(truth, 1e-9)
            # The smoothing shifts estimates and truths alike, and is taken back with the median.
            low, value, high = value / np.maximum(np.quantile(ratio, [0.975, 0.5, 0.025]), 0.05)
        return Estimate(value, max(0.0, min(low, value)), max(high, value))


def count_marks(diameter_mm: F64, weights: F64 | None = None) -> F64:
    """Marks per bin of measured diameter; those outside fall into the last bin on their side."""
    inside = np.clip(diameter_mm, CENTERS_MM[0], CENTERS_MM[-1])
    return np.histogram(inside, bins=EDGES_MM, weights=weights)[0].astype(np.float64)


def correct_counts(
    marked: F64,
    false: F64,
    curve: Curve,
    response: Response,
    *,
    false_spread: float,
    scale_error: float,
    model_error: float,
    place: PlaceFactor | None = None,
    seed: int = 0,
) -> Corrected:
    """Unfold the marks, and draw what else might have given the same.

    Parameters
    ----------
    marked, false : ndarray, shape (bins,)
        Marks and expected false marks per bin of measured diameter.
    curve : Curve
    response : Response
    false_spread : float
        One-sigma uncertainty of the logarithm of the number of false marks.
    scale_error : float
        Relative one-sigma error that all diameters share.
    model_error : float
        One-sigma uncertainty of the log-odds of detection beyond that of the curve.
    place : PlaceFactor, optional
        By how much the chance of detection differs where the marks lie.
    seed : int

    Returns
    -------
    Corrected
    """
    rng = np.random.default_rng([seed, 52])
    factor_there = np.ones_like(CENTERS_MM) if place is None else place.at(CENTERS_MM)
    estimated = np.clip(curve.at(CENTERS_MM) * factor_there, 0.0, 1.0)
    number = unfold(marked, false, estimated, response.matrix)
    there = np.floor(number + rng.random((N_DRAWS, len(number)))).astype(np.int64)
    true_curves = curve.draw(CENTERS_MM, N_DRAWS, rng)
    true_curves = _shift_odds(true_curves, model_error * rng.standard_normal((N_DRAWS, 1)))
    spread = 0.0 if place is None else place.spread_at(CENTERS_MM)
    true_curves = true_curves * factor_there * np.exp(spread * rng.standard_normal((N_DRAWS, 1)))
    true_curves = np.clip(true_curves, 0.0, 1.0)
    again = np.zeros((N_DRAWS, len(number)))
    for column in np.flatnonzero(there.any(axis=0)):
        chance = true_curves[:, column, None] * response.matrix[:, column]
        chance = np.concatenate([chance, 1.0 - chance.sum(axis=1, keepdims=True)], axis=1)
        again += rng.multinomial(there[:, column], np.clip(chance, 0.0, 1.0))[:, :-1]
    again = _rescale(again, scale_error * rng.standard_normal((N_DRAWS, 1)))
    factor = np.exp(false_spread * rng.standard_normal((N_DRAWS, 1)))
    again += rng.poisson(false * factor)
    estimate = unfold(again, false + 0.0 * again, estimated + 0.0 * again, response.matrix)
    return Corrected(number, there.astype(np.float64), estimate)


def _shift_odds(chance: F64, by: F64) -> F64:
    chance = np.clip(chance, 1e-9, 1.0 - 1e-9)
    return np.asarray(expit(logit(chance) + by))


def _rescale(counts: F64, log_factor: F64) -> F64:
    """Counts (draws, bins) whose diameters are all larger by a factor, one for each draw (draws, 1)."""
    n = counts.shape[1]
    bins = np.floor(log_factor / STEP)
    share = log_factor / STEP - bins
    source = np.arange(n) - bins.astype(np.int64)

    def _take(index: npt.NDArray[np.int64]) -> F64:
        inside = (index >= 0) & (index < n)
        return np.where(inside, np.take_along_axis(counts, np.clip(index, 0, n - 1), axis=1), 0.0)

    return np.asarray((1.0 - share) * _take(source) + share * _take(source - 1))
