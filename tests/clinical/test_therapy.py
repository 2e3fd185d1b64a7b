"""Therapy: options of a driver by region and line, and a dose against its label as a total per day."""

import pytest

from miliary.clinical.drugs.dose import find_daily_totals_mg
from miliary.clinical.drugs.label_regions import find_label_region
from miliary.clinical.drugs.therapy import assess
from miliary.clinical.rulebook import RuleRow, find_rules
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import Case, Treatment
from tests.clinical.cases import make_case

RULES = find_rules("therapy")


def find(facts, rule_id):
    (item,) = [item for item in assess(make_case(facts)) if item.rule_id == rule_id]
    return item


def treated(**more):
    return {"treatments": [{"id": "t", "name": "alectinib", "unit": "mg", "region": "JP"} | more]}


@pytest.mark.parametrize(
    ("drug", "region", "population", "dose", "times", "verdict", "severity"),
    [
        ("alectinib", "JP", "nsclc", 300, 2, "met", "info"),
        ("alectinib", "JP", "nsclc", 600, 2, "not_met", "query"),
        ("alectinib", "JP", "adjuvant", 600, 2, "met", "info"),
        ("alectinib", "JP", "adjuvant", 300, 2, "not_met", "query"),
        ("alectinib", "JP", "nsclc", 300, 1, "not_met", "query"),
        ("alectinib", "JP", "nsclc", 150, 2, "not_met", "query"),
        ("alectinib", "US", "nsclc", 600, 2, "met", "info"),
        ("alectinib", "US", "nsclc", 450, 2, "met", "note"),
        ("alectinib", "US", "nsclc", 300, 2, "met", "note"),
        ("alectinib", "US", "nsclc", 300, 1, "not_met", "query"),
        ("alectinib", "DE", "nsclc", 600, 2, "met", "info"),
        ("crizotinib", "JP", "nsclc", 250, 2, "met", "info"),
        ("crizotinib", "JP", "nsclc", 250, 1, "met", "note"),
        ("ceritinib", "US", "nsclc", 450, 1, "met", "info"),
        ("ceritinib", "JP", "nsclc", 450, 1, "met", "info"),
        ("ceritinib", "EU", "nsclc", 450, 1, "not_assessable", "query"),
        ("brigatinib", "JP", "nsclc", 180, 1, "met", "info"),
        ("brigatinib", "JP", "nsclc", 120, 1, "met", "note"),
        ("brigatinib", "EU", "nsclc", 180, 1, "met", "info"),
        ("brigatinib", "US", "nsclc", 90, 1, "met", "note"),
        ("brigatinib", "US", "nsclc", 180, 1, "met", "info"),
        ("lorlatinib", "EU", "nsclc", 100, 1, "met", "info"),
        ("lorlatinib", "EU", "nsclc", 75, 1, "not_assessable", "note"),
        ("lorlatinib", "EU", "nsclc", 100, 2, "not_met", "query"),
        ("ensartinib", "US", "nsclc", 225, 1, "met", "info"),
        ("alectinib", "US", "nsclc", 600, 1, "not_met", "query"),
        ("alectinib", "US", "nsclc", 1200, 1, "not_met", "query"),
        ("alectinib", "JP", "nsclc", 600, 1, "not_met", "query"),
        ("osimertinib", "US", "nsclc", 80, 1, "met", "info"),
        ("osimertinib", "US", "nsclc", 40, 2, "not_met", "query"),
        ("Tagrisso", "EU", "nsclc", 40, 1, "met", "note"),
        ("AZD9291", "US", "nsclc", 160, 1, "not_met", "query"),
        ("osimertinib mesylate", "US", "nsclc", 80, 1, "met", "info"),
        ("Alecensa", "JP", "nsclc", 600, 2, "not_met", "query"),
        ("ALECENSA®", "US", "nsclc", 600, 2, "met", "info"),
        ("brigatinib", "US", "nsclc", 120, 1, "met", "note"),
        ("brigatinib", "US", "nsclc", 90, 2, "not_met", "query"),
        ("adagrasib", "US", "nsclc", 600, 2, "met", "info"),
        ("adagrasib", "US", "nsclc", 600, 1, "met", "note"),
        ("adagrasib", "US", "nsclc", 300, 2, "not_met", "query"),
        ("sotorasib", "US", "nsclc", 960, 1, "met", "info"),
        ("capmatinib", "US", "nsclc", 400, 1, "not_met", "query"),
        ("ensartinib", "JP", "nsclc", 225, 1, "not_assessable", "note"),
    ],
)
def test_a_dose_is_compared_as_a_total_per_day(drug, region, population, dose, times, verdict, severity):
    facts = treated(name=drug, region=region, population=population, dose=dose, times_per_day=times)
    item = find(facts, "therapy.dose.t")
    assert (item.verdict, item.severity) == (verdict, severity)
    assert ("?" in item.statement) is (verdict == "not_met")


