import numpy as np
import pytest

from miliary.image.pair.detectability import Detectability
from miliary.image.pair.unseen import UNKNOWN, estimate_unseen
from miliary.model.nodules import TRACK_COLUMNS, Fate, Tracks
from miliary.model.saved.scan_summary import CorrectedTotal

AT_LEAST = (CorrectedTotal(1.0, 100.0, (90.0, 110.0), 100.0, (90.0, 110.0)),)
GRID_MM = np.linspace(0.4, 6.0, 80)


def _shows(half_mm, *, width_mm=0.12):
    chance = 1.0 / (1.0 + np.exp(-(GRID_MM - half_mm) / width_mm))
    return Detectability(GRID_MM, chance, np.zeros(80), 1.0, half_mm, None, AT_LEAST)


def _follow(rng, *, n, there, shrink, half_mm):
    """Tracks of nodules of which a share is still there, shrunk by a factor in diameter that varies."""
    was = rng.uniform(1.6, 3.0, n)
    now = was * np.clip(rng.normal(shrink, 0.12, n), 0.2, 1.5)
    is_there = rng.random(n) < there
    is_seen = is_there & (rng.random(n) < _shows(half_mm).at(now))
    volumes = {"baseline": np.pi / 6 * was**3, "followup": np.where(is_seen, np.pi / 6 * now**3, np.nan)}
    columns = {c.name: np.zeros(n, dtype=c.dtype) for c in TRACK_COLUMNS}
    columns |= {f"{name}_volume_mm3": values for name, values in volumes.items()}
    columns["fate"] = np.where(is_seen, Fate.SHRUNK.value, Fate.NO_LONGER_SEEN.value).astype(object)
    return Tracks(columns), int(np.count_nonzero(is_there & ~is_seen))


@pytest.mark.parametrize(
    ("there", "shrink", "half_mm"), [(0.5, 0.9, 1.3), (0.8, 0.7, 1.3), (0.3, 0.8, 1.6), (1.0, 0.7, 1.5)]
)
def test_what_remains_unseen_is_estimated_from_what_was_followed(there, shrink, half_mm):
    n_held, errors = 0, []
    for seed in range(6):
        tracks, truth = _follow(
            np.random.default_rng(seed), n=600, there=there, shrink=shrink, half_mm=half_mm
        )
        found = estimate_unseen(tracks, _shows(1.0), _shows(half_mm), seed=seed)
        assert found.n == tracks.count(Fate.NO_LONGER_SEEN)
        n_held += found.low <= truth <= found.high
        errors.append((found.remain - truth) / max(truth, 30))
    assert n_held >= 4
    assert abs(np.mean(errors)) < 0.25


def test_a_follow_up_that_shows_everything_hides_nothing():
    tracks, _ = _follow(np.random.default_rng(1), n=400, there=0.5, shrink=1.0, half_mm=0.5)
    found = estimate_unseen(tracks, _shows(1.0), _shows(0.5))
    assert found.remain < 0.02 * found.n


def test_without_curves_or_followed_nodules_there_is_no_estimate():
    tracks, _ = _follow(np.random.default_rng(2), n=200, there=0.5, shrink=0.8, half_mm=1.3)
    bare = Detectability(GRID_MM, np.ones(80), np.zeros(80), 1.0, None, None, ())
    unknown = estimate_unseen(tracks, _shows(1.0), bare)
    assert (unknown.remain, unknown.reason) == (None, UNKNOWN)
    lost = tracks.select(tracks["fate"] == Fate.NO_LONGER_SEEN.value)
    assert "fewer than 10" in estimate_unseen(lost, _shows(1.0), _shows(1.3)).reason
    assert estimate_unseen(Tracks.empty(), _shows(1.0), _shows(1.3)).remain == 0.0
