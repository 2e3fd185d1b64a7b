"""Dangers that a record states of a drug: pregnancy, age, another drug, a driver it is not for.

Each statement says what the record holds and what a label or regulator text says, with its country; nothing
is advised. A danger on record is stated first, what is missing after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from miliary.clinical.drugs.drug_names import describe_drug, find_drug, normalize_name
from miliary.clinical.drugs.label_regions import find_label_region
from miliary.clinical.genes.drivers import GeneFinding, GeneStatus
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Treatment, days_between, path_of
from miliary.model.vocabulary import History, Presence, Sex

_STATEMENTS = {
    "contraindicated": "contraindicates the two together",
    "avoid": "says to avoid the two together",
    "avoid_or_modify": "says to avoid the two together or to change the dose",
    "modify": "changes the dose where the two are given together",
    "monitor": "asks for monitoring where the two are given together",
}


def check_safety(
    case: Case, drugs: Sequence[Treatment], genes: Sequence[GeneFinding], book: RuleBook
) -> Iterator[Assessment]:
    """Every danger on record of the drugs of a case.

    Parameters
    ----------
    case : Case
    drugs : sequence of Treatment
        Those that are drugs.
    genes : sequence of GeneFinding
        Of every driver gene.
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
    """
    for drug in drugs:
        yield from check_pregnancy(drug, case, book)
        yield from _check_breastfeeding(drug, case)
        yield from _check_age(drug, case, book)
        yield from _check_driver(drug, genes, book)
        yield from _check_organs(drug, case, book)
    yield from _check_same_target(drugs, book)
    yield from _check_interactions(drugs, case, book)
    yield from _check_classes(drugs, book)


def _name(drug: Treatment) -> Input:
    return Input(path_of("treatments", drug.id, "name"), drug.name)


# --- pregnancy and contraception ------------------------------------------------------------------------


def check_pregnancy(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A recorded pregnancy, or contraception recorded as absent, under a drug.

    Parameters
    ----------
    drug : Treatment
    case : Case
    book : RuleBook
        The rules ``therapy``.

    Yields
    ------
    Assessment
        Of the pregnancy an error where a label text on it is held, else a query; of absent contraception a
        query.
    """
    rows = [row for row in book.rows("reproduction") if row["drug"] == find_drug(drug, book)]
    if case.past(History.PREGNANCY) is Presence.PRESENT:
        yield _report_pregnancy(drug, [row for row in rows if row.get("pregnancy")], case, book)
    is_absent = case.past(History.CONTRACEPTION) is Presence.ABSENT
    if is_absent and rows and _may_conceive(case, rows, book):
        yield _report_no_contraception(drug, rows, case, book)


def _report_pregnancy(drug: Treatment, rows: list[RuleRow], case: Case, book: RuleBook) -> Assessment:
    texts = "; ".join(f"{row['region']}: {row['pregnancy']}" for row in rows)
    name = describe_drug(drug)
    return Assessment(
        f"therapy.pregnancy.{drug.id}",
        f"Pregnancy and {drug.name}",
        Verdict.MET if rows else Verdict.NOT_ASSESSABLE,
        Severity.ERROR if rows else Severity.QUERY,
        f"A pregnancy and {name} are both recorded"
        + (f"; label texts on pregnancy: {texts}." if rows else "."),
        "" if rows else "no label text of this drug on pregnancy is held here",
        inputs=(Input("history.pregnancy", case.past(History.PREGNANCY).value), _name(drug)),
        origin=drug.origin,
        **book.credit(*rows),
    )


def _check_breastfeeding(drug: Treatment, case: Case) -> Iterator[Assessment]:
    """Breastfeeding recorded beside a drug: to be looked up, no label text on it is held."""
    state = case.past(History.BREASTFEEDING)
    if state is Presence.PRESENT:
        yield Assessment(
            f"therapy.breastfeeding.{drug.id}",
            f"Breastfeeding and {drug.name}",
            Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"Breastfeeding and {describe_drug(drug)} are both recorded; its label has to be looked up.",
            "no label text on breastfeeding is held here",
            inputs=(Input("history.breastfeeding", state.value), _name(drug)),
            origin=drug.origin,
        )


