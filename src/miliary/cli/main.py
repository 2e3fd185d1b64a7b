"""The command line: arguments -> read -> pipeline -> write.

Progress goes to standard error, the result to standard output. Exit codes: 0 done, 2 bad input or
usage, 130 interrupted, 1 a defect of ours. Libraries are loaded by the command that needs them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from miliary import __version__
from miliary.cli.case_commands import case
from miliary.cli.compare_command import compare
from miliary.cli.demo_command import demo
from miliary.cli.memory import keep_freed_memory
from miliary.cli.progress import Progress, count_cores, output_options, progress_style
from miliary.cli.view_command import view
from miliary.errors import InputError, MiliaryError, NoLungsError

if TYPE_CHECKING:
    from miliary.clinical.rulebook import Row, RuleBook
    from miliary.image.simulate import SimulatedScan
    from miliary.model.corrections import CorrectionSet
    from miliary.model.ct_result import CtResult
    from miliary.model.lesion import PointLpsMm
    from miliary.model.scan import Scan
    from miliary.model.scan_summary import (
        CompletenessSummary,
        CorrectedSummary,
        CorrectionSummary,
        DiameterSummary,
        LesionSummary,
        ScanSummary,
    )

# The simulator's words, here so that the help needs none of its libraries; a test compares them.
PATTERNS = ("random", "perilymphatic", "centrilobular", "none")
SHAPES = ("sphere", "ellipsoid", "lobulated")

EXIT_DEFECT, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="miliary", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure miliary lung disease on chest CT."""


