"""Pairs of scans with known motion: one chest, breathed differently, disease treated in between.

The motion is an analytic sum of sines and powers per lung, strongest at the diaphragm; ribs, heart and
airways stand still, so the lungs slide along them and each for itself. Attenuation follows the air's volume.
Nodules are drawn with `validation.insertion`, and the noise of the two scans is independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.kernels.resample import resample_volume
from miliary.model.scan import Grid, Scan
from miliary.model.transform import Transform
from validation.insertion import Blur, draw_centres, render_sphere

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

NODE_MM = 4.0
TISSUE_HU = 40.0
RIM_MM = 1.5
PARENCHYMA_HU = (-500.0, -300.0)
BLUR = Blur(1.4, 1.2)


@dataclass(frozen=True)
class Breath:
    """How the follow-up was breathed and how the patient lay.

    Parameters
    ----------
    diaphragm_mm : tuple of float
        Rise of the right and left diaphragm (out-breath), negative for an in-breath.
    chest_mm : float
        How far the front of the chest sinks, negative for an in-breath.
    sway_mm : tuple of float
        Amplitude of the sines towards x, y and z.
    shift_lps_mm, turn_deg : tuple of float
        Of the patient on the table; turns about x, y, z.
    seed : int
        Of the phases and wavelengths.
    """

    diaphragm_mm: tuple[float, float] = (20.0, 16.0)
    chest_mm: float = 0.0
    sway_mm: tuple[float, float, float] = (2.5, 3.0, 1.5)
    shift_lps_mm: tuple[float, float, float] = (6.0, -9.0, 21.0)
    turn_deg: tuple[float, float, float] = (1.5, -1.0, 2.0)
    seed: int = 0


@dataclass(frozen=True)
class Motion:
    """The exact map between the two scans, per side (label 1 right, 2 left)."""

    breath: Breath
    boxes: dict[int, tuple[F64, F64]]
    center: F64

    def rotation(self) -> F64:
        """Rotation of the patient, about `center`."""
        a, b, c = np.deg2rad(self.breath.turn_deg)
        about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
        about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
        about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
        return np.asarray(about_z) @ np.asarray(about_y) @ np.asarray(about_x)

    def unturn(self) -> Transform:
        """From the table of the follow-up back to that of the baseline, without the breath."""
        turn = self.rotation()
        offset = self.center - turn.T @ (self.center + np.asarray(self.breath.shift_lps_mm))
        return Transform.affine(turn.T, offset)

    def pull(self, side: int, points: F64) -> F64:
        """Displacement (n, 3) from where tissue is after the breath to where it was before."""
        low, high = self.boxes[side]
        rng = np.random.default_rng([self.breath.seed, side])
        phase, wave = rng.uniform(0, 2 * np.pi, (3, 2)), rng.uniform(70, 120, (3, 2))
        x, y, z = points.T
        down = np.clip((high[2] - z) / (high[2] - low[2]), 0.0, 1.3)
        back = np.clip((y - low[1]) / (high[1] - low[1]), -0.2, 1.2)
        rise = self.breath.diaphragm_mm[side - 1] * down**1.7 * (0.7 + 0.3 * back)
        sx, sy, sz = self.breath.sway_mm
        grow = 0.3 + 0.7 * np.minimum(down, 1.0)
        dx = (
            sx
            * np.sin(2 * np.pi * z / wave[0, 0] + phase[0, 0])
            * np.cos(2 * np.pi * y / wave[0, 1] + phase[0, 1])
        )
        dy = (
            sy
            * np.sin(2 * np.pi * x / wave[1, 0] + phase[1, 0])
            * np.cos(2 * np.pi * z / wave[1, 1] + phase[1, 1])
        )
        dz = (
            sz
            * np.sin(2 * np.pi * x / wave[2, 0] + phase[2, 0])
            * np.sin(2 * np.pi * y / wave[2, 1] + phase[2, 1])
        )
        sink = self.breath.chest_mm * (1.0 - back) * np.sqrt(0.1 + down)
        return np.stack([dx * grow, dy * grow - sink, dz - rise], axis=1)

    def to_followup(self, points_lps_mm: F64, side: npt.NDArray[np.integer]) -> F64:
        """Follow-up points (n, 3) of baseline points (n, 3) in the lung of label `side` (n,)."""
        at = np.array(points_lps_mm, dtype=np.float64)
        for label in self.boxes:
            own = side == label
            here = points_lps_mm[own]
            place = here.copy()
            for _ in range(60):
                place = here - self.pull(label, place)
            at[own] = place
        turned: F64 = (at - self.center) @ self.rotation().T + self.center + self.breath.shift_lps_mm
        return turned

    def to_baseline(self, side: int, grid: Grid) -> tuple[Transform, F32]:
        """Map of follow-up points to baseline points on nodes over `grid`, and its volume change there."""
        nodes = cover(grid, NODE_MM)
        index = np.moveaxis(np.indices(nodes.shape_zyx), 0, -1).reshape(-1, 3).astype(np.float64)
        unturn = self.unturn()
        field = self.pull(side, unturn.apply(nodes.lps_from_index(index)))
        shape = (*nodes.shape_zyx, 3)
        transform = Transform(
            unturn.matrix, unturn.offset_lps_mm, nodes, field.reshape(shape).astype(np.float32)
        )
        return transform, transform.jacobian().astype(np.float32)


@dataclass(frozen=True)
class Pair:
    """Baseline and follow-up with their truth.

    Parameters
    ----------
    baseline, followup : Scan
    baseline_labels, followup_labels : ndarray of uint8
        True lungs.
    motion : Motion
    nodules_lps_mm : ndarray, shape (n, 3)
        Centers in the baseline.
    side : ndarray, shape (n,)
    diameter_mm, followup_diameter_mm : ndarray, shape (n,)
        Diameter before and after, 0 where gone.
    lesion : tuple or None
        Center in the baseline, diameter before and after.
    """

    baseline: Scan
    followup: Scan
    baseline_labels: npt.NDArray[np.uint8]
    followup_labels: npt.NDArray[np.uint8]
    motion: Motion
    nodules_lps_mm: F64
    side: npt.NDArray[np.int64]
    diameter_mm: F64
    followup_diameter_mm: F64
    lesion: tuple[F64, float, float] | None = None


def cover(grid: Grid, spacing_mm: float) -> Grid:
    """A grid of about `spacing_mm` whose nodes span the whole of another."""
    size = (np.asarray(grid.shape_zyx) - 1) * grid.spacing_zyx_mm
    n = np.maximum(1, np.ceil(size / spacing_mm)).astype(int)
    step = size / n
    return replace(
        grid,
        shape_zyx=(int(n[0]) + 1, int(n[1]) + 1, int(n[2]) + 1),
        spacing_zyx_mm=(float(step[0]), float(step[1]), float(step[2])),
    )


def make_motion(labels: npt.NDArray[np.uint8], grid: Grid, breath: Breath) -> Motion:
    """Motion of the lungs of one scan."""
    boxes = {}
    for side in (1, 2):
        found = ndimage.find_objects((labels == side).astype(np.uint8))
        if not found:
            continue
        corners = [[s.start for s in found[0]], [s.stop - 1 for s in found[0]]]
        ends = grid.lps_from_index(corners)
        boxes[side] = (ends.min(axis=0), ends.max(axis=0))
    center = np.mean([(low + high) / 2 for low, high in boxes.values()], axis=0)
    return Motion(breath, boxes, center)


def make_pair(
    anatomy: Scan,
    labels: npt.NDArray[np.uint8],
    breath: Breath,
    *,
    seed: int,
    n_nodules: int = 1000,
    diameter_mm: tuple[float, float] = (1.5, 3.2),
    gone_share: float = 0.9,
    followup_scale: float = 1.0,
    lesion_mm: tuple[float, float] | None = (24.0, 12.0),
    noise_hu: tuple[float, float] = (20.0, 25.0),
    followup_spacing_zyx_mm: Sequence[float] | None = None,
    blur: Blur = BLUR,
) -> Pair:
    """Baseline and follow-up of one anatomy.

    Parameters
    ----------
    anatomy : Scan
        As free of noise as can be had, without the nodules.
    labels : ndarray of uint8
        Its lungs.
    breath : Breath
    seed : int
        Of nodules, their fate and the noise.
    n_nodules : int
    diameter_mm : tuple of float
    gone_share : float
        Share of the nodules that the follow-up lacks.
    followup_scale : float
        Of the diameter of those that stay.
    lesion_mm : tuple of float, optional
        Diameter of one large ball before and after.
    noise_hu : tuple of float
        SD of the noise added to either scan.
    followup_spacing_zyx_mm : sequence of float, optional
        That of the baseline when not given.
    blur : Blur
        Of the nodules.
    """
    rng = np.random.default_rng(seed)
    grid, spacing = anatomy.grid, anatomy.grid.spacing_zyx_mm
    motion = make_motion(labels, grid, breath)
    diameter = rng.uniform(*diameter_mm, n_nodules)
    center = draw_centres(rng, labels, spacing, diameter / 2, gap_mm=1.0) if n_nodules else np.zeros((0, 3))
    after = np.where(rng.uniform(size=n_nodules) < gone_share, 0.0, diameter * followup_scale)
    lesion = None
    bodies = [(center, diameter, after)]
    if lesion_mm is not None:
        place = _draw_deep(rng, labels, spacing, lesion_mm[0] / 2)
        bodies.append((place[None], np.array([lesion_mm[0]]), np.array([lesion_mm[1]])))
        lesion = (grid.lps_from_index(place), *lesion_mm)
    clean = anatomy.voxels_hu.astype(np.float32)
    before_hu, after_hu = clean, clean.copy()
    for index, old, new in bodies:
        _draw(before_hu, index, old, spacing, blur)
        _draw(after_hu, index, new, spacing, blur)
    target = _followup_grid(grid, motion, followup_spacing_zyx_mm or spacing)
    moved, moved_labels = _breathe(after_hu, labels, grid, motion, target)
    del after_hu
    scans = []
    for k, (voxels, own) in enumerate(((before_hu, grid), (moved, target))):
        _add_noise(voxels, np.random.default_rng([seed, k]), noise_hu[k])
        scans.append(Scan(np.clip(np.rint(voxels), -1024, 3000).astype(np.int16), own))
    side = labels[tuple(np.clip(np.rint(center).astype(int), 0, np.array(labels.shape) - 1).T)].astype(int)
    points = grid.lps_from_index(center)
    return Pair(*scans, labels, moved_labels, motion, points, side, diameter, after, lesion)


def draw_points(
    rng: np.random.Generator, scan: Scan, labels: npt.NDArray[np.uint8], n: int, *, min_hu: float = -2000.0
) -> tuple[F64, npt.NDArray[np.int64]]:
    """Random LPS points (n, 3) inside the labels where the scan exceeds `min_hu`, and their labels."""
    inside = np.flatnonzero(labels)
    inside = inside[rng.integers(len(inside), size=40 * n)]
    inside = inside[scan.voxels_hu.ravel()[inside] > min_hu][:n]
    index = np.stack(np.unravel_index(inside, labels.shape), axis=1)
    return scan.grid.lps_from_index(index), labels.ravel()[inside].astype(np.int64)


def _draw_deep(
    rng: np.random.Generator,
    labels: npt.NDArray[np.uint8],
    spacing: tuple[float, float, float],
    depth_mm: float,
) -> F64:
    """A point at least `depth_mm` below the surface of a lung."""
    coarse = labels[::4, ::4, ::4] > 0
    deep = ndimage.distance_transform_edt(coarse, sampling=[4 * s for s in spacing]) > depth_mm + 5.0
    places = np.argwhere(deep)
    return np.asarray(places[rng.integers(len(places))] * 4.0)


def _draw(voxels: F32, index: F64, diameter: F64, spacing: tuple[float, float, float], blur: Blur) -> None:
    """Replace the lung at each index by a ball; tissue already dense stays."""
    for place, size in zip(index, diameter, strict=True):
        if size <= 0:
            continue
        first, share = render_sphere(place, size / 2, spacing, blur)
        low, high = np.maximum(first, 0), np.minimum(first + share.shape, voxels.shape)
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
        voxels[where] += share[part] * np.maximum(TISSUE_HU - voxels[where], 0.0)


def _followup_grid(grid: Grid, motion: Motion, spacing_zyx_mm: Sequence[float]) -> Grid:
    """Field of view of the follow-up: that of the baseline, moved by the nearest whole centimeters."""
    size = (np.asarray(grid.shape_zyx) - 1) * grid.spacing_zyx_mm
    n = np.floor(size / spacing_zyx_mm).astype(int) + 1
    shift = np.round(np.asarray(motion.breath.shift_lps_mm) / 10.0) * 10.0 + 3.0
    origin = np.asarray(grid.origin_lps_mm) + shift
    dz, dy, dx = (float(s) for s in spacing_zyx_mm)
    return replace(
        grid,
        shape_zyx=(int(n[0]), int(n[1]), int(n[2])),
        spacing_zyx_mm=(dz, dy, dx),
        origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _breathe(
    voxels: F32, labels: npt.NDArray[np.uint8], grid: Grid, motion: Motion, target: Grid
) -> tuple[F32, npt.NDArray[np.uint8]]:
    """The chest after the breath on another grid, and its lungs."""
    rim = tuple(int(np.ceil(RIM_MM / s)) for s in grid.spacing_zyx_mm)
    size = tuple(2 * r + 1 for r in rim)
    near = ndimage.maximum_filter(labels, size=size)
    still = np.where(near > 0, np.maximum(voxels, TISSUE_HU), voxels)
    out = resample_volume(still, grid, target, transform=motion.unturn())
    del still
    best = np.zeros(target.shape_zyx, dtype=np.float32)
    found = np.zeros(target.shape_zyx, dtype=np.uint8)
    for side in motion.boxes:
        transform, jacobian = motion.to_baseline(side, target)
        own = (labels == side).astype(np.uint8)
        wide = ndimage.maximum_filter(own, size=size)
        weight = resample_volume(wide, grid, target, transform=transform, fill=0.0)
        lung = resample_volume(voxels, grid, target, transform=transform)
        assert transform.grid is not None
        change = resample_volume(jacobian, transform.grid, target)
        # Air is breathed out, tissue is not: density per volume goes up where the volume went down.
        dense = np.clip((lung - PARENCHYMA_HU[0]) / (PARENCHYMA_HU[1] - PARENCHYMA_HU[0]), 0.0, 1.0)
        lung += (1.0 - dense) * (lung + 1000.0) * (change - 1.0)
        here = weight > best
        out[here] += weight[here] * (lung[here] - out[here])
        best = np.maximum(best, weight)
        inside = resample_volume(own, grid, target, transform=transform, fill=0.0, order=1) > 0.5
        found[inside & here] = side
    return out, found


def _add_noise(voxels: F32, rng: np.random.Generator, sd_hu: float) -> None:
    """Noise with a grain of about a pixel in plane, slice by slice."""
    if sd_hu <= 0:
        return
    for z, plane in enumerate(voxels):
        grain = ndimage.gaussian_filter(rng.standard_normal(plane.shape, dtype=np.float32), 0.6)
        voxels[z] = plane + grain * np.float32(sd_hu / grain.std())
