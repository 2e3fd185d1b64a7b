import numpy as np
import pytest

from miliary.image.kernels.loops import filter_gaussian
from miliary.image.nodules import features
from miliary.image.nodules.features import FEATURE_NAMES, N_RAY_FEATURES, RADII_MM, measure_features
from miliary.image.nodules.find import SCALES_MM, Candidates
from miliary.model.ct_result import Noise, Psf
from tests.image.balls import LUNG_HU, make_box, render_balls

COLUMN = {name: place for place, name in enumerate(FEATURE_NAMES)}
SPACING = (1.0, 0.7, 0.8)
SHAPE = (24, 34, 30)
NOISE, PSF = Noise(12.0), Psf(0.6, 0.6)


def _measure(volume, spacing, center_mm, *, depth_mm=5.0):
    box = make_box(volume, spacing)
    index = np.atleast_2d(center_mm) / spacing
    n = len(index)
    candidates = Candidates(
        index, np.zeros(n, dtype=np.int64), np.full((n, 4), 100.0, dtype=np.float32), np.full(4, 10.0)
    )
    smooth = filter_gaussian(box.voxels_hu, tuple(SCALES_MM[0] / s for s in spacing))
    depth = np.full(n, depth_mm)
    return measure_features(smooth, candidates, box, depth_mm=depth, noise=NOISE, psf=PSF)


def _ball(shape=SHAPE, spacing=SPACING, diameter=3.0):
    center = np.array([0.5 * (n - 1) * s for n, s in zip(shape, spacing, strict=True)]) + 0.13
    volume = render_balls(shape, spacing, [center], [diameter], sigma_mm=0.6)
    return volume, center


def _tube(axis, shape=SHAPE, spacing=SPACING):
    """A vessel of 2.4 mm along an axis, its profile that of a ball's middle."""
    grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    center = np.array([0.5 * (n - 1) * s for n, s in zip(shape, spacing, strict=True)])
    across = [a for a in range(3) if a != axis]
    r2 = sum((grid[a] - center[a]) ** 2 for a in across)
    return LUNG_HU + 600.0 * np.exp(-0.5 * r2 / 1.0**2), center


def test_names_are_unique_and_count_the_columns():
    volume, center = _ball()
    row = _measure(volume, SPACING, center)
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == row.shape[1]
    assert row.dtype == np.float32
    assert np.isfinite(row).all()


def test_no_ray_feature_is_left_out():
    """Every column that the rays fill differs between a ball and a pair of crossing vessels, off centre."""
    volume, center = _ball()
    crossing = np.maximum(_tube(0)[0], _tube(2)[0]) + np.random.default_rng(0).normal(0, 60, SHAPE)
    difference = _measure(volume, SPACING, center) != _measure(crossing, SPACING, center + 0.6)
    missing = [n for n, d in zip(FEATURE_NAMES[:N_RAY_FEATURES], difference[0], strict=False) if not d]
    assert missing == []


def test_a_ball_is_the_same_on_every_grid():
    rows = []
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        shape, spacing = ([v[a] for a in order] for v in (SHAPE, SPACING))
        rows.append(_measure(*_ball_on(shape, spacing))[0])
    # Linear interpolation rounds peaks by up to a tenth of the contrast at these voxels.
    rows = np.array(rows)
    for name in ("ray_mean_1.6", "ray_q50_2.1", "ray_max_1.1", "ray_q10_2.7", "through_1.6", "pair_1.6"):
        assert np.ptp(rows[:, COLUMN[name]]) < 0.1
    assert np.ptp(rows[:, COLUMN["half_mean"]]) < 0.1
    assert np.ptp(rows[:, COLUMN["width_mid"]]) < 0.2
    np.testing.assert_allclose(rows[:, COLUMN["contrast_hu"]], rows[0, COLUMN["contrast_hu"]], rtol=0.05)
    np.testing.assert_allclose(rows[:, COLUMN["background_hu"]], LUNG_HU, atol=1.0)
    assert np.all(rows[:, COLUMN["width_ratio"]] < 1.35)


def _ball_on(shape, spacing):
    volume, center = _ball(tuple(shape), tuple(spacing))
    return volume, tuple(spacing), center


