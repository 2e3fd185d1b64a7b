"""Targeted therapy: options on record for a driver, and the recorded treatment against its label.

Nothing here advises. A dose that no label knows is asked about, never corrected, and always compared as a
total per day with the label region named.
"""

from __future__ import annotations

from collections.abc import Iterator

from miliary.assessment import Assessment, Input, Severity, Verdict
from miliary.case import Case, Treatment, path_of
from miliary.clinical.drivers import GeneFinding, GeneStatus, find_gene_status
from miliary.clinical.rulebook import Row, RuleBook, load_rules
from miliary.vocabulary import History, Presence, Sex

EDITION = "2026-11"
_MG_PER_UNIT = {"mg": 1.0, "g": 1000.0, "ug": 0.001}


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Options for each driver found, and each recorded drug against its label.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the therapy rules; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Empty where no driver is positive and no drug is recorded.
    """
    book = rules or load_rules("therapy", EDITION)
    drugs = tuple(item for item in case.treatments if item.kind == "drug")
    positive = tuple(g for g in find_gene_status(case) if g.status is GeneStatus.POSITIVE)
    return (
        *_list_options(case, positive, drugs, book),
        *_check_immunotherapy(positive, drugs, book),
        *(outcome for drug in drugs for outcome in _assess_drug(drug, case, book)),
    )


def _assess_drug(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    yield from assess_dose(drug, book)
    yield from _check_details(drug, case, book)
    yield from _check_contraception(drug, case, book)
    yield from _list_trials(drug, book)


def find_drug(treatment: Treatment) -> str:
    """The generic name as the rule file writes it."""
    return treatment.name.strip().lower()


def find_label_region(region: str, book: RuleBook) -> str:
    """Region of the label (US, EU, JP) for a country code; empty where the rules hold no label for it."""
    row = book.row("label_regions")
    return next((name for name in ("US", "EU", "JP") if region.upper() in row[name]), "")


# --- options


def _list_options(
    case: Case, positive: tuple[GeneFinding, ...], drugs: tuple[Treatment, ...], book: RuleBook
) -> Iterator[Assessment]:
    """What is on record for the driver, the region and the line of treatment."""
    region = find_label_region(case.patient.region, book)
    line = "later" if any(drug.line is not None and drug.line > 1 for drug in drugs) else "first"
    for finding in positive:
        rows = [row for row in book.rows("option") if _fits(row, finding, region, line)]
        pending = [row for row in book.rows("pending") if row["gene"] == finding.gene and row.drives]
        place = region or "all regions on record (the patient's region is not stated)"
        names = tuple(dict.fromkeys(" + ".join(row["drugs"]) for row in rows))
        text = f"{finding.gene}, {line} line, {place}: " + (", ".join(names) or "nothing on record here")
        if pending:
            text += "; applied for, not approved in anything read: " + ", ".join(r["drug"] for r in pending)
        used = [*rows, *pending]
        yield Assessment(
            f"therapy.options.{finding.gene.lower()}",
            f"Options for {finding.gene}",
            Verdict.MET if rows else Verdict.NOT_ASSESSABLE,
            Severity.INFO,
            text + ".",
            "" if rows else _explain_no_option(finding),
            values=names,
            inputs=(
                *(item.fact for item in finding.evidence),
                Input("patient.region", case.patient.region or None),
            ),
            origin=finding.evidence[0].origin,
            **book.credit(*(used or book.rows("option")[:1])),
        )


def _explain_no_option(finding: GeneFinding) -> str:
    if not finding.alterations:
        return "the alteration is not named"
    return f"no option is on record for {', '.join(finding.alterations)} in this line and region"


def _fits(row: Row, finding: GeneFinding, region: str, line: str) -> bool:
    """Same gene, alteration and line; a row that names regions holds only there."""
    if row["gene"] != finding.gene or row["line"] != line or not row.drives:
        return False
    if region and row["regions"] and region not in row["regions"]:
        return False
    return bool(set(row["alterations"]) & set(finding.alterations)) or (
        row["alterations"] == ["mutation"] and bool(finding.alterations)
    )


def _check_immunotherapy(
    positive: tuple[GeneFinding, ...], drugs: tuple[Treatment, ...], book: RuleBook
) -> Iterator[Assessment]:
    """A checkpoint inhibitor chosen first although a driver with a first-line drug is there."""
    row = book.row("icpi_first")
    drivers = [g for g in positive if g.gene in row["genes_first_line"]]
    inhibitors = [drug for drug in drugs if find_drug(drug) in row["drugs"] and drug.line in (None, 1)]
    genes = ", ".join(g.gene for g in drivers)
    for drug in inhibitors if drivers else ():
        known = drug.line == 1
        yield Assessment(
            f"therapy.pd_l1_first.{drug.id}",
            "Checkpoint inhibitor beside a driver",
            Verdict.MET if known else Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"{drug.name} is recorded {'in the first line' if known else 'without a line'} and {genes} "
            "is positive: sources put the driver's drug before a choice by PD-L1, and report more liver and "
            "lung toxicity when that drug follows.",
            "" if known else "the line of treatment is not stated",
            inputs=(
                Input(path_of("treatments", drug.id, "line"), drug.line),
                *(item.fact for g in drivers for item in g.evidence),
            ),
            origin=drug.origin,
            **book.credit(row),
        )


# --- dose


def assess_dose(treatment: Treatment, rules: RuleBook) -> Iterator[Assessment]:
    """Total daily dose of one treatment against every labeled level of its region.

    Nothing is yielded for a drug without a labeled dose in the rules.
    """
    drug = find_drug(treatment)
    rows = [row for row in rules.rows("dose") if row["drug"] == drug]
    if not rows:
        return
    region = find_label_region(treatment.region, rules)
    rows = [row for row in rows if not region or row["region"] == region]
    rows = [row for row in rows if row["use"] == _find_use(treatment)]
    totals = find_daily_totals_mg(treatment)
    if not rows or not totals:
        yield _cannot_check(treatment, rules, has_label=bool(rows))
    elif len(totals) > 1:
        yield _ask_frequency(treatment, totals, rows, rules)
    else:
        yield _compare_dose(treatment, totals[0], rows, rules)


def _find_use(treatment: Treatment) -> str:
    """Which labeled use a treatment belongs to; lung cancer that is not adjuvant counts as advanced."""
    use = treatment.population.lower()
    return use if use in ("adjuvant", "alcl") else "advanced"


def find_daily_totals_mg(treatment: Treatment) -> tuple[float, ...]:
    """Milligrams per day: one value, two (once, twice a day) where the frequency is not stated, or none."""
    factor = _MG_PER_UNIT.get(treatment.unit.strip().lower())
    if treatment.dose is None or factor is None:
        return ()
    dose = treatment.dose * factor
    if treatment.dose_is_daily_total:
        return (dose,)
    if treatment.times_per_day is None:
        return (dose, 2 * dose)
    return (dose * treatment.times_per_day,)


def _compare_dose(treatment: Treatment, total: float, rows: list[Row], book: RuleBook) -> Assessment:
    """A level of every region asked: fine; of none: a query; below the starting dose: a note."""
    fitting = [row for row in rows if total in row["steps_daily_mg"] or total == row.get("lead_in_daily_mg")]
    starting = [row for row in fitting if total == row["steps_daily_mg"][0]]
    details = "; ".join(_describe_ratio(row, total) for row in rows)
    severity = Severity.QUERY
    if fitting:
        severity = Severity.INFO if starting and len(fitting) == len(rows) else Severity.NOTE
    lead = "is a labeled level" if fitting else "is no labeled level"
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.MET if fitting else Verdict.NOT_MET,
        severity,
        f"{treatment.name} {total:g} mg per day in total {lead}: {details}."
        + ("" if fitting else _name_other_uses(total, treatment, book)),
        value=total,
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        facts_item=None if fitting else "j6",
        **book.credit(*rows),
    )


def _name_other_uses(total: float, treatment: Treatment, book: RuleBook) -> str:
    """Where else that total is a labeled level, and the question."""
    others = [
        f"{row['region']} {row['use']}"
        + (f" below {row['below_weight_kg']:g} kg" if row.get("below_weight_kg") else "")
        for row in book.rows("dose")
        if row["drug"] == find_drug(treatment) and total in row["steps_daily_mg"]
    ]
    found = f" It is one only for: {', '.join(others)}." if others else " It is one in no label held here."
    return found + " Are the dose and its frequency recorded as given?"


def _describe_ratio(row: Row, total: float) -> str:
    full = float(row["steps_daily_mg"][0])
    return f"{total / full:.0%} of {full:g} mg ({row['region']} label, {row['use']})"


def _ask_frequency(
    treatment: Treatment, totals: tuple[float, ...], rows: list[Row], book: RuleBook
) -> Assessment:
    ways = [
        f"{word} a day it is {'; '.join(_describe_ratio(row, total) for row in rows)}"
        for word, total in zip(("once", "twice"), totals, strict=True)
    ]
    return Assessment(
        f"therapy.dose.{treatment.id}",
        f"Dose of {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"{treatment.name} {totals[0]:g} mg is stated without a frequency: {', '.join(ways)}.",
        "the frequency is not stated",
        inputs=_list_dose_inputs(treatment),
        origin=treatment.origin,
        facts_item="j6",
        **book.credit(*rows),
    )


def _cannot_check(treatment: Treatment, book: RuleBook, *, has_label: bool) -> Assessment:
    rows = [row for row in book.rows("dose") if row["drug"] == find_drug(treatment)]
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


def _check_details(treatment: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """What a dose check needs besides the dose and the record does not say."""
    rows = [row for row in book.rows("dose") if row["drug"] == find_drug(treatment)]
    if not rows:
        return
    missing = [
        name
        for name, is_missing in (
            ("frequency", treatment.times_per_day is None and not treatment.dose_is_daily_total),
            ("route", not treatment.route),
            ("start date", not treatment.start.is_known),
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


def _asks_food(rows: list[Row]) -> bool:
    return any(row.get("with_food") for row in rows)


# --- around the treatment


def _check_contraception(treatment: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A label that warns of harm to an unborn child, a woman who may bear one, and no word on it."""
    warns = [
        r for r in book.rows("monitoring") if r["drug"] == find_drug(treatment) and r.get("contraception")
    ]
    setting = book.row("childbearing_age")
    age = case.patient.age_years
    if not warns or case.patient.sex is not Sex.FEMALE or age is None:
        return
    if not setting["from_years"] <= age <= setting["to_years"]:
        return
    states = {name: case.past(name) for name in (History.PREGNANCY, History.CONTRACEPTION)}
    if states[History.CONTRACEPTION].is_known or states[History.PREGNANCY] is Presence.PRESENT:
        return
    yield Assessment(
        f"therapy.contraception.{treatment.id}",
        "Contraception",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"The label of {treatment.name} warns of harm to an unborn child; for a woman of {age:g} the record "
        "states no contraception.",
        "contraception is not stated",
        inputs=tuple(Input(f"history.{name.value}", state.value) for name, state in states.items()),
        origin=treatment.origin,
        facts_item="j38",
        **book.credit(*warns),
    )


def _list_trials(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """What trials of this drug reported, with the dose they used."""
    rows = [row for row in book.rows("trial") if row["drug"] == find_drug(treatment)]
    if not rows:
        return
    texts = tuple(_describe_trial(row) for row in rows)
    yield Assessment(
        f"therapy.trials.{treatment.id}",
        f"Trials of {treatment.name}",
        Verdict.MET,
        Severity.INFO,
        f"Trials of {treatment.name}, of groups and not of this patient: {'; '.join(texts)}.",
        values=texts,
        inputs=(Input(path_of("treatments", treatment.id, "name"), treatment.name),),
        origin=treatment.origin,
        **book.credit(*rows),
    )


def _describe_trial(row: Row) -> str:
    """One trial in words: hazard ratios with their interval where there is one."""
    parts = []
    for key, word in (("pfs_hr", "progression"), ("os_hr", "death")):
        ratio = row.get(key)
        if ratio:
            span = f" ({ratio[1]:g}-{ratio[2]:g})" if len(ratio) == 3 else ""
            parts.append(f"hazard ratio of {word} {ratio[0]:g}{span}")
    return f"{row['name']}, {row['dose']} against {row['comparator']}: {', '.join(parts)}"
