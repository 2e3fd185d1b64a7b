"""One scan of a comparison as the ratio needs it: nodules that count, where they lie, how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miliary.image.pair.common_lung import PointLocations, locate_points
from miliary.image.pair.detectability import Detectability, read_detectability
from miliary.image.pair.lesion_change import find_lesion_sphere
from miliary.model.comparison import Exam
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.saved.scan_summary import LesionSummary
from miliary.model.transform import Transform

LESION_MARGIN_MM = 1.0


@dataclass(frozen=True)
class ComparedSide:
    """The disease of one scan.

    Parameters
    ----------
    nodules : Nodules
        Those that count, as of `list_burden`.
    place : PointLocations
        Where they lie in the commonly covered lung.
    detectability : Detectability
        How well the scan shows nodules.
    doubt : str
        Why its marks cannot be taken for nodules; empty where they can.
    """

    nodules: Nodules
    place: PointLocations
    detectability: Detectability
    doubt: str = ""


def list_burden(exam: Exam, lesions: Sequence[LesionSummary]) -> Nodules:
    """The nodules that count: not calcified, not part of a lesion, with a measured volume.

    Parameters
    ----------
    exam : Exam
    lesions : sequence of LesionSummary
        Of the same scan, each with its size and position.
    """
    nodules = exam.nodules
    keep = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & np.isfinite(nodules["volume_mm3"])
    for lesion in lesions:
        center, reach = find_lesion_sphere(lesion)
        keep &= np.linalg.norm(nodules.position_lps_mm - center, axis=1) > reach + LESION_MARGIN_MM
    return nodules.select(keep)


def place_side(
    burden: Nodules, exam: Exam, *, baseline: Exam, followup: Exam, transform: Transform
) -> ComparedSide:
    """Find where the nodules of one scan lie in the lung that both show.

    Parameters
    ----------
    burden : Nodules
        Of `exam`.
    exam : Exam
        One of the two others.
    baseline, followup : Exam
    transform : Transform
        Baseline points to follow-up points.
    """
    place = locate_points(
        burden.position_lps_mm,
        baseline_labels=baseline.lungs.labels,
        baseline_grid=baseline.scan.grid,
        followup_grid=followup.scan.grid,
        transform=transform,
        is_baseline=exam is baseline,
    )
    return ComparedSide(burden, place, read_detectability(exam.summary), exam.summary.doubt)
