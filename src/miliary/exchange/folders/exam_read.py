"""One side of a comparison from the folder that `miliary ct` wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError, MiliaryError, ScanReadError
from miliary.exchange.dicom.series import is_sharp_kernel
from miliary.exchange.folders.volume_store import read_stored_volume
from miliary.exchange.volumes.nifti import read_nifti
from miliary.exchange.volumes.orientation import find_source_order, source_view
from miliary.model.comparison import Exam, SeriesFacts
from miliary.model.ct_result import SUMMARY_KIND, Lungs
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Acquisition, Scan


def is_ct_result(path: str | Path) -> bool:
    """Whether a path is a folder that `miliary ct` wrote."""
    return (Path(path) / "scan.json").is_file()


def read_series_facts(folder: str | Path) -> SeriesFacts:
    """What a result says of the series it was measured on, to match the other scan's with it.

    Raises
    ------
    InputError
        Its `scan.json` is damaged.
    """
    place = Path(folder)
    try:
        summary = json.loads((place / "scan.json").read_text("utf-8"))
        n, step = summary["geometry"]["shape_zyx"][0], summary["geometry"]["spacing_zyx_mm"][0]
        kernel = summary["acquisition"].get("kernel")
        thickness = summary["acquisition"].get("slice_thickness_mm") or step
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise _is_damaged(place, error) from None
    return SeriesFacts("result", n, max(thickness, step), n * step, kernel, is_sharp_kernel(kernel))


def _is_damaged(place: Path, error: Exception) -> InputError:
    return InputError(f"{place.name}: is a damaged result ({type(error).__name__}); run 'miliary ct' again")


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
    place = Path(folder)
    try:
        return _read(place)
    except MiliaryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _is_damaged(place, error) from None


def _read(place: Path) -> Exam:
    summary: Any = json.loads((place / "scan.json").read_text("utf-8"))
    if not isinstance(summary, dict) or summary.get("kind") != SUMMARY_KIND:
        raise InputError(f"{place.name}: its scan.json was not written by 'miliary ct'; give a result of it")
    stored = read_stored_volume(place)
    labels = _read_labels(place / "lungs.nii.gz", tuple(summary["geometry"]["shape_zyx"]))
    cut = tuple(
        slice(start, start + n) for start, n in zip(stored.start_zyx, stored.grid.shape_zyx, strict=True)
    )
    known = {name: summary["acquisition"].get(name) for name in Acquisition.__dataclass_fields__}
    scan = Scan(stored.read(), stored.grid, Acquisition(**known))
    lungs = Lungs(
        np.ascontiguousarray(labels[cut]), stored.grid.voxel_volume_mm3, bool(summary["lungs"]["is_cut_off"])
    )
    return Exam(place.name, summary, read_nodules_csv(place / "nodules.csv"), scan, lungs)


def _read_labels(path: Path, shape_zyx: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Labels in canonical order, as the scan was measured in."""
    stored = read_nifti(path)
    order = find_source_order(stored.axes_lps)
    labels = np.empty(tuple(stored.values.shape[axis] for axis in order.axes), dtype=np.uint8)
    source_view(labels, order)[...] = stored.values
    if labels.shape != shape_zyx:
        raise ScanReadError(f"{path.parent.name}/{path.name}: does not fit its scan; run 'miliary ct' again")
    return labels


def read_nodules_csv(path: Path) -> Nodules:
    """Read `nodules.csv`; an empty number is NaN."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, npt.NDArray[Any]] = {}
    for column in COLUMNS:
        texts = [row[column.name] for row in rows]
        if column.dtype is np.float64:
            columns[column.name] = np.array([float(text) if text else np.nan for text in texts], np.float64)
        else:
            columns[column.name] = np.array(texts, dtype=object).astype(column.dtype)
    return Nodules(columns)
