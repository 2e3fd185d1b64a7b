"""Is it miliary? Each published definition tested on its own against what one CT study states.

There is no single definition, so the outcome is a matrix: one assessment per definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Claim, NodulePattern, Study, path_of
from miliary.model.vocabulary import Modality, Presence


class Criterion(NamedTuple):
    """One condition of a definition: does the study meet it, and on which fact does that rest."""

    state: Presence
    fact: Input
    wording: str


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
    matrix = tuple(_assess_row(row, study, book) for row in book.rows("definition"))
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


def _assess_row(row: RuleRow, study: Study | None, book: RuleBook) -> Assessment:
    name = str(row["name"])
    title = f"Miliary by {name}"
    credit = book.credit(row)
    rule_id = f"definition.{row.id}"
    if row.get("text_not_read") or study is None or study.nodules is None:
        reason = (
            "its wording has not been read" if row.get("text_not_read") else "no CT states a nodule pattern"
        )
        return Assessment(
            rule_id,
            title,
            Verdict.NOT_ASSESSABLE,
            Severity.INFO,
            f"{name}: not assessable.",
            reason,
            **credit,
        )
    criteria = list(_list_criteria(row, study, book))
    verdict, reason = judge(criteria)
    return Assessment(
        rule_id,
        title,
        verdict,
        Severity.INFO,
        f"{name}: {verdict.value.replace('_', ' ')}.",
        reason,
        inputs=tuple(criterion.fact for criterion in criteria),
        origin=study.origin,
        **credit,
    )


def judge(criteria: list[Criterion]) -> tuple[Verdict, str]:
    """Verdict and reason: one condition that fails decides; one that is not stated leaves it open."""
    failed = [criterion.wording for criterion in criteria if criterion.state is Presence.ABSENT]
    if failed:
        return Verdict.NOT_MET, "not fulfilled: " + ", ".join(failed)
    unknown = [criterion.wording for criterion in criteria if criterion.state is Presence.NOT_STATED]
    if unknown:
        return Verdict.NOT_ASSESSABLE, "not stated: " + ", ".join(unknown)
    return Verdict.MET, ""


def _list_criteria(row: RuleRow, study: Study, book: RuleBook) -> Iterator[Criterion]:
    pattern = study.nodules
    assert pattern is not None
    where = path_of("studies", study.id, "nodules")
    if row.get("max_diameter_mm") is not None:
        yield _compare_size(row, study, pattern, book)
    if row.get("distribution"):
        state = _same(pattern.distribution, row["distribution"])
        value = pattern.distribution.value if pattern.distribution else None
        yield Criterion(state, Input(f"{where}.distribution", value), f"{row['distribution']} distribution")
    if row.get("more_than_nodules") is not None:
        yield _compare_count(pattern, int(row["more_than_nodules"]), where)
    if row.get("min_lung_fraction") is not None:
        yield _compare_fraction(pattern, float(row["min_lung_fraction"]), where)
    for key, name in (
        ("diffuse", "is_diffuse"),
        ("bilateral", "is_bilateral"),
        ("uniform", "is_uniform"),
        ("profuse", "is_innumerable"),
    ):
        if row.get(key):
            state = getattr(pattern, name)
            yield Criterion(state, Input(f"{where}.{name}", state.value), key)


def _compare_size(row: RuleRow, study: Study, pattern: NodulePattern, book: RuleBook) -> Criterion:
    """The largest small nodule decides; a smaller figure can only rule the definition out."""
    limit, inclusive = float(row["max_diameter_mm"]), bool(row["inclusive"])
    wording = f"nodule diameter {'at most' if inclusive else 'below'} {limit:g} mm"
    where = path_of("studies", study.id, "nodules")
    thickness = book.row("slice_thickness")
    too_thick = (
        study.slice_thickness_mm is not None
        and study.slice_thickness_mm > thickness["max_slice_thickness_mm"]
        and limit <= thickness["below_diameter_mm"]
    )
    if too_thick:
        fact = Input(path_of("studies", study.id, "slice_thickness_mm"), study.slice_thickness_mm)
        return Criterion(Presence.NOT_STATED, fact, f"{wording} (slices too thick to size it)")
    largest = pattern.max_diameter_mm
    if largest is not None:
        state = Presence.PRESENT if _is_within(largest, limit, inclusive=inclusive) else Presence.ABSENT
        return Criterion(state, Input(f"{where}.max_diameter_mm", largest), wording)
    for name, value in (("median", pattern.median_diameter_mm), ("min", pattern.min_diameter_mm)):
        if value is not None and not _is_within(value, limit, inclusive=inclusive):
            return Criterion(Presence.ABSENT, Input(f"{where}.{name}_diameter_mm", value), wording)
    return Criterion(Presence.NOT_STATED, Input(f"{where}.max_diameter_mm", None), wording)


def _is_within(value: float, limit: float, *, inclusive: bool) -> bool:
    return value <= limit if inclusive else value < limit


def _compare_count(pattern: NodulePattern, more_than: int, where: str) -> Criterion:
    """A count decides. "Innumerable" counts as more than any number a definition names."""
    wording = f"more than {more_than} nodules"
    if pattern.count is None and pattern.is_innumerable is Presence.PRESENT:
        return Criterion(Presence.PRESENT, Input(f"{where}.is_innumerable", "present"), wording)
    state = Presence.NOT_STATED
    if pattern.count is not None:
        state = Presence.PRESENT if pattern.count > more_than else Presence.ABSENT
    return Criterion(state, Input(f"{where}.count", pattern.count), wording)


def _compare_fraction(pattern: NodulePattern, more_than: float, where: str) -> Criterion:
    state = Presence.NOT_STATED
    if pattern.lung_fraction is not None:
        state = Presence.PRESENT if pattern.lung_fraction > more_than else Presence.ABSENT
    fact = Input(f"{where}.lung_fraction", pattern.lung_fraction)
    return Criterion(state, fact, f"more than {more_than:.0%} of the lung")


def _same(found: object, wanted: object) -> Presence:
    if found is None:
        return Presence.NOT_STATED
    return Presence.PRESENT if found == wanted else Presence.ABSENT


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
