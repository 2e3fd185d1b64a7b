"""What the viewer shows: the scans of a study folder, or one result folder, as they were saved.

Nothing is measured here. A damaged or partial folder is shown as far as it goes, with what is missing said.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError, MiliaryError
from miliary.exchange.folders.corrections_file import find_corrections_file
from miliary.exchange.folders.volume_store import StoredVolume, read_stored_volume
from miliary.exchange.volumes.nifti import read_nifti
from miliary.model.ct_result import SUMMARY_KIND
from miliary.model.nodules import COLUMNS
from miliary.model.scan import Grid
from miliary.model.transform import Transform

I16 = npt.NDArray[np.int16]

MAX_SCANS = 16
# Volumes kept whole at once: the two on the screen and the one shown before.
MAX_WHOLE = 3
LUNG_MARGIN_MM = 6.0
_TEXT_COLUMNS = tuple(column.name for column in COLUMNS if column.dtype is object)
_NUMBER_COLUMNS = tuple(column.name for column in COLUMNS if column.dtype is not object)
_KNOWN_MAJOR = 1
_TRANSFORM_NAMES = ("transform.npz", "transform/transform.npz")


class LazyVolume:
    """Voxels of one scan: single slabs straight from the chunks, everything once it is in memory."""

    def __init__(self, stored: StoredVolume, find_lungs: Callable[[], tuple[slice, slice, slice]]) -> None:
        self.grid: Grid = stored.grid
        self._stored = stored
        self._whole: I16 | None = None
        self._lock = threading.Lock()
        self._find_lungs = find_lungs
        self._lungs: tuple[slice, slice, slice] | None = None

    def __getitem__(self, key: tuple[slice, slice, slice]) -> I16:
        whole = self._whole
        return np.asarray(self._stored.array[key]) if whole is None else whole[key]

    def load(self) -> I16:
        """Every voxel, read once."""
        with self._lock:
            if self._whole is None:
                self._whole = self._stored.read()
            return self._whole

    @property
    def is_whole(self) -> bool:
        """Whether every voxel is in memory."""
        return self._whole is not None

    def forget(self) -> None:
        """Give the memory back; slabs come from the chunks again."""
        with self._lock:
            self._whole = None

    def lung_box(self) -> tuple[slice, slice, slice]:
        """The part that holds the lungs; all of it where their outline was not saved."""
        with self._lock:
            if self._lungs is None:
                self._lungs = self._find_lungs()
        return self._lungs


@dataclass(frozen=True)
class ShownScan:
    """One scan as saved.

    Parameters
    ----------
    label : str
        Name of its folder.
    summary : mapping
        `scan.json`; empty where it cannot be read.
    nodules : mapping of str to list
        The columns of `nodules.csv`; NaN is None.
    volume : LazyVolume or None
    problems : tuple of str
        What is missing or damaged, one sentence each.
    """

    label: str
    summary: Mapping[str, Any]
    nodules: Mapping[str, list[Any]]
    volume: LazyVolume | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShownStudy:
    """All that one viewer shows.

    Parameters
    ----------
    title : str
        Name of the folder given.
    scans : tuple of ShownScan
        In the order of the study: baseline first.
    links : mapping of (str, str) to Transform
        From the first scan's points to the second's.
    pairs : mapping of (str, str) to list of (int, int)
        Numbers of the nodules that `compare` found to be the same.
    corrections_file : Path
    problems : tuple of str
    nadir : str
        The follow-up with the smallest volume so far, as ``series.json`` says; empty where it does not.
    stamp : tuple of (str, int)
        From `stamp_study`, taken before anything was read.
    """

    title: str
    scans: tuple[ShownScan, ...]
    links: Mapping[tuple[str, str], Transform]
    pairs: Mapping[tuple[str, str], list[tuple[int, int]]]
    corrections_file: Path
    problems: tuple[str, ...] = ()
    nadir: str = ""
    stamp: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    def scan(self, label: str) -> ShownScan | None:
        """The scan of this label."""
        return next((scan for scan in self.scans if scan.label == label), None)

    def find_path(self, start: str, end: str) -> list[str]:
        """Labels from one scan to another, each registered with the next; empty where there is no way.

        Two follow-ups that were each compared with one baseline are linked through it.
        """
        paths = [[start]]
        seen = {start}
        for path in paths:
            if path[-1] == end:
                return path
            near = [b if a == path[-1] else a for a, b in self.links if path[-1] in (a, b)]
            for label in near:
                if label not in seen:
                    seen.add(label)
                    paths.append([*path, label])
        return []

    def map_point(self, start: str, end: str, point_lps_mm: tuple[float, float, float]) -> list[float] | None:
        """Where a point of one scan lies in another; None where no registration leads there."""
        path = self.find_path(start, end)
        if not path:
            return None
        found: Any = np.asarray(point_lps_mm, dtype=float)
        for a, b in itertools.pairwise(path):
            if (a, b) in self.links:
                found = self.links[a, b].apply([found])[0]
            else:
                found = self.links[b, a].invert_points([found])[0]
        return [float(value) for value in found] if np.isfinite(found).all() else None


def read_shown_study(folder: str | Path) -> ShownStudy:
    """Read what there is to show.

    Parameters
    ----------
    folder : path
        A study, or the result folder of one scan.

    Raises
    ------
    InputError
        There is no scan's result in it.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{place.name}: is not a folder; give a study or what 'miliary ct' wrote")
    stamp = stamp_study(place)
    members = [place] if (place / "scan.json").is_file() else _find_members(place)
    if not members:
        raise InputError(f"{place.name}: holds no result of 'miliary ct' (scan.json); give a study folder")
    scans = tuple(_read_scan(member) for member in members[:MAX_SCANS])
    problems = [f"study.json names {path}, which is not there." for path in _find_lost(place)]
    if len(members) > MAX_SCANS:
        problems.append(f"Only the first {MAX_SCANS} of {len(members)} scans are shown.")
    links: dict[tuple[str, str], Transform] = {}
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for compared in sorted((place / "compare").glob("*__*")):
        first, _, second = compared.name.partition("__")
        labels = {scan.label for scan in scans}
        if not {first, second} <= labels:
            continue
        try:
            links[first, second] = _read_transform(compared)
        except (MiliaryError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            problems.append(f"{first} and {second} are not linked: their registration cannot be read.")
        pairs[first, second] = _read_pairs(compared / "matches.csv")
    return ShownStudy(
        title=place.resolve().name,
        scans=scans,
        links=links,
        pairs=pairs,
        corrections_file=find_corrections_file(place),
        problems=tuple(problems),
        nadir=_read_nadir(place),
        stamp=stamp,
    )


def stamp_study(folder: str | Path) -> tuple[tuple[str, int], ...]:
    """What changes when a member of a study is written anew: its main files and their times [ns]."""
    place = Path(folder)
    members = [place] if (place / "scan.json").is_file() else _find_members(place)
    files = [*(m / "scan.json" for m in members), *place.glob("compare/*/response.json")]
    return tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files if file.is_file()))


