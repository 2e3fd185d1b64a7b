"""Values of DICOM elements as they come: within limits, and `None` for what is no value.

Headers are parsed on access and hold anything: two numbers for one, text for a number, a megabyte of text.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from miliary.errors import ScanReadError

if TYPE_CHECKING:
    from pydicom import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
# A deflated file may grow to this, and by this much more for each of its own bytes.
_FREE_BYTES, _MOST_EXPANSION = 16 * 2**20, 20
_LONGEST_TEXT, _MOST_VALUES = 64, 16
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")


def parse_dataset(file: BinaryIO, tags: Sequence[str]) -> Dataset:
    """The header of a DICOM file up to its pixels.

    Parameters
    ----------
    file : binary file
        At its start; where it ends is where parsing stopped.
    tags : sequence of str
        Elements to keep.

    Raises
    ------
    ScanReadError
        It is deflated and grows as no picture does.
    Exception
        Whatever a damaged header makes the parser raise.
    """
    import pydicom

    check_deflated(file)
    return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(tags))


def check_deflated(file: BinaryIO) -> None:
    """Refuse a deflated DICOM file that grows as no picture does; the file is at its start again then.

    Raises
    ------
    ScanReadError
    """
    head = file.read(4096)
    if DEFLATED.encode() in head:
        data = head + file.read()
        start = _end_of_meta(data)
        most = _FREE_BYTES + _MOST_EXPANSION * len(data)
        try:
            stream = zlib.decompressobj(wbits=-15)
            grown = len(stream.decompress(data[start:], most))
        except zlib.error:
            grown = 0  # the parser says so
        if grown >= most:
            raise ScanReadError("a deflated file grows as no CT does; it is damaged: copy or export it again")
    file.seek(0)


def _end_of_meta(data: bytes) -> int:
    """Where the elements of group 0002, always in explicit little endian, end."""
    place = 132 if data[128:132] == b"DICM" else 0
    while data[place : place + 2] == b"\x02\x00":
        if data[place + 4 : place + 6] in _LONG_VRS:
            place += 12 + int.from_bytes(data[place + 8 : place + 12], "little")
        else:
            place += 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    return place


def get_value(dataset: Dataset, keyword: str) -> Any:
    """A value, or `None` where it is empty or cannot be parsed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001  values are parsed on access, and odd ones raise anything
        return None
    return None if value is None or (isinstance(value, str) and value == "") else value


def has_decimal_comma(dataset: Dataset, keyword: str, value: Any) -> bool:
    """Whether a number is written with a comma, which DICOM does not know.

    Parameters
    ----------
    dataset : Dataset
    keyword : str
    value : Any
        What `get_value` gave for it; the bytes of the file are looked at where that is nothing.
    """
    from pydicom.datadict import tag_for_keyword

    if value is not None:
        return isinstance(value, Sequence) and re.search(r"\d,\d", shorten(value)) is not None
    raw = getattr(dataset.get_item(tag_for_keyword(keyword) or 0), "value", None)
    return isinstance(raw, bytes) and re.search(rb"\d,\d", raw[:256]) is not None


def shorten(value: Any) -> str:
    """A value as a text to compare, of at most 16 parts of 64 signs."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)[: _LONGEST_TEXT * 4]
    return "\\".join(str(part)[:_LONGEST_TEXT] for part in itertools.islice(value, _MOST_VALUES))


def read_words(value: Any) -> tuple[str, ...]:
    """The parts of a text of several values: at most 16 of 64 signs."""
    parts = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    return tuple(str(part)[:_LONGEST_TEXT] for part in itertools.islice(parts, _MOST_VALUES))


def read_text(value: Any) -> str | None:
    """One short line of a text element, or `None` where it is empty."""
    if value is None:
        return None
    joined = " ".join("/".join(read_words(value)).split())
    # Half a pair of code units is no text that a file could hold.
    return joined.encode("utf-8", "replace").decode("utf-8")[:_LONGEST_TEXT] or None


def read_number(value: Any) -> float | None:
    """A finite number, or `None`; of several values none is the one."""
    numbers = read_numbers([value], 1)
    return None if numbers is None else numbers[0]


def read_integer(value: Any) -> int | None:
    """A whole number, or `None`."""
    if isinstance(value, bytes):  # "US or SS" elements stay raw where their sign is not known
        value = int.from_bytes(value[:2], "little")
    number = read_number(value)
    return None if number is None or abs(number) > 2**53 else int(number)


def read_numbers(values: Any, count: int) -> list[float] | None:
    """Exactly so many finite numbers, or `None`."""
    if values is None or isinstance(values, (str, bytes)):
        return None
    try:
        if len(values) != count:
            return None
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def wrap_bytes(data: bytes) -> BinaryIO:
    """Bytes as a file."""
    return io.BytesIO(data)
