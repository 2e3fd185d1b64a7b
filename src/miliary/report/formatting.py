"""Numbers and vocabulary words as the page writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ABBREVIATIONS = (
    *("ace", "afb", "alk", "alp", "alt", "ast", "bal", "ca", "cea", "ck", "crp", "ct", "dna", "ebus"),
    *("ecog", "egfr", "fish", "hcg", "hiv", "igra", "ihc", "ldh", "mri", "nse", "ngs", "pcr", "pet"),
    *("scc", "tb", "tbna", "tblb", "tnf", "tsh"),
)
_SPELLINGS: Mapping[str, str] = {
    **{name: name.upper() for name in _ABBREVIATIONS},
    "progrp": "ProGRP",
    "cyfra 21 1": "CYFRA 21-1",
    "ca 19 9": "CA 19-9",
    "ebus tbna": "EBUS-TBNA",
    "xray": "X-ray",
    "XRAY": "X-ray",
}
# Longer entries first, so that "ca 19 9" is not read as "ca".
_SPELLED = re.compile(r"\b(" + "|".join(sorted(_SPELLINGS, key=len, reverse=True)) + r")\b")


def format_number(value: float, style: str) -> str:
    """Write a number for a reader.

    Parameters
    ----------
    value : float
        Finite; a share (0 to 1) where `style` ends in ``%``.
    style : str
        Format specification as of `format`. With ``%`` at its end the number is written in percent, and
        a share that would round to 0 or 100 % is written as ``< 1 %`` or ``> 99 %``.

    Returns
    -------
    str
    """
    if style.endswith("%"):
        if 0.0 < value < 0.005:
            return "< 1 %"
        if value > 0.995:
            return "> 99 %"
        return format(100.0 * value, style.replace("%", "f")) + " %"
    return format(value, style)


def spell(words: object) -> str:
    """Words of the record's vocabulary, with underscores as spaces and abbreviations in capitals.

    Parameters
    ----------
    words : object
        Usually text; anything else is turned into text first.

    Returns
    -------
    str
        For instance ``CYFRA 21-1`` for ``cyfra_21_1``.
    """
    return _SPELLED.sub(lambda m: _SPELLINGS[m[0]], str(words).replace("_", " "))
