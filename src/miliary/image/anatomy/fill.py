"""Fill beyond the field of view: constants that a reconstruction or a resampling left round the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.model.scan import Scan, ScanWarning

Mask = npt.NDArray[np.bool_]

# As the reader leaves padding, and the highest value that air itself can have all over.
OUTSIDE_HU, AIR_MAX_HU = -1024, -950
# Voxels along each edge of a corner that hold one value where it is fill, and the least share of a scan.
CORNER_VOXELS, MIN_SHARE = 6, 0.002


def replace_fill(scan: Scan) -> Scan:
    """A scan whose fill beyond the field of view is air.

    Rotating or resampling a scan leaves a constant, often 0 HU, where there was nothing; taken for tissue it
    closes the body round the air outside. Measured tissue is never constant.

    Parameters
    ----------
    scan : Scan
        Not modified.

    Returns
    -------
    Scan
        The scan itself where it has no such fill; else a copy with the fill, and the voxels next to it, at
        -1024 HU and the warning `fill_beyond_field`.
    """
    values = _find_fill_values(scan.voxels_hu)
    if not values:
        return scan
    voxels = scan.voxels_hu.copy()
    outside = 0
    for k, plane in enumerate(voxels):
        fill = _find_fill(plane, values)
        if fill.any():
            outside += int(np.count_nonzero(fill))
            # Interpolation mixed the outermost voxels of the picture with the fill.
            voxels[k][ndimage.binary_dilation(fill, iterations=2)] = OUTSIDE_HU
    share = outside / voxels.size
    if share < MIN_SHARE:
        return scan
    text = (
        f"{share:.0%} of the scan is a constant {' or '.join(f'{v:g}' for v in values)} HU beyond the field "
        "of view; it was taken as outside."
    )
    return replace(scan, voxels_hu=voxels, warnings=(*scan.warnings, ScanWarning("fill_beyond_field", text)))


def _find_fill_values(voxels: npt.NDArray[np.generic]) -> list[float]:
    """Constants, not those of air, that fill a corner of the volume or of its middle slice."""
    n = CORNER_VOXELS
    found = set()
    for k in {0, len(voxels) // 2, len(voxels) - 1}:
        plane = voxels[k]
        for rows in (slice(None, n), slice(-n, None)):
            for columns in (slice(None, n), slice(-n, None)):
                corner = plane[rows, columns]
                if corner.size == n * n and corner.min() == corner.max() and corner.max() > AIR_MAX_HU:
                    found.add(float(corner.max()))
    return sorted(found)


def _find_fill(plane: npt.NDArray[np.generic], values: list[float]) -> Mask:
    """Where one of the values reaches in from the edge of a slice."""
    constant: Mask = np.isin(plane, values)
    edge = (constant[0], constant[-1], constant[:, 0], constant[:, -1])
    if not any(line.any() for line in edge):
        return np.zeros_like(constant)
    labels, _ = ndimage.label(constant)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    # A lone voxel at the edge that happens to hold the value is none.
    sizes = np.bincount(labels.ravel())
    border = border[(border > 0) & (sizes[border] >= CORNER_VOXELS**2)]
    fill: Mask = np.isin(labels, border) if len(border) else np.zeros_like(constant)
    return fill
