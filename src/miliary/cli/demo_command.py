"""`miliary demo`: a simulated patient, scanned before and during treatment, measured and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from miliary.cli.case_commands import derive_case
from miliary.cli.compare_command import show_comparison
from miliary.cli.progress import Progress, count_cores, output_options, progress_style
from miliary.cli.view_command import show_study

if TYPE_CHECKING:
    from miliary.image.simulate import SimulatedPair, SimulatedScan
    from miliary.model.comparison import Comparison, Exam
    from miliary.model.ct_result import CtResult

LABELS = ("baseline", "followup")
EXAMPLE = "index-case"
TITLE = "Simulated scans beside a published case"


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

    Thousands of nodules and a cavity of 19 mm in the left upper lobe; three months later most are gone.
    Nothing is downloaded: the patient is a seed and a few parameters, so the truth is known. DIR becomes a
    study folder with both scans, their comparison, the published case that the simulation is modelled on,
    and report.html, which keeps the two apart.
    """
    from miliary.exchange.folders.atomic_folder import check_output, writing
    from miliary.exchange.folders.study_file import write_study_file
    from miliary.image.kernels.compile_ahead import STAGES, compiling_ahead
    from miliary.model.study_index import STUDY_KIND

    check_output(out, kind=STUDY_KIND)
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    progress("simulate")
    from miliary.exchange.case.case_folder import write_case_files
    from miliary.exchange.case.examples import find_example
    from miliary.exchange.folders.compare_store import write_comparison
    from miliary.exchange.folders.ct_store import write_ct_result
    from miliary.exchange.folders.study_file import read_study
    from miliary.followup import compare_scans
    from miliary.image.simulate import DEMO_DAYS, demo_pair, simulate_pair
    from miliary.model.codec import to_json
    from miliary.model.summarize_comparison import summarize_comparison
    from miliary.report import write_report

    with compiling_ahead(*STAGES, n_threads=threads or count_cores()):
        pair = simulate_pair(**demo_pair(), n_threads=threads or count_cores())
        with writing(out, kind=STUDY_KIND) as draft:
            exams = []
            for label, simulated in zip(LABELS, (pair.baseline, pair.followup), strict=True):
                result, exam = _measure(label, simulated, progress, threads)
                write_ct_result(result, draft / "ct" / label, scan=simulated.scan)
                exams.append(exam)
            found = compare_scans(*exams, days_between=DEMO_DAYS, progress=progress, n_threads=threads)
            progress("write")
            name = "__".join(LABELS)
            write_comparison(found, draft / "compare" / name)
            _, summary, text = derive_case(find_example(EXAMPLE))
            (draft / "case").mkdir()
            write_case_files(summary, text, draft / "case")
            write_study_file(
                draft,
                title=TITLE,
                scans=[(label, f"ct/{label}") for label in LABELS],
                comparisons=[(*LABELS, f"compare/{name}")],
                case="case/case.json",
            )
            progress("report")
            write_report(read_study(draft), draft / "report.html")
        progress.finish()
    if as_json:
        print(json.dumps(to_json(summarize_comparison(found)), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        show_comparison(found)
        print(_tell_truth(pair, exams, found))
        print(f"\nresult in {out}: open {out / 'report.html'}")
    if is_viewed:
        show_study(out)


def _measure(
    label: str, simulated: SimulatedScan, progress: Progress, threads: int | None
) -> tuple[CtResult, Exam]:
    from miliary.followup import make_exam
    from miliary.pipeline import find_nodules

    progress(f"measure {label}")
    result = find_nodules(simulated.scan, n_threads=threads)
    return result, make_exam(label, simulated.scan, result)


def _tell_truth(pair: SimulatedPair, exams: list[Exam], found: Comparison) -> str:
    """What is really in the simulated scans, beside what was found."""
    import numpy as np

    from miliary.image.pair.match import compare_with_truth

    lines, totals = [], []
    for exam, simulated in zip(exams, (pair.baseline, pair.followup), strict=True):
        truth = simulated.truth
        seen = compare_with_truth(exam.nodules, truth)
        counted = (truth["kind"] == "nodule") & (truth["diameter_mm"] >= found.min_diameter_mm)
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
