"""Situations of NIfTI, NRRD and MetaImage as converters write them; `situations.py` says what one is."""

from __future__ import annotations

import bz2
import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from miliary.exchange.volumes.volume_file import write_volume
from tests.exchange.scans import SHAPE, phantom_grid, phantom_hu
from tests.exchange.situation import Situation

Make = Callable[[Path], Path]
_HEAD = 352


def _nifti(
    *patches: tuple[int, str, tuple[float, ...]],
    values: Callable[[np.ndarray], np.ndarray] = lambda hu: hu,
    name: str = "ct.nii",
    wrap: Callable[[bytes], bytes] = bytes,
) -> Make:
    """The phantom with fields of its header changed and its voxels stored in another way."""

    def make(place: Path) -> Path:
        write_volume(place / "plain.nii", phantom_hu(), phantom_grid())
        data = bytearray((place / "plain.nii").read_bytes()[:_HEAD])
        for offset, code, fields in patches:
            struct.pack_into(code, data, offset, *fields)
        (place / name).write_bytes(wrap(bytes(data) + values(phantom_hu()).tobytes()))
        return place / name

    return make


def _kind(code: int, bits: int) -> tuple[int, str, tuple[int, int]]:
    return 70, "<hh", (code, bits)


def big_endian(place: Path) -> Path:
    data = bytearray(_nifti()(place).read_bytes())
    for size, ranges in (
        (4, ((0, 4), (32, 36), (56, 68), (76, 120), (124, 148), (256, 328))),
        (2, ((36, 38), (40, 56), (68, 76), (120, 122), (252, 256))),
    ):
        for start, end in ranges:
            for at in range(start, end, size):
                data[at : at + size] = data[at : at + size][::-1]
    voxels = np.frombuffer(bytes(data[_HEAD:]), "<i2").astype(">i2").tobytes()
    (place / "ct.nii").write_bytes(bytes(data[:_HEAD]) + voxels)
    return place / "ct.nii"


def pair_of_compressed_files(place: Path) -> Path:
    data = bytearray(_nifti()(place).read_bytes())
    data[344:348] = b"ni1\0"
    struct.pack_into("<f", data, 108, 0.0)
    (place / "pair.hdr").write_bytes(data[:348])
    (place / "pair.img.gz").write_bytes(gzip.compress(bytes(data[_HEAD:]), 1))
    return place / "pair.hdr"


def analyze(place: Path) -> Path:
    data = bytearray(_nifti()(place).read_bytes())
    data[344:348] = bytes(4)
    (place / "old.hdr").write_bytes(data[:348])
    (place / "old.img").write_bytes(data[_HEAD:])
    return place / "old.hdr"


def nifti_2(place: Path) -> Path:
    """The same affine and voxels under the header of 540 bytes."""
    old = _nifti()(place).read_bytes()
    srow = np.frombuffer(old[280:328], "<f4").astype("<f8")
    head = bytearray(544)
    struct.pack_into("<i8shh", head, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16)
    struct.pack_into("<8q", head, 16, 3, 48, 40, 24, 1, 1, 1, 1)
    struct.pack_into("<8d", head, 104, 1, 1.25, 1.5, 2, 0, 0, 0, 0)
    struct.pack_into("<q", head, 168, 544)
    struct.pack_into("<dd", head, 176, 1, 0)
    struct.pack_into("<ii", head, 344, 0, 1)
    struct.pack_into("<12d", head, 400, *srow)
    struct.pack_into("<i", head, 500, 2)
    (place / "ct.nii").write_bytes(bytes(head) + old[_HEAD:])
    return place / "ct.nii"


def extension_before_the_voxels(place: Path) -> Path:
    data = bytearray(_nifti()(place).read_bytes())
    struct.pack_into("<f", data, 108, 416.0)
    data[348] = 1
    (place / "ct.nii").write_bytes(
        bytes(data[:352]) + struct.pack("<ii", 64, 6) + b"x" * 56 + bytes(data[352:])
    )
    return place / "ct.nii"


