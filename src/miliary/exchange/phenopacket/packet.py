"""A case as a GA4GH Phenopacket v2, as plain JSON values.

A phenopacket holds less than a case: `encode_phenopacket` names what it leaves out. Words of the case that
have no term in a public ontology are written under the prefix ``miliary``, declared in the packet.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from miliary.exchange.case.encode import encode_case, find_lost
from miliary.exchange.codes import ANALYTE_LOINC, FINDING_HPO, SMOKING_SNOMED, SYMPTOM_HPO
from miliary.exchange.phenopacket.read_packet import decode_phenopacket
from miliary.exchange.phenopacket.required import SCHEMA_VERSION
from miliary.model.case import Case

MAKER = "miliary"
PREFIX = "miliary"
SEXES = {"female": "FEMALE", "male": "MALE", "other": "OTHER_SEX"}
STATUSES = {"alive": "ALIVE", "dead": "DECEASED"}
SIDES = {"left": ("HP:0012835", "Left"), "right": ("HP:0012834", "Right")}
LUNG_CANCER = {"id": "MONDO:0008903", "label": "lung cancer"}
PATIENT_LOINC = {
    "smoking": ("LOINC:72166-2", "tobacco smoking status", ""),
    "ecog": ("LOINC:89247-1", "ECOG performance status", "{score}"),
    "weight_kg": ("LOINC:29463-7", "body weight", "kg"),
    "height_cm": ("LOINC:8302-2", "body height", "cm"),
    "pack_years": ("miliary:pack_years", "pack-years", "{PackYears}"),
}
_ONTOLOGIES = (
    ("hp", "Human Phenotype Ontology", "http://purl.obolibrary.org/obo/hp.owl", "HP", "http://purl.obolibrary.org/obo/HP_"),
    ("loinc", "LOINC", "https://loinc.org", "LOINC", "https://loinc.org/"),
    ("snomed", "SNOMED CT", "http://snomed.info/sct", "SNOMED", "http://snomed.info/id/"),
    ("ucum", "Unified Code for Units of Measure", "https://ucum.org", "UCUM", "https://ucum.org/"),
    ("mondo", "Mondo Disease Ontology", "http://purl.obolibrary.org/obo/mondo.owl", "MONDO", "http://purl.obolibrary.org/obo/MONDO_"),
    ("uberon", "Uberon", "http://purl.obolibrary.org/obo/uberon.owl", "UBERON", "http://purl.obolibrary.org/obo/UBERON_"),
    ("miliary", "Words of miliary cases", "urn:miliary", PREFIX, "urn:miliary:"),
)  # fmt: skip


def encode_phenopacket(
    case: Case, *, created: dt.datetime, version: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A case as a phenopacket, and the paths of what it does not hold.

    Parameters
    ----------
    case : Case
    created : datetime
        When the packet is made; no date of the patient.
    version : str
        Version of this program.

    Returns
    -------
    tuple of dict and tuple of str
    """
    facts = _without_simulated(encode_case(case))
    packet = {
        "id": facts["id"],
        "subject": _subject(facts),
        "phenotypicFeatures": [*_features(facts), *_adverse_events(facts)],
        "measurements": list(_measurements(facts)),
        "biosamples": list(_biosamples(facts)),
        "interpretations": list(_interpretations(facts)),
        "diseases": list(_diseases(facts)),
        "medicalActions": list(_actions(facts)),
        "metaData": _meta_data(facts, created, version),
    }
    packet = {name: value for name, value in packet.items() if value}
    read, _ = decode_phenopacket(packet, name="phenopacket")
    return packet, find_lost(case, read)


def _without_simulated(facts: dict[str, Any]) -> dict[str, Any]:
    """Without items marked as simulated in a case that is not: the format could not mark them."""
    if facts.get("origin") == "simulated":
        return facts
    return {name: _drop_simulated(value) for name, value in facts.items()}


def _drop_simulated(value: Any) -> Any:
    if isinstance(value, list):
        return [
            _drop_simulated(item)
            for item in value
            if not (isinstance(item, Mapping) and item.get("origin") == "simulated")
        ]
    if isinstance(value, Mapping):
        return {name: _drop_simulated(child) for name, child in value.items()}
    return value


# --- small pieces ---------------------------------------------------------------------------------------


