"""Drivers: what a test can tell, what is complete, and what frequencies are shown for whom."""

import pytest

from miliary.clinical.genes.drivers import (
    GeneStatus,
    assess,
    find_gene_status,
    find_method_row,
    normalize_alteration,
)
from miliary.clinical.genes.variant_names import read_variants
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Basis, Severity, Verdict
from miliary.model.case import Case, GeneResult
from miliary.model.vocabulary import Result
from tests.clinical.cases import make_case, read_rows

STATUS = read_rows("drivers/status.toml", "status")
TESTS = ("molecular", "immunostains")
NINE = ("EGFR", "ALK", "ROS1", "BRAF", "NTRK1", "MET", "RET", "ERBB2", "KRAS")


def panel(*genes, **more):
    results = [{"gene": gene, "result": "negative"} for gene in genes]
    return {"molecular": [{"id": "m", "analytes": ["dna", "rna"], "genes": results} | more]}


def find(case, rule_id):
    (item,) = [item for item in assess(case) if item.rule_id == rule_id]
    return item


@pytest.mark.parametrize("row", STATUS, ids=lambda row: row["name"])
def test_a_gene_has_the_status_its_tests_can_support(row):
    facts = {key: row[key] for key in TESTS if key in row}
    status = {finding.gene: finding.status.value for finding in find_gene_status(make_case(facts))}
    assert status[row["gene"]] == row["expect"]


def test_every_status_is_reached_by_a_case():
    assert {row["expect"] for row in STATUS} == {status.value for status in GeneStatus}


def test_every_method_is_reached_by_a_case():
    used = {
        row.id
        for facts in STATUS
        for finding in find_gene_status(make_case({k: facts[k] for k in facts if k in TESTS}))
        for item in finding.evidence
        if (row := find_method_row(item, load_rules("drivers", "2026-11"))) is not None
    }
    assert used == {row.id for row in load_rules("drivers", "2026-11").rows("method")}


def test_an_inadequate_negative_says_why():
    item = find(
        make_case(panel("RET") | {"molecular": [panel("RET")["molecular"][0] | {"analytes": ["dna"]}]}),
        "drivers.gene.ret",
    )
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert "introns" in item.reason


def test_nothing_is_said_where_no_lung_cancer_and_no_test_is_recorded():
    assert assess(Case("empty")) == ()
    assert assess(make_case({"specimens": [{"id": "s", "histology": "granuloma"}]})) == ()


def test_an_adenocarcinoma_without_any_test_has_no_gene_stated():
    case = make_case({"specimens": [{"id": "s", "histology": "adenocarcinoma"}]})
    genes = [item for item in assess(case) if item.rule_id.startswith("drivers.gene.")]
    assert {item.value for item in genes} == {"not_stated"}
    assert not any(item.inputs for item in genes)


def test_nine_genes_and_pd_l1_are_complete():
    stain = {"immunostains": [{"id": "p", "target": "PD-L1", "tps_percent": 10}]}
    item = find(make_case(panel(*NINE) | stain), "drivers.completeness.esmo_nccn_2023")
    assert item.verdict is Verdict.MET
    assert item.values == ()


def test_without_pd_l1_the_set_is_not_complete():
    item = find(make_case(panel(*NINE)), "drivers.completeness.esmo_nccn_2023")
    assert item.values == ("PD-L1",)


@pytest.mark.parametrize("gene", NINE)
def test_each_gene_of_the_set_counts(gene):
    others = [name for name in NINE if name != gene]
    item = find(make_case(panel(*others)), "drivers.completeness.esmo_nccn_2023")
    assert item.values == ("NTRK" if gene == "NTRK1" else gene, "PD-L1")


def test_an_unknown_date_of_the_panel_is_said():
    stain = {"immunostains": [{"id": "i", "target": "ALK", "clone": "D5F3", "result": "positive"}]}
    report = panel("EGFR", assay="Oncomine Dx Target Test", region="JP", claims_no_other_driver=True)
    item = find(make_case(report | stain), "drivers.discordance.alk.m")
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert "date" in item.reason
    dated = report["molecular"][0] | {"when": "2020-05-01"}
    item = find(make_case({"molecular": [dated]} | stain), "drivers.discordance.alk.m")
    assert item.verdict is Verdict.MET
    assert "2020-05-01" in item.statement


