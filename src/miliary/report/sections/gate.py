"""Whether two scans may be compared, and what the comparison found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedComparison, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import (
    format_interval,
    is_simulated,
    locate_member,
    make_cell,
    make_empty_cell,
    make_interval_cell,
    name_pair,
)
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.reading import JsonObject, find, items, number, pair, text, words
from miliary.report.sections.section import Section
from miliary.report.sources import Sources

# Word of the catalog, path in response.json, format, path of the 95 % interval.
MEASURES = (
    ("volume_ratio", "response.volume_ratio", ".3g", "response.volume_ratio_ci95"),
    ("count_ratio", "response.count_ratio", ".3g", "response.count_ratio_ci95"),
    ("lesion_before", "lesion.baseline_mm", ".1f", ""),
    ("lesion_after", "lesion.followup_mm", ".1f", ""),
    ("days", "days_between", ".0f", ""),
)
_SERIES_COLUMNS = (
    ("days_between", ".0f"),
    ("volume_ratio", ".3g"),
    ("ratio_to_nadir", ".3g"),
    ("lesion_mm", ".1f"),
)


@dataclass(frozen=True)
class NamedCell:
    """One row of a table of measures: its name and the number."""

    name: str
    cell: Markup


@dataclass(frozen=True)
class RegionRow:
    """Ratio of volumes in one side or zone of the lungs, and why the zone was left out (else empty)."""

    where: str
    cell: Markup
    excluded_because: str


@dataclass(frozen=True)
class Gate:
    """Verdict and measures of one comparison.

    Parameters
    ----------
    title : str
        Names of both scans.
    verdict : str
        comparable, comparable_after_correction, not_comparable or not_assessable.
    reasons : tuple of str
    measures : tuple of NamedCell
        Ratios, lesion and days, what the gate looked at, and numbers of nodules by fate.
    category, category_kind, category_reason : str
        Change by volume; empty where none was judged.
    regions : tuple of RegionRow
    opacities : tuple of str
        New shadows, each in words.
    is_simulated : bool
    note : Markup
        Footnote of the verdict.
    """

    title: str
    verdict: str
    reasons: tuple[str, ...]
    measures: tuple[NamedCell, ...]
    category: str
    category_kind: str
    category_reason: str
    regions: tuple[RegionRow, ...]
    opacities: tuple[str, ...]
    is_simulated: bool
    note: Markup


@dataclass(frozen=True)
class FollowupRow:
    """One follow-up of a series against the baseline: days, ratios and lesion, verdict and category."""

    name: str
    is_nadir: bool
    days: Markup
    verdict: str
    cells: tuple[Markup, ...]
    category: str


@dataclass(frozen=True)
class GateContent:
    """Every follow-up of a series, then every comparison, then their pictures other than slabs."""

    series: tuple[FollowupRow, ...]
    gates: tuple[Gate, ...]
    pictures: tuple[PagePicture, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[GateContent]:
    """The section on comparability and change."""
    gates = tuple(
        _make_gate(compared, catalog, sources) for compared in study.comparisons if compared.summary
    )
    content = GateContent(
        series=_make_series(study, catalog, sources),
        gates=gates,
        pictures=PictureRenderer(study, catalog).render_unpaired(),
    )
    return Section("gate", catalog("section.gate"), "sections/gate.html", content)


def _make_gate(compared: SavedComparison, catalog: Catalog, sources: Sources) -> Gate:
    summary = compared.summary
    facts = _list_facts(compared, catalog, sources)
    measures = _list_measures(compared, catalog, sources)
    regions = _list_regions(compared, catalog, sources)
    tracks = _list_tracks(compared, catalog, sources)
    return Gate(
        title=name_pair(compared, catalog),
        verdict=text(summary, "comparability.verdict") or "not_assessable",
        reasons=tuple(words(summary, "comparability.reasons")),
        measures=(*measures, *facts, *tracks),
        category=text(summary, "response.category"),
        category_kind=text(summary, "response.category_kind"),
        category_reason=text(summary, "response.category_reason"),
        regions=regions,
        opacities=tuple(_describe_opacity(o, catalog) for o in items(summary, "new_opacities")),
        is_simulated=is_simulated(compared),
        note=sources.footnote(locate_member(compared), "comparability"),
    )


def _list_facts(compared: SavedComparison, catalog: Catalog, sources: Sources) -> tuple[NamedCell, ...]:
    """Numbers that the verdict rests on."""
    facts = find(compared.summary, "comparability")
    return tuple(
        NamedCell(
            catalog.texts.get(f"alike.{name}") or catalog.word(name),
            make_cell(compared, f"comparability.{name}", sources, style=".3g"),
        )
        for name in (facts if isinstance(facts, Mapping) else {})
        if number(facts, name) is not None
    )


def _list_measures(compared: SavedComparison, catalog: Catalog, sources: Sources) -> tuple[NamedCell, ...]:
    return tuple(
        NamedCell(
            catalog(f"gate.{key}"),
            make_interval_cell(compared, path, sources, style=style, interval=interval),
        )
        for key, path, style, interval in MEASURES
        if find(compared.summary, path) is not None or text(compared.summary, f"{path}_reason")
    )


def _list_tracks(compared: SavedComparison, catalog: Catalog, sources: Sources) -> tuple[NamedCell, ...]:
    """Numbers of nodules by fate."""
    tracks = find(compared.summary, "tracks")
    return tuple(
        NamedCell(catalog.word(name), make_cell(compared, f"tracks.{name}", sources))
        for name in (tracks if isinstance(tracks, Mapping) else {})
    )


def _list_regions(compared: SavedComparison, catalog: Catalog, sources: Sources) -> tuple[RegionRow, ...]:
    rows = []
    found = items(compared.summary, "response.by_side") + items(compared.summary, "response.by_zone")
    for index, region in enumerate(found):
        where = " ".join(catalog.word(text(region, n)) for n in ("side", "zone") if text(region, n))
        value, interval = number(region, "volume_ratio"), pair(region, "volume_ratio_ci95")
        excluded = text(region, "excluded_because")
        if value is None:
            cell = make_empty_cell(text(region, "volume_ratio_reason") or excluded)
        else:
            label = f"{value:.3g}" + (f" ({interval[0]:.3g}\u2013{interval[1]:.3g})" if interval else "")
            path = f"response.regions[{index}]"
            cell = sources.number(label, locate_member(compared), path, note=False)
        rows.append(RegionRow(where, cell, excluded))
    return tuple(rows)


def _describe_opacity(opacity: JsonObject, catalog: Catalog) -> str:
    return catalog(
        "gate.opacity",
        kind=catalog.word(text(opacity, "kind")),
        side=catalog.word(text(opacity, "side")),
        zone=catalog.word(text(opacity, "zone")),
        ml=f"{number(opacity, 'volume_ml') or 0:.0f}",
    )


def _make_series(study: StudyResult, catalog: Catalog, sources: Sources) -> tuple[FollowupRow, ...]:
    nadir = text(study.series, "nadir")
    rows = []
    for index, point in enumerate(items(study.series, "time_points")):
        days, *cells = (
            _make_series_cell(study, index, name, style=style, sources=sources)
            for name, style in _SERIES_COLUMNS
        )
        label = text(point, "followup")
        rows.append(
            FollowupRow(
                name=catalog.word(label),
                is_nadir=bool(nadir) and label == nadir,
                days=days,
                verdict=text(point, "comparability") or "not_assessable",
                cells=tuple(cells),
                category=text(point, "category"),
            )
        )
    return tuple(rows)


def _make_series_cell(study: StudyResult, index: int, name: str, *, style: str, sources: Sources) -> Markup:
    """One number of one time point with its interval; a dash where it is not known."""
    point = items(study.series, "time_points")[index]
    value = number(point, name)
    cell = Markup("\u2013")
    if value is not None:
        path = f"time_points[{index}].{name}"
        cell = sources.number(format_number(value, style), study.series_path, path, note=False)
    return cell + format_interval(pair(point, f"{name}_ci95"), ".3g")
