"""An independent chest CT simulator: other anatomy, other rendering and other noise than the shipped one.

It exists so that no figure of the validation rests on one simulator alone. Anatomy and drawing are in
`independent_anatomy` and `independent_render`; this module places disease and keeps the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from miliary.model.scan import Acquisition, Grid, Scan
from validation.independent_anatomy import (
    COARSE_MM,
    Fields,
    Tubes,
    make_airways,
    make_bones_and_table,
    make_fields,
    make_vessels,
)
from validation.independent_disease import add_artifacts, add_disease
from validation.independent_render import Bodies, Optics, Plates, label_lungs, render, render_noise

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ATTACHED_GAP_MM = 0.5


@dataclass(frozen=True)
class Protocol:
    """Grid, blur and noise of a simulated acquisition; `tips_per_ml` bounds the density of vessel tips."""

    shape_zyx: tuple[int, int, int] = (350, 512, 512)
    spacing_zyx_mm: tuple[float, float, float] = (1.0, 0.7, 0.7)
    optics: Optics = field(default_factory=Optics)
    noise_hu: float = 20.0
    streaks: float = 0.4
    tips_per_ml: tuple[float, float] = (2.2, 3.6)


@dataclass(frozen=True)
class Disease:
    """What is put into the lungs.

    Parameters
    ----------
    n_nodules : int
    diameter_mm : tuple of float
        Equivalent-sphere diameters are uniform in this range.
    density_hu : tuple of float
    irregular_share : float
        Share of nodules that are lobulated ellipsoids instead of spheres.
    n_calcified : int
        Calcified granulomas of 1.5-4 mm and 300-900 HU.
    has_lesion : bool
        One cavitary mass of 25-40 mm.
    has_hard_negatives : bool
        Emphysema, ground glass, septal lines, scars and mucus plugs.
    others : mapping of str to float
        Severity, 0 to 1, of other disease and of artifacts, by the kinds of `independent_disease`.
    """

    n_nodules: int = 1000
    diameter_mm: tuple[float, float] = (1.0, 3.0)
    density_hu: tuple[float, float] = (20.0, 60.0)
    irregular_share: float = 0.3
    n_calcified: int = 0
    has_lesion: bool = False
    has_hard_negatives: bool = False
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Simulated:
    """A simulated scan with its truth.

    Parameters
    ----------
    scan : Scan
    truth : DataFrame
        One row per nodule, calcified nodule and lesion: `x_mm, y_mm, z_mm, diameter_mm, volume_mm3, side,
        zone, kind, density_hu, shape, attached, pleural`.
    labels : ndarray of uint8, shape (z, y, x)
        0 outside, 1 right lung, 2 left lung.
    """

    scan: Scan
    truth: pd.DataFrame
    labels: npt.NDArray[np.uint8]


def simulate_independent(
    seed: int, *, protocol: Protocol | None = None, disease: Disease | None = None
) -> Simulated:
    """Simulate one chest CT.

    Anatomy depends on the seed and the field of view alone, so the same seed with another `disease` or
    `optics` is the same patient.
    """
    protocol, disease = protocol or Protocol(), disease or Disease()
    streams = [np.random.default_rng([seed, part]) for part in range(6)]
    nz, ny, nx = protocol.shape_zyx
    dz, dy, dx = protocol.spacing_zyx_mm
    fields = make_fields(streams[0], (nx * dx, ny * dy, nz * dz))
    arteries, veins = make_vessels(streams[1], fields, tips_per_ml=streams[1].uniform(*protocol.tips_per_ml))
    walls, lumina, trunk = make_airways(streams[2], fields, arteries)
    bones = make_bones_and_table(streams[2], fields)
    negatives: list[Tubes | Plates | Bodies] = []
    if disease.has_hard_negatives:
        fields, negatives = _add_hard_negatives(streams[3], fields, arteries)
    if disease.others:
        fields, added = add_disease(np.random.default_rng([seed, 6]), fields, arteries, disease.others)
        negatives += added
    structures = np.concatenate([arteries.rows, veins.rows, walls.rows])
    nodules, truth = _place(streams[4], fields, structures, disease)
    objects: list[Tubes | Plates | Bodies] = [
        bones,
        trunk,
        walls,
        lumina,
        veins,
        arteries,
        *negatives,
        *nodules,
    ]
    voxels = render(
        protocol.shape_zyx,
        protocol.spacing_zyx_mm,
        fields,
        objects,
        protocol.optics,
        fine_z_mm=max(0.35, dz / 4),
    )
    labels = label_lungs(fields, protocol.shape_zyx, protocol.spacing_zyx_mm)
    if protocol.noise_hu > 0:
        voxels += render_noise(
            streams[5],
            protocol.shape_zyx,
            protocol.spacing_zyx_mm,
            protocol.optics,
            labels > 0,
            noise_hu=protocol.noise_hu,
            streaks=protocol.streaks,
        )
    if disease.others:
        add_artifacts(np.random.default_rng([seed, 7]), voxels, disease.others)
    scan = Scan(
        np.clip(np.rint(voxels), -1024, 3071).astype(np.int16),
        Grid(protocol.shape_zyx, protocol.spacing_zyx_mm, fields.origin_mm),
        Acquisition(
            modality="CT", kernel="SIMULATED", slice_thickness_mm=protocol.optics.slice_mm, kvp=120.0
        ),
    )
    return Simulated(scan, _with_side_and_zone(truth, fields), labels)


def _random_points(generator: np.random.Generator, fields: Fields, n: int, depth_mm: float) -> FloatArray:
    """Uniform points of the lungs at least `depth_mm` below the pleura."""
    index = np.argwhere(fields.lung_mm < 1.0)
    chosen: list[FloatArray] = []
    while sum(map(len, chosen)) < n:
        pick = index[generator.integers(len(index), size=2 * n + 16)]
        points = (pick + generator.uniform(-0.5, 0.5, pick.shape))[:, ::-1] * COARSE_MM
        points = points + np.asarray(fields.origin_mm)
        chosen.append(points[fields.at(fields.lung_mm, points) < -depth_mm])
    return np.concatenate(chosen)[:n]


def _unit_maps(
    generator: np.random.Generator, radius_mm: FloatArray, is_irregular: BoolArray, stretch: float
) -> FloatArray:
    """Maps of volume-preserving ellipsoids of random orientation to the unit ball."""
    maps = np.empty((len(radius_mm), 3, 3))
    for i, (radius, irregular) in enumerate(zip(radius_mm, is_irregular, strict=True)):
        axes = generator.uniform(1 / stretch, stretch, 3) if irregular else np.ones(3)
        axes /= np.prod(axes) ** (1 / 3)
        rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        maps[i] = (rotation / (radius * axes)).T
    return maps


def _bodies(
    generator: np.random.Generator,
    centre_mm: FloatArray,
    radius_mm: FloatArray,
    hu: FloatArray,
    is_irregular: BoolArray,
    *,
    stretch: float = 1.25,
    lobulation: float = 0.12,
) -> Bodies:
    maps = _unit_maps(generator, radius_mm, is_irregular, stretch)
    return Bodies(centre_mm, maps, radius_mm, np.where(is_irregular, lobulation, 0.0), hu)


def _place(
    generator: np.random.Generator, fields: Fields, structures: FloatArray, disease: Disease
) -> tuple[list[Tubes | Plates | Bodies], pd.DataFrame]:
    """Nodules, calcified nodules and the lesion, with one truth row each."""
    painted: list[Tubes | Plates | Bodies] = []
    rows: list[pd.DataFrame] = []
    lesion_mm, lesion_radius = np.zeros(3), 0.0
    if disease.has_lesion:
        parts, row = _lesion(generator, fields)
        lesion_mm, lesion_radius = row[["x_mm", "y_mm", "z_mm"]].to_numpy()[0], row["diameter_mm"].iloc[0] / 2
        painted += parts
        rows.append(row)
    n = disease.n_nodules + disease.n_calcified
    is_calcified = np.arange(n) >= disease.n_nodules
    diameter = np.where(
        is_calcified, generator.uniform(1.5, 4.0, n), generator.uniform(*disease.diameter_mm, size=n)
    )
    hu = np.where(
        is_calcified, generator.uniform(300, 900, n), generator.uniform(*disease.density_hu, size=n)
    )
    vessel_tree, vessel_radius = _axis_points(structures)
    centre = _spread(generator, fields, diameter / 2, vessel_tree, vessel_radius, lesion_mm, lesion_radius)
    is_irregular = generator.random(n) < disease.irregular_share
    painted.append(_bodies(generator, centre, diameter / 2, hu, is_irregular))
    gap = _gap_to_structures(fields, centre, diameter / 2, vessel_tree, vessel_radius)
    rows.append(
        pd.DataFrame(
            {
                "x_mm": centre[:, 0],
                "y_mm": centre[:, 1],
                "z_mm": centre[:, 2],
                "diameter_mm": diameter,
                "volume_mm3": np.pi / 6 * diameter**3,
                "kind": np.where(is_calcified, "calcified", "nodule"),
                "density_hu": hu,
                "shape": np.where(is_irregular, "irregular", "sphere"),
                "attached": gap < ATTACHED_GAP_MM,
                "pleural": -fields.at(fields.lung_mm, centre) - diameter / 2 < ATTACHED_GAP_MM,
            }
        )
    )
    return painted, pd.concat(rows, ignore_index=True)


def _axis_points(structures: FloatArray) -> tuple[cKDTree, FloatArray]:
    """Points every half millimetre along what is thick enough to see, with the radius there."""
    rows = structures[structures[:, 6] > 0.3]
    t = np.linspace(0, 1, 6)
    points = rows[:, None, :3] + t[None, :, None] * (rows[:, None, 3:6] - rows[:, None, :3])
    radius = rows[:, None, 6] + t * (rows[:, None, 7] - rows[:, None, 6])
    return cKDTree(points.reshape(-1, 3)), radius.ravel()


def _vessel_overlap(
    centre: FloatArray, radius: FloatArray, tree: cKDTree, vessel_radius: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Gap to the nearest vessel surface [mm] and that vessel's radius."""
    distance, index = tree.query(centre, k=8)
    gap = distance - vessel_radius[index] - radius[:, None]
    best = gap.argmin(axis=1)
    rows = np.arange(len(centre))
    return gap[rows, best], vessel_radius[index[rows, best]]


