"""`Case`: the dated facts about one patient, as a reader of the records would write them down.

Nothing here is derived. A field that is None, empty or `Presence.NOT_STATED` was not stated: no rule may
take it for absent. `Presence.ABSENT` means that somebody looked and said so. Every item of a list has an
`id` unique in the case, so that an assessment can name its inputs (`path_of`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from miliary.model.vocabulary import (
    ChildPugh,
    Count,
    Distribution,
    Finding,
    History,
    LesionState,
    Lobe,
    Modality,
    Origin,
    Presence,
    PrevailingZone,
    Result,
    Sex,
    Side,
    Smoking,
    Structure,
    Symptom,
    TumorPattern,
)

SCHEMA_VERSION = "1.0"
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class When:
    """A point in time as far as it was stated: a date, a day counted from the case's day 0, or words."""

    date: dt.date | None = None
    day: int | None = None
    text: str = ""

    @property
    def is_known(self) -> bool:
        """It can be ordered against others."""
        return self.date is not None or self.day is not None

    def __str__(self) -> str:
        if self.date is not None:
            return self.date.isoformat()
        return f"day {self.day}" if self.day is not None else self.text or "not stated"


def days_between(first: When, second: When) -> int | None:
    """Days from `first` to `second`, negative if it lies before; None where that cannot be told."""
    if first.date is not None and second.date is not None:
        return (second.date - first.date).days
    if first.day is not None and second.day is not None:
        return second.day - first.day
    return None


@dataclass(frozen=True)
class Patient:
    """Who it is about. `region` is an ISO 3166 country code, or EU; `ancestry` as the records say it."""

    age_years: float | None = None
    sex: Sex | None = None
    region: str = ""
    ancestry: str = ""
    smoking: Smoking | None = None
    pack_years: float | None = None
    ecog: int | None = None
    weight_kg: float | None = None
    height_cm: float | None = None
    child_pugh: ChildPugh | None = None


@dataclass(frozen=True)
class NodulePattern:
    """The small nodules of one study, as reported. Sizes [mm]; `lung_fraction` 0-1 of the lung affected."""

    count: int | None = None
    is_innumerable: Presence = Presence.NOT_STATED
    min_diameter_mm: float | None = None
    max_diameter_mm: float | None = None
    median_diameter_mm: float | None = None
    distribution: Distribution | None = None
    is_diffuse: Presence = Presence.NOT_STATED
    is_bilateral: Presence = Presence.NOT_STATED
    is_uniform: Presence = Presence.NOT_STATED
    zone: PrevailingZone | None = None
    lung_fraction: float | None = None


@dataclass(frozen=True)
class Study:
    """One imaging study. `findings` holds only what was stated; ask through `finding`.

    `new_lesions` is absent where a reader compared it with those before and saw no new lesion.

    `result` points to a folder that `miliary ct` wrote (relative to the case), `compared_with` to the
    study a statement of change refers to, `change` is that statement in words.
    """

    id: str
    modality: Modality = Modality.OTHER
    when: When = field(default_factory=When)
    body_parts: tuple[str, ...] = ()
    slice_thickness_mm: float | None = None
    findings: Mapping[Finding, Presence] = field(default_factory=lambda: _NOTHING)
    nodules: NodulePattern | None = None
    new_lesions: Presence = Presence.NOT_STATED
    change: str = ""
    compared_with: str = ""
    result: str = ""
    note: str = ""
    origin: Origin = Origin.RECORDED

    def finding(self, name: Finding) -> Presence:
        """Whether this study shows it."""
        return self.findings.get(name, Presence.NOT_STATED)


