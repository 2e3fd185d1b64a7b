"""One patient as a page of calls; opens no user files, prints nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol, TypeVar

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary import __version__
from miliary.clinical.miliary.measured_definition import (
    MeasuredPattern,
    assess_measured,
    summarize_definitions,
)
from miliary.image.anatomy import fill, given_lungs, segmentation, surroundings
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.distribution import involvement, neighborhood, randomness
from miliary.image.figures import completeness_figure, lesion_figure, pattern_figure, project, scan_figures
from miliary.image.lesions import large_lesions, reader_diameters
from miliary.image.lesions.opacities import warn_opacities, warn_opaque
from miliary.image.nodules import detect, find, judge, mark_evidence, measure, reader_changes
from miliary.image.quality import limits, validated_range
from miliary.image.quality.blur import estimate_psf, warn_blur
from miliary.image.quality.noise import estimate_noise
from miliary.image.sensitivity import estimate, injection
from miliary.model.completeness import Completeness
from miliary.model.corrections import AppliedCorrections, CorrectionSet
from miliary.model.ct_result import CtResult, LungMask, Lungs, Noise, OpaqueLung, StageClock
from miliary.model.extent import Extent, TrueSizes
from miliary.model.figure import Figure
from miliary.model.lesion import Lesion, PointLpsMm
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.pattern import Pattern
from miliary.model.scan import Scan, ScanWarning, Side
from miliary.model.validity import Validity

Progress = Callable[[str], None]
F64 = npt.NDArray[np.float64]

P = ParamSpec("P")
T = TypeVar("T")

CLIPPED_CODE = "clipped_high"


def find_nodules(
    scan: Scan,
    *,
    progress: Progress | None = None,
    n_threads: int | None = None,
    seed: int = 0,
    corrections: CorrectionSet | None = None,
    with_completeness: bool = True,
    lung_mask: Lungs | LungMask | None = None,
    lesion_seeds_lps_mm: Sequence[PointLpsMm] = (),
) -> CtResult:
    """Find and measure every nodule on a chest CT.

    Parameters
    ----------
    scan : Scan
    progress : callable, optional
        Called with the name of each stage as it starts.
    n_threads : int, optional
        Threads of the compiled kernels; all cores when not given. The result does not depend on it.
    seed : int
        Of the patches that the noise is measured on.
    corrections : CorrectionSet, optional
        What a reader changed: false marks are left out, missed nodules measured and put in.
    with_completeness : bool
        Put simulated nodules into the scan to learn what share is found, and correct count and volume.
    lung_mask : Lungs or LungMask, optional
        The lungs, where they are known: as they are, or a mask that `read_lung_mask` read, which is looked at
        first; found on the scan when not given.
    lesion_seeds_lps_mm : sequence of (x, y, z)
        Points [mm] in lesions of 8 mm and more that a reader saw; others are found as well.

    Returns
    -------
    CtResult

    Raises
    ------
    NoLungsError
        The scan shows no lungs, or the mask does not lie on them.
    TypeError
        Something else than a scan is given, such as what `simulate_scan` returns: its scan is ``.scan``.
    """
    if not isinstance(scan, Scan):
        hint = "; give its .scan" if isinstance(getattr(scan, "scan", None), Scan) else ""
        raise TypeError(f"find_nodules takes a Scan, found a {type(scan).__name__}{hint}")
    before = nb.get_num_threads()
    nb.set_num_threads(min(n_threads or before, nb.config.NUMBA_NUM_THREADS))
    try:
        with _working_beside(nb.get_num_threads()) as beside:
            return _find_nodules(
                scan,
                StageClock(progress),
                beside,
                seed,
                corrections,
                lung_mask=lung_mask,
                lesion_seeds_lps_mm=lesion_seeds_lps_mm,
                with_completeness=with_completeness,
            )
    finally:
        nb.set_num_threads(before)


class _Beside(Protocol):
    """Begins a call and gives what waits for its result."""

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]: ...


@contextmanager
def _working_beside(n_threads: int) -> Iterator[_Beside]:
    """Calls on a second thread, one after another; with one thread each runs when its result is asked for.

    For work that leaves most cores idle: loops of Python, labels of connected parts.
    """
    with ThreadPoolExecutor(1, initializer=nb.set_num_threads, initargs=(n_threads,)) as pool:

        def begin(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
            if n_threads == 1:
                return functools.partial(call, *args, **kwargs)
            return pool.submit(call, *args, **kwargs).result

        yield begin


@dataclass(frozen=True)
class _Measured:
    """What was found and measured on a scan before anything is inferred from it.

    `position_mm` are the centers (z, y, x) of the nodules from the first voxel of the lung box [mm].
    """

    lung_mask: Lungs
    warnings: tuple[ScanWarning, ...]
    noise: Noise
    search: detect.CandidateSearch
    judged: detect.ScoredCandidates
    detection: detect.DetectionRun
    nodules: Nodules
    position_mm: F64
    lesions: tuple[Lesion, ...]
    opaque: OpaqueLung
    applied: AppliedCorrections | None
    validity: Validity

    @property
    def litres(self) -> float:
        """Volume of both lungs [L]."""
        return _sum_litres(self.lung_mask)


def _sum_litres(lungs: Lungs) -> float:
    return sum(lungs.volume_ml(side) for side in Side) / 1000.0


def _find_nodules(
    scan: Scan,
    clock: StageClock,
    beside: _Beside,
    seed: int,
    corrections: CorrectionSet | None,
    *,
    lung_mask: Lungs | LungMask | None,
    lesion_seeds_lps_mm: Sequence[PointLpsMm],
    with_completeness: bool,
) -> CtResult:
    scan = fill.replace_fill(scan)
    found = _measure(scan, clock, beside, seed, lung_mask=lung_mask, seeds_lps_mm=lesion_seeds_lps_mm)
    if corrections is not None:
        found = _correct(scan, found, corrections)
    box, nodules, classifier = found.search.box, found.nodules, found.judged.classifier
    doubt = found.validity.doubt
    looked_around = beside(
        surroundings.find_surroundings, box, found.search.smooth_hu, found.position_mm, nodules["diameter_mm"]
    )
    completeness = recovery = None
    if with_completeness:
        with clock.stage("completeness"):
            recovery = injection.inject_and_recover(found.detection, seed=seed)
            completeness = _estimate_completeness(scan, found, recovery, seed=seed)
            if doubt:
                completeness = completeness.withhold(doubt)
    with clock.stage("pattern"):
        around = looked_around()
        injected = _list_injected(recovery, classifier.threshold)
        pattern = _estimate_pattern(around, found, injected=injected, seed=seed)
        if doubt:
            pattern = randomness.withhold_pattern(pattern, doubt)
    with clock.stage("definitions"):
        extent, sizes, definitions = _judge(scan, found, completeness=completeness, pattern=pattern)
        if doubt:
            extent, sizes = extent.withhold(doubt), TrueSizes(sizes.n, reason=doubt)
    with clock.stage("preview"):
        preview = _render_preview(scan, found.lung_mask, nodules)
    with clock.stage("figures"):
        pictures = _render_figures(scan, found, pattern=pattern, completeness=completeness)
    return CtResult(
        grid=scan.grid,
        acquisition=scan.acquisition,
        source_order=scan.source_order,
        warnings=(*scan.warnings, *found.warnings, *_warn_of_numbers(found, completeness, pattern)),
        lungs=found.lung_mask,
        right_ml=found.lung_mask.volume_ml(Side.RIGHT),
        left_ml=found.lung_mask.volume_ml(Side.LEFT),
        noise=found.noise,
        psf=found.detection.psf,
        nodules=nodules,
        operating_point=found.judged.operating_point,
        n_candidates=len(found.search.candidates),
        reference_hu=measure.REFERENCE_HU,
        stages=tuple(clock.stages),
        provenance=_state_provenance(classifier, found.judged.share, seed),
        preview_rgb=preview,
        figures=pictures,
        pattern=pattern,
        corrections=found.applied,
        lesions=found.lesions,
        extent=extent,
        true_sizes=sizes,
        definitions=definitions,
        completeness=completeness,
        validity=found.validity,
        opaque=found.opaque,
    )


def _warn_of_numbers(
    found: _Measured, completeness: Completeness | None, pattern: Pattern
) -> tuple[ScanWarning, ...]:
    """What to know before the numbers are used."""
    half_mm = None if completeness is None else completeness.diameter_50_mm
    return (
        *limits.warn_share(found.judged.share, judge.PRIOR_LIMITS, diameter_50_mm=half_mm),
        *estimate.list_warnings(completeness, pattern.label),
    )


def _measure(
    scan: Scan,
    clock: StageClock,
    beside: _Beside,
    seed: int,
    *,
    lung_mask: Lungs | LungMask | None,
    seeds_lps_mm: Sequence[PointLpsMm],
) -> _Measured:
    """Lungs, noise, blur, lesions and nodules of a scan, as the program sees them without a reader."""
    with clock.stage("lungs"):
        lungs, warnings = _take_lungs(scan, lung_mask)
    with clock.stage("noise and blur"):
        noise, psf = estimate_noise(scan, lungs, seed=seed), estimate_psf(scan)
    lesions_found = beside(large_lesions.find_lesions, scan, lungs, psf=psf, seeds_lps_mm=seeds_lps_mm)
    with clock.stage("find"):
        search = detect.search_lungs(scan, lungs)
    with clock.stage("classify"):
        judged = detect.score_candidates(search, noise=noise, psf=psf)
    # What was not done meanwhile.
    with clock.stage("lesions"):
        large = lesions_found()
        opaque = large.opaque.at_least(lungs.opaque)
        # What lies in a lesion is part of it, not a nodule.
        reported = judged.index_zyx[judged.rows] + np.asarray(search.box.start_zyx)
        judged = judged.exclude(large.contains(reported))
    with clock.stage("measure"):
        detection, fit, nodules = detect.measure_nodules(
            search, judged, grid=scan.grid, noise=noise, psf=psf, is_clipped=_is_clipped(scan)
        )
    validity = Validity(
        (
            *validated_range.check_sampling(scan, psf, noise),
            validated_range.check_kernel(detection.psf),
            validated_range.check_opaque(search.box.voxels_hu, search.box.labels, search.box.spacing_zyx_mm),
            *mark_evidence.check_marks(detection, nodules, litres=_sum_litres(lungs)),
        )
    )
    return _Measured(
        lung_mask=lungs,
        warnings=(
            *warnings,
            *warn_opacities(large.opacities),
            *warn_opaque(opaque, 1000.0 * _sum_litres(lungs)),
            *warn_blur(detection.psf),
            *validated_range.warn_outside(validity),
        ),
        noise=noise,
        search=search,
        judged=judged,
        detection=detection,
        nodules=nodules,
        position_mm=fit.position_mm,
        lesions=large.lesions,
        opaque=opaque,
        applied=None,
        validity=validity,
    )


def _take_lungs(scan: Scan, lung_mask: Lungs | LungMask | None) -> tuple[Lungs, tuple[ScanWarning, ...]]:
    """The lungs as they were given, a mask that was looked at, or those found on the scan."""
    if isinstance(lung_mask, Lungs):
        return lung_mask, ()
    if lung_mask is None:
        return segmentation.find_lungs(scan)
    lungs, warnings = given_lungs.take_lungs(scan, lung_mask.labels, lung_mask.source)
    return lungs, (*lung_mask.warnings, *warnings)


def _correct(scan: Scan, found: _Measured, corrections: CorrectionSet) -> _Measured:
    """What was measured, with a reader's corrections in it."""
    nodules, applied = reader_changes.correct_nodules(
        found.nodules,
        corrections,
        box=found.search.box,
        smooth_hu=found.search.smooth_hu,
        grid=scan.grid,
        psf=found.detection.psf,
        noise=found.noise,
        is_clipped=_is_clipped(scan),
    )
    lesions, applied = reader_diameters.correct_lesions(found.lesions, corrections, applied)
    return replace(
        found,
        warnings=(*found.warnings, *reader_changes.list_warnings(applied)),
        nodules=nodules,
        position_mm=_place_in_box(scan, found.search.box, nodules),
        lesions=lesions,
        applied=applied,
    )


