"""Pictures of a result folder or a study: those that an index lists, and those that merely lie there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from miliary.errors import InputError
from miliary.exchange.folders.kinds import FIGURES_FILE, INDEX_NAME, RADIOGRAPHS_FILE, RADIOGRAPHS_NAME
from miliary.exchange.folders.result_file import VERSION_CODES, ResultFileError, load_result_file
from miliary.model.saved.figure_index import FigureEntry, FigureIndex, RadiographEntry, RadiographIndex
from miliary.model.study import Picture

PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_MAX_BYTES = 8 * 2**20

# Called with the member's path, a code and a detail for everything that cannot be shown.
Note = Callable[[str, str, str], None]


def find_radiographs(folder: str | Path) -> list[Path]:
    """Radiographs (PNG, JPEG, DICOM) in ``radiographs/`` beside a case, sorted by name."""
    from miliary.exchange.dicom.radiograph_picture import is_dicom

    place = Path(folder)
    place = (place if place.is_dir() else place.parent) / RADIOGRAPHS_NAME
    files = sorted(p for p in place.glob("*") if p.is_file() and p.name[0] != ".")
    return [p for p in files if p.suffix.lower() in PICTURE_TYPES or is_dicom(p)]


def read_figures(folder: Path, member: str, note: Note, *, is_needed: bool = True) -> list[Picture]:
    """Pictures that ``figures.json`` of a folder lists; without one, every picture in it.

    Parameters
    ----------
    folder : path
    member : str
        Its path in the study, for notes.
    note : callable
    is_needed : bool
        Whether the absence of the index is noted.
    """
    index = f"{member}/{INDEX_NAME}"
    if not (folder / INDEX_NAME).exists():
        if is_needed:
            note(index, "missing", "")
        return read_loose_pictures(folder, member, note)
    found: FigureIndex | None = _load_index(folder, index, FIGURES_FILE, note)
    pictures: list[Picture] = []
    for entry in found.figures if found else ():
        if entry.file is None:
            pictures.append(Picture(entry.name, entry=entry))
        elif PurePosixPath(entry.file).name == entry.file:
            file = folder / entry.file
            pictures += _read_picture(file, f"{member}/{entry.file}", entry.name, note, entry=entry)
    return pictures


def _load_index(folder: Path, member: str, file: Any, note: Note) -> Any:
    """The index of a folder; None where it cannot be used, with what is wrong noted."""
    try:
        loaded = load_result_file(folder / INDEX_NAME, file)
    except ResultFileError as error:
        note(member, error.code, error.detail)
        return None
    for warning in loaded.warnings:
        if warning.code in VERSION_CODES:
            note(member, warning.code, str(loaded.record.schema_version or ""))
        elif warning.code == "damaged":
            note(member, "damaged", "figures")
    return loaded.record


def read_loose_pictures(folder: Path, member: str, note: Note, *, skip: Iterable[str] = ()) -> list[Picture]:
    """Every picture that lies in a folder, but those whose names are in `skip`."""
    files = (
        sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURE_TYPES) if folder.is_dir() else []
    )
    found: list[Picture] = []
    for file in files:
        if file.stem not in skip:
            found += _read_picture(file, f"{member}/{file.name}", file.stem, note)
    return found


def read_radiographs(study: Path, note: Note) -> Iterator[Picture]:
    """Radiographs under numbers: their files' names may be patients' names, and go nowhere."""
    folder = study / RADIOGRAPHS_NAME
    listed: Mapping[str | None, RadiographEntry] = {}
    if (folder / INDEX_NAME).is_file():
        index: RadiographIndex | None = _load_index(
            folder, f"{RADIOGRAPHS_NAME}/{INDEX_NAME}", RADIOGRAPHS_FILE, note
        )
        listed = {entry.file: entry for entry in (index.figures if index else ())}
    for number, file in enumerate(find_radiographs(study), start=1):
        member = f"{RADIOGRAPHS_NAME}, file {number} by name"
        entry = listed.get(file.name)
        name = f"radiograph_{number}"
        if file.suffix.lower() in PICTURE_TYPES:
            yield from _read_picture(file, member, name, note, entry=entry or RadiographEntry(name=name))
        else:
            yield from _read_dicom(file, member, note, name)


def _read_dicom(file: Path, member: str, note: Note, name: str) -> Iterator[Picture]:
    from miliary.exchange.dicom.radiograph_picture import read_radiograph

    try:
        found = read_radiograph(file, name="it")
    except InputError as error:
        note(member, "radiograph", str(error).removeprefix("it: "))
        return
    entry = RadiographEntry(name=name, **found.about)
    yield Picture(name, found.png, entry=entry)


def _read_picture(
    file: Path,
    member: str,
    name: str,
    note: Note,
    *,
    entry: FigureEntry | RadiographEntry | None = None,
) -> list[Picture]:
    media_type = PICTURE_TYPES.get(file.suffix.lower(), "image/png")
    try:
        data = file.read_bytes() if file.stat().st_size <= _MAX_BYTES else b""
    except OSError:
        note(member, "missing", "")
        return []
    if not data.startswith(_SIGNATURES[media_type]) or not _is_whole(data, media_type):
        note(member, "damaged", "")
        return []
    return [Picture(name, data, media_type, entry)]


def _is_whole(data: bytes, media_type: str) -> bool:
    """A file cut short by an interrupted copy has no end mark."""
    return (b"IEND" in data[-16:]) if media_type == "image/png" else data.rstrip(b"\0").endswith(b"\xff\xd9")
