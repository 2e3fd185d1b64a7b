"""Every kind of saved record: JSON and back without loss, and files of earlier versions."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import enum
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miliary.errors import RecordError
from miliary.exchange.folders.kinds import read_schema
from miliary.exchange.folders.tables import read_nodules_csv, read_tracks_csv
from miliary.model.assessment import Assessment
from miliary.model.nodules import COLUMN_NAMES, TRACK_COLUMN_NAMES
from miliary.model.saved.case_summary import CaseSummary, EventSummary
from miliary.model.saved.codec import NOT_IN_FILE, REASON_SUFFIX, from_json, to_json
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.figure_index import FigureIndex, RadiographIndex
from miliary.model.saved.scan_summary import PatternSummary, ScanSummary
from miliary.model.saved.study_index import StudyIndex

SAVED = Path(__file__).parent / "saved_1_0"
RECORDS = {
    "scan": ScanSummary,
    "response": ComparisonSummary,
    "series": SeriesSummary,
    "case": CaseSummary,
    "figures": FigureIndex,
    "radiographs": RadiographIndex,
    "study": StudyIndex,
}
TEXT = st.text(max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SCALARS = {bool: st.booleans(), int: st.integers(), float: NUMBERS, str: TEXT, types.NoneType: st.none()}
SCALARS[dt.date] = st.dates()


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type may hold."""
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind in SCALARS:
        return SCALARS.get(kind, JSON)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values_of(item) for item in items))
    if origin is tuple and items[1:] == (Ellipsis,):
        return st.lists(values_of(items[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(item) for item in items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(values_of(items[0]), values_of(items[1]), max_size=2)
    return st.sampled_from(kind) if issubclass(kind, enum.StrEnum) else records_of(kind)


@st.composite
def records_of(draw: st.DrawFn, cls: Any) -> Any:
    """Records of a class that its codec can hold: what is written only under a condition agrees with it."""
    if not dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        return cls(**{name: draw(values_of(hints[name])) for name in cls._fields})
    hints = typing.get_type_hints(cls)
    fields = [f for f in dataclasses.fields(cls) if f.name != "missing_reasons"]
    names = {f.name for f in fields}
    given_values = {f.name: draw(values_of(hints[f.name])) for f in fields}
    if "facts" in names:
        given_values["facts"] = {f"more {k}": v for k, v in given_values["facts"].items()}
    if cls is PatternSummary and given_values["label"] is None:
        given_values = {"label": None}
    if cls is EventSummary:
        given_values["kind"] = draw(st.sampled_from(["imaging", "treatment", "adverse_event"]))
        kept = {"treatment": ("end_day", "line"), "adverse_event": ("end_day", "grade"), "imaging": ()}
        for name in {"end_day", "line", "grade"} - set(kept[given_values["kind"]]):
            given_values[name] = None
    if cls is Assessment:
        for name in ("rule_id", "statement", "reason"):
            given_values[name] = given_values[name] or "x"
    if "missing_reasons" in {f.name for f in dataclasses.fields(cls)}:
        free = sorted(n for n in names - {"facts"} if n + REASON_SUFFIX not in names)
        given_values["missing_reasons"] = draw(st.dictionaries(st.sampled_from(free), TEXT, max_size=2))
    return cls(**given_values)


@pytest.mark.parametrize("cls", RECORDS.values(), ids=RECORDS)
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(data=st.data())
def test_a_record_of_any_kind_comes_back_from_its_text(cls, data):
    record = data.draw(records_of(cls))
    text = json.dumps(to_json(record), allow_nan=False)

    found = from_json(cls, json.loads(text), name="file")

    assert found.value == record
    assert [w for w in found.warnings if w.code != "missing"] == []


@pytest.mark.parametrize("name", RECORDS)
def test_a_saved_file_is_read_without_a_warning_and_written_as_it_was(name):
    content = json.loads((SAVED / f"{name}.json").read_text("utf-8"))

    found = from_json(RECORDS[name], content, name=f"{name}.json")

    assert found.warnings == ()
    # A word that was replaced is written as its successor.
    assert json.dumps(to_json(found.value)) == json.dumps(content).replace('"gone"', '"no_longer_seen"')


@pytest.mark.parametrize("name", ["scan", "response"])
def test_a_saved_file_is_as_its_published_schema_says(name):
    content = json.loads((SAVED / f"{name}.json").read_text("utf-8"))
    jsonschema.validate(to_json(from_json(RECORDS[name], content, name=name).value), read_schema(name))


def test_the_first_scans_of_version_one_stay_readable():
    content = json.loads((SAVED / "scan_first.json").read_text("utf-8"))

    found = from_json(ScanSummary, content, name="scan.json")

    added = {"corrected", "completeness", "pattern", "lesions", "extent", "true_sizes", "definitions"}
    assert {w.path for w in found.warnings} == added
    assert {w.code for w in found.warnings} == {"missing"}
    summary = found.value
    assert summary.nodules.count == content["nodules"]["count"]
    assert (summary.corrected.count, summary.corrected.reason_of("count")) == (None, NOT_IN_FILE)
    assert (summary.pattern.label, summary.lesions, summary.definitions) == (None, (), ())


def paths(content: Any, here: tuple[str, ...] = ()) -> typing.Iterator[tuple[str, ...]]:
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*here, key)
        yield from paths(value, (*here, key))


def test_a_file_that_lacks_any_one_part_stays_readable():
    for name in ("scan", "response"):
        text = (SAVED / f"{name}.json").read_text("utf-8")
        for path in [p for p in paths(json.loads(text)) if len(p) <= 2]:
            content = json.loads(text)
            inner = content[path[0]] if path[1:] else content
            del inner[path[-1]]
            found = from_json(RECORDS[name], content, name=name)
            is_free = (path[1:] and path[0] in ("provenance", "tracks")) or (
                path[-1].endswith(REASON_SUFFIX) and path[-1] != "category_reason"
            )
            told = {w.path for w in found.warnings if w.code == "missing"}
            assert told == (set() if is_free or path[-1] == "change_percent" else {".".join(path)})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("nodules", "count"), "scan.json: nodules.count must be a whole number, found 'x'"),
        (("lesions",), "scan.json: lesions must be a list, found 'x'"),
        (("pattern", "label"), "pattern.label must be one of random, perilymphatic, centrilobular"),
    ],
)
def test_a_damaged_value_is_named(path, message):
    content = json.loads((SAVED / "scan.json").read_text("utf-8"))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "x"
    with pytest.raises(RecordError, match=message):
        from_json(ScanSummary, content, name="scan.json")


