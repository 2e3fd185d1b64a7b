"""Disease of the airways as tubes and small bodies: tree-in-bud, wide bronchi, mucus; plates of collapse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from miliary.image.simulate.chest_anatomy import AnatomyParameters, CoarseField
from miliary.image.simulate.negatives import Sheet
from miliary.image.simulate.nodule_population import Body, draw_body
from miliary.image.simulate.other_findings import OtherFindings
from miliary.image.simulate.vessels import ChestTrees, TubeSegments

FloatArray = npt.NDArray[np.float64]

N_CENTRAL_AIRWAYS = 3
MUCUS_HU = 20.0
LEAST_DEPTH_MM = 3.0


@dataclass(frozen=True)
class DiseaseObjects:
    """What other disease adds to a chest as objects.

    Parameters
    ----------
    filled : TubeSegments
        Filled bronchi and bronchioles.
    buds : list of Body
        Rounded ends of filled bronchioles and soft shadows around them.
    plates : list of Sheet
        Plates of collapsed lung.
    rows : list of (kind, center, diameter)
        Discrete findings for the table: center (z, y, x) in the body frame [mm], diameter [mm].
    """

    filled: TubeSegments = field(default_factory=lambda: TubeSegments.join([]))
    buds: list[Body] = field(default_factory=list)
    plates: list[Sheet] = field(default_factory=list)
    rows: list[tuple[str, FloatArray, float]] = field(default_factory=list)


def grow_disease(
    p: AnatomyParameters, chest: CoarseField, trees: ChestTrees, other: OtherFindings
) -> tuple[ChestTrees, DiseaseObjects]:
    """Change the airways of a chest and add what fills them.

    Parameters
    ----------
    p : AnatomyParameters
        The chest; its seed determines where the disease is.
    chest : CoarseField
        Its fields.
    trees : ChestTrees
        Its vessels and airways.
    other : OtherFindings
        Severities.

    Returns
    -------
    ChestTrees
        With wider bronchi where there is bronchiectasis.
    DiseaseObjects
    """
    objects = DiseaseObjects()
    parts: list[TubeSegments] = []
    rng = [np.random.default_rng([p.seed, 51, k]) for k in range(5)]
    if other.bronchiectasis > 0:
        trees = _widen(trees, chest, other.bronchiectasis, rng[0])
    share = max(other.mucus_plugs, 0.35 * other.bronchiectasis, 0.3 * other.aspiration)
    if share > 0:
        parts += _fill_bronchi(trees, share, rng[1], objects)
    if other.tree_in_bud > 0:
        parts += _bud(chest, trees, other.tree_in_bud, rng[2], objects)
    if other.aspiration > 0:
        tips = _dependent(p, trees.tips_zyx_mm)
        parts += _bud(chest, replace(trees, tips_zyx_mm=tips), 0.6 * other.aspiration, rng[3], objects)
        _add_shadows(chest, tips, other.aspiration, rng[3], objects)
    if other.atelectasis > 0:
        _add_plates(p, chest, other.atelectasis, rng[4], objects)
    return trees, replace(objects, filled=TubeSegments.join(parts))


def _dependent(p: AnatomyParameters, tips: FloatArray) -> FloatArray:
    """Tips in the back and lower part of the lungs."""
    return tips[(tips[:, 1] > -0.1 * p.half_depth_mm) & (tips[:, 0] < 0.75 * p.lung_height_mm)]


def _clumps(points: FloatArray, severity: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows of the points in some diseased segments, 25 to 50 mm wide, in each of which many are affected."""
    if len(points) == 0:
        return np.zeros(0, np.int64)
    n = 2 + round(14 * severity * rng.uniform(0.6, 1.4))
    centers = points[rng.integers(0, len(points), n)]
    distance, nearest = cKDTree(centers).query(points)
    reach = rng.uniform(12.0, 18.0 + 10.0 * severity, n)
    affected = rng.uniform(0.3, 0.9, n)
    inside = (distance < reach[nearest]) & (rng.random(len(points)) < affected[nearest])
    return np.flatnonzero(inside)


