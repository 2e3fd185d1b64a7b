"""`miliary case new|check|run|export|import`: the facts about one patient."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import click

from miliary.cli.exchange_commands import case_export, case_import

EXIT_INPUT = 2


@click.group()
def case() -> None:
    """Keep and check the facts about one patient."""


@case.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--ask", is_flag=True, help="Ask for the facts here; an empty answer states nothing.")
def case_new(folder: Path, *, ask: bool) -> None:
    """Start a case: a commented case.yaml and an empty labs.csv in FOLDER, or one made from answers."""
    from miliary.exchange.case.ask_case import ask_case
    from miliary.exchange.case.case_file import write_case_template

    if ask:

        def put(words: str) -> str:
            answer: str = click.prompt(words, default="", show_default=False)
            return answer

        print(ask_case(folder, put, lambda reason: print(f"  not taken: {reason}")))
        return
    for path in write_case_template(folder):
        print(path)


@case.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--identity", is_flag=True, help="List what may tell who the patient is, too.")
def case_check(folder: Path, *, identity: bool) -> int:
    """Read a case and list everything in it that cannot be, with file, line and field."""
    from miliary.clinical.record.identity_risks import list_identity_risks
    from miliary.exchange.case.case_file import inspect_case

    read, problems = inspect_case(folder)
    for problem in problems:
        print(problem)
    if read is None or problems:
        return EXIT_INPUT
    for risk in list_identity_risks(read) if identity else ():
        print(f"identity: {risk}")
    print(f"{read.id}: well-formed; {len(read.studies)} studies, {len(read.labs)} laboratory values")
    return 0


@case.command("references")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="New file: .ris, .bib (BibTeX) or .json (CSL).",
)
def case_references(folder: Path, *, out: Path) -> None:
    """Write the sources of a case and of everything derived from it for a reference manager."""
    from miliary.errors import OutputError
    from miliary.exchange.case.source_list import list_references, render_references
    from miliary.workflow.case_derivation import assess_case_folder

    style = out.suffix.lstrip(".").lower()
    if style not in ("ris", "bib", "json"):
        raise OutputError(f"{out.name}: end it in .ris, .bib or .json")
    if out.exists():
        raise OutputError(f"{out.name}: is there already; choose another name")
    derived = assess_case_folder(folder)
    items = list_references(derived.summary.citations, derived.case.sources)
    try:
        out.write_text(render_references(items, style), "utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{out.name}: cannot be written ({reason}); choose another place") from None
    print(f"{len(items)} references in {out}")


@case.command("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result."
)
@click.option("--strict-response", is_flag=True, help="Judge every visit anew, also after a response.")
@click.option("--confirm-response", is_flag=True, help="A response counts once it is confirmed.")
@click.option("--irecist", is_flag=True, help="Show the immune reading (iRECIST) beside RECIST 1.1.")
@click.option("--cavities-off", is_flag=True, help="Show a second reading with cavities taken off.")
@click.option(
    "--on",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Name rules whose recheck date has passed on this day; today by default.",
)
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
    on: dt.datetime | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Derive and check what the facts allow: stage, response, grades, drivers, contradictions.

    FOLDER holds case.yaml (and labs.csv); its studies may point to results of 'miliary ct'. Writes
    case.json and summary.md, the gravest first. States and cites; what cannot be told is listed with its
    reason.
    """
    from miliary.clinical.recist.criteria import CavityReading, RecistOptions, SumsAfterResponse
    from miliary.model.saved.codec import to_json
    from miliary.workflow.case_derivation import derive_case

    options = RecistOptions(
        after_response=SumsAfterResponse.STRICT if strict_response else SumsAfterResponse.SUSTAINED,
        needs_confirmation=confirm_response,
        cavity=CavityReading.SUBTRACTED if cavities_off else CavityReading.WHOLE,
        is_immune=irecist,
    )
    day = on.date() if on else dt.datetime.now(tz=dt.UTC).date()
    derived = derive_case(folder, out, options=options, on=day)
    for reason in derived.left_out:
        print(f"warning: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps(to_json(derived.summary), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        print(derived.text)
        print(f"result in {out}")


case.add_command(case_export)
case.add_command(case_import)
