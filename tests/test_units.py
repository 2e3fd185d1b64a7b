"""Units of laboratory values."""

from __future__ import annotations

import pytest

from miliary.model.units import convert_value


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1.0, "pg/mL", "ng/L", 1.0),
        (1.0, "ng/mL", "ug/L", 1.0),
        (1.0, "mg/dL", "mg/L", 10.0),
        (10.0, "g/dL", "g/L", 100.0),
        (150.0, "10*3/uL", "10*9/L", 150.0),
        (1500.0, "/mm3", "10*9/L", 1.5),
        (1500.0, "/uL", "10*3/uL", 1.5),
        (1.0, "10^9/L", "10*9/L", 1.0),
        (1.0, "µg/L", "ng/mL", 1.0),
        (1.0, "umol/L", "mmol/L", 0.001),
        (2.0, "s", "ms", 2000.0),
        (50.0, "%", "1", 0.5),
        (120.0, "mm[Hg]", "mmHg", 120.0),
        (5.0, "U/mL", "kU/L", 5.0),
        (7.4, "[pH]", "[pH]", 7.4),
        (60.0, "/min", "{beats}/min", 60.0),
        (1.0, "mg/dl", "mg/dL", 1.0),
    ],
)
def test_conversion(value: float, unit: str, to: str, expected: float) -> None:
    assert convert_value(value, unit, to) == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["U/L", "IU/L", "[iU]/L", "[IU]/L"])
def test_an_enzymes_units_are_all_the_same(unit: str) -> None:
    assert convert_value(584.0, unit, "U/L", is_enzyme=True) == pytest.approx(584.0)
    assert convert_value(584.0, unit, "ukat/L", is_enzyme=True) == pytest.approx(9.733, abs=1e-3)


@pytest.mark.parametrize(
    ("unit", "to"),
    [("IU/mL", "U/mL"), ("U/mL", "ng/mL"), ("U/mL", "ukat/L"), ("mg/dL", "mmol/L"), ("g", "s")],
)
def test_what_measures_different_things_is_not_converted(unit: str, to: str) -> None:
    assert convert_value(1.0, unit, to) is None


@pytest.mark.parametrize("unit", ["", "mg/dLL", "furlong", "U//L", "ng/", "import os"])
def test_what_is_no_unit(unit: str) -> None:
    assert convert_value(1.0, unit, "mg/dL") is None