@dataclass(frozen=True)
class Measurement:
    """One lesion in one study. `cavity_mm` is the longest diameter of its cavity.

    `fragments_mm` are the diameters of a lesion that has split; `merged_into` names the lesion this one
    has become part of.
    """

    study: str
    longest_mm: float | None = None
    short_axis_mm: float | None = None
    cavity_mm: float | None = None
    state: LesionState | None = None
    fragments_mm: tuple[float, ...] = ()
    merged_into: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class RecordedLesion:
    """One lesion followed over studies.

    `organ` as in lung, node, bone, liver, brain, pleura...; `kind` as in mass, node, miliary_nodules,
    lytic, blastic, effusion, lymphangitis, cyst...; `role` as the reader chose it.
    """

    id: str
    organ: str = ""
    kind: str = ""
    lobe: Lobe | None = None
    side: Side | None = None
    role: str = ""  # target, non_target, new or ""
    is_irradiated: Presence = Presence.NOT_STATED
    soft_tissue_mm: float | None = None
    measurements: tuple[Measurement, ...] = ()
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Specimen:
    """Tissue or fluid taken. `invasion` keys: lymphatic, vascular, pleural."""

    id: str
    site: str = ""
    procedure: str = ""
    when: When = field(default_factory=When)
    histology: str = ""
    patterns: tuple[str, ...] = ()
    invasion: Mapping[str, Presence] = field(default_factory=lambda: _NOTHING)
    place: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Immunostain:
    """One immunohistochemical stain. `target` is a gene symbol, PD-L1, or amylase."""

    id: str
    target: str = ""
    clone: str = ""
    platform: str = ""
    specimen: str = ""
    result: Result = Result.NOT_STATED
    tps_percent: float | None = None
    viable_cells: int | None = None
    when: When = field(default_factory=When)
    note: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class GeneResult:
    """What a report says of one gene. `alteration` as in rearrangement, V600E, ex19del, L858R, exon 14."""

    gene: str
    result: Result = Result.NOT_STATED
    alteration: str = ""
    partner: str = ""
    vaf_percent: float | None = None


@dataclass(frozen=True)
class MolecularReport:
    """One molecular test (panel, FISH, PCR).

    `analytes` holds dna, rna or protein as stated; `material` is tissue, plasma or cytology;
    `claims_no_other_driver` is a summary sentence that names no genes: it makes none of them negative.
    """

    id: str
    assay: str = ""
    specimen: str = ""
    when: When = field(default_factory=When)
    region: str = ""
    material: str = ""
    analytes: tuple[str, ...] = ()
    genes: tuple[GeneResult, ...] = ()
    claims_no_other_driver: bool = False
    tumor_fraction: float | None = None
    note: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class MicrobiologyResult:
    """One test for an infection.

    `test` as in igra, igra_quantiferon, igra_tspot, afb_smear, tb_culture, tb_naat, hiv,
    histoplasma_antigen, cryptococcal_antigen, coccidioides_serology; `material` as in blood, sputum, bal.
    """

    id: str
    test: str = ""
    material: str = ""
    result: Result = Result.NOT_STATED
    when: When = field(default_factory=When)
    nil_iu_per_ml: float | None = None
    tb_minus_nil_iu_per_ml: float | None = None
    mitogen_iu_per_ml: float | None = None
    spots: int | None = None
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class LabResult:
    """One value of one analyte (heart rate, QTc, weight and the like included), or a stated change of it.

    `analyte` is lower_snake as in amylase_total, amylase_pancreatic, lipase, cea, cyfra_21_1, progrp,
    scc, ca_19_9, nse, ldh, ast, alt, alp, ggt, bilirubin_total, ck, creatinine, hemoglobin, neutrophils,
    platelets, heart_rate, qtc. `low`, `high` are the reporting lab's range in the same unit;
    `comparator` is "", "<", ">" or "≈" (about). A result without a value (only "decreased") has
    `change` and no value; a qualitative one (negative, 2+, trace) has `words` and no value.
    """

    id: str
    analyte: str
    value: float | None = None
    unit: str = ""
    comparator: str = ""
    low: float | None = None
    high: float | None = None
    when: When = field(default_factory=When)
    change: str = ""  # increased, decreased, unchanged or ""
    material: str = ""
    method: str = ""
    is_baseline: bool = False
    is_symptomatic: Presence = Presence.NOT_STATED
    words: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Node:
    """A regional or other lymph node. `station` as in 4R, 7, 10L, or supraclavicular, mediastinal, hilar."""

    id: str
    station: str = ""
    side: Side | None = None
    involved: Presence = Presence.NOT_STATED
    short_axis_mm: float | None = None
    proof: str = ""  # imaging, cytology, histology or ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class SeparateNodules:
    """Tumor nodules apart from the primary: in one lobe, or throughout one lung (`is_diffuse`).

    They count in T and M only where `are_metastases` is present: somebody said so.
    """

    id: str
    side: Side | None = None
    lobe: Lobe | None = None
    is_diffuse: Presence = Presence.NOT_STATED
    presence: Presence = Presence.PRESENT
    are_metastases: Presence = Presence.NOT_STATED
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Metastasis:
    """A metastatic site.

    `site` as in bone, brain, adrenal, liver, pleura, pericardium, pleural_effusion,
    pericardial_effusion, contralateral_lung, nonregional_node, skin, kidney...; `places` as in L4, skull.
    """

    id: str
    site: str
    presence: Presence = Presence.PRESENT
    count: Count | None = None
    places: tuple[str, ...] = ()
    study: str = ""
    when: When = field(default_factory=When)
    proof: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Tumor:
    """A further tumor beside the primary, where there are several primaries or lepidic foci. Sizes [mm]."""

    id: str
    side: Side | None = None
    lobe: Lobe | None = None
    size_mm: float | None = None
    solid_mm: float | None = None
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class AssertedStage:
    """A stage as somebody wrote it, unchanged."""

    id: str
    tnm: str = ""
    group: str = ""
    edition: str = ""
    when: When = field(default_factory=When)
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Staging:
    """What T, N and M are derived from. Sizes [mm]; `solid_mm` of a part-solid primary.

    `nodes_assessed`, `metastases_assessed` say that the search was complete: only then does an empty
    list mean N0 or M0. `primary` is present, absent (T0) or not stated; `in_situ` AIS or SCIS;
    `is_minimally_invasive` MIA, `is_superficial_spreading` the rare spreading tumor of a central airway.
    `pattern` says how several foci are read; `other_tumors` are the further primaries or lepidic foci,
    `pneumonic_lobes` all lobes with consolidation of a pneumonic type.
    """

    primary: Presence = Presence.NOT_STATED
    side: Side | None = None
    lobe: Lobe | None = None
    size_mm: float | None = None
    solid_mm: float | None = None
    invasive_mm: float | None = None
    in_situ: Presence = Presence.NOT_STATED
    is_minimally_invasive: Presence = Presence.NOT_STATED
    is_superficial_spreading: Presence = Presence.NOT_STATED
    positive_cytology_only: Presence = Presence.NOT_STATED
    invades: Mapping[Structure, Presence] = field(default_factory=lambda: _NOTHING)
    invasion_assessed: bool = False
    separate_nodules: tuple[SeparateNodules, ...] = ()
    nodules_assessed: bool = False
    nodes: tuple[Node, ...] = ()
    nodes_assessed: bool = False
    metastases: tuple[Metastasis, ...] = ()
    metastases_assessed: bool = False
    asserted: tuple[AssertedStage, ...] = ()
    pattern: TumorPattern | None = None
    other_tumors: tuple[Tumor, ...] = ()
    pneumonic_lobes: tuple[Lobe, ...] = ()


