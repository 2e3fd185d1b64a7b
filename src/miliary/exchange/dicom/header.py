"""DICOM headers: one `CtSlice` per slice or frame, with what choosing, sorting and decoding need.

Identifying values (patient, UIDs, times) are held in memory to compare files, and go nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miliary.errors import ScanReadError
from miliary.exchange.dicom.elements import (
    DEFLATED,
    get_value,
    has_decimal_comma,
    parse_dataset,
    read_integer,
    read_number,
    read_numbers,
    read_text,
    read_words,
    shorten,
    wrap_bytes,
)
from miliary.model.scan import Acquisition

if TYPE_CHECKING:
    from pydicom import Dataset

    from miliary.exchange.dicom.files import DicomFiles

Vector = tuple[float, float, float]

_HEAD_BYTES = 32768
_CT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)
_NATIVE_LITTLE_ENDIAN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_UNDEFINED_LENGTH = 0xFFFFFFFF
# What scanners call values that are no HU; of other words nothing is known (PS3.3 C.11.1.1.2).
_OTHER_UNITS = frozenset({"OD", "MGML", "MG/ML", "Z_EFF", "ED", "EDW", "PCT"})
_PIXEL_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00")
_TAGS = [
    "SOPClassUID",
    "Modality",
    "PatientID",
    "PatientBirthDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "ImageType",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "GantryDetectorTilt",
    "ConvolutionKernel",
    "AcquisitionNumber",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ExposureTime",
    "XRayTubeCurrent",
    "KVP",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "ContrastBolusAgent",
    "FrameOfReferenceUID",
    "SeriesDescription",
    "FilterType",
    "ImageComments",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "NumberOfFrames",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_ACQUISITION_TAGS = [
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "SliceThickness",
    "KVP",
    "Exposure",
    "ExposureInuAs",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "PatientPosition",
    "SharedFunctionalGroupsSequence",
]
_LENGTHS = frozenset(
    {
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept"),
    }
)
# What may set interleaved acquisitions apart, tried in this order.
_SPLIT_TAGS = (
    ("AcquisitionNumber",),
    ("AcquisitionDateTime", "AcquisitionTime"),
    ("TemporalPositionIdentifier", "TemporalPositionIndex", "TemporalPositionTimeOffset"),
    ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("FrameAcquisitionNumber",),
    ("StackID",),
    ("FrameReferenceDateTime", "FrameAcquisitionDateTime"),
    ("ContrastBolusAgent",),
    ("ConvolutionKernel",),
    ("SliceThickness",),
    ("KVP", "XRayTubeCurrent", "ExposureTime"),
    ("ImageType",),
    ("FrameOfReferenceUID",),
    ("SeriesDescription",),
    ("FilterType",),
    ("ImageComments",),
)
# Parts of DimensionIndexValues, which count phases, stacks and places of the frames of one file.
_N_DIMENSIONS = 4


# The largest matrix of a clinical scanner is 2,048; more frames than this is no chest.
_LARGEST_MATRIX = 8192
_MOST_FRAMES = 20_000
_MOST_HEADER_BYTES = 32 * 2**20


_MODALITIES = frozenset({"CT", "PT", "MR", "NM", "OT", "CR", "DX", "XA"})
_PATIENT_POSITIONS = frozenset(
    {
        *("HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"),
        *("LFS", "LFP", "RFS", "RFP", "AFDR", "AFDL", "PFDR", "PFDL", "SITTING"),
    }
)


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels of a file begin and how many bytes they are, where they stand there as they are."""

    offset: int | None
    n_bytes: int | None


@dataclass(frozen=True)
class PixelLayout:
    """How the pixels of one file are stored."""

    transfer_syntax: str
    offset: int | None  # of native little-endian pixels in the file
    is_present: bool
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    samples: int
    n_frames: int
    padding: tuple[int, int] | None
    is_lossy: bool


@dataclass(frozen=True)
class CtSlice:
    """One slice (or frame of a multi-frame file) of a CT."""

    name: str
    frame: int
    series_key: str = field(repr=False)
    study_key: str = field(repr=False)
    series_number: int | None
    image_type: tuple[str, ...]
    shape: tuple[int, int]
    position_lps_mm: Vector | None
    row_axis_lps: Vector | None
    column_axis_lps: Vector | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    unit: str | None
    tilt_degree: float
    kernel: str | None
    split_keys: tuple[str, ...] = field(repr=False)
    pixels: PixelLayout

    @property
    def type_words(self) -> frozenset[str]:
        """The words of ImageType in capitals."""
        return frozenset(re.split(r"[^A-Z0-9]+", " ".join(self.image_type).upper())) - {""}


