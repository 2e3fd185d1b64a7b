import dataclasses
import json
import types

import jsonschema
import numpy as np
import pytest

from miliary import followup
from miliary.errors import InputError
from miliary.exchange.folders.kinds import read_schema
from miliary.image.pair import region_response
from miliary.model.comparison import Category, ComparabilityVerdict
from miliary.model.ct_result import Lungs
from miliary.model.nodules import Fate
from miliary.model.saved.codec import from_json, to_json
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.summarize_comparison import summarize_comparison, summarize_series
from miliary.model.scan import Grid, Scan, ScanWarning
from miliary.model.transform import Transform

SHIFT_LPS_MM = np.array([4.0, -3.0, 6.0])
SHAPE, SPACING = (60, 56, 80), (3.0, 2.5, 2.6)


def lung_labels():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[6:54, 8:48, 6:36] = 1
    labels[6:54, 8:48, 44:74] = 2
    return labels


def chest(labels, *, level=-850):
    voxels = np.full(SHAPE, 40, dtype=np.int16)
    voxels[labels > 0] = level
    return voxels


@pytest.fixture
def register(monkeypatch):
    """Registration that is right, and says what the test wants it to say."""
    state = types.SimpleNamespace(
        transform=Transform.affine(np.eye(3), SHIFT_LPS_MM), agreement=0.9, marks=None
    )

    def register_lungs(fixed, fixed_lungs, moving, moving_lungs, *, fixed_disease, moving_disease):
        state.marks = (fixed_disease, moving_disease)
        return types.SimpleNamespace(
            transform=state.transform,
            agreement=state.agreement,
            tre_estimate_mm=0.5,
            overlap=0.98,
            min_jacobian=0.9,
            folded_share=0.0,
            n_landmarks=900,
        )

    monkeypatch.setattr(followup, "register_lungs", register_lungs)
    return state


@pytest.fixture
def make_exam(make_result, make_nodules):
    """One side: nodules at given indices of the labels, as `miliary ct` would have found them."""

    def make(name, index, volume, *, origin=(0.0, 0.0, 0.0), voxels=None, ids=None, **given):
        labels = lung_labels()
        grid = Grid(SHAPE, SPACING, origin)
        points = grid.lps_from_index(index)
        n = len(index)
        nodules = make_nodules(
            n,
            id=np.arange(1, n + 1) if ids is None else ids,
            x_mm=points[:, 0],
            y_mm=points[:, 1],
            z_mm=points[:, 2],
            volume_mm3=volume,
            volume_mm3_err=0.05 * volume,
            diameter_mm=np.cbrt(volume * 6 / np.pi),
            diameter_mm_err=np.full(n, 0.03),
            probability=np.full(n, 0.98),
        )
        ml = np.bincount(labels.ravel(), minlength=3)[1:] * grid.voxel_volume_mm3 / 1000.0
        lungs = Lungs(labels, grid.voxel_volume_mm3)
        result = make_result(
            grid=grid, lungs=lungs, nodules=nodules, right_ml=ml[0], left_ml=ml[1], warnings=(), **given
        )
        return followup.make_exam(name, Scan(chest(labels) if voxels is None else voxels, grid), result)

    return make


@pytest.fixture
def population():
    rng = np.random.default_rng(0)
    inside = np.argwhere(lung_labels() > 0)
    index = inside[rng.choice(len(inside), 500, replace=False)].astype(float)
    return index, np.exp(rng.normal(1.5, 0.4, 500))


@pytest.fixture
def make_pair(make_exam, population):
    """Baseline and a follow-up in which a share of the nodules is left at a part of its volume."""

    def make(*, kept=0.5, factor=0.6, voxels=None, **given):
        index, volume = population
        left = np.arange(len(index)) < kept * len(index)
        baseline = make_exam("before", index, volume)
        after = make_exam(
            "after",
            index[left],
            volume[left] * factor,
            origin=tuple(SHIFT_LPS_MM),
            voxels=voxels,
            **given,
        )
        truth = float((volume[left] * factor).sum() / volume.sum())
        return baseline, after, truth

    return make


def with_summary(exam, **changes):
    """The same scan, of which something else was measured; plain JSON values by key."""
    content = to_json(exam.summary) | changes
    return dataclasses.replace(exam, summary=from_json(ScanSummary, content, name="scan.json").value)


