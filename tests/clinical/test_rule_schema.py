"""Every table of every rule file has a schema, and the loader holds each of its keys to it."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from miliary.clinical.rule_schema import ROW_KEYS, KeySchema, parse_schema
from miliary.clinical.rulebook import (
    RULES_FOLDER,
    build_rules,
    list_rules,
    load_schema,
    parse_rules,
)
from miliary.errors import RuleError

TEXTS = {
    (system, edition): (RULES_FOLDER / system / f"{edition}.toml").read_text("utf-8")
    for system, edition in list_rules()
}
DOCUMENTS = {pair: tomllib.loads(text) for pair, text in TEXTS.items()}
TABLES = [
    (*pair, table)
    for pair, document in DOCUMENTS.items()
    for table in document
    if table not in ("edition", "citations")
]
OF_OTHER_TYPE: dict[str, Any] = {
    "text": 7,
    "word": 7,
    "number": "seven",
    "integer": 7.5,
    "flag": "yes",
    "date": "2025-11-01",
    "record": [1],
    "mapping": [1],
    "texts": "one",
    "words": "one",
    "numbers": 1.0,
}


def refusal(system: str, edition: str, document: dict[str, Any]) -> str:
    """The error that a changed document is refused with."""
    with pytest.raises(RuleError) as caught:
        build_rules(document, name=f"{system}/{edition}.toml", schema=load_schema(system))
    return str(caught.value)


def changed(system: str, edition: str, table: str, number: int) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A copy of a document, one row of it, and how errors name that row."""
    document = copy.copy(DOCUMENTS[system, edition])
    rows = document[table] = list(document[table])
    row = rows[number] = dict(rows[number])
    return document, row, f"rules/{system}/{edition}.toml: {table} row {number + 1} ({row['id']})"


def rows_with_each_key(system: str, edition: str, table: str) -> Iterator[tuple[str, int]]:
    """Every key of a table with the last row that has it."""
    rows = DOCUMENTS[system, edition][table]
    last = {key: number for number, row in enumerate(rows) for key in row}
    yield from last.items()


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_misspelled_key_is_refused_with_its_row_and_the_right_spelling(system, edition, table):
    for key, number in rows_with_each_key(system, edition, table):
        document, row, where = changed(system, edition, table, number)
        where = where if key != "id" else f"{where.rpartition('(')[0]}(no id)"
        middle = len(key) // 2
        misspelled = key[:middle] + key[middle + 1 :] if len(key) > 4 else key + key[-1]
        row[misspelled] = row.pop(key)
        message = refusal(system, edition, document)
        assert message.startswith(f"{where}: unknown key {misspelled!r}"), key
        assert re.search(rf"\b{key}\b", message), key


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_value_of_another_type_is_refused_with_its_row_and_key(system, edition, table):
    keys = load_schema(system).tables[table].keys
    for key, number in rows_with_each_key(system, edition, table):
        if key in ROW_KEYS:
            continue
        document, row, where = changed(system, edition, table, number)
        row[key] = OF_OTHER_TYPE[keys[key].type]
        assert refusal(system, edition, document).startswith(f"{where}: {key} must be "), key


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_value_outside_its_range_or_words_is_refused(system, edition, table):
    keys = load_schema(system).tables[table].keys
    for key, number in rows_with_each_key(system, edition, table):
        schema = keys.get(key, KeySchema("flag"))
        document, row, where = changed(system, edition, table, number)
        if schema.range is not None:
            beyond = schema.range[1] + 1
            row[key] = [beyond] * len(row[key]) if schema.type == "numbers" else type(row[key])(beyond)
        elif schema.type == "word":
            row[key] = "no such word"
        elif schema.type == "words":
            row[key] = ["no such word"] * max(2, len(row[key]))
        else:
            continue
        assert refusal(system, edition, document).startswith(f"{where}: {key}"), key


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_row_without_a_source_or_a_required_key_is_refused(system, edition, table):
    keys = load_schema(system).tables[table].keys
    for key, number in rows_with_each_key(system, edition, table):
        if key in ("id", "as_of") or (key in keys and not keys[key].required):
            continue
        document, row, where = changed(system, edition, table, number)
        del row[key]
        message = refusal(system, edition, document)
        assert message.startswith(where), key
        wanted = {"citations": "cites nothing", "basis": "needs basis", "confidence": "needs confidence"}
        assert wanted.get(key, f"lacks {key}") in message


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_row_that_code_reads_by_its_id_cannot_be_left_out_or_renamed(system, edition, table):
    for row_id in load_schema(system).tables[table].rows:
        document = copy.copy(DOCUMENTS[system, edition])
        document[table] = [row for row in document[table] if row["id"] != row_id]
        assert f"{table} lacks the row {row_id}" in refusal(system, edition, document)


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_a_table_that_is_misspelled_is_refused(system, edition, table):
    document = copy.copy(DOCUMENTS[system, edition])
    document[f"{table}s"] = document.pop(table)
    message = refusal(system, edition, document)
    assert message.startswith(f"rules/{system}/{edition}.toml: unknown table '{table}s'")


