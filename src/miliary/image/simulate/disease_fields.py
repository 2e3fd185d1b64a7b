"""Other disease as changes of the smooth fields of a chest: densities, and fluid in place of lung.

Fine structure is only weighted here (fields ``comb``, ``net`` and ``paving``, 0 to 1) and drawn by
`lung_texture`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.simulate.chest_anatomy import AnatomyParameters, CoarseField, smooth_noise
from miliary.image.simulate.other_findings import OtherFindings

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

TEXTURES = ("comb", "net", "paving")
FLUID_HU, SOLID_HU, TRAPPED_HU = 10.0, 25.0, -935.0


def alter_fields(p: AnatomyParameters, chest: CoarseField, other: OtherFindings) -> CoarseField:
    """Put the densities of other disease into the fields of a chest.

    Parameters
    ----------
    p : AnatomyParameters
        The chest; its seed determines where the disease is.
    chest : CoarseField
        Its fields.
    other : OtherFindings
        Severities.

    Returns
    -------
    CoarseField
        With `TEXTURES`, the weights of fine structure. Where there is fluid, there is no lung any more.
    """
    values = {name: value.copy() for name, value in chest.values.items()}
    for name in TEXTURES:
        values[name] = np.zeros_like(values["air"])
    z, y, x = (
        (chest.origin_zyx_mm[a] + chest.spacing_mm * np.arange(values["air"].shape[a])).reshape(
            [-1 if a == b else 1 for b in range(3)]
        )
        for a in range(3)
    )
    # Every kind has a stream of its own, so that one does not move another.
    rng = [np.random.default_rng([p.seed, 50, k]) for k in range(8)]
    if other.effusion > 0:
        _add_effusion(p, values, z, y, other.effusion, rng[0])
    base = np.clip((0.6 * p.lung_height_mm - z) / (0.35 * p.lung_height_mm), 0.0, 1.0)
    if other.honeycombing > 0:
        _add_honeycombing(values, base, y, p, other.honeycombing, rng[1])
    if other.reticulation > 0:
        _add_reticulation(values, base, other.reticulation, rng[2])
    if other.crazy_paving > 0:
        _add_crazy_paving(values, other.crazy_paving, rng[3], chest.spacing_mm)
    if other.mosaic > 0:
        _add_mosaic(values, other.mosaic, rng[4], chest.spacing_mm)
    if other.organizing > 0:
        _add_organizing(values, other.organizing, rng[5])
    if other.atelectasis > 0:
        _add_collapse(p, values, z, y, x, other.atelectasis, rng[6])
    if other.aspiration > 0:
        _add_aspiration(p, values, z, y, other.aspiration, rng[7])
    values["air"] = np.clip(values["air"], -990.0, 60.0).astype(np.float32)
    return CoarseField(chest.origin_zyx_mm, chest.spacing_mm, values)


def _quantile(values: Float32Array, inside: npt.NDArray[np.bool_], share: float) -> float:
    return float(np.quantile(values[inside][::7], 1 - share))


def _add_effusion(
    p: AnatomyParameters,
    values: dict[str, Float32Array],
    z: FloatArray,
    y: FloatArray,
    severity: float,
    rng: np.random.Generator,
) -> None:
    """Fluid behind the lung: a crescent that is thick at the base; the lung before it is compressed."""
    lung = values["lung"]
    before = lung > 0
    which = int(rng.integers(1, 4))
    shape = (lung.shape[0], 1, lung.shape[2])
    for side in (1, 2):
        if not which & side:
            continue
        mine = before & (values["side"] == side)
        back = np.where(mine, y, -1e3).max(axis=1, keepdims=True)
        seen = back > -1e3
        flat = np.broadcast_to(back.max(axis=2, keepdims=True), shape)
        back = ndimage.gaussian_filter(np.where(seen, back, flat), (2, 0, 2))
        height = np.clip(1.05 - z / (p.lung_height_mm * rng.uniform(0.7, 1.1)), 0.0, 1.0)
        thick = severity * rng.uniform(45.0, 80.0) * height
        mix = rng.uniform(0.3, 0.7)
        level = (mix * back + (1 - mix) * flat) - thick + 2.0 * smooth_noise(rng, lung.shape, 15.0)
        level = np.where(thick > 1.0, level, 1e3)
        front = np.where(values["side"] == side, level - y, 1e3)
        near = np.exp(-np.clip(front, 0, 60) / (3.0 + 6.0 * severity))
        values["air"] += (near * (SOLID_HU - values["air"]) * 0.9).astype(np.float32)
        lung = np.minimum(lung, np.clip(front, -60, 1e3)).astype(np.float32)
    values["tissue"] = np.where(
        before & (lung < 1.0), FLUID_HU + rng.uniform(-5, 15), values["tissue"]
    ).astype(np.float32)
    values["lung"] = lung


def _add_honeycombing(
    values: dict[str, Float32Array],
    base: FloatArray,
    y: FloatArray,
    p: AnatomyParameters,
    severity: float,
    rng: np.random.Generator,
) -> None:
    depth = values["lung"]
    patchy = np.clip(0.6 + smooth_noise(rng, depth.shape, 18.0), 0, 1)
    behind = np.clip(0.75 + y / p.half_depth_mm, 0.3, 1.0)
    reach = (5.0 + 13.0 * severity) * base * patchy * behind
    values["comb"] = np.clip((reach - depth) / 2.0, 0, 1).astype(np.float32) * (depth > -1.5)
    around = np.clip((reach + 10.0 - depth) / 6.0, 0, 1) * (base > 0.05) * (depth > -1.5)
    values["net"] = np.maximum(values["net"], (around * (1 - values["comb"])).astype(np.float32))
    values["air"] += (90.0 * around * (depth > 0)).astype(np.float32)


def _add_reticulation(
    values: dict[str, Float32Array], base: FloatArray, severity: float, rng: np.random.Generator
) -> None:
    depth = values["lung"]
    patchy = np.clip(0.7 + 0.8 * smooth_noise(rng, depth.shape, 16.0), 0, 1.2)
    reach = (8.0 + 25.0 * severity) * np.maximum(base, 0.25 * severity) * patchy
    weight = np.clip((reach - depth) / 5.0, 0, 1) * (depth > -1.5)
    values["net"] = np.maximum(values["net"], weight.astype(np.float32))
    values["air"] += (rng.uniform(30, 130) * weight * (depth > 0)).astype(np.float32)


def _lobules(
    shape: tuple[int, ...], side_mm: float, spacing_mm: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Number of the polygon that each cell belongs to, shape of the coarse grid."""
    extent = np.array(shape) * spacing_mm
    n = max(8, int(np.prod(extent) / side_mm**3))
    cells = np.indices(shape).reshape(3, -1).T * spacing_mm
    wobble = np.stack([smooth_noise(rng, shape, 6.0).ravel() for _ in range(3)], axis=1)
    tree = cKDTree(rng.uniform(0, 1, (n, 3)) * extent)
    return np.asarray(tree.query(cells + 1.2 * wobble)[1]).reshape(shape)


