"""Two scans of one patient as a page of calls; opens no user files, prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from miliary import __version__
from miliary.clinical import comparability as rules
from miliary.clinical.rulebook import RuleBook
from miliary.errors import InputError
from miliary.image.figures import comparison_figure
from miliary.image.kernels.resample import resample_volume
from miliary.image.lesions.large_lesions import find_lesions
from miliary.image.pair import burden_ratio, common_lung, match, opacity
from miliary.image.pair.common_lung import PARTS, CommonLung, PointLocations
from miliary.image.pair.register import register_lungs
from miliary.image.pair.track import TrackSide, make_tracks
from miliary.model.comparison import (
    Burden,
    Comparability,
    ComparabilityVerdict,
    Comparison,
    Exam,
    Interval,
    LesionChange,
    Opacity,
    RegionResponse,
    ZoneMatching,
)
from miliary.model.ct_result import CtResult, Psf, StageClock, summarize
from miliary.model.lesion import summarize_lesion
from miliary.model.nodules import Attenuation, Nodules, Tracks
from miliary.model.scan import Grid, Scan, ScanWarning, Side
from miliary.model.transform import Transform

Progress = Callable[[str], None]
F64 = npt.NDArray[np.float64]

MIN_DIAMETER_MM = 1.0
LESION_MARGIN_MM = 1.0
MOST_LESION_GROWTH = 2.0
# The registered follow-up is kept no finer than this: it is for looking at.
REGISTERED_PITCH_MM = 1.0


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


@dataclass(frozen=True)
class _Side:
    """One scan's disease: nodules that count, where they lie, how they were found."""

    nodules: Nodules
    place: PointLocations
    finding: _Finding


@dataclass(frozen=True)
class _Finding:
    """How well one scan shows nodules: completeness by diameter, and the diameters that follow from it."""

    diameter_mm: F64
    completeness: F64
    completeness_err: F64
    min_diameter_mm: float
    d50_mm: float | None
    d90_mm: float | None
    at_least: tuple[Mapping[str, Any], ...]

    @property
    def is_measured(self) -> bool:
        """Whether the scan says what it misses."""
        return bool(self.at_least)

    def at(self, diameter_mm: F64) -> F64:
        """Completeness at given diameters."""
        known = np.nan_to_num(diameter_mm, nan=float(self.diameter_mm[-1]))
        return np.asarray(np.interp(known, self.diameter_mm, self.completeness), dtype=np.float64)

    def error_at(self, diameter_mm: F64) -> F64:
        """One-sigma error of the completeness at given diameters."""
        known = np.nan_to_num(diameter_mm, nan=float(self.diameter_mm[-1]))
        return np.asarray(np.interp(known, self.diameter_mm, self.completeness_err), dtype=np.float64)

    def total(self, name: str, diameter_mm: float) -> tuple[float, float]:
        """Corrected ``count`` or ``total_volume_mm3`` of at least a diameter, and its one-sigma error."""
        at = [row["diameter_mm"] for row in self.at_least]
        value = np.interp(diameter_mm, at, [row[name] for row in self.at_least])
        low, high = (
            np.interp(diameter_mm, at, [row[f"{name}_ci95"][k] for row in self.at_least]) for k in (0, 1)
        )
        return float(value), float(high - low) / 3.92


def _compare(
    baseline: Exam, followup: Exam, clock: StageClock, days: int | None, *, is_one_patient: bool
) -> Comparison:
    book = rules.load_comparison_rules()
    lesions = tuple(_list_lesions(exam) for exam in (baseline, followup))
    burdens = tuple(_list_burden(e, found) for e, found in zip((baseline, followup), lesions, strict=True))
    with clock.stage("register"):
        transform, registration = _register(baseline, followup, lesions)
    with clock.stage("common lung"):
        grids = (baseline.scan.grid, followup.scan.grid)
        common = common_lung.find_common_lung(baseline.lungs, grids[0], followup.lungs, grids[1], transform)
        agreement = registration.get("agreement")
        problem = rules.find_impossibility(
            coverage=common.coverage, agreement=None if is_one_patient else agreement, book=book
        )
        if problem:
            raise InputError(f"{baseline.name} and {followup.name} {problem}")
        doubt = rules.find_impossibility(coverage=1.0, agreement=agreement, book=book)
        sides = tuple(
            _place(burden, exam, baseline, followup, transform)
            for burden, exam in zip(burdens, (baseline, followup), strict=True)
        )
    comparability = _judge(baseline, followup, sides, common, book)
    with clock.stage("new shadows"):
        opacities, dense = _find_opacities(baseline, followup, transform, lesions, book)
    with clock.stage("match"):
        tracks, zones, error_mm = _match(sides, common, transform, registration, book)
    with clock.stage("response"):
        measured = _respond(sides, common, comparability, dense, book)
    with clock.stage("registered volume"):
        registered, grid = _bring_to_baseline(baseline, followup, transform)
    lesion = _compare_lesions(lesions[0], lesions[1], transform, followup)
    category, reason = rules.name_change(measured.total.volume_ratio, comparability.verdict, book)
    return Comparison(
        baseline=baseline,
        followup=followup,
        days_between=days,
        comparability=comparability,
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
            *_find_warnings((baseline, followup), sides, opacities, measured),
        ),
        provenance={"miliary_version": __version__, "rules": book.label},
    )