def _parse_points(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[PointLpsMm, ...]:
    """Points from texts of three numbers, as the option `--lesion` takes them."""
    points = []
    for value in values:
        try:
            x, y, z = (float(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(
                f"{value!r} is not a point; give three numbers in mm, such as --lesion=-62.5,14,201",
                ctx=context,
                param=parameter,
            ) from None
        points.append((x, y, z))
    return tuple(points)


@cli.command()
@click.argument("scan", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the result.")
@click.option(
    "--series", metavar="S", help="Which series of several: its number, or its place counted from 1."
)
@click.option("--no-volume", is_flag=True, help="Keep no copy of the scan; a viewer will have none to show.")
@click.option("--fast", is_flag=True, help="Skip completeness: counts and volumes stay uncorrected.")
@click.option("--apply-corrections", is_flag=True, help="Measure with what a reader corrected of DIR.")
@click.option(
    "--lesion",
    "lesions",
    multiple=True,
    metavar="X,Y,Z",
    callback=_parse_points,
    help="A point in a large lesion, patient LPS in mm; again for more. Others are found as well.",
)
@output_options
def ct(
    scan: Path,
    *,
    out: Path | None,
    series: str | None,
    no_volume: bool,
    fast: bool,
    apply_corrections: bool,
    lesions: tuple[PointLpsMm, ...],
    quiet: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Find and measure every nodule on one chest CT.

    SCAN is a folder of DICOM files, a zip of them, one multi-frame DICOM file, or a NIfTI, NRRD or
    MetaImage file, or an earlier result that kept its volume. DIR must be new, or hold an earlier result,
    which is then replaced; with an earlier result as SCAN it is that one by default.
    """
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.exam_read import is_ct_result
    from miliary.image.kernels.compile_ahead import compiling_ahead, name_stages

    is_result = is_ct_result(scan)
    if out is None:
        if not is_result:
            raise click.UsageError("Missing option '--out'.")
        out = scan
    check_output(out)
    corrections = _read_corrections(out) if apply_corrections else None
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    with compiling_ahead(*name_stages(with_completeness=not fast), n_threads=threads or count_cores()):
        progress("read")
        volume = _read(scan, series, threads, is_result=is_result)
        try:
            result = _measure(
                volume,
                out,
                progress,
                threads,
                keep_volume=not no_volume,
                corrections=corrections,
                with_completeness=not fast,
                lesion_seeds_lps_mm=lesions,
            )
        except NoLungsError as error:
            # The pipeline sees voxels, not files: the name is added here.
            raise NoLungsError(f"{scan.name}: {error}") from None
    _show_result(result, quiet=quiet, as_json=as_json)
    if not (quiet or as_json):
        print(f"\nresult in {out}")


def _read(scan: Path, series: str | None, threads: int | None, *, is_result: bool) -> Scan:
    """A scan from its files, or the copy that an earlier result kept."""
    if is_result:
        from miliary.exchange.folders.saved_scan import read_saved_scan

        return read_saved_scan(scan)
    from miliary.exchange.ct_read import read_ct

    return read_ct(scan, series=series, n_threads=threads)


@cli.command()
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder for the scan."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Which patient.")
@click.option("--nodules", default=1000, show_default=True, type=click.IntRange(min=0), help="How many.")
@click.option(
    "--diameter",
    nargs=2,
    default=(1.0, 3.0),
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="MIN MAX",
    help="Range of diameters in mm.",
)
@click.option(
    "--density",
    nargs=2,
    default=(20.0, 60.0),
    show_default=True,
    type=float,
    metavar="MIN MAX",
    help="Range of densities in HU.",
)
@click.option("--pattern", default="random", show_default=True, type=click.Choice(PATTERNS))
@click.option("--shape", type=click.Choice(SHAPES), help="Shape of the nodules; mixed by default.")
@click.option("--calcified", default=0, show_default=True, type=click.IntRange(min=0), help="How many more.")
@click.option("--lesion", is_flag=True, help="Add a cavitary lesion of 19 mm.")
@click.option("--hard-negatives", is_flag=True, help="Add scars, septa, emphysema and the like.")
@click.option(
    "--slice-thickness",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.4, 10.0),
    help="Thickness and distance of the slices in mm.",
)
@click.option("--pixel", default=0.7, show_default=True, type=click.FloatRange(0.3, 4.0), help="In mm.")
@click.option("--blur", default=1.4, show_default=True, type=click.FloatRange(0.4, 5.0), help="FWHM in mm.")
@click.option("--noise", default=20.0, show_default=True, type=click.FloatRange(0.0, 300.0), help="SD in HU.")
@click.option(
    "--grid",
    nargs=3,
    type=click.IntRange(16, 1024),
    metavar="NZ NY NX",
    help="Voxels; by default 358 x 358 x 350 mm.",
)
@click.option("--dicom", is_flag=True, help="Write a DICOM series in place of a NIfTI file.")
@output_options
def simulate(
    *, out: Path, seed: int, dicom: bool, quiet: bool, as_json: bool, threads: int | None, **settings: Any
) -> None:
    """Make a chest CT with known nodules.

    Writes volume.nii.gz (or dicom/), truth.csv with the columns of nodules.csv plus kind, density_hu
    and shape, truth_lungs.nii.gz, and simulation.json with the settings. The same settings and seed
    give the same scan.
    """
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.kinds import SIMULATION_KIND
    from miliary.exchange.folders.simulation_store import write_simulation

    check_output(out, kind=SIMULATION_KIND)
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    progress("simulate")
    simulated = _simulate(seed, threads, **settings)
    progress("write")
    write_simulation(
        simulated.scan,
        simulated.truth,
        simulated.lung_labels,
        out,
        parameters=settings,
        seed=seed,
        as_dicom=dicom,
    )
    progress.finish()
    if as_json:
        kinds = [str(kind) for kind in simulated.truth["kind"]]
        print(json.dumps({"origin": "simulated", **{k: kinds.count(k) for k in sorted(set(kinds))}}))
    elif not quiet:
        print(f"\nsimulated scan in {out}")


def _simulate(seed: int, threads: int | None, **settings: Any) -> SimulatedScan:
    """Turn the options of the command into a simulated scan."""
    from miliary.image.simulate import DominantLesion, NodulePopulation, ScanProtocol, simulate_scan

    pixel, thickness = settings["pixel"], settings["slice_thickness"]
    n_pixels = round(358.0 / pixel)
    protocol = ScanProtocol(
        shape_zyx=settings["grid"] or (round(350.0 / thickness), n_pixels, n_pixels),
        spacing_zyx_mm=(thickness, pixel, pixel),
        psf_fwhm_mm=settings["blur"],
        slice_thickness_mm=thickness,
        noise_sd_hu=settings["noise"],
    )
    population = NodulePopulation(
        n=settings["nodules"],
        diameter_mm=settings["diameter"],
        density_hu=settings["density"],
        pattern=settings["pattern"] if settings["nodules"] else "none",
        shape=settings["shape"],
    )
    return simulate_scan(
        protocol,
        seed=seed,
        population=population,
        lesion=DominantLesion() if settings["lesion"] else None,
        n_calcified=settings["calcified"],
        hard_negatives=settings["hard_negatives"],
        n_threads=threads or count_cores(),
    )


cli.add_command(view)
cli.add_command(compare)
cli.add_command(demo)


cli.add_command(case)


@cli.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page; report.html in STUDY by default.",
)
@click.option("--pdf", is_flag=True, help="Also as PDF, by an installed Chromium or WeasyPrint.")
@click.option("--care", is_flag=True, help="Also a draft of a case report (DOCX and Markdown).")
@click.option("--lang", default="en", show_default=True, type=click.Choice(("en", "ja")), help="Language.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def report(study: Path, *, out: Path | None, pdf: bool, care: bool, lang: str, quiet: bool) -> None:
    """Show saved results as one page that needs nothing beside it.

    STUDY is a study folder, or what 'miliary ct', 'compare' or 'case run' wrote. Nothing is measured or
    judged anew; what is missing or damaged is said on the page and the rest is shown.
    """
    from miliary.exchange.folders.study_file import read_study
    from miliary.report import write_report

    for path in write_report(
        read_study(study), out or study / "report.html", pdf=pdf, care=care, language=lang
    ):
        if not quiet:
            print(path)


@cli.group()
def rules() -> None:
    """Look at the rules that cases are checked against."""


@rules.command("list")
def rules_list() -> None:
    """List every system and edition with its rows."""
    from miliary.clinical.rulebook import list_rules, load_rules

    for system, edition in list_rules():
        book = load_rules(system, edition)
        as_of = f", as of {book.as_of}" if book.as_of else ""
        print(f"{book.label:<24} {book.title} ({len(book.all_rows())} rows{as_of})")


@rules.command("show")
@click.argument("system")
@click.argument("edition", default="")
@click.option("--term", default="", help="Only rows whose id or words contain this.")
def rules_show(system: str, edition: str, *, term: str) -> None:
    """Show rows of SYSTEM EDITION with their sources."""
    from miliary.clinical.rulebook import find_edition, load_rules

    book = load_rules(system, edition or find_edition(system))
    found = [row for row in book.all_rows() if term.lower() in _row_words(row)]
    if not found:
        raise InputError(f"{book.label}: no row holds {term!r}; leave out --term to see all")
    for row in found:
        print(_describe_row(row, book))


def _row_words(row: Row) -> str:
    data = json.dumps(dict(row.data), default=str, ensure_ascii=False)
    return f"{row.id} {data}".lower().replace("_", " ") + f" {row.id} {data}".lower()


def _describe_row(row: Row, book: RuleBook) -> str:
    """One row: its data, then what it rests on."""
    data = ", ".join(f"{name}: {value}" for name, value in row.data.items())
    as_of = row.as_of or book.as_of
    sources = (book.citations[name] for name in row.citations)
    cited = "; ".join(c.text + (f", doi {c.doi}" if c.doi else "") for c in sources)
    drives = "" if row.drives else "; shown only, no verdict rests on it"
    trust = f"basis {row.basis}, confidence {row.confidence}" + (f", as of {as_of}" if as_of else "") + drives
    return f"{row.table} / {row.id}\n  {data}\n  {trust}\n  {cited}"


def _read_corrections(out: Path) -> CorrectionSet:
    """What readers changed of the result that goes to a folder."""
    from miliary.exchange.folders.corrections_file import find_corrections_file, read_corrections
    from miliary.model.corrections import collect_corrections

    path = find_corrections_file(out)
    if not path.is_file():
        raise InputError(f"{path.name}: is not there; correct {out.name} with 'miliary view' first")
    return collect_corrections(read_corrections(path), out.resolve().name)


def _measure(
    volume: Scan,
    out: Path,
    progress: Progress,
    threads: int | None,
    *,
    keep_volume: bool = True,
    corrections: CorrectionSet | None = None,
    with_completeness: bool = True,
    lesion_seeds_lps_mm: Sequence[PointLpsMm] = (),
) -> CtResult:
    """Measure a scan in memory and write its folder."""
    from miliary.exchange.folders.ct_store import load_writers, write_ct_result
    from miliary.model.ct_result import Stage
    from miliary.pipeline import find_nodules

    # Compiled loops leave the interpreter free meanwhile.
    threading.Thread(target=load_writers, daemon=True).start()
    result = find_nodules(
        volume,
        progress=progress,
        n_threads=threads,
        corrections=corrections,
        with_completeness=with_completeness,
        lesion_seeds_lps_mm=lesion_seeds_lps_mm,
    )
    progress.finish()
    before = tuple(Stage(name, progress.seconds[name]) for name in ("read",) if name in progress.seconds)
    # A scan kept with a result brings the warnings that measuring it gave: each is said once.
    warned = tuple(dict.fromkeys(result.warnings))
    result = replace(result, stages=(*before, *result.stages), warnings=warned)
    progress("write")
    write_ct_result(result, out, scan=volume if keep_volume else None)
    progress.finish()
    return result


def _show_result(result: CtResult, *, quiet: bool, as_json: bool) -> None:
    """The result on standard output: one JSON object, a table, or nothing."""
    from miliary.model.codec import to_json
    from miliary.model.summarize_scan import summarize

    summary = summarize(result)
    if as_json:
        print(json.dumps(to_json(summary), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        _print_summary(summary)


def _print_summary(summary: ScanSummary) -> None:
    """A table a person can read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _summary_rows(summary):
        table.add_row(name, text)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print()
    console.print(table)


def _summary_rows(summary: ScanSummary) -> list[tuple[str, str]]:
    """Name and text of each line of the summary."""
    nodules, lungs, blur = summary.nodules, summary.lungs, summary.psf
    sides = [
        f"{side}: {part.count} (" + ", ".join(f"{zone} {n}" for zone, n in part.by_zone.items()) + ")"
        for side, part in nodules.by_side.items()
    ]
    volume = f"{_text(nodules.total_volume_mm3, ',.0f')} +- {_text(nodules.total_volume_mm3_err, ',.0f')}"
    number = f"{_text(nodules.count, ',')}   {_text(nodules.count_per_litre, '.4g')} per litre of lung"
    rows = [
        ("nodules", number),
        ("total volume", f"{volume} mm3 (solid-equivalent)"),
        *_describe_corrected(summary.corrected, summary.completeness),
        ("diameter", _describe_sizes(nodules.diameter_mm)),
        *_describe_lesions(summary.lesions),
        *(("" if place else "where", text) for place, text in enumerate(sides)),
        ("attenuation", ", ".join(f"{name} {n}" for name, n in nodules.by_attenuation.items())),
        ("calcified, apart", _text(summary.calcified.count, "d")),
        *_describe_corrections(summary.corrections),
        ("lungs", f"right {_text(lungs.right_ml, ',.0f')} mL, left {_text(lungs.left_ml, ',.0f')} mL"),
        ("noise", f"{_text(summary.noise.sd_hu, '.1f')} HU"),
        (
            "blur (FWHM)",
            f"{_text(blur.fwhm_xy_mm, '.2f')} mm in plane, {_text(blur.fwhm_z_mm, '.2f')} mm along z",
        ),
    ]
    return rows + [("warning", f"{w.message} [{w.code}]") for w in summary.warnings]


def _describe_corrected(
    corrected: CorrectedSummary, completeness: CompletenessSummary
) -> list[tuple[str, str]]:
    """What is there, not only what was found, and what size the scan shows at all."""
    count, volume = corrected.count_ci95, corrected.total_volume_mm3_ci95
    if corrected.count is None or corrected.total_volume_mm3 is None or count is None or volume is None:
        return [("corrected", corrected.reason_of("count"))]
    half, most = completeness.diameter_50_mm, completeness.diameter_90_mm
    least = f"{_text(corrected.min_diameter_mm, '.2f')} mm"
    number = f"{corrected.count:,.0f} ({count[0]:,.0f} to {count[1]:,.0f}) of {least} or more"
    size = f"{corrected.total_volume_mm3:,.0f} ({volume[0]:,.0f} to {volume[1]:,.0f}) mm3"
    shares = f"half are found from {_text(half, '.2f')} mm, nine tenths from {_text(most, '.2f')} mm"
    return [("corrected", f"{number}, {size}"), ("completeness", shares)]


def _describe_lesions(lesions: Sequence[LesionSummary]) -> list[tuple[str, str]]:
    """A line for each large lesion."""
    rows = []
    for lesion in lesions:
        words = [f"{_text(lesion.long_axis_mm, '.1f')} x {_text(lesion.short_axis_mm, '.1f')} mm"]
        if lesion.is_cavitary:
            wall = (lesion.wall_thickness_mm, lesion.wall_thickness_min_mm, lesion.wall_thickness_max_mm)
            words.append("cavitary, wall {} mm ({} to {})".format(*(_text(mm, ".1f") for mm in wall)))
        words.append(f"{lesion.lobe or f'{lesion.side} lung'}, {lesion.zone} zone")
        rows.append((f"lesion {lesion.id}", ", ".join(words)))
    return rows


def _describe_corrections(applied: CorrectionSummary | None) -> list[tuple[str, str]]:
    """A line on what a reader changed, where a reader was asked."""
    if applied is None:
        return []
    said = f"rejected {applied.n_rejected}, added {applied.n_added}"
    return [("by a reader", f"{said}, lesions corrected {applied.n_lesions}")]


def _text(value: float | None, style: str) -> str:
    return "not known" if value is None else format(value, style)


def _describe_sizes(sizes: DiameterSummary) -> str:
    if not sizes.n:
        return "no nodules"
    low, high = _text(sizes.p10, ".2f"), _text(sizes.p90, ".2f")
    return f"median {_text(sizes.median, '.2f')} mm, 10th to 90th percentile {low} to {high} mm"


def _on_terminate(_signal: int, _frame: object) -> NoReturn:
    """Let a polite kill clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and say how it went.

    Parameters
    ----------
    arguments : sequence of str, optional
        `sys.argv` without the program by default.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input or usage, 130 interrupted, 1 a defect of ours.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=arguments, prog_name="miliary", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_INPUT
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "miliary"
        return _fail(f"{error.format_message()} See '{command} --help'.", EXIT_INPUT, arguments)
    except InputError as error:
        return _fail(str(error), EXIT_INPUT, arguments)
    except MiliaryError as error:
        return _fail(str(error), EXIT_DEFECT, arguments)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing was written", EXIT_INTERRUPTED, arguments)
    except Exception as error:  # noqa: BLE001  the last net: no traceback reaches a user
        return _fail(_describe_defect(error), EXIT_DEFECT, arguments)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, arguments: Sequence[str]) -> int:
    """One line on standard error, in the form that was asked for."""
    if os.environ.get("MILIARY_DEBUG") == "1":
        traceback.print_exc()
    line = " ".join(message.split())
    if "--json" in arguments:
        line = json.dumps({"event": "error", "message": line, "exit_code": code}, ensure_ascii=False)
    else:
        # A stage may have left its name on the line.
        line = ("\r" if sys.stderr.isatty() else "") + f"miliary: error: {line}"
    print(line, file=sys.stderr)
    return code


def _describe_defect(error: Exception) -> str:
    """Where it broke, without its text: that may quote a file's content or path."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else "an unknown place"
    if isinstance(error, MemoryError):
        return f"not enough memory (in {place}); close other programs or use a smaller scan"
    return (
        f"a defect of miliary: {type(error).__name__} in {place}; "
        "set MILIARY_DEBUG=1 to see the details, and please report it"
    )


def entry() -> NoReturn:
    """The `miliary` program."""
    signal.signal(signal.SIGTERM, _on_terminate)
    # Libraries' warnings may quote values of a header; what matters is in the result's own warnings.
    warnings.simplefilter("ignore")
    keep_freed_memory()
    sys.exit(main())


if __name__ == "__main__":
    entry()
