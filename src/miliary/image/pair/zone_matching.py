"""Nodules of two scans matched zone by zone: identities are given only where few of them would be false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.pair import match
from miliary.image.pair.common_lung import PARTS, CommonLung
from miliary.image.pair.compared_side import ComparedSide
from miliary.image.pair.match import Matching
from miliary.image.pair.track import TrackSide, make_tracks
from miliary.model.comparison import ZoneMatching
from miliary.model.nodules import Tracks
from miliary.model.transform import Transform

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MatchingLimits:
    """When two nodules are called the same, and when a change of one is called real.

    Parameters
    ----------
    min_probability : float
        Smallest probability of a pair.
    max_expected_false_share : float
        Largest expected share of false pairs in a zone.
    min_kept_share : float
        Share of a zone's pairs that must be certain; below it the zone's identities are refused.
    min_sigmas, min_volume_change : float
        Change in volume, in its errors and as a fraction, from which a nodule has grown or shrunk.
    """

    min_probability: float
    max_expected_false_share: float
    min_kept_share: float
    min_sigmas: float
    min_volume_change: float

    @classmethod
    def from_rules(cls, matching: Mapping[str, Any], change: Mapping[str, Any]) -> MatchingLimits:
        """The limits as the rows of the rules hold them, by name."""
        return cls(
            matching["min_probability"],
            matching["max_expected_false_share"],
            matching["min_kept_share"],
            change["min_sigmas"],
            change["min_volume_change"],
        )


def match_by_zone(
    sides: Sequence[ComparedSide],
    common: CommonLung,
    transform: Transform,
    *,
    error_mm: float,
    limits: MatchingLimits,
) -> tuple[Tracks, tuple[ZoneMatching, ...], float]:
    """Match the nodules of the commonly covered lung.

    Parameters
    ----------
    sides : pair of ComparedSide
        Baseline and follow-up.
    common : CommonLung
    transform : Transform
        Baseline points to follow-up points.
    error_mm : float
        Expected distance of matched nodules after registration [mm].
    limits : MatchingLimits

    Returns
    -------
    tracks : Tracks
        No rows where the marks of either scan cannot be taken for nodules.
    zones : tuple of ZoneMatching
        The six zones, in the order of `PARTS`; refused where there are no tracks for that reason.
    error_mm : float
        Measured one-sigma distance of matched nodules per axis [mm].
    """
    first, second = sides
    rows, others = np.flatnonzero(first.place.is_common), np.flatnonzero(second.place.is_common)
    before, after = first.nodules.select(rows), second.nodules.select(others)
    pairs = match.match_nodules(
        transform.apply(before.position_lps_mm),
        after.position_lps_mm,
        volume_mm3=before["volume_mm3"],
        other_volume_mm3=after["volume_mm3"],
        lung_mm3=float(common.followup_ml.sum()) * 1000.0,
        error_mm=error_mm,
        min_probability=limits.min_probability,
    )
    part, other_part = first.place.part[rows], second.place.part[others]
    is_kept, is_open, zones = _keep_certain(pairs, part, other_part, limits)
    if first.doubt or second.doubt:
        refused = tuple(replace(zone, n_matched=0, is_given=False) for zone in zones)
        return Tracks.empty(), refused, pairs.error_mm
    tracks = make_tracks(
        TrackSide(
            before, first.place.baseline_mm[rows], part, second.detectability.at(before["diameter_mm"])
        ),
        TrackSide(
            after, second.place.baseline_mm[others], other_part, first.detectability.at(after["diameter_mm"])
        ),
        partner=np.where(is_kept, pairs.partner, match.UNMATCHED),
        probability=pairs.probability,
        is_uncertain=(pairs.partner >= 0) & ~is_kept,
        is_open=is_open,
        share_found=pairs.share_found,
        min_sigmas=limits.min_sigmas,
        min_volume_change=limits.min_volume_change,
    )
    return tracks, zones, pairs.error_mm


def _keep_certain(
    pairs: Matching, part: IntArray, other_part: IntArray, limits: MatchingLimits
) -> tuple[BoolArray, BoolArray, tuple[ZoneMatching, ...]]:
    """Which pairs stand, in which zones identities are given, and the zones in numbers."""
    is_kept, is_open = np.zeros(len(part), dtype=bool), np.zeros(len(PARTS), dtype=bool)
    zones = []
    for number, (side, zone) in enumerate(PARTS):
        own = (part == number) & (pairs.partner >= 0)
        keep, false_share = match.keep_certain(
            pairs.probability, own, max_expected_false_share=limits.max_expected_false_share
        )
        is_open[number] = keep.sum() >= limits.min_kept_share * own.sum()
        if is_open[number]:
            is_kept |= keep
        zones.append(
            ZoneMatching(
                side.value,
                zone.value,
                int(np.count_nonzero(part == number)),
                int(np.count_nonzero(other_part == number)),
                int(keep.sum()) if is_open[number] else 0,
                false_share,
                is_given=bool(is_open[number]),
            )
        )
    return is_kept, is_open, tuple(zones)