def _directions(trees: ChestTrees, tips: FloatArray) -> FloatArray:
    """Unit vectors along the arteries at their tips."""
    ends = trees.vessels.ends_zyx_mm
    nearest = cKDTree(ends[:, 1]).query(tips)[1]
    way = ends[nearest, 1] - ends[nearest, 0]
    return np.asarray(way / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-9))


def _bud(
    chest: CoarseField,
    trees: ChestTrees,
    severity: float,
    rng: np.random.Generator,
    objects: DiseaseObjects,
) -> list[TubeSegments]:
    """Filled bronchioles beside the last arteries: a stem, two to five side twigs, a bud at most ends."""
    tips = trees.tips_zyx_mm[_clumps(trees.tips_zyx_mm, severity, rng)]
    if len(tips) == 0:
        return []
    ends: list[FloatArray] = []
    radii: list[tuple[float, float]] = []
    for tip, way in zip(tips, _directions(trees, tips), strict=True):
        aside = np.cross(way, rng.standard_normal(3))
        aside /= np.linalg.norm(aside) + 1e-9
        stem = np.stack([tip - rng.uniform(3, 8) * way, tip]) + 1.1 * aside
        caliber = float(rng.uniform(0.45, 0.85))
        ends.append(stem)
        radii.append((caliber, 0.9 * caliber))
        for _ in range(int(rng.integers(2, 6))):
            start = stem[0] + rng.uniform(0.3, 1.0) * (stem[1] - stem[0])
            across = np.cross(way, rng.standard_normal(3))
            across /= np.linalg.norm(across) + 1e-9
            angle = np.radians(rng.uniform(25, 70))
            end = start + rng.uniform(2.0, 5.0) * (np.cos(angle) * way + np.sin(angle) * across)
            if chest.sample("lung", end[None])[0] < LEAST_DEPTH_MM:
                continue
            ends.append(np.stack([start, end]))
            radii.append((0.85 * caliber, 0.75 * caliber))
            if rng.random() < 0.8:
                size = float(2 * caliber * rng.uniform(1.1, 2.0))
                shape = "lobulated" if rng.random() < 0.5 else "ellipsoid"
                objects.buds.append(
                    draw_body(end, size, rng.uniform(0, 45), shape=shape, axis_ratio=1.4, rng=rng)
                )
                objects.rows.append(("bud", end, size))
    return [TubeSegments(np.array(ends), np.array(radii))]


def _add_shadows(
    chest: CoarseField, tips: FloatArray, severity: float, rng: np.random.Generator, objects: DiseaseObjects
) -> None:
    """Soft nodular shadows of filled acini, 4 to 9 mm wide."""
    tips = tips[_clumps(tips, 0.5 * severity, rng)]
    tips = tips[rng.random(len(tips)) < 0.3]
    for tip in tips[chest.sample("lung", tips) > 5.0] if len(tips) else tips:
        size = float(rng.uniform(4.0, 9.0))
        hu = float(rng.uniform(-550, -150))
        objects.buds.append(draw_body(tip, size, hu, shape="lobulated", axis_ratio=1.4, rng=rng))
        objects.rows.append(("shadow", tip, size))


def _offset_beside(segments: TubeSegments, gap_mm: FloatArray) -> FloatArray:
    """Shift (n, 3) aside of the tubes, smooth along a branch [mm]."""
    way = segments.ends_zyx_mm[:, 1] - segments.ends_zyx_mm[:, 0]
    way = way / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-9)
    middle = segments.ends_zyx_mm.mean(axis=1)
    aside = np.tile([0.3, 0.8, 0.0], (len(way), 1))
    aside[:, 2] = -np.sign(middle[:, 2])
    aside = aside - np.sum(way * aside, axis=1, keepdims=True) * way
    return np.asarray(aside / (np.linalg.norm(aside, axis=1, keepdims=True) + 1e-9) * gap_mm[:, None])


