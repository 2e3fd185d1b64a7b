"""MetaImage files (.mha, .mhd), read strictly and written with zlib level 1.

Read here and not through ITK because that library alone is a quarter of the environment, and because
it goes on with a truncated file.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanGeometryError, ScanReadError
from miliary.exchange.volumes.nifti import StoredVolume
from miliary.model.scan import FloatArray

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NAMES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}


def read_metaimage(path: Path) -> StoredVolume:
    """Read a .mha file, or a .mhd file with its data beside it.

    Raises
    ------
    ScanReadError
        No MetaImage, truncated, damaged, not three-dimensional, or of colors.
    ScanGeometryError
        Without a valid spacing, or sheared.
    """
    content = read_file(path)
    fields, start = _parse_header(content, path.name)
    sizes = [int(n) for n in fields["DimSize"].split()]
    check_sizes(sizes, path.name)
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise ScanReadError(f"{path.name} holds colors or vectors; expected one CT value a voxel")
    order = ">" if _is_true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[fields["ElementType"]])
    source = fields["ElementDataFile"]
    data = content[start:] if source.upper() == "LOCAL" else read_beside(path, source)
    if _is_true(fields, "CompressedData"):
        data = inflate(data, path.name)
    elif source.upper() != "LOCAL":
        skip = int(fields.get("HeaderSize", "0"))
        data = data[skip if skip >= 0 else len(data) - math.prod(sizes) * dtype.itemsize :]
    rows = np.eye(len(sizes))
    matrix = _numbers(fields, "TransformMatrix", "Orientation", "Rotation")
    if len(matrix) == len(sizes) ** 2:
        rows = np.reshape(matrix, rows.shape)
    spacing = _numbers(fields, "ElementSpacing", "ElementSize")[:3]
    origin = _numbers(fields, "Offset", "Position", "Origin")[:3]
    return make_stored(
        shape_values(data, dtype, sizes, path.name),
        steps=rows[:3, :3] * np.reshape(spacing if len(spacing) == 3 else [np.nan] * 3, (3, 1)),
        origin=np.array(origin if len(origin) == 3 else [0.0] * 3),
        has_orientation=bool(matrix),
        name=path.name,
    )


def write_metaimage(
    path: Path,
    values: npt.NDArray[Any],
    *,
    spacing_mm: npt.ArrayLike,
    origin_lps_mm: npt.ArrayLike,
    axes_lps: npt.ArrayLike,
) -> None:
    """Write a .mha file; arguments as those of `write_nifti`."""
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    data = zlib.compress(values.data, 1)
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(data)),
        "TransformMatrix": _text(np.asarray(axes_lps)[::-1].ravel()),
        "Offset": _text(np.asarray(origin_lps_mm)),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _text(np.asarray(spacing_mm)[::-1]),
        "DimSize": " ".join(str(n) for n in values.shape[::-1]),
        "ElementType": _NAMES[values.dtype.str[1:]],
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    write_file(path, text.encode() + data)


# --- what NRRD shares -----------------------------------------------------------------------------


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises
    ------
    ScanReadError
        The operating system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise ScanReadError(f"{path.name} cannot be read ({reason}); check the file and its rights") from None


def read_beside(path: Path, source: str) -> bytes:
    """The data file that a header names, which must lie beside it."""
    if not source or Path(source).name != source or any(sign in source for sign in "%*") or source == "LIST":
        raise ScanReadError(
            f"{path.name} keeps its data in several files or in another folder; convert it to one file"
        )
    if not (path.parent / source).is_file():
        raise ScanReadError(f"{path.name} needs {source} beside it; copy both files")
    return read_file(path.parent / source)


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


def check_sizes(sizes: list[int], name: str) -> None:
    """Refuse what is not one three-dimensional volume."""
    if len(sizes) < 3 or any(n != 1 for n in sizes[3:]):
        raise ScanReadError(f"{name} has {len(sizes)} dimensions {sizes}; expected one three-dimensional CT")
    if min(sizes) < 1:
        raise damaged(name)


def inflate(data: bytes, name: str) -> bytes:
    """Undo zlib or gzip; a stream that does not end is refused."""
    try:
        stream = zlib.decompressobj(wbits=47)  # either of the two, told by their headers
        plain = stream.decompress(data)
    except zlib.error:
        raise damaged(name) from None
    if not stream.eof:
        raise damaged(name)
    return plain


def shape_values(data: bytes, dtype: np.dtype[Any], sizes: list[int], name: str) -> npt.NDArray[Any]:
    """Data in an array, slowest axis first; sizes are fastest first."""
    count = math.prod(sizes)
    if len(data) < count * dtype.itemsize:
        raise damaged(name)
    return np.frombuffer(data, dtype=dtype, count=count).reshape(sizes[2::-1])


def make_stored(
    values: npt.NDArray[Any], *, steps: FloatArray, origin: FloatArray, has_orientation: bool, name: str
) -> StoredVolume:
    """A volume from the LPS step of each axis (rows, fastest first).

    Raises
    ------
    ScanGeometryError
        Without a valid spacing, or sheared.
    """
    spacing = np.linalg.norm(steps, axis=1)
    if not np.all(np.isfinite(steps)) or not np.all(np.isfinite(origin)) or spacing.min() <= 0.0:
        raise ScanGeometryError(f"{name} has no valid voxel spacing; export the file again")
    axes = steps / spacing[:, None]
    if np.abs(axes @ axes.T - np.eye(3)).max() > 0.01:
        raise ScanGeometryError(f"{name} has sheared axes; resample it to perpendicular ones")
    return StoredVolume(
        values=values,
        spacing_mm=np.round(spacing[::-1], 9),
        origin_lps_mm=origin,
        axes_lps=axes[::-1],
        has_orientation=has_orientation,
    )


def damaged(name: str) -> ScanReadError:
    """The error of a file that ends early or does not decode."""
    return ScanReadError(f"{name} is truncated or damaged; copy or export the file again")


# --- the header -----------------------------------------------------------------------------------


def _parse_header(content: bytes, name: str) -> tuple[dict[str, str], int]:
    """Fields up to the data file's name, which is the last, and where the data begin."""
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        end = content.find(b"\n", start, start + 4096)
        key, found, value = content[start : max(end, 0)].decode("latin-1").partition("=")
        if end < 0 or not found:
            raise ScanReadError(f"{name} is no MetaImage, or a part of one; copy or export the file again")
        fields[key.strip()] = value.strip()
        start = end + 1
    sizes = fields.get("DimSize", "").split()
    if not sizes or not all(size.isdecimal() for size in sizes):
        raise damaged(name)
    if fields.get("ElementType", "") not in _TYPES or not _is_true(
        {"a": "true", **fields}, "BinaryData", "a"
    ):
        raise ScanReadError(f"{name} holds values of an unknown kind; convert it to 16-bit integers")
    return fields, start


def _is_true(fields: dict[str, str], *keys: str) -> bool:
    said = next((fields[key] for key in keys if key in fields), "false")
    return said.lower() in ("true", "1", "t")


def _numbers(fields: dict[str, str], *keys: str) -> list[float]:
    said = next((fields[key] for key in keys if key in fields), "")
    try:
        return [float(word) for word in said.split()]
    except ValueError:
        return []


def _text(numbers: FloatArray) -> str:
    return " ".join(repr(float(number)) for number in numbers)