# --- tables


def without_column(source: Path, name: str, target: Path) -> Path:
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [column for column in rows[0] if column != name]
    lines = [",".join(kept), *(",".join(row[column] for column in kept) for row in rows)]
    target.write_text("\n".join(lines) + "\n")
    return target


@pytest.mark.parametrize(
    ("file", "read", "names", "needed"),
    [
        ("nodules.csv", read_nodules_csv, COLUMN_NAMES, {"id", "x_mm", "y_mm", "z_mm"}),
        ("tracks.csv", read_tracks_csv, TRACK_COLUMN_NAMES, {"id", "fate", "baseline_id", "followup_id"}),
    ],
)
def test_a_table_that_lacks_any_one_column_is_read_as_far_as_it_goes(tmp_path, file, read, names, needed):
    whole = read(SAVED / file)
    assert whole.warnings == ()
    for name in names:
        path = without_column(SAVED / file, name, tmp_path / file)
        if name in needed:
            with pytest.raises(RecordError, match=f"{file}: has no column {name}"):
                read(path)
            continue
        found = read(path)
        assert [(w.code, w.path) for w in found.warnings] == [("missing", name)]
        lost = found.value[name]
        assert all(value == "" for value in lost) if lost.dtype == object else np.isnan(lost).all()
        others = [other for other in names if other != name]
        assert all(
            np.array_equal(found.value[o], whole.value[o], equal_nan=whole.value[o].dtype != object)
            for o in others
        )


def test_a_column_that_is_not_known_is_left_out_with_a_warning(tmp_path):
    rows = (SAVED / "nodules.csv").read_text().splitlines()
    (tmp_path / "nodules.csv").write_text("\n".join([rows[0] + ",new_mm", *(r + ",1" for r in rows[1:])]))
    found = read_nodules_csv(tmp_path / "nodules.csv")
    assert [(w.code, w.path) for w in found.warnings] == [("unknown", "new_mm")]
    assert len(found.value) == len(rows) - 1


@pytest.mark.parametrize(
    "text", ["", "id\nx\n", "id,x_mm,y_mm,z_mm\nx,1,2,3\n", "id,x_mm,y_mm,z_mm\n1,a,2,3\n"]
)
def test_a_damaged_table_is_refused(tmp_path, text):
    (tmp_path / "nodules.csv").write_text(text)
    with pytest.raises(RecordError, match=r"nodules\.csv"):
        read_nodules_csv(tmp_path / "nodules.csv")
