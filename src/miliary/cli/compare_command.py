"""`miliary compare`: two or more scans of one patient."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import click

from miliary.cli.comparison_table import show_comparison
from miliary.cli.progress import Progress, output_options, progress_style


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("followup", type=click.Path(path_type=Path))
@click.argument("later", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result."
)
@click.option(
    "--days",
    multiple=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Days from the baseline to each follow-up, where the files do not say.",
)
@click.option(
    "--treatment-start",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="To flag a baseline made after it, or more than four weeks before.",
)
@click.option("--fast", is_flag=True, help="Skip completeness of scans: the ratio is of uncorrected totals.")
@output_options
def compare(
    baseline: Path,
    followup: Path,
    *,
    later: tuple[Path, ...],
    out: Path,
    days: tuple[int, ...],
    treatment_start: dt.datetime | None,
    fast: bool,
    quiet: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Compare two scans of one patient: how much disease is left, with an interval, or why not.

    BASELINE and FOLLOWUP are scans, as 'miliary ct' takes them, or result folders of it. With scans LATER
    still, each is compared with the baseline, and the smallest ratio so far is the nadir. DIR must be new,
    or hold an earlier comparison, which is then replaced.
    """
    from miliary.model.saved.codec import to_json
    from miliary.model.saved.comparison_summary import SeriesSummary
    from miliary.workflow.comparison_run import ComparisonSettings
    from miliary.workflow.comparison_run import compare as compare_scans

    if days and len(days) != 1 + len(later):
        raise click.UsageError("Give --days once for each follow-up.")
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    run = compare_scans(
        (baseline, followup, *later),
        out,
        settings=ComparisonSettings(
            days=days,
            treatment_start=treatment_start.date() if treatment_start else None,
            with_completeness=not fast,
        ),
        n_threads=threads,
        progress=progress,
    )
    progress.finish()
    if as_json:
        print(json.dumps(to_json(run.summary), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        for comparison in run.comparisons:
            show_comparison(comparison)
        if isinstance(run.summary, SeriesSummary):
            print(f"\nnadir: {run.summary.nadir or 'not known'}")
        print(f"\nresult in {out}")
