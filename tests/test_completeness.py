from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import jsonschema
import numpy as np
import pytest

from miliary.image.figures.completeness_figure import render_completeness
from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan
from miliary.model.completeness import Completeness, Estimate, FalseMarks, Threshold
from miliary.model.ct_result import Lungs
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize, summarize_corrected
from miliary.pipeline import find_nodules


def _check(summary):
    schema = json.loads(
        resources.files("miliary.exchange").joinpath("schemas/scan.schema.json").read_text("utf-8")
    )
    jsonschema.validate(json.loads(json.dumps(summary)), schema)


def _threshold(diameter, count, volume):
    return Threshold(
        diameter,
        Estimate(count, 0.9 * count, 1.1 * count),
        Estimate(volume, 0.8 * volume, 1.2 * volume),
    )


@pytest.fixture
def known():
    at = tuple(float(d) for d in np.linspace(0.75, 5.5, 20))
    curve = tuple(min(1.0, max(0.0, (d - 0.7) / 1.2)) for d in at)
    return Completeness(
        n_injected=600,
        n_found=400,
        curve_mm=at,
        curve=curve,
        curve_low=tuple(0.95 * c for c in curve),
        curve_high=tuple(min(1.0, 1.05 * c) for c in curve),
        points_mm=(1.0, 2.0),
        points=(0.3, 0.95),
        points_n=(60, 60),
        size_bias=(0.0,) * 20,
        size_scatter=(0.05,) * 20,
        diameter_50_mm=1.3,
        diameter_90_mm=1.8,
        false_marks=FalseMarks("candidates", Estimate(10.0, 5.0, 20.0), 2.5, 30.0, None),
        at_least=(
            _threshold(1.3, 900.0, 4000.0),
            _threshold(1.4, 800.0, 3900.0),
            _threshold(2.0, 300.0, 3000.0),
        ),
        edges_mm=(1.3, 2.0, 4.0),
        counts=(600.0, 300.0),
    )


def test_numbers_between_the_stated_diameters_lie_between_theirs(known):
    here = known.above(1.35)
    assert here.count.value == pytest.approx(850.0)
    assert here.total_volume_mm3.low == pytest.approx(0.8 * 3950.0)
    assert known.above(1.3).count == known.at_least[0].count
    assert known.above(1.2) is None


def test_the_least_diameter_is_never_below_one_millimetre(known):
    assert known.min_diameter_mm == 1.3
    assert replace(known, diameter_50_mm=0.8).min_diameter_mm == 1.0
    assert replace(known, diameter_50_mm=None).min_diameter_mm is None


def test_what_can_be_told_is_told(known, make_result):
    summary = to_json(summarize(make_result(completeness=known)))
    _check(summary)
    corrected = summary["corrected"]
    assert corrected["count"] == 900.0
    assert corrected["count_ci95"] == [810.0, 990.0]
    assert corrected["min_diameter_mm"] == 1.3
    assert corrected["false_marks"]["source"] == "candidates"
    assert corrected["count_at_least_1_mm"] is None
    assert "1.30 mm" in corrected["count_at_least_1_mm_reason"]
    assert [row["diameter_mm"] for row in corrected["at_least"]] == [1.3, 1.4, 2.0]
    assert summary["completeness"]["diameter_90_mm"] == 1.8


def test_what_cannot_be_told_is_null_with_the_reason(known):
    unknown = to_json(summarize_corrected(replace(known, at_least=(), reason="not measurable: made up")))
    for name in ("count", "count_ci95", "total_volume_mm3", "total_volume_mm3_ci95"):
        assert unknown[name] is None
        assert unknown[f"{name}_reason"] == "not measurable: made up"


def test_without_completeness_the_summary_says_that_it_is_uncorrected(make_result):
    summary = to_json(summarize(make_result()))
    _check(summary)
    assert summary["corrected"]["count"] is None
    assert "uncorrected" in summary["corrected"]["count_reason"]
    assert summary["completeness"]["diameter_50_mm"] is None


def test_the_picture_shows_the_curve_and_nothing_where_there_is_none(known):
    (figure,) = render_completeness(known, np.array([1.5, 2.0, 2.1]))
    assert figure.name == "completeness"
    assert figure.pixels.dtype == np.uint8
    (other,) = render_completeness(replace(known, diameter_50_mm=1.5), np.array([1.5, 2.0, 2.1]))
    assert not np.array_equal(figure.pixels, other.pixels)
    assert render_completeness(None, np.array([1.5])) == ()


def _measure_crop(slice_mm, noise_hu, *, n, seed=11):
    """A part of one lung with known nodules of 1.2 to 3 mm, its mask given."""
    shape = tuple(round(mm / step) for mm, step in zip((85.0, 77.0, 77.0), (slice_mm, 0.7, 0.7), strict=True))
    protocol = ScanProtocol(
        shape_zyx=shape,
        spacing_zyx_mm=(slice_mm, 0.7, 0.7),
        slice_thickness_mm=slice_mm,
        noise_sd_hu=noise_hu,
        center_lps_mm=(-75.0, 5.0, 130.0),
    )
    made = simulate_scan(protocol, seed=seed, population=NodulePopulation(n, (1.2, 3.0)))
    mask = Lungs(made.lung_labels, made.scan.grid.voxel_volume_mm3)
    result = find_nodules(made.scan, lung_mask=mask, with_completeness=True)
    return made, result


@pytest.fixture(scope="module")
def thin():
    return _measure_crop(1.0, 20.0, n=260)


def test_count_and_volume_of_a_thin_scan_are_right(thin):
    made, result = thin
    least = max(1.2, result.completeness.min_diameter_mm)
    truth = made.truth["diameter_mm"].astype(float)
    truth = truth[truth >= least]
    found = result.completeness.above(least)
    assert found.count.value == pytest.approx(len(truth), rel=0.15)
    assert found.count.low < found.count.value < found.count.high
    assert found.total_volume_mm3.value == pytest.approx(np.pi / 6 * np.sum(truth**3), rel=0.2)
    assert (found.count.high - found.count.low) / (2 * found.count.value) < 0.2
    # More nodules are there than were marked, false marks aside.
    n_marked = np.count_nonzero(result.nodules["diameter_mm"] >= least)
    assert found.count.value > n_marked - result.completeness.false_marks.expected.value
    assert 0.7 < result.completeness.diameter_50_mm < result.completeness.diameter_90_mm < 2.5


def test_the_result_holds_the_picture_and_passes_the_schema(thin):
    _, result = thin
    _check(to_json(summarize(result)))
    assert [figure.name for figure in result.figures].count("completeness") == 1
    assert "completeness" in [stage.name for stage in result.stages]


def test_slices_of_five_millimetres_cannot_be_corrected():
    _, result = _measure_crop(5.0, 20.0, n=260)
    corrected = to_json(summarize(result))["corrected"]
    assert corrected["count"] is None
    assert corrected["count_reason"].startswith("not measurable")
    assert corrected["count_at_least_1_mm"] is None
    assert len(result.nodules) > 0


def test_it_is_left_out_on_demand(thin):
    made, _ = thin
    mask = Lungs(made.lung_labels, made.scan.grid.voxel_volume_mm3)
    result = find_nodules(made.scan, lung_mask=mask, with_completeness=False)
    assert result.completeness is None
    assert "completeness" not in [stage.name for stage in result.stages]
