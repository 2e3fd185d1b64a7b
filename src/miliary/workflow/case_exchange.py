"""`export_case` and `import_case`: the facts about one patient to and from FHIR and Phenopackets."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary import __version__
from miliary.errors import CaseError, InputError, OutputError

if TYPE_CHECKING:
    from miliary.model.case import Case
    from miliary.model.saved.scan_summary import ScanSummary

_MAX_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What of a case goes to another program.

    Parameters
    ----------
    shift_days : int, optional
        Move every date by so many days.
    shift_key : path, optional
        Text file with a secret: every date moves by the patient's own step, derived from it.
    facts_only : bool
        Leave out what rules and scans derived.
    """

    shift_days: int | None = None
    shift_key: Path | None = None
    facts_only: bool = False


DEFAULT_EXPORT = ExportSettings()


def export_case(
    folder: str | Path,
    *,
    fhir: Path | None = None,
    phenopacket: Path | None = None,
    settings: ExportSettings = DEFAULT_EXPORT,
) -> dict[str, list[str]]:
    """Write a case for other programs.

    Parameters
    ----------
    folder : path
        Holds ``case.yaml``.
    fhir : path, optional
        New file for a FHIR R4 bundle, shaped on mCODE.
    phenopacket : path, optional
        New file for a GA4GH Phenopacket v2.
    settings : ExportSettings

    Returns
    -------
    dict of str to list of str
        For each file written, by its name, what its format could not hold.

    Raises
    ------
    CaseError
        The case, or the file of the secret, cannot be read.
    InputError
        Two ways of shifting dates were asked for.
    OutputError
        A file is there already or cannot be written.
    """
    from miliary.exchange.case.case_file import read_case, read_scans

    for path in (fhir, phenopacket):
        if path is not None and path.exists():
            raise OutputError(f"{path.name}: is there already; choose another name")
    case = read_case(folder)
    scans = {} if settings.facts_only else read_scans(case, folder)
    case, removed = _shift(case, settings)
    left: dict[str, list[str]] = {}
    if fhir is not None:
        bundle, lost = _make_bundle(case, scans, settings)
        _write_json(bundle, fhir)
        left[fhir.name] = [*removed, *lost]
    if phenopacket is not None:
        from miliary.exchange.phenopacket.packet import encode_phenopacket

        packet, lost = encode_phenopacket(case, created=dt.datetime.now(dt.UTC), version=__version__)
        _write_json(packet, phenopacket)
        left[phenopacket.name] = [*removed, *lost]
    return left


def _shift(case: Case, settings: ExportSettings) -> tuple[Case, tuple[str, ...]]:
    """The case with its dates moved, where that was asked for."""
    from miliary.exchange.case.date_shift import derive_shift_days, shift_dates

    days, key = settings.shift_days, settings.shift_key
    if days is not None and key is not None:
        raise InputError("shift_days and shift_key: give one of them, not both")
    if key is not None:
        try:
            secret = key.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise CaseError(f"{key.name}: cannot be read; give a text file with a secret in it") from None
        days = derive_shift_days(case.id, secret)
    return (case, ()) if days is None else shift_dates(case, days=days)


def _make_bundle(
    case: Case, scans: Mapping[str, ScanSummary], settings: ExportSettings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    from miliary.clinical.registry import assess_case
    from miliary.exchange.fhir.bundle import encode_fhir

    found = () if settings.facts_only else assess_case(case, scans=scans)
    is_shifted = settings.shift_days is not None or settings.shift_key is not None
    return encode_fhir(case, assessments=found, scans=scans, dates_shifted=is_shifted)


def import_case(file: str | Path, folder: str | Path) -> tuple[Case, tuple[str, ...]]:
    """Start a case from a file of another program. Names, birth dates and identifiers are never taken.

    Parameters
    ----------
    file : path
        A FHIR R4 bundle or a GA4GH Phenopacket v2.
    folder : path
        Gets ``case.yaml``.

    Returns
    -------
    Case
    tuple of str
        What was not taken: derived results, and what a case has no field for.

    Raises
    ------
    CaseError
        The file cannot be read as either.
    OutputError
        There is a case already, or none can be written there.
    """
    from miliary.exchange.case.encode import write_case

    case, left = _read_any(Path(file))
    write_case(case, folder)
    return case, left


def _read_any(file: Path) -> tuple[Case, tuple[str, ...]]:
    """A case from whichever of the two formats a file holds."""
    from miliary.exchange.fhir.bundle import decode_fhir
    from miliary.exchange.phenopacket.read_packet import decode_phenopacket

    try:
        if file.stat().st_size > _MAX_BYTES:
            raise CaseError(f"{file.name}: is larger than {_MAX_BYTES // 1_000_000} MB; give one patient")
        content = json.loads(file.read_text("utf-8-sig"))
        # Half of a pair of code units is no text: it could not be written again.
        json.dumps(content, ensure_ascii=False).encode("utf-8")
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


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{path.name}: cannot be written ({reason}); choose another place") from None
