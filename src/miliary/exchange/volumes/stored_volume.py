"""What the readers of volume files share: bytes read within limits, numbers checked, one record."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanGeometryError, ScanReadError
from miliary.model.scan import FloatArray, ScanWarning

# 2,048 slices of 1,024 by 1,024 pixels: twice the largest chest CT.
MAX_VOXELS = 2**31
# CT holds noise and shrinks two- to fourfold; a segmentation a hundredfold.
MAX_EXPANSION = 200
MASK_EXPANSION = 1100
_FREE_BYTES = 64 * 2**20
# A header may leave out padding behind the voxels, not more than that.
_MOST_BEYOND = 2**20


@dataclass(frozen=True)
class StoredVolume:
    """A volume as its file holds it.

    Parameters
    ----------
    values : ndarray, shape (slowest, middle, fastest axis)
        Stored values; attenuation is ``slope * values + intercept``.
    spacing_mm, axes_lps
        Per axis of `values`; row i of `axes_lps` is the direction of axis i.
    origin_lps_mm : ndarray, shape (3,)
    slope, intercept : float
    has_orientation : bool
        Whether the file says how it lies in the patient.
    warnings : tuple of ScanWarning
        About what the file says of itself.
    """

    values: npt.NDArray[Any]
    spacing_mm: FloatArray
    origin_lps_mm: FloatArray
    axes_lps: FloatArray
    slope: float = 1.0
    intercept: float = 0.0
    has_orientation: bool = True
    warnings: tuple[ScanWarning, ...] = ()


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises
    ------
    ScanReadError
        It is no regular file (a pipe would be waited for), or the operating system refuses.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ScanReadError(f"{path.name} is no regular file; give a file of a chest CT")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise ScanReadError(f"{path.name} cannot be read ({reason}); check the file and its rights") from None


def read_beside(path: Path, source: str) -> bytes:
    """The data file that a header names, which must lie beside it."""
    plain = source.removeprefix("./").removeprefix(".\\")
    if not plain or Path(plain).name != plain or any(sign in plain for sign in "%*\0\\") or plain == "LIST":
        raise ScanReadError(
            f"{path.name} keeps its data in several files or in another folder; convert it to one file"
        )
    try:
        found = path.parent / plain
        if not found.is_file():
            # Written where capitals do not count.
            alike = [one for one in path.parent.iterdir() if one.name.lower() == plain.lower()]
            found = alike[0] if len(alike) == 1 else found
        is_there = found.is_file()
    except (OSError, ValueError):  # a name longer than the system knows
        is_there = False
    if not is_there:
        raise ScanReadError(f"{path.name} needs {plain[:80]} beside it; copy both files")
    return read_file(found)


def write_file(path: Path, content: bytes) -> None:
    """Write a file.

    Raises
    ------
    OutputError
        The operating system refuses.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{path.name} cannot be written ({error.strerror}); choose another folder"
        ) from None


def parse_sizes(words: list[str], name: str) -> list[int]:
    """Sizes of a header, fastest axis first.

    Raises
    ------
    ScanReadError
        They are no numbers, not those of one three-dimensional volume, or beyond any chest CT.
    """
    if not words or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise damaged(name)
    sizes = [int(word) for word in words]
    check_sizes(sizes, name)
    return sizes


def check_sizes(sizes: list[int], name: str) -> None:
    """Refuse what is not one three-dimensional volume of a size that a chest CT can have."""
    if len(sizes) < 3 or any(n != 1 for n in sizes[3:]):
        shown = ", ".join(str(n) for n in sizes[:8])
        raise ScanReadError(
            f"{name} has {len(sizes)} dimensions [{shown}]; expected one three-dimensional CT"
        )
    if min(sizes) < 1:
        raise damaged(name)
    if math.prod(sizes) > MAX_VOXELS:
        raise ScanReadError(
            f"{name} says it holds {math.prod(sizes):.2g} voxels, more than any chest CT; export it again"
        )


def parse_whole(text: str, name: str, field: str) -> int:
    """A whole number of a header.

    Raises
    ------
    ScanReadError
        It is none.
    """
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ScanReadError(f"{name}: '{field}' is no whole number; export the file again")
    return int(text)


def parse_numbers(text: str, name: str, field: str) -> list[float]:
    """Numbers of a header, separated by spaces; none where the text is empty.

    Raises
    ------
    ScanReadError
        One of them is none; said of a decimal comma in so many words.
    """
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise bad_number(text, name, field) from None


def bad_number(text: str, name: str, field: str) -> ScanReadError:
    """The error of a header whose numbers are none."""
    if re.search(r"\d,\d", text):
        return ScanReadError(
            f"{name}: '{field}' is written with a decimal comma; write it with a point, or export again"
        )
    return ScanReadError(f"{name}: '{field}' holds something else than numbers; export the file again")


