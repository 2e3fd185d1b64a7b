"""A case to FHIR R4 and back; an R4 model library judges what is written."""

import json

import pytest
from fhirclient.models.bundle import Bundle

from miliary.clinical.registry import assess_case
from miliary.clinical.rulebook import load_rules
from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.encode import find_lost
from miliary.exchange.codes import ANALYTE_LOINC
from miliary.exchange.fhir.bundle import decode_fhir, encode_fhir
from miliary.exchange.fhir.fhir_tables import KINDS, RECORDS
from miliary.model.case import Case, Patient, Study
from miliary.model.saved.scan_summary import LungSummary, NoduleSummary, ScanSummary
from miliary.model.vocabulary import Sex
from validation.sound_cases import make_sound_cases


@pytest.fixture(scope="module")
def example(root):
    return read_case(root / "examples" / "index-case")


def resources(bundle, kind):
    return [e["resource"] for e in bundle["entry"] if e["resource"]["meta"]["tag"][0]["code"] == kind]


def through_json(content):
    return json.loads(json.dumps(content, allow_nan=False))


def test_the_worked_example_is_r4_and_comes_back_whole(example):
    bundle, lost = encode_fhir(example)
    Bundle(through_json(bundle))
    assert lost == ()
    assert decode_fhir(through_json(bundle), name="b") == (example, ())


@pytest.mark.parametrize("batch", range(4))
def test_random_cases_are_r4_and_lose_nothing_but_paths(batch):
    for case in make_sound_cases(48)[batch::4]:
        bundle, lost = encode_fhir(case)
        Bundle(through_json(bundle))
        again, left = decode_fhir(through_json(bundle), name="b")
        assert find_lost(case, again) == lost
        assert find_lost(again, case) == ()
        assert left == ()
        assert all(path.startswith("studies[") and path.endswith(".result") for path in lost)


def test_a_path_on_the_senders_disk_is_not_sent_and_said_so():
    case = Case("p", studies=(Study("ct", result="../secret/ct"),))
    bundle, lost = encode_fhir(case)
    assert lost == ("studies[ct].result",)
    assert "secret" not in json.dumps(bundle)


def test_profiles_of_mcode_are_declared(example):
    bundle, _ = encode_fhir(example)
    declared = {p for e in bundle["entry"] for p in e["resource"]["meta"].get("profile", [])}
    names = {p.rpartition("mcode-")[2] for p in declared}
    assert names >= {
        *("cancer-patient|4.0.0", "primary-cancer-condition|4.0.0", "secondary-cancer-condition|4.0.0"),
        *("tumor|4.0.0", "tumor-size|4.0.0", "human-specimen|4.0.0", "genomics-report|4.0.0"),
        *("genomic-variant|4.0.0", "tumor-marker-test|4.0.0", "ecog-performance-status|4.0.0"),
        *("cancer-related-medication-administration|4.0.0", "tnm-stage-group|4.0.0"),
        "cancer-disease-status|4.0.0",
    }


def test_references_lead_to_resources_of_the_bundle(example):
    bundle, _ = encode_fhir(example)
    known = {entry["fullUrl"] for entry in bundle["entry"]}
    named = set()

    def collect(value):
        if isinstance(value, dict):
            named.update([value["reference"]] if "reference" in value else [])
            for child in value.values():
                collect(child)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    collect(bundle)
    assert named
    assert named <= known
    assert len(known) == len(bundle["entry"])


def test_a_laboratory_value_has_its_code_unit_and_range():
    lab = {"id": "a", "analyte": "amylase_total", "value": 584, "unit": "U/L", "low": 44, "high": 132}
    case = decode_case_of(labs=[lab])
    (sent,) = resources(encode_fhir(case)[0], "labs")
    assert sent["code"]["coding"][0] == {"system": "http://loinc.org", "code": "1798-8"}
    quantity = {"value": 584.0, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}
    assert sent["valueQuantity"] == quantity
    assert sent["referenceRange"][0]["high"]["value"] == 132.0
    spelled = decode_case_of(labs=[lab | {"unit": "IU/L"}])
    (sent,) = resources(encode_fhir(spelled)[0], "labs")
    assert "code" not in sent["valueQuantity"]  # IU/L is no unit of UCUM


