"""What a drug's label asks to be watched, and the conditions under which it pauses or ends treatment.

The label's region is part of every statement. A condition that is met is shown to the reader with what the
record says was done; nothing here tells anybody what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from miliary.clinical.drugs.drug_names import find_drug
from miliary.clinical.events.event_words import is_denied, match_term
from miliary.clinical.labs.lab_ranges import convert_lab
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import AdverseEvent, Case, LabResult, Treatment, days_between, path_of
from miliary.model.vocabulary import History, Presence

_ACTIONS = {
    "hold": "pauses it",
    "stop": "ends it",
    "hold_then_lower_dose": "pauses it and lowers the dose",
    "hold_or_stop": "pauses or ends it",
    "review": "names it as a warning",
}


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Watch and hold rules of each recorded drug whose label the rules hold.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the therapy rules; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Empty where no such drug is recorded.
    """
    book = rules or find_rules("therapy")
    return tuple(
        outcome
        for drug in case.treatments
        for rule in (
            _check_watched,
            _check_intervals,
            _check_lab_holds,
            _check_event_holds,
            _list_event_rates,
        )
        for outcome in rule(drug, case, book)
    )


def _rows_for(drug: Treatment, table: str, book: RuleBook) -> list[RuleRow]:
    name = find_drug(drug, book)
    return [row for row in book.rows(table) if row["drug"] == name and row.drives]


def list_labs_during(drug: Treatment, case: Case, analytes: Iterable[str]) -> list[LabResult]:
    """Laboratory values of some analytes that may have been taken during a treatment.

    Parameters
    ----------
    drug : Treatment
    case : Case
    analytes : sequence of str

    Returns
    -------
    list of LabResult
        All but those known to lie before the start or after the end of the treatment.
    """
    wanted = set(analytes)
    return [lab for lab in case.labs if lab.analyte in wanted and _is_during(drug, lab)]


def _is_during(drug: Treatment, lab: LabResult) -> bool:
    since, left = days_between(drug.start, lab.when), days_between(lab.when, drug.stop)
    return not lab.is_baseline and (since is None or since >= 0) and (left is None or left >= 0)