def _gap_to_structures(
    fields: Fields, centre: FloatArray, radius: FloatArray, tree: cKDTree, vessel_radius: FloatArray
) -> FloatArray:
    vessel_gap, _ = _vessel_overlap(centre, radius, tree, vessel_radius)
    pleura_gap = -fields.at(fields.lung_mm, centre) - radius
    fissure_gap = np.abs(fields.at(fields.fissure_mm, centre)) - radius
    return np.minimum(np.minimum(vessel_gap, pleura_gap), fissure_gap)


def _spread(
    generator: np.random.Generator,
    fields: Fields,
    radius: FloatArray,
    tree: cKDTree,
    vessel_radius: FloatArray,
    lesion_mm: FloatArray,
    lesion_radius: float,
) -> FloatArray:
    """Random centres: apart from each other, inside the pleura, never inside a larger vessel."""
    n = len(radius)
    centre = np.empty((n, 3))
    todo = np.arange(n)
    for _ in range(60):
        if not len(todo):
            return centre
        centre[todo] = _random_points(generator, fields, len(todo), 0.5)
        gap, thick = _vessel_overlap(centre[todo], radius[todo], tree, vessel_radius)
        is_bad = (gap < -0.5 * radius[todo]) & (thick > 0.5 * radius[todo])
        is_bad |= -fields.at(fields.lung_mm, centre[todo]) < 0.85 * radius[todo]
        if lesion_radius > 0:
            is_bad |= np.linalg.norm(centre[todo] - lesion_mm, axis=1) < 1.5 * lesion_radius + 3
        placed = np.setdiff1d(np.arange(n), todo)
        is_bad |= _is_crowded(centre, radius, todo, placed)
        todo = todo[is_bad]
    raise ValueError(f"no room for {len(todo)} of {n} nodules: ask for fewer")


