"""Tables of laboratory values as hospitals export them, read into the rows of a case.

A table is long (one value a row) or wide (one time a row, or one analyte a row with a column for each time);
its headings, names and units may be English or Japanese. A cell that is no number is refused with what to do.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import yaml

from miliary.exchange.case.date_words import read_date_words
from miliary.exchange.case.decode import Decoder, suggest
from miliary.exchange.case.lab_numbers import find_decimal_sign, read_written, split_sign
from miliary.exchange.case.record_words import (
    find_analyte_word,
    find_nearest_words,
    find_unit,
    find_word,
    list_meanings,
)
from miliary.model.case import LabResult
from miliary.model.vocabulary import ANALYTES, UNIT_SPELLINGS, UNITS

LAB_COLUMNS = (
    *("analyte", "value", "unit", "when", "low", "high", "comparator", "change", "material", "method"),
    *("is_baseline", "is_symptomatic", "id"),
)
_MARK = re.compile(r"(?<=[\d\s(])[\s(]*(?:HH?|LL?|[*#!↑↓])[)\s]*\Z")
_NUMBER = r"[-+]?\d[\d.,'\u2019 ]*"
_RANGE = re.compile(
    rf"({_NUMBER}?)\s*(?:-|~|\u2013|\u2014|\u2212|\u301c|\.\.+|to|bis|à|a|hasta)\s*({_NUMBER})\Z"
)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?\Z")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*\Z', re.IGNORECASE)
_NUMERIC_DATE = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T]+\d{1,2}:\d{2}\S*(?:\s*[AP]M)?)?\Z", re.IGNORECASE
)
_NO_WORDS_OF_TIME = re.compile(r"\d\s*[./\-年月]\s*\w|\d{5,}")
_ANSWERS = ("positive", "negative", "indeterminate")
_DEGREE = re.compile(r"\(?(?:[1-5]\+|\+{1,5}|\+[1-5]|trace|traces|tr\.?|spuren?|\+-|\u00b1)\)?\Z")
_IN_WORDS = frozenset({"hcg", "urine_protein", "d_dimer", "procalcitonin", "troponin_i", "troponin_t"})
_SHARES = frozenset({"neutrophils", "lymphocytes", "monocytes", "eosinophils"})
_UNIT_IN_HEADING = re.compile(r"(.*?)\s*[(\[]([^()\[\]]+)[)\]]\s*\Z")
_TIME = re.compile(r"(?:day\s*|d\+?(?=\d))[-+]?\d{1,6}\Z|\d{4}-\d{1,2}-\d{1,2}\Z", re.IGNORECASE)
_FLAGS = {"h": "increased", "hh": "increased", "l": "decreased", "ll": "decreased"}
_FLAGS |= {"high": "increased", "low": "decreased", "hoch": "increased", "niedrig": "decreased"}


class _Line(NamedTuple):
    """The cells of one value by column, and the line of the file they stand on."""

    number: int
    cells: Mapping[str, str]


def decode_lab_table(text: str, decoder: Decoder) -> tuple[LabResult, ...]:
    """Values of a table; the line of a problem is that of its row.

    Parameters
    ----------
    text : str
        Separated by commas, semicolons or tabs, with a heading.
    decoder : Decoder
        Collects the problems.

    Returns
    -------
    tuple of LabResult
        Without the rows that have a problem; empty where the heading has one.
    """
    lines = text.splitlines(keepends=True)
    start = next((n for n, line in enumerate(lines) if line.strip()), 0)
    stated = _SEPARATOR_LINE.match(lines[start].strip("\ufeff\r\n")) if lines else None
    if stated:  # written by a spreadsheet for itself
        lines[start] = "\n"
    first = next((line for line in lines if line.strip()), "")
    sign = stated[1] if stated else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO("".join(lines)), delimiter=sign)
    try:
        rows = [(reader.line_num, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        decoder.note(reader.line_num, "", f"not a table of comma-separated values ({error})")
        return ()
    filled = [(number, row) for number, row in rows if any(row)]
    if not filled:
        decoder.note(1, "analyte", "this column is needed")
        return ()
    found = list(_split_lines(filled, decoder))
    numbers = [line.cells[name] for line in found for name in ("value", "low", "high") if name in line.cells]
    limits = [part for line in found for part in _split_range(line.cells.get("range", "")) if part]
    decimal_sign = find_decimal_sign([*numbers, *limits], has_comma_locale=sign == ";")
    order = _find_day_order(line.cells.get("when", "") for line in found)
    labs = [
        _decode_line(line, count, decoder, decimal_sign=decimal_sign, day_order=order)
        for count, line in enumerate(found, start=1)
    ]
    return tuple(lab for lab in labs if lab is not None)


def count_known_words(text: str) -> int:
    """How many different cells with letters beyond ASCII are known headings, analytes or units.

    Parameters
    ----------
    text : str
        A table, in one of the encodings it may have been written in.

    Returns
    -------
    int
    """
    cells = {cell.strip(' "') for line in text.splitlines()[:200] for cell in re.split("[,;\t]", line)}
    foreign = {cell for cell in cells if 0 < len(cell) < 60 and not cell.isascii()}
    return sum(
        bool(_find_column(cell)) or find_analyte_word(cell, ANALYTES) in ANALYTES or find_unit(cell) in UNITS
        for cell in foreign
    )


# --- layouts --------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """What each column of a table holds; `analytes` and `times` by the place of their column."""

    names: list[str]
    analytes: Mapping[int, tuple[str, str]]
    times: Mapping[int, str]


def _split_lines(rows: Sequence[tuple[int, list[str]]], decoder: Decoder) -> Iterator[_Line]:
    """One line per value, whichever way the table lies."""
    (at, heading), body = rows[0], rows[1:]
    layout = _read_layout(heading, at, decoder)
    for number, row in body if layout is not None else ():
        if row == heading:
            continue  # the heading again, as in tables that were joined end to end
        if len(row) != len(heading):
            decoder.note(number, "", "has more or fewer cells than the heading")
        elif layout is not None:
            yield from (_Line(number, cells) for cells in _split_row(row, layout))


def _read_layout(heading: list[str], at: int, decoder: Decoder) -> _Layout | None:
    """How a table lies; None where its heading has a problem."""
    names = [_find_column(name) for name in heading]
    is_by_time = "when" in names and "analyte" not in names
    is_by_analyte = "analyte" in names and "value" not in names
    times = {place: name for place, name in enumerate(heading) if is_by_analyte and _is_time(name)}
    unknown = [n for n, name in enumerate(names) if not name and heading[n] and n not in times]
    analytes = {n: _read_heading(heading[n]) for n in unknown if is_by_time}
    before = len(decoder.problems)
    for n in unknown:
        if analytes.get(n, ("", ""))[0] not in ANALYTES:
            advice = _advise_column(heading[n], is_wide=is_by_time)
            decoder.note(at, heading[n][:40], f"no such column; {advice}")
    if "analyte" not in names and not is_by_time:
        decoder.note(at, "analyte", "this column is needed")
    for name in sorted({name for name in names if name and name != "when" and names.count(name) > 1}):
        both = " and ".join(repr(heading[n][:40]) for n, other in enumerate(names) if other == name)
        decoder.note(at, name, f"given by several columns ({both}); keep the one that is meant")
    return _Layout(names, analytes, times) if len(decoder.problems) == before else None


def _split_row(row: list[str], layout: _Layout) -> Iterator[dict[str, str]]:
    """The cells of each value of a row."""
    cells: dict[str, str] = {}
    for name, cell in zip(layout.names, row, strict=True):
        # A time of day in a column of its own says nothing that days do not.
        if name and cell and not (name == "when" and _CLOCK.match(cell)):
            cells.setdefault(name, cell)
    if not layout.analytes and not layout.times:
        yield cells
    for place, (analyte, unit) in layout.analytes.items():
        if row[place]:
            yield cells | {"analyte": analyte, "value": row[place]} | ({"unit": unit} if unit else {})
    for place, when in layout.times.items():
        if row[place]:
            yield cells | {"when": when, "value": row[place]}


def _find_column(name: str) -> str:
    plain = name.strip().lower()
    return plain if plain in LAB_COLUMNS else find_word("column", name) or ""


def _is_time(name: str) -> bool:
    return bool(_TIME.match(name) or read_date_words(name) or _NUMERIC_DATE.match(name))


def _read_heading(name: str) -> tuple[str, str]:
    """Analyte and unit of the heading of a column, as in ``ALT (U/L)``."""
    found = _UNIT_IN_HEADING.match(unicodedata.normalize("NFKC", name))
    if found and find_unit(found[2]) in UNITS:
        return find_analyte_word(found[1], ANALYTES), find_unit(found[2])
    return find_analyte_word(name, ANALYTES), ""


def _advise_column(name: str, *, is_wide: bool) -> str:
    if re.search(r"code|loinc|barcode|コード|(?:\b|_)(?:id|no|nr)\b", name, re.IGNORECASE):
        return "codes and numbers of samples are not read; take the column out"
    near = find_nearest_words("column", name, LAB_COLUMNS)
    if meanings := list_meanings(name):
        return f"it may be {' or '.join(meanings)}; write which"
    if is_wide and not near:
        near = find_nearest_words("analyte", name, ANALYTES)
    return f"did you mean '{near[0]}'?" if near else suggest(name, LAB_COLUMNS) + "; take other columns out"


# --- one value ------------------------------------------------------------------------------------------


def _find_day_order(texts: Iterable[str]) -> Mapping[str, str]:
    """Whether numeric dates have the day or the month first, by their separator, where the table tells."""
    seen: dict[str, set[str]] = {}
    for text in texts:
        found = _NUMERIC_DATE.match(text)
        if found and max(int(found[1]), int(found[3])) > 12:
            seen.setdefault(found[2], set()).add("day" if int(found[1]) > 12 else "month")
    return {sign: orders.pop() for sign, orders in seen.items() if len(orders) == 1}


def _read_when(text: str, number: int, decoder: Decoder, day_order: Mapping[str, str]) -> str | None:
    """A date as year-month-day, or a text as it is; None where it was noted as a problem."""
    plain = unicodedata.normalize("NFKC", text)
    found = _NUMERIC_DATE.match(plain)
    if found:
        first, second = int(found[1]), int(found[3])
        order = "day" if first > 12 else "month" if second > 12 else day_order.get(found[2], "")
        if order or first == second:
            day, month = (second, first) if order == "month" else (first, second)
            return f"{found[4]}-{month:02}-{day:02}"
        both = f"{found[4]}-{second:02}-{first:02} or {found[4]}-{first:02}-{second:02}"
        decoder.note(number, "when", f"{text[:40]!r} can be read in two ways; write {both}")
        return None
    if not _is_time(plain) and _NO_WORDS_OF_TIME.search(plain):
        decoder.note(number, "when", f"{text[:40]!r} is not a date known here; write it as in 2021-03-09")
        return None
    return text


def _decode_line(
    line: _Line, count: int, decoder: Decoder, *, decimal_sign: str, day_order: Mapping[str, str]
) -> LabResult | None:
    cells = dict(line.cells)
    before = len(decoder.problems)
    flag = cells.pop("flag", "").lower()
    if flag in _FLAGS:
        cells.setdefault("change", _FLAGS[flag])
    if "when" in cells:
        cells["when"] = _read_when(cells["when"], line.number, decoder, day_order) or ""
    if "range" in cells:
        _read_range(cells, cells.pop("range"), line.number, decoder, decimal_sign)
    if "value" in cells:
        _read_value(cells, line.number, decoder, decimal_sign)
    for name in ("low", "high"):
        if name in cells and (number := _read_number(cells[name], name, line.number, decoder, decimal_sign)):
            cells[name] = number
    comparator = cells.pop("comparator", "")
    cells.setdefault("id", f"labs-csv-{count}")
    lab = _decode_cells(cells, line.number, decoder)
    if lab is None or len(decoder.problems) > before:
        return None
    analyte = find_analyte_word(lab.analyte, ANALYTES)
    unit = find_unit(lab.unit, analyte)
    analyte = name_share(analyte, lab.analyte, unit)
    return replace(lab, unit=unit, analyte=analyte, comparator=split_sign(comparator)[0] or comparator)


def _decode_cells(cells: Mapping[str, str], number: int, decoder: Decoder) -> LabResult | None:
    start = yaml.Mark("", 0, number - 1, 0, None, 0)
    tag = "tag:yaml.org,2002:str"
    pairs = [
        (yaml.ScalarNode(tag, name, start), yaml.ScalarNode(tag, cell, start)) for name, cell in cells.items()
    ]
    node = yaml.MappingNode("tag:yaml.org,2002:map", pairs, start)
    lab: LabResult | None = decoder.decode(node, LabResult, path=f"labs[{cells['id']}]")
    return lab


def name_share(analyte: str, name: str, unit: str) -> str:
    """A share of the white cells under a name of its own, so that it is not taken for their number.

    Parameters
    ----------
    analyte : str
        The analyte that the name was found to be.
    name : str
        As it was written, as in ``Neut%``.
    unit : str

    Returns
    -------
    str
        ``neutrophils_percent`` and the like; other analytes as they are.
    """
    if "%" in name or "％" in name:
        analyte = find_analyte_word(re.sub(r"[%％()\[\]]", " ", name).strip(), ANALYTES)
        return f"{analyte}_percent" if analyte in _SHARES else find_analyte_word(name, ANALYTES)
    return f"{analyte}_percent" if analyte in _SHARES and unit == "%" else analyte


def _read_number(text: str, name: str, number: int, decoder: Decoder, decimal_sign: str) -> str | None:
    """A number with a decimal point; None and a problem where it is none, or can be read in two ways."""
    written = read_written(text, decimal_sign)
    if written is not None and written.digits:
        return written.digits
    if written is not None:
        grouped, decimal = written.readings
        decoder.note(
            number,
            name,
            f"{text[:40]!r} can be read in two ways, as {grouped} or as {decimal}; write the one "
            "that is meant, with a point before decimals and nothing between thousands",
        )
    else:
        decoder.note(number, name, f"expected a number, found {text[:40]!r}{_advise_value(text)}")
    return None


def _read_value(cells: dict[str, str], number: int, decoder: Decoder, decimal_sign: str) -> None:
    """Number, sign and mark of a value; a problem where it is none."""
    found = cells.pop("value")
    sign, rest = split_sign(found)
    rest = _take_unit(_MARK.sub("", rest).strip(), cells, decimal_sign)
    if read_written(rest, decimal_sign) is None:
        rest = found
        if _is_qualitative(found, cells):
            cells["words"] = found
            return
    if digits := _read_number(rest, "value", number, decoder, decimal_sign):
        cells["value"] = digits
        if sign:
            cells["comparator"] = sign


def _is_qualitative(text: str, cells: Mapping[str, str]) -> bool:
    """Whether a word is a result, of a test that is known for words or not known at all."""
    plain = unicodedata.normalize("NFKC", text).strip()
    is_word = find_word("result", plain) in _ANSWERS or bool(_DEGREE.match(plain.lower()))
    analyte = find_analyte_word(cells.get("analyte", ""), ANALYTES)
    return is_word and (analyte in _IN_WORDS or analyte not in ANALYTES) and not list_meanings(analyte)


def _take_unit(text: str, cells: dict[str, str], decimal_sign: str) -> str:
    """The number of a text such as ``45 U/L``, whose unit is taken where the row has none, or the same."""
    found = re.match(r"([-+]?\d[\d.,]*)\s*([^\d\s].*)\Z", text)
    if not found or read_written(text, decimal_sign) is not None:
        return text
    unit = find_unit(found[2])
    own = find_unit(cells.get("unit", ""))
    if unit not in UNITS | UNIT_SPELLINGS.keys() or own not in ("", unit):
        return text
    cells["unit"] = unit
    return found[1]


def _advise_value(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).strip()
    if find_word("result", plain) and plain != "-":
        return "; a qualitative result stands in case.yaml, under microbiology or immunostains"
    if re.match(r"[A-Z]\d{1,4}(?:[A-Z*]|fs|del|_)", plain):
        return "; the change of a gene stands in case.yaml, under molecular"
    if re.match(r"[-+]?[\d.]+\s*[a-zA-Z%/]+", plain):
        return "; its unit stands in the column unit"
    return (
        "; 12.5, <0.5, >1000 and ~120 are read; where the sample gave no value, leave the cell empty: the "
        "row is kept as a test without one"
    )


def _split_range(text: str) -> tuple[str, ...]:
    """The numbers of a range."""
    both = _RANGE.match(_fold_range(text))
    return both.groups() if both else (split_sign(_fold_range(text))[1],)


def _fold_range(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().strip("()[]").strip()


def _read_range(cells: dict[str, str], text: str, number: int, decoder: Decoder, decimal_sign: str) -> None:
    """The limits of a text such as ``7-23``, ``12,0–16,0``, ``< 5.0`` or ``5.0以下``."""
    plain = _fold_range(text)
    if (unit := cells.get("unit", "")) and plain.lower().endswith(unit.lower()):
        plain = plain[: -len(unit)].strip()  # the unit again
    if both := _RANGE.match(plain):
        sides = tuple(zip(("low", "high"), both.groups(), strict=True))
    else:
        sign, rest = split_sign(plain)
        sides = (("high" if sign == "<" else "low", rest),) if sign in ("<", ">") else ()
    if not sides or any(read_written(limit, decimal_sign) is None for _, limit in sides):
        decoder.note(number, "range", f"{text[:40]!r} is no range; write it as 7-23, or give low and high")
        return
    for name, limit in sides:
        cells.setdefault(name, limit)
