"""What a rule file may hold: the keys of every table, declared in ``rules/SYSTEM/schema.toml``.

A schema file has a head and one table of declarations per table of rows::

    [schema]
    system = "definition"
    default_edition = "5.0"      # optional: the edition used where none is asked for; else the newest

    [definition]                 # declares the rows [[definition]]
    optional = true              # not every edition has this table
    bands = ["low", "high"]      # these two keys split one axis: no gap and no overlap between rows
    keys.name = {type = "text", required = true}
    keys.max_diameter_mm = {type = "number", range = [0.1, 30.0], needs = ["inclusive"]}
    rows.steps = ["decisive"]    # the table has exactly these rows, each with exactly these keys

A key is declared by

``type``
    ``text``, ``word``, ``number``, ``integer``, ``flag`` (true or false), ``date``, ``record`` (named values,
    declared under ``keys``) or ``mapping`` (named values of one kind, declared under ``each``). ``texts``,
    ``words`` and ``numbers`` are lists.
``words``, ``vocabulary``, ``row_of``
    For ``word`` and ``words``: the words allowed, one or several vocabularies they come from
    (`VOCABULARIES`), and the table of the same file whose row ids they name. At least one of the three.
``pattern``
    For ``text``: a regular expression that the whole text must match.
``range``
    For numbers: lowest and highest value allowed, both included. May be left out where the unit gives it.
``unit``
    For numbers. A key that ends in a unit (``_mm``, ``_percent``; `UNIT_SUFFIXES`) needs none; where both
    are given they must agree. ``"id"`` takes the unit from the end of the row's id.
``length``
    For lists: least and greatest number of items; at least one by default.
``required``, ``needs``
    Whether every row has the key; keys that a row with this key must have as well.
``empty``
    Whether a text or word may be empty.

The keys every row has (`ROW_KEYS`) are not declared.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from miliary.errors import RuleError
from miliary.model import vocabulary

ROW_KEYS = ("id", "citations", "basis", "confidence", "as_of", "recheck")

# Unit meant by the end of a key, and the range that it implies whatever the quantity.
UNIT_SUFFIXES: Mapping[str, tuple[str, tuple[float, float] | None]] = MappingProxyType(
    {
        "_mm": ("mm", None),
        "_cm": ("cm", None),
        "_ml": ("mL", None),
        "_hu": ("HU", (-1100.0, 4000.0)),
        "_mg": ("mg", None),
        "_kg": ("kg", None),
        "_bpm": ("beats per minute", None),
        "_days": ("days", None),
        "_months": ("months", None),
        "_years": ("years", None),
        "_percent": ("percent", (0.0, 100.0)),
        "_fraction": ("1", (0.0, 1.0)),
        "_share": ("1", (0.0, 1.0)),
        "_probability": ("1", (0.0, 1.0)),
        "_uln": ("upper limits of normal", None),
        "_lln": ("lower limits of normal", None),
        "_baseline": ("times the baseline value", None),
    }
)

# The words of cases, so that a rule cannot name one that no case may hold.
_WORDS: Mapping[str, Iterable[str]] = {
    "analyte": vocabulary.ANALYTES,
    "distribution": vocabulary.Distribution,
    "finding": vocabulary.Finding,
    "gene": vocabulary.GENES,
    "history": vocabulary.History,
    "modality": vocabulary.Modality,
    "sex": vocabulary.Sex,
    "smoking": vocabulary.Smoking,
    "structure": vocabulary.Structure,
    "symptom": vocabulary.Symptom,
    "tumor_pattern": vocabulary.TumorPattern,
    "unit": vocabulary.UNITS,
    "zone": vocabulary.PrevailingZone,
}
VOCABULARIES = MappingProxyType({name: frozenset(map(str, words)) for name, words in _WORDS.items()})

_SCALARS = ("text", "word", "number", "integer", "flag", "date", "record", "mapping")
_LISTS = {"texts": "text", "words": "word", "numbers": "number"}
_OPTIONS = {"type", "required", "needs", "words", "vocabulary", "row_of", "range", "unit"} | {
    *("length", "empty", "pattern"),
}
_NAMES = {
    "text": "a text",
    "word": "a word",
    "number": "a number",
    "integer": "a whole number",
    "flag": "true or false",
    "date": "a date such as 2025-11-01",
    "record": "a table of named values",
    "mapping": "a table of named values",
}


@dataclass(frozen=True)
class KeySchema:
    """What one key of a row may hold; the module's docstring explains the fields."""

    type: str
    required: bool = False
    needs: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    row_of: str = ""
    range: tuple[float, float] | None = None
    unit: str = ""
    length: tuple[int, int | None] = (1, None)
    empty: bool = False
    pattern: str = ""
    keys: Mapping[str, KeySchema] = field(default_factory=dict)
    each: KeySchema | None = None


