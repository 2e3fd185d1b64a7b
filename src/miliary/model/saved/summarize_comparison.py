"""From a `Comparison` to the `ComparisonSummary` and `SeriesSummary` that are saved.

Rounding happens here, so that a summary read back from its file equals the one that was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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
    SmallestChange,
    UnseenNodules,
    ZoneMatching,
)
from miliary.model.nodules import Fate
from miliary.model.saved.codec import plain
from miliary.model.saved.comparison_summary import (
    BurdenSummary,
    ComparabilitySummary,
    ComparedScanSummary,
    ComparisonSummary,
    LesionChangeSummary,
    MatchingSummary,
    OpacitySummary,
    RegionSummary,
    RegistrationSummary,
    ResponseSummary,
    SeriesSummary,
    SmallestChangeSummary,
    TimePointSummary,
    UnseenSummary,
    ZoneMatchingSummary,
)
from miliary.model.saved.scan_summary import LesionSummary, Range95
from miliary.model.saved.summarize_scan import round_digits, round_stage
from miliary.model.scan import Side, Zone
from miliary.model.vocabulary import Origin

_NOT_ON_BOTH = "the lesion is not measured on both scans"
_NO_CAVITY = "the lesion does not hold a cavity on both scans"


def summarize_comparison(found: Comparison) -> ComparisonSummary:
    """What `response.json` holds of a comparison.

    Parameters
    ----------
    found : Comparison

    Returns
    -------
    ComparisonSummary
        What is not known is None with its reason. Holds no date, path or identity.
    """
    error_mm = _known(found.match_error_mm)
    registration = {name: _whole_or_rounded(value) for name, value in found.registration.items()}
    return ComparisonSummary(
        origin=find_comparison_origin(found),
        baseline=_summarize_exam(found.baseline),
        followup=_summarize_exam(found.followup),
        days_between=found.days_between,
        comparability=_summarize_gate(found.comparability),
        response=_summarize_response(found),
        lesion=_summarize_lesion(found.lesion),
        recist=found.recist,
        tracks={} if found.doubt else {fate: found.tracks.count(fate) for fate in Fate},
        no_longer_seen=None if found.unseen is None else _summarize_unseen(found.unseen),
        smallest_changes=tuple(_summarize_change(change) for change in found.smallest_changes),
        matching=MatchingSummary(
            error_mm=error_mm,
            by_zone=tuple(_summarize_matching(zone) for zone in found.matching),
            missing_reasons=_why("no nodule was matched", error_mm=error_mm),
        ),
        new_opacities=tuple(_summarize_opacity(opacity) for opacity in found.opacities),
        registration=RegistrationSummary(
            **registration, missing_reasons=_why("not measured", **registration)
        ),
        warnings=found.warnings,
        provenance=plain(found.provenance),
        stages=tuple(round_stage(stage) for stage in found.stages),
        missing_reasons=_why("the dates are not known; give --days", days_between=found.days_between)
        | ({"tracks": found.doubt} if found.doubt else {}),
    )


def find_comparison_origin(found: Comparison) -> Origin:
    """Simulated where either scan is; else corrected where a reader changed either."""
    origins = {found.baseline.summary.origin, found.followup.summary.origin}
    if Origin.SIMULATED in origins:
        return Origin.SIMULATED
    return Origin.CORRECTED if Origin.CORRECTED in origins else Origin.MEASURED


def _round(value: float) -> float:
    return round_digits(value)


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else _round(value)


def _whole_or_rounded(value: float | None) -> Any:
    """A rounded number; a whole one stays as it is."""
    found: object = value
    return found if isinstance(found, int) else _known(value)


def _why(reason: str, **values: Any) -> dict[str, str]:
    """One reason for every value that is None."""
    return {name: reason for name, value in values.items() if value is None}


def _summarize_exam(exam: Exam) -> ComparedScanSummary:
    summary = exam.summary
    acquisition = summary.acquisition
    thickness, kernel = _known(acquisition.slice_thickness_mm), acquisition.kernel or None
    series, density = acquisition.series_choice or None, _known(summary.nodules.count_per_litre)
    return ComparedScanSummary(
        label=exam.name,
        origin=summary.origin or Origin.MEASURED,
        corrections_applied_through=None
        if summary.corrections is None
        else summary.corrections.applied_through,
        nodule_count=summary.nodules.count,
        count_per_litre=density,
        lung_ml=summary.lungs.total_ml,
        slice_thickness_mm=thickness,
        kernel=kernel,
        series=series,
        missing_reasons=_why("the lung has no volume", count_per_litre=density)
        | _why("not stated in the file", slice_thickness_mm=thickness, kernel=kernel)
        | _why("there was nothing to choose", series=series),
    )


def _summarize_gate(gate: Comparability) -> ComparabilitySummary:
    facts = {name: _whole_or_rounded(value) for name, value in gate.facts.items()}
    return ComparabilitySummary(
        verdict=gate.verdict,
        reasons=gate.reasons,
        **facts,
        edition=gate.edition,
        missing_reasons=_why("not measured on both scans", **facts),
    )


def _summarize_ratios(region: RegionResponse) -> tuple[dict[str, Any], dict[str, str]]:
    """Both ratios of a region with their intervals, and why they are None."""
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, ratio in (("volume_ratio", region.volume_ratio), ("count_ratio", region.count_ratio)):
        limits = _limits(ratio)
        found = {name: None if limits is None else _known(ratio.value), f"{name}_ci95": limits}
        values |= found
        reasons |= _why(ratio.reason, **found)
    return values, reasons


def _limits(ratio: Interval) -> Range95 | None:
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return None
    return _round(ratio.low), _round(ratio.high)


def _summarize_burden(burden: Burden) -> BurdenSummary:
    litres = burden.lung_ml / 1000.0
    values = {
        name: _known(getattr(burden, name)) for name in ("volume_mm3", "volume_mm3_err", "count", "count_err")
    }
    density = _known(burden.count / litres) if litres > 0 else None
    return BurdenSummary(
        n_reported=burden.n_reported,
        **values,
        lung_ml=_round(burden.lung_ml),
        count_per_litre=density,
        missing_reasons=_why(burden.reason, **values)
        | _why(burden.reason or "no lung here", count_per_litre=density),
    )


def _summarize_region(region: RegionResponse) -> RegionSummary:
    ratios, reasons = _summarize_ratios(region)
    return RegionSummary(
        side=region.side,
        zone=None if region.zone is None else Zone(region.zone),
        **ratios,
        baseline=_summarize_burden(region.baseline),
        followup=_summarize_burden(region.followup),
        is_excluded=bool(region.excluded),
        excluded_because=region.excluded,
        missing_reasons=reasons,
    )


def _summarize_response(found: Comparison) -> ResponseSummary:
    ratios, reasons = _summarize_ratios(found.total)
    return ResponseSummary(
        **ratios,
        category=found.category,
        category_reason=found.category_reason,
        category_kind="exploratory: by volume, not RECIST",
        ratio_basis=_name_basis(found),
        is_corrected=found.is_corrected,
        min_diameter_mm=_round(found.min_diameter_mm),
        count_diameter_mm=_round(found.count_diameter_mm),
        baseline=_summarize_burden(found.total.baseline),
        followup=_summarize_burden(found.total.followup),
        by_side=tuple(_summarize_region(r) for r in found.regions if r.zone is None),
        by_zone=tuple(_summarize_region(r) for r in found.regions if r.zone is not None),
        missing_reasons=reasons,
    )


def _name_basis(found: Comparison) -> str:
    """What the ratios were made from, since they need not be the quotient of the totals beside them."""
    if found.total.volume_ratio.value is None:
        return ""
    if found.is_corrected and found.comparability.verdict is ComparabilityVerdict.COMPARABLE:
        return (
            "nodule by nodule: the scans were made alike, so that what is wrong with both cancels; the "
            "totals beside the ratios are each scan's own, and their quotient is less certain"
        )
    return "the totals of each scan, beside the ratios"


def _summarize_lesion(lesion: LesionChange) -> LesionChangeSummary:
    before, after = lesion.baseline, lesion.followup
    volume = _difference(before, after, "volume_mm3")
    at_first = None if before is None else before.volume_mm3
    values: Mapping[str, float | None] = {
        "baseline_mm": _known(lesion.baseline_mm),
        "followup_mm": _known(lesion.followup_mm),
        "change_mm": _known(_difference(before, after, "long_axis_mm")),
        "volume_change_fraction": _known(volume / at_first if volume is not None and at_first else None),
        "wall_change_mm": _known(_difference(before, after, "wall_thickness_mm")),
    }
    reasons = {
        "baseline_mm": lesion.reason or "no lesion of 8 mm or more was found",
        "followup_mm": lesion.reason or "the lesion was not found again",
        "change_mm": lesion.reason or _NOT_ON_BOTH,
        "volume_change_fraction": _NOT_ON_BOTH,
        "wall_change_mm": _NO_CAVITY,
        "baseline": lesion.reason or "no lesion was found",
        "followup": lesion.reason or "no lesion was found",
    }
    known: dict[str, float | LesionSummary | None] = {**values, "baseline": before, "followup": after}
    return LesionChangeSummary(
        **values,
        baseline=before,
        followup=after,
        missing_reasons={name: reason for name, reason in reasons.items() if known[name] is None},
    )


def _difference(before: LesionSummary | None, after: LesionSummary | None, name: str) -> float | None:
    """Follow-up less baseline of one of the lesion's numbers."""
    first, second = getattr(before, name, None), getattr(after, name, None)
    return None if first is None or second is None else float(second - first)


