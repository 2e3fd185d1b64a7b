"""Rule files: what is refused, and that every packaged row is cited with its basis."""

import datetime as dt

import pytest

from miliary.clinical.rulebook import check_bands, find_edition, list_rules, load_rules, parse_rules
from miliary.errors import RuleError
from miliary.model.assessment import Basis

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
        (HEAD + ROW + SECOND + "x = {y = 1}\n[other]\nz = 1\n", "other must be a table of rows"),
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


def test_tnm_sizes_leave_no_gap():
    for edition in ("8", "9"):
        check_bands(load_rules("tnm", edition).rows("sizes"), name=f"tnm/{edition}.toml")
