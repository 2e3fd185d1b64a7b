"""The worked example of published facts: what general rules raise on it, and what they do not."""

import pytest

from miliary.clinical.registry import assess_case
from miliary.exchange.case.case_file import read_case
from miliary.model.assessment import Verdict
from miliary.model.vocabulary import Origin

# Ids of the list of what a careful reader finds; the others concern prose and bibliography.
RAISED = {*range(1, 8), 9, 10, *range(14, 23), 25, 26, 27, *range(34, 42), 44, 45}
OUT_OF_SCOPE = {8, 11, 12, 13, 23, 24, *range(28, 34), 42, 43, 46}


@pytest.fixture(scope="module")
def found(root):
    return assess_case(read_case(root / "examples" / "index-case"))


def test_the_rules_raise_what_a_careful_reader_finds(found):
    raised = {int(a.facts_item[1:]) for a in found if a.facts_item and a.is_raised}
    assert raised == RAISED
    assert not raised & OUT_OF_SCOPE


def test_its_facts_are_published_and_nothing_is_simulated(found):
    assert {a.origin for a in found} == {Origin.PUBLISHED}


def test_what_it_does_not_state_cannot_be_told(found):
    by_rule = {a.rule_id: a for a in found}
    assert by_rule["definition.fleischner_2008"].verdict is Verdict.NOT_ASSESSABLE
    assert by_rule["tnm.group"].value == "IVB"


def test_no_rule_knows_this_patient(root):
    folder = root / "src" / "miliary" / "clinical"
    for file in folder.rglob("*.py"):
        text = file.read_text("utf-8").lower()
        assert "index-case" not in text
