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

from miliary.errors import ScanReadError
from miliary.exchange.volumes.stored_volume import (
    StoredVolume,
    inflate,
    make_stored,
    parse_numbers,
    parse_sizes,
    parse_whole,
    read_beside,
    read_file,
    shape_values,
    write_file,
)
from miliary.model.scan import FloatArray

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # on every system, whatever its long is
    "MET_ULONG": "u4",
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
    sizes = parse_sizes(fields.get("DimSize", "").split(), path.name)
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise ScanReadError(f"{path.name} holds colors or vectors; expected one CT value a voxel")
    order = ">" if _is_true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[fields["ElementType"]])
    source = fields["ElementDataFile"]
    is_local = source.upper() == "LOCAL"
    data = content[start:] if is_local else read_beside(path, source)
    n_bytes = math.prod(sizes) * dtype.itemsize
    if _is_true(fields, "CompressedData"):
        data = inflate(data, path.name, n_bytes)
    elif not is_local:
        skip = parse_whole(fields.get("HeaderSize", "0"), path.name, "HeaderSize")
        data = data[skip if skip >= 0 else max(len(data) - n_bytes, 0) :]
    rows = np.eye(len(sizes))
    matrix = _numbers(fields, path.name, "TransformMatrix", "Orientation", "Rotation")
    if len(matrix) == len(sizes) ** 2:
        rows = np.reshape(matrix, rows.shape)
    spacing = _numbers(fields, path.name, "ElementSpacing", "ElementSize")[:3]
    origin = _numbers(fields, path.name, "Offset", "Position", "Origin")[:3]
    return make_stored(
        shape_values(data, dtype, sizes, path.name, is_exact=not is_local),
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
    if fields.get("ElementType", "") not in _TYPES or not _is_true(
        {"a": "true", **fields}, "BinaryData", "a"
    ):
        raise ScanReadError(f"{name} holds values of an unknown kind; convert it to 16-bit integers")
    return fields, start


def _is_true(fields: dict[str, str], *keys: str) -> bool:
    said = next((fields[key] for key in keys if key in fields), "false")
    return said.lower() in ("true", "1", "t")


def _numbers(fields: dict[str, str], name: str, *keys: str) -> list[float]:
    key = next((key for key in keys if key in fields), keys[0])
    return parse_numbers(fields.get(key, ""), name, key)


def _text(numbers: FloatArray) -> str:
    return " ".join(repr(float(number)) for number in numbers)
