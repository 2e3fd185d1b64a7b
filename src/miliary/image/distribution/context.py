"""Whether what lies around and between the marks of a scan fits nodules, and what it fits otherwise.

The limits (``weights/pattern.json``, `context`) lie above what simulated nodules of any pattern show. Above
them nothing is called random; where the marks are joined by strands and spare the pleura they are centered on
airways, where most lie in dense or destroyed lung they are other disease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from miliary.image.distribution.neighborhood import Neighborhood
from miliary.image.weights.card import PATTERN, read_card
from miliary.model.pattern import ContextMeasure, PatternLabel

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]

PATCH_MM = 25.0
# Patchiness by chance alone that is added to the limit, in standard deviations of random placements.
CHANCE_SD = 3.0

_MEANINGS = {
    "patchiness": "squared coefficient of variation of the density of nodules between cubes of 25 mm",
    "joined": "share of nodules from which a strand of soft tissue leads to another one",
    "joined_of_near": "the same, of those with another one within reach",
    "in_dense_lung": "share of nodules in denser lung",
    "beside_air": "share of nodules beside holes or cysts",
}


def measure_context(
    position_mm: F64,
    reference_mm: F64,
    placements: Sequence[I32],
    neighborhood: Neighborhood | None,
) -> tuple[ContextMeasure, ...]:
    """Measure what lies around and between the nodules of a scan.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        The nodules (z, y, x) [mm].
    reference_mm : ndarray, shape (m, 3)
        Points that random placements are drawn from [mm].
    placements : sequence of ndarray of int32
        Rows of the reference of each random placement.
    neighborhood : Neighborhood or None
        What lies around the nodules; left out when None.

    Returns
    -------
    tuple of ContextMeasure
    """
    limits: Mapping[str, float] = read_card().documents[PATTERN]["context"]
    value, by_chance = _measure_patchiness(position_mm, reference_mm, placements)
    measured = {"patchiness": value}
    if neighborhood is not None:
        joined = int(np.count_nonzero(neighborhood.is_joined))
        near = int(np.count_nonzero(neighborhood.has_partner))
        measured["joined"] = joined / max(1, len(neighborhood.is_joined))
        measured["joined_of_near"] = joined / max(1, near)
        measured["in_dense_lung"] = float(neighborhood.in_dense.mean())
        measured["beside_air"] = float(neighborhood.beside_air.mean())
    return tuple(
        ContextMeasure(
            name,
            _MEANINGS[name],
            found,
            float(limits[name]) + (by_chance if name == "patchiness" else 0.0),
        )
        for name, found in measured.items()
    )


def read_through(
    context: tuple[ContextMeasure, ...], label: PatternLabel, *, pleura_ratio: float
) -> tuple[PatternLabel, str] | None:
    """What the context makes of a label.

    Parameters
    ----------
    context : tuple of ContextMeasure
        From `measure_context`.
    label : PatternLabel
        The most probable pattern by contact and distance.
    pleura_ratio : float
        Share of nodules that touch the pleura over that of random placements.

    Returns
    -------
    PatternLabel and str, or None
        Another label and its reason; None where the context fits nodules.
    """
    limits: Mapping[str, float] = read_card().documents[PATTERN]["context"]
    value = {item.name: item.value for item in context}
    over = {item.name: item.value > item.limit for item in context}
    is_joined = over.get("joined", False) and over.get("joined_of_near", False)
    if is_joined and pleura_ratio < limits["spared_pleura"]:
        text = f"strands of soft tissue join {value['joined']:.0%} of the marks, and few touch the pleura"
        return PatternLabel.AIRWAY_CENTRED, f"{text}: as in disease of the airways, not as nodules"
    for name, words in (("in_dense_lung", "dense lung"), ("beside_air", "holes or cysts")):
        if over.get(name, False):
            text = f"{value[name]:.0%} of the marks lie in or beside {words}"
            if value[name] > limits["most"]:
                return PatternLabel.OTHER, f"{text}: as in disease of the lung itself, not as nodules"
            return PatternLabel.INDETERMINATE, f"{text}, so they may not be nodules"
    if label is not PatternLabel.PERILYMPHATIC and is_joined:
        text = f"strands of soft tissue join {value['joined']:.0%} of the marks"
        return PatternLabel.INDETERMINATE, f"{text}, more than of nodules spread at random"
    if label is PatternLabel.RANDOM and over["patchiness"]:
        text = f"the marks crowd in patches (variation {value['patchiness']:.2f})"
        return PatternLabel.INDETERMINATE, f"{text}, more than nodules spread at random"
    return None


def _measure_patchiness(
    position_mm: F64, reference_mm: F64, placements: Sequence[I32]
) -> tuple[float, float]:
    """Squared variation of the density between cubes beyond that of random placements, and its spread.

    The spread is `CHANCE_SD` standard deviations of the same over random placements.
    """
    low = reference_mm.min(axis=0)
    cell = ((reference_mm - low) / PATCH_MM).astype(np.int64)
    shape = cell.max(axis=0) + 1
    number = np.ravel_multi_index(tuple(cell.T), tuple(shape))
    n_cells = int(np.prod(shape))
    counts = np.stack([np.bincount(number[rows], minlength=n_cells) for rows in placements]).astype(
        np.float64
    )
    mine = np.clip(((position_mm - low) / PATCH_MM).astype(np.int64), 0, shape - 1)
    seen = np.bincount(np.ravel_multi_index(tuple(mine.T), tuple(shape)), minlength=n_cells)
    mean = counts.mean(axis=0)

    def excess(n: F64) -> F64:
        expected = mean * (n.sum(axis=-1, keepdims=True) / mean.sum())
        square = (n - expected) ** 2 - n
        return np.asarray(square.sum(axis=-1) / (expected**2).sum(axis=-1))

    null = excess(counts)
    value = float(excess(seen.astype(np.float64)[None])[0])
    return value - float(null.mean()), CHANCE_SD * float(null.std(ddof=1))
