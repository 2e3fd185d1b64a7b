"""Lungs from a mask that was made elsewhere, and fill beyond the field of view."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy.fill import replace_fill
from miliary.image.anatomy.given_lungs import take_lungs
from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.simulate import ScanProtocol, simulate_scan
from miliary.model.ct_result import LABEL_BOTH, LABEL_LEFT, LABEL_RIGHT

SPACING = (3.0, 3.2, 3.2)


@pytest.fixture(scope="module")
def chest():
    protocol = ScanProtocol(
        shape_zyx=(88, 104, 128),
        spacing_zyx_mm=SPACING,
        psf_fwhm_mm=3.2,
        slice_thickness_mm=3.0,
        noise_sd_hu=15.0,
    )
    return simulate_scan(protocol, seed=3)


def _dice(one, other):
    return 2.0 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_sides_of_a_mask_are_named_by_where_they_lie(chest):
    truth = chest.lung_labels
    undivided = np.where(truth > 0, np.uint8(LABEL_BOTH), np.uint8(0))
    for labels, said in (
        (truth, False),
        (np.where(truth > 0, 3 - truth, 0).astype(np.uint8), True),
        (undivided, False),
    ):
        lungs, warnings = take_lungs(chest.scan, labels, "a mask")
        assert lungs.source == "a mask"
        assert ("lung_mask_sides_swapped" in {w.code for w in warnings}) == said
        for label in (LABEL_RIGHT, LABEL_LEFT):
            assert _dice(lungs.labels == label, truth == label) > 0.995
    assert {check.name for check in lungs.checks} >= {"two_lungs", "volume_by_side", "attenuation_of_lung"}
    assert all(check.is_met for check in lungs.checks)


def test_a_mask_of_one_lung_leaves_the_other_out_and_says_so(chest):
    labels = np.where(chest.lung_labels == LABEL_LEFT, np.uint8(LABEL_BOTH), np.uint8(0))
    lungs, warnings = take_lungs(chest.scan, labels, "a mask")
    np.testing.assert_array_equal(lungs.labels == LABEL_LEFT, labels > 0)
    assert {"single_lung", "lung_mask_differs"} <= {w.code for w in warnings}


def test_a_mask_that_lies_beside_the_lungs_is_refused(chest):
    tissue = np.where(chest.scan.voxels_hu > 0, np.uint8(LABEL_BOTH), np.uint8(0))
    with pytest.raises(NoLungsError, match="does not lie on the lungs"):
        take_lungs(chest.scan, tissue, "a mask")
    with pytest.raises(NoLungsError, match="holds 0 mL"):
        take_lungs(chest.scan, 0 * tissue, "a mask")


@pytest.mark.parametrize("fill", [0, -200])
def test_fill_of_a_rotation_is_neither_lung_nor_tissue(chest, fill):
    voxels, truth = (
        ndimage.rotate(one, 12, axes=(1, 2), reshape=False, order=order, cval=value)
        for one, order, value in ((chest.scan.voxels_hu, 1, fill), (chest.lung_labels, 0, 0))
    )
    scan = replace(chest.scan, voxels_hu=voxels)
    lungs, warnings = find_lungs(scan)
    for label in (LABEL_RIGHT, LABEL_LEFT):
        assert _dice(lungs.labels == label, truth == label) > 0.96
    assert not {"lung_air_left_out", "lung_outline_uneven", "single_lung"} & {w.code for w in warnings}
    assert "fill_beyond_field" in {w.code for w in replace_fill(scan).warnings}


def test_a_scan_without_fill_is_left_as_it_is(chest):
    assert replace_fill(chest.scan) is chest.scan
    clipped = replace(chest.scan, voxels_hu=np.maximum(chest.scan.voxels_hu, -1000))
    assert replace_fill(clipped) is clipped
