"""A patient's folder becomes a study, and what is out of date is made anew and never shown as current."""

import datetime as dt
import hashlib
import json
import os

import numpy as np
import pydicom
import pytest

import miliary
from miliary.cli.main import main
from miliary.errors import InputError, OutputError, RunCancelled
from miliary.exchange.folders.corrections_file import append_correction
from miliary.exchange.folders.study_file import read_study
from miliary.exchange.volumes.volume_file import write_label_volume
from miliary.model.scan import SourceOrder
from miliary.workflow import study_record
from miliary.workflow.scan_measurement import measure
from miliary.workflow.study_page import write_study_page
from miliary.workflow.study_plan import StudySettings, plan_study
from miliary.workflow.study_record import INPUTS_NAME, check_saved_study
from miliary.workflow.study_run import Outcome, run_study
from tests.workflow.conftest import SHAPE, make_scan
from tests.workflow.control import digest, stop_at

FIRST, SECOND = "Quzzle_Jane_zz", "Quzzle_Jane_aa"
PAIR = "compare/baseline__followup"
EVERY = {"ct/baseline", "ct/followup", PAIR, "case", "report"}
SCANS = {"ct/baseline", "ct/followup", PAIR, "report"}


def run(patient, out=None, **settings):
    return run_study(patient, out, settings=StudySettings(**settings), n_threads=1)


def list_members(found, outcome):
    return {one.member for one in found.outcomes if one.outcome is outcome}


def test_a_patient_becomes_a_study(patient, measured):
    before = digest(patient)
    found = run(patient)
    out = patient / "result"
    assert list_members(found, Outcome.MADE) == EVERY
    assert found.is_complete
    study = read_study(out)
    assert [scan.label for scan in study.scans] == ["baseline", "followup"]
    assert study.comparisons[0].record.days_between == 91
    assert study.case.case_id == "p1"
    assert (study.title, study.problems) == ("A made-up patient", ())
    assert sorted(path.name for path in out.iterdir()) == [
        *("case", "compare", "ct", "inputs.json", "report.html", "study.json")
    ]
    # The patient's own files are as they were.
    assert {name: sha for name, sha in digest(patient).items() if not name.startswith("result/")} == before


def test_nothing_that_identifies_is_written(patient, measured):
    run(patient)
    words = (b"Quzzle", b"Jane", b"P-77", b"19480307", b"20210309", b"2021-03-09", os.fsencode(patient))
    for path in (patient / "result").rglob("*"):
        assert not any(word in os.fsencode(path.relative_to(patient)) for word in words)
        if path.is_file():
            assert [word for word in words if word in path.read_bytes()] == [], path.name


def test_a_lung_mask_is_taken_and_measured_anew_when_it_changes(patient, measured):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[3:19, 6:38, 5:29], labels[3:19, 6:38, 35:59] = 1, 2
    mask = patient / f"{FIRST}-lungs.nii.gz"
    grid = make_scan().grid
    write_label_volume(mask, labels, grid, SourceOrder())
    run(patient)
    asked = [one["lung_mask"] for one in measured.settings]
    assert [one is None for one in asked] == [False, True]
    assert np.array_equal(asked[0].labels, labels)
    assert list_members(run(patient), Outcome.MADE) == set()
    write_label_volume(mask, np.where(labels == 2, 0, labels).astype(np.uint8), grid, SourceOrder())
    plan = plan_study(patient)
    assert plan.list_changes()["ct/baseline"] == "its lung mask has changed"
    assert "ct/followup" not in plan.list_changes()


def change_voxel(folder):
    path = sorted(folder.iterdir())[3]
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[5, 6] += 1
    dataset.PixelData = pixels.astype(np.uint16 if dataset.PixelRepresentation == 0 else np.int16).tobytes()
    dataset.save_as(path)


def touch(folder):
    for path in folder.iterdir():
        os.utime(path, (1.0, 1.0))


