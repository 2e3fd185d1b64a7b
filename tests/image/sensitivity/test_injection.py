from __future__ import annotations

from dataclasses import replace

import numba as nb
import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import find, judge, measure
from miliary.image.nodules.detect import DetectionRun
from miliary.image.sensitivity import injection
from miliary.model.ct_result import Noise, Psf

SPACING = (1.0, 0.7, 0.7)
PSF = Psf(0.6, 0.35, "nodules")


@pytest.fixture(scope="module")
def detection():
    """A lung of even density with noise and one sheet of tissue, in which nothing is marked."""
    rng = np.random.default_rng(3)
    voxels = rng.normal(-850.0, 20.0, (48, 64, 64)).astype(np.float32)
    voxels[:, :, 30:33] = 40.0
    labels = np.zeros(voxels.shape, dtype=np.uint8)
    labels[8:40, 10:54, 10:54] = 1
    box = LungBox(voxels, labels, (0, 0, 0), SPACING)
    smooth = find.smooth_finest(box)
    return DetectionRun(
        box=box,
        smooth_hu=smooth,
        classifier=judge.read_classifier(),
        share=0.01,
        response_sd_hu=find.find_candidates(box, smooth).response_sd_hu,
        noise=Noise(20.0),
        psf_assumed=PSF,
        psf=PSF,
        position_mm=np.empty((0, 3)),
        background_hu=np.empty(0),
        contrast_hu=np.empty(0),
        diameter_mm=np.empty(0),
    )


def test_large_nodules_are_found_at_their_size_and_tiny_ones_are_not(detection):
    recovery = injection.inject_and_recover(detection, n=160)
    assert len(recovery) == 160
    large = (recovery.diameter_mm > 2.2) & (recovery.diameter_mm < 4.5)
    assert np.mean(recovery.is_found[large]) > 0.85
    ratio = (recovery.measured_mm / recovery.diameter_mm)[large & recovery.is_found]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)
    assert not recovery.is_found[recovery.diameter_mm < 0.8].any()
    assert np.array_equal(np.isfinite(recovery.measured_mm), recovery.is_found)
    assert np.all(recovery.margin[recovery.is_found] >= 0)
    threshold = detection.classifier.threshold
    surer = recovery.is_found_at(0.9, threshold)
    assert np.array_equal(recovery.is_found_at(threshold, threshold), recovery.is_found)
    assert 0 < surer.sum() < recovery.is_found.sum()
    # Margins are log-odds over those of the threshold.
    least = np.log(9.0) - np.log(threshold / (1 - threshold))
    assert recovery.margin[surer].min() >= least > recovery.margin[recovery.is_found & ~surer].max()


def test_nodules_lie_in_the_lung_and_not_inside_tissue(detection):
    places = injection._draw_positions(detection, np.full(300, 2.0), np.random.default_rng(0))
    index = np.rint(places).astype(int)
    assert np.all(detection.box.labels[tuple(index.T)] > 0)
    assert np.all(np.abs(places[:, 2] - 31) > 1.4)
    # Not only in one half.
    assert 0.3 < np.mean(places[:, 2] < 31) < 0.7


def test_no_nodule_is_put_into_one_that_is_there(detection):
    there = np.array([[24.0, 20.0, 12.0]])
    marked = replace(
        detection,
        position_mm=there,
        background_hu=np.array([-850.0]),
        contrast_hu=np.array([500.0]),
        diameter_mm=np.array([9.0]),
    )
    places = injection._draw_positions(marked, np.full(2000, 3.0), np.random.default_rng(0))
    distance = np.linalg.norm(places * SPACING - there, axis=1)
    assert distance.min() >= 6.0


def test_threads_and_repetition_change_nothing_and_the_scan_stays_as_it_is(detection):
    before = detection.box.voxels_hu.copy()
    threads = nb.get_num_threads()
    results = []
    for n in (1, min(2, nb.config.NUMBA_NUM_THREADS)):
        nb.set_num_threads(n)
        results.append(injection.inject_and_recover(detection, n=70, seed=4))
    nb.set_num_threads(threads)
    for name in ("diameter_mm", "is_found", "measured_mm", "margin", "depth_mm"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))
    np.testing.assert_array_equal(detection.box.voxels_hu, before)
    other = injection.inject_and_recover(detection, n=70, seed=5)
    assert not np.array_equal(other.measured_mm, results[0].measured_mm, equal_nan=True)


def test_a_stricter_threshold_finds_fewer(detection):
    strict = replace(detection, classifier=replace(detection.classifier, threshold=0.999))
    few = injection.inject_and_recover(strict, n=120)
    many = injection.inject_and_recover(detection, n=120)
    assert few.is_found.sum() < many.is_found.sum()
    assert not np.any(few.is_found & ~many.is_found)


@pytest.mark.parametrize("ring", [0.0, 0.8])
@pytest.mark.parametrize("diameter", [0.8, 2.0, 4.0])
def test_a_blurred_ball_keeps_its_volume(ring, diameter):
    sigma = np.array([0.35, 0.6, 0.6])
    step = np.array([0.05, 0.08, 0.08])
    widest = sigma * np.array([1.0, measure.RING_WIDTH, measure.RING_WIDTH])
    octant = injection._render_octant(diameter, sigma, widest, step, ring)
    weight = np.ones(octant.shape)
    for axis in range(3):
        weight[(slice(None),) * axis + (0,)] *= 0.5
    volume = 8 * np.sum(octant * weight) * np.prod(step)
    assert volume == pytest.approx(np.pi / 6 * diameter**3, rel=0.01)
    assert np.all(octant <= octant[0, 0, 0] + 1e-9) or ring > 0


def test_what_is_added_is_the_nodule(detection):
    """Sum of the difference over the patch: volume times contrast, wherever the middle falls."""
    place = np.array([[20.3, 24.6, 20.2], [26.0, 40.0, 42.5]])
    level = np.array([20, 25])
    templates = injection._render_templates(PSF)
    half = np.ceil(injection.PATCH_HALF_MM / np.array(SPACING)).astype(np.int64)
    size = 2 * half + 1
    corner = np.rint(place).astype(np.int64) - half
    shape = (2 * size[0], size[1], size[2])
    air = np.full(detection.box.voxels_hu.shape, -850.0, dtype=np.float32)
    out, mask = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    source = injection._PatchSource(air, air, detection.box.labels, np.array(SPACING))
    injected = injection._Injected(place, corner, level)
    settings = injection._PatchSettings(half, 3.0, 12.0, 40.0)
    injection._fill_patches(0, 2, source, injected, templates, settings, out, mask)
    for m in range(2):
        added = out[m * size[0] : (m + 1) * size[0]].astype(float) + 850.0
        volume = np.pi / 6 * injection.DIAMETERS_MM[level[m]] ** 3
        assert added.sum() * np.prod(SPACING) == pytest.approx(890.0 * volume, rel=0.02)
        middle = np.array([(added * axis).sum() / added.sum() for axis in np.indices(added.shape)])
        np.testing.assert_allclose(middle + corner[m], place[m], atol=0.03)
    assert mask.any()


def test_lungs_without_room_give_no_rows(detection):
    empty = replace(detection, box=replace(detection.box, labels=np.zeros_like(detection.box.labels)))
    assert len(injection.inject_and_recover(empty, n=50)) == 0
