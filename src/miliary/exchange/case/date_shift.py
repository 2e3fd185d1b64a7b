"""Move every date of a case by the same number of days, and take out what would tell the true ones.

The step belongs to the patient, so that intervals within a case and between its exports stay as they are
(what DICOM calls longitudinal temporal information with modified dates, code 113107). Words are not safe:
any text that may hold a date or a year is left out and named.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from miliary.errors import CaseError
from miliary.exchange.case.encode import encode_case
from miliary.model.case import Case, When

_MAX_DAYS = 36_500
_KEY_DAYS = 3650
_OLDEST_YEARS = 90.0
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_YEAR = re.compile(r"(?<!\d)(?:1[89]|20|21)\d{2}(?!\d)|(?<!\d)(?:1[89]|20|21)\d{6}(?!\d)")
_DAY = re.compile(
    r"(?<![\d.])\d{1,2}[/-]\d{1,2}(?:[/-]\d{2,4})?(?!\d)|(?<!\d)\d{1,2}\.\d{1,2}\.(?:\d{2,4})?(?!\d)"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:{_MONTHS})[a-z]*\b|\b(?:{_MONTHS})[a-z]*\.?\s+\d{{1,2}}\b",
    re.IGNORECASE,
)
# Short names with figures in them, as in clone 28-8 or CK5/6; a year is looked for all the same.
_NAMES = frozenset(
    {
        *("target", "clone", "unit", "edition", "ctcae_edition", "station", "gene", "alteration", "partner"),
        *("analyte", "test", "tnm", "group", "category", "criteria", "assay", "material"),
    }
)
_REFERENCES = frozenset({"study", "specimen", "compared_with", "lab", "merged_into"})


def derive_shift_days(case_id: str, key: str) -> int:
    """The step of one patient under a secret key: the same at every export, and not to be told without it.

    Parameters
    ----------
    case_id : str
        The pseudonym.
    key : str
        A secret of the sender; at least 8 characters.

    Returns
    -------
    int
        A whole number of weeks, one to ten years back, so that days of the week stay.

    Raises
    ------
    CaseError
        If the key is too short.
    """
    if len(key) < 8:
        raise CaseError("the key for shifting dates is too short; give at least 8 characters")
    digest = hmac.new(key.encode(), case_id.encode(), hashlib.sha256).digest()
    weeks = 52 + int.from_bytes(digest[:8], "big") % ((_KEY_DAYS - 364) // 7)
    return -7 * weeks


def shift_dates(case: Case, *, days: int) -> tuple[Case, tuple[str, ...]]:
    """A case with every date moved by `days`, and the paths of what was taken out with them.

    Ages over 89 become 90; ids that may hold a date become plain numbers, consistently.

    Raises
    ------
    CaseError
        If the step is 0 or leads out of the calendar.
    """
    if days == 0 or abs(days) > _MAX_DAYS:
        raise CaseError(
            f"dates cannot be shifted by {days} days; give 1 to {_MAX_DAYS}, or a negative number"
        )
    removed: list[str] = []
    renamed = _rename_ids(case)
    shifted = _shift(case, days, "", removed, renamed)
    if _may_hold_date(shifted.id):
        removed.append("id")
        shifted = dataclasses.replace(shifted, id="case")
    age = shifted.patient.age_years
    if age is not None and age >= _OLDEST_YEARS:
        removed.append("patient.age_years")
        patient = dataclasses.replace(shifted.patient, age_years=_OLDEST_YEARS)
        shifted = dataclasses.replace(shifted, patient=patient)
    return shifted, tuple(removed)


def _may_hold_date(text: str, name: str = "") -> bool:
    return bool(_YEAR.search(text) or (name not in _NAMES and _DAY.search(text)))


def _rename_ids(case: Case) -> Mapping[str, str]:
    """New names for ids that may hold a date."""
    found = [name for name in _ids(encode_case(case)) if _may_hold_date(name)]
    return {name: f"item-{number}" for number, name in enumerate(dict.fromkeys(found), start=1)}


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("id"), str):
            yield value["id"]
        for child in value.values():
            yield from _ids(child)
    elif isinstance(value, list):
        for item in value:
            yield from _ids(item)


def _shift(value: Any, days: int, path: str, removed: list[str], renamed: Mapping[str, str]) -> Any:
    if isinstance(value, When):
        return _shift_when(value, days, path, removed)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changed: dict[str, Any] = {}
    for spec in dataclasses.fields(value):
        here = f"{path}.{spec.name}" if path else spec.name
        held = getattr(value, spec.name)
        if isinstance(held, tuple):
            changed[spec.name] = tuple(_shift_items(held, days, here, removed, renamed))
        elif isinstance(held, str) and type(held) is str:
            changed[spec.name] = _clean(held, spec.name, here, removed, renamed)
        elif isinstance(held, Mapping):
            changed[spec.name] = {key: state for key, state in held.items() if not _may_hold_date(str(key))}
        else:
            changed[spec.name] = _shift(held, days, here, removed, renamed)
    return dataclasses.replace(value, **changed)


def _shift_items(
    items: tuple[Any, ...], days: int, path: str, removed: list[str], renamed: Mapping[str, str]
) -> Iterator[Any]:
    for number, item in enumerate(items, start=1):
        here = f"{path}[{getattr(item, 'id', number)}]"
        if type(item) is str:
            text = renamed.get(item, item)
            if text == item and _may_hold_date(item):
                removed.append(here)
            else:
                yield text
        else:
            yield _shift(item, days, here, removed, renamed)


def _clean(text: str, name: str, path: str, removed: list[str], renamed: Mapping[str, str]) -> str:
    """A text as it may leave: ids renamed, words that may hold a date taken out."""
    if (name == "id" or name in _REFERENCES) and text in renamed:
        return renamed[text]
    if path == "id" or not _may_hold_date(text, name):
        return text
    removed.append(path)
    return ""


def _shift_when(when: When, days: int, path: str, removed: list[str]) -> When:
    date = when.date
    if date is not None:
        try:
            date += dt.timedelta(days=days)
        except OverflowError:
            date = None
        if date is None or not 1900 <= date.year <= 2100:
            raise CaseError(f"dates cannot be shifted by {days} days: one would leave 1900 to 2100")
    text = when.text
    if text and (_may_hold_date(text) or date is not None):
        removed.append(f"{path}.text")
        text = ""
    return dataclasses.replace(when, date=date, text=text)
