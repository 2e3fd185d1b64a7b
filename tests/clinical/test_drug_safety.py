"""Dangers that a record states of a drug are said: pregnancy, age, another drug, the wrong driver."""

import datetime as dt

import pytest

from miliary.clinical.drugs.therapy import assess
from miliary.clinical.registry import assess_case
from miliary.clinical.rulebook import find_rules
from miliary.model.assessment import Severity, Verdict
from tests.clinical.cases import make_case

RULES = find_rules("therapy")
WARNED = sorted({row["drug"] for row in RULES.rows("reproduction") if row.get("pregnancy")})


def run(facts):
    return {item.rule_id: item for item in assess(make_case(facts))}


def treated(*names, **more):
    drugs = [{"id": f"t{n}", "name": name, "start": "day 0"} for n, name in enumerate(names)]
    return {"treatments": drugs, "patient": {"sex": "female", "age_years": 32}} | more


@pytest.mark.parametrize("name", WARNED)
def test_a_recorded_pregnancy_is_raised_under_every_drug_with_a_label_text(name):
    found = run(treated(name, history={"pregnancy": "present"}))["therapy.pregnancy.t0"]
    assert (found.verdict, found.severity) == (Verdict.MET, Severity.ERROR)
    assert found.basis.value == "read"


def test_a_recorded_pregnancy_is_raised_under_a_drug_of_which_no_text_is_held():
    found = run(treated("pemetrexed", history={"pregnancy": "present"}))["therapy.pregnancy.t0"]
    assert (found.verdict, found.severity) == (Verdict.NOT_ASSESSABLE, Severity.QUERY)


@pytest.mark.parametrize("name", ["Alecensa", "CH5424802", "alectinib hydrochloride", "アレセンサ"])
def test_a_pregnancy_is_raised_under_every_name_of_a_drug(name):
    found = run(treated(name, history={"pregnancy": "present"}))["therapy.pregnancy.t0"]
    assert "(alectinib)" in found.statement
    assert found.severity is Severity.ERROR


@pytest.mark.parametrize("state", ["absent", "not_stated"])
def test_without_a_recorded_pregnancy_nothing_is_said_of_one(state):
    assert "therapy.pregnancy.t0" not in run(treated("alectinib", history={"pregnancy": state}))


@pytest.mark.parametrize(
    ("sex", "age", "is_raised"),
    [
        ("female", 32, True),
        ("female", None, True),
        (None, 32, True),
        ("female", 80, False),
        ("male", 70, True),
    ],
)
def test_contraception_recorded_as_absent_is_raised(sex, age, is_raised):
    patient = {key: value for key, value in (("sex", sex), ("age_years", age)) if value is not None}
    found = run(treated("alectinib", history={"contraception": "absent"}, patient=patient))
    assert ("therapy.no_contraception.t0" in found) is is_raised
    assert "therapy.contraception.t0" not in found
    if is_raised:
        assert found["therapy.no_contraception.t0"].severity is Severity.QUERY


def test_contraception_in_use_is_no_danger():
    found = run(treated("alectinib", history={"contraception": "present"}))
    assert not [name for name in found if "contraception" in name]


def test_a_danger_on_record_stands_before_what_is_missing():
    found = assess_case(make_case(treated("alectinib", history={"pregnancy": "present"})))
    raised = [item.rule_id for item in found]
    danger = raised.index("therapy.pregnancy.t0")
    assert all(danger < n for n, item in enumerate(found) if item.verdict is Verdict.NOT_ASSESSABLE)


@pytest.mark.parametrize(
    ("name", "age", "is_raised"),
    [
        ("alectinib", 12, True),
        ("alectinib", 17.9, True),
        ("alectinib", 18, False),
        ("crizotinib", 9, True),
        ("osimertinib", 15, True),
        ("ibuprofen", 12, False),
    ],
)
def test_a_child_under_a_dose_of_adults_is_asked_about(name, age, is_raised):
    found = run(treated(name, patient={"age_years": age}))
    assert ("therapy.age.t0" in found) is is_raised


def positive(gene, alteration):
    result = {"gene": gene, "result": "positive", "alteration": alteration}
    return {"molecular": [{"id": "m", "analytes": ["dna", "rna"], "genes": [result]}]}


