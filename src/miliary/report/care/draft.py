"""`Draft`: a case report in the order of the CARE checklist, before it becomes a document."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import Picture


@dataclass(frozen=True)
class DraftTable:
    """A table: the cells of its heading row, then those of each row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DraftFigure:
    """A picture with its numbered caption."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class DraftSection:
    """One heading of CARE.

    Parameters
    ----------
    heading : str
    paragraphs : tuple of str
        Filled in from what was saved; each statement carries its origin.
    gaps : tuple of str
        What only the clinician can write.
    tables : tuple of DraftTable
    figures : tuple of DraftFigure
    """

    heading: str
    paragraphs: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    tables: tuple[DraftTable, ...] = ()
    figures: tuple[DraftFigure, ...] = ()


@dataclass(frozen=True)
class Draft:
    """The whole draft.

    Parameters
    ----------
    title : str
    about : str
        How it was made, shown under the title.
    language : str
        Of headings and gaps.
    sections : tuple of DraftSection
    """

    title: str
    about: str
    language: str
    sections: tuple[DraftSection, ...] = ()
