"""Saved results of any shape: whatever stands where something else belongs, the page is made."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.report import render_report
from miliary.report.care import render_markdown, write_draft
from miliary.report.page import render_report as render
from tests.report.conftest import MORE_OF_SCAN, RESPONSE
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
        "kind": "slab",
        "plane": "axial",
        "level": 1,
        "thickness_mm": 5.0,
        "size_px": [9, 9],
    }
    | {"marks": [[1, 2.0, 3.0, 1.0, "solid"]], "pixel_mm": 0.7, "window_hu": [-1000, 100]},
    {"name": "burden_map", "kind": "burden_map", "values": [[None, 1.0], [2.0, 0.0]]},
]
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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, language=st.sampled_from(["en", "ja"]))
def test_junk_anywhere_never_stops_the_page_or_the_draft(case, changes, language):
    response = RESPONSE | {"recist": RECIST}
    whole = {"scan": SCAN, "response": response, "case": case, "figures": FIGURES, "series": SERIES}
    whole["radiograph"] = {"kind": "radiograph", "number": 1, "view": "pa", "burned_in": None}
    parts = spoil(whole, changes)
    figures = parts["figures"] if isinstance(parts["figures"], list) else []
    pictures = tuple(Picture(str(f.get("name")), f, PNG) for f in figures if isinstance(f, dict))
    film = parts["radiograph"] if isinstance(parts["radiograph"], dict) else {"kind": "radiograph"}
    # The reader of a study lets only objects through as a member's summary.
    summaries = [part if isinstance(part, dict) else {} for part in (parts["scan"], parts["response"])]
    study = StudyResult(
        "junk",
        scans=(SavedScan("baseline", "ct/baseline", summaries[0], pictures),),
        comparisons=(SavedComparison("baseline", "followup", "compare/x", summaries[1], pictures),),
        case=parts["case"] if isinstance(parts["case"], dict) else {},
        case_path="case.json",
        series=parts["series"] if isinstance(parts["series"], dict) else {},
        series_path="series.json",
        radiographs=(Picture("radiograph_1", film, PNG),),
    )
    page = Page(render_report(study, language=language))
    assert page.trouble == []
    draft = write_draft(study, language=language)
    assert render_markdown(draft).startswith("# ")
    assert all(isinstance(p, str) for section in draft.sections for p in section.paragraphs)


def test_an_empty_study_is_a_page_too():
    assert Page(render(StudyResult("nothing"))).trouble == []
