"""Other ways of placing nodules than those of the training, and chests of both simulators to place them in.

Nothing here was looked at while ``weights/pattern.json`` was made. The training's ways take contact as such;
these take its causes: septa between lobules, lymphatics that run along vessels, bronchioles in the middle of
lobules on a lattice, and buds on twigs within diseased segments.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from training.patterns import TRAINING_WAYS, Anatomy, Way, make_anatomy
from validation.independent import Disease, Protocol, simulate_independent
from validation.independent_anatomy import make_fields, make_vessels
from validation.independent_render import Optics

F64 = npt.NDArray[np.float64]

NO_DISEASE = Disease(n_nodules=0)


def make_independent_anatomy(seed: int, *, disease: Disease = NO_DISEASE) -> Anatomy:
    """A small chest of the independent simulator; frame (z, y, x) mm as in its scans."""
    rng = np.random.default_rng([seed, 43])
    step, pixel = float(rng.choice([0.7, 1.0, 1.0, 1.25, 2.0])), float(rng.uniform(0.65, 0.85))
    protocol = Protocol(
        shape_zyx=(round(165 / step), round(185 / pixel), round(235 / pixel)),
        spacing_zyx_mm=(step, pixel, pixel),
        optics=Optics(
            fwhm_mm=float(rng.uniform(0.9, 1.5)), overshoot=float(rng.uniform(0, 0.3)), slice_mm=step
        ),
        noise_hu=float(rng.uniform(10, 40)),
    )
    made = simulate_independent(seed, protocol=protocol, disease=disease)
    streams = [np.random.default_rng([seed, part]) for part in range(2)]
    nz, ny, nx = protocol.shape_zyx
    fields = make_fields(streams[0], (nx * pixel, ny * pixel, nz * step))
    arteries, veins = make_vessels(streams[1], fields, tips_per_ml=streams[1].uniform(*protocol.tips_per_ml))
    rows = np.concatenate([arteries.rows, veins.rows])
    radius = 0.5 * (rows[:, 6] + rows[:, 7])
    wide = radius > 0.35
    ends = np.stack([rows[:, :3][:, ::-1], rows[:, 3:6][:, ::-1]], axis=1)
    last = arteries.rows[:, 7] < np.quantile(arteries.rows[:, 7], 0.4)
    grid = made.scan.grid
    low = np.asarray(grid.origin_lps_mm)[::-1]
    high = low + (np.asarray(grid.shape_zyx) - 1) * grid.spacing_zyx_mm
    inside = np.argwhere(made.labels[::2, ::2, ::2]) * 2 * np.asarray(grid.spacing_zyx_mm) + low
    return Anatomy(
        lambda points: -fields.at(fields.lung_mm, points[:, ::-1]),
        lambda points: fields.at(fields.fissure_mm, points[:, ::-1]),
        ends[wide],
        radius[wide],
        arteries.rows[last, 3:6][:, ::-1],
        inside,
        low,
        high,
        made.scan,
        made.labels,
    )


def make_chest(source: str, seed: int) -> Anatomy:
    """A chest of either simulator without nodules."""
    return make_independent_anatomy(seed) if source == "independent" else make_anatomy(seed)


def _nowhere(n: int) -> F64:
    return np.full((n, 3), np.nan)


def _take(points: F64, n: int, rng: np.random.Generator) -> F64:
    """`n` of the points, padded with nowhere."""
    points = points[rng.permutation(len(points))[:n]]
    return np.concatenate([points, _nowhere(n - len(points))])


def place_by_flow(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Random by blood flow: more in what hangs down, uneven over 50 mm, centers at least 3.5 mm apart."""
    grain = gaussian_filter(np.random.default_rng(7).standard_normal((32, 32, 32)), 5, mode="wrap")
    grain /= grain.std()
    points = anatomy.uniform(5 * n + 50, rng)
    share = (points - anatomy.low_mm) / (anatomy.high_mm - anatomy.low_mm)
    log_flow = 0.25 * map_coordinates(grain, (share * 31).T, order=1) - 0.5 * share[:, 0] + 0.3 * share[:, 1]
    points = points[rng.random(len(points)) < np.exp(log_flow - log_flow.max())]
    if not len(points):
        return _nowhere(n)
    depth = anatomy.depth_mm(points)
    points = points[depth > 0.8 * float(radius.mean())]
    tree = cKDTree(points)
    far = np.ones(len(points), bool)
    for i, j in tree.query_pairs(3.5):
        if far[i]:
            far[j] = False
    return _take(points[far], n, rng)


