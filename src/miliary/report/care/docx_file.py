"""The draft of a case report as a Word document, by python-docx where that is installed."""

from __future__ import annotations

import contextlib
import io
import re
from importlib import import_module
from typing import Any

from miliary.errors import InputError
from miliary.report.care.draft import Draft, DraftSection, DraftTable
from miliary.report.catalog import Catalog, load_catalog

_FIGURE_WIDTH_CM = 14
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def check_docx() -> None:
    """Make sure that a Word document can be made.

    Raises
    ------
    InputError
        If python-docx is not installed.
    """
    try:
        import_module("docx")
    except ImportError:
        raise InputError(
            "the draft as a Word document needs python-docx, which is not installed; "
            "install it with: pip install 'miliary[docx]'"
        ) from None


def render_docx(draft: Draft) -> bytes:
    """Render a draft as a Word document.

    Parameters
    ----------
    draft : Draft

    Returns
    -------
    bytes
        A DOCX file without an author; gaps are highlighted, pictures embedded with their captions.

    Raises
    ------
    InputError
        If python-docx is not installed.
    """
    check_docx()
    from docx import Document

    document = Document()
    document.core_properties.author = ""
    document.core_properties.title = draft.title
    document.core_properties.language = draft.language
    document.add_heading(draft.title, level=0)
    document.add_paragraph(draft.about)
    catalog = load_catalog(draft.language)
    for section in draft.sections:
        _add_section(document, section, catalog)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _add_section(document: Any, section: DraftSection, catalog: Catalog) -> None:
    from docx.enum.text import WD_COLOR_INDEX
    from docx.shared import Cm

    document.add_heading(section.heading, level=1)
    for paragraph in section.paragraphs:
        document.add_paragraph(_printable(paragraph))
    for table in section.tables:
        _add_table(document, table)
    for gap in section.gaps:
        run = document.add_paragraph().add_run(_printable(catalog("draft.gap", what=gap)))
        run.font.highlight_color = WD_COLOR_INDEX.YELLOW
    for figure in section.figures:
        # A picture in a format that cannot be embedded still gets its caption.
        with contextlib.suppress(Exception):
            document.add_picture(io.BytesIO(figure.picture.data), width=Cm(_FIGURE_WIDTH_CM))
        document.add_paragraph(_printable(figure.caption), style="Caption")


def _add_table(document: Any, table: DraftTable) -> None:
    made = document.add_table(rows=1, cols=len(table.header))
    made.style = "Table Grid"
    for cell, words in zip(made.rows[0].cells, table.header, strict=True):
        cell.text = _printable(words)
    for row in table.rows:
        for cell, words in zip(made.add_row().cells, row, strict=True):
            cell.text = _printable(words)


def _printable(words: str) -> str:
    """The words without the control characters that XML cannot hold."""
    return _UNPRINTABLE.sub("", words)
