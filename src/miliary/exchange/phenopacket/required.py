"""Which fields a GA4GH Phenopacket v2 must have: our own check, since protocol buffers require none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA_VERSION = "2.0"

# Message by message: the fields that the schema's documentation calls required. Numbers and states are not
# among them here: protocol buffers leave a zero, and a state that is not known, out of their JSON.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Phenopacket": ("id", "metaData"),
    "Individual": ("id",),
    "OntologyClass": ("id", "label"),
    "PhenotypicFeature": ("type",),
    "Evidence": ("evidenceCode",),
    "Measurement": ("assay",),
    "Quantity": ("unit",),
    "ReferenceRange": ("unit",),
    "TypedQuantity": ("type", "quantity"),
    "Biosample": ("id",),
    "Procedure": ("code",),
    "Interpretation": ("id",),
    "Diagnosis": ("disease",),
    "GenomicInterpretation": ("subjectOrBiosampleId",),
    "VariantInterpretation": ("variationDescriptor",),
    "VariationDescriptor": ("id",),
    "GeneDescriptor": ("valueId", "symbol"),
    "Disease": ("term",),
    "Treatment": ("agent",),
    "DoseInterval": ("quantity", "scheduleFrequency", "interval"),
    "TimeInterval": ("start", "end"),
    "Age": ("iso8601duration",),
    "MetaData": ("created", "createdBy", "resources", "phenopacketSchemaVersion"),
    "Resource": ("id", "name", "url", "version", "namespacePrefix", "iriPrefix"),
}

# The message that a field of a message holds.
_HOLDS: Mapping[tuple[str, str], str] = {
    ("Phenopacket", "subject"): "Individual",
    ("Phenopacket", "phenotypicFeatures"): "PhenotypicFeature",
    ("Phenopacket", "measurements"): "Measurement",
    ("Phenopacket", "biosamples"): "Biosample",
    ("Phenopacket", "interpretations"): "Interpretation",
    ("Phenopacket", "diseases"): "Disease",
    ("Phenopacket", "medicalActions"): "MedicalAction",
    ("Phenopacket", "metaData"): "MetaData",
    ("Individual", "timeAtLastEncounter"): "TimeElement",
    ("Individual", "vitalStatus"): "VitalStatus",
    ("PhenotypicFeature", "type"): "OntologyClass",
    ("PhenotypicFeature", "severity"): "OntologyClass",
    ("PhenotypicFeature", "onset"): "TimeElement",
    ("PhenotypicFeature", "evidence"): "Evidence",
    ("Evidence", "evidenceCode"): "OntologyClass",
    ("TimeElement", "age"): "Age",
    ("TimeElement", "ontologyClass"): "OntologyClass",
    ("TimeElement", "interval"): "TimeInterval",
    ("Measurement", "assay"): "OntologyClass",
    ("Measurement", "value"): "Value",
    ("Measurement", "complexValue"): "ComplexValue",
    ("Measurement", "timeObserved"): "TimeElement",
    ("Measurement", "procedure"): "Procedure",
    ("Value", "quantity"): "Quantity",
    ("Value", "ontologyClass"): "OntologyClass",
    ("ComplexValue", "typedQuantities"): "TypedQuantity",
    ("TypedQuantity", "type"): "OntologyClass",
    ("TypedQuantity", "quantity"): "Quantity",
    ("Quantity", "unit"): "OntologyClass",
    ("Quantity", "referenceRange"): "ReferenceRange",
    ("ReferenceRange", "unit"): "OntologyClass",
    ("Procedure", "code"): "OntologyClass",
    ("Biosample", "sampledTissue"): "OntologyClass",
    ("Biosample", "histologicalDiagnosis"): "OntologyClass",
    ("Biosample", "timeOfCollection"): "TimeElement",
    ("Biosample", "procedure"): "Procedure",
    ("Biosample", "measurements"): "Measurement",
    ("Interpretation", "diagnosis"): "Diagnosis",
    ("Diagnosis", "disease"): "OntologyClass",
    ("Diagnosis", "genomicInterpretations"): "GenomicInterpretation",
    ("GenomicInterpretation", "variantInterpretation"): "VariantInterpretation",
    ("GenomicInterpretation", "gene"): "GeneDescriptor",
    ("VariantInterpretation", "variationDescriptor"): "VariationDescriptor",
    ("VariationDescriptor", "geneContext"): "GeneDescriptor",
    ("Disease", "term"): "OntologyClass",
    ("Disease", "diseaseStage"): "OntologyClass",
    ("Disease", "clinicalTnmFinding"): "OntologyClass",
    ("Disease", "primarySite"): "OntologyClass",
    ("Disease", "laterality"): "OntologyClass",
    ("MedicalAction", "treatment"): "Treatment",
    ("MedicalAction", "procedure"): "Procedure",
    ("MedicalAction", "adverseEvents"): "OntologyClass",
    ("MedicalAction", "treatmentTerminationReason"): "OntologyClass",
    ("Treatment", "agent"): "OntologyClass",
    ("Treatment", "routeOfAdministration"): "OntologyClass",
    ("Treatment", "doseIntervals"): "DoseInterval",
    ("DoseInterval", "quantity"): "Quantity",
    ("DoseInterval", "scheduleFrequency"): "OntologyClass",
    ("DoseInterval", "interval"): "TimeInterval",
    ("MetaData", "resources"): "Resource",
}


def find_missing(packet: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of required fields that a packet lacks, as in ``measurements[2].assay.id``.

    Parameters
    ----------
    packet : mapping
        Plain JSON values.
    """
    return tuple(_missing(packet, "Phenopacket", ""))


def _missing(message: Any, kind: str, path: str) -> Iterator[str]:
    if not isinstance(message, Mapping):
        yield path or kind
        return
    start = f"{path}." if path else ""
    for name in REQUIRED.get(kind, ()):
        if message.get(name) in (None, "", []):
            yield f"{start}{name}"
    for name, value in message.items():
        inner = _HOLDS.get((kind, name))
        if inner is None:
            continue
        if isinstance(value, list):
            for number, item in enumerate(value, start=1):
                yield from _missing(item, inner, f"{start}{name}[{number}]")
        else:
            yield from _missing(value, inner, f"{start}{name}")