def correct(patient):
    content = {"reader": "AB", "scan": "followup", "kind": "add_nodule", "position_lps_mm": [1.0, 2.0, 3.0]}
    append_correction(patient / "result" / "corrections.jsonl", content)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


CHANGES = {
    "nothing": (lambda p, m: None, {}, set()),
    "a file touched": (lambda p, m: touch(p / FIRST), {}, set()),
    "a voxel of the baseline": (lambda p, m: change_voxel(p / FIRST), {}, {"ct/baseline", PAIR, "report"}),
    "a voxel of the follow-up": (lambda p, m: change_voxel(p / SECOND), {}, {"ct/followup", PAIR, "report"}),
    "a file renamed": (
        lambda p, m: next((p / FIRST).iterdir()).rename(p / FIRST / "x.dcm"),
        {},
        {"ct/baseline", PAIR, "report"},
    ),
    "the folder renamed": (lambda p, m: (p / FIRST).rename(p / "other"), {}, set()),
    "a laboratory value": (lambda p, m: edit(p / "case/labs.csv", ",7,", ",8,"), {}, {"case", "report"}),
    "a fact of the case": (lambda p, m: edit(p / "case/case.yaml", "19", "21"), {}, {"case", "report"}),
    "a setting": (lambda p, m: None, {"with_completeness": False}, SCANS),
    "a day on which more rules are due": (lambda p, m: None, {"on": dt.date(2030, 1, 1)}, {"case", "report"}),
    "today, said": (lambda p, m: None, {"on": dt.datetime.now(tz=dt.UTC).date()}, set()),
    "the language": (lambda p, m: None, {"language": "ja"}, {"report"}),
    "the weights": (
        lambda p, m: m.setattr(study_record, "digest_weights", lambda: "other"),
        {},
        SCANS,
    ),
    "the version of the program": (
        lambda p, m: m.setattr(study_record, "__version__", "9.9.9"),
        {},
        EVERY,
    ),
    "a correction of a reader": (lambda p, m: correct(p), {}, {"ct/followup", PAIR, "report"}),
    "a result changed by hand": (
        lambda p, m: edit(p / "result/ct/baseline/scan.json", "0.25", "0.26"),
        {},
        {"ct/baseline", PAIR, "report"},
    ),
    "a comparison gone": (
        lambda p, m: (p / "result" / PAIR / "response.json").unlink(),
        {},
        {PAIR, "report"},
    ),
    "the report gone": (lambda p, m: (p / "result/report.html").unlink(), {}, {"report"}),
    "the report older": (
        lambda p, m: (p / "result/report.html").write_text('<meta name="generator" content="miliary'),
        {},
        {"report"},
    ),
    "the record gone bad": (lambda p, m: edit(p / "result/inputs.json", "rests_on", "rest"), {}, EVERY),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_a_change_reaches_is_made_anew(name, patient, measured, monkeypatch):
    run(patient)
    measured.clear()
    change, settings, expected = CHANGES[name]
    change(patient, monkeypatch)
    found = run(patient, **settings)
    assert list_members(found, Outcome.MADE) == expected
    assert list_members(found, Outcome.KEPT) == EVERY - expected
    assert len(measured) == len([member for member in expected if member.startswith("ct/")])
    assert check_saved_study(patient / "result") == ()
    measured.clear()
    assert list_members(run(patient, **settings), Outcome.KEPT) == EVERY
    assert measured == []


def test_without_measuring_what_is_out_of_date_is_named_in_the_report(patient, measured):
    run(patient)
    measured.clear()
    change_voxel(patient / FIRST)
    found = run(patient, measures=False)
    assert measured == []
    assert list_members(found, Outcome.STALE) == {"ct/baseline", PAIR}
    assert not found.is_complete
    page = (patient / "result/report.html").read_text()
    assert page.count("is out of date") == 2
    assert "its files have changed" in page
    # Measuring later settles it.
    run(patient)
    assert "is out of date" not in (patient / "result/report.html").read_text()


def test_a_scan_measured_anew_by_hand_outdates_its_comparison(patient, measured):
    run(patient)
    out = patient / "result"
    measure(patient / SECOND, out / "ct/baseline", n_threads=1)
    assert [(p.member, p.code, p.detail) for p in check_saved_study(out)] == [
        (PAIR, "stale", "ct/baseline has changed")
    ]
    (path,) = write_study_page(out)
    assert "is out of date (ct/baseline has changed)" in path.read_text()


def test_one_scan_that_fails_stops_no_other(patient, measured, capsys):
    (patient / "later.nii.gz").write_bytes(b"not a scan")
    assert main(["study", str(patient), "--threads", "1"]) == 2
    out, err = capsys.readouterr()
    assert "failed   ct/followup-2: later.nii.gz" in out
    assert "failed   compare/baseline__followup-2" in out
    assert "made     compare/baseline__followup:" in out
    assert "not used     notes.txt: is no chest CT" in err
    page = (patient / "result/report.html").read_text()
    assert "later" not in page
    assert "<code>ct/followup-2</code>: was not made" in page


def test_a_scan_that_can_no_longer_be_read_keeps_its_result_marked(patient, measured):
    run(patient)
    for path in (patient / SECOND).iterdir():
        path.write_bytes(path.read_bytes()[:2000])
    found = run(patient)
    assert list_members(found, Outcome.FAILED) == {"ct/followup"}
    assert list_members(found, Outcome.STALE) == {PAIR}
    assert {(p.member, p.code) for p in check_saved_study(patient / "result")} == {
        ("ct/followup", "stale"),
        (PAIR, "stale"),
    }


def test_a_run_cancelled_at_any_stage_leaves_whole_members_and_can_go_on(patient, measured, tmp_path):
    n_stages = 0
    for number in range(1, 100):
        out = tmp_path / f"out{number}"
        try:
            run_study(patient, out, n_threads=1, cancel=stop_at(number))
        except RunCancelled:
            n_stages += 1
            files = list(out.rglob("*"))
            assert not any(path.name.endswith((".part", ".old")) for path in files)
            assert all((path / "nodules.csv").is_file() for path in out.glob("ct/*"))
            assert not (out / "report.html").exists()
            if number % 5 == 0:
                assert run(patient, out).is_complete
        else:
            break
    assert n_stages >= 10


def test_a_run_that_ends_early_shows_nothing_old_as_current(patient, measured):
    run(patient)
    out = patient / "result"
    change_voxel(patient / FIRST)
    change_voxel(patient / SECOND)
    stages = []

    def progress(stage):
        stages.append(stage)
        if stage == "followup: read":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(patient, n_threads=1, progress=progress)
    assert not (out / "report.html").exists()
    assert not (out / PAIR).exists()
    assert {(p.member, p.code) for p in check_saved_study(out)} == {("ct/followup", "stale")}


def test_scans_that_are_gone_are_removed_from_the_result(patient, measured):
    run(patient)
    (patient / SECOND).rename(patient.parent / "elsewhere")
    found = run(patient)
    assert list_members(found, Outcome.REMOVED) == {"ct/followup", PAIR}
    assert not (patient / "result/ct/followup").exists()
    assert [scan.label for scan in read_study(patient / "result").scans] == ["baseline"]


def test_three_scans_have_a_series(patient, measured, add_scan):
    add_scan(patient / "third", day="20210908", seed=3)
    run(patient)
    series = json.loads((patient / "result/compare/series.json").read_text())
    assert [point["days_between"] for point in series["time_points"]] == [91, 183]
    assert [point["path"] for point in series["time_points"]] == [PAIR, f"{PAIR}-2"]
    assert read_study(patient / "result").series.baseline == "baseline"


def test_an_earlier_result_is_taken_as_it_is_unless_another_version_made_it(patient, measured, make_result):
    measure(patient / FIRST, patient / "ct/Quzzle_old", n_threads=1)
    (patient / FIRST).rename(patient.parent / "elsewhere")
    measured.clear()
    run(patient)
    # Its made-up provenance names no version, so it was measured from the volume it kept.
    assert len(measured) == 2
    assert (patient / "ct/Quzzle_old/scan.json").is_file()


def test_corrections_keep_their_scan(patient, measured, add_scan):
    run(patient)
    correct(patient)
    add_scan(patient / "earlier", day="20200101", seed=5)
    with pytest.raises(InputError, match="order of the scans has changed"):
        run(patient)


def test_two_patients_are_refused(patient, measured, add_scan):
    add_scan(patient / "other", day="20210709", seed=4, PatientID="P-78")
    with pytest.raises(InputError, match="different patients"):
        run(patient)
    assert measured == []
    assert not (patient / "result").exists()


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (lambda p: p, "patient's own files"),
        (lambda p: p.parent, "patient's own files"),
        (lambda p: p / FIRST / "x", "patient's own files"),
        (lambda p: p / "case", "patient's own files"),
        (lambda p: p / "ct/x", "patient's own files"),
    ],
)
def test_the_result_never_goes_among_the_patients_files(patient, measured, place, text):
    before = digest(patient)
    with pytest.raises(OutputError, match=text):
        run(patient, place(patient))
    assert digest(patient) == before


