"""Stage of the tumor, derived by every edition of TNM, and the stage as written, checked."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.assessment import Assessment, Severity
from miliary.model.study import StudyResult
from miliary.report.assessments import AssessmentRow, make_row, select_assessments, sort_by_edition
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources

_PARTS = ("t", "n", "m", "group")


@dataclass(frozen=True)
class StageCell:
    """What one edition gives for one part of the stage.

    Parameters
    ----------
    value : str
    source : str
        File and rule, shown on hover.
    possible : str
        Every value still possible, where there are several; else empty.
    statement, reason : str
    """

    value: str
    source: str
    possible: str
    statement: str
    reason: str


@dataclass(frozen=True)
class StageRow:
    """T, N, M or the group; one cell for each edition, None where it gives nothing."""

    part: str
    cells: tuple[StageCell | None, ...]


@dataclass(frozen=True)
class StageContent:
    """Editions with the newest first, a row for each part, and what was found in the stage as written."""

    editions: tuple[str, ...]
    rows: tuple[StageRow, ...]
    asserted: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[StageContent]:
    """The section on the stage."""
    found = sort_by_edition(select_assessments(study.case, "tnm."))
    editions = tuple(dict.fromkeys(a.edition for a in found if a.rule_id == "tnm.group"))
    rows = []
    for part in _PARTS:
        by_edition = {a.edition: a for a in reversed(found) if a.rule_id == f"tnm.{part}"}
        cells = tuple(
            _make_cell(by_edition[edition], study.case_path, catalog) if edition in by_edition else None
            for edition in editions
        )
        if any(cells):
            rows.append(StageRow(catalog("tnm.group") if part == "group" else part.upper(), cells))
    asserted = tuple(
        make_row(a, catalog)
        for a in select_assessments(study.case, "tnm.asserted")
        if a.severity is not Severity.INFO
    )
    content = StageContent(tuple(e.replace("tnm", "TNM") for e in editions), tuple(rows), asserted)
    return Section("stage", catalog("section.stage"), "sections/stage.html", content)


def _make_cell(assessment: Assessment, member: str, catalog: Catalog) -> StageCell:
    return StageCell(
        value=str(assessment.value or "") or catalog("word.not_assessable"),
        source=f"{member}: {assessment.rule_id}",
        possible=", ".join(assessment.values) if len(assessment.values) > 1 else "",
        statement=assessment.statement,
        reason=assessment.reason,
    )
