"""From DICOM files to the result folder, with the shipped weights."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pydicom
import pytest

import miliary
from miliary.cli.main import main
from miliary.exchange.folders.kinds import CT_FILES, read_schema
from miliary.exchange.folders.simulation_store import write_simulation
from miliary.image.pair.match import compare_with_truth
from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan


@pytest.fixture(scope="module")
def simulated():
    """The middle of a chest, cut off above and below, on a grid as coarse as any the classifier knows."""
    protocol = ScanProtocol(
        shape_zyx=(80, 208, 208),
        spacing_zyx_mm=(1.6, 1.4, 1.4),
        psf_fwhm_mm=1.6,
        slice_thickness_mm=1.6,
        noise_sd_hu=12.0,
    )
    population = NodulePopulation(n=200, diameter_mm=(3.0, 4.5), shape="sphere", min_gap_mm=4.0)
    return simulate_scan(protocol, seed=11, population=population)


@pytest.fixture(scope="module")
def folder(simulated, tmp_path_factory):
    """The scan as DICOM, and what `miliary ct` made of it with two threads and with one."""
    folder = tmp_path_factory.mktemp("end-to-end")
    write_simulation(
        simulated.scan,
        simulated.truth,
        simulated.lung_labels,
        folder / "scan",
        parameters={},
        seed=11,
        as_dicom=True,
    )
    # The second run is there for its threads: completeness has its own test of that in test_pipeline.py.
    for threads, extra in (("2", ()), ("1", ("--fast",))):
        arguments = ["ct", str(folder / "scan/dicom"), "--out", str(folder / f"out{threads}"), *extra]
        assert main([*arguments, "--threads", threads, "--quiet"]) == 0
    return folder


def test_the_folder_is_complete_and_follows_the_schema(folder):
    assert sorted(path.name for path in (folder / "out2").iterdir()) == sorted(CT_FILES)
    summary = json.loads((folder / "out2/scan.json").read_text())
    jsonschema.validate(summary, read_schema())
    table = pd.read_csv(folder / "out2/nodules.csv", keep_default_na=False)
    burden = table[table["attenuation"] != "calcified"]
    assert summary["nodules"]["count"] == len(burden)
    assert summary["nodules"]["total_volume_mm3"] == pytest.approx(burden["volume_mm3"].sum(), rel=1e-4)
    assert (table["probability"] >= summary["operating_point"]["threshold"] - 1e-4).all()
    assert table["id"].tolist() == list(range(1, len(table) + 1))


def test_the_nodules_are_where_the_truth_has_them(folder, simulated):
    scan = miliary.read_ct(folder / "scan/dicom")
    result = miliary.find_nodules(scan, with_completeness=False)
    found = compare_with_truth(result.nodules, simulated.truth)
    assert found.n_hits >= 0.95 * found.n_true
    assert found.n_false <= 0.2 * found.n_hits
    assert found.diameter_error_mm < 0.15
    assert found.volume_reported_mm3 == pytest.approx(found.volume_true_mm3, rel=0.1)
    table = pd.read_csv(folder / "out2/nodules.csv")
    assert np.allclose(table["x_mm"], result.to_frame()["x_mm"], atol=6e-4)


def test_the_lungs_are_those_of_the_truth(folder, simulated):
    import SimpleITK as sitk

    image = sitk.ReadImage(str(folder / "out2/lungs.nii.gz"))
    labels = sitk.GetArrayFromImage(image)
    for label in (1, 2):
        found, true = labels == label, simulated.lung_labels == label
        dice = 2 * np.count_nonzero(found & true) / (np.count_nonzero(found) + np.count_nonzero(true))
        assert dice > 0.95


def test_threads_do_not_change_the_result(folder):
    for name in ("nodules.csv", "nodules.parquet", "lungs.nii.gz", "preview.png"):
        assert (folder / "out1" / name).read_bytes() == (folder / "out2" / name).read_bytes(), name
    one, two = (json.loads((folder / out / "scan.json").read_text()) for out in ("out1", "out2"))
    for field in ("lungs", "noise", "psf", "nodules", "operating_point", "lesions"):
        assert one[field] == two[field], field


def test_nothing_that_identifies_is_in_the_result(folder):
    slices = [pydicom.dcmread(path) for path in (folder / "scan/dicom").iterdir()]
    secrets = {str(s.SOPInstanceUID) for s in slices} | {
        str(slices[0].get(name, ""))
        for name in (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
            "PatientID",
            "PatientName",
        )
    }
    secrets |= {str(folder), str(slices[0].get("StudyDate", "")), str(slices[0].get("PatientBirthDate", ""))}
    written = [path for path in (folder / "out2").rglob("*") if path.is_file()]
    assert {path.name for path in written} > {"scan.json", "figures.json", "zarr.json"}
    for path in written:
        content = path.read_bytes()
        assert not [word for word in secrets if len(word) > 4 and word.encode() in content], path.name
