"""Chest anatomy as smooth fields on a coarse grid, from which any voxel grid can be rendered.

Body frame [mm], parallel to LPS: x = 0 in the midline, y = 0 in the middle of the thorax,
z = 0 at the lowest point of the lungs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
AnyFloat = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]

COARSE_MM = 3.0


@dataclass(frozen=True)
class HardNegatives:
    """Findings in a simulated lung that are not nodules but may be mistaken for them; 0 for none.

    Parameters
    ----------
    n_scars : int
        Linear bands and scars.
    n_septa : int
        Thickened interlobular septa (short thin plates reaching the pleura).
    emphysema : float
        Share of the lung turned to low-attenuation holes, 0 to 0.4.
    ground_glass : float
        Share of the lung with raised attenuation, 0 to 0.4.
    consolidation : float
        Share of the lung consolidated, 0 to 0.1.
    n_plaques : int
        Pleural plaques, every other one calcified.
    atelectasis_hu : float
        Rise of attenuation at the dependent pleura [HU].
    wall_thickening : float
        Factor on bronchial wall thickness.
    """

    n_scars: int = 0
    n_septa: int = 0
    emphysema: float = 0.0
    ground_glass: float = 0.0
    consolidation: float = 0.0
    n_plaques: int = 0
    atelectasis_hu: float = 0.0
    wall_thickening: float = 1.0

    @classmethod
    def draw(cls, seed: int) -> HardNegatives:
        """Draw a random mixture in which every kind occurs; the same `seed` gives the same mixture."""
        rng = np.random.default_rng([seed, 77])
        return cls(
            n_scars=int(rng.integers(4, 20)),
            n_septa=int(rng.integers(20, 120)),
            emphysema=float(rng.uniform(0.02, 0.2)),
            ground_glass=float(rng.uniform(0.02, 0.2)),
            consolidation=float(rng.uniform(0.002, 0.02)),
            n_plaques=int(rng.integers(2, 9)),
            atelectasis_hu=float(rng.uniform(50.0, 250.0)),
            wall_thickening=float(rng.uniform(1.1, 1.8)),
        )


@dataclass(frozen=True)
class AnatomyParameters:
    """Shape of one simulated chest.

    Fields ending in ``_mm`` are lengths [mm], in ``_hu`` attenuation [HU], in ``_deg`` angles [degrees]; the
    others are ratios or exponents. Pairs are (right, left), the triple of `fissure_completeness` is right
    oblique, horizontal, left oblique. `seed` determines the random surfaces and trees, so two chests of equal
    sizes still differ.
    """

    seed: int
    lung_height_mm: float = 240.0
    half_width_mm: float = 132.0
    half_depth_mm: float = 92.0
    roundness: float = 2.3
    apex_exponent: float = 2.4
    base_taper: float = 0.12
    asymmetry: float = 0.03
    dome_right_mm: float = 70.0
    dome_left_mm: float = 58.0
    heart_scale: float = 1.0
    heart_shift_mm: float = 22.0
    heart_angle_deg: float = 40.0
    kyphosis_mm: float = 12.0
    scoliosis_mm: float = 3.0
    fat_mm: float = 18.0
    muscle_mm: float = 16.0
    rib_spacing_mm: float = 28.0
    rib_tilt: float = 0.5
    arms_up: bool = True
    wall_noise_mm: float = 1.5
    fissure_tilt: tuple[float, float] = (0.75, 0.75)
    fissure_height: tuple[float, float] = (0.5, 0.5)
    fissure_wave_mm: float = 6.0
    fissure_completeness: tuple[float, float, float] = (0.9, 0.6, 0.9)
    fissure_thickness_mm: float = 0.3
    lung_hu: float = -870.0
    gravity_hu: float = 40.0
    texture_hu: float = 12.0
    patchiness_hu: float = 12.0
    vessel_hu: float = 40.0
    n_terminals_per_litre: float = 4800.0
    murray_exponent: float = 3.0
    terminal_radius_mm: float = 0.23
    branch_fraction: float = 0.4
    tortuosity: float = 0.05
    clear_rim_mm: float = 3.0
    airway_ratio: float = 0.7
    airway_wall_ratio: float = 0.16
    bone_hu: float = 250.0


def draw_anatomy(seed: int) -> AnatomyParameters:
    """Draw the shape of one chest within the range of adults.

    Parameters
    ----------
    seed : int
        The same seed gives the same chest.

    Returns
    -------
    AnatomyParameters
    """
    rng = np.random.default_rng([seed, 1])

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    size = uniform(0.9, 1.14)
    dome = uniform(45.0, 85.0)
    return AnatomyParameters(
        seed=seed,
        lung_height_mm=size * uniform(215.0, 270.0),
        half_width_mm=size * uniform(120.0, 140.0),
        half_depth_mm=size * uniform(78.0, 102.0),
        roundness=uniform(2.0, 2.7),
        apex_exponent=uniform(1.9, 3.0),
        base_taper=uniform(-0.02, 0.18),
        asymmetry=uniform(-0.06, 0.08),
        dome_right_mm=dome,
        dome_left_mm=dome - uniform(-6.0, 24.0),
        heart_scale=uniform(0.8, 1.25),
        heart_shift_mm=uniform(12.0, 34.0),
        heart_angle_deg=uniform(20.0, 60.0),
        kyphosis_mm=uniform(0.0, 30.0),
        scoliosis_mm=float(rng.normal(0.0, 6.0)),
        fat_mm=uniform(6.0, 38.0),
        muscle_mm=uniform(10.0, 22.0),
        rib_spacing_mm=uniform(24.0, 33.0),
        rib_tilt=uniform(0.3, 0.8),
        arms_up=bool(rng.random() < 0.85),
        wall_noise_mm=uniform(0.5, 2.5),
        fissure_tilt=(uniform(0.5, 1.2), uniform(0.5, 1.2)),
        fissure_height=(uniform(0.4, 0.6), uniform(0.4, 0.6)),
        fissure_wave_mm=uniform(2.0, 10.0),
        fissure_completeness=(uniform(0.5, 1.0), uniform(0.2, 1.0), uniform(0.5, 1.0)),
        fissure_thickness_mm=uniform(0.12, 0.4),
        lung_hu=uniform(-900.0, -825.0),
        gravity_hu=uniform(10.0, 80.0),
        texture_hu=uniform(8.0, 22.0),
        patchiness_hu=uniform(5.0, 25.0),
        vessel_hu=uniform(30.0, 60.0) if rng.random() < 0.7 else uniform(80.0, 250.0),
        n_terminals_per_litre=uniform(3600.0, 6500.0),
        murray_exponent=uniform(2.8, 3.3),
        terminal_radius_mm=uniform(0.19, 0.29),
        branch_fraction=uniform(0.33, 0.48),
        tortuosity=uniform(0.02, 0.08),
        clear_rim_mm=uniform(2.0, 4.5),
        airway_ratio=uniform(0.55, 0.85),
        airway_wall_ratio=uniform(0.12, 0.22),
        bone_hu=uniform(150.0, 350.0),
    )


@dataclass(frozen=True)
class CoarseField:
    """Smooth functions of position, sampled on a regular coarse grid in the body frame.

    Parameters
    ----------
    origin_zyx_mm : ndarray, shape (3,)
        Position (z, y, x) of the first sample [mm].
    spacing_mm : float
        Distance of the samples [mm].
    values : mapping of str to ndarray of float32, shape (z, y, x)
        The functions by name.
    """

    origin_zyx_mm: FloatArray
    spacing_mm: float
    values: Mapping[str, Float32Array] = field(default_factory=dict)

    def sample(self, name: str, points_zyx_mm: FloatArray) -> FloatArray:
        """Trilinear value of a function at points (n, 3), as (z, y, x) in the body frame [mm]; shape (n,)."""
        index = (points_zyx_mm - self.origin_zyx_mm) / self.spacing_mm
        value = ndimage.map_coordinates(self.values[name], index.T, order=1, mode="nearest")
        return np.asarray(value, dtype=np.float64)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_mm: float) -> Float32Array:
    """Draw unit-variance smooth noise on the coarse grid.

    Parameters
    ----------
    rng : Generator
        Source of the noise.
    shape : tuple of int
        Shape of the result.
    sigma_mm : float
        Standard deviation of the smoothing [mm].

    Returns
    -------
    ndarray of float32
    """
    sigma = sigma_mm / COARSE_MM
    # Drawn on a still coarser grid, since the filter is the costly part and the result is smooth anyway.
    step = max(1.0, sigma / 1.5)
    small = tuple(int(np.ceil((n - 1) / step)) + 2 for n in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(small, dtype=np.float32), sigma / step, mode="wrap")
    noise /= noise.std() + 1e-9
    if step > 1:
        for axis, n in enumerate(shape):
            noise = _stretch(noise, axis, n, step)
    return np.ascontiguousarray(noise[tuple(slice(0, n) for n in shape)])


def _stretch(values: Float32Array, axis: int, n: int, step: float) -> Float32Array:
    """Linear interpolation along one axis at indices 0, 1 / step, 2 / step, ..."""
    at = np.arange(n) / step
    low = at.astype(int)
    weight = np.asarray(at - low, dtype=np.float32).reshape(
        [-1 if i == axis else 1 for i in range(values.ndim)]
    )
    return np.take(values, low, axis=axis) * (1 - weight) + np.take(values, low + 1, axis=axis) * weight


def _as_distance(f: FloatArray) -> FloatArray:
    """Turn an implicit function (positive inside, [any]) into a signed distance [mm].

    Near the surface the first-order distance f / |grad f| keeps sub-voxel shape; elsewhere the
    exact transform of the mask is used.
    """
    gradient = np.gradient(f, COARSE_MM)
    near = f / np.maximum(np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2), 1e-6)
    far = (ndimage.distance_transform_edt(f > 0) - 0.5).astype(np.float32) * COARSE_MM
    weight = np.clip(far / COARSE_MM - 0.6, 0.0, 1.0)
    return np.asarray(weight * far + (1 - weight) * np.clip(near, -2 * COARSE_MM, 2 * COARSE_MM))


def _ellipsoid(
    z: FloatArray,
    y: FloatArray,
    x: FloatArray,
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
    angle_deg: float = 0.0,
) -> FloatArray:
    """Approximate signed distance, positive inside; `angle_deg` turns it in the axial plane."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    dx, dy, dz = x - center[2], y - center[1], z - center[0]
    u, v = c * dx + s * dy, -s * dx + c * dy
    q = np.sqrt((dz / radii[0]) ** 2 + (v / radii[1]) ** 2 + (u / radii[2]) ** 2)
    return np.asarray((1 - q) * min(radii))


