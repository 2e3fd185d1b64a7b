"""Render the figure of a spatial pattern: each measure of the nodules against random placements."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from miliary.model.figure import Figure
from miliary.model.pattern import CLASSES, Curve, Evidence, Pattern, PatternLabel

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]

FIGURE_NAME = "pattern"
_PAGE: Rgb = (255, 255, 255)
_INK: Rgb = (30, 30, 30)
_FAINT: Rgb = (150, 150, 150)
_BAND: Rgb = (205, 216, 228)
_EXPECTED: Rgb = (90, 120, 150)
# Vermilion of Okabe and Ito: the patient, in every panel.
_SEEN: Rgb = (213, 94, 0)
_PANEL = (400, 270)
_MARGIN = 16
_RATIO_LIMITS = (0.1, 10.0)


def render_pattern(pattern: Pattern) -> Figure:
    """Render curves of distances and pairs, effect sizes, gradients and probabilities.

    Parameters
    ----------
    pattern : Pattern
        From `distribution.randomness.estimate_pattern`.

    Returns
    -------
    Figure
        Named ``pattern``. With too few nodules to test, the panels are empty and the text gives the reason.
    """
    columns, rows = 5, 2
    width = columns * _PANEL[0] + (columns + 1) * _MARGIN
    height = rows * _PANEL[1] + (rows + 1) * _MARGIN + 64
    canvas = Image.new("RGB", (width, height), _PAGE)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, 10), f"Pattern: {pattern.label.value}", fill=_INK, font=_font(22))
    draw.text((_MARGIN, 40), _subtitle(pattern), fill=_INK, font=_font(13))
    for k, curve in enumerate(pattern.curves):
        _draw_curve(draw, _panel_box(k, columns), curve)
    _draw_probabilities(draw, _panel_box(5, columns), pattern)
    _draw_ratios(draw, _panel_box(6, columns), "effect sizes: measured over random", pattern.evidence)
    _draw_ratios(draw, _panel_box(7, columns), "gradients: density over density", pattern.gradients)
    _draw_legend(draw, _panel_box(8, columns), pattern)
    return Figure(
        name=FIGURE_NAME,
        kind="pattern",
        title=f"Spatial pattern of the nodules: {pattern.label.value}",
        pixels=np.asarray(canvas),
        facts={"n_nodules": pattern.n_nodules, "n_used": pattern.n_used},
    )


def _panel_box(k: int, columns: int) -> Box:
    left = _MARGIN + (k % columns) * (_PANEL[0] + _MARGIN)
    top = 64 + _MARGIN + (k // columns) * (_PANEL[1] + _MARGIN)
    return left, top, left + _PANEL[0], top + _PANEL[1]


def _subtitle(pattern: Pattern) -> str:
    text = f"{pattern.reason}; {pattern.n_used} of {pattern.n_nodules} nodules used"
    if pattern.randomness_p is not None:
        if not pattern.is_random_rejected:
            text += f"; random placement is not rejected at 5 % (joint p = {pattern.randomness_p:.3f})"
        elif pattern.label is PatternLabel.RANDOM:
            text += (
                "; it fits best of the patterns known here, but placement wholly at random is rejected "
                f"at 5 % (joint p = {pattern.randomness_p:.3f})"
            )
        else:
            text += f"; random placement is rejected at 5 % (joint p = {pattern.randomness_p:.3f})"
    return text


def _plot_area(draw: ImageDraw.ImageDraw, box: Box, title: str) -> Box:
    draw.text((box[0] + 4, box[1] + 2), title, fill=_INK, font=_font(13))
    return box[0] + 46, box[1] + 26, box[2] - 8, box[3] - 36


def _draw_curve(draw: ImageDraw.ImageDraw, box: Box, curve: Curve) -> None:
    """Draw the band of random placements, their mean, and the patient as a line with points."""
    area = _plot_area(draw, box, curve.name)
    top = 1.08 * max(*curve.observed, *curve.high, 1e-9)
    span = curve.x[-1] - curve.x[0]
    low_x, high_x = curve.x[0] - 0.04 * span, curve.x[-1] + 0.04 * span

    def at(values: tuple[float, ...]) -> list[tuple[float, float]]:
        column = [area[0] + (x - low_x) / (high_x - low_x) * (area[2] - area[0]) for x in curve.x]
        row = [area[3] - y / top * (area[3] - area[1]) for y in values]
        return list(zip(column, row, strict=True))

    draw.polygon(at(curve.high) + at(curve.low)[::-1], fill=_BAND)
    draw.line(at(curve.expected), fill=_EXPECTED, width=2)
    seen = at(curve.observed)
    draw.line(seen, fill=_SEEN, width=3)
    for column, row in seen:
        draw.ellipse([column - 3, row - 3, column + 3, row + 3], fill=_SEEN)
    draw.line([(area[0], area[1]), (area[0], area[3]), (area[2], area[3])], fill=_INK)
    for value in _ticks(top):
        row = area[3] - value / top * (area[3] - area[1])
        draw.line([(area[0] - 4, row), (area[0], row)], fill=_INK)
        _write(draw, (area[0] - 7, row), f"{value:g}", anchor="rm")
    for value in _ticks(high_x):
        if value >= low_x:
            column = area[0] + (value - low_x) / (high_x - low_x) * (area[2] - area[0])
            draw.line([(column, area[3]), (column, area[3] + 4)], fill=_INK)
            _write(draw, (column, area[3] + 12), f"{value:g}", anchor="mm")
    _write(draw, (0.5 * (area[0] + area[2]), area[3] + 27), curve.x_label, anchor="mm")


def _ticks(top: float) -> list[float]:
    """Round values from 0 to `top`, about four."""
    raw = top / 4
    power = 10 ** np.floor(np.log10(raw))
    step = float(power * min((1, 2, 5, 10), key=lambda m: abs(m * power - raw)))
    return [round(k * step, 10) for k in range(int(top / step) + 1)]


def _draw_ratios(draw: ImageDraw.ImageDraw, box: Box, title: str, items: tuple[Evidence, ...]) -> None:
    """Draw ratios with their 95 % intervals on a logarithmic axis; 1 is that of random placements."""
    area = _plot_area(draw, box, title)
    area = (box[0] + 140, area[1], area[2], area[3])
    low, high = np.log(_RATIO_LIMITS)

    def column(ratio: float) -> float:
        share = (np.log(np.clip(ratio, *_RATIO_LIMITS)) - low) / (high - low)
        return float(area[0] + share * (area[2] - area[0]))

    for value in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        c = column(value)
        draw.line([(c, area[1]), (c, area[3])], fill=_INK if value == 1.0 else _BAND)
        _write(draw, (c, area[3] + 12), f"{value:g}", anchor="mm")
    step = (area[3] - area[1]) / max(1, len(items))
    for k, item in enumerate(items):
        row = area[1] + (k + 0.5) * step
        _write(draw, (area[0] - 8, row), item.name.replace("_", " "), anchor="rm")
        if not np.isfinite(item.ratio):
            _write(draw, (column(1.0), row), "not in view", anchor="mm")
            continue
        draw.line([(column(item.ratio_low), row), (column(item.ratio_high), row)], fill=_SEEN, width=3)
        c = column(item.ratio)
        draw.ellipse([c - 5, row - 5, c + 5, row + 5], fill=_SEEN)


def _draw_probabilities(draw: ImageDraw.ImageDraw, box: Box, pattern: Pattern) -> None:
    area = _plot_area(draw, box, "probability of each pattern")
    area = (box[0] + 120, area[1], area[2] - 44, area[3])
    step = (area[3] - area[1]) / len(CLASSES)
    for k, name in enumerate(CLASSES):
        row = area[1] + (k + 0.5) * step
        _write(draw, (area[0] - 8, row), name.value, anchor="rm")
        if not pattern.probabilities:
            _write(draw, (area[0] + 6, row), "not given", anchor="lm")
            continue
        share = pattern.probabilities[name]
        end = area[0] + share * (area[2] - area[0])
        draw.rectangle([area[0], row - 11, end, row + 11], fill=_SEEN)
        _write(draw, (end + 6, row), f"{share:.2f}", anchor="lm")
    draw.line([(area[0], area[1]), (area[0], area[3])], fill=_INK)


def _draw_legend(draw: ImageDraw.ImageDraw, box: Box, pattern: Pattern) -> None:
    left, top = box[0] + 10, box[1] + 30
    draw.line([(left, top), (left + 36, top)], fill=_SEEN, width=3)
    _write(draw, (left + 46, top), "this scan", anchor="lm")
    draw.rectangle([left, top + 18, left + 36, top + 32], fill=_BAND)
    draw.line([(left, top + 25), (left + 36, top + 25)], fill=_EXPECTED, width=2)
    _write(
        draw, (left + 46, top + 25), f"{pattern.n_placements} random placements: mean, 95 % band", anchor="lm"
    )
    lines = [
        "Random placements lie in the same lungs, outside vessels,",
        "with the chance of detection by place and with the",
        "broad gradients of this scan.",
        "Intervals are 95 %; 1 is what random places show.",
        f"Fissures {pattern.fissures}.",
    ]
    size = pattern.size
    if size.cv is not None and size.cv_err is not None and size.cv_measured is not None:
        lines.append(f"Diameters: CV {size.cv:.2f} ± {size.cv_err:.2f} without measurement error")
        lines.append(f"({size.cv_measured:.2f} with it).")
    for k, line in enumerate(lines):
        _write(draw, (left, top + 58 + 21 * k), line, anchor="lm")


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, anchor: str) -> None:
    draw.text(at, text, fill=_INK, font=_font(12), anchor=anchor)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of Pillow, so that pictures do not depend on the machine."""
    return ImageFont.load_default(size=size)
