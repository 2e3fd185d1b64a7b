"""Pair reported nodules with known ones, and with those of another scan."""

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

from miliary.model.nodules import Attenuation, Nodules

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

REACH_MM = 1.5
UNMATCHED = -1

_LARGEST_ERROR_MM, _SMALLEST_ERROR_MM = 2.0, 0.15
_REACH_SIGMAS = 4.0
_N_ROUNDS = 12
_N_NEIGHBORS = 8
_SIZE_FACTOR_LIMIT = 20.0


def match_points(reported_mm: FloatArray, truth_mm: FloatArray, *, reach_mm: FloatArray) -> IntArray:
    """Pair reported with true points one-to-one: most pairs first, then smallest total distance.

    Parameters
    ----------
    reported_mm : ndarray, shape (n, 3)
        Reported points [mm].
    truth_mm : ndarray, shape (m, 3)
        True points [mm].
    reach_mm : ndarray, shape (m,)
        Largest distance of a pair, for each true point [mm].

    Returns
    -------
    ndarray of int64, shape (n,)
        Row of the true point paired with each reported one, `UNMATCHED` where there is none.
    """
    truth_of_reported = np.full(len(reported_mm), UNMATCHED, dtype=np.int64)
    reported, truth, distance = _pairs_within_reach(reported_mm, truth_mm, reach_mm)
    if not len(reported):
        return truth_of_reported
    # Pairs form many tiny connected groups; the assignment, cubic in size, is solved for each.
    n_nodes = len(reported_mm) + len(truth_mm)
    graph = coo_array(
        (np.ones(len(reported)), (reported, len(reported_mm) + truth)), shape=(n_nodes, n_nodes)
    )
    group = connected_components(graph, directed=False)[1][reported]
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(rows) == 1:
            truth_of_reported[reported[rows]] = truth[rows]
        else:
            _assign_group(truth_of_reported, reported[rows], truth[rows], distance[rows])
    return truth_of_reported