def midline_x_mm(p: AnatomyParameters, z_mm: npt.ArrayLike) -> FloatArray:
    """Horizontal position of the midline, curved by scoliosis.

    Parameters
    ----------
    p : AnatomyParameters
        The chest.
    z_mm : array-like
        Heights in the body frame [mm].

    Returns
    -------
    ndarray of float64
        x [mm].
    """
    z = np.asarray(z_mm)
    return np.asarray(p.scoliosis_mm * np.sin(2 * np.pi * z / (1.4 * p.lung_height_mm)))


def hilum_lps_mm(p: AnatomyParameters, side: int) -> FloatArray:
    """Position (x, y, z) [mm] of the hilum of side 1 (right) or 2 (left) in the body frame, shape (3,)."""
    sign = -1.0 if side == 1 else 1.0
    z = p.lung_height_mm * (0.56 if side == 1 else 0.58)
    return np.array([sign * 0.27 * p.half_width_mm + float(midline_x_mm(p, z)), 0.08 * p.half_depth_mm, z])


def carina_lps_mm(p: AnatomyParameters) -> FloatArray:
    """Position (x, y, z) [mm] of the tracheal bifurcation in the body frame, shape (3,)."""
    z = 0.66 * p.lung_height_mm
    return np.array([float(midline_x_mm(p, z)), 0.12 * p.half_depth_mm, z])