def decode_case_of(**facts):
    from miliary.exchange.case.encode import decode_case

    return decode_case({"id": "p", **facts}, name="case")


def test_what_r4_needs_of_a_drug_and_a_case_does_not_state_is_said_to_be_unknown():
    case = decode_case_of(treatments=[{"id": "d", "name": "alectinib", "route": "oral"}])
    bundle, lost = encode_fhir(case)
    Bundle(through_json(bundle))
    (sent,) = resources(bundle, "treatments")
    for part in (sent["effectivePeriod"], sent["dosage"]["dose"]):
        assert part["extension"][0]["valueCode"] == "unknown"
    assert decode_fhir(through_json(bundle), name="b") == (case, ())
    assert lost == ()


def test_codes_of_analytes_are_those_of_the_rules():
    rules = {row.id: row.get("loinc") for row in load_rules("labs", "2026-11").rows("analyte")}
    assert {name: code for name, code in rules.items() if code} == dict(ANALYTE_LOINC)


def test_the_patient_is_named_by_the_pseudonym_alone(example):
    (patient,) = resources(encode_fhir(example)[0], "patient")[:1]
    assert patient["identifier"] == [{"system": "urn:miliary:case", "value": "index-case"}]
    assert set(patient) == {"resourceType", "id", "meta", "identifier", "name", "gender", "address"}
    assert list(patient["name"][0]) == ["_family"]
    assert patient["address"] == [{"country": "JP"}]


def test_what_rules_derived_is_sent_marked_and_not_read_back(example):
    derived = assess_case(example)
    scan = ScanSummary(
        nodules=NoduleSummary(count=1200, total_volume_mm3=9000.5), lungs=LungSummary(right_ml=2000.0)
    )
    bundle, _ = encode_fhir(example, assessments=derived, scans={"ct-baseline": scan})
    Bundle(through_json(bundle))
    groups = [r for r in resources(bundle, "derived") if r["code"]["coding"][0]["code"] == "tnm.group"]
    assert {r["valueString"] for r in groups} == {"IVB"}
    absent = [r for r in resources(bundle, "derived") if "dataAbsentReason" in r]
    assert any(r["code"]["coding"][0]["code"] == "recist.best_response" for r in absent)
    (burden,) = resources(bundle, "burden")
    assert [c["valueQuantity"]["value"] for c in burden["component"]] == [1200, 9000.5, 2000.0]
    again, left = decode_fhir(through_json(bundle), name="b")
    assert again == example
    assert left == (
        f"{len(resources(bundle, 'derived')) + 1} results that were derived from facts: not taken",
    )


def test_what_is_simulated_is_marked_as_test_data():
    lab = {"id": "a", "analyte": "cea", "value": 1, "unit": "ng/mL", "origin": "simulated"}
    bundle, _ = encode_fhir(decode_case_of(labs=[lab, lab | {"id": "b", "origin": "recorded"}]))
    marked = [r["meta"].get("security", [{}])[0].get("code") for r in resources(bundle, "labs")]
    assert marked == ["HTEST", None]
    assert "HTEST" not in json.dumps(bundle["meta"])
    assert "HTEST" in json.dumps(encode_fhir(decode_case_of(origin="simulated"))[0]["meta"])


