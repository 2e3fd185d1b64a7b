"""Where DICOM files lie: a folder with its subfolders, a zip, or one file."""

from __future__ import annotations

import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from miliary.errors import ScanReadError

_SKIPPED_FOLDERS = ("__MACOSX",)


class DicomFiles(Protocol):
    """Files that may be DICOM, by their name relative to the input."""

    @property
    def is_compressed(self) -> bool:
        """Whether opening a file costs computing."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative names, sorted; hidden files left out."""

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """At most the first `n_bytes` of a file."""

    def open(self, name: str) -> BinaryIO:
        """The file, open for reading and seekable."""


class FolderFiles:
    """The files of a folder and its subfolders, or one file alone."""

    is_compressed = False

    def __init__(self, path: Path) -> None:
        self._root = path.parent if path.is_file() else path
        self.names: tuple[str, ...] = (path.name,) if path.is_file() else _list_folder(path)

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """See `DicomFiles`."""
        with self.open(name) as file:
            return file.read(n_bytes)

    def open(self, name: str) -> BinaryIO:
        """See `DicomFiles`."""
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise ScanReadError(f"{name} cannot be read ({reason}); check the file and its rights") from None


class ZipFiles:
    """The members of a zip, decompressed in memory one at a time; nothing is written to disk."""

    is_compressed = True

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError):
            raise ScanReadError(f"{path.name} is a damaged zip; copy or download it again") from None
        self._members: Mapping[str, zipfile.ZipInfo] = {
            info.filename: info
            for info in self._zip.infolist()
            if not info.is_dir() and _is_visible(info.filename.split("/"))
        }
        self.names: tuple[str, ...] = tuple(sorted(self._members))

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """See `DicomFiles`."""
        return self._read(name, n_bytes)

    def open(self, name: str) -> BinaryIO:
        """See `DicomFiles`."""
        return io.BytesIO(self._read(name, -1))

    def _read(self, name: str, n_bytes: int) -> bytes:
        try:
            with self._zip.open(self._members[name]) as member:
                return member.read(n_bytes)
        except RuntimeError:
            raise ScanReadError(f"{name} in the zip is encrypted; unpack it first") from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError):
            raise ScanReadError(f"{name} in the zip is damaged; copy or download the zip again") from None


def _list_folder(root: Path) -> tuple[str, ...]:
    names: list[str] = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if _is_visible([name])]
        relative = Path(folder).relative_to(root)
        names += [(relative / name).as_posix() for name in files if _is_visible([name])]
    return tuple(sorted(names))


def _is_visible(parts: list[str]) -> bool:
    return not any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in parts)
