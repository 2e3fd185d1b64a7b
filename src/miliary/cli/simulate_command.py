"""`miliary simulate`: a chest CT with known nodules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from miliary.cli.progress import Progress, output_options, progress_style

# The simulator's words, here so that the help needs none of its libraries; a test compares them.
PATTERNS = ("random", "perilymphatic", "centrilobular", "none")
SHAPES = ("sphere", "ellipsoid", "lobulated")


@click.command()
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
    from miliary.workflow.simulation_run import SimulationSettings, write_simulated_scan

    progress = Progress(progress_style(quiet=quiet, as_json=as_json))
    simulated = write_simulated_scan(
        out,
        seed=seed,
        settings=SimulationSettings(**settings),
        as_dicom=dicom,
        n_threads=threads,
        progress=progress,
    )
    progress.finish()
    if as_json:
        kinds = [str(kind) for kind in simulated.truth["kind"]]
        print(json.dumps({"origin": "simulated", **{k: kinds.count(k) for k in sorted(set(kinds))}}))
    elif not quiet:
        print(f"\nsimulated scan in {out}")
