"""Results as plain JSON values and back: the only place that does either, driven by the records' types.

A record is a frozen dataclass or a named tuple whose fields are the keys of the file, in their order. A field
may be a bool, int, float, str, `StrEnum`, date, another record, ``X | None``, ``tuple[X, ...]`` or
``tuple[X, Y]`` (arrays), ``Mapping[str, X]`` (also with an enum for its keys), or ``Any`` (kept as it is).
A class may state ``AS_ARRAY = True`` (written as an array of its fields) or ``BARE = "field"`` (text in its
place is read as that field).

A value that is not known is null, with the reason in a sibling key ``<field>_reason``. In memory the reasons
of a record are in its field `missing_reasons`, by field.

Reading is tolerant of what another version of the program wrote, and strict on what contradicts a type:

====================================  ================================================================
a key of an optional field is absent  the field is None, its reason says that the file does not hold it
the key of a record is absent         the same for every field of that record
a key that no field has               left out
====================================  ================================================================

Each of these adds a warning. Everything else that does not fit raises `RecordError`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar, cast

from miliary.errors import RecordError

T = TypeVar("T")

NOT_IN_FILE = "the file does not hold it"
REASON_SUFFIX = "_reason"
_RULE = "saved"
_REASONS = "missing_reasons"
_WORD = re.compile(r"[\w.\-]{1,24}")


@dataclass(frozen=True)
class SavedRecord:
    """Base of records whose fields may be unknown.

    Parameters
    ----------
    missing_reasons : mapping of str to str
        Why a field is None, by the field's name; written as the siblings ``<field>_reason``.
    """

    missing_reasons: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def reason_of(self, name: str) -> str:
        """Why a field is None; empty where the file does not say."""
        return self.missing_reasons.get(name, "")


@dataclass(frozen=True)
class FileWarning:
    """Something in a file that does not fit this version of the program, and was passed over.

    Parameters
    ----------
    code : str
        ``missing`` (the file does not hold it), ``unknown`` (this version does not know it) or ``damaged``
        (an entry of a list that was left out).
    path : str
        Dotted path in the file, as in ``nodules.by_side``.
    message : str
        One sentence.
    """

    code: str
    path: str
    message: str


@dataclass(frozen=True)
class Decoded(Generic[T]):
    """A record read from JSON, and what was passed over in reading it."""

    value: T
    warnings: tuple[FileWarning, ...] = ()


@dataclass(frozen=True)
class _Rule:
    """How one field is written and read, beyond its type; see `saved`."""

    omit_default: bool = False
    none_as: str | None = None
    reason_last: bool = False
    when: Callable[[Any], bool] | None = None
    skip_damaged: bool = False
    rest: bool = False


def saved(
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    omit_default: bool = False,
    none_as: str | None = None,
    reason_last: bool = False,
    when: Callable[[Any], bool] | None = None,
    skip_damaged: bool = False,
    rest: bool = False,
) -> Any:
    """A dataclass field with more to say about its place in the file than its type does.

    Parameters
    ----------
    default, default_factory
        As of `dataclasses.field`.
    omit_default : bool
        The key is left out where the value is the default and no reason is given; its absence is no warning.
    none_as : str, optional
        What the file holds in place of null.
    reason_last : bool
        The reason follows the last field of the record, not this one.
    when : callable, optional
        Called with the record; the key is written, and expected, only where it returns True. While reading
        it sees the fields before this one.
    skip_damaged : bool
        Entries of this list that do not fit are left out with a warning.
    rest : bool
        The mapping's entries are keys of the record itself: all that no other field takes.
    """
    rule = _Rule(omit_default, none_as, reason_last, when, skip_damaged, rest)
    given = {"default": default, "default_factory": default_factory}
    options: dict[str, Any] = {k: v for k, v in given.items() if v is not dataclasses.MISSING}
    return field(**options, metadata={_RULE: rule})


@dataclass(frozen=True)
class _Field:
    name: str
    type: Any
    rule: _Rule
    default: Callable[[], Any] | None


@dataclass(frozen=True)
class _Shape:
    """What the codec knows of one record class."""

    fields: tuple[_Field, ...]
    has_reasons: bool
    is_array: bool
    bare: str | None


@cache
def _shape_of(cls: type) -> _Shape:
    hints = typing.get_type_hints(cls)
    if dataclasses.is_dataclass(cls):
        found = tuple(
            _Field(f.name, hints[f.name], f.metadata.get(_RULE, _Rule()), _default_of(f))
            for f in dataclasses.fields(cls)
            if f.name != _REASONS
        )
        has_reasons = any(f.name == _REASONS for f in dataclasses.fields(cls))
    else:
        names = cast("Any", cls)._fields
        found, has_reasons = tuple(_Field(name, hints[name], _Rule(), None) for name in names), False
    return _Shape(found, has_reasons, getattr(cls, "AS_ARRAY", False), getattr(cls, "BARE", None))


def _default_of(f: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory
    if f.default is not dataclasses.MISSING:
        return lambda: f.default
    return None


def _is_record(cls: Any) -> bool:
    return isinstance(cls, type) and (
        dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    )


# --- writing ---------------------------------------------------------------------------------------------


def to_json(record: Any) -> dict[str, Any]:
    """A record as plain JSON values.

    Parameters
    ----------
    record : dataclass or named tuple
        With fields as the module describes.

    Returns
    -------
    dict
        Of str, int, float, bool, None, list and dict only, keys in the order of the fields.

    Raises
    ------
    TypeError
        It is no record, or holds something that JSON does not have.
    ValueError
        A number is not finite.
    """
    if not _is_record(type(record)):
        raise TypeError(f"{type(record).__name__} is no record")
    return _encode_record(record)


def _encode_record(record: Any) -> dict[str, Any]:
    shape = _shape_of(cast("Any", type(record)))
    reasons = record.missing_reasons if shape.has_reasons else {}
    out: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for f in shape.fields:
        value, rule = getattr(record, f.name), f.rule
        if rule.rest:
            out |= plain(value)
            continue
        is_left_out = rule.omit_default and f.name not in reasons and f.default and value == f.default()
        if not (is_left_out or (rule.when and not rule.when(record))):
            out[f.name] = rule.none_as if value is None else plain(value)
        if f.name in reasons:
            (last if rule.reason_last else out)[f.name + REASON_SUFFIX] = reasons[f.name]
    return out | last


def plain(value: Any) -> Any:
    """A value as JSON has it: records and mappings as objects, tuples as arrays, words as text.

    Raises
    ------
    TypeError
        JSON has nothing like it.
    ValueError
        A number is not finite.
    """
    if _is_record(type(value)):
        shape = _shape_of(cast("Any", type(value)))
        if shape.is_array:
            return [plain(getattr(value, f.name)) for f in shape.fields]
        return _encode_record(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> str | float | bool | None:
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, enum.StrEnum):
        return value.value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON has no number {value}")
        return float(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"JSON has nothing like {type(value).__name__}")


# --- reading ---------------------------------------------------------------------------------------------


def from_json(cls: type[T], content: object, *, name: str) -> Decoded[T]:
    """A record from plain JSON values.

    Parameters
    ----------
    cls : type
        The record's class.
    content : object
        What `json.loads` gave.
    name : str
        How messages call the file.

    Returns
    -------
    Decoded
        The record, and a warning for everything that was passed over.

    Raises
    ------
    RecordError
        A value contradicts its type, or something that cannot be done without is absent. The message names
        the file, the dotted path, what was expected and what was found.
    """
    reader = _RecordReader(name)
    value = reader.read(cls, content, "")
    return Decoded(cast("T", value), tuple(reader.warnings))


class _RecordReader:
    """Reads the values of one file and keeps what was passed over."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.warnings: list[FileWarning] = []

    def fail(self, path: str, expected: str, found: object) -> typing.NoReturn:
        raise RecordError(f"{self.name}: {path or 'the file'} must be {expected}, found {_in_words(found)}")

    def warn(self, code: str, path: str, what: str) -> None:
        self.warnings.append(FileWarning(code, path, f"{self.name}: {path} {what}"))

    def read(self, kind: Any, value: object, path: str) -> Any:
        """One value of a declared type."""
        origin = typing.get_origin(kind)
        if kind is Any:
            return self.read_any(value, path)
        if origin in (types.UnionType, typing.Union):
            return self.read_union(typing.get_args(kind), value, path)
        if origin is tuple:
            return self.read_array(typing.get_args(kind), value, path)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self.read_mapping(typing.get_args(kind), value, path)
        if _is_record(kind):
            return self.read_record(kind, value, path)
        return self.read_scalar(kind, value, path)

    def read_scalar(self, kind: Any, value: object, path: str) -> Any:
        if kind in (bool, int, str) and type(value) is kind:
            return value
        if kind is float and (isinstance(value, float) or type(value) is int):
            return self.read_float(cast("float", value), path)
        if kind is types.NoneType and value is None:
            return value
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
            return self.read_word(kind, value, path)
        if kind is dt.date:
            return self.read_date(value, path)
        return self.fail(path, _name_type(kind), value)

    def read_float(self, value: float, path: str) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(path, "a finite number", value)
        return number

    def read_word(self, kind: type[enum.StrEnum], value: object, path: str) -> enum.StrEnum:
        words = [member.value for member in kind]
        if not isinstance(value, str):
            self.fail(path, f"one of {', '.join(words)}", value)
        try:
            # A word of an earlier version stands for its successor where the enum says so.
            return kind(value)
        except ValueError:
            self.fail(path, f"one of {', '.join(words)}", value)

    def read_date(self, value: object, path: str) -> dt.date:
        try:
            return dt.date.fromisoformat(cast("str", value))
        except (TypeError, ValueError):
            self.fail(path, "a date as YYYY-MM-DD", value)

    def read_any(self, value: object, path: str) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            self.fail(path, "a finite number", value)
        if isinstance(value, list | tuple):
            return [self.read_any(item, f"{path}[{k}]") for k, item in enumerate(value)]
        if isinstance(value, Mapping):
            return {str(key): self.read_any(item, _join(path, key)) for key, item in value.items()}
        return value

    def read_union(self, options: tuple[Any, ...], value: object, path: str) -> Any:
        rest = [option for option in options if option is not types.NoneType]
        if value is None and len(rest) < len(options):
            return None
        if len(rest) == 1:
            return self.read(rest[0], value, path)
        # Several scalars: whole numbers stay whole, so the narrowest type that fits is taken.
        for option in sorted(rest, key=lambda kind: kind is float):
            try:
                return self.read_scalar(option, value, path)
            except RecordError:
                continue
        return self.fail(path, " or ".join(_name_type(option) for option in rest), value)

    def read_array(self, items: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            self.fail(path, "a list", value)
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(self.read(items[0], item, f"{path}[{k}]") for k, item in enumerate(value))
        if len(value) != len(items):
            self.fail(path, f"a list of {len(items)}", value)
        pairs = enumerate(zip(items, value, strict=True))
        return tuple(self.read(kind, item, f"{path}[{k}]") for k, (kind, item) in pairs)

    def read_mapping(self, items: tuple[Any, ...], value: object, path: str) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            self.fail(path, "an object", value)
        return {
            self.read(items[0], str(key), _join(path, key)): self.read(items[1], item, _join(path, key))
            for key, item in value.items()
        }

    def read_record(self, cls: Any, value: object, path: str) -> Any:
        shape = _shape_of(cls)
        if shape.is_array and isinstance(value, list | tuple):
            if len(value) != len(shape.fields):
                self.fail(path, f"a list of {len(shape.fields)}", value)
            value = {f.name: item for f, item in zip(shape.fields, value, strict=True)}
        if shape.bare and isinstance(value, str):
            value = {shape.bare: value}
        if not isinstance(value, Mapping):
            self.fail(path, "an object", value)
        read: dict[str, Any] = {}
        reasons = dict(self.read_reasons(shape, value, path)) if shape.has_reasons else {}
        for f in shape.fields:
            if not f.rule.rest:
                read[f.name] = self.read_field(f, value, read, reasons, path)
        read |= self.read_rest(shape, value, path)
        if shape.has_reasons:
            read[_REASONS] = reasons
        read_all = {f.name: f.default() for f in shape.fields if f.default} | read
        try:
            return cls(**read_all)
        except RecordError:
            raise
        except ValueError as error:
            raise RecordError(f"{self.name}: {path or 'the file'} cannot be: {error}") from error

    def read_field(
        self,
        f: _Field,
        content: Mapping[Any, Any],
        before: Mapping[str, Any],
        reasons: dict[str, str],
        path: str,
    ) -> Any:
        here, rule = _join(path, f.name), f.rule
        if f.name not in content:
            return self.read_absent(f, before, reasons, here)
        value = content[f.name]
        if rule.none_as is not None and value == rule.none_as:
            return None
        if rule.skip_damaged and isinstance(value, list):
            return tuple(self.read_sound(typing.get_args(f.type)[0], value, here))
        return self.read(f.type, value, here)

    def read_absent(self, f: _Field, before: Mapping[str, Any], reasons: dict[str, str], path: str) -> Any:
        """What a field is whose key the file does not hold."""
        rule = f.rule
        is_expected = not rule.omit_default and (
            rule.when is None or rule.when(types.SimpleNamespace(**before))
        )
        if not is_expected and f.default:
            return f.default()
        if _is_record(f.type) and f.default:
            within = _RecordReader(self.name)
            value = within.read(f.type, {}, path)
        elif f.default:
            value = f.default()
        else:
            raise RecordError(
                f"{self.name}: {path} is missing; the file is damaged or was not written by this program"
            )
        if value is None:
            reasons.setdefault(f.name, NOT_IN_FILE)
        self.warn("missing", path, "is missing and taken as not known")
        return value

    def read_sound(self, kind: Any, values: list[Any], path: str) -> Iterator[Any]:
        """The entries of a list that fit their type."""
        for k, value in enumerate(values):
            within = _RecordReader(self.name)
            try:
                found = within.read(kind, value, f"{path}[{k}]")
            except RecordError as error:
                self.warnings.append(FileWarning("damaged", f"{path}[{k}]", str(error)))
                continue
            self.warnings += within.warnings
            yield found

    def read_reasons(self, shape: _Shape, content: Mapping[Any, Any], path: str) -> Iterator[tuple[str, str]]:
        names = {f.name for f in shape.fields}
        for f in shape.fields:
            key = f.name + REASON_SUFFIX
            if key in content and key not in names:
                yield f.name, self.read_scalar(str, content[key], _join(path, key))

    def read_rest(self, shape: _Shape, content: Mapping[Any, Any], path: str) -> dict[str, Any]:
        """Keys that no field has: for the field that takes them, else left out with a warning."""
        names = {f.name for f in shape.fields if not f.rule.rest}
        if shape.has_reasons:
            names |= {name + REASON_SUFFIX for name in names}
        others = {str(key): _join(path, key) for key in content if key not in names}
        for f in shape.fields:
            if f.rule.rest:
                return {f.name: {key: self.read_any(content[key], here) for key, here in others.items()}}
        for here in others.values():
            self.warn("unknown", here, "is not known to this version and left out")
        return {}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _name_type(kind: Any) -> str:
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        types.NoneType: "null",
        dt.date: "a date as YYYY-MM-DD",
    }
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _in_words(value: object) -> str:
    """What was found, without quoting text that could identify a person."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value) if _WORD.fullmatch(value) else "other text"
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)[:24]
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else type(value).__name__
