"""Adverse events of a case: grades, their ranges, and the grade written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from miliary.clinical.events import adverse_events
from miliary.clinical.events.adverse_events import assess, assess_lab_grades
from miliary.clinical.rulebook import RuleBook, find_rules, load_rules
from miliary.model.assessment import Assessment, Basis, Severity, Verdict
from miliary.model.case import AdverseEvent, Case, LabResult, Patient, Treatment, When
from miliary.model.vocabulary import Presence, Sex
from tests.clinical.cases import make_case

PRESENT, ABSENT = Presence.PRESENT, Presence.ABSENT


def judge(term: str, **kwargs: Any) -> Assessment:
    event = AdverseEvent(id="e", term=term, **kwargs)
    (found,) = assess(Case(id="c", adverse_events=(event,), patient=Patient(age_years=40)))
    return found


def lab(day: int = 0, **kwargs: Any) -> LabResult:
    return LabResult(
        **{"id": f"l{day}", "analyte": "alt", "unit": "U/L", "high": 40.0, "when": When(day=day), **kwargs}
    )


ALECTINIB = Treatment(id="t", name="alectinib", start=When(day=0))


def grade_labs(*labs: LabResult, edition: str = "5.0", **case: Any) -> list[Assessment]:
    return list(assess_lab_grades(Case(id="c", labs=labs, **case), edition=edition))


def test_a_rash_without_a_term_cannot_be_checked() -> None:
    found = judge("skin rash", ctcae_edition="5.0", grade=2)
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.severity is Severity.QUERY
    assert found.values == ("Rash maculo-papular", "Rash acneiform", "Urticaria")
    assert found.facts_item == "j36"


def unread(book: RuleBook, *names: str) -> RuleBook:
    """The same rules, with rows whose content nobody read in a source."""
    tables = {
        table: tuple(replace(row, basis=Basis.UNVERIFIED) if row.id in names else row for row in rows)
        for table, rows in book.tables.items()
    }
    return replace(book, tables=tables)


@pytest.mark.parametrize("row", ["myalgia", "myalgia-g2a", "hyponatremia"])
def test_a_threshold_that_nobody_read_grades_nothing(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book = unread(find_rules("ctcae", edition="5.0"), row)
    monkeypatch.setattr(adverse_events, "find_rules", lambda *_, **__: book)
    if row == "hyponatremia":
        (found,) = grade_labs(lab(analyte="sodium", unit="mmol/L", value=118.0, low=135.0, high=None))
    else:
        found = judge("myalgia", grade=2, symptom_severity="moderate", ctcae_edition="5.0")
    assert (found.verdict, found.severity) == (Verdict.NOT_ASSESSABLE, Severity.QUERY)
    assert found.reason == "its thresholds were not read in a source"
    assert not found.values


def test_every_threshold_of_both_editions_was_read() -> None:
    rows = [row for name in ("5.0", "6.0") for row in load_rules("ctcae", name).all_rows()]
    assert [row.id for row in rows if not row.is_verified] == []


def test_the_same_rash_with_term_surface_and_symptoms_is_verified() -> None:
    facts = {"instrumental_adl": ABSENT, "self_care_adl": ABSENT}
    found = judge("rash maculo-papular", ctcae_edition="5.0", grade=2, bsa_percent=15, facts=facts)
    assert found.verdict is Verdict.MET
    assert found.severity is Severity.INFO
    assert found.value == 2


def test_a_term_without_its_surface_leaves_the_grade_open() -> None:
    found = judge("Rash maculo-papular", ctcae_edition="5.0", grade=2)
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.values == ("1", "2", "3")
    assert "body surface" in found.reason


def test_a_grade_that_the_surface_forbids_is_an_error() -> None:
    facts = {"instrumental_adl": ABSENT, "self_care_adl": ABSENT}
    found = judge("rash maculo-papular", grade=3, bsa_percent=15, facts=facts)
    assert found.verdict is Verdict.NOT_MET
    assert found.severity is Severity.ERROR


def test_a_higher_grade_may_rest_on_an_emergency_not_recorded() -> None:
    facts = {"instrumental_adl": ABSENT, "self_care_adl": ABSENT}
    found = judge("diarrhea", grade=4, stools_over_baseline=5, facts=facts)
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert "life threatening" in found.reason


def test_the_emergency_ruled_out_makes_it_an_error() -> None:
    gone = ("instrumental_adl", "self_care_adl", "hospitalization", "life_threatening", "urgent_intervention")
    found = judge("diarrhea", grade=4, stools_over_baseline=5, facts=dict.fromkeys(gone, ABSENT))
    assert found.verdict is Verdict.NOT_MET


@pytest.mark.parametrize(
    ("term", "grade", "verdict"),
    [
        ("pneumonitis", 5, Verdict.MET),
        ("pneumonitis", None, Verdict.MET),
        ("pneumonitis", 4, Verdict.NOT_MET),
        ("myalgia", 5, Verdict.NOT_MET),
    ],
)
def test_death_is_grade_five_where_it_is_defined(term: str, grade: int | None, verdict: Verdict) -> None:
    found = judge(term, grade=grade, is_fatal=PRESENT)
    assert found.verdict is verdict
    assert found.value == (5 if term == "pneumonitis" else None)


def test_a_grade_five_that_is_not_fatal_is_an_error() -> None:
    found = judge("myalgia", grade=5, symptom_severity="severe", is_fatal=ABSENT)
    assert found.verdict is Verdict.NOT_MET


def test_clinical_terms_of_edition_six_are_not_encoded() -> None:
    found = judge("myalgia", ctcae_edition="6.0", grade=2)
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert "not encoded" in found.reason


def test_an_edition_that_is_not_encoded_says_so() -> None:
    assert "CTCAE 4.0 is not encoded" in judge("myalgia", ctcae_edition="4.0").reason


def test_blood_pressure_of_a_child_is_not_graded() -> None:
    event = AdverseEvent(id="e", term="hypertension", facts={"monotherapy": PRESENT})
    (child,) = assess(Case(id="c", adverse_events=(event,), patient=Patient(age_years=12)))
    (adult,) = assess(Case(id="c", adverse_events=(event,), patient=Patient(age_years=18)))
    assert child.verdict is Verdict.NOT_ASSESSABLE
    assert "adults" in child.reason
    assert "2" in adult.values


def test_an_event_is_graded_by_the_lab_value_it_names() -> None:
    event = AdverseEvent(id="e", term="ALT increased", ctcae_edition="5.0", grade=2, lab="l28")
    case = Case(
        id="c",
        adverse_events=(event,),
        labs=(lab(-1, value=20.0), lab(28, value=130.0)),
        treatments=(ALECTINIB,),
    )
    found = assess(case)[0]
    assert (found.verdict, found.value) == (Verdict.MET, 2)
    wrong = assess(replace(case, adverse_events=(replace(event, grade=3),)))[0]
    assert wrong.verdict is Verdict.NOT_MET


def test_amylase_of_unknown_symptoms_has_two_grades() -> None:
    amylase = lab(analyte="amylase_total", value=584.0, unit="IU/L", high=132.0)
    (found,) = grade_labs(amylase)
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.values == ("2", "3")
    assert "symptoms" in found.reason
    (calm,) = grade_labs(replace(amylase, is_symptomatic=ABSENT))
    assert calm.value == 2
    (ill,) = grade_labs(replace(amylase, is_symptomatic=PRESENT))
    assert ill.value == 3


def test_a_default_range_is_named_and_only_used_where_the_country_is_known() -> None:
    amylase = lab(analyte="amylase_total", value=584.0, unit="IU/L", high=None, is_symptomatic=ABSENT)
    (unknown,) = grade_labs(amylase)
    assert (unknown.rule_id, unknown.verdict) == ("ctcae.lab_not_graded", Verdict.NOT_ASSESSABLE)
    (japan,) = grade_labs(amylase, patient=Patient(region="JP"))
    assert japan.value == 2
    assert "default range (JP)" in japan.statement
    (america,) = grade_labs(amylase, patient=Patient(region="US"))
    assert america.value == 3


def test_the_laboratorys_own_range_goes_before_the_default() -> None:
    amylase = lab(analyte="amylase_total", value=584.0, unit="U/L", high=600.0)
    assert grade_labs(amylase, patient=Patient(region="JP")) == []


def test_a_range_that_depends_on_sex_needs_it() -> None:
    value = lab(value=60.0, high=None)
    (unknown,) = grade_labs(value, patient=Patient(region="JP"))
    assert unknown.rule_id == "ctcae.lab_not_graded"
    assert "the laboratory's range" in unknown.reason
    (found,) = grade_labs(value, patient=Patient(region="JP", sex=Sex.FEMALE))
    assert found.value == 1


def test_a_raised_baseline_changes_the_scale() -> None:
    labs = (lab(-1, value=60.0), lab(28, value=170.0))
    after = grade_labs(*labs, treatments=(ALECTINIB,))[-1]
    assert after.value == 1  # 2.8 times a raised baseline; 4.25 times the limit would be 2
    normal = (lab(-1, value=30.0), lab(28, value=170.0))
    assert grade_labs(*normal, treatments=(ALECTINIB,))[-1].value == 2


def test_the_last_value_before_treatment_is_the_baseline() -> None:
    labs = (lab(-30, value=20.0), lab(-1, value=60.0), lab(28, value=170.0))
    assert grade_labs(*labs, treatments=(ALECTINIB,))[-1].value == 1
    swapped = (lab(-30, value=60.0), lab(-1, value=20.0), lab(28, value=170.0))
    assert grade_labs(*swapped, treatments=(ALECTINIB,))[-1].value == 2


def test_without_a_baseline_both_scales_are_open() -> None:
    (found,) = grade_labs(lab(28, value=100.0), treatments=(ALECTINIB,))
    assert found.values == ("0", "1")
    assert "before treatment" in found.reason


def test_a_value_before_treatment_is_no_adverse_event() -> None:
    (found,) = grade_labs(lab(-1, value=100.0), treatments=(ALECTINIB,))
    assert "no adverse event" in found.statement
    assert found.severity is Severity.INFO


def test_units_do_not_matter_where_only_limits_are_compared() -> None:
    bilirubin = lab(analyte="bilirubin_total", value=40.0, unit="umol/L", high=20.0)
    (found,) = grade_labs(bilirubin)
    assert found.value == 2


def test_units_are_converted_where_numbers_are_compared() -> None:
    (found,) = grade_labs(lab(analyte="hemoglobin", value=95.0, unit="g/L", low=120.0, high=None))
    assert found.value == 2
    (molar,) = grade_labs(lab(analyte="hemoglobin", value=5.0, unit="mmol/L", low=7.4, high=None))
    assert molar.value == 2


def test_a_unit_that_cannot_be_converted_leaves_every_grade_open() -> None:
    (found,) = grade_labs(lab(analyte="hemoglobin", value=95.0, unit="U/mL", low=120.0, high=None))
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert "unit" in found.reason


def test_the_edition_changes_the_grade() -> None:
    neutrophils = lab(analyte="neutrophils", value=1.2, unit="10*9/L", low=2.0, high=None)
    assert [found.value for found in grade_labs(neutrophils)] == [2]
    assert [found.value for found in grade_labs(neutrophils, edition="6.0")] == [1]


def test_limits_are_converted_with_the_value() -> None:
    calcium = lab(analyte="calcium_corrected", value=103.0, unit="mg/L", high=102.0, is_symptomatic=ABSENT)
    (found,) = grade_labs(calcium)
    assert found.value == 1


def test_a_value_of_the_day_treatment_starts_is_the_baseline() -> None:
    labs = (lab(0, value=60.0), lab(28, value=170.0))
    assert grade_labs(*labs, treatments=(ALECTINIB,))[-1].value == 1


def test_treatment_starts_with_its_first_drug() -> None:
    second = Treatment(id="u", name="lorlatinib", start=When(day=100))
    labs = (lab(-1, value=60.0), lab(28, value=20.0), lab(130, value=170.0))
    assert grade_labs(*labs, treatments=(second, ALECTINIB))[-1].value == 1


def test_a_value_marked_as_baseline_goes_before_the_last_one() -> None:
    labs = (lab(-30, value=60.0, is_baseline=True), lab(-1, value=20.0), lab(28, value=170.0))
    assert grade_labs(*labs, treatments=(ALECTINIB,))[-1].value == 1


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "grade"),
    [
        ("potassium", 7.1, "mmol/L", 4),
        ("potassium", 7.1, "mEq/L", 4),
        ("potassium", 5.3, "mmol/L", None),
        ("sodium", 119.0, "mEq/L", 4),
        ("potassium", 2.4, "mmol/L", 4),
        ("potassium", 2.9, "mmol/L", 3),
        ("potassium", 6.5, "mmol/L", 3),
        ("sodium", 119.0, "mmol/L", 4),
        ("qtc", 505.0, "ms", 3),
        ("triglycerides", 310.0, "mg/dL", 2),
        ("triglycerides", 3.5, "mmol/L", 2),
        ("neutrophils", 900.0, "/uL", 3),
        ("neutrophils", 0.9, "10*9/L", 3),
        ("platelets", 4.0, "10*4/uL", 3),
    ],
)
def test_an_absolute_limit_needs_no_range_of_the_laboratory(analyte, value, unit, grade) -> None:
    found = grade_labs(lab(analyte=analyte, value=value, unit=unit, high=None))
    graded = [item.value for item in found if item.rule_id == "ctcae.lab_grade"]
    assert graded == ([] if grade is None else [grade])


@pytest.mark.parametrize("unit", ["/mm3", "cells/mm3", "/uL", "/\u00b5L", "cells/uL"])
def test_a_count_is_read_in_every_spelling_of_its_unit(unit) -> None:
    count = {"id": "n", "analyte": "neutrophils", "value": 900, "unit": unit, "low": 1800}
    found = [item for item in assess(make_case({"labs": [count]})) if item.rule_id == "ctcae.lab_grade"]
    assert [item.value for item in found] == [3]


@pytest.mark.parametrize(
    ("value", "unit", "high", "base", "base_unit", "grade"),
    [
        (150.0, "umol/L", 92.0, 0.7, "mg/dL", 2),
        (2.2, "mg/dL", 1.04, 60.0, "umol/L", 3),
        (150.0, "umol/L", 92.0, 62.0, "umol/L", 2),
    ],
)
def test_a_baseline_in_another_unit_is_converted(value, unit, high, base, base_unit, grade) -> None:
    labs = [
        {"id": "a", "analyte": "creatinine", "value": base, "unit": base_unit, "is_baseline": True},
        {"id": "b", "analyte": "creatinine", "value": value, "unit": unit, "high": high, "when": "day 30"},
    ]
    drug = {"id": "t", "name": "lorlatinib", "start": "day 0"}
    found = assess(make_case({"labs": labs, "treatments": [drug]}))
    after = [item for item in found if item.inputs[0].path.startswith("labs[b]")]
    assert [item.value for item in after] == [grade]


@pytest.mark.parametrize(
    ("event", "labs", "grades"),
    [
        ({"when": "day 20"}, [("a", 130, "day 20")], ("2",)),
        ({"when": "day 20"}, [("a", 130, "day 20"), ("b", 300, "day 22")], ("3",)),
        ({"when": "day 20"}, [("a", 130, "day 20"), ("b", 300, "day 60")], ("2",)),
        ({"when": "day 20", "end": "day 70"}, [("a", 130, "day 20"), ("b", 300, "day 60")], ("3",)),
        ({}, [("a", 130, "day 20")], ("2",)),
        ({}, [("a", 130, "day 20"), ("b", 300, "day 60")], ("1", "2", "3", "4")),
        ({"when": "day 20"}, [("a", 130, "day 90")], ("1", "2", "3", "4")),
    ],
)
def test_an_event_meets_its_laboratory_value_without_an_id(event, labs, grades) -> None:
    facts = {
        "treatments": [{"id": "t", "name": "x", "start": "day 0"}],
        "labs": [{"id": "base", "analyte": "alt", "value": 20, "unit": "U/L", "high": 40, "when": "day -3"}],
        "adverse_events": [{"id": "e", "term": "ALT increased", **event}],
    }
    same = {"analyte": "alt", "unit": "U/L", "high": 40}
    facts["labs"] += [same | {"id": name, "value": value, "when": when} for name, value, when in labs]
    found = next(a for a in assess(make_case(facts)) if a.rule_id == "ctcae.event_grade")
    assert set(grades) == set(found.values)


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("間質性肺炎", "Pneumonitis"),
        ("QT prolongation", "Electrocardiogram QT"),
        ("hand-foot syndrome", "Palmar"),
    ],
)
def test_a_term_is_known_by_its_other_names(term, name) -> None:
    assert judge(term).statement.startswith(name)


def test_an_unknown_term_is_asked_back_with_the_nearest_of_all() -> None:
    found = judge("pneumonitus")
    assert found.severity is Severity.QUERY
    assert "Pneumonitis" in found.values


def test_a_value_that_may_be_high_or_low_is_said_once() -> None:
    found = grade_labs(lab(analyte="sodium", value=140.0, unit="mmol/L", low=None, high=None))
    assert [item.rule_id for item in found] == ["ctcae.lab_not_graded"]
    assert "Hyponatremia or Hypernatremia" in found[0].statement
