import numpy as np
import pytest

from miliary.image.pair.burden_ratio import (
    ComparedNodules,
    FalsePositiveRate,
    TotalWithError,
    estimate_ratio,
    measure_burden,
    share_burden,
)

NONE_FALSE = FalsePositiveRate(0.0, 0.0, 0.0, 0.0, 0.0)


def sample(diameter, *, completeness=1.0, part=0, error=0.0):
    diameter = np.asarray(diameter, dtype=float)
    n = len(diameter)
    volume = np.pi / 6 * diameter**3
    return ComparedNodules(
        volume,
        error * volume,
        diameter,
        np.full(n, 0.01),
        np.broadcast_to(np.asarray(completeness, float), n).copy(),
        np.zeros(n),
        np.broadcast_to(np.asarray(part), n).copy(),
    )


def burden(nodules, **given):
    settings = {"lung_ml": 4000.0, "min_diameter_mm": 1.0, "count_diameter_mm": 1.5, "common_err": 0.0}
    return measure_burden(nodules, **{**settings, "false_positives": NONE_FALSE, **given})


def test_a_complete_scan_counts_as_it_is():
    found = burden(sample([2.0, 2.0, 1.2, 0.8]))
    assert found.n_reported == 3
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * (8 + 8 + 1.2**3))
    assert found.count == pytest.approx(2.0)


def test_each_nodule_stands_for_those_that_are_missed():
    half = burden(sample([2.0] * 100, completeness=0.5))
    assert half.volume_mm3 == pytest.approx(200 * np.pi / 6 * 8)
    assert half.count == pytest.approx(200.0)
    # Binomial: 200 nodules, half of them found.
    assert half.count_err == pytest.approx(np.sqrt(100 * 0.5 / 0.25), rel=0.01)


def test_thinning_is_corrected_without_bias_and_with_an_honest_error():
    rng = np.random.default_rng(0)
    diameter = rng.uniform(1.5, 3.0, 800)
    share = np.clip(0.3 + 0.3 * (diameter - 1.0), 0.0, 1.0)
    true = float((np.pi / 6 * diameter**3).sum())
    pulls = []
    for _ in range(200):
        seen = rng.random(800) < share
        found = burden(sample(diameter[seen], completeness=share[seen]))
        pulls.append((found.volume_mm3 - true) / found.volume_mm3_err)
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_expected_false_marks_are_taken_off():
    false = FalsePositiveRate(2.0, 1.0, 3.0, 2.0, 0.5)
    found = burden(sample([1.789] * 8), false_positives=false)
    assert found.volume_mm3 == pytest.approx(0.0, abs=0.2)
    assert found.count == pytest.approx(8 - 2.0 * 4.0 * 0.5)
    assert found.volume_mm3_err > np.sqrt(8) * 3.0


def test_what_all_volumes_share_does_not_average_out():
    found = burden(sample([2.0] * 10_000, error=0.3), common_err=0.04)
    assert found.volume_mm3_err / found.volume_mm3 == pytest.approx(0.04, rel=0.02)


def test_a_ratio_and_its_interval():
    before, after = TotalWithError(1000.0, 50.0, 50.0), TotalWithError(300.0, 15.0, 15.0)
    ratio = estimate_ratio(before, after)
    assert ratio.value == pytest.approx(0.3)
    width = 0.3 * 1.96 * np.sqrt(2) * 0.05
    assert ratio.low == pytest.approx(0.3 - width, abs=0.006)
    assert ratio.high == pytest.approx(0.3 + width, abs=0.006)
    assert ratio == estimate_ratio(before, after)


def test_what_two_scans_share_cancels():
    before, after = TotalWithError(1000.0, 80.0, 20.0), TotalWithError(500.0, 40.0, 10.0)
    widths = []
    for correlation in (0.0, 0.7, 1.0):
        ratio = estimate_ratio(before, after, correlation=correlation)
        assert ratio.value == pytest.approx(0.5)
        widths.append((ratio.high - ratio.low) / 2 / 0.5)
    own, shared = 0.02 * np.sqrt(2), np.sqrt(0.08**2 - 0.02**2)
    expected = [1.96 * np.hypot(own, shared * np.sqrt(2 * (1 - c))) for c in (0.0, 0.7, 1.0)]
    assert widths == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("after", [0.0, -3.0])
def test_nothing_left_is_a_ratio_of_zero_with_an_upper_limit(after):
    ratio = estimate_ratio(TotalWithError(1000.0, 20.0, 20.0), TotalWithError(after, 6.0, 6.0))
    assert ratio.value == 0.0
    assert ratio.low == pytest.approx(0.0, abs=1e-3)
    assert 0.005 < ratio.high < 0.03


@pytest.mark.parametrize(("before", "err"), [(0.0, 1.0), (-5.0, 2.0), (10.0, 6.0)])
def test_too_little_at_baseline_has_no_ratio(before, err):
    ratio = estimate_ratio(TotalWithError(before, err, err), TotalWithError(5.0, 1.0, 1.0))
    assert ratio.value is None
    assert "too little" in ratio.reason


def test_parts_share_the_corrected_total():
    part = np.arange(300) % 3
    whole = sample([2.0] * 300, completeness=0.6, part=part)
    settings = {"volume_mm3": (2000.0, 80.0), "count": (480.0, 20.0), "lung_ml": 1000.0}
    settings |= {"min_diameter_mm": 1.0, "count_diameter_mm": 1.5}
    parts = [share_burden(whole.select(part == k), whole, lung_share=1 / 3, **settings) for k in range(3)]
    assert sum(p.volume_mm3 for p in parts) == pytest.approx(2000.0)
    assert sum(p.count for p in parts) == pytest.approx(480.0)
    all_ = share_burden(whole, whole, lung_share=1.0, **settings)
    assert (all_.volume_mm3, all_.volume_mm3_err) == pytest.approx((2000.0, 80.0))
    # Of 300 found where 500 are: what was missed is chance of this scan.
    assert all_.volume_mm3_own_err == pytest.approx(2000 / 500 * np.sqrt(300 * 0.4 / 0.6**2), rel=0.01)
    # Which nodules were missed where is chance: a part is less well known than the whole.
    assert all(p.volume_mm3_err / p.volume_mm3 > 0.04 for p in parts)
    assert whole.select(part == 5).volume_mm3.shape == (0,)


def test_a_scan_without_nodules_shares_what_is_left_open_by_lung():
    nothing = sample([])
    found = share_burden(
        nothing,
        nothing,
        volume_mm3=(0.0, 9.0),
        count=(0.0, 3.0),
        lung_ml=1000.0,
        lung_share=0.25,
        min_diameter_mm=1.0,
        count_diameter_mm=1.5,
    )
    assert (found.volume_mm3, found.volume_mm3_err, found.count_err) == pytest.approx((0.0, 2.25, 0.75))
