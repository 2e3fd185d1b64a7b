"""A case to a GA4GH Phenopacket v2 and back; its protocol buffers judge what is written."""

import datetime as dt

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from phenopackets.schema.v2 import Phenopacket

from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.encode import decode_case, find_lost, list_facts, render_case
from miliary.exchange.phenopacket.packet import encode_phenopacket
from miliary.exchange.phenopacket.read_packet import decode_phenopacket
from miliary.exchange.phenopacket.required import find_missing
from validation.sound_cases import make_sound_cases

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def example(root):
    return read_case(root / "examples" / "index-case")


def encode(case):
    return encode_phenopacket(case, created=NOW, version="1.2")


def through_schema(packet):
    return MessageToDict(ParseDict(packet, Phenopacket()))


def case_of(**facts):
    return decode_case({"id": "p", **facts}, name="case")


def test_the_worked_example_fits_the_schema_and_what_it_loses_is_named(example):
    packet, lost = encode(example)
    again, left = decode_phenopacket(through_schema(packet), name="p")
    assert find_lost(example, again) == lost
    assert find_lost(again, example) == ()
    assert left == ()
    assert {"claims", "report", "lesions", "staging.nodes"} <= set(lost)
    assert not any(
        path.startswith(("labs", "symptoms", "history", "patient.age", "patient.sex")) for path in lost
    )


@pytest.mark.parametrize("batch", range(4))
def test_random_cases_fit_and_nothing_is_lost_unnamed_or_added(batch):
    for case in make_sound_cases(48)[batch::4]:
        packet, lost = encode(case)
        assert find_missing(packet) == ()
        again, _ = decode_phenopacket(through_schema(packet), name="p")
        assert find_lost(case, again) == lost
        assert set(list_facts(again)) <= set(list_facts(case))


def test_laboratory_values_keep_value_unit_range_and_time():
    lab = {
        "id": "a",
        "analyte": "amylase_total",
        "value": 0,
        "unit": "U/L",
        "low": 0,
        "high": 132,
        "when": "day 3",
    }
    case = case_of(labs=[lab])
    packet, lost = encode(case)
    (sent,) = packet["measurements"]
    assert sent["assay"]["id"] == "LOINC:1798-8"
    assert sent["value"]["quantity"]["referenceRange"]["high"] == 132.0
    assert lost == ()
    # Protocol buffers leave zeros out of their JSON; they are zeros all the same.
    again, _ = decode_phenopacket(through_schema(packet), name="p")
    assert again == case


def test_a_value_below_a_limit_is_not_sent_as_that_value():
    case = case_of(labs=[{"id": "a", "analyte": "cea", "value": 0.5, "comparator": "<", "unit": "ng/mL"}])
    packet, lost = encode(case)
    assert "value" not in packet["measurements"][0]
    assert "labs[a].value" in lost


def test_a_dose_without_its_frequency_is_left_out_and_named():
    drug = {
        "id": "d",
        "name": "alectinib",
        "dose": 300,
        "unit": "mg",
        "start": "2021-03-20",
        "stop": "2021-06-20",
    }
    packet, lost = encode(case_of(treatments=[drug]))
    assert "doseIntervals" not in packet["medicalActions"][0]["treatment"]
    assert "treatments[d].dose" in lost
    packet, lost = encode(case_of(treatments=[drug | {"times_per_day": 2}]))
    interval = packet["medicalActions"][0]["treatment"]["doseIntervals"][0]["interval"]
    assert interval == {"start": "2021-03-20T00:00:00Z", "end": "2021-06-20T00:00:00Z"}
    assert lost == ()


def test_symptoms_have_terms_of_the_phenotype_ontology_and_absence_is_said():
    packet, _ = encode(case_of(symptoms={"cough": "present", "fever": "absent"}))
    assert packet["phenotypicFeatures"] == [
        {"type": {"id": "HP:0012735", "label": "cough"}},
        {"type": {"id": "HP:0001945", "label": "fever"}, "excluded": True},
    ]


def test_an_alteration_found_is_interpreted_and_one_not_found_is_a_measurement_only():
    genes = [
        {"gene": "ALK", "result": "positive", "alteration": "fusion"},
        {"gene": "EGFR", "result": "negative"},
    ]
    case = case_of(molecular=[{"id": "m", "assay": "panel", "genes": genes}])
    packet, lost = encode(case)
    (genomic,) = packet["interpretations"][0]["diagnosis"]["genomicInterpretations"]
    assert genomic["variantInterpretation"]["variationDescriptor"]["geneContext"]["symbol"] == "ALK"
    assert len(packet["measurements"]) == 2
    assert lost == ()


