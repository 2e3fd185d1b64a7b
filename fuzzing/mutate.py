"""Mutations that know the formats: one value of a header, one branch of a tree, one cell, some bytes.

Every mutation follows from a random generator alone, so that an input is made again from its door and number.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import yaml
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

Random = random.Random

TEXTS = (
    *("", " ", "0", "-1", "1e300", "-1e300", "nan", "inf", "1e-9", "9" * 400, "x", "1,5", "1\\2\\3", "-0"),
    *("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "\x00", "A" * 3000, "../../etc/passwd"),
    *(
        "[" * 400,
        "{" * 400,
        "%s%n",
        "\r\n\r\n",
        "null",
        "true",
        "2026-02-30",
        "\u202e",
        "=1+1",
        "day 99999999",
    ),
)
NUMBERS = (0, -1, 1, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**63, 1e300, -1e300, 1e-300, 0.5, 10**30)
_HOT_TAGS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("NumberOfFrames", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"),
    *(
        "RescaleSlope",
        "RescaleIntercept",
        "SeriesNumber",
        "SeriesInstanceUID",
        "ImageType",
        "KVP",
        "Exposure",
    ),
    *("ConvolutionKernel", "Modality", "SOPClassUID", "PixelPaddingValue", "GantryDetectorTilt", "PatientID"),
    *("AcquisitionNumber", "SpecificCharacterSet", "PixelData", "ContrastBolusAgent", "Manufacturer"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SegmentSequence", "WindowWidth"),
    *("WindowCenter", "PhotometricInterpretation", "PlanarConfiguration", "SegmentationType"),
)


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Some bytes changed, removed, repeated or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if not out:
            break
        # Headers stand at the start.
        place = rng.randrange(min(len(out), rng.choice((64, 400, 4000, len(out)))))
        how = rng.randrange(6)
        if how == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif how == 1:
            out[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
        elif how == 2:
            del out[place : place + rng.choice((1, 2, 8, 200, len(out)))]
        elif how == 3:
            out[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
        elif how == 4:
            out[place:place] = out[place : place + rng.choice((4, 64, 1000))]
        else:
            out[place : place + 8] = struct.pack("<d", rng.choice((float("nan"), float("inf"), 1e300, -1.0)))
    return bytes(out)


def mutate_dicom(path: Path, rng: Random) -> None:
    """One or two elements of a file hold something else; or its bytes are damaged."""
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return
    dataset = pydicom.dcmread(path, force=True)
    for _ in range(rng.choice((1, 1, 2))):
        keyword = rng.choice(_HOT_TAGS)
        tag = Tag(pydicom.datadict.tag_for_keyword(keyword) or 0)
        vr = pydicom.datadict.dictionary_VR(tag).split(" ")[0]
        how = rng.randrange(4)
        if how == 0 and tag in dataset:
            del dataset[tag]
            continue
        if vr in ("US", "SS"):
            value = struct.pack("<H", rng.choice((0, 1, 7, 8, 12, 15, 16, 17, 32, 64, 255, 32768, 65535)))
        else:
            value = rng.choice(TEXTS).encode("utf-8", "replace")
            value += b" " * (len(value) % 2)
        vr = rng.choice((vr, vr, vr, "UN", "SQ"))
        dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)  # noqa: FBT003, SLF001
    try:
        pydicom.dcmwrite(path, dataset, enforce_file_format=False)
    except Exception:  # noqa: BLE001  what cannot be written is damaged as bytes
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))


def mutate_dicom_folder(folder: Path, rng: Random) -> None:
    """One file, or all in the same way, or the folder itself: doubled, renamed, removed, mixed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    how = rng.randrange(8)
    if how == 0:
        rng.choice(files).unlink()
    elif how == 1:
        (folder / rng.choice(("a", "b.dcm", "DICOMDIR", "x.nii", "y.gz"))).write_bytes(
            mutate_bytes(rng.choice(files).read_bytes(), rng)
        )
    elif how in (2, 3):
        state = rng.getstate()
        for path in files:
            rng.setstate(state)
            mutate_dicom(path, rng)
    else:
        for path in rng.sample(files, k=min(len(files), rng.choice((1, 1, 3)))):
            mutate_dicom(path, rng)


