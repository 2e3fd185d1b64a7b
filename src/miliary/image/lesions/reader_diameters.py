"""A reader's ends of a lesion's longest diameter in place of the measured ones."""

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
    """The lesions as the reader wants them, and what of all corrections is in the result.

    Parameters
    ----------
    lesions : sequence of Lesion
    corrections : CorrectionSet
    applied : AppliedCorrections
        What is in the result already.

    Returns
    -------
    lesions : tuple of Lesion
        One with new ends says `corrected` of its origin; its short axis, volume and wall stay as measured.
    applied : AppliedCorrections
        With the number of lesions changed, and the corrections whose lesion this result does not have.
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
    """The ends lie around this lesion: numbers may be given anew when a scan is measured anew."""
    middle = tuple((a + b) / 2.0 for a, b in zip(*ends, strict=True))
    return math.dist(middle, lesion.centroid_lps_mm) <= max(lesion.long_axis_mm, math.dist(*ends))
