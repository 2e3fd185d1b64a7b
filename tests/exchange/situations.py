"""Situations that people met with scans, each made small: what the input is, and what has to happen.

`docs/reading.md` lists them; `test_situations.py` tries each. A situation makes its input in an empty folder
and returns the path to read. Those of one kind stand together, so that a kind is mended and not an instance.
"""

from __future__ import annotations

import copy
import gzip
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from miliary.exchange.volumes.volume_file import write_volume
from miliary.model.scan import Acquisition, Grid
from tests.exchange import exported_dicom, exported_volumes
from tests.exchange.scans import (
    SHAPE,
    edit_all,
    files_by_position,
    phantom_grid,
    phantom_hu,
    write_multiframe,
    write_phantom,
)
from tests.exchange.situation import Situation

# --- DICOM ----------------------------------------------------------------------------------------


def _pixels(place: Path, change: Callable[[np.ndarray], np.ndarray], **tags: object) -> Path:
    """The phantom stored in another way; `change` gets HU and returns 16 bits to store."""
    write_phantom(place / "ct")
    for path in files_by_position(place / "ct"):
        dataset = pydicom.dcmread(path)
        hu = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, -1).astype(np.int32) - 1024
        dataset.PixelData = (change(hu) & 0xFFFF).astype("<u2").tobytes()
        for keyword, value in tags.items():
            if keyword == "PixelPaddingValue":
                signed = tags.get("PixelRepresentation", 1) == 1
                dataset.add_new(0x00280120, "SS" if signed else "US", value)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path, enforce_file_format=True)
    return place / "ct"


def overlay_above_signed_bits(place: Path) -> Path:
    def store(hu: np.ndarray) -> np.ndarray:
        stored = np.clip(hu + 1024, 0, 2047)
        stored[10:20, 10:20] |= 0x1000
        return stored

    return _pixels(place, store, BitsStored=12, HighBit=11)


def sign_not_extended(place: Path) -> Path:
    return _pixels(place, lambda hu: hu & 0xFFF, BitsStored=12, HighBit=11, RescaleIntercept=0)


def overlay_above_unsigned_bits(place: Path) -> Path:
    def store(hu: np.ndarray) -> np.ndarray:
        return np.maximum(hu + 1024, 0) | 0xF000

    return _pixels(place, store, BitsStored=12, HighBit=11, PixelRepresentation=0)


def values_in_upper_bits(place: Path) -> Path:
    return _pixels(
        place, lambda hu: np.maximum(hu + 1024, 0) << 4, BitsStored=12, HighBit=15, PixelRepresentation=0
    )


def unsigned_called_signed(place: Path) -> Path:
    """Bone in bit 11 of values that the header calls signed."""

    def store(hu: np.ndarray) -> np.ndarray:
        stored = hu + 1024
        stored[15:20, 20:30] = 1024 + 1100 + np.arange(10)
        return stored

    return _pixels(place, store, BitsStored=12, HighBit=11)


def impossible_bits(place: Path) -> Path:
    return _pixels(place, lambda hu: hu + 1024, BitsStored=20)


def _outside(hu: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: hu.shape[0], : hu.shape[1]]
    return np.hypot((rows - 19.5) / 19.5, (columns - 23.5) / 23.5) > 1.0


def padding_of_zero(place: Path) -> Path:
    return _pixels(place, lambda hu: np.where(_outside(hu), 0, hu), RescaleIntercept=0, PixelPaddingValue=0)


def padding_beyond_the_bits(place: Path) -> Path:
    def store(hu: np.ndarray) -> np.ndarray:
        return np.where(_outside(hu), 63536, np.maximum(hu + 1024, 0))

    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "PixelPaddingValue": 63536}
    return _pixels(place, store, **tags)


def padding_as_scanners_have_it(place: Path) -> Path:
    return _pixels(
        place, lambda hu: np.where(_outside(hu), -2000, hu), RescaleIntercept=0, PixelPaddingValue=-2000
    )


