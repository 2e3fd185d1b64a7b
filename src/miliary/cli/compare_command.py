"""`miliary compare`: two or more scans of one patient -> read -> compare -> write."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from miliary.cli.progress import Progress, count_cores, output_options, progress_style
from miliary.errors import InputError, NoLungsError

if TYPE_CHECKING:
    from miliary.model.comparison import Comparison, Exam
    from miliary.model.scan import ScanWarning


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
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.exam_read import is_ct_result
    from miliary.image.kernels.compile_ahead import compiling_ahead, name_stages
    from miliary.model.comparison_summary import COMPARISON_KIND, SERIES_KIND

    paths = (baseline, followup, *later)
    check_output(out, kind=SERIES_KIND if later else COMPARISON_KIND)
    if days and len(days) != len(paths) - 1:
        raise click.UsageError("Give --days once for each follow-up.")
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    measured = () if all(map(is_ct_result, paths)) else name_stages(with_completeness=not fast)
    with compiling_ahead(*measured, "compare", n_threads=threads or count_cores()):
        found = compare_paths(
            paths,
            days=days,
            treatment_start=treatment_start,
            is_fast=fast,
            progress=progress,
            threads=threads,
        )
    progress("write")
    summary = write_found(found, out)
    progress.finish()
    if as_json:
        print(json.dumps(summary, ensure_ascii=False, allow_nan=False))
    elif not quiet:
        for comparison in found:
            show_comparison(comparison)
        if later:
            print(f"\nnadir: {summary['nadir'] or 'not known'}")
        print(f"\nresult in {out}")


@dataclass(frozen=True)
class _When:
    """What is known of patient and times: days from the baseline to each follow-up and to the treatment."""

    days: tuple[int | None, ...]
    to_treatment: int | None
    is_one_patient: bool
    warnings: tuple[ScanWarning, ...]


def compare_paths(
    paths: Sequence[Path],
    *,
    days: Sequence[int],
    treatment_start: dt.datetime | None,
    is_fast: bool,
    progress: Progress,
    threads: int | None,
) -> list[Comparison]:
    """Read the first scan and each later one, and compare them with it."""
    from miliary.followup import compare_scans

    progress("check")
    when = _check_identities(paths, days, treatment_start)
    series = _choose_series(paths)
    exams = [
        _read_exam(path, label, one, progress, threads, is_fast=is_fast)
        for path, label, one in zip(paths, _label(paths), series, strict=True)
    ]
    found = []
    for path, exam, apart in zip(paths[1:], exams[1:], when.days, strict=True):
        try:
            found.append(
                compare_scans(
                    exams[0],
                    exam,
                    days_between=apart,
                    days_to_treatment=when.to_treatment,
                    is_one_patient=when.is_one_patient,
                    warnings=when.warnings,
                    progress=progress,
                    n_threads=threads,
                )
            )
        except InputError as error:
            # The comparison knows scans, not files: their names are added here.
            raise InputError(f"{paths[0].name}, {path.name}: {error}") from None
    return found


def _label(paths: Sequence[Path]) -> list[str]:
    """What the result calls each scan: the name of a result folder, or only its place in the order."""
    from miliary.exchange.folders.exam_read import is_ct_result

    usual = ["baseline", "followup", *(f"followup-{n}" for n in range(2, len(paths)))]
    named = [
        path.resolve().name if is_ct_result(path) else word for path, word in zip(paths, usual, strict=True)
    ]
    return named if len(set(named)) == len(named) else usual


def _check_identities(
    paths: Sequence[Path], days: Sequence[int], treatment_start: dt.datetime | None
) -> _When:
    """Refuse scans of different patients or in the wrong order; what cannot be checked is a warning."""
    from miliary.exchange.dicom.identity import find_patient_conflict, read_identity
    from miliary.model.scan import ScanWarning

    known = [read_identity(path) for path in paths]
    conflict = find_patient_conflict(known)
    if conflict is not None:
        one, other = (paths[place].name for place in conflict)
        raise InputError(
            f"{one} and {other} show different patients (id or birth date); give one patient's scans"
        )
    for place in range(1, len(paths)):
        before, after = known[place - 1].day, known[place].day
        if before is not None and after is not None and after < before:
            raise InputError(
                f"{paths[place].name} was made {before - after} days before {paths[place - 1].name}; "
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
    return _When(tuple(days) or apart, to_treatment, is_one_patient, tuple(warnings))


def _choose_series(paths: Sequence[Path]) -> list[str | None]:
    """Which series to read of each study: the best-matched pair, where there is a choice.

    The baseline is matched with the first follow-up; later ones are matched with the baseline so chosen.
    """
    from miliary.clinical.comparability import choose_series_pair
    from miliary.exchange.dicom.identity import list_series
    from miliary.exchange.folders.exam_read import is_ct_result, read_series_facts

    results = [is_ct_result(path) for path in paths]
    listed = [
        (read_series_facts(path),) if is_result else list_series(path)
        for path, is_result in zip(paths, results, strict=True)
    ]
    chosen: list[str | None] = [None] * len(paths)
    baseline = listed[0]
    for place in range(1, len(paths)):
        if not (baseline and listed[place]) or max(len(baseline), len(listed[place])) < 2:
            continue
        i, j, _ = choose_series_pair(baseline, listed[place])
        if not results[0]:
            chosen[0] = baseline[i].key
        if not results[place]:
            chosen[place] = listed[place][j].key
        baseline = (baseline[i],)
    return chosen


def _read_exam(
    path: Path,
    label: str,
    series: str | None,
    progress: Progress,
    threads: int | None,
    *,
    is_fast: bool,
) -> Exam:
    """One side: read from a result folder, or measured here."""
    from miliary.exchange.folders.exam_read import is_ct_result, read_exam

    progress(f"read {label}")
    if is_ct_result(path):
        from dataclasses import replace

        return replace(read_exam(path), name=label)
    from miliary.exchange.ct_read import read_ct
    from miliary.followup import make_exam
    from miliary.pipeline import find_nodules

    scan = read_ct(path, series=series, n_threads=threads)
    progress(f"measure {label}")
    try:
        return make_exam(label, scan, find_nodules(scan, n_threads=threads, with_completeness=not is_fast))
    except NoLungsError as error:
        raise NoLungsError(f"{path.name}: {error}") from None


def write_found(found: Sequence[Comparison], out: Path) -> dict[str, Any]:
    """Write one comparison, or a series of them; returns what the main file holds."""
    from miliary.exchange.folders.compare_store import write_comparison, write_series
    from miliary.model.codec import to_json
    from miliary.model.summarize_comparison import summarize_comparison, summarize_series

    if len(found) == 1:
        write_comparison(found[0], out)
        return to_json(summarize_comparison(found[0]))
    write_series(found, out)
    return to_json(summarize_series(found))


def show_comparison(found: Comparison) -> None:
    """A table a person can read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _rows(found):
        table.add_row(name, text)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print()
    console.print(table)