def _mean_by(values: Float32Array, number: npt.NDArray[np.int64]) -> FloatArray:
    """Mean of the values in each polygon; 0 where there is none."""
    size = np.bincount(number.ravel())
    return np.asarray(np.bincount(number.ravel(), values.ravel()) / np.maximum(size, 1))


def _add_crazy_paving(
    values: dict[str, Float32Array], severity: float, rng: np.random.Generator, spacing_mm: float
) -> None:
    depth = values["lung"]
    number = _lobules(depth.shape, 14.0, spacing_mm, rng)
    cloud = smooth_noise(rng, depth.shape, 28.0)
    mean = _mean_by(cloud, number)
    cut = _quantile(cloud, depth > 0, 0.08 + 0.4 * severity)
    chosen = (mean[number] > cut) & (depth > -1)
    weight = ndimage.gaussian_filter(chosen.astype(np.float32), 0.5)
    values["paving"] = weight
    haze = rng.uniform(170, 320) + 25 * smooth_noise(rng, depth.shape, 6.0)
    values["air"] += weight * haze.astype(np.float32)


def _add_mosaic(
    values: dict[str, Float32Array], severity: float, rng: np.random.Generator, spacing_mm: float
) -> None:
    depth = values["lung"]
    number = _lobules(depth.shape, float(rng.uniform(14, 24)), spacing_mm, rng)
    cloud = smooth_noise(rng, depth.shape, 20.0) + 0.7 * smooth_noise(rng, depth.shape, 8.0)
    mean = _mean_by(cloud, number)
    cut = _quantile(cloud, depth > 0, float(rng.uniform(0.25, 0.6)))
    dark = ndimage.gaussian_filter((mean[number] > cut).astype(np.float32), 0.4)
    air = values["air"]
    bright = air + np.float32(40.0 + 110.0 * severity)
    trapped = air + np.float32(severity) * (np.float32(TRAPPED_HU) - air)
    values["air"] = dark * trapped + (1 - dark) * bright


