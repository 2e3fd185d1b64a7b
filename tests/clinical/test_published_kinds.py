"""Cases of the kinds once misread, in words of reports and labels, with their right answers."""

import re

import pytest

from miliary.clinical.registry import assess_case
from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case_text
from tests.clinical.cases import read_rows

CASES = read_rows("kinds/published.toml", "case")


def find(found, wanted):
    """Statements of a rule that hold some words: ``rule: words``, of any rule of that beginning."""
    rule, _, words = wanted.partition(":")
    texts = [f"{item.statement} {item.reason}" for item in found if item.rule_id.startswith(rule)]
    return [text for text in texts if words.strip() in text]


@pytest.mark.parametrize("row", CASES, ids=lambda row: row["id"])
def test_a_case_says_what_its_source_says(row):
    text = f"id: x\n{row['facts']}"
    if "refused" in row:
        with pytest.raises(CaseError, match=re.escape(row["refused"])):
            read_case_text(text)
        return
    found = assess_case(read_case_text(text))
    for wanted in row.get("says", ()):
        assert find(found, wanted), wanted
    for unwanted in row.get("never", ()):
        assert not find(found, unwanted), unwanted
    if "first" in row:
        (first,) = [item.rule_id for item in found if "place 1 (" in item.statement]
        assert first == f"differential.{row['first']}"


def test_the_cases_are_of_every_kind():
    assert {row["kind"] for row in CASES} == set(range(1, 12))
    assert len({row["id"] for row in CASES}) == len(CASES)
