"""Registration on a small chest of two lungs with vessels, breathed by a known motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.pair import displacement_field
from miliary.image.pair.patch_search import PatchGeometry, choose_centers, correlate, find_peaks
from miliary.image.pair.register import Registration, register_lungs
from miliary.model.ct_result import Lungs
from miliary.model.scan import Grid, Scan
from miliary.model.transform import Transform

SHAPE = (62, 52, 86)
GRID = Grid(SHAPE, (1.6, 1.5, 1.5), (-63.0, -38.0, 36.0))
MOVED = Grid((62, 58, 92), (1.7, 1.5, 1.5), (-58.0, -51.0, 10.0))
SHIFT = np.array([10.0, -8.0, -24.0])
BACK_MM, RISE_MM = 2.0, 9.0


@dataclass(frozen=True)
class Chest:
    """A scan and its lungs."""

    scan: Scan
    lungs: Lungs


def pull(points: np.ndarray) -> np.ndarray:
    """Where tissue that is now at `points` was before the breath, without the shift on the table."""
    x, _, z = points.T
    down = np.clip((130.0 - z) / 75.0, 0.0, 1.2)
    dz = -RISE_MM * down**1.5
    dy = BACK_MM * np.sin(x / 17.0) * np.sin(z / 22.0)
    return points + np.stack([np.zeros_like(x), dy, dz], axis=1)


def push(points: np.ndarray) -> np.ndarray:
    """Follow-up points of baseline points."""
    at = points.copy()
    for _ in range(60):
        at = points - (pull(at) - at)
    return at + SHIFT


def centers_of_vessels(seed: int = 4, n: int = 260) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low, high = GRID.lps_from_index([[0, 0, 0], np.array(SHAPE) - 1])
    return rng.uniform(low, high, (n, 3)), rng.normal(size=(n, 3))


def paint(points: np.ndarray, nodules: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation and lung label at baseline points (n, 3)."""
    x, y, z = points.T
    labels = np.zeros(len(points), dtype=np.uint8)
    for label, middle in ((1, -30.0), (2, 32.0)):
        inside = ((x - middle) / 24.0) ** 2 + (y / 30.0) ** 2 + ((z - 86.0) / 40.0) ** 2 < 1.0
        labels[inside & (z > 60.0 + 0.004 * y**2)] = label
    hu = np.where(labels > 0, -860.0, 40.0)
    share = np.zeros(len(points))
    lung = np.flatnonzero(labels)
    tree = cKDTree(points[lung])
    starts, ways = centers_of_vessels()
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    for start, way in zip(starts, ways, strict=True):
        near = lung[tree.query_ball_point(start, 13.0)]
        offset = points[near] - start
        along = offset @ way
        distance = np.linalg.norm(offset - along[:, None] * way, axis=1)
        value = np.exp(-0.5 * (distance / 1.2) ** 2) * (np.abs(along) < 11.0)
        share[near] = np.maximum(share[near], value)
    for place in nodules:
        near = lung[tree.query_ball_point(place[:3], place[3] + 1.0)]
        distance = np.linalg.norm(points[near] - place[:3], axis=1)
        share[near] = np.maximum(share[near], np.clip((place[3] + 0.7 - distance) / 1.4, 0.0, 1.0))
    return hu + share * (40.0 - hu), labels


def make_chest(grid: Grid, *, is_followup: bool, nodules: np.ndarray, seed: int) -> Chest:
    index = np.moveaxis(np.indices(grid.shape_zyx), 0, -1).reshape(-1, 3)
    points = grid.lps_from_index(index)
    if is_followup:
        points = pull(points - SHIFT)
    hu, labels = paint(points, nodules)
    if is_followup:
        hu = np.where(hu < -500.0, hu + 45.0, hu)
    noise = np.random.default_rng(seed).normal(0.0, 25.0, len(hu))
    volume = (hu + noise).reshape(grid.shape_zyx).astype(np.int16)
    mask = labels.reshape(grid.shape_zyx)
    return Chest(Scan(volume, grid), Lungs(mask, grid.voxel_volume_mm3))


