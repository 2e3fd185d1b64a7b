"""Render close-ups of followed nodules, both scans side by side in the frame of the baseline.

New and grown nodules are the first thing that a reader of a follow-up asks for, so each of them gets a
picture; of those that shrank or are no longer seen only the largest do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from miliary.image.figures.project import WINDOW_HU, render_slab_mip
from miliary.model.figure import Figure, Mark
from miliary.model.nodules import Fate, Tracks
from miliary.model.scan import Grid

FloatArray = npt.NDArray[np.float64]

KIND = "followed_nodule"
THICKNESS_MM = 3.0
FIELD_MM = 30.0
PANEL_PX, GAP_PX = 96, 4
# How many of each fate get a picture.
MOST: Mapping[Fate, int] = {Fate.NEW: 24, Fate.GROWN: 24, Fate.SHRUNK: 6, Fate.NO_LONGER_SEEN: 6}
_AIR_HU = -1024


def render_followed(
    tracks: Tracks, baseline_hu: npt.NDArray[Any], followup_hu: npt.NDArray[Any], grid: Grid
) -> tuple[Figure, ...]:
    """Render one close-up of both scans for each nodule that a reader of a follow-up looks at.

    Parameters
    ----------
    tracks : Tracks
        Positions are in the frame of the baseline.
    baseline_hu, followup_hu : ndarray, shape (z, y, x) of `grid`
        Both scans in the frame of the baseline [HU]; the follow-up is resampled to it.
    grid : Grid
        Grid of both.

    Returns
    -------
    tuple of Figure
        Axial maximum-intensity projections of 3 mm, 30 mm wide, baseline left; by fate (new, grown, shrunk,
        no longer seen), of each fate the largest first and at most `MOST`. ``facts`` hold what a list says
        of the nodule, and ``n_of_fate`` how many there are in all.
    """
    figures = []
    for fate, most in MOST.items():
        rows = np.flatnonzero(tracks["fate"] == fate.value)
        order = np.argsort(-_rank(tracks, fate, rows), kind="stable")[:most]
        for place, row in enumerate(rows[order], start=1):
            pixels = _render_pair(tracks, int(row), (baseline_hu, followup_hu), grid)
            facts = {"fate": fate.value, "n_of_fate": len(rows), **_describe(tracks, int(row))}
            radius_px = 0.5 * _find_diameter_mm(tracks, int(row)) * PANEL_PX / FIELD_MM + 4.0
            middle, right = 0.5 * PANEL_PX, 1.5 * PANEL_PX + GAP_PX
            figures.append(
                Figure(
                    name=f"{fate.value}_{place}",
                    kind=KIND,
                    title=f"nodule {int(tracks['id'][row])}, {fate.words}: baseline, then follow-up",
                    pixels=pixels,
                    pixel_mm=FIELD_MM / PANEL_PX,
                    marks=tuple(
                        Mark(int(tracks["id"][row]), column, middle, radius_px, fate.value)
                        for column in (middle, right)
                    ),
                    facts={
                        **facts,
                        "position_mm": round(float(tracks["z_mm"][row]), 2),
                        "thickness_mm": THICKNESS_MM,
                        "window_hu": list(WINDOW_HU),
                        "frame": "baseline",
                    },
                )
            )
    return tuple(figures)


def _rank(tracks: Tracks, fate: Fate, rows: npt.NDArray[np.int64]) -> FloatArray:
    """What the nodules of a fate are sorted by, largest first."""
    if fate is Fate.GROWN:
        return np.nan_to_num(tracks["volume_change_fraction"][rows])
    name = "followup_volume_mm3" if fate is Fate.NEW else "baseline_volume_mm3"
    return np.nan_to_num(tracks[name][rows])


def _render_pair(
    tracks: Tracks, row: int, volumes: tuple[npt.NDArray[Any], npt.NDArray[Any]], grid: Grid
) -> npt.NDArray[np.uint8]:
    point = np.array([[float(tracks[f"{axis}_mm"][row]) for axis in "xyz"]])
    center = np.rint(grid.index_from_lps(point)[0]).astype(int)
    canvas = np.zeros((PANEL_PX, 2 * PANEL_PX + GAP_PX), dtype=np.uint8)
    for number, volume in enumerate(volumes):
        start = number * (PANEL_PX + GAP_PX)
        canvas[:, start : start + PANEL_PX] = _render_panel(volume, center, grid)
    return canvas


def _render_panel(
    volume: npt.NDArray[Any], center: npt.NDArray[np.int64], grid: Grid
) -> npt.NDArray[np.uint8]:
    """One slab around a point; what lies outside the scan is black."""
    spacing = grid.spacing_zyx_mm
    middle = int(np.clip(center[0], 0, volume.shape[0] - 1))
    half = [max(1, round(0.5 * FIELD_MM / spacing[axis])) for axis in (1, 2)]
    ends = [(int(center[axis]) - h, int(center[axis]) + h + 1) for axis, h in zip((1, 2), half, strict=True)]
    part = tuple(
        slice(max(low, 0), max(min(high, size), 0))
        for (low, high), size in zip(ends, volume.shape[1:], strict=True)
    )
    slab = render_slab_mip(
        volume[:, part[0], part[1]],
        axis=0,
        center_index=middle,
        thickness_mm=THICKNESS_MM,
        spacing_mm=spacing[0],
    )
    cut = np.full(tuple(high - low for low, high in ends), _AIR_HU, dtype=np.float32)
    corner = tuple(where.start - low for where, (low, _) in zip(part, ends, strict=True))
    cut[corner[0] : corner[0] + slab.shape[0], corner[1] : corner[1] + slab.shape[1]] = slab
    low_hu, high_hu = WINDOW_HU
    gray = np.clip((cut - low_hu) * (255.0 / (high_hu - low_hu)), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(gray).resize((PANEL_PX, PANEL_PX), Image.Resampling.BICUBIC))


def _find_diameter_mm(tracks: Tracks, row: int) -> float:
    """Diameter of a nodule on the scan that shows it larger [mm]; 2 where it has no volume."""
    volumes = [float(tracks[f"{scan}_volume_mm3"][row]) for scan in ("baseline", "followup")]
    known = [volume for volume in volumes if np.isfinite(volume) and volume > 0]
    return float(np.cbrt(max(known) * 6.0 / np.pi)) if known else 2.0


def _describe(tracks: Tracks, row: int) -> dict[str, Any]:
    """What a list says of one nodule; plain JSON, None where it does not apply."""

    def number(name: str, digits: int) -> float | None:
        value = float(tracks[name][row])
        return round(value, digits) if np.isfinite(value) else None

    return {
        "track_id": int(tracks["id"][row]),
        "baseline_id": int(tracks["baseline_id"][row]) or None,
        "followup_id": int(tracks["followup_id"][row]) or None,
        "side": str(tracks["side"][row]),
        "zone": str(tracks["zone"][row]),
        "position_lps_mm": [round(float(tracks[f"{axis}_mm"][row]), 1) for axis in "xyz"],
        "probability": number("probability", 2),
        "baseline_volume_mm3": number("baseline_volume_mm3", 2),
        "followup_volume_mm3": number("followup_volume_mm3", 2),
        "volume_change_fraction": number("volume_change_fraction", 3),
        "volume_change_fraction_err": number("volume_change_fraction_err", 3),
    }
