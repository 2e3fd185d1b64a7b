"""The course in days: drawn where items have a day, listed in full, with the laboratory values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedScan, StudyResult
from miliary.report import charts
from miliary.report.assessments import AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.formatting import spell
from miliary.report.measures import find_measured
from miliary.report.reading import JsonObject, items, number, text
from miliary.report.sections.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class EventRow:
    """One event of the record.

    Parameters
    ----------
    day : str
        Day or days as written on the page; empty where none is stated.
    kind, label, origin, detail : str
    when : str
        Time as stated in words, for an event without a day.
    """

    day: str
    kind: str
    label: str
    origin: str
    detail: str
    when: str


@dataclass(frozen=True)
class LabRow:
    """One laboratory value.

    Parameters
    ----------
    analyte, origin : str
    number : str
        The bare number for programs; empty where none is stated.
    source : str
        File and path, shown on hover.
    value : str
        The number with its comparator, else the change in words.
    unit, reference_range, when : str
    """

    analyte: str
    origin: str
    number: str
    source: str
    value: str
    unit: str
    reference_range: str
    when: str


@dataclass(frozen=True)
class TimelineContent:
    """The course of the record and of the measured burden.

    Parameters
    ----------
    day_zero : str
        What day 0 is; empty where the record does not state it.
    drawing : Markup or None
        None where nothing has a day.
    has_events : bool
    burden_drawing : Markup or None
        The measured burden on an axis of its own, where it cannot be on that of the record.
    dated, undated : tuple of EventRow
    labs : tuple of LabRow
    lab_assessments : tuple of AssessmentRow
    """

    day_zero: str
    drawing: Markup | None
    has_events: bool
    burden_drawing: Markup | None
    dated: tuple[EventRow, ...]
    undated: tuple[EventRow, ...]
    labs: tuple[LabRow, ...]
    lab_assessments: tuple[AssessmentRow, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[TimelineContent]:
    """The section on the course."""
    events, labs = items(study.case, "record.events"), items(study.case, "record.labs")
    drawing, burden_drawing = _draw_courses(study, events, labs, catalog)
    content = TimelineContent(
        day_zero=text(study.case, "record.day_zero"),
        drawing=drawing,
        has_events=bool(events),
        burden_drawing=burden_drawing,
        dated=tuple(make_event(e, catalog) for e in events if number(e, "day") is not None),
        undated=tuple(make_event(e, catalog) for e in events if number(e, "day") is None),
        labs=tuple(_make_lab(lab, study.case_path, catalog) for lab in labs),
        lab_assessments=make_rows(study.case, "labs.", catalog),
    )
    return Section("timeline", catalog("section.timeline"), "sections/timeline.html", content)


def make_event(event: JsonObject, catalog: Catalog) -> EventRow:
    """One event of the record as the page lists it."""
    day, end_day = number(event, "day"), number(event, "end_day")
    days = "" if day is None else f"{day:g}" + (f"\u2013{end_day:g}" if end_day is not None else "")
    kind = text(event, "kind")
    return EventRow(
        day=days,
        kind=catalog.texts.get(f"timeline.{kind}", kind),
        label=spell(text(event, "label")),
        origin=text(event, "origin"),
        detail=text(event, "detail"),
        when=text(event, "when") or catalog("word.not_stated"),
    )


def _make_lab(lab: JsonObject, member: str, catalog: Catalog) -> LabRow:
    value, day = number(lab, "value"), number(lab, "day")
    unknown = catalog("word.not_stated")
    written = catalog.word(text(lab, "change")) if text(lab, "change") else unknown
    return LabRow(
        analyte=spell(text(lab, "analyte")),
        origin=text(lab, "origin"),
        number="" if value is None else str(value),
        source=f"{member}: record.labs[{text(lab, 'id') or '?'}]",
        value=text(lab, "comparator") + (written if value is None else f"{value:g}"),
        unit=text(lab, "unit"),
        reference_range=_format_range(lab, unknown),
        when=catalog("timeline.day", n=f"{day:g}") if day is not None else text(lab, "when") or unknown,
    )


def _format_range(lab: JsonObject, unknown: str) -> str:
    low, high = number(lab, "low"), number(lab, "high")
    if low is not None and high is not None:
        limits = f"{low:g}\u2013{high:g}"
    elif high is not None:
        limits = f"\u2264 {high:g}"
    elif low is not None:
        limits = f"\u2265 {low:g}"
    else:
        return unknown
    return f"{limits}; {text(lab, 'range')}"


def _draw_courses(
    study: StudyResult, events: Sequence[JsonObject], labs: Sequence[JsonObject], catalog: Catalog
) -> tuple[Markup | None, Markup | None]:
    """The course of the record, and the measured burden where it needs an axis of its own.

    Both share one axis where the record states the days of the scans, and both are simulated or neither is.
    """
    days = {text(event, "id"): number(event, "day") for event in events}
    is_same_origin = (text(study.case, "origin") == "simulated") == any(
        text(scan.summary, "origin") == "simulated" for scan in study.scans
    )
    burdens = _find_burdens(study, days, catalog)
    if burdens and is_same_origin:
        return charts.draw_timeline(events, labs, burdens, catalog=catalog), None
    alone = _find_burdens(study, _count_days(study), catalog)
    burden_drawing = charts.draw_timeline([], [], alone, catalog=catalog) if len(alone) > 1 else None
    return charts.draw_timeline(events, labs, [], catalog=catalog), burden_drawing


def _count_days(study: StudyResult) -> dict[str, float | None]:
    """Days from the first baseline to each of its follow-ups, by label; those of the baseline are 0."""
    baselines = [compared.baseline for compared in study.comparisons[:1]]
    days: dict[str, float | None] = dict.fromkeys(baselines, 0.0)
    for compared in study.comparisons:
        if compared.baseline in baselines:
            days[compared.followup] = number(compared.summary, "days_between")
    return days


def _find_burdens(
    study: StudyResult, days: dict[str, float | None], catalog: Catalog
) -> list[charts.BurdenPoint]:
    """Total volume of every scan whose day is known."""
    points = []
    for scan in find_measured(study):
        day, volume_mm3 = days.get(scan.label), _find_volume_mm3(scan)
        if day is not None and volume_mm3 is not None:
            points.append(charts.BurdenPoint(day, volume_mm3, catalog.word(scan.label)))
    return points


def _find_volume_mm3(scan: SavedScan) -> float | None:
    """Total volume of the nodules, corrected for what the scan misses where that is known."""
    corrected = number(scan.summary, "corrected.total_volume_mm3")
    return corrected if corrected is not None else number(scan.summary, "nodules.total_volume_mm3")
