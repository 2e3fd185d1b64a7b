"""Drugs by any of their names: generic, salt, brand, code, and the Japanese spellings of these."""

from __future__ import annotations

import re

from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.model.case import Treatment


def find_drug(treatment: Treatment, book: RuleBook | None = None) -> str:
    """The generic name of a treatment's drug.

    Parameters
    ----------
    treatment : Treatment
    book : RuleBook, optional
        The rules ``therapy``; the newest packaged edition by default.

    Returns
    -------
    str
        In lower case, as the rule file writes it; the recorded name itself where no row holds it.
    """
    asked = normalize_name(treatment.name)
    names = (book or find_rules("therapy")).derive(_index_names)
    return names.get(asked) or find_rules("vocabulary").derive(_index_other_drugs).get(asked, asked)


def _index_other_drugs(book: RuleBook) -> dict[str, str]:
    """The first name of a drug that is for no driver, by its every name."""
    rows = [row for row in book.rows("word") if row["list"] == "drug"]
    return {
        normalize_name(name): normalize_name(row["names"][0])
        for row in reversed(rows)
        for name in (*row["names"], *row.get("names_ja", ()))
    }


def _index_names(book: RuleBook) -> dict[str, str]:
    """Generic name by every name; of two rows with one name the first counts."""
    rows = reversed(book.rows("name"))
    return {name: str(row["drug"]) for row in rows for name in row["names"]}


def normalize_name(name: str) -> str:
    """A recorded name in lower case, with single spaces, without the marks of a brand.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return " ".join(re.sub("[\u2122\u00ae]", "", name).replace("\u2019", "'").lower().split())


def describe_drug(treatment: Treatment) -> str:
    """The name of a drug as recorded, followed by its generic name where that is another.

    Parameters
    ----------
    treatment : Treatment

    Returns
    -------
    str
    """
    drug = find_drug(treatment)
    return treatment.name if normalize_name(treatment.name) == drug else f"{treatment.name} ({drug})"
