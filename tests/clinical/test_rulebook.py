"""Rule files: what is refused, and that every packaged row is cited with its basis."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest

from miliary.clinical import rulebook
from miliary.clinical.registry import assess_case
from miliary.clinical.rule_schema import parse_schema
from miliary.clinical.rulebook import (
    RuleBook,
    check_bands,
    find_edition,
    find_rules,
    list_editions,
    list_rules,
    load_rules,
)
from miliary.errors import RuleError
from miliary.exchange.case.case_file import read_case
from miliary.model.assessment import Basis
from miliary.model.saved.codec import from_json
from miliary.model.saved.scan_summary import ScanSummary

EXAMPLE = Path(__file__).parents[2] / "examples" / "index-case"
SCAN: dict[str, Any] = {
    "kind": "miliary.ct",
    "origin": "simulated",
    "nodules": {
        "by_side": {"right": {"count": 60}, "left": {"count": 50}},
        "diameter_mm": {"median": 2.0, "p90": 3.0},
        "total_volume_mm3": 400.0,
    },
}
HEAD = """
[edition]
system = "s"
edition = "1"
title = "t"
as_of = 2025-01-01
[citations.a]
text = "A 2020"
basis = "read"
[citations.b]
text = "B 2021"
basis = "secondary"
"""
ROW = """
[[bands]]
id = "low"
citations = ["a"]
basis = "read"
confidence = "H"
high = 3
"""
SECOND = """
[[bands]]
id = "high"
citations = ["b"]
basis = "unverified"
confidence = "L"
as_of = 2024-01-01
low = 3
"""
SCHEMA = parse_schema(
    """
