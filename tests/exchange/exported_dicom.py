"""Situations of DICOM as archives, converters and disks hand it out; `situations.py` says what one is."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from miliary.model.scan import Acquisition
from tests.exchange.scans import (
    SHAPE,
    edit,
    edit_all,
    files_by_position,
    phantom_grid,
    phantom_hu,
    write_multiframe,
    write_phantom,
)
from tests.exchange.situation import Situation

Make = Callable[[Path], Path]


def _set(**tags: object) -> Make:
    """Elements of every slice; None removes one."""

    def change(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)

    def make(place: Path) -> Path:
        write_phantom(place / "ct")
        edit_all(place / "ct", change)
        return place / "ct"

    return make


def _some(change: Callable[[int, Dataset], object]) -> Make:
    """A change that depends on the place of the slice, counted from the feet."""

    def make(place: Path) -> Path:
        write_phantom(place / "ct")
        for i, path in enumerate(files_by_position(place / "ct")):
            edit(path, lambda dataset, i=i: change(i, dataset))  # type: ignore[misc]
        return place / "ct"

    return make


def _hu(dataset: Dataset) -> np.ndarray:
    stored = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns)
    return stored.astype(np.int32) - 1024


# --- values ---------------------------------------------------------------------------------------


def _store(dataset: Dataset, stored: np.ndarray, slope: float, intercept: float) -> None:
    dataset.PixelData = stored.tobytes()
    dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)


def intercept_of_each_slice(i: int, dataset: Dataset) -> None:
    _store(dataset, (_hu(dataset) + 1000 + i).astype("<i2"), 1, -1000 - i)


def slope_of_each_slice(i: int, dataset: Dataset) -> None:
    slope = (1, 0.5, 0.25)[i % 3]
    _store(dataset, np.rint(_hu(dataset) / slope).astype("<i2"), slope, 0)


def sign_of_each_slice(i: int, dataset: Dataset) -> None:
    if i % 2:
        _store(dataset, (_hu(dataset) + 2000).astype("<u2"), 1, -2000)
        dataset.PixelRepresentation = 0


def values_of_32_bits(i: int, dataset: Dataset) -> None:
    _store(dataset, _hu(dataset).astype("<i4"), 1, 0)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31


def floating_values(i: int, dataset: Dataset) -> None:
    values = _hu(dataset).astype("<f4")
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    dataset.BitsAllocated = 32
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, keyword)
    dataset.RescaleIntercept = 0


def windowed_to_eight_bits(i: int, dataset: Dataset) -> None:
    gray = np.clip((_hu(dataset) + 1350) / 1500 * 255, 0, 255).astype("u1")
    _store(dataset, gray, 1, 0)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0


def doubly_rescaled(i: int, dataset: Dataset) -> None:
    _store(dataset, _hu(dataset).astype("<i2"), 1, -1024)


def rescale_in_a_table(i: int, dataset: Dataset) -> None:
    table = Dataset()
    table.add_new(0x00283002, "US", [4096, 0, 16])
    table.add_new(0x00283004, "LO", "US")
    table.add_new(0x00283006, "OW", np.arange(4096, dtype="<u2").tobytes())
    dataset.ModalityLUTSequence = Sequence([table])
    _store(dataset, _hu(dataset).astype("<i2"), 1, 0)
    del dataset.RescaleSlope, dataset.RescaleIntercept


def padding_range(i: int, dataset: Dataset) -> None:
    """Values of 2,000 to 2,047 outside of the field, given as a range."""
    rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
    outside = np.hypot((rows - 19.5) / 19.5, (columns - 23.5) / 23.5) > 1.0
    values = np.where(outside, 6000 + (rows + columns) % 47, _hu(dataset))
    _store(dataset, values.astype("<i2"), 1, 0)
    dataset.add_new(0x00280120, "SS", 6000)
    dataset.add_new(0x00280121, "SS", 6047)


def signed_padding_of_unsigned(i: int, dataset: Dataset) -> None:
    rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
    outside = np.hypot((rows - 19.5) / 19.5, (columns - 23.5) / 23.5) > 1.0
    stored = np.where(outside, 63536, np.maximum(_hu(dataset) + 1024, 0)).astype("<u2")
    _store(dataset, stored, 1, -1024)
    dataset.PixelRepresentation = 0
    dataset.add_new(0x00280120, "SS", -2000)


# --- encodings ------------------------------------------------------------------------------------


def _rewritten(syntax: str, *, implicit: bool, little: bool, preamble: bool = True) -> Make:
    def make(place: Path) -> Path:
        write_phantom(place / "ct")
        for path in (place / "ct").iterdir():
            dataset = pydicom.dcmread(path)
            if not little:
                dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            if preamble:
                dataset.file_meta.TransferSyntaxUID = syntax
                pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, overwrite=True)
            else:
                dataset.file_meta.clear()
                dataset.preamble = None
                pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little)
        return place / "ct"

    return make


def explicit_called_implicit(place: Path) -> Path:
    """What the file's own header says of its encoding is wrong; the elements show it."""
    write_phantom(place / "ct")
    for path in (place / "ct").iterdir():
        data = path.read_bytes()
        assert data.count(b"1.2.840.10008.1.2.1\0") == 1
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"))
    return place / "ct"


