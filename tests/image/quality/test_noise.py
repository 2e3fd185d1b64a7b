import numpy as np
import pytest
from scipy import ndimage

from miliary.image.quality.noise import estimate_noise
from miliary.model.ct_result import Lungs
from miliary.model.scan import Grid, Scan

SHAPE, SPACING = (16, 70, 90), (1.5, 0.8, 0.7)


def _phantom(noise, *, dtype=np.int16):
    """Lung in a wall of tissue, a gradient along y as gravity makes it."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[:, 8:62, 8:82] = 1
    level = np.where(labels > 0, -880.0 + 0.8 * np.arange(SHAPE[1])[None, :, None], 40.0)
    voxels = level + noise
    voxels = np.rint(voxels).astype(dtype) if dtype == np.int16 else voxels.astype(dtype)
    return Scan(voxels, Grid(SHAPE, SPACING)), Lungs(labels, float(np.prod(SPACING)))


@pytest.mark.parametrize("sd", [8.0, 25.0, 70.0])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_white_noise_is_recovered(sd, dtype):
    noise = np.random.default_rng(int(sd)).normal(0.0, sd, SHAPE)
    found = estimate_noise(*_phantom(noise, dtype=dtype))
    assert found.sd_hu == pytest.approx(sd, rel=0.1)
    # The lag-one correlation of white noise is under 0.1, which is a third of a pixel.
    assert found.correlation_mm < 0.34 * SPACING[2]


def test_grain_is_seen():
    white = np.random.default_rng(1).normal(size=SHAPE)
    lengths = []
    for length_px in (0.5, 0.6, 0.7):
        grain = ndimage.gaussian_filter(white, (0, length_px, length_px))
        found = estimate_noise(*_phantom(25.0 * grain / grain.std()))
        # The quietest patches, less a plane, have lost some of the coarser grain: both figures are low.
        assert found.sd_hu == pytest.approx(25.0, rel=0.25)
        assert 0.5 < found.correlation_mm / (length_px * SPACING[2]) < 1.0
        lengths.append(found.correlation_mm)
    assert lengths == sorted(lengths)


def test_vessels_do_not_count_as_noise():
    noise = np.random.default_rng(3).normal(0.0, 20.0, SHAPE)
    noise[:, 20:50:15, :] += 300.0
    assert estimate_noise(*_phantom(noise)).sd_hu == pytest.approx(20.0, rel=0.15)


def test_the_seed_decides():
    noise = np.random.default_rng(3).normal(0.0, 20.0, SHAPE)
    scan, lungs = _phantom(noise)
    before = scan.voxels_hu.copy()
    assert estimate_noise(scan, lungs, seed=4) == estimate_noise(scan, lungs, seed=4)
    assert estimate_noise(scan, lungs, seed=4) != estimate_noise(scan, lungs, seed=5)
    np.testing.assert_array_equal(scan.voxels_hu, before)


def test_no_lung_no_noise():
    scan, _ = _phantom(np.zeros(SHAPE))
    assert estimate_noise(scan, Lungs(np.zeros(SHAPE, np.uint8), 1.0)).sd_hu == 0.0


def test_a_lung_thinner_than_a_patch_gives_no_noise():
    scan, _ = _phantom(np.zeros(SHAPE))
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 20:24, :] = 1
    assert estimate_noise(scan, Lungs(labels, 1.0)).sd_hu == 0.0
