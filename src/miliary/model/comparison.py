"""`Comparison`: two scans of one patient beside each other, as `miliary compare` writes it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.model.ct_result import Lungs, Stage
from miliary.model.figure import Figure
from miliary.model.nodules import Fate, Nodules, Tracks
from miliary.model.scan import Grid, Scan, ScanWarning
from miliary.model.transform import Transform

FloatArray = npt.NDArray[np.float64]

SCHEMA_VERSION = "1.0"
COMPARISON_KIND = "miliary.compare"
SERIES_KIND = "miliary.series"

_NOT_ON_BOTH = "the lesion is not measured on both scans"
_NO_CAVITY = "the lesion does not hold a cavity on both scans"


class ComparabilityVerdict(enum.StrEnum):
    """Whether two scans may be compared."""

    COMPARABLE = "comparable"
    AFTER_CORRECTION = "comparable_after_correction"
    NOT_COMPARABLE = "not_comparable"


class Category(enum.StrEnum):
    """Exploratory category of a change in total nodule volume; not RECIST."""

    DECREASED = "decreased"
    STABLE = "stable"
    INCREASED = "increased"
    INDETERMINATE = "indeterminate"


class OpacityKind(enum.StrEnum):
    """What a new shadow looks like; a reader has to say what it is."""

    GROUND_GLASS = "ground_glass"
    CONSOLIDATION = "consolidation"
    EFFUSION = "effusion"


@dataclass(frozen=True)
class Exam:
    """One scan of a comparison with what was measured on it.

    Parameters
    ----------
    name : str
        How messages and the folder call it.
    summary : mapping
        What its `scan.json` holds.
    nodules : Nodules
        All reported rows.
    scan : Scan
    lungs : Lungs
    """

    name: str
    summary: Mapping[str, Any]
    nodules: Nodules
    scan: Scan
    lungs: Lungs


@dataclass(frozen=True)
class SeriesFacts:
    """One series of a study, as far as choosing between them needs it.

    `key` tells the reader which one it is; `is_primary` means original axial images; `is_sharp` is None
    where the name of the kernel does not say whether it enhances edges.
    """

    key: str
    n_slices: int
    thickness_mm: float
    coverage_mm: float
    kernel: str | None = None
    is_sharp: bool | None = None
    is_primary: bool = True

    def describe(self) -> str:
        """The series in words, without anything that identifies."""
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        return f"series {self.key} ({self.n_slices} slices of {self.thickness_mm:.4g} mm{kernel})"


@dataclass(frozen=True)
class Identity:
    """Whose scan it is and when it was made, in memory only: nothing of it is ever written.

    `patient` and `birth` are hashes of patient id and birth date, None where the files do not say; `day`
    counts days.
    """

    patient: str | None = None
    birth: str | None = None
    day: int | None = None


@dataclass(frozen=True)
class Interval:
    """A ratio with its 95 % interval; `value` is None where it cannot be told, `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Burden:
    """What the commonly covered lung, or a part of it, holds on one scan.

    Parameters
    ----------
    n_reported : int
        Reported nodules of at least the smallest diameter.
    volume_mm3, volume_mm3_err : float
        Total volume, corrected for what is missed and for expected false marks.
    count, count_err : float
        Corrected number above the diameter that counts are made at.
    lung_ml : float
    volume_mm3_own_err, count_own_err : float
        Part of the errors that is this scan's alone: chance in what it shows and measures. The rest is what
        scans of one patient have in common, as their vessels that look like nodules.
    """

    n_reported: int
    volume_mm3: float
    volume_mm3_err: float
    count: float
    count_err: float
    lung_ml: float
    volume_mm3_own_err: float
    count_own_err: float


@dataclass(frozen=True)
class RegionResponse:
    """Both burdens of one part of the lung and their ratios; `excluded` says why it left the total."""

    side: str
    zone: str | None
    baseline: Burden
    followup: Burden
    volume_ratio: Interval
    count_ratio: Interval
    excluded: str = ""


@dataclass(frozen=True)
class Comparability:
    """The gate's answer: verdict, what was looked at, and the reasons in words."""

    verdict: ComparabilityVerdict
    reasons: tuple[str, ...]
    facts: Mapping[str, float | None]
    edition: str


@dataclass(frozen=True)
class Opacity:
    """One new shadow on the follow-up, in the frame of the baseline."""

    kind: OpacityKind
    volume_ml: float
    rise_hu: float
    center_lps_mm: tuple[float, float, float]
    side: str
    zone: str


@dataclass(frozen=True)
class ZoneMatching:
    """How well nodules of one zone can be told from each other; `is_given` whether identities stand."""

    side: str
    zone: str
    n_baseline: int
    n_followup: int
    n_matched: int
    expected_false_share: float
    is_given: bool


@dataclass(frozen=True)
class LesionChange:
    """The dominant lesion on both scans; None where it is not there or not measured."""

    baseline_mm: float | None
    followup_mm: float | None
    baseline: Mapping[str, Any] | None
    followup: Mapping[str, Any] | None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything found by comparing two scans.

    Parameters
    ----------
    baseline, followup : Exam
    days_between : int or None
    comparability : Comparability
    regions : tuple of RegionResponse
        Sides, then their zones.
    total : RegionResponse
        The whole commonly covered lung without excluded zones.
    min_diameter_mm, count_diameter_mm : float
        Smallest diameter of the totals, and of the counts.
    is_corrected : bool
        Whether what each scan misses was corrected for.
    category : Category
    category_reason : str
    tracks : Tracks
    matching : tuple of ZoneMatching
    match_error_mm : float
        One-sigma distance of matched nodules per axis.
    lesion : LesionChange
    recist : mapping
        Response by diameter of the dominant lesion, plain JSON values.
    opacities : tuple of Opacity
    transform : Transform
        Baseline points to follow-up points.
    registration : mapping of str to number
    registered_hu : ndarray of int16
        Follow-up on `registered_grid`, which is in the frame of the baseline.
    registered_grid : Grid
    warnings : tuple of ScanWarning
    stages : tuple of Stage
    provenance : mapping
    figure_rgb : ndarray of uint8, or None
    figures : tuple of Figure
        Its parts, for a report.
    """

    baseline: Exam
    followup: Exam
    days_between: int | None
    comparability: Comparability
    regions: tuple[RegionResponse, ...]
    total: RegionResponse
    min_diameter_mm: float
    count_diameter_mm: float
    is_corrected: bool
    category: Category
    category_reason: str
    tracks: Tracks
    matching: tuple[ZoneMatching, ...]
    match_error_mm: float
    lesion: LesionChange
    recist: Mapping[str, Any]
    opacities: tuple[Opacity, ...]
    transform: Transform
    registration: Mapping[str, float | None]
    registered_hu: npt.NDArray[np.int16]
    registered_grid: Grid
    warnings: tuple[ScanWarning, ...] = ()
    stages: tuple[Stage, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    figure_rgb: npt.NDArray[np.uint8] | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def is_simulated(self) -> bool:
        """Whether any of the two scans is simulated."""
        return any(exam.summary.get("origin") == "simulated" for exam in (self.baseline, self.followup))


def summarize_comparison(found: Comparison) -> dict[str, Any]:
    """What `response.json` holds: plain JSON values, described by the published schema.

    What cannot be told is None with a sibling ``..._reason``. Holds no date, path or identity.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": COMPARISON_KIND,
        "origin": _tell_origin(found),
        "baseline": _summarize_exam(found.baseline),
        "followup": _summarize_exam(found.followup),
        **_told("days_between", found.days_between, "the dates are not known; give --days"),
        "comparability": {
            "verdict": found.comparability.verdict.value,
            "reasons": list(found.comparability.reasons),
            **{
                key: item
                for name, value in found.comparability.facts.items()
                for key, item in _told(name, value, "not measured on both scans").items()
            },
            "edition": found.comparability.edition,
        },
        "response": _summarize_response(found),
        "lesion": _summarize_lesion(found.lesion),
        "recist": dict(found.recist),
        "tracks": {fate.value: found.tracks.count(fate) for fate in Fate},
        "matching": {
            **_told("error_mm", found.match_error_mm, "no nodule was matched"),
            "by_zone": [_summarize_matching(zone) for zone in found.matching],
        },
        "new_opacities": [_summarize_opacity(opacity) for opacity in found.opacities],
        "registration": {
            key: item
            for name, value in found.registration.items()
            for key, item in _told(name, value, "not measured").items()
        },
        "warnings": [{"code": w.code, "message": w.message} for w in found.warnings],
        "provenance": dict(found.provenance),
        "stages": [{"name": stage.name, "seconds": round(stage.seconds, 3)} for stage in found.stages],
    }


def _tell_origin(found: Comparison) -> str:
    """Simulated where either scan is; else corrected where a reader changed either."""
    if found.is_simulated:
        return "simulated"
    changed = any(exam.summary.get("origin") == "corrected" for exam in (found.baseline, found.followup))
    return "corrected" if changed else "measured"


def _short(value: float) -> float:
    return float(f"{float(value):.6g}")


def _told(name: str, value: float | None, reason: str) -> dict[str, Any]:
    """A number that may be missing: its value, or None and why."""
    if value is None or not np.isfinite(value):
        return {name: None, f"{name}_reason": reason}
    return {name: value if isinstance(value, int) else _short(value)}


def _ratio(name: str, ratio: Interval) -> dict[str, Any]:
    """A ratio and its interval, or None and why."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return {
            name: None,
            f"{name}_reason": ratio.reason,
            f"{name}_ci95": None,
            f"{name}_ci95_reason": ratio.reason,
        }
    return {name: _short(ratio.value), f"{name}_ci95": [_short(ratio.low), _short(ratio.high)]}


def _summarize_exam(exam: Exam) -> dict[str, Any]:
    summary = exam.summary
    acquisition = summary["acquisition"]
    return {
        "label": exam.name,
        "origin": summary.get("origin", "measured"),
        **_tell_corrections(summary),
        "nodule_count": summary["nodules"]["count"],
        **_told("count_per_litre", summary["nodules"].get("count_per_litre"), "the lung has no volume"),
        "lung_ml": summary["lungs"]["total_ml"],
        **_told("slice_thickness_mm", _thickness(exam), "not stated in the file"),
        **_text_or_reason("kernel", acquisition.get("kernel"), "not stated in the file"),
        **_text_or_reason("series", acquisition.get("series_choice"), "there was nothing to choose"),
    }


def _tell_corrections(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Which of a reader's corrections the scan's numbers hold; nothing where none were applied."""
    applied = summary.get("corrections")
    return {"corrections_applied_through": applied["applied_through"]} if applied else {}


def _thickness(exam: Exam) -> float | None:
    value = exam.summary["acquisition"].get("slice_thickness_mm")
    return None if value is None else float(value)


def _text_or_reason(name: str, value: str | None, reason: str) -> dict[str, Any]:
    return {name: value} if value else {name: None, f"{name}_reason": reason}


def _summarize_burden(burden: Burden) -> dict[str, Any]:
    litres = burden.lung_ml / 1000.0
    return {
        "n_reported": burden.n_reported,
        "volume_mm3": _short(burden.volume_mm3),
        "volume_mm3_err": _short(burden.volume_mm3_err),
        "count": _short(burden.count),
        "count_err": _short(burden.count_err),
        "lung_ml": _short(burden.lung_ml),
        **_told("count_per_litre", burden.count / litres if litres > 0 else None, "no lung here"),
    }


def _summarize_region(region: RegionResponse) -> dict[str, Any]:
    zone: dict[str, Any] = {"zone": region.zone} if region.zone else {}
    return {
        "side": region.side,
        **zone,
        **_ratio("volume_ratio", region.volume_ratio),
        **_ratio("count_ratio", region.count_ratio),
        "baseline": _summarize_burden(region.baseline),
        "followup": _summarize_burden(region.followup),
        "is_excluded": bool(region.excluded),
        "excluded_because": region.excluded,
    }


def _summarize_response(found: Comparison) -> dict[str, Any]:
    total = found.total
    return {
        **_ratio("volume_ratio", total.volume_ratio),
        **_ratio("count_ratio", total.count_ratio),
        "category": found.category.value,
        "category_reason": found.category_reason,
        "category_kind": "exploratory: by volume, not RECIST",
        "is_corrected": found.is_corrected,
        "min_diameter_mm": _short(found.min_diameter_mm),
        "count_diameter_mm": _short(found.count_diameter_mm),
        "baseline": _summarize_burden(total.baseline),
        "followup": _summarize_burden(total.followup),
        "by_side": [_summarize_region(r) for r in found.regions if r.zone is None],
        "by_zone": [_summarize_region(r) for r in found.regions if r.zone is not None],
    }


def _summarize_lesion(lesion: LesionChange) -> dict[str, Any]:
    return {
        **_told("baseline_mm", lesion.baseline_mm, lesion.reason or "no lesion of 8 mm or more was found"),
        **_told("followup_mm", lesion.followup_mm, lesion.reason or "the lesion was not found again"),
        **_told("change_mm", _difference(lesion, "long_axis_mm"), lesion.reason or _NOT_ON_BOTH),
        **_told("volume_change_fraction", _relative(lesion, "volume_mm3"), _NOT_ON_BOTH),
        **_told("wall_change_mm", _difference(lesion, "wall_thickness_mm"), _NO_CAVITY),
        "baseline": None if lesion.baseline is None else dict(lesion.baseline),
        **({"baseline_reason": lesion.reason or "no lesion was found"} if lesion.baseline is None else {}),
        "followup": None if lesion.followup is None else dict(lesion.followup),
        **({"followup_reason": lesion.reason or "no lesion was found"} if lesion.followup is None else {}),
    }


def _difference(lesion: LesionChange, name: str) -> float | None:
    """Follow-up less baseline of one of the lesion's numbers."""
    before, after = ((one or {}).get(name) for one in (lesion.baseline, lesion.followup))
    return None if before is None or after is None else float(after) - float(before)


def _relative(lesion: LesionChange, name: str) -> float | None:
    change = _difference(lesion, name)
    return None if change is None or lesion.baseline is None else change / float(lesion.baseline[name])


def _summarize_matching(zone: ZoneMatching) -> dict[str, Any]:
    return {
        "side": zone.side,
        "zone": zone.zone,
        "n_baseline": zone.n_baseline,
        "n_followup": zone.n_followup,
        "n_matched": zone.n_matched,
        "expected_false_share": _short(zone.expected_false_share),
        "identities": "given" if zone.is_given else "refused",
    }


def _summarize_opacity(opacity: Opacity) -> dict[str, Any]:
    return {
        "kind": opacity.kind.value,
        "volume_ml": _short(opacity.volume_ml),
        "rise_hu": _short(opacity.rise_hu),
        "center_lps_mm": [round(v, 1) for v in opacity.center_lps_mm],
        "side": opacity.side,
        "zone": opacity.zone,
        "message": "new on the follow-up: for a reader (pneumonitis, infection, edema, other)",
    }
