"""`StudyResult`: everything saved about one patient, as far as it can be read.

Nothing is derived here. What is missing or damaged is named in `problems`; the rest stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.saved.case_summary import CaseSummary
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.figure_index import FigureEntry, RadiographEntry
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.study_index import StudyProblem


@dataclass(frozen=True)
class Picture:
    """A saved picture: the file's bytes, and its entry in ``figures.json``, None where it is not listed."""

    name: str
    data: bytes = b""
    media_type: str = "image/png"
    entry: FigureEntry | RadiographEntry | None = None


@dataclass(frozen=True)
class SavedScan:
    """What `miliary ct` wrote for one scan; `record` is what ``scan.json`` holds, None if not readable."""

    label: str
    path: str
    pictures: tuple[Picture, ...] = ()
    record: ScanSummary | None = None


@dataclass(frozen=True)
class SavedComparison:
    """What `miliary compare` wrote for two scans: `record` is what ``response.json`` holds, or None."""

    baseline: str
    followup: str
    path: str
    pictures: tuple[Picture, ...] = ()
    record: ComparisonSummary | None = None


@dataclass(frozen=True)
class PendingCorrections:
    """A reader's corrections that one member's numbers do not hold yet.

    Parameters
    ----------
    path : str
        Of the member: a result of `miliary ct`, or of `miliary compare`.
    scan : str
        Label of the scan that was corrected.
    numbers : tuple of int
        Of the corrections, in the order of saving.
    """

    path: str
    scan: str
    numbers: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.numbers)


@dataclass(frozen=True)
class StudyResult:
    """Scans, comparisons and case of one patient as they were saved.

    Parameters
    ----------
    title : str
        As ``study.json`` states it, else the folder's name.
    scans : tuple of SavedScan
        In the order of the study.
    comparisons : tuple of SavedComparison
    series : SeriesSummary or None
        ``series.json`` of several follow-ups with one baseline; None where there is none.
    series_path : str
    case : CaseSummary or None
        ``case.json``; None where there is none.
    case_path : str
        Its path in the study.
    radiographs : tuple of Picture
    pending : tuple of PendingCorrections
        A reader's corrections that some saved number does not hold yet, member by member.
    problems : tuple of StudyProblem
    """

    title: str
    scans: tuple[SavedScan, ...] = ()
    comparisons: tuple[SavedComparison, ...] = ()
    series: SeriesSummary | None = None
    series_path: str = ""
    case: CaseSummary | None = None
    case_path: str = ""
    radiographs: tuple[Picture, ...] = ()
    pending: tuple[PendingCorrections, ...] = ()
    problems: tuple[StudyProblem, ...] = ()

    @property
    def n_corrections(self) -> int:
        """How many of a reader's corrections some saved number does not hold yet."""
        return len({number for one in self.pending for number in one.numbers})
