"""The words that cases are read with are those that rules and units know."""

import pytest

from miliary.clinical.rulebook import list_rules, load_rules
from miliary.model.units import convert_value
from miliary.model.vocabulary import ANALYTES, GENE_ALIASES, GENES, UNIT_SPELLINGS, UNITS, Structure


def test_every_unit_that_a_case_may_hold_can_be_converted():
    assert [unit for unit in sorted(UNITS) if convert_value(1.0, unit, unit) is None] == []
    assert set(UNIT_SPELLINGS.values()) <= UNITS


def test_aliases_lead_to_known_genes():
    assert set(GENE_ALIASES.values()) <= GENES
    assert not GENES & GENE_ALIASES.keys()


@pytest.mark.parametrize(("system", "edition"), list_rules())
def test_rules_name_only_analytes_that_a_case_may_hold(system, edition):
    named = set()
    for row in load_rules(system, edition).all_rows():
        one, several = row.get("analyte"), row.get("analytes", ())
        named |= {one} if isinstance(one, str) else set()
        named |= set(several) if system in ("ctcae", "labs") else set()
    assert named <= ANALYTES


def test_every_structure_has_one_category():
    rows = load_rules("tnm", "9").rows("structures")
    assert sorted(row["structure"] for row in rows) == sorted(Structure)
