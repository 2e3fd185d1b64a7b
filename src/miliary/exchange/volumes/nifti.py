"""NIfTI-1 files, read strictly and written fast.

Read here and not through ITK because ITK fills a truncated file with zeros and goes on, and because a
label volume is written several times faster at gzip level 1.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanGeometryError, ScanReadError
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
_MILLIMETRES_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# NIfTI points to the right and the front, DICOM to the left and the back.
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


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
    """

    values: npt.NDArray[Any]
    spacing_mm: FloatArray
    origin_lps_mm: FloatArray
    axes_lps: FloatArray
    slope: float = 1.0
    intercept: float = 0.0
    has_orientation: bool = True


def read_nifti(path: Path) -> StoredVolume:
    """Read a .nii or .nii.gz file.

    Raises
    ------
    ScanReadError
        Not NIfTI-1, truncated, damaged, not three-dimensional, or of colors.
    ScanGeometryError
        Sheared axes.
    """
    data = _read_bytes(path)
    header = _parse_header(data, path.name)
    shape = _shape(header, path.name)
    dtype = np.dtype(_TYPES[int(header["datatype"])]).newbyteorder(header["dim"].dtype.byteorder)
    offset = max(int(header["vox_offset"]), _HEADER.itemsize)
    needed = offset + int(np.prod(shape)) * dtype.itemsize
    if len(data) < needed:
        raise ScanReadError(
            f"{path.name} is truncated: {len(data)} bytes of {needed}; copy or export the file again"
        )
    values = np.frombuffer(data, dtype=dtype, count=int(np.prod(shape)), offset=offset).reshape(shape)
    affine, has_orientation = _affine(header)
    spacing, axes = _split_affine(affine, path.name)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    is_scaled = bool(np.isfinite([slope, intercept]).all()) and slope != 0.0
    return StoredVolume(
        values=values,
        spacing_mm=spacing,
        origin_lps_mm=affine[:, 3] * _RAS_TO_LPS,
        axes_lps=axes,
        slope=slope if is_scaled else 1.0,
        intercept=intercept if is_scaled else 0.0,
        has_orientation=has_orientation,
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
    axes_ras = (np.asarray(axes_lps, dtype=np.float64) * _RAS_TO_LPS)[::-1].T
    spacing = np.asarray(spacing_mm, dtype=np.float64)[::-1]
    origin = np.asarray(origin_lps_mm, dtype=np.float64) * _RAS_TO_LPS
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


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ScanReadError(f"{path.name} is truncated or damaged; copy or export the file again") from None
    except OSError as error:
        raise ScanReadError(
            f"{path.name} cannot be read ({error.strerror}); check the file and its rights"
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


def _parse_header(data: bytes, name: str) -> npt.NDArray[Any]:
    for dtype in (_HEADER.newbyteorder("<"), _HEADER.newbyteorder(">")):
        if len(data) >= _HEADER.itemsize:
            header = np.frombuffer(data, dtype=dtype, count=1)[0]
            if int(header["sizeof_hdr"]) == _HEADER.itemsize and bytes(header["magic"]) == b"n+1":
                return header
    raise ScanReadError(
        f"{name} is not a single-file NIfTI-1 volume; convert it to .nii or .nii.gz (NIfTI-1)"
    )


def _shape(header: npt.NDArray[Any], name: str) -> tuple[int, int, int]:
    n_dimensions = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : n_dimensions + 1]]
    if n_dimensions < 3 or any(n != 1 for n in sizes[3:]):
        raise ScanReadError(
            f"{name} has {n_dimensions} dimensions {sizes}; expected one three-dimensional CT"
        )
    if min(sizes) < 1:
        raise ScanReadError(f"{name} is empty: its size is {sizes}; export the file again")
    if int(header["datatype"]) not in _TYPES:
        raise ScanReadError(f"{name} holds colors or complex numbers; expected one CT value a voxel")
    return sizes[2], sizes[1], sizes[0]


def _affine(header: npt.NDArray[Any]) -> tuple[FloatArray, bool]:
    """RAS affine (3, 4) [mm] and whether the file gives one: sform before qform before bare spacing."""
    unit = _MILLIMETRES_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    if int(header["sform_code"]) > 0:
        return np.asarray(header["srow"], dtype=np.float64) * unit, True
    if int(header["qform_code"]) > 0:
        rotation = _rotation(np.asarray(header["quatern"], dtype=np.float64))
        rotation[:, 2] *= -1.0 if float(header["pixdim"][0]) < 0 else 1.0
        offset = np.asarray(header["qoffset"], dtype=np.float64)
        return np.column_stack([rotation * spacing, offset]) * unit, True
    return np.column_stack([np.diag(spacing), np.zeros(3)]) * unit, False


def _split_affine(affine: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Spacing and LPS axes (rows) of the array axes, slowest first."""
    columns = affine[:, :3]
    spacing = np.linalg.norm(columns, axis=0)
    if not np.all(np.isfinite(affine)) or spacing.min() <= 0.0:
        raise ScanGeometryError(f"{name} has no valid voxel spacing; export the file again")
    axes = columns / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > 0.01:
        raise ScanGeometryError(f"{name} has sheared axes; resample it to perpendicular ones")
    # Headers keep single precision; an exact 1 mm should stay one.
    return np.round(spacing[::-1], 6), (axes * _RAS_TO_LPS[:, None]).T[::-1]


def _rotation(quaternion: FloatArray) -> FloatArray:
    """Rotation matrix of the unit quaternion whose vector part is given."""
    b, c, d = quaternion
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _quaternion(axes_ras: FloatArray) -> tuple[FloatArray, float]:
    """Vector part of the unit quaternion of orthonormal columns, and their handedness (+1 or -1)."""
    from scipy.spatial.transform import Rotation

    handedness = 1.0 if np.linalg.det(axes_ras) > 0 else -1.0
    x, y, z, w = Rotation.from_matrix(axes_ras * (1.0, 1.0, handedness)).as_quat()
    sign = -1.0 if w < 0 else 1.0
    return np.array([x, y, z]) * sign, handedness
