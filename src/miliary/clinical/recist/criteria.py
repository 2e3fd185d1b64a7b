"""RECIST 1.1 in numbers: readings of lesions, visit by visit, into responses. Knows no case and no words.

Sums are compared with a tolerance of a millionth, so that 70 of 100 is a fall of 30 % however it was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from types import MappingProxyType

from miliary.clinical.rulebook import RuleBook
from miliary.errors import RuleError

_EPSILON = 1e-6


class Response(StrEnum):
    """What a visit comes to. `NONE`: there are no such lesions to judge."""

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    NE = "NE"
    NON_CR_NON_PD = "NON_CR_NON_PD"
    NONE = "NONE"


class NonTarget(StrEnum):
    """One non-target lesion at one visit; `WORSE` is growth short of unequivocal progression."""

    ABSENT = "absent"
    PRESENT = "present"
    WORSE = "worse"
    PROGRESSED = "progressed"
    NOT_EVALUATED = "not_evaluated"


class New(StrEnum):
    """Whether lesions have appeared since baseline."""

    NO = "no"
    YES = "yes"
    EQUIVOCAL = "equivocal"
    NOT_STATED = "not_stated"


class Markers(StrEnum):
    """Tumor markers against their upper limit."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    NOT_STATED = "not_stated"


class AfterResponse(StrEnum):
    """How sums short of progression are read after a partial response."""

    SUSTAINED = "sustained"
    STRICT = "strict"


class Cavity(StrEnum):
    """Whether the width of a cavity is taken off its lesion: a second reading, not RECIST."""

    WHOLE = "whole"
    SUBTRACTED = "subtracted"


@dataclass(frozen=True)
class Options:
    """What a protocol may choose."""

    after_response: AfterResponse = AfterResponse.SUSTAINED
    needs_confirmation: bool = False
    stable_min_days: int | None = None  # None: the default of the rules
    cavity: Cavity = Cavity.WHOLE
    is_immune: bool = False


@dataclass(frozen=True)
class Reading:
    """One target at one visit: its size [mm], None if not evaluated, and whether it was seen."""

    mm: float | None = None
    is_seen: bool = True


@dataclass(frozen=True)
class Visit:
    """Everything read at one visit. `day` counts from the start of treatment."""

    day: int
    targets: Mapping[str, Reading] = field(default_factory=dict)
    non_targets: Mapping[str, NonTarget] = field(default_factory=dict)
    new: New = New.NOT_STATED
    new_first_seen_day: int | None = None
    markers: Markers = Markers.NOT_STATED
    new_sum_mm: float | None = None
    new_count: int | None = None


@dataclass(frozen=True)
class TimePoint:
    """What one follow-up visit comes to. Percentages are signed; None where there is nothing to divide by."""

    day: int
    sum_mm: float | None
    nadir_mm: float | None
    from_baseline_percent: float | None
    from_nadir_percent: float | None
    target: Response
    non_target: Response
    overall: tuple[Response, ...]

    @property
    def is_decided(self) -> bool:
        """Only one response is possible."""
        return len(self.overall) == 1


@dataclass(frozen=True)
class Limits:
    """The numbers of the rule file, by name."""

    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def read_limits(book: RuleBook) -> Limits:
    """The numbers of one edition."""
    return Limits(MappingProxyType({row.id: float(row["value"]) for row in book.rows("limit")}))


Table = Mapping[tuple[str, str, str], Response]


def read_overall_table(book: RuleBook) -> Table:
    """Overall response for each combination of target, non-target and new lesions.

    Raises
    ------
    RuleError
        If two rows speak of the same combination.
    """
    table: dict[tuple[str, str, str], Response] = {}
    for row in book.rows("overall"):
        for key in product(row["target"], row["non_target"], row["new"]):
            if key in table:
                raise RuleError(f"rules/{book.label}: overall row {row.id} repeats {', '.join(key)}")
            table[key] = Response(row["response"])
    return MappingProxyType(table)


