"""Slices of the lungs: registered pairs where a comparison saved them, else the slabs of each scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import Picture, SavedComparison, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.measures import name_pair
from miliary.report.pictures import PAIRED_KINDS, PagePicture, PictureRenderer, find_pictures, name_side
from miliary.report.section import Section
from miliary.report.sources import Sources

_SIDE_ORDER = {"baseline": 0, "followup": 1}


@dataclass(frozen=True)
class SlabRow:
    """The slabs of one level, one scan beside the other."""

    title: str
    pictures: tuple[PagePicture, ...]


@dataclass(frozen=True)
class SlabSet:
    """All slabs of one plane and thickness, which the reader switches to.

    Parameters
    ----------
    plane : str
        axial or coronal.
    thickness : str
        Thickness in mm, as written on the page.
    label : str
        Name of the switch.
    rows : tuple of SlabRow
    """

    plane: str
    thickness: str
    label: str
    rows: tuple[SlabRow, ...]


@dataclass(frozen=True)
class PicturesContent:
    """Slabs by plane and thickness.

    Parameters
    ----------
    sets : tuple of SlabSet
    is_registered : bool
        The follow-up was brought into the frame of the baseline.
    is_paired : bool
        Some level shows more than one scan.
    previews : tuple of PagePicture
        Shown where no slab was saved.
    """

    sets: tuple[SlabSet, ...]
    is_registered: bool
    is_paired: bool
    previews: tuple[PagePicture, ...]


@dataclass(frozen=True)
class _Slab:
    """A slab before it is put into its row: the name of its scan, and of its pair where there are several."""

    picture: PagePicture
    scan: str
    pair: str


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[PicturesContent]:
    """The section on slices of the lungs."""
    renderer = PictureRenderer(study, catalog)
    paired = [
        (picture, compared)
        for compared in study.comparisons
        for picture in find_pictures(compared.pictures, PAIRED_KINDS)
    ]
    slabs = _render_pairs(paired, renderer) if paired else _render_scans(renderer)
    sets = _group_slabs(slabs, catalog)
    content = PicturesContent(
        sets=sets,
        is_registered=bool(paired),
        is_paired=any(len(row.pictures) > 1 for one in sets for row in one.rows),
        previews=renderer.render_kind("preview"),
    )
    style = Markup("").join(
        Markup("\n#slab-{0}-{1}:checked~.slabs .set-{0}-{1}{{display:block}}").format(
            one.plane, one.thickness
        )
        for one in sets
    )
    return Section("pictures", catalog("section.pictures"), "sections/slices.html", content, style=style)


def _render_pairs(
    paired: Iterable[tuple[Picture, SavedComparison]], renderer: PictureRenderer
) -> list[_Slab]:
    ordered = sorted(paired, key=lambda item: _SIDE_ORDER.get(name_side(item[0]), len(_SIDE_ORDER)))
    has_several = len({compared.path for _, compared in ordered}) > 1
    return [
        _Slab(
            renderer.render(picture, compared, scan),
            scan,
            name_pair(compared, renderer.t) if has_several else "",
        )
        for picture, compared in ordered
        if (scan := renderer.t.word(_label_slab(picture, compared)))
    ]


def _render_scans(renderer: PictureRenderer) -> list[_Slab]:
    return [
        _Slab(renderer.render(picture, scan, name), name, "")
        for scan in renderer.study.scans
        if (name := renderer.t.word(scan.label))
        for picture in find_pictures(scan.pictures, ("slab",))
    ]


def _label_slab(picture: Picture, compared: SavedComparison) -> str:
    """Label of the scan that a slab shows: of three scans two are follow-ups."""
    side = name_side(picture)
    return {"baseline": compared.baseline, "followup": compared.followup}.get(side) or side


def _group_slabs(slabs: Iterable[_Slab], catalog: Catalog) -> tuple[SlabSet, ...]:
    """Rows by plane, thickness, pair and level, so that two comparisons never share a row."""
    found = list(slabs)
    order = {pair: n for n, pair in enumerate(dict.fromkeys(slab.pair for slab in found))}
    rows: dict[tuple[str, float, int, int], list[_Slab]] = {}
    for slab in found:
        one = slab.picture
        rows.setdefault((one.plane, float(one.thickness), order[slab.pair], one.level), []).append(slab)
    sets: dict[tuple[str, str], list[SlabRow]] = {}
    for key in sorted(rows):
        first = rows[key][0]
        pictures = tuple(slab.picture.captioned(slab.scan) for slab in rows[key])
        place = (first.picture.plane, first.picture.thickness)
        sets.setdefault(place, []).append(SlabRow(_title_row(first, catalog), pictures))
    return tuple(
        SlabSet(
            plane,
            thickness,
            catalog("slabs.choice", plane=catalog.word(plane), thickness=thickness),
            tuple(group),
        )
        for (plane, thickness), group in sets.items()
    )


def _title_row(slab: _Slab, catalog: Catalog) -> str:
    one = slab.picture
    title = catalog(
        "slabs.row" if one.level else "slabs.row_one",
        plane=catalog.word(one.plane),
        thickness=one.thickness,
        level=one.level,
    )
    return f"{slab.pair}: {title}" if slab.pair else title
