"""Tables of laboratory values as hospitals export them, read into the rows of a case.

A table is long (one value a row) or wide (one time a row, or one analyte a row with a column for each time);
its headings, names and units may be English or Japanese. A cell that is no number is refused with what to do.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import yaml

from miliary.exchange.case.date_words import read_date_words
from miliary.exchange.case.decode import Decoder, suggest
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
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\Z")
_BEYOND = re.compile(r"(<=|>=|<|>)?\s*(.*?)\s*(未満|以下|以上|超)?\Z")
_SIGNS = {"<=": "<", ">=": ">", "未満": "<", "以下": "<", "以上": ">", "超": ">"}
_MARK = re.compile(r"(?<=[\d\s(])[\s(]*(?:HH?|LL?|[*#↑↓])[)\s]*\Z")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\Z")
_RANGE = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(?:-|~|\u2013|\u2014|\u301c|to)\s*([-+]?\d+(?:\.\d+)?)\Z")
_UNIT_IN_HEADING = re.compile(r"(.*?)\s*[(\[]([^()\[\]]+)[)\]]\s*\Z")
_TIME = re.compile(r"(?:day\s*|d\+?(?=\d))[-+]?\d{1,6}\Z|\d{4}-\d{1,2}-\d{1,2}\Z", re.IGNORECASE)
_FLAGS = {"h": "increased", "hh": "increased", "l": "decreased", "ll": "decreased"}


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
    first = next((line for line in text.splitlines() if line.strip()), "")
    sign = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=sign)
    try:
        rows = [(reader.line_num, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        decoder.note(reader.line_num, "", f"not a table of comma-separated values ({error})")
        return ()
    filled = [(number, row) for number, row in rows if any(row)]
    if not filled:
        decoder.note(1, "analyte", "this column is needed")
        return ()
    labs = []
    for count, line in enumerate(_split_lines(filled, decoder), start=1):
        labs.append(_decode_line(line, count, decoder, has_decimal_comma=sign != ","))
    return tuple(lab for lab in labs if lab is not None)


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
    return _Layout(names, analytes, times) if len(decoder.problems) == before else None


def _split_row(row: list[str], layout: _Layout) -> Iterator[dict[str, str]]:
    """The cells of each value of a row."""
    cells = {name: cell for name, cell in zip(layout.names, row, strict=True) if name and cell}
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
    return bool(_TIME.match(name) or read_date_words(name))


def _read_heading(name: str) -> tuple[str, str]:
    """Analyte and unit of the heading of a column, as in ``ALT (U/L)``."""
    found = _UNIT_IN_HEADING.match(unicodedata.normalize("NFKC", name))
    if found and find_unit(found[2]) in UNITS:
        return find_analyte_word(found[1], ANALYTES), find_unit(found[2])
    return find_analyte_word(name, ANALYTES), ""


def _advise_column(name: str, *, is_wide: bool) -> str:
    near = find_nearest_words("column", name, LAB_COLUMNS)
    if meanings := list_meanings(name):
        return f"it may be {' or '.join(meanings)}; write which"
    if is_wide and not near:
        near = find_nearest_words("analyte", name, ANALYTES)
    return f"did you mean '{near[0]}'?" if near else suggest(name, LAB_COLUMNS) + "; take other columns out"


# --- one value ------------------------------------------------------------------------------------------


def _decode_line(line: _Line, count: int, decoder: Decoder, *, has_decimal_comma: bool) -> LabResult | None:
    cells = dict(line.cells)
    before = len(decoder.problems)
    flag = cells.pop("flag", "").lower()
    if flag in _FLAGS:
        cells.setdefault("change", _FLAGS[flag])
    if "range" in cells:
        _read_range(cells, cells.pop("range"), line.number, decoder)
    if "value" in cells:
        _read_value(cells, line.number, decoder, has_decimal_comma=has_decimal_comma)
    for name in ("low", "high"):
        if has_decimal_comma and name in cells:
            cells[name] = cells[name].replace(",", ".")
    cells.setdefault("id", f"labs-csv-{count}")
    start = yaml.Mark("", 0, line.number - 1, 0, None, 0)
    tag = "tag:yaml.org,2002:str"
    pairs = [
        (yaml.ScalarNode(tag, name, start), yaml.ScalarNode(tag, cell, start)) for name, cell in cells.items()
    ]
    path = f"labs[{cells['id']}]"
    lab: LabResult | None = decoder.decode(
        yaml.MappingNode("tag:yaml.org,2002:map", pairs, start), LabResult, path=path
    )
    if lab is None or len(decoder.problems) > before:
        return None
    return replace(lab, unit=find_unit(lab.unit), analyte=find_analyte_word(lab.analyte, ANALYTES))


def _read_value(cells: dict[str, str], number: int, decoder: Decoder, *, has_decimal_comma: bool) -> None:
    """Number, sign and mark of a value; a problem where it is none."""
    found = cells.pop("value")
    text = unicodedata.normalize("NFKC", found).replace("\u2264", "<=").replace("\u2266", "<=")
    text = text.replace("\u2265", ">=").replace("\u2267", ">=").strip()
    before, rest, after = (part or "" for part in _BEYOND.match(text).groups())  # type: ignore[union-attr]
    rest = _MARK.sub("", rest)
    sign = before or after
    if _THOUSANDS.match(rest) and not has_decimal_comma:
        decoder.note(number, "value", f"{found[:40]!r} can be read in two ways; write it without a comma")
        return
    if has_decimal_comma:
        rest = rest.replace(",", ".")
    rest = _take_unit(rest, cells)
    if not _NUMBER.match(rest):
        decoder.note(number, "value", f"expected a number, found {found[:40]!r}{_advise_value(text)}")
        return
    cells["value"] = rest
    if sign:
        cells["comparator"] = _SIGNS.get(sign, sign)


def _take_unit(text: str, cells: dict[str, str]) -> str:
    """The number of a text such as ``45 U/L``, whose unit is taken where the row has none, or the same."""
    found = re.match(r"([-+]?\d+(?:\.\d+)?)\s*([^\d\s].*)\Z", text)
    if not found:
        return text
    unit = find_unit(found[2])
    own = find_unit(cells.get("unit", ""))
    if unit not in UNITS | UNIT_SPELLINGS.keys() or own not in ("", unit):
        return text
    cells["unit"] = unit
    return found[1]


def _advise_value(text: str) -> str:
    if find_word("result", text):
        return "; a qualitative result stands in case.yaml, under microbiology or immunostains"
    if re.match(r"-?\d+,\d+\Z", text):
        return "; write a decimal point"
    if re.match(r"[-+]?[\d.]+\s*[a-zA-Z%/]+", text):
        return "; leave out the unit"
    return "; leave the row out where there is no value"


def _read_range(cells: dict[str, str], text: str, number: int, decoder: Decoder) -> None:
    """The limits of a text such as ``7-23``, ``< 5.0`` or ``5.0以下``."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2264", "<=").replace("\u2265", ">=").strip()
    plain = plain.replace("\u2266", "<=").replace("\u2267", ">=").strip("()[]")
    if both := _RANGE.match(plain):
        cells.setdefault("low", both[1])
        cells.setdefault("high", both[2])
        return
    before, rest, after = (part or "" for part in _BEYOND.match(plain).groups())  # type: ignore[union-attr]
    sign = _SIGNS.get(before or after, before or after)
    if sign and _NUMBER.match(rest):
        cells.setdefault("high" if sign == "<" else "low", rest)
    else:
        decoder.note(number, "range", f"{text[:40]!r} is no range; write it as 7-23, or give low and high")
