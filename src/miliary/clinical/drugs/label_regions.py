"""Which country's drug label applies."""

from __future__ import annotations

from miliary.clinical.rulebook import RuleBook


def find_label_region(region: str, book: RuleBook) -> str:
    """The region whose drug label applies in a country.

    Parameters
    ----------
    region : str
        Two-letter country code.
    book : RuleBook
        The rules ``therapy``.

    Returns
    -------
    str
        US, EU or JP; empty where the rules hold no label for the country.
    """
    row = book.row("label_regions")
    return next((name for name in ("US", "EU", "JP") if region.upper() in row[name]), "")
