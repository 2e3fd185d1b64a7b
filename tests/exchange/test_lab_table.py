"""Tables of laboratory values as hospitals of several countries export them: read rightly, or asked back."""

from __future__ import annotations

import datetime as dt

import pytest

from miliary.clinical.registry import assess_case
from miliary.errors import CaseError
from miliary.exchange.case.case_file import inspect_case
from miliary.exchange.case.lab_numbers import find_decimal_sign, read_written, split_sign
from miliary.exchange.case.record_words import find_unit

DAY = dt.date(2025, 3, 14)


def read(tmp_path, table):
    (tmp_path / "case.yaml").write_text("id: x\n", "utf-8")
    (tmp_path / "labs.csv").write_text(table, "utf-8")
    return inspect_case(tmp_path)


@pytest.mark.parametrize(
    ("text", "sign", "digits"),
    [
        ("12.5", "", "12.5"),
        ("12,5", "", "12.5"),
        ("0,123", "", "0.123"),
        ("1234,567", "", "1234.567"),
        ("1.234,5", "", "1234.5"),
        ("1,234.5", "", "1234.5"),
        ("1,234,567", "", "1234567"),
        ("45 000", "", "45000"),
        ("45\u202f000", "", "45000"),
        ("1'234", "", "1234"),
        ("1.2e3", "", "1.2e3"),
        ("1,234", ",", "1.234"),
        ("1,234", ".", "1234"),
        ("1.234", ".", "1.234"),
        ("1.234", "", "1.234"),
    ],
)
def test_a_number_that_has_one_reading_is_read(text, sign, digits):
    assert read_written(text, sign).digits == digits


@pytest.mark.parametrize(("text", "sign"), [("1,234", ""), ("1.234", ","), ("-12,300", "")])
def test_of_two_readings_none_is_chosen(text, sign):
    written = read_written(text, sign)
    assert not written.digits
    assert len(set(map(float, written.readings))) == 2


@pytest.mark.parametrize("text", ["hemolyzed", "-", "1,2,3", "1.2.3", "12 5", "", "7/8"])
def test_what_is_no_number_is_none(text):
    assert read_written(text, "") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("< 0,01", ("<", "0,01")),
        ("≤ 5", ("<", "5")),
        ("≧1000", (">", "1000")),
        (">1000", (">", "1000")),
        ("~120", ("≈", "120")),
        ("ca. 120", ("≈", "120")),
        ("5.0以下", ("<", "5.0")),
        ("5.0超", (">", "5.0")),
        ("bis 35", ("<", "35")),
        ("até 35", ("<", "35")),
        ("12", ("", "12")),
    ],
)
def test_the_sign_of_a_value_is_taken_apart(text, expected):
    assert split_sign(text) == expected


@pytest.mark.parametrize(
    ("texts", "sign"),
    [(["12,1", "6,2"], ","), (["12.1"], "."), (["12.1", "6,2"], ""), (["1,234"], ""), (["<0,01"], ",")],
)
def test_the_decimal_sign_of_a_table_is_that_of_its_plain_numbers(texts, sign):
    assert find_decimal_sign(texts, has_comma_locale=False) == sign


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("10*2/μL", "10*2/uL"),
        ("×10²/μL", "10*2/uL"),
        ("10^2/uL", "10*2/uL"),
        ("10*8/L", "10*2/uL"),
        ("x10E3/uL", "10*3/uL"),
        ("10e9/L", "10*9/L"),
        ("×10⁹/l", "10*9/L"),
        ("x 10^9/L", "10*9/L"),
        ("10³/µL", "10*3/uL"),
        ("10^4/mm3", "10*4/uL"),
        ("K/uL", "10*3/uL"),
        ("Gpt/l", "10*9/L"),
        ("Mrd/l", "10*9/L"),
        ("Tsd/µl", "10*3/uL"),
        ("lakhs/cumm", "10*5/uL"),
        ("/nl", "10*9/L"),
        ("mg%", "mg/dL"),
        ("gm%", "g/dL"),
        ("UI/L", "IU/L"),
        ("µmol/l", "umol/L"),
        ("mL/min/1.73m2", "mL/min/{1.73_m2}"),
        ("ml/min/1,73m²", "mL/min/{1.73_m2}"),
        ("10*30/uL", "10*30/uL"),
        ("furlongs", "furlongs"),
    ],
)
def test_units_of_several_countries_are_read(unit, expected):
    assert find_unit(unit) == expected


