"""Measure large lesions against their truth: ``python -m validation.lesions``.

Small scans with one cavitary lesion each are cut from lungs of both simulators (`validation.lesion_scans`);
lobes are asked for at random places of whole simulated lungs, whose fissures are known.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.lesions.large_lesions import find_lesions
from miliary.image.quality.blur import estimate_psf
from miliary.model.ct_result import Psf
from validation.cases import CASES, Case, load_simulated
from validation.lesion_scans import (
    SURFACES,
    Background,
    LesionPlan,
    draw_place,
    insert_lesion,
    thicken,
)

# Full width in plane of each lung's own blur [mm] and noise [HU], as its case was made.
LUNGS = {
    "ship-healthy": (1.4, 20.0),
    "ship-1000-a": (1.4, 20.0),
    "ship-1000-b": (1.1, 20.0),
    "ship-lowdose": (1.4, 55.0),
    "ind-healthy": (1.2, 20.0),
    "ind-1000-a": (1.2, 20.0),
    "ind-1000-b": (1.4, 20.0),
    "ind-5000-mass": (1.2, 20.0),
    "ind-lowdose": (1.2, 55.0),
}
SLICES_MM = (None, 1.5, 2.5)
PLEURAL_SHARE, ECCENTRIC_SHARE = 0.2, 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.lesions", description=__doc__)
    parser.add_argument("--only", default=",".join(LUNGS), help="lungs, separated by commas")
    parser.add_argument("--n", type=int, default=8, help="lesions per lung and slice thickness")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="append one JSON line per lesion here")
    parser.add_argument("--summarize", type=Path, help="only print the figures of such a file")
    options = parser.parse_args(arguments)
    if options.summarize:
        lines = options.summarize.read_text().splitlines()
        print(summarize([json.loads(line) for line in lines]))
        return 0
    rows = []
    for name in options.only.split(","):
        for row in measure_lung(next(c for c in CASES if c.name == name), n=options.n, seed=options.seed):
            rows.append(row)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(summarize(rows))
    return 0


def measure_lung(case: Case, *, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row per lesion put into one lung."""
    loaded = load_simulated(case)
    lungs, _ = find_lungs(loaded.scan)
    fwhm_mm, noise_hu = LUNGS[case.name]
    sharp = Background(loaded.scan, lungs, fwhm_mm, loaded.scan.grid.spacing_zyx_mm[0], noise_hu)
    sigma = estimate_psf(loaded.scan).sigma_xy_mm
    for slice_mm in SLICES_MM:
        background = sharp if slice_mm is None else thicken(sharp, slice_mm)
        step = background.scan.grid.spacing_zyx_mm[0]
        psf = Psf(sigma, 0.36 * step)
        for i in range(n):
            rng = np.random.default_rng([seed, zlib.crc32(case.name.encode()), int(10 * step), i])
            row = _measure(rng, background, psf, SURFACES[i % len(SURFACES)])
            yield {"lung": case.name, "slice_mm": step, **row}


def _measure(rng: np.random.Generator, background: Background, psf: Psf, surface: str) -> dict[str, Any]:
    diameter = rng.uniform(12.0, 30.0)
    wall = rng.uniform(2.0, max(2.2, min(6.0, diameter / 2 - 2.5)))
    plan = LesionPlan(diameter, wall, surface, bool(rng.random() < ECCENTRIC_SHARE), rng.uniform(20.0, 60.0))
    is_pleural = bool(rng.random() < PLEURAL_SHARE)
    place = draw_place(rng, background, plan, is_pleural=is_pleural)
    scan, lungs, truth = insert_lesion(rng, background, plan, place)
    found = find_lesions(scan, lungs, psf=psf).lesions
    center = scan.grid.lps_from_index(truth.center_index)
    hits = [x for x in found if np.linalg.norm(np.asarray(x.centroid_lps_mm) - center) < diameter / 2]
    hit = hits[0] if hits else None
    return {
        "surface": surface,
        "is_pleural": is_pleural,
        "is_eccentric": plan.is_eccentric,
        "diameter_mm": diameter,
        "true_long_mm": truth.long_axis_mm,
        "true_wall_mm": truth.wall_mm,
        "true_volume_mm3": truth.volume_mm3,
        "n_false": len(found) - len(hits),
        "long_mm": hit.long_axis_mm if hit else None,
        "volume_mm3": hit.volume_mm3 if hit else None,
        "wall_mm": hit.wall.mean_mm if hit and hit.wall else None,
    }


def summarize(rows: list[dict[str, Any]]) -> str:
    """Figures of the rows as text, for each slice thickness and all together."""
    groups = {"all": rows}
    for step in sorted({row["slice_mm"] for row in rows}):
        groups[f"{step:g} mm slices"] = [row for row in rows if row["slice_mm"] == step]
    for simulator in ("ship", "ind"):
        groups[simulator] = [row for row in rows if row["lung"].startswith(simulator)]
    return "\n".join(f"{name}: {_describe(group)}" for name, group in groups.items() if group)


def _describe(rows: list[dict[str, Any]]) -> str:
    found = [row for row in rows if row["long_mm"] is not None]
    hollow = [row for row in found if row["wall_mm"] is not None]
    axis = np.abs([row["long_mm"] - row["true_long_mm"] for row in found])
    wall = np.abs([row["wall_mm"] - row["true_wall_mm"] for row in hollow])
    words = [
        f"n {len(rows)}, found {len(found)}, called cavitary {len(hollow)}",
        f"other marks {sum(row['n_false'] for row in rows)}",
    ]
    for name, errors, bar in (("longest diameter", axis, 1.5), ("mean wall", wall, 0.7)):
        if len(errors):
            words.append(
                f"{name} off by {np.median(errors):.2f} mm (median), {np.quantile(errors, 0.95):.2f} (95 %), "
                f"{errors.max():.2f} (worst), {np.mean(errors <= bar):.1%} within {bar} mm"
            )
    return "; ".join(words)


if __name__ == "__main__":
    sys.exit(main())
