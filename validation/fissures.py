"""One attempt at finding fissures, with its recall: ``python -m validation.fissures``.

A fissure is a bright sheet thinner than a voxel. Voxels whose attenuation is bent across one direction only
(Hessian at 1 mm) and that have company in their own plane, not beside it, are taken for it. Recall is the
part of the true sheets within 2 mm of what was found, precision the part of what was found within 2 mm of a
true sheet, both more than 4 mm from the surface; the filter knows neither vessels nor nodules beyond that.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, zoom
from scipy.spatial import cKDTree

from training.patterns import Anatomy
from validation.pattern_ways import make_chest

F64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

GRID_MM = 1.0
SIGMA_MM = 1.0
MARGIN_MM = 4.0
HIT_MM = 2.0
DISC_MM = 6.0
FIRST_SEED = 700_000


@dataclass(frozen=True)
class Settings:
    """Least bend across the sheet in noise units, most bend along it, least company, least area [mm2]."""

    bend: float = 1.3
    along: float = 0.5
    company: float = 0.4
    area_mm2: float = 100.0


def find_sheets(voxels: npt.NDArray[np.generic], lung: Labels, spacing: F64, settings: Settings) -> F64:
    """Points (n, 3) in mm from the first voxel that look like fissure."""
    factor = spacing / GRID_MM
    hu = zoom(voxels.astype(np.float32), factor, order=1)
    inside = zoom(lung > 0, factor, order=0)
    padded = np.pad(inside, 1, constant_values=True)
    deep = distance_transform_edt(padded)[1:-1, 1:-1, 1:-1] > MARGIN_MM
    smooth = gaussian_filter(np.minimum(hu, -300.0), SIGMA_MM)
    first = np.gradient(smooth)
    hessian = {}
    for a in range(3):
        second = np.gradient(first[a])
        hessian |= {(a, b): second[b] for b in range(a, 3)}
    trace = hessian[0, 0] + hessian[1, 1] + hessian[2, 2]
    noise = 1.4826 * float(np.median(np.abs(trace[deep] - np.median(trace[deep]))))
    rows = np.argwhere(deep & (trace < -0.8 * settings.bend * noise) & (smooth < -450))
    at = tuple(rows.T)
    matrix = np.stack(
        [np.stack([hessian[min(a, b), max(a, b)][at] for b in range(3)], -1) for a in range(3)], -2
    )
    value, vector = np.linalg.eigh(matrix)
    is_sheet = (value[:, 0] < -settings.bend * noise) & (
        np.abs(value[:, 1:]).max(1) < -settings.along * value[:, 0]
    )
    points, normal = rows[is_sheet].astype(float) * GRID_MM, vector[is_sheet][:, :, 0]
    if len(points) < 10:
        return np.empty((0, 3))
    company = _count_company(points, normal)
    points = points[company > settings.company]
    mask = np.zeros(hu.shape, bool)
    mask[tuple((points / GRID_MM).astype(int).T)] = True
    pieces, n = label(mask, structure=np.ones((3, 3, 3)))
    size = np.bincount(pieces.ravel(), minlength=n + 1)
    keep = size * GRID_MM**2 >= settings.area_mm2
    keep[0] = False
    return np.argwhere(keep[pieces]) * GRID_MM


def _count_company(points: F64, normal: F64) -> F64:
    """Share of the disc around each point, in its plane, that is filled; less what lies beside the plane."""
    tree = cKDTree(points)
    out = np.zeros(len(points))
    full = np.pi * DISC_MM**2
    for i, near in enumerate(tree.query_ball_point(points, DISC_MM)):
        off = (points[near] - points[i]) @ normal[i]
        agree = np.abs(normal[near] @ normal[i]) > 0.85
        in_plane = np.count_nonzero((np.abs(off) < 1.2) & agree)
        out[i] = (in_plane - np.count_nonzero(np.abs(off) > 2.0)) * GRID_MM**2 / full
    return out


def score(chest: Anatomy, settings: Settings) -> tuple[float, float, int]:
    """Recall, precision, and number of true places, in one chest."""
    spacing = np.asarray(chest.scan.grid.spacing_zyx_mm)
    found = find_sheets(chest.scan.voxels_hu, chest.labels, spacing, settings) + chest.low_mm
    rng = np.random.default_rng(5)
    points = chest.uniform(60_000, rng)
    points = points[np.all((points > chest.low_mm + 3) & (points < chest.high_mm - 3), axis=1)]
    points = points[(chest.depth_mm(points) > MARGIN_MM + 1) & (np.abs(chest.fissure_mm(points)) < 0.8)]
    if not len(points):
        return float("nan"), float("nan"), 0
    if not len(found):
        return 0.0, float("nan"), len(points)
    recall = float((cKDTree(found).query(points)[0] < HIT_MM).mean())
    return recall, float((np.abs(chest.fissure_mm(found)) < HIT_MM).mean()), len(points)


def main() -> int:
    """Print recall and precision over simulated chests."""
    parser = argparse.ArgumentParser(prog="python -m validation.fissures", description=__doc__)
    parser.add_argument("--n", type=int, default=6, help="chests of each simulator")
    options = parser.parse_args()
    for source in ("shipped", "independent"):
        rows = [score(make_chest(source, FIRST_SEED + k), Settings()) for k in range(options.n)]
        table = np.array([row[:2] for row in rows if row[2] > 50])
        for row in table:
            print(source, np.round(row, 2))
        recall, precision = np.nanmedian(table, axis=0)
        print(f"{source}: recall median {recall:.2f}, precision {precision:.2f}, {len(table)} chests")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
