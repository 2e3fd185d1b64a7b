import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miliary.model.corrections import (
    Correction,
    CorrectionKind,
    correction_from_dict,
    correction_to_dict,
    select_active,
    select_pending,
)

TIME = "2026-01-02T03:04:05+00:00"
HERE = (1.0, -2.5, 30.0)


def _make(number, kind="add_nodule", scan="baseline", **given):
    fields = {"position_lps_mm": HERE} if kind in {"add_nodule", "reject_nodule"} else {}
    if kind == "set_lesion_ends":
        fields = {"lesion_id": 1, "ends_lps_mm": (HERE, (11.0, -2.5, 30.0))}
    fields |= {"nodule_id": 7} if kind == "reject_nodule" else {}
    return Correction(number, TIME, "AB", scan, CorrectionKind(kind), **(fields | given))


@pytest.mark.parametrize("kind", ["add_nodule", "reject_nodule", "set_lesion_ends"])
def test_a_correction_survives_its_line(kind):
    made = _make(3, kind)
    line = correction_to_dict(made)
    assert correction_from_dict(line) == made
    assert None not in line.values()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"number": 0}, "number"),
        ({"number": "1"}, "number"),
        ({"number": True}, "number"),
        ({"time": "2026-01-02T03:04:05"}, "zone"),
        ({"time": "yesterday"}, "isoformat"),
        ({"reader": ""}, "initials"),
        ({"reader": "A.Longname"}, "initials"),
        ({"reader": "<b>"}, "initials"),
        ({"reader": 4}, "reader"),
        ({"kind": "erase"}, "erase"),
        ({"position_lps_mm": [1, 2]}, "position_lps_mm"),
        ({"position_lps_mm": [1, 2, float("nan")]}, "position_lps_mm"),
        ({"position_lps_mm": [1, 2, float("inf")]}, "position_lps_mm"),
        ({"position_lps_mm": [1, 2, "3"]}, "position_lps_mm"),
        ({"position_lps_mm": None}, "position_lps_mm"),
        ({"nodule_id": 4}, "takes"),
        ({"ends_lps_mm": [[0, 0, 0]]}, "two points"),
        ({"diameter_mm": 3.0}, "diameter_mm"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_field(change, said):
    with pytest.raises(ValueError, match=said):
        correction_from_dict({**correction_to_dict(_make(1)), **change})


def test_a_missing_field_is_named():
    line = correction_to_dict(_make(1))
    del line["scan"]
    with pytest.raises(ValueError, match="scan is missing"):
        correction_from_dict(line)


def test_two_ends_are_two_points():
    with pytest.raises(ValueError, match="different"):
        _make(1, "set_lesion_ends", ends_lps_mm=(HERE, HERE))


def test_only_what_came_before_can_be_withdrawn():
    with pytest.raises(ValueError, match="earlier"):
        _make(2, "withdraw", withdraws=2)


def test_what_was_withdrawn_does_not_hold():
    first, second = _make(1), _make(2, "reject_nodule")
    every = (first, second, _make(3, "withdraw", withdraws=1))
    assert select_active(every, "baseline") == (second,)
    assert select_active(every, "baseline", through=2) == (first, second)


def test_each_scan_has_its_own():
    every = (_make(1), _make(2, scan="followup"))
    assert [c.number for c in select_active(every, "followup")] == [2]
    assert [c.number for c in select_pending(every, "baseline", 0)] == [1]


def test_of_a_lesion_the_last_word_holds():
    other = _make(2, "set_lesion_ends", lesion_id=2)
    every = (_make(1, "set_lesion_ends"), other, _make(3, "set_lesion_ends"))
    assert [c.number for c in select_active(every, "baseline")] == [2, 3]
    # Once the last is withdrawn, the one before holds again.
    every = (*every, _make(4, "withdraw", withdraws=3))
    assert [c.number for c in select_active(every, "baseline")] == [1, 2]


def test_pending_is_what_a_result_lacks_or_has_too_much():
    every = (_make(1), _make(2, "reject_nodule"))
    assert [c.number for c in select_pending(every, "baseline", 0)] == [1, 2]
    assert [c.number for c in select_pending(every, "baseline", 1)] == [2]
    assert select_pending(every, "baseline", 2) == ()
    # Withdrawn after it was applied: the result still holds it.
    every = (*every, _make(3, "withdraw", withdraws=1))
    assert [c.number for c in select_pending(every, "baseline", 2)] == [1]
    # Made and withdrawn since: nothing to do.
    assert [c.number for c in select_pending(every, "baseline", 0)] == [2]


def test_a_correction_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _make(1).reader = "CD"


@given(st.lists(st.sampled_from(["add", "withdraw"]), max_size=12), st.integers(0, 12))
def test_nothing_is_pending_once_everything_was_applied(steps, through):
    every = []
    for number, step in enumerate(steps, 1):
        earlier = [c.number for c in every if c.kind is CorrectionKind.ADD_NODULE]
        if step == "withdraw" and earlier:
            every.append(_make(number, "withdraw", withdraws=earlier[0]))
        else:
            every.append(_make(number))
    assert select_pending(every, "baseline", len(every)) == ()
    lacking = set(select_pending(every, "baseline", through))
    before, now = (set(select_active(every, "baseline", through=n)) for n in (through, None))
    assert (before - lacking) | (lacking - before) == now


def test_every_field_of_a_line_is_described(root):
    page = (root / "docs/viewer.md").read_text()
    lines = [
        correction_to_dict(_make(3, kind, **more))
        for kind, more in (
            ("add_nodule", {}),
            ("reject_nodule", {}),
            ("set_lesion_ends", {}),
            ("withdraw", {"withdraws": 1}),
        )
    ]
    told = {name for line in lines for name in line}
    assert [name for name in sorted(told) if f"`{name}`" not in page] == []
    assert [kind for kind in CorrectionKind if f"`{kind}`" not in page] == []
