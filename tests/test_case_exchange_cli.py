"""`miliary case export` and `miliary case import` on the command line."""

import json

import pytest

from miliary.cli.main import main
from miliary.exchange.case.case_file import read_case

ODD_PATIENT = {"resourceType": "Patient", "identifier": 3}


@pytest.fixture
def example(root):
    return root / "examples" / "index-case"


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_case_goes_out_as_fhir_and_comes_back_the_same(capsys, example, tmp_path):
    file = tmp_path / "out" / "bundle.json"
    code, out, _ = run(capsys, "case", "export", example, "--fhir", file)
    assert (code, out) == (0, "bundle.json: 0 not in it\n")
    code, out, _ = run(capsys, "case", "import", file, tmp_path / "again")
    assert code == 0
    assert "results that were derived from facts: not taken" in out
    assert read_case(tmp_path / "again") == read_case(example)


def test_a_phenopacket_says_what_it_does_not_hold(capsys, example, tmp_path):
    file = tmp_path / "packet.json"
    code, out, _ = run(capsys, "case", "export", example, "--phenopacket", file, "--json")
    assert code == 0
    assert "claims" in json.loads(out)["left_out"]["packet.json"]
    assert run(capsys, "case", "import", file, tmp_path / "again", "--quiet")[:2] == (0, "")
    assert {lab.value for lab in read_case(tmp_path / "again").labs} == {1.6, 0.6, 54.5, 584.0, 76.0, None}


def test_a_key_shifts_both_formats_by_the_same_step(capsys, tmp_path):
    folder, key = tmp_path / "case", tmp_path / "key.txt"
    folder.mkdir()
    (folder / "case.yaml").write_text(
        "id: p\nlabs: [{id: a, analyte: cea, value: 1, unit: ng/mL, when: 2021-03-09}]\n"
    )
    key.write_text("a long secret\n")
    files = tmp_path / "b.json", tmp_path / "p.json"
    arguments = ("case", "export", folder, "--fhir", files[0], "--phenopacket", files[1], "--shift-key", key)
    assert run(capsys, *arguments, "--facts-only")[0] == 0
    dates = set()
    for file in files:
        assert "2021-03-09" not in file.read_text()
        assert run(capsys, "case", "import", file, tmp_path / file.stem)[0] == 0
        dates.add(read_case(tmp_path / file.stem).labs[0].when.date)
    assert len(dates) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name a file to write"),
        (("--fhir", "b.json", "--shift-days", "7", "--shift-key", "key.txt"), "not both"),
        (("--fhir", "b.json", "--shift-key", "none.txt"), "none.txt: cannot be read"),
        (("--fhir", "b.json", "--shift-days", "0"), "cannot be shifted by 0 days"),
        (("--fhir", "there.json"), "there.json: is there already"),
    ],
)
def test_an_export_that_cannot_be_is_explained(capsys, example, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    (tmp_path / "key.txt").write_text("a long secret")
    code, _, err = run(capsys, "case", "export", example, *arguments)
    assert code in (1, 2)
    assert message in err
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is not JSON"),
        ("[]", "is neither a FHIR bundle nor a phenopacket"),
        (
            json.dumps({"resourceType": "Bundle", "entry": [{"resource": ODD_PATIENT}]}),
            "is not built",
        ),
        ('{"subject": {}}', "is required in a phenopacket"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(capsys, tmp_path, text, message):
    (tmp_path / "f.json").write_text(text)
    code, _, err = run(capsys, "case", "import", tmp_path / "f.json", tmp_path / "case")
    assert code == 2
    assert err.startswith("miliary: error: f.json: ")
    assert message in err
    assert not (tmp_path / "case").exists()
