"""`StudyResult`: everything saved about one patient, as far as it can be read.

Nothing is derived here. What is missing or damaged is named in `problems`; the rest stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.model.case_summary import CaseSummary
from miliary.model.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.figure_index import FigureEntry, RadiographEntry
from miliary.model.scan_summary import ScanSummary


@dataclass(frozen=True)
class StudyProblem:
    """What could not be shown: the member's path in the study and a sentence.

    `code` is a word of the report's catalog: missing, damaged, not_a_result, newer, older, no_version,
    radiograph.
    """

    member: str
    code: str
    detail: str = ""


@dataclass(frozen=True)
class Picture:
    """A saved picture: its entry in ``figures.json`` (or only a name) and the file's bytes.

    `about` is the entry as plain JSON values, for readers that do not use `entry` yet.
    """

    name: str
    about: Mapping[str, Any] = field(default_factory=dict)
    data: bytes = b""
    media_type: str = "image/png"
    entry: FigureEntry | RadiographEntry | None = None

    @property
    def kind(self) -> str:
        """Word for what it shows."""
        return str(self.about.get("kind", "other"))


@dataclass(frozen=True)
class SavedScan:
    """What `miliary ct` wrote for one scan.

    `record` is what ``scan.json`` holds, None if it cannot be read; `summary` the same as plain JSON values,
    for readers that do not use `record` yet.
    """

    label: str
    path: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    record: ScanSummary | None = None


@dataclass(frozen=True)
class SavedComparison:
    """What `miliary compare` wrote for two scans: `record` and `summary` of ``response.json``."""

    baseline: str
    followup: str
    path: str
    summary: Mapping[str, Any] = field(default_factory=dict)
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
    series : mapping
        ``series.json`` of several follow-ups with one baseline; empty where there is none.
    series_path : str
    case : mapping
        ``case.json``; empty where there is none.
    case_path : str
        Its path in the study.
    radiographs : tuple of Picture
    n_corrections : int
        A reader's corrections that some saved number does not hold yet.
    problems : tuple of StudyProblem
    series_record : SeriesSummary or None
        What ``series.json`` holds; `series` is the same as plain JSON values.
    case_record : CaseSummary or None
        What ``case.json`` holds; `case` is the same as plain JSON values.
    """

    title: str
    scans: tuple[SavedScan, ...] = ()
    comparisons: tuple[SavedComparison, ...] = ()
    series: Mapping[str, Any] = field(default_factory=dict)
    series_path: str = ""
    case: Mapping[str, Any] = field(default_factory=dict)
    case_path: str = ""
    radiographs: tuple[Picture, ...] = ()
    n_corrections: int = 0
    problems: tuple[StudyProblem, ...] = ()
    series_record: SeriesSummary | None = None
    case_record: CaseSummary | None = None
