import math

import numpy as np
import pytest

from miliary.image.quality.blur import DEFAULT_FWHM_XY_MM, estimate_psf, profile_fwhm_mm
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
