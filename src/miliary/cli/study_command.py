"""`miliary study`: one patient's folder brought up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from miliary.cli.progress import Progress, output_options, progress_style

if TYPE_CHECKING:
    from miliary.workflow.study_plan import StudyPlan
    from miliary.workflow.study_run import StudyRun

EXIT_INPUT = 2


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Result; FOLDER/result by default."
)
@click.option("--dry-run", is_flag=True, help="Only list what was found and what would be made.")
@click.option("--no-measure", is_flag=True, help="Measure and compare nothing; name what is out of date.")
@click.option("--fast", is_flag=True, help="Skip completeness: counts and volumes stay uncorrected.")
@click.option(
    "--lang", default="en", show_default=True, type=click.Choice(("en", "ja")), help="Of the report."
)
@output_options
def study(
    folder: Path,
    *,
    out: Path | None,
    dry_run: bool,
    no_measure: bool,
    fast: bool,
    lang: str,
    quiet: bool,
    as_json: bool,
    threads: int | None,
) -> int:
    """Measure, compare, derive and report all that FOLDER holds of one patient.

    FOLDER holds scans (folders, zips, volume files, earlier results; in it or in its subfolder ct), and where
    there are, case.yaml and labs.csv (in it or in its subfolder case) and radiographs. What was found is
    listed first. The first scan by date is the baseline. Only what is new or out of date is made; FOLDER
    itself is never written to, but for the result.

    Exit code 2 where a part could not be made: the others are made all the same.
    """
    from miliary.workflow.study_plan import StudySettings, plan_study
    from miliary.workflow.study_run import carry_out_plan

    settings = StudySettings(with_completeness=not fast, measures=not no_measure, language=lang)
    plan = plan_study(folder, out, settings=settings)
    if not quiet:
        # A program reads the result on standard output; what was found goes where the stages go.
        _print_plan(plan, as_json=as_json, to_stdout=dry_run)
    if dry_run:
        return 0
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    try:
        run = carry_out_plan(plan, n_threads=threads, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; finished parts stay, and the same command goes on") from None
    progress.finish()
    if as_json:
        print(json.dumps(_describe_run(run), ensure_ascii=False))
    elif not quiet:
        _print_run(run)
    return 0 if run.is_complete else EXIT_INPUT


def _describe_plan(plan: StudyPlan) -> dict[str, Any]:
    return {
        "scans": [
            {"label": s.label, "found": s.found.name, "kind": s.found.kind, "change": s.change or None}
            for s in plan.scans
        ],
        "order": plan.found.order or None,
        "comparisons": [{"member": pair.member, "change": pair.change or None} for pair in plan.pairs],
        "case": None if plan.case_change is None else {"change": plan.case_change or None},
        "not_used": [{"found": entry.name, "reason": entry.reason} for entry in plan.found.skipped],
        "removed": list(plan.removed),
    }


def _print_plan(plan: StudyPlan, *, as_json: bool, to_stdout: bool) -> None:
    stream = sys.stdout if to_stdout else sys.stderr
    if as_json:
        event = _describe_plan(plan) if to_stdout else {"event": "plan", **_describe_plan(plan)}
        print(json.dumps(event, ensure_ascii=False), file=stream)
        return
    for scan in plan.scans:
        state = scan.change or "current"
        print(f"{scan.label:<12} {scan.found.name} ({scan.found.kind}): {state}", file=stream)
    if plan.found.order:
        print(f"{'':<12} in the order of {plan.found.order}", file=stream)
    for pair in plan.pairs:
        print(f"{'compare':<12} {pair.baseline} -> {pair.followup}: {pair.change or 'current'}", file=stream)
    if plan.case_change is not None:
        print(f"{'case':<12} case.yaml: {plan.case_change or 'current'}", file=stream)
    for member in plan.removed:
        print(f"{'removed':<12} {member}: its scan is not there any more", file=stream)
    for entry in plan.found.skipped:
        print(f"{'not used':<12} {entry.name}: {entry.reason}", file=stream)


def _describe_run(run: StudyRun) -> dict[str, Any]:
    return {
        "is_complete": run.is_complete,
        "members": [
            {"member": one.member, "outcome": one.outcome.value, "reason": one.reason or None}
            for one in run.outcomes
        ],
    }


def _print_run(run: StudyRun) -> None:
    print()
    for one in run.outcomes:
        print(f"{one.outcome.value:<8} {one.member}" + (f": {one.reason}" if one.reason else ""))
    page = run.plan.out / "report.html"
    print(f"\nresult in {run.plan.out}" + (f": open {page}" if page.is_file() else ""))
