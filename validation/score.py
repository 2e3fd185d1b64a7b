"""Score reported marks against known nodules, by the contract of `docs/formats.md` ("Scoring").

Every reported row is scored. A mark and a nodule can be paired when their centres are no further apart
than max(1.5 mm, true radius); pairs are one-to-one, as many as possible, and of all such pairings the one
of smallest total distance. What is left over is a false mark, unless it lies on truth that nobody asks for:
nodules below 1.0 mm, calcified nodules, the dominant lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from miliary.image.pair.match import REACH_MM, UNMATCHED, is_within_reach, match_points
from miliary.model.nodules import Nodules

MIN_DIAMETER_MM = 1.0
MIN_SOLID_HU = -100.0
BINS_MM: tuple[tuple[float, float], ...] = (
    (1.0, 1.5),
    (1.5, 2.0),
    (2.0, 2.5),
    (2.5, 3.0),
    (3.0, 4.0),
    (1.5, 3.0),
    (2.0, 3.0),
    (2.5, 3.2),
)
DIAMETER_BINS_MM: tuple[tuple[float, float], ...] = (
    (1.0, 1.5),
    (1.5, 2.0),
    (2.0, 2.5),
    (2.5, 3.0),
    (1.5, 3.0),
)
FALSE_MARK, NEUTRAL_MARK = UNMATCHED, -2

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """`hits` out of `n`; `value` is NaN where `n` is 0."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.n if self.n else float("nan")


@dataclass(frozen=True)
class DiameterError:
    """Reported minus true diameter over matched solid nodules of one size bin [mm]."""

    n: int
    median_abs_mm: float
    median_signed_mm: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Marks whose probability lies in [low, high): how many, mean probability, share that is real."""

    low: float
    high: float
    n: int
    mean_probability: float
    share_real: float


@dataclass(frozen=True)
class Score:
    """What `score` measured; the keys of every mapping are bins such as "1.5-2"."""

    lung_litres: float
    n_marks: int
    n_hits: int
    n_false: int
    n_neutral: int
    sensitivity: Mapping[str, Share]
    sensitivity_attached: Mapping[str, Share]
    sensitivity_isolated: Mapping[str, Share]
    diameter: Mapping[str, DiameterError]
    volume_true_mm3: float
    volume_reported_mm3: float
    volume_outside_lesions_mm3: float
    calcified_found: Share
    calcified_flagged: Share
    reliability: tuple[ReliabilityBin, ...]
    calibration_error: float
    truth_of_mark: IntArray
    is_found: BoolArray

    @property
    def precision(self) -> float:
        """Hits over hits plus false marks; NaN without either."""
        return Share(self.n_hits, self.n_hits + self.n_false).value

    @property
    def false_per_litre(self) -> float:
        """False marks per litre of lung."""
        return self.n_false / self.lung_litres

    @property
    def volume_ratio(self) -> float:
        """Reported non-calcified volume over true nodule volume; NaN where there is no true volume."""
        return self.volume_reported_mm3 / self.volume_true_mm3 if self.volume_true_mm3 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values without the per-mark arrays."""
        shares = {
            name: {key: [share.hits, share.n] for key, share in getattr(self, name).items()}
            for name in ("sensitivity", "sensitivity_attached", "sensitivity_isolated")
        }
        return {
            "lung_litres": self.lung_litres,
            "n_marks": self.n_marks,
            "n_hits": self.n_hits,
            "n_false": self.n_false,
            "n_neutral": self.n_neutral,
            "precision": self.precision,
            "false_per_litre": self.false_per_litre,
            **shares,
            "diameter": {
                key: [error.n, error.median_abs_mm, error.median_signed_mm]
                for key, error in self.diameter.items()
            },
            "volume_true_mm3": self.volume_true_mm3,
            "volume_reported_mm3": self.volume_reported_mm3,
            "volume_outside_lesions_mm3": self.volume_outside_lesions_mm3,
            "volume_ratio": self.volume_ratio,
            "calcified_found": [self.calcified_found.hits, self.calcified_found.n],
            "calcified_flagged": [self.calcified_flagged.hits, self.calcified_flagged.n],
            "reliability": [
                [row.low, row.high, row.n, row.mean_probability, row.share_real] for row in self.reliability
            ],
            "calibration_error": self.calibration_error,
        }


