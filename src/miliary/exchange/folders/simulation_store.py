"""The folder that `miliary simulate` writes: a simulated scan with its truth, complete or not there at all.

::

    DIR/simulation.json        what the scan was made from
    DIR/truth.csv              one row per simulated nodule
    DIR/truth_lungs.nii.gz     1 right, 2 left
    DIR/volume.nii.gz          the scan, or `dicom/` with one file per slice
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.exchange.folders.atomic_folder import writing
from miliary.exchange.folders.ct_store import write_json
from miliary.exchange.folders.kinds import SIMULATION_KIND
from miliary.exchange.folders.tables import write_nodules_csv
from miliary.model.nodules import COLUMN_NAMES, Nodules
from miliary.model.scan import Scan


def write_simulation(
    scan: Scan,
    truth: Mapping[str, npt.NDArray[Any]],
    lung_labels: npt.NDArray[np.uint8],
    folder: str | Path,
    *,
    parameters: Mapping[str, Any],
    seed: int,
    as_dicom: bool = False,
) -> None:
    """Write a simulated scan with its truth, whole or not at all.

    Parameters
    ----------
    scan : Scan
    truth : mapping of str to ndarray
        The columns of `COLUMNS`, then any further ones.
    lung_labels : ndarray of uint8, shape (z, y, x) of the scan
    folder : path
        New, empty, or an earlier simulation, which is replaced at the end.
    parameters : mapping
        What the scan was made from; plain JSON values.
    seed : int
    as_dicom : bool
        A folder ``dicom`` with one file per slice in place of ``volume.nii.gz``.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    from miliary.exchange.dicom.write_ct import write_dicom_series
    from miliary.exchange.volumes.volume_file import write_label_volume, write_volume

    with writing(folder, kind=SIMULATION_KIND) as draft:
        about = {"schema_version": "1.0", "kind": SIMULATION_KIND, "origin": "simulated", "seed": seed}
        write_json({**about, "parameters": dict(parameters)}, draft / "simulation.json")
        nodules = Nodules({name: truth[name] for name in COLUMN_NAMES})
        extra = {name: values for name, values in truth.items() if name not in COLUMN_NAMES}
        write_nodules_csv(nodules, draft / "truth.csv", extra=extra)
        write_label_volume(draft / "truth_lungs.nii.gz", lung_labels, scan.grid, scan.source_order)
        if as_dicom:
            write_dicom_series(
                draft / "dicom", scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=seed
            )
        else:
            write_volume(draft / "volume.nii.gz", scan.voxels_hu, scan.grid)
