"""How well one scan of a comparison shows nodules, as its summary states it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.model.saved.scan_summary import CorrectedTotal, ScanSummary

F64 = npt.NDArray[np.float64]

# Smallest diameter [mm] of the totals where completeness was not measured.
MIN_DIAMETER_MM = 1.0
_SIGMAS_OF_CI95 = 3.92


@dataclass(frozen=True)
class Detectability:
    """Completeness of one scan by measured diameter, and the diameters that follow from it.

    Parameters
    ----------
    diameter_mm, completeness, completeness_err : ndarray, shape (k,)
        Measured diameter [mm], ascending; probability of detection there and its one-sigma error.
    min_diameter_mm : float
        Smallest diameter [mm] that the corrected totals hold.
    d50_mm, d90_mm : float or None
        True diameter [mm] of which half, and nine tenths, are found; None where no diameter reaches it.
    at_least : tuple of CorrectedTotal
        Corrected totals by smallest diameter; empty where completeness was not measured.
    """

    diameter_mm: F64
    completeness: F64
    completeness_err: F64
    min_diameter_mm: float
    d50_mm: float | None
    d90_mm: float | None
    at_least: tuple[CorrectedTotal, ...]

    @property
    def is_measured(self) -> bool:
        """Whether it is known what the scan misses."""
        return bool(self.at_least)

    def at(self, diameter_mm: F64) -> F64:
        """Completeness at measured diameters [mm]; NaN counts as the largest."""
        return self._interpolate(diameter_mm, self.completeness)

    def error_at(self, diameter_mm: F64) -> F64:
        """One-sigma error of the completeness at measured diameters [mm]."""
        return self._interpolate(diameter_mm, self.completeness_err)

    def _interpolate(self, diameter_mm: F64, values: F64) -> F64:
        known = np.nan_to_num(diameter_mm, nan=float(self.diameter_mm[-1]))
        return np.asarray(np.interp(known, self.diameter_mm, values), dtype=np.float64)

    def corrected_volume(self, diameter_mm: float) -> tuple[float, float]:
        """Corrected total volume [mm3] of nodules of at least a diameter, and its one-sigma error."""
        rows = self.at_least
        limits = [row.total_volume_mm3_ci95 for row in rows]
        return self._total(diameter_mm, [row.total_volume_mm3 for row in rows], limits)

    def corrected_count(self, diameter_mm: float) -> tuple[float, float]:
        """Corrected number of nodules of at least a diameter, and its one-sigma error."""
        rows = self.at_least
        return self._total(diameter_mm, [row.count for row in rows], [row.count_ci95 for row in rows])

    def _total(
        self, diameter_mm: float, values: list[float], limits: list[tuple[float, float]]
    ) -> tuple[float, float]:
        at = [row.diameter_mm for row in self.at_least]
        low, high = (np.interp(diameter_mm, at, [pair[k] for pair in limits]) for k in (0, 1))
        return float(np.interp(diameter_mm, at, values)), float(high - low) / _SIGMAS_OF_CI95


def read_detectability(summary: ScanSummary) -> Detectability:
    """Completeness as a scan's summary states it; everything is found where it was not measured.

    Parameters
    ----------
    summary : ScanSummary
        Its rounded numbers are used also where the result is in memory, so that a comparison does not depend
        on whether its scans were read from disk.
    """
    facts, corrected = summary.completeness, summary.corrected
    curve = facts.curve
    if curve is None or not corrected.at_least or corrected.min_diameter_mm is None:
        flat = np.array([0.0, 100.0])
        return Detectability(flat, np.ones(2), np.zeros(2), MIN_DIAMETER_MM, None, None, ())
    # The curve is by true diameter; a nodule is looked up by the diameter it is measured at.
    diameter = np.asarray(curve.diameter_mm) * (1.0 + np.asarray(curve.size_bias))
    return Detectability(
        np.maximum.accumulate(diameter),
        np.asarray(curve.probability),
        (np.asarray(curve.ci95_high) - np.asarray(curve.ci95_low)) / _SIGMAS_OF_CI95,
        corrected.min_diameter_mm,
        facts.diameter_50_mm,
        facts.diameter_90_mm,
        corrected.at_least,
    )
