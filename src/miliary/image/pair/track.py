"""Make the table of tracks: what became of each nodule, from matched pairs and nodules without a partner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.pair.common_lung import PARTS
from miliary.model.nodules import TRACK_COLUMNS, Fate, Nodules, Tracks

F64 = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrackSide:
    """Nodules of one scan in the common lung, n of them.

    Parameters
    ----------
    nodules : Nodules
        Their table.
    baseline_mm : ndarray of float64, shape (n, 3)
        Positions in the frame of the baseline, LPS [mm].
    part : ndarray of int64, shape (n,)
        Number of the part of the lungs in `PARTS`.
    seen : ndarray of float64, shape (n,)
        Probability that the other scan reports a nodule of this size, 0 to 1.
    """

    nodules: Nodules
    baseline_mm: F64
    part: IntArray
    seen: F64


def make_tracks(
    first: TrackSide,
    second: TrackSide,
    *,
    partner: IntArray,
    probability: F64,
    is_uncertain: BoolArray,
    is_open: BoolArray,
    share_found: float,
    min_sigmas: float,
    min_volume_change: float,
) -> Tracks:
    """Make one row per nodule or pair of nodules whose fate is known.

    Parameters
    ----------
    first, second : TrackSide
        Baseline and follow-up.
    partner : ndarray of int64, one per nodule of the baseline
        Row of its partner in the follow-up, negative where it has none.
    probability : ndarray, one per nodule of the baseline
        Probability that this pairing, or its absence, is right, 0 to 1.
    is_uncertain : ndarray of bool, one per nodule of the baseline
        Nodules that may have a partner which is not certain enough; they get no row.
    is_open : ndarray of bool, one per part of the lungs
        Parts in which nodules are matched; without matching, nodules are neither new nor lost from sight.
    share_found : float
        Share of the nodules of the baseline that have a partner, 0 to 1.
    min_sigmas : float
        A nodule is grown or shrunk if its volume changes by more than this many standard errors,
    min_volume_change : float
        and by more than this fraction.

    Returns
    -------
    Tracks
    """
    matched = np.flatnonzero(partner >= 0)
    taken = np.zeros(len(second.nodules), dtype=bool)
    taken[partner[matched]] = True
    unseen = np.flatnonzero((partner < 0) & ~is_uncertain & is_open[first.part])
    new = np.flatnonzero(~taken & is_open[second.part])
    pairs = _compare_pairs(
        first.nodules.select(matched), second.nodules.select(partner[matched]), min_sigmas, min_volume_change
    )
    # A nodule without a partner may have been missed on the other scan; this is its probability not to have
    # been there.
    missed = 1.0 - share_found
    p_unseen = missed / np.maximum(1.0 - share_found * first.seen[unseen], 1e-9) * probability[unseen]
    p_new = missed / np.maximum(1.0 - share_found * second.seen[new], 1e-9)
    part = np.concatenate([first.part[matched], first.part[unseen], second.part[new]])
    points = np.concatenate([first.baseline_mm[matched], first.baseline_mm[unseen], second.baseline_mm[new]])
    before, after = first.nodules, second.nodules
    no_partner_unseen, no_partner_new = (
        np.zeros(len(unseen), dtype=np.int64),
        np.zeros(len(new), dtype=np.int64),
    )
    open_unseen, open_new = np.full(len(unseen), np.nan), np.full(len(new), np.nan)
    columns: dict[str, npt.NDArray[Any]] = {
        "id": np.arange(1, len(part) + 1),
        "fate": np.concatenate([pairs["fate"], _repeat(Fate.NO_LONGER_SEEN, unseen), _repeat(Fate.NEW, new)]),
        "baseline_id": np.concatenate([before["id"][matched], before["id"][unseen], no_partner_new]),
        "followup_id": np.concatenate([after["id"][partner[matched]], no_partner_unseen, after["id"][new]]),
        "probability": np.concatenate([probability[matched], p_unseen, p_new * after["probability"][new]]),
        "x_mm": points[:, 0],
        "y_mm": points[:, 1],
        "z_mm": points[:, 2],
        "side": np.array([PARTS[p][0].value for p in part], dtype=object),
        "zone": np.array([PARTS[p][1].value for p in part], dtype=object),
        "baseline_volume_mm3": np.concatenate([pairs["before"], before["volume_mm3"][unseen], open_new]),
        "followup_volume_mm3": np.concatenate([pairs["after"], open_unseen, after["volume_mm3"][new]]),
        "volume_change_fraction": np.concatenate([pairs["change"], open_unseen, open_new]),
        "volume_change_fraction_err": np.concatenate([pairs["error"], open_unseen, open_new]),
    }
    return Tracks({c.name: np.asarray(columns[c.name]).astype(c.dtype) for c in TRACK_COLUMNS})


def _compare_pairs(
    before: Nodules, after: Nodules, min_sigmas: float, min_volume_change: float
) -> dict[str, npt.NDArray[Any]]:
    """Relative change in volume of each pair with its error, and the fate that follows."""
    v1, v2 = before["volume_mm3"], after["volume_mm3"]
    change = v2 / v1 - 1.0
    error = np.hypot(before["volume_mm3_err"] / v1, after["volume_mm3_err"] / v2) * (change + 1.0)
    is_sure = (np.abs(change) > min_sigmas * error) & (np.abs(change) > min_volume_change)
    fate = np.full(len(v1), Fate.KEPT.value, dtype=object)
    fate[is_sure & (change > 0)], fate[is_sure & (change < 0)] = Fate.GROWN.value, Fate.SHRUNK.value
    return {"before": v1, "after": v2, "change": change, "error": error, "fate": fate}


def _repeat(fate: Fate, rows: IntArray) -> npt.NDArray[np.object_]:
    return np.full(len(rows), fate.value, dtype=object)
