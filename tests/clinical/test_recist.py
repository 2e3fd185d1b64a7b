"""RECIST against cases whose expected values were written before the code."""

from __future__ import annotations

import tomllib
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from miliary.clinical.recist.criteria import (
    AfterResponse,
    Cavity,
    Markers,
    New,
    NonTarget,
    Options,
    Reading,
    Response,
    Visit,
    find_best_response,
    find_immune_responses,
    find_progression_day,
    find_time_points,
    read_limits,
    read_overall_table,
    read_target,
)
from miliary.clinical.recist.measurable import (
    Look,
    classify_lesion,
    classify_new_finding,
    find_selection_problems,
)
from miliary.clinical.rulebook import load_rules, load_schema, parse_rules
from miliary.errors import RuleError

BOOK = load_rules("recist", "1.1")
LIMITS = read_limits(BOOK)
FOLDER = Path(__file__).parents[1] / "cases" / "recist"
LISTS = ("sums", "target", "non_target", "overall", "from_baseline_percent", "from_nadir_percent")


def cases(file: str, table: str) -> list[Any]:
    rows = tomllib.loads((FOLDER / f"{file}.toml").read_text("utf-8"))[table]
    return [pytest.param(row, id=row["name"]) for row in rows]


def read_options(raw: dict[str, Any]) -> Options:
    known = {"after_response": AfterResponse, "cavity": Cavity}
    return Options(**{key: known.get(key, lambda value: value)(value) for key, value in raw.items()})


def decode_target(raw: Any, readings: dict[str, Any]) -> Reading:
    if isinstance(raw, str) and raw.startswith("in:"):
        host = decode_target(readings[raw[3:]], readings)
        return Reading(None if host.mm is None else 0.0, is_seen=host.is_seen)
    if isinstance(raw, list):
        return Reading(float(sum(raw)))
    known = {"absent": Reading(0.0, is_seen=False), "too_small": Reading(5.0), "not_evaluated": Reading()}
    return known[raw] if isinstance(raw, str) else Reading(float(raw), is_seen=raw != 0)


def decode_non_target(raw: Any) -> NonTarget:
    if isinstance(raw, str):
        return NonTarget(raw)
    return NonTarget.PRESENT if raw >= LIMITS["node_normal_below_mm"] else NonTarget.ABSENT


def decode_visits(case: dict[str, Any], options: Options) -> list[Visit]:
    first = case["visits"][0]
    visits = []
    for raw in case["visits"]:
        readings = raw.get("t", {})
        targets = {name: decode_target(size, readings) for name, size in readings.items()}
        for name in first.get("cavity", {}):
            targets[name] = read_target(
                targets[name].mm,
                cavity_mm=raw.get("cavity", {}).get(name),
                has_cavity=True,
                cavity=options.cavity,
            )
        visits.append(
            Visit(
                day=raw["day"],
                targets=targets,
                non_targets={name: decode_non_target(state) for name, state in raw.get("n", {}).items()},
                new=New(raw.get("new", "no")),
                new_first_seen_day=raw.get("new_first_seen_day"),
                markers=Markers(raw.get("markers", "not_stated")),
                new_sum_mm=raw.get("new_sum"),
                new_count=raw.get("new_count"),
            )
        )
    return visits


def nodes_of(visits: list[Visit]) -> list[str]:
    return [name for name in visits[0].targets if name.startswith("N")]


@pytest.mark.parametrize("case", cases("targets", "case") + cases("overall", "case"))
def test_visits(case: dict[str, Any]) -> None:
    options = read_options(case.get("options", {}))
    visits = decode_visits(case, options)
    points = find_time_points(visits, nodes=nodes_of(visits), options=options, book=BOOK)
    found: dict[str, list[Any]] = {
        "sums": [point.sum_mm for point in points],
        "target": [point.target.value for point in points],
        "non_target": [point.non_target.value for point in points],
        "overall": [
            [r.value for r in point.overall] if len(point.overall) > 1 else point.overall[0].value
            for point in points
        ],
        "from_baseline_percent": [point.from_baseline_percent for point in points],
        "from_nadir_percent": [point.from_nadir_percent for point in points],
    }
    expect = case["expect"]
    assert set(expect) <= {*LISTS, "best", "progression_day"}
    for name in LISTS:
        if name in expect:
            wanted = [None if value == "none" else value for value in expect[name]]
            if isinstance(found[name][0], str | list):
                assert found[name] == wanted, name
            else:
                assert [v is None for v in found[name]] == [v is None for v in wanted]
                assert [v for v in found[name] if v is not None] == pytest.approx(
                    [v for v in wanted if v is not None], abs=1e-3
                ), name
    if "best" in expect:
        best = find_best_response(
            [(point.day, point.overall) for point in points],
            options=options,
            limits=LIMITS,
            has_targets=bool(visits[0].targets),
        )
        assert [response.value for response in best] == expect["best"]
    if "progression_day" in expect:
        assert find_progression_day(visits, points) == expect["progression_day"]


