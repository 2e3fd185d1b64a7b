"""The figures of `validation.operating_point`: false marks, and shares found by size and contact."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from validation.operating_point import compare

TRUTH = pd.DataFrame(
    {
        "x_mm": [0.0, 20.0, 40.0, 60.0],
        "y_mm": 0.0,
        "z_mm": 0.0,
        "diameter_mm": [1.6, 2.5, 2.5, 2.5],
        "kind": "nodule",
        "density_hu": [40.0, 40.0, 40.0, -500.0],
        "attached": [True, False, True, False],
    }
)


def test_marks_near_a_nodule_are_true_and_subsolid_ones_are_no_share() -> None:
    marks = np.array([[1.0, 0.0, 0.0], [20.0, 1.4, 0.0], [60.0, 0.0, 0.0], [80.0, 0.0, 0.0]])
    n_false, shares = compare(marks, TRUTH)
    assert n_false == 1
    assert shares == {"1.5-2 mm": 1.0, "2-3 mm": 0.5, "attached": 0.5}


@pytest.mark.parametrize("n", [0, 3])
def test_without_nodules_every_mark_is_false(n: int) -> None:
    assert compare(np.zeros((n, 3)), TRUTH.iloc[:0]) == (n, {})
