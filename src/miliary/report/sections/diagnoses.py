"""Other diagnoses, ranked by recorded findings, and comparable published cases."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import StudyResult
from miliary.report.assessments import AssessmentRow, make_row, make_rows, select_assessments
from miliary.report.catalog import Catalog
from miliary.report.diagnosis_ranking import DiagnosisRow, find_rank, rank_diagnoses
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class DifferentialContent:
    """The ranking, what all of it rests on (empty where rows differ), notes, comparable published cases."""

    diagnoses: tuple[DiagnosisRow, ...]
    cited: Markup
    notes: tuple[AssessmentRow, ...]
    literature: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[DifferentialContent]:
    """The section on other diagnoses."""
    notes = tuple(
        make_row(a, catalog)
        for a in select_assessments(study.case, "differential.")
        if find_rank(a) is None or not a.values
    )
    diagnoses = rank_diagnoses(study, catalog)
    cited = {row.cited for row in diagnoses}
    content = DifferentialContent(
        diagnoses=diagnoses,
        cited=cited.pop() if len(cited) == 1 else Markup(""),
        notes=notes,
        literature=make_rows(study.case, "literature.", catalog),
    )
    return Section("differential", catalog("section.differential"), "sections/diagnoses.html", content)
