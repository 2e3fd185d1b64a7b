"""A case as a FHIR R4 bundle shaped on mCODE STU4, and back.

Profiles are declared where mCODE has one; conformance to FHIR R4 itself is what the tests check. The patient
is named by the case's pseudonym and by nothing else. Reading never takes names, addresses, birth dates or
identifiers of another system, and says which elements and resources it left.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miliary.errors import CaseError
from miliary.exchange.case.encode import decode_case, encode_case, find_lost
from miliary.exchange.codes import (
    ANALYTE_LOINC,
    DCM,
    LOINC,
    OWN,
    PDL1_LOINC,
    PRESENCE_SNOMED,
    SNOMED,
    SYMPTOM_SNOMED,
    TUMOR_MARKERS,
    UCUM,
)
from miliary.exchange.fhir.fhir_fields import (
    ABSENT_URL,
    get,
    make_concept,
    put,
    read_concept,
    read_field,
    write_field,
)
from miliary.exchange.fhir.fhir_tables import (
    CASE_SYSTEM,
    ID_SYSTEM,
    KIND_SYSTEM,
    KINDS,
    MCODE,
    MCODE_VERSION,
    PATIENT_OBSERVATIONS,
    RECORDS,
    Kind,
    code_of,
    own_code,
)
from miliary.model.assessment import Assessment, Verdict
from miliary.model.case import Case
from miliary.model.saved.scan_summary import NoduleSummary, ScanSummary
from miliary.model.vocabulary import UNITS, Origin, Smoking

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # that of URLs, as RFC 4122 gives it
_NEVER_SENT = {"studies": ("result",)}  # a path on the sender's disk
_CASE_FIELDS = ("title", "origin", "sources", "day_zero")
_SHIFTED = {"system": DCM, "code": "113107"}
_PSEUDONYM = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
_TEST_DATA = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
_ALIASES = ("IU/L", "IU/mL")  # read, but not units of UCUM
_SENT_RESULTS = ("tnm.", "recist.", "irecist.", "ctcae.", "definition.")


@dataclass
class _Sender:
    """Makes resources of one patient that know each other's addresses."""

    case_id: str
    entries: list[dict[str, Any]] = field(default_factory=list)

    def address(self, section: str, item: str) -> str:
        """The same for the same item of the same case, whenever it is sent."""
        return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{OWN}/{self.case_id}/{section}/{item}')}"

    def add(self, resource: dict[str, Any], section: str, item: str) -> str:
        """Give a resource its address and take it into the bundle."""
        address = self.address(section, item)
        resource["id"] = address.removeprefix("urn:uuid:")
        self.entries.append({"fullUrl": address, "resource": resource})
        return address


