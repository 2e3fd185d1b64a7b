"""Lung TNM in two editions: every cell, every site, every station, and what is left open."""

from dataclasses import replace
from itertools import product

import pytest

from miliary.clinical.rulebook import load_rules
from miliary.clinical.tnm.asserted_stage import assess as assess_asserted
from miliary.clinical.tnm.asserted_stage import nearest_legal, parse_tnm
from miliary.clinical.tnm.staging import (
    assess,
    assess_stage,
    derive_m,
    derive_n,
    derive_stage,
    derive_t,
    size_row,
    stage_group,
)
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import AssertedStage, Case, Metastasis, Node, SeparateNodules, Staging, Study
from miliary.model.vocabulary import Count, Lobe, Modality, Origin, Presence, Side, Structure

PRESENT, ABSENT = Presence.PRESENT, Presence.ABSENT
T_ROWS = ("T1a", "T1b", "T1c", "T2a", "T2b", "T3", "T4")

# Written out again, by rows of T and columns of N, so that a slip in the rule file shows.
EIGHTH = """
T1a IA1  IIB  IIIA IIIA IIIB
T1b IA2  IIB  IIIA IIIA IIIB
T1c IA3  IIB  IIIA IIIA IIIB
T2a IB   IIB  IIIA IIIA IIIB
T2b IIA  IIB  IIIA IIIA IIIB
T3  IIB  IIIA IIIB IIIB IIIC
T4  IIIA IIIA IIIB IIIB IIIC
"""
NINTH = """
T1a IA1  IIA  IIB  IIIA IIIB
T1b IA2  IIA  IIB  IIIA IIIB
T1c IA3  IIA  IIB  IIIA IIIB
T2a IB   IIB  IIIA IIIB IIIB
T2b IIA  IIB  IIIA IIIB IIIB
T3  IIB  IIIA IIIA IIIB IIIC
T4  IIIA IIIA IIIB IIIB IIIC
"""
N_COLUMNS = ("N0", "N1", "N2a", "N2b", "N3")
M_GROUPS = {
    "8": {"M1a": "IVA", "M1b": "IVA", "M1c": "IVB"},
    "9": {"M1a": "IVA", "M1b": "IVA", "M1c1": "IVB", "M1c2": "IVB"},
}


def cells(table):
    rows = (line.split() for line in table.strip().splitlines())
    return {(row[0], n): group for row in rows for n, group in zip(N_COLUMNS, row[1:], strict=True)}


EXPECTED = [("8", *key, group) for key, group in cells(EIGHTH).items()]
EXPECTED += [("9", *key, group) for key, group in cells(NINTH).items()]


def book(edition):
    return load_rules("tnm", edition)


def complete(**facts):
    """A staging in which nothing but what is given is left open."""
    given = {
        "primary": PRESENT,
        "lobe": Lobe.RUL,
        "size_mm": 15.0,
        "invasion_assessed": True,
        "nodules_assessed": True,
        "nodes_assessed": True,
        "metastases_assessed": True,
    }
    return Staging(**(given | facts))


T_FINDINGS = {
    "T1a": {"size_mm": 8.0},
    "T1b": {"size_mm": 15.0},
    "T1c": {"size_mm": 25.0},
    "T2a": {"size_mm": 35.0},
    "T2b": {"size_mm": 45.0},
    "T3": {"size_mm": 60.0},
    "T4": {"size_mm": 75.0},
}
N_FINDINGS = {"N0": (), "N1": ("10R",), "N2a": ("4R",), "N2b": ("4R", "7"), "N3": ("4L",)}
M_FINDINGS = {
    "M0": (),
    "M1a": (Metastasis("m", "pleura"),),
    "M1b": (Metastasis("m", "brain", count=Count.SINGLE),),
    "M1c1": (Metastasis("m", "bone", count=Count.MULTIPLE),),
    "M1c2": (
        Metastasis("m", "bone", count=Count.SINGLE),
        Metastasis("n", "adrenal", count=Count.SINGLE),
    ),
}


def nodes(*stations):
    return tuple(Node(f"n{i}", station, involved=PRESENT) for i, station in enumerate(stations))


@pytest.mark.parametrize(("edition", "t", "n", "group"), EXPECTED)
def test_every_cell_of_t_and_n_without_metastases(edition, t, n, group):
    n_here = n if edition == "9" else n[:2]
    assert stage_group(t, n_here, "M0", book=book(edition)) == group


