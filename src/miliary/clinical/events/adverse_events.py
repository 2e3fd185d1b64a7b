"""Adverse events of a case: the grades they can have, and whether the grade written down is one of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from miliary.clinical.events.ctcae import SEVERITIES, ObservedEvent, PossibleGrades, find_grades
from miliary.clinical.events.event_words import fold_event, is_denied, list_names, match_term
from miliary.clinical.labs.lab_ranges import (
    convert_lab,
    drugs,
    find_baseline,
    find_range,
    is_before_treatment,
    is_enzyme,
    load_labs,
)
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules, list_editions
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import AdverseEvent, Case, LabResult, days_between, path_of
from miliary.model.units import convert_value
from miliary.model.vocabulary import Presence

_N_NEAREST = 3
_LIKE = 0.5  # names less alike than this are no help
_SINGLE_CHARGE = ("potassium", "sodium")
_NO_RANGE = "the laboratory's range"
_NOT_READ = "its thresholds were not read in a source"


@dataclass(frozen=True)
class _GradeBasis:
    """What a grade was derived from: the observation, its inputs, and what is missing, in words."""

    observed: ObservedEvent
    inputs: tuple[Input, ...] = ()
    missing: tuple[str, ...] = ()
    note: str = ""


def assess(case: Case) -> tuple[Assessment, ...]:
    """The grade of every recorded adverse event, and of every laboratory value outside its limits.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
        Ids ``ctcae.event_grade``, ``ctcae.event_term``, ``ctcae.lab_grade`` and ``ctcae.lab_not_graded``.
    """
    events = tuple(_assess_event(case, event) for event in case.adverse_events)
    return events + tuple(assess_lab_grades(case, edition=_edition_of_labs(case)))


def _edition_of_labs(case: Case) -> str:
    stated = {event.ctcae_edition for event in case.adverse_events} & set(list_editions("ctcae"))
    return stated.pop() if len(stated) == 1 else ""


def list_term_names(book: RuleBook) -> tuple[str, ...]:
    """Every name of a term, folded.

    Parameters
    ----------
    book : RuleBook
        The rules ``ctcae`` of one edition.

    Returns
    -------
    tuple of str
    """
    return tuple(dict.fromkeys(name for row in book.rows("term") for name in sorted(list_names(row))))


# --- recorded events ------------------------------------------------------------------------------------


def _assess_event(case: Case, event: AdverseEvent) -> Assessment:
    edition = event.ctcae_edition or find_rules("ctcae").edition
    if edition not in list_editions("ctcae"):
        return _no_grade(event, f"CTCAE {edition} is not encoded", Severity.NOTE, "")
    book = find_rules("ctcae", edition=edition)
    term, candidates = match_term(book, event.term)
    if term is None:
        return _assess_unmatched(event, book, candidates)
    if not _is_verified(term, book):
        unread = _no_grade(event, _NOT_READ, Severity.QUERY, edition)
        return replace(unread, **book.credit(term))
    if event.is_fatal is Presence.PRESENT:
        return _assess_fatal(event, term, book)
    if term.get("adults_only") and not (case.patient.age_years or 0) >= int(
        find_rules("therapy").row("adult_age")["from_years"]
    ):
        return _no_grade(event, "the grades of adults are encoded only", Severity.NOTE, edition)
    seen = _observe_event(case, event, term, book)
    grades = find_grades(term, seen.observed, book=book)
    return _judge_event(event, term, seen, grades, book)


def _is_verified(term: RuleRow, book: RuleBook) -> bool:
    """Whether somebody read every threshold of a term; otherwise it grades nothing."""
    rows = [row for row in book.rows("criterion") if row["term"] == term.id]
    return all(row.is_verified for row in (term, *rows))


def _no_grade(event: AdverseEvent, reason: str, severity: Severity, edition: str) -> Assessment:
    return Assessment(
        rule_id="ctcae.event_term",
        title="Term of an adverse event",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=severity,
        statement=f"No grade can be derived for {event.term!r}.",
        reason=reason,
        inputs=(Input(path_of("adverse_events", event.id, "term"), event.term),),
        edition=f"ctcae {edition}".strip(),
        origin=event.origin,
    )


def _assess_unmatched(event: AdverseEvent, book: RuleBook, candidates: Sequence[RuleRow]) -> Assessment:
    default = find_rules("ctcae")
    known, _ = match_term(default, event.term)
    if book is not default and known is not None:
        return _no_grade(
            event, f"CTCAE {book.edition}: clinical terms are not encoded", Severity.NOTE, book.edition
        )
    if is_denied(event.term):
        denied = _no_grade(event, "the words say that there was no such event", Severity.QUERY, book.edition)
        statement = f"{event.term!r} is listed as an adverse event and says that there was none."
        return replace(denied, statement=statement, **book.credit(*book.rows("term")[:1]))
    if not candidates:
        near = difflib.get_close_matches(fold_event(event.term), list_term_names(book), n=12, cutoff=_LIKE)
        terms = dict.fromkeys(row["name"] for name in near for row in [match_term(book, name)[0]] if row)
        nearest = tuple(terms)[:_N_NEAREST]
        words = "this is no term that is encoded"
        words += f"; nearest are {', '.join(nearest)}" if nearest else ""
        unknown = _no_grade(event, words, Severity.QUERY, book.edition)
        return replace(unknown, values=nearest, **book.credit(*book.rows("term")[:1]))
    names = " or ".join(row["name"] for row in candidates)
    plain = _no_grade(event, f"it may be {names}", Severity.QUERY, book.edition)
    grade = f"Grade {event.grade}" if event.grade is not None else "The grade"
    return replace(
        plain,
        statement=f"{grade} of {event.term!r} cannot be checked: the words name no CTCAE term.",
        values=tuple(row["name"] for row in candidates),
        facts_item="j36",
        **book.credit(*candidates),
    )


def _assess_fatal(event: AdverseEvent, term: RuleRow, book: RuleBook) -> Assessment:
    has_death = bool(term.get("has_death"))
    is_right = event.grade in {None, 5}
    verdict = Verdict.MET if has_death and is_right else Verdict.NOT_MET
    statement = f"{term['name']}: fatal, grade 5."
    if not has_death:
        statement = f"{term['name']} is recorded as fatal, but CTCAE {book.edition} gives it no grade 5."
    elif not is_right:
        statement = f"{term['name']} is recorded as fatal and as grade {event.grade}; death is grade 5."
    return Assessment(
        rule_id="ctcae.event_grade",
        title="Grade of an adverse event",
        verdict=verdict,
        severity=Severity.INFO if verdict is Verdict.MET else Severity.ERROR,
        statement=statement,
        value=5 if has_death else None,
        inputs=(
            Input(path_of("adverse_events", event.id, "is_fatal"), event.is_fatal.value),
            Input(path_of("adverse_events", event.id, "grade"), event.grade),
        ),
        origin=event.origin,
        **book.credit(term),
    )


def _observe_event(case: Case, event: AdverseEvent, term: RuleRow, book: RuleBook) -> _GradeBasis:
    facts = {name: state is Presence.PRESENT for name, state in event.facts.items() if state.is_known}
    severities = _severities(event.symptomatic, event.symptom_severity)
    lab = _find_lab(case, event, term, book)
    if lab is not None and lab.analyte in term.get("analytes", ()):
        seen = _observe_lab(case, lab, term, book)
        return replace(
            seen, observed=replace(seen.observed, severities=severities, facts=facts, is_event=not event.lab)
        )
    inputs = [
        Input(path_of("adverse_events", event.id, f"facts.{name}"), there) for name, there in facts.items()
    ]
    missing = []
    value = None
    measure = term.get("measure", "")
    if measure:
        value = getattr(event, measure, None)
        if value is not None and term.id == "weight_loss":
            value = -value  # a loss is a change below zero
        inputs.append(Input(path_of("adverse_events", event.id, measure), value))
    if value is None and (measure or term.get("analytes")):
        missing.append({"bsa_percent": "body surface"}.get(measure, measure.replace("_", " ")) or "the value")
    return _GradeBasis(
        ObservedEvent(value=value, severities=severities, facts=facts, is_event=True),
        tuple(inputs),
        tuple(missing),
    )


def _find_lab(case: Case, event: AdverseEvent, term: RuleRow, book: RuleBook) -> LabResult | None:
    """The value that an event names; else the one that gives the highest grade while the event lasted.

    A value counts from a few days before the event to its end, or to a few days after its start where the end
    is not stated. An event without a time takes the only value there is of its analyte.
    """
    if event.lab:
        return next((lab for lab in case.labs if lab.id == event.lab), None)
    same = [lab for lab in case.labs if lab.analyte in term.get("analytes", ()) and lab.value is not None]
    values = [lab for lab in same if not is_before_treatment(case, lab) or not drugs(case)]
    if not event.when.is_known:
        return values[0] if len(values) == 1 else None
    window = int(load_labs().row("event_window_days")["value"])
    near = [lab for lab in values if _is_within(event, lab, window)]

    def grade_at_least(lab: LabResult) -> int:
        observed = _observe_lab(case, lab, term, book).observed
        return min(find_grades(term, observed, book=book).possible, default=0)

    return max(near, key=grade_at_least, default=None)


def _is_within(event: AdverseEvent, lab: LabResult, window: int) -> bool:
    since = days_between(event.when, lab.when)
    left = days_between(lab.when, event.end) if event.end.is_known else None
    if since is None or since < -window:
        return False
    return left >= 0 if left is not None else since <= window


def _severities(symptomatic: Presence, severity: str) -> tuple[str, ...]:
    """Which severities the symptoms may have."""
    if severity in SEVERITIES:
        return (severity,)
    return {
        Presence.PRESENT: SEVERITIES[1:],
        Presence.ABSENT: SEVERITIES[:1],
        Presence.NOT_STATED: SEVERITIES,
    }[symptomatic]


def _judge_event(
    event: AdverseEvent, term: RuleRow, seen: _GradeBasis, grades: PossibleGrades, book: RuleBook
) -> Assessment:
    words = f"{term['name']}: {_name_grades(grades)} by CTCAE {book.edition}"
    verdict, severity, reason = Verdict.MET, Severity.INFO, ""
    if event.grade is not None and event.grade not in grades.possible and not _may_rise(event.grade, grades):
        verdict, severity = Verdict.NOT_MET, Severity.ERROR
        words += f", grade {event.grade} recorded"
    elif not grades.is_one or (event.grade is not None and event.grade not in grades.possible):
        verdict, severity = Verdict.NOT_ASSESSABLE, Severity.QUERY
        reason = _why_open(seen, grades, term, book)
        if event.grade is not None:
            words += f", so that grade {event.grade} as recorded cannot be verified"
    return Assessment(
        rule_id="ctcae.event_grade",
        title="Grade of an adverse event",
        verdict=verdict,
        severity=severity,
        statement=f"{words}.{seen.note}",
        reason=reason,
        value=grades.possible[0] if grades.is_one else None,
        values=tuple(str(grade) for grade in grades.possible),
        inputs=(*seen.inputs, Input(path_of("adverse_events", event.id, "grade"), event.grade)),
        origin=event.origin,
        **book.credit(term),
    )


def _may_rise(grade: int, grades: PossibleGrades) -> bool:
    """A graver grade may rest on something grave that the record does not mention."""
    return bool(grades.unstated) and grade > max(grades.possible, default=0)


def _name_grades(grades: PossibleGrades) -> str:
    if not grades.possible:
        return "no published grade"
    listed = [str(grade) for grade in grades.possible]
    words = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
    return f"grade {words}" if listed != ["0"] else "no grade"


def _why_open(seen: _GradeBasis, grades: PossibleGrades, term: RuleRow, book: RuleBook) -> str:
    parts = list(seen.missing)
    asked = [row for row in book.rows("criterion") if row["term"] == term.id]
    if len(seen.observed.severities) > 1 and any("symptoms" in row.data for row in asked):
        parts.append("symptoms" if "none" in seen.observed.severities else "how severe the symptoms are")
    facts = {fact for row in asked for key in ("any_fact", "no_fact") for fact in row.get(key, ())}
    open_facts = sorted(facts - set(seen.observed.facts) - set(grades.unstated))
    parts += [fact.replace("_", " ") for fact in open_facts[:4]]
    if grades.gaps:
        return f"CTCAE gives no grade {grades.gaps[0]}"
    if not parts:
        parts = [fact.replace("_", " ") for fact in grades.unstated]
    return f"not stated: {', '.join(dict.fromkeys(parts))}"


# --- laboratory values ----------------------------------------------------------------------------------


def assess_lab_grades(case: Case, *, edition: str = "") -> Iterator[Assessment]:
    """The grade of every laboratory value that can have one other than none.

    Parameters
    ----------
    case : Case
    edition : str
        As in 5.0; the default edition of the rules where empty.
    """
    book = find_rules("ctcae", edition=edition)
    for lab in case.labs:
        terms = [term for term in book.rows("term") if lab.analyte in term.get("analytes", ())]
        open_terms = []
        for term in terms if lab.value is not None else ():
            seen = _observe_lab(case, lab, term, book)
            grades = find_grades(term, seen.observed, book=book)
            if grades.possible == (0,) or _is_of_other_side(term, seen, grades):
                continue
            if not _is_verified(term, book):
                yield _cannot_grade(lab, [(term, seen)], book, _NOT_READ)
            elif _is_worth_stating(lab, seen, grades):
                yield _judge_lab(lab, term, seen, grades, book)
            else:
                open_terms.append((term, seen))
        if open_terms:
            yield _cannot_grade(lab, open_terms, book)


def _is_of_other_side(term: RuleRow, seen: _GradeBasis, grades: PossibleGrades) -> bool:
    """Whether only the limit on the other side is known, so that nothing speaks for this term."""
    known = seen.observed
    own, other = (known.uln, known.lln) if term.get("direction") == "high" else (known.lln, known.uln)
    return own is None and other is not None and 0 in grades.possible


def _cannot_grade(
    lab: LabResult, terms: Sequence[tuple[RuleRow, _GradeBasis]], book: RuleBook, why: str = ""
) -> Assessment:
    """A value that may or may not be abnormal, with what is missing to tell; else with `why`, as a query."""
    missing = dict.fromkeys(word for _, seen in terms for word in seen.missing)
    reason = why or f"not stated: {', '.join(missing)}"
    names = " or ".join(str(term["name"]) for term, _ in terms)
    return Assessment(
        rule_id="ctcae.lab_not_graded",
        title="Grade of a laboratory value",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.QUERY if why else Severity.INFO,
        statement=(
            f"{lab.analyte.replace('_', ' ')} {lab.comparator}{lab.value:g} {lab.unit} cannot be graded as "
            f"{names} by CTCAE {book.edition}, because {why or f'it is {reason}'}."
        ),
        reason=reason,
        inputs=terms[0][1].inputs,
        origin=lab.origin,
        **book.credit(*(term for term, _ in terms)),
    )


def _is_worth_stating(lab: LabResult, seen: _GradeBasis, grades: PossibleGrades) -> bool:
    """Whether the standing of a value is known.

    Without any limit a value is left alone where it may be normal, unless its laboratory calls it changed; a
    grade that rests on absolute numbers needs no limit.
    """
    return _NO_RANGE not in seen.missing or bool(lab.change) or 0 not in grades.possible


def _observe_lab(case: Case, lab: LabResult, term: RuleRow, book: RuleBook) -> _GradeBasis:
    limits = find_range(case, lab)
    before = is_before_treatment(case, lab)
    other = find_baseline(case, lab)
    is_baseline = before is True or (other is not None and other.id == lab.id)
    unit, is_alt = _unit_for(lab, term)
    factor = _factor(lab, unit)
    if factor is None and _is_relative(term, book):
        factor = 1.0
    value = None if lab.value is None or factor is None else lab.value * factor
    base = None if other is None or is_baseline else convert_lab(other, lab.unit)
    inputs = [Input(path_of("labs", lab.id, "value"), lab.value)]
    inputs += [
        Input(path_of("labs", lab.id, name), number)
        for name, number in (("low", lab.low), ("high", lab.high))
        if number is not None
    ]
    missing = [] if limits.high is not None or limits.low is not None else [_NO_RANGE]
    if base is None and not is_baseline and _needs_baseline(term, book):
        unit_of_other = "" if other is None else f" in a unit that can be compared ({other.unit or 'none'})"
        missing.append("a value before treatment" + unit_of_other)
    elif base is not None and other is not None:
        inputs.append(Input(path_of("labs", other.id, "value"), other.value))
    if value is None:
        missing.append(f"a unit that can be read as {term['unit']}")
    note = f" The limits are {limits.words}." if limits.row is not None else ""
    if before and drugs(case):
        note += " It was taken before treatment and is no adverse event of it."
    return _GradeBasis(
        ObservedEvent(
            value=value,
            is_alt=is_alt,
            comparator=lab.comparator,
            analyte=lab.analyte,
            uln=_multiply(limits.high, factor),
            lln=_multiply(limits.low, factor),
            baseline=_multiply(base, factor),
            is_baseline=is_baseline,
            severities=_severities(lab.is_symptomatic, ""),
        ),
        tuple(inputs),
        tuple(missing),
        note,
    )


def _is_relative(term: RuleRow, book: RuleBook) -> bool:
    """The term compares with limits and baseline only, so that its unit does not matter."""
    rows = [row for row in book.rows("criterion") if row["term"] == term.id]
    return not any(relation in row.data for row in rows for relation in ("over", "upto", "from", "below"))


def _needs_baseline(term: RuleRow, book: RuleBook) -> bool:
    rows = [row for row in book.rows("criterion") if row["term"] == term.id]
    return any("baseline" in key for row in rows for key in row.data)


def _multiply(number: float | None, factor: float | None) -> float | None:
    return None if number is None or factor is None else number * factor


def _unit_for(lab: LabResult, term: RuleRow) -> tuple[str, bool]:
    """The term's unit that the value can be had in, the second one where the first cannot."""
    alt = term.get("alt_unit", "")
    first = () if lab.analyte in term.get("alt_only", ()) else (term["unit"],)
    for unit in first:
        if _converts(lab, unit):
            return unit, False
    if alt and _converts(lab, alt):
        return alt, True
    return term["unit"], False


