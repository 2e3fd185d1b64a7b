"""`write_demo`: a simulated patient, scanned before and during treatment, measured, compared and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.workflow.case_derivation import assess_case_folder
from miliary.workflow.comparison_run import name_in_order
from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter, count_cores

if TYPE_CHECKING:
    from miliary.image.simulate import SimulatedPair
    from miliary.model.comparison import Comparison, Exam

EXAMPLE = "index-case"
TITLE = "Simulated scans beside a published case"


@dataclass(frozen=True)
class DemoRun:
    """A simulated patient and what was found.

    Parameters
    ----------
    pair : SimulatedPair
        Both scans with their truth.
    exams : tuple of Exam
        What was measured on the baseline and on the follow-up.
    comparison : Comparison
    """

    pair: SimulatedPair
    exams: tuple[Exam, ...]
    comparison: Comparison


def write_demo(
    out: str | Path,
    *,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> DemoRun:
    """Simulate a patient scanned twice and write the whole study with its report, complete or not at all.

    Parameters
    ----------
    out : path
        Study folder: new, empty, or an earlier study, which is replaced at the end.
    n_threads : int, optional
        All cores when not given. The result does not depend on it.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    DemoRun

    Raises
    ------
    OutputError
        `out` cannot be written to.
    RunCancelled
        `cancel` said so; `out` is as it was before.
    """
    from miliary.exchange.folders.atomic_folder import check_output, writing
    from miliary.image.kernels.compile_ahead import STAGES, compiling_ahead
    from miliary.model.saved.study_index import STUDY_KIND

    check_output(out, kind=STUDY_KIND)
    report = StageReporter(progress, cancel)
    report("simulate")
    threads = n_threads or count_cores()
    with compiling_ahead(*STAGES, n_threads=threads):
        from miliary.image.simulate import demo_pair, simulate_pair

        pair = simulate_pair(**demo_pair(), n_threads=threads)
        with writing(out, kind=STUDY_KIND) as draft:
            return _write_study(pair, draft, report, n_threads)


def _write_study(pair: SimulatedPair, draft: Path, report: StageReporter, n_threads: int | None) -> DemoRun:
    from miliary.exchange.folders.compare_store import write_comparison
    from miliary.exchange.folders.ct_store import write_ct_result
    from miliary.exchange.folders.study_file import read_study
    from miliary.followup import compare_scans, make_exam
    from miliary.image.simulate import DEMO_DAYS
    from miliary.pipeline import find_nodules
    from miliary.report import write_report

    labels, exams = name_in_order(2), []
    for label, simulated in zip(labels, (pair.baseline, pair.followup), strict=True):
        report(f"measure {label}")
        result = find_nodules(
            simulated.scan, n_threads=n_threads, progress=lambda _stage: report.check_cancelled()
        )
        exams.append(make_exam(label, simulated.scan, result))
        write_ct_result(result, draft / "ct" / label, scan=simulated.scan)
    found = compare_scans(*exams, days_between=DEMO_DAYS, progress=report, n_threads=n_threads)
    report("write")
    write_comparison(found, draft / "compare" / "__".join(labels))
    _write_case(draft, labels)
    report("report")
    write_report(read_study(draft), draft / "report.html")
    return DemoRun(pair, tuple(exams), found)


def _write_case(draft: Path, labels: Sequence[str]) -> None:
    """The published case that the simulation is modeled on, and the study's index."""
    from miliary.exchange.case.case_folder import write_case_files
    from miliary.exchange.case.examples import find_example
    from miliary.exchange.folders.study_file import write_study_file

    derived = assess_case_folder(find_example(EXAMPLE))
    (draft / "case").mkdir()
    write_case_files(derived.summary, derived.text, draft / "case")
    write_study_file(
        draft,
        title=TITLE,
        scans=[(label, f"ct/{label}") for label in labels],
        comparisons=[(labels[0], labels[1], f"compare/{'__'.join(labels)}")],
        case="case/case.json",
    )