@dataclass(frozen=True)
class TableSchema:
    """What the rows of one table may hold.

    Attributes
    ----------
    keys : mapping of str to KeySchema
    rows : mapping of str to frozenset of str
        Keys of each row by its id, where code looks the rows up by their ids; empty where it does not.
    bands : tuple of str
        Two keys, the lower and the upper bound of rows that together split one axis; empty without.
    is_optional : bool
        Whether an edition may lack the table.
    """

    keys: Mapping[str, KeySchema]
    rows: Mapping[str, frozenset[str]] = field(default_factory=dict)
    bands: tuple[str, ...] = ()
    is_optional: bool = False

    @cached_property
    def allowed(self) -> frozenset[str]:
        """Every key that a row may have."""
        return frozenset((*ROW_KEYS, *self.keys))


@dataclass(frozen=True)
class RuleSchema:
    """What the rule files of one system may hold.

    Attributes
    ----------
    system : str
    tables : mapping of str to TableSchema
    default_edition : str
        The edition used where none is asked for; empty for the newest.
    """

    system: str
    tables: Mapping[str, TableSchema]
    default_edition: str = ""


def parse_schema(text: str, *, name: str) -> RuleSchema:
    """Read one schema file.

    Parameters
    ----------
    text : str
        The file, in TOML.
    name : str
        The name of the file under ``rules/``, for errors.

    Returns
    -------
    RuleSchema

    Raises
    ------
    RuleError
        If the schema itself is wrong: an unknown type or option, a number without unit or range, or a unit
        that contradicts the end of the key.
    """
    where = f"rules/{name}"
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{where}: not TOML ({error})") from None
    head = raw.pop("schema", None)
    if not isinstance(head, dict) or not isinstance(head.get("system"), str):
        raise RuleError(f"{where}: needs [schema] with system")
    refuse_unknown(head, ("system", "default_edition"), f"{where}: [schema]")
    tables = {table: _parse_table(item, f"{where}: [{table}]") for table, item in raw.items()}
    for table, schema in tables.items():
        for key, item in schema.keys.items():
            if item.row_of and item.row_of not in tables:
                raise RuleError(f"{where}: [{table}] {key} names rows of {item.row_of}, which is no table")
    return RuleSchema(head["system"], MappingProxyType(tables), str(head.get("default_edition", "")))


def _parse_table(raw: Any, where: str) -> TableSchema:
    if not isinstance(raw, dict):
        raise RuleError(f"{where} must be a table")
    refuse_unknown(raw, ("keys", "rows", "bands", "optional"), where)
    keys = {key: _parse_key(key, item, where) for key, item in raw.get("keys", {}).items()}
    rows = {row_id: frozenset(names) for row_id, names in raw.get("rows", {}).items()}
    named = [*raw.get("bands", ()), *(name for names in rows.values() for name in sorted(names))]
    named += [name for item in keys.values() for name in item.needs]
    for key in named:
        if key not in keys:
            raise RuleError(f"{where} names the key {key}, which it does not declare")
    return TableSchema(
        MappingProxyType(keys), MappingProxyType(rows), tuple(raw.get("bands", ())), bool(raw.get("optional"))
    )


