"""What cannot be: facts of one case that contradict each other, dates out of order, impossible numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from miliary.clinical.record.diagnosis_words import list_specimens
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.clinical.tnm.site_words import canonical_site
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, NodulePattern, Treatment, When, days_between, path_of
from miliary.model.vocabulary import Finding, History, Origin, Presence, Sex, Smoking

_EVENTS = ("treatments", "adverse_events", "responses")
_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?\Z")
_LIKE_DATE = re.compile(
    r"\d\s*[./-]\s*\d|\d\s*[年月]|\b(19|20)\d\d\b|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*[\s-]+'?\d",
    re.IGNORECASE,
)
_GRAY_TOLERANCE = 0.02  # of a total dose: fractions are recorded as rounded numbers


def assess_plausibility(case: Case, rules: RuleBook) -> tuple[Assessment, ...]:
    """Contradictions, disorder of dates and impossible values of a case.

    Parameters
    ----------
    case : Case
    rules : RuleBook
        The consistency rules.

    Returns
    -------
    tuple of Assessment
        Only what was found.
    """
    return tuple(
        outcome
        for check in (
            _check_sites,
            _check_histology,
            _check_person,
            _check_fatal_event,
            _check_nodule_sizes,
            _check_spans,
            _check_unread_dates,
            _check_event_after_drug,
            _check_treatment_parts,
            _check_lines,
            _check_after_death,
            _check_test_after_specimen,
            _check_numbers,
        )
        for outcome in check(case, rules)
    )


def raise_finding(
    row: RuleRow,
    statement: str,
    inputs: Iterable[tuple[str, Any]],
    book: RuleBook,
    *,
    item_id: str = "",
    origin: Origin = Origin.RECORDED,
) -> Assessment:
    """An assessment which says that a rule found what it looks for.

    Parameters
    ----------
    row : RuleRow
        The rule; its severity and title are taken over.
    statement : str
    inputs : iterable of (str, value)
        Paths and values of the facts it rests on.
    book : RuleBook
        The rules ``consistency``.
    item_id : str
        Id of the item it concerns, for rules that may find several; part of the assessment's id.
    origin : Origin

    Returns
    -------
    Assessment
    """
    return Assessment(
        f"consistency.{row.id}" + (f".{item_id}" if item_id else ""),
        str(row.get("title", "Impossible value")),
        Verdict.MET,
        Severity(row.get("severity", "error")),
        statement,
        inputs=tuple(Input(path, value) for path, value in inputs),
        origin=origin,
        facts_item=row.get("facts_item"),
        **book.credit(row),
    )


def _check_sites(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A metastatic site that the only studies to speak of it call free."""
    row = book.row("imaging_and_sites")
    for site in case.staging.metastases:
        name = row["sites"].get(canonical_site(site.site))
        if name is None or site.presence is not Presence.PRESENT:
            continue
        states = [(study, study.finding(Finding(name))) for study in case.studies]
        denied = [study for study, state in states if state is Presence.ABSENT]
        if denied and all(state is not Presence.PRESENT for _, state in states):
            yield raise_finding(
                row,
                f"A metastatic site is recorded ({site.site.replace('_', ' ')}); imaging states none there.",
                [
                    (path_of("staging.metastases", site.id, "site"), site.site),
                    *((f"{path_of('studies', study.id)}.findings.{name}", "absent") for study in denied),
                ],
                book,
                item_id=site.id,
            )