def find_time_points(
    visits: Sequence[Visit], *, nodes: Iterable[str] = (), options: Options | None = None, book: RuleBook
) -> tuple[TimePoint, ...]:
    """The response at each follow-up visit.

    Parameters
    ----------
    visits : sequence of Visit
        In order of time, the baseline first; its targets must all be measured.
    nodes : iterable of str
        Ids of the targets that are nodes (measured by their short axis).
    options : Options
    book : RuleBook
        RECIST rules.

    Returns
    -------
    tuple of TimePoint
        One for each visit after the baseline.

    Raises
    ------
    ValueError
        If a target has no size at baseline.
    """
    options = options or Options()
    limits, table, node_ids = read_limits(book), read_overall_table(book), frozenset(nodes)
    baseline, points = visits[0], []
    baseline_mm = sum_diameters(baseline.targets, baseline)
    if baseline_mm is None:
        raise ValueError("a target has no size at baseline")
    nadir_mm, was_complete = baseline_mm, False
    responses: list[tuple[int, Response]] = []
    for visit in visits[1:]:
        sum_mm = sum_diameters(baseline.targets, visit)
        target = _reappeared(visit, node_ids, limits) if was_complete else None
        target = target or _judge_targets(visit, baseline, node_ids, nadir_mm, limits)
        if options.after_response is AfterResponse.SUSTAINED and target is Response.SD:
            target = Response.PR if _has_responded(responses, options, limits) else target
        non_target = _judge_non_targets(visit, baseline)
        if was_complete and non_target is Response.NON_CR_NON_PD and _is_back(visit):
            non_target = Response.PD
        overall = _join(target, non_target, visit.new, table)
        points.append(
            TimePoint(
                day=visit.day,
                sum_mm=sum_mm,
                nadir_mm=nadir_mm,
                from_baseline_percent=_percent(sum_mm, baseline_mm),
                from_nadir_percent=_percent(sum_mm, nadir_mm),
                target=target,
                non_target=non_target,
                overall=overall,
            )
        )
        responses = [] if target is Response.PD else [*responses, (visit.day, target)]
        nadir_mm = nadir_mm if sum_mm is None else min(nadir_mm, sum_mm)
        was_complete = was_complete if overall == (Response.NE,) else overall == (Response.CR,)
    return tuple(points)


def sum_diameters(targets: Mapping[str, Reading], visit: Visit) -> float | None:
    """The sum of the readings of these targets at a visit [mm]; None if one was not evaluated."""
    sizes = [visit.targets.get(name, Reading()).mm for name in targets]
    return None if any(size is None for size in sizes) else float(sum(s for s in sizes if s is not None))


def read_target(
    longest_mm: float | None, *, cavity_mm: float | None = None, has_cavity: bool = False, cavity: Cavity
) -> Reading:
    """The reading of a target; a cavity of unknown width makes the second reading impossible."""
    if longest_mm is None or cavity is Cavity.WHOLE or not has_cavity:
        return Reading(longest_mm, is_seen=longest_mm != 0)
    return Reading(None if cavity_mm is None else longest_mm - cavity_mm, is_seen=longest_mm != 0)


def has_progressed(sum_mm: float, nadir_mm: float, limits: Limits) -> bool:
    """The sum has risen enough, both relatively and absolutely, above the smallest one before."""
    rise = sum_mm - nadir_mm
    relative = rise >= limits["progression_rise_percent"] / 100 * nadir_mm - _EPSILON
    return relative and rise >= limits["progression_rise_mm"] - _EPSILON


def has_shrunk(sum_mm: float, baseline_mm: float, limits: Limits) -> bool:
    """The sum has fallen enough below the baseline."""
    return baseline_mm - sum_mm >= limits["response_fall_percent"] / 100 * baseline_mm - _EPSILON


def _judge_targets(
    visit: Visit, baseline: Visit, nodes: frozenset[str], nadir_mm: float, limits: Limits
) -> Response:
    if not baseline.targets:
        return Response.NONE
    readings = {name: visit.targets.get(name, Reading()) for name in baseline.targets}
    measured_mm = sum(r.mm for r in readings.values() if r.mm is not None)
    if any(reading.mm is None for reading in readings.values()):
        return Response.PD if has_progressed(measured_mm, nadir_mm, limits) else Response.NE
    if not any(_is_disease(name, r, nodes, limits) for name, r in readings.items()):
        return Response.CR
    if has_progressed(measured_mm, nadir_mm, limits):
        return Response.PD
    baseline_mm = sum_diameters(baseline.targets, baseline) or 0.0
    return Response.PR if has_shrunk(measured_mm, baseline_mm, limits) else Response.SD


def _is_disease(name: str, reading: Reading, nodes: frozenset[str], limits: Limits) -> bool:
    """A node is disease from its limit on, any other lesion as long as it is seen."""
    if reading.mm is None:
        return False
    return reading.mm >= limits["node_normal_below_mm"] if name in nodes else reading.is_seen