@pytest.mark.parametrize("case", cases("best", "sequence"))
def test_best_response(case: dict[str, Any]) -> None:
    points = [
        (day, tuple(Response(r) for r in (raw if isinstance(raw, list) else [raw])))
        for day, raw in case["visits"]
    ]
    has_targets = not any(Response.NON_CR_NON_PD in responses for _, responses in points)
    options = read_options(case.get("options", {}))
    best = find_best_response(points, options=options, limits=LIMITS, has_targets=has_targets)
    assert [response.value for response in best] == case["expect"]


@pytest.mark.parametrize("case", cases("irecist", "case"))
def test_immune(case: dict[str, Any]) -> None:
    visits = decode_visits(case, Options())
    found = find_immune_responses(visits, nodes=nodes_of(visits), book=BOOK)
    assert [" or ".join(values) for values in found] == case["expect"]


@pytest.mark.parametrize("case", cases("baseline", "measurability"))
def test_measurability(case: dict[str, Any]) -> None:
    found, reason = classify_lesion(Look(**case["lesion"]), book=BOOK, limits=LIMITS)
    assert found.value == case["expect"]
    assert bool(reason) == (case["expect"] != "measurable")


@pytest.mark.parametrize("case", cases("baseline", "selection"))
def test_selection(case: dict[str, Any]) -> None:
    found = find_selection_problems(case["organs"], baseline_day=case["baseline_day"], limits=LIMITS)
    assert list(found) == case["expect"]


@pytest.mark.parametrize("case", cases("overall", "new_lesion"))
def test_new_lesions(case: dict[str, Any]) -> None:
    facts = {key: value for key, value in case["finding"].items() if key != "was_scanned_at_baseline"}
    assert classify_new_finding(**facts).value == case["expect"]


def test_at_least_sixty_cases_with_their_paragraph() -> None:
    rows = [
        row
        for file in FOLDER.glob("*.toml")
        for table in tomllib.loads(file.read_text("utf-8")).values()
        for row in table
    ]
    assert len(rows) >= 60
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(
        "paragraph" in row for row in rows if row["name"] not in {c.id for c in cases("irecist", "case")}
    )


def test_every_combination_has_one_overall_response() -> None:
    table = read_overall_table(BOOK)
    targets = [r.value for r in Response if r is not Response.NON_CR_NON_PD]
    non_targets = [r.value for r in Response if r not in {Response.PR, Response.SD}]
    assert set(table) == set(product(targets, non_targets, ["no", "yes"]))


def test_two_rows_for_one_combination_are_refused() -> None:
    text = (resources.files("miliary.clinical") / "rules" / "recist" / "1.1.toml").read_text("utf-8")
    doubled = text.replace('id = "stable"\ntarget = ["SD"]', 'id = "stable"\ntarget = ["SD", "PR"]')
    assert doubled != text
    with pytest.raises(RuleError, match="row stable repeats PR"):
        read_overall_table(parse_rules(doubled, name="recist/1.1.toml", schema=load_schema("recist")))


def test_a_baseline_without_a_size_is_refused() -> None:
    visits = [Visit(-7, targets={"A": Reading()}), Visit(56, targets={"A": Reading(10.0)})]
    with pytest.raises(ValueError, match="no size at baseline"):
        find_time_points(visits, book=BOOK)


def test_a_sum_added_in_another_order_gives_the_same_response() -> None:
    sizes = [23.3, 23.3, 23.4]  # their floating-point sum is not exactly 70
    for order in (sizes, sizes[::-1]):
        visits = [
            Visit(-7, targets={"A": Reading(100.0)}),
            Visit(56, targets={"A": Reading(sum(order))}, new=New.NO),
        ]
        assert find_time_points(visits, book=BOOK)[0].target is Response.PR