def _is_clipped(scan: Scan) -> bool:
    """Whether attenuation above that of soft tissue was cut off in the file."""
    return any(w.code == CLIPPED_CODE for w in scan.warnings)


def _estimate_completeness(
    scan: Scan, found: _Measured, recovery: injection.Recovery, *, seed: int
) -> Completeness:
    """What share of nodules is found on this scan, from those injected, and the corrected numbers."""
    judged = found.judged
    return estimate.estimate_completeness(
        found.detection,
        found.nodules,
        found.position_mm,
        injection.list_margins(judged.position_mm, judged.probability, judged.classifier.threshold),
        litres=found.litres,
        slice_mm=scan.acquisition.slice_thickness_mm or scan.grid.spacing_zyx_mm[0],
        seed=seed,
        recovery=recovery,
    )


def _render_figures(
    scan: Scan, found: _Measured, *, pattern: Pattern, completeness: Completeness | None
) -> tuple[Figure, ...]:
    """Pictures that are saved with the result."""
    pictures = (
        *scan_figures.render_figures(scan, found.lung_mask.labels, found.nodules),
        pattern_figure.render_pattern(pattern),
        *completeness_figure.render_completeness(completeness, found.nodules["diameter_mm"]),
        *lesion_figure.render_lesions(scan, found.lesions),
    )
    return scan_figures.label_simulated(pictures) if _is_simulated(scan) else pictures