FOREIGN = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "fullUrl": "urn:uuid:1",
            "resource": {
                "resourceType": "Patient",
                "id": "mrn-4711",
                "identifier": [{"system": "urn:hospital", "value": "4711"}],
                "name": [{"family": "Doe", "given": ["Jane"]}],
                "birthDate": "1989-02-03",
                "gender": "female",
            },
        },
        {
            "resource": {
                "resourceType": "Observation",
                "id": "cea",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "2039-6"}]},
                "valueQuantity": {"value": 1.6, "unit": "nanogram", "code": "ng/mL"},
                "effectiveDateTime": "2021-03-09T08:00:00Z",
                "performer": [{"display": "Dr. Who"}],
            }
        },
        {
            "resource": {
                "resourceType": "Observation",
                "id": "cough",
                "status": "final",
                "code": {"coding": [{"system": "http://snomed.info/sct", "code": "49727002"}]},
                "valueCodeableConcept": {
                    "coding": [{"system": "http://snomed.info/sct", "code": "52101004"}]
                },
            }
        },
        {
            "resource": {
                "resourceType": "MedicationAdministration",
                "id": "drug",
                "status": "completed",
                "medicationCodeableConcept": {"text": "alectinib"},
                "effectivePeriod": {"start": "2021-03-20", "end": "2021-06-20"},
                "dosage": {"dose": {"value": 300, "unit": "mg"}},
            }
        },
        {"resource": {"resourceType": "Encounter", "id": "e", "status": "finished"}},
        {"resource": {"resourceType": "Observation", "id": "x", "status": "final", "code": {"text": "odd"}}},
    ],
}


def test_a_bundle_of_another_program_is_read_as_far_as_it_goes():
    case, left = decode_fhir(FOREIGN, name="f")
    assert case.id == "imported-case"
    assert case.patient == Patient(sex=Sex.FEMALE)
    (lab,) = case.labs
    assert (lab.analyte, lab.value, lab.unit, str(lab.when)) == ("cea", 1.6, "ng/mL", "2021-03-09")
    assert str(case.treatments[0].start) == "2021-03-20"
    (drug,) = case.treatments
    assert (drug.name, drug.dose, drug.unit, str(drug.stop)) == ("alectinib", 300.0, "mg", "2021-06-20")
    assert [str(s) for s in case.symptoms] == ["cough"]
    assert set(left) == {
        "entry 1, Patient: may identify a person, not taken: birthDate, name",
        "entry 2, Observation: not taken: performer",
        "entry 5, Encounter: not taken",
        "entry 6, Observation: not taken (odd)",
    }


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("266919005", "Never smoked tobacco", "never"),
        ("8517006", "Ex-smoker", "former"),
        ("77176002", "Smoker", None),
        ("449868002", "Smokes every day", None),
    ],
)
def test_a_foreign_smoking_status_is_taken_only_where_its_code_is_clear(code, text, expected):
    coding = [{"system": "http://snomed.info/sct", "code": code}]
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "72166-2"}]},
        "valueCodeableConcept": {"coding": coding, "text": text},
    }
    bundle = FOREIGN | {"entry": [FOREIGN["entry"][0], {"resource": observation}]}
    case, left = decode_fhir(bundle, name="f")
    assert (case.patient.smoking and case.patient.smoking.value) == expected
    assert len(left) == (1 if expected else 2)


def test_nothing_that_identifies_a_person_gets_into_the_case():
    from miliary.exchange.case.encode import render_case

    case, left = decode_fhir(FOREIGN, name="f")
    for private in ("Doe", "Jane", "1989", "4711", "Who"):
        assert private not in render_case(case)
        assert private not in " ".join(left)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"resourceType": "Patient"}, "is no FHIR bundle"),
        ({"resourceType": "Bundle", "entry": []}, "holds 0 patients"),
        ({"resourceType": "Bundle", "entry": [{}]}, "entry 1 holds no resource"),
        (
            {
                "resourceType": "Bundle",
                "entry": [FOREIGN["entry"][0], {"resource": {"resourceType": "Patient"}}],
            },
            "2 p",
        ),
    ],
)
def test_what_is_no_bundle_of_one_patient_is_refused(content, message):
    with pytest.raises(CaseError, match=message):
        decode_fhir(content, name="f.json")


def test_every_part_has_a_record_and_homes_that_exist():
    from dataclasses import fields

    for kind in KINDS:
        names = {spec.name for spec in fields(RECORDS[kind.section])}
        assert set(kind.homes) <= names, kind.section
        assert set(kind.references) <= names, kind.section
