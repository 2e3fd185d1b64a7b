"""A recorded dose against its label: always as a total per day, always with the region named.

A dose that no label knows is asked about, never corrected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from miliary.clinical.drugs.drug_names import describe_drug, find_drug
from miliary.clinical.drugs.label_regions import find_label_region
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Patient, Treatment, days_between, path_of
from miliary.model.vocabulary import ChildPugh

_DAYS_PER_MONTH = 30.4375
# A date of which only the year, or year and month, is stated.
_YEAR_AND_MONTH = re.compile(r"\d{4}([-/.]\d{1,2})?\s*\Z")
_MG_PER_UNIT = {"mg": 1.0, "g": 1000.0, "ug": 0.001}


def assess_dose(
    treatment: Treatment, rules: RuleBook, *, patient: Patient | None = None
) -> Iterator[Assessment]:
    """Total daily dose of one treatment against every labeled level of its region.

    Nothing is yielded for a drug without a labeled dose in the rules. Where a label depends on body weight
    and none is given, both of its doses count as labeled. Its dose for Child-Pugh class C holds where that
    class is stated.
    """
    patient = patient or Patient()
    drug = find_drug(treatment)
    rows = [row for row in rules.rows("dose") if row["drug"] == drug]
    if not rows:
        return
    region = find_label_region(treatment.region, rules)
    rows = [row for row in rows if not region or row["region"] == region]
    rows = [row for row in rows if row["use"] == _find_use(treatment)]
    rows = _choose_by_weight(rows, patient.weight_kg)
    totals = find_daily_totals_mg(treatment)
    unread, rows = [r for r in rows if not r.is_verified], [r for r in rows if r.is_verified]
    if unread and not rows:
        yield _ask_unread_dose(treatment, totals, unread, rules)
    elif not rows or not totals:
        yield _cannot_check(treatment, rules, has_label=bool(rows))
    elif len(totals) > 1:
        yield _ask_frequency(treatment, totals, rows, rules)
    else:
        yield _compare_dose(treatment, totals[0], rows, rules, patient)


def _list_read_doses(book: RuleBook) -> Iterator[RuleRow]:
    """Doses that somebody read in a text; of the others it is only said that nobody did."""
    return (row for row in book.rows("dose") if row.is_verified)


def _ask_unread_dose(
    treatment: Treatment, totals: tuple[float, ...], rows: list[RuleRow], book: RuleBook
) -> Assessment:
    regions = " and ".join(dict.fromkeys(row["region"] for row in rows))
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"The dose of {describe_drug(treatment)} has to be compared with the {regions} label: no text of it "
        "was read.",
        f"the {regions} label was not read",
        value=totals[0] if len(totals) == 1 else None,
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        **book.credit(*rows),
    )


def _choose_by_weight(rows: list[RuleRow], weight_kg: float | None) -> list[RuleRow]:
    """Rows for lighter patients hold below their bound, the others from it on."""
    bounds = [row["below_weight_kg"] for row in rows if row.get("below_weight_kg")]
    if weight_kg is None or not bounds:
        return rows
    is_light = weight_kg < min(bounds)
    return [row for row in rows if bool(row.get("below_weight_kg")) is is_light]


def check_duration(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """Whether a treatment lasts longer than its label foresees.

    Parameters
    ----------
    treatment : Treatment
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
        One for each label with a limit on duration that the treatment exceeds.
    """
    region = find_label_region(treatment.region, book)
    days = days_between(treatment.start, treatment.stop)
    for row in _list_read_doses(book):
        limit = row.get("max_months")
        fits = (row["drug"], row["region"], row["use"]) == (
            find_drug(treatment),
            region,
            _find_use(treatment),
        )
        if limit is None or not fits or days is None or days <= limit * _DAYS_PER_MONTH:
            continue
        yield Assessment(
            f"therapy.duration.{treatment.id}",
            f"Duration of {treatment.name}",
            Verdict.MET,
            Severity.QUERY,
            f"{treatment.name} is recorded for {days} days; the {region} label for {row['use']} use ends at "
            f"{limit:g} months.",
            value=days,
            inputs=(
                Input(path_of("treatments", treatment.id, "start"), str(treatment.start)),
                Input(path_of("treatments", treatment.id, "stop"), str(treatment.stop)),
            ),
            origin=treatment.origin,
            **book.credit(row),
        )


def _find_use(treatment: Treatment) -> str:
    """Which labeled use a treatment belongs to; lung cancer that is not adjuvant counts as advanced."""
    use = treatment.population.lower()
    return use if use in ("adjuvant", "alcl") else "advanced"


def find_daily_totals_mg(treatment: Treatment) -> tuple[float, ...]:
    """The daily dose of a treatment.

    Parameters
    ----------
    treatment : Treatment

    Returns
    -------
    tuple of float
        Milligrams per day: one value; two (taken once, taken twice a day) where the frequency is not stated;
        none where the dose or its unit is not known.
    """
    factor = _MG_PER_UNIT.get(treatment.unit.strip().lower())
    if treatment.dose is None or factor is None:
        return ()
    dose = treatment.dose * factor
    if treatment.dose_is_daily_total:
        return (dose,)
    if treatment.times_per_day is None:
        return (dose, 2 * dose)
    return (dose * treatment.times_per_day,)


def _levels_daily_mg(row: RuleRow, patient: Patient) -> tuple[float, ...]:
    """Labeled totals per day, the starting dose first; for Child-Pugh class C its own, where there is one."""
    if patient.child_pugh is ChildPugh.C and row.get("child_pugh_c_daily_mg"):
        return (float(row["child_pugh_c_daily_mg"]),)
    return tuple(float(step) for step in row["steps_daily_mg"])


def _compare_dose(
    treatment: Treatment, total: float, rows: list[RuleRow], book: RuleBook, patient: Patient
) -> Assessment:
    """A level of every region asked: fine; of none: a query; below the starting dose: a note."""
    levels = {row.id: _levels_daily_mg(row, patient) for row in rows}
    same_total = [row for row in rows if total in levels[row.id] or total == row.get("lead_in_daily_mg")]
    fitting = [row for row in same_total if _fits_schedule(row, total, treatment, levels[row.id])]
    if same_total and not fitting:
        return _ask_schedule(treatment, total, same_total, book)
    starting = [row for row in fitting if total == levels[row.id][0]]
    stepwise = [row for row in rows if row.get("stepwise") and total < levels[row.id][0]]
    if not fitting and stepwise:
        return _cannot_step(treatment, total, stepwise, book)
    details = "; ".join(_describe_ratio(row, total, levels[row.id][0]) for row in rows)
    if patient.child_pugh is ChildPugh.C and any(row.get("child_pugh_c_daily_mg") for row in rows):
        details += "; for Child-Pugh class C"
    severity = Severity.QUERY
    if fitting:
        severity = Severity.INFO if starting and len(fitting) == len(rows) else Severity.NOTE
    lead = "is a labeled level" if fitting else "is no labeled level"
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.MET if fitting else Verdict.NOT_MET,
        severity,
        f"{describe_drug(treatment)} {total:g} mg per day in total {lead}: {details}."
        + ("" if fitting else _name_no_reduction(rows, total) + _name_other_uses(total, treatment, book)),
        value=total,
        inputs=(*_list_dose_inputs(treatment), *_liver_input(patient)),
        origin=treatment.origin,
        facts_item=None if fitting else "j6",
        **book.credit(*rows),
    )


def _list_schedules(row: RuleRow, total: float, levels: tuple[float, ...]) -> set[float]:
    """How often a day a label gives a total: as at the start, unless its row says otherwise."""
    often = row.get("steps_per_day") or [row["times_per_day"]] * len(levels)
    found = {float(times) for level, times in zip(levels, often, strict=False) if level == total}
    if total == row.get("lead_in_daily_mg"):
        found.add(float(row.get("lead_in_per_day", row["times_per_day"])))
    return found


def _fits_schedule(row: RuleRow, total: float, treatment: Treatment, levels: tuple[float, ...]) -> bool:
    """Whether a total is taken as often a day as the label gives it; where that is not stated, it may be."""
    if treatment.times_per_day is None or treatment.dose_is_daily_total:
        return True
    return treatment.times_per_day in _list_schedules(row, total, levels)


def _ask_schedule(treatment: Treatment, total: float, rows: list[RuleRow], book: RuleBook) -> Assessment:
    """A total of the label, taken less or more often a day than the label gives it."""
    levels = [
        f"{total / times:g} mg {_name_times(times)} ({row['region']} label, {row['use']})"
        for row in rows
        for times in sorted(_list_schedules(row, total, tuple(map(float, row["steps_daily_mg"]))))
    ]
    times = treatment.times_per_day or 1.0
    starts = "; ".join(
        f"{row['region']} {row['use']}: {row['unit_dose_mg']:g} mg {_name_times(row['times_per_day'])}"
        for row in rows
    )
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_MET,
        Severity.QUERY,
        f"{describe_drug(treatment)} {total / times:g} mg {_name_times(times)} is no labeled schedule: a "
        f"total of {total:g} mg per day is labeled as {'; '.join(levels)}; starting dose {starts}. Are the "
        "dose and its frequency recorded as given?",
        value=total,
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        facts_item="j6",
        **book.credit(*rows),
    )


def _name_times(times: float) -> str:
    return {1.0: "once a day", 2.0: "twice a day"}.get(float(times), f"{times:g} times a day")


def _liver_input(patient: Patient) -> tuple[Input, ...]:
    return () if patient.child_pugh is None else (Input("patient.child_pugh", patient.child_pugh.value),)


def _cannot_step(treatment: Treatment, total: float, rows: list[RuleRow], book: RuleBook) -> Assessment:
    """A lower dose of a drug whose label goes down in steps that are not held here."""
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.NOTE,
        f"{treatment.name} {total:g} mg per day in total lies below the labeled dose; its labels reduce it "
        "in steps that are not encoded.",
        "the steps of the label are not encoded",
        value=total,
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        **book.credit(*rows),
    )


def check_lead_in(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """Whether the lower dose of the first days is recorded for longer than the label asks for it.

    Parameters
    ----------
    treatment : Treatment
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
    """
    totals = find_daily_totals_mg(treatment)
    region = find_label_region(treatment.region, book)
    days = days_between(treatment.start, treatment.stop)
    for row in _list_read_doses(book):
        fits = row["drug"] == find_drug(treatment) and row["region"] == region
        lead_in = row.get("lead_in_daily_mg")
        if not fits or lead_in is None or totals != (lead_in,) or days is None or days <= row["lead_in_days"]:
            continue
        yield Assessment(
            f"therapy.lead_in.{treatment.id}",
            f"First days of {treatment.name}",
            Verdict.MET,
            Severity.QUERY,
            f"{treatment.name} {lead_in:g} mg per day is recorded for {days} days; the {region} label gives "
            f"that dose for {row['lead_in_days']} days and {row['steps_daily_mg'][0]:g} mg after.",
            value=days,
            inputs=(
                *_list_dose_inputs(treatment),
                Input(path_of("treatments", treatment.id, "start"), str(treatment.start)),
                Input(path_of("treatments", treatment.id, "stop"), str(treatment.stop)),
            ),
            origin=treatment.origin,
            **book.credit(row),
        )


def check_missing_lead_in(
    treatment: Treatment, others: Sequence[Treatment], book: RuleBook
) -> Iterator[Assessment]:
    """Whether a full dose is recorded from the start although the label begins with a lower one.

    Parameters
    ----------
    treatment : Treatment
    others : sequence of Treatment
        All drugs of the case.
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
        None where an earlier entry of the same drug is recorded.
    """
    totals, drug = find_daily_totals_mg(treatment), find_drug(treatment)
    region = find_label_region(treatment.region, book)
    same = [o for o in others if o.id != treatment.id and find_drug(o) == drug]
    if any(
        (days_between(other.start, treatment.start) or 0) > 0 or not other.start.is_known for other in same
    ):
        return
    for row in _list_read_doses(book):
        lead_in = row.get("lead_in_daily_mg")
        if row["drug"] != drug or lead_in is None or (region and row["region"] != region):
            continue
        if len(totals) != 1 or totals[0] <= lead_in or not treatment.start.is_known:
            continue
        yield Assessment(
            f"therapy.no_lead_in.{treatment.id}",
            f"First days of {treatment.name}",
            Verdict.NOT_MET,
            Severity.QUERY,
            f"{describe_drug(treatment)} {totals[0]:g} mg per day is recorded from {treatment.start} on; the "
            f"{row['region']} label gives {lead_in:g} mg per day for the first {row['lead_in_days']} days, "
            "which are not recorded.",
            value=totals[0],
            inputs=(
                *_list_dose_inputs(treatment),
                Input(path_of("treatments", treatment.id, "start"), str(treatment.start)),
            ),
            origin=treatment.origin,
            **book.credit(row),
        )


def _name_no_reduction(rows: list[RuleRow], total: float) -> str:
    """Labels that pause a drug and go on with the same dose, where a lower one is recorded."""
    regions = [row["region"] for row in rows if row.get("no_reduction") and total < row["steps_daily_mg"][0]]
    return f" The {' and '.join(regions)} label names no reduced dose." if regions else ""


def _name_other_uses(total: float, treatment: Treatment, book: RuleBook) -> str:
    """Where else that total is a labeled level, and the question."""
    others = [
        f"{row['region']} {row['use']}"
        + (f" below {row['below_weight_kg']:g} kg" if row.get("below_weight_kg") else "")
        for row in _list_read_doses(book)
        if row["drug"] == find_drug(treatment) and total in row["steps_daily_mg"]
    ]
    found = f" It is one only for: {', '.join(others)}." if others else " It is one in no label held here."
    return found + " Are the dose and its frequency recorded as given?"


def _describe_ratio(row: RuleRow, total: float, full: float | None = None) -> str:
    full = full or float(row["steps_daily_mg"][0])
    return f"{total / full:.0%} of {full:g} mg ({row['region']} label, {row['use']})"


def _ask_frequency(
    treatment: Treatment, totals: tuple[float, ...], rows: list[RuleRow], book: RuleBook
) -> Assessment:
    ways = [
        f"{word} a day it is {'; '.join(_describe_ratio(row, total) for row in rows)}"
        for word, total in zip(("once", "twice"), totals, strict=True)
    ]
    written = f' ("{treatment.dose_text}")' if treatment.dose_text else ""
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"{treatment.name} {totals[0]:g} mg is stated without a frequency{written}: {', '.join(ways)}.",
        "the frequency is not stated",
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        facts_item="j6",
        **book.credit(*rows),
    )


def _cannot_check(treatment: Treatment, book: RuleBook, *, has_label: bool) -> Assessment:
    rows = [row for row in _list_read_doses(book) if row["drug"] == find_drug(treatment)]
    if not has_label:
        reason = f"no label for {treatment.region or 'any region'}, {_find_use(treatment)} use, is held here"
    elif treatment.dose is None:
        reason = "the dose is not stated"
    else:
        reason = f"the unit {treatment.unit!r} is not one of {', '.join(_MG_PER_UNIT)}"
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY if has_label else Severity.NOTE,
        f"The dose of {treatment.name} cannot be compared with a label.",
        reason,
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        **book.credit(*rows),
    )


def _list_dose_inputs(treatment: Treatment) -> tuple[Input, ...]:
    names = ("dose", "unit", "times_per_day", "dose_is_daily_total", "region", "population")
    values = {name: getattr(treatment, name) for name in names}
    return tuple(
        Input(path_of("treatments", treatment.id, name), None if value == "" else value)
        for name, value in values.items()
    )


def check_details(treatment: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """What the record does not state of a treatment and a check of its dose needs.

    Parameters
    ----------
    treatment : Treatment
    case : Case
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
        At most one, which lists what is missing.
    """
    rows = [row for row in _list_read_doses(book) if row["drug"] == find_drug(treatment)]
    if not rows:
        return
    missing = [
        name
        for name, is_missing in (
            ("frequency", treatment.times_per_day is None and not treatment.dose_is_daily_total),
            ("route", not treatment.route),
            ("start date", not (treatment.start.is_known or _YEAR_AND_MONTH.match(treatment.start.text))),
            ("formulation", not treatment.formulation),
            ("with or without food", not treatment.with_food.is_known and _asks_food(rows)),
            ("body weight", case.patient.weight_kg is None),
            ("region of the label", not treatment.region),
        )
        if is_missing
    ]
    if missing:
        yield Assessment(
            f"therapy.dose_details.{treatment.id}",
            f"How {treatment.name} is given",
            Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"For {treatment.name} the record does not state: {', '.join(missing)}.",
            "not stated: " + ", ".join(missing),
            values=tuple(missing),
            inputs=(Input(path_of("treatments", treatment.id, "name"), treatment.name),),
            origin=treatment.origin,
            facts_item="j7",
            **book.credit(*rows),
        )


def _asks_food(rows: list[RuleRow]) -> bool:
    return any(row.get("with_food") for row in rows)
