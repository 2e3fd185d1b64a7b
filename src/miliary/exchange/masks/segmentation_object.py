"""DICOM SEG: the segments of one object as a label volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.dicom.read_series import quiet_parser
from miliary.exchange.masks.lung_labels import side_of_name
from miliary.exchange.volumes.stored_volume import StoredVolume, make_stored
from miliary.model.scan import FloatArray

# Frames lie on multiples of the step between them, within this share of it.
_STEP_TOLERANCE = 0.1
_MAX_SLICES = 5000


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation object."""
    import pydicom

    try:
        with quiet_parser():
            head = pydicom.dcmread(path, specific_tags=["Modality"], stop_before_pixels=True)
            return str(head.get("Modality", "")) == "SEG"
    except Exception:  # noqa: BLE001  whatever a damaged header makes the parser raise
        return False


def read_segmentation(path: Path) -> tuple[StoredVolume, dict[int, str]]:
    """Read the segments of a DICOM SEG that are lungs.

    Parameters
    ----------
    path : path
        Binary, fractional (from one half on) or label map.

    Returns
    -------
    volume : StoredVolume
        Segment numbers, 0 outside; slices that the object leaves out are 0.
    names : dict of int to str
        Names of the segments that are lungs, their side included.

    Raises
    ------
    ScanReadError
        Damaged, without pixels, or without a segment of lung.
    ScanGeometryError
        Frames that do not lie on one regular grid.
    """
    import pydicom

    try:
        with quiet_parser():
            data = pydicom.dcmread(path)
            frames = data.pixel_array
            names = _list_segments(data, path.name)
            shown = np.atleast_3d(frames) if frames.ndim > 2 else frames[None]
            return _stack_frames(data, shown, names, path.name), names
    except (ScanReadError, ScanGeometryError):
        raise
    except Exception:  # noqa: BLE001  values are parsed on access, and damaged ones raise anything
        raise ScanReadError(f"{path.name} is a damaged DICOM segmentation; export it again") from None


def _list_segments(data: Any, file_name: str) -> dict[int, str]:
    """Names of the segments that are lungs, by number."""
    names = {}
    for segment in data.SegmentSequence:
        words = [str(segment.get("SegmentLabel", "")), str(segment.get("SegmentDescription", ""))]
        for code in segment.get("SegmentedPropertyTypeCodeSequence", ()):
            words.append(str(code.get("CodeMeaning", "")))
            modifiers = code.get("SegmentedPropertyTypeModifierCodeSequence", ())
            words += [str(modifier.get("CodeMeaning", "")) for modifier in modifiers]
        name = next((word for word in (words[0], " ".join(words[2:]), words[1]) if side_of_name(word)), None)
        if name is not None:
            names[int(segment.SegmentNumber)] = name
    if not names:
        raise ScanReadError(f"{file_name}: no segment is a lung or a lobe of one; give a mask of the lungs")
    return names


def _stack_frames(data: Any, frames: npt.NDArray[Any], names: dict[int, str], file_name: str) -> StoredVolume:
    """The frames of the lungs on one regular grid; where segments overlap the later one counts."""
    shared = data.SharedFunctionalGroupsSequence[0]
    is_label_map = str(data.get("SegmentationType", "")) == "LABELMAP"
    groups = list(data.PerFrameFunctionalGroupsSequence)
    row, column, spacing = _read_plane(shared, groups[0])
    normal = np.cross(row, column)
    places = np.array(
        [_first(shared, group, "PlanePositionSequence").ImagePositionPatient for group in groups]
    )
    places = places.astype(np.float64)
    if not np.isfinite(places).all():
        raise ScanGeometryError(f"{file_name}: a frame has no valid position; export it again")
    offset, step = _regular_steps(places @ normal, shared, groups[0], file_name)
    in_plane = places - np.outer(places @ normal, normal)
    if np.abs(in_plane - in_plane[0]).max() > 0.5 * min(spacing):
        raise ScanGeometryError(f"{file_name}: its frames are shifted against each other; resample it first")
    values = np.zeros((int(offset.max()) + 1, *frames.shape[1:]), dtype=np.uint16)
    half = int(data.get("MaximumFractionalValue", 1)) / 2.0 if not is_label_map else 0.0
    for frame, k, group in zip(frames, offset, groups, strict=True):
        if is_label_map:
            values[k] = np.where(np.isin(frame, list(names)), frame, values[k])
            continue
        number = int(_first(shared, group, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        if number in names:
            values[k][frame > half if half >= 1.0 else frame > 0] = number
    axes, sizes = np.array([row, column, normal]), np.array([spacing[1], spacing[0], step])
    return make_stored(
        values,
        steps=axes * sizes[:, None],
        origin=places[int(np.argmin(offset))],
        has_orientation=True,
        name=file_name,
    )


def _read_plane(shared: Any, group: Any) -> tuple[FloatArray, FloatArray, tuple[float, float]]:
    """Directions of a row's and a column's pixels, and the distance of rows and of columns [mm]."""
    six = np.array(
        _first(shared, group, "PlaneOrientationSequence").ImageOrientationPatient, dtype=np.float64
    )
    rows, columns = (float(v) for v in _first(shared, group, "PixelMeasuresSequence").PixelSpacing)
    return six[:3], six[3:], (rows, columns)


def _first(shared: Any, group: Any, keyword: str) -> Any:
    """The first item of a functional group, of the frame itself or of all frames."""
    return (group if keyword in group else shared)[keyword][0]


def _regular_steps(
    heights: FloatArray, shared: Any, group: Any, file_name: str
) -> tuple[npt.NDArray[np.int64], float]:
    """Slice number of every frame, and the distance of slices [mm]."""
    levels = np.unique(np.round(heights, 3))
    measures = _first(shared, group, "PixelMeasuresSequence")
    stated = float(measures.get("SpacingBetweenSlices", 0.0) or measures.get("SliceThickness", 0.0) or 1.0)
    step = float(np.diff(levels).min()) if len(levels) > 1 else stated
    number = (heights - levels[0]) / step
    offset = np.rint(number).astype(np.int64)
    if (
        np.abs(number - offset).max() > _STEP_TOLERANCE * max(1.0, 0.01 * offset.max())
        or offset.max() > _MAX_SLICES
    ):
        raise ScanGeometryError(f"{file_name}: its frames do not lie on one regular grid; resample it first")
    return offset, step
