"""`ComparisonSummary` and `SeriesSummary`: what `response.json` and `series.json` hold, field for field.

A field that is None is not known, and `missing_reasons` says why. What the keys mean is said once, in the
published schema (`response.schema.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.model.comparison import Category, ComparabilityVerdict, OpacityKind, RecistSummary
from miliary.model.ct_result import Stage
from miliary.model.nodules import Fate
from miliary.model.saved.codec import SavedRecord, saved
from miliary.model.saved.scan_summary import LesionSummary, PointLps, Range95
from miliary.model.scan import ScanWarning, Side, Zone
from miliary.model.vocabulary import Origin

COMPARISON_KIND = "miliary.compare"
SERIES_KIND = "miliary.series"
COMPARISON_VERSION = "1.0"


@dataclass(frozen=True)
class ComparedScanSummary(SavedRecord):
    """One scan of the comparison: its label, how it was made and what was found on it."""

    label: str | None = None
    origin: Origin | None = None
    corrections_applied_through: int | None = saved(default=None, omit_default=True)
    nodule_count: int | None = None
    count_per_litre: float | None = None
    lung_ml: float | None = None
    slice_thickness_mm: float | None = None
    kernel: str | None = None
    series: str | None = None


@dataclass(frozen=True)
class ComparabilitySummary(SavedRecord):
    """Whether the scans may be compared, why, and the ratios (follow-up over baseline) that decided it."""

    verdict: ComparabilityVerdict | None = None
    reasons: tuple[str, ...] = ()
    common_coverage: float | None = None
    lung_volume_ratio: float | None = None
    slice_thickness_ratio: float | None = None
    blur_ratio: float | None = None
    noise_ratio: float | None = None
    baseline_d50_mm: float | None = None
    followup_d50_mm: float | None = None
    baseline_median_diameter_mm: float | None = None
    edition: str | None = None


@dataclass(frozen=True)
class BurdenSummary(SavedRecord):
    """What the common lung, or a part of it, holds on one scan; corrected totals with one-sigma errors."""

    n_reported: int | None = None
    volume_mm3: float | None = None
    volume_mm3_err: float | None = None
    count: float | None = None
    count_err: float | None = None
    lung_ml: float | None = None
    count_per_litre: float | None = None


@dataclass(frozen=True)
class RegionSummary(SavedRecord):
    """Both burdens of one lung (`side` alone) or of one third of it, and their ratios."""

    side: str
    zone: Zone | None = saved(default=None, omit_default=True)
    volume_ratio: float | None = None
    volume_ratio_ci95: Range95 | None = None
    count_ratio: float | None = None
    count_ratio_ci95: Range95 | None = None
    baseline: BurdenSummary = field(default_factory=BurdenSummary)
    followup: BurdenSummary = field(default_factory=BurdenSummary)
    is_excluded: bool | None = None
    excluded_because: str = ""


@dataclass(frozen=True)
class ResponseSummary(SavedRecord):
    """Ratios of total volume and corrected count, follow-up over baseline, and the exploratory category."""

    volume_ratio: float | None = None
    volume_ratio_ci95: Range95 | None = None
    count_ratio: float | None = None
    count_ratio_ci95: Range95 | None = None
    category: Category | None = None
    category_reason: str = ""
    category_kind: str = ""
    ratio_basis: str = saved(default="", omit_default=True)
    is_corrected: bool | None = None
    min_diameter_mm: float | None = None
    count_diameter_mm: float | None = None
    baseline: BurdenSummary = field(default_factory=BurdenSummary)
    followup: BurdenSummary = field(default_factory=BurdenSummary)
    by_side: tuple[RegionSummary, ...] = ()
    by_zone: tuple[RegionSummary, ...] = ()


@dataclass(frozen=True)
class LesionChangeSummary(SavedRecord):
    """The dominant lesion of 8 mm or more on both scans."""

    baseline_mm: float | None = None
    followup_mm: float | None = None
    change_mm: float | None = None
    volume_change_fraction: float | None = None
    wall_change_mm: float | None = None
    baseline: LesionSummary | None = None
    followup: LesionSummary | None = None


@dataclass(frozen=True)
class UnseenSummary(SavedRecord):
    """Nodules that the follow-up no longer shows, and how many of them may remain below what it shows."""

    count: int = 0
    may_remain: float | None = None
    may_remain_ci95: Range95 | None = None


@dataclass(frozen=True)
class SmallestChangeSummary(SavedRecord):
    """Change in volume, as a share, from which a nodule of one diameter [mm] is called grown or shrunk."""

    diameter_mm: float
    growth: float | None = None
    shrinkage: float | None = None


@dataclass(frozen=True)
class ZoneMatchingSummary:
    """How well nodules of one third of a lung can be told from each other; `identities` given or refused."""

    side: Side
    zone: Zone
    n_baseline: int
    n_followup: int
    n_matched: int
    expected_false_share: float
    identities: str


@dataclass(frozen=True)
class MatchingSummary(SavedRecord):
    """One-sigma distance of matched nodules per axis [mm], and the six zones."""

    error_mm: float | None = None
    by_zone: tuple[ZoneMatchingSummary, ...] = ()


@dataclass(frozen=True)
class OpacitySummary:
    """One new opacity on the follow-up, for a reader; `center_lps_mm` is in the frame of the baseline."""

    kind: OpacityKind
    volume_ml: float
    rise_hu: float
    center_lps_mm: PointLps
    side: Side
    zone: Zone
    message: str = ""


@dataclass(frozen=True)
class RegistrationSummary(SavedRecord):
    """How well the scans were brought together."""

    agreement: float | None = None
    tre_estimate_mm: float | None = None
    overlap: float | None = None
    min_jacobian: float | None = None
    folded_share: float | None = None
    n_landmarks: int | None = None


@dataclass(frozen=True)
class ComparisonSummary(SavedRecord):
    """What `response.json` holds: two scans of one patient compared. No date, path or identity."""

    schema_version: str | None = COMPARISON_VERSION
    kind: str = COMPARISON_KIND
    origin: Origin | None = None
    baseline: ComparedScanSummary = field(default_factory=ComparedScanSummary)
    followup: ComparedScanSummary = field(default_factory=ComparedScanSummary)
    days_between: int | None = None
    comparability: ComparabilitySummary = field(default_factory=ComparabilitySummary)
    response: ResponseSummary = field(default_factory=ResponseSummary)
    lesion: LesionChangeSummary = field(default_factory=LesionChangeSummary)
    recist: RecistSummary = field(default_factory=RecistSummary)
    tracks: Mapping[Fate, int] = field(default_factory=dict)
    no_longer_seen: UnseenSummary | None = saved(default=None, omit_default=True)
    smallest_changes: tuple[SmallestChangeSummary, ...] = saved(default=(), omit_default=True)
    matching: MatchingSummary = field(default_factory=MatchingSummary)
    new_opacities: tuple[OpacitySummary, ...] = ()
    registration: RegistrationSummary = field(default_factory=RegistrationSummary)
    warnings: tuple[ScanWarning, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class TimePointSummary(SavedRecord):
    """One follow-up against the baseline of a series; `ratio_to_nadir` against its smallest ratio so far."""

    followup: str
    days_between: int | None = None
    comparability: ComparabilityVerdict | None = None
    volume_ratio: float | None = None
    volume_ratio_ci95: Range95 | None = None
    ratio_to_nadir: float | None = None
    category: Category | None = None
    lesion_mm: float | None = None
    path: str = ""


@dataclass(frozen=True)
class SeriesSummary(SavedRecord):
    """What `series.json` holds: several follow-ups with one baseline, in the order of time."""

    schema_version: str | None = COMPARISON_VERSION
    kind: str = SERIES_KIND
    origin: Origin | None = None
    baseline: str = ""
    nadir: str | None = None
    time_points: tuple[TimePointSummary, ...] = ()
