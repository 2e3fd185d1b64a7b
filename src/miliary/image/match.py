"""Pairing of points: reported nodules with known ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from miliary.nodules import Attenuation, Nodules

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

REACH_MM = 1.5
UNMATCHED = -1


def match_points(marks_mm: FloatArray, truth_mm: FloatArray, *, reach_mm: FloatArray) -> IntArray:
    """Pair marks with truth one-to-one: most pairs first, then least total distance.

    Parameters
    ----------
    marks_mm : ndarray, shape (n, 3)
    truth_mm : ndarray, shape (m, 3)
    reach_mm : ndarray, shape (m,)
        Largest distance of a mark that counts for each truth.

    Returns
    -------
    ndarray of int64, shape (n,)
        Index of the truth of each mark, `UNMATCHED` where it has none.
    """
    truth_of_mark = np.full(len(marks_mm), UNMATCHED, dtype=np.int64)
    mark, truth, distance = _pairs_within_reach(marks_mm, truth_mm, reach_mm)
    if not len(mark):
        return truth_of_mark
    # Pairs fall apart into many tiny groups, so the cubic assignment is solved group by group.
    n_nodes = len(marks_mm) + len(truth_mm)
    graph = coo_array((np.ones(len(mark)), (mark, len(marks_mm) + truth)), shape=(n_nodes, n_nodes))
    group = connected_components(graph, directed=False)[1][mark]
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(rows) == 1:
            truth_of_mark[mark[rows]] = truth[rows]
        else:
            _assign_group(truth_of_mark, mark[rows], truth[rows], distance[rows])
    return truth_of_mark


def is_within_reach(
    marks_mm: FloatArray, truth_mm: FloatArray, *, reach_mm: FloatArray
) -> npt.NDArray[np.bool_]:
    """Which marks lie within reach of any truth, paired or not; arguments as of `match_points`."""
    is_near = np.zeros(len(marks_mm), dtype=bool)
    is_near[_pairs_within_reach(marks_mm, truth_mm, reach_mm)[0]] = True
    return is_near


@dataclass(frozen=True)
class Agreement:
    """How reported nodules agree with known ones.

    Parameters
    ----------
    n_true, n_hits, n_false : int
        Known nodules, those found, and marks on nothing that is known. Calcified nodules and the
        dominant lesion are neither: a mark on one is no hit and not false.
    volume_true_mm3, volume_reported_mm3 : float
        Total volume of the known nodules, and of all reported ones that are not calcified and do not
        lie on the dominant lesion.
    diameter_error_mm : float
        Median absolute difference of reported and true diameter over the hits; NaN without any.
    """

    n_true: int
    n_hits: int
    n_false: int
    volume_true_mm3: float
    volume_reported_mm3: float
    diameter_error_mm: float


def compare_with_truth(nodules: Nodules, truth: Mapping[str, npt.NDArray[Any]]) -> Agreement:
    """Compare reported nodules with the truth of a simulated scan.

    Parameters
    ----------
    nodules : Nodules
        Every row is compared.
    truth : mapping of str to ndarray
        Truth of a simulated scan, with the column ``kind``.
    """
    is_nodule = truth["kind"] == "nodule"
    points = np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)
    radius = np.asarray(truth["diameter_mm"], dtype=np.float64) / 2.0
    marks = nodules.position_lps_mm
    reach = np.maximum(REACH_MM, radius)
    hit = match_points(marks, points[is_nodule], reach_mm=reach[is_nodule])
    on_other = is_within_reach(marks, points[~is_nodule], reach_mm=reach[~is_nodule])
    is_lesion = truth["kind"] == "lesion"
    on_lesion = is_within_reach(marks, points[is_lesion], reach_mm=reach[is_lesion])
    is_hit = hit != UNMATCHED
    is_burden = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & (is_hit | ~on_lesion)
    off = nodules["diameter_mm"][is_hit] - truth["diameter_mm"][is_nodule][hit[is_hit]]
    return Agreement(
        n_true=int(is_nodule.sum()),
        n_hits=int(is_hit.sum()),
        n_false=int((~is_hit & ~on_other).sum()),
        volume_true_mm3=float(truth["volume_mm3"][is_nodule].sum()),
        volume_reported_mm3=float(np.nansum(nodules["volume_mm3"][is_burden])),
        diameter_error_mm=float(np.nanmedian(np.abs(off))) if len(off) else float("nan"),
    )


def _pairs_within_reach(
    marks_mm: FloatArray, truth_mm: FloatArray, reach_mm: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    if not len(marks_mm) or not len(truth_mm):
        none = np.empty(0, dtype=np.int64)
        return none, none, np.empty(0)
    near = cKDTree(marks_mm).query_ball_point(truth_mm, reach_mm + 1e-9)
    mark = np.array([index for found in near for index in found], dtype=np.int64)
    truth = np.repeat(np.arange(len(truth_mm)), [len(found) for found in near])
    distance = np.linalg.norm(marks_mm[mark] - truth_mm[truth], axis=1)
    return mark, truth, distance


def _assign_group(truth_of_mark: IntArray, mark: IntArray, truth: IntArray, distance: FloatArray) -> None:
    marks, row = np.unique(mark, return_inverse=True)
    truths, column = np.unique(truth, return_inverse=True)
    # A pair earns more than any sum of distances can cost, so the number of pairs comes first.
    prize = 1.0 + float(distance.max()) * (min(len(marks), len(truths)) + 1)
    cost = np.zeros((len(marks), len(truths)))
    cost[row, column] = distance - prize
    for i, j in zip(*linear_sum_assignment(cost), strict=True):
        if cost[i, j] < 0:
            truth_of_mark[marks[i]] = truths[j]
