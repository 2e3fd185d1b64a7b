import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from miliary.errors import WeightsError
from miliary.image.nodules.features import FEATURE_NAMES, QUICK_NAMES
from miliary.image.nodules.judge import (
    PRIOR_LIMITS,
    SEPARATION_MM,
    WEIGHTS_PATH,
    WEIGHTS_VARIABLE,
    Classifier,
    Trees,
    estimate_probability,
    estimate_score,
    read_classifier,
    screen_candidates,
    select_reported,
)


def _grow(rng, n_features, depth):
    """A random tree as nested tuples: (feature, split, left, right), or the value of a leaf."""
    if depth == 0 or rng.random() < 0.2:
        return float(rng.normal())
    split = np.float32(rng.normal())
    return (
        int(rng.integers(n_features)),
        split,
        _grow(rng, n_features, depth - 1),
        _grow(rng, n_features, depth - 1),
    )


def _flatten(trees):
    nodes, roots = [], []

    def add(tree):
        here = len(nodes)
        if not isinstance(tree, tuple):
            nodes.append((0, 0.0, -1, -1, tree))
            return here
        nodes.append(None)
        feature, split, left, right = tree
        nodes[here] = (feature, split, add(left), add(right), 0.0)
        return here

    roots.extend(add(tree) for tree in trees)
    feature, split, left, right, value = zip(*nodes, strict=True)
    return Trees(
        np.array(feature, np.int16),
        np.array(split, np.float32),
        np.array(left, np.int32),
        np.array(right, np.int32),
        np.array(value, np.float32),
        np.array(roots, np.int32),
    )


def _classifier(screen, judge, *, floor=0.0, slope=1.0, offset=0.0):
    return Classifier(_flatten(screen), _flatten(judge), floor, slope, offset, 0.02, 0.5, "")


def _follow(tree, row):
    while isinstance(tree, tuple):
        feature, split, left, right = tree
        tree = left if row[feature] <= split else right
    return np.float32(tree)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_trees_sum_as_their_slow_twin(seed):
    rng = np.random.default_rng(seed)
    trees = [_grow(rng, 5, int(rng.integers(0, 6))) for _ in range(int(rng.integers(1, 8)))]
    rows = rng.normal(size=(20, 5)).astype(np.float32)
    # Values that lie exactly on a split go left.
    splits = [t[1] for t in trees if isinstance(t, tuple)]
    rows[: len(splits), trees[0][0] if isinstance(trees[0], tuple) else 0] = splits
    raw = np.array([sum(float(_follow(tree, row)) for tree in trees) for row in rows])
    np.testing.assert_allclose(_flatten(trees).sum_leaves(rows), raw, atol=1e-9)
    score = estimate_score(rows, _classifier([0.0], trees, slope=0.7, offset=-0.3))
    np.testing.assert_allclose(score, 0.7 * raw - 0.3, atol=1e-9)
    kept = screen_candidates(rows, _classifier(trees, [0.0], floor=0.1))
    assert kept.tolist() == np.flatnonzero(raw >= 0.1).tolist()


@pytest.mark.parametrize("share", [0.004, 0.02, 0.045])
def test_the_share_of_a_mixture_is_recovered(share):
    rng = np.random.default_rng(1)
    n, prior, gap = 20_000, 0.02, 4.0
    is_nodule = rng.random(n) < share
    x = rng.normal(np.where(is_nodule, gap, 0.0), 1.0)
    score = gap * x - 0.5 * gap**2 + logit(prior)
    probability, found = estimate_probability(score, prior)
    # The counting error of the nodules themselves, twice.
    assert found == pytest.approx(share, rel=2.0 / np.sqrt(n * share) + 0.1)
    np.testing.assert_allclose(probability, expit(score + logit(found) - logit(prior)), rtol=0.01, atol=1e-4)
    # Calibrated: of those called about p, a share p are nodules.
    assert probability.sum() == pytest.approx(is_nodule.sum(), rel=3.0 / np.sqrt(n * share))


@pytest.mark.parametrize(("mean", "expected"), [(0.0, PRIOR_LIMITS[0]), (4.0, PRIOR_LIMITS[1])])
def test_the_share_stays_within_its_limits(mean, expected):
    x = np.random.default_rng(2).normal(mean, 1.0, 20_000)
    _, share = estimate_probability(4.0 * x - 8.0 + logit(0.02), 0.02)
    assert share == expected


