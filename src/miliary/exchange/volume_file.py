"""Volume files: NIfTI, NRRD and MetaImage in, NIfTI (and the others) out."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError, ScanGeometryError, ScanReadError
from miliary.exchange.nifti import StoredVolume, read_nifti, write_nifti
from miliary.exchange.orientation import canonical_grid, find_source_order, source_geometry, source_view
from miliary.exchange.scan_checks import (
    MAX_SPACING_MM,
    MIN_COVERAGE_MM,
    MIN_SLICES,
    check_hounsfield,
    find_clipping,
    find_limits,
    replace_padding,
)
from miliary.scan import Acquisition, Grid, Scan, ScanWarning, SourceOrder

_NIFTI = (".nii", ".nii.gz")
_FORMATS = {
    ".nii": "nifti",
    ".gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
_METAIMAGE_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_INT16 = np.iinfo(np.int16)


def read_volume(path: Path) -> Scan:
    """Read a chest CT from a volume file.

    Parameters
    ----------
    path : Path
        .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd, in HU.

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
    stored = read_nifti(path) if path.name.lower().endswith(_NIFTI) else _read_itk(path)
    order = find_source_order(stored.axes_lps)
    n0, n1, n2 = stored.values.shape
    grid = canonical_grid(
        (n0, n1, n2),
        spacing_mm=stored.spacing_mm,
        origin_lps_mm=stored.origin_lps_mm,
        axes_lps=stored.axes_lps,
        order=order,
    )
    _check_grid(grid, path.name)
    voxels: npt.NDArray[Any] = np.empty(grid.shape_zyx, dtype=_voxel_dtype(stored, path.name))
    _fill(source_view(voxels, order), stored)
    check_hounsfield(voxels, name=path.name)
    acquisition = Acquisition(source_format=_FORMATS[path.suffix.lower()], n_files=1)
    warnings = [*find_limits(grid, acquisition), *find_clipping(voxels)]
    if not stored.has_orientation:
        text = "the file does not say how it lies in the patient: sides and directions cannot be trusted"
        warnings.append(ScanWarning("orientation_unknown", text))
    return Scan(
        voxels_hu=voxels, grid=grid, acquisition=acquisition, warnings=tuple(warnings), source_order=order
    )


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
    values = voxels_hu if voxels_hu.dtype == np.int16 else voxels_hu.astype(np.float32, copy=False)
    if target.name.lower().endswith(_NIFTI):
        write_nifti(
            target,
            values,
            spacing_mm=grid.spacing_zyx_mm,
            origin_lps_mm=grid.origin_lps_mm,
            axes_lps=grid.axes_lps,
        )
        return
    if target.suffix.lower() not in _FORMATS:
        raise OutputError(f"{target.name}: unknown volume format; use .nii.gz, .nrrd or .mha")
    _write_itk(target, values, grid)


def _nifti_path(path: str | Path) -> Path:
    target = Path(path)
    if not target.name.lower().endswith(_NIFTI):
        raise OutputError(f"{target.name}: labels are written as NIfTI; use .nii.gz")
    return target


def _check_grid(grid: Grid, name: str) -> None:
    n, step = grid.shape_zyx[0], grid.spacing_zyx_mm[0]
    if max(grid.spacing_zyx_mm) > MAX_SPACING_MM + 1e-3:
        raise ScanGeometryError(
            f"{name}: voxels are {max(grid.spacing_zyx_mm):.4g} mm apart, at most {MAX_SPACING_MM:g} mm can "
            "be measured; use a thin reconstruction"
        )
    if n < MIN_SLICES or n * step < MIN_COVERAGE_MM:
        raise ScanGeometryError(
            f"{name}: only {n} slices over {n * step:.0f} mm, at least {MIN_SLICES} over "
            f"{MIN_COVERAGE_MM:.0f} mm are needed; give the whole scan"
        )


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


def _read_itk(path: Path) -> StoredVolume:
    """NRRD and MetaImage through SimpleITK."""
    if _FORMATS[path.suffix.lower()] == "metaimage":
        _check_metaimage(path)
    sitk: Any = importlib.import_module("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # noqa: FBT003  ITK's signature
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise ScanReadError(
            f"{path.name} is not a readable NRRD or MetaImage volume; copy or export the file again"
        ) from None
    size = reader.GetSize()
    if len(size) < 3 or any(n != 1 for n in size[3:]):
        raise ScanReadError(
            f"{path.name} has {len(size)} dimensions {list(size)}; expected one three-dimensional CT"
        )
    if reader.GetNumberOfComponents() != 1:
        raise ScanReadError(f"{path.name} holds colors or vectors; expected one CT value a voxel")
    if len(size) > 3:
        reader.SetExtractSize([*size[:3], *[0 for _ in size[3:]]])
    try:
        image = reader.Execute()
    except RuntimeError:
        raise ScanReadError(f"{path.name} is truncated or damaged; copy or export the file again") from None
    direction = np.reshape(image.GetDirection(), (3, 3))
    return StoredVolume(
        values=sitk.GetArrayFromImage(image),
        spacing_mm=np.array(image.GetSpacing())[::-1],
        origin_lps_mm=np.array(image.GetOrigin()),
        axes_lps=direction.T[::-1],
    )


def _check_metaimage(path: Path) -> None:
    """Refuse a short or broken MetaImage before ITK prints about it on its own."""
    with path.open("rb") as file:
        lines, found, rest = file.read(65536).partition(b"ElementDataFile")
    fields: dict[str, str] = {}
    for line in lines.decode("latin-1").split("\n"):
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip()
    sizes = fields.get("DimSize", "").split()
    is_broken = not found or not sizes or not all(size.isdecimal() for size in sizes)
    if not is_broken and rest.split(b"\n")[0].split(b"=")[-1].strip() == b"LOCAL":
        n_bytes = math.prod(int(n) for n in sizes) * _METAIMAGE_BYTES.get(fields.get("ElementType", ""), 0)
        if fields.get("CompressedData", "False").lower() == "true":
            n_bytes = int(fields.get("CompressedDataSize", "0") or 0)
        is_broken = path.stat().st_size < len(lines) + n_bytes
    if is_broken:
        raise ScanReadError(f"{path.name} is truncated or no MetaImage; copy or export the file again")


def _write_itk(path: Path, values: npt.NDArray[Any], grid: Grid) -> None:
    sitk: Any = importlib.import_module("SimpleITK")

    image = sitk.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_zyx_mm[::-1])
    image.SetOrigin(grid.origin_lps_mm)
    image.SetDirection(np.array(grid.axes_lps)[::-1].T.ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
    except RuntimeError:
        raise OutputError(f"{path.name} cannot be written; choose another folder") from None