def _check_watched(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Values the label wants watched of which none is recorded under treatment."""
    rows = [row for row in _rows_for(drug, "monitoring", book) if row.get("analytes")]
    wanted = list(dict.fromkeys(name for row in rows for name in row["analytes"]))
    missing = [name for name in wanted if not list_labs_during(drug, case, (name,))]
    if not missing:
        return
    words = ", ".join(name.replace("_", " ") for name in missing)
    claim = next((c for c in case.claims if c.kind == "no_severe_adverse_event"), None)
    facts = [Input(path_of("treatments", drug.id, "name"), drug.name)]
    lead = ""
    if claim is not None:
        lead = "No severe adverse event is reported, but "
        facts.append(Input(path_of("claims", claim.id, "kind"), claim.kind))
    yield Assessment(
        f"therapy.monitoring.{drug.id}",
        f"Values watched under {drug.name}",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"{lead}{'under' if lead else 'Under'} {drug.name} no value is recorded of: {words} (watched by its "
        f"{rows[0]['region']} label).",
        "no value under treatment is stated",
        values=tuple(missing),
        inputs=tuple(facts),
        origin=drug.origin,
        facts_item="j37",
        **book.credit(*rows),
    )


def _check_intervals(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """The longest time between two values against the label's interval, where all times are known."""
    for row in _rows_for(drug, "monitoring", book):
        if not row.get("every_days"):
            continue
        first, last = row.get("from_days", 0), row.get("until_days", float("inf"))
        for analyte in row["analytes"]:
            labs = list_labs_during(drug, case, (analyte,))
            days = [days_between(drug.start, lab.when) for lab in labs]
            known = sorted(day for day in days if day is not None and first <= day <= last)
            if len(known) < 2 or None in days:
                continue
            longest = max(later - earlier for earlier, later in zip([first, *known], known, strict=False))
            late = longest > row["every_days"]
            when = f"from day {first} on" if first else "at first"
            yield Assessment(
                f"therapy.interval.{drug.id}.{row.id}.{analyte}",
                f"Interval of {analyte.replace('_', ' ')}",
                Verdict.NOT_MET if late else Verdict.MET,
                Severity.NOTE if late else Severity.INFO,
                f"{analyte.replace('_', ' ')}: at most {longest} days between recorded values; "
                f"the {row['region']} label names {row['every_days']} days {when}.",
                value=longest,
                inputs=tuple(Input(path_of("labs", lab.id, "when"), str(lab.when)) for lab in labs),
                origin=drug.origin,
                **book.credit(row),
            )


def _check_lab_holds(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Each value under treatment against each condition of the label."""
    for row in _rows_for(drug, "hold", book):
        for lab in list_labs_during(drug, case, row["analytes"]):
            if lab.value is not None:
                yield _judge_lab(row, lab, drug, case, book)


def _judge_lab(row: RuleRow, lab: LabResult, drug: Treatment, case: Case, book: RuleBook) -> Assessment:
    if "above_uln" not in row.data:
        return _judge_number(row, lab, drug, book)
    fold = fold_of_upper_limit(lab)
    companion, facts = _judge_companion(row, lab, case)
    name = lab.analyte.replace("_", " ")
    inputs = (
        Input(path_of("labs", lab.id, "value"), lab.value),
        Input(path_of("labs", lab.id, "high"), lab.high),
        *facts,
    )
    if fold is None:
        verdict, reason = Verdict.NOT_ASSESSABLE, "the upper limit of the laboratory is not stated"
    elif not is_above(fold, row["above_uln"]) or companion is Presence.ABSENT:
        verdict, reason = Verdict.NOT_MET, ""
    elif companion is Presence.NOT_STATED:
        verdict, reason = Verdict.NOT_ASSESSABLE, "what the condition also depends on is not stated"
    else:
        verdict, reason = Verdict.MET, ""
    found = f"{fold:.3g} times its upper limit" if fold is not None else f"{lab.value:g} {lab.unit}"
    effect = _ACTIONS[row["action"]]
    return Assessment(
        f"therapy.hold.{row.id}.{lab.id}",
        f"Hold rule of {drug.name}: {name}",
        verdict,
        Severity.INFO if verdict is Verdict.NOT_MET else Severity.QUERY,
        f"{name} {found}; above {row['above_uln']:g} times{_name_companion(row)} "
        f"the {row['region']} label of {drug.name} {effect}.",
        reason,
        value=None if fold is None else round(fold, 3),
        inputs=inputs,
        origin=lab.origin,
        **book.credit(row),
    )


def _judge_number(row: RuleRow, lab: LabResult, drug: Treatment, book: RuleBook) -> Assessment:
    """A value against a number of the label in a unit, as in a QTc above 500 ms."""
    value = convert_lab(lab, row["unit"])
    relation, limit = ("above", row["above"]) if "above" in row.data else ("below", row["below"])
    name = lab.analyte.replace("_", " ")
    if value is None:
        verdict, reason = Verdict.NOT_ASSESSABLE, f"its unit cannot be read as {row['unit']}"
    else:
        is_beyond = value > limit if relation == "above" else value < limit
        verdict, reason = (Verdict.MET if is_beyond else Verdict.NOT_MET), ""
    return Assessment(
        f"therapy.hold.{row.id}.{lab.id}",
        f"Hold rule of {drug.name}: {name}",
        verdict,
        Severity.INFO if verdict is Verdict.NOT_MET else Severity.QUERY,
        f"{name} {lab.value:g} {lab.unit}; {relation} {limit:g} {row['unit']} the {row['region']} label of "
        f"{drug.name} {_ACTIONS[row['action']]}.",
        reason,
        value=value,
        inputs=(Input(path_of("labs", lab.id, "value"), lab.value),),
        origin=lab.origin,
        **book.credit(row),
    )


def is_above(fold: float, limit: float) -> bool:
    """Whether a value exceeds a label's "more than": the limit itself, within rounding, does not count.

    Parameters
    ----------
    fold, limit : float
        In multiples of the upper limit of normal.

    Returns
    -------
    bool
    """
    return fold > limit


def fold_of_upper_limit(lab: LabResult) -> float | None:
    """A laboratory value as a multiple of the reporting laboratory's upper limit.

    Parameters
    ----------
    lab : LabResult

    Returns
    -------
    float or None
        None without value or upper limit.
    """
    if lab.value is None or not lab.high or lab.comparator == "<":
        return None
    return lab.value / lab.high


def _name_companion(row: RuleRow) -> str:
    if row.get("bilirubin_at_most_uln"):
        return f" with bilirubin at most {row['bilirubin_at_most_uln']:g} times"
    if row.get("bilirubin_above_uln"):
        without = " or ".join(row["unless"])
        return f" with bilirubin above {row['bilirubin_above_uln']:g} times, without {without},"
    return ""


def _judge_companion(row: RuleRow, lab: LabResult, case: Case) -> tuple[Presence, list[Input]]:
    """The second half of a condition: bilirubin of the same time, and what would explain the value."""
    at_most, above = row.get("bilirubin_at_most_uln"), row.get("bilirubin_above_uln")
    if at_most is None and above is None:
        return Presence.PRESENT, []
    partner = next((i for i in case.labs if i.analyte == "bilirubin_total" and i.when == lab.when), None)
    fold = fold_of_upper_limit(partner) if partner is not None else None
    facts = [Input(path_of("labs", partner.id, "value"), partner.value)] if partner is not None else []
    if partner is None or fold is None:
        return Presence.NOT_STATED, facts
    fits = not is_above(fold, at_most) if at_most is not None else is_above(fold, above)
    if not fits:
        return Presence.ABSENT, facts
    return _judge_exceptions(row, case, facts)


def _judge_exceptions(row: RuleRow, case: Case, facts: list[Input]) -> tuple[Presence, list[Input]]:
    names = [History(name) for name in row.get("unless", ())]
    states = [case.past(name) for name in names]
    facts = [*facts, *(Input(f"history.{n.value}", s.value) for n, s in zip(names, states, strict=True))]
    if Presence.PRESENT in states:
        return Presence.ABSENT, facts
    return Presence.NOT_STATED if Presence.NOT_STATED in states else Presence.PRESENT, facts


def _check_event_holds(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Each recorded event that a label names, with its grade and what was done."""
    for row in _rows_for(drug, "event_hold", book):
        for event in case.adverse_events:
            since = days_between(drug.start, event.when)
            is_before = since is not None and since < 0  # what began before a drug is no effect of it
            if _is_named(event, row) and not is_before:
                yield _judge_event(row, event, drug, book)


def _is_named(event: AdverseEvent, row: RuleRow) -> bool:
    """Whether an event is one that a rule names, in the same words or as the same CTCAE term."""
    if is_denied(event.term):
        return False
    if event.term.strip().lower() in row["terms"] or list(row["terms"]) == ["any"]:
        return True
    book = find_rules("ctcae")
    term, _ = match_term(book, event.term)
    return term is not None and any(match_term(book, name)[0] == term for name in row["terms"])


def _judge_event(row: RuleRow, event: AdverseEvent, drug: Treatment, book: RuleBook) -> Assessment:
    state = Presence.PRESENT
    if row.get("symptomatic"):
        state = event.symptomatic
    elif row.get("grade"):
        state = Presence.NOT_STATED if event.grade is None else _presence(event.grade >= row["grade"])
    verdict = {Presence.PRESENT: Verdict.MET, Presence.ABSENT: Verdict.NOT_MET}.get(
        state, Verdict.NOT_ASSESSABLE
    )
    done = f"recorded: {event.drug_action}" if event.drug_action else "what was done is not stated"
    return Assessment(
        f"therapy.event.{row.id}.{event.id}",
        f"Hold rule of {drug.name}: {event.term}",
        verdict,
        Severity.INFO if verdict is Verdict.NOT_MET else Severity.QUERY,
        f"{event.term}: for this event {_name_condition(row)}the {row['region']} label of {drug.name} "
        f"{_ACTIONS[row['action']]} ({done}).",
        "" if verdict is not Verdict.NOT_ASSESSABLE else "its grade or symptoms are not stated",
        inputs=(
            Input(path_of("adverse_events", event.id, "term"), event.term),
            Input(path_of("adverse_events", event.id, "grade"), event.grade),
            Input(path_of("adverse_events", event.id, "drug_action"), event.drug_action or None),
        ),
        origin=event.origin,
        **book.credit(row),
    )


def _list_event_rates(drug: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    """How often a recorded kind of event was seen elsewhere under this drug."""
    for row in _rows_for(drug, "reaction_rate", book):
        for event in case.adverse_events:
            since = days_between(drug.start, event.when)
            if (since is not None and since < 0) or is_denied(event.term):
                continue
            for name, share in row["percent"].items():
                if name.removesuffix("_increased").replace("_", " ") not in event.term.lower().split():
                    continue
                yield Assessment(
                    f"therapy.event_rate.{event.id}.{name}",
                    f"{event.term} under {drug.name} elsewhere",
                    Verdict.MET,
                    Severity.INFO,
                    f"{name.replace('_', ' ')} was seen in {share:g} % of {row['n']} under {drug.name} "
                    f"({row['region']}); this says nothing of its cause here.",
                    value=share,
                    inputs=(Input(path_of("adverse_events", event.id, "term"), event.term),),
                    origin=event.origin,
                    **book.credit(row),
                )


def _presence(is_present: bool) -> Presence:  # noqa: FBT001 - a yes or no becomes a word
    return Presence.PRESENT if is_present else Presence.ABSENT


def _name_condition(row: RuleRow) -> str:
    if row.get("symptomatic"):
        return "with symptoms "
    return f"from grade {row['grade']} " if row.get("grade") else ""