@pytest.mark.parametrize(("edition", "t", "n", "group"), EXPECTED)
def test_findings_lead_to_every_cell(edition, t, n, group):
    staging = complete(**T_FINDINGS[t], nodes=nodes(*N_FINDINGS[n]))
    found = derive_stage(Case("x", staging=staging), book=book(edition))
    n_here = n if edition == "9" else n[:2]
    assert [axis.values for axis in found] == [(t,), (n_here,), ("M0",), (group,)]


@pytest.mark.parametrize(
    ("edition", "t", "n", "m"),
    [(e, t, n, m) for e in ("8", "9") for t, n, m in product(T_ROWS, N_COLUMNS, M_GROUPS[e])],
)
def test_every_cell_with_metastases(edition, t, n, m):
    n_here = n if edition == "9" else n[:2]
    assert stage_group(t, n_here, m, book=book(edition)) == M_GROUPS[edition][m]


@pytest.mark.parametrize("m", M_FINDINGS)
@pytest.mark.parametrize("edition", ["8", "9"])
def test_findings_lead_to_every_m(edition, m):
    expected = m if edition == "9" else m[:3]
    found = derive_m(complete(metastases=M_FINDINGS[m]), book=book(edition))
    assert found.values == found.stated == (expected,)


def test_exactly_nine_cells_differ_between_the_editions():
    old, new = book("8"), book("9")
    changed = {
        (t, n): (stage_group(t, n[:2], "M0", book=old), stage_group(t, n, "M0", book=new))
        for t, n in product(T_ROWS, N_COLUMNS)
        if stage_group(t, n[:2], "M0", book=old) != stage_group(t, n, "M0", book=new)
    }
    assert changed == {
        **{(t, "N1"): ("IIB", "IIA") for t in ("T1a", "T1b", "T1c")},
        **{(t, "N2a"): ("IIIA", "IIB") for t in ("T1a", "T1b", "T1c")},
        ("T3", "N2a"): ("IIIB", "IIIA"),
        **{(t, "N2b"): ("IIIA", "IIIB") for t in ("T2a", "T2b")},
    }


@pytest.mark.parametrize(("t", "group"), [("TX", "occult"), ("Tis", "0"), ("T1mi", "IA1"), ("T0", None)])
@pytest.mark.parametrize("edition", ["8", "9"])
def test_groups_without_a_size(edition, t, group):
    assert stage_group(t, "N0", "M0", book=book(edition)) == group
    assert stage_group(t, "N1", "M0", book=book(edition)) is None


def test_a_combination_without_a_published_group_says_so():
    staging = complete(size_mm=None, primary=ABSENT, nodes=nodes("10R"))
    group = assess_stage(Case("x", staging=staging), edition="9")[3]
    assert group.value == "none published"


@pytest.mark.parametrize(
    ("size_mm", "t"),
    [
        (0.5, "T1a"),
        (10, "T1a"),
        (10.1, "T1b"),
        (20, "T1b"),
        (20.1, "T1c"),
        (30, "T1c"),
        (30.1, "T2a"),
        (40, "T2a"),
        (40.1, "T2b"),
        (50, "T2b"),
        (50.1, "T3"),
        (70, "T3"),
        (70.1, "T4"),
        (200, "T4"),
    ],
)
def test_size_on_both_sides_of_every_edge(size_mm, t):
    for edition in ("8", "9"):
        assert size_row(size_mm, book=book(edition))["category"] == t


STRUCTURES = {
    "T2a": {"main_bronchus", "visceral_pleura", "adjacent_lobe", "atelectasis_to_hilum"},
    "T3": {
        *("parietal_pleura", "chest_wall", "pericardium", "phrenic_nerve", "azygos_vein"),
        *("thoracic_nerve_roots", "stellate_ganglion"),
    },
    "T4": {
        *("mediastinum", "diaphragm", "heart", "great_vessels", "trachea", "carina"),
        *("recurrent_laryngeal_nerve", "vagus_nerve", "esophagus", "vertebral_body", "spinal_canal"),
        *("brachial_plexus", "cervical_nerve_roots"),
    },
}