def test_the_half_width_of_a_ball_grows_with_it():
    width = []
    for diameter in (2.0, 4.0, 6.0):
        volume, center = _ball(diameter=diameter)
        width.append(_measure(volume, SPACING, center)[0, COLUMN["half_mean"]])
    assert width == sorted(width)
    # At 6 mm the blur of 0.9 mm no longer moves the half maximum.
    assert width[2] == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_vessel_goes_through_and_a_ball_does_not(axis):
    ball = _measure(*_ball_on(SHAPE, SPACING))[0]
    volume, center = _tube(axis)
    tube = _measure(volume, SPACING, center)[0]
    assert ball[COLUMN["through_3.3"]] < 0.1
    # No axis lies closer than some 8 degrees to every direction: at 3.3 mm that is 0.5 mm off the vessel.
    assert tube[COLUMN["through_3.3"]] > 0.7
    assert tube[COLUMN["branch1_5.0"]] > 0.5
    assert tube[COLUMN["linear_4.0"]] > 0.5
    assert ball[COLUMN["linear_1.6"]] < 0.1
    assert tube[COLUMN["pieces_3.3"]] == 2
    assert tube[COLUMN["width_ratio"]] > 2.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wall_is_planar(axis):
    _, center = _tube(axis)
    along = (np.arange(SHAPE[axis]) * SPACING[axis] - center[axis]).reshape(
        [-1 if a == axis else 1 for a in range(3)]
    )
    volume = LUNG_HU + 600.0 * np.exp(-0.5 * along**2) * np.ones(SHAPE)
    row = _measure(volume, SPACING, center)[0]
    assert row[COLUMN["planar_4.0"]] > 0.3
    assert row[COLUMN["linear_4.0"]] < 0.1
    assert row[COLUMN["pieces_3.3"]] == 1


def test_contrast_does_not_change_what_is_normalized():
    volume, center = _ball()
    low = _measure(volume, SPACING, center)[0]
    high = _measure(LUNG_HU + 1.5 * (volume - LUNG_HU), SPACING, center)[0]
    assert high[COLUMN["contrast_hu"]] == pytest.approx(1.5 * low[COLUMN["contrast_hu"]], rel=1e-3)
    rays = [COLUMN[f"ray_{q}_{r}"] for q in ("max", "q50", "mean") for r in RADII_MM]
    np.testing.assert_allclose(high[rays], low[rays], atol=1e-3)


def test_what_is_known_of_the_scan_is_passed_on():
    volume, center = _ball()
    row = _measure(volume, SPACING, center, depth_mm=-1.5)[0]
    expected = {"noise_hu": 12.0, "psf_xy_mm": 0.6, "psf_z_mm": 0.6, "step_z_mm": 1.0, "depth_mm": -1.5}
    for name, value in expected.items():
        assert row[COLUMN[name]] == pytest.approx(value)
    assert row[COLUMN["log_over_spread_2"]] == pytest.approx(10.0)
    assert row[COLUMN["log_over_contrast_1"]] == pytest.approx(100.0 / row[COLUMN["contrast_hu"]])


def test_rows_do_not_depend_on_each_other():
    volume, center = _ball()
    rng = np.random.default_rng(3)
    places = center + rng.uniform(-6.0, 6.0, (150, 3))
    together = _measure(volume, SPACING, places)
    alone = np.concatenate([_measure(volume, SPACING, one) for one in places[::25]])
    np.testing.assert_array_equal(together[::25], alone)


def test_no_candidates_give_no_rows():
    volume, _ = _ball()
    assert _measure(volume, SPACING, np.empty((0, 3))).shape == (0, len(FEATURE_NAMES))


def test_a_place_at_the_border_has_finite_features():
    volume, _ = _ball()
    corners = np.array([[0.0, 0.0, 0.0], [(n - 1) * s for n, s in zip(SHAPE, SPACING, strict=True)]])
    assert np.isfinite(_measure(volume, SPACING, corners)).all()


def test_order_statistics_of_three_sorted_columns():
    table = np.random.default_rng(1).integers(0, 9, (20, 5)).astype(np.float32)
    table[:, 1:4].sort(axis=0)
    places, found = np.array([0, 7, 8, 41, 59]), np.empty(5, dtype=np.float32)
    features._find_in_three(table, 1, places, found)
    np.testing.assert_array_equal(found, np.sort(table[:, 1:4].ravel())[places])


@pytest.mark.parametrize("n", [1, 2, 9, 48])
def test_the_value_of_a_rank_is_found(n):
    values = np.random.default_rng(n).integers(0, 7, n).astype(np.float32)
    assert [features._find_ranked(values, k) for k in range(n)] == sorted(values.tolist())


def test_moments_are_those_of_the_weighted_directions():
    shine = np.random.default_rng(2).normal(0.2, 1.0, len(features.DIRECTIONS)).astype(np.float32)
    weight = np.maximum(shine, 0).astype(np.float64)
    weight /= weight.sum()
    values = np.linalg.eigvalsh((features.DIRECTIONS.T * weight) @ features.DIRECTIONS)
    found = np.empty(3)
    features._moments(shine, np.ascontiguousarray(features.DIRECTIONS.T), found)
    dipole = np.linalg.norm(weight @ features.DIRECTIONS)
    np.testing.assert_allclose(found, [values[2] - values[1], values[1] - values[0], dipole], atol=1e-6)
