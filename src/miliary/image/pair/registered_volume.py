"""The follow-up resampled into the frame of the baseline, for looking at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from miliary.image.kernels.resample import resample_volume
from miliary.model.comparison import Exam
from miliary.model.scan import Grid
from miliary.model.transform import Transform

# No finer than this [mm]: it is for looking at.
REGISTERED_PITCH_MM = 1.0
_MARGIN_MM = 10.0


def bring_to_baseline(
    baseline: Exam, followup: Exam, transform: Transform
) -> tuple[npt.NDArray[np.int16], Grid]:
    """Resample the follow-up over the box of the baseline's lungs.

    Parameters
    ----------
    baseline, followup : Exam
    transform : Transform
        Baseline points to follow-up points.

    Returns
    -------
    voxels : ndarray of int16, shape (z, y, x)
        Attenuation [HU].
    grid : Grid
        In the frame of the baseline.
    """
    grid = baseline.scan.grid
    filled = [
        np.flatnonzero((baseline.lungs.labels > 0).any(axis=tuple(o for o in range(3) if o != axis)))
        for axis in range(3)
    ]
    margin = [round(_MARGIN_MM / step) for step in grid.spacing_zyx_mm]
    low = [max(int(f[0]) - m, 0) for f, m in zip(filled, margin, strict=True)]
    high = [min(int(f[-1]) + m + 1, n) for f, m, n in zip(filled, margin, grid.shape_zyx, strict=True)]
    cut = grid.crop(low, [b - a for a, b in zip(low, high, strict=True)])
    step = [max(REGISTERED_PITCH_MM, s) for s in cut.spacing_zyx_mm]
    shape = [
        max(1, int((n - 1) * s / t) + 1)
        for n, s, t in zip(cut.shape_zyx, cut.spacing_zyx_mm, step, strict=True)
    ]
    target = replace(
        cut, shape_zyx=(shape[0], shape[1], shape[2]), spacing_zyx_mm=(step[0], step[1], step[2])
    )
    volume = resample_volume(followup.scan.voxels_hu, followup.scan.grid, target, transform=transform)
    return np.clip(np.rint(volume), -32768, 32767).astype(np.int16), target
