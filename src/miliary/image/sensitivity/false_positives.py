"""Estimate how many of the reported nodules are false positives.

Injected nodules measure only what is missed. False positives are estimated in three ways; the result names
the one that was used:

``candidates``    The number of false candidates falls steeply with their probability, and similarly in all
lungs,
                  so the candidates just below the threshold predict how many are above it, in this patient
                  and on this scan. The ratio and its standard deviation between patients are in the table.
``table``         The rate on lungs without nodules with a similar protocol, where there are too few
candidates. ``probabilities`` The sum of one minus the probability of each reported nodule, stated for
comparison.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.model.completeness import Estimate, FalseMarks
from miliary.model.ct_result import Noise

F64 = npt.NDArray[np.float64]

TABLE_PATH = Path(__file__).parents[1] / "weights" / "false_marks.json"
# Range of the margin (log-odds minus those of the threshold) in which candidates are counted.
BAND = (-2.0, 0.0)
LEAST_CANDIDATES = 4.0


@dataclass(frozen=True)
class FalsePositiveTable:
    """False positives on lungs without nodules.

    Parameters
    ----------
    ratio : float
        False positives over candidates in `BAND`.
    ratio_log_sd : float
        Standard deviation of the logarithm of the ratio between patients.
    rows : tuple of mapping
        Per protocol: upper limits of slice thickness [mm] and noise [HU], rate per liter of lung, and
        standard deviation of its logarithm.
    """

    ratio: float
    ratio_log_sd: float
    rows: tuple[dict[str, float], ...]

    def find_rate(self, slice_mm: float, noise_hu: float) -> tuple[float, float] | None:
        """False positives per liter for a protocol.

        Parameters
        ----------
        slice_mm : float
            Slice thickness [mm].
        noise_hu : float
            Noise of the scan [HU].

        Returns
        -------
        tuple of float, or None
            Rate per liter of lung and standard deviation of its logarithm; None where no row applies.
        """
        for row in self.rows:
            if slice_mm <= row["slice_max_mm"] and noise_hu <= row["noise_max_hu"]:
                return row["per_litre"], row["log_spread"]
        return None


@functools.lru_cache(maxsize=1)
def read_table() -> FalsePositiveTable:
    """Read the packaged table, once per process."""
    table: dict[str, Any] = json.loads(TABLE_PATH.read_text())
    return FalsePositiveTable(table["ratio"]["value"], table["ratio"]["log_spread"], tuple(table["rows"]))


def estimate_false_positives(
    margin: F64,
    probability: F64,
    *,
    nodules_in_band: float,
    n_reported: int,
    litres: float,
    slice_mm: float,
    noise: Noise,
) -> tuple[FalseMarks, float]:
    """Estimate the number of false positives among the reported nodules.

    Parameters
    ----------
    margin : ndarray, shape (n,)
        Log-odds minus those of the threshold of all candidates, above and below it.
    probability : ndarray, shape (m,)
        Probability of each reported nodule, 0 to 1.
    nodules_in_band : float
        Number of candidates in `BAND` that are expected to be missed nodules.
    n_reported : int
        Number of reported nodules, the upper limit of the estimate.
    litres : float
        Volume of the lungs [L].
    slice_mm : float
        Slice thickness [mm].
    noise : Noise
        Noise of the scan.

    Returns
    -------
    false_positives : FalseMarks
        The estimate with its 95 % interval, and the way it was made.
    log_sd : float
        One-sigma error of the logarithm of their number.
    """
    table = read_table()
    by_probabilities = float(np.sum(1.0 - probability))
    known = table.find_rate(slice_mm, noise.sd_hu)
    by_table = None if known is None else known[0] * litres
    seen = float(np.count_nonzero((margin >= BAND[0]) & (margin < BAND[1])))
    # Never all candidates are nodules: very small ones cannot be counted, but vessels are always among them.
    candidates = max(seen - nodules_in_band, 0.15 * seen)
    if candidates >= LEAST_CANDIDATES or known is None:
        source, expected = "candidates", table.ratio * (candidates + 0.5)
        log_sd = np.sqrt(table.ratio_log_sd**2 + (seen + 1.0) / (candidates + 0.5) ** 2)
    else:
        source, expected, log_sd = "table", known[0] * litres, known[1]
    expected = min(expected, 0.9 * n_reported)
    log_sd = float(min(log_sd, 1.5))
    limits = expected * np.exp(1.96 * log_sd * np.array([-1.0, 1.0]))
    estimate = Estimate(float(expected), float(limits[0]), float(min(limits[1], n_reported)))
    per_litre = expected / litres if litres > 0 else 0.0
    return FalseMarks(source, estimate, float(per_litre), by_probabilities, by_table), log_sd
