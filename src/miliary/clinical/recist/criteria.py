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


class RecistResponse(StrEnum):
    """Response at one visit, of the target lesions, the non-target lesions or all of them.

    `NONE`: there are no such lesions to judge.
    """

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    NE = "NE"
    NON_CR_NON_PD = "NON_CR_NON_PD"
    NONE = "NONE"


class NonTargetStatus(StrEnum):
    """State of one non-target lesion at one visit.

    `WORSE`: it has grown, short of unequivocal progression.
    """

    ABSENT = "absent"
    PRESENT = "present"
    WORSE = "worse"
    PROGRESSED = "progressed"
    NOT_EVALUATED = "not_evaluated"


class NewLesionStatus(StrEnum):
    """Whether lesions have appeared since baseline."""

    NO = "no"
    YES = "yes"
    EQUIVOCAL = "equivocal"
    NOT_STATED = "not_stated"


class TumorMarkerStatus(StrEnum):
    """Tumor markers against their upper limit."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    NOT_STATED = "not_stated"


class SumsAfterResponse(StrEnum):
    """How a sum of diameters that is no longer a response, and not yet progression, is read after a response.

    `SUSTAINED`: it is still a partial response. `STRICT`: it is stable disease against the baseline.
    """

    SUSTAINED = "sustained"
    STRICT = "strict"


class CavityReading(StrEnum):
    """Whether the width of a cavity is subtracted from the diameter of its lesion.

    `SUBTRACTED` is a second reading, which RECIST 1.1 does not define.
    """

    WHOLE = "whole"
    SUBTRACTED = "subtracted"


@dataclass(frozen=True)
class RecistOptions:
    """What a protocol may choose.

    Attributes
    ----------
    after_response : SumsAfterResponse
    needs_confirmation : bool
        Whether a response counts only when a second visit confirms it.
    stable_min_days : int or None
        Least time from the start of treatment for stable disease [days]; None for the default of the rules.
    cavity : CavityReading
    is_immune : bool
        Whether iRECIST is read as well.
    """

    after_response: SumsAfterResponse = SumsAfterResponse.SUSTAINED
    needs_confirmation: bool = False
    stable_min_days: int | None = None  # None: the default of the rules
    cavity: CavityReading = CavityReading.WHOLE
    is_immune: bool = False


@dataclass(frozen=True)
class TargetReading:
    """One target lesion at one visit.

    Attributes
    ----------
    mm : float or None
        Longest diameter, of a node the short axis [mm]; None if it was not evaluated.
    is_seen : bool
        False where the lesion has disappeared.
    """

    mm: float | None = None
    is_seen: bool = True


@dataclass(frozen=True)
class Visit:
    """Everything read at one visit.

    Attributes
    ----------
    day : int
        Counted from the start of treatment.
    targets : mapping of str to TargetReading
        By the id of the lesion.
    non_targets : mapping of str to NonTargetStatus
        By the id of the lesion.
    new : NewLesionStatus
    new_first_seen_day : int or None
        Day on which what is new by now was first seen; None where nothing is new or this is not known.
    markers : TumorMarkerStatus
    new_sum_mm : float or None
        Sum of the diameters of new lesions, for iRECIST [mm].
    new_count : int or None
        Number of new lesions, for iRECIST.
    """

    day: int
    targets: Mapping[str, TargetReading] = field(default_factory=dict)
    non_targets: Mapping[str, NonTargetStatus] = field(default_factory=dict)
    new: NewLesionStatus = NewLesionStatus.NOT_STATED
    new_first_seen_day: int | None = None
    markers: TumorMarkerStatus = TumorMarkerStatus.NOT_STATED
    new_sum_mm: float | None = None
    new_count: int | None = None


@dataclass(frozen=True)
class TimePoint:
    """The response at one follow-up visit.

    Attributes
    ----------
    day : int
        Counted from the start of treatment.
    sum_mm : float or None
        Sum of the diameters of the targets [mm]; None where one was not evaluated.
    nadir_mm : float or None
        Smallest sum of the visits before [mm].
    from_baseline_percent, from_nadir_percent : float or None
        Signed change of the sum; None where there is no sum or nothing to divide by.
    target, non_target : RecistResponse
    overall : tuple of RecistResponse
        Every overall response that is possible; more than one where facts are missing.
    """

    day: int
    sum_mm: float | None
    nadir_mm: float | None
    from_baseline_percent: float | None
    from_nadir_percent: float | None
    target: RecistResponse
    non_target: RecistResponse
    overall: tuple[RecistResponse, ...]

    @property
    def is_decided(self) -> bool:
        """Only one response is possible."""
        return len(self.overall) == 1


@dataclass(frozen=True)
class RecistLimits:
    """The numbers of one edition of RECIST, by the id of their row, as in ``limits["mass_min_mm"]``."""

    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def read_limits(book: RuleBook) -> RecistLimits:
    """The numbers of one edition of RECIST.

    Parameters
    ----------
    book : RuleBook
        The rules ``recist``.

    Returns
    -------
    RecistLimits
    """
    return RecistLimits(MappingProxyType({row.id: float(row["value"]) for row in book.rows("limit")}))


OverallResponseTable = Mapping[tuple[str, str, str], RecistResponse]


def read_overall_table(book: RuleBook) -> OverallResponseTable:
    """Overall response for each combination of target, non-target and new lesions.

    Raises
    ------
    RuleError
        If two rows speak of the same combination.
    """
    table: dict[tuple[str, str, str], RecistResponse] = {}
    for row in book.rows("overall"):
        for key in product(row["target"], row["non_target"], row["new"]):
            if key in table:
                raise RuleError(f"rules/{book.label}: overall row {row.id} repeats {', '.join(key)}")
            table[key] = RecistResponse(row["response"])
    return MappingProxyType(table)


def find_time_points(
    visits: Sequence[Visit],
    *,
    nodes: Iterable[str] = (),
    options: RecistOptions | None = None,
    book: RuleBook,
) -> tuple[TimePoint, ...]:
    """The response at each follow-up visit.

    Parameters
    ----------
    visits : sequence of Visit
        In order of time, the baseline first; its targets must all be measured.
    nodes : iterable of str
        Ids of the targets that are nodes (measured by their short axis).
    options : RecistOptions
    book : RuleBook
        RECIST rules.

    Returns
    -------
    tuple of TimePoint, one for each visit after the baseline

    Raises
    ------
    ValueError
        If a target has no size at baseline.
    """
    options = options or RecistOptions()
    limits, table, node_ids = read_limits(book), read_overall_table(book), frozenset(nodes)
    baseline, points = visits[0], []
    baseline_mm = sum_diameters(baseline.targets, baseline)
    if baseline_mm is None:
        raise ValueError("a target has no size at baseline")
    nadir_mm, was_complete = baseline_mm, False
    responses: list[tuple[int, RecistResponse]] = []
    for visit in visits[1:]:
        sum_mm = sum_diameters(baseline.targets, visit)
        target, non_target = _judge_visit(
            visit, baseline, node_ids, limits, nadir_mm=nadir_mm, was_complete=was_complete
        )
        if options.after_response is SumsAfterResponse.SUSTAINED and target is RecistResponse.SD:
            target = RecistResponse.PR if _has_responded(responses, options, limits) else target
        overall = _combine_responses(target, non_target, visit.new, table)
        points.append(
            TimePoint(
                day=visit.day,
                sum_mm=sum_mm,
                nadir_mm=nadir_mm,
                from_baseline_percent=_change_percent(sum_mm, baseline_mm),
                from_nadir_percent=_change_percent(sum_mm, nadir_mm),
                target=target,
                non_target=non_target,
                overall=overall,
            )
        )
        responses = [] if target is RecistResponse.PD else [*responses, (visit.day, target)]
        nadir_mm = nadir_mm if sum_mm is None else min(nadir_mm, sum_mm)
        was_complete = was_complete if overall == (RecistResponse.NE,) else overall == (RecistResponse.CR,)
    return tuple(points)


def _judge_visit(
    visit: Visit,
    baseline: Visit,
    nodes: frozenset[str],
    limits: RecistLimits,
    *,
    nadir_mm: float,
    was_complete: bool,
) -> tuple[RecistResponse, RecistResponse]:
    """Target and non-target response; what reappears after a complete response is progression."""
    target = _judge_reappearance(visit, nodes, limits) if was_complete else None
    target = target or _judge_targets(visit, baseline, nodes, nadir_mm, limits)
    non_target = _judge_non_targets(visit, baseline)
    if was_complete and non_target is RecistResponse.NON_CR_NON_PD and _has_non_target_reappeared(visit):
        non_target = RecistResponse.PD
    return target, non_target


def sum_diameters(targets: Mapping[str, TargetReading], visit: Visit) -> float | None:
    """Sum of the diameters of some targets at a visit.

    Parameters
    ----------
    targets : mapping of str to TargetReading
        The targets to add up, by their ids; their own readings do not matter.
    visit : Visit

    Returns
    -------
    float or None
        [mm]; None if one of them was not evaluated.
    """
    sizes = [visit.targets.get(name, TargetReading()).mm for name in targets]
    return None if any(size is None for size in sizes) else float(sum(s for s in sizes if s is not None))


def read_target(
    longest_mm: float | None,
    *,
    cavity_mm: float | None = None,
    has_cavity: bool = False,
    cavity: CavityReading,
) -> TargetReading:
    """The reading of one target from its measured diameters.

    Parameters
    ----------
    longest_mm : float or None
        Longest diameter, of a node the short axis [mm]; None if it was not measured.
    cavity_mm : float or None
        Width of its cavity [mm]; None if it was not measured.
    has_cavity : bool
        Whether the lesion is cavitary at any visit.
    cavity : CavityReading

    Returns
    -------
    TargetReading
        Without a size where the cavity is to be subtracted and its width is not known.
    """
    if longest_mm is None or cavity is CavityReading.WHOLE or not has_cavity:
        return TargetReading(longest_mm, is_seen=longest_mm != 0)
    return TargetReading(None if cavity_mm is None else longest_mm - cavity_mm, is_seen=longest_mm != 0)


def has_progressed(sum_mm: float, nadir_mm: float, limits: RecistLimits) -> bool:
    """Whether the sum of diameters has risen enough for progression, both relatively and absolutely.

    Parameters
    ----------
    sum_mm, nadir_mm : float
        The sum, and the smallest one before [mm].
    limits : RecistLimits

    Returns
    -------
    bool
    """
    rise = sum_mm - nadir_mm
    relative = rise >= limits["progression_rise_percent"] / 100 * nadir_mm - _EPSILON
    return relative and rise >= limits["progression_rise_mm"] - _EPSILON


def has_shrunk(sum_mm: float, baseline_mm: float, limits: RecistLimits) -> bool:
    """Whether the sum of diameters has fallen enough below the baseline for a partial response.

    Parameters
    ----------
    sum_mm, baseline_mm : float
        [mm]
    limits : RecistLimits

    Returns
    -------
    bool
    """
    return baseline_mm - sum_mm >= limits["response_fall_percent"] / 100 * baseline_mm - _EPSILON


def _judge_targets(
    visit: Visit, baseline: Visit, nodes: frozenset[str], nadir_mm: float, limits: RecistLimits
) -> RecistResponse:
    if not baseline.targets:
        return RecistResponse.NONE
    readings = {name: visit.targets.get(name, TargetReading()) for name in baseline.targets}
    measured_mm = sum(r.mm for r in readings.values() if r.mm is not None)
    if any(reading.mm is None for reading in readings.values()):
        return RecistResponse.PD if has_progressed(measured_mm, nadir_mm, limits) else RecistResponse.NE
    if not any(_is_disease(name, r, nodes, limits) for name, r in readings.items()):
        return RecistResponse.CR
    if has_progressed(measured_mm, nadir_mm, limits):
        return RecistResponse.PD
    baseline_mm = sum_diameters(baseline.targets, baseline) or 0.0
    return RecistResponse.PR if has_shrunk(measured_mm, baseline_mm, limits) else RecistResponse.SD


def _is_disease(name: str, reading: TargetReading, nodes: frozenset[str], limits: RecistLimits) -> bool:
    """A node is disease from its limit on, any other lesion as long as it is seen."""
    if reading.mm is None:
        return False
    return reading.mm >= limits["node_normal_below_mm"] if name in nodes else reading.is_seen


def _judge_reappearance(visit: Visit, nodes: frozenset[str], limits: RecistLimits) -> RecistResponse | None:
    back = any(_is_disease(name, reading, nodes, limits) for name, reading in visit.targets.items())
    return RecistResponse.PD if back else None


def _has_non_target_reappeared(visit: Visit) -> bool:
    """A non-target lesion is seen again; a raised marker alone is none."""
    return any(
        state in {NonTargetStatus.PRESENT, NonTargetStatus.WORSE} for state in visit.non_targets.values()
    )


def _judge_non_targets(visit: Visit, baseline: Visit) -> RecistResponse:
    is_marked = baseline.markers is TumorMarkerStatus.ELEVATED
    if not baseline.non_targets and not is_marked:
        return RecistResponse.NONE
    states = {visit.non_targets.get(name, NonTargetStatus.NOT_EVALUATED) for name in baseline.non_targets}
    if NonTargetStatus.PROGRESSED in states:
        return RecistResponse.PD
    if NonTargetStatus.NOT_EVALUATED in states:
        return RecistResponse.NE
    if states & {NonTargetStatus.PRESENT, NonTargetStatus.WORSE} or (
        is_marked and visit.markers is TumorMarkerStatus.ELEVATED
    ):
        return RecistResponse.NON_CR_NON_PD
    return (
        RecistResponse.NE
        if is_marked and visit.markers is TumorMarkerStatus.NOT_STATED
        else RecistResponse.CR
    )


def _combine_responses(
    target: RecistResponse, non_target: RecistResponse, new: NewLesionStatus, table: OverallResponseTable
) -> tuple[RecistResponse, ...]:
    """Overall response; two are possible where nobody said whether there are new lesions."""
    without = table[target.value, non_target.value, NewLesionStatus.NO.value]
    if new is NewLesionStatus.YES:
        return (table[target.value, non_target.value, NewLesionStatus.YES.value],)
    if new is NewLesionStatus.NOT_STATED and without is not RecistResponse.PD:
        return tuple(sorted((RecistResponse.PD, without)))
    return (without,)


def _has_responded(
    responses: list[tuple[int, RecistResponse]], options: RecistOptions, limits: RecistLimits
) -> bool:
    days = [day for day, response in responses if response in {RecistResponse.PR, RecistResponse.CR}]
    if not options.needs_confirmation:
        return bool(days)
    return bool(days) and days[-1] - days[0] >= limits["confirmation_min_days"]


def _change_percent(value: float | None, reference: float) -> float | None:
    return None if value is None or reference <= 0 else 100.0 * (value - reference) / reference


def find_best_response(
    points: Sequence[tuple[int, tuple[RecistResponse, ...]]],
    *,
    options: RecistOptions | None = None,
    limits: RecistLimits,
    has_targets: bool = True,
) -> tuple[RecistResponse, ...]:
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
    options = options or RecistOptions()
    decided = [(day, _exclude_progression(responses)) for day, responses in points]
    found = {_find_one_best_response(decided, options, limits, has_targets=has_targets)}
    for number, (day, responses) in enumerate(points):
        if len(responses) > 1:
            until = [*decided[:number], (day, RecistResponse.PD)]
            found.add(_find_one_best_response(until, options, limits, has_targets=has_targets))
    return tuple(sorted(found))


def _exclude_progression(responses: tuple[RecistResponse, ...]) -> RecistResponse:
    return next((r for r in responses if r is not RecistResponse.PD), RecistResponse.PD)


def _find_one_best_response(
    points: Sequence[tuple[int, RecistResponse]],
    options: RecistOptions,
    limits: RecistLimits,
    *,
    has_targets: bool,
) -> RecistResponse:
    first = next((n for n, (_, response) in enumerate(points) if response is RecistResponse.PD), None)
    before = points if first is None else points[:first]
    for best, enough in (
        (RecistResponse.CR, {RecistResponse.CR}),
        (RecistResponse.PR, {RecistResponse.CR, RecistResponse.PR}),
    ):
        days = [day for day, response in before if response in enough]
        apart = limits["confirmation_min_days"] if options.needs_confirmation else 0
        if days and days[-1] - days[0] >= apart:
            return best
    stable = {RecistResponse.CR, RecistResponse.PR, RecistResponse.SD, RecistResponse.NON_CR_NON_PD}
    enough_days = options.stable_min_days
    enough_days = int(limits["stable_min_days"]) if enough_days is None else enough_days
    if any(response in stable and day >= enough_days for day, response in before):
        return RecistResponse.SD if has_targets else RecistResponse.NON_CR_NON_PD
    return RecistResponse.NE if first is None else RecistResponse.PD


def find_progression_day(visits: Sequence[Visit], points: Sequence[TimePoint]) -> int | None:
    """Day of the first certain progression.

    Parameters
    ----------
    visits : sequence of Visit
        In order of time, the baseline first.
    points : sequence of TimePoint
        The responses at the visits after the baseline.

    Returns
    -------
    int or None
        A lesion confirmed as new counts from the day it was first seen; None without progression.
    """
    for visit, point in zip(visits[1:], points, strict=True):
        if point.overall == (RecistResponse.PD,):
            by_new = visit.new is NewLesionStatus.YES and visit.new_first_seen_day is not None
            return visit.new_first_seen_day if by_new else visit.day
    return None


# --- the immune variant ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _UnconfirmedProgression:
    """Progression that waits for its confirmation: when, in what, and how large everything was.

    `last_day` is the latest visit at which it still stood unconfirmed.
    """

    day: int
    last_day: int
    kinds: frozenset[str]
    sum_mm: float | None
    new_sum_mm: float | None


def find_immune_responses(
    visits: Sequence[Visit],
    *,
    nodes: Iterable[str] = (),
    options: RecistOptions | None = None,
    book: RuleBook,
) -> tuple[tuple[str, ...], ...]:
    """iRECIST: the first progression is iUPD and has to be confirmed as iCPD, or is reset.

    Parameters are those of `find_time_points`. New lesions never enter the sum: `Visit.new_sum_mm` and
    `new_count` follow them. Several responses are given where nobody said whether there are new lesions,
    and where what would confirm a progression was seen only after the time for it.
    """
    limits = read_limits(book)
    plain = [replace(visit, new=NewLesionStatus.NO) for visit in visits]
    points = find_time_points(plain, nodes=nodes, options=options, book=book)
    found: list[tuple[str, ...]] = []
    pending: _UnconfirmedProgression | None = None
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
            first = _UnconfirmedProgression(
                visit.day, visit.day, frozenset(kinds), point.sum_mm, visit.new_sum_mm
            )
            pending = replace(pending, last_day=visit.day) if pending is not None else first
        else:
            pending = None
            plain_name = f"i{point.overall[0].value}"
            is_open = visit.new is NewLesionStatus.NOT_STATED
            found.append(("iUPD", plain_name) if is_open else (plain_name,))
        count = max(count, _count_new(visit))
    return tuple(found)


def is_too_late(day: int, last_day: int, limits: RecistLimits) -> bool:
    """Whether a visit lies beyond the time in which iRECIST asks for a progression to be confirmed.

    Parameters
    ----------
    day, last_day : int
        Of the visit, and of the latest one at which the progression was unconfirmed.
    limits : RecistLimits

    Returns
    -------
    bool
    """
    return day - last_day > limits["immune_confirmation_max_days"]


def _count_new(visit: Visit) -> int:
    return (visit.new_count if visit.new_count is not None else 1) if visit.new is NewLesionStatus.YES else 0


def _progressed_kinds(visit: Visit, point: TimePoint, count: int) -> set[str]:
    """In which of the three readings this visit progresses of itself."""
    kinds = set()
    if point.target is RecistResponse.PD:
        kinds.add("target")
    if point.non_target is RecistResponse.PD:
        kinds.add("non_target")
    if _count_new(visit) > count:
        kinds.add("new")
    return kinds


def _is_confirmed(
    visit: Visit, point: TimePoint, kinds: set[str], pending: _UnconfirmedProgression, limits: RecistLimits
) -> bool:
    if visit.day - pending.day < limits["immune_confirmation_min_days"]:
        return False
    if kinds - pending.kinds or "new" in kinds:
        return True
    rise = limits["immune_rise_mm"]
    return (
        ("target" in pending.kinds and _has_risen(point.sum_mm, pending.sum_mm, rise))
        or ("new" in pending.kinds and _has_risen(visit.new_sum_mm, pending.new_sum_mm, rise))
        or ("non_target" in pending.kinds and NonTargetStatus.WORSE in visit.non_targets.values())
    )


def _has_risen(now_mm: float | None, then_mm: float | None, rise_mm: float) -> bool:
    return now_mm is not None and then_mm is not None and now_mm - then_mm >= rise_mm - _EPSILON


def _persists(visit: Visit, pending: _UnconfirmedProgression) -> bool:
    """New lesions, or worse non-target ones, are still there and have not shrunk."""
    if "non_target" in pending.kinds and NonTargetStatus.WORSE in visit.non_targets.values():
        return True
    if "new" not in pending.kinds or visit.new is not NewLesionStatus.YES:
        return False
    now, then = visit.new_sum_mm, pending.new_sum_mm
    return now is None or then is None or now >= then - _EPSILON
