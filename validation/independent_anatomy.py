"""Anatomy of the independent simulator: lungs as a deformed superquadric cage, fractal vessel trees.

Nothing here is shared with `miliary.image.simulate`: the two are meant to disagree about everything a
detector must not depend on. Points are (x, y, z) millimetres, x to the left, y to the back, z to the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

FloatArray = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

COARSE_MM = 2.0
SOFT_TISSUE_HU = 45.0
GOLDEN_ANGLE = np.deg2rad(137.5)


@dataclass(frozen=True)
class Fields:
    """Smooth fields on a coarse (z, y, x) lattice whose first node is `origin_mm` (x, y, z).

    Parameters
    ----------
    lung_mm : ndarray
        Signed distance to the pleura, negative inside.
    skin_mm : ndarray
        Signed distance to the skin, negative inside.
    midline_mm : ndarray
        x minus the x that parts right (negative) from left.
    fissure_mm : ndarray
        Signed distance to the nearest fissure.
    parenchyma_hu, tissue_hu : ndarray
        Attenuation inside the lungs, and between them and the skin.
    """

    origin_mm: tuple[float, float, float]
    lung_mm: Field
    skin_mm: Field
    midline_mm: Field
    fissure_mm: Field
    parenchyma_hu: Field
    tissue_hu: Field
    hila_mm: FloatArray
    carina_mm: FloatArray

    def at(self, field: Field, points_mm: FloatArray) -> FloatArray:
        """Trilinear values of one of the fields at points (n, 3)."""
        index = (np.asarray(points_mm)[:, ::-1] - np.asarray(self.origin_mm)[::-1]) / COARSE_MM
        return map_coordinates(field, index.T, order=1, mode="nearest").astype(float)


@dataclass(frozen=True)
class Tubes:
    """Tapered capsules, one row each: start (3), end (3), start radius, end radius [mm]; one attenuation."""

    rows: FloatArray
    hu: float


def make_fields(generator: np.random.Generator, extent_xyz_mm: tuple[float, float, float]) -> Fields:
    """Draw a torso with two lungs that fills the given extent; every figure below is drawn anew."""
    width, depth, height = extent_xyz_mm
    scale = min(1.0, width / 350.0, depth / 350.0)
    origin = (-width / 2, -depth / 2, 0.0)
    n_zyx = [int(np.ceil(length / COARSE_MM)) + 2 for length in (height, depth, width)]
    z, y, x = np.meshgrid(
        *(start + COARSE_MM * np.arange(n) for start, n in zip(origin[::-1], n_zyx, strict=True)),
        indexing="ij",
        sparse=True,
    )
    uniform = generator.uniform
    bottom, top = height * uniform(0.05, 0.11), height * uniform(0.90, 0.955)
    half_x, half_y = scale * uniform(128, 146), scale * uniform(84, 98)
    power = uniform(2.1, 2.7)
    level = np.clip((z - bottom) / (top - bottom), 0, 1)
    taper = np.maximum(1 - level ** uniform(2.6, 3.8), 0.0) ** uniform(0.4, 0.5) * (0.86 + 0.2 * level)
    lean = uniform(0, 14) * level
    axis_x, axis_y = np.maximum(half_x * taper, 4.0), np.maximum(half_y * taper, 4.0)
    cage = ((np.abs(x) / axis_x) ** power + (np.abs(y - lean) / axis_y) ** power) ** (1 / power)
    cage_mm = np.maximum(_to_distance(cage), z - top)
    ripple_mm = _random_waves(generator, x, y, z, n_waves=28, wavelength_mm=(22.0, 95.0))
    rib_mm = 0.8 * np.cos(2 * np.pi * (z + 0.25 * y + uniform(0, 30)) / uniform(24, 31))
    cage_mm = cage_mm + uniform(0.8, 1.8) * ripple_mm + rib_mm

    carina = np.array([uniform(-4, 6), uniform(2, 12), bottom + (top - bottom) * uniform(0.56, 0.64)])
    heart = np.array([scale * uniform(14, 30), -scale * uniform(22, 34), bottom + uniform(52, 70) * scale])
    radii = scale * np.array([uniform(50, 62), uniform(42, 52), uniform(52, 66)])
    heart_mm = _to_distance(
        np.sqrt(sum(((c - m) / r) ** 2 for c, m, r in zip((x, y, z), heart, radii, strict=True)))
    )
    neck = uniform(24, 30) * scale
    middle_x = 3 * np.sin(2 * np.pi * z / uniform(150, 260) + uniform(0, 6)) + 0.06 * (y + 20)
    half_gap = np.clip(neck - 0.13 * np.abs(y - 15), 5.0, None) * (1 + 0.25 * np.exp(-(((y - 65) / 30) ** 2)))
    column_mm = np.abs(x - middle_x) - half_gap
    spine_mm = np.hypot(x - middle_x, y - half_y * 0.93) - uniform(27, 33) * scale
    aorta_mm = np.hypot(x - 18 * scale, y - half_y * 0.55) - uniform(11, 15) * scale
    mediastinum_mm = _soft_minimum([heart_mm, column_mm, spine_mm, aorta_mm], 5.0)
    mediastinum_mm = mediastinum_mm + 0.9 * _random_waves(
        generator, x, y, z, n_waves=20, wavelength_mm=(18.0, 70.0)
    )

    dome = [uniform(46, 66) * scale, uniform(34, 52) * scale]
    side = [
        h * np.exp(-(((x - s * 72 * scale) / (66 * scale)) ** 2) - ((y + 12) / (62 * scale)) ** 2)
        for h, s in zip(dome, (-1, 1), strict=True)
    ]
    diaphragm_z = (
        bottom
        + side[0]
        + side[1]
        + 2.0 * _random_waves(generator, x, y, np.zeros(1), n_waves=10, wavelength_mm=(40.0, 120.0))
    )
    lung_mm = np.maximum(np.maximum(cage_mm, -mediastinum_mm), 0.85 * (diaphragm_z - z))
    lung_mm = np.maximum(lung_mm, z - (top - 5))

    fissure_mm = _fissures(generator, x, y, z, bottom, top, half_y)
    parenchyma = _parenchyma(generator, y, lung_mm.shape, half_y)
    tissue = _tissue(generator, (x, y, z), cage_mm, mediastinum_mm, heart_mm, diaphragm_z, (half_x, half_y))
    # Drawn as sharply as the pleura: readers of a scan's blur look at the skin.
    outer = np.hypot(x / (half_x + uniform(30, 44)), (y - 4) / (half_y + uniform(30, 44))) + 0 * z
    skin_mm = _to_distance(outer) + _random_waves(generator, x, y, z, n_waves=16, wavelength_mm=(60.0, 200.0))
    hila = np.array(
        [[s * (neck + 10 * scale), carina[1] + uniform(-2, 8), carina[2] - uniform(18, 32)] for s in (-1, 1)]
    )
    return Fields(
        origin,
        lung_mm.astype(np.float32),
        skin_mm.astype(np.float32),
        np.broadcast_to(x - middle_x, lung_mm.shape).astype(np.float32),
        fissure_mm.astype(np.float32),
        parenchyma,
        tissue.astype(np.float32),
        hila,
        carina,
    )


def _to_distance(level: FloatArray) -> FloatArray:
    """First-order distance to the surface level = 1."""
    slope = np.sqrt(sum(g**2 for g in np.gradient(level, COARSE_MM)))
    return (level - 1) / np.maximum(slope, 2e-3)


def _soft_minimum(fields: list[FloatArray], width_mm: float) -> FloatArray:
    total = sum(np.exp(np.clip(-field / width_mm, -40, 40)) for field in fields)
    return -width_mm * np.log(total)


def _random_waves(
    generator: np.random.Generator,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    *,
    n_waves: int,
    wavelength_mm: tuple[float, float],
) -> FloatArray:
    """Sum of plane waves of random direction and phase with unit variance."""
    direction = generator.normal(size=(3, n_waves))
    k = 2 * np.pi / generator.uniform(*wavelength_mm, size=n_waves) * direction
    k /= np.linalg.norm(direction, axis=0)
    phase = generator.uniform(0, 2 * np.pi, n_waves)
    # A plane wave is a product of three complex exponentials, so the sum is one matrix product.
    along_x, along_y, along_z = (
        np.exp(1j * c.reshape(-1, 1) * rate) for c, rate in zip((x, y, z), k, strict=True)
    )
    rows = (along_z * np.exp(1j * phase))[:, None] * along_y[None]
    total = (rows.reshape(-1, n_waves).astype(np.complex64) @ along_x.T.astype(np.complex64)).real
    return total.reshape(z.size, y.size, x.size).astype(float) * np.sqrt(2 / n_waves)


def _fissures(
    generator: np.random.Generator,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    bottom: float,
    top: float,
    half_y: float,
) -> FloatArray:
    """Oblique fissure in both lungs, a horizontal one on the right in front of it."""
    waves = _random_waves(generator, x, y, z, n_waves=12, wavelength_mm=(60.0, 160.0))
    slope = generator.uniform(0.9, 1.3)
    middle = bottom + (top - bottom) * generator.uniform(0.42, 0.52)
    oblique = (z - middle - slope * (y - 0.1 * half_y) + 4 * waves) / np.hypot(1, slope)
    horizontal = z - middle - generator.uniform(2, 18) + 0.1 * (y + 30) - 3 * waves
    is_in_front = (x < 0) & (oblique > 0)
    nearer = np.abs(horizontal) < np.abs(oblique)
    return np.where(is_in_front & nearer, horizontal, oblique)


def _parenchyma(
    generator: np.random.Generator, y: FloatArray, shape: tuple[int, ...], half_y: float
) -> Field:
    mean = generator.uniform(-885, -835)
    gravity = generator.uniform(10, 40) * np.clip(y / half_y, -1, 1)
    lobules = gaussian_filter(generator.normal(size=shape).astype(np.float32), 2.2)
    patches = gaussian_filter(generator.normal(size=shape).astype(np.float32), 7.0)
    texture = generator.uniform(4, 12) * lobules / lobules.std() + 9 * patches / patches.std()
    return np.asarray(mean + gravity + texture, dtype=np.float32)


def _tissue(
    generator: np.random.Generator,
    xyz: tuple[FloatArray, FloatArray, FloatArray],
    cage_mm: FloatArray,
    mediastinum_mm: FloatArray,
    heart_mm: FloatArray,
    diaphragm_z: FloatArray,
    half: tuple[float, float],
) -> FloatArray:
    x, y, z = xyz
    hu = np.where(cage_mm < generator.uniform(16, 24), 50.0, -100.0)
    hu = np.where((mediastinum_mm < 0) & (cage_mm < 4), SOFT_TISSUE_HU - 25, hu)
    hu = np.where(heart_mm < -2, generator.choice([45.0, 160.0]), hu)
    hu = np.where((z < diaphragm_z) & (cage_mm < 4), 58.0, hu)
    vertebra = np.hypot(x, y - half[1] * 0.95) < 16
    hu = np.where(vertebra, 180 + 60 * np.cos(2 * np.pi * z / 24), hu)
    hu = np.where(np.hypot(x / 22, (y + half[1] + 9) / 6) < 1, 220.0, hu)
    return gaussian_filter(hu, 0.5)


def make_bones_and_table(generator: np.random.Generator, fields: Fields, spacing_mm: float = 27.0) -> Tubes:
    """Ribs as tilted rings of capsules just outside the cage."""
    depth, height = (n * COARSE_MM for n in fields.lung_mm.shape[1::-1])
    angle = np.linspace(0, 2 * np.pi, 90)
    rows = []
    for level in np.arange(0.1 * height, 0.95 * height, spacing_mm):
        tilt = generator.uniform(18, 30)
        middle = int(np.clip(level / COARSE_MM, 0, fields.lung_mm.shape[0] - 1))
        inside = np.argwhere(fields.lung_mm[middle] < 0)
        if not len(inside):
            continue
        low = inside.min(axis=0) * COARSE_MM + np.array(fields.origin_mm)[[1, 0]]
        high = inside.max(axis=0) * COARSE_MM + np.array(fields.origin_mm)[[1, 0]]
        centre, radius = (low + high) / 2, (high - low) / 2 + 9
        ring = np.stack(
            [
                centre[1] + radius[1] * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.85,
                centre[0] + radius[0] * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.85,
                level + tilt * np.sin(angle) * radius[0] / depth * 2,
            ],
            axis=1,
        )
        rows.append(np.column_stack([ring[:-1], ring[1:], np.full((len(ring) - 1, 2), 4.2)]))
    return Tubes(np.concatenate(rows) if rows else np.empty((0, 8)), 420.0)


@dataclass
class _Sprout:
    """A branch still to be grown: its targets, where it starts and how its parent ran."""

    targets: npt.NDArray[np.int64]
    start: FloatArray
    direction: FloatArray
    normal: FloatArray
    radius: float


def grow_tree(
    generator: np.random.Generator,
    targets_mm: FloatArray,
    root_mm: FloatArray,
    *,
    tip_radius_mm: float,
    exponent: float,
    wobble: float,
) -> FloatArray:
    """Grow a fractal tree that supplies every target; radii follow r^exponent = sum over the daughters.

    Each branch runs part of the way to the middle of its targets, keeps some of its parent's direction, and
    forks in a plane turned by the golden angle against the fork before it.

    Returns
    -------
    ndarray, shape (n, 8)
        Capsules as in `Tubes.rows`.
    """
    mean = targets_mm.mean(axis=0)
    first = (mean - root_mm) / np.linalg.norm(mean - root_mm)
    radius = tip_radius_mm * len(targets_mm) ** (1 / exponent)
    stack = [_Sprout(np.arange(len(targets_mm)), root_mm, first, _perpendicular(generator, first), radius)]
    rows: list[FloatArray] = []
    while stack:
        sprout = stack.pop()
        points = targets_mm[sprout.targets]
        n = len(points)
        middle = points.mean(axis=0)
        reach = np.linalg.norm(middle - sprout.start) + 1e-6
        share = generator.uniform(0.75, 1.0) if n == 1 else generator.uniform(0.25, 0.5)
        end = sprout.start + (0.85 * (middle - sprout.start) + 0.15 * reach * sprout.direction) * share
        radius = tip_radius_mm * n ** (1 / exponent) * generator.uniform(0.9, 1.1)
        piece, direction = _curve(generator, sprout, end, radius, wobble)
        rows.append(piece)
        if n == 1:
            continue
        normal = _fork_normal(generator, points - middle, direction, sprout.normal)
        # One fork in four gives off a thin side twig, as real arteries do.
        quantile = generator.uniform(0.03, 0.15) if generator.random() < 0.25 else generator.uniform(0.3, 0.5)
        along = points @ normal
        order = np.argsort(along)
        cut = int(np.clip(round(quantile * n), 1, n - 1))
        stack.extend(
            _Sprout(sprout.targets[part], end, direction, normal, radius)
            for part in (order[:cut], order[cut:])
        )
    return np.concatenate(rows)


def _perpendicular(generator: np.random.Generator, direction: FloatArray) -> FloatArray:
    other = np.cross(direction, generator.normal(size=3))
    return other / np.linalg.norm(other)


def _fork_normal(
    generator: np.random.Generator, spread: FloatArray, direction: FloatArray, previous: FloatArray
) -> FloatArray:
    """Normal of the plane that parts the targets: golden-angle turn, pulled to their longest axis."""
    side = previous - direction * (previous @ direction)
    if np.linalg.norm(side) < 1e-3:
        side = _perpendicular(generator, direction)
    side /= np.linalg.norm(side)
    turn = GOLDEN_ANGLE + generator.normal(0, 0.25)
    normal = side * np.cos(turn) + np.cross(direction, side) * np.sin(turn)
    if len(spread) > 3:
        longest = np.linalg.eigh(spread.T @ spread)[1][:, 2]
        normal = normal + 1.5 * longest * np.sign(longest @ normal)
    return normal / np.linalg.norm(normal)


def _curve(
    generator: np.random.Generator, sprout: _Sprout, end: FloatArray, radius: float, wobble: float
) -> tuple[FloatArray, FloatArray]:
    """Bent, tapered run from the sprout's start to `end`: its capsules and its last direction."""
    chord = end - sprout.start
    length = np.linalg.norm(chord) + 1e-6
    if len(sprout.targets) == 1:
        return np.array([[*sprout.start, *end, min(sprout.radius, radius), 0.9 * radius]]), chord / length
    bend = generator.normal(size=3) * wobble * length
    one = sprout.start + sprout.direction * length * 0.3 + 0.3 * bend
    two = end - chord * 0.3 + bend
    n = int(np.clip(np.ceil(length / 1.8), 2, 24))
    t = np.linspace(0, 1, n + 1)[:, None]
    path = (1 - t) ** 3 * sprout.start + 3 * (1 - t) ** 2 * t * one + 3 * (1 - t) * t**2 * two + t**3 * end
    first = min(sprout.radius, 1.35 * radius)
    taper = np.interp(t[:, 0], [0, 0.4, 1], [first, radius, 0.93 * radius])
    direction = path[-1] - path[-2]
    direction = direction / (np.linalg.norm(direction) + 1e-9)
    return np.column_stack([path[:-1], path[1:], taper[:-1], taper[1:]]), direction