def test_candidates_dropped_before_count_as_none():
    rng = np.random.default_rng(3)
    n, share = 20_000, 0.03
    x = rng.normal(np.where(rng.random(n) < share, 4.0, 0.0), 1.0)
    score = 4.0 * x - 8.0 + logit(0.02)
    whole, share_of_all = estimate_probability(score, 0.02)
    # Nothing below -8 is a nodule by more than one in a thousand.
    kept = score > -8.0
    part, share_of_kept = estimate_probability(score[kept], 0.02, n_dropped=np.count_nonzero(~kept))
    assert np.count_nonzero(~kept) > n / 3
    assert share_of_kept == pytest.approx(share_of_all, rel=0.02)
    np.testing.assert_allclose(part, whole[kept], atol=0.01)


def test_no_candidates_keep_the_prior():
    probability, share = estimate_probability(np.empty(0), 0.02)
    assert len(probability) == 0
    assert share == 0.02


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.floats(0.05, 0.95))
def test_marks_are_apart_and_none_is_dropped_without_a_better_one(seed, n, threshold):
    rng = np.random.default_rng(seed)
    position, probability = rng.uniform(0.0, 7.0, (n, 3)), rng.random(n)
    before = position.copy(), probability.copy()
    rows = select_reported(position, probability, threshold)
    apart = np.linalg.norm(position[rows][:, None] - position[rows], axis=2)
    assert np.all(apart[np.triu_indices(len(rows), 1)] > SEPARATION_MM)
    assert np.all(probability[rows] >= threshold)
    for row in np.setdiff1d(np.flatnonzero(probability >= threshold), rows):
        near = np.linalg.norm(position[rows] - position[row], axis=1) <= SEPARATION_MM
        assert probability[rows][near].max() >= probability[row]
    assert position[rows].tolist() == sorted(position[rows].tolist())
    np.testing.assert_array_equal(position, before[0])
    np.testing.assert_array_equal(probability, before[1])


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights of one leaf and one fork, read instead of the packaged ones."""
    path = tmp_path / "other.npz"
    trees = {"screen": _flatten([0.25]), "judge": _flatten([(3, 0.5, -1.0, 2.0)])}
    np.savez(path, **{f"{name}_{key}": value for name, t in trees.items() for key, value in vars(t).items()})
    card = {
        "features": FEATURE_NAMES,
        "quick_features": QUICK_NAMES,
        "calibration": {"slope": 1.5, "offset": 0.25, "prior": 0.03},
        "threshold": 0.4,
        "screen_floor": -2.0,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(path))
    return path


def _edit_card(path, **changes):
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, **changes}))


def test_the_packaged_weights_match_their_card(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    card = json.loads(WEIGHTS_PATH.with_suffix(".json").read_text())
    found = read_classifier()
    assert found.sha256 == card["sha256"] == hashlib.sha256(WEIGHTS_PATH.read_bytes()).hexdigest()
    assert tuple(card["features"]) == FEATURE_NAMES
    assert tuple(card["quick_features"]) == QUICK_NAMES
    assert 0.0 < found.threshold < 1.0
    assert 0.0 < found.prior < 0.5
    for trees, names in ((found.screen, QUICK_NAMES), (found.judge, FEATURE_NAMES)):
        inner = trees.left >= 0
        assert np.array_equal(inner, trees.right >= 0)
        assert trees.feature[inner].max() < len(names)
        # Children come after their parent, so that every walk ends.
        assert np.all(trees.left[inner] > np.flatnonzero(inner))
        assert np.all(trees.right[inner] > np.flatnonzero(inner))
        assert max(trees.left.max(), trees.right.max()) < len(trees.left)


def test_other_weights_can_be_named(weights):
    found = read_classifier()
    assert (found.slope, found.offset, found.prior) == (1.5, 0.25, 0.03)
    assert (found.threshold, found.screen_floor) == (0.4, -2.0)
    rows = np.zeros((2, len(FEATURE_NAMES)), dtype=np.float32)
    rows[1, 3] = 0.6
    assert estimate_score(rows, found).tolist() == [1.5 * -1.0 + 0.25, 1.5 * 2.0 + 0.25]


def test_damaged_weights_are_refused(weights):
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match=r"^other\.npz: .*SHA-256"):
        read_classifier()


@pytest.mark.parametrize(("field", "names"), [("features", FEATURE_NAMES), ("quick_features", QUICK_NAMES)])
def test_weights_for_other_features_are_refused(weights, field, names):
    _edit_card(weights, **{field: [*names[1:], names[0]]})
    with pytest.raises(WeightsError, match="other features"):
        read_classifier()


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_missing_weights_are_named(weights, suffix):
    weights.with_suffix(suffix).unlink()
    with pytest.raises(WeightsError, match=r"^other\.npz: .*missing"):
        read_classifier()
