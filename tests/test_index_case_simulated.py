"""The worked example beside simulated scans: nothing of one can be taken for the other."""

import pytest

from miliary.clinical.registry import assess_case
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.encode import encode_case
from miliary.model.assessment import Verdict
from miliary.model.case import Case
from miliary.model.vocabulary import Origin

SECTIONS = ("studies", "lesions", "specimens", "immunostains", "molecular", "microbiology", "labs")
MORE = ("treatments", "adverse_events", "responses", "claims")


@pytest.fixture(scope="module")
def published(root) -> Case:
    return read_case(root / "examples" / "index-case")


@pytest.fixture(scope="module")
def case(root) -> Case:
    return read_case(root / "examples" / "index-case-simulated")


@pytest.fixture(scope="module")
def found(case):
    return assess_case(case)


def of(found, rule):
    return [a for a in found if a.rule_id == rule]


def items(case):
    listed = [item for name in (*SECTIONS, *MORE) for item in getattr(case, name)]
    staging = case.staging
    return [*listed, *staging.separate_nodules, *staging.nodes, *staging.metastases, *staging.asserted]


def test_the_published_facts_are_there_word_for_word_and_marked(case, published):
    by_id = {item.id: item for item in items(case)}
    for item in items(published):
        assert by_id[item.id] == item
        assert by_id[item.id].origin is Origin.PUBLISHED
    plain, theirs = encode_case(case), encode_case(published)
    for part in ("patient", "symptoms", "history", "sources", "ethics", "report", "day_zero"):
        assert plain[part] == theirs[part]


def test_everything_else_is_marked_as_simulated(case, published):
    known = {item.id for item in items(published)}
    added = [item for item in items(case) if item.id not in known]
    assert added
    assert {item.origin for item in added} == {Origin.SIMULATED}
    assert all(m.origin is Origin.SIMULATED for item in added for m in getattr(item, "measurements", ()))
    assert all(item.id.startswith("simulated-") for item in added)
    assert case.origin is Origin.SIMULATED


def test_what_rests_on_simulated_scans_says_so(found):
    (point,) = of(found, "recist.time_point")
    assert (point.value, point.origin) == ("PR", Origin.SIMULATED)
    assert "-40.0 % against baseline" in point.statement
    (definition,) = of(found, "definition.fleischner_2008")
    assert (definition.verdict, definition.origin) == (Verdict.MET, Origin.SIMULATED)


def test_what_rests_on_published_facts_alone_still_says_so(found):
    (stage,) = [a for a in of(found, "tnm.asserted_category") if a.value == "T4"]
    assert stage.origin is Origin.PUBLISHED
    (dose,) = of(found, "therapy.dose.alectinib")
    assert dose.origin is Origin.PUBLISHED


def test_the_published_example_knows_nothing_of_it(root, published):
    text = (root / "examples" / "index-case" / "case.yaml").read_text("utf-8")
    assert "simulated" not in text
    assert {item.origin for item in items(published)} == {Origin.PUBLISHED}
    by_rule = {a.rule_id: a for a in assess_case(published)}
    assert by_rule["recist.best_response"].verdict is Verdict.NOT_ASSESSABLE
    assert by_rule["definition.fleischner_2008"].verdict is Verdict.NOT_ASSESSABLE


def test_the_simulated_numbers_are_those_of_the_demonstration(case):
    from miliary.image.simulate import DEMO_DAYS, demo_case, demo_pair

    baseline, follow_up = (case.study(name) for name in ("simulated-baseline", "simulated-follow-up"))
    assert follow_up.when.day - baseline.when.day == DEMO_DAYS
    simulated = demo_case()
    assert baseline.nodules.count == simulated["population"].n
    assert (baseline.nodules.min_diameter_mm, baseline.nodules.max_diameter_mm) == simulated[
        "population"
    ].diameter_mm
    first, later = next(le for le in case.lesions if le.id == "simulated-cavity").measurements
    assert first.longest_mm == simulated["lesion"].diameter_mm
    course = demo_pair()["course"]
    assert later.longest_mm == pytest.approx(first.longest_mm * course.lesion_factor)
    assert follow_up.nodules.max_diameter_mm == pytest.approx(
        baseline.nodules.max_diameter_mm * course.volume_factor ** (1 / 3), abs=0.005
    )


def test_a_published_test_result_is_not_called_simulated(found):
    origins = {a.rule_id: a.origin.value for a in found}
    for gene in ("egfr", "alk", "ros1", "kras"):
        assert origins[f"drivers.gene.{gene}"] == "published"
