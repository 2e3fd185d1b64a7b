"""The pictures that a report shows: what is where, and how much."""

import numpy as np
import pytest

from miliary.image.figures.scan_figures import (
    CELL_MM,
    DEPTHS,
    LEVELS,
    SLABS_MM,
    map_burden,
    render_figures,
    render_frontal,
)
from miliary.model.scan import Grid, Scan


def _by_name(figures):
    return {figure.name: figure for figure in figures}


def _row(nodules, **given):
    for name, value in given.items():
        nodules.columns[name][:] = value
    return nodules


@pytest.fixture
def one_nodule(make_nodules, small_scan):
    """A nodule of 4 mm in the left lung, towards the head and the back."""
    x, y, z = small_scan.grid.lps_from_index((18, 24, 42))
    return _row(make_nodules(1), x_mm=x, y_mm=y, z_mm=z, diameter_mm=4.0, volume_mm3=30.0)


def test_every_slab_the_map_and_the_projection_are_there(small_scan, small_labels, one_nodule):
    found = _by_name(render_figures(small_scan, small_labels, one_nodule))
    slabs = {f"axial_{n}_{t:g}mm" for n in range(1, len(LEVELS) + 1) for t in SLABS_MM}
    slabs |= {f"coronal_{n}_{t:g}mm" for n in range(1, len(DEPTHS) + 1) for t in SLABS_MM}
    assert set(found) == slabs | {"burden_map", "frontal"}
    assert all(found[name].pixels.dtype == np.uint8 for name in slabs | {"frontal"})


def test_a_nodule_is_marked_on_the_slabs_that_meet_it_only(small_scan, small_labels, one_nodule):
    z = one_nodule["z_mm"][0]
    for figure in render_figures(small_scan, small_labels, one_nodule):
        if figure.kind != "slab" or figure.facts["plane"] != "axial":
            continue
        distance = abs(figure.facts["position_mm"] - z)
        spacing = small_scan.grid.spacing_zyx_mm[0]
        if figure.marks:
            assert distance <= figure.facts["thickness_mm"] / 2 + 2.0 + spacing
        else:
            assert distance >= figure.facts["thickness_mm"] / 2 + 2.0 - spacing


def test_a_mark_lies_on_what_it_marks(small_labels, make_nodules, small_scan):
    voxels = np.full(small_scan.voxels_hu.shape, -900, dtype=np.int16)
    index = (12, 20, 40)
    voxels[11:14, 19:22, 39:42] = 100
    x, y, z = small_scan.grid.lps_from_index(index)
    nodule = _row(make_nodules(1), x_mm=x, y_mm=y, z_mm=z, diameter_mm=3.0)
    figures = render_figures(Scan(voxels, small_scan.grid), small_labels, nodule)
    marked = [figure for figure in figures if figure.kind == "slab" and figure.marks]
    assert {figure.facts["plane"] for figure in marked} == {"axial", "coronal"}
    for figure in marked:
        rows, columns = np.nonzero(figure.pixels > 200)
        (mark,) = figure.marks
        assert np.hypot(rows.mean() + 0.5 - mark.row_px, columns.mean() + 0.5 - mark.column_px) < 1.5


def test_the_map_adds_up_to_the_volume(small_scan, small_labels, make_nodules):
    nodules = make_nodules(6)
    index = np.array([(z, 18, x) for z in (5, 12, 19) for x in (15, 45)])
    place = small_scan.grid.lps_from_index(index)
    _row(nodules, x_mm=place[:, 0], y_mm=place[:, 1], z_mm=place[:, 2], volume_mm3=[1, 2, 3, 4, 5, 6])
    nodules.columns["attenuation"][5] = "calcified"
    box = tuple(slice(0, n) for n in small_labels.shape)
    # Every voxel is looked at where spacing is 2 mm or more, so that the volumes are exact.
    grid = Grid(small_labels.shape, (2.0, 2.0, 2.0))
    place = grid.lps_from_index(index)
    _row(nodules, x_mm=place[:, 0], y_mm=place[:, 1], z_mm=place[:, 2])
    values = map_burden(small_labels, nodules, grid, box).facts["values"]
    cell = int(CELL_MM / 2)
    total = 0.0
    for row, line in enumerate(values[::-1]):
        for column, value in enumerate(line):
            part = small_labels[row * cell : (row + 1) * cell, :, column * cell : (column + 1) * cell]
            ml = np.count_nonzero(part) * 8.0 / 1000.0
            assert (value is None) == (ml < 1.5)
            total += (value or 0.0) * ml
    assert total == pytest.approx(1 + 2 + 3 + 4 + 5, abs=0.02)


def test_the_map_has_the_head_up_and_the_right_side_left(small_labels, make_nodules):
    grid = Grid(small_labels.shape, (2.0, 2.0, 2.0))
    x, y, z = grid.lps_from_index((19, 18, 12))
    nodule = _row(make_nodules(1), x_mm=x, y_mm=y, z_mm=z)
    box = tuple(slice(0, n) for n in small_labels.shape)
    values = np.array(map_burden(small_labels, nodule, grid, box).facts["values"], dtype=float)
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    assert row < values.shape[0] / 2
    assert column < values.shape[1] / 2


def test_the_projection_shows_what_is_dense_bright_and_the_head_up():
    voxels = np.full((40, 50, 60), -1000, dtype=np.int16)
    voxels[:, 5:45, 5:55] = 0
    voxels[30:36, 20:30, 40:50] = 1500
    picture = render_frontal(Scan(voxels, Grid(voxels.shape, (2.0, 2.0, 2.0)))).pixels
    rows, columns = np.nonzero(picture > 220)
    assert rows.mean() < picture.shape[0] / 2
    assert columns.mean() > picture.shape[1] / 2


def test_no_lungs_and_no_nodules_still_give_pictures(small_scan, small_labels, make_nodules):
    figures = _by_name(render_figures(small_scan, np.zeros_like(small_labels), make_nodules(0)))
    assert all(value is None for line in figures["burden_map"].facts["values"] for value in line)
    assert not any(figure.marks for figure in figures.values())
