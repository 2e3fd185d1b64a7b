"""The scorer, on cases small enough to count by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from miliary.image.pair.match import match_points
from miliary.model.nodules import Nodules
from validation.score import FALSE_MARK, NEUTRAL_MARK, score


def _marks(*rows: tuple[float, ...], probability: float = 0.9, attenuation: str = "solid") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["x_mm", "y_mm", "z_mm", "diameter_mm"], dtype=float)
    return frame.assign(
        volume_mm3=np.pi / 6 * frame["diameter_mm"] ** 3, probability=probability, attenuation=attenuation
    )


def _truth(*rows: tuple[float, ...], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["x_mm", "y_mm", "z_mm", "diameter_mm"], dtype=float)
    return frame.assign(**{"kind": "nodule", "density_hu": 40.0, **columns})


def test_a_nodule_marked_twice_is_one_hit_and_one_false_mark() -> None:
    found = score(_marks((0, 0, 0.2, 2), (0, 0, -0.4, 2)), _truth((0, 0, 0, 2)), 2.0)
    assert (found.n_hits, found.n_false, found.n_neutral) == (1, 1, 0)
    assert found.truth_of_mark.tolist() == [0, FALSE_MARK]
    assert found.precision == 0.5
    assert found.false_per_litre == 0.5


def test_one_mark_between_two_nodules_finds_the_nearer_one_only() -> None:
    found = score(_marks((1.2, 0, 0, 2)), _truth((0, 0, 0, 2), (2, 0, 0, 2)), 1.0)
    assert found.is_found.tolist() == [False, True]
    assert found.sensitivity["2-2.5"].value == 0.5


def test_number_of_pairs_comes_before_distance() -> None:
    # The first mark is nearest to nodule 1, but only by giving it up are both nodules found.
    marks = _marks((0.9, 0, 0, 2), (2.2, 0, 0, 2))
    found = score(marks, _truth((0, 0, 0, 2), (1.0, 0, 0, 2)), 1.0)
    assert found.truth_of_mark.tolist() == [0, 1]
    assert found.n_false == 0


@pytest.mark.parametrize(
    ("diameter_mm", "offset_mm", "is_hit"),
    [(1.0, 1.5, True), (1.0, 1.51, False), (3.0, 1.5, True), (4.0, 1.99, True), (4.0, 2.01, False)],
)
def test_reach_is_the_radius_but_at_least_a_millimetre_and_a_half(
    diameter_mm: float, offset_mm: float, *, is_hit: bool
) -> None:
    found = score(_marks((offset_mm, 0, 0, 2)), _truth((0, 0, 0, diameter_mm)), 1.0)
    assert (found.n_hits, found.n_false) == ((1, 0) if is_hit else (0, 1))


def test_lower_edge_of_a_bin_is_inclusive() -> None:
    found = score(_marks(), _truth((0, 0, 0, 1.5), (9, 0, 0, 2.0), (0, 9, 0, 3.0)), 1.0)
    counts = {name: share.n for name, share in found.sensitivity.items()}
    assert counts["1-1.5"] == 0
    assert (counts["1.5-2"], counts["2-2.5"], counts["2.5-3"], counts["3-4"]) == (1, 1, 0, 1)
    assert (counts["1.5-3"], counts["2-3"]) == (2, 1)


def test_marks_on_truth_nobody_asks_for_are_neither_hits_nor_false() -> None:
    truth = _truth((0, 0, 0, 0.9), (20, 0, 0, 3), (60, 0, 0, 30), (0, 40, 0, 2)).assign(
        kind=["nodule", "calcified", "lesion", "nodule"]
    )
    marks = _marks((0, 0, 0.5, 1), (20, 1, 0, 3), (70, 0, 0, 3), (50, 2, 0, 3), (0, 40, 0, 2), (90, 0, 0, 2))
    found = score(marks, truth, 1.0)
    assert found.truth_of_mark.tolist() == [*[NEUTRAL_MARK] * 4, 3, FALSE_MARK]
    assert (found.n_hits, found.n_false, found.n_neutral) == (1, 1, 4)
    assert found.calcified_found.hits == 1
    assert found.calcified_flagged.hits == 0


def test_a_nodule_inside_the_lesions_extent_is_still_found() -> None:
    truth = _truth((0, 0, 0, 30), (10, 0, 0, 2), kind=["lesion", "nodule"])
    found = score(_marks((10, 0, 0, 2)), truth, 1.0)
    assert (found.n_hits, found.n_neutral) == (1, 0)


def test_a_structure_that_is_no_nodule_makes_a_mark_false() -> None:
    found = score(_marks((0, 0, 0, 2)), _truth((0, 0, 0, 2), kind="scar"), 1.0)
    assert (found.n_hits, found.n_false) == (0, 1)


def test_subsolid_nodules_are_hits_but_in_no_sensitivity_bin() -> None:
    found = score(_marks((0, 0, 0, 2)), _truth((0, 0, 0, 2), density_hu=-500.0), 1.0)
    assert found.n_hits == 1
    assert found.sensitivity["2-2.5"].n == 0


def test_attached_and_isolated_are_counted_apart() -> None:
    truth = _truth((0, 0, 0, 2), (9, 0, 0, 2), (18, 0, 0, 2), attached=[True, False, False])
    found = score(_marks((9, 0, 0, 2)), truth, 1.0)
    assert found.sensitivity_attached["2-2.5"].value == 0.0
    assert found.sensitivity_isolated["2-2.5"].value == 0.5
    assert score(_marks(), _truth((0, 0, 0, 2)), 1.0).sensitivity_isolated["2-2.5"].n == 0


def test_diameter_error_and_total_volume() -> None:
    truth = _truth((0, 0, 0, 2.0), (9, 0, 0, 2.2), (18, 0, 0, 2.4))
    marks = _marks((0, 0, 0, 2.1), (9, 0, 0, 2.1), (18, 0, 0, 2.6))
    found = score(marks, truth, 1.0)
    error = found.diameter["2-2.5"]
    assert error.n == 3
    assert error.median_abs_mm == pytest.approx(0.1)
    assert error.median_signed_mm == pytest.approx(0.1)
    expected = (2.1**3 * 2 + 2.6**3) / (2.0**3 + 2.2**3 + 2.4**3)
    assert found.volume_ratio == pytest.approx(expected)
    calcified = marks.assign(attenuation=["calcified", "solid", "solid"])
    assert score(calcified, truth, 1.0).volume_reported_mm3 == pytest.approx(np.pi / 6 * (2.1**3 + 2.6**3))


def test_calibration_error_is_the_gap_between_probability_and_truth() -> None:
    truth = _truth((0, 0, 0, 2), (9, 0, 0, 2), (18, 0, 0, 2))
    marks = _marks((0, 0, 0, 2), (9, 0, 0, 2), (18, 0, 0, 2), (90, 0, 0, 2), probability=0.75)
    assert score(marks, truth, 1.0).calibration_error == pytest.approx(0.0)
    assert score(marks.assign(probability=0.95), truth, 1.0).calibration_error == pytest.approx(0.2)


def test_nothing_reported_and_nothing_there() -> None:
    found = score(Nodules.empty(), _truth(), 4.0)
    assert (found.n_hits, found.n_false, found.false_per_litre) == (0, 0, 0.0)
    assert np.isnan(found.precision)
    assert score(_marks((0, 0, 0, 2)), _truth(), 4.0).false_per_litre == 0.25


def test_matching_agrees_with_trying_every_pairing() -> None:
    generator = np.random.default_rng(5)
    for _ in range(40):
        marks = generator.uniform(0, 4, size=(4, 3))
        truth = generator.uniform(0, 4, size=(5, 3))
        reach = generator.uniform(1.5, 2.0, size=5)
        matched = match_points(marks, truth, reach_mm=reach)
        pairs = [(i, j) for i, j in enumerate(matched) if j >= 0]
        distance = sum(np.linalg.norm(marks[i] - truth[j]) for i, j in pairs)
        assert (len(pairs), -distance) == pytest.approx(_best_by_brute_force(marks, truth, reach))


def _best_by_brute_force(marks: np.ndarray, truth: np.ndarray, reach: np.ndarray) -> tuple[int, float]:
    best = (0, 0.0)
    for order in itertools.permutations(range(len(truth)), len(marks)):
        distances = [np.linalg.norm(marks[i] - truth[j]) for i, j in enumerate(order)]
        allowed = [d for d, j in zip(distances, order, strict=True) if d <= reach[j]]
        best = max(best, (len(allowed), -float(sum(allowed))))
    return best


def test_thousands_of_marks_are_matched_at_once() -> None:
    generator = np.random.default_rng(1)
    truth = generator.uniform(0, 170, size=(5000, 3))
    near = truth + generator.normal(0, 0.3, truth.shape)
    marks = np.concatenate([near, generator.uniform(0, 170, (1000, 3))])
    matched = match_points(marks, truth, reach_mm=np.full(len(truth), 1.5))
    assert (matched[:5000] == np.arange(5000)).mean() > 0.95
