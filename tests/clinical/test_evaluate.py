"""Intervals decide a definition only as a whole, and both kinds of facts are judged alike."""

from __future__ import annotations

import math

import pytest

from miliary.clinical.miliary.definition import read_facts
from miliary.clinical.miliary.evaluate import Quantity, assess_definition, decide
from miliary.clinical.miliary.measured_definition import MeasuredPattern, read_measured_facts
from miliary.clinical.rulebook import find_rules
from miliary.model.assessment import Input
from miliary.model.case import NodulePattern, Study
from miliary.model.vocabulary import Distribution, Modality, Presence

PRESENT, ABSENT, OPEN = Presence.PRESENT, Presence.ABSENT, Presence.NOT_STATED


@pytest.mark.parametrize(
    ("low", "high", "state", "wording"),
    [
        (3.0, 5.0, PRESENT, "at least 3"),
        (2.0, 2.9, ABSENT, "at least 3 (seen 2 to 2.9)"),
        (2.9, 3.0, OPEN, "at least 3 (too close to tell: 2.9 to 3)"),
        (math.nan, math.nan, OPEN, "at least 3 (too close to tell: nan to nan)"),
        (math.inf, math.inf, PRESENT, "at least 3"),
        (None, None, OPEN, "at least 3 (not measured)"),
        (3.0, None, OPEN, "at least 3 (not measured)"),
    ],
)
def test_a_condition_is_decided_where_the_whole_interval_agrees(low, high, state, wording):
    text = f"{low:g} to {high:g}" if low is not None and high is not None else ""
    quantity = Quantity(
        Input("x", low), low, high, reason="not measured", seen=f"seen {text}" if text else "", too_close=text
    )
    found = decide(quantity, "at least 3", lambda value: value >= 3)
    assert (found.state, found.wording) == (state, wording)


def recorded(**changes):
    pattern = {
        "count": 400,
        "max_diameter_mm": 2.5,
        "distribution": Distribution.RANDOM,
        "is_diffuse": PRESENT,
        "is_bilateral": PRESENT,
        "is_uniform": PRESENT,
        "is_innumerable": PRESENT,
        "lung_fraction": 0.9,
    } | changes
    return read_facts(Study("ct", Modality.CT, nodules=NodulePattern(**pattern), slice_thickness_mm=1.0))


def measured(**changes):
    pattern = {
        "n_right": 200,
        "n_left": 200,
        "by_third": (60, 70, 70, 60, 70, 70),
        "p90_mm": 2.5,
        "p90_ci95_mm": (2.5, 2.5),
        "lung_fraction": 0.9,
        "lung_fraction_ci95": (0.9, 0.9),
        "pattern": "random",
        "cv": 0.2,
        "slice_thickness_mm": 1.0,
    } | changes
    return read_measured_facts(MeasuredPattern(**pattern), find_rules("bridge"))


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, {}),
        ({"max_diameter_mm": 3.0}, {"p90_mm": 3.0, "p90_ci95_mm": (3.0, 3.0)}),
        ({"max_diameter_mm": 7.5}, {"p90_mm": 7.5, "p90_ci95_mm": (7.5, 7.5)}),
        ({"max_diameter_mm": None}, {"p90_mm": None}),
        ({"lung_fraction": 0.5}, {"lung_fraction_ci95": (0.5, 0.5)}),
        ({"lung_fraction": None}, {"lung_fraction_ci95": None}),
        ({"distribution": Distribution.PERILYMPHATIC}, {"pattern": "perilymphatic"}),
        ({"distribution": None}, {"pattern": "indeterminate"}),
        ({"is_uniform": ABSENT}, {"cv": 0.9}),
        ({"is_uniform": OPEN}, {"cv": None}),
        ({"is_diffuse": ABSENT}, {"by_third": (60, 70, 70, 60, 70, 0)}),
        ({"is_diffuse": OPEN}, {"by_third": ()}),
    ],
)
def test_the_same_facts_are_judged_alike_whether_recorded_or_measured(stated, found):
    book = find_rules("definition")
    rows = [row for row in book.rows("definition") if not row.get("reader_judgment")]
    for row in rows:
        by_record = assess_definition(row, recorded(**stated), book)
        by_measuring = assess_definition(row, measured(**found), book)
        assert by_record.verdict is by_measuring.verdict, row.id
