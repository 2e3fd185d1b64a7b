"""Driver genes with what each test said of them, and the therapy."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.assessment import Verdict
from miliary.model.saved.case_summary import MolecularSummary
from miliary.model.study import StudyResult
from miliary.report.assessments import SIGNS, AssessmentRow, make_rows, select_assessments
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class GeneRow:
    """One gene: outcome with its sign and origin, and what each test said (empty: nothing)."""

    gene: str
    sign: str
    outcome: str
    origin: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class DriversContent:
    """Names of the tests, a row for each gene, other statements on drivers, and those on therapy."""

    tests: tuple[str, ...]
    genes: tuple[GeneRow, ...]
    notes: tuple[AssessmentRow, ...]
    therapy: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[DriversContent]:
    """The section on drivers and therapy."""
    tests = study.case.record.tests if study.case else ()
    genes = []
    for assessment in select_assessments(study.case, "drivers.gene."):
        gene = assessment.statement.partition(":")[0]
        genes.append(
            GeneRow(
                gene=gene,
                sign=SIGNS[assessment.verdict],
                outcome=str(assessment.value or Verdict.NOT_ASSESSABLE),
                origin=assessment.origin,
                cells=tuple(_describe_result(test, gene, catalog) for test in tests),
            )
        )
    content = DriversContent(
        tests=tuple(test.label or test.id for test in tests),
        genes=tuple(genes),
        notes=make_rows(study.case, "drivers.", catalog, skip=("drivers.gene.", "drivers.frequency.")),
        therapy=make_rows(study.case, "therapy.", catalog),
    )
    return Section("drivers", catalog("section.drivers"), "sections/genes_and_drugs.html", content)


def _describe_result(test: MolecularSummary, gene: str, catalog: Catalog) -> str:
    """What one test said of one gene; empty where it did not look at it."""
    found = []
    for result in test.genes:
        if result.gene.upper() == gene.upper():
            parts = (catalog.word(result.result), result.alteration, result.partner)
            found.append(" ".join(filter(None, parts)))
    return "; ".join(found)