def is_within_reach(
    reported_mm: FloatArray, truth_mm: FloatArray, *, reach_mm: FloatArray
) -> npt.NDArray[np.bool_]:
    """Which reported points lie within reach of any true point, paired or not.

    Parameters
    ----------
    reported_mm : ndarray, shape (n, 3)
        Reported points [mm].
    truth_mm : ndarray, shape (m, 3)
        True points [mm].
    reach_mm : ndarray, shape (m,)
        Largest distance, for each true point [mm].

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    is_near = np.zeros(len(reported_mm), dtype=bool)
    is_near[_pairs_within_reach(reported_mm, truth_mm, reach_mm)[0]] = True
    return is_near


@dataclass(frozen=True)
class Agreement:
    """How reported nodules agree with known ones.

    Parameters
    ----------
    n_true, n_hits, n_false : int
        Number of known nodules, of those found, and of false positives. Calcified nodules and the dominant
        lesion are not counted: a detection on one is neither a hit nor false.
    volume_true_mm3, volume_reported_mm3 : float
        Total volume of the known nodules, and of all reported ones that are not calcified and not on the
        dominant lesion [mm3].
    diameter_error_mm : float
        Median absolute difference of reported and true diameter over the hits [mm]; NaN without any.
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
        All reported nodules.
    truth : mapping of str to ndarray
        Truth table of a simulated scan, with the columns of `Nodules` and ``kind``.

    Returns
    -------
    Agreement
    """
    is_nodule = truth["kind"] == "nodule"
    points = np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)
    radius = np.asarray(truth["diameter_mm"], dtype=np.float64) / 2.0
    reported_rows = nodules.position_lps_mm
    reach = np.maximum(REACH_MM, radius)
    hit = match_points(reported_rows, points[is_nodule], reach_mm=reach[is_nodule])
    on_other = is_within_reach(reported_rows, points[~is_nodule], reach_mm=reach[~is_nodule])
    is_lesion = truth["kind"] == "lesion"
    on_lesion = is_within_reach(reported_rows, points[is_lesion], reach_mm=reach[is_lesion])
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
    reported_mm: FloatArray, truth_mm: FloatArray, reach_mm: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """All pairs within reach: rows of both points, and their distance [mm]."""
    if not len(reported_mm) or not len(truth_mm):
        none = np.empty(0, dtype=np.int64)
        return none, none, np.empty(0)
    near = cKDTree(reported_mm).query_ball_point(truth_mm, reach_mm + 1e-9)
    reported = np.array([index for found in near for index in found], dtype=np.int64)
    truth = np.repeat(np.arange(len(truth_mm)), [len(found) for found in near])
    distance = np.linalg.norm(reported_mm[reported] - truth_mm[truth], axis=1)
    return reported, truth, distance


def _assign_group(
    truth_of_reported: IntArray, reported: IntArray, truth: IntArray, distance: FloatArray
) -> None:
    """Solve the assignment of one connected group of pairs, into `truth_of_reported`."""
    reported_rows, row = np.unique(reported, return_inverse=True)
    truths, column = np.unique(truth, return_inverse=True)
    # The reward of a pair exceeds any possible sum of distances, so the number of pairs comes first.
    prize = 1.0 + float(distance.max()) * (min(len(reported_rows), len(truths)) + 1)
    cost = np.zeros((len(reported_rows), len(truths)))
    cost[row, column] = distance - prize
    for i, j in zip(*linear_sum_assignment(cost), strict=True):
        if cost[i, j] < 0:
            truth_of_reported[reported_rows[i]] = truths[j]


@dataclass(frozen=True)
class Matching:
    """Nodules of one scan paired with those of another.

    Parameters
    ----------
    partner : ndarray of int64, shape (n,)
        Row of the partner on the other scan, `UNMATCHED` where there is none.
    probability : ndarray of float64, shape (n,)
        Probability that the pairing, or its absence, is right, 0 to 1.
    error_mm : float
        One-sigma distance of true pairs per axis, estimated from the pairs [mm]; NaN without any.
    share_found : float
        Estimated share of the nodules that have a partner, 0 to 1.
    """

    partner: IntArray
    probability: FloatArray
    error_mm: float
    share_found: float


def match_nodules(
    mapped_mm: FloatArray,
    others_mm: FloatArray,
    *,
    volume_mm3: FloatArray,
    other_volume_mm3: FloatArray,
    lung_mm3: float,
    error_mm: float = 1.0,
    min_probability: float = 0.5,
) -> Matching:
    """Pair nodules with those of another scan, one-to-one, by probability.

    For each pair within reach, the likelihood of its distance under the error of registration (estimated from
    the pairs by expectation-maximization) and of its change in volume is compared with that of an unrelated
    nodule, by the local density of nodules. A nodule may have no partner.

    Parameters
    ----------
    mapped_mm : ndarray, shape (n, 3)
        Nodules of one scan, mapped to the other scan [mm].
    others_mm : ndarray, shape (m, 3)
        Nodules of the other scan [mm].
    volume_mm3, other_volume_mm3 : ndarray, shapes (n,) and (m,)
        Volumes [mm3]; NaN where not measured.
    lung_mm3 : float
        Volume of the lung that they lie in [mm3].
    error_mm : float
        First estimate of the one-sigma error of registration per axis [mm].
    min_probability : float
        Lowest probability of a pair that is returned, 0 to 1.

    Returns
    -------
    Matching
    """
    n = len(mapped_mm)
    unmatched = Matching(np.full(n, UNMATCHED, dtype=np.int64), np.ones(n), float("nan"), 0.0)
    if not n or not len(others_mm):
        return unmatched
    density = _local_density(others_mm, lung_mm3)
    row, other, distance = _pairs_within_reach(
        mapped_mm, others_mm, np.full(len(others_mm), _REACH_SIGMAS * _LARGEST_ERROR_MM)
    )
    if not len(row):
        return unmatched
    change = _log_change(volume_mm3[row], other_volume_mm3[other])
    sigma, found = float(np.clip(error_mm, _SMALLEST_ERROR_MM, _LARGEST_ERROR_MM)), 0.7
    change_model = (0.0, 0.6)
    odds = chance = np.zeros(len(row))
    size_of_others = _log_distribution(other_volume_mm3)
    for _ in range(_N_ROUNDS):
        unrelated = density[other] * max(1.0 - found * n / len(others_mm), 0.05)
        near = np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) ** 3
        size = _size_factor(
            change, change_model, np.log(np.maximum(other_volume_mm3[other], 1e-3)), size_of_others
        )
        odds = found / (1.0 - found) * near * size / unrelated
        rivals = 1.0 + np.bincount(row, odds, n)[row] + np.bincount(other, odds, len(others_mm))[other] - odds
        chance = odds / rivals
        total = chance.sum()
        found = float(np.clip(total / n, 0.02, 0.98))
        if total > 3:
            sigma = float(np.sqrt((chance * distance**2).sum() / (3 * total)))
            sigma = float(np.clip(sigma, _SMALLEST_ERROR_MM, _LARGEST_ERROR_MM))
            change_model = _fit_change(change, chance, change_model)
    partner, probability = _assign_pairs(n, row, other, odds, chance, min_probability)
    return Matching(partner, probability, sigma if (partner >= 0).any() else float("nan"), found)


def _local_density(points_mm: FloatArray, lung_mm3: float) -> FloatArray:
    """Nodules per mm3 around each nodule, at least a tenth of the mean of the lung."""
    mean = len(points_mm) / max(lung_mm3, 1.0)
    k = min(_N_NEIGHBORS, len(points_mm) - 1)
    if k < 2:
        return np.full(len(points_mm), mean)
    radius = cKDTree(points_mm).query(points_mm, k=k + 1)[0][:, -1]
    return np.maximum(k / (4.0 / 3.0 * np.pi * np.maximum(radius, 1.0) ** 3), 0.1 * mean)


def _log_change(before_mm3: FloatArray, after_mm3: FloatArray) -> FloatArray:
    """Logarithm of the ratio of volumes; NaN where either is not measured."""
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.log(after_mm3) - np.log(before_mm3)
    return np.where(np.isfinite(change), change, np.nan)


def _log_distribution(volume_mm3: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the volumes."""
    known = np.log(volume_mm3[volume_mm3 > 0])
    return (float(known.mean()), max(float(known.std()), 0.3)) if len(known) > 2 else (0.0, 2.0)


