"""The T category that a size gives: of the whole tumor, or of the solid part of a part-solid one."""

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


def solid_part_rows(solid_mm: float, size_mm: float | None, *, book: RuleBook) -> tuple[RuleRow, ...]:
    """The rows of the clinical T categories that a subsolid tumor may have by its sizes.

    Pure ground glass up to 30 mm is cTis, a solid part up to 5 mm in a tumor up to 30 mm cT1mi; otherwise the
    solid part is measured, and without one, or with a small one in a larger tumor, it is T1a.

    Parameters
    ----------
    solid_mm : float
        Largest diameter of the solid part [mm]; 0 for pure ground glass.
    size_mm : float or None
        Largest diameter of the whole tumor [mm]; None where it is not stated.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of RuleRow
        Several where the size of the whole tumor would decide and is not stated, or is smaller than its
        solid part.
    """
    by_solid = size_row(solid_mm, book=book)
    if size_mm is not None and solid_mm > size_mm:
        return (by_solid, size_row(size_mm, book=book))
    found = next((row for row in book.rows("subsolid") if solid_mm <= row["max_solid_mm"]), None)
    if found is None or (size_mm is not None and size_mm > found["max_size_mm"]):
        return (by_solid,)
    return (found,) if size_mm is not None else (found, by_solid)