@dataclass(frozen=True)
class DicomFile:
    """What one DICOM file is; `slices` is empty where it is no CT image.

    `problem` is what is wrong with a CT image of the series `series_key`; it matters once that is read.
    """

    name: str
    modality: str
    patient: tuple[str, str] = field(repr=False)
    slices: tuple[CtSlice, ...]
    series_key: str = field(default="", repr=False)
    problem: ScanReadError | None = None


def read_dicom_file(files: DicomFiles, name: str) -> DicomFile | None:
    """Header of one file.

    Parameters
    ----------
    files : DicomFiles
    name : str
        Name relative to the input.

    Returns
    -------
    DicomFile or None
        `None` where the file is no DICOM and does not claim to be.

    Raises
    ------
    ScanReadError
        It is damaged, truncated, or named .dcm and no DICOM.
    """
    head = files.read_head(name, _HEAD_BYTES)
    if not looks_like_dicom(head):
        if _is_named_dicom(name):
            raise ScanReadError(f"{name} is not a DICOM file (or is damaged); remove it or copy it again")
        return None
    dataset, element = _parse(files, name, head)
    if dataset is None:
        raise ScanReadError(f"{name} is a damaged DICOM file: its header cannot be read; copy it again")
    try:
        return _describe(dataset, name, element)
    except ScanReadError as error:
        return _with_problem(dataset, name, error)
    except Exception:  # noqa: BLE001  values are parsed on access, and damaged ones raise anything
        text = f"{name} has a damaged or truncated header; copy or export the file again"
        return _with_problem(dataset, name, ScanReadError(text))


def _with_problem(dataset: Dataset, name: str, error: ScanReadError) -> DicomFile:
    """A file that matters only if its series is the one to be read; of no known series it always does."""
    key = _identity(dataset, "SeriesInstanceUID")
    if not key:
        raise error
    patient = (_identity(dataset, "PatientID"), _identity(dataset, "PatientBirthDate"))
    return DicomFile(name, read_text(get_value(dataset, "Modality")) or "", patient, (), key, error)


def _identity(dataset: Dataset, keyword: str) -> str:
    try:
        return shorten(get_value(dataset, keyword) or "").strip()
    except Exception:  # noqa: BLE001  a sequence where a text should be is parsed only when it is shown
        return ""


def read_acquisition(files: DicomFiles, name: str, *, source_format: str) -> Acquisition:
    """How the scan was made, from one file of it; nothing that identifies a person."""
    with files.open(name) as file:
        dataset = parse_dataset(file, _ACQUISITION_TAGS)
    exposure = read_number(get_value(dataset, "Exposure"))
    if exposure is None and (micro := read_number(get_value(dataset, "ExposureInuAs"))) is not None:
        exposure = micro / 1000.0
    return Acquisition(
        modality=_code(get_value(dataset, "Modality"), _MODALITIES),
        manufacturer=read_text(get_value(dataset, "Manufacturer")),
        model=read_text(get_value(dataset, "ManufacturerModelName")),
        kernel=_kernel(dataset),
        slice_thickness_mm=_thickness(get_value(dataset, "SliceThickness")),
        kvp=read_number(get_value(dataset, "KVP")),
        exposure_mas=exposure,
        contrast_agent=_contrast(dataset),
        patient_position=_code(get_value(dataset, "PatientPosition"), _PATIENT_POSITIONS),
        source_format=source_format,
    )


