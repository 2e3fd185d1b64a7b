"""What the operating point of each scan gives: ``python -m validation.operating_point NAME...``.

Development scans only: simulated ones of both simulators by name (`SIMULATED`), and ``PATIENT:WAY:N``, a
development lung with N spheres inserted as `validation.real_lungs` places them. Each is searched once;
printed are marks, false marks and the shares found of solid nodules at the threshold of the weights, at
the one chosen, and at others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from miliary.exchange.ct_read import read_ct
from miliary.image.anatomy import segmentation
from miliary.image.nodules import detect, judge
from miliary.image.quality.blur import estimate_psf
from miliary.image.quality.noise import estimate_noise
from miliary.model.ct_result import Lungs
from miliary.model.scan import Scan
from validation.cases import Case, data_folder, load_simulated
from validation.insertion import Blur, insert_spheres
from validation.real_lungs import WAYS, Lung

F64 = npt.NDArray[np.float64]

OTHER_THRESHOLDS = (0.2, 0.1, 0.05, 0.03, 0.02)
REACH_MM, SOLID_HU = 1.5, -100.0
SEED = 941
BINS_MM = ((1.0, 1.5), (1.5, 2.0), (2.0, 3.0))
BLUR = {
    "lidc-idri-0314": Blur(0.95, 1.0),
    "lidc-idri-0003": Blur(1.3, 2.5),
    "cptac-c3n-00247": Blur(1.0, 3.0),
    "cmb-crc-msb-01068": Blur(1.1, 2.5),
    "lung-pet-ct-dx-a0001": Blur(1.3, 5.0),
}


def _simulated(name: str, seed: int, **settings: object) -> Case:
    source = {"ship": "shipped", "ind": "independent"}[name.split("-", maxsplit=1)[0]]
    return Case(f"point-{name}", source, frozenset(), seed, settings)


_SHARP = {"fwhm_mm": 0.95, "overshoot": 0.2}
SIMULATED: dict[str, Case] = {
    case.name.removeprefix("point-"): case
    for case in (
        _simulated("ind-1000-a", 700201, n_nodules=1000),
        _simulated(
            "ind-1000-b", 700202, n_nodules=1000, fwhm_mm=1.4, overshoot=0.0, steepness=1.7, slice_mm=1.25
        ),
        _simulated("ind-300", 700207, n_nodules=300),
        _simulated("ind-5000", 700204, n_nodules=5000, has_lesion=True),
        _simulated("ind-hard-1000", 700211, n_nodules=1000, has_hard_negatives=True),
        _simulated("ind-hard-a", 700209, n_nodules=0, has_hard_negatives=True, n_calcified=20),
        _simulated("ind-hard-b", 700210, n_nodules=0, has_hard_negatives=True, n_calcified=20),
        _simulated("ship-perilymphatic", 700113, n_nodules=2000, pattern="perilymphatic", **_SHARP),
        _simulated("ship-lowdose", 700108, n_nodules=1000, noise_hu=55.0),
        _simulated("ship-healthy", 700107, n_nodules=0, noise_hu=35.0, **_SHARP),
    )
}


@dataclass(frozen=True)
class Prepared:
    """A scan, its lungs, and the truth with `attached` (empty where nothing is in it)."""

    scan: Scan
    lungs: Lungs
    truth: pd.DataFrame


def prepare(name: str) -> Prepared:
    """Simulate, or read and insert, what a name stands for."""
    if name in SIMULATED:
        loaded = load_simulated(SIMULATED[name])
        return Prepared(loaded.scan, Lungs(loaded.labels, loaded.scan.grid.voxel_volume_mm3), loaded.truth)
    patient, way, n = name.split(":")
    scan = read_ct(data_folder() / patient / "dicom.zip")
    lungs, _ = segmentation.find_lungs(scan)
    if not int(n):
        return Prepared(scan, lungs, pd.DataFrame(columns=["kind", "diameter_mm"]))
    places = WAYS[way](Lung(scan, lungs.labels), np.random.default_rng([SEED, 61]))
    inserted = insert_spheres(
        scan,
        places.astype(np.uint8),
        BLUR[patient],
        seed=SEED,
        n=int(n),
        diameter_mm=(1.2, 3.6),
        gap_mm=0.5,
    )
    return Prepared(inserted.scan, lungs, inserted.truth)


def report(name: str, prepared: Prepared) -> None:
    """Print one line per threshold."""
    scan, lungs = prepared.scan, prepared.lungs
    search = detect.search_lungs(scan, lungs)
    scored = detect.score_candidates(search, noise=estimate_noise(scan, lungs), psf=estimate_psf(scan))
    point = scored.operating_point
    litres = search.box.lung_litres
    print(f"{name}: {litres:.2f} L, {len(prepared.truth)} in it, share {scored.share:.4f}")
    for threshold in (point.default, point.threshold, *OTHER_THRESHOLDS):
        rows = judge.select_reported(scored.position_mm, scored.probability, threshold)
        index = scored.index_zyx[rows] + np.asarray(search.box.start_zyx)
        n_false, shares = compare(scan.grid.lps_from_index(index), prepared.truth)
        chosen = " chosen" if threshold == point.threshold else ""
        print(
            f"  {threshold:.3f}: {len(rows)} marks, {n_false} false ({n_false / litres:.2f} per litre), "
            f"found {', '.join(f'{key} {share:.3f}' for key, share in shares.items())}{chosen}"
        )


def compare(marks_mm: F64, truth: pd.DataFrame) -> tuple[int, dict[str, float]]:
    """False marks, and the share of solid nodules found by diameter and of those attached (1.5 to 3 mm)."""
    if not len(truth) or not len(marks_mm):
        return len(marks_mm), {}
    diameter = truth["diameter_mm"].to_numpy(dtype=np.float64)
    points = truth[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=np.float64)
    reach = np.maximum(REACH_MM, 0.5 * diameter)
    distance, nearest = cKDTree(points).query(marks_mm)
    n_false = int(np.count_nonzero(distance > reach[nearest]))
    found = cKDTree(marks_mm).query(points)[0] <= reach
    solid = (truth["kind"] == "nodule").to_numpy() & (truth["density_hu"].to_numpy(dtype=float) >= SOLID_HU)
    shares = {}
    for low, high in BINS_MM:
        here = solid & (diameter >= low) & (diameter < high)
        if here.any():
            shares[f"{low:g}-{high:g} mm"] = float(found[here].mean())
    here = solid & truth["attached"].to_numpy(dtype=bool) & (diameter >= 1.5) & (diameter < 3.0)
    if here.any():
        shares["attached"] = float(found[here].mean())
    return n_false, shares


def main(arguments: Sequence[str] | None = None) -> None:
    """Report each name."""
    parser = argparse.ArgumentParser(prog="python -m validation.operating_point", description=__doc__)
    parser.add_argument("names", nargs="+", help=f"{', '.join(SIMULATED)}, or PATIENT:WAY:N")
    for name in parser.parse_args(arguments).names:
        report(name, prepare(name))


if __name__ == "__main__":
    main()
