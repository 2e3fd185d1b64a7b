"""Spheres inserted into a lung: exact mass, right place, replaced rather than added."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.model.scan import Grid, Scan
from validation.insertion import Blur, draw_centres, insert_spheres, render_sphere

SPACING = (1.0, 0.8, 0.7)


@pytest.mark.parametrize("diameter_mm", [1.5, 2.4, 3.2])
@pytest.mark.parametrize(
    ("spacing", "slice_mm"), [(SPACING, 1.0), ((1.0, 0.76, 0.76), 2.0), ((2.5, 0.7, 0.7), 2.5)]
)
def test_occupancy_sums_to_the_volume_at_the_centre(
    diameter_mm: float, spacing: tuple[float, float, float], slice_mm: float
) -> None:
    centre = np.array([10.3, 20.4, 30.25])
    first, share = render_sphere(centre, diameter_mm / 2, spacing, Blur(1.0, slice_mm))
    assert share.sum() * np.prod(spacing) == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.01)
    assert share.max() <= 1.01
    index = np.indices(share.shape).reshape(3, -1) + first[:, None]
    middle = (index * share.ravel()).sum(axis=1) / share.sum()
    np.testing.assert_allclose(middle[1:], centre[1:], atol=0.05)
    # A box as wide as the step aliases, so the centre along z cannot be exact.
    assert middle[0] == pytest.approx(centre[0], abs=0.25)


def _scan(hu: float, noise_hu: float = 0.0) -> Scan:
    voxels = np.full((40, 60, 64), hu) + np.random.default_rng(2).normal(0, 1, (40, 60, 64)) * noise_hu
    return Scan(np.rint(voxels).astype(np.int16), Grid((40, 60, 64), SPACING, (5.0, -7.0, 100.0)))


def _labels() -> np.ndarray:
    labels = np.zeros((40, 60, 64), dtype=np.uint8)
    labels[6:-6, 8:-8, 8:-8] = 1
    return labels


def test_excess_mass_is_volume_times_contrast_in_plain_lung() -> None:
    scan = _scan(-850.0)
    inserted = insert_spheres(scan, _labels(), Blur(1.0, 1.0), seed=1, n=12)
    expected = (inserted.truth["volume_mm3"] * (inserted.truth["density_hu"] + 850)).sum()
    excess = (inserted.scan.voxels_hu.astype(float) - scan.voxels_hu).sum() * scan.grid.voxel_volume_mm3
    assert excess == pytest.approx(expected, rel=0.015)
    assert inserted.truth["aerated"].all()
    assert not inserted.truth["attached"].any()


def test_a_sphere_in_tissue_is_no_nodule() -> None:
    scan = _scan(30.0)
    inserted = insert_spheres(scan, _labels(), Blur(1.0, 1.0), seed=1, n=5)
    assert np.abs(inserted.scan.voxels_hu.astype(int) - scan.voxels_hu).max() <= 31
    assert inserted.truth["attached"].all()
    assert not inserted.truth["aerated"].any()


def test_the_scan_given_is_not_changed_and_the_seed_decides() -> None:
    scan = _scan(-850.0, noise_hu=20.0)
    before = scan.voxels_hu.copy()
    one, two = (insert_spheres(scan, _labels(), Blur(1.0, 1.0), seed=3, n=6) for _ in range(2))
    np.testing.assert_array_equal(scan.voxels_hu, before)
    np.testing.assert_array_equal(one.scan.voxels_hu, two.scan.voxels_hu)
    index = np.rint(scan.grid.index_from_lps(one.truth[["x_mm", "y_mm", "z_mm"]])).astype(int)
    assert (one.scan.voxels_hu[tuple(index.T)] > -700).all()


def test_spheres_keep_their_distance_and_stay_inside() -> None:
    radius = np.full(30, 1.0)
    index = draw_centres(np.random.default_rng(0), _labels(), SPACING, radius, gap_mm=4.0)
    points = index * SPACING
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 100 * np.eye(30)
    assert distance.min() >= 6.0
    assert _labels()[tuple(np.rint(index).astype(int).T)].all()
    with pytest.raises(ValueError, match="no room"):
        draw_centres(np.random.default_rng(0), _labels(), SPACING, np.full(40, 5.0), gap_mm=30.0)
