"""A study as rich as a study gets, made by hand: two scans, their comparison, a case with a course."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from miliary.cli.main import main
from miliary.exchange.folders.ct_store import write_ct_result, write_figures
from miliary.exchange.folders.study_file import read_study
from miliary.image.figures.scan_figures import render_figures
from miliary.model.figure import Figure, Mark
from miliary.model.saved.codec import from_json, to_json
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.saved.scan_summary import ScanSummary
from miliary.report import render_report

CASE = """
id: p1
title: A made-up patient
origin: recorded
patient: {age_years: 32, sex: female, region: JP, smoking: non_smoker}
symptoms: {cough: present}
studies:
  - {id: ct1, modality: ct, body_parts: [chest], when: 2024-02-20, findings: {cavity: present}}
  - {id: ct2, modality: ct, body_parts: [chest], when: 2024-06-01, compared_with: ct1, change: decreased}
  - {id: film, modality: xray, body_parts: [chest]}
lesions:
  - id: cavity
    organ: lung
    kind: mass
    lobe: LUL
    role: target
    measurements: [{study: ct1, longest_mm: 19, state: present}, {study: ct2, longest_mm: 11, state: present}]
staging:
  primary: present
  side: left
  lobe: LUL
  size_mm: 19
  separate_nodules: [{id: n1, side: right, is_diffuse: present, are_metastases: present}]
  asserted: [{id: s1, tnm: cT4aN2M1c, group: Stage IV}]
molecular:
  - {id: panel, assay: A panel, when: 2024-02-25, genes: [{gene: ALK, result: positive, alteration: fusion}]}
treatments:
  - {id: drug, name: alectinib, dose: 300, unit: mg, times_per_day: 2, start: 2024-03-01, region: JP}
labs:
  - {id: a, analyte: cea, value: 7, unit: ng/mL, low: 0, high: 5, when: 2024-02-21}
  - {id: b, analyte: cea, value: 3, unit: ng/mL, low: 0, high: 5, when: 2024-05-21}
  - {id: c, analyte: alt, value: 90, unit: U/L, when: 2024-04-01}
adverse_events:
  - {id: rash, term: Rash maculo-papular, grade: 2, ctcae_edition: "5.0", when: 2024-03-08, end: 2024-03-20}
