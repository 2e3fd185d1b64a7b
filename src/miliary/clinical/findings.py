"""Look up a named finding of a rule file in a case: present, absent or not stated, with its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from miliary.clinical.genes.stated_result import settle_result
from miliary.clinical.record.diagnosis_words import DiagnosisStatus, find_status, is_from_chest
from miliary.clinical.record.microbiology_words import find_test
from miliary.clinical.rulebook import RuleRow
from miliary.model.assessment import Input
from miliary.model.case import Case, LabResult, path_of
from miliary.model.vocabulary import Finding, History, Presence, Result, Smoking, Symptom


class FindingState(NamedTuple):
    """Whether a case has a finding, and the facts that say so.

    Attributes
    ----------
    state : Presence
    facts : tuple of Input
        Empty where the finding is not stated.
    """

    state: Presence
    facts: tuple[Input, ...]


UNKNOWN = FindingState(Presence.NOT_STATED, ())
FindingFacts = Iterator[tuple[Presence, Input]]


def look_up(row: RuleRow, case: Case) -> FindingState:
    """State of one finding.

    Parameters
    ----------
    row : RuleRow
        With `kind`, the way it is looked up, and what that way needs.
    case : Case

    Returns
    -------
    FindingState
        Present if any of its facts says so; absent only if some say so and none says otherwise.
    """
    if row["kind"] == "imaging_all":
        return _combine_all([_combine_any(_read_imaging([name], case)) for name in row["names"]])
    return _combine_any(_READERS[row["kind"]](row, case))


def _combine_any(states: Iterable[tuple[Presence, Input]]) -> FindingState:
    known = [(state, fact) for state, fact in states if state.is_known]
    for wanted in (Presence.PRESENT, Presence.ABSENT):
        facts = tuple(fact for state, fact in known if state is wanted)
        if facts:
            return FindingState(wanted, facts)
    return UNKNOWN


def _combine_all(parts: list[FindingState]) -> FindingState:
    facts = tuple(fact for part in parts for fact in part.facts)
    states = {part.state for part in parts}
    if Presence.ABSENT in states:
        return FindingState(Presence.ABSENT, facts)
    return UNKNOWN if Presence.NOT_STATED in states else FindingState(Presence.PRESENT, facts)


def _read_imaging(names: Iterable[str], case: Case) -> FindingFacts:
    for study in case.studies:
        for name in names:
            state = study.finding(Finding(name))
            yield state, Input(f"{path_of('studies', study.id)}.findings.{name}", state.value)


def _read_symptom(row: RuleRow, case: Case) -> FindingFacts:
    for name in row["names"]:
        state = case.symptom(Symptom(name))
        yield state, Input(f"symptoms.{name}", state.value)


def _read_history(row: RuleRow, case: Case) -> FindingFacts:
    for name in row["names"]:
        state = case.past(History(name))
        yield state, Input(f"history.{name}", state.value)
    yield from _read_tests(row, case, Result.POSITIVE)


def _read_origin(row: RuleRow, case: Case) -> FindingFacts:
    """Origin as stated; the country of treatment is taken for it only where it is one of those named."""
    yield from _read_history(row, case)
    if case.patient.region in row["regions"]:
        yield Presence.PRESENT, Input("patient.region", case.patient.region)


def _read_tests(row: RuleRow, case: Case, wanted: Result) -> FindingFacts:
    """An indeterminate or failed test says nothing either way."""
    if not applies(row, case):
        return
    for test in case.microbiology:
        if find_test(test.test) in row.get("tests", ()) and test.result in (Result.POSITIVE, Result.NEGATIVE):
            state = Presence.PRESENT if test.result is wanted else Presence.ABSENT
            yield state, Input(path_of("microbiology", test.id, "result"), test.result.value)


def applies(row: RuleRow, case: Case) -> bool:
    """Whether a finding can be judged in a patient with this history.

    Parameters
    ----------
    row : RuleRow
        ``with_history`` and ``without_history`` name an item that must, or must not, be present: after BCG
        instillations a test of the M. tuberculosis complex is another finding than without them.
    case : Case

    Returns
    -------
    bool
    """
    wanted, unwanted = row.get("with_history"), row.get("without_history")
    if wanted and case.past(History(wanted)) is not Presence.PRESENT:
        return False
    return not unwanted or case.past(History(unwanted)) is not Presence.PRESENT


def _read_lab(row: RuleRow, case: Case, *, is_above: bool) -> FindingFacts:
    for lab in case.labs:
        if lab.analyte in row["analytes"]:
            yield (
                _compare_with_range(lab, is_above=is_above),
                Input(path_of("labs", lab.id, "value"), lab.value),
            )


def _compare_with_range(lab: LabResult, *, is_above: bool) -> Presence:
    """Whether a value is outside its laboratory's range on one side; unknown without value or limit."""
    bound = lab.high if is_above else lab.low
    if lab.value is None or bound is None:
        return Presence.NOT_STATED
    outside = lab.value > bound if is_above else lab.value < bound
    return Presence.PRESENT if outside else Presence.ABSENT


