"""Two scans of one patient as a page of calls; opens no user files, prints nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary import __version__
from miliary.clinical import comparability as rules
from miliary.clinical.rulebook import RuleBook
from miliary.errors import InputError
from miliary.image.figures import comparison_figure
from miliary.image.lesions.large_lesions import find_lesions
from miliary.image.pair import lesion_change
from miliary.image.pair.common_lung import CommonLung, find_common_lung
from miliary.image.pair.compared_side import ComparedSide, list_burden, place_side
from miliary.image.pair.opacity import find_new_opacities
from miliary.image.pair.region_response import MeasuredResponse, list_warnings, measure_response
from miliary.image.pair.register import register_lungs
from miliary.image.pair.registered_volume import bring_to_baseline
from miliary.image.pair.zone_matching import MatchingLimits, match_by_zone
from miliary.model.comparison import (
    Comparability,
    ComparabilityVerdict,
    Comparison,
    Exam,
    LesionChange,
    Opacity,
    RecistSummary,
)
from miliary.model.ct_result import CtResult, Psf, StageClock
from miliary.model.lesion import Lesion, PointLpsMm
from miliary.model.saved.codec import from_json
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
        doubt = _check_pair(baseline, followup, common, registration, book, is_one_patient=is_one_patient)
        first, second = (
            place_side(burden, exam, baseline=baseline, followup=followup, transform=transform)
            for burden, exam in zip(burdens, exams, strict=True)
        )
    gate = _judge(baseline, followup, (first, second), common, book)
    with clock.stage("new shadows"):
        opacities, is_dense = _find_opacities(baseline, followup, transform, lesions, book)
    with clock.stage("match"):
        limits = MatchingLimits.from_rules(book.row("matching").data, book.row("change").data)
        error = registration["tre_estimate_mm"] or 1.0
        matched = match_by_zone((first, second), common, transform, error_mm=error, limits=limits)
        tracks, zones, error_mm = matched
    with clock.stage("response"):
        measured = _respond((first, second), common, gate, is_dense, book)
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
        lesion=lesion,
        recist=_judge_recist(lesion, days),
        opacities=opacities,
        transform=transform,
        registration=registration,
        registered_hu=registered,
        registered_grid=grid,
        warnings=(
            *((ScanWarning("lungs_disagree", f"the scans {doubt}"),) if doubt else ()),
            *list_warnings(exams, (first, second), measured, n_opacities=len(opacities)),
        ),
        provenance={"miliary_version": __version__, "rules": book.label},
    )


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


def _check_pair(
    baseline: Exam,
    followup: Exam,
    common: CommonLung,
    registration: dict[str, float | None],
    book: RuleBook,
    *,
    is_one_patient: bool,
) -> str:
    """What speaks against one patient although it is known to be one; empty where nothing does.

    Raises
    ------
    InputError
        The scans show different lungs, or different parts of them.
    """
    agreement = registration["agreement"]
    problem = rules.find_impossibility(
        coverage=common.coverage, agreement=None if is_one_patient else agreement, book=book
    )
    if problem:
        raise InputError(f"{baseline.name} and {followup.name} {problem}")
    return rules.find_impossibility(coverage=1.0, agreement=agreement, book=book)


def _judge(
    baseline: Exam,
    followup: Exam,
    sides: tuple[ComparedSide, ComparedSide],
    common: CommonLung,
    book: RuleBook,
) -> Comparability:
    """Whether the scans may be compared, from how each was made and how well it shows nodules."""
    exams = (baseline, followup)
    sizes = sides[0].nodules["diameter_mm"]
    blur = [exam.summary.psf.mean_sigma_mm for exam in exams]
    noise = [exam.summary.noise.sd_hu for exam in exams]
    thickness = [
        exam.summary.acquisition.slice_thickness_mm or exam.scan.grid.spacing_zyx_mm[0] for exam in exams
    ]
    facts = rules.PairFacts(
        coverage=common.coverage,
        lung_volume_ratio=float(common.followup_ml.sum() / max(common.baseline_ml.sum(), 1e-6)),
        slice_thickness_mm=(thickness[0], thickness[1]),
        blur_mm=(blur[0], blur[1]),
        noise_hu=(noise[0], noise[1]),
        d50_mm=(sides[0].detectability.d50_mm, sides[1].detectability.d50_mm),
        median_diameter_mm=float(np.median(sizes)) if len(sizes) else None,
    )
    return rules.judge_pair(facts, book)


def _find_opacities(
    baseline: Exam, followup: Exam, transform: Transform, lesions: Sequence[Lesions], book: RuleBook
) -> tuple[tuple[Opacity, ...], npt.NDArray[np.bool_]]:
    """New opacities, and the parts of the lung that leave the ratio for them."""
    numbers = rules.read_numbers(book.row("new_opacity"))
    found, share = find_new_opacities(
        baseline.scan,
        baseline.lungs,
        followup.scan,
        transform,
        min_rise_hu=numbers["min_rise_hu"],
        consolidation_min_hu=numbers["consolidation_min_hu"],
        min_volume_ml=numbers["min_volume_ml"],
        lesions_mm=lesion_change.list_spheres_at_baseline(lesions[0], lesions[1], transform),
    )
    return found, share > numbers["max_zone_share"]


def _respond(
    sides: tuple[ComparedSide, ComparedSide],
    common: CommonLung,
    gate: Comparability,
    is_dense: npt.NDArray[np.bool_],
    book: RuleBook,
) -> MeasuredResponse:
    shared = book.row("shared_error")
    is_like = gate.verdict is ComparabilityVerdict.COMPARABLE
    is_refused = gate.verdict is ComparabilityVerdict.NOT_COMPARABLE
    return measure_response(
        sides,
        common,
        is_dense=is_dense,
        is_like=is_like,
        correlation=shared["comparable"] if is_like else shared["after_correction"],
        refusal="the scans are not comparable: " + "; ".join(gate.reasons) if is_refused else "",
    )


def _search_lesion(exam: Exam, point_lps_mm: PointLpsMm) -> tuple[Lesion, ...]:
    """Lesions that begin at a point [LPS mm]; none where the blur of the scan is not known."""
    psf = exam.summary.psf
    if psf.sigma_xy_mm is None or psf.sigma_z_mm is None:
        return ()
    blur = Psf(psf.sigma_xy_mm, psf.sigma_z_mm)
    return find_lesions(exam.scan, exam.lungs, psf=blur, seeds_lps_mm=[point_lps_mm]).lesions


def _judge_recist(lesion: LesionChange, days: int | None) -> RecistSummary:
    before = {} if lesion.baseline_mm is None else {"dominant": lesion.baseline_mm}
    judged = rules.judge_targets(before, {"dominant": lesion.followup_mm}, days=days)
    return from_json(RecistSummary, judged, name="recist").value
