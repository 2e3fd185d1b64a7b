"""The JSON schema of `case.yaml`, made from the records of `miliary.case` so that the two cannot part."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from miliary.exchange.case.decode import LIMITS
from miliary.model import case as nouns
from miliary.model.case import SCHEMA_VERSION, Case, When
from miliary.model.vocabulary import Presence

_WHEN = {
    "description": "A date (2021-03-09), 'day N' counted from day_zero, or words.",
    "type": ["string", "object", "null"],
}


def build_case_schema() -> dict[str, Any]:
    """The schema, as plain JSON values."""
    schema = _record(Case)
    schema["properties"]["schema_version"] = {"type": "string", "pattern": r"^1(\.\d+)?$"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A case of miliary lung disease",
        "version": SCHEMA_VERSION,
        **schema,
    }


def _record(kind: type) -> dict[str, Any]:
    hints = _hints(kind)
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and not (f.name == "id" and kind is not Case)  # given by place where it is left out
    ]
    described = " ".join((inspect.getdoc(kind) or "").replace("`", "").split())
    schema: dict[str, Any] = {
        "type": "object",
        "description": described,
        "properties": {f.name: _field(hints[f.name], f.name) for f in dataclasses.fields(kind)},
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(nouns))


def _field(hint: Any, name: str) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    outer = typing.get_origin(hint)
    if outer is tuple:
        return {"type": ["array", "null"], "items": _field(typing.get_args(hint)[0], name)}
    if outer is Mapping:
        key, _ = typing.get_args(hint)
        return {
            "type": ["object", "null"],
            "additionalProperties": _enum(Presence),
            **({} if key is str else {"propertyNames": {"enum": [member.value for member in key]}}),
        }
    if hint is When:
        return _WHEN
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return {**_record(hint), "type": ["object", "null"]}
    return _scalar(hint, name)


def _scalar(hint: Any, name: str) -> dict[str, Any]:
    if hint in (int, float):
        low, high = LIMITS.get(name, (0, 1e9))
        kind = "integer" if hint is int else "number"
        return {"type": [kind, "null"], "minimum": low, "maximum": high}
    if hint is bool:
        return {"type": ["boolean", "null"]}
    if hint is str:
        return {"type": ["string", "null"]}
    return _enum(hint)


def _enum(kind: Any) -> dict[str, Any]:
    return {"enum": [*(member.value for member in kind), None]}
