"""Nodules: populations, where they lie, what shape they have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.errors import InputError
from miliary.image.simulate.chest_anatomy import CoarseField
from miliary.image.simulate.raster import nodule_share
from miliary.image.simulate.vessels import Trees
from miliary.model.scan import Grid

FloatArray = npt.NDArray[np.float64]
PATTERNS = ("random", "perilymphatic", "centrilobular", "none")
SHAPES = ("sphere", "ellipsoid", "lobulated")


@dataclass(frozen=True)
class NodulePopulation:
    """Many small nodules.

    Parameters
    ----------
    n : int
        Number of nodules; 0 with pattern ``none``.
    diameter_mm : tuple of float
        Smallest and largest diameter [mm] of the equal-volume sphere.
    distribution : str
        ``uniform`` over the range, or ``lognormal`` with its central 95 % in the range, cut there.
    density_hu : tuple of float
        Range of attenuation [HU]: solid about 20 to 60, subsolid -600 to -200.
    pattern : str
        ``random``, ``perilymphatic``, ``centrilobular`` or ``none``.
    shape : str or None
        ``sphere``, ``ellipsoid`` (axis ratio up to `axis_ratio`), ``lobulated``; None mixes them.
    axis_ratio : float
    subsolid_share : float
        Share of nodules whose attenuation is drawn from -600 to -200 HU instead.
    min_gap_mm : float
        Least distance between surfaces [mm]; negative values allow overlap.
    """

    n: int = 1000
    diameter_mm: tuple[float, float] = (1.0, 3.0)
    distribution: str = "uniform"
    density_hu: tuple[float, float] = (20.0, 60.0)
    pattern: str = "random"
    shape: str | None = None
    axis_ratio: float = 1.4
    subsolid_share: float = 0.0
    min_gap_mm: float = 0.2

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise InputError(f"pattern {self.pattern!r} is not known; choose one of {', '.join(PATTERNS)}")
        if self.shape is not None and self.shape not in SHAPES:
            raise InputError(f"shape {self.shape!r} is not known; choose one of {', '.join(SHAPES)}")


@dataclass(frozen=True)
class DominantLesion:
    """One large lesion.

    Parameters
    ----------
    diameter_mm : float
    wall_mm : float or None
        Thickness of the wall around an air-filled cavity [mm]; None for a solid lesion.
    side : str
        ``right`` or ``left``.
    zone : str
        ``upper``, ``middle`` or ``lower``.
    density_hu : float
    """

    diameter_mm: float = 19.0
    wall_mm: float | None = 4.0
    side: str = "left"
    zone: str = "upper"
    density_hu: float = 40.0


@dataclass(frozen=True)
class Body:
    """One nodule to be rendered: centre (z, y, x) [mm], equal-sphere diameter, density and surface."""

    center_zyx_mm: FloatArray
    diameter_mm: float
    density_hu: float
    shape: str
    axes: FloatArray = field(default_factory=lambda: np.eye(3))
    ratios: FloatArray = field(default_factory=lambda: np.ones(3))
    lobes: FloatArray = field(default_factory=lambda: np.zeros(4))
    hollow_mm: float = 0.0

    @property
    def volume_mm3(self) -> float:
        """Volume of the whole body, cavity included [mm3]."""
        return float(np.pi / 6 * self.diameter_mm**3)


def draw_body(
    center_zyx_mm: FloatArray,
    diameter_mm: float,
    density_hu: float,
    *,
    shape: str,
    axis_ratio: float,
    rng: np.random.Generator,
    hollow_mm: float = 0.0,
) -> Body:
    """Draw orientation, axes and lobes of one nodule."""
    ratios, lobes, axes = np.ones(3), np.zeros(4), np.eye(3)
    if shape != "sphere":
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        ratios = np.array([1.0, rng.uniform(1, axis_ratio), rng.uniform(1, axis_ratio)])
        ratios /= np.prod(ratios) ** (1 / 3)
    if shape == "lobulated":
        lobes = np.concatenate([[rng.uniform(0.05, 0.12)], rng.uniform(0, 2 * np.pi, 3)])
    return Body(center_zyx_mm, diameter_mm, density_hu, shape, axes, ratios, lobes, hollow_mm)


def render_body(
    body: Body,
    start_zyx_mm: FloatArray,
    step_zyx_mm: FloatArray,
    *,
    diameter_mm: float | None = None,
    margin_voxels: tuple[int, int, int] = (1, 1, 1),
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Volume share of `body` per voxel, on a box of its own.

    Parameters
    ----------
    body : Body
    start_zyx_mm, step_zyx_mm : ndarray, shape (3,)
        Centre of voxel 0 and voxel size [mm], in the frame of the body's centre.
    diameter_mm : float, optional
        Another diameter (the cavity inside a lesion).
    margin_voxels : tuple of int
        Empty voxels kept around the body, room for a later blur.

    Returns
    -------
    low : ndarray of int64, shape (3,)
        Index of the first voxel of the box; may be negative.
    share : ndarray of float64
        Sums to volume / voxel volume exactly.
    """
    d = body.diameter_mm if diameter_mm is None else diameter_mm
    reach = 0.5 * d * float(body.ratios.max()) * (1 + 2 * float(body.lobes[0])) + 0.01
    margin = np.asarray(margin_voxels)
    at = (body.center_zyx_mm - start_zyx_mm) / step_zyx_mm
    low = np.floor(at - reach / step_zyx_mm - 0.5).astype(np.int64) - margin
    high = np.ceil(at + reach / step_zyx_mm + 0.5).astype(np.int64) + margin
    n_sub = np.clip(np.ceil(step_zyx_mm / np.clip(0.1 * d, 0.12, 0.25)), 1, 24).astype(np.int64)
    share = nodule_share(
        body.center_zyx_mm,
        body.axes,
        0.5 * d * body.ratios,
        body.lobes,
        low,
        high - low + 1,
        start_zyx_mm,
        step_zyx_mm,
        np.pi / 6 * d**3,
        n_sub,
    )
    return low, share


