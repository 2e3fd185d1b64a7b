"""Response of a case by RECIST 1.1: its lesions over its studies, and the responses somebody wrote down.

Two things have to be recorded for a response to be computed: how each target measures at every visit, and
that nobody saw a new lesion. The latter is ``new_lesions: absent`` of the study, or a lesion of role ``new``
whose state is ``absent`` in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from miliary.clinical.labs.lab_ranges import (
    find_analyte,
    find_baseline,
    find_range,
    find_treatment_start,
)
from miliary.clinical.recist.criteria import (
    CavityReading,
    NewLesionStatus,
    NonTargetStatus,
    RecistLimits,
    RecistOptions,
    RecistResponse,
    TargetReading,
    TimePoint,
    TumorMarkerStatus,
    Visit,
    find_best_response,
    find_immune_responses,
    find_progression_day,
    find_time_points,
    read_limits,
    read_target,
)
from miliary.clinical.recist.measurable import (
    BaselineLesion,
    Measurability,
    classify_lesion,
    find_selection_problems,
)
from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import (
    Case,
    LabResult,
    Measurement,
    RecordedLesion,
    Study,
    When,
    days_between,
    path_of,
)
from miliary.model.vocabulary import LesionState, Modality, Presence

_NAMES = {
    RecistResponse.CR: "complete response",
    RecistResponse.PR: "partial response",
    RecistResponse.SD: "stable disease",
    RecistResponse.PD: "progressive disease",
    RecistResponse.NE: "not evaluable",
    RecistResponse.NON_CR_NON_PD: "neither complete response nor progression",
}
_PROBLEMS = {
    "too_many_targets": "more than five targets are chosen",
    "too_many_in_organ": "more than two targets are chosen in one organ",
    "baseline_too_early": "the baseline scan was made more than four weeks before treatment",
    "baseline_after_start": "the baseline scan was made after treatment began",
}
_METHODS = {Modality.CT: "ct", Modality.MRI: "mri", Modality.PET_CT: "ct", Modality.XRAY: "radiograph"}
_DISAPPEARED = TargetReading(0.0, is_seen=False)


@dataclass(frozen=True)
class _TreatmentCourse:
    """The studies in order, the baseline first, with what was read in each."""

    studies: tuple[Study, ...]
    visits: tuple[Visit, ...]
    nodes: tuple[str, ...]
    is_dated_from_start: bool


def assess(case: Case, *, options: RecistOptions | None = None) -> tuple[Assessment, ...]:
    """Response at every visit, best response, and what was recorded against them.

    Parameters
    ----------
    case : Case
    options : RecistOptions, optional
        What a protocol may choose; the defaults ask for no confirmation.

    Returns
    -------
    tuple of Assessment
        Ids ``recist.baseline``, ``recist.time_point``, ``recist.best_response``, ``recist.recorded``,
        ``recist.new_lesions``, and on request ``recist.cavity_reading`` and ``irecist.time_point``.
    """
    options = options or RecistOptions()
    book = find_rules("recist")
    limits = read_limits(book)
    if not (case.lesions or case.responses or case.has_claim("response")):
        return ()
    whole = replace(options, cavity=CavityReading.WHOLE)
    course, problem = _read_course(case, whole, limits)
    found = [*_assess_baseline(case, course, book, limits), *_find_new_lesion_conflicts(case, book)]
    if course is None:
        return (*found, _not_computable(case, problem, book), *_judge_recorded(case, {}, book))
    points = find_time_points(course.visits, nodes=course.nodes, options=whole, book=book)
    found += [
        _describe_time_point(case, study, visit, point, book)
        for study, visit, point in zip(course.studies[1:], course.visits[1:], points, strict=True)
    ]
    found.append(_describe_best_response(case, course, points, whole, book))
    by_study = {study.id: point for study, point in zip(course.studies[1:], points, strict=True)}
    found += _judge_recorded(case, by_study, book)
    if options.cavity is CavityReading.SUBTRACTED:
        found += _read_cavities(case, options, book, limits)
    if options.is_immune:
        found += _read_immune(case, course, whole, book)
    return tuple(found)


# --- from the case to visits ----------------------------------------------------------------------------


def _read_course(
    case: Case, options: RecistOptions, limits: RecistLimits
) -> tuple[_TreatmentCourse | None, str]:
    """The course of the followed lesions, or why there is none."""
    followed = [lesion for lesion in case.lesions if lesion.role in {"target", "non_target"}]
    if not followed:
        return None, "no target or non-target lesion is recorded"
    studies, problem = _order_studies(case)
    if problem:
        return None, problem
    if len(studies) < 2:
        return None, "the followed lesions are recorded at one time only: there is no follow-up measurement"
    start = find_treatment_start(case)
    days = [days_between(start, study.when) if start is not None else None for study in studies]
    is_dated = all(day is not None for day in days)
    if not is_dated:
        days = [days_between(studies[0].when, study.when) for study in studies]
    visits = tuple(
        _read_visit(case, study, day or 0, options, limits) for study, day in zip(studies, days, strict=True)
    )
    visits = _date_new(case, studies, visits)
    visits = _with_markers(case, studies, visits, limits)
    unsized = [name for name, reading in visits[0].targets.items() if reading.mm is None]
    if unsized:
        return None, f"target {unsized[0]} has no size in the baseline study {studies[0].id}"
    nodes = tuple(lesion.id for lesion in followed if _is_node(lesion))
    return _TreatmentCourse(studies, visits, nodes, is_dated), ""


def _order_studies(case: Case) -> tuple[tuple[Study, ...], str]:
    """Studies in which lesions were read, from the last one before treatment on."""
    followed = [lesion for lesion in case.lesions if lesion.role in {"target", "non_target", "new"}]
    named = {m.study for lesion in followed for m in lesion.measurements}
    named |= {study.id for study in case.studies if study.new_lesions is Presence.PRESENT}
    studies = [study for study in case.studies if study.id in named]
    for study in studies[1:]:
        if days_between(studies[0].when, study.when) is None:
            return (), f"it is not stated when study {study.id} was made relative to {studies[0].id}"
    if studies:
        origin = studies[0].when
        studies.sort(key=lambda study: days_between(origin, study.when) or 0)
    start = find_treatment_start(case)
    before = [
        number for number, study in enumerate(studies) if start is not None and _is_not_after(study, start)
    ]
    return tuple(studies[before[-1] if before else 0 :]), ""


def _is_not_after(study: Study, start: When) -> bool:
    days = days_between(study.when, start)
    return days is not None and days >= 0


def _is_node(lesion: RecordedLesion) -> bool:
    return lesion.kind == "node" or lesion.organ == "node"


def _read_visit(case: Case, study: Study, day: int, options: RecistOptions, limits: RecistLimits) -> Visit:
    by_role = {
        role: [lesion for lesion in case.lesions if lesion.role == role]
        for role in ("target", "non_target", "new")
    }
    return Visit(
        day=day,
        targets={lesion.id: _read_size(case, lesion, study, options, limits) for lesion in by_role["target"]},
        non_targets={lesion.id: _read_state(lesion, study, limits) for lesion in by_role["non_target"]},
        new=_read_new_of_study(by_role["new"], study),
    )


def _with_markers(
    case: Case, studies: Sequence[Study], visits: tuple[Visit, ...], limits: RecistLimits
) -> tuple[Visit, ...]:
    """Visits with their tumor markers; where none was raised before treatment they play no part."""
    raised = list_raised_markers(case)
    if not raised:
        return visits
    later = (
        replace(visit, markers=_read_markers(case, study, raised, limits))
        for study, visit in zip(studies[1:], visits[1:], strict=True)
    )
    return (replace(visits[0], markers=TumorMarkerStatus.ELEVATED), *later)


def _read_markers(case: Case, study: Study, raised: Sequence[str], limits: RecistLimits) -> TumorMarkerStatus:
    """Whether the tumor markers that were raised before treatment still are, around one later study."""
    near = _markers_near(case, study, raised, limits)
    above = {lab.analyte: _is_above(case, lab) for lab in near}
    if True in above.values():
        return TumorMarkerStatus.ELEVATED
    is_complete = bool(raised) and all(above.get(name) is False for name in raised)
    return TumorMarkerStatus.NORMAL if is_complete else TumorMarkerStatus.NOT_STATED


def _markers_near(case: Case, study: Study, raised: Sequence[str], limits: RecistLimits) -> list[LabResult]:
    """Values of these markers that belong to a study, being near enough in time."""
    return [
        lab
        for lab in case.labs
        if lab.analyte in raised
        and lab.value is not None
        and (days := days_between(study.when, lab.when)) is not None
        and abs(days) <= limits["marker_window_days"]
    ]


def list_raised_markers(case: Case) -> tuple[str, ...]:
    """Tumor markers whose last value before treatment exceeds the upper limit.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of str
        Names of the analytes.
    """
    markers = [lab for lab in case.labs if (row := find_analyte(lab.analyte)) and row.get("is_marker")]
    first = {lab.analyte: base for lab in markers if (base := find_baseline(case, lab)) is not None}
    return tuple(name for name, lab in first.items() if _is_above(case, lab))


def _is_above(case: Case, lab: LabResult) -> bool | None:
    """Above its upper limit, as far as both are known and the value is a number of its own."""
    high = find_range(case, lab).high
    if lab.value is None or high is None:
        return None
    if lab.value > high:
        return None if lab.comparator == "<" else True
    return None if lab.comparator == ">" else False


def _measurement(lesion: RecordedLesion, study: Study) -> Measurement | None:
    return next((m for m in lesion.measurements if m.study == study.id), None)


def _read_size(
    case: Case, lesion: RecordedLesion, study: Study, options: RecistOptions, limits: RecistLimits
) -> TargetReading:
    read = _measurement(lesion, study)
    if read is None or read.state is LesionState.NOT_EVALUATED:
        return TargetReading()
    if read.state is LesionState.ABSENT:
        return _DISAPPEARED
    if read.merged_into:
        host = next((other for other in case.lesions if other.id == read.merged_into), None)
        whole = _measurement(host, study) if host is not None else None
        size = None if whole is None or whole.merged_into else whole.longest_mm
        return TargetReading() if size is None else TargetReading(0.0, is_seen=size > 0)
    if read.fragments_mm:
        return TargetReading(sum(read.fragments_mm))
    size = read.short_axis_mm if _is_node(lesion) else read.longest_mm
    if size is None and read.state is LesionState.TOO_SMALL:
        return TargetReading(limits["too_small_mm"])
    has_cavity = any(m.cavity_mm is not None for m in lesion.measurements)
    return read_target(size, cavity_mm=read.cavity_mm, has_cavity=has_cavity, cavity=options.cavity)


def _read_state(lesion: RecordedLesion, study: Study, limits: RecistLimits) -> NonTargetStatus:
    read = _measurement(lesion, study)
    if read is None:
        return NonTargetStatus.NOT_EVALUATED
    plain = {
        LesionState.ABSENT: NonTargetStatus.ABSENT,
        LesionState.NOT_EVALUATED: NonTargetStatus.NOT_EVALUATED,
        LesionState.PROGRESSED: NonTargetStatus.PROGRESSED,
    }
    if read.state in plain:
        return plain[read.state]
    if _is_node(lesion) and read.short_axis_mm is not None:
        is_normal = read.short_axis_mm < limits["node_normal_below_mm"]
        return NonTargetStatus.ABSENT if is_normal else NonTargetStatus.PRESENT
    is_seen = read.state is not None or read.longest_mm is not None
    return NonTargetStatus.PRESENT if is_seen else NonTargetStatus.NOT_EVALUATED


def _read_new(lesions: Sequence[RecordedLesion], study: Study) -> NewLesionStatus:
    reads = [read for lesion in lesions if (read := _measurement(lesion, study)) is not None]
    states = {read.state for read in reads}
    sure = {LesionState.PRESENT, LesionState.PROGRESSED, LesionState.TOO_SMALL}
    if states & sure or any(read.state is None and read.longest_mm is not None for read in reads):
        return NewLesionStatus.YES
    if LesionState.EQUIVOCAL in states:
        return NewLesionStatus.EQUIVOCAL
    return NewLesionStatus.NO if LesionState.ABSENT in states else NewLesionStatus.NOT_STATED


def _read_new_of_study(lesions: Sequence[RecordedLesion], study: Study) -> NewLesionStatus:
    """Whether there are new lesions, from those recorded and from what the reader of the study said."""
    recorded = _read_new(lesions, study)
    if NewLesionStatus.YES is recorded or study.new_lesions is Presence.PRESENT:
        return NewLesionStatus.YES
    if recorded is NewLesionStatus.NOT_STATED and study.new_lesions is Presence.ABSENT:
        return NewLesionStatus.NO
    return recorded


def _date_new(case: Case, studies: Sequence[Study], visits: Sequence[Visit]) -> tuple[Visit, ...]:
    """Visits with the day on which what is new by then was first seen, doubtful though it may have been.

    A doubtful lesion that proves true was new from the visit on at which it was first seen: that visit, and
    those up to the proof, have a new lesion and are no response (Eisenhauer 2009).
    """
    first_seen: list[list[int]] = [[] for _ in visits]
    is_new = [visit.new is NewLesionStatus.YES for visit in visits]
    for lesion in (lesion for lesion in case.lesions if lesion.role == "new"):
        states = [_read_new([lesion], study) for study in studies]
        for number, state in enumerate(states):
            if state is not NewLesionStatus.YES:
                continue
            first = _find_first_seen(states, number)
            for later in range(first, number + 1):
                is_new[later] = True
                first_seen[later].append(visits[first].day)
    return tuple(
        replace(
            visit,
            new=NewLesionStatus.YES if is_new[number] else visit.new,
            new_first_seen_day=min(first_seen[number], default=None),
        )
        for number, visit in enumerate(visits)
    )


def _find_first_seen(states: Sequence[NewLesionStatus], number: int) -> int:
    """The visit from which on a lesion was seen, doubtful or sure, and not called absent since."""
    first = number
    for earlier in range(number - 1, 0, -1):
        if states[earlier] is NewLesionStatus.NO:
            break
        if states[earlier] in {NewLesionStatus.YES, NewLesionStatus.EQUIVOCAL}:
            first = earlier
    return first


def _find_new_lesion_conflicts(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Studies said to show no new lesion in which one is recorded."""
    for study in case.studies:
        if study.new_lesions is not Presence.ABSENT:
            continue
        for lesion in (lesion for lesion in case.lesions if lesion.role == "new"):
            if _read_new([lesion], study) is not NewLesionStatus.YES:
                continue
            yield Assessment(
                rule_id="recist.new_lesions",
                title="New lesions of a study",
                verdict=Verdict.MET,
                severity=Severity.ERROR,
                statement=f"{study.id} is said to show no new lesion, but the new lesion {lesion.id} is "
                "recorded in it; it is counted.",
                inputs=(
                    Input(path_of("studies", study.id, "new_lesions"), study.new_lesions.value),
                    Input(path_of("lesions", lesion.id, "role"), lesion.role),
                ),
                origin=study.origin,
                **book.credit("response_fall_percent"),
            )


