"""One side of a comparison from the folder that `miliary ct` wrote."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from miliary.errors import InputError, MiliaryError
from miliary.exchange.dicom.series import is_sharp_kernel
from miliary.exchange.folders.open_result import is_ct_result, open_ct_result
from miliary.model.comparison import Exam, SeriesFacts
from miliary.model.ct_result import FOUND_LUNGS, Lungs
from miliary.model.saved.scan_summary import AcquisitionSummary
from miliary.model.scan import Acquisition, Scan

__all__ = ["is_ct_result", "read_exam", "read_series_facts"]


def read_series_facts(folder: str | Path) -> SeriesFacts:
    """What a result says of the series it was measured on, to match the other scan's with it.

    Raises
    ------
    InputError
        Its `scan.json` is damaged.
    """
    summary = open_ct_result(folder).summary
    geometry = summary.geometry
    if geometry.shape_zyx is None or geometry.spacing_zyx_mm is None:
        raise InputError(f"{Path(folder).name}: does not state its grid; run 'miliary ct' again")
    n, step = geometry.shape_zyx[0], geometry.spacing_zyx_mm[0]
    kernel = summary.acquisition.kernel
    thickness = summary.acquisition.slice_thickness_mm or step
    return SeriesFacts("result", n, max(thickness, step), n * step, kernel, is_sharp_kernel(kernel))


def read_exam(folder: str | Path) -> Exam:
    """Read a result folder with its volume.

    Parameters
    ----------
    folder : path
        What `miliary ct` wrote, with ``volume.zarr``.

    Returns
    -------
    Exam
        Scan and lungs are cropped to the body.

    Raises
    ------
    InputError
        It is no such folder, a file of it is missing or damaged, or it keeps no volume.
    """
    saved = open_ct_result(folder)
    try:
        stored, labels = saved.volume, saved.read_lung_labels()
        cut = tuple(
            slice(start, start + n) for start, n in zip(stored.start_zyx, stored.grid.shape_zyx, strict=True)
        )
        scan = Scan(stored.read(), stored.grid, make_acquisition(saved.summary.acquisition))
        lungs = Lungs(
            np.ascontiguousarray(labels[cut]),
            stored.grid.voxel_volume_mm3,
            is_cut_off=bool(saved.summary.lungs.is_cut_off),
            source=saved.summary.lungs.source or FOUND_LUNGS,
            checks=saved.summary.lungs.checks,
        )
        return Exam(saved.name, saved.summary, saved.nodules, scan, lungs)
    except MiliaryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{saved.name}: is a damaged result ({type(error).__name__}); run 'miliary ct' again"
        ) from None


def make_acquisition(summary: AcquisitionSummary) -> Acquisition:
    """How a saved scan was made; what its file does not state is the default."""
    stated = {name: value for name, value in asdict(summary).items() if value is not None}
    stated.pop("missing_reasons")
    return Acquisition(**stated)
