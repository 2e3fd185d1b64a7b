"""Radiographs of a study: pictures as they are, DICOM turned into pictures that name nobody.

File names often hold a patient's name, so pictures are numbered and never called as their files are.
"""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.exchange.dicom.elements import get_value, read_integer, read_words
from miliary.model.saved.codec import to_json
from miliary.model.saved.figure_index import RadiographEntry, RadiographIndex

if TYPE_CHECKING:
    from pydicom import Dataset

RADIOGRAPH_KIND = "radiograph"
# Computed, digital and general radiography.
MODALITIES = ("CR", "DX", "RG")
MAX_SIDE_PX = 1600
_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAX_FILE_BYTES = 256 * 2**20
_VIEWS = {"PA": "pa", "AP": "ap", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral", "LAT": "lateral"}
# Of the rows, the side to which they run: the patient's left, then his right is at the left of the picture.
_LEFT_OF_PICTURE = {"L": "right", "R": "left", "P": "front", "A": "back"}


@dataclass(frozen=True)
class Radiograph:
    """A radiograph ready to be shown.

    Parameters
    ----------
    png : bytes
        Gray, bright is dense, at most `MAX_SIDE_PX` a side.
    about : mapping
        ``kind``, ``view`` (pa, ap, lateral or None), ``left_of_picture`` (right, left, front, back or None),
        ``burned_in`` (False where the file says that no identity is in the pixels, None where it says
        nothing), ``is_raw`` (meant for processing and not for the eye).
    """

    png: bytes
    about: dict[str, Any]


def is_dicom(path: Path) -> bool:
    """Whether a file is called, or begins, as DICOM does."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_radiograph(path: Path, *, name: str) -> Radiograph:
    """Read a DICOM radiograph.

    Parameters
    ----------
    path : path
    name : str
        What messages call it: not its file name, which may hold a patient's.

    Raises
    ------
    ScanReadError
        It is no radiograph, cannot be decoded, or says that identity is burned into its pixels.
    """
    # pydicom's warnings quote values of the file.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read(path, name)


def _read(path: Path, name: str) -> Radiograph:
    import pydicom

    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ScanReadError(f"{name}: is larger than a radiograph; export a single picture")
    try:
        dataset = pydicom.dcmread(path, force=True)
    except Exception:  # noqa: BLE001  parsers raise whatever they like on damaged streams
        raise ScanReadError(f"{name}: cannot be read as DICOM; export it again, or as PNG") from None
    _check(dataset, name)
    try:
        found = Radiograph(_encode(_render(dataset)), _describe(dataset))
    except Exception:  # noqa: BLE001  decoders too
        raise ScanReadError(f"{name}: its pixels cannot be decoded; export it again, or as PNG") from None
    return found


def _check(dataset: Dataset, name: str) -> None:
    modality = _word(dataset, "Modality")
    if modality not in MODALITIES:
        what = f"modality {modality}" if modality.isalpha() and len(modality) <= 4 else "another modality"
        raise ScanReadError(f"{name}: is {what}; a radiograph is one of {', '.join(MODALITIES)}")
    if _word(dataset, "BurnedInAnnotation") == "YES":
        raise ScanReadError(
            f"{name}: says that text is burned into its pixels, which may name the patient; "
            "blacken it and export the picture as PNG"
        )
    counts = [get_value(dataset, keyword) for keyword in ("NumberOfFrames", "SamplesPerPixel")]
    if any(count is not None and read_integer(count) != 1 for count in counts):
        raise ScanReadError(f"{name}: is not a single gray picture; export one frame, or PNG")


def _word(dataset: Dataset, keyword: str) -> str:
    return str(get_value(dataset, keyword) or "").strip().upper()


def _render(dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Gray values as the file asks them to be shown; bright is dense."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    values = np.asarray(shown, dtype=np.float32)
    # pydicom's window ends at the ends of the stored range; without one the picture's own spread is shown.
    low, high = _find_range(dataset) or np.percentile(values, (0.5, 99.5))
    share = np.clip((values - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    is_inverse = _word(dataset, "PresentationLUTShape") == "INVERSE"
    if _word(dataset, "PhotometricInterpretation") == "MONOCHROME1" or is_inverse:
        share = 1.0 - share
    return np.rint(share * 255.0).astype(np.uint8)


def _find_range(dataset: Dataset) -> tuple[float, float] | None:
    """Values that are black and white after the file's own table or window; None where it has neither."""
    if dataset.get("VOILUTSequence"):
        return 0.0, _full(int(dataset.VOILUTSequence[0].LUTDescriptor[2]))
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        return None
    if dataset.get("ModalityLUTSequence"):
        return 0.0, _full(int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]))
    bits = int(dataset.BitsStored)
    low, high = 0.0, _full(bits)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        low, high = -_full(bits - 1) - 1.0, _full(bits - 1)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return low, high
    return low * float(slope) + float(intercept), high * float(slope) + float(intercept)


def _full(bits: int) -> float:
    return float((1 << bits) - 1)


def _encode(gray: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(gray)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _describe(dataset: Dataset) -> dict[str, Any]:
    """Facts for the caption, each one of a few words of ours: nothing of the file's text goes on."""
    across = "".join(read_words(get_value(dataset, "PatientOrientation") or ()))[:1].upper()
    return {
        "kind": RADIOGRAPH_KIND,
        "view": _VIEWS.get(_word(dataset, "ViewPosition")),
        "left_of_picture": _LEFT_OF_PICTURE.get(across),
        "burned_in": False if _word(dataset, "BurnedInAnnotation") == "NO" else None,
        "is_raw": _word(dataset, "PresentationIntentType") == "FOR PROCESSING",
    }


def keep_radiographs(files: Iterable[Path], folder: Path) -> list[str]:
    """Put radiographs into a result folder, numbered: pictures as they are, DICOM as pictures.

    Parameters
    ----------
    files : iterable of path
    folder : path
        Made where there is something to keep.

    Returns
    -------
    list of str
        Why some were left out, one sentence each.
    """
    problems, listed = [], []
    for number, file in enumerate(files, start=1):
        folder.mkdir(exist_ok=True)
        name = f"radiograph_{number:02d}"
        if not is_dicom(file):
            shutil.copyfile(file, folder / f"{name}{file.suffix.lower()}")
            continue
        try:
            found = read_radiograph(file, name=f"radiograph {number}")
        except ScanReadError as error:
            problems.append(str(error))
            continue
        (folder / f"{name}.png").write_bytes(found.png)
        listed.append(RadiographEntry(name=name, file=f"{name}.png", **found.about))
    if listed:
        text = json.dumps(to_json(RadiographIndex(figures=tuple(listed))), indent=2)
        (folder / "figures.json").write_text(text + "\n", encoding="utf-8")
    return problems