# --- baseline -------------------------------------------------------------------------------------------


def _assess_baseline(
    case: Case, course: _TreatmentCourse | None, book: RuleBook, limits: RecistLimits
) -> Iterator[Assessment]:
    targets = [lesion for lesion in case.lesions if lesion.role == "target"]
    for lesion in targets:
        first = lesion.measurements[0] if lesion.measurements else None
        study = case.study(first.study) if first is not None else None
        if course is not None:
            study, first = course.studies[0], _measurement(lesion, course.studies[0])
        measurability, why = classify_lesion(
            _read_baseline_lesion(lesion, first, study), book=book, limits=limits
        )
        if measurability is not Measurability.MEASURABLE:
            yield _describe_target(lesion, measurability, why, book)
    day = course.visits[0].day if course is not None and course.is_dated_from_start else None
    organs = ["node" if _is_node(lesion) else lesion.organ for lesion in targets]
    for problem in find_selection_problems(organs, baseline_day=day, limits=limits):
        yield Assessment(
            rule_id="recist.baseline",
            title="Choice of targets",
            verdict=Verdict.NOT_MET,
            severity=Severity.ERROR,
            statement=f"RECIST 1.1: {_PROBLEMS[problem]}.",
            value=problem,
            inputs=tuple(Input(path_of("lesions", lesion.id, "organ"), lesion.organ) for lesion in targets),
            **book.credit("max_targets", "max_targets_per_organ", "baseline_max_days"),
        )