# --- what each scan holds --------------------------------------------------------------------------------


def _list_lesions(exam: Exam) -> tuple[Mapping[str, Any], ...]:
    """Lesions of one scan, largest first."""
    found = exam.summary.get("lesions") or ()
    return tuple(sorted(found, key=lambda lesion: -(lesion.get("long_axis_mm") or 0.0)))


def _list_burden(exam: Exam, lesions: Sequence[Mapping[str, Any]]) -> Nodules:
    """The nodules that count: not calcified, not part of a lesion, with a measured volume."""
    nodules = exam.nodules
    keep = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & np.isfinite(nodules["volume_mm3"])
    points = nodules.position_lps_mm
    for lesion in lesions:
        center, reach = _lesion_place(lesion)
        keep &= np.linalg.norm(points - center, axis=1) > reach + LESION_MARGIN_MM
    return nodules.select(keep)


def _lesion_place(lesion: Mapping[str, Any]) -> tuple[F64, float]:
    """Center [LPS mm] and radius [mm]."""
    return np.asarray(lesion["centroid_lps_mm"], dtype=np.float64), 0.5 * float(lesion["long_axis_mm"])


def _read_finding(exam: Exam) -> _Finding:
    """Completeness as the scan's summary states it; plain ones where it was not measured."""
    curve = (exam.summary.get("completeness") or {}).get("curve")
    corrected = exam.summary.get("corrected") or {}
    if not curve or not corrected.get("at_least"):
        flat = np.array([0.0, 100.0])
        return _Finding(flat, np.ones(2), np.zeros(2), MIN_DIAMETER_MM, None, None, ())
    facts = exam.summary["completeness"]
    # The curve is by true diameter; a nodule is looked up by the diameter it is measured at.
    diameter = np.asarray(curve["diameter_mm"]) * (1.0 + np.asarray(curve["size_bias"]))
    return _Finding(
        np.maximum.accumulate(diameter),
        np.asarray(curve["probability"]),
        (np.asarray(curve["ci95_high"]) - np.asarray(curve["ci95_low"])) / 3.92,
        float(corrected["min_diameter_mm"]),
        facts.get("diameter_50_mm"),
        facts.get("diameter_90_mm"),
        tuple(corrected["at_least"]),
    )


def _place(burden: Nodules, exam: Exam, baseline: Exam, followup: Exam, transform: Transform) -> _Side:
    place = common_lung.locate_points(
        burden.position_lps_mm,
        baseline_labels=baseline.lungs.labels,
        baseline_grid=baseline.scan.grid,
        followup_grid=followup.scan.grid,
        transform=transform,
        is_baseline=exam is baseline,
    )
    return _Side(burden, place, _read_finding(exam))


# --- registration and gate -------------------------------------------------------------------------------


def _register(
    baseline: Exam, followup: Exam, lesions: Sequence[Sequence[Mapping[str, Any]]]
) -> tuple[Transform, dict[str, float | None]]:
    """Baseline points to follow-up points; disease is painted over, so that its change moves nothing."""
    try:
        found = register_lungs(
            baseline.scan,
            baseline.lungs,
            followup.scan,
            followup.lungs,
            fixed_disease=_mark_disease(baseline.nodules, lesions[0]),
            moving_disease=_mark_disease(followup.nodules, lesions[1]),
        )
    except ValueError as error:
        # What registration cannot begin with: no lung, or none of the same side.
        raise InputError(
            f"{baseline.name} and {followup.name} show no lung in common; give two scans of the whole chest"
        ) from error
    names = ("agreement", "tre_estimate_mm", "overlap", "min_jacobian", "folded_share", "n_landmarks")
    return found.transform, {name: getattr(found, name) for name in names}


