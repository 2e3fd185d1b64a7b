"""A reader's corrections, on a simulated chest whose nodules are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary.image.sensitivity import estimate
from miliary.model.completeness import Completeness, Estimate, Threshold
from miliary.model.corrections import Correction, CorrectionKind, collect_corrections
from miliary.model.nodules import COLUMN_NAMES
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize
from miliary.pipeline import find_nodules

CLICK_OFF_MM = np.array([1.0, -1.0, 0.8])
TIME = "2026-01-02T03:04:05+00:00"


def _say(number, kind, point, **fields):
    point = tuple(float(value) for value in point)
    return Correction(number, TIME, "AB", "scan", CorrectionKind(kind), position_lps_mm=point, **fields)


def _apply(simulated, *corrections):
    known = collect_corrections(corrections, "scan")
    return find_nodules(simulated.scan, n_threads=1, corrections=known, with_completeness=False)


@pytest.fixture(scope="module")
def plain(simulated_chest):
    return find_nodules(simulated_chest.scan, n_threads=1, with_completeness=False)


@pytest.fixture(scope="module")
def missed(simulated_chest, plain):
    """Nodules that are there and were not marked, well inside a lung and away from every mark."""
    truth = simulated_chest.truth
    place = np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1)[truth["kind"] == "nodule"]
    size = truth["diameter_mm"][truth["kind"] == "nodule"]
    gap = np.linalg.norm(place[:, None] - plain.nodules.position_lps_mm, axis=2).min(axis=1)
    apart = np.linalg.norm(place[:, None] - place[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    found = (gap > 6) & (apart.min(axis=1) > 8)
    assert found.sum() >= 16
    return place[found], size[found]


def test_no_correction_changes_nothing(simulated_chest, plain):
    result = _apply(simulated_chest)
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(result.nodules[name], plain.nodules[name])
    assert to_json(summarize(result))["corrections"]["applied_through"] == 0
    assert "corrections" not in to_json(summarize(plain))
    assert plain.corrections is None


def test_a_rejected_mark_is_gone_and_the_others_keep_their_numbers(simulated_chest, plain):
    row = 7
    place = plain.nodules.position_lps_mm[row]
    result = _apply(simulated_chest, _say(1, "reject_nodule", place, nodule_id=int(plain.nodules["id"][row])))
    expected = np.delete(plain.nodules["id"], row)
    assert result.nodules["id"].tolist() == expected.tolist()
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(result.nodules[name], np.delete(plain.nodules[name], row))
    assert (result.corrections.n_rejected, result.corrections.not_placed) == (1, ())
    summary = to_json(summarize(result))
    before = to_json(summarize(plain))
    assert summary["nodules"]["count"] == before["nodules"]["count"] - 1


def test_missed_nodules_are_measured_near_the_clicks(simulated_chest, plain, missed):
    places, sizes = missed[0][:16], missed[1][:16]
    # Off by a voxel or less, as a click is.
    clicks = [_say(n, "add_nodule", place + CLICK_OFF_MM) for n, place in enumerate(places, 1)]
    result = _apply(simulated_chest, *clicks)
    n = len(plain.nodules)
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(result.nodules[name][:n], plain.nodules[name])
    added = result.nodules.select(np.arange(n, len(result.nodules)))
    assert len(added) == result.corrections.n_added == len(places)
    assert added["id"].tolist() == list(range(n + 1, n + 1 + len(places)))
    assert all(flags.split(";")[-1] == "reader_added" for flags in added["flags"])
    assert (added["probability"] == 1.0).all()
    # These are the hard ones, most of them beside a vessel, on voxels of 2.5 mm.
    off = np.linalg.norm(added.position_lps_mm - places, axis=1)
    assert np.median(off) < 1.5
    assert np.median(np.abs(added["diameter_mm"] - sizes)) < 0.6
    assert (added["side"] == np.where(places[:, 0] < 0, "right", "left")).all()


def test_what_finds_no_place_is_told_and_changes_nothing(simulated_chest, plain, missed):
    places, _ = missed
    outside = [0.0, -500.0, 0.0]
    trachea_side = plain.grid.lps_from_index([60, 2, 2])
    result = _apply(
        simulated_chest,
        _say(1, "add_nodule", outside),
        _say(2, "add_nodule", trachea_side),
        _say(3, "add_nodule", plain.nodules.position_lps_mm[3]),
        _say(4, "reject_nodule", places[0], nodule_id=2),
        _say(5, "add_nodule", places[1]),
        _say(6, "add_nodule", places[1] + 0.3),
    )
    # Outside the scan, outside the lungs, on a mark, on none, and the same place twice.
    assert result.corrections.not_placed == (1, 2, 3, 4, 6)
    assert len(result.nodules) == len(plain.nodules) + 1
    told = [w for w in result.warnings if w.code == "correction_not_placed"]
    assert [w.message.split()[1] for w in told] == ["1", "2", "3", "4", "6"]


def test_a_mark_is_known_by_its_place_when_its_number_has_changed(simulated_chest, plain):
    place = plain.nodules.position_lps_mm[4]
    result = _apply(simulated_chest, _say(1, "reject_nodule", place + 0.2, nodule_id=99999))
    assert int(plain.nodules["id"][4]) not in result.nodules["id"]


def test_every_mark_can_be_rejected(simulated_chest, plain):
    everything = [
        _say(n, "reject_nodule", point, nodule_id=int(i))
        for n, (point, i) in enumerate(
            zip(plain.nodules.position_lps_mm, plain.nodules["id"], strict=True), 1
        )
    ]
    result = _apply(simulated_chest, *everything)
    assert len(result.nodules) == 0
    assert result.corrections.n_rejected == len(plain.nodules)
    assert to_json(summarize(result))["nodules"]["diameter_mm"]["median_reason"]


def test_simulated_stays_simulated_and_measured_becomes_corrected(simulated_chest, make_result, plain):
    changed = _apply(simulated_chest, _say(1, "reject_nodule", plain.nodules.position_lps_mm[0], nodule_id=1))
    assert to_json(summarize(changed))["origin"] == "simulated"
    assert to_json(summarize(changed))["corrections"]["origin"] == "corrected"
    measured = replace(make_result(), corrections=changed.corrections)
    assert to_json(summarize(measured))["origin"] == "corrected"
    nothing = replace(changed.corrections, n_rejected=0)
    assert to_json(summarize(replace(measured, corrections=nothing)))["origin"] == "measured"


def test_what_the_program_misses_is_not_estimated_from_what_a_reader_added(make_nodules):
    nodules = make_nodules(
        6,
        diameter_mm=[2.0, 2.0, 2.0, 9.0, 2.0, 2.0],
        attenuation=["solid", "solid", "solid", "solid", "calcified", "solid"],
        flags=["", "reader_added", "blended;reader_added", "", "", ""],
        probability=np.linspace(0.4, 0.9, 6),
    )
    place = np.arange(18.0).reshape(6, 3)
    marks = estimate.list_reported(nodules, place, np.zeros(0), litres=4.0, slice_mm=1.0)
    assert marks.position_mm.tolist() == place[[0, 5]].tolist()
    assert marks.diameter_mm.tolist() == [2.0, 2.0]
    assert marks.probability.tolist() == pytest.approx([0.4, 0.9])


def test_corrected_numbers_hold_what_was_counted(make_nodules):
    nodules = make_nodules(
        4,
        diameter_mm=[1.5, 2.5, 2.5, 2.5],
        volume_mm3=[2.0, 8.0, 8.0, 8.0],
        attenuation=["solid", "solid", "solid", "calcified"],
        flags=["", "reader_added", "", "reader_added"],
    )
    few, many = Estimate(1.0, 0.5, 2.5), Estimate(50.0, 40.0, 60.0)
    rows = (Threshold(1.0, many, few), Threshold(2.0, few, many), Threshold(3.0, few, few))
    found = Completeness(9, 9, (), (), (), (), (), (), (), (), (), 1.0, 2.0, at_least=rows)
    held = estimate.include_reader_added(found, nodules).at_least
    # Three count from 1 mm on, two from 2 mm, none from 3 mm; calcified ones never do.
    assert held[0] == Threshold(1.0, many, Estimate(18.0, 18.0, 18.0))
    assert held[1] == Threshold(2.0, Estimate(2.0, 2.0, 2.5), many)
    assert held[2] == rows[2]
