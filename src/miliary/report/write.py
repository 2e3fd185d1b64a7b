"""Writes the page and what is made from it; replaces only what this program wrote before."""

from __future__ import annotations

from pathlib import Path

from miliary.errors import OutputError
from miliary.model.study import StudyResult
from miliary.report.care import render_docx, render_markdown, write_draft
from miliary.report.care.docx_file import check_docx
from miliary.report.page import render_report
from miliary.report.pdf import render_pdf
from miliary.report.whole_file import write_whole

_PAGE_MARK = b'<meta name="generator" content="miliary'
# A PDF does not name its maker within its first bytes, so any PDF may be replaced.
_MARKS = {".pdf": b"%PDF-"}
# A clinician goes on writing in these, so they are never replaced.
_EDITABLE = (".docx", ".md")


def check_page(path: Path) -> None:
    """Make sure that a page, a PDF or a draft can be written to a path.

    Parameters
    ----------
    path : path

    Raises
    ------
    OutputError
        If a file exists there that was not written by this program or may have been edited, or the folder
        does not exist.
    """
    name = path.name
    if path.is_dir() or path.is_symlink():
        raise OutputError(f"{name}: exists and is not a file; choose another name with --out")
    if path.suffix in _EDITABLE and path.exists():
        raise OutputError(
            f"{name}: exists and may have been edited; move it or choose another name with --out"
        )
    if path.exists() and _MARKS.get(path.suffix, _PAGE_MARK) not in _read_head(path):
        raise OutputError(f"{name}: exists and is no page of miliary; choose another name with --out")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{name}: its folder does not exist; make it first or choose another with --out")


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise OutputError(f"{path.name}: cannot be read ({error.strerror}); choose another name") from error


def write_report(
    study: StudyResult,
    path: Path,
    *,
    pdf: bool = False,
    care: bool = False,
    language: str = "en",
    board: bool = False,
) -> list[Path]:
    """Write the page of a study, and next to it the documents that are asked for.

    Parameters
    ----------
    study : StudyResult
    path : path
        Of the page; the other documents take its name with their own ending. A name ending in ``.pdf`` asks
        for the PDF only.
    pdf, care : bool
        Also write the PDF; also write the draft of a case report as DOCX and Markdown.
    language : str
        One of `LANGUAGES`.
    board : bool
        Only the board page, one sheet when printed.

    Returns
    -------
    list of path
        What was written.

    Raises
    ------
    OutputError
        If a file of that name exists that this program must not replace, or cannot be written.
    InputError
        If a PDF is asked for and nothing that prints is installed, or a draft and python-docx is missing.
    """
    is_pdf_only = path.suffix.lower() == ".pdf"
    endings = [".pdf"] if pdf or is_pdf_only else []
    endings += [".docx", ".md"] if care else []
    for file in ([] if is_pdf_only else [path]) + [path.with_suffix(ending) for ending in endings]:
        check_page(file)
    if care:
        check_docx()
    html = render_report(study, language=language, is_board=board)
    contents: dict[Path, bytes] = {} if is_pdf_only else {path: html.encode()}
    if pdf or is_pdf_only:
        contents[path.with_suffix(".pdf")] = render_pdf(html)
    if care:
        draft = write_draft(study, language=language)
        contents[path.with_suffix(".docx")] = render_docx(draft)
        contents[path.with_suffix(".md")] = render_markdown(draft).encode()
    for file, content in contents.items():
        write_whole(file, content)
    return list(contents)
