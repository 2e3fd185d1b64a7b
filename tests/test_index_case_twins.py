"""For every finding on the worked example a near twin, changed in that respect, on which it is not raised."""

import datetime as dt
from dataclasses import replace

import pytest

from miliary.clinical.registry import assess_case
from miliary.exchange.case.case_file import read_case
from miliary.model.case import (
    AssertedResponse,
    AssertedStage,
    FollowUp,
    GeneResult,
    Immunostain,
    LabResult,
    Measurement,
    MicrobiologyResult,
    MolecularReport,
    SeparateNodules,
    Study,
    Treatment,
    When,
)
from miliary.model.vocabulary import History, Lobe, Modality, Presence, Result, Smoking, Symptom
from tests.test_index_case import RAISED

PRESENT, ABSENT = Presence.PRESENT, Presence.ABSENT
START = When(date=dt.date(2020, 1, 10))
LATER = When(date=dt.date(2020, 4, 10))


def change(items, item_id, **facts):
    return tuple(replace(item, **facts) if item.id == item_id else item for item in items)


def staged(case, **facts):
    return replace(case, staging=replace(case.staging, **facts))


def asserted(case, **facts):
    stage = AssertedStage("s", tnm="cT4N2M1c", group="IVB", edition="8")
    return staged(case, asserted=(replace(stage, **facts),))


def with_lobe(case):
    more = SeparateNodules("lll", lobe=Lobe.LLL, are_metastases=PRESENT)
    return staged(case, separate_nodules=(*case.staging.separate_nodules, more))


def with_stations(case):
    nodes = change(case.staging.nodes, "mediastinal", station="4L", short_axis_mm=14.0)
    return staged(case, nodes=nodes)


def with_full_dose(case):
    facts = {
        "times_per_day": 2.0,
        "route": "oral",
        "start": START,
        "formulation": "capsule 150 mg",
        "with_food": ABSENT,
    }
    patient = replace(case.patient, weight_kg=50.0)
    return replace(case, patient=patient, treatments=change(case.treatments, "alectinib", **facts))


def with_sizes(case):
    studies = change(
        case.studies,
        "ct-baseline",
        nodules=replace(case.study("ct-baseline").nodules, max_diameter_mm=2.5),
    )
    return replace(case, studies=studies)


def without_claim(*kinds):
    def twin(case):
        return replace(case, claims=tuple(c for c in case.claims if c.kind not in kinds))

    return twin


def with_second_alk_test(case):
    fish = MolecularReport(
        "fish", assay="FISH", specimen="tblb", genes=(GeneResult("ALK", Result.POSITIVE, "rearrangement"),)
    )
    return replace(case, molecular=(*case.molecular, fish))


def with_panel(*genes, **facts):
    def twin(case):
        report = case.molecular[0]
        return replace(case, molecular=(replace(report, genes=(*report.genes, *genes), **facts),))

    return twin


def with_all_genes(case):
    names = ("RET", "NTRK1", "NTRK2", "NTRK3", "MET", "ERBB2", "NRG1")
    genes = tuple(GeneResult(name, Result.NEGATIVE) for name in names)
    return with_panel(*genes, analytes=("dna", "rna"))(case)


def with_specimens_named(case):
    case = with_panel(specimen="tblb")(case)
    return replace(case, immunostains=change(case.immunostains, "pdl1", specimen="tblb"))


def with_specimen_dates(case):
    return replace(case, specimens=tuple(replace(s, when=START) for s in case.specimens))


def with_follow_up_amylase(case):
    facts = {"value": 150.0, "unit": "IU/L", "when": LATER, "low": 44.0, "high": 132.0}
    labs = change(case.labs, "amylase-follow-up", **facts)
    # Limits that fit their units, or the values would be doubted.
    high = {"amylase_total": 132.0, "amylase_pancreatic": 53.0, "cea": 5.0, "cyfra_21_1": 3.5, "progrp": 81.0}
    return replace(case, labs=tuple(replace(lab, low=0.0, high=high[lab.analyte]) for lab in labs))


def with_amylase_work_up(case):
    extra = (
        LabResult("lipase", "lipase", 30.0, "U/L", low=13.0, high=60.0, when=START),
        LabResult("creatinine", "creatinine", 0.6, "mg/dL", low=0.46, high=0.79, when=START),
        LabResult("accr", "amylase_creatinine_clearance_ratio", 3.0, "%", when=START),
    )
    names = (
        "RENAL_FAILURE",
        "PANCREATITIS",
        "SALIVARY_DISEASE",
        "ALCOHOL_EXCESS",
        "BULIMIA",
        "RECENT_SURGERY",
    )
    names = (*names, "DIABETIC_KETOACIDOSIS", "OTHER_AMYLASE_TUMOR")
    history = {**case.history, **{History[name]: ABSENT for name in names}}
    symptoms = {**case.symptoms, Symptom.VOMITING: ABSENT, Symptom.SALIVARY_SWELLING: ABSENT}
    labs = with_follow_up_amylase(case).labs
    labs = change(labs, "amylase-total-0", when=When(date=dt.date(2020, 1, 5)))
    treatments = change(case.treatments, "alectinib", start=START)
    return replace(case, labs=(*labs, *extra), history=history, symptoms=symptoms, treatments=treatments)


