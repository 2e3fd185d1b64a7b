"""The page of a study: everything there, everything cited, nothing fetched, nothing merged."""

import json
import os
import re
from pathlib import Path

import pytest

from miliary.exchange.folders.study_file import read_study
from miliary.model.study import PendingCorrections
from miliary.report import LANGUAGES, render_report
from tests.report.conftest import add_to
from tests.report.outline import Page, find_network

GOLDEN = Path(__file__).with_name("golden_outline.txt")
PANELS = (
    *("answer", "timeline", "stage", "drivers", "ctcae"),
    *("gate", "review", "pictures", "burden", "sizes", "pattern", "lesions", "projection"),
    *("queries", "recist", "differential", "care", "methods", "references", "words"),
)


def words_of(html):
    return " ".join("".join(Page(html).text).split())


def section(html, name):
    """The words of one panel."""
    start = html.index(f'<section id="{name}"')
    return words_of(html[start : html.index("<h2", start + 10 + html[start:].index("<h2"))])


def test_the_skeleton_is_the_golden_one(draw):
    page = Page(draw())
    assert page.trouble == []
    lines = "\n".join(page.lines) + "\n"
    if os.environ.get("MILIARY_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(lines)
    assert lines == GOLDEN.read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_panel_is_there_filled_and_reached_from_the_contents(draw, language):
    html = draw(language)
    page = Page(html)
    ids = page.ids()
    assert [name for name in ids if name in PANELS] == list(PANELS)
    assert len(ids) == len(set(ids))
    assert not re.findall(r'<p class="none">', html), "a panel of a full study is empty"
    inside = [a for a in page.addresses() if a.startswith("#")]
    assert {f"#{name}" for name in PANELS} <= set(inside)
    assert [a for a in inside if a.removeprefix("#") not in ids] == []
    assert f'<html lang="{language}">' in html


def test_nothing_is_fetched_from_anywhere_and_nothing_runs(draw):
    html = draw()
    page = Page(html)
    assert [a for a in page.addresses() if not a.startswith(("#", "data:image/png", "data:image/jpeg"))] == []
    assert find_network(html) == []
    assert not [tag for tag, _ in page.tags if tag in {"script", "iframe", "object", "embed", "link", "form"}]
    assert not [name for _, facts in page.tags for name in facts if name.startswith("on")]
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_answer_repeats_what_was_saved(draw):
    panel = section(draw(), "answer")
    assert "4,812" in panel
    assert "4,812 (4,500–5,100)" in panel
    assert "pattern random, probability 93 %" in panel
    assert "1 met (Fleischner glossary 2008)" in panel
    assert "ALK is positive by A panel (fusion)" in panel
    assert "0.123" in panel
    assert "(95 % interval 0.11–0.14)" in panel
    assert "decreased" in panel
    assert "19.2 mm before" in panel
    assert "11.4 mm after" in panel


def test_every_number_says_where_it_stands(draw):
    html = draw()
    page = Page(html)
    titles = [facts.get("title", "") for tag, facts in page.tags if tag == "data"]
    assert len(titles) > 60
    assert all(re.match(r"(ct/\w+/scan|compare/\w+/response|case/case)\.json: [\w.\[\]]+", t) for t in titles)
    for member, name in (
        ("ct/baseline/scan.json", "corrected.count"),
        ("compare/baseline__followup/response.json", "response.volume_ratio"),
    ):
        assert f"{member}: {name}" in titles
        assert f"<code>{member}</code>: {name.partition('.')[0]}" in html
    cited = {facts["href"] for tag, facts in page.tags if facts.get("href", "").startswith("#source-")}
    listed = {f"#{name}" for name in page.ids() if name.startswith("source-")}
    assert cited <= listed


def test_numbers_on_the_page_are_those_of_the_files(study, draw):
    html = draw()
    scan = json.loads((study / "ct/baseline/scan.json").read_text())
    for part, name in (("nodules", "count"), ("calcified", "count")):
        place = f'title="ct/baseline/scan.json: {part}.{name}"'
        shown = re.search(rf'value="([^"]*)" {re.escape(place)}', html)
        assert shown is not None
        assert float(shown[1].replace(",", "")) == scan[part][name]


def test_errors_come_before_queries_and_notes_each_with_rule_and_source(draw):
    panel = section(draw(), "queries")
    assert panel.index("Errors:") < panel.index("Queries:") < panel.index("Notes:")
    assert "T4a is not a category" in panel
    assert "tnm.asserted_category" in panel


def test_the_gate_says_verdict_reason_and_what_was_left_out(draw):
    panel = section(draw(), "gate")
    for words in ("comparable: same protocol", "new consolidation", "New shadows", "not RECIST"):
        assert words in panel


def test_slabs_are_paired_in_one_frame_with_marks_to_toggle(draw):
    html = draw()
    assert "Follow-up brought into the frame of the baseline" in html
    assert 'id="show-marks" checked' in html
    assert "#show-marks:not(:checked)~.slabs .marks{display:none}" in html
    pair = html[html.index('class="slabset set-axial-5"') :].partition("</section>")[0]
    assert pair.count("<img") == 2
    assert pair.index("Baseline") < pair.index("Follow-up")
    # What is no longer seen is a square, on the baseline only.
    assert pair.count("<polygon") == 1
    assert pair.index("<polygon") < pair.index("Follow-up")


def test_without_a_comparison_slabs_are_shown_as_not_registered(study, draw):
    for file in (study / "compare/baseline__followup").rglob("*.*"):
        file.unlink(missing_ok=True) if file.is_file() else None
    html = draw()
    assert "the scans are not registered here" in html
    assert html.count('class="slabset') == 4
    assert "<circle" in html


def test_the_course_is_drawn_in_days_with_bars_bands_and_grades(draw):
    html = draw()
    drawing = html[html.index('class="chart timeline"') :].partition("</svg>")[0]
    for part in ("bar-drug", "bar-event", "band", "Rash maculo-papular grade 2", "CEA", "A panel"):
        assert part in drawing
    assert "2024" not in drawing
    panel = section(html, "timeline")
    assert "Day 0: start of alectinib" in panel
    assert "Without a day in the record" in panel
    assert "X-ray chest" in panel


def test_what_was_stated_and_derived_stands_in_the_tables(draw):
    html = draw()
    assert "TNM 9" in section(html, "stage")
    assert "TNM 8" in section(html, "stage")
    assert "A panel" in section(html, "drivers")
    recist = section(html, "recist")
    assert "19 mm" in recist
    assert "11 mm" in recist
    assert "Rash maculo-papular" in section(html, "ctcae")
    assert "is missing" in section(html, "care")
    assert "tuberculosis" in section(html, "differential")
    assert "seed 0" in section(html, "methods")


def test_words_of_the_record_are_text_and_never_markup(study, draw):
    nasty = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{0}'
    path = study / "case/case.json"
    case = json.loads(path.read_text())
    case["record"]["title"] = case["record"]["events"][0]["label"] = nasty
    case["record"]["labs"][0]["analyte"] = case["record"]["lesions"][0]["id"] = nasty
    for assessment in case["assessments"]:
        assessment["statement"] = nasty
    path.write_text(json.dumps(case))
    scan = study / "ct/baseline/scan.json"
    add_to(scan, warnings=[{"code": nasty, "message": nasty}])
    (study / "ct" / "baseline").rename(study / "ct" / "<b onclick=x>&")
    html = draw(title=nasty)
    page = Page(html)
    assert page.trouble == []
    assert not [tag for tag, facts in page.tags if tag in {"script", "b"} or "onerror" in facts]
    assert "49" not in words_of(html.partition("</h1>")[0])
    assert "{{ 7*7 }}{0}" in words_of(html)


class TestSimulated:
    def test_all_simulated_says_so_everywhere(self, study, draw):
        for path in (*study.glob("ct/*/scan.json"), *study.glob("compare/*/response.json")):
            add_to(path, origin="simulated")
        (study / "case/case.json").unlink()
        (study / "radiographs/film.png").unlink()
        html = draw()
        assert 'class="water-page"' in html
        assert "no number or picture on this page belongs to a real patient" in html
        pictures = re.findall(r'<div class="picture">.*?</div>', html, re.DOTALL)
        slabs = [p for p in pictures if 'class="over"' in p]
        assert slabs
        assert all("SIMULATED" in picture for picture in slabs)
        assert "(simulated)" in html.partition("</title>")[0]

    def test_published_facts_stay_apart_from_simulated_numbers(self, study, draw):
        for path in study.glob("ct/*/scan.json"):
            add_to(path, origin="simulated")
        html = draw()
        assert 'class="water-page"' not in html
        assert "Part of this page is simulated" in html
        answer = html[html.index('<div class="answer">') :].partition("</section>")[0]
        scans, record = answer.split('<div class="right">')
        assert 'class="chip simulated"' in scans
        assert 'class="chip recorded"' not in scans
        assert "4,812" in scans
        assert "ALK is positive" not in scans
        record = record.partition('<div class="block board-queries">')[0]
        assert 'class="chip recorded"' in record
        assert "simulated" not in record
        assert "ALK is positive" in record
        assert "4,812" not in record

    def test_nothing_simulated_carries_no_watermark(self, draw):
        html = draw()
        assert 'class="water' not in html


class TestDamage:
    @pytest.mark.parametrize(
        "member",
        [
            *("ct/baseline/scan.json", "compare/baseline__followup/response.json", "case/case.json"),
            *("ct/baseline/figures/figures.json", "ct/baseline/figures/frontal.png"),
        ],
    )
    @pytest.mark.parametrize("content", [b"", b"{", b"\x89PNG\r\n\x1a\n", b"[1, 2]", b"null"])
    def test_a_damaged_member_is_named_and_the_rest_shown(self, study, draw, member, content):
        (study / member).write_bytes(content)
        html = draw()
        assert f"<code>{member}</code>" in html
        assert Page(html).trouble == []
        assert [name for name in Page(html).ids() if name in PANELS] == list(PANELS)

    def test_a_missing_scan_is_named_and_its_numbers_not_invented(self, study, draw):
        for file in sorted((study / "ct/followup").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        panel = section(draw(), "answer")
        assert "ct/followup/scan.json: is not there" in panel
        assert panel.count("4,812") == 1

    def test_an_earlier_schema_version_is_shown_as_far_as_it_goes(self, study, draw):
        old = {"schema_version": "0.9", "kind": "miliary.ct", "nodules": {"count": 77}}
        (study / "ct/baseline/scan.json").write_text(json.dumps(old))
        html = draw()
        assert "written by an earlier version (schema 0.9)" in html
        assert ">77<" in html

    @pytest.mark.parametrize(
        ("member", "part"),
        [
            ("ct/baseline/scan.json", {"lungs": "unknown"}),
            ("ct/baseline/scan.json", {"nodules": {"count": "many"}}),
            ("compare/baseline__followup/response.json", {"tracks": {"kept": 1.5}}),
            ("case/case.json", {"record": {"labs": [{"id": "a", "analyte": "cea", "value": "high"}]}}),
        ],
    )
    def test_a_member_that_contradicts_its_types_is_left_out_as_damaged(self, study, draw, member, part):
        add_to(study / member, **part)
        html = draw()
        panel = section(html, "answer")
        assert f"{member}: is damaged" in panel
        assert Page(html).trouble == []
        assert ("4,812" in panel, "0.123" in panel, "ALK is positive" in panel) == (
            True,
            "compare" not in member,
            "case" not in member,
        )

    def test_corrections_that_are_not_applied_are_said(self, draw):
        pending = (
            PendingCorrections("ct/baseline", "baseline", (1, 2, 3)),
            PendingCorrections("compare/baseline__followup", "baseline", (3,)),
        )
        words = words_of(draw(pending=pending))
        assert "3 correction(s) of Baseline by a reader are not in the numbers of ct/baseline" in words
        assert "miliary ct STUDY/ct/baseline --apply-corrections" in words
        assert (
            "miliary compare STUDY/ct/baseline STUDY/ct/followup --out STUDY/compare/baseline__followup"
        ) in words
        assert "Corrections pending" not in draw()

    def test_a_study_of_one_scan_says_what_it_lacks(self, study):
        html = render_report(read_study(study / "ct/baseline"))
        assert "No comparison of two scans was saved" in html
        assert "No stage was derived" in html


def test_the_page_stays_small_with_many_pictures(study, draw):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (480, 500), dtype=np.uint8)
    for scan in ("baseline", "followup"):
        for file in (study / "ct" / scan / "figures").glob("axial*.png"):
            Image.fromarray(noise).save(file)
        for number in range(40):
            Image.fromarray(noise).save(study / "ct" / scan / f"extra_{number}.png")
    pair = study / "compare/baseline__followup"
    (pair / "figures/figures.json").unlink()
    assert len(draw()) < 25e6


def _course(html):
    """Drawings of the panel of the course."""
    panel = html[html.index('<section id="timeline"') :].partition("</section>")[0]
    return [part.partition("</svg>")[0] for part in panel.split('class="chart timeline"')[1:]]


def test_measured_burden_stands_on_the_records_axis_where_its_day_is_known(study, draw):
    for label, name in (("baseline", "ct1"), ("followup", "ct2")):
        (study / "ct" / label).rename(study / "ct" / name)
    (drawing,) = _course(draw())
    assert "measured volume" in drawing
    assert "alectinib" in drawing


def test_simulated_burden_never_stands_on_the_axis_of_a_real_record(study, draw):
    for path in (*study.glob("ct/*/scan.json"), *study.glob("compare/*/response.json")):
        add_to(path, origin="simulated")
    for label, name in (("baseline", "ct1"), ("followup", "ct2")):
        (study / "ct" / label).rename(study / "ct" / name)
    (drawing,) = _course(draw())
    assert "measured volume" not in drawing


def test_burden_without_days_of_the_record_has_an_axis_of_its_own(draw):
    record, burden = _course(draw())
    assert "measured volume" not in record
    assert "measured volume" in burden
    assert "alectinib" not in burden


def test_two_totals_that_disagree_and_what_cannot_be_measured_are_said(study, draw):
    path = study / "ct/baseline/scan.json"
    corrected = json.loads(path.read_text())["corrected"] | {
        "count_at_least_1_mm": None,
        "count_at_least_1_mm_reason": "not measurable on this scan",
        "excess_check": {
            "total_volume_mm3": 999.0,
            "total_volume_mm3_ci95": [800.0, 1200.0],
            "agrees": False,
        },
    }
    add_to(path, corrected=corrected)
    panel = section(draw(), "burden")
    assert "Two independent totals disagree; read the corrected numbers with care: Baseline" in panel
    assert "not measurable on this scan" in panel


def _state_totals(study, label, smallest_mm, scale):
    """Corrected totals from a scan's own smallest diameter on, and from each further tenth of a mm."""
    path = study / "ct" / label / "scan.json"
    sizes = [smallest_mm, 1.3, 1.4, 1.5]
    rows = [
        {
            "diameter_mm": d,
            "count": scale / d,
            "count_ci95": [0.9 * scale / d, 1.1 * scale / d],
            "total_volume_mm3": 2 * scale / d,
            "total_volume_mm3_ci95": [scale / d, 3 * scale / d],
        }
        for d in sizes
    ]
    first = {key: value for key, value in rows[0].items() if key != "diameter_mm"}
    corrected = json.loads(path.read_text())["corrected"] | first
    add_to(path, corrected=corrected | {"min_diameter_mm": smallest_mm, "at_least": rows})


def test_counts_before_and_after_are_given_at_one_size(study, draw):
    _state_totals(study, "baseline", 1.08, 6500.0)
    _state_totals(study, "followup", 1.26, 1300.0)
    html = draw()
    answer, burden = section(html, "answer"), section(html, "burden")
    for panel in (answer, burden):
        assert "5,000" in panel
        assert "1,000" in panel
    # What each scan states from its own smallest diameter on stands in the table only.
    assert "6,019" not in answer
    assert "6,019" in burden
    assert "1.30" in answer
    assert "from 1.30 mm on" in burden


def test_a_scan_outside_validity_has_marks_and_reasons_but_no_count(study, draw):
    path = study / "ct/baseline/scan.json"
    reason = "pixels of 2 mm are larger than 1.4 mm"
    text = f"not measurable: the scan is outside what was validated ({reason})"
    add_to(
        path,
        validity={"verdict": "outside", "reasons": [reason], "checks": []},
        corrected={"count": None, "count_reason": text},
    )
    html = draw()
    answer, burden = section(html, "answer"), section(html, "burden")
    assert "not measurable. The scan is outside what was validated" in answer
    assert "marks are listed, not counted" in answer
    assert reason in answer
    assert reason in burden
    assert "ct/baseline/scan.json: corrected.count" not in html


def test_a_corrected_number_below_the_found_one_explains_itself(study, draw):
    path = study / "ct/baseline/scan.json"
    corrected = json.loads(path.read_text())["corrected"]
    add_to(
        path, corrected=corrected | {"explanation": "fewer than the 5,100 marks: false marks were taken off"}
    )
    assert "fewer than the 5,100 marks: false marks were taken off" in section(draw(), "burden")
