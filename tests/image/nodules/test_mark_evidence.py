from dataclasses import replace

import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import find, judge
from miliary.image.nodules.detect import DetectionRun
from miliary.image.nodules.mark_evidence import check_marks, judge_marks
from miliary.image.nodules.mirror_marks import MirrorMarks, count_mirror_marks, mirror_attenuation
from miliary.model.ct_result import Noise, Psf
from miliary.model.validity import ValidityCriterion as By
from miliary.model.validity import ValidityVerdict
from tests.image.balls import LUNG_HU, lattice_mm, render_balls

SHAPE, SPACING = (40, 40, 40), (1.0, 1.0, 1.0)
PSF, NOISE = Psf(0.6, 0.5), Noise(10.0)
HIGHEST = judge.PRIOR_LIMITS[1]
ALL_THREE = {By.INVERTED_CONTRAST, By.CLASSES_OF_MARKS, By.SHARE_OF_NODULES}


@pytest.mark.parametrize(
    ("mirror", "unresolved", "share", "is_blur_doubtful", "outside"),
    [
        # A field of noise: small marks that mirrored attenuation makes as well.
        (MirrorMarks(26, 56, 0.16), 0.88, 0.044, True, {By.INVERTED_CONTRAST}),
        (MirrorMarks(50, 80, 0.16), 1.0, HIGHEST, True, ALL_THREE),
        # Emphysema: mirrored, its holes are bright, but the marks are not small.
        (MirrorMarks(16, 20, 0.16), 0.28, 0.006, False, set()),
        # A few mirrored marks are chance.
        (MirrorMarks(4, 4, 0.16), 1.0, 0.004, False, set()),
        # Much disease, small nodules in thick slices, a sharp kernel: none of these alone.
        (MirrorMarks(2, 300, 0.15), 0.26, HIGHEST, False, set()),
        (MirrorMarks(1, 60, 0.15), 0.97, HIGHEST, False, set()),
        (MirrorMarks(0, 180, 0.13), 0.22, HIGHEST, True, set()),
        # Nothing but marks of no size, and a blur that no scanner has.
        (MirrorMarks(1, 60, 0.15), 0.97, 0.02, True, {By.CLASSES_OF_MARKS}),
        (MirrorMarks(0, 0, 0.0), 0.5, 0.02, False, set()),
    ],
)  # fmt: skip
def test_marks_are_judged_by_what_else_makes_them(mirror, unresolved, share, is_blur_doubtful, outside):
    checks = judge_marks(mirror, unresolved=unresolved, share=share, is_blur_doubtful=is_blur_doubtful)
    assert {c.criterion for c in checks if c.verdict is ValidityVerdict.OUTSIDE} == outside
    for check in checks:
        if check.verdict is ValidityVerdict.INSIDE and check.most is not None:
            assert check.value <= check.most


def test_the_limit_of_the_share_is_that_of_its_estimate():
    limit = judge.PRIOR_LIMITS[1]
    few = MirrorMarks(0, 100, 0.15)
    for share, verdict in ((limit, ValidityVerdict.OUTSIDE), (0.99 * limit, ValidityVerdict.INSIDE)):
        checks = judge_marks(few, unresolved=1.0, share=share, is_blur_doubtful=True)
        assert {c.criterion: c.verdict for c in checks}[By.SHARE_OF_NODULES] is verdict


def test_a_few_marks_are_for_a_reader_to_look_at(make_nodules):
    run = _run(np.full(SHAPE, -850.0, dtype=np.float32))
    checks = check_marks(run, make_nodules(19), litres=0.1)
    assert {check.verdict for check in checks} == {ValidityVerdict.NOT_MEASURED}
    assert {check.verdict for check in check_marks(run, make_nodules(40), litres=5.0)} == {
        ValidityVerdict.NOT_MEASURED
    }


@pytest.fixture(scope="module")
def balls():
    """Lung with 27 nodules of 2.5 mm and a little noise."""
    centers = lattice_mm((3, 3, 3), 13.0, seed=2)
    clean = render_balls(SHAPE, SPACING, centers, np.full(27, 2.5), sigma_mm=(0.5, 0.6, 0.6), dense=3)
    return clean + np.random.default_rng(3).normal(0.0, NOISE.sd_hu, SHAPE)


@pytest.mark.parametrize("is_dark", [False, True])
def test_mirrored_a_nodule_is_no_mark_and_a_dark_spot_is_one(balls, is_dark):
    found = count_mirror_marks(_run(2 * LUNG_HU - balls if is_dark else balls))
    assert found.litres == pytest.approx(0.0467, abs=1e-3)
    assert (found.n >= 15) == is_dark
    assert is_dark or found.n <= 1


def test_a_block_is_compared_with_its_own_marks(balls):
    run = replace(
        _run(balls), position_mm=np.array([[5.0, 6.0, 7.0], [20.0, 20.0, 20.0], [39.0, 39.0, 39.0]])
    )
    assert count_mirror_marks(run).n_found == 2


def test_mirroring_keeps_the_background_and_turns_the_noise():
    rng = np.random.default_rng(5)
    slope = -900.0 + 2.0 * np.arange(SHAPE[1])[None, :, None]
    noise = rng.normal(0.0, 10.0, SHAPE)
    inside = np.ones(SHAPE, dtype=bool)
    inside[:, :, :4] = False
    voxels = np.where(inside, slope + noise, 40.0).astype(np.float32)
    voxels[20, 20, 20] = 100.0
    turned = mirror_attenuation(voxels, inside, SPACING, noise_hu=10.0)
    middle = (slice(8, 32), slice(8, 32), slice(12, 32))
    quiet = np.ones((24, 24, 20), dtype=bool)
    quiet[12, 12, 8] = False
    told = (turned - np.broadcast_to(slope, SHAPE))[middle][quiet]
    assert np.corrcoef(told, noise[middle][quiet])[0, 1] < -0.95
    assert abs(told.mean()) < 2.0
    # What is dense is cut, so that nothing looks like its rim.
    assert turned[20, 20, 20] > slope[0, 20, 0] - 45.0
    assert turned[:, :, :4].max() < -700.0


def _run(voxels_hu):
    box = LungBox(voxels_hu.astype(np.float32), np.ones(SHAPE, np.uint8), (0, 0, 0), SPACING)
    smooth = find.smooth_finest(box)
    none = np.empty(0)
    return DetectionRun(
        box=box,
        smooth_hu=smooth,
        classifier=judge.read_classifier(),
        share=0.004,
        response_sd_hu=find.find_candidates(box, smooth).response_sd_hu,
        noise=NOISE,
        psf_assumed=PSF,
        psf=PSF,
        position_mm=np.empty((0, 3)),
        background_hu=none,
        contrast_hu=none,
        diameter_mm=none,
    )
