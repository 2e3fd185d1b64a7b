"""The page in words: a first page that fits on a sheet, then everything in full."""

from __future__ import annotations

import pytest

from miliary.clinical.registry import assess_case, resolve_citations
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.summary_page import FIRST_PAGE_WORDS, render_summary
from miliary.model.assessment import Severity
from miliary.model.saved.case_summary import CitationSummary
from tests.clinical.cases import make_case


def render(case):
    found = assess_case(case)
    sources = {n: CitationSummary(c.text, c.basis, c.doi) for n, c in resolve_citations(found).items()}
    return found, render_summary(case, found, sources)


def split(text):
    first, _, rest = text.partition("\n---\n")
    return first, rest


def test_the_first_page_of_the_worked_example_fits_on_a_sheet(root):
    _, text = render(read_case(root / "examples" / "index-case"))
    first, _ = split(text)
    assert 300 < len(first.split()) <= FIRST_PAGE_WORDS
    assert "IVB in the 9th edition" in first


def test_everything_raised_stands_below_in_full(root):
    found, text = render(read_case(root / "examples" / "index-case"))
    _, rest = split(text)
    raised = [a for a in found if a.severity is not Severity.INFO]
    assert raised
    assert all(a.statement in rest for a in raised)


def test_what_the_first_page_leaves_out_is_counted(root):
    found, text = render(read_case(root / "examples" / "index-case"))
    first, _ = split(text)
    raised = [a for a in found if a.severity is not Severity.INFO]
    listed = first.partition("## Errors")[2].count("\n- ")
    unsaid = sum(int(word) for word in first.rpartition("Below:")[2].split() if word.isdigit())
    assert listed + unsaid == len(raised)


@pytest.mark.parametrize("size", [None, 25])
def test_that_something_cannot_be_told_is_said_once(size):
    _, text = render(make_case({"staging": {"primary": "present", "size_mm": size}}))
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert lines
    assert not [line for line in lines if line.lower().count("cannot be told") > 1]
