import json
import types

import numpy as np
import pandas as pd
import pytest

from miliary import followup
from miliary.cli.main import main
from miliary.errors import InputError
from miliary.exchange.dicom.identity import find_patient_conflict, list_series, read_identity
from miliary.exchange.dicom.write_ct import write_dicom_series
from miliary.exchange.folders import exam_read
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.kinds import COMPARISON_FILES, read_schema
from miliary.exchange.folders.open_result import open_comparison
from miliary.exchange.folders.volume_store import read_stored_volume
from miliary.model.comparison import Identity
from miliary.model.ct_result import Lungs
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_comparison import summarize_saved_series
from miliary.model.scan import Acquisition, Grid, Scan, SourceOrder
from miliary.model.transform import Transform

SHAPE, SPACING = (48, 44, 64), (2.4, 3.0, 3.2)


def make_scan(seed=0):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[5:43, 6:38, 5:29] = 1
    labels[5:43, 6:38, 35:59] = 2
    voxels = np.full(SHAPE, -1000, dtype=np.int16)
    voxels[:, 2:42, 2:62] = 40
    voxels[labels > 0] = -850
    voxels += np.random.default_rng(seed).integers(-5, 6, SHAPE, dtype=np.int16)
    return Scan(voxels, Grid(SHAPE, SPACING), Acquisition(modality="CT", slice_thickness_mm=2.4)), labels


@pytest.fixture(autouse=True)
def register(monkeypatch):
    def register_lungs(*_, **__):
        return types.SimpleNamespace(
            transform=Transform.identity(),
            agreement=0.9,
            tre_estimate_mm=0.5,
            overlap=0.99,
            min_jacobian=0.9,
            folded_share=0.0,
            n_landmarks=100,
        )

    monkeypatch.setattr(followup, "register_lungs", register_lungs)


@pytest.fixture
def write_result(make_result, make_nodules, tmp_path):
    """Write a result folder with the first `n` of 300 nodules."""

    def write(name, n, *, keep_volume=True, **given):
        scan, labels = make_scan()
        inside = np.argwhere(labels > 0)
        rows = np.random.default_rng(1).choice(len(inside), 300, replace=False)[:n]
        points = scan.grid.lps_from_index(inside[rows])
        nodules = make_nodules(
            n,
            x_mm=points[:, 0],
            y_mm=points[:, 1],
            z_mm=points[:, 2],
            volume_mm3=np.full(n, 4.19),
            volume_mm3_err=np.full(n, 0.3),
            diameter_mm=np.full(n, 2.0),
            probability=np.full(n, 0.97),
        )
        result = make_result(
            grid=scan.grid,
            acquisition=scan.acquisition,
            lungs=Lungs(labels, scan.grid.voxel_volume_mm3),
            nodules=nodules,
            **given,
        )
        write_ct_result(result, tmp_path / name, scan=scan if keep_volume else None)
        return tmp_path / name

    return write


def run(*words):
    return main([str(word) for word in ("compare", *words)])


def test_two_result_folders_become_a_comparison(write_result, tmp_path, capsys):
    before, after = write_result("before", 300), write_result("after", 90)
    out = tmp_path / "compare/before__after"
    assert run(before, after, "--out", out, "--days", "91") == 0
    assert {path.name for path in out.iterdir()} == set(COMPARISON_FILES)
    content = json.loads((out / "response.json").read_text())
    assert set(content) >= set(read_schema("response")["required"])
    assert content["response"]["volume_ratio"] == pytest.approx(0.3, abs=0.02)
    assert (content["baseline"]["label"], content["followup"]["label"]) == ("before", "after")
    assert content["days_between"] == 91
    matches = pd.read_csv(out / "matches.csv")
    assert list(matches.columns) == ["baseline_id", "followup_id", "probability", "volume_change_fraction"]
    assert (matches.baseline_id == matches.followup_id).all()
    assert len(matches) >= 85
    tracks = pd.read_csv(out / "tracks.csv")
    assert set(tracks.fate) == {"kept", "no_longer_seen"}
    transform = Transform.from_arrays(dict(np.load(out / "transform.npz")))
    assert transform.apply([[1.0, 2.0, 3.0]]) == pytest.approx(np.array([[1.0, 2.0, 3.0]]))
    assert read_stored_volume(out / "registered.zarr").read().max() > 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.3" in shown
    assert "exploratory" in shown
    assert "[patient_unknown]" in shown


