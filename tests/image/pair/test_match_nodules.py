import numpy as np
import pytest

from miliary.image.pair.match import UNMATCHED, keep_certain, match_nodules

LUNG_MM3 = 4e6


def draw(rng, n):
    side = LUNG_MM3 ** (1 / 3)
    return rng.uniform(0, side, (n, 3)), np.exp(rng.normal(1.0, 0.7, n))


def follow(rng, *, n=1000, error_mm=0.8, kept=0.7, n_new=60, factor=0.6):
    """Nodules, those of the follow-up, and the true partner of each of the first."""
    points, volume = draw(rng, n)
    is_kept = rng.random(n) < kept
    new, new_volume = draw(rng, n_new)
    others = np.concatenate([points[is_kept] + rng.normal(0, error_mm, (is_kept.sum(), 3)), new])
    sizes = np.concatenate([volume[is_kept] * factor * np.exp(rng.normal(0, 0.2, is_kept.sum())), new_volume])
    partner = np.full(n, UNMATCHED)
    partner[is_kept] = np.arange(is_kept.sum())
    order = rng.permutation(len(others))
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    partner[is_kept] = place[partner[is_kept]]
    return (points, volume), (others[order], sizes[order]), partner


def match(before, after, **settings):
    return match_nodules(
        before[0], after[0], volume_mm3=before[1], other_volume_mm3=after[1], lung_mm3=LUNG_MM3, **settings
    )


@pytest.mark.parametrize(("kept", "factor"), [(1.0, 1.0), (0.7, 0.6), (0.1, 0.3)])
def test_true_pairs_are_found_and_few_false_ones(kept, factor):
    before, after, truth = follow(np.random.default_rng(1), kept=kept, factor=factor)
    found = match(before, after)
    given = found.partner != UNMATCHED
    is_right = found.partner[given] == truth[given]
    assert is_right.mean() >= 0.95
    assert is_right.sum() >= 0.95 * (truth != UNMATCHED).sum()
    assert found.error_mm == pytest.approx(0.8, abs=0.12)


def test_the_probability_is_the_share_that_is_right():
    before, after, truth = follow(np.random.default_rng(2), n=20_000, error_mm=1.6, n_new=2000)
    found = match(before, after)
    given = found.partner != UNMATCHED
    expected = found.probability[given].mean()
    right = (found.partner[given] == truth[given]).mean()
    assert 0.5 < right < 0.99
    # It may be too modest, but must not promise more than it keeps.
    assert -0.12 < expected - right < 0.02


def test_nobody_is_paired_twice():
    before, after, _ = follow(np.random.default_rng(3), n=8000, error_mm=1.5)
    partner = match(before, after).partner
    given = partner[partner != UNMATCHED]
    assert len(set(given.tolist())) == len(given)


def test_when_all_are_gone_chance_neighbors_are_not_taken():
    rng = np.random.default_rng(4)
    found = match(draw(rng, 1000), draw(rng, 40))
    assert (found.partner != UNMATCHED).sum() <= 3


def test_shuffled_rows_give_the_same_pairs():
    before, after, _ = follow(np.random.default_rng(5), n=400)
    order = np.random.default_rng(6).permutation(400)
    plain = match(before, after)
    shuffled = match((before[0][order], before[1][order]), after)
    assert np.array_equal(plain.partner[order], shuffled.partner)
    assert shuffled.probability == pytest.approx(plain.probability[order])


def test_sizes_that_are_not_measured_do_no_harm():
    before, after, truth = follow(np.random.default_rng(7))
    found = match((before[0], np.full(1000, np.nan)), after)
    given = found.partner != UNMATCHED
    assert (found.partner[given] == truth[given]).mean() > 0.95


def test_no_nodules_on_either_scan():
    nothing = (np.empty((0, 3)), np.empty(0))
    some = draw(np.random.default_rng(8), 5)
    assert match(nothing, some).partner.shape == (0,)
    assert (match(some, nothing).partner == UNMATCHED).all()


def test_least_certain_pairs_are_dropped_until_the_rest_can_be_believed():
    probability = np.array([1.0, 0.9, 0.6, 0.95, 0.3])
    matched = np.array([True, True, True, True, False])
    keep, false_share = keep_certain(probability, matched, max_expected_false_share=0.06)
    assert keep.tolist() == [True, True, False, True, False]
    assert false_share == pytest.approx((0.0 + 0.1 + 0.4 + 0.05) / 4)
    keep, false_share = keep_certain(probability, np.zeros(5, dtype=bool), max_expected_false_share=0.06)
    assert not keep.any()
    assert false_share == 0.0
