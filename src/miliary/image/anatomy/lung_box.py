"""The part of a scan that holds the lungs, as float32 voxels with their lung labels.

Everything that searches or measures nodules works on this box instead of the whole scan. Positions in the box
are (z, y, x), either as fractional voxel indices or in millimeters from the center of its first voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.model.ct_result import Lungs
from miliary.model.scan import Scan

F32 = npt.NDArray[np.float32]

# Wide enough for the features of a nodule on the pleura, which sample up to 8.5 mm from its center.
MARGIN_MM = 12.0
# Metal and air outside the patient would only stretch the range of the filters.
LIMITS_HU = (-1024.0, 1500.0)


@dataclass(frozen=True)
class LungBox:
    """The part of a scan that holds the lungs.

    Parameters
    ----------
    voxels_hu : ndarray of float32, shape (z, y, x)
        Attenuation in the box, limited to -1024..1500 [HU].
    labels : ndarray of uint8, shape (z, y, x)
        Lung labels in the box: 0 outside the lungs, 1 right lung, 2 left lung.
    start_zyx : tuple of int
        Index in the scan of the first voxel of the box.
    spacing_zyx_mm : tuple of float
        Distance between voxel centers along each axis [mm].
    """

    voxels_hu: F32
    labels: npt.NDArray[np.uint8]
    start_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]

    @property
    def lung_litres(self) -> float:
        """Volume of the labeled lungs [L]."""
        voxel_mm3 = float(np.prod(self.spacing_zyx_mm))
        return float(np.count_nonzero(self.labels)) * voxel_mm3 / 1e6


def crop_to_lungs(scan: Scan, lungs: Lungs) -> LungBox:
    """Crop a scan to the bounding box of its lungs and a margin of 12 mm.

    Parameters
    ----------
    scan : Scan
        The whole scan; not modified.
    lungs : Lungs
        Lung labels on the grid of the scan.

    Returns
    -------
    LungBox
        A copy of the voxels as float32. The margin is cut off where the scan ends.

    Raises
    ------
    ValueError
        The labels hold no lung.
    """
    spacing = scan.grid.spacing_zyx_mm
    boxes = ndimage.find_objects((lungs.labels > 0).view(np.uint8))
    if not boxes:
        raise ValueError("lungs.labels holds no lung")
    view = tuple(
        slice(max(0, s.start - round(MARGIN_MM / d)), min(n, s.stop + round(MARGIN_MM / d)))
        for s, d, n in zip(boxes[0], spacing, lungs.labels.shape, strict=True)
    )
    voxels = np.ascontiguousarray(scan.voxels_hu[view], dtype=np.float32)
    np.clip(voxels, *LIMITS_HU, out=voxels)
    start = (view[0].start, view[1].start, view[2].start)
    return LungBox(voxels, np.ascontiguousarray(lungs.labels[view]), start, spacing)
