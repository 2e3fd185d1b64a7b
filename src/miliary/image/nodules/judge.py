"""Distinguish nodules from vessels: boosted trees on the features of each candidate, one operating point.

The trees give log-odds for the share of nodules among candidates that they were trained with. That share
differs between a healthy lung and one with thousands of nodules, so it is estimated from the scan itself
(expectation- maximization over the candidates) and the log-odds are shifted accordingly before the threshold.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from miliary.errors import WeightsError
from miliary.image.kernels import loops
from miliary.image.nodules.features import FEATURE_NAMES, QUICK_NAMES
from miliary.image.weights.card import FOLDER, TREES, read_card

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

WEIGHTS_PATH = FOLDER / TREES
WEIGHTS_VARIABLE = "MILIARY_WEIGHTS"
SEPARATION_MM = 1.6
PRIOR_LIMITS = (0.002, 0.05)
PRIOR_ROUNDS = 60
TREE_BLOCK = 64
LEAF = 2**32 - 1


@dataclass(frozen=True)
class Trees:
    """Boosted trees as flat arrays over the nodes of all trees; a negative `left` marks a leaf."""

    feature: npt.NDArray[np.int16]
    split: F32
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    value: F32
    roots: npt.NDArray[np.int32]

    def sum_leaves(self, features: F32) -> F64:
        """Sum over all trees of the leaf that each row of features (n, features) reaches, shape (n,)."""
        out = np.empty(len(features))
        # Unsigned, since numba checks every index that may be negative; a leaf is marked by its feature.
        leaf = self.left < 0
        feature = np.where(leaf, LEAF, self.feature.astype(np.int64)).astype(np.uint32)
        child = (
            np.where(leaf[:, None], 0, np.stack([self.left, self.right], axis=1)).astype(np.uint32).ravel()
        )
        forest = _Forest(feature, self.split, child, self.value, self.roots.astype(np.uint32))
        loops.run_rows(_sum_trees, len(features), features, forest, out)
        return out


@dataclass(frozen=True)
class Classifier:
    """Two sets of trees, their calibration and the operating point.

    `screen` drops, from quick features, what scores below `screen_floor`; `judge` gives the rest their
    score. `slope` and `offset` calibrate the sum of its leaves; `prior` is the share of nodules among
    candidates that the calibration refers to; `threshold` the probability from which one is reported.
    """

    screen: Trees
    judge: Trees
    screen_floor: float
    slope: float
    offset: float
    prior: float
    threshold: float
    sha256: str


def read_classifier() -> Classifier:
    """The packaged classifier, or the one named by the environment variable `MILIARY_WEIGHTS`.

    Returns
    -------
    Classifier
        Read once per process. One that the variable names replaces the trees and the threshold only, for
        tests and validation: the other model files stay those of the package, which were made with others.

    Raises
    ------
    WeightsError
        A file is missing or damaged, was made for other features, or the packaged model files do not belong
        together.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        read_card()
    return _read_classifier(named or str(WEIGHTS_PATH))


@functools.lru_cache(maxsize=2)
def _read_classifier(name: str) -> Classifier:
    path = Path(name)
    card_path = path.with_suffix(".json")
    if not path.is_file() or not card_path.is_file():
        raise WeightsError(f"{path.name}: weights or their card are missing; reinstall the package")
    try:
        return _parse_classifier(path, json.loads(card_path.read_text()))
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path.name}: weights or their card are damaged; reinstall the package"
        ) from error


def _parse_classifier(path: Path, card: dict[str, Any]) -> Classifier:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if card["sha256"] != digest:
        raise WeightsError(f"{path.name}: does not match the SHA-256 of its card; reinstall the package")
    if tuple(card["features"]) != FEATURE_NAMES or tuple(card["quick_features"]) != QUICK_NAMES:
        raise WeightsError(f"{path.name}: was trained on other features; run `make train`")
    with np.load(path, allow_pickle=False) as arrays:
        screen, judge = (
            Trees(**{field: arrays[f"{name}_{field}"] for field in Trees.__dataclass_fields__})
            for name in ("screen", "judge")
        )
        return Classifier(
            screen=screen,
            judge=judge,
            screen_floor=float(card["screen_floor"]),
            slope=float(card["calibration"]["slope"]),
            offset=float(card["calibration"]["offset"]),
            prior=float(card["calibration"]["prior"]),
            threshold=float(card["threshold"]),
            sha256=digest,
        )


class _Forest(NamedTuple):
    """`Trees` with unsigned indices: the children of node i are ``child[2 i]`` and ``child[2 i + 1]``."""

    feature: npt.NDArray[np.uint32]
    split: F32
    child: npt.NDArray[np.uint32]
    value: F32
    roots: npt.NDArray[np.uint32]


