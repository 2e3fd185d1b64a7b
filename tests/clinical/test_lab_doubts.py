"""Values that cannot be right in their unit are asked about and graded by no rule."""

from __future__ import annotations

import pytest

from miliary.clinical.labs.lab_doubts import find_doubt, set_aside_doubted
from miliary.clinical.registry import assess_case
from tests.clinical.cases import make_case


def make_lab(analyte, value, unit, low=None, high=None, **more):
    numbers = {key: limit for key, limit in (("low", low), ("high", high)) if limit is not None}
    return {"id": "a", "analyte": analyte, "value": value, "unit": unit, "when": "day 1"} | numbers | more


# Analyte, value, unit, limits, and a unit that the question names.
DOUBTED = [
    ("hemoglobin", 121, "g/dL", 120, 160, "g/L"),
    ("hemoglobin", 121, "g/dL", 12, 16, "is the unit right"),
    ("hemoglobin", 12.1, "g/dL", 120, 160, "do not fit g/dL"),
    ("hemoglobin", 12.1, "g/L", None, None, "g/dL"),
    ("white_cells", 6200, "10*9/L", 4000, 10000, "/uL"),
    ("white_cells", 62, "10*9/L", 33, 86, "do not fit"),
    ("platelets", 210, "/uL", 150, 400, "10*3/uL"),
    ("platelets", 21, "10*9/L", 15, 35, "10*4/uL"),
    ("creatinine", 168, "mg/dL", 45, 90, "umol/L"),
    ("creatinine", 0.8, "umol/L", None, None, "mg/dL"),
    ("potassium", 61, "mmol/L", 35, 50, "is the unit right"),
    ("calcium", 2.4, "mg/dL", 2.1, 2.6, "mmol/L"),
    ("glucose", 5.5, "mg/dL", 3.9, 5.5, "mmol/L"),
    ("crp", 12, "mg/dL", 0, 5, "mg/L"),
    ("bilirubin_total", 53, "mg/dL", 3, 21, "umol/L"),
    ("alt", 0.6, "U/L", 0, 0.6, "ukat/L"),
    ("albumin", 38, "g/dL", 35, 50, "g/L"),
    ("hematocrit", 0.4, "%", None, None, "is the unit right"),
]
SOUND = [
    ("hemoglobin", 12.1, "g/dL", 12, 16),
    ("hemoglobin", 121, "g/L", 120, 160),
    ("hemoglobin", 3.0, "g/dL", 12, 16),
    ("hemoglobin", 6.1, "mmol/L", 7.4, 9.9),
    ("white_cells", 250, "10*9/L", 4, 10),
    ("white_cells", 0.1, "10*9/L", 4, 10),
    ("neutrophils", 0, "10*9/L", 1.5, 8),
    ("neutrophils", 900, "/uL", 1500, 8000),
    ("platelets", 4.5, "10*4/uL", 15.8, 34.8),
    ("platelets", 2, "10*9/L", 150, 400),
    ("creatinine", 168, "umol/L", 45, 90),
    ("crp", 0.3, "mg/dL", 0, 0.14),
    ("ck", 100000, "U/L", 30, 200),
    ("ast", 2.5, "ukat/L", 0, 0.6),
    ("potassium", 9.1, "mEq/L", 3.5, 5.0),
    ("some_other_thing", 1e6, "g/dL", None, None),
    ("hemoglobin", 121, "", 12, 16),
]


@pytest.mark.parametrize(("analyte", "value", "unit", "low", "high", "word"), DOUBTED)
def test_a_number_that_does_not_fit_its_unit_is_asked_about_and_not_graded(
    analyte, value, unit, low, high, word
):
    case = make_case({"labs": [make_lab(analyte, value, unit, low, high)]})
    doubt = find_doubt(case.labs[0])
    assert doubt is not None
    assert word in doubt.words
    assert set_aside_doubted(case).labs[0].value is None


@pytest.mark.parametrize(("analyte", "value", "unit", "low", "high"), SOUND)
def test_an_extreme_number_of_a_patient_is_no_slip(analyte, value, unit, low, high):
    case = make_case({"labs": [make_lab(analyte, value, unit, low, high)]})
    assert find_doubt(case.labs[0]) is None
    assert set_aside_doubted(case) is case


def test_no_rule_grades_a_value_in_doubt_and_it_is_a_query():
    case = make_case({"labs": [make_lab("hemoglobin", 121, "g/dL", 12, 16)]})
    found = assess_case(case)
    assert {item.severity for item in found if item.rule_id == "labs.doubted"} == {"query"}
    assert not [item for item in found if item.rule_id in ("ctcae.lab_grade", "labs.fold")]
    right = make_case({"labs": [make_lab("hemoglobin", 7.1, "g/dL", 12, 16)]})
    assert [item for item in assess_case(right) if item.rule_id == "ctcae.lab_grade"]


def test_an_approximate_value_is_a_query_and_no_grade():
    case = make_case({"labs": [make_lab("alt", 420, "U/L", 0, 35, comparator="≈")]})
    found = assess_case(case)
    assert "about 420" in next(item.statement for item in found if item.rule_id == "labs.doubted")
    assert not [item for item in found if item.rule_id == "ctcae.lab_grade"]


@pytest.mark.parametrize(
    ("second", "is_asked"),
    [
        (make_lab("hemoglobin", 7.1, "g/dL"), True),
        (make_lab("hemoglobin", 71, "g/L"), True),
        (make_lab("hemoglobin", 121, "g/L"), False),
        (make_lab("hemoglobin", 7.1, "g/dL", when="day 2"), False),
        (make_lab("hemoglobin", 7.1, "g/dL", material="pleural fluid"), False),
    ],
)
def test_two_values_of_one_day_that_differ_are_asked_about(second, is_asked):
    case = make_case({"labs": [make_lab("hemoglobin", 12.1, "g/dL"), second | {"id": "b"}]})
    asked = [item for item in assess_case(case) if item.rule_id == "labs.doubted"]
    assert bool(asked) is is_asked
