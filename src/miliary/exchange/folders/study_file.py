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

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from miliary.errors import InputError
from miliary.exchange.folders.ct_store import write_json
from miliary.exchange.folders.kinds import (
    CASE_FILE,
    CASE_NAME,
    COMPARISON_FILE,
    FIGURES_NAME,
    RESPONSE_NAME,
    SCAN_FILE,
    SCAN_NAME,
    SERIES_FILE,
    STUDY_FILE,
    STUDY_NAME,
    ResultFile,
)
from miliary.exchange.folders.open_result import find_series
from miliary.exchange.folders.picture_files import read_figures, read_loose_pictures, read_radiographs
from miliary.exchange.folders.result_file import LoadedFile, ResultFileError, load_result_file
from miliary.model.corrections import select_pending
from miliary.model.saved.codec import to_json
from miliary.model.saved.study_index import StudyComparisonEntry, StudyIndex, StudyProblem, StudyScanEntry
from miliary.model.study import PendingCorrections, SavedComparison, SavedScan, StudyResult

_FIRST = ("baseline", "initial", "before")


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
    index = StudyIndex(
        title=title,
        origin=origin or None,
        ct=tuple(StudyScanEntry(label=label, path=_portable(path)) for label, path in scans),
        compare=tuple(
            StudyComparisonEntry(baseline=first, followup=second, path=_portable(path))
            for first, second, path in comparisons
        ),
        case=_portable(case) if case else None,
    )
    write_json(to_json(index), Path(folder) / STUDY_NAME)


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
    return _StudyReader(Path(folder)).read()


