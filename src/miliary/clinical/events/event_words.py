"""Names of adverse events as records order and spell them: "raised ALT", "low platelets", "oedema"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from miliary.clinical.rulebook import RuleBook, RuleRow

_HIGH = """
elevation elevations elevated raised rise rising increase increased increases high higher prolonged
prolongation 上昇 増加 高値 延長
"""
_LOW = "low lower lowered decrease decreased decreases reduced reduction drop fall falling 低下 減少 低値"
_SIDES = dict.fromkeys(_HIGH.split(), "high") | dict.fromkeys(_LOW.split(), "low")
_WORDS = {"high": "increased", "low": "decreased"}
# Words that change nothing of what is meant.
_FILLERS = frozenset(
    ("of", "in", "the", "serum", "blood", "plasma", "level", "levels", "count", "counts", "value")
)
_DENIED = re.compile(
    r"\A(no|not|non|without|denie[sd]|absence of|negative for)\b|\b(absent|ruled out|excluded|denied"
    r"|not (seen|present|observed|found|detected))\Z|(なし|無し|無|認めず|認めない|否定)\Z",
    re.IGNORECASE,
)


def fold_event(words: str) -> str:
    """The words of an event in the form in which they are compared.

    Parameters
    ----------
    words : str

    Returns
    -------
    str
        In lower case and narrow letters, with single spaces for underscores and hyphens, and in one of the
        British and American spellings (compared, never shown).
    """
    plain = re.sub(r"[_\-]", " ", unicodedata.normalize("NFKC", words)).casefold()
    plain = re.sub(r"(?<=[a-z]{4})is(?=(ed|ation)\b)", "iz", plain.replace("ae", "e").replace("oe", "e"))
    plain = plain.replace("leuco", "leuko").replace("tumour", "tumor")
    return " ".join(plain.replace("↑", " increased ").replace("↓", " decreased ").split())


def is_denied(words: str) -> bool:
    """Whether the words say that there was no such event.

    Parameters
    ----------
    words : str
        As in ``no pneumonitis``, ``rash ruled out``.

    Returns
    -------
    bool
    """
    return bool(_DENIED.search(" ".join(words.split())))


def match_term(book: RuleBook, words: str) -> tuple[RuleRow | None, tuple[RuleRow, ...]]:
    """The CTCAE term that the words of a record name.

    Parameters
    ----------
    book : RuleBook
        The rules ``ctcae`` of one edition.
    words : str
        The adverse event as recorded; case, underscores, British spelling and the order of "raised" or "low"
        and the measured quantity do not matter.

    Returns
    -------
    term : RuleRow or None
        None where the words are the name of no term, or say that there was none.
    candidates : tuple of RuleRow
        Terms that imprecise words may mean; empty where a term was found or nothing is known.
    """
    if is_denied(words):
        return None, ()
    wanted = fold_event(words)
    found = [row for row in book.rows("term") if wanted in list_names(row)]
    asked = _split_side(wanted)
    if not found and asked:
        found = [row for row in book.rows("term") if asked in _list_sides(row)]
    if len(found) == 1:
        return found[0], ()
    for loose in book.rows("loose"):
        known = {fold_event(word) for word in loose["words"]}
        if wanted in known or (asked and asked in {_split_side(word) for word in known}):
            return None, tuple(book.row(name) for name in loose["candidates"])
    return None, tuple(found)


def list_names(row: RuleRow) -> frozenset[str]:
    """The names of a term, folded.

    Parameters
    ----------
    row : RuleRow
        Of the table ``term``.

    Returns
    -------
    frozenset of str
    """
    return _fold_names((row["name"], row.id, *row.get("aliases", ())))


@cache
def _fold_names(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(fold_event(name) for name in names)


def _list_sides(row: RuleRow) -> Iterable[tuple[str, str]]:
    """Every quantity of a term with its side: ("high", "alt")."""
    sides = [found for name in list_names(row) if (found := _split_side(name))]
    if "direction" in row.data:
        sides += [
            found
            for analyte in row.get("analytes", ())
            if (found := _split_side(f"{fold_event(analyte)} {_WORDS[row['direction']]}"))
        ]
    return sides


def _split_side(folded: str) -> tuple[str, str] | None:
    """Side and quantity of a name such as ``raised serum alt``; None where it has not exactly one side."""
    spaced = re.sub(r"(上昇|増加|高値|延長|低下|減少|低値)", r" \1 ", folded)
    parts = [part for part in spaced.split() if part not in _FILLERS]
    sides = {_SIDES[part] for part in parts if part in _SIDES}
    rest = sorted(part.removesuffix("s") if len(part) > 4 else part for part in parts if part not in _SIDES)
    return (sides.pop(), " ".join(rest)) if len(sides) == 1 and rest else None
