"""Single facts in and out of FHIR R4 resources.

A field that FHIR knows has a path, another one a named extension or component.

A path is written ``dosage.dose.value`` or ``referenceRange[0].low.value``. What has no home in a resource
becomes an Observation's component or, elsewhere, an extension, coded with the name of the case's field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.exchange.codes import OWN, UCUM

FIELD_SYSTEM = f"{OWN}:field"
TIME_URL, WORDS_URL = f"{OWN}:day", f"{OWN}:time-in-words"
ABSENT_URL = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_STEP = re.compile(r"(\w+)(?:\[(\d+)\])?\Z")
_QUANTITY_UNITS = (("_mm", "mm"), ("_percent", "%"), ("_kg", "kg"), ("_cm", "cm"), ("_years", "a"))
_FHIR_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T.*)?\Z")


@dataclass(frozen=True)
class Home:
    """Where a field stands in a resource.

    `form` is plain (a value as it is), concept (a CodeableConcept), when (a date or time), component or
    extension. `codes` gives for words of the case a code of `system`; `code` names a component.
    """

    path: str = ""
    form: str = "plain"
    system: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, str] = ("", "")


def put(resource: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a path, making what lies between."""
    here: Any = resource
    steps = path.split(".")
    for number, step in enumerate(steps):
        match = _STEP.match(step)
        assert match is not None
        name, is_last = match[1], number == len(steps) - 1
        if match[2] is None:
            if is_last:
                here[name] = value
            else:
                here = here.setdefault(name, {})
            continue
        items = here.setdefault(name, [])
        while len(items) <= int(match[2]):
            items.append({})
        if is_last:
            items[int(match[2])] = value
        else:
            here = items[int(match[2])]


