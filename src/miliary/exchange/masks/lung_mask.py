"""`read_lung_mask`: lungs that were outlined elsewhere, on the grid of a scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.masks import lung_labels
from miliary.exchange.masks.label_names import read_label_names
from miliary.exchange.masks.segmentation_object import is_segmentation, read_segmentation
from miliary.exchange.volumes.orientation import (
    canonical_grid,
    canonical_view,
    find_source_order,
    source_geometry,
)
from miliary.exchange.volumes.stored_volume import StoredVolume
from miliary.exchange.volumes.volume_file import name_format, read_stored
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, LungMask
from miliary.model.scan import Grid, Scan, ScanWarning

Labels = npt.NDArray[np.uint8]

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
# Corners of two grids that are one lie no further apart than this share of a voxel.
_SAME_GRID = 0.1
# Share of the mask that has to lie inside the scan, and from which that is worth a word.
_MIN_INSIDE, _ALL_INSIDE = 0.05, 0.99


def read_lung_mask(path: str | Path, scan: Scan) -> LungMask:
    """Read a mask of the lungs and bring it onto the grid of a scan.

    Parameters
    ----------
    path : path-like
        A NIfTI, NRRD or MetaImage label volume; a DICOM SEG, or a folder that holds one; or a folder of
        single lobes as TotalSegmentator writes it (``lung_upper_lobe_left.nii.gz`` and so on). Labels may be
        those of TotalSegmentator or lungmask, 1 and 2 for the right and the left lung, one label for both,
        or any that the file names.
    scan : Scan
        The scan to be measured.

    Returns
    -------
    LungMask
        A mask on another grid is resampled to the nearest voxel. Warnings: `lung_mask_resampled`,
        `lung_mask_beyond_scan`, `lung_mask_without_place`.

    Raises
    ------
    ScanReadError
        It cannot be read, is empty, or its labels are not known.
    ScanGeometryError
        It lies elsewhere in the patient than the scan.
    """
    place = Path(path)
    name = place.name or "the mask"
    if place.is_dir():
        return _read_folder(place, scan)
    if not place.is_file():
        raise ScanReadError(
            f"{name} does not exist; give a lung mask: a volume file, a DICOM SEG or a folder"
        )
    if name.lower().endswith(_VOLUMES):
        if (lobe := _name_lobe(name)) is not None:
            raise ScanReadError(f"{name} is one lobe ({lobe}); give the folder that holds all of them")
        stored, names, what = read_stored(place, is_mask=True), read_label_names(place), name_format(place)
    elif is_segmentation(place):
        (stored, names), what = read_segmentation(place), "DICOM SEG"
    else:
        raise ScanReadError(f"{name} is no lung mask; give NIfTI, NRRD, MetaImage or a DICOM SEG")
    values, grid, has_place = _bring_to_patient(stored, scan, name=name)
    columns = _list_columns(grid)
    reading = lung_labels.read_labels(values, names, columns, name=name)
    lookup = np.zeros(int(values.max()) + 1, dtype=np.uint8)
    for label, side in reading.sides.items():
        if label < len(lookup):
            lookup[label] = side
    placed = _place(lookup[values], grid, scan, name=name)
    said = () if has_place else (_warn_place(),)
    return LungMask(placed.labels, f"{what}, {reading.maker}{placed.source}", (*said, *placed.warnings))


def _read_folder(folder: Path, scan: Scan) -> LungMask:
    """Single lobes, or the one DICOM SEG of a folder."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] != ".")
    lobes = [
        file for file in files if file.name.lower().endswith(_VOLUMES) and _side_of_file(file) is not None
    ]
    if lobes:
        return _join_files(lobes, scan, name=folder.name)
    objects = [file for file in files if not file.name.lower().endswith(_VOLUMES) and is_segmentation(file)]
    if len(objects) == 1:
        return read_lung_mask(objects[0], scan)
    raise ScanReadError(
        f"{folder.name}: holds {len(objects) or 'no'} DICOM SEG and no lobes such as "
        "lung_upper_lobe_left.nii.gz; give one lung mask"
    )


def _join_files(files: list[Path], scan: Scan, *, name: str) -> LungMask:
    """Lungs from files of one lobe or one lung each."""
    labels: Labels = np.zeros(scan.grid.shape_zyx, dtype=np.uint8)
    notes: dict[str, ScanWarning] = {}
    filled = source = ""
    for file in files:
        values, grid, has_place = _bring_to_patient(read_stored(file, is_mask=True), scan, name=file.name)
        if not values.any():
            continue
        side = _side_of_file(file)
        placed = _place((values > 0).astype(np.uint8) * np.uint8(side or 0), grid, scan, name=file.name)
        labels = np.maximum(labels, np.where(labels == 0, placed.labels, np.uint8(0)))
        source, filled = placed.source, file.name
        said = () if has_place else (_warn_place(),)
        notes |= {one.code: one for one in (*said, *placed.warnings)}
    if not filled:
        raise ScanReadError(f"{name}: its lobes are empty; give a mask of the lungs")
    what = f"{len(files)} files of lobes ({name_format(files[0])}), labels of TotalSegmentator"
    return LungMask(labels, what + source, tuple(notes.values()))


