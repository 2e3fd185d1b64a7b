import dataclasses

import pytest

from miliary.clinical import comparability as rules
from miliary.model.comparison import Category, ComparabilityVerdict, Interval, SeriesFacts

BOOK = rules.load_comparison_rules()
SAME = rules.PairFacts(
    coverage=0.99,
    lung_volume_ratio=1.0,
    slice_thickness_mm=(1.0, 1.0),
    blur_mm=(0.6, 0.6),
    noise_hu=(20.0, 22.0),
    d50_mm=(1.2, 1.2),
    median_diameter_mm=2.0,
)


def judge(**changes):
    return rules.judge_pair(dataclasses.replace(SAME, **changes), BOOK)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "comparable"),
        ({"lung_volume_ratio": 1.149}, "comparable"),
        ({"lung_volume_ratio": 0.871}, "comparable"),
        ({"lung_volume_ratio": 1.16}, "comparable_after_correction"),
        ({"lung_volume_ratio": 0.85}, "comparable_after_correction"),
        ({"slice_thickness_mm": (1.0, 2.5)}, "comparable_after_correction"),
        ({"slice_thickness_mm": (1.0, 1.25)}, "comparable"),
        ({"slice_thickness_mm": (None, 2.5)}, "comparable"),
        ({"blur_mm": (0.6, 0.9)}, "comparable_after_correction"),
        ({"noise_hu": (20.0, 55.0)}, "comparable_after_correction"),
        ({"lung_volume_ratio": 0.6}, "comparable_after_correction"),
        ({"lung_volume_ratio": 0.59}, "not_comparable"),
        ({"lung_volume_ratio": 1.61}, "not_comparable"),
        ({"coverage": 0.79}, "not_comparable"),
        ({"coverage": 0.80}, "comparable"),
        ({"d50_mm": (1.2, 2.1)}, "not_comparable"),
        ({"d50_mm": (2.1, 1.2)}, "not_comparable"),
        ({"d50_mm": (None, None)}, "comparable"),
        ({"median_diameter_mm": None, "d50_mm": (2.1, 1.2)}, "comparable"),
    ],
)
def test_the_gate(changes, verdict):
    found = judge(**changes)
    assert found.verdict == verdict
    assert found.reasons
    assert found.edition == "comparability 1"


def test_a_refusal_names_every_reason_with_its_numbers():
    found = judge(coverage=0.5, lung_volume_ratio=0.5, slice_thickness_mm=(1.0, 5.0))
    text = "; ".join(found.reasons)
    assert all(word in text for word in ("50%", "80%", "0.50", "slice thickness", "5.00"))
    assert found.facts["slice_thickness_ratio"] == 5.0


@pytest.mark.parametrize(
    ("ratio", "category"),
    [
        (Interval(0.2, 0.15, 0.342), Category.DECREASED),
        (Interval(0.3, 0.25, 0.35), Category.INDETERMINATE),
        (Interval(1.0, 0.8, 1.2), Category.STABLE),
        (Interval(1.0, 0.3, 1.2), Category.INDETERMINATE),
        (Interval(2.0, 1.73, 2.4), Category.INCREASED),
        (Interval(1.9, 1.5, 2.4), Category.INDETERMINATE),
        (Interval(None, reason="the baseline shows too little"), Category.INDETERMINATE),
    ],
)
def test_a_category_needs_its_whole_interval(ratio, category):
    found, reason = rules.name_change(ratio, ComparabilityVerdict.COMPARABLE, BOOK)
    assert found is category
    assert reason


def test_no_category_for_scans_that_are_not_comparable():
    found, reason = rules.name_change(Interval(0.1, 0.05, 0.15), ComparabilityVerdict.NOT_COMPARABLE, BOOK)
    assert found is Category.INDETERMINATE
    assert "not comparable" in reason


def test_the_limits_are_those_of_a_sphere():
    assert BOOK.row("decreased")["max_change"] == pytest.approx(0.7**3 - 1, abs=5e-4)
    assert BOOK.row("increased")["min_change"] == pytest.approx(1.2**3 - 1, abs=5e-4)


@pytest.mark.parametrize(
    ("days", "words"), [(None, ""), (0, ""), (28, ""), (29, "more than 28 days"), (-3, "3 days after")]
)
def test_the_time_of_the_baseline(days, words):
    found = rules.judge_baseline(days, BOOK)
    assert (words in found) if words else found == ""


def test_what_is_no_pair():
    assert "in common" in rules.find_impossibility(coverage=0.1, agreement=0.9, book=BOOK)
    assert "same lungs" in rules.find_impossibility(coverage=0.9, agreement=0.02, book=BOOK)
    assert rules.find_impossibility(coverage=0.9, agreement=0.8, book=BOOK) == ""
    assert rules.find_impossibility(coverage=0.9, agreement=None, book=BOOK) == ""


def series(key, thickness, *, coverage=300.0, kernel="B30f", sharp=False, primary=True):
    return SeriesFacts(key, round(coverage / thickness), thickness, coverage, kernel, sharp, primary)


@pytest.mark.parametrize(
    ("baseline", "followup", "chosen"),
    [
        # The thin series has a partner of its own thickness only at 5 mm.
        ([series("#1", 1.0), series("#2", 5.0)], [series("#1", 5.0)], ("#2", "#1")),
        ([series("#1", 5.0), series("#2", 1.0)], [series("#1", 5.0), series("#2", 1.25)], ("#2", "#2")),
        (
            [series("#1", 1.0, sharp=True), series("#2", 1.0)],
            [series("#1", 1.0, sharp=True)],
            ("#1", "#1"),
        ),
        (
            [series("#1", 1.0, sharp=True), series("#2", 1.0)],
            [series("#1", 1.0, sharp=True), series("#2", 1.0)],
            ("#2", "#2"),
        ),
        ([series("#1", 1.0, coverage=60.0), series("#2", 2.5)], [series("#1", 1.0)], ("#2", "#1")),
        ([series("#1", 1.0, primary=False), series("#2", 2.5)], [series("#1", 1.0)], ("#2", "#1")),
    ],
)
def test_the_best_matched_pair_of_series(baseline, followup, chosen):
    i, j, reason = rules.choose_series_pair(baseline, followup)
    assert (baseline[i].key, followup[j].key) == chosen
    assert f"series {chosen[0]}" in reason
    assert "best-matched" in reason


@pytest.mark.parametrize(
    ("before", "after", "response"),
    [(19.0, 11.4, "PR"), (19.0, 18.0, "SD"), (19.0, 25.0, "PD"), (19.0, 0.0, "CR"), (19.0, None, "NE")],
)
def test_recist_of_the_dominant_lesion(before, after, response):
    found = rules.judge_targets({"dominant": before}, {"dominant": after}, days=91)
    assert found["target_response"] == response
    assert found["non_target"] == "reader"
    assert (found["change_percent"] is None) == (after is None)


def test_a_small_lesion_is_no_target():
    found = rules.judge_targets({"dominant": 9.0}, {"dominant": 4.0}, days=None)
    assert found["target_response"] is None
    assert "10 mm" in found["target_response_reason"]
