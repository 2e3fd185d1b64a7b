"""Write a simulated scan as a DICOM CT series that any reader takes, marked as simulated."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError
from miliary.model.scan import Acquisition, Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_INTERCEPT_HU = -1024
_LOWEST_HU, _HIGHEST_HU = -32768, 32767 + _INTERCEPT_HU


def write_dicom_series(
    folder: str | Path, voxels_hu: npt.NDArray[Any], grid: Grid, *, acquisition: Acquisition, seed: int
) -> None:
    """Write one file per slice, under names that say nothing about their order.

    Parameters
    ----------
    folder : path-like
        New or empty.
    voxels_hu : ndarray, shape of `grid`
        Attenuation [HU]; rounded to whole numbers.
    grid : Grid
    acquisition : Acquisition
        What is known of the (simulated) scanner goes into the headers.
    seed : int
        Every UID and the file names follow from it, so the same call writes the same bytes.

    Raises
    ------
    OutputError
        The folder holds something already, or cannot be written.
    """
    if voxels_hu.shape != grid.shape_zyx:
        raise ValueError(f"voxels_hu has shape {voxels_hu.shape}, its grid {grid.shape_zyx}")
    target = Path(folder)
    template = _template(grid, acquisition, seed)
    names = np.random.default_rng(seed).permutation(len(voxels_hu))
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise OutputError(f"{target.name} is not empty; choose a new folder for the DICOM series")
        for index, plane in enumerate(voxels_hu):
            dataset = _slice_dataset(template, plane, grid, index, seed)
            dataset.save_as(target / f"image-{names[index]:05d}.dcm", enforce_file_format=True)
    except OSError as error:
        raise OutputError(
            f"{target.name} cannot be written ({error.strerror}); choose another folder"
        ) from None


def _describe_series(acquisition: Acquisition, seed: int) -> dict[str, Any]:
    """Elements that say whose series it is and how it was made, the same on all slices."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": _CT_IMAGE_STORAGE,
        "StudyDate": "20000101",
        "StudyTime": "000000",
        "AccessionNumber": "",
        "Modality": "CT",
        "Manufacturer": acquisition.manufacturer or "miliary simulation",
        "ManufacturerModelName": acquisition.model or "simulated scanner",
        "ReferringPhysicianName": "",
        "SeriesDescription": "Simulated, not a patient",
        "PatientName": "Simulated",
        "PatientID": f"SIMULATED-{seed}",
        "PatientBirthDate": "",
        "PatientSex": "",
        "BodyPartExamined": "CHEST",
        "KVP": "" if acquisition.kvp is None else _decimal(acquisition.kvp),
        "ConvolutionKernel": acquisition.kernel or "SIMULATED",
        "PatientPosition": acquisition.patient_position or "HFS",
        "StudyInstanceUID": _uid(seed, "study"),
        "SeriesInstanceUID": _uid(seed, "series"),
        "StudyID": "1",
        "SeriesNumber": 1,
        "AcquisitionNumber": 1,
        "FrameOfReferenceUID": _uid(seed, "frame"),
        "PositionReferenceIndicator": "",
        "ImageComments": "Simulated by miliary; not a patient",
    }


def _describe_pixels(grid: Grid, acquisition: Acquisition) -> dict[str, Any]:
    """Elements that say where the pixels of a slice lie and what they mean, the same on all slices."""
    _, y_axis, x_axis = grid.axes_lps
    step_mm, row_mm, column_mm = grid.spacing_zyx_mm
    return {
        "SliceThickness": _decimal(acquisition.slice_thickness_mm or step_mm),
        "ImageOrientationPatient": [_decimal(value) for value in (*x_axis, *y_axis)],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": grid.shape_zyx[1],
        "Columns": grid.shape_zyx[2],
        "PixelSpacing": [_decimal(row_mm), _decimal(column_mm)],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": _INTERCEPT_HU,
        "RescaleSlope": 1,
        "RescaleType": "HU",
    }


def _template(grid: Grid, acquisition: Acquisition, seed: int) -> Dataset:
    """What all slices share."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _CT_IMAGE_STORAGE  # type: ignore[assignment]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    shared = {**_describe_series(acquisition, seed), **_describe_pixels(grid, acquisition)}
    if acquisition.exposure_mas is not None:
        shared["Exposure"] = round(acquisition.exposure_mas)
    if acquisition.contrast_agent:
        shared["ContrastBolusAgent"] = "IV"
    for keyword, value in shared.items():
        setattr(dataset, keyword, value)
    return dataset


def _slice_dataset(
    template: Dataset, plane_hu: npt.NDArray[Any], grid: Grid, index: int, seed: int
) -> Dataset:
    dataset = copy.copy(template)
    dataset.file_meta = copy.copy(template.file_meta)
    instance = _uid(seed, f"slice {index}")
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.SOPInstanceUID = instance
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [_decimal(value) for value in grid.lps_from_index((index, 0, 0))]
    stored = np.clip(np.rint(plane_hu), _LOWEST_HU, _HIGHEST_HU).astype("<i2") - np.int16(_INTERCEPT_HU)
    dataset.PixelData = stored.tobytes()
    return dataset


def _decimal(value: float) -> str:
    """A DICOM decimal string: at most 16 characters."""
    for digits in range(12, 3, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} does not fit a DICOM decimal string")


def _uid(seed: int, what: str) -> Any:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=["miliary", str(seed), what])
