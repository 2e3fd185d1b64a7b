"""What lies around and between marks: strands, dense lung, holes, patches; and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.distribution.context import measure_context, read_through
from miliary.image.distribution.neighborhood import Neighborhood, look_at_neighborhood
from miliary.model.pattern import PatternLabel

SHAPE, LUNG_HU = (48, 48, 48), -860.0
MARKS_MM = np.array([[24.0, 20.0, 20.0], [24.0, 20.0, 27.0], [24.0, 34.0, 20.0]])
DIAMETER_MM = np.full(3, 2.0)


def _box(paint):
    voxels = np.full(SHAPE, LUNG_HU, np.float32)
    voxels += np.random.default_rng(1).normal(0, 5, SHAPE).astype(np.float32)
    z, y, x = np.indices(SHAPE)
    for mark in MARKS_MM:
        voxels[(z - mark[0]) ** 2 + (y - mark[1]) ** 2 + (x - mark[2]) ** 2 <= 1.5] = -100.0
    paint(voxels, z, y, x)
    return LungBox(voxels, np.ones(SHAPE, np.uint8), (0, 0, 0), (1.0, 1.0, 1.0))


def _strand(voxels, z, y, x):
    voxels[24, 20, 20:28] = -300.0


def _haze(voxels, z, y, x):
    voxels[(np.abs(y - 34) < 8) & (np.abs(x - 20) < 8) & (voxels < -500)] = -600.0


def _hole(voxels, z, y, x):
    voxels[(y > 35) & (y < 42)] = -990.0


def _nothing(voxels, z, y, x):
    pass


@pytest.mark.parametrize(
    ("paint", "joined", "dense", "airy"),
    [
        (_nothing, [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        (_strand, [1, 1, 0], [0, 0, 0], [0, 0, 0]),
        (_haze, [0, 0, 0], [0, 0, 1], [0, 0, 0]),
        (_hole, [0, 0, 0], [0, 0, 0], [0, 0, 1]),
    ],
)
def test_what_lies_around_marks_is_seen(paint, joined, dense, airy):
    box = _box(paint)
    found = look_at_neighborhood(box, box.voxels_hu, MARKS_MM, DIAMETER_MM)
    assert found.is_joined.tolist() == list(map(bool, joined))
    assert found.in_dense.tolist() == list(map(bool, dense))
    assert found.beside_air.tolist() == list(map(bool, airy))
    assert found.has_partner.tolist() == [True, True, False]


def test_no_marks_have_no_neighborhood():
    box = _box(_nothing)
    found = look_at_neighborhood(box, box.voxels_hu, np.empty((0, 3)), np.empty(0))
    assert len(found.is_joined) == 0


def _flags(share, n=100):
    return np.arange(n) < round(share * n)


def _context(position_mm, *, joined=0.0, near=0.9, dense=0.0, airy=0.0):
    rng = np.random.default_rng(4)
    reference = rng.uniform(0, 120, (6000, 3))
    placed = [rng.choice(6000, len(position_mm), replace=False) for _ in range(60)]
    around = Neighborhood(_flags(joined), _flags(near), _flags(dense), _flags(airy))
    return measure_context(position_mm, reference, placed, around)


EVEN_MM = np.random.default_rng(8).uniform(0, 120, (400, 3))
PATCHY_MM = np.concatenate(
    [center + np.random.default_rng(9).normal(0, 8, (80, 3)) for center in np.linspace(30, 90, 5)[:, None]]
)
L = PatternLabel


@pytest.mark.parametrize(
    ("position", "around", "label", "pleura", "expected", "words"),
    [
        (EVEN_MM, {}, L.RANDOM, 1.0, None, ""),
        (PATCHY_MM, {}, L.RANDOM, 1.0, L.INDETERMINATE, "crowd in patches"),
        (PATCHY_MM, {}, L.PERILYMPHATIC, 2.0, None, ""),
        (PATCHY_MM, {"joined": 0.3}, L.CENTRILOBULAR, 0.1, L.AIRWAY_CENTRED, "strands"),
        (EVEN_MM, {"joined": 0.3}, L.PERILYMPHATIC, 3.0, None, ""),
        (EVEN_MM, {"joined": 0.3}, L.RANDOM, 1.0, L.INDETERMINATE, "strands"),
        (EVEN_MM, {"joined": 0.05}, L.RANDOM, 0.5, None, ""),
        (EVEN_MM, {"dense": 0.3}, L.RANDOM, 1.0, L.INDETERMINATE, "dense lung"),
        (EVEN_MM, {"airy": 0.7}, L.RANDOM, 1.0, L.OTHER, "holes or cysts"),
    ],
)
def test_a_label_stands_only_where_the_context_fits_nodules(position, around, label, pleura, expected, words):
    found = read_through(_context(position, **around), label, pleura_ratio=pleura)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] is expected
        assert words in found[1]
