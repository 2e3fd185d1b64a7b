"""The smallest change of one nodule that a pair of scans could have shown, from the errors of its volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miliary.image.pair.zone_matching import MatchingLimits
from miliary.model.comparison import SmallestChange
from miliary.model.nodules import Nodules

DIAMETERS_MM = (1.5, 2.0, 3.0, 4.0)
_BAND = 0.15
_LEAST_NODULES = 5


def find_smallest_changes(scans: Sequence[Nodules], limits: MatchingLimits) -> tuple[SmallestChange, ...]:
    """Change in volume from which a nodule of a size is called grown or shrunk.

    Parameters
    ----------
    scans : sequence of Nodules
        What was reported on each of the two scans.
    limits : MatchingLimits
        Errors and fraction that a change must exceed.

    Returns
    -------
    tuple of SmallestChange
        For each of `DIAMETERS_MM` of which either scan holds at least five nodules (within 15 %); where one
        scan holds fewer, its errors are taken to be those of the other. Empty where neither holds enough.
    """
    found = []
    for diameter in DIAMETERS_MM:
        errors = [_find_error(nodules, diameter) for nodules in scans]
        known = [error for error in errors if error is not None]
        if not known:
            continue
        first, second = (max(known) if error is None else error for error in errors)
        spread = limits.min_sigmas * float(np.hypot(first, second))
        # The error of a ratio grows with it: (1 + change) times the relative errors of both volumes.
        growth = spread / (1.0 - spread) if spread < 1.0 else float("inf")
        found.append(
            SmallestChange(
                diameter_mm=diameter,
                growth=max(growth, limits.min_volume_change),
                shrinkage=max(spread / (1.0 + spread), limits.min_volume_change),
            )
        )
    return tuple(found)


def _find_error(nodules: Nodules, diameter_mm: float) -> float | None:
    """Median error of the volume, as a share of it, of the nodules of about a diameter; None with too few."""
    volume = nodules["volume_mm3"]
    is_near = np.abs(nodules["diameter_mm"] - diameter_mm) <= _BAND * diameter_mm
    error = (nodules["volume_mm3_err"] / volume)[is_near & (volume > 0)]
    error = error[np.isfinite(error)]
    return float(np.median(error)) if len(error) >= _LEAST_NODULES else None
