"""The independent simulator: exact mass, stated noise, truth inside the lungs, one patient per seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from validation.independent import Disease, Protocol, Simulated, simulate_independent
from validation.independent_anatomy import Fields, make_fields, make_vessels
from validation.independent_disease import KINDS, add_artifacts, add_disease
from validation.independent_render import Bodies, Optics, Tubes, render

OPTICS = Optics(fwhm_mm=4.2, slice_mm=4.2)
SMALL = Protocol((60, 74, 80), (4.2, 4.2, 4.2), OPTICS, tips_per_ml=(0.1, 0.2))
SMALL_QUIET = replace(SMALL, noise_hu=0.0)


def _flat(hu: float) -> Fields:
    """Lung everywhere, without any structure."""
    full = np.full((24, 24, 24), 1.0, dtype=np.float32)
    return Fields(
        (-20.0, -20.0, 0.0), -50 * full, -50 * full, full, 50 * full, hu * full, 40 * full, np.zeros((2, 3)),
        np.zeros(3),
    )  # fmt: skip


def _ball(
    radius_mm: float, *, stretch: float = 1.0, lobulation: float = 0.0, hu: float = 40.0, rise_mm: float = 0.0
) -> Bodies:
    axes = np.array([stretch, 1 / stretch, 1.0])
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    to_ball = ((turn / (radius_mm * axes)).T)[None]
    centre = np.array([[0.31, -0.17, 20.23 + rise_mm]])
    return Bodies(centre, to_ball, np.array([radius_mm]), np.array([lobulation]), np.array([hu]))


@pytest.mark.parametrize("diameter_mm", [1.0, 1.5, 2.3, 3.0])
@pytest.mark.parametrize(
    "optics", [Optics(), Optics(fwhm_mm=0.9, overshoot=0.7), Optics(fwhm_mm=1.4, slice_mm=2.5, slope=0.1)]
)
def test_integrated_excess_is_volume_times_contrast(diameter_mm: float, optics: Optics) -> None:
    shape, spacing = (40, 56, 56), (1.0, 0.7, 0.7)
    fields = _flat(-850.0)
    without = render(shape, spacing, fields, [], optics).astype(float)
    # A thick slice at a small step holds a point two or three times: only the mean over its heights is exact.
    heights = (0.0, 1 / 3, 2 / 3)
    seen = [
        render(shape, spacing, fields, [_ball(diameter_mm / 2, rise_mm=rise)], optics) - without
        for rise in heights
    ]
    excess = float(np.mean([one.sum() for one in seen])) * np.prod(spacing)
    assert excess == pytest.approx(np.pi / 6 * diameter_mm**3 * 890, rel=0.01)


def test_an_irregular_nodule_keeps_its_volume_and_its_place() -> None:
    shape, spacing = (40, 56, 56), (1.0, 0.7, 0.7)
    image = (
        render(shape, spacing, _flat(-850.0), [_ball(1.2, stretch=1.25, lobulation=0.12)], Optics()) + 850.0
    )
    assert image.sum() * np.prod(spacing) == pytest.approx(4 / 3 * np.pi * 1.2**3 * 890, rel=0.01)
    z, y, x = (np.arange(n) * d for n, d in zip(shape, spacing, strict=True))
    total = image.sum()
    centre = [
        (image.sum(axis=(0, 1)) * x).sum() / total - 20,
        (image.sum(axis=(0, 2)) * y).sum() / total - 20,
    ]
    assert centre == pytest.approx([0.31, -0.17], abs=0.08)
    assert (image.sum(axis=(1, 2)) * z).sum() / total == pytest.approx(20.23, abs=0.08)


@pytest.mark.parametrize("radius_mm", [0.15, 0.5, 1.5])
def test_a_tube_has_the_mass_of_its_cross_section(radius_mm: float) -> None:
    shape, spacing = (40, 56, 56), (1.0, 0.7, 0.7)
    tube = Tubes(np.array([[-5.0, -3.0, 12.0, 6.0, 4.0, 26.0, radius_mm, radius_mm]]), 40.0)
    image = render(shape, spacing, _flat(-850.0), [tube], Optics()) + 850.0
    length = np.sqrt(11**2 + 7**2 + 14**2)
    caps = 4 / 3 * np.pi * radius_mm**3
    expected = (np.pi * radius_mm**2 * length + caps) * 890
    assert image.sum() * np.prod(spacing) == pytest.approx(expected, rel=0.06)


def test_slabs_do_not_show() -> None:
    fields = _flat(-850.0)
    objects = [_ball(1.5), Tubes(np.array([[-5.0, -3.0, 12.0, 6.0, 4.0, 26.0, 0.4, 0.3]]), 40.0)]
    shape, spacing = (40, 56, 56), (1.0, 0.7, 0.7)
    whole = render(shape, spacing, fields, objects, Optics(slice_mm=2.0), slab_slices=40)
    tiled = render(shape, spacing, fields, objects, Optics(slice_mm=2.0), slab_slices=7)
    np.testing.assert_allclose(tiled, whole, atol=0.5)


@pytest.fixture(scope="module")
def patient() -> Simulated:
    disease = Disease(n_nodules=60, n_calcified=5, has_lesion=True, has_hard_negatives=True)
    return simulate_independent(11, protocol=SMALL, disease=disease)


def test_truth_lies_in_the_lungs(patient: Simulated) -> None:
    index = np.rint(patient.scan.grid.index_from_lps(patient.truth[["x_mm", "y_mm", "z_mm"]])).astype(int)
    label = patient.labels[tuple(index.T)]
    small = (patient.truth["kind"] != "lesion").to_numpy()
    assert (label[small] > 0).mean() > 0.9
    sides = np.where(patient.truth["side"] == "left", 2, 1)
    assert (label == sides)[label > 0].mean() > 0.9
    assert patient.truth["kind"].value_counts().to_dict() == {"nodule": 60, "calcified": 5, "lesion": 1}
    assert set(patient.truth["zone"]) == {"lower", "middle", "upper"}


def test_both_lungs_are_air_and_of_similar_size(patient: Simulated) -> None:
    right, left = ((patient.labels == side).sum() for side in (1, 2))
    assert 0.6 < left / right < 1.3
    assert -930 < np.median(patient.scan.voxels_hu[patient.labels > 0]) < -780


def test_noise_in_the_lung_is_what_was_asked_for() -> None:
    quiet = simulate_independent(4, protocol=SMALL_QUIET, disease=Disease(n_nodules=0))
    noisy = simulate_independent(4, protocol=SMALL, disease=Disease(n_nodules=0))
    difference = noisy.scan.voxels_hu.astype(float) - quiet.scan.voxels_hu
    assert difference[noisy.labels > 0].std() == pytest.approx(20.0, rel=0.06)


def test_disease_does_not_change_the_patient() -> None:
    healthy = simulate_independent(7, protocol=SMALL_QUIET, disease=Disease(n_nodules=0))
    ill = simulate_independent(7, protocol=SMALL_QUIET, disease=Disease(n_nodules=40))
    np.testing.assert_array_equal(healthy.labels, ill.labels)
    changed = np.abs(ill.scan.voxels_hu.astype(float) - healthy.scan.voxels_hu) > 1
    assert 0 < changed.mean() < 0.05
    assert not np.array_equal(simulate_independent(8, protocol=SMALL_QUIET).labels, healthy.labels)


@pytest.fixture(scope="module")
def well() -> tuple[Fields, Tubes]:
    fields = make_fields(np.random.default_rng(5), (330.0, 300.0, 240.0))
    arteries, _ = make_vessels(np.random.default_rng(5), fields, tips_per_ml=0.05)
    return fields, arteries


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_disease_changes_the_lung_and_is_drawn_from_the_seed(
    kind: str, well: tuple[Fields, Tubes]
) -> None:
    fields, arteries = well
    one, again = (add_disease(np.random.default_rng(3), fields, arteries, {kind: 0.8}) for _ in range(2))
    same = [np.array_equal(getattr(one[0], f), getattr(again[0], f)) for f in ("lung_mm", "parenchyma_hu")]
    assert all(same)
    is_changed = not np.array_equal(one[0].parenchyma_hu, fields.parenchyma_hu)
    for item in one[1]:
        points = item.rows[:, 3:6] if isinstance(item, Tubes) else item.centre_mm
        assert np.isfinite(points).all()
        # Where the vessels are as coarse as here, twigs may leave the lung a little.
        assert (fields.at(fields.lung_mm, points) < 6.0).mean() > 0.9
        is_changed |= len(points) > 0
    assert is_changed
    assert (one[0].lung_mm >= fields.lung_mm).all()


def test_artifacts_leave_the_mean_attenuation() -> None:
    voxels = np.full((12, 40, 40), -850.0, dtype=np.float32)
    voxels[:, 15:25, 15:25] = 40.0
    for kind in ("motion", "low_dose", "streaks", "sharp_kernel"):
        changed = voxels.copy()
        add_artifacts(np.random.default_rng(2), changed, {kind: 0.8})
        assert not np.array_equal(changed, voxels)
        assert abs(float(changed.mean() - voxels.mean())) < 8.0
