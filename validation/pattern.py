"""Measure the bars of the spatial pattern: ``python -m validation.pattern WHAT``.

``random``: how often randomness is rejected on truly random nodules, eight sets in each crop of a lung,
every nodule injected and detected by itself. ``rendered``: the same where a crop is simulated with its
nodules, as ``miliary ct`` judges it without and with ``--fast``. ``ways``: how often the pattern is right, by
way of placing and number of nodules, all ways in every chest, thinned by the packaged chances with a bias
drawn for each. ``detected``: the same, one way to a chest, nodules inserted and detected. Results are kept
by seed, so that a run can be ended and taken up again; ``report`` prints the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from miliary.image.anatomy.surroundings import Surroundings
from miliary.image.distribution.locations import ZONES, Locations, measure_locations
from miliary.image.distribution.randomness import estimate_pattern, read_model
from miliary.image.sensitivity.injection import N_INJECTED as N_INJECTED_BY_SCAN
from miliary.image.simulate import NodulePopulation, insert_nodules
from miliary.model.ct_result import Psf
from miliary.model.pattern import CLASSES, Pattern, PatternLabel
from training.patterns import (
    Anatomy,
    Marks,
    Way,
    crop_anatomy,
    detect,
    detect_one_by_one,
    draw_diameters,
    look_around,
    make_anatomy,
    place_nodules,
)
from validation.independent import Disease
from validation.pattern_ways import ALL_WAYS, HELD_OUT_WAYS, make_chest, make_independent_anatomy

F64 = npt.NDArray[np.float64]

FIRST_SEED = 910_000
SOURCES = ("shipped", "independent")
COUNTS = (60, 220, 450, 800)
CROP_MM, DETECTED_CROP_MM = 90.0, 110.0
N_INJECTED, SETS_PER_CROP, SET_SIZES = 2400, 8, (40, 60, 90, 150, 200)
LOG_NAME = "miliary-pattern.jsonl"


def estimate_of(marks: Marks, seed: int) -> Pattern:
    """Pattern of what was detected; the chance of detection is the packaged one unless trials come along."""
    return estimate_pattern(
        marks.position_mm,
        marks.diameter_mm,
        diameter_mm_err=marks.diameter_mm_err,
        probability=marks.probability,
        surroundings=marks.surroundings,
        injected=marks.trials,
        seed=seed,
    )


def judge_random(seed: int) -> Iterator[dict[str, Any]]:
    """Sets of truly random nodules in one crop, no nodule in two of them."""
    for source, marks in detect_random(seed):
        found = estimate_of(marks, seed)
        yield {
            "way": "injected",
            "source": source,
            "truth": "random",
            "n": len(marks.position_mm),
            **_facts(found),
        }


def detect_random(seed: int) -> Iterator[tuple[str, Marks]]:
    """Source and marks of each set."""
    rng = np.random.default_rng([seed, 47])
    source = SOURCES[seed % 2]
    chest = crop_anatomy(make_chest(source, seed), CROP_MM, rng)
    marks = detect_one_by_one(chest, N_INJECTED, share=float(rng.choice((0.005, 0.02))), seed=seed)
    order, first = rng.permutation(len(marks.position_mm)), 0
    for k in range(SETS_PER_CROP):
        rows = order[first : first + SET_SIZES[(seed + k) % len(SET_SIZES)]]
        first += len(rows)
        yield (
            source,
            replace(
                marks,
                position_mm=marks.position_mm[rows],
                diameter_mm=marks.diameter_mm[rows],
                diameter_mm_err=marks.diameter_mm_err[rows],
                probability=marks.probability[rows],
            ),
        )


def judge_rendered(seed: int) -> Iterator[dict[str, Any]]:
    """Truly random nodules in a crop simulated as a whole, with packaged and with measured chances."""
    rng = np.random.default_rng([seed, 47])
    source, n = SOURCES[seed % 2], int(rng.choice((60, 120, 250, 500, 800)))
    low = float(rng.uniform(1.0, 2.0))
    size = (low, low + float(rng.uniform(0.5, 1.8)))
    if source == "independent":
        chest = make_independent_anatomy(seed, disease=Disease(n_nodules=n, diameter_mm=size))
    else:
        chest = make_anatomy(seed, population=NodulePopulation(n, size))
    marks = detect(chest.scan, chest.labels, n_trials=N_INJECTED_BY_SCAN, seed=seed)
    for with_trials in (marks, replace(marks, trials=None)):
        found = estimate_of(with_trials, seed)
        way = f"simulated, chances {found.completeness}"
        yield {"way": way, "source": source, "truth": "random", "n": n, **_facts(found)}


def judge_ways(seed: int) -> Iterator[dict[str, Any]]:
    """Every way of placing nodules in one chest, thinned as the detector thins, with a few false marks."""
    source = SOURCES[seed % 2]
    chest = make_chest(source, seed)
    around, shift = look_around(chest, np.empty((0, 3)), np.empty(0))
    for label, ways in ALL_WAYS.items():
        for name, way in ways.items():
            rng = np.random.default_rng([seed, 48, len(name), ord(name[0])])
            n = int(rng.choice(COUNTS))
            diameter = draw_diameters(round(1.2 * n), rng)
            position = place_nodules(way, chest, diameter, rng)
            placed = np.isfinite(position[:, 0])
            places = measure_locations(around, position[placed] - shift, diameter[placed] / 2).visible()
            marks = _thin(places, around, n, rng)
            found = estimate_of(marks, seed)
            yield {
                "way": name,
                "source": source,
                "truth": label,
                "n": len(marks.position_mm),
                **_facts(found),
            }


def _thin(places: Locations, around: Surroundings, n: int, rng: np.random.Generator) -> Marks:
    """What a detector with the packaged chances and a bias of its own reports; 4 % false marks."""
    detection = read_model()["detection"]
    chance = np.empty(len(places))
    for k, zone in enumerate(ZONES):
        here = places.zone == k
        at = [
            np.interp(places.radius_mm[here], detection["radius_mm"], detection[zone][q])
            for q in ("chance", "log_sd")
        ]
        chance[here] = 0.95 * at[0] * np.exp(at[1] * rng.standard_normal())
    seen = places.select(rng.random(len(places)) < chance)
    seen = seen.select(np.sort(rng.permutation(len(seen))[:n]))
    false = around.draw_points(max(1, len(seen) // 25), rng)
    position = np.concatenate([seen.position_mm, false])
    size = 2 * np.concatenate([seen.radius_mm, rng.choice(seen.radius_mm, len(false))])
    measured = np.maximum(size + rng.normal(0, 0.15, len(size)), 0.6)
    return Marks(position, measured, np.full(len(size), 0.15), np.ones(len(size)), around)


def judge_detected(seed: int) -> Iterator[dict[str, Any]]:
    """One way in a chest of its own: nodules inserted, then detected."""
    rng = np.random.default_rng([seed, 46])
    names = [(label, way) for label, ways in ALL_WAYS.items() for way in ways]
    source, (label, way) = SOURCES[seed % 2], names[seed % len(names)]
    n = int(rng.choice(COUNTS))
    chest = crop_anatomy(make_chest(source, seed), DETECTED_CROP_MM, rng)
    low = rng.uniform(1.2, 2.2)
    diameter = rng.uniform(low, low + rng.uniform(0.4, 1.5), n)
    n, marks = _insert_and_detect(chest, ALL_WAYS[label][way], diameter, seed=seed, rng=rng)
    yield {"way": way, "source": source, "truth": label, "n": n, **_facts(estimate_of(marks, seed))}


def _insert_and_detect(
    chest: Anatomy, way: Way, diameter_mm: F64, *, seed: int, rng: np.random.Generator
) -> tuple[int, Marks]:
    """Number of nodules that found a place, and what was detected."""
    position = place_nodules(way, chest, diameter_mm, rng)
    placed = np.isfinite(position[:, 0])
    position, diameter_mm = position[placed], diameter_mm[placed]
    step = chest.scan.grid.spacing_zyx_mm[0]
    scan = insert_nodules(
        chest.scan,
        position[:, ::-1],
        diameter_mm,
        rng.uniform(20, 60, len(diameter_mm)),
        psf=Psf(0.55, max(0.35, step / 12**0.5)),
        lung_labels=chest.labels,
        seed=seed,
    )
    return len(position), detect(scan, chest.labels)


def _facts(found: Pattern) -> dict[str, Any]:
    return {
        "label": found.label.value,
        "n_found": found.n_nodules,
        "p": found.randomness_p,
        "probabilities": {name.value: round(found.probabilities.get(name, 0.0), 4) for name in CLASSES},
        "log_ratio": [round(float(np.log(item.ratio)), 3) for item in found.evidence],
    }


def limits(hits: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson limits of a share."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def read_log(path: Path) -> list[dict[str, Any]]:
    """Results of single scans so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run(what: str, seeds: range, path: Path, *, seconds: float) -> None:
    """Judge the scans that are not in the log yet, until time is up."""
    judge = {
        "random": judge_random,
        "rendered": judge_rendered,
        "ways": judge_ways,
        "detected": judge_detected,
    }[what]
    done = {row["seed"] for row in read_log(path) if row["what"] == what}
    end = time.monotonic() + seconds
    for seed in seeds:
        if seed in done:
            continue
        if time.monotonic() > end:
            return
        text = "".join(json.dumps({"what": what, "seed": seed, **row}) + "\n" for row in judge(seed))
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def report(path: Path) -> None:
    """Print the rows of both measurements."""
    rows = read_log(path)
    for what in ("random", "rendered"):
        here = [row for row in rows if row["what"] == what]
        for way in sorted({row["way"] for row in here}):
            _report_random([row for row in here if row["way"] == way], f"{what}, {way}")
    for what in ("ways", "detected"):
        _report_ways([row for row in rows if row["what"] == what], what)


