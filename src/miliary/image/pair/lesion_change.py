"""Lesions of 8 mm and more on two scans: the dominant one of the baseline, and what is there now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from miliary.model.comparison import Exam, LesionChange
from miliary.model.lesion import Lesion
from miliary.model.nodules import Nodules
from miliary.model.saved.scan_summary import LesionSummary
from miliary.model.saved.summarize_scan import summarize_lesion
from miliary.model.transform import Transform

F64 = npt.NDArray[np.float64]
# Lesions that begin at a point of the follow-up [LPS mm].
LesionSearch = Callable[[tuple[float, float, float]], Iterable[Lesion]]

# What is found where a lesion was is taken for it up to this multiple of its long axis.
MOST_LESION_GROWTH = 2.0


def list_lesions(exam: Exam) -> tuple[LesionSummary, ...]:
    """Lesions of one scan whose size and position are known, largest first."""
    known = (s for s in exam.summary.lesions if s.centroid_lps_mm is not None and s.long_axis_mm is not None)
    return tuple(sorted(known, key=lambda lesion: -_size(lesion)))


def _size(lesion: LesionSummary) -> float:
    return lesion.long_axis_mm or 0.0


def find_lesion_sphere(lesion: LesionSummary) -> tuple[F64, float]:
    """Center [LPS mm] and radius [mm] of a lesion of `list_lesions`."""
    return np.asarray(lesion.centroid_lps_mm, dtype=np.float64), 0.5 * _size(lesion)


def mark_disease(nodules: Nodules, lesions: Sequence[LesionSummary]) -> F64:
    """Spheres of what may come and go between two scans.

    Parameters
    ----------
    nodules : Nodules
        A diameter that is not known counts as 2 mm.
    lesions : sequence of LesionSummary

    Returns
    -------
    ndarray, shape (n, 4)
        Center [LPS mm] and radius [mm].
    """
    radius = np.nan_to_num(nodules["diameter_mm"], nan=2.0) / 2.0
    marks = [np.column_stack([nodules.position_lps_mm, radius])]
    marks += [np.append(*find_lesion_sphere(lesion))[None] for lesion in lesions]
    return np.concatenate(marks)


def list_spheres_at_baseline(
    baseline: Sequence[LesionSummary], followup: Sequence[LesionSummary], transform: Transform
) -> list[tuple[float, float, float, float]]:
    """Lesions of both scans as (x, y, z, radius) in the frame of the baseline [mm].

    Parameters
    ----------
    baseline, followup : sequence of LesionSummary
    transform : Transform
        Baseline points to follow-up points; a follow-up lesion that it does not reach is left out.
    """
    spheres = [find_lesion_sphere(lesion) for lesion in baseline]
    for lesion in followup:
        center, radius = find_lesion_sphere(lesion)
        spheres.append((transform.invert_points(center[None])[0], radius))
    return [(float(c[0]), float(c[1]), float(c[2]), r) for c, r in spheres if np.isfinite(c).all()]


def compare_lesions(
    first: Sequence[LesionSummary],
    second: Sequence[LesionSummary],
    *,
    transform: Transform,
    followup: Exam,
    search: LesionSearch,
) -> LesionChange:
    """Find the dominant lesion of the baseline again on the follow-up.

    Parameters
    ----------
    first, second : sequence of LesionSummary
        Of baseline and follow-up, largest first.
    transform : Transform
        Baseline points to follow-up points.
    followup : Exam
    search : callable
        Searches the follow-up once more at a point where no lesion was reported.

    Returns
    -------
    LesionChange
        `followup_mm` is None, with the reason, where nothing was found.
    """
    if not first:
        return LesionChange(None, None, None, None, "no lesion of 8 mm or more was found at baseline")
    lesion = first[0]
    center, radius = find_lesion_sphere(lesion)
    there = transform.apply(center[None])[0]
    near = [other for other in second if _is_at(other, there, radius)]
    near = near or _search_again(search, there, lesion)
    if near:
        return LesionChange(lesion.long_axis_mm, near[0].long_axis_mm, lesion, near[0])
    points = followup.nodules.position_lps_mm
    left = np.flatnonzero(np.linalg.norm(points - there, axis=1) <= radius)
    if len(left):
        size_mm = float(np.nanmax(followup.nodules["diameter_mm"][left]))
        return LesionChange(lesion.long_axis_mm, size_mm, lesion, None, "below 8 mm: measured as a nodule")
    return LesionChange(
        lesion.long_axis_mm, None, lesion, None, "nothing of 8 mm or more was found where it was"
    )


def _is_at(lesion: LesionSummary, point_lps_mm: F64, reach_mm: float) -> bool:
    center, radius = find_lesion_sphere(lesion)
    return bool(np.linalg.norm(center - point_lps_mm) <= reach_mm + radius)


def _search_again(search: LesionSearch, there_lps_mm: F64, before: LesionSummary) -> list[LesionSummary]:
    """What is dense where the lesion was, as long as it can be what is left of it."""
    x, y, z = (float(value) for value in there_lps_mm)
    # A vessel or the chest wall at that place would be long or far off.
    return [
        row
        for row in map(summarize_lesion, search((x, y, z)))
        if np.linalg.norm(find_lesion_sphere(row)[0] - there_lps_mm) <= 0.5 * _size(before)
        and _size(row) <= MOST_LESION_GROWTH * _size(before)
    ]