def _rows(found: Comparison) -> list[tuple[str, str]]:
    from miliary.model.nodules import Fate

    total, lesion = found.total, found.lesion
    simulated = "   (simulated, no patient)" if found.is_simulated else ""
    fates = ", ".join(f"{found.tracks.count(fate):,} {fate.value}" for fate in Fate)
    apart = "" if found.days_between is None else f", {found.days_between} days apart"
    rows = [
        (
            f"{found.baseline.name} -> {found.followup.name}",
            f"{found.comparability.verdict.value}{apart}{simulated}",
        ),
        ("because", "; ".join(found.comparability.reasons)),
        (
            "volume ratio",
            f"{_interval(total.volume_ratio)}   (nodules of {found.min_diameter_mm:.2g} mm and more)",
        ),
        ("count ratio", f"{_interval(total.count_ratio)}   ({found.count_diameter_mm:.2g} mm and more)"),
        ("category", f"{found.category.value}: {found.category_reason} (exploratory, by volume, not RECIST)"),
        ("nodules", f"{total.baseline.n_reported:,} -> {total.followup.n_reported:,} reported"),
        ("tracks", fates),
        ("lesion", f"{_mm(lesion.baseline_mm)} -> {_mm(lesion.followup_mm)}"),
        (
            "RECIST 1.1, targets",
            found.recist.target_response or found.recist.reason_of("target_response"),
        ),
    ]
    rows += [
        ("new, for a reader", f"{o.kind.value.replace('_', ' ')} of {o.volume_ml:.0f} mL, {o.side} {o.zone}")
        for o in found.opacities
    ]
    return rows + [("warning", f"{w.message} [{w.code}]") for w in found.warnings]


def _interval(ratio: Any) -> str:
    if ratio.value is None:
        return f"not told: {ratio.reason}"
    return f"{ratio.value:.3f}, 95 % interval {ratio.low:.3f} to {ratio.high:.3f}"


def _mm(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} mm"