def _may_conceive(case: Case, rows: Iterable[RuleRow], book: RuleBook) -> bool:
    """A man where a text names a time for men; anybody else who is not known to be outside the ages."""
    if case.patient.sex is Sex.MALE:
        return any(row.get("men_days") for row in rows)
    setting, age = book.row("childbearing_age"), case.patient.age_years
    return age is None or setting["from_years"] <= age <= setting["to_years"]


def _report_no_contraception(drug: Treatment, rows: list[RuleRow], case: Case, book: RuleBook) -> Assessment:
    key, who = ("men_days", "men") if case.patient.sex is Sex.MALE else ("women_days", "women")
    times = [f"{row['region']}: {row[key]} days after the last dose ({who})" for row in rows if row.get(key)]
    warned = [f"{row['region']}: {row['pregnancy']}" for row in rows if row.get("pregnancy")]
    parts = [f"on pregnancy {', '.join(warned)}"] if warned else []
    parts += [f"on contraception {', '.join(times)}"] if times else []
    return Assessment(
        f"therapy.no_contraception.{drug.id}",
        f"Contraception and {drug.name}",
        Verdict.MET,
        Severity.QUERY,
        f"Contraception is recorded as absent under {describe_drug(drug)}; label texts: {'; '.join(parts)}.",
        inputs=(Input("history.contraception", case.past(History.CONTRACEPTION).value), _name(drug)),
        origin=drug.origin,
        **book.credit(*rows),
    )


# --- age ------------------------------------------------------------------------------------------------


