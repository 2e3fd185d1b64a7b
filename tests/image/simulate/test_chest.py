"""Simulated chests: exact mass, exact truth, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary.errors import InputError
from miliary.image.simulate import (
    TRUTH_COLUMN_NAMES,
    DominantLesion,
    HardNegatives,
    NodulePopulation,
    ScanProtocol,
    demo_case,
    draw_anatomy,
    simulate_scan,
)
from miliary.image.simulate.acquisition import acquire, average_slices, slice_weights
from miliary.image.simulate.chest_anatomy import build_fields
from miliary.image.simulate.nodule_population import PlaceSampler, draw_body, place, render_body
from miliary.image.simulate.raster import add_tubes
from miliary.image.simulate.vessels import grow_trees

WHOLE_CHEST = ScanProtocol(
    shape_zyx=(96, 88, 108),
    spacing_zyx_mm=(3.3, 4.0, 3.8),
    psf_fwhm_mm=4.5,
    slice_thickness_mm=3.0,
    noise_sd_hu=15.0,
)
PART = ScanProtocol(
    shape_zyx=(40, 90, 84),
    spacing_zyx_mm=(1.3, 0.8, 0.9),
    slice_thickness_mm=1.0,
    noise_sd_hu=0.0,
    center_lps_mm=(-75.0, 10.0, 120.0),
)


@pytest.fixture(scope="module")
def chest():
    return simulate_scan(
        WHOLE_CHEST,
        seed=5,
        population=NodulePopulation(400, (2.0, 4.0)),
        n_calcified=5,
        lesion=DominantLesion(19.0, 4.0, "left", "upper"),
    )


@pytest.mark.parametrize("shape", ["sphere", "ellipsoid", "lobulated"])
@pytest.mark.parametrize("step", [(1.0, 0.7, 0.7), (2.5, 0.6, 1.1), (0.6, 0.9, 0.5)])
@pytest.mark.parametrize("diameter", [0.8, 2.0, 7.0])
def test_rendered_volume_is_exact(shape, step, diameter):
    body = draw_body(
        np.array([5.3, -2.1, 7.7]), diameter, 40.0, shape=shape, axis_ratio=1.4, rng=np.random.default_rng(1)
    )
    _, share = render_body(body, np.zeros(3), np.array(step))
    assert share.sum() * np.prod(step) == pytest.approx(np.pi / 6 * diameter**3, rel=1e-9)
    assert share.min() >= 0
    assert share.max() <= 1.05


@pytest.mark.parametrize("step", [(1.0, 0.7, 0.7), (2.5, 0.6, 1.1)])
@pytest.mark.parametrize("diameter", [1.6, 4.0])
def test_rendered_share_equals_slow_twin(step, diameter):
    center = np.array([5.3, -2.2, 7.9])
    body = draw_body(center, diameter, 40.0, shape="sphere", axis_ratio=1, rng=np.random.default_rng(1))
    low, share = render_body(body, np.zeros(3), np.array(step))
    n = 20
    fine = (np.arange(n) + 0.5) / n - 0.5
    expected = np.zeros_like(share)
    for index in np.ndindex(share.shape):
        zyx = [(low[i] + index[i] + fine) * step[i] - center[i] for i in range(3)]
        q = zyx[0][:, None, None] ** 2 + zyx[1][None, :, None] ** 2 + zyx[2][None, None, :] ** 2
        expected[index] = np.mean(q < diameter**2 / 4)
    np.testing.assert_allclose(share, expected, atol=0.04)


@pytest.mark.parametrize("radius", [0.1, 0.3, 0.8, 2.5])
@pytest.mark.parametrize("step", [(1.0, 0.7, 0.7), (2.5, 0.6, 1.1)])
def test_tubes_keep_their_volume(radius, step):
    share = np.zeros((30, 60, 60), np.float32)
    start, end = np.array([3.0, 6.0, 7.0]), np.array([26.0, 29.0, 31.0])
    n = 7
    knots = start + (end - start) * np.linspace(0, 1, n + 1)[:, None]
    ends = np.stack([knots[:-1], knots[1:]], axis=1)
    add_tubes(share, 0, 30, np.zeros(3), np.array(step), ends, np.full((n, 2), radius), 0.45)
    volume = share.sum(dtype=np.float64) * np.prod(step)
    caps = 4 / 3 * np.pi * radius**3 if radius > 1.5 * min(step) else 0.0
    assert volume == pytest.approx(np.pi * radius**2 * np.linalg.norm(end - start) + caps, rel=0.03)


@pytest.mark.parametrize(
    "protocol",
    [
        ScanProtocol(psf_fwhm_mm=1.2),
        ScanProtocol(psf_fwhm_mm=2.2, psf_tail=0.2, edge_overshoot=0.2),
        ScanProtocol(slice_thickness_mm=0.6),
        ScanProtocol(slice_thickness_mm=2.5, spacing_zyx_mm=(2.5, 0.8, 0.6)),
        ScanProtocol(slice_thickness_mm=5.0, spacing_zyx_mm=(2.5, 0.8, 0.6), slice_profile="triangle"),
        ScanProtocol(slice_thickness_mm=2.0, spacing_zyx_mm=(1.0, 0.7, 0.9)),
    ],
)
def test_acquisition_keeps_integrated_excess(protocol):
    protocol = replace(protocol, shape_zyx=(24, 64, 60), noise_sd_hu=0.0)
    n = protocol.n_sub_slices
    fine = np.full((24 * n, 64, 60), -850.0, np.float32)
    step = np.array(protocol.spacing_zyx_mm) / (n, 1, 1)
    center = np.array([11.7 * n, 31.2, 28.9]) * step
    body = draw_body(center, 2.4, 40.0, shape="sphere", axis_ratio=1, rng=np.random.default_rng(0))
    low, share = render_body(body, np.zeros(3), step)
    fine[tuple(slice(a, a + m) for a, m in zip(low, share.shape, strict=True))] += (890 * share).astype(
        np.float32
    )
    image = acquire(average_slices(fine, protocol), protocol, seed=1)
    edge = 12
    excess = (image[:, edge:-edge, edge:-edge].astype(np.float64) + 850.0).sum()
    excess *= np.prod(protocol.spacing_zyx_mm)
    assert excess == pytest.approx(np.pi / 6 * 2.4**3 * 890, rel=0.01)


@pytest.mark.parametrize(
    ("thickness", "step", "profile"), [(2.0, 1.0, "box"), (5.0, 0.83, "triangle"), (3.0, 1.0, "box")]
)
def test_slice_profile_has_the_variance_asked_for(thickness, step, profile):
    w = slice_weights(thickness, step, profile=profile)
    k = np.arange(len(w)) - len(w) // 2
    variance = (w @ k**2 + 1 / 12) * step**2
    assert w.sum() == pytest.approx(1.0)
    assert variance == pytest.approx(thickness**2 / (12 if profile == "box" else 6), rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_noise_has_the_sd_asked_for(correlation):
    protocol = ScanProtocol(
        shape_zyx=(6, 120, 96), noise_sd_hu=30.0, noise_correlation_mm=correlation, slice_thickness_mm=2.0
    )
    flat = np.full(protocol.shape_zyx, -850.0, np.float32)
    quiet = acquire(flat, replace(protocol, noise_sd_hu=0.0), seed=3)
    noise = acquire(flat, protocol, seed=3) - quiet
    assert noise.std() == pytest.approx(30.0, rel=0.08)


def test_edge_overshoot_is_as_asked():
    protocol = ScanProtocol(
        shape_zyx=(1, 128, 128),
        spacing_zyx_mm=(1.0, 0.4, 0.4),
        psf_fwhm_mm=2.0,
        edge_overshoot=0.2,
        noise_sd_hu=0.0,
    )
    edge = np.full(protocol.shape_zyx, -1000.0, np.float32)
    edge[:, :, 64:] = 0.0
    image = acquire(edge, protocol, seed=0)
    assert image[0, 64, 60:90].max() == pytest.approx(200.0, abs=30.0)


def test_same_seed_same_bits_and_other_seed_other_scan():
    population = NodulePopulation(30, (1.5, 3.0))
    first = simulate_scan(PART, seed=9, population=population, n_threads=1)
    again = simulate_scan(PART, seed=9, population=population, n_threads=2)
    np.testing.assert_array_equal(first.scan.voxels_hu, again.scan.voxels_hu)
    np.testing.assert_array_equal(first.lung_labels, again.lung_labels)
    for name in TRUTH_COLUMN_NAMES:
        np.testing.assert_array_equal(first.truth[name], again.truth[name])
    other = simulate_scan(PART, seed=10, population=population)
    assert np.any(other.scan.voxels_hu != first.scan.voxels_hu)


def test_nodules_add_their_mass_where_the_truth_says():
    anatomy = draw_anatomy(9)
    population = NodulePopulation(25, (2.0, 3.0), min_gap_mm=8.0, shape="sphere")
    with_nodules = simulate_scan(PART, seed=9, population=population, anatomy=anatomy)
    without = simulate_scan(PART, seed=9, anatomy=anatomy)
    added = with_nodules.scan.voxels_hu.astype(float) - without.scan.voxels_hu
    truth, grid = with_nodules.truth, with_nodules.scan.grid
    index = grid.index_from_lps(np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1))
    ratios, offsets = [], []
    for i, center in enumerate(index):
        if "vessel" in truth["flags"][i] or truth["distance_to_pleura_mm"][i] < 5:
            continue
        low = np.rint(center).astype(int) - np.array([3, 5, 5])
        if np.any(low < 0) or np.any(low + np.array([7, 11, 11]) > np.array(grid.shape_zyx)):
            continue
        box = added[tuple(slice(a, a + n) for a, n in zip(low, (7, 11, 11), strict=True))]
        ratios.append(box.sum() * grid.voxel_volume_mm3 / 1000 / truth["excess_mass_mg"][i])
        where = np.stack(np.meshgrid(*[np.arange(n) for n in box.shape], indexing="ij"), -1)
        centroid = (where * box[..., None]).sum(axis=(0, 1, 2)) / box.sum() + low
        offsets.append(np.abs((centroid - center) * grid.spacing_zyx_mm).max())
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(1.0, abs=0.02)
    assert np.max(offsets) < 0.15


def test_truth_lies_inside_the_lungs_of_its_side(chest):
    truth, grid = chest.truth, chest.scan.grid
    index = np.rint(grid.index_from_lps(np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1))).astype(int)
    label = chest.lung_labels[tuple(index.T)]
    expected = np.where(truth["side"] == "right", 1, 2)
    near_edge = truth["distance_to_pleura_mm"] < 3.5
    assert np.mean(label == expected) > 0.97
    assert np.all(label[~near_edge] == expected[~near_edge])
    assert np.all(truth["distance_to_pleura_mm"] > 0)
    assert list(truth) == list(TRUTH_COLUMN_NAMES)
    assert {kind: int(np.sum(truth["kind"] == kind)) for kind in ("nodule", "calcified", "lesion")} == {
        "nodule": 400,
        "calcified": 5,
        "lesion": 1,
    }


def test_swapped_axes_are_noticed(chest):
    truth, grid = chest.truth, chest.scan.grid
    xyz = np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1)
    wrong = np.rint(grid.index_from_lps(xyz[:, [1, 0, 2]])).astype(int)
    wrong = np.clip(wrong, 0, np.array(grid.shape_zyx) - 1)
    assert np.mean(chest.lung_labels[tuple(wrong.T)] > 0) < 0.8


def test_chest_looks_like_a_chest(chest):
    voxels, labels = chest.scan.voxels_hu, chest.lung_labels
    litres = [np.sum(labels == k) * chest.scan.grid.voxel_volume_mm3 / 1e6 for k in (1, 2)]
    assert 2.0 < sum(litres) < 8.0
    assert 0.8 < litres[0] / litres[1] < 2.0
    assert -920 < np.median(voxels[labels > 0]) < -700
    assert np.median(voxels[labels == 0]) < 0
    assert chest.scan.warnings[0].code == "simulated"
    # The right lung lies at smaller LPS x, and the heart takes its space from the left lung.
    x = np.nonzero(labels == 1)[2].mean(), np.nonzero(labels == 2)[2].mean()
    assert x[0] < x[1]


def test_anatomies_differ_for_real():
    drawn = [draw_anatomy(seed) for seed in range(20)]
    ratios = np.array([p.half_width_mm / p.half_depth_mm for p in drawn])
    assert ratios.std() / ratios.mean() > 0.05
    assert len({p.murray_exponent for p in drawn}) == 20
    assert draw_anatomy(3) == draw_anatomy(3)


def test_patterns_differ_in_pleural_contact():
    anatomy = draw_anatomy(6)
    fields = build_fields(anatomy, HardNegatives())
    trees = grow_trees(anatomy, fields, HardNegatives())
    diameters = np.linspace(3.0, 1.5, 300)
    everywhere = np.array([[-500.0] * 3, [500.0] * 3])
    contact = {}
    for pattern in ("random", "perilymphatic", "centrilobular"):
        sampler = PlaceSampler(fields, trees, pattern, np.random.default_rng(1), everywhere)
        centers = place(sampler, diameters, min_gap_mm=0.2, taken=np.empty((0, 3)), taken_radii=np.empty(0))
        contact[pattern] = np.mean(fields.sample("lung", centers) < diameters / 2 + 0.5)
    assert contact["perilymphatic"] > 2.5 * contact["random"]
    assert contact["centrilobular"] == 0.0


def test_pattern_none_has_no_nodules_and_all_columns():
    s = simulate_scan(PART, seed=1, population=NodulePopulation(50, pattern="none"))
    assert list(s.truth) == list(TRUTH_COLUMN_NAMES)
    assert all(len(column) == 0 for column in s.truth.values())


def test_hard_negatives_raise_lung_attenuation():
    anatomy = draw_anatomy(4)
    plain = simulate_scan(WHOLE_CHEST, seed=4, anatomy=anatomy)
    hard = simulate_scan(WHOLE_CHEST, seed=4, anatomy=anatomy, hard_negatives=True)
    lung = plain.lung_labels > 0
    np.testing.assert_array_equal(plain.lung_labels, hard.lung_labels)
    assert np.percentile(hard.scan.voxels_hu[lung], 90) > np.percentile(plain.scan.voxels_hu[lung], 90) + 10
    assert np.percentile(hard.scan.voxels_hu[lung], 2) < np.percentile(plain.scan.voxels_hu[lung], 2)


def test_cavity_is_hollow():
    protocol = replace(WHOLE_CHEST, noise_sd_hu=0.0, psf_fwhm_mm=4.0)
    s = simulate_scan(protocol, seed=8, lesion=DominantLesion(30.0, 6.0, "left", "upper"))
    truth = s.truth
    assert truth["side"][0] == "left"
    center = s.scan.grid.index_from_lps([truth["x_mm"][0], truth["y_mm"][0], truth["z_mm"][0]])
    i, j, k = np.rint(center).astype(int)
    assert s.scan.voxels_hu[i, j, k] < -800
    assert s.scan.voxels_hu[i, j, k - 5 : k + 6].max() > -250


def test_too_many_nodules_is_an_error():
    with pytest.raises(InputError, match=r"population\.n"):
        simulate_scan(PART, seed=1, population=NodulePopulation(30000, (5.0, 6.0)))
    with pytest.raises(InputError, match="pattern"):
        NodulePopulation(pattern="milary")


def test_demo_case_is_a_whole_chest_of_thousands():
    case = demo_case()
    assert case["population"].n == 3000
    assert case["protocol"].shape_zyx == (200, 320, 320)