def inflate(data: bytes, name: str, n_needed: int, *, most_expansion: int = MAX_EXPANSION) -> bytes:
    """Undo zlib, gzip or bzip2 up to the size that the header declares.

    Parameters
    ----------
    data : bytes
        Told apart by their first bytes.
    name : str
        The file as messages name it.
    n_needed : int
        Bytes that the header declares.
    most_expansion : int
        How many times more they may be than `data`, beyond 64 MiB.

    Returns
    -------
    bytes
        All there are, at least `n_needed` and at most 1 MiB more; their checksum holds.

    Raises
    ------
    ScanReadError
        The stream is damaged, shorter or longer than that, or expands as no picture does.
    """
    check_expansion(len(data), n_needed, name, most_expansion)
    limit = n_needed + _MOST_BEYOND
    try:
        plain = _decompress(data, limit + 1)
    except (OSError, EOFError, zlib.error, ValueError):
        raise damaged(name) from None
    if len(plain) > limit:
        raise ScanReadError(f"{name} holds more data than its header declares; export the file again")
    if len(plain) < n_needed:
        raise damaged(name)
    return plain


def read_start(data: bytes, name: str, n_bytes: int) -> bytes:
    """The first bytes of a gzip stream; fewer where it is shorter.

    Raises
    ------
    ScanReadError
        The stream is damaged there.
    """
    try:
        return _decompress(data, n_bytes)
    except (OSError, EOFError, zlib.error, ValueError):
        raise damaged(name) from None


def check_expansion(n_compressed: int, n_needed: int, name: str, most_expansion: int) -> None:
    """Refuse what expands as no picture does, before it is decompressed.

    Raises
    ------
    ScanReadError
        More than 64 MiB, and more than so many times what there is.
    """
    if n_needed > _FREE_BYTES and n_needed > most_expansion * n_compressed:
        raise ScanReadError(
            f"{name} would grow from {n_compressed / 2**20:.2g} MB to {n_needed / 2**20:.3g} MB, which no CT "
            "does; it is damaged: copy or export the file again"
        )


def _decompress(data: bytes, n_most: int) -> bytes:
    """At most `n_most` bytes of a stream; its checksum is looked at where it ends before."""
    if data[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=io.BytesIO(data)).read(n_most)
    if data[:3] == b"BZh":
        return bz2.BZ2File(io.BytesIO(data)).read(n_most)
    stream = zlib.decompressobj()
    plain = stream.decompress(data, n_most)
    if len(plain) < n_most and not stream.eof:
        raise EOFError
    return plain


def shape_values(
    data: bytes, dtype: np.dtype[Any], sizes: list[int], name: str, *, is_exact: bool = False
) -> npt.NDArray[Any]:
    """Data in an array, slowest axis first.

    Parameters
    ----------
    data : bytes
    dtype : dtype
    sizes : list of int
        Fastest axis first.
    name : str
        The file as messages name it.
    is_exact : bool
        Whether nothing may stand behind the voxels: of a data file without a header of its own.

    Raises
    ------
    ScanReadError
        The data are fewer than the header says, or more by a slice.
    """
    count = math.prod(sizes)
    if len(data) < count * dtype.itemsize:
        raise damaged(name)
    check_excess(
        len(data), count * dtype.itemsize, 1 if is_exact else sizes[0] * sizes[1] * dtype.itemsize, name
    )
    return np.frombuffer(data, dtype=dtype, count=count).reshape(sizes[2::-1])


def check_excess(n_bytes: int, n_needed: int, n_too_many: int, name: str) -> None:
    """Refuse data that are so many bytes more than the header says: its sizes are not theirs.

    Raises
    ------
    ScanReadError
    """
    if n_bytes - n_needed >= n_too_many:
        raise ScanReadError(
            f"{name} holds {n_bytes - n_needed} bytes more than the voxels its header declares; correct its "
            "sizes, or say how many bytes stand before the voxels"
        )


def make_stored(
    values: npt.NDArray[Any], *, steps: FloatArray, origin: FloatArray, has_orientation: bool, name: str
) -> StoredVolume:
    """A volume from the LPS step of each axis (rows, fastest first).

    Raises
    ------
    ScanGeometryError
        Without a valid spacing, or sheared.
    """
    check_finite(steps, origin, name)
    spacing = np.linalg.norm(steps, axis=1)
    axes = steps / spacing[:, None]
    check_square(axes, name)
    return StoredVolume(
        values=values,
        spacing_mm=np.round(spacing[::-1], 9),
        origin_lps_mm=origin,
        axes_lps=axes[::-1],
        has_orientation=has_orientation,
    )


def check_finite(steps: FloatArray, origin: FloatArray, name: str) -> None:
    """Refuse steps (one a row) or an origin [mm] that are no lengths.

    Raises
    ------
    ScanGeometryError
        One is not finite, zero, or so large that arithmetic fails.
    """
    if not (np.isfinite(steps).all() and np.isfinite(origin).all() and np.abs(steps).max() < 1e9):
        raise ScanGeometryError(f"{name} has no valid voxel spacing; export the file again")
    if np.linalg.norm(steps, axis=1).min() <= 0.0:
        raise ScanGeometryError(f"{name} has no valid voxel spacing; export the file again")


def check_square(axes: FloatArray, name: str) -> None:
    """Refuse unit vectors (rows) that are not perpendicular to each other.

    Raises
    ------
    ScanGeometryError
    """
    if np.abs(axes @ axes.T - np.eye(3)).max() > 0.01:
        raise ScanGeometryError(f"{name} has sheared axes; resample it to perpendicular ones")


def damaged(name: str) -> ScanReadError:
    """The error of a file that ends early or does not decode."""
    return ScanReadError(f"{name} is truncated or damaged; copy or export the file again")
