"""What a newcomer writes without the docs is taken rightly or refused with the right word."""

from __future__ import annotations

import datetime as dt

import pytest

from miliary.exchange.case.case_file import inspect_case
from miliary.model.vocabulary import Finding, History, Modality, Presence, Result, Smoking, Symptom


def gene_and_partner(case):
    """The first gene of the first report with what is said of it."""
    gene = case.molecular[0].genes[0]
    return gene.gene, gene.partner, gene.alteration


# A guess as YAML, where its value lands, and the value; or, for a refusal, the word that has to be in it.
ACCEPTED = [
    ("patient: {sex: F}", lambda c: c.patient.sex, "female"),
    ("patient: {sex: 男性}", lambda c: c.patient.sex, "male"),
    ("patient: {smoking: ex-smoker}", lambda c: c.patient.smoking, Smoking.FORMER),
    ("patient: {smoking: never smoked}", lambda c: c.patient.smoking, Smoking.NEVER),
    ("symptoms: {cough: yes}", lambda c: c.symptom(Symptom.COUGH), Presence.PRESENT),
    ("symptoms: {shortness of breath: yes}", lambda c: c.symptom(Symptom.DYSPNEA), Presence.PRESENT),
    ("symptoms: {発熱: なし}", lambda c: c.symptom(Symptom.FEVER), Presence.ABSENT),
    ("history: {steroids: yes}", lambda c: c.past(History.CORTICOSTEROIDS), Presence.PRESENT),
    ("history: {pregnant: true}", lambda c: c.past(History.PREGNANCY), Presence.PRESENT),
    ("studies: [{modality: chest CT}]", lambda c: c.studies[0].modality, Modality.CT),
    ("studies: [{modality: CXR}]", lambda c: c.studies[0].modality, Modality.XRAY),
    ("studies: [{findings: {GGO: yes}}]", lambda c: c.studies[0].finding(Finding.GROUND_GLASS), "present"),
    ("studies: [{when: 2021/3/9}]", lambda c: c.studies[0].when.date, dt.date(2021, 3, 9)),
    ("studies: [{when: 2021年3月9日}]", lambda c: c.studies[0].when.date, dt.date(2021, 3, 9)),
    ("studies: [{when: 令和3年3月9日}]", lambda c: c.studies[0].when.date, dt.date(2021, 3, 9)),
    ("studies: [{when: 9 Mar 2021}]", lambda c: c.studies[0].when.date, dt.date(2021, 3, 9)),
    ("studies: [{when: Day 90}]", lambda c: c.studies[0].when.day, 90),
    ("microbiology: [{test: IGRA, result: neg}]", lambda c: c.microbiology[0].result, Result.NEGATIVE),
    ("microbiology: [{test: IGRA, result: 陽性}]", lambda c: c.microbiology[0].result, Result.POSITIVE),
    ("molecular: [{genes: [{gene: HER2, result: +}]}]", lambda c: c.molecular[0].genes[0].gene, "ERBB2"),
    ("staging: {side: Left, lobe: left upper lobe}", lambda c: c.staging.lobe, "LUL"),
    ("treatments: [{name: alectinib, times_per_day: BID}]", lambda c: c.treatments[0].times_per_day, 2),
    (
        "labs: [{analyte: ALT, value: 40, unit: U/l}]",
        lambda c: (c.labs[0].analyte, c.labs[0].unit),
        ("alt", "U/L"),
    ),
    ("labs: [{analyte: Hb, value: 9, unit: g/dl}]", lambda c: c.labs[0].analyte, "hemoglobin"),
    ("labs: [{analyte: WBC, value: 9, unit: x10^3/uL}]", lambda c: c.labs[0].unit, "10*3/uL"),
    ("labs: [{analyte: 血小板, value: 12, unit: 万/μL}]", lambda c: c.labs[0].unit, "10*4/uL"),
    ("symptoms: [cough, fever]", lambda c: c.symptom(Symptom.FEVER), Presence.PRESENT),
    ("patient: {region: Japan, ecog: PS1}", lambda c: (c.patient.region, c.patient.ecog), ("JP", 1)),
    ("staging: {metastases: [bone, brain]}", lambda c: c.staging.metastases[1].site, "brain"),
    ("staging: {metastases: [{site: bone, count: 3}]}", lambda c: c.staging.metastases[0].count, "multiple"),
    ("adverse_events: [{term: rash, grade: G2}]", lambda c: c.adverse_events[0].grade, 2),
    ("immunostains: [{target: TTF-1, result: +}]", lambda c: c.immunostains[0].target, "TTF-1"),
    ("immunostains: [{target: PDL1, tps_percent: 50}]", lambda c: c.immunostains[0].target, "PD-L1"),
    ("treatments: [{name: SBRT, kind: radiotherapy}]", lambda c: c.treatments[0].kind, "radiation"),
    ("responses: [{category: partial response}]", lambda c: c.responses[0].category, "PR"),
    ("labs: [{analyte: CEA, value: <5}]", lambda c: (c.labs[0].value, c.labs[0].comparator), (5.0, "<")),
    ("patient: {age_years: 62 years}", lambda c: c.patient.age_years, 62),
    (
        "patient: {height_cm: 1.62 m, weight_kg: 58 kg}",
        lambda c: (c.patient.height_cm, c.patient.weight_kg),
        (162, 58),
    ),
    (
        'patient: {smoking: "ex-smoker, 30 PY"}',
        lambda c: (c.patient.smoking, c.patient.pack_years),
        (Smoking.FORMER, 30),
    ),
    ("staging: {size_mm: 2.5 cm}", lambda c: c.staging.size_mm, 25),
    (
        "treatments: [{name: a, dose: 600mg}]",
        lambda c: (c.treatments[0].dose, c.treatments[0].unit),
        (600, "mg"),
    ),
    (
        "treatments: [{name: a, dose: 80 mg OD}]",
        lambda c: (c.treatments[0].dose, c.treatments[0].unit, c.treatments[0].times_per_day),
        (80, "mg", 1),
    ),
    (
        "treatments: [{name: a, dose: AUC 5}]",
        lambda c: (c.treatments[0].dose, c.treatments[0].dose_text),
        (None, "AUC 5"),
    ),
    ("treatments: [{name: a, cycle_days: q3w}]", lambda c: c.treatments[0].cycle_days, 21),
    (
        "treatments: [{name: a, kind: RT, dose: 30 Gy/10 fx}]",
        lambda c: (c.treatments[0].total_gy, c.treatments[0].fractions, c.treatments[0].dose),
        (30, 10, None),
    ),
    ("studies: [{when: 14.03.2025}]", lambda c: c.studies[0].when.date, dt.date(2025, 3, 14)),
    ("studies: [{when: 03/25/2025}]", lambda c: c.studies[0].when.date, dt.date(2025, 3, 25)),
    ("studies: [{when: 14-Mar-25}]", lambda c: c.studies[0].when.date, dt.date(2025, 3, 14)),
    ("studies: [{when: Mar 2025}]", lambda c: c.studies[0].when.text, "2025-03"),
    ("studies: [{when: 2025年3月}]", lambda c: c.studies[0].when.text, "2025-03"),
    (
        "studies: [{nodules: {count: innumerable}}]",
        lambda c: c.studies[0].nodules.is_innumerable,
        Presence.PRESENT,
    ),
    (
        "studies: [{findings: {hepatic metastases: yes}}]",
        lambda c: c.studies[0].finding(Finding.LIVER_LESIONS),
        "present",
    ),
    ("immunostains: [{target: HER2, result: 2+}]", lambda c: c.immunostains[0].result, Result.INDETERMINATE),
    ("immunostains: [{target: HER2, result: 1+}]", lambda c: c.immunostains[0].result, Result.NEGATIVE),
    ("immunostains: [{target: HER2, result: 3+}]", lambda c: c.immunostains[0].result, Result.POSITIVE),
    (
        "immunostains: [{target: PD-L1 (SP263), tps_percent: 60％}]",
        lambda c: (c.immunostains[0].target, c.immunostains[0].clone, c.immunostains[0].tps_percent),
        ("PD-L1", "SP263", 60),
    ),
    (
        "immunostains: [{target: ALK (D5F3)}]",
        lambda c: (c.immunostains[0].target, c.immunostains[0].clone),
        ("ALK", "D5F3"),
    ),
    (
        "immunostains: [{target: PD-L1, tps_percent: <1}]",
        lambda c: (c.immunostains[0].tps_percent, c.immunostains[0].note),
        (0, "TPS below 1 %"),
    ),
    ("molecular: [{genes: [{gene: EML4-ALK, result: +}]}]", gene_and_partner, ("ALK", "EML4", "")),
    ("molecular: [{genes: [{gene: RET::KIF5B, result: positive}]}]", gene_and_partner, ("RET", "KIF5B", "")),
    ("molecular: [{genes: [{gene: CD74-ROS1, result: negative}]}]", gene_and_partner, ("ROS1", "", "fusion")),
    ("molecular: [{genes: [{gene: NTRK1/2/3}]}]", gene_and_partner, ("NTRK", "", "")),
    ("molecular: [{genes: [{gene: NTRK}]}]", gene_and_partner, ("NTRK", "", "")),
    ("molecular: [{genes: [{gene: NTRK2}]}]", gene_and_partner, ("NTRK2", "", "")),
    ("molecular: [{genes: [{gene: K-ras}]}]", gene_and_partner, ("KRAS", "", "")),
    ("molecular: [{genes: [{gene: NKX2-1}]}]", gene_and_partner, ("NKX2-1", "", "")),
    (
        "studies: [{id: a, when: 2025-03-13}, {id: b, when: 2025-05-13, compared_with: 2025-03-13}]",
        lambda c: c.studies[1].compared_with,
        "a",
    ),
    ("labs: [{analyte: hCG, value: 12, unit: mIU/ml}]", lambda c: c.labs[0].unit, "mIU/mL"),
]
REFUSED = [
    ("patient: {age: 62}", "'age_years'"),
    ("patient: {gender: f}", "'sex'"),
    ("patient: {weight: 60}", "'weight_kg'"),
    ("treatments: [{drug: alectinib, dose: 600mg}]", "'name'"),
    ("studies: [{when: 3/9/2021}]", "two ways"),
    ("symptoms: {coughh: yes}", "'cough'"),
    ("history: {diabetus: yes}", "diabet"),
    ("labs: [{analyte: TG, value: 310}]", "triglycerides or thyroglobulin"),
    ("labs: [{analyte: ferittin_alt, value: 310, unit: gg}]", "unit"),
    ("staging: {lobe: upper}", "LUL"),
    ("staging: {stage: IVB}", "'asserted'"),
    ("symptoms: {cough: 3 weeks}", "absent, not_stated, present"),
    ("molecular: [{gene: EGFR, mutation: L858R}]", "'genes'"),
    ("follow_up: {status: alive, date: 2021-05-01}", "'when'"),
    ("labratory: []", "'labs'"),
    ("studies: [{when: 03/04/2025}]", "two ways"),
    ("treatments: [{name: a, dose: '0,15'}]", "decimal point"),
    ("immunostains: [{target: Ki-67, result: 30%}]", "note"),
    ("adverse_events: [{term: rash, grade: 0}]", "leave it out"),
    ("pregnancy: yes", "'history'"),
    ("comorbidities: [hypertension]", "'history'"),
    ("stage: IVB", "'staging.asserted'"),
    ("pd_l1: 50", "'immunostains'"),
    ("findings: [consolidation]", "'studies'"),
    ("xqzvw: 1", "known are adverse_events"),
    ("studies: [{findings: {miliary: yes}}]", "nodules"),
    ("studies: [{findings: {qqqqqq: yes}}]", "tree_in_bud"),
    ("studies: [{findings: {no lymphadenopathy: yes}}]", "absent"),
    ("staging: {metastases: [{site: adrenal, side: left}]}", "left adrenal"),
    ("lesions: [{site: lung}]", "'organ'"),
    ("lesions: [{target: yes}]", "'role'"),
    ("responses: [{response: PR}]", "'category'"),
    ("staging: {metastases: [{organ: adrenal}]}", "'site'"),
    ("treatments: [{foo: 1}]", "known are"),
    ("history: {pregnancy: 20 weeks}", "write present"),
    ("history: {previous tuberculosis: 2010}", "write present"),
]

