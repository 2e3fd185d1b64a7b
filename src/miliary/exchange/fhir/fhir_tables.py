"""Which FHIR R4 resource, and which mCODE profile, each part of a case becomes, and where its fields stand.

What mCODE lacks (nodules of a study, stains, markers' changes, CTCAE grades, RECIST, burden) becomes an
Observation coded in our own systems ``urn:miliary:...``; ``docs/interchange.md`` lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.exchange.codes import (
    ANALYTE_LOINC,
    DCM,
    LOINC,
    MODALITY_DCM,
    OWN,
    RESULT_SNOMED,
    SMOKING_SNOMED,
    SNOMED,
    STAGING_SNOMED,
)
from miliary.exchange.fhir.fhir_fields import Home
from miliary.model import case as nouns

MCODE = "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-"
MCODE_VERSION = "4.0.0"
KIND_SYSTEM, ID_SYSTEM, CASE_SYSTEM = f"{OWN}:kind", f"{OWN}:id", f"{OWN}:case"
CODE_SYSTEM = f"{OWN}:observation"


@dataclass(frozen=True)
class Kind:
    """One part of a case as a resource.

    `section` is its path in the case (``studies``, ``staging.nodes``, ``lesions.measurements``); `profile`
    the end of an mCODE profile's name; `fixed` what every resource of the kind holds; `homes` where fields
    stand; `references` paths of fields that name another item, with that item's section; `parent` the path
    of the reference to the record that a nested one belongs to.
    """

    section: str
    resource: str
    title: str
    profile: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    homes: Mapping[str, Home] = field(default_factory=dict)
    references: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    parent: str = ""

    @property
    def subject(self) -> str:
        """The element that names the patient."""
        return "patient" if self.resource in ("BodyStructure", "Consent") else "subject"


def code_of(system: str, code: str, text: str) -> dict[str, Any]:
    """A CodeableConcept with one code."""
    return {"coding": [{"system": system, "code": code}], "text": text}


def own_code(code: str, text: str = "") -> dict[str, Any]:
    """A code of our own system for what has none elsewhere."""
    return code_of(CODE_SYSTEM, code, text or code.replace("-", " "))


def _observation(section: str, title: str, code: dict[str, Any], **rest: Any) -> Kind:
    category = rest.pop("category", "")
    fixed: dict[str, Any] = {"status": "final", "code": code}
    if category:
        system = "http://terminology.hl7.org/CodeSystem/observation-category"
        fixed["category"] = [{"coding": [{"system": system, "code": category}]}]
    return Kind(section, "Observation", title, fixed=fixed, **rest)


_WHEN = Home("effectiveDateTime", "when")
_RESULT = Home("valueCodeableConcept", "concept", SNOMED, RESULT_SNOMED)

_STUDIES = Kind(
    "studies",
    "ImagingStudy",
    "an imaging study",
    fixed={"status": "available"},
    homes={
        "modality": Home("modality[0].code", "coded", DCM, MODALITY_DCM),
        "when": Home("started", "when"),
        "note": Home("note[0].text"),
        "change": Home("description"),
    },
)
_LESIONS = Kind(
    "lesions",
    "BodyStructure",
    "a lesion followed over studies",
    profile="tumor",
    homes={"organ": Home("location.text"), "kind": Home("morphology.text")},
)
_SPECIMENS = Kind(
    "specimens",
    "Specimen",
    "tissue or fluid taken",
    profile="human-specimen",
    homes={
        "site": Home("collection.bodySite.text"),
        "procedure": Home("collection.method.text"),
        "when": Home("collection.collectedDateTime", "when"),
        "histology": Home("type.text"),
    },
)
_MOLECULAR = Kind(
    "molecular",
    "DiagnosticReport",
    "a molecular report",
    profile="genomics-report",
    fixed={
        "status": "final",
        "code": code_of(LOINC, "81247-9", "genetic variant report"),
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "GE"}]}],
    },
    homes={"when": _WHEN, "note": Home("conclusion")},
    references={"specimen": ("specimen[0].reference", "specimens")},
)
_DRUGS = Kind(
    "treatments",
    "MedicationAdministration",
    "a drug given",
    profile="cancer-related-medication-administration",
    fixed={"status": "unknown"},
    homes={
        "name": Home("medicationCodeableConcept.text"),
        "dose": Home("dosage.dose.value"),
        "unit": Home("dosage.dose.unit"),
        "dose_text": Home("dosage.text"),
        "route": Home("dosage.route.text"),
        "start": Home("effectivePeriod.start", "when"),
        "stop": Home("effectivePeriod.end", "when"),
        "note": Home("note[0].text"),
        "stop_reason": Home("statusReason[0].text"),
    },
)
_PROCEDURES = Kind(
    "treatments",
    "Procedure",
    "an operation, radiation or other treatment",
    fixed={"status": "unknown"},
    homes={
        "name": Home("code.text"),
        "kind": Home("category.text"),
        "start": Home("performedPeriod.start", "when"),
        "stop": Home("performedPeriod.end", "when"),
        "note": Home("note[0].text"),
    },
)
_STAGING = Kind(
    "staging",
    "Condition",
    "the primary lung tumor",
    profile="primary-cancer-condition",
    fixed={"code": code_of(SNOMED, "363358000", "malignant tumor of lung")},
    homes={"side": Home("bodySite[0].text")},
)
_METASTASES = Kind(
    "staging.metastases",
    "Condition",
    "a metastatic site",
    profile="secondary-cancer-condition",
    fixed={"code": code_of(SNOMED, "128462008", "secondary malignant neoplastic disease")},
    homes={"site": Home("bodySite[0].text"), "when": Home("recordedDate", "when")},
)

_OBSERVATIONS = (
    _observation(
        "studies.nodules",
        "the small nodules of one study, as reported",
        own_code("nodule-pattern"),
        category="imaging",
        parent="derivedFrom[0].reference",
    ),
    _observation(
        "lesions.measurements",
        "the size of one lesion in one study",
        code_of(LOINC, "21889-1", "size of tumor"),
        category="imaging",
        profile="tumor-size",
        parent="focus[0].reference",
        references={"study": ("derivedFrom[0].reference", "studies")},
        homes={"longest_mm": Home(form="component", code=(LOINC, "33728-7"))},
    ),
    _observation(
        "immunostains",
        "one immunohistochemical stain",
        own_code("immunostain"),
        category="laboratory",
        homes={"result": _RESULT, "when": _WHEN, "note": Home("note[0].text")},
        references={"specimen": ("specimen.reference", "specimens")},
    ),
    _observation(
        "molecular.genes",
        "what a molecular report says of one gene",
        code_of(LOINC, "69548-6", "genetic variant assessment"),
        category="laboratory",
        profile="genomic-variant",
        parent="derivedFrom[0].reference",
        homes={
            "gene": Home(form="component", code=(LOINC, "48018-6")),
            "result": _RESULT,
            "vaf_percent": Home(form="component", code=(f"{OWN}:field", "vaf_percent")),
        },
    ),
    _observation(
        "microbiology",
        "one test for an infection",
        own_code("microbiology"),
        category="laboratory",
        homes={"result": _RESULT, "when": _WHEN},
    ),
    _observation(
        "labs",
        "one laboratory value or vital sign",
        {},
        category="laboratory",
        homes={
            "analyte": Home("code", "concept", LOINC, ANALYTE_LOINC),
            "value": Home("valueQuantity.value"),
            "unit": Home("valueQuantity.unit"),
            "comparator": Home("valueQuantity.comparator"),
            "low": Home("referenceRange[0].low.value"),
            "high": Home("referenceRange[0].high.value"),
            "method": Home("method.text"),
            "when": _WHEN,
        },
    ),
    _observation(
        "staging.nodes",
        "a lymph node as it counts for N",
        own_code("lymph-node"),
        category="imaging",
        homes={"station": Home("bodySite.text")},
    ),
    _observation(
        "staging.separate_nodules",
        "tumor nodules apart from the primary",
        own_code("separate-nodules"),
        category="imaging",
    ),
    _observation(
        "staging.other_tumors",
        "a further primary or lepidic focus",
        own_code("further-tumor"),
        category="imaging",
    ),
    _observation(
        "staging.asserted",
        "a stage as somebody wrote it",
        code_of(SNOMED, "399537006", "clinical stage group"),
        profile="tnm-stage-group",
        homes={
            "group": Home("valueCodeableConcept", "concept"),
            "edition": Home("method", "concept", SNOMED, STAGING_SNOMED),
            "when": _WHEN,
        },
    ),
    _observation(
        "adverse_events",
        "an adverse event with its CTCAE grade as recorded",
        own_code("ctcae-adverse-event"),
        homes={"term": Home("valueCodeableConcept", "concept"), "when": _WHEN},
    ),
    _observation(
        "responses",
        "a response as somebody wrote it",
        code_of(LOINC, "97509-4", "cancer disease status"),
        profile="cancer-disease-status",
        homes={"text": Home("valueCodeableConcept", "concept"), "when": _WHEN},
    ),
    _observation(
        "follow_up",
        "how the patient fared",
        own_code("follow-up"),
        homes={"status": Home("valueCodeableConcept", "concept"), "when": _WHEN},
    ),
)

_BASIC = (
    Kind("claims", "Basic", "a claim of the record", fixed={"code": own_code("claim")}),
    Kind("report", "Basic", "what the written report holds", fixed={"code": own_code("report")}),
    Kind("case", "Basic", "the case as a whole", fixed={"code": own_code("case")}),
)
_ETHICS = Kind(
    "ethics",
    "Consent",
    "consent and approval",
    fixed={
        "status": "proposed",
        "scope": code_of("http://terminology.hl7.org/CodeSystem/consentscope", "research", "research"),
        "category": [own_code("consent-and-approval")],
        "policyRule": own_code("as-recorded"),
    },
    homes={"consent_when": Home("dateTime", "when")},
)

KINDS: tuple[Kind, ...] = (
    *(_STUDIES, _LESIONS, _SPECIMENS, _MOLECULAR, _DRUGS, _PROCEDURES, _STAGING, _METASTASES),
    *(*_OBSERVATIONS, *_BASIC, _ETHICS),
)

# The record that each part is read into.
RECORDS: Mapping[str, type] = {
    "studies": nouns.Study,
    "studies.nodules": nouns.NodulePattern,
    "lesions": nouns.RecordedLesion,
    "lesions.measurements": nouns.Measurement,
    "specimens": nouns.Specimen,
    "immunostains": nouns.Immunostain,
    "molecular": nouns.MolecularReport,
    "molecular.genes": nouns.GeneResult,
    "microbiology": nouns.MicrobiologyResult,
    "labs": nouns.LabResult,
    "staging": nouns.Staging,
    "staging.nodes": nouns.Node,
    "staging.separate_nodules": nouns.SeparateNodules,
    "staging.metastases": nouns.Metastasis,
    "staging.other_tumors": nouns.Tumor,
    "staging.asserted": nouns.AssertedStage,
    "treatments": nouns.Treatment,
    "adverse_events": nouns.AdverseEvent,
    "responses": nouns.AssertedResponse,
    "claims": nouns.Claim,
    "follow_up": nouns.FollowUp,
    "ethics": nouns.Ethics,
    "report": nouns.Report,
    "case": nouns.Case,
}

# What of a patient is an Observation of its own: code, and how the value is written.
PATIENT_OBSERVATIONS: Mapping[str, tuple[dict[str, Any], Home, str, str]] = {
    "age_years": (code_of(LOINC, "30525-0", "age"), Home("valueQuantity.value"), "a", ""),
    "weight_kg": (code_of(LOINC, "29463-7", "body weight"), Home("valueQuantity.value"), "kg", ""),
    "height_cm": (code_of(LOINC, "8302-2", "body height"), Home("valueQuantity.value"), "cm", ""),
    "pack_years": (own_code("pack-years"), Home("valueQuantity.value"), "{PackYears}", ""),
    "smoking": (
        code_of(LOINC, "72166-2", "tobacco smoking status"),
        Home("valueCodeableConcept", "concept", SNOMED, SMOKING_SNOMED),
        "",
        "",
    ),
    "ecog": (
        code_of(LOINC, "89247-1", "ECOG performance status"),
        Home("valueInteger"),
        "",
        "ecog-performance-status",
    ),
    "child_pugh": (own_code("child-pugh-class"), Home("valueString"), "", ""),
}
