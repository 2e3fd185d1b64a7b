"""Records become JSON and come back, and what does not fit is named."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from miliary.errors import InputError, RecordError
from miliary.model.saved.codec import NOT_IN_FILE, SavedRecord, from_json, plain, saved, to_json


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Dot:
    AS_ARRAY: ClassVar[bool] = True
    x: float
    name: str


@dataclass(frozen=True)
class Part(SavedRecord):
    size_mm: float | None = None
    color: Color | None = None


@dataclass(frozen=True)
class Whole(SavedRecord):
    name: str
    count: int | None = None
    part: Part = field(default_factory=Part)
    parts: tuple[Part, ...] = saved(default=(), skip_damaged=True)
    by_color: Mapping[Color, int] = field(default_factory=dict)
    dots: tuple[Dot, ...] = ()
    day: dt.date | None = saved(default=None, omit_default=True)
    lobe: Color | None = saved(default=None, none_as="not_determined")
    end: int | None = saved(default=None, when=lambda whole: whole.name == "ends")
    late: float | None = saved(default=None, reason_last=True)
    value: str | int | float | bool | None = None
    facts: Mapping[str, Any] = saved(default_factory=dict, rest=True)


FULL = {
    "name": "ends",
    "count": None,
    "count_reason": "not counted",
    "part": {"size_mm": 1.5, "color": "red"},
    "parts": [{"size_mm": None, "size_mm_reason": "gone", "color": "blue"}],
    "by_color": {"red": 2},
    "dots": [[1.0, "a"]],
    "day": "2026-11-27",
    "lobe": "not_determined",
    "lobe_reason": "too close to tell",
    "end": None,
    "late": None,
    "value": 3,
    "more": [1, {"a": None}],
    "late_reason": "last of all",
}


def test_a_record_keeps_keys_order_and_values_of_its_file():
    known = {key: value for key, value in FULL.items() if key not in ("more", "late_reason")}
    content = {**known, "late_reason": "last of all"}

    found = from_json(Whole, content, name="w.json")

    assert found.value.missing_reasons == {
        "count": "not counted",
        "lobe": "too close to tell",
        "late": "last of all",
    }
    assert found.value.dots == (Dot(1.0, "a"),)
    assert found.value.day == dt.date(2026, 11, 27)
    assert list(to_json(found.value).items()) == list(content.items())
    assert found.warnings == ()


def test_what_no_field_takes_is_kept_where_a_record_has_a_field_for_it():
    found = from_json(Whole, FULL, name="w.json").value

    assert found.facts == {"more": [1, {"a": None}]}
    assert to_json(found) == FULL


def test_what_an_older_file_lacks_is_not_known_and_warned_of():
    found = from_json(Part, {"color": "red"}, name="p.json")

    assert found.value.size_mm is None
    assert found.value.reason_of("size_mm") == NOT_IN_FILE
    assert [(w.code, w.path) for w in found.warnings] == [("missing", "size_mm")]


def test_a_whole_part_that_is_absent_is_one_warning():
    found = from_json(Whole, {**FULL, "part": {}}, name="w.json")
    assert [w.path for w in found.warnings] == ["part.size_mm", "part.color"]

    without = {key: value for key, value in FULL.items() if key != "part"}
    found = from_json(Whole, without, name="w.json")
    assert [w.path for w in found.warnings] == ["part"]
    assert found.value.part.reason_of("color") == NOT_IN_FILE


def test_an_unknown_key_is_left_out_and_warned_of():
    found = from_json(Part, {"size_mm": 1.0, "color": None, "shape": "round"}, name="p.json")

    assert found.value == Part(1.0)
    assert [(w.code, w.path) for w in found.warnings] == [("unknown", "shape")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, "w.json: count must be a whole number, found 1.5"),
        ({"count": True}, "w.json: count must be a whole number, found true"),
        ({"name": 3}, "w.json: name must be text, found 3"),
        ({"part": []}, "w.json: part must be an object, found a list of 0"),
        ({"part": {"size_mm": "Jane Doe", "color": None}}, "part.size_mm must be a number, found other text"),
        ({"part": {"size_mm": float("nan"), "color": None}}, "part.size_mm must be a finite number"),
        ({"part": {"size_mm": 10**400, "color": None}}, "part.size_mm must be a finite number"),
        ({"part": {"size_mm": 1.0, "color": "green"}}, "part.color must be one of red, blue, found 'green'"),
        ({"by_color": {"green": 1}}, "by_color.green must be one of red, blue, found 'green'"),
        ({"by_color": {"red": "1"}}, "by_color.red must be a whole number, found '1'"),
        ({"dots": [[1.0]]}, r"dots\[0\] must be a list of 2, found a list of 1"),
        ({"dots": [[1.0, 2.0]]}, r"dots\[0\].name must be text, found 2"),
        ({"day": "27 November"}, "day must be a date as YYYY-MM-DD, found other text"),
        ({"value": []}, "value must be text or a whole number or a number or true or false"),
        ({"count_reason": 1}, "count_reason must be text, found 1"),
        ({"more": float("inf")}, "more must be a finite number"),
    ],
)
def test_what_contradicts_its_type_is_named_with_its_path(change, message):
    with pytest.raises(RecordError, match=message) as caught:
        from_json(Whole, {**FULL, **change}, name="w.json")
    assert isinstance(caught.value, InputError)


def test_what_cannot_be_done_without_is_named():
    with pytest.raises(RecordError, match=r"w\.json: name is missing"):
        from_json(Whole, {}, name="w.json")
    with pytest.raises(RecordError, match="the file must be an object, found a list of 0"):
        from_json(Whole, [], name="w.json")


def test_damaged_entries_of_a_list_made_for_it_are_left_out():
    found = from_json(
        Whole, {**FULL, "parts": [{"color": 1}, {"size_mm": 2.0, "color": None}]}, name="w.json"
    )

    assert found.value.parts == (Part(2.0),)
    assert [(w.code, w.path) for w in found.warnings] == [("damaged", "parts[0]")]


def test_only_what_json_has_is_written():
    with pytest.raises(ValueError, match="no number nan"):
        to_json(Part(float("nan")))
    with pytest.raises(TypeError, match="nothing like set"):
        plain({"a": {1}})
    with pytest.raises(TypeError, match="dict is no record"):
        to_json({})
