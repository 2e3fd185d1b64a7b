"""What two scans hold of disease, corrected for what each misses, and the ratio with its interval."""

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
class Sample:
    """The nodules of one scan that enter a comparison, with how they were found.

    Parameters
    ----------
    volume_mm3, volume_mm3_err, diameter_mm, diameter_mm_err : ndarray, shape (n,)
    completeness, completeness_err : ndarray, shape (n,)
        Chance that a nodule of this size is reported on this scan, 1 where nothing is corrected, and its
        one-sigma error, which all nodules of the scan share.
    part : ndarray of int, shape (n,)
        Number of the part of the lung.
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

    def select(self, keep: BoolArray) -> Sample:
        """The nodules of a mask."""
        return Sample(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class FalseMarks:
    """What is expected of false marks: number per litre with its spread, and their sizes.

    `per_litre` and `per_litre_sd` count marks of at least `min_diameter_mm`; `count_share` is the share of
    them that reaches the diameter of the counts.
    """

    per_litre: float
    per_litre_sd: float
    volume_mm3: float
    volume_mm3_sd: float
    count_share: float


def measure_burden(
    sample: Sample,
    *,
    lung_ml: float,
    min_diameter_mm: float,
    count_diameter_mm: float,
    false_marks: FalseMarks,
    common_err: float,
) -> Burden:
    """Total volume and number in a part of the lung, corrected for what is missed and what is false.

    Every reported nodule stands for ``1 / completeness`` of its kind; the volume of the false marks that
    are expected in so much lung is taken off.

    Parameters
    ----------
    sample : Sample
    lung_ml : float
        Lung that was searched [mL].
    min_diameter_mm, count_diameter_mm : float
        Smallest diameter that enters the volume, and the number.
    false_marks : FalseMarks
    common_err : float
        Relative error that all volumes of the scan share.

    Returns
    -------
    Burden
        Values may fall a little below zero where fewer marks were found than false ones are expected.
    """
    large = sample.select(sample.diameter_mm >= min_diameter_mm)
    share = np.clip(large.completeness, _LEAST_COMPLETENESS, 1.0)
    volume = large.volume_mm3 / share
    litres = lung_ml / 1000.0
    n_false = false_marks.per_litre * litres
    mean_size = false_marks.volume_mm3
    # Their number varies by chance and between patients, their sizes by chance.
    false_variance = (
        n_false * (mean_size**2 + false_marks.volume_mm3_sd**2)
        + (false_marks.per_litre_sd * litres * mean_size) ** 2
    )
    total = float(volume.sum())
    own_variance = _find_own_variance(large, large.volume_mm3) + (common_err * total) ** 2
    count, count_variance = _count(sample, count_diameter_mm, n_false * false_marks.count_share)
    count_spread = false_marks.per_litre_sd * litres * false_marks.count_share
    return Burden(
        n_reported=len(large),
        volume_mm3=total - n_false * mean_size,
        volume_mm3_err=float(np.sqrt(own_variance + false_variance)),
        count=count,
        count_err=float(np.hypot(np.sqrt(count_variance), count_spread)),
        lung_ml=float(lung_ml),
        volume_mm3_own_err=float(np.sqrt(own_variance)),
        count_own_err=float(np.sqrt(count_variance)),
    )


def _find_own_variance(sample: Sample, weight: F64) -> float:
    """Variance of a corrected sum of `weight` by what one scan shows, measures and learns of itself."""
    share = np.clip(sample.completeness, _LEAST_COMPLETENESS, 1.0)
    relative = sample.volume_mm3_err / np.maximum(sample.volume_mm3, 1e-9)
    missed = np.sum((1.0 - share) * (weight / share) ** 2)
    measured = np.sum((relative * weight / share) ** 2)
    learned = np.sum(weight * sample.completeness_err / share**2) ** 2
    return float(missed + measured + learned)


def share_burden(
    part: Sample,
    whole: Sample,
    *,
    volume_mm3: tuple[float, float],
    count: tuple[float, float],
    lung_ml: float,
    lung_share: float,
    min_diameter_mm: float,
    count_diameter_mm: float,
) -> Burden:
    """The part that some nodules have in the corrected numbers of their scan.

    Parameters
    ----------
    part, whole : Sample
        Nodules of a part of the lung, and all of the scan that the corrected numbers were made from.
    volume_mm3, count : pair of float
        Corrected total of the scan above the two diameters, and its one-sigma error.
    lung_ml : float
        Lung of the part [mL].
    lung_share : float
        That lung over all lung of the scan.
    min_diameter_mm, count_diameter_mm : float

    Returns
    -------
    Burden
        Where the scan has no nodules to share by, the lung's share of what is left open.
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
        # Which of the missed ones lie in this part is chance.
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


def _count(sample: Sample, diameter_mm: float, n_false: float) -> tuple[float, float]:
    """Corrected number of at least `diameter_mm` and its variance."""
    above = sample.diameter_mm >= diameter_mm
    share = np.clip(sample.completeness[above], _LEAST_COMPLETENESS, 1.0)
    spread = np.maximum(sample.diameter_mm_err, 1e-3)
    # A nodule near the limit may by its error be counted or not.
    chance = 1.0 / (1.0 + np.exp(-1.702 * (sample.diameter_mm - diameter_mm) / spread))
    variance = (
        np.sum((1.0 - share) / share**2)
        + np.sum(chance * (1.0 - chance))
        + np.sum(sample.completeness_err[above] / share**2) ** 2
        + n_false
    )
    return float(np.sum(1.0 / share)) - n_false, float(variance)


@dataclass(frozen=True)
class Total:
    """A sum with its one-sigma error, and the part of the error that is its scan's alone."""

    value: float
    err: float
    own_err: float

    @property
    def shared_share(self) -> float:
        """Relative error that it may have in common with another scan of the patient."""
        shared = max(self.err**2 - self.own_err**2, 0.0)
        return float(np.sqrt(shared)) / self.value if self.value > 0 else 0.0


def estimate_ratio(before: Total, after: Total, *, correlation: float = 0.0, seed: int = 0) -> Interval:
    """Ratio of two totals with its 95 % interval, by drawing both from what their errors allow.

    Parameters
    ----------
    before, after : Total
    correlation : float
        Of what the two scans may have in common; it cancels in the ratio as far as it is the same.
    seed : int

    Returns
    -------
    Interval
        Without a value where the first total cannot be told from nothing.
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


def _draw(rng: np.random.Generator, total: Total) -> F64:
    """Non-negative values with this mean and own spread."""
    if total.value <= 0:
        return np.abs(rng.normal(0.0, max(total.err, 1e-9), _N_DRAWS))
    if total.own_err <= 0:
        return np.full(_N_DRAWS, total.value)
    shape = (total.value / total.own_err) ** 2
    return rng.gamma(shape, total.value / shape, _N_DRAWS)
