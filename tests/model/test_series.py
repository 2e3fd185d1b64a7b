"""Several follow-ups of one baseline."""

from miliary.model.saved.summarize_comparison import find_nadir


def test_the_nadir_is_the_smallest_ratio_that_is_known():
    assert find_nadir([0.5, None, 0.2, 0.9]) == 2
    assert find_nadir([None, None]) is None
