"""Read a chest CT from DICOM: files, series, geometry, pixels, checks."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.dicom.chest_coverage import measure_chest_mm
from miliary.exchange.dicom.files import DicomFiles
from miliary.exchange.dicom.header import CtSlice, DicomFile, read_acquisition, read_dicom_file
from miliary.exchange.dicom.pixels import load_stored, read_pixels, volume_dtype
from miliary.exchange.dicom.series import SeriesChoice, rank_series
from miliary.exchange.dicom.slice_geometry import Stack, stack_slices
from miliary.exchange.volumes.orientation import canonical_grid, find_source_order, source_view
from miliary.exchange.volumes.scan_checks import check_hounsfield, find_clipping, find_limits
from miliary.exchange.volumes.stored_volume import MAX_VOXELS
from miliary.model.scan import Acquisition, Grid, Scan, ScanPreview, ScanWarning, SourceOrder

T = TypeVar("T")

# Slices looked at before all are read.
_N_PREVIEWED = 12


def read_dicom(
    files: DicomFiles, *, name: str, source_format: str, series: str | None, n_threads: int
) -> Scan:
    """One chest CT from DICOM files.

    Parameters
    ----------
    files : DicomFiles
    name : str
        The input as messages name it.
    source_format : str
        Recorded in the acquisition.
    series : str or None
        Which series to read; `None` to apply the rules of `choose_series`.
    n_threads : int

    Returns
    -------
    Scan
        int16 where all HU are whole numbers, else float32.

    Raises
    ------
    ScanReadError, ScanGeometryError
        One line that names the file, what was expected and what to do.
    """

    def read(stack: Stack, choice: SeriesChoice) -> Scan:
        return _read_stack(files, stack, choice, name=name, source_format=source_format, n_threads=n_threads)

    with quiet_parser():
        scan, refused = _read_best(files, read, name=name, series=series, n_threads=n_threads)
    return scan if refused is None else scan.with_warnings(_tell_refused(refused))


def preview_dicom(
    files: DicomFiles, *, name: str, source_format: str, series: str | None, n_threads: int
) -> ScanPreview:
    """What `read_dicom` would read, from all headers and a few slices; errors as of it."""

    def read(stack: Stack, choice: SeriesChoice) -> ScanPreview:
        few = stack.slices[:: max(1, len(stack.slices) // _N_PREVIEWED)]
        grid, _ = _place(stack)
        voxels: npt.NDArray[Any] = np.empty((len(few), *few[0].shape), dtype=volume_dtype(few))
        n_padding = read_pixels(files, few, voxels, n_threads=n_threads)
        check_hounsfield(voxels, name=name)
        acquisition = _describe(files, stack, choice, source_format=source_format)
        found = _list_warnings(
            files,
            stack,
            choice,
            grid=grid,
            acquisition=acquisition,
            voxels=voxels,
            padding_share=n_padding / voxels.size,
        )
        return ScanPreview(grid, acquisition, found, choice.others)

    with quiet_parser():
        preview, refused = _read_best(files, read, name=name, series=series, n_threads=n_threads)
    if refused is None:
        return preview
    return replace(preview, warnings=(*preview.warnings, _tell_refused(refused)))


def _read_best(
    files: DicomFiles,
    read: Callable[[Stack, SeriesChoice], T],
    *,
    name: str,
    series: str | None,
    n_threads: int,
) -> tuple[T, Exception | None]:
    """The best series that can be read, and why one before it could not."""
    found = _read_headers(files, n_threads=n_threads)
    choices = rank_series(
        _ct_slices(found, name=name, n_files=len(files.names)),
        name=name,
        series=series,
        measure_chest=lambda one: measure_chest_mm(files, one.slices, n_threads=n_threads),
    )
    refused: ScanReadError | ScanGeometryError | None = None
    for choice in choices:
        try:
            return read(_stack(files, found, choice, name=name), choice), refused
        except (ScanReadError, ScanGeometryError) as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _stack(files: DicomFiles, found: Sequence[DicomFile], choice: SeriesChoice, *, name: str) -> Stack:
    slices = choice.series.slices
    keys = {one.series_key for one in slices}
    problem = next((one.problem for one in found if one.problem and one.series_key in keys), None)
    if problem is not None:
        raise problem
    _check_rescale(slices)
    return stack_slices(slices, name=name, same_pixels=lambda a, b: _same_pixels(files, a, b))


def _tell_refused(error: Exception) -> ScanWarning:
    """What was wrong with the series that should have been read, in words that hold no name."""
    kind = "its slices form no regular stack" if isinstance(error, ScanGeometryError) else "it is damaged"
    text = f"the series that would have been read cannot be ({kind}); this one shows as much of the lungs"
    return ScanWarning("series_refused", text)


def read_ct_slices(files: DicomFiles, *, name: str, n_threads: int = 4) -> list[CtSlice]:
    """The headers of all CT slices among DICOM files; errors as of `read_dicom`."""
    with quiet_parser():
        return _ct_slices(_read_headers(files, n_threads=n_threads), name=name, n_files=len(files.names))


@contextlib.contextmanager
def quiet_parser() -> Iterator[None]:
    """Silence pydicom: its warnings and log lines quote the header, which may identify a patient."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _read_headers(files: DicomFiles, *, n_threads: int) -> list[DicomFile]:
    """Headers of all files; threads help only where files are decompressed, the parser holds the lock."""
    if not files.is_compressed:
        headers = [read_dicom_file(files, one) for one in files.names]
    else:
        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            headers = list(pool.map(lambda one: read_dicom_file(files, one), files.names))
    return [header for header in headers if header is not None]


