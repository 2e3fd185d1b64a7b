"""Other spellings of the words of a case, read from ``record_words.toml``: ears for what people write.

A word that the lists do not know, or that may mean two things, is asked back with the nearest known words and
never taken for something else.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from miliary.model.case import Case
from miliary.model.vocabulary import UNIT_SPELLINGS, UNITS

_BETWEEN = re.compile(r"(?<=\w)[\s_\-\u2010-\u2015\u2212/]+(?=\w)")
_N_NEAREST = 3
_LIKE = 0.6  # words less alike than this are no help


@cache
def load_record_words() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Every list of the file.

    Returns
    -------
    mapping of str to mapping of str to tuple of str
        By the name of the list, as in ``symptom``; then the other spellings by the word of the case.
    """
    text = resources.files("miliary.exchange.case").joinpath("record_words.toml").read_text("utf-8")
    return {
        name: {word: tuple(spellings) for word, spellings in table.items()}
        for name, table in tomllib.loads(text).items()
    }


def fold_word(text: str) -> str:
    """A word in the form in which spellings are compared.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Full-width signs narrowed, in lower case, without outer spaces; spaces, hyphens, underscores and
        slashes between letters as one space.
    """
    return _BETWEEN.sub(" ", unicodedata.normalize("NFKC", text).casefold().strip())


@cache
def _index(name: str) -> dict[str, str]:
    known: dict[str, str] = {}
    for word, spellings in load_record_words().get(name, {}).items():
        known.update({fold_word(spelling): word for spelling in (*spellings, word)})
    return known


def find_word(name: str, text: str) -> str | None:
    """The word of the case that a spelling stands for.

    Parameters
    ----------
    name : str
        Name of the list.
    text : str

    Returns
    -------
    str or None
        None where the list does not know the spelling.
    """
    return _index(name).get(fold_word(text))


def is_narrower(word: str, text: str) -> bool:
    """Whether a spelling is one kind of what its word stands for: asthma of respiratory disease.

    Parameters
    ----------
    word : str
        The word of the case.
    text : str
        As recorded.

    Returns
    -------
    bool
        True where its absence says nothing of the word.
    """
    return fold_word(text) in {fold_word(kind) for kind in load_record_words()["narrower"].get(word, ())}


def find_analyte_word(text: str, known: Iterable[str]) -> str:
    """The analyte that a name stands for.

    Parameters
    ----------
    text : str
        As in ``ALT (GPT)``, ``血小板``, ``Hb``; a trailing unit in brackets is left out.
    known : iterable of str
        The analytes of a case.

    Returns
    -------
    str
        In lower_snake; a name that no list knows is folded to lower_snake too, so that it is kept.
    """
    for name in (text, re.sub(r"\s*[(\[（].*?[)\]）]\s*\Z", "", text)):
        folded = fold_word(name)
        plain = re.sub(r"\W+", "_", folded).strip("_")
        inner = re.fullmatch(r"(.+?)\s*\((.+)\)", folded)
        found = _index("analyte").get(folded) or (plain if plain in set(known) else None)
        if found is None and inner:  # two names of one analyte, as in "AST(GOT)"
            both = {_index("analyte").get(part) for part in inner.groups()}
            found = both.pop() if len(both) == 1 else None
        if found:
            return found
    return re.sub(r"\W+", "_", fold_word(text)).strip("_")


def list_meanings(name: str) -> tuple[str, ...]:
    """The analytes that an ambiguous name may stand for.

    Parameters
    ----------
    name : str

    Returns
    -------
    tuple of str
        Empty where the name is not ambiguous.
    """
    return load_record_words()["ambiguous"].get(fold_word(name), ())


def find_field(text: str, known: Iterable[str]) -> str:
    """The field that a name was meant for, by the list of names that people give fields.

    Parameters
    ----------
    text : str
    known : iterable of str
        The fields there are.

    Returns
    -------
    str
        Empty where the list names none of them.
    """
    folded, fields = fold_word(text), set(known)
    table = load_record_words()["field"]
    named = (field for field, names in table.items() if folded in {fold_word(name) for name in names})
    return next((field for field in named if field in fields), "")


def find_place(text: str) -> str:
    """Where in a case something is written that people give a section of its own.

    Parameters
    ----------
    text : str
        As in ``pregnancy``, ``stage``.

    Returns
    -------
    str
        As in ``history``, ``staging.asserted``; empty where it is not known.
    """
    table = load_record_words()["elsewhere"]
    return next((p for p, names in table.items() if fold_word(text) in {fold_word(n) for n in names}), "")


