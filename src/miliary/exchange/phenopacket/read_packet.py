"""A GA4GH Phenopacket v2 as a case: ours and those of other programs.

Names, other identifiers and birth dates are never taken. What is not taken is named, without its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.errors import CaseError
from miliary.exchange.case.encode import decode_case
from miliary.exchange.codes import ANALYTE_LOINC, FINDING_HPO, SMOKING_SNOMED, SYMPTOM_HPO
from miliary.exchange.phenopacket.required import find_missing
from miliary.model.case import Case

_PLACE = re.compile(r"(?:miliary:)?([a-z_]+)\[([^\]]+)\]\Z")
_SEXES = {"FEMALE": "female", "MALE": "male", "OTHER_SEX": "other"}
_STATUSES = {"ALIVE": "alive", "DECEASED": "dead"}
_SIDES = {"HP:0012835": "left", "HP:0012834": "right"}
_PATIENT = {
    "LOINC:72166-2": "smoking",
    "LOINC:89247-1": "ecog",
    "LOINC:29463-7": "weight_kg",
    "LOINC:8302-2": "height_cm",
    "miliary:pack_years": "pack_years",
}
_READ = frozenset(
    {
        *("id", "subject", "phenotypicFeatures", "measurements", "biosamples", "interpretations"),
        *("diseases", "medicalActions", "metaData"),
    }
)
_FOUND = ("CONTRIBUTORY", "CAUSATIVE")


@dataclass
class _Reader:
    is_ours: bool
    facts: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def part(self, name: str) -> dict[str, Any]:
        part: dict[str, Any] = self.facts.setdefault(name, {})
        return part

    def item(self, section: str, item_id: str, **facts: Any) -> dict[str, Any]:
        """The record of this id, made if need be, with further facts."""
        holder, _, name = section.rpartition(".")
        records = (self.part(holder) if holder else self.facts).setdefault(name, [])
        record: dict[str, Any] | None = next((r for r in records if r["id"] == item_id), None)
        if record is None:
            record = {"id": item_id}
            records.append(record)
        record.update({key: value for key, value in facts.items() if value not in (None, "")})
        return record


def decode_phenopacket(packet: Mapping[str, Any], *, name: str) -> tuple[Case, tuple[str, ...]]:
    """The case in a phenopacket, and a line for each thing in it that was not taken.

    Parameters
    ----------
    packet : mapping
        Plain JSON values, names of fields as protocol buffers write them in JSON.
    name : str
        The file, for errors.

    Raises
    ------
    CaseError
        If it lacks a required field, or holds values that no case can.
    """
    missing = find_missing(packet)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CaseError(f"{name}: {missing[0]} is required in a phenopacket and missing{more}")
    maker = str(packet["metaData"].get("createdBy", ""))
    reader = _Reader(is_ours=maker.startswith("miliary "))
    reader.facts["id"] = str(packet["id"]) if reader.is_ours else "imported-case"
    _take_subject(packet.get("subject", {}), reader)
    for feature in packet.get("phenotypicFeatures", []):
        _take_feature(feature, reader)
    for measurement in packet.get("measurements", []):
        _take_measurement(measurement, "", reader)
    for sample in packet.get("biosamples", []):
        _take_biosample(sample, reader)
    for interpretation in packet.get("interpretations", []):
        _take_interpretation(interpretation, reader)
    for disease in packet.get("diseases", []):
        _take_disease(disease, reader)
    for number, action in enumerate(packet.get("medicalActions", []), start=1):
        _take_action(action, number, reader)
    references = packet["metaData"].get("externalReferences", [])
    sources = [r.get("description") for r in references if r.get("id") != "miliary:origin"]
    for reference in references:
        if reference.get("id") == "miliary:origin":
            reader.facts["origin"] = reference.get("description")
    if any(sources):
        reader.facts["sources"] = [text for text in sources if text]
    reader.left += [f"{part}: not taken" for part in sorted(set(packet) - _READ)]
    return decode_case(reader.facts, name=name), tuple(reader.left)


def _word(term: Mapping[str, Any] | None, prefix: str) -> str | None:
    """The word behind a term of ours that starts with a prefix."""
    name = str((term or {}).get("id", ""))
    start = f"miliary:{prefix}."
    return name.removeprefix(start) if name.startswith(start) else None


def _label(term: Mapping[str, Any] | None) -> str | None:
    return str(term["label"]) if term and term.get("label") else None


def _time(element: Mapping[str, Any] | None) -> str | None:
    """A time element as the case writes it."""
    if not element:
        return None
    if "timestamp" in element:
        return str(element["timestamp"])[:10]
    return _label(element.get("ontologyClass"))


def _place(text: Any) -> tuple[str, str] | None:
    """Section and id that a message of ours names."""
    match = _PLACE.match(str(text or ""))
    return (match[1], match[2]) if match else None


def _take_subject(subject: Mapping[str, Any], reader: _Reader) -> None:
    patient = reader.part("patient")
    if subject.get("sex") in _SEXES:
        patient["sex"] = _SEXES[subject["sex"]]
    duration = (subject.get("timeAtLastEncounter") or {}).get("age", {}).get("iso8601duration", "")
    age = re.match(r"P(\d+)Y(?:(\d+)M)?", duration)
    if age:
        patient["age_years"] = int(age[1]) + int(age[2] or 0) / 12
    status = (subject.get("vitalStatus") or {}).get("status")
    if status in _STATUSES:
        reader.facts["follow_up"] = {"status": _STATUSES[status]}
    private = sorted(set(subject) & {"dateOfBirth", "alternateIds"})
    if private:
        reader.left.append(f"subject: may identify a person, not taken: {', '.join(private)}")


def _take_feature(feature: Mapping[str, Any], reader: _Reader) -> None:
    term = feature["type"]
    state = "absent" if feature.get("excluded") else "present"
    place = next(
        (p for e in feature.get("evidence", []) if (p := _place(e.get("reference", {}).get("id")))), None
    )
    finding = _word(term, "findings") or _by_code(FINDING_HPO, term["id"])
    symptom = _word(term, "symptoms") or _by_code(SYMPTOM_HPO, term["id"])
    if place and place[0] == "adverse_events":
        grade = _word(feature.get("severity"), "ctcae_grade")
        event = reader.item("adverse_events", place[1], term=_label(term), when=_time(feature.get("onset")))
        if grade:
            event["grade"] = int(grade)
    elif finding:
        code = (feature.get("evidence") or [{}])[0].get("evidenceCode")
        modality, study_id = _word(code, "modality"), place[1] if place else "imported-study"
        study = reader.item("studies", study_id, modality=modality, when=_time(feature.get("onset")))
        study.setdefault("findings", {})[finding] = state
    elif symptom:
        reader.part("symptoms")[symptom] = state
    elif item := _word(term, "history"):
        reader.part("history")[item] = state
    else:
        reader.left.append(f"phenotypicFeatures: {term['id']} is no word of a case; not taken")


def _by_code(codes: Mapping[str, str], code: str) -> str | None:
    return next((word for word, known in codes.items() if known == code), None)


def _take_measurement(measurement: Mapping[str, Any], specimen: str, reader: _Reader) -> None:
    assay, place = measurement["assay"], _place(measurement.get("description"))
    value = measurement.get("value") or {}
    when = _time(measurement.get("timeObserved"))
    label = _label((measurement.get("procedure") or {}).get("code"))
    result = _word(value.get("ontologyClass"), "result")
    if assay["id"] == "LOINC:21889-1":
        reader.part("staging")["size_mm"] = _number(value.get("quantity"))
    elif assay["id"] in _PATIENT:
        _take_patient_fact(_PATIENT[assay["id"]], value, reader)
    elif place and place[0] == "microbiology":
        test = _word(assay, "test")
        reader.item("microbiology", place[1], test=test, result=result, when=when)
    elif place and place[0] == "immunostains":
        target = None if _label(assay) == "stain" else _label(assay)
        stain = reader.item("immunostains", place[1], target=target, clone=label, when=when)
        stain |= _stated(result=result, specimen=specimen, tps_percent=_score(measurement))
    elif place and place[0] == "molecular":
        report = reader.item("molecular", place[1], assay=label, when=when, specimen=specimen)
        report.setdefault("genes", []).append({"gene": _label(assay)} | _stated(result=result))
    else:
        _take_lab(measurement, reader)


def _number(quantity: Mapping[str, Any] | None) -> float | None:
    """The value of a quantity; one that is there without a value is zero, as protocol buffers write it."""
    return quantity.get("value", 0.0) if quantity else None


def _stated(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _score(measurement: Mapping[str, Any]) -> float | None:
    typed = (measurement.get("complexValue") or {}).get("typedQuantities", [])
    return next(
        (t["quantity"].get("value", 0.0) for t in typed if t["type"]["id"] == "miliary:tps_percent"), None
    )


def _take_patient_fact(name: str, value: Mapping[str, Any], reader: _Reader) -> None:
    if name == "smoking":
        term = value.get("ontologyClass") or {}
        code = str(term.get("id", "")).removeprefix("SNOMED:")
        fact: Any = _by_code(SMOKING_SNOMED, code) or _word(term, "smoking")
    else:
        fact = _number(value.get("quantity"))
    if fact is None:
        reader.left.append(f"measurements: {name} has no value that can be read; not taken")
    else:
        reader.part("patient")[name] = int(fact) if name == "ecog" else fact


def _take_lab(measurement: Mapping[str, Any], reader: _Reader) -> None:
    assay, value = measurement["assay"], measurement.get("value") or {}
    code = assay["id"].removeprefix("LOINC:")
    analyte = _word(assay, "analyte") or _by_code(ANALYTE_LOINC, code)
    if analyte is None:
        reader.left.append(f"measurements: {assay['id']} is no analyte of a case; not taken")
        return
    place = _place(measurement.get("description"))
    item = place[1] if place and place[0] == "labs" else f"lab-{len(reader.facts.get('labs', [])) + 1}"
    quantity = value.get("quantity") or {}
    unit = str((quantity.get("unit") or {}).get("id", "")).removeprefix("UCUM:")
    limits = quantity.get("referenceRange") or {}
    reader.item(
        "labs",
        item,
        analyte=analyte,
        value=_number(quantity),
        unit="" if unit == "1" else unit,
        low=limits.get("low", 0.0) if limits else None,
        high=limits.get("high", 0.0) if limits else None,
        change=_word(value.get("ontologyClass"), "change"),
        when=_time(measurement.get("timeObserved")),
        method=_label((measurement.get("procedure") or {}).get("code")),
    )


def _take_biosample(sample: Mapping[str, Any], reader: _Reader) -> None:
    reader.item(
        "specimens",
        sample["id"],
        site=_label(sample.get("sampledTissue")),
        histology=_label(sample.get("histologicalDiagnosis")),
        procedure=_label((sample.get("procedure") or {}).get("code")),
        when=_time(sample.get("timeOfCollection")),
    )
    for measurement in sample.get("measurements", []):
        _take_measurement(measurement, sample["id"], reader)


def _take_interpretation(interpretation: Mapping[str, Any], reader: _Reader) -> None:
    genomic = (interpretation.get("diagnosis") or {}).get("genomicInterpretations", [])
    for item in genomic:
        descriptor = (item.get("variantInterpretation") or {}).get("variationDescriptor") or {}
        gene = (descriptor.get("geneContext") or item.get("gene") or {}).get("symbol")
        if gene is None or item.get("interpretationStatus") not in _FOUND:
            reader.left.append(
                f"interpretations: {interpretation['id']}: one is not said to be found; not taken"
            )
            continue
        report = reader.item("molecular", interpretation["id"])
        genes = report.setdefault("genes", [])
        record = next((g for g in genes if g["gene"] == gene and "alteration" not in g), None)
        if record is None:
            record = {"gene": gene}
            genes.append(record)
        record |= _stated(result="positive", alteration=descriptor.get("label"))


def _take_disease(disease: Mapping[str, Any], reader: _Reader) -> None:
    term = disease["term"]
    site = _word(term, "metastasis")
    if site:
        state = "absent" if disease.get("excluded") else None
        reader.item("staging.metastases", site, site=_label(term), presence=state)
        return
    staging = reader.part("staging")
    if term["id"] != "MONDO:0008903" and "lung" not in str(term["label"]).lower():
        reader.left.append(f"diseases: {term['id']} is no lung cancer; not taken")
        return
    staging["primary"] = "absent" if disease.get("excluded") else "present"
    side = _SIDES.get((disease.get("laterality") or {}).get("id", ""))
    if side:
        staging["side"] = side
    tnm = " ".join(filter(None, (_label(t) for t in disease.get("clinicalTnmFinding", []))))
    group = " ".join(filter(None, (_label(t) for t in disease.get("diseaseStage", []))))
    if tnm or group:
        terms = [*disease.get("clinicalTnmFinding", []), *disease.get("diseaseStage", [])]
        named = [name for term in terms if (name := _word(term, "stage"))]
        reader.item("staging.asserted", named[0] if named else "stage", tnm=tnm, group=group)


def _take_action(action: Mapping[str, Any], number: int, reader: _Reader) -> None:
    if "procedure" in action:
        code = action["procedure"]["code"]
        kind, _, item = str(code["id"]).removeprefix("miliary:").partition(".")
        is_ours = reader.is_ours and bool(item)
        name = item if is_ours else f"procedure-{number}"
        reader.item("treatments", name, name=_label(code), kind=kind if is_ours else "other")
        return
    treatment = action.get("treatment")
    if not treatment:
        reader.left.append(
            f"medicalActions: number {number} is neither a treatment nor a procedure; not taken"
        )
        return
    record = reader.item(
        "treatments",
        _word(treatment["agent"], "drug") or f"treatment-{number}",
        name=_label(treatment["agent"]),
        route=_label(treatment.get("routeOfAdministration")),
        stop_reason=_label(action.get("treatmentTerminationReason")),
    )
    doses = treatment.get("doseIntervals", [])
    if doses:
        record |= _read_dose(doses[0])
    if len(doses) > 1:
        reader.left.append(
            f"medicalActions: number {number}: {len(doses) - 1} later dose intervals not taken"
        )


def _read_dose(dose: Mapping[str, Any]) -> dict[str, Any]:
    times = _word(dose["scheduleFrequency"], "times_per_day")
    unit = str(dose["quantity"]["unit"]["id"]).removeprefix("UCUM:")
    return _stated(
        dose=_number(dose["quantity"]),
        unit="" if unit == "1" else unit,
        times_per_day=float(times) if times else None,
        start=str(dose["interval"]["start"])[:10],
        stop=str(dose["interval"]["end"])[:10],
    )
