"""Names of tests for infections, as clinicians write them, read as the words of the rules."""

from __future__ import annotations

from functools import cache

from miliary.clinical.record.diagnosis_words import fold_words, list_names
from miliary.clinical.rulebook import RuleRow, find_rules

# Where a test was taken from; its name is the same without it.
_MATERIAL_WORDS = """
sputum blood serum urine urinary bal balf lavage bronchial csf pleural fluid gastric aspirate tissue biopsy
plasma wash washing 喀痰 血清 尿 胃液 髄液
"""
_MATERIALS = frozenset(_MATERIAL_WORDS.split())


def find_test(name: str) -> str:
    """The rules' word for a test.

    Parameters
    ----------
    name : str
        As in "Xpert MTB/RIF Ultra", "T-SPOT" or ``tb_naat``.

    Returns
    -------
    str
        Id of the table ``test`` of ``rules/words``, as in ``tb_naat``; empty where the name is not known,
        and then no rule reads the test.
    """
    known, folded = _list_test_names(), _fold_test(name)
    if folded in known:
        return known[folded]
    words = [word for word in folded.split() if word not in _MATERIALS]
    return known.get(" ".join(words), "")


def _fold_test(name: str) -> str:
    """As `fold_words`, without punctuation and marks of a trade name."""
    plain = "".join(sign if sign.isalnum() else " " for sign in fold_words(name) if sign not in "®™")
    return " ".join(plain.split())


@cache
def _list_test_names() -> dict[str, str]:
    return {_fold_test(name): row.id for row in find_rules("words").rows("test") for name in list_names(row)}


def list_test_names() -> tuple[str, ...]:
    """Every known name of a test, folded.

    Returns
    -------
    tuple of str
    """
    return tuple(_list_test_names())


def find_test_row(name: str) -> RuleRow | None:
    """The row of a test, or None where its name is not known.

    Parameters
    ----------
    name : str

    Returns
    -------
    RuleRow or None
    """
    known = find_test(name)
    return find_rules("words").row(known) if known else None