def gzip_in_parts(data: bytes) -> bytes:
    return gzip.compress(data[:30_000], 1) + gzip.compress(data[30_000:], 1)


def _named(make: Make, name: str) -> Make:
    return lambda place: make(place).rename(place / name)


# --- NRRD -----------------------------------------------------------------------------------------

_FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "48 40 24",
    "space directions": "(1.25,0,0) (0,1.5,0) (0,0,2)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-31.5,-22.25,104.5)",
}


def _nrrd(
    *,
    newline: str = "\n",
    extra: str = "",
    before: bytes = b"",
    behind: bytes = b"",
    beside: str = "",
    values: Callable[[np.ndarray], bytes] = lambda hu: hu.astype("<i2").tobytes(),
    **fields: str | None,
) -> Make:
    """An NRRD with fields changed or removed (None); `beside` names a data file."""

    def make(place: Path) -> Path:
        told = {**_FIELDS, **{key.replace("_", " "): value for key, value in fields.items()}}
        lines = ["NRRD0005", *(f"{key}: {value}" for key, value in told.items() if value is not None)]
        head = newline.join([*lines, *([extra] if extra else []), "", ""]).encode()
        data = before + values(phantom_hu()) + behind
        if not beside:
            (place / "ct.nrrd").write_bytes(head + data)
            return place / "ct.nrrd"
        (place / beside).write_bytes(data)
        (place / "ct.nhdr").write_bytes(head)
        return place / "ct.nhdr"

    return make


# --- MetaImage ------------------------------------------------------------------------------------


def _metaimage(
    *changes: tuple[str, str],
    beside: str = "",
    behind: bytes = b"",
    values: Callable[[np.ndarray], bytes] = lambda hu: hu.astype("<i2").tobytes(),
    newline: str = "\n",
) -> Make:
    def make(place: Path) -> Path:
        head = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
            "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -31.5 -22.25 104.5\n"
            "CenterOfRotation = 0 0 0\nAnatomicalOrientation = RAI\nElementSpacing = 1.25 1.5 2\n"
            "DimSize = 48 40 24\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        )
        for pattern, replacement in changes:
            head = re.sub(pattern, replacement, head)
        head = head.replace("\n", newline)
        data = values(phantom_hu()) + behind
        if not beside:
            (place / "ct.mha").write_bytes(head.encode() + data)
            return place / "ct.mha"
        (place / beside).write_bytes(data)
        (place / "ct.mhd").write_text(head)
        return place / "ct.mhd"

    return make


_SAFE = "truncated|damaged|more|export"

