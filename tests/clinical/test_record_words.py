"""Records in a clinician's words: nothing known is ignored, nothing absent stated, every slip asked back."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from miliary.clinical.record.controlled_words import list_unknown
from miliary.clinical.registry import assess_case
from miliary.model.assessment import Severity
from tests.clinical.cases import make_case
from validation.record_words import check_record, make_record

N_RECORDS = 50


def test_no_fact_is_ignored_and_none_is_made_up():
    total: Counter[str] = Counter()
    wrong = []
    for seed in range(1_000_000, 1_000_000 + N_RECORDS):
        counts, problems = check_record(make_record(seed))
        total += counts
        wrong += [f"{seed}: {problem}" for problem in problems]
    assert wrong == []
    assert total["facts"] > 5 * N_RECORDS
    assert total["slips"] > 3


def test_a_record_that_states_otherwise_is_noticed():
    record = make_record(1_000_000)
    record.expected = [("diagnosis", ("melanoma", "confirmed")), ("contradiction", "tnm.side_and_lobe")]
    record.content["specimens"] = [{"id": "s", "site": "lung", "histology": "no melanoma"}]
    _, problems = check_record(record)
    assert sum(problem.startswith("ignored") for problem in problems) == 2


@pytest.mark.parametrize(
    ("facts", "name", "nearest"),
    [
        ({"treatments": [{"name": "alectnib"}]}, "drug", "alectinib"),
        ({"treatments": [{"name": "carboplatine + pemetrexed"}]}, "drug", "carboplatin"),
        ({"specimens": [{"procedure": "bronchoscpy"}]}, "procedure", "bronchoscopy"),
        ({"specimens": [{"site": "splein"}]}, "site", "spleen"),
        ({"microbiology": [{"test": "igra", "material": "sputm"}]}, "material", "sputum"),
        ({"lesions": [{"organ": "livr"}]}, "organ", "liver"),
        ({"lesions": [{"kind": "masss"}]}, "lesion kind", "mass"),
        ({"labs": [{"analyte": "zonulin"}]}, "analyte", None),
        (
            {"molecular": [{"genes": [{"gene": "EGFR", "result": "positive", "alteration": "L8585R"}]}]},
            "alteration",
            "L858R",
        ),
    ],
)
def test_an_unknown_word_is_asked_back_with_the_nearest_of_the_whole_list(facts, name, nearest):
    case = make_case(facts)
    (words,) = list_unknown(case).values()
    assert list(list_unknown(case)) == [name]
    assert nearest is None or nearest in words[0].nearest
    rule = f"words.unknown_{name.replace(' ', '_')}"
    assert [a.severity for a in assess_case(case) if a.rule_id == rule] == [Severity.QUERY]


@pytest.mark.parametrize(
    "facts",
    [
        {
            "treatments": [
                {"name": "Carboplatin + Pemetrexed"},
                {"name": "アレセンサ"},
                {"name": "lobectomy", "kind": "surgery"},
            ]
        },
        {"specimens": [{"procedure": "CT-guided core needle biopsy", "site": "left adrenal gland"}]},
        {"specimens": [{"procedure": "EBUS-TBNA", "site": "mediastinal nodes"}]},
        {"lesions": [{"organ": "any", "kind": "none"}]},
        {"molecular": [{"genes": [{"gene": "EGFR", "result": "positive", "alteration": "p.S768_D770dup"}]}]},
    ],
)
def test_a_known_word_is_not_asked_back(facts):
    assert list_unknown(make_case(facts)) == {}


def test_the_truth_of_a_record_is_readable():
    record = make_record(3)
    assert json.loads(json.dumps(record.content))["id"] == "r3"