def _find_lost(study: Path) -> list[str]:
    """Paths of scans that the study states and that are not there."""
    stated = _read_json(study / "study.json").get("ct")
    paths = [
        e.get("path") if isinstance(e, dict) else e for e in (stated if isinstance(stated, list) else [])
    ]
    inside = [p for p in paths if isinstance(p, str) and p and not Path(p).is_absolute()]
    return [p for p in inside if not (study / p / "scan.json").is_file()]


def _find_members(study: Path) -> list[Path]:
    """Result folders of the scans: as the study states them, then what else lies under ``ct``."""
    stated = []
    content = _read_json(study / "study.json")
    for entry in content.get("ct", []) if isinstance(content.get("ct"), list) else []:
        name = entry.get("path") if isinstance(entry, dict) else entry
        if isinstance(name, str) and (study / name).resolve().is_relative_to(study.resolve()):
            stated.append(study / name)
    usual = {"baseline": -2, "followup": -1, "follow-up": -1, "follow_up": -1}
    found = sorted((p.parent for p in (study / "ct").glob("*/scan.json")), key=lambda p: p.name)
    found.sort(key=lambda p: usual.get(p.name.lower(), 0))
    members = {member.resolve(): member for member in [*stated, *found] if (member / "scan.json").is_file()}
    return list(members.values())


def _read_scan(folder: Path) -> ShownScan:
    problems = []
    summary = _read_json(folder / "scan.json")
    if summary.get("kind") != SUMMARY_KIND:
        problems.append("scan.json cannot be read: its measurements are not shown.")
        summary = {}
    elif (version := _find_version(summary)) != _KNOWN_MAJOR:
        problems.append(f"scan.json {_name_version(version)}: what is known of it is shown.")
    try:
        nodules = _read_nodules(folder / "nodules.csv")
    except (OSError, ValueError, KeyError, csv.Error):
        nodules = {column.name: [] for column in COLUMNS}
        problems.append("nodules.csv cannot be read: no nodule is shown.")
    volume = None
    try:
        stored = read_stored_volume(folder)
        volume = LazyVolume(stored, lambda: _find_lung_box(folder / "lungs.nii.gz", stored.grid))
    except MiliaryError:
        problems.append("This result holds no images (volume.zarr): run 'miliary ct' without --no-volume.")
    return ShownScan(folder.resolve().name, summary, nodules, volume, tuple(problems))


