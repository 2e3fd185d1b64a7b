"""Numbers as laboratories of several countries write them; of two readings none is chosen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

_SPACES = re.compile("[\\s\u00a0\u2009\u202f]+")
_PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\Z")
_COMMA_DECIMAL = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?\Z")
_TWO_READINGS = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}\Z")
_GROUPED = (
    re.compile(r"[-+]?\d{1,3}(?:([ '\u2019])\d{3})(?:\1\d{3})*(?:[.,]\d+)?\Z"),
    re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+\Z|[-+]?\d{1,3}(?:\.\d{3}){2,}\Z"),
    re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\.\d+\Z|[-+]?\d{1,3}(?:,\d{3}){2,}\Z"),
)
_LESS = (
    r"<=?|(?:less than|below|up to|kleiner(?: als)?|unter|bis|até|hasta|jusqu'à|fino a|inf[eé]rieur [aà]|"
    r"menor (?:de|que))\b"
)
_MORE = r">=?|(?:more than|greater than|above|größer(?: als)?|über|sup[eé]rieur [aà]|mayor (?:de|que))\b"
_ABOUT = (
    "[~\u2248\u2243\u223c]|(?:ca|circa|approx|approximately|about|around|etwa|env|environ|約)"
    r"(?:\.|\b|(?=\d))"
)
_BEFORE = ((re.compile(_LESS), "<"), (re.compile(_MORE), ">"), (re.compile(_ABOUT), "\u2248"))
_AFTER = {"未満": "<", "以下": "<", "以上": ">", "超": ">"}
_ALIKE = str.maketrans(
    {"\u2264": "<", "\u2266": "<", "\u2a7d": "<", "\u2265": ">", "\u2267": ">", "\u2a7e": ">"}
)


class Written(NamedTuple):
    """A number as it is written: its digits with a decimal point, or the two readings it may have."""

    digits: str = ""
    readings: tuple[str, ...] = ()


def split_sign(text: str) -> tuple[str, str]:
    """The sign before or after a number, and the number.

    Parameters
    ----------
    text : str
        As in ``< 0,01``, ``≤ 5``, ``~120``, ``5.0以下``.

    Returns
    -------
    (str, str)
        ``<``, ``>``, ``≈`` (about) or empty; then the rest of the text.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_ALIKE).strip()
    for pattern, sign in _BEFORE:
        if found := re.match(pattern, plain.lower()):
            return sign, plain[found.end() :].strip()
    for word, sign in _AFTER.items():
        if plain.endswith(word):
            return sign, plain.removesuffix(word).strip()
    return "", plain


def find_decimal_sign(texts: Iterable[str], *, has_comma_locale: bool) -> str:
    """The decimal sign of a table, from its numbers that can be read in one way only.

    Parameters
    ----------
    texts : iterable of str
        Cells of the table.
    has_comma_locale : bool
        The cells are separated by semicolons, as where a comma is the decimal sign.

    Returns
    -------
    str
        ``,`` or ``.``; empty where nothing tells, or both are used.
    """
    signs = set()
    for text in texts:
        plain = _SPACES.sub(" ", split_sign(text)[1])
        if _TWO_READINGS.match(plain):
            continue
        if _COMMA_DECIMAL.match(plain) or _GROUPED[1].match(plain):
            signs.add(",")
        elif _GROUPED[2].match(plain) or ("." in plain and _PLAIN.match(plain)):
            signs.add(".")
    if not signs and has_comma_locale:
        return ","
    return signs.pop() if len(signs) == 1 else ""


def read_written(text: str, decimal_sign: str) -> Written | None:
    """The number of a text.

    Parameters
    ----------
    text : str
        As in ``12,5``, ``1.234,5``, ``45 000``, ``1.2e3``.
    decimal_sign : str
        That of the table, from `find_decimal_sign`.

    Returns
    -------
    Written or None
        None where it is no number; two readings where the table does not tell which is meant.
    """
    plain = _SPACES.sub(" ", unicodedata.normalize("NFKC", text).replace("\u2212", "-")).strip()
    if _TWO_READINGS.match(plain):
        own = "," if "," in plain else "."
        grouped, decimal = plain.replace(own, ""), plain.replace(",", ".")
        if decimal_sign == own or (own == "." and not decimal_sign):
            return Written(decimal)
        if decimal_sign and own == ",":
            return Written(grouped)  # the table writes its decimals with a point
        return Written(readings=(grouped, decimal))
    digits = ""
    if _PLAIN.match(plain):
        digits = plain
    elif _COMMA_DECIMAL.match(plain):
        digits = plain.replace(",", ".")
    elif _GROUPED[0].match(plain):
        digits = re.sub("[ '’]", "", plain).replace(",", ".")
    elif _GROUPED[1].match(plain):
        digits = plain.replace(".", "").replace(",", ".")
    elif _GROUPED[2].match(plain):
        digits = plain.replace(",", "")
    return Written(digits) if digits else None