def _check_histology(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Two specimens with different tumor types."""
    row = book.row("histology")
    found = {
        kind.replace("_", " "): specimen
        for kind in row["types"]
        for specimen, _ in list_specimens(case, (kind,))
    }
    if len(found) > 1 and len({specimen.id for specimen in found.values()}) > 1:
        facts = [(path_of("specimens", s.id, "histology"), s.histology) for s in found.values()]
        yield raise_finding(row, f"Specimens show different tumor types: {', '.join(found)}.", facts, book)


def _check_person(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Facts about one person that exclude each other."""
    patient = case.patient
    if patient.smoking is Smoking.NEVER and patient.pack_years:
        facts: list[tuple[str, Any]] = [
            ("patient.smoking", "never"),
            ("patient.pack_years", patient.pack_years),
        ]
        statement = f"A never-smoker has {patient.pack_years:g} pack-years."
        yield raise_finding(book.row("never_smoker_pack_years"), statement, facts, book)
    if patient.sex is Sex.MALE and case.past(History.PREGNANCY) is Presence.PRESENT:
        facts = [("patient.sex", "male"), (f"history.{History.PREGNANCY.value}", "present")]
        yield raise_finding(
            book.row("pregnancy_and_sex"), "A male patient is recorded as pregnant.", facts, book
        )


def _check_fatal_event(case: Case, book: RuleBook) -> Iterator[Assessment]:
    if case.follow_up is None or case.follow_up.status != "alive":
        return
    for event in case.adverse_events:
        if event.is_fatal is Presence.PRESENT or event.grade == 5:
            yield raise_finding(
                book.row("fatal_event_and_status"),
                f"{event.term} is recorded as fatal, while the patient is recorded alive.",
                [
                    (path_of("adverse_events", event.id, "grade"), event.grade),
                    ("follow_up.status", case.follow_up.status),
                ],
                book,
                item_id=event.id,
            )


def _check_nodule_sizes(case: Case, book: RuleBook) -> Iterator[Assessment]:
    for study in case.studies:
        sizes = _list_sizes(study.nodules)
        if sizes != sorted(sizes):
            where = path_of("studies", study.id, "nodules")
            yield raise_finding(
                book.row("nodule_sizes"),
                "The smallest, median and largest nodule diameters are not in this order: "
                + ", ".join(f"{size:g} mm" for size in sizes)
                + ".",
                [(where, ", ".join(f"{size:g}" for size in sizes))],
                book,
                item_id=study.id,
            )


def _list_sizes(pattern: NodulePattern | None) -> list[float]:
    if pattern is None:
        return []
    sizes = (pattern.min_diameter_mm, pattern.median_diameter_mm, pattern.max_diameter_mm)
    return [size for size in sizes if size is not None]


def _is_before(first: When, second: When) -> bool:
    """Whether one time lies before another, a month or a year as a whole."""
    gap = days_between(second, first)
    if gap is None:
        one, other = _list_digits(first), _list_digits(second)
        length = min(len(one), len(other))
        return length > 0 and one[:length] < other[:length]
    return gap < 0


def _list_digits(when: When) -> tuple[int, ...]:
    """Year, month and day as far as stated."""
    if when.date is not None:
        return (when.date.year, when.date.month, when.date.day)
    found = _MONTH.match(when.text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def _check_unread_dates(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A time that looks like a date and was not understood as one."""
    for section in ("studies", "specimens", "immunostains", "molecular", "microbiology", "labs", *_EVENTS):
        for item in getattr(case, section):
            for name in ("when", "start", "stop", "end"):
                when = getattr(item, name, None)
                if isinstance(when, When) and not _MONTH.match(when.text) and _LIKE_DATE.search(when.text):
                    yield raise_finding(
                        book.row("unread_date"),
                        f"{when.text!r} was not understood as a date, and nothing is ordered by it; write "
                        "year-month-day as in 2021-03-09.",
                        [(path_of(section, item.id, name), when.text)],
                        book,
                        item_id=item.id,
                    )


def _check_spans(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """An end before its start."""
    spans = [
        ("treatment_dates", "treatments", item.id, item.name, item.start, item.stop)
        for item in case.treatments
    ]
    spans += [
        ("event_dates", "adverse_events", item.id, item.term, item.when, item.end)
        for item in case.adverse_events
    ]
    for rule, section, item_id, name, start, end in spans:
        if _is_before(end, start):
            facts = [
                (path_of(section, item_id, "start"), str(start)),
                (path_of(section, item_id, "end"), str(end)),
            ]
            yield raise_finding(
                book.row(rule),
                f"{name} ends ({end}) before it starts ({start}).",
                facts,
                book,
                item_id=item_id,
            )


def _check_treatment_parts(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Fractions against the total dose, cycles and pauses against the time of a treatment, margins."""
    for item in case.treatments:
        yield from (
            raise_finding(
                book.row(rule),
                statement,
                [(path_of("treatments", item.id, name), _plain(getattr(item, name))) for name in names],
                book,
                item_id=item.id,
            )
            for rule, statement, names in _list_treatment_faults(item)
        )


def _plain(value: Any) -> str | float | None:
    return value if value is None or isinstance(value, int | float) else str(value)


def _list_treatment_faults(item: Treatment) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Rule, statement and fields of everything in a treatment that cannot be."""
    if item.fractions and item.fraction_gy and item.total_gy:
        made = item.fractions * item.fraction_gy
        if abs(made - item.total_gy) > _GRAY_TOLERANCE * item.total_gy:
            words = f"{item.fractions} fractions of {item.fraction_gy:g} Gy make {made:g} Gy"
            yield (
                "radiation_dose",
                f"{item.name}: {words}, not {item.total_gy:g} Gy.",
                ("fractions", "fraction_gy", "total_gy"),
            )
    days = days_between(item.start, item.stop)
    if (
        item.cycles
        and item.cycle_days
        and days is not None
        and (item.cycles - 1) * item.cycle_days > days >= 0
    ):
        words = f"{item.cycles} cycles of {item.cycle_days} days do not fit into {days} days"
        yield "treatment_cycles", f"{item.name}: {words}.", ("cycles", "cycle_days", "start", "stop")
    if _is_before(item.paused_from, item.start) or _is_before(item.stop, item.paused_from):
        words = f"a pause ({item.paused_from}) lies outside the treatment ({item.start} to {item.stop})"
        yield "treatment_interruption", f"{item.name}: {words}.", ("paused_from", "start", "stop")
    if _is_before(item.paused_to, item.paused_from):
        words = f"a pause ends ({item.paused_to}) before it starts ({item.paused_from})"
        yield "treatment_interruption", f"{item.name}: {words}.", ("paused_from", "paused_to")
    if item.resection and not re.fullmatch(
        r"R(?:[012X]|1 ?\(is\)|un)", item.resection.strip(), re.IGNORECASE
    ):
        words = f"{item.resection!r} is no status of a resection; R0, R1, R2 and RX are"
        yield "resection_status", f"{item.name}: {words}.", ("resection",)


def _check_lines(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A later line of treatment that starts before an earlier one."""
    drugs = [item for item in case.treatments if item.kind == "drug" and item.line is not None]
    for first, second in combinations(drugs, 2):
        earlier, later = sorted((first, second), key=lambda item: item.line or 0)
        if earlier.line != later.line and _is_before(later.start, earlier.start):
            yield raise_finding(
                book.row("treatment_lines"),
                f"{later.name} is line {later.line} and starts ({later.start}) before {earlier.name}, line "
                f"{earlier.line} ({earlier.start}).",
                [
                    (path_of("treatments", item.id, name), _plain(getattr(item, name)))
                    for item in (earlier, later)
                    for name in ("line", "start")
                ],
                book,
                item_id=later.id,
            )


def _check_event_after_drug(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """An adverse event that began before the drug it is laid to."""
    drugs = {item.name.strip().lower(): item for item in case.treatments} | {i.id: i for i in case.treatments}
    for event in case.adverse_events:
        drug = drugs.get(event.suspected_drug) or drugs.get(event.suspected_drug.strip().lower())
        if drug is not None and _is_before(event.when, drug.start):
            yield raise_finding(
                book.row("event_before_drug"),
                f"{event.term} ({event.when}) is laid to {drug.name}, which started later ({drug.start}).",
                [
                    (path_of("adverse_events", event.id, "when"), str(event.when)),
                    (path_of("treatments", drug.id, "start"), str(drug.start)),
                ],
                book,
                item_id=event.id,
            )


def _list_times(case: Case) -> Iterator[tuple[str, str, When]]:
    """Everything that only happens to the living: section, id, time."""
    for section in ("studies", "specimens", "labs", "adverse_events"):
        for item in getattr(case, section):
            yield section, item.id, item.when
    for treatment in case.treatments:
        yield "treatments", treatment.id, treatment.start


def _check_after_death(case: Case, book: RuleBook) -> Iterator[Assessment]:
    follow_up = case.follow_up
    if follow_up is None or follow_up.status != "dead":
        return
    for section, item_id, when in _list_times(case):
        if _is_before(follow_up.when, when):
            yield raise_finding(
                book.row("after_death"),
                f"{path_of(section, item_id)} ({when}) lies after the recorded death ({follow_up.when}).",
                [(path_of(section, item_id, "when"), str(when)), ("follow_up.when", str(follow_up.when))],
                book,
                item_id=item_id,
            )


def _check_test_after_specimen(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A test dated before its specimen was taken."""
    taken = {specimen.id: specimen.when for specimen in case.specimens}
    tests = [("immunostains", t.id, t.specimen, t.when) for t in case.immunostains]
    tests += [("molecular", t.id, t.specimen, t.when) for t in case.molecular]
    for section, item_id, specimen, when in tests:
        if specimen in taken and _is_before(when, taken[specimen]):
            yield raise_finding(
                book.row("test_before_specimen"),
                f"{path_of(section, item_id)} ({when}) is dated before its specimen ({taken[specimen]}).",
                [
                    (path_of(section, item_id, "when"), str(when)),
                    (path_of("specimens", specimen, "when"), str(taken[specimen])),
                ],
                book,
                item_id=item_id,
            )


def _check_numbers(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Numbers outside what is possible, and negative laboratory values."""
    for row in book.rows("range"):
        for path, value in _find_values(case, str(row["path"]).split("."), ""):
            if not is_possible(value, row["low"], row["high"]):
                yield raise_finding(
                    row,
                    f"{path} is {value:g}; possible is {row['low']:g} to {row['high']:g}.",
                    [(path, value)],
                    book,
                    item_id=path.partition("[")[2].partition("]")[0],
                )


def is_possible(value: float, low: float, high: float) -> bool:
    """Whether a number lies within bounds that are possible themselves.

    Parameters
    ----------
    value, low, high : float

    Returns
    -------
    bool
    """
    return low <= value <= high


def _find_values(owner: Any, names: list[str], where: str) -> Iterator[tuple[str, float]]:
    """Path and value of every stated number that a dotted name reaches."""
    value = getattr(owner, names[0])
    path = f"{where}.{names[0]}".lstrip(".")
    if value is None:
        return
    if len(names) == 1:
        yield path, float(value)
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _find_values(item, names[1:], f"{path}[{getattr(item, 'id', number)}]")
    else:
        yield from _find_values(value, names[1:], path)
