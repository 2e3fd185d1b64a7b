"""From a `CtResult` to the `ScanSummary` that is saved: what is counted and summed, and to how many digits.

Rounding happens here, so that a summary read back from its file equals the one that was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from miliary.model.completeness import (
    LEAST_DIAMETER_MM,
    SKIPPED_REASON,
    Completeness,
    Estimate,
    ExcessCheck,
    FalseMarks,
    Threshold,
)
from miliary.model.corrections import AppliedCorrections
from miliary.model.ct_result import COMMON_VOLUME_ERROR, CtResult, LungCheck, Noise, Psf, Stage
from miliary.model.extent import Extent, TrueSizes
from miliary.model.lesion import Lesion
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.pattern import CLASSES, REJECTED_AT, Evidence, Pattern
from miliary.model.saved.codec import from_json, plain
from miliary.model.saved.scan_summary import (
    AcquisitionSummary,
    BlurSummary,
    CalcifiedSummary,
    CompletenessSummary,
    CorrectedSummary,
    CorrectedTotal,
    CorrectionSummary,
    DefinitionVerdict,
    DetectionCurve,
    DetectionPoints,
    DiameterHistogram,
    DiameterSummary,
    ExcessSummary,
    ExtentSummary,
    FalsePositiveSummary,
    GeometrySummary,
    LesionSummary,
    LungSummary,
    NoduleSummary,
    NoiseSummary,
    OperatingPointSummary,
    PatternMeasure,
    PatternSummary,
    PointLps,
    RandomnessSummary,
    Range95,
    ScanSummary,
    SideSummary,
    SizeDistribution,
    TrueSizeSummary,
    UniformitySummary,
    ValidityCheckSummary,
    ValiditySummary,
)
from miliary.model.scan import Acquisition, Grid, Side, Zone
from miliary.model.validity import Validity
from miliary.model.vocabulary import Origin

W = TypeVar("W", bound=StrEnum)

HISTOGRAM_EDGES_MM = tuple(0.5 * i for i in range(17))

_FWHM_PER_SIGMA = 2.354820045
_NO_NODULES = "no nodules were reported"
_NOT_STATED = "not stated in the file"
_NO_CHOICE = "there was nothing to choose between"
_NO_NOISE = "the noise could not be measured"
_NO_CAVITY = "the lesion holds no cavity"


def summarize(result: CtResult) -> ScanSummary:
    """What `scan.json` holds of a result.

    Parameters
    ----------
    result : CtResult

    Returns
    -------
    ScanSummary
        Counts, sizes and volumes under `nodules` are the burden; calcified nodules are counted apart. What is
        not known is None with its reason. Holds no date, path or identity.
    """
    calcified = result.nodules["attenuation"] == Attenuation.CALCIFIED.value
    return ScanSummary(
        origin=find_origin(result),
        geometry=_summarize_geometry(result.grid),
        acquisition=_summarize_acquisition(result.acquisition),
        warnings=result.warnings,
        validity=summarize_validity(result.validity) if result.validity.checks else None,
        lungs=LungSummary(
            right_ml=_round(result.right_ml),
            left_ml=_round(result.left_ml),
            total_ml=_round(result.right_ml + result.left_ml),
            opaque_ml=None if result.opaque is None else _round(result.opaque.total_ml),
            opaque_right_ml=None if result.opaque is None else _round(result.opaque.right_ml),
            opaque_left_ml=None if result.opaque is None else _round(result.opaque.left_ml),
            is_cut_off=result.lungs.is_cut_off,
            source=result.lungs.source,
            checks=tuple(
                LungCheck(check.name, check.is_met, _round(check.value)) for check in result.lungs.checks
            ),
        ),
        noise=_summarize_noise(result.noise),
        psf=_summarize_blur(result.psf),
        nodules=_summarize_nodules(result),
        calcified=CalcifiedSummary(
            count=int(np.count_nonzero(calcified)),
            total_volume_mm3=_round(np.nansum(result.nodules["volume_mm3"][calcified])),
        ),
        corrected=_explain_corrected(
            summarize_corrected(result.completeness, doubt=result.validity.doubt), result.burden
        ),
        completeness=summarize_completeness(result.completeness),
        pattern=summarize_pattern(result.pattern),
        lesions=tuple(summarize_lesion(lesion) for lesion in result.lesions),
        extent=summarize_extent(result.extent),
        true_sizes=summarize_true_sizes(result.true_sizes),
        definitions=tuple(
            from_json(DefinitionVerdict, plain(row), name="a definition").value for row in result.definitions
        ),
        operating_point=OperatingPointSummary(
            threshold=_round(result.threshold),
            default=_round(result.operating_point.default),
            expected_false=None
            if result.operating_point.expected_false is None
            else _round(result.operating_point.expected_false),
            n_candidates=result.n_candidates,
            reference_hu=_round(result.reference_hu),
        ),
        corrections=None if result.corrections is None else _summarize_corrections(result.corrections),
        provenance=plain(result.provenance),
        stages=tuple(round_stage(stage) for stage in result.stages),
    )


def find_origin(result: CtResult) -> Origin:
    """Simulated stays simulated whoever looked at it; what a reader changed is no longer measured alone."""
    if result.acquisition.source_format == "simulated":
        return Origin.SIMULATED
    changes = result.corrections
    is_changed = changes is not None and (changes.n_rejected or changes.n_added or changes.n_lesions)
    return Origin.CORRECTED if is_changed else Origin.MEASURED


def round_digits(value: float, digits: int = 6) -> float:
    """A number with this many significant digits."""
    return float(f"{float(value):.{digits}g}")


def round_stage(stage: Stage) -> Stage:
    """A stage with its time in whole milliseconds."""
    return replace(stage, seconds=round(stage.seconds, 3))


def _round(value: float) -> float:
    return round_digits(value)


def _known(value: float | None) -> float | None:
    """A rounded number; None where there is none."""
    return None if value is None or not np.isfinite(value) else _round(value)


def _why(reason: str, **values: Any) -> dict[str, str]:
    """One reason for every value that is None."""
    return {name: reason for name, value in values.items() if value is None}


# --- the scan ----------------------------------------------------------------------------------------------


def _summarize_geometry(grid: Grid) -> GeometrySummary:
    return GeometrySummary(**vars(grid), voxel_volume_mm3=_round(grid.voxel_volume_mm3))


def _summarize_acquisition(acquisition: Acquisition) -> AcquisitionSummary:
    facts = asdict(acquisition)
    reasons = _why(_NOT_STATED, **facts)
    if acquisition.series_choice is None:
        reasons["series_choice"] = _NO_CHOICE
    return AcquisitionSummary(**facts, missing_reasons=reasons)


def _summarize_noise(noise: Noise) -> NoiseSummary:
    values = {"sd_hu": _known(noise.sd_hu), "correlation_mm": _known(noise.correlation_mm)}
    return NoiseSummary(**values, missing_reasons=_why(_NO_NOISE, **values))


def _summarize_blur(psf: Psf) -> BlurSummary:
    return BlurSummary(
        sigma_xy_mm=_round(psf.sigma_xy_mm),
        sigma_z_mm=_round(psf.sigma_z_mm),
        fwhm_xy_mm=_round(psf.sigma_xy_mm * _FWHM_PER_SIGMA),
        fwhm_z_mm=_round(psf.sigma_z_mm * _FWHM_PER_SIGMA),
        source=psf.source,
    )


def summarize_validity(validity: Validity) -> ValiditySummary:
    """`validity` of ``scan.json``."""
    return ValiditySummary(
        verdict=validity.verdict,
        reasons=validity.reasons,
        checks=tuple(
            ValidityCheckSummary(
                criterion=check.criterion,
                verdict=check.verdict,
                value=_known(check.value),
                unit=check.unit,
                least=check.least,
                most=check.most,
                reason=check.reason,
                basis=check.basis,
                missing_reasons=_why(check.reason, value=check.value),
            )
            for check in validity.checks
        ),
    )


def _summarize_corrections(applied: AppliedCorrections) -> CorrectionSummary:
    """Neither initials nor times."""
    return CorrectionSummary(origin=Origin.CORRECTED, **vars(applied))


# --- the nodules -------------------------------------------------------------------------------------------


def _summarize_nodules(result: CtResult) -> NoduleSummary:
    burden = result.burden
    counts = _count(burden, result.lung_litres)
    return NoduleSummary(
        **vars(counts) | {"by_zone": _count_words(burden["zone"], Zone)},
        total_excess_mass_mg=_round(np.nansum(burden["excess_mass_mg"])),
        by_attenuation=_count_words(
            burden["attenuation"], (a for a in Attenuation if a is not Attenuation.CALCIFIED)
        ),
        by_side=dict(_summarize_sides(result)),
        diameter_mm=_summarize_diameters(burden["diameter_mm"]),
    )


def _count_words(values: npt.NDArray[Any], words: Iterable[W]) -> dict[W, int]:
    return {word: int(np.count_nonzero(values == word.value)) for word in words}


def _count(nodules: Nodules, litres: float) -> SideSummary:
    """Count, density per litre of lung and total volume with its error, common part included."""
    total = np.nansum(nodules["volume_mm3"])
    independent = np.sqrt(np.nansum(np.square(nodules["volume_mm3_err"])))
    density = _round(len(nodules) / litres) if litres > 0 else None
    return SideSummary(
        count=len(nodules),
        count_per_litre=density,
        total_volume_mm3=_round(total),
        total_volume_mm3_err=_round(np.hypot(independent, COMMON_VOLUME_ERROR * total)),
        by_zone=_count_words(nodules["zone"], Zone),
        missing_reasons=_why("this lung has no volume in the scan", count_per_litre=density),
    )


def _summarize_sides(result: CtResult) -> Iterator[tuple[Side, SideSummary]]:
    burden = result.burden
    for side, volume_ml in ((Side.RIGHT, result.right_ml), (Side.LEFT, result.left_ml)):
        yield side, _count(burden.select(burden["side"] == side.value), volume_ml / 1000.0)


def _summarize_diameters(diameter_mm: npt.NDArray[np.float64]) -> DiameterSummary:
    """Distribution of diameters; those that could not be measured are left out of it."""
    sizes = diameter_mm[np.isfinite(diameter_mm)]
    n = len(sizes)
    mean = float(sizes.mean()) if n else None
    sd = float(sizes.std(ddof=1)) if n > 1 else None
    p10, median, p90 = np.percentile(sizes, [10, 50, 90]) if n else (None, None, None)
    cv = sd / mean if sd is not None and mean else None
    few = _NO_NODULES if n == 0 else "one nodule has no spread"
    center = {"mean": _known(mean), "median": _known(median), "p10": _known(p10), "p90": _known(p90)}
    scatter = {"sd": _known(sd), "cv": _known(cv)}
    counts, _ = np.histogram(sizes, bins=[*HISTOGRAM_EDGES_MM, np.inf])
    return DiameterSummary(
        n=n,
        **center,
        **scatter,
        histogram=DiameterHistogram(
            HISTOGRAM_EDGES_MM, tuple(int(count) for count in counts[:-1]), int(counts[-1])
        ),
        missing_reasons=_why(_NO_NODULES, **center) | _why(few, **scatter),
    )


# --- completeness ------------------------------------------------------------------------------------------


def _round5(value: float) -> float:
    return round_digits(value, 5)


def _round5_all(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(_round5(value) for value in values)


def _limits(estimate: Estimate) -> Range95:
    return _round5(estimate.low), _round5(estimate.high)


def summarize_corrected(completeness: Completeness | None, *, doubt: str = "") -> CorrectedSummary:
    """`corrected` of ``scan.json``: None with a reason where nothing could be corrected.

    Parameters
    ----------
    completeness : Completeness or None
        None where it was not measured.
    doubt : str
        Why the marks of the scan cannot be counted at all; empty where they can.

    Returns
    -------
    CorrectedSummary
    """
    reason = doubt or (SKIPPED_REASON if completeness is None else completeness.reason)
    excess, excess_reason = _summarize_excess(completeness, reason)
    if completeness is None or not completeness.at_least:
        least = None if completeness is None else completeness.min_diameter_mm
        names = ("count", "count_ci95", "total_volume_mm3", "total_volume_mm3_ci95")
        empty = dict.fromkeys((*names, "count_at_least_1_mm", "size_distribution", "false_marks"), reason)
        return CorrectedSummary(
            min_diameter_mm=None if least is None else _round5(least),
            excess_check=excess,
            missing_reasons=_why(reason, min_diameter_mm=least) | empty | excess_reason,
        )
    rows = tuple(_summarize_threshold(threshold) for threshold in completeness.at_least)
    here = completeness.above(LEAST_DIAMETER_MM)
    sizes, false_positives = _summarize_sizes(completeness), _summarize_false(completeness.false_marks)
    from_one = (
        f"not measurable: of nodules of {LEAST_DIAMETER_MM:g} mm fewer than half are found on this scan "
        f"(half are found at {completeness.diameter_50_mm:.2f} mm)"
    )
    return CorrectedSummary(
        min_diameter_mm=rows[0].diameter_mm,
        count=rows[0].count,
        count_ci95=rows[0].count_ci95,
        total_volume_mm3=rows[0].total_volume_mm3,
        total_volume_mm3_ci95=rows[0].total_volume_mm3_ci95,
        count_at_least_1_mm=None if here is None else _round5(here.count.value),
        at_least=rows,
        size_distribution=sizes,
        false_marks=false_positives,
        excess_check=excess,
        missing_reasons=_why(from_one, count_at_least_1_mm=here)
        | _why("not estimated", size_distribution=sizes, false_marks=false_positives)
        | excess_reason,
    )


def _explain_corrected(corrected: CorrectedSummary, burden: Nodules) -> CorrectedSummary:
    """The same with the marks of that size, and why there may be more of them than corrected nodules."""
    least, count = corrected.min_diameter_mm, corrected.count
    if least is None or count is None:
        return corrected
    found = int(np.count_nonzero(burden["diameter_mm"] >= least))
    if count >= found:
        return replace(corrected, found_count=found)
    marks = corrected.false_marks
    if marks is None or marks.expected is None or marks.expected_ci95 is None:
        taken = "marks that are expected to be false were taken off"
    else:
        low, high = marks.expected_ci95
        taken = f"an estimated {marks.expected:.0f} ({low:.0f} to {high:.0f}) false marks were taken off"
    text = (
        f"fewer than the {found} marks of at least {least:.2f} mm: {taken}, and sizes were corrected for "
        "their scatter, before what is missed was added"
    )
    return replace(corrected, found_count=found, explanation=text)


def _summarize_threshold(threshold: Threshold) -> CorrectedTotal:
    count, volume = threshold.count, threshold.total_volume_mm3
    return CorrectedTotal(
        diameter_mm=_round5(threshold.diameter_mm),
        count=_round5(count.value),
        count_ci95=_limits(count),
        total_volume_mm3=_round5(volume.value),
        total_volume_mm3_ci95=_limits(volume),
    )


def _summarize_sizes(completeness: Completeness) -> SizeDistribution | None:
    if completeness.edges_mm is None or completeness.counts is None:
        return None
    return SizeDistribution(_round5_all(completeness.edges_mm), _round5_all(completeness.counts))


def _summarize_false(marks: FalseMarks | None) -> FalsePositiveSummary | None:
    if marks is None:
        return None
    by_table = None if marks.by_table is None else _round5(marks.by_table)
    return FalsePositiveSummary(
        source=marks.source,
        expected=_round5(marks.expected.value),
        expected_ci95=_limits(marks.expected),
        per_litre=_round5(marks.per_litre),
        by_probabilities=_round5(marks.by_probabilities),
        by_table=by_table,
        missing_reasons=_why("the table holds no scan like this one", by_table=by_table),
    )


def _summarize_excess(
    completeness: Completeness | None, reason: str
) -> tuple[ExcessSummary | None, dict[str, str]]:
    excess: ExcessCheck | None = None if completeness is None else completeness.excess
    if excess is None:
        return None, {"excess_check": reason or "not estimated"}
    total = excess.total_volume_mm3
    return ExcessSummary(_round5(total.value), _limits(total), excess.agrees), {}


def summarize_completeness(completeness: Completeness | None) -> CompletenessSummary:
    """`completeness` of ``scan.json``."""
    if completeness is None:
        names = ("diameter_50_mm", "diameter_90_mm", "n_injected", "n_found", "place_factor")
        return CompletenessSummary(missing_reasons=dict.fromkeys((*names, "curve", "points"), SKIPPED_REASON))
    d50, d90, factor = (
        None if value is None else _round5(value)
        for value in (completeness.diameter_50_mm, completeness.diameter_90_mm, completeness.place_factor)
    )
    never = "not reached by nodules of any diameter that was tried"
    return CompletenessSummary(
        diameter_50_mm=d50,
        diameter_90_mm=d90,
        n_injected=completeness.n_injected,
        n_found=completeness.n_found,
        place_factor=factor,
        curve=DetectionCurve(
            diameter_mm=_round5_all(completeness.curve_mm),
            probability=_round5_all(completeness.curve),
            ci95_low=_round5_all(completeness.curve_low),
            ci95_high=_round5_all(completeness.curve_high),
            size_bias=_round5_all(completeness.size_bias),
            size_scatter=_round5_all(completeness.size_scatter),
        ),
        points=DetectionPoints(
            diameter_mm=_round5_all(completeness.points_mm),
            share_found=_round5_all(completeness.points),
            n_injected=tuple(int(v) for v in completeness.points_n),
        ),
        missing_reasons=_why(never, diameter_50_mm=d50, diameter_90_mm=d90)
        | _why(completeness.reason or "not estimated", place_factor=factor),
    )


# --- pattern, lesions, extent ------------------------------------------------------------------------------


def _round4(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round_digits(value, 4)


def summarize_pattern(pattern: Pattern | None) -> PatternSummary:
    """`pattern` of ``scan.json``; its label is None where no pattern was sought."""
    if pattern is None:
        return PatternSummary(missing_reasons={"label": "the pattern was not assessed"})
    size, chances = pattern.size, pattern.probabilities
    p_value = _round4(pattern.randomness_p)
    spreads = {
        "cv": _round4(size.cv),
        "cv_err": _round4(size.cv_err),
        "cv_measured": _round4(size.cv_measured),
    }
    untested = (
        {} if pattern.randomness_p is not None else dict.fromkeys(("p_value", "is_rejected"), _UNTESTED)
    )
    return PatternSummary(
        label=pattern.label,
        reason=pattern.reason,
        probabilities={c: _round4(chances[c]) if chances else None for c in CLASSES},
        n_nodules=pattern.n_nodules,
        n_used=pattern.n_used,
        randomness=RandomnessSummary(
            p_value=p_value,
            is_rejected=pattern.is_random_rejected,
            level=REJECTED_AT,
            n_placements=pattern.n_placements,
            missing_reasons=untested,
        ),
        evidence=tuple(_summarize_measure(item) for item in pattern.evidence),
        gradients=tuple(_summarize_measure(item) for item in pattern.gradients),
        size_uniformity=UniformitySummary(
            **spreads, missing_reasons=_why(size.reason, **spreads) if size.cv is None else {}
        ),
        fissures=pattern.fissures,
        completeness=pattern.completeness,
        seed=pattern.seed,
        missing_reasons={} if chances else {"probabilities": pattern.reason},
    )


_UNTESTED = "too few nodules to test"


def _summarize_measure(item: Evidence) -> PatternMeasure:
    return PatternMeasure(
        name=item.name,
        meaning=item.meaning,
        unit=item.unit,
        value=_round4(item.value),
        expected=_round4(item.expected),
        ratio=_round4(item.ratio),
        ratio_ci95=(_round4(item.ratio_low), _round4(item.ratio_high)),
        p_value=_round4(item.p_value),
    )


def summarize_lesion(lesion: Lesion) -> LesionSummary:
    """What `scan.json` holds of one lesion."""
    wall = lesion.wall
    reasons = {} if lesion.lobe else {"lobe": lesion.lobe_reason}
    return LesionSummary(
        id=lesion.id,
        origin=lesion.origin,
        long_axis_mm=round(lesion.long_axis_mm, 2),
        long_axis_ends_lps_mm=_round_points(lesion.long_axis_ends_lps_mm),
        short_axis_mm=round(lesion.short_axis_mm, 2),
        short_axis_ends_lps_mm=_round_points(lesion.short_axis_ends_lps_mm),
        volume_mm3=round(lesion.volume_mm3, 1),
        density_hu=round(lesion.density_hu, 1),
        centroid_lps_mm=_round_point(lesion.centroid_lps_mm),
        side=lesion.side,
        zone=lesion.zone,
        lobe=lesion.lobe,
        lobe_confidence=round(lesion.lobe_confidence, 3),
        is_attached_to=lesion.attachment,
        is_cavitary=lesion.is_cavitary,
        attenuation=lesion.attenuation,
        solid_axis_mm=round(lesion.solid_axis_mm, 2),
        cavity_volume_mm3=None if wall is None else round(wall.cavity_volume_mm3, 1),
        wall_thickness_mm=None if wall is None else round(wall.mean_mm, 2),
        wall_thickness_min_mm=None if wall is None else round(wall.min_mm, 2),
        wall_thickness_max_mm=None if wall is None else round(wall.max_mm, 2),
        missing_reasons=reasons | _why(_NO_CAVITY, wall_thickness_mm=wall),
    )


def _round_points(points: tuple[PointLps, PointLps]) -> tuple[PointLps, PointLps]:
    return _round_point(points[0]), _round_point(points[1])


def _round_point(point: PointLps) -> PointLps:
    x, y, z = (round(value, 2) for value in point)
    return x, y, z


def summarize_extent(extent: Extent | None) -> ExtentSummary:
    """`extent` of ``scan.json``."""
    if extent is None:
        return ExtentSummary(n_cells=0.0, missing_reasons=_no_share("the extent was not measured"))
    is_known = extent.lung_fraction_involved is not None and extent.ci95 is not None
    return ExtentSummary(
        lung_fraction_involved=round(extent.lung_fraction_involved, 4)
        if is_known and extent.lung_fraction_involved is not None
        else None,
        lung_fraction_involved_ci95=(round(extent.ci95[0], 4), round(extent.ci95[1], 4))
        if is_known and extent.ci95 is not None
        else None,
        cell_mm=extent.cell_mm,
        n_cells=round(extent.n_cells, 1),
        false_per_litre=round(extent.false_per_litre, 4),
        by_third=dict(extent.counts),
        missing_reasons={} if is_known else _no_share(extent.reason or "the scan shows no lung"),
    )


def _no_share(reason: str) -> Mapping[str, str]:
    return dict.fromkeys(("lung_fraction_involved", "lung_fraction_involved_ci95"), reason)


def summarize_true_sizes(sizes: TrueSizes | None) -> TrueSizeSummary:
    """`true_sizes` of ``scan.json``."""
    if sizes is None or sizes.p90_mm is None or sizes.p90_ci95_mm is None or sizes.median_mm is None:
        reason = sizes.reason if sizes is not None else "the sizes were not looked at"
        names = ("median_mm", "p90_mm", "p90_ci95_mm")
        return TrueSizeSummary(
            n=0 if sizes is None else sizes.n, missing_reasons=dict.fromkeys(names, reason)
        )
    low, high = sizes.p90_ci95_mm
    return TrueSizeSummary(
        n=sizes.n,
        median_mm=round(sizes.median_mm, 3),
        p90_mm=round(sizes.p90_mm, 3),
        p90_ci95_mm=(round(low, 3), round(high, 3)),
    )
