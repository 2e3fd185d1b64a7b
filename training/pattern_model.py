"""Measure the chance of detection by place and size, and the effect sizes of the training's patterns.

``python -m training.pattern_model chance`` injects random nodules into simulated crops one by one, runs the
detector on each, and writes the chance by zone and radius, over that of nodules free in the lung, into the
packaged ``pattern.json``. ``... effects`` prints the effect sizes of each way of placing nodules; the ranges
of the patterns in that file were set by hand beside them, wide on purpose.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.distribution import randomness
from miliary.image.distribution.locations import ZONES, measure_locations
from miliary.image.distribution.randomness import GEOMETRY_LOG_SD, MIN_LOG_SD, MODEL_PATH
from training.patterns import (
    TRAINING_WAYS,
    crop_anatomy,
    draw_diameters,
    look_around,
    make_anatomy,
    place_nodules,
    try_one_by_one,
)

F64 = npt.NDArray[np.float64]

# Radii are measured with an error of a few tenths: finer or smaller bins would promise what is not known.
RADII_MM = (0.85, 1.15, 1.45, 1.9)
EDGES_MM = (0.7, 1.0, 1.3, 1.6, 2.2)
FIRST_SEED = 100
CROP_MM, N_INJECTED, SHARES = 90.0, 3000, (0.005, 0.02)


def sample_detection(seed: int) -> tuple[F64, F64, npt.NDArray[np.bool_]]:
    """Zone, radius and whether found, of random nodules in one crop, each injected and detected by itself."""
    rng = np.random.default_rng([seed, 44])
    anatomy = crop_anatomy(make_anatomy(seed), CROP_MM, rng)
    tried, around = try_one_by_one(anatomy, N_INJECTED, share=float(rng.choice(SHARES)), seed=seed)
    radius = tried.diameter_mm / 2
    order = np.argsort(tried.position_mm[:, 0], kind="stable")
    places = measure_locations(around, tried.position_mm, radius)
    # Where placements at random are never put nothing is compared.
    here = places.can_hold_nodule()
    return places.zone[here], places.radius_mm[here], tried.is_found[order][here]


def measure_chance(seeds: list[int]) -> dict[str, Any]:
    """Chance by zone and radius relative to the free lung, and its spread between scans."""
    scans = [sample_detection(seed) for seed in seeds]
    zone, radius, found = (np.concatenate([scan[k] for scan in scans]) for k in range(3))
    free = _by_radius(radius, found, zone == len(ZONES) - 1)
    table: dict[str, Any] = {"radius_mm": list(RADII_MM)}
    for k, name in enumerate(ZONES):
        chance = np.minimum(_by_radius(radius, found, zone == k) / free, 1.0)
        # Bigger is never harder to find.
        chance = np.minimum.accumulate(chance[::-1])[::-1]
        own = np.hypot(GEOMETRY_LOG_SD.get(name, 0.0), max(MIN_LOG_SD, _spread_between(scans, k)))
        spread = np.hypot(own, 0.5 * (1 - chance)) if name != "free" else 0 * chance
        table[name] = {
            "chance": [round(float(c), 3) for c in chance],
            "log_sd": [round(float(s), 3) for s in spread],
        }
        print(name, table[name], int((zone == k).sum()), _spread_between(scans, k))
    return table


def _by_radius(radius: F64, found: npt.NDArray[np.bool_], where: npt.NDArray[np.bool_]) -> F64:
    out = []
    for low, high in itertools.pairwise(EDGES_MM):
        here = found[where & (radius >= low) & (radius < high)]
        out.append((here.sum() + 1.0) / (len(here) + 1.2))
    return np.asarray(out)


def _spread_between(scans: list[tuple[F64, F64, npt.NDArray[np.bool_]]], zone: int) -> float:
    """Between-scan spread of the log of the zone's rate over the free lung's, counting noise taken out.

    Of nodules in the middle of the sizes: those that are always or never found do not tell.
    """
    rate, noise = [], []
    for zones, radius, found in scans:
        middle = (radius >= EDGES_MM[0]) & (radius < EDGES_MM[-1])
        here, free = (found[middle & (zones == k)] for k in (zone, len(ZONES) - 1))
        if len(here) >= 8 and free.any():
            p = (here.sum() + 0.5) / (len(here) + 1)
            rate.append(np.log(p / free.mean()))
            noise.append((1 - p) / (p * len(here)))
    if len(rate) < 4:
        return 0.0
    return float(np.sqrt(max(0.0, np.var(rate, ddof=1) - np.mean(noise))))


def list_effects(seeds: list[int]) -> Iterator[tuple[str, str, F64]]:
    """Log effect sizes of each way in several anatomies."""
    for seed in seeds:
        anatomy = make_anatomy(seed)
        for name, ways in TRAINING_WAYS.items():
            for way, place in ways.items():
                rng = np.random.default_rng([seed, 45])
                diameter = draw_diameters(500, rng)
                position = place_nodules(place, anatomy, diameter, rng)
                placed = np.isfinite(position[:, 0])
                around, shift = look_around(anatomy, position[placed], diameter[placed])
                found = randomness.estimate_pattern(
                    position[placed] - shift,
                    diameter[placed],
                    surroundings=around,
                )
                yield name, way, np.log([item.ratio for item in found.evidence])


def main() -> int:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(prog="python -m training.pattern_model", description=__doc__)
    parser.add_argument("what", choices=("chance", "effects"))
    parser.add_argument("--n", type=int, default=24, help="simulated crops")
    options = parser.parse_args()
    seeds = list(range(FIRST_SEED, FIRST_SEED + options.n))
    if options.what == "chance":
        model = json.loads(MODEL_PATH.read_text("utf-8"))
        model["detection"] = measure_chance(seeds)
        MODEL_PATH.write_text(format_model(model) + "\n", encoding="utf-8")
        return 0
    for name, way, effects in list_effects(seeds):
        print(name, way, np.round(effects, 2))
    return 0


def format_model(value: Any, depth: int = 0) -> str:
    """JSON with short lists and objects on one line."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(line) + depth < 100:
        return line
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        inner = [f"{pad}{json.dumps(key)}: {format_model(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner) + "\n" + " " * depth + "}"
    inner = [f"{pad}{format_model(item, depth + 1)}" for item in value]
    return "[\n" + ",\n".join(inner) + "\n" + " " * depth + "]"


if __name__ == "__main__":
    raise SystemExit(main())
