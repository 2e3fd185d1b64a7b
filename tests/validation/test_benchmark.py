"""The benchmark's own parts: peers find plain nodules, limits hold, tables show what was measured."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers import PEERS
from benchmarks.run import best_operating_point, render, run_limited
from miliary.model.scan import Grid, Scan
from validation.cases import Loaded

SPACING = (1.0, 0.7, 0.7)
CENTRES = np.array([[12, 20, 20], [20, 36, 24], [28, 24, 40]])


def _volume() -> np.ndarray:
    generator = np.random.default_rng(0)
    axes = [np.arange(n) * d for n, d in zip((40, 60, 64), SPACING, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    volume = np.full(z.shape, -850.0) + generator.normal(0, 10, z.shape)
    for centre in CENTRES * SPACING:
        squared = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        volume += 600 * np.exp(-squared / (2 * 0.8**2))
    return volume.astype(np.float32)


@pytest.mark.parametrize("name", list(PEERS))
def test_every_peer_finds_three_plain_nodules(name: str) -> None:
    pytest.importorskip("skimage", reason="the peers' extra is not installed")
    volume = _volume()
    index, strength = PEERS[name](volume, np.ones(volume.shape, dtype=bool), SPACING)
    strongest = index[np.argsort(strength)[::-1][:3]]
    distance = np.linalg.norm(strongest[:, None] - CENTRES[None], axis=2)
    assert distance.min(axis=0).max() < 1.0


def test_the_best_operating_point_leaves_weak_false_marks_out() -> None:
    grid = Grid((40, 60, 64), SPACING)
    lps = grid.lps_from_index(CENTRES)
    truth = pd.DataFrame(lps, columns=["x_mm", "y_mm", "z_mm"]).assign(diameter_mm=2.0, kind="nodule")
    labels = np.ones(grid.shape_zyx, dtype=np.uint8)
    loaded = Loaded(Scan(np.zeros(grid.shape_zyx, dtype=np.int16), grid), truth, labels)
    index = np.concatenate([CENTRES, CENTRES + np.array([0, 15, 15])]).astype(float)
    best = best_operating_point(index, np.array([9.0, 8, 7, 1, 1, 1]), loaded, 2.0)
    assert best == {"sensitivity_1_1.5": pytest.approx(np.nan, nan_ok=True), "sensitivity_1.5_3": 1.0,
                    "false_per_litre": 0.0, "f1": 1.0}  # fmt: skip


def test_a_process_is_measured_and_stopped() -> None:
    grow = run_limited([sys.executable, "-c", "x = bytearray(300_000_000)"])
    assert grow.error == ""
    # A child counts its parent's memory at the fork, which is large in a long test run.
    idle = run_limited([sys.executable, "-c", "pass"])
    assert 0.3 < grow.peak_gb < max(0.5, idle.peak_gb + 0.4)
    assert "ValueError: no" in run_limited([sys.executable, "-c", "raise ValueError('no')"]).error
    slow = run_limited([sys.executable, "-c", "import time; time.sleep(60)"], time_s=0.3)
    assert "stopped" in slow.error


def test_the_table_names_peers_that_did_not_finish() -> None:
    run = {"wall_s": 9.0, "peak_gb": 1.5, "error": ""}
    accuracy = {"sensitivity_1_1.5": 0.8, "sensitivity_1.5_3": 0.97, "false_per_litre": 1.0, "f1": 0.95}
    figures = {
        "case": "a", "n_nodules": 5000, "litres": 4.0, "first": run, "warm": run, "whole": run,
        "accuracy": accuracy,
        "stages": [["read DICOM", 1.0, 0.5], ["find", 4.0, 1.0]],
        "peers": {"slow": {**run, "error": "MemoryError"}, "fast": {**run, "accuracy": accuracy}},
    }  # fmt: skip
    text = render(figures)
    assert "| slow | - | - | - | MemoryError |" in text
    assert "| fast | 9.0 | 2.2 | 1.50 | 0.970 | 0.800 | 1.0 | 0.950 |" in text
