"""Hard negatives that are surfaces: septa, scars, bands, pleural plaques."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.image.simulate.chest_anatomy import AnatomyParameters, CoarseField, HardNegatives

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sheet:
    """A thin rectangular plate, slightly curved."""

    center_zyx_mm: FloatArray
    axes: FloatArray
    half_size_mm: tuple[float, float]
    thickness_mm: float
    curvature: float


def draw_sheets(p: AnatomyParameters, chest: CoarseField, hard: HardNegatives) -> list[Sheet]:
    """Septa near the pleura and scars anywhere, seeded by the anatomy."""
    rng = np.random.default_rng([p.seed, 9])
    lung = chest.values["lung"]
    sheets: list[Sheet] = []
    shallow = np.argwhere((lung > 3) & (lung < 10))
    deep = np.argwhere((lung > 4) & (lung < 40))
    for n, cells, sizes, thickness in (
        (hard.n_septa, shallow, (4.0, 11.0), (0.2, 0.7)),
        (hard.n_scars, deep, (6.0, 25.0), (0.6, 2.5)),
    ):
        if len(cells) == 0:
            continue
        for _ in range(n):
            center = (cells[rng.integers(len(cells))] + rng.uniform(-0.5, 0.5, 3)) * chest.spacing_mm
            center = center + chest.origin_zyx_mm
            axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
            long_ = float(rng.uniform(*sizes) / 2)
            wide = float(long_ * rng.uniform(0.2, 1.0))
            sheets.append(
                Sheet(center, axes, (long_, wide), float(rng.uniform(*thickness)), float(rng.normal(0, 0.02)))
            )
    return sheets


def paint_sheets(share: Float32Array, sheets: list[Sheet], start: FloatArray, step: FloatArray) -> None:
    """Raise `share` to the volume share of every sheet; thinner than a voxel, it keeps its mass."""
    edge = float(step.mean())
    for sheet in sheets:
        reach = np.hypot(*sheet.half_size_mm) + sheet.thickness_mm + 2 * edge
        low = np.maximum(np.floor((sheet.center_zyx_mm - reach - start) / step).astype(int), 0)
        high = np.minimum(np.ceil((sheet.center_zyx_mm + reach - start) / step).astype(int) + 1, share.shape)
        if np.any(high <= low):
            continue
        z, y, x = (start[i] + step[i] * np.arange(low[i], high[i]) - sheet.center_zyx_mm[i] for i in range(3))
        u, v, w = (
            a[0] * z[:, None, None] + a[1] * y[None, :, None] + a[2] * x[None, None, :] for a in sheet.axes
        )
        off = np.abs(w - sheet.curvature * (u * u + v * v))
        t = sheet.thickness_mm
        through = np.clip((0.5 * (t + edge) - off) / min(t, edge), 0, 1) * min(1.0, t / edge)
        fade = np.clip(0.5 + (sheet.half_size_mm[0] - np.abs(u)) / edge, 0, 1)
        fade = fade * np.clip(0.5 + (sheet.half_size_mm[1] - np.abs(v)) / edge, 0, 1)
        part = share[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.maximum(part, (through * fade).astype(np.float32), out=part)


def paint_plaques(
    volume: Float32Array,
    p: AnatomyParameters,
    chest: CoarseField,
    hard: HardNegatives,
    start: FloatArray,
    step: FloatArray,
) -> None:
    """Lens-shaped plaques on the pleura, every other one calcified; raises attenuation only."""
    rng = np.random.default_rng([p.seed, 10])
    lung = chest.values["lung"]
    cells = np.argwhere(np.abs(lung) < 0.6 * chest.spacing_mm)
    edge = float(step.mean())
    for i in range(hard.n_plaques if len(cells) else 0):
        center = cells[rng.integers(len(cells))] * chest.spacing_mm + chest.origin_zyx_mm
        half, height = float(rng.uniform(5, 18)), float(rng.uniform(1.0, 4.0))
        hu = float(rng.uniform(200, 700)) if i % 2 else 50.0
        reach = half + height + 2 * edge
        low = np.maximum(np.floor((center - reach - start) / step).astype(int), 0)
        high = np.minimum(np.ceil((center + reach - start) / step).astype(int) + 1, volume.shape)
        if np.any(high <= low):
            continue
        mm = [start[a] + step[a] * np.arange(low[a], high[a]) for a in range(3)]
        points = np.stack(np.meshgrid(*mm, indexing="ij"), axis=-1)
        depth = chest.sample("lung", points.reshape(-1, 3)).reshape(points.shape[:3])
        lateral = np.sum((points - center) ** 2, axis=-1) / half**2
        rise = height * np.clip(1 - lateral, 0, 1)
        share = np.clip(0.5 + (rise - depth) / edge, 0, 1) * (depth > -2.5) * (lateral < 1)
        part = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        part += (share * np.maximum(hu - part, 0)).astype(np.float32)
