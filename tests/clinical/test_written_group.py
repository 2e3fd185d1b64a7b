"""Stage groups as records write them."""

import pytest

from miliary.clinical.tnm.written_stage import written_group
from miliary.model.case import AssertedStage


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("Stage IV B", "IVB"),
        ("4 b", "IVB"),
        ("stage 3A", "IIIA"),
        ("1a", "IA"),
        ("stage 4", "IV"),
        ("IA3", "IA3"),
        ("Stage IVA (8th edition)", "IVA"),
    ],
)
def test_a_group_is_read_apart_and_in_arabic_numbers(text, group):
    assert written_group(AssertedStage(id="a", group=text)) == group