def _code(value: Any, known: frozenset[str]) -> str | None:
    """A code as the standard lists it; other text may be anything, and goes no further."""
    text = (read_text(value) or "").upper()
    return text if text in known else None


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of a DICOM file."""
    # Old files lack the preamble and begin with group 0008 (or 0002) in little endian.
    return head[128:132] == b"DICM" or (head[:2] in {b"\x08\x00", b"\x02\x00"} and head[3:4] == b"\x00")


def _is_named_dicom(name: str) -> bool:
    return name.lower().endswith((".dcm", ".dicom"))


def _parse(files: DicomFiles, name: str, head: bytes) -> tuple[Dataset | None, PixelElement | None]:
    """Header and where the pixels are, `None` where there are none; the whole file only where needed."""
    parsed = _parse_bytes(head)
    if parsed[0] is not None and (parsed[1] or len(head) < _HEAD_BYTES):
        return parsed
    with files.open(name) as file:
        # Elements are parsed one by one: what has not come to its pixels by then is no header.
        data = file.read(_MOST_HEADER_BYTES)
        return _parse_bytes(data + file.read() if DEFLATED.encode() in data[:4096] else data)


def _parse_bytes(data: bytes) -> tuple[Dataset | None, PixelElement | None]:
    stream = wrap_bytes(data)
    try:
        dataset = parse_dataset(stream, _TAGS)
        is_deflated = str(_transfer_syntax(dataset)) == DEFLATED
    except Exception:  # noqa: BLE001  whatever a damaged header makes the parser raise
        return None, None
    if is_deflated:
        return dataset, PixelElement(None, None)
    end = stream.tell()
    head = data[end : end + 12]
    if head[:4] not in _PIXEL_TAGS:
        return dataset, None
    if _transfer_syntax(dataset) not in _NATIVE_LITTLE_ENDIAN:
        return dataset, PixelElement(None, None)
    # The element itself tells its form, whatever the file's own header says: the letters of a VR stand where
    # an implicit element has its length, and as a length they would be odd.
    start = 12 if head[4:6] in _LONG_VRS else 8
    length = int.from_bytes(head[start - 4 : start], "little")
    # Pixels of undefined length are compressed, whatever the file's own header says.
    return dataset, PixelElement(None, None) if length == _UNDEFINED_LENGTH else PixelElement(
        end + start, length
    )


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    found = meta.get("TransferSyntaxUID") if meta is not None else None
    if found:
        return str(found)
    return "1.2.840.10008.1.2"


def _describe(dataset: Dataset, name: str, element: PixelElement | None) -> DicomFile:
    modality = read_text(get_value(dataset, "Modality")) or ""
    # The file's own header still tells what was there when the rest is cut off.
    meta = getattr(dataset, "file_meta", None) or {}
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if not sop_class and not modality and _is_named_dicom(name):
        # Cut off before it says what it is: left out, an end of the scan could go missing in silence.
        raise ScanReadError(f"{name} is a truncated or damaged DICOM file; copy it again")
    is_ct = sop_class in _CT_CLASSES or (not sop_class and modality == "CT")
    patient = (_identity(dataset, "PatientID"), _identity(dataset, "PatientBirthDate"))
    slices: tuple[CtSlice, ...] = ()
    if is_ct:
        matrix = [read_integer(get_value(dataset, keyword)) or 0 for keyword in ("Rows", "Columns")]
        if min(matrix) < 1:
            raise ScanReadError(f"{name} is a truncated or damaged CT image; copy it again")
        if max(matrix) > _LARGEST_MATRIX:
            raise ScanReadError(
                f"{name} says it has {matrix[0]} rows and {matrix[1]} columns, as no CT has; export it again"
            )
        layout = _layout(dataset, element)
        _check_length(layout, element, matrix, name)
        slices = tuple(_slices(dataset, name, layout))
    key = slices[0].series_key if slices else ""
    return DicomFile(name=name, modality=modality, patient=patient, slices=slices, series_key=key)


def _layout(dataset: Dataset, element: PixelElement | None) -> PixelLayout:
    bits = _count(dataset, "BitsAllocated", 16)
    stored = _count(dataset, "BitsStored", bits)
    padding = read_integer(get_value(dataset, "PixelPaddingValue"))
    limit = read_integer(get_value(dataset, "PixelPaddingRangeLimit"))
    high_bit = read_integer(get_value(dataset, "HighBit"))
    return PixelLayout(
        transfer_syntax=_transfer_syntax(dataset),
        offset=None if element is None else element.offset,
        is_present=element is not None,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        is_signed=read_integer(get_value(dataset, "PixelRepresentation")) == 1,
        samples=_count(dataset, "SamplesPerPixel", 1),
        n_frames=_count(dataset, "NumberOfFrames", 1),
        padding=None if padding is None else (padding, padding if limit is None else limit),
        is_lossy=str(get_value(dataset, "LossyImageCompression") or "") == "01",
    )


def _check_length(layout: PixelLayout, element: PixelElement | None, matrix: list[int], name: str) -> None:
    """Refuse pixels that are more than the header says: its size is not theirs."""
    if element is None or element.n_bytes is None:
        return
    row = matrix[1] * layout.samples * layout.bits_allocated // 8
    if element.n_bytes >= row * (matrix[0] * layout.n_frames + 1):
        raise ScanReadError(
            f"{name} holds {element.n_bytes} bytes of pixels where its header says "
            f"{row * matrix[0] * layout.n_frames}; export it again"
        )


def _count(dataset: Dataset, keyword: str, default: int) -> int:
    return read_integer(get_value(dataset, keyword)) or default


def _slices(dataset: Dataset, name: str, layout: PixelLayout) -> list[CtSlice]:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if (layout.n_frames if frames or layout.n_frames > 1 else 0) != len(frames or ()):
        raise ScanReadError(
            f"{name} has {layout.n_frames} frames and says of {len(frames or ()) or 'none'} where it lies; "
            "export the original series"
        )
    if not frames:
        return [_slice(dataset, [dataset], name=name, frame=0, layout=layout)]
    if len(frames) > _MOST_FRAMES:
        raise ScanReadError(f"{name} says it has {len(frames)} frames, as no chest CT has; export it again")
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    return [
        _slice(dataset, _functional_groups([frame, *shared]), name=name, frame=i, layout=layout)
        for i, frame in enumerate(frames)
    ]


def _functional_groups(groups: Sequence[Dataset]) -> list[Dataset]:
    """The items of all functional groups, those of the frame before the shared ones."""
    names = (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
        "CTImageFrameTypeSequence",
        "CTReconstructionSequence",
        "CTAcquisitionDetailsSequence",
        "CTExposureSequence",
        "FrameContentSequence",
        "TemporalPositionSequence",
        "CardiacSynchronizationSequence",
    )
    found = [group.get(name) for group in groups for name in names]
    return [sequence[0] for sequence in found if sequence]


def _slice(dataset: Dataset, groups: list[Dataset], *, name: str, frame: int, layout: PixelLayout) -> CtSlice:
    def get(keyword: str) -> Any:
        for group in groups:
            value = get_value(group, keyword)
            if keyword in _LENGTHS and has_decimal_comma(group, keyword, value):
                raise ScanReadError(
                    f"{name}: {keyword} is written with a decimal comma; export the series again with a point"
                )
            if value is not None:
                return value
        return None

    orientation = read_numbers(get("ImageOrientationPatient"), 6)
    position = read_numbers(get("ImagePositionPatient"), 3)
    spacing = read_numbers(get("PixelSpacing"), 2)
    _check_units(get, name)
    image_type = get("FrameType") or get_value(dataset, "ImageType") or ()
    indices = [*read_words(get("DimensionIndexValues") or ()), *[""] * _N_DIMENSIONS][:_N_DIMENSIONS]
    keys = (*("|".join(shorten(get(tag)) for tag in tags) for tags in _SPLIT_TAGS), *indices)
    return CtSlice(
        name=name,
        frame=frame,
        series_key=_identity(dataset, "SeriesInstanceUID"),
        study_key=_identity(dataset, "StudyInstanceUID"),
        series_number=read_integer(get_value(dataset, "SeriesNumber")),
        image_type=read_words(image_type),
        shape=(int(dataset.Rows), int(dataset.Columns)),
        position_lps_mm=None if position is None else (position[0], position[1], position[2]),
        row_axis_lps=None if orientation is None else (orientation[0], orientation[1], orientation[2]),
        column_axis_lps=None if orientation is None else (orientation[3], orientation[4], orientation[5]),
        spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        thickness_mm=_thickness(get("SliceThickness")),
        slope=read_number(get("RescaleSlope")),
        intercept=read_number(get("RescaleIntercept")),
        unit=read_text(get("RescaleType")),
        tilt_degree=read_number(get("GantryDetectorTilt")) or 0.0,
        kernel=_kernel(dataset),
        split_keys=keys,
        pixels=layout,
    )


def _check_units(get: Callable[[str], Any], name: str) -> None:
    """Refuse values that are no HU, and those that only a table turns into HU."""
    unit = (read_text(get("RescaleType")) or "").upper()
    if unit in _OTHER_UNITS:
        raise ScanReadError(f"{name} holds values of another kind ({unit}), not HU; give the CT series in HU")
    if get("RescaleSlope") is None and get("ModalityLUTSequence"):
        raise ScanReadError(
            f"{name} keeps its values in a table (Modality LUT) and not in HU; export the series with a "
            "rescale slope and intercept"
        )


def _thickness(value: Any) -> float | None:
    """A thickness that a slice can have [mm]; 0 is written for one that is not known."""
    number = read_number(value)
    return number if number is not None and 0.0 < number <= 100.0 else None


def _kernel(dataset: Dataset) -> str | None:
    """Reconstruction kernel; a multi-frame file keeps it in its shared groups."""
    value = get_value(dataset, "ConvolutionKernel")
    if not value:
        for group in _functional_groups(list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]):
            value = value or get_value(group, "ConvolutionKernel")
    return read_text(value)


def _contrast(dataset: Dataset) -> bool | None:
    if dataset.get("ContrastBolusAgentSequence"):
        return True
    agent = read_text(get_value(dataset, "ContrastBolusAgent"))
    if agent is None:
        return None
    words = agent.lower()
    return not (
        words in {"no", "none", "without", "n", "0"} or (words.startswith("oral") and "iv" not in words)
    )