def with_lab(item_id, **facts):
    def twin(case):
        return replace(case, labs=change(case.labs, item_id, **facts))

    return twin


def with_amylase_stain(case):
    stain = Immunostain("amy", target="amylase", specimen="tblb", result=Result.POSITIVE)
    return replace(case, immunostains=(*case.immunostains, stain))


def with_tb_work_up(case):
    igra = change(
        case.microbiology,
        "igra",
        test="igra_quantiferon",
        nil_iu_per_ml=0.05,
        tb_minus_nil_iu_per_ml=0.01,
        mitogen_iu_per_ml=9.0,
    )
    more = tuple(
        MicrobiologyResult(test, test=test, material=material, result=Result.NEGATIVE)
        for test, material in (
            ("tb_culture", "bal"),
            ("tb_naat", "bal"),
            ("afb_smear", "bal"),
            ("hiv", "blood"),
        )
    )
    return replace(case, microbiology=(*igra, *more), history={**case.history, History.HIV: ABSENT})


def with_measured_response(case):
    studies = change(case.studies, "ct-follow-up", when=LATER)
    studies = change(studies, "ct-baseline", when=START)
    sizes = (
        Measurement("ct-baseline", longest_mm=19.0),
        Measurement("ct-follow-up", longest_mm=9.0),
    )
    lesions = change(case.lesions, "cavity", role="target", measurements=sizes)
    followed = replace(case, studies=studies, lesions=tuple(le for le in lesions if le.id == "cavity"))
    responses = change(case.responses, "response", category="PR", criteria="recist_1_1")
    status = FollowUp(status="alive", when=LATER)
    return replace(followed, lesions=change(lesions, "cavity"), responses=responses, follow_up=status)


def with_bone_follow_up(case):
    agent = Treatment("agent", name="denosumab", dose=120.0, unit="mg", times_per_day=1.0)
    response = AssertedResponse("bone", text="sclerotic", of="bone", category="SD")
    return replace(case, treatments=(*case.treatments, agent), responses=(*case.responses, response))


def with_rash_described(case):
    facts = {
        "term": "rash maculo-papular",
        "bsa_percent": 15.0,
        "when": LATER,
        "drug_action": "continued",
        "symptomatic": PRESENT,
        "treatment": "oral antihistamine",
    }
    return replace(case, adverse_events=change(case.adverse_events, "rash", **facts))


def with_monitoring(case):
    values = (("alt", 20.0, "U/L"), ("ast", 20.0, "U/L"), ("bilirubin_total", 0.5, "mg/dL"))
    values += (
        ("ck", 100.0, "U/L"),
        ("heart_rate", 70.0, "/min"),
        ("blood_pressure_systolic", 120.0, "mm[Hg]"),
    )
    labs = tuple(LabResult(name, name, value, unit, when=LATER) for name, value, unit in values)
    return replace(
        case, labs=(*case.labs, *labs), treatments=change(case.treatments, "alectinib", start=START)
    )


def with_contraception(case):
    return replace(case, history={**case.history, History.CONTRACEPTION: PRESENT})


def never_smoker(case):
    return replace(case, patient=replace(case.patient, smoking=Smoking.NEVER))


def with_whole_report(case):
    items = dict.fromkeys(case.report.items, PRESENT)
    items |= {"intervention_administration": PRESENT, "follow_up_tests": PRESENT}
    return replace(case, report=replace(case.report, items=items))


def without_conflicts(case):
    return replace(case, ethics=replace(case.ethics, conflicts=()))


def with_bone_scan(case):
    return replace(case, studies=(*case.studies, Study("scan", modality=Modality.BONE_SCAN)))


TWINS = {
    1: asserted,
    2: asserted,
    3: asserted,
    4: with_lobe,
    5: with_stations,
    6: with_full_dose,
    7: with_full_dose,
    9: with_sizes,
    10: without_claim("miliary"),
    14: with_second_alk_test,
    15: with_panel(GeneResult("ALK", Result.POSITIVE, "fusion"), claims_no_other_driver=False),
    16: with_all_genes,
    17: with_specimens_named,
    18: with_specimen_dates,
    19: with_follow_up_amylase,
    20: with_amylase_work_up,
    21: with_lab("amylase-pancreatic-0", value=40.0),
    22: with_amylase_stain,
    25: with_lab("progrp-0", value=40.0),
    26: without_claim("tumor_markers_not_raised"),
    27: with_tb_work_up,
    34: with_measured_response,
    35: with_bone_follow_up,
    36: with_rash_described,
    37: with_monitoring,
    38: with_contraception,
    39: never_smoker,
    40: with_whole_report,
    41: without_claim("bone_before_lung"),
    44: without_conflicts,
    45: with_bone_scan,
}


@pytest.fixture(scope="module")
def example(root):
    return read_case(root / "examples" / "index-case")


def raised(case):
    return {int(a.facts_item[1:]): a.statement for a in assess_case(case) if a.facts_item and a.is_raised}


@pytest.mark.parametrize("item", sorted(RAISED))
def test_a_near_twin_is_not_raised(example, item):
    found = raised(TWINS[item](example))
    assert item not in found, found.get(item)
    # The change is small: most of the rest is still there.
    assert len(found) >= len(RAISED) - 5