@pytest.mark.parametrize("structure", Structure)
def test_every_structure_has_its_category(structure):
    expected = next(t for t, names in STRUCTURES.items() if structure.value in names)
    found = derive_t(complete(invades={structure: PRESENT}), book=book("9"))
    assert found.values == (expected,)
    without = derive_t(complete(invades={structure: ABSENT}), book=book("9"))
    assert without.values == ("T1b",)


def test_a_t2_feature_is_t2b_from_above_40_mm():
    feature = {Structure.VISCERAL_PLEURA: PRESENT}
    assert derive_t(complete(size_mm=40.0, invades=feature), book=book("8")).values == ("T2a",)
    assert derive_t(complete(size_mm=41.0, invades=feature), book=book("8")).values == ("T2b",)
    assert derive_t(complete(size_mm=71.0, invades=feature), book=book("8")).values == ("T4",)


def test_the_solid_part_of_a_part_solid_tumor_is_measured():
    assert derive_t(complete(size_mm=28.0, solid_mm=9.0), book=book("9")).values == ("T1a",)


@pytest.mark.parametrize(
    ("facts", "t"),
    [
        ({"primary": ABSENT, "size_mm": None}, "T0"),
        ({"positive_cytology_only": PRESENT, "size_mm": None}, "TX"),
        ({"in_situ": PRESENT}, "Tis"),
        ({"is_minimally_invasive": PRESENT, "invasive_mm": 5.0, "size_mm": 30.0}, "T1mi"),
        ({"is_minimally_invasive": PRESENT, "invasive_mm": 5.1, "size_mm": 30.0}, "T1c"),
        ({"is_superficial_spreading": PRESENT, "size_mm": 45.0}, "T1a"),
    ],
)
def test_t_that_is_not_by_size(facts, t):
    assert derive_t(complete(**facts), book=book("9")).values == (t,)


@pytest.mark.parametrize(
    ("lobe", "t", "m"),
    [
        ("RUL", "T3", "M0"),
        ("RML", "T4", "M0"),
        ("RLL", "T4", "M0"),
        ("LUL", "T1b", "M1a"),
        ("LLL", "T1b", "M1a"),
    ],
)
def test_separate_nodules_by_lobe(lobe, t, m):
    nodules = SeparateNodules("s", lobe=Lobe(lobe), are_metastases=PRESENT)
    staging = complete(separate_nodules=(nodules,))
    assert derive_t(staging, book=book("9")).values == (t,)
    assert derive_m(staging, book=book("9")).values == (m,)


def test_nodules_count_only_where_somebody_called_them_metastases():
    nodules = SeparateNodules("s", lobe=Lobe.LLL, are_metastases=Presence.NOT_STATED)
    found = derive_m(complete(separate_nodules=(nodules,)), book=book("9"))
    assert found.stated == ()
    assert found.values == ("M0", "M1a", "M1b", "M1c1", "M1c2")
    benign = replace(nodules, are_metastases=ABSENT)
    assert derive_m(complete(separate_nodules=(benign,)), book=book("9")).values == ("M0",)


def test_diffuse_nodules_of_both_lungs_give_t4_and_m1a():
    both = tuple(
        SeparateNodules(side.value, side=side, is_diffuse=PRESENT, are_metastases=PRESENT) for side in Side
    )
    staging = complete(separate_nodules=both)
    assert derive_t(staging, book=book("8")).values == ("T4",)
    assert derive_m(staging, book=book("8")).values == ("M1a",)


RIGHT_TUMOR = {
    "N1": ("10R", "11R", "12R", "13R", "14R"),
    "N2": ("2R", "3a", "3p", "4R", "7", "8R", "9R"),
    "N3": ("1R", "1L", "2L", "4L", "5", "6", "8L", "9L", "10L", "11L", "14L", "supraclavicular"),
}
LEFT_TUMOR = {
    "N1": ("10L", "11L", "14L"),
    "N2": ("2L", "4L", "5", "6", "7", "8L", "9L"),
    "N3": ("1R", "1L", "2R", "4R", "10R", "scalene"),
}


@pytest.mark.parametrize(
    ("lobe", "station", "n"),
    [(Lobe.RLL, s, n) for n, ss in RIGHT_TUMOR.items() for s in ss if s[0] != "3"]
    + [(Lobe.LUL, s, n) for n, ss in LEFT_TUMOR.items() for s in ss],
)
def test_every_station_on_its_side(lobe, station, n):
    found = derive_n(complete(lobe=lobe, nodes=nodes(station)), book=book("8"))
    assert found.values == (n,)


