"""A case changed in place: only the lines of what changed, comments and unknown fields where they were."""

import pytest

from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case_text, write_case_template
from miliary.exchange.case.edit_case import (
    edit_case_text,
    read_plain_case,
    save_case_text,
    stamp_text,
)

TEXT = """# a head
schema_version: "1.0"
id: case-1   # a pseudonym
patient:
  age_years: 61     # as admitted
  sex: female
symptoms: {cough: present, fever: absent}   # asked twice
studies:
  # the first
  - id: ct-0
    modality: ct
    when: 2021-03-09
  - id: ct-1
    modality: ct
treatments: []
#  - name: an example
"""


def place(items):
    return [
        item | {"_at": str(number)} if isinstance(item, dict) else item for number, item in enumerate(items)
    ]


def load(text):
    content = read_plain_case(text)
    return {key: place(value) if isinstance(value, list) else value for key, value in content.items()}


def change(**sections):
    return edit_case_text(TEXT, {**load(TEXT), **sections})


def difference(new):
    before, after = TEXT.split("\n"), new.split("\n")
    return [line for line in before if line not in after], [line for line in after if line not in before]


def test_nothing_changed_changes_nothing():
    assert edit_case_text(TEXT, load(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("sections", "gone", "come"),
    [
        (
            {"patient": {"age_years": "62", "sex": "female"}},
            ["  age_years: 61     # as admitted"],
            ["  age_years: 62     # as admitted"],
        ),
        ({"patient": {"age_years": "61"}}, ["  sex: female"], ["  sex: "]),
        ({"patient": {"age_years": "61", "sex": "female", "ecog": "1"}}, [], ["  ecog: 1"]),
        ({"day_zero": "start of treatment"}, [], ["day_zero: start of treatment"]),
        (
            {"symptoms": {"cough": "present", "fever": "present"}},
            ["symptoms: {cough: present, fever: absent}   # asked twice"],
            ["symptoms: {cough: present, fever: present}   # asked twice"],
        ),
        (
            {"treatments": [{"name": "alectinib", "dose": "600"}]},
            ["treatments: []"],
            ["treatments: ", "  - name: alectinib", "    dose: 600"],
        ),
    ],
)
def test_a_change_touches_its_own_lines(sections, gone, come):
    assert difference(change(**sections)) == (gone, come)


def test_items_of_a_list_are_changed_added_and_removed():
    studies = load(TEXT)["studies"]
    studies[1]["when"] = "day 90"
    new = change(studies=[*studies, {"id": "ct-2", "modality": "pet_ct"}])
    assert [study.id for study in read_case_text(new).studies] == ["ct-0", "ct-1", "ct-2"]
    assert "  # the first" in new
    shorter = change(studies=studies[:1])
    assert [study.id for study in read_case_text(shorter).studies] == ["ct-0"]
    assert "  # the first" in shorter


def test_a_field_that_nobody_knows_stays():
    text = TEXT.replace("  sex: female\n", "  sex: female\n  shoe_size: 38\n")
    content = load(text)
    content["patient"]["age_years"] = "70"
    assert "  shoe_size: 38\n" in edit_case_text(text, content)


@pytest.mark.parametrize(
    "value", ["yes: no", "a # b", "- x", "「肺」: 腺癌, 疑い", "5 %", 'say "x"', "{a}", "2021-03-09"]
)
def test_any_text_comes_back_as_it_was_put(value):
    new = change(patient={"age_years": "61", "sex": "female", "region": value})
    assert read_plain_case(new)["patient"]["region"] == value


def test_a_comment_that_would_be_lost_is_a_reason_to_refuse():
    text = TEXT.replace("    modality: ct\n    when: 2021-03-09\n", "    modality: ct  # low dose\n")
    content = load(text)
    content["studies"] = content["studies"][1:]
    with pytest.raises(CaseError, match="line 10: holds a comment that would be lost"):
        edit_case_text(text, content)


def test_the_commented_template_can_be_filled_in(tmp_path):
    text = write_case_template(tmp_path)[0].read_text("utf-8")
    content = load(text)
    content["patient"] = {**content["patient"], "age_years": "61", "sex": "female"}
    content["symptoms"] = {"cough": "present"}
    content["studies"] = [{"id": "ct-0", "modality": "ct"}]
    content["staging"] = {"size_mm": "25", "metastases": [{"site": "brain"}]}
    new = edit_case_text(text, content)
    case = read_case_text(new)
    assert (case.patient.age_years, case.studies[0].id, case.staging.size_mm) == (61, "ct-0", 25)
    comments = [line.partition("#")[2] for line in text.split("\n") if "#" in line]
    assert comments == [line.partition("#")[2] for line in new.split("\n") if "#" in line]


def test_a_new_case_is_made_from_nothing():
    assert read_case_text(edit_case_text("", {"id": "a", "schema_version": "1.0"})).id == "a"


def test_it_is_saved_whole_or_not_at_all(tmp_path):
    file = save_case_text(tmp_path / "case", TEXT, stamp="")
    assert file.read_text("utf-8") == TEXT
    with pytest.raises(CaseError, match="changed by somebody else"):
        save_case_text(tmp_path / "case", TEXT, stamp="")
    with pytest.raises(CaseError, match="age_years"):
        save_case_text(tmp_path / "case", "id: x\npatient: {age_years: old}\n", stamp=stamp_text(TEXT))
    assert file.read_text("utf-8") == TEXT
    assert [entry.name for entry in file.parent.iterdir()] == ["case.yaml"]
