"""Rates of false positives on lungs without nodules, for ``false_marks.json``.

Simulated lungs of the shipped simulator without any nodule, development seeds only: whatever is reported
there is false. Called by `training.make_all`; the weights are those that `MILIARY_WEIGHTS` names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.sensitivity.false_positives import BAND

F64 = npt.NDArray[np.float64]

FIRST_SEED, N_SCANS = 600_000, 36
# Upper limits of slice thickness [mm] and noise [HU] of the rows of the table.
CLASSES = ((1.3, 30.0), (1.3, 100.0), (2.6, 100.0), (6.0, 100.0))
MIN_SCANS = 4
MIN_SPREAD = 0.2


@dataclass(frozen=True)
class HealthyScan:
    """What was found on one lung without nodules.

    Attributes
    ----------
    n_reported : int
        Candidates at or above the threshold, all of them false.
    n_below : int
        Candidates in `BAND` below the threshold.
    litres : float
        Volume of the lung searched [L].
    slice_mm, noise_hu : float
    """

    n_reported: int
    n_below: int
    litres: float
    slice_mm: float
    noise_hu: float


def measure_healthy(seed: int) -> HealthyScan:
    """Simulate one lung without nodules and run the detector on it."""
    # Only simulated by the shipped program; the renderer that no training may see is in the same module.
    from validation.completeness import make_healthy, measure_crop
    from validation.completeness_scans import draw_recipe, make_crop

    recipe = make_healthy(draw_recipe("shipped", seed))
    found = measure_crop(make_crop(recipe), n_injected=0)
    below = np.count_nonzero((found.margin >= BAND[0]) & (found.margin < BAND[1]))
    return HealthyScan(
        len(found.diameter_mm), int(below), found.litres, recipe.slice_mm, float(found.noise.sd_hu)
    )


def make_table(scans: Sequence[HealthyScan]) -> dict[str, Any]:
    """The measured part of ``false_marks.json``.

    Parameters
    ----------
    scans : sequence of HealthyScan

    Raises
    ------
    ValueError
        No scan has enough false positives to measure how scans differ.

    Returns
    -------
    dict
        `ratio`: reported candidates over those in `BAND`, and the standard deviation of its logarithm between
        scans. `rows`: rate per litre by protocol, likewise.
    """
    reported = np.array([scan.n_reported for scan in scans], dtype=np.float64)
    below = np.array([scan.n_below for scan in scans], dtype=np.float64)
    # No scan weighs more than so many candidates, or the few with very many would decide alone.
    weight = np.minimum(1.0, 200.0 / np.maximum(below, 1.0))
    ratio = float((weight * reported).sum() / (weight * below).sum())
    return {
        "ratio": {
            "value": round(ratio, 4),
            "log_spread": round(_measure_spread(reported, ratio * below, least=5.0), 3),
        },
        "rows": _list_rows(scans, reported),
    }


def _list_rows(scans: Sequence[HealthyScan], reported: F64) -> list[dict[str, float]]:
    rows = []
    litres = np.array([scan.litres for scan in scans])
    before = (0.0, 0.0)
    for slice_max, noise_max in CLASSES:
        least_noise = before[1] if slice_max == before[0] else 0.0
        least_slice = max((s for s, _ in CLASSES if s < slice_max), default=0.0)
        inside = np.array(
            [
                least_slice < scan.slice_mm <= slice_max and least_noise < scan.noise_hu <= noise_max
                for scan in scans
            ]
        )
        before = (slice_max, noise_max)
        if np.count_nonzero(inside) < MIN_SCANS:
            continue
        # The typical patient; the spread says how far others are from it.
        rate = float(np.exp(np.mean(np.log((reported[inside] + 0.5) / litres[inside]))))
        rows.append(
            {
                "slice_max_mm": slice_max,
                "noise_max_hu": noise_max,
                "per_litre": round(rate, 2),
                "log_spread": round(_measure_spread(reported[inside], rate * litres[inside]), 2),
                "n_scans": int(np.count_nonzero(inside)),
            }
        )
    return rows


def _measure_spread(seen: F64, expected: F64, *, least: float = 0.0) -> float:
    """Standard deviation of the logarithm between scans beyond that of counting, of scans with enough."""
    enough = expected >= least
    if not enough.any():
        raise ValueError("too few false positives to measure how scans differ: simulate more lungs")
    log_ratio = np.log((seen[enough] + 0.5) / (expected[enough] + 0.5))
    counting = np.mean(1.0 / (expected[enough] + 1.0))
    return float(np.sqrt(max(np.var(log_ratio) - counting, MIN_SPREAD**2)))


def write_table(
    path: Path, *, packaged: dict[str, Any], made_with: dict[str, Any], n_scans: int = N_SCANS
) -> None:
    """Measure the table and write it.

    Parameters
    ----------
    path : Path
        The file to write.
    packaged : dict
        The table in use, of which what was set by hand is kept.
    made_with : dict
        Threshold and SHA-256 of the weights in use.
    n_scans : int
        Number of lungs to simulate.
    """
    scans = []
    for seed in range(FIRST_SEED, FIRST_SEED + n_scans):
        scans.append(measure_healthy(seed))
        print(f"lung without nodules, seed {seed}: {scans[-1]}", flush=True)
    table = {
        "command": "make train",
        "scans": f"simulated lungs without nodules, seeds {FIRST_SEED} to {FIRST_SEED + n_scans - 1}",
        "made_with": {**made_with, "band_log_odds": list(BAND)},
        **make_table(scans),
        "unknown_scan": packaged["unknown_scan"],
    }
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
