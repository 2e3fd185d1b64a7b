"""`read_ct`: a chest CT from whatever it is kept in."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from miliary.errors import ScanReadError
from miliary.exchange.dicom.files import DicomFiles, FolderFiles, ZipFiles
from miliary.exchange.dicom.header import looks_like_dicom
from miliary.model.scan import Scan, ScanPreview

T = TypeVar("T")

_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")
# What converters leave beside a volume: its header in words, gradients, pictures, logs.
_NOTES = (".json", ".txt", ".csv", ".tsv", ".bval", ".bvec", ".png", ".jpg", ".md", ".log", ".raw", ".yaml")
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
# Archives that have to be unpacked, by suffix and by their first bytes.
_ARCHIVES = (
    *(".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"),
    *(".7z", ".rar", ".iso", ".xz", ".zst", ".bz2"),
)
_ARCHIVE_STARTS = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
# Files of a folder that are opened to find out whether what is named as a volume is a slice.
_MOST_TRIED = 3


def read_ct(
    path: str | os.PathLike[str], *, series: str | int | None = None, n_threads: int | None = None
) -> Scan:
    """Read a chest CT.

    Parameters
    ----------
    path : path-like
        A folder of DICOM files (with subfolders), a zip of them, the DICOMDIR of a disk, one multi-frame
        DICOM file, or a NIfTI, NRRD or MetaImage volume. Told apart by content, not by name alone.
    series : str or int, optional
        Which series of several: its series number, or its position counted from 1. By default the
        rules of `miliary.exchange.dicom.series` choose, and the choice is recorded.
    n_threads : int, optional
        Threads to decode with; by default the cores this process may use, at most 8.

    Returns
    -------
    Scan
        Voxels [HU] as int16 (float32 where they are not whole numbers), (z, y, x) with z towards the
        head, y towards the back and x towards the left, whatever the order in the files.

    Raises
    ------
    ScanReadError, ScanGeometryError
        It cannot be read as one regular chest CT. The message is one line.
    """
    from miliary.exchange.dicom.read_series import read_dicom

    return _read(path, read_dicom, series=series, n_threads=n_threads)


def preview_ct(
    path: str | os.PathLike[str], *, series: str | int | None = None, n_threads: int | None = None
) -> ScanPreview:
    """What `read_ct` would read, choose and warn of; a DICOM series is not read as a whole for it.

    Parameters and errors are those of `read_ct`.

    Parameters
    ----------
    path : path-like
    series : str or int, optional
    n_threads : int, optional

    Returns
    -------
    ScanPreview
    """
    from miliary.exchange.dicom.read_series import preview_dicom

    found = _read(path, preview_dicom, series=series, n_threads=n_threads)
    return (
        found
        if isinstance(found, ScanPreview)
        else ScanPreview(found.grid, found.acquisition, found.warnings)
    )


def _read(
    path: str | os.PathLike[str],
    read: Callable[..., T],
    *,
    series: str | int | None,
    n_threads: int | None,
) -> T | Scan:
    """Read an input, DICOM with `read`; what the system refuses on the way is told in one line."""
    source = Path(path)
    name = source.name or source.resolve().name or "the input"
    try:
        return _read_any(source, read, name=name, series=series, n_threads=n_threads)
    except MemoryError:
        raise ScanReadError(
            f"{name} needs more memory than there is; close other programs or use a smaller scan"
        ) from None
    except OSError as error:  # a disk that fails, a network folder that goes away
        reason = (error.strerror or type(error).__name__).lower()
        raise ScanReadError(f"{name} cannot be read ({reason}); check the disk and try again") from None


def _read_any(
    source: Path, read: Callable[..., T], *, name: str, series: str | int | None, n_threads: int | None
) -> T | Scan:
    threads = max(1, min(8, _n_cores()) if n_threads is None else n_threads)
    wanted = None if series is None else str(series)
    if source.is_dir():
        return _read_folder(source, read, name=name, series=wanted, n_threads=threads)
    if not source.exists():
        raise ScanReadError(f"{name} does not exist; give a folder, a zip or a volume file of a chest CT")
    if not source.is_file():
        raise ScanReadError(f"{name} is no regular file; give a folder, a zip or a volume file of a chest CT")
    head = _read_start(source, name=name)
    if not head:
        raise ScanReadError(f"{name} is an empty file; expected a chest CT")
    if head[:4] in _ZIP_STARTS:
        with closing(ZipFiles(source)) as files:
            _point_to_volume(files, name=name, remedy="unpack it and give that file")
            return read(files, name=name, source_format="dicom zip", series=wanted, n_threads=threads)
    is_volume = source.name.lower().endswith(_VOLUME_SUFFIXES) and head[128:132] != b"DICM"
    if is_volume or (not looks_like_dicom(head) and _holds_volume(source)):
        if wanted is not None:
            raise ScanReadError(f"{name} is a volume file and has no series to choose from; leave series out")
        from miliary.exchange.volumes.volume_file import read_volume

        return read_volume(source)
    if source.name.lower().endswith(_ARCHIVES) or _is_archive(head):
        raise ScanReadError(
            f"{name} is an archive that is not read here; unpack it, and give what is in it or a zip of that"
        )
    if not _may_be_dicom(source, head):
        raise ScanReadError(f"{name} is no DICOM, NIfTI, NRRD, MetaImage or zip file; expected a chest CT")
    if source.name.upper().startswith("DICOMDIR"):
        # The index of a disk: what it lists lies beside and below it.
        return _read_folder(source.absolute().parent, read, name=name, series=wanted, n_threads=threads)
    return read(FolderFiles(source), name=name, source_format="dicom file", series=wanted, n_threads=threads)


def _holds_volume(source: Path) -> bool:
    from miliary.exchange.volumes.volume_file import find_volume_format

    return find_volume_format(source) is not None


def _is_archive(head: bytes) -> bool:
    return head.startswith(_ARCHIVE_STARTS) or head[257:262] == b"ustar"


def _may_be_dicom(source: Path, head: bytes) -> bool:
    if looks_like_dicom(head) or source.name.lower().endswith(".dcm"):
        return True
    # Compressed by hand, slice by slice or as a whole.
    return head[:2] == b"\x1f\x8b" and source.name.lower().endswith(".gz")


def _n_cores() -> int:
    """Cores this process may use; not every system tells them from those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_start(source: Path, *, name: str) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise ScanReadError(
            f"{name} cannot be opened ({error.strerror}); check the file and its rights"
        ) from None


