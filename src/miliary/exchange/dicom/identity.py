"""What a comparison asks of DICOM files before reading them: whose, when, and which series there are."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from miliary.exchange.dicom.chest_coverage import measure_chest_mm
from miliary.exchange.dicom.elements import parse_dataset
from miliary.exchange.dicom.files import DicomFiles, FolderFiles, ZipFiles
from miliary.exchange.dicom.header import looks_like_dicom
from miliary.exchange.dicom.read_series import quiet_parser, read_ct_slices
from miliary.exchange.dicom.series import AS_MUCH, Series, group_series, is_sharp_kernel
from miliary.model.comparison import Identity, SeriesFacts

_DATE_TAGS = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")


def read_identity(path: str | Path) -> Identity:
    """Whose scan it is and when it was made, as far as DICOM files say; for memory only.

    Parameters
    ----------
    path : path
        Anything `read_ct` takes. What is no DICOM, or says nothing, gives an empty identity.

    Returns
    -------
    Identity
        Hashes of the patient's id and birth date, and the day.
    """
    with _open_files(Path(path)) as files:
        if files is None:
            return Identity()
        tags = ["Modality", "PatientID", "PatientBirthDate", *_DATE_TAGS]
        for name in files.names:
            if not looks_like_dicom(files.read_head(name, 132)):
                continue
            values = _read_values(files, name, tags)
            if values.get("Modality") not in {"CT", ""}:
                continue
            return Identity(
                patient=_hash(values["PatientID"]),
                birth=_hash(values["PatientBirthDate"]),
                day=next((day for tag in _DATE_TAGS if (day := _read_day(values[tag])) is not None), None),
            )
    return Identity()


def _read_values(files: DicomFiles, name: str, tags: list[str]) -> dict[str, str]:
    """Values of a header; none where it is damaged, which reading the scan will say."""
    with files.open(name) as file, quiet_parser():
        try:
            header = parse_dataset(file, tags)
            return {tag: str(header.get(tag) or "").strip() for tag in tags}
        except Exception:  # noqa: BLE001  whatever a damaged header makes the parser raise
            return {}


def list_series(path: str | Path) -> tuple[SeriesFacts, ...]:
    """The series of CT slices in a folder or zip of DICOM files; empty for anything else.

    Their keys are what `read_ct` takes as `series`. Series too short for a chest are left out unless there
    is no other, and so are those that show less than 80 % of the lungs that another shows.
    """
    place = Path(path)
    with _open_files(place) as files:
        if files is None or len(files.names) < 2:
            return ()
        found = group_series(read_ct_slices(files, name=place.name))
        usable = _find_usable(files, found)
    return tuple(
        SeriesFacts(
            key=f"#{number}",
            n_slices=len(series.slices),
            thickness_mm=series.thickness_mm,
            coverage_mm=series.coverage_mm,
            kernel=series.kernel,
            is_sharp=is_sharp_kernel(series.kernel),
            is_primary=series.is_original and series.is_axial,
        )
        for number, series in enumerate(found, start=1)
        if usable[number - 1] or not any(usable)
    )


def _find_usable(files: DicomFiles, found: Sequence[Series]) -> list[bool]:
    """Which series are long enough and show about as much of the lungs as the one with most."""
    usable = [series.is_usable for series in found]
    if sum(usable) < 2:
        return usable
    with quiet_parser():
        shown = [
            (measure_chest_mm(files, series.slices, n_threads=4) or 0.0) if series.is_usable else 0.0
            for series in found
        ]
    return [fits and length >= AS_MUCH * max(shown) for fits, length in zip(usable, shown, strict=True)]


@contextmanager
def _open_files(place: Path) -> Iterator[DicomFiles | None]:
    """The DICOM files at a place; None where there are none."""
    if place.is_dir():
        yield FolderFiles(place)
        return
    if not place.is_file():
        yield None
        return
    with place.open("rb") as file:
        head = file.read(132)
    if head[:4] in _ZIP_STARTS:
        with closing(ZipFiles(place)) as files:
            yield files
        return
    yield FolderFiles(place) if looks_like_dicom(head) else None


def _hash(text: str) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def _read_day(text: str) -> int | None:
    """A DICOM date as a count of days."""
    try:
        return dt.datetime.strptime(text.replace(".", "")[:8], "%Y%m%d").replace(tzinfo=dt.UTC).toordinal()
    except ValueError:
        return None


def find_patient_conflict(identities: Sequence[Identity]) -> tuple[int, int] | None:
    """Places of two scans that say they show different patients; None where none do."""
    for i, one in enumerate(identities):
        for j in range(i + 1, len(identities)):
            other = identities[j]
            pairs = ((one.patient, other.patient), (one.birth, other.birth))
            if any(a is not None and b is not None and a != b for a, b in pairs):
                return i, j
    return None
