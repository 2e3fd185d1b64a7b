"""Estimates that end at a limit: what stopped them is the limit, not the scan."""

from __future__ import annotations

from miliary.image.quality.validated_range import NEARNESS
from miliary.model.scan import ScanWarning

# A faint nodule is one of -500 HU in lung of -850 HU; sizes are those of a solid one of +40 HU with the same
# excess attenuation, so that a diameter appears smaller by the cube root of the ratio of both.
FAINT_SHARE = (350.0 / 890.0) ** (1.0 / 3.0)
# The largest miliary nodule.
LARGEST_MILIARY_MM = 3.0


def warn_share(
    share: float, limits: tuple[float, float], *, diameter_50_mm: float | None = None
) -> tuple[ScanWarning, ...]:
    """What is doubtful about the share of nodules among the candidates of a scan.

    A share at its lower limit is that of every lung without nodules, and no finding. It is one only where
    faint nodules would not be seen if there were any, which the nodules put into this scan tell.

    Parameters
    ----------
    share : float
        Estimated share, 0 to 1.
    limits : tuple of float
        Least and greatest share that is estimated.
    diameter_50_mm : float, optional
        Solid-equivalent diameter [mm] of which half are found on this scan, where that was measured.

    Returns
    -------
    tuple of ScanWarning
        `share_at_limit` where the share lies at its upper limit, `faint_nodules_may_hide` where it lies at
        the lower one and half of the faint nodules of 3 mm would be missed.
    """
    low, high = limits
    if share >= high - NEARNESS:
        message = (
            f"The estimated share of nodules among the candidates lies at its upper limit of {high:g}: there "
            "are very many nodules, or the scan is unlike those of the training and most marks are false."
        )
        return (ScanWarning("share_at_limit", message),)
    if share > low + NEARNESS or diameter_50_mm is None:
        return ()
    faint_mm = diameter_50_mm / FAINT_SHARE
    if faint_mm <= LARGEST_MILIARY_MM:
        return ()
    message = (
        f"Hardly any candidate looks like a nodule, and of faint ones (-500 HU) half would be seen only from "
        f"{faint_mm:.1f} mm on: miliary nodules of that kind may be there unseen."
    )
    return (ScanWarning("faint_nodules_may_hide", message),)
