"""`Extent` and `TrueSizes`: how much of the lungs holds nodules, and their sizes without measuring error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Interval = tuple[float, float]


@dataclass(frozen=True)
class Extent:
    """Share of the lungs that is involved.

    Parameters
    ----------
    lung_fraction_involved : float or None
        Share of the volume of both lungs that lies in cells of `cell_mm` with at least one nodule, less
        what false marks make of lung that holds none. None where there is no lung.
    ci95 : (low, high) or None
        From the number of cells; neighboring cells are taken as independent.
    cell_mm : float
        Side of a cube, about that of a secondary lobule.
    n_cells : int
        Whole cells that the lungs fill.
    false_per_litre : float
        Rate of false marks that was allowed for.
    counts : mapping of str to int
        Nodules of each lung third, as in ``right.upper``.
    reason : str
        Why there is no share; empty where there is one.
    """

    lung_fraction_involved: float | None
    ci95: Interval | None
    cell_mm: float
    n_cells: float
    false_per_litre: float
    counts: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    def withhold(self, reason: str) -> Extent:
        """The same without a share, where the marks of the scan cannot be counted."""
        return replace(self, lung_fraction_involved=None, ci95=None, reason=reason)


@dataclass(frozen=True)
class TrueSizes:
    """Median and 90th percentile of the diameters [mm] after their measuring error is taken out.

    All None, with `reason`, where there are too few nodules.
    """

    n: int
    median_mm: float | None = None
    p90_mm: float | None = None
    p90_ci95_mm: Interval | None = None
    reason: str = ""
