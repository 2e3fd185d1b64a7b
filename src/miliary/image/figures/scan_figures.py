"""Render the pictures of one scan for a report: slabs, map of the burden and frontal projection.

They are made once, with the measurement; the report and the viewer compute nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from miliary.image.figures.project import (
    WINDOW_HU,
    Panel,
    Slab,
    find_lung_box,
    find_pixel_mm,
    make_panel,
    stamp_simulated,
)
from miliary.model.figure import Figure, Mark
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.scan import Grid, Scan

Box = tuple[slice, slice, slice]

SLABS_MM = (5.0, 10.0)
# Heights of the axial slabs as shares of the lungs' height, from the head down.
LEVELS = (0.9, 0.7, 0.5, 0.3, 0.1)
# Positions of the coronal slabs as shares of the lung tissue, from the front.
DEPTHS = (0.25, 0.5, 0.75)
CELL_MM = 8.0

_MIN_CELL_ML = 1.5
_SAMPLE_MM = 2.0
_FRONTAL_PIXEL_MM = 0.8
# Rays through less attenuation than this, in water, pass outside the body.
_BODY_WATER_MM = 40.0


def render_figures(scan: Scan, labels: npt.NDArray[np.uint8], nodules: Nodules) -> tuple[Figure, ...]:
    """Render every picture of one scan that a report shows.

    Parameters
    ----------
    scan : Scan
        The scan.
    labels : ndarray of uint8, shape (z, y, x) of the scan
        Lung labels, 0 outside.
    nodules : Nodules
        All reported nodules; calcified ones are circled, but not counted in the map of the burden.

    Returns
    -------
    tuple of Figure
        Slabs of `SLABS_MM` (axial at `LEVELS`, coronal at `DEPTHS`), the map, the projection.
    """
    box = find_lung_box(labels, scan.grid)
    slabs = list(_render_slabs(scan, labels, nodules, box))
    return (*slabs, map_burden(labels, nodules, scan.grid, box), render_frontal(scan))


def _render_slabs(scan: Scan, labels: npt.NDArray[np.uint8], nodules: Nodules, box: Box) -> Iterator[Figure]:
    pixel_mm = find_pixel_mm(box, scan.grid)
    for axis, plane, centers in (
        (0, "axial", _axial_centers(box)),
        (1, "coronal", _coronal_centers(labels, box)),
    ):
        for level, center in enumerate(centers, start=1):
            point = [0.0, 0.0, 0.0]
            point[axis] = float(center)
            position = float(scan.grid.lps_from_index(point)[2 if axis == 0 else 1])
            for thickness in SLABS_MM:
                slab = Slab(f"{plane} {level}", axis, center, thickness)
                panel = make_panel(scan, nodules, slab, box, pixel_mm)
                yield Figure(
                    name=f"{plane}_{level}_{thickness:g}mm",
                    kind="slab",
                    title=f"{plane} maximum-intensity projection, {thickness:g} mm",
                    pixels=np.asarray(panel.image),
                    pixel_mm=pixel_mm,
                    marks=_marks(panel, nodules),
                    facts={
                        "plane": plane,
                        "level": level,
                        "n_levels": len(centers),
                        "position_mm": round(position, 2),
                        "thickness_mm": thickness,
                        "window_hu": list(WINDOW_HU),
                    },
                )


def _axial_centers(box: Box) -> list[int]:
    bottom, top = box[0].start, box[0].stop - 1
    return [round(bottom + level * (top - bottom)) for level in LEVELS]


def _coronal_centers(labels: npt.NDArray[np.uint8], box: Box) -> list[int]:
    """Indices along the front-back axis that split the lung tissue by `DEPTHS`."""
    step = 4
    lungs = labels[box[0].start : box[0].stop : step, :, box[2].start : box[2].stop : step] > 0
    tissue = np.cumsum(np.count_nonzero(lungs, axis=(0, 2)))
    if tissue[-1] == 0:
        return [round(box[1].start + depth * (box[1].stop - 1 - box[1].start)) for depth in DEPTHS]
    return [int(np.searchsorted(tissue, depth * tissue[-1])) for depth in DEPTHS]


def _marks(panel: Panel, nodules: Nodules) -> tuple[Mark, ...]:
    ids = nodules["id"]
    return tuple(
        Mark(int(ids[circle.nodule]), circle.column, circle.row, circle.radius, circle.attenuation)
        for circle in panel.circles
    )


def map_burden(labels: npt.NDArray[np.uint8], nodules: Nodules, grid: Grid, box: Box) -> Figure:
    """Map the nodule volume per volume of lung, seen from the front, in columns of 8 mm from front to back.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) of `grid`
        Lung labels, 0 outside.
    nodules : Nodules
        All reported nodules; calcified ones and those without volume are not counted.
    grid : Grid
        Grid of the scan.
    box : tuple of slice
        Part of the grid that is shown.

    Returns
    -------
    Figure
        Without pixels; ``facts["values"]`` holds rows from the head down, columns from the right of the
        patient [mm3 per mL of lung], None where a column contains too little lung.
    """
    rows, columns = (
        max(1, int(np.ceil((box[axis].stop - box[axis].start) * grid.spacing_zyx_mm[axis] / CELL_MM)))
        for axis in (0, 2)
    )
    lung_ml = _count_lung(labels, grid, box, (rows, columns))
    counted = nodules.select(
        (nodules["attenuation"] != Attenuation.CALCIFIED.value) & np.isfinite(nodules["volume_mm3"])
    )
    volume = np.zeros((rows, columns))
    if len(counted):
        index = grid.index_from_lps(counted.position_lps_mm)
        cells = [
            np.clip(
                ((index[:, axis] - box[axis].start + 0.5) * grid.spacing_zyx_mm[axis] / CELL_MM), 0, n - 1
            )
            for axis, n in ((0, rows), (2, columns))
        ]
        np.add.at(volume, (cells[0].astype(int), cells[1].astype(int)), counted["volume_mm3"])
    values = [
        [round(float(v / ml), 3) if ml >= _MIN_CELL_ML else None for v, ml in zip(*pair, strict=True)]
        for pair in zip(volume[::-1], lung_ml[::-1], strict=True)
    ]
    facts: dict[str, Any] = {
        "plane": "coronal",
        "cell_mm": CELL_MM,
        "unit": "mm3 of nodules per mL of lung",
        "values": values,
    }
    return Figure(
        "burden_map", "burden_map", "nodule volume per lung volume, seen from the front", facts=facts
    )


def _count_lung(
    labels: npt.NDArray[np.uint8], grid: Grid, box: Box, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Volume of lung [mL] in every column of the map, from voxels about 2 mm apart."""
    steps = [max(1, int(_SAMPLE_MM / spacing)) for spacing in grid.spacing_zyx_mm]
    lungs = labels[tuple(slice(b.start, b.stop, s) for b, s in zip(box, steps, strict=True))] > 0
    depth = np.count_nonzero(lungs, axis=1)
    cells = [
        np.minimum((np.arange(depth.shape[i]) * steps[a] + 0.5) * grid.spacing_zyx_mm[a] // CELL_MM, n - 1)
        for i, (a, n) in enumerate(((0, shape[0]), (2, shape[1])))
    ]
    found = np.zeros(shape)
    np.add.at(found, (cells[0].astype(int)[:, None], cells[1].astype(int)[None, :]), depth)
    return found * float(np.prod(steps)) * grid.voxel_volume_mm3 / 1000.0


def render_frontal(scan: Scan) -> Figure:
    """Render a frontal projection similar to a radiograph: attenuation summed along parallel rays.

    Parameters
    ----------
    scan : Scan
        The scan.

    Returns
    -------
    Figure
        Dense is bright: gray levels are linear in the water-equivalent thickness, from the 2nd to the 99th
        percentile over the body.
    """
    spacing = scan.grid.spacing_zyx_mm
    steps = [max(1, int(_FRONTAL_PIXEL_MM / s)) for s in spacing]
    deep = max(1, int(_SAMPLE_MM / spacing[1]))
    thin = scan.voxels_hu[:: steps[0], ::deep, :: steps[2]]
    dtype = np.int32 if thin.dtype.kind == "i" else np.float32
    water_mm = (thin.sum(axis=1, dtype=dtype) / 1000.0 + thin.shape[1]) * (spacing[1] * deep)
    shade = water_mm[::-1]
    body = shade[shade > _BODY_WATER_MM]
    low, high = np.percentile(body if body.size else shade, [2.0, 99.0])
    gray = np.clip((shade - low) / max(high - low, 1e-6) * 255.0, 0, 255).astype(np.uint8)
    pixel_mm = max(_FRONTAL_PIXEL_MM, gray.shape[1] * spacing[2] * steps[2] / 500.0)
    size = tuple(
        max(1, round(gray.shape[axis] * spacing[a] * steps[a] / pixel_mm)) for axis, a in ((1, 2), (0, 0))
    )
    picture = Image.fromarray(np.ascontiguousarray(gray)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
    return Figure(
        "frontal",
        "frontal",
        "frontal projection computed from the CT; not a radiograph",
        pixels=np.asarray(picture),
        pixel_mm=pixel_mm,
        facts={"plane": "frontal"},
    )


def label_simulated(figures: Iterable[Figure]) -> tuple[Figure, ...]:
    """Label pictures as simulated, in their titles and in their pixels.

    Parameters
    ----------
    figures : iterable of Figure
        Pictures of a simulated scan.

    Returns
    -------
    tuple of Figure
        Copies in the same order.
    """
    return tuple(
        replace(
            figure,
            title=f"{figure.title} (simulated)",
            pixels=None if figure.pixels is None else stamp_simulated(figure.pixels),
        )
        for figure in figures
    )