def _place_in_box(scan: Scan, box: LungBox, nodules: Nodules) -> F64:
    """Centers (z, y, x) from the first voxel of the box [mm]."""
    index = scan.grid.index_from_lps(nodules.position_lps_mm)
    return np.asarray((index - np.asarray(box.start_zyx)) * np.asarray(box.spacing_zyx_mm))


def _judge(
    scan: Scan, found: _Measured, *, completeness: Completeness | None, pattern: Pattern
) -> tuple[Extent, TrueSizes, tuple[dict[str, Any], ...]]:
    """Extent and true sizes of the burden, and what they mean to the published definitions."""
    box = found.search.box
    burden = found.nodules.select(found.nodules["attenuation"] != Attenuation.CALCIFIED.value)
    litres = np.count_nonzero(box.labels) * scan.grid.voxel_volume_mm3 / 1e6
    expected_false = float(np.sum(1.0 - burden["probability"]))
    if completeness is not None and completeness.false_marks is not None:
        expected_false = completeness.false_marks.expected.value
    spans = involvement.measure_extent(
        box,
        burden,
        _place_in_box(scan, box, burden),
        false_per_litre=float(expected_false / litres) if litres else 0.0,
    )
    sizes = involvement.estimate_true_sizes(burden["diameter_mm"], burden["diameter_mm_err"])
    facts = MeasuredPattern(
        n_right=int(np.count_nonzero(burden["side"] == Side.RIGHT.value)),
        n_left=int(np.count_nonzero(burden["side"] == Side.LEFT.value)),
        expected_false=expected_false,
        by_third=tuple(spans.counts.values()),
        n_lesions=len(found.lesions),
        p90_mm=sizes.p90_mm,
        p90_ci95_mm=sizes.p90_ci95_mm,
        size_reason=sizes.reason,
        lung_fraction=spans.lung_fraction_involved,
        lung_fraction_ci95=spans.ci95,
        pattern=pattern.label.value,
        pattern_reason=pattern.reason,
        cv=pattern.size.cv,
        cv_err=pattern.size.cv_err,
        slice_thickness_mm=scan.acquisition.slice_thickness_mm or scan.grid.spacing_zyx_mm[0],
        is_simulated=_is_simulated(scan),
        doubt=found.validity.doubt or pattern.doubt,
    )
    return spans, sizes, summarize_definitions(assess_measured(facts))


