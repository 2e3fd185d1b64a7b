"""Simulated nodules in given scans."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.errors import InputError
from miliary.image.simulate import draw_positions, insert_nodules
from miliary.model.ct_result import Psf
from miliary.model.scan import Grid, Scan

GRID = Grid((36, 64, 50), (1.25, 0.7, 0.9), (-30.0, 12.0, 100.0))
PSF = Psf(0.6, 0.7)


def flat(value: float = -850.0) -> Scan:
    return Scan(np.full(GRID.shape_zyx, value, np.float32), GRID)


@pytest.mark.parametrize("shape", ["sphere", "ellipsoid", "lobulated"])
@pytest.mark.parametrize(("diameter", "density"), [(1.2, 40.0), (2.5, -300.0), (4.0, 600.0)])
def test_insertion_integrates_to_volume_times_contrast(shape, diameter, density):
    center = GRID.lps_from_index([17.3, 30.6, 24.2])
    after = insert_nodules(flat(), [center], [diameter], [density], psf=PSF, seed=1, shapes=[shape])
    added = after.voxels_hu.astype(np.float64) + 850.0
    assert added.sum() * GRID.voxel_volume_mm3 == pytest.approx(
        np.pi / 6 * diameter**3 * (density + 850), rel=0.01
    )
    where = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape_zyx], indexing="ij"), -1)
    centroid = GRID.lps_from_index((where * added[..., None]).sum(axis=(0, 1, 2)) / added.sum())
    np.testing.assert_allclose(centroid, center, atol=0.03 if shape != "lobulated" else 0.3)


def test_inserted_blur_has_the_width_of_the_psf():
    center = GRID.lps_from_index([17.0, 30.0, 24.0])
    after = insert_nodules(flat(), [center], [1.0], [40.0], psf=Psf(1.2, 1.6), seed=1)
    added = after.voxels_hu.astype(np.float64) + 850.0
    for axis, sigma in ((0, 1.6), (1, 1.2), (2, 1.2)):
        profile = added.sum(axis=tuple({0, 1, 2} - {axis}))
        mm = (np.arange(len(profile)) - [17, 30, 24][axis]) * GRID.spacing_zyx_mm[axis]
        variance = (profile * mm**2).sum() / profile.sum()
        assert variance == pytest.approx(sigma**2 + 1.0 / 20, rel=0.06)


def test_input_is_unchanged_and_type_kept():
    noise = np.random.default_rng(0).normal(-850, 30, GRID.shape_zyx)
    scan = Scan(np.rint(noise).astype(np.int16), GRID)
    before = scan.voxels_hu.copy()
    positions = np.array([GRID.lps_from_index([17, 30, 24])])
    kept = positions.copy()
    after = insert_nodules(scan, positions, [3.0], [40.0], psf=PSF, seed=2)
    np.testing.assert_array_equal(scan.voxels_hu, before)
    np.testing.assert_array_equal(positions, kept)
    assert after.voxels_hu.dtype == np.int16
    assert after.grid == scan.grid
    assert np.any(after.voxels_hu != before)


def test_noise_does_not_bias_the_inserted_mass():
    rng = np.random.default_rng(3)
    index = [[z, y, x] for z in (8, 18, 28) for y in (12, 32, 52) for x in (10, 25, 40)]
    ratios = []
    for _ in range(3):
        scan = Scan(rng.normal(-850, 40, GRID.shape_zyx).astype(np.float32), GRID)
        after = insert_nodules(scan, GRID.lps_from_index(index), [2.5] * 27, [40.0] * 27, psf=PSF, seed=4)
        added = (after.voxels_hu.astype(np.float64) - scan.voxels_hu).sum() * GRID.voxel_volume_mm3
        ratios.append(added / (27 * np.pi / 6 * 2.5**3 * 890))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)


def test_nodule_in_tissue_adds_nothing():
    scan = flat(50.0)
    after = insert_nodules(scan, [GRID.lps_from_index([17, 30, 24])], [3.0], [40.0], psf=PSF, seed=1)
    np.testing.assert_array_equal(after.voxels_hu, scan.voxels_hu)


def test_nodule_on_a_vessel_does_not_exceed_tissue():
    voxels = np.full(GRID.shape_zyx, -850, np.float32)
    voxels[:, 27:33, 21:27] = 40.0
    scan = Scan(voxels, GRID)
    after = insert_nodules(scan, [GRID.lps_from_index([17, 33, 24])], [4.0], [40.0], psf=PSF, seed=1)
    assert after.voxels_hu.max() <= 60.0
    assert after.voxels_hu.sum() > voxels.sum()


def test_no_nodules_no_change():
    scan = flat()
    after = insert_nodules(scan, np.empty((0, 3)), [], [], psf=PSF, seed=1)
    np.testing.assert_array_equal(after.voxels_hu, scan.voxels_hu)


def ball() -> np.ndarray:
    grids = np.meshgrid(*[np.arange(n) for n in GRID.shape_zyx], indexing="ij")
    q = sum(
        ((g - (n - 1) / 2) * h) ** 2
        for g, n, h in zip(grids, GRID.shape_zyx, GRID.spacing_zyx_mm, strict=True)
    )
    return (q < 20.0**2).astype(np.uint8)


@pytest.mark.parametrize("pattern", ["random", "perilymphatic", "centrilobular"])
def test_positions_lie_inside_and_apart(pattern):
    labels = ball()
    xyz = draw_positions(labels, GRID, 60, pattern=pattern, seed=3, min_gap_mm=2.5)
    assert xyz.shape == (60, 3)
    index = np.rint(GRID.index_from_lps(xyz)).astype(int)
    assert np.mean(labels[tuple(index.T)] > 0) == 1.0
    gaps = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1) + 1e9 * np.eye(60)
    assert gaps.min() >= 2.5
    np.testing.assert_array_equal(
        xyz, draw_positions(labels, GRID, 60, pattern=pattern, seed=3, min_gap_mm=2.5)
    )


def test_perilymphatic_positions_are_shallower_than_random():
    center = GRID.lps_from_index((np.array(GRID.shape_zyx) - 1) / 2)
    depth = {
        p: 20
        - np.linalg.norm(draw_positions(ball(), GRID, 50, pattern=p, seed=1, min_gap_mm=2) - center, axis=1)
        for p in ("random", "perilymphatic")
    }
    assert np.median(depth["perilymphatic"]) < 0.6 * np.median(depth["random"])


def test_positions_need_a_lung():
    with pytest.raises(InputError, match="lung"):
        draw_positions(np.zeros(GRID.shape_zyx, np.uint8), GRID, 3, seed=1)
    assert draw_positions(ball(), GRID, 5, pattern="none", seed=1).shape == (0, 3)
