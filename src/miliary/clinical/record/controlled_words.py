"""Controlled words of a record: which list each field is written in, and the words that no list knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from miliary.clinical.drugs.drug_names import normalize_name
from miliary.clinical.genes.drivers import find_symbol
from miliary.clinical.genes.variant_names import read_variants
from miliary.clinical.record.diagnosis_words import fold_words, is_from_chest
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.clinical.tnm.site_words import read_site
from miliary.model.assessment import Input
from miliary.model.case import Case, Specimen, path_of
from miliary.model.vocabulary import ANALYTES, Result

_N_NEAREST = 3
_PROTEIN_CHANGE = re.compile(
    r"[A-Z](\d+)(?:_[A-Z](\d+))?(?:[A-Z*]|FS.*|DEL[A-Z]*|INS[A-Z]+|DUP[A-Z]*|DELINS[A-Z]+)\Z"
)
_CODING_CHANGE = re.compile(r"C\.[-*]?\d+")
# Words that state nothing, and words of which names of procedures are put together.
_NO_WORDS = frozenset(("", "any", "none", "other", "unknown", "unspecified", "not stated", "不明", "その他"))
_PARTS_OF_PROCEDURES = """
bronchoscopic thoracoscopic laparoscopic endoscopic percutaneous surgical ultrasound guided of the from by
with and left right repeat re excisional incisional transthoracic needle core lung lobe upper lower middle
mediastinal
"""
_PROCEDURE_WORDS = frozenset(_PARTS_OF_PROCEDURES.split())
_EXON = re.compile(r"EX\d+")


class UnknownWord(NamedTuple):
    """A word that its list does not hold.

    Attributes
    ----------
    word : str
        As recorded.
    fact : Input
        The field that holds it.
    nearest : tuple of str
        The words of the whole list that are most like it.
    """

    word: str
    fact: Input
    nearest: tuple[str, ...]


def find_nearest(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known words most like an unknown one.

    Parameters
    ----------
    word : str
    known : iterable of str
        The whole list.

    Returns
    -------
    tuple of str
        At most three, the nearest first; there is always one, however far.
    """
    return tuple(difflib.get_close_matches(word.casefold(), list(known), n=_N_NEAREST, cutoff=0.0))


def list_known(name: str) -> tuple[str, ...]:
    """Every spelling of a list of controlled words.

    Parameters
    ----------
    name : str
        ``drug``, ``procedure``, ``material``, ``organ`` or ``lesion_kind``.

    Returns
    -------
    tuple of str
        Folded to lower case.
    """
    index: dict[str, None] = find_rules("vocabulary").derive(_index_lists).get(name, {})
    if name != "drug":
        return tuple(index)
    names: tuple[str, ...] = find_rules("therapy").derive(_list_drug_names)
    return (*index, *names)


def _index_lists(book: RuleBook) -> dict[str, dict[str, None]]:
    lists: dict[str, dict[str, None]] = {}
    for row in book.rows("word"):
        for word in (*row["names"], *row.get("names_ja", ())):
            lists.setdefault(row["list"], {})[_fold(str(row["list"]), word)] = None
    return lists


def _list_drug_names(book: RuleBook) -> tuple[str, ...]:
    """Every name that a table of the therapy rules holds."""
    names: dict[str, None] = {}
    for row in book.all_rows():
        for key in ("drug", "names", "drugs", "partners", "comparator"):
            held = row.get(key, ()) if row.table != "warning" or key == "drug" else ()
            names.update({normalize_name(name): None for name in ([held] if isinstance(held, str) else held)})
    return tuple(names)


def _fold(name: str, word: str) -> str:
    return normalize_name(word) if name == "drug" else fold_words(word)


# --- the fields of a case -------------------------------------------------------------------------------


def list_unknown(case: Case) -> dict[str, tuple[UnknownWord, ...]]:
    """The words of a case that their lists do not hold.

    Parameters
    ----------
    case : Case

    Returns
    -------
    dict of str to tuple of UnknownWord
        By what they were taken for, as in ``drug``; only those of which there are any.
    """
    found = {
        "drug": tuple(_check_drugs(case)),
        "procedure": tuple(_check_list(case, "specimens", "procedure", "procedure")),
        "site": tuple(_check_specimen_sites(case)),
        "material": (
            *_check_list(case, "microbiology", "material", "material"),
            *_check_list(case, "molecular", "material", "material"),
        ),
        "organ": tuple(_check_list(case, "lesions", "organ", "organ")),
        "lesion kind": tuple(_check_list(case, "lesions", "kind", "lesion_kind")),
        "alteration": tuple(_check_alterations(case)),
        "analyte": tuple(_check_analytes(case)),
    }
    return {name: words for name, words in found.items() if words}


