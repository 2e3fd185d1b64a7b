"""`Comparison`: two scans of one patient beside each other, as `miliary compare` writes it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.model.ct_result import Lungs, Stage
from miliary.model.figure import Figure
from miliary.model.nodules import Nodules, Tracks
from miliary.model.saved.codec import SavedRecord, saved
from miliary.model.saved.scan_summary import LesionSummary, ScanSummary
from miliary.model.scan import Grid, Scan, ScanWarning
from miliary.model.transform import Transform
from miliary.model.vocabulary import Origin

FloatArray = npt.NDArray[np.float64]


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
    summary : ScanSummary
        What was measured on it.
    nodules : Nodules
        All reported rows.
    scan : Scan
    lungs : Lungs
    """

    name: str
    summary: ScanSummary
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
    reason : str
        Why the totals are NaN; empty where they are numbers.
    """

    n_reported: int
    volume_mm3: float
    volume_mm3_err: float
    count: float
    count_err: float
    lung_ml: float
    volume_mm3_own_err: float
    count_own_err: float
    reason: str = ""

    def withhold(self, reason: str) -> Burden:
        """The same without totals, where the marks of the scan cannot be counted."""
        return replace(
            self,
            volume_mm3=math.nan,
            volume_mm3_err=math.nan,
            count=math.nan,
            count_err=math.nan,
            volume_mm3_own_err=math.nan,
            count_own_err=math.nan,
            reason=reason,
        )


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
class UnseenNodules:
    """Nodules of the baseline that the follow-up no longer shows, and how many of them may still be there.

    Parameters
    ----------
    n : int
        Nodules no longer seen.
    remain, low, high : float or None
        Estimated number of them that remain below what the follow-up shows, and its 95 % interval. Those
        that shrank further than any nodule that is still seen are not in it.
    reason : str
        Why there is no estimate; empty where there is one.
    """

    n: int
    remain: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class LesionChange:
    """The dominant lesion on both scans; None where it is not there or not measured."""

    baseline_mm: float | None
    followup_mm: float | None
    baseline: LesionSummary | None
    followup: LesionSummary | None
    reason: str = ""


@dataclass(frozen=True)
class TargetSummary(SavedRecord):
    """Longest diameter [mm] of one target lesion on both scans."""

    id: str
    baseline_mm: float | None = None
    followup_mm: float | None = None


@dataclass(frozen=True)
class RecistSummary(SavedRecord):
    """Response of the target lesions by RECIST 1.1; `target_response` is CR, PR, SD, PD or NE."""

    edition: str | None = None
    non_target: str | None = None
    statement: str | None = None
    target_response: str | None = None
    change_percent: float | None = saved(default=None, omit_default=True)
    targets: tuple[TargetSummary, ...] = ()


@dataclass(frozen=True)
class SmallestChange:
    """Change in volume from which a nodule of one size is called grown or shrunk in a pair of scans.

    Parameters
    ----------
    diameter_mm : float
        Diameter of the nodule on the baseline [mm].
    growth, shrinkage : float
        As shares of its volume there, both positive; growth is infinite where none could be told.
    """

    diameter_mm: float
    growth: float
    shrinkage: float


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
    recist : RecistSummary
        Response by diameter of the dominant lesion.
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
    unseen : UnseenNodules or None
        Nodules no longer seen, and how many of them may remain; None where the marks of either scan cannot
        be followed.
    smallest_changes : tuple of SmallestChange
        What change of one nodule this pair could have shown, by its size.
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
    recist: RecistSummary
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
    unseen: UnseenNodules | None = None
    smallest_changes: tuple[SmallestChange, ...] = ()

    @property
    def doubt(self) -> str:
        """Why the marks of either scan cannot be counted or followed; empty where they can."""
        doubts = [f"{e.name}: {e.summary.doubt}" for e in (self.baseline, self.followup) if e.summary.doubt]
        return "; ".join(doubts)

    @property
    def is_simulated(self) -> bool:
        """Whether any of the two scans is simulated."""
        return any(e.summary.origin is Origin.SIMULATED for e in (self.baseline, self.followup))
