"""The T category that a size alone gives."""

from __future__ import annotations

from miliary.clinical.rulebook import RuleBook, RuleRow


def size_row(size_mm: float, *, book: RuleBook) -> RuleRow:
    """The row whose band holds this size: lower edge excluded, upper included."""
    for row in book.rows("sizes"):
        if size_mm <= row.get("high", float("inf")):
            return row
    raise AssertionError("the last band is open")
