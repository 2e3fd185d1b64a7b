"""Grades by CTCAE: what is known of one event into every grade still possible. Knows no case and no words.

What is not stated (a limit, a baseline, symptoms, a fact) is tried in every way that makes a difference; the
grades found are all that are possible. A criterion's numbers are read from its keys: ``over_uln = 3.0`` asks
for more than three times the upper limit, ``from = 125.0`` for at least 125 in the term's unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from types import MappingProxyType
from typing import Any

from miliary.clinical.rulebook import RuleBook, RuleRow

SEVERITIES = ("none", "mild", "moderate", "severe")
_RELATIONS = ("over", "upto", "from", "below")
_REFERENCES = ("uln", "lln", "baseline")


@dataclass(frozen=True)
class ObservedEvent:
    """What is known of one event or value; None where not stated.

    Parameters
    ----------
    value : float or None
        In the term's unit, or whatever the term measures (% of skin...).
    is_alt : bool
        `value` is in the term's second unit.
    comparator : str
        "<" or ">" where the true value lies beyond `value`.
    analyte : str
        For terms that grade more than one.
    uln, lln, baseline : float or None
        In the unit of `value`.
    is_baseline : bool
        `value` is itself the baseline.
    severities : tuple of str
        Which of none, mild, moderate, severe the symptoms may be.
    facts : mapping of str to bool
        Further conditions that were stated, one way or the other.
    is_event : bool
        It was recorded as an adverse event: it has at least the term's lowest grade.
    """

    value: float | None = None
    is_alt: bool = False
    comparator: str = ""
    analyte: str = ""
    uln: float | None = None
    lln: float | None = None
    baseline: float | None = None
    is_baseline: bool = False
    severities: tuple[str, ...] = SEVERITIES
    facts: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    is_event: bool = False


@dataclass(frozen=True)
class PossibleGrades:
    """What a term comes to.

    `possible` grades in order, 0 for none; `unstated` facts that would raise the grade, had they been
    recorded (the grade is "at least"); `gaps` ranges for which no grade is published; `rows` criteria
    that hold in some reading.
    """

    possible: tuple[int, ...]
    unstated: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def is_one(self) -> bool:
        """Only one grade is possible."""
        return len(self.possible) == 1 and not self.gaps


def find_grades(term: RuleRow, observed: ObservedEvent, *, book: RuleBook) -> PossibleGrades:
    """Every grade that a term can have under what is known.

    Parameters
    ----------
    term : RuleRow
        Of the table ``term``.
    observed : ObservedEvent
    book : RuleBook
        CTCAE rules.
    """
    criteria = [row for row in book.rows("criterion") if row["term"] == term.id]
    gaps = [row for row in book.rows("gap") if row["term"] == term.id]
    lowest = min(row["grade"] for row in criteria) if observed.is_event else 0
    possible: set[int] = set()
    missed: set[str] = set()
    held: set[str] = set()
    for known in _list_completions(criteria + gaps, observed):
        holding = [row for row in criteria if holds(row, known)]
        gap = [row["where"] for row in gaps if holds(row, known)]
        held.update(row.id for row in holding)
        if gap:
            missed.update(gap)
        else:
            possible.add(max([lowest, *(row["grade"] for row in holding)]))
    top = max(possible, default=0)
    unstated = sorted(
        {
            fact
            for row in criteria
            if row.get("is_emergency") and row["grade"] > top
            for fact in row["any_fact"]
            if fact not in observed.facts
        }
    )
    return PossibleGrades(
        tuple(sorted(possible)), tuple(unstated), tuple(sorted(missed)), tuple(sorted(held))
    )


def holds(row: RuleRow, known: ObservedEvent) -> bool:
    """Whether one criterion of a grade is fulfilled.

    Parameters
    ----------
    row : RuleRow
        The criterion.
    known : ObservedEvent
        The event with everything the criterion asks for filled in; what is still None fulfills nothing.

    Returns
    -------
    bool
    """
    if row.get("analyte") not in {None, known.analyte}:
        return False
    if not set(row.get("symptoms", SEVERITIES)) & set(known.severities):
        return False
    if "any_fact" in row.data and not any(known.facts.get(fact, False) for fact in row["any_fact"]):
        return False
    if any(known.facts.get(fact, False) for fact in row.get("no_fact", ())):
        return False
    return _baseline_fits(row, known) and all(
        _compare(relation, known.value, _threshold(number, reference, known))
        for relation, reference, number in _numbers(row, is_alt=known.is_alt)
    )


def _baseline_fits(row: RuleRow, known: ObservedEvent) -> bool:
    """The baseline is on the side of its limits that the criterion asks for; a baseline itself is on none."""
    is_high = _is_more(known.baseline, known.uln) and not known.is_baseline
    is_low = _is_more(known.lln, known.baseline) and not known.is_baseline
    if row.get("baseline_high", is_high) != is_high or row.get("baseline_low", is_low) != is_low:
        return False
    factor = row.get("baseline_over_uln")
    return factor is None or _is_more(known.baseline, _multiply(factor, known.uln))


def _multiply(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _is_more(value: float | None, limit: float | None) -> bool:
    """Above, by more than a rounding error."""
    if value is None or limit is None:
        return False
    return value > limit and not math.isclose(value, limit, rel_tol=1e-9)


def _numbers(row: RuleRow, *, is_alt: bool) -> Iterator[tuple[str, str, float]]:
    """Relation, reference and number of every comparison that a criterion asks for."""
    data = {**row.data, **(row.get("alt", {}) if is_alt else {})}
    for key, number in data.items():
        relation, _, reference = key.partition("_")
        if relation in _RELATIONS and isinstance(number, float):
            yield relation, reference, number


def _threshold(number: float, reference: str, known: ObservedEvent) -> float | None:
    if not reference:
        return number
    name, _, offset = reference.partition("_")
    base = {"uln": known.uln, "lln": known.lln, "baseline": known.baseline}[name]
    if base is None:
        return None
    return base + number if offset else base * number


def _compare(relation: str, value: float | None, threshold: float | None) -> bool:
    if value is None or threshold is None:
        return False
    is_over, is_below = _is_more(value, threshold), _is_more(threshold, value)
    return {"over": is_over, "upto": not is_over, "below": is_below, "from": not is_below}[relation]


# --- every reading of what is not stated ----------------------------------------------------------------


def _list_completions(rows: Sequence[RuleRow], observed: ObservedEvent) -> Iterator[ObservedEvent]:
    """The event with everything a criterion asks for filled in, in every way that makes a difference."""
    rows = [row for row in rows if row.get("analyte") in {None, observed.analyte}]
    answers = [{**observed.facts, **stated} for stated in _list_answers(rows, observed)]
    for known in _list_number_completions(rows, observed):
        for severity, facts in product(observed.severities, answers):
            yield replace(known, severities=(severity,), facts=facts)


def _list_answers(rows: Sequence[RuleRow], observed: ObservedEvent) -> Iterator[dict[str, bool]]:
    """Answers to what is not stated.

    A fact that only raises a grade needs to be tried alone: the highest criterion that holds rests on one of
    them. Facts that also forbid a criterion are tried in every combination.
    """
    asked = _asked_facts(rows) - set(observed.facts)
    forbidding = sorted(asked & {fact for row in rows for fact in row.get("no_fact", ())})
    raising = sorted(asked - set(forbidding))
    for chosen in product((False, True), repeat=len(forbidding)):
        base = {**dict.fromkeys(raising, False), **dict(zip(forbidding, chosen, strict=True))}
        yield base
        for fact in raising:
            yield {**base, fact: True}


def _asked_facts(rows: Iterable[RuleRow]) -> set[str]:
    return {
        fact
        for row in rows
        if not row.get("is_emergency")
        for fact in (*row.get("any_fact", ()), *row.get("no_fact", ()))
    }


def _list_number_completions(rows: Sequence[RuleRow], observed: ObservedEvent) -> Iterator[ObservedEvent]:
    asked = {reference.partition("_")[0] for row in rows for _, reference, _ in _numbers(row, is_alt=False)}
    for side, limit in (("baseline_high", "uln"), ("baseline_low", "lln")):
        if any(side in row.data for row in rows):
            asked |= {"baseline", limit}
    for limits in _list_reference_completions(rows, observed, asked):
        for value in _list_values(rows, limits):
            base = value if limits.is_baseline else limits.baseline
            yield replace(limits, value=value, baseline=base, comparator="")


def _list_reference_completions(
    rows: Sequence[RuleRow], observed: ObservedEvent, asked: set[str]
) -> Iterator[ObservedEvent]:
    """Limits and baseline that are not stated, tried on either side of where they change a criterion."""
    # A value that is not stated may lie at any number of the criteria: references are tried around each.
    values = [observed.value] if observed.value is not None else [1.0, *_absolute_numbers(rows, observed)]
    for name in _REFERENCES:
        is_needed = name in asked and not (name == "baseline" and observed.is_baseline)
        if is_needed and getattr(observed, name) is None:
            turns = {turn for value in values for turn in _find_turning_points(rows, name, value, observed)}
            for trial in _sample_around(turns):
                yield from _list_reference_completions(rows, _with_reference(observed, name, trial), asked)
            return
    yield observed


def _absolute_numbers(rows: Sequence[RuleRow], observed: ObservedEvent) -> set[float]:
    """The numbers that criteria compare with no reference."""
    numbers = [found for row in rows for found in _numbers(row, is_alt=observed.is_alt)]
    return {number for _, reference, number in numbers if not reference}


def _with_reference(observed: ObservedEvent, name: str, trial: float) -> ObservedEvent:
    changes: dict[str, Any] = {name: trial}
    return replace(observed, **changes)


def _find_turning_points(
    rows: Sequence[RuleRow], name: str, value: float, observed: ObservedEvent
) -> set[float]:
    """Where an unknown reference makes a comparison with the value turn over."""
    turns = {value}
    for row in rows:
        for _, reference, number in _numbers(row, is_alt=observed.is_alt):
            base, _, offset = reference.partition("_")
            if base == name:
                turns.add(value - number if offset else value / number)
    if name == "baseline":
        turns |= {limit for limit in (observed.uln, observed.lln) if limit is not None}
        if observed.uln is not None:
            turns |= {
                row["baseline_over_uln"] * observed.uln for row in rows if "baseline_over_uln" in row.data
            }
    return turns


def _list_values(rows: Sequence[RuleRow], known: ObservedEvent) -> list[float | None]:
    """The value, or where it is not known one value from every interval it may lie in."""
    if known.value is not None and not known.comparator:
        return [known.value]
    turns = {
        threshold
        for row in rows
        for _, reference, number in _numbers(row, is_alt=known.is_alt)
        if (threshold := _threshold(number, reference, known)) is not None
    }
    if known.value is None:
        return list(_sample_around(turns)) or [None]
    spread = _sample_around(turns | {known.value})
    if known.comparator == "<":
        return [trial for trial in spread if trial < known.value]
    return [trial for trial in spread if trial > known.value]


def _sample_around(turns: set[float]) -> list[float]:
    """Each number, one between any two, one beyond either end."""
    marks = sorted(mark for mark in turns if mark > 0)
    if not marks:
        return []
    between = [(a + b) / 2 for a, b in pairwise(marks)]
    return sorted({marks[0] / 2, *marks, *between, marks[-1] * 2})
