"""Share of the lungs involved, and diameters without their measuring error."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.distribution.involvement import CELL_MM, estimate_true_sizes, measure_extent
from miliary.model.nodules import COLUMNS, Nodules


def make_box() -> LungBox:
    """Two lungs of 60 x 60 x 45 mm beside each other, spacing 3 x 1.5 x 1.5 mm."""
    labels = np.zeros((20, 40, 60), np.uint8)
    labels[:, :, :30], labels[:, :, 30:] = 1, 2
    return LungBox(np.zeros(labels.shape, np.float32), labels, (0, 0, 0), (3.0, 1.5, 1.5))


def make_nodules(n: int) -> Nodules:
    columns = {
        c.name: np.full(n, "right" if c.name == "side" else "upper")
        if c.dtype is object
        else np.ones(n, c.dtype)
        for c in COLUMNS
    }
    return Nodules(columns)


def test_each_cell_with_a_nodule_counts_once():
    places = np.array([[1.0, 1.0, 1.0], [2.0, 3.0, 4.0], [20.0, 1.0, 1.0]])
    found = measure_extent(make_box(), make_nodules(3), places, false_per_litre=0.0)
    assert found.n_cells == pytest.approx(4 * 4 * 6)
    assert found.lung_fraction_involved == pytest.approx(2 / 96)
    assert found.counts["right.upper"] == 3
    assert found.counts["left.upper"] == 0


def test_every_cell_filled_is_the_whole_lung():
    middles = (
        np.stack(np.meshgrid(np.arange(4), np.arange(4), np.arange(6), indexing="ij"), -1) + 0.5
    ) * CELL_MM
    found = measure_extent(make_box(), make_nodules(96), middles.reshape(-1, 3), false_per_litre=0.0)
    assert found.lung_fraction_involved == 1.0
    assert found.ci95[1] == 1.0


def test_false_marks_alone_involve_nothing():
    box, rng = make_box(), np.random.default_rng(3)
    litres = box.labels.size * 3.0 * 1.5 * 1.5 / 1e6
    shares = []
    for _ in range(60):
        places = rng.uniform(0, 1, (20, 3)) * np.array(box.labels.shape) * box.spacing_zyx_mm
        found = measure_extent(box, make_nodules(20), places, false_per_litre=20 / litres)
        assert found.ci95[0] <= found.lung_fraction_involved <= found.ci95[1]
        shares.append(found.lung_fraction_involved)
    assert np.mean(shares) < 0.03


def test_no_lung_has_no_extent():
    box = LungBox(np.zeros((4, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), (0, 0, 0), (1.0, 1.0, 1.0))
    found = measure_extent(box, make_nodules(0), np.empty((0, 3)), false_per_litre=1.0)
    assert found.lung_fraction_involved is None


@pytest.mark.parametrize("error", [0.1, 0.4])
def test_the_error_of_measuring_is_taken_out(error):
    rng = np.random.default_rng(5)
    true = rng.uniform(1.5, 2.5, 1500)
    seen = true + rng.normal(0, error, len(true))
    found = estimate_true_sizes(seen, np.full(len(true), error))
    assert found.p90_mm == pytest.approx(np.quantile(true, 0.9), abs=0.08)
    assert found.p90_ci95_mm[0] < np.quantile(true, 0.9) < found.p90_ci95_mm[1]
    if error == 0.4:
        assert np.quantile(seen, 0.9) > found.p90_mm + 0.05


def test_too_few_sizes_give_a_reason():
    sizes = np.array([2.0, np.nan, 2.0])
    found = estimate_true_sizes(sizes, np.full(3, 0.1))
    assert found.p90_mm is None
    assert found.n == 2
    assert "fewer than 10" in found.reason
