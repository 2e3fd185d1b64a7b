from __future__ import annotations

import numpy as np
import pytest

from miliary.image.sensitivity import unfolding
from miliary.image.sensitivity.estimate import ReportedNodules, correct_for_completeness
from miliary.image.sensitivity.injection import Recovery
from miliary.image.sensitivity.unfolding import CENTERS_MM, EDGES_MM, VOLUMES_MM3
from miliary.model.ct_result import Noise, Psf

PLACE, WIDTH, END = np.log(1.3), 0.12, 0.97


def _chance(diameter_mm):
    return END / (1 + np.exp(-(np.log(diameter_mm) - PLACE) / WIDTH))


def _recover(seed, *, n=600, bias=0.03, scatter=0.06):
    rng = np.random.default_rng(seed)
    diameter = np.geomspace(0.75, 5.5, 40)[rng.permutation(np.arange(n) % 40)]
    found = rng.random(n) < _chance(diameter)
    measured = np.where(found, diameter * np.exp(bias + scatter * rng.standard_normal(n)), np.nan)
    return Recovery(
        diameter_mm=diameter,
        is_found=found,
        measured_mm=measured,
        margin=np.full(n, np.nan),
        position_mm=np.zeros((n, 3)),
        depth_mm=np.full(n, 20.0),
        height=np.full(n, 0.5),
    )


def _mark(rng, diameter, *, bias=0.03, scatter=0.06):
    found = rng.random(len(diameter)) < _chance(diameter)
    return diameter[found] * np.exp(bias + scatter * rng.standard_normal(np.count_nonzero(found)))


def test_the_curve_finds_the_diameters_of_half_and_of_nine_tenths():
    curve = unfolding.fit_curve(_recover(1, n=4000))
    fine = np.geomspace(0.8, 5, 4000)
    for share in (0.5, 0.9):
        expected = fine[np.argmin(np.abs(_chance(fine) - share))]
        assert curve.find_diameter_mm(share) == pytest.approx(expected, rel=0.04)
    assert curve.find_diameter_mm(0.999) is None


def test_the_band_of_the_curve_is_as_wide_as_it_should_be():
    """The truth lies within the band at 1.5 mm nearly always, and not because the band is vague."""
    misses, widths = 0, []
    for seed in range(40):
        drawn = unfolding.fit_curve(_recover(seed)).draw(np.array([1.5]), 300, np.random.default_rng(seed))
        low, high = np.quantile(drawn, [0.025, 0.975])
        misses += not low <= _chance(1.5) <= high
        widths.append(high - low)
    assert misses <= 6
    assert np.median(widths) < 0.2


def test_bias_and_scatter_are_those_of_the_measured_diameters():
    response = unfolding.measure_response(_recover(2, n=4000))
    at_two = np.argmin(np.abs(CENTERS_MM - 2.0))
    assert response.bias[at_two] == pytest.approx(0.03, abs=0.01)
    assert response.scatter[at_two] == pytest.approx(0.06, abs=0.015)
    np.testing.assert_allclose(response.matrix.sum(axis=0), 1.0, atol=1e-9)


def test_a_nodule_measured_at_half_its_size_does_not_make_small_ones_large():
    recovery = _recover(3)
    rows = np.flatnonzero(recovery.is_found & (recovery.diameter_mm > 3))[:3]
    recovery.measured_mm[rows] *= 0.4
    response = unfolding.measure_response(recovery)
    large = np.argmin(np.abs(CENTERS_MM - 4.0))
    assert response.matrix[CENTERS_MM < 3.0, large].sum() < 0.02


def test_without_misses_and_errors_the_marks_are_the_answer():
    diameter = np.random.default_rng(0).uniform(1.0, 3.0, 5000)
    marked = unfolding.count_by_diameter(diameter)
    there = unfolding.unfold(marked, 0 * marked, np.ones(len(marked)), np.eye(len(marked)))
    assert there.sum() == pytest.approx(5000, rel=1e-6)
    assert there @ VOLUMES_MM3 == pytest.approx(np.pi / 6 * np.sum(diameter**3), rel=0.01)


def test_marks_outside_the_bins_are_kept():
    assert unfolding.count_by_diameter(np.array([0.01, 2.0, 99.0])).sum() == 3


def test_unfolding_agrees_with_a_slow_twin():
    rng = np.random.default_rng(5)
    marked = unfolding.count_by_diameter(_mark(rng, rng.uniform(1.0, 3.0, 500)))
    false = 0.05 * marked
    response = unfolding.measure_response(_recover(6))
    chance = _chance(CENTERS_MM)
    n = len(marked)
    last = max(k for k in range(n) if marked[k] > 0)
    known = [chance[j] >= 0.08 and CENTERS_MM[j] <= 1.25 * EDGES_MM[last + 1] for j in range(n)]
    clean = [max(m - f, 0.0) for m, f in zip(marked, false, strict=True)]
    reach = range(-unfolding.START, unfolding.START + 1)
    near = [sum(clean[j - k] for k in reach if 0 <= j - k < n) / len(reach) for j in range(n)]
    there = [near[j] / max(chance[j], 0.08) if known[j] else 0.0 for j in range(n)]
    for _ in range(unfolding.ROUNDS):
        seen = [
            sum(response.matrix[k, j] * chance[j] * there[j] for j in range(n) if known[j]) + false[k] + 1e-9
            for k in range(n)
        ]
        there = [
            there[j] * sum(response.matrix[k, j] * marked[k] / seen[k] for k in range(n)) for j in range(n)
        ]
        found = [there[j] * chance[j] if known[j] else 0.0 for j in range(n)]
        s = unfolding.SMOOTHING
        there = [
            ((1 - 2 * s) * found[j] + s * (found[j - 1] if j else 0) + s * (found[j + 1] if j + 1 < n else 0))
            / chance[j]
            if known[j]
            else 0.0
            for j in range(n)
        ]
    np.testing.assert_allclose(unfolding.unfold(marked, false, chance, response.matrix), there, rtol=1e-7)