def test_a_misspelled_criterion_of_a_definition_names_file_row_and_key():
    text = TEXTS["definition", "2026-11"].replace("more_than_nodules", "more_then_nodules")
    with pytest.raises(RuleError) as caught:
        parse_rules(text, name="definition/2026-11.toml", schema=load_schema("definition"))
    assert str(caught.value) == (
        "rules/definition/2026-11.toml: definition row 5 (mpm_2023): unknown key 'more_then_nodules'; "
        "did you mean more_than_nodules?"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "inclusive = false\nmin_lung",
            "min_lung",
            r"\(jin_2008\): max_diameter_mm needs inclusive",
        ),
        (
            "more_than_nodules = 50",
            "more_than_nodules = 0",
            "from 1 to 100000 nodules; found 0",
        ),
        ("min_lung_fraction = 0.6666667", "min_lung_fraction = 66.7", "from 0 to 1; found 66.7"),
        ('distribution = "random"', 'distribution = "randm"', "'randm' is none of its words; .*mean random"),
        ("max_diameter_mm = 3.0", 'max_diameter_mm = "3 mm"', "must be a number of mm; found '3 mm'"),
        ('name = "Jin 2008"', 'name = ""', "name must not be empty"),
    ],
)
def test_what_is_wrong_with_a_definition_is_said_in_one_line(old, new, message):
    text = TEXTS["definition", "2026-11"]
    assert old in text
    with pytest.raises(RuleError, match=message) as caught:
        parse_rules(text.replace(old, new), name="definition/2026-11.toml", schema=load_schema("definition"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("a = 1", "needs a type"),
        ('a = {type = "float"}', "needs a type"),
        ('a = {type = "text", requird = true}', "unknown key 'requird'; did you mean required"),
        ('a = {type = "word"}', "needs words, a vocabulary or row_of"),
        ('a = {type = "word", vocabulary = "colors"}', "no vocabulary 'colors'"),
        ('a = {type = "word", row_of = "other"}', "names rows of other, which is no table"),
        ('a = {type = "number", range = [0, 1]}', "needs a unit"),
        ('a_mm = {type = "number"}', r"needs a range"),
        ('a_mm = {type = "number", unit = "cm", range = [0, 1]}', "unit 'cm', but the key says mm"),
        ('a_percent = {type = "number", range = [0, 200]}', "must lie within 0 to 100"),
        ('a = {type = "text", needs = ["b"]}', "names the key b, which it does not declare"),
    ],
)
def test_a_schema_that_says_too_little_or_contradicts_itself_is_refused(keys, message):
    with pytest.raises(RuleError, match=message):
        parse_schema(f'[schema]\nsystem = "s"\n[t]\nkeys.{keys}\n', name="s/schema.toml")
