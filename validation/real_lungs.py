"""Nodules inserted into real lungs, through the whole of `miliary ct`: ``python -m validation.real_lungs``.

Each lung gets nodules at random, perilymphatic and centrilobular places, drawn from masks of its own lungs
and vessels and rendered by `validation.insertion`. Corrected numbers and the pattern are compared with what
was put in; what the lung held before counts as false. Results are kept by lung, way and seed; ``report``
prints them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.model.completeness import Completeness
from miliary.model.scan import Scan
from miliary.pipeline import find_nodules
from validation.cases import REAL, Case, cache_folder, read_real
from validation.insertion import Blur, insert_spheres
from validation.pattern import read_log

Mask = npt.NDArray[np.bool_]
Way = Callable[["Lung", np.random.Generator], Mask]

FIRST_SEED, N_NODULES = 930_000, 800
DIAMETER_MM = (1.2, 3.6)
GAP_MM = 0.5
LEAST_MM = 1.2
VESSEL_HU, VESSEL_MM3, DEEP_MM = -500.0, 90.0, 5.0
LOBULE_MM, ROSETTE_MM = 9.0, 3.0
SEEDS = {"random": 4, "perilymphatic": 2, "centrilobular": 2}
LOG_NAME = "miliary-real-lungs.jsonl"


class Lung:
    """A real scan with its lungs, and how deep each voxel lies and how far from a visible vessel [mm]."""

    def __init__(self, scan: Scan, labels: npt.NDArray[np.uint8]) -> None:
        self.scan, self.labels = scan, labels
        self.spacing_mm = np.asarray(scan.grid.spacing_zyx_mm)
        inside = labels > 0
        self.depth_mm = ndimage.distance_transform_edt(inside, sampling=self.spacing_mm).astype(np.float32)
        smooth = ndimage.gaussian_filter(scan.voxels_hu.astype(np.float32), 0.6 / self.spacing_mm)
        pieces, n = ndimage.label((smooth > VESSEL_HU) & (self.depth_mm > DEEP_MM))
        volume = np.bincount(pieces.ravel(), minlength=n + 1) * scan.grid.voxel_volume_mm3
        is_vessel = volume >= VESSEL_MM3
        is_vessel[0] = False
        self.vessel_mm = ndimage.distance_transform_edt(~is_vessel[pieces], sampling=self.spacing_mm).astype(
            np.float32
        )


def place_at_random(lung: Lung, rng: np.random.Generator) -> Mask:
    """Anywhere inside the pleura."""
    del rng
    return np.asarray(lung.depth_mm > 1.2)


def place_on_interstitium(lung: Lung, rng: np.random.Generator) -> Mask:
    """Half on the pleura, half on vessels."""
    pleura = (lung.depth_mm > 1.0) & (lung.depth_mm < 2.2)
    vessel = (lung.vessel_mm > 0.5) & (lung.vessel_mm < 2.0) & (lung.depth_mm > DEEP_MM)
    few, many = sorted((pleura, vessel), key=np.count_nonzero)
    thinned = many & (rng.random(many.shape, dtype=np.float32) < few.sum() / many.sum())
    return np.asarray(few | thinned)


def place_in_lobules(lung: Lung, rng: np.random.Generator) -> Mask:
    """Around the middle of a third of the lobules, off the pleura and off visible vessels."""
    size = lung.spacing_mm * lung.labels.shape
    n = np.maximum(1, (size / LOBULE_MM).astype(int))
    lattice = (np.stack(np.unravel_index(np.arange(n.prod()), n), axis=1) + 0.5) * LOBULE_MM
    middle = lattice[rng.random(len(lattice)) < 1 / 3] + rng.uniform(-1.5, 1.5, 3)
    index = np.rint(middle / lung.spacing_mm).astype(int)
    index = index[np.all(index < lung.labels.shape, axis=1)]
    far = np.ones(lung.labels.shape, dtype=bool)
    far[tuple(index.T)] = False
    distance = ndimage.distance_transform_edt(far, sampling=lung.spacing_mm)
    return np.asarray((distance < ROSETTE_MM) & (lung.depth_mm > 4.5) & (lung.vessel_mm > 2.0))


WAYS: dict[str, Way] = {
    "random": place_at_random,
    "perilymphatic": place_on_interstitium,
    "centrilobular": place_in_lobules,
}


def judge(case: Case, lung: Lung, way: str, seed: int) -> dict[str, Any]:
    """Corrected numbers and pattern of one insertion."""
    rng = np.random.default_rng([seed, 61])
    inserted = insert_spheres(
        lung.scan,
        WAYS[way](lung, rng).astype(np.uint8),
        Blur(**case.settings["blur"]),
        seed=seed,
        n=N_NODULES,
        diameter_mm=DIAMETER_MM,
        gap_mm=GAP_MM,
    )
    result = find_nodules(inserted.scan, seed=seed, with_completeness=True)
    pattern = result.pattern
    assert result.completeness is not None
    assert pattern is not None
    return {
        "lung": case.name,
        "way": way,
        "seed": seed,
        "label": pattern.label.value,
        "p": pattern.randomness_p,
        "log_ratio": {item.name: round(float(np.log(item.ratio)), 3) for item in pattern.evidence},
        **_compare(result.completeness, inserted.truth["diameter_mm"].to_numpy(dtype=np.float64)),
    }


def _compare(shown: Completeness, truth_mm: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Corrected over true numbers, from the larger of `LEAST_MM` and the least measurable diameter on."""
    if not shown.at_least:
        return {"least_mm": None}
    here = shown.above(max(LEAST_MM, shown.at_least[0].diameter_mm))
    assert here is not None
    there = truth_mm[truth_mm >= here.diameter_mm]
    volume = float(np.pi / 6.0 * (there**3).sum())
    return {
        "least_mm": here.diameter_mm,
        "count": here.count.value / len(there),
        "count_in": bool(here.count.low <= len(there) <= here.count.high),
        "volume": here.total_volume_mm3.value / volume,
        "volume_in": bool(here.total_volume_mm3.low <= volume <= here.total_volume_mm3.high),
    }


