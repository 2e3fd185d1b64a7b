import numpy as np
import pytest

from miliary.image.nodules.judge import PRIOR_LIMITS
from miliary.image.quality.limits import FAINT_SHARE, warn_share

LOW, HIGH = PRIOR_LIMITS


def test_a_share_of_nodules_at_its_upper_limit_is_said():
    (warning,) = warn_share(HIGH, PRIOR_LIMITS)
    assert warning.code == "share_at_limit"
    assert "upper limit of 0.05" in warning.message


@pytest.mark.parametrize("share", [LOW, 0.0021, 0.01, 0.0499])
@pytest.mark.parametrize("diameter_50_mm", [None, 1.2, 2.1])
def test_a_lung_without_nodules_is_no_finding_where_nodules_would_be_seen(share, diameter_50_mm):
    assert warn_share(share, PRIOR_LIMITS, diameter_50_mm=diameter_50_mm) == ()


@pytest.mark.parametrize(("share", "codes"), [(LOW, ["faint_nodules_may_hide"]), (0.01, [])])
def test_faint_nodules_that_this_scan_would_miss_are_named_where_nothing_was_found(share, codes):
    assert [w.code for w in warn_share(share, PRIOR_LIMITS, diameter_50_mm=2.6)] == codes


def test_a_faint_nodule_appears_as_a_smaller_solid_one():
    solid, faint = (np.pi / 6 * 3.0**3 * (hu + 850.0) for hu in (40.0, -500.0))
    assert np.cbrt(faint / solid) == pytest.approx(FAINT_SHARE)
