"""The scan that a result folder keeps, as it was before it was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from miliary.errors import InputError, MiliaryError
from miliary.exchange.folders.exam_read import make_acquisition
from miliary.exchange.folders.open_result import open_ct_result
from miliary.model.corrections import NOT_PLACED_CODE
from miliary.model.scan import Grid, Scan

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
    saved = open_ct_result(folder)
    geometry = saved.summary.geometry
    if geometry.shape_zyx is None or geometry.spacing_zyx_mm is None:
        raise InputError(f"{saved.name}: does not state its grid; give the original scan")
    grid = Grid(geometry.shape_zyx, geometry.spacing_zyx_mm)
    if geometry.origin_lps_mm is not None and geometry.axes_lps is not None:
        grid = replace(grid, origin_lps_mm=geometry.origin_lps_mm, axes_lps=geometry.axes_lps)
    try:
        stored = saved.volume
        voxels = np.full(grid.shape_zyx, OUTSIDE_HU, dtype=np.int16)
        box = tuple(slice(a, a + n) for a, n in zip(stored.start_zyx, stored.grid.shape_zyx, strict=True))
        voxels[box] = stored.read()
        return Scan(
            voxels_hu=voxels,
            grid=grid,
            acquisition=make_acquisition(saved.summary.acquisition),
            warnings=tuple(w for w in saved.summary.warnings if w.code != NOT_PLACED_CODE),
            source_order=saved.source_order,
        )
    except MiliaryError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{saved.name}: is a damaged result ({type(error).__name__}); give the original scan"
        ) from None