def test_json_is_what_the_file_holds(write_result, tmp_path, capsys):
    before, after = write_result("before", 300), write_result("after", 90)
    assert run(before, after, "--out", tmp_path / "out", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out/response.json").read_text())
    assert all(json.loads(line)["event"] in {"start", "done"} for line in err.splitlines())


def test_an_earlier_comparison_is_replaced_and_nothing_else(write_result, tmp_path, capsys):
    before, after = write_result("before", 300), write_result("after", 90)
    out = tmp_path / "out"
    assert run(before, after, "--out", out, "--quiet") == 0
    assert run(before, before, "--out", out, "--quiet") == 0
    assert json.loads((out / "response.json").read_text())["response"]["volume_ratio"] == pytest.approx(1.0)
    assert run(before, after, "--out", before) == 2
    assert "miliary did not write" in capsys.readouterr().err
    assert (before / "scan.json").exists()


def test_three_scans_are_a_series_with_a_nadir(write_result, tmp_path, capsys):
    folders = [write_result("a", 300), write_result("b", 60), write_result("c", 150)]
    out = tmp_path / "out"
    assert run(*folders, "--out", out, "--days", "90", "--days", "180") == 0
    series = json.loads((out / "series.json").read_text())
    assert series["nadir"] == "b"
    assert [p["days_between"] for p in series["time_points"]] == [90, 180]
    assert series["time_points"][1]["ratio_to_nadir"] == pytest.approx(2.5, abs=0.1)
    assert {p.name for p in (out / "compare").iterdir()} == {"a__b", "a__c"}
    assert "nadir: b" in capsys.readouterr().out
    # A study makes the same series of the comparisons that it kept.
    names = [point["path"] for point in series["time_points"]]
    saved = summarize_saved_series([(name, open_comparison(out / name).summary) for name in names])
    again = to_json(saved)
    assert again.keys() == series.keys()
    assert {k: v for k, v in again.items() if k != "time_points"} == {
        k: v for k, v in series.items() if k != "time_points"
    }
    for one, other in zip(again["time_points"], series["time_points"], strict=True):
        assert one == {
            name: pytest.approx(value, rel=1e-5) if isinstance(value, float | list) else value
            for name, value in other.items()
        }


def test_days_are_given_once_for_each_follow_up(write_result, tmp_path, capsys):
    a, b = write_result("a", 30), write_result("b", 30)
    assert run(a, b, "--out", tmp_path / "out", "--days", "3", "--days", "4") == 2
    assert "once for each follow-up" in capsys.readouterr().err


def test_a_result_without_its_volume_says_what_to_do(write_result, tmp_path, capsys):
    a, b = write_result("a", 30), write_result("b", 30, keep_volume=False)
    assert run(a, b, "--out", tmp_path / "out") == 2
    assert "run 'miliary ct' without --no-volume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "scan.json").write_text("{"),
        lambda folder: (folder / "scan.json").write_text('{"kind": "miliary.case"}'),
        lambda folder: (folder / "nodules.csv").write_text("id\n1\n"),
        lambda folder: (folder / "lungs.nii.gz").write_bytes(b"nothing"),
        lambda folder: (folder / "lungs.nii.gz").unlink(),
    ],
)
def test_a_damaged_result_is_one_line_and_leaves_nothing(write_result, tmp_path, capsys, damage):
    a, b = write_result("a", 30), write_result("b", 30)
    damage(b)
    assert run(a, b, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("miliary: error: ")
    assert str(tmp_path) not in err
    assert not (tmp_path / "out").exists()


def test_scans_that_are_no_pair_leave_nothing(write_result, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise InputError("they do not look like the same lungs")

    a, b = write_result("a", 30), write_result("b", 30)
    monkeypatch.setattr(followup, "compare_scans", refuse)
    assert run(a, b, "--out", tmp_path / "x/out") == 2
    assert "a, b: they do not look like the same lungs" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_missing_scan_is_an_error(write_result, tmp_path, capsys):
    assert run(write_result("a", 30), tmp_path / "nobody", "--out", tmp_path / "out") == 2
    assert "nobody does not exist" in capsys.readouterr().err


# --- what a result folder gives back ------------------------------------------------------------------------


def test_an_exam_is_read_back_as_it_was_measured(write_result):
    folder = write_result("a", 50)
    scan, labels = make_scan()
    exam = exam_read.read_exam(folder)
    assert exam.name == "a"
    assert len(exam.nodules) == 50
    # Voxels and labels agree in the patient, wherever the body was cut out.
    lung = exam.scan.voxels_hu[exam.lungs.labels > 0]
    assert lung.size == np.count_nonzero(labels)
    assert lung.max() < -800
    corner = exam.scan.grid.lps_from_index((0, 0, 0))
    start = np.rint(scan.grid.index_from_lps(corner)).astype(int)
    nz, ny, nx = exam.scan.voxels_hu.shape
    same = scan.voxels_hu[start[0] : start[0] + nz, start[1] : start[1] + ny, start[2] : start[2] + nx]
    assert np.array_equal(exam.scan.voxels_hu, same)


def test_labels_of_a_scan_stored_upside_down_are_turned(write_result):
    order = SourceOrder((0, 1, 2), (True, False, True))
    folder = write_result("a", 20, source_order=order)
    exam = exam_read.read_exam(folder)
    assert exam.scan.voxels_hu[exam.lungs.labels > 0].max() < -800
    assert exam.scan.voxels_hu[exam.lungs.labels == 0].min() >= -1024
    index = np.argwhere(exam.lungs.labels == 1)
    assert index[:, 2].max() < np.argwhere(exam.lungs.labels == 2)[:, 2].min()


# --- whose scans, and when ---------------------------------------------------------------------------------


def change_headers(folder, **values):
    import pydicom

    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        for name, value in values.items():
            setattr(dataset, name, value)
        dataset.save_as(path)


@pytest.fixture
def write_dicom(tmp_path):
    def write(name, *, thickness_mm=2.4, series=1, **values):
        scan, _ = make_scan()
        folder = tmp_path / name
        target = folder / f"s{series}" if series != 1 else folder
        step = max(1, round(thickness_mm / 2.4))
        grid = Grid((SHAPE[0] // step, *SHAPE[1:]), (2.4 * step, *SPACING[1:]))
        acquisition = Acquisition(slice_thickness_mm=thickness_mm, kernel="B30f")
        write_dicom_series(target, scan.voxels_hu[::step], grid, acquisition=acquisition, seed=series)
        change_headers(
            target, **{"PatientID": "P-1", "PatientBirthDate": "19480307", "SeriesNumber": series, **values}
        )
        return folder

    return write


@pytest.fixture
def measured(monkeypatch, make_result, make_nodules):
    """Detection that is instant, on whatever was read."""
    import sys

    asked = []

    def find_nodules(scan, *, n_threads=None, **_):
        labels = np.zeros(scan.voxels_hu.shape, dtype=np.uint8)
        labels[3:-3, 6:38, 5:29] = 1
        asked.append(scan)
        return make_result(
            grid=scan.grid,
            acquisition=scan.acquisition,
            lungs=Lungs(labels, scan.grid.voxel_volume_mm3),
            nodules=make_nodules(0),
        )

    module = types.ModuleType("miliary.pipeline")
    module.find_nodules = find_nodules
    monkeypatch.setitem(sys.modules, "miliary.pipeline", module)
    return asked


def test_days_come_from_the_files_and_nothing_that_identifies_is_written(
    write_dicom, measured, tmp_path, capsys
):
    before = write_dicom("Doe_Jane_1", StudyDate="20210309", AcquisitionDate="20210309")
    after = write_dicom("Doe_Jane_2", StudyDate="20210608", AcquisitionDate="20210608")
    assert run(before, after, "--out", tmp_path / "out", "--treatment-start", "2021-05-01") == 0
    text = (tmp_path / "out/response.json").read_text()
    content = json.loads(text)
    assert content["days_between"] == 91
    codes = [w["code"] for w in content["warnings"]]
    assert "patient_unknown" not in codes
    assert "baseline_timing" in codes
    assert (content["baseline"]["label"], content["followup"]["label"]) == ("baseline", "followup")
    everything = text + "".join(capsys.readouterr())
    assert not any(
        word in everything.replace(str(tmp_path), "") for word in ("P-1", "1948", "20210309", "Doe")
    )


@pytest.mark.parametrize("change", [{"PatientID": "P-2"}, {"PatientBirthDate": "19500101"}])
def test_two_patients_are_refused_before_anything_is_read(write_dicom, measured, tmp_path, capsys, change):
    before, after = write_dicom("a"), write_dicom("b", **change)
    assert run(before, after, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "different patients" in err
    assert "P-2" not in err
    assert measured == []
    assert not (tmp_path / "out").exists()


def test_swapped_scans_are_refused(write_dicom, measured, tmp_path, capsys):
    before, after = write_dicom("a", StudyDate="20210608"), write_dicom("b", StudyDate="20210309")
    assert run(before, after, "--out", tmp_path / "out") == 2
    assert "91 days before a" in capsys.readouterr().err
    assert measured == []


def test_the_matching_series_of_two_studies_are_read_and_named(write_dicom, measured, tmp_path):
    before = write_dicom("a")
    write_dicom("a", thickness_mm=4.8, series=2)
    after = write_dicom("b", thickness_mm=4.8)
    assert run(before, after, "--out", tmp_path / "out", "--quiet") == 0
    assert [scan.acquisition.slice_thickness_mm for scan in measured] == [4.8, 4.8]
    content = json.loads((tmp_path / "out/response.json").read_text())
    assert "series 2 of 2" in content["baseline"]["series"]
    assert "4.8 mm" in content["baseline"]["series"]


def test_the_series_that_fits_an_earlier_result_is_read(write_result, write_dicom, measured, tmp_path):
    before = write_result("before", 30)
    write_dicom("b", thickness_mm=4.8, series=2)
    after = write_dicom("b", thickness_mm=2.4, series=3)
    assert run(before, after, "--out", tmp_path / "out", "--quiet") == 0
    assert [scan.acquisition.slice_thickness_mm for scan in measured] == [2.4]


def test_identity_of_what_says_nothing_is_empty(write_dicom, tmp_path):
    assert read_identity(tmp_path / "nothing") == Identity()
    volume = tmp_path / "volume.nii.gz"
    volume.write_bytes(b"not a scan at all" * 20)
    assert read_identity(volume) == Identity()
    nobody = read_identity(write_dicom("a", PatientID="", PatientBirthDate="", StudyDate="", ContentDate=""))
    assert nobody == Identity()
    known = read_identity(write_dicom("b"))
    assert "P-1" not in repr(known)
    assert known.day is not None


def test_a_study_of_one_series_lists_it(write_dicom, tmp_path):
    listed = list_series(write_dicom("a"))
    assert [(s.key, s.n_slices, s.thickness_mm, s.is_sharp) for s in listed] == [("#1", SHAPE[0], 2.4, False)]
    assert list_series(tmp_path / "nothing") == ()


def test_patients_conflict_only_where_both_are_known():
    assert find_patient_conflict([Identity("a"), Identity(None), Identity("a")]) is None
    assert find_patient_conflict([Identity("a"), Identity(None), Identity("b")]) == (0, 2)
    assert find_patient_conflict([Identity("a", "x"), Identity("a", "y")]) == (0, 1)
    assert find_patient_conflict([Identity("a", "x"), Identity("a", None)]) is None
