"""`CaseSummary`: what `case.json` holds of one patient's record and of what every rule says of it.

Times are days from day zero; no date of the patient is in it. `Assessment` is itself the saved record of one
rule's outcome. What the keys mean is said once, in the published schema (`case_result.schema.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.model.assessment import Assessment, Basis
from miliary.model.saved.codec import saved
from miliary.model.vocabulary import LesionState, Lobe, Origin, Presence, Result, Sex, Side, Smoking

CASE_KIND = "miliary.case"
CASE_VERSION = "1.0"


@dataclass(frozen=True)
class OutcomeCounts:
    """How many outcomes ask something of the reader."""

    error: int = 0
    query: int = 0
    note: int = 0
    not_assessable: int = 0


@dataclass(frozen=True)
class CitationSummary:
    """A source in words, how it was seen, and its DOI where known."""

    text: str
    basis: Basis
    doi: str = saved(default="", omit_default=True)


@dataclass(frozen=True)
class PatientSummary:
    """The patient as far as the record says."""

    age_years: float | None = saved(default=None, omit_default=True)
    sex: Sex | None = saved(default=None, omit_default=True)
    region: str = saved(default="", omit_default=True)
    ancestry: str = saved(default="", omit_default=True)
    smoking: Smoking | None = saved(default=None, omit_default=True)
    pack_years: float | None = saved(default=None, omit_default=True)
    ecog: int | None = saved(default=None, omit_default=True)
    weight_kg: float | None = saved(default=None, omit_default=True)
    height_cm: float | None = saved(default=None, omit_default=True)


def _has_end(event: EventSummary) -> bool:
    return event.kind in ("treatment", "adverse_event")


@dataclass(frozen=True)
class EventSummary:
    """One dated item of the record.

    Parameters
    ----------
    kind : str
        imaging, pathology, molecular, microbiology, treatment, adverse_event, response or stage.
    id : str
        The item in the case.
    day : int or None
        Days from day zero; None where not known.
    when : str
        The time in words, where that is all there is.
    label, detail : str
    origin : Origin
    end_day : int or None
        Last day of a treatment or an adverse event.
    line : int or None
        Line of a treatment.
    grade : int or None
        CTCAE grade of an adverse event.
    """

    kind: str
    id: str
    day: int | None = None
    when: str = saved(default="", omit_default=True)
    label: str = ""
    detail: str = saved(default="", omit_default=True)
    origin: Origin | None = None
    end_day: int | None = saved(default=None, when=_has_end)
    line: int | None = saved(default=None, when=lambda event: event.kind == "treatment")
    grade: int | None = saved(default=None, when=lambda event: event.kind == "adverse_event")


@dataclass(frozen=True)
class LabSummary:
    """One laboratory value, with the limits that apply (`range` says whose they are)."""

    id: str
    analyte: str
    value: float | None = None
    unit: str = ""
    comparator: str = ""
    change: str = ""
    day: int | None = None
    when: str = saved(default="", omit_default=True)
    low: float | None = None
    high: float | None = None
    range: str = ""
    origin: Origin | None = None


@dataclass(frozen=True)
class GeneSummary:
    """What one molecular test says of one gene."""

    gene: str
    result: Result
    alteration: str = ""
    partner: str = ""


@dataclass(frozen=True)
class MolecularSummary:
    """One molecular test or stain and its genes."""

    id: str
    label: str = ""
    specimen: str = ""
    genes: tuple[GeneSummary, ...] = ()


@dataclass(frozen=True)
class LesionSizeSummary:
    """Size of one lesion [mm] in one study, or its state."""

    study: str
    longest_mm: float | None = None
    short_axis_mm: float | None = None
    state: LesionState | None = saved(default=None, none_as="")
    origin: Origin | None = None


@dataclass(frozen=True)
class RecordedLesionSummary:
    """One lesion of the record, followed over studies."""

    id: str
    organ: str = ""
    kind: str = ""
    lobe: Lobe | None = saved(default=None, none_as="")
    side: Side | None = saved(default=None, none_as="")
    role: str = ""
    measurements: tuple[LesionSizeSummary, ...] = ()


@dataclass(frozen=True)
class EthicsSummary:
    """Consent, approval and conflicts of interest as the report states them."""

    consent_written: Presence = Presence.NOT_STATED
    committee_approval: Presence = Presence.NOT_STATED
    committee_waiver: Presence = Presence.NOT_STATED
    funding: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordSummary:
    """The record as a report shows it beside the assessments; nothing in it is judged."""

    title: str = saved(default="", omit_default=True)
    sources: tuple[str, ...] = saved(default=(), omit_default=True)
    day_zero: str = saved(default="", omit_default=True)
    patient: PatientSummary = saved(default_factory=PatientSummary, omit_default=True)
    symptoms: Mapping[str, Presence] = saved(default_factory=dict, omit_default=True)
    history: Mapping[str, Presence] = saved(default_factory=dict, omit_default=True)
    events: tuple[EventSummary, ...] = saved(default=(), omit_default=True)
    labs: tuple[LabSummary, ...] = saved(default=(), omit_default=True)
    tests: tuple[MolecularSummary, ...] = saved(default=(), omit_default=True)
    lesions: tuple[RecordedLesionSummary, ...] = saved(default=(), omit_default=True)
    ethics: EthicsSummary | None = saved(default=None, omit_default=True)
    report: Mapping[str, Presence] = saved(default_factory=dict, omit_default=True)


@dataclass(frozen=True)
class CaseSummary:
    """What `case.json` holds."""

    schema_version: str | None = CASE_VERSION
    kind: str = CASE_KIND
    case_id: str = ""
    origin: Origin | None = None
    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    assessments: tuple[Assessment, ...] = ()
    citations: Mapping[str, CitationSummary] = field(default_factory=dict)
    record: RecordSummary = field(default_factory=RecordSummary)
    provenance: Mapping[str, Any] = field(default_factory=dict)
