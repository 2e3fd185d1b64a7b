from dataclasses import replace

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.nodules.find import (
    BLOCK,
    SCALES_MM,
    find_candidates,
    smooth_finest,
)
from tests.image.balls import LUNG_HU, lattice_mm, make_box, render_balls

GRIDS = [((30, 44, 52), (1.0, 0.7, 0.6)), ((52, 30, 40), (0.6, 1.0, 0.8)), ((14, 40, 44), (2.0, 0.8, 0.7))]


def _find(box):
    return find_candidates(box, smooth_finest(box))


def _quiet(volume, seed=0):
    """A trace of noise: the floor follows the spread of the response, which must not be zero."""
    return volume + np.random.default_rng(seed).normal(0.0, 1.0, volume.shape)


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("diameter", [1.5, 3.0])
def test_a_single_ball_is_found_where_it_is(shape, spacing, diameter):
    center = np.array(shape) * spacing * [0.43, 0.61, 0.37]
    volume = render_balls(shape, spacing, [center], [diameter], sigma_mm=[0.4 * spacing[0] + 0.2, 0.5, 0.5])
    found = _find(make_box(_quiet(volume), spacing))
    best = np.argmax(found.responses_hu.max(axis=1))
    offset = found.index_zyx[best] * spacing - center
    # A parabola through three samples of a blob is off by up to a tenth of the sample distance.
    assert np.all(np.abs(offset) < 0.15 * np.array(spacing))
    others = np.delete(found.responses_hu.max(axis=1), best)
    assert np.all(others < 0.3 * found.responses_hu[best].max())


def test_every_ball_of_many_is_found_once():
    spacing = (1.0, 0.8, 0.7)
    centers = lattice_mm((3, 4, 4), 9.0, seed=3)
    diameters = np.random.default_rng(4).uniform(1.2, 3.5, len(centers))
    volume = render_balls((27, 45, 52), spacing, centers, diameters, sigma_mm=0.55, dense=3)
    found = _find(make_box(_quiet(volume), spacing))
    strong = found.index_zyx[found.responses_hu.max(axis=1) > 30] * spacing
    distance = np.linalg.norm(strong[:, None] - centers, axis=2)
    assert len(strong) == len(centers)
    assert np.all(distance.min(axis=0) < 0.3)


def test_a_bigger_ball_answers_at_a_bigger_scale():
    spacing = (0.8, 0.7, 0.6)
    scale = []
    for diameter in (1.2, 5.0):
        volume = render_balls(
            (30, 36, 40), spacing, [np.array([12.1, 12.3, 11.8])], [diameter], sigma_mm=0.5, dense=3
        )
        found = _find(make_box(_quiet(volume), spacing))
        scale.append(found.scale[np.argmax(found.responses_hu.max(axis=1))])
    assert scale[0] <= 1
    assert scale[1] == len(SCALES_MM) - 1


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_an_empty_lung_has_no_candidates(noise):
    volume = LUNG_HU + np.random.default_rng(1).normal(0.0, noise, (12, 20, 26))
    found = _find(make_box(volume, (1.0, 0.7, 0.7)))
    assert len(found) == 0
    assert found.index_zyx.shape == (0, 3)
    assert found.responses_hu.shape == (0, len(SCALES_MM))
    assert found.scale.dtype == np.int64


def test_only_the_lung_and_its_rim_are_searched():
    shape, spacing = (24, 40, 60), (1.0, 0.8, 0.7)
    centers = np.array([[12.0, 16.0, 10.0], [12.0, 16.0, 32.0]])
    volume = _quiet(render_balls(shape, spacing, centers, [3.0, 3.0], sigma_mm=0.6, dense=3))
    box = make_box(volume, spacing)
    labels = box.labels.copy()
    labels[:, :, 30:] = 0
    found = _find(replace(box, labels=labels))
    assert np.all(found.index_zyx[:, 2] < 30 + 1.5 / spacing[2] + 1)
    assert np.min(np.linalg.norm(found.index_zyx * spacing - centers[0], axis=1)) < 0.2


def test_inputs_stay_as_they_are():
    spacing = (1.0, 0.8, 0.7)
    volume = render_balls((20, 26, 30), spacing, [np.array([9.0, 9.0, 9.0])], [2.0], sigma_mm=0.6, dense=3)
    box = make_box(_quiet(volume), spacing)
    before = box.voxels_hu.copy(), box.labels.copy()
    first, again = _find(box), _find(box)
    np.testing.assert_array_equal(box.voxels_hu, before[0])
    np.testing.assert_array_equal(box.labels, before[1])
    np.testing.assert_array_equal(first.index_zyx, again.index_zyx)
    np.testing.assert_array_equal(first.responses_hu, again.responses_hu)


def test_filtering_only_around_the_lungs_finds_what_filtering_everything_finds(monkeypatch):
    rng = np.random.default_rng(8)
    voxels = rng.normal(-850.0, 60.0, (40, 60, 110)).astype(np.float32)
    labels = np.zeros(voxels.shape, dtype=np.uint8)
    labels[12:28, 20:44, 12:40], labels[9:31, 14:38, 70:96] = 1, 2
    labels[0, 0, 0], labels[-1, -1, -1] = 1, 2
    box = LungBox(voxels, labels, (0, 0, 0), (1.2, 0.7, 0.8))
    smooth = smooth_finest(box)
    near = find_candidates(box, smooth)
    monkeypatch.setattr(
        loops, "span_labels", lambda labels, margins: [loops.span_whole(labels.shape) for _ in margins]
    )
    whole = find_candidates(box, smooth)
    assert len(near) > 50
    np.testing.assert_array_equal(near.index_zyx, whole.index_zyx)
    np.testing.assert_array_equal(near.responses_hu, whole.responses_hu)


def test_candidates_are_listed_block_by_block():
    rng = np.random.default_rng(9)
    found = _find(make_box(rng.normal(-850.0, 60.0, (40, 50, 60)), (1.0, 0.8, 0.8)))
    block = np.unique(np.round(found.index_zyx).astype(int) // BLOCK, axis=0, return_inverse=True)[1].ravel()
    assert len(np.unique(block)) > 20
    # Shifted to the top of a parabola a position may round to the voxel beside.
    assert np.count_nonzero(np.diff(block) < 0) < 0.05 * len(found)
