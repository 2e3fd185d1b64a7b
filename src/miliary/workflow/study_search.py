"""Which scans and which case a patient's folder holds: by rules that are listed before anything is measured.

1. Every entry of the folder, and of its subfolder ``ct``, is looked at once, in the order of names. Hidden
   entries, ``__MACOSX`` and the folder of the result are not looked at.
2. One scan is: a zip; a volume file (NIfTI, NRRD, MetaImage) whose name does not say that it is a mask; a
   DICOM file of several frames; a folder with DICOM images, whatever lies below it; a folder that
   `miliary ct` wrote; the volume of a folder that `miliary simulate` wrote.
   A file or folder named after a scan with ``-lungs`` or ``_lungs`` behind it (``baseline-lungs.nii.gz``)
   is its lung mask.
3. A folder whose subfolders hold images of different DICOM studies is looked at as in 1: each study is a
   scan. So is a folder without DICOM images, for the zips and volume files in it.
4. The case is ``case/case.yaml``, else ``case.yaml``, with ``labs.csv`` beside it. Radiographs are in
   ``radiographs`` beside the case, else in the folder; they are shown with a case only.
5. Scans are in the order of their acquisition dates where all files say them. Else scans named as a baseline
   come first, then dated ones by date, then others by name, those named as a follow-up last.

Everything else is listed with the reason why it is not used.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.errors import InputError, MiliaryError

if TYPE_CHECKING:
    from miliary.model.comparison import Identity

_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
# Data files that a NRRD or MetaImage header names.
_DATA_SUFFIXES = (".raw", ".zraw", ".raw.gz", ".img")
_MASK_WORDS = frozenset(
    ("mask", "masks", "label", "labels", "labelmap", "lungs", "seg", "segmentation", "truth")
)
_LUNG_MASK = re.compile(r"[-_ ]lungs?([-_ ](mask|seg|segmentation|labels?))?$", re.IGNORECASE)
_BASELINE_WORDS = frozenset(("baseline", "initial", "before", "pre", "first"))
_FOLLOWUP_WORDS = frozenset(("followup", "follow", "fu", "after", "post", "second", "later"))
_RESULTS = {
    "study.json": "an earlier study",
    "response.json": "an earlier comparison",
    "series.json": "earlier comparisons",
    "case.json": "an earlier result of a case",
}


@dataclass(frozen=True)
class FoundScan:
    """One scan in a patient's folder.

    Parameters
    ----------
    path : path
        What `measure` takes.
    name : str
        Relative to the patient's folder. It may hold a person's name: it is shown, never written.
    kind : str
        ``zip``, ``volume file``, ``DICOM file``, ``DICOM folder`` or ``earlier result``.
    identity : Identity
        Whose it is and when it was made, as far as the files say; in memory only.
    lung_mask : path, optional
        Its lungs, outlined elsewhere.
    """

    path: Path
    name: str
    kind: str
    identity: Identity
    lung_mask: Path | None = None


@dataclass(frozen=True)
class SkippedEntry:
    """An entry of a patient's folder that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FoundStudy:
    """What a patient's folder holds.

    Parameters
    ----------
    scans : tuple of FoundScan
        Baseline first.
    order : str
        What the order rests on.
    case : path, optional
        Folder of ``case.yaml``.
    radiographs : tuple of path
    skipped : tuple of SkippedEntry
    """

    scans: tuple[FoundScan, ...] = ()
    order: str = ""
    case: Path | None = None
    radiographs: tuple[Path, ...] = ()
    skipped: tuple[SkippedEntry, ...] = ()