def make_vessels(generator: np.random.Generator, fields: Fields, tips_per_ml: float) -> tuple[Tubes, Tubes]:
    """Arteries and veins of both lungs; the arteries come apart, since bronchi run along them."""
    arteries, veins = [], []
    for side, hilum in zip((-1, 1), fields.hila_mm, strict=True):
        for is_vein in (False, True):
            targets = _targets(generator, fields, side, tips_per_ml * generator.uniform(0.85, 1.15))
            root = hilum + np.array([0.0, -6.0 if is_vein else 0.0, -22.0 if is_vein else 0.0])
            rows = grow_tree(
                generator,
                targets,
                root,
                tip_radius_mm=generator.uniform(0.15, 0.24),
                exponent=generator.uniform(2.5, 2.9),
                wobble=generator.uniform(0.03, 0.09),
            )
            (veins if is_vein else arteries).append(rows)
    return tuple(Tubes(np.concatenate(rows), SOFT_TISSUE_HU) for rows in (arteries, veins))  # type: ignore[return-value]


def _targets(generator: np.random.Generator, fields: Fields, side: int, per_ml: float) -> FloatArray:
    index = np.argwhere((fields.lung_mm < -1.2) & (side * fields.midline_mm > 0))
    n = max(int(per_ml * len(index) * COARSE_MM**3 / 1000), 8)
    chosen = index[generator.choice(len(index), n, replace=n > len(index))]
    jitter = generator.uniform(-0.5, 0.5, size=(n, 3))
    return (chosen + jitter)[:, ::-1] * COARSE_MM + np.asarray(fields.origin_mm)


