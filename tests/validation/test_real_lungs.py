"""Places of inserted nodules in a lung of known shape, and what a log says of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from miliary.model.scan import Grid, Scan
from validation.real_lungs import WAYS, Lung, list_tasks, report

SPACING = (1.0, 0.8, 0.8)
SHAPE = (70, 88, 88)


@pytest.fixture(scope="module")
def lung() -> Lung:
    """A ball of 33 mm with two rods of 3 mm through it."""
    axes = [(np.arange(n) - n / 2 + 0.5) * d for n, d in zip(SHAPE, SPACING, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside = z**2 + y**2 + x**2 < 33.0**2
    voxels = np.where(inside, -850.0, 40.0)
    voxels[inside & (np.hypot(y, np.abs(x) - 12.0) < 3.0)] = 40.0
    scan = Scan(voxels.astype(np.int16), Grid(SHAPE, SPACING, (0.0, 0.0, 0.0)))
    return Lung(scan, inside.astype(np.uint8))


def test_a_lung_knows_its_depth_and_its_vessels(lung: Lung) -> None:
    assert lung.depth_mm.max() == pytest.approx(33.0, abs=1.5)
    middle = tuple(n // 2 for n in SHAPE)
    assert lung.vessel_mm[middle] == pytest.approx(9.0, abs=1.0)
    assert lung.vessel_mm[middle[0], middle[1], middle[2] + 15] == 0


def test_random_places_fill_the_lung(lung: Lung) -> None:
    mask = WAYS["random"](lung, np.random.default_rng(0))
    assert mask.sum() == pytest.approx((lung.depth_mm > 1.2).sum())


def test_interstitial_places_lie_on_the_pleura_and_on_vessels(lung: Lung) -> None:
    mask = WAYS["perilymphatic"](lung, np.random.default_rng(0))
    on_pleura = lung.depth_mm[mask] < 2.2
    assert 0.4 < on_pleura.mean() < 0.6
    assert lung.vessel_mm[mask][~on_pleura].max() < 2.0
    assert lung.vessel_mm[mask][~on_pleura].min() > 0


def test_lobular_places_are_groups_off_pleura_and_vessels(lung: Lung) -> None:
    mask = WAYS["centrilobular"](lung, np.random.default_rng(0))
    assert lung.depth_mm[mask].min() > 4.5
    assert lung.vessel_mm[mask].min() > 2.0
    _, n_groups = ndimage.label(mask)
    litres = (lung.labels > 0).sum() * 0.64 / 1e6
    # A third of the lobules, less those at the pleura and at vessels.
    assert 0.05 < n_groups / (litres * 1e6 / 9.0**3) < 0.33
    other = WAYS["centrilobular"](lung, np.random.default_rng(1))
    assert (mask & other).sum() < 0.7 * mask.sum()


def test_the_report_counts_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"least_mm": 1.2, "count": 0.9, "count_in": False, "volume": 1.1, "volume_in": True}
    row = {"lung": "a", "way": "random", "label": "random", "p": 0.2, **told}
    report([row, row | {"label": "none", "p": None, "least_mm": None}, row | {"p": 0.03, "count": 1.1}])
    text = capsys.readouterr().out
    assert "a, random: pattern right 2 of 3, randomness rejected 1" in text
    assert "count / truth 1.000 (0.900 to 1.100), 0 of 2 inside" in text
    assert "volume / truth 1.100 (1.100 to 1.100), 2 of 2 inside" in text


def test_validation_lungs_are_never_those_of_the_training() -> None:
    names = {case.name for case, _, _ in list_tasks("validation")}
    assert names == {"real-lungfcp", "real-0001"}
    assert not names & {case.name for case, _, _ in list_tasks("development")}
