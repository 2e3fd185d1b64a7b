"""Measure what the program says of chests with other disease: ``python -m validation.other_disease run``.

Each case is a slab of a whole chest (both lungs, 130 mm high) of either simulator with one disease and
no nodules, given to `find_nodules` with its true lungs. Kept by case in a log, so that a run can be ended and
taken up again; ``report`` prints one row per disease and simulator: how many were called random or met a
definition of miliary, and marks per litre. Seeds from 960000 on are for reported figures, those below for
choosing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from miliary.image.simulate import (
    ARTIFACTS,
    DISEASES,
    NodulePopulation,
    OtherFindings,
    ScanProtocol,
    draw_anatomy,
)
from miliary.image.simulate.airway_disease import grow_disease
from miliary.image.simulate.chest import ChestModel, draw_bodies, frame_box, render_scan
from miliary.image.simulate.chest_anatomy import CoarseField, HardNegatives, build_fields
from miliary.image.simulate.disease_fields import alter_fields
from miliary.image.simulate.vessels import ChestTrees, grow_trees
from miliary.model.ct_result import CtResult, Lungs
from miliary.model.scan import Scan
from miliary.pipeline import find_nodules
from validation.independent import Disease, Protocol, simulate_independent
from validation.independent_render import Optics
from validation.pattern import limits, read_log

FIRST_SEED = 960_000
SOURCES = ("shipped", "independent")
# Diseases with nodules, beside those without: what must still be called by its name.
NODULES = ("random", "perilymphatic", "centrilobular")
MIXED = ("tree_in_bud+emphysema", "bronchiectasis+mucus_plugs+tree_in_bud")
KINDS = (*DISEASES, *ARTIFACTS, *MIXED)
LOG_NAME = "miliary-other-disease.jsonl"
HEIGHT_MM, DEPTH_MM, WIDTH_MM = 130.0, 170.0, 290.0


def draw_protocol(seed: int) -> tuple[float, float, float, float]:
    """Slice distance [mm], pixel [mm], full width of the blur [mm] and noise [HU] of a case."""
    rng = np.random.default_rng([seed, 63])
    step, pixel = float(rng.choice([1.0, 1.25, 1.5, 2.0])), float(rng.uniform(0.8, 0.95))
    return step, pixel, float(rng.uniform(1.2, 1.7)), float(rng.uniform(10, 35))


def simulate_case(source: str, kind: str, seed: int) -> tuple[Scan, np.ndarray[Any, Any]]:
    """A scan with one kind of disease (or of nodules), and its true lungs."""
    step, pixel, blur, noise = draw_protocol(seed)
    severity = float(np.random.default_rng([seed, 64]).uniform(0.3, 1.0))
    findings = {} if kind in NODULES else dict.fromkeys(kind.split("+"), severity)
    if source == "shipped":
        protocol = ScanProtocol(
            shape_zyx=(round(HEIGHT_MM / step), round(DEPTH_MM / pixel), round(WIDTH_MM / pixel)),
            spacing_zyx_mm=(step, pixel, pixel),
            psf_fwhm_mm=blur,
            slice_thickness_mm=step,
            noise_sd_hu=noise,
        )
        return _render_shipped(kind, seed, findings, protocol)
    protocol_2 = Protocol(
        shape_zyx=(round(180.0 / step), round(230.0 / pixel), round(WIDTH_MM / pixel)),
        spacing_zyx_mm=(step, pixel, pixel),
        optics=Optics(fwhm_mm=0.8 * blur, slice_mm=step),
        noise_hu=noise,
    )
    n = int(np.random.default_rng([seed, 65]).choice([150, 400, 900])) if kind in NODULES else 0
    made = simulate_independent(
        seed, protocol=protocol_2, disease=Disease(n_nodules=n, diameter_mm=(1.2, 3.0), others=findings)
    )
    return made.scan, made.labels


@lru_cache(maxsize=1)
def _chest(seed: int) -> tuple[CoarseField, ChestTrees]:
    p, hard = draw_anatomy(seed), HardNegatives()
    chest = build_fields(p, hard)
    return chest, grow_trees(p, chest, hard)


def _render_shipped(
    kind: str, seed: int, findings: dict[str, float], protocol: ScanProtocol
) -> tuple[Scan, np.ndarray[Any, Any]]:
    """As `simulate_scan`, but one chest serves all diseases of a seed."""
    p, hard, other = draw_anatomy(seed), HardNegatives(), OtherFindings(**findings)
    height = float(np.random.default_rng([seed, 66]).uniform(0.3, 0.6))
    protocol = replace(protocol, center_lps_mm=(0.0, 8.0, height * p.lung_height_mm))
    chest, trees = _chest(seed)
    model = ChestModel(p, hard, chest, trees)
    if findings:
        chest = alter_fields(p, chest, other)
        trees = grow_trees(p, chest, hard) if other.effusion > 0 else trees
        trees, objects = grow_disease(p, chest, trees, other)
        model = ChestModel(p, hard, chest, trees, other, objects)
    population = None
    if kind in NODULES:
        n = int(np.random.default_rng([seed, 65]).choice([150, 400, 900]))
        population = NodulePopulation(n, (1.2, 3.0), pattern=kind)
    bodies, kinds = draw_bodies(model, frame_box(protocol, p), seed=seed, population=population)
    made = render_scan(protocol, model, bodies, kinds, seed=seed, n_threads=1)
    return made.scan, made.lung_labels


def judge_case(source: str, kind: str, seed: int, *, with_completeness: bool) -> dict[str, Any]:
    """What the program says of one case."""
    scan, labels = simulate_case(source, kind, seed)
    found = find_nodules(
        scan,
        lung_mask=Lungs(labels, scan.grid.voxel_volume_mm3),
        with_completeness=with_completeness,
        n_threads=1,
    )
    return {"source": source, "kind": kind, "seed": seed, **_facts(found)}


def _facts(found: CtResult) -> dict[str, Any]:
    litres = (found.right_ml + found.left_ml) / 1000.0
    pattern = found.pattern
    assert pattern is not None
    facts: dict[str, Any] = {
        "litres": round(litres, 3),
        "n": len(found.nodules),
        "label": pattern.label.value,
        "reason": pattern.reason,
        "probabilities": {name.value: round(p, 4) for name, p in pattern.probabilities.items()},
        "met": [item["id"] for item in found.definitions if item["verdict"] == "met"],
        "context": {item.name: round(item.value, 4) for item in pattern.context},
    }
    if found.completeness is not None and found.completeness.count is not None:
        facts["corrected"] = found.completeness.count.value
    return facts


def list_cases(
    kinds: tuple[str, ...], seeds: range, sources: tuple[str, ...]
) -> Iterator[tuple[str, str, int]]:
    """All diseases of one chest before the next."""
    for seed in seeds:
        for source in sources:
            for kind in kinds:
                yield source, kind, seed


def report(rows: list[dict[str, Any]]) -> None:
    """Print one row per disease and simulator."""
    print("| disease | simulator | chests | random or definition met | labels | marks/L: median, worst |")
    print("|---|---|---|---|---|---|")
    groups = sorted({(row["kind"], row["source"]) for row in rows})
    for kind, source in groups:
        here = [row for row in rows if (row["kind"], row["source"]) == (kind, source)]
        wrong = [row for row in here if row["label"] == "random" or row["met"]]
        rate = [row["n"] / max(row["litres"], 1e-3) for row in here]
        names = [row["label"] for row in here]
        said = ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))
        marks = f"{np.median(rate):.1f}, {max(rate):.1f}"
        print(f"| {kind} | {source} | {len(here)} | {len(wrong)} | {said} | {marks} |")
    for source in SOURCES:
        here = [row for row in rows if row["source"] == source and row["kind"] not in NODULES]
        if here:
            n_wrong = sum(row["label"] == "random" or bool(row["met"]) for row in here)
            low, high = limits(n_wrong, len(here))
            print(f"{source}: {n_wrong}/{len(here)} called random or miliary [{low:.3f}, {high:.3f}]")


def main() -> int:
    """Run the cases that are not in the log yet, or report."""
    parser = argparse.ArgumentParser(prog="python -m validation.other_disease", description=__doc__)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--n", type=int, default=10, help="chests per disease and simulator")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first one")
    parser.add_argument("--kinds", default=",".join((*KINDS, *NODULES)))
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--seconds", type=float, default=1e9, help="end after this time")
    parser.add_argument("--complete", action="store_true", help="with completeness and corrected counts")
    cache = Path(os.environ.get("MILIARY_CACHE", Path.home() / ".cache" / "miliary-validation"))
    parser.add_argument("--log", type=Path, default=cache / LOG_NAME)
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    rows = read_log(options.log)
    if options.what == "report":
        report(rows)
        return 0
    done = {(row["source"], row["kind"], row["seed"]) for row in rows}
    end = time.monotonic() + options.seconds
    seeds = range(options.first, options.first + options.n)
    for case in list_cases(tuple(options.kinds.split(",")), seeds, tuple(options.sources.split(","))):
        if case in done:
            continue
        if time.monotonic() > end:
            break
        row = judge_case(*case, with_completeness=options.complete)
        with options.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
