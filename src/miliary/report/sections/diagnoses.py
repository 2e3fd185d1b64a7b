"""Other diagnoses, ranked by recorded findings, and comparable published cases."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.assessment import Assessment
from miliary.model.study import StudyResult
from miliary.report.assessments import AssessmentRow, cite_rule, make_row, make_rows, select_assessments
from miliary.report.catalog import Catalog
from miliary.report.formatting import spell
from miliary.report.section import Section
from miliary.report.sources import Sources

# How the values of a ranked assessment begin.
_SUPPORTING, _AGAINST, _NOT_STATED = "for:", "against:", "not stated:"
_NEXT_TEST = "next test named by the sources:"


@dataclass(frozen=True)
class DiagnosisRow:
    """One diagnosis of the ranking; texts are empty where nothing was saved."""

    rank: int
    name: str
    cited: str
    supporting: str
    against: str
    not_stated: str
    next_test: str


@dataclass(frozen=True)
class DifferentialContent:
    """The ranking, notes on it as a whole, and comparable published cases."""

    diagnoses: tuple[DiagnosisRow, ...]
    notes: tuple[AssessmentRow, ...]
    literature: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[DifferentialContent]:
    """The section on other diagnoses."""
    notes = tuple(
        make_row(a, catalog)
        for a in select_assessments(study.case, "differential.")
        if _find_rank(a) is None or not a.values
    )
    content = DifferentialContent(
        diagnoses=rank_diagnoses(study, catalog),
        notes=notes,
        literature=make_rows(study.case, "literature.", catalog),
    )
    return Section("differential", catalog("section.differential"), "sections/diagnoses.html", content)


def rank_diagnoses(study: StudyResult, catalog: Catalog) -> tuple[DiagnosisRow, ...]:
    """Diagnoses of the saved ranking, first rank first.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    tuple of DiagnosisRow
        Empty where the case was not ranked.
    """
    rows = []
    for assessment in select_assessments(study.case, "differential."):
        rank = _find_rank(assessment)
        if rank is None:
            continue
        row = _make_diagnosis(assessment, rank, catalog)
        if any((row.supporting, row.against, row.not_stated, row.next_test)):
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: row.rank))


def _find_rank(assessment: Assessment) -> int | None:
    """Rank of a diagnosis; None for an assessment that ranks nothing."""
    value = assessment.value
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _make_diagnosis(assessment: Assessment, rank: int, catalog: Catalog) -> DiagnosisRow:
    values = assessment.values

    def find_part(start: str) -> str:
        return spell(next((v.removeprefix(start).strip() for v in values if v.startswith(start)), ""))

    return DiagnosisRow(
        rank=rank,
        name=assessment.statement.partition(", place")[0],
        cited=cite_rule(assessment, catalog),
        supporting=find_part(_SUPPORTING),
        against=find_part(_AGAINST),
        not_stated=find_part(_NOT_STATED),
        next_test=find_part(_NEXT_TEST),
    )