@pytest.mark.parametrize(
    ("name", "gene", "alteration", "is_raised"),
    [
        ("crizotinib", "EGFR", "L858R", True),
        ("Xalkori", "EGFR", "L858R", True),
        ("alectinib", "EGFR", "L858R", True),
        ("osimertinib", "ALK", "fusion", True),
        ("crizotinib", "ALK", "fusion", False),
        ("crizotinib", "ROS1", "fusion", False),
        ("carboplatin", "ALK", "fusion", False),
        ("pembrolizumab", "EGFR", "L858R", False),
        ("neladalkib", "ALK", "fusion", False),
    ],
)
def test_a_drug_that_does_not_fit_the_driver_is_asked_about(name, gene, alteration, is_raised):
    found = run(treated(name) | positive(gene, alteration))
    assert ("therapy.driver.t0" in found) is is_raised


def test_without_a_positive_driver_nothing_is_said_of_a_fit():
    assert "therapy.driver.t0" not in run(treated("crizotinib"))


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ({"name": "alectinib"}, {"name": "lorlatinib"}, "met"),
        ({"name": "alectinib"}, {"name": "Lorbrena", "start": "day 90"}, "met"),
        ({"name": "alectinib", "stop": "day 90"}, {"name": "lorlatinib", "start": "day 90"}, None),
        ({"name": "alectinib", "stop": "day 95"}, {"name": "lorlatinib", "start": "day 90"}, "met"),
        (
            {"name": "alectinib", "line": 1},
            {"name": "lorlatinib", "line": 2, "start": "day 90"},
            "not_assessable",
        ),
        ({"name": "dabrafenib"}, {"name": "trametinib"}, None),
        ({"name": "amivantamab"}, {"name": "lazertinib"}, None),
        ({"name": "osimertinib"}, {"name": "gefitinib"}, "met"),
        ({"name": "alectinib"}, {"name": "Alecensa"}, None),
        ({"name": "alectinib"}, {"name": "osimertinib"}, None),
    ],
)
def test_two_drugs_of_one_driver_at_once_are_asked_about(first, second, verdict):
    entries = [{"id": f"t{n}", "start": "day 0"} | drug for n, drug in enumerate((first, second))]
    found = run({"treatments": entries}).get("therapy.same_target.t0.t1")
    assert (found.verdict.value if found else None) == verdict


@pytest.mark.parametrize(
    ("name", "partner", "severity"),
    [
        ("lorlatinib", "rifampicin", Severity.ERROR),
        ("Lorbrena", "rifampin", Severity.ERROR),
        ("lorlatinib", "phenytoin", Severity.ERROR),
        ("crizotinib", "amiodarone", Severity.QUERY),
        ("ceritinib", "ketoconazole", Severity.QUERY),
        ("erlotinib", "omeprazole", Severity.QUERY),
        ("alectinib", "rifampicin", None),
        ("lorlatinib", "paracetamol", None),
    ],
)
def test_two_drugs_that_a_label_names_together_are_raised_as_it_says(name, partner, severity):
    facts = treated(name, partner, patient={"region": "US"})
    found = [item for key, item in run(facts).items() if key.startswith("therapy.interaction.")]
    assert {item.severity for item in found} == ({severity} if severity else set())
    assert all(item.basis.value == "read" for item in found)


def test_two_drugs_given_one_after_the_other_are_no_interaction():
    entries = [
        {"id": "a", "name": "rifampicin", "start": "day -90", "stop": "day -30"},
        {"id": "b", "name": "lorlatinib", "start": "day 0"},
    ]
    assert not [key for key in run({"treatments": entries}) if key.startswith("therapy.interaction.")]


def test_two_drugs_without_dates_are_asked_about():
    entries = [{"id": "a", "name": "rifampicin"}, {"id": "b", "name": "lorlatinib"}]
    (found, *_) = [i for key, i in run({"treatments": entries}).items() if ".interaction." in key]
    assert (found.verdict, found.severity) == (Verdict.NOT_ASSESSABLE, Severity.QUERY)


@pytest.mark.parametrize(("on", "is_due"), [(dt.date(2026, 9, 18), False), (dt.date(2026, 9, 19), True)])
def test_a_recheck_date_that_has_passed_makes_its_row_due(on, is_due):
    assert ("zidesamtinib" in {row.id for row in RULES.list_due_rows(on)}) is is_due


