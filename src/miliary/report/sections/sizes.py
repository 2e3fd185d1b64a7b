"""Sizes of the nodules found, and which sizes each scan can find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import StudyResult
from miliary.report import charts
from miliary.report.catalog import Catalog
from miliary.report.measures import find_measured, title_scan
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.reading import find, items, number, numbers, text
from miliary.report.sections.section import Section
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
    content = SizesContent(
        histogram=_draw_histogram(study, catalog),
        completeness=_draw_completeness(study, catalog),
        pictures=PictureRenderer(study, catalog).render_kind("completeness"),
        uncorrected=_list_uncorrected(study, catalog),
    )
    return Section("sizes", catalog("section.sizes"), "sections/sizes.html", content)


def _draw_histogram(study: StudyResult, catalog: Catalog) -> Markup | None:
    edges: list[float] = []
    series: list[charts.BarSeries] = []
    for scan in find_measured(study):
        here = numbers(scan.summary, "nodules.diameter_mm.histogram.edges")
        counts = numbers(scan.summary, "nodules.diameter_mm.histogram.counts")
        if not here or len(counts) != len(here) - 1 or (edges and here != edges):
            continue
        edges = here
        above = number(scan.summary, "nodules.diameter_mm.histogram.n_above") or 0.0
        series.append(charts.BarSeries(title_scan(scan, catalog), [*counts, above]))
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
    for scan in find_measured(study):
        d50, d90 = (number(scan.summary, f"completeness.diameter_{n}_mm") for n in (50, 90))
        curve = _read_curve(scan.summary)
        if curve is not None or d50 is not None or d90 is not None:
            lines.append(
                charts.CompletenessLine(title_scan(scan, catalog), **(curve or {}), d50_mm=d50, d90_mm=d90)
            )
    if not lines:
        return None
    return charts.draw_completeness(
        lines,
        title=catalog("completeness.alt"),
        x_label=catalog("sizes.x"),
        y_label=catalog("completeness.y"),
    )


def _read_curve(summary: object) -> Mapping[str, Sequence[float]] | None:
    """The completeness curve of ``scan.json``, whichever of its forms it has."""
    for name in ("completeness.curve", "completeness"):
        part = find(summary, name)
        x = numbers(part, "diameter_mm")
        y = numbers(part, "probability") or numbers(part, "detected") or numbers(part, "completeness")
        if len(x) > 1 and len(x) == len(y):
            low, high = (
                numbers(part, f"ci95_{end}") or numbers(part, f"probability_{end}") or numbers(part, end)
                for end in ("low", "high")
            )
            fits = len(low) == len(high) == len(x)
            return {
                "diameter_mm": x,
                "probability": y,
                "low": low if fits else [],
                "high": high if fits else [],
            }
    rows = items(summary, "completeness.curve")
    points = [(number(r, "diameter_mm"), number(r, "probability")) for r in rows]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    if len(known) > 1:
        return {"diameter_mm": [x for x, _ in known], "probability": [y for _, y in known]}
    return None


def _list_uncorrected(study: StudyResult, catalog: Catalog) -> tuple[str, ...]:
    """Names of the scans whose counts are as found, with the reason if one was saved."""
    found = []
    for scan in find_measured(study):
        if number(scan.summary, "corrected.count") is None:
            reason = text(scan.summary, "corrected.count_reason") or text(scan.summary, "corrected_reason")
            found.append(title_scan(scan, catalog) + (f" ({reason})" if reason else ""))
    return tuple(found)
