"""Every list of controlled words that a case may be written in, with the other spellings that are taken."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from miliary.clinical.rulebook import RuleRow


class ListedWord(NamedTuple):
    """One word of a list.

    Attributes
    ----------
    word : str
        As the case holds it, or as rules name it.
    spellings : tuple of str
        What else is taken for it, in English and Japanese.
    note : str
        What it counts as, where that is more than the word says; empty otherwise.
    """

    word: str
    spellings: tuple[str, ...] = ()
    note: str = ""


def list_words() -> dict[str, tuple[ListedWord, ...]]:
    """All lists.

    Returns
    -------
    dict of str to tuple of ListedWord
        By the name of the list, as in ``drugs``; the lists in alphabetical order, the words in the order of
        their rule file.
    """
    lists = {**_list_enums(), **_list_rule_words(), **_list_genes()}
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
    analytes = spellings["analyte"]
    lists["analytes"] = tuple(
        ListedWord(name, analytes.get(name, ())) for name in sorted(vocabulary.ANALYTES)
    )
    units: dict[str, list[str]] = {unit: [] for unit in sorted(vocabulary.UNITS)}
    for spelling, unit in vocabulary.UNIT_SPELLINGS.items():
        units.setdefault(unit, []).append(spelling)
    lists["units"] = tuple(ListedWord(unit, tuple(names)) for unit, names in units.items())
    lists["claims"] = tuple(ListedWord(k, (), meaning) for k, meaning in vocabulary.CLAIM_KINDS.items())
    return lists


def _list_rule_words() -> dict[str, tuple[ListedWord, ...]]:
    from miliary.clinical.rulebook import find_rules

    sites = find_rules("sites").rows("site")
    words = find_rules("words")
    lists = {
        "sites": tuple(_read_site_row(row) for row in sites if row["category"] != "node"),
        "nodes": tuple(_read_site_row(row) for row in sites if row["category"] == "node"),
        "diagnoses": tuple(_read_row(row, note=str(row["kind"])) for row in words.rows("entity")),
        "microbiology": tuple(
            _read_row(
                row, note=f"cannot separate {row['cannot_separate']}" if row.get("cannot_separate") else ""
            )
            for row in words.rows("test")
        ),
        "adverse-events": tuple(
            ListedWord(row.id, (row["name"], *row.get("aliases", ())))
            for row in find_rules("ctcae").rows("term")
        ),
    }
    held: dict[str, list[ListedWord]] = {
        "drugs": [
            ListedWord(str(row["drug"]), tuple(n for n in row["names"] if n != row["drug"]), "for a driver")
            for row in find_rules("therapy").rows("name")
        ]
    }
    names = {"drug": "drugs", "procedure": "procedures", "material": "materials", "organ": "organs"}
    for row in find_rules("vocabulary").rows("word"):
        spellings: tuple[str, ...] = (*row["names"], *row.get("names_ja", ()))
        word = ListedWord(spellings[0], spellings[1:])
        held.setdefault(names.get(row["list"], "lesion-kinds"), []).append(word)
    return {**lists, **{name: tuple(items) for name, items in held.items()}}


def _read_row(row: RuleRow, *, note: str = "") -> ListedWord:
    return ListedWord(row.id, (*row["names"], *row.get("names_ja", ())), note.replace("_", " "))


def _read_site_row(row: RuleRow) -> ListedWord:
    means = row.get("system") or row.get("station") or row.get("lobe") or ""
    note = f"{row['category']}{f' ({means})' if means else ''}"
    return ListedWord(row.id, (*row["words"], *row["words_ja"]), note)


def _list_genes() -> dict[str, tuple[ListedWord, ...]]:
    from miliary.clinical.record.controlled_words import list_alterations
    from miliary.clinical.rulebook import find_rules
    from miliary.model.vocabulary import GENE_ALIASES, GENES

    aliases: dict[str, list[str]] = {}
    for alias, gene in GENE_ALIASES.items():
        aliases.setdefault(gene, []).append(alias)
    symbols = [str(row["symbol"]) for row in find_rules("drivers").rows("gene")]
    return {
        "genes": tuple(ListedWord(gene, tuple(aliases.get(gene, ()))) for gene in sorted(GENES)),
        "variants": tuple(
            ListedWord(symbol, list_alterations(symbol), "and any HGVS name of a protein or coding change")
            for symbol in symbols
        ),
    }
