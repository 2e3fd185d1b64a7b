"""Every rule that raises something: it fires on a case and does not fire on its near twin."""

from importlib import import_module

import pytest

from miliary.clinical.drugs import monitoring
from miliary.clinical.record.consistency import assess
from miliary.clinical.record.plausibility import is_possible
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import Case, Patient
from tests.clinical.cases import make_case, read_rows

PAIRS = read_rows("consistency/pairs.toml", "pair")


def raise_all(module, facts, rule):
    found = import_module(f"miliary.clinical.{module}").assess(make_case(facts))
    return [item for item in found if item.is_raised and (item.rule_id + ".").startswith(rule + ".")]


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: row["name"])
def test_a_rule_fires(row):
    found = raise_all(row["module"], row["case"], row["rule"])
    assert found
    assert {item.facts_item for item in found} == {row.get("item")}
    assert all(item.citations and item.edition and item.inputs for item in found)


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: row["name"])
def test_it_does_not_fire_on_the_near_twin(row):
    assert not raise_all(row["module"], row["case"] | row["twin"], row["rule"])


def test_every_gap_and_contradiction_has_a_pair():
    rules = load_rules("consistency", "1")
    wanted = {
        f"consistency.{row.id}" for table in ("gap", "contradiction", "order") for row in rules.rows(table)
    }
    assert wanted == {row["rule"] for row in PAIRS if row["module"] == "record.consistency"}


def test_an_empty_case_raises_nothing():
    assert assess(Case("empty")) == ()


@pytest.mark.parametrize(("value", "is_raised"), [(-0.1, True), (0.0, False), (120.0, False), (120.1, True)])
def test_an_age_is_possible_within_its_bounds(value, is_raised):
    found = assess(Case("c", patient=Patient(age_years=value)))
    assert bool(found) is is_raised
    assert all(item.severity is Severity.ERROR for item in found)


def test_every_range_is_one():
    for row in load_rules("consistency", "1").rows("range"):
        assert is_possible(row["low"], row["low"], row["high"])
        assert is_possible(row["high"], row["low"], row["high"])


def test_an_impossible_number_inside_a_list_is_named_with_its_place():
    case = make_case(
        {"adverse_events": [{"id": "rash", "term": "rash", "when": "day 3", "drug_action": "held"}]}
    )
    event = case.adverse_events[0]
    broken = type(case)("c", adverse_events=(type(event)(**vars(event) | {"grade": 7}),))
    (found,) = assess(broken)
    assert found.inputs == (("adverse_events[rash].grade", 7.0),)


def test_a_hold_rule_that_depends_on_an_unknown_fact_cannot_be_told():
    labs = [
        {"id": "a", "analyte": "alt", "value": 201, "unit": "U/L", "high": 40, "when": "day 14"},
        {"id": "b", "analyte": "alt", "value": 201, "unit": "U/L", "when": "day 21"},
    ]
    drug = {"id": "t", "name": "alectinib", "start": "day 0"}
    found = {a.rule_id: a for a in monitoring.assess(make_case({"treatments": [drug], "labs": labs}))}
    without_bilirubin = found["therapy.hold.transaminase.a"]
    assert without_bilirubin.verdict is Verdict.NOT_ASSESSABLE
    assert "depends" in without_bilirubin.reason
    without_limit = found["therapy.hold.transaminase.b"]
    assert without_limit.verdict is Verdict.NOT_ASSESSABLE
    assert "upper limit" in without_limit.reason