def test_a_station_without_a_side_leaves_n2_or_n3():
    found = derive_n(complete(nodes=nodes("4")), book=book("9"))
    assert found.values == ("N2a", "N3")


def test_nodes_of_unnamed_stations_leave_n2a_and_n2b_open():
    node = Node("n", "mediastinal", side=Side.RIGHT, involved=PRESENT)
    found = derive_n(complete(nodes=(node,)), book=book("9"))
    assert found.values == ("N2a", "N2b")
    assert found.label == "N2 (a/b not assignable)"
    assert derive_n(complete(nodes=(node,)), book=book("8")).values == ("N2",)


def test_the_same_station_twice_is_one_station():
    assert derive_n(complete(nodes=nodes("4R", "4R")), book=book("9")).values == ("N2a",)


def test_an_axillary_node_is_a_metastasis():
    staging = complete(nodes=nodes("axillary"))
    assert derive_n(staging, book=book("9")).values == ("N0",)
    assert derive_m(staging, book=book("9")).values == ("M1b",)


def test_nodes_not_looked_for_are_not_taken_as_free():
    assert derive_n(complete(nodes_assessed=False), book=book("9")).stated == ()
    found = derive_n(complete(nodes_assessed=False, nodes=nodes("10R")), book=book("9"))
    assert found.stated == ("N1",)
    assert found.values == ("N1", "N2a", "N2b", "N3")


@pytest.mark.parametrize(
    ("metastases", "eighth", "ninth"),
    [
        ([("bone", ("L4", "L5", "skull"), None)], "M1c", "M1c1"),
        ([("bone", ("L4",), Count.SINGLE)], "M1b", "M1b"),
        ([("skull", (), Count.SINGLE), ("bone", (), Count.SINGLE)], "M1c", "M1c1"),
        ([("bone", (), Count.MULTIPLE), ("adrenal", (), Count.SINGLE)], "M1c", "M1c2"),
        ([("pleural_effusion", (), None)], "M1a", "M1a"),
        ([("pleura", (), None), ("brain", (), Count.SINGLE)], "M1b", "M1b"),
        ([("pericardium", (), None), ("liver", (), Count.MULTIPLE)], "M1c", "M1c1"),
    ],
)
def test_sites_of_metastasis_and_the_highest_counts(metastases, eighth, ninth):
    sites = tuple(
        Metastasis(f"m{i}", site, places=places, count=count)
        for i, (site, places, count) in enumerate(metastases)
    )
    assert derive_m(complete(metastases=sites), book=book("8")).values == (eighth,)
    assert derive_m(complete(metastases=sites), book=book("9")).values == (ninth,)


def test_a_number_that_is_not_stated_leaves_m1b_and_m1c_open():
    staging = complete(metastases=(Metastasis("m", "liver"),))
    assert derive_m(staging, book=book("9")).values == ("M1b", "M1c1")
    group = assess_stage(Case("x", staging=staging), edition="9")[3]
    assert group.values == ("IVA", "IVB")
    assert group.verdict is Verdict.NOT_ASSESSABLE


def test_an_empty_staging_has_no_category_and_says_why():
    for assessment in assess(Case("x")):
        assert assessment.verdict is Verdict.NOT_ASSESSABLE
        assert assessment.value is None
        assert assessment.reason.startswith("not stated")


# --- a stage as written -----------------------------------------------------------------------------

LIKE_THE_REPORT = Staging(
    primary=PRESENT,
    lobe=Lobe.LUL,
    size_mm=19.0,
    separate_nodules=tuple(
        SeparateNodules(side.value, side=side, is_diffuse=PRESENT, are_metastases=PRESENT) for side in Side
    ),
    nodes=(Node("n", "mediastinal", involved=PRESENT, proof="cytology"),),
    metastases=(
        Metastasis("spine", "bone", count=Count.MULTIPLE, places=("L4", "L5")),
        Metastasis("skull", "bone", count=Count.MULTIPLE, places=("skull",), study="mri"),
    ),
    asserted=(AssertedStage("a", tnm="cT4aN2M1c", group="Stage IV"),),
)


def raised(staging, **facts):
    found = assess_asserted(Case("x", staging=staging, **facts))
    return {a.facts_item: a for a in found if a.is_raised and a.facts_item}