def _reappeared(visit: Visit, nodes: frozenset[str], limits: Limits) -> Response | None:
    back = any(_is_disease(name, reading, nodes, limits) for name, reading in visit.targets.items())
    return Response.PD if back else None


def _is_back(visit: Visit) -> bool:
    """A non-target lesion is seen again; a raised marker alone is none."""
    return any(state in {NonTarget.PRESENT, NonTarget.WORSE} for state in visit.non_targets.values())


def _judge_non_targets(visit: Visit, baseline: Visit) -> Response:
    is_marked = baseline.markers is Markers.ELEVATED
    if not baseline.non_targets and not is_marked:
        return Response.NONE
    states = {visit.non_targets.get(name, NonTarget.NOT_EVALUATED) for name in baseline.non_targets}
    if NonTarget.PROGRESSED in states:
        return Response.PD
    if NonTarget.NOT_EVALUATED in states:
        return Response.NE
    if states & {NonTarget.PRESENT, NonTarget.WORSE} or (is_marked and visit.markers is Markers.ELEVATED):
        return Response.NON_CR_NON_PD
    return Response.NE if is_marked and visit.markers is Markers.NOT_STATED else Response.CR


def _join(target: Response, non_target: Response, new: New, table: Table) -> tuple[Response, ...]:
    """Overall response; two are possible where nobody said whether there are new lesions."""
    without = table[target.value, non_target.value, New.NO.value]
    if new is New.YES:
        return (table[target.value, non_target.value, New.YES.value],)
    if new is New.NOT_STATED and without is not Response.PD:
        return tuple(sorted((Response.PD, without)))
    return (without,)


def _has_responded(responses: list[tuple[int, Response]], options: Options, limits: Limits) -> bool:
    days = [day for day, response in responses if response in {Response.PR, Response.CR}]
    if not options.needs_confirmation:
        return bool(days)
    return bool(days) and days[-1] - days[0] >= limits["confirmation_min_days"]


def _percent(value: float | None, reference: float) -> float | None:
    return None if value is None or reference <= 0 else 100.0 * (value - reference) / reference


def find_best_response(
    points: Sequence[tuple[int, tuple[Response, ...]]],
    *,
    options: Options | None = None,
    limits: Limits,
    has_targets: bool = True,
) -> tuple[Response, ...]:
    """Best overall response, or all that are still possible.

    Parameters
    ----------
    points : sequence of (day, responses)
        In order of time, the baseline (day 0) left out. Where a visit is undecided, one of its responses
        is progression.
    options, limits
        As in `find_time_points`.
    has_targets : bool
        Whether there were targets: what persists without them is not called stable.
    """
    options = options or Options()
    decided = [(day, _other_than_progression(responses)) for day, responses in points]
    found = {_best_of(decided, options, limits, has_targets=has_targets)}
    for number, (day, responses) in enumerate(points):
        if len(responses) > 1:
            until = [*decided[:number], (day, Response.PD)]
            found.add(_best_of(until, options, limits, has_targets=has_targets))
    return tuple(sorted(found))


def _other_than_progression(responses: tuple[Response, ...]) -> Response:
    return next((r for r in responses if r is not Response.PD), Response.PD)


def _best_of(
    points: Sequence[tuple[int, Response]], options: Options, limits: Limits, *, has_targets: bool
) -> Response:
    first = next((n for n, (_, response) in enumerate(points) if response is Response.PD), None)
    before = points if first is None else points[:first]
    for best, enough in ((Response.CR, {Response.CR}), (Response.PR, {Response.CR, Response.PR})):
        days = [day for day, response in before if response in enough]
        apart = limits["confirmation_min_days"] if options.needs_confirmation else 0
        if days and days[-1] - days[0] >= apart:
            return best
    stable = {Response.CR, Response.PR, Response.SD, Response.NON_CR_NON_PD}
    enough_days = options.stable_min_days
    enough_days = int(limits["stable_min_days"]) if enough_days is None else enough_days
    if any(response in stable and day >= enough_days for day, response in before):
        return Response.SD if has_targets else Response.NON_CR_NON_PD
    return Response.NE if first is None else Response.PD