def test_a_stage_without_a_word_on_the_primary_states_no_disease():
    packet, lost = encode(case_of(staging={"asserted": [{"id": "s", "tnm": "T4N2M1c"}]}))
    assert "diseases" not in packet
    assert lost == ("staging",)


def test_what_is_simulated_is_never_sent_as_a_fact():
    labs = [
        {"id": "a", "analyte": "cea", "value": 1, "unit": "ng/mL"},
        {"id": "b", "analyte": "cea", "value": 2, "unit": "ng/mL", "origin": "simulated"},
    ]
    packet, lost = encode(case_of(labs=labs, origin="published"))
    assert [m["description"] for m in packet["measurements"]] == ["labs[a]"]
    assert lost == ("labs[b]",)
    case = case_of(labs=labs[:1], origin="simulated")
    packet, lost = encode(case)
    assert {"id": "miliary:origin", "description": "simulated"} in packet["metaData"]["externalReferences"]
    assert (decode_phenopacket(packet, name="p")[0], lost) == (case, ())


FOREIGN = {
    "id": "MRN-4711",
    "subject": {
        "id": "MRN-4711",
        "alternateIds": ["Jane Doe"],
        "dateOfBirth": "1989-02-03T00:00:00Z",
        "sex": "FEMALE",
        "timeAtLastEncounter": {"age": {"iso8601duration": "P32Y6M"}},
    },
    "phenotypicFeatures": [
        {"type": {"id": "HP:0012735", "label": "Cough"}},
        {"type": {"id": "HP:0000365", "label": "Hearing impairment"}},
    ],
    "measurements": [
        {
            "assay": {"id": "LOINC:2039-6", "label": "CEA"},
            "value": {"quantity": {"unit": {"id": "UCUM:ng/mL", "label": "ng/mL"}, "value": 1.6}},
        },
        {"assay": {"id": "LOINC:99999-9", "label": "?"}},
    ],
    "interpretations": [
        {
            "id": "i",
            "diagnosis": {
                "disease": {"id": "MONDO:0008903", "label": "lung cancer"},
                "genomicInterpretations": [
                    {
                        "subjectOrBiosampleId": "s",
                        "interpretationStatus": "CAUSATIVE",
                        "gene": {"valueId": "HGNC:427", "symbol": "ALK"},
                    },
                    {"subjectOrBiosampleId": "s", "gene": {"valueId": "HGNC:3236", "symbol": "EGFR"}},
                ],
            },
        }
    ],
    "diseases": [{"term": {"id": "NCIT:C3512", "label": "Lung Adenocarcinoma"}}],
    "files": [{"uri": "file:///home/x"}],
    "metaData": {
        "created": "2024-01-01T00:00:00Z",
        "createdBy": "someone",
        "resources": [
            {"id": "hp", "name": "HPO", "url": "u", "version": "1", "namespacePrefix": "HP", "iriPrefix": "i"}
        ],
        "phenopacketSchemaVersion": "2.0",
    },
}


def test_a_packet_of_another_program_is_read_as_far_as_it_goes():
    case, left = decode_phenopacket(FOREIGN, name="f")
    assert case.id == "imported-case"
    assert case.patient.age_years == 32.5
    assert [(lab.analyte, lab.value, lab.unit) for lab in case.labs] == [("cea", 1.6, "ng/mL")]
    assert [(g.gene, g.result.value) for g in case.molecular[0].genes] == [("ALK", "positive")]
    assert case.staging.primary.value == "present"
    assert left == (
        "subject: may identify a person, not taken: alternateIds, dateOfBirth",
        "phenotypicFeatures: HP:0000365 is no word of a case; not taken",
        "measurements: LOINC:99999-9 is no analyte of a case; not taken",
        "interpretations: i: one is not said to be found; not taken",
        "files: not taken",
    )
    for private in ("4711", "Jane", "1989", "home"):
        assert private not in render_case(case) + " ".join(left)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"id": ""}, "id"),
        ({"metaData": None}, "metaData"),
        (
            {"metaData": {"created": "x", "createdBy": "y", "resources": [{}]}},
            "metaData.phenopacketSchemaVersion",
        ),
        ({"phenotypicFeatures": [{}]}, r"phenotypicFeatures\[1\].type"),
        ({"measurements": [{"assay": {"id": "LOINC:1"}}]}, r"measurements\[1\].assay.label"),
        ({"medicalActions": [{"treatment": {}}]}, r"medicalActions\[1\].treatment.agent"),
    ],
)
def test_a_required_field_that_is_missing_is_named(change, missing):
    with pytest.raises(CaseError, match=rf"f\.json: {missing} is required"):
        decode_phenopacket(FOREIGN | change, name="f.json")