def own_term(word: str, label: str = "") -> dict[str, str]:
    """A term of our own: ``miliary:finding.cavity``."""
    return {"id": f"{PREFIX}:{word}", "label": label or word.rpartition(".")[2].replace("_", " ")}


def _term(code: str | None, prefix: str, word: str) -> dict[str, str]:
    """A public term where there is one, else one of our own."""
    label = word.rpartition(".")[2].replace("_", " ")
    return {"id": f"{prefix}{code}", "label": label} if code else own_term(word)


def _time(value: Any) -> dict[str, Any] | None:
    """A date as a timestamp; days from day 0 and words as terms of our own."""
    if isinstance(value, str) and re.match(r"\d{4}-\d{2}-\d{2}\Z", value):
        return {"timestamp": f"{value}T00:00:00Z"}
    if isinstance(value, str) and re.match(r"day -?\d+\Z", value):
        return {"ontologyClass": own_term(f"time.{value.replace(' ', '_')}", value)}
    if isinstance(value, str):
        return {"ontologyClass": own_term("time.words", value)}
    return None


def _quantity(value: float, unit: str, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    named = {"id": f"UCUM:{unit or '1'}", "label": unit or "1"}
    held: dict[str, Any] = {"unit": named, "value": value}
    if low is not None and high is not None:
        held["referenceRange"] = {"unit": named, "low": low, "high": high}
    return held


def _without_empty(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value not in (None, "", [], {})}


def place_of(section: str, item: str) -> str:
    """How a message says which item of the case it holds."""
    return f"{section}[{item}]"


# --- parts ----------------------------------------------------------------------------------------------


def _subject(facts: Mapping[str, Any]) -> dict[str, Any]:
    held = facts.get("patient", {})
    age, status = held.get("age_years"), facts.get("follow_up", {}).get("status")
    return _without_empty(
        {
            "id": facts["id"],
            "sex": SEXES.get(held.get("sex")),
            "timeAtLastEncounter": None if age is None else {"age": {"iso8601duration": _duration(age)}},
            "vitalStatus": {"status": STATUSES[status]} if status in STATUSES else None,
            "taxonomy": {"id": "NCBITaxon:9606", "label": "Homo sapiens"},
        }
    )


def _duration(years: float) -> str:
    """An age as ISO 8601 writes a duration: whole years, or months besides."""
    whole = int(years)
    months = round((years - whole) * 12)
    return f"P{whole}Y" + (f"{months}M" if 0 < months < 12 else "")


def _features(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for section, codes in (("symptoms", SYMPTOM_HPO), ("history", {})):
        for name, state in facts.get(section, {}).items():
            type_ = _term(codes.get(name), "", f"{section}.{name}")
            yield {"type": type_} | ({"excluded": True} if state == "absent" else {})
    for study in facts.get("studies", []):
        for name, state in study.get("findings", {}).items():
            evidence = {
                "evidenceCode": own_term(f"modality.{study.get('modality', 'other')}"),
                "reference": {"id": f"{PREFIX}:{place_of('studies', study['id'])}"},
            }
            feature = {"type": _term(FINDING_HPO.get(name), "", f"findings.{name}"), "evidence": [evidence]}
            when = _time(study.get("when"))
            yield (
                feature
                | ({"excluded": True} if state == "absent" else {})
                | ({"onset": when} if when else {})
            )


def _adverse_events(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for event in facts.get("adverse_events", []):
        evidence = {
            "evidenceCode": own_term("adverse_event"),
            "reference": {"id": f"{PREFIX}:{place_of('adverse_events', event['id'])}"},
        }
        grade = event.get("grade")
        yield _without_empty(
            {
                "type": own_term("adverse_event", event["term"]),
                "severity": grade and own_term(f"ctcae_grade.{grade}", f"CTCAE grade {grade}"),
                "onset": _time(event.get("when")),
                "evidence": [evidence],
            }
        )


def _measurements(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, (code, label, unit) in PATIENT_LOINC.items():
        value = facts.get("patient", {}).get(name)
        if value is not None:
            assay = {"id": code, "label": label}
            if name == "smoking":
                known = SMOKING_SNOMED.get(value)
                word = {"id": f"SNOMED:{known}", "label": value} if known else own_term(f"smoking.{value}")
                yield {"assay": assay, "value": {"ontologyClass": word}}
            else:
                yield {"assay": assay, "value": {"quantity": _quantity(value, unit)}}
    size = facts.get("staging", {}).get("size_mm")
    if size is not None:
        assay = {"id": "LOINC:21889-1", "label": "size of the primary tumor"}
        yield {"assay": assay, "value": {"quantity": _quantity(size, "mm")}}
    yield from (_lab(lab) for lab in facts.get("labs", []))
    yield from (_microbiology(test) for test in facts.get("microbiology", []))
    yield from _on_specimen(facts, "")


def _lab(lab: Mapping[str, Any]) -> dict[str, Any]:
    analyte = lab["analyte"]
    code = ANALYTE_LOINC.get(analyte)
    value: dict[str, Any] | None = None
    if "value" in lab and "comparator" not in lab:
        value = {"quantity": _quantity(lab["value"], lab.get("unit", ""), lab.get("low"), lab.get("high"))}
    elif "change" in lab:
        value = {"ontologyClass": own_term(f"change.{lab['change']}")}
    method = lab.get("method")
    return _without_empty(
        {
            "description": place_of("labs", lab["id"]),
            "assay": {"id": f"LOINC:{code}", "label": analyte}
            if code
            else own_term(f"analyte.{analyte}", analyte),
            "value": value,
            "timeObserved": _time(lab.get("when")),
            "procedure": {"code": own_term("method", method)} if method else None,
        }
    )


def _microbiology(test: Mapping[str, Any]) -> dict[str, Any]:
    result = test.get("result")
    return _without_empty(
        {
            "description": place_of("microbiology", test["id"]),
            "assay": own_term(f"test.{test.get('test', '')}", test.get("test") or "test"),
            "value": {"ontologyClass": own_term(f"result.{result}")} if result else None,
            "timeObserved": _time(test.get("when")),
        }
    )


def _on_specimen(facts: Mapping[str, Any], specimen: str) -> Iterator[dict[str, Any]]:
    """Stains and gene results of one specimen, or of none."""
    for stain in facts.get("immunostains", []):
        if stain.get("specimen", "") == specimen:
            yield from _stain(stain)
    for report in facts.get("molecular", []):
        if report.get("specimen", "") == specimen:
            yield from (_gene(report, gene) for gene in report.get("genes", []))


def _stain(stain: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    clone = stain.get("clone")
    shared = {
        "description": place_of("immunostains", stain["id"]),
        "assay": own_term("immunostain", stain.get("target") or "stain"),
        "timeObserved": _time(stain.get("when")),
        "procedure": {"code": own_term("clone", clone)} if clone else None,
    }
    result, tps = stain.get("result"), stain.get("tps_percent")
    if result or tps is None:
        value = {"ontologyClass": own_term(f"result.{result}")} if result else None
        yield _without_empty(shared | {"value": value})
    if tps is not None:
        typed = {"type": own_term("tps_percent", "tumor proportion score"), "quantity": _quantity(tps, "%")}
        yield _without_empty(shared | {"complexValue": {"typedQuantities": [typed]}})


def _gene(report: Mapping[str, Any], gene: Mapping[str, Any]) -> dict[str, Any]:
    result, assay = gene.get("result"), report.get("assay")
    return _without_empty(
        {
            "description": place_of("molecular", report["id"]),
            "assay": own_term("gene", gene["gene"]),
            "value": {"ontologyClass": own_term(f"result.{result}")} if result else None,
            "timeObserved": _time(report.get("when")),
            "procedure": {"code": own_term("assay", assay)} if assay else None,
        }
    )


def _biosamples(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for specimen in facts.get("specimens", []):
        site, histology, procedure = (specimen.get(name) for name in ("site", "histology", "procedure"))
        yield _without_empty(
            {
                "id": specimen["id"],
                "individualId": facts["id"],
                "sampledTissue": site and own_term("site", site),
                "histologicalDiagnosis": histology and own_term("histology", histology),
                "procedure": procedure and {"code": own_term("procedure", procedure)},
                "timeOfCollection": _time(specimen.get("when")),
                "measurements": list(_on_specimen(facts, specimen["id"])),
            }
        )


def _interpretations(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Alterations found; genes without one are measurements only."""
    for report in facts.get("molecular", []):
        found = [gene for gene in report.get("genes", []) if gene.get("result") == "positive"]
        if found:
            subject = report.get("specimen") or facts["id"]
            genomic = [_genomic(gene, subject, report["id"]) for gene in found]
            yield {
                "id": report["id"],
                "progressStatus": "COMPLETED",
                "diagnosis": {"disease": LUNG_CANCER, "genomicInterpretations": genomic},
            }


def _genomic(gene: Mapping[str, Any], subject: str, report: str) -> dict[str, Any]:
    symbol = gene["gene"]
    descriptor = {
        "id": f"{place_of('molecular', report)}.{symbol}",
        "label": gene.get("alteration", ""),
        "geneContext": {"valueId": f"{PREFIX}:gene.{symbol}", "symbol": symbol},
    }
    return {
        "subjectOrBiosampleId": subject,
        "interpretationStatus": "CONTRIBUTORY",
        "variantInterpretation": {"variationDescriptor": _without_empty(descriptor)},
    }


def _diseases(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    staging = facts.get("staging", {})
    # Without a word on the primary, a disease with its stage would say more than the case does.
    if staging.get("primary") in ("present", "absent"):
        stage = (staging.get("asserted") or [{}])[0]
        side = SIDES.get(staging.get("side", ""))
        yield _without_empty(
            {
                "term": LUNG_CANCER,
                "excluded": staging["primary"] == "absent" or None,
                "primarySite": {"id": "UBERON:0002048", "label": "lung"},
                "laterality": side and {"id": side[0], "label": side[1]},
                "clinicalTnmFinding": [own_term(f"stage.{stage['id']}", stage["tnm"])]
                if stage.get("tnm")
                else [],
                "diseaseStage": [own_term(f"stage.{stage['id']}", stage["group"])]
                if stage.get("group")
                else [],
            }
        )
    for item in staging.get("metastases", []):
        disease = {"term": own_term(f"metastasis.{item['id']}", item["site"])}
        yield disease | ({"excluded": True} if item.get("presence") == "absent" else {})


def _actions(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in facts.get("treatments", []):
        if item.get("kind", "drug") != "drug":
            yield {"procedure": {"code": own_term(f"{item['kind']}.{item['id']}", item["name"])}}
            continue
        route, reason = item.get("route"), item.get("stop_reason")
        treatment = {
            "agent": own_term(f"drug.{item['id']}", item["name"]),
            "routeOfAdministration": route and own_term("route", route),
            "doseIntervals": _doses(item),
        }
        yield _without_empty(
            {
                "treatment": _without_empty(treatment),
                "treatmentTerminationReason": reason and own_term("stop_reason", reason),
            }
        )


def _doses(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A dose needs its frequency, its first and its last day: without one of them there is no dose here."""
    start, stop = (_time(item.get(name)) for name in ("start", "stop"))
    times = item.get("times_per_day")
    if "dose" not in item or times is None or not start or not stop:
        return []
    if "timestamp" not in start or "timestamp" not in stop:
        return []
    return [
        {
            "quantity": _quantity(item["dose"], item.get("unit", "")),
            "scheduleFrequency": own_term(f"times_per_day.{times:g}", f"{times:g} per day"),
            "interval": {"start": start["timestamp"], "end": stop["timestamp"]},
        }
    ]


def _meta_data(facts: Mapping[str, Any], created: dt.datetime, version: str) -> dict[str, Any]:
    resources = [
        {
            "id": id_,
            "name": name,
            "url": url,
            "version": "not stated",
            "namespacePrefix": prefix,
            "iriPrefix": iri,
        }
        for id_, name, url, prefix, iri in _ONTOLOGIES
    ]
    references = [
        {"id": f"{PREFIX}:source.{number}", "description": text}
        for number, text in enumerate(facts.get("sources", []), start=1)
    ]
    if "origin" in facts:
        references.append({"id": f"{PREFIX}:origin", "description": facts["origin"]})
    stamp = created.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _without_empty(
        {
            "created": stamp,
            "createdBy": f"{MAKER} {version}",
            "resources": resources,
            "phenopacketSchemaVersion": SCHEMA_VERSION,
            "externalReferences": references,
        }
    )
