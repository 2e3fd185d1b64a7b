"""What the board page asks and leaves open: the gravest queries, the next question, what cannot be told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from miliary.model.assessment import Assessment, Severity
from miliary.model.study import StudyResult
from miliary.report.assessments import (
    AssessmentRow,
    find_anchor,
    group_by_severity,
    make_row,
    select_assessments,
)
from miliary.report.catalog import Catalog
from miliary.report.diagnosis_ranking import rank_diagnoses
from miliary.report.formatting import spell
from miliary.report.measures import find_compared, find_measured
from miliary.report.paths import find_reason

N_GRAVEST = 5
# Queries by what hangs on them: a dose and a driver before wording and dates. Rules not named come last.
_GRAVE = (
    *("therapy.dose.", "therapy.contraindication", "drivers.discordance", "differential."),
    *("drivers.single_method", "drivers.completeness", "therapy.", "recist.", "ctcae.", "tnm."),
)
_OPEN_RESULTS = ("not_stated", "not_tested", "failed", "negative_method_insufficient")
# What a scan may not allow: word of the catalog, and paths of which the first reason is given.
_UNMEASURED = (
    ("smaller", ("corrected.count_at_least_1_mm", "corrected.count")),
    ("no_90", ("completeness.diameter_90_mm",)),
)
_DETAIL = re.compile(r" \(half are found at [^)]*\)")
# Warnings that are said elsewhere on the page.
_SAID = frozenset({"simulated"})


@dataclass(frozen=True)
class OpenPoint:
    """Something that cannot be told: of what, and why (in English where it was saved so)."""

    what: str
    why: str


@dataclass(frozen=True)
class OpenPoints:
    """The gravest queries and errors, how many there are in all, the next question, what cannot be told."""

    gravest: tuple[AssessmentRow, ...]
    n_all: int
    next_question: OpenPoint | None
    not_told: tuple[OpenPoint, ...]


def list_open_points(study: StudyResult, catalog: Catalog) -> OpenPoints:
    """List what a tumor board has to know to be open.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    OpenPoints
    """
    groups = group_by_severity(study.case)
    errors, queries = groups.get(Severity.ERROR, []), groups.get(Severity.QUERY, [])
    ranked = [*errors, *sorted(queries, key=_rank)]
    return OpenPoints(
        gravest=tuple(make_row(a, catalog, anchor=find_anchor(study.case, a)) for a in ranked[:N_GRAVEST]),
        n_all=len(ranked),
        next_question=_find_next_question(study, catalog),
        not_told=tuple(_list_not_told(study, catalog)),
    )


def _rank(assessment: Assessment) -> int:
    found = (n for n, start in enumerate(_GRAVE) if assessment.rule_id.startswith(start))
    return next(found, len(_GRAVE))


def _find_next_question(study: StudyResult, catalog: Catalog) -> OpenPoint | None:
    """The next test of the first diagnosis of the ranking that names one."""
    for row in rank_diagnoses(study, catalog):
        if row.next_test:
            return OpenPoint(catalog("board.next_for", name=row.name, rank=row.rank), row.next_test)
    return None


def _list_not_told(study: StudyResult, catalog: Catalog) -> Iterator[OpenPoint]:
    yield from _list_unmeasured(study, catalog)
    for scan, summary in find_measured(study):
        for warning in summary.warnings:
            if warning.code not in _SAID:
                yield OpenPoint(catalog.word(scan.label), warning.message)
    for compared, comparison in find_compared(study):
        name = f"{catalog.word(compared.baseline)} \u2192 {catalog.word(compared.followup)}"
        for warning in comparison.warnings:
            yield OpenPoint(name, warning.message)
    genes = [
        spell(a.statement.partition(":")[0])
        for a in select_assessments(study.case, "drivers.gene.")
        if a.value in _OPEN_RESULTS
    ]
    if genes:
        yield OpenPoint(catalog("board.genes"), ", ".join(genes))


def _list_unmeasured(study: StudyResult, catalog: Catalog) -> Iterator[OpenPoint]:
    """Numbers that a scan does not allow; a reason that several scans share is said once."""
    for key, paths in _UNMEASURED:
        by_reason: dict[str, list[str]] = {}
        for scan, summary in find_measured(study):
            reason = next(filter(None, (find_reason(summary, path) for path in paths)), "")
            if reason:
                # The sizes differ between scans and stand in the dossier.
                plain = _DETAIL.sub("", reason.removeprefix("not measurable: "))
                by_reason.setdefault(plain, []).append(catalog.word(scan.label))
        for reason, names in by_reason.items():
            yield OpenPoint(catalog(f"board.{key}", scan=", ".join(names)), reason)
