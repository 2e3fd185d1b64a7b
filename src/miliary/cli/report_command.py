"""`miliary report`: saved results as one page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page; report.html (or board.html) in STUDY by default.",
)
@click.option("--board", is_flag=True, help="Only the first page: one sheet for a tumor board (board.html).")
@click.option("--pdf", is_flag=True, help="Also as PDF, by an installed Chromium or WeasyPrint.")
@click.option("--care", is_flag=True, help="Also a draft of a case report (DOCX and Markdown).")
@click.option("--lang", default="en", show_default=True, type=click.Choice(("en", "ja")), help="Language.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def report(
    study: Path, *, out: Path | None, board: bool, pdf: bool, care: bool, lang: str, quiet: bool
) -> None:
    """Show saved results as one page that needs nothing beside it.

    STUDY is a study folder, or what 'miliary ct', 'compare' or 'case run' wrote. Nothing is measured or
    judged anew; what is missing or damaged is said on the page and the rest is shown.
    """
    from miliary.workflow.study_page import write_study_page

    for path in write_study_page(study, out, pdf=pdf, care=care, language=lang, board=board):
        if not quiet:
            print(path)