@dataclass(frozen=True)
class Treatment:
    """One drug, operation or radiation.

    `dose` is per administration in `unit` unless `dose_is_daily_total`; `times_per_day` None means that
    the frequency was not stated. `region` is where the label applies; `population` as in nsclc, adjuvant,
    alcl; `bone_agent` drugs are treatments like others.
    `cycles` of `cycle_days` each; a pause of the drug (further ones are treatments of their own);
    `site` of an operation or radiation, of which `fractions` of `fraction_gy` make `total_gy` [Gy];
    `resection` as in R0, R1, R2.
    """

    id: str
    name: str
    kind: str = "drug"  # drug, surgery, radiation, other
    dose: float | None = None
    unit: str = ""
    times_per_day: float | None = None
    dose_is_daily_total: bool = False
    dose_text: str = ""
    route: str = ""
    with_food: Presence = Presence.NOT_STATED
    formulation: str = ""
    start: When = field(default_factory=When)
    stop: When = field(default_factory=When)
    region: str = ""
    population: str = ""
    line: int | None = None
    stop_reason: str = ""
    cycles: int | None = None
    cycle_days: int | None = None
    paused_from: When = field(default_factory=When)
    paused_to: When = field(default_factory=When)
    pause_reason: str = ""
    site: str = ""
    fractions: int | None = None
    fraction_gy: float | None = None
    total_gy: float | None = None
    resection: str = ""
    note: str = ""
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class AdverseEvent:
    """An adverse event as recorded; `term` in the records' words, `grade` as asserted.

    `facts` holds what else the criteria ask for, lower_snake, where stated: life_threatening,
    instrumental_adl, self_care_adl, oral_intervention, hospitalization, oxygen, transfusion...
    """

    id: str
    term: str
    ctcae_edition: str = ""
    grade: int | None = None
    when: When = field(default_factory=When)
    end: When = field(default_factory=When)
    symptomatic: Presence = Presence.NOT_STATED
    symptom_severity: str = ""  # mild, moderate, severe or ""
    bsa_percent: float | None = None
    stools_over_baseline: int | None = None
    weight_change_percent: float | None = None
    facts: Mapping[str, Presence] = field(default_factory=lambda: _NOTHING)
    lab: str = ""
    suspected_drug: str = ""
    drug_action: str = ""  # continued, held, reduced, stopped or ""
    treatment: str = ""
    is_fatal: Presence = Presence.NOT_STATED
    outcome: str = ""
    origin: Origin = Origin.RECORDED

    def fact(self, name: str) -> Presence:
        """Whether a further condition was stated."""
        return self.facts.get(name, Presence.NOT_STATED)


