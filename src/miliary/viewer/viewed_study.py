"""What the viewer shows: the scans of a study folder, or one result folder, as they were saved.

Nothing is measured here. A damaged or partial folder is shown as far as it goes, with what is missing said.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError, MiliaryError, RecordError
from miliary.exchange.folders.corrections_file import find_corrections_file
from miliary.exchange.folders.kinds import (
    LUNGS_NAME,
    MATCHES_NAME,
    NODULES_NAME,
    RESPONSE_NAME,
    SCAN_NAME,
    TRACKS_NAME,
)
from miliary.exchange.folders.open_result import (
    find_series,
    is_ct_result,
    open_ct_result,
    open_series,
    open_study,
    read_transform,
)
from miliary.exchange.folders.result_file import VERSION_CODES, ResultFileError
from miliary.exchange.folders.tables import read_matches_csv, read_nodules_csv, read_tracks_csv
from miliary.exchange.folders.volume_store import CroppedVolume, read_stored_volume
from miliary.exchange.volumes.nifti import read_nifti
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.saved.codec import plain
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.study_index import StudyIndex
from miliary.model.scan import Grid
from miliary.model.transform import Transform

I16 = npt.NDArray[np.int16]

MAX_SCANS = 16
# Volumes kept whole at once: the two on the screen and the one shown before.
MAX_WHOLE = 3
LUNG_MARGIN_MM = 6.0


class LazyVolume:
    """Voxels of one scan: single slabs straight from the chunks, everything once it is in memory."""

    def __init__(self, stored: CroppedVolume, find_lungs: Callable[[], tuple[slice, slice, slice]]) -> None:
        self.grid: Grid = stored.grid
        self._stored = stored
        self._whole: I16 | None = None
        self._lock = threading.Lock()
        self._find_lungs = find_lungs
        self._lungs: tuple[slice, slice, slice] | None = None

    def __getitem__(self, key: tuple[slice, slice, slice]) -> I16:
        whole = self._whole
        return self._stored.read_part(key) if whole is None else whole[key]

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
    summary : ScanSummary or None
        What `scan.json` holds; None where it cannot be read.
    nodules : mapping of str to list
        The columns of `nodules.csv`; NaN is None. Further ``fate``: what became of each nodule by the last
        comparison that the scan is in (of a follow-up, against its baseline); empty where none tells.
    volume : LazyVolume or None
    problems : tuple of str
        What is missing or damaged, one sentence each.
    """

    label: str
    summary: ScanSummary | None
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


