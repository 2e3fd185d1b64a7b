import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from miliary.exchange.volumes.orientation import (
    canonical_grid,
    canonical_view,
    find_source_order,
    source_geometry,
    source_view,
)
from miliary.model.scan import SourceOrder

AXES = np.eye(3)[::-1]  # rows: z, y, x


@st.composite
def source_geometries(draw):
    """Shape, spacing, origin and right- or left-handed axes of a file's array, in any orientation."""
    shape = draw(st.tuples(*[st.integers(2, 5)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 5.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    turn = Rotation.from_rotvec(draw(st.tuples(*[st.floats(-3.0, 3.0)] * 3))).as_matrix()
    return shape, spacing, origin, turn * draw(st.sampled_from([1.0, -1.0]))


@given(source_geometries())
@settings(max_examples=100, deadline=None)
def test_every_voxel_keeps_its_point_in_the_patient(geometry):
    shape, spacing, origin, axes = geometry
    order = find_source_order(axes)
    grid = canonical_grid(shape, spacing_mm=spacing, origin_lps_mm=origin, axes_lps=axes, order=order)
    source = np.indices(shape).transpose(1, 2, 3, 0).reshape(-1, 3)
    expected = source * spacing @ axes + origin
    numbered = np.arange(len(source)).reshape(shape)
    canonical = canonical_view(numbered, order)
    points = grid.lps_from_index(np.argwhere(canonical >= 0))
    np.testing.assert_allclose(points, expected[canonical.ravel()], atol=1e-6)


@given(source_geometries())
@settings(max_examples=100, deadline=None)
def test_geometry_and_array_of_the_file_come_back(geometry):
    shape, spacing, origin, axes = geometry
    order = find_source_order(axes)
    grid = canonical_grid(shape, spacing_mm=spacing, origin_lps_mm=origin, axes_lps=axes, order=order)
    back_shape, back_spacing, back_origin, back_axes = source_geometry(grid, order)
    assert back_shape == shape
    np.testing.assert_allclose(back_spacing, spacing)
    np.testing.assert_allclose(back_origin, origin, atol=1e-6)
    np.testing.assert_allclose(back_axes, axes, atol=1e-12)
    values = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(source_view(canonical_view(values, order), order), values)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (AXES, SourceOrder()),
        (-AXES, SourceOrder((0, 1, 2), (True, True, True))),
        # coronal slices: slice index to the back, rows to the feet, columns to the left
        ([(0, 1, 0), (0, 0, -1), (1, 0, 0)], SourceOrder((1, 0, 2), (True, False, False))),
        # sagittal slices: slice index to the right, rows to the feet, columns to the back
        ([(-1, 0, 0), (0, 0, -1), (0, 1, 0)], SourceOrder((1, 2, 0), (True, False, True))),
    ],
)
def test_known_orientations(axes, expected):
    assert find_source_order(axes) == expected


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3), st.tuples(*[st.floats(-0.4, 0.4)] * 3))
@settings(max_examples=100, deadline=None)
def test_axes_end_near_the_patients_axes(permutation, flips, small_turn):
    axes = AXES[list(permutation)] * np.where(flips, -1.0, 1.0)[:, None]
    axes = axes @ Rotation.from_rotvec(small_turn).as_matrix()
    grid = canonical_grid(
        (3, 4, 5), spacing_mm=(1, 1, 1), origin_lps_mm=(0, 0, 0), axes_lps=axes, order=find_source_order(axes)
    )
    assert (np.diag(np.array(grid.axes_lps)[:, ::-1]) > 0.7).all()
