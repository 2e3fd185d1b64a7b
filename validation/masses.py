"""Masses on mediastinum, hilum, chest wall and diaphragm: ``python -m validation.masses``.

One mass on each of the four sites is drawn into a whole chest, simulated or real; the lungs are found anew
with the masses in it, as they would be. Truth is what of a mass lies in the lung as it was before.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.lesions.large_lesions import LesionsFound, find_lesions
from miliary.image.quality.blur import estimate_psf
from miliary.model.ct_result import Lungs
from miliary.model.scan import Scan
from validation.cases import CASES, Case, load_simulated, read_real
from validation.lesion_scans import SURFACES, Background, LesionPlan, LesionTruth, insert_lesion, thicken
from validation.lesions import LUNGS

FloatArray = npt.NDArray[np.float64]
SITES = ("wall", "mediastinum", "hilum", "diaphragm")
DIAMETER_MM, DEPTH_SHARE, MIN_LONG_MM, MIN_FILL = (12.0, 50.0), (0.0, 0.6), 10.0, 0.4
SLICE_MM, GAP_MM, N_TRIES = 2.5, 12.0, 40
WITHIN = 0.15


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.masses", description=__doc__)
    parser.add_argument("--only", default="ind-healthy,ship-healthy", help="lungs, separated by commas")
    parser.add_argument("--n", type=int, default=3, help="chests per lung, of four masses each")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="append one JSON line per mass here")
    parser.add_argument("--summarize", type=Path, help="only print the figures of such a file")
    options = parser.parse_args(arguments)
    if options.summarize:
        print(summarize([json.loads(line) for line in options.summarize.read_text().splitlines()]))
        return 0
    rows = []
    for name in options.only.split(","):
        background = load_background(next(case for case in CASES if case.name == name))
        for i in range(options.n):
            for row in measure_chest(background, name, i, seed=options.seed):
                rows.append(row)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    print(summarize(rows))
    return 0


def load_background(case: Case) -> Background:
    """A chest without masses of its own, in slices of 2.5 mm where it is simulated."""
    if case.source == "real":
        scan = read_real(case)
        lungs, _ = find_lungs(scan)
        step = scan.grid.spacing_zyx_mm[0]
        return Background(scan, lungs, float(case.settings["blur"]["fwhm_mm"]), step, 25.0)
    loaded = load_simulated(case)
    fwhm_mm, noise_hu = LUNGS[case.name]
    grid = loaded.scan.grid
    lungs = Lungs(loaded.labels, grid.voxel_volume_mm3)
    sharp = Background(loaded.scan, lungs, fwhm_mm, grid.spacing_zyx_mm[0], noise_hu)
    return thicken(sharp, SLICE_MM)


def measure_chest(background: Background, name: str, i: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """One row per mass of one chest."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), i])
    scan, drawn = draw_masses(rng, background)
    lungs, _ = find_lungs(scan)
    found = find_lesions(scan, lungs, psf=estimate_psf(scan))
    hits = [find_hit(scan, found, truth) for _, _, truth in drawn]
    n_false = len(found.lesions) - len({hit for hit in hits if hit is not None})
    for k, ((site, plan, truth), hit) in enumerate(zip(drawn, hits, strict=True)):
        lesion = None if hit is None else found.lesions[hit]
        yield {
            "lung": name,
            "chest": i,
            "site": site,
            "surface": plan.surface,
            "diameter_mm": plan.diameter_mm,
            "true_long_mm": truth.long_axis_mm,
            "true_short_mm": truth.short_axis_mm,
            "center_zyx": [round(float(v), 1) for v in truth.center_index],
            "long_mm": lesion.long_axis_mm if lesion else None,
            "short_mm": lesion.short_axis_mm if lesion else None,
            "attachment": lesion.attachment.value if lesion else None,
            "is_said": lesion is None and is_said(scan, found, truth, plan),
            "n_false": n_false if k == 0 else 0,
        }


def find_hit(scan: Scan, found: LesionsFound, truth: LesionTruth) -> int | None:
    """Number of the lesion that lies on a mass: its center is within half the longest diameter."""
    center = scan.grid.lps_from_index(truth.center_index)
    away = [float(np.linalg.norm(np.asarray(x.centroid_lps_mm) - center)) for x in found.lesions]
    near = [k for k, d in enumerate(away) if d < 0.5 * truth.long_axis_mm]
    return min(near, key=lambda k: away[k]) if near else None


def is_said(scan: Scan, found: LesionsFound, truth: LesionTruth, plan: LesionPlan) -> bool:
    """Whether the mass is said to be an opacity whose nature is not decided."""
    center = scan.grid.lps_from_index(truth.center_index)
    return any(
        float(np.linalg.norm(np.asarray(x.position_lps_mm) - center)) < 0.7 * plan.diameter_mm
        for x in found.opacities
    )


