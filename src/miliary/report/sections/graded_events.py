"""Adverse events and their grades."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.assessments import AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class CtcaeContent:
    """Every grade that the rules derived or checked."""

    rows: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[CtcaeContent]:
    """The section on adverse events."""
    content = CtcaeContent(make_rows(study.case, "ctcae.", catalog))
    return Section("ctcae", catalog("section.ctcae"), "sections/graded_events.html", content)
