"""Sizes of the nodules found, and which sizes each scan can find."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from miliary.model.saved.scan_summary import CompletenessSummary
from miliary.model.study import StudyResult
from miliary.report import charts
from miliary.report.catalog import Catalog
from miliary.report.measures import find_measured, title_scan
from miliary.report.paths import find_reason
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class SizesContent:
    """Histogram and curve of all scans together, saved pictures, and scans whose counts are as found."""

    histogram: Markup | None
    completeness: Markup | None
    pictures: tuple[PagePicture, ...]
    uncorrected: tuple[str, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[SizesContent]:
    """The section on sizes and completeness."""
    curve = _draw_completeness(study, catalog)
    content = SizesContent(
        histogram=_draw_histogram(study, catalog),
        completeness=curve,
        # A saved figure repeats the drawing.
        pictures=() if curve else PictureRenderer(study, catalog).render_kind("completeness"),
        uncorrected=_list_uncorrected(study, catalog),
    )
    return Section("sizes", catalog("section.sizes"), "sections/sizes.html", content)


def _draw_histogram(study: StudyResult, catalog: Catalog) -> Markup | None:
    edges: tuple[float, ...] = ()
    series: list[charts.BarSeries] = []
    for scan, summary in find_measured(study):
        histogram = summary.nodules.diameter_mm.histogram
        is_whole = len(histogram.counts) == len(histogram.edges) - 1
        # Bars of different bins cannot be drawn side by side: the bins of the first scan decide.
        if histogram.edges and is_whole and edges in {(), histogram.edges}:
            edges = histogram.edges
            counts = [*histogram.counts, histogram.n_above or 0]
            series.append(charts.BarSeries(title_scan(scan, catalog), counts))
    if not series:
        return None
    last = next((i for i in range(len(edges) - 1, -1, -1) if any(s.counts[i] for s in series)), 0)
    return charts.draw_histogram(
        edges,
        [charts.BarSeries(s.name, s.counts[: last + 1]) for s in series],
        title=catalog("sizes.alt"),
        x_label=catalog("sizes.x"),
        y_label=catalog("sizes.y"),
    )


def _draw_completeness(study: StudyResult, catalog: Catalog) -> Markup | None:
    lines = []
    for scan, summary in find_measured(study):
        line = _make_line(title_scan(scan, catalog), summary.completeness)
        if line.diameter_mm or line.d50_mm is not None or line.d90_mm is not None:
            lines.append(line)
    if not lines:
        return None
    return charts.draw_completeness(
        lines,
        title=catalog("completeness.alt"),
        x_label=catalog("sizes.x"),
        y_label=catalog("completeness.y"),
    )


def _make_line(name: str, completeness: CompletenessSummary) -> charts.CompletenessLine:
    line = charts.CompletenessLine(
        name, d50_mm=completeness.diameter_50_mm, d90_mm=completeness.diameter_90_mm
    )
    curve = completeness.curve
    if curve is None:
        return line
    return replace(
        line,
        diameter_mm=curve.diameter_mm,
        probability=curve.probability,
        low=curve.ci95_low,
        high=curve.ci95_high,
    )


def _list_uncorrected(study: StudyResult, catalog: Catalog) -> tuple[str, ...]:
    """Names of the scans whose counts are as found, with the reason if one was saved."""
    found = []
    for scan, summary in find_measured(study):
        if summary.corrected.count is None:
            reason = find_reason(summary, "corrected.count")
            found.append(title_scan(scan, catalog) + (f" ({reason})" if reason else ""))
    return tuple(found)