@nb.njit(nogil=True, cache=True)
def _sum_trees(first, last, features, forest, out):  # type: ignore[no-untyped-def]
    """Sum of leaf values for rows `first` to `last` of the features."""
    feature, split, child, value, roots = forest
    # All rows of a block descend one tree together, a level at a time and without a branch: a single row
    # would wait at every level for the result of the previous one.
    node = np.empty(TREE_BLOCK, dtype=np.uint32)
    active = np.empty(TREE_BLOCK, dtype=np.uint32)
    total = np.empty(TREE_BLOCK)
    for begin in range(first, last, TREE_BLOCK):
        size = min(TREE_BLOCK, last - begin)
        rows = features[begin : begin + size]
        total[:] = 0.0
        for root in roots:
            for m in range(size):
                node[m] = root
                active[m] = m
            n = size if feature[root] != LEAF else 0
            while n > 0:
                kept = np.uint32(0)
                for k in range(n):
                    m = active[k]
                    here = node[m]
                    goes_right = np.uint32(not rows[m, feature[here]] <= split[here])
                    here = child[np.uint32(2) * here + goes_right]
                    node[m] = here
                    active[kept] = m
                    kept += np.uint32(feature[here] != LEAF)
                n = int(kept)
            for m in range(size):
                total[m] += value[node[m]]
        loops.copy_row(total[:size], out[begin : begin + size])


def screen_candidates(quick: F32, classifier: Classifier) -> npt.NDArray[np.int64]:
    """Drop the candidates that are plainly no nodule, by their quick features.

    Parameters
    ----------
    quick : ndarray of float32, shape (n, len(QUICK_NAMES))
        From `features.measure_quick_features`.
    classifier : Classifier
        Its `screen` and `screen_floor` decide.

    Returns
    -------
    ndarray of int64, shape (m,)
        Rows that remain, ascending.
    """
    return np.flatnonzero(classifier.screen.sum_leaves(quick) >= classifier.screen_floor)


def estimate_score(features: F32, classifier: Classifier) -> F64:
    """Calibrated log-odds of being a nodule, at the share of nodules that the classifier was calibrated for.

    Parameters
    ----------
    features : ndarray of float32, shape (n, len(FEATURE_NAMES))
        From `features.measure_features`.
    classifier : Classifier
        Its `judge`, `slope` and `offset` are used.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return classifier.slope * classifier.judge.sum_leaves(features) + classifier.offset


def estimate_probability(score: F64, prior: float, *, n_dropped: int = 0) -> tuple[F64, float]:
    """Probability of each candidate, given the share of nodules among the candidates of this scan [1]_.

    Parameters
    ----------
    score : ndarray, shape (n,)
        Log-odds at `prior`.
    prior : float
        Share of nodules among candidates that the log-odds refer to, 0 to 1.
    n_dropped : int
        Number of candidates dropped by the screen; they count as no nodules.

    Returns
    -------
    probability : ndarray of float64, shape (n,)
        Probability of being a nodule, 0 to 1.
    share : float
        Estimated share of nodules in this scan, limited to `PRIOR_LIMITS`: with few nodules among very many
        candidates the estimate would converge to none, with poorly separated scores to far too many.

    References
    ----------
    .. [1] Saerens M, Latinne P, Decaestecker C, Neural Comput 2002;14:21-41.
    """
    share = prior
    probability = expit(score)
    total = len(score) + n_dropped
    if not total:
        return probability, share
    for _ in range(PRIOR_ROUNDS):
        updated = float(np.clip(probability.sum() / total, *PRIOR_LIMITS))
        done = abs(updated - share) < 1e-7
        share = updated
        probability = expit(score + logit(share) - logit(prior))
        if done:
            break
    return probability, share


def select_reported(position_mm: F64, probability: F64, threshold: float) -> npt.NDArray[np.int64]:
    """Select the candidates to report: above the threshold, the most probable of any close together.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        Positions (z, y, x) [mm].
    probability : ndarray, shape (n,)
        Probability of being a nodule, 0 to 1.
    threshold : float
        Lowest probability that is reported.

    Returns
    -------
    ndarray of int64, shape (m,)
        Rows in order of position (z, y, x); no two are closer than `SEPARATION_MM`.
    """
    rows = np.flatnonzero(probability >= threshold)
    if len(rows) > 1:
        rows = rows[np.argsort(-probability[rows], kind="stable")]
        pairs = cKDTree(position_mm[rows]).query_pairs(SEPARATION_MM, output_type="ndarray")
        pairs = np.ascontiguousarray(pairs[np.argsort(pairs[:, 0], kind="stable")])
        kept = np.ones(len(rows), dtype=bool)
        loops.suppress(pairs, kept)
        rows = rows[kept]
        rows = rows[np.lexsort(position_mm[rows].T[::-1])]
    return rows