def _read_baseline_lesion(
    lesion: RecordedLesion, read: Measurement | None, study: Study | None
) -> BaselineLesion:
    irradiated = {Presence.PRESENT: True, Presence.ABSENT: False}.get(lesion.is_irradiated)
    return BaselineLesion(
        kind="node" if _is_node(lesion) else lesion.kind or "mass",
        longest_mm=read.longest_mm if read is not None else None,
        short_axis_mm=read.short_axis_mm if read is not None else None,
        method=_METHODS.get(study.modality, "ct") if study is not None else "ct",
        slice_mm=study.slice_thickness_mm if study is not None else None,
        soft_tissue_mm=lesion.soft_tissue_mm,
        is_irradiated=irradiated,
    )


def _describe_target(
    lesion: RecordedLesion, measurability: Measurability, why: str, book: RuleBook
) -> Assessment:
    is_open = measurability is Measurability.NOT_ASSESSABLE
    verdict_words = "cannot be told to be measurable" if is_open else "is no measurable lesion"
    return Assessment(
        rule_id="recist.baseline",
        title="Measurability of a target",
        verdict=Verdict.NOT_ASSESSABLE if is_open else Verdict.NOT_MET,
        severity=Severity.QUERY if is_open else Severity.ERROR,
        statement=f"Target {lesion.id} {verdict_words}: {why}.",
        reason=why if is_open else "",
        value=measurability.value,
        inputs=(Input(path_of("lesions", lesion.id, "role"), lesion.role),),
        origin=lesion.origin,
        **book.credit("mass_min_mm", "node_target_min_mm"),
    )


