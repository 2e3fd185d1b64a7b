"""Reading saved JSON that may be older, partial or damaged: what is not as expected is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def find(content: object, path: str) -> Any:
    """What stands at a dotted path, None where nothing does."""
    for name in path.split("."):
        if not isinstance(content, Mapping):
            return None
        content = content.get(name)
    return content


def number(content: object, path: str) -> float | None:
    """A finite number at a dotted path."""
    return as_number(find(content, path))


def as_number(value: object) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def text(content: object, path: str) -> str:
    """Text at a dotted path, empty where there is none."""
    value = find(content, path)
    return value if isinstance(value, str) else ""


def items(content: object, path: str) -> list[JsonObject]:
    """The objects of a list at a dotted path; whatever else is in it is left out."""
    value = find(content, path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def numbers(content: object, path: str) -> list[float]:
    """A list of finite numbers; empty if one of them is not."""
    value = find(content, path)
    found = [as_number(item) for item in value] if isinstance(value, list) else []
    known = [item for item in found if item is not None]
    return known if len(known) == len(found) else []


def words(content: object, path: str) -> list[str]:
    """The texts of a list at a dotted path."""
    value = find(content, path)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def pair(content: object, path: str) -> tuple[float, float] | None:
    """Two numbers, as of an interval."""
    found = numbers(content, path)
    return (found[0], found[1]) if len(found) == 2 else None