def trailing_bytes(place: Path) -> Path:
    write_phantom(place / "ct")
    for path in (place / "ct").iterdir():
        path.write_bytes(path.read_bytes() + b"\xfc\xff\xfc\xffOB\0\0\x40\0\0\0" + bytes(64))
    return place / "ct"


def null_padded_numbers(place: Path) -> Path:
    write_phantom(place / "ct")
    for path in (place / "ct").iterdir():
        data = path.read_bytes()
        assert b"1.5\\1.25" in data
        path.write_bytes(data.replace(b"1.5\\1.25", b"1.5\\1.2\0"))
    return place / "ct"


# --- folders and zips -----------------------------------------------------------------------------


def copied_twice(place: Path) -> Path:
    write_phantom(place / "ct/export")
    shutil.copytree(place / "ct/export", place / "ct/export (1)")
    return place / "ct"


def disk_of_a_hospital(place: Path) -> Path:
    write_phantom(place / "disk/DICOM/PA000001/ST000001/SE000001")
    for i, path in enumerate(sorted((place / "disk/DICOM/PA000001/ST000001/SE000001").iterdir())):
        path.rename(path.with_name(f"IM{i:06d}"))
    for name, content in (
        ("autorun.inf", b"[autorun]\r\nopen=viewer.exe\r\n"),
        ("viewer.exe", b"MZ" + bytes(5000)),
        ("DICOM/Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(900)),
        ("README.TXT", b"Please start the viewer"),
        ("index.html", b"<html></html>"),
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("JPEG/0001.jpg", b"\xff\xd8\xff\xe0" + bytes(300)),
        ("report.pdf", b"%PDF-1.4\n"),
    ):
        path = place / "disk" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return place / "disk"


def empty_file_in_place_of_a_slice(place: Path, *, at: int) -> Path:
    write_phantom(place / "ct")
    for i, path in enumerate(files_by_position(place / "ct")):
        path.rename(path.with_name(f"IM{i:04d}"))
    (place / f"ct/IM{at:04d}").write_bytes(b"")
    return place / "ct"


def slices_named_img(place: Path) -> Path:
    write_phantom(place / "ct")
    for path in list((place / "ct").iterdir()):
        path.rename(path.with_suffix(".img"))
    return place / "ct"


def name_of_two_lines(place: Path) -> Path:
    write_phantom(place / "ct")
    path = files_by_position(place / "ct")[3]
    path.write_bytes(path.read_bytes()[:-900])
    path.rename(path.with_name("a\nb\x1b[31m.dcm"))
    return place / "ct"


def name_that_is_no_text(place: Path) -> Path:
    write_phantom(place / "ct")
    path = files_by_position(place / "ct")[3]
    path.write_bytes(path.read_bytes()[:-900])
    path.rename(path.with_name("a\udce4.dcm"))
    return place / "ct"


def half_downloaded(place: Path) -> Path:
    write_phantom(place / "ct")
    path = files_by_position(place / "ct")[0]
    path.write_bytes(path.read_bytes()[:700])
    path.rename(path.with_name("IM0001.crdownload"))
    return place / "ct"


def _zipped(name: Callable[[int, Path], str], *, wrap: Callable[[bytes], bytes] = bytes) -> Make:
    def make(place: Path) -> Path:
        write_phantom(place / "ct")
        with zipfile.ZipFile(place / "ct.zip", "w") as archive:
            for i, path in enumerate(sorted((place / "ct").iterdir())):
                if i == 0 and wrap is bytes:
                    archive.writestr(f"__MACOSX/._{path.name}", b"\0\5\x16\7")
                archive.writestr(name(i, path), wrap(path.read_bytes()))
        return place / "ct.zip"

    return make


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, 1)


