"""Laboratory values of a case; each rule fires on one case and not on its twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from miliary.clinical.labs.lab_ranges import find_range
from miliary.clinical.labs.lab_values import assess, find_fold, split_amylase, weigh_amylase
from miliary.model.assessment import Assessment, Severity, Verdict
from miliary.model.case import (
    Case,
    Claim,
    Immunostain,
    LabResult,
    Patient,
    Specimen,
    Staging,
    Study,
    Treatment,
    When,
)
from miliary.model.vocabulary import Finding, History, Presence, Result, Sex, Symptom

PRESENT, ABSENT = Presence.PRESENT, Presence.ABSENT
DRUG = Treatment(id="t", name="alectinib", start=When(day=0))
JAPAN = Patient(region="JP", sex=Sex.FEMALE, age_years=32)
GLANDS = {Finding.PANCREAS_ABNORMAL: ABSENT, Finding.SALIVARY_GLANDS_ABNORMAL: ABSENT}


def lab(analyte: str, value: float | None, unit: str = "U/L", day: int = -1, **kwargs: Any) -> LabResult:
    return LabResult(
        id=f"{analyte}{day}", analyte=analyte, value=value, unit=unit, when=When(day=day), **kwargs
    )


def amylase_case(**kwargs: Any) -> Case:
    labs = (lab("amylase_total", 584.0, "IU/L"), lab("amylase_pancreatic", 76.0, "IU/L"))
    studies = (Study(id="ct", findings=GLANDS),)
    return Case(
        **{
            "id": "c",
            "patient": JAPAN,
            "labs": labs,
            "studies": studies,
            "treatments": (DRUG,),
            "staging": Staging(primary=PRESENT),
            **kwargs,
        }
    )


def pick(case: Case, rule: str) -> list[Assessment]:
    return [found for found in assess(case) if found.rule_id == rule]


def add(case: Case, *labs: LabResult) -> Case:
    return replace(case, labs=(*case.labs, *labs))


def test_the_part_that_is_not_pancreatic() -> None:
    split = split_amylase(amylase_case())
    assert split is not None
    assert split[2:] == pytest.approx((508.0, 0.86986), abs=1e-4)
    (found,) = pick(amylase_case(), "labs.amylase_split")
    assert "508 U/L" in found.statement
    assert "87.0 %" in found.statement


def test_values_of_different_days_are_not_subtracted() -> None:
    case = amylase_case(labs=(lab("amylase_total", 584.0), lab("amylase_pancreatic", 76.0, day=30)))
    assert split_amylase(case) is None
    assert not pick(case, "labs.amylase_split")


def test_the_printed_facts_leave_the_level_between_possible_and_probable() -> None:
    (found,) = pick(amylase_case(), "labs.amylase_tumor")
    assert found.values == ("possible", "probable")
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert "lipase normal" in found.reason
    assert "falls with response" in found.reason


def test_lipase_and_a_fall_make_it_probable_and_tissue_definite() -> None:
    case = add(amylase_case(), lab("lipase", 30.0, high=60.0), lab("amylase_total", 100.0, day=60))
    (found,) = pick(case, "labs.amylase_tumor")
    assert (found.value, found.verdict) == ("probable", Verdict.MET)
    stain = Immunostain(id="s", target="amylase", result=Result.POSITIVE)
    (proven,) = pick(replace(case, immunostains=(stain,)), "labs.amylase_tumor")
    assert proven.value == "definite"


@pytest.mark.parametrize("twin", ["lipase", "rise", "gland"])
def test_each_item_shown_not_to_be_so_keeps_it_possible(twin: str) -> None:
    case = add(amylase_case(), lab("lipase", 30.0, high=60.0), lab("amylase_total", 100.0, day=60))
    if twin == "lipase":
        case = replace(
            case, labs=tuple(replace(x, value=90.0) if x.analyte == "lipase" else x for x in case.labs)
        )
    elif twin == "rise":
        case = replace(
            case, labs=tuple(replace(x, value=700.0) if x.when.day == 60 else x for x in case.labs)
        )
    else:
        case = replace(
            case, studies=(Study(id="ct", findings={**GLANDS, Finding.PANCREAS_ABNORMAL: PRESENT}),)
        )
    (found,) = pick(case, "labs.amylase_tumor")
    assert found.values == ("possible",)


def test_without_a_tumor_on_record_raised_amylase_is_not_rated() -> None:
    (found,) = pick(amylase_case(staging=Staging()), "labs.amylase_tumor")
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.values == ()
    assert "no tumor" in found.statement
    absent = Specimen(id="s", histology="no evidence of malignancy")
    (denied,) = pick(amylase_case(staging=Staging(), specimens=(absent,)), "labs.amylase_tumor")
    assert "no tumor" in denied.statement


def test_a_normal_amylase_is_no_amylase_tumor() -> None:
    case = amylase_case(labs=(lab("amylase_total", 100.0), lab("amylase_pancreatic", 40.0)))
    assert not pick(case, "labs.amylase_tumor")
    claimed = replace(case, claims=(Claim("k", "amylase_producing_tumor"),))
    assert pick(claimed, "labs.amylase_tumor")[0].verdict is Verdict.NOT_MET


def test_a_pancreatic_share_of_a_third_is_not_called_foreign() -> None:
    case = amylase_case(labs=(lab("amylase_total", 300.0), lab("amylase_pancreatic", 120.0)))
    assert weigh_amylase(case).items["non_pancreatic"] is False
    more = amylase_case(labs=(lab("amylase_total", 300.0), lab("amylase_pancreatic", 105.0)))
    assert weigh_amylase(more).items["non_pancreatic"] is True


def test_measured_salivary_amylase_goes_before_subtraction() -> None:
    for measured in (lab("amylase_salivary", 100.0), lab("amylase_salivary_fraction", 20.0, "%")):
        evidence = weigh_amylase(add(amylase_case(), measured))
        assert evidence.items["non_pancreatic"] is False
        assert not evidence.is_inferred


def test_a_stated_fall_without_a_value_shows_nothing() -> None:
    case = add(amylase_case(), lab("amylase_total", None, day=90, change="decreased"))
    assert weigh_amylase(case).items["falls_with_response"] is None


def test_other_sources_are_asked_for_until_all_are_stated() -> None:
    (found,) = pick(amylase_case(), "labs.amylase_not_excluded")
    assert found.facts_item == "j20"
    assert "lipase" in found.statement
    names = ("renal_failure", "pancreatitis", "salivary_disease", "alcohol_excess", "bulimia")
    names += ("diabetic_ketoacidosis", "other_amylase_tumor", "recent_surgery")
    full = replace(
        add(
            amylase_case(),
            lab("lipase", 30.0, high=60.0),
            lab("amylase_creatinine_clearance_ratio", 2.0, "%"),
            lab("creatinine", 0.6, "mg/dL"),
            lab("amylase_total", 100.0, day=60),
        ),
        history={History(name): ABSENT for name in names},
        symptoms={Symptom.VOMITING: ABSENT, Symptom.SALIVARY_SWELLING: ABSENT},
    )
    assert not pick(full, "labs.amylase_not_excluded")


def test_pancreatic_amylase_above_its_own_limit() -> None:
    (found,) = pick(amylase_case(), "labs.pancreatic_raised")
    assert found.facts_item == "j21"
    assert "1.43 times" in found.statement
    twin = amylase_case(labs=(lab("amylase_total", 584.0), lab("amylase_pancreatic", 53.0)))
    assert not pick(twin, "labs.pancreatic_raised")


def test_tissue_without_a_stain() -> None:
    case = amylase_case(specimens=(Specimen(id="tblb"),))
    assert pick(case, "labs.tissue_untested")[0].facts_item == "j22"
    stain = Immunostain(id="s", target="amylase", result=Result.NEGATIVE)
    assert not pick(replace(case, immunostains=(stain,)), "labs.tissue_untested")
    assert not pick(amylase_case(), "labs.tissue_untested")


def test_the_laboratorys_range_goes_before_the_default_and_its_lack_is_asked_for() -> None:
    own = lab("cea", 4.0, "ng/mL", high=3.0)
    assert find_fold(Case(id="c", patient=JAPAN), own) == pytest.approx(4 / 3)
    bare = lab("cea", 4.0, "ng/mL")
    assert find_fold(Case(id="c", patient=JAPAN), bare) == pytest.approx(0.8)
    assert find_fold(Case(id="c"), bare) is None
    assert pick(Case(id="c", labs=(bare,)), "labs.range_missing")[0].facts_item == "j19"
    assert not pick(Case(id="c", labs=(own,)), "labs.range_missing")


def test_a_default_range_is_given_in_the_values_unit() -> None:
    limits = find_range(Case(id="c", patient=JAPAN), lab("hemoglobin", 120.0, "g/L"))
    assert (limits.low, limits.high) == pytest.approx((116.0, 148.0))
    assert find_range(Case(id="c", patient=JAPAN), lab("ca_19_9", 12.0, "ng/mL")).high is None


def test_a_fold_is_said_above_the_limit_only() -> None:
    assert pick(Case(id="c", labs=(lab("alt", 41.0, high=40.0),)), "labs.fold")[0].value == pytest.approx(
        1.025
    )
    assert not pick(Case(id="c", labs=(lab("alt", 40.0, high=40.0),)), "labs.fold")


def test_progrp_between_two_assays_cutoffs() -> None:
    case = Case(id="c", patient=JAPAN, labs=(lab("progrp", 54.5, "pg/mL"),))
    (found,) = pick(case, "labs.progrp_elisa")
    assert (found.facts_item, found.severity) == ("j25", Severity.NOTE)
    assert not pick(replace(case, labs=(lab("progrp", 46.0, "pg/mL"),)), "labs.progrp_elisa")
    assert not pick(
        replace(case, labs=(lab("progrp", 54.5, "pg/mL", method="ARCHITECT"),)), "labs.progrp_elisa"
    )
    assert pick(replace(case, labs=(lab("progrp", 54.5, "ng/L"),)), "labs.progrp_elisa")


def test_markers_said_to_be_normal_and_not_reported() -> None:
    claim = Claim("k", "tumor_markers_not_raised")
    case = Case(id="c", labs=(lab("cea", 1.6, "ng/mL"),), claims=(claim,))
    assert pick(case, "labs.markers_unreported")[0].facts_item == "j26"
    assert not pick(replace(case, claims=()), "labs.markers_unreported")
    rest = [lab(name, 1.0, "ng/mL") for name in ("scc", "nse")]
    full = add(case, *rest, lab("ca_19_9", 5.0, "U/mL"), lab("ldh", 150.0))
    assert not pick(full, "labs.markers_unreported")


@pytest.mark.parametrize(
    ("analyte", "unit", "is_wrong"),
    [
        ("cea", "U/L", True),
        ("cea", "ug/L", False),
        ("ca_19_9", "ng/mL", True),
        ("ca_19_9", "kU/L", False),
        ("amylase_total", "IU/L", False),
        ("amylase_total", "mg/dL", True),
        ("creatinine", "umol/L", False),
    ],
)
def test_units_that_cannot_be(analyte: str, unit: str, *, is_wrong: bool) -> None:
    assert bool(pick(Case(id="c", labs=(lab(analyte, 5.0, unit),)), "labs.unit")) == is_wrong


def test_a_trend_needs_a_value_on_either_side_of_the_start() -> None:
    labs = (lab("cea", 10.0, "ng/mL"), lab("cea", 4.0, "ug/L", day=30), lab("cea", 5.0, "ng/mL", day=60))
    case = Case(id="c", labs=labs, treatments=(DRUG,))
    (found,) = pick(case, "labs.trend")
    assert found.value == "fallen"
    assert "(-50.0 %)" in found.statement
    assert not pick(replace(case, labs=labs[1:]), "labs.trend")
    assert not pick(replace(case, treatments=()), "labs.trend")
    assert not pick(replace(case, labs=(labs[0], replace(labs[2], comparator="<"))), "labs.trend")


def test_an_empty_case_says_nothing() -> None:
    assert assess(Case(id="c")) == ()
