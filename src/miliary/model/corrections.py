"""`Correction`: one change that a reader made to a result, appended and never written over it.

A correction names a nodule by its number and its place, so that it finds the same nodule after the scan
was measured anew. What is taken back stays in the record: a later line withdraws it.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SCHEMA_VERSION = "1.0"
NOT_PLACED_CODE = "correction_not_placed"

Point = tuple[float, float, float]

# A few letters are initials; more would be a name.
_READER = re.compile(r"\w[\w.\-]{0,5}")
_FAR_MM = 1.0e4


class CorrectionKind(enum.StrEnum):
    """What a reader may do."""

    REJECT_NODULE = "reject_nodule"
    ADD_NODULE = "add_nodule"
    SET_LESION_ENDS = "set_lesion_ends"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Correction:
    """One line of `corrections.jsonl`.

    Parameters
    ----------
    number : int
        From 1, in the order of saving.
    time : str
        When it was saved: ISO 8601, UTC.
    reader : str
        Initials, at most six characters.
    scan : str
        Label of the scan: the name of its result folder.
    kind : CorrectionKind
    position_lps_mm : tuple of 3 floats, or None
        Center of the nodule rejected or added [mm].
    nodule_id, lesion_id : int or None
        Number of what was rejected or corrected in the result that the reader saw.
    ends_lps_mm : tuple of two points, or None
        Ends of the lesion's longest diameter as the reader sets them [mm].
    withdraws : int or None
        Number of the correction that is taken back.

    Raises
    ------
    ValueError
        Saying which field does not fit the kind.
    """

    number: int
    time: str
    reader: str
    scan: str
    kind: CorrectionKind
    position_lps_mm: Point | None = None
    nodule_id: int | None = None
    lesion_id: int | None = None
    ends_lps_mm: tuple[Point, Point] | None = None
    withdraws: int | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"number must be 1 or more, found {self.number}")
        if not _READER.fullmatch(self.reader):
            raise ValueError("reader must be initials of at most six characters")
        if datetime.fromisoformat(self.time).tzinfo is None:
            raise ValueError(f"time must say its zone, found {self.time!r}")
        given = {name for name in _FIELDS if getattr(self, name) is not None}
        if given != _NEEDED[self.kind]:
            raise ValueError(f"{self.kind} takes {sorted(_NEEDED[self.kind])}, found {sorted(given)}")
        if self.ends_lps_mm is not None and math.dist(*self.ends_lps_mm) < 0.1:
            raise ValueError("ends_lps_mm must be two different points")
        if self.withdraws is not None and not 1 <= self.withdraws < self.number:
            raise ValueError(f"withdraws must name an earlier correction, found {self.withdraws}")


_FIELDS = ("position_lps_mm", "nodule_id", "lesion_id", "ends_lps_mm", "withdraws")
_NEEDED = {
    CorrectionKind.REJECT_NODULE: {"nodule_id", "position_lps_mm"},
    CorrectionKind.ADD_NODULE: {"position_lps_mm"},
    CorrectionKind.SET_LESION_ENDS: {"lesion_id", "ends_lps_mm"},
    CorrectionKind.WITHDRAW: {"withdraws"},
}


@dataclass(frozen=True)
class CorrectionSet:
    """What holds for one scan, and up to which number the file was read."""

    active: tuple[Correction, ...]
    through: int


@dataclass(frozen=True)
class AppliedCorrections:
    """What of a reader's corrections a result holds.

    Parameters
    ----------
    applied_through : int
        Number of the last correction that was known.
    n_rejected, n_added, n_lesions : int
        Marks taken out, nodules put in, lesions with new ends.
    not_placed : tuple of int
        Numbers of corrections whose nodule or lesion this result does not have.
    """

    applied_through: int
    n_rejected: int = 0
    n_added: int = 0
    n_lesions: int = 0
    not_placed: tuple[int, ...] = ()


def correction_from_dict(content: Mapping[str, Any]) -> Correction:
    """A correction from the plain values of its line.

    Raises
    ------
    ValueError
        Saying which field is missing, unknown or of the wrong kind.
    """
    unknown = sorted(set(content) - {"schema_version", "number", "time", "reader", "scan", "kind", *_FIELDS})
    if unknown:
        raise ValueError(f"there is no field {unknown[0]!r}")
    missing = [n for n in ("number", "time", "reader", "scan", "kind") if n not in content]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    ends = content.get("ends_lps_mm")
    if ends is not None and (not isinstance(ends, list | tuple) or len(ends) != 2):
        raise ValueError("ends_lps_mm must be two points")
    return Correction(
        number=_whole(content, "number") or 0,
        time=_text(content, "time"),
        reader=_text(content, "reader"),
        scan=_text(content, "scan"),
        kind=CorrectionKind(_text(content, "kind")),
        position_lps_mm=_point(content.get("position_lps_mm"), "position_lps_mm"),
        nodule_id=_whole(content, "nodule_id"),
        lesion_id=_whole(content, "lesion_id"),
        ends_lps_mm=None if ends is None else (_need(ends[0]), _need(ends[1])),
        withdraws=_whole(content, "withdraws"),
    )


def correction_to_dict(correction: Correction) -> dict[str, Any]:
    """The plain values of one line; fields that the kind does not have are left out."""
    fields = ("number", "time", "reader", "scan", "kind", *_FIELDS)
    values = {name: getattr(correction, name) for name in fields}
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: value for name, value in values.items() if value is not None},
    }


def collect_corrections(corrections: Iterable[Correction], scan: str) -> CorrectionSet:
    """What is to be applied when the scan of this label is measured anew."""
    every = tuple(corrections)
    return CorrectionSet(select_active(every, scan), max((c.number for c in every), default=0))


def select_active(
    corrections: Iterable[Correction], scan: str, *, through: int | None = None
) -> tuple[Correction, ...]:
    """What holds for one scan: nothing withdrawn, and of each lesion the last word only.

    Parameters
    ----------
    corrections : iterable of Correction
    scan : str
        Its label.
    through : int, optional
        Only as it stood after this number.
    """
    known = [c for c in corrections if c.scan == scan and (through is None or c.number <= through)]
    withdrawn = {c.withdraws for c in known}
    held = [c for c in known if c.kind is not CorrectionKind.WITHDRAW and c.number not in withdrawn]
    last = {c.lesion_id: c.number for c in held if c.lesion_id is not None}
    rejected = {c.nodule_id: c.number for c in held if c.nodule_id is not None}
    return tuple(
        c
        for c in held
        if (c.lesion_id is None or last[c.lesion_id] == c.number)
        and (c.nodule_id is None or rejected[c.nodule_id] == c.number)
    )


def select_pending(
    corrections: Iterable[Correction], scan: str, applied_through: int
) -> tuple[Correction, ...]:
    """What a result does not hold yet: made since, or withdrawn since it was applied.

    Parameters
    ----------
    corrections : iterable of Correction
    scan : str
        Its label.
    applied_through : int
        `AppliedCorrections.applied_through` of the result; 0 where none were applied.
    """
    every = tuple(corrections)
    before, now = select_active(every, scan, through=applied_through), select_active(every, scan)
    return tuple(sorted(set(before) ^ set(now), key=lambda c: c.number))


def _whole(content: Mapping[str, Any], name: str) -> int | None:
    value = content.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{name} must be a whole number")
    return value


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text")  # noqa: TRY004  reported like any other bad field
    return value


def _point(value: object, name: str) -> Point | None:
    return None if value is None else _need(value, name)


def _need(value: object, name: str = "ends_lps_mm") -> Point:
    """Three finite numbers."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name} must be three numbers (x, y, z)")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < _FAR_MM:
            raise ValueError(f"{name} must be three numbers within 10 m of the origin")
    x, y, z = (float(number) for number in value)
    return x, y, z
