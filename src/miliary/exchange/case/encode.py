"""A case as plain values and as `case.yaml`: only what is stated, in the words that `read_case` takes.

`find_lost` compares two cases fact by fact: whatever a format could not hold is named, not dropped silently.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from miliary.errors import CaseError, OutputError
from miliary.exchange.case.case_file import CASE_NAME, read_case_text
from miliary.model.case import SCHEMA_VERSION, Case, When
from miliary.model.vocabulary import Origin, Presence

_LOOKS_LIKE_TIME = re.compile(
    r"day\s+-?\d{1,6}\Z|\d{4}-\d{1,2}-\d{1,2}\Z|\d{1,2}[./]\d{1,2}[./]\d{2,4}\Z", re.IGNORECASE
)
_BORDER = re.compile(r"[.\[](?![^\[]*\]\Z)|\[")
_HEAD = "# Written by 'miliary case import'; what was not stated is left out.\n"


def encode_case(case: Case) -> dict[str, Any]:
    """A case as plain values: strings, numbers, lists and dicts, without anything that was not stated.

    Parameters
    ----------
    case : Case

    Returns
    -------
    dict
        What `decode_case` takes; equal for two cases exactly if they state the same.
    """
    return _record(case, Case("").origin)


def _record(record: Any, origin: Origin) -> dict[str, Any]:
    """Fields that differ from what is taken where they are left out."""
    facts: dict[str, Any] = {}
    for spec in dataclasses.fields(record):
        value = getattr(record, spec.name)
        if spec.name == "origin":
            if value is not origin:
                facts["origin"] = value.value
            origin = value
    for spec in dataclasses.fields(record):
        value = getattr(record, spec.name)
        if spec.name != "origin" and not _is_default(spec, value):
            plain = _plain(value, origin)
            if plain is not None:
                facts[spec.name] = plain
    return facts


def _is_default(spec: dataclasses.Field[Any], value: Any) -> bool:
    if spec.default is not dataclasses.MISSING:
        return bool(value == spec.default)
    return spec.default_factory is not dataclasses.MISSING and bool(value == spec.default_factory())


def _plain(value: Any, origin: Origin) -> Any:
    if isinstance(value, When):
        return _time(value)
    if dataclasses.is_dataclass(value):
        return _record(value, origin) or None
    if isinstance(value, Mapping):
        held = {str(key): state.value for key, state in value.items() if state is not Presence.NOT_STATED}
        return held or None
    if isinstance(value, tuple):
        return [item for item in (_item(child, origin) for child in value) if item is not None] or None
    if isinstance(value, enum.Enum):
        return value.value
    return value if value != "" else None


def _item(value: Any, origin: Origin) -> Any:
    """One of a list: a record of which nothing is stated counts all the same, an empty word does not."""
    plain = _plain(value, origin)
    return {} if plain is None and dataclasses.is_dataclass(value) else plain


def _time(when: When) -> Any:
    """A date, a day or words as one text; several of them, or words that look like a date, as fields."""
    known = {"date": when.date and when.date.isoformat(), "day": when.day, "text": when.text or None}
    stated = {name: value for name, value in known.items() if value is not None}
    if list(stated) == ["date"]:
        return stated["date"]
    if list(stated) == ["day"]:
        return f"day {when.day}"
    if list(stated) == ["text"] and not _LOOKS_LIKE_TIME.match(when.text):
        return when.text
    return stated or None


def decode_case(content: Mapping[str, Any], *, name: str) -> Case:
    """The case that plain values state; `name` stands for the file they came from in errors.

    Raises
    ------
    CaseError
        As `read_case`.
    """
    try:
        return read_case_text(json.dumps(content, ensure_ascii=False), name=name)
    except CaseError as error:
        # The text that was decoded is one line that nobody wrote.
        raise CaseError(str(error).replace(f"{name} line 1:", f"{name}:", 1)) from None


def render_case(case: Case) -> str:
    """The text of a `case.yaml` that states the same."""
    content = {"schema_version": SCHEMA_VERSION, **encode_case(case)}
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def write_case(case: Case, folder: str | Path) -> Path:
    """Write a case to a folder as `case.yaml`; laboratory values stand in it too.

    Raises
    ------
    OutputError
        If there is one already, or none can be made there.
    """
    target = Path(folder)
    if (target / CASE_NAME).exists():
        raise OutputError(f"{target.name}/{CASE_NAME}: is there already; choose another folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / CASE_NAME).write_text(render_case(case), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{target.name}: cannot write there ({reason}); choose another folder") from None
    return target / CASE_NAME


def list_facts(case: Case) -> dict[str, Any]:
    """Every stated fact of a case by its path, as in ``labs[a1].value``."""
    return dict(_facts(encode_case(case), ""))


def _facts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        if not value and path:
            yield path, {}
        for name, child in value.items():
            yield from _facts(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, start=1):
            key = item.get("id") or item.get("study") or item.get("gene") or number
            yield from _facts(item, f"{path}[{key}]")
    else:
        yield path, value


def find_lost(before: Case, after: Case) -> tuple[str, ...]:
    """What `before` states and `after` does not, or states otherwise: paths, whole items as one."""
    left, right = list_facts(before), list_facts(after)
    lost = {path for path, value in left.items() if path not in right or right[path] != value}
    return tuple(dict.fromkeys(_shorten(path, lost, left) for path in left if path in lost))


def _shorten(path: str, lost: set[str], known: Mapping[str, Any]) -> str:
    """The largest part around a lost fact of which nothing is left."""
    for end in (match.start() for match in _BORDER.finditer(path)):
        part = path[:end]
        if all(other in lost for other in known if other.startswith((f"{part}.", f"{part}["))):
            return part
    return path
