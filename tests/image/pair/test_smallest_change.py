"""The smallest change of one nodule that a pair of scans could have shown."""

import numpy as np
import pytest

from miliary.image.pair.smallest_change import find_smallest_changes
from miliary.image.pair.zone_matching import MatchingLimits
from miliary.model.nodules import COLUMNS, Nodules

LIMITS = MatchingLimits(0.5, 0.05, 0.5, min_sigmas=2.0, min_volume_change=0.25)


def make_nodules(diameter_mm, share, n=8):
    """Nodules of one diameter whose volumes are known to a share of them."""
    columns = {c.name: np.zeros(n, dtype=c.dtype) for c in COLUMNS}
    columns["diameter_mm"] = np.full(n, diameter_mm)
    columns["volume_mm3"] = np.full(n, np.pi / 6.0 * diameter_mm**3)
    columns["volume_mm3_err"] = share * columns["volume_mm3"]
    return Nodules(columns)


@pytest.mark.parametrize(
    ("shares", "growth", "shrinkage"),
    [
        # Two errors of each 0.2: hypot 0.283, twice that 0.566; growth is 0.566 / (1 - 0.566).
        ((0.2, 0.2), 0.5657 / 0.4343, 0.5657 / 1.5657),
        ((0.01, 0.01), 0.25, 0.25),
        ((0.5, 0.5), np.inf, 1.4142 / 2.4142),
    ],
)
def test_it_follows_from_the_errors_and_is_never_below_the_rule(shares, growth, shrinkage):
    (found,) = find_smallest_changes([make_nodules(2.0, share) for share in shares], LIMITS)
    assert found.diameter_mm == 2.0
    assert found.growth == pytest.approx(growth, rel=1e-3)
    assert found.shrinkage == pytest.approx(shrinkage, rel=1e-3)


def test_a_change_just_beyond_it_is_called_grown_and_just_below_it_kept():
    from miliary.image.pair.track import _compare_pairs

    before = make_nodules(2.0, 0.1)
    (found,) = find_smallest_changes([before, before], LIMITS)
    for factor, fate in ((1.02, "grown"), (0.98, "kept")):
        after = make_nodules(2.0 * np.cbrt(1.0 + factor * found.growth), 0.1)
        assert set(_compare_pairs(before, after, 2.0, 0.25)["fate"]) == {fate}


def test_errors_of_a_scan_with_too_few_nodules_are_those_of_the_other():
    few = find_smallest_changes([make_nodules(2.0, 0.2), make_nodules(2.0, 0.9, n=3)], LIMITS)
    same = find_smallest_changes([make_nodules(2.0, 0.2), make_nodules(2.0, 0.2)], LIMITS)
    assert few == same
    assert find_smallest_changes([make_nodules(2.0, 0.2, n=3)] * 2, LIMITS) == ()
