"""What was measured on a scan beside what the case says."""

import json
from dataclasses import replace

import pytest

from miliary.clinical.miliary.bridge import assess_scans, is_in_both_lungs
from miliary.clinical.registry import assess_case
from miliary.clinical.rulebook import load_rules
from miliary.clinical.tnm.staging import derive_m
from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case, read_scans
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import Case, NodulePattern, SeparateNodules, Staging, Study
from miliary.model.saved.codec import from_json, to_json
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.summarize_scan import summarize
from miliary.model.vocabulary import Distribution, Lobe, Origin, Presence, Side


def scan(right, left, *, p90=2.5, origin="measured", **more):
    content = {
        "kind": "miliary.ct",
        "origin": origin,
        "nodules": {
            "by_side": {"right": {"count": right}, "left": {"count": left}},
            "diameter_mm": {"median": 1.8, "p90": p90},
        },
    }
    return from_json(ScanSummary, content | more, name="scan.json").value


def case(*, nodules=None, **staging):
    return Case("x", studies=(Study("ct", nodules=nodules),), staging=Staging(**staging))


def outcomes(facts, measured):
    return {a.rule_id: a for a in assess_scans(facts, {"ct": measured})}


@pytest.mark.parametrize(
    ("right", "left", "both"),
    [(10, 10, True), (9, 10, False), (10, 90, True), (10, 91, False), (0, 500, False)],
)
def test_both_lungs_on_both_sides_of_the_limits(right, left, both):
    book = load_rules("bridge", "1")
    assert is_in_both_lungs(right, left, book=book) is both
    assert is_in_both_lungs(left, right, book=book) is both


def test_nodules_of_the_other_lung_are_a_proposal_and_change_no_stage():
    facts = case(lobe=Lobe.LUL)
    found = outcomes(facts, scan(400, 300))["bridge.proposed_m"]
    assert (found.value, found.severity, found.origin) == ("M1a", Severity.QUERY, Origin.MEASURED)
    assert "400 nodules in the right lung" in found.statement
    assert derive_m(facts.staging, book=load_rules("tnm", "9")).stated == ()
    assert "bridge.proposed_m" not in outcomes(facts, scan(0, 300))


@pytest.mark.parametrize("said", [Presence.PRESENT, Presence.ABSENT])
def test_a_case_that_says_what_they_are_is_not_asked(said):
    facts = case(
        lobe=Lobe.LUL, separate_nodules=(SeparateNodules("s", side=Side.RIGHT, are_metastases=said),)
    )
    assert not outcomes(facts, scan(400, 300))["bridge.proposed_m"].is_raised


def test_without_the_side_of_the_primary_nothing_is_proposed():
    assert outcomes(case(), scan(400, 300))["bridge.proposed_m"].verdict is Verdict.NOT_ASSESSABLE


@pytest.mark.parametrize(
    ("pattern", "measured", "rule", "differs"),
    [
        (NodulePattern(is_bilateral=Presence.ABSENT), scan(400, 300), "bilateral", True),
        (NodulePattern(is_bilateral=Presence.PRESENT), scan(400, 300), "bilateral", False),
        (NodulePattern(is_bilateral=Presence.PRESENT), scan(400, 0), "bilateral", True),
        (NodulePattern(max_diameter_mm=3.0), scan(9, 9, p90=3.9), "max_diameter_mm", False),
        (NodulePattern(max_diameter_mm=3.0), scan(9, 9, p90=4.0), "max_diameter_mm", True),
        (NodulePattern(count=100), scan(100, 99), "count", False),
        (NodulePattern(count=100), scan(100, 100), "count", True),
        (NodulePattern(count=100), scan(0, 0), "count", True),
    ],
)
def test_measured_against_recorded(pattern, measured, rule, differs):
    found = outcomes(case(nodules=pattern), measured)[f"bridge.conflict.{rule}"]
    assert (found.verdict is Verdict.MET, found.severity is Severity.QUERY) == (differs, differs)


def test_what_is_not_recorded_conflicts_with_nothing():
    found = outcomes(case(nodules=NodulePattern()), scan(400, 300))
    assert not any("conflict" in rule for rule in found)


def test_a_simulated_scan_says_so():
    found = outcomes(case(lobe=Lobe.LUL), scan(400, 300, origin="simulated"))
    assert {a.origin for a in found.values()} == {Origin.SIMULATED}


def test_a_result_folder_is_read_from_where_the_case_is(tmp_path, make_result):
    (tmp_path / "ct-0").mkdir()
    (tmp_path / "ct-0" / "scan.json").write_text(json.dumps(to_json(summarize(make_result()))))
    (tmp_path / "case.yaml").write_text("id: x\nstudies: [{id: ct, result: ct-0}]\n")
    facts = read_case(tmp_path)
    found = assess_case(facts, scans=read_scans(facts, tmp_path))
    assert any(a.rule_id == "bridge.measured" and a.value == len(make_result().burden) for a in found)
    lost = replace(facts, studies=(Study("ct", result="elsewhere"),))
    with pytest.raises(CaseError, match=r"studies\[ct\]\.result"):
        read_scans(lost, tmp_path)