@dataclass(frozen=True)
class AssertedResponse:
    """A response as somebody wrote it. `criteria` as in recist_1_1; `of` as in overall, lung, bone, brain."""

    id: str
    text: str = ""
    category: str = ""
    criteria: str = ""
    of: str = "overall"
    study: str = ""
    when: When = field(default_factory=When)
    is_confirmed: Presence = Presence.NOT_STATED
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class Claim:
    """A sentence of the record that rests on other facts, so that these can be looked for.

    `kind` is one of `CLAIM_KINDS`; `about` names ids of items it rests on.
    """

    id: str
    kind: str
    text: str = ""
    about: tuple[str, ...] = ()
    threshold_mm: float | None = None
    origin: Origin = Origin.RECORDED


@dataclass(frozen=True)
class FollowUp:
    """How the patient fared: `status` alive, dead, lost or ""."""

    status: str = ""
    when: When = field(default_factory=When)
    cause: str = ""


@dataclass(frozen=True)
class Ethics:
    """Consent and approval. `conflicts` names who pays an author, as disclosed."""

    consent_written: Presence = Presence.NOT_STATED
    consent_scope: str = ""
    consent_when: When = field(default_factory=When)
    committee_approval: Presence = Presence.NOT_STATED
    committee_waiver: Presence = Presence.NOT_STATED
    data_source: str = ""
    funding: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The written report of the case, if there is one.

    `items` says for CARE item names (title, key_words, abstract, introduction, demographics, symptoms,
    history, family_history, physical_exam, timeline, diagnostic_methods, ...) whether they are in it.
    """

    title: str = ""
    key_words: tuple[str, ...] = ()
    items: Mapping[str, Presence] = field(default_factory=lambda: _NOTHING)

    def item(self, name: str) -> Presence:
        """Whether the report has it."""
        return self.items.get(name, Presence.NOT_STATED)


@dataclass(frozen=True)
class Case:
    """Everything stated about one patient.

    `day_zero` is what days are counted from, in words; `id` is a pseudonym. `sources` are citations of
    what the facts were taken from.
    """

    id: str
    title: str = ""
    origin: Origin = Origin.RECORDED
    sources: tuple[str, ...] = ()
    day_zero: str = ""
    patient: Patient = field(default_factory=Patient)
    symptoms: Mapping[Symptom, Presence] = field(default_factory=lambda: _NOTHING)
    history: Mapping[History, Presence] = field(default_factory=lambda: _NOTHING)
    studies: tuple[Study, ...] = ()
    lesions: tuple[RecordedLesion, ...] = ()
    specimens: tuple[Specimen, ...] = ()
    immunostains: tuple[Immunostain, ...] = ()
    molecular: tuple[MolecularReport, ...] = ()
    microbiology: tuple[MicrobiologyResult, ...] = ()
    labs: tuple[LabResult, ...] = ()
    staging: Staging = field(default_factory=Staging)
    treatments: tuple[Treatment, ...] = ()
    adverse_events: tuple[AdverseEvent, ...] = ()
    responses: tuple[AssertedResponse, ...] = ()
    claims: tuple[Claim, ...] = ()
    follow_up: FollowUp | None = None
    ethics: Ethics | None = None
    report: Report | None = None

    def symptom(self, name: Symptom) -> Presence:
        """Whether the patient has it."""
        return self.symptoms.get(name, Presence.NOT_STATED)

    def past(self, name: History) -> Presence:
        """Whether it is in the history."""
        return self.history.get(name, Presence.NOT_STATED)

    def has_claim(self, kind: str) -> bool:
        """Whether the record claims it."""
        return any(claim.kind == kind for claim in self.claims)

    def study(self, study_id: str) -> Study | None:
        """The imaging study of this id."""
        return next((study for study in self.studies if study.id == study_id), None)


def path_of(section: str, item_id: str, name: str = "") -> str:
    """How an assessment names one of its inputs: ``labs[a1].value``."""
    return f"{section}[{item_id}]" + (f".{name}" if name else "")