def _mark_disease(nodules: Nodules, lesions: Sequence[Mapping[str, Any]]) -> F64:
    """Centers and radii (n, 4) [LPS mm, mm] of what may come and go."""
    radius = np.nan_to_num(nodules["diameter_mm"], nan=2.0) / 2.0
    marks = [np.column_stack([nodules.position_lps_mm, radius])]
    marks += [np.append(*_lesion_place(lesion))[None] for lesion in lesions]
    return np.concatenate(marks)


def _judge(
    baseline: Exam, followup: Exam, sides: Sequence[_Side], common: CommonLung, book: RuleBook
) -> Comparability:
    first, second = sides

    def both(*names: str) -> tuple[float | None, float | None]:
        values: list[float | None] = []
        for exam in (baseline, followup):
            value: Any = exam.summary
            for name in names:
                value = value.get(name) if isinstance(value, Mapping) else None
            values.append(None if value is None else float(value))
        return values[0], values[1]

    def blur(exam: Exam) -> float:
        psf = exam.summary["psf"]
        return float(psf["sigma_xy_mm"] ** (2 / 3) * psf["sigma_z_mm"] ** (1 / 3))

    sizes = first.nodules["diameter_mm"]
    thickness = both("acquisition", "slice_thickness_mm")
    if None in thickness:
        spacing = [exam.scan.grid.spacing_zyx_mm[0] for exam in (baseline, followup)]
        thickness = (thickness[0] or spacing[0], thickness[1] or spacing[1])
    facts = rules.PairFacts(
        coverage=common.coverage,
        lung_volume_ratio=float(common.followup_ml.sum() / max(common.baseline_ml.sum(), 1e-6)),
        slice_thickness_mm=thickness,
        blur_mm=(blur(baseline), blur(followup)),
        noise_hu=both("noise", "sd_hu"),
        d50_mm=(first.finding.d50_mm, second.finding.d50_mm),
        median_diameter_mm=float(np.median(sizes)) if len(sizes) else None,
    )
    return rules.judge_pair(facts, book)


def _find_opacities(
    baseline: Exam,
    followup: Exam,
    transform: Transform,
    lesions: Sequence[Sequence[Mapping[str, Any]]],
    book: RuleBook,
) -> tuple[tuple[Opacity, ...], npt.NDArray[np.bool_]]:
    """New shadows, and the parts of the lung that leave the ratio for them."""
    numbers = rules.read_numbers(book.row("new_opacity"))
    places = [_lesion_place(lesion) for lesion in lesions[0]]
    for lesion in lesions[1]:
        center, radius = _lesion_place(lesion)
        places.append((transform.invert_points(center[None])[0], radius))
    found, share = opacity.find_new_opacities(
        baseline.scan,
        baseline.lungs,
        followup.scan,
        transform,
        min_rise_hu=numbers["min_rise_hu"],
        consolidation_min_hu=numbers["consolidation_min_hu"],
        min_volume_ml=numbers["min_volume_ml"],
        lesions_mm=[(float(c[0]), float(c[1]), float(c[2]), r) for c, r in places if np.isfinite(c).all()],
    )
    return found, share > numbers["max_zone_share"]


def _bring_to_baseline(
    baseline: Exam, followup: Exam, transform: Transform
) -> tuple[npt.NDArray[np.int16], Grid]:
    """The follow-up in the frame of the baseline, over the box of its lungs."""
    grid = baseline.scan.grid
    filled = [
        np.flatnonzero((baseline.lungs.labels > 0).any(axis=tuple(o for o in range(3) if o != axis)))
        for axis in range(3)
    ]
    margin = [round(10.0 / step) for step in grid.spacing_zyx_mm]
    low = [max(int(f[0]) - m, 0) for f, m in zip(filled, margin, strict=True)]
    high = [min(int(f[-1]) + m + 1, n) for f, m, n in zip(filled, margin, grid.shape_zyx, strict=True)]
    cut = grid.crop(low, [b - a for a, b in zip(low, high, strict=True)])
    step = [max(REGISTERED_PITCH_MM, s) for s in cut.spacing_zyx_mm]
    shape = [
        max(1, int((n - 1) * s / t) + 1)
        for n, s, t in zip(cut.shape_zyx, cut.spacing_zyx_mm, step, strict=True)
    ]
    target = replace(
        cut, shape_zyx=(shape[0], shape[1], shape[2]), spacing_zyx_mm=(step[0], step[1], step[2])
    )
    volume = resample_volume(followup.scan.voxels_hu, followup.scan.grid, target, transform=transform)
    return np.clip(np.rint(volume), -32768, 32767).astype(np.int16), target