def test_a_screening_stain_asks_for_another_principle():
    case = make_case({"immunostains": [{"id": "i", "target": "ROS1", "clone": "D4D6", "result": "positive"}]})
    assert "screening" in find(case, "drivers.single_method.ros1").statement
    assert next(g for g in find_gene_status(case) if g.gene == "ROS1").alterations == ()


def test_frequencies_are_shown_for_the_patients_own_groups_only():
    east = find(make_case(panel("EGFR") | {"patient": {"region": "JP"}}), "drivers.frequency.egfr")
    assert "40-55 %" in east.statement
    assert "63 %" not in east.statement
    never = {"patient": {"region": "KR", "sex": "female", "smoking": "never"}}
    assert "63 %" in find(make_case(panel("EGFR") | never), "drivers.frequency.egfr").statement
    word = {"patient": {"region": "KR", "sex": "female", "smoking": "non_smoker"}}
    assert "63 %" not in find(make_case(panel("EGFR") | word), "drivers.frequency.egfr").statement
    west = find(make_case(panel("EGFR") | {"patient": {"region": "US"}}), "drivers.frequency.egfr")
    assert "10-17 %" in west.statement
    assert "not as a result" in west.statement


def test_an_unknown_population_gets_no_population_frequency():
    found = assess(make_case(panel("EGFR") | {"patient": {"region": "BR"}}))
    assert not [item for item in found if item.rule_id == "drivers.frequency.egfr"]


@pytest.mark.parametrize(
    ("gene", "text", "expected"),
    [
        ("EGFR", "exon 19 deletion", "ex19del"),
        ("EGFR", "L858R", "L858R"),
        ("EGFR", "p.L858R", "L858R"),
        ("EGFR", "exon 20 insertion", "ex20ins"),
        ("MET", "exon 14 skipping", "ex14"),
        ("ALK", "rearrangement", "fusion"),
        ("ALK", "", "fusion"),
        ("EGFR", "", ""),
        ("BRAF", "V600E", "V600E"),
    ],
)
def test_alterations_are_read_in_the_words_of_reports(gene, text, expected):
    assert normalize_alteration(GeneResult(gene, Result.POSITIVE, text), gene) == expected


def test_what_rests_on_unread_sources_says_so():
    assert find(make_case(panel("EGFR")), "drivers.completeness.esmo_nccn_2023").basis is Basis.UNVERIFIED
    assert find(make_case(panel("EGFR")), "drivers.completeness.cap_iaslc_amp_2018").basis is Basis.READ


def test_every_gene_a_rule_names_is_a_gene_row():
    rules = load_rules("drivers", "2026-11")
    known = {row["symbol"] for row in rules.rows("gene")}
    for table in ("guideline", "method", "scope"):
        for row in rules.rows(table):
            assert set(row["genes"]) <= known, row.id
    for table in ("frequency", "pattern", "site"):
        assert {row["gene"] for row in rules.rows(table)} <= known


def test_a_set_younger_than_the_tests_is_noted_not_asked():
    rule = "drivers.completeness.esmo_nccn_2023"
    assert find(make_case(panel("EGFR", when="2022-12-31")), rule).severity is Severity.NOTE
    asked = find(make_case(panel("EGFR", when="2023-01-01")), rule)
    assert asked.severity is Severity.QUERY
    assert "2023-01-01" in asked.statement


@pytest.mark.parametrize(
    ("score", "level"),
    [(0, "negative"), (0.9, "negative"), (1, "low"), (10, "low"), (49.9, "low"), (50, "high"), (100, "high")],
)
def test_a_pd_l1_score_has_its_level(score, level):
    stain = {"immunostains": [{"id": "p", "target": "PD-L1", "tps_percent": score}]}
    assert find(make_case(panel("EGFR") | stain), "drivers.pd_l1.p").value == level


def context(gene, **facts):
    stains = [{"id": "i", "target": gene, "result": "positive", "clone": "D5F3"}]
    return {a.rule_id: a for a in assess(make_case({"immunostains": stains, **facts}))}


