"""`miliary demo` on a coarse grid: the dossier of a simulated patient beside a published case."""

import json
from dataclasses import replace

import pytest

import miliary.image.simulate
from miliary.cli.main import main
from miliary.errors import InputError
from miliary.exchange.case.examples import find_example
from miliary.image.simulate import NodulePopulation, demo_pair

LABELS = ("baseline", "followup")


@pytest.fixture(scope="module")
def dossier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "result"
    small = demo_pair()
    small["protocol"] = replace(
        small["protocol"],
        shape_zyx=(84, 144, 144),
        spacing_zyx_mm=(2.6, 2.1, 2.1),
        slice_thickness_mm=2.6,
        psf_fwhm_mm=2.4,
    )
    small["population"] = NodulePopulation(n=150, diameter_mm=(4.0, 6.0), shape="sphere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miliary.image.simulate, "demo_pair", lambda: small)
        assert main(["demo", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_demo_makes_a_study_of_two_scans_a_comparison_a_case_and_a_page(dossier):
    study = json.loads((dossier / "study.json").read_text())
    assert [scan["label"] for scan in study["ct"]] == list(LABELS)
    members = [scan["path"] for scan in study["ct"]] + [pair["path"] for pair in study["compare"]]
    assert all((dossier / path).is_dir() for path in members)
    assert (dossier / study["case"]).is_file()
    assert sorted(path.name for path in dossier.iterdir()) == [
        "case",
        "compare",
        "ct",
        "report.html",
        "study.json",
    ]


def test_what_is_simulated_and_what_was_published_stay_apart(dossier):
    origins = {
        label: json.loads((dossier / "ct" / label / "scan.json").read_text())["origin"] for label in LABELS
    }
    assert origins == dict.fromkeys(LABELS, "simulated")
    case = json.loads((dossier / "case/case.json").read_text())
    assert case["origin"] == "published"
    assert "simulated" not in {assessment["origin"] for assessment in case["assessments"]}
    response = json.loads((dossier / "compare/baseline__followup/response.json").read_text())
    assert response["origin"] == "simulated"
    page = (dossier / "report.html").read_text()
    assert "Part of this page is simulated" in page


def test_an_example_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no such example"):
        find_example("nobody")
