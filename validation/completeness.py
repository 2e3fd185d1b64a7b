"""The bars of completeness: corrected counts and volumes against the truth of many small simulated scans.

    python -m validation.completeness measure shipped 900400 60    measure 60 crops from seed 900400 on
    python -m validation.completeness measure independent 900600 40
    python -m validation.completeness table                        rates on nodule-free lungs, for the package
    python -m validation.completeness pair shipped 900700 12       the same patients at two protocols
    python -m validation.completeness report                       what was measured, against the bars
    python -m validation.completeness measure shipped 920000 24 --pattern perilymphatic
    python -m validation.completeness report --pattern perilymphatic

What takes long, simulating and injecting, is kept outside the repository (`MILIARY_CACHE`), one file a scan;
`report` corrects anew from it.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import judge
from miliary.image.nodules.detect import ScoredCandidates, measure_nodules, score_candidates, search_lungs
from miliary.image.quality.blur import estimate_psf
from miliary.image.quality.noise import estimate_noise
from miliary.image.sensitivity import estimate, injection
from miliary.image.sensitivity.false_positives import BAND, TABLE_PATH
from miliary.image.sensitivity.injection import Recovery
from miliary.image.sensitivity.location_factor import Crowding
from miliary.model.completeness import Completeness, Threshold
from miliary.model.ct_result import Lungs, Noise, Psf
from validation.cases import cache_folder
from validation.completeness_scans import Crop, Recipe, draw_recipe, is_inside, make_crop

F64 = npt.NDArray[np.float64]

LARGE_MM = (150.0, 150.0, 135.0)
HEALTHY_FIRST, HEALTHY_COUNT = 600_000, 36
VALIDATION_FIRST = 900_000
CLASSES = ((1.3, 30.0), (1.3, 100.0), (2.6, 100.0), (6.0, 100.0))
LEAST_MM = 1.2
PATTERNS = ("random", "perilymphatic", "centrilobular")


@dataclass(frozen=True)
class Measured:
    """One crop as measured: marks inside its border, what was injected, and the truth."""

    recipe: Recipe
    noise: Noise
    psf: Psf
    litres: float
    share: float
    diameter_mm: F64
    probability: F64
    margin: F64
    recovery: Recovery
    crowding: Crowding
    truth_mm: F64


def measure_crop(crop: Crop, *, n_injected: int = injection.N_INJECTED) -> Measured:
    """Find, measure and inject, as `miliary.find_nodules` does, on a crop whose lungs are known.

    Nodules outside the border are dropped: the lung was cut there, and nodules beyond the cut are no truth.
    """
    scan, lungs = crop.scan, Lungs(crop.labels, crop.scan.grid.voxel_volume_mm3)
    noise, psf = estimate_noise(scan, lungs), estimate_psf(scan)
    search = search_lungs(scan, lungs)
    judged = score_candidates(search, noise=noise, psf=psf)
    detection, fit, nodules = measure_nodules(
        search, judged, grid=scan.grid, noise=noise, psf=psf, is_clipped=False
    )
    recovery = injection.inject_and_recover(detection, n=n_injected)
    background_hu = estimate.measure_background(detection)
    inside = is_inside(crop.scan, nodules.position_lps_mm)
    marks = estimate.list_reported(
        nodules.select(inside), fit.position_mm[inside], np.empty(0), litres=1.0, slice_mm=1.0
    )
    return Measured(
        crop.recipe,
        noise,
        detection.psf,
        float(np.count_nonzero(crop.labels)) * scan.grid.voxel_volume_mm3 / 1e6,
        detection.share,
        marks.diameter_mm,
        marks.probability,
        _list_margins(crop, search.box, judged),
        recovery,
        estimate.compare_crowding(detection, recovery, marks, background_hu=background_hu),
        crop.diameter_mm,
    )


def _list_margins(crop: Crop, box: LungBox, judged: ScoredCandidates) -> F64:
    threshold = judged.classifier.threshold
    lowest = injection.lower_threshold(threshold)
    rows = judge.select_reported(judged.position_mm, judged.probability, lowest)
    index = judged.position_mm[rows] / np.asarray(box.spacing_zyx_mm) + np.asarray(box.start_zyx)
    inside = is_inside(crop.scan, crop.scan.grid.lps_from_index(index))
    return injection.measure_margin(judged.probability[rows][inside], threshold)


def correct(measured: Measured) -> Completeness:
    """Corrected numbers of a crop."""
    marks = estimate.ReportedNodules(
        np.empty((0, 3)),
        measured.diameter_mm,
        measured.probability,
        measured.margin,
        measured.litres,
        measured.recipe.slice_mm,
    )
    return estimate.correct_for_completeness(
        measured.recovery, marks, measured.noise, measured.psf, crowding=measured.crowding
    )


# --- measuring and keeping ------------------------------------------------------------------------


def _folder() -> Path:
    return cache_folder() / "completeness"


def measure_many(recipes: Iterable[tuple[str, Recipe]], *, n_injected: int = injection.N_INJECTED) -> None:
    """Measure what is not there yet, one file each."""
    _folder().mkdir(parents=True, exist_ok=True)
    for name, recipe in recipes:
        path = _folder() / f"{name}.pickle"
        if path.exists():
            continue
        found = measure_crop(make_crop(recipe), n_injected=n_injected)
        path.with_suffix(".part").write_bytes(pickle.dumps(found))
        path.with_suffix(".part").rename(path)
        print(f"{name}: {len(found.truth_mm)} nodules, {len(found.diameter_mm)} marks", flush=True)


def read_measured(prefix: str) -> list[Measured]:
    """Everything kept whose name starts so."""
    # Our own files of a moment ago, never a user's.
    return [pickle.loads(path.read_bytes()) for path in sorted(_folder().glob(f"{prefix}*.pickle"))]  # noqa: S301


def make_healthy(recipe: Recipe) -> Recipe:
    """The same lung with no nodule in it, as large a piece as there is."""
    return replace(recipe, n=0, extent_mm=LARGE_MM if recipe.source == "shipped" else recipe.extent_mm)


# --- the table of the package -----------------------------------------------------------------------


def write_table() -> None:
    """Rates of false marks on nodule-free development lungs, and the ratio to the candidates below."""
    seeds = range(HEALTHY_FIRST, HEALTHY_FIRST + HEALTHY_COUNT)
    measure_many(
        ((f"healthy-{seed}", make_healthy(draw_recipe("shipped", seed))) for seed in seeds), n_injected=0
    )
    scans = read_measured("healthy-")
    marks = np.array([len(m.diameter_mm) for m in scans], dtype=np.float64)
    below = np.array([np.count_nonzero((m.margin >= BAND[0]) & (m.margin < BAND[1])) for m in scans])
    # No scan weighs more than so many candidates, or the few with very many would decide alone.
    weight = np.minimum(1.0, 200.0 / np.maximum(below, 1.0))
    ratio = float((weight * marks).sum() / (weight * below).sum())
    table = {
        "command": "python -m validation.completeness table",
        "scans": f"simulated lungs without nodules, seeds {seeds[0]} to {seeds[-1]}",
        "ratio": {
            "value": round(ratio, 4),
            "log_spread": round(_spread(marks, ratio * below, least=5.0), 3),
        },
        "rows": _list_rows(scans, marks),
    }
    TABLE_PATH.write_text(json.dumps(table, indent=1) + "\n")
    print(TABLE_PATH.read_text())


def _list_rows(scans: list[Measured], marks: F64) -> list[dict[str, float]]:
    rows = []
    litres = np.array([m.litres for m in scans])
    before = (0.0, 0.0)
    for slice_max, noise_max in CLASSES:
        least_noise = before[1] if slice_max == before[0] else 0.0
        least_slice = max((s for s, _ in CLASSES if s < slice_max), default=0.0)
        inside = np.array(
            [
                least_slice < m.recipe.slice_mm <= slice_max and least_noise < m.noise.sd_hu <= noise_max
                for m in scans
            ]
        )
        before = (slice_max, noise_max)
        if np.count_nonzero(inside) < 4:
            continue
        # The typical patient; the spread says how far others are from it.
        rate = float(np.exp(np.mean(np.log((marks[inside] + 0.5) / litres[inside]))))
        rows.append(
            {
                "slice_max_mm": slice_max,
                "noise_max_hu": noise_max,
                "per_litre": round(rate, 2),
                "log_spread": round(_spread(marks[inside], rate * litres[inside]), 2),
                "n_scans": int(np.count_nonzero(inside)),
            }
        )
    return rows


def _spread(seen: F64, expected: F64, *, least: float = 0.0) -> float:
    """Spread of the logarithm between scans beyond that of counting, of scans with enough to count."""
    enough = expected >= least
    log_ratio = np.log((seen[enough] + 0.5) / (expected[enough] + 0.5))
    counting = np.mean(1.0 / (expected[enough] + 1.0))
    return float(np.sqrt(max(np.var(log_ratio) - counting, 0.2**2)))


# --- the report ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One crop against its truth, at the larger of 1.2 mm and what the scan can measure."""

    measured: Measured
    least_mm: float
    count_ratio: float
    count_in: bool
    count_width: float
    volume_ratio: float
    volume_in: bool
    volume_width: float