# --- what it comes to -----------------------------------------------------------------------------------


def _not_computable(case: Case, reason: str, book: RuleBook) -> Assessment:
    is_claimed = bool(case.responses) or case.has_claim("response")
    return Assessment(
        rule_id="recist.best_response",
        title="Response by RECIST 1.1",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.QUERY if is_claimed else Severity.INFO,
        statement="No response by RECIST 1.1 can be computed.",
        reason=reason,
        inputs=tuple(
            Input(path_of("responses", r.id, name), getattr(r, name))
            for r in case.responses
            for name in ("text" if r.text else "category",)
        ),
        facts_item="j34" if is_claimed else None,
        **book.credit("response_fall_percent"),
    )


def _name_responses(responses: Sequence[RecistResponse]) -> str:
    return " or ".join(_NAMES[response] for response in responses)


def _format_percent(value: float | None) -> str:
    return "not computable" if value is None else f"{value:+.1f} %"


def _describe_time_point(
    case: Case, study: Study, visit: Visit, point: TimePoint, book: RuleBook
) -> Assessment:
    numbers = ""
    if visit.targets and point.sum_mm is not None:
        numbers = (
            f" Sum of diameters {point.sum_mm:g} mm, {_format_percent(point.from_baseline_percent)} against "
            f"baseline, {_format_percent(point.from_nadir_percent)} against the smallest sum before."
        )
    numbers += _describe_markers(case, visit, point)
    reason = ""
    if not point.is_decided:
        reason = (
            "it is not stated whether there are new lesions (studies[].new_lesions: absent says that there "
            "are none)"
        )
    elif point.overall == (RecistResponse.NE,):
        reason = "not every followed lesion was evaluated"
    return Assessment(
        rule_id="recist.time_point",
        title="Response at one visit",
        verdict=Verdict.NOT_ASSESSABLE if reason else Verdict.MET,
        severity=Severity.QUERY if reason else Severity.INFO,
        statement=f"{study.id}: {_name_responses(point.overall)} by RECIST 1.1.{numbers}",
        reason=reason,
        value=point.overall[0].value if point.is_decided else None,
        values=tuple(response.value for response in point.overall),
        inputs=(*_inputs(case, study), *_marker_inputs(case, study, book)),
        origin=study.origin,
        **book.credit(
            "response_fall_percent", "progression_rise_percent", "progression_rise_mm", "sustained_response"
        ),
    )


