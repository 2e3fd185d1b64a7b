"""Rows, states and the book-keeping of the validation."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from validation.cases import CASES, SIMULATED
from validation.results import RESULTS, SEEN_STATE, append_history, render_run, renew_state, row_state
from validation.rows import ROWS, Measured, cases_of_row, measure_row
from validation.run import choose
from validation.score import score

BY_ID = {row.id: row for row in ROWS}


def _figures(name: str, *, hits: int = 98, n: int = 100, litres: float = 5.0) -> dict[str, object]:
    truth = pd.DataFrame({"x_mm": [20.0 * i for i in range(n)], "y_mm": 0.0, "z_mm": 0.0})
    truth = truth.assign(diameter_mm=1.8, attached=[i % 2 == 0 for i in range(n)])
    marks = truth[:hits].assign(volume_mm3=3.0, probability=0.9, attenuation="solid")
    return {"name": name, "score": score(marks, truth, litres).to_json(), "found_litres": litres}


def test_there_are_at_least_twelve_simulated_scans_of_reserved_anatomy() -> None:
    assert len(SIMULATED) >= 12
    assert all(case.seed >= 900000 for case in SIMULATED)
    assert {case.source for case in SIMULATED} == {"shipped", "independent"}
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_has_scans_and_simulated_rows_have_both_simulators(row) -> None:
    cases = cases_of_row(row)
    assert cases
    if not row.id.startswith("real"):
        assert {case.source for case in cases} == {"shipped", "independent"}


def test_the_worst_scan_decides_the_state() -> None:
    metric = BY_ID["sens-1.5-3"].metrics[0]
    good = Measured(metric, {"a": 0.99, "b": 0.985})
    assert (good.worst, good.state) == (("b", 0.985), "aim met")
    assert Measured(metric, {"a": 0.99, "b": 0.95}).state == "met"
    assert Measured(metric, {"a": 0.99, "b": 0.93}).state == "met by the mean only"
    assert Measured(metric, {"a": 0.9, "b": 0.93}).state == "not met"
    ceiling = BY_ID["false-healthy"].metrics[0]
    assert Measured(ceiling, {"a": 1.0, "b": 6.0}).worst == ("b", 6.0)
    assert Measured(ceiling, {"a": 1.0, "b": 6.0}).state == "met by the mean only"


def test_a_row_takes_its_own_scans_only() -> None:
    results = {name: _figures(name) for name in ("ship-1000-a", "ship-healthy")}
    (everything, attached, isolated) = measure_row(BY_ID["sens-1.5-3"], results)
    assert everything.values == {"ship-1000-a": 0.98}
    assert (attached.mean + isolated.mean) / 2 == pytest.approx(0.98)
    assert measure_row(BY_ID["lowdose"], results) == []
    assert measure_row(BY_ID["sens-1.5-3"], {"ship-1000-a": {"error": "no"}}) == []


def test_volume_shift_is_between_the_two_scans_of_one_patient() -> None:
    results = {
        "ind-healthy": _figures("ind-healthy", litres=5.0),
        "ind-5000-mass": _figures("ind-5000-mass", litres=5.1),
    }
    shift = next(metric for metric in BY_ID["lungs"].metrics if metric.label == "shift")
    assert shift.extract(results["ind-5000-mass"], results) == pytest.approx(0.02)


def test_shipped_weights_do_not_count_on_a_patient_they_were_trained_on() -> None:
    metric = BY_ID["real-0314"].metrics[0]
    measured = [Measured(metric, {"real-0314": 0.99})]
    assert row_state(BY_ID["real-0314"], measured, weights="shipped") == SEEN_STATE
    assert row_state(BY_ID["real-0314"], measured, weights="without-0314") == "aim met"


STATE = """# Title

| measure | bar | measured | worst scan |
|---|---|---|---|
| **Size** | | | |
| 1.5-3 mm, attached | - | not measured | |
| 1.5-3 mm | 2 | not measured | |
| **Lungs** | | | |
| 1.5-3 mm | 2 | not measured | |

## Not reached

None.
"""


def test_the_state_is_renewed_in_its_own_section_and_the_history_only_grows() -> None:
    text = renew_state(STATE, ("Size", "1.5-3 mm"), {"measured": "0.97", "worst scan": "0.95, a"})
    assert text.count("0.97") == 1
    assert "| 1.5-3 mm | 2 | 0.97 | 0.95, a |\n| **Lungs**" in text
    once = append_history(text, ["| day | one |"])
    twice = append_history(once, ["| day | two |"])
    assert twice.startswith(once.rstrip("\n"))
    assert twice.count("## History") == 1
    assert renew_state(twice, ("Lungs", "nothing like it"), {"measured": "1"}) == twice


def test_every_metric_has_a_line_in_the_results() -> None:
    text = RESULTS.read_text()
    for row in ROWS:
        for metric in row.metrics:
            assert renew_state(text, metric.line, {"measured": "CHANGED"}) != text, metric.line


def test_choosing_scans() -> None:
    names = {case.name for case in choose("sens-1-1.5", is_quick=False)}
    assert "ship-1000-a" in names
    assert "ship-healthy" not in names
    assert {case.name for case in choose("", is_quick=True)} == {c.name for c in CASES if c.is_quick}
    assert {"ind-healthy", "ind-5000-mass"} <= {case.name for case in choose("lungs", is_quick=False)}
    with pytest.raises(SystemExit, match="nonsense"):
        choose("nonsense", is_quick=False)


def test_the_table_shows_every_row_that_was_measured() -> None:
    figures = _figures("ship-1000-a") | {
        "lungs": {"dice": {"both": 0.99, "right": 0.985, "left": 0.99}, "pleural_inside": [9, 10]},
        "noise_hu": 20.0, "sigma_xy_mm": 0.5, "sigma_z_mm": 0.3, "n_candidates": 9, "seconds": 2.0,
        "peak_mb": 900.0,
    }  # fmt: skip
    text = render_run(
        {"ship-1000-a": figures}, command="python -m validation.run", weights="shipped", is_partial=True
    )
    assert re.search(r"`sens-1.5-3`.*0\.980", text)
    assert "| ship-1000-a | - | 98.0 (100)" in text
    assert "`lowdose`" not in text