def _read_folder(source: Path, read: Callable[..., T], *, name: str, series: str | None, n_threads: int) -> T:
    files = FolderFiles(source)
    _point_to_volume(files, name=name, remedy="give that file itself")
    return read(files, name=name, source_format="dicom folder", series=series, n_threads=n_threads)


def _point_to_volume(files: DicomFiles, *, name: str, remedy: str) -> None:
    """A folder or zip of volumes or archives, and notes about them, is a mistake that has its own answer."""
    names = files.names
    volumes = [one for one in names if one.lower().endswith(_VOLUME_SUFFIXES)]
    rest = [one for one in names if not one.lower().endswith((*_VOLUME_SUFFIXES, *_NOTES))]
    if volumes and not rest and not _are_slices(files, volumes):
        more = "" if len(volumes) == 1 else f" and {len(volumes) - 1} more"
        raise ScanReadError(f"{name} holds {volumes[0]}{more}, a volume file; {remedy}")
    packed = [one for one in rest if one.lower().endswith((".zip", *_ARCHIVES))]
    if packed and len(packed) == len(rest):
        is_zip = packed[0].lower().endswith(".zip")
        kind = "a zip of its own; unpack it, or give it itself" if is_zip else "an archive; unpack it"
        raise ScanReadError(f"{name} holds {packed[0]}, {kind}")


def _are_slices(files: DicomFiles, names: list[str]) -> bool:
    """Whether files named as volumes are DICOM: `.img` is given to slices as well."""
    return any(looks_like_dicom(files.read_head(one, 132)) for one in names[:_MOST_TRIED])
