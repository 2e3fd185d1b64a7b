"""The CARE score, and the neighbors of a case among encoded reports."""

from miliary.clinical.record import care, literature
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Verdict
from miliary.model.case import Case
from tests.clinical.cases import make_case

MILIARY = {"studies": [{"id": "ct", "modality": "ct", "nodules": {"distribution": "random"}}]}
ALK = {"immunostains": [{"id": "i", "target": "ALK", "clone": "D5F3", "result": "positive"}]}


def score(report, **facts):
    found = care.assess(make_case({"report": report, **facts}))
    return next(item for item in found if item.rule_id == "care.score")


def test_without_a_report_there_is_no_score():
    assert care.assess(Case("empty")) == ()


def test_a_whole_report_scores_every_point():
    rows = load_rules("care", "2013").rows("item")
    items = {row["name"]: "present" for row in rows}
    whole = score({"title": "A case report", "items": items})
    assert whole.value == len(rows) == 28
    assert whole.values == ()


def test_a_report_of_which_nothing_is_known_cannot_be_scored():
    empty = score({})
    assert empty.verdict is Verdict.NOT_ASSESSABLE
    assert empty.value == 0


def test_a_missing_point_is_named_and_an_unknown_one_is_not_missing():
    found = score({"title": "A case report", "items": {"timeline": "absent"}})
    assert found.values == ("7",)
    assert "26 of 28 cannot be told" in found.statement


def test_one_word_for_a_whole_section_answers_its_points():
    found = score({"items": {"discussion": "present"}})
    assert found.value == 4


def test_key_words_are_two_to_five():
    for number, expected in ((1, 0), (2, 1), (5, 1), (6, 0)):
        assert score({"key_words": [f"word {i}" for i in range(number)]}).value == expected


def neighbors(**facts):
    return [item.row.id for item in literature.find_similar_reports(make_case(MILIARY | facts))]


def test_an_alk_case_has_alk_neighbors_first():
    assert set(neighbors(**ALK)[:3]) == {"falk_2012", "khan_2020", "satoh_2021"}


def test_a_case_taken_from_a_report_is_not_its_own_neighbor():
    source = {"sources": ["OncoTargets Ther 2021, doi 10.2147/ott.s300229"]}
    assert "satoh_2021" in neighbors(**ALK)
    assert "satoh_2021" not in neighbors(**ALK, **source)


def test_one_shared_feature_is_no_neighbor():
    assert neighbors() == []


def test_granulomas_beside_alk_bring_up_the_counter_example():
    tissue = {"specimens": [{"id": "s", "histology": "non-caseating granuloma"}]}
    assert neighbors(**ALK, **tissue)[0] in ("chen_2021", "falk_2012", "khan_2020", "satoh_2021")
    assert "chen_2021" in neighbors(**ALK, **tissue)
    assert "chen_2021" not in neighbors(**ALK)


def test_drivers_without_a_report_have_none_made_up():
    drivers = {row.get("driver") for row in load_rules("literature", "2026-11").rows("report")}
    assert drivers == {"EGFR", "ALK", None}


def test_both_sides_of_the_survival_question_are_shown_where_there_may_be_lung_cancer():
    assert not [a for a in literature.assess(make_case(MILIARY)) if a.rule_id == "literature.survival"]
    found = literature.assess(make_case(MILIARY | {"history": {"malignancy_lung": "present"}}))
    (item,) = [item for item in found if item.rule_id == "literature.survival"]
    assert set(item.values) == {"bc_2017", "okuma_2018", "mpm_2023"}
    assert "Shorter:" in item.statement
    assert "No different:" in item.statement


def test_a_case_without_a_miliary_pattern_gets_no_literature():
    assert literature.assess(Case("empty")) == ()
    assert literature.assess(make_case(ALK)) == ()
