"""`Extent` and `TrueSizes`: how much of the lungs holds nodules, and their sizes without measuring error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    """

    lung_fraction_involved: float | None
    ci95: Interval | None
    cell_mm: float
    n_cells: float
    false_per_litre: float
    counts: Mapping[str, int] = field(default_factory=dict)


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


def summarize_extent(extent: Extent | None) -> dict[str, Any]:
    """`extent` of ``scan.json``."""
    if extent is None or extent.lung_fraction_involved is None or extent.ci95 is None:
        reason = "the scan shows no lung" if extent is not None else "the extent was not measured"
        missing: dict[str, Any] = dict.fromkeys(("lung_fraction_involved", "lung_fraction_involved_ci95"))
        return {**missing, **{f"{name}_reason": reason for name in missing}, **_summarize_cells(extent)}
    return {
        "lung_fraction_involved": round(extent.lung_fraction_involved, 4),
        "lung_fraction_involved_ci95": [round(limit, 4) for limit in extent.ci95],
        **_summarize_cells(extent),
    }


def _summarize_cells(extent: Extent | None) -> dict[str, Any]:
    if extent is None:
        return {"cell_mm": None, "n_cells": 0, "false_per_litre": None, "by_third": {}}
    return {
        "cell_mm": extent.cell_mm,
        "n_cells": round(extent.n_cells, 1),
        "false_per_litre": round(extent.false_per_litre, 4),
        "by_third": dict(extent.counts),
    }


def summarize_true_sizes(sizes: TrueSizes | None) -> dict[str, Any]:
    """`true_sizes` of ``scan.json``."""
    if sizes is None or sizes.p90_mm is None or sizes.p90_ci95_mm is None or sizes.median_mm is None:
        reason = sizes.reason if sizes is not None else "the sizes were not looked at"
        missing: dict[str, Any] = dict.fromkeys(("median_mm", "p90_mm", "p90_ci95_mm"))
        n = 0 if sizes is None else sizes.n
        return {"n": n, **missing, **{f"{name}_reason": reason for name in missing}}
    return {
        "n": sizes.n,
        "median_mm": round(sizes.median_mm, 3),
        "p90_mm": round(sizes.p90_mm, 3),
        "p90_ci95_mm": [round(limit, 3) for limit in sizes.p90_ci95_mm],
    }
