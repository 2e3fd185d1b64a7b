"""`FigureIndex` and `RadiographIndex`: what `figures.json` holds of the pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from miliary.model.figure import Figure
from miliary.model.saved.codec import SavedRecord, from_json, plain, saved

FIGURES_KIND = "miliary.figures"
FIGURES_VERSION = "1.0"


@dataclass(frozen=True)
class MarkEntry:
    """A circle over a picture: columns run right, rows down, in pixels from the upper left corner."""

    AS_ARRAY: ClassVar[bool] = True

    id: int
    column_px: float
    row_px: float
    radius_px: float
    label: str


@dataclass(frozen=True)
class FigureEntry(SavedRecord):
    """One picture, or the numbers of one.

    Parameters
    ----------
    name, kind, title : str
        Name (unique in the folder), word for what it shows, and title.
    file : str or None
        File beside the index; None where there are numbers only.
    size_px : (columns, rows) or None
    pixel_mm : float
        Side of one pixel in the patient [mm].
    marks : tuple of MarkEntry
    plane, level, n_levels, position_mm, thickness_mm, lesion_id, window_hu, scan, frame
        What a caption says of a slab or a lesion; None where it does not apply.
    cell_mm, unit, values
        A map: side of its cells [mm], unit, and rows from the head down; None where a cell holds no lung.
    n_injected, n_marked, n_nodules, n_used : int or None
        What a curve was made of.
    facts : mapping
        What else was saved of it; plain JSON values.
    """

    name: str
    kind: str = "other"
    title: str = ""
    file: str | None = None
    size_px: tuple[int, int] | None = None
    pixel_mm: float | None = None
    marks: tuple[MarkEntry, ...] = ()
    plane: str | None = saved(default=None, omit_default=True)
    level: int | None = saved(default=None, omit_default=True)
    n_levels: int | None = saved(default=None, omit_default=True)
    position_mm: float | None = saved(default=None, omit_default=True)
    thickness_mm: float | None = saved(default=None, omit_default=True)
    lesion_id: int | None = saved(default=None, omit_default=True)
    window_hu: tuple[float, float] | None = saved(default=None, omit_default=True)
    scan: str | None = saved(default=None, omit_default=True)
    frame: str | None = saved(default=None, omit_default=True)
    cell_mm: float | None = saved(default=None, omit_default=True)
    unit: str | None = saved(default=None, omit_default=True)
    values: tuple[tuple[float | None, ...], ...] | None = saved(default=None, omit_default=True)
    n_injected: int | None = saved(default=None, omit_default=True)
    n_marked: int | None = saved(default=None, omit_default=True)
    n_nodules: int | None = saved(default=None, omit_default=True)
    n_used: int | None = saved(default=None, omit_default=True)
    facts: Mapping[str, Any] = saved(default_factory=dict, rest=True)


@dataclass(frozen=True)
class FigureIndex:
    """What `figures/figures.json` of a result holds."""

    schema_version: str | None = FIGURES_VERSION
    kind: str = FIGURES_KIND
    figures: tuple[FigureEntry, ...] = saved(default=(), skip_damaged=True)


@dataclass(frozen=True)
class RadiographEntry:
    """One radiograph kept with a case.

    Parameters
    ----------
    name : str
    file : str or None
    kind : str
    view : str or None
        ``pa``, ``ap`` or ``lateral``.
    left_of_picture : str or None
        Which side of the patient the left of the picture shows.
    burned_in : bool or None
        False where the file says that no identity is in the pixels, None where it says nothing.
    is_raw : bool or None
        Meant for processing and not for the eye.
    """

    name: str = ""
    file: str | None = None
    kind: str = "radiograph"
    view: str | None = None
    left_of_picture: str | None = None
    burned_in: bool | None = None
    is_raw: bool | None = None


@dataclass(frozen=True)
class RadiographIndex:
    """What `radiographs/figures.json` of a study holds."""

    schema_version: str | None = FIGURES_VERSION
    kind: str = FIGURES_KIND
    figures: tuple[RadiographEntry, ...] = saved(default=(), skip_damaged=True)


def summarize_figure(figure: Figure) -> FigureEntry:
    """What ``figures.json`` holds of one picture, or of the numbers of one."""
    content = {
        "name": figure.name,
        "kind": figure.kind,
        "title": figure.title,
        "file": None if figure.pixels is None else f"{figure.name}.png",
        "size_px": None if figure.pixels is None else [figure.pixels.shape[1], figure.pixels.shape[0]],
        "pixel_mm": round(figure.pixel_mm, 4),
        "marks": [
            [m.id, round(m.column_px, 1), round(m.row_px, 1), round(m.radius_px, 1), m.label]
            for m in figure.marks
        ],
        **plain(figure.facts),
    }
    return from_json(FigureEntry, content, name=figure.name).value