# Two words of one key: what is there wins over a narrower word that is not; the last word does not.
PAST = [
    ("{atrial fibrillation: yes, long QT: absent}", History.ARRHYTHMIA, Presence.PRESENT),
    ("{asthma: absent, COPD: present}", History.RESPIRATORY_DISEASE, Presence.PRESENT),
    ("{COPD: present, asthma: absent}", History.RESPIRATORY_DISEASE, Presence.PRESENT),
    ("{type 2 diabetes: present, type 1 diabetes: absent}", History.DIABETES, Presence.PRESENT),
    ("{asthma: absent}", History.RESPIRATORY_DISEASE, Presence.NOT_STATED),
    ("{lung disease: absent}", History.RESPIRATORY_DISEASE, Presence.ABSENT),
    ("{diabetes mellitus: absent, DM: unknown}", History.DIABETES, Presence.ABSENT),
]


@pytest.mark.parametrize(("text", "key", "expected"), PAST)
def test_an_absent_narrower_illness_says_nothing_of_the_broader(tmp_path, text, key, expected):
    case, problems = read(tmp_path, f"history: {text}")
    assert problems == ()
    assert case.past(key) is expected


@pytest.mark.parametrize(
    "text",
    [
        "{COPD: present, lung disease: absent}",
        "{pregnant: yes, pregnancy: no}",
        "{HTN: no, hypertension: yes}",
    ],
)
def test_two_words_of_one_illness_that_disagree_are_refused(tmp_path, text):
    _, problems = read(tmp_path, f"history: {text}")
    assert len(problems) == 1
    assert "another word" in problems[0]


