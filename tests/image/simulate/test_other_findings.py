"""Other disease in simulated chests: seeded, where it belongs, with truth that it is no nodule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from miliary.errors import InputError
from miliary.image.simulate import (
    ARTIFACTS,
    BESIDE,
    DISEASES,
    FINDING_COLUMN_NAMES,
    OtherFindings,
    ScanProtocol,
    draw_anatomy,
    simulate_scan,
)
from miliary.image.simulate.artifacts import add_artifacts, blur_motion

# Half the size of an adult: all that a test looks at, in a tenth of the time.
ANATOMY = replace(
    draw_anatomy(5),
    lung_height_mm=120.0,
    half_width_mm=70.0,
    half_depth_mm=50.0,
    dome_right_mm=25.0,
    dome_left_mm=20.0,
    heart_scale=0.5,
    heart_shift_mm=10.0,
    fat_mm=8.0,
    n_terminals_per_litre=1000.0,
    airway_ratio=0.9,
)
LOW = ScanProtocol(
    shape_zyx=(26, 90, 120),
    spacing_zyx_mm=(2.5, 2.0, 2.0),
    psf_fwhm_mm=2.2,
    slice_thickness_mm=2.5,
    noise_sd_hu=0.0,
    center_lps_mm=(0.0, 5.0, 50.0),
)


@pytest.fixture(scope="module")
def plain():
    return simulate_scan(LOW, seed=5, anatomy=ANATOMY)


def _simulate(**kinds):
    return simulate_scan(LOW, seed=5, anatomy=ANATOMY, other_findings=kinds)


# Range of attenuation that there is more of, in the lungs, than without the disease.
MORE_OF = {
    "tree_in_bud": (-700, 100),
    "bronchiectasis": (-400, 100),
    "mucus_plugs": (-600, 100),
    "emphysema": (-1024, -940),
    "honeycombing": (-800, -200),
    "reticulation": (-800, -200),
    "crazy_paving": (-750, -300),
    "mosaic": (-800, -600),
    "organizing": (-100, 80),
    "atelectasis": (-100, 80),
    "effusion": (-700, 80),
    "aspiration": (-100, 80),
}


@pytest.mark.parametrize("kind", DISEASES)
def test_each_disease_changes_the_lung_as_it_should(kind, plain):
    made = _simulate(**{kind: 0.9})
    low, high = MORE_OF[kind]
    inside = plain.lung_labels > 0
    counts = [
        np.count_nonzero(inside & (s.scan.voxels_hu > low) & (s.scan.voxels_hu < high)) for s in (plain, made)
    ]
    assert counts[1] > counts[0] + (5 if kind == "mucus_plugs" else 30)
    assert len(made.truth["id"]) == 0
    assert tuple(made.findings) == FINDING_COLUMN_NAMES
    # Beside the lungs all stays as it is, but for the blur of their rim.
    beside = ~ndimage.binary_dilation(inside, iterations=4)
    changed = np.abs(made.scan.voxels_hu - plain.scan.voxels_hu) > 5
    assert np.mean(changed[beside]) < 0.01


def test_the_same_seed_gives_the_same_disease():
    first, again = (_simulate(tree_in_bud=0.6, low_dose=0.4).scan.voxels_hu for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_buds_lie_in_the_lung_and_off_the_pleura_and_are_no_nodules():
    made = _simulate(tree_in_bud=0.9)
    is_bud = made.findings["kind"] == "bud"
    assert is_bud.sum() > 10
    points = np.stack([made.findings[f"{a}_mm"][is_bud].astype(float) for a in "xyz"], axis=1)
    index = np.rint(made.scan.grid.index_from_lps(points)).astype(int)
    seen = np.all((index >= 0) & (index < LOW.shape_zyx), axis=1)
    assert (made.lung_labels[tuple(index[seen].T)] > 0).mean() > 0.95
    assert made.findings["diameter_mm"][is_bud].max() < 4.0


def test_fluid_is_not_lung(plain):
    made = _simulate(effusion=1.0)
    lost = (plain.lung_labels > 0) & (made.lung_labels == 0)
    assert np.count_nonzero(lost) > 0.03 * np.count_nonzero(plain.lung_labels)
    assert -30 < np.median(made.scan.voxels_hu[lost]) < 50


def test_what_lies_beside_the_body_is_not_in_it(plain):
    made = _simulate(table=0.7, clothes=0.7, arms_down=1.0, devices=1.0)
    outside = plain.scan.voxels_hu < -995
    assert np.count_nonzero(outside & (made.scan.voxels_hu > -900)) > 1000
    assert made.scan.voxels_hu.max() > 900
    inside = plain.lung_labels > 0
    changed = np.abs(made.scan.voxels_hu - plain.scan.voxels_hu) > 5
    assert np.mean(changed[inside]) < 0.02
    assert {"lead", "port", "pacemaker_lead"} <= set(made.findings["kind"])


def test_artifacts_change_the_image_only():
    image = np.full((8, 64, 64), -850.0, np.float32)
    image[:, 20:40, 20:40] = 40.0
    protocol = replace(LOW, shape_zyx=image.shape)
    moved = image.copy()
    blur_motion(moved, protocol, 1.0, seed=2)
    assert np.count_nonzero((moved > -700) & (moved < -100)) > 50
    metal = np.array([[4.0, 30.0, 30.0]])
    for kind in ("low_dose", "streaks", "sharp_kernel"):
        changed = image.copy()
        add_artifacts(changed, protocol, OtherFindings(**{kind: 0.8}), metal_zyx=metal, seed=2)
        assert changed[4].std() > image[4].std()
        assert abs(float(changed.mean() - image.mean())) < 15.0


def test_mixtures_are_drawn_from_the_seed():
    drawn = [OtherFindings.draw(k) for k in range(60)]
    assert drawn[7] == OtherFindings.draw(7)
    assert drawn[7] != drawn[8]
    for kind in (*DISEASES, *ARTIFACTS, *BESIDE):
        assert any(getattr(one, kind) > 0 for one in drawn)
    assert not OtherFindings()
    assert OtherFindings(mosaic=0.1)


@pytest.mark.parametrize(("given", "said"), [({"flu": 0.5}, "not a kind"), ({"mosaic": 1.5}, "no severity")])
def test_unknown_findings_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        simulate_scan(LOW, seed=1, anatomy=ANATOMY, other_findings=given)
