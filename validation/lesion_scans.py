"""Small simulated scans with one lesion each, drawn by code of its own, on lungs of both simulators.

A lesion is covered on a fine lattice, so that its diameters and the thickness of its wall are known from its
own surface; it is blurred as the scan is, and replaces the lung it displaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from miliary.model.ct_result import Lungs
from miliary.model.scan import Acquisition, Grid, Scan

FloatArray = npt.NDArray[np.float64]
FWHM_PER_SIGMA = 2.3548
FINE_MM = 0.3
EDGE_HU = -150.0
SURFACES = ("sphere", "ellipsoid", "lobulated", "spiculated")


@dataclass(frozen=True)
class LesionPlan:
    """What is drawn.

    Parameters
    ----------
    diameter_mm : float
        Of the sphere of equal volume.
    wall_mm : float or None
        Thickness of the wall normal to the surface; None for a solid lesion.
    surface : str
        One of `SURFACES`; spicules do not count for its diameters.
    is_eccentric : bool
        The cavity is a ball off the middle instead of following the surface; `wall_mm` is then its mean.
    density_hu, gas_hu : float
    fine_mm : float
        Step of the lattice it is covered on.
    """

    diameter_mm: float
    wall_mm: float | None
    surface: str = "sphere"
    is_eccentric: bool = False
    density_hu: float = 40.0
    gas_hu: float = -980.0
    fine_mm: float = FINE_MM


@dataclass(frozen=True)
class LesionTruth:
    """Figures of the lesion as drawn; `wall_mm` is the mean from inner surface to nearest outer point."""

    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float
    cavity_mm3: float
    wall_mm: float | None
    center_index: FloatArray


@dataclass(frozen=True)
class Background:
    """A lung without a lesion: scan, labels, and its blur as full widths (in plane, slice) [mm]."""

    scan: Scan
    lungs: Lungs
    fwhm_mm: float
    slice_mm: float
    noise_hu: float


def thicken(background: Background, slice_mm: float) -> Background:
    """The same lungs in slices averaged to `slice_mm`, one slice after the other."""
    step = background.scan.grid.spacing_zyx_mm[0]
    n = int(len(background.scan.voxels_hu) * step / slice_mm)
    edges = np.arange(n + 1) * slice_mm / step
    summed = np.zeros((n, *background.scan.voxels_hu.shape[1:]), np.float32)
    for i in range(n):
        for k in range(int(edges[i]), min(int(np.ceil(edges[i + 1])), len(background.scan.voxels_hu))):
            share = min(k + 1, edges[i + 1]) - max(k, edges[i])
            summed[i] += np.float32(share * step / slice_mm) * background.scan.voxels_hu[k]
    middles = (edges[:-1] + edges[1:]) / 2 - 0.5
    labels = background.lungs.labels[np.round(middles).astype(int)]
    grid = background.scan.grid
    x, y, z = grid.origin_lps_mm
    grid = Grid(summed.shape, (slice_mm, *grid.spacing_zyx_mm[1:]), (x, y, z + float(middles[0]) * step))
    scan = Scan(np.rint(summed).astype(np.int16), grid, Acquisition(slice_thickness_mm=slice_mm))
    noise = background.noise_hu * (step / slice_mm) ** 0.5
    lungs = Lungs(labels, grid.voxel_volume_mm3)
    return Background(scan, lungs, background.fwhm_mm, float(np.hypot(slice_mm, 0.3)), noise)


def draw_place(
    generator: np.random.Generator, background: Background, plan: LesionPlan, *, is_pleural: bool
) -> FloatArray:
    """Index of a middle deep in the lung, or so near its surface that the wall, not the cavity, meets it."""
    radius_mm = plan.diameter_mm / 2
    spacing = np.asarray(background.scan.grid.spacing_zyx_mm)
    stride = np.maximum(1, np.round(3.0 / spacing)).astype(int)
    small = np.pad(background.lungs.labels[:: stride[0], :: stride[1], :: stride[2]] > 0, 1)
    depth = ndimage.distance_transform_edt(small, sampling=spacing * stride)[1:-1, 1:-1, 1:-1]
    low, high = radius_mm + 4.0, np.inf
    if is_pleural:
        hollow = 0.35 * radius_mm if plan.wall_mm is None else radius_mm - 0.6 * plan.wall_mm
        low, high = hollow, max(0.9 * radius_mm, hollow + 1.0)
    choice = np.argwhere((depth > low) & (depth < high))
    index = choice[generator.integers(len(choice))] * stride + generator.uniform(-0.5, 0.5, 3)
    return np.asarray(index)


def insert_lesion(
    generator: np.random.Generator,
    background: Background,
    plan: LesionPlan,
    index: FloatArray,
    *,
    joins_wall: bool = False,
) -> tuple[Scan, Lungs, LesionTruth]:
    """A crop of the background with the lesion in it; `joins_wall` leaves no blurred air behind it."""
    spacing = np.asarray(background.scan.grid.spacing_zyx_mm)
    half = 2.2 * plan.diameter_mm / 2 + 24.0
    low = np.maximum(0, np.floor(index - half / spacing)).astype(int)
    high = np.minimum(background.scan.voxels_hu.shape, np.ceil(index + half / spacing) + 1).astype(int)
    view = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu = background.scan.voxels_hu[view].astype(np.float32)
    labels = np.ascontiguousarray(background.lungs.labels[view])
    grid = background.scan.grid.crop(low, hu.shape)
    start, whole, hole, strands = _cover(generator, plan)
    uncut = whole.copy()
    whole *= _sample_labels(labels, index - low, start, spacing, whole.shape, plan.fine_mm)
    truth = _measure_truth(whole, hole, index - low, plan.fine_mm)
    body = np.maximum(uncut if joins_wall else whole, strands).astype(np.float32)
    at = index - low
    solid, gas = (_see(part, start, at, spacing, hu.shape, background, plan.fine_mm) for part in (body, hole))
    room = labels > 0
    if joins_wall:
        # What the blur of the lung's edge shows of air is filled too.
        room |= ndimage.binary_dilation(room, iterations=3) & (hu < EDGE_HU)
    solid = np.where(room, np.clip(solid, 0, 1), 0.0)
    noise = ndimage.gaussian_filter(generator.normal(size=hu.shape), (0.3, 0.6, 0.6))
    noise *= background.noise_hu / noise.std()
    inside = (
        plan.density_hu * (solid - gas)
        + plan.gas_hu * gas
        + noise * np.sqrt(np.clip(solid * (2 - solid), 0, 1))
    )
    hu = hu * (1 - solid) + np.where(room, inside, 0.0)
    scan = Scan(np.clip(np.rint(hu), -1024, 3000).astype(np.int16), grid, background.scan.acquisition)
    return scan, Lungs(labels, grid.voxel_volume_mm3), truth


def insert_part_solid(
    generator: np.random.Generator,
    background: Background,
    plan: LesionPlan,
    index: FloatArray,
    *,
    core: LesionPlan | None,
) -> tuple[Scan, Lungs, LesionTruth, LesionTruth | None]:
    """A crop of the background with ground glass that leaves its vessels, and a solid core in the middle."""
    spacing = np.asarray(background.scan.grid.spacing_zyx_mm)
    half = 2.2 * plan.diameter_mm / 2 + 32.0
    low = np.maximum(0, np.floor(index - half / spacing)).astype(int)
    high = np.minimum(background.scan.voxels_hu.shape, np.ceil(index + half / spacing) + 1).astype(int)
    view = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu = background.scan.voxels_hu[view].astype(np.float32)
    labels = np.ascontiguousarray(background.lungs.labels[view])
    grid = background.scan.grid.crop(low, hu.shape)
    lung_hu = float(np.median(hu[labels > 0]))
    truths: list[LesionTruth | None] = []
    for part in (plan, core):
        if part is None:
            truths.append(None)
            continue
        start, whole, hole, _ = _cover(generator, part)
        whole *= _sample_labels(labels, index - low, start, spacing, whole.shape, part.fine_mm)
        truths.append(_measure_truth(whole, hole, index - low, part.fine_mm))
        seen = _see(whole, start, index - low, spacing, hu.shape, background, part.fine_mm)
        seen = np.where(labels > 0, np.clip(seen, 0.0, 1.0), 0.0)
        # What holds no air already, a vessel, stays as it is.
        air = np.clip((part.density_hu - hu) / (part.density_hu - lung_hu), 0.0, 1.0)
        hu = hu + (seen * air * (part.density_hu - lung_hu)).astype(np.float32)
    scan = Scan(np.clip(np.rint(hu), -1024, 3000).astype(np.int16), grid, background.scan.acquisition)
    whole_truth, core_truth = truths
    assert whole_truth is not None
    return scan, Lungs(labels, grid.voxel_volume_mm3), whole_truth, core_truth


def _cover(
    generator: np.random.Generator, plan: LesionPlan
) -> tuple[FloatArray, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Place of the lattice's first point from the middle [mm]; cover of body, cavity and spicules on it."""
    r = plan.diameter_mm / 2
    half = (1.55 if plan.surface == "spiculated" else 1.3) * r + 1.0
    line = np.arange(-half, half + plan.fine_mm, plan.fine_mm, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    axes, ratios = np.linalg.qr(generator.normal(size=(3, 3)))[0].astype(np.float32), np.ones(3, np.float32)
    if plan.surface != "sphere":
        ratios = np.array([1.0, generator.uniform(1, 1.25), generator.uniform(1, 1.25)], np.float32)
        ratios /= np.prod(ratios) ** (1 / 3)
    q = (points @ axes.T) / ratios
    away = np.linalg.norm(q, axis=-1)
    surface = np.full(away.shape, r)
    if plan.surface in ("lobulated", "spiculated"):
        unit = q / np.maximum(away, 1e-6)[..., None]
        phase = generator.uniform(0, 2 * np.pi, 3)
        surface = r * (
            1
            + generator.uniform(0.04, 0.1)
            * np.sin(3.2 * unit @ axes[0] + phase[0])
            * np.cos(2.7 * unit @ axes[1] + phase[1])
            + 0.03 * np.sin(5 * unit[..., 2] + phase[2])
        )
    whole = np.clip(0.5 + (surface - away) / plan.fine_mm, 0, 1).astype(np.float32)
    hole = np.zeros_like(whole)
    if plan.wall_mm is not None and plan.is_eccentric:
        inner = max(r - plan.wall_mm, 1.5)
        shift = generator.normal(size=3)
        shift *= 0.5 * max(plan.wall_mm - 1.2, 0.0) / np.linalg.norm(shift)
        hole = np.clip(0.5 + (inner - np.linalg.norm(points - shift, axis=-1)) / plan.fine_mm, 0, 1)
    elif plan.wall_mm is not None:
        depth = _measure_depth(whole, plan.wall_mm)
        hole = np.clip(0.5 + (depth - plan.wall_mm) / plan.fine_mm, 0, 1)
    strands = np.zeros_like(whole)
    if plan.surface == "spiculated":
        for way in generator.normal(size=(12, 3)):
            unit = way / np.linalg.norm(way)
            along = points @ unit
            aside = np.linalg.norm(points - along[..., None] * unit, axis=-1)
            width = 0.8 * np.clip(1.6 - along / r, 0.0, 1.0)
            strands = np.maximum(
                strands, ((along > 0) & (along < 1.5 * r) & (aside < width)).astype(np.float32)
            )
    return np.full(3, -half), whole, hole.astype(np.float32), strands


def _find_surface(cover: npt.NDArray[np.float32]) -> FloatArray:
    """Points (n, 3) [mm] between neighbors of the lattice where the cover passes one half."""
    points = []
    for axis in range(3):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = cover[tuple(low)], cover[tuple(high)]
        where = np.argwhere((a > 0.5) != (b > 0.5))
        u, v = a[tuple(where.T)].astype(float), b[tuple(where.T)].astype(float)
        place = where.astype(np.float64)
        place[:, axis] += (0.5 - u) / (v - u)
        points.append(place)
    return np.asarray(np.concatenate(points) * FINE_MM)


def _measure_depth(whole: npt.NDArray[np.float32], wanted_mm: float) -> FloatArray:
    """Distance from the surface, exact where it is about `wanted_mm`."""
    depth = np.asarray(ndimage.distance_transform_edt(whole > 0.5, sampling=FINE_MM))
    near = np.abs(depth - wanted_mm) < 3 * FINE_MM
    depth[near], _ = cKDTree(_find_surface(whole)).query(np.argwhere(near) * FINE_MM)
    return depth


def _see(
    cover: npt.NDArray[np.float32],
    start: FloatArray,
    middle: FloatArray,
    spacing: FloatArray,
    shape: tuple[int, ...],
    background: Background,
    fine_mm: float,
) -> FloatArray:
    """The cover blurred as the scan is, at the scan's voxels."""
    sigma = background.fwhm_mm / FWHM_PER_SIGMA / fine_mm
    pad = int(np.ceil((background.slice_mm / 2 + 1.0) / fine_mm))
    side = int(np.ceil(3.5 * sigma))
    wide = np.pad(cover, [(pad, pad), (side, side), (side, side)])
    wide = ndimage.gaussian_filter(wide, (0, sigma, sigma))
    wide = ndimage.uniform_filter1d(wide, max(1, round(background.slice_mm / fine_mm)), axis=0)
    origin = start - np.array([pad, side, side]) * fine_mm
    places = [
        ((np.arange(n) - m) * s - o) / fine_mm
        for n, m, s, o in zip(shape, middle, spacing, origin, strict=True)
    ]
    at = np.stack(np.meshgrid(*places, indexing="ij"))
    return np.asarray(ndimage.map_coordinates(wide, at, order=1, mode="constant"), dtype=np.float64)


def _sample_labels(
    labels: npt.NDArray[np.uint8],
    middle: FloatArray,
    start: FloatArray,
    spacing: FloatArray,
    shape: tuple[int, ...],
    fine_mm: float,
) -> npt.NDArray[np.bool_]:
    """Whether each point of the lattice lies in the lung: what lies beyond is chest wall, not lesion."""
    rows = [
        np.clip(np.rint(m + (o + np.arange(n) * fine_mm) / s), 0, size - 1).astype(int)
        for m, o, n, s, size in zip(middle, start, shape, spacing, labels.shape, strict=True)
    ]
    return np.asarray(labels[np.ix_(*rows)] > 0)


def _measure_truth(whole: FloatArray, hole: FloatArray, center: FloatArray, fine_mm: float) -> LesionTruth:
    best, across = 0.0, 0.0
    for plane in whole:
        points = np.argwhere(plane > 0.5) * fine_mm
        if len(points) < 10:
            continue
        hull = points[ConvexHull(points).vertices]
        gap = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
        if gap.max() > best:
            best = float(gap.max())
            i, j = np.unravel_index(gap.argmax(), gap.shape)
            way = (hull[j] - hull[i]) / best
            aside = hull @ np.array([-way[1], way[0]])
            across = float(np.ptp(aside))
    wall = None
    if hole.any():
        reach, _ = cKDTree(_find_surface(whole)).query(_find_surface(hole))
        wall = float(reach.mean())
    cell = fine_mm**3
    return LesionTruth(best, across, float(whole.sum() * cell), float(hole.sum() * cell), wall, center)
