from __future__ import annotations

import json

import numpy as np
import pytest

from miliary.image.sensitivity import false_positives
from miliary.image.sensitivity.false_positives import estimate_false_positives, read_table
from miliary.model.ct_result import Noise


def _estimate(n_below, *, n_reported=400, nodules_in_band=0.0, slice_mm=1.0, noise=20.0, litres=4.0):
    margin = np.concatenate([np.linspace(-1.99, -0.01, n_below), np.full(n_reported, 3.0), np.full(50, -2.5)])
    return estimate_false_positives(
        margin,
        np.full(n_reported, 0.9),
        nodules_in_band=nodules_in_band,
        n_reported=n_reported,
        litres=litres,
        slice_mm=slice_mm,
        noise=Noise(noise),
    )


def test_more_candidates_below_the_threshold_mean_more_false_marks_above_it():
    few, _ = _estimate(50)
    many, _ = _estimate(500)
    assert few.source == many.source == "candidates"
    assert many.expected.value == pytest.approx(10 * few.expected.value, rel=0.02)
    assert many.expected.value == pytest.approx(read_table().ratio * 500.5)
    assert many.per_litre == pytest.approx(many.expected.value / 4.0)


def test_missed_nodules_among_the_candidates_are_no_false_marks():
    with_nodules, spread = _estimate(100, nodules_in_band=60.0)
    without, plain = _estimate(40)
    assert with_nodules.expected.value == pytest.approx(without.expected.value)
    assert spread > plain
    all_nodules, _ = _estimate(100, nodules_in_band=500.0)
    assert all_nodules.expected.value > 0


def test_without_candidates_the_table_is_used_and_said():
    estimate, spread = _estimate(2)
    rate, its_spread = read_table().find_rate(1.0, 20.0)
    assert estimate.source == "table"
    assert estimate.expected.value == pytest.approx(rate * 4.0)
    assert spread == its_spread


def test_there_are_never_more_false_marks_than_marks():
    estimate, _ = _estimate(4000, n_reported=20)
    assert estimate.expected.value < 20
    assert estimate.expected.low < estimate.expected.value < estimate.expected.high <= 20


def test_probabilities_are_stated_beside_it():
    estimate, _ = _estimate(100)
    assert estimate.by_probabilities == pytest.approx(40.0)


def test_the_table_grows_no_worse_than_a_patient_and_says_how_it_was_made():
    table = json.loads(false_positives.TABLE_PATH.read_text())
    assert table["command"].startswith("python -m validation.")
    assert table["rows"]
    for row in table["rows"]:
        assert 0.0 < row["per_litre"] < 100.0
        assert 0.2 <= row["log_spread"] <= 2.5
        assert row["n_scans"] >= 4
    limits = [(row["slice_max_mm"], row["noise_max_hu"]) for row in table["rows"]]
    assert limits == sorted(limits)


def test_a_scan_beyond_the_table_has_no_rate():
    assert read_table().find_rate(50.0, 20.0) is None
    assert _estimate(100, slice_mm=50.0)[0].by_table is None
