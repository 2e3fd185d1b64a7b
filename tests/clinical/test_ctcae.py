"""CTCAE against values on both sides of every threshold, and what is left open where facts are missing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from miliary.clinical.events.ctcae import SEVERITIES, ObservedEvent, find_grades, holds
from miliary.clinical.rulebook import RuleRow, load_rules

FOLDER = Path(__file__).parents[1] / "cases" / "ctcae"
EDITIONS = ("5.0", "6.0")
CASES = {edition: tomllib.loads((FOLDER / f"{edition}.toml").read_text("utf-8")) for edition in EDITIONS}
NUMBERS = ("uln", "lln", "baseline")


def observe(raw: dict[str, Any], value: float | None) -> ObservedEvent:
    return ObservedEvent(
        value=None if value is None else float(value),
        is_alt=raw.get("is_alt", False),
        comparator=raw.get("comparator", ""),
        analyte=raw.get("analyte", ""),
        severities=(raw["symptoms"],) if "symptoms" in raw else SEVERITIES,
        facts=raw.get("facts", {}),
        is_event=raw.get("is_event", value is None),
        is_baseline=raw.get("is_baseline", False),
        **{name: raw.get(name) for name in NUMBERS},
    )


def read_ladders() -> list[Any]:
    return [
        pytest.param(edition, raw, value, expected, id=f"{edition}-{raw['term']}-{n}-{value}")
        for edition in EDITIONS
        for n, raw in enumerate(CASES[edition]["ladder"])
        for value, expected in raw["points"]
    ]


def read_stated() -> list[Any]:
    return [
        pytest.param(edition, raw, id=f"{edition}-{raw['term']}-{n}")
        for edition in EDITIONS
        for n, raw in enumerate(CASES[edition]["stated"])
    ]


@pytest.mark.parametrize(("edition", "raw", "value", "expected"), read_ladders())
def test_thresholds(edition: str, raw: dict[str, Any], value: float, expected: int | list[int]) -> None:
    book = load_rules("ctcae", edition)
    found = find_grades(book.row(raw["term"]), observe(raw, value), book=book)
    assert list(found.possible) == (expected if isinstance(expected, list) else [expected])


@pytest.mark.parametrize(("edition", "raw"), read_stated())
def test_what_was_stated(edition: str, raw: dict[str, Any]) -> None:
    book = load_rules("ctcae", edition)
    found = find_grades(book.row(raw["term"]), observe(raw, raw.get("value")), book=book)
    assert list(found.possible) == raw["grades"]
    assert len(found.gaps) == raw.get("gaps", 0)


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_criterion_and_gap_holds_in_some_case(edition: str) -> None:
    book = load_rules("ctcae", edition)
    held: set[str] = set()
    for raw in CASES[edition]["ladder"]:
        for value, _ in raw["points"]:
            held |= set(find_grades(book.row(raw["term"]), observe(raw, value), book=book).rows)
    for raw in CASES[edition]["stated"]:
        held |= set(find_grades(book.row(raw["term"]), observe(raw, raw.get("value")), book=book).rows)
    assert {row.id for row in book.rows("criterion")} - held == set()


FLIPPED = {"over": "from", "from": "over", "upto": "below", "below": "upto"}


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_number_is_straddled(edition: str) -> None:
    """Moving any threshold by 6 % either way, or taking > for >=, changes what holds for some value."""
    missed = []
    for row in load_rules("ctcae", edition).rows("criterion"):
        seen = [
            observe(raw, value)
            for raw in CASES[edition]["ladder"] + CASES[edition]["stated"]
            if raw["term"] == row["term"]
            for value in ([value for value, _ in raw["points"]] if "points" in raw else [raw.get("value")])
        ]
        for key, number in _numbers(row):
            others = [_with_number(row, key, key, number * factor) for factor in (0.94, 1.06) if number]
            others.append(_with_number(row, key, _flip(key), number))
            missed += [
                (row.id, key, n)
                for n, other in enumerate(others)
                if all(_outcome(row, observed) == _outcome(other, observed) for observed in seen)
            ]
    assert missed == []


def _flip(key: str) -> str:
    prefix = "alt." if key.startswith("alt.") else ""
    relation, dash, reference = key.removeprefix(prefix).partition("_")
    return f"{prefix}{FLIPPED[relation]}{dash}{reference}"


def _numbers(row: RuleRow) -> list[tuple[str, float]]:
    plain = [(key, value) for key, value in row.data.items() if isinstance(value, float)]
    return plain + [(f"alt.{key}", value) for key, value in row.get("alt", {}).items()]


def _with_number(row: RuleRow, key: str, new_key: str, number: float) -> RuleRow:
    data = dict(row.data)
    if key.startswith("alt."):
        alt = {name: value for name, value in data["alt"].items() if name != key.removeprefix("alt.")}
        if new_key != key:  # the first unit's comparison would go on beside the flipped one
            data.pop(key.removeprefix("alt."), None)
        data["alt"] = {**alt, new_key.removeprefix("alt."): number}
    else:
        del data[key]
        data[new_key] = number
    return RuleRow(row.id, row.table, row.citations, row.basis, row.confidence, row.as_of, data)


def _outcome(row: RuleRow, observed: ObservedEvent) -> bool:
    """Whether the criterion holds, a fact or a severity it needs being granted."""
    facts = {**observed.facts, **dict.fromkeys(row.get("any_fact", ()), True)}
    known = ObservedEvent(
        value=observed.value,
        is_alt=observed.is_alt,
        analyte=observed.analyte,
        uln=observed.uln,
        lln=observed.lln,
        baseline=observed.baseline,
        severities=observed.severities,
        facts=facts,
    )
    return holds(row, known)


def test_numbers_of_terms() -> None:
    assert len(load_rules("ctcae", "5.0").rows("term")) == 127
    assert len(load_rules("ctcae", "6.0").rows("term")) == 43


def test_an_emergency_not_recorded_is_named_not_assumed() -> None:
    book = load_rules("ctcae", "5.0")
    found = find_grades(book.row("anemia"), ObservedEvent(value=9.5, lln=12.0), book=book)
    assert found.possible == (2,)
    assert found.unstated == ("life_threatening", "transfusion", "urgent_intervention")


def test_an_emergency_ruled_out_is_not_named() -> None:
    book = load_rules("ctcae", "5.0")
    facts = dict.fromkeys(("life_threatening", "transfusion", "urgent_intervention"), False)
    assert not find_grades(
        book.row("anemia"), ObservedEvent(value=9.5, lln=12.0, facts=facts), book=book
    ).unstated


def test_an_emergency_of_no_higher_grade_is_not_named() -> None:
    book = load_rules("ctcae", "5.0")
    found = find_grades(book.row("anemia"), ObservedEvent(value=7.5, lln=12.0), book=book)
    assert found.possible == (3,)
    assert found.unstated == ("life_threatening", "urgent_intervention")
