"""What of a record may tell who the patient is, for an author to look at before it is published."""

from __future__ import annotations

import re
from collections.abc import Iterator

from miliary.model.case import Case, When
from miliary.model.vocabulary import Presence

_OLDEST_SHOWN = 89  # ages above are grouped as 90 and over (HIPAA safe harbor, 45 CFR 164.514(b))
_RARE = ("occupation", "mayor", "teacher", "professor", "athlete", "twin", "only case", "first case in")
_NAME = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z]|さん|様|氏\b|先生")
_PLACE = re.compile(
    r"\b[A-Z][a-z]+ (?:Hospital|University|Clinic|Medical Center|Prefecture|County|City)\b"
    r"|[\u4e00-\u9fff]{2,}(?:病院|大学|医院|クリニック|県|市)"
)
_ID = re.compile(r"\b\d{6,}\b")


def list_identity_risks(case: Case) -> tuple[str, ...]:
    """Parts of a case that may identify the patient.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of str
        One sentence each, with the field; empty where nothing was found, which proves nothing.
    """
    return tuple(dict.fromkeys((*_check_person(case), *_check_dates(case), *_check_texts(case))))


def _check_person(case: Case) -> Iterator[str]:
    age, region = case.patient.age_years, case.patient.region
    if age is not None and age > _OLDEST_SHOWN:
        yield f"patient.age_years: {age:g}; write 90 or over as one group"
    traits = [str(name) for name, state in case.history.items() if state is Presence.PRESENT]
    if len(traits) >= 4 and age is not None and region:
        listed = ", ".join(sorted(traits))
        yield f"history: {listed} together with age {age:g} and {region} may be a rare combination"


def _check_dates(case: Case) -> Iterator[str]:
    sections = ("studies", "specimens", "molecular", "labs", "treatments", "adverse_events", "responses")
    for section in sections:
        for item in getattr(case, section):
            for name in ("when", "start", "stop", "end"):
                when = getattr(item, name, None)
                if isinstance(when, When) and when.date is not None:
                    yield f"{section}: exact dates; write days, or export with shifted dates"


def _check_texts(case: Case) -> Iterator[str]:
    for path, text in _list_texts(case):
        for pattern, what in (
            (_NAME, "a name"),
            (_PLACE, "a place"),
            (_ID, "a number like that of a record"),
        ):
            if pattern.search(text):
                yield f"{path}: may hold {what}"
        if any(word in text.lower() for word in _RARE):
            yield f"{path}: may hold a trait that few people have"


def _list_texts(case: Case) -> Iterator[tuple[str, str]]:
    """Every free text and where it stands."""
    yield from (("id", case.id), ("title", case.title), ("patient.ancestry", case.patient.ancestry))
    for section in (
        "studies",
        "specimens",
        "immunostains",
        "molecular",
        "treatments",
        "adverse_events",
        "claims",
    ):
        for item in getattr(case, section):
            for name in ("note", "change", "place", "histology", "text", "outcome", "dose_text", "site"):
                text = getattr(item, name, "")
                if isinstance(text, str) and text:
                    yield f"{section}[{item.id}].{name}", text
