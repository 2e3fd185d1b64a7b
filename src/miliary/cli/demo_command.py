"""`miliary demo`: a simulated patient, scanned before and during treatment, measured and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from miliary.cli.comparison_table import show_comparison
from miliary.cli.progress import Progress, output_options, progress_style
from miliary.cli.view_command import show_study

if TYPE_CHECKING:
    from miliary.image.simulate import SimulatedScan
    from miliary.workflow.demo_patient import DemoRun


@click.command()
@click.option(
    "--out",
    default="demo-result",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the result.",
)
@click.option("--view", "is_viewed", is_flag=True, help="Open the viewer at the end.")
@output_options
def demo(*, out: Path, is_viewed: bool, quiet: bool, as_json: bool, threads: int | None) -> None:
    """Simulate a patient with miliary disease before and during treatment, and make the whole dossier.

    Thousands of nodules and a cavity of 19 mm in the left upper lobe; three months later most are no longer
    seen. Nothing is downloaded: the patient is a seed and a few parameters, so the truth is known. DIR
    becomes a study folder with both scans, their comparison, the published case that the simulation is
    modelled on, and report.html, which keeps the two apart.
    """
    from miliary.model.saved.codec import to_json
    from miliary.model.saved.summarize_comparison import summarize_comparison
    from miliary.workflow.demo_patient import write_demo

    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    run = write_demo(out, n_threads=threads, progress=progress)
    progress.finish()
    if as_json:
        print(json.dumps(to_json(summarize_comparison(run.comparison)), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        show_comparison(run.comparison)
        print(_describe_truth(run))
        print(f"\nresult in {out}: open {out / 'report.html'}")
    if is_viewed:
        show_study(out)


def _describe_truth(run: DemoRun) -> str:
    """What is really in the simulated scans, beside what was found."""
    import numpy as np

    from miliary.image.pair.match import compare_with_truth

    pair = run.pair
    lines, totals = [], []
    for exam, simulated in zip(run.exams, (pair.baseline, pair.followup), strict=True):
        truth = simulated.truth
        seen = compare_with_truth(exam.nodules, truth)
        counted = (truth["kind"] == "nodule") & (truth["diameter_mm"] >= run.comparison.min_diameter_mm)
        totals.append(float(np.sum(truth["volume_mm3"][counted])))
        lines.append(
            f"  {exam.name}: {seen.n_hits:,} of {seen.n_true:,} nodules found "
            f"({seen.n_hits / max(seen.n_true, 1):.1%}), {seen.n_false:,} false marks (simulated)"
        )
    sizes = [_lesion_mm(simulated) for simulated in (pair.baseline, pair.followup)]
    return "\n".join(
        [
            "",
            "The patient is simulated, so the truth is known:",
            *lines,
            f"  true volume ratio {totals[1] / totals[0]:.3f} (simulated)",
            f"  true lesion {sizes[0]} -> {sizes[1]} (simulated)",
        ]
    )


def _lesion_mm(simulated: SimulatedScan) -> str:
    sizes = simulated.truth["diameter_mm"][simulated.truth["kind"] == "lesion"]
    return f"{float(sizes[0]):.1f} mm" if len(sizes) else "none"
