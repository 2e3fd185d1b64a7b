"""Dotted paths in saved records, checked against the fields that the records have.

A path is written as in the file, ``nodules.by_side.right.count`` or ``lesions[2].volume_mm3``; it serves both
to read a value and to say where the value was read.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from miliary.model.saved.codec import NOT_IN_FILE, SavedRecord

_STEP = re.compile(r"(?P<name>[\w]+)(?P<indices>(?:\[[^\]]*\])*)")


@dataclass(frozen=True)
class Member:
    """A file of a study.

    Parameters
    ----------
    path : str
        Within the study folder.
    record_type : type
        Class of the record that the file holds, such as `ScanSummary`.
    """

    path: str
    record_type: type


def follow(record: Any, path: str) -> Any:
    """Value at a path.

    Parameters
    ----------
    record : dataclass
        Whole summary of a member, such as `ScanSummary`.
    path : str
        Dotted, without brackets; every step is a field, or the key of a mapping.

    Returns
    -------
    object
        None where the value, or a record on the way to it, is not known.

    Raises
    ------
    ValueError
        If the records have no such field, whether or not their values are known.
    """
    check_path(type(record), path)
    value = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def find_reason(record: Any, path: str) -> str:
    """Why the value at a path is not known.

    Parameters
    ----------
    record : dataclass
    path : str
        As for `follow`.

    Returns
    -------
    str
        Empty where the file states none, as for a value that older files do not hold.

    Raises
    ------
    ValueError
        If the records have no such field.
    """
    check_path(type(record), path)
    parent, _, name = path.rpartition(".")
    owner = follow(record, parent) if parent else record
    reason = owner.reason_of(name) if isinstance(owner, SavedRecord) else ""
    return "" if reason == NOT_IN_FILE else reason


def check_path(cls: type, path: str) -> None:
    """Make sure that a path names a field of a record.

    Parameters
    ----------
    cls : type
        Class of the record.
    path : str
        Dotted; ``[...]`` behind a field stands for one entry of its list.

    Raises
    ------
    ValueError
        Naming the class and the step that does not exist.
    """
    kind: Any = cls
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        if match is None:
            raise ValueError(f"{cls.__name__} has no path {path!r}: {step!r} is no field")
        kind = _find_step(kind, match["name"])
        for _ in range(match["indices"].count("[")):
            kind = None if kind is None else _find_entry(kind)
        if kind is None:
            raise ValueError(f"{cls.__name__} has no path {path!r}: there is no {step!r}")


@cache
def _read_types(kind: Any) -> Mapping[str, Any]:
    """Declared types of the fields of a record."""
    return typing.get_type_hints(kind)


def _find_step(kind: Any, name: str) -> Any:
    """Declared type of a field or of a mapping's values; None where there is no such name."""
    kind = _strip_none(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read_types(kind).get(name)
    origin = typing.get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        keys, values = typing.get_args(kind)
        is_word = isinstance(keys, type) and issubclass(keys, StrEnum)
        return values if not is_word or name in {key.value for key in keys} else None
    return None


def _find_entry(kind: Any) -> Any:
    """Declared type of the entries of a list; None where it is no list."""
    kind = _strip_none(kind)
    origin = typing.get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return typing.get_args(kind)[0]
    return None


def _strip_none(kind: Any) -> Any:
    """The type without the None that a field may hold."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return options[0] if len(options) == 1 else kind
    return kind