def compare(measured: Measured) -> Row | None:
    """None where the scan says that it cannot measure, or where there is nothing to compare with."""
    found = correct(measured)
    if not found.at_least or len(measured.truth_mm) == 0:
        return None
    least = max(LEAST_MM, found.at_least[0].diameter_mm)
    here = found.above(least)
    there = measured.truth_mm[measured.truth_mm >= least]
    if here is None or len(there) < 10:
        return None
    return _row(measured, here, len(there), float(np.pi / 6.0 * np.sum(there**3)))


def _row(measured: Measured, here: Threshold, count: int, volume: float) -> Row:
    n, v = here.count, here.total_volume_mm3
    return Row(
        measured,
        here.diameter_mm,
        n.value / count,
        n.low <= count <= n.high,
        0.5 * (n.high - n.low) / n.value,
        v.value / volume,
        v.low <= volume <= v.high,
        0.5 * (v.high - v.low) / v.value,
    )


def limits(hits: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson 95 % limits of a rate."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


PROTOCOLS = {"thin": (0.8, 15.0, 151), "thick": (2.5, 40.0, 49)}


def draw_pair(source: str, seed: int) -> dict[str, Recipe]:
    """The same patient and disease on a thin quiet and a thick noisy scan; fields of view of one size."""
    base = draw_recipe(source, seed)
    pair = {}
    for name, (slice_mm, noise_hu, n) in PROTOCOLS.items():
        height = n * slice_mm if source == "shipped" else 120.0
        pair[name] = replace(
            base,
            slice_mm=slice_mm,
            step_mm=slice_mm,
            pixel_mm=0.7,
            noise_hu=noise_hu,
            n=900 if source == "shipped" else 500,
            diameter_mm=(1.2, 3.6),
            distribution="uniform",
            extent_mm=(height, *base.extent_mm[1:]),
        )
    return pair


def report_pairs() -> None:
    """Ratios thick over thin: total volume at the larger least diameter, count above the larger 90 %."""
    volumes, counts, told = [], [], 0
    thin, thick = read_measured("pair-thin-"), read_measured("pair-thick-")
    for one, other in zip(thin, thick, strict=True):
        found = (correct(one), correct(other))
        if not (found[0].at_least and found[1].at_least):
            continue
        told += 1
        least = max(f.at_least[0].diameter_mm for f in found)
        a, b = (f.above(least) for f in found)
        if a is not None and b is not None:
            volumes.append(b.total_volume_mm3.value / a.total_volume_mm3.value)
        most = max(f.diameter_90_mm or np.inf for f in found)
        a, b = (f.above(most) for f in found)
        if np.isfinite(most) and a is not None and b is not None:
            counts.append(b.count.value / a.count.value)
    print(f"{len(thin)} patients at two protocols, {told} measurable on both")
    _print_ratio("thick over thin: total volume", volumes)
    _print_ratio("thick over thin: count above the larger 90 % diameter", counts)


def report(prefix: str = "scan-") -> None:
    """Print every bar, per simulator and together."""
    scans = read_measured(prefix)
    rows = [row for row in map(compare, scans) if row is not None]
    told = len(rows)
    print(f"{len(scans)} scans, {told} with corrected numbers and at least 10 nodules to compare with")
    for source in ("shipped", "independent", "both"):
        mine = [r for r in rows if source in (r.measured.recipe.source, "both")]
        thin = [r for r in mine if r.measured.recipe.slice_mm <= 1.25]
        many = [r for r in thin if len(r.measured.truth_mm) >= 500]
        fine = [r for r in mine if len(r.measured.truth_mm) >= 500]
        print(f"\n{source}")
        _print_ratio("count, slices <= 1.25 mm, n >= 500", [r.count_ratio for r in many])
        _print_ratio("count, slices <= 1.25 mm, n < 500", [r.count_ratio for r in thin if r not in many])
        _print_ratio("volume, slices <= 2.5 mm, n >= 500", [r.volume_ratio for r in fine])
        _print_ratio("volume, slices <= 2.5 mm, n < 500", [r.volume_ratio for r in mine if r not in fine])
        _print_rate("count inside its interval", [r.count_in for r in mine])
        _print_rate("- slices <= 1.25 mm", [r.count_in for r in thin])
        _print_rate("volume inside its interval", [r.volume_in for r in mine])
        for low, high in ((150, 450), (450, 900), (900, 99_999)):
            widths = [r.count_width for r in thin if low <= len(r.measured.truth_mm) < high]
            _print_ratio(f"half-width of the count, slices <= 1.25 mm, n {low} to {high}", widths)
        _print_ratio("half-width of the volume", [r.volume_width for r in mine])


def _print_ratio(name: str, values: list[float]) -> None:
    if values:
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        print(f"  {name}: median {middle:.3f}, 80 % from {low:.3f} to {high:.3f}, {len(values)} scans")


def _print_rate(name: str, hits: list[bool]) -> None:
    if hits:
        low, high = limits(sum(hits), len(hits))
        print(f"  {name}: {np.mean(hits):.3f} ({low:.3f} to {high:.3f}), {len(hits)} scans")


def main(arguments: Any = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=("measure", "pair", "table", "report"))
    parser.add_argument("source", nargs="?", default="shipped", choices=("shipped", "independent"))
    parser.add_argument("first", nargs="?", type=int, default=VALIDATION_FIRST)
    parser.add_argument("n", nargs="?", type=int, default=1)
    parser.add_argument(
        "--pattern", default="random", choices=PATTERNS, help="of the shipped simulator's nodules"
    )
    chosen = parser.parse_args(arguments)
    if chosen.command == "measure":
        seeds = range(chosen.first, chosen.first + chosen.n)
        kind = _kind(chosen.pattern, "scan" if chosen.first >= VALIDATION_FIRST else "dev")
        recipes = ((s, replace(draw_recipe(chosen.source, s), pattern=chosen.pattern)) for s in seeds)
        measure_many((f"{kind}-{chosen.source}-{s}", recipe) for s, recipe in recipes)
    elif chosen.command == "pair":
        measure_many(
            (f"pair-{name}-{chosen.source}-{s}", recipe)
            for s in range(chosen.first, chosen.first + chosen.n)
            for name, recipe in draw_pair(chosen.source, s).items()
        )
        report_pairs()
    elif chosen.command == "table":
        write_table()
    else:
        report(f"{_kind(chosen.pattern, 'scan')}-")


def _kind(pattern: str, kind: str) -> str:
    """First part of a kept file's name."""
    return kind if pattern == "random" else f"{pattern}-{kind}"


if __name__ == "__main__":
    # What is kept names its class by its module, which is not this one when run as a program.
    from validation.completeness import main as run

    run()
