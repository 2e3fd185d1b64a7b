"""A case as plain values and as YAML: nothing more and nothing less than it states."""

import datetime as dt
from dataclasses import replace

import pytest

from miliary.errors import CaseError, OutputError
from miliary.exchange.case.case_file import read_case, read_case_text
from miliary.exchange.case.encode import decode_case, encode_case, find_lost, render_case, write_case
from miliary.model.case import Case, LabResult, SeparateNodules, Staging, When
from miliary.model.vocabulary import Origin, Presence, Symptom
from validation.sound_cases import make_sound_cases


def test_the_worked_example_comes_back_from_its_yaml(root, tmp_path):
    case = read_case(root / "examples" / "index-case")
    write_case(case, tmp_path / "again")
    assert read_case(tmp_path / "again") == case


@pytest.mark.parametrize("batch", range(4))
def test_random_cases_come_back(batch):
    for case in make_sound_cases(48)[batch::4]:
        assert read_case_text(render_case(case)) == case
        assert find_lost(case, case) == ()


def test_only_what_is_stated_is_written():
    case = Case("p", symptoms={Symptom.COUGH: Presence.NOT_STATED, Symptom.FEVER: Presence.ABSENT})
    assert encode_case(case) == {"id": "p", "symptoms": {"fever": "absent"}}


def test_a_default_that_was_overruled_is_written():
    nodules = SeparateNodules("n", presence=Presence.NOT_STATED)
    case = Case("p", staging=Staging(separate_nodules=(nodules,)))
    assert encode_case(case)["staging"] == {"separate_nodules": [{"id": "n", "presence": "not_stated"}]}
    assert decode_case(encode_case(case), name="c") == case


def test_the_origin_of_an_item_is_kept_where_it_differs():
    lab = LabResult("a", "cea", value=1.0, unit="ng/mL", origin=Origin.SIMULATED)
    case = Case("p", origin=Origin.PUBLISHED, labs=(lab, replace(lab, id="b", origin=Origin.PUBLISHED)))
    plain = encode_case(case)
    assert plain["origin"] == "published"
    assert [item.get("origin") for item in plain["labs"]] == ["simulated", None]
    assert decode_case(plain, name="c") == case


@pytest.mark.parametrize(
    ("when", "plain"),
    [
        (When(date=dt.date(2021, 3, 9)), "2021-03-09"),
        (When(day=-3), "day -3"),
        (When(text="at presentation"), "at presentation"),
        (When(text="day 3"), {"text": "day 3"}),
        (When(date=dt.date(2021, 3, 9), text="admission"), {"date": "2021-03-09", "text": "admission"}),
    ],
)
def test_a_time_is_written_so_that_it_is_read_the_same(when, plain):
    case = Case("p", labs=(LabResult("a", "cea", when=when),))
    assert encode_case(case)["labs"][0]["when"] == plain
    assert decode_case(encode_case(case), name="c").labs[0].when == when


def test_what_is_lost_is_named_by_fact_or_by_the_whole_item():
    lab = LabResult("a", "cea", value=1.0, unit="ng/mL")
    case = Case("p", title="t", labs=(lab, replace(lab, id="b")))
    assert find_lost(case, replace(case, labs=(lab,))) == ("labs[b]",)
    assert find_lost(case, replace(case, labs=())) == ("labs",)
    assert find_lost(case, replace(case, labs=(lab, replace(lab, id="b", value=2.0)))) == ("labs[b].value",)
    assert find_lost(case, replace(case, title="")) == ("title",)


def test_an_error_names_the_file_and_the_place_without_a_line_that_nobody_wrote():
    with pytest.raises(CaseError, match=r"^x\.json: labs\[1\]\.unit: 'zorks' is not a unit"):
        decode_case({"id": "p", "labs": [{"analyte": "cea", "value": 1, "unit": "zorks"}]}, name="x.json")


def test_a_case_that_is_there_is_not_written_over(tmp_path):
    write_case(Case("p"), tmp_path)
    with pytest.raises(OutputError, match="is there already"):
        write_case(Case("q"), tmp_path)