def mutate_nifti(path: Path, rng: Random) -> None:
    """One field of the header, under the compression where there is one."""
    data = path.read_bytes()
    is_gzip = path.suffix == ".gz"
    if rng.random() < 0.2:
        path.write_bytes(mutate_bytes(data, rng))
        return
    plain = bytearray(gzip.decompress(data) if is_gzip else data)
    for _ in range(rng.choice((1, 1, 2))):
        field = rng.randrange(4)
        if field == 0:  # dim, datatype, bitpix, codes
            place = rng.choice((*range(40, 56, 2), 70, 72, 252, 254))
            struct.pack_into("<h", plain, place, rng.choice((0, -1, 1, 2, 3, 7, 8, 300, 512, 32767, -32768)))
        elif field == 1:  # pixdim, offset, scale, forms
            place = rng.choice((*range(76, 108, 4), 108, 112, 116, *range(256, 328, 4)))
            values = (0.0, -1.0, 1e-9, 1e38, float("nan"), float("inf"), 352.5, 1e7, 700.0, 3e-45)
            struct.pack_into("<f", plain, place, rng.choice(values))
        elif field == 2:
            plain[123] = rng.randrange(256)
        else:
            plain[344:348] = rng.choice((b"ni1\0", b"n+2\0", b"\0\0\0\0", b"n+1x"))
    cut = len(plain) if rng.random() < 0.8 else rng.randrange(len(plain))
    path.write_bytes(gzip.compress(bytes(plain[:cut]), 1) if is_gzip else bytes(plain[:cut]))


def mutate_header(path: Path, rng: Random) -> None:
    """One line of a text header: its value, its name, twice, or not at all."""
    data = path.read_bytes()
    if rng.random() < 0.15:
        path.write_bytes(mutate_bytes(data, rng))
        return
    mark = data.find(b"ElementDataFile") if path.suffix in (".mha", ".mhd") else data.find(b"\n\n")
    end = data.find(b"\n", mark + 1) + 1 if mark >= 0 else len(data)
    lines, rest = data[:end].split(b"\n"), data[end:]
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        name, sign, value = lines[at].partition(b"=" if path.suffix in (".mha", ".mhd") else b":")
        how = rng.randrange(5)
        words = value.split()
        if how == 0:
            del lines[at]
        elif how == 1 and words:
            words[rng.randrange(len(words))] = rng.choice(TEXTS).encode("utf-8", "replace")
            lines[at] = name + sign + b" " + b" ".join(words)
        elif how == 2:
            lines[at] = name + sign + b" " + rng.choice(TEXTS).encode("utf-8", "replace")
        elif how == 3:
            extra = ("byte skip", "line skip", "HeaderSize", "encoding", "CompressedData", "endian", "type")
            value = rng.choice((b"-1", b"9" * 12, b"x", b"gzip", b"True"))
            lines.insert(max(at, 1), rng.choice(extra).encode() + (sign or b":") + b" " + value)
        else:
            lines.insert(at, lines[rng.randrange(len(lines))])
        if not lines:
            break
    path.write_bytes(b"\n".join(lines) + rest)