def test_findings_like_those_of_the_report_are_staged_in_both_editions():
    case = Case("x", origin=Origin.PUBLISHED, staging=LIKE_THE_REPORT)
    eighth = {a.rule_id: a for a in assess_stage(case, edition="8")}
    ninth = {a.rule_id: a for a in assess_stage(case, edition="9")}
    assert [eighth[f"tnm.{x}"].value for x in ("t", "n", "m", "group")] == ["T4", "N2", "M1c", "IVB"]
    assert [ninth[f"tnm.{x}"].value for x in ("t", "m", "group")] == ["T4", "M1c1", "IVB"]
    assert ninth["tnm.n"].values == ("N2a", "N2b", "N3")
    assert eighth["tnm.group"].values == ninth["tnm.group"].values == ("IVB",)


def test_a_stage_written_like_that_of_the_report_is_questioned():
    found = raised(LIKE_THE_REPORT)
    assert set(found) == {"j1", "j2", "j3", "j4", "j5", "j45"}
    assert found["j1"].value == "T4"
    assert found["j1"].severity is found["j2"].severity is Severity.ERROR
    assert found["j2"].value == "IVB"
    assert found["j45"].severity is Severity.NOTE


def test_its_near_twin_written_in_full_is_not():
    twin = replace(
        LIKE_THE_REPORT,
        asserted=(AssertedStage("a", tnm="cT4 N2b M1c1", group="IVB", edition="9th"),),
        separate_nodules=(SeparateNodules("s", lobe=Lobe.LLL, are_metastases=PRESENT),),
        nodes=tuple(replace(node, short_axis_mm=14.0) for node in nodes("4L", "7")),
    )
    assert raised(twin, studies=(Study("pet", Modality.PET_CT),)) == {}
    quiet = assess_asserted(Case("x", staging=twin, studies=(Study("pet", Modality.PET_CT),)))
    assert not any(a.is_raised for a in quiet)


@pytest.mark.parametrize(
    ("tnm", "edition", "nearest"),
    [
        ("T4aN0M0", "9", "T4"),
        ("T3bN0M0", "8", "T3"),
        ("T1dN0M0", "9", "T1"),
        ("T1aN2aM0", "8", "N2"),
        ("T1aN0M1c2", "8", "M1c"),
        ("T1aN2cM0", "9", "N2"),
        ("T1aN0M1d", "9", "M1"),
    ],
)
def test_categories_that_do_not_exist_are_named_with_the_nearest(tnm, edition, nearest):
    staging = Staging(asserted=(AssertedStage("a", tnm=tnm, edition=edition),))
    assert raised(staging)["j1"].value == nearest


@pytest.mark.parametrize("word", ["T1", "T1a", "T1mi", "T2b", "T3", "T4", "Tis", "TX", "T0"])
def test_categories_that_exist_are_legal(word):
    assert nearest_legal(word, "T", book=book("9")) == word


def test_a_stage_that_the_findings_contradict_is_an_error():
    staging = complete(size_mm=25.0, asserted=(AssertedStage("a", tnm="cT1bN0M0", group="IA2", edition="9"),))
    found = [a for a in assess_asserted(Case("x", staging=staging)) if a.is_raised]
    assert [(a.rule_id, a.severity) for a in found] == [("tnm.asserted_t", Severity.ERROR)]
    right = replace(staging, size_mm=20.0)
    assert not any(a.is_raised for a in assess_asserted(Case("x", staging=right)))


def test_a_group_that_does_not_fit_its_categories_is_an_error():
    staging = complete(nodes=nodes("10R"), asserted=(AssertedStage("a", "cT1bN1M0", "IIB", "9"),))
    found = [a for a in assess_asserted(Case("x", staging=staging)) if a.severity is Severity.ERROR]
    assert [a.rule_id for a in found] == ["tnm.asserted_group"]
    in_the_eighth = replace(staging, asserted=(AssertedStage("a", "cT1bN1M0", "IIB", "8"),))
    assert not any(a.severity is Severity.ERROR for a in assess_asserted(Case("x", staging=in_the_eighth)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cT4aN2M1c", ("c", "T4a", "N2", "M1c")),
        ("pT1mi N0 M0", ("p", "T1mi", "N0", "M0")),
        ("ypTisN0", ("yp", "Tis", "N0", "")),
        ("TX NX M1b", ("", "TX", "NX", "M1b")),
        ("cT4, N2(a), M1c1", ("c", "T4", "N2a", "M1c1")),
    ],
)
def test_written_stages_are_taken_apart(text, parts):
    written = parse_tnm(text)
    assert (written.prefix, written.t, written.n, written.m) == parts


