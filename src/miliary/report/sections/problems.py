"""Members of the study that are missing, damaged or of another version."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class ProblemRow:
    """Path of a member within the study folder, and what is the matter with it."""

    member: str
    message: str


@dataclass(frozen=True)
class ProblemsContent:
    """Every problem in the order in which the members were read."""

    rows: tuple[ProblemRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[ProblemsContent] | None:
    """The section on what could not be shown; None where everything could."""
    if not study.problems:
        return None
    rows = tuple(
        ProblemRow(p.member, catalog(f"problem.{p.code}", detail=p.detail or "?")) for p in study.problems
    )
    return Section(
        "problems",
        catalog("problem.title"),
        "sections/problems.html",
        ProblemsContent(rows),
        is_subsection=True,
    )
