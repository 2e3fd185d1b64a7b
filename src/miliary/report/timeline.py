"""The course of a case in days from its day 0, drawn in lanes.

Only what has a day is drawn; the page lists the rest beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from miliary.report.catalog import Catalog
from miliary.report.charts import choose_ticks, open_svg, write_text
from miliary.report.reading import JsonObject, as_number, number, spell, text

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
_SHAPE = {
    "imaging": "M-5-5h10v10h-10z",
    "pathology": "M0-6L6 0L0 6L-6 0z",
    "molecular": "M0-6L6 5h-12z",
    "microbiology": "M0 6L6-5h-12z",
    "stage": "M-6-2h12v4h-12z",
    "response": "M0-7L2-2H7L3 1L5 6L0 3L-5 6L-3 1L-7-2H-2z",
    "adverse_event": "M-5-5L5 5M-5 5L5-5",
}
_WIDTH, _LEFT, _RIGHT = 960.0, 184.0, 20.0
_ROW = 22.0
_PANEL = 84.0


@dataclass(frozen=True)
class _Scale:
    first: float
    last: float

    def at(self, day: float) -> float:
        """Column of a day."""
        span = max(self.last - self.first, 1.0)
        return _LEFT + (day - self.first) / span * (_WIDTH - _LEFT - _RIGHT)


def draw_timeline(
    events: Sequence[JsonObject],
    labs: Sequence[JsonObject],
    burdens: Sequence[tuple[float, float, str]],
    *,
    catalog: Catalog,
) -> Markup | None:
    """Lanes of events, then one small plot for each analyte and for the measured burden.

    Parameters
    ----------
    events, labs : sequences of mapping
        Of ``case.json``'s record; those without a day are left out.
    burdens : sequence of (day, volume in mm3, label)
    catalog : Catalog

    Returns
    -------
    Markup or None
        None where nothing has a day.
    """
    dated = [event for event in events if number(event, "day") is not None]
    values = [lab for lab in labs if number(lab, "day") is not None and number(lab, "value") is not None]
    days = [number(e, n) for e in dated for n in ("day", "end_day")] + [number(v, "day") for v in values]
    known = [day for day in days if day is not None] + [day for day, _, _ in burdens]
    if not known:
        return None
    pad = max((max(known) - min(known)) * 0.04, 2.0)
    scale = _Scale(min(known) - pad, max(known) + pad)
    parts: list[str] = []
    y = 26.0
    for lane in _LANES:
        here = [event for event in dated if text(event, "kind") == lane]
        if here:
            shapes, y = _draw_lane(lane, here, scale, y, catalog)
            parts += shapes
    for name, points in _group_labs(values).items():
        parts += _draw_lab(name, points, scale, y)
        y += _PANEL
    if burdens:
        parts += _draw_values(catalog("timeline.burden"), burdens, scale, y, unit="mm\u00b3")
        y += _PANEL
    frame = _draw_axis(scale, y, catalog)
    svg = open_svg(_WIDTH, y + 44, catalog("timeline.alt", n=len(dated) + len(values)), css="chart timeline")
    return Markup(svg + "".join(frame + parts) + "</svg>")  # noqa: S704  every text went through escape


def _draw_axis(scale: _Scale, bottom: float, catalog: Catalog) -> list[str]:
    parts = []
    for tick in choose_ticks(scale.first, scale.last, about=9):
        x = scale.at(tick)
        css = "axis" if tick == 0 else "grid"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{bottom:.1f}" class="{css}"/>')
        parts.append(write_text(x, bottom + 16, f"{tick:g}", anchor="middle"))
    parts.append(write_text((_LEFT + _WIDTH) / 2, bottom + 34, catalog("timeline.days"), anchor="middle"))
    return parts


def _draw_lane(
    lane: str, events: Sequence[JsonObject], scale: _Scale, top: float, catalog: Catalog
) -> tuple[list[str], float]:
    """Events of one kind, each on the first row that is free there."""
    parts = [write_text(6, top + 12, catalog(f"timeline.{lane}"), css="strong")]
    free: list[float] = []
    for event in events:
        x = scale.at(number(event, "day") or 0.0)
        end = number(event, "end_day")
        is_bar = lane in {"treatment", "adverse_event"}
        stop = scale.at(end) if end is not None else (_WIDTH - _RIGHT if lane == "treatment" else x)
        said = spell(text(event, "label"))
        grade = number(event, "grade")
        said += f" {catalog('timeline.grade', n=int(grade))}" if grade is not None else ""
        width = 7.0 * len(said) + 16
        # Words that would run over the edge stand to the left of their sign.
        is_left = x + width > _WIDTH and x - width > _LEFT
        start = x - width if is_left else x
        row = next((i for i, used in enumerate(free) if used < start), len(free))
        reach = max(stop, x if is_left else x + width)
        free[row : row + 1] = [reach]
        y = top + row * _ROW + 8
        hover = f"<title>{escape(_tell(event, catalog))}</title>"
        if is_bar and stop > x + 1:
            css = "bar-drug" if lane == "treatment" else "bar-event"
            open_end = ' stroke-dasharray="6 3"' if end is None else ""
            parts.append(
                f'<g>{hover}<rect x="{x:.1f}" y="{y - 8:.1f}" width="{stop - x:.1f}" height="16" '
                f'class="{css}"{open_end}/></g>'
            )
            parts.append(write_text(x + 5, y + 4, said, css="inbar"))
            continue
        shape = _SHAPE.get(lane, _SHAPE["imaging"])
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})" class="sign">{hover}<path d="{shape}"/></g>')
        parts.append(
            write_text(x - 9 if is_left else x + 9, y + 4, said, anchor="end" if is_left else "start")
        )
    return parts, top + max(len(free), 1) * _ROW + 8


def _tell(event: JsonObject, catalog: Catalog) -> str:
    day = number(event, "day")
    end = number(event, "end_day")
    days = catalog("timeline.day", n=f"{day:g}") if day is not None else text(event, "when")
    days += f"\u2013{end:g}" if end is not None else ""
    return " \u00b7 ".join(filter(None, (days, spell(text(event, "label")), text(event, "detail"))))


def _group_labs(labs: Iterable[JsonObject]) -> Mapping[str, list[JsonObject]]:
    """Values by analyte and unit: different units never share an axis."""
    groups: dict[str, list[JsonObject]] = {}
    for lab in labs:
        key = " ".join(filter(None, (spell(text(lab, "analyte")), f"[{text(lab, 'unit')}]")))
        groups.setdefault(key, []).append(lab)
    return groups


def _draw_lab(name: str, labs: Sequence[JsonObject], scale: _Scale, top: float) -> list[str]:
    points = [(number(lab, "day") or 0.0, number(lab, "value") or 0.0, text(lab, "id")) for lab in labs]
    bands = {(number(lab, "low"), number(lab, "high")) for lab in labs}
    band = bands.pop() if len(bands) == 1 else None
    title, _, unit = name.partition(" [")
    return _draw_values(title, points, scale, top, unit=unit.rstrip("]"), band=band)


def _draw_values(
    name: str,
    points: Sequence[tuple[float, float, str]],
    scale: _Scale,
    top: float,
    *,
    unit: str,
    band: tuple[float | None, float | None] | None = None,
) -> list[str]:
    """Points on an axis of their own with the reference band behind."""
    low, high = band or (None, None)
    known = [v for _, v, _ in points] + [v for v in (low, high) if v is not None] + [0.0]
    bottom_value, top_value = min(known), max(known) * 1.1 or 1.0
    span = (top_value - bottom_value) or 1.0
    height = _PANEL - 22

    def at(value: float) -> float:
        return top + 8 + height * (1 - (value - bottom_value) / span)

    right = _WIDTH - _RIGHT
    parts = [
        f'<rect x="{_LEFT}" y="{top + 8:.1f}" width="{right - _LEFT}" height="{height}" class="frame"/>',
        write_text(6, top + 22, name[:22], css="strong"),
        write_text(6, top + 38, unit),
    ]
    if low is not None or high is not None:
        upper = at(high if high is not None else top_value)
        lower = at(low if low is not None else bottom_value)
        words = f"{'' if low is None else f'{low:g}'}\u2013{'' if high is None else f'{high:g}'} {unit}"
        parts.append(
            f'<rect x="{_LEFT}" y="{upper:.1f}" width="{right - _LEFT}" height="{max(lower - upper, 1):.1f}" '
            f'class="band"><title>{escape(words)}</title></rect>'
        )
    parts += [
        write_text(_LEFT - 6, at(tick) + 4, _short(tick), anchor="end")
        for tick in choose_ticks(bottom_value, top_value, about=3)
    ]
    line = " ".join(f"{scale.at(day):.1f},{at(value):.1f}" for day, value, _ in sorted(points))
    parts.append(f'<polyline points="{line}" class="line"/>')
    for day, value, label in points:
        parts.append(
            f'<circle cx="{scale.at(day):.1f}" cy="{at(value):.1f}" r="4" class="point">'
            f"<title>{escape(label)}: {value:g} {escape(unit)}</title></circle>"
        )
    return parts


def _short(value: float) -> str:
    if abs(value) >= 1e4 and math.isfinite(value):
        return f"{value / 1000:g}k"
    return f"{value:g}"


def list_undated(events: Sequence[JsonObject]) -> list[JsonObject]:
    """Events of which no day is stated, in the record's order."""
    return [event for event in events if as_number(event.get("day")) is None]