def _cavity(p: AnatomyParameters, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Implicit function of the thoracic cavity, approximately in mm, positive inside."""
    t = np.clip(z / p.lung_height_mm, -0.4, 0.9999)
    upper = np.clip((t - 0.42) / 0.58, 0.0, 0.9999)
    lower = np.clip((0.42 - t) / 0.42, 0.0, 2.0)
    profile = (1 - upper**p.apex_exponent) ** (1 / 2.2) * (1 - p.base_taper * lower**2)
    depth = (1 - upper ** (p.apex_exponent + 0.6)) ** (1 / 2.2)
    above = z >= p.lung_height_mm
    side = np.where(x > 0, 1 + p.asymmetry, 1 - p.asymmetry)
    width = np.maximum(p.half_width_mm * profile * side, 3.0)
    deep = np.maximum(p.half_depth_mm * depth, 3.0)
    shift = p.kyphosis_mm * (0.5 - np.abs(t - 0.5)) + 12.0 * upper**2
    q = (np.abs(x) / width) ** p.roundness + (np.abs(y - shift) / deep) ** p.roundness
    f = (1 - q ** (1 / p.roundness)) * np.minimum(width, deep)
    return np.asarray(np.where(above, -np.maximum(-f, z - p.lung_height_mm), f))


def _mediastinum(
    p: AnatomyParameters, z: FloatArray, y: FloatArray, x: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Implicit functions of the mediastinum and of its blood (heart, aorta), positive inside."""
    h, w, d = p.lung_height_mm, p.half_width_mm, p.half_depth_mm
    t = np.clip(z / h, 0.0, 1.0)
    xm = midline_x_mm(p, z)
    spine_y = d - 6 + p.kyphosis_mm * (0.5 - np.abs(t - 0.5))
    slab = 4.0 + 0.19 * w * np.exp(-(((y - 0.1 * d) / (0.55 * d)) ** 4)) * (0.75 + 0.25 * t)
    parts = [slab - np.abs(x - xm)]
    parts.append(31.0 - np.hypot(x - xm, (y - spine_y) * 0.95))
    heart = _ellipsoid(
        z,
        y,
        x,
        (0.5 * (p.dome_left_mm + p.dome_right_mm) + 32 * p.heart_scale, -0.3 * d, p.heart_shift_mm),
        (46 * p.heart_scale, 38 * p.heart_scale, 55 * p.heart_scale),
        p.heart_angle_deg,
    )
    aorta = np.where(z < 0.72 * h, 13.0 - np.hypot(x - xm - 20, y - spine_y + 34), -40.0)
    arch_r = np.hypot(np.hypot(x - xm - 8, y - 0.25 * d + 5) - 26, z - 0.72 * h)
    arch = np.where(x - xm > -12, 12.5 - arch_r, -40.0)
    blood = np.maximum(np.maximum(heart, aorta), arch)
    parts += [heart + 3, aorta + 2, arch + 2]
    for side in (1, 2):
        cx, cy, cz = hilum_lps_mm(p, side)
        parts.append(_ellipsoid(z, y, x, (cz, cy, cx * 0.85), (24.0, 17.0, 15.0)))
    return reduce(np.maximum, parts), blood


def _diaphragm(p: AnatomyParameters, y: FloatArray, x: FloatArray) -> FloatArray:
    """Height of the diaphragm [mm] at each (y, x)."""
    w, d = p.half_width_mm, p.half_depth_mm
    right = p.dome_right_mm * (1.08 - ((x + 0.48 * w) / (0.62 * w)) ** 2 - ((y + 0.22 * d) / (1.05 * d)) ** 2)
    left = p.dome_left_mm * (1.08 - ((x - 0.48 * w) / (0.62 * w)) ** 2 - ((y + 0.22 * d) / (1.05 * d)) ** 2)
    return np.asarray(np.maximum(np.where(x < 0, right, left), 0.0))


def fissure_heights(
    p: AnatomyParameters, shape_yx: tuple[int, int], y: FloatArray, x: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Heights of the fissures.

    Parameters
    ----------
    p : AnatomyParameters
        The chest.
    shape_yx : tuple of int
        Shape of the result.
    y, x : ndarray
        Positions in the body frame that broadcast to that shape [mm].

    Returns
    -------
    tuple of ndarray, three of shape (y, x)
        z of the right oblique, right horizontal and left oblique fissure [mm].
    """
    rng = np.random.default_rng([p.seed, 2])
    h = p.lung_height_mm
    waves = [p.fissure_wave_mm * smooth_noise(rng, shape_yx, 28.0) for _ in range(3)]
    oblique = [p.fissure_height[i] * h + p.fissure_tilt[i] * y + 0.0015 * (y**2 - 0.3 * x**2) for i in (0, 1)]
    horizontal = p.fissure_height[0] * h + 0.02 * h - 0.12 * (x + 60) + 0.15 * y
    return oblique[0] + waves[0], horizontal + waves[1], oblique[1] + waves[2]


def _fissure_fields(
    p: AnatomyParameters, z: FloatArray, y: FloatArray, x: FloatArray, right: npt.NDArray[np.bool_]
) -> tuple[AnyFloat, npt.NDArray[np.uint8]]:
    """Signed distance to the nearest visible fissure; lobe number (1-3 right, 4-5 left)."""
    rng = np.random.default_rng([p.seed, 3])
    shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
    obl_r, hor, obl_l = fissure_heights(p, (shape[1], shape[2]), y[0], x[0])

    def signed(surface: FloatArray) -> FloatArray:
        gy, gx = np.gradient(surface, COARSE_MM)
        return np.asarray((z - surface[None]) / np.sqrt(1 + gy**2 + gx**2)[None])

    d_obl_r, d_hor, d_obl_l = signed(obl_r), signed(hor), signed(obl_l)
    lobe = np.where(right, np.where(d_obl_r < 0, 3, np.where(d_hor > 0, 1, 2)), np.where(d_obl_l < 0, 5, 4))
    complete: AnyFloat = np.full(shape, 60.0, np.float32)
    for distance, share, where in (
        (d_obl_r, p.fissure_completeness[0], right),
        (d_hor, p.fissure_completeness[1], right & (d_obl_r > 0)),
        (d_obl_l, p.fissure_completeness[2], ~right),
    ):
        gap = smooth_noise(rng, shape, 25.0)
        present = gap <= np.quantile(gap[::3, ::3, ::3], share)
        complete = np.where(where & present, _nearer(complete, distance), complete)
    return complete, lobe.astype(np.uint8)


def _nearer(a: AnyFloat, b: AnyFloat) -> AnyFloat:
    """Of two signed distances, the one of smaller magnitude."""
    return np.asarray(np.where(np.abs(b) < np.abs(a), b, a))


def _bones(
    p: AnatomyParameters, cavity: FloatArray, z: FloatArray, y: FloatArray, x: FloatArray
) -> FloatArray:
    """Implicit bone, about mm, positive inside: ribs, spine, sternum."""
    h, d = p.lung_height_mm, p.half_depth_mm
    t = np.clip(z / h, 0.0, 1.0)
    height = z - p.rib_tilt * y - 0.06 * np.abs(x)
    dz = height - np.round(height / p.rib_spacing_mm) * p.rib_spacing_mm
    outside = -cavity - 7.5
    ribs = (1 - np.sqrt((outside / 4.2) ** 2 + (dz / 6.5) ** 2)) * 4.2
    ribs = np.where((y < -0.75 * d) & (np.abs(x) < 55), -20.0, ribs)
    spine_y = d - 2 + p.kyphosis_mm * (0.5 - np.abs(t - 0.5))
    xm = midline_x_mm(p, z)
    disc = np.abs((z / 26.0) % 1.0 - 0.5) * 26.0 - 10.5
    body = np.minimum(17.0 - np.hypot((x - xm) * 0.95, y - spine_y), -disc)
    process = np.minimum(4.0 - np.abs(x - xm), 22.0 - np.abs(y - spine_y - 38))
    wings = np.minimum(5.0 - np.abs(y - spine_y - 22), 30.0 - np.abs(x - xm))
    front = -d + p.kyphosis_mm * (0.5 - np.abs(t - 0.5)) - 10
    sternum = np.minimum(6.0 - np.abs(y - front), np.minimum(18.0 - np.abs(x), z - 0.3 * h))
    return reduce(np.maximum, [ribs, body, process, np.minimum(wings, -disc + 3), sternum])


def build_fields(p: AnatomyParameters, hard: HardNegatives) -> CoarseField:
    """Evaluate a chest on the coarse grid.

    Parameters
    ----------
    p : AnatomyParameters
        Shape of the chest.
    hard : HardNegatives
        Emphysema, ground glass, consolidation and atelectasis are applied here.

    Returns
    -------
    CoarseField
        ``lung``, ``body`` and ``bone``: signed distance to pleura, skin and bone surface, positive inside
        [mm]; ``tissue``: attenuation outside the lung [HU]; ``air``: attenuation of lung without vessels
        [HU]; ``fissure``: signed distance to the nearest visible fissure [mm]; ``lobe``: 1 to 3 right, 4 and
        5 left; ``side``: 1 right, 2 left.
    """
    half_w = p.half_width_mm * (1 + abs(p.asymmetry)) + p.muscle_mm + p.fat_mm + 45
    half_d = p.half_depth_mm + p.kyphosis_mm + p.muscle_mm + p.fat_mm + 40
    low, high = np.array([-50.0, -half_d, -half_w]), np.array([p.lung_height_mm + 45, half_d, half_w])
    n = np.ceil((high - low) / COARSE_MM).astype(int) + 1
    axes = [(low[i] + COARSE_MM * np.arange(n[i])).astype(np.float32) for i in range(3)]
    z, y, x = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    x2, y2 = np.broadcast_arrays(x, y)
    shape = (int(n[0]), int(n[1]), int(n[2]))
    rng = np.random.default_rng([p.seed, 4])

    cavity = _cavity(p, z, y, x)
    medial, blood = _mediastinum(p, z, y, x)
    dome = _diaphragm(p, y, x)
    lung_f = np.minimum(np.minimum(cavity, (z - dome) * 0.75), -medial)
    lung_f = lung_f + p.wall_noise_mm * smooth_noise(rng, shape, 14.0)
    lung_f = ndimage.gaussian_filter(lung_f, 1.3)
    labelled, _ = ndimage.label(lung_f > 0)
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    keep = sizes > 0.1 * sizes.max()
    lung_f = np.where((lung_f > 0) & ~keep[labelled], -1.0, lung_f)
    lung = _as_distance(lung_f)
    right = np.broadcast_to(x < midline_x_mm(p, z), shape)

    fissure, lobe = _fissure_fields(p, z, y2, x2, right)
    body = _body(p, cavity, z, y, x)
    tissue = _tissue(p, rng, cavity, blood, body, z - dome, right, shape)
    values = {
        "lung": lung,
        "body": body,
        "bone": _bones(p, cavity, z, y, x) + 0.6 * smooth_noise(rng, shape, 8.0),
        "tissue": tissue,
        "air": _parenchyma(p, hard, rng, lung, y, shape),
        "fissure": fissure,
        "lobe": lobe,
        "side": np.where(right, 1, 2),
    }
    return CoarseField(
        low, COARSE_MM, {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in values.items()}
    )


def _body(
    p: AnatomyParameters, cavity: FloatArray, z: FloatArray, y: FloatArray, x: FloatArray
) -> FloatArray:
    """Signed distance to the skin, positive inside."""
    h = p.lung_height_mm
    wall = p.muscle_mm + p.fat_mm
    shoulder = 1 / (1 + np.exp(-(z / h - 0.88) / 0.05))
    width = p.half_width_mm + wall + shoulder * (15 if p.arms_up else 40)
    depth = p.half_depth_mm + wall + 8 - shoulder * 22
    shift = 0.3 * p.kyphosis_mm + 6 * shoulder
    q = (np.abs(x) / width) ** 2.5 + (np.abs(y - shift) / depth) ** 2.3
    torso = (1 - np.minimum(q, 50.0) ** 0.42) * depth
    return np.asarray(np.maximum(torso, cavity + 0.6 * wall))


def _tissue(
    p: AnatomyParameters,
    rng: np.random.Generator,
    cavity: FloatArray,
    blood: FloatArray,
    body: FloatArray,
    above_dome: FloatArray,
    right: npt.NDArray[np.bool_],
    shape: tuple[int, int, int],
) -> FloatArray:
    """Attenuation of everything that is not lung, bone or outside air [HU]."""
    soft = 45 + 6 * smooth_noise(rng, shape, 6.0)
    depth_of_fat = body - p.fat_mm * (1 + 0.2 * smooth_noise(rng, shape, 30.0))
    patches = smooth_noise(rng, shape, 9.0)
    # Fat between the muscles and in the mediastinum forms strands and lobules.
    wall = np.where(patches > 0.8, -90.0, soft)
    fat = -100 + 8 * patches
    tissue = np.where(depth_of_fat < 0, fat, wall)
    inside = cavity > -3
    mediastinal = np.where(patches > 0.4, -80.0, 35.0 + 0 * soft)
    tissue = np.where(inside, mediastinal, tissue)
    belly = inside & (above_dome < -2)
    tissue = np.where(belly, np.where(right, 58.0, np.where(patches > 0.9, -90.0, 42.0)), tissue)
    tissue = np.where(blood > 0, p.vessel_hu, tissue)
    tissue = np.where((cavity > 0) & (cavity < 3) & (blood < 0), 30.0, tissue)
    return np.asarray(ndimage.gaussian_filter(tissue, 0.6))


def _parenchyma(
    p: AnatomyParameters,
    hard: HardNegatives,
    rng: np.random.Generator,
    lung: FloatArray,
    y: FloatArray,
    shape: tuple[int, int, int],
) -> FloatArray:
    """Attenuation of lung between the vessels [HU]."""
    hu = p.lung_hu + p.gravity_hu * np.clip(y / p.half_depth_mm, -1, 1)
    hu = (
        hu
        + p.patchiness_hu * smooth_noise(rng, shape, 12.0)
        + 0.5 * p.patchiness_hu * smooth_noise(rng, shape, 4.0)
    )
    inside = lung > 0
    if hard.emphysema > 0:
        holes = smooth_noise(rng, shape, 4.0) + 0.7 * smooth_noise(rng, shape, 20.0)
        cut = np.quantile(holes[inside], 1 - hard.emphysema)
        hu = np.where(holes > cut, np.minimum(hu, -960.0), hu)
    if hard.ground_glass > 0:
        haze = smooth_noise(rng, shape, 14.0) + 0.4 * smooth_noise(rng, shape, 4.0)
        cut = np.quantile(haze[inside], 1 - hard.ground_glass)
        hu = hu + 220 * np.clip((haze - cut) * 2.0, 0, 1)
    if hard.consolidation > 0:
        dense = (
            smooth_noise(rng, shape, 9.0) + 0.5 * smooth_noise(rng, shape, 4.0) - 0.02 * np.maximum(lung, 0)
        )
        cut = np.quantile(dense[inside], 1 - hard.consolidation)
        hu = hu + np.clip((dense - cut) * 4.0, 0, 1) * (20 - hu)
    if hard.atelectasis_hu > 0:
        dependent = np.clip((y / p.half_depth_mm - 0.45) * 3, 0, 1)
        hu = hu + hard.atelectasis_hu * np.exp(-np.maximum(lung, 0) / 5.0) * dependent
    return np.asarray(np.clip(hu, -990, 60))
