"""Saved assessments of the case as rows of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from miliary.report.catalog import Catalog
from miliary.report.reading import JsonObject, find, items, text, words

SEVERITIES = ("error", "query", "note")
# Signs that need no color: an outcome is read in black and white too.
SIGNS: Mapping[str, str] = {
    "met": "\u25cf",
    "not_met": "\u25cb",
    "not_assessable": "?",
    "error": "\u2716",
    "query": "?",
    "note": "i",
    "info": "\u00b7",
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
    cited : str
        Edition, citations and basis of the rule.
    inputs : str
        The facts that the rule looked at, shown on hover.
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
    cited: str
    inputs: str


def select_assessments(case: JsonObject, start: str) -> list[JsonObject]:
    """Assessments of the rules whose id begins with `start`."""
    return [a for a in items(case, "assessments") if text(a, "rule_id").startswith(start)]


def select_queries(case: JsonObject, start: str) -> list[JsonObject]:
    """Assessments of some rules that are errors or ask for an answer."""
    return [a for a in select_assessments(case, start) if text(a, "severity") in {"error", "query"}]


def sort_by_edition(assessments: Iterable[JsonObject]) -> list[JsonObject]:
    """Assessments of the newest edition first."""
    return sorted(assessments, key=lambda a: text(a, "edition"), reverse=True)


def group_by_severity(case: JsonObject) -> dict[str, list[JsonObject]]:
    """Errors, queries and notes of a case, in this order; a severity without any is left out."""
    groups = {
        severity: [a for a in items(case, "assessments") if text(a, "severity") == severity]
        for severity in SEVERITIES
    }
    return {severity: group for severity, group in groups.items() if group}


def make_row(assessment: JsonObject, catalog: Catalog) -> AssessmentRow:
    """Turn one saved assessment into a row of the page."""
    verdict = text(assessment, "verdict") or "not_assessable"
    severity = text(assessment, "severity") or "info"
    statement, reason = text(assessment, "statement"), text(assessment, "reason").rstrip(".")
    unknown = catalog("word.not_stated")
    inputs = [
        f"{text(i, 'path')} = {unknown if find(i, 'value') is None else find(i, 'value')}"
        for i in items(assessment, "inputs")
    ]
    return AssessmentRow(
        sign=SIGNS.get(verdict, "?"),
        lead_sign=SIGNS.get(severity if severity in SEVERITIES else verdict, "?"),
        lead=_find_lead(assessment, severity, verdict, catalog),
        verdict=verdict,
        severity=severity,
        title=text(assessment, "title"),
        statement=statement,
        reason="" if reason.removeprefix("not stated: ") in statement else reason,
        rule=text(assessment, "rule_id"),
        origin=text(assessment, "origin"),
        cited=_cite_rule(assessment, catalog),
        inputs="; ".join(inputs),
    )


def make_rows(
    case: JsonObject, start: str, catalog: Catalog, *, skip: Sequence[str] = ()
) -> tuple[AssessmentRow, ...]:
    """Rows of all assessments of some rules.

    Parameters
    ----------
    case : mapping
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
        make_row(a, catalog)
        for a in select_assessments(case, start)
        if not text(a, "rule_id").startswith(tuple(skip))
    )


def _find_lead(assessment: JsonObject, severity: str, verdict: str, catalog: Catalog) -> str:
    if severity in SEVERITIES:
        return catalog(f"lead.{severity}")
    # The statement of a plain fact that holds needs no word; a definition or an item that is met does.
    is_judged = text(assessment, "rule_id").startswith(("definition.", "care."))
    return catalog.word(verdict) if is_judged or verdict != "met" else ""


def _cite_rule(assessment: JsonObject, catalog: Catalog) -> str:
    edition, basis = text(assessment, "edition"), text(assessment, "basis")
    parts = [edition] if edition else []
    parts += [f"[{name}]" for name in words(assessment, "citations")[:_MAX_CITATIONS]]
    if basis and basis != "read":
        parts.append(catalog.word(basis))
    return " ".join(parts)
