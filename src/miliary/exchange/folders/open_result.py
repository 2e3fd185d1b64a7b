"""Result folders opened: the summary at once, everything else where it is asked for.

`open_result`, `open_ct_result`, `open_comparison`, `open_case` and `open_study` are how the rest of the
package reads what was saved. What is absent is listed in `missing`, what was passed over in `warnings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError, MiliaryError, RecordError, ScanReadError
from miliary.exchange.folders import kinds
from miliary.exchange.folders.picture_files import read_figures
from miliary.exchange.folders.result_file import ResultFileError, load_result_file
from miliary.exchange.folders.tables import read_matches_csv, read_nodules_csv, read_tracks_csv
from miliary.exchange.folders.volume_store import CroppedVolume, read_stored_volume
from miliary.exchange.volumes.nifti import read_nifti
from miliary.exchange.volumes.orientation import find_source_order, source_view
from miliary.model.nodules import Nodules, Tracks
from miliary.model.saved.case_summary import CaseSummary
from miliary.model.saved.codec import Decoded, FileWarning
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.study_index import StudyIndex
from miliary.model.saved.study_inputs import StudyRecord
from miliary.model.scan import SourceOrder
from miliary.model.study import Picture
from miliary.model.transform import Transform

# What makes a folder a study, also one made by hand.
_STUDY_MEMBERS = (
    *(kinds.STUDY_NAME, f"ct/*/{kinds.SCAN_NAME}", f"compare/*/{kinds.RESPONSE_NAME}"),
    f"case/{kinds.CASE_NAME}",
)
_TRANSFORM_NAMES = (kinds.TRANSFORM_NAME, f"transform/{kinds.TRANSFORM_NAME}")


@dataclass(frozen=True)
class SavedCtResult:
    """The folder that `miliary ct` wrote.

    Parameters
    ----------
    folder : path
    summary : ScanSummary
        What `scan.json` holds.
    warnings : tuple of FileWarning
        What was passed over in reading `scan.json`.
    missing : tuple of str
        Files of such a folder that are not there.
    """

    folder: Path
    summary: ScanSummary
    warnings: tuple[FileWarning, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder: the label of the scan."""
        return self.folder.resolve().name

    @cached_property
    def table(self) -> Decoded[Nodules]:
        """The nodules with warnings of what their table lacks.

        Raises
        ------
        RecordError
            `nodules.csv` is missing or damaged.
        """
        return read_nodules_csv(self.folder / kinds.NODULES_NAME, name=f"{self.name}/{kinds.NODULES_NAME}")

    @property
    def nodules(self) -> Nodules:
        """The nodules; see `table`."""
        return self.table.value

    @cached_property
    def volume(self) -> CroppedVolume:
        """The scan cropped to the body; its voxels are read where they are asked for.

        Raises
        ------
        ScanReadError
            The folder keeps none, or it is damaged.
        """
        return read_stored_volume(self.folder)

    @cached_property
    def source_order(self) -> SourceOrder:
        """Relation of the canonical array to that of the original file."""
        return find_source_order(read_nifti(self.folder / kinds.LUNGS_NAME, is_mask=True).axes_lps)

    def read_lung_labels(self) -> npt.NDArray[np.uint8]:
        """The lungs (1 right, 2 left), (z, y, x) as the scan was measured in.

        Raises
        ------
        InputError
            `lungs.nii.gz` is missing, damaged or of another scan.
        """
        path = self.folder / kinds.LUNGS_NAME
        try:
            stored = read_nifti(path, is_mask=True)
        except OSError as error:
            raise _is_damaged(self.name, error) from error
        order = find_source_order(stored.axes_lps)
        labels = np.empty(tuple(stored.values.shape[axis] for axis in order.axes), dtype=np.uint8)
        source_view(labels, order)[...] = stored.values
        shape = self.summary.geometry.shape_zyx
        if shape is not None and labels.shape != shape:
            raise ScanReadError(f"{self.name}/{path.name}: does not fit its scan; run 'miliary ct' again")
        return labels

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Pictures of the folder ``figures``."""
        place = self.folder / kinds.FIGURES_NAME
        return tuple(read_figures(place, kinds.FIGURES_NAME, lambda _member, _code, _detail: None))


@dataclass(frozen=True)
class SavedComparisonResult:
    """The folder that `miliary compare` wrote; `missing` and `warnings` as of `SavedCtResult`."""

    folder: Path
    summary: ComparisonSummary
    warnings: tuple[FileWarning, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, str]:
        """Baseline and follow-up as the folder's name has them."""
        first, _, second = self.folder.resolve().name.partition("__")
        return first, second

    @cached_property
    def tracks(self) -> Tracks:
        """What became of each nodule.

        Raises
        ------
        RecordError
            `tracks.csv` is missing or damaged.
        """
        return read_tracks_csv(self.folder / kinds.TRACKS_NAME).value

    @cached_property
    def transform(self) -> Transform:
        """Baseline points to follow-up points.

        Raises
        ------
        InputError
            It is missing or damaged.
        """
        return read_transform(self.folder)

    @cached_property
    def matches(self) -> list[tuple[int, int]]:
        """Numbers of the nodules that are the same, baseline first."""
        return read_matches_csv(self.folder / kinds.MATCHES_NAME)

    @cached_property
    def registered(self) -> CroppedVolume:
        """The follow-up in the frame of the baseline."""
        return read_stored_volume(self.folder / kinds.REGISTERED_NAME)