def find_nearest_words(name: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The words of a whole list that are most like one it does not hold.

    Parameters
    ----------
    name : str
        Name of the list of spellings; an unknown name has none.
    text : str
    known : iterable of str
        The words of the case.

    Returns
    -------
    tuple of str
        At most three words of the case, the nearest first.
    """
    spellings = {fold_word(word): word for word in known} | _index(name)
    folded = fold_word(text)
    close = difflib.get_close_matches(folded, spellings, n=4 * _N_NEAREST, cutoff=_LIKE)
    within = [word for word in spellings if len(folded) > 3 and folded in word]
    return tuple(dict.fromkeys(spellings[word] for word in (*close, *within)))[:_N_NEAREST]


@cache
def _units_by_fold() -> dict[str, str]:
    """Unit by its spelling in lower case without spaces; a spelling of two units is left out."""
    found: dict[str, set[str]] = {}
    for spelling, unit in (*((unit, unit) for unit in UNITS), *UNIT_SPELLINGS.items()):
        found.setdefault(_fold_unit(spelling), set()).add(unit)
    return {spelling: min(units) for spelling, units in found.items() if len(units) == 1}


_POWERS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789")
_COUNT = re.compile(r"(?:x|\*)?10(?:\*{1,2}|e)?(\d{1,2})/(l|л|dl|ml|ul|mm3|cmm|cumm|nl|mcl)\Z")
_PER_LITER = {"l": 0, "л": 0, "dl": 1, "ml": 3, "ul": 6, "mm3": 6, "cmm": 6, "cumm": 6, "mcl": 6, "nl": 9}
_COUNTS_PER_LITER = {
    6: "/uL",
    7: "10*7/L",
    8: "10*2/uL",
    9: "10*9/L",
    10: "10*4/uL",
    11: "10*5/uL",
    12: "10*12/L",
}


def _read_count_unit(unit: str) -> str:
    """A power of ten in a volume, as in ``10*2/μL`` or ``×10⁹/l``; empty where it is none."""
    plain = re.sub(
        "10([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)", lambda m: f"10*{m[1].translate(_POWERS)}", unit
    )
    found = _COUNT.match(re.sub(r"cells|cellules", "", _fold_unit(plain.replace("\u00b3", "3"))))
    if not found:
        return ""
    power, volume = int(found[1]), found[2]
    if _PER_LITER[volume] == 6 and power in (3, 6):
        return f"10*{power}/uL"
    return _COUNTS_PER_LITER.get(power + _PER_LITER[volume], "")


def _fold_unit(unit: str) -> str:
    plain = unicodedata.normalize("NFKC", unit).replace("\u03bc", "u").replace("\u00b5", "u")
    plain = plain.replace("\u00d7", "x").replace("^", "*").lower()
    return re.sub(r"\s+", "", re.sub(r"^[x*\u00b7]\s*(?=10)", "", plain.strip()))


_CELLS = frozenset(
    {"white_cells", "platelets", "reticulocytes", "cd4"}
    | {"neutrophils", "lymphocytes", "monocytes", "eosinophils"}
)


def find_unit(unit: str, analyte: str = "") -> str:
    """A unit as UCUM writes it.

    Parameters
    ----------
    unit : str
        In any usual spelling, as in ``U/l``, ``mIU/ml``, ``x10^4/μL``, ``/mm3``.
    analyte : str
        What it is the unit of: ``G/l`` is giga per liter of cells, and grams per liter of anything else.

    Returns
    -------
    str
        The unit itself where no list knows it, or its spelling stands for two units.
    """
    if analyte and _fold_unit(unit) == "g/l":
        return "10*9/L" if analyte in _CELLS else "g/L"
    if unit in UNITS:
        return unit
    known = UNIT_SPELLINGS.get(unit) or _units_by_fold().get(_fold_unit(unit))
    return known or _read_count_unit(unit) or unit


# Fields of words that have a list of their own, by section and field.
LISTED_FIELDS: Mapping[tuple[str, str], str] = {
    ("treatments", "kind"): "treatment_kind",
    ("treatments", "route"): "route",
    ("treatments", "region"): "region",
    ("molecular", "region"): "region",
    ("lesions", "role"): "lesion_role",
    ("responses", "category"): "response_category",
    ("adverse_events", "drug_action"): "drug_action",
    ("adverse_events", "symptom_severity"): "symptom_severity",
}


def spell_words(case: Case) -> Case:
    """A case with the words of its listed fields in one spelling; a word of no list stays as it is.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Case
    """
    changes: dict[str, Any] = {}
    for (section, field), name in LISTED_FIELDS.items():
        items = changes.get(section, getattr(case, section))
        changes[section] = tuple(
            replace(item, **{field: find_word(name, getattr(item, field)) or getattr(item, field)})
            for item in items
        )
    patient = replace(case.patient, region=find_word("region", case.patient.region) or case.patient.region)
    nodes = tuple(replace(n, proof=find_word("proof", n.proof) or n.proof) for n in case.staging.nodes)
    follow_up = case.follow_up
    if follow_up is not None:
        status = find_word("follow_up_status", follow_up.status) or follow_up.status
        follow_up = replace(follow_up, status=status)
    staging = replace(case.staging, nodes=nodes)
    return replace(case, patient=patient, staging=staging, follow_up=follow_up, **changes)