def place_in_septa(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Perilymphatic: on the walls between lobules of 15 mm near the surface, and on the surface itself."""
    lattice = np.random.default_rng(11).uniform(
        anatomy.low_mm, anatomy.high_mm, (int(np.prod(anatomy.high_mm - anatomy.low_mm) / 15.0**3) + 8, 3)
    )
    tree = cKDTree(lattice)
    points = anatomy.uniform(30 * n + 200, rng)
    depth = anatomy.depth_mm(points)
    points = points[(depth > 0) & (depth < 22)]
    if len(points) < 2:
        return _nowhere(n)
    near, index = tree.query(points, k=2)
    # Onto the plane half way between the two nearest middles.
    across = lattice[index[:, 1]] - lattice[index[:, 0]]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    middle = 0.5 * (lattice[index[:, 1]] + lattice[index[:, 0]])
    off = ((points - middle) * across).sum(axis=1)
    moved = points - off[:, None] * across * rng.uniform(0.8, 1.1, (len(points), 1))
    del near
    on_wall = moved[(np.abs(off) < 3.0) & (rng.random(len(moved)) < np.exp(-anatomy.depth_mm(moved) / 8))]
    surface = points[anatomy.depth_mm(points) < 5]
    if not len(surface):
        return _nowhere(n)
    surface = anatomy.slide(
        anatomy.depth_mm, surface, float(radius.mean()) + rng.uniform(-0.2, 0.6, len(surface))
    )
    mixed = np.concatenate([_take(on_wall, n // 2, rng), _take(surface, n - n // 2, rng)])
    return np.where(
        anatomy.keep(np.nan_to_num(mixed, nan=-1e6), radius, depth_radii=0.85)[:, None], mixed, np.nan
    )


def place_as_beads(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Perilymphatic: strings of beads along a few vessels, the rest on fissures and surface; more above."""
    middle = anatomy.axis_mm.mean(axis=1)
    seen = np.all((middle > anatomy.low_mm) & (middle < anatomy.high_mm), axis=1)
    seen &= anatomy.axis_radius_mm < 2.5
    rows = np.flatnonzero(seen)
    if not len(rows):
        return _nowhere(n)
    starts = middle[rng.choice(rows, max(2, n // 25))]
    distance = cKDTree(starts).query(middle[rows])[0]
    rows = rows[distance < 25]
    pick = rng.choice(rows, n)
    ends = anatomy.axis_mm[pick]
    along = ends[:, 1] - ends[:, 0]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    aside = np.cross(along, rng.standard_normal((n, 3)))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True) + 1e-9
    beads = ends.mean(axis=1) + aside * (anatomy.axis_radius_mm[pick] + 0.95 * radius)[:, None]
    sheet = anatomy.uniform(n, rng)
    to_surface = anatomy.slide(anatomy.depth_mm, sheet, radius + rng.uniform(-0.1, 0.8, n))
    to_fissure = anatomy.slide(anatomy.fissure_mm, sheet, radius * rng.choice([-1.0, 1.0], n))
    is_near = (np.abs(anatomy.fissure_mm(sheet)) < 6) | (anatomy.depth_mm(sheet) < 6)
    flat = np.where((np.abs(anatomy.fissure_mm(sheet)) < 6)[:, None], to_fissure, to_surface)
    flat = np.where(is_near[:, None], flat, np.nan)
    points = np.where((rng.random(n) < 0.55)[:, None], beads, flat)
    height = (points[:, 0] - anatomy.low_mm[0]) / (anatomy.high_mm[0] - anatomy.low_mm[0])
    keep = anatomy.keep(np.nan_to_num(points, nan=-1e6), radius, depth_radii=0.85)
    keep &= rng.random(n) < np.clip(0.4 + height, 0, 1)
    return np.where(keep[:, None], points, np.nan)


def place_on_lattice(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Centrilobular: one in the middle of lobules on a jittered lattice, at least 3 mm off any surface."""
    volume = len(np.unique(np.rint(anatomy.inside_mm / 4.0), axis=0)) * 64.0
    pitch = float(np.clip((volume / (1.3 * n)) ** (1 / 3), 3.5, 9.0))
    axes = [np.arange(low, high, pitch) for low, high in zip(anatomy.low_mm, anatomy.high_mm, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid + rng.uniform(0, pitch, 3) + rng.normal(0, 0.18 * pitch, grid.shape)
    deep = anatomy.depth_mm(grid) > float(radius.mean()) + 3.0
    deep &= np.abs(anatomy.fissure_mm(grid)) > float(radius.mean()) + 2.0
    return _take(grid[deep], n, rng)


def place_in_bud(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Centrilobular: three to five buds in a row on a twig, twigs within a few diseased segments."""
    tips = anatomy.tips_mm
    tips = tips[np.all((tips > anatomy.low_mm) & (tips < anatomy.high_mm), axis=1)]
    tips = tips[anatomy.depth_mm(tips) > 5.0] if len(tips) else tips
    if len(tips) < 4:
        return _nowhere(n)
    segments = tips[rng.choice(len(tips), 4)]
    near = cKDTree(segments).query(tips)[0]
    tips = tips[near < max(30.0, float(np.sort(near)[min(len(near) - 1, n // 2)]))]
    n_twigs = n // 4 + 1
    start = tips[rng.integers(0, len(tips), n_twigs)]
    way = rng.standard_normal((n_twigs, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    step = rng.uniform(2.2, 3.4, (n_twigs, 1))
    buds = np.concatenate([start + k * step * way + rng.normal(0, 0.3, start.shape) for k in range(4)])[:n]
    buds = np.concatenate([buds, _nowhere(n - len(buds))])
    keep = anatomy.keep(np.nan_to_num(buds, nan=-1e6), radius + 2.2, depth_radii=1.0)
    return np.where(keep[:, None], buds, np.nan)


HELD_OUT_WAYS: dict[str, dict[str, Way]] = {
    "random": {"flow": place_by_flow},
    "perilymphatic": {"septa": place_in_septa, "beads": place_as_beads},
    "centrilobular": {"lattice": place_on_lattice, "buds": place_in_bud},
}
ALL_WAYS: dict[str, dict[str, Way]] = {
    name: {**TRAINING_WAYS[name], **HELD_OUT_WAYS[name]} for name in TRAINING_WAYS
}
