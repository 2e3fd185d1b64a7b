"""`study.json` and the folder around it: written whole, read as far as it goes.

::

    STUDY/study.json            members by relative path
    STUDY/ct/<label>/           what `miliary ct` wrote
    STUDY/compare/<a>__<b>/     what `miliary compare` wrote
    STUDY/series.json           of three and more scans, or beside the comparisons
    STUDY/case/case.json        what `miliary case run` wrote (or STUDY/case.json)
    STUDY/radiographs/          pictures a person put there
    STUDY/corrections.jsonl     a reader's changes

Made by hand the folder needs no study.json: members are found by their place. The folder of one scan, of
one comparison or of one case is a study of one member.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from miliary.errors import InputError
from miliary.exchange.folders.store import CASE_KIND
from miliary.model.corrections import select_pending
from miliary.model.ct_result import SUMMARY_KIND
from miliary.model.study import (
    STUDY_KIND,
    STUDY_VERSION,
    Picture,
    Problem,
    SavedComparison,
    SavedScan,
    StudyResult,
)

STUDY_NAME = "study.json"
RADIOGRAPHS_NAME = "radiographs"
COMPARE_KIND = "miliary.compare"
SERIES_KIND = "miliary.series"
_KNOWN_MAJOR = 1
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_MAX_PICTURE_BYTES = 8 * 2**20
_FIRST = ("baseline", "initial", "before")


def find_radiographs(folder: str | Path) -> list[Path]:
    """Radiographs (PNG, JPEG, DICOM) in ``radiographs/`` beside a case, sorted by name."""
    from miliary.exchange.dicom.radiograph_picture import is_dicom

    place = Path(folder)
    place = (place if place.is_dir() else place.parent) / RADIOGRAPHS_NAME
    files = sorted(p for p in place.glob("*") if p.is_file() and p.name[0] != ".")
    return [p for p in files if p.suffix.lower() in _PICTURES or is_dicom(p)]


def write_study_file(
    folder: str | Path,
    *,
    title: str = "",
    scans: Sequence[tuple[str, str]] = (),
    comparisons: Sequence[tuple[str, str, str]] = (),
    case: str = "",
    origin: str = "",
) -> None:
    """Write `study.json` into a folder that holds, or will hold, the members.

    Parameters
    ----------
    folder : path
    title : str
    scans : sequence of (label, path)
        Paths relative to the folder, baseline first.
    comparisons : sequence of (baseline label, follow-up label, path)
    case : str
        Path of ``case.json`` relative to the folder.
    origin : str
        Of the whole study, where it has one: simulated, published...
    """
    content = {
        "schema_version": STUDY_VERSION,
        "kind": STUDY_KIND,
        "title": title,
        "origin": origin or None,
        "ct": [{"label": label, "path": _portable(path)} for label, path in scans],
        "compare": [
            {"baseline": first, "followup": second, "path": _portable(path)}
            for first, second, path in comparisons
        ],
        "case": _portable(case) if case else None,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (Path(folder) / STUDY_NAME).write_text(text + "\n", encoding="utf-8")


def _portable(path: str) -> str:
    if Path(path).is_absolute():
        raise ValueError("members of a study are named by relative paths")
    return PurePosixPath(path).as_posix()


def read_study(folder: str | Path) -> StudyResult:
    """Read what was saved; what cannot be read is named, not raised.

    Parameters
    ----------
    folder : path
        A study, or the result folder of one scan, one comparison or one case.

    Raises
    ------
    InputError
        If it is no folder, or nothing in it was written by this program.
    """
    return _Reader(Path(folder)).read()


class _Reader:
    """Reads one study and keeps what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.problems: list[Problem] = []

    def read(self) -> StudyResult:
        if not self.folder.is_dir():
            raise InputError(f"{self.name}: is no folder; give a study folder or a result of 'miliary ct'")
        stated = self._read_index()
        scans = [self._read_scan(label, path) for label, path in self._list_scans(stated)]
        compared = [self._read_comparison(*entry) for entry in self._list_comparisons(stated)]
        series_path, series = self._read_series()
        case_path, case = self._read_case(stated)
        if not (any(s.summary for s in scans) or any(c.summary for c in compared) or case):
            raise InputError(
                f"{self.name}: holds no readable result (scan.json, response.json or case.json); "
                "give a study folder, or one that 'miliary ct', 'compare' or 'case run' wrote"
            )
        return StudyResult(
            title=str(stated.get("title") or self.name),
            scans=tuple(scans),
            comparisons=tuple(compared),
            series=series,
            series_path=series_path,
            case=case,
            case_path=case_path,
            radiographs=tuple(self._read_radiographs()),
            n_corrections=self._count_pending(scans, compared),
            problems=tuple(self.problems),
        )

    def _note(self, member: str, code: str, detail: str = "") -> None:
        self.problems.append(Problem(member, code, detail))

    def _read_index(self) -> Mapping[str, Any]:
        if not (self.folder / STUDY_NAME).exists():
            return {}
        return self._read_json(STUDY_NAME, STUDY_KIND)

    def _read_json(self, member: str, kind: str) -> Mapping[str, Any]:
        """A member's JSON object; empty, with the problem noted, where it cannot be used."""
        path = self.folder / member
        if not path.is_file():
            self._note(member, "missing")
            return {}
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            self._note(member, "damaged", type(error).__name__)
            return {}
        if not isinstance(content, dict) or content.get("kind", kind) != kind:
            self._note(member, "not_a_result")
            return {}
        self._check_version(member, content.get("schema_version"))
        return content

    def _check_version(self, member: str, version: object) -> None:
        major = str(version).split(".", maxsplit=1)[0]
        if version is None or not major.isdigit():
            self._note(member, "no_version")
        elif int(major) > _KNOWN_MAJOR:
            self._note(member, "newer", str(version))
        elif int(major) < _KNOWN_MAJOR:
            self._note(member, "older", str(version))

    def _list_scans(self, stated: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Label and path of every scan: as stated, then what else lies in its place."""
        if (self.folder / "scan.json").exists():
            return [(self.name, ".")]
        listed = []
        for entry in _list_of(stated.get("ct")):
            path = entry.get("path") if isinstance(entry, Mapping) else entry
            if not isinstance(path, str) or not path or Path(path).is_absolute():
                self._note(STUDY_NAME, "damaged", "ct")
                continue
            label = entry.get("label") if isinstance(entry, Mapping) else None
            listed.append((str(label or PurePosixPath(path).name), PurePosixPath(path).as_posix()))
        known = {path for _, path in listed}
        found = sorted(p.name for p in (self.folder / "ct").glob("*") if p.is_dir() and p.name[0] != ".")
        rest = [(name, f"ct/{name}") for name in found if f"ct/{name}" not in known]
        return listed + sorted(rest, key=lambda item: (item[0].lower() not in _FIRST, item[0]))

    def _read_scan(self, label: str, path: str) -> SavedScan:
        here = self.folder / path
        if not here.is_dir():
            self._note(path, "missing")
            return SavedScan(label, path)
        prefix = "" if path == "." else f"{path}/"
        summary = self._read_json(f"{prefix}scan.json", SUMMARY_KIND)
        listed = self._read_figures(here / "figures", f"{prefix}figures")
        loose = self._read_pictures(here, prefix.rstrip("/") or ".", skip={"preview"} if listed else set())
        return SavedScan(label, path, summary, (*listed, *loose))

    def _list_comparisons(self, stated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        if (self.folder / "response.json").exists():
            first, _, second = self.name.partition("__")
            return [(first, second, ".")]
        listed = []
        for entry in _list_of(stated.get("compare")):
            path = entry.get("path") if isinstance(entry, Mapping) else entry
            if not isinstance(path, str) or not path or Path(path).is_absolute():
                self._note(STUDY_NAME, "damaged", "compare")
                continue
            first, _, second = PurePosixPath(path).name.partition("__")
            if isinstance(entry, Mapping):
                first, second = str(entry.get("baseline") or first), str(entry.get("followup") or second)
            listed.append((first, second, PurePosixPath(path).as_posix()))
        known = {path for _, _, path in listed}
        found = sorted(p.name for p in (self.folder / "compare").glob("*__*") if p.is_dir())
        return listed + [
            (*_split_pair(name), f"compare/{name}") for name in found if f"compare/{name}" not in known
        ]

    def _read_comparison(self, first: str, second: str, path: str) -> SavedComparison:
        here = self.folder / path
        if not here.is_dir():
            self._note(path, "missing")
            return SavedComparison(first, second, path)
        prefix = "" if path == "." else f"{path}/"
        summary = self._read_json(f"{prefix}response.json", COMPARE_KIND)
        listed = self._read_figures(here / "figures", f"{prefix}figures", is_needed=False)
        loose = self._read_pictures(here, prefix.rstrip("/") or ".")
        return SavedComparison(first, second, path, summary, (*listed, *loose))

    def _read_series(self) -> tuple[str, Mapping[str, Any]]:
        for member in ("series.json", "compare/series.json"):
            if (self.folder / member).exists():
                return member, self._read_json(member, SERIES_KIND)
        return "", {}

    def _read_case(self, stated: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        named = stated.get("case")
        usual = [p for p in ("case/case.json", "case.json") if (self.folder / p).is_file()]
        if isinstance(named, str) and named and not Path(named).is_absolute():
            usual.insert(0, PurePosixPath(named).as_posix())
        return (usual[0], self._read_json(usual[0], CASE_KIND)) if usual else ("", {})

    def _read_figures(self, folder: Path, member: str, *, is_needed: bool = True) -> list[Picture]:
        """Pictures that `figures.json` lists."""
        if not (folder / "figures.json").exists():
            if is_needed:
                self._note(f"{member}/figures.json", "missing")
            return self._read_pictures(folder, member)
        content = self._read_json(f"{member}/figures.json", "miliary.figures")
        pictures = []
        for about in _list_of(content.get("figures")):
            if not isinstance(about, Mapping) or not isinstance(about.get("name"), str):
                self._note(f"{member}/figures.json", "damaged", "figures")
                continue
            file = about.get("file")
            if file is None:
                pictures.append(Picture(about["name"], about))
            elif isinstance(file, str) and PurePosixPath(file).name == file:
                pictures += self._read_picture(folder / file, f"{member}/{file}", about["name"], about)
        return pictures

    def _read_pictures(self, folder: Path, member: str, *, skip: Iterable[str] = ()) -> list[Picture]:
        """Every picture that lies in a folder."""
        files = (
            sorted(p for p in folder.glob("*") if p.suffix.lower() in _PICTURES) if folder.is_dir() else []
        )
        found = []
        for file in files:
            if file.stem not in skip:
                found += self._read_picture(file, f"{member}/{file.name}", file.stem, {})
        return found

    def _read_radiographs(self) -> Iterable[Picture]:
        """Radiographs under numbers: their files' names may be patients' names, and go nowhere."""
        listed = {}
        if (self.folder / RADIOGRAPHS_NAME / "figures.json").is_file():
            content = self._read_json(f"{RADIOGRAPHS_NAME}/figures.json", "miliary.figures")
            rows = [about for about in _list_of(content.get("figures")) if isinstance(about, Mapping)]
            listed = {str(about.get("file")): about for about in rows}
        for number, file in enumerate(find_radiographs(self.folder), start=1):
            member = f"{RADIOGRAPHS_NAME}, file {number} by name"
            about = {"kind": "radiograph", **listed.get(file.name, {}), "number": number}
            if file.suffix.lower() in _PICTURES:
                yield from self._read_picture(file, member, f"radiograph_{number}", about)
            else:
                yield from self._read_dicom(file, member, about)

    def _read_dicom(self, file: Path, member: str, about: Mapping[str, Any]) -> Iterable[Picture]:
        from miliary.exchange.dicom.radiograph_picture import read_radiograph

        try:
            found = read_radiograph(file, name="it")
        except InputError as error:
            self._note(member, "radiograph", str(error).removeprefix("it: "))
            return
        yield Picture(f"radiograph_{about['number']}", {**about, **found.about}, found.png)

    def _read_picture(self, file: Path, member: str, name: str, about: Mapping[str, Any]) -> list[Picture]:
        media_type = _PICTURES.get(file.suffix.lower(), "image/png")
        try:
            data = file.read_bytes() if file.stat().st_size <= _MAX_PICTURE_BYTES else b""
        except OSError:
            self._note(member, "missing")
            return []
        if not data.startswith(_SIGNATURES[media_type]) or not _is_whole(data, media_type):
            self._note(member, "damaged")
            return []
        return [Picture(name, about, data, media_type)]

    def _count_pending(self, scans: Sequence[SavedScan], compared: Sequence[SavedComparison]) -> int:
        """Corrections that some saved number does not hold yet."""
        from miliary.exchange.folders.corrections_file import find_corrections_file, read_corrections

        try:
            known = read_corrections(find_corrections_file(self.folder))
        except InputError as error:
            self._note("corrections.jsonl", "damaged", str(error))
            return 0
        pending: set[int] = set()
        for name, applied_through in self._list_applied(scans, compared):
            pending |= {c.number for c in select_pending(known, name, applied_through)}
        return len(pending)

    def _list_applied(
        self, scans: Sequence[SavedScan], compared: Sequence[SavedComparison]
    ) -> Iterable[tuple[str, int]]:
        """Name of a scan's folder and the last correction known, for every result that holds its numbers."""
        names = {s.label: self.name if s.path == "." else PurePosixPath(s.path).name for s in scans}
        for scan in scans:
            yield names[scan.label], _applied_through(scan.summary.get("corrections"), "applied_through")
        for pair in compared:
            for label, side in ((pair.baseline, "baseline"), (pair.followup, "followup")):
                if pair.summary:
                    about = pair.summary.get(side)
                    yield names.get(label, label), _applied_through(about, "corrections_applied_through")


def _applied_through(about: object, name: str) -> int:
    value = about.get(name) if isinstance(about, Mapping) else None
    return value if isinstance(value, int) else 0


def _is_whole(data: bytes, media_type: str) -> bool:
    """A file cut short by an interrupted copy has no end mark."""
    return (b"IEND" in data[-16:]) if media_type == "image/png" else data.rstrip(b"\0").endswith(b"\xff\xd9")


def _list_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _split_pair(name: str) -> tuple[str, str]:
    first, _, second = name.partition("__")
    return first, second