def _check_list(case: Case, section: str, field: str, name: str) -> Iterator[UnknownWord]:
    known = list_known(name)
    single = {part for word in known for part in word.split()} | _PROCEDURE_WORDS
    for item in getattr(case, section):
        word = getattr(item, field)
        if fold_words(word) in _NO_WORDS or (name == "procedure" and set(fold_words(word).split()) <= single):
            continue
        parts = [part for part in re.split(r"\s*(?:,|;|\+| and |と|、)\s*", word) if part]
        for part in parts:
            if _fold(name, part) not in known and _fold(name, word) not in known:
                yield UnknownWord(
                    part, Input(path_of(section, item.id, field), word), find_nearest(part, known)
                )


def _check_drugs(case: Case) -> Iterator[UnknownWord]:
    known = set(list_known("drug"))
    for drug in case.treatments:
        if drug.kind != "drug" or not drug.name or normalize_name(drug.name) in known:
            continue
        parts = [part for part in re.split(r"\s*(?:\+|/|,|、|・| and | plus )\s*", drug.name) if part]
        for part in parts if len(parts) > 1 else [drug.name]:
            if normalize_name(part) not in known:
                fact = Input(path_of("treatments", drug.id, "name"), drug.name)
                yield UnknownWord(part, fact, find_nearest(part, known))


def _check_specimen_sites(case: Case) -> Iterator[UnknownWord]:
    organs = list_known("organ")
    for specimen in case.specimens:
        if specimen.site and not _is_known_site(specimen, organs):
            fact = Input(path_of("specimens", specimen.id, "site"), specimen.site)
            nearest = read_site(specimen.site).nearest or find_nearest(specimen.site, organs)
            yield UnknownWord(specimen.site, fact, nearest)


def _is_known_site(specimen: Specimen, organs: Iterable[str]) -> bool:
    words = fold_words(specimen.site)
    return (
        is_from_chest(specimen)
        or not read_site(specimen.site).unknown
        or any(re.search(rf"(?<![a-z]){re.escape(organ)}(?![a-z])", words) for organ in organs)
    )


def _check_alterations(case: Case) -> Iterator[UnknownWord]:
    """Alterations of driver genes that name no variant."""
    book, variants = find_rules("drivers"), find_rules("variants")
    for report in case.molecular:
        for number, gene in enumerate(report.genes):
            symbol = find_symbol(gene.gene, book)
            if gene.result is not Result.POSITIVE or symbol not in {r["symbol"] for r in book.rows("gene")}:
                continue
            known = list_alterations(symbol)
            length = {row["gene"]: row["residues"] for row in variants.rows("protein")}.get(symbol)
            for name in read_variants(gene.alteration, symbol):
                if not _is_alteration(name, known, length):
                    fact = Input(
                        f"{path_of('molecular', report.id)}.genes[{number}].alteration", gene.alteration
                    )
                    yield UnknownWord(name, fact, find_nearest_name(name, known))


def find_nearest_name(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """As `find_nearest`, whatever the case of the letters.

    Parameters
    ----------
    name : str
    known : iterable of str

    Returns
    -------
    tuple of str
    """
    by_fold = {word.casefold(): word for word in known}
    return tuple(by_fold[word] for word in find_nearest(name, by_fold))


def list_alterations(symbol: str) -> tuple[str, ...]:
    """The names of alterations that the rules read of a gene.

    Parameters
    ----------
    symbol : str
        Of the gene, as in the rules ``drivers``.

    Returns
    -------
    tuple of str
    """
    variants, therapy = find_rules("variants"), find_rules("therapy")
    rows: list[RuleRow] = [r for t in ("coding_change", "exon_target") for r in variants.rows(t)]
    names = [str(row["name"]) for row in rows if row["gene"] == symbol]
    names += [row.id for row in variants.rows("alteration")]
    names += [name for row in therapy.rows("option") if row["gene"] == symbol for name in row["alterations"]]
    return tuple(dict.fromkeys([*names, "mutation"]))


def _is_alteration(name: str, known: Iterable[str], length: int | None) -> bool:
    if name.casefold() in {word.casefold() for word in known} or name == "G719X":
        return True
    upper = name.upper()
    change = _PROTEIN_CHANGE.match(upper)
    if change:
        return length is None or all(int(number) <= length for number in change.groups() if number)
    return bool(_CODING_CHANGE.match(upper) or _EXON.match(upper))


def _check_analytes(case: Case) -> Iterator[UnknownWord]:
    for lab in case.labs:
        if lab.analyte and lab.analyte not in ANALYTES:
            fact = Input(path_of("labs", lab.id, "analyte"), lab.analyte)
            yield UnknownWord(lab.analyte, fact, find_nearest(lab.analyte, ANALYTES))
