"""Draw a sample of the marks on a real scan to be looked at: ``python -m validation.marks real-0314``.

Nothing was inserted, so each mark is a false one or a nodule the patient really has. Per mark: a 5 mm slab
(maximum), and thin axial, coronal and sagittal crops 30 mm wide. The sheet goes outside the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from miliary.model.nodules import Nodules
from miliary.model.scan import Scan
from validation.cases import REAL, cache_folder, read_real

FloatArray = npt.NDArray[np.float64]

WIDTH_MM = 30.0
SLAB_MM = 5.0
TILE = 88
MARGIN = 4
CAPTION = 12
WINDOW_HU = (-1100.0, 300.0)
COLUMNS = 3


def sample_marks(n_marks: int, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Seeded sample of row numbers, in order."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(n_marks, min(n, n_marks), replace=False))


def crop_views(scan: Scan, point_lps_mm: FloatArray) -> list[npt.NDArray[np.uint8]]:
    """Slab, axial, coronal and sagittal view around a point, `TILE` pixels square, head and front up."""
    offset = (np.arange(TILE) + 0.5) / TILE * WIDTH_MM - WIDTH_MM / 2
    centre = scan.grid.index_from_lps(point_lps_mm)
    spacing = np.asarray(scan.grid.spacing_zyx_mm)

    def plane(rows: int, columns: int, across_mm: float = 0.0) -> FloatArray:
        down, along = np.meshgrid(-offset if rows == 0 else offset, offset, indexing="ij")
        index = np.broadcast_to(centre[:, None, None], (3, TILE, TILE)).copy()
        index[rows] += down / spacing[rows]
        index[columns] += along / spacing[columns]
        index[3 - rows - columns] += across_mm / spacing[3 - rows - columns]
        return map_coordinates(scan.voxels_hu, index, output=np.float64, order=1, mode="nearest")

    steps = np.arange(-SLAB_MM / 2, SLAB_MM / 2 + 0.1, min(1.0, float(spacing[0])))
    slab = np.max([plane(1, 2, step) for step in steps], axis=0)
    low, high = WINDOW_HU
    return [
        (np.clip((view - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        for view in (slab, plane(1, 2), plane(0, 2), plane(0, 1))
    ]


def render_sheet(scan: Scan, nodules: Nodules, chosen: npt.NDArray[np.int64]) -> Image.Image:
    """Contact sheet of the chosen rows."""
    captions = [
        f"id {nodules['id'][row]}  {nodules['diameter_mm'][row]:.1f} mm"
        f"  p {nodules['probability'][row]:.2f}  {nodules['attenuation'][row]}  {nodules['flags'][row]}"
        for row in chosen
    ]
    return render_points(scan, nodules.position_lps_mm[chosen], captions)


def render_points(scan: Scan, points_lps_mm: FloatArray, captions: Sequence[str]) -> Image.Image:
    """Contact sheet of points (n, 3), numbered from 1, each under its caption."""
    width = 4 * TILE + 3 * MARGIN
    height = TILE + CAPTION
    n_rows = -(-len(captions) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (width + 3 * MARGIN), max(n_rows, 1) * (height + MARGIN)), 60)
    draw = ImageDraw.Draw(sheet)
    for place, (point, caption) in enumerate(zip(points_lps_mm, captions, strict=True)):
        left = place % COLUMNS * (width + 3 * MARGIN)
        top = place // COLUMNS * (height + MARGIN)
        for i, view in enumerate(crop_views(scan, point)):
            sheet.paste(Image.fromarray(view), (left + i * (TILE + MARGIN), top + CAPTION))
        draw.text((left, top), f"{place + 1}: {caption}", fill=255)
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Find, sample, draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.marks", description=__doc__)
    parser.add_argument("scan", choices=[case.name for case in REAL])
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="other weights than the shipped ones")
    parser.add_argument("--out", type=Path, help="folder of the sheet, by default the cache")
    options = parser.parse_args(arguments)
    if options.weights:
        os.environ["MILIARY_WEIGHTS"] = str(options.weights.resolve())
    from miliary.pipeline import find_nodules

    scan = read_real(next(case for case in REAL if case.name == options.scan))
    result = find_nodules(scan)
    chosen = sample_marks(len(result.nodules), options.n, options.seed)
    folder = options.out or cache_folder() / "marks"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / f"{options.scan}-seed{options.seed}.png"
    render_sheet(scan, result.nodules, chosen).save(sheet)
    rate = len(result.nodules) / result.lung_litres
    print(f"{options.scan}: {len(result.nodules)} marks, {rate:.1f} per litre; sheet {sheet.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
