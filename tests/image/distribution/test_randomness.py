"""Patterns of points in a ball of lung with rods for vessels."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from miliary.image.anatomy import surroundings
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.distribution import randomness
from miliary.image.distribution.evidence import MEASURES
from miliary.image.distribution.locations import CONTACT_MM, ZONES, measure_locations
from miliary.image.figures.pattern_figure import render_pattern
from miliary.image.kernels import point_counts
from miliary.model.pattern import CLASSES, PatternLabel
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize_pattern

N, RADIUS, MIDDLE = 100, 44.0, 49.5
SPACING = (1.0, 0.7, 0.7)
NONE_MM, NONE = np.empty((0, 3)), np.empty(0)
# Middles of squares between the rods.
AT_YX = np.array([[y, x] for y in (-30, -10, 10, 30) for x in (-30, -10, 10, 30) if abs(y) + abs(x) < 50.0])


@pytest.fixture(scope="module")
def box():
    shape = [round(N / step) for step in SPACING]
    z, y, x = np.meshgrid(
        *(np.arange(n) * d - MIDDLE for n, d in zip(shape, SPACING, strict=True)), indexing="ij"
    )
    inside = z**2 + y**2 + x**2 < RADIUS**2
    voxels = np.where(inside, -860.0, 40.0).astype(np.float32)
    rods = np.hypot((y + 10.0) % 20 - 10, (x + 10.0) % 20 - 10) < 1.6
    voxels[inside & rods] = 30.0
    return LungBox(voxels, inside.astype(np.uint8), (0, 0, 0), SPACING)


@pytest.fixture(scope="module")
def around(box):
    return surroundings.find_surroundings(box, box.voxels_hu, NONE_MM, NONE)


def _uniform(n, rng, low=0.0, high=RADIUS - 1.2):
    """Points of the ball between two radii, outside the rods."""
    points = rng.uniform(-RADIUS, RADIUS, (80 * n + 400, 3))
    r = np.linalg.norm(points, axis=1)
    gap = np.hypot((points[:, 1] + 10.0) % 20 - 10, (points[:, 2] + 10.0) % 20 - 10) - 1.6
    points = points[(r >= low) & (r < high) & (gap > 0.5)]
    assert len(points) >= n
    return points[:n] + MIDDLE


def _estimate(around, points, *, seed=1, injected=None):
    # So large that the packaged chance of detection is the same everywhere.
    diameter = np.full(len(points), 2.0)
    return randomness.estimate_pattern(points, diameter, surroundings=around, seed=seed, injected=injected)


def test_depth_and_vessel_distance_are_those_of_the_shapes(around):
    points = _uniform(400, np.random.default_rng(0))
    depth = RADIUS - np.linalg.norm(points - MIDDLE, axis=1)
    gap = np.hypot(*((points[:, 1:] - MIDDLE + 10.0) % 20 - 10).T) - 1.6
    shallow = depth < 10
    assert shallow.sum() > 100
    assert np.abs(around.measure_depth_mm(points) - depth)[shallow].max() < 1.1
    assert abs((around.measure_depth_mm(points) - depth)[shallow].mean()) < 0.3
    # Near the rim what is bright may be chest wall, and rods end there.
    inner = (depth > 16) & (gap < 9)
    assert inner.sum() > 50
    assert np.abs(around.measure_vessel_mm(points) - gap)[inner].max() < 1.2


def test_search_agrees_with_looking_at_every_cell(around):
    points = _uniform(60, np.random.default_rng(1)) + 0.123
    half = around.cell_mm.mean() / 2
    for field, measured in (
        (around.lung == 0, around.measure_depth_mm(points)),
        (around.vessel > 0, around.measure_vessel_mm(points)),
    ):
        cells = np.argwhere(field) * around.cell_mm + around.offset_mm
        nearest = np.linalg.norm(points[:, None] - cells[None], axis=2).min(axis=1)
        # The array's border is no surface: outside it nothing is known.
        assert measured == pytest.approx(np.clip(nearest - half, 0, surroundings.REACH_MM), abs=1e-9)


def test_a_thin_sheet_is_fissure_and_nothing_else_is(box):
    rng = np.random.default_rng(14)
    place = [np.arange(n) * d for n, d in zip(box.voxels_hu.shape, SPACING, strict=True)]
    z, y, _ = np.meshgrid(*place, indexing="ij")
    off = (z - MIDDLE - 0.6 * (y - MIDDLE)) / np.hypot(1.0, 0.6)
    noise = rng.normal(0, 20, box.voxels_hu.shape)
    plain = (box.voxels_hu + noise).astype(np.float32)
    sheet = 160.0 * np.exp(-0.5 * (off / 0.7) ** 2)
    with_sheet = np.where((box.labels > 0) & (plain < -600), plain + sheet, plain).astype(np.float32)
    found = surroundings.find_surroundings(box, with_sheet, NONE_MM, NONE)
    cells = np.argwhere(found.fissure) * found.cell_mm + found.offset_mm - MIDDLE
    distance = np.abs(cells[:, 0] - 0.6 * cells[:, 1]) / np.hypot(1.0, 0.6)
    assert (distance < 2.0).mean() > 0.9
    points = rng.uniform(-24, 24, (500, 3))
    points[:, 0] = 0.6 * points[:, 1]
    between = np.hypot(*((points[:, 1:] + 10.0) % 20 - 10).T) > 5
    assert (found.measure_fissure_mm(points[between] + MIDDLE) < 2.0).mean() > 0.8
    assert surroundings.find_surroundings(box, plain, NONE_MM, NONE).fissure.sum() < 0.01 * len(cells)


def test_a_fissure_is_seen_behind_reported_nodules(box):
    shape = box.voxels_hu.shape
    axes = [np.arange(n) * d - MIDDLE for n, d in zip(shape, SPACING, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    off = (place[..., 0] - 0.6 * place[..., 1]) / np.hypot(1.0, 0.6)
    plain = box.voxels_hu + np.where(box.labels > 0, 200.0 * np.exp(-0.5 * (off / 0.4) ** 2), 0.0)
    at = np.stack([0.6 * AT_YX[:, 0], AT_YX[:, 0], AT_YX[:, 1]], axis=1)
    spotted = plain.copy()
    for center in at:
        spotted[np.linalg.norm(place - center, axis=-1) < 1.6] = 40.0
    noise = np.random.default_rng(16).normal(0, 20, shape)
    plain, spotted = (
        (ndimage.gaussian_filter(voxels, np.divide(0.7, SPACING)) + noise).astype(np.float32)
        for voxels in (plain, spotted)
    )

    def count_seen(voxels, position_mm, diameter_mm):
        found = surroundings.find_surroundings(box, voxels, position_mm, diameter_mm)
        return np.count_nonzero(found.measure_fissure_mm(at + MIDDLE) < 1.6 + CONTACT_MM)

    assert count_seen(plain, NONE_MM, NONE) == len(at)
    assert count_seen(spotted, NONE_MM, NONE) < len(at) - 3
    assert count_seen(spotted, at + MIDDLE, np.full(len(at), 3.2)) == len(at)


def test_nodules_on_a_fissure_show(around):
    flat = np.zeros_like(around.lung)
    flat[np.arange(flat.shape[0]) == flat.shape[0] // 2] = 1
    split = dataclasses.replace(around, fissure=flat & around.lung)
    rng = np.random.default_rng(15)
    points = _uniform(160, rng)
    points[:50, 0] = split.offset_mm[0] + (flat.shape[0] // 2) * split.cell_mm[0] + rng.uniform(-1, 1, 50)
    evidence = {item.name: item for item in _estimate(split, points).evidence}
    assert evidence["fissure_contact"].ratio_low > 2
    assert "cm2" in _estimate(split, points).fissures


def test_a_nodule_is_no_vessel_whether_reported_or_missed(box):
    at = np.array([[MIDDLE, MIDDLE + 10.0, MIDDLE + 10.0], [MIDDLE, MIDDLE, MIDDLE + 3.0]])
    voxels = box.voxels_hu.copy()
    place = np.stack(
        np.meshgrid(*(np.arange(n) * d for n, d in zip(voxels.shape, SPACING, strict=True)), indexing="ij"),
        -1,
    )
    for center in at:
        voxels[np.linalg.norm(place - center, axis=-1) < 1.5] = 40.0
    changed = dataclasses.replace(box, voxels_hu=voxels)
    missed = surroundings.find_surroundings(changed, voxels, NONE_MM, NONE)
    assert missed.measure_vessel_mm(at[:1])[0] > 6
    assert missed.measure_vessel_mm(at[1:])[0] == 0
    found = surroundings.find_surroundings(changed, voxels, at, np.array([3.0, 3.0]))
    assert found.measure_vessel_mm(at[1:])[0] > 0.5


def test_neighbors_are_those_of_every_pair():
    rng = np.random.default_rng(2)
    points = rng.uniform(0, 40, (300, 3))
    points = points[np.argsort(points[:, 0])]
    draws = np.sort(np.stack([rng.choice(300, 80, replace=False) for _ in range(5)]), axis=1).astype(np.int32)
    kept, edges = np.empty_like(draws), np.array([3.0, 5.0, 9.0])
    point_counts.drop_close(0, 5, points, draws, kept, 3.0)
    sizes = (kept >= 0).sum(axis=1)
    pairs, nearest = np.zeros((5, 2)), np.full(draws.shape, np.nan)
    point_counts.count_neighbors(0, 5, points, kept, sizes, edges, pairs, nearest)
    assert sizes.max() < 80
    for k in range(5):
        here = points[kept[k, : sizes[k]]]
        distance = np.linalg.norm(here[:, None] - here[None], axis=2)
        apart = distance[np.triu_indices(len(here), 1)]
        assert apart.min() >= 3.0
        assert pairs[k].tolist() == [np.sum((apart >= a) & (apart < b)) for a, b in ((3, 5), (5, 9))]
        np.fill_diagonal(distance, np.inf)
        assert nearest[k, : len(here)] == pytest.approx(distance.min(axis=1))
        lost = np.setdiff1d(draws[k], kept[k])
        assert all(np.linalg.norm(here - points[row], axis=1).min() < 3.0 for row in lost)


@pytest.mark.parametrize("n", [120, 400, 2500])
def test_uniform_points_are_random(around, n):
    found = _estimate(around, _uniform(n, np.random.default_rng(n)))
    assert found.label is PatternLabel.RANDOM
    assert not found.is_random_rejected
    assert [item.name for item in found.evidence] == list(MEASURES)
    assert all(item.ratio_low < item.ratio < item.ratio_high for item in found.evidence)
    assert sum(item.ratio_low < 1 < item.ratio_high for item in found.evidence) >= 5
    assert (found.n_nodules, found.n_used <= randomness.MAX_USED) == (n, True)


def test_points_on_the_surface_and_along_vessels_are_perilymphatic(around):
    rng = np.random.default_rng(4)
    surface = _uniform(100, rng, low=RADIUS - 1.6, high=RADIUS - 1.0)
    z = rng.uniform(-25, 25, 100)
    turn = rng.uniform(0, 2 * np.pi, 100)
    beside = (
        np.stack([z, 2.6 * np.sin(turn), 20.0 * rng.integers(-1, 2, 100) + 2.6 * np.cos(turn)], axis=1)
        + MIDDLE
    )
    found = _estimate(around, np.concatenate([surface, beside]))
    assert found.label is PatternLabel.PERILYMPHATIC
    assert found.is_random_rejected
    evidence = {item.name: item for item in found.evidence}
    assert evidence["pleura_contact"].ratio_low > 2
    assert evidence["vessel_contact"].ratio_low > 2


def test_points_off_the_surface_are_centrilobular(around):
    found = _estimate(around, _uniform(220, np.random.default_rng(5), high=RADIUS - 4.0))
    assert found.label is PatternLabel.CENTRILOBULAR
    assert found.is_random_rejected
    assert found.evidence[0].ratio < 0.3


def test_a_gradient_alone_is_still_random(around):
    rng = np.random.default_rng(6)
    points = _uniform(1500, rng)
    height = (points[:, 0] - MIDDLE) / RADIUS
    found = _estimate(around, points[rng.random(len(points)) < np.exp(-1.0 * (height + 1))])
    assert found.label is PatternLabel.RANDOM
    assert found.randomness_p > 0.05
    gradient = {item.name: item for item in found.gradients}
    assert gradient["upper_to_lower"].ratio_high < 0.7
    assert not np.isfinite(gradient["left_to_right"].ratio)


def test_nodules_that_keep_apart_are_still_random(around):
    points = _uniform(700, np.random.default_rng(13))
    kept = [points[0]]
    for point in points[1:]:
        if np.linalg.norm(np.array(kept) - point, axis=1).min() > 6.0:
            kept.append(point)
    found = _estimate(around, np.array(kept))
    assert len(kept) > 250
    assert found.label is PatternLabel.RANDOM
    assert found.randomness_p > 0.05


def test_too_few_nodules_give_no_pattern(around):
    few = _estimate(around, _uniform(29, np.random.default_rng(7)))
    assert few.label is PatternLabel.INDETERMINATE
    assert "29" in few.reason
    assert few.probabilities == {}
    assert few.randomness_p is None
    summary = to_json(summarize_pattern(few))
    assert summary["probabilities"] == dict.fromkeys(c.value for c in CLASSES)
    assert summary["probabilities_reason"] == few.reason
    assert _estimate(around, NONE_MM).label is PatternLabel.NONE


def test_the_same_seed_gives_the_same_and_leaves_its_input(around):
    points = _uniform(150, np.random.default_rng(8))
    before = points.copy()
    one, other = _estimate(around, points), _estimate(around, points[::-1])
    assert (points == before).all()
    assert _estimate(around, points) == one
    assert other.label is one.label
    assert sum(one.probabilities.values()) == pytest.approx(1.0)


def test_what_is_seldom_found_in_a_place_is_no_pattern_where_trials_show_it(around):
    rng = np.random.default_rng(9)

    def see(points):
        return rng.random(len(points)) < np.where(around.measure_depth_mm(points) < 3.4, 0.25, 0.95)

    points = _uniform(900, rng)
    points = points[see(points)]
    tried = _uniform(2000, rng)
    injected = randomness.InjectedNodules(tried, np.full(2000, 2.0), see(tried))
    blind, told = _estimate(around, points), _estimate(around, points, injected=injected)
    assert blind.is_random_rejected
    rims = [found.evidence[1] for found in (blind, told)]
    assert rims[0].ratio_high < 0.8
    assert rims[1].ratio_low < 1 < rims[1].ratio_high
    assert told.label is PatternLabel.RANDOM
    assert (blind.completeness, told.completeness) == ("shipped", "measured")


def test_the_joint_test_keeps_its_level_whatever_the_distribution():
    rng = np.random.default_rng(10)
    sets = rng.standard_exponential((1000, 100, 4)) @ rng.standard_normal((4, 4))
    rejected = np.mean([randomness._test_jointly(s[0], s[1:]) <= 0.05 for s in sets])
    assert 0.033 < rejected < 0.067
    assert randomness._test_jointly(sets[0][0] + 50.0, sets[0][1:]) == pytest.approx(0.01)


def test_marks_that_may_be_vessels_are_not_used(around):
    rng = np.random.default_rng(17)
    points = _uniform(200, rng)
    z, turn = rng.uniform(-25, 25, 150), rng.uniform(0, 2 * np.pi, 150)
    column = 20.0 * rng.integers(-1, 2, 150)
    beside = np.stack([z, 2.2 * np.sin(turn), column + 2.2 * np.cos(turn)], axis=1) + MIDDLE
    both, size = np.concatenate([points, beside]), np.full(350, 2.0)
    blind = randomness.estimate_pattern(both, size, surroundings=around)
    doubt = np.repeat([0.9, 0.5], [200, 150])
    told = randomness.estimate_pattern(both, size, probability=doubt, surroundings=around)
    assert blind.is_random_rejected
    assert not told.is_random_rejected
    assert (blind.n_nodules, told.n_nodules) == (350, 350)
    assert told.n_used <= 200 < blind.n_used
    few = randomness.estimate_pattern(both, size, probability=doubt - 0.35, surroundings=around)
    assert few.label is PatternLabel.INDETERMINATE
    assert few.reason == "0 of 350 nodules are certain enough, fewer than 30"


def test_few_nodules_on_a_fissure_tell_nothing_and_many_do(around):
    rng = np.random.default_rng(18)
    null = np.zeros((199, len(MEASURES))) + rng.normal(0, 0.1, (199, len(MEASURES)))
    column = MEASURES.index("fissure_contact")
    p_value = {}
    for value in (-3.0, 0.0, 3.0):
        observed = np.zeros(len(MEASURES))
        observed[column] = value
        p_value[value] = randomness._test_jointly(*randomness._ignore_missing_fissures(observed, null))
    assert p_value[-3.0] > 0.9
    assert p_value[0.0] > 0.9
    assert p_value[3.0] == pytest.approx(0.005)


def test_trials_tell_by_how_much_the_packaged_chance_is_off(around):
    rng = np.random.default_rng(19)
    points = _uniform(4000, rng)
    tried = measure_locations(around, points, np.full(len(points), 0.85))
    tried = tried.select(tried.can_hold_nodule())
    packaged, _ = randomness._look_up_detection(tried)
    k = ZONES.index("vessel_near")
    for factor in (1.0, 0.5):
        chance = 0.9 * packaged * np.where(tried.zone == k, factor, 1.0)
        log_factor, log_sd = randomness._compare_zones(tried, rng.random(len(tried)) < chance, 0.85)
        assert log_factor[k] == pytest.approx(np.log(factor), abs=0.1)
        assert log_factor[-1] == log_sd[-1] == 0
        assert log_sd[k] == pytest.approx(randomness.MIN_LOG_SD, abs=0.05)
        others = [ZONES.index(name) for name in ("pleura_contact", "pleura_rim", "vessel_contact")]
        assert np.abs(log_factor[others]).max() < 0.15
        assert log_sd[others[0]] >= randomness.read_model()["geometry_log_sd"]["pleura_contact"]
    none = randomness._compare_zones(
        tried.select(tried.zone != k), np.ones((tried.zone != k).sum(), bool), 0.85
    )
    # Without a trial the packaged chance stands, as unsure as it is.
    assert none[0][k] == 0
    assert none[1][k] == pytest.approx(0.14, abs=0.03)


def test_uniformity_of_size_is_what_was_there_before_measurement():
    rng = np.random.default_rng(11)
    true = rng.normal(2.0, 0.3, 3000)
    err = np.full(3000, 0.4)
    size = randomness.estimate_uniformity(true + rng.normal(0, err), err)
    assert size.cv == pytest.approx(0.15, abs=4 * size.cv_err)
    assert size.cv_err < 0.02
    assert size.cv_measured == pytest.approx(0.25, abs=0.01)
    assert randomness.estimate_uniformity(np.array([2.0, np.nan]), None).cv is None


def test_the_figure_shows_every_piece_of_evidence(around):
    found = _estimate(around, _uniform(100, np.random.default_rng(12)))
    assert [curve.name for curve in found.curves] == [
        "gap to the pleura",
        "gap to the nearest visible fissure",
        "gap to the nearest visible vessel",
        "pair correlation",
        "distance to the nearest nodule",
    ]
    figure = render_pattern(found)
    few = render_pattern(_estimate(around, NONE_MM))
    assert figure.name == few.name == "pattern"
    assert figure.pixels.shape == few.pixels.shape
    seen = (figure.pixels == (213, 94, 0)).all(axis=2)
    half_y, panel_x = seen.shape[0] // 2 + 30, seen.shape[1] // 5
    for row, n_panels in ((seen[:half_y], 5), (seen[half_y:], 4)):
        for k in range(n_panels):
            assert row[:, k * panel_x : (k + 1) * panel_x].sum() > 100
    json.dumps(to_json(summarize_pattern(found)), allow_nan=False)
