"""Targeted therapy: options on record for a driver, and the recorded treatment against its label.

Nothing here advises. A dose that no label knows is asked about, never corrected, and always compared as a
total per day with the label region named.
"""

from __future__ import annotations

from collections.abc import Iterator

from miliary.clinical.drugs.dose import (
    assess_dose,
    check_details,
    check_duration,
    check_lead_in,
    check_missing_lead_in,
)
from miliary.clinical.drugs.drug_names import find_drug
from miliary.clinical.drugs.label_regions import find_label_region
from miliary.clinical.drugs.safety import check_safety
from miliary.clinical.genes.drivers import NOT_MUTATIONS, GeneFinding, GeneStatus, find_gene_status
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Treatment, path_of
from miliary.model.vocabulary import History, Presence, Sex


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
    book = rules or find_rules("therapy")
    drugs = tuple(item for item in case.treatments if item.kind == "drug")
    genes = find_gene_status(case)
    positive = tuple(finding for finding in genes if finding.status is GeneStatus.POSITIVE)
    return (
        *check_safety(case, drugs, genes, book),
        *_list_options(case, positive, drugs, book),
        *_check_immunotherapy(positive, drugs, book),
        *(outcome for drug in drugs for outcome in _assess_drug(drug, case, book)),
    )


def _assess_drug(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    yield from assess_dose(drug, book, patient=case.patient)
    yield from check_duration(drug, book)
    yield from check_lead_in(drug, book)
    yield from check_missing_lead_in(drug, [item for item in case.treatments if item.kind == "drug"], book)
    yield from check_details(drug, case, book)
    yield from _check_contraception(drug, case, book)
    yield from _list_trials(drug, book)
    yield from _list_dose_cohorts(drug, book)
    yield from _list_warnings(drug, book)
    yield from _ask_unread_texts(drug, book)


def _list_options(
    case: Case, positive: tuple[GeneFinding, ...], drugs: tuple[Treatment, ...], book: RuleBook
) -> Iterator[Assessment]:
    """What is on record for the driver, the region and the line of treatment."""
    region = find_label_region(case.patient.region, book)
    lines = [drug for drug in drugs if drug.line is not None]
    is_over = bool(lines) and all(drug.stop.is_known or drug.stop.text for drug in lines)
    line = "later" if is_over or any(drug.line > 1 for drug in lines if drug.line) else "first"
    for finding in positive:
        fitting = [row for row in book.rows("option") if _fits(row, finding, region, line)]
        rows = [row for row in fitting if row.is_verified]
        yield from _ask_unread_options(finding, [row for row in fitting if not row.is_verified], rows, book)
        pending = [row for row in book.rows("pending") if row["gene"] == finding.gene and row.drives]
        place = region or "all regions on record (the patient's region is not stated)"
        names = tuple(dict.fromkeys(" + ".join(row["drugs"]) for row in rows))
        described = tuple(dict.fromkeys(_describe_option(row) for row in rows))
        text = f"{finding.gene}, {line} line, {place}: " + (", ".join(described) or "nothing on record here")
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


def _ask_unread_options(
    finding: GeneFinding, unread: list[RuleRow], read: list[RuleRow], book: RuleBook
) -> Iterator[Assessment]:
    """Options that nobody compared with a text are no options: they are named as a question alone."""
    known = {" + ".join(row["drugs"]) for row in read}
    names = [name for row in unread if (name := " + ".join(row["drugs"])) not in known]
    if not names:
        return
    yield Assessment(
        f"therapy.options_unread.{finding.gene.lower()}",
        f"Options for {finding.gene} that nobody compared with a text",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"Whether {' or '.join(dict.fromkeys(names))} is an option for {finding.gene} in this line and "
        "region has to be looked up: no label or regulator's text on it was read.",
        "no text on it was read",
        values=tuple(dict.fromkeys(names)),
        inputs=tuple(item.fact for item in finding.evidence),
        origin=finding.evidence[0].origin,
        **book.credit(*unread),
    )


def _explain_no_option(finding: GeneFinding) -> str:
    if not finding.alterations:
        return "the alteration is not named"
    return f"no option is on record for {', '.join(finding.alterations)} in this line and region"


def _fits(row: RuleRow, finding: GeneFinding, region: str, line: str) -> bool:
    """Same gene, alteration and line; a row that names regions holds only there."""
    if row["gene"] != finding.gene or row["line"] not in (line, "any") or not row.drives:
        return False
    if region and row["regions"] and region not in row["regions"]:
        return False
    named = set(finding.alterations)
    is_mutated = bool(named - set(NOT_MUTATIONS))
    return bool(set(row["alterations"]) & named) or (row["alterations"] == ["mutation"] and is_mutated)


def _describe_option(row: RuleRow) -> str:
    """The drugs of an option, with what its text asks for before it and the test it names."""
    conditions = [f"after {' and '.join(row['after'])}"] if row.get("after") else []
    conditions += [str(row["test"])] if row.get("test") else []
    return " + ".join(row["drugs"]) + (f" ({'; '.join(conditions)})" if conditions else "")


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


def _check_contraception(treatment: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A label that warns of harm to an unborn child, a woman who may bear one, and no word on it."""
    warns = [
        r for r in book.rows("monitoring") if r["drug"] == find_drug(treatment) and r.get("contraception")
    ]
    warns = warns or [r for r in book.rows("reproduction") if r["drug"] == find_drug(treatment)]
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


def _list_dose_cohorts(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """What cohorts saw between two doses of this drug."""
    for row in book.rows("dose_cohort"):
        if row["drug"] == find_drug(treatment) and row.drives:
            yield Assessment(
                f"therapy.dose_cohort.{row.id}.{treatment.id}",
                f"Doses of {treatment.name} in practice",
                Verdict.MET,
                Severity.INFO,
                f"{treatment.name} in practice, of groups and not of this patient: {row['finding']}.",
                inputs=(Input(path_of("treatments", treatment.id, "name"), treatment.name),),
                origin=treatment.origin,
                **book.credit(row),
            )


def _list_warnings(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """What sources say of a drug apart from its dose, where no rule on it is encoded."""
    for row in book.rows("warning"):
        if row["drug"] == find_drug(treatment) and row.drives and row.is_verified:
            yield Assessment(
                f"therapy.warning.{treatment.id}",
                f"Known of {treatment.name}",
                Verdict.MET,
                Severity.INFO,
                f"Of {treatment.name} sources name: {', '.join(row['names'])}. No rule to watch or hold it "
                "is encoded here.",
                values=tuple(row["names"]),
                inputs=(Input(path_of("treatments", treatment.id, "name"), treatment.name),),
                origin=treatment.origin,
                **book.credit(row),
            )


def _ask_unread_texts(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """Trials and warnings of a drug that nobody compared with a source: named to be looked up, no more."""
    drug = find_drug(treatment)
    rows = [
        row
        for table in ("trial", "warning")
        for row in book.rows(table)
        if row["drug"] == drug and not row.is_verified
    ]
    if not rows:
        return
    names = [str(row["name"]) if row.table == "trial" else ", ".join(row["names"]) for row in rows]
    yield Assessment(
        f"therapy.unread.{treatment.id}",
        f"Not compared with a source: {treatment.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"Of {treatment.name}, {' and '.join(names)} has to be looked up: no source on it was read.",
        "no source on it was read",
        values=tuple(names),
        inputs=(Input(path_of("treatments", treatment.id, "name"), treatment.name),),
        origin=treatment.origin,
        **book.credit(*rows),
    )


def _list_trials(treatment: Treatment, book: RuleBook) -> Iterator[Assessment]:
    """What trials of this drug reported, with the dose they used."""
    rows = [row for row in book.rows("trial") if row["drug"] == find_drug(treatment) and row.is_verified]
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


def _describe_trial(row: RuleRow) -> str:
    """One trial in words: hazard ratios with their interval where there is one."""
    parts = []
    for key, word in (("pfs_hr", "progression"), ("dfs_hr", "recurrence"), ("os_hr", "death")):
        ratio = row.get(key)
        if ratio:
            span = f" ({ratio[1]:g}-{ratio[2]:g})" if len(ratio) == 3 else ""
            parts.append(f"hazard ratio of {word} {ratio[0]:g}{span}")
    parts += [str(row["also"])] if row.get("also") else []
    dose = f", {row['dose']}" if row.get("dose") else ""
    return f"{row['name']}{dose} against {row['comparator']}: {', '.join(parts)}"
