"""The course in days: drawn where items have a day, listed in full, with the laboratory values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.saved.case_summary import EventSummary, LabSummary, RecordSummary
from miliary.model.study import StudyResult
from miliary.model.vocabulary import Origin
from miliary.report import charts
from miliary.report.assessments import AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.formatting import spell
from miliary.report.measures import find_compared, find_measured, is_simulated
from miliary.report.section import Section
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
    record = study.case.record if study.case else RecordSummary()
    drawing, burden_drawing = _draw_courses(study, record, catalog)
    content = TimelineContent(
        day_zero=record.day_zero,
        drawing=drawing,
        has_events=bool(record.events),
        burden_drawing=burden_drawing,
        dated=tuple(_make_event(e, catalog) for e in record.events if e.day is not None),
        undated=tuple(_make_event(e, catalog) for e in record.events if e.day is None),
        labs=tuple(_make_lab(lab, study.case_path, catalog) for lab in record.labs),
        lab_assessments=make_rows(study.case, "labs.", catalog),
    )
    return Section("timeline", catalog("section.timeline"), "sections/course_in_days.html", content)


def _make_event(event: EventSummary, catalog: Catalog) -> EventRow:
    days = ""
    if event.day is not None:
        days = f"{event.day:g}" + (f"\u2013{event.end_day:g}" if event.end_day is not None else "")
    return EventRow(
        day=days,
        kind=catalog.texts.get(f"timeline.{event.kind}", event.kind),
        label=spell(event.label),
        origin=event.origin or "",
        detail=event.detail,
        when=event.when or catalog("word.not_stated"),
    )


def _make_lab(lab: LabSummary, member: str, catalog: Catalog) -> LabRow:
    unknown = catalog("word.not_stated")
    written = catalog.word(lab.change) if lab.change else unknown
    return LabRow(
        analyte=spell(lab.analyte),
        origin=lab.origin or "",
        number="" if lab.value is None else str(lab.value),
        source=f"{member}: record.labs[{lab.id}]",
        value=lab.comparator + (written if lab.value is None else f"{lab.value:g}"),
        unit=lab.unit,
        reference_range=_format_range(lab, unknown),
        when=catalog("timeline.day", n=f"{lab.day:g}") if lab.day is not None else lab.when or unknown,
    )


def _format_range(lab: LabSummary, unknown: str) -> str:
    if lab.low is not None and lab.high is not None:
        limits = f"{lab.low:g}\u2013{lab.high:g}"
    elif lab.high is not None:
        limits = f"\u2264 {lab.high:g}"
    elif lab.low is not None:
        limits = f"\u2265 {lab.low:g}"
    else:
        return unknown
    return f"{limits}; {lab.range}"


def _draw_courses(
    study: StudyResult, record: RecordSummary, catalog: Catalog
) -> tuple[Markup | None, Markup | None]:
    """The course of the record, and the measured burden where it needs an axis of its own.

    Both share one axis where the record states the days of the scans, and both are simulated or neither is.
    """
    days: dict[str, float | None] = {event.id: event.day for event in record.events}
    is_simulated_case = study.case is not None and study.case.origin is Origin.SIMULATED
    is_same_origin = is_simulated_case == any(is_simulated(scan) for scan in study.scans)
    burdens = _find_burdens(study, days, catalog)
    if burdens and is_same_origin:
        return charts.draw_timeline(record.events, record.labs, burdens, catalog=catalog), None
    alone = _find_burdens(study, _count_days(study), catalog)
    burden_drawing = charts.draw_timeline([], [], alone, catalog=catalog) if len(alone) > 1 else None
    return charts.draw_timeline(record.events, record.labs, [], catalog=catalog), burden_drawing


def _count_days(study: StudyResult) -> dict[str, float | None]:
    """Days from the first baseline to each of its follow-ups, by label; those of the baseline are 0."""
    baselines = [compared.baseline for compared in study.comparisons[:1]]
    days: dict[str, float | None] = dict.fromkeys(baselines, 0.0)
    for compared, summary in find_compared(study):
        if compared.baseline in baselines:
            days[compared.followup] = summary.days_between
    return days


def _find_burdens(
    study: StudyResult, days: Mapping[str, float | None], catalog: Catalog
) -> list[charts.BurdenPoint]:
    """Total volume of every scan whose day is known; corrected for what the scan misses where possible."""
    points = []
    for scan, summary in find_measured(study):
        day, volume_mm3 = days.get(scan.label), summary.corrected.total_volume_mm3
        if volume_mm3 is None and not summary.doubt:
            volume_mm3 = summary.nodules.total_volume_mm3
        if day is not None and volume_mm3 is not None:
            points.append(charts.BurdenPoint(day, volume_mm3, catalog.word(scan.label)))
    return points
