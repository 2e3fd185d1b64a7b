import json

import jsonschema
import numpy as np
import pytest

from miliary.exchange.folders.kinds import read_schema
from miliary.model.ct_result import COMMON_VOLUME_ERROR
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize


def _mixed(make_nodules):
    return make_nodules(
        5,
        diameter_mm=[1.0, 1.5, 2.0, 9.0, 4.0],
        volume_mm3=[1.0, 2.0, 4.0, 100.0, 50.0],
        volume_mm3_err=[0.3, 0.4, 0.0, 0.0, 7.0],
        attenuation=["solid", "subsolid", "unresolved", "solid", "calcified"],
        side=["right", "right", "left", "left", "right"],
        zone=["upper", "lower", "lower", "middle", "upper"],
    )


@pytest.mark.parametrize("n", [0, 1, 7])
def test_the_summary_follows_the_published_schema(make_result, make_nodules, n):
    summary = to_json(summarize(make_result(nodules=make_nodules(n))))
    jsonschema.Draft202012Validator.check_schema(read_schema())
    jsonschema.validate(json.loads(json.dumps(summary, allow_nan=False)), read_schema())


def test_the_schema_refuses_an_undocumented_name_and_a_null_without_reason(make_result):
    summary = to_json(summarize(make_result()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**summary, "extra": 1}, read_schema())
    summary["nodules"]["count_per_litre"] = None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary, read_schema())


def test_calcified_nodules_are_counted_apart(make_result, make_nodules):
    summary = to_json(summarize(make_result(nodules=_mixed(make_nodules))))
    nodules = summary["nodules"]
    assert nodules["count"] == 4
    assert nodules["count_per_litre"] == pytest.approx(4 / 3.5, rel=1e-5)
    assert nodules["total_volume_mm3"] == 107.0
    assert nodules["total_volume_mm3_err"] == pytest.approx(
        np.hypot(0.5, COMMON_VOLUME_ERROR * 107.0), rel=1e-5
    )
    assert summary["calcified"] == {"count": 1, "total_volume_mm3": 50.0}
    assert nodules["by_attenuation"] == {"solid": 2, "subsolid": 1, "unresolved": 1}


def test_sides_and_zones_add_up(make_result, make_nodules):
    nodules = to_json(summarize(make_result(nodules=_mixed(make_nodules))))["nodules"]
    right, left = nodules["by_side"]["right"], nodules["by_side"]["left"]
    assert (right["count"], left["count"]) == (2, 2)
    assert right["by_zone"] == {"upper": 1, "middle": 0, "lower": 1}
    assert left["by_zone"] == {"upper": 0, "middle": 1, "lower": 1}
    assert nodules["by_zone"] == {"upper": 1, "middle": 1, "lower": 2}
    assert left["count_per_litre"] == pytest.approx(2 / 1.5, rel=1e-5)


def test_the_size_distribution_is_that_of_the_burden(make_result, make_nodules):
    sizes = to_json(summarize(make_result(nodules=_mixed(make_nodules))))["nodules"]["diameter_mm"]
    values = np.array([1.0, 1.5, 2.0, 9.0])
    assert sizes["n"] == 4
    assert sizes["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert sizes["median"] == pytest.approx(1.75)
    assert sizes["sd"] == pytest.approx(values.std(ddof=1), rel=1e-5)
    assert sizes["cv"] == pytest.approx(values.std(ddof=1) / values.mean(), rel=1e-5)
    histogram = sizes["histogram"]
    assert sum(histogram["counts"]) + histogram["n_above"] == 4
    assert histogram["n_above"] == 1
    # The lower edge belongs to the bin.
    assert histogram["counts"][histogram["edges"].index(1.0)] == 1
    assert histogram["counts"][histogram["edges"].index(1.5)] == 1


def test_what_cannot_be_told_is_null_with_a_reason(make_result, make_nodules):
    summary = to_json(summarize(make_result(nodules=make_nodules(0), left_ml=0.0)))
    sizes = summary["nodules"]["diameter_mm"]
    assert summary["nodules"]["count"] == 0
    for name in ("mean", "median", "sd", "cv", "p10", "p90"):
        assert sizes[name] is None
        assert sizes[f"{name}_reason"]
    assert summary["nodules"]["by_side"]["left"]["count_per_litre"] is None
    assert summary["nodules"]["by_side"]["left"]["count_per_litre_reason"]
    assert summary["acquisition"]["kvp"] is None
    assert summary["acquisition"]["kvp_reason"] == "not stated in the file"
    assert "kernel_reason" not in summary["acquisition"]


def test_a_nodule_without_a_size_is_counted_but_not_in_the_distribution(make_result, make_nodules):
    nodules = make_nodules(3, diameter_mm=[1.0, np.nan, 2.0], volume_mm3=[0.5, np.nan, 4.0])
    summary = to_json(summarize(make_result(nodules=nodules)))["nodules"]
    assert summary["count"] == 3
    assert summary["diameter_mm"]["n"] == 2
    assert summary["total_volume_mm3"] == 4.5
