"""What a tumor board asks of the page: the response of the targets, several follow-ups, plain labels."""

import dataclasses
import json
import re
import shutil

import pytest

from miliary.model.saved.comparison_summary import ComparabilitySummary, SeriesSummary
from miliary.report.formatting import spell
from tests.report.conftest import RESPONSE, add_to, complete, measure_pattern
from tests.report.test_page import section, words_of

RECIST = {
    "edition": "recist 1.1",
    "statement": "Smaller nodules are for a reader to judge.",
    "target_response": "PR",
    "change_percent": -41.2,
    "targets": [{"id": "dominant", "baseline_mm": 19.2, "followup_mm": 11.3}],
}
SERIES = {
    "schema_version": "1.0",
    "kind": "miliary.series",
    "baseline": "baseline",
    "nadir": "followup",
    "time_points": [
        {
            "followup": "followup",
            "days_between": 102,
            "comparability": "comparable",
            "volume_ratio": 0.123,
            "volume_ratio_ci95": [0.11, 0.14],
            "ratio_to_nadir": 1.0,
            "category": "decreased",
            "lesion_mm": 11.4,
        },
        {
            "followup": "late",
            "days_between": 231,
            "comparability": "comparable",
            "volume_ratio": 0.31,
            "ratio_to_nadir": 2.52,
            "category": "increased",
            "lesion_mm": None,
        },
    ],
}


@pytest.fixture
def three_scans(study):
    """A third scan, compared with the same baseline."""
    shutil.copytree(study / "ct/followup", study / "ct/late")
    shutil.copytree(study / "compare/baseline__followup", study / "compare/baseline__late")
    (study / "compare/series.json").write_text(json.dumps(complete(SeriesSummary, SERIES)))
    return study


def test_the_measured_targets_are_judged_beside_the_record(study, draw):
    add_to(study / "compare/baseline__followup/response.json", recist=RECIST)
    html = draw()
    panel = section(html, "recist")
    for words in (
        "19.2",
        "11.3",
        "-41.2",
        "partial response (PR)",
        "for a reader to judge",
        "From the record: overall response",
    ):
        assert words in panel
    answer = section(html, "answer")
    assert "RECIST 1.1, measured target lesions only: partial response (PR)" in answer
    assert "No overall response follows from that" in answer
    assert 'title="compare/baseline__followup/response.json: recist.targets[0].followup_mm"' in html


def test_targets_without_a_response_say_why(study, draw):
    found = {"target_response": None, "target_response_reason": "no lesion of at least 10 mm", "targets": []}
    add_to(study / "compare/baseline__followup/response.json", recist=found)
    assert "cannot be told no lesion of at least 10 mm" in section(draw(), "recist")


def test_every_follow_up_of_a_series_is_listed_with_the_nadir(three_scans, draw):
    html = draw()
    panel = section(html, "gate")
    assert "Follow-up (nadir: smallest ratio of volumes) 102 comparable 0.123 (0.11–0.14) 1 11.4" in panel
    assert "late 231 comparable 0.31 2.52 –" in panel
    assert 'title="compare/series.json: time_points[1].volume_ratio"' in html


def test_the_answer_says_where_the_last_follow_up_stands_against_the_nadir(three_scans, draw):
    panel = section(draw(), "answer")
    assert "Smallest nodule volume so far (nadir): Follow-up; late has 2.52 times that. [" in panel


def test_the_course_of_the_burden_has_a_point_for_every_follow_up(three_scans, draw):
    path = three_scans / "compare/baseline__late/response.json"
    add_to(path, days_between=231)
    html = draw()
    course = html[html.index("Measured burden, in days from the first scan") :].partition("</svg>")[0]
    assert course.count('class="point"') == 3
    assert re.findall(r"<title>(\w[\w-]*): 23456", course) == ["Baseline", "Follow-up", "late"]


def test_slabs_of_two_follow_ups_never_share_a_row(three_scans, draw):
    html = draw()
    block = html[html.index('class="slabset set-axial-5"') :].partition("</section>")[0]
    titles = re.findall(r"<h3>(.*?)</h3>", block)
    assert titles == [
        "Baseline → Follow-up: axial, 5 mm, level 1",
        "Baseline → late: axial, 5 mm, level 1",
    ]
    rows = block.split("<h3>")[1:]
    assert [re.findall(r"<figcaption>([\w-]+):", row) for row in rows] == [
        ["Baseline", "Follow-up"],
        ["Baseline", "late"],
    ]


def test_a_damaged_series_is_named_and_the_comparisons_shown(three_scans, draw):
    (three_scans / "compare/series.json").write_text("{")
    html = draw()
    assert "<code>compare/series.json</code>" in html
    assert html.count("0.123") >= 2


def test_a_statement_has_its_severity_before_it_and_not_that_a_rule_is_met(draw):
    html = draw()
    stage = section(html, "stage")
    assert "error: T4a is not a category" in stage
    assert "met: T4a" not in stage
    assert not re.search(r"(?<!not )\bmet:", section(html, "drivers"))
    # That a definition is met is an outcome.
    assert "cannot be told:" in section(html, "pattern")


def test_open_queries_and_the_gate_stand_under_the_answer(draw):
    panel = section(draw(), "answer")
    assert re.search(r"Open: errors: \d+, queries: \d+, notes: \d+; Baseline → Follow-up: comparable", panel)


def test_measures_of_the_gate_have_plain_names_in_both_languages(study, draw):
    facts = RESPONSE["comparability"] | {"blur_ratio": 1.02, "baseline_d50_mm": 1.4, "common_coverage": 1.0}
    add_to(study / "compare/baseline__followup/response.json", comparability=facts)
    assert "Blur, after over before 1.02" in section(draw(), "gate")
    assert "d50" not in section(draw(), "gate")
    assert "ぼけの比（後／前） 1.02" in section(draw("ja"), "gate")


def test_every_measure_of_comparability_has_a_name():
    """What `compare` writes and the page shows may not drift apart."""
    from miliary.clinical.comparability import PairFacts, judge_pair
    from miliary.clinical.rulebook import load_rules
    from miliary.report.catalog import load_catalog

    facts = judge_pair(PairFacts(coverage=1.0, lung_volume_ratio=1.0), load_rules("comparability", "1")).facts
    named = {k.removeprefix("alike.") for k in load_catalog("en").texts if k.startswith("alike.")}
    saved = {field.name for field in dataclasses.fields(ComparabilitySummary)}
    assert len(facts) > 5
    assert set(facts) | saved - {"verdict", "reasons", "edition", "missing_reasons"} <= named


def test_long_names_of_evidence_are_wrapped_and_whole(study, draw):
    name = "density in the outer half over that in the inner half of the lungs by depth, all of them"
    pattern = {"label": "random", "evidence": [measure_pattern("depth", name, 1.1, [0.9, 1.3])]}
    add_to(study / "ct/baseline/scan.json", pattern=pattern)
    assert name in words_of(draw())


def test_on_paper_the_marked_and_the_plain_slabs_are_printed(draw):
    html = draw()
    assert '[class*="-10"].slabset .marks' in html
    assert "On paper the 5 mm slabs have marks" in html


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("cyfra_21_1", "CYFRA 21-1"),
        ("progrp", "ProGRP"),
        ("ebus tbna mediastinal nodes", "EBUS-TBNA mediastinal nodes"),
        ("XRAY chest", "X-ray chest"),
        ("contact, castle", "contact, castle"),
    ],
)
def test_abbreviations_are_spelled_as_a_clinician_does(stored, written):
    assert spell(stored) == written
