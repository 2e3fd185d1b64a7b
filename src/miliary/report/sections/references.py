"""Where the facts come from, what the rules cite, and the footnotes of the numbers."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Footnote, Sources


@dataclass(frozen=True)
class CitedWork:
    """One publication or statement that rules cite.

    Parameters
    ----------
    id : str
        Name in brackets behind the statements of the rules.
    text, doi : str
        `doi` is empty where none is known.
    basis : str
        read, secondary or unverified.
    rules : str
        Groups of rules that cite it.
    """

    id: str
    text: str
    doi: str
    basis: str
    rules: str


@dataclass(frozen=True)
class ReferencesContent:
    """Sources of the record, citations of the rules, footnotes of all sections before this one."""

    record_sources: tuple[str, ...]
    citations: tuple[CitedWork, ...]
    footnotes: tuple[Footnote, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[ReferencesContent]:
    """The section on references; comes after every section that cites a number."""
    content = ReferencesContent(
        record_sources=study.case.record.sources if study.case else (),
        citations=list_citations(study),
        footnotes=sources.list_footnotes(),
    )
    return Section("references", catalog("section.references"), "sections/references.html", content)


def list_citations(study: StudyResult) -> tuple[CitedWork, ...]:
    """List what the rules of a case cite.

    Parameters
    ----------
    study : StudyResult

    Returns
    -------
    tuple of CitedWork
        In the order of the case; empty where there is none.
    """
    if study.case is None:
        return ()
    rules: dict[str, list[str]] = {}
    for assessment in study.case.assessments:
        for name in assessment.citations:
            rules.setdefault(name, []).append(assessment.rule_id.partition(".")[0])
    return tuple(
        CitedWork(
            id=name,
            text=cited.text,
            doi=cited.doi,
            basis=cited.basis,
            rules=", ".join(dict.fromkeys(rules.get(name, []))),
        )
        for name, cited in study.case.citations.items()
    )