def _ct_slices(found: Sequence[DicomFile], *, name: str, n_files: int) -> list[CtSlice]:
    if n_files == 0:
        raise ScanReadError(f"{name} is empty; expected the DICOM files of a chest CT")
    if not found:
        raise ScanReadError(f"{name}: none of {n_files} files is DICOM; expected a chest CT")
    slices = [one for header in found for one in header.slices]
    problem = next((header.problem for header in found if header.problem is not None), None)
    if not slices and problem is not None:
        raise problem
    if not slices:
        kinds = Counter(_kind(header) for header in found)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise ScanReadError(
            f"{name} holds no CT slices (found: {listed}); expected the axial series of a chest CT"
        )
    _check_one_patient([header for header in found if header.slices], name=name)
    return slices


def _kind(header: DicomFile) -> str:
    if header.modality == "CT":
        return "CT screenshot or report"
    return f"{header.modality} file" if header.modality else "index file"


def _check_one_patient(found: Sequence[DicomFile], *, name: str) -> None:
    """Compare id and birth date in memory; the message names files, never values."""
    for part in (0, 1):
        named = [header for header in found if header.patient[part]]
        other = next((h for h in named if h.patient[part] != named[0].patient[part]), None)
        if other is not None:
            raise ScanReadError(
                f"{name} holds CT images of different patients ({named[0].name} and "
                f"{other.name}); give one patient's scan"
            )


def _check_rescale(slices: Sequence[CtSlice]) -> None:
    """Either all slices say how their values become HU, or none does."""
    missing = [s for s in slices if s.slope is None or s.intercept is None]
    if missing and len(missing) < len(slices):
        raise ScanReadError(
            f"{missing[0].name} has no RescaleSlope or RescaleIntercept while other slices have; "
            "export the series again"
        )


def _same_pixels(files: DicomFiles, one: CtSlice, other: CtSlice) -> bool:
    if (one.slope, one.intercept) != (other.slope, other.intercept):
        return False
    return np.array_equal(load_stored(files, one), load_stored(files, other))