def get(resource: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None where something on the way is missing."""
    here: Any = resource
    for step in path.split("."):
        match = _STEP.match(step)
        assert match is not None
        here = here.get(match[1]) if isinstance(here, Mapping) else None
        if match[2] is not None:
            number = int(match[2])
            here = here[number] if isinstance(here, list) and number < len(here) else None
    return here


# --- one field ------------------------------------------------------------------------------------------


def write_field(resource: dict[str, Any], name: str, value: Any, home: Home | None) -> None:
    """Put one field of a record into a resource."""
    if home is None or home.form in ("component", "extension"):
        for key, single in _spread(name, value):
            _write_extra(resource, key, single, home)
    elif home.form == "when":
        _write_when(resource, home.path, value)
    elif home.form == "concept":
        put(resource, home.path, make_concept(str(value), home.system, home.codes))
    else:
        put(resource, home.path, value)


def read_field(resource: Mapping[str, Any], name: str, home: Home | None) -> Any:
    """The value of one field of a record, None where the resource does not hold it."""
    if home is None or home.form in ("component", "extension"):
        return _read_extra(resource, name, home)
    if home.form == "when":
        return _read_when(resource, home.path)
    value = get(resource, home.path)
    return read_concept(value, home.system, home.codes) if home.form == "concept" else value


def make_concept(word: str, system: str = "", codes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A CodeableConcept: the word as text, and its code where there is one."""
    code = (codes or {}).get(word)
    return ({"coding": [{"system": system, "code": code}]} if code else {}) | {"text": word}


def read_concept(concept: Any, system: str = "", codes: Mapping[str, str] | None = None) -> str | None:
    """The word of a CodeableConcept, by its code before its text."""
    if not isinstance(concept, Mapping):
        return None
    by_code = {code: word for word, code in (codes or {}).items()}
    codings = [coding for coding in concept.get("coding") or [] if isinstance(coding, Mapping)]
    for coding in codings:
        if coding.get("system") == system and coding.get("code") in by_code:
            return by_code[coding["code"]]
    text = concept.get("text") or next((c.get("display") or c.get("code") for c in codings), None)
    return str(text) if text else None


# --- times ----------------------------------------------------------------------------------------------


def _write_when(resource: dict[str, Any], path: str, value: Any) -> None:
    """A date as dateTime; a day counted from day 0, or words, as extensions of an empty one."""
    parts = value if isinstance(value, Mapping) else _time_parts(str(value))
    if "date" in parts:
        put(resource, path, parts["date"])
    extensions: list[dict[str, Any]] = []
    if "day" in parts:
        extensions.append({"url": TIME_URL, "valueInteger": parts["day"]})
    if "text" in parts:
        extensions.append({"url": WORDS_URL, "valueString": parts["text"]})
    if extensions:
        head, _, last = path.rpartition(".")
        put(resource, f"{head}._{last}" if head else f"_{last}", {"extension": extensions})


def _time_parts(text: str) -> dict[str, Any]:
    if re.match(r"\d{4}-\d{2}-\d{2}\Z", text):
        return {"date": text}
    day = re.match(r"day (-?\d+)\Z", text)
    return {"day": int(day[1])} if day else {"text": text}


def _read_when(resource: Mapping[str, Any], path: str) -> Any:
    head, _, last = path.rpartition(".")
    parts: dict[str, Any] = {}
    date = get(resource, path)
    if isinstance(date, str):
        match = _FHIR_DATE.match(date)
        parts |= {"date": match[1]} if match else {"text": date}
    for extension in get(resource, (f"{head}._{last}" if head else f"_{last}") + ".extension") or []:
        if extension.get("url") == TIME_URL:
            parts["day"] = extension.get("valueInteger")
        elif extension.get("url") == WORDS_URL:
            parts["text"] = extension.get("valueString")
    return parts or None


# --- what has no home in FHIR -----------------------------------------------------------------------------


def _spread(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A field as single values: a list repeats its name, a mapping extends it with a point."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _spread(f"{name}.{key}", child)
    elif isinstance(value, list):
        for item in value:
            yield from _spread(name, item)
    else:
        yield name, value


def _write_extra(resource: dict[str, Any], name: str, value: Any, home: Home | None) -> None:
    is_observation = resource["resourceType"] == "Observation"
    if is_observation and not (home and home.form == "extension"):
        system, code = home.code if home and home.code[0] else (FIELD_SYSTEM, name)
        component = {"code": {"coding": [{"system": system, "code": code}], "text": name.replace("_", " ")}}
        resource.setdefault("component", []).append(component | _component_value(name, value))
    else:
        content = {"url": f"{FIELD_SYSTEM}:{name}"} | _extension_value(value)
        resource.setdefault("extension", []).append(content)


def _component_value(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and _unit(name)):
        unit = _unit(name)
        named = {"unit": unit, "system": UCUM, "code": unit} if unit else {}
        return {"valueQuantity": {"value": value, **named}}
    return _typed(value)


def _extension_value(value: Any) -> dict[str, Any]:
    return {"valueDecimal": value} if isinstance(value, float) else _typed(value)


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    return {"valueInteger": value} if isinstance(value, int) else {"valueString": str(value)}


def _unit(name: str) -> str:
    return next((unit for ending, unit in _QUANTITY_UNITS if name.endswith(ending)), "")


def _read_extra(resource: Mapping[str, Any], name: str, home: Home | None) -> Any:
    single: list[Any] = []
    nested: dict[str, Any] = {}
    for key, value in _list_extras(resource):
        if key == name or (home is not None and key == home.code[1]):
            single.append(value)
        elif key.startswith(f"{name}."):
            nested[key.removeprefix(f"{name}.")] = value
    if nested:
        return nested
    return single[0] if len(single) == 1 else single or None


def _list_extras(resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name (or foreign code) and value of every component and of every extension of ours."""
    for component in resource.get("component") or []:
        for coding in get(component, "code.coding") or []:
            yield str(coding.get("code", "")), _read_value(component)
    for extension in resource.get("extension") or []:
        url = str(extension.get("url", ""))
        if url.startswith(f"{FIELD_SYSTEM}:"):
            yield url.removeprefix(f"{FIELD_SYSTEM}:"), _read_value(extension)


def _read_value(holder: Mapping[str, Any]) -> Any:
    if isinstance(holder.get("valueQuantity"), Mapping):
        return holder["valueQuantity"].get("value")
    if isinstance(holder.get("valueCodeableConcept"), Mapping):
        return read_concept(holder["valueCodeableConcept"])
    return next((value for key, value in holder.items() if key.startswith("value")), None)
