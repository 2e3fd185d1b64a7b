"""Every rule module, and the running of all of them over one case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

from miliary.assessment import Assessment, Severity, Verdict
from miliary.case import Case
from miliary.clinical.rulebook import Citation, list_rules, load_rules

# Modules with `assess(case) -> tuple[Assessment, ...]`, in the order a reader would ask.
RULES: tuple[str, ...] = ("staging",)

_ORDER = (Severity.ERROR, Severity.QUERY, Severity.NOTE, Severity.INFO)


def assess_case(case: Case) -> tuple[Assessment, ...]:
    """What every rule says of a case, the gravest first, then in the order of `RULES`.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
    """
    found = [
        assessment for name in RULES for assessment in import_module(f"miliary.clinical.{name}").assess(case)
    ]
    return tuple(sorted(found, key=lambda assessment: _ORDER.index(assessment.severity)))


def resolve_citations(assessments: Iterable[Assessment]) -> Mapping[str, Citation]:
    """The citations that these assessments name, by id."""
    known = {
        citation.id: citation
        for system, edition in list_rules()
        for citation in load_rules(system, edition).citations.values()
    }
    named = sorted({name for assessment in assessments for name in assessment.citations})
    return {name: known[name] for name in named}


def count_outcomes(assessments: Iterable[Assessment]) -> dict[str, int]:
    """How many of each severity are raised, and how many could not be told."""
    found = tuple(assessments)
    counts = {s.value: sum(a.severity is s for a in found) for s in _ORDER[:-1]}
    return counts | {"not_assessable": sum(a.verdict is Verdict.NOT_ASSESSABLE for a in found)}
