"""Published definitions judged by measured numbers, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miliary.clinical.miliary.measured_definition import (
    MeasuredPattern,
    assess_measured,
    summarize_definitions,
)
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Verdict

MET, NOT_MET, OPEN = Verdict.MET, Verdict.NOT_MET, Verdict.NOT_ASSESSABLE
MILIARY = MeasuredPattern(
    n_right=600,
    n_left=500,
    expected_false=10.0,
    by_third=(180, 200, 220, 160, 170, 170),
    n_lesions=1,
    p90_mm=2.7,
    p90_ci95_mm=(2.6, 2.8),
    lung_fraction=0.8,
    lung_fraction_ci95=(0.77, 0.83),
    pattern="random",
    cv=0.27,
    cv_err=0.01,
    slice_thickness_mm=1.0,
)


def judge(definition: str, **changes: object) -> tuple[Verdict, str]:
    found = assess_measured(replace(MILIARY, **changes))
    item = next(item for item in found if item.rule_id == f"definition.{definition}")
    return item.verdict, item.reason


@pytest.mark.parametrize(
    ("definition", "changes", "verdict"),
    [
        ("fleischner_2008", {}, MET),
        ("fleischner_2008", {"p90_ci95_mm": (2.8, 3.0)}, MET),
        ("satoh_2021", {"p90_ci95_mm": (2.8, 3.0)}, OPEN),
        ("fleischner_2008", {"p90_ci95_mm": (2.9, 3.1)}, OPEN),
        ("fleischner_2008", {"p90_ci95_mm": (3.1, 3.3)}, NOT_MET),
        ("satoh_2021", {"p90_ci95_mm": (3.0, 3.3)}, NOT_MET),
        ("fleischner_2008", {"pattern": "perilymphatic"}, NOT_MET),
        ("fleischner_2008", {"pattern": "indeterminate"}, OPEN),
        ("fleischner_2008", {"pattern": None}, OPEN),
        ("fleischner_2008", {"cv": 0.5}, NOT_MET),
        ("fleischner_2008", {"cv": 0.36}, OPEN),
        ("fleischner_2008", {"by_third": (180, 200, 220, 160, 170, 5)}, NOT_MET),
        ("fleischner_2008", {"slice_thickness_mm": 2.5}, OPEN),
        ("jin_2008", {"slice_thickness_mm": 2.5}, MET),
        ("jin_2008", {"lung_fraction_ci95": (0.6, 0.7)}, OPEN),
        ("jin_2008", {"lung_fraction": 0.5, "lung_fraction_ci95": (0.45, 0.55)}, NOT_MET),
        ("mpm_2023", {}, MET),
        ("mpm_2023", {"n_left": 9}, NOT_MET),
        ("mpm_2023", {"n_right": 30, "n_left": 30}, NOT_MET),
        ("mpm_2023", {"n_right": 31, "n_left": 30}, MET),
        ("kanne", {"n_right": 55, "n_left": 55}, NOT_MET),
        ("kanne", {"n_right": 56, "n_left": 55}, MET),
        ("voloudaki_1999", {"p90_mm": None, "p90_ci95_mm": None}, OPEN),
        ("bc_2017", {}, OPEN),
        ("bc_2017", {"n_right": 20, "n_left": 20}, NOT_MET),
        ("digumarthy_2019", {}, OPEN),
        ("fleischner_2024", {}, OPEN),
    ],
)
def test_each_limit_on_both_sides(definition, changes, verdict):
    assert judge(definition, **changes)[0] is verdict


def test_what_leaves_it_open_is_named():
    assert "slices too thick" in judge("fleischner_2008", slice_thickness_mm=2.5)[1]
    assert "too close to tell" in judge("fleischner_2008", p90_ci95_mm=(2.9, 3.1))[1]
    assert "reader's judgment" in judge("bc_2017")[1]
    missing = judge("voloudaki_1999", p90_mm=None, p90_ci95_mm=None, size_reason="fewer than 10 nodules")
    assert "fewer than 10 nodules" in missing[1]


def test_the_summary_holds_threshold_source_and_inputs():
    rows = summarize_definitions(assess_measured(MILIARY))
    assert [row["id"] for row in rows] == [
        row.id for row in load_rules("definition", "2026-11").rows("definition")
    ]
    jin = next(row for row in rows if row["id"] == "jin_2008")
    assert jin["verdict"] == "met"
    assert jin["threshold"] == {"max_diameter_mm": 7.0, "inclusive": False, "min_lung_fraction": 0.6666667}
    assert "10.1186/1471-2334-8-160" in jin["source"]
    assert {"path": "extent.lung_fraction_involved", "value": 0.8} in jin["inputs"]


def test_no_definition_is_judged_by_detections_that_are_doubtful():
    found = assess_measured(replace(MILIARY, doubt="the detections are no nodules"))
    assert {item.verdict for item in found} == {OPEN}
    reasons = {item.reason for item in found}
    assert "the detections are no nodules" in reasons
    assert not any(": met" in item.statement for item in found)