def test_a_text_that_is_no_stage_is_a_question():
    staging = Staging(asserted=(AssertedStage("a", tnm="limited disease", edition="9"),))
    found = assess_asserted(Case("x", staging=staging))
    assert [a.rule_id for a in found if a.verdict is Verdict.NOT_ASSESSABLE] == ["tnm.asserted_form"]


def outcomes(tnm, *, edition="9", group="", **facts):
    """What is said of a stage written of a tumor of 25 mm of the right upper lobe."""
    stage = AssertedStage("a", tnm=tnm, group=group, edition=edition)
    return assess_asserted(Case("x", staging=complete(**{"size_mm": 25.0, "asserted": (stage,)} | facts)))


@pytest.mark.parametrize(
    ("tnm", "facts"),
    [
        ("pT1c pN0 cM0", {}),
        ("cT1c(m)N0M0", {}),
        ("T1c(2) N0 M0", {}),
        ("pT1c(m) pN0(0/12) cM0", {}),
        ("T1a(mi)N0M0", {"is_minimally_invasive": PRESENT, "invasive_mm": 4.0}),
        ("pT1cN0(sn)M0", {}),
        ("cT1c cN0(i-) cM0", {}),
        ("pT1cN0cM0", {}),
        ("pT1c pN0 cM0 L1 V0 PL0 R0", {}),
        ("pT1c, pN0, cM0", {}),
    ],
)
def test_every_legal_spelling_is_read_and_nothing_is_said_against_it(tnm, facts):
    found = outcomes(tnm, **facts)
    assert [a.statement for a in found if a.severity in (Severity.ERROR, Severity.QUERY)] == []


@pytest.mark.parametrize("tnm", ["ypT1a ypN0 M0", "ycT1aN0M0", "rT1aN0M0", "aT3N1M0", "ypT0 ypN0 cM0"])
def test_a_stage_after_treatment_is_not_held_against_the_size_before(tnm):
    found = outcomes(tnm)
    assert [a.statement for a in found if a.severity in (Severity.ERROR, Severity.QUERY)] == []
    t = next(a for a in found if a.rule_id == "tnm.asserted_t")
    assert (t.verdict, bool(t.reason)) == (Verdict.NOT_ASSESSABLE, True)


@pytest.mark.parametrize("tnm", ["pT1aN0M0", "pT2aN0M0", "pT1mi pN0 cM0"])
def test_a_pathologic_t_without_the_invasive_size_is_asked_about_and_no_error(tnm):
    found = {a.rule_id: a for a in outcomes(tnm)}
    assert found["tnm.asserted_t"].verdict is Verdict.NOT_ASSESSABLE
    assert "invasive size" in found["tnm.asserted_t"].reason
    assert not any(a.severity is Severity.ERROR for a in found.values())


@pytest.mark.parametrize(("invasive_mm", "is_wrong"), [(8.0, False), (12.0, True)])
def test_a_pathologic_t_is_judged_by_the_invasive_size(invasive_mm, is_wrong):
    found = outcomes("pT1a pN0 cM0", invasive_mm=invasive_mm)
    assert any(a.severity is Severity.ERROR for a in found) == is_wrong


@pytest.mark.parametrize(
    ("tnm", "group", "edition"),
    [
        ("cT1bN0M0", "IA", "7"),
        ("cT1bN0M0", "IA", "UICC 7th edition"),
        ("cT1bN0M0", "IA (7th edition)", ""),
        ("cT1bN0M0, 7th ed.", "IA", ""),
        ("cT4N2M1b", "IV", "seventh"),
        ("nonsense", "IV", "6"),
    ],
)
def test_a_stage_by_an_edition_that_is_not_encoded_is_named_and_not_judged(tnm, group, edition):
    (only,) = outcomes(tnm, group=group, edition=edition)
    assert only.rule_id == "tnm.asserted_edition"
    assert "edition: not encoded" in only.statement
    assert (only.verdict, only.severity) == (Verdict.NOT_ASSESSABLE, Severity.INFO)


