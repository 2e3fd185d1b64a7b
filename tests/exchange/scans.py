"""A small chest phantom and DICOM files that are right or wrong in one chosen way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from miliary.exchange.dicom.write_ct import write_dicom_series
from miliary.model.scan import Acquisition, Grid

SHAPE = (24, 40, 48)
SPACING = (2.0, 1.5, 1.25)


def phantom_hu(shape: tuple[int, int, int] = SHAPE, *, seed: int = 0) -> np.ndarray:
    """Body with two unequal lungs in air, noise, and no symmetry in any axis."""
    nz, ny, nx = shape
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = x**2 + 1.3 * y**2 < 0.85
    right = ((x + 0.4) / 0.28) ** 2 + (y / 0.45) ** 2 + ((z - 0.1) / 1.4) ** 2 < 1
    left = ((x - 0.4) / 0.22) ** 2 + ((y - 0.1) / 0.4) ** 2 + ((z + 0.1) / 1.3) ** 2 < 1
    volume = np.where(body, 40.0, -1000.0)
    volume[right | left] = -850.0
    volume += np.random.default_rng(seed).normal(0, 12, (nz, ny, nx))
    # One bright voxel marks a point that every reading must put at the same place.
    volume[nz // 4, ny // 3, nx // 5] = 900.0
    return np.rint(volume).astype(np.int16)


def phantom_grid(shape: tuple[int, int, int] = SHAPE) -> Grid:
    return Grid(shape, SPACING, (-31.5, -22.25, 104.5))


def bright_point_lps_mm(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    return grid.lps_from_index(np.unravel_index(int(voxels.argmax()), voxels.shape))


def write_phantom(
    folder: Path,
    *,
    voxels: np.ndarray | None = None,
    grid: Grid | None = None,
    acquisition: Acquisition | None = None,
    seed: int = 5,
) -> np.ndarray:
    voxels = phantom_hu() if voxels is None else voxels
    write_dicom_series(
        folder,
        voxels,
        phantom_grid(voxels.shape) if grid is None else grid,
        acquisition=acquisition or Acquisition(kernel="STANDARD"),
        seed=seed,
    )
    return voxels


def files_by_position(folder: Path) -> list[Path]:
    """The files from feet to head."""
    return sorted(folder.glob("*.dcm"), key=lambda p: float(pydicom.dcmread(p).ImagePositionPatient[2]))


def edit(path: Path, change: Callable[[Dataset], Any]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def edit_all(folder: Path, change: Callable[[Dataset], Any]) -> None:
    for path in folder.glob("*.dcm"):
        edit(path, change)


def write_multiframe(path: Path, voxels: np.ndarray, grid: Grid, *, frames: list[int] | None = None) -> None:
    """An enhanced CT of one file, its frames in any order."""
    folder = path.with_suffix(".parts")
    write_dicom_series(folder, voxels, grid, acquisition=Acquisition(kernel="B30f"), seed=3)
    slices = [pydicom.dcmread(p) for p in files_by_position(folder)]
    chosen = [slices[i] for i in (frames or range(len(slices)))]
    dataset = chosen[0]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.NumberOfFrames = len(chosen)
    items = []
    for one in [pydicom.dcmread(p) for p in files_by_position(folder)] if frames is None else chosen:
        position = Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        item = Dataset()
        item.PlanePositionSequence = [position]
        items.append(item)
    orientation, measures, scaling, shared = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = dataset.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = dataset.PixelSpacing, dataset.SliceThickness
    scaling.RescaleSlope, scaling.RescaleIntercept = dataset.RescaleSlope, dataset.RescaleIntercept
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [scaling]
    pixels = b"".join(one.PixelData for one in chosen)
    per_slice = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
    for keyword in (*per_slice, "RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = items
    dataset.PixelData = pixels
    dataset.save_as(path, enforce_file_format=True)
