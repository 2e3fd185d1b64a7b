from dataclasses import replace

import numpy as np
import pytest

from miliary.errors import NoLungsError
from miliary.image.anatomy.segmentation import find_lungs
from miliary.model.scan import Grid, Scan, Side

SHAPE, SPACING = (96, 84, 116), (2.5, 2.8, 2.7)


def _points():
    """(z, y, x) of every voxel in mm from the middle, as open grids."""
    axes = [(np.arange(n) - 0.5 * (n - 1)) * s for n, s in zip(SHAPE, SPACING, strict=True)]
    return np.ix_(*axes)


def _ellipsoid(center, radii):
    return sum(((p - c) / r) ** 2 for p, c, r in zip(_points(), center, radii, strict=True)) < 1.0


def _phantom(*, is_round_skull=False):
    """A torso in air with two lungs of known shape and a trachea, or a head with a sinus."""
    z, y, x = _points()
    noise = np.random.default_rng(0).normal(0.0, 12.0, SHAPE)
    if is_round_skull:
        voxels = np.full(SHAPE, -1000.0)
        voxels[_ellipsoid((0, 0, 0), (100, 95, 80))] = 900.0
        voxels[_ellipsoid((0, 0, 0), (93, 88, 73))] = 35.0
        voxels[_ellipsoid((-30, -50, 0), (18, 16, 22))] = -980.0
        return np.rint(voxels + noise).astype(np.int16), np.zeros(SHAPE, np.uint8)
    voxels = np.where((y / 105) ** 2 + (x / 148) ** 2 + 0 * z < 1.0, 40.0, -1000.0)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[_ellipsoid((-5, 0, -68), (100, 80, 55))] = 1
    labels[_ellipsoid((-5, 0, 72), (100, 75, 48))] = 2
    voxels[labels > 0] = -860.0
    voxels[((y + 5) ** 2 + x**2 + 0 * z < 9.0**2) & (z > -10)] = -1000.0
    return np.rint(voxels + noise).astype(np.int16), labels


def _scan(voxels):
    return Scan(voxels, Grid(voxels.shape, SPACING))


def _dice(a, b):
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def phantom():
    return _phantom()


def test_simulated_lungs_are_outlined(simulated_chest):
    found, _ = find_lungs(simulated_chest.scan)
    for label in (1, 2):
        # At voxels of 2.4 mm, a surface off by a quarter of a voxel costs about 0.02.
        assert _dice(found.labels == label, simulated_chest.lung_labels == label) > 0.97


def test_nodules_of_the_simulation_lie_inside_the_mask(simulated_chest):
    found, _ = find_lungs(simulated_chest.scan)
    truth, grid = simulated_chest.truth, simulated_chest.scan.grid
    index = np.rint(grid.index_from_lps(np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1))).astype(int)
    index = np.clip(index, 0, np.array(grid.shape_zyx) - 1)
    label = found.labels[tuple(index.T)]
    assert np.mean(label > 0) > 0.97
    side = np.where(truth["side"] == "right", 1, 2)
    assert np.mean(label[label > 0] == side[label > 0]) > 0.99


def test_phantom_lungs_their_sides_and_volumes(phantom):
    voxels, labels = phantom
    before = voxels.copy()
    found, warnings = find_lungs(_scan(voxels))
    assert found.labels.shape == SHAPE
    assert found.labels.dtype == np.uint8
    for label, side in ((1, Side.RIGHT), (2, Side.LEFT)):
        assert _dice(found.labels == label, labels == label) > 0.97
        truth_ml = np.count_nonzero(labels == label) * np.prod(SPACING) / 1000
        assert found.volume_ml(side) == pytest.approx(truth_ml, rel=0.04)
    assert warnings == ()
    assert not found.is_cut_off
    np.testing.assert_array_equal(voxels, before)


def test_the_trachea_is_no_lung(phantom):
    voxels, _ = phantom
    found, _ = find_lungs(_scan(voxels))
    z, y, x = _points()
    inside = ((y + 5) ** 2 + x**2 + 0 * z < 6.0**2) & (z > 0)
    assert np.mean(found.labels[inside] > 0) < 0.02


def test_a_lung_open_to_the_air_above_the_scan_is_kept(phantom):
    voxels, labels = phantom
    opened = voxels.copy()
    z, y, x = _points()
    # Padding above the patient, the trachea up to it, and a bronchus that the coarse grid shows.
    opened[-3:] = -1024
    opened[((y + 5) ** 2 + (z + 5) ** 2 < 8.0**2) & (x > -60) & (x < 5)] = -1000
    found, warnings = find_lungs(_scan(opened))
    assert "single_lung" not in {warning.code for warning in warnings}
    for side in (1, 2):
        assert _dice(found.labels == side, labels == side) > 0.93


def test_bowel_under_a_thin_diaphragm_is_no_lung_and_a_bulla_is(phantom):
    voxels, labels = phantom
    filled = voxels.copy()
    bowel, gap = _ellipsoid((-92, -15, 72), (14, 25, 25)), _ellipsoid((-78, -15, 72), (6, 8, 8))
    bulla = _ellipsoid((10, -30, -70), (20, 20, 20))
    noise = np.random.default_rng(5).normal(0.0, 10.0, voxels.shape)
    filled[bowel & (labels == 0)] = -1000
    filled[bulla] = -1000
    hole = labels.copy()
    # The lung ends above the bowel but for a gap that the grid cannot tell from none.
    z = np.broadcast_to(_points()[0], voxels.shape)
    cut = (labels == 2) & (z < -76) & ~gap
    filled[cut], hole[cut] = 40, 0
    filled[bowel] = -1000
    hole[bowel] = 0
    found, _ = find_lungs(_scan(np.rint(filled + noise).astype(np.int16)))
    assert np.mean(found.labels[_ellipsoid((-92, -15, 72), (9, 18, 18))] > 0) < 0.05
    assert np.mean(found.labels[bulla] == 1) > 0.95
    assert _dice(found.labels == 2, hole == 2) > 0.94


