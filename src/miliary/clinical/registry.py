"""Every rule module, and the running of all of them over one case."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from miliary.clinical.miliary.bridge import assess_scans
from miliary.clinical.recist.criteria import RecistOptions
from miliary.clinical.record.tumor import list_other_proof, may_have_lung_cancer
from miliary.clinical.rulebook import Citation, list_rules, load_rules
from miliary.model.assessment import Assessment, Severity, Verdict
from miliary.model.case import Case
from miliary.model.vocabulary import Origin

if TYPE_CHECKING:
    from miliary.model.saved.scan_summary import ScanSummary

# Modules with `assess(case) -> tuple[Assessment, ...]`, in the order a reader would ask.
RULES: tuple[str, ...] = (
    *(
        "miliary.definition",
        "record.differential",
        "tnm.staging",
        "tnm.asserted_stage",
        "genes.drivers",
        "drugs.therapy",
        "drugs.monitoring",
        "recist.response",
        "recist.local_treatment",
        "events.adverse_events",
        "labs.lab_doubts",
        "labs.lab_values",
    ),
    *("record.read_words", "record.consistency", "record.care", "record.literature"),
)
# Rules on the record itself, which see values in doubt too.
_OF_THE_RECORD = frozenset({"labs.lab_doubts", "record.read_words", "record.consistency"})
_ID = re.compile(r"\[([^\]]+)\]")
_DISTANCE = (Origin.PUBLISHED, Origin.RECORDED, Origin.CORRECTED, Origin.MEASURED, Origin.SIMULATED)
_ORDER = (Severity.ERROR, Severity.QUERY, Severity.NOTE, Severity.INFO)


def assess_case(
    case: Case,
    *,
    scans: Mapping[str, ScanSummary] | None = None,
    response: RecistOptions | None = None,
    on: dt.date | None = None,
) -> tuple[Assessment, ...]:
    """What every rule says of a case.

    Parameters
    ----------
    case : Case
    scans : mapping of str to ScanSummary, optional
        What was measured on the studies that were measured, by study id.
    response : RecistOptions, optional
        What a protocol may choose in reading a response; RECIST 1.1 with its defaults otherwise.
    on : date, optional
        The day on which the case is read: rules whose recheck date has passed by then are named, as
        ``rules.recheck``. Without it no date is compared.

    Returns
    -------
    tuple of Assessment
        By falling severity, then in the order of `RULES`.
    """
    from miliary.clinical.labs.course import assess_course  # slow to import for its units
    from miliary.clinical.labs.lab_doubts import set_aside_doubted

    # Where no lung cancer is on record, or tissue or culture proves another cause, there is none to stage.
    is_staged = may_have_lung_cancer(case) and not list_other_proof(case)
    rules = [name for name in RULES if name != "tnm.staging" or is_staged]

    # What is asked about a value is asked of the record; no other rule weighs a value in doubt.
    sound = set_aside_doubted(case)
    options: dict[str, dict[str, Any]] = {"recist.response": {"options": response}}
    found = [
        assessment
        for name in rules
        for assessment in import_module(f"miliary.clinical.{name}").assess(
            case if name in _OF_THE_RECORD else sound, **options.get(name, {})
        )
    ]
    origins = _find_origins(case)
    found = [replace(a, origin=_origin_of(a, origins, case.origin)) for a in found]
    found += assess_scans(case, scans or {})
    found += assess_course(sound, scans or {})
    found += () if on is None else list_due_rules(found, on)
    return tuple(sorted(found, key=lambda assessment: _ORDER.index(assessment.severity)))


def list_due_rules(found: Iterable[Assessment], on: dt.date) -> Iterator[Assessment]:
    """Rules whose recheck date has passed: of the newest edition of every system and of editions used.

    Parameters
    ----------
    found : iterable of Assessment
    on : date
        The day on which they are read.

    Yields
    ------
    Assessment
        A note for each such edition that holds rows due for a recheck.
    """
    used = {item.edition for item in found}
    for system, edition in list_rules():
        book = load_rules(system, edition)
        is_newest = dict(list_rules())[system] == edition
        due = book.list_due_rows(on) if is_newest or book.label in used else ()
        if due:
            dates = [date for row in due if (date := book.find_recheck_date(row)) is not None]
            names = ", ".join(row.id for row in due[:5]) + (f" and {len(due) - 5} more" if due[5:] else "")
            yield Assessment(
                "rules.recheck",
                f"Rules of {book.label}",
                Verdict.MET,
                Severity.NOTE,
                f"{len(due)} of {len(book.all_rows())} rows of {book.label} were to be compared with their "
                f"sources again by {min(dates)}, which had passed on {on}: {names}.",
                value=len(due),
                values=tuple(row.id for row in due),
                **book.credit(*due),
            )


def _find_origins(case: Case) -> dict[str, Origin]:
    """Origin of every item of a case that has an id."""
    parts = [getattr(case, part.name) for part in fields(case)]
    parts += [getattr(case.staging, part.name) for part in fields(case.staging)]
    items = [item for part in parts if isinstance(part, tuple) for item in part]
    return {item.id: item.origin for item in items if hasattr(item, "origin")}


def _origin_of(assessment: Assessment, origins: Mapping[str, Origin], default: Origin) -> Origin:
    """Of the facts it rests on; of several, the one furthest from a record."""
    used = set()
    for path, _ in assessment.inputs:
        # Not every bracket holds the id of an item: genes[0] is a position in a report.
        known = [origins[name] for name in _ID.findall(path) if name in origins]
        used.update(known or [default])
    return max(used or {default}, key=_DISTANCE.index)


def resolve_citations(assessments: Iterable[Assessment]) -> Mapping[str, Citation]:
    """The sources that some assessments name.

    Parameters
    ----------
    assessments : iterable of Assessment

    Returns
    -------
    mapping of str to Citation
        By the id of the citation, in alphabetical order.
    """
    known = {
        citation.id: citation
        for system, edition in list_rules()
        for citation in load_rules(system, edition).citations.values()
    }
    named = sorted({name for assessment in assessments for name in assessment.citations})
    return {name: known[name] for name in named}


def count_outcomes(assessments: Iterable[Assessment]) -> dict[str, int]:
    """How many assessments are raised, by severity, and how many are not assessable.

    Parameters
    ----------
    assessments : iterable of Assessment

    Returns
    -------
    dict of str to int
        Under ``error``, ``query``, ``note`` and ``not_assessable``.
    """
    found = tuple(assessments)
    counts = {s.value: sum(a.severity is s for a in found) for s in _ORDER[:-1]}
    return counts | {"not_assessable": sum(a.verdict is Verdict.NOT_ASSESSABLE for a in found)}
