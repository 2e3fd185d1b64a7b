"""Lesions of 8 mm and more, with their measures and close-ups."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.lesion import LOBE_NOT_DETERMINED
from miliary.model.saved.scan_summary import LesionSummary
from miliary.model.study import SavedScan, StudyResult
from miliary.model.vocabulary import Origin
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import find_measured, locate, title_scan
from miliary.report.paths import follow
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.section import Section
from miliary.report.sources import Sources

MEASURES = (
    ("long_axis_mm", ".1f"),
    ("short_axis_mm", ".1f"),
    ("solid_axis_mm", ".1f"),
    ("volume_mm3", ",.0f"),
    ("cavity_volume_mm3", ",.0f"),
    ("wall_thickness_mm", ".1f"),
    ("wall_thickness_min_mm", ".1f"),
    ("wall_thickness_max_mm", ".1f"),
    ("density_hu", ".0f"),
)


@dataclass(frozen=True)
class LesionMeasure:
    """One measure of a lesion, or where it lies."""

    name: str
    cell: Markup


@dataclass(frozen=True)
class LesionTable:
    """One lesion of one scan."""

    scan: str
    id: str
    is_cavitary: bool
    measures: tuple[LesionMeasure, ...]


@dataclass(frozen=True)
class LesionsContent:
    """Every lesion scan by scan, then the close-ups."""

    lesions: tuple[LesionTable, ...]
    pictures: tuple[PagePicture, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[LesionsContent]:
    """The section on large lesions."""
    content = LesionsContent(
        lesions=tuple(
            _make_table(scan, lesion, catalog, sources)
            for scan, summary in find_measured(study)
            for lesion in summary.lesions
        ),
        pictures=PictureRenderer(study, catalog).render_kind("lesion"),
    )
    return Section("lesions", catalog("section.lesions"), "sections/lesions.html", content)


def _make_table(scan: SavedScan, lesion: LesionSummary, catalog: Catalog, sources: Sources) -> LesionTable:
    measures = []
    for name, style in MEASURES:
        value = follow(lesion, name)
        if value is not None:
            path = f"lesions[{lesion.id}].{name}"
            cell = sources.number(format_number(value, style), locate(scan), path, note=False)
            measures.append(LesionMeasure(catalog(f"lesion.{name}"), cell))
    if lesion.origin is Origin.CORRECTED:
        measures.insert(1, LesionMeasure(catalog("lesion.drawn"), Markup.escape(catalog("lesion.by_reader"))))
    lobe = lesion.lobe or LOBE_NOT_DETERMINED
    where = [catalog.word(word) for word in (lesion.side, lesion.zone, lobe) if word]
    if where:
        measures.append(LesionMeasure(catalog("lesion.where"), Markup.escape(", ".join(where))))
    return LesionTable(
        scan=title_scan(scan, catalog),
        id=str(lesion.id),
        is_cavitary=bool(lesion.is_cavitary),
        measures=tuple(measures),
    )