def encode_fhir(
    case: Case,
    *,
    assessments: Sequence[Assessment] = (),
    scans: Mapping[str, ScanSummary] | None = None,
    dates_shifted: bool = False,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A case as a bundle, and the paths of what it does not hold.

    Parameters
    ----------
    case : Case
    assessments : sequence of Assessment, optional
        Stage, response and grades among them are sent as derived observations.
    scans : mapping of str to ScanSummary, optional
        What was measured on studies, by study id: the burden is sent with them.
    dates_shifted : bool
        Mark the bundle so.

    Returns
    -------
    tuple of dict and tuple of str
    """
    sender = _Sender(case.id)
    facts = encode_case(case)
    _send_patient(facts, sender)
    for kind in KINDS:
        for record, parent in _records(facts, kind):
            _send(kind, record, parent, sender)
    for section in ("symptoms", "history"):
        for name, state in facts.get(section, {}).items():
            _send_presence(section, name, state, "", sender)
    for study in facts.get("studies", []):
        for name, state in study.get("findings", {}).items():
            _send_presence("studies.findings", name, state, study["id"], sender)
    _send_derived(assessments, sender)
    for study_id, scan in (scans or {}).items():
        _send_burden(study_id, scan, sender)
    tags = {"tag": [_SHIFTED]} if dates_shifted else {}
    bundle = {
        "resourceType": "Bundle",
        "meta": {"security": [_PSEUDONYM, *([_TEST_DATA] if case.origin is Origin.SIMULATED else [])]} | tags,
        "type": "collection",
        "entry": sender.entries,
    }
    read, _ = decode_fhir(bundle, name="bundle")
    return bundle, find_lost(case, read)


# --- writing --------------------------------------------------------------------------------------------


def _records(facts: Mapping[str, Any], kind: Kind) -> Iterator[tuple[dict[str, Any], str]]:
    """Every record of one kind with the id of the record it is nested in."""
    outer, _, inner = kind.section.partition(".")
    if kind.section == "case":
        yield {name: facts[name] for name in _CASE_FIELDS if name in facts}, ""
    elif outer == "treatments":
        is_drug = kind.resource == "MedicationAdministration"
        yield from ((t, "") for t in facts.get(outer, []) if (t.get("kind", "drug") == "drug") is is_drug)
    elif outer in ("staging", "follow_up", "ethics", "report"):
        held = facts.get(outer)
        if held is not None:
            yield from ((item, "") for item in (held.get(inner, []) if inner else [held]))
    elif inner:
        for item in facts.get(outer, []):
            nested = item.get(inner, [])
            yield from ((one, item["id"]) for one in (nested if isinstance(nested, list) else [nested]))
    else:
        yield from ((item, "") for item in facts.get(outer, []))


def _nested_fields(kind: Kind) -> frozenset[str]:
    """Fields of a record that become resources of their own."""
    start = f"{kind.section}."
    names = {other.section.removeprefix(start) for other in KINDS if other.section.startswith(start)}
    return frozenset(names | ({"findings"} if kind.section == "studies" else set()))


def _item_key(kind: Kind, record: Mapping[str, Any], parent: str) -> str:
    own = record.get("id") or record.get("study") or record.get("gene") or kind.section
    return f"{parent}/{own}" if parent else str(own)


def _send(kind: Kind, record: dict[str, Any], parent: str, sender: _Sender) -> None:
    resource = _fill(kind, record, parent, sender)
    key = _item_key(kind, record, parent)
    # A gene that a report names twice, or a second measurement in one study, has an address of its own.
    taken = {entry["fullUrl"] for entry in sender.entries}
    number = 1
    while sender.address(kind.section, key if number == 1 else f"{key}/{number}") in taken:
        number += 1
    sender.add(resource, kind.section, key if number == 1 else f"{key}/{number}")


def _fill(kind: Kind, record: Mapping[str, Any], parent: str, sender: _Sender) -> dict[str, Any]:
    resource = _start(kind, sender)
    if parent:
        put(resource, kind.parent, sender.address(kind.section.partition(".")[0], parent))
    skipped = _nested_fields(kind) | set(_NEVER_SENT.get(kind.section, ()))
    for name, value in record.items():
        if name == "id":
            resource["identifier"] = [{"system": ID_SYSTEM, "value": value}]
        elif name in kind.references:
            path, section = kind.references[name]
            put(resource, path, sender.address(section, value))
        elif name not in skipped:
            home = kind.homes.get(name)
            if home is not None and home.form == "coded":
                put(resource, home.path, home.codes[value])
                put(resource, home.path.replace(".code", ".system"), home.system)
            else:
                write_field(resource, name, value, home)
    _finish(kind, record, resource)
    return resource


def _start(kind: Kind, sender: _Sender) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": kind.resource}
    resource["meta"] = {"tag": [{"system": KIND_SYSTEM, "code": kind.section}]}
    if kind.profile:
        resource["meta"]["profile"] = [f"{MCODE}{kind.profile}|{MCODE_VERSION}"]
    resource |= {name: _copy(value) for name, value in kind.fixed.items()}
    resource[kind.subject] = {"reference": sender.address("patient", "")}
    return resource


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(child) for key, child in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _finish(kind: Kind, record: Mapping[str, Any], resource: dict[str, Any]) -> None:
    """What FHIR asks for and the fields alone do not give."""
    if record.get("origin") == "simulated":
        resource["meta"]["security"] = [_TEST_DATA]
    unit = record.get("unit", "")
    if unit in UNITS and unit not in _ALIASES:
        place = {"labs": "valueQuantity", "treatments": "dosage.dose"}.get(kind.section, "")
        if place and kind.resource != "Procedure":
            put(resource, f"{place}.system", UCUM)
            put(resource, f"{place}.code", unit)
    if kind.section == "labs" and record.get("analyte") in TUMOR_MARKERS:
        resource["meta"]["profile"] = [f"{MCODE}tumor-marker-test|{MCODE_VERSION}"]
    if kind.section == "immunostains" and record.get("target") == "PD-L1":
        code = PDL1_LOINC.get(record.get("clone", ""))
        resource["code"]["coding"] += [{"system": LOINC, "code": code}] if code else []
    if kind.section == "staging.metastases" and record.get("presence") == "absent":
        system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
        resource["verificationStatus"] = code_of(system, "refuted", "refuted")
    if kind.section == "ethics" and "consent_written" in record:
        resource["status"] = "active" if record["consent_written"] == "present" else "rejected"
    if kind.resource == "MedicationAdministration":
        unknown = {"extension": [{"url": ABSENT_URL, "valueCode": "unknown"}]}
        resource.setdefault("effectivePeriod", unknown)
        if "dosage" in resource:
            resource["dosage"].setdefault("dose", unknown)


def _send_patient(facts: Mapping[str, Any], sender: _Sender) -> None:
    held = facts.get("patient", {})
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "meta": {
            "profile": [f"{MCODE}cancer-patient|{MCODE_VERSION}"],
            "tag": [{"system": KIND_SYSTEM, "code": "patient"}],
        },
        "identifier": [{"system": CASE_SYSTEM, "value": facts["id"]}],
        "name": [{"_family": {"extension": [{"url": ABSENT_URL, "valueCode": "masked"}]}}],
    }
    if "sex" in held:
        patient["gender"] = held["sex"]
    if "region" in held:
        patient["address"] = [{"country": held["region"]}]
    if "ancestry" in held:
        write_field(patient, "ancestry", held["ancestry"], None)
    sender.add(patient, "patient", "")
    for name, (code, home, unit, profile) in PATIENT_OBSERVATIONS.items():
        if name in held:
            resource = _start(_patient_kind(name, code, profile), sender)
            write_field(resource, name, held[name], home)
            if unit:
                resource["valueQuantity"] |= {"unit": unit, "system": UCUM, "code": unit}
            sender.add(resource, "patient", name)


def _patient_kind(name: str, code: Mapping[str, Any], profile: str) -> Kind:
    return Kind(f"patient.{name}", "Observation", name, profile, {"status": "final", "code": code})


def _send_presence(section: str, name: str, state: str, parent: str, sender: _Sender) -> None:
    """A symptom, an item of the history or a finding of a study: present or absent."""
    coding = [{"system": f"{OWN}:{section.rpartition('.')[2]}", "code": name}]
    if section == "symptoms" and name in SYMPTOM_SNOMED:
        coding.append({"system": SNOMED, "code": SYMPTOM_SNOMED[name]})
    code = {"coding": coding, "text": name.replace("_", " ")}
    resource = _start(Kind(section, "Observation", section, "", {"status": "final", "code": code}), sender)
    resource["valueCodeableConcept"] = make_concept(state, SNOMED, PRESENCE_SNOMED)
    if parent:
        resource["derivedFrom"] = [{"reference": sender.address("studies", parent)}]
    sender.add(resource, section, f"{parent}/{name}" if parent else name)


def _send_derived(assessments: Iterable[Assessment], sender: _Sender) -> None:
    """Stage, response and grades that rules derived: marked, and never read back."""
    sent = [a for a in assessments if a.rule_id.startswith(_SENT_RESULTS)]
    for number, assessment in enumerate(sent, start=1):
        code = code_of(f"{OWN}:rule", assessment.rule_id, assessment.title)
        kind = Kind("derived", "Observation", "derived", "", {"status": "final", "code": code})
        resource = _start(kind, sender)
        # A list of parts is sent only with the one result that they make up.
        values = () if assessment.value is None else assessment.values or (assessment.value,)
        if values and assessment.verdict is not Verdict.NOT_ASSESSABLE:
            resource["valueString"] = " or ".join(str(value) for value in values)
        else:
            resource["dataAbsentReason"] = {"text": assessment.reason or assessment.verdict.value}
        resource["note"] = [{"text": assessment.statement}]
        if assessment.edition:
            resource["method"] = {"text": assessment.edition}
        sender.add(resource, "derived", str(number))


def _send_burden(study_id: str, scan: ScanSummary, sender: _Sender) -> None:
    """Number and volume of nodules that a scan measured, with the lungs they lie in."""
    kind = Kind("burden", "Observation", "burden", "", {"status": "final", "code": own_code("nodule-burden")})
    resource = _start(kind, sender)
    resource["derivedFrom"] = [{"reference": sender.address("studies", study_id)}]
    # Marks that cannot be counted are not sent as a count.
    counted = scan.nodules if not scan.doubt else NoduleSummary()
    if scan.doubt:
        resource["dataAbsentReason"] = {"text": scan.doubt}
    for name, value, unit in (
        ("count", counted.count, "1"),
        ("count_per_litre", counted.count_per_litre, "/L"),
        ("total_volume", counted.total_volume_mm3, "mm3"),
        ("total_volume_error", counted.total_volume_mm3_err, "mm3"),
        ("right_lung", scan.lungs.right_ml, "mL"),
        ("left_lung", scan.lungs.left_ml, "mL"),
    ):
        if value is not None:
            quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
            code = code_of(f"{OWN}:burden", name, name.replace("_", " "))
            resource.setdefault("component", []).append({"code": code, "valueQuantity": quantity})
    sender.add(resource, "burden", study_id)


# --- reading --------------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """Collects the facts of a bundle, and what was left in it."""

    resources: dict[str, Mapping[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    n_derived: int = 0

    def leave(self, resource: Mapping[str, Any], what: str) -> None:
        """Name something that is not taken, never its value."""
        number = list({id(r): None for r in self.resources.values()}).index(id(resource)) + 1
        self.left.append(f"entry {number}, {resource['resourceType']}: {what}")


def decode_fhir(bundle: Mapping[str, Any], *, name: str) -> tuple[Case, tuple[str, ...]]:
    """The case in a bundle, and a line for each thing in it that was not taken.

    Parameters
    ----------
    bundle : mapping
        A FHIR R4 Bundle as plain JSON values.
    name : str
        The file, for errors.

    Raises
    ------
    CaseError
        If it is no bundle of one patient, or holds values that no case can.
    """
    reader = _Reader(_index(bundle, name))
    patients = [r for r in reader.resources.values() if r["resourceType"] == "Patient"]
    if len({id(patient) for patient in patients}) != 1:
        n_patients = len({id(patient) for patient in patients})
        raise CaseError(f"{name}: holds {n_patients} patients; give a bundle of one")
    unique = list({id(r): r for r in reader.resources.values()}.values())
    order = [kind.section for kind in KINDS]
    pairs = [(resource, _find_kind(resource)) for resource in unique]
    for resource, section in sorted(pairs, key=lambda p: order.index(p[1]) if p[1] in order else len(order)):
        _take(resource, section, reader)
    if reader.n_derived:
        reader.left.append(f"{reader.n_derived} results that were derived from facts: not taken")
    reader.facts.setdefault("id", "imported-case")
    return decode_case(reader.facts, name=name), tuple(reader.left)


def _index(bundle: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """Resources by every address that may point to them."""
    if bundle.get("resourceType") != "Bundle" or not isinstance(bundle.get("entry"), list):
        raise CaseError(f"{name}: is no FHIR bundle; give a Bundle with its entries")
    found: dict[str, Mapping[str, Any]] = {}
    for number, entry in enumerate(bundle["entry"], start=1):
        resource = entry.get("resource") if isinstance(entry, Mapping) else None
        if not isinstance(resource, Mapping) or "resourceType" not in resource:
            raise CaseError(f"{name}: entry {number} holds no resource")
        found[str(entry.get("fullUrl") or f"entry-{number}")] = resource
        if resource.get("id"):
            found.setdefault(f"{resource['resourceType']}/{resource['id']}", resource)
    return found


def _find_kind(resource: Mapping[str, Any]) -> str:
    """The section a resource belongs to: by our own tag, else by its type, profile and code."""
    for tag in get(resource, "meta.tag") or []:
        if tag.get("system") == KIND_SYSTEM:
            return str(tag.get("code"))
    profiles = " ".join(get(resource, "meta.profile") or [])
    for kind in KINDS:
        if kind.profile and resource["resourceType"] == kind.resource and f"mcode-{kind.profile}" in profiles:
            return kind.section
    by_type = {"Patient": "patient", "Specimen": "specimens", "ImagingStudy": "studies"}
    by_type |= {
        "MedicationAdministration": "treatments",
        "MedicationStatement": "",
        "Procedure": "treatments",
    }
    kind_of = by_type.get(resource["resourceType"], "")
    return _find_observation_kind(resource) if resource["resourceType"] == "Observation" else kind_of


def _find_observation_kind(resource: Mapping[str, Any]) -> str:
    codes = {(c.get("system"), c.get("code")) for c in get(resource, "code.coding") or []}
    for name, (code, *_) in PATIENT_OBSERVATIONS.items():
        if (code["coding"][0]["system"], code["coding"][0]["code"]) in codes:
            return f"patient.{name}"
    if codes & {(SNOMED, code) for code in SYMPTOM_SNOMED.values()}:
        return "symptoms"
    return "labs" if codes & {(LOINC, code) for code in ANALYTE_LOINC.values()} else ""


def _take(resource: Mapping[str, Any], section: str, reader: _Reader) -> None:
    """Take one resource into the facts."""
    kind = next((k for k in KINDS if k.section == section and k.resource == resource["resourceType"]), None)
    if section == "patient":
        _take_patient(resource, reader)
    elif section.startswith("patient."):
        _take_patient_fact(resource, section.removeprefix("patient."), reader)
    elif section in ("symptoms", "history", "studies.findings"):
        _take_presence(resource, section, reader)
    elif section in ("derived", "burden"):
        reader.n_derived += 1
    elif kind is None:
        words = read_concept(resource.get("code")) or "no code"
        reader.leave(
            resource, f"not taken ({words})" if resource["resourceType"] == "Observation" else "not taken"
        )
    else:
        _take_record(resource, kind, reader)


def _take_record(resource: Mapping[str, Any], kind: Kind, reader: _Reader) -> None:
    record = _read_record(resource, kind, reader)
    outer, _, inner = kind.section.partition(".")
    is_list = kind.section not in ("case", "staging", "follow_up", "ethics", "report")
    if kind.parent:
        parent = reader.items.get(str(id(_follow(resource, kind.parent, reader))))
        if parent is None:
            reader.leave(resource, "what it belongs to is missing; not taken")
            return
        if inner == "nodules":
            parent[inner] = record
        else:
            parent.setdefault(inner, []).append(record)
    elif kind.section == "case":
        reader.facts |= record
    elif not is_list:
        reader.facts[outer] = record | reader.facts.get(outer, {})
    else:
        holder = reader.facts.setdefault(outer, {}) if inner else reader.facts
        holder.setdefault(inner or outer, []).append(record)
    if not _is_ours(resource):
        _name_unread(resource, record, kind, reader)


def _read_record(resource: Mapping[str, Any], kind: Kind, reader: _Reader) -> dict[str, Any]:
    record: dict[str, Any] = {}
    fields = [spec.name for spec in dataclasses.fields(RECORDS[kind.section])]
    if "id" in fields and kind.section != "case":
        own = [i for i in resource.get("identifier") or [] if i.get("system") == ID_SYSTEM]
        # An id of another system may be a person's number: ours takes its place.
        record["id"] = (
            own[0]["value"] if own else f"{kind.section.rpartition('.')[2]}-{len(reader.items) + 1}"
        )
    reader.items[str(id(resource))] = record
    for name in fields:
        home = kind.homes.get(name)
        if (
            name == "id"
            or name in _nested_fields(kind)
            or (kind.section == "case" and name not in _CASE_FIELDS)
        ):
            continue
        if name in kind.references:
            target = reader.items.get(str(id(_follow(resource, kind.references[name][0], reader))))
            value = target.get("id") if target else None
        elif home is not None and home.form == "coded":
            by_code = {code: word for word, code in home.codes.items()}
            code = get(resource, home.path)
            value = by_code.get(code, "other") if code is not None else None
        else:
            value = read_field(resource, name, home)
        if value is not None:
            record[name] = value
    unit = get(resource, "valueQuantity.code") if kind.section == "labs" else None
    if unit in UNITS and record.get("unit") not in (*UNITS, *_ALIASES):
        record["unit"] = unit
    return record


def _follow(resource: Mapping[str, Any], path: str, reader: _Reader) -> Mapping[str, Any] | None:
    return reader.resources.get(str(get(resource, path)))


def _is_ours(resource: Mapping[str, Any]) -> bool:
    return any(tag.get("system") == KIND_SYSTEM for tag in get(resource, "meta.tag") or [])


_PLUMBING = frozenset(
    {"resourceType", "id", "meta", "text", "status", "identifier", "category", "subject", "patient"}
)


def _name_unread(resource: Mapping[str, Any], record: Mapping[str, Any], kind: Kind, reader: _Reader) -> None:
    """Elements of a foreign resource from which nothing was taken."""
    again = _fill(kind, record, "", _Sender("x"))
    unread = sorted(
        name for name in resource if name not in _PLUMBING and name not in again and name not in kind.fixed
    )
    if unread:
        reader.leave(resource, f"not taken: {', '.join(unread)}")


def _take_patient(resource: Mapping[str, Any], reader: _Reader) -> None:
    patient = reader.facts.setdefault("patient", {})
    for identifier in resource.get("identifier") or []:
        if identifier.get("system") == CASE_SYSTEM:
            reader.facts["id"] = identifier.get("value")
    gender = resource.get("gender")
    if gender in ("female", "male", "other"):
        patient["sex"] = gender
    country = get(resource, "address[0].country")
    if country:
        patient["region"] = country
    ancestry = read_field(resource, "ancestry", None)
    if ancestry:
        patient["ancestry"] = ancestry
    taken = {"gender", "extension"} | (set() if not _is_ours(resource) else {"name", "address"})
    unread = sorted(set(resource) - _PLUMBING - taken)
    if unread:
        reader.leave(resource, f"may identify a person, not taken: {', '.join(unread)}")


def _take_patient_fact(resource: Mapping[str, Any], name: str, reader: _Reader) -> None:
    known = PATIENT_OBSERVATIONS.get(name)
    value = read_field(resource, name, known[1]) if known else None
    if value is None or known is None or (name == "smoking" and value not in tuple(Smoking)):
        reader.leave(resource, "no value that can be read; not taken")
        return
    unit = get(resource, "valueQuantity.code") or get(resource, "valueQuantity.unit")
    if known[2] and unit not in (None, known[2]):
        reader.leave(resource, f"not in {known[2]}; not taken")
        return
    reader.facts.setdefault("patient", {})[name] = value


def _take_presence(resource: Mapping[str, Any], section: str, reader: _Reader) -> None:
    system = f"{OWN}:{section.rpartition('.')[2]}"
    codings = get(resource, "code.coding") or []
    names = [c["code"] for c in codings if c.get("system") == system]
    by_code = {code: word for word, code in SYMPTOM_SNOMED.items()}
    names += [by_code[c["code"]] for c in codings if c.get("system") == SNOMED and c.get("code") in by_code]
    state = read_concept(resource.get("valueCodeableConcept"), SNOMED, PRESENCE_SNOMED)
    if not names or state not in ("present", "absent"):
        reader.leave(resource, "neither said to be present nor absent; not taken")
        return
    holder = reader.facts
    if section == "studies.findings":
        found = reader.items.get(str(id(_follow(resource, "derivedFrom[0].reference", reader))))
        if found is None:
            reader.leave(resource, "what it belongs to is missing; not taken")
            return
        holder = found
    holder.setdefault(section.rpartition(".")[2], {})[names[0]] = state
