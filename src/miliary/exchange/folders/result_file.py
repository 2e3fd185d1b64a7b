"""One saved JSON file of a result: read, checked for its kind and version, and decoded.

This is the only reader of `scan.json`, `response.json`, `series.json`, `case.json`, `study.json` and
`figures.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from miliary.errors import RecordError
from miliary.exchange.folders.kinds import KNOWN_MAJOR, ResultFile
from miliary.model.saved.codec import Decoded, FileWarning, from_json

T = TypeVar("T")

# Codes of warnings about the version of a file's schema; words of the report's catalog.
VERSION_CODES = ("newer", "older", "no_version")


class ResultFileError(RecordError):
    """A saved file cannot be used.

    Parameters
    ----------
    code : str
        ``missing``, ``damaged`` or ``not_a_result``.
    message : str
        One line for the user.
    detail : str
        What is wrong, without the name of the file.
    """

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class LoadedFile(Generic[T]):
    """A file's record, what was passed over in reading it, and its plain JSON values."""

    record: T
    warnings: tuple[FileWarning, ...]
    content: Mapping[str, Any]


def load_result_file(path: Path, file: ResultFile, *, name: str = "") -> LoadedFile[Any]:
    """Read one saved file.

    Parameters
    ----------
    path : path
    file : ResultFile
        What it should be.
    name : str
        How messages call it; folder and file name where not given.

    Returns
    -------
    LoadedFile
        With a warning of code ``newer``, ``older`` or ``no_version`` where its schema is not of the known
        major version.

    Raises
    ------
    ResultFileError
        It is not there, no JSON, not of this kind, or contradicts the types of its record.
    """
    called = name or f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise ResultFileError("missing", f"{called}: is not there; run '{file.command}' again")
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
        if "\\ud" in text.lower():
            # Half of a pair of code units is no text: it could not be shown or written again.
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (OSError, ValueError, RecursionError) as error:
        kind = type(error).__name__
        message = f"{called}: is damaged ({kind}); run '{file.command}' again"
        raise ResultFileError("damaged", message, kind) from error
    if not isinstance(content, dict) or content.get("kind", file.kind) != file.kind:
        raise ResultFileError("not_a_result", f"{called}: was not written by '{file.command}'")
    try:
        found: Decoded[Any] = from_json(file.record, content, name=called)
    except (RecordError, RecursionError) as error:
        detail = str(error).removeprefix(f"{called}: ")
        raise ResultFileError("damaged", f"{called}: {detail}; run '{file.command}' again", detail) from error
    version = _check_version(content.get("schema_version"), called)
    others = (w for w in found.warnings if w.path not in ("schema_version", "kind"))
    return LoadedFile(found.value, (*version, *others), content)


def _check_version(version: object, called: str) -> Iterator[FileWarning]:
    major = str(version).split(".", maxsplit=1)[0]
    if version is None or not major.isdecimal():
        yield FileWarning("no_version", "schema_version", f"{called}: does not say its schema version")
    elif int(major) != KNOWN_MAJOR:
        code = "newer" if int(major) > KNOWN_MAJOR else "older"
        which = "a later" if code == "newer" else "an earlier"
        text = f"{called}: was written by {which} version ({version})"
        yield FileWarning(code, "schema_version", text)
