"""From a measured scan to the case: what was measured, what it would mean, and where it contradicts.

Proposals only. Nodules are metastases where the case says so; a number measured never changes a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.clinical.tnm.separate_nodules import nodule_places, primary_side
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, NodulePattern, Staging, Study, path_of
from miliary.model.pattern import PatternLabel
from miliary.model.vocabulary import Origin, Presence, Side

if TYPE_CHECKING:
    from miliary.model.saved.scan_summary import LesionSummary, ScanSummary


@dataclass(frozen=True)
class _Pair:
    """A study and what was measured on it, under the rules in use."""

    study: Study
    scan: ScanSummary
    book: RuleBook


def assess_scans(case: Case, scans: Mapping[str, ScanSummary]) -> tuple[Assessment, ...]:
    """What the measured scans of a case say beside its records.

    Parameters
    ----------
    case : Case
    scans : mapping of str to ScanSummary
        What was measured on each study that points to a result, by the id of the study.

    Returns
    -------
    tuple of Assessment
    """
    book = find_rules("bridge")
    found: list[Assessment] = []
    for study in case.studies:
        scan = scans.get(study.id)
        if scan is not None:
            pair = _Pair(study, scan, book)
            found += [_describe(pair), *(() if scan.doubt else _check_sides(case, pair))]
            found += [*_describe_lesions(case.staging, pair), *_list_definitions(pair)]
            if study.nodules is not None and not scan.doubt:
                found += [*_check_pattern(study.nodules, pair), *_check_spread(study.nodules, pair)]
    return tuple(found)


def count_by_side(scan: ScanSummary) -> tuple[int, int]:
    """Nodules of the right and of the left lung; 0 where the result does not say."""
    counts = {side.value: part.count or 0 for side, part in scan.nodules.by_side.items()}
    return counts.get(Side.RIGHT.value, 0), counts.get(Side.LEFT.value, 0)


def is_in_both_lungs(right: int, left: int, *, book: RuleBook) -> bool:
    """Whether both lungs hold enough nodules, in number and in share, not to be chance marks."""
    row = book.row("both_lungs")
    smaller = min(right, left)
    return smaller >= row["min_per_side"] and smaller >= row["min_share_of_smaller_side"] * (right + left)


def _describe(pair: _Pair) -> Assessment:
    right, left = count_by_side(pair.scan)
    if pair.scan.doubt:
        statement = f"{pair.study.id}: {right + left} marks, which cannot be counted as nodules."
        return _assessment(
            pair,
            "both_lungs",
            "bridge.measured",
            statement,
            Verdict.NOT_ASSESSABLE,
            reason=pair.scan.doubt,
        )
    sizes = pair.scan.nodules.diameter_mm
    size = "sizes not known"
    if sizes.median is not None and sizes.p90 is not None:
        size = f"median diameter {sizes.median:.1f} mm, 90th percentile {sizes.p90:.1f} mm"
    statement = f"{pair.study.id}: {right + left} nodules measured, {right} right and {left} left; {size}."
    return _assessment(pair, "both_lungs", "bridge.measured", statement, Verdict.MET, value=right + left)


def _check_sides(case: Case, pair: _Pair) -> Iterator[Assessment]:
    """Nodules of both lungs against what the case says of metastases and of sides."""
    right, left = count_by_side(pair.scan)
    if not is_in_both_lungs(right, left, book=pair.book):
        return
    home = primary_side(case.staging)
    if home is None:
        statement = f"{pair.study.id}: nodules in both lungs; no side of a primary is stated to compare with."
        yield _assessment(
            pair,
            "contralateral_m1a",
            "bridge.proposed_m",
            statement,
            Verdict.NOT_ASSESSABLE,
            reason="the side of the primary is not stated",
        )
        return
    other = Side.LEFT if home is Side.RIGHT else Side.RIGHT
    beyond = [
        n for n in case.staging.separate_nodules if nodule_places(n, case.staging) == {"contralateral_lung"}
    ]
    state = next((n.are_metastases for n in beyond if n.are_metastases.is_known), Presence.NOT_STATED)
    words = {
        Presence.PRESENT: "the case calls them metastases: M1a",
        Presence.ABSENT: "the case says that they are no metastases",
        Presence.NOT_STATED: "M1a if they are metastases, which the case does not say",
    }[state]
    n_other = right if other is Side.RIGHT else left
    statement = (
        f"{pair.study.id}: {n_other} nodules in the {other.value} lung, opposite the primary; {words}."
    )
    severity = Severity.INFO if state.is_known else Severity.QUERY
    yield _assessment(
        pair,
        "contralateral_m1a",
        "bridge.proposed_m",
        statement,
        Verdict.MET,
        severity=severity,
        value="M1a",
    )


def _check_pattern(said: NodulePattern, pair: _Pair) -> Iterator[Assessment]:
    """The recorded pattern against the measured one, where both say something."""
    right, left = count_by_side(pair.scan)
    both = is_in_both_lungs(right, left, book=pair.book)
    if said.is_bilateral.is_known:
        differs = both is not (said.is_bilateral is Presence.PRESENT)
        recorded = "both lungs" if said.is_bilateral is Presence.PRESENT else "one lung only"
        statement = (
            f"{pair.study.id}: nodules recorded in {recorded}; measured {right} right and {left} left."
        )
        yield _conflict(
            pair, "both_lungs", statement, ("is_bilateral", said.is_bilateral.value), differs=differs
        )
    p90 = pair.scan.nodules.diameter_mm.p90
    if said.max_diameter_mm is not None and p90 is not None:
        differs = abs(p90 - said.max_diameter_mm) >= pair.book.row("size_conflict")["min_difference_mm"]
        statement = (
            f"{pair.study.id}: largest nodule recorded as {said.max_diameter_mm:g} mm; of those measured "
        )
        statement += f"nine in ten are below {p90:.1f} mm."
        yield _conflict(
            pair, "size_conflict", statement, ("max_diameter_mm", said.max_diameter_mm), differs=differs
        )
    if said.count is not None:
        factor = pair.book.row("count_conflict")["min_factor"]
        more, fewer = max(said.count, right + left), min(said.count, right + left)
        statement = f"{pair.study.id}: {said.count} nodules recorded, {right + left} measured."
        differs = more >= factor * max(fewer, 1)
        yield _conflict(pair, "count_conflict", statement, ("count", said.count), differs=differs)


def _check_spread(said: NodulePattern, pair: _Pair) -> Iterator[Assessment]:
    """Recorded distribution and share of the lung against the measured ones, where both are told."""
    label = pair.scan.pattern.label
    if said.distribution is not None and label not in (None, PatternLabel.INDETERMINATE):
        statement = f"{pair.study.id}: distribution recorded as {said.distribution.value}, measured {label}."
        fact = ("distribution", said.distribution.value)
        differs = label != said.distribution.value
        yield _conflict(pair, "pattern_conflict", statement, fact, differs=differs)
    share = pair.scan.extent.lung_fraction_involved
    if said.lung_fraction is not None and share is not None:
        least = pair.book.row("fraction_conflict")["min_difference"]
        statement = f"{pair.study.id}: {said.lung_fraction:.0%} of the lung recorded, {share:.0%} measured."
        differs = abs(share - said.lung_fraction) >= least
        yield _conflict(
            pair, "fraction_conflict", statement, ("lung_fraction", said.lung_fraction), differs=differs
        )


def _list_definitions(pair: _Pair) -> Iterator[Assessment]:
    """Which published definitions the measured numbers meet."""
    rows = pair.scan.definitions
    if not rows:
        return
    told = {
        verdict: [row.title for row in rows if row.verdict is verdict]
        for verdict in (Verdict.MET, Verdict.NOT_MET)
    }
    words = [
        f"{name.value.replace('_', ' ')}: {', '.join(titles) or 'none'}" for name, titles in told.items()
    ]
    statement = (
        f"{pair.study.id}: miliary by what was measured, {'; '.join(words)}; the others cannot be told."
    )
    verdict = Verdict.MET if told[Verdict.MET] else Verdict.NOT_MET
    yield _assessment(pair, "both_lungs", "bridge.definitions", statement, verdict)


def _describe_lesions(staging: Staging, pair: _Pair) -> Iterator[Assessment]:
    """The largest lesion measured beside what the case says of the primary: size, side and lobe."""
    largest = max(pair.scan.lesions, key=lambda x: (_solid_mm(x), x.long_axis_mm or 0.0), default=None)
    if largest is None or largest.long_axis_mm is None:
        return
    total, size = largest.long_axis_mm, _solid_mm(largest)
    # The record of a lesion brings numpy, which a case without a measured scan does without.
    from miliary.model.lesion import LesionAttenuation

    is_solid = largest.attenuation in (None, LesionAttenuation.SOLID)
    axis = "long_axis_mm" if is_solid else "solid_axis_mm"
    lobe = None if largest.lobe is None else largest.lobe.value
    place = lobe or f"{largest.side} lung"
    what = "cavitary lesion" if largest.is_cavitary else "lesion"
    measured = (Input(path_of("studies", pair.study.id, f"result.lesions.{axis}"), size),)
    told = f"{pair.study.id}: {what} of {total:.1f} mm measured, {place}"
    if not is_solid:
        told += f", its solid part {size:.1f} mm, which makes the T category"
    if size <= 0.0:
        yield _assessment(
            pair,
            "lesion_size",
            "bridge.proposed_size",
            f"{pair.study.id}: {what} of {total:.1f} mm measured, {place}: ground glass, no solid part.",
            Verdict.NOT_ASSESSABLE,
            inputs=measured,
            reason="the T category goes by the solid part, and none was found",
        )
    elif staging.size_mm is None:
        statement = f"{told}; no size of a primary is stated, this may be it."
        yield _assessment(
            pair, "lesion_size", "bridge.proposed_size", statement, Verdict.MET, inputs=measured, value=size
        )
    else:
        least = pair.book.row("lesion_size_conflict")["min_difference_mm"]
        statement = f"{told}; the primary is recorded with {staging.size_mm:g} mm."
        inputs = (Input("staging.size_mm", staging.size_mm), *measured)
        differs = abs(size - staging.size_mm) >= least
        yield _lesion_conflict(pair, "lesion_size_conflict", "size", statement, inputs, differs=differs)
    home = primary_side(staging)
    if home is not None:
        recorded = staging.lobe.value if staging.lobe is not None and lobe is not None else home.value
        found = lobe if lobe is not None and staging.lobe is not None else largest.side
        statement = f"{told}; the primary is recorded in {recorded}."
        where = (Input("staging.lobe" if recorded.isupper() else "staging.side", recorded),)
        differs = found != recorded
        yield _lesion_conflict(pair, "lesion_place_conflict", "place", statement, where, differs=differs)


def _solid_mm(lesion: LesionSummary) -> float:
    """Diameter of what is solid [mm]; of the whole in a result from before it was measured."""
    axis = lesion.long_axis_mm if lesion.solid_axis_mm is None else lesion.solid_axis_mm
    return axis or 0.0


def _lesion_conflict(
    pair: _Pair, row_id: str, name: str, statement: str, inputs: tuple[Input, ...], *, differs: bool
) -> Assessment:
    return _assessment(
        pair,
        row_id,
        f"bridge.conflict.lesion_{name}",
        statement,
        Verdict.MET if differs else Verdict.NOT_MET,
        severity=Severity.QUERY if differs else Severity.INFO,
        inputs=inputs,
    )


def _conflict(
    pair: _Pair,
    row_id: str,
    statement: str,
    fact: tuple[str, str | float],
    *,
    differs: bool,
) -> Assessment:
    return _assessment(
        pair,
        row_id,
        f"bridge.conflict.{fact[0].removeprefix('is_')}",
        statement,
        Verdict.MET if differs else Verdict.NOT_MET,
        severity=Severity.QUERY if differs else Severity.INFO,
        inputs=(Input(path_of("studies", pair.study.id, f"nodules.{fact[0]}"), fact[1]),),
    )


def _assessment(
    pair: _Pair,
    row_id: str,
    rule_id: str,
    statement: str,
    verdict: Verdict,
    *,
    severity: Severity = Severity.INFO,
    inputs: tuple[Input, ...] = (),
    **more: Any,
) -> Assessment:
    right, left = count_by_side(pair.scan)
    measured = (
        Input(path_of("studies", pair.study.id, "result.nodules.by_side.right.count"), right),
        Input(path_of("studies", pair.study.id, "result.nodules.by_side.left.count"), left),
    )
    return Assessment(
        rule_id=rule_id,
        title="Measured on the scan",
        verdict=verdict,
        severity=severity,
        statement=statement,
        inputs=(*inputs, *measured),
        origin=Origin.SIMULATED if pair.scan.origin is Origin.SIMULATED else Origin.MEASURED,
        **pair.book.credit(row_id),
        **more,
    )
