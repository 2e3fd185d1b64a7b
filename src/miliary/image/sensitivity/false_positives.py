"""How many of the reported marks are no nodules.

Never from injected nodules: those say what is missed. Three ways, of which the one used is named:

``candidates``
    The likelihood of false candidates falls steeply and much alike in all lungs, so that those just below the
    threshold tell how many are above it, in this patient and on this scan. The ratio and its spread between
    patients are in the table.
``table``
    The rate on nodule-free lungs of such a protocol, where there are too few candidates.
``probabilities``
    The sum of one minus the probability of each mark, shown beside them.
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
# Log-odds below the threshold from which the candidates are counted.
BAND = (-2.0, 0.0)
LEAST_CANDIDATES = 4.0


@dataclass(frozen=True)
class FalseMarkTable:
    """What is known of false marks from lungs without nodules.

    `ratio` of marks above the threshold to candidates in `BAND`, with the spread of its logarithm between
    patients; `rows` per protocol: upper limits of slice thickness and noise, rate per litre, spread of its
    logarithm.
    """

    ratio: float
    ratio_spread: float
    rows: tuple[dict[str, float], ...]

    def find_rate(self, slice_mm: float, noise_hu: float) -> tuple[float, float] | None:
        """Rate per litre and spread of its logarithm; None where the table holds no such scan."""
        for row in self.rows:
            if slice_mm <= row["slice_max_mm"] and noise_hu <= row["noise_max_hu"]:
                return row["per_litre"], row["log_spread"]
        return None


@functools.lru_cache(maxsize=1)
def read_table() -> FalseMarkTable:
    """The packaged table."""
    table: dict[str, Any] = json.loads(TABLE_PATH.read_text())
    return FalseMarkTable(table["ratio"]["value"], table["ratio"]["log_spread"], tuple(table["rows"]))


def estimate_false_marks(
    margin: F64,
    probability: F64,
    *,
    nodules_in_band: float,
    n_marks: int,
    litres: float,
    slice_mm: float,
    noise: Noise,
) -> tuple[FalseMarks, float]:
    """Expected number of false marks and the spread of its logarithm.

    Parameters
    ----------
    margin : ndarray, shape (n,)
        Log-odds over those of the threshold of all candidates, marks and those below.
    probability : ndarray, shape (m,)
        Of the marks.
    nodules_in_band : float
        How many of the candidates in `BAND` are expected to be nodules that were missed.
    n_marks : int
    litres : float
        Of lung.
    slice_mm : float
    noise : Noise

    Returns
    -------
    FalseMarks
    float
    """
    table = read_table()
    by_probabilities = float(np.sum(1.0 - probability))
    known = table.find_rate(slice_mm, noise.sd_hu)
    by_table = None if known is None else known[0] * litres
    seen = float(np.count_nonzero((margin >= BAND[0]) & (margin < BAND[1])))
    # Nodules are never all of it: small ones that nobody can count are among them, but so are vessels.
    candidates = max(seen - nodules_in_band, 0.15 * seen)
    if candidates >= LEAST_CANDIDATES or known is None:
        source, expected = "candidates", table.ratio * (candidates + 0.5)
        spread = np.sqrt(table.ratio_spread**2 + (seen + 1.0) / (candidates + 0.5) ** 2)
    else:
        source, expected, spread = "table", known[0] * litres, known[1]
    expected = min(expected, 0.9 * n_marks)
    spread = float(min(spread, 1.5))
    limits = expected * np.exp(1.96 * spread * np.array([-1.0, 1.0]))
    estimate = Estimate(float(expected), float(limits[0]), float(min(limits[1], n_marks)))
    per_litre = expected / litres if litres > 0 else 0.0
    return FalseMarks(source, estimate, float(per_litre), by_probabilities, by_table), spread
