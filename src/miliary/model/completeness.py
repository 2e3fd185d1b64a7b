"""`Completeness`: what share of nodules this scan shows, and the counts and volumes corrected for it.

Everything is by true solid-equivalent diameter. Below `diameter_50_mm` more is missed than found, and nothing
is stated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Row = tuple[float, ...]

LEAST_DIAMETER_MM = 1.0
SKIPPED_REASON = "completeness was not measured (--fast): counts are uncorrected"


@dataclass(frozen=True)
class Estimate:
    """A number with the limits of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Threshold:
    """Corrected number and total volume [mm3] of the nodules of at least `diameter_mm`."""

    diameter_mm: float
    count: Estimate
    total_volume_mm3: Estimate


@dataclass(frozen=True)
class FalseMarks:
    """Marks that are no nodules: how many are expected among those reported, and how that is known.

    `per_litre` is of lung; `source` one of ``probabilities`` (calibrated probabilities of the marks
    themselves), ``table`` (rates on lungs without nodules) or ``candidates`` (what is just below the
    threshold in this scan).
    """

    source: str
    expected: Estimate
    per_litre: float
    by_probabilities: float
    by_table: float | None


@dataclass(frozen=True)
class ExcessCheck:
    """Total nodular volume [mm3] by a way that needs no detection, beside the corrected one."""

    total_volume_mm3: Estimate
    agrees: bool


@dataclass(frozen=True)
class Completeness:
    """Probability of detection by diameter, and what follows for count, sizes and volume.

    Parameters
    ----------
    n_injected, n_found : int
        Simulated nodules put into the scan, and how many of them were found.
    curve_mm, curve, curve_low, curve_high : tuple of float, k each
        Diameters [mm], probability of detection there, and its 95 % limits.
    points_mm, points, points_n : tuples, m each
        Middle of classes of injected diameters [mm], share found and number injected.
    size_bias : tuple of float, k
        Measured over true diameter, less one, of found nodules.
    size_scatter : tuple of float, k
        One-sigma relative scatter of the measured diameter.
    diameter_50_mm, diameter_90_mm : float or None
        Diameter of which half, and nine tenths, are found.
    false_marks : FalseMarks or None
    at_least : tuple of Threshold
        Ascending in diameter; the first is what the corrected numbers refer to. Empty where nothing can be
        corrected.
    reason : str
        Why nothing can be corrected; empty otherwise.
    edges_mm, counts : tuple of float, b + 1 and b, or None
        Corrected number of nodules by diameter.
    excess : ExcessCheck or None
    place_factor : float or None
        Chance of detection at 2 mm where the marks lie, over that at random places: the corrected numbers
        hold it.
    """

    n_injected: int
    n_found: int
    curve_mm: Row
    curve: Row
    curve_low: Row
    curve_high: Row
    points_mm: Row
    points: Row
    points_n: tuple[int, ...]
    size_bias: Row
    size_scatter: Row
    diameter_50_mm: float | None
    diameter_90_mm: float | None
    false_marks: FalseMarks | None = None
    at_least: tuple[Threshold, ...] = ()
    reason: str = ""
    edges_mm: Row | None = None
    counts: Row | None = None
    excess: ExcessCheck | None = None
    place_factor: float | None = None

    @property
    def min_diameter_mm(self) -> float | None:
        """Smallest diameter that the corrected numbers hold; None where there is none."""
        if self.diameter_50_mm is None:
            return None
        return max(LEAST_DIAMETER_MM, self.diameter_50_mm)

    def withhold(self, reason: str) -> Completeness:
        """The same without corrected numbers, where the marks of the scan cannot be counted."""
        return replace(
            self, false_marks=None, at_least=(), reason=reason, edges_mm=None, counts=None, excess=None
        )

    def at(self, diameter_mm: npt.ArrayLike) -> F64:
        """Probability of detection at diameters, between the points of the curve."""
        return np.asarray(np.interp(np.asarray(diameter_mm, dtype=np.float64), self.curve_mm, self.curve))

    def above(self, diameter_mm: float) -> Threshold | None:
        """Corrected numbers of nodules of at least a diameter; None where this scan cannot tell."""
        if not self.at_least or diameter_mm < self.at_least[0].diameter_mm - 1e-9:
            return None
        at = np.array([t.diameter_mm for t in self.at_least])

        def between(values: list[Estimate]) -> Estimate:
            limits = np.array([[v.value, v.low, v.high] for v in values])
            return Estimate(*(float(np.interp(diameter_mm, at, limits[:, k])) for k in range(3)))

        count = between([t.count for t in self.at_least])
        return Threshold(diameter_mm, count, between([t.total_volume_mm3 for t in self.at_least]))
