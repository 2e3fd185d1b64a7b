"""A study folder: what is there is read, what is not is named."""

import json

import pytest

from miliary.errors import InputError
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.study_file import read_study, write_study_file
from miliary.image.figures.scan_figures import render_figures

CASE = {
    "schema_version": "1.0",
    "kind": "miliary.case",
    "case_id": "p1",
    "origin": "published",
    "assessments": [],
}
RESPONSE = {"schema_version": "1.0", "kind": "miliary.compare", "origin": "measured"}


@pytest.fixture
def study(make_result, small_scan, small_labels, tmp_path):
    """Two scans, their comparison and a case, in the usual places, without study.json."""
    folder = tmp_path / "study"
    result = make_result(figures=render_figures(small_scan, small_labels, make_result().nodules))
    for label in ("followup", "baseline"):
        write_ct_result(result, folder / "ct" / label, scan=small_scan)
    (folder / "compare" / "baseline__followup").mkdir(parents=True)
    (folder / "compare" / "baseline__followup" / "response.json").write_text(json.dumps(RESPONSE))
    (folder / "case").mkdir()
    (folder / "case" / "case.json").write_text(json.dumps(CASE))
    return folder


def codes(read):
    return {(problem.member, problem.code) for problem in read.problems}


def test_a_folder_made_by_hand_is_read_by_its_places(study):
    read = read_study(study)
    assert [scan.label for scan in read.scans] == ["baseline", "followup"]
    assert [(c.baseline, c.followup) for c in read.comparisons] == [("baseline", "followup")]
    assert read.case.case_id == "p1"
    assert read.problems == ()
    assert {p.name for p in read.scans[0].pictures} >= {"axial_1_5mm", "frontal", "burden_map"}


def test_study_json_states_order_labels_and_title(study):
    scans = [("before", "ct/followup"), ("after", "ct/baseline")]
    write_study_file(study, title="A patient", scans=scans, case="case/case.json")
    read = read_study(study)
    assert read.title == "A patient"
    assert [(scan.label, scan.path) for scan in read.scans] == scans
    assert len(read.comparisons) == 1


def test_members_are_named_by_relative_paths_only(study):
    with pytest.raises(ValueError, match="relative"):
        write_study_file(study, scans=[("a", "/somewhere")])
    (study / "study.json").write_text(json.dumps({"schema_version": "1.0", "ct": ["/etc", 5, {"path": 3}]}))
    read = read_study(study)
    assert len(read.scans) == 2
    assert ("study.json", "damaged") in codes(read)


@pytest.mark.parametrize("member", ["ct/baseline", "compare/baseline__followup", "case"])
def test_one_result_is_a_study_of_one_member(study, member):
    read = read_study(study / member)
    assert len(read.scans) + len(read.comparisons) + bool(read.case) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "damaged"),
        ("[]", "not_a_result"),
        ('{"kind": "other"}', "not_a_result"),
        ('{"kind": "miliary.ct"}', "no_version"),
        ('{"kind": "miliary.ct", "schema_version": "2.1"}', "newer"),
        ('{"kind": "miliary.ct", "schema_version": "0.9"}', "older"),
    ],
)
def test_a_summary_that_is_not_as_expected_is_named_and_the_rest_is_read(study, content, code):
    (study / "ct" / "baseline" / "scan.json").write_text(content)
    read = read_study(study)
    assert codes(read) == {("ct/baseline/scan.json", code)}
    assert read.scans[1].record
    assert read.case


@pytest.mark.parametrize("path", ["../private", "ct/../../private"])
def test_no_member_leads_out_of_the_study(study, path):
    (study / "ct/baseline").rename(study.parent / "private")
    content = {"kind": "miliary.study", "schema_version": "1.0", "ct": [{"label": "A", "path": path}]}
    (study / "study.json").write_text(json.dumps(content))
    read = read_study(study)
    assert "A" not in [scan.label for scan in read.scans]
    assert ("study.json", "damaged") in codes(read)


def test_missing_members_are_named(study):
    write_study_file(study, scans=[("baseline", "ct/baseline"), ("gone", "ct/gone")], case="case/other.json")
    (study / "ct" / "followup" / "scan.json").unlink()
    assert codes(read_study(study)) == {
        ("ct/gone", "missing"),
        ("ct/followup/scan.json", "missing"),
        ("case/other.json", "missing"),
    }


def test_damaged_pictures_are_left_out_and_named(study):
    figures = study / "ct" / "baseline" / "figures"
    whole = (figures / "frontal.png").read_bytes()
    (figures / "frontal.png").write_bytes(whole[:-30])
    (figures / "axial_1_5mm.png").write_bytes(b"<svg onload=alert(1)>")
    (figures / "axial_2_5mm.png").unlink()
    read = read_study(study)
    assert codes(read) == {
        ("ct/baseline/figures/frontal.png", "damaged"),
        ("ct/baseline/figures/axial_1_5mm.png", "damaged"),
        ("ct/baseline/figures/axial_2_5mm.png", "missing"),
    }
    assert not {"frontal", "axial_1_5mm"} & {p.name for p in read.scans[0].pictures}


def test_nothing_of_ours_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(InputError, match=r"^nowhere: is no folder"):
        read_study(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^empty: holds no readable result"):
        read_study(tmp_path / "empty")
