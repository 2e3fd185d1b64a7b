"""`StudyIndex`: what `study.json` holds, the members of a study by relative path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from miliary.model.saved.codec import saved

STUDY_KIND = "miliary.study"
STUDY_VERSION = "1.0"


@dataclass(frozen=True)
class StudyProblem:
    """What could not be shown: the member's path in the study and a sentence.

    `code` is a word of the report's catalog: missing, damaged, not_a_result, newer, older, no_version,
    radiograph, stale, not_made.
    """

    member: str
    code: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyScanEntry:
    """One scan: its label (None: the name of its folder) and its folder."""

    BARE: ClassVar[str] = "path"

    label: str | None = saved(default=None, omit_default=True)
    path: str


@dataclass(frozen=True, kw_only=True)
class StudyComparisonEntry:
    """One comparison: the labels of its scans (None: as its folder has them) and its folder."""

    BARE: ClassVar[str] = "path"

    baseline: str | None = saved(default=None, omit_default=True)
    followup: str | None = saved(default=None, omit_default=True)
    path: str


@dataclass(frozen=True)
class StudyIndex:
    """What `study.json` holds; written by hand it may hold less.

    Parameters
    ----------
    schema_version : str or None
    kind : str
    title : str
    origin : str or None
        Of the whole study, where it has one: simulated, published.
    ct : tuple of StudyScanEntry
        Baseline first.
    compare : tuple of StudyComparisonEntry
    case : str or None
        Path of ``case.json``.
    """

    schema_version: str | None = STUDY_VERSION
    kind: str = STUDY_KIND
    title: str | None = None
    origin: str | None = None
    ct: tuple[StudyScanEntry, ...] = saved(default=(), skip_damaged=True)
    compare: tuple[StudyComparisonEntry, ...] = saved(default=(), skip_damaged=True)
    case: str | None = None
