"""Adverse events by the words of records: any order, British spelling, denials; no name of another term."""

from __future__ import annotations

import pytest

from miliary.clinical.drugs import monitoring
from miliary.clinical.events.adverse_events import assess
from miliary.clinical.events.ctcae import ObservedEvent, find_grades
from miliary.clinical.events.event_words import list_names, match_term
from miliary.clinical.rulebook import find_rules
from miliary.model.assessment import Severity
from tests.clinical.cases import make_case

NAMED = [
    ("ALT elevation", "alanine_aminotransferase_increased"),
    ("elevated ALT", "alanine_aminotransferase_increased"),
    ("raised ALT", "alanine_aminotransferase_increased"),
    ("high serum AST", "aspartate_aminotransferase_increased"),
    ("AST上昇", "aspartate_aminotransferase_increased"),
    ("CK elevation", "cpk_increased"),
    ("creatinine elevation", "creatinine_increased"),
    ("raised amylase", "serum_amylase_increased"),
    ("elevated lipase", "lipase_increased"),
    ("high bilirubin", "blood_bilirubin_increased"),
    ("low platelets", "platelet_count_decreased"),
    ("low calcium", "hypocalcemia"),
    ("high blood pressure", "hypertension"),
    ("hyperglycaemia", "hyperglycemia"),
    ("anaemia", "anemia"),
    ("peripheral oedema", "edema_limbs"),
    ("drug-induced pneumonitis", "pneumonitis"),
    ("deep vein thrombosis", "thromboembolic_event"),
    ("AKI", "acute_kidney_injury"),
]


@pytest.mark.parametrize(("words", "term"), NAMED)
def test_an_event_is_found_by_the_words_of_records(words, term):
    found, _ = match_term(find_rules("ctcae"), words)
    assert found is not None
    assert found.id == term


@pytest.mark.parametrize("words", ["transaminitis", "liver enzymes raised", "elevated liver enzymes"])
def test_enzymes_without_a_name_are_asked_back(words):
    found, candidates = match_term(find_rules("ctcae"), words)
    assert found is None
    assert {"alanine_aminotransferase_increased", "aspartate_aminotransferase_increased"} <= {
        row.id for row in candidates
    }


@pytest.mark.parametrize("words", ["no pneumonitis", "pneumonitis ruled out", "肺臓炎なし", "ALT", "raised"])
def test_a_denied_or_half_name_is_no_term(words):
    assert match_term(find_rules("ctcae"), words) == (None, ())


@pytest.mark.parametrize("edition", ["5.0", "6.0"])
def test_no_name_stands_under_two_terms(edition):
    names = [name for row in find_rules("ctcae", edition=edition).rows("term") for name in list_names(row)]
    assert len(names) == len(set(names))


def test_every_published_grade_is_possible_for_an_event_without_a_value():
    book = find_rules("ctcae")
    for name in (
        "electrocardiogram_qt_corrected_interval_prolonged",
        "hypokalemia",
        "platelet_count_decreased",
    ):
        rows = [row for row in book.rows("criterion") if row["term"] == name and not row.get("is_emergency")]
        possible = find_grades(book.row(name), ObservedEvent(is_event=True), book=book).possible
        assert {row["grade"] for row in rows} <= set(possible), name


def test_a_denied_event_is_said_and_holds_no_drug():
    event = {"id": "e", "term": "no pneumonitis", "grade": 2, "when": "2025-05-01"}
    drug = {"id": "t", "name": "alectinib", "start": "2025-04-01", "region": "US"}
    case = make_case({"treatments": [drug], "adverse_events": [event]})
    (found,) = assess(case)
    assert found.severity is Severity.QUERY
    assert "none" in found.statement
    assert not [a for a in monitoring.assess(case) if a.rule_id.startswith("therapy.event.")]
    raised = make_case(
        {"treatments": [drug], "adverse_events": [{**event, "term": "drug-induced pneumonitis"}]}
    )
    assert [a for a in monitoring.assess(raised) if a.rule_id.startswith("therapy.event.")]
