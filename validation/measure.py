"""Run `miliary` on one scan of the validation and measure what came out; plain JSON values."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from miliary.model.ct_result import CtResult
from miliary.model.scan import Scan
from miliary.pipeline import find_nodules
from validation.cases import Case, load_simulated, read_real
from validation.insertion import Blur, insert_spheres
from validation.score import Score, score


def measure_case(case: Case) -> dict[str, Any]:
    """All figures of one case."""
    figures = _measure_real(case) if case.source == "real" else _measure_simulated(case)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"name": case.name, "source": case.source, "peak_mb": peak_mb, **figures}


def _measure_simulated(case: Case) -> dict[str, Any]:
    loaded = load_simulated(case)
    result, seconds = _find(loaded.scan)
    litres = np.count_nonzero(loaded.labels) * loaded.scan.grid.voxel_volume_mm3 / 1e6
    found = score(result.nodules, loaded.truth, float(litres))
    return {
        **_facts(result, seconds),
        "score": found.to_json(),
        "lungs": _compare_lungs(loaded.labels, result.lungs.labels, loaded.truth, loaded.scan),
    }


def _measure_real(case: Case) -> dict[str, Any]:
    scan = read_real(case)
    before, seconds = _find(scan)
    blur = Blur(**case.settings["blur"])
    inserted = insert_spheres(scan, before.lungs.labels, blur, seed=case.seed, n=case.settings["n"])
    after, _ = _find(inserted.scan)
    found = score(after.nodules, inserted.truth, before.lung_litres)
    aerated = inserted.truth["aerated"].to_numpy(dtype=bool)
    return {
        **_facts(before, seconds),
        "role": case.settings["role"],
        "blur": dict(case.settings["blur"]),
        "marks_per_litre": len(before.nodules) / before.lung_litres,
        "n_marks": len(before.nodules),
        "score": found.to_json(),
        "sensitivity_aerated": _sensitivity_of(found, inserted.truth, aerated),
        "aerated_share": float(aerated.mean()),
        "lung_volume_shift": abs(after.lung_litres / before.lung_litres - 1),
    }


def _find(scan: Scan) -> tuple[CtResult, float]:
    start = time.perf_counter()
    result = find_nodules(scan)
    return result, time.perf_counter() - start


def _facts(result: CtResult, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "stages": [[stage.name, stage.seconds] for stage in result.stages],
        "found_litres": result.lung_litres,
        "noise_hu": result.noise.sd_hu,
        "sigma_xy_mm": result.psf.sigma_xy_mm,
        "sigma_z_mm": result.psf.sigma_z_mm,
        "threshold": result.threshold,
        "n_candidates": result.n_candidates,
        "warnings": [warning.code for warning in result.warnings],
    }


def _compare_lungs(
    true: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], truth: pd.DataFrame, scan: Scan
) -> dict[str, Any]:
    """Dice of both lungs and of each, and how many centres of pleural nodules lie inside the mask."""
    dice = {"both": _dice(true > 0, found > 0)}
    dice |= {name: _dice(true == side, found == side) for name, side in (("right", 1), ("left", 2))}
    is_pleural = (truth["kind"] == "nodule").to_numpy() & truth["pleural"].to_numpy(dtype=bool)
    points = truth.loc[is_pleural, ["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    index = np.rint(scan.grid.index_from_lps(points)).astype(int) if len(points) else np.empty((0, 3), int)
    index = np.clip(index, 0, np.array(found.shape) - 1)
    inside = int(np.count_nonzero(found[tuple(index.T)]))
    return {"dice": dice, "pleural_inside": [inside, int(is_pleural.sum())]}


def _dice(one: npt.NDArray[np.bool_], two: npt.NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & two) / max(np.count_nonzero(one) + np.count_nonzero(two), 1))


def _sensitivity_of(found: Score, truth: pd.DataFrame, keep: npt.NDArray[np.bool_]) -> dict[str, list[int]]:
    """Hits and number per bin over a part of the truth."""
    diameter = truth["diameter_mm"].to_numpy(dtype=float)
    bins: dict[str, list[int]] = {}
    for name in found.sensitivity:
        low, high = (float(edge) for edge in name.split("-"))
        here = keep & (diameter >= low) & (diameter < high)
        bins[name] = [int((found.is_found & here).sum()), int(here.sum())]
    return bins
