import math

import numpy as np
import pytest

from miliary.image.quality.blur import (
    DEFAULT_FWHM_XY_MM,
    estimate_psf,
    limit_in_plane,
    limit_slice,
    profile_fwhm_mm,
    warn_blur,
)
from miliary.model.ct_result import Psf
from miliary.model.scan import Acquisition, Grid, Scan

SHAPE = (12, 80, 100)


def _scan(sigma_mm, *, pixel=0.7, step=1.25, thickness=None, noise=0.0):
    """A body of water whose sides are flat: each row crosses a step blurred by a Gaussian at any phase."""
    x = np.arange(SHAPE[2]) * pixel
    # Edges at other places within a pixel on every row pair, yet flat over the rows that are compared.
    shift = np.repeat(np.linspace(0.0, pixel, SHAPE[1] // 8), 8)[:, None]
    scale = sigma_mm * math.sqrt(2.0)
    erf = np.vectorize(math.erf)
    inside = 0.5 * (erf((x - 18.0 - shift) / scale) - erf((x - 52.0 - shift) / scale))
    rows = -1000.0 + 1040.0 * inside
    voxels = np.broadcast_to(rows, SHAPE) + np.random.default_rng(0).normal(0.0, noise, SHAPE)
    grid = Grid(SHAPE, (step, pixel, pixel))
    acquisition = Acquisition(slice_thickness_mm=thickness)
    return Scan(np.rint(voxels).astype(np.int16), grid, acquisition)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_the_blur_of_an_edge_is_recovered(sigma, noise):
    found = estimate_psf(_scan(sigma, noise=noise))
    assert found.source == "edge"
    assert found.sigma_xy_mm == pytest.approx(sigma, rel=0.15)


def test_the_blur_is_in_millimetres():
    fine, coarse = (estimate_psf(_scan(0.8, pixel=pixel)).sigma_xy_mm for pixel in (0.6, 0.8))
    assert fine == pytest.approx(coarse, rel=0.1)


def test_without_edges_a_standard_kernel_is_assumed():
    scan = Scan(np.full(SHAPE, 40, np.int16), Grid(SHAPE, (1.0, 0.7, 0.7)))
    found = estimate_psf(scan)
    assert found.source == "assumed"
    assert found.sigma_xy_mm == pytest.approx(DEFAULT_FWHM_XY_MM / 2.3548)


def test_along_z_the_nominal_thickness_counts():
    said, unsaid = estimate_psf(_scan(0.7, thickness=3.0)), estimate_psf(_scan(0.7, step=1.25))
    assert said.sigma_z_mm == pytest.approx(3.0 * 0.36)
    assert unsaid.sigma_z_mm == pytest.approx(1.25 * 0.36)


def test_widths_at_half_maximum():
    width = profile_fwhm_mm(Psf(0.5, 0.8))
    np.testing.assert_allclose(width, 2 * np.sqrt(2 * np.log(2)) * np.array([0.8, 0.5, 0.5]), rtol=1e-4)


def test_the_least_width_along_z_is_that_of_a_box_as_thick_as_the_slice():
    box = np.linspace(-1.25, 1.25, 200_001)
    assert estimate_psf(_scan(0.7, thickness=2.5)).least_sigma_z_mm == pytest.approx(box.std(), rel=1e-4)
    assert estimate_psf(_scan(0.7)).least_sigma_z_mm == 0.0


@pytest.mark.parametrize(
    ("sigma_z", "expected", "at_limit"),
    [(0.9, 0.9, ()), (0.68, 0.7217, ()), (0.54, 0.7217, ("z",)), (0.1, 0.7217, ("z",))],
)
def test_the_width_along_z_does_not_fall_below_what_the_slice_allows(sigma_z, expected, at_limit):
    found = limit_slice(Psf(0.5, sigma_z, least_sigma_z_mm=2.5 / math.sqrt(12)))
    assert found.sigma_z_mm == pytest.approx(expected, abs=1e-4)
    assert found.at_limit == at_limit


def test_a_width_along_z_that_came_back_into_range_is_no_longer_at_its_limit():
    assert limit_slice(Psf(0.5, 0.9, least_sigma_z_mm=0.7, at_limit=("z",))).at_limit == ()


@pytest.mark.parametrize(
    ("sigma_xy", "ring", "at_limit"),
    [(0.5, 0.4, ()), (0.5, 1.6, ("ring",)), (0.1, 0.0, ("xy",)), (0.1, 1.6, ("xy", "ring"))],
)
def test_blur_in_plane_is_at_least_that_of_a_pixel_and_its_ring_ends(sigma_xy, ring, at_limit):
    found = limit_in_plane(Psf(sigma_xy, 0.8, ring=ring), pixel_mm=0.7, max_ring=1.6)
    assert found.at_limit == at_limit
    assert found.sigma_xy_mm >= 0.7 / math.sqrt(12)


def test_what_lies_at_a_limit_is_said_in_one_warning():
    assert warn_blur(Psf(0.5, 0.8)) == ()
    (warning,) = warn_blur(Psf(0.5, 0.72, at_limit=("z", "ring"), ring=1.6))
    assert warning.code == "blur_at_limit"
    assert "slice thickness" in warning.message
    assert "1.6" in warning.message
    assert [w.code for w in warn_blur(Psf(1.0, 0.8, "unclear"))] == ["blur_at_limit"]


def test_the_edge_of_a_round_field_is_no_skin():
    scan = _scan(0.9)
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    voxels = scan.voxels_hu.copy()
    # The field cuts the body on the left, where its padding makes a step without any blur.
    voxels[:, np.hypot(y - 39.5, x - 70.0) > 38.0] = -1024
    found = estimate_psf(Scan(voxels, scan.grid))
    assert found.source == "edge"
    assert found.sigma_xy_mm == pytest.approx(0.9, rel=0.15)
