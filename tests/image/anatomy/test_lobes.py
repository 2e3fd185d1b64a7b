"""Lobes by a fissure that is drawn, and by expectation alone."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.image.anatomy.lobes import CoarseLungs, estimate_lobes
from miliary.model.scan import Side
from miliary.model.vocabulary import Lobe

SPACING = np.array([2.0, 2.0, 2.0])
SHAPE = (120, 90, 60)


def make_lungs(label: int, *, rise_mm: float | None = None) -> CoarseLungs:
    """A box of lung, 240 x 180 x 120 mm; an oblique fissure `rise_mm` above the middle, or none."""
    labels = np.full(SHAPE, label, np.uint8)
    labels[:, 0] = labels[:, -1] = labels[0] = labels[-1] = labels[:, :, 0] = labels[:, :, -1] = 0
    hu = -860.0 + np.random.default_rng(2).normal(0, 12, SHAPE)
    if rise_mm is not None:
        z, y = np.arange(SHAPE[0])[:, None] * 2.0, np.arange(SHAPE[1]) * 2.0
        away = (z - 120.0 - rise_mm - 0.9 * (y - 90.0)) / np.hypot(1, 0.9)
        hu += (80.0 * np.exp(-0.5 * (away / 1.2) ** 2))[:, :, None]
    return CoarseLungs(hu.astype(np.float32), labels, SPACING)


def tell(lungs: CoarseLungs, above_mm: float, side: Side, *, y: float = 90.0) -> tuple[Lobe | None, float]:
    index = np.array([[(120.0 + above_mm) / 2, y / 2, 30.0]])
    (found,) = estimate_lobes(lungs, index, [side])
    assert (found.lobe is None) == bool(found.reason)
    return found.lobe, found.confidence


def test_far_from_every_fissure_the_shape_is_enough():
    lungs = make_lungs(2)
    assert tell(lungs, 70.0, Side.LEFT)[0] is Lobe.LUL
    assert tell(lungs, -85.0, Side.LEFT)[0] is Lobe.LLL
    assert tell(make_lungs(1), 95.0, Side.RIGHT)[0] is Lobe.RUL
    assert tell(make_lungs(1), -95.0, Side.RIGHT)[0] is Lobe.RLL


def test_near_where_it_may_run_nothing_is_said_without_a_fissure():
    lobe, confidence = tell(make_lungs(2), 0.0, Side.LEFT)
    assert lobe is None
    assert 0.5 <= confidence < 0.95


@pytest.mark.parametrize("rise", [-18.0, 15.0])
def test_a_fissure_that_is_seen_decides_near_itself(rise):
    lungs = make_lungs(2, rise_mm=rise)
    assert tell(lungs, rise + 12.0, Side.LEFT)[0] is Lobe.LUL
    assert tell(lungs, rise - 12.0, Side.LEFT)[0] is Lobe.LLL


def test_the_slope_is_followed_to_the_back():
    lungs = make_lungs(2, rise_mm=0.0)
    assert tell(lungs, 0.9 * 50 + 14.0, Side.LEFT, y=140.0)[0] is Lobe.LUL
    assert tell(lungs, 0.9 * 50 - 14.0, Side.LEFT, y=140.0)[0] is Lobe.LLL


def test_a_lung_that_is_not_there_has_no_lobe():
    lungs = make_lungs(1)
    (found,) = estimate_lobes(lungs, np.array([[60.0, 45.0, 30.0]]), [Side.LEFT])
    assert found.lobe is None
    assert "not found" in found.reason
