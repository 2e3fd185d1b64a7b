"""Saved assessments of the case as rows of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.assessment import Assessment, Basis, Severity, Verdict
from miliary.model.saved.case_summary import CaseSummary
from miliary.report.catalog import Catalog

SEVERITIES = (Severity.ERROR, Severity.QUERY, Severity.NOTE)
# Signs that need no color: an outcome is read in black and white too.
SIGNS: Mapping[str, str] = {
    Verdict.MET: "\u25cf",
    Verdict.NOT_MET: "\u25cb",
    Verdict.NOT_ASSESSABLE: "?",
    Severity.ERROR: "\u2716",
    Severity.QUERY: "?",
    Severity.NOTE: "i",
    Severity.INFO: "\u00b7",
}
_MAX_CITATIONS = 4


@dataclass(frozen=True)
class AssessmentRow:
    """One assessment as the page lists it; every text is empty where nothing was saved.

    Parameters
    ----------
    sign : str
        Sign of the verdict (●, ○, ?).
    lead_sign, lead : str
        Sign and word before the statement: the severity, else an outcome that the statement leaves open.
    verdict, severity, title, statement : str
        As saved.
    reason : str
        As saved, empty where the statement says the same.
    rule : str
        Id of the rule.
    origin : str
        Where the facts come from: published, recorded, measured, simulated or corrected.
    cited : Markup
        Edition, citations (each a link to the list of references) and basis of the rule.
    inputs : str
        The facts that the rule looked at, shown on hover.
    anchor : str
        Where the list of queries holds it; empty where it asks nothing.
    first_cited : str
        Id of the first citation; empty where there is none.
    """

    sign: str
    lead_sign: str
    lead: str
    verdict: str
    severity: str
    title: str
    statement: str
    reason: str
    rule: str
    origin: str
    cited: Markup
    inputs: str
    anchor: str = ""
    first_cited: str = ""


def select_assessments(case: CaseSummary | None, start: str) -> list[Assessment]:
    """Select assessments by rule.

    Parameters
    ----------
    case : CaseSummary or None
    start : str
        First letters of the rules' ids, as ``tnm.``; empty for all.

    Returns
    -------
    list of Assessment
        In the order of the case; empty where there is no case.
    """
    return [a for a in (case.assessments if case else ()) if a.rule_id.startswith(start)]


def select_queries(case: CaseSummary | None, start: str) -> list[Assessment]:
    """Select what some rules ask the reader to correct or to answer.

    Parameters
    ----------
    case : CaseSummary or None
    start : str
        First letters of the rules' ids, as ``therapy.``.

    Returns
    -------
    list of Assessment
        Those of severity error or query, in the order of the case.
    """
    return [a for a in select_assessments(case, start) if a.severity in {Severity.ERROR, Severity.QUERY}]


def sort_by_edition(assessments: Iterable[Assessment]) -> list[Assessment]:
    """Sort assessments by the edition of their rules.

    Parameters
    ----------
    assessments : iterable of Assessment

    Returns
    -------
    list of Assessment
        The newest edition first; within an edition the order stays.
    """
    return sorted(assessments, key=lambda a: a.edition, reverse=True)


def group_by_severity(case: CaseSummary | None) -> dict[Severity, list[Assessment]]:
    """Group what a case asks of the reader.

    Parameters
    ----------
    case : CaseSummary or None

    Returns
    -------
    dict of Severity to list of Assessment
        Errors, queries and notes, in this order; a severity without any is left out.
    """
    groups = {
        severity: [a for a in select_assessments(case, "") if a.severity is severity]
        for severity in SEVERITIES
    }
    return {severity: group for severity, group in groups.items() if group}


def find_anchor(case: CaseSummary | None, assessment: Assessment) -> str:
    """Id under which the list of queries holds one assessment of a case.

    Parameters
    ----------
    case : CaseSummary or None
    assessment : Assessment
        One of its assessments, the very object.

    Returns
    -------
    str
        Its number in the case, behind a letter; empty for one that is not the case's.
    """
    found = (n for n, one in enumerate(case.assessments if case else ()) if one is assessment)
    number = next(found, None)
    return "" if number is None else f"q{number}"


def make_row(assessment: Assessment, catalog: Catalog, *, anchor: str = "") -> AssessmentRow:
    """Turn one saved assessment into a row of the page.

    Parameters
    ----------
    assessment : Assessment
    catalog : Catalog
        Words before the statement; the statement itself stays as saved.
    anchor : str
        From `find_anchor`, for a row that asks something.

    Returns
    -------
    AssessmentRow
    """
    verdict, severity = assessment.verdict, assessment.severity
    reason = assessment.reason.rstrip(".")
    unknown = catalog("word.not_stated")
    inputs = [f"{i.path} = {unknown if i.value is None else i.value}" for i in assessment.inputs]
    return AssessmentRow(
        sign=SIGNS[verdict],
        lead_sign=SIGNS[severity if severity in SEVERITIES else verdict],
        lead=_find_lead(assessment, catalog),
        verdict=verdict,
        severity=severity,
        title=assessment.title,
        statement=assessment.statement,
        reason="" if reason.removeprefix("not stated: ") in assessment.statement else reason,
        rule=assessment.rule_id,
        origin=assessment.origin,
        cited=cite_rule(assessment, catalog),
        inputs="; ".join(inputs),
        anchor=anchor,
        first_cited=assessment.citations[0] if assessment.citations else "",
    )


def make_rows(
    case: CaseSummary | None, start: str, catalog: Catalog, *, skip: Sequence[str] = ()
) -> tuple[AssessmentRow, ...]:
    """Rows of all assessments of some rules.

    Parameters
    ----------
    case : CaseSummary or None
    start : str
        First letters of the rules' ids, as ``therapy.``.
    catalog : Catalog
    skip : sequence of str
        Rules whose ids begin with one of these are left out.

    Returns
    -------
    tuple of AssessmentRow
        In the order of the case.
    """
    return tuple(
        make_row(a, catalog) for a in select_assessments(case, start) if not a.rule_id.startswith(tuple(skip))
    )


def cite_rule(assessment: Assessment, catalog: Catalog) -> Markup:
    """Say on whose authority a rule speaks.

    Parameters
    ----------
    assessment : Assessment
    catalog : Catalog

    Returns
    -------
    Markup
        Edition, the first citations as links to the references, and how they were seen unless they were read.
    """
    parts: list[str | Markup] = [assessment.edition] if assessment.edition else []
    parts += [
        Markup('<a href="#cite-{0}">[{0}]</a>').format(name) for name in assessment.citations[:_MAX_CITATIONS]
    ]
    if assessment.basis is not Basis.READ:
        parts.append(catalog.word(assessment.basis))
    return Markup(" ").join(parts)


def _find_lead(assessment: Assessment, catalog: Catalog) -> str:
    if assessment.severity in SEVERITIES:
        return catalog(f"lead.{assessment.severity}")
    # The statement of a plain fact that holds needs no word; a definition or an item that is met does.
    is_judged = assessment.rule_id.startswith(("definition.", "care."))
    is_plain = assessment.verdict is Verdict.MET and not is_judged
    return "" if is_plain else catalog.word(assessment.verdict)
