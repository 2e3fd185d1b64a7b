"""Fine structure of diseased lung: cysts with walls, nets of lines, and holes without walls.

Walls and lines are the faces between the cells of scattered points (Voronoi), thinner than a voxel where
need be; their mass is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from miliary.image.simulate.chest_anatomy import AnatomyParameters, CoarseField
from miliary.image.simulate.other_findings import OtherFindings

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

CYST_HU, WALL_HU, HOLE_HU = -965.0, 15.0, -985.0
DENSE_HU = -400.0


@dataclass(frozen=True)
class Foam:
    """Cells with walls.

    Parameters
    ----------
    weight : str
        Field of the chest that says where, 0 to 1.
    cell_mm : float
        Typical size of a cell [mm].
    wall_mm : float
        Thickness of a wall [mm].
    inside_hu : float or None
        Attenuation of the cells [HU]; None leaves the lung in them.
    """

    weight: str
    cell_mm: float
    wall_mm: float
    inside_hu: float | None


def paint_texture(
    volume: Float32Array,
    p: AnatomyParameters,
    chest: CoarseField,
    other: OtherFindings,
    start: FloatArray,
    step: FloatArray,
) -> None:
    """Draw the fine structure of other disease into a rendered volume.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        Attenuation [HU], changed in place.
    p : AnatomyParameters
        The chest; its seed determines the structure.
    chest : CoarseField
        Its fields, with those of `disease_fields`.
    other : OtherFindings
        Severities.
    start, step : ndarray, shape (3,)
        Position of voxel 0 and voxel size (z, y, x) [mm].
    """
    rng = np.random.default_rng([p.seed, 52])
    uniform = rng.uniform
    if other.emphysema > 0:
        _paint_holes(volume, p, chest, other.emphysema, start, step)
    foams = [
        (other.crazy_paving, Foam("paving", uniform(11, 16), uniform(0.5, 1.1), None)),
        (other.crazy_paving, Foam("paving", uniform(3.5, 5.5), uniform(0.2, 0.5), None)),
        (
            max(other.reticulation, other.honeycombing),
            Foam("net", uniform(4.5, 9.0), uniform(0.35, 0.9), None),
        ),
        (other.honeycombing, Foam("comb", uniform(4.0, 8.0), uniform(0.8, 1.8), CYST_HU)),
    ]
    for k, (severity, foam) in enumerate(foams):
        if severity > 0:
            _paint_foam(volume, foam, chest, start, step, np.random.default_rng([p.seed, 53, k]))


def interpolate_slice(
    field: Float32Array, chest: CoarseField, z_mm: float, y_mm: FloatArray, x_mm: FloatArray
) -> Float32Array:
    """Trilinear values of a coarse field on one fine slice.

    Parameters
    ----------
    field : ndarray of float32, shape (z, y, x)
        One of the fields of `chest`.
    chest : CoarseField
        Gives origin and spacing.
    z_mm : float
        Height of the slice [mm].
    y_mm, x_mm : ndarray, shape (ny,), (nx,)
        Positions [mm].

    Returns
    -------
    ndarray of float32, shape (ny, nx)
    """
    at = np.clip((z_mm - chest.origin_zyx_mm[0]) / chest.spacing_mm, 0, len(field) - 1.001)
    low = int(at)
    layer = field[low] * (low + 1 - at) + field[low + 1] * (at - low)
    for axis, mm in ((0, y_mm), (1, x_mm)):
        at_mm = np.clip((mm - chest.origin_zyx_mm[axis + 1]) / chest.spacing_mm, 0, layer.shape[axis] - 1.001)
        first = at_mm.astype(int)
        weight = (at_mm - first).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        layer = (
            np.take(layer, first, axis=axis) * (1 - weight) + np.take(layer, first + 1, axis=axis) * weight
        )
    return np.asarray(layer, dtype=np.float32)


def _paint_foam(
    volume: Float32Array,
    foam: Foam,
    chest: CoarseField,
    start: FloatArray,
    step: FloatArray,
    rng: np.random.Generator,
) -> None:
    weight = chest.values[foam.weight]
    cells = np.argwhere(weight > 0)
    if len(cells) == 0:
        return
    # One more of them around, so that cells at the rim are as large as the others.
    low = cells.min(axis=0) * chest.spacing_mm + chest.origin_zyx_mm - foam.cell_mm
    high = cells.max(axis=0) * chest.spacing_mm + chest.origin_zyx_mm + foam.cell_mm
    n = max(4, int(np.prod((high - low) / foam.cell_mm)))
    points = rng.uniform(0, 1, (n, 3)) * (high - low) + low
    tree = cKDTree(points)
    y, x = (start[a] + step[a] * np.arange(volume.shape[a]) for a in (1, 2))
    edge = float(step.mean())
    for i in range(len(volume)):
        z = start[0] + i * step[0]
        if not low[0] <= z <= high[0]:
            continue
        share = interpolate_slice(weight, chest, z, y, x)
        rows, columns = np.nonzero(share > 0.02)
        if len(rows) == 0:
            continue
        place = np.column_stack([np.full(len(rows), z), y[rows], x[columns]])
        distance, near = tree.query(place, k=2)
        between = np.linalg.norm(points[near[:, 1]] - points[near[:, 0]], axis=1)
        off = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * between + 1e-9)
        t = foam.wall_mm
        wall = np.clip((0.5 * (t + edge) - off) / min(t, edge), 0, 1) * min(1.0, t / edge)
        here = volume[i, rows, columns]
        new = here if foam.inside_hu is None else np.where(here < DENSE_HU, foam.inside_hu, here)
        new = new + wall * np.maximum(WALL_HU - new, 0)
        volume[i, rows, columns] = here + share[rows, columns] * (new - here)


def _paint_holes(
    volume: Float32Array,
    p: AnatomyParameters,
    chest: CoarseField,
    severity: float,
    start: FloatArray,
    step: FloatArray,
) -> None:
    """Holes of two or three overlapping balls in the middle of lobules, more and larger ones above."""
    rng = np.random.default_rng([p.seed, 54])
    lung = chest.values["lung"]
    cells = np.argwhere(lung > 2.0)
    litres = len(cells) * chest.spacing_mm**3 / 1e6
    n = int(litres * (300 + 2200 * severity))
    place = (cells[rng.integers(0, len(cells), n)] + rng.uniform(-0.5, 0.5, (n, 3))) * chest.spacing_mm
    place = place + chest.origin_zyx_mm
    height = np.clip(place[:, 0] / p.lung_height_mm, 0, 1)
    place = place[rng.random(n) < 0.15 + 0.85 * height]
    edge = float(step.mean())
    last = start + step * (np.array(volume.shape) - 1)
    for center in place[np.all((place > start - 8) & (place < last + 8), axis=1)]:
        size = float(rng.uniform(0.9, 2.2 + 2.6 * severity))
        for _ in range(int(rng.integers(2, 4))):
            middle = center + rng.normal(0, 0.6 * size, 3)
            radius = size * float(rng.uniform(0.6, 1.1))
            low = np.maximum(np.floor((middle - radius - edge - start) / step).astype(int), 0)
            high = np.minimum(np.ceil((middle + radius + edge - start) / step).astype(int) + 1, volume.shape)
            if np.any(high <= low):
                continue
            z, y, x = (start[a] + step[a] * np.arange(low[a], high[a]) - middle[a] for a in range(3))
            off = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
            share = np.clip(0.5 + (radius - off) / edge, 0, 1).astype(np.float32)
            part = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
            part += np.where(part < DENSE_HU, share * np.minimum(np.float32(HOLE_HU) - part, 0), 0)