def test_a_dose_without_a_frequency_shows_both_readings():
    item = find(treated(dose=300), "therapy.dose.t")
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert item.facts_item == "j6"
    assert "50%" in item.statement
    assert "100%" in item.statement


def test_the_region_is_always_named():
    assert "JP label" in find(treated(dose=300, times_per_day=1), "therapy.dose.t").statement
    anywhere = find(treated(dose=300, times_per_day=1, region=""), "therapy.dose.t").statement
    assert all(region in anywhere for region in ("JP label", "US label", "EU label"))


def test_three_hundred_a_day_is_a_level_for_light_children_only():
    assert "alcl below 35 kg" in find(treated(dose=300, dose_is_daily_total=True), "therapy.dose.t").statement


def test_a_query_never_proposes_a_dose():
    item = find(treated(dose=300, dose_is_daily_total=True), "therapy.dose.t")
    assert item.severity is Severity.QUERY
    assert "should" not in item.statement
    assert "correct" not in item.statement


def test_grams_are_read_and_unknown_units_are_not():
    assert find_daily_totals_mg(Treatment("t", "x", dose=0.3, unit="g", times_per_day=2)) == (600.0,)
    assert find_daily_totals_mg(Treatment("t", "x", dose=2, unit="mL", times_per_day=2)) == ()
    item = find(treated(dose=2, unit="mL", times_per_day=2), "therapy.dose.t")
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert "mL" in item.reason


def test_a_drug_without_a_label_here_is_not_judged():
    assert not assess(Case("c", treatments=(Treatment("t", "aspirin", dose=100, unit="mg"),)))


def test_label_regions_follow_the_country():
    assert find_label_region("FR", RULES) == "EU"
    assert find_label_region("JP", RULES) == "JP"
    assert find_label_region("BR", RULES) == ""


def positive(gene, alteration, region="", **more):
    report = {"id": "m", "analytes": ["dna", "rna"]}
    genes = [{"gene": gene, "result": "positive", "alteration": alteration}]
    return {"patient": {"region": region}, "molecular": [report | {"genes": genes}], **more}


@pytest.mark.parametrize(
    ("gene", "alteration", "region", "holds", "lacks"),
    [
        ("ALK", "rearrangement", "JP", "alectinib", "ensartinib"),
        ("ALK", "rearrangement", "US", "ensartinib", "neladalkib"),
        ("EGFR", "L858R", "JP", "osimertinib", "sunvozertinib"),
        ("EGFR", "exon 20 insertion", "US", "amivantamab + carboplatin + pemetrexed", "osimertinib"),
        ("ROS1", "rearrangement", "JP", "repotrectinib", "zidesamtinib"),
        ("BRAF", "V600E", "EU", "dabrafenib + trametinib", "osimertinib"),
        ("NTRK1", "rearrangement", "JP", "larotrectinib", "osimertinib"),
        ("NTRK1", "rearrangement", "EU", "entrectinib", "repotrectinib"),
        ("EGFR", "ex19del", "EU", "gefitinib", "amivantamab + carboplatin + pemetrexed"),
        ("EGFR", "exon 20 insertion", "JP", "amivantamab + carboplatin + pemetrexed", "osimertinib"),
        ("ALK", "rearrangement", "EU", "crizotinib", "neladalkib"),
        ("MET", "exon 14 skipping", "JP", "gumarontinib", "osimertinib"),
        ("RET", "rearrangement", "EU", "selpercatinib", "pralsetinib"),
        ("RET", "rearrangement", "US", "pralsetinib", "alectinib"),
    ],
)
def test_first_line_options_follow_driver_and_region(gene, alteration, region, holds, lacks):
    symbol = "ntrk" if gene.startswith("NTRK") else gene.lower()
    item = find(positive(gene, alteration, region), f"therapy.options.{symbol}")
    assert holds in item.values
    assert lacks not in item.values
    assert item.as_of is not None