def test_a_study_of_another_command_is_not_replaced(patient, measured):
    out = patient / "result"
    run(patient)
    (out / INPUTS_NAME).unlink()
    with pytest.raises(OutputError, match="not an earlier result of this command"):
        run(patient)


def test_a_dry_run_lists_and_writes_nothing(patient, measured, capsys):
    before = digest(patient)
    assert main(["study", str(patient), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"baseline     {FIRST} (DICOM folder): new"
    assert lines[1] == f"followup     {SECOND} (DICOM folder): new"
    assert any("acquisition dates" in line for line in lines)
    assert digest(patient) == before
    assert measured == []


def test_json_is_one_object_on_stdout(patient, measured, capsys):
    assert main(["study", str(patient), "--json", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert {one["member"] for one in json.loads(out)["members"]} == EVERY
    events = [json.loads(line) for line in err.splitlines()]
    assert events[0]["event"] == "plan"
    assert {event["event"] for event in events[1:]} == {"start", "done"}


def test_a_case_that_points_to_a_scan_of_the_result_follows_it(patient, measured):
    pointing = "studies: [{id: a, modality: ct, when: day 0, result: ../result/ct/baseline}]\n"
    (patient / "case/case.yaml").write_text((patient / "case/case.yaml").read_text() + pointing)
    assert list_members(run(patient), Outcome.MADE) == EVERY
    assert list_members(run(patient), Outcome.KEPT) == EVERY
    change_voxel(patient / FIRST)
    assert plan_study(patient).case_change == "scans that the case points to are measured"
    assert list_members(run(patient), Outcome.MADE) == {"ct/baseline", PAIR, "case", "report"}


def test_a_case_with_a_mistake_is_one_line_and_the_scans_go_on(patient, measured):
    edit(patient / "case/case.yaml", "LUL", "nowhere")
    found = run(patient)
    assert list_members(found, Outcome.FAILED) == {"case"}
    assert list_members(found, Outcome.MADE) == EVERY - {"case"}


def test_the_hash_of_the_result_file_is_what_the_record_says(patient, measured):
    run(patient)
    record = json.loads((patient / "result" / INPUTS_NAME).read_text())
    sha = hashlib.sha256((patient / "result/case/case.json").read_bytes()).hexdigest()
    assert record["members"]["case"]["result_sha256"] == sha
    assert set(record["members"]) == EVERY


def test_the_public_function_is_this_one():
    assert miliary.run_study is run_study
