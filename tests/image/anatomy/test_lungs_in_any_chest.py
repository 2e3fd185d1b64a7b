"""Lungs of a simulated chest with everything round, under and across it that scans show."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy.body import find_field, measure_body
from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.simulate import ScanProtocol, simulate_scan
from miliary.model.ct_result import OpaqueLung
from miliary.model.scan import Grid, Scan, Side

SPACING = (2.4, 3.0, 3.2)
RIGHT, LEFT = 1, 2
# At voxels of 3 mm a surface off by a quarter of a voxel costs about 0.02 of the overlap with the truth; the
# objects painted here must cost next to nothing beside that.
TRUTH_DICE, SAME_DICE = 0.97, 0.99


@pytest.fixture(scope="module")
def chest():
    """A whole chest with air on all sides, its lungs, and its body."""
    protocol = ScanProtocol(
        shape_zyx=(112, 112, 128),
        spacing_zyx_mm=SPACING,
        psf_fwhm_mm=3.2,
        slice_thickness_mm=2.4,
        noise_sd_hu=15.0,
    )
    made = simulate_scan(protocol, seed=3)
    made.scan.voxels_hu.flags.writeable = False
    return made


@pytest.fixture(scope="module")
def plain(chest):
    return find_lungs(chest.scan)[0].labels


def _dice(a, b):
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def _noise(shape):
    return np.random.default_rng(11).normal(0.0, 15.0, shape)


def _fill(voxels, where, hu):
    voxels[where] = np.rint(hu + _noise(voxels.shape)[where]).astype(voxels.dtype)


def _back_of(voxels):
    """Last row of the body per column, of all slices."""
    body = ndimage.binary_opening(voxels > -300, iterations=2).any(axis=0)
    rows = np.arange(body.shape[0])[:, None]
    return np.where(body.any(axis=0), np.where(body, rows, 0).max(axis=0), 0)


def _paint_couch(voxels, *, gap, is_curved, filling, thickness=9):
    """A hollow table of 3 mm walls under the patient, filled with air or foam."""
    rows, columns = np.ogrid[: voxels.shape[1], : voxels.shape[2]]
    top = int(_back_of(voxels).max()) + 1 + gap
    top = top - (0.004 * (columns - 64.0) ** 2 if is_curved else 0.0 * columns)
    inside = (rows >= top) & (rows < top + thickness) & (np.abs(columns - 64) < 55)
    hollow = ndimage.binary_erosion(inside)
    air = voxels < -500
    _fill(voxels, air & (inside & ~hollow), -50.0)
    _fill(voxels, air & hollow, filling)


def _scan(voxels, spacing=SPACING):
    return Scan(np.ascontiguousarray(voxels), Grid(voxels.shape, spacing))


def _codes(warnings):
    return {warning.code for warning in warnings}


def test_the_plain_chest_is_right_and_nothing_is_said(chest, plain):
    _, warnings = find_lungs(chest.scan)
    assert _codes(warnings) == set()
    for label in (RIGHT, LEFT):
        assert _dice(plain == label, chest.lung_labels == label) > TRUTH_DICE


@pytest.mark.parametrize(
    ("is_curved", "gap", "filling"),
    [(False, 0, -1000.0), (True, 0, -930.0), (True, 4, -1000.0), (False, 4, -930.0)],
)
def test_a_table_is_no_lung(chest, plain, is_curved, gap, filling):
    voxels = chest.scan.voxels_hu.copy()
    _paint_couch(voxels, gap=gap, is_curved=is_curved, filling=filling)
    found, warnings = find_lungs(_scan(voxels))
    assert _codes(warnings) == set()
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, plain == label) > SAME_DICE


@pytest.mark.parametrize("hu", [-300.0, -700.0])
def test_a_blanket_is_no_lung(chest, plain, hu):
    voxels = chest.scan.voxels_hu.copy()
    body = ndimage.binary_opening(voxels > -300, iterations=2)
    body = ndimage.binary_fill_holes(body | (plain > 0))
    near = np.stack([ndimage.binary_dilation(plane, iterations=4) for plane in body])
    inner = np.stack([ndimage.binary_dilation(plane, iterations=3) for plane in body])
    _fill(voxels, near & ~inner & (voxels < -500), hu)
    found, _ = find_lungs(_scan(voxels))
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, plain == label) > SAME_DICE


@pytest.mark.parametrize("into_lung_mm", [0.0, 12.0])
def test_a_round_field_that_cuts_the_wall_leaves_the_lungs_and_says_so(chest, plain, into_lung_mm):
    y, x = np.nonzero((plain > 0).any(axis=0))
    center = (0.5 * (y.min() + y.max()), 0.5 * (x.min() + x.max()))
    reach = np.hypot((y - center[0]) * SPACING[1], (x - center[1]) * SPACING[2]).max()
    # Square pixels, so that the field is round in pixels, as that of a scanner.
    voxels = ndimage.zoom(chest.scan.voxels_hu, (1, SPACING[1] / SPACING[2], 1), order=1)
    mask = ndimage.zoom(plain, (1, voxels.shape[1] / plain.shape[1], 1), order=0)
    far = np.hypot(
        np.arange(voxels.shape[1])[:, None] - center[0] * SPACING[1] / SPACING[2],
        np.arange(voxels.shape[2]) - center[1],
    )
    outside = far * SPACING[2] > reach - into_lung_mm
    voxels[:, outside] = -1024
    scan = _scan(voxels, (SPACING[0], SPACING[2], SPACING[2]))
    assert find_field(scan) is not None
    found, warnings = find_lungs(scan)
    assert "lung_touches_field_edge" in _codes(warnings)
    assert found.is_cut_off
    assert not found.labels[:, outside].any()
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, (mask == label) & ~outside) > 0.97


@pytest.mark.parametrize(("label", "side"), [(RIGHT, Side.RIGHT), (LEFT, Side.LEFT)])
def test_one_lung_in_a_tight_field_stays_one_lung_of_its_side(chest, plain, label, side):
    _, y, x = np.nonzero(plain == label)
    view = np.s_[:, y.min() + 1 : y.max(), x.min() + 2 : x.max()]
    found, warnings = find_lungs(_scan(chest.scan.voxels_hu[view]))
    assert {"single_lung", "lung_touches_field_edge"} <= _codes(warnings)
    truth = plain[view] == label
    assert _dice(found.labels == label, truth) > 0.97
    assert found.volume_ml(side) > 0


@pytest.mark.parametrize("wall", [1, 3])
def test_gas_of_the_stomach_under_a_high_diaphragm_is_no_lung(chest, plain, wall):
    voxels = chest.scan.voxels_hu.copy()
    left = plain == LEFT
    floor = np.where(left.any(axis=0), left.argmax(axis=0), 0)
    under = np.arange(len(voxels))[:, None, None] < floor - wall
    middle = np.stack([ndimage.binary_erosion(left.any(axis=0), iterations=8)] * len(voxels))
    gas = under & middle & (np.arange(len(voxels)) > 2)[:, None, None] & ~(plain > 0)
    assert np.count_nonzero(gas) * np.prod(SPACING) / 1000 > 50
    _fill(voxels, gas, -1000.0)
    found, _ = find_lungs(_scan(voxels))
    assert (found.labels > 0)[ndimage.binary_erosion(gas)].mean() < 0.02
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, plain == label) > 0.98


@pytest.mark.parametrize(("missing", "kept"), [(RIGHT, LEFT), (LEFT, RIGHT)])
def test_a_lung_that_holds_no_air_is_said_and_the_other_keeps_its_side(chest, plain, missing, kept):
    voxels = chest.scan.voxels_hu.copy()
    _fill(voxels, ndimage.binary_dilation(plain == missing), 40.0)
    found, warnings = find_lungs(_scan(voxels))
    assert "single_lung" in _codes(warnings)
    assert _dice(found.labels == kept, plain == kept) > 0.98
    assert not (found.labels == missing).any()


def test_gas_under_a_collapsed_lung_is_not_taken_for_it(chest, plain):
    """The lower right lung is collapsed, stomach and colon are full of gas."""
    voxels = chest.scan.voxels_hu.copy()
    height = np.arange(len(voxels))[:, None, None]
    _fill(voxels, ndimage.binary_dilation(plain == RIGHT) & (height < 60), 40.0)
    z, y, x = np.ogrid[: voxels.shape[0], : voxels.shape[1], : voxels.shape[2]]
    gas = ((z - 4) / 14) ** 2 + ((y - 50) / 22) ** 2 + ((x - 80) / 26) ** 2 < 1
    _fill(voxels, gas & ~ndimage.binary_dilation(plain == LEFT, iterations=2), -1000.0)
    found, warnings = find_lungs(_scan(voxels))
    assert _dice(found.labels == LEFT, plain == LEFT) > 0.97
    assert _dice(found.labels == RIGHT, (plain == RIGHT) & (height >= 60)) > 0.95
    assert "lung_base_raised" in _codes(warnings)


@pytest.mark.parametrize("part", [np.s_[75:], np.s_[:40], np.s_[40:80]], ids=["apices", "bases", "middle"])
def test_a_part_of_the_lungs_keeps_both_sides(chest, plain, part):
    found, warnings = find_lungs(_scan(chest.scan.voxels_hu[part]))
    assert "lungs_cut_off" in _codes(warnings)
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, plain[part] == label) > 0.97


@pytest.mark.parametrize("scale", [0.38, 0.5, 0.7])
def test_a_child_has_lungs_of_its_size(chest, scale):
    scan = replace(chest.scan, grid=Grid(chest.scan.grid.shape_zyx, tuple(s * scale for s in SPACING)))
    found, _ = find_lungs(scan)
    for label in (RIGHT, LEFT):
        assert _dice(found.labels == label, chest.lung_labels == label) > TRUTH_DICE


def test_the_size_of_a_chest_is_seen_with_and_without_a_table(chest):
    voxels = chest.scan.voxels_hu.copy()
    _paint_couch(voxels, gap=4, is_curved=False, filling=-1000.0)
    for one in (chest.scan.voxels_hu, voxels):
        assert measure_body(_scan(one)).scale == 1.0
        small = measure_body(_scan(one, tuple(0.4 * s for s in SPACING))).scale
        assert 0.4 < small < 0.7


def test_opaque_lung_is_said_with_its_volume(chest, plain):
    voxels = chest.scan.voxels_hu.copy()
    apex = (plain == RIGHT) & (np.arange(len(voxels)) > 82)[:, None, None]
    _fill(voxels, ndimage.binary_dilation(apex) & (voxels < -300), 40.0)
    lungs, warnings = find_lungs(_scan(voxels))
    said = [warning.message for warning in warnings if warning.code == "opaque_lung"]
    assert len(said) == 1
    assert "right lung" in said[0]
    truth_ml = np.count_nonzero(apex) * np.prod(SPACING) / 1000
    assert float(said[0].split()[1]) == pytest.approx(truth_ml, rel=0.5)
    assert lungs.opaque == OpaqueLung(pytest.approx(float(said[0].split()[1]), abs=0.5), 0.0)
    assert OpaqueLung(1.0, 5.0).at_least(OpaqueLung(3.0, 2.0)).total_ml == 8.0


def test_two_pockets_one_behind_the_other_are_refused():
    z, y, x = np.ogrid[-100:101:2.5, -120:121:3, -160:161:3]
    voxels = np.where((y / 115) ** 2 + (x / 150) ** 2 + 0 * z < 1, 40.0, -1000.0)
    for center in ((-62, -45), (62, 45)):
        pocket = (z / 80) ** 2 + ((y - center[0]) / 40) ** 2 + ((x - center[1]) / 45) ** 2 < 1
        voxels[pocket] = -860.0
    voxels = np.rint(voxels + np.random.default_rng(2).normal(0, 12, voxels.shape)).astype(np.int16)
    with pytest.raises(NoLungsError, match="not two lungs"):
        find_lungs(_scan(voxels, (2.5, 3.0, 3.0)))