def _describe_markers(case: Case, visit: Visit, point: TimePoint) -> str:
    """What a raised tumor marker does to a response that would be complete without it."""
    raised = list_raised_markers(case)
    if not raised or point.target not in {RecistResponse.CR, RecistResponse.NONE}:
        return ""
    names = ", ".join(name.replace("_", " ") for name in raised)
    return {
        TumorMarkerStatus.ELEVATED: (
            f" A tumor marker raised before treatment is still above its limit ({names})."
        ),
        TumorMarkerStatus.NOT_STATED: f" Raised before treatment and not stated near this study: {names}.",
        TumorMarkerStatus.NORMAL: "",
    }[visit.markers]


def _marker_inputs(case: Case, study: Study, book: RuleBook) -> Iterator[Input]:
    for lab in _markers_near(case, study, list_raised_markers(case), read_limits(book)):
        yield Input(path_of("labs", lab.id, "value"), lab.value)


def _inputs(case: Case, study: Study) -> Iterator[Input]:
    for lesion in case.lesions:
        read = _measurement(lesion, study)
        if read is not None:
            size = read.short_axis_mm if _is_node(lesion) else read.longest_mm
            state = read.state.value if read.state is not None else None
            yield Input(
                path_of("lesions", lesion.id, f"measurements[{study.id}]"), state if size is None else size
            )


