import pytest

from miliary.image.nodules.judge import PRIOR_LIMITS
from miliary.image.quality.limits import warn_share


@pytest.mark.parametrize(
    ("share", "word"), [(PRIOR_LIMITS[1], "upper limit of 0.05"), (PRIOR_LIMITS[0], "lower limit of 0.002")]
)
def test_a_share_of_nodules_at_a_limit_is_said(share, word):
    (warning,) = warn_share(share, PRIOR_LIMITS)
    assert warning.code == "share_at_limit"
    assert word in warning.message


@pytest.mark.parametrize("share", [0.0021, 0.01, 0.0499])
def test_a_share_between_the_limits_is_not(share):
    assert warn_share(share, PRIOR_LIMITS) == ()