@pytest.mark.parametrize(
    ("gene", "alteration", "region", "holds"),
    [
        ("KRAS", "G12C", "JP", "sotorasib"),
        ("ERBB2", "exon 20 insertion", "US", "zongertinib"),
        ("MET", "exon 14 skipping", "EU", "capmatinib"),
        ("ALK", "rearrangement", "JP", "lorlatinib"),
        ("NRG1", "rearrangement", "US", "zenocutuzumab"),
        ("EGFR", "exon 20 insertion", "US", "sunvozertinib"),
    ],
)
def test_later_line_options_appear_in_a_later_line(gene, alteration, region, holds):
    later = positive(gene, alteration, region, treatments=[{"id": "t", "name": "carboplatin", "line": 2}])
    assert holds in find(later, f"therapy.options.{gene.lower()}").values


def test_kras_g12c_has_no_first_line_option():
    item = find(positive("KRAS", "G12C", "US"), "therapy.options.kras")
    assert item.verdict is Verdict.NOT_ASSESSABLE
    assert item.values == ()


def test_another_kras_mutation_has_no_option_in_any_line():
    later = positive("KRAS", "G12D", "US", treatments=[{"id": "t", "name": "carboplatin", "line": 2}])
    assert find(later, "therapy.options.kras").values == ()


def test_an_unnamed_alteration_says_so():
    assert "not named" in find(positive("EGFR", "", "JP"), "therapy.options.egfr").reason


def test_options_say_where_no_region_is_stated():
    assert "not stated" in find(positive("ALK", "rearrangement"), "therapy.options.alk").statement


def test_an_empty_case_has_no_therapy():
    assert assess(Case("empty")) == ()


def test_every_dose_row_starts_with_its_starting_dose():
    for row in RULES.rows("dose"):
        assert row["unit_dose_mg"] * row["times_per_day"] == row["steps_daily_mg"][0], row.id
        assert list(row["steps_daily_mg"]) == sorted(row["steps_daily_mg"], reverse=True)


@pytest.mark.parametrize(
    ("weight", "dose", "verdict"),
    [(34.9, 150, "met"), (34.9, 300, "not_met"), (35, 150, "not_met"), (35, 300, "met"), (None, 150, "met")],
)
def test_a_dose_by_weight_follows_the_weight(weight, dose, verdict):
    facts = treated(population="alcl", dose=dose, times_per_day=2)
    patient = {} if weight is None else {"patient": {"weight_kg": weight}}
    assert find(facts | patient, "therapy.dose.t").verdict == verdict


@pytest.mark.parametrize(("stop", "is_raised"), [("day 730", False), ("day 731", True)])
def test_adjuvant_treatment_beyond_two_years_is_asked_about(stop, is_raised):
    facts = treated(population="adjuvant", dose=600, times_per_day=2, start="day 0", stop=stop)
    found = [item.rule_id for item in assess(make_case(facts))]
    assert ("therapy.duration.t" in found) is is_raised


def test_the_words_of_the_record_stand_beside_an_unclear_dose():
    assert '"300 mg daily"' in find(treated(dose=300, dose_text="300 mg daily"), "therapy.dose.t").statement


def drug(name, dose, times=1, **facts):
    return {
        "id": "d",
        "name": name,
        "dose": dose,
        "unit": "mg",
        "times_per_day": times,
        "region": "US",
    } | facts


def run_drug(treatment, **patient):
    return {a.rule_id: a for a in assess(make_case({"treatments": [treatment], "patient": patient}))}


@pytest.mark.parametrize(
    ("dose", "liver", "verdict"),
    [
        (600, None, Verdict.MET),
        (450, "C", Verdict.MET),
        (600, "C", Verdict.NOT_MET),
        (600, "B", Verdict.MET),
    ],
)
def test_child_pugh_c_has_a_labeled_dose_of_its_own(dose, liver, verdict):
    patient = {"child_pugh": liver} if liver else {}
    found = run_drug(drug("alectinib", dose, 2), **patient)["therapy.dose.d"]
    assert found.verdict is verdict
    assert ("Child-Pugh class C" in found.statement) == (liver == "C")
    severe = Severity.QUERY if verdict is Verdict.NOT_MET else Severity.INFO
    assert found.severity is severe


