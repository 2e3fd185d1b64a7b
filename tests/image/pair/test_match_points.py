import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from miliary.image.pair.match import UNMATCHED, compare_with_truth, match_points
from miliary.model.nodules import COLUMN_NAMES


def _match(marks, truth, reach):
    marks, truth = np.reshape(np.array(marks, float), (-1, 3)), np.reshape(np.array(truth, float), (-1, 3))
    return match_points(marks, truth, reach_mm=np.full(len(truth), reach))


def test_the_nearer_mark_wins_and_the_other_is_left():
    assert _match([[0, 0, 0.5], [0, 0, 0.2]], [[0, 0, 0]], 1.5).tolist() == [UNMATCHED, 0]


def test_more_pairs_come_before_shorter_ones():
    """The middle mark is nearest to both, but pairing outward gives two hits."""
    assert _match([[0, 0, 1.0], [0, 0, 2.4]], [[0, 0, 1.2], [0, 0, -0.2]], 1.5).tolist() == [1, 0]


def test_reach_is_inclusive():
    assert _match([[0, 0, 1.5]], [[0, 0, 0]], 1.5).tolist() == [0]
    assert _match([[0, 0, 1.51]], [[0, 0, 0]], 1.5).tolist() == [UNMATCHED]


@pytest.mark.parametrize(("marks", "truth"), [([], [[0, 0, 0]]), ([[0, 0, 0]], []), ([], [])])
def test_nothing_to_pair(marks, truth):
    assert _match(marks, truth, 1.0).tolist() == [UNMATCHED] * len(marks)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 10_000))
def test_the_pairing_is_that_of_one_big_assignment(n, m, seed):
    rng = np.random.default_rng(seed)
    marks, truth = rng.uniform(0, 4, (n, 3)), rng.uniform(0, 4, (m, 3))
    found = _match(marks, truth, 1.5)
    distance = np.linalg.norm(marks[:, None] - truth[None], axis=2)
    cost = np.where(distance <= 1.5, distance - 1000.0, 0.0)
    rows, columns = linear_sum_assignment(cost)
    pairs = cost[rows, columns] < 0
    paired = np.flatnonzero(found != UNMATCHED)
    assert len(paired) == pairs.sum()
    assert len(set(found[paired])) == len(paired)
    assert distance[paired, found[paired]].sum() == pytest.approx(distance[rows, columns][pairs].sum())


def _truth(kinds, x_mm, diameter_mm):
    n = len(kinds)
    columns = {name: np.zeros(n) for name in COLUMN_NAMES}
    diameter = np.array(diameter_mm, float)
    return {
        **columns,
        "kind": np.array(kinds, dtype=object),
        "x_mm": np.array(x_mm, float),
        "diameter_mm": diameter,
        "volume_mm3": np.pi / 6 * diameter**3,
    }


def test_marks_on_calcified_nodules_and_the_lesion_are_neither_hits_nor_false(make_nodules):
    truth = _truth(["nodule", "nodule", "calcified", "lesion"], [0, 10, 20, 50], [2, 2, 3, 20])
    marks = make_nodules(
        4,
        x_mm=[0.5, 20.5, 55.0, 90.0],
        y_mm=np.zeros(4),
        z_mm=np.zeros(4),
        diameter_mm=[2.25, 3.0, 4.0, 1.0],
        volume_mm3=[6.0, 14.0, 33.0, 0.5],
        attenuation=np.array(["solid", "calcified", "solid", "solid"], dtype=object),
    )
    found = compare_with_truth(marks, truth)
    assert (found.n_true, found.n_hits, found.n_false) == (2, 1, 1)
    assert found.volume_true_mm3 == pytest.approx(2 * np.pi / 6 * 8)
    assert found.volume_reported_mm3 == pytest.approx(6.5)
    assert found.diameter_error_mm == pytest.approx(0.25)