[schema]
system = "s"
[bands]
keys.low = {type = "number", unit = "1", range = [0.0, 9.0]}
keys.high = {type = "number", unit = "1", range = [0.0, 9.0]}
""",
    name="s/schema.toml",
)


def parse_rules(text: str, *, name: str) -> RuleBook:
    return rulebook.parse_rules(text, name=name, schema=SCHEMA)


def test_a_row_has_its_data_and_its_sources():
    book = parse_rules(HEAD + ROW + SECOND, name="s/1.toml")
    assert book.row("low")["high"] == 3
    assert book.row("low").drives
    assert not book.row("high").drives
    credit = book.credit("low", "high")
    assert credit["citations"] == ("a", "b")
    assert credit["basis"] is Basis.UNVERIFIED
    assert credit["as_of"] == dt.date(2024, 1, 1)
    assert credit["edition"] == "s 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[edition", "not TOML"),
        (ROW, r"needs \[edition\]"),
        (HEAD + ROW + SECOND.replace('["b"]', "[]"), r"bands row 2 \(high\) cites nothing"),
        (HEAD + ROW + SECOND.replace('["b"]', '["c"]'), "cites c, which is not under"),
        (HEAD + ROW + SECOND.replace('"unverified"', '"guess"'), r"bands row 2 \(high\) needs basis"),
        (HEAD + ROW + SECOND.replace('"L"', '"X"'), "needs confidence"),
        (HEAD + ROW + SECOND.replace('"high"', '"low"'), "two rows have the id low"),
        (HEAD + ROW, "citation b is used by no row"),
        (HEAD + ROW + SECOND.replace("2024-01-01", '"2024"'), "as_of must be a date"),
        (HEAD + ROW + SECOND.replace('"high"', '"High One"'), "needs an id"),
        (HEAD.replace('text = "B 2021"', 'txt = ""') + ROW + SECOND, "citation b needs a text"),
        (HEAD + ROW + SECOND + "[other]\nz = 1\n", "unknown table 'other'; known are bands"),
        (HEAD + "[bands]\nz = 1\n", "bands must be a table of rows"),
        (HEAD + ROW + SECOND.replace("low = 3", "lwo = 3"), r"row 2 \(high\): unknown key 'lwo'.*mean low\?"),
        (HEAD.replace("title", "titel") + ROW, r"needs \[edition\]"),
        (HEAD.replace("as_of", "as_off") + ROW + SECOND, "unknown key 'as_off'; did you mean as_of"),
        (
            HEAD.replace('basis = "read"', 'basis = "read"\nurl = "x"', 1) + ROW,
            "citation a: unknown key 'url'",
        ),
    ],
)
def test_a_damaged_rule_file_is_named_with_its_row(text, message):
    with pytest.raises(RuleError, match=message) as caught:
        parse_rules(text, name="s/1.toml")
    assert str(caught.value).startswith("rules/s/1.toml")


@pytest.mark.parametrize(("low", "problem"), [("4", "a gap"), ("2", "an overlap")])
def test_bands_that_do_not_meet_are_refused(low, problem):
    book = parse_rules(HEAD + ROW + SECOND.replace("low = 3", f"low = {low}"), name="s/1.toml")
    with pytest.raises(RuleError, match=f"{problem} between low and high"):
        check_bands(book.rows("bands"), name="s/1.toml")
    good = parse_rules(HEAD + ROW + SECOND, name="s/1.toml")
    check_bands(good.rows("bands"), name="s/1.toml")


def test_unknown_rules_are_answered_with_those_known():
    with pytest.raises(RuleError, match=r"no rules 'tnm 7'.*tnm 8, tnm 9"):
        load_rules("tnm", "7")
    assert find_edition("tnm") == "9"
    with pytest.raises(RuleError, match="known are"):
        find_edition("tmn")


@pytest.mark.parametrize(("system", "edition"), list_rules())
def test_every_packaged_rule_file_is_sound(system, edition):
    book = load_rules(system, edition)
    assert book.all_rows()
    assert (book.system, book.edition) == (system, edition)
    for row in book.all_rows():
        assert row.basis in tuple(Basis)
        assert row.as_of or book.as_of


def test_one_citation_id_means_one_source():
    known: dict[str, str] = {}
    for system, edition in list_rules():
        for citation in load_rules(system, edition).citations.values():
            if citation.doi:
                assert known.setdefault(citation.id, citation.doi) == citation.doi


def test_the_newest_edition_applies_unless_another_is_asked_for():
    assert list_editions("tnm") == ("8", "9")
    assert find_rules("tnm") is load_rules("tnm", "9")
    assert find_rules("tnm", edition="8") is load_rules("tnm", "8")


def test_a_schema_may_name_another_default_than_the_newest():
    assert list_editions("ctcae")[-1] == "6.0"
    assert find_rules("ctcae").edition == "5.0"


# Of each system: what a newer edition would be called, and what is said of the worked example by its rules.
NEWER = {
    "bridge": "2",
    "care": "2026",
    "consistency": "2",
    "definition": "2027-02",
    "differential": "2027-02",
    "drivers": "2027-02",
    "labs": "2027-02",
    "literature": "2027-02",
    "recist": "1.2",
    "therapy": "2027-02",
    "tnm": "10",
}


@pytest.mark.parametrize("system", NEWER)
def test_a_newer_edition_file_is_used_without_any_change_of_code(system, tmp_path, monkeypatch):
    shutil.copytree(rulebook.RULES_FOLDER, tmp_path / "rules")
    old, new = find_edition(system), NEWER[system]
    text = (tmp_path / "rules" / system / f"{old}.toml").read_text("utf-8")
    text = text.replace(f'edition = "{old}"', f'edition = "{new}"', 1)
    (tmp_path / "rules" / system / f"{new}.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(rulebook, "RULES_FOLDER", tmp_path / "rules")

    assert find_edition(system) == new
    case = read_case(EXAMPLE)
    measured = from_json(ScanSummary, SCAN, name="scan.json").value
    scans = {study.id: measured for study in case.studies}
    stated = {found.edition for found in assess_case(case, scans=scans)}
    assert f"{system} {new}" in stated
    # Every edition of the TNM classification is applied side by side, of other rules only the newest.
    assert (f"{system} {old}" in stated) is (system == "tnm")


def test_a_file_that_is_not_the_edition_it_says_is_refused(tmp_path, monkeypatch):
    shutil.copytree(rulebook.RULES_FOLDER / "care", tmp_path / "care")
    shutil.copy(tmp_path / "care" / "2013.toml", tmp_path / "care" / "2026.toml")
    monkeypatch.setattr(rulebook, "RULES_FOLDER", tmp_path)
    with pytest.raises(RuleError, match=r"its \[edition\] says care 2013, its name care 2026"):
        find_rules("care")


def test_rules_without_a_schema_are_refused(tmp_path, monkeypatch):
    shutil.copytree(rulebook.RULES_FOLDER / "care", tmp_path / "care")
    (tmp_path / "care" / "schema.toml").unlink()
    monkeypatch.setattr(rulebook, "RULES_FOLDER", tmp_path)
    with pytest.raises(RuleError, match=r"rules/care: needs schema\.toml"):
        find_rules("care")