@pytest.mark.parametrize(
    ("dose", "verdict"),
    [(600, Verdict.MET), (400, Verdict.NOT_ASSESSABLE), (800, Verdict.NOT_MET)],
)
def test_steps_of_a_label_that_are_not_encoded_are_not_held_against_a_dose(dose, verdict):
    found = run_drug(drug("entrectinib", dose))["therapy.dose.d"]
    assert found.verdict is verdict
    if verdict is Verdict.NOT_ASSESSABLE:
        assert found.reason == "the steps of the label are not encoded"


@pytest.mark.parametrize(("dose", "stop", "is_raised"), [(90, 8, True), (90, 7, False), (180, 60, False)])
def test_a_first_dose_beyond_its_week_is_asked_about(dose, stop, is_raised):
    found = run_drug(drug("brigatinib", dose, start="day 0", stop=f"day {stop}"))
    assert ("therapy.lead_in.d" in found) == is_raised


def test_a_label_without_reduced_doses_is_named_so():
    low = run_drug(drug("alectinib", 150, 2, region="JP"))["therapy.dose.d"]
    assert "The JP label names no reduced dose." in low.statement
    assert "no reduced dose" not in run_drug(drug("alectinib", 150, 2))["therapy.dose.d"].statement


def test_what_sources_name_of_a_drug_is_shown_without_a_rule():
    found = run_drug(drug("lorlatinib", 100))["therapy.warning.d"]
    assert found.values == ("blood lipids", "effects on the central nervous system")
    assert found.basis.value == "read"
    assert "therapy.warning.d" not in run_drug(drug("alectinib", 600, 2))


@pytest.mark.parametrize(
    ("gene", "alteration", "line", "region", "name"),
    [
        ("EGFR", "exon 20 insertion", 1, "EU", "amivantamab + carboplatin + pemetrexed"),
        ("BRAF", "V600E", 1, "JP", "encorafenib + binimetinib"),
        ("ROS1", "fusion", 1, "EU", "taletrectinib"),
        ("NTRK3", "fusion", 1, "EU", "repotrectinib"),
    ],
)
def test_an_option_on_which_no_text_was_read_is_asked_about_and_not_listed(
    gene, alteration, line, region, name
):
    facts = positive(gene, alteration, region) | {"treatments": [{"id": "t", "name": "x", "line": line}]}
    found = {item.rule_id: item for item in assess(make_case(facts))}
    symbol = "ntrk" if gene.startswith("NTRK") else gene.lower()
    asked = found[f"therapy.options_unread.{symbol}"]
    assert (asked.severity, asked.verdict) == (Severity.QUERY, Verdict.NOT_ASSESSABLE)
    assert name in asked.values
    listed = found[f"therapy.options.{symbol}"]
    assert name not in listed.values
    assert name not in listed.statement


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [("ensartinib", "exalt3", "eXalt3"), ("brigatinib", "brigatinib_lung", "lung events")],
)
def test_what_nobody_read_of_a_drug_is_asked_about_and_not_stated(name, row, told, monkeypatch):
    stated = {key: item for key, item in run_drug(drug(name, 180)).items() if told in item.statement}
    assert len(stated) == 1
    assert "therapy.unread.d" not in stated
    is_verified = RuleRow.is_verified.fget
    monkeypatch.setattr(RuleRow, "is_verified", property(lambda r: r.id != row and is_verified(r)))
    found = run_drug(drug(name, 180))
    assert told in found["therapy.unread.d"].statement
    assert found["therapy.unread.d"].severity is Severity.QUERY
    assert not any(told in item.statement for key, item in found.items() if key != "therapy.unread.d")
    assert "therapy.unread.d" not in run_drug(drug("alectinib", 600, 2))


def test_no_statement_on_therapy_but_a_query_rests_on_what_nobody_read():
    table = [row.id for row in RULES.all_rows() if not row.is_verified]
    assert len(table) < 20
    cases = [positive("EGFR", "L858R", region) for region in ("US", "EU", "JP")]
    cases += [{"treatments": [drug(name, 90)]} for name in ("ceritinib", "brigatinib", "ensartinib")]
    for facts in cases:
        for item in assess(make_case(facts)):
            assert item.basis.value != "unverified" or item.severity is Severity.QUERY, item.rule_id


def test_doses_compared_in_practice_are_shown_as_of_groups():
    found = run_drug(drug("alectinib", 600, 2))["therapy.dose_cohort.samsung.d"]
    assert "0.82 (0.44-1.51)" in found.statement
    assert "not of this patient" in found.statement
    assert not any("dose_cohort" in name for name in run_drug(drug("lorlatinib", 100)))


