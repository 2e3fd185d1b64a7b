import numpy as np
import pytest
from scipy import ndimage

from miliary.image.anatomy.regions import (
    DEPTH_GRID_MM,
    locate,
    measure_depth,
    measure_distance,
    measure_distance_to_surface,
)


def _ball(shape, spacing, radius):
    center = 0.5 * (np.array(shape) - 1)
    z, y, x = (((np.arange(n) - c) * s) ** 2 for n, c, s in zip(shape, center, spacing, strict=True))
    return (z[:, None, None] + y[None, :, None] + x[None, None, :] < radius**2).astype(np.uint8), center


@pytest.mark.parametrize(
    ("shape", "spacing"), [((52, 70, 74), (1.0, 0.7, 0.68)), ((24, 36, 44), (2.0, 1.4, 1.2))]
)
def test_depth_in_a_ball_is_the_distance_to_its_surface(shape, spacing):
    radius = 20.0
    labels, center = _ball(shape, spacing, radius)
    rng = np.random.default_rng(2)
    direction = rng.normal(size=(600, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    r = rng.uniform(4.0, 19.5, 600)
    error = measure_depth(labels, spacing, center + direction * r[:, None] / spacing) - (radius - r)
    # Within half a cell near the surface; from further in, the nearest of many cells outside is nearer than
    # a surface half a cell before it, by up to a cell.
    near = r > 15.0
    assert abs(np.mean(error[near])) < 0.3 * DEPTH_GRID_MM
    assert np.quantile(np.abs(error[near]), 0.95) < 0.6 * DEPTH_GRID_MM
    assert error.min() > -1.0 * DEPTH_GRID_MM
    assert error.max() < 0.4 * DEPTH_GRID_MM


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1.0, 0.7, 0.7), (2.5, 0.6, 0.8), (0.5, 1.2, 0.9)])
def test_depth_in_a_slab(axis, spacing):
    shape = [14, 14, 14]
    shape[axis] = 60
    labels = np.zeros(shape, dtype=np.uint8)
    inside = [slice(None)] * 3
    inside[axis] = slice(12, 48)
    labels[tuple(inside)] = 2
    step = spacing[axis]
    at = np.linspace(12.0, 47.0, 36)
    index = np.full((36, 3), 6.3)
    index[:, axis] = at
    expected = np.minimum(at - 11.5, 47.5 - at) * step
    np.testing.assert_allclose(measure_depth(labels, spacing, index), expected, atol=0.5 * DEPTH_GRID_MM)


def test_depth_is_negative_outside():
    labels, center = _ball((30, 40, 44), (1.5, 1.2, 1.1), 14.0)
    out = center + np.array([[0.0, 0.0, 17.0 / 1.1], [18.0 / 1.5, 0.0, 0.0]])
    np.testing.assert_allclose(
        measure_depth(labels, (1.5, 1.2, 1.1), out), [-3.0, -4.0], atol=0.5 * DEPTH_GRID_MM
    )


def test_no_points_have_no_depth():
    assert measure_depth(np.ones((3, 3, 3), np.uint8), (1.0, 1.0, 1.0), np.empty((0, 3))).shape == (0,)


def test_side_and_zone_follow_the_labels(small_labels):
    # Both lungs fill slices 3 to 20; thirds change at 3 + 17 / 3 and 3 + 34 / 3.
    index = [[4, 15, 15], [8.5, 15, 40], [8.8, 15, 40], [14.2, 20, 20], [14.5, 20, 20], [20, 10, 50]]
    side, zone = locate(small_labels, np.array(index, dtype=float))
    assert side.tolist() == ["right", "left", "left", "right", "right", "left"]
    assert zone.tolist() == ["lower", "lower", "middle", "middle", "upper", "upper"]


def test_zones_are_thirds_of_the_own_lung():
    labels = np.zeros((30, 4, 8), dtype=np.uint8)
    labels[0:10, :, :4] = 1
    labels[:, :, 4:] = 2
    _, zone = locate(labels, np.array([[8.0, 2.0, 2.0], [8.0, 2.0, 6.0]]))
    assert zone.tolist() == ["upper", "lower"]


def test_points_outside_belong_to_the_nearest_lung(small_labels):
    # Lungs: x 8 to 25 and 34 to 51.
    index = np.array([[10, 15, 28], [10, 15, 31], [10, 15, 0], [10, 39, 59], [-2.0, 15, 70]])
    side, _ = locate(small_labels, index)
    assert side.tolist() == ["right", "left", "right", "left", "left"]


def test_no_points_have_no_place(small_labels):
    side, zone = locate(small_labels, np.empty((0, 3)))
    assert len(side) == len(zone) == 0


@pytest.mark.parametrize("spacing", [(1.0, 0.7, 0.68), (2.0, 1.4, 1.2)])
def test_distance_to_the_surface_is_that_to_the_voxel_faces(spacing):
    radius = 15.0
    shape = tuple(int(2 * radius / s) + 9 for s in spacing)
    labels, center = _ball(shape, spacing, radius)
    rng = np.random.default_rng(3)
    direction = rng.normal(size=(500, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    r = rng.uniform(0.0, 17.0, 500)
    found = measure_distance_to_surface(labels, spacing, center + direction * r[:, None] / spacing)
    # The staircase of voxels lies within half a voxel's diagonal of the ball.
    assert np.abs(found - (radius - r)).max() < 0.75 * np.linalg.norm(spacing)
    # The nearest of many faces is one that sticks out, so that the mean is a little short.
    assert -0.2 * np.linalg.norm(spacing) < np.mean(found - (radius - r)) < 0.0


def test_distance_without_a_surface_is_infinite():
    everywhere = np.ones((4, 4, 4), dtype=np.uint8)
    assert measure_distance_to_surface(everywhere, (1.0, 1.0, 1.0), np.array([[1.0, 1.0, 1.0]])) == np.inf
    assert len(measure_distance_to_surface(everywhere, (1.0, 1.0, 1.0), np.empty((0, 3)))) == 0


@pytest.mark.parametrize("share", [0.002, 0.5, 0.998])
def test_measure_distance_agrees_with_scipy_on_an_anisotropic_grid(share):
    inside = np.random.default_rng(3).random((21, 34, 45)) > share
    expected = ndimage.distance_transform_edt(inside, sampling=(2.0, 0.7, 1.1))
    np.testing.assert_allclose(measure_distance(inside, (2.0, 0.7, 1.1)), expected, atol=1e-4)


def test_measure_distance_is_infinite_where_nothing_is_outside():
    assert np.isinf(measure_distance(np.ones((3, 4, 5), dtype=bool), (1.0, 1.0, 1.0))).all()


def test_distance_to_surface_agrees_with_a_search_over_all_faces():
    labels = (np.random.default_rng(4).random((9, 11, 13)) > 0.7).astype(np.uint8)
    spacing = np.array([2.0, 0.7, 1.1])
    index = np.random.default_rng(5).random((40, 3)) * (8, 10, 12)
    faces = []
    for axis in range(3):
        where = np.argwhere(np.diff(labels.view(np.int8), axis=axis)).astype(float)
        where[:, axis] += 0.5
        faces.append(where)
    gaps = (index[:, None] - np.concatenate(faces)[None]) * spacing
    expected = np.sqrt((gaps**2).sum(axis=2)).min(axis=1)
    got = measure_distance_to_surface(labels, tuple(spacing), index)
    np.testing.assert_allclose(np.abs(got), expected, atol=1e-9)
