"""`Section`: one part of the page, what it shows and the template that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from markupsafe import Markup

from miliary.model.study import StudyResult
from miliary.report.catalog import Catalog
from miliary.report.sources import Sources

ContentT_co = TypeVar("ContentT_co", covariant=True)

_NO_STYLE = Markup("")


@dataclass(frozen=True)
class Section(Generic[ContentT_co]):
    """One section of the page, ready to be rendered.

    Parameters
    ----------
    id : str
        Anchor of the section, unique on the page.
    title : str
        Heading in the language of the page.
    partial : str
        Path of the section's template below ``templates``; it reads `content` under that name.
    content : dataclass
        Frozen record of everything the template shows.
    style : Markup
        CSS that this section needs and ``report.css`` cannot hold, because it depends on the content.
    is_subsection : bool
        True for a section with a heading of the third level that the table of contents leaves out.
    """

    id: str
    title: str
    partial: str
    content: ContentT_co
    style: Markup = _NO_STYLE
    is_subsection: bool = False


Builder = Callable[[StudyResult, Catalog, Sources], Section[Any] | None]
"""What makes a section of the page: ``build(study, catalog, sources)``.

It takes the study, the words of the page, and the `Sources` that collect where numbers were read from; it
returns the section, or None where the page does without it. Builders run in the order of the page, so that
footnotes count up.
"""