def _summarize_change(change: SmallestChange) -> SmallestChangeSummary:
    growth = _known(change.growth)
    return SmallestChangeSummary(
        diameter_mm=change.diameter_mm,
        growth=growth,
        shrinkage=_known(change.shrinkage),
        missing_reasons=_why("the errors are as large as the volume", growth=growth),
    )


def _summarize_unseen(unseen: UnseenNodules) -> UnseenSummary:
    remain = _known(unseen.remain)
    limits = None if unseen.low is None or unseen.high is None else (_round(unseen.low), _round(unseen.high))
    return UnseenSummary(
        count=unseen.n,
        may_remain=remain,
        may_remain_ci95=limits,
        missing_reasons=_why(unseen.reason, may_remain=remain, may_remain_ci95=limits),
    )


def _summarize_matching(zone: ZoneMatching) -> ZoneMatchingSummary:
    return ZoneMatchingSummary(
        side=Side(zone.side),
        zone=Zone(zone.zone),
        n_baseline=zone.n_baseline,
        n_followup=zone.n_followup,
        n_matched=zone.n_matched,
        expected_false_share=_round(zone.expected_false_share),
        identities="given" if zone.is_given else "refused",
    )


def _summarize_opacity(opacity: Opacity) -> OpacitySummary:
    x, y, z = (round(value, 1) for value in opacity.center_lps_mm)
    return OpacitySummary(
        kind=opacity.kind,
        volume_ml=_round(opacity.volume_ml),
        rise_hu=_round(opacity.rise_hu),
        center_lps_mm=(x, y, z),
        side=Side(opacity.side),
        zone=Zone(opacity.zone),
        message="new on the follow-up: for a reader (pneumonitis, infection, edema, other)",
    )


