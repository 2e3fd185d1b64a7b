"""The course of a case in days from its day 0, drawn in lanes; items without a day are not drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from miliary.model.saved.case_summary import EventSummary, LabSummary
from miliary.report.catalog import Catalog
from miliary.report.charts.svg import choose_ticks, close_svg, open_svg, write_text
from miliary.report.formatting import spell

_LANES = (
    "imaging",
    "pathology",
    "molecular",
    "microbiology",
    "stage",
    "treatment",
    "adverse_event",
    "response",
)
_SIGNS = {
    "imaging": "M-5-5h10v10h-10z",
    "pathology": "M0-6L6 0L0 6L-6 0z",
    "molecular": "M0-6L6 5h-12z",
    "microbiology": "M0 6L6-5h-12z",
    "stage": "M-6-2h12v4h-12z",
    "response": "M0-7L2-2H7L3 1L5 6L0 3L-5 6L-3 1L-7-2H-2z",
    "adverse_event": "M-5-5L5 5M-5 5L5-5",
}
_LASTING = frozenset({"treatment", "adverse_event"})
_WIDTH, _LEFT, _RIGHT = 960.0, 184.0, 20.0
_ROW_HEIGHT = 22.0
_PLOT_HEIGHT = 84.0


@dataclass(frozen=True)
class BurdenPoint:
    """Total volume of the nodules [mm3] on one day, and the name of the scan."""

    day: float
    volume_mm3: float
    scan: str


@dataclass(frozen=True)
class _DayAxis:
    """Maps days between the first and the last to columns of the drawing."""

    first: float
    last: float

    def at(self, day: float) -> float:
        span = max(self.last - self.first, 1.0)
        return _LEFT + (day - self.first) / span * (_WIDTH - _LEFT - _RIGHT)


def draw_timeline(
    events: Sequence[EventSummary],
    labs: Sequence[LabSummary],
    burdens: Sequence[BurdenPoint],
    *,
    catalog: Catalog,
) -> Markup | None:
    """Draw events in lanes, then a plot for each analyte and one for the measured burden.

    Parameters
    ----------
    events : sequence of EventSummary
    labs : sequence of LabSummary
        Of the record; those without a day are left out.
    burdens : sequence of BurdenPoint
    catalog : Catalog

    Returns
    -------
    Markup or None
        An ``<svg>``; None where nothing has a day.
    """
    dated = [event for event in events if event.day is not None]
    values = [lab for lab in labs if lab.day is not None and lab.value is not None]
    axis = _make_axis(dated, values, burdens)
    if axis is None:
        return None
    parts: list[str] = []
    y = 26.0
    for lane in _LANES:
        in_lane = [event for event in dated if event.kind == lane]
        if in_lane:
            shapes, y = _draw_lane(lane, in_lane, axis, y, catalog)
            parts += shapes
    for (name, unit), group in _group_labs(values).items():
        parts += _draw_lab(name, unit, group, axis, y)
        y += _PLOT_HEIGHT
    if burdens:
        points = [(point.day, point.volume_mm3, point.scan) for point in burdens]
        parts += _draw_values(catalog("timeline.burden"), points, axis, y, unit="mm\u00b3")
        y += _PLOT_HEIGHT
    title = catalog("timeline.alt", n=len(dated) + len(values))
    svg = open_svg(_WIDTH, y + 44, title, css="chart timeline")
    return close_svg([svg, *_draw_axis(axis, y, catalog), *parts])


def _make_axis(
    events: Iterable[EventSummary], labs: Iterable[LabSummary], burdens: Iterable[BurdenPoint]
) -> _DayAxis | None:
    """An axis that holds every day with a margin; None where there is no day."""
    days = [day for event in events for day in (event.day, event.end_day)] + [lab.day for lab in labs]
    known = [float(day) for day in days if day is not None] + [point.day for point in burdens]
    if not known:
        return None
    margin = max((max(known) - min(known)) * 0.04, 2.0)
    return _DayAxis(min(known) - margin, max(known) + margin)


def _draw_axis(axis: _DayAxis, bottom: float, catalog: Catalog) -> list[str]:
    parts = []
    for tick in choose_ticks(axis.first, axis.last, about=9):
        x = axis.at(tick)
        css = "axis" if tick == 0 else "grid"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{bottom:.1f}" class="{css}"/>')
        parts.append(write_text(x, bottom + 16, f"{tick:g}", anchor="middle"))
    parts.append(write_text((_LEFT + _WIDTH) / 2, bottom + 34, catalog("timeline.days"), anchor="middle"))
    return parts


def _draw_lane(
    lane: str, events: Sequence[EventSummary], axis: _DayAxis, top: float, catalog: Catalog
) -> tuple[list[str], float]:
    """Events of one kind, each in the first row that is free at its day; also the lower edge of the lane."""
    parts = [write_text(6, top + 12, catalog(f"timeline.{lane}"), css="strong")]
    row_ends: list[float] = []
    for event in events:
        x = axis.at(event.day or 0)
        open_stop = _WIDTH - _RIGHT if lane == "treatment" else x
        stop = open_stop if event.end_day is None else axis.at(event.end_day)
        label = _label_event(event, catalog)
        width = 7.0 * len(label) + 16
        # A label that would cross the right edge is written to the left of its sign.
        is_left = x + width > _WIDTH and x - width > _LEFT
        start = x - width if is_left else x
        row = next((i for i, end in enumerate(row_ends) if end < start), len(row_ends))
        row_ends[row : row + 1] = [max(stop, x if is_left else x + width)]
        y = top + row * _ROW_HEIGHT + 8
        hover = f"<title>{escape(_describe_event(event, catalog))}</title>"
        if lane in _LASTING and stop > x + 1:
            parts += _draw_bar(lane, label, hover, (x, stop, y), is_open=event.end_day is None)
        else:
            parts += _draw_sign(lane, label, hover, (x, y), is_left=is_left)
    return parts, top + max(len(row_ends), 1) * _ROW_HEIGHT + 8


def _draw_bar(
    lane: str, label: str, hover: str, place: tuple[float, float, float], *, is_open: bool
) -> list[str]:
    """A bar from one column to another at a height; a broken outline where no end is stated."""
    x, stop, y = place
    css = "bar-drug" if lane == "treatment" else "bar-event"
    dashes = ' stroke-dasharray="6 3"' if is_open else ""
    bar = (
        f'<g>{hover}<rect x="{x:.1f}" y="{y - 8:.1f}" width="{stop - x:.1f}" height="16" '
        f'class="{css}"{dashes}/></g>'
    )
    return [bar, write_text(x + 5, y + 4, label, css="inbar")]


def _draw_sign(lane: str, label: str, hover: str, place: tuple[float, float], *, is_left: bool) -> list[str]:
    """The sign of a lane at a point, its label to the right or the left."""
    x, y = place
    path = _SIGNS.get(lane, _SIGNS["imaging"])
    sign = f'<g transform="translate({x:.1f} {y:.1f})" class="sign">{hover}<path d="{path}"/></g>'
    if is_left:
        return [sign, write_text(x - 9, y + 4, label, anchor="end")]
    return [sign, write_text(x + 9, y + 4, label)]


def _label_event(event: EventSummary, catalog: Catalog) -> str:
    label = spell(event.label)
    return label if event.grade is None else f"{label} {catalog('timeline.grade', n=event.grade)}"


def _describe_event(event: EventSummary, catalog: Catalog) -> str:
    days = catalog("timeline.day", n=f"{event.day:g}") if event.day is not None else event.when
    days += f"\u2013{event.end_day:g}" if event.end_day is not None else ""
    return " \u00b7 ".join(filter(None, (days, spell(event.label), event.detail)))


def _group_labs(labs: Iterable[LabSummary]) -> Mapping[tuple[str, str], list[LabSummary]]:
    """Values by analyte and unit: different units never share an axis."""
    groups: dict[tuple[str, str], list[LabSummary]] = {}
    for lab in labs:
        groups.setdefault((spell(lab.analyte), lab.unit), []).append(lab)
    return groups


def _draw_lab(name: str, unit: str, labs: Sequence[LabSummary], axis: _DayAxis, top: float) -> list[str]:
    points = [(float(lab.day or 0), lab.value or 0.0, lab.id) for lab in labs]
    bands = {(lab.low, lab.high) for lab in labs}
    # Values with different reference ranges have no band in common.
    band = bands.pop() if len(bands) == 1 else None
    return _draw_values(name, points, axis, top, unit=unit, band=band)


def _draw_values(
    name: str,
    points: Sequence[tuple[float, float, str]],
    axis: _DayAxis,
    top: float,
    *,
    unit: str,
    band: tuple[float | None, float | None] | None = None,
) -> list[str]:
    """Points (day, value, label) on a vertical axis of their own, the reference range behind them."""
    low, high = band or (None, None)
    known = [v for _, v, _ in points] + [v for v in (low, high) if v is not None] + [0.0]
    smallest, largest = min(known), max(known) * 1.1 or 1.0
    span = (largest - smallest) or 1.0
    height = _PLOT_HEIGHT - 22

    def at(value: float) -> float:
        return top + 8 + height * (1 - (value - smallest) / span)

    width = _WIDTH - _RIGHT - _LEFT
    parts = [
        f'<rect x="{_LEFT}" y="{top + 8:.1f}" width="{width}" height="{height}" class="frame"/>',
        write_text(6, top + 22, name[:22], css="strong"),
        write_text(6, top + 38, unit),
    ]
    if low is not None or high is not None:
        upper = at(high if high is not None else largest)
        lower = at(low if low is not None else smallest)
        limits = f"{'' if low is None else f'{low:g}'}\u2013{'' if high is None else f'{high:g}'} {unit}"
        parts.append(
            f'<rect x="{_LEFT}" y="{upper:.1f}" width="{width}" height="{max(lower - upper, 1):.1f}" '
            f'class="band"><title>{escape(limits)}</title></rect>'
        )
    parts += [
        write_text(_LEFT - 6, at(tick) + 4, _shorten(tick), anchor="end")
        for tick in choose_ticks(smallest, largest, about=3)
    ]
    line = " ".join(f"{axis.at(day):.1f},{at(value):.1f}" for day, value, _ in sorted(points))
    parts.append(f'<polyline points="{line}" class="line"/>')
    parts += [
        f'<circle cx="{axis.at(day):.1f}" cy="{at(value):.1f}" r="4" class="point">'
        f"<title>{escape(label)}: {value:g} {escape(unit)}</title></circle>"
        for day, value, label in points
    ]
    return parts


def _shorten(value: float) -> str:
    if abs(value) >= 1e4 and math.isfinite(value):
        return f"{value / 1000:g}k"
    return f"{value:g}"
