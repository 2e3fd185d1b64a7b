"""`miliary ct` on the development patients: whole outputs, plausible figures."""

import json

import jsonschema
import pytest

from miliary.cli.main import main
from miliary.exchange.folders.kinds import CT_FILES, read_schema

N_SLICES = {"lidc-idri-0314": 275, "lidc-idri-0003": 140}


@pytest.mark.realdata
@pytest.mark.parametrize("name", N_SLICES)
def test_a_development_patient_is_measured(data_dir, tmp_path, capfd, name):
    out = tmp_path / "out"
    assert main(["ct", str(data_dir / name / "dicom.zip"), "--out", str(out), "--json"]) == 0
    stdout, stderr = capfd.readouterr()
    summary = json.loads(stdout)
    jsonschema.validate(summary, read_schema())
    assert summary == json.loads((out / "scan.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == sorted(CT_FILES)
    assert summary["geometry"]["shape_zyx"] == [N_SLICES[name], 512, 512]
    assert 700 < summary["lungs"]["right_ml"] < 5000
    assert 700 < summary["lungs"]["left_ml"] < 5000
    assert all(json.loads(line)["event"] in ("start", "done") for line in stderr.splitlines())
