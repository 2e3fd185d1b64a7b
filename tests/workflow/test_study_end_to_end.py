"""A small simulated patient from DICOM files and a zip to the report, with the shipped weights."""

import zipfile
from dataclasses import replace

import pytest

from miliary.cli.main import main
from miliary.exchange.case.examples import find_example
from miliary.exchange.dicom.write_ct import write_dicom_series
from miliary.exchange.folders.study_file import read_study
from miliary.image.simulate import NodulePopulation, demo_pair, simulate_pair


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """The demo's patient on a coarse grid: the baseline as a folder, the follow-up as a zip."""
    folder = tmp_path_factory.mktemp("study") / "patient"
    small = demo_pair()
    small["protocol"] = replace(
        small["protocol"],
        shape_zyx=(84, 144, 144),
        spacing_zyx_mm=(2.6, 2.1, 2.1),
        slice_thickness_mm=2.6,
        psf_fwhm_mm=2.4,
    )
    small["population"] = NodulePopulation(n=150, diameter_mm=(4.0, 6.0), shape="sphere")
    pair = simulate_pair(**small, n_threads=1)
    for name, one in (("baseline", pair.baseline), ("followup", pair.followup)):
        scan = one.scan
        place = folder / name if name == "baseline" else folder.parent / name
        write_dicom_series(place, scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=1)
    with zipfile.ZipFile(folder / "followup.zip", "w") as archive:
        for path in (folder.parent / "followup").iterdir():
            archive.write(path, f"images/{path.name}")
    example = find_example("index-case")
    (folder / "case").mkdir()
    for name in ("case.yaml", "labs.csv"):
        if (example / name).is_file():
            (folder / "case" / name).write_bytes((example / name).read_bytes())
    return folder


def test_a_simulated_patient_becomes_a_study(patient, capsys):
    assert main(["study", str(patient), "--fast", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    out = patient / "result"
    study = read_study(out)
    assert [scan.label for scan in study.scans] == ["baseline", "followup"]
    assert study.problems == ()
    # Pixels as coarse as these small scans have cannot carry nodules, which every part of the study says.
    compared = study.comparisons[0].record
    assert compared.comparability.verdict == "not_comparable"
    assert "pixels of 2.1 mm" in compared.response.reason_of("volume_ratio")
    assert all("pixels of 2.1 mm" in scan.record.pattern.reason for scan in study.scans)
    assert "pixels of 2.1 mm" in (out / "report.html").read_text()
    assert "nodules" in (out / "report.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if path.name != "study.json"}
    assert main(["study", str(patient), "--fast"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("kept ") == 5
    assert "made" not in printed
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {p.name for p in before if before[p] != after[p]} <= {"inputs.json"}
