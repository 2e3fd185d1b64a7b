"""A stage in the usual spellings, taken apart: prefixes and additions per category, group, edition."""

from __future__ import annotations

import re
from dataclasses import dataclass

from miliary.clinical.rulebook import list_editions
from miliary.model.case import AssertedStage

_PREFIX = r"[ymra]{0,2}[cp]?"
_BODIES = {"T": r"T(?:X|is|\d(?:mi|[a-z])?\d?)", "N": r"N(?:X|\d[a-d]?\d?)", "M": r"M(?:X|\d[a-d]?\d?)"}
_AXES = (
    rf"(?P<prefix_{axis}>{_PREFIX})(?P<{axis}>{body})(?P<addition_{axis}>(?:\s*\([^()]*\))*)[\s,;/]*"
    for axis, body in _BODIES.items()
)
# What pathologists write after T, N and M: lymphatic, venous, perineural, pleural invasion, resection, grade.
_FURTHER = r"(?:(?:L|V|Pn|PL|R|G|C)\s?[0-3X][\s,;/]*)*"
_TNM = re.compile("{}{}(?:{})?{}\\Z".format(*_AXES, _FURTHER), re.IGNORECASE)
_ADDITIONS = {
    "T": re.compile(r"m|s|\d{1,2}|m,?\d{1,2}|mi|is|ss|ais|scis", re.IGNORECASE),
    "N": re.compile(r"sn|mi|[a-d]|i[+-]|mol[+-]|f|\d+/\d+|sn,?i[+-]|i[+-],?sn", re.IGNORECASE),
    "M": re.compile(r"i[+-]|mol[+-]|cy[+-]|[a-d]\d?", re.IGNORECASE),
}
_EDITION = re.compile(
    r"(?:(?:UICC|AJCC|IASLC|TNM|version|v\.?|第)\s*(?P<after>\d{1,2})(?:st|nd|rd|th)?(?:\s*ed(?:ition|n|\.)?)?版?"
    r"|(?P<before>\d{1,2})\s*(?:st|nd|rd|th)?\s*(?:ed\b(?:ition|n|\.)?|edition|版)"
    r"|(?P<nth>\d{1,2})(?:st|nd|rd|th)\b"
    r"|(?P<word>sixth|seventh|eighth|ninth)(?:\s*ed(?:ition|n|\.)?)?)",
    re.IGNORECASE,
)
_NTH = {"sixth": "6", "seventh": "7", "eighth": "8", "ninth": "9"}
_BODY_NAMES = re.compile(r"\b(?:UICC|AJCC|IASLC|TNM|edition|ed)\b\.?", re.IGNORECASE)
_STAGE = re.compile(
    r"(?:\b(?:clinical|pathologic(?:al)?)\s+)?\b(?:stage|group)\b|病期|ステージ|期", re.IGNORECASE
)
_STAGE_ZERO = re.compile(r"\b(?:stage|group)\s+(?:0|occult)\b", re.IGNORECASE)
_ROMAN_GROUP = re.compile(r"(?<![A-Za-z0-9])(?:IV|I{1,3})(?:[ABC]\d?)?(?![A-Za-z0-9+-])", re.IGNORECASE)
_GROUP = re.compile(r"(?<![A-Za-z0-9])(?:occult|0|(?:IV|I{1,3})(?:[ABC]\d?)?)(?![A-Za-z0-9])", re.IGNORECASE)

