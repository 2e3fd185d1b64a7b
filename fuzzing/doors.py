"""What is done with an input of each door: what the commands do with it, without measuring."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from miliary.model.scan import Scan

_MASKS = ("mask", "seg")


def go_through(door: str, place: Path, out: Path) -> int:
    """Read an input as the commands do.

    Parameters
    ----------
    door : str
    place : Path
        What is read.
    out : Path
        An empty folder for what is written.

    Returns
    -------
    int
        0 read, 3 refused in one line, 4 a message of several lines, 5 geometry that is none. An error that is
        none of ours is raised.
    """
    from miliary.errors import MiliaryError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if door in ("case", "fhir", "phenopacket"):
                _read_case(door, place, out)
            elif door == "saved":
                _read_saved(place, out)
            elif door == "radiograph":
                _read_radiograph(place)
            elif door in _MASKS:
                _read_mask(place)
            else:
                from miliary.exchange.ct_read import read_ct

                return 5 if (said := _find_nonsense(read_ct(place, n_threads=1))) and _tell(said) else 0
        except MiliaryError as error:
            line = str(error)
            line.encode("utf-8")
            return 4 if "\n" in line and _tell(f"a message of several lines: {line[:80]!r}") else 3
    return 0


def _tell(text: str) -> bool:
    print(text, file=sys.stderr)
    return True


def _read_case(door: str, place: Path, out: Path) -> None:
    from miliary.workflow.case_derivation import derive_case
    from miliary.workflow.case_exchange import export_case, import_case

    if door != "case":
        import_case(place, out / "case")
        place = out / "case"
    derive_case(place, out / "result")
    export_case(place, fhir=out / "fhir.json", phenopacket=out / "packet.json")


def _read_saved(place: Path, out: Path) -> None:
    """Everything that opens saved results; an error of ours in one does not keep the others from it."""
    from miliary.errors import MiliaryError
    from miliary.exchange.folders.exam_read import read_exam
    from miliary.exchange.folders.open_result import open_comparison, open_result
    from miliary.exchange.folders.saved_scan import read_saved_scan
    from miliary.viewer.viewed_study import read_shown_study
    from miliary.workflow.study_page import write_study_page

    refused: MiliaryError | None = None
    pair = place / "compare/baseline__followup"
    for read in (
        lambda: write_study_page(place, out / "page.html"),
        lambda: read_shown_study(place),
        lambda: read_exam(place / "ct/baseline"),
        lambda: read_saved_scan(place / "ct/baseline"),
        lambda: open_result(place / "case"),
        lambda: (open_comparison(pair).matches, open_comparison(pair).transform),
    ):
        try:
            read()
        except MiliaryError as error:
            refused = error
            str(error).encode("utf-8")
    if refused is not None:
        raise refused


def _find_nonsense(scan: object) -> str:
    grid = scan.grid  # type: ignore[attr-defined]
    spacing, origin = np.array(grid.spacing_zyx_mm), np.array(grid.origin_lps_mm)
    axes = np.array(grid.axes_lps)
    extent = spacing * grid.shape_zyx
    if not (np.isfinite(spacing).all() and np.isfinite(origin).all() and np.isfinite(axes).all()):
        return "geometry that is not finite"
    if spacing.min() < 0.02 or spacing.max() > 5.01 or extent.max() > 3000 or np.abs(origin).max() > 2e4:
        return f"spacing {spacing}, extent {extent}, origin {origin}"
    if np.abs(axes @ axes.T - np.eye(3)).max() > 0.03:
        return f"axes {axes.tolist()}"
    voxels = scan.voxels_hu  # type: ignore[attr-defined]
    return "" if np.isfinite(voxels).all() and voxels.min() >= -32768 else "voxels that are not finite"


@cache
def _scan() -> Scan:
    from fuzzing.seeds import make_measured

    return make_measured()[1]


def _read_mask(place: Path) -> None:
    from miliary.exchange.masks.lung_mask import read_lung_mask

    labels = read_lung_mask(place, _scan()).labels
    if labels.shape != _scan().grid.shape_zyx or labels.max() > 2:
        raise AssertionError("labels that are none")


def _read_radiograph(place: Path) -> None:
    from miliary.exchange.dicom.radiograph_picture import read_radiograph

    read_radiograph(place, name="picture")
