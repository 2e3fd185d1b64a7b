"""NRRD files (.nrrd, .nhdr), read strictly and written with gzip level 1."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.exchange.volumes.stored_volume import (
    StoredVolume,
    bad_number,
    damaged,
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
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {word: code for code, words in _TYPES.items() for word in words}
_WORDS = {"u1": "uint8", "i2": "int16", "f4": "float"}
# Signs that turn each named space into LPS.
_SPACES = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
_UNITS_MM = {
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometers"), 0.001),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters"), 1000.0),
}
# Programs keep notes of every segment and of every step in it.
_LONGEST_HEADER = 8 * 2**20
_COLOR_KINDS = ("color", "vector", "list", "point", "normal", "matrix", "complex", "quaternion")


def read_nrrd(path: Path) -> StoredVolume:
    """Read a .nrrd file, or a .nhdr file with its data beside it.

    Raises
    ------
    ScanReadError
        No NRRD, truncated, damaged, not three-dimensional, or of colors.
    ScanGeometryError
        Without a valid spacing, or sheared.
    """
    content = read_file(path)
    fields, start = _parse_header(content, path.name)
    sizes = _parse_sizes(fields, path.name)
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    dtype = np.dtype(order + _DTYPES[fields["type"].lower()])
    source = fields.get("data file") or fields.get("datafile")
    data = read_beside(path, source) if source else content[start:]
    data = _decode(data, fields, math.prod(sizes) * dtype.itemsize, path.name)
    values = shape_values(data, dtype, sizes, path.name, is_exact=bool(source))
    steps, origin = _geometry(fields, path.name)
    return make_stored(
        values,
        steps=steps,
        origin=origin,
        has_orientation=fields.get("space", "").lower() in _SPACES,
        name=path.name,
    )


def write_nrrd(
    path: Path,
    values: npt.NDArray[Any],
    *,
    spacing_mm: npt.ArrayLike,
    origin_lps_mm: npt.ArrayLike,
    axes_lps: npt.ArrayLike,
) -> None:
    """Write a .nrrd file; arguments as those of `write_nifti`."""
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    steps = (np.asarray(axes_lps) * np.asarray(spacing_mm)[:, None])[::-1]
    lines = [
        "NRRD0004",
        f"type: {_WORDS[values.dtype.str[1:]]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in values.shape[::-1]),
        "space directions: " + " ".join(_vector(step) for step in steps),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(np.asarray(origin_lps_mm))}",
    ]
    header = "\n".join(lines) + "\n\n"
    write_file(path, header.encode() + gzip.compress(values.data, compresslevel=1, mtime=0))


def _parse_header(content: bytes, name: str) -> tuple[dict[str, str], int]:
    """Fields in lower case up to the empty line, and where the data begin."""
    # A detached header may end with the file in place of an empty line.
    end = re.search(rb"\r?\n\r?\n", content[:_LONGEST_HEADER])
    head = content[: end.start()] if end else content[:_LONGEST_HEADER]
    if not content.startswith(b"NRRD000"):
        raise ScanReadError(f"{name} is no NRRD volume; copy or export the file again")
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        key, found, value = line.partition(":")
        if found and not line.startswith("#") and not value.startswith("="):
            fields[key.strip().lower()] = value.strip()
    is_attached = not (fields.get("data file") or fields.get("datafile"))
    if is_attached and end is None:
        raise damaged(name)
    if fields.get("type", "").lower() not in _DTYPES:
        raise ScanReadError(f"{name} holds values of an unknown kind; convert it to 16-bit integers")
    return fields, end.end() if end else len(content)


def _parse_sizes(fields: dict[str, str], name: str) -> list[int]:
    """Sizes of the three axes; a first one of single values is left out."""
    words = fields.get("sizes", "").split()
    kinds = fields.get("kinds", "").lower().split()
    has_values = len(words) == 4 and words[0] == "1"
    if any(word in kind for kind in kinds for word in _COLOR_KINDS) and not has_values:
        raise ScanReadError(f"{name} holds colors or vectors; expected one CT value a voxel")
    return parse_sizes(words[1:] if has_values else words, name)


def _decode(data: bytes, fields: dict[str, str], n_bytes: int, name: str) -> bytes:
    """The bytes of the voxels; skips are those of the format's definition."""
    encoding = fields.get("encoding", "raw").lower()
    skip = parse_whole(_field(fields, "byte skip", "byteskip") or "0", name, "byte skip")
    data = _skip_lines(
        data, parse_whole(_field(fields, "line skip", "lineskip") or "0", name, "line skip"), name
    )
    if encoding in ("gzip", "gz", "bzip2", "bz2"):
        if data[:2] != (b"BZ" if encoding.startswith("b") else b"\x1f\x8b"):
            raise damaged(name)
        data = inflate(data, name, n_bytes + min(max(skip, 0), n_bytes))
    elif encoding != "raw":
        raise ScanReadError(f"{name} is encoded as {encoding[:20]}; convert it to gzip or raw")
    if skip < -1:
        raise ScanReadError(f"{name}: 'byte skip' is {skip}; expected -1 or more: export the file again")
    # -1 says that the voxels end the file, whatever stands before them.
    return data[skip if skip >= 0 else max(len(data) - n_bytes, 0) :]


def _skip_lines(data: bytes, n_lines: int, name: str) -> bytes:
    place = 0
    for _ in range(n_lines):
        place = data.find(b"\n", place) + 1
        if place == 0:
            raise damaged(name)
    return data[place:]


def _field(fields: dict[str, str], *keys: str) -> str:
    return next((fields[key] for key in keys if key in fields), "")


def _geometry(fields: dict[str, str], name: str) -> tuple[FloatArray, FloatArray]:
    """LPS step of each axis (rows, fastest first) and the place of the first voxel."""
    signs = np.array(_SPACES.get(fields.get("space", "").lower(), (1.0, 1.0, 1.0)))
    vectors = _vectors(fields, "space directions", name)[:3]
    if len(vectors) == 3:
        steps = np.array(vectors) * signs
    else:
        words = fields.get("spacings", "").split()
        first = 1 if len(words) == 4 and fields.get("sizes", "").split()[0] == "1" else 0
        numbers = parse_numbers(" ".join(words[first:]), name, "spacings")[:3]
        steps = np.diag(numbers) if len(numbers) == 3 else np.full((3, 3), np.nan)
    origins = _vectors(fields, "space origin", name)
    scale = _unit_mm(fields)
    return steps * scale, np.array(origins[0]) * signs * scale if origins else np.zeros(3)


def _unit_mm(fields: dict[str, str]) -> float:
    """Millimeters of the unit that the file names, if it is one for all axes; 1 where it names none."""
    words = set(re.findall(r'"([^"]*)"', fields.get("space units") or fields.get("units", "")))
    return _UNITS_MM.get(words.pop().strip().lower(), 1.0) if len(words) == 1 else 1.0


def _vectors(fields: dict[str, str], field: str, name: str) -> list[list[float]]:
    """The three numbers of every vector in parentheses."""
    found = []
    n_dimensions = len(fields.get("sizes", "").split())
    for inner in re.findall(r"\(([^)]*)\)", fields.get(field, "")):
        words = inner.split(",")
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) not in (3, max(n_dimensions, 3)):
            # Four to six parts are three numbers, some of whose points were written as commas.
            raise bad_number("1,1" if 4 <= len(words) <= 6 else "", name, field)
        found.append(numbers[:3])
    return found


def _vector(numbers: FloatArray) -> str:
    return "(" + ",".join(repr(float(number)) for number in numbers) + ")"
