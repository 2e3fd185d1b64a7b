"""Dates in other spellings that can be read in one way only."""

from __future__ import annotations

import re
import unicodedata

# The year or the month's name, or a number over twelve, says which is which.
_YEAR_FIRST = re.compile(
    r"(\d{4})\s*[/.年]\s*(\d{1,2})\s*[/.月]\s*(\d{1,2})\s*日?(?:\s+\d{1,2}:\d{2}(?::\d{2})?)?\Z"
)
_WITH_TIME = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[T ]\d{1,2}:\d{2}\S*\Z")
_COMPACT = re.compile(r"((?:19|20)\d{2})(\d{2})(\d{2})\Z")
_ERA = re.compile(
    r"(令和|平成|昭和|[RHSrhs])\s*(\d{1,2}|元)\s*[年./-]\s*(\d{1,2})\s*[月./-]\s*(\d{1,2})\s*日?\Z"
)
_ERA_STARTS = {"令和": 2018, "r": 2018, "平成": 1988, "h": 1988, "昭和": 1925, "s": 1925}
_CLOCK = r"(?:[T\s]+\d{1,2}:\d{2}\S*(?:\s*[AaPp][Mm])?)?\Z"
_DAY_MONTH = re.compile(
    rf"(\d{{1,2}})[.\s/-]*(?:de\s+)?([^\W\d_]{{3,10}})\.?,?[\s/-]*(?:de\s+)?'?(\d{{4}}|\d{{2}}){_CLOCK}"
)
_MONTH_DAY = re.compile(rf"([^\W\d_]{{3,10}})\.?[\s-]+(\d{{1,2}})(?:,\s*|[\s-]+)(\d{{4}}){_CLOCK}")
_YEAR_MONTH_DAY = re.compile(rf"(\d{{4}})[\s/-]+([^\W\d_]{{3,10}})\.?[\s/-]+(\d{{1,2}}){_CLOCK}")
# Names of the months in six languages; three letters and more of one name it.
_MONTHS: tuple[tuple[str, ...], ...] = (
    ("january", "januar", "jänner", "janvier", "enero", "gennaio", "janeiro"),
    ("february", "februar", "février", "febrero", "febbraio", "fevereiro", "fevrier"),
    ("march", "märz", "mrz", "mars", "marzo", "março", "marco"),
    ("april", "avril", "abril", "aprile"),
    ("may", "mai", "mayo", "maggio", "maio"),
    ("june", "juni", "juin", "junio", "giugno", "junho"),
    ("july", "juli", "juillet", "julio", "luglio", "julho"),
    ("august", "août", "aout", "agosto"),
    ("september", "sept", "septembre", "septiembre", "settembre", "setembro"),
    ("october", "oktober", "octobre", "octubre", "ottobre", "outubro"),
    ("november", "novembre", "noviembre", "novembro"),
    ("december", "dezember", "décembre", "decembre", "diciembre", "dicembre", "dezembro"),
)
_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})\Z")
_MONTH_YEAR = re.compile(r"([^\W\d_]{3,10})\.?,?[\s-]*'?(\d{4}|\d{2})\Z")
_YEAR_MONTH = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*月?\Z")
_THIS_CENTURY = 50  # two digits up to this are of the century of 2000


def read_date_words(text: str) -> str:
    """A date in another spelling as year-month-day.

    Parameters
    ----------
    text : str
        As in ``2021/3/9``, ``2021年3月9日``, ``令和3年3月9日``, ``9 Mar 2021``, ``9-Mar-21``, ``20210309``,
        ``14.03.2025``.

    Returns
    -------
    str
        Empty where it is no such date, or could be read in two ways.
    """
    text = unicodedata.normalize("NFKC", text)
    for pattern in (_YEAR_FIRST, _WITH_TIME, _COMPACT):
        if found := pattern.match(text):
            return f"{found[1]}-{found[2]}-{found[3]}"
    if era := _ERA.match(text):
        year = _ERA_STARTS[era[1].lower()] + (1 if era[2] == "元" else int(era[2]))
        return f"{year}-{era[3]}-{era[4]}"
    for pattern, (day, month, year_group) in (
        *((_DAY_MONTH, (1, 2, 3)), (_MONTH_DAY, (2, 1, 3))),
        (_YEAR_MONTH_DAY, (3, 2, 1)),
    ):
        found = pattern.match(text)
        if found and (number := _month(found[month])):
            return f"{_year(found[year_group])}-{number}-{found[day]}"
    if found := _NUMBERS.match(text):
        first, second = int(found[1]), int(found[3])
        if first > len(_MONTHS) >= second:
            return f"{found[4]}-{second}-{first}"
        if second > len(_MONTHS) >= first:
            return f"{found[4]}-{first}-{second}"
    return ""


def read_month_words(text: str) -> str:
    """A month in another spelling as year-month.

    Parameters
    ----------
    text : str
        As in ``Mar 2025``, ``2025/3``, ``2025年3月``.

    Returns
    -------
    str
        As in ``2025-03``; empty where it is none.
    """
    text = unicodedata.normalize("NFKC", text)
    if (found := _MONTH_YEAR.match(text)) and (number := _month(found[1])):
        return f"{_year(found[2])}-{number:02d}"
    if (found := _YEAR_MONTH.match(text)) and 1 <= int(found[2]) <= len(_MONTHS):
        return f"{found[1]}-{int(found[2]):02d}"
    return ""


def _month(name: str) -> int:
    """Number of a month by its name; 0 where it is none."""
    plain = name.lower()
    found = {n for n, names in enumerate(_MONTHS, start=1) if any(one.startswith(plain) for one in names)}
    return found.pop() if len(found) == 1 else 0


def _year(digits: str) -> int:
    number = int(digits)
    return number if len(digits) > 2 else number + (2000 if number <= _THIS_CENTURY else 1900)