def _converts(lab: LabResult, unit: str) -> bool:
    return convert_value(1.0, _find_unit(lab), unit, is_enzyme=is_enzyme(lab.analyte)) is not None


def _factor(lab: LabResult, unit: str) -> float | None:
    own = _find_unit(lab)
    return convert_value(1.0, own, unit, is_enzyme=is_enzyme(lab.analyte)) if own else None


def _find_unit(lab: LabResult) -> str:
    """The unit of a value; an equivalent of an ion with one charge is a mole."""
    return "mmol/L" if lab.unit == "mEq/L" and lab.analyte in _SINGLE_CHARGE else lab.unit


def _judge_lab(
    lab: LabResult, term: RuleRow, seen: _GradeBasis, grades: PossibleGrades, book: RuleBook
) -> Assessment:
    is_open = not grades.is_one
    is_quiet = seen.observed.is_baseline or grades.possible == (1,)
    return Assessment(
        rule_id="ctcae.lab_grade",
        title="Grade of a laboratory value",
        verdict=Verdict.NOT_ASSESSABLE if is_open else Verdict.MET,
        severity=Severity.INFO if is_quiet else Severity.NOTE,
        statement=(
            f"{term['name']}: {_name_grades(grades)} by CTCAE {book.edition} for "
            f"{lab.comparator}{lab.value:g} {lab.unit}.{seen.note}"
        ),
        reason=_why_open(seen, grades, term, book) if is_open else "",
        value=grades.possible[0] if grades.is_one else None,
        values=tuple(str(grade) for grade in grades.possible),
        inputs=seen.inputs,
        origin=lab.origin,
        **book.credit(term),
    )