def paste(
    target: npt.NDArray[np.float32], low: npt.NDArray[np.int64], share: FloatArray
) -> tuple[tuple[slice, ...], FloatArray]:
    """The part of `share` that lies inside `target`, and where."""
    first = np.maximum(low, 0)
    last = np.minimum(low + share.shape, target.shape)
    last = np.maximum(last, first)
    where = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    inner = tuple(slice(int(a), int(b)) for a, b in zip(first - low, last - low, strict=True))
    return where, share[inner]


def draw_diameters(population: NodulePopulation, rng: np.random.Generator) -> FloatArray:
    """Diameters [mm], largest first, so that large nodules find room before small ones."""
    low, high = population.diameter_mm
    if population.distribution == "uniform" or low == high:
        d = rng.uniform(low, high, population.n)
    else:
        mean, spread = 0.5 * np.log(low * high), np.log(high / low) / 4
        d = np.exp(np.clip(rng.normal(mean, spread, population.n), np.log(low), np.log(high)))
    return np.sort(d)[::-1]


def accept_apart(
    points: FloatArray, radii: FloatArray, *, min_gap_mm: float, taken: FloatArray, taken_radii: FloatArray
) -> npt.NDArray[np.bool_]:
    """Which of the points keep their distance from all taken ones and from earlier points."""
    keep = np.ones(len(points), bool)
    if len(points) == 0:
        return keep
    far = 2 * float(max(radii.max(), taken_radii.max(initial=0.0))) + max(min_gap_mm, 0.0)
    if len(taken):
        tree = cKDTree(taken)
        for i, near in enumerate(tree.query_ball_point(points, far)):
            if near:
                d = np.linalg.norm(taken[near] - points[i], axis=1)
                keep[i] = bool(np.all(d >= taken_radii[near] + radii[i] + min_gap_mm))
    for i, j in sorted(cKDTree(points).query_pairs(far)):
        if keep[i] and keep[j]:
            d = float(np.linalg.norm(points[i] - points[j]))
            keep[j] = d >= radii[i] + radii[j] + min_gap_mm
    return keep