def _parse_key(key: str, raw: Any, where: str) -> KeySchema:
    where = f"{where} {key}"
    if not isinstance(raw, dict) or raw.get("type") not in (*_SCALARS, *_LISTS):
        raise RuleError(f"{where} needs a type: {', '.join((*_SCALARS, *_LISTS))}")
    kind = raw["type"]
    options = {"keys"} if kind == "record" else {"each"} if kind == "mapping" else set()
    refuse_unknown(raw, _OPTIONS | options, where)
    words = _parse_words(raw, where) if _LISTS.get(kind, kind) == "word" else frozenset[str]()
    unit, limits = "", None
    if _LISTS.get(kind, kind) in ("number", "integer"):
        unit, limits = _parse_unit(key, raw, where)
    length = raw.get("length", (1,))
    return KeySchema(
        type=kind,
        required=bool(raw.get("required", False)),
        needs=tuple(raw.get("needs", ())),
        words=words,
        row_of=str(raw.get("row_of", "")),
        range=limits,
        unit=unit,
        length=(int(length[0]), int(length[1]) if len(length) > 1 else None),
        empty=bool(raw.get("empty", False)),
        pattern=str(raw.get("pattern", "")),
        keys={name: _parse_key(name, item, where) for name, item in raw.get("keys", {}).items()},
        # The items of a mapping have names of their own: the unit is that of the mapping's key.
        each=_parse_key(key, raw["each"], where) if kind == "mapping" else None,
    )


def _parse_words(raw: Mapping[str, Any], where: str) -> frozenset[str]:
    if not raw.keys() & {"words", "vocabulary", "row_of"}:
        raise RuleError(f"{where} needs words, a vocabulary or row_of")
    named = raw.get("vocabulary", [])
    allowed = set(raw.get("words", ()))
    for name in [named] if isinstance(named, str) else named:
        if name not in VOCABULARIES:
            raise RuleError(f"{where}: no vocabulary {name!r}; known are {', '.join(VOCABULARIES)}")
        allowed |= VOCABULARIES[name]
    return frozenset(allowed)


def _parse_unit(key: str, raw: Mapping[str, Any], where: str) -> tuple[str, tuple[float, float] | None]:
    """Unit and range of a number, from the end of its key where that says them."""
    unit, limits = find_unit(key)
    if "unit" in raw:
        if unit and raw["unit"] != unit:
            raise RuleError(f"{where}: unit {raw['unit']!r}, but the key says {unit}")
        unit = str(raw["unit"])
    if not unit:
        raise RuleError(f"{where} needs a unit, in its name or as unit = ...")
    if "range" in raw:
        low, high = (float(bound) for bound in raw["range"])
        if limits is not None and (low < limits[0] or high > limits[1]):
            raise RuleError(f"{where}: a range in {unit} must lie within {limits[0]:g} to {limits[1]:g}")
        limits = low, high
    if limits is None:
        raise RuleError(f"{where} needs a range = [lowest, highest]")
    return unit, limits


def find_unit(name: str) -> tuple[str, tuple[float, float] | None]:
    """Unit that the end of a name says, and the range that unit implies.

    Parameters
    ----------
    name : str
        A key, or the id of a row, as in ``max_diameter_mm``.

    Returns
    -------
    unit : str
        Empty where the name says none.
    limits : (float, float) or None
        None where the unit implies no range.
    """
    return next(
        (found for suffix, found in UNIT_SUFFIXES.items() if f"_{name}".endswith(suffix)),
        ("", None),
    )


def refuse_unknown(found: Iterable[str], allowed: Collection[str], where: str) -> None:
    """Raise RuleError for the first name that is not allowed, with the nearest one that is.

    Parameters
    ----------
    found, allowed : iterable of str
    where : str
        File, table and row, with which the message begins.

    Raises
    ------
    RuleError
    """
    for name in found:
        if name not in allowed:
            raise RuleError(f"{where}: unknown key {name!r}{suggest(name, allowed)}")


def suggest(name: str, allowed: Collection[str]) -> str:
    """The end of a message about an unknown name.

    Parameters
    ----------
    name : str
    allowed : iterable of str

    Returns
    -------
    str
        A question with the nearest of the allowed names, or the list of all of a few; empty for many.
    """
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(sorted(allowed))}" if len(allowed) <= 12 else ""


class _Context(NamedTuple):
    """The row that a value stands in, and the ids of the rows of the tables of its file."""

    row_id: str
    ids: Callable[[str], Collection[str]]


def check_row(
    row: Mapping[str, Any], schema: TableSchema, *, where: str, ids: Callable[[str], Collection[str]]
) -> None:
    """Check the data of one row against its table.

    Parameters
    ----------
    row : mapping of str to Any
        As parsed from TOML, with the keys every row has.
    schema : TableSchema
    where : str
        File, table and row, for errors.
    ids : callable
        Ids of the rows of a table of the same file, by its name.

    Raises
    ------
    RuleError
        For an unknown, missing or misplaced key, and for a value of wrong type, range, unit or wording.
    """
    refuse_unknown(row, schema.allowed, where)
    context = _Context(str(row.get("id")), ids)
    if schema.rows:
        _check_fixed_keys(row, schema, context.row_id, where)
    for key, item in schema.keys.items():
        if key in row:
            _check_value(row[key], item, f"{where}: {key}", context)
            for other in item.needs:
                if other not in row:
                    raise RuleError(f"{where}: {key} needs {other}")
        elif item.required:
            raise RuleError(f"{where} lacks {key}, {_NAMES[_LISTS.get(item.type, item.type)]}")


