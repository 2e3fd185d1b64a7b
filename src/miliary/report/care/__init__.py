"""The draft of a case report in the order of the CARE checklist, as Markdown and as a Word document."""

from miliary.report.care.docx_file import render_docx
from miliary.report.care.draft import Draft, DraftFigure, DraftSection, DraftTable
from miliary.report.care.markdown import render_markdown
from miliary.report.care.writer import write_draft

__all__ = [
    "Draft",
    "DraftFigure",
    "DraftSection",
    "DraftTable",
    "render_docx",
    "render_markdown",
    "write_draft",
]
