"""`miliary case export` and `miliary case import`: a case to and from FHIR and Phenopackets."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from miliary import __version__
from miliary.errors import CaseError, OutputError

if TYPE_CHECKING:
    from miliary.model.case import Case
    from miliary.model.scan_summary import ScanSummary

_MAX_BYTES = 64_000_000


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
    from miliary.exchange.case.case_file import read_case, read_scans

    targets = [path for path in (fhir, phenopacket) if path is not None]
    if not targets:
        raise click.UsageError("Name a file to write: --fhir FILE, --phenopacket FILE, or both.")
    for path in targets:
        _check_new(path)
    case = read_case(folder)
    scans = {} if facts_only else read_scans(case, folder)
    case, removed = _shift(case, shift_days, shift_key)
    left: dict[str, list[str]] = {}
    if fhir is not None:
        bundle, lost = _make_bundle(
            case, scans, facts_only=facts_only, is_shifted=_is_shift(shift_days, shift_key)
        )
        _write_json(bundle, fhir)
        left[fhir.name] = [*removed, *lost]
    if phenopacket is not None:
        from miliary.exchange.phenopacket.packet import encode_phenopacket

        packet, lost = encode_phenopacket(case, created=dt.datetime.now(dt.UTC), version=__version__)
        _write_json(packet, phenopacket)
        left[phenopacket.name] = [*removed, *lost]
    _say_left(left, as_json=as_json, quiet=quiet, what="not in it")


def _is_shift(days: int | None, key: Path | None) -> bool:
    return days is not None or key is not None


def _shift(case: Case, days: int | None, key: Path | None) -> tuple[Case, tuple[str, ...]]:
    """The case with its dates moved, where that was asked for."""
    from miliary.exchange.case.date_shift import derive_shift_days, shift_dates

    if days is not None and key is not None:
        raise click.UsageError("Give --shift-days or --shift-key, not both.")
    if key is not None:
        try:
            secret = key.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise CaseError(f"{key.name}: cannot be read; give a text file with a secret in it") from None
        days = derive_shift_days(case.id, secret)
    return (case, ()) if days is None else shift_dates(case, days=days)


def _make_bundle(
    case: Case, scans: Mapping[str, ScanSummary], *, facts_only: bool, is_shifted: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    from miliary.clinical.registry import assess_case
    from miliary.exchange.fhir.bundle import encode_fhir

    found = () if facts_only else assess_case(case, scans=scans)
    return encode_fhir(case, assessments=found, scans=scans, dates_shifted=is_shifted)


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
    from miliary.exchange.case.encode import write_case

    case, left = _read_any(file)
    write_case(case, folder)
    _say_left({file.name: list(left)}, as_json=as_json, quiet=quiet, what="not taken")
    if not (quiet or as_json):
        click.echo(f"case {case.id} in {folder}; look it over with 'miliary case check'")


def _read_any(file: Path) -> tuple[Case, tuple[str, ...]]:
    """A case from whichever of the two formats a file holds."""
    from miliary.exchange.fhir.bundle import decode_fhir
    from miliary.exchange.phenopacket.read_packet import decode_phenopacket

    try:
        if file.stat().st_size > _MAX_BYTES:
            raise CaseError(f"{file.name}: is larger than {_MAX_BYTES // 1_000_000} MB; give one patient")
        content = json.loads(file.read_text("utf-8-sig"))
    except OSError:
        raise CaseError(f"{file.name}: cannot be read; give a FHIR bundle or a phenopacket") from None
    except (ValueError, RecursionError):
        raise CaseError(f"{file.name}: is not JSON; give a FHIR bundle or a phenopacket as JSON") from None
    try:
        if isinstance(content, dict) and "resourceType" in content:
            return decode_fhir(content, name=file.name)
        if isinstance(content, dict) and ("metaData" in content or "subject" in content):
            return decode_phenopacket(content, name=file.name)
    except CaseError:
        raise
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        raise CaseError(f"{file.name}: is not built as its format asks; check it with the sender") from None
    raise CaseError(f"{file.name}: is neither a FHIR bundle nor a phenopacket; give one of them")


def _check_new(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{path.name}: is there already; choose another name")


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{path.name}: cannot be written ({reason}); choose another place") from None


def _say_left(left: Mapping[str, list[str]], *, as_json: bool, quiet: bool, what: str) -> None:
    if as_json:
        click.echo(json.dumps({"left_out": left}, ensure_ascii=False))
    elif not quiet:
        for name, paths in left.items():
            click.echo(f"{name}: {len(paths)} {what}" + (":" if paths else ""))
            for path in paths:
                click.echo(f"  {path}")