def zip_of_a_volume(place: Path) -> Path:
    with zipfile.ZipFile(place / "ct.zip", "w") as archive:
        archive.writestr("chest/ct.nii.gz", b"\x1f\x8b" + bytes(50))
    return place / "ct.zip"


def _archive(name: str, start: bytes) -> Make:
    def make(place: Path) -> Path:
        (place / name).write_bytes(start + bytes(2000))
        return place / name

    return make


def folder_of_a_tar(place: Path) -> Path:
    (place / "download").mkdir()
    (place / "download/study.tar").write_bytes(b"ct/".ljust(257, b"\0") + b"ustar\x0000" + bytes(2000))
    return place / "download"


# --- series ---------------------------------------------------------------------------------------


def _add(place: Path, i: int, dataset: Dataset) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{i}"
    dataset.save_as(place / f"ct/added{i}.dcm", enforce_file_format=True)


def nothing_of_each_slice_is_shared(i: int, dataset: Dataset) -> None:
    """An anonymizer that gave every file new identifiers."""
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, f"1.2.{len(keyword)}.{i}")
    dataset.SeriesNumber = i


def told_apart_by_description(place: Path) -> Path:
    write_phantom(place / "ct")
    for i, path in enumerate(files_by_position(place / "ct")):
        one = pydicom.dcmread(path)
        one.SeriesDescription, one.ConvolutionKernel = "CHEST 1.0 LUNG", ""
        one.PixelData = (_hu(one) + 1030).astype("<i2").tobytes()
        edit(path, lambda dataset: setattr(dataset, "ConvolutionKernel", ""))
        _add(place, i, one)
    return place / "ct"


def scout_in_the_series(place: Path) -> Path:
    write_phantom(place / "ct")
    scout = pydicom.dcmread(files_by_position(place / "ct")[0])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    _add(place, 1, scout)
    return place / "ct"


def scout_that_does_not_say_so(place: Path) -> Path:
    write_phantom(place / "ct")
    scout = pydicom.dcmread(files_by_position(place / "ct")[0])
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.Rows, scout.Columns = 80, 48
    scout.PixelData = bytes(80 * 48 * 2)
    _add(place, 1, scout)
    return place / "ct"


def reformats_in_the_series(place: Path) -> Path:
    """Coronal slices under the series of the axial ones."""
    voxels = write_phantom(place / "ct")
    first = pydicom.dcmread(files_by_position(place / "ct")[0])
    for i in range(SHAPE[1]):
        one = pydicom.dcmread(files_by_position(place / "ct")[0])
        one.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        x, y, z = first.ImagePositionPatient
        one.ImagePositionPatient = [x, y + 1.5 * i, z + 2 * (SHAPE[0] - 1)]
        one.PixelSpacing, one.SliceThickness = [2, 1.25], 1.5
        one.Rows, one.Columns = SHAPE[0], SHAPE[2]
        one.PixelData = (voxels[::-1, i].astype("<i2") + 1024).tobytes()
        _add(place, i, one)
    return place / "ct"


def two_matrices_in_the_series(place: Path) -> Path:
    """A targeted reconstruction of half the width under the same series."""
    write_phantom(place / "ct")
    for i, path in enumerate(files_by_position(place / "ct")):
        one = pydicom.dcmread(path)
        one.PixelData = np.ascontiguousarray(_hu(one)[:20, :24] + 1024).astype("<i2").tobytes()
        one.Rows, one.Columns = 20, 24
        _add(place, i, one)
    return place / "ct"


