"""What the terminal shows of a measured scan: the gravest first, and no sums of what may be false."""

from dataclasses import replace

import pytest

from fuzzing.seeds import make_measured
from miliary.cli.scan_table import show_scan
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.open_result import open_ct_result
from miliary.model.saved.scan_summary import ValiditySummary
from miliary.model.scan import ScanWarning
from miliary.model.validity import ValidityVerdict


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    place = tmp_path_factory.mktemp("result") / "one"
    write_ct_result(make_measured()[0], place)
    found = open_ct_result(place).summary
    codes = ("clipped_low", "lung_touches_field_edge", "outside_validity")
    return replace(found, warnings=tuple(ScanWarning(code, f"Said of {code}.") for code in codes))


def test_outside_validity_comes_first_and_no_size_is_shown(summary, capsys):
    validity = ValiditySummary(ValidityVerdict.OUTSIDE, ("pixels are too large",))
    show_scan(replace(summary, validity=validity))
    said = capsys.readouterr().out
    assert said.split()[:2] == ["outside", "validity"]
    assert "no count, volume" in " ".join(said.split())
    assert "marks, not counted" in said
    assert not any(word in said for word in ("total volume", "diameter", "corrected", "[outside_validity]"))
    assert said.index("lung_touches_field_edge") < said.index("clipped_low")


def test_inside_validity_everything_found_is_shown(summary, capsys):
    show_scan(summary)
    said = capsys.readouterr().out
    assert all(
        word in said for word in ("nodules", "total volume", "diameter", "where", "[outside_validity]")
    )
