"""Small drawings in SVG: no script, readable in black and white, each with a title for screen readers."""

from miliary.report.charts.burden_map import MapRows, draw_burden_map, find_map_peak
from miliary.report.charts.completeness_curve import CompletenessLine, draw_completeness
from miliary.report.charts.effects import Effect, draw_effects
from miliary.report.charts.histogram import BarSeries, draw_histogram
from miliary.report.charts.overlay import draw_overlay
from miliary.report.charts.timeline_chart import BurdenPoint, draw_timeline

__all__ = [
    "BarSeries",
    "BurdenPoint",
    "CompletenessLine",
    "Effect",
    "MapRows",
    "draw_burden_map",
    "draw_completeness",
    "draw_effects",
    "draw_histogram",
    "draw_overlay",
    "draw_timeline",
    "find_map_peak",
]
