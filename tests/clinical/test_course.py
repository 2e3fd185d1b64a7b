"""Burden and laboratory values on one axis of time."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from miliary.clinical.labs.course import assess_course, correlate_ranks
from miliary.clinical.registry import assess_case
from miliary.model.assessment import Verdict
from miliary.model.saved.codec import from_json
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.vocabulary import Origin
from tests.clinical.cases import make_case

DAYS = (-5, 60, 120, 180)


def scan(volume, origin="measured"):
    sides = {"right": {"count": 5}, "left": {"count": 5}}
    sizes = {"n": 10, "median": 2.0, "p10": 1.0, "p90": 3.0}
    nodules = {"count": 10, "total_volume_mm3": volume, "by_side": sides, "diameter_mm": sizes}
    content = {"origin": origin, "nodules": nodules}
    return from_json(ScanSummary, content, name="scan.json").value


def course(n, *, labs=None, shift=0, **facts):
    studies = [
        {"id": f"s{k}", "modality": "ct", "when": f"day {DAYS[k]}", "result": f"r{k}"} for k in range(n)
    ]
    labs = labs or [
        {
            "id": f"c{k}",
            "analyte": "cea",
            "value": 40 - 9 * k,
            "unit": "ng/mL",
            "when": f"day {DAYS[k] + shift}",
        }
        for k in range(n)
    ]
    drugs = [{"id": "t", "name": "alectinib", "start": "day 0"}]
    return make_case({"studies": studies, "labs": labs, "treatments": drugs, **facts})


def scans(n, **kwargs):
    return {f"s{k}": scan(9000.0 / (k + 1), **kwargs) for k in range(n)}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_under_four_pairs_nothing_is_claimed(n):
    (found,) = assess_course(course(n), scans(n))
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.value is None
    assert "no correlation is claimed" in found.statement
    assert found.reason == f"{n} pair{'s' if n > 1 else ''}; 4 are needed"
    assert len(found.values) == n
    assert found.values[0] == "day -5: 9000 mm3, CEA 40 ng/mL"


def test_from_four_pairs_on_the_ranks_are_correlated_without_naming_a_cause():
    (found,) = assess_course(course(4), scans(4))
    assert found.verdict is Verdict.MET
    assert found.value == 1.0
    assert "which shows no cause" in found.statement
    assert found.origin is Origin.MEASURED


def test_what_never_changes_correlates_with_nothing():
    labs = [
        {"id": f"c{k}", "analyte": "cea", "value": 3, "unit": "ng/mL", "when": f"day {DAYS[k]}"}
        for k in range(4)
    ]
    (found,) = assess_course(course(4, labs=labs), scans(4))
    assert (found.verdict, found.reason) == (Verdict.NOT_ASSESSABLE, "one of the two never changes")


@pytest.mark.parametrize(("shift", "n"), [(14, 1), (15, 0), (-14, 1), (-15, 0)])
def test_a_value_belongs_to_a_scan_within_two_weeks(shift, n):
    assert len(assess_course(course(2, shift=shift), scans(2))) == n


def test_the_nearest_value_stands_beside_a_scan_in_the_unit_of_the_analyte():
    labs = [
        {"id": "far", "analyte": "cea", "value": 99, "unit": "ng/mL", "when": "day -10"},
        {"id": "near", "analyte": "cea", "value": 7, "unit": "ug/L", "when": "day -4"},
        {"id": "limit", "analyte": "cea", "value": 1, "comparator": "<", "unit": "ng/mL", "when": "day -5"},
    ]
    (found,) = assess_course(course(1, labs=labs), scans(1))
    assert found.values == ("day -5: 9000 mm3, CEA 7 ng/mL",)


def test_what_is_simulated_stays_so():
    (found,) = assess_course(course(1), scans(1, origin="simulated"))
    assert found.origin is Origin.SIMULATED


def test_other_analytes_and_scans_without_a_time_stand_beside_nothing():
    alt = [{"id": "a", "analyte": "alt", "value": 30, "unit": "U/L", "when": "day -5"}]
    assert assess_course(course(1, labs=alt), scans(1)) == ()
    bare = make_case(
        {
            "studies": [{"id": "s0", "modality": "ct"}],
            "labs": [{"analyte": "cea", "value": 1, "unit": "ng/mL"}],
        }
    )
    assert assess_course(bare, scans(1)) == ()
    assert assess_course(course(2), {}) == ()


def test_a_run_over_a_case_with_scans_shows_the_axis():
    found = [a for a in assess_case(course(2), scans=scans(2)) if a.rule_id == "course.burden"]
    assert len(found) == 1


@pytest.mark.parametrize("seed", range(20))
def test_ranks_correlate_as_elsewhere(seed):
    values = np.random.default_rng(seed).integers(0, 6, size=(8, 2)).astype(float)
    expected = spearmanr(values[:, 0], values[:, 1]).statistic
    assert correlate_ranks([tuple(row) for row in values]) == pytest.approx(expected)