def _add_organizing(values: dict[str, Float32Array], severity: float, rng: np.random.Generator) -> None:
    depth = values["lung"]
    patch = smooth_noise(rng, depth.shape, 11.0) + 0.35 * smooth_noise(rng, depth.shape, 4.5)
    patch = patch - 0.03 * np.clip(depth, 0, 60)
    cut = _quantile(patch, depth > 0, 0.015 + 0.1 * severity)
    solid = np.clip((patch - cut) * 5.0, 0, 1)
    halo = np.clip((patch - cut + 0.35) * 3.0, 0, 1) * (1 - solid)
    values["air"] += (halo * rng.uniform(120, 260) * (depth > 0)).astype(np.float32)
    values["air"] += (solid * (SOLID_HU - values["air"])).astype(np.float32)


def _add_collapse(
    p: AnatomyParameters,
    values: dict[str, Float32Array],
    z: FloatArray,
    y: FloatArray,
    x: FloatArray,
    severity: float,
    rng: np.random.Generator,
) -> None:
    """Density of the dependent lung, and from 0.5 on a collapsed wedge of a lower lobe beside the spine."""
    depth = values["lung"]
    dependent = np.clip((y / p.half_depth_mm - 0.5) * 3, 0, 1)
    band = np.exp(-np.clip(depth, 0, 60) / (2.0 + 5.0 * severity)) * dependent
    values["air"] += (rng.uniform(150, 500) * band * (depth > 0)).astype(np.float32)
    if severity < 0.5:
        return
    side = int(rng.integers(1, 3))
    axis = (-1 if side == 1 else 1) * 0.33 * p.half_width_mm
    reach = severity * rng.uniform(40, 65) * np.clip(1.1 - z / (0.6 * p.lung_height_mm), 0, 1)
    off = np.hypot(x - axis, 1.1 * (y - 0.75 * p.half_depth_mm))
    wedge = np.clip((reach - off + 3 * smooth_noise(rng, depth.shape, 10.0)) / 4.0, 0, 1)
    wedge = wedge * (values["side"] == side) * (depth > -1)
    values["air"] += (wedge * (SOLID_HU + 10 - values["air"])).astype(np.float32)


def _add_aspiration(
    p: AnatomyParameters,
    values: dict[str, Float32Array],
    z: FloatArray,
    y: FloatArray,
    severity: float,
    rng: np.random.Generator,
) -> None:
    depth = values["lung"]
    dependent = np.clip(y / p.half_depth_mm + 0.35, 0, 1) * np.clip(1.3 - z / (0.75 * p.lung_height_mm), 0, 1)
    cloud = smooth_noise(rng, depth.shape, 12.0) + 0.5 * smooth_noise(rng, depth.shape, 4.0)
    cloud = cloud + 2.0 * dependent
    cut = _quantile(cloud, depth > 0, 0.03 + 0.12 * severity)
    haze = np.clip((cloud - cut) * 1.5, 0, 1)
    values["air"] += (haze * rng.uniform(120, 260) * (depth > 0)).astype(np.float32)
    dense = np.clip((cloud - cut - 0.7) * 4.0, 0, 1)
    values["air"] += (dense * (SOLID_HU - values["air"])).astype(np.float32)
