"""Reading `case.yaml` and `labs.csv`: what is kept, and how mistakes are told."""

import datetime as dt
import json
import random

import jsonschema
import pytest
import yaml

from miliary.errors import CaseError, OutputError
from miliary.exchange.case.case_file import (
    LAB_COLUMNS,
    inspect_case,
    read_case,
    read_case_schema,
    read_case_text,
    write_case_template,
)
from miliary.exchange.case.case_schema import build_case_schema
from miliary.model.case import When, days_between
from miliary.model.vocabulary import Finding, History, Origin, Presence, Smoking

FULL = """\
schema_version: "1.0"
id: p1
origin: published
patient: {age_years: 32, sex: Female, region: NO, smoking: non-smoker, ecog: 0}
history: {hiv: no, corticosteroids: yes, anti_tnf: unknown}
studies:
  - id: ct-0
    modality: CT
    when: 2021-03-09
    findings: {tree in bud: absent, cavity: present}
    nodules: {max_diameter_mm: 2.5, is_bilateral: yes}
  - {id: ct-1, modality: ct, when: day 90, compared_with: ct-0}
specimens: [{id: tblb, site: lung}]
immunostains: [{id: alk, target: ALK, clone: D5F3, specimen: tblb, result: positive}]
molecular:
  - {id: panel, analytes: [dna, rna], genes: [{gene: her2, result: negative}], claims_no_other_driver: yes}
labs:
  - {id: amy, analyte: amylase_total, value: 584, unit: IU/L, when: day 0, origin: measured}
  - {analyte: qtc, value: 440, unit: msec}
treatments: [{id: t, name: alectinib, dose: 300, unit: mg, start: three months before}]
"""


def test_a_case_is_read_as_written():
    case = read_case_text(FULL)
    assert case.patient.smoking is Smoking.NON_SMOKER
    assert case.patient.region == "NO"  # Norway, not a refusal
    assert case.past(History.HIV) is Presence.ABSENT
    assert case.past(History.CORTICOSTEROIDS) is Presence.PRESENT
    assert case.past(History.ANTI_TNF) is case.past(History.PREGNANCY) is Presence.NOT_STATED
    assert case.studies[0].when == When(date=dt.date(2021, 3, 9))
    assert case.studies[0].finding(Finding.TREE_IN_BUD) is Presence.ABSENT
    assert case.studies[1].when == When(day=90)
    assert case.treatments[0].start == When(text="three months before")
    assert case.molecular[0].genes[0].gene == "ERBB2"
    assert case.labs[1].unit == "ms"


def test_what_is_left_out_is_not_stated():
    case = read_case_text("id: x\nstudies: [{id: a, findings: {}}]\nlabs:\n")
    assert all(case.studies[0].finding(name) is Presence.NOT_STATED for name in Finding)
    assert case.patient.age_years is None
    assert case.labs == ()


def test_origin_is_inherited_unless_given():
    case = read_case_text(FULL)
    assert case.studies[0].origin is case.specimens[0].origin is Origin.PUBLISHED
    assert case.labs[0].origin is Origin.MEASURED


