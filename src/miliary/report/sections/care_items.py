"""The CARE checklist of a case report: which items the record holds."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.assessments import make_rows
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class CareItem:
    """One item of the checklist and whether the record holds it."""

    item: str
    sign: str
    verdict: str


@dataclass(frozen=True)
class CareContent:
    """The score in words (else empty) and every item."""

    score: str
    items: tuple[CareItem, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[CareContent]:
    """The section on the checklist."""
    scores = make_rows(study.case, "care.score", catalog)
    items = tuple(
        CareItem(
            row.statement.rpartition(":")[0] or row.statement,
            row.sign,
            catalog(f"care.{row.verdict}"),
        )
        for row in make_rows(study.case, "care.item", catalog)
    )
    content = CareContent(scores[0].statement if scores else "", items)
    return Section("care", catalog("section.care"), "sections/care_items.html", content)
