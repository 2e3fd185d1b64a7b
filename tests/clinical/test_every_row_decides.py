"""Every row of the rules decides something in some case: without it that case comes out otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from miliary.clinical.registry import RULES, assess_case
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules, list_rules, load_rules
from miliary.exchange.case.case_file import read_case
from miliary.model.case import Case
from tests.clinical.cases import make_case, read_rows
from tests.clinical.test_differential import build as build_vignette

EXAMPLE = Path(__file__).parents[2] / "examples" / "index-case"
# Judged by tests of their own: grades by their ladder, responses by time points, measured scans by theirs,
# words and variants by what they are read as.
ELSEWHERE = {"ctcae", "recist", "bridge", "comparability", "words", "variants", "vocabulary"}
# Rows that are read and not credited: a case for each is made.
READ_ONLY = {("sites", "site"), ("therapy", "name"), ("labs", "molar_mass"), ("differential", "examination")}
NEEDS_SCANS = {("labs", "trend")}
# Replaced by a newer edition: kept to read old results by, and used where a test names it.
REPLACED = {("therapy", "2026-11")}
Key = tuple[str, str, str]
# An adverse event whose value was taken the day after it began.
_EVENT_CASE = {
    "treatments": [{"id": "t", "name": "x", "start": "day 0"}],
    "labs": [{"id": "a", "analyte": "ck", "value": 900, "unit": "U/L", "high": 100, "when": "day 21"}],
    "adverse_events": [{"id": "e", "term": "CPK increased", "when": "day 20"}],
}


def written_cases() -> Iterator[Case]:
    """The worked example and every case of the files."""
    yield read_case(EXAMPLE)
    for pair in read_rows("consistency/pairs.toml", "pair"):
        yield make_case(pair["case"])
    for row in read_rows("rows/cases.toml", "case"):
        yield make_case(row["case"])
    for row in read_rows("drivers/status.toml", "status"):
        yield make_case({key: row[key] for key in ("molecular", "immunostains") if key in row})
    for row in read_rows("differential/vignettes.toml", "vignette"):
        yield build_vignette(row)


def built_cases() -> Iterator[Case]:
    """One case for each row of long tables that differ in a word and a number."""
    yield from _range_cases()
    yield from _lab_cases()
    for option in find_rules("therapy").rows("option"):
        yield _option_case(option)
    for row in find_rules("therapy").rows("dose"):
        yield _dose_case(row)
    yield from _drug_cases()
    for row in load_rules("drivers", "2026-11").rows("scope"):
        yield from (_scope_case(row, gene) for gene in row["genes"])
    yield from _site_cases().values()
    for row in load_rules("tnm", "9").rows("structures"):
        invades = {row["structure"]: "present"}
        yield make_case({"staging": {"size_mm": 5, "invades": invades, "nodules_assessed": True}})


@cache
def _site_cases() -> dict[str, Case]:
    """A metastasis at each site of the vocabulary, named by the first of its words."""
    return {
        row.id: make_case({"staging": {"metastases": [{"id": "m", "site": row["words"][0]}]}})
        for row in load_rules("sites", "2026-11").rows("site")
    }


@cache
def _word_cases(table: str) -> dict[str, Case]:
    """For each row of a table of `READ_ONLY` a case that needs it."""
    if table == "site":
        return _site_cases()
    if table == "name":
        return {row.id: _name_case(row) for row in find_rules("therapy").rows("name")}
    if table == "examination":
        return {row.id: _examined_case(row) for row in find_rules("differential").rows("examination")}
    return {row.id: _molar_case(row) for row in load_rules("labs", "2026-11").rows("molar_mass")}


def _name_case(row: RuleRow) -> Case:
    """A drug under the last of its names, beside a driver that it is not for."""
    gene = "NRG1" if row["drug"] != "zenocutuzumab" else "ALK"
    genes = [{"gene": gene, "result": "positive", "alteration": "fusion"}]
    drug = {"id": "t", "name": row["names"][-1]}
    return make_case({"treatments": [drug], "molecular": [{"id": "m", "genes": genes}]})


def _examined_case(row: RuleRow) -> Case:
    """A case in which a next test is done, and every cause that names it is possible."""
    done = {name: {"id": name, "test": name, "result": "negative"} for name in row.get("tests", ())}
    histology = (row.get("tissue_of") or ["inflammation"])[0].replace("_", " ")
    tissue = [{"id": "s", "site": "lung", "histology": f"no {histology}"}]
    genes = [{"gene": name, "result": "negative"} for name in row.get("genes", ("EGFR",))]
    pattern = {"is_diffuse": "present", "distribution": "random", "is_uniform": "present"}
    findings = {"calcified_nodules": "present", "septal_thickening_nodular": "present", "cysts": "present"}
    study = {"id": "ct", "modality": "ct", "nodules": pattern, "findings": findings}
    facts: dict[str, Any] = {
        "studies": [study],
        "microbiology": list(done.values()),
        "labs": [{"id": name, "analyte": name, "value": 1} for name in row.get("analytes", ())],
        "specimens": tissue if row.get("tissue") or row.get("tissue_of") else [],
        "molecular": [{"id": "m", "genes": genes}] if row.get("genes") or row.get("molecular") else [],
        "history": {"bcg_instillation": "present", "varicella_now": "present"},
        "symptoms": {"fever": "present", "eye_inflammation": "present"},
    }
    return make_case(facts)


def _molar_case(row: RuleRow) -> Case:
    """A baseline by mass and a later value by amount of substance."""
    value, day = {"analyte": row["analytes"][0], "value": 2.0, "high": 1.0}, {"when": "day 30"}
    first = value | {"id": "a", "unit": "mg/dL", "is_baseline": True}
    labs = [first, value | day | {"id": "b", "unit": "umol/L"}]
    return make_case({"labs": labs, "treatments": [{"id": "t", "name": "x", "start": "day 0"}]})


def _drug_cases() -> Iterator[Case]:
    """For each row on a drug a case in which it says something: its names, pregnancy, another drug."""
    book = find_rules("therapy")
    yield from _word_cases("name").values()
    dangers = {"pregnancy": "present", "contraception": "absent"}
    for name in dict.fromkeys(row["drug"] for row in book.rows("reproduction")):
        drug = {"id": "t", "name": name}
        yield make_case({"treatments": [drug], "history": dangers, "patient": {"age_years": 15}})
    for row in book.rows("interaction"):
        names = (row["drug"], row["partners"][0])
        drugs = [{"id": f"t{n}", "name": name, "region": row["region"]} for n, name in enumerate(names)]
        yield make_case({"treatments": drugs})
    yield from _toxicity_cases()
    yield from _word_cases("molar_mass").values()
    yield from _word_cases("examination").values()
    yield make_case(_EVENT_CASE)
    for name, value in (("qtc", 505.0), ("potassium", 5.3)):
        yield make_case({"labs": [{"id": "a", "analyte": name, "value": value}]})


def _toxicity_cases() -> Iterator[Case]:
    """For each row on organs, holds, events and classes of partners a case in which it says something."""
    book = find_rules("therapy")
    for row in book.rows("organ_function"):
        clearance = {"id": "c", "analyte": "creatinine_clearance", "value": 10, "unit": "mL/min"}
        drug = {"id": "t", "name": row["drug"]}
        yield make_case({"treatments": [drug], "patient": {"child_pugh": "C"}, "labs": [clearance]})
    for row in book.rows("hold"):
        drug = {"id": "t", "name": row["drug"], "start": "day 0"}
        limit = row.get("above", row.get("above_uln", 1.0))
        # Not so far that the value itself would be doubted.
        value = row["below"] / 2 if "below" in row.data else 1.5 * limit
        lab = {
            "analyte": row["analytes"][0],
            "value": value,
            "unit": row.get("unit", "U/L"),
            "when": "day 9",
        }
        if "above_uln" in row.data:
            lab["high"] = 1
        partner = {
            "id": "b",
            "analyte": "bilirubin_total",
            "value": 3,
            "unit": "mg/dL",
            "high": 1,
            "when": "day 9",
        }
        yield make_case({"treatments": [drug], "labs": [lab, partner]})
    for row in book.rows("monitoring"):
        first = row.get("from_days", 0) + 1
        labs = [
            {"analyte": name, "value": 1, "when": f"day {day}"}
            for name in row.get("analytes", ())
            for day in (first, first + 5)
        ]
        drug = {"id": "t", "name": row["drug"], "start": "day 0"}
        yield make_case({"treatments": [drug], "labs": labs})
    for row in book.rows("event_hold"):
        term = "nausea" if row["terms"] == ["any"] else row["terms"][0]
        event = {"id": "e", "term": term, "grade": 4, "when": "day 9", "symptomatic": "present"}
        yield make_case(
            {"treatments": [{"id": "t", "name": row["drug"], "start": "day 0"}], "adverse_events": [event]}
        )
    for row in book.rows("class_caution"):
        drug, partner = next(
            (drug, partner)
            for drug in row["drugs"]
            for partner in row["partners"]
            if not any(r["drug"] == drug and partner in r["partners"] for r in book.rows("interaction"))
        )
        yield make_case({"treatments": [{"id": "t", "name": drug}, {"id": "u", "name": partner}]})


def _range_cases() -> Iterator[Case]:
    """A number beyond each range, as a program may hand it over: a file would be refused."""
    facts = {
        "immunostains": [{"id": "i", "target": "PD-L1"}],
        "studies": [{"id": "s", "nodules": {"count": 3}}],
        "adverse_events": [{"id": "a", "term": "rash"}],
        "treatments": [{"id": "t", "name": "alectinib"}],
        "molecular": [{"id": "m", "genes": [{"gene": "EGFR"}]}],
    }
    plain = make_case(facts)
    for row in load_rules("consistency", "1").rows("range"):
        yield _with(plain, row["path"].split("."), row["high"] + 1)


def _with(record: Any, path: list[str], value: float) -> Any:
    held = getattr(record, path[0])
    if len(path) == 1:
        return replace(record, **{path[0]: type(held)(value) if isinstance(held, int) else value})
    inner = (_with(held[0], path[1:], value),) if isinstance(held, tuple) else _with(held, path[1:], value)
    return replace(record, **{path[0]: inner})


def _lab_cases() -> Iterator[Case]:
    """A value above, and one below, the default range of each analyte, country and sex."""
    book = load_rules("labs", "2026-11")
    units = {row.id: row["unit"] for row in book.rows("analyte")}
    for row in book.rows("range"):
        value = 1.5 * row["high"] if row.get("high") else 0.5 * row["low"]
        lab = {"id": "a", "analyte": row["analyte"], "value": value, "unit": units[row["analyte"]]}
        patient = {"region": row["setting"]} | ({"sex": row["sex"]} if row.get("sex") else {})
        yield make_case({"labs": [lab], "patient": patient})
    for row in book.rows("bounds"):
        lab = {"id": "a", "analyte": row["analyte"], "value": 3 * row["high"], "unit": row["unit"]}
        yield make_case({"labs": [lab]})
    yield make_case({"labs": [{"id": "a", "analyte": "alt", "value": 120, "unit": "U/L", "comparator": "≈"}]})


def _option_case(row: RuleRow) -> Case:
    genes = {"NTRK": "NTRK1"}
    gene = {"gene": genes.get(row["gene"], row["gene"]), "result": "positive"}
    words = {"fusion": "fusion", "mutation": "mutation", "ex14": "exon 14"}
    gene["alteration"] = words.get(row["alterations"][0], row["alterations"][0])
    region = row["regions"][0] if row["regions"] else "US"
    line = 2 if row["line"] == "later" else 1
    return make_case(
        {
            "patient": {"region": region},
            "molecular": [{"id": "m", "analytes": ["dna", "rna"], "genes": [gene]}],
            "treatments": [{"id": "t", "name": "x", "line": line}],
        }
    )


def _scope_case(row: RuleRow, gene: str) -> Case:
    """A gene found by another test, and a panel that had it in its scope and names no further driver."""
    panel = {
        "id": "m",
        "assay": "Oncomine Dx Target Test",
        "region": row["region"],
        "when": f"{row['from'].year + 1}-06-01",
        "genes": [{"gene": "KRAS", "result": "negative"}],
        "claims_no_other_driver": True,
    }
    return make_case(
        {"molecular": [panel], "immunostains": [{"id": "i", "target": gene, "result": "positive"}]}
    )


def _dose_case(row: RuleRow) -> Case:
    drug = {
        "id": "t",
        "name": row["drug"],
        "dose": row["steps_daily_mg"][0],
        "dose_is_daily_total": True,
        "unit": "mg",
        "region": row["region"],
        "population": {"advanced": "nsclc"}.get(row["use"], row["use"]),
    }
    weight = {"weight_kg": 30} if row.get("below_weight_kg") else {"weight_kg": 200}
    return make_case({"treatments": [drug], "patient": weight})


@contextmanager
def credited() -> Iterator[set[Key]]:
    """The rows that assessments rest on while this lasts."""
    keys: set[Key] = set()
    plain = RuleBook.credit

    def credit(self: RuleBook, *rows: RuleRow | str) -> dict[str, Any]:
        keys.update((self.system, self.edition, row if isinstance(row, str) else row.id) for row in rows)
        return plain(self, *rows)

    RuleBook.credit = credit  # type: ignore[method-assign]
    try:
        yield keys
    finally:
        RuleBook.credit = plain  # type: ignore[method-assign]


@contextmanager
def without(book: RuleBook, row_id: str) -> Iterator[None]:
    """A book that lacks one row while this lasts, wherever it is held."""
    tables = book.tables
    fewer = {name: tuple(row for row in rows if row.id != row_id) for name, rows in tables.items()}
    object.__setattr__(book, "tables", MappingProxyType(fewer))
    forget(book)
    try:
        yield
    finally:
        object.__setattr__(book, "tables", tables)
        forget(book)


def forget(book: RuleBook) -> None:
    """Let go of what was made of the rows of a book."""
    for name in ("_by_id", "_derived"):
        book.__dict__.pop(name, None)


def outcome(case: Case) -> Any:
    """All that is said of a case, or the kind of failure where a row is not found."""
    try:
        return assess_case(case)
    except (KeyError, IndexError, StopIteration, AssertionError, ValueError) as error:
        return type(error)


@cache
def corpus() -> tuple[tuple[Case, frozenset[Key]], ...]:
    """Every case with the rows it credits; of cases that credit nothing new only the first are kept."""
    found: list[tuple[Case, frozenset[Key]]] = []
    for case in (*written_cases(), *built_cases()):
        with credited() as keys:
            assess_case(case)
        found.append((case, frozenset(keys)))
    return tuple(found)


_BEFORE: dict[int, Any] = {}


def before(case: Case) -> Any:
    """What is said of a case of the corpus with every row there."""
    if id(case) not in _BEFORE:
        _BEFORE[id(case)] = outcome(case)
    return _BEFORE[id(case)]


def candidates(key: Key, table: str) -> Iterable[Case]:
    """Cases that rest on a row; where none says so, a spread of all of them."""
    if (key[0], table) in READ_ONLY:
        return [_word_cases(table)[key[2]]]
    named = [case for case, keys in corpus() if key in keys]
    return named or [case for case, _ in corpus()]


BOOKS = [(s, e) for s, e in list_rules() if s not in ELSEWHERE and (s, e) not in REPLACED]
TABLES = [
    (s, e, table) for s, e in BOOKS for table in load_rules(s, e).tables if (s, table) not in NEEDS_SCANS
]


@pytest.mark.parametrize(("system", "edition", "table"), TABLES)
def test_without_a_row_some_case_comes_out_otherwise(system, edition, table):
    book = load_rules(system, edition)
    idle = []
    for row in (row for row in book.rows(table) if row.drives):
        for case in candidates((system, edition, row.id), table):
            with without(book, row.id):
                after = outcome(case)
            if after != before(case):
                break
        else:
            idle.append(row.id)
    assert idle == []


@pytest.mark.parametrize("row", read_rows("rows/cases.toml", "case"), ids=lambda row: row["name"])
def test_a_written_case_has_the_outcomes_it_names(row):
    assert set(row["expect"]) <= {a.rule_id for a in assess_case(make_case(row["case"]))}


WEAK = [(s, e, row.id) for s, e in BOOKS for row in load_rules(s, e).all_rows() if not row.drives]


def verdicts(found: Any, row_id: str) -> Any:
    """What is decided, without the words, lists and plain showing that a row may add."""
    shown = {a.rule_id for a in found if a.rule_id.endswith(f".{row_id}") and not a.is_raised}
    return [(a.rule_id, a.verdict, a.severity) for a in found if a.rule_id not in shown]


@pytest.mark.parametrize("key", WEAK, ids=lambda key: key[2])
def test_a_row_of_low_confidence_decides_nothing(key):
    system, edition, row_id = key
    cases = [case for case, keys in corpus() if key in keys][:20]
    cases += [case for case, _ in corpus()][:60]
    for case in cases:
        with without(load_rules(system, edition), row_id):
            after = outcome(case)
        assert verdicts(after, row_id) == verdicts(before(case), row_id)


SYSTEMS = "|".join([*dict(list_rules()), "irecist", "course"])
RULE_ID = re.compile(rf'"((?:{SYSTEMS})\.[a-z0-9_.]+)')
# Reached with scans or by an option of a protocol: test_bridge, test_course and test_response see to them.
# Of what nobody read in a source there is none at present: test_therapy takes a source away.
BY_OTHER_WAYS = ("bridge.", "course.", "irecist.", "recist.cavity_reading", "therapy.unread.")


def test_every_rule_has_a_case():
    folder = Path(__file__).parents[2] / "src" / "miliary" / "clinical"
    found = {name for file in folder.rglob("*.py") for name in RULE_ID.findall(file.read_text("utf-8"))}
    named = found - set(RULES)
    assert len(named) > 40
    reached = {a.rule_id for case, _ in corpus() for a in before(case)}
    idle = [name for name in named if not any(rule.startswith(name) for rule in reached)]
    assert [name for name in sorted(idle) if not name.startswith(BY_OTHER_WAYS)] == []
