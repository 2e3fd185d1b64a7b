import numpy as np
import pytest

from miliary.image.figures.project import COLORS, WINDOW_HU, render_preview, render_slab_mip


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_is_the_maximum_over_its_voxels(axis):
    volume = np.random.default_rng(1).normal(size=(9, 10, 11)).astype(np.float32)
    mip = render_slab_mip(volume, axis=axis, center_index=4, thickness_mm=5.0, spacing_mm=1.6)
    expected = np.take(volume, [3, 4, 5], axis=axis).max(axis=axis)
    assert np.array_equal(mip, expected)
    assert mip.dtype == volume.dtype


@pytest.mark.parametrize(("center", "expected"), [(0, [0, 1, 2]), (9, [8, 9]), (10, [9])])
def test_a_slab_ends_with_the_volume(center, expected):
    volume = np.arange(10.0)[:, None, None] * np.array([1.0, -1.0])[None, :, None]
    mip = render_slab_mip(volume, axis=0, center_index=center, thickness_mm=3.0, spacing_mm=1.0)
    assert mip[:, 0].tolist() == [max(expected), -min(expected)]


def test_a_slab_thinner_than_a_voxel_is_one_voxel():
    volume = np.arange(6.0).reshape(6, 1, 1)
    mip = render_slab_mip(volume, axis=0, center_index=3, thickness_mm=1.0, spacing_mm=5.0)
    assert mip.item() == 3.0


def _rows(picture):
    """The plain and the marked half of a preview, without the footer."""
    half = (picture.shape[0] - 30) // 2
    return picture[:half], picture[half : 2 * half]


def _is_color(picture, name):
    return np.all(picture == np.asarray(COLORS[name], dtype=np.uint8), axis=-1)


def test_only_the_lower_half_is_marked(small_scan, small_labels, make_nodules):
    nodules = _at_index(make_nodules, small_scan, [[12, 19, 17]], ["solid"])
    plain, marked = _rows(render_preview(small_scan, small_labels, nodules))
    assert not _is_color(plain, "solid").any()
    assert _is_color(marked, "solid").any()


def test_without_nodules_the_lower_half_differs_by_the_outline_of_the_lungs(
    small_scan, small_labels, make_nodules
):
    plain, marked = _rows(render_preview(small_scan, small_labels, make_nodules(0)))
    changed = (plain[22:] != marked[22:]).any(axis=2)
    assert 0.0 < changed.mean() < 0.2
    without = _rows(render_preview(small_scan, np.zeros_like(small_labels), make_nodules(0)))
    assert np.array_equal(without[0][22:], without[1][22:])


def _at_index(make_nodules, scan, index_zyx, attenuation):
    points = scan.grid.lps_from_index(index_zyx)
    n = len(points)
    return make_nodules(
        n,
        x_mm=points[:, 0],
        y_mm=points[:, 1],
        z_mm=points[:, 2],
        diameter_mm=np.full(n, 2.0),
        attenuation=np.array(attenuation, dtype=object),
    )


def test_the_patients_left_is_on_the_right_and_the_head_up(small_scan, small_labels, make_nodules):
    """Two nodules in the coronal slab: one right and high, one left and low."""
    nodules = _at_index(make_nodules, small_scan, [[18, 19, 12], [5, 19, 47]], ["solid", "subsolid"])
    _, marked = _rows(render_preview(small_scan, small_labels, nodules))
    coronal = marked[22:, -_coronal_width(marked) :]
    right_high = np.argwhere(_is_color(coronal, "solid")).mean(axis=0)
    left_low = np.argwhere(_is_color(coronal, "subsolid")).mean(axis=0)
    assert right_high[0] < left_low[0]
    assert right_high[1] < left_low[1]


def _coronal_width(picture):
    return (picture.shape[1] - 5 * 6) // 4 + 6


def test_a_circle_is_where_its_nodule_shines(small_scan, small_labels, make_nodules):
    voxels = small_scan.voxels_hu.copy()
    voxels[12, 19, 17] = 3000
    scan = type(small_scan)(voxels, small_scan.grid)
    nodules = _at_index(make_nodules, scan, [[12, 19, 17]], ["solid"])
    plain, marked = _rows(render_preview(scan, small_labels, nodules))
    left = plain.shape[1] - _coronal_width(plain)
    circle = np.argwhere(_is_color(marked[22:, left:], "solid")).mean(axis=0)
    row, column = np.round(circle).astype(int)
    # Nothing else in the scan is this bright; resampling may cost a gray level.
    assert plain[22 + row, left + column].min() >= 250


def test_a_nodule_outside_every_slab_is_not_marked(small_scan, small_labels, make_nodules):
    nodules = _at_index(make_nodules, small_scan, [[15, 9, 17]], ["solid"])
    _, marked = _rows(render_preview(small_scan, small_labels, nodules))
    index = np.argwhere(_is_color(marked, "solid"))
    assert len(index) == 0 or index[:, 1].max() < marked.shape[1] - _coronal_width(marked)


def test_the_window_maps_its_ends_to_black_and_white(small_scan, small_labels, make_nodules):
    low, high = WINDOW_HU
    for value, gray in ((low, 0), (high, 255)):
        voxels = np.full(small_scan.grid.shape_zyx, value, dtype=np.int16)
        scan = type(small_scan)(voxels, small_scan.grid)
        plain, _ = _rows(render_preview(scan, small_labels, make_nodules(0)))
        assert plain[60, 200].tolist() == [gray] * 3


def test_without_lungs_the_whole_scan_is_shown(small_scan, small_labels, make_nodules):
    picture = render_preview(small_scan, np.zeros_like(small_labels), make_nodules(0))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert _rows(picture)[0].max() == 255


def test_inputs_are_unchanged(small_scan, small_labels, make_nodules):
    before = small_scan.voxels_hu.copy(), small_labels.copy()
    nodules = make_nodules(4)
    render_preview(small_scan, small_labels, nodules)
    assert np.array_equal(before[0], small_scan.voxels_hu)
    assert np.array_equal(before[1], small_labels)