def _is_crowded(
    centre: FloatArray, radius: FloatArray, todo: npt.NDArray[np.int64], placed: npt.NDArray[np.int64]
) -> BoolArray:
    order = np.concatenate([placed, todo])
    tree = cKDTree(centre[order])
    is_bad = np.zeros(len(order), dtype=bool)
    for i, j in tree.query_pairs(2 * float(radius.max(initial=0.0)) + 0.5):
        a, b = order[i], order[j]
        if np.linalg.norm(centre[a] - centre[b]) < radius[a] + radius[b] + 0.5:
            is_bad[max(i, j)] = True
    return is_bad[len(placed) :]


def _lesion(
    generator: np.random.Generator, fields: Fields
) -> tuple[list[Tubes | Plates | Bodies], pd.DataFrame]:
    """A lobulated mass with an eccentric cavity and spicules."""
    radius = float(generator.uniform(12.5, 20))
    centre = _random_points(generator, fields, 1, 0.9 * radius)
    one = np.array([True])
    mass = _bodies(
        generator, centre, np.array([radius]), np.array([40.0]), one, stretch=1.15, lobulation=0.15
    )
    hole_radius = np.array([radius * generator.uniform(0.3, 0.55)])
    hole_mm = centre + generator.normal(size=(1, 3)) * 0.1 * radius
    hole = _bodies(generator, hole_mm, hole_radius, np.array([-960.0]), one)
    way = generator.normal(size=(24, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    spicules = np.column_stack(
        [centre + 0.8 * radius * way, centre + generator.uniform(1.1, 1.45, (24, 1)) * radius * way]
    )
    spicules = np.column_stack([spicules, np.full(24, 0.8), np.full(24, 0.2)])
    row = pd.DataFrame(
        {
            "x_mm": centre[:, 0],
            "y_mm": centre[:, 1],
            "z_mm": centre[:, 2],
            "diameter_mm": [2.9 * radius],
            "volume_mm3": [4 / 3 * np.pi * (radius**3 - hole_radius[0] ** 3)],
            "kind": "lesion",
            "density_hu": 40.0,
            "shape": "cavity",
            "attached": True,
            "pleural": False,
        }
    )
    return [Tubes(spicules, 40.0), mass, hole], row


def _add_hard_negatives(
    generator: np.random.Generator, fields: Fields, arteries: Tubes
) -> tuple[Fields, list[Tubes | Plates | Bodies]]:
    """Emphysema and ground glass in the parenchyma; septal lines, scars and mucus plugs as objects."""
    air = fields.parenchyma_hu.copy()
    shape = air.shape
    grain = gaussian_filter(generator.normal(size=shape).astype(np.float32), 1.6)
    upper = np.linspace(-0.4, 1.2, shape[0], dtype=np.float32)[:, None, None]
    holes = np.clip((grain / grain.std() + upper - 1.4) * 2, 0, 1)
    air += holes * (-975 - air)
    cloud = gaussian_filter(generator.normal(size=shape).astype(np.float32), 9.0)
    haze = np.clip(cloud / cloud.std() - 1.0, 0, 1) * generator.uniform(120, 260)
    crackle = gaussian_filter(generator.normal(size=shape).astype(np.float32), 1.0)
    air += haze * (1 + 0.25 * crackle / crackle.std())
    changed = replace(fields, parenchyma_hu=air.astype(np.float32))
    return changed, [_septa(generator, fields), _scars(generator, fields), _plugs(generator, arteries)]


def _septa(generator: np.random.Generator, fields: Fields, n: int = 160) -> Plates:
    points = _random_points(generator, fields, 40 * n, 2.0)
    depth = -fields.at(fields.lung_mm, points)
    centre = points[depth < 12][:n]
    axes = np.linalg.qr(generator.normal(size=(len(centre), 3, 3)))[0]
    half = np.column_stack(
        [generator.uniform(low, high, len(centre)) for low, high in ((3, 8), (2, 6), (0.1, 0.25))]
    )
    return Plates(centre, axes, half, 20.0)


def _scars(generator: np.random.Generator, fields: Fields, n: int = 14) -> Tubes:
    """Irregular bands of knotted capsules."""
    rows = []
    for start in _random_points(generator, fields, n, 4.0):
        way = generator.normal(size=3)
        path = [start]
        for _ in range(int(generator.integers(5, 12))):
            way = way / np.linalg.norm(way) + generator.normal(0, 0.35, 3)
            path.append(path[-1] + 2.2 * way / np.linalg.norm(way))
        line = np.array(path)
        radius = generator.uniform(0.4, 1.5, len(line))
        rows.append(np.column_stack([line[:-1], line[1:], radius[:-1], radius[1:]]))
    return Tubes(np.concatenate(rows), 25.0)


def _plugs(generator: np.random.Generator, arteries: Tubes, n: int = 30) -> Tubes:
    """Filled bronchi: short sausages beside medium arteries, some of them forked."""
    rows = arteries.rows[(arteries.rows[:, 6] > 0.5) & (arteries.rows[:, 6] < 1.2)]
    rows = rows[generator.choice(len(rows), min(n, len(rows)), replace=False)]
    along = rows[:, 3:6] - rows[:, :3]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    side = np.cross(along, generator.normal(size=along.shape))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    radius = generator.uniform(0.8, 1.6, len(rows))
    start = rows[:, :3] + side * (rows[:, 6] + radius)[:, None]
    middle = start + along * generator.uniform(4, 9, (len(rows), 1))
    fork = [middle + 4 * (along + turn * side) for turn in (0.6, -0.6)]
    thin = 0.7 * radius
    pieces = [np.column_stack([start, middle, radius, radius])]
    pieces += [np.column_stack([middle, end, thin, thin])[:: 2 if i else 1] for i, end in enumerate(fork)]
    return Tubes(np.concatenate(pieces), 25.0)


def _with_side_and_zone(truth: pd.DataFrame, fields: Fields) -> pd.DataFrame:
    centre = truth[["x_mm", "y_mm", "z_mm"]].to_numpy()
    is_left = fields.at(fields.midline_mm, centre) > 0 if len(truth) else np.empty(0, dtype=bool)
    zone = np.empty(len(truth), dtype=object)
    for side in (False, True):
        inside = (fields.lung_mm < 0) & ((fields.midline_mm > 0) == side)
        z = np.flatnonzero(inside.any(axis=(1, 2))) * COARSE_MM + fields.origin_mm[2]
        third = np.clip((centre[:, 2] - z.min()) / (np.ptp(z) + 1e-9) * 3, 0, 2.99).astype(int)
        here = is_left == side
        zone[here] = np.array(["lower", "middle", "upper"], dtype=object)[third[here]]
    return truth.assign(side=np.where(is_left, "left", "right"), zone=zone)
