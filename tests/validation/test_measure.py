"""From a scan to its figures, with a stand-in for the finder that knows the truth."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from miliary.model.ct_result import CtResult, Lungs, Noise, OperatingPoint, Psf, Stage
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Acquisition, Grid, Scan, SourceOrder
from validation import measure
from validation.cases import SIMULATED, Case, Loaded
from validation.results import render_run

SHAPE, SPACING = (60, 80, 90), (1.0, 0.8, 0.8)


def _labels() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[8:-8, 8:-8, 8:42], labels[8:-8, 8:-8, 48:-8] = 1, 2
    return labels


def _nodules(truth: pd.DataFrame) -> Nodules:
    n = len(truth)
    columns = {c.name: np.array([""] * n if c.dtype is object else [0.5] * n, dtype=c.dtype) for c in COLUMNS}
    columns |= {
        name: truth[name].to_numpy() for name in ("x_mm", "y_mm", "z_mm", "diameter_mm", "volume_mm3")
    }
    return Nodules(columns)


def _result(scan: Scan, nodules: Nodules) -> CtResult:
    labels = _labels()
    litres = np.count_nonzero(labels) * scan.grid.voxel_volume_mm3 / 1e6
    return CtResult(
        scan.grid, Acquisition(), SourceOrder(), (), Lungs(labels, scan.grid.voxel_volume_mm3), 500 * litres,
        500 * litres, Noise(20.0), Psf(0.5, 0.3), nodules, OperatingPoint(0.5, 0.5), 99, 40.0,
        (Stage("find", 1.0),),
    )  # fmt: skip


def _scan() -> Scan:
    return Scan(np.full(SHAPE, -850, dtype=np.int16), Grid(SHAPE, SPACING, (3.0, 4.0, 5.0)))


def test_a_perfect_finder_has_perfect_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    index = np.random.default_rng(1).uniform(10, 50, (40, 3))
    lps = _scan().grid.lps_from_index(index)
    truth = pd.DataFrame(lps, columns=["x_mm", "y_mm", "z_mm"])
    truth = truth.assign(
        diameter_mm=np.linspace(1.0, 2.9, 40), volume_mm3=1.0, kind="nodule", density_hu=40.0,
        attached=[True, False] * 20, pleural=[True, False] * 20,
    )  # fmt: skip
    monkeypatch.setattr(measure, "load_simulated", lambda _: Loaded(_scan(), truth, _labels()))
    monkeypatch.setattr(measure, "find_nodules", lambda scan: _result(scan, _nodules(truth)))
    figures = measure.measure_case(SIMULATED[0])
    json.dumps(figures)
    assert figures["score"]["n_hits"] == 40
    assert figures["score"]["n_false"] == 0
    assert figures["lungs"]["dice"] == {"both": 1.0, "right": 1.0, "left": 1.0}
    inside, n = figures["lungs"]["pleural_inside"]
    at = np.rint(index[::2]).astype(int)
    assert (inside, n) == (int((_labels()[tuple(at.T)] > 0).sum()), 20)
    assert "ship-1000-a" in render_run(
        {"ship-1000-a": figures}, command="c", weights="shipped", is_partial=True
    )


def test_a_real_scan_is_measured_without_and_with_spheres(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(scan: Scan) -> CtResult:
        # One mark on the bare scan; with spheres in it, every bright place is marked.
        rows = np.argwhere(scan.voxels_hu > -700)
        points = scan.grid.lps_from_index(rows if len(rows) else np.array([[20, 20, 20]]))
        marks = pd.DataFrame(points, columns=["x_mm", "y_mm", "z_mm"]).assign(diameter_mm=2.0, volume_mm3=4.0)
        return _result(scan, _nodules(marks))

    monkeypatch.setattr(measure, "read_real", lambda _: _scan())
    monkeypatch.setattr(measure, "find_nodules", find)
    blur = {"fwhm_mm": 1.0, "slice_mm": 1.0}
    case = Case(
        "real-0314", "real", frozenset({"real-0314"}), 5, {"blur": blur, "role": "development", "n": 15}
    )
    figures = measure.measure_case(case)
    json.dumps(figures)
    assert figures["n_marks"] == 1
    assert figures["score"]["sensitivity"]["1.5-3"][0] == figures["score"]["sensitivity"]["1.5-3"][1] > 5
    assert figures["sensitivity_aerated"] == figures["score"]["sensitivity"]
    assert figures["lung_volume_shift"] == 0.0
