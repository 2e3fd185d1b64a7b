"""Render the figure of a comparison: both scans at one level, fate of each nodule, burden and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from miliary.image.figures.followed_nodules import render_followed
from miliary.image.figures.project import SLAB_MM, WINDOW_HU, render_slab_mip
from miliary.image.figures.scan_figures import DEPTHS, LEVELS, SLABS_MM, label_simulated
from miliary.image.kernels.resample import resample_volume
from miliary.model.comparison import Comparison, RegionResponse
from miliary.model.figure import Figure, Mark
from miliary.model.nodules import Fate, Tracks
from miliary.model.scan import Grid

Rgb = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

# Palette of Okabe and Ito, and a different shape for each fate, so that color is not needed.
COLORS: dict[Fate, Rgb] = {
    Fate.KEPT: (240, 228, 66),
    Fate.SHRUNK: (86, 180, 233),
    Fate.GROWN: (213, 94, 0),
    Fate.NO_LONGER_SEEN: (204, 121, 167),
    Fate.NEW: (230, 159, 0),
}
_BEFORE, _AFTER = (200, 200, 200), (86, 180, 233)
_TEXT, _DIM, _PAPER = (230, 230, 230), (150, 150, 150), (16, 16, 18)
_PANEL_PX, _GAP, _CAPTION, _CHART_PX = 440, 12, 24, 430
_EDGES_MM3 = np.geomspace(0.25, 64.0, 17)


@dataclass(frozen=True)
class _Level:
    """One level of both scans: axis projected along, index of the center, and both slabs as gray pictures."""

    name: str
    axis: int
    center: int
    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]
    pixel_mm: float
    thickness_mm: float = SLAB_MM
    number: int = 0


def render_comparison(found: Comparison) -> tuple[npt.NDArray[np.uint8], tuple[Figure, ...]]:
    """Render the figure of a comparison, and registered slabs of 5 and 10 mm at every level for a report.

    From left to right: the baseline, the follow-up in the frame of the baseline (5 mm slabs in one window,
    nodules marked by their fate), and the volume of nodules per zone and their sizes on both scans.

    Parameters
    ----------
    found : Comparison
        The comparison, with the registered follow-up.

    Returns
    -------
    pixels : ndarray of uint8, shape (rows, columns, 3)
        The figure, RGB.
    figures : tuple of Figure
        The slabs of both scans, then close-ups of nodules that are new, grown, shrunk or no longer seen.
    """
    grid = found.registered_grid
    baseline = resample_volume(found.baseline.scan.voxels_hu, found.baseline.scan.grid, grid)
    after = found.registered_hu
    levels = [
        _make_level("coronal", 1, _find_fullest_level(found.tracks, grid, 1), baseline, after, grid),
        _make_level("axial", 0, _find_fullest_level(found.tracks, grid, 0), baseline, after, grid),
    ]
    every = list(_make_levels(baseline, after, grid))
    figures = (
        *(figure for level in every for figure in _make_figures(level, found)),
        *render_followed(found.tracks, baseline, after, grid),
    )
    return _compose(found, levels), label_simulated(figures) if found.is_simulated else figures


def _find_fullest_level(tracks: Tracks, grid: Grid, axis: int) -> int:
    """Index of the level with most nodules; the center where there are none."""
    size = grid.shape_zyx[axis]
    if not len(tracks):
        return size // 2
    index = grid.index_from_lps(np.stack([tracks[f"{a}_mm"] for a in "xyz"], axis=1))[:, axis]
    counts = np.bincount(np.clip(np.rint(index), 0, size - 1).astype(int), minlength=size)
    width = max(1, round(SLAB_MM / grid.spacing_zyx_mm[axis]))
    return int(np.convolve(counts, np.ones(width), mode="same").argmax())


def _make_levels(
    before: npt.NDArray[np.generic], after: npt.NDArray[np.generic], grid: Grid
) -> Iterator[_Level]:
    """Slabs of every thickness through both lungs, for a report to choose from."""
    for name, axis, shares in (("axial", 0, LEVELS), ("coronal", 1, DEPTHS)):
        for number, share in enumerate(shares, start=1):
            center = round(share * (grid.shape_zyx[axis] - 1))
            for thickness in SLABS_MM:
                level = _make_level(name, axis, center, before, after, grid, thickness_mm=thickness)
                yield replace(level, number=number)


def _make_level(
    name: str,
    axis: int,
    center: int,
    *volumes_and_grid: Any,
    thickness_mm: float = SLAB_MM,
) -> _Level:
    before, after, grid = volumes_and_grid
    row_axis = 1 if axis == 0 else 0
    spacing = grid.spacing_zyx_mm
    pixel_mm = grid.shape_zyx[2] * spacing[2] / _PANEL_PX
    pictures = []
    for volume in (before, after):
        slab = render_slab_mip(
            volume, axis=axis, center_index=center, thickness_mm=thickness_mm, spacing_mm=spacing[axis]
        )
        low, high = WINDOW_HU
        gray = np.clip((slab.astype(np.float32) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
        gray = gray[::-1] if row_axis == 0 else gray
        size = (_PANEL_PX, max(1, round(gray.shape[0] * spacing[row_axis] / pixel_mm)))
        picture = Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BICUBIC)
        pictures.append(np.asarray(picture))
    return _Level(name, axis, center, pictures[0], pictures[1], pixel_mm, thickness_mm)


def _place_marks(level: _Level, tracks: Tracks, grid: Grid, *, is_followup: bool) -> list[tuple[Fate, Mark]]:
    """Fate and position [pixels] of each nodule that the slab shows.

    What is no longer seen is marked on the baseline only: a square over a place where the follow-up shows
    nothing would be read as disease that is there.
    """
    if not len(tracks):
        return []
    spacing = grid.spacing_zyx_mm
    index = grid.index_from_lps(np.stack([tracks[f"{a}_mm"] for a in "xyz"], axis=1))
    volume = tracks["followup_volume_mm3" if is_followup else "baseline_volume_mm3"]
    other = tracks["baseline_volume_mm3" if is_followup else "followup_volume_mm3"]
    radius_mm = np.nan_to_num(
        0.5 * np.cbrt(np.where(np.isfinite(volume), volume, other) * 6.0 / np.pi), nan=1.0
    )
    off_mm = np.abs(index[:, level.axis] - level.center) * spacing[level.axis]
    shown = off_mm <= 0.5 * level.thickness_mm + radius_mm
    shown &= tracks["fate"] != (Fate.NO_LONGER_SEEN if is_followup else Fate.NEW).value
    row_axis = 1 if level.axis == 0 else 0
    columns = (index[:, 2] + 0.5) * spacing[2] / level.pixel_mm
    rows = (index[:, row_axis] + 0.5) * spacing[row_axis] / level.pixel_mm
    if row_axis == 0:
        rows = grid.shape_zyx[0] * spacing[0] / level.pixel_mm - rows
    return [
        (
            Fate(tracks["fate"][i]),
            Mark(
                int(tracks["id"][i]),
                float(columns[i]),
                float(rows[i]),
                float((radius_mm[i] + 1.5) / level.pixel_mm),
                str(tracks["fate"][i]),
            ),
        )
        for i in np.flatnonzero(shown)
    ]


def _count_unseen(level: _Level, found: Comparison) -> int:
    """How many nodules of a level the follow-up no longer shows."""
    marks = _place_marks(level, found.tracks, found.registered_grid, is_followup=False)
    return sum(fate is Fate.NO_LONGER_SEEN for fate, _ in marks)


def _make_figures(level: _Level, found: Comparison) -> list[Figure]:
    figures = []
    for word, pixels, is_followup in (("baseline", level.before, False), ("followup", level.after, True)):
        marks = _place_marks(level, found.tracks, found.registered_grid, is_followup=is_followup)
        n_unseen = _count_unseen(level, found)
        title = f"{word}, {level.name} slab of {level.thickness_mm:g} mm"
        figures.append(
            Figure(
                name=f"{word}_{level.name}_{level.number}_{level.thickness_mm:g}mm",
                kind="compared_slab",
                title=title,
                pixels=pixels,
                pixel_mm=level.pixel_mm,
                marks=tuple(mark for _, mark in marks),
                facts={
                    "plane": level.name,
                    "level": level.number,
                    "thickness_mm": level.thickness_mm,
                    "window_hu": list(WINDOW_HU),
                    "scan": word,
                    "frame": "baseline",
                    "n_no_longer_seen": n_unseen,
                },
            )
        )
    return figures


# --- the whole picture -------------------------------------------------------------------------------------


def _compose(found: Comparison, levels: Sequence[_Level]) -> npt.NDArray[np.uint8]:
    heights = [level.before.shape[0] + _CAPTION for level in levels]
    body = sum(heights) + _GAP
    width = 2 * _PANEL_PX + _CHART_PX + 4 * _GAP
    top = 66
    canvas = Image.new("RGB", (width, top + body + 44), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_heading(draw, found, width)
    y = top
    for level, height in zip(levels, heights, strict=True):
        for column, is_followup in enumerate((False, True)):
            x = _GAP + column * (_PANEL_PX + _GAP)
            _draw_slab(canvas, (x, y), level, found, is_followup=is_followup)
        y += height + _GAP
    chart_x = 3 * _GAP + 2 * _PANEL_PX
    half = (body - _GAP) // 2
    _draw_zones(draw, (chart_x, top, _CHART_PX - _GAP, half), found.regions)
    _draw_sizes(draw, (chart_x, top + half + _GAP, _CHART_PX - _GAP, half), found)
    _draw_legend(draw, (_GAP, top + body + 10), found.tracks, levels[0].pixel_mm)
    return np.asarray(canvas)


def _draw_heading(draw: ImageDraw.ImageDraw, found: Comparison, width: int) -> None:
    ratio = found.total.volume_ratio
    text = "volume ratio not told: " + ratio.reason
    if ratio.value is not None:
        text = f"nodule volume x {ratio.value:.2f} (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
    apart = "" if found.days_between is None else f" after {found.days_between} days"
    draw.text((_GAP, 8), text + apart, fill=_TEXT, font=_font(20))
    gate = found.comparability.verdict.value.replace("_", " ")
    draw.text(
        (_GAP, 36),
        f"{gate}; {found.category.value} (exploratory, by volume, not RECIST)"
        + ("" if found.is_corrected else "; uncorrected for what each scan misses"),
        fill=_DIM,
        font=_font(15),
    )
    if found.is_simulated:
        words = "SIMULATED - shows no patient"
        long = draw.textlength(words, font=_font(18))
        draw.text((width - _GAP - long, 10), words, fill=(230, 159, 0), font=_font(18))


def _draw_slab(
    canvas: Image.Image, corner: tuple[int, int], level: _Level, found: Comparison, *, is_followup: bool
) -> None:
    draw = ImageDraw.Draw(canvas)
    x, y = corner
    marks = _place_marks(level, found.tracks, found.registered_grid, is_followup=is_followup)
    word = f"baseline: {level.name}, {SLAB_MM:g} mm MIP, {len(marks)} marked"
    if is_followup:
        gone = _count_unseen(level, found)
        word = f"follow-up (resampled, softer): {len(marks)} present, {gone} no longer seen"
    draw.text((x, y + 3), word, fill=_TEXT, font=_font(15))
    picture = Image.fromarray(level.after if is_followup else level.before).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for fate, mark in marks:
        draw_fate(pen, fate, (mark.column_px, mark.row_px), max(mark.radius_px, 4.0))
    for text, column in (("R", 6), ("L", picture.width - 16)):
        pen.text((column, 4), text, fill=_TEXT, font=_font(15), stroke_width=2, stroke_fill=(0, 0, 0))
    canvas.paste(picture, (x, y + _CAPTION))


def draw_fate(pen: ImageDraw.ImageDraw, fate: Fate, center: tuple[float, float], radius: float) -> None:
    """Draw the symbol of one nodule: circle kept, triangle shrunk or grown, square unseen, diamond new.

    Parameters
    ----------
    pen : PIL.ImageDraw.ImageDraw
        Where to draw.
    fate : Fate
        What became of the nodule.
    center : tuple of float
        Column and row [pixels].
    radius : float
        Size of the symbol [pixels].
    """
    x, y = center
    color = COLORS[fate]
    if fate is Fate.KEPT:
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=color)
        return
    if fate is Fate.NO_LONGER_SEEN:
        side = 0.85 * radius
        pen.rectangle([x - side, y - side, x + side, y + side], outline=color)
        return
    tall, wide = 1.3 * radius, 1.15 * radius
    corners = {
        Fate.SHRUNK: [(x, y + tall), (x - wide, y - 0.7 * radius), (x + wide, y - 0.7 * radius)],
        Fate.GROWN: [(x, y - tall), (x - wide, y + 0.7 * radius), (x + wide, y + 0.7 * radius)],
        Fate.NEW: [(x, y - tall), (x + tall, y), (x, y + tall), (x - tall, y)],
    }[fate]
    pen.polygon(corners, outline=color)


def _draw_zones(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], regions: Sequence[RegionResponse]
) -> None:
    """Draw two bars per zone: volume of nodules on both scans."""
    x, y, width, height = box
    draw.text((x, y + 3), "nodule volume by zone [mm3]", fill=_TEXT, font=_font(15))
    zones = [region for region in regions if region.zone is not None]
    known = np.nan_to_num([(r.baseline.volume_mm3, r.followup.volume_mm3) for r in zones]).reshape(-1, 2)
    most = float(np.max(known, initial=1.0))
    row = (height - _CAPTION) / max(len(zones), 1)
    left, long = x + 104, width - 104 - 118
    for number, region in enumerate(zones):
        top = y + _CAPTION + number * row
        draw.text((x, top + 0.5 * row - 10), f"{region.side} {region.zone}", fill=_TEXT, font=_font(14))
        for column_number, (value, color) in enumerate(zip(known[number], (_BEFORE, _AFTER), strict=True)):
            bar = top + 0.12 * row + column_number * 0.38 * row
            end = left + long * max(value, 0.0) / most
            draw.rectangle([left, bar, max(end, left + 1), bar + 0.32 * row], fill=color)
        draw.text((left + long + 8, top + 0.5 * row - 10), _describe_ratio(region), fill=_DIM, font=_font(13))


def _describe_ratio(region: RegionResponse) -> str:
    if region.excluded:
        return "left out"
    ratio = region.volume_ratio
    if ratio.value is None:
        return "not told"
    return f"x {ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _draw_sizes(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], found: Comparison) -> None:
    """Draw the number of reported nodules by volume on both scans."""
    x, y, width, height = box
    draw.text((x, y + 3), "reported nodules by volume [mm3]", fill=_TEXT, font=_font(15))
    counts = [
        np.histogram(np.clip(e.nodules["volume_mm3"], _EDGES_MM3[0], _EDGES_MM3[-1] - 1e-6), _EDGES_MM3)[0]
        for e in (found.baseline, found.followup)
    ]
    most = max(1, *(int(c.max()) for c in counts))
    left, right, top, bottom = x + 44, x + width - 8, y + _CAPTION + 26, y + height - 34
    step = (right - left) / (len(_EDGES_MM3) - 1)
    for number, both in enumerate(zip(*counts, strict=True)):
        for column_number, (count, color) in enumerate(zip(both, (_BEFORE, _AFTER), strict=True)):
            start = left + number * step + column_number * 0.46 * step
            draw.rectangle(
                [start, bottom - (bottom - top) * count / most, start + 0.42 * step, bottom], fill=color
            )
    draw.line([left, bottom, right, bottom], fill=_DIM)
    for value in (0.25, 1.0, 4.0, 16.0, 64.0):
        at = float(np.interp(np.log(value), np.log(_EDGES_MM3), np.arange(len(_EDGES_MM3))))
        label, tick = f"{value:g}", left + step * at
        draw.text(
            (tick - draw.textlength(label, font=_font(13)) / 2, bottom + 5), label, fill=_DIM, font=_font(13)
        )
    draw.text((x, top - 8), f"{most:,}", fill=_DIM, font=_font(13))
    for column_number, (word, color) in enumerate((("baseline", _BEFORE), ("follow-up", _AFTER))):
        start = right - 210 + column_number * 105
        draw.rectangle([start, y + _CAPTION + 2, start + 12, y + _CAPTION + 14], fill=color)
        draw.text((start + 18, y + _CAPTION - 2), word, fill=_TEXT, font=_font(14))


def _draw_legend(draw: ImageDraw.ImageDraw, corner: tuple[int, int], tracks: Tracks, pixel_mm: float) -> None:
    x, y = corner
    long = 50.0 / pixel_mm
    draw.line([(x, y + 10), (x + long, y + 10)], fill=_TEXT, width=3)
    draw.text((x + long + 8, y), "50 mm", fill=_TEXT, font=_font(14))
    left = x + long + 80.0
    for fate in Fate:
        draw_fate(draw, fate, (left + 7, y + 10), 7.0)
        text = f"{fate.words} ({tracks.count(fate):,} in all)"
        draw.text((left + 22, y), text, fill=_TEXT, font=_font(14))
        left += 48 + draw.textlength(text, font=_font(14))


def _font(size: int) -> Font:
    """The font of Pillow, so that pictures do not depend on the machine."""
    return ImageFont.load_default(size=size)
