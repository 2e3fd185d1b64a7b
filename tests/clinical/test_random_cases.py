"""Every rule over random cases with random gaps; `validation.case_generator` runs more of them."""

import pytest

from miliary.clinical.registry import RULES, assess_case, count_outcomes, resolve_citations
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import Case
from validation.case_generator import find_invented, make_case

BATCHES = 10


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_cases_break_no_rule_and_nothing_is_invented(batch):
    for seed in range(batch, 300, BATCHES):
        case = make_case(seed)
        found = assess_case(case)
        assert list(find_invented(case, found)) == [], f"seed {seed}"
        assert resolve_citations(found).keys() >= {name for a in found for name in a.citations}
        assert all(a.reason for a in found if a.verdict is Verdict.NOT_ASSESSABLE)


def test_the_same_seed_gives_the_same_case():
    assert make_case(7) == make_case(7)
    assert make_case(7) != make_case(8)


def test_an_empty_case_raises_nothing_but_questions_it_can_give_a_reason_for():
    found = assess_case(Case("empty"))
    assert [a.rule_id for a in found if a.verdict is Verdict.MET and a.is_raised] == []
    assert not any(a.severity is Severity.ERROR for a in found)
    counts = count_outcomes(found)
    assert counts["error"] == 0
    assert counts["not_assessable"] > 0


def test_every_rule_module_is_run():
    assert len(set(RULES)) == len(RULES)
    assert set(RULES) >= {
        "tnm.staging",
        "miliary.definition",
        "record.differential",
        "genes.drivers",
        "drugs.therapy",
        "record.consistency",
        "record.care",
    }