def test_who_has_a_driver_more_often_is_told_without_a_number_and_as_context():
    found = context("ALK", patient={"age_years": 32, "region": "JP"})["drivers.frequency.alk"]
    assert "more often in younger patients" in found.statement
    assert "as context and not as a result" in found.statement


def test_brain_metastases_elsewhere_say_nothing_of_this_patient():
    found = context("ALK")
    assert found["drivers.brain.alk"].value == 34.0
    assert "says nothing of this patient" in found["drivers.brain.alk"].statement
    assert "drivers.brain.ros1" not in found
    assert "3.6 sites on average against 2.5" in found["drivers.spread.alk"].statement


def test_frequencies_of_kras_name_the_mutation_they_are_of():
    report = {"id": "m", "genes": [{"gene": "KRAS", "result": "negative"}]}
    case = make_case({"patient": {"region": "US"}, "molecular": [report]})
    found = {a.rule_id: a for a in assess(case)}
    texts = found["drivers.frequency.kras"].values
    assert "G12C 11-14 % (europe us)" in texts
    assert "any mutation 25-30 % (europe us)" in texts


def test_a_driver_known_by_a_stain_alone_is_said_to_be_so():
    stain = {"id": "s", "target": "ALK", "clone": "D5F3", "result": "positive"}
    by_stain = next(
        a for a in assess(make_case({"immunostains": [stain]})) if a.rule_id == "drivers.gene.alk"
    )
    assert "by immunohistochemistry alone" in by_stain.statement
    gene = {"gene": "ALK", "result": "positive", "alteration": "fusion"}
    panel = {"id": "p", "analytes": ["rna"], "genes": [gene]}
    facts = {"immunostains": [stain], "molecular": [panel]}
    by_both = next(a for a in assess(make_case(facts)) if a.rule_id == "drivers.gene.alk")
    assert by_both.statement == "ALK: positive (fusion)."


# Gene, result, alteration; then the status of the gene, and whether the record is asked.
STATED = [
    ("BRAF", "positive", "no V600E", "not_stated", True),
    ("EGFR", "positive", "T790M not detected", "not_stated", True),
    ("KRAS", "positive", "not G12C", "not_stated", True),
    ("EGFR", "positive", "wild type", "not_stated", True),
    ("ROS1", "positive", "no rearrangement", "not_stated", True),
    ("ALK", "positive", "none", "not_stated", True),
    ("EGFR", "positive", "変異なし", "not_stated", True),
    ("EGFR", "not_stated", "p.L858R", "not_stated", True),
    ("KRAS", "not_stated", "wild type", "not_stated", True),
    ("RET", "negative", "KIF5B-RET", "not_stated", True),
    ("BRAF", "negative", "V600E", "not_stated", True),
    ("BRAF", "failed", "V600E", "not_stated", True),
    ("EGFR", "positive", "L858R, no T790M", "positive", False),
    ("EGFR", "positive", "not specified", "positive", False),
    ("BRAF", "positive", "non-V600E", "positive", False),
    ("ROS1", "negative", "rearrangement", "negative_method_insufficient", False),
    ("EGFR", "negative", "no mutation", "negative_method_insufficient", False),
]


@pytest.mark.parametrize(("gene", "result", "alteration", "status", "is_asked"), STATED)
def test_an_alteration_that_speaks_against_its_result_is_asked_back(
    gene, result, alteration, status, is_asked
):
    report = {"id": "m", "genes": [{"gene": gene, "result": result, "alteration": alteration}]}
    case = make_case({"molecular": [report]})
    assert find(case, f"drivers.gene.{gene.lower()}").value == status
    asked = [a for a in assess(case) if a.rule_id == f"drivers.result.{gene.lower()}"]
    assert [a.severity.value for a in asked] == (["query"] if is_asked else [])


@pytest.mark.parametrize(
    ("text", "named"),
    [("L858R, no T790M", ("L858R",)), ("non-V600E", ("non-V600E",)), ("no E13;A20", ()), ("unknown", ())],
)
def test_what_a_text_denies_is_no_variant(text, named):
    assert read_variants(text, "ALK" if "A20" in text else "EGFR") == named
