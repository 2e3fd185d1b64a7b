"""Volume files: NIfTI, NRRD and MetaImage in, NIfTI (and the others) out."""

from __future__ import annotations

import contextlib
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanReadError
from miliary.exchange.volumes.metaimage import read_metaimage, write_metaimage
from miliary.exchange.volumes.nifti import read_nifti, write_nifti
from miliary.exchange.volumes.nrrd import read_nrrd, write_nrrd
from miliary.exchange.volumes.orientation import (
    canonical_grid,
    find_source_order,
    source_geometry,
    source_view,
)
from miliary.exchange.volumes.scan_checks import (
    check_grid,
    check_hounsfield,
    find_clipping,
    find_limits,
    replace_padding,
)
from miliary.exchange.volumes.stored_volume import StoredVolume
from miliary.model.scan import Acquisition, Grid, Scan, ScanWarning, SourceOrder

_NIFTI = (".nii", ".nii.gz")
_FORMATS = {
    ".nii": "nifti",
    ".hdr": "nifti",
    ".img": "nifti",
    ".gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
_WRITABLE = (".nii", ".gz", ".nrrd", ".mha")
_READERS = {"nifti": read_nifti, "nrrd": read_nrrd, "metaimage": read_metaimage}
_WRITERS = {"nifti": write_nifti, "nrrd": write_nrrd, "metaimage": write_metaimage}
_INT16 = np.iinfo(np.int16)


def read_volume(path: Path) -> Scan:
    """Read a chest CT from a volume file.

    Parameters
    ----------
    path : Path
        .nii, .nii.gz, .hdr with .img, .nrrd, .nhdr, .mha or .mhd, in HU; told by its content where its name
        says nothing.

    Returns
    -------
    Scan
        int16 where every value is a whole number, else float32.

    Raises
    ------
    ScanReadError
        Truncated or damaged, not three-dimensional, color, NaN, or not in HU.
    ScanGeometryError
        Sheared, too coarse or too short.
    """
    stored = read_stored(path)
    order = find_source_order(stored.axes_lps)
    n0, n1, n2 = stored.values.shape
    grid = canonical_grid(
        (n0, n1, n2),
        spacing_mm=stored.spacing_mm,
        origin_lps_mm=stored.origin_lps_mm,
        axes_lps=stored.axes_lps,
        order=order,
    )
    check_grid(grid, name=path.name)
    voxels: npt.NDArray[Any] = np.empty(grid.shape_zyx, dtype=_voxel_dtype(stored, path.name))
    _fill(source_view(voxels, order), stored)
    check_hounsfield(voxels, name=path.name)
    acquisition = Acquisition(source_format=name_format(path), n_files=1)
    warnings = [*stored.warnings, *find_limits(grid, acquisition), *find_clipping(voxels)]
    if not stored.has_orientation:
        text = "the file does not say how it lies in the patient: sides and directions cannot be trusted"
        warnings.append(ScanWarning("orientation_unknown", text))
    return Scan(
        voxels_hu=voxels, grid=grid, acquisition=acquisition, warnings=tuple(warnings), source_order=order
    )


def read_stored(path: Path, *, is_mask: bool = False) -> StoredVolume:
    """Read a volume file as it is, whatever its values mean.

    Parameters
    ----------
    path : path
        .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd.
    is_mask : bool
        Whether labels are expected, which compress far more than attenuation.

    Returns
    -------
    StoredVolume

    Raises
    ------
    ScanReadError
        Truncated, damaged, not three-dimensional, or of colors.
    ScanGeometryError
        Without a valid spacing, or sheared.
    """
    kind = name_format(path)
    return read_nifti(path, is_mask=is_mask) if kind == "nifti" else _READERS[kind](path)


def name_format(path: Path) -> str:
    """The format of a volume file by its first bytes, or by its suffix: nifti, nrrd or metaimage."""
    return find_volume_format(path) or _FORMATS.get(path.suffix.lower()) or "nifti"


def find_volume_format(path: Path) -> str | None:
    """Which format a file has by its first bytes: ``nifti``, ``nrrd``, ``metaimage``, or `None`.

    Raises
    ------
    ScanReadError
        It cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ScanReadError(
            f"{path.name} cannot be opened ({error.strerror}); check the file and its rights"
        ) from None
    if head[:2] == b"\x1f\x8b":
        # Whatever is inflated of a start is too little to be complete.
        with contextlib.suppress(zlib.error):
            head = zlib.decompressobj(wbits=47).decompress(head, 4096)
    if head.startswith(b"NRRD000"):
        return "nrrd"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    return "metaimage" if re.match(rb"(ObjectType|NDims|Comment)\s*=", head) else None


def write_label_volume(
    path: str | Path, labels_zyx: npt.NDArray[np.uint8], grid: Grid, source_order: SourceOrder
) -> None:
    """Write labels as NIfTI on the grid of the scan's file, its axis order included.

    Parameters
    ----------
    path : path-like
        .nii or .nii.gz.
    labels_zyx : ndarray of uint8, shape of `grid`
    grid : Grid
    source_order : SourceOrder
        Of the scan; undone, so that the array of the file matches that of the source file.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    if labels_zyx.shape != grid.shape_zyx:
        raise ValueError(f"labels_zyx has shape {labels_zyx.shape}, its grid {grid.shape_zyx}")
    _, spacing, origin, axes = source_geometry(grid, source_order)
    write_nifti(
        _nifti_path(path),
        source_view(labels_zyx.astype(np.uint8, copy=False), source_order),
        spacing_mm=spacing,
        origin_lps_mm=origin,
        axes_lps=axes,
    )


def write_volume(path: str | Path, voxels_hu: npt.NDArray[Any], grid: Grid) -> None:
    """Write attenuation in HU as NIfTI, NRRD or MetaImage, by the suffix.

    Parameters
    ----------
    path : path-like
    voxels_hu : ndarray of int16 or float, shape of `grid`
        Floating-point values are written as float32.
    grid : Grid

    Raises
    ------
    OutputError
        The suffix is not known, or the file cannot be written.
    """
    if voxels_hu.shape != grid.shape_zyx:
        raise ValueError(f"voxels_hu has shape {voxels_hu.shape}, its grid {grid.shape_zyx}")
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _WRITABLE or (suffix == ".gz" and not target.name.lower().endswith(_NIFTI)):
        raise OutputError(f"{target.name}: unknown volume format; use .nii.gz, .nrrd or .mha")
    _WRITERS[_FORMATS[suffix]](
        target,
        voxels_hu if voxels_hu.dtype == np.int16 else voxels_hu.astype(np.float32, copy=False),
        spacing_mm=grid.spacing_zyx_mm,
        origin_lps_mm=grid.origin_lps_mm,
        axes_lps=grid.axes_lps,
    )


def _nifti_path(path: str | Path) -> Path:
    target = Path(path)
    if not target.name.lower().endswith(_NIFTI):
        raise OutputError(f"{target.name}: labels are written as NIfTI; use .nii.gz")
    return target


def _voxel_dtype(stored: StoredVolume, name: str) -> type[np.int16 | np.float32]:
    """int16 if every value is whole; refuses what is not finite or overflows, one slab at a time."""
    is_whole = float(stored.slope).is_integer() and float(stored.intercept).is_integer()
    for slab in stored.values:
        if slab.dtype.kind == "f":
            if not np.isfinite(slab).all():
                raise ScanReadError(
                    f"{name} holds NaN or infinite values; replace them by -1024 HU outside the body"
                )
            is_whole = is_whole and bool((np.rint(slab) == slab).all())
        highest = float(slab.max()) * stored.slope + stored.intercept
        if highest > _INT16.max:
            raise ScanReadError(
                f"{name} holds {highest:.0f} HU: a 16-bit overflow of its stored values or a wrong rescale; "
                "export the scan again as CT in HU"
            )
    return np.int16 if is_whole else np.float32


def _fill(volume: npt.NDArray[Any], stored: StoredVolume) -> None:
    for place, slab in zip(volume, stored.values, strict=True):
        values = slab if slab.dtype == np.int16 else slab.astype(np.float64)
        if (stored.slope, stored.intercept) != (1.0, 0.0):
            values = values.astype(np.float64) * stored.slope + stored.intercept
        if values.dtype != np.int16:
            values = np.maximum(values, _INT16.min)
        place[...] = values
        replace_padding(place)
