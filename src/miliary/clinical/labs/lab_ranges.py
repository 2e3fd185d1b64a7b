"""Limits and baselines of laboratory values: the laboratory's own range first, a named default second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.case import Case, LabResult, Treatment, When, days_between
from miliary.model.units import convert_value


@dataclass(frozen=True)
class Range:
    """Lower and upper limit in the value's unit; `row` where they are a default, None where reported."""

    low: float | None = None
    high: float | None = None
    row: RuleRow | None = None

    @property
    def words(self) -> str:
        """Where the limits come from."""
        return f"a default range ({self.row['setting']})" if self.row else "the laboratory's range"


def load_labs() -> RuleBook:
    """The rules for laboratory values."""
    return find_rules("labs")


def find_analyte(name: str) -> RuleRow | None:
    """What is known of an analyte; None if it is not in the rules."""
    return next((row for row in load_labs().rows("analyte") if row.id == name), None)


def is_enzyme(name: str) -> bool:
    """Whether an analyte is measured by its activity."""
    row = find_analyte(name)
    return row is not None and bool(row.get("is_enzyme", False))


def convert_lab(lab: LabResult, to: str) -> float | None:
    """The value in another unit; None where it has none or cannot be converted."""
    if lab.value is None or not lab.unit:
        return None
    return convert_value(lab.value, lab.unit, to, is_enzyme=is_enzyme(lab.analyte))


def find_range(case: Case, lab: LabResult) -> Range:
    """The limits to judge a value by, in its own unit.

    A default is used only where the case says in which country the patient was seen, and the sex where the
    range depends on it.
    """
    if lab.low is not None or lab.high is not None:
        return Range(lab.low, lab.high)
    analyte = find_analyte(lab.analyte)
    for row in load_labs().rows("range"):
        fits = row["analyte"] == lab.analyte and row["setting"] == case.patient.region.upper()
        if analyte is None or not fits or row.get("sex") not in {None, case.patient.sex}:
            continue
        low, high = (_in_unit(row.get(side), analyte, lab) for side in ("low", "high"))
        return Range(low, high, row) if low is not None or high is not None else Range()
    return Range()


def _in_unit(limit: float | None, analyte: RuleRow, lab: LabResult) -> float | None:
    if limit is None or not lab.unit:
        return None
    return convert_value(limit, analyte["unit"], lab.unit, is_enzyme=bool(analyte.get("is_enzyme", False)))


def find_treatment_start(case: Case) -> When | None:
    """When the first drug with a stated start was begun."""
    starts = [treatment.start for treatment in drugs(case) if treatment.start.is_known]
    first: When | None = None
    for start in starts:
        if first is None or (days_between(first, start) or 0) < 0:
            first = start
    return first


def drugs(case: Case) -> tuple[Treatment, ...]:
    """Treatments that are drugs."""
    return tuple(treatment for treatment in case.treatments if treatment.kind == "drug")


def is_before_treatment(case: Case, lab: LabResult) -> bool | None:
    """Whether a value was taken before or on the day treatment began; None where that cannot be told."""
    if lab.is_baseline or not drugs(case):
        return True
    start = find_treatment_start(case)
    days = days_between(lab.when, start) if start is not None else None
    return None if days is None else days >= 0


def find_baseline(case: Case, lab: LabResult) -> LabResult | None:
    """The value to compare with: the one marked as baseline, or the last one before treatment."""
    same = [other for other in case.labs if other.analyte == lab.analyte and other.value is not None]
    marked = [other for other in same if other.is_baseline]
    if marked:
        return marked[0]
    before = [other for other in same if drugs(case) and is_before_treatment(case, other)]
    return _last(before)


def _last(labs: Sequence[LabResult]) -> LabResult | None:
    latest: LabResult | None = None
    for lab in labs:
        if latest is None or (days_between(latest.when, lab.when) or 0) >= 0:
            latest = lab
    return latest
