"""The table that `miliary ct` ends with, and the warning of a scan that is compared with itself."""

from types import SimpleNamespace

from miliary.cli.scan_table import _summary_rows
from miliary.followup import _warn_pair
from miliary.model.saved.codec import from_json
from miliary.model.saved.scan_summary import ScanSummary
from tests.report.conftest import MORE_OF_SCAN


def test_the_table_ends_with_what_a_reader_asks():
    corrected = MORE_OF_SCAN["corrected"] | {"false_marks": {"expected": 12.0, "expected_ci95": [5.0, 30.0]}}
    content = MORE_OF_SCAN | {"corrected": corrected, "warnings": []}
    rows = _summary_rows(from_json(ScanSummary, content, name="scan.json").value)
    assert rows[-4:] == [
        ("false marks", "12 (5 to 30) expected among those found"),
        ("share of lung", "71% of the lungs lie near a nodule"),
        ("pattern", "random, probability 93% among the patterns known"),
        ("miliary", "1 of 2 definitions met (Fleischner glossary 2008), 1 cannot be told"),
    ]


def test_a_size_that_is_not_known_gives_its_reason():
    completeness = {
        "diameter_50_mm": 1.11,
        "diameter_90_mm": None,
        "diameter_90_mm_reason": "beyond the range",
    }
    content = MORE_OF_SCAN | {"completeness": completeness}
    rows = dict(_summary_rows(from_json(ScanSummary, content, name="scan.json").value))
    said = "half are found from 1.11 mm; nine tenths: not known (beyond the range)"
    assert rows["completeness"] == said


def test_a_scan_compared_with_itself_is_said(small_scan, make_nodules):
    def exam(n):
        return SimpleNamespace(name=f"scan{n}", scan=small_scan, nodules=make_nodules(n))

    assert [w.code for w in _warn_pair(exam(3), exam(3), "")] == ["same_scan"]
    assert _warn_pair(exam(3), exam(4), "") == ()
    assert [w.code for w in _warn_pair(exam(3), exam(4), "disagree")] == ["lungs_disagree"]
