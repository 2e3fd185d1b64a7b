"""The draft of a case report as Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from miliary.report.care.draft import Draft, DraftSection
from miliary.report.catalog import Catalog, load_catalog


def render_markdown(draft: Draft) -> str:
    """Render a draft as Markdown.

    Parameters
    ----------
    draft : Draft

    Returns
    -------
    str
        Gaps are block quotes; pictures are embedded and stand above their captions. Text of the record is
        escaped, so that it is never read as markup.
    """
    catalog = load_catalog(draft.language)
    lines = [f"# {draft.title}", "", draft.about, ""]
    for section in draft.sections:
        lines += _render_section(section, catalog)
    return "\n".join(lines)


def _render_section(section: DraftSection, catalog: Catalog) -> list[str]:
    lines = [f"## {section.heading}", ""]
    for paragraph in section.paragraphs:
        lines += [_escape(paragraph), ""]
    for table in section.tables:
        lines += [_render_row(table.header), "| " + " | ".join("---" for _ in table.header) + " |"]
        lines += [*map(_render_row, table.rows), ""]
    for gap in section.gaps:
        lines += [f"> {_escape(catalog('draft.gap', what=gap))}", ""]
    for figure in section.figures:
        data = base64.b64encode(figure.picture.data).decode("ascii")
        lines += [f"![](data:{figure.picture.media_type};base64,{data})", "", _escape(figure.caption), ""]
    return lines


def _escape(words: str) -> str:
    return re.sub(r"([\\`*_<>#|])", r"\\\1", words)


def _render_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell).replace("\n", " ") for cell in cells) + " |"
