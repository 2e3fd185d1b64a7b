"""Definitions of miliary: each bound on both sides, nothing stated is nothing decided."""

import pytest

from miliary.clinical.miliary.definition import assess
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Verdict
from miliary.model.case import Case
from tests.clinical.cases import make_case

WHOLE = {
    "count": 400,
    "is_innumerable": "present",
    "max_diameter_mm": 2.5,
    "distribution": "random",
    "is_diffuse": "present",
    "is_bilateral": "present",
    "is_uniform": "present",
    "lung_fraction": 0.9,
}


def judge(definition, *, slice_thickness_mm=1.0, without=(), **changes):
    nodules = {key: value for key, value in (WHOLE | changes).items() if key not in without}
    study = {"id": "ct", "modality": "ct", "slice_thickness_mm": slice_thickness_mm, "nodules": nodules}
    found = assess(make_case({"studies": [study]}))
    return next(item for item in found if item.rule_id == f"definition.{definition}")


@pytest.mark.parametrize(
    ("definition", "changes", "verdict"),
    [
        ("fleischner_2008", {"max_diameter_mm": 3.0}, "met"),
        ("fleischner_2008", {"max_diameter_mm": 3.1}, "not_met"),
        ("satoh_2021", {"max_diameter_mm": 3.0}, "not_met"),
        ("satoh_2021", {"max_diameter_mm": 2.9}, "met"),
        ("voloudaki_1999", {"max_diameter_mm": 3.0}, "met"),
        ("voloudaki_1999", {"max_diameter_mm": 3.1}, "not_met"),
        ("kanne", {"max_diameter_mm": 5.0}, "not_met"),
        ("kanne", {"max_diameter_mm": 4.9}, "met"),
        ("jin_2008", {"max_diameter_mm": 7.0}, "not_met"),
        ("jin_2008", {"max_diameter_mm": 6.9}, "met"),
        ("jin_2008", {"lung_fraction": 0.66}, "not_met"),
        ("jin_2008", {"lung_fraction": 0.67}, "met"),
        ("mpm_2023", {"max_diameter_mm": 10.0}, "not_met"),
        ("mpm_2023", {"max_diameter_mm": 9.9}, "met"),
        ("mpm_2023", {"count": 50}, "not_met"),
        ("mpm_2023", {"count": 51}, "met"),
        ("mpm_2023", {"is_bilateral": "absent"}, "not_met"),
        ("bc_2017", {"max_diameter_mm": 9.0}, "met"),
        ("bc_2017", {"is_diffuse": "absent"}, "not_met"),
        ("fleischner_2008", {"distribution": "centrilobular"}, "not_met"),
        ("fleischner_2008", {"is_uniform": "absent"}, "not_met"),
        ("fleischner_2024", {}, "not_assessable"),
    ],
)
def test_each_definition_is_tested_on_both_sides(definition, changes, verdict):
    assert judge(definition, **changes).verdict == verdict


@pytest.mark.parametrize(
    ("definition", "fact", "words"),
    [
        ("fleischner_2008", "max_diameter_mm", "diameter"),
        ("fleischner_2008", "distribution", "random"),
        ("fleischner_2008", "is_uniform", "uniform"),
        ("fleischner_2008", "is_innumerable", "profuse"),
        ("jin_2008", "lung_fraction", "lung"),
        ("mpm_2023", "is_bilateral", "bilateral"),
    ],
)
def test_what_is_not_stated_is_not_decided_and_named(definition, fact, words):
    item = judge(definition, without=(fact,))
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert words in item.reason


def test_a_failed_condition_decides_even_beside_unknown_ones():
    item = judge("fleischner_2008", without=("is_uniform",), distribution="perilymphatic")
    assert item.verdict is Verdict.NOT_MET


def test_innumerable_is_more_than_fifty_where_nobody_counted():
    assert judge("mpm_2023", without=("count",)).verdict is Verdict.MET
    assert judge("mpm_2023", without=("count", "is_innumerable")).verdict is Verdict.NOT_ASSESSABLE


def test_thick_slices_cannot_size_nodules_of_three_millimeters():
    assert judge("fleischner_2008", slice_thickness_mm=1.5).verdict is Verdict.MET
    thick = judge("fleischner_2008", slice_thickness_mm=1.6)
    assert thick.verdict is Verdict.NOT_ASSESSABLE
    assert "thick" in thick.reason
    assert judge("mpm_2023", slice_thickness_mm=5).verdict is Verdict.MET


def test_a_median_above_the_bound_rules_a_definition_out_but_one_below_decides_nothing():
    over = judge("fleischner_2008", without=("max_diameter_mm",), median_diameter_mm=4.0)
    assert over.verdict is Verdict.NOT_MET
    under = judge("fleischner_2008", without=("max_diameter_mm",), median_diameter_mm=2.0)
    assert under.verdict is Verdict.NOT_ASSESSABLE


def test_the_best_described_ct_is_used_and_a_radiograph_is_not():
    nodules = {"distribution": "random"}
    studies = [
        {"id": "xray", "modality": "xray", "nodules": WHOLE},
        {"id": "outside", "modality": "ct", "nodules": nodules},
        {"id": "center", "modality": "ct", "nodules": nodules | {"max_diameter_mm": 2}},
    ]
    found = assess(make_case({"studies": studies}))
    item = next(item for item in found if item.rule_id == "definition.voloudaki_1999")
    assert item.inputs == (("studies[center].nodules.max_diameter_mm", 2.0),)


def test_the_matrix_has_every_definition():
    study = {"id": "ct", "modality": "ct", "nodules": {}}
    found = assess(make_case({"studies": [study]}))
    rules = load_rules("definition", "2026-11")
    assert [item.rule_id for item in found] == [f"definition.{row.id}" for row in rules.rows("definition")]
    assert {item.verdict for item in found} == {Verdict.NOT_ASSESSABLE}


def test_a_case_without_nodules_says_nothing():
    assert assess(Case("empty")) == ()
