from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import find
from miliary.image.sensitivity import excess
from miliary.image.sensitivity.estimate import list_warnings
from miliary.model.completeness import Completeness, Estimate, Threshold
from miliary.model.ct_result import Psf
from miliary.model.pattern import PatternLabel

SPACING = (1.0, 0.7, 0.8)
PSF = Psf(0.6, 0.4, "nodules")


def _measure(voxels):
    labels = np.zeros(voxels.shape, dtype=np.uint8)
    labels[2:-2, 2:-2, 2:-2] = 1
    box = LungBox(voxels.astype(np.float32), labels, (0, 0, 0), SPACING)
    return excess.measure_blobness(box, find.smooth_finest(box))


def _paint(centers, *, length=0.0, radius=1.2):
    """Soft balls, or tubes along z, on an even background."""
    grid = np.stack(
        np.meshgrid(*[np.arange(n) * s for n, s in zip((40, 60, 60), SPACING, strict=True)], indexing="ij"),
        -1,
    )
    out = np.full(grid.shape[:3], -850.0)
    for center in centers:
        away = grid - np.asarray(center)
        away[..., 0] = np.sign(away[..., 0]) * np.maximum(np.abs(away[..., 0]) - length, 0.0)
        distance = np.sqrt((away**2).sum(-1))
        out = np.maximum(out, -850.0 + 890.0 / (1.0 + np.exp((distance - radius) / 0.25)))
    return out


def test_balls_count_and_tubes_do_not():
    ball = _measure(_paint([(20, 20, 24)]))
    tube = _measure(_paint([(20, 20, 24)], length=60.0))
    assert ball.total > 50
    assert tube.total < 0.02 * ball.total
    assert _measure(_paint([])).total == 0.0


def test_it_adds_up():
    one = _measure(_paint([(20, 14, 14)])).total
    two = _measure(_paint([(20, 14, 14), (12, 28, 30)])).total
    assert two == pytest.approx(2 * one, rel=0.15)


def test_the_smallest_eigenvalue_is_that_of_numpy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        m = rng.normal(size=(3, 3))
        m = m + m.T
        ours = excess._smallest_eigenvalue(m[0, 0], m[1, 1], m[2, 2], m[0, 1], m[0, 2], m[1, 2])
        assert ours == pytest.approx(np.linalg.eigvalsh(m)[0], abs=1e-9)


def test_larger_balls_give_more_and_a_wider_blur_less():
    sharp = excess.measure_ball_blobness(PSF, SPACING, -850.0)
    soft = excess.measure_ball_blobness(replace(PSF, sigma_xy_mm=0.9), SPACING, -850.0)
    rising = sharp[excess.REFERENCE_MM < 4.0]
    assert np.all(np.diff(rising) >= 0)
    assert rising[-1] > 0
    assert np.all(soft <= sharp)


def _completeness(n, diameter=2.2):
    volume = n * np.pi / 6 * diameter**3
    edges = tuple(float(v) for v in np.geomspace(1.0, 5.0, 30))
    counts = tuple(float(v) for v in np.histogram([diameter] * n, bins=edges)[0])
    row = Threshold(1.0, Estimate(n, 0.9 * n, 1.1 * n), Estimate(volume, 0.9 * volume, 1.1 * volume))
    one = (1.0,)
    return Completeness(
        600, 400, one, one, one, one, one, one, (60,), one, one, 0.9, 1.2, None, (row,), "", edges, counts
    )  # fmt: skip


def _check(n_stated, n_there):
    total = (
        n_there
        * excess.SHARE_OF_BALL
        * float(np.interp(2.2, excess.REFERENCE_MM, excess.measure_ball_blobness(PSF, SPACING, -850.0)))
    )
    return excess.check_excess(
        _completeness(n_stated),
        excess.Blobness(total, 1.0, 1.0),
        psf=PSF,
        spacing_zyx_mm=SPACING,
        background_hu=-850.0,
    )


def test_right_numbers_agree_and_badly_wrong_ones_are_warned_of():
    right = _check(2000, 2000)
    assert right.agrees
    assert right.total_volume_mm3.low < right.total_volume_mm3.value <= right.total_volume_mm3.high
    for stated in (300, 20_000):
        wrong = _check(stated, 2000)
        assert not wrong.agrees
        (warning,) = list_warnings(replace(_completeness(stated), excess=wrong), PatternLabel.RANDOM)
        assert warning.code == "excess_disagrees"
    assert list_warnings(replace(_completeness(2000), excess=right), PatternLabel.RANDOM) == ()
    assert list_warnings(None, PatternLabel.PERILYMPHATIC) == ()


def test_a_count_of_nodules_on_surfaces_is_said_to_be_too_low():
    found = _completeness(2000)
    (warning,) = list_warnings(found, PatternLabel.PERILYMPHATIC)
    assert warning.code == "count_too_low_on_surfaces"
    assert list_warnings(replace(found, at_least=()), PatternLabel.PERILYMPHATIC) == ()
    assert list_warnings(found, PatternLabel.CENTRILOBULAR) == ()


def test_nothing_is_checked_where_nothing_is_corrected():
    empty = replace(_completeness(10), at_least=())
    blobness = excess.Blobness(1.0, 1.0, 1.0)
    assert excess.check_excess(empty, blobness, psf=PSF, spacing_zyx_mm=SPACING, background_hu=-850.0) is None