def _read_stack(
    files: DicomFiles, stack: Stack, choice: SeriesChoice, *, name: str, source_format: str, n_threads: int
) -> Scan:
    grid, order = _place(stack)
    if math.prod(grid.shape_zyx) > MAX_VOXELS:
        raise ScanReadError(f"{name} says it holds more voxels than any chest CT; export it again")
    voxels: npt.NDArray[Any] = np.empty(grid.shape_zyx, dtype=volume_dtype(stack.slices))
    n_padding = read_pixels(files, stack.slices, source_view(voxels, order), n_threads=n_threads)
    check_hounsfield(voxels, name=name)
    acquisition = _describe(files, stack, choice, source_format=source_format)
    share = n_padding / voxels.size
    return Scan(
        voxels_hu=voxels,
        grid=grid,
        acquisition=acquisition,
        warnings=_list_warnings(
            files, stack, choice, grid=grid, acquisition=acquisition, voxels=voxels, padding_share=share
        ),
        source_order=order,
    )


def _place(stack: Stack) -> tuple[Grid, SourceOrder]:
    order = find_source_order(stack.axes_lps)
    rows, columns = stack.slices[0].shape
    grid = canonical_grid(
        (len(stack.slices), rows, columns),
        spacing_mm=stack.spacing_mm,
        origin_lps_mm=stack.origin_lps_mm,
        axes_lps=stack.axes_lps,
        order=order,
    )
    return grid, order


def _describe(files: DicomFiles, stack: Stack, choice: SeriesChoice, *, source_format: str) -> Acquisition:
    return replace(
        read_acquisition(files, stack.slices[0].name, source_format=source_format),
        slice_thickness_mm=stack.slices[0].thickness_mm,
        n_files=len({one.name for one in stack.slices}),
        series_choice=choice.reason,
    )


def _list_warnings(
    files: DicomFiles,
    stack: Stack,
    choice: SeriesChoice,
    *,
    grid: Grid,
    acquisition: Acquisition,
    voxels: npt.NDArray[Any],
    padding_share: float,
) -> tuple[ScanWarning, ...]:
    return (
        *_choice_warnings(choice),
        *_file_warnings(files),
        *stack.warnings,
        *_value_warnings(stack, padding_share),
        *find_limits(grid, acquisition),
        *find_clipping(voxels),
    )


def _choice_warnings(choice: SeriesChoice) -> list[ScanWarning]:
    found = []
    if choice.n_series > 1:
        found.append(ScanWarning("several_series", f"read {choice.reason}; beside it: {choice.others}"))
    if choice.series.n_joined > 1:
        text = (
            f"every slice or two stood under a series of its own; {choice.series.n_joined} such series, "
            "alike in all else, were read as one"
        )
        found.append(ScanWarning("joined_series", text))
    return found


def _file_warnings(files: DicomFiles) -> list[ScanWarning]:
    found = []
    if n := files.n_broken_links:
        nouns = "link leads nowhere and was" if n == 1 else "links lead nowhere and were"
        found.append(ScanWarning("broken_links", f"{n} {nouns} passed over"))
    if n := files.n_empty:
        nouns = "empty file lies" if n == 1 else "empty files lie"
        text = (
            f"{n} {nouns} beside the slices, as after a copy that broke off: slices may be missing at an end "
            "of the scan"
        )
        found.append(ScanWarning("empty_files", text))
    return found


def _value_warnings(stack: Stack, padding_share: float) -> list[ScanWarning]:
    warnings_ = []
    if stack.slices[0].slope is None or stack.slices[0].intercept is None:
        text = "the files hold no rescale to HU; their values look like HU and were taken as such"
        warnings_.append(ScanWarning("rescale_missing", text))
    unit = (stack.slices[0].unit or "HU").upper()
    if not unit.startswith(("HU", "HOUNSFIELD")):
        text = "the files do not call their values HU; they look like HU and were taken as such"
        warnings_.append(ScanWarning("unit_unknown", text))
    # A round field of view leaves 21 % of its square outside.
    if padding_share > 0.3:
        text = f"{padding_share:.0%} of the voxels lie outside the field of view and were set to -1024 HU"
        warnings_.append(ScanWarning("much_padding", text))
    return warnings_