# --- identities ------------------------------------------------------------------------------------------


def _match(
    sides: Sequence[_Side],
    common: CommonLung,
    transform: Transform,
    registration: Mapping[str, float | None],
    book: RuleBook,
) -> tuple[Tracks, tuple[ZoneMatching, ...], float]:
    """Tracks of the commonly covered lung, and how well identities can be told in each zone."""
    first, second = sides
    rows, others = np.flatnonzero(first.place.is_common), np.flatnonzero(second.place.is_common)
    before, after = first.nodules.select(rows), second.nodules.select(others)
    limits = book.row("matching")
    pairs = match.match_nodules(
        transform.apply(before.position_lps_mm),
        after.position_lps_mm,
        volume_mm3=before["volume_mm3"],
        other_volume_mm3=after["volume_mm3"],
        lung_mm3=float(common.followup_ml.sum()) * 1000.0,
        error_mm=registration.get("tre_estimate_mm") or 1.0,
        min_probability=limits["min_probability"],
    )
    part, other_part = first.place.part[rows], second.place.part[others]
    is_kept, is_open = np.zeros(len(rows), dtype=bool), np.zeros(len(PARTS), dtype=bool)
    zones = []
    for number, (side, zone) in enumerate(PARTS):
        own = (part == number) & (pairs.partner >= 0)
        keep, false_share = match.keep_certain(
            pairs.probability, own, max_expected_false_share=limits["max_expected_false_share"]
        )
        is_open[number] = keep.sum() >= limits["min_kept_share"] * own.sum()
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
    change = rules.read_numbers(book.row("change"))
    tracks = make_tracks(
        TrackSide(before, first.place.baseline_mm[rows], part, second.finding.at(before["diameter_mm"])),
        TrackSide(
            after, second.place.baseline_mm[others], other_part, first.finding.at(after["diameter_mm"])
        ),
        partner=np.where(is_kept, pairs.partner, match.UNMATCHED),
        probability=pairs.probability,
        is_uncertain=(pairs.partner >= 0) & ~is_kept,
        is_open=is_open,
        share_found=pairs.share_found,
        min_sigmas=change["min_sigmas"],
        min_volume_change=change["min_volume_change"],
    )
    return tracks, tuple(zones), pairs.error_mm


# --- response --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Response:
    regions: tuple[RegionResponse, ...]
    total: RegionResponse
    min_diameter_mm: float
    count_diameter_mm: float
    is_corrected: bool


# Marks on healthy lung, where the scan's own summary does not state them.
_FALSE_PER_LITRE, _FALSE_PER_LITRE_SD = 2.0, 2.0
_FALSE_VOLUME_MM3, _FALSE_VOLUME_MM3_SD = 3.0, 4.0
# Relative error that all volumes of one scan share, beyond what both scans share: its blur.
_COMMON_ERROR = 0.03


def _total_volume(burden: Burden) -> burden_ratio.TotalWithError:
    return burden_ratio.TotalWithError(burden.volume_mm3, burden.volume_mm3_err, burden.volume_mm3_own_err)


def _total_count(burden: Burden) -> burden_ratio.TotalWithError:
    return burden_ratio.TotalWithError(burden.count, burden.count_err, burden.count_own_err)