@pytest.mark.parametrize(
    ("tnm", "group", "edition"),
    [
        ("cT1cN0M0", "Stage IA3 (8th edition)", ""),
        ("cT1cN0M0", "stage IA3, AJCC 8th ed.", ""),
        ("cT1cN0M0 Stage IA3 (9th)", "", ""),
        ("cT1cN0M0", "第9版 IA3期", ""),
        ("cT1cN0M0", "clinical stage IA3", "ninth"),
    ],
)
def test_a_group_is_read_with_the_words_of_its_edition(tnm, group, edition):
    found = {a.rule_id: a for a in outcomes(tnm, group=group, edition=edition)}
    assert not any(a.severity in (Severity.ERROR, Severity.QUERY) for a in found.values())
    assert found["tnm.asserted_group"].statement.startswith("The group IA3 fits")
    assert "tnm.asserted_form" not in found


@pytest.mark.parametrize("tnm", ["pT2(xy)N0M0", "T2 N? M0", "stage unknown"])
def test_an_addition_that_is_not_known_is_a_question(tnm):
    assert parse_tnm(tnm) is None
    assert "tnm.asserted_form" in {a.rule_id for a in outcomes(tnm)}


@pytest.mark.parametrize(
    ("size_mm", "solid_mm", "t"),
    [
        (28.0, 0.0, ("Tis",)),
        (30.0, 0.0, ("Tis",)),
        (30.1, 0.0, ("T1a",)),
        (28.0, 4.0, ("T1mi",)),
        (30.0, 5.0, ("T1mi",)),
        (28.0, 5.1, ("T1a",)),
        (35.0, 5.0, ("T1a",)),
        (28.0, 11.0, ("T1b",)),
        (28.0, 28.0, ("T1c",)),
        (None, 0.0, ("Tis", "T1a")),
        (None, 4.0, ("T1mi", "T1a")),
        (None, 12.0, ("T1b",)),
        (20.0, 25.0, ("T1b", "T1c")),
    ],
)
@pytest.mark.parametrize("edition", ["8", "9"])
def test_a_subsolid_tumor_is_staged_by_its_solid_part(size_mm, solid_mm, t, edition):
    assert derive_t(complete(size_mm=size_mm, solid_mm=solid_mm), book=book(edition)).values == t


def test_a_subsolid_tumor_that_involves_more_is_not_in_situ():
    staging = complete(size_mm=28.0, solid_mm=0.0, invades={Structure.VISCERAL_PLEURA: PRESENT})
    assert derive_t(staging, book=book("9")).values == ("T2a",)


def contradictions(**facts):
    found = assess(Case("x", staging=complete(**facts)))
    return [a.rule_id for a in found if a.severity is Severity.ERROR]


@pytest.mark.parametrize("lobe", Lobe)
@pytest.mark.parametrize("side", Side)
def test_a_side_that_is_not_that_of_its_lobe_is_an_error(side, lobe):
    expected = [] if lobe.side is side else ["tnm.side_and_lobe"]
    assert contradictions(side=side, lobe=lobe) == expected
    nodules = (SeparateNodules("s", side=side, lobe=lobe, are_metastases=ABSENT),)
    assert contradictions(separate_nodules=nodules) == expected


def test_a_contradictory_side_decides_neither_n_nor_m():
    staging = complete(side=Side.LEFT, lobe=Lobe.RUL, nodes=nodes("4R"))
    assert derive_n(staging, book=book("9")).values == ("N2a", "N3")


def test_a_part_of_a_tumor_that_is_larger_than_the_tumor_is_an_error():
    assert contradictions(size_mm=20.0, solid_mm=25.0) == ["tnm.solid_and_size"]
    assert contradictions(size_mm=20.0, invasive_mm=20.5) == ["tnm.solid_and_size"]
    assert contradictions(size_mm=20.0, solid_mm=20.0) == []


@pytest.mark.parametrize(
    ("size_mm", "missing"),
    [(20.0, "a size of the primary that its solid part does not exceed"), (None, "the size of the primary")],
)
def test_a_size_that_is_stated_is_never_called_not_stated(size_mm, missing):
    found = derive_t(complete(size_mm=size_mm, solid_mm=None if size_mm is None else 25.0), book=book("9"))
    assert found.unknown == (missing,)
