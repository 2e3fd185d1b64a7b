"""From a correction to numbers that hold it: pending, applied, told by every result."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from miliary.cli.main import main
from miliary.exchange.folders.corrections_file import append_correction
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.kinds import read_schema
from miliary.exchange.folders.saved_scan import read_saved_scan
from miliary.exchange.folders.study_file import read_study
from miliary.model.corrections import AppliedCorrections
from miliary.model.nodules import Nodules
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize
from miliary.pipeline import find_nodules

APPLIED = AppliedCorrections(applied_through=2, n_rejected=1, n_added=1)


def _add(study, scan="baseline", **given):
    content = {"reader": "AB", "scan": scan, "kind": "add_nodule", "position_lps_mm": [1.0, 2.0, 3.0]}
    return append_correction(study / "corrections.jsonl", {**content, **given})


@pytest.fixture
def study(tmp_path, make_result):
    for label in ("baseline", "followup"):
        write_ct_result(make_result(), tmp_path / "study/ct" / label)
    return tmp_path / "study"


def _write_response(study, **through):
    folder = study / "compare/baseline__followup"
    folder.mkdir(parents=True, exist_ok=True)
    sides = {side: {"corrections_applied_through": n} for side, n in through.items()}
    content = {"kind": "miliary.compare", "schema_version": "1.0", **sides}
    (folder / "response.json").write_text(json.dumps(content))


def test_corrections_are_pending_until_every_result_holds_them(study, make_result):
    assert read_study(study).n_corrections == 0
    _add(study)
    _add(study, scan="followup")
    assert read_study(study).n_corrections == 2
    write_ct_result(make_result(corrections=APPLIED), study / "ct/baseline")
    assert read_study(study).n_corrections == 1
    write_ct_result(make_result(corrections=APPLIED), study / "ct/followup")
    assert read_study(study).n_corrections == 0
    # A comparison made before holds neither.
    _write_response(study)
    assert read_study(study).n_corrections == 2
    _write_response(study, baseline=2)
    assert read_study(study).n_corrections == 1
    _write_response(study, baseline=2, followup=2)
    assert read_study(study).n_corrections == 0


def test_a_result_measured_again_without_them_lacks_them_again(study, make_result):
    _add(study)
    write_ct_result(make_result(corrections=APPLIED), study / "ct/baseline")
    assert read_study(study).n_corrections == 0
    write_ct_result(make_result(), study / "ct/baseline")
    assert read_study(study).n_corrections == 1


def test_a_damaged_file_of_corrections_is_a_problem_of_the_study(study):
    (study / "corrections.jsonl").write_text("nonsense\n")
    found = read_study(study)
    assert found.n_corrections == 0
    assert [p.code for p in found.problems if p.member == "corrections.jsonl"] == ["damaged"]


def test_what_was_applied_is_in_the_summary_and_in_the_schema(make_result):
    summary = to_json(summarize(make_result(corrections=replace(APPLIED, not_placed=(2,)))))
    assert summary["corrections"] == {
        "origin": "corrected",
        "applied_through": 2,
        "n_rejected": 1,
        "n_added": 1,
        "n_lesions": 0,
        "not_placed": [2],
    }
    part = read_schema()["properties"]["corrections"]
    jsonschema.validate(summary["corrections"], part)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**summary["corrections"], "reader": "AB"}, part)


def test_rows_that_a_reader_added_are_known(make_nodules):
    flags = ["", "reader_added", "vessel_attached;reader_added", "pleura_attached"]
    assert make_nodules(4, flags=flags).is_reader_added.tolist() == [False, True, True, False]
    assert Nodules.empty().is_reader_added.shape == (0,)


@pytest.fixture(scope="module")
def measured(simulated_chest, tmp_path_factory):
    """A study of one scan, as `miliary ct` wrote it."""
    study = tmp_path_factory.mktemp("round") / "study"
    result = find_nodules(simulated_chest.scan, n_threads=1, with_completeness=False)
    write_ct_result(result, study / "ct/baseline", scan=simulated_chest.scan)
    return study, result


def test_the_kept_scan_is_the_scan_that_was_measured(measured, simulated_chest):
    study, result = measured
    kept = read_saved_scan(study / "ct/baseline")
    original = simulated_chest.scan
    assert kept.grid == original.grid
    assert kept.acquisition == original.acquisition
    assert kept.source_order == original.source_order
    inside = np.zeros(original.grid.shape_zyx, dtype=bool)
    inside[tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(result.lungs.labels))] = True
    # Whole HU is what is kept.
    assert np.abs(kept.voxels_hu[inside] - original.voxels_hu[inside]).max() <= 0.5


def test_corrections_are_applied_from_the_command_line_to_the_kept_scan(measured, capsys):
    study, before = measured
    folder = study / "ct/baseline"
    row = 5
    point = before.nodules.position_lps_mm[row].tolist()
    _add(study, kind="reject_nodule", nodule_id=int(before.nodules["id"][row]), position_lps_mm=point)
    assert main(["ct", str(folder), "--apply-corrections", "--fast", "--json", "--threads", "1"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["corrections"]["n_rejected"] == 1
    assert summary["origin"] == "simulated"
    table = (folder / "nodules.csv").read_text().splitlines()[1:]
    ids = [int(line.split(",")[0]) for line in table]
    assert int(before.nodules["id"][row]) not in ids
    assert abs(len(ids) - (len(before.nodules) - 1)) <= 3
    assert read_study(study).n_corrections == 0
    codes = [w["code"] for w in summary["warnings"]]
    assert len(codes) == len(set(codes))
    # Taken back: pending again, then as at first.
    append_correction(
        study / "corrections.jsonl", {"reader": "AB", "scan": "baseline", "kind": "withdraw", "withdraws": 1}
    )
    assert read_study(study).n_corrections == 1
    assert main(["ct", str(folder), "--apply-corrections", "--fast", "--quiet", "--threads", "1"]) == 0
    assert read_study(study).n_corrections == 0


def test_without_corrections_there_is_nothing_to_apply(study, capsys):
    assert main(["ct", str(study / "ct/baseline"), "--apply-corrections"]) == 2
    err = capsys.readouterr().err
    assert "corrections.jsonl: is not there" in err
    assert "miliary view" in err


def test_a_scan_needs_a_place_for_its_result(tmp_path, capsys):
    assert main(["ct", str(tmp_path / "scan.nii.gz")]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "miliary.case"}', '{"kind": "miliary.ct"}'])
def test_a_damaged_result_is_no_scan(study, capsys, content):
    (study / "ct/baseline/scan.json").write_text(content)
    _add(study)
    assert main(["ct", str(study / "ct/baseline"), "--out", str(study / "new")]) == 2
    assert "baseline" in capsys.readouterr().err
    assert not (study / "new").exists()