TABLES = {
    "German, semicolons": (
        (
            "Datum;Parameter;Wert;Einheit;Referenzbereich\n14.03.2025;Hämoglobin;12,1;g/dl;12,0–16,0\n"
            "14.03.2025;Leukozyten;6,2;G/l;4,0-10,0\n"
        ),
        [("hemoglobin", 12.1, "g/dL", 12.0, 16.0), ("white_cells", 6.2, "10*9/L", 4.0, 10.0)],
    ),
    "German, limits in two columns": (
        (
            "Abnahmedatum\tUntersuchung\tErgebnis\tEinheit\tUntergrenze\tObergrenze\n"
            "14. März 2025\tKreatinin\t0,9\tmg/dl\t0,5\t1,1\n"
        ),
        [("creatinine", 0.9, "mg/dL", 0.5, 1.1)],
    ),
    "French": (
        (
            "Date de prélèvement;Analyse;Résultat;Unité;Valeurs de référence\n"
            "14/03/2025;Plaquettes;210;G/L;150 à 400\n14/03/2025;Créatinine;168;µmol/L;45 - 90\n"
        ),
        [("platelets", 210.0, "10*9/L", 150.0, 400.0), ("creatinine", 168.0, "umol/L", 45.0, 90.0)],
    ),
    "Spanish": (
        (
            "Fecha;Prueba;Resultado;Unidades;Rango\n"
            "14/03/2025;Hemoglobina;12,1;g/dL;12,0 - 16\n14/03/2025;Plaquetas;1.234.000;/mm3;150.000-400.000"
        ),
        None,
    ),
    "the line of a spreadsheet": (
        "sep=;\nDate;Test;Value;Unit\n2025-03-14;Potassium;6,1;mmol/L\n",
        [("potassium", 6.1, "mmol/L", None, None)],
    ),
    "a date and a time in two columns": (
        "date,time,test,value,unit\n14-Mar-25,08:15,K,6.1,mmol/L\n",
        [("potassium", 6.1, "mmol/L", None, None)],
    ),
    "a share of the white cells": (
        "date,test,value,unit\n2025-03-14,Neut%,20,%\n2025-03-14,Lymph,30,%\n2025-03-14,ANC,0.4,K/uL\n",
        [
            ("neutrophils_percent", 20.0, "%", None, None),
            ("lymphocytes_percent", 30.0, "%", None, None),
            ("neutrophils", 0.4, "10*3/uL", None, None),
        ],
    ),
    "grams stay grams": (
        "test,value,unit\nAlbumin,38,g/l\n",
        [("albumin", 38.0, "g/L", None, None)],
    ),
}


@pytest.mark.parametrize("name", [name for name, (_, rows) in TABLES.items() if rows])
def test_a_table_of_a_country_is_read(tmp_path, name):
    case, problems = read(tmp_path, TABLES[name][0])
    assert problems == ()
    assert [(lab.analyte, lab.value, lab.unit, lab.low, lab.high) for lab in case.labs] == TABLES[name][1]
    assert {lab.when.date for lab in case.labs} <= {DAY, None}


FOREIGN = {
    "cp1252": ("Datum;Analyse;Ergebnis;Einheit\n14.03.2025;Hämoglobin;9,8;g/dl\n", "hemoglobin"),
    "cp932": ("採取日,検査項目,結果,単位\n2025/03/14,血小板数,4.5,10*4/μL\n", "platelets"),
    "utf-16": ("Дата\tПоказатель\tРезультат\tЕд. изм.\n14.03.2025\tГемоглобин\t98\tг/л\n", "hemoglobin"),
}


@pytest.mark.parametrize("encoding", FOREIGN)
def test_the_encoding_of_a_table_is_told_by_its_words(tmp_path, encoding):
    table, analyte = FOREIGN[encoding]
    (tmp_path / "case.yaml").write_text("id: x\n", "utf-8")
    (tmp_path / "labs.csv").write_bytes(table.encode(encoding))
    case, problems = inspect_case(tmp_path)
    assert problems == ()
    assert (case.labs[0].analyte, case.labs[0].when.date) == (analyte, DAY)


def test_an_encoding_that_no_word_tells_is_asked(tmp_path):
    (tmp_path / "case.yaml").write_text("id: x\n", "utf-8")
    (tmp_path / "labs.csv").write_bytes("test,value\nBlübb,1\n".encode("cp1252"))
    with pytest.raises(CaseError, match="UTF-8"):
        inspect_case(tmp_path)


