"""The scan that a result folder keeps, as it was before it was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from miliary.errors import InputError, MiliaryError
from miliary.exchange.folders.volume_store import read_stored_volume
from miliary.exchange.volumes.nifti import read_nifti
from miliary.exchange.volumes.orientation import find_source_order
from miliary.model.corrections import NOT_PLACED_CODE
from miliary.model.ct_result import SUMMARY_KIND
from miliary.model.scan import Acquisition, Grid, Scan, ScanWarning

OUTSIDE_HU = -1024


def read_saved_scan(folder: str | Path) -> Scan:
    """Read the scan of a result folder, to measure it anew.

    Parameters
    ----------
    folder : path
        What `miliary ct` wrote, with ``volume.zarr``.

    Returns
    -------
    Scan
        On the grid of the original, -1024 HU outside the body; whole HU. Carries the warnings of the result.

    Raises
    ------
    InputError
        It is no such folder, a file of it is damaged, or it keeps no volume.
    """
    place = Path(folder)
    try:
        return _read(place)
    except MiliaryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{place.name}: is a damaged result ({type(error).__name__}); give the original scan"
        ) from None


def _read(place: Path) -> Scan:
    summary: Any = json.loads((place / "scan.json").read_text("utf-8"))
    if not isinstance(summary, dict) or summary.get("kind") != SUMMARY_KIND:
        raise InputError(f"{place.name}: its scan.json was not written by 'miliary ct'; give a scan")
    stored = read_stored_volume(place)
    grid = _read_grid(summary["geometry"])
    voxels = np.full(grid.shape_zyx, OUTSIDE_HU, dtype=np.int16)
    box = tuple(slice(a, a + n) for a, n in zip(stored.start_zyx, stored.grid.shape_zyx, strict=True))
    voxels[box] = stored.read()
    known = {name: summary["acquisition"].get(name) for name in Acquisition.__dataclass_fields__}
    return Scan(
        voxels_hu=voxels,
        grid=grid,
        acquisition=Acquisition(**known),
        warnings=tuple(
            ScanWarning(w["code"], w["message"]) for w in summary["warnings"] if w["code"] != NOT_PLACED_CODE
        ),
        source_order=find_source_order(read_nifti(place / "lungs.nii.gz").axes_lps),
    )


def _read_grid(geometry: dict[str, Any]) -> Grid:
    return Grid(
        shape_zyx=tuple(geometry["shape_zyx"]),
        spacing_zyx_mm=tuple(geometry["spacing_zyx_mm"]),
        origin_lps_mm=tuple(geometry["origin_lps_mm"]),
        axes_lps=tuple(tuple(axis) for axis in geometry["axes_lps"]),
    )