def search_study(folder: str | Path, *, out: str | Path) -> FoundStudy:
    """Find the scans, the case and the radiographs in a patient's folder; nothing is measured or written.

    Parameters
    ----------
    folder : path
    out : path
        Folder of the result, which is left out of the search.

    Returns
    -------
    FoundStudy

    Raises
    ------
    InputError
        It is no folder, is itself the result of one scan or comparison, or holds neither a scan nor a case.
    """
    place = Path(folder)
    name = place.resolve().name
    if not place.is_dir():
        raise InputError(f"{place.name}: is no folder; give the folder of one patient")
    for file in ("scan.json", "response.json"):
        if (place / file).is_file():
            raise InputError(f"{name}: is a result; give the folder that holds the scans of one patient")
    search = _Search(place, Path(out).resolve())
    search.look_at(place)
    if (place / "ct").is_dir():
        search.look_at_ct(place / "ct")
    case = search.find_case()
    search.match_masks()
    scans, order = sort_scans(search.scans)
    if not scans and case is None:
        raise InputError(f"{name}: holds neither a chest CT nor a case.yaml; see 'miliary study --help'")
    radiographs = search.find_radiographs(case)
    if radiographs and case is None:
        search.skip(radiographs[0].parent, "radiographs are shown with a case; start one: 'miliary case new'")
    return FoundStudy(scans, order, case, radiographs, tuple(search.skipped))


@dataclass
class _Search:
    """Looks at entries one after another and keeps what each is."""

    root: Path
    out: Path
    scans: list[FoundScan] = field(default_factory=list)
    skipped: list[SkippedEntry] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(SkippedEntry(self.name(path), reason))

    def look_at(self, folder: Path) -> None:
        """Look at every entry of a folder."""
        n_loose = 0
        for entry in _list_entries(folder):
            if entry.resolve() == self.out or (folder == self.root and _is_reserved(entry)):
                continue
            if _LUNG_MASK.search(_stem(entry.name)):
                self.masks.append(entry)
            elif entry.is_dir():
                self.look_at_folder(entry)
            else:
                n_loose += self.look_at_file(entry)
        if n_loose:
            where = "" if folder == self.root else f" in {self.name(folder)}"
            reason = "put the images of each scan into a folder of its own"
            self.skipped.append(SkippedEntry(f"{n_loose} single DICOM images{where}", reason))

    def look_at_ct(self, folder: Path) -> None:
        """The subfolder ``ct``: the scans in it, or itself where it holds the images of one."""
        from miliary.exchange.dicom.folder_survey import survey_folder
        from miliary.exchange.folders.exam_read import is_ct_result

        holds_images = any(one.folder == "." and one.n_frames == 1 for one in survey_folder(folder))
        if holds_images or is_ct_result(folder):
            self.look_at_folder(folder)
        else:
            self.look_at(folder)

    def look_at_file(self, file: Path) -> bool:
        """Look at a file; says whether it is one of many DICOM images that lie loose."""
        from miliary.exchange.dicom.folder_survey import survey_folder

        low = file.name.lower()
        if low.endswith(_VOLUME_SUFFIXES):
            if _MASK_WORDS & set(_split_words(_stem(file.name))):
                self.skip(file, "its name says that it is a mask, not a scan")
            else:
                self.add(file, "volume file")
        elif zipfile.is_zipfile(file) or low.endswith(".zip"):
            self.add(file, "zip")
        elif not low.endswith(_DATA_SUFFIXES):
            survey = survey_folder(file)
            if survey and survey[0].n_frames == 1:
                return True
            if survey:
                self.add(file, "DICOM file")
            else:
                self.skip(file, "is no chest CT")
        return False

    def look_at_folder(self, folder: Path) -> None:
        from miliary.exchange.dicom.folder_survey import survey_folder
        from miliary.exchange.folders.exam_read import is_ct_result

        if is_ct_result(folder):
            self.add(folder, "earlier result")
            return
        if self.is_result(folder):
            reason = next(what for file, what in _RESULTS.items() if (folder / file).is_file())
            self.skip(folder, f"is {reason}")
            return
        if (folder / "simulation.json").is_file():
            volume = next((p for p in (folder / "volume.nii.gz", folder / "dicom") if p.exists()), None)
            if volume is None:
                self.skip(folder, "is a simulation without its volume")
            else:
                self.add(volume, "volume file" if volume.is_file() else "DICOM folder")
            return
        survey = survey_folder(folder)
        if not survey:
            self.look_further(folder)
        elif all(one.modality not in {"", "CT"} for one in survey):
            self.skip(folder, f"holds no CT ({', '.join(sorted({one.modality for one in survey}))})")
        elif len({one.study for one in survey}) > 1 and all(one.folder != "." for one in survey):
            self.look_at(folder)
        else:
            self.add(folder, "DICOM folder")

    def look_further(self, folder: Path) -> None:
        """A folder without DICOM images: the volume files and zips in it, however deep."""
        before = len(self.scans) + len(self.skipped)
        for entry in _list_entries(folder):
            is_scan = entry.name.lower().endswith((".zip", *_VOLUME_SUFFIXES))
            if entry.resolve() != self.out and entry.is_dir():
                self.look_at_folder(entry)
            elif entry.is_file() and is_scan:
                self.look_at_file(entry)
        if len(self.scans) + len(self.skipped) == before:
            self.skip(folder, "holds no chest CT")

    @staticmethod
    def is_result(folder: Path) -> bool:
        return any((folder / file).is_file() for file in _RESULTS)

    def add(self, path: Path, kind: str) -> None:
        from miliary.exchange.dicom.identity import read_identity
        from miliary.model.comparison import Identity

        try:
            identity = read_identity(path)
        except MiliaryError:
            # What is wrong with it is said when it is read.
            identity = Identity()
        self.scans.append(FoundScan(path, self.name(path), kind, identity))

    def match_masks(self) -> None:
        """Give every lung mask to the scan beside it that it is named after."""
        for mask in self.masks:
            name = _LUNG_MASK.sub("", _stem(mask.name)).lower()
            for place, scan in enumerate(self.scans):
                if scan.path.parent == mask.parent and _stem(scan.path.name).lower() == name:
                    self.scans[place] = replace(scan, lung_mask=mask)
                    break
            else:
                self.skip(
                    mask, "its name says that it is a mask, and no scan beside it has the rest of its name"
                )

    def find_case(self) -> Path | None:
        found = [place for place in (self.root / "case", self.root) if (place / "case.yaml").is_file()]
        for other in found[1:]:
            self.skip(other / "case.yaml", "is a second case; the one in 'case' is used")
        return found[0] if found else None

    def find_radiographs(self, case: Path | None) -> tuple[Path, ...]:
        from miliary.exchange.folders.picture_files import find_radiographs

        places = dict.fromkeys((case or self.root, self.root))
        return next((tuple(found) for place in places if (found := find_radiographs(place))), ())


