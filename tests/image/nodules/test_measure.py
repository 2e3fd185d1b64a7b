from dataclasses import replace

import numpy as np
import pytest

from miliary.image.nodules.measure import MIN_CALIBRATORS, REFERENCE_HU, calibrate_psf, fit_balls
from miliary.model.ct_result import Noise, Psf
from tests.image.balls import LUNG_HU, NODULE_HU, lattice_mm, make_box, render_balls

SPACING = (1.0, 0.7, 0.6)
PSF = Psf(0.6, 0.7, "edge")
SIGMA = (0.7, 0.6, 0.6)
QUIET = Noise(1.0)


def _fit(volume, start_mm, *, noise=QUIET, background=LUNG_HU, contrast=300.0, psf=PSF, spacing=SPACING):
    n = len(start_mm)
    return fit_balls(
        make_box(volume, spacing),
        np.asarray(start_mm, dtype=float),
        background_hu=np.full(n, background),
        contrast_hu=np.full(n, contrast),
        psf=psf,
        noise=noise,
    )


def _volume_mm3(fit):
    return fit.excess_hu_mm3 / (REFERENCE_HU - fit.background_hu)


def _sphere_mm3(diameter):
    return np.pi / 6 * np.asarray(diameter) ** 3


@pytest.mark.parametrize("spacing", [(1.0, 0.7, 0.6), (0.6, 0.9, 0.8), (1.25, 0.8, 0.7)])
@pytest.mark.parametrize("diameter", [1.2, 2.0, 3.0, 3.8])
def test_volume_and_place_of_single_balls(spacing, diameter):
    assert NODULE_HU == REFERENCE_HU
    shape = np.ceil(np.array([27.0, 27.0, 18.0]) / spacing).astype(int)
    centers = lattice_mm((3, 3, 2), 9.0, seed=1)
    volume = render_balls(shape, spacing, centers, [diameter] * len(centers), sigma_mm=SIGMA)
    # A candidate's place is off by up to a quarter of a millimetre.
    start = centers + np.random.default_rng(2).uniform(-0.25, 0.25, centers.shape)
    fit = _fit(volume, start, spacing=spacing)
    np.testing.assert_allclose(_volume_mm3(fit), _sphere_mm3(diameter), rtol=0.03)
    np.testing.assert_allclose(fit.position_mm, centers, atol=0.1)
    np.testing.assert_allclose(fit.background_hu, LUNG_HU, atol=5.0)
    assert np.all(fit.misfit < 1.0)


def test_neighbors_that_run_into_each_other():
    centers = np.array([[9.0, 9.1, 8.0], [9.3, 9.2, 11.2], [11.0, 18.0, 9.0]])
    diameters = np.array([2.4, 3.0, 2.0])
    volume = render_balls((24, 36, 36), SPACING, centers, diameters, sigma_mm=SIGMA)
    together = _fit(volume, centers)
    np.testing.assert_allclose(_volume_mm3(together), _sphere_mm3(diameters), rtol=0.05)
    np.testing.assert_allclose(together.position_mm, centers, atol=0.1)
    alone = _volume_mm3(_fit(volume, centers[:1]))[0]
    assert abs(alone - _sphere_mm3(2.4)) > 2.0 * abs(_volume_mm3(together)[0] - _sphere_mm3(2.4))


def test_a_sloping_background_does_not_count():
    centers = lattice_mm((2, 3, 3), 9.0, seed=4)
    volume = render_balls((18, 39, 45), SPACING, centers, [2.5] * len(centers), sigma_mm=SIGMA)
    # The lung's own gradient from front to back, three times over.
    slope = 3.0 * np.arange(39)[None, :, None] * SPACING[1]
    share = (volume - LUNG_HU) / (NODULE_HU - LUNG_HU)
    fit = _fit(volume + slope * (1.0 - share), centers)
    np.testing.assert_allclose(_volume_mm3(fit), _sphere_mm3(2.5), rtol=0.03)
    np.testing.assert_allclose(fit.background_hu, LUNG_HU + 3.0 * centers[:, 1], atol=12.0)


@pytest.mark.parametrize(("diameter", "noise"), [(1.5, 40.0), (2.0, 60.0)])
def test_errors_are_the_scatter(diameter, noise):
    counts = (4, 5, 5)
    centers = lattice_mm(counts, 9.0, seed=5)
    shape = np.ceil(np.array(counts) * 9.0 / SPACING).astype(int)
    clean = render_balls(shape, SPACING, centers, [diameter] * len(centers), sigma_mm=SIGMA, dense=3)
    volume = clean + np.random.default_rng(6).normal(0.0, noise, shape)
    fit = _fit(volume, centers, noise=Noise(noise))
    truth = _sphere_mm3(diameter) * (REFERENCE_HU - LUNG_HU)
    pull = (fit.excess_hu_mm3 - truth) / fit.excess_hu_mm3_err
    assert 0.5 < pull.std() < 2.0
    # A hundred draws: the mean is known to a tenth, the bias may be a third of one error.
    assert abs(pull.mean()) < 0.6