def _respond(
    sides: Sequence[_Side],
    common: CommonLung,
    gate: Comparability,
    dense: npt.NDArray[np.bool_],
    book: RuleBook,
) -> _Response:
    first, second = sides
    least = max(first.finding.min_diameter_mm, second.finding.min_diameter_mm)
    counted = max(first.finding.d90_mm or least, second.finding.d90_mm or least, least)
    samples = [_sample(side) for side in (first, second)]
    volumes_ml = (common.baseline_ml, common.followup_ml)

    is_corrected = first.finding.is_measured and second.finding.is_measured
    shared = book.row("shared_error")
    is_like = gate.verdict is ComparabilityVerdict.COMPARABLE
    correlation = shared["comparable"] if is_like else shared["after_correction"]

    def measure(parts: Sequence[int], *, side: str, zone: str | None, excluded: str = "") -> RegionResponse:
        burdens = [
            _measure_side(one, sample, ml, parts, (least, counted), has_totals=is_corrected and not is_like)
            for one, sample, ml in zip(sides, samples, volumes_ml, strict=True)
        ]
        before, after = burdens
        if gate.verdict is ComparabilityVerdict.NOT_COMPARABLE:
            nothing = Interval(None, reason="the scans are not comparable: " + "; ".join(gate.reasons))
            return RegionResponse(side, zone, before, after, nothing, nothing, excluded)
        return RegionResponse(
            side,
            zone,
            before,
            after,
            burden_ratio.estimate_ratio(*map(_total_volume, burdens), correlation=correlation),
            burden_ratio.estimate_ratio(*map(_total_count, burdens), correlation=correlation),
            excluded,
        )

    why = "new shadows on the follow-up"
    used = [number for number in range(len(PARTS)) if not dense[number]]
    regions = []
    for side in Side:
        own = [number for number in used if PARTS[number][0] is side]
        regions.append(measure(own, side=side.value, zone=None, excluded="" if own else why))
    regions += [
        measure([number], side=side.value, zone=zone.value, excluded=why if dense[number] else "")
        for number, (side, zone) in enumerate(PARTS)
    ]
    return _Response(
        tuple(regions),
        measure(used, side="both", zone=None, excluded="" if used else why),
        least,
        counted,
        is_corrected,
    )


def _measure_side(
    side: _Side,
    sample: burden_ratio.ComparedNodules,
    lung_ml: F64,
    parts: Sequence[int],
    diameters_mm: tuple[float, float],
    *,
    has_totals: bool,
) -> Burden:
    """What one scan shows in parts of the lung.

    Like scans are weighed nodule by nodule: what is wrong with both alike, as marks that are no nodules or
    the volume of what touches a vessel, cancels in the ratio, while each scan's own estimate of it would add
    its noise. Unlike scans are wrong in different ways and need the corrected totals of each.
    """
    own = sample.select(np.isin(sample.part, parts) & side.place.is_common)
    here_ml = float(lung_ml[list(parts)].sum())
    least, counted = diameters_mm
    if not has_totals:
        return burden_ratio.measure_burden(
            own,
            lung_ml=here_ml,
            min_diameter_mm=least,
            count_diameter_mm=counted,
            false_positives=_expect_false_marks(counted),
            common_err=_COMMON_ERROR,
        )
    return burden_ratio.share_burden(
        own,
        sample,
        volume_mm3=side.finding.total("total_volume_mm3", least),
        count=side.finding.total("count", counted),
        lung_ml=here_ml,
        lung_share=here_ml / max(float(lung_ml.sum()), 1e-6),
        min_diameter_mm=least,
        count_diameter_mm=counted,
    )


def _sample(side: _Side) -> burden_ratio.ComparedNodules:
    nodules = side.nodules
    return burden_ratio.ComparedNodules(
        volume_mm3=nodules["volume_mm3"],
        volume_mm3_err=np.nan_to_num(nodules["volume_mm3_err"]),
        diameter_mm=nodules["diameter_mm"],
        diameter_mm_err=np.nan_to_num(nodules["diameter_mm_err"]),
        # What a reader added stands for itself: what the program misses was not asked of the reader.
        completeness=np.where(nodules.is_reader_added, 1.0, side.finding.at(nodules["diameter_mm"])),
        completeness_err=side.finding.error_at(nodules["diameter_mm"]),
        part=side.place.part,
    )


def _expect_false_marks(count_diameter_mm: float) -> burden_ratio.FalsePositiveRate:
    share = float(np.clip(1.5 / max(count_diameter_mm, 0.1), 0.2, 1.0))
    return burden_ratio.FalsePositiveRate(
        _FALSE_PER_LITRE, _FALSE_PER_LITRE_SD, _FALSE_VOLUME_MM3, _FALSE_VOLUME_MM3_SD, share
    )


# --- lesion and warnings -----------------------------------------------------------------------------------