def test_items_without_an_id_are_named_by_place():
    assert read_case_text(FULL).labs[1].id == "labs-2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id: x\npatient:\n  aeg_years: 3",
            "line 3: patient.aeg_years: no such field; did you mean 'age",
        ),
        (
            "id: x\npatient:\n  sex: femal",
            "line 3: patient.sex: 'femal' is not known here; did you mean 'female'?",
        ),
        ("id: x\npatient:\n  age_years: old", "line 3: patient.age_years: expected a number, found 'old'"),
        ("id: x\npatient:\n  age_years: 230", "line 3: patient.age_years: '230' is outside 0 to 125"),
        (
            "id: x\nstudies:\n  - when: 2021-02-30",
            "line 3: studies[1].when: 2021-02-30 is not a day of the calendar",
        ),
        (
            "id: x\nstudies:\n  - when: 3/9/2021",
            "line 3: studies[1].when: '3/9/2021' can be read in two ways",
        ),
        (
            "id: x\nmolecular:\n  - genes:\n    - gene: EGRF",
            "line 4: molecular[1].genes[1].gene: 'EGRF' is not a gene symbol known here; did you mean 'EGFR'",
        ),
        (
            "id: x\nlabs:\n  - {analyte: cea, value: 1, unit: ngml}",
            "line 3: labs[1].unit: 'ngml' is not a unit known here; did you mean 'ng/mL'?",
        ),
        (
            "id: x\nlabs:\n  - {analyte: amylse_total, value: 1}",
            "line 3: labs[1].analyte: 'amylse_total' is not known here; did you mean 'amylase_total'?",
        ),
        ("id: x\nlabs:\n  - {analyte: cea, value: 1 ng/mL}", "line 3: labs[1].value: expected a number"),
        ("id: x\nlabs:\n  - {value: 1}", "line 3: labs[1]: needs 'analyte'"),
        (
            "id: x\nlabs:\n  - {analyte: cea, low: 5, high: 3}",
            "line 3: labs[1].low: the range 5 to 3 is upside down",
        ),
        (
            "id: x\nspecimens:\n  - {id: a}\nlabs:\n  - {id: a, analyte: cea}",
            "line 5: labs[1].id: 'a' is the id of specimens[1] already",
        ),
        (
            "id: x\nspecimens: [{id: tblb}]\nimmunostains:\n  - {target: ALK, specimen: tbbl}",
            "line 4: immunostains[1].specimen: 'tbbl' is the id of nothing in this case; did you mean 'tblb'",
        ),
        (
            "id: x\nclaims:\n  - {kind: milliary}",
            "line 3: claims[1].kind: 'milliary' is not known here; did you",
        ),
        (
            "id: x\ntreatments:\n  - {name: a, dose: 1, unit: gm}",
            "line 3: treatments[1].unit: 'gm' is not a unit",
        ),
        ("id: x\nid: y", "line 2: id: given twice"),
        ("title: x", "line 1: needs 'id'"),
        ("id: x\nlabs: {a: b}", "line 2: labs: expected a list"),
        ("id: x\n\tpatient: y", "line 2: not YAML: a tab; indent with spaces"),
        ("id: a: b", "line 1: not YAML: a second ': ' on one line"),
        ("id: x\npatient: [", "line 2: not YAML"),
        ("id: &a x\ntitle: *a", "line 1: anchors and aliases"),
        ("- a\n- b", "line 1: expected fields of the form 'name: value', found a list"),
        ("", "line 1: is empty"),
        ("a\n---\nb", "line 2: not YAML"),
        ("[" * 5000, "brackets within brackets"),
        ('schema_version: "2.0"\nid: x', "line 1: schema_version: this program reads version 1"),
        ("id: x\npatient: {age_years: .nan}", "line 2: patient.age_years: '.nan'"),
        ("id: x\npatient: {age_years: nan}", "line 2: patient.age_years: 'nan' is outside"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_suggestion(text, message):
    with pytest.raises(CaseError) as caught:
        read_case_text(text)
    line = str(caught.value)
    if message.startswith("line 2: patient.age_years: '.nan'"):
        assert "expected a number" in line
    else:
        assert message in line
    assert "\n" not in line
    assert line.startswith("case.yaml")


def test_every_mistake_of_a_file_is_listed(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\npatient: {sex: femal, ecog: 9}\nstudys: []\n")
    (tmp_path / "labs.csv").write_text("analyte,value,unit\ncea,high,ng/mL\ncea,1,ng/nL\ncea,1\n")
    _, problems = inspect_case(tmp_path)
    assert [problem.split(":")[0] for problem in problems] == [
        *("case.yaml line 2", "case.yaml line 2", "case.yaml line 3"),
        *("labs.csv line 2", "labs.csv line 3", "labs.csv line 4"),
    ]
    with pytest.raises(CaseError, match="and 5 more"):
        read_case(tmp_path)


def test_labs_beside_the_case_are_part_of_it(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\norigin: published\nlabs: [{id: a, analyte: cea, value: 1}]\n")
    heading = "analyte,value,unit,when,low,high,is_symptomatic\n"
    (tmp_path / "labs.csv").write_text(heading + "lipase,<5,IU/L,2021-01-02,13,60,no\n\nalt,,,,,,\n")
    case = read_case(tmp_path)
    assert [lab.id for lab in case.labs] == ["a", "labs-csv-1", "labs-csv-2"]
    lipase = case.labs[1]
    assert (lipase.value, lipase.comparator, lipase.low, lipase.high) == (5.0, "<", 13.0, 60.0)
    assert lipase.when.date == dt.date(2021, 1, 2)
    assert lipase.is_symptomatic is Presence.ABSENT
    assert lipase.origin is Origin.PUBLISHED
    assert case.labs[2].value is None


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    (tmp_path / "case.yaml").write_bytes("\ufeffid: x\r\ntitle: y\r\n".encode())
    assert read_case(tmp_path).title == "y"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_is_no_text_or_not_there(tmp_path, content):
    if content is not None:
        (tmp_path / "case.yaml").write_bytes(content)
    with pytest.raises(CaseError, match=r"UTF-8|holds no case\.yaml"):
        read_case(tmp_path)
    with pytest.raises(CaseError, match="no such folder"):
        read_case(tmp_path / "absent")


def test_a_new_case_reads_and_is_never_overwritten(tmp_path):
    folder = tmp_path / "new"
    write_case_template(folder)
    case = read_case(folder)
    assert case.patient.sex is None
    assert (folder / "labs.csv").read_text() == ",".join(LAB_COLUMNS) + "\n"
    with pytest.raises(OutputError, match=r"new/case\.yaml: is there already"):
        write_case_template(folder)


def test_the_examples_in_the_comments_of_a_new_case_are_right(tmp_path):
    write_case_template(tmp_path)
    lines = []
    for line in (tmp_path / "case.yaml").read_text().splitlines():
        if line.startswith("#  "):
            lines.append(line[1:])
        else:
            lines.append(line.replace(": []", ":", 1) if line[:1].isalpha() else line)
    case = read_case_text("\n".join(lines))
    assert case.treatments[0].name == "alectinib"
    assert case.studies[0].nodules.max_diameter_mm == 3
    assert case.lesions[0].measurements[0].cavity_mm == 8


def test_the_published_schema_is_that_of_the_records():
    assert read_case_schema() == json.loads(json.dumps(build_case_schema()))


def test_the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses():
    schema = read_case_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {
        "id": "x",
        "patient": {"age_years": 32, "sex": "female"},
        "labs": [{"analyte": "cea", "value": 1}],
    }
    jsonschema.validate(good, schema)
    read_case_text(yaml.safe_dump(good))
    for bad in ({"id": "x", "patient": {"age_years": 230}}, {"id": "x", "studys": []}, {"title": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)
        with pytest.raises(CaseError):
            read_case_text(yaml.safe_dump(bad))


def test_damaged_text_is_read_or_refused_in_one_line(root):
    text = (root / "examples/index-case/case.yaml").read_text()
    chance = random.Random(5)
    junk = [
        *"[]{}:,-#&*!|>'\"%@`\n\t 09a\x00\x85",
        "null",
        "~",
        "- ",
        "? ",
        "<<: ",
        ".inf",
        "1e400",
        "9" * 400,
    ]
    for _ in range(100):
        damaged = text
        for _ in range(chance.randrange(1, 5)):
            start = chance.randrange(len(damaged))
            end = start + chance.choice((0, 1, 3, 20))
            damaged = damaged[:start] + chance.choice(junk) + damaged[end:]
        message = ""
        try:
            read_case_text(damaged)
        except CaseError as error:
            message = str(error)
        assert "\n" not in message


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\n")
    (tmp_path / "labs.csv").write_text("analyte,value\n" + '"' + "x" * 200_000)
    _, problems = inspect_case(tmp_path)
    assert len(problems) == 1
    assert "not a table of comma-separated values" in problems[0]


def test_days_are_told_only_between_points_of_one_kind():
    first, second = When(date=dt.date(2021, 1, 31)), When(date=dt.date(2021, 3, 1))
    assert days_between(first, second) == 29
    assert days_between(When(day=10), When(day=3)) == -7
    assert days_between(first, When(day=3)) is None
    assert days_between(first, When(text="later")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id: "a \\ud800 b"\n', "half a character"),
        ("id: x\nmodality: " + "[" * 5000, "too deep"),
        ("id: x\nmodality: " + "{" * 5000, "too deep"),
        ("".join(f"k{i}: v\n" for i in range(3000)), "no such field"),
    ],
)
def test_hostile_text_is_one_line_at_once(tmp_path, text, said):
    (tmp_path / "case.yaml").write_text(text)
    with pytest.raises(CaseError, match=said) as caught:
        read_case(tmp_path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_heading_of_labs_over_several_lines_is_told_in_one(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\n")
    (tmp_path / "labs.csv").write_text('analyte,value,"when,id\ncea,1,"' + "x" * 5000 + "\ncea,2,day 2\n")
    _, problems = inspect_case(tmp_path)
    assert problems
    assert all("\n" not in line and len(line) < 500 for line in problems)


def test_a_heading_that_stands_again_between_the_rows_of_labs_is_no_row(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\n")
    table = "analyte,value,unit\nanalyte,value,unit\ncea,1,ng/mL\nanalyte,value,unit\ncea,2,ng/mL\n"
    (tmp_path / "labs.csv").write_text(table)
    assert [lab.value for lab in read_case(tmp_path).labs] == [1.0, 2.0]
    (tmp_path / "labs.csv").write_text("analyte,value,unit\ncea,value,ng/mL\n")
    with pytest.raises(CaseError, match=r"labs\.csv line 2"):
        read_case(tmp_path)
