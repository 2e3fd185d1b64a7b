"""Replace the measured ends of the longest diameter of lesions by those that a reader set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from miliary.model.corrections import AppliedCorrections, CorrectionKind, CorrectionSet, Point
from miliary.model.lesion import Lesion
from miliary.model.vocabulary import Origin


def correct_lesions(
    lesions: Sequence[Lesion], corrections: CorrectionSet, applied: AppliedCorrections
) -> tuple[tuple[Lesion, ...], AppliedCorrections]:
    """Apply a reader's corrections of longest diameters.

    Parameters
    ----------
    lesions : sequence of Lesion
        Measured lesions.
    corrections : CorrectionSet
        What the reader changed.
    applied : AppliedCorrections
        Corrections applied so far.

    Returns
    -------
    lesions : tuple of Lesion
        In the given order. A corrected lesion has the origin ``corrected``; its short axis, volume and wall
        remain as measured.
    applied : AppliedCorrections
        With the number of corrected lesions, and the numbers of corrections that match no lesion.
    """
    wanted = {c.lesion_id: c for c in corrections.active if c.kind is CorrectionKind.SET_LESION_ENDS}
    changed = []
    for lesion in lesions:
        correction = wanted.get(lesion.id)
        ends = correction.ends_lps_mm if correction is not None else None
        if ends is None or not _are_of(ends, lesion):
            changed.append(lesion)
            continue
        del wanted[lesion.id]
        length = math.dist(ends[0], ends[1])
        changed.append(
            replace(lesion, long_axis_mm=length, long_axis_ends_lps_mm=ends, origin=Origin.CORRECTED)
        )
    lost = sorted((*applied.not_placed, *(c.number for c in wanted.values())))
    n_changed = sum(new is not old for new, old in zip(changed, lesions, strict=True))
    return tuple(changed), replace(applied, n_lesions=n_changed, not_placed=tuple(lost))


def _are_of(ends: tuple[Point, Point], lesion: Lesion) -> bool:
    """Whether the ends lie around this lesion; ids may change when a scan is measured again."""
    middle = tuple((a + b) / 2.0 for a, b in zip(*ends, strict=True))
    return math.dist(middle, lesion.centroid_lps_mm) <= max(lesion.long_axis_mm, math.dist(*ends))
