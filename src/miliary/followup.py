"""Two scans of one patient as a page of calls; opens no user files, prints nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numba as nb
import numpy as np

from miliary import __version__, pair_rules
from miliary.clinical import comparability as rules
from miliary.errors import InputError
from miliary.image.figures import comparison_figure
from miliary.image.lesions.large_lesions import find_lesions
from miliary.image.pair import lesion_change
from miliary.image.pair.common_lung import find_common_lung
from miliary.image.pair.compared_side import list_burden, place_side
from miliary.image.pair.detectability import read_detectability
from miliary.image.pair.region_response import list_warnings
from miliary.image.pair.register import register_lungs
from miliary.image.pair.registered_volume import bring_to_baseline
from miliary.image.pair.smallest_change import find_smallest_changes
from miliary.image.pair.unseen import estimate_unseen
from miliary.image.pair.zone_matching import MatchingLimits, match_by_zone
from miliary.model.comparison import (
    Comparison,
    Exam,
)
from miliary.model.ct_result import CtResult, Psf, StageClock
from miliary.model.lesion import Lesion, PointLpsMm
from miliary.model.saved.scan_summary import LesionSummary
from miliary.model.saved.summarize_scan import summarize
from miliary.model.scan import Scan, ScanWarning
from miliary.model.transform import Transform

Progress = Callable[[str], None]
Lesions = tuple[LesionSummary, ...]


def make_exam(name: str, scan: Scan, result: CtResult) -> Exam:
    """One side of a comparison, from a scan and what was measured on it.

    Parameters
    ----------
    name : str
        How messages call it.
    scan : Scan
    result : CtResult
        Of the same scan.
    """
    return Exam(name, summarize(result), result.nodules, scan, result.lungs)


def compare_scans(
    baseline: Exam,
    followup: Exam,
    *,
    days_between: int | None = None,
    days_to_treatment: int | None = None,
    is_one_patient: bool = False,
    warnings: Sequence[ScanWarning] = (),
    progress: Progress | None = None,
    n_threads: int | None = None,
) -> Comparison:
    """Compare two scans of one patient.

    Parameters
    ----------
    baseline, followup : Exam
    days_between : int, optional
        From baseline to follow-up.
    days_to_treatment : int, optional
        From the baseline scan to the start of treatment.
    is_one_patient : bool
        Whether it is known that both scans show one patient. Where it is not, lungs that do not look alike
        are refused; where it is, that is a warning.
    warnings : sequence of ScanWarning
        Passed on to the result.
    progress : callable, optional
        Called with the name of each stage as it starts.
    n_threads : int, optional

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The scans cannot be a pair: different lungs, or different parts of them.
    """
    before = nb.get_num_threads()
    nb.set_num_threads(min(n_threads or before, nb.config.NUMBA_NUM_THREADS))
    clock = StageClock(progress)
    try:
        found = _compare(baseline, followup, clock, days_between, is_one_patient=is_one_patient)
    finally:
        nb.set_num_threads(before)
    if not found.doubt:
        curves = (read_detectability(exam.summary) for exam in (baseline, followup))
        found = replace(found, unseen=estimate_unseen(found.tracks, *curves))
    timing = rules.judge_baseline(days_to_treatment, rules.load_comparison_rules())
    more = (*warnings, *((ScanWarning("baseline_timing", timing),) if timing else ()))
    with clock.stage("figures"):
        rgb, figures = comparison_figure.render_comparison(found)
    return replace(
        found,
        warnings=(*more, *found.warnings),
        stages=tuple(clock.stages),
        figure_rgb=rgb,
        figures=figures,
    )


def _compare(
    baseline: Exam, followup: Exam, clock: StageClock, days: int | None, *, is_one_patient: bool
) -> Comparison:
    book = rules.load_comparison_rules()
    exams = (baseline, followup)
    lesions = tuple(lesion_change.list_lesions(exam) for exam in exams)
    burdens = tuple(list_burden(exam, found) for exam, found in zip(exams, lesions, strict=True))
    with clock.stage("register"):
        transform, registration = _register(baseline, followup, lesions)
    with clock.stage("common lung"):
        grids = (baseline.scan.grid, followup.scan.grid)
        common = find_common_lung(baseline.lungs, grids[0], followup.lungs, grids[1], transform)
        doubt = pair_rules.check_pair(
            baseline, followup, common, registration, book, is_one_patient=is_one_patient
        )
        first, second = (
            place_side(burden, exam, baseline=baseline, followup=followup, transform=transform)
            for burden, exam in zip(burdens, exams, strict=True)
        )
    gate = pair_rules.judge_scans(baseline, followup, (first, second), common, book)
    with clock.stage("new shadows"):
        opacities, is_dense = pair_rules.find_opacities(baseline, followup, transform, lesions, book)
    with clock.stage("match"):
        limits = MatchingLimits.from_rules(book.row("matching").data, book.row("change").data)
        error = registration["tre_estimate_mm"] or 1.0
        matched = match_by_zone((first, second), common, transform, error_mm=error, limits=limits)
        tracks, zones, error_mm = matched
    with clock.stage("response"):
        measured = pair_rules.measure_allowed_response((first, second), common, gate, is_dense, book)
    with clock.stage("registered volume"):
        registered, grid = bring_to_baseline(baseline, followup, transform)
    search = functools.partial(_search_lesion, followup)
    lesion = lesion_change.compare_lesions(*lesions, transform=transform, followup=followup, search=search)
    category, reason = rules.name_change(measured.total.volume_ratio, gate.verdict, book)
    return Comparison(
        baseline=baseline,
        followup=followup,
        days_between=days,
        comparability=gate,
        regions=measured.regions,
        total=measured.total,
        min_diameter_mm=measured.min_diameter_mm,
        count_diameter_mm=measured.count_diameter_mm,
        is_corrected=measured.is_corrected,
        category=category,
        category_reason=reason,
        tracks=tracks,
        matching=zones,
        match_error_mm=error_mm,
        smallest_changes=() if doubt else find_smallest_changes((baseline.nodules, followup.nodules), limits),
        lesion=lesion,
        recist=pair_rules.judge_dominant_lesion(lesion, days),
        opacities=opacities,
        transform=transform,
        registration=registration,
        registered_hu=registered,
        registered_grid=grid,
        warnings=(
            *_warn_pair(baseline, followup, doubt),
            *list_warnings(exams, (first, second), measured, n_opacities=len(opacities)),
        ),
        provenance={"miliary_version": __version__, "rules": book.label},
    )


def _warn_pair(baseline: Exam, followup: Exam, doubt: str) -> tuple[ScanWarning, ...]:
    """Warnings where both scans are one, which must show no change, or where their lungs disagree."""
    warnings = []
    before, after = (exam.nodules.position_lps_mm for exam in (baseline, followup))
    if np.array_equal(before, after) and np.array_equal(baseline.scan.voxels_hu, followup.scan.voxels_hu):
        message = f"{baseline.name} and {followup.name} are one scan: it is compared with itself"
        warnings.append(ScanWarning("same_scan", message))
    if doubt:
        warnings.append(ScanWarning("lungs_disagree", f"the scans {doubt}"))
    return tuple(warnings)


def _register(
    baseline: Exam, followup: Exam, lesions: Sequence[Lesions]
) -> tuple[Transform, dict[str, float | None]]:
    """Baseline points to follow-up points; disease is painted over, so that its change moves nothing."""
    try:
        found = register_lungs(
            baseline.scan,
            baseline.lungs,
            followup.scan,
            followup.lungs,
            fixed_disease=lesion_change.mark_disease(baseline.nodules, lesions[0]),
            moving_disease=lesion_change.mark_disease(followup.nodules, lesions[1]),
        )
    except ValueError as error:
        # What registration cannot begin with: no lung, or none of the same side.
        raise InputError(
            f"{baseline.name} and {followup.name} show no lung in common; give two scans of the whole chest"
        ) from error
    names = ("agreement", "tre_estimate_mm", "overlap", "min_jacobian", "folded_share", "n_landmarks")
    return found.transform, {name: getattr(found, name) for name in names}


def _search_lesion(exam: Exam, point_lps_mm: PointLpsMm) -> tuple[Lesion, ...]:
    """Lesions that begin at a point [LPS mm]; none where the blur of the scan is not known."""
    psf = exam.summary.psf
    if psf.sigma_xy_mm is None or psf.sigma_z_mm is None:
        return ()
    blur = Psf(psf.sigma_xy_mm, psf.sigma_z_mm)
    return find_lesions(exam.scan, exam.lungs, psf=blur, seeds_lps_mm=[point_lps_mm]).lesions
