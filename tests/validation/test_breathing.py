"""The pairs of known motion are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.model.scan import Grid, Scan
from validation.breathing import Breath, Pair, make_pair

GRID = Grid((70, 60, 90), (2.0, 2.0, 2.0), (-90.0, -60.0, 10.0))
BREATH = Breath((12.0, 9.0), 3.0, seed=4, shift_lps_mm=(4.0, -6.0, 11.0))


@pytest.fixture(scope="module")
def pair() -> Pair:
    z, y, x = np.moveaxis(np.indices(GRID.shape_zyx), 0, 0)
    labels = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    for label, middle in ((1, 23), (2, 67)):
        ball = ((x - middle) / 17.0) ** 2 + ((y - 30) / 22.0) ** 2 + ((z - 35) / 26.0) ** 2
        labels[ball < 1.0] = label
    voxels = np.where(labels > 0, -860.0, 40.0).astype(np.float32)
    return make_pair(
        Scan(voxels, GRID),
        labels,
        BREATH,
        seed=3,
        n_nodules=30,
        diameter_mm=(5.0, 6.0),
        gone_share=0.5,
        lesion_mm=None,
        noise_hu=(5.0, 5.0),
    )


def test_kept_nodules_are_where_the_motion_puts_them_and_others_are_gone(pair: Pair) -> None:
    index = GRID.index_from_lps(pair.nodules_lps_mm)
    deep = np.abs(pair.nodules_lps_mm[:, 2] - 80.0) < 35.0
    moved = pair.followup.grid.index_from_lps(pair.motion.to_followup(pair.nodules_lps_mm, pair.side))
    before, after = (
        np.array([scan.voxels_hu[tuple(np.rint(i).astype(int))] for i in at])
        for scan, at in ((pair.baseline, index), (pair.followup, moved))
    )
    kept = pair.followup_diameter_mm > 0
    assert (before[deep] > -500).all()
    assert np.median(after[deep & kept]) > -400
    assert np.median(after[deep & ~kept]) < -700
    assert kept.any()
    assert (~kept).any()


def test_the_lungs_move_and_the_chest_does_not(pair: Pair) -> None:
    points = pair.nodules_lps_mm
    moved = pair.motion.to_followup(points, pair.side)
    still = (
        (points - pair.motion.center) @ pair.motion.rotation().T + pair.motion.center + BREATH.shift_lps_mm
    )
    assert np.linalg.norm(moved - still, axis=1).max() > 5.0
    corner = pair.motion.unturn().apply(pair.followup.grid.lps_from_index([[35, 30, 45]]))
    index = np.rint(GRID.index_from_lps(corner)).astype(int)[0]
    assert pair.baseline.voxels_hu[tuple(index)] > -100
    assert pair.followup.voxels_hu[35, 30, 45] > -100


def test_lungs_breathed_out_are_smaller_and_denser(pair: Pair) -> None:
    volumes = [np.count_nonzero(labels) for labels in (pair.baseline_labels, pair.followup_labels)]
    assert 0.7 < volumes[1] / volumes[0] < 0.97
    lower = pair.followup_labels > 0
    lower[35:] = False
    assert np.median(pair.followup.voxels_hu[lower]) > -855.0
    assert np.median(pair.baseline.voxels_hu[pair.baseline_labels > 0]) == pytest.approx(-860.0, abs=3.0)