def two_kernels_in_the_series(place: Path) -> Path:
    """The sharp one first by name, and noisier."""
    write_phantom(place / "ct")
    rng = np.random.default_rng(1)
    for i, path in enumerate(files_by_position(place / "ct")):
        one = pydicom.dcmread(path)
        one.ConvolutionKernel = "LUNG"
        one.PixelData = (_hu(one) + 1024 + rng.normal(0, 40, (40, 48))).astype("<i2").tobytes()
        _add(place, i, one)
    for i in range(SHAPE[0]):
        (place / f"ct/added{i}.dcm").rename(place / f"ct/a{i}.dcm")
    return place / "ct"


def screenshot_of_the_series(place: Path) -> Path:
    """A color picture of the dose report, filed as a CT image of the series."""
    write_phantom(place / "ct")
    one = pydicom.dcmread(files_by_position(place / "ct")[0])
    one.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
    one.PixelData = bytes(40 * 48 * 3)
    _add(place, 1, one)
    return place / "ct"


def other_objects_beside(place: Path) -> Path:
    write_phantom(place / "ct")
    for i, (modality, uid) in enumerate(
        (
            ("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3"),
            ("SR", "1.2.840.10008.5.1.4.1.1.88.67"),
            ("PR", "1.2.840.10008.5.1.4.1.1.11.1"),
            ("PT", "1.2.840.10008.5.1.4.1.1.128"),
            ("CT", "1.3.12.2.1107.5.9.1"),
        )
    ):
        one = pydicom.dcmread(files_by_position(place / "ct")[0])
        one.Modality, one.SOPClassUID = modality, uid
        one.file_meta.MediaStorageSOPClassUID = uid
        one.SeriesInstanceUID = f"1.2.8.{i}"
        if "PixelData" in one:
            del one.PixelData
        _add(place, i, one)
    return place / "ct"


def two_examinations(place: Path) -> Path:
    """The same patient a year before, in a subfolder beside."""
    for number, name in enumerate(("2020", "2021")):
        write_phantom(place / "exams" / name, seed=7 + number, acquisition=Acquisition(kernel="B30f"))
        edit_all(place / "exams" / name, lambda dataset: setattr(dataset, "PatientID", "one"))
    return place / "exams"


def two_patients(place: Path) -> Path:
    write_phantom(place / "ct/a", seed=7)
    write_phantom(place / "ct/b", seed=8)
    return place / "ct"


def two_ids_that_differ_in_blanks(i: int, dataset: Dataset) -> None:
    dataset.PatientID = "one " if i % 2 else "one"


def not_in_hounsfield_units(i: int, dataset: Dataset) -> None:
    dataset.RescaleType = "Z_EFF"
    dataset.ImageType = ["DERIVED", "PRIMARY", "EFF_ATOMIC_NUM"]


def iodine_beside_the_chest(place: Path) -> Path:
    write_phantom(place / "ct/a")
    write_phantom(place / "ct/b", seed=6)
    edit_all(place / "ct/a", lambda dataset: setattr(dataset, "RescaleType", "MGML"))
    for folder in "ab":
        edit_all(place / f"ct/{folder}", lambda dataset: setattr(dataset, "PatientID", "one"))
    return place / "ct"


def slices_in_two_steps(place: Path) -> Path:
    """Every slice in the upper half, every second one below."""
    write_phantom(place / "ct", voxels=phantom_hu((48, 40, 48)))
    for path in files_by_position(place / "ct")[1:24:2]:
        path.unlink()
    return place / "ct"


# --- enhanced CT ----------------------------------------------------------------------------------


def _enhanced(change: Callable[[Dataset], object], *, frames: list[int] | None = None) -> Make:
    def make(place: Path) -> Path:
        write_multiframe(place / "enhanced.dcm", phantom_hu(), phantom_grid(), frames=frames)
        shutil.rmtree(place / "enhanced.parts")
        edit(place / "enhanced.dcm", change)
        return place / "enhanced.dcm"

    return make


def rescale_of_each_frame(dataset: Dataset) -> None:
    stored = np.frombuffer(dataset.PixelData, "<i2").reshape(SHAPE).copy()
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        scaling = Dataset()
        scaling.RescaleSlope, scaling.RescaleIntercept, scaling.RescaleType = 1, -1000 - i, "HU"
        item.PixelValueTransformationSequence = Sequence([scaling])
        stored[i] += np.int16(i - 24)
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    dataset.PixelData = stored.tobytes()