def _read_all_low(row: RuleRow, case: Case) -> FindingFacts:
    """Every one of several values below its range."""
    parts = [
        _combine_any(
            (_compare_with_range(lab, is_above=False), Input(path_of("labs", lab.id, "value"), lab.value))
            for lab in case.labs
            if lab.analyte == analyte
        )
        for analyte in row["analytes"]
    ]
    state, facts = _combine_all(parts)
    for fact in facts:
        yield state, fact


def _read_histology(row: RuleRow, case: Case) -> FindingFacts:
    """Tissue says what its diagnosis affirms or denies; that a diagnosis is not named is no statement."""
    if not applies(row, case):
        return
    states = {
        DiagnosisStatus(row.get("status", "confirmed")): Presence.PRESENT,
        DiagnosisStatus.NEGATED: Presence.ABSENT,
    }
    for specimen in case.specimens:
        state = states.get(find_status(specimen.histology, row["words"]) or DiagnosisStatus.UNCLEAR)
        if state is None or (row.get("is_chest") is not None and is_from_chest(specimen) != row["is_chest"]):
            continue
        if state is Presence.ABSENT and row.get("status"):
            continue
        yield state, Input(path_of("specimens", specimen.id, "histology"), specimen.histology)


def _read_invasion(row: RuleRow, case: Case) -> FindingFacts:
    for specimen in case.specimens:
        for name in row["names"]:
            state = specimen.invasion.get(name, Presence.NOT_STATED)
            yield state, Input(f"{path_of('specimens', specimen.id)}.invasion.{name}", state.value)


def _read_molecular(row: RuleRow, case: Case) -> FindingFacts:
    for report in case.molecular:
        for number, gene in enumerate(report.genes):
            if gene.gene.upper() in row["genes"] and settle_result(gene, gene.gene)[0] is Result.POSITIVE:
                path = f"{path_of('molecular', report.id)}.genes[{number}].result"
                yield Presence.PRESENT, Input(path, gene.result.value)
    for stain in case.immunostains:
        if stain.target.upper() in row["genes"] and stain.result is Result.POSITIVE:
            yield Presence.PRESENT, Input(path_of("immunostains", stain.id, "result"), stain.result.value)


def _read_sex(row: RuleRow, case: Case) -> FindingFacts:
    sex = case.patient.sex
    if sex is not None:
        state = Presence.PRESENT if sex.value == row["value"] else Presence.ABSENT
        yield state, Input("patient.sex", sex.value)


def _read_smoking(row: RuleRow, case: Case) -> FindingFacts:
    """Read never, former or current; "non-smoker" may be former and is not taken for never."""
    smoking = case.patient.smoking
    if smoking is not None and smoking is not Smoking.NON_SMOKER:
        state = Presence.PRESENT if smoking.value in row["values"] else Presence.ABSENT
        yield state, Input("patient.smoking", smoking.value)


def _read_age(row: RuleRow, case: Case) -> FindingFacts:
    age = case.patient.age_years
    if age is None:
        return
    is_inside = row.get("from_years", 0) <= age <= row["to_years"]
    fact = Input("patient.age_years", age)
    if not is_inside or "smoking" not in row.data:
        yield Presence.PRESENT if is_inside else Presence.ABSENT, fact
    elif case.patient.smoking is not None:
        smokes = case.patient.smoking.value in row["smoking"]
        yield Presence.PRESENT if smokes else Presence.ABSENT, fact


def _read_stable(_row: RuleRow, case: Case) -> FindingFacts:
    for study in case.studies:
        if study.change.lower().startswith(("stable", "unchanged")) and study.compared_with:
            yield Presence.PRESENT, Input(path_of("studies", study.id, "change"), study.change)


_READERS: dict[str, Callable[[RuleRow, Case], FindingFacts]] = {
    "imaging": lambda row, case: _read_imaging(row["names"], case),
    "symptom": _read_symptom,
    "history": _read_history,
    "origin": _read_origin,
    "test_positive": lambda row, case: _read_tests(row, case, Result.POSITIVE),
    "test_negative": lambda row, case: _read_tests(row, case, Result.NEGATIVE),
    "lab_above": lambda row, case: _read_lab(row, case, is_above=True),
    "lab_below": _read_all_low,
    "histology": _read_histology,
    "invasion": _read_invasion,
    "molecular": _read_molecular,
    "sex": _read_sex,
    "smoking": _read_smoking,
    "age": _read_age,
    "stable": _read_stable,
}
