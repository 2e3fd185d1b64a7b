"""`Pattern`: how the nodules of one scan are spread over the lungs, and on what evidence."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class PatternLabel(enum.StrEnum):
    """Spatial pattern of small nodules."""

    RANDOM = "random"
    PERILYMPHATIC = "perilymphatic"
    CENTRILOBULAR = "centrilobular"
    NONE = "none"
    INDETERMINATE = "indeterminate"
    AIRWAY_CENTRED = "airway_centred"
    OTHER = "other"


# Patterns of nodules that are there, each with effect sizes in the packaged model.
SPATIAL_CLASSES = (PatternLabel.RANDOM, PatternLabel.PERILYMPHATIC, PatternLabel.CENTRILOBULAR)
# What probabilities are given to; they sum to one.
CLASSES = (*SPATIAL_CLASSES, PatternLabel.NONE)


@dataclass(frozen=True)
class Evidence:
    """One measure of the pattern, beside what randomly placed nodules would show.

    Parameters
    ----------
    name : str
    meaning : str
        One plain sentence.
    unit : str
    value, expected : float
        Measured; mean of random placements in the same lungs.
    ratio : float
        Effect size: value over expected.
    ratio_low, ratio_high : float
        Its 95 % interval.
    p_value : float
        Two-sided, against the random placements.
    """

    name: str
    meaning: str
    unit: str
    value: float
    expected: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p_value: float


@dataclass(frozen=True)
class ContextMeasure:
    """What lies around and between the marks, beside the most that nodules of the lung show.

    Parameters
    ----------
    name : str
        ``patchiness``, ``joined``, ``in_dense_lung`` or ``beside_air``.
    meaning : str
        One plain sentence.
    value, limit : float
        Measured; from where on the marks are not taken for nodules spread at random.
    """

    name: str
    meaning: str
    value: float
    limit: float


@dataclass(frozen=True)
class Curve:
    """A measure as a function: observed, and mean and 95 % band of random placements.

    Parameters
    ----------
    name, x_label : str
    x : tuple of float
        Middles of the bins.
    observed, expected, low, high : tuple of float
    """

    name: str
    x_label: str
    x: tuple[float, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class SizeUniformity:
    """Spread of the diameters without what measurement adds.

    `cv` and its one-sigma `cv_err`; `cv_measured` still has the measurement error in it. All None, with
    `reason`, where it cannot be told.
    """

    cv: float | None
    cv_err: float | None
    cv_measured: float | None
    reason: str = ""


@dataclass(frozen=True)
class Pattern:
    """Spatial pattern of the nodules of one scan.

    Parameters
    ----------
    label : PatternLabel
    reason : str
        Why the label is what it is, one sentence.
    probabilities : mapping of PatternLabel to float
        Of `CLASSES`; empty where the answer was withheld for want of nodules.
    n_nodules, n_used : int
        Nodules of the scan; those the evidence rests on.
    randomness_p : float or None
        Of a joint test of contact, distance and clustering against random placement; broad gradients
        are allowed for.
    evidence, gradients : tuple of Evidence
    size : SizeUniformity
    fissures : str
        How fissures were used.
    completeness : str
        ``shipped`` or ``measured``: where the chance of detection by place comes from.
    n_placements, seed : int
        Random placements drawn.
    curves : tuple of Curve
        For the figure; not part of the summary.
    context : tuple of ContextMeasure
        What lies around and between the marks; not part of the summary.
    doubt : str
        Why the marks cannot be taken for nodules, from their context; empty where they can.
    """

    label: PatternLabel
    reason: str
    probabilities: Mapping[PatternLabel, float]
    n_nodules: int
    n_used: int
    size: SizeUniformity
    randomness_p: float | None = None
    evidence: tuple[Evidence, ...] = ()
    gradients: tuple[Evidence, ...] = ()
    fissures: str = ""
    completeness: str = "shipped"
    n_placements: int = 0
    seed: int = 0
    curves: tuple[Curve, ...] = field(default=(), repr=False)
    context: tuple[ContextMeasure, ...] = ()
    doubt: str = ""

    @property
    def is_random_rejected(self) -> bool | None:
        """Whether random placement is rejected at 5 %, None where it was not tested."""
        return None if self.randomness_p is None else self.randomness_p <= REJECTED_AT


REJECTED_AT = 0.05
