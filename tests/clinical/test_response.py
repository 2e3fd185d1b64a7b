"""Responses of whole cases: what is read from lesions and studies, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from miliary.clinical.recist.criteria import CavityReading, RecistOptions, SumsAfterResponse
from miliary.clinical.recist.response import assess
from miliary.model.assessment import Assessment, Severity, Verdict
from miliary.model.case import (
    AssertedResponse,
    Case,
    LabResult,
    Measurement,
    RecordedLesion,
    Study,
    Treatment,
    When,
)
from miliary.model.vocabulary import LesionState, Modality
from tests.clinical.cases import make_case

ABSENT, PRESENT, EQUIVOCAL = LesionState.ABSENT, LesionState.PRESENT, LesionState.EQUIVOCAL
DAYS = {"ct0": -7, "ct1": 56, "ct2": 112}
STUDIES = tuple(
    Study(id=name, modality=Modality.CT, when=When(day=day), slice_thickness_mm=1.0)
    for name, day in DAYS.items()
)
DRUG = Treatment(id="t", name="alectinib", start=When(day=0))


def mass(name: str, *sizes: float | LesionState | None, **kwargs: Any) -> RecordedLesion:
    return RecordedLesion(
        **{"id": name, "organ": "lung", "kind": "mass", "role": "target", **kwargs},
        measurements=measure(*sizes),
    )


def measure(*sizes: float | LesionState | None) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(study, state=size)
        if isinstance(size, LesionState)
        else Measurement(study, longest_mm=size)
        for study, size in zip(DAYS, sizes, strict=False)
        if size is not None
    )


def nothing_new(n: int = 3) -> RecordedLesion:
    return mass("new", *([ABSENT] * n), role="new")


def build(*lesions: RecordedLesion, **kwargs: Any) -> Case:
    return Case(**{"id": "c", "studies": STUDIES, "lesions": lesions, "treatments": (DRUG,), **kwargs})


def pick(found: tuple[Assessment, ...], rule: str) -> list[Assessment]:
    return [assessment for assessment in found if assessment.rule_id == rule]


def responses(case: Case, options: RecistOptions | None = None, rule: str = "recist.time_point") -> list[str]:
    return [" or ".join(a.values) for a in pick(assess(case, options=options), rule)]


def test_a_course_with_raw_percentages() -> None:
    case = build(mass("a", 50.0, 25.0, 31.0), nothing_new())
    found = assess(case)
    first, second = pick(found, "recist.time_point")
    assert (first.value, second.value) == ("PR", "PD")
    assert "-38.0 % against baseline" in second.statement
    assert "+24.0 % against the smallest sum before" in second.statement
    (best,) = pick(found, "recist.best_response")
    assert best.value == "PR"
    assert "Progression on day 112 from treatment" in best.statement
    assert not pick(found, "recist.baseline")


def test_new_lesions_not_mentioned_leave_the_response_open() -> None:
    (first,) = pick(assess(build(mass("a", 50.0, 25.0))), "recist.time_point")
    assert first.verdict is Verdict.NOT_ASSESSABLE
    assert first.values == ("PD", "PR")
    assert "new lesions" in first.reason


def test_a_new_lesion_is_progression_from_when_it_was_first_seen() -> None:
    new = mass("n", None, EQUIVOCAL, PRESENT, role="new")
    found = assess(build(mass("a", 50.0, 40.0, 40.0), new))
    assert [a.value for a in pick(found, "recist.time_point")] == ["PD", "PD"]
    (best,) = pick(found, "recist.best_response")
    assert best.value == "PD"
    assert "Progression on day 56" in best.statement


@pytest.mark.parametrize(
    ("new", "expected", "best"),
    [
        ((None, EQUIVOCAL, PRESENT), ["PD", "PD"], "PD"),  # no response before it was first seen
        ((None, EQUIVOCAL, 12.0), ["PD", "PD"], "PD"),
        ((None, EQUIVOCAL, EQUIVOCAL), ["PR", "PR"], "PR"),  # never proved true
        ((None, EQUIVOCAL, ABSENT), ["PR", "PR"], "PR"),
        ((None, ABSENT, PRESENT), ["PR", "PD"], "PR"),  # the response came before it
        ((None, None, PRESENT), ["PD or PR", "PD"], None),
    ],
)
def test_a_doubtful_new_lesion_counts_from_its_first_scan_once_it_proves_true(new, expected, best) -> None:
    found = assess(build(mass("a", 50.0, 30.0, 30.0), mass("n", *new, role="new")))
    assert [" or ".join(a.values) for a in pick(found, "recist.time_point")] == expected
    assert pick(found, "recist.best_response")[0].value == best


def test_a_response_before_the_doubtful_scan_stays_the_best() -> None:
    days = {"ct0": -7, "ct1": 56, "ct2": 112, "ct3": 168}
    studies = tuple(Study(id=name, modality=Modality.CT, when=When(day=day)) for name, day in days.items())
    target = RecordedLesion(
        id="a",
        organ="lung",
        kind="mass",
        role="target",
        measurements=tuple(
            Measurement(s, longest_mm=mm) for s, mm in zip(days, (50, 30, 30, 30), strict=True)
        ),
    )
    states = {"ct1": ABSENT, "ct2": EQUIVOCAL, "ct3": PRESENT}
    new = RecordedLesion(
        id="n", role="new", measurements=tuple(Measurement(s, state=x) for s, x in states.items())
    )
    found = assess(build(target, new, studies=studies))
    assert [a.value for a in pick(found, "recist.time_point")] == ["PR", "PD", "PD"]
    (best,) = pick(found, "recist.best_response")
    assert best.value == "PR"
    assert "Progression on day 112" in best.statement


def test_a_lesion_called_absent_in_between_is_not_dated_back_beyond_that() -> None:
    days = {"ct0": -7, "ct1": 56, "ct2": 112, "ct3": 168}
    studies = tuple(Study(id=name, modality=Modality.CT, when=When(day=day)) for name, day in days.items())
    target = mass("a", 50.0, 30.0, 30.0)
    target = replace(target, measurements=(*target.measurements, Measurement("ct3", longest_mm=30.0)))
    states = {"ct1": EQUIVOCAL, "ct2": ABSENT, "ct3": PRESENT}
    new = RecordedLesion(
        id="n", role="new", measurements=tuple(Measurement(s, state=x) for s, x in states.items())
    )
    assert responses(build(target, new, studies=studies)) == ["PR", "PR", "PD"]


def read(sizes: dict[str, float], said: dict[str, str], **lesions: Any) -> tuple[Assessment, ...]:
    """A case file with one target and what the reader of each study says of new lesions."""
    studies = [
        {"id": name, "modality": "ct", "when": f"day {DAYS[name]}", "slice_thickness_mm": 1.0}
        | ({"new_lesions": said[name]} if name in said else {})
        for name in sizes
    ]
    measured = [{"study": name, "longest_mm": mm} for name, mm in sizes.items()]
    target = {"id": "a", "organ": "lung", "kind": "mass", "role": "target", "measurements": measured}
    return assess(make_case({"studies": studies, "lesions": [target, *lesions.get("more", [])]}))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"ct1": "absent"}, ("PR",)),
        ({"ct1": "present"}, ("PD",)),
        ({"ct1": "not_stated"}, ("PD", "PR")),
        ({}, ("PD", "PR")),
    ],
)
def test_a_study_says_whether_it_shows_new_lesions(said, expected) -> None:
    (first,) = pick(read({"ct0": 50.0, "ct1": 25.0}, said), "recist.time_point")
    assert first.values == expected
    assert ("new_lesions: absent" in first.reason) is (len(expected) == 2)


def test_a_plain_partial_response_needs_no_lesion_of_role_new() -> None:
    found = read({"ct0": 50.0, "ct1": 25.0, "ct2": 24.0}, {"ct1": "absent", "ct2": "absent"})
    assert [a.value for a in pick(found, "recist.time_point")] == ["PR", "PR"]
    assert pick(found, "recist.best_response")[0].value == "PR"


def test_a_new_lesion_in_a_study_said_to_show_none_is_an_error_and_counts() -> None:
    new = {"id": "n", "role": "new", "measurements": [{"study": "ct1", "longest_mm": 12}]}
    found = read({"ct0": 50.0, "ct1": 25.0}, {"ct1": "absent"}, more=[new])
    assert pick(found, "recist.time_point")[0].value == "PD"
    assert [a.severity for a in pick(found, "recist.new_lesions")] == [Severity.ERROR]
    doubtful = new | {"measurements": [{"study": "ct1", "state": "equivocal"}]}
    assert not pick(
        read({"ct0": 50.0, "ct1": 25.0}, {"ct1": "absent"}, more=[doubtful]), "recist.new_lesions"
    )


def test_studies_are_ordered_by_date_and_the_last_one_before_treatment_is_the_baseline() -> None:
    days = {"ct2": -60, "ct0": -7, "ct1": 56}
    studies = tuple(Study(id=name, modality=Modality.CT, when=When(day=day)) for name, day in days.items())
    case = build(mass("a", 50.0, 30.0, 20.0), nothing_new(), studies=studies[::-1])
    (only,) = pick(assess(case), "recist.time_point")
    assert only.value == "PR"  # 50 -> 30; against the older 20 it would be progression


def test_nodes_are_read_by_their_short_axis() -> None:
    node = RecordedLesion(
        id="n",
        organ="node",
        role="target",
        measurements=(
            Measurement("ct0", 30.0, short_axis_mm=20.0),
            Measurement("ct1", 25.0, short_axis_mm=9.0),
        ),
    )
    assert responses(build(node, nothing_new(2))) == ["CR"]


def test_a_merged_lesion_counts_with_its_host() -> None:
    b = RecordedLesion(
        id="b",
        organ="liver",
        kind="mass",
        role="target",
        measurements=(Measurement("ct0", 20.0), Measurement("ct1", merged_into="a")),
    )
    case = build(mass("a", 20.0, 28.0), b, nothing_new(2))
    (found,) = pick(assess(case), "recist.time_point")
    assert found.value == "PR"
    assert "28 mm" in found.statement


def test_fragments_are_added_and_the_too_small_count_five() -> None:
    split = RecordedLesion(
        id="a",
        organ="lung",
        kind="mass",
        role="target",
        measurements=(Measurement("ct0", 40.0), Measurement("ct1", fragments_mm=(15.0, 14.0))),
    )
    assert "29 mm" in pick(assess(build(split, nothing_new(2))), "recist.time_point")[0].statement
    small = build(mass("a", 40.0, LesionState.TOO_SMALL), nothing_new(2))
    assert "5 mm" in pick(assess(small), "recist.time_point")[0].statement


def test_non_target_miliary_disease_alone() -> None:
    miliary = mass("m", PRESENT, PRESENT, role="non_target", kind="miliary_nodules")
    assert responses(build(miliary, nothing_new(2))) == ["NON_CR_NON_PD"]
    worse = mass("m", PRESENT, LesionState.PROGRESSED, role="non_target", kind="miliary_nodules")
    assert responses(build(worse, nothing_new(2))) == ["PD"]


def test_a_followed_lesion_without_a_second_measurement_is_not_computable() -> None:
    case = build(mass("a", 19.0), responses=(AssertedResponse(id="r", text="marked regression"),))
    found = pick(assess(case), "recist.best_response")[0]
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.severity is Severity.QUERY
    assert found.facts_item == "j34"
    assert "no follow-up measurement" in found.reason


def test_a_response_in_words_alone_is_not_computable_and_an_empty_case_says_nothing() -> None:
    case = Case(id="c", responses=(AssertedResponse(id="r", text="decreased considerably"),))
    (found,) = assess(case)
    assert found.facts_item == "j34"
    assert assess(Case(id="c")) == ()


def test_undated_studies_cannot_be_ordered() -> None:
    studies = (STUDIES[0], replace(STUDIES[1], when=When(text="later")))
    found = pick(assess(build(mass("a", 50.0, 25.0), studies=studies)), "recist.best_response")[0]
    assert "when study ct1 was made" in found.reason


def test_a_target_without_a_baseline_size_is_named() -> None:
    found = pick(assess(build(mass("a", None, 25.0, 20.0), mass("b", 20.0, 20.0))), "recist.best_response")[0]
    assert "target a has no size" in found.reason


@pytest.mark.parametrize(
    ("lesion", "verdict"),
    [
        (mass("a", 9.0, 9.0), Verdict.NOT_MET),
        (mass("a", 10.0, 9.0), None),
        (mass("a", 30.0, 30.0, kind="effusion"), Verdict.NOT_MET),
        (mass("a", 30.0, 30.0, kind="cyst"), Verdict.NOT_ASSESSABLE),
    ],
)
def test_targets_that_cannot_be_targets(lesion: RecordedLesion, verdict: Verdict | None) -> None:
    found = pick(assess(build(lesion, nothing_new())), "recist.baseline")
    assert [a.verdict for a in found] == ([] if verdict is None else [verdict])


def test_three_targets_in_the_lungs_are_an_error_and_two_are_not() -> None:
    three = [mass(name, 20.0, 20.0) for name in "abc"]
    assert [a.value for a in pick(assess(build(*three)), "recist.baseline")] == ["too_many_in_organ"]
    assert not pick(assess(build(*three[:2])), "recist.baseline")


@pytest.mark.parametrize(
    ("category", "verdict"),
    [("PR", Verdict.MET), ("SD", Verdict.NOT_MET), ("non-CR/non-PD", Verdict.NOT_MET)],
)
def test_a_recorded_response_is_checked(category: str, verdict: Verdict) -> None:
    recorded = AssertedResponse(id="r", category=category, study="ct1")
    case = build(mass("a", 50.0, 25.0), nothing_new(), responses=(recorded,))
    assert pick(assess(case), "recist.recorded")[0].verdict is verdict


def test_a_recorded_response_that_the_measurements_do_not_decide() -> None:
    recorded = AssertedResponse(id="r", category="PR", study="ct1")
    case = build(mass("a", 50.0, 25.0), responses=(recorded,))
    assert pick(assess(case), "recist.recorded")[0].verdict is Verdict.NOT_ASSESSABLE


def test_the_strict_reading_is_an_option() -> None:
    case = build(mass("a", 100.0, 69.0, 79.0), nothing_new())
    assert responses(case) == ["PR", "PR"]
    assert responses(case, RecistOptions(after_response=SumsAfterResponse.STRICT)) == ["PR", "SD"]


def test_the_cavity_reading_is_second_and_labeled() -> None:
    hollow = RecordedLesion(
        id="a",
        organ="lung",
        kind="mass",
        role="target",
        measurements=(Measurement("ct0", 19.0, cavity_mm=9.0), Measurement("ct1", 17.0, cavity_mm=12.0)),
    )
    case = build(hollow, nothing_new(2))
    assert responses(case, RecistOptions(cavity=CavityReading.SUBTRACTED)) == ["SD"]
    (second,) = pick(
        assess(case, options=RecistOptions(cavity=CavityReading.SUBTRACTED)), "recist.cavity_reading"
    )
    assert second.value == "PR"
    assert second.statement.startswith("Not RECIST 1.1")
    assert second.basis.value == "unverified"
    assert not pick(assess(case), "recist.cavity_reading")


def test_the_immune_reading_is_an_option() -> None:
    case = build(mass("a", 50.0, 62.0, 67.0), nothing_new())
    assert not pick(assess(case), "irecist.time_point")
    assert responses(case, RecistOptions(is_immune=True), "irecist.time_point") == ["iUPD", "iCPD"]


def test_a_scan_on_the_day_treatment_starts_is_the_baseline() -> None:
    studies = tuple(
        replace(study, when=When(day=day)) for study, day in zip(STUDIES, (-20, 0, 56), strict=True)
    )
    case = build(mass("a", 20.0, 50.0, 30.0), nothing_new(), studies=studies)
    assert responses(case) == ["PR"]


@pytest.mark.parametrize(("size", "expected"), [(9.9, "CR"), (10.0, "NON_CR_NON_PD")])
def test_a_non_target_node_is_disease_from_ten_millimeters(size: float, expected: str) -> None:
    node = RecordedLesion(
        id="n",
        organ="node",
        role="non_target",
        measurements=(Measurement("ct0", short_axis_mm=12.0), Measurement("ct1", short_axis_mm=size)),
    )
    assert responses(build(node, nothing_new(2))) == [expected]


def test_a_merged_lesion_is_not_gone_while_its_host_is_seen() -> None:
    node = RecordedLesion(
        id="a",
        organ="lung",
        kind="mass",
        role="target",
        measurements=(Measurement("ct0", 20.0), Measurement("ct1", merged_into="b")),
    )
    host = mass("b", 20.0, 3.0)
    assert responses(build(node, host, nothing_new(2))) == ["PR"]
    assert responses(build(node, mass("b", 20.0, 0.0), nothing_new(2))) == ["CR"]


def cea(name: str, value: float, day: int, **kwargs: Any) -> LabResult:
    return LabResult(name, "cea", value=value, unit="ng/mL", high=5.0, when=When(day=day), **kwargs)


@pytest.mark.parametrize(
    ("labs", "expected", "words"),
    [
        ((), "CR", ""),
        ((cea("b", 5.0, -3),), "CR", ""),
        ((cea("b", 9.0, -3), cea("f", 4.0, 60)), "CR", ""),
        ((cea("b", 9.0, -3), cea("f", 5.1, 60)), "PR", "still above its limit (cea)"),
        ((cea("b", 9.0, -3), cea("f", 4.0, 70)), "CR", ""),
        ((cea("b", 9.0, -3), cea("f", 4.0, 71)), "PR", "not stated near this study: cea"),
        ((cea("b", 9.0, -3), cea("f", 4.0, 60, comparator=">")), "PR", "not stated near this study: cea"),
        ((cea("b", 9.0, -3),), "PR", "not stated near this study: cea"),
    ],
)
def test_a_marker_raised_before_treatment_has_to_fall_for_a_complete_response(
    labs: tuple[LabResult, ...], expected: str, words: str
) -> None:
    case = build(mass("a", 50.0, ABSENT), nothing_new(2), labs=labs)
    (point,) = pick(assess(case), "recist.time_point")
    assert point.value == expected
    assert words in point.statement
    near = any(lab.id == "f" and lab.when.day is not None and lab.when.day <= 70 for lab in labs)
    assert ("labs[f].value" in {given.path for given in point.inputs}) == near


def test_a_marker_plays_no_part_in_a_partial_response() -> None:
    case = build(mass("a", 50.0, 20.0), nothing_new(2), labs=(cea("b", 9.0, -3), cea("f", 20.0, 60)))
    (point,) = pick(assess(case), "recist.time_point")
    assert point.value == "PR"
    assert "marker" not in point.statement


def test_what_would_confirm_progression_too_late_is_left_open_with_its_reason() -> None:
    late = (*STUDIES[:2], replace(STUDIES[2], when=When(day=113)))
    case = build(mass("a", 50.0, 62.0, 67.0), nothing_new(), studies=late)
    second = pick(assess(case, options=RecistOptions(is_immune=True)), "irecist.time_point")[1]
    assert second.values == ("iCPD", "iUPD")
    assert "later than eight weeks" in second.reason


def test_a_study_in_which_no_followed_lesion_was_read_is_no_visit() -> None:
    undated = Study(id="old", modality=Modality.CT)
    other = RecordedLesion("seen", organ="bone", measurements=(Measurement("old", state=PRESENT),))
    case = build(mass("a", 50.0, 25.0), nothing_new(2), other, studies=(undated, *STUDIES))
    assert responses(case) == ["PR"]
    followed = replace(other, role="non_target")
    assert responses(replace(case, lesions=(*case.lesions[:2], followed))) == []
