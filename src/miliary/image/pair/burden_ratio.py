"""Burden of nodules on two scans, corrected for what each misses, and the ratio with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.model.comparison import Burden, Interval

F64 = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_N_DRAWS = 20_000
_LEAST_COMPLETENESS = 0.2


@dataclass(frozen=True)
class ComparedNodules:
    """The nodules of one scan that enter a comparison, n of them, with their completeness.

    Parameters
    ----------
    volume_mm3, volume_mm3_err : ndarray of float64, shape (n,)
        Volumes and their one-sigma errors [mm3].
    diameter_mm, diameter_mm_err : ndarray of float64, shape (n,)
        Diameters and their one-sigma errors [mm].
    completeness, completeness_err : ndarray of float64, shape (n,)
        Probability that a nodule of this size is reported on this scan, 1 where nothing is corrected, and its
        one-sigma error, which all nodules of the scan share.
    part : ndarray of int64, shape (n,)
        Number of the part of the lungs.
    """

    volume_mm3: F64
    volume_mm3_err: F64
    diameter_mm: F64
    diameter_mm_err: F64
    completeness: F64
    completeness_err: F64
    part: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.volume_mm3)

    def select(self, keep: BoolArray) -> ComparedNodules:
        """The nodules for which `keep`, shape (n,), is true."""
        return ComparedNodules(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class FalsePositiveRate:
    """Expected false positives on a scan.

    Parameters
    ----------
    per_litre, per_litre_sd : float
        Number of at least the smallest diameter of the volume, per liter of lung, and its standard deviation
        between patients.
    volume_mm3, volume_mm3_sd : float
        Mean and standard deviation of the volume of one [mm3].
    count_share : float
        Share of them that reaches the smallest diameter of the count, 0 to 1.
    """

    per_litre: float
    per_litre_sd: float
    volume_mm3: float
    volume_mm3_sd: float
    count_share: float


def measure_burden(
    sample: ComparedNodules,
    *,
    lung_ml: float,
    min_diameter_mm: float,
    count_diameter_mm: float,
    false_positives: FalsePositiveRate,
    common_err: float,
) -> Burden:
    """Total volume and number of nodules in a part of the lung, corrected.

    Every reported nodule represents ``1 / completeness`` nodules; the volume and number of false positives
    expected in this volume of lung are subtracted.

    Parameters
    ----------
    sample : ComparedNodules
        Nodules of this part.
    lung_ml : float
        Volume of lung that was searched [mL].
    min_diameter_mm, count_diameter_mm : float
        Smallest diameter that enters the volume, and the number [mm].
    false_positives : FalsePositiveRate
        Expected false positives.
    common_err : float
        Relative error that all volumes of the scan share.

    Returns
    -------
    Burden
        Slightly negative where fewer nodules were reported than false positives are expected.
    """
    large = sample.select(sample.diameter_mm >= min_diameter_mm)
    share = np.clip(large.completeness, _LEAST_COMPLETENESS, 1.0)
    volume = large.volume_mm3 / share
    litres = lung_ml / 1000.0
    n_false = false_positives.per_litre * litres
    mean_size = false_positives.volume_mm3
    # Their number varies at random and between patients, their volumes at random.
    false_variance = (
        n_false * (mean_size**2 + false_positives.volume_mm3_sd**2)
        + (false_positives.per_litre_sd * litres * mean_size) ** 2
    )
    total = float(volume.sum())
    own_variance = _find_own_variance(large, large.volume_mm3) + (common_err * total) ** 2
    count, count_variance = _count(sample, count_diameter_mm, n_false * false_positives.count_share)
    count_sd = false_positives.per_litre_sd * litres * false_positives.count_share
    return Burden(
        n_reported=len(large),
        volume_mm3=total - n_false * mean_size,
        volume_mm3_err=float(np.sqrt(own_variance + false_variance)),
        count=count,
        count_err=float(np.hypot(np.sqrt(count_variance), count_sd)),
        lung_ml=float(lung_ml),
        volume_mm3_own_err=float(np.sqrt(own_variance)),
        count_own_err=float(np.sqrt(count_variance)),
    )


def _find_own_variance(sample: ComparedNodules, weight: F64) -> float:
    """Variance of a corrected sum of `weight` that is due to one scan alone."""
    share = np.clip(sample.completeness, _LEAST_COMPLETENESS, 1.0)
    relative = sample.volume_mm3_err / np.maximum(sample.volume_mm3, 1e-9)
    missed = np.sum((1.0 - share) * (weight / share) ** 2)
    measured = np.sum((relative * weight / share) ** 2)
    learned = np.sum(weight * sample.completeness_err / share**2) ** 2
    return float(missed + measured + learned)


def share_burden(
    part: ComparedNodules,
    whole: ComparedNodules,
    *,
    volume_mm3: tuple[float, float],
    count: tuple[float, float],
    lung_ml: float,
    lung_share: float,
    min_diameter_mm: float,
    count_diameter_mm: float,
) -> Burden:
    """Share of a part of the lung in the corrected numbers of its scan.

    Parameters
    ----------
    part, whole : ComparedNodules
        Nodules of the part, and all nodules of the scan that the corrected numbers were made from.
    volume_mm3, count : pair of float
        Corrected volume [mm3] and number of the scan above the two diameters, each with its one-sigma error.
    lung_ml : float
        Volume of lung of the part [mL].
    lung_share : float
        That volume over the volume of the lungs, 0 to 1.
    min_diameter_mm, count_diameter_mm : float
        Smallest diameter that enters the volume, and the number [mm].

    Returns
    -------
    Burden
        In proportion to `lung_share` where the scan has no nodules.
    """
    values = []
    for (total, err), diameter, weight in (
        (volume_mm3, min_diameter_mm, lambda s: s.volume_mm3),
        (count, count_diameter_mm, lambda s: np.ones(len(s))),
    ):
        own, all_ = (s.select(s.diameter_mm >= diameter) for s in (part, whole))
        found, seen = (weight(s) / np.clip(s.completeness, _LEAST_COMPLETENESS, 1.0) for s in (own, all_))
        if seen.sum() <= 0:
            values.append((total * lung_share, err * lung_share, err * lung_share))
            continue
        share = float(found.sum() / seen.sum())
        # Which of the missed nodules lie in this part is random.
        missed = np.sum((1.0 - np.clip(own.completeness, _LEAST_COMPLETENESS, 1.0)) * found**2)
        apart = float(np.sqrt(missed * (1.0 - share)))
        error = float(np.hypot(err * (share or lung_share), apart))
        scale = total * share / found.sum() if found.sum() > 0 else 1.0
        alone = scale * float(np.sqrt(_find_own_variance(own, weight(own))))
        values.append((total * share, error, min(max(alone, apart), error)))
    return Burden(
        n_reported=int(np.count_nonzero(part.diameter_mm >= min_diameter_mm)),
        volume_mm3=values[0][0],
        volume_mm3_err=values[0][1],
        count=values[1][0],
        count_err=values[1][1],
        lung_ml=float(lung_ml),
        volume_mm3_own_err=values[0][2],
        count_own_err=values[1][2],
    )


def _count(sample: ComparedNodules, diameter_mm: float, n_false: float) -> tuple[float, float]:
    """Corrected number of at least `diameter_mm` and its variance."""
    above = sample.diameter_mm >= diameter_mm
    share = np.clip(sample.completeness[above], _LEAST_COMPLETENESS, 1.0)
    error = np.maximum(sample.diameter_mm_err, 1e-3)
    # A nodule near the limit is counted or not depending on its error; logistic approximation of the normal.
    chance = 1.0 / (1.0 + np.exp(-1.702 * (sample.diameter_mm - diameter_mm) / error))
    variance = (
        np.sum((1.0 - share) / share**2)
        + np.sum(chance * (1.0 - chance))
        + np.sum(sample.completeness_err[above] / share**2) ** 2
        + n_false
    )
    return float(np.sum(1.0 / share)) - n_false, float(variance)


@dataclass(frozen=True)
class TotalWithError:
    """A total with its error.

    Parameters
    ----------
    value : float
        The total.
    err : float
        One-sigma error of it.
    own_err : float
        Part of the error that is independent of other scans of the patient.
    """

    value: float
    err: float
    own_err: float

    @property
    def shared_share(self) -> float:
        """Relative error that may be common to another scan of the patient; 0 for a total of 0 or less."""
        shared = max(self.err**2 - self.own_err**2, 0.0)
        return float(np.sqrt(shared)) / self.value if self.value > 0 else 0.0


def estimate_ratio(
    before: TotalWithError, after: TotalWithError, *, correlation: float = 0.0, seed: int = 0
) -> Interval:
    """Ratio of two totals with its 95 % interval, by Monte Carlo.

    Parameters
    ----------
    before, after : TotalWithError
        Totals of baseline and follow-up.
    correlation : float
        Correlation of the shared errors of the two scans, 0 to 1; correlated errors cancel in the ratio.
    seed : int
        Seed of the draws.

    Returns
    -------
    Interval
        Without a value, and with the reason, where the first total is not significantly positive.
    """
    if before.value <= 0 or before.value < 2.0 * before.err:
        return Interval(None, reason="the baseline shows too little disease to divide by")
    rng = np.random.default_rng(seed)
    same, apart = rng.standard_normal((2, _N_DRAWS))
    shift = before.shared_share * same
    other = after.shared_share * (correlation * same + np.sqrt(1.0 - correlation**2) * apart)
    ratio = _draw(rng, after) * np.exp(other - shift) / _draw(rng, before)
    low, high = np.percentile(ratio, [2.5, 97.5])
    value = max(after.value, 0.0) / before.value
    return Interval(value, float(min(low, value)), float(max(high, value)))


def _draw(rng: np.random.Generator, total: TotalWithError) -> F64:
    """Non-negative draws with the mean and the own error of a total, from a gamma distribution."""
    if total.value <= 0:
        return np.abs(rng.normal(0.0, max(total.err, 1e-9), _N_DRAWS))
    if total.own_err <= 0:
        return np.full(_N_DRAWS, total.value)
    shape = (total.value / total.own_err) ** 2
    return rng.gamma(shape, total.value / shape, _N_DRAWS)
