"""`case.json` against its published schema, and no date of a patient in it."""

import datetime as dt
import json
import re
from importlib import resources

import jsonschema
import pytest

from miliary.clinical.registry import assess_case, count_outcomes, resolve_citations
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.case_folder import summarize_case
from miliary.exchange.case.days import count_days
from miliary.exchange.case.encode import encode_case
from miliary.exchange.folders.kinds import read_schema
from miliary.model.case import Case, LabResult, Study, Treatment, When
from miliary.model.saved.case_summary import CitationSummary
from miliary.model.saved.codec import to_json
from validation.sound_cases import make_sound_cases


def run(case):
    found = count_days(case, assess_case(case))
    sources = {n: CitationSummary(c.text, c.basis, c.doi) for n, c in resolve_citations(found).items()}
    provenance = {"program": "miliary", "version": "0"}
    summary = to_json(
        summarize_case(case, found, sources, counts=count_outcomes(found), provenance=provenance)
    )
    return json.loads(json.dumps(summary, allow_nan=False))


@pytest.fixture(scope="module")
def validator():
    schema = read_schema("case_result")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_worked_example_is_as_the_schema_says(root, validator):
    validator.validate(run(read_case(root / "examples" / "index-case")))


def test_random_cases_are_as_the_schema_says_and_hold_no_date_of_theirs(validator):
    for case in make_sound_cases(16):
        summary = run(case)
        validator.validate(summary)
        dates = set(re.findall(r"\d{4}-\d{2}-\d{2}", json.dumps(encode_case(case))))
        told = json.dumps({part: summary[part] for part in ("assessments", "record")})
        known = {a["as_of"] for a in summary["assessments"] if "as_of" in a}
        assert not {date for date in dates - known if date in told}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"statement": ""}, "statement"),
        ({"verdict": "not_assessable", "reason": None}, "reason"),
        ({"surprise": 1}, ""),
        ({"origin": "guessed"}, "origin"),
    ],
)
def test_the_schema_refuses_what_is_not_so(root, validator, change, path):
    summary = run(read_case(root / "examples" / "index-case"))
    first = summary["assessments"][0] | change
    summary["assessments"][0] = {name: value for name, value in first.items() if value is not None}
    with pytest.raises(jsonschema.ValidationError) as caught:
        validator.validate(summary)
    assert path in str(list(caught.value.absolute_path)) + caught.value.message


def test_dates_are_told_as_days_from_the_first_drug():
    start = dt.date(2021, 3, 9)
    case = Case(
        "p",
        studies=(Study("ct", when=When(date=dt.date(2021, 3, 1))),),
        treatments=(
            Treatment("d", "alectinib", start=When(date=start), stop=When(date=dt.date(2021, 2, 1))),
        ),
        labs=(LabResult("a", "cea", when=When(date=dt.date(2021, 4, 9))),),
    )
    found = count_days(case, assess_case(case))
    texts = [str(value) for a in found for value in (a.statement, *(i.value for i in a.inputs))]
    assert not any("2021-0" in text for text in texts)
    assert any("day -36" in text for text in texts)


def test_a_case_without_dates_is_left_as_it_is(root):
    case = read_case(root / "examples" / "index-case")
    found = assess_case(case)
    assert count_days(case, found) == found


def test_the_schema_is_part_of_the_package():
    assert resources.files("miliary.exchange").joinpath("schemas/case_result.schema.json").is_file()