def _compare_lesions(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    transform: Transform,
    followup: Exam,
) -> LesionChange:
    """The dominant lesion of the baseline and the lesion that lies where it was."""
    if not first:
        return LesionChange(None, None, None, None, "no lesion of 8 mm or more was found at baseline")
    lesion = first[0]
    center, radius = _lesion_place(lesion)
    there = transform.apply(center[None])[0]
    baseline_mm = float(lesion["long_axis_mm"])
    near: Sequence[Mapping[str, Any]] = [other for other in second if _is_at(other, there, radius)]
    near = near or _look_again(followup, there, lesion)
    if near:
        return LesionChange(baseline_mm, float(near[0]["long_axis_mm"]), lesion, near[0])
    points = followup.nodules.position_lps_mm
    left = np.flatnonzero(np.linalg.norm(points - there, axis=1) <= radius)
    if len(left):
        size_mm = float(np.nanmax(followup.nodules["diameter_mm"][left]))
        return LesionChange(baseline_mm, size_mm, lesion, None, "below 8 mm: measured as a nodule")
    return LesionChange(baseline_mm, None, lesion, None, "nothing of 8 mm or more was found where it was")


def _is_at(lesion: Mapping[str, Any], point_lps_mm: F64, reach_mm: float) -> bool:
    center, radius = _lesion_place(lesion)
    return bool(np.linalg.norm(center - point_lps_mm) <= reach_mm + radius)


def _look_again(followup: Exam, there_lps_mm: F64, before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is dense where the lesion was, as long as it can be what is left of it."""
    psf = followup.summary["psf"]
    found = find_lesions(
        followup.scan,
        followup.lungs,
        psf=Psf(psf["sigma_xy_mm"], psf["sigma_z_mm"]),
        seeds_lps_mm=[there_lps_mm.tolist()],
    )
    radius = 0.5 * float(before["long_axis_mm"])
    # A vessel or the chest wall at that place would be long or far off.
    rows = [summarize_lesion(one) for one in found.lesions]
    return [
        row
        for row in rows
        if np.linalg.norm(_lesion_place(row)[0] - there_lps_mm) <= radius
        and row["long_axis_mm"] <= MOST_LESION_GROWTH * before["long_axis_mm"]
    ]


def _judge_recist(lesion: LesionChange, days: int | None) -> dict[str, Any]:
    before = {} if lesion.baseline_mm is None else {"dominant": lesion.baseline_mm}
    return rules.judge_targets(before, {"dominant": lesion.followup_mm}, days=days)


def _find_warnings(
    exams: Sequence[Exam], sides: Sequence[_Side], opacities: Sequence[Opacity], measured: _Response
) -> Iterator[ScanWarning]:
    if not measured.is_corrected:
        text = "what each scan misses was not measured: totals and counts are as reported, uncorrected"
        yield ScanWarning("uncorrected", text)
    for exam, side in zip(exams, sides, strict=True):
        if measured.is_corrected and side.finding.d90_mm is None:
            text = (
                f"{exam.name}: nine of ten nodules are found at no diameter; counts are made from "
                f"{measured.count_diameter_mm:.2g} mm on and rest on the correction"
            )
            yield ScanWarning("no_90_percent_diameter", text)
        if exam.summary["lungs"].get("is_cut_off"):
            yield ScanWarning("lung_cut_off", f"{exam.name}: a part of the lung was not scanned")
    if opacities:
        text = f"{len(opacities)} new shadows on the follow-up are for a reader to judge"
        yield ScanWarning("new_opacities", text)


def summarize_series(found: Sequence[Comparison]) -> dict[str, Any]:
    """What ``series.json`` holds: each follow-up against the baseline, and the nadir of the volume ratio.

    Parameters
    ----------
    found : sequence of Comparison
        In the order of time, all with one baseline.
    """
    points = []
    for place, one in enumerate(found):
        ratio = one.total.volume_ratio
        lowest = rules.find_nadir(other.total.volume_ratio.value for other in found[: place + 1])
        least = None if lowest is None else found[lowest].total.volume_ratio.value
        from_nadir = ratio.value / least if ratio.value is not None and least else None
        points.append(
            {
                "followup": one.followup.name,
                "days_between": one.days_between,
                "comparability": one.comparability.verdict.value,
                "volume_ratio": ratio.value,
                "volume_ratio_ci95": None if ratio.value is None else [ratio.low, ratio.high],
                "ratio_to_nadir": from_nadir,
                "category": one.category.value,
                "lesion_mm": one.lesion.followup_mm,
                "path": f"compare/{one.baseline.name}__{one.followup.name}",
            }
        )
    nadir = rules.find_nadir(one.total.volume_ratio.value for one in found)
    return {
        "origin": "simulated" if any(one.is_simulated for one in found) else "measured",
        "baseline": found[0].baseline.name,
        "nadir": None if nadir is None else found[nadir].followup.name,
        "time_points": points,
    }