def find_progression_day(visits: Sequence[Visit], points: Sequence[TimePoint]) -> int | None:
    """Day of the first certain progression; a lesion confirmed as new counts from when it was first seen."""
    for visit, point in zip(visits[1:], points, strict=True):
        if point.overall == (Response.PD,):
            by_new = visit.new is New.YES and visit.new_first_seen_day is not None
            return visit.new_first_seen_day if by_new else visit.day
    return None


# --- the immune variant ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pending:
    """Progression that waits for its confirmation: when, in what, and how large everything was.

    `last_day` is the latest visit at which it still stood unconfirmed.
    """

    day: int
    last_day: int
    kinds: frozenset[str]
    sum_mm: float | None
    new_sum_mm: float | None


def find_immune_responses(
    visits: Sequence[Visit], *, nodes: Iterable[str] = (), options: Options | None = None, book: RuleBook
) -> tuple[tuple[str, ...], ...]:
    """iRECIST: the first progression is iUPD and has to be confirmed as iCPD, or is reset.

    Parameters are those of `find_time_points`. New lesions never enter the sum: `Visit.new_sum_mm` and
    `new_count` follow them. Several responses are given where nobody said whether there are new lesions,
    and where what would confirm a progression was seen only after the time for it.
    """
    limits = read_limits(book)
    plain = [replace(visit, new=New.NO) for visit in visits]
    points = find_time_points(plain, nodes=nodes, options=options, book=book)
    found: list[tuple[str, ...]] = []
    pending: _Pending | None = None
    count = 0
    is_confirmed = False
    for visit, point in zip(visits[1:], points, strict=True):
        kinds = _progressed_kinds(visit, point, count)
        confirms = pending is not None and _is_confirmed(visit, point, kinds, pending, limits)
        is_late = confirms and pending is not None and is_too_late(visit.day, pending.last_day, limits)
        is_confirmed = is_confirmed or (confirms and not is_late)
        if is_confirmed:
            found.append(("iCPD",))
        elif kinds or confirms or (pending is not None and _persists(visit, pending)):
            found.append(("iCPD", "iUPD") if is_late else ("iUPD",))
            first = _Pending(visit.day, visit.day, frozenset(kinds), point.sum_mm, visit.new_sum_mm)
            pending = replace(pending, last_day=visit.day) if pending is not None else first
        else:
            pending = None
            plain_name = f"i{point.overall[0].value}"
            is_open = visit.new is New.NOT_STATED
            found.append(("iUPD", plain_name) if is_open else (plain_name,))
        count = max(count, _count_new(visit))
    return tuple(found)


def is_too_late(day: int, last_day: int, limits: Limits) -> bool:
    """Whether a visit lies beyond the time in which an unconfirmed progression is to be confirmed."""
    return day - last_day > limits["immune_confirmation_max_days"]


def _count_new(visit: Visit) -> int:
    return (visit.new_count if visit.new_count is not None else 1) if visit.new is New.YES else 0


def _progressed_kinds(visit: Visit, point: TimePoint, count: int) -> set[str]:
    """In which of the three readings this visit progresses of itself."""
    kinds = set()
    if point.target is Response.PD:
        kinds.add("target")
    if point.non_target is Response.PD:
        kinds.add("non_target")
    if _count_new(visit) > count:
        kinds.add("new")
    return kinds


def _is_confirmed(visit: Visit, point: TimePoint, kinds: set[str], pending: _Pending, limits: Limits) -> bool:
    if visit.day - pending.day < limits["immune_confirmation_min_days"]:
        return False
    if kinds - pending.kinds or "new" in kinds:
        return True
    rise = limits["immune_rise_mm"]
    return (
        ("target" in pending.kinds and _has_risen(point.sum_mm, pending.sum_mm, rise))
        or ("new" in pending.kinds and _has_risen(visit.new_sum_mm, pending.new_sum_mm, rise))
        or ("non_target" in pending.kinds and NonTarget.WORSE in visit.non_targets.values())
    )


def _has_risen(now_mm: float | None, then_mm: float | None, rise_mm: float) -> bool:
    return now_mm is not None and then_mm is not None and now_mm - then_mm >= rise_mm - _EPSILON


def _persists(visit: Visit, pending: _Pending) -> bool:
    """New lesions, or worse non-target ones, are still there and have not shrunk."""
    if "non_target" in pending.kinds and NonTarget.WORSE in visit.non_targets.values():
        return True
    if "new" not in pending.kinds or visit.new is not New.YES:
        return False
    now, then = visit.new_sum_mm, pending.new_sum_mm
    return now is None or then is None or now >= then - _EPSILON
