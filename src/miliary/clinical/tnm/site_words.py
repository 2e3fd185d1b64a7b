"""Words for a place of disease, read into the sites of the vocabulary ``rules/sites``.

What is not in the vocabulary is asked back and taken for no site at all.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.vocabulary import Count, Side

_AND = re.compile(r"\s*(?:,|;|/|&|\+|、|，|・|\band\b|及び|および|と)\s*", re.IGNORECASE)
_LEVEL = re.compile(r"(?:c[1-8]|(?:th|t|d)(?:1[0-2]|[1-9])|l[1-6]|s[1-5])\Z")
# A number that only says which of several: a rib, a vertebra, a segment of the liver.
_NUMBER = re.compile(r"(?:\d+(?:st|nd|rd|th)?|s(?:10|[6-9])|s?[1-9][ab]|i{1,3}|iv[ab]?|vi{0,3}|第\d+)\Z")
# The sign of a station, as in "#7" and "No. 7".
_SIGN = re.compile(r"(?:#|\bno\.?|\bstn\.?|番)\s*(?=\d)", re.IGNORECASE)
_BRACKETS = re.compile(r"\s*[(（\[](.+?)[)）\]]\s*\Z")
_STATION = re.compile(r"(\d{1,2}[ap]?)([rl])?[is]?\Z")
_SIDES = {
    **dict.fromkeys(("left", "lt", "左", "左側"), "left"),
    **dict.fromkeys(("right", "rt", "右", "右側"), "right"),
    **dict.fromkeys(("both", "bilateral", "両", "両側"), "both"),
    **dict.fromkeys(("contralateral", "opposite", "対側", "反対側"), "contralateral"),
    **dict.fromkeys(("ipsilateral", "同側"), "ipsilateral"),
}
_COUNTS = {
    **dict.fromkeys(("multiple", "numerou", "innumerable", "多発", "多発性"), Count.MULTIPLE),
    **dict.fromkeys(("single", "solitary", "単発", "単発性", "孤立性", "孤発"), Count.SINGLE),
}
# Folded words that say no more than that there is disease; they are passed over, unlike "no" or "benign".
_PLAIN = {
    *("metastasi", "metastase", "metastatic", "met", "malignant", "secondary", "secondarie", "lesion"),
    *("nodule", "involvement", "deposit", "the", "of", "to", "in", "a", "tumor", "tumour", "level"),
    *("転移", "転移巣", "病変", "結節", "への"),
}
# Parts of an organ, and words of spread, that leave it the same organ.
_PARTS = {
    *("shaft", "proximal", "distal", "hemisphere", "segment", "tail", "head", "body", "dome", "apex", "tip"),
    *("cortex", "lobe", "joint", "surface", "region", "area", "portion", "upper", "lower", "middle", "mid"),
    *("anterior", "posterior", "lateral", "medial", "superior", "inferior", "diffuse", "disseminated"),
    *(
        "extensive",
        "widespread",
        "miliary",
        "small",
        "large",
        "tiny",
        "new",
        "several",
        "mass",
        "masse",
        "dorsum",
    ),
    *("びまん性", "粟粒"),
}
_JAPANESE = sorted((*_SIDES, *_COUNTS, *_PLAIN, *_PARTS), key=len, reverse=True)
_JAPANESE_PART = re.compile("|".join(word for word in _JAPANESE if not word.isascii()) + r"|第\d+")


@dataclass(frozen=True)
class NamedSite:
    """One site that a text names.

    Attributes
    ----------
    row : RuleRow
        Of the vocabulary; its id is the canonical name of the site.
    text : str
        The part of the text that names it, as written.
    side : str
        left, right, both, contralateral or ipsilateral (to the primary); empty where none is named.
    count : Count or None
        None where the words name no number; both sides of a paired organ are several.
    station : str
        Of a lymph node the station, as in 4R; empty where none is named, and for other sites.
    """

    row: RuleRow
    text: str
    side: str = ""
    count: Count | None = None
    station: str = ""


@dataclass(frozen=True)
class SiteReading:
    """What the words for a place say.

    Attributes
    ----------
    sites : tuple of NamedSite
        Several for a text such as ``liver and bone``.
    unknown : str
        The part that is not in the vocabulary; empty where all of it is.
    nearest : tuple of str
        Words of the whole vocabulary that are nearest to the unknown part.
    """

    sites: tuple[NamedSite, ...] = ()
    unknown: str = ""
    nearest: tuple[str, ...] = ()


def read_site(text: str, *, book: RuleBook | None = None) -> SiteReading:
    """The sites that the words for a place name.

    Parameters
    ----------
    text : str
        As in ``spine``, ``both adrenals``, ``malignant pleural effusion``, in English or Japanese.
    book : RuleBook, optional
        The vocabulary ``sites``; the newest by default.

    Returns
    -------
    SiteReading
        With no site where a part of the text is not in the vocabulary.
    """
    book = book if book is not None else find_rules("sites")
    words = book.derive(_index_words)
    whole = _name_site(text, words)
    if whole is not None:
        return SiteReading((whole,))
    stations = _read_listed_stations(text, words)
    if stations:
        return SiteReading(stations)
    found: list[NamedSite] = []
    for part in _AND.split(text):
        if found and _says_nothing_more(part):
            continue
        site = _name_site(part, words)
        if site is None:
            return SiteReading(unknown=part.strip() or text, nearest=_find_nearest(part, book))
        found.append(site)
    return SiteReading(tuple(found))


def _read_listed_stations(text: str, words: dict[str, RuleRow]) -> tuple[NamedSite, ...]:
    """The stations in brackets after a word for nodes, as in ``mediastinal nodes (4R, 7)``."""
    match = _BRACKETS.search(text)
    outer = _name_site(text[: match.start()], words) if match else None
    if match is None or outer is None or outer.row["category"] != "node":
        return ()
    listed = [_name_site(f"station {part}", words) for part in _AND.split(match[1])]
    return tuple(site for site in listed if site) if all(listed) else ()


def _says_nothing_more(part: str) -> bool:
    """Whether a part of a list only says how many, how large or how spread."""
    tokens = list(_split_words(_fold(part)))
    return all(word in _PLAIN or word in _PARTS or word in _COUNTS or word in _SIDES for word in tokens)


def canonical_site(text: str) -> str:
    """The canonical name of one site, as in ``bone`` for ``spine``.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Empty where the text names no site of the vocabulary, or several.
    """
    found = {site.row.id for site in read_site(text).sites}
    return found.pop() if len(found) == 1 else ""


def _index_words(book: RuleBook) -> dict[str, RuleRow]:
    return {_fold(word): row for row in book.rows("site") for word in _list_words(row)}


def _list_words(row: RuleRow) -> tuple[str, ...]:
    return (row.id, *row["words"], *row["words_ja"])


@lru_cache(maxsize=4096)
def _fold(text: str) -> str:
    """Lower case, one space between words, without a last s, which may be that of a plural."""
    signed = _SIGN.sub(" station ", unicodedata.normalize("NFKC", text).lower())
    plain = re.sub(r"[\s_\-.,()\[\]]+", " ", signed).strip()
    words = (
        word[:-1] if len(word) > 2 and word.endswith("s") and word.isascii() else word
        for word in plain.split()
    )
    return " ".join("lymph node" if word == "ln" else word for word in words)


def _name_site(text: str, words: dict[str, RuleRow]) -> NamedSite | None:
    """The site of a text without a list in it; words of side and number may stand around its name."""
    tokens = list(_split_words(_fold(text)))
    side = next((_SIDES[word] for word in tokens if word in _SIDES), "")
    count = next((_COUNTS[word] for word in tokens if word in _COUNTS), None)
    without_side = [word for word in tokens if word not in _SIDES]
    name = [word for word in without_side if word not in _COUNTS and word not in _PLAIN]
    place = [word for word in name if not _LEVEL.match(word) and not _NUMBER.match(word)]
    sided = [word for word in tokens if word not in _COUNTS and word not in _PLAIN]
    forms = [_fold(text), *map(_join, (tokens, without_side, sided, name, place))]
    row = next((words[form] for form in forms if form in words), None)
    row = row or _name_by_parts(place, words)
    if row is None and not place and any(_LEVEL.match(word) for word in name):
        row = words.get("vertebra")
    station = _find_station(name, words) if row is None else ""
    if station:
        row = words.get("node")
    if row is None:
        return None
    if side == "contralateral" and row["category"] == "lung":
        row = words.get(_fold("contralateral_lung"), row)
    if side == "both":
        row = words.get(_fold("contralateral_lung"), row) if row["category"] == "lung" else row
        count = Count.MULTIPLE if row.get("paired") else count
    return NamedSite(row, text.strip(), side, count, station or row.get("station", ""))


def _name_by_parts(place: list[str], words: dict[str, RuleRow]) -> RuleRow | None:
    """The organ whose part is named, or of which every word left is a name, as in ``skin scalp``."""
    left = [word for word in place if word not in _PARTS]
    rows = [words.get(word) for word in left]
    same = rows[0] if rows and rows[0] is not None and all(row is rows[0] for row in rows) else None
    found = words.get(_join(left)) or same
    # A lobe of the lung is a place of its own; without its side it is not known which.
    is_lobe = found is not None and found["category"] in ("lung", "node") and left != place
    return None if is_lobe and set(place) & {"lobe", "upper", "lower", "middle", "segment"} else found


def _split_words(folded: str) -> Iterator[str]:
    """Words; of Japanese text those of side, number and disease are split off."""
    for word in re.sub(r"(?<=[a-z0-9])(?=[^\x00-\x7f])|(?<=[^\x00-\x7f])(?=[a-z])", " ", folded).split():
        if word.isascii():
            yield word
            continue
        yield from _JAPANESE_PART.findall(word)
        rest = _JAPANESE_PART.sub("", word)
        if rest:
            yield rest


def _join(words: list[str]) -> str:
    return " ".join(words)


def _find_station(name: list[str], words: dict[str, RuleRow]) -> str:
    """A numbered station, as in ``4R lymph node``; a number alone is none."""
    left = [word for word in name if word != "station"]
    codes = [word for word in left if _STATION.match(word)]
    others = [word for word in left if not _STATION.match(word)]
    is_node = _join(others) in words and words[_join(others)].id == "node_unnamed"
    has_letter = bool(codes) and codes[0][-1] in "rl"
    if len(codes) != 1 or not (is_node or (not others and (has_letter or "station" in name))):
        return ""
    return codes[0].upper() if has_letter else codes[0]


def _find_nearest(text: str, book: RuleBook) -> tuple[str, ...]:
    """Three words of the whole list, of three sites, the nearest first."""
    listed = {_fold(word): (word, row.id) for row in book.rows("site") for word in _list_words(row)[1:]}
    by_site: dict[str, str] = {}
    for form in _rank(_fold(text), tuple(listed)):
        word, row_id = listed[form]
        by_site.setdefault(row_id, word)
    return tuple(by_site.values())[:3]


@lru_cache(maxsize=256)
def _rank(folded: str, listed: tuple[str, ...]) -> list[str]:
    return difflib.get_close_matches(folded, listed, n=12, cutoff=0.0)


def side_of(named: NamedSite, home: Side | None) -> Side | None:
    """The side of the body that a named site lies on.

    Parameters
    ----------
    named : NamedSite
    home : Side or None
        Side of the primary.

    Returns
    -------
    Side or None
        None where it is not named, or named against a primary whose side is not known.
    """
    if named.side in ("left", "right"):
        return Side(named.side)
    if home is None or named.side not in ("contralateral", "ipsilateral"):
        return None
    other = Side.LEFT if home is Side.RIGHT else Side.RIGHT
    return home if named.side == "ipsilateral" else other
