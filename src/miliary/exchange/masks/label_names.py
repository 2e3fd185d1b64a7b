"""Names of the labels in a volume file, where a program wrote them into it."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

_NIFTI_HEADER = 348
# What is read of the start of a file: names come before the voxels.
_START_BYTES = 1 << 20
_NIFTI_LABEL = re.compile(rb'<Label\s+Key="(\d{1,5})"[^>]*>\s*(?:<!\[CDATA\[)?([\w \-]{1,80})')
_NRRD_LABEL = re.compile(rb"^Segment(\d{1,4})_(LabelValue|Name):=([^\r\n]{1,80})", re.MULTILINE)


def read_label_names(path: Path) -> dict[int, str]:
    """Names by label: of the NIfTI that TotalSegmentator writes, or the NRRD of 3D Slicer.

    Parameters
    ----------
    path : path
        A volume file.

    Returns
    -------
    dict of int to str
        Empty where the file holds no names.
    """
    low = path.name.lower()
    if low.endswith((".nii", ".nii.gz")):
        found = _NIFTI_LABEL.findall(_read_start(path)[_NIFTI_HEADER:])
        return {int(key): text.decode("latin-1") for key, text in found}
    if low.endswith((".nrrd", ".nhdr")):
        head = re.split(rb"\r?\n\r?\n", path.read_bytes()[:_START_BYTES], maxsplit=1)[0]
        fields: dict[bytes, dict[bytes, bytes]] = {}
        for segment, key, text in _NRRD_LABEL.findall(head):
            fields.setdefault(segment, {})[key] = text.strip()
        return {
            int(one[b"LabelValue"]): one[b"Name"].decode("utf-8", "replace")
            for one in fields.values()
            if one.get(b"LabelValue", b"").isdigit() and b"Name" in one
        }
    return {}


def _read_start(path: Path) -> bytes:
    """The first bytes of a file, unpacked; empty where it cannot be read, which reading it will say."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                file.seek(0)
                with gzip.open(file) as unpacked:
                    return unpacked.read(_START_BYTES)
            file.seek(0)
            return file.read(_START_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
