"""Evidence for a spatial pattern: effect sizes, gradients and curves against random placements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from miliary.image.anatomy.surroundings import REACH_MM
from miliary.image.distribution.locations import ZONES, Locations
from miliary.model.pattern import Curve, Evidence

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

PAIR_EDGES_MM = np.array([2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0])
CLOSE_BINS, WIDE_BINS = slice(1, 4), slice(4, 7)
MEASURES = (*ZONES[:-1], "close_pairs", "wide_pairs", "nearest_neighbor")
_MEANINGS = {
    "pleura_contact": "share of nodules that touch the pleura",
    "pleura_rim": "share of nodules 1 to 2.5 mm off the pleura",
    "fissure_contact": "share of nodules farther in that touch a visible fissure",
    "vessel_contact": "share of the other nodules that touch a visible vessel",
    "vessel_near": "share of the other nodules 1 to 3 mm from a visible vessel",
    "close_pairs": "pairs of nodules 3 to 6 mm apart (pair correlation)",
    "wide_pairs": "pairs of nodules 6 to 12 mm apart (pair correlation)",
    "nearest_neighbor": "mean distance to the nearest other nodule (Clark-Evans)",
}
_UNITS = {"close_pairs": "pairs", "wide_pairs": "pairs", "nearest_neighbor": "mm"}


@dataclass(frozen=True)
class Counts:
    """Counts over k sets of points.

    Parameters
    ----------
    size : ndarray of float64, shape (k,)
        Number of points.
    zone : ndarray of float64, shape (k, zones)
        Number of points per zone.
    pairs : ndarray of float64, shape (k, bins)
        Number of pairs by distance, bins bounded by `PAIR_EDGES_MM`.
    nearest_mm : ndarray of float64, shape (k,)
        Mean distance to the nearest other point [mm].
    """

    size: F64
    zone: F64
    pairs: F64
    nearest_mm: F64

    def log_measures(self) -> F64:
        """Logarithm of each of `MEASURES`, shape (k, measures); half a point is added to every count."""
        inner = self.size - self.zone[:, 0] - self.zone[:, 1]
        other = inner - self.zone[:, 2]
        n_pairs = 0.5 * self.size * (self.size - 1)
        columns = [
            (self.zone[:, 0] + 0.5) / (self.size + 1),
            (self.zone[:, 1] + 0.5) / (self.size + 1),
            (self.zone[:, 2] + 0.5) / (inner + 1),
            (self.zone[:, 3] + 0.5) / (other + 1),
            (self.zone[:, 4] + 0.5) / (other + 1),
            (self.pairs[:, CLOSE_BINS].sum(axis=1) + 0.5) / n_pairs,
            (self.pairs[:, WIDE_BINS].sum(axis=1) + 0.5) / n_pairs,
            self.nearest_mm,
        ]
        return np.log(np.stack(columns, axis=1))


@dataclass(frozen=True)
class CountedSets:
    """Sets of points with their counts.

    Parameters
    ----------
    counts : Counts
        Counts over k sets.
    nearest_mm : ndarray of float64, shape (k, m)
        Distance of each point to its nearest neighbor [mm], NaN after the last point of a set.
    draws : ndarray of int32, shape (k, m)
        Rows of the points of each set, followed by -1.
    sizes : ndarray of int64, shape (k,)
        Number of points of each set.
    """

    counts: Counts
    nearest_mm: F64
    draws: I32
    sizes: I64


def list_evidence(observed: F64, null: F64, counts: Counts) -> tuple[Evidence, ...]:
    """Effect size of each of `MEASURES`, with its 95 % interval and two-sided Monte-Carlo p value.

    Parameters
    ----------
    observed : ndarray, shape (measures,)
        Logarithms of the measures of the nodules.
    null : ndarray, shape (k, measures)
        The same of k random placements.
    counts : Counts
        Counts of the nodules, one set.

    Returns
    -------
    tuple of Evidence
        One per measure, in their order.
    """
    center, sd = null.mean(axis=0), null.std(axis=0, ddof=1)
    out = []
    n_pairs = 0.5 * float(counts.size[0] * (counts.size[0] - 1))
    for k, name in enumerate(MEASURES):
        difference = float(observed[k] - center[k])
        low, high = np.quantile(null[:, k], [0.025, 0.975]) - center[k]
        below = np.count_nonzero(null[:, k] <= observed[k])
        above = np.count_nonzero(null[:, k] >= observed[k])
        scale = n_pairs if name.endswith("pairs") else 1.0
        out.append(
            Evidence(
                name=name,
                meaning=_MEANINGS[name],
                unit=_UNITS.get(name, ""),
                value=scale * float(np.exp(observed[k])),
                expected=scale * float(np.exp(center[k])),
                ratio=float(np.exp(difference)),
                ratio_low=float(np.exp(difference - max(high, 1.96 * float(sd[k])))),
                ratio_high=float(np.exp(difference - min(low, -1.96 * float(sd[k])))),
                p_value=min(1.0, 2 * (min(below, above) + 1) / (len(null) + 1)),
            )
        )
    return tuple(out)


def list_gradients(nodules: Locations, reference: Locations, chance: F64) -> tuple[Evidence, ...]:
    """Density ratios between parts of the lungs, relative to random nodules without gradient.

    Parameters
    ----------
    nodules, reference : Locations
        The nodules, and uniform points of the lungs.
    chance : ndarray, shape (len(reference),)
        Relative probability of detection at the reference points.

    Returns
    -------
    tuple of Evidence
        Four ratios; NaN where a part is hardly in the field of view.
    """
    height = reference.position_mm[:, 0]
    low, high = np.quantile(height, [0.0, 1.0])
    thirds = low + (high - low) * np.array([1 / 3, 2 / 3])
    outer = float(np.median(reference.deep_mm))
    middle = float(np.median(reference.position_mm[:, 1]))
    parts: tuple[tuple[str, str, Callable[[Locations], tuple[Any, Any]]], ...] = (
        (
            "upper_to_lower",
            "density in the upper third over that in the lower third of the lungs' height",
            lambda p: (p.position_mm[:, 0] > thirds[1], p.position_mm[:, 0] <= thirds[0]),
        ),
        (
            "left_to_right",
            "density in the left lung over that in the right",
            lambda p: (p.side == 2, p.side == 1),
        ),
        (
            "outer_to_inner",
            "density in the outer half over that in the inner half of the lungs by depth",
            lambda p: (p.deep_mm <= outer, p.deep_mm > outer),
        ),
        (
            "back_to_front",
            "density in the back half over that in the front half of the lungs",
            lambda p: (p.position_mm[:, 1] > middle, p.position_mm[:, 1] <= middle),
        ),
    )
    return tuple(
        _compare_parts(name, text, part(nodules), part(reference), chance) for name, text, part in parts
    )


def _compare_parts(
    name: str, meaning: str, nodule: tuple[Any, Any], reference: tuple[Any, Any], chance: F64
) -> Evidence:
    n_a, n_b = (float(np.count_nonzero(part)) for part in nodule)
    v_a, v_b = (float(chance[part].sum()) for part in reference)
    if v_a < 50 * chance.mean() or v_b < 50 * chance.mean():
        nan = np.nan
        return Evidence(name, meaning, "", nan, 1.0, nan, nan, nan, nan)
    ratio = (n_a + 0.5) / (n_b + 0.5) * v_b / v_a
    err = float(np.sqrt(1 / (n_a + 0.5) + 1 / (n_b + 0.5) + chance.mean() * (1 / v_a + 1 / v_b)))
    p_value = float(2 * ndtr(-abs(np.log(ratio)) / err))
    return Evidence(
        name,
        meaning,
        "",
        ratio,
        1.0,
        ratio,
        ratio * float(np.exp(-1.96 * err)),
        ratio * float(np.exp(1.96 * err)),
        p_value,
    )


def list_curves(
    nodules: Locations, reference: Locations, observed: CountedSets, null: CountedSets
) -> tuple[Curve, ...]:
    """Curves for the figure: shares by distance, pair correlation and nearest neighbors.

    Parameters
    ----------
    nodules, reference : Locations
        The nodules, and the points that random placements are drawn from.
    observed, null : CountedSets
        Counts of the nodules and of the random placements.

    Returns
    -------
    tuple of Curve
    """
    gap_edges = np.arange(0.0, 11.0)
    near_edges = np.linspace(0.0, 2.5 * float(np.nanmedian(observed.nearest_mm)), 13)
    pair_middle = 0.5 * (PAIR_EDGES_MM[1:] + PAIR_EDGES_MM[:-1])
    pairs = null.counts.pairs / (null.counts.size * (null.counts.size - 1))[:, None]
    seen = observed.counts.pairs / (observed.counts.size * (observed.counts.size - 1))[:, None]
    mean = np.maximum(pairs.mean(axis=0), 1e-12)
    nearest = [_histogram(values[np.isfinite(values)], near_edges) for values in null.nearest_mm]
    return (
        _compare_gaps("gap to the pleura", gap_edges, "depth_mm", nodules, reference, null),
        _compare_gaps(
            "gap to the nearest visible fissure", gap_edges[:6], "fissure_mm", nodules, reference, null
        ),
        _compare_gaps("gap to the nearest visible vessel", gap_edges, "vessel_mm", nodules, reference, null),
        _make_curve(
            "pair correlation", "distance between two nodules [mm]", pair_middle, seen[0] / mean, pairs / mean
        ),
        _make_curve(
            "distance to the nearest nodule",
            "distance [mm]",
            0.5 * (near_edges[1:] + near_edges[:-1]),
            _histogram(observed.nearest_mm[0], near_edges),
            np.stack(nearest),
        ),
    )


def _compare_gaps(
    name: str, edges: F64, field: str, nodules: Locations, reference: Locations, null: CountedSets
) -> Curve:
    """Shares of nodules by the gap between their surface and a structure."""
    gap = _gap(reference, field)
    bin_ = np.minimum(np.digitize(gap, edges) - 1, len(edges) - 1)
    rows = [row[row >= 0] for row in null.draws]
    n = len(edges)
    shares = np.stack([np.bincount(bin_[row], minlength=n)[: n - 1] for row in rows]).astype(np.float64)
    shares /= np.maximum(null.counts.size, 1.0)[:, None]
    seen = _gap(nodules, field)
    return _make_curve(name, "gap [mm]", 0.5 * (edges[1:] + edges[:-1]), _histogram(seen, edges), shares)


def _gap(points: Locations, field: str) -> F64:
    """Gap from the surface of a nodule [mm]; infinite beyond the reach of the search."""
    distance = getattr(points, field)
    return np.asarray(np.where(distance < REACH_MM, np.maximum(distance - points.radius_mm, 0.0), np.inf))


def _histogram(values: F64, edges: F64) -> F64:
    counts, _ = np.histogram(values, bins=edges)
    return np.asarray(counts / max(1, len(values)), dtype=np.float64)


def _make_curve(name: str, x_label: str, x: F64, observed: F64, null: F64) -> Curve:
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    parts = (x, observed, null.mean(axis=0), low, high)
    return Curve(name, x_label, *(tuple(float(value) for value in part) for part in parts))
