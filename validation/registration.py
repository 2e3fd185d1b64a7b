"""Measure the registration: ``python -m validation.registration [--only NAMES] [--cache DIR] [--threads N]``.

Pairs with known motion (`validation.breathing`) in two development patients and both simulators, and the real
pair with landmarks. The error is that of random points of the true lungs, seen by no part of the method.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.exchange.ct_read import read_ct
from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.pair.register import Registration, register_lungs
from miliary.image.simulate import ScanProtocol, simulate_scan
from miliary.model.ct_result import Lungs
from miliary.model.scan import Scan
from validation.breathing import Breath, Pair, draw_points, make_pair
from validation.cases import data_folder
from validation.independent import Disease, Protocol, simulate_independent

F64 = npt.NDArray[np.float64]
N_POINTS = 3000
VESSEL_HU = -600.0
SMOOTHING_MM = 0.6
REAL_PAIR = "elastix-3dct-lung-pair"


@dataclass(frozen=True)
class Setting:
    """How the follow-up of a pair differs from its baseline."""

    breath: Breath
    gone_share: float = 0.9
    followup_spacing_zyx_mm: tuple[float, float, float] | None = None


SETTINGS = {
    "out": Setting(Breath(seed=0)),
    "in-thick": Setting(
        Breath((-18.0, -12.0), shift_lps_mm=(-12.0, 5.0, -33.0), turn_deg=(-2.0, 1.0, -1.5), seed=1),
        followup_spacing_zyx_mm=(2.5, 0.7, 0.7),
    ),
    "none-gone": Setting(
        Breath((12.0, 20.0), shift_lps_mm=(20.0, 15.0, 4.0), turn_deg=(0.5, 2.0, -3.0), seed=2),
        gone_share=0.0,
    ),
    "deep": Setting(Breath((52.0, 45.0), 12.0, shift_lps_mm=(-4.0, 12.0, 40.0), seed=3)),
}
ANATOMIES = ("ship", "ind", "0314", "0003")
BAR = tuple(f"{name}-{setting}" for name in ANATOMIES for setting in ("out", "in-thick"))
OTHERS = ("ship-none-gone", "0003-none-gone", "ship-deep", "0314-deep")


def make_anatomy(name: str) -> tuple[Scan, npt.NDArray[np.uint8]]:
    """A chest as free of noise as can be had, and its lungs."""
    if name == "ship":
        simulated = simulate_scan(ScanProtocol(noise_sd_hu=0.0), seed=11, n_threads=1)
        return _float(simulated.scan), simulated.lung_labels
    if name == "ind":
        other = simulate_independent(5, protocol=Protocol(noise_hu=0.0), disease=Disease(n_nodules=0))
        return _float(other.scan), other.labels
    scan = read_ct(data_folder() / f"lidc-idri-{name}" / "dicom.zip")
    lungs, _ = find_lungs(scan)
    # The noise of the source would be the same in both scans of the pair and could be followed.
    sigma = [SMOOTHING_MM / s if s < 2.0 else 0.0 for s in scan.grid.spacing_zyx_mm]
    voxels = ndimage.gaussian_filter(scan.voxels_hu.astype(np.float32), sigma)
    return replace(scan, voxels_hu=voxels), lungs.labels


def _float(scan: Scan) -> Scan:
    return replace(scan, voxels_hu=scan.voxels_hu.astype(np.float32))


def read_pair(name: str, cache: Path) -> Pair:
    """One of the pairs, made when the cache lacks it."""
    kept = cache / f"pair-{name}.pickle"
    if not kept.exists():
        anatomy, key = name.split("-", 1)
        setting = SETTINGS[key]
        source = cache / f"anatomy-{anatomy}.pickle"
        if not source.exists():
            source.write_bytes(pickle.dumps(make_anatomy(anatomy), protocol=4))
        scan, labels = pickle.loads(source.read_bytes())  # noqa: S301 - written above
        pair = make_pair(
            scan,
            labels,
            setting.breath,
            seed=list(SETTINGS).index(key),
            gone_share=setting.gone_share,
            followup_spacing_zyx_mm=setting.followup_spacing_zyx_mm,
        )
        kept.write_bytes(pickle.dumps(pair, protocol=4))
    return pickle.loads(kept.read_bytes())  # type: ignore[no-any-return]  # noqa: S301 - written above


def mark_truth(pair: Pair) -> tuple[F64, F64]:
    """True nodules and lesion of both scans as marks (x, y, z, radius)."""
    stays = pair.followup_diameter_mm > 0
    after = pair.motion.to_followup(pair.nodules_lps_mm[stays], pair.side[stays])
    marks = [
        np.column_stack([pair.nodules_lps_mm, pair.diameter_mm / 2]),
        np.column_stack([after, pair.followup_diameter_mm[stays] / 2]),
    ]
    if pair.lesion is not None:
        place, before_mm, after_mm = pair.lesion
        index = np.rint(pair.baseline.grid.index_from_lps(place)).astype(int)
        side = np.array([pair.baseline_labels[tuple(index)]])
        moved = pair.motion.to_followup(place[None], side)[0]
        marks[0] = np.vstack([marks[0], [*place, before_mm / 2]])
        marks[1] = np.vstack([marks[1], [*moved, after_mm / 2]])
    return marks[0], marks[1]


def measure_pair(pair: Pair, *, has_marks: bool, has_true_lungs: bool) -> dict[str, Any]:
    """Register a pair and compare with the truth."""
    lungs = [
        Lungs(labels, scan.grid.voxel_volume_mm3) if has_true_lungs else find_lungs(scan)[0]
        for scan, labels in (
            (pair.baseline, pair.baseline_labels),
            (pair.followup, pair.followup_labels),
        )
    ]
    marks = mark_truth(pair) if has_marks else (None, None)
    started = time.process_time()
    found = register_lungs(
        pair.baseline, lungs[0], pair.followup, lungs[1], fixed_disease=marks[0], moving_disease=marks[1]
    )
    figures = {"cpu_s": time.process_time() - started, **measure_error(pair, found.transform.apply)}
    return {**figures, **_quality(found)}


def measure_error(pair: Pair, apply: Any) -> dict[str, Any]:
    """Error [mm] of a map of points (n, 3) at random points of the lungs, at vessels and at the lesion."""
    rng = np.random.default_rng(0)
    points, side = draw_points(rng, pair.baseline, pair.baseline_labels, N_POINTS)
    truth = pair.motion.to_followup(points, side)
    miss = np.linalg.norm(apply(points) - truth, axis=1)
    vessels, side = draw_points(rng, pair.baseline, pair.baseline_labels, 1000, min_hu=VESSEL_HU)
    at_vessels = np.linalg.norm(apply(vessels) - pair.motion.to_followup(vessels, side), axis=1)
    return {
        "moved_mm": float(np.linalg.norm(_residual_motion(points, truth), axis=1).max()),
        "mean_mm": float(miss.mean()),
        "p95_mm": float(np.quantile(miss, 0.95)),
        "max_mm": float(miss.max()),
        "vessel_mm": float(at_vessels.mean()),
    }


def _residual_motion(points: F64, truth: F64) -> F64:
    """What is left of a motion when its mean is taken out."""
    motion = truth - points
    return np.asarray(motion - motion.mean(axis=0))


def _quality(found: Registration) -> dict[str, Any]:
    return {
        "seconds": found.seconds,
        "told_mm": found.tre_estimate_mm,
        "agreement": found.agreement,
        "overlap": found.overlap,
        "min_jacobian": found.min_jacobian,
        "folded": found.folded_share,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def read_real_pair() -> tuple[list[Scan], list[Lungs], F64, F64]:
    """The real baseline and follow-up, their lungs, and corresponding points."""
    folder = data_folder() / REAL_PAIR
    scans = [read_ct(folder / f"3DCT_lung_{name}.mha") for name in ("baseline", "followup")]
    lungs = []
    for name, scan in zip(("baseline", "followup"), scans, strict=True):
        mask = read_ct_mask(folder / f"3DCT_lung_{name}_mask.mha", scan)
        lungs.append(Lungs(mask, scan.grid.voxel_volume_mm3))
    points = [
        np.loadtxt(folder / f"CT_3D_lung_{name}_point_set_corrected.txt", skiprows=2)
        for name in ("fixed", "moving")
    ]
    return scans, lungs, points[0], points[1]


def read_ct_mask(path: Path, scan: Scan) -> npt.NDArray[np.uint8]:
    """A mask that is stored on the grid of a scan, 1 where it is set."""
    import SimpleITK

    stored = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) > 0
    order = scan.source_order
    turned = np.flip(stored.transpose(order.axes), [i for i, f in enumerate(order.flips) if f])
    return np.ascontiguousarray(turned, dtype=np.uint8)


def measure_real_pair() -> dict[str, Any]:
    """Error [mm] at the landmarks of the real pair; validation only."""
    scans, lungs, fixed, moving = read_real_pair()
    started = time.process_time()
    found = register_lungs(scans[0], lungs[0], scans[1], lungs[1])
    cpu_s = time.process_time() - started
    miss = np.linalg.norm(found.transform.apply(fixed) - moving, axis=1)
    return {
        "n": len(miss),
        "mean_mm": float(miss.mean()),
        "median_mm": float(np.median(miss)),
        "p95_mm": float(np.quantile(miss, 0.95)),
        "max_mm": float(miss.max()),
        "cpu_s": cpu_s,
        **_quality(found),
    }


def main() -> None:
    """Print one line per pair."""
    parser = argparse.ArgumentParser(prog="python -m validation.registration", description=__doc__)
    parser.add_argument("--only", default="", help="pairs, `real` or `strangers`, separated by commas")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "miliary-registration")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--marked", action="store_true", help="tell the method where the true nodules and lesions are"
    )
    parser.add_argument(
        "--find", action="store_true", help="with the lungs that `miliary` finds instead of the true ones"
    )
    options = parser.parse_args()
    nb.set_num_threads(min(options.threads, nb.config.NUMBA_NUM_THREADS))
    options.cache.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(",") if options.only else (*BAR, *OTHERS, "strangers", "real"):
        if name == "real":
            _print("real", measure_real_pair())
        elif name == "strangers":
            ours, theirs = (read_pair(key, options.cache) for key in ("0314-out", "0003-in-thick"))
            scans = (ours.baseline, theirs.followup)
            found = register_lungs(scans[0], find_lungs(scans[0])[0], scans[1], find_lungs(scans[1])[0])
            _print("two patients", _quality(found))
        else:
            label = f"{name} {'disease marked' if options.marked else 'nothing marked'}"
            pair = read_pair(name, options.cache)
            _print(label, measure_pair(pair, has_marks=options.marked, has_true_lungs=not options.find))


def _print(name: str, figures: dict[str, Any]) -> None:
    told = " ".join(f"{key} {value:.3g}" for key, value in figures.items())
    print(f"{name}: {told}", flush=True)


if __name__ == "__main__":
    main()