# --- several follow-ups ------------------------------------------------------------------------------------


def summarize_series(found: Sequence[Comparison]) -> SeriesSummary:
    """What ``series.json`` holds: each follow-up against the baseline, and the nadir of the volume ratio.

    Parameters
    ----------
    found : sequence of Comparison
        In the order of time, all with one baseline; at least one.

    Returns
    -------
    SeriesSummary
        `nadir` is the follow-up with the smallest volume ratio, None where no ratio is known.
    """
    points = [_summarize_time_point(one) for one in found]
    is_simulated = any(find_comparison_origin(one) is Origin.SIMULATED for one in found)
    return _join_series(points, baseline=found[0].baseline.name, is_simulated=is_simulated)


def summarize_saved_series(found: Sequence[tuple[str, ComparisonSummary]]) -> SeriesSummary:
    """The same from comparisons as they were saved, to the six digits that their files hold.

    Parameters
    ----------
    found : sequence of (path, ComparisonSummary)
        Path of each comparison as the series names it, and the content of its ``response.json``, in the
        order of time; at least one.

    Returns
    -------
    SeriesSummary
    """
    points = [
        TimePointSummary(
            followup=one.followup.label or "",
            days_between=one.days_between,
            comparability=one.comparability.verdict,
            volume_ratio=one.response.volume_ratio,
            volume_ratio_ci95=one.response.volume_ratio_ci95,
            category=one.response.category,
            lesion_mm=one.lesion.followup_mm,
            path=path,
        )
        for path, one in found
    ]
    is_simulated = any(one.origin is Origin.SIMULATED for _, one in found)
    return _join_series(points, baseline=found[0][1].baseline.label or "", is_simulated=is_simulated)


def _summarize_time_point(one: Comparison) -> TimePointSummary:
    ratio = one.total.volume_ratio
    is_known = ratio.value is not None and ratio.low is not None and ratio.high is not None
    return TimePointSummary(
        followup=one.followup.name,
        days_between=one.days_between,
        comparability=one.comparability.verdict,
        volume_ratio=ratio.value,
        volume_ratio_ci95=(float(ratio.low or 0.0), float(ratio.high or 0.0)) if is_known else None,
        category=one.category,
        lesion_mm=one.lesion.followup_mm,
        path=f"compare/{one.baseline.name}__{one.followup.name}",
    )


def _join_series(points: Sequence[TimePointSummary], *, baseline: str, is_simulated: bool) -> SeriesSummary:
    """A series of time points, each with its ratio to the smallest burden up to it."""
    ratios = [point.volume_ratio for point in points]
    joined = []
    for number, point in enumerate(points):
        lowest = find_nadir(ratios[: number + 1])
        least = None if lowest is None else ratios[lowest]
        ratio = point.volume_ratio
        to_nadir = ratio / least if ratio is not None and least else None
        joined.append(replace(point, ratio_to_nadir=to_nadir))
    nadir = find_nadir(ratios)
    return SeriesSummary(
        origin=Origin.SIMULATED if is_simulated else Origin.MEASURED,
        baseline=baseline,
        nadir=None if nadir is None else points[nadir].followup,
        time_points=tuple(joined),
    )


def find_nadir(ratios: Iterable[float | None]) -> int | None:
    """The scan with the smallest burden.

    Parameters
    ----------
    ratios : iterable of float or None
        Burden of each scan over that of the baseline; None where it is not known.

    Returns
    -------
    int or None
        Position of the smallest known ratio, the first of equals; None where no ratio is known.
    """
    known = [(ratio, place) for place, ratio in enumerate(ratios) if ratio is not None]
    return min(known)[1] if known else None