def fewer_pixels_than_frames(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[: -40 * 48 * 2]


def more_frames_than_groups(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1]


def no_groups_of_frames(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def phases_by_index_alone(place: Path) -> Path:
    """Two phases that only the index of their dimensions tells apart."""
    n = SHAPE[0]
    path = _enhanced(lambda _: None, frames=[*range(n), *range(n)])(place)
    dataset = pydicom.dcmread(path)
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.DimensionIndexValues = [1, 1 + i % n, 1 + i // n]
        item.FrameContentSequence = Sequence([content])
    stored = np.frombuffer(dataset.PixelData, "<i2").copy()
    stored[stored.size // 2 :] += 60
    dataset.PixelData = stored.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def in_two_files(place: Path) -> Path:
    """A concatenation: the scanner cut one object in two."""
    (place / "ct").mkdir()
    for i, frames in enumerate((list(range(12)), list(range(12, 24)))):
        path = place / f"ct/part{i}.dcm"
        write_multiframe(path, phantom_hu(), phantom_grid(), frames=frames)
        shutil.rmtree(place / f"ct/part{i}.parts")
        edit(path, lambda dataset, i=i: setattr(dataset, "InConcatenationNumber", i + 1))  # type: ignore[misc]
    return place / "ct"


def units_of_frames(dataset: Dataset) -> None:
    scaling = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    scaling.RescaleType = "US"


SITUATIONS = (
    Situation("an intercept of its own for each slice", _some(intercept_of_each_slice)),
    Situation("a slope of its own for each slice", _some(slope_of_each_slice)),
    Situation("signed and unsigned slices in one series", _some(sign_of_each_slice)),
    Situation("values of 32 bits", _some(values_of_32_bits)),
    Situation("floating-point pixels", _some(floating_values)),
    Situation("windowed to 8 bits", _some(windowed_to_eight_bits), refused="implausible HU|every voxel"),
    Situation(
        "rescaled to HU already, with the rescale left in the header",
        _some(doubly_rescaled),
        refused="implausible HU",
    ),
    Situation(
        "a table of values (Modality LUT) in place of slope and intercept",
        _some(rescale_in_a_table),
        refused="table",
    ),
    Situation("a range of padding values", _some(padding_range)),
    Situation("a signed padding value for unsigned pixels", _some(signed_padding_of_unsigned)),
    Situation("MONOCHROME1", _set(PhotometricInterpretation="MONOCHROME1")),
    Situation(
        "values that are no HU (effective atomic number)", _some(not_in_hounsfield_units), refused="not HU"
    ),
    Situation("an iodine map beside the chest", iodine_beside_the_chest),
    Situation("no rescale at all", _set(RescaleSlope=None, RescaleIntercept=None), refused="implausible HU"),
    Situation("big-endian DICOM", _rewritten("1.2.840.10008.1.2.2", implicit=False, little=False)),
    Situation("implicit DICOM", _rewritten("1.2.840.10008.1.2", implicit=True, little=True)),
    Situation(
        "DICOM without preamble and file header", _rewritten("", implicit=True, little=True, preamble=False)
    ),
    Situation(
        "explicit DICOM without preamble and file header",
        _rewritten("", implicit=False, little=True, preamble=False),
    ),
    Situation("explicit DICOM that calls itself implicit", explicit_called_implicit),
    Situation("padding behind the pixels", trailing_bytes),
    Situation("numbers padded with a zero byte", null_padded_numbers, same=False),
    Situation("the scan exported twice into one folder", copied_twice, warns="duplicated_slices"),
    Situation("a disk with a viewer, notes and pictures beside the slices", disk_of_a_hospital),
    Situation(
        "an empty file in place of a slice in the middle",
        lambda p: empty_file_in_place_of_a_slice(p, at=9),
        refused="missing",
    ),
    Situation(
        "an empty file in place of the last slice",
        lambda p: empty_file_in_place_of_a_slice(p, at=23),
        warns="empty_files",
        same=False,
    ),
    Situation("slices named .img", slices_named_img),
    Situation("a damaged slice whose name has two lines", name_of_two_lines, refused="truncated"),
    Situation("a damaged slice whose name is no text", name_that_is_no_text, refused="truncated"),
    Situation("a slice that was downloaded by half", half_downloaded, refused="truncated|damaged"),
    Situation("a zip with backslashes in its names", _zipped(lambda i, p: f"study\\series\\{p.name}")),
    Situation("a zip with folders and Mac files", _zipped(lambda i, p: f"Study Ä/série/{p.name}")),
    Situation("a zip of slices compressed one by one", _zipped(lambda i, p: f"{p.name}.gz", wrap=_gzip)),
    Situation("a zip of a volume file", zip_of_a_volume, refused="unpack"),
    Situation(
        "a tar archive",
        _archive("ct.tar", b"ct/".ljust(257, b"\0") + b"ustar\x0000"),
        refused="archive that is not read",
    ),
    Situation(
        "a .tar.gz archive",
        _archive("ct.tar.gz", _gzip(b"ct/".ljust(257, b"\0") + b"ustar\x0000" + bytes(9000))),
        refused="archive that is not read",
    ),
    Situation("a 7z archive", _archive("ct.7z", b"7z\xbc\xaf\x27\x1c"), refused="archive that is not read"),
    Situation(
        "a RAR archive", _archive("ct.rar", b"Rar!\x1a\x07\x01\x00"), refused="archive that is not read"
    ),
    Situation("a folder that holds an archive alone", folder_of_a_tar, refused="unpack"),
    Situation("a scout in the series", scout_in_the_series),
    Situation(
        "a scout in the series that does not say so", scout_that_does_not_say_so, warns="several_series"
    ),
    Situation(
        "coronal reformats under the series of the axial slices",
        reformats_in_the_series,
        warns="several_series",
    ),
    Situation(
        "a targeted reconstruction under the same series", two_matrices_in_the_series, warns="several_series"
    ),
    Situation(
        "a sharp and a smooth kernel under one series",
        two_kernels_in_the_series,
        warns="interleaved_acquisitions",
    ),
    Situation("a screenshot under the series", screenshot_of_the_series),
    Situation("structures, reports, PET and raw data beside the slices", other_objects_beside),
    Situation("two examinations of one patient in a folder", two_examinations, warns="several_series"),
    Situation("two patients in a folder", two_patients, refused="different patients"),
    Situation("patient ids that differ in blanks", _some(two_ids_that_differ_in_blanks)),
    Situation(
        "every slice in the upper half, every second one below",
        slices_in_two_steps,
        refused="missing|unevenly",
    ),
    Situation("series number with a decimal point", _set(SeriesNumber=None)),
    Situation("slice thickness 0", _set(SliceThickness=0)),
    Situation("a negative spacing between slices", _set(SpacingBetweenSlices="-2.0")),
    Situation(
        "no patient, no dates, no identifiers of the study",
        _set(PatientID=None, PatientName=None, StudyInstanceUID=None, StudyDate=None),
    ),
    Situation(
        "position of the pixels given by another element alone",
        _set(PixelSpacing=None, ImagerPixelSpacing=[1.5, 1.25]),
        refused="PixelSpacing",
    ),
    Situation("an enhanced CT with a rescale for each frame", _enhanced(rescale_of_each_frame)),
    Situation(
        "an enhanced CT with its frames in another order",
        _enhanced(lambda d: None, frames=[*range(12, 24), *range(11, -1, -1)]),
    ),
    Situation(
        "an enhanced CT that is cut off",
        _enhanced(fewer_pixels_than_frames),
        refused="truncated|cannot be decoded",
    ),
    Situation(
        "an enhanced CT with more frames than it describes",
        _enhanced(more_frames_than_groups),
        refused="frames",
    ),
    Situation("an enhanced CT that describes no frame", _enhanced(no_groups_of_frames), refused="frame"),
    Situation("an enhanced CT in two files", in_two_files),
    Situation(
        "an enhanced CT that does not call its values HU", _enhanced(units_of_frames), warns="unit_unknown"
    ),
    Situation(
        "identifiers of its own for each slice", _some(nothing_of_each_slice_is_shared), warns="joined_series"
    ),
    Situation(
        "two reconstructions told apart by their description alone",
        told_apart_by_description,
        warns="interleaved_acquisitions",
        same=False,
    ),
    Situation(
        "an enhanced CT of two phases told apart by an index alone",
        phases_by_index_alone,
        warns="interleaved_acquisitions",
    ),
)
