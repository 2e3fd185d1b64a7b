"""Categories of one axis of lung TNM: what is stated, what is left open, and on what it rests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from miliary.clinical.rulebook import RuleBook
from miliary.model.assessment import Input

T_ORDER = ("T0", "Tis", "T1mi", "T1a", "T1b", "T1c", "T2a", "T2b", "T3", "T4")


@dataclass(frozen=True)
class TnmCategory:
    """What the findings say of one axis of the classification.

    Attributes
    ----------
    axis : str
        T, N, M or group.
    stated : tuple of str
        Categories that the stated findings allow, ascending; empty where nothing was stated that gives one.
    values : tuple of str
        Categories that nothing excludes, ascending.
    because, unknown : tuple of str
        What the category rests on and what is not stated, in words.
    rows : tuple of str
        Ids of the rules used.
    inputs : tuple of Input
        The facts used.
    """

    axis: str
    stated: tuple[str, ...]
    values: tuple[str, ...]
    because: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()

    @property
    def label(self) -> str | None:
        """The category in short: one, or the parent that all stated ones share."""
        if not self.stated:
            return None
        if len(self.stated) == 1:
            return self.stated[0]
        if set(self.stated) >= {"N2a", "N2b"} and self.stated[0] == "N2a":
            return "N2 (a/b not assignable)"
        if self.axis == "N":
            return self.stated[0]
        shared = _shared_start(self.stated)
        return shared if shared in ("T1", "T2", "M1", "M1c") else None


def _shared_start(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def categories(axis: str, book: RuleBook) -> tuple[str, ...]:
    """Every category of one axis in an edition.

    Parameters
    ----------
    axis : str
        T, N or M.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of str
        Ascending.
    """
    if axis == "T":
        return ("TX", *T_ORDER)
    if axis == "N":
        # Editions that split N2 have its parts in a table.
        split = tuple(row["category"] for row in book.rows("n2_split")) or ("N2",)
        return ("N0", "N1", *split, "N3")
    return ("M0", *(row["m"] for row in book.rows("m_groups")))


def sort_categories(found: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    """Categories in ascending order.

    Parameters
    ----------
    found : iterable of str
    order : sequence of str
        Every category of the axis, ascending.

    Returns
    -------
    tuple of str
    """
    return tuple(sorted(found, key=order.index))
