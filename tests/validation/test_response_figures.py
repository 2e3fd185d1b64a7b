import pytest

from validation.response import PAIRS, find_ratio_error, render


def figures(row, ratio, true, **more):
    low, high = (None, None) if ratio is None else (0.9 * ratio, 1.1 * ratio)
    return {
        "name": "x",
        "row": row,
        "verdict": "comparable",
        "volume_ratio": ratio,
        "ci95": [low, high],
        "true_ratio": true,
        "true_ratio_at_least": true,
        "min_diameter_mm": 1.2,
        "count_ratio": ratio,
        "true_count_ratio": true,
        "n_right": 90,
        "n_pairs": 92,
        "n_possible": 100,
        "tre_mm": 0.3,
        "lesion_mm": [19.0, 12.5],
        "true_lesion_mm": [19.0, 11.4],
        "category": "decreased",
        "seconds": {"cpu": 40.0, "wall": 50.0},
        "peak_gb": 1.7,
        **more,
    }


@pytest.mark.parametrize(
    ("row", "ratio", "true", "error"),
    [
        ("same protocol", 0.35, 0.3, 1.0),
        ("same protocol", 1.65, 1.5, 1.0),
        ("same protocol", 0.0, 0.0, 0.0),
        ("1.0 against 2.5 mm", 0.4, 0.3, 1.0),
        ("1.0 against 2.5 mm", 1.2, 1.5, 1.0),
        ("inspiration", None, 1.0, float("inf")),
    ],
)
def test_the_error_is_told_as_part_of_what_is_allowed(row, ratio, true, error):
    assert find_ratio_error(figures(row, ratio, true)) == pytest.approx(error)


def test_a_ratio_that_is_not_given_is_counted_and_worst():
    rows = [figures("inspiration", None, 1.0, count_ratio=None), figures("inspiration", 1.0, 1.0)]
    text = render({"pair": rows, "rescan": [], "impossible": []})
    assert "refused 1" in text
    assert "worst inf" in text
    assert "recall median 0.900" in text
    assert "lesion change error median 1.100" in text


def test_every_row_asks_for_enough_pairs_of_two_patients():
    for row in ("same protocol", "1.0 against 2.5 mm"):
        mine = [pair for pair in PAIRS if pair.row == row]
        assert len(mine) >= 8
        assert len({pair.patient for pair in mine}) >= 2
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