class _StudyReader:
    """Reads one study and keeps what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.problems: list[StudyProblem] = []

    def read(self) -> StudyResult:
        if not self.folder.is_dir():
            raise InputError(f"{self.name}: is no folder; give a study folder or a result of 'miliary ct'")
        index = self._read_index()
        scans = [self._read_scan(label, path) for label, path in self._list_scans(index)]
        compared = [self._read_comparison(*entry) for entry in self._list_comparisons(index)]
        series_path = find_series(self.folder)
        series = self._load(series_path, SERIES_FILE) if series_path else _NOTHING
        case_path = self._find_case(index)
        case = self._load(case_path, CASE_FILE) if case_path else _NOTHING
        if not (any(s.record for s in scans) or any(c.record for c in compared) or case.record):
            raise InputError(
                f"{self.name}: holds no readable result (scan.json, response.json or case.json); "
                "give a study folder, or one that 'miliary ct', 'compare' or 'case run' wrote"
            )
        return StudyResult(
            title=index.title or self.name,
            scans=tuple(scans),
            comparisons=tuple(compared),
            series=series.record,
            series_path=series_path,
            case=case.record,
            case_path=case_path,
            radiographs=tuple(read_radiographs(self.folder, self._note)),
            pending=self._list_pending(scans, compared),
            problems=tuple(self.problems),
        )

    def _note(self, member: str, code: str, detail: str = "") -> None:
        self.problems.append(StudyProblem(member, code, detail))

    def _load(self, member: str, file: ResultFile) -> LoadedFile[Any]:
        """A member's record; None, with the problem noted, where it cannot be used."""
        try:
            found = load_result_file(self.folder / member, file)
        except ResultFileError as error:
            self._note(member, error.code, error.detail)
            return _NOTHING
        for warning in found.warnings:
            if warning.code in ("newer", "older"):
                self._note(member, warning.code, str(found.record.schema_version))
            elif warning.code == "no_version":
                self._note(member, warning.code)
            elif warning.code == "damaged":
                self._note(member, "damaged", warning.path.partition("[")[0])
        return found

    def _read_index(self) -> StudyIndex:
        if not (self.folder / STUDY_NAME).exists():
            return StudyIndex()
        return self._load(STUDY_NAME, STUDY_FILE).record or StudyIndex()

    def _list_scans(self, index: StudyIndex) -> list[tuple[str, str]]:
        """Label and path of every scan: as stated, then what else lies in its place."""
        if (self.folder / SCAN_NAME).exists():
            return [(self.name, ".")]
        listed = [
            (entry.label or PurePosixPath(entry.path).name, PurePosixPath(entry.path).as_posix())
            for entry in index.ct
            if self._is_inside(entry.path, "ct")
        ]
        known = {path for _, path in listed}
        found = sorted(p.name for p in (self.folder / "ct").glob("*") if p.is_dir() and p.name[0] != ".")
        rest = [(name, f"ct/{name}") for name in found if f"ct/{name}" not in known]
        return listed + sorted(rest, key=lambda item: (item[0].lower() not in _FIRST, item[0]))

    def _is_inside(self, path: str, kind: str) -> bool:
        """Whether a stated path can be a member; noted where it cannot."""
        if path and self._stays_inside(path):
            return True
        self._note(STUDY_NAME, "damaged", kind)
        return False

    def _stays_inside(self, path: str) -> bool:
        """Whether a path is below the study, links followed: its page shows nothing of other folders."""
        try:
            return (self.folder / path).resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError, RuntimeError):  # a null, a loop of links, a name too long
            return False

    def _read_scan(self, label: str, path: str) -> SavedScan:
        here = self.folder / path
        if not here.is_dir():
            self._note(path, "missing")
            return SavedScan(label, path)
        prefix = "" if path == "." else f"{path}/"
        found = self._load(f"{prefix}{SCAN_NAME}", SCAN_FILE)
        listed = read_figures(here / FIGURES_NAME, f"{prefix}{FIGURES_NAME}", self._note)
        member, skip = prefix.rstrip("/") or ".", {"preview"} if listed else set()
        loose = read_loose_pictures(here, member, self._note, skip=skip)
        return SavedScan(label, path, (*listed, *loose), found.record)

    def _list_comparisons(self, index: StudyIndex) -> list[tuple[str, str, str]]:
        if (self.folder / RESPONSE_NAME).exists():
            return [(*_split_pair(self.name), ".")]
        listed = []
        for entry in index.compare:
            if self._is_inside(entry.path, "compare"):
                first, second = _split_pair(PurePosixPath(entry.path).name)
                path = PurePosixPath(entry.path).as_posix()
                listed.append((entry.baseline or first, entry.followup or second, path))
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
        found = self._load(f"{prefix}{RESPONSE_NAME}", COMPARISON_FILE)
        listed = read_figures(here / FIGURES_NAME, f"{prefix}{FIGURES_NAME}", self._note, is_needed=False)
        loose = read_loose_pictures(here, prefix.rstrip("/") or ".", self._note)
        return SavedComparison(first, second, path, (*listed, *loose), found.record)

    def _find_case(self, index: StudyIndex) -> str:
        """Path of the case; empty where there is none."""
        if index.case and self._is_inside(index.case, "case"):
            return PurePosixPath(index.case).as_posix()
        usual = (f"case/{CASE_NAME}", CASE_NAME)
        return next((path for path in usual if (self.folder / path).is_file()), "")

    def _list_pending(
        self, scans: Sequence[SavedScan], compared: Sequence[SavedComparison]
    ) -> tuple[PendingCorrections, ...]:
        """Corrections that some saved number does not hold yet."""
        from miliary.exchange.folders.corrections_file import find_corrections_file, read_corrections

        try:
            known = read_corrections(find_corrections_file(self.folder))
        except InputError as error:
            self._note("corrections.jsonl", "damaged", str(error))
            return ()
        paths = {scan.label: scan.path for scan in scans}
        found = []
        for path, label, applied_through in self._list_applied(scans, compared):
            place = paths.get(label, f"ct/{label}")
            folder = self.name if place == "." else PurePosixPath(place).name
            numbers = tuple(c.number for c in select_pending(known, folder, applied_through))
            if numbers:
                found.append(PendingCorrections(path, label, numbers))
        return tuple(found)

    def _list_applied(
        self, scans: Sequence[SavedScan], compared: Sequence[SavedComparison]
    ) -> Iterator[tuple[str, str, int]]:
        """Member, scan and the last correction known, for every result that holds numbers of a scan."""
        for scan in scans:
            applied = scan.record.corrections if scan.record else None
            yield scan.path, scan.label, (applied.applied_through if applied else None) or 0
        for pair in compared:
            if pair.record:
                for label, side in (
                    (pair.baseline, pair.record.baseline),
                    (pair.followup, pair.record.followup),
                ):
                    yield pair.path, label, side.corrections_applied_through or 0


_NOTHING: LoadedFile[Any] = LoadedFile(None, (), {})


def _split_pair(name: str) -> tuple[str, str]:
    first, _, second = name.partition("__")
    return first, second
