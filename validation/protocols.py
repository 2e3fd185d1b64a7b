"""Which simulated scans validity refuses, and how right their marks are: ``python -m validation.protocols``.

    python -m validation.protocols measure shipped 340000 20       20 scans of any protocol from that seed on
    python -m validation.protocols measure independent 350000 20
    python -m validation.protocols measure shipped 360000 20 --thick    smooth kernels, slices of 2 to 3 mm
    python -m validation.protocols report

Protocols are wider than those of training: kernels of 0.85 to 1.8 mm with and without overshoot, noise of
5 to 80 HU, slices of 0.5 to 3 mm. Seeds from 900000 on are for validation and were not looked at while the
limits were chosen. Results are kept outside the repository (`MILIARY_CACHE`), one line a scan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from miliary.image.nodules.detect import measure_nodules, score_candidates, search_lungs
from miliary.image.nodules.mark_evidence import ALSO_MIRRORED, check_marks
from miliary.image.quality import validated_range
from miliary.image.quality.blur import estimate_psf
from miliary.image.quality.noise import estimate_noise
from miliary.model.ct_result import Lungs
from miliary.model.validity import Validity, ValidityVerdict
from miliary.model.validity import ValidityCriterion as By
from validation.cases import cache_folder
from validation.completeness_scans import Crop, Recipe, draw_recipe, make_crop

SLICES_MM, THICK_MM = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0), (2.0, 2.5, 2.5, 3.0)
COUNTS, THICK_COUNTS = (0, 60, 300, 1000), (150, 300, 700, 1000)
EXTENT_MM = {"shipped": (100.0, 110.0, 105.0), "independent": (130.0, 170.0, 220.0)}
HIT_MM = 1.5
# Marks of which more than this share is no nodule mislead whoever counts them.
WRONG_SHARE = 0.5


def draw_protocol(source: str, seed: int, *, is_thick: bool = False) -> Recipe:
    """A protocol and a disease, the same for the same seed."""
    rng = np.random.default_rng([seed, 77])
    is_sharp = not is_thick and rng.random() < 0.5
    slice_mm = float(rng.choice(THICK_MM if is_thick else SLICES_MM))
    low, high = (8.0, 50.0) if is_thick else (5.0, 80.0)
    return replace(
        draw_recipe(source, seed),
        slice_mm=slice_mm,
        step_mm=slice_mm if rng.random() < 0.8 else 0.8 * slice_mm,
        pixel_mm=float(rng.uniform(0.55, 0.95)),
        fwhm_mm=float(rng.uniform(0.85, 1.2) if is_sharp else rng.uniform(1.1, 1.6 if is_thick else 1.8)),
        overshoot=float(rng.uniform(0.05, 0.3)) if is_sharp else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        extent_mm=EXTENT_MM[source],
        n=int(rng.choice(THICK_COUNTS if is_thick else COUNTS)),
    )


def measure_crop(crop: Crop) -> dict[str, Any]:
    """What validity says of one scan, and how many of its marks are nodules."""
    scan, lungs = crop.scan, Lungs(crop.labels, crop.scan.grid.voxel_volume_mm3)
    noise, psf = estimate_noise(scan, lungs), estimate_psf(scan)
    search = search_lungs(scan, lungs)
    judged = score_candidates(search, noise=noise, psf=psf)
    run, _, nodules = measure_nodules(search, judged, grid=scan.grid, noise=noise, psf=psf, is_clipped=False)
    litres = float(np.count_nonzero(crop.labels)) * scan.grid.voxel_volume_mm3 / 1e6
    validity = Validity(
        (
            *validated_range.check_sampling(scan, psf, noise),
            validated_range.check_kernel(run.psf),
            *check_marks(run, nodules, litres=litres),
        )
    )
    n_right = 0
    if len(nodules) and len(crop.position_lps_mm):
        distance, _ = cKDTree(crop.position_lps_mm).query(nodules.position_lps_mm)
        n_right = int(np.count_nonzero(distance < HIT_MM))
    return {
        "recipe": asdict(crop.recipe),
        "litres": litres,
        "n_marks": len(nodules),
        "n_right": n_right,
        "n_true": len(crop.position_lps_mm),
        "share": run.share,
        "at_limit": run.psf.at_limit,
        "noise_hu": noise.sd_hu,
        "verdict": validity.verdict.value,
        "reasons": validity.reasons,
        "checks": {check.criterion.value: check.value for check in validity.checks},
    }


def rejudge(row: dict[str, Any]) -> bool:
    """Whether the ranges of today refuse a scan measured earlier, from the values kept of it."""
    checks = {By(name): value for name, value in row["checks"].items() if value is not None}
    unresolved, made = checks.pop(By.CLASSES_OF_MARKS, 0.0), checks.get(By.INVERTED_CONTRAST, 0.0)
    checks.pop(By.SHARE_OF_NODULES, None)
    is_unclear = any(validated_range.UNCLEAR in reason for reason in row["reasons"])
    if row["at_limit"] or is_unclear or made >= ALSO_MIRRORED:
        checks[By.CLASSES_OF_MARKS] = unresolved
    judged = [validated_range.judge(criterion, value) for criterion, value in checks.items()]
    return is_unclear or any(check.verdict is ValidityVerdict.OUTSIDE for check in judged)


def _log() -> Path:
    return cache_folder() / "protocols.jsonl"


def read_measured() -> list[dict[str, Any]]:
    """Everything measured so far."""
    return [json.loads(line) for line in _log().read_text().splitlines()] if _log().exists() else []


def measure_many(source: str, first: int, n: int, *, is_thick: bool) -> None:
    """Measure what is not there yet."""
    done = {(row["recipe"]["source"], row["recipe"]["seed"]) for row in read_measured()}
    for seed in range(first, first + n):
        if (source, seed) in done:
            continue
        crop = make_crop(draw_protocol(source, seed, is_thick=is_thick))
        if not crop.labels.any():
            continue
        row = measure_crop(crop)
        with _log().open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(_describe(row), flush=True)


def _describe(row: dict[str, Any]) -> str:
    r = row["recipe"]
    made = f"{r['source']} {r['seed']}: slices {r['slice_mm']:g}, kernel {r['fwhm_mm']:.2f} mm"
    made += f" +{r['overshoot']:.2f}, noise {r['noise_hu']:.0f} HU, pixel {r['pixel_mm']:.2f}"
    found = f"{row['n_true']} nodules, {row['n_marks']} marks, {row['n_right']} right"
    numbers = ", ".join(
        f"{name} {row['checks'][name]:.2f}"
        for name in ("inverted_contrast", "classes_of_marks", "share_of_nodules", "sampling")
        if row["checks"].get(name) is not None
    )
    verdict = "outside" if rejudge(row) else "inside"
    return f"{made}; {found}; {verdict}; {numbers}; at limit {list(row['at_limit'])}"


def _report() -> Iterator[str]:
    rows = read_measured()
    for row in rows:
        yield _describe(row)
    for source in ("shipped", "independent"):
        own = [row for row in rows if row["recipe"]["source"] == source]
        refused = [row for row in own if rejudge(row)]
        wrong = [r for r in own if r["n_marks"] >= 20 and r["n_right"] < (1.0 - WRONG_SHARE) * r["n_marks"]]
        held = [row for row in wrong if row not in refused]
        right = [row for row in refused if row not in wrong]
        yield (
            f"{source}: {len(refused)} of {len(own)} refused; of {len(wrong)} with mostly false marks "
            f"{len(held)} not refused; {len(right)} refused although at least half of the marks are right"
        )


def main() -> None:
    """Measure scans, or report what was measured."""
    parser = argparse.ArgumentParser(prog="python -m validation.protocols")
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("source", nargs="?", choices=["shipped", "independent"], default="shipped")
    parser.add_argument("first", nargs="?", type=int, default=340_000)
    parser.add_argument("n", nargs="?", type=int, default=20)
    parser.add_argument("--thick", action="store_true")
    asked = parser.parse_args()
    if asked.what == "measure":
        _log().parent.mkdir(parents=True, exist_ok=True)
        measure_many(asked.source, asked.first, asked.n, is_thick=asked.thick)
        return
    for line in _report():
        print(line)


if __name__ == "__main__":
    main()
