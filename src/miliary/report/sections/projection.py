"""Frontal views: projections computed from each CT, and radiographs that a person put into the study."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.saved.figure_index import RadiographEntry
from miliary.model.study import Picture, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.pictures import PagePicture, PictureRenderer
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class ProjectionContent:
    """The views, and whether some radiograph may have a name burned into its pixels."""

    views: tuple[PagePicture, ...]
    may_show_names: bool


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[ProjectionContent]:
    """The section on frontal views."""
    renderer = PictureRenderer(study, catalog)
    content = ProjectionContent(
        views=(*renderer.render_kind("frontal"), *renderer.render_radiographs()),
        may_show_names=any(map(_may_show_name, study.radiographs)),
    )
    return Section("projection", catalog("section.projection"), "sections/projection.html", content)


def _may_show_name(radiograph: Picture) -> bool:
    """Whether the file of a radiograph does not state that its pixels identify nobody."""
    entry = radiograph.entry
    return not isinstance(entry, RadiographEntry) or entry.burned_in is not False
