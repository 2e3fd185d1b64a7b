"""The CARE checklist: what a written case report holds of what one should hold, and its score."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from miliary.clinical.record.consistency import is_measured_twice
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Report, Treatment
from miliary.model.vocabulary import History, Presence


class _Told(NamedTuple):
    state: Presence
    fact: Input


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Score a case report against the CARE checklist.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the checklist; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        One per item and the score. Empty where the case names no report.
    """
    report = case.report
    if report is None:
        return ()
    book = rules or find_rules("care")
    told = [(row, find_item(row, report, case)) for row in book.rows("item")]
    return (*(_assess_item(row, item, case, book) for row, item in told), _score(told, case, book))


def find_item(row: RuleRow, report: Report, case: Case) -> _Told:
    """Whether the report holds an item: from its own list, its wording, or the facts it gave."""
    for name in (row["name"], row.get("group", "")):
        if name and report.item(name).is_known:
            return _Told(report.item(name), Input(f"report.items.{name}", report.item(name).value))
    reader = _READERS.get(row["name"])
    if reader is not None:
        return reader(report, case)
    return _Told(Presence.NOT_STATED, Input(f"report.items.{row['name']}", None))


def _assess_item(row: RuleRow, told: _Told, case: Case, book: RuleBook) -> Assessment:
    verdict = {Presence.PRESENT: Verdict.MET, Presence.ABSENT: Verdict.NOT_MET}.get(
        told.state, Verdict.NOT_ASSESSABLE
    )
    words = {Verdict.MET: "is there", Verdict.NOT_MET: "is missing"}.get(verdict, "cannot be told")
    return Assessment(
        f"care.{row.id}",
        f"CARE {row['number']}",
        verdict,
        Severity.NOTE if verdict is Verdict.NOT_MET else Severity.INFO,
        f"CARE {row['number']}, {row['asks_for']}: {words}.",
        "the record does not state it" if verdict is Verdict.NOT_ASSESSABLE else "",
        inputs=(told.fact,),
        origin=case.origin,
        facts_item="j40" if verdict is Verdict.NOT_MET else None,
        **book.credit(row),
    )


def _score(told: list[tuple[RuleRow, _Told]], case: Case, book: RuleBook) -> Assessment:
    states = [item.state for _, item in told]
    n_present, n_known = states.count(Presence.PRESENT), sum(state.is_known for state in states)
    open_words = f"; {len(states) - n_known} of {len(states)} cannot be told" if n_known < len(states) else ""
    missing = tuple(str(row["number"]) for row, item in told if item.state is Presence.ABSENT)
    return Assessment(
        "care.score",
        "CARE score",
        Verdict.MET if n_known else Verdict.NOT_ASSESSABLE,
        Severity.INFO,
        f"{n_present} of {n_known} CARE points that can be told are there{open_words}.",
        "" if n_known else "no point of the checklist can be told",
        value=n_present,
        values=missing,
        inputs=tuple(item.fact for _, item in told if item.state.is_known),
        origin=case.origin,
        **book.credit(*(row for row, _ in told)),
    )


# --- items that can be told from other facts


def _read_title(report: Report, _case: Case) -> _Told:
    fact = Input("report.title", report.title or None)
    if not report.title:
        return _Told(Presence.NOT_STATED, fact)
    named = any(words in report.title.lower() for words in ("case report", "case study"))
    return _Told(Presence.PRESENT if named else Presence.ABSENT, fact)


def _read_key_words(report: Report, _case: Case) -> _Told:
    """Two to five; the record may leave them out, so that none given says nothing."""
    number = len(report.key_words)
    fact = Input("report.key_words", number or None)
    if number == 0:
        return _Told(Presence.NOT_STATED, fact)
    return _Told(Presence.PRESENT if 2 <= number <= 5 else Presence.ABSENT, fact)


def _read_demographics(_report: Report, case: Case) -> _Told:
    stated = case.patient.age_years is not None and case.patient.sex is not None
    return _told_if(stated, Input("patient.age_years", case.patient.age_years))


def _read_symptoms(_report: Report, case: Case) -> _Told:
    return _told_if(bool(case.symptoms), Input("symptoms", len(case.symptoms) or None))


def _read_family(_report: Report, case: Case) -> _Told:
    state = case.past(History.FAMILY_HISTORY_OF_CANCER)
    return _told_if(state.is_known, Input(f"history.{History.FAMILY_HISTORY_OF_CANCER.value}", state.value))


def _read_administration(_report: Report, case: Case) -> _Told:
    """Dose, frequency and start of every drug."""
    drugs = [item for item in case.treatments if item.kind == "drug"]
    fact = Input("treatments", len(drugs) or None)
    if not drugs:
        return _Told(Presence.NOT_STATED, fact)
    return _Told(Presence.PRESENT if all(map(_is_administered, drugs)) else Presence.ABSENT, fact)


def _is_administered(drug: Treatment) -> bool:
    return drug.dose is not None and drug.times_per_day is not None and drug.start.is_known


def _read_interventions(_report: Report, case: Case) -> _Told:
    return _told_if(bool(case.treatments), Input("treatments", len(case.treatments) or None))


def _read_follow_up(_report: Report, case: Case) -> _Told:
    """Two sizes of one lesion, or two values of one analyte; words alone are not a number."""
    names = [lab.analyte for lab in case.labs if lab.value is not None]
    repeated = any(names.count(name) > 1 for name in names)
    fact = Input("responses", len(case.responses) or None)
    if repeated or any(is_measured_twice(lesion) for lesion in case.lesions):
        return _Told(Presence.PRESENT, fact)
    described = bool(case.responses) or case.has_claim("response") or any(lab.change for lab in case.labs)
    return _Told(Presence.ABSENT if described else Presence.NOT_STATED, fact)


def _read_events(_report: Report, case: Case) -> _Told:
    stated = bool(case.adverse_events) or case.has_claim("no_severe_adverse_event")
    return _told_if(stated, Input("adverse_events", len(case.adverse_events) or None))


def _read_consent(_report: Report, case: Case) -> _Told:
    state = case.ethics.consent_written if case.ethics is not None else Presence.NOT_STATED
    return _Told(state, Input("ethics.consent_written", state.value))


def _told_if(is_stated: bool, fact: Input) -> _Told:  # noqa: FBT001 - a yes or no becomes a word
    return _Told(Presence.PRESENT if is_stated else Presence.NOT_STATED, fact)


_READERS: dict[str, Callable[[Report, Case], _Told]] = {
    "title": _read_title,
    "key_words": _read_key_words,
    "demographics": _read_demographics,
    "symptoms": _read_symptoms,
    "family_history": _read_family,
    "intervention_types": _read_interventions,
    "intervention_administration": _read_administration,
    "follow_up_tests": _read_follow_up,
    "adverse_events": _read_events,
    "consent": _read_consent,
}