def make_airways(
    generator: np.random.Generator, fields: Fields, arteries: Tubes
) -> tuple[Tubes, Tubes, Tubes]:
    """Walls and lumina of bronchi beside the arteries, and the trachea with its two main bronchi (air)."""
    rows = arteries.rows[arteries.rows[:, 6] > generator.uniform(0.6, 0.9)]
    along = rows[:, 3:6] - rows[:, :3]
    side = np.cross(along, generator.normal(size=3))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    lumen = np.minimum(generator.uniform(0.65, 0.95) * rows[:, 6], 4.5)
    wall = 0.3 + 0.14 * lumen
    shift = side * (rows[:, 6] + lumen + wall - 0.25)[:, None]
    moved = np.column_stack([rows[:, :3] + shift, rows[:, 3:6] + shift])
    top = np.array([fields.carina_mm[0], fields.carina_mm[1] - 12, fields.lung_mm.shape[0] * COARSE_MM])
    trunk = [np.concatenate([top, fields.carina_mm, [8.5, 8.0]])]
    trunk += [np.concatenate([fields.carina_mm, hilum, [6.5, 5.0]]) for hilum in fields.hila_mm]
    return (
        Tubes(np.column_stack([moved, lumen + wall, lumen + wall]), 10.0),
        Tubes(np.column_stack([moved, lumen, lumen]), -980.0),
        Tubes(np.array(trunk), -995.0),
    )
