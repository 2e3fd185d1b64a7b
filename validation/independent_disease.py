"""Other disease of the independent simulator, drawn in its own way: capsules, plates, bodies and fields.

Nothing here is shared with the disease of `miliary.image.simulate`. Kinds go by the same names (see
`miliary.image.simulate.OtherFindings`), each with a severity of 0 to 1; points are (x, y, z) mm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, shift
from scipy.spatial import cKDTree

from validation.independent_anatomy import COARSE_MM, Fields, Tubes
from validation.independent_render import Bodies, Plates, Volume

FloatArray = npt.NDArray[np.float64]
Painted = list[Tubes | Plates | Bodies]


@dataclass(frozen=True)
class Chest:
    """What a disease needs to know of a chest; `scale` is its severity, 0 to 1."""

    generator: np.random.Generator
    fields: Fields
    arteries: FloatArray
    scale: float


def add_disease(
    generator: np.random.Generator, fields: Fields, arteries: Tubes, others: Mapping[str, float]
) -> tuple[Fields, Painted]:
    """Put other disease into the fields of a chest, and list what is painted over vessels and airways.

    Parameters
    ----------
    generator : Generator
        One stream is spawned for each kind, so that one does not move another.
    fields : Fields
        The chest.
    arteries : Tubes
        Its arteries.
    others : mapping of str to float
        Severity by kind, of `KINDS`; other kinds are passed over.

    Returns
    -------
    Fields
    list of Tubes, Plates and Bodies
    """
    painted: Painted = []
    for stream, (kind, draw) in zip(generator.spawn(len(KINDS)), KINDS.items(), strict=True):
        if others.get(kind, 0.0) > 0:
            fields, added = draw(Chest(stream, fields, arteries.rows, float(others[kind])))
            painted += added
    return fields, painted


def _cloud(generator: np.random.Generator, shape: tuple[int, ...], sigma_mm: float) -> FloatArray:
    noise = gaussian_filter(generator.normal(size=shape).astype(np.float32), sigma_mm / COARSE_MM)
    return np.asarray(noise / noise.std(), dtype=np.float64)


def _places(chest: Chest, n: int, depth_mm: tuple[float, float], height: tuple[float, float]) -> FloatArray:
    """Random points of the lungs within a range of depth [mm] and of height (0 base to 1 top)."""
    lung = chest.fields.lung_mm
    index = np.argwhere((lung < -depth_mm[0]) & (lung > -depth_mm[1]))
    rows = np.flatnonzero((lung < 0).any(axis=(1, 2)))
    level = (index[:, 0] - rows[0]) / max(np.ptp(rows), 1)
    index = index[(level >= height[0]) & (level <= height[1])]
    if not len(index):
        return np.empty((0, 3))
    pick = index[chest.generator.integers(len(index), size=n)] + chest.generator.uniform(-0.5, 0.5, (n, 3))
    return pick[:, ::-1] * COARSE_MM + np.asarray(chest.fields.origin_mm)


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def _balls(chest: Chest, centre: FloatArray, radius: FloatArray, hu: float, *, bumps: float = 0.0) -> Bodies:
    axes = np.linalg.qr(chest.generator.normal(size=(len(centre), 3, 3)))[0]
    stretch = chest.generator.uniform(0.85, 1.2, (len(centre), 3))
    stretch /= np.prod(stretch, axis=1, keepdims=True) ** (1 / 3)
    maps = axes.transpose(0, 2, 1) / (radius[:, None, None] * stretch[:, :, None])
    return Bodies(centre, maps, radius, np.full(len(centre), bumps), np.full(len(centre), hu))


def _tree_in_bud(chest: Chest) -> tuple[Fields, Painted]:
    """Pairs of knotted twigs that part like a V at the ends of arteries, in patches of a few lobules."""
    g, rows = chest.generator, chest.arteries
    ends = rows[rows[:, 7] < np.quantile(rows[:, 7], 0.35)]
    ends = ends[chest.fields.at(chest.fields.lung_mm, ends[:, 3:6]) < -5.0]
    middles = ends[g.integers(len(ends), size=3 + round(16 * chest.scale)), 3:6]
    distance, nearest = cKDTree(middles).query(ends[:, 3:6])
    ends = ends[distance < g.uniform(9, 22 + 8 * chest.scale, len(middles))[nearest]]
    ends = ends[g.random(len(ends)) < g.uniform(0.5, 0.9)]
    pieces, knots, size = [], [], []
    for row in ends:
        way = _unit(row[3:6] - row[:3])
        side = _unit(np.cross(way, g.normal(size=3)))
        root = row[3:6] - g.uniform(2, 6) * way + 0.9 * side
        width = g.uniform(0.45, 0.8)
        fork = root + g.uniform(2, 4) * way
        pieces.append([*root, *fork, width, width])
        for turn in np.linspace(-1, 1, int(g.integers(2, 5))):
            angle = turn * g.uniform(0.5, 1.0)
            tip = fork + g.uniform(1.5, 4.0) * (np.cos(angle) * way + np.sin(angle) * side)
            tip += 0.4 * g.normal(size=3)
            pieces.append([*fork, *tip, 0.9 * width, 0.9 * width])
            knots.append(tip)
            size.append(width * g.uniform(1.0, 1.9))
    if not pieces:
        return chest.fields, []
    knot_mm, radius = np.array(knots), np.array(size)
    inside = chest.fields.at(chest.fields.lung_mm, knot_mm) < -2.5
    buds = _balls(chest, knot_mm[inside], radius[inside], 20.0, bumps=0.1)
    return chest.fields, [Tubes(np.array(pieces), 20.0), buds]


def _near_artery(chest: Chest, low_mm: float, high_mm: float, n: int, reach_mm: float) -> FloatArray:
    """Pieces of arteries of some caliber in `n` segments."""
    rows = chest.arteries[(chest.arteries[:, 6] > low_mm) & (chest.arteries[:, 6] < high_mm)]
    if not len(rows):
        return rows
    middles = rows[chest.generator.integers(len(rows), size=n), :3]
    return rows[cKDTree(middles).query(rows[:, :3])[0] < reach_mm]


def _beside(rows: FloatArray, gap_mm: FloatArray) -> FloatArray:
    """The pieces moved aside, towards the same side all along a branch."""
    side = _unit(np.cross(rows[:, 3:6] - rows[:, :3], np.array([0.4, 0.2, 0.9])))
    moved = rows.copy()
    moved[:, :3] += side * gap_mm[:, None]
    moved[:, 3:6] += side * gap_mm[:, None]
    return moved


def _bronchiectasis(chest: Chest) -> tuple[Fields, Painted]:
    """Bronchi of one to three times the caliber of their artery, beaded, some filled, walls of about 1 mm."""
    rows = _near_artery(chest, 0.45, 1.8, 3 + round(7 * chest.scale), 32.0)
    if not len(rows):
        return chest.fields, []
    factor = 1.0 + chest.generator.uniform(0.4, 0.6 + 1.4 * chest.scale)
    lumen = factor * rows[:, 6] * (1 + 0.25 * np.sin(rows[:, :3] @ np.array([0.8, 0.7, 0.6])))
    wall = 0.6 + 0.12 * lumen
    moved = _beside(rows, rows[:, 6] + lumen + wall)
    outer, inner = moved.copy(), moved.copy()
    outer[:, 6:] = (lumen + wall)[:, None]
    inner[:, 6:] = lumen[:, None]
    is_filled = _cloud_at(chest, moved[:, :3]) > 1.1
    return chest.fields, [Tubes(outer, 25.0), Tubes(inner[~is_filled], -985.0), Tubes(inner[is_filled], 15.0)]


def _cloud_at(chest: Chest, points: FloatArray) -> FloatArray:
    """A value of unit variance that is alike over about a centimeter."""
    cloud = _cloud(chest.generator, chest.fields.lung_mm.shape, 5.0)
    return chest.fields.at(cloud.astype(np.float32), points)


def _mucus(chest: Chest) -> tuple[Fields, Painted]:
    """Filled bronchi of normal caliber, a centimeter or two long."""
    rows = _near_artery(chest, 0.5, 1.6, 10 + round(60 * chest.scale), 6.0)
    moved = _beside(rows, 1.9 * rows[:, 6])
    moved[:, 6:] = np.clip(0.95 * rows[:, 6:], 0.6, 3.0)
    return chest.fields, [Tubes(moved, 15.0)]


def _emphysema(chest: Chest) -> tuple[Fields, Painted]:
    """Ragged holes of 2 to 11 mm, over vessels' place where they are, more of them above."""
    n = round(400 + 2500 * chest.scale)
    centre = np.concatenate(
        [_places(chest, n, (2.0, 90.0), (0.45, 1.0)), _places(chest, n // 3, (2, 90), (0, 0.45))]
    )
    tree = cKDTree(_axis(chest))
    radius = chest.generator.gamma(4.0, 0.35 + 0.3 * chest.scale, len(centre)) + 0.7
    room = tree.query(centre)[0] - 0.5
    radius = np.minimum(radius, np.maximum(room, 0.0))
    keep = radius > 0.7
    return chest.fields, [_balls(chest, centre[keep], radius[keep], -985.0, bumps=0.2)]


def _axis(chest: Chest) -> FloatArray:
    rows = chest.arteries[chest.arteries[:, 6] > 0.3]
    return np.concatenate([rows[:, :3], 0.5 * (rows[:, :3] + rows[:, 3:6])])


def _honeycombing(chest: Chest) -> tuple[Fields, Painted]:
    """Balls of air in balls of wall, packed below the pleura of the bases."""
    depth = 4.0 + 12.0 * chest.scale
    tries = _places(chest, round(9000 * (0.3 + chest.scale)), (0.5, depth), (0.0, 0.45))
    tries = tries[_cloud_at(chest, tries) > -0.4] if len(tries) else tries
    radius = chest.generator.uniform(1.6, 4.8, len(tries))
    order = np.argsort(-radius)
    tries, radius = tries[order], radius[order]
    keep = np.ones(len(tries), dtype=bool)
    for i, j in sorted(cKDTree(tries).query_pairs(9.6) if len(tries) else []):
        if keep[i] and np.linalg.norm(tries[i] - tries[j]) < 0.85 * (radius[i] + radius[j]):
            keep[j] = False
    centre, radius = tries[keep], radius[keep]
    wall = chest.generator.uniform(0.5, 1.1, len(centre))
    return _hazed(chest, depth + 6.0, 60.0), [
        _balls(replace_seed(chest, 1), centre, radius, 10.0),
        _balls(replace_seed(chest, 1), centre, np.maximum(radius - wall, 0.6), -960.0),
    ]


def replace_seed(chest: Chest, seed: int) -> Chest:
    """The same chest with a stream of its own, for bodies that must have the same axes.

    Parameters
    ----------
    chest : Chest
    seed : int

    Returns
    -------
    Chest
    """
    return replace(chest, generator=np.random.default_rng(seed))


def _hazed(chest: Chest, depth_mm: float, rise_hu: float) -> Fields:
    """Denser lung below the pleura of the bases."""
    lung = chest.fields.lung_mm
    base = np.clip(1.2 - np.linspace(0, 2.4, len(lung)), 0, 1)[:, None, None]
    weight = np.clip((depth_mm + lung) / 6.0, 0, 1) * base
    return replace(
        chest.fields, parenchyma_hu=(chest.fields.parenchyma_hu + rise_hu * weight).astype(np.float32)
    )


def _net(
    chest: Chest, centre: FloatArray, size_mm: tuple[float, float], thick_mm: tuple[float, float]
) -> Plates:
    axes = np.linalg.qr(chest.generator.normal(size=(len(centre), 3, 3)))[0]
    half = np.column_stack(
        [chest.generator.uniform(low, high, len(centre)) for low, high in (size_mm, size_mm, thick_mm)]
    )
    return Plates(centre, axes, half, 10.0)


def _reticulation(chest: Chest) -> tuple[Fields, Painted]:
    """Many short plates, crossing each other, below the pleura of the bases."""
    centre = _places(chest, round(2500 + 9000 * chest.scale), (0.5, 8 + 20 * chest.scale), (0.0, 0.5))
    return _hazed(chest, 15 + 15 * chest.scale, 90.0), [_net(chest, centre, (1.5, 4.0), (0.15, 0.4))]


def _crazy_paving(chest: Chest) -> tuple[Fields, Painted]:
    """Ground glass with an abrupt edge, and a net in it."""
    fields, g = chest.fields, chest.generator
    cloud = _cloud(g, fields.lung_mm.shape, 24.0)
    cut = np.quantile(cloud[fields.lung_mm < 0], 0.9 - 0.4 * chest.scale)
    weight = np.clip((cloud - cut) * 25.0, 0, 1)
    haze = fields.parenchyma_hu + weight * g.uniform(180, 330)
    points = _places(chest, round(30000 * (0.3 + chest.scale)), (0.5, 90), (0, 1))
    points = points[fields.at(weight.astype(np.float32), points) > 0.5]
    nets = [_net(chest, points[::6], (3.5, 7.0), (0.25, 0.5)), _net(chest, points, (1.2, 2.5), (0.1, 0.25))]
    return replace(fields, parenchyma_hu=haze.astype(np.float32)), list(nets)


def _mosaic(chest: Chest) -> tuple[Fields, Painted]:
    """Dark and bright lung with sharp borders, by the sign of a smooth field."""
    fields = chest.fields
    cloud = _cloud(chest.generator, fields.lung_mm.shape, 9.0)
    dark = np.clip(0.5 + 12 * (cloud - chest.generator.uniform(-0.2, 0.5)), 0, 1)
    air = fields.parenchyma_hu
    mixed = dark * (air + chest.scale * (-940 - air)) + (1 - dark) * (air + 30 + 110 * chest.scale)
    return replace(fields, parenchyma_hu=mixed.astype(np.float32)), []


def _organizing(chest: Chest) -> tuple[Fields, Painted]:
    """Consolidation below the pleura and around larger vessels, with a halo."""
    fields = chest.fields
    cloud = _cloud(chest.generator, fields.lung_mm.shape, 8.0) + 0.03 * np.clip(fields.lung_mm, -50, 0)
    cloud = cloud + 0.3 * _cloud(chest.generator, cloud.shape, 3.0)
    cut = np.quantile(cloud[fields.lung_mm < 0], 0.98 - 0.1 * chest.scale)
    dense, halo = np.clip((cloud - cut) * 6, 0, 1), np.clip((cloud - cut + 0.4) * 2.5, 0, 1)
    air = fields.parenchyma_hu + 180 * halo * (1 - dense)
    return replace(fields, parenchyma_hu=(air + dense * (30 - air)).astype(np.float32)), []


def _atelectasis(chest: Chest) -> tuple[Fields, Painted]:
    """Plates at the bases, and dense lung along the back."""
    n = 3 + round(9 * chest.scale)
    centre = _places(chest, n, (3.0, 30.0), (0.0, 0.4))
    axes = np.linalg.qr(np.eye(3) + 0.3 * chest.generator.normal(size=(len(centre), 3, 3)))[0].transpose(
        0, 2, 1
    )
    half = np.column_stack(
        [chest.generator.uniform(a, b, len(centre)) for a, b in ((9, 24), (6, 16), (0.5, 1.5))]
    )
    lung = chest.fields.lung_mm
    back = np.clip(np.linspace(-2.5, 1.5, lung.shape[1]), 0, 1)[None, :, None]
    rise = 420 * chest.scale * back * np.exp(np.clip(lung, -60, 0) / (2 + 5 * chest.scale))
    fields = replace(chest.fields, parenchyma_hu=(chest.fields.parenchyma_hu + rise).astype(np.float32))
    return fields, [Plates(centre, axes, half, 25.0)]


def _effusion(chest: Chest) -> tuple[Fields, Painted]:
    """Fluid with a level that climbs at the walls, on one side or both, and dense lung above it."""
    fields, g = chest.fields, chest.generator
    lung = fields.lung_mm
    y = fields.origin_mm[1] + COARSE_MM * np.arange(lung.shape[1])[None, :, None]
    back = float(y[0, np.flatnonzero((lung < 0).any(axis=(0, 2)))[-1], 0])
    height = np.linspace(0, 1, len(lung))[:, None, None]
    deep = (20 + 50 * chest.scale) * np.clip(1.1 - g.uniform(0.9, 1.4) * height, 0, 1)
    over = y - (back - deep + 6.0 * _cloud(g, lung.shape, 30.0)[:, :1, :])
    which = int(g.integers(1, 4))
    is_here = ((fields.midline_mm < 0) & bool(which & 1)) | ((fields.midline_mm > 0) & bool(which & 2))
    over = np.where(is_here & (deep > 2.0), over, -100.0)
    dense = 0.85 * np.exp(np.clip(over, -60, 0) / (3 + 5 * chest.scale))
    air = fields.parenchyma_hu + dense * (20 - fields.parenchyma_hu)
    return replace(
        fields,
        lung_mm=np.maximum(lung, over).astype(np.float32),
        parenchyma_hu=air.astype(np.float32),
        tissue_hu=np.where((lung < 0) & (over > -3), 12.0, fields.tissue_hu).astype(np.float32),
    ), []


def _aspiration(chest: Chest) -> tuple[Fields, Painted]:
    """Filled bronchioles, soft shadows of 4 to 8 mm and consolidation in the back."""
    half = chest.fields.lung_mm.shape[1] * COARSE_MM / 2 + chest.fields.origin_mm[1]
    rows = chest.arteries[chest.arteries[:, 4] > half + 10.0]
    low = replace(chest, arteries=rows, scale=0.6 * chest.scale)
    fields, buds = _tree_in_bud(low) if len(rows) > 20 else (chest.fields, [])
    points = _places(chest, round(40 + 160 * chest.scale), (4, 60), (0, 0.6))
    points = points[points[:, 1] > half + 10.0]
    soft = _balls(chest, points, chest.generator.uniform(2, 4, len(points)), -380.0, bumps=0.15)
    changed, _ = _organizing(replace(chest, fields=fields, scale=0.3 * chest.scale))
    return changed, [*buds, soft]


KINDS: dict[str, Callable[[Chest], tuple[Fields, Painted]]] = {
    "tree_in_bud": _tree_in_bud,
    "bronchiectasis": _bronchiectasis,
    "mucus_plugs": _mucus,
    "emphysema": _emphysema,
    "honeycombing": _honeycombing,
    "reticulation": _reticulation,
    "crazy_paving": _crazy_paving,
    "mosaic": _mosaic,
    "organizing": _organizing,
    "atelectasis": _atelectasis,
    "effusion": _effusion,
    "aspiration": _aspiration,
}


def add_artifacts(generator: np.random.Generator, voxels: Volume, others: Mapping[str, float]) -> None:
    """Put motion, streaks, coarse noise and an edge-enhancing kernel into a scan, in place.

    Parameters
    ----------
    generator : Generator
    voxels : ndarray of float32, shape (z, y, x)
        Attenuation [HU].
    others : mapping of str to float
        Severities of ``motion``, ``streaks``, ``low_dose`` and ``sharp_kernel``, 0 to 1.
    """
    n = len(voxels)
    if others.get("motion", 0) > 0:
        wave = gaussian_filter1d(generator.normal(size=n), 6)
        wave = np.abs(wave / (np.abs(wave).max() + 1e-9)) * 7.0 * others["motion"]
        angle = generator.uniform(0, np.pi)
        for k in np.flatnonzero(wave > 0.6):
            step = wave[k] * np.array([np.sin(angle), np.cos(angle)])
            voxels[k] = 0.55 * voxels[k] + 0.45 * shift(voxels[k], step, order=1, mode="nearest")
    if others.get("low_dose", 0) > 0:
        white = generator.normal(size=voxels.shape).astype(np.float32)
        width = generator.uniform(0.6, 1.2)
        grain = gaussian_filter(white, (0.5, width, width)) - gaussian_filter(
            white, (0.5, 3 * width, 3 * width)
        )
        voxels += grain * np.float32((15 + 60 * others["low_dose"]) / grain.std())
    if others.get("streaks", 0) > 0:
        white = generator.normal(size=voxels.shape).astype(np.float32)
        lines = gaussian_filter1d(gaussian_filter1d(white, 0.6, axis=1), 14.0, axis=2)
        rise = np.clip(np.linspace(-1.2, 1.0, n), 0, 1)[:, None, None]
        voxels += (lines * (110 * others["streaks"] / lines.std()) * rise).astype(np.float32)
    if others.get("sharp_kernel", 0) > 0:
        soft = gaussian_filter(voxels, (0, 1.1, 1.1))
        voxels += np.float32(0.4 + 1.4 * others["sharp_kernel"]) * (voxels - soft)