def _widen(trees: ChestTrees, chest: CoarseField, severity: float, rng: np.random.Generator) -> ChestTrees:
    """Wider lumens with thick walls in some segments, and bronchi seen that are normally too small."""
    middle = trees.walls.ends_zyx_mm.mean(axis=1)
    vessel = trees.vessels.ends_zyx_mm.mean(axis=1)
    if len(middle) == 0:
        return trees
    n = 2 + round(8 * severity)
    centers = middle[rng.integers(0, len(middle), n)]
    tree = cKDTree(centers)
    reach = rng.uniform(20.0, 45.0, n)
    distance, near = tree.query(middle)
    hit = distance < reach[near]
    factor = 1.0 + rng.uniform(0.5, 0.6 + 1.6 * severity, n)
    # Varicose: the caliber changes along the bronchus.
    wave = 1.0 + 0.2 * np.sin(middle @ np.array([0.7, 0.5, 0.6]))
    wall = rng.uniform(0.5, 1.3, n)
    lumens, walls = trees.lumens.radius_mm.copy(), trees.walls.radius_mm.copy()
    first = N_CENTRAL_AIRWAYS
    wide = (factor[near] * wave)[:, None] * lumens[first:]
    lumens[first:] = np.where(hit[:, None], wide, lumens[first:])
    walls[hit] = (wide + wall[near][:, None] + 0.08 * wide)[hit]

    distance, near = tree.query(vessel)
    radius = trees.vessels.radius_mm.mean(axis=1)
    far = (distance < reach[near]) & (radius > 0.55) & (radius < 1.1)
    far &= chest.sample("lung", vessel) > 4.0
    some = TubeSegments(trees.vessels.ends_zyx_mm[far], trees.vessels.radius_mm[far])
    wide = some.radius_mm * (0.9 * factor[near[far]])[:, None]
    shift = _offset_beside(some, radius[far] + wide.mean(axis=1) + wall[near[far]])
    moved = some.ends_zyx_mm + shift[:, None]
    outer = TubeSegments(moved, wide + wall[near[far]][:, None])
    return replace(
        trees,
        walls=TubeSegments.join([TubeSegments(trees.walls.ends_zyx_mm, walls), outer]),
        lumens=TubeSegments.join([TubeSegments(trees.lumens.ends_zyx_mm, lumens), TubeSegments(moved, wide)]),
    )


def _fill_bronchi(
    trees: ChestTrees, share: float, rng: np.random.Generator, objects: DiseaseObjects
) -> list[TubeSegments]:
    """Mucus in runs of small bronchi: all pieces of the lumens near some points."""
    ends = trees.lumens.ends_zyx_mm[N_CENTRAL_AIRWAYS:]
    radius = trees.lumens.radius_mm[N_CENTRAL_AIRWAYS:]
    small = radius.max(axis=1) < 4.0
    ends, radius = ends[small], radius[small]
    if len(ends) == 0:
        return []
    middle = ends.mean(axis=1)
    n = 4 + round(50 * share)
    centers = middle[rng.integers(0, len(middle), n)]
    distance, near = cKDTree(centers).query(middle)
    filled = distance < rng.uniform(2.5, 9.0, n)[near]
    for k in np.unique(near[filled]):
        mine = filled & (near == k)
        objects.rows.append(("mucus_plug", middle[mine].mean(axis=0), float(2 * radius[mine].mean())))
    return [TubeSegments(ends[filled], 1.05 * radius[filled])]


def _add_plates(
    p: AnatomyParameters,
    chest: CoarseField,
    severity: float,
    rng: np.random.Generator,
    objects: DiseaseObjects,
) -> None:
    """Plates of 15 to 50 mm and 1 to 3 mm at the bases, mostly level, reaching towards the pleura."""
    lung = chest.values["lung"]
    cells = np.argwhere((lung > 4) & (lung < 25))
    cells = cells[cells[:, 0] * chest.spacing_mm + chest.origin_zyx_mm[0] < 0.45 * p.lung_height_mm]
    for _ in range(2 + round(8 * severity) if len(cells) else 0):
        center = cells[rng.integers(len(cells))] * chest.spacing_mm + chest.origin_zyx_mm
        axes = np.linalg.qr(np.array([[0.2, 0, 1], [0.2, 1, 0], [1, 0, 0]]) + 0.35 * rng.normal(size=(3, 3)))[
            0
        ]
        long_, wide = float(rng.uniform(8, 25)), float(rng.uniform(6, 18))
        thick = float(rng.uniform(1.0, 3.0))
        objects.plates.append(Sheet(center, axes.T, (long_, wide), thick, float(rng.normal(0, 0.006))))
        objects.rows.append(("plate", center, 2 * long_))