def test_a_limit_with_two_readings_is_asked_back(tmp_path):
    _, problems = read(tmp_path, TABLES["Spanish"][0])
    assert len(problems) == 2
    assert all("150000 or as 150" in line or "400000 or as 400" in line for line in problems)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("14-Mar-25", DAY),
        ("14 Mar 2025", DAY),
        ("14.03.2025", DAY),
        ("14/03/2025", DAY),
        ("03/14/2025", DAY),
        ("14. März 2025", DAY),
        ("14 de marzo de 2025", DAY),
        ("14 mars 2025", DAY),
        ("2025-Mar-14", DAY),
        ("Mar 14, 2025 08:15", DAY),
        ("3/14/2025 8:15 AM", DAY),
        ("14-Mar-2025 09:12 PM", DAY),
        ("14.03.2025 08:15", DAY),
        ("05.05.2025", dt.date(2025, 5, 5)),
        ("1-Dec-95", dt.date(1995, 12, 1)),
    ],
)
def test_a_date_with_one_reading_is_read(tmp_path, when, expected):
    case, problems = read(tmp_path, f'date,test,value,unit\n"{when}",K,6.1,mmol/L\n')
    assert problems == ()
    assert case.labs[0].when.date == expected


@pytest.mark.parametrize(
    ("when", "word"),
    [
        ("03/04/2025", "2025-04-03 or 2025-03-04"),
        ("14/03/25", "not a date"),
        ("31.02.2025", "not a day of the calendar"),
        ("14-Xyz-25", "not a date"),
        ("45730", "not a date"),
    ],
)
def test_a_date_that_is_not_understood_is_never_silent(tmp_path, when, word):
    _, problems = read(tmp_path, f"date,test,value,unit\n{when},K,6.1,mmol/L\n")
    assert word in " ".join(problems)


def test_the_other_dates_of_a_table_tell_the_order_of_day_and_month(tmp_path):
    table = "date,test,value,unit\n03/04/2025,K,6.1,mmol/L\n14/04/2025,K,5.1,mmol/L\n"
    case, problems = read(tmp_path, table)
    assert problems == ()
    assert case.labs[0].when.date == dt.date(2025, 4, 3)


def test_a_column_of_codes_is_said_to_be_one(tmp_path):
    _, problems = read(tmp_path, "lab_code,test,value,unit\n718-7,Hb,12.1,g/dL\n")
    assert len(problems) == 1
    assert "codes" in problems[0]


def test_words_of_time_are_a_query(tmp_path):
    case, problems = read(tmp_path, "date,test,value,unit\nC2D1,K,6.1,mmol/L\n")
    assert problems == ()
    assert "C2D1" in next(item.statement for item in assess_case(case) if item.rule_id == "labs.unread")


def test_a_column_given_twice_is_said_and_not_overwritten(tmp_path):
    _, problems = read(tmp_path, "test,value,value,unit\nHb,12.1,7.1,g/dL\n")
    assert "several columns" in problems[0]
    case, _ = read(tmp_path, "date,Hb (g/dL),Hb (g/dL)\n2025-03-14,12.1,7.1\n")
    asked = [item.statement for item in assess_case(case) if item.rule_id == "labs.doubted"]
    assert "12.1 g/dL and 7.1 g/dL" in asked[0]


def test_results_in_words_are_kept(tmp_path):
    table = (
        "date,test,value\n2025-03-14,QuantiFERON,positive\n2025-03-14,AFB smear,(-)\n2025-03-14,hCG,陰性\n"
    )
    case, problems = read(tmp_path, table + "2025-03-14,Urine protein,2+\n2025-03-14,HBsAg,negative\n")
    assert problems == ()
    tests = [(test.test, test.result, test.when.date) for test in case.microbiology]
    assert tests == [("igra_quantiferon", "positive", DAY), ("afb_smear", "negative", DAY)]
    words = [(lab.analyte, lab.value, lab.words) for lab in case.labs]
    assert words == [("hcg", None, "陰性"), ("urine_protein", None, "2+"), ("hbsag", None, "negative")]
    assert sum(item.rule_id == "labs.unread" for item in assess_case(case)) == 3


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("EGFR,L858R,", "molecular"),
        ("ALT,negative,U/L", "qualitative"),
        ("ALT,n/a,U/L", "leave the cell empty"),
    ],
)
def test_a_cell_that_is_no_result_of_its_test_is_refused_without_losing_it(tmp_path, row, word):
    _, problems = read(tmp_path, f"test,value,unit\n{row}\n")
    assert word in problems[0]
    assert "leave the row out" not in problems[0]