class PlaceSampler:
    """Draws points of one pattern in a simulated chest, in the body frame (z, y, x) [mm]."""

    def __init__(
        self,
        chest: CoarseField,
        trees: Trees,
        pattern: str,
        rng: np.random.Generator,
        box_zyx_mm: FloatArray,
    ) -> None:
        self.chest, self.trees, self.pattern, self.rng = chest, trees, pattern, rng
        inside = chest.values["lung"] > -chest.spacing_mm
        index = np.argwhere(inside)
        points = index * chest.spacing_mm + chest.origin_zyx_mm
        near = np.all((points > box_zyx_mm[0] - 3) & (points < box_zyx_mm[1] + 3), axis=1)
        self.cells = points[near]
        self.box = box_zyx_mm
        ends = trees.vessels.ends_zyx_mm
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) if len(ends) else np.zeros(0)
        weight = length * np.clip(trees.vessels.radius_mm[:, 0] - 0.35, 0, 2) ** 0.5
        self.vessel_weight = weight / max(float(weight.sum()), 1e-9)
        depth = chest.sample("lung", self.cells)
        self.pleural = self.cells[depth < 5.0]
        self.fissural = self.cells[np.abs(chest.sample("fissure", self.cells)) < 4.0]

    def draw(self, n: int, radii: FloatArray) -> FloatArray:
        """`n` proposals; the caller rejects those outside the lung or too close to others."""
        if self.pattern == "perilymphatic":
            return self._perilymphatic(n, radii)
        if self.pattern == "centrilobular":
            return self._centrilobular(n, radii)
        return self._jitter(self.cells, n)

    def _jitter(self, cells: FloatArray, n: int) -> FloatArray:
        if len(cells) == 0:
            return np.full((n, 3), 1e6)
        half = 0.5 * self.chest.spacing_mm
        return cells[self.rng.integers(0, len(cells), n)] + self.rng.uniform(-half, half, (n, 3))

    def _perilymphatic(self, n: int, radii: FloatArray) -> FloatArray:
        """Onto the pleura, the fissures, or the surface of a vessel."""
        kind = self.rng.choice(3, n, p=(0.4, 0.2, 0.4))
        points = self._jitter(self.pleural, n)
        points = self._to_level(points, "lung", radii + self.rng.uniform(0, 0.8, n))
        fissural = self._jitter(self.fissural, n)
        sign = np.sign(self.chest.sample("fissure", fissural))
        fissural = self._to_level(fissural, "fissure", sign * radii * self.rng.uniform(0, 1.1, n))
        points = np.where((kind == 1)[:, None], fissural, points)
        along = self._beside_vessels(n, radii)
        return np.where((kind == 2)[:, None], along, points)

    def _beside_vessels(self, n: int, radii: FloatArray) -> FloatArray:
        if self.vessel_weight.sum() == 0:
            return self._jitter(self.pleural, n)
        pick = self.rng.choice(len(self.vessel_weight), n, p=self.vessel_weight)
        ends, radius = self.trees.vessels.ends_zyx_mm[pick], self.trees.vessels.radius_mm[pick]
        t = self.rng.random(n)[:, None]
        point = ends[:, 0] * (1 - t) + ends[:, 1] * t
        axis = ends[:, 1] - ends[:, 0]
        axis /= np.linalg.norm(axis, axis=1)[:, None] + 1e-9
        aside = self.rng.standard_normal((n, 3))
        aside -= np.sum(aside * axis, axis=1)[:, None] * axis
        aside /= np.linalg.norm(aside, axis=1)[:, None] + 1e-9
        return np.asarray(point + aside * (radius.mean(1) + 0.9 * radii)[:, None])

    def _to_level(self, points: FloatArray, name: str, level: FloatArray) -> FloatArray:
        """Move points along the gradient of a distance field to the given level [mm]."""
        e = 1.0
        for _ in range(3):
            value = self.chest.sample(name, points)
            gradient = np.stack(
                [
                    self.chest.sample(name, points + e * axis) - self.chest.sample(name, points - e * axis)
                    for axis in np.eye(3)
                ],
                axis=1,
            ) / (2 * e)
            norm = np.sum(gradient**2, axis=1) + 1e-3
            points = points + np.clip((level - value) / norm, -4, 4)[:, None] * gradient
        return points

    def _centrilobular(self, n: int, radii: FloatArray) -> FloatArray:
        """Around the tips of the arteries."""
        tips = self.trees.tips_zyx_mm
        near = np.all((tips > self.box[0] - 3) & (tips < self.box[1] + 3), axis=1)
        tips = tips[near]
        if len(tips) == 0:
            return np.full((n, 3), 1e6)
        away = self.rng.standard_normal((n, 3))
        away /= np.linalg.norm(away, axis=1)[:, None]
        reach = radii + self.rng.exponential(0.6, n)
        return np.asarray(tips[self.rng.integers(0, len(tips), n)] + away * reach[:, None])

    def least_depth_mm(self, radii: FloatArray) -> FloatArray:
        """How far from the pleura a centre must be [mm]."""
        return radii + 2.5 if self.pattern == "centrilobular" else radii * 0.95


def place(
    sampler: PlaceSampler,
    diameters_mm: FloatArray,
    *,
    min_gap_mm: float,
    taken: FloatArray,
    taken_radii: FloatArray,
) -> FloatArray:
    """Positions (n, 3) in (z, y, x) [mm] for all diameters.

    Raises
    ------
    InputError
        There is no room for so many.
    """
    radii = diameters_mm / 2
    out = np.full((len(radii), 3), np.nan)
    room = len(sampler.cells) * sampler.chest.spacing_mm**3
    # Random packing stalls long before space is full; say so at once instead of trying in vain.
    needed = float(np.sum(4 / 3 * np.pi * (radii + min_gap_mm / 2) ** 3))
    for _ in range(60 if needed < 0.25 * room else 0):
        open_ = np.flatnonzero(np.isnan(out[:, 0]))
        if len(open_) == 0:
            return out
        points = sampler.draw(len(open_), radii[open_])
        inside = np.all((points >= sampler.box[0]) & (points <= sampler.box[1]), axis=1)
        depth = sampler.chest.sample("lung", points)
        good = inside & (depth >= sampler.least_depth_mm(radii[open_]))
        points, open_ = points[good], open_[good]
        done = ~np.isnan(out[:, 0])
        keep = accept_apart(
            points,
            radii[open_],
            min_gap_mm=min_gap_mm,
            taken=np.concatenate([taken, out[done]]),
            taken_radii=np.concatenate([taken_radii, radii[done]]),
        )
        out[open_[keep]] = points[keep]
    raise InputError(
        f"population.n = {len(radii)} nodules do not fit into the simulated lungs; "
        "ask for fewer or smaller ones"
    )


