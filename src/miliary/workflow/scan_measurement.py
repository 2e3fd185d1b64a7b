"""`measure`: one chest CT read, measured and written as one result folder."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.errors import InputError, NoLungsError, OutputError
from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter, count_cores

if TYPE_CHECKING:
    from miliary.model.corrections import CorrectionSet
    from miliary.model.ct_result import CtResult, LungMask
    from miliary.model.lesion import PointLpsMm
    from miliary.model.scan import Scan


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """How one scan is measured.

    Parameters
    ----------
    series : str, optional
        Which series of several: its series number, or its position counted from 1 ("#2"). By default the
        series best suited is chosen, and the choice is recorded in the result.
    keep_volume : bool
        Keep a copy of the scan in the result, cropped to the body. The viewer and comparisons need it.
    with_completeness : bool
        Measure what share of the nodules this scan shows, and correct count and volume for it.
    lesion_seeds_lps_mm : tuple of (x, y, z)
        Points in lesions of 8 mm and more, patient LPS [mm]; others are found as well.
    lung_mask : path, optional
        A mask of the lungs that was made elsewhere: NIfTI, NRRD, MetaImage, DICOM SEG, or a folder of lobes,
        as `miliary.read_lung_mask` takes it. Left out, the lungs are found on the scan; a result that was
        measured with a mask keeps it when it is measured anew.
    """

    series: str | None = None
    keep_volume: bool = True
    with_completeness: bool = True
    lesion_seeds_lps_mm: tuple[PointLpsMm, ...] = ()
    lung_mask: str | Path | None = None


DEFAULT_MEASUREMENT = MeasurementSettings()


def measure(
    scan: str | Path,
    out: str | Path | None = None,
    *,
    settings: MeasurementSettings = DEFAULT_MEASUREMENT,
    apply_corrections: bool = False,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> CtResult:
    """Measure one chest CT and write its result folder, complete or not at all.

    Parameters
    ----------
    scan : path
        A folder of DICOM files, a zip of them, one multi-frame DICOM file, a NIfTI, NRRD or MetaImage
        volume, or an earlier result that kept its volume.
    out : path, optional
        Result folder: new, empty, or an earlier result, which is replaced at the end. Left out, an earlier
        result given as `scan` is replaced.
    settings : MeasurementSettings
    apply_corrections : bool
        Measure with what a reader corrected of the result in `out` (``corrections.jsonl``).
    n_threads : int, optional
        Threads of reading and of the compiled kernels; all cores when not given. The result does not depend
        on it.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    CtResult
        What was written.

    Raises
    ------
    ScanReadError, ScanGeometryError, NoLungsError
        The scan cannot be used.
    OutputError
        `out` is missing, or cannot be written to.
    InputError
        Corrections are asked for and there are none, or the lung mask cannot be used.
    RunCancelled
        `cancel` said so; `out` is as it was before.
    """
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.exam_read import is_ct_result
    from miliary.image.kernels.compile_ahead import compiling_ahead, name_stages

    source = Path(scan)
    is_result = is_ct_result(source)
    if out is None and not is_result:
        raise OutputError("out: is missing; name a folder for the result")
    target = source if out is None else Path(out)
    check_output(target)
    corrections = _read_corrections(target) if apply_corrections else None
    report = StageReporter(progress, cancel)
    stages = name_stages(with_completeness=settings.with_completeness)
    with compiling_ahead(*stages, n_threads=n_threads or count_cores()):
        report("read")
        volume = _read(source, settings.series, n_threads, is_result=is_result)
        earlier = [source] if is_result else [target] if apply_corrections else []
        lung_mask = _read_mask(settings.lung_mask, volume, earlier)
        try:
            return _measure(
                volume, target, report, settings, corrections, lung_mask=lung_mask, n_threads=n_threads
            )
        except NoLungsError as error:
            # The pipeline sees voxels, not files: the name is added here.
            raise NoLungsError(f"{source.name}: {error}") from None


def _read(scan: Path, series: str | None, n_threads: int | None, *, is_result: bool) -> Scan:
    """A scan from its files, or the copy that an earlier result kept."""
    if is_result:
        from miliary.exchange.folders.saved_scan import read_saved_scan

        return read_saved_scan(scan)
    from miliary.exchange.ct_read import read_ct

    return read_ct(scan, series=series, n_threads=n_threads)


def _read_mask(path: str | Path | None, scan: Scan, earlier: list[Path]) -> LungMask | None:
    """The lung mask that was given, or that an earlier result was measured with."""
    from miliary.exchange.masks.lung_mask import read_lung_mask

    if path is not None:
        return read_lung_mask(path, scan)
    from miliary.exchange.folders.kinds import LUNGS_NAME
    from miliary.exchange.folders.open_result import open_ct_result
    from miliary.model.ct_result import FOUND_LUNGS

    for folder in earlier:
        source = open_ct_result(folder).summary.lungs.source
        if source not in (None, FOUND_LUNGS):
            return replace(read_lung_mask(folder / LUNGS_NAME, scan), source=source)
    return None


def _read_corrections(out: Path) -> CorrectionSet:
    """What readers changed of the result that goes to a folder."""
    from miliary.exchange.folders.corrections_file import find_corrections_file, read_corrections
    from miliary.model.corrections import collect_corrections

    path = find_corrections_file(out)
    if not path.is_file():
        raise InputError(f"{path.name}: is not there; correct {out.name} with 'miliary view' first")
    return collect_corrections(read_corrections(path), out.resolve().name)


def _measure(
    volume: Scan,
    out: Path,
    report: StageReporter,
    settings: MeasurementSettings,
    corrections: CorrectionSet | None,
    *,
    lung_mask: LungMask | None,
    n_threads: int | None,
) -> CtResult:
    """Measure a scan in memory and write its folder."""
    from miliary.exchange.folders.ct_store import load_writers, write_ct_result
    from miliary.model.ct_result import Stage
    from miliary.pipeline import find_nodules

    # Compiled loops leave the interpreter free meanwhile.
    threading.Thread(target=load_writers, daemon=True).start()
    result = find_nodules(
        volume,
        progress=report,
        n_threads=n_threads,
        corrections=corrections,
        with_completeness=settings.with_completeness,
        lung_mask=lung_mask,
        lesion_seeds_lps_mm=settings.lesion_seeds_lps_mm,
    )
    report("write")
    read = Stage("read", report.seconds["read"])
    # A scan kept with a result brings the warnings that measuring it gave: each is said once.
    warned = tuple(dict.fromkeys(result.warnings))
    result = replace(result, stages=(read, *result.stages), warnings=warned)
    write_ct_result(result, out, scan=volume if settings.keep_volume else None)
    return result
