"""The T category that a size alone gives."""

from __future__ import annotations

from miliary.clinical.rulebook import RuleBook, RuleRow


def size_row(size_mm: float, *, book: RuleBook) -> RuleRow:
    """The row of the T category that a size alone gives.

    Parameters
    ----------
    size_mm : float
        Largest diameter [mm]; of a band of sizes the lower edge is excluded, the upper included.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    RuleRow
    """
    for row in book.rows("sizes"):
        if size_mm <= row.get("high", float("inf")):
            return row
    raise AssertionError("the last band is open")
