"""Crowding of places, and what it does to the probability that stands for the marks."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.sensitivity.injection import Recovery
from miliary.image.sensitivity.location_factor import Crowding, estimate_location_factor, measure_crowding

SIZES_MM = np.geomspace(0.75, 5.5, 40)


def _box(voxels, spacing=(1.0, 0.7, 0.7)):
    return LungBox(voxels, np.ones(voxels.shape, dtype=np.uint8), (0, 0, 0), spacing)


def _crowding(voxels, place_mm, diameter_mm=2.0):
    place = np.array([place_mm])
    return measure_crowding(_box(voxels), voxels, place, np.array([diameter_mm]), background_hu=-850.0)[0]


def test_open_lung_is_not_crowded_and_a_nodule_does_not_crowd_itself():
    voxels = np.full((40, 50, 50), -850.0, dtype=np.float32)
    z, y, x = np.indices(voxels.shape)
    place = (20.0, 17.5, 17.5)
    assert _crowding(voxels, place) == 0.0
    for diameter in (2.0, 5.0):
        ball = voxels.copy()
        ball[(z - 20) ** 2 + (0.7 * (y - 25)) ** 2 + (0.7 * (x - 25)) ** 2 < (0.5 * diameter + 0.7) ** 2] = (
            0.0
        )
        assert _crowding(ball, place, diameter) == 0.0


def test_the_pleura_crowds_more_than_a_vessel_and_a_vessel_more_than_nothing():
    voxels = np.full((40, 50, 50), -850.0, dtype=np.float32)
    place = (20.0, 17.5, 17.5)
    vessel, wall = voxels.copy(), voxels.copy()
    vessel[:, 24:27, 27:29] = 0.0
    wall[:, :, 27:] = 0.0
    assert 0.02 < _crowding(vessel, place) < _crowding(wall, place)
    # Half of the space begins 1.4 mm away, so that somewhat less than half of the shell is wall.
    assert 0.25 < _crowding(wall, place) < 0.5


def _chance(diameter, crowding):
    """Falls evenly with the rank of the crowding."""
    rise = 1 / (1 + np.exp(-(np.log(diameter) - np.log(1.2) - 0.2 * crowding) / 0.15))
    return rise * (0.98 - 0.35 * crowding)


def _inject(rng, n=600):
    crowding = rng.random(n)
    diameter = SIZES_MM[rng.permutation(np.arange(n) % 40)]
    found = rng.random(n) < _chance(diameter, crowding)
    nan = np.full(n, np.nan)
    return Recovery(
        diameter, found, np.where(found, diameter, nan), nan, nan, nan, np.zeros((n, 3))
    ), crowding


@pytest.mark.parametrize("power", [0.3, 1.0, 3.0])
def test_counts_come_out_right_wherever_the_nodules_lie(power):
    """Corrected by the random places alone they would be up to 15 % over or under."""
    ratios, naive, told = [], [], []
    mean_chance = _chance(1.8, np.linspace(0, 1, 1001)).mean()
    for seed in range(12):
        rng = np.random.default_rng([seed, 3])
        recovery, injected = _inject(rng)
        there = np.full(1500, 1.8)
        crowding = rng.random(len(there)) ** power
        seen = rng.random(len(there)) < _chance(there, crowding)
        marks = Crowding(injected, crowding[seen])
        factor = estimate_location_factor(
            recovery, marks, there[seen], np.ones(len(marks.reported)), seed=seed
        )
        at = np.array([1.8])
        naive.append(seen.sum() / mean_chance / len(there))
        ratios.append(naive[-1] / factor.at(at)[0])
        told.append(factor.log_sd_at(at)[0])
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)
    if power != 1.0:
        assert abs(np.mean(ratios) - 1) < 0.4 * abs(np.mean(naive) - 1)
    # What is told is not less than what there is, nor vague but where nodules gather at what crowds them.
    assert 0.8 * np.std(ratios) < np.mean(told) < (0.1 if power >= 1.0 else 0.25)


def test_more_is_left_open_where_nodules_lie_crowded_and_are_missed():
    recovery, injected = _inject(np.random.default_rng(6))

    def log_sd(crowding, diameter):
        marks = Crowding(injected, np.full(400, crowding))
        factor = estimate_location_factor(recovery, marks, np.full(400, 1.8), np.ones(400), seed=1)
        return factor.log_sd_at(np.array([diameter]))[0]

    # In the middle of the ranks nothing is left open but what is for all.
    assert log_sd(0.5, 1.2) < log_sd(0.0, 1.2) < 0.1
    assert 0.2 < log_sd(0.8, 1.2) < log_sd(1.0, 1.2)
    assert log_sd(1.0, 5.0) < 0.6 * log_sd(1.0, 1.2)
    assert log_sd(0.0, 5.0) == pytest.approx(0.02, abs=0.002)


def test_few_marks_change_nothing_and_false_marks_do_not_count():
    rng = np.random.default_rng(5)
    recovery, injected = _inject(rng)
    at = np.array([1.8])
    few = estimate_location_factor(
        recovery, Crowding(injected, np.full(2, 1.0)), np.full(2, 1.8), np.ones(2), seed=1
    )
    assert few.at(at)[0] == pytest.approx(1.0, abs=0.08)
    false = estimate_location_factor(
        recovery, Crowding(injected, np.full(300, 1.0)), np.full(300, 1.8), np.full(300, 0.01), seed=1
    )
    many = estimate_location_factor(
        recovery, Crowding(injected, np.full(300, 1.0)), np.full(300, 1.8), np.ones(300), seed=1
    )
    assert many.at(at)[0] < 0.8
    assert false.at(at)[0] > 0.9
