"""Ground-glass and part-solid lesions of 8 to 30 mm against their truth: ``python -m validation.part_solid``.

Each is drawn into a small part of a simulated lung, vessels left in; two in three have a solid core.
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

from miliary.image.lesions.large_lesions import find_lesions
from miliary.image.quality.blur import estimate_psf
from miliary.model.ct_result import Lungs, Psf
from validation.cases import CASES, Case, load_simulated
from validation.lesion_scans import Background, LesionPlan, draw_place, insert_part_solid, thicken
from validation.lesions import LUNGS

SLICES_MM = (None, 2.5)
SURFACES = ("sphere", "ellipsoid", "lobulated")
DIAMETER_MM, GLASS_HU, CORE_SHARE, SOLID_EVERY = (8.0, 28.0), (-680.0, -480.0), (0.3, 0.75), 3
TOTAL_BAR_MM, SOLID_BAR_MM = 2.5, 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.part_solid", description=__doc__)
    parser.add_argument("--only", default="ind-healthy,ship-healthy", help="lungs, separated by commas")
    parser.add_argument("--n", type=int, default=12, help="lesions per lung and slice thickness")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="append one JSON line per lesion here")
    options = parser.parse_args(arguments)
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
    fwhm_mm, noise_hu = LUNGS[case.name]
    grid = loaded.scan.grid
    lungs = Lungs(loaded.labels, grid.voxel_volume_mm3)
    sharp = Background(loaded.scan, lungs, fwhm_mm, grid.spacing_zyx_mm[0], noise_hu)
    sigma = estimate_psf(loaded.scan).sigma_xy_mm
    for slice_mm in SLICES_MM:
        background = sharp if slice_mm is None else thicken(sharp, slice_mm)
        step = background.scan.grid.spacing_zyx_mm[0]
        for i in range(n):
            rng = np.random.default_rng([seed, zlib.crc32(case.name.encode()), int(10 * step), i])
            row = _measure(rng, background, Psf(sigma, 0.36 * step), has_core=i % SOLID_EVERY > 0)
            yield {"lung": case.name, "slice_mm": step, **row}


def _measure(rng: np.random.Generator, background: Background, psf: Psf, *, has_core: bool) -> dict[str, Any]:
    diameter = float(rng.uniform(*DIAMETER_MM))
    surface = SURFACES[int(rng.integers(len(SURFACES)))]
    plan = LesionPlan(diameter, None, surface, density_hu=rng.uniform(*GLASS_HU))
    core = LesionPlan(max(3.0, diameter * rng.uniform(*CORE_SHARE)), None, surface) if has_core else None
    place = draw_place(rng, background, plan, is_pleural=False)
    scan, lungs, truth, core_truth = insert_part_solid(rng, background, plan, place, core=core)
    found = find_lesions(scan, lungs, psf=psf).lesions
    center = scan.grid.lps_from_index(truth.center_index)
    hits = [x for x in found if np.linalg.norm(np.asarray(x.centroid_lps_mm) - center) < diameter / 2]
    hit = hits[0] if hits else None
    return {
        "glass_hu": plan.density_hu,
        "true_long_mm": truth.long_axis_mm,
        "true_solid_mm": core_truth.long_axis_mm if core_truth else 0.0,
        "n_false": len(found) - len(hits),
        "attenuation": hit.attenuation.value if hit else None,
        "long_mm": hit.long_axis_mm if hit else None,
        "solid_mm": hit.solid_axis_mm if hit else None,
    }


def summarize(rows: list[dict[str, Any]]) -> str:
    """Figures of the rows as text, all together and by slices, simulator, core and size."""
    groups = {"all": rows}
    for step in sorted({row["slice_mm"] for row in rows}):
        groups[f"{step:g} mm slices"] = [row for row in rows if row["slice_mm"] == step]
    for simulator in ("ship", "ind"):
        groups[simulator] = [row for row in rows if row["lung"].startswith(simulator)]
    groups["ground glass alone"] = [row for row in rows if row["true_solid_mm"] == 0.0]
    groups["part-solid"] = [row for row in rows if row["true_solid_mm"] > 0.0]
    groups["10 mm and more"] = [row for row in rows if row["true_long_mm"] >= 10.0]
    return "\n".join(f"{name}: {_describe(group)}" for name, group in groups.items() if group)


def _describe(rows: list[dict[str, Any]]) -> str:
    found = [row for row in rows if row["long_mm"] is not None]
    words = [f"n {len(rows)}, found {len(found)}", f"other marks {sum(row['n_false'] for row in rows)}"]
    for name, key, bar in (("total", "long", TOTAL_BAR_MM), ("solid", "solid", SOLID_BAR_MM)):
        errors = np.array([row[f"{key}_mm"] - row[f"true_{key}_mm"] for row in found])
        if len(errors):
            words.append(
                f"{name} diameter off by {np.median(np.abs(errors)):.2f} mm (median; signed "
                f"{np.median(errors):+.2f}), {np.quantile(np.abs(errors), 0.95):.2f} (95 %), "
                f"{np.mean(np.abs(errors) <= bar):.1%} within {bar} mm"
            )
    return "; ".join(words)


if __name__ == "__main__":
    sys.exit(main())