SITUATIONS = (
    Situation("big-endian NIfTI", big_endian),
    Situation("NIfTI-2", nifti_2),
    Situation("Analyze 7.5", analyze, refused="Analyze"),
    Situation("NIfTI whose slope is 0", _nifti((112, "<ff", (0.0, 0.0)))),
    Situation("NIfTI whose slope is no number", _nifti((112, "<ff", (float("nan"), float("nan"))))),
    Situation(
        "NIfTI of unsigned values with an intercept of -1024",
        _nifti(
            _kind(512, 16),
            (112, "<ff", (1.0, -1024.0)),
            values=lambda hu: np.maximum(hu + 1024, 0).astype("<u2"),
        ),
    ),
    Situation(
        "NIfTI of HU + 1024 without an intercept",
        _nifti(values=lambda hu: hu + np.int16(1024)),
        refused="implausible HU",
    ),
    Situation(
        "NIfTI of numbers between 0 and 1",
        _nifti(_kind(16, 32), values=lambda hu: np.clip((hu + 1000) / 1400, 0, 1).astype("<f4")),
        refused="implausible HU|every voxel",
    ),
    Situation(
        "NIfTI of attenuation in 1/cm",
        _nifti(_kind(16, 32), values=lambda hu: (0.19 * (1 + hu / 1000)).astype("<f4")),
        refused="implausible HU",
    ),
    Situation(
        "NIfTI of 64-bit floating-point values", _nifti(_kind(64, 64), values=lambda hu: hu.astype("<f8"))
    ),
    Situation(
        "NIfTI with NaN outside of the body",
        _nifti(_kind(16, 32), values=lambda hu: np.where(hu < -950, np.nan, hu).astype("<f4")),
        refused="NaN",
    ),
    Situation("NIfTI with a fourth axis of one", _nifti((40, "<8h", (4, 48, 40, 24, 1, 1, 1, 1)))),
    Situation(
        "NIfTI with two volumes", _nifti((40, "<8h", (4, 48, 40, 12, 2, 1, 1, 1))), refused="dimensions"
    ),
    Situation(
        "NIfTI that says fewer slices than it holds",
        _nifti((40, "<8h", (3, 48, 40, 16, 1, 1, 1, 1))),
        refused=_SAFE,
    ),
    Situation("NIfTI whose voxels are said to begin at 0", _nifti((108, "<f", (0.0,)))),
    Situation("NIfTI with an extension of its header", extension_before_the_voxels),
    Situation(
        "NIfTI with a spacing of 0 beside its sform",
        _nifti((80, "<fff", (0.0, 0.0, 0.0)), (252, "<hh", (0, 2))),
    ),
    Situation("NIfTI with negative spacings beside its forms", _nifti((80, "<fff", (-1.25, -1.5, 2.0)))),
    Situation("NIfTI whose qfac is 0", _nifti((76, "<f", (0.0,)), (252, "<hh", (1, 0)))),
    Situation("NIfTI with a qform alone", _nifti((252, "<hh", (1, 0)))),
    Situation(
        "NIfTI without any form", _nifti((252, "<hh", (0, 0))), warns="orientation_unknown", same=False
    ),
    Situation(
        "NIfTI in meters that says so",
        _nifti(
            (123, "<B", (1,)),
            (80, "<fff", (0.00125, 0.0015, 0.002)),
            (252, "<hh", (0, 1)),
            (280, "<12f", (-0.00125, 0, 0, 0.0315, 0, -0.0015, 0, 0.02225, 0, 0, 0.002, 0.1045)),
        ),
    ),
    Situation(
        "NIfTI of single bytes",
        _nifti(_kind(2, 8), values=lambda hu: np.clip((hu + 1000) / 8, 0, 255).astype("u1")),
        refused="implausible HU",
    ),
    Situation(
        "NIfTI of colors",
        _nifti(_kind(128, 24), values=lambda hu: np.zeros((*SHAPE, 3), "u1")),
        refused="colors",
    ),
    Situation("a pair whose .img is compressed", pair_of_compressed_files),
    Situation("a .nii.gz that is not compressed", _nifti(name="ct.nii.gz")),
    Situation("a .nii that is compressed", _nifti(wrap=lambda data: gzip.compress(data, 1))),
    Situation("a .nii.gz in several parts", _nifti(name="ct.nii.gz", wrap=gzip_in_parts)),
    Situation(
        "a .nii.gz whose end is missing",
        _nifti(name="ct.nii.gz", wrap=lambda data: gzip.compress(data, 1)[:-20]),
        refused="truncated or damaged",
    ),
    Situation(
        "a NIfTI in a .nii.bz2",
        _nifti(name="ct.nii.bz2", wrap=bz2.compress),
        refused="archive that is not read",
    ),
    Situation("a NIfTI named .nrrd", _named(_nifti(), "ct.nrrd")),
    Situation("a NIfTI named .dcm", _named(_nifti(), "ct.dcm")),
    Situation("an NRRD named .nii", _named(_nrrd(), "scan.nii")),
    Situation("a NIfTI with its suffix in capitals", _named(_nifti(), "CT.NII")),
    Situation("big-endian NRRD", _nrrd(endian="big", values=lambda hu: hu.astype(">i2").tobytes())),
    Situation("NRRD with DOS line ends", _nrrd(newline="\r\n")),
    Situation(
        "NRRD with a header of 200 kB",
        _nrrd(extra="\n".join(f"Segment{i}_Name:={'x' * 90}" for i in range(2000))),
    ),
    Situation(
        "NRRD in RAS",
        _nrrd(
            space="RAS", space_directions="(-1.25,0,0) (0,-1.5,0) (0,0,2)", space_origin="(31.5,22.25,104.5)"
        ),
    ),
    Situation(
        "NRRD without a space",
        _nrrd(space=None, space_directions=None, space_origin=None, spacings="1.25 1.5 2"),
        warns="orientation_unknown",
        same=False,
    ),
    Situation(
        "NRRD with a spacing for each axis alone",
        _nrrd(space=None, space_directions=None, space_origin=None, spacings="1.25 1.5 nan"),
        refused="spacing",
    ),
    Situation(
        "NRRD with voxels beside it in a file of other capitals",
        _nrrd(beside="CT.RAW", data_file="ct.raw"),
    ),
    Situation(
        "NRRD whose data file has a header of its own",
        _nrrd(beside="ct.raw", data_file="ct.raw", before=b"H" * 512),
        refused="more",
    ),
    Situation("NRRD that says fewer slices than it holds", _nrrd(sizes="48 40 16"), refused="more"),
    Situation(
        "NRRD in compressed text", _nrrd(encoding="ascii", values=lambda hu: b"1 2 3"), refused="encoded as"
    ),
    Situation(
        "NRRD with its data in another folder",
        _nrrd(beside="ct.raw", data_file="../raw/ct.raw"),
        refused="another folder",
    ),
    Situation(
        "NRRD with a path of Windows",
        _nrrd(beside="ct.raw", data_file="C:\\data\\ct.raw"),
        refused="another folder",
    ),
    Situation(
        "NRRD with one file for each slice",
        _nrrd(beside="ct001.raw", data_file="ct%03d.raw 1 24 1"),
        refused="several files",
    ),
    Situation(
        "NRRD with a first axis of one value",
        _nrrd(
            dimension="4",
            sizes="1 48 40 24",
            kinds="list domain domain domain",
            space_directions="none (1.25,0,0) (0,1.5,0) (0,0,2)",
        ),
    ),
    Situation(
        "NRRD compressed by bzip2",
        _nrrd(encoding="bz2", values=lambda hu: bz2.compress(hu.astype("<i2").tobytes())),
    ),
    Situation(
        "big-endian MetaImage",
        _metaimage(("MSB = False", "MSB = True"), values=lambda hu: hu.astype(">i2").tobytes()),
    ),
    Situation("MetaImage with DOS line ends", _metaimage(newline="\r\n")),
    Situation(
        "compressed MetaImage beside its header",
        _metaimage(
            ("CompressedData = False", "CompressedData = True"),
            ("LOCAL", "ct.zraw"),
            beside="ct.zraw",
            values=lambda hu: zlib.compress(hu.astype("<i2").tobytes()),
        ),
    ),
    Situation(
        "MetaImage of type MET_LONG",
        _metaimage(("MET_SHORT", "MET_LONG"), values=lambda hu: hu.astype("<i4").tobytes()),
    ),
    Situation(
        "MetaImage that says fewer slices than it holds",
        _metaimage(("DimSize = 48 40 24", "DimSize = 48 40 16")),
        refused="more",
    ),
    Situation(
        "MetaImage whose data file has a header of its own",
        _metaimage(("LOCAL", "ct.raw"), beside="ct.raw", behind=b"H" * 1000),
        refused="more",
    ),
    Situation(
        "MetaImage whose data file says HeaderSize -1",
        _metaimage(
            ("LOCAL", "ct.raw"),
            ("DimSize", "HeaderSize = -1\nDimSize"),
            beside="ct.raw",
            values=lambda hu: b"H" * 999 + hu.tobytes(),
        ),
    ),
    Situation(
        "MetaImage with a file for each slice",
        _metaimage(("LOCAL", "ct%03d.raw 1 24 1"), beside="ct001.raw"),
        refused="several files",
    ),
    Situation(
        "MetaImage with a list of files",
        _metaimage(("LOCAL", "LIST\nct001.raw"), beside="ct001.raw"),
        refused="several files",
    ),
    Situation(
        "MetaImage without a matrix",
        _metaimage(("TransformMatrix = .*\n", "")),
        warns="orientation_unknown",
        same=False,
    ),
)