def test_rows_without_a_date_of_their_own_are_due_by_that_of_their_edition():
    assert RULES.recheck is not None
    due = RULES.list_due_rows(RULES.recheck + dt.timedelta(days=1))
    assert due == RULES.all_rows()


@pytest.mark.parametrize(("day", "is_raised"), [("day -30", False), ("day 20", True), ("", True)])
def test_an_event_that_began_before_the_drug_is_no_reason_to_hold_it(day, is_raised):
    event = {"id": "e", "term": "pneumonitis", "grade": 2, "when": day, "suspected_drug": "alectinib"}
    drug = {"id": "t", "name": "alectinib", "region": "US", "start": "day 0"}
    found = assess_case(make_case({"treatments": [drug], "adverse_events": [event]}))
    assert any(a.rule_id.startswith("therapy.event.") for a in found) is is_raised


def found_rules(facts):
    return {a.rule_id: a for a in assess_case(make_case(facts))}


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (("osimertinib", "itraconazole"), "therapy.class_caution"),
        (("Tagrisso", "イトラコナゾール"), "therapy.class_caution"),
        (("alectinib", "bisoprolol"), "therapy.class_caution"),
        (("sotorasib", "ボノプラザン"), "therapy.class_caution"),
        (("lorlatinib", "リファンピシン"), "therapy.interaction"),
        (("crizotinib", "アミオダロン"), "therapy.interaction"),
    ],
)
def test_a_partner_is_known_by_its_other_names_and_its_class(names, rule):
    drugs = [{"id": f"t{n}", "name": name, "start": "day 0"} for n, name in enumerate(names)]
    found = found_rules({"treatments": drugs, "patient": {"region": "US"}})
    assert any(name.startswith(f"{rule}.") for name in found)


def test_of_a_pair_with_a_label_text_no_second_question_is_asked():
    drugs = [
        {"id": "a", "name": "lorlatinib", "start": "day 0"},
        {"id": "b", "name": "rifampicin", "start": "day 0"},
    ]
    assert not [
        name for name in found_rules({"treatments": drugs}) if name.startswith("therapy.class_caution")
    ]


@pytest.mark.parametrize(
    ("drug", "analyte", "value", "unit", "is_met"),
    [
        ("crizotinib", "qtc", 505, "ms", True),
        ("crizotinib", "qtc", 500, "ms", False),
        ("osimertinib", "qtc", 512, "ms", True),
        ("crizotinib", "neutrophils", 900, "/uL", True),
        ("crizotinib", "platelets", 4.9, "10*4/uL", True),
        ("crizotinib", "platelets", 5.0, "10*4/uL", False),
    ],
)
def test_a_value_is_judged_by_the_number_of_the_label(drug, analyte, value, unit, is_met):
    lab = {"id": "l", "analyte": analyte, "value": value, "unit": unit, "when": "day 20"}
    found = found_rules({"treatments": [{"id": "t", "name": drug, "start": "day 0"}], "labs": [lab]})
    (hold,) = [a for name, a in found.items() if name.startswith("therapy.hold.")]
    assert (hold.verdict is Verdict.MET) is is_met
    assert hold.severity is (Severity.QUERY if is_met else Severity.INFO)


@pytest.mark.parametrize(
    ("drug", "facts", "is_raised"),
    [
        ("osimertinib", {"patient": {"child_pugh": "C"}}, True),
        ("osimertinib", {"patient": {"child_pugh": "A"}}, False),
        ("crizotinib", {"labs": [{"analyte": "creatinine_clearance", "value": 25, "unit": "mL/min"}]}, True),
        ("crizotinib", {"labs": [{"analyte": "creatinine_clearance", "value": 35, "unit": "mL/min"}]}, False),
        ("crizotinib", {"history": {"renal_failure": "present"}}, True),
        ("crizotinib", {"history": {"renal_failure": "absent"}}, False),
    ],
)
def test_recorded_function_of_liver_and_kidney_meets_the_text_of_the_drug(drug, facts, is_raised):
    found = found_rules({"treatments": [{"id": "t", "name": drug}], **facts})
    assert any(name.startswith("therapy.organ_function.") for name in found) is is_raised
