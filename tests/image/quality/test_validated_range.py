from dataclasses import replace

import numpy as np
import pytest

from miliary.image.quality import validated_range
from miliary.model.ct_result import Noise, Psf
from miliary.model.scan import Acquisition, Grid, Scan
from miliary.model.validity import Validity, ValidityVerdict
from miliary.model.validity import ValidityCriterion as By

PSF = Psf(0.5, 0.5, "edge", edge_pixels=1.5)


def _scan(*, step=1.25, pixel=0.7, thickness=1.25):
    shape = (4, 5, 6)
    grid = Grid(shape, (step, pixel, pixel))
    return Scan(np.zeros(shape, np.int16), grid, Acquisition(slice_thickness_mm=thickness))


def _outside(checks):
    return {check.criterion for check in checks if check.verdict is ValidityVerdict.OUTSIDE}


@pytest.mark.parametrize(
    ("scan", "edge_pixels", "noise_hu", "expected"),
    [
        ({}, 1.5, 20.0, set()),
        ({"step": 0.6, "thickness": 0.6, "pixel": 0.5}, 1.5, 5.0, set()),
        ({"step": 3.0, "thickness": 3.0, "pixel": 0.98}, 1.2, 80.0, set()),
        ({"step": 0.8, "thickness": 1.0}, 1.5, 20.0, set()),
        ({"step": 5.0, "thickness": 5.0}, 1.5, 20.0, {By.SLICE_THICKNESS}),
        ({"step": 2.5, "thickness": 5.0}, 1.5, 20.0, {By.SLICE_THICKNESS}),
        ({"step": 10.0, "thickness": 1.0}, 1.5, 20.0, {By.SLICE_THICKNESS, By.SLICE_STEP}),
        ({"step": 2.0, "thickness": 1.0}, 1.5, 20.0, {By.SLICE_STEP}),
        ({"step": 2.0, "thickness": None, "pixel": 2.0}, 1.1, 20.0, {By.PIXEL_SIZE}),
        ({"pixel": 1.3}, 0.6, 20.0, {By.SAMPLING}),
        ({}, 1.5, 120.0, {By.NOISE}),
    ],
)
def test_slices_pixels_edges_and_noise_are_judged_before_anything_is_marked(
    scan, edge_pixels, noise_hu, expected
):
    psf = replace(PSF, edge_pixels=edge_pixels)
    assert _outside(validated_range.check_sampling(_scan(**scan), psf, Noise(noise_hu))) == expected


def test_what_a_scan_does_not_tell_is_no_reason_to_refuse_it():
    checks = validated_range.check_sampling(_scan(thickness=None), replace(PSF, edge_pixels=None), Noise(0.0))
    unknown = {c.criterion: c.reason for c in checks if c.verdict is ValidityVerdict.NOT_MEASURED}
    assert set(unknown) == {By.SLICE_STEP, By.SAMPLING, By.NOISE, By.NOISE_TEXTURE, By.MOTION}
    assert all(unknown.values())
    assert Validity(checks).verdict is ValidityVerdict.INSIDE


@pytest.mark.parametrize(
    ("psf", "word"),
    [
        (Psf(0.15, 0.5), "sharper than any"),
        (Psf(1.4, 0.5), "smoother than any"),
        (Psf(0.8, 0.5, "unclear"), "wider than any scanner blurs"),
    ],
)
def test_a_blur_that_no_kernel_has_is_outside(psf, word):
    check = validated_range.check_kernel(psf)
    assert check.verdict is ValidityVerdict.OUTSIDE
    assert word in check.reason


@pytest.mark.parametrize("sigma_mm", [0.3, 0.5, 0.75])
def test_the_blur_of_published_kernels_is_inside(sigma_mm):
    assert validated_range.check_kernel(Psf(sigma_mm, 0.5)).verdict is ValidityVerdict.INSIDE


def test_every_range_says_where_it_comes_from_and_what_is_wrong_outside():
    for criterion, span in validated_range.RANGES.items():
        assert span.basis
        for limit, words, beyond in ((span.least, span.below, 0.5), (span.most, span.above, 2.0)):
            assert (limit is None) == (not words)
            if limit is not None:
                check = validated_range.judge(criterion, limit * beyond)
                assert check.verdict is ValidityVerdict.OUTSIDE
                assert "{" not in check.reason
                assert validated_range.judge(criterion, limit).verdict is ValidityVerdict.INSIDE


def test_one_sentence_holds_every_reason():
    checks = validated_range.check_sampling(_scan(step=9.0, thickness=5.0), PSF, Noise(200.0))
    validity = Validity(checks)
    assert len(validity.reasons) == 3
    assert all(reason in validity.doubt for reason in validity.reasons)
    (warning,) = validated_range.warn_outside(validity)
    assert warning.code == "outside_validity"
    assert validated_range.warn_outside(Validity(checks[2:3])) == ()


def test_coarse_grain_is_outside():
    assert _outside(validated_range.check_sampling(_scan(), PSF, Noise(20.0, 0.4))) == set()
    assert _outside(validated_range.check_sampling(_scan(), PSF, Noise(20.0, 1.4))) == {By.NOISE_TEXTURE}


@pytest.mark.parametrize(("share", "outside"), [(0.0, False), (0.25, False), (0.5, True)])
def test_lung_that_is_opaque_is_outside_from_a_third_on(share, outside):
    shape = (32, 32, 64)
    labels = np.ones(shape, np.uint8)
    voxels = np.full(shape, -850.0, np.float32)
    voxels[:, :, : int(share * 64)] = 20.0
    # Nodules and vessels do not fill a cube.
    voxels[4::8, 4::8, :] = 40.0
    check = validated_range.check_opaque(voxels, labels, (1.0, 1.0, 1.0))
    assert check.value == pytest.approx(share)
    assert (check.verdict is ValidityVerdict.OUTSIDE) == outside
    none = validated_range.check_opaque(voxels, 0 * labels, (1.0, 1.0, 1.0))
    assert none.verdict is ValidityVerdict.NOT_MEASURED
