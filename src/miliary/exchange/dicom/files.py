"""Where DICOM files lie: a folder with its subfolders, a zip, or one file."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from miliary.errors import ScanReadError

_SKIPPED_FOLDERS = ("__MACOSX",)
# What a compressed file may grow to, and by how much more for each of its own bytes; CT shrinks fourfold.
_FREE_BYTES, _MOST_EXPANSION = 64 * 2**20, 200
_MOST_FILES = 500_000
_GZIP_START = b"\x1f\x8b"


class DicomFiles(Protocol):
    """Files that may be DICOM, by their name relative to the input."""

    @property
    def is_compressed(self) -> bool:
        """Whether opening a file costs computing."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative names, sorted; hidden files left out."""

    @property
    def n_broken_links(self) -> int:
        """Links that lead nowhere and were passed over."""

    @property
    def n_empty(self) -> int:
        """Files without content that may have been slices."""

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """At most the first `n_bytes` of a file."""

    def open(self, name: str) -> BinaryIO:
        """The file, open for reading and seekable."""


class FolderFiles:
    """The files of a folder, its subfolders and those it links to, or one file alone.

    Pipes, sockets and devices are passed over; a gzip of one DICOM file reads like that file.
    """

    is_compressed = False

    def __init__(self, path: Path) -> None:
        self._root = path.parent if path.is_file() else path
        self.n_broken_links = self.n_empty = 0
        self.names: tuple[str, ...] = (path.name,) if path.is_file() else self._list_folder(path)

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """See `DicomFiles`."""
        with self._open(name) as file:
            return _read_head(file, name, n_bytes)

    def open(self, name: str) -> BinaryIO:
        """See `DicomFiles`."""
        file = self._open(name)
        if not _is_gzip_name(name):
            return file
        with file:
            return io.BytesIO(_gunzip(file.read(), name))

    def _open(self, name: str) -> BinaryIO:
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise ScanReadError(f"{name} cannot be read ({reason}); check the file and its rights") from None

    def _list_folder(self, root: Path) -> tuple[str, ...]:
        names: list[str] = []
        seen: set[tuple[int, int]] = set()
        for folder, subfolders, files in os.walk(root, followlinks=True):
            try:
                here = Path(folder).stat()
            except OSError:  # it went away meanwhile
                subfolders.clear()
                continue
            if (here.st_dev, here.st_ino) in seen:  # a link back to a folder above it
                subfolders.clear()
                continue
            seen.add((here.st_dev, here.st_ino))
            subfolders[:] = sorted(name for name in subfolders if _is_visible([name]))
            relative = Path(folder).relative_to(root)
            names += [
                (relative / name).as_posix()
                for name in files
                if _is_visible([name]) and self._is_regular(Path(folder) / name)
            ]
            if len(names) > _MOST_FILES:
                name = root.name or "the input"
                raise ScanReadError(
                    f"{name} holds more than {_MOST_FILES:,} files; give the folder of one scan"
                )
        return tuple(sorted(names))

    def _is_regular(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError:
            self.n_broken_links += path.is_symlink()
            return False
        is_regular = stat.S_ISREG(found.st_mode)
        self.n_empty += is_regular and found.st_size == 0 and _may_be_slice(path.name)
        return is_regular


class ZipFiles:
    """The members of a zip, decompressed in memory one at a time; nothing is written to disk."""

    is_compressed = True
    n_broken_links = 0

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise ScanReadError(f"{path.name} is a damaged zip; copy or download it again") from None
        self._members: Mapping[str, zipfile.ZipInfo] = {
            info.filename: info
            for info in self._zip.infolist()
            if not info.is_dir() and _is_visible(info.filename.split("/"))
        }
        self.names: tuple[str, ...] = tuple(sorted(self._members))
        self.n_empty = sum(not info.file_size and _may_be_slice(name) for name, info in self._members.items())

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()

    def read_head(self, name: str, n_bytes: int) -> bytes:
        """See `DicomFiles`."""
        if not _is_gzip_name(name):
            return self._read(name, n_bytes)
        return _read_head(io.BytesIO(self._read(name, -1)), name, n_bytes)

    def open(self, name: str) -> BinaryIO:
        """See `DicomFiles`."""
        data = self._read(name, -1)
        return io.BytesIO(_gunzip(data, name) if _is_gzip_name(name) else data)

    def _read(self, name: str, n_bytes: int) -> bytes:
        info = self._members[name]
        if n_bytes < 0 and info.file_size > _FREE_BYTES + _MOST_EXPANSION * info.compress_size:
            raise ScanReadError(f"{name} in the zip grows as no CT does; copy or download the zip again")
        try:
            with self._zip.open(info) as member:
                return member.read(n_bytes)
        except RuntimeError:
            raise ScanReadError(f"{name} in the zip is encrypted; unpack it first") from None
        except (
            *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError),
            ValueError,
        ):
            raise ScanReadError(f"{name} in the zip is damaged; copy or download the zip again") from None


def _may_be_slice(name: str) -> bool:
    """Whether a name is one that exports give to slices: no suffix, a number, or one of DICOM's."""
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return suffix.isdecimal() or suffix in ("", "dcm", "dicom", "ima", "img")


def _is_gzip_name(name: str) -> bool:
    return name.lower().endswith(".gz") and not name.lower().endswith(".nii.gz")


def _damaged_gzip(name: str) -> ScanReadError:
    return ScanReadError(f"{name} is a damaged gzip; copy the file again")


def _read_head(file: BinaryIO, name: str, n_bytes: int) -> bytes:
    """The start of a file, under the compression where it is a gzip; nothing of another compressed thing."""
    start = file.read(2)
    file.seek(0)
    if not _is_gzip_name(name) or start != _GZIP_START:
        return file.read(n_bytes)
    try:
        return gzip.GzipFile(fileobj=file).read(n_bytes)
    except (OSError, EOFError, zlib.error):
        if name.lower().endswith(".dcm.gz"):
            raise _damaged_gzip(name) from None
        return b""


def _gunzip(data: bytes, name: str) -> bytes:
    """What a file named as a gzip holds, which may be a plain one all the same."""
    if data[:2] != _GZIP_START:
        return data
    most = _FREE_BYTES + _MOST_EXPANSION * len(data)
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most)
    except (OSError, EOFError, zlib.error):
        raise _damaged_gzip(name) from None
    if len(plain) >= most:
        raise ScanReadError(f"{name} grows as no CT does; copy the file again")
    return plain


def _is_visible(parts: list[str]) -> bool:
    return not any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in parts)
