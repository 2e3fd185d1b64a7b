"""What the folders below one folder hold, from one DICOM header each: to tell scans of a patient apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from miliary.exchange.dicom.elements import parse_dataset
from miliary.exchange.dicom.files import FolderFiles
from miliary.exchange.dicom.header import looks_like_dicom
from miliary.exchange.dicom.read_series import quiet_parser

# Files of a folder that are opened to find one DICOM image among notes and indexes.
_MOST_TRIED = 20
_TAGS = ("Modality", "StudyInstanceUID", "NumberOfFrames")


@dataclass(frozen=True)
class FolderSurvey:
    """The first DICOM image of one folder; nothing of it is ever written.

    Parameters
    ----------
    folder : str
        Relative to the folder surveyed; ``.`` for that folder itself.
    study : str
        Hash of the study's UID; empty where the file does not say.
    modality : str
        As the file says, ``CT``; empty where it does not say.
    n_frames : int
        Of this one file.
    """

    folder: str
    study: str
    modality: str
    n_frames: int


def survey_folder(path: str | Path) -> tuple[FolderSurvey, ...]:
    """Look at one DICOM image in every folder below `path`, and in `path` itself.

    Parameters
    ----------
    path : path
        A folder, or one file.

    Returns
    -------
    tuple of FolderSurvey
        Sorted by folder; folders without a DICOM image are left out.
    """
    files = FolderFiles(Path(path))
    by_folder: dict[str, list[str]] = {}
    for name in files.names:
        by_folder.setdefault(name.rpartition("/")[0] or ".", []).append(name)
    found = (_survey(files, folder, names) for folder, names in sorted(by_folder.items()))
    return tuple(one for one in found if one is not None)


def _survey(files: FolderFiles, folder: str, names: list[str]) -> FolderSurvey | None:
    for name in names[:_MOST_TRIED]:
        if not looks_like_dicom(files.read_head(name, 132)):
            continue
        with files.open(name) as file, quiet_parser():
            try:
                header = parse_dataset(file, _TAGS)
                values = {tag: str(header.get(tag) or "").strip() for tag in _TAGS}
                n_frames = int(values["NumberOfFrames"] or 1)
            except Exception:  # noqa: BLE001, S112  whatever a damaged header makes the parser raise
                continue
        # An index of a disk (DICOMDIR) is a DICOM file of no modality and no study.
        if values["Modality"] or values["StudyInstanceUID"]:
            uid = values["StudyInstanceUID"]
            study = hashlib.sha256(uid.encode()).hexdigest() if uid else ""
            return FolderSurvey(folder, study, values["Modality"], n_frames)
    return None
