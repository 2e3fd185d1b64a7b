"""Two registered pairs of slabs for the board page, plain and with the nodules marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.pictures import (
    PAIRED_KINDS,
    PagePicture,
    PictureRenderer,
    find_entry,
    find_pictures,
    name_side,
)

_PLANES = ("axial", "coronal")
# Thinner slabs show single nodules; thicker ones overlay them.
_THICKNESS_MM = 5.0


@dataclass(frozen=True)
class BoardRow:
    """One level: its pictures from left to right, first plain, then the same with marks."""

    title: str
    pictures: tuple[PagePicture, ...]


@dataclass(frozen=True)
class BoardPictures:
    """The rows, and whether the follow-up lies in the frame of the baseline."""

    rows: tuple[BoardRow, ...] = ()
    is_registered: bool = False


def choose_pictures(study: StudyResult, catalog: Catalog) -> BoardPictures:
    """Choose the axial and the coronal level at which the last comparison marks most nodules.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    BoardPictures
        Without a comparison the levels of the last scan; without any picture no rows.
    """
    renderer = PictureRenderer(study, catalog)
    for compared in reversed(study.comparisons):
        slabs = find_pictures(compared.pictures, PAIRED_KINDS)
        rows = [row for plane in _PLANES if (row := _make_row(slabs, plane, compared, renderer))]
        if rows:
            return BoardPictures(tuple(rows), is_registered=True)
    for scan in reversed(study.scans):
        slabs = find_pictures(scan.pictures, ("slab",))
        rows = [row for plane in _PLANES if (row := _make_row(slabs, plane, scan, renderer))]
        if rows:
            return BoardPictures(tuple(rows))
    return BoardPictures()


def _make_row(
    slabs: Iterable[Picture], plane: str, saved: SavedScan | SavedComparison, renderer: PictureRenderer
) -> BoardRow | None:
    in_plane = [one for one in slabs if find_entry(one).plane == plane]
    thin = [one for one in in_plane if find_entry(one).thickness_mm == _THICKNESS_MM] or in_plane
    if not thin:
        return None
    best = max(thin, key=lambda one: len(find_entry(one).marks))
    place = (find_entry(best).level, find_entry(best).thickness_mm)
    level = [one for one in thin if (find_entry(one).level, find_entry(one).thickness_mm) == place]
    level.sort(key=lambda one: name_side(one) != "baseline")
    marked = tuple(
        renderer.render(one, saved, name).captioned(name)
        for one in level
        if (name := renderer.t.word(_label(one, saved)))
    )
    return BoardRow(_title(marked[0], renderer.t), (*(one.without_marks() for one in marked), *marked))


def _label(picture: Picture, saved: SavedScan | SavedComparison) -> str:
    if isinstance(saved, SavedScan):
        return saved.label
    side = name_side(picture)
    return {"baseline": saved.baseline, "followup": saved.followup}.get(side) or side


def _title(picture: PagePicture, catalog: Catalog) -> str:
    return catalog("board.level", caption=picture.caption.removeprefix(f"{picture.label}: "))
