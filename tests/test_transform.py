"""Points and volumes through an affine map and a displacement field."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.image.kernels.resample import resample_volume
from miliary.model.scan import Grid
from miliary.model.transform import Transform

TURN = np.array([[1.05, 0.02, -0.01], [-0.03, 0.95, 0.02], [0.01, 0.0, 1.1]])
SHIFT = np.array([4.0, -7.0, 12.0])


def make_grid() -> Grid:
    return Grid((9, 7, 8), (10.0, 9.0, 11.0), (-30.0, -20.0, 5.0))


def make_transform(amplitude_mm: float = 6.0) -> Transform:
    grid = make_grid()
    index = np.moveaxis(np.indices(grid.shape_zyx), 0, -1).astype(float)
    x, y, z = np.moveaxis(grid.lps_from_index(index), -1, 0)
    field = amplitude_mm * np.stack(
        [np.sin(y / 30.0), np.cos(z / 35.0), np.sin(x / 28.0 + z / 50.0)], axis=-1
    )
    return Transform(TURN, SHIFT, grid, field.astype(np.float32))


def make_points(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(3)
    return make_grid().lps_from_index(rng.uniform(0.5, 6.0, (n, 3)))


def test_affine_is_matrix_times_point_plus_offset() -> None:
    moved = Transform.affine(TURN, SHIFT).apply([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(moved[0], TURN @ [1.0, 2.0, 3.0] + SHIFT)


def test_field_is_exact_at_its_nodes_and_linear_between() -> None:
    transform = make_transform()
    index = np.array([[2.0, 3.0, 4.0], [2.0, 3.0, 5.0], [2.0, 3.0, 4.25]])
    at = transform.displacement_at(make_grid().lps_from_index(index))
    np.testing.assert_allclose(at[0], transform.displacement_lps_mm[2, 3, 4], atol=1e-5)
    np.testing.assert_allclose(at[2], 0.75 * at[0] + 0.25 * at[1], atol=1e-5)


def test_field_is_constant_beyond_its_border() -> None:
    transform = make_transform()
    corner, beyond = make_grid().lps_from_index([[0.0, 0.0, 0.0], [-5.0, -2.0, -9.0]])
    np.testing.assert_allclose(*transform.displacement_at([corner, beyond]), atol=1e-6)


def test_inversion_returns_to_the_start() -> None:
    transform, points = make_transform(), make_points()
    back = transform.invert_points(transform.apply(points))
    assert np.abs(back - points).max() < 0.05
    assert np.abs(transform.apply(points) - points).max() > 5.0


def test_inversion_of_a_folded_map_says_so() -> None:
    transform = make_transform(amplitude_mm=150.0)
    assert transform.min_jacobian() < 0
    target = transform.apply(make_points())
    back = transform.invert_points(target)
    told = np.isfinite(back).all(axis=1)
    assert (~told).any()
    if told.any():
        assert np.linalg.norm(transform.apply(back[told]) - target[told], axis=1).max() <= 1.0


def test_jacobian_is_the_volume_change() -> None:
    transform, points = make_transform(), make_points(20)
    step = 1e-3
    columns = [
        (transform.apply(points + step * e) - transform.apply(points - step * e)) / (2 * step)
        for e in np.eye(3)
    ]
    numeric = np.linalg.det(np.stack(columns, axis=-1))
    np.testing.assert_allclose(transform.jacobian_at(points), numeric, rtol=0.05)
    assert transform.min_jacobian() <= transform.jacobian().min() + 1e-9
    assert Transform.affine(2 * np.eye(3), SHIFT).jacobian_at(points) == pytest.approx(8.0)


def test_min_jacobian_sees_a_single_crossed_node() -> None:
    grid = Grid((5, 5, 5), (10.0, 10.0, 10.0))
    field = np.zeros((5, 5, 5, 3), dtype=np.float32)
    field[2, 2, 2, 0] = 11.0
    crossed = Transform(np.eye(3), np.zeros(3), grid, field)
    # Central differences step over the node itself.
    assert crossed.jacobian()[2, 2, 2] == pytest.approx(1.0)
    assert crossed.min_jacobian() < 0


def test_arrays_hold_the_whole_transform() -> None:
    points = make_points()
    for transform in (make_transform(), Transform.affine(TURN, SHIFT)):
        again = Transform.from_arrays(transform.to_arrays())
        np.testing.assert_array_equal(again.apply(points), transform.apply(points))
        assert again.grid == transform.grid


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Transform(np.eye(3), np.zeros(3), make_grid())
    with pytest.raises(ValueError, match="their grid"):
        Transform(np.eye(3), np.zeros(3), make_grid(), np.zeros((2, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        Transform.identity().apply([1.0, 2.0, 3.0])


def test_volume_follows_the_points() -> None:
    transform = make_transform()
    moving = Grid((60, 50, 56), (2.5, 2.0, 2.2), (-40.0, -45.0, 10.0))
    slope = np.array([0.5, -1.5, 2.0])
    index = np.moveaxis(np.indices(moving.shape_zyx), 0, -1)
    volume = (moving.lps_from_index(index) @ slope).astype(np.float32)
    target = Grid((20, 18, 22), (3.0, 2.5, 2.0), (-10.0, -5.0, 15.0))
    warped = resample_volume(volume, moving, target, transform=transform, fill=-9999.0)
    points = target.lps_from_index(np.moveaxis(np.indices(target.shape_zyx), 0, -1)).reshape(-1, 3)
    expected = (transform.apply(points) @ slope).reshape(target.shape_zyx)
    inside = warped > -9000
    assert inside.mean() > 0.8
    # Half a voxel beyond the outermost centers the border is repeated.
    assert np.abs(warped - expected)[inside].max() < 3.0
    assert np.median(np.abs(warped - expected)[inside]) < 1e-3


def test_labels_are_taken_from_the_nearest_voxel() -> None:
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0))
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[:, :, 2:] = 2
    fine = Grid((8, 8, 8), (1.0, 1.0, 1.0))
    out = resample_volume(labels, grid, fine, order=0, fill=0.0)
    assert set(np.unique(out)) == {0.0, 2.0}
    assert (out[0, 0] == [0, 0, 0, 2, 2, 2, 2, 2]).all()
