from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from miliary.image.sensitivity.small_counts import bound_count, bound_missed, weigh_exact

NONE = np.zeros(100)


@pytest.mark.parametrize(("chance", "high"), [(0.5, 5.32), (0.9, 1.60), (0.2, 16.53)])
def test_none_found_allows_as_many_as_could_be_missed(chance, high):
    assert bound_count(0, np.full(100, chance), NONE) == (0.0, pytest.approx(high, abs=0.01))


@pytest.mark.parametrize("n_marks", [1, 2, 5, 12])
def test_the_limits_are_those_of_a_slow_search_over_whole_numbers(n_marks):
    low, high = bound_count(n_marks, np.full(100, 0.6), NONE)
    there = np.arange(n_marks, 200)
    last = there[binom.cdf(n_marks, there, 0.6) > 0.025].max()
    first = there[binom.sf(n_marks - 1, there, 0.6) > 0.025].min()
    assert int(np.floor(high)) == last
    assert int(np.ceil(low - 1e-3)) == first


def test_the_limits_of_none_are_the_same_for_many_sizes_at_once():
    drawn = np.random.default_rng(1).beta(6.0, 4.0, (100, 3))
    one_by_one = [bound_count(0, drawn[:, k], NONE)[1] for k in range(3)]
    np.testing.assert_allclose(bound_missed(drawn), one_by_one, atol=0.01)


def test_an_uncertain_chance_widens_the_limits():
    drawn = np.random.default_rng(0).beta(6.0, 4.0, 100)
    sure, unsure = (bound_count(4, chance, NONE) for chance in (np.full(100, drawn.mean()), drawn))
    assert unsure[1] > sure[1]


@pytest.mark.parametrize(("n_marks", "false", "low"), [(3, 3.0, 0.0), (3, 0.01, 3.0)])
def test_marks_that_may_all_be_false_leave_none(n_marks, false, low):
    assert bound_count(n_marks, np.full(100, 0.9), np.full(100, false))[0] == pytest.approx(low, abs=0.2)


@pytest.mark.parametrize("expected_false", [0.0, 1.5])
@pytest.mark.parametrize("chance", [0.5, 0.85])
@pytest.mark.parametrize("expected", [0.5, 2.0, 6.0])
def test_the_limits_hold_the_truth_in_at_least_95_of_100_cases(expected, chance, expected_false):
    rng = np.random.default_rng(3)
    there = rng.poisson(expected, 400)
    marks = rng.binomial(there, chance) + rng.poisson(expected_false, 400)
    known = {
        n: bound_count(n, np.full(100, chance), np.full(100, expected_false))
        for n in np.unique(marks).tolist()
    }
    held = [known[m][0] - 1e-3 <= t <= known[m][1] for m, t in zip(marks.tolist(), there, strict=True)]
    assert np.mean(held) >= 0.945


def test_the_exact_limits_fade_out_as_marks_become_many():
    assert [weigh_exact(n) for n in (0, 20, 30, 40, 900)] == [1.0, 1.0, 0.5, 0.0, 0.0]
