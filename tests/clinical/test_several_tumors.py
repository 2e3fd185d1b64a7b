"""Pneumonic type, lepidic foci, several primaries: only where the case says how they are read."""

import pytest

from miliary.clinical.rulebook import load_rules
from miliary.clinical.tnm.staging import assess_stage, derive_m, derive_t
from miliary.model.assessment import Verdict
from tests.clinical.cases import make_case

EDITIONS = ("8", "9")


def case_of(**staging):
    return make_case({"staging": staging})


def pick(case, edition="9"):
    return [a for a in assess_stage(case, edition=edition) if a.rule_id == "tnm.several_tumors"]


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(
    ("facts", "t", "m"),
    [
        ({"lobe": "RUL", "pneumonic_lobes": ["RUL"]}, ("T3",), ()),
        ({"lobe": "RUL", "pneumonic_lobes": ["RUL", "RLL"]}, ("T4",), ()),
        ({"lobe": "RUL", "pneumonic_lobes": ["RUL", "LLL"]}, ("T3",), ("M1a",)),
        ({"lobe": "RUL", "pneumonic_lobes": ["RUL", "RML", "LUL"]}, ("T4",), ("M1a",)),
        ({"side": "left", "pneumonic_lobes": ["LUL", "LLL"]}, ("T4",), ()),
        ({"pneumonic_lobes": ["RUL"]}, ("T3",), ()),
        # One lobe on one side and two on the other: which is the primary's decides T, not M.
        ({"pneumonic_lobes": ["RUL", "LUL", "LLL"]}, ("T3", "T4"), ("M1a",)),
    ],
)
def test_a_pneumonic_type_is_staged_by_its_lobes(edition, facts, t, m):
    staging = case_of(pattern="pneumonic", size_mm=25, **facts).staging
    book = load_rules("tnm", edition)
    assert derive_t(staging, book=book).stated == t
    assert derive_m(staging, book=book).stated == m


def test_lobes_count_only_where_the_case_calls_it_pneumonic():
    book = load_rules("tnm", "9")
    staging = case_of(lobe="RUL", size_mm=25, pneumonic_lobes=["RUL", "LLL"]).staging
    assert derive_t(staging, book=book).stated == ("T1c",)
    assert derive_m(staging, book=book).stated == ()


def test_a_large_pneumonic_tumor_keeps_the_higher_t_of_its_size():
    staging = case_of(pattern="pneumonic", lobe="RUL", size_mm=71, pneumonic_lobes=["RUL"]).staging
    assert derive_t(staging, book=load_rules("tnm", "9")).stated == ("T4",)


FOCI = [{"id": "b", "lobe": "RUL", "size_mm": 30, "solid_mm": 12}, {"id": "c", "lobe": "LUL", "size_mm": 15}]


@pytest.mark.parametrize("edition", EDITIONS)
def test_of_lepidic_foci_the_highest_t_counts_with_their_number(edition):
    case = case_of(pattern="multifocal_lepidic", lobe="RUL", size_mm=8, other_tumors=FOCI)
    assert derive_t(case.staging, book=load_rules("tnm", edition)).stated == ("T1b",)
    (found,) = pick(case, edition)
    assert found.values == ("T1b(3)", "T1b(m)")
    assert found.verdict is Verdict.MET


def test_lepidic_foci_are_no_separate_nodules():
    nodules = [{"id": "n", "lobe": "LUL", "are_metastases": "present"}]
    case = case_of(pattern="multifocal_lepidic", lobe="RUL", size_mm=8, separate_nodules=nodules)
    book = load_rules("tnm", "9")
    assert derive_m(case.staging, book=book).stated == ()
    assert pick(case)[0].values == ("T1a(m)",)
    plain = case_of(lobe="RUL", size_mm=8, separate_nodules=nodules)
    assert derive_m(plain.staging, book=book).stated == ("M1a",)
    assert pick(plain) == []


def test_each_of_several_primaries_is_staged_on_its_own():
    tumors = [{"id": "b", "lobe": "LUL", "size_mm": 42}, {"id": "c"}]
    (found,) = pick(case_of(pattern="synchronous_primaries", lobe="RUL", size_mm=8, other_tumors=tumors))
    assert found.values == ("b (LUL): T2b by size (42 mm)", "c: T not told, no size is stated")
    assert derive_t(
        case_of(pattern="synchronous_primaries", lobe="RUL", size_mm=8, other_tumors=tumors).staging,
        book=load_rules("tnm", "9"),
    ).stated == ("T1a",)


def test_primaries_that_are_not_described_are_asked_about():
    (found,) = pick(case_of(pattern="synchronous_primaries", size_mm=8))
    assert found.verdict is Verdict.NOT_ASSESSABLE
    assert found.reason == "the other primaries are not described"


def test_lepidic_foci_without_any_size_cannot_be_told():
    (found,) = pick(case_of(pattern="multifocal_lepidic"))
    assert found.verdict is Verdict.NOT_ASSESSABLE
