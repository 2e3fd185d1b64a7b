"""What asks something of the reader: errors, queries and notes of the rules, warnings of the measurement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from miliary.model.assessment import Assessment
from miliary.model.study import StudyResult
from miliary.report.assessments import SIGNS, AssessmentRow, find_anchor, group_by_severity, make_row
from miliary.report.catalog import Catalog
from miliary.report.measures import find_compared, find_measured, name_pair
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class QueryGroup:
    """All assessments of one severity: error, query or note."""

    severity: str
    sign: str
    rows: tuple[AssessmentRow, ...]


@dataclass(frozen=True)
class MeasurementWarning:
    """One warning of a measurement: name of the scan or of the pair, the sentence, and its code."""

    scan: str
    message: str
    code: str


@dataclass(frozen=True)
class QueriesContent:
    """Errors first, then queries, then notes; and the warnings of every scan and comparison."""

    groups: tuple[QueryGroup, ...]
    warnings: tuple[MeasurementWarning, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[QueriesContent]:
    """The section on open queries."""
    groups = tuple(
        QueryGroup(severity, SIGNS[severity], _make_rows(study, group, catalog))
        for severity, group in group_by_severity(study.case).items()
    )
    warnings = tuple(
        MeasurementWarning(catalog.word(scan.label), warning.message, warning.code)
        for scan, summary in find_measured(study)
        for warning in summary.warnings
    ) + tuple(
        MeasurementWarning(name_pair(compared, catalog), warning.message, warning.code)
        for compared, comparison in find_compared(study)
        for warning in comparison.warnings
    )
    content = QueriesContent(groups, warnings)
    return Section("queries", catalog("section.queries"), "sections/queries.html", content)


def _make_rows(
    study: StudyResult, assessments: Iterable[Assessment], catalog: Catalog
) -> tuple[AssessmentRow, ...]:
    return tuple(make_row(a, catalog, anchor=find_anchor(study.case, a)) for a in assessments)