def read(tmp_path, text, labs=""):
    (tmp_path / "case.yaml").write_text(f"id: x\n{text}\n", "utf-8")
    if labs:
        (tmp_path / "labs.csv").write_text(labs, "utf-8")
    return inspect_case(tmp_path)


@pytest.mark.parametrize(("text", "find", "expected"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_a_guess_is_read_as_it_was_meant(tmp_path, text, find, expected):
    case, problems = read(tmp_path, text)
    assert problems == ()
    assert find(case) == expected


@pytest.mark.parametrize(("text", "word"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_guess_that_cannot_be_taken_is_refused_with_the_right_word(tmp_path, text, word):
    _, problems = read(tmp_path, text)
    assert problems
    assert word in " ".join(problems)


LONG = "検査項目,結果,単位,採血日,基準値\nAST(GOT),45,U/L,2021/3/9,13-30\n好中球数,900,/mm3,2021/3/9,\n"
TABLES = {
    "long, Japanese headings": (LONG, [("ast", 45.0, "U/L", 30.0), ("neutrophils", 900.0, "/uL", None)]),
    "long, semicolons and decimal commas": (
        "Test;Result;Unit;Date;Reference range\nCreatinine;1,2;mg/dL;2021-03-09;0,5-1,1\n".replace(
            "0,5-1,1", "0.5-1.1"
        ),
        [("creatinine", 1.2, "mg/dL", 1.1)],
    ),
    "long, tabs": ("analyte\tvalue\tunit\nK\t7.1\tmEq/L\n", [("potassium", 7.1, "mEq/L", None)]),
    "wide, a row a day": (
        "date,ALT (U/L),PLT (10^4/uL)\n2021-03-09,40,12.5\n2021-03-16,80,\n",
        [("alt", 40.0, "U/L", None), ("platelets", 12.5, "10*4/uL", None), ("alt", 80.0, "U/L", None)],
    ),
    "wide, a column a day": (
        "項目,単位,基準値,2021/03/09,2021/03/16\nCRP,mg/dL,0.14以下,0.3,12.0 H\n",
        [("crp", 0.3, "mg/dL", 0.14), ("crp", 12.0, "mg/dL", 0.14)],
    ),
    "a mark and a sign": (
        "analyte,value,unit,flag\nCEA,<0.5,ng/ml,L\nLDH,≧1000,U/L,H\n",
        [("cea", 0.5, "ng/mL", None), ("ldh", 1000.0, "U/L", None)],
    ),
    "the unit beside the value": ("analyte,value\nALT,45 U/L\n", [("alt", 45.0, "U/L", None)]),
}


@pytest.mark.parametrize(("text", "expected"), TABLES.values(), ids=list(TABLES))
def test_a_table_of_a_hospital_is_read(tmp_path, text, expected):
    case, problems = read(tmp_path, "", text)
    assert problems == ()
    assert [(lab.analyte, lab.value, lab.unit, lab.high) for lab in case.labs] == expected


def test_times_of_a_wide_table_and_its_marks_are_kept(tmp_path):
    case, _ = read(tmp_path, "", TABLES["wide, a column a day"][0])
    assert [lab.when.date for lab in case.labs] == [dt.date(2021, 3, 9), dt.date(2021, 3, 16)]
    case, _ = read(tmp_path, "", TABLES["a mark and a sign"][0])
    assert [(lab.comparator, lab.change) for lab in case.labs] == [("<", "decreased"), (">", "increased")]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("alt,negative,U/L", "qualitative"),
        ("alt,hemolyzed,U/L", "leave the cell empty"),
        ('platelets,"1,200",/uL', "two ways"),
        ("alt,40,U/Lx", "unit"),
        ("TG,310,mg/dL", "triglycerides or thyroglobulin"),
        ("albumim,3.2,g/dL", "'albumin'"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_with_what_to_do(tmp_path, row, word):
    _, problems = read(tmp_path, "", f"analyte,value,unit\n{row}\n")
    assert len(problems) == 1
    assert problems[0].startswith("labs.csv line 2:")
    assert word in problems[0]


def test_a_spreadsheet_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "labs.xlsx").write_bytes(b"PK")
    _, problems = read(tmp_path, "")
    assert problems == ("labs.xlsx: a spreadsheet is not read; save its sheet as labs.csv (CSV UTF-8)",)


def test_a_japanese_table_in_shift_jis_is_read(tmp_path):
    (tmp_path / "labs.csv").write_bytes(LONG.encode("cp932"))
    case, problems = read(tmp_path, "")
    assert problems == ()
    assert [lab.analyte for lab in case.labs] == ["ast", "neutrophils"]


def test_a_column_that_is_unknown_is_named(tmp_path):
    _, problems = read(tmp_path, "", "date,ALT,patient id\n2021-03-09,40,7\n")
    assert len(problems) == 1
    assert "patient id" in problems[0]
