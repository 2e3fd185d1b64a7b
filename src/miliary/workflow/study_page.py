"""`write_study_page`: saved results of one patient as one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from miliary.workflow.study_record import check_saved_study


def write_study_page(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    pdf: bool = False,
    care: bool = False,
    language: str = "en",
    board: bool = False,
) -> list[Path]:
    """Write the page of a study, and what else is asked for beside it.

    Nothing is measured or assessed anew. What is known to be out of date is named on the page.

    Parameters
    ----------
    folder : path
        A study, or the result folder of one scan, one comparison or one case.
    out : path, optional
        Of the page; ``report.html`` in the folder when not given, ``board.html`` of the board page alone. A
        name ending in ``.pdf`` asks for the PDF only.
    pdf, care : bool
        Also the PDF; also the draft of a case report as DOCX and Markdown.
    language : str
        ``en`` or ``ja``.
    board : bool
        Only the board page, one sheet when printed.

    Returns
    -------
    list of path
        What was written.

    Raises
    ------
    InputError
        Nothing in the folder was written by this program, or a PDF is asked for and nothing that prints is
        installed.
    OutputError
        Something else has the name of the page.
    """
    from miliary.exchange.folders.study_file import read_study
    from miliary.report import write_report

    place = Path(folder)
    page = place / ("board.html" if board else "report.html") if out is None else Path(out)
    study = read_study(place)
    study = replace(study, problems=(*check_saved_study(place), *study.problems))
    return write_report(study, page, pdf=pdf, care=care, language=language, board=board)