def _tags(place: Path, change: Callable[[Dataset], object]) -> Path:
    write_phantom(place / "ct")
    edit_all(place / "ct", change)
    return place / "ct"


def _raw(keyword: str, value: bytes) -> Callable[[Path], Path]:
    """The element's bytes as a careless program writes them."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    def make(place: Path) -> Path:
        write_phantom(place / "ct")
        for path in (place / "ct").iterdir():
            dataset = pydicom.dcmread(path)
            tag = Tag(tag_for_keyword(keyword))
            dataset._dict[tag] = RawDataElement(
                tag, "DS", len(value), value, 0, is_implicit_VR=False, is_little_endian=True
            )
            pydicom.dcmwrite(path, dataset, enforce_file_format=False)
        return place / "ct"

    return make


def _set(**tags: object) -> Callable[[Path], Path]:
    def change(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return lambda place: _tags(place, change)


def uid_of_each_slice(place: Path) -> Path:
    def change(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"1.2.3.{dataset.InstanceNumber}"

    return _tags(place, change)


def linked_folder(place: Path) -> Path:
    write_phantom(place / "elsewhere")
    (place / "ct").mkdir()
    (place / "ct/dicom").symlink_to(place / "elsewhere")
    (place / "ct/loop").symlink_to(place / "ct")
    return place / "ct"


def broken_link(place: Path) -> Path:
    write_phantom(place / "ct")
    (place / "ct/note").symlink_to(place / "nowhere")
    return place / "ct"


def pipe_in_the_folder(place: Path) -> Path:
    write_phantom(place / "ct")
    os.mkfifo(place / "ct/aa")
    return place / "ct"


def gzip_of_each_slice(place: Path) -> Path:
    write_phantom(place / "ct")
    for path in list((place / "ct").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    return place / "ct"


def other_gzips_beside_the_slices(place: Path) -> Path:
    write_phantom(place / "ct")
    (place / "ct/backup.tar.gz").write_bytes(gzip.compress(bytes(5_000_000), 1))
    (place / "ct/log.gz").write_bytes(gzip.compress(bytes(500), 1)[:-9] + b"damaged")
    return place / "ct"


def gzip_of_one_file(place: Path) -> Path:
    write_multiframe(place / "enhanced.dcm", phantom_hu(), phantom_grid())
    (place / "enhanced.dcm.gz").write_bytes(gzip.compress((place / "enhanced.dcm").read_bytes(), 1))
    return place / "enhanced.dcm.gz"


def index_of_a_disk(place: Path) -> Path:
    write_phantom(place / "disk/images")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    index = Dataset()
    index.file_meta = meta
    index.FileSetID = "DISK"
    index.save_as(place / "disk/DICOMDIR", enforce_file_format=True)
    return place / "disk/DICOMDIR"


def two_phases_of_one_file(place: Path) -> Path:
    grid = phantom_grid()
    frames = [*range(SHAPE[0]), *range(SHAPE[0])]
    write_multiframe(place / "enhanced.dcm", phantom_hu(), grid, frames=frames)
    dataset = pydicom.dcmread(place / "enhanced.dcm")
    n = SHAPE[0]
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.TemporalPositionIndex = 1 + i // n
        item.FrameContentSequence = [content]
    stored = np.frombuffer(dataset.PixelData, "<i2").copy()
    stored[stored.size // 2 :] += 60  # contrast agent
    dataset.PixelData = stored.tobytes()
    dataset.save_as(place / "enhanced.dcm", enforce_file_format=True)
    return place / "enhanced.dcm"


def long_text_in_frames(place: Path) -> Path:
    write_multiframe(place / "enhanced.dcm", phantom_hu(), phantom_grid())
    dataset = pydicom.dcmread(place / "enhanced.dcm")
    # In implicit VR, which knows no limit of 64 kB.
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", *["A" * 16] * 60_000]
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dataset.save_as(place / "enhanced.dcm", implicit_vr=True, little_endian=True)
    return place / "enhanced.dcm"


def _series(folder: Path, voxels: np.ndarray, *, number: int, step: float, first_z: float = 0.0) -> None:
    """A series of realistic width: lungs are looked for in it."""
    grid = Grid(voxels.shape, (step, 4.5, 4.5), (0.0, 0.0, first_z))
    write_phantom(folder, voxels=voxels, grid=grid, acquisition=Acquisition(kernel="B30f"), seed=number)

    def label(dataset: Dataset) -> None:
        dataset.PatientID, dataset.SeriesNumber, dataset.StudyInstanceUID = "one", number, "1.2.3"

    edit_all(folder, label)


def _belly(n: int) -> np.ndarray:
    voxels = phantom_hu((n, 64, 80))
    body = (voxels > -500) | (phantom_hu((n, 64, 80), seed=1) > -900)
    return np.where(body, 40 + np.random.default_rng(0).normal(0, 12, voxels.shape), voxels).astype(np.int16)


def thin_chest_beside_thick_trunk(place: Path) -> Path:
    chest = phantom_hu((48, 64, 80))
    thick = chest.reshape(12, 4, 64, 80).mean(axis=1)
    _series(
        place / "ct/a",
        np.concatenate([_belly(20), thick]).astype(np.int16),
        number=2,
        step=4.0,
        first_z=-80.0,
    )
    _series(place / "ct/b", chest, number=3, step=1.0)
    return place / "ct"


def thin_chest_beside_thin_belly(place: Path) -> Path:
    _series(place / "ct/a", _belly(80), number=2, step=1.0, first_z=-80.0)
    _series(place / "ct/b", phantom_hu((48, 64, 80)), number=3, step=1.0)
    return place / "ct"


def good_series_beside_one_with_a_hole(place: Path) -> Path:
    _series(place / "ct/a", phantom_hu((48, 64, 80)), number=2, step=1.0)
    for path in files_by_position(place / "ct/a")[20:24]:
        path.unlink()
    _series(place / "ct/b", phantom_hu((24, 64, 80)), number=3, step=2.0)
    return place / "ct"


def good_series_beside_a_damaged_one(place: Path) -> Path:
    _series(place / "ct/a", phantom_hu((48, 64, 80)), number=2, step=1.0)
    path = files_by_position(place / "ct/a")[30]
    path.write_bytes(path.read_bytes()[:-3000])
    _series(place / "ct/b", phantom_hu((24, 64, 80)), number=3, step=2.0)
    return place / "ct"


def told_apart_by_thickness(place: Path) -> Path:
    voxels = write_phantom(place / "ct")
    slices = files_by_position(place / "ct")
    for i in range(0, SHAPE[0] - 2, 3):
        dataset = pydicom.dcmread(slices[i])
        dataset.SliceThickness = 6
        dataset.PixelData = (voxels[i : i + 3].mean(axis=0).astype(np.int16) + 1024).astype("<i2").tobytes()
        dataset.save_as(place / f"ct/thick{i}.dcm", enforce_file_format=True)
    return place / "ct"


def _passes(place: Path, *, shift_mm: float) -> Path:
    """Two passes over one chest in one series, the second from the overlap on."""
    write_phantom(place / "ct")
    slices = files_by_position(place / "ct")
    for i, path in enumerate(slices):
        first = pydicom.dcmread(path)
        second = copy.deepcopy(first)
        first.AcquisitionNumber, second.AcquisitionNumber = 1, 2
        x, y, z = (float(value) for value in first.ImagePositionPatient)
        second.ImagePositionPatient = [x, y, z + shift_mm]
        stored = np.frombuffer(first.PixelData, "<i2")
        second.PixelData = (stored + np.int16(1)).tobytes()
        if i >= 16:
            path.unlink()
        else:
            first.save_as(path, enforce_file_format=True)
        if i >= 9:
            second.save_as(place / f"ct/second{i}.dcm", enforce_file_format=True)
    return place / "ct"


def three_passes(place: Path) -> Path:
    """Each overlaps the next."""
    write_phantom(place / "ct", voxels=phantom_hu((48, 40, 48)))
    for i, path in enumerate(files_by_position(place / "ct")):
        for number, (first, last) in enumerate(((0, 21), (16, 35), (30, 48))):
            if first <= i < last:
                one = pydicom.dcmread(path)
                one.AcquisitionNumber = number + 1
                one.PixelData = (np.frombuffer(one.PixelData, "<i2") + np.int16(number)).tobytes()
                one.save_as(place / f"ct/pass{number}-{i}.dcm", enforce_file_format=True)
        path.unlink()
    return place / "ct"


def repeated_slice_under_a_name(place: Path) -> Path:
    write_phantom(place / "ct")
    first = files_by_position(place / "ct")[3]
    (place / "ct/SMITH_JOHN_19470813.dcm").write_bytes(first.read_bytes())
    return place / "ct"


def deflated_bomb(place: Path) -> Path:
    write_phantom(place / "ct")
    path = files_by_position(place / "ct")[3]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    meta = data[: 144 + struct.unpack("<I", data[140:144])[0]]
    deflater = zlib.compressobj(9, wbits=-15)
    body = deflater.compress(b"\x08\x00\x08\x00CS\x02\x00A ") + _zeros(deflater, 20) + deflater.flush()
    path.write_bytes(meta + body)
    return place / "ct"


# --- zips -----------------------------------------------------------------------------------------


def zip_in_a_zip(place: Path) -> Path:
    write_phantom(place / "ct")
    with zipfile.ZipFile(place / "inner.zip", "w") as inner:
        for path in (place / "ct").iterdir():
            inner.write(path, path.name)
    with zipfile.ZipFile(place / "outer.zip", "w") as outer:
        outer.write(place / "inner.zip", "inner.zip")
    return place / "outer.zip"


def zip_bomb(place: Path) -> Path:
    write_phantom(place / "ct")
    with zipfile.ZipFile(place / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        paths = list((place / "ct").iterdir())
        for path in paths:
            archive.write(path, path.name)
        info = zipfile.ZipInfo("z.dcm")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(paths[0].read_bytes()[:300])
            for _ in range(90):
                member.write(bytes(1 << 20))
    return place / "ct.zip"


# --- volume files ---------------------------------------------------------------------------------


def _zeros(compressor: object, n_mb: int) -> bytes:
    zeros = bytes(1 << 20)
    return b"".join(compressor.compress(zeros) for _ in range(n_mb))  # type: ignore[attr-defined]


def _nifti(place: Path, name: str = "ct.nii") -> Path:
    write_volume(place / name, phantom_hu(), phantom_grid())
    return place / name


def _patched_nifti(*patches: tuple[int, str, tuple[float, ...]]) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        path = _nifti(place)
        data = bytearray(path.read_bytes())
        for offset, code, values in patches:
            struct.pack_into(code, data, offset, *values)
        path.write_bytes(data)
        return path

    return make


def mirrored_sform(place: Path) -> Path:
    path = _nifti(place)
    data = bytearray(path.read_bytes())
    row = struct.unpack_from("<4f", data, 280)
    struct.pack_into("<4f", data, 280, -row[0], row[1], row[2], -row[3])
    path.write_bytes(data)
    return path


def nifti_pair(place: Path) -> Path:
    data = bytearray(_nifti(place).read_bytes())
    data[344:348] = b"ni1\0"
    struct.pack_into("<f", data, 108, 0.0)
    (place / "pair.hdr").write_bytes(data[:348])
    (place / "pair.img").write_bytes(data[352:])
    return place / "pair.img"


def nifti_without_suffix(place: Path) -> Path:
    return _nifti(place).rename(place / "scan")


def folder_of_nifti_and_notes(place: Path) -> Path:
    (place / "converted").mkdir()
    _nifti(place / "converted", "chest_2.nii.gz")
    (place / "converted/chest_2.json").write_text("{}")
    return place / "converted"


def nifti_bomb(place: Path) -> Path:
    header = bytearray(_nifti(place).read_bytes()[:352])
    struct.pack_into("<3h", header, 42, 330, 330, 330)
    compressor = zlib.compressobj(9, wbits=31)
    body = compressor.compress(bytes(header)) + _zeros(compressor, 70) + compressor.flush()
    (place / "ct.nii.gz").write_bytes(body)
    return place / "ct.nii.gz"


def nifti_with_much_behind(place: Path) -> Path:
    compressor = zlib.compressobj(9, wbits=31)
    data = compressor.compress(_nifti(place).read_bytes()) + _zeros(compressor, 40) + compressor.flush()
    (place / "ct.nii.gz").write_bytes(data)
    return place / "ct.nii.gz"


def _nrrd_header(*lines: str, spacing: str = "(1.25,0,0) (0,1.5,0) (0,0,2)") -> str:
    return "\n".join(
        (
            *("NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 48 40 24"),
            *(f"space directions: {spacing}", "endian: little", "encoding: raw"),
            *("space origin: (-31.5,-22.25,104.5)", *lines, ""),
        )
    )


def _detached_nrrd(*lines: str, before: bytes = b"") -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / "ct.bin").write_bytes(before + phantom_hu().astype("<i2").tobytes())
        (place / "ct.nhdr").write_text(_nrrd_header(*lines))
        return place / "ct.nhdr"

    return make


def _attached_nrrd(
    *lines: str,
    spacing: str = "(1.25,0,0) (0,1.5,0) (0,0,2)",
    origin: str = "(-31.5,-22.25,104.5)",
) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        header = _nrrd_header(*lines, spacing=spacing).replace("(-31.5,-22.25,104.5)", origin) + "\n"
        (place / "ct.nrrd").write_bytes(header.encode() + phantom_hu().astype("<i2").tobytes())
        return place / "ct.nrrd"

    return make


def nrrd_of_enormous_sizes(place: Path) -> Path:
    path = _attached_nrrd()(place)
    path.write_bytes(path.read_bytes().replace(b"sizes: 48", b"sizes: " + b"9" * 5000))
    return path


def _metaimage(*changes: tuple[bytes, bytes]) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        write_volume(place / "ct.mha", phantom_hu(), phantom_grid())
        head, mark, data = (place / "ct.mha").read_bytes().partition(b"LOCAL\n")
        for pattern, replacement in changes:
            head = re.sub(pattern, replacement, head)
        (place / "ct.mha").write_bytes(head + mark + data)
        return place / "ct.mha"

    return make


def detached_metaimage(place: Path) -> Path:
    path = _metaimage((rb"CompressedData = True\n", b"CompressedData = False\nHeaderSize = x\n"))(place)
    head = path.read_bytes().partition(b"LOCAL\n")[0]
    (place / "ct.raw").write_bytes(phantom_hu().tobytes())
    (place / "ct.mhd").write_bytes(head + b"./ct.raw\n")
    return place / "ct.mhd"


def metaimage_with_data_beside(place: Path) -> Path:
    path = detached_metaimage(place)
    path.write_bytes(path.read_bytes().replace(b"HeaderSize = x", b"HeaderSize = 0"))
    return path


_COMMA = r"decimal comma"

SITUATIONS = (
    Situation("signed pixels of 12 bits, an old overlay in the bits above", overlay_above_signed_bits),
    Situation("signed pixels of 12 bits whose sign does not reach into the bits above", sign_not_extended),
    Situation("unsigned pixels of 12 bits, all bits above set", overlay_above_unsigned_bits),
    Situation("12 bits stored in the upper bits (HighBit 15)", values_in_upper_bits),
    Situation(
        "bone that only unsigned pixels can hold, called signed",
        unsigned_called_signed,
        refused="calls its values signed",
    ),
    Situation("more bits stored than there are", impossible_bits, refused="stores 20 of 16 bits"),
    Situation("padding value of 0 HU around a round field of view", padding_of_zero),
    Situation("padding value beyond the stored bits (63536 in 12 bits)", padding_beyond_the_bits),
    Situation("padding value of -2000 HU", padding_as_scanners_have_it),
    Situation("kVp of two values", _raw("KVP", b"120\\100 ")),
    Situation("exposure in words", _raw("Exposure", b"a lot ")),
    Situation("rescale intercept of -66560", _set(RescaleIntercept="-66560"), refused="every voxel is"),
    Situation("rescale intercept of -1e300", _set(RescaleIntercept="-1e300"), refused="which give no HU"),
    Situation("65,535 rows and columns", _set(Rows=65535, Columns=65535), refused="as no CT has"),
    Situation("pixels a nanometer wide", _set(PixelSpacing=["1e-9", "1e-9"]), refused="is no CT of a person"),
    Situation(
        "slices 10 km from the origin", _set(ImagePositionPatient=["1e7", "0", "0"]), refused="same position"
    ),
    Situation("spacing with a decimal comma in DICOM", _raw("PixelSpacing", b"1,5\\1,25"), refused=_COMMA),
    Situation("a series UID of its own for each slice", uid_of_each_slice, warns="joined_series"),
    Situation("a folder that links to the scan, and to itself", linked_folder),
    Situation("a broken link beside the slices", broken_link, warns="broken_links"),
    Situation("a pipe beside the slices", pipe_in_the_folder),
    Situation("slices compressed one by one (`.dcm.gz`)", gzip_of_each_slice),
    Situation("other things compressed beside the slices", other_gzips_beside_the_slices),
    Situation("an enhanced CT as `.dcm.gz`", gzip_of_one_file),
    Situation("the DICOMDIR of a disk", index_of_a_disk),
    Situation("an enhanced CT of two phases", two_phases_of_one_file, warns="interleaved_acquisitions"),
    Situation("an enhanced CT with a megabyte of text in its header", long_text_in_frames),
    Situation(
        "a thin chest beside a longer, thicker trunk",
        thin_chest_beside_thick_trunk,
        warns="several_series",
        same=False,
    ),
    Situation(
        "a thin chest beside a longer, as thin abdomen",
        thin_chest_beside_thin_belly,
        warns="several_series",
        same=False,
    ),
    Situation(
        "a thin series with a hole beside a whole one",
        good_series_beside_one_with_a_hole,
        warns="series_refused",
        same=False,
    ),
    Situation(
        "a thin series with a truncated file beside a whole one",
        good_series_beside_a_damaged_one,
        warns="series_refused",
        same=False,
    ),
    Situation(
        "two reconstructions told apart by SliceThickness alone",
        told_apart_by_thickness,
        warns="interleaved_acquisitions",
    ),
    Situation(
        "overlapping passes on the same steps",
        lambda place: _passes(place, shift_mm=0.0),
        warns="overlapping_passes",
        same=False,
    ),
    Situation(
        "three passes, each overlapping the next", three_passes, warns="overlapping_passes", same=False
    ),
    Situation(
        "overlapping passes half a step apart",
        lambda place: _passes(place, shift_mm=1.0),
        warns="passes_left_out",
        same=False,
    ),
    Situation(
        "a repeated slice in a file of a person's name",
        repeated_slice_under_a_name,
        warns="duplicated_slices",
    ),
    Situation("a deflated file that grows a thousandfold", deflated_bomb, refused="damaged DICOM file"),
    Situation("a zip in a zip", zip_in_a_zip, refused=r"holds inner\.zip, a zip of its own"),
    Situation("a zip member that grows a thousandfold", zip_bomb, refused="grows as no CT does"),
    Situation("NIfTI whose sform mirrors its qform", mirrored_sform, warns="forms_disagree", same=False),
    Situation(
        "NIfTI with an identity sform and another pixdim",
        _patched_nifti((252, "<hh", (0, 2)), (280, "<12f", (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0))),
        warns="forms_disagree",
        same=False,
    ),
    Situation("NIfTI as a pair of .hdr and .img", nifti_pair),
    Situation("NIfTI without a suffix", nifti_without_suffix),
    Situation("a folder of .nii.gz and .json", folder_of_nifti_and_notes, refused=r"give that file itself"),
    Situation(
        "NIfTI in micrometers, called mm",
        _patched_nifti((252, "<hh", (0, 2)), (280, "<12f", (1250, 0, 0, 0, 0, 1500, 0, 0, 0, 0, 2000, 0))),
        refused="not micrometers",
    ),
    Situation(
        "NIfTI in mm, called micrometers", _patched_nifti((123, "<B", (3,))), refused="not micrometers"
    ),
    Situation(
        "NIfTI whose vox_offset is no number",
        _patched_nifti((108, "<f", (float("nan"),))),
        refused="no place in a file",
    ),
    Situation(
        "NIfTI whose vox_offset is infinite",
        _patched_nifti((108, "<f", (float("inf"),))),
        refused="no place in a file",
    ),
    Situation(
        "NIfTI 1e38 mm from its origin", _patched_nifti((308, "<f", (1e38,))), refused="no place in a scanner"
    ),
    Situation("a .nii.gz that grows a thousandfold", nifti_bomb, refused="which no CT does"),
    Situation(
        "a .nii.gz with much behind its voxels", nifti_with_much_behind, refused="more data than its header"
    ),
    Situation(
        "NRRD with `byte skip: -1`", _detached_nrrd("byte skip: -1", "data file: ct.bin", before=b"J" * 999)
    ),
    Situation(
        "NRRD in micrometers that says so",
        _attached_nrrd(
            'space units: "um" "um" "um"',
            spacing="(1250,0,0) (0,1500,0) (0,0,2000)",
            origin="(-31500,-22250,104500)",
        ),
    ),
    Situation("NRRD with `data file: ./ct.bin`", _detached_nrrd("data file: ./ct.bin")),
    Situation(
        "NRRD with two billion lines to skip",
        _attached_nrrd("line skip: 2000000000"),
        refused="truncated or damaged",
    ),
    Situation("NRRD with `byte skip: x`", _attached_nrrd("byte skip: x"), refused="no whole number"),
    Situation("NRRD with sizes of 5,000 digits", nrrd_of_enormous_sizes, refused="truncated or damaged"),
    Situation(
        "NRRD with a decimal comma", _attached_nrrd(spacing="(1,25,0,0) (0,1,5,0) (0,0,2)"), refused=_COMMA
    ),
    Situation("MetaImage with data in `./ct.raw`", metaimage_with_data_beside),
    Situation("MetaImage with `HeaderSize = x`", detached_metaimage, refused="no whole number"),
    Situation(
        "MetaImage with a decimal comma",
        _metaimage((rb"ElementSpacing = .*", b"ElementSpacing = 1,2 1,5 2")),
        refused=_COMMA,
    ),
    Situation(
        "MetaImage 1e300 mm from its origin",
        _metaimage((rb"Offset = \S+", b"Offset = 1e300")),
        refused="no place in a scanner",
    ),
)


ALL_SITUATIONS = (*SITUATIONS, *exported_dicom.SITUATIONS, *exported_volumes.SITUATIONS)


def render_table() -> str:
    """The table of `docs/reading.md`: one row per situation, in the order of `ALL_SITUATIONS`."""
    lines = ["| situation | what happens |", "|---|---|"]
    for one in ALL_SITUATIONS:
        happens = "refused in one line" if one.refused else f"read, `{one.warns}`" if one.warns else "read"
        lines.append(f"| {one.text} | {happens} |")
    return "\n".join(lines) + "\n"