_ROMANS = ("I", "II", "III", "IV")
_ARABIC = re.compile(r"(?:(?<=^)|(?<=stage\s))([1-4])\s?([abc]\d?)?(?![\w.])", re.IGNORECASE)
_APART = re.compile(r"\b(IV|I{1,3})\s+([ABC]\d?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class WrittenStage:
    """The parts of a stage as somebody wrote it.

    Attributes
    ----------
    prefix : str
        The first one, as in c, p, yp; empty where there is none.
    t, n, m : str
        The categories; empty where one is not given.
    prefixes : tuple of str
        Of T, N and M; a category without a prefix of its own has that of the one before.
    additions : tuple of str
        What stands in parentheses after T, N and M, as in m or sn; empty where nothing does.
    """

    prefix: str
    t: str
    n: str
    m: str
    prefixes: tuple[str, str, str] = ("", "", "")
    additions: tuple[str, str, str] = ("", "", "")

    def axis(self, name: str) -> str:
        """The word of one axis."""
        return {"T": self.t, "N": self.n, "M": self.m}[name]

    def prefix_of(self, name: str) -> str:
        """The prefix of one axis."""
        return self.prefixes["TNM".index(name)]


def parse_tnm(text: str) -> WrittenStage | None:
    """Take a written stage such as ``cT4aN2M1c`` or ``pT1c(m) pN0(sn) cM0`` apart.

    Parameters
    ----------
    text : str
        Words for the edition and a stage group may stand around it.

    Returns
    -------
    WrittenStage or None
        None if the text is not of that form, or has an addition in parentheses that is not known.
    """
    match = _TNM.match(_without_words(text))
    if match is None:
        return None
    words = [_normalize_case(match[axis] or "") for axis in "TNM"]
    prefixes = [(match[f"prefix_{axis}"] or "").lower() for axis in "TNM"]
    additions = []
    for number, axis in enumerate("TNM"):
        found = re.findall(r"\(([^()]*)\)", match[f"addition_{axis}"] or "")
        found = [re.sub(r"\s", "", addition).lower() for addition in found]
        if not all(_ADDITIONS[axis].fullmatch(addition) for addition in found):
            return None
        words[number], found = _join_letter(axis, words[number], found)
        additions.append(", ".join(found))
    _split_compact(words, prefixes)
    inherited = [prefixes[0], prefixes[1] or prefixes[0]]
    inherited.append(prefixes[2] or inherited[1])
    return WrittenStage(
        prefixes[0],
        t=words[0],
        n=words[1],
        m=words[2],
        prefixes=(inherited[0], inherited[1], inherited[2]),
        additions=(additions[0], additions[1], additions[2]),
    )


def _without_words(text: str) -> str:
    """The text without edition, stage group and names of the organizations."""
    plain = _STAGE.sub(" ", _STAGE_ZERO.sub(" ", _BODY_NAMES.sub(" ", _EDITION.sub(" ", text))))
    plain = _ROMAN_GROUP.sub(" ", plain)
    plain = re.sub(r"\(\s*\)", " ", plain)
    return plain.strip(" ,;:/=-")


def _normalize_case(word: str) -> str:
    """``t4A`` as ``T4a``."""
    return word[:1].upper() + ("X" if word[1:].lower() == "x" else word[1:].lower())


def _join_letter(axis: str, word: str, found: list[str]) -> tuple[str, list[str]]:
    """``N2(a)`` as ``N2a``, ``T1a(mi)`` as ``T1mi``; other additions stay apart."""
    if axis == "T" and "mi" in found and word in ("T1", "T1a"):
        return "T1mi", [addition for addition in found if addition != "mi"]
    letters = [addition for addition in found if re.fullmatch(r"[a-d]\d?", addition)]
    if letters and axis != "T" and word[-1].isdigit():
        return word + letters[0], [addition for addition in found if addition not in letters]
    return word, found


def _split_compact(words: list[str], prefixes: list[str]) -> None:
    """In ``pT2pN0cM0`` as in ``pT3cN1``: a c that no category has is the prefix of what follows."""
    for number, never in ((0, r"T[02-4]c"), (1, r"N[0-3]c")):
        is_last = not words[number + 1]
        if prefixes[0] and not is_last and not prefixes[number + 1] and re.fullmatch(never, words[number]):
            if number == 0 and prefixes[0][-1] == "c":
                continue
            words[number], prefixes[number + 1] = words[number][:-1], "c"


def edition_of(stage: AssertedStage) -> str | None:
    """The TNM edition that a written stage names.

    Parameters
    ----------
    stage : AssertedStage

    Returns
    -------
    str or None
        Its number; None where none is named, or one that the rules do not hold.
    """
    named = named_edition(stage)
    return named if named in list_editions("tnm") else None


def named_edition(stage: AssertedStage) -> str | None:
    """The number of the edition that a written stage names, whether or not the rules hold it.

    Parameters
    ----------
    stage : AssertedStage

    Returns
    -------
    str or None
        None where no number is named, in the edition, the group or the stage.
    """
    if stage.edition:
        word = next((nth for name, nth in _NTH.items() if name in stage.edition.lower()), None)
        number = re.search(r"(?<!\d)\d{1,2}(?!\d)", stage.edition)
        return word or (number[0] if number else None)
    for text in (stage.group, stage.tnm):
        match = _EDITION.search(text)
        if match is not None:
            return match["after"] or match["before"] or match["nth"] or _NTH[match["word"].lower()]
    return None


def written_group(stage: AssertedStage) -> str:
    """The stage group of a written stage, without words around it.

    Parameters
    ----------
    stage : AssertedStage

    Returns
    -------
    str
        As in IVA for ``Stage IVA (8th edition)``; the group as written where none is found, empty without.
    """
    group = _ARABIC.sub(lambda m: _ROMANS[int(m[1]) - 1] + (m[2] or ""), stage.group)
    group = _APART.sub(r"\1\2", group)  # "IV B", "4 b"
    for text in (group, stage.tnm if _STAGE.search(stage.tnm) else ""):
        found = _GROUP.findall(_EDITION.sub(" ", text.translate(_ROMAN)))
        if len(found) == 1:
            return str(found[0]) if found[0].lower() == "occult" else str(found[0]).upper()
    return stage.group


_ROMAN = str.maketrans({"Ⅰ": "I", "Ⅱ": "II", "Ⅲ": "III", "Ⅳ": "IV"})