def draw_nodules(baseline: Chest, n: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    inside = np.argwhere(ndimage.binary_erosion(baseline.lungs.labels > 0, iterations=2))
    chosen = GRID.lps_from_index(inside[rng.choice(len(inside), n, replace=False)])
    return np.c_[chosen, np.full(n, 1.4)]


@pytest.fixture(scope="module")
def baseline() -> Chest:
    empty = make_chest(GRID, is_followup=False, nodules=np.zeros((0, 4)), seed=1)
    nodules = draw_nodules(empty, 60)
    return make_chest(GRID, is_followup=False, nodules=nodules, seed=1)


@pytest.fixture(scope="module")
def nodules(baseline: Chest) -> np.ndarray:
    return draw_nodules(baseline, 60)


@pytest.fixture(scope="module")
def treated(nodules: np.ndarray) -> Chest:
    return make_chest(MOVED, is_followup=True, nodules=nodules[:6], seed=2)


@pytest.fixture(scope="module")
def registration(baseline: Chest, treated: Chest) -> Registration:
    return register_lungs(baseline.scan, baseline.lungs, treated.scan, treated.lungs)


def draw_points(baseline: Chest, n: int = 500) -> np.ndarray:
    inside = np.argwhere(baseline.lungs.labels > 0)
    return GRID.lps_from_index(inside[np.random.default_rng(5).choice(len(inside), n)])


def test_points_of_the_lungs_are_found_again(baseline: Chest, registration: Registration) -> None:
    points = draw_points(baseline)
    truth = push(points)
    assert np.linalg.norm(truth - points - SHIFT, axis=1).max() > 6.0
    miss = np.linalg.norm(registration.transform.apply(points) - truth, axis=1)
    assert miss.mean() < 0.8
    assert np.quantile(miss, 0.95) < 2.0


def test_the_error_that_is_told_is_about_the_one_there_is(
    baseline: Chest, registration: Registration
) -> None:
    points = draw_points(baseline)
    miss = np.linalg.norm(registration.transform.apply(points) - push(points), axis=1).mean()
    assert 0.7 * miss < registration.tre_estimate_mm < 2.5 * miss


def test_quality_is_told(registration: Registration) -> None:
    assert registration.agreement > 0.6
    assert registration.overlap > 0.95
    assert registration.fixed_coverage > 0.99
    assert registration.moving_coverage > 0.99
    assert registration.folded_share == 0.0
    assert registration.min_jacobian > 0.1
    assert registration.n_landmarks > 100


def test_where_nothing_moved_nothing_moves(baseline: Chest, nodules: np.ndarray) -> None:
    again = make_chest(GRID, is_followup=False, nodules=nodules, seed=7)
    found = register_lungs(baseline.scan, baseline.lungs, again.scan, again.lungs)
    points = draw_points(baseline)
    assert np.linalg.norm(found.transform.apply(points) - points, axis=1).mean() < 0.3


def test_another_patient_does_not_agree(baseline: Chest, registration: Registration) -> None:
    other = make_chest(GRID, is_followup=False, nodules=np.zeros((0, 4)), seed=3)
    turned = Scan(np.ascontiguousarray(other.scan.voxels_hu[:, ::-1]), GRID)
    lungs = Lungs(np.ascontiguousarray(other.lungs.labels[:, ::-1]), GRID.voxel_volume_mm3)
    found = register_lungs(baseline.scan, baseline.lungs, turned, lungs)
    assert found.agreement < 0.5 * registration.agreement
    assert found.min_jacobian > 0.0


def test_a_lesion_that_shrinks_does_not_pull_its_surroundings(baseline: Chest, nodules: np.ndarray) -> None:
    place = np.array([-30.0, 0.0, 90.0])
    before, after = np.r_[place, 10.0], np.r_[place, 5.0]
    large = make_chest(GRID, is_followup=False, nodules=np.vstack([nodules, before]), seed=1)
    small = make_chest(MOVED, is_followup=True, nodules=np.vstack([nodules[:6], after]), seed=2)
    mark = np.r_[push(place[None])[0], 5.0]
    found = register_lungs(
        large.scan, large.lungs, small.scan, small.lungs, fixed_disease=[before], moving_disease=[mark]
    )
    ring = place + 12.0 * np.vstack([np.eye(3), -np.eye(3)])
    miss = np.linalg.norm(found.transform.apply(ring) - push(ring), axis=1)
    assert miss.max() < 2.0
    change = found.transform.jacobian_at(place[None])[0]
    step = 0.5 * np.eye(3)
    true = np.linalg.det((push(place + step) - push(place - step)).T)
    assert change == pytest.approx(true, abs=0.15)


def test_empty_lungs_are_refused(baseline: Chest) -> None:
    none = Lungs(np.zeros(SHAPE, dtype=np.uint8), 1.0)
    with pytest.raises(ValueError, match="no lung"):
        register_lungs(baseline.scan, none, baseline.scan, baseline.lungs)
    with pytest.raises(ValueError, match="same side"):
        register_lungs(
            baseline.scan,
            Lungs((baseline.lungs.labels == 1).astype(np.uint8), 1.0),
            baseline.scan,
            Lungs(2 * (baseline.lungs.labels == 2).astype(np.uint8), 1.0),
        )


def test_another_size_is_followed(baseline: Chest) -> None:
    grid = Grid(SHAPE, (1.6 * 1.1, 1.5, 1.5 * 0.95), (-20.0, 15.0, -80.0))
    found = register_lungs(baseline.scan, baseline.lungs, Scan(baseline.scan.voxels_hu, grid), baseline.lungs)
    index = np.argwhere(baseline.lungs.labels > 0)[::500]
    miss = found.transform.apply(GRID.lps_from_index(index)) - grid.lps_from_index(index)
    assert np.linalg.norm(miss, axis=1).mean() < 0.3
    assert found.transform.jacobian_at(GRID.lps_from_index(index)).mean() == pytest.approx(1.045, abs=0.02)


def cut(chest: Chest, low: int, high: int) -> Chest:
    grid = chest.scan.grid.crop((low, 0, 0), (high - low, *chest.scan.grid.shape_zyx[1:]))
    labels = np.ascontiguousarray(chest.lungs.labels[low:high])
    voxels = np.ascontiguousarray(chest.scan.voxels_hu[low:high])
    return Chest(Scan(voxels, grid), Lungs(labels, grid.voxel_volume_mm3, is_cut_off=True))


def test_the_end_of_a_scan_is_no_surface(baseline: Chest, treated: Chest) -> None:
    filled = np.flatnonzero(treated.lungs.labels.any(axis=(1, 2)))
    whole = np.flatnonzero(baseline.lungs.labels.any(axis=(1, 2)))
    short = cut(baseline, int(whole[0]) + 3, SHAPE[0])
    other = cut(treated, int(filled[0]) + 10, MOVED.shape_zyx[0])
    found = register_lungs(short.scan, short.lungs, other.scan, other.lungs)
    points = draw_points(baseline, 800)
    truth = push(points)
    ends = (
        other.scan.grid.lps_from_index([[0, 0, 0]])[0, 2],
        short.scan.grid.lps_from_index([[0, 0, 0]])[0, 2],
    )
    seen = (truth[:, 2] > ends[0]) & (points[:, 2] > ends[1])
    assert np.linalg.norm(found.transform.apply(points) - truth, axis=1)[seen].mean() < 0.8
    assert found.fixed_coverage < 0.95


def test_peak_is_found_to_a_fraction_of_a_voxel() -> None:
    rng = np.random.default_rng(0)
    volume = ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 1.5).astype(np.float32)
    volume /= volume.std()
    shift = np.array([1.3, -0.6, 2.2])
    moved = ndimage.shift(volume, shift, order=3, mode="nearest").astype(np.float32)
    search = PatchGeometry(4, 1, 3)
    centers = np.array([[20, 20, 20], [16, 22, 18], [23, 17, 21]])
    scores = correlate(volume, moved, centers, search, floor=1e-3)
    offset, score, curvature = find_peaks(scores, np.zeros((3, 3)), 0.0)
    np.testing.assert_allclose(offset, np.tile(shift, (3, 1)), atol=0.12)
    assert (score > 0.9).all()
    assert (np.linalg.eigvalsh(curvature) > 0).all()


