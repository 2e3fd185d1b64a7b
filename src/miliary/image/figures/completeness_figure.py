"""Render the figure of completeness: share found by diameter, and diameters before and after correction."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from miliary.model.completeness import Completeness
from miliary.model.figure import Figure

F64 = npt.NDArray[np.float64]
Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]

FIGURE_NAME = "completeness"
TICKS_MM = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
RANGE_MM = (0.75, 5.5)
_PAGE: Rgb = (255, 255, 255)
_INK: Rgb = (30, 30, 30)
_FAINT: Rgb = (150, 150, 150)
_BAND: Rgb = (205, 216, 228)
_CURVE: Rgb = (40, 80, 120)
# Vermilion of Okabe and Ito, and a gray of different brightness.
_CORRECTED: Rgb = (213, 94, 0)
_MARKED: Rgb = (175, 175, 175)
_PANEL = (520, 330)
_MARGIN = 20


def render_completeness(completeness: Completeness | None, reported_mm: F64) -> tuple[Figure, ...]:
    """Render the completeness curve with its limits, and the diameters as reported and as corrected.

    Parameters
    ----------
    completeness : Completeness or None
        From `sensitivity.estimate`; None where it was not measured.
    reported_mm : ndarray, shape (n,)
        Diameters of the reported nodules [mm].

    Returns
    -------
    tuple of Figure
        One, named ``completeness``; none where completeness was not measured.
    """
    if completeness is None:
        return ()
    width, height = 2 * _PANEL[0] + 3 * _MARGIN, _PANEL[1] + 2 * _MARGIN
    canvas = Image.new("RGB", (width, height), _PAGE)
    draw = ImageDraw.Draw(canvas)
    left = (_MARGIN, _MARGIN, _MARGIN + _PANEL[0], _MARGIN + _PANEL[1])
    right = (left[2] + _MARGIN, _MARGIN, left[2] + _MARGIN + _PANEL[0], _MARGIN + _PANEL[1])
    _draw_curve(draw, left, completeness)
    _draw_sizes(draw, right, completeness, reported_mm)
    return (
        Figure(
            name=FIGURE_NAME,
            kind="completeness",
            title="Share of nodules found by diameter, and diameters as marked and corrected",
            pixels=np.asarray(canvas),
            facts={"n_injected": completeness.n_injected, "n_marked": len(reported_mm)},
        ),
    )


def _draw_curve(draw: ImageDraw.ImageDraw, box: Box, completeness: Completeness) -> None:
    area = _open_panel(draw, box, f"share found of {completeness.n_injected} simulated nodules")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _height(area, share, 1.0)
        draw.line((area[0], y, area[2], y), fill=_BAND if share else _INK)
        draw.text((area[0] - 6, y), f"{100 * share:.0f} %", fill=_INK, font=_font(12), anchor="rm")
    low, high, middle = (
        [
            (_across(area, d), _height(area, v, 1.0))
            for d, v in zip(completeness.curve_mm, values, strict=True)
            if RANGE_MM[0] <= d <= RANGE_MM[1]
        ]
        for values in (completeness.curve_low, completeness.curve_high, completeness.curve)
    )
    draw.polygon([*low, *high[::-1]], fill=_BAND)
    draw.line(middle, fill=_CURVE, width=3)
    for diameter, share in zip(completeness.points_mm, completeness.points, strict=True):
        a, b = _across(area, diameter), _height(area, share, 1.0)
        draw.ellipse((a - 3, b - 3, a + 3, b + 3), outline=_CURVE, fill=_PAGE, width=1)
    for share, at in ((0.5, completeness.diameter_50_mm), (0.9, completeness.diameter_90_mm)):
        diameter = at or 0.0
        if RANGE_MM[0] < diameter < RANGE_MM[1]:
            a, b = _across(area, diameter), _height(area, share, 1.0)
            draw.line((a, b, a, area[3]), fill=_CORRECTED, width=2)
            text = f"{100 * share:.0f} % at {diameter:.2f} mm"
            draw.text((a + 6, b + 10 if share > 0.6 else b + 20), text, fill=_CORRECTED, font=_font(13))


def _draw_sizes(draw: ImageDraw.ImageDraw, box: Box, completeness: Completeness, reported_mm: F64) -> None:
    area = _open_panel(draw, box, "nodules by diameter: as marked (gray) and corrected (orange)")
    edges = np.geomspace(*RANGE_MM, 25)
    reported = np.histogram(reported_mm, bins=edges)[0].astype(float)
    corrected = np.zeros(len(reported))
    least = completeness.at_least[0].diameter_mm if completeness.at_least else np.inf
    if completeness.counts is not None and completeness.edges_mm is not None:
        total = np.concatenate([[0.0], np.cumsum(completeness.counts)])
        corrected = np.diff(np.interp(edges, completeness.edges_mm, total))
    top = max(float(reported.max(initial=0.0)), float(corrected.max(initial=0.0)), 1.0)
    for share in (0.0, 0.5, 1.0):
        y = _height(area, share, 1.0)
        draw.line((area[0], y, area[2], y), fill=_BAND if share else _INK)
        draw.text((area[0] - 6, y), f"{share * top:.0f}", fill=_INK, font=_font(12), anchor="rm")
    for k, (low, high) in enumerate(pairwise(edges)):
        a, b = _across(area, low) + 1, _across(area, high) - 1
        if reported[k] > 0:
            draw.rectangle((a, _height(area, reported[k], top), b, area[3]), fill=_MARKED)
        if high > least and corrected[k] > 0:
            y = _height(area, corrected[k], top)
            draw.line((a - 1, y, b + 1, y), fill=_CORRECTED, width=3)
    if np.isfinite(least):
        x = _across(area, least)
        draw.line((x, area[1], x, area[3]), fill=_FAINT)
        draw.text((x - 4, area[1] + 2), "not measurable", fill=_FAINT, font=_font(12), anchor="ra")
    else:
        text = "not measurable on this scan"
        draw.text((area[0] + 10, area[1] + 10), text, fill=_CORRECTED, font=_font(14))


def _open_panel(draw: ImageDraw.ImageDraw, box: Box, title: str) -> Box:
    """Draw title and axis of diameters; returns the area inside."""
    draw.text((box[0] + 4, box[1]), title, fill=_INK, font=_font(14))
    area = (box[0] + 56, box[1] + 28, box[2] - 12, box[3] - 44)
    for tick in TICKS_MM:
        x = _across(area, tick)
        draw.line((x, area[3], x, area[3] + 5), fill=_INK)
        draw.text((x, area[3] + 8), f"{tick:g}", fill=_INK, font=_font(12), anchor="ma")
    middle = (area[0] + area[2]) // 2
    draw.text((middle, area[3] + 25), "diameter [mm]", fill=_INK, font=_font(12), anchor="ma")
    return area


def _across(area: Box, diameter_mm: float) -> int:
    low, high = np.log(RANGE_MM)
    return round(area[0] + (area[2] - area[0]) * float((np.log(diameter_mm) - low) / (high - low)))


def _height(area: Box, value: float, top: float) -> int:
    return round(area[3] - (area[3] - area[1]) * float(np.clip(value / top, 0.0, 1.0)))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)