def check_schema(found):
    summary = json.loads(json.dumps(to_json(summarize_comparison(found)), allow_nan=False))
    jsonschema.validate(summary, read_schema("response"))
    return summary


def test_a_pair_from_end_to_end(register, make_pair):
    baseline, after, truth = make_pair()
    found = followup.compare_scans(baseline, after, days_between=91)
    summary = check_schema(found)
    ratio = summary["response"]
    assert ratio["volume_ratio"] == pytest.approx(truth, abs=0.02)
    assert ratio["volume_ratio_ci95"][0] < truth < ratio["volume_ratio_ci95"][1]
    assert ratio["count_ratio"] == pytest.approx(0.5, abs=0.02)
    assert ratio["category"] == "decreased"
    assert summary["comparability"]["verdict"] == "comparable"
    assert summary["days_between"] == 91
    assert summary["tracks"]["no_longer_seen"] == pytest.approx(250, abs=5)
    assert summary["tracks"]["shrunk"] == pytest.approx(250, abs=5)
    assert [w["code"] for w in summary["warnings"]] == ["uncorrected"]
    assert found.figure_rgb.ndim == 3
    assert sum(figure.kind == "compared_slab" for figure in found.figures) == 32
    shown = [figure.facts["fate"] for figure in found.figures if figure.kind == "followed_nodule"]
    assert 0 < len(shown) == len(found.figures) - 32
    assert found.smallest_changes


def test_tracks_name_the_nodules_of_both_scans(register, make_pair):
    baseline, after, _ = make_pair()
    tracks = followup.compare_scans(baseline, after).tracks
    pairs = (tracks["baseline_id"] > 0) & (tracks["followup_id"] > 0)
    assert np.array_equal(tracks["baseline_id"][pairs], tracks["followup_id"][pairs])
    assert tracks["volume_change_fraction"][pairs] == pytest.approx(-0.4)
    assert tracks["volume_change_fraction_err"][pairs] == pytest.approx(0.6 * np.hypot(0.05, 0.05))
    unseen = tracks.select(tracks["fate"] == Fate.NO_LONGER_SEEN.value)
    assert (unseen["followup_id"] == 0).all()
    assert np.isnan(unseen["volume_change_fraction"]).all()
    # Places are those of the baseline scan, on whichever scan the nodule was seen.
    places = dict(zip(baseline.nodules["id"], baseline.nodules.position_lps_mm, strict=True))
    there = np.stack([tracks[f"{axis}_mm"] for axis in "xyz"], axis=1)
    assert all(
        np.allclose(places[i], p, atol=0.05) for i, p in zip(tracks["baseline_id"], there, strict=True)
    )


def test_nodules_and_lesions_are_told_to_the_registration(register, make_pair):
    baseline, after, _ = make_pair()
    followup.compare_scans(baseline, after)
    assert [len(marks) for marks in register.marks] == [500, 250]
    assert register.marks[0][:, 3] == pytest.approx(baseline.nodules["diameter_mm"] / 2)


def test_nothing_changed_is_stable(register, make_pair):
    baseline, after, _ = make_pair(kept=1.0, factor=1.0)
    found = followup.compare_scans(baseline, after)
    assert found.total.volume_ratio.value == pytest.approx(1.0)
    assert found.total.volume_ratio.low < 1.0 < found.total.volume_ratio.high
    assert found.category is Category.STABLE
    assert found.tracks.count(Fate.KEPT) == 500


def test_nothing_seen_again_is_a_ratio_of_zero(register, make_pair):
    baseline, after, _ = make_pair(kept=0.0)
    found = followup.compare_scans(baseline, after)
    assert found.total.volume_ratio.value == 0.0
    assert found.total.volume_ratio.high < 0.05
    assert found.tracks.count(Fate.NO_LONGER_SEEN) == 500
    check_schema(found)


def test_no_nodules_at_baseline_have_no_ratio(register, make_exam, population):
    index, volume = population
    found = followup.compare_scans(
        make_exam("before", index[:0], volume[:0]),
        make_exam("after", index, volume, origin=tuple(SHIFT_LPS_MM)),
    )
    summary = check_schema(found)
    assert summary["response"]["volume_ratio"] is None
    assert "too little" in summary["response"]["volume_ratio_reason"]
    assert summary["tracks"]["new"] == 500


