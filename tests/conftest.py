"""Fixtures: where the real data is, and small results made by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from miliary.model.ct_result import CtResult, Lungs, Noise, OperatingPoint, Psf, Stage
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Acquisition, Grid, Scan, ScanWarning

if TYPE_CHECKING:
    from miliary.image.simulate import SimulatedScan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scans: skips where it is absent, fails there in CI."""
    folder = Path(os.environ.get("MILIARY_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        reason = "no real scans: set MILIARY_DATA to the folder that holds them"
        if os.environ.get("CI") == "true" and os.environ.get("MILIARY_NO_DATA") != "1":
            pytest.fail(reason + ", or MILIARY_NO_DATA=1 to go without")
        pytest.skip(reason)
    return folder


@pytest.fixture
def make_nodules() -> Callable[..., Nodules]:
    """Build a table of nodules from any columns; the others get a plain value."""

    def make(n: int, **given: object) -> Nodules:
        diameter = np.linspace(1.2, 3.0, n)
        columns: dict[str, object] = {
            "id": np.arange(1, n + 1),
            "diameter_mm": diameter,
            "volume_mm3": np.pi / 6 * diameter**3,
            "attenuation": np.array(["solid"] * n, dtype=object),
            "side": np.array((["right", "left"] * n)[:n], dtype=object),
            "zone": np.array((["upper", "middle", "lower"] * n)[:n], dtype=object),
            "flags": np.array([""] * n, dtype=object),
            **given,
        }
        filled = {
            column.name: np.asarray(columns.get(column.name, np.full(n, 0.5)), dtype=column.dtype)
            for column in COLUMNS
        }
        return Nodules(filled)

    return make


@pytest.fixture
def small_scan() -> Scan:
    """Air, a box of body and two boxes of lung; anisotropic, so that swapped axes show."""
    voxels = np.full((24, 40, 60), -1000, dtype=np.int16)
    voxels[:, 4:36, 4:56] = 40
    voxels[3:21, 8:30, 8:26] = -850
    voxels[3:21, 8:30, 34:52] = -850
    grid = Grid(voxels.shape, (2.0, 1.5, 1.0), (-30.0, -25.0, 100.0))
    return Scan(voxels, grid)


@pytest.fixture
def small_labels() -> np.ndarray:
    """The lungs of `small_scan`: right at small x (towards the patient's right), left at large x."""
    labels = np.zeros((24, 40, 60), dtype=np.uint8)
    labels[3:21, 8:30, 8:26] = 1
    labels[3:21, 8:30, 34:52] = 2
    return labels


@pytest.fixture
def make_result(
    make_nodules: Callable[..., Nodules], small_scan: Scan, small_labels: np.ndarray
) -> Callable[..., CtResult]:
    """Build a result by hand; keywords replace fields."""

    def make(**given: object) -> CtResult:
        fields: dict[str, object] = {
            "grid": small_scan.grid,
            "acquisition": Acquisition(modality="CT", kernel="B", slice_thickness_mm=2.0),
            "source_order": small_scan.source_order,
            "warnings": (ScanWarning("test_warning", "This is made up."),),
            "lungs": Lungs(small_labels, small_scan.grid.voxel_volume_mm3),
            "right_ml": 2000.0,
            "left_ml": 1500.0,
            "noise": Noise(20.0, 0.7),
            "psf": Psf(0.6, 0.5, "measured"),
            "nodules": make_nodules(7),
            "operating_point": OperatingPoint(0.5, 0.5, 2.0),
            "n_candidates": 11,
            "reference_hu": 40.0,
            "stages": (Stage("lungs", 0.25),),
            "provenance": {"version": "0.1.0", "seed": 0},
            "preview_rgb": np.zeros((8, 9, 3), dtype=np.uint8),
            **given,
        }
        return CtResult(**fields)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def simulated_chest() -> SimulatedScan:
    """A whole chest of 2.5 mm voxels with 250 nodules of 3 to 4.5 mm; made once, not to be changed."""
    from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan

    protocol = ScanProtocol(
        shape_zyx=(120, 100, 128),
        spacing_zyx_mm=(2.3, 2.5, 2.6),
        psf_fwhm_mm=2.8,
        slice_thickness_mm=2.3,
        noise_sd_hu=15.0,
    )
    population = NodulePopulation(250, (3.0, 4.5), shape="sphere")
    simulated = simulate_scan(protocol, seed=5, population=population)
    simulated.scan.voxels_hu.flags.writeable = False
    return simulated