@dataclass(frozen=True)
class SavedCaseResult:
    """The folder that `miliary case run` wrote."""

    folder: Path
    summary: CaseSummary
    warnings: tuple[FileWarning, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyFolder:
    """What `study.json` of a folder says; an empty index where there is none."""

    folder: Path
    index: StudyIndex
    warnings: tuple[FileWarning, ...] = ()


def is_ct_result(path: str | Path) -> bool:
    """Whether a path is a folder that `miliary ct` wrote."""
    return (Path(path) / kinds.SCAN_NAME).is_file()


def open_result(
    folder: str | Path,
) -> SavedCtResult | SavedComparisonResult | SavedCaseResult | StudyFolder:
    """Open a folder that any command of this program wrote.

    Parameters
    ----------
    folder : path
        What `miliary ct`, `compare` of two scans, `case run`, `study` or `demo` wrote, or a study folder made
        by hand.

    Returns
    -------
    SavedCtResult, SavedComparisonResult, SavedCaseResult or StudyFolder
        By the main file that the folder holds, in this order: ``scan.json``, ``response.json``,
        ``case.json``; any other folder with ``study.json`` or the members of a study is a study.

    Raises
    ------
    ResultFileError
        Its main file is damaged or of another kind.
    InputError
        It is no folder, or holds nothing that this program wrote.
    """
    place = Path(folder)
    if (place / kinds.SCAN_NAME).is_file():
        return open_ct_result(place)
    if (place / kinds.RESPONSE_NAME).is_file():
        return open_comparison(place)
    if (place / kinds.CASE_NAME).is_file():
        return open_case(place)
    if any(found for pattern in _STUDY_MEMBERS for found in place.glob(pattern)):
        return open_study(place)
    raise InputError(f"{place.resolve().name}: holds no result of this program; give a folder that it wrote")


def open_ct_result(folder: str | Path) -> SavedCtResult:
    """Open the folder that `miliary ct` wrote.

    Raises
    ------
    ResultFileError
        Its `scan.json` is missing, damaged or of another kind.
    """
    place = Path(folder)
    found = load_result_file(place / kinds.SCAN_NAME, kinds.SCAN_FILE, name=_call(place, kinds.SCAN_NAME))
    return SavedCtResult(place, found.record, found.warnings, _list_missing(place, kinds.CT_FILES))


def open_comparison(folder: str | Path) -> SavedComparisonResult:
    """Open the folder that `miliary compare` wrote for two scans.

    Raises
    ------
    ResultFileError
        Its `response.json` is missing, damaged or of another kind.
    """
    place = Path(folder)
    name = _call(place, kinds.RESPONSE_NAME)
    found = load_result_file(place / kinds.RESPONSE_NAME, kinds.COMPARISON_FILE, name=name)
    missing = _list_missing(place, kinds.COMPARISON_FILES)
    return SavedComparisonResult(place, found.record, found.warnings, missing)


def open_case(folder: str | Path) -> SavedCaseResult:
    """Open the folder that `miliary case run` wrote.

    Raises
    ------
    ResultFileError
        Its `case.json` is missing, damaged or of another kind.
    """
    place = Path(folder)
    found = load_result_file(place / kinds.CASE_NAME, kinds.CASE_FILE, name=_call(place, kinds.CASE_NAME))
    return SavedCaseResult(place, found.record, found.warnings, _list_missing(place, (kinds.CASE_NAME,)))


def open_study(folder: str | Path) -> StudyFolder:
    """Open a study folder; made by hand it needs no `study.json`.

    Raises
    ------
    ResultFileError
        Its `study.json` is damaged or of another kind.
    """
    place = Path(folder)
    if not (place / kinds.STUDY_NAME).exists():
        return StudyFolder(place, StudyIndex())
    found = load_result_file(place / kinds.STUDY_NAME, kinds.STUDY_FILE, name=kinds.STUDY_NAME)
    return StudyFolder(place, found.record, found.warnings)


def open_study_inputs(folder: str | Path) -> StudyRecord:
    """What the members of a study rest on, from its ``inputs.json``.

    Parameters
    ----------
    folder : path
        The study.

    Returns
    -------
    StudyRecord
        Without members where the file is not there or cannot be used: nothing is known then, so every member
        counts as out of date.
    """
    try:
        record: StudyRecord = load_result_file(Path(folder) / kinds.INPUTS_NAME, kinds.INPUTS_FILE).record
    except ResultFileError:
        return StudyRecord()
    return record


def find_series(folder: str | Path) -> str:
    """Path of ``series.json`` in a study; empty where there is none."""
    names = (kinds.SERIES_NAME, f"compare/{kinds.SERIES_NAME}")
    return next((name for name in names if (Path(folder) / name).is_file()), "")


def open_series(path: Path) -> SeriesSummary:
    """What ``series.json`` holds.

    Raises
    ------
    ResultFileError
        It is missing, damaged or of another kind.
    """
    record: SeriesSummary = load_result_file(path, kinds.SERIES_FILE).record
    return record


def read_transform(folder: Path) -> Transform:
    """The registration that a comparison's folder keeps.

    Raises
    ------
    InputError
        It is missing or damaged.
    """
    path = next((folder / name for name in _TRANSFORM_NAMES if (folder / name).is_file()), None)
    if path is None:
        raise RecordError(f"{folder.name}: holds no {kinds.TRANSFORM_NAME}; compare again")
    try:
        # Opened here, since numpy leaves a file open that it cannot read.
        with path.open("rb") as file:
            return Transform.from_arrays(dict(np.load(file, allow_pickle=False)))
    except MiliaryError:
        raise
    except Exception as error:  # numpy, zip and zlib raise what they like on damage
        raise _is_damaged(folder.name, error) from error


def _call(place: Path, name: str) -> str:
    return f"{place.resolve().name}/{name}"


def _list_missing(place: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not (place / name).exists())


def _is_damaged(name: str, error: Exception) -> InputError:
    return RecordError(f"{name}: is a damaged result ({type(error).__name__}); run it again")