def draw_masses(
    rng: np.random.Generator, background: Background
) -> tuple[Scan, list[tuple[str, LesionPlan, LesionTruth]]]:
    """A chest with one mass on each site that has room for it."""
    surface = _Surface(background)
    voxels = background.scan.voxels_hu.copy()
    spacing = np.asarray(background.scan.grid.spacing_zyx_mm)
    drawn: list[tuple[str, LesionPlan, LesionTruth]] = []
    for site in SITES:
        low, high = np.log(DIAMETER_MM)
        for _ in range(N_TRIES):
            diameter = float(np.exp(rng.uniform(low, high)))
            plan = LesionPlan(
                diameter,
                None,
                SURFACES[int(rng.integers(len(SURFACES)))],
                density_hu=rng.uniform(10.0, 70.0),
                fine_mm=0.3 if diameter < 20.0 else 0.6,
            )
            index = surface.draw(rng, site, diameter)
            if index is None or _is_crowded(index, plan, drawn, spacing):
                continue
            now = replace(background, scan=replace(background.scan, voxels_hu=voxels))
            part, _, truth = insert_lesion(rng, now, plan, index, joins_wall=True)
            filled = truth.volume_mm3 / (np.pi / 6.0 * diameter**3)
            if truth.long_axis_mm < MIN_LONG_MM or filled < MIN_FILL:
                continue
            start = np.rint(index - truth.center_index).astype(int)
            view = tuple(slice(a, a + n) for a, n in zip(start, part.voxels_hu.shape, strict=True))
            voxels[view] = part.voxels_hu
            drawn.append((site, plan, replace(truth, center_index=index)))
            break
    return replace(background.scan, voxels_hu=voxels), drawn


def _is_crowded(
    index: FloatArray,
    plan: LesionPlan,
    drawn: Sequence[tuple[str, LesionPlan, LesionTruth]],
    spacing: FloatArray,
) -> bool:
    """Whether a mass would come near one that is drawn already."""
    return any(
        float(np.linalg.norm((truth.center_index - index) * spacing))
        < 0.6 * (plan.diameter_mm + other.diameter_mm) + GAP_MM
        for _, other, truth in drawn
    )


class _Surface:
    """The surface of the lungs of a chest by what lies beyond it."""

    def __init__(self, background: Background) -> None:
        self._spacing = np.asarray(background.scan.grid.spacing_zyx_mm)
        self._stride = np.maximum(1, np.round(3.0 / self._spacing)).astype(int)
        labels = background.lungs.labels[tuple(slice(None, None, s) for s in self._stride)]
        step = self._spacing * self._stride
        lung = ndimage.binary_closing(labels > 0, iterations=2)
        smooth = ndimage.gaussian_filter(lung.astype(np.float32), 6.0 / step)
        inward = np.stack(np.gradient(smooth, *step), axis=-1)
        rim = lung & ~ndimage.binary_erosion(lung)
        rim[[0, -1]] = False
        self._places = np.argwhere(rim)
        normal = inward[tuple(self._places.T)]
        self._normal = normal / np.maximum(np.linalg.norm(normal, axis=1), 1e-6)[:, None]
        z, y, x = (np.flatnonzero(lung.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3))
        side = np.where(labels[tuple(self._places.T)] == 1, -1.0, 1.0)
        height = (self._places[:, 0] - z[0]) / max(1, z[-1] - z[0])
        depth = (self._places[:, 1] - y[0]) / max(1, y[-1] - y[0])
        off_mm = np.abs(self._places[:, 2] - 0.5 * (x[0] + x[-1])) * step[2]
        outward = self._normal[:, 2] * side
        is_medial = (outward > 0.6) & (off_mm < 75.0)
        is_hilar = is_medial & (np.abs(height - 0.55) < 0.1) & (np.abs(depth - 0.5) < 0.15)
        self._is_on = {
            "wall": (outward < -0.3) & (height > 0.15) & (height < 0.9),
            "hilum": is_hilar,
            "mediastinum": is_medial & ~is_hilar & (height > 0.2) & (height < 0.9),
            "diaphragm": (self._normal[:, 0] > 0.6) & (height < 0.5),
        }

    def draw(self, rng: np.random.Generator, site: str, diameter_mm: float) -> FloatArray | None:
        """Index of the middle of a mass on a site; None where the chest has no such place."""
        choice = np.flatnonzero(self._is_on[site])
        if not len(choice):
            return None
        k = int(rng.choice(choice))
        depth_mm = rng.uniform(*DEPTH_SHARE) * diameter_mm / 2.0
        index = self._places[k] * self._stride + self._normal[k] * depth_mm / self._spacing
        return np.asarray(index + rng.uniform(-0.5, 0.5, 3))


def summarize(rows: list[dict[str, Any]]) -> str:
    """Figures of the rows as text: all together, by site, by kind of lung and by size."""
    groups = {"all": rows}
    for site in SITES:
        groups[site] = [row for row in rows if row["site"] == site]
    for source in ("ship", "ind", "real"):
        groups[source] = [row for row in rows if row["lung"].startswith(source)]
    groups["longest diameter < 20 mm"] = [row for row in rows if row["true_long_mm"] < 20.0]
    groups["20 mm and more"] = [row for row in rows if row["true_long_mm"] >= 20.0]
    return "\n".join(f"{name}: {_describe(group)}" for name, group in groups.items() if group)


def _describe(rows: list[dict[str, Any]]) -> str:
    found = [row for row in rows if row["long_mm"] is not None]
    words = [
        f"n {len(rows)}, found {len(found)} ({len(found) / len(rows):.1%})",
        f"said to be undecided {sum(row['is_said'] for row in rows)}",
        f"other lesions {sum(row['n_false'] for row in rows)}",
    ]
    if found:
        share = np.array([row["long_mm"] / row["true_long_mm"] - 1.0 for row in found])
        good = int(np.count_nonzero(np.abs(share) <= WITHIN))
        words.append(
            f"longest diameter within {WITHIN:.0%} in {good} ({good / len(found):.1%} of found), "
            f"median {np.median(share):+.1%}, worst {share[np.abs(share).argmax()]:+.1%}"
        )
    return "; ".join(words)


if __name__ == "__main__":
    sys.exit(main())
