"""What case.json repeats of the record: days in place of dates, nothing invented."""

import json

import pytest

from miliary.cli.main import main

CASE = """
id: p1
treatments:
  - {id: drug, name: alectinib, dose: 300, unit: mg, times_per_day: 2, start: 2024-03-01, stop: 2024-03-31}
studies:
  - {id: ct1, modality: ct, body_parts: [chest], when: 2024-02-20}
  - {id: ct2, modality: ct, when: three months later}
labs:
  - {id: a, analyte: cea, value: 7, unit: ng/mL, low: 0, high: 5, when: 2024-03-11}
  - {id: b, analyte: cea, change: decreased}
adverse_events:
  - {id: rash, term: rash, grade: 2, when: 2024-03-08, end: 2024-03-20}
"""


@pytest.fixture
def record(tmp_path, capsys):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "case.yaml").write_text(CASE)
    assert main(["case", "run", str(tmp_path / "p"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    return json.loads((tmp_path / "out" / "case.json").read_text())["record"]


def test_days_are_counted_from_the_first_drug(record):
    days = {event["id"]: (event["day"], event.get("end_day")) for event in record["events"]}
    assert days == {"ct1": (-10, None), "ct2": (None, None), "drug": (0, 30), "rash": (7, 19)}
    assert record["day_zero"] == "start of alectinib"
    assert "2024" not in json.dumps(record)


def test_events_stand_in_order_of_time_the_undated_last(record):
    assert [event["id"] for event in record["events"]] == ["ct1", "drug", "rash", "ct2"]


def test_a_laboratory_value_has_its_band_and_a_change_without_value_has_none(record):
    first, second = record["labs"]
    assert (first["value"], first["low"], first["high"], first["range"]) == (
        7,
        0,
        5,
        "the laboratory's range",
    )
    assert first["day"] == 10
    assert (second["value"], second["change"], second["range"]) == (None, "decreased", "")


def test_a_scan_that_the_case_points_to_is_kept_in_the_study(tmp_path, make_result):
    from miliary.exchange.folders.ct_store import write_ct_result

    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "case.yaml").write_text(
        "id: p1\nstudies:\n  - {id: ct1, modality: ct, result: ../scan}\n"
    )
    write_ct_result(make_result(), tmp_path / "scan")
    for _ in range(2):
        assert main(["case", "run", str(tmp_path / "p"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    assert study["ct"] == [{"label": "ct1", "path": "ct/ct1"}]
    assert (tmp_path / "out/ct/ct1/scan.json").read_bytes() == (tmp_path / "scan/scan.json").read_bytes()


def test_radiographs_beside_the_case_are_kept_in_the_study(tmp_path):
    from PIL import Image

    (tmp_path / "p" / "radiographs").mkdir(parents=True)
    (tmp_path / "p" / "case.yaml").write_text("id: p1\n")
    Image.new("L", (40, 50)).save(tmp_path / "p" / "radiographs" / "film.png")
    (tmp_path / "p" / "radiographs" / "notes.txt").write_text("not a picture")
    for _ in range(2):
        assert main(["case", "run", str(tmp_path / "p"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    # A file's name may be a patient's.
    assert [p.name for p in (tmp_path / "out" / "radiographs").iterdir()] == ["radiograph_01.png"]
