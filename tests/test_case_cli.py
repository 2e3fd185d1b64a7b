"""`miliary case` and `miliary rules` on the command line."""

import json

import pytest

from miliary.cli.main import main

CASE = """
id: p1
origin: published
staging:
  lobe: LUL
  size_mm: 19
  asserted: [{tnm: cT4aN2M1c, group: Stage IV}]
"""


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "patient"
    here.mkdir()
    (here / "case.yaml").write_text(CASE)
    return here


def test_a_new_case_is_well_formed_and_runs(capsys, tmp_path):
    assert run(capsys, "case", "new", tmp_path / "new")[0] == 0
    code, out, _ = run(capsys, "case", "check", tmp_path / "new")
    assert code == 0
    assert "well-formed" in out
    assert run(capsys, "case", "run", tmp_path / "new", "--out", tmp_path / "out", "--quiet")[:2] == (0, "")
    assert json.loads((tmp_path / "out" / "case.json").read_text())["kind"] == "miliary.case"


def test_run_writes_both_files_the_gravest_first(capsys, folder, tmp_path):
    code, out, _ = run(capsys, "case", "run", folder, "--out", tmp_path / "out")
    assert code == 0
    summary = json.loads((tmp_path / "out" / "case.json").read_text())
    order = ["error", "query", "note", "info"]
    ranks = [order.index(a["severity"]) for a in summary["assessments"]]
    assert ranks == sorted(ranks)
    assert summary["assessments"][0]["facts_item"] == "j1"
    assert summary["origin"] == "published"
    named = {name for a in summary["assessments"] for name in a.get("citations", [])}
    assert named == set(summary["citations"])
    text = (tmp_path / "out" / "summary.md").read_text()
    assert text.index("## Errors") < text.index("## Queries")
    assert text in out
    assert str(tmp_path) not in (tmp_path / "out" / "case.json").read_text()


def test_run_as_json_prints_what_it_writes(capsys, folder, tmp_path):
    _, out, _ = run(capsys, "case", "run", folder, "--out", tmp_path / "out", "--json")
    assert json.loads(out) == json.loads((tmp_path / "out" / "case.json").read_text())


def test_a_folder_of_something_else_is_not_overwritten(capsys, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case.json").write_text("{}")
    code, _, err = run(capsys, "case", "run", folder, "--out", tmp_path / "out")
    assert code == 2
    assert "is not an earlier result" in err


def test_check_lists_every_mistake(capsys, folder):
    (folder / "case.yaml").write_text("id: x\npatient: {sex: femal}\nlab: []\n")
    code, out, _ = run(capsys, "case", "check", folder)
    assert code == 2
    assert len(out.splitlines()) == 2


def test_run_refuses_a_case_with_a_mistake_in_one_line(capsys, folder, tmp_path):
    (folder / "case.yaml").write_text("id: x\npatient: {sex: femal}\nlab: []\n")
    code, _, err = run(capsys, "case", "run", folder, "--out", tmp_path / "out")
    assert code == 2
    assert err.count("\n") == 1
    assert "case.yaml line 2: patient.sex" in err
    assert not (tmp_path / "out").exists()


def test_rules_are_listed_and_shown_with_their_source(capsys):
    assert "tnm 9" in run(capsys, "rules", "list")[1]
    code, out, _ = run(capsys, "rules", "show", "tnm", "9", "--term", "group_t1a_n1")
    assert code == 0
    assert "stage: IIA" in out
    assert "J Thorac Oncol 2024" in out
    assert "basis secondary" in out


def test_rules_past_their_recheck_date_are_listed_and_named_in_a_result(capsys, folder, tmp_path):
    assert "No row is due on 2026-09-18." in run(capsys, "rules", "check", "--on", "2026-09-18")[1]
    assert "zidesamtinib: due 2026-09-18" in run(capsys, "rules", "check", "--on", "2026-09-19")[1]
    for day, is_named in (("2026-09-18", False), ("2026-09-19", True)):
        run(capsys, "case", "run", folder, "--out", tmp_path / day, "--on", day)
        assert ("rules.recheck" in (tmp_path / day / "case.json").read_text("utf-8")) is is_named


@pytest.mark.parametrize("arguments", [("tnm", "7"), ("tmn",), ("tnm", "9", "--term", "xyzzy")])
def test_rules_that_are_not_there_are_one_line(capsys, arguments):
    code, _, err = run(capsys, "rules", "show", *arguments)
    assert code == 2
    assert err.count("\n") == 1


COURSE = """
id: p2
treatments: [{id: t, name: alectinib, start: day 0}]
studies:
  - {id: a, modality: ct, when: day -7, slice_thickness_mm: 1}
  - {id: b, modality: ct, when: day 56, slice_thickness_mm: 1}
  - {id: c, modality: ct, when: day 112, slice_thickness_mm: 1}
lesions:
  - id: mass
    organ: lung
    kind: mass
    role: target
    measurements:
      - {study: a, longest_mm: 100, cavity_mm: 10}
      - {study: b, longest_mm: 69, cavity_mm: 10}
      - {study: c, longest_mm: 79, cavity_mm: 10}
  - {id: new, role: new, measurements: [{study: b, state: absent}, {study: c, state: absent}]}
"""


@pytest.mark.parametrize(
    ("options", "rule", "expected"),
    [
        ((), "recist.time_point", ["PR", "PR"]),
        (("--strict-response",), "recist.time_point", ["PR", "SD"]),
        (("--confirm-response",), "recist.best_response", ["SD"]),
        (("--irecist",), "irecist.time_point", ["iPR", "iPR"]),
        (("--cavities-off",), "recist.cavity_reading", ["PR", "PR"]),
        ((), "irecist.time_point", []),
    ],
)
def test_what_a_protocol_may_choose_can_be_chosen(capsys, folder, tmp_path, options, rule, expected):
    (folder / "case.yaml").write_text(COURSE)
    _, out, _ = run(capsys, "case", "run", folder, "--out", tmp_path / "out", "--json", *options)
    found = [a.get("value") for a in json.loads(out)["assessments"] if a["rule_id"] == rule]
    assert found == expected
