"""What lies on and beside the body in a simulated scan: table, clothes, arms, leads and devices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from miliary.image.simulate.chest_anatomy import AnatomyParameters, CoarseField, carina_lps_mm
from miliary.image.simulate.lung_texture import interpolate_slice
from miliary.image.simulate.other_findings import OtherFindings
from miliary.image.simulate.vessels import TubeSegments

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

METAL_HU = 2800.0
AIR_OUTSIDE_HU = -999.0
TABLES = ("curved", "flat", "mattress")


def paint_around(
    volume: Float32Array,
    p: AnatomyParameters,
    chest: CoarseField,
    other: OtherFindings,
    start: FloatArray,
    step: FloatArray,
) -> None:
    """Draw table, arms and clothes where there is air outside the body.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        Attenuation [HU], changed in place.
    p : AnatomyParameters
        The chest; its seed determines shapes.
    chest : CoarseField
        Its fields.
    other : OtherFindings
        Severities.
    start, step : ndarray, shape (3,)
        Position of voxel 0 and voxel size (z, y, x) [mm].
    """
    y, x = (start[a] + step[a] * np.arange(volume.shape[a]) for a in (1, 2))
    edge = float(step[1:].mean())
    layers: list[tuple[FloatArray, float]] = []
    if other.table > 0:
        layers += _table(p, chest, y[:, None], x[None, :], edge)
    arms = _arms(p, y[:, None], x[None, :], edge) if other.arms_down > 0 else []
    rng = np.random.default_rng([p.seed, 56])
    folds = rng.uniform(0.05, 0.13, 3), rng.uniform(0, 6, 3)
    body = chest.values["body"]
    for i in range(len(volume)):
        z = float(start[0] + i * step[0])
        empty = volume[i] < AIR_OUTSIDE_HU
        if not empty.any():
            continue
        canvas = np.full(volume.shape[1:], -1000.0, np.float32)
        for share, hu in (*layers, *arms):
            canvas += (share * (hu - canvas)).astype(np.float32)
        if other.clothes > 0:
            out = -interpolate_slice(body, chest, z, y, x)
            angle = np.arctan2(y[:, None], x[None, :])
            fold = sum(np.sin(k * 90 * angle + f * z * 2 + f) for k, f in zip(*folds, strict=True))
            at = 4.0 + 6.0 * other.clothes * (1.2 + np.asarray(fold) / 3)
            thick = 0.8 + 1.6 * other.clothes
            share = np.clip(0.5 + (0.5 * thick - np.abs(out - at)) / edge, 0, 1) * min(1.0, thick / edge)
            canvas += (share * (out > 1) * (-350.0 - canvas)).astype(np.float32)
        volume[i][empty] = np.maximum(canvas, volume[i])[empty]


def _table(
    p: AnatomyParameters, chest: CoarseField, y: FloatArray, x: FloatArray, edge: float
) -> list[tuple[FloatArray, float]]:
    """Layers (share of each pixel, attenuation) of a table below the back: foam and a shell around it."""
    rng = np.random.default_rng([p.seed, 55])
    kind = str(rng.choice(TABLES))
    rows = np.flatnonzero((chest.values["body"] > 0).any(axis=(0, 2)))
    back = float(chest.origin_zyx_mm[1] + chest.spacing_mm * rows[-1]) + rng.uniform(0, 12)
    half, deep = float(rng.uniform(195, 265)), float(rng.uniform(18, 60))
    sag = float(rng.uniform(0.0006, 0.0022)) if kind == "curved" else 0.0
    # A curved table rises to its sides.
    top = y - (back - 6.0 - sag * x**2)
    inside = np.minimum(np.minimum(top, deep - top), half - np.abs(x))
    shell = float(rng.uniform(1.0, 2.5))
    foam = np.clip(0.5 + inside / edge, 0, 1)
    skin = np.clip(0.5 + (shell / 2 - np.abs(inside - shell / 2)) / edge, 0, 1)
    layers = [(foam, float(rng.uniform(-960, -880))), (skin, float(rng.uniform(-350, 60)))]
    if kind == "mattress":
        pad = np.minimum(np.minimum(top + 22.0, -top), half - 15 - np.abs(x))
        layers.insert(0, (np.clip(0.5 + pad / edge, 0, 1), float(rng.uniform(-930, -820))))
    return layers


def _arms(p: AnatomyParameters, y: FloatArray, x: FloatArray, edge: float) -> list[tuple[FloatArray, float]]:
    """Upper arms beside the chest: fat, muscle and bone, drawn as layers."""
    rng = np.random.default_rng([p.seed, 57])
    wall = p.half_width_mm * (1 + abs(p.asymmetry)) + p.muscle_mm + p.fat_mm
    layers: list[tuple[FloatArray, float]] = []
    for side in (-1, 1):
        radius = float(rng.uniform(40, 52))
        center_x, center_y = side * (wall + radius + rng.uniform(2, 16)), float(rng.uniform(-10, 40))
        off = np.hypot(x - center_x, (y - center_y) / 1.1)
        for reach, hu in (
            (radius, -100.0),
            (radius - rng.uniform(4, 10), 55.0),
            (12.0, 1100.0),
            (7.0, 50.0),
        ):
            layers.append((np.clip(0.5 + (reach - off) / edge, 0, 1), hu))
    return layers


def place_devices(
    p: AnatomyParameters, chest: CoarseField, severity: float
) -> list[tuple[str, TubeSegments, float]]:
    """Leads, a port with its catheter and the lead of a pacemaker, as tubes.

    Parameters
    ----------
    p : AnatomyParameters
        The chest; its seed determines the places.
    chest : CoarseField
        Its fields.
    severity : float
        0 to 1: more leads, and from 0.4 and 0.7 on a port and a pacemaker's lead.

    Returns
    -------
    list of (kind, TubeSegments, float)
        ``lead``, ``port``, ``catheter`` or ``pacemaker_lead``; tubes in the body frame [mm]; attenuation
        [HU].
    """
    rng = np.random.default_rng([p.seed, 58])
    found: list[tuple[str, TubeSegments, float]] = []
    body, spacing = chest.values["body"], chest.spacing_mm
    for _ in range(2 + round(3 * severity)):
        z0 = float(rng.uniform(0.35, 0.85)) * p.lung_height_mm
        x0 = float(rng.uniform(-0.75, 0.75)) * p.half_width_mm
        path = []
        for k in range(26):
            z, x = z0 + 4.0 * k * 0.7, x0 + 12 * np.sin(0.2 * k) * np.sign(x0)
            layer = int(np.clip((z - chest.origin_zyx_mm[0]) / spacing, 0, len(body) - 1))
            column = int(np.clip((x - chest.origin_zyx_mm[2]) / spacing, 0, body.shape[2] - 1))
            rows = np.flatnonzero(body[layer, :, column] > 0)
            if len(rows):
                path.append([z, chest.origin_zyx_mm[1] + spacing * rows[0] - 4.0, x])
        line = np.array(path)
        if len(line) > 1:
            found.append(("lead", _along(line, 0.8), METAL_HU))
            pad = np.stack([line[0] - [0, 0, 5], line[0] + [0, 0, 5]])[None]
            found.append(("lead", TubeSegments(pad, np.full((1, 2), 2.0)), 900.0))
    carina = carina_lps_mm(p)[::-1]
    cava = carina + np.array([0.0, -14.0, -22.0])
    if severity >= 0.4:
        port = np.array([0.78 * p.lung_height_mm, -0.9 * p.half_depth_mm - 12.0, -0.5 * p.half_width_mm])
        line = np.stack([port, port + _mm(40, 5, 25), carina + _mm(45, -12, -24), cava, cava - _mm(45, 0, 2)])
        found.append(("catheter", _along(_smooth_path(line), 1.0), 600.0))
        found.append(("port", _along(np.stack([port - _mm(0, 0, 8), port + _mm(0, 0, 8)]), 6.0), METAL_HU))
    if severity >= 0.7:
        box = np.array([0.85 * p.lung_height_mm, -0.9 * p.half_depth_mm - 14.0, 0.55 * p.half_width_mm])
        heart = np.array([p.dome_left_mm + 18.0, -0.5 * p.half_depth_mm, p.heart_shift_mm + 12.0])
        line = np.stack(
            [box, box + _mm(25, 8, -20), carina + _mm(50, -14, 10), cava, cava - _mm(50, 0, 0), heart]
        )
        found.append(("pacemaker_lead", _along(_smooth_path(line), 1.1), METAL_HU))
        found.append(("port", _along(np.stack([box - _mm(0, 0, 14), box + _mm(0, 0, 14)]), 9.0), METAL_HU))
    return found


def _mm(z: float, y: float, x: float) -> FloatArray:
    return np.array([z, y, x], dtype=np.float64)


def _smooth_path(knots: FloatArray) -> FloatArray:
    """A curve through knots (n, 3), by repeated rounding of corners."""
    line = knots
    for _ in range(3):
        inner = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1)
        line = np.concatenate([line[:1], inner.reshape(-1, 3), line[-1:]])
    return line


def _along(line: FloatArray, radius: float) -> TubeSegments:
    return TubeSegments(np.stack([line[:-1], line[1:]], axis=1), np.full((len(line) - 1, 2), radius))
