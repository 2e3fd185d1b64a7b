"""The saved ranking of diagnoses, as the page and the draft of a case report show it."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.assessment import Assessment
from miliary.model.study import StudyResult
from miliary.report.assessments import cite_rule, select_assessments
from miliary.report.catalog import Catalog
from miliary.report.formatting import spell

# How the values of a ranked assessment begin.
_SUPPORTING, _AGAINST, _NOT_STATED = "for:", "against:", "not stated:"
_NEXT_TEST = "next test named by the sources:"


@dataclass(frozen=True)
class DiagnosisRow:
    """One diagnosis of the ranking; texts are empty where nothing was saved."""

    rank: int
    name: str
    cited: Markup
    supporting: str
    against: str
    not_stated: str
    next_test: str


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
        rank = find_rank(assessment)
        if rank is None:
            continue
        row = _make_diagnosis(assessment, rank, catalog)
        if any((row.supporting, row.against, row.not_stated, row.next_test)):
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: row.rank))


def find_rank(assessment: Assessment) -> int | None:
    """Rank of a diagnosis; None for an assessment that ranks nothing.

    Parameters
    ----------
    assessment : Assessment

    Returns
    -------
    int or None
    """
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
