"""The ways of placing nodules do what they say, in a ball with a plane and rods."""

import numpy as np
import pytest

from miliary.model.scan import Grid, Scan
from training.patterns import Anatomy, crop_anatomy, place_nodules
from validation.pattern import limits, read_log, run
from validation.pattern_ways import ALL_WAYS, HELD_OUT_WAYS

RADIUS = 40.0


@pytest.fixture(scope="module")
def ball():
    rng = np.random.default_rng(0)
    grid = Grid((82, 82, 82), (1.0, 1.0, 1.0), (-40.5, -40.5, -40.5))
    z, y, x = np.meshgrid(*(np.arange(82) - 40.5,) * 3, indexing="ij")
    inside = z**2 + y**2 + x**2 < RADIUS**2
    at = np.arange(-30.0, 31.0, 1.5)
    rods = [
        np.stack([at, np.full(len(at), a), np.full(len(at), b)], axis=1) for a in (-12, 12) for b in (-12, 12)
    ]
    axis = np.concatenate([np.stack([rod[:-1], rod[1:]], axis=1) for rod in rods])
    tips = rng.uniform(-RADIUS, RADIUS, (4000, 3))
    points = rng.uniform(-RADIUS, RADIUS, (40_000, 3))
    return Anatomy(
        lambda p: RADIUS - np.linalg.norm(p, axis=1),
        lambda p: p[:, 0] - 5.0,
        axis,
        np.full(len(axis), 1.2),
        tips[np.linalg.norm(tips, axis=1) < RADIUS - 2],
        points[np.linalg.norm(points, axis=1) < RADIUS],
        np.full(3, -40.5),
        np.full(3, 40.5),
        Scan(np.zeros((82, 82, 82), np.int16), grid),
        inside.astype(np.uint8),
    )


@pytest.mark.parametrize(
    ("label", "name"), [(label, name) for label, ways in ALL_WAYS.items() for name in ways]
)
def test_each_way_lies_where_its_pattern_lies(ball, label, name):
    diameter = np.full(120, 2.0)
    position = place_nodules(ALL_WAYS[label][name], ball, diameter, np.random.default_rng(1))
    placed = position[np.isfinite(position[:, 0])]
    assert len(placed) >= 80
    gap = ball.depth_mm(placed) - 1.0
    assert gap.min() > -0.6
    rods = np.stack(np.meshgrid((-12, 12), (-12, 12)), axis=-1).reshape(-1, 2)
    to_rod = np.linalg.norm(placed[:, None, 1:] - rods, axis=2).min(axis=1) - 2.2
    contact = (gap < 1.0) | (np.abs(ball.fissure_mm(placed)) < 2.0) | (to_rod < 1.0)
    apart = np.linalg.norm(placed[:, None] - placed, axis=2)[np.triu_indices(len(placed), 1)]
    assert apart.min() >= 2.2
    if label == "perilymphatic":
        assert contact.mean() > 0.45
    if label == "centrilobular":
        assert gap.min() > 1.9
    if label == "random":
        assert 0.05 < (gap < 3.0).mean() < 0.35


def test_held_out_ways_are_two_for_each_pattern_but_random():
    assert {label: len(ways) for label, ways in HELD_OUT_WAYS.items()} == {
        "random": 1,
        "perilymphatic": 2,
        "centrilobular": 2,
    }


def test_a_crop_keeps_its_place(ball):
    crop = crop_anatomy(ball, 40.0, np.random.default_rng(2))
    assert crop.scan.grid.shape_zyx == (40, 40, 40)
    index = crop.scan.grid.index_from_lps(crop.inside_mm[:, ::-1])
    assert index.min() >= -0.5
    assert index.max() <= 39.5
    near = np.rint(index[ball.depth_mm(crop.inside_mm) > 2]).astype(int)
    assert crop.labels[tuple(np.clip(near, 0, 39).T)].all()


def test_limits_are_those_of_clopper_and_pearson():
    assert limits(0, 10) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert limits(20, 400) == (pytest.approx(0.0308, abs=1e-3), pytest.approx(0.0761, abs=1e-3))


def test_a_run_is_taken_up_where_it_was_ended(tmp_path, monkeypatch):
    seen = []

    def judge(seed):
        seen.append(seed)
        yield {"truth": "random"}

    monkeypatch.setattr("validation.pattern.judge_random", judge)
    log = tmp_path / "log.jsonl"
    run("random", range(10, 10 + 2), log, seconds=60)
    run("random", range(10, 10 + 3), log, seconds=60)
    assert len(seen) == len(set(seen)) == 3
    assert [row["seed"] for row in read_log(log)] == seen