def sort_scans(scans: Sequence[FoundScan]) -> tuple[tuple[FoundScan, ...], str]:
    """Scans in the order of time, and what that order rests on.

    Parameters
    ----------
    scans : sequence of FoundScan

    Returns
    -------
    tuple of FoundScan
    str
        A few words.
    """
    days = [scan.identity.day for scan in scans]
    if len(scans) > 1 and all(day is not None for day in days):
        return tuple(
            sorted(scans, key=lambda s: (s.identity.day or 0, _sort_name(s.name)))
        ), "acquisition dates"
    order = "names" if all(day is None for day in days) else "names, and dates where the files say them"
    return tuple(sorted(scans, key=_rank)), order if len(scans) > 1 else ""


def _rank(scan: FoundScan) -> tuple[int, int, list[tuple[int, str]]]:
    words = set(_split_words(scan.name))
    day = scan.identity.day
    if words & _BASELINE_WORDS and day is None:
        rank = 0
    elif day is not None:
        rank = 1
    else:
        rank = 3 if words & _FOLLOWUP_WORDS else 2
    return rank, day or 0, _sort_name(scan.name)


def _sort_name(name: str) -> list[tuple[int, str]]:
    """Numbers in a name by their value: scan-2 before scan-10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _split_words(name: str) -> Iterable[str]:
    return re.findall(
        r"[a-z]+", name.lower().replace("follow-up", "followup").replace("follow_up", "followup")
    )


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _list_entries(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name[0] != "." and entry.name != "__MACOSX":
            yield entry


def _is_reserved(entry: Path) -> bool:
    """Entries of the patient's folder that have their own meaning."""
    if entry.is_dir():
        return entry.name in {"ct", "radiographs"} or (
            entry.name == "case" and (entry / "case.yaml").is_file()
        )
    return entry.name in {"case.yaml", "labs.csv", "study.json", "corrections.jsonl", "inputs.json"} or (
        entry.stem == "report"
    )