def _find_version(summary: Mapping[str, Any]) -> int | None:
    major = str(summary.get("schema_version")).partition(".")[0]
    return int(major) if major.isdecimal() else None


def _name_version(version: int | None) -> str:
    if version is None:
        return "does not say its schema version"
    return f"was written by {'a later' if version > _KNOWN_MAJOR else 'an earlier'} version"


def find_applied_through(summary: Mapping[str, Any]) -> int:
    """Number of the last correction that a result holds; 0 where it says nothing usable."""
    about = summary.get("corrections")
    value = about.get("applied_through") if isinstance(about, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def list_lesions(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Number, longest diameter [mm] and its ends of every lesion that can be shown."""
    lesions = summary.get("lesions")
    found = []
    for row in lesions if isinstance(lesions, list) else []:
        number = row.get("id") if isinstance(row, dict) else None
        length = _finite(row.get("long_axis_mm")) if isinstance(row, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or length is None:
            continue
        ends = row.get("long_axis_ends_lps_mm")
        is_whole = isinstance(ends, list) and len(ends) == 2 and all(map(_is_point, ends))
        found.append(
            {"id": number, "long_axis_mm": length, "long_axis_ends_lps_mm": ends if is_whole else None}
        )
    return found


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_finite(v) is not None for v in value)


def _finite(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_nodules(path: Path) -> dict[str, list[Any]]:
    """Columns of the table; a column that an older version did not write holds None."""
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        rows = list(table)
    if not {"id", "x_mm", "y_mm", "z_mm"} <= set(table.fieldnames or ()):
        raise ValueError("the table has no places")
    columns: dict[str, list[Any]] = {}
    for name in _NUMBER_COLUMNS:
        columns[name] = [_number(row.get(name)) for row in rows]
    for name in _TEXT_COLUMNS:
        columns[name] = [row.get(name) or "" for row in rows]
    columns["id"] = [int(row["id"]) for row in rows]
    if any(columns[axis][row] is None for axis in ("x_mm", "y_mm", "z_mm") for row in range(len(rows))):
        raise ValueError("a nodule has no place")
    return columns


def _number(text: str | None) -> float | None:
    if not text:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _read_nadir(study: Path) -> str:
    for name in ("series.json", "compare/series.json"):
        if (study / name).is_file():
            return str(_read_json(study / name).get("nadir") or "")
    return ""


def _read_transform(folder: Path) -> Transform:
    for name in _TRANSFORM_NAMES:
        if (folder / name).is_file():
            # Opened here, since numpy leaves a file open that it cannot read.
            with (folder / name).open("rb") as file:
                return Transform.from_arrays(dict(np.load(file, allow_pickle=False)))
    raise InputError("there is no transform")


def _read_pairs(path: Path) -> list[tuple[int, int]]:
    """Matched nodules; none where they cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            names = next(rows)
            columns = [place for place, name in enumerate(names) if name.endswith("id")][:2]
            return [
                (int(row[columns[0]]), int(row[columns[1]])) for row in rows if all(row[c] for c in columns)
            ]
    except (OSError, ValueError, IndexError, StopIteration):
        return []


def _find_lung_box(path: Path, grid: Grid) -> tuple[slice, slice, slice]:
    """Box around the labelled lungs in the stored volume; the whole volume where there are none."""
    whole = tuple(slice(0, size) for size in grid.shape_zyx)
    try:
        labels = read_nifti(path)
    except (MiliaryError, OSError):
        return whole  # type: ignore[return-value]
    ends = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(labels.values.any(axis=others))
        if not len(where):
            return whole  # type: ignore[return-value]
        ends.append((where[0], where[-1]))
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    points = labels.origin_lps_mm + corners * labels.spacing_mm @ labels.axes_lps
    index = grid.index_from_lps(points)
    margin = LUNG_MARGIN_MM / np.asarray(grid.spacing_zyx_mm)
    low = np.floor(index.min(axis=0) - margin).astype(int).clip(0)
    high = np.minimum(np.ceil(index.max(axis=0) + margin).astype(int) + 1, grid.shape_zyx)
    if (high <= low).any():
        return whole  # type: ignore[return-value]
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]
