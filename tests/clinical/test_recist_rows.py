"""Every number and list of the RECIST rules decides a written case: one comes out otherwise if it changes."""

from dataclasses import replace
from typing import Any

import pytest

from miliary.clinical.recist.criteria import (
    Response,
    find_best_response,
    find_immune_responses,
    find_time_points,
    read_limits,
)
from miliary.clinical.recist.measurable import Look, classify_lesion, find_selection_problems
from miliary.clinical.rulebook import RuleBook, RuleRow, load_rules
from tests.clinical.test_recist import cases, decode_visits, nodes_of, read_options

BOOK = load_rules("recist", "1.1")
# These are about reading a case; test_response holds them to their values.
OF_A_CASE = {"marker_window_days", "too_small_mm"}


def changed(row: RuleRow, book: RuleBook, data: dict[str, Any] | None) -> RuleBook:
    """The book with one row's data changed, or without the row."""
    other = () if data is None else (replace(row, data={**row.data, **data}),)
    rows = tuple(r for r in book.rows(row.table) if r.id != row.id)
    return replace(book, tables={**book.tables, row.table: (*rows, *other)})


def outcomes(book: RuleBook) -> list[Any]:
    """What all written cases come to under these rules."""
    limits = read_limits(book)
    found: list[Any] = []
    for param in cases("targets", "case") + cases("overall", "case"):
        case = param.values[0]
        options = read_options(case.get("options", {}))
        visits = decode_visits(case, options)
        points = find_time_points(visits, nodes=nodes_of(visits), options=options, book=book)
        found.append(points)
    for param in cases("best", "sequence"):
        case = param.values[0]
        points = [
            (d, tuple(Response(r) for r in (raw if isinstance(raw, list) else [raw])))
            for d, raw in case["visits"]
        ]
        options = read_options(case.get("options", {}))
        found.append(find_best_response(points, options=options, limits=limits))
    for param in cases("irecist", "case"):
        visits = decode_visits(param.values[0], read_options({}))
        found.append(find_immune_responses(visits, nodes=nodes_of(visits), book=book))
    looks = [Look(**param.values[0]["lesion"]) for param in cases("baseline", "measurability")]
    found += [classify_lesion(look, book=book, limits=limits)[0] for look in looks]
    for param in cases("baseline", "selection"):
        case = param.values[0]
        found.append(
            find_selection_problems(case["organs"], baseline_day=case.get("baseline_day"), limits=limits)
        )
    return found


PLAIN = outcomes(BOOK)


# Twice a slice of 5 mm is the 10 mm of thin slices: a lower bound of thin changes nothing.
INERT = {("thin_slice_max_mm", -1)}


def steps() -> list[Any]:
    rows = [row for row in BOOK.rows("limit") if row.id not in OF_A_CASE]
    return [
        pytest.param(row, sign, id=f"{row.id}-{sign:+d}")
        for row in rows
        for sign in (-1, 1)
        if (row.id, sign) not in INERT
    ]


@pytest.mark.parametrize(("row", "sign"), steps())
def test_a_number_moved_a_little_changes_a_case(row, sign):
    value = row["value"]
    is_count = isinstance(value, int) and value <= 20
    moved = value + sign * (1 if is_count else 0.05 * value)
    assert outcomes(changed(row, BOOK, {"value": moved})) != PLAIN


@pytest.mark.parametrize("row", BOOK.rows("kind"), ids=lambda row: row.id)
def test_a_kind_of_lesion_left_out_changes_a_case(row):
    assert outcomes(changed(row, BOOK, {"names": []})) != PLAIN
