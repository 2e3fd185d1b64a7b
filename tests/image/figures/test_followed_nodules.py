"""Close-ups of followed nodules: which are shown, where, and what is said of each."""

import numpy as np
import pytest

from miliary.image.figures.comparison_figure import _Level, _place_marks
from miliary.image.figures.followed_nodules import GAP_PX, MOST, PANEL_PX, render_followed
from miliary.model.nodules import TRACK_COLUMNS, Fate, Tracks
from miliary.model.scan import Grid

SPACING = 1.5
GRID = Grid((20, 40, 40), (SPACING, SPACING, SPACING))


def make_tracks(rows):
    """Tracks of (fate, x, y, z, volume before, volume after)."""
    columns = {c.name: [] for c in TRACK_COLUMNS}
    for number, (fate, x, y, z, before, after) in enumerate(rows, start=1):
        known = {
            "id": number,
            "fate": fate.value,
            "x_mm": x,
            "y_mm": y,
            "z_mm": z,
            "baseline_id": 0 if fate is Fate.NEW else number,
            "side": "right",
            "zone": "upper",
            "followup_id": 0 if fate is Fate.NO_LONGER_SEEN else number,
            "probability": 0.9,
            "baseline_volume_mm3": before,
            "followup_volume_mm3": after,
            "volume_change_fraction": after / before - 1.0,
            "volume_change_fraction_err": 0.1,
        }
        for name, values in columns.items():
            values.append(known[name])
    return Tracks({c.name: np.asarray(columns[c.name], dtype=c.dtype) for c in TRACK_COLUMNS})


nan = float("nan")
ROWS = [
    (Fate.KEPT, 30.0, 30.0, 15.0, 5.0, 5.0),
    (Fate.NEW, 20.0, 30.0, 15.0, nan, 4.0),
    (Fate.NEW, 40.0, 30.0, 15.0, nan, 9.0),
    (Fate.GROWN, 30.0, 20.0, 15.0, 4.0, 9.0),
    (Fate.NO_LONGER_SEEN, 30.0, 40.0, 15.0, 6.0, nan),
]


@pytest.fixture(scope="module")
def volumes():
    air = np.full(GRID.shape_zyx, -850, dtype=np.int16)
    after = air.copy()
    after[10, 20, round(40.0 / SPACING)] = 100
    return air, after


def test_new_and_grown_nodules_come_first_and_the_largest_of_each_before_the_others(volumes):
    figures = render_followed(make_tracks(ROWS), *volumes, GRID)
    assert [f.name for f in figures] == ["new_1", "new_2", "grown_1", "no_longer_seen_1"]
    assert [f.facts["track_id"] for f in figures] == [3, 2, 4, 5]
    assert [f.facts["n_of_fate"] for f in figures] == [2, 2, 1, 1]
    first = figures[0].facts
    assert first["position_lps_mm"] == [40.0, 30.0, 15.0]
    assert (first["baseline_volume_mm3"], first["followup_volume_mm3"]) == (None, 9.0)
    assert (first["side"], first["zone"], first["baseline_id"]) == ("right", "upper", None)


def test_a_new_nodule_is_in_the_middle_of_the_right_half_and_not_in_the_left(volumes):
    pixels = render_followed(make_tracks(ROWS), *volumes, GRID)[0].pixels
    left, right = pixels[:, :PANEL_PX], pixels[:, PANEL_PX + GAP_PX :]
    row, column = np.unravel_index(right.argmax(), right.shape)
    assert abs(row - PANEL_PX / 2) < 5
    assert abs(column - PANEL_PX / 2) < 5
    assert int(right.max()) - int(left.max()) > 60


def test_a_nodule_at_the_edge_of_the_scan_is_shown_with_black_around_it(volumes):
    (figure,) = render_followed(make_tracks([(Fate.NEW, 0.0, 0.0, 0.0, nan, 4.0)]), *volumes, GRID)
    assert figure.pixels.shape == (PANEL_PX, 2 * PANEL_PX + GAP_PX)
    assert figure.pixels[:20, :20].max() < figure.pixels[-20:, 60:90].min()


def test_no_more_pictures_of_a_fate_than_a_page_holds(volumes):
    many = [(Fate.SHRUNK, 30.0, 30.0, 15.0, 5.0 + n, 1.0) for n in range(MOST[Fate.SHRUNK] + 5)]
    figures = render_followed(make_tracks(many), *volumes, GRID)
    assert len(figures) == MOST[Fate.SHRUNK]
    assert {f.facts["n_of_fate"] for f in figures} == {len(many)}


@pytest.mark.parametrize(("is_followup", "missing"), [(True, Fate.NO_LONGER_SEEN), (False, Fate.NEW)])
def test_a_scan_has_no_mark_where_it_shows_nothing(volumes, is_followup, missing):
    empty = np.zeros((10, 10), dtype=np.uint8)
    level = _Level("axial", 0, 10, empty, empty, pixel_mm=1.0)
    marks = _place_marks(level, make_tracks(ROWS), GRID, is_followup=is_followup)
    fates = [fate for fate, _ in marks]
    assert missing not in fates
    assert {Fate.KEPT, Fate.GROWN} <= set(fates)
