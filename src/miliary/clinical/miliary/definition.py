"""Is it miliary? Each published definition tested on its own against what one CT study states.

There is no single definition, so the outcome is a matrix: one assessment per definition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from miliary.clinical.miliary.evaluate import (
    PROPERTIES,
    Criterion,
    NoduleFacts,
    Quantity,
    assess_definition,
)
from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Claim, NodulePattern, Study, path_of
from miliary.model.vocabulary import Modality, Presence

# Field of a recorded pattern that states each property of a definition.
_PROPERTY_FIELDS = {
    "diffuse": "is_diffuse",
    "bilateral": "is_bilateral",
    "uniform": "is_uniform",
    "profuse": "is_innumerable",
}


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Test the nodule pattern of a case against every published definition.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the definitions; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        One per definition, then what follows from the record's own wording. Empty where the case neither
        describes small nodules on CT nor calls anything miliary.
    """
    book = rules or find_rules("definition")
    study = best_described_study(case)
    claims = [claim for claim in case.claims if claim.kind == "miliary"]
    if study is None and not claims:
        return ()
    facts = None if study is None else read_facts(study)
    matrix = tuple(assess_definition(row, facts, book) for row in book.rows("definition"))
    return (*matrix, *_check_own_size(case, book), *_check_threshold(claims, book))


def best_described_study(case: Case) -> Study | None:
    """The CT study that states most about its small nodules, the first of equals; None without one."""
    described = [
        study for study in case.studies if study.modality is Modality.CT and study.nodules is not None
    ]
    return max(described, key=_n_stated, default=None)


def _n_stated(study: Study) -> int:
    pattern = study.nodules
    if pattern is None:
        return 0
    return sum(value not in (None, Presence.NOT_STATED) for value in vars(pattern).values())


def read_facts(study: Study) -> NoduleFacts | None:
    """What a record states of the small nodules of one study, for the definitions to be judged by.

    Parameters
    ----------
    study : Study

    Returns
    -------
    NoduleFacts or None
        None where the study describes no nodules. Numbers are taken as exact. The largest nodule is what a
        limit on size is compared with; "innumerable" counts as more than any number a definition names.
    """
    pattern = study.nodules
    if pattern is None:
        return None
    where = path_of("studies", study.id, "nodules")
    largest, fraction = pattern.max_diameter_mm, pattern.lung_fraction
    return NoduleFacts(
        size=Quantity(
            Input(f"{where}.max_diameter_mm", largest),
            largest,
            largest,
            lower_bounds=(
                Input(f"{where}.median_diameter_mm", pattern.median_diameter_mm),
                Input(f"{where}.min_diameter_mm", pattern.min_diameter_mm),
            ),
        ),
        count=_read_count(pattern, where),
        lung_fraction=Quantity(Input(f"{where}.lung_fraction", fraction), fraction, fraction),
        distribution=Input(
            f"{where}.distribution", pattern.distribution.value if pattern.distribution else None
        ),
        is_distribution_known=pattern.distribution is not None,
        properties={key: _read_property(pattern, key, where) for key in PROPERTIES},
        slice_thickness=Input(path_of("studies", study.id, "slice_thickness_mm"), study.slice_thickness_mm),
        origin=study.origin,
    )


def _read_count(pattern: NodulePattern, where: str) -> Quantity:
    if pattern.count is None and pattern.is_innumerable is Presence.PRESENT:
        return Quantity(Input(f"{where}.is_innumerable", "present"), math.inf, math.inf)
    return Quantity(Input(f"{where}.count", pattern.count), pattern.count, pattern.count)


def _read_property(pattern: NodulePattern, key: str, where: str) -> Criterion:
    name = _PROPERTY_FIELDS[key]
    state: Presence = getattr(pattern, name)
    return Criterion(state, Input(f"{where}.{name}", state.value), key)


def _check_own_size(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Earlier cases set aside for their nodule size, while no size of this case is stated."""
    claim = next((c for c in case.claims if c.kind == "earlier_cases_excluded_by_size"), None)
    if claim is None or any(_states_size(study.nodules) for study in case.studies):
        return
    yield Assessment(
        "definition.own_size",
        "Nodule size of this case",
        Verdict.MET,
        Severity.QUERY,
        "Earlier cases are set aside for their nodule size, but this case states no nodule size.",
        inputs=(Input(path_of("claims", claim.id, "kind"), claim.kind),),
        origin=claim.origin,
        facts_item="j9",
        **book.credit(*(row for row in book.rows("definition") if row.get("max_diameter_mm"))),
    )


def _states_size(pattern: NodulePattern | None) -> bool:
    return pattern is not None and any(
        size is not None
        for size in (pattern.min_diameter_mm, pattern.median_diameter_mm, pattern.max_diameter_mm)
    )


def _check_threshold(claims: list[Claim], book: RuleBook) -> Iterator[Assessment]:
    """A strict bound where the glossary includes it: a nodule of just that size is judged differently."""
    row = book.row("fleischner_2008")
    limit = float(row["max_diameter_mm"])
    for claim in claims:
        if claim.threshold_mm != limit:
            continue
        yield Assessment(
            "definition.threshold_wording",
            "Strict and inclusive bound",
            Verdict.MET,
            Severity.NOTE,
            f"The record asks for nodules below {limit:g} mm, the Fleischner glossary 2008 for at most "
            f"{limit:g} mm: a nodule of exactly {limit:g} mm is judged differently.",
            inputs=(Input(path_of("claims", claim.id, "threshold_mm"), claim.threshold_mm),),
            origin=claim.origin,
            facts_item="j10",
            **book.credit(row),
        )
