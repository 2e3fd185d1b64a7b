"""A reader's ends of a lesion's longest diameter in place of the measured ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from miliary.corrections import AppliedCorrections, CorrectionKind, CorrectionSet
from miliary.lesion import Lesion
from miliary.vocabulary import Origin


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
        correction = wanted.pop(lesion.id, None)
        ends = correction.ends_lps_mm if correction is not None else None
        if ends is None:
            changed.append(lesion)
            continue
        length = math.dist(ends[0], ends[1])
        changed.append(
            replace(lesion, long_axis_mm=length, long_axis_ends_lps_mm=ends, origin=Origin.CORRECTED)
        )
    lost = sorted((*applied.not_placed, *(c.number for c in wanted.values())))
    n_changed = sum(new is not old for new, old in zip(changed, lesions, strict=True))
    return tuple(changed), replace(applied, n_lesions=n_changed, not_placed=tuple(lost))
