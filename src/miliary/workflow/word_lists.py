"""Every list of controlled words that a case may be written in, with the other spellings that are taken."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miliary.clinical.record.rule_words import ListedWord


def list_words() -> dict[str, tuple[ListedWord, ...]]:
    """All lists.

    Returns
    -------
    dict of str to tuple of ListedWord
        By the name of the list, as in ``drugs``; the lists in alphabetical order, the words in the order of
        their rule file.
    """
    from miliary.clinical.record.rule_words import list_rule_words

    lists = {**_list_enums(), **list_rule_words()}
    return dict(sorted(lists.items()))


def find_listed_words(
    text: str, lists: Mapping[str, Iterable[ListedWord]]
) -> dict[str, tuple[ListedWord, ...]]:
    """The words that a text names in any list, or those most like it where it names none.

    Parameters
    ----------
    text : str
        Part of a word or of a spelling.
    lists : mapping of str to iterable of ListedWord

    Returns
    -------
    dict of str to tuple of ListedWord
        Only lists with a hit.
    """
    asked = text.casefold().strip()
    found = {
        name: tuple(w for w in words if any(asked in part.casefold() for part in (w.word, *w.spellings)))
        for name, words in lists.items()
    }
    found = {name: words for name, words in found.items() if words}
    if found:
        return found
    near = {
        name: tuple(
            w
            for w in words
            if difflib.get_close_matches(asked, [p.casefold() for p in (w.word, *w.spellings)], 1, 0.75)
        )
        for name, words in lists.items()
    }
    return {name: words for name, words in near.items() if words}


def _list_enums() -> dict[str, tuple[ListedWord, ...]]:
    from miliary.clinical.record.rule_words import ListedWord
    from miliary.exchange.case.record_words import load_record_words
    from miliary.model import vocabulary

    spellings = load_record_words()
    enums: dict[str, type[StrEnum]] = {
        "symptoms": vocabulary.Symptom,
        "history": vocabulary.History,
        "imaging-findings": vocabulary.Finding,
        "modalities": vocabulary.Modality,
        "results": vocabulary.Result,
        "smoking": vocabulary.Smoking,
        "lobes": vocabulary.Lobe,
        "distributions": vocabulary.Distribution,
        "lesion-states": vocabulary.LesionState,
        "structures": vocabulary.Structure,
        "tumor-patterns": vocabulary.TumorPattern,
        "presence": vocabulary.Presence,
    }
    tables = {
        "symptoms": "symptom",
        "imaging-findings": "finding",
        "modalities": "modality",
        "results": "result",
        "lobes": "lobe",
        "distributions": "distribution",
        "lesion-states": "lesion_state",
    }
    lists = {
        name: tuple(
            ListedWord(str(word), spellings.get(tables.get(name, name), {}).get(str(word), ()))
            for word in enum
        )
        for name, enum in enums.items()
    }
    for name, table in (
        *(("stains", "stain"), ("regions", "region"), ("routes", "route"), ("lab-columns", "column")),
        *(("treatment-kinds", "treatment_kind"), ("response-categories", "response_category")),
        *(("drug-actions", "drug_action"), ("lesion-roles", "lesion_role")),
    ):
        lists[name] = tuple(ListedWord(word, names) for word, names in spellings[table].items())
    tables["analytes"] = "analyte"
    analytes = spellings.get(tables["analytes"], {})
    lists["analytes"] = tuple(
        ListedWord(name, analytes.get(name, ())) for name in sorted(vocabulary.ANALYTES)
    )
    units: dict[str, list[str]] = {unit: [] for unit in sorted(vocabulary.UNITS)}
    for spelling, unit in vocabulary.UNIT_SPELLINGS.items():
        units.setdefault(unit, []).append(spelling)
    lists["units"] = tuple(ListedWord(unit, tuple(names)) for unit, names in units.items())
    lists["claims"] = tuple(ListedWord(k, (), meaning) for k, meaning in vocabulary.CLAIM_KINDS.items())
    return lists