def _is_simulated(scan: Scan) -> bool:
    return scan.acquisition.source_format == "simulated"


def _render_preview(scan: Scan, lung_mask: Lungs, nodules: Nodules) -> npt.NDArray[np.uint8]:
    preview = project.render_preview(scan, lung_mask.labels, nodules)
    return project.stamp_simulated(preview) if _is_simulated(scan) else preview


def _estimate_pattern(
    around: surroundings.Surroundings,
    found: _Measured,
    *,
    injected: randomness.InjectedNodules | None,
    seed: int,
) -> Pattern:
    """Pattern of the burden."""
    disease = found.nodules["attenuation"] != Attenuation.CALCIFIED.value
    nodules, position_mm = found.nodules.select(disease), found.position_mm[disease]
    near = neighborhood.look_at_neighborhood(
        found.search.box, found.search.smooth_hu, position_mm, nodules["diameter_mm"]
    )
    return randomness.estimate_pattern(
        position_mm,
        nodules["diameter_mm"],
        diameter_mm_err=nodules["diameter_mm_err"],
        probability=nodules["probability"],
        surroundings=around,
        injected=injected,
        neighborhood=near,
        seed=seed,
    )


def _list_injected(
    recovery: injection.Recovery | None, threshold: float
) -> randomness.InjectedNodules | None:
    """The injected nodules, found where they would be used for the pattern."""
    if recovery is None:
        return None
    is_found = recovery.is_found_at(randomness.CERTAIN_PROBABILITY, threshold)
    return randomness.InjectedNodules(recovery.position_mm, recovery.diameter_mm, is_found)


def _state_provenance(classifier: judge.Classifier, share: float, seed: int) -> dict[str, object]:
    return {
        "miliary_version": __version__,
        "numpy_version": np.__version__,
        "numba_version": nb.__version__,
        "seed": seed,
        "weights_sha256": classifier.sha256,
        "candidate_share": round(share, 6),
        "scales_mm": list(find.SCALES_MM),
    }
