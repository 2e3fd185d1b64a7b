"""Paths in saved records: a misspelled one fails at once, whether or not its value is known."""

import pytest

from miliary.model.saved.codec import from_json
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.saved.scan_summary import ScanSummary
from miliary.report.paths import Member, check_path, find_reason, follow
from miliary.report.sections import burden, gate
from miliary.report.sources import Sources

SCAN = {
    "nodules": {"count": 7, "by_side": {"right": {"by_zone": {"upper": 3}}}},
    "corrected": {"count": None, "count_reason": "not asked for"},
}


@pytest.fixture
def scan():
    return from_json(ScanSummary, SCAN, name="scan.json").value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("nodules.count", 7),
        ("nodules.by_side.right.by_zone.upper", 3),
        ("nodules.by_side.left.by_zone.upper", None),
        ("nodules.diameter_mm.median", None),
        ("corrected.excess_check.agrees", None),
    ],
)
def test_a_path_gives_the_value_of_the_field(scan, path, value):
    assert follow(scan, path) == value


@pytest.mark.parametrize(
    "path",
    [
        "nodules.cuont",
        "nodule.count",
        "nodules.count.value",
        "nodules.by_side.middle.count",
        "corrected.excess_check.agree",
        "nodules[0].count",
        "",
        "nodules..count",
    ],
)
def test_a_misspelled_path_is_an_error_that_names_it(scan, path):
    for ask in (follow, find_reason):
        with pytest.raises(ValueError, match="ScanSummary has no path"):
            ask(scan, path)
    with pytest.raises(ValueError, match="ScanSummary has no path"):
        Sources().number("7", Member("scan.json", ScanSummary), path)


@pytest.mark.parametrize("path", ["lesions[2].volume_mm3", "warnings[0].code", "lesions[?].id"])
def test_a_bracket_stands_for_an_entry_of_a_list(path):
    check_path(ScanSummary, path)


def test_the_reason_is_that_of_the_file_and_not_that_it_is_older(scan):
    assert find_reason(scan, "corrected.count") == "not asked for"
    assert find_reason(scan, "corrected.total_volume_mm3") == ""


def test_paths_of_the_tables_name_fields():
    for measures, cls in ((burden.MEASURES, ScanSummary), (gate.MEASURES, ComparisonSummary)):
        for _, path, _, interval in measures:
            check_path(cls, path)
            if interval:
                check_path(cls, interval)