@pytest.mark.parametrize(
    ("entries", "is_raised"),
    [
        ([drug("brigatinib", 180)], True),
        ([drug("Alunbrig", 180)], True),
        ([drug("brigatinib", 90)], False),
        ([drug("brigatinib", 180, start="day 7"), drug("brigatinib", 90, id="e", stop="day 7")], False),
        ([drug("repotrectinib", 160, 2)], True),
        ([drug("repotrectinib", 160, 1)], False),
        ([drug("alectinib", 600, 2)], False),
    ],
)
def test_a_full_dose_without_the_lower_one_of_the_first_days_is_asked_about(entries, is_raised):
    entries = [{"start": "day 0"} | entry for entry in entries]
    found = {item.rule_id: item for item in assess(make_case({"treatments": entries}))}
    assert ("therapy.no_lead_in.d" in found) is is_raised
    if is_raised:
        assert found["therapy.no_lead_in.d"].severity is Severity.QUERY


@pytest.mark.parametrize(
    ("gene", "alteration", "line", "region", "holds"),
    [
        ("ERBB2", "mutation", 1, "US", "zongertinib"),
        ("HER2", "exon 20 insertion", 1, "US", "zongertinib"),
        ("ERBB2", "mutation", 2, "US", "sevabertinib"),
        ("ERBB2", "mutation", 2, "JP", "zongertinib"),
        ("EGFR", "L858R", 2, "US", "datopotamab deruxtecan"),
        ("EGFR", "G719X", 1, "US", "afatinib"),
        ("EGFR", "S768I", 1, "US", "afatinib"),
        ("EGFR", "L861Q", 1, "US", "afatinib"),
        ("EGFR", "T790M", 2, "US", "osimertinib"),
        ("EGFR", "exon 20 insertion", 2, "US", "sunvozertinib"),
        ("ROS1", "fusion", 1, "US", "taletrectinib"),
        ("ROS1", "fusion", 2, "JP", "taletrectinib"),
        ("MET", "overexpression", 2, "US", "telisotuzumab vedotin"),
    ],
)
def test_options_of_the_newest_edition_rest_on_a_text_that_was_read(gene, alteration, line, region, holds):
    facts = {
        "patient": {"region": region},
        "molecular": [{"id": "m", "genes": [{"gene": gene, "result": "positive", "alteration": alteration}]}],
        "treatments": [{"id": "t", "name": "x", "line": line}],
    }
    (found,) = [item for item in assess(make_case(facts)) if item.rule_id.startswith("therapy.options.")]
    assert holds in found.values
    rows = [row for row in RULES.rows("option") if holds in row["drugs"] and region in row["regions"]]
    assert {row.basis.value for row in rows} == {"read"}


def test_the_condition_of_an_option_is_part_of_the_statement():
    facts = {
        "patient": {"region": "US"},
        "molecular": [{"id": "m", "genes": [{"gene": "EGFR", "result": "positive", "alteration": "L858R"}]}],
        "treatments": [{"id": "t", "name": "carboplatin", "line": 2}],
    }
    found = find(facts, "therapy.options.egfr")
    assert "datopotamab deruxtecan (after EGFR-directed therapy and platinum chemotherapy)" in found.statement


def test_an_amplification_is_no_mutation_of_an_option():
    facts = {
        "patient": {"region": "US"},
        "molecular": [
            {"id": "m", "genes": [{"gene": "ERBB2", "result": "positive", "alteration": "amplification"}]}
        ],
    }
    assert find(facts, "therapy.options.erbb2").values == ()


def test_every_row_of_the_newest_edition_read_on_its_day_cites_what_was_read():
    tables = ("name", "reproduction", "interaction")
    rows = [row for table in tables for row in RULES.rows(table)]
    assert len(rows) > 100
    assert {row.basis.value for row in rows} == {"read"}
    assert {RULES.citations[cited].basis.value for row in rows for cited in row.citations} == {"read"}


@pytest.mark.parametrize(
    ("start", "is_missing"),
    [("2020-03", False), ("2020", False), ("2020-03-05", False), ("day 0", False), ("in spring", True)],
)
def test_a_start_of_which_the_month_is_known_is_a_start_date(start, is_missing):
    entry = drug("alectinib", 600, 2, start=start)
    assert ("start date" in run_drug(entry)["therapy.dose_details.d"].values) is is_missing
