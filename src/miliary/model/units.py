"""Units of laboratory values, written in UCUM, and their conversion.

An enzyme's U, IU and [IU] are one and the same (micromole per minute). Of anything else U and IU are
arbitrary: they name an assay's own scale and are never converted to mass or substance.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_DEFINITIONS = (
    "gram = [mass] = g",
    "liter = [volume] = L",
    "mole = [substance] = mol",
    "second = [time] = s",
    "katal = [catalysis] = kat",
    "arbitrary = [arbitrary] = arb",
    "international = [international] = intl",
    "hg_millimeter = [pressure] = mmHg",
    "beat = [beat]",
    "spot = [spot]",
    "kilo- = 1e3 = k-",
    "deci- = 1e-1 = d-",
    "milli- = 1e-3 = m-",
    "micro- = 1e-6 = u-",
    "nano- = 1e-9 = n-",
    "pico- = 1e-12 = p-",
    "femto- = 1e-15 = f-",
    "minute = 60 * second = min",
    "hour = 60 * minute = h",
    # One unit of an enzyme turns over one micromole a minute; a katal one mole a second.
    "enzyme_unit = katal / 60e6 = eU",
    "ph_unit = [acidity] = pH",
)
# UCUM spells a few things in ways that other parsers read as something else.
_SPELLINGS = (
    (re.compile(r"\s+"), ""),
    (re.compile("[\u00b5\u03bc]"), "u"),
    (re.compile(r"mm\[Hg\]|mmHg"), "mmHg"),
    (re.compile(r"\[pH\]"), "pH"),
    (re.compile(r"\{[^}]*\}"), ""),
    (re.compile(r"10(\*|\^)(\d+)"), r"1e\2"),
    (re.compile(r"mm3|uL"), "uL"),
    (re.compile(r"\[[iI]U\]|(?<![A-Za-z])([kmun]?)IU"), lambda match: f"{match[1] or ''}intl"),
    (re.compile(r"(?<![A-Za-z])([kmun]?)U(?![A-Za-z])"), r"\1arb"),
    (re.compile(r"(?<=\d|d|m|u|n)l\b"), "L"),
    (re.compile(r"%"), "1e-2"),
    (re.compile(r"^/"), "1/"),
)


@cache
def _registry() -> Any:
    # Imported here: a record whose values are in the units asked for does without it.
    import pint

    registry: Any = pint.UnitRegistry(None)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry


@cache
def _parse(text: str, *, is_enzyme: bool) -> Any:
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    if is_enzyme:
        text = re.sub(r"([kmun]?)(arb|intl)", r"\1eU", text)
    import pint

    try:
        return _registry().parse_expression(text or "1") * _registry().Quantity(1.0)
    except (
        pint.errors.PintError,
        SyntaxError,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,
        KeyError,
    ):
        return None


def convert_value(value: float, unit: str, to: str, *, is_enzyme: bool = False) -> float | None:
    """A value in another unit.

    Parameters
    ----------
    value : float
    unit, to : str
        UCUM, as in U/L, ng/mL, 10*9/L, mmol/L.
    is_enzyme : bool
        The value is an enzyme's activity: U, IU and [IU] are the same, and can be had in katal.

    Returns
    -------
    float or None
        None where one unit cannot be read or the two measure different things.
    """
    if unit == to:
        return value
    source, target = _parse(unit, is_enzyme=is_enzyme), _parse(to, is_enzyme=is_enzyme)
    if source is None or target is None or source.dimensionality != target.dimensionality:
        return None
    return float(value * (source / target).to_base_units().magnitude)
