import numpy as np
import pytest

from miliary.image.simulate import Course, DominantLesion, NodulePopulation, ScanProtocol, simulate_pair

PROTOCOL = ScanProtocol(
    shape_zyx=(84, 70, 96),
    spacing_zyx_mm=(3.2, 3.6, 3.4),
    psf_fwhm_mm=3.5,
    slice_thickness_mm=3.2,
    noise_sd_hu=0.0,
)
COURSE = Course(kept_share=0.5, volume_factor=0.5, n_new=7, lesion_factor=0.6, inspiration=0.8)


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(
        PROTOCOL,
        seed=11,
        course=COURSE,
        population=NodulePopulation(60, (4.0, 6.0), shape="sphere"),
        lesion=DominantLesion(24.0, 5.0),
        n_calcified=2,
    )


def points(truth):
    return np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(float)


def test_the_course_is_what_was_asked_for(pair):
    before, after = pair.baseline.truth, pair.followup.truth
    kept = pair.baseline_id > 0
    rows = pair.baseline_id[kept] - 1
    assert (after["kind"][kept] == before["kind"][rows]).all()
    factor = after["volume_mm3"][kept] / before["volume_mm3"][rows]
    kind = after["kind"][kept]
    assert factor[kind == "nodule"] == pytest.approx(0.5)
    assert factor[kind == "calcified"] == pytest.approx(1.0)
    assert factor[kind == "lesion"] == pytest.approx(0.6**3)
    assert 20 <= (kind == "nodule").sum() <= 40
    assert (~kept).sum() == 7


def test_nodules_move_with_the_lung(pair):
    kept = pair.baseline_id > 0
    here, there = points(pair.followup.truth)[kept], points(pair.baseline.truth)[pair.baseline_id[kept] - 1]
    assert pair.motion.apply(here) == pytest.approx(there, abs=0.05)
    assert np.linalg.norm(here - there, axis=1).min() > 1.0


def test_the_lung_holds_as_much_less_air_as_was_asked_for(pair):
    litres = [
        np.count_nonzero(s.lung_labels) * s.scan.grid.voxel_volume_mm3 / 1e6
        for s in (pair.baseline, pair.followup)
    ]
    assert litres[1] / litres[0] == pytest.approx(0.8, abs=0.02)


def test_tissue_keeps_its_weight(pair):
    """The same lung in less room is denser."""
    levels = []
    for scan in (pair.baseline, pair.followup):
        voxels = scan.scan.voxels_hu[scan.lung_labels > 0]
        levels.append(float(np.median(voxels)) + 1000.0)
    assert levels[1] / levels[0] == pytest.approx(1 / 0.8, rel=0.06)


def test_what_is_drawn_lies_where_the_truth_says(pair):
    truth = pair.followup.truth
    calcified = truth["kind"] == "calcified"
    index = np.rint(pair.followup.scan.grid.index_from_lps(points(truth)[calcified])).astype(int)
    inside = (index >= 1).all(axis=1) & (index < np.array(PROTOCOL.shape_zyx) - 1).all(axis=1)
    for z, y, x in index[inside]:
        around = pair.followup.scan.voxels_hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
        assert around.max() > -800


def test_the_same_seed_gives_the_same_pair(pair):
    again = simulate_pair(
        PROTOCOL,
        seed=11,
        course=COURSE,
        population=NodulePopulation(60, (4.0, 6.0), shape="sphere"),
        lesion=DominantLesion(24.0, 5.0),
        n_calcified=2,
    )
    assert np.array_equal(again.followup.scan.voxels_hu, pair.followup.scan.voxels_hu)
