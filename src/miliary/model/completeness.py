"""`Completeness`: what share of nodules this scan shows, and the counts and volumes corrected for it.

Everything is by true solid-equivalent diameter. Below `diameter_50_mm` more is missed than found, and nothing
is stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


def summarize_corrected(completeness: Completeness | None) -> dict[str, Any]:
    """`corrected` of ``scan.json``: null with a reason where it cannot be told."""
    least = None if completeness is None else completeness.min_diameter_mm
    reason = SKIPPED_REASON if completeness is None else completeness.reason
    if completeness is None or not completeness.at_least:
        names = ("count", "count_ci95", "total_volume_mm3", "total_volume_mm3_ci95")
        empty: dict[str, Any] = {}
        for name in (*names, "count_at_least_1_mm", "size_distribution", "false_marks"):
            empty |= {name: None, f"{name}_reason": reason}
        check = _check(completeness, reason)
        return {**_told("min_diameter_mm", least, reason), **empty, "at_least": [], **check}
    first = completeness.at_least[0]
    return {
        "min_diameter_mm": _short(first.diameter_mm),
        **_summarize_threshold(first),
        **_count_from_one(completeness),
        "at_least": [
            {"diameter_mm": _short(t.diameter_mm), **_summarize_threshold(t)} for t in completeness.at_least
        ],
        **_summarize_sizes(completeness),
        **_summarize_false(completeness.false_marks),
        **_check(completeness, reason),
    }


def _summarize_threshold(threshold: Threshold) -> dict[str, Any]:
    count, volume = threshold.count, threshold.total_volume_mm3
    return {
        "count": _short(count.value),
        "count_ci95": [_short(count.low), _short(count.high)],
        "total_volume_mm3": _short(volume.value),
        "total_volume_mm3_ci95": [_short(volume.low), _short(volume.high)],
    }


def _count_from_one(completeness: Completeness) -> dict[str, Any]:
    here = completeness.above(LEAST_DIAMETER_MM)
    reason = (
        f"not measurable: of nodules of {LEAST_DIAMETER_MM:g} mm fewer than half are found on this scan "
        f"(half are found at {completeness.diameter_50_mm:.2f} mm)"
    )
    return _told("count_at_least_1_mm", None if here is None else here.count.value, reason)


def _summarize_sizes(completeness: Completeness) -> dict[str, Any]:
    if completeness.edges_mm is None or completeness.counts is None:
        return {"size_distribution": None, "size_distribution_reason": "not estimated"}
    return {
        "size_distribution": {
            "edges_mm": [_short(v) for v in completeness.edges_mm],
            "counts": [_short(v) for v in completeness.counts],
        }
    }


def _summarize_false(marks: FalseMarks | None) -> dict[str, Any]:
    if marks is None:
        return {"false_marks": None, "false_marks_reason": "not estimated"}
    return {
        "false_marks": {
            "source": marks.source,
            "expected": _short(marks.expected.value),
            "expected_ci95": [_short(marks.expected.low), _short(marks.expected.high)],
            "per_litre": _short(marks.per_litre),
            "by_probabilities": _short(marks.by_probabilities),
            **_told("by_table", marks.by_table, "the table holds no scan like this one"),
        }
    }


def _check(completeness: Completeness | None, reason: str) -> dict[str, Any]:
    excess = None if completeness is None else completeness.excess
    if excess is None:
        return {"excess_check": None, "excess_check_reason": reason or "not estimated"}
    total = excess.total_volume_mm3
    return {
        "excess_check": {
            "total_volume_mm3": _short(total.value),
            "total_volume_mm3_ci95": [_short(total.low), _short(total.high)],
            "agrees": excess.agrees,
        }
    }


def summarize_completeness(completeness: Completeness | None) -> dict[str, Any]:
    """`completeness` of ``scan.json``."""
    if completeness is None:
        names = (
            "diameter_50_mm",
            "diameter_90_mm",
            "n_injected",
            "n_found",
            "place_factor",
            "curve",
            "points",
        )
        empty: dict[str, Any] = {}
        for name in names:
            empty |= {name: None, f"{name}_reason": SKIPPED_REASON}
        return empty
    never = "not reached by nodules of any diameter that was tried"
    return {
        **_told("diameter_50_mm", completeness.diameter_50_mm, never),
        **_told("diameter_90_mm", completeness.diameter_90_mm, never),
        "n_injected": completeness.n_injected,
        "n_found": completeness.n_found,
        **_told("place_factor", completeness.place_factor, completeness.reason or "not estimated"),
        "curve": {
            "diameter_mm": [_short(v) for v in completeness.curve_mm],
            "probability": [_short(v) for v in completeness.curve],
            "ci95_low": [_short(v) for v in completeness.curve_low],
            "ci95_high": [_short(v) for v in completeness.curve_high],
            "size_bias": [_short(v) for v in completeness.size_bias],
            "size_scatter": [_short(v) for v in completeness.size_scatter],
        },
        "points": {
            "diameter_mm": [_short(v) for v in completeness.points_mm],
            "share_found": [_short(v) for v in completeness.points],
            "n_injected": [int(v) for v in completeness.points_n],
        },
    }


def _told(name: str, value: float | None, reason: str) -> dict[str, Any]:
    return {name: None, f"{name}_reason": reason} if value is None else {name: _short(value)}


def _short(value: float) -> float:
    return float(f"{float(value):.5g}")