def empty_study(folder: str | Path) -> ShownStudy:
    """A study without scans, for a folder in which a case alone is filled in.

    Parameters
    ----------
    folder : path

    Returns
    -------
    ShownStudy

    Raises
    ------
    InputError
        It is a file.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place.name}: is a file; give a folder for the case")
    return ShownStudy(place.name, (), {}, {}, place / "corrections.jsonl")


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
    index = _read_index(place)
    members = _find_members(place)
    if not members:
        raise InputError(f"{place.name}: holds no result of 'miliary ct' (scan.json); give a study folder")
    scans = tuple(_read_scan(member) for member in members[:MAX_SCANS])
    problems = [f"study.json names {path}, which is not there." for path in _find_lost(place, index)]
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
            links[first, second] = read_transform(compared)
        except MiliaryError:
            problems.append(f"{first} and {second} are not linked: their registration cannot be read.")
        pairs[first, second] = _read_pairs(compared / MATCHES_NAME)
        for label, fates in zip((first, second), _read_fates(compared / TRACKS_NAME), strict=True):
            _set_fates(next(scan for scan in scans if scan.label == label), fates)
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
    files = [*(m / SCAN_NAME for m in _find_members(place)), *place.glob(f"compare/*/{RESPONSE_NAME}")]
    return tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files if file.is_file()))


def _read_index(study: Path) -> StudyIndex:
    """What the study states of its members; nothing where it states nothing usable."""
    try:
        return open_study(study).index
    except ResultFileError:
        return StudyIndex()


def _find_lost(study: Path, index: StudyIndex) -> list[str]:
    """Paths of scans that the study states and that are not there."""
    inside = [entry.path for entry in index.ct if entry.path and not Path(entry.path).is_absolute()]
    return [path for path in inside if not is_ct_result(study / path)]


def _find_members(study: Path) -> list[Path]:
    """Result folders of the scans: as the study states them, then what else lies under ``ct``."""
    if is_ct_result(study):
        return [study]
    inside = study.resolve()
    stated = [study / entry.path for entry in _read_index(study).ct]
    stated = [member for member in stated if member.resolve().is_relative_to(inside)]
    usual = {"baseline": -2, "followup": -1, "follow-up": -1, "follow_up": -1}
    found = sorted((p.parent for p in (study / "ct").glob(f"*/{SCAN_NAME}")), key=lambda p: p.name)
    found.sort(key=lambda p: usual.get(p.name.lower(), 0))
    return list({m.resolve(): m for m in [*stated, *found] if is_ct_result(m)}.values())


def _read_scan(folder: Path) -> ShownScan:
    problems = []
    summary = None
    try:
        saved = open_ct_result(folder)
        summary = saved.summary
        versions = [w.message for w in saved.warnings if w.code in VERSION_CODES]
        problems += [f"{message.partition(': ')[2]}: what is known of it is shown." for message in versions]
    except ResultFileError:
        problems.append("scan.json cannot be read: its measurements are not shown.")
    try:
        nodules = _list_nodules(read_nodules_csv(folder / NODULES_NAME).value)
    except MiliaryError:
        nodules = {**{column.name: [] for column in COLUMNS}, "fate": []}
        problems.append("nodules.csv cannot be read: no nodule is shown.")
    volume = None
    try:
        stored = read_stored_volume(folder)
        volume = LazyVolume(stored, lambda: _find_lung_box(folder / LUNGS_NAME, stored.grid))
    except MiliaryError:
        problems.append("This result holds no images (volume.zarr): run 'miliary ct' without --no-volume.")
    return ShownScan(folder.resolve().name, summary, nodules, volume, tuple(problems))


def find_applied_through(summary: ScanSummary | None) -> int:
    """Number of the last correction that a result holds; 0 where it holds none."""
    applied = summary.corrections if summary else None
    return (applied.applied_through if applied else None) or 0


def list_lesions(summary: ScanSummary | None) -> list[dict[str, Any]]:
    """Number, longest diameter [mm] and its ends of every lesion that can be shown."""
    return [
        {
            "id": lesion.id,
            "long_axis_mm": lesion.long_axis_mm,
            "long_axis_ends_lps_mm": plain(lesion.long_axis_ends_lps_mm),
        }
        for lesion in (summary.lesions if summary else ())
        if lesion.long_axis_mm is not None
    ]


def _list_nodules(nodules: Nodules) -> dict[str, list[Any]]:
    """Columns of the table as lists; a number that is not known is None."""
    if not np.isfinite(nodules.position_lps_mm).all():
        raise RecordError("a nodule has no position")
    columns: dict[str, list[Any]] = {
        column.name: [
            None if column.dtype is np.float64 and not math.isfinite(value) else value
            for value in nodules[column.name].tolist()
        ]
        for column in COLUMNS
    }
    return {**columns, "fate": [""] * len(nodules)}


def _read_nadir(study: Path) -> str:
    name = find_series(study)
    try:
        return (open_series(study / name).nadir if name else None) or ""
    except ResultFileError:
        return ""


def _read_pairs(path: Path) -> list[tuple[int, int]]:
    """Matched nodules; none where they cannot be read."""
    try:
        return read_matches_csv(path)
    except MiliaryError:
        return []


def _read_fates(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """What became of the nodules of both scans, by their numbers; nothing where it cannot be read."""
    try:
        tracks = read_tracks_csv(path).value
    except (MiliaryError, OSError):
        return {}, {}
    fates = tracks["fate"].tolist()
    before, after = (
        dict(zip(tracks[f"{s}_id"].tolist(), fates, strict=True)) for s in ("baseline", "followup")
    )
    # Number 0 stands for a nodule that the scan does not show.
    return {n: f for n, f in before.items() if n}, {n: f for n, f in after.items() if n}


def _set_fates(scan: ShownScan, fates: Mapping[int, str]) -> None:
    """Put the fates of a comparison into the column of a scan; what it does not tell stays as it is."""
    column = scan.nodules["fate"]
    for row, number in enumerate(scan.nodules["id"]):
        column[row] = fates.get(number, column[row])


def _find_lung_box(path: Path, grid: Grid) -> tuple[slice, slice, slice]:
    """Box around the labelled lungs in the stored volume; the whole volume where there are none."""
    whole = tuple(slice(0, size) for size in grid.shape_zyx)
    try:
        labels = read_nifti(path, is_mask=True)
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