def list_tasks(role: str) -> Iterator[tuple[Case, str, int]]:
    """Lung, way and seed of every insertion into lungs of this role."""
    for case in REAL:
        if case.settings["role"] == role:
            for way, n in SEEDS.items():
                yield from ((case, way, FIRST_SEED + k) for k in range(n))


def run(path: Path, role: str) -> None:
    """Judge what is not in the log yet."""
    done = {(row["lung"], row["way"], row["seed"]) for row in read_log(path)}
    lungs: dict[str, Lung] = {}
    for case, way, seed in list_tasks(role):
        if (case.name, way, seed) in done:
            continue
        if case.name not in lungs:
            scan = read_real(case)
            lungs = {case.name: Lung(scan, find_nodules(scan).lungs.labels)}
        row = judge(case, lungs[case.name], way, seed)
        print(row, flush=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def report(rows: list[dict[str, Any]]) -> None:
    """Print medians by lung and way."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[f"{row['lung']}, {row['way']}"].append(row)
    for name, here in groups.items():
        right = sum(row["label"] == row["way"] for row in here)
        rejected = sum(row["p"] is not None and row["p"] <= 0.05 for row in here)
        print(f"{name}: pattern right {right} of {len(here)}, randomness rejected {rejected}")
        told = [row for row in here if row["least_mm"] is not None]
        for what in ("count", "volume"):
            values = sorted(row[what] for row in told)
            inside = sum(row[f"{what}_in"] for row in told)
            if told:
                text = f"{np.median(values):.3f} ({values[0]:.3f} to {values[-1]:.3f})"
                print(f"    {what} / truth {text}, {inside} of {len(told)} inside the interval")


def main() -> int:
    """Measure or report."""
    parser = argparse.ArgumentParser(prog="python -m validation.real_lungs", description=__doc__)
    parser.add_argument("what", choices=("measure", "report"))
    parser.add_argument("--role", choices=("validation", "development"), default="validation")
    parser.add_argument("--log", type=Path, default=cache_folder() / LOG_NAME)
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    if options.what == "measure":
        run(options.log, options.role)
    report(read_log(options.log))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
