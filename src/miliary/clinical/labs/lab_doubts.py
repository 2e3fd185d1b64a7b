"""Laboratory values that cannot be right as they stand: asked about, and until then weighed by no rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from miliary.clinical.labs.lab_ranges import convert_lab, load_labs
from miliary.clinical.rulebook import RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, LabResult, path_of
from miliary.model.vocabulary import UNITS


class Doubt(NamedTuple):
    """Why a value is doubted, the field that tells it, and the row of bounds it lies beyond, if any."""

    words: str
    field: str
    row: RuleRow | None = None


def assess(case: Case) -> tuple[Assessment, ...]:
    """A question about every doubted value.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
        Queries ``labs.doubted`` and, for what no rule reads, ``labs.unread``.
    """
    return (
        tuple(_ask(lab, doubt) for lab in case.labs if (doubt := find_doubt(lab)) is not None)
        + tuple(_ask_conflict(group) for group in _list_conflicts(case))
        + tuple(_ask_plain(lab) for lab in case.labs if _say_unread(lab))
    )


def _say_unread(lab: LabResult) -> str:
    """What of a row no rule reads: a result in words, or a time that is neither a date nor a day."""
    name = lab.analyte.replace("_", " ")
    if lab.words:
        return (
            f"{name} is {lab.words}: no rule reads a laboratory result in words. A test for an infection is "
            "read under microbiology, a stain under immunostains."
        )
    # "At presentation" is as precise as it is meant; words with a number are a time not understood.
    if lab.value is not None and not lab.when.is_known and re.search(r"\d", lab.when.text):
        return (
            f"The time '{lab.when.text}' of {name} {lab.value:g} {lab.unit} is neither a date nor a day that "
            "is understood: the value stands in no course. When was it?"
        )
    return ""


def _ask_plain(lab: LabResult) -> Assessment:
    book = load_labs()
    return Assessment(
        rule_id="labs.unread",
        title="Laboratory result that no rule reads",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.QUERY,
        statement=_say_unread(lab),
        reason="no rule reads it",
        inputs=(
            Input(path_of("labs", lab.id, "words" if lab.words else "when"), lab.words or str(lab.when)),
        ),
        origin=lab.origin,
        **book.credit(book.row("value_in_doubt")),
    )


def find_doubt(lab: LabResult) -> Doubt | None:
    """Why a laboratory value cannot be taken as it stands.

    Parameters
    ----------
    lab : LabResult

    Returns
    -------
    Doubt or None
        The value or a limit lies beyond the bounds of its analyte in the stated unit, or the value is only
        said to be about so much; None where nothing speaks against it, or its unit is not stated.
    """
    if lab.value is None:
        return None
    if lab.comparator == "\u2248":
        return Doubt(f"is said to be about {lab.value:g} {lab.unit}: what is the exact value?", "comparator")
    for row in load_labs().rows("bounds"):
        if row["analyte"] != lab.analyte or _convert(lab, lab.value, row) is None:
            continue
        if _lies_beyond(lab, row):
            return Doubt(
                f"{lab.value:g} {lab.unit} is outside {row['low']:g} to {row['high']:g} {row['unit']}, which "
                f"hardly any patient leaves: is the unit right?{_name_fitting_units(lab)}",
                "value",
                row,
            )
        if not _do_limits_fit(lab, row):
            limits = " to ".join(f"{limit:g}" for limit in (lab.low, lab.high) if limit is not None)
            return Doubt(
                f"{lab.value:g} {lab.unit} has the limits {limits}, which do not fit {lab.unit}: are unit "
                f"and limits right?{_name_fitting_units(lab)}",
                "low" if lab.high is None else "high",
                row,
            )
    return None


def set_aside_doubted(case: Case) -> Case:
    """The case as rules may weigh it: without the number of any doubted value.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Case
        The values stay in their places, with no number and no limits; the case itself if none is doubted.
    """
    doubted = {lab.id for lab in case.labs if find_doubt(lab) is not None}
    if not doubted:
        return case
    labs = (
        replace(lab, value=None, low=None, high=None, comparator="") if lab.id in doubted else lab
        for lab in case.labs
    )
    return replace(case, labs=tuple(labs))


def _convert(lab: LabResult, number: float, row: RuleRow) -> float | None:
    return convert_lab(replace(lab, value=number), row["unit"])


def _lies_beyond(lab: LabResult, row: RuleRow) -> bool:
    """Whether a value is out of bounds; none at all and less than a limit of detection are possible."""
    value = None if lab.value is None else _convert(lab, lab.value, row)
    if value is None or value == 0:
        return False
    return value > row["high"] * 1.0001 or (value < row["low"] * 0.9999 and lab.comparator != "<")


def _do_limits_fit(lab: LabResult, row: RuleRow) -> bool:
    low, high = (None if limit is None else _convert(lab, limit, row) for limit in (lab.low, lab.high))
    is_high_right = high is None or row["limit_low"] * 0.9999 <= high <= row["limit_high"] * 1.0001
    return is_high_right and (low is None or low <= row["limit_high"])


def _name_fitting_units(lab: LabResult) -> str:
    """The units in which value and limits would be possible."""
    fitting: dict[str, float] = {}
    for row in load_labs().rows("bounds"):
        for unit in sorted(UNITS - {"1"}) if row["analyte"] == lab.analyte else ():
            other = replace(lab, unit=unit)
            size = _convert(other, 1.0, row)
            if size is None or _lies_beyond(other, row) or not _do_limits_fit(other, row):
                continue
            if all(abs(size / known - 1) > 1e-6 for known in fitting.values()):
                fitting[unit] = size
    return f" Value and limits would fit {' or '.join(list(fitting)[:3])}." if fitting else ""


def _ask(lab: LabResult, doubt: Doubt) -> Assessment:
    name = lab.analyte.replace("_", " ")
    book = load_labs()
    return Assessment(
        rule_id="labs.doubted",
        title="Laboratory value in doubt",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.QUERY,
        statement=f"{name} {doubt.words} No rule uses the value until this is answered.",
        reason="the value is in doubt",
        inputs=tuple(
            Input(path_of("labs", lab.id, field), getattr(lab, field))
            for field in dict.fromkeys(("value", "unit", doubt.field))
        ),
        origin=lab.origin,
        **book.credit(doubt.row if doubt.row is not None else book.row("value_in_doubt")),
    )


def _list_conflicts(case: Case) -> Iterator[tuple[LabResult, ...]]:
    """Values of one analyte on one day that differ, although nothing in the record tells them apart.

    They may be two samples, one of which is a danger, so that neither is set aside.
    """
    groups: dict[tuple[str, ...], list[LabResult]] = {}
    for lab in case.labs:
        if lab.value is not None and lab.when.is_known and find_doubt(lab) is None:
            key = (lab.analyte, str(lab.when), lab.material, lab.method, str(lab.is_baseline))
            groups.setdefault(key, []).append(lab)
    for group in groups.values():
        first = group[0]
        same = [_same_number(first, lab) for lab in group[1:]]
        if not all(same):
            yield tuple(group)


def _same_number(first: LabResult, other: LabResult) -> bool:
    if first.unit == other.unit or not first.unit or not other.unit:
        number: float | None = other.value
    else:
        number = convert_lab(other, first.unit)
    if number is None or first.value is None or first.comparator != other.comparator:
        return False
    return abs(number - first.value) <= 0.02 * max(abs(first.value), abs(number))


def _ask_conflict(group: tuple[LabResult, ...]) -> Assessment:
    name = group[0].analyte.replace("_", " ")
    numbers = " and ".join(f"{lab.comparator}{lab.value:g} {lab.unit}".rstrip() for lab in group)
    book = load_labs()
    return Assessment(
        rule_id="labs.doubted",
        title="Laboratory value in doubt",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.QUERY,
        statement=(
            f"{name} is given as {numbers} for {group[0].when}, and nothing tells the samples apart: which "
            "holds? Until this is answered every rule reads both."
        ),
        reason="the value is in doubt",
        inputs=tuple(Input(path_of("labs", lab.id, "value"), lab.value) for lab in group),
        origin=group[0].origin,
        **book.credit(book.row("value_in_doubt")),
    )