def _check_age(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A child under a drug whose doses held here are those of adults."""
    age, name = case.patient.age_years, find_drug(drug, book)
    adult = book.row("adult_age")
    if age is None or age >= adult["from_years"] or drug.population.lower() == "alcl":
        return
    doses = [row for row in book.rows("dose") if row["drug"] == name and row["use"] == "advanced"]
    rows = [row for row in book.rows("reproduction") if row["drug"] == name and _speaks_of_children(row)]
    if not doses and not rows:
        return
    texts = "; ".join(f"{row['region']}: {_describe_children(row)}" for row in rows)
    yield Assessment(
        f"therapy.age.{drug.id}",
        f"Age and {drug.name}",
        Verdict.MET,
        Severity.QUERY,
        f"{describe_drug(drug)} is recorded for a patient of {age:g} years; the labeled doses held here are "
        "those of adults" + (f"; label texts on children: {texts}." if texts else "."),
        value=age,
        inputs=(Input("patient.age_years", age), _name(drug)),
        origin=drug.origin,
        **book.credit(*(rows or doses), adult),
    )


def _speaks_of_children(row: RuleRow) -> bool:
    return any(key in row.data for key in ("adults_only", "pediatric", "pediatric_from_years"))


def _describe_children(row: RuleRow) -> str:
    if "pediatric_from_years" in row.data:
        return f"from {row['pediatric_from_years']} years ({row['pediatric_for']})"
    return str(row.get("pediatric", "indicated in adults"))


# --- driver ---------------------------------------------------------------------------------------------


def _list_genes(drug: str, book: RuleBook) -> dict[str, list[RuleRow]]:
    """Driver genes that a drug is an option for; none for chemotherapy and drugs without a name row."""
    found: dict[str, list[RuleRow]] = {}
    if any(row["drug"] == drug for row in book.rows("name")):
        for row in (*book.rows("option"), *book.rows("pending")):
            if row.drives and (drug in row.get("drugs", ()) or row.get("drug") == drug):
                found.setdefault(str(row["gene"]), []).append(row)
    return found


def _check_driver(drug: Treatment, genes: Sequence[GeneFinding], book: RuleBook) -> Iterator[Assessment]:
    """A drug that is an option for other drivers than those found."""
    targets = _list_genes(find_drug(drug, book), book)
    positive = [finding for finding in genes if finding.status is GeneStatus.POSITIVE]
    if not targets or any(finding.gene in targets for finding in positive):
        return
    excluded = [f for f in genes if f.gene in targets and f.status is GeneStatus.NEGATIVE_ADEQUATE]
    if not positive and len(excluded) < len(targets):
        return
    found = f"positive is {' and '.join(f.gene for f in positive)}" if positive else "it is negative"
    yield Assessment(
        f"therapy.driver.{drug.id}",
        f"Driver and {drug.name}",
        Verdict.NOT_MET,
        Severity.QUERY,
        f"{describe_drug(drug)} is held here as an option for {' or '.join(sorted(targets))}; {found} in the "
        "record, so that the drug does not fit the driver on record.",
        inputs=(_name(drug), *(item.fact for f in positive or excluded for item in f.evidence)),
        origin=drug.origin,
        **book.credit(*(row for rows in targets.values() for row in rows)),
    )


# --- liver and kidney -----------------------------------------------------------------------------------


def _check_organs(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """What texts say of a drug for the recorded function of liver and kidney."""
    name = find_drug(drug, book)
    for row in book.rows("organ_function"):
        if row["drug"] != name:
            continue
        facts = _find_liver(row, case) if row["organ"] == "hepatic" else _find_kidney(row, case)
        if facts:
            yield Assessment(
                f"therapy.organ_function.{row.id}.{drug.id}",
                f"{'Liver' if row['organ'] == 'hepatic' else 'Kidney'} function and {drug.name}",
                Verdict.MET,
                Severity.QUERY,
                f"{describe_drug(drug)} is recorded with {' and '.join(map(_describe_fact, facts))}; the "
                f"{row['region']} text: {row['text']}.",
                inputs=(*facts, _name(drug)),
                origin=drug.origin,
                **book.credit(row),
            )


def _describe_fact(fact: Input) -> str:
    if fact.path == "patient.child_pugh":
        return f"Child-Pugh class {fact.value}"
    if fact.path.startswith("labs"):
        return f"a creatinine clearance of {fact.value:g} mL/min"
    return "renal failure"


def _find_liver(row: RuleRow, case: Case) -> tuple[Input, ...]:
    grade = case.patient.child_pugh
    is_named = grade is not None and grade.value in row.get("child_pugh", ())
    return (Input("patient.child_pugh", grade.value),) if is_named and grade is not None else ()


def _find_kidney(row: RuleRow, case: Case) -> tuple[Input, ...]:
    limit = row.get("below_clearance", 0.0)
    low = [
        Input(path_of("labs", lab.id, "value"), lab.value)
        for lab in case.labs
        if lab.analyte == "creatinine_clearance" and lab.value is not None and lab.value < limit
    ]
    if low:
        return tuple(low[:1])
    has_clearance = any(lab.analyte == "creatinine_clearance" for lab in case.labs)
    failure = case.past(History.RENAL_FAILURE)
    if failure is Presence.PRESENT and not has_clearance:
        return (Input(f"history.{History.RENAL_FAILURE.value}", failure.value),)
    return ()


# --- two drugs at once ----------------------------------------------------------------------------------


def _overlap(first: Treatment, second: Treatment) -> Presence:
    """Whether two treatments were given on a common day."""
    for before, after in ((first, second), (second, first)):
        gap = days_between(before.stop, after.start)
        if gap is not None and gap >= 0:
            return Presence.ABSENT
    starts = days_between(first.start, second.start)
    if starts is None:
        return Presence.NOT_STATED
    earlier, later = (first, second) if starts >= 0 else (second, first)
    if starts == 0 or days_between(later.start, earlier.stop) is not None:
        return Presence.PRESENT
    is_next_line = None not in (earlier.line, later.line) and earlier.line != later.line
    return Presence.NOT_STATED if is_next_line or earlier.stop_reason else Presence.PRESENT


def _describe_overlap(first: Treatment, second: Treatment) -> tuple[Input, ...]:
    return tuple(
        Input(path_of("treatments", drug.id, name), str(when) if when.is_known else None)
        for drug in (first, second)
        for name, when in (("start", drug.start), ("stop", drug.stop))
    )


def _check_same_target(drugs: Sequence[Treatment], book: RuleBook) -> Iterator[Assessment]:
    """Two drugs of one driver at once that no option names together."""
    for first, second in combinations(drugs, 2):
        names = {find_drug(first, book), find_drug(second, book)}
        targets = [_list_genes(name, book) for name in sorted(names)]
        common = sorted(set(targets[0]) & set(targets[-1]))
        together = any(names <= set(row["drugs"]) for row in book.rows("option"))
        overlap = _overlap(first, second)
        if len(names) < 2 or not common or together or overlap is Presence.ABSENT:
            continue
        is_sure = overlap is Presence.PRESENT
        rows = [row for genes in targets for gene in common for row in genes[gene]]
        yield Assessment(
            f"therapy.same_target.{first.id}.{second.id}",
            "Two drugs of one driver",
            Verdict.MET if is_sure else Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"{describe_drug(first)} and {describe_drug(second)}, both for {' and '.join(common)}, "
            + ("are recorded at the same time" if is_sure else "may be recorded at the same time")
            + "; no option held here names them together.",
            "" if is_sure else "whether the one was stopped before the other began is not stated",
            inputs=(_name(first), _name(second), *_describe_overlap(first, second)),
            origin=first.origin,
            **book.credit(*rows),
        )


def _check_interactions(drugs: Sequence[Treatment], case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A drug and another that a label names, or whose class it names, where both may be given at once."""
    for drug in drugs:
        name = find_drug(drug, book)
        rows = [row for row in book.rows("interaction") if row["drug"] == name]
        for partner in drugs:
            asked = {normalize_name(partner.name), find_drug(partner, book)}
            found = [row for row in rows if asked & set(row["partners"])]
            overlap = _overlap(drug, partner)
            if partner.id != drug.id and found and overlap is not Presence.ABSENT:
                for row in _choose_region(found, drug, case, book):
                    yield _report_interaction(row, drug, partner, overlap, book)


def _check_classes(drugs: Sequence[Treatment], book: RuleBook) -> Iterator[Assessment]:
    """A partner of a class that texts often speak of, where none on the two drugs is held here."""
    for drug in drugs:
        name = find_drug(drug, book)
        held = {p for row in book.rows("interaction") if row["drug"] == name for p in row["partners"]}
        for partner in drugs:
            asked = {normalize_name(partner.name), find_drug(partner, book)}
            rows = [
                row
                for row in book.rows("class_caution")
                if name in row["drugs"] and asked & set(row["partners"]) and not asked & held
            ]
            overlap = _overlap(drug, partner)
            if partner.id == drug.id or not rows or overlap is Presence.ABSENT:
                continue
            yield Assessment(
                f"therapy.class_caution.{drug.id}.{partner.id}",
                f"{drug.name} with {partner.name}",
                Verdict.NOT_ASSESSABLE,
                Severity.QUERY,
                f"{describe_drug(drug)} is recorded with {describe_drug(partner)}, a "
                f"{' and '.join(row['partner_class'] for row in rows)}; no label text on the two is held "
                "here.",
                "no label text on the two drugs is held here",
                inputs=(_name(drug), _name(partner), *_describe_overlap(drug, partner)),
                origin=drug.origin,
                **book.credit(*rows),
            )


def _choose_region(rows: list[RuleRow], drug: Treatment, case: Case, book: RuleBook) -> Iterable[RuleRow]:
    """The texts of the label's region where there are any, else all; of one class the first of a region."""
    region = find_label_region(drug.region or case.patient.region, book)
    own = [row for row in rows if row["region"] == region]
    return own or rows


def _report_interaction(
    row: RuleRow, drug: Treatment, partner: Treatment, overlap: Presence, book: RuleBook
) -> Assessment:
    is_sure = overlap is Presence.PRESENT
    why = f" ({row['why']})" if row.get("why") else ""
    return Assessment(
        f"therapy.interaction.{row.id.removeprefix('interaction_')}.{drug.id}.{partner.id}",
        f"{drug.name} with {partner.name}",
        Verdict.MET if is_sure else Verdict.NOT_ASSESSABLE,
        Severity.ERROR if row["statement"] == "contraindicated" and is_sure else Severity.QUERY,
        f"{describe_drug(drug)} is recorded with {describe_drug(partner)}: the {row['region']} text on "
        f"{row['drug']} and {row['partner_class']} {_STATEMENTS[row['statement']]}{why}.",
        "" if is_sure else "whether both were given at the same time is not stated",
        value=str(row["statement"]),
        inputs=(_name(drug), _name(partner), *_describe_overlap(drug, partner)),
        origin=drug.origin,
        **book.credit(row),
    )