def test_sides_and_zones_add_up(register, make_pair):
    baseline, after, _ = make_pair()
    found = followup.compare_scans(baseline, after)
    zones = [r for r in found.regions if r.zone]
    sides = [r for r in found.regions if not r.zone]
    assert len(zones) == 6
    assert [r.side for r in sides] == ["right", "left"]
    for parts in (zones, sides):
        assert sum(r.baseline.volume_mm3 for r in parts) == pytest.approx(found.total.baseline.volume_mm3)
        assert sum(r.baseline.lung_ml for r in parts) == pytest.approx(found.total.baseline.lung_ml)


def test_a_scan_that_is_cut_off_is_compared_over_what_both_show(register, make_exam, population):
    index, volume = population
    baseline = make_exam("before", index, volume)
    whole = make_exam("after", index, volume, origin=tuple(SHIFT_LPS_MM))
    # The lower 12 slices were not scanned: lung from slice 12 of 6 to 54 on.
    low = 12
    cut = whole.scan.grid.crop((low, 0, 0), (SHAPE[0] - low, *SHAPE[1:]))
    seen = index[:, 0] >= low
    after = dataclasses.replace(
        whole,
        scan=Scan(whole.scan.voxels_hu[low:].copy(), cut),
        lungs=Lungs(whole.lungs.labels[low:].copy(), cut.voxel_volume_mm3, is_cut_off=True),
        nodules=whole.nodules.select(seen),
    )
    found = followup.compare_scans(baseline, after)
    assert found.comparability.facts["common_coverage"] == pytest.approx(42 / 48, abs=0.03)
    assert found.total.volume_ratio.value == pytest.approx(1.0, abs=0.02)
    assert found.tracks.count(Fate.NO_LONGER_SEEN) <= 3


def test_scans_that_are_not_comparable_have_no_ratio_but_all_else(register, make_pair):
    baseline, after, _ = make_pair()
    squeezed = np.diag([1.0, 1.0, 0.5])
    register.transform = Transform.affine(squeezed, SHIFT_LPS_MM + np.array([0, 0, 80.0]))
    found = followup.compare_scans(baseline, after)
    assert found.comparability.verdict is ComparabilityVerdict.NOT_COMPARABLE
    summary = check_schema(found)
    assert summary["response"]["volume_ratio"] is None
    assert "not comparable" in summary["response"]["volume_ratio_reason"]
    assert summary["response"]["category"] == "indeterminate"
    assert all(zone["volume_ratio"] is None for zone in summary["response"]["by_zone"])
    assert summary["response"]["baseline"]["n_reported"] > 0


def test_lungs_that_do_not_agree_are_refused(register, make_pair):
    baseline, after, _ = make_pair()
    register.agreement = 0.03
    with pytest.raises(InputError, match="before and after do not look like the same lungs"):
        followup.compare_scans(baseline, after)


def test_lungs_of_one_patient_that_do_not_agree_are_a_warning(register, make_pair):
    baseline, after, _ = make_pair()
    register.agreement = 0.03
    found = followup.compare_scans(baseline, after, is_one_patient=True)
    assert "lungs_disagree" in {w.code for w in found.warnings}