def with_lesion(size=19.4, lobe="LUL", side="left", *, is_cavitary=True):
    lesion = {"id": 1, "long_axis_mm": size, "lobe": lobe, "side": side, "is_cavitary": is_cavitary}
    small = {"id": 2, "long_axis_mm": 9.0, "lobe": "RLL", "side": "right", "is_cavitary": False}
    return scan(5, 5, lesions=[small, lesion])


def test_a_lesion_is_proposed_as_the_primary_where_no_size_is_stated():
    found = outcomes(case(lobe=Lobe.LUL), with_lesion())
    assert found["bridge.proposed_size"].value == 19.4
    assert "cavitary lesion of 19.4 mm" in found["bridge.proposed_size"].statement
    assert found["bridge.conflict.lesion_place"].verdict is Verdict.NOT_MET
    assert "bridge.proposed_size" not in outcomes(case(lobe=Lobe.LUL), scan(5, 5))


def test_the_solid_part_of_a_lesion_is_proposed_and_not_the_whole():
    lesion = {"id": 1, "long_axis_mm": 24.0, "lobe": "LUL", "side": "left", "attenuation": "part_solid"}
    found = outcomes(case(lobe=Lobe.LUL), scan(5, 5, lesions=[lesion | {"solid_axis_mm": 11.0}]))
    proposed = found["bridge.proposed_size"]
    assert (proposed.value, proposed.inputs[0].value) == (11.0, 11.0)
    assert proposed.inputs[0].path.endswith("solid_axis_mm")
    assert "24.0 mm" in proposed.statement
    assert "solid part 11.0 mm" in proposed.statement


def test_ground_glass_alone_proposes_no_size():
    lesion = {
        "id": 1,
        "long_axis_mm": 24.0,
        "side": "left",
        "attenuation": "ground_glass",
        "solid_axis_mm": 0.0,
    }
    found = outcomes(case(lobe=Lobe.LUL), scan(5, 5, lesions=[lesion]))["bridge.proposed_size"]
    assert (found.verdict, found.value) == (Verdict.NOT_ASSESSABLE, None)


@pytest.mark.parametrize(("size", "differs"), [(19.4, False), (21.9, False), (22.0, True), (16.0, True)])
def test_the_size_of_the_primary_against_the_measured_one(size, differs):
    found = outcomes(case(lobe=Lobe.LUL, size_mm=19.0), with_lesion(size))["bridge.conflict.lesion_size"]
    assert (found.verdict is Verdict.MET) is differs
    assert found.severity is (Severity.QUERY if differs else Severity.INFO)


@pytest.mark.parametrize(
    ("staging", "lesion", "differs"),
    [
        ({"lobe": Lobe.LUL}, {"lobe": "LLL"}, True),
        ({"lobe": Lobe.LUL}, {"lobe": "not_determined"}, False),
        ({"lobe": Lobe.LUL}, {"lobe": "not_determined", "side": "right"}, True),
        ({"side": Side.LEFT}, {"lobe": "LLL"}, False),
        ({"side": Side.RIGHT}, {"lobe": "LLL"}, True),
    ],
)
def test_the_place_of_the_primary_against_the_measured_one(staging, lesion, differs):
    found = outcomes(case(**staging), with_lesion(**lesion))["bridge.conflict.lesion_place"]
    assert (found.verdict is Verdict.MET) is differs


@pytest.mark.parametrize(
    ("nodules", "measured", "rule", "differs"),
    [
        ({"distribution": Distribution.RANDOM}, {"pattern": {"label": "random"}}, "distribution", False),
        (
            {"distribution": Distribution.RANDOM},
            {"pattern": {"label": "centrilobular"}},
            "distribution",
            True,
        ),
        ({"lung_fraction": 0.8}, {"extent": {"lung_fraction_involved": 0.6}}, "lung_fraction", False),
        ({"lung_fraction": 0.8}, {"extent": {"lung_fraction_involved": 0.5}}, "lung_fraction", True),
    ],
)
def test_the_spread_recorded_against_the_measured_one(nodules, measured, rule, differs):
    facts = case(nodules=NodulePattern(**nodules))
    found = outcomes(facts, scan(400, 300, **measured))[f"bridge.conflict.{rule}"]
    assert (found.verdict is Verdict.MET) is differs


def test_a_pattern_that_could_not_be_told_conflicts_with_nothing():
    facts = case(nodules=NodulePattern(distribution=Distribution.RANDOM))
    measured = scan(400, 300, pattern={"label": "indeterminate"})
    assert "bridge.conflict.distribution" not in outcomes(facts, measured)


def test_the_definitions_met_on_the_scan_are_named():
    rows = [
        {"id": title, "title": title, "verdict": verdict, "statement": "Made up."}
        for title, verdict in (("One", "met"), ("Two", "not_met"))
    ]
    found = outcomes(case(), scan(400, 300, definitions=rows))["bridge.definitions"]
    assert "met: One; not met: Two" in found.statement
