"""Reading saved JSON that may be older, partial or damaged: what is not as expected is not there."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def find(content: object, path: str) -> Any:
    """What stands at a dotted path, None where nothing does."""
    for name in path.split("."):
        if not isinstance(content, Mapping):
            return None
        content = content.get(name)
    return content


def number(content: object, path: str) -> float | None:
    """A finite number at a dotted path."""
    return as_number(find(content, path))


def as_number(value: object) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def write_number(value: float, style: str) -> str:
    """A number as the page writes it; a share never rounds to a certainty it is not."""
    if style.endswith("%"):
        if 0.0 < value < 0.005:
            return "< 1 %"
        if value > 0.995:
            return "> 99 %"
        return format(100.0 * value, style.replace("%", "f")) + " %"
    return format(value, style)


_SPELLINGS: Mapping[str, str] = {
    **{
        name: name.upper()
        for name in (
            *("ace", "afb", "alk", "alp", "alt", "ast", "bal", "ca", "cea", "ck", "crp", "ct", "dna", "ebus"),
            *("ecog", "egfr", "fish", "hcg", "hiv", "igra", "ihc", "ldh", "mri", "nse", "ngs", "pcr", "pet"),
            *("scc", "tb", "tbna", "tblb", "tnf", "tsh"),
        )
    },
    "progrp": "ProGRP",
    "cyfra 21 1": "CYFRA 21-1",
    "ca 19 9": "CA 19-9",
    "ebus tbna": "EBUS-TBNA",
    "xray": "X-ray",
    "XRAY": "X-ray",
}
_SPELLED = re.compile(r"\b(" + "|".join(sorted(_SPELLINGS, key=len, reverse=True)) + r")\b")


def spell(said: object) -> str:
    """Words of the record's vocabulary with their abbreviations as a clinician writes them."""
    return _SPELLED.sub(lambda m: _SPELLINGS[m[0]], str(said).replace("_", " "))


def text(content: object, path: str) -> str:
    """Text at a dotted path, empty where there is none."""
    value = find(content, path)
    return value if isinstance(value, str) else ""


def items(content: object, path: str) -> list[JsonObject]:
    """The objects of a list at a dotted path; whatever else is in it is left out."""
    value = find(content, path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def numbers(content: object, path: str) -> list[float]:
    """A list of finite numbers; empty if one of them is not."""
    value = find(content, path)
    found = [as_number(item) for item in value] if isinstance(value, list) else []
    known = [item for item in found if item is not None]
    return known if len(known) == len(found) else []


def words(content: object, path: str) -> list[str]:
    """The texts of a list at a dotted path."""
    value = find(content, path)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def pair(content: object, path: str) -> tuple[float, float] | None:
    """Two numbers, as of an interval."""
    found = numbers(content, path)
    return (found[0], found[1]) if len(found) == 2 else None
