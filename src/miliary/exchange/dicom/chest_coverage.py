"""How much of a chest a series shows, from a few of its slices: the abdomen beside it shows none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.exchange.dicom.files import DicomFiles
from miliary.exchange.dicom.header import CtSlice
from miliary.exchange.dicom.pixels import read_pixels, volume_dtype

_N_SAMPLES = 20
_PIXEL_MM = 4.0
# Aerated lung; bowel gas and the air in airways are thinner than that but for their rims.
_LUNG_HU = (-960.0, -500.0)
_BODY_HU = -400.0
# Lungs take a fifth to a half of a slice through the chest, bowel a few hundredths of one through the belly.
_LEAST_SHARE = 0.08


def measure_chest_mm(files: DicomFiles, slices: Sequence[CtSlice], *, n_threads: int) -> float | None:
    """Length over which a series shows lung [mm].

    Parameters
    ----------
    files : DicomFiles
    slices : sequence of CtSlice
        Of one series, with positions and directions.
    n_threads : int

    Returns
    -------
    float or None
        `None` where the sampled slices cannot be read.
    """
    placed = [s for s in slices if s.position_lps_mm is not None and s.row_axis_lps and s.column_axis_lps]
    if len(placed) < 2 or any(s.spacing_mm is None or min(s.spacing_mm) <= 0.01 for s in placed):
        return None
    normal = np.cross(placed[0].row_axis_lps or (), placed[0].column_axis_lps or ())
    along = np.array([float(np.dot(s.position_lps_mm or (), normal)) for s in placed])
    order = np.argsort(along, kind="stable")
    length = float(along[order[-1]] - along[order[0]])
    if not np.isfinite(length) or length <= 0.0:
        return None
    wanted = along[order[0]] + length * (np.arange(_N_SAMPLES) + 0.5) / _N_SAMPLES
    chosen = [placed[order[int(np.abs(along[order] - place).argmin())]] for place in wanted]
    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        try:
            shares = list(pool.map(lambda one: _lung_share(files, one), chosen))
        except (ScanReadError, MemoryError):
            return None
    return length * float(np.mean([share >= _LEAST_SHARE for share in shares]))


def _lung_share(files: DicomFiles, one: CtSlice) -> float:
    """Share of the body's section that is aerated lung."""
    from scipy import ndimage

    plane: npt.NDArray[np.float32] = np.empty((1, *one.shape), dtype=volume_dtype([one]))
    read_pixels(files, [one], plane, n_threads=1)
    row_mm, column_mm = one.spacing_mm or (1.0, 1.0)
    steps = tuple(max(1, int(_PIXEL_MM / size)) for size in (row_mm, column_mm))
    image = np.asarray(plane[0, :: steps[0], :: steps[1]], dtype=np.float32)
    # Opened, so that table and blankets fall off; the largest piece is the trunk.
    dense = ndimage.binary_opening(image > _BODY_HU, iterations=1)
    labels, n = ndimage.label(dense)
    if n == 0:
        return 0.0
    trunk = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    body = ndimage.binary_fill_holes(trunk)
    lung = body & (image > _LUNG_HU[0]) & (image < _LUNG_HU[1])
    return float(np.count_nonzero(lung)) / max(int(np.count_nonzero(body)), 1)