def test_scans_without_a_lung_in_common_are_refused(register, make_pair, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no lung of the same side")

    baseline, after, _ = make_pair()
    monkeypatch.setattr(followup, "register_lungs", fail)
    with pytest.raises(InputError, match="no lung in common"):
        followup.compare_scans(baseline, after)


def test_other_parts_of_the_body_are_refused(register, make_pair):
    baseline, after, _ = make_pair()
    register.transform = Transform.affine(np.eye(3), SHIFT_LPS_MM + np.array([0, 0, 170.0]))
    with pytest.raises(InputError, match="of the lung in common"):
        followup.compare_scans(baseline, after)


def test_a_new_shadow_is_flagged_and_its_zone_leaves_the_ratio(register, make_pair):
    labels = lung_labels()
    voxels = chest(labels)
    voxels[40:52, 14:40, 10:32] = -400  # right upper zone turned to ground glass
    baseline, after, _ = make_pair(voxels=voxels)
    found = followup.compare_scans(baseline, after)
    summary = check_schema(found)
    assert [(o["kind"], o["side"], o["zone"]) for o in summary["new_opacities"]] == [
        ("ground_glass", "right", "upper")
    ]
    size_ml = 12 * 26 * 22 * np.prod(SPACING) / 1000
    assert summary["new_opacities"][0]["volume_ml"] == pytest.approx(size_ml, rel=0.35)
    excluded = [(z["side"], z["zone"]) for z in summary["response"]["by_zone"] if z["is_excluded"]]
    assert excluded == [("right", "upper")]
    kept = [r for r in found.regions if r.zone and not r.excluded]
    assert found.total.baseline.volume_mm3 == pytest.approx(sum(r.baseline.volume_mm3 for r in kept))
    assert "new_opacities" in {w.code for w in found.warnings}


def test_a_lesion_that_grew_is_no_new_shadow(register, make_pair):
    z, y, x = np.indices(SHAPE)
    off = [((i - c) * s) ** 2 for i, c, s in zip((z, y, x), (30, 28, 21), SPACING, strict=True)]
    voxels = chest(lung_labels())
    voxels[sum(off) < 16.0**2] = 40
    baseline, after, _ = make_pair(voxels=voxels)
    assert len(followup.compare_scans(baseline, after).opacities) == 1
    after = with_summary(after, lesions=[lesion(32.0, after.scan.grid.lps_from_index((30, 28, 21)))])
    assert followup.compare_scans(baseline, after).opacities == ()


def test_a_shadow_that_was_there_before_is_not_new(register, make_pair, make_exam, population):
    voxels = chest(lung_labels())
    voxels[40:52, 14:40, 10:32] = -400
    index, volume = population
    baseline = make_exam("before", index, volume, voxels=voxels)
    _, after, _ = make_pair(voxels=voxels)
    assert followup.compare_scans(baseline, after).opacities == ()
    _, clear, _ = make_pair()
    assert followup.compare_scans(baseline, clear).opacities == ()


def test_lung_that_shrank_is_denser_without_a_shadow(register, make_pair):
    # Four fifths of the volume: the same tissue in less room.
    register.transform = Transform.affine(np.diag([1.0, 1.0, 0.8]), SHIFT_LPS_MM + np.array([0, 0, 18.0]))
    baseline, after, _ = make_pair(voxels=chest(lung_labels(), level=round(-1000 + 150 / 0.8)))
    assert followup.compare_scans(baseline, after).opacities == ()


def lesion(long_axis, center, **more):
    return {"id": 1, "long_axis_mm": long_axis, "centroid_lps_mm": list(center), "volume_mm3": 100.0, **more}


def test_the_dominant_lesion_is_followed_where_it_was(register, make_pair):
    baseline, after, _ = make_pair()
    center = np.array([40.0, 60.0, 80.0])
    baseline = with_summary(
        baseline, lesions=[lesion(19.0, center, wall_thickness_mm=4.0), lesion(9.0, center + 40)]
    )
    there = [
        lesion(14.0, center + SHIFT_LPS_MM + 40),
        lesion(11.4, center + SHIFT_LPS_MM + 1, volume_mm3=50.0, wall_thickness_mm=2.5),
    ]
    after = with_summary(after, lesions=there)
    summary = check_schema(followup.compare_scans(baseline, after))
    assert (summary["lesion"]["baseline_mm"], summary["lesion"]["followup_mm"]) == (19.0, 11.4)
    assert summary["lesion"]["volume_change_fraction"] == pytest.approx(-0.5)
    assert summary["lesion"]["wall_change_mm"] == pytest.approx(-1.5)
    assert summary["recist"]["target_response"] == "PR"
    assert summary["recist"]["change_percent"] == pytest.approx(-40.0)


def test_nodules_in_a_lesion_are_not_burden(register, make_pair):
    baseline, after, _ = make_pair(kept=1.0, factor=1.0)
    center = baseline.nodules.position_lps_mm[0]
    baseline = with_summary(baseline, lesions=[lesion(60.0, center)])
    found = followup.compare_scans(baseline, after)
    assert found.total.baseline.n_reported < 490
    assert found.total.volume_ratio.value > 1.02


def corrected(share, total, count):
    """What `scan.json` says of a scan that finds this share at every diameter."""
    edges = [0.8, 1.0, 2.0, 4.0, 8.0]
    return {
        "completeness": {
            "diameter_50_mm": 1.2,
            "diameter_90_mm": 1.9,
            "curve": {
                "diameter_mm": edges,
                "probability": [share] * 5,
                "size_bias": [0.0] * 5,
                "ci95_low": [share - 0.02] * 5,
                "ci95_high": [share + 0.02] * 5,
                "size_scatter": [0.05] * 5,
            },
        },
        "corrected": {
            "min_diameter_mm": 1.2,
            "at_least": [
                {
                    "diameter_mm": d,
                    "total_volume_mm3": total,
                    "total_volume_mm3_ci95": [0.94 * total, 1.06 * total],
                    "count": count,
                    "count_ci95": [0.95 * count, 1.05 * count],
                }
                for d in (1.2, 3.0)
            ],
        },
    }


def test_what_a_reader_changed_is_told_and_stands_for_itself(register, make_exam, population):
    index, volume = population
    flags = np.where(np.arange(len(index)) < 20, "reader_added", "").astype(object)
    before = make_exam("before", index, volume)
    before = dataclasses.replace(
        before,
        nodules=dataclasses.replace(before.nodules, columns={**before.nodules.columns, "flags": flags}),
    )
    before = with_summary(before, origin="corrected", corrections={"applied_through": 4})
    after = make_exam("after", index, volume, origin=tuple(SHIFT_LPS_MM))
    summary = check_schema(followup.compare_scans(before, after))
    assert summary["origin"] == "corrected"
    assert summary["baseline"]["corrections_applied_through"] == 4
    assert "corrections_applied_through" not in summary["followup"]
    # A program that finds a quarter of them: each stands for four, what a reader added for itself.
    flat = types.SimpleNamespace(
        at=lambda diameter_mm: np.full(len(diameter_mm), 0.25), error_at=lambda diameter_mm: 0 * diameter_mm
    )
    side = types.SimpleNamespace(
        nodules=before.nodules, detectability=flat, place=types.SimpleNamespace(part=np.zeros(len(index)))
    )
    assert region_response._sample(side).completeness.tolist() == [1.0] * 20 + [0.25] * (len(index) - 20)


def test_corrected_totals_are_used_where_both_scans_have_them(register, make_pair):
    baseline, after, _ = make_pair(kept=0.5, factor=1.0)
    baseline = with_summary(baseline, **corrected(0.9, 4000.0, 550.0))
    facts = corrected(0.5, 2400.0, 500.0)
    facts["completeness"]["diameter_90_mm"] = 2.2
    facts["corrected"]["min_diameter_mm"] = 1.5
    acquisition = to_json(after.summary)["acquisition"] | {"slice_thickness_mm": 5.0}
    after = with_summary(after, acquisition=acquisition, **facts)
    found = followup.compare_scans(baseline, after)
    summary = check_schema(found)
    response = summary["response"]
    assert response["is_corrected"] is True
    assert response["volume_ratio"] == pytest.approx(0.6)
    low, high = response["volume_ratio_ci95"]
    # 3 % each, wholly apart, would be 0.55 to 0.65; wholly shared would be nothing.
    assert 0.54 < low < 0.59
    assert 0.61 < high < 0.66
    assert response["count_ratio"] == pytest.approx(500 / 550)
    assert (response["min_diameter_mm"], response["count_diameter_mm"]) == (1.5, 2.2)
    assert summary["comparability"]["baseline_d50_mm"] == 1.2
    assert "uncorrected" not in {w["code"] for w in summary["warnings"]}


def test_like_scans_are_weighed_nodule_by_nodule(register, make_pair):
    baseline, after, truth = make_pair(kept=0.5, factor=1.0)
    # Half of what is there is seen on the follow-up; its own totals are 9 % off.
    baseline = with_summary(baseline, **corrected(0.9, 4000.0, 550.0))
    after = with_summary(after, **corrected(0.45, 4400.0, 600.0))
    found = followup.compare_scans(baseline, after)
    assert found.comparability.verdict is ComparabilityVerdict.COMPARABLE
    assert found.is_corrected
    assert found.total.volume_ratio.value == pytest.approx(2 * truth, abs=0.03)
    assert found.total.count_ratio.value == pytest.approx(1.0, abs=0.03)


def totals_by_size(share, number, half_mm, most_mm):
    """`corrected` with totals that fall with the smallest diameter."""
    facts = corrected(share, 1.0, 1.0)
    sizes = [half_mm, *np.round(np.arange(np.ceil(half_mm * 10 + 1e-6), 41) / 10, 1)]
    rows = [
        {
            "diameter_mm": float(d),
            "count": number / d,
            "count_ci95": [0.9 * number / d, 1.1 * number / d],
            "total_volume_mm3": 9 * number / d,
            "total_volume_mm3_ci95": [8 * number / d, 10 * number / d],
        }
        for d in sizes
    ]
    facts["corrected"] = {"min_diameter_mm": half_mm, "at_least": rows}
    facts["completeness"] |= {"diameter_50_mm": half_mm, "diameter_90_mm": most_mm}
    return facts


@pytest.mark.parametrize("slice_mm", [1.0, 2.5])
def test_a_quantity_has_one_value_in_the_scan_and_in_the_comparison(register, make_pair, slice_mm):
    # Like scans are weighed nodule by nodule, unlike ones by totals; what is stated of a scan is its own.
    baseline, after, _ = make_pair(kept=1.0)
    facts = totals_by_size(0.9, 700.0, 1.07, 1.63), totals_by_size(0.8, 300.0, 1.24, 1.98)
    acquisition = to_json(after.summary)["acquisition"]
    baseline = with_summary(baseline, acquisition=acquisition | {"slice_thickness_mm": 1.0}, **facts[0])
    after = with_summary(after, acquisition=acquisition | {"slice_thickness_mm": slice_mm}, **facts[1])
    found = followup.compare_scans(baseline, after)
    response = check_schema(found)["response"]
    assert (response["min_diameter_mm"], response["count_diameter_mm"]) == (1.3, 2.0)
    assert ("nodule by nodule" in response["ratio_basis"]) == (slice_mm == 1.0)
    for name, exam in (("baseline", baseline), ("followup", after)):
        rows = {row.diameter_mm: row for row in exam.summary.corrected.at_least}
        # All nodules lie in the lung that both show.
        assert response[name]["n_reported"] == np.count_nonzero(exam.nodules["diameter_mm"] >= 1.3)
        assert response[name]["count"] == pytest.approx(rows[2.0].count, rel=1e-5)
        assert response[name]["volume_mm3"] == pytest.approx(rows[1.3].total_volume_mm3, rel=1e-5)
        parts = [part[name]["count"] for part in response["by_side"]]
        assert sum(parts) == pytest.approx(response[name]["count"], rel=1e-5)


@pytest.mark.parametrize("which", ["before", "after"])
def test_marks_outside_validity_are_neither_counted_nor_followed(register, make_pair, which):
    baseline, after, _ = make_pair()
    reason = "pixels of 2 mm are larger than 1.4 mm"
    validity = {"verdict": "outside", "reasons": [reason], "checks": []}
    if which == "before":
        baseline = with_summary(baseline, validity=validity)
    else:
        after = with_summary(after, validity=validity)
    found = followup.compare_scans(baseline, after)
    assert found.comparability.verdict is ComparabilityVerdict.NOT_COMPARABLE
    assert reason in found.comparability.reasons[0]
    assert len(found.tracks) == 0
    summary = check_schema(found)
    assert summary["response"]["category"] == "indeterminate"
    assert reason in summary["response"]["volume_ratio_reason"]
    assert summary["tracks"] == {}
    assert reason in summary["tracks_reason"]
    assert {zone["identities"] for zone in summary["matching"]["by_zone"]} == {"refused"}
    doubtful, other = ("baseline", "followup") if which == "before" else ("followup", "baseline")
    for burdens in (summary["response"], *summary["response"]["by_side"], *summary["response"]["by_zone"]):
        for name in ("volume_mm3", "count", "count_per_litre"):
            assert burdens[doubtful][name] is None
            assert reason in burdens[doubtful][f"{name}_reason"]
            assert burdens[other][name] is not None


def test_a_late_baseline_is_flagged(register, make_pair):
    baseline, after, _ = make_pair()
    note = ScanWarning("patient_unknown", "Not checked.")
    found = followup.compare_scans(baseline, after, days_to_treatment=-5, warnings=[note])
    assert [w.code for w in found.warnings][:2] == ["patient_unknown", "baseline_timing"]


def test_inputs_are_unchanged(register, make_pair):
    baseline, after, _ = make_pair()
    for exam in (baseline, after):
        exam.scan.voxels_hu.flags.writeable = False
        exam.lungs.labels.flags.writeable = False
        for column in exam.nodules.columns.values():
            column.flags.writeable = False
    before = json.dumps(to_json(baseline.summary))
    followup.compare_scans(baseline, after)
    assert json.dumps(to_json(baseline.summary)) == before


def test_a_series_has_a_nadir(register, make_pair):
    pairs = [make_pair(kept=kept, factor=1.0) for kept in (0.6, 0.2, 0.4)]
    found = [
        followup.compare_scans(b, dataclasses.replace(a, name=f"after-{n}"), days_between=90 * n)
        for n, (b, a, _) in enumerate(pairs, start=1)
    ]
    series = to_json(summarize_series(found))
    assert series["nadir"] == "after-2"
    last = series["time_points"][-1]
    expected = found[2].total.volume_ratio.value / found[1].total.volume_ratio.value
    assert last["ratio_to_nadir"] == pytest.approx(expected)
    assert last["path"] == "compare/before__after-3"


def test_a_lesion_that_fell_below_its_size_is_measured_as_a_nodule(register, make_pair):
    baseline, after, _ = make_pair(kept=1.0, factor=1.0)
    place = baseline.nodules.position_lps_mm[7]
    baseline = with_summary(baseline, lesions=[lesion(12.0, place)])
    found = followup.compare_scans(baseline, after).lesion
    near = np.linalg.norm(baseline.nodules.position_lps_mm - place, axis=1) <= 6.0
    assert found.followup_mm == pytest.approx(after.nodules["diameter_mm"][near].max())
    assert found.followup is None
    assert "as a nodule" in found.reason


def test_a_lesion_that_is_gone_has_no_size(register, make_exam, population):
    index, volume = population
    baseline = make_exam("before", index, volume)
    after = make_exam("after", index[:0], volume[:0], origin=tuple(SHIFT_LPS_MM))
    baseline = with_summary(baseline, lesions=[lesion(12.0, baseline.nodules.position_lps_mm[7])])
    summary = check_schema(followup.compare_scans(baseline, after))
    assert summary["lesion"]["followup_mm"] is None
    assert summary["recist"]["target_response"] == "NE"


def test_a_lesion_the_detector_missed_is_looked_for_where_it_was(register, make_pair):
    labels = lung_labels()
    voxels = chest(labels)
    z, y, x = np.indices(SHAPE)
    at = (30, 28, 21)
    ball = sum(((i - c) * s) ** 2 for i, c, s in zip((z, y, x), at, SPACING, strict=True)) < 10.0**2
    voxels[ball] = 40
    baseline, after, _ = make_pair(voxels=voxels)
    center = baseline.scan.grid.lps_from_index(at)
    baseline = with_summary(baseline, lesions=[lesion(24.0, center)])
    found = followup.compare_scans(baseline, after).lesion
    assert found.followup_mm == pytest.approx(20.0, abs=4.0)


def test_identities_are_refused_where_nodules_are_too_dense_for_the_error(register, make_exam):
    """Six nodules within reach of each: totals stand, who is who does not."""
    rng = np.random.default_rng(3)
    inside = np.argwhere(lung_labels() > 0)
    index = inside[rng.choice(len(inside), 9000, replace=False)] + rng.uniform(-0.5, 0.5, (9000, 3))
    volume = np.exp(rng.normal(1.5, 0.3, 9000))
    off = rng.normal(0.0, 2.5, index.shape) / np.asarray(SPACING)
    baseline = make_exam("before", index, volume)
    after = make_exam("after", index + off, volume, origin=tuple(SHIFT_LPS_MM))
    summary = check_schema(followup.compare_scans(baseline, after))
    zones = summary["matching"]["by_zone"]
    assert {zone["identities"] for zone in zones} == {"refused"}
    assert all(zone["expected_false_share"] > 0.05 and zone["n_matched"] == 0 for zone in zones)
    assert sum(summary["tracks"].values()) == 0
    assert summary["response"]["volume_ratio"] == pytest.approx(1.0, abs=0.02)
