"""A result as a notebook shows it, and its nodules as spheres on a grid."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from miliary.model.nodules import Nodules
from miliary.model.scan import Grid

if TYPE_CHECKING:
    from miliary.model.ct_result import CtResult


def show_result(result: CtResult) -> str:
    """Write a result as HTML: its main numbers, and its preview where it holds one.

    Parameters
    ----------
    result : CtResult

    Returns
    -------
    str
        A table and a picture that needs no other file.
    """
    from miliary.model.saved.summarize_scan import summarize

    summary = summarize(result)
    rows = [(repr(result), "")]
    corrected = summary.corrected
    if corrected.count is not None and corrected.count_ci95 is not None:
        low, high = corrected.count_ci95
        size = f"from {corrected.min_diameter_mm:.2f} mm on" if corrected.min_diameter_mm else ""
        rows.append(("corrected", f"{corrected.count:,.0f} ({low:,.0f} to {high:,.0f}) {size}"))
    if summary.pattern.label is not None:
        rows.append(("pattern", summary.pattern.label))
    rows += [("warning", warning.message) for warning in result.warnings]
    table = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
    picture = ""
    if result.preview_rgb is not None:
        picture = f'<br><img alt="slabs, nodules marked" src="{_embed(result.preview_rgb)}">'
    return f"<table>{table}</table>{picture}"


def _embed(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def paint_spheres(grid: Grid, nodules: Nodules) -> npt.NDArray[np.int32]:
    """Paint every nodule as a sphere of its diameter.

    Parameters
    ----------
    grid : Grid
    nodules : Nodules

    Returns
    -------
    ndarray of int32, shape (z, y, x) of `grid`
        The number of the nodule, 0 elsewhere; at least the voxel of its center is painted.
    """
    painted = np.zeros(grid.shape_zyx, dtype=np.int32)
    if not len(nodules):
        return painted
    spacing = np.asarray(grid.spacing_zyx_mm)
    centers = grid.index_from_lps(nodules.position_lps_mm)
    for number, center, diameter in zip(nodules["id"], centers, nodules["diameter_mm"], strict=True):
        radius = 0.5 * float(np.nan_to_num(diameter))
        middle = np.rint(center).astype(int)
        if (middle < 0).any() or (middle >= painted.shape).any():
            continue
        low = np.maximum(np.floor(center - radius / spacing).astype(int), 0)
        high = np.minimum(np.ceil(center + radius / spacing).astype(int) + 1, painted.shape)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        steps = np.meshgrid(*axes, indexing="ij", sparse=True)
        offsets = [((s - c) * mm) ** 2 for s, c, mm in zip(steps, center, spacing, strict=True)]
        is_inside = sum(offsets) <= radius**2
        painted[part] = np.maximum(painted[part], np.where(is_inside, number, 0))
        painted[tuple(middle)] = max(int(painted[tuple(middle)]), int(number))
    return painted
