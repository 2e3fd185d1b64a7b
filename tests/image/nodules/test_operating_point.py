"""The operating point of one scan: raised in a lung without nodules, lowered beside many of them."""

import numpy as np
import pytest
from scipy.special import expit, logit

from miliary.image.nodules.judge import select_reported
from miliary.image.nodules.operating_point import (
    FALSE_SHARE,
    LEAST_PER_LITRE,
    TAIL,
    WORST_PER_LITRE,
    WORST_SHARE,
    choose_operating_point,
    fit_tail,
    raise_by,
)

DEFAULT = 0.32
PRIOR = 0.02


def draw(n_false, n_nodules, *, slope=1.0, share=0.01, litres=5.0, seed=0):
    """Scores of vessels, which fall off exponentially from -6 on, and of nodules, around 1."""
    rng = np.random.default_rng(seed)
    score = np.concatenate([-6.0 + rng.exponential(1.0 / slope, n_false), rng.normal(1.0, 1.5, n_nodules)])
    # On a lattice, so that none are too close together to be reported both.
    side = int(np.ceil(len(score) ** (1 / 3)))
    position = 4.0 * np.stack(np.unravel_index(np.arange(len(score)), (side, side, side)), axis=1)
    probability = expit(score + logit(share) - logit(PRIOR))
    found = choose_operating_point(position, score, probability, default=DEFAULT, litres=litres)
    rows = select_reported(position, probability, found.threshold)
    return found, np.count_nonzero(rows < n_false), np.count_nonzero(rows >= n_false)


@pytest.mark.parametrize("slope", [0.85, 0.95, 1.05])
def test_the_tail_of_the_false_candidates_tells_how_many_lie_above_it(slope):
    rng = np.random.default_rng(1)
    score = -6.0 + rng.exponential(1.0 / slope, 40_000)
    tail = fit_tail(score, np.zeros(len(score)))
    assert tail.slope == pytest.approx(slope, rel=0.06)
    for level in (-3.0, -1.0, 0.0):
        assert tail.above(level) == pytest.approx(np.count_nonzero(score >= level), rel=0.3)


def test_faint_nodules_among_few_candidates_do_not_flatten_the_tail():
    rng = np.random.default_rng(1)
    score = np.concatenate([-6.0 + rng.exponential(1.0, 2_000), rng.uniform(-4.0, -2.0, 60)])
    assert fit_tail(score, np.zeros(len(score))).slope > 0.8


RAISED = float(expit(logit(DEFAULT) + raise_by(0.0)))


def test_the_threshold_is_raised_the_further_the_less_would_be_reported():
    rises = [raise_by(n) for n in (0.0, 15.0, 20.0, 30.0, 43.0, 44.0, 500.0)]
    assert rises == sorted(rises, reverse=True)
    assert rises[0] == rises[1] == pytest.approx(np.log(WORST_PER_LITRE / LEAST_PER_LITRE) / 0.95)
    assert rises[3] == pytest.approx(np.log(WORST_PER_LITRE / (30.0 * WORST_SHARE)) / 0.95)
    assert rises[-1] == rises[-2] == 0.0


def test_too_few_candidates_raise_the_threshold_and_leave_the_false_ones_unknown():
    position = np.zeros((3, 3))
    assert fit_tail(np.full(5, -3.0), np.zeros(5)) is None
    for n in (0, 3):
        score = np.full(n, -3.0)
        point = choose_operating_point(position[:n], score, expit(score), default=DEFAULT, litres=5.0)
        assert point.threshold == pytest.approx(RAISED, abs=1e-4)
        assert (point.default, point.expected_false) == (DEFAULT, None)


def test_a_lung_without_nodules_has_the_highest_threshold():
    point, false, _ = draw(12_000, 0, share=0.002)
    assert point.threshold == pytest.approx(RAISED, abs=1e-4)
    assert point.expected_false == pytest.approx(false, abs=3 * np.sqrt(false + 1) + 0.3 * false)


def test_few_nodules_beside_few_false_positives_stay():
    found, false, nodules = draw(2_000, 60, share=0.01)
    assert found.threshold > DEFAULT
    assert nodules > 0.3 * 60
    assert false <= 0.2 * (false + nodules)


def test_a_lung_full_of_vessels_keeps_the_threshold_of_the_weights():
    point, false, _ = draw(400_000, 0, share=0.002)
    assert point.threshold == DEFAULT
    assert point.expected_false == pytest.approx(false, abs=3 * np.sqrt(false + 1) + 0.3 * false)


def test_beside_many_nodules_more_are_found_at_few_false_positives():
    point, false, found = draw(4_000, 1_000)
    strict = np.count_nonzero(np.random.default_rng(0).normal(1.0, 1.5, 1_000) >= logit(DEFAULT) + 0.7)
    assert point.threshold < DEFAULT
    assert found > strict + 50
    assert 0 < false <= 1.5 * FALSE_SHARE * (false + found)


def test_the_more_nodules_the_lower_the_threshold_but_never_into_the_tail():
    thresholds = [draw(4_000, n)[0].threshold for n in (0, 300, 1_000, 3_000)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > DEFAULT > thresholds[-1]
    lowest = float(expit(TAIL[1] + logit(0.01) - logit(PRIOR)))
    assert draw(2_000, 5_000)[0].threshold == pytest.approx(lowest, abs=0.001)