def _report_ways(rows: list[dict[str, Any]], what: str) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        size = "n >= 200" if row["n"] >= 200 else "n < 200"
        held = "held out" if row["way"] in HELD_OUT_WAYS[row["truth"]] else "as in training"
        for name in (
            size,
            f"{size}, {row['source']}",
            f"{size}, {held}",
            f"{size}, {row['truth']}: {row['way']}",
        ):
            groups[name].append(row)
    for name in sorted(groups):
        here = groups[name]
        _print_share(f"{what}: pattern right, {name}", sum(r["label"] == r["truth"] for r in here), len(here))
        missing = sum(row["label"] == PatternLabel.INDETERMINATE for row in here)
        if missing:
            print(f"    of these indeterminate: {missing}")
    _print_calibration(rows)


def _report_random(rows: list[dict[str, Any]], what: str) -> None:
    tested = [row for row in rows if row["p"] is not None]
    for source in (*SOURCES, "both"):
        here = [row for row in tested if source in {row["source"], "both"}]
        hits = sum(row["p"] <= 0.05 for row in here)
        _print_share(f"{what}: rejected at 5 %, {source}", hits, len(here))
        wrong = sum(row["label"] in {"perilymphatic", "centrilobular"} for row in here)
        _print_share(f"{what}: labelled perilymphatic or centrilobular, {source}", wrong, len(here))
    print(f"{what}: under 30 marks, not tested: {len(rows) - len(tested)}")


