"""The words that rule files hold, as lists for a reader: sites, diagnoses, tests, events, drugs, genes."""

from __future__ import annotations

from typing import NamedTuple

from miliary.clinical.record.controlled_words import list_alterations
from miliary.clinical.rulebook import RuleRow, find_rules
from miliary.model.vocabulary import GENE_ALIASES, GENES


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


def list_rule_words() -> dict[str, tuple[ListedWord, ...]]:
    """Every list of words of the rule files.

    Returns
    -------
    dict of str to tuple of ListedWord
        By the name of the list.
    """
    return {**_list_rows(), **_list_genes()}


def _list_rows() -> dict[str, tuple[ListedWord, ...]]:
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
