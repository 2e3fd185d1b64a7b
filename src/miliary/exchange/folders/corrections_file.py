"""`corrections.jsonl`: what readers changed, one line each, only ever appended.

In a study it stands at the top, ``STUDY/corrections.jsonl``; for a single result folder beside it, as
``<folder>.corrections.jsonl``, so that measuring the scan anew does not touch it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from miliary.errors import InputError, OutputError
from miliary.model.corrections import Correction, CorrectionKind, correction_from_dict, correction_to_dict

FILE_NAME = "corrections.jsonl"
MAX_BYTES = 64 * 2**20


def find_corrections_file(folder: str | Path) -> Path:
    """Where the corrections of a study, or of one scan's result folder, stand or would stand.

    Parameters
    ----------
    folder : path
        A study, a scan's folder in a study (``STUDY/ct/<label>``), or a single result folder.
    """
    here = Path(os.path.abspath(folder))  # noqa: PTH100  a link is not followed: its name is the label
    if (here / "study.json").is_file() or (here / "ct").is_dir():
        return here / FILE_NAME
    for above in list(here.parents)[:3]:
        if (above / "study.json").is_file():
            return above / FILE_NAME
    study = here.parent.parent
    if here.parent.name == "ct" and not (study / "scan.json").exists():
        return study / FILE_NAME
    return here.with_name(f"{here.name}.{FILE_NAME}")


def read_corrections(path: str | Path) -> tuple[Correction, ...]:
    """Every correction of a file, in order; none where there is no file.

    Raises
    ------
    InputError
        Naming the file and the line that cannot be read.
    """
    file = Path(path)
    if not file.exists():
        return ()
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"{file.name}: larger than 64 MiB, which no reader's work is; check the file")
    return _parse(file.read_bytes(), file.name)


def append_correction(path: str | Path, content: Mapping[str, Any]) -> Correction:
    """Add one correction at the end of the file, with its number and the time.

    Parameters
    ----------
    path : path
        Made where it does not exist.
    content : mapping
        ``reader``, ``scan``, ``kind`` and what the kind takes.

    Returns
    -------
    Correction
        As it was saved.

    Raises
    ------
    InputError
        The content does not make a correction, or the file is damaged; nothing is written then.
    OutputError
        The file cannot be written.
    """
    file = Path(path)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        # Far above any number to come: what it withdraws is checked once its own number is known.
        new = correction_from_dict({**content, "number": 2**31, "time": time})
    except ValueError as error:
        raise InputError(f"the correction cannot be saved: {error}") from None
    try:
        with file.open("a+b") as handle:
            _lock(handle.fileno())
            handle.seek(0)
            known = _parse(handle.read(), file.name)
            new = replace(new, number=len(known) + 1)
            _check_withdrawal(new, known)
            line = json.dumps(correction_to_dict(new), ensure_ascii=False, allow_nan=False)
            handle.write(line.encode("utf-8") + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the correction cannot be saved: {error}") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{file.name}: cannot write there ({reason}); check the folder") from error
    return new


def _parse(data: bytes, name: str) -> tuple[Correction, ...]:
    found: list[Correction] = []
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not UTF-8 text; restore it from a copy") from None
    if lines[-1]:
        raise InputError(f"{name} line {len(lines)}: ends in the middle; complete or remove the line")
    for number, line in enumerate(lines[:-1], 1):
        try:
            found.append(_parse_line(line, found))
        except ValueError as error:
            raise InputError(f"{name} line {number}: {error}; repair or remove the line") from None
    return tuple(found)


def _parse_line(line: str, known: Sequence[Correction]) -> Correction:
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004  reported like any other bad line
    correction = correction_from_dict(content)
    if correction.number != len(known) + 1:
        raise ValueError(f"has number {correction.number}, expected {len(known) + 1}")
    _check_withdrawal(correction, known)
    return correction


def _check_withdrawal(new: Correction, known: Sequence[Correction]) -> None:
    """Only what was said of the same scan can be taken back, and that once and for all."""
    if new.withdraws is None:
        return
    old = known[new.withdraws - 1]
    if old.scan != new.scan:
        raise ValueError(f"correction {new.withdraws} is of another scan")
    if old.kind is CorrectionKind.WITHDRAW:
        raise ValueError(f"correction {new.withdraws} took one back; make that one again")


def _lock(descriptor: int) -> None:
    """Keep two viewers from giving one number twice, where the system has such locks."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