def _print_share(name: str, hits: int, n: int) -> None:
    if n:
        low, high = limits(hits, n)
        print(f"{name}: {hits}/{n} = {hits / n:.3f} [{low:.3f}, {high:.3f}]")


def _print_calibration(rows: list[dict[str, Any]]) -> None:
    """How often a pattern given a probability is the true one."""
    said = np.array([p for row in rows for p in row["probabilities"].values() if row["p"] is not None])
    true = np.array(
        [name == row["truth"] for row in rows for name in row["probabilities"] if row["p"] is not None]
    )
    for low, high in ((0.0, 0.02), (0.02, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.98), (0.98, 1.01)):
        here = (said >= low) & (said < high)
        if here.any():
            means = f"mean {said[here].mean():.3f}, true {true[here].mean():.3f}"
            print(f"said {low:.2f}-{min(high, 1):.2f}: {here.sum()} times, {means}")


def main() -> int:
    """Measure or report."""
    parser = argparse.ArgumentParser(prog="python -m validation.pattern", description=__doc__)
    parser.add_argument("what", choices=("random", "rendered", "ways", "detected", "report"))
    parser.add_argument("--n", type=int, default=100, help="crops or chests")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first one")
    parser.add_argument("--seconds", type=float, default=1e9, help="end after this time")
    cache = Path(os.environ.get("MILIARY_CACHE", Path.home() / ".cache" / "miliary-validation"))
    parser.add_argument("--log", type=Path, default=cache / LOG_NAME)
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    if options.what == "report":
        report(options.log)
    else:
        seeds = range(options.first, options.first + options.n)
        run(options.what, seeds, options.log, seconds=options.seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
