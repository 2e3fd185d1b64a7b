"""`compare`: two or more scans of one patient read, compared and written as one result folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.errors import InputError, NoLungsError
from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter, count_cores

if TYPE_CHECKING:
    from miliary.model.comparison import Comparison, Exam, Identity, SeriesFacts
    from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
    from miliary.model.scan import ScanWarning


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """How scans of one patient are compared.

    Parameters
    ----------
    days : tuple of int
        Days from the baseline to each follow-up, where the files do not say; empty to take the files' dates.
    treatment_start : datetime.date, optional
        To flag a baseline made after it, or more than four weeks before. It is not written anywhere.
    with_completeness : bool
        For scans that are measured here: as in `MeasurementSettings`.
    """

    days: tuple[int, ...] = ()
    treatment_start: dt.date | None = None
    with_completeness: bool = True


DEFAULT_COMPARISON = ComparisonSettings()


@dataclass(frozen=True)
class ComparisonRun:
    """What a comparison found and wrote.

    Parameters
    ----------
    comparisons : tuple of Comparison
        One for each follow-up, in the order given.
    summary : ComparisonSummary or SeriesSummary
        What the main file holds: ``response.json`` of two scans, ``series.json`` of more.
    """

    comparisons: tuple[Comparison, ...]
    summary: ComparisonSummary | SeriesSummary


@dataclass(frozen=True)
class PairTiming:
    """Patient and times of several scans: days from the baseline to each follow-up and to the treatment."""

    days: tuple[int | None, ...]
    to_treatment: int | None
    is_one_patient: bool
    warnings: tuple[ScanWarning, ...]


def compare(
    scans: Sequence[str | Path],
    out: str | Path,
    *,
    settings: ComparisonSettings = DEFAULT_COMPARISON,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> ComparisonRun:
    """Compare scans of one patient and write the result folder, complete or not at all.

    Parameters
    ----------
    scans : sequence of path
        The baseline, then each follow-up in the order of time: scans as `measure` takes them, or folders
        that it wrote.
    out : path
        Result folder: new, empty, or an earlier comparison of as many scans, which is replaced at the end.
    settings : ComparisonSettings
    n_threads : int, optional
        All cores when not given. The result does not depend on it.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    ComparisonRun

    Raises
    ------
    InputError
        Fewer than two scans, scans of different patients or in the wrong order, or scans that cannot be
        read or cannot be a pair.
    OutputError
        `out` cannot be written to.
    RunCancelled
        `cancel` said so; `out` is as it was before.
    """
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.exam_read import is_ct_result
    from miliary.image.kernels.compile_ahead import compiling_ahead, name_stages
    from miliary.model.saved.comparison_summary import COMPARISON_KIND, SERIES_KIND

    paths, target = [Path(scan) for scan in scans], Path(out)
    if len(paths) < 2:
        raise InputError(f"scans: a comparison takes two or more, found {len(paths)}")
    if settings.days and len(settings.days) != len(paths) - 1:
        raise InputError(f"days: one for each follow-up is needed, found {len(settings.days)}")
    check_output(target, kind=COMPARISON_KIND if len(paths) == 2 else SERIES_KIND)
    report = StageReporter(progress, cancel)
    is_measured = all(map(is_ct_result, paths))
    stages = () if is_measured else name_stages(with_completeness=settings.with_completeness)
    with compiling_ahead(*stages, "compare", n_threads=n_threads or count_cores()):
        found = _compare_paths(paths, settings, report, n_threads)
    report("write")
    return ComparisonRun(tuple(found), _write(found, target))


def _compare_paths(
    paths: Sequence[Path], settings: ComparisonSettings, report: StageReporter, n_threads: int | None
) -> list[Comparison]:
    """Read the first scan and each later one, and compare them with it."""
    from miliary.exchange.dicom.identity import read_identity
    from miliary.exchange.folders.exam_read import is_ct_result

    report("check")
    known = [read_identity(path) for path in paths]
    timing = check_identities(
        known, [path.name for path in paths], days=settings.days, treatment_start=settings.treatment_start
    )
    series = choose_series([list_choices(path) for path in paths], [is_ct_result(path) for path in paths])
    exams = [
        _read_exam(path, label, one, report, n_threads, with_completeness=settings.with_completeness)
        for path, label, one in zip(paths, _label(paths), series, strict=True)
    ]
    return [
        compare_exams(
            exams[0],
            exams[number],
            timing,
            number=number,
            names=(paths[0].name, paths[number].name),
            progress=report,
            n_threads=n_threads,
        )
        for number in range(1, len(paths))
    ]


def compare_exams(
    baseline: Exam,
    followup: Exam,
    timing: PairTiming,
    *,
    number: int,
    names: tuple[str, str],
    progress: StageCallback | None = None,
    n_threads: int | None = None,
) -> Comparison:
    """Compare a follow-up with the baseline.

    Parameters
    ----------
    baseline, followup : Exam
    timing : PairTiming
        Of the baseline and all follow-ups.
    number : int
        Which follow-up it is, from 1.
    names : tuple of str
        How messages call the two.
    progress, n_threads
        As in `compare`.

    Raises
    ------
    InputError
        The scans cannot be a pair.
    """
    from miliary.followup import compare_scans

    try:
        return compare_scans(
            baseline,
            followup,
            days_between=timing.days[number - 1],
            days_to_treatment=timing.to_treatment,
            is_one_patient=timing.is_one_patient,
            warnings=timing.warnings,
            progress=progress,
            n_threads=n_threads,
        )
    except InputError as error:
        # The comparison knows scans, not files: their names are added here.
        raise InputError(f"{names[0]}, {names[1]}: {error}") from None


def _label(paths: Sequence[Path]) -> list[str]:
    """What the result calls each scan: the name of a result folder, or only its position in the order."""
    from miliary.exchange.folders.exam_read import is_ct_result

    usual = name_in_order(len(paths))
    named = [
        path.resolve().name if is_ct_result(path) else word for path, word in zip(paths, usual, strict=True)
    ]
    return named if len(set(named)) == len(named) else usual


def name_in_order(n: int) -> list[str]:
    """Labels of scans that say nothing but their position: baseline, followup, followup-2, ..."""
    return ["baseline", "followup", *(f"followup-{k}" for k in range(2, n))][:n]


def check_identities(
    known: Sequence[Identity],
    names: Sequence[str],
    *,
    days: Sequence[int] = (),
    treatment_start: dt.date | None = None,
) -> PairTiming:
    """Refuse scans of different patients or in the wrong order; what cannot be checked is a warning.

    Parameters
    ----------
    known : sequence of Identity
        Of the baseline and each follow-up.
    names : sequence of str
        How messages call them.
    days, treatment_start
        As in `ComparisonSettings`.

    Raises
    ------
    InputError
        Naming the two scans.
    """
    from miliary.exchange.dicom.identity import find_patient_conflict
    from miliary.model.scan import ScanWarning

    conflict = find_patient_conflict(known)
    if conflict is not None:
        one, other = (names[place] for place in conflict)
        raise InputError(
            f"{one} and {other} show different patients (id or birth date); give one patient's scans"
        )
    for place in range(1, len(known)):
        before, after = known[place - 1].day, known[place].day
        if before is not None and after is not None and after < before:
            raise InputError(
                f"{names[place]} was made {before - after} days before {names[place - 1]}; "
                "give the scans in the order of their dates, the baseline first"
            )
    warnings = []
    is_one_patient = all(one.patient is not None for one in known)
    if not is_one_patient:
        text = "the files do not say whose scans these are: that they are of one patient was not checked"
        warnings.append(ScanWarning("patient_unknown", text))
    first = known[0].day
    apart = tuple(None if first is None or one.day is None else one.day - first for one in known[1:])
    to_treatment = None
    if treatment_start is not None:
        if first is None:
            text = "the baseline is not dated: its time before treatment was not checked"
            warnings.append(ScanWarning("baseline_undated", text))
        else:
            to_treatment = treatment_start.toordinal() - first
    return PairTiming(tuple(days) or apart, to_treatment, is_one_patient, tuple(warnings))


def choose_series(listed: Sequence[Sequence[SeriesFacts]], is_result: Sequence[bool]) -> list[str | None]:
    """Which series to read of each scan: those of the best-matched pair, where there is a choice.

    The baseline is matched with the first follow-up; later ones are matched with the baseline so chosen.

    Parameters
    ----------
    listed : sequence of sequence of SeriesFacts
        What `list_choices` gives for each scan, the baseline first; empty where nothing is known.
    is_result : sequence of bool
        Whether each is a result folder, of which no series is read.

    Returns
    -------
    list of str or None
        What `read_ct` takes as `series`; None where there is no choice, and for result folders.
    """
    from miliary.clinical.comparability import choose_series_pair

    chosen: list[str | None] = [None] * len(listed)
    if not listed:
        return chosen
    baseline = listed[0]
    for place in range(1, len(listed)):
        if not (baseline and listed[place]) or max(len(baseline), len(listed[place])) < 2:
            continue
        i, j, _ = choose_series_pair(baseline, listed[place])
        if not is_result[0]:
            chosen[0] = baseline[i].key
        if not is_result[place]:
            chosen[place] = listed[place][j].key
        baseline = (baseline[i],)
    return chosen


def list_choices(path: Path) -> tuple[SeriesFacts, ...]:
    """The series of a scan that can be chosen from, or the one that a result folder was measured on.

    Raises
    ------
    InputError
        The files, or the result, cannot be read.
    """
    from miliary.exchange.dicom.identity import list_series
    from miliary.exchange.folders.exam_read import is_ct_result, read_series_facts

    return (read_series_facts(path),) if is_ct_result(path) else list_series(path)


def _read_exam(
    path: Path,
    label: str,
    series: str | None,
    report: StageReporter,
    n_threads: int | None,
    *,
    with_completeness: bool,
) -> Exam:
    """One side: read from a result folder, or measured here."""
    from miliary.exchange.folders.exam_read import is_ct_result, read_exam

    report(f"read {label}")
    if is_ct_result(path):
        return replace(read_exam(path), name=label)
    from miliary.exchange.ct_read import read_ct
    from miliary.followup import make_exam
    from miliary.pipeline import find_nodules

    scan = read_ct(path, series=series, n_threads=n_threads)
    report(f"measure {label}")
    try:
        # Its stages are not reported, but a run can be stopped at each.
        result = find_nodules(
            scan,
            n_threads=n_threads,
            with_completeness=with_completeness,
            progress=lambda _stage: report.check_cancelled(),
        )
    except NoLungsError as error:
        raise NoLungsError(f"{path.name}: {error}") from None
    return make_exam(label, scan, result)


def _write(found: Sequence[Comparison], out: Path) -> ComparisonSummary | SeriesSummary:
    """Write one comparison, or a series of them; returns what the main file holds."""
    from miliary.exchange.folders.compare_store import write_comparison, write_series
    from miliary.model.saved.summarize_comparison import summarize_comparison, summarize_series

    if len(found) == 1:
        write_comparison(found[0], out)
        return summarize_comparison(found[0])
    write_series(found, out)
    return summarize_series(found)