def _describe_best_response(
    case: Case, course: _TreatmentCourse, points: Sequence[TimePoint], options: RecistOptions, book: RuleBook
) -> Assessment:
    limits = read_limits(book)
    best = find_best_response(
        [(point.day, point.overall) for point in points],
        options=options,
        limits=limits,
        has_targets=bool(course.visits[0].targets),
    )
    is_open = len(best) > 1 or best == (RecistResponse.NE,)
    progression = find_progression_day(course.visits, points)
    since = "treatment" if course.is_dated_from_start else "baseline"
    tail = f" Progression on day {progression} from {since}." if progression is not None else ""
    confirmed = "confirmed" if options.needs_confirmation else "without the need for confirmation"
    days = options.stable_min_days or int(limits["stable_min_days"])
    return Assessment(
        rule_id="recist.best_response",
        title="Best overall response",
        verdict=Verdict.NOT_ASSESSABLE if is_open else Verdict.MET,
        severity=Severity.INFO,
        statement=(
            f"Best overall response {_name_responses(best)}, {confirmed}; stable from {days} days.{tail}"
        ),
        reason="a visit is not decided, or none was late enough" if is_open else "",
        value=None if len(best) > 1 else best[0].value,
        values=tuple(response.value for response in best),
        inputs=tuple(
            Input(path_of("studies", study.id, "when"), str(study.when)) for study in course.studies
        ),
        origin=case.origin,
        **book.credit("stable_min_days", "confirmation_min_days"),
    )


