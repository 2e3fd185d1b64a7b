"""Saved results of any shape: whatever a file holds where something else belongs, the page is made."""

import copy
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miliary.exchange.folders.study_file import read_study
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.study import StudyResult
from miliary.report import render_report
from miliary.report.care import render_markdown, write_draft
from tests.report.conftest import MORE_OF_SCAN, RESPONSE, complete
from tests.report.outline import Page
from tests.report.test_board import RECIST, SERIES

JUNK = st.sampled_from(
    [None, 0, -1, 3, 1e308, float("inf"), float("nan"), True, "", "x", "<&>", "{0}", [], [None], {}, {"a": 1}]
)
SCAN = {
    "schema_version": "1.0",
    "kind": "miliary.ct",
    "origin": "measured",
    "nodules": {
        "count": 5,
        "count_per_litre": 3.0,
        "total_volume_mm3": 9.0,
        "total_volume_mm3_err": 1.0,
        "by_side": {"right": {"by_zone": {"upper": 1}, "total_volume_mm3": 2.0}},
        "diameter_mm": {
            "median": 2.0,
            "histogram": {"edges": [0.0, 1.0, 2.0], "counts": [1, 2], "n_above": 0},
        },
    },
    "warnings": [{"code": "w", "message": "made up"}],
    "provenance": {"version": "0", "seed": 1},
    **MORE_OF_SCAN,
}
FIGURES = [
    {
        "name": "axial_1_5mm",
        "file": "axial_1_5mm.png",
        "kind": "slab",
        "plane": "axial",
        "level": 1,
        "thickness_mm": 5.0,
        "size_px": [9, 9],
    }
    | {"marks": [[1, 2.0, 3.0, 1.0, "solid"]], "pixel_mm": 0.7, "window_hu": [-1000, 100]},
    {"name": "burden_map", "kind": "burden_map", "values": [[None, 1.0], [2.0, 0.0]]},
]
FILM = {"name": "film", "file": "film.png", "kind": "radiograph", "view": "pa", "burned_in": None}
WHOLE_SCAN = complete(ScanSummary, SCAN)
WHOLE_RESPONSE = complete(ComparisonSummary, RESPONSE | {"recist": RECIST})
PNG = b"\x89PNG\r\n\x1a\n" + b"IEND"


@pytest.fixture(scope="module")
def case(case_folder):
    content = json.loads((case_folder / "case.json").read_text())
    # A few of each kind of rule are enough to be broken.
    kept: dict[str, int] = {}
    few = []
    for assessment in content["assessments"]:
        start = ".".join(assessment["rule_id"].split(".")[:2])
        kept[start] = kept.get(start, 0) + 1
        if kept[start] <= 2:
            few.append(assessment)
    return content | {"assessments": few}


def places(content, here=()):
    """Path of everything in a JSON value."""
    yield here
    if isinstance(content, dict):
        for name, value in content.items():
            yield from places(value, (*here, name))
    elif isinstance(content, list):
        for index, value in enumerate(content[:3]):
            yield from places(value, (*here, index))


def spoil(content, changes):
    """A copy with junk at some places."""
    known = [place for place in places(content) if place]
    spoiled = copy.deepcopy(content)
    for share, junk in changes:
        *way, last = known[int(share * len(known)) % len(known)]
        part = spoiled
        try:
            for step in way:
                part = part[step]
            part[last] = copy.deepcopy(junk)
        except (KeyError, IndexError, TypeError):
            continue
    return spoiled


CHANGES = st.lists(st.tuples(st.floats(0, 0.9999), JUNK), min_size=1, max_size=12)


def write_study(folder, parts):
    """A study folder whose first scan, comparison, case, series and figures hold what is given."""
    members = {
        "ct/baseline/scan.json": parts["scan"],
        "ct/followup/scan.json": WHOLE_SCAN,
        "compare/baseline__followup/response.json": parts["response"],
        "compare/series.json": parts["series"],
        "case/case.json": parts["case"],
        "ct/baseline/figures/figures.json": {
            "schema_version": "1.0",
            "kind": "miliary.figures",
            "figures": parts["figures"],
        },
        "radiographs/figures.json": {
            "schema_version": "1.0",
            "kind": "miliary.figures",
            "figures": [parts["radiograph"]],
        },
    }
    for member, content in members.items():
        (folder / member).parent.mkdir(parents=True, exist_ok=True)
        (folder / member).write_text(json.dumps(content))
    for picture in ("ct/baseline/figures/axial_1_5mm.png", "radiographs/film.png"):
        (folder / picture).write_bytes(PNG)
    return folder


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, language=st.sampled_from(["en", "ja"]))
def test_junk_anywhere_never_stops_the_page_or_the_draft(case, changes, language):
    whole = {"scan": WHOLE_SCAN, "response": WHOLE_RESPONSE, "case": case, "figures": FIGURES}
    whole |= {"series": complete(SeriesSummary, SERIES), "radiograph": FILM}
    with tempfile.TemporaryDirectory() as name:
        study = read_study(write_study(Path(name), spoil(whole, changes)))
    html = render_report(study, language=language)
    assert Page(html).trouble == []
    # What could not be read is named, and the sound scan is shown whatever happened to the other.
    named = {problem.member for problem in study.problems}
    for member, record in (
        ("ct/baseline/scan.json", study.scans[0].record),
        ("compare/baseline__followup/response.json", study.comparisons[0].record),
        ("compare/series.json", study.series),
        ("case/case.json", study.case),
    ):
        assert record is not None or member in named
    assert all(f"<code>{member}</code>" in html for member in named)
    assert "4,812" in html
    draft = write_draft(study, language=language)
    assert render_markdown(draft).startswith("# ")
    assert all(isinstance(p, str) for section in draft.sections for p in section.paragraphs)


def test_an_empty_study_is_a_page_too():
    assert Page(render_report(StudyResult("nothing"))).trouble == []
