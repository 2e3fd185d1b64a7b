"""Dates moved by one step per patient: intervals stay, true dates are gone."""

import datetime as dt
import json
from dataclasses import replace

import pytest

from miliary.errors import CaseError
from miliary.exchange.case.date_shift import derive_shift_days, shift_dates
from miliary.exchange.case.encode import encode_case
from miliary.exchange.fhir.bundle import encode_fhir
from miliary.exchange.phenopacket.packet import encode_phenopacket
from miliary.model.case import Case, LabResult, Patient, Study, When, days_between

FIRST, LATER = dt.date(2021, 3, 9), dt.date(2021, 6, 1)
CASE = Case(
    "p1",
    studies=(
        Study("ct-2021-03-09", when=When(date=FIRST), note="seen on 9 March 2021"),
        Study("ct-b", when=When(date=LATER), compared_with="ct-2021-03-09", change="smaller"),
    ),
    labs=(LabResult("a", "cea", value=1.6, unit="ng/mL", when=When(day=0)),),
)


def test_intervals_stay_and_dates_go():
    shifted, removed = shift_dates(CASE, days=-400)
    first, later = shifted.studies
    assert first.when.date == FIRST - dt.timedelta(days=400)
    assert days_between(first.when, later.when) == days_between(*(s.when for s in CASE.studies))
    assert removed == ("studies[ct-2021-03-09].note",)
    text = json.dumps(encode_case(shifted))
    assert "2021" not in text
    assert "March" not in text
    assert shifted.labs[0].when.day == 0


def test_an_id_that_holds_a_date_is_renamed_everywhere():
    shifted, _ = shift_dates(CASE, days=30)
    assert shifted.studies[1].compared_with == shifted.studies[0].id == "item-1"


@pytest.mark.parametrize(
    "text", ["2021-03-09", "09/03/21", "9.3.2021", "20210309", "in March 9", "3rd June", "spring 2021", "9/3"]
)
def test_words_that_may_hold_a_date_are_taken_out_and_named(text):
    case = replace(CASE, title=text)
    shifted, removed = shift_dates(case, days=-7)
    assert shifted.title == ""
    assert "title" in removed


@pytest.mark.parametrize("text", ["300 mg daily", "amylase 584", "day 90", "cT4aN2M1c", "CTCAE 5.0", "19 mm"])
def test_other_words_stay(text):
    assert shift_dates(replace(CASE, title=text), days=-7)[0].title == text


def test_the_step_belongs_to_the_patient_and_the_key():
    step = derive_shift_days("p1", "a long secret")
    assert step == derive_shift_days("p1", "a long secret")
    assert step % 7 == 0
    assert -3650 <= step <= -364
    assert len({derive_shift_days(f"p{n}", "a long secret") for n in range(40)}) > 30
    assert step != derive_shift_days("p1", "another secret")
    with pytest.raises(CaseError, match="too short"):
        derive_shift_days("p1", "short")


def test_the_very_old_are_pooled():
    shifted, removed = shift_dates(replace(CASE, patient=Patient(age_years=93.0)), days=-7)
    assert shifted.patient.age_years == 90.0
    assert "patient.age_years" in removed
    assert shift_dates(replace(CASE, patient=Patient(age_years=89.0)), days=-7)[0].patient.age_years == 89.0


@pytest.mark.parametrize("days", [0, 40_000])
def test_a_step_that_makes_no_sense_is_refused(days):
    with pytest.raises(CaseError, match="cannot be shifted"):
        shift_dates(CASE, days=days)


def test_exports_of_a_shifted_case_hold_no_true_date():
    shifted, _ = shift_dates(CASE, days=-400)
    bundle, _ = encode_fhir(shifted, dates_shifted=True)
    packet, _ = encode_phenopacket(shifted, created=dt.datetime(2030, 1, 1, tzinfo=dt.UTC), version="1")
    for content in (bundle, packet):
        assert "2021" not in json.dumps(content)
    assert bundle["meta"]["tag"][0]["code"] == "113107"
    assert "tag" not in encode_fhir(CASE)[0]["meta"]