def _judge_recorded(case: Case, points: dict[str, TimePoint], book: RuleBook) -> Iterator[Assessment]:
    """Responses written down in the words of RECIST, against the derived ones."""
    for recorded in case.responses:
        category = recorded.category.upper().replace("-", "_").replace("/", "_").replace(" ", "_")
        if recorded.of != "overall" or category not in set(RecistResponse):
            continue
        point = points.get(recorded.study)
        allowed = {response.value for response in point.overall} if point is not None else set()
        verdict = Verdict.MET if allowed == {category} else Verdict.NOT_ASSESSABLE
        if point is not None and category not in allowed:
            verdict = Verdict.NOT_MET
        derived = _name_responses(point.overall) if point is not None else "none"
        yield Assessment(
            rule_id="recist.recorded",
            title="Recorded response",
            verdict=verdict,
            severity={Verdict.MET: Severity.INFO, Verdict.NOT_MET: Severity.ERROR}.get(
                verdict, Severity.QUERY
            ),
            statement=f"Recorded response {recorded.category}; derived from the measurements: {derived}.",
            reason="the measurements do not decide it" if verdict is Verdict.NOT_ASSESSABLE else "",
            value=category,
            inputs=(Input(path_of("responses", recorded.id, "category"), recorded.category),),
            origin=recorded.origin,
            **book.credit("response_fall_percent", "progression_rise_percent"),
        )


# --- optional readings ----------------------------------------------------------------------------------


def _read_cavities(
    case: Case, options: RecistOptions, book: RuleBook, limits: RecistLimits
) -> Iterator[Assessment]:
    """Cavities taken off: another reading, labeled so, on which nothing rests."""
    course, _ = _read_course(case, options, limits)
    if course is None:
        return
    points = find_time_points(course.visits, nodes=course.nodes, options=options, book=book)
    for study, visit, point in zip(course.studies[1:], course.visits[1:], points, strict=True):
        plain = _describe_time_point(case, study, visit, point, book)
        yield replace(
            plain,
            rule_id="recist.cavity_reading",
            title="Secondary reading with cavities taken off",
            severity=Severity.INFO,
            statement=f"Not RECIST 1.1, cavities taken off: {plain.statement.replace(' by RECIST 1.1', '')}",
            **book.credit("cavity_subtracted"),
        )


def _read_immune(
    case: Case, course: _TreatmentCourse, options: RecistOptions, book: RuleBook
) -> Iterator[Assessment]:
    responses = find_immune_responses(course.visits, nodes=course.nodes, options=options, book=book)
    for study, values in zip(course.studies[1:], responses, strict=True):
        is_open = len(values) > 1
        yield Assessment(
            rule_id="irecist.time_point",
            title="Response at one visit by iRECIST",
            verdict=Verdict.NOT_ASSESSABLE if is_open else Verdict.MET,
            severity=Severity.INFO,
            statement=f"{study.id}: {' or '.join(values)} by iRECIST, which is meant for immunotherapy.",
            reason=_why_immune_is_open(values) if is_open else "",
            value=None if is_open else values[0],
            values=values,
            inputs=tuple(_inputs(case, study)),
            origin=study.origin,
            **book.credit("immune_confirmation_min_days", "immune_confirmation_max_days", "immune_rise_mm"),
        )


def _why_immune_is_open(values: Sequence[str]) -> str:
    if "iCPD" in values:
        return "what would confirm the progression was seen later than eight weeks after it"
    return "it is not stated whether there are new lesions"
