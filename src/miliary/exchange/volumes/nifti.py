"""NIfTI files, read strictly and written fast as NIfTI-1.

Read here and not through ITK because ITK fills a truncated file with zeros and goes on, and because a
label volume is written several times faster at gzip level 1.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanReadError
from miliary.exchange.volumes.nifti_forms import RAS_TO_LPS, find_contradictions, place_volume
from miliary.exchange.volumes.stored_volume import (
    MASK_EXPANSION,
    MAX_EXPANSION,
    StoredVolume,
    check_excess,
    check_sizes,
    inflate,
    read_file,
    read_start,
)
from miliary.model.scan import FloatArray

_HEADER = np.dtype(
    [
        ("sizeof_hdr", "i4"), ("unused1", "V35"), ("dim_info", "u1"), ("dim", "i2", 8),
        ("intent_p", "f4", 3), ("intent_code", "i2"), ("datatype", "i2"), ("bitpix", "i2"),
        ("slice_start", "i2"), ("pixdim", "f4", 8), ("vox_offset", "f4"), ("scl_slope", "f4"),
        ("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"), ("xyzt_units", "u1"),
        ("cal_max", "f4"), ("cal_min", "f4"), ("slice_duration", "f4"), ("toffset", "f4"),
        ("glmax", "i4"), ("glmin", "i4"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2"),
        ("sform_code", "i2"), ("quatern", "f4", 3), ("qoffset", "f4", 3), ("srow", "f4", (3, 4)),
        ("intent_name", "S16"), ("magic", "S4"),
    ]
)  # fmt: skip
# The same fields, longer and in another order.
_HEADER_2 = np.dtype(
    [
        ("sizeof_hdr", "i4"), ("magic", "S8"), ("datatype", "i2"), ("bitpix", "i2"), ("dim", "i8", 8),
        ("intent_p", "f8", 3), ("pixdim", "f8", 8), ("vox_offset", "i8"), ("scl_slope", "f8"),
        ("scl_inter", "f8"), ("cal_max", "f8"), ("cal_min", "f8"), ("slice_duration", "f8"),
        ("toffset", "f8"), ("slice_start", "i8"), ("slice_end", "i8"), ("descrip", "S80"),
        ("aux_file", "S24"), ("qform_code", "i4"), ("sform_code", "i4"), ("quatern", "f8", 3),
        ("qoffset", "f8", 3), ("srow", "f8", (3, 4)), ("slice_code", "i4"), ("xyzt_units", "i4"),
        ("intent_code", "i4"), ("intent_name", "S16"), ("dim_info", "u1"), ("unused1", "V15"),
    ]
)  # fmt: skip
_MAGIC_2 = b"n+2\0\r\n\x1a\n"
# Four bytes behind the header say whether more follow; voxels stand behind those.
_EXTENDER_BYTES = 4
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_CODES = {"u1": 2, "i2": 4, "f4": 16}


def read_nifti(path: Path, *, is_mask: bool = False) -> StoredVolume:
    """Read a .nii or .nii.gz file (NIfTI-1 or 2), or a pair of .hdr and .img given as either.

    Parameters
    ----------
    path : Path
    is_mask : bool
        Whether it holds labels, which shrink to a thousandth where a CT shrinks to a quarter.

    Raises
    ------
    ScanReadError
        Not NIfTI, truncated, damaged, not three-dimensional, or of colors.
    ScanGeometryError
        Sheared axes.
    """
    name = path.name
    content = read_file(_header_path(path))
    is_gzip = content[:2] == b"\x1f\x8b"
    header = _parse_header(read_start(content, name, _HEADER_2.itemsize) if is_gzip else content, name)
    shape = _shape(header, name)
    dtype = np.dtype(_TYPES[int(header["datatype"])]).newbyteorder(header["dim"].dtype.byteorder)
    is_pair = bytes(header["magic"])[:2] == b"ni"
    offset = _data_offset(header, name, at_least=0 if is_pair else header.dtype.itemsize + _EXTENDER_BYTES)
    if is_pair:
        content = read_file(_beside(path, ".img"))
        is_gzip = content[:2] == b"\x1f\x8b"
    needed = offset + math.prod(shape) * dtype.itemsize
    # Nobody keeps HU in single bytes: those are labels as well.
    expansion = MASK_EXPANSION if is_mask or dtype.itemsize == 1 else MAX_EXPANSION
    data = inflate(content, name, needed, most_expansion=expansion) if is_gzip else content
    if len(data) < needed:
        raise ScanReadError(
            f"{name} is truncated: {len(data)} bytes of {needed}; copy or export the file again"
        )
    # A slice more than the header says is a header of another scan.
    check_excess(len(data), needed, shape[1] * shape[2] * dtype.itemsize, name)
    values = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=offset).reshape(shape)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    is_scaled = bool(np.isfinite([slope, intercept]).all()) and slope != 0.0
    if is_scaled and max(abs(slope), abs(intercept)) > 1e9:
        raise ScanReadError(f"{name}: its scl_slope and scl_inter give no HU; export the file again")
    placed = place_volume(header, name)
    return StoredVolume(
        values=values,
        spacing_mm=placed.spacing_mm,
        origin_lps_mm=placed.origin_lps_mm,
        axes_lps=placed.axes_lps,
        slope=slope if is_scaled else 1.0,
        intercept=intercept if is_scaled else 0.0,
        has_orientation=placed.has_orientation,
        warnings=find_contradictions(header, shape[::-1]),
    )


def write_nifti(
    path: Path,
    values: npt.NDArray[Any],
    *,
    spacing_mm: npt.ArrayLike,
    origin_lps_mm: npt.ArrayLike,
    axes_lps: npt.ArrayLike,
) -> None:
    """Write a NIfTI-1 file, gzip level 1 where the name ends in .gz.

    Parameters
    ----------
    path : Path
    values : ndarray of uint8, int16 or float32, shape (slowest, middle, fastest axis)
    spacing_mm, axes_lps : array_like
        Per axis of `values`; row i of `axes_lps` is the LPS direction of axis i.
    origin_lps_mm : array_like, shape (3,)
        Centre of the first voxel.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    # Columns of the affine belong to the file's axes, fastest first.
    axes_ras = (np.asarray(axes_lps, dtype=np.float64) * RAS_TO_LPS)[::-1].T
    spacing = np.asarray(spacing_mm, dtype=np.float64)[::-1]
    origin = np.asarray(origin_lps_mm, dtype=np.float64) * RAS_TO_LPS
    header = np.zeros((), dtype=_HEADER.newbyteorder("<"))
    quaternion, handedness = _quaternion(axes_ras)
    header["sizeof_hdr"] = _HEADER.itemsize
    header["dim"] = (3, *values.shape[::-1], 1, 1, 1, 1)
    header["datatype"] = _CODES[values.dtype.str[1:]]
    header["bitpix"] = values.dtype.itemsize * 8
    header["pixdim"] = (handedness, *spacing, 0, 0, 0, 0)
    header["vox_offset"] = 352
    header["scl_slope"] = 1.0
    header["xyzt_units"] = 2
    header["qform_code"] = header["sform_code"] = 1
    header["quatern"] = quaternion
    header["qoffset"] = origin
    header["srow"] = np.column_stack([axes_ras * spacing, origin])
    header["magic"] = b"n+1"
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    try:
        _write_bytes(path, header.tobytes() + b"\0" * 4, np.ascontiguousarray(little))
    except OSError as error:
        raise OutputError(
            f"{path.name} cannot be written ({error.strerror}); choose another folder"
        ) from None