def test_correlated_noise_widens_the_error():
    centers = np.array([[9.0, 9.0, 9.0]])
    volume = render_balls((18, 26, 30), SPACING, centers, [2.0], sigma_mm=SIGMA, dense=3)
    white, grainy = (_fit(volume, centers, noise=Noise(40.0, length)) for length in (0.0, 0.6))
    assert grainy.excess_hu_mm3_err[0] > 1.5 * white.excess_hu_mm3_err[0]
    assert grainy.excess_hu_mm3[0] == white.excess_hu_mm3[0]


def test_a_vessel_beside_shows_as_outliers_and_hardly_as_volume():
    centers = np.array([[9.0, 12.0, 9.0]])
    volume = render_balls((18, 36, 30), SPACING, centers, [2.4], sigma_mm=SIGMA)
    plain = _fit(volume, centers)
    x = np.arange(30) * SPACING[2]
    crossed = volume + 600.0 * np.exp(-0.5 * ((x - 12.2) / 0.6) ** 2)
    fit = _fit(crossed, centers)
    assert fit.outlier_share[0] > plain.outlier_share[0] + 0.02
    assert fit.misfit[0] > plain.misfit[0]
    assert _volume_mm3(fit)[0] == pytest.approx(_sphere_mm3(2.4), rel=0.3)


def test_the_peak_is_the_voxel_at_the_place():
    centers = np.array([[9.0, 9.1, 9.0]])
    volume = render_balls((18, 26, 30), SPACING, centers, [3.0], sigma_mm=SIGMA)
    assert _fit(volume, centers).peak_hu[0] == pytest.approx(volume[9, 13, 15], abs=0.01)


def _many(diameter, *, counts=(3, 4, 4), noise=15.0, seed=7):
    centers = lattice_mm(counts, 9.0, seed=seed)
    shape = np.ceil(np.array(counts) * 9.0 / SPACING).astype(int)
    volume = render_balls(shape, SPACING, centers, [diameter] * len(centers), sigma_mm=SIGMA, dense=3)
    return volume + np.random.default_rng(seed).normal(0.0, noise, shape), centers


def _calibrate(volume, centers, contrast, psf):
    n = len(centers)
    return calibrate_psf(
        make_box(volume, SPACING),
        centers,
        background_hu=np.full(n, LUNG_HU),
        contrast_hu=np.full(n, contrast),
        psf=psf,
        noise=Noise(15.0),
    )


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.25])
def test_a_wrong_blur_is_put_right_by_the_nodules(factor):
    volume, centers = _many(2.5)
    wrong = replace(PSF, sigma_xy_mm=factor * PSF.sigma_xy_mm, sigma_z_mm=factor * PSF.sigma_z_mm)
    found = _calibrate(volume, centers, 400.0, wrong)
    assert found.source == "nodules"
    assert found.sigma_xy_mm == pytest.approx(PSF.sigma_xy_mm, rel=0.1)
    assert found.sigma_z_mm == pytest.approx(PSF.sigma_z_mm, rel=0.1)


@pytest.mark.parametrize(("n", "contrast"), [(MIN_CALIBRATORS - 1, 400.0), (48, 100.0), (0, 400.0)])
def test_few_or_faint_nodules_leave_the_blur_as_it_was(n, contrast):
    volume, centers = _many(2.5)
    found = _calibrate(volume, centers[:n], contrast, PSF)
    assert found == PSF


def test_fainter_nodules_serve_where_there_are_too_few_clear_ones():
    volume, centers = _many(2.5, counts=(2, 4, 4))
    contrast = np.full(len(centers), 100.0)
    contrast[: MIN_CALIBRATORS - 1] = 400.0
    noise, level = Noise(22.0), np.full(len(centers), LUNG_HU)
    start = {"background_hu": level, "psf": replace(PSF, sigma_xy_mm=0.45), "noise": noise}
    box = make_box(volume, SPACING)
    assert calibrate_psf(box, centers, contrast_hu=contrast, **start).source == "edge"
    # Five standard deviations of the noise and more, but less than eight.
    contrast[MIN_CALIBRATORS - 1 :] = 130.0
    found = calibrate_psf(box, centers, contrast_hu=contrast, **start)
    assert found.source == "nodules"
    assert found.sigma_xy_mm == pytest.approx(PSF.sigma_xy_mm, rel=0.1)


def test_marks_too_wide_for_any_scanner_leave_the_blur_as_it_was():
    counts = (2, 3, 3)
    centers = lattice_mm(counts, 18.0, seed=3)
    shape = np.ceil(np.array(counts) * 18.0 / SPACING).astype(int)
    volume = render_balls(shape, SPACING, centers, [4.0] * len(centers), sigma_mm=(2.0, 2.4, 2.4), dense=2)
    start = Psf(1.2, 1.0, "edge")
    found = _calibrate(volume, centers, 500.0, start)
    assert found == replace(start, source="unclear")


