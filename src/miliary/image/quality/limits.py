"""Estimates that end at a limit: what stopped them is the limit, not the scan."""

from __future__ import annotations

from miliary.model.scan import ScanWarning

# The share is written with six digits; closer to a limit than this it lies on it.
NEARNESS = 1e-6


def warn_share(share: float, limits: tuple[float, float]) -> tuple[ScanWarning, ...]:
    """What is doubtful about the share of nodules among the candidates of a scan.

    Parameters
    ----------
    share : float
        Estimated share, 0 to 1.
    limits : tuple of float
        Least and greatest share that is estimated.

    Returns
    -------
    tuple of ScanWarning
        `share_at_limit` where the share lies at one of them.
    """
    low, high = limits
    if share >= high - NEARNESS:
        message = (
            f"The estimated share of nodules among the candidates lies at its upper limit of {high:g}: there "
            "are very many nodules, or the scan is unlike those of the training and most marks are false."
        )
    elif share <= low + NEARNESS:
        message = (
            f"The estimated share of nodules among the candidates lies at its lower limit of {low:g}: hardly "
            "any candidate looks like a nodule; faint nodules, if there are any, may be missing."
        )
    else:
        return ()
    return (ScanWarning("share_at_limit", message),)