def _check_fixed_keys(row: Mapping[str, Any], schema: TableSchema, row_id: str, where: str) -> None:
    """Rows that code looks up by id have the keys that code reads."""
    if row_id not in schema.rows:
        raise RuleError(f"{where}: no rule reads a row of this id{suggest(row_id, schema.rows)}")
    wanted = schema.rows[row_id]
    for key in sorted(wanted):
        if key not in row:
            raise RuleError(f"{where} lacks {key}")
    refuse_unknown(row, (*ROW_KEYS, *sorted(wanted)), where)


def check_table_ids(ids: Iterable[str], schema: TableSchema, *, where: str) -> None:
    """Check that every row which code looks up by its id is there.

    Raises
    ------
    RuleError
        Naming the first row that is missing.
    """
    there = set(ids)
    for row_id in schema.rows:
        if row_id not in there:
            raise RuleError(f"{where} lacks the row {row_id}")


def _check_value(value: Any, schema: KeySchema, where: str, context: _Context) -> None:
    kind = _LISTS.get(schema.type)
    if kind is not None:
        if not isinstance(value, list):
            raise RuleError(f"{where} must be a list; found {value!r}")
        least, most = schema.length
        if len(value) < least or (most is not None and len(value) > most):
            wanted = f"at least {least}" if most is None else f"{least} to {most}"
            raise RuleError(f"{where} must have {wanted} items; found {len(value)}")
        for item in value:
            _check_item(item, kind, schema, where, context)
        return
    _check_item(value, schema.type, schema, where, context)


def _check_item(value: Any, kind: str, schema: KeySchema, where: str, context: _Context) -> None:
    if not _has_type(value, kind):
        unit = f" of {schema.unit}" if kind in ("number", "integer") and schema.unit != "id" else ""
        raise RuleError(f"{where} must be {_NAMES[kind]}{unit}; found {value!r}")
    if kind in ("text", "word"):
        _check_word(value, kind, schema, where, context)
    elif kind in ("number", "integer"):
        _check_range(value, schema, where, context)
    elif kind == "record":
        refuse_unknown(value, tuple(schema.keys), where)
        for key, item in schema.keys.items():
            if key in value:
                _check_value(value[key], item, f"{where}.{key}", context)
            elif item.required:
                raise RuleError(f"{where} lacks {key}")
    elif kind == "mapping" and schema.each is not None:
        for key, item in value.items():
            _check_value(item, schema.each, f"{where}.{key}", context)


def _has_type(value: Any, kind: str) -> bool:
    match kind:
        case "text" | "word":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "flag":
            return isinstance(value, bool)
        case "date":
            return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
        case _:
            return isinstance(value, dict)


def _check_word(value: str, kind: str, schema: KeySchema, where: str, context: _Context) -> None:
    if not value:
        if not schema.empty:
            raise RuleError(f"{where} must not be empty")
        return
    if kind == "text":
        if schema.pattern and not re.fullmatch(schema.pattern, value):
            raise RuleError(f"{where} must look like {schema.pattern}; found {value!r}")
        return
    if value in schema.words:
        return
    rows = context.ids(schema.row_of) if schema.row_of else ()
    if value not in rows:
        of = f"no row of {schema.row_of}" if schema.row_of else "none of its words"
        raise RuleError(f"{where}: {value!r} is {of}{suggest(value, (*rows, *sorted(schema.words)))}")


def _check_range(value: float, schema: KeySchema, where: str, context: _Context) -> None:
    unit, limits = schema.unit, schema.range
    if unit == "id":
        unit, implied = find_unit(context.row_id)
        limits = implied or limits
    if limits is not None and not limits[0] <= value <= limits[1]:
        words = "" if unit in ("", "1") else f" {unit}"
        raise RuleError(f"{where} must be from {limits[0]:g} to {limits[1]:g}{words}; found {value:g}")