def bin_name(low_mm: float, high_mm: float) -> str:
    """Key of a diameter bin, "1.5-2" for [1.5, 2.0)."""
    return f"{low_mm:g}-{high_mm:g}"


def score(nodules: pd.DataFrame | Nodules, truth: pd.DataFrame, lung_litres: float) -> Score:
    """Score reported nodules against the truth of one scan.

    Parameters
    ----------
    nodules : DataFrame or Nodules
        Reported rows with the columns of `nodules.csv`; every row is scored.
    truth : DataFrame
        Columns `x_mm, y_mm, z_mm, diameter_mm`; `volume_mm3`, `kind` (nodule, calcified, lesion; rows of
        any other kind are not truth), `density_hu` and `attached` where known.
    lung_litres : float
        Volume of lung the false marks are spread over [L].

    Returns
    -------
    Score
    """
    marks = nodules.to_frame() if isinstance(nodules, Nodules) else nodules
    truth = _complete_truth(truth)
    is_lesion = (truth["kind"] == "lesion").to_numpy()
    diameter_mm = truth["diameter_mm"].to_numpy(dtype=float)
    is_asked = (truth["kind"] == "nodule").to_numpy() & (diameter_mm >= MIN_DIAMETER_MM)
    reach_mm = np.maximum(REACH_MM, diameter_mm / 2)

    marks_mm = marks[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    truth_mm = truth[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    point_like = np.flatnonzero(~is_lesion)
    matched = match_points(marks_mm, truth_mm[point_like], reach_mm=reach_mm[point_like])
    truth_of_mark = np.where(matched >= 0, point_like[matched] if len(point_like) else matched, matched)

    is_on_lesion = is_within_reach(marks_mm, truth_mm[is_lesion], reach_mm=reach_mm[is_lesion])
    is_free = truth_of_mark == FALSE_MARK
    is_unasked = ~is_asked & ~is_lesion
    is_on_unasked = is_within_reach(marks_mm, truth_mm[is_unasked], reach_mm=reach_mm[is_unasked])
    is_on_unasked[~is_free] = ~is_asked[truth_of_mark[~is_free]]
    is_neutral = is_on_unasked | (is_free & is_on_lesion)

    is_found = np.zeros(len(truth), dtype=bool)
    is_found[truth_of_mark[~is_free]] = True
    is_hit = ~is_free & ~is_neutral
    is_false = is_free & ~is_neutral
    is_calcified_mark = _is_calcified_mark(marks)
    volume_mm3 = marks["volume_mm3"].to_numpy(dtype=float)
    is_solid = is_asked & (truth["density_hu"].to_numpy(dtype=float) >= MIN_SOLID_HU)
    is_attached = truth["attached"].to_numpy(dtype=bool)
    has_attached = bool(truth.attrs["has_attached"])
    is_calcified = (truth["kind"] == "calcified").to_numpy()
    flagged = truth_of_mark[~is_free & is_calcified_mark]
    reliability, calibration_error = _reliability(marks, is_hit, is_hit | is_false)
    return Score(
        lung_litres=float(lung_litres),
        n_marks=len(marks),
        n_hits=int(is_hit.sum()),
        n_false=int(is_false.sum()),
        n_neutral=int(is_neutral.sum()),
        sensitivity=_shares(diameter_mm, is_found, is_solid),
        sensitivity_attached=_shares(diameter_mm, is_found, is_solid & is_attached & has_attached),
        sensitivity_isolated=_shares(diameter_mm, is_found, is_solid & ~is_attached & has_attached),
        diameter=_diameter_errors(marks, truth_of_mark, diameter_mm, is_solid),
        volume_true_mm3=float(truth["volume_mm3"].to_numpy(dtype=float)[truth["kind"] == "nodule"].sum()),
        volume_reported_mm3=float(volume_mm3[~is_calcified_mark].sum()),
        volume_outside_lesions_mm3=float(volume_mm3[~is_calcified_mark & ~is_on_lesion].sum()),
        calcified_found=Share(int(is_found[is_calcified].sum()), int(is_calcified.sum())),
        calcified_flagged=Share(int(is_calcified[flagged].sum()), int(is_calcified.sum())),
        reliability=reliability,
        calibration_error=calibration_error,
        truth_of_mark=np.where(is_neutral, NEUTRAL_MARK, truth_of_mark),
        is_found=is_found,
    )


def _complete_truth(truth: pd.DataFrame) -> pd.DataFrame:
    """Truth rows of the three kinds, with a default for every optional column."""
    has_attached = "attached" in truth.columns
    full = truth.assign(
        kind=truth["kind"].astype(str) if "kind" in truth.columns else "nodule",
        density_hu=truth["density_hu"] if "density_hu" in truth.columns else 40.0,
        attached=truth["attached"] if has_attached else False,
        volume_mm3=truth["volume_mm3"]
        if "volume_mm3" in truth.columns
        else np.pi / 6 * truth["diameter_mm"] ** 3,
    )
    full = full[full["kind"].isin(["nodule", "calcified", "lesion"])].reset_index(drop=True)
    full.attrs["has_attached"] = has_attached
    return full


def _is_calcified_mark(marks: pd.DataFrame) -> BoolArray:
    if "attenuation" not in marks.columns:
        return np.zeros(len(marks), dtype=bool)
    return (marks["attenuation"].astype(str) == "calcified").to_numpy(dtype=bool)


def _shares(diameter_mm: FloatArray, is_found: BoolArray, is_counted: BoolArray) -> dict[str, Share]:
    shares = {}
    for low, high in BINS_MM:
        here = is_counted & (diameter_mm >= low) & (diameter_mm < high)
        shares[bin_name(low, high)] = Share(int((is_found & here).sum()), int(here.sum()))
    return shares


def _diameter_errors(
    marks: pd.DataFrame, truth_of_mark: IntArray, diameter_mm: FloatArray, is_solid: BoolArray
) -> dict[str, DiameterError]:
    paired = np.flatnonzero(truth_of_mark >= 0)
    paired = paired[is_solid[truth_of_mark[paired]]]
    true_mm = diameter_mm[truth_of_mark[paired]]
    error_mm = marks["diameter_mm"].to_numpy(dtype=float)[paired] - true_mm
    errors = {}
    for low, high in DIAMETER_BINS_MM:
        here = error_mm[(true_mm >= low) & (true_mm < high)]
        n = len(here)
        errors[bin_name(low, high)] = DiameterError(
            n,
            float(np.median(np.abs(here))) if n else float("nan"),
            float(np.median(here)) if n else float("nan"),
        )
    return errors


def _reliability(
    marks: pd.DataFrame, is_hit: BoolArray, is_counted: BoolArray
) -> tuple[tuple[ReliabilityBin, ...], float]:
    """Ten bins of probability, and the mean gap between probability and truth weighted by marks."""
    if "probability" not in marks.columns or not is_counted.any():
        return (), float("nan")
    probability = marks["probability"].to_numpy(dtype=float)[is_counted]
    real = is_hit[is_counted]
    index = np.clip((probability * 10).astype(int), 0, 9)
    rows = []
    for i in np.unique(index):
        here = index == i
        mean, share = float(probability[here].mean()), float(real[here].mean())
        rows.append(ReliabilityBin(i / 10, (i + 1) / 10, int(here.sum()), mean, share))
    gap = sum(row.n * abs(row.mean_probability - row.share_real) for row in rows)
    return tuple(rows), float(gap / len(probability))