def _correct(seed, n, *, n_false=0):
    """Truth and estimate of one made-up scan: number and volume of at least 1.4 mm."""
    rng = np.random.default_rng([seed, 9])
    diameter = rng.uniform(0.9, 3.2, n)
    recovery = _recover(seed)
    marks = np.concatenate([_mark(rng, diameter), rng.uniform(1.0, 3.0, n_false)])
    marked = unfolding.count_by_diameter(marks)
    false = marked * n_false / max(marked.sum(), 1.0)
    corrected = unfolding.correct_counts(
        marked,
        false,
        unfolding.fit_curve(recovery),
        unfolding.measure_response(recovery),
        false_log_sd=0.3,
        scale_error=0.003,
        model_error=0.02,
        seed=seed,
    )
    there = diameter[diameter >= 1.4]
    count, volume = corrected.measure(1.4)
    return (len(there), count), (np.pi / 6 * np.sum(there**3), volume)


def test_number_and_volume_are_right_and_their_intervals_hold_the_truth():
    pairs = [_correct(seed, 800, n_false=30) for seed in range(12)]
    for part in (0, 1):
        truth = np.array([pair[part][0] for pair in pairs])
        value = np.array([pair[part][1].value for pair in pairs])
        low = np.array([pair[part][1].low for pair in pairs])
        high = np.array([pair[part][1].high for pair in pairs])
        assert np.median(value / truth) == pytest.approx(1.0, abs=0.02)
        assert np.mean((low <= truth) & (truth <= high)) > 0.8
        assert np.median((high - low) / 2 / value) < 0.12


def test_no_marks_give_none_and_an_interval_from_none():
    """Of those of 1.4 mm, of which about 0.64 are found, up to three may have been missed."""
    (_, number), (_, volume) = _correct(1, 0)
    assert (number.value, number.low) == (0.0, 0.0)
    assert number.high == pytest.approx(np.log(0.025) / np.log(1.0 - _chance(1.4)), abs=0.8)
    assert (volume.value, volume.low) == (0.0, 0.0)
    assert 3.0 < volume.high < 30.0


def test_the_intervals_of_few_nodules_hold_the_truth(monkeypatch):
    """Few nodules drawn from a Poisson distribution, each found by chance; and they are not vague."""
    monkeypatch.setattr(unfolding, "N_DRAWS", 60)
    recovery = _recover(0)
    curve, response = unfolding.fit_curve(recovery), unfolding.measure_response(recovery)
    held, wide = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 3])
        diameter = rng.uniform(1.0, 3.2, rng.poisson(2.0 + seed % 4))
        marked = unfolding.count_by_diameter(_mark(rng, diameter))
        corrected = unfolding.correct_counts(
            marked, 0.0 * marked, curve, response, false_log_sd=0.3, scale_error=0.003, model_error=0.02
        )
        there = diameter[diameter >= 1.4]
        count, volume = corrected.measure(1.4)
        truths = len(there), np.pi / 6 * np.sum(there**3)
        held.append([e.low <= t <= e.high for e, t in zip((count, volume), truths, strict=True)])
        wide.append(count.high - len(there))
    assert np.mean(held, axis=0).min() >= 0.93
    assert np.median(wide) < 5.0


def test_the_same_seed_gives_the_same_interval():
    assert _correct(4, 300) == _correct(4, 300)


@pytest.mark.parametrize(("source", "is_corrected"), [("nodules", True), ("unclear", False)])
def test_a_scan_whose_blur_is_unclear_is_not_corrected(source, is_corrected):
    size = _mark(np.random.default_rng(3), np.full(400, 2.4))
    certain = np.full(len(size), 0.99)
    marks = ReportedNodules(np.zeros((len(size), 3)), size, certain, np.full(len(size), 3.0), 1.0, 1.0)
    found = correct_for_completeness(_recover(4), marks, Noise(20.0), Psf(0.5, 0.4, source))
    assert bool(found.at_least) == is_corrected
    assert found.reason.startswith("not measurable: the blur") != is_corrected


@pytest.mark.parametrize("log_factor", [-0.11, -0.03, 0.0, 0.02, 0.13])
def test_sizes_that_share_an_error_move_by_all_of_it(log_factor):
    counts = np.histogram(np.random.default_rng(5).normal(np.log(2.4), 0.2, 4000), bins=np.log(EDGES_MM))[0]
    moved = unfolding._rescale(counts[None, :].astype(float), np.array([[log_factor]]))[0]
    assert moved.min() >= 0.0
    assert moved.sum() == pytest.approx(counts.sum())
    assert moved @ np.log(CENTERS_MM) - counts @ np.log(CENTERS_MM) == pytest.approx(
        log_factor * counts.sum(), abs=1e-6 * counts.sum()
    )