def test_peaks_on_the_border_are_not_believed_and_neighbors_decide() -> None:
    scores = np.zeros((2, 5, 5, 5), dtype=np.float32)
    scores[0, 0, 2, 2] = 0.9
    scores[1, 1, 2, 2], scores[1, 3, 2, 2] = 0.80, 0.82
    expected = np.array([[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    offset, score, _ = find_peaks(scores, expected, 0.0)
    assert score[0] == 0.0
    assert offset[1, 0] == pytest.approx(1.0, abs=0.1)
    offset, _, _ = find_peaks(scores, expected, 0.05)
    assert offset[1, 0] == pytest.approx(-1.0, abs=0.1)


def test_one_center_per_cell_and_only_inside() -> None:
    image = np.random.default_rng(1).normal(size=(12, 12, 12)).astype(np.float32)
    inside = np.zeros(image.shape, dtype=bool)
    inside[2:6, 2:6, 2:10] = True
    centers = choose_centers(image, inside, 6)
    assert len(centers) == 2
    assert inside[tuple(centers.T)].all()
    assert len(choose_centers(image, inside, 6, start=-3)) >= 2


def test_field_follows_sure_targets_and_stays_smooth_between() -> None:
    grid = Grid((10, 10, 10), (8.0, 8.0, 8.0))
    rng = np.random.default_rng(2)
    points = rng.uniform(8.0, 64.0, (400, 3))
    truth = np.stack([0.1 * points[:, 2], 3.0 * np.sin(points[:, 0] / 20.0), np.full(400, -2.0)], axis=1)
    target = truth.copy()
    precision = np.tile(np.eye(3) * 4.0, (400, 1, 1))
    wrong = rng.choice(400, 40, replace=False)
    target[wrong] += 30.0
    precision[wrong] = 0.0
    nodes = displacement_field.weigh_nodes(grid, points)
    start = np.zeros((*grid.shape_zyx, 3))
    field = displacement_field.fit_field(grid, nodes, target, precision, start=start, stiffness=20.0)
    assert np.abs(nodes @ field.reshape(-1, 3) - truth).mean() < 0.15
    stiff = displacement_field.fit_field(grid, nodes, target, precision, start=start, stiffness=1e9)
    assert stiff.std(axis=(0, 1, 2)).max() < 0.2


def test_weights_of_nodes_interpolate_like_the_transform() -> None:
    grid = Grid((5, 6, 7), (8.0, 7.0, 9.0), (3.0, -4.0, 5.0))
    field = np.random.default_rng(6).normal(size=(5, 6, 7, 3)).astype(np.float32)
    points = grid.lps_from_index(np.random.default_rng(7).uniform(-1, 6, (50, 3)))
    by_nodes = displacement_field.weigh_nodes(grid, points) @ field.reshape(-1, 3)
    transform = Transform(np.eye(3), np.zeros(3), grid, field)
    np.testing.assert_allclose(by_nodes, transform.displacement_at(points), atol=1e-5)