def mutate_zip(path: Path, rng: Random) -> None:
    """Members damaged, renamed, doubled or of other compression; or the zip's own bytes."""
    if rng.random() < 0.4:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    at = rng.randrange(len(members))
    name, data = members[at]
    names = ("../../x.dcm", "/abs.dcm", "a/" * 50 + "x", "x.zip", name, "\u202ex", "__MACOSX/x", "x.nii.gz")
    members[at] = (rng.choice(names), mutate_bytes(data, rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice(kinds)) as archive:
        for one, content in members:
            archive.writestr(one, content)
    path.write_bytes(buffer.getvalue())


def mutate_tree(tree: Any, rng: Random) -> Any:
    """One branch of a tree of lists and mappings is another value, gone, or somewhere else as well."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            places.extend((node, key) for key in node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            places.extend((node, at) for at in range(len(node)))
            for value in node:
                walk(value)

    walk(tree)
    if not places:
        return rng.choice((None, [], {}, "x", 1))
    parent, key = rng.choice(places)
    how = rng.randrange(6)
    if how == 0:
        del parent[key]
    elif how == 1:
        other, at = rng.choice(places)
        parent[key] = other[at] if not isinstance(other[at], dict | list) else "moved"
    elif how == 2 and isinstance(parent, dict):
        parent[rng.choice(TEXTS)] = parent.pop(key)
    else:
        deep: Any = 1
        for _ in range(60):
            deep = [deep]
        parent[key] = rng.choice((*TEXTS, *NUMBERS, None, [], {}, [[]], {"a": None}, True, deep, "\ud800"))
    return tree


def mutate_json(path: Path, rng: Random) -> None:
    """A branch of the tree, or the bytes."""
    if rng.random() < 0.2:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return
    tree = json.loads(path.read_text("utf-8"))
    for _ in range(rng.choice((1, 1, 3))):
        tree = mutate_tree(tree, rng)
    path.write_text(json.dumps(tree), encoding="utf-8")


def mutate_yaml(path: Path, rng: Random) -> None:
    """A branch of the tree, a line of the text, or the bytes."""
    how = rng.randrange(3)
    if how == 0:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    elif how == 1:
        lines = path.read_text("utf-8").split("\n")
        at = rng.randrange(len(lines))
        lines[at] = rng.choice(
            (lines[at] + rng.choice(TEXTS), rng.choice(TEXTS), " " + lines[at], "&a *a", "? x")
        )
        path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    else:
        tree = mutate_tree(yaml.safe_load(path.read_text("utf-8")), rng)
        path.write_text(yaml.safe_dump(tree, allow_unicode=False), encoding="utf-8")


def mutate_csv(path: Path, rng: Random) -> None:
    """One cell, one row, or the bytes."""
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return
    rows = [line.split(",") for line in path.read_text("utf-8").split("\n")]
    row = rows[rng.choice((0, rng.randrange(len(rows))))]
    row[rng.randrange(len(row))] = rng.choice(TEXTS)
    if rng.random() < 0.2:
        rows.append(rng.choice(rows))
    path.write_text("\n".join(",".join(cells) for cells in rows), encoding="utf-8", errors="replace")


_BY_SUFFIX: dict[str, Callable[[Path, Random], None]] = {
    ".json": mutate_json,
    ".yaml": mutate_yaml,
    ".csv": mutate_csv,
    ".zip": mutate_zip,
    ".dcm": mutate_dicom,
    ".nii": mutate_nifti,
    ".gz": mutate_nifti,
    ".nrrd": mutate_header,
    ".nhdr": mutate_header,
    ".mha": mutate_header,
    ".mhd": mutate_header,
}


def mutate_input(place: Path, door: str, rng: Random) -> None:
    """Change an input of a door, in place."""
    if door == "dicom":
        mutate_dicom_folder(place, rng)
        return
    files = sorted(path for path in place.rglob("*") if path.is_file())
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = rng.choice(files)
        if door == "saved" and rng.random() < 0.05:
            path.unlink()
            return
        change = _BY_SUFFIX.get(path.suffix)
        if change is None or (door == "saved" and rng.random() < 0.2):
            path.write_bytes(mutate_bytes(path.read_bytes(), rng))
            continue
        try:
            change(path, rng)
        except (ValueError, KeyError, EOFError, OSError, struct.error, zlib.error, zipfile.BadZipFile):
            # A second mutation of what is damaged already.
            path.write_bytes(mutate_bytes(path.read_bytes(), rng))
