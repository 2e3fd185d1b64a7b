"""What once misled a reader of the page, each mended and held here."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from miliary.exchange.folders.study_file import read_study
from miliary.model.figure import Figure, Mark
from miliary.model.study import PendingCorrections
from miliary.report import render_report
from miliary.report.catalog import load_catalog
from miliary.report.pictures import PictureRenderer
from tests.report.conftest import MORE_OF_SCAN, RESPONSE, add_to, judge_definition
from tests.report.test_page import section, words_of

PAIR = "compare/baseline__followup/response.json"
SCAN = "ct/baseline/scan.json"


def test_a_copied_sentence_has_no_footnote_glued_to_its_numbers(draw):
    html = draw()
    sentences = [re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<p[^>]*>(.*?)</p>", html, re.DOTALL)]
    (ratio,) = [one for one in sentences if "times that before" in one]
    assert "is 0.123 times that before (95 % interval 0.11–0.14)" in ratio
    assert re.search(r"\. \[\d+\]$", ratio)
    assert "<sup" not in html


def test_warnings_of_a_comparison_stand_on_the_page(study, draw):
    message = "the files do not say whose scans these are"
    add_to(study / PAIR, warnings=[{"code": "patient_unknown", "message": message}])
    html = draw()
    for name in ("answer", "gate", "queries"):
        assert message in section(html, name), name
    assert "patient_unknown" in section(html, "queries")


def test_every_count_and_ratio_says_the_size_it_is_of(study, draw):
    add_to(study / PAIR, response=RESPONSE["response"] | {"count_diameter_mm": 2.29})
    html = draw()
    assert "the volume of nodules of at least 1.10 mm is 0.123 times" in section(html, "answer")
    gate = section(html, "gate")
    assert "Ratio of volumes, nodules of at least 1.10 mm" in gate
    assert "Ratio of counts, nodules of at least 2.29 mm" in gate


def test_the_burden_before_and_after_is_of_the_size_of_the_comparison(study, draw):
    for label, scale in (("baseline", 2000.0), ("followup", 200.0)):
        rows = [
            {"diameter_mm": d, "count": scale / d, "count_ci95": [scale / d - 1, scale / d + 1]}
            | {"total_volume_mm3": scale * d, "total_volume_mm3_ci95": [scale * d - 1, scale * d + 1]}
            for d in (1.0, 1.1, 1.2)
        ]
        add_to(study / f"ct/{label}/scan.json", corrected=MORE_OF_SCAN["corrected"] | {"at_least": rows})
    answer = section(draw(), "answer")
    assert "Volume ≥ 1.10 mm, corrected [mm³] 2,200 (2,199–2,201) 220 (219–221) 0.123 (0.11–0.14)" in answer
    assert "Nodules ≥ 1.10 mm, corrected 1,818" in answer


@pytest.mark.parametrize("label", ["no_longer_seen", "gone"])
def test_what_is_no_longer_seen_is_marked_on_the_baseline_only(study, label):
    read = read_study(study)
    compared = read.comparisons[0]
    renderer = PictureRenderer(read, load_catalog("en"))
    drawn = {}
    for picture in compared.pictures:
        marks = tuple(replace(mark, label=label) for mark in picture.entry.marks)
        renamed = replace(picture, entry=replace(picture.entry, marks=marks))
        drawn[picture.entry.scan] = renderer.render(renamed, compared, "x")
    assert "<polygon" in drawn["baseline"].overlay
    assert "<polygon" not in drawn["followup"].overlay
    assert drawn["followup"].marks_said == "0 present, 1 no longer seen"
    assert drawn["baseline"].marks_said == "1 marked, 1 of them no longer seen at follow-up"


def test_the_registered_follow_up_is_said_to_be_softer(draw):
    assert "It is resampled for that and looks softer" in section(draw(), "pictures")


def test_a_corrected_volume_below_the_one_found_explains_itself(study, draw):
    path = study / SCAN
    nodules = json.loads(path.read_text())["nodules"]
    add_to(path, nodules=nodules | {"total_volume_mm3": 99_999.0})
    html = draw()
    for name in ("answer", "burden"):
        assert "Baseline: the corrected volume is below the volume of all marks" in section(html, name)
    assert "Follow-up: the corrected volume" not in words_of(html)


def test_one_quantity_has_one_value_on_the_whole_page(draw):
    html = draw()
    found = re.findall(r'<data class="num" value="([^"]*)" title="([^"]*)">', html)
    values = {}
    for value, place in found:
        values.setdefault(place, set()).add(re.sub(r" \(.*", "", value))
    assert len(values) > 60
    assert {place: v for place, v in values.items() if len(v) > 1} == {}


@pytest.mark.parametrize(
    ("label", "is_rejected", "said"),
    [
        ("random", True, "but placement wholly at random is rejected (p = 0.005)"),
        ("random", False, "placement at random is not rejected (p = 0.005)"),
        ("perilymphatic", True, "; placement at random is rejected (p = 0.005)"),
    ],
)
def test_a_pattern_says_beside_its_probability_whether_random_placement_fits(
    study, draw, label, is_rejected, said
):
    randomness = {"p_value": 0.005, "is_rejected": is_rejected, "level": 0.05, "n_placements": 199}
    add_to(study / SCAN, pattern=MORE_OF_SCAN["pattern"] | {"label": label, "randomness": randomness})
    html = draw()
    assert said in section(html, "answer")
    assert "among the patterns known here" in section(html, "answer")
    assert "rejected (p = 0.005, 199 random placements)" in section(html, "pattern")


def test_the_saved_picture_of_the_pattern_is_not_shown_beside_its_drawing(study, draw):
    import numpy as np

    from miliary.exchange.folders.ct_store import write_figures

    picture = Figure("pattern", "pattern", "p", np.zeros((90, 90), dtype=np.uint8), 1.0, (), {})
    shutil.rmtree(study / "ct/baseline/figures")
    write_figures([picture], study / "ct/baseline/figures")
    assert "evidence of the pattern, as saved" not in words_of(draw())
    add_to(study / SCAN, pattern={"label": "random"})
    add_to(study / "ct/followup/scan.json", pattern={"label": "random"})
    assert "evidence of the pattern, as saved" in words_of(draw())


class TestCorrections:
    def test_what_a_reader_changed_is_said_although_the_scan_stays_simulated(self, study, draw):
        applied = {"origin": "corrected", "applied_through": 4, "n_rejected": 3, "n_added": 0}
        lesion = MORE_OF_SCAN["lesions"][0] | {"origin": "corrected", "long_axis_mm": 28.1}
        add_to(
            study / SCAN,
            origin="simulated",
            corrections=applied | {"n_lesions": 1, "not_placed": [4]},
            lesions=[lesion],
        )
        add_to(study / PAIR, lesion=RESPONSE["lesion"] | {"baseline": lesion})
        html = draw()
        said = "marks rejected 3, nodules added 0, lesions drawn by hand 1, corrections that found no place 1"
        assert f"Baseline: a reader corrected what these numbers rest on: {said}" in words_of(html)
        assert "drawn by a reader, not measured by the program" in section(html, "lesions")
        assert "(diameter drawn by a reader: Baseline)" in section(html, "answer")

    @pytest.mark.parametrize(
        ("path", "command"),
        [
            ("ct/baseline", "miliary ct STUDY/ct/baseline --apply-corrections"),
            (
                "compare/baseline__followup",
                "miliary compare STUDY/ct/baseline STUDY/ct/followup --out STUDY/compare/baseline__followup",
            ),
        ],
    )
    def test_what_lacks_them_is_named_with_the_command_that_brings_them_in(self, draw, path, command):
        (banner,) = re.findall(
            r'<p class="banner" role="note">(.*?)</p>',
            draw(pending=(PendingCorrections(path, "baseline", (1, 2)),)),
        )
        assert f"numbers of {path}." in banner
        assert banner.endswith(command)


def test_a_driver_says_by_which_test_it_was_found(study, draw):
    path = study / "case/case.json"
    case = json.loads(path.read_text())
    case["record"]["tests"] = [
        {
            "id": "alk-ihc",
            "label": "ALK IHC D5F3",
            "specimen": "",
            "genes": [{"gene": "ALK", "result": "positive"}],
        }
    ]
    case["assessments"].append(
        case["assessments"][0]
        | {"rule_id": "drivers.single_method.alk", "severity": "query", "statement": "By stain only."}
    )
    path.write_text(json.dumps(case))
    answer = section(draw(), "answer")
    assert (
        "ALK is positive by ALK IHC D5F3, a stain of the protein alone: no fusion or variant was shown"
        in answer
    )
    assert "ALK positive by ALK IHC D5F3" in answer
    assert "positive (fusion)" not in answer


class TestContradictions:
    def test_a_response_of_targets_is_no_overall_response(self, study, draw):
        add_to(study / PAIR, recist={"target_response": "PR", "change_percent": -39.6})
        html = draw()
        answer = html[html.index('<div class="answer">') :].partition("</section>")[0]
        scans, record = (words_of(part) for part in answer.split('<div class="right">'))
        assert "measured target lesions only: partial response (PR)" in scans
        assert "No overall response follows from that" in scans
        assert "partial response (PR)" not in record.partition("Gravest queries")[0]

    def test_day_zero_is_not_named_where_nothing_has_a_day(self, study, draw):
        assert "Day 0: start of alectinib" in section(draw(), "timeline")
        path = study / "case/case.json"
        case = json.loads(path.read_text())
        for one in (*case["record"]["events"], *case["record"]["labs"]):
            one["day"] = None
        path.write_text(json.dumps(case))
        timeline = section(draw(), "timeline")
        assert "Nothing in the record has a day" in timeline
        assert "Day 0:" not in timeline

    def test_a_limit_within_the_interval_of_a_size_is_not_called_not_stated(self, study, draw):
        seen = "90th percentile 2.96 mm, 2.85 to 3.07"
        close = f"not stated: nodule diameter at most 3 mm (too close to tell: {seen})"
        definitions = [
            judge_definition("fleischner_2008", "Fleischner glossary 2008", "not_assessable", reason=close),
            judge_definition("jin_2008", "Jin 2008", "met"),
        ]
        add_to(study / SCAN, definitions=definitions)
        html = draw()
        said = "1 cannot be told (1 of them because their limit lies within the interval of the size: "
        assert f"{said}90th percentile 2.96 mm, 2.85 to 3.07)" in section(html, "answer")
        pattern = section(html, "pattern")
        assert "not told by this scan: nodule diameter at most 3 mm" in pattern
        assert "not stated: nodule diameter" not in pattern


def test_new_nodules_have_a_place_a_picture_and_a_size(study, draw):
    import numpy as np

    from miliary.exchange.folders.ct_store import write_figures

    facts = {"fate": "new", "n_of_fate": 3, "track_id": 17, "side": "left", "zone": "lower"}
    facts |= {"position_lps_mm": [41.2, -12.0, 88.7], "probability": 0.93, "followup_volume_mm3": 4.25}
    facts |= {"thickness_mm": 3.0, "window_hu": [-1350, 150]}
    picture = Figure(
        "new_1",
        "followed_nodule",
        "n",
        np.full((96, 196), 90, np.uint8),
        0.3,
        (Mark(17, 48, 48, 6, "new"),),
        facts,
    )
    shutil.rmtree(study / "compare/baseline__followup/figures")
    write_figures([picture], study / "compare/baseline__followup/figures")
    changes = [{"diameter_mm": 2.0, "growth": 1.3, "shrinkage": 0.36}]
    add_to(
        study / PAIR,
        tracks={"kept": 3, "shrunk": 0, "grown": 0, "no_longer_seen": 40, "new": 3},
        smallest_changes=changes,
    )
    html = draw()
    review = section(html, "review")
    assert "Nodules new: 3 (the 1 largest are shown)" in review
    assert "Nodule 17 left lower at 41, -12, 89 mm (LPS, baseline) – → 4.2 mm³" in review
    assert "one of 2 mm has to grow by 130 % in volume (to 2.6 mm) or shrink by 36 %" in review
    assert html[html.index('<section id="review"') :].partition("</section>")[0].count("<img") == 1
    assert "3 marks of the follow-up are new (or were missed before) and 0 nodules have grown" in section(
        html, "answer"
    )


def test_a_comparison_without_close_ups_says_how_to_get_them(draw):
    assert "No close-ups were saved: run 'miliary compare' anew" in section(draw(), "review")


def test_the_board_page_alone_is_the_first_page_and_its_sources(study):
    html = render_report(read_study(study), is_board=True)
    assert re.findall(r'<section id="(\w+)"', html) == ["answer", "references"]
    inside = set(re.findall(r'href="#([^"]+)"', html))
    assert inside
    assert inside <= set(re.findall(r'id="([^"]+)"', html))
    assert html.count("<img") == 4
