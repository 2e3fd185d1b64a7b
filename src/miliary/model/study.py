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
    n_corrections : int
        A reader's corrections that some saved number does not hold yet.
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
    n_corrections: int = 0
    problems: tuple[StudyProblem, ...] = ()
