"""The command line of the case: `miliary case new|check|run|export|import`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from miliary import __version__
from miliary.cli.exchange_commands import case_export, case_import

if TYPE_CHECKING:
    from miliary.clinical.recist.criteria import Options
    from miliary.model.case import Case
    from miliary.model.case_summary import CaseSummary

EXIT_INPUT = 2


@click.group()
def case() -> None:
    """Keep and check the facts about one patient."""


@case.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
def case_new(folder: Path) -> None:
    """Start a case: a commented case.yaml and an empty labs.csv in FOLDER."""
    from miliary.exchange.case.case_file import write_case_template

    for path in write_case_template(folder):
        print(path)


@case.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
def case_check(folder: Path) -> int:
    """Read a case and list everything in it that cannot be, with file, line and field."""
    from miliary.exchange.case.case_file import inspect_case

    read, problems = inspect_case(folder)
    for problem in problems:
        print(problem)
    if read is None or problems:
        return EXIT_INPUT
    print(f"{read.id}: well-formed; {len(read.studies)} studies, {len(read.labs)} laboratory values")
    return 0


@case.command("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result."
)
@click.option("--strict-response", is_flag=True, help="Judge every visit anew, also after a response.")
@click.option("--confirm-response", is_flag=True, help="A response counts once it is confirmed.")
@click.option("--irecist", is_flag=True, help="Show the immune reading (iRECIST) beside RECIST 1.1.")
@click.option("--cavities-off", is_flag=True, help="Show a second reading with cavities taken off.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def case_run(
    folder: Path,
    *,
    out: Path,
    strict_response: bool,
    confirm_response: bool,
    irecist: bool,
    cavities_off: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Derive and check what the facts allow: stage, response, grades, drivers, contradictions.

    FOLDER holds case.yaml (and labs.csv); its studies may point to results of 'miliary ct'. Writes
    case.json and summary.md, the gravest first. States and cites; what cannot be told is listed with its
    reason.
    """
    from miliary.clinical.recist.criteria import AfterResponse, Cavity, Options
    from miliary.exchange.case.case_file import find_scans
    from miliary.exchange.case.case_folder import write_case_result
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.picture_files import find_radiographs
    from miliary.model.case_summary import CASE_KIND
    from miliary.model.codec import to_json

    check_output(out, kind=CASE_KIND)
    options = Options(
        after_response=AfterResponse.STRICT if strict_response else AfterResponse.SUSTAINED,
        needs_confirmation=confirm_response,
        cavity=Cavity.SUBTRACTED if cavities_off else Cavity.WHOLE,
        is_immune=irecist,
    )
    facts, summary, text = derive_case(folder, options)
    left_out = write_case_result(
        summary, text, out, scans=find_scans(facts, folder), radiographs=find_radiographs(folder)
    )
    for reason in left_out:
        print(f"warning: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps(to_json(summary), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        print(text)
        print(f"result in {out}")


def derive_case(folder: Path, options: Options | None = None) -> tuple[Case, CaseSummary, str]:
    """The facts in a folder, what they allow as the content of `case.json`, and the same in words.

    Raises
    ------
    InputError
        If the folder holds no readable case.
    """
    from miliary.clinical.labs.lab_ranges import find_range
    from miliary.clinical.recist.criteria import Options
    from miliary.clinical.registry import assess_case, count_outcomes, resolve_citations
    from miliary.exchange.case.case_file import read_case, read_scans
    from miliary.exchange.case.case_folder import render_summary, summarize_case
    from miliary.exchange.case.days import count_days
    from miliary.model.case_summary import CitationSummary

    facts = read_case(folder)
    found = count_days(
        facts, assess_case(facts, scans=read_scans(facts, folder), response=options or Options())
    )
    sources = {n: CitationSummary(c.text, c.basis, c.doi) for n, c in resolve_citations(found).items()}
    bands = {lab.id: ((r := find_range(facts, lab)).low, r.high, r.words) for lab in facts.labs}
    summary = summarize_case(
        facts,
        found,
        sources,
        counts=count_outcomes(found),
        provenance={"program": "miliary", "version": __version__},
        bands=bands,
    )
    return facts, summary, render_summary(facts, found, sources)


case.add_command(case_export)
case.add_command(case_import)