def _side_of_file(file: Path) -> int | None:
    """The side that the name of a file of one lobe or lung says."""
    side = lung_labels.side_of_name(_stem(file.name))
    return side if side in (LABEL_RIGHT, LABEL_LEFT) else None


def _name_lobe(name: str) -> str | None:
    """The lobe that a file of a single one is named after."""
    stem = _stem(name)
    return stem.replace("_", " ") if "lobe_" in stem and lung_labels.side_of_name(stem) else None


def _stem(name: str) -> str:
    return name.partition(".")[0].lower()


def _bring_to_patient(
    stored: StoredVolume, scan: Scan, *, name: str
) -> tuple[npt.NDArray[np.integer[Any]], Grid, bool]:
    """Whole labels in canonical order, their grid, and whether the file says how it lies."""
    values = _whole_numbers(stored, name)
    if stored.has_orientation:
        order = find_source_order(stored.axes_lps)
        grid = canonical_grid(
            values.shape,
            spacing_mm=stored.spacing_mm,
            origin_lps_mm=stored.origin_lps_mm,
            axes_lps=stored.axes_lps,
            order=order,
        )
        return canonical_view(values, order), grid, True
    expected = source_geometry(scan.grid, scan.source_order)[0]
    if values.shape != expected:
        raise ScanGeometryError(
            f"{name}: does not say how it lies in the patient, and its size {values.shape} is not that of "
            f"the scan {expected}; export it with its orientation"
        )
    return canonical_view(values, scan.source_order), scan.grid, False


def _whole_numbers(stored: StoredVolume, name: str) -> npt.NDArray[np.integer[Any]]:
    """The labels as whole numbers of 0 to 65,535."""
    values = stored.values
    if (stored.slope, stored.intercept) != (1.0, 0.0) or values.dtype.kind == "f":
        scaled = np.asarray(values, dtype=np.float32) * np.float32(stored.slope) + np.float32(
            stored.intercept
        )
        if not np.isfinite(scaled).all() or (np.rint(scaled) != scaled).any():
            raise ScanReadError(f"{name}: holds fractions; give a mask of whole labels, 0 outside the lungs")
        low, high = float(scaled.min()), float(scaled.max())
        values = scaled
    else:
        low, high = int(values.min()), int(values.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ScanReadError(
            f"{name}: holds values of {low:g} to {high:g}, as a scan does; give a mask of whole labels, 0 "
            "outside the lungs"
        )
    return values.astype(np.uint16)


def _list_columns(grid: Grid) -> npt.NDArray[np.float64]:
    """Place of every column towards the left [mm], through the middle of the grid."""
    index = np.zeros((grid.shape_zyx[2], 3))
    index[:, :2] = 0.5 * (np.asarray(grid.shape_zyx[:2]) - 1.0)
    index[:, 2] = np.arange(grid.shape_zyx[2])
    return np.asarray(grid.lps_from_index(index)[:, 0])


def _place(labels: Labels, grid: Grid, scan: Scan, *, name: str) -> LungMask:
    """The labels on the grid of the scan; `source` holds what is to be added about that."""
    if is_same_grid(grid, scan.grid):
        return LungMask(np.ascontiguousarray(labels), "")
    from scipy import ndimage

    # Index in the mask of an index in the scan: both are affine in patient coordinates.
    matrix = scan.grid.step_lps_mm @ np.linalg.inv(grid.step_lps_mm)
    offset = grid.index_from_lps(np.asarray(scan.grid.origin_lps_mm))
    placed = ndimage.affine_transform(
        labels,
        matrix.T,
        offset,
        output_shape=scan.grid.shape_zyx,
        output=np.uint8,
        order=0,
        mode="grid-constant",
    )
    before_ml = np.count_nonzero(labels) * grid.voxel_volume_mm3 / 1000.0
    after_ml = np.count_nonzero(placed) * scan.grid.voxel_volume_mm3 / 1000.0
    share = after_ml / before_ml if before_ml else 0.0
    if share < _MIN_INSIDE:
        raise ScanGeometryError(
            f"{name}: lies elsewhere in the patient than the scan ({share:.0%} of it inside); give the mask "
            "of this scan"
        )
    spacing = " x ".join(f"{v:.4g}" for v in grid.spacing_zyx_mm)
    said = [
        ScanWarning(
            "lung_mask_resampled",
            f"The lung mask lies on another grid (voxels of {spacing} mm); it was resampled to the nearest "
            "voxel.",
        )
    ]
    if share < _ALL_INSIDE:
        said.append(
            ScanWarning("lung_mask_beyond_scan", f"Of the lung mask {1.0 - share:.0%} lies outside the scan.")
        )
    return LungMask(placed, ", resampled to the scan", tuple(said))


def is_same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same voxels, to a tenth of one.

    Parameters
    ----------
    one, other : Grid

    Returns
    -------
    bool
    """
    if one.shape_zyx != other.shape_zyx:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in one.shape_zyx])).reshape(3, -1).T
    off = other.index_from_lps(one.lps_from_index(corners)) - corners
    return bool(np.abs(off).max() < _SAME_GRID)


def _warn_place() -> ScanWarning:
    return ScanWarning(
        "lung_mask_without_place",
        "The lung mask does not say how it lies in the patient; it was taken voxel by voxel.",
    )