def _size_factor(
    change: FloatArray, change_model: tuple[float, float], log_other: FloatArray, others: tuple[float, float]
) -> FloatArray:
    """Likelihood ratio of a volume for the same nodule against any other; 1 where not measured."""
    same = np.exp(-0.5 * ((change - change_model[0]) / change_model[1]) ** 2) / change_model[1]
    any_other = np.exp(-0.5 * ((log_other - others[0]) / others[1]) ** 2) / others[1]
    factor = np.nan_to_num(same / np.maximum(any_other, 1e-6), nan=1.0)
    return np.asarray(np.clip(factor, 1.0 / _SIZE_FACTOR_LIMIT, _SIZE_FACTOR_LIMIT))


def _fit_change(change: FloatArray, weight: FloatArray, before: tuple[float, float]) -> tuple[float, float]:
    """Weighted mean and standard deviation of the change; `before` where there are too few pairs."""
    known = np.isfinite(change)
    total = weight[known].sum()
    if total < 10:
        return before
    mean = float((weight[known] * change[known]).sum() / total)
    variance = float((weight[known] * (change[known] - mean) ** 2).sum() / total)
    return mean, float(np.clip(np.sqrt(variance), 0.25, 1.5))


def _assign_pairs(
    n: int, row: IntArray, other: IntArray, odds: FloatArray, chance: FloatArray, min_probability: float
) -> tuple[IntArray, FloatArray]:
    """The most probable one-to-one pairing, without pairs below `min_probability`."""
    partner = np.full(n, UNMATCHED, dtype=np.int64)
    # The probability of having no partner.
    probability = 1.0 - np.minimum(np.bincount(row, chance, n), 1.0)
    gain = np.log(np.maximum(odds, 1e-12))
    useful = np.flatnonzero(gain > 0)
    row, other, gain, chance = row[useful], other[useful], gain[useful], chance[useful]
    if len(row):
        n_nodes = n + int(other.max()) + 1
        graph = coo_array((np.ones(len(row)), (row, n + other)), shape=(n_nodes, n_nodes))
        group = connected_components(graph, directed=False)[1][row]
        order = np.argsort(group, kind="stable")
        for pairs in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            for pair in _best_of_group(row[pairs], other[pairs], gain[pairs]):
                at = pairs[pair]
                if chance[at] >= min_probability:
                    partner[row[at]], probability[row[at]] = other[at], chance[at]
    return partner, probability


def _best_of_group(row: IntArray, other: IntArray, gain: FloatArray) -> list[int]:
    """Numbers of the pairs of one group with the largest total log-odds."""
    if len(row) == 1:
        return [0]
    rows, i = np.unique(row, return_inverse=True)
    others, j = np.unique(other, return_inverse=True)
    table = np.zeros((len(rows), len(others)))
    number = np.full(table.shape, -1)
    table[i, j], number[i, j] = gain, np.arange(len(row))
    best = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    return [int(number[a, b]) for a, b in best if number[a, b] >= 0]


def keep_certain(
    probability: FloatArray, is_matched: npt.NDArray[np.bool_], *, max_expected_false_share: float
) -> tuple[npt.NDArray[np.bool_], float]:
    """Select the pairs to keep so that the expected share of false pairs stays within a limit.

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Probability of each pairing, 0 to 1.
    is_matched : ndarray of bool, shape (n,)
        Whether it is a pair.
    max_expected_false_share : float
        The limit, 0 to 1.

    Returns
    -------
    keep : ndarray of bool, shape (n,)
        Pairs to keep; false where there is no pair.
    expected_false_share : float
        Expected share of false pairs before any is dropped, 0 to 1; 0 without pairs.
    """
    keep = np.zeros(len(probability), dtype=bool)
    rows = np.flatnonzero(is_matched)
    if not len(rows):
        return keep, 0.0
    order = rows[np.argsort(-probability[rows], kind="stable")]
    running = np.cumsum(1.0 - probability[order]) / np.arange(1, len(order) + 1)
    keep[order[: int(np.count_nonzero(running <= max_expected_false_share))]] = True
    return keep, float(running[-1])
