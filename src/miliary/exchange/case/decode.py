"""YAML nodes to the records of `miliary.case`, driven by their types; every problem keeps its line."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import enum
import math
import re
import types
import typing
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import yaml

from miliary.exchange.case.record_words import find_field, find_nearest_words, find_word
from miliary.model import case as nouns
from miliary.model.case import When
from miliary.model.vocabulary import Presence

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})\Z")
_DAY = re.compile(r"(?:day\s*|d\+?(?=\d))([-+]?\d{1,6})\Z", re.IGNORECASE)
# Dates in other spellings that can be read in one way only: the year or the month's name says which is which.
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
    rf"(\d{{1,2}})[.\s/-]*(?:de\s+)?([^\W\d_]{{3,10}})\.?,?[\s/-]*(?:de\s+)?(\d{{4}}|\d{{2}}){_CLOCK}"
)
_MONTH_DAY = re.compile(rf"([^\W\d_]{{3,10}})\.?[\s-]+(\d{{1,2}})(?:,\s*|[\s-]+)(\d{{4}}){_CLOCK}")
_YEAR_MONTH_DAY = re.compile(rf"(\d{{4}})[\s/-]+([^\W\d_]{{3,10}})\.?[\s/-]+(\d{{1,2}}){_CLOCK}")
# The beginnings of the months' names in English, German, French, Spanish, Italian and Portuguese.
_MONTHS: tuple[tuple[str, ...], ...] = (
    *(("jan", "jän", "ene", "gen"), ("feb", "fév", "fev"), ("mar", "mär", "mrz"), ("apr", "avr", "abr")),
    *(("may", "mai", "mag"), ("jun", "juin", "giu"), ("jul", "juil", "lug"), ("aug", "aoû", "ago")),
    *(("sep", "set"), ("oct", "okt", "ott", "out"), ("nov",), ("dec", "dez", "déc", "dic")),
)
_CENTURY_TURNS = 70  # of a year in two digits: 69 is 2069, 70 is 1970, as in POSIX
_BOOLS = {"yes": True, "true": True, "no": False, "false": False}
_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"

# Bounds of numbers by field name, where a value beyond them cannot be meant.
LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "age_years": (0, 125),
        "pack_years": (0, 400),
        "ecog": (0, 5),
        "weight_kg": (0.2, 600),
        "height_cm": (20, 260),
        "lung_fraction": (0, 1),
        "tumor_fraction": (0, 1),
        "tps_percent": (0, 100),
        "vaf_percent": (0, 100),
        "bsa_percent": (0, 100),
        "grade": (1, 5),
        "line": (0, 30),
        "times_per_day": (0, 48),
        "cycles": (1, 200),
        "cycle_days": (1, 90),
        "fractions": (1, 80),
        "fraction_gy": (0.1, 40),
        "total_gy": (0.1, 150),
        "weight_change_percent": (-100, 1000),
        "low": (-1e9, 1e9),
        "high": (-1e9, 1e9),
        "value": (-1e9, 1e9),
        "day": (-60000, 60000),
        "stools_over_baseline": (-20, 100),
        "tb_minus_nil_iu_per_ml": (-1000, 1000),
    }
)
_ANY_AMOUNT = (0.0, 1e9)
_WORDED_NUMBERS = ("times_per_day", "grade", "ecog")  # "BID", "G2", "PS1"
_FIELD_CUTOFF = 0.7
_SHORT_LIST = 6  # words that are all named in place of the nearest of them


MOST_PROBLEMS = 300


class TooManyProblemsError(Exception):
    """A file that holds hardly anything right; the problems noted so far are enough."""


class Problem(typing.NamedTuple):
    """Something wrong in a file: where, and what to do."""

    line: int
    path: str
    message: str


@dataclass
class Decoder:
    """Decodes one document; collects problems in place of stopping at the first."""

    problems: list[Problem] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def decode(self, node: yaml.Node, kind: type, *, path: str = "") -> Any:
        """A record of type `kind` from a mapping node."""
        return self._record(node, kind, path, _default_of(kind, "origin"))

    def note(self, line: int, path: str, message: str) -> None:
        """Remember a problem.

        Raises
        ------
        TooManyProblemsError
            There are more of them than anybody mends one by one.
        """
        self.problems.append(Problem(line, path, message))
        if len(self.problems) >= MOST_PROBLEMS:
            raise TooManyProblemsError

    def _fault(self, node: yaml.Node, path: str, message: str) -> None:
        self.note(node.start_mark.line + 1, path, message)

    def _record(self, node: yaml.Node, kind: type, path: str, origin: Any) -> Any:
        if kind is When:
            return self._when(node, path)
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, path, f"expected fields of the form 'name: value', found {_show(node)}")
            return None
        hints = _hints(kind)
        given = self._pairs(node, path)
        if "origin" in given and "origin" in hints:
            origin = self._value(given["origin"], hints["origin"], _join(path, "origin"), origin)
        values: dict[str, Any] = {"origin": origin} if "origin" in hints else {}
        if "comparator" in hints and "comparator" not in given:
            _split_sign(given)
        for name, child in given.items():
            if name not in hints:
                self._fault(child, _join(path, name), f"no such field; {suggest_field(name, hints)}")
            elif name != "origin":
                value = self._value(child, hints[name], _join(path, name), origin)
                if value is not None:
                    values[name] = value
        if self._lacks_fields(node, kind, values, path):
            return None
        self.lines[path] = node.start_mark.line + 1
        return kind(**values)

    def _lacks_fields(self, node: yaml.Node, kind: type, values: dict[str, Any], path: str) -> bool:
        missing = [name for name in _required(kind) if name not in values]
        for name in missing:
            # A field that is there and wrong has been spoken of already.
            if not any(problem.path == _join(path, name) for problem in self.problems):
                self._fault(node, path, f"needs '{name}'")
        return bool(missing)

    def _pairs(self, node: yaml.MappingNode, path: str) -> dict[str, yaml.Node]:
        pairs: dict[str, yaml.Node] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, path, "a field name must be a word")
            elif key.value in pairs:
                self._fault(key, _join(path, key.value), "given twice; keep one")
            else:
                pairs[key.value] = child
        return pairs

    def _value(self, node: yaml.Node, hint: Any, path: str, origin: Any) -> Any:
        if node.tag == _NULL or (
            isinstance(node, yaml.ScalarNode) and node.value.strip() in ("", "null", "~")
        ):
            return None
        hint = _strip_optional(hint)
        outer = typing.get_origin(hint)
        if outer is tuple:
            return self._items(node, typing.get_args(hint)[0], path, origin)
        if outer is Mapping:
            return self._mapping(node, *typing.get_args(hint), path=path)
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            return self._record(node, hint, path, origin)
        return self._scalar(node, hint, path)

    def _items(self, node: yaml.Node, hint: Any, path: str, origin: Any) -> tuple[Any, ...] | None:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if dataclasses.is_dataclass(hint) and not isinstance(node, yaml.SequenceNode):
            self._fault(node, path, "expected a list: start each item with '- '")
            return None
        items = []
        for number, given in enumerate(nodes, start=1):
            here = f"{path}[{number}]"
            child = given
            if isinstance(given, yaml.ScalarNode) and dataclasses.is_dataclass(hint):
                child = _with_only_field(given, hint)
            if isinstance(child, yaml.MappingNode) and "id" in _field_names(hint):
                _give_id(child, f"{path.rsplit('.', 1)[-1]}-{number}")
            item = self._value(child, hint, here, origin)
            if item is not None:
                items.append(item)
        return tuple(items)

    def _mapping(self, node: yaml.Node, key_hint: Any, value_hint: Any, *, path: str) -> Any:
        if isinstance(node, yaml.SequenceNode) and value_hint is Presence and _is_enum(key_hint):
            node = _all_present(node)  # a list names what is there
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, path, f"expected fields of the form 'name: value', found {_show(node)}")
            return None
        found = {}
        for name, child in self._pairs(node, path).items():
            here = _join(path, name)
            key = self._enum(child, key_hint, name, here) if _is_enum(key_hint) else name
            value = self._value(child, value_hint, here, None)
            if key is not None and value is not None:
                found[key] = value
        return MappingProxyType(found)

    def _scalar(self, node: yaml.Node, hint: Any, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, path, f"expected one value, found {_show(node)}")
            return None
        text = node.value.strip()
        if hint is str:
            return " ".join(text.split())
        if hint is Presence:
            return self._presence(node, text, path)
        if _is_enum(hint):
            return self._enum(node, hint, text, path)
        if hint is bool:
            if text.lower() not in _BOOLS:
                self._fault(node, path, f"expected yes or no, found {_show(node)}")
            return _BOOLS.get(text.lower())
        if hint is dt.date:
            return self._date(node, text, path)
        return self._number(node, text, hint, path)

    def _presence(self, node: yaml.Node, text: str, path: str) -> Presence | None:
        presence: Presence | None = self._enum(node, Presence, text, path)
        return presence

    def _enum(self, node: yaml.Node, kind: Any, text: str, path: str) -> Any:
        by_word = {_word(member.value): member for member in kind}
        word_list = _list_name(kind)
        member = by_word.get(_word(text)) or by_word.get(_word(find_word(word_list, text) or ""))
        if member is None:
            known = [m.value for m in kind]
            advice = suggest(text, known)
            near = () if len(known) <= _SHORT_LIST else find_nearest_words(word_list, text, known)
            if near and not advice.startswith("did you mean"):
                advice = f"did you mean {_join_or(near)}?"
            self._fault(node, path, f"{_quote(text)} is not known here; {advice}")
        return member

    def _number(self, node: yaml.Node, text: str, hint: Any, path: str) -> float | int | None:
        name = path.rsplit(".", 1)[-1].split("[", maxsplit=1)[0]
        text = (find_word(name, text) if name in _WORDED_NUMBERS else None) or text
        try:
            value = int(text) if hint is int else float(text)
        except ValueError:
            what = "a whole number" if hint is int else "a number"
            self._fault(node, path, f"expected {what}, found {_show(node)}{_hint_for_number(text, name)}")
            return None
        low, high = LIMITS.get(name, _ANY_AMOUNT)
        if not (math.isfinite(value) and low <= value <= high):
            self._fault(node, path, f"{_quote(text)} is outside {low:g} to {high:g}")
            return None
        return value

    def _when(self, node: yaml.Node, path: str) -> When | None:
        if isinstance(node, yaml.MappingNode):
            hints = _hints(When)
            given = self._pairs(node, path)
            for name in given.keys() - hints.keys():
                self._fault(given[name], _join(path, name), f"no such field; {suggest(name, hints)}")
            values = {
                name: self._value(child, hints[name], _join(path, name), None)
                for name, child in given.items()
                if name in hints
            }
            return When(**{name: value for name, value in values.items() if value is not None})
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, path, f"expected a date, found {_show(node)}")
            return None
        return self.parse_when(node.value, node.start_mark.line + 1, path)

    def parse_when(self, text: str, line: int, path: str) -> When | None:
        """A point in time from its text: a date, ``day 90``, or words."""
        text = " ".join(text.split())
        if day := _DAY.match(text):
            return When(day=int(day[1]))
        if _DATE.match(text):
            date = self._parse_date(text, line, path)
            return When(date=date) if date else None
        if (date_text := read_date_words(text)) and (date := self._parse_date(date_text, line, path)):
            return When(date=date)
        if date_text:
            return None
        if re.match(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\Z", text):
            self.note(
                line, path, f"{_quote(text)} can be read in two ways; write year-month-day as in 2021-03-09"
            )
            return None
        return When(text=text) if text else When()

    def _date(self, node: yaml.Node, text: str, path: str) -> dt.date | None:
        if not _DATE.match(text):
            self._fault(node, path, f"expected a date as in 2021-03-09, found {_show(node)}")
            return None
        return self._parse_date(text, node.start_mark.line + 1, path)

    def _parse_date(self, text: str, line: int, path: str) -> dt.date | None:
        year, month, day = (int(part) for part in text.split("-"))
        try:
            date = dt.date(year, month, day)
        except ValueError:
            self.note(line, path, f"{text} is not a day of the calendar; write year-month-day")
            return None
        if not 1900 <= year <= 2100:
            self.note(line, path, f"{text} is outside 1900 to 2100")
            return None
        return date


def _all_present(node: yaml.SequenceNode) -> yaml.Node:
    """A list of words as fields that are present; unchanged where it holds anything else."""
    if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return node
    pairs = [(item, yaml.ScalarNode(_STR, "present", item.start_mark, item.end_mark)) for item in node.value]
    return yaml.MappingNode(_STR, pairs, node.start_mark, node.end_mark)


def _with_only_field(node: yaml.ScalarNode, kind: Any) -> yaml.Node:
    """A word in place of a record that needs one field, as in ``metastases: [bone]``."""
    needed = [name for name in _required(kind) if name != "id"]
    if len(needed) != 1 or not node.value.strip():
        return node
    key = yaml.ScalarNode(_STR, needed[0], node.start_mark, node.end_mark)
    return yaml.MappingNode(_STR, [(key, node)], node.start_mark, node.end_mark)


def _split_sign(given: dict[str, yaml.Node]) -> None:
    """A value such as ``<5`` as its number and its sign."""
    node = given.get("value")
    found = re.match(r"\s*([<>])\s*(\d\S*)\s*\Z", node.value) if isinstance(node, yaml.ScalarNode) else None
    if found and node is not None:
        given["comparator"], given["value"] = (
            yaml.ScalarNode(_STR, text, node.start_mark, node.end_mark) for text in found.groups()
        )


def _list_name(kind: type[enum.Enum]) -> str:
    """The list of spellings of an enum: ``lesion_state`` of `LesionState`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _join_or(words: Iterable[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


def suggest_field(name: str, known: Iterable[str]) -> str:
    """The field that a name was meant for.

    Parameters
    ----------
    name : str
        No field of the record.
    known : iterable of str
        Its fields.

    Returns
    -------
    str
        ``did you mean 'x'?``, or the fields that are known.
    """
    fields = sorted(known)
    near = [word for word in find_nearest_words("field", name, ()) if word in fields]
    close = difflib.get_close_matches(_word(name), fields, n=1, cutoff=_FIELD_CUTOFF)
    meant = next(iter(filter(None, (find_field(name, fields), *close, *near))), "")
    return f"did you mean '{meant}'?" if meant else suggest(name, fields, cutoff=_FIELD_CUTOFF)


def read_date_words(text: str) -> str:
    """A date in another spelling as year-month-day.

    Parameters
    ----------
    text : str
        As in ``2021/3/9``, ``2021年3月9日``, ``令和3年3月9日``, ``9 Mar 2021``,
        ``14-Mar-25``, ``20210309``.

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
        place = _find_month(found[month]) if found else 0
        if found and place:
            return f"{_write_year(found[year_group])}-{place}-{found[day]}"
    return ""


def _find_month(name: str) -> int:
    """Number of a month by its name, 0 where it is none."""
    plain = name.lower()
    found = {n for n, starts in enumerate(_MONTHS, start=1) if plain.startswith(starts)}
    return found.pop() if len(found) == 1 else 0


def _write_year(text: str) -> str:
    if len(text) == 4:
        return text
    return f"{'20' if int(text) < _CENTURY_TURNS else '19'}{text}"


def _give_id(node: yaml.MappingNode, name: str) -> None:
    """Name an item that has no id by its place, so that assessments can point to it."""
    if not any(isinstance(key, yaml.ScalarNode) and key.value == "id" for key, _ in node.value):
        key, value = (yaml.ScalarNode(_STR, text, node.start_mark, node.end_mark) for text in ("id", name))
        node.value.append((key, value))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(nouns))


def _field_names(kind: Any) -> frozenset[str]:
    return (
        frozenset(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else frozenset()
    )


def _required(kind: type) -> list[str]:
    return [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]


def _default_of(kind: type, name: str) -> Any:
    return next((f.default for f in dataclasses.fields(kind) if f.name == name), None)


def _strip_optional(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _word(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _quote(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _show(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return _quote(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "several fields"


def _hint_for_number(text: str, name: str) -> str:
    in_cm = re.match(r"(\d+(?:\.\d+)?)\s*cm\Z", text, re.IGNORECASE)
    if in_cm and name.endswith("_mm"):
        return f"; this is in mm, write {10 * float(in_cm[1]):g}"
    if re.match(r"-?\d+,\d+\Z", text):
        return "; write a decimal point"
    if re.match(r"[-+]?[\d.]+\s*[a-zA-Z%/]+", text):
        return "; leave out the unit"
    return ""


def suggest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``did you mean 'x'?``, or the words that are known."""
    known = sorted(known)
    close = difflib.get_close_matches(_word(word), known, n=1, cutoff=cutoff) or difflib.get_close_matches(
        word.upper(), known, n=1, cutoff=cutoff
    )
    if close:
        return f"did you mean '{close[0]}'?"
    if len(known) <= 20:
        return f"known are {', '.join(known)}"
    return f"known are {', '.join(known[:8])} and {len(known) - 8} more"