def _write_bytes(path: Path, header: bytes, values: npt.NDArray[Any]) -> None:
    if path.suffix != ".gz":
        with path.open("wb") as file:
            file.write(header)
            file.write(values.data)
        return
    # Labels are long runs: run-length matching halves the file at the same speed.
    strategy = zlib.Z_RLE if values.dtype.itemsize == 1 else zlib.Z_DEFAULT_STRATEGY
    compressor = zlib.compressobj(level=1, wbits=31, strategy=strategy)
    with path.open("wb") as file:
        file.write(compressor.compress(header))
        file.write(compressor.compress(values.data))
        file.write(compressor.flush())


def _header_path(path: Path) -> Path:
    return _beside(path, ".hdr") if path.suffix.lower() == ".img" else path


def _beside(path: Path, suffix: str) -> Path:
    """The other file of a pair, its suffix in the case of the first."""
    if path.suffix.lower() == suffix:
        return path
    found = path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)
    for one in (found, found.with_name(f"{found.name}.gz")):
        if one.is_file():
            return one
    raise ScanReadError(f"{path.name} needs {found.name} beside it; copy both files")


def _parse_header(data: bytes, name: str) -> npt.NDArray[Any]:
    for plain, magics in ((_HEADER, (b"n+1", b"ni1")), (_HEADER_2, (_MAGIC_2, _MAGIC_2.replace(b"+", b"i")))):
        for dtype in (plain.newbyteorder("<"), plain.newbyteorder(">")):
            if len(data) >= plain.itemsize:
                header: npt.NDArray[Any] = np.frombuffer(data, dtype=dtype, count=1)[0]
                if int(header["sizeof_hdr"]) == plain.itemsize and bytes(header["magic"]) in magics:
                    return header
    if data[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") and data[344:348] == bytes(4):
        raise ScanReadError(
            f"{name} is Analyze 7.5, which does not tell left from right; convert it to NIfTI"
        )
    raise ScanReadError(f"{name} is no NIfTI volume; convert it to .nii or .nii.gz")


def _data_offset(header: npt.NDArray[Any], name: str, *, at_least: int) -> int:
    """Where the voxels begin, a multiple of a byte written as a float."""
    offset = float(header["vox_offset"])
    if not 0.0 <= offset < 2**40:
        raise ScanReadError(f"{name}: its vox_offset is no place in a file; export the file again")
    return max(int(offset), at_least)


def _shape(header: npt.NDArray[Any], name: str) -> tuple[int, int, int]:
    n_dimensions = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : n_dimensions + 1]]
    if not 3 <= n_dimensions <= 7 or any(n != 1 for n in sizes[3:]):
        raise ScanReadError(
            f"{name} has {n_dimensions} dimensions {sizes}; expected one three-dimensional CT"
        )
    if min(sizes) < 1:
        raise ScanReadError(f"{name} is empty: its size is {sizes}; export the file again")
    check_sizes(sizes, name)
    if int(header["datatype"]) not in _TYPES:
        raise ScanReadError(f"{name} holds colors or complex numbers; expected one CT value a voxel")
    return sizes[2], sizes[1], sizes[0]


def _quaternion(axes_ras: FloatArray) -> tuple[FloatArray, float]:
    """Vector part of the unit quaternion of orthonormal columns, and their handedness (+1 or -1)."""
    from scipy.spatial.transform import Rotation

    handedness = 1.0 if np.linalg.det(axes_ras) > 0 else -1.0
    x, y, z, w = Rotation.from_matrix(axes_ras * (1.0, 1.0, handedness)).as_quat()
    sign = -1.0 if w < 0 else 1.0
    return np.array([x, y, z]) * sign, handedness
