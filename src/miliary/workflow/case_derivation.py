"""`derive_case`: the facts about one patient read, assessed and written as one result folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary import __version__
from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter

if TYPE_CHECKING:
    import datetime as dt

    from miliary.clinical.recist.criteria import RecistOptions
    from miliary.model.case import Case
    from miliary.model.saved.case_summary import CaseSummary


@dataclass(frozen=True)
class DerivedCase:
    """What the facts of a case allow.

    Parameters
    ----------
    case : Case
        The facts.
    summary : CaseSummary
        What ``case.json`` holds.
    text : str
        The same in words, as in ``summary.md``.
    left_out : tuple of str
        Why radiographs were left out of the result, one sentence each.
    """

    case: Case
    summary: CaseSummary
    text: str
    left_out: tuple[str, ...] = ()


def assess_case_folder(
    folder: str | Path, *, options: RecistOptions | None = None, on: dt.date | None = None
) -> DerivedCase:
    """Read the facts in a folder and derive what they allow; nothing is written.

    Parameters
    ----------
    folder : path
        Holds ``case.yaml`` and, where there is one, ``labs.csv``. Its studies may point to results of
        `measure`.
    options : RecistOptions, optional
        What a protocol may choose of RECIST 1.1.
    on : date, optional
        The day on which the case is read; rules whose recheck date has passed by then are named.

    Raises
    ------
    CaseError
        The folder holds no readable case.
    """
    from miliary.clinical.labs.lab_ranges import find_range
    from miliary.clinical.recist.criteria import RecistOptions
    from miliary.clinical.registry import assess_case, count_outcomes, resolve_citations
    from miliary.exchange.case.case_file import read_case, read_scans
    from miliary.exchange.case.case_folder import summarize_case
    from miliary.exchange.case.days import count_days
    from miliary.exchange.case.summary_page import render_summary
    from miliary.model.saved.case_summary import CitationSummary

    facts = read_case(folder)
    found = count_days(
        facts,
        assess_case(facts, scans=read_scans(facts, folder), response=options or RecistOptions(), on=on),
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
    return DerivedCase(facts, summary, render_summary(facts, found, sources))


def derive_case(
    folder: str | Path,
    out: str | Path,
    *,
    options: RecistOptions | None = None,
    on: dt.date | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> DerivedCase:
    """Derive what the facts of a case allow and write the result folder, complete or not at all.

    Parameters
    ----------
    folder : path
        Holds ``case.yaml`` and, where there is one, ``labs.csv``; its studies may point to results of
        `measure`, which are kept with the result.
    out : path
        Result folder: new, empty, or an earlier result of a case, which is replaced at the end.
    options : RecistOptions, optional
        What a protocol may choose of RECIST 1.1.
    on : date, optional
        The day on which the case is read; rules whose recheck date has passed by then are named.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    DerivedCase

    Raises
    ------
    CaseError
        The folder holds no readable case.
    OutputError
        `out` cannot be written to.
    RunCancelled
        `cancel` said so; `out` is as it was before.
    """
    from miliary.exchange.case.case_file import find_scans
    from miliary.exchange.case.case_folder import write_case_result
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.picture_files import find_radiographs
    from miliary.model.saved.case_summary import CASE_KIND

    source, target = Path(folder), Path(out)
    check_output(target, kind=CASE_KIND)
    report = StageReporter(progress, cancel)
    report("assess")
    derived = assess_case_folder(source, options=options, on=on)
    report("write")
    left_out = write_case_result(
        derived.summary,
        derived.text,
        target,
        scans=find_scans(derived.case, source),
        radiographs=find_radiographs(source),
    )
    return replace(derived, left_out=tuple(left_out))