responses: [{id: r, text: decreased considerably, of: lung, when: 2024-06-01}]
claims: [{id: k, kind: miliary}]
report: {items: {title: absent, timeline: absent, key_words: present}}
"""


def measure_pattern(name, meaning, ratio, ci95):
    """One measure of the pattern as ``scan.json`` holds it."""
    known = {"name": name, "meaning": meaning, "ratio": ratio, "ratio_ci95": ci95}
    return known | {"unit": "", "value": ratio, "expected": 1.0, "p_value": 0.5}


def judge_definition(name, title, verdict, **more):
    """One verdict on a definition as ``scan.json`` holds it."""
    return {"id": name, "title": title, "verdict": verdict, "statement": f"{title}: {verdict}.", **more}


def complete(cls, content):
    """What a file of this version holds that says as much as a shorter one."""
    return to_json(from_json(cls, content, name="made by hand").value)


MORE_OF_SCAN = {
    "corrected": {
        "count": 4812.3,
        "count_ci95": [4500.0, 5100.0],
        "min_diameter_mm": 1.0,
        "total_volume_mm3": 23456.0,
        "total_volume_mm3_ci95": [22000.0, 25000.0],
    },
    "completeness": {
        "diameter_50_mm": 1.11,
        "diameter_90_mm": 1.62,
        "curve": {
            "diameter_mm": [0.5, 1.0, 1.5, 2.0],
            "probability": [0.02, 0.4, 0.85, 0.98],
            "ci95_low": [0.0, 0.35, 0.8, 0.95],
            "ci95_high": [0.05, 0.45, 0.9, 1.0],
            "size_bias": [0.0, 0.0, 0.0, 0.0],
            "size_scatter": [0.1, 0.1, 0.1, 0.1],
        },
    },
    "pattern": {
        "label": "random",
        "reason": "made up",
        "probabilities": {"random": 0.93, "perilymphatic": 0.04, "centrilobular": 0.02, "none": 0.01},
        "evidence": [
            measure_pattern("pleura", "touch the pleura", 1.1, [0.9, 1.3]),
            measure_pattern("pairs", "pairs close by", 0.8, [0.7, 1.0]),
        ],
        "gradients": [measure_pattern("height", "upper over lower", 1.4, [1.2, 1.6])],
    },
    "definitions": [
        judge_definition("fleischner_2008", "Fleischner glossary 2008", "met"),
        judge_definition("jin_2008", "Jin 2008", "not_assessable", reason="extent not told"),
    ],
    "extent": {"lung_fraction_involved": 0.71},
    "lesions": [
        {
            "id": 1,
            "long_axis_mm": 19.2,
            "short_axis_mm": 15.1,
            "volume_mm3": 2345.0,
            "is_cavitary": True,
            "wall_thickness_mm": 3.1,
            "side": "left",
            "zone": "upper",
            "lobe": "LUL",
        }
    ],
}

RESPONSE = {
    "schema_version": "1.0",
    "kind": "miliary.compare",
    "origin": "measured",
    "days_between": 102,
    "comparability": {
        "verdict": "comparable",
        "reasons": ["same protocol and lung volume"],
        "lung_volume_ratio": 0.97,
        "edition": "comparability 1",
    },
    "response": {
        "volume_ratio": 0.123,
        "volume_ratio_ci95": [0.11, 0.14],
        "count_ratio": 0.2,
        "count_ratio_ci95": [0.18, 0.22],
        "category": "decreased",
        "category_reason": "the whole interval lies below 0.343",
        "category_kind": "exploratory: by volume, not RECIST",
        "min_diameter_mm": 1.1,
        "by_zone": [
            {"side": "right", "zone": "upper", "volume_ratio": 0.1, "volume_ratio_ci95": [0.08, 0.13]},
            {
                "side": "left",
                "zone": "lower",
                "volume_ratio": None,
                "volume_ratio_reason": "left out",
                "excluded_because": "new consolidation",
            },
        ],
    },
    "lesion": {"baseline_mm": 19.2, "followup_mm": 11.4},
    "tracks": {"kept": 3, "gone": 40},
    "new_opacities": [
        {"kind": "consolidation", "side": "left", "zone": "lower", "volume_ml": 12.0}
        | {"rise_hu": 400.0, "center_lps_mm": [40.0, 20.0, 60.0], "message": "new consolidation"}
    ],
}


def add_to(path, **more):
    """Put members into a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def _slab(name, scan):
    pixels = np.tile(np.arange(96, dtype=np.uint8), (80, 1))
    facts = {"plane": "axial", "level": 1, "thickness_mm": 5.0, "scan": scan, "window_hu": [-1350, 150]}
    return Figure(name, "compared_slab", "slab", pixels, 1.0, (Mark(3, 40.0, 30.0, 4.0, "gone"),), facts)


def _closeup():
    facts = {"lesion_id": 1, "window_hu": [-1350, 150]}
    return Figure("lesion_1", "lesion", "lesion 1", np.full((70, 70), 90, dtype=np.uint8), 0.5, (), facts)


@pytest.fixture(scope="session")
def case_folder(tmp_path_factory):
    """What `miliary case run` makes of the case."""
    home = tmp_path_factory.mktemp("case")
    (home / "case.yaml").write_text(CASE)
    assert main(["case", "run", str(home), "--out", str(home / "out"), "--quiet"]) == 0
    return home / "out"


@pytest.fixture
def study(make_result, small_scan, small_labels, case_folder, tmp_path):
    """The folder of the whole study."""
    folder = tmp_path / "study"
    pictures = (*render_figures(small_scan, small_labels, make_result().nodules), _closeup())
    for label in ("baseline", "followup"):
        result = replace(make_result(), figures=pictures)
        write_ct_result(result, folder / "ct" / label)
        scan = folder / "ct" / label / "scan.json"
        add_to(scan, **MORE_OF_SCAN)
        scan.write_text(json.dumps(complete(ScanSummary, json.loads(scan.read_text()))))
    pair = folder / "compare" / "baseline__followup"
    pair.mkdir(parents=True)
    (pair / "response.json").write_text(json.dumps(complete(ComparisonSummary, RESPONSE)))
    write_figures(
        [_slab("baseline_axial", "baseline"), _slab("followup_axial", "followup")], pair / "figures"
    )
    (folder / "case").mkdir()
    (folder / "case" / "case.json").write_bytes((case_folder / "case.json").read_bytes())
    (folder / "radiographs").mkdir()
    film = folder / "ct" / "baseline" / "figures" / "frontal.png"
    (folder / "radiographs" / "film.png").write_bytes(film.read_bytes())
    return folder


@pytest.fixture
def draw(study):
    """The page of the study as it stands now."""

    def make(language="en", **changed):
        read = read_study(study)
        return render_report(
            replace(read, **changed) if isinstance(changed, Mapping) else read, language=language
        )

    return make