@pytest.mark.parametrize("radius", [2.5, 4.0])
def test_nodules_on_the_pleura_belong_to_the_lung(phantom, radius):
    voxels, labels = (array.copy() for array in phantom)
    # Centres on the side of the right lung and at the back of the left one, 2 mm inside the pleura.
    nodule = _ellipsoid((-5, 0, -121), (radius,) * 3) | _ellipsoid((-5, 73, 72), (radius,) * 3)
    nodule &= labels > 0
    voxels[nodule] = 40
    found, _ = find_lungs(_scan(voxels))
    assert np.mean(found.labels[nodule] == labels[nodule]) > 0.9


def test_a_lesion_within_the_lung_belongs_to_it(phantom):
    voxels = phantom[0].copy()
    lesion = _ellipsoid((0, 0, -68), (15.0, 15.0, 15.0))
    voxels[lesion] = 40
    found, _ = find_lungs(_scan(voxels))
    assert np.all(found.labels[lesion] == 1)


def test_the_dome_of_the_diaphragm_is_no_lung_and_a_mass_at_the_chest_wall_is(phantom):
    voxels, labels = phantom
    dome = _ellipsoid((-110, 10, -68), (70, 40, 32))
    domed = np.where(dome & (labels > 0), 40, voxels).astype(np.int16)
    found, _ = find_lungs(_scan(domed))
    assert (found.labels > 0)[dome].mean() < 0.1
    assert _dice(found.labels == 1, (labels == 1) & ~dome) > 0.97
    # Free in the lung but for its lower end, which reaches the chest wall; below that there is lung.
    mass = _ellipsoid((0, -10, -68), (22, 20, 20)) | _ellipsoid((-14, -30, -80), (8, 60, 12))
    voxels = np.where(mass & (labels > 0), 40, voxels).astype(np.int16)
    found, _ = find_lungs(_scan(voxels))
    upper = mass & (_points()[0] > -4)
    assert (found.labels == 1)[upper].mean() > 0.9


def test_lungs_that_touch_meet_at_the_midline(phantom):
    voxels, labels = phantom
    z, y, x = _points()
    # A tongue of the left lung before the heart: its whole end joins it to the right one, a neck to its own.
    tongue = (np.abs(z + 5) < 30) & (y > -72) & (y < -50) & (x > -60) & (x < 70)
    neck = tongue & (x > 35) & (np.abs(z + 5) > 8)
    opened = np.where(tongue & ~neck, -860, np.where(neck, 40, voxels)).astype(np.int16)
    found, warnings = find_lungs(_scan(opened))
    assert [warning.code for warning in warnings] == []
    own = tongue & ~neck & (labels == 0)
    assert (found.labels == 2)[own & (x > 4)].mean() > 0.8
    assert (found.labels == 1)[own & (x < -4)].mean() > 0.8


def test_lungs_that_touch_are_taken_apart(phantom):
    voxels, labels = (array.copy() for array in phantom)
    # A thin bridge of lung in front of the heart, as at the anterior junction.
    z, y, x = _points()
    bridge = (np.abs(y + 45) < 6.0) & (np.abs(x) < 60.0) & (np.abs(z - 10) < 25.0)
    voxels[bridge] = -860
    found, _ = find_lungs(_scan(voxels))
    for label in (1, 2):
        assert _dice((found.labels == label) & ~bridge, (labels == label) & ~bridge) > 0.97


def test_a_lone_lung_keeps_its_side(phantom):
    voxels, labels = (array.copy() for array in phantom)
    voxels[labels == 1] = 40
    found, warnings = find_lungs(_scan(voxels))
    assert [w.code for w in warnings if w.code == "single_lung"] == ["single_lung"]
    assert found.volume_ml(Side.RIGHT) == 0.0
    assert _dice(found.labels == 2, labels == 2) > 0.97


def test_a_scan_that_ends_within_the_lungs_says_so(phantom):
    voxels, _ = phantom
    part = np.ascontiguousarray(voxels[40:])
    found, warnings = find_lungs(_scan(part))
    assert found.is_cut_off
    assert "lungs_cut_off" in {w.code for w in warnings}


def test_floats_and_integers_give_the_same_lungs(phantom):
    scan = _scan(phantom[0])
    as_float = replace(scan, voxels_hu=scan.voxels_hu.astype(np.float32))
    np.testing.assert_array_equal(find_lungs(scan)[0].labels, find_lungs(as_float)[0].labels)


def test_a_head_has_no_lungs():
    voxels, _ = _phantom(is_round_skull=True)
    with pytest.raises(NoLungsError, match="no lungs found"):
        find_lungs(_scan(voxels))


@pytest.mark.parametrize("level", [-1000, -860, 0, 1000])
def test_a_block_has_no_lungs(level):
    with pytest.raises(NoLungsError):
        find_lungs(_scan(np.full((40, 60, 64), level, dtype=np.int16)))


def test_lungs_cut_by_the_side_of_the_field_of_view_stay_lungs(phantom):
    voxels, labels = phantom
    # The field of view ends 12 mm inside the outer edge of both lungs.
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    view = np.s_[:, :, columns[0] + 5 : columns[-1] - 4]
    found, warnings = find_lungs(_scan(np.ascontiguousarray(voxels[view])))
    for label in (1, 2):
        assert _dice(found.labels == label, labels[view] == label) > 0.96
    assert "lungs_cut_off" in {w.code for w in warnings}
