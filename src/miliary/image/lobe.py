"""Lobe of a place in the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miliary.ct_result import Lungs
from miliary.scan import Scan
from miliary.vocabulary import Lobe


@dataclass(frozen=True)
class LobeEstimate:
    """The likeliest lobe where it is likely enough, else None with the reason; its probability."""

    lobe: Lobe | None
    confidence: float
    reason: str = ""


def estimate_lobes(
    scan: Scan, lungs: Lungs, points_lps_mm: Sequence[tuple[float, float, float]]
) -> list[LobeEstimate]:
    """Lobes of places; not told yet."""
    del scan, lungs
    return [LobeEstimate(None, 0.0, "fissures are not looked for") for _ in points_lps_mm]