def test_no_places_give_no_rows():
    fit = _fit(np.full((9, 10, 11), LUNG_HU), np.empty((0, 3)))
    assert fit.position_mm.shape == (0, 3)
    for name in ("background_hu", "excess_hu_mm3", "excess_hu_mm3_err", "misfit", "outlier_share", "peak_hu"):
        assert getattr(fit, name).shape == (0,)


def test_inputs_stay_as_they_are_and_the_result_repeats():
    volume, centers = _many(2.0, counts=(1, 2, 2))
    box = make_box(volume, SPACING)
    level, height = np.full(4, LUNG_HU), np.full(4, 300.0)
    arrays = [box.voxels_hu, centers, level, height]
    before = [a.copy() for a in arrays]
    fits = [
        fit_balls(box, centers, background_hu=level, contrast_hu=height, psf=PSF, noise=QUIET)
        for _ in range(2)
    ]
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    np.testing.assert_array_equal(fits[0].excess_hu_mm3, fits[1].excess_hu_mm3)


def test_a_nodule_at_the_border_of_the_box_is_fitted():
    centers = np.array([[0.3, 0.4, 9.0], [17.0, 17.2, 0.2]])
    volume = render_balls((18, 26, 30), SPACING, centers, [2.4, 2.4], sigma_mm=SIGMA)
    fit = _fit(volume, centers)
    assert np.isfinite(fit.excess_hu_mm3).all()
    assert fit.excess_hu_mm3_err[0] > 0


def test_the_ring_of_a_sharp_kernel_is_measured_and_leaves_the_volume():
    spacing, ring = (1.0, 0.7, 0.7), 0.3
    centers = lattice_mm((3, 4, 4), 9.0, seed=6)
    shape = np.ceil((centers.max(axis=0) + 9.0) / spacing).astype(int)
    diameters = np.linspace(1.8, 3.0, len(centers))
    core = render_balls(shape, spacing, centers, diameters, sigma_mm=(0.5, 0.5, 0.5))
    wide = render_balls(shape, spacing, centers, diameters, sigma_mm=(0.5, 1.0, 1.0))
    box = make_box((1.0 + ring) * core - ring * wide, spacing)
    start = {"background_hu": np.full(len(centers), LUNG_HU), "contrast_hu": np.full(len(centers), 500.0)}
    psf = calibrate_psf(box, centers, **start, psf=Psf(0.45, 0.5), noise=QUIET)
    assert psf.ring == pytest.approx(ring, abs=0.12)
    fit = fit_balls(box, centers, **start, psf=psf, noise=QUIET)
    total = _volume_mm3(fit).sum() / _sphere_mm3(diameters).sum()
    assert total == pytest.approx(1.0, abs=0.05)
    plain = fit_balls(box, centers, **start, psf=replace(psf, ring=0.0), noise=QUIET)
    assert abs(_volume_mm3(plain).sum() / _sphere_mm3(diameters).sum() - 1.0) > 1.5 * abs(total - 1.0)


def test_a_mark_inside_dense_tissue_stays_finite():
    volume = np.full((24, 30, 30), 45.0, dtype=np.float32)
    fit = _fit(volume, [[12.0, 10.0, 9.0]], background=40.0, contrast=20.0)
    for values in (fit.position_mm, fit.background_hu, fit.excess_hu_mm3, fit.excess_hu_mm3_err):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("ring", [0.0, 0.8])
def test_noise_neither_hides_a_ring_nor_makes_one(ring):
    spacing, noise = (1.0, 0.7, 0.7), 50.0
    centers = lattice_mm((4, 5, 5), 8.0, seed=8)
    shape = np.ceil((centers.max(axis=0) + 8.0) / spacing).astype(int)
    diameters = np.linspace(2.0, 3.0, len(centers))
    core = render_balls(shape, spacing, centers, diameters, sigma_mm=(0.5, 0.5, 0.5))
    wide = render_balls(shape, spacing, centers, diameters, sigma_mm=(0.5, 1.0, 1.0))
    clean = (1.0 + ring) * core - ring * wide
    box = make_box(clean + np.random.default_rng(9).normal(0.0, noise, shape), spacing)
    start = {"background_hu": np.full(len(centers), LUNG_HU), "contrast_hu": np.full(len(centers), 500.0)}
    psf = calibrate_psf(box, centers, **start, psf=Psf(0.5, 0.5), noise=Noise(noise))
    assert psf.ring == pytest.approx(ring, abs=0.25)
    fit = fit_balls(box, centers, **start, psf=psf, noise=Noise(noise))
    assert _volume_mm3(fit).sum() / _sphere_mm3(diameters).sum() == pytest.approx(1.0, abs=0.08)