def draw_positions(
    lung_labels: npt.NDArray[np.uint8],
    grid: Grid,
    n: int,
    *,
    pattern: str = "random",
    seed: int,
    min_gap_mm: float = 4.0,
    depth_mm: float = 1.0,
    voxels_hu: npt.NDArray[np.floating] | npt.NDArray[np.int16] | None = None,
) -> FloatArray:
    """Draw places for nodules inside given lungs.

    Parameters
    ----------
    lung_labels : ndarray of uint8, shape (z, y, x)
        0 outside, otherwise lung.
    grid : Grid
        Of the labels.
    n : int
    pattern : str
        ``random``, ``perilymphatic`` (near the outer surface and, where `voxels_hu` is given, beside
        vessels) or ``centrilobular`` (clusters 3 to 8 mm off the surface); ``none`` gives no place.
    seed : int
    min_gap_mm : float
        Least distance between two centres [mm].
    depth_mm : float
        Least distance of a centre from the outer surface [mm].
    voxels_hu : ndarray, optional
        Attenuation on the same grid, to find vessels [HU].

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Patient LPS (x, y, z) [mm].

    Raises
    ------
    InputError
        The lungs hold no such place, or not `n` of them.
    """
    if pattern not in PATTERNS:
        raise InputError(f"pattern {pattern!r} is not known; choose one of {', '.join(PATTERNS)}")
    if n == 0 or pattern == "none":
        return np.empty((0, 3))
    rng = np.random.default_rng([seed, 21])
    box = ndimage.find_objects((lung_labels > 0).astype(np.uint8))
    if not box:
        raise InputError("lung_labels holds no lung; nodules need one")
    step = np.asarray(grid.spacing_zyx_mm)
    stride = tuple(max(1, int(1.2 / h)) for h in step)
    offset = np.array([s.start for s in box[0]])
    cut = tuple(slice(s.start, s.stop, k) for s, k in zip(box[0], stride, strict=True))
    coarse = np.pad(lung_labels[cut] > 0, 1)
    depth = ndimage.distance_transform_edt(coarse, sampling=step * stride).astype(np.float32)[
        1:-1, 1:-1, 1:-1
    ]
    allowed = (depth > 0) & (depth >= depth_mm)
    if pattern == "perilymphatic":
        near = depth < depth_mm + 1.5
        if voxels_hu is not None:
            dense = ndimage.gaussian_filter(voxels_hu[cut].astype(np.float32), 0.7) > -500
            core = dense & (depth > 4)
            near |= ndimage.binary_dilation(core, iterations=1) & ~core
        allowed &= near
    if pattern == "centrilobular":
        allowed &= (depth >= 3) & (depth <= 60)
    cells = np.argwhere(allowed)
    if len(cells) == 0:
        raise InputError("lung_labels leaves no place for nodules at this depth; use larger lungs")
    centers = cells[rng.integers(0, len(cells), max(1, n // 4))] if pattern == "centrilobular" else cells
    out = np.empty((0, 3))
    for _ in range(80):
        if len(out) >= n:
            break
        spread = 0.5 if pattern != "centrilobular" else 0.0
        index = (
            centers[rng.integers(0, len(centers), 2 * n)] + rng.uniform(-spread, spread, (2 * n, 3))
        ) * stride
        mm = index * step
        if pattern == "centrilobular":
            mm = mm + rng.normal(0, 5.0, mm.shape)
        rounded = np.rint(mm / step / stride).astype(int)
        ok = np.all((rounded >= 0) & (rounded < allowed.shape), axis=1)
        ok[ok] = allowed[tuple(rounded[ok].T)]
        mm = mm[ok]
        zero = np.zeros(len(mm))
        keep = accept_apart(mm, zero, min_gap_mm=min_gap_mm, taken=out, taken_radii=np.zeros(len(out)))
        out = np.concatenate([out, mm[keep]])
    if len(out) < n:
        raise InputError(f"n = {n} nodules do not fit with min_gap_mm = {min_gap_mm:g}; ask for fewer")
    return grid.lps_from_index(out[:n] / step + offset)
