"""`miliary case export` and `miliary case import`: a case to and from FHIR and Phenopackets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--fhir", type=click.Path(path_type=Path), metavar="FILE", help="FHIR R4 bundle to write.")
@click.option("--phenopacket", type=click.Path(path_type=Path), metavar="FILE", help="Phenopacket to write.")
@click.option("--shift-days", type=int, metavar="N", help="Move every date by N days.")
@click.option(
    "--shift-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Move every date by the patient's own step, derived from the secret in FILE.",
)
@click.option("--facts-only", is_flag=True, help="Leave out what rules and scans derived.")
@click.option("--json", "as_json", is_flag=True, help="What was left out, as JSON.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def case_export(
    folder: Path,
    *,
    fhir: Path | None,
    phenopacket: Path | None,
    shift_days: int | None,
    shift_key: Path | None,
    facts_only: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the case in FOLDER for other programs, and list what their format cannot hold.

    The FHIR bundle is R4, shaped on mCODE; the phenopacket is GA4GH v2. Both name the patient by the case's
    id alone. With dates shifted, intervals stay, and texts that may hold a date are left out.
    """
    from miliary.workflow.case_exchange import ExportSettings, export_case

    if fhir is None and phenopacket is None:
        raise click.UsageError("Name a file to write: --fhir FILE, --phenopacket FILE, or both.")
    if shift_days is not None and shift_key is not None:
        raise click.UsageError("Give --shift-days or --shift-key, not both.")
    left = export_case(
        folder,
        fhir=fhir,
        phenopacket=phenopacket,
        settings=ExportSettings(shift_days=shift_days, shift_key=shift_key, facts_only=facts_only),
    )
    _print_left_out(left, as_json=as_json, quiet=quiet, what="not in it")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="What was not taken, as JSON.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def case_import(file: Path, folder: Path, *, as_json: bool, quiet: bool) -> None:
    """Start the case in FOLDER from FILE, a FHIR R4 bundle or a GA4GH Phenopacket v2.

    Names, birth dates and identifiers are never taken. Lists what else is not: derived results, and what a
    case has no field for.
    """
    from miliary.workflow.case_exchange import import_case

    case, left = import_case(file, folder)
    _print_left_out({file.name: left}, as_json=as_json, quiet=quiet, what="not taken")
    if not (quiet or as_json):
        click.echo(f"case {case.id} in {folder}; look it over with 'miliary case check'")


def _print_left_out(left: Mapping[str, Sequence[str]], *, as_json: bool, quiet: bool, what: str) -> None:
    if as_json:
        click.echo(json.dumps({"left_out": left}, ensure_ascii=False))
    elif not quiet:
        for name, paths in left.items():
            click.echo(f"{name}: {len(paths)} {what}" + (":" if paths else ""))
            for path in paths:
                click.echo(f"  {path}")
