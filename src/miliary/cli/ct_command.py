"""`miliary ct`: one chest CT measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from miliary.cli.preview_table import show_preview
from miliary.cli.progress import Progress, output_options, progress_style
from miliary.cli.scan_table import show_scan

if TYPE_CHECKING:
    from miliary.model.lesion import PointLpsMm


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


@click.command()
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
@click.option(
    "--check", is_flag=True, help="Say what would be read, chosen and warned of; measure and write nothing."
)
@click.option(
    "--lungs",
    "lung_mask",
    type=click.Path(path_type=Path),
    metavar="MASK",
    help="A lung mask made elsewhere, in place of our own: NIfTI, NRRD, MetaImage, DICOM SEG, lobes.",
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
    check: bool,
    lung_mask: Path | None,
    quiet: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Find and measure every nodule on one chest CT.

    SCAN is a folder of DICOM files, a zip of them, one multi-frame DICOM file, or a NIfTI, NRRD or
    MetaImage file, or an earlier result that kept its volume. DIR must be new, or hold an earlier result,
    which is then replaced; with an earlier result as SCAN it is that one by default.
    """
    from miliary.exchange.folders.exam_read import is_ct_result

    if check:
        show_preview(scan, series=series, n_threads=threads, as_json=as_json)
        return
    from miliary.model.saved.codec import to_json
    from miliary.model.saved.summarize_scan import summarize
    from miliary.workflow.scan_measurement import MeasurementSettings, measure

    if out is None and not is_ct_result(scan):
        raise click.UsageError("Missing option '--out'.")
    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    result = measure(
        scan,
        out,
        settings=MeasurementSettings(
            series=series,
            keep_volume=not no_volume,
            with_completeness=not fast,
            lesion_seeds_lps_mm=lesions,
            lung_mask=lung_mask,
        ),
        apply_corrections=apply_corrections,
        n_threads=threads,
        progress=progress,
    )
    progress.finish()
    summary = summarize(result)
    if as_json:
        print(json.dumps(to_json(summary), ensure_ascii=False, allow_nan=False))
    elif not quiet:
        show_scan(summary)
        print(f"\nresult in {out or scan}")
