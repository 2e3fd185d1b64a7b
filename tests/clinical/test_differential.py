"""The differential of a miliary pattern: each cause can lead, its decisive fact counts, none is made up."""

import copy

import pytest

from miliary.clinical.findings import look_up
from miliary.clinical.record.differential import assess, find_distribution, rank_diagnoses
from miliary.clinical.rulebook import load_rules
from miliary.model.assessment import Verdict
from miliary.model.case import Case, Modality, NodulePattern, Study
from miliary.model.vocabulary import Finding, Presence
from tests.clinical.cases import make_case, read_rows

VIGNETTES = read_rows("differential/vignettes.toml", "vignette")
IN_STUDY = ("findings", "nodules")


def build(row, *, with_decisive=True):
    row = copy.deepcopy(row)
    if not with_decisive:
        section, _, name = row["remove"].partition(".")
        if name:
            del row[section][name]
        else:
            del row[section]
    facts = {key: row[key] for key in row if key not in ("name", "diagnosis", "remove", *IN_STUDY)}
    study = {"id": "ct", "modality": "ct"} | {key: row[key] for key in IN_STUDY if key in row}
    return make_case({"studies": [study], **facts})


def place_of(case, diagnosis):
    ranked = rank_diagnoses(case)
    place = [cause.id for cause in ranked].index(diagnosis)
    return place, ranked[place].steps


@pytest.mark.parametrize("row", VIGNETTES, ids=lambda row: row["name"])
def test_the_diagnosis_of_a_vignette_is_among_the_first_three(row):
    place, _ = place_of(build(row), row["diagnosis"])
    assert place < 3


@pytest.mark.parametrize("row", VIGNETTES, ids=lambda row: row["name"])
def test_a_vignette_without_its_decisive_fact_ranks_its_diagnosis_lower(row):
    place, steps = place_of(build(row), row["diagnosis"])
    later, fewer = place_of(build(row, with_decisive=False), row["diagnosis"])
    assert fewer < steps
    assert later >= place


def test_every_cause_has_a_vignette():
    assert [row["diagnosis"] for row in VIGNETTES] == [
        row.id for row in load_rules("differential", "2026-11").rows("diagnosis")
    ]


def test_an_empty_case_shows_only_published_frequencies_with_their_setting():
    found = assess(Case("empty"))
    assert {item.rule_id for item in found} == {
        "differential.frequency.korea_tertiary",
        "differential.frequency.us_series",
    }
    assert all("n = " in item.statement for item in found)
    assert "Korea" in found[0].statement


def test_symptoms_without_nodules_are_not_ranked():
    found = assess(make_case({"symptoms": {"fever": "present"}}))
    assert all(item.rule_id.startswith("differential.frequency") for item in found)


def test_the_order_says_that_it_is_not_validated():
    ranking = next(a for a in assess(build(VIGNETTES[0])) if a.rule_id == "differential.ranking")
    assert "not validated" in ranking.statement
    assert ranking.values[0] == "miliary_tuberculosis"


def with_igra(**more):
    facts = {"studies": [{"id": "ct", "modality": "ct", "nodules": {"distribution": "random"}}]}
    tests = [{"id": "i", "test": "igra", "result": "negative"}] if "tests" not in more else more.pop("tests")
    return assess(make_case(facts | {"microbiology": tests} | more))


def find(found, rule_id):
    return [item for item in found if item.rule_id == rule_id]


def test_a_negative_release_assay_leaves_tuberculosis_open():
    (query,) = find(with_igra(), "differential.tuberculosis_open")
    assert query.facts_item == "j27"
    assert query.verdict is Verdict.NOT_ASSESSABLE
    assert "tuberculosis culture" in query.values
    assert "HIV test" in query.values
    assert "name of the release assay" in query.values


def test_with_culture_amplification_hiv_and_values_there_is_no_query():
    tests = [
        {"id": "i", "test": "igra_quantiferon", "result": "negative", "mitogen_iu_per_ml": 8.0},
        *(
            {"id": name, "test": name, "material": "bal", "result": "negative"}
            for name in ("tb_culture", "tb_naat", "hiv")
        ),
    ]
    assert not find(with_igra(tests=tests), "differential.tuberculosis_open")


def test_a_claim_of_exclusion_alone_is_queried():
    found = with_igra(tests=[], claims=[{"id": "c", "kind": "tuberculosis_excluded"}])
    assert find(found, "differential.tuberculosis_open")


def test_nothing_ever_says_that_tuberculosis_is_excluded():
    for row in VIGNETTES:
        for item in (*assess(build(row)), *with_igra()):
            assert "excluded" not in item.statement


@pytest.mark.parametrize(
    ("test", "ratio"), [("igra_tspot", "0.18"), ("igra_quantiferon", "0.31"), ("igra", None)]
)
def test_a_published_ratio_is_shown_for_the_very_assay(test, ratio):
    found = with_igra(tests=[{"id": "i", "test": test, "result": "negative"}])
    (cause,) = find(found, "differential.miliary_tuberculosis")
    if ratio is None:
        assert "likelihood ratio" not in cause.statement
    else:
        assert f"likelihood ratio {ratio}" in cause.statement


def test_with_hiv_the_ratio_of_that_setting_is_shown():
    tests = [
        {"id": "i", "test": "igra_quantiferon", "result": "negative"},
        {"id": "h", "test": "hiv", "result": "positive"},
    ]
    (cause,) = find(with_igra(tests=tests), "differential.miliary_tuberculosis")
    assert "0.43" in cause.statement
    assert "0.31" not in cause.statement


def test_an_indeterminate_assay_is_not_a_negative_one():
    tests = [{"id": "i", "test": "igra", "result": "indeterminate"}]
    (cause,) = find(with_igra(tests=tests), "differential.miliary_tuberculosis")
    assert "igra negative" not in cause.statement
    assert not find(with_igra(tests=tests), "differential.tuberculosis_open")


@pytest.mark.parametrize(
    ("fissural", "subpleural", "clustered", "expected"),
    [
        ("absent", "absent", "not_stated", "centrilobular"),
        ("present", "not_stated", "present", "perilymphatic"),
        ("not_stated", "present", "absent", "random"),
        ("present", "present", "not_stated", None),
        ("absent", "not_stated", "absent", None),
        ("not_stated", "not_stated", "present", None),
    ],
)
def test_two_questions_give_the_distribution(fissural, subpleural, clustered, expected):
    names = (Finding.FISSURAL_NODULES, Finding.SUBPLEURAL_NODULES, Finding.CLUSTERED_NODULES)
    findings = dict(zip(names, map(Presence, (fissural, subpleural, clustered)), strict=True))
    study = Study("ct", Modality.CT, findings=findings, nodules=NodulePattern())
    assert find_distribution(Case("c", studies=(study,)))[0] == expected


def test_a_non_smoker_is_not_taken_for_a_never_smoker():
    row = VIGNETTES[2]
    word = build(row | {"patient": row["patient"] | {"smoking": "non_smoker"}})
    assert place_of(word, "lung_adenocarcinoma")[1] == place_of(build(row), "lung_adenocarcinoma")[1] - 0.5


STUDY = {"id": "ct", "modality": "ct", "nodules": {"distribution": "random"}}
SIGNS = {
    "symptom": lambda row: {"symptoms": {row["names"][0]: "present"}},
    "history": lambda row: {"history": {row["names"][0]: "present"}},
    "origin": lambda row: {"patient": {"region": row["regions"][0]}},
    "imaging": lambda row: {"studies": [STUDY | {"findings": {row["names"][0]: "present"}}]},
    "imaging_all": lambda row: {"studies": [STUDY | {"findings": dict.fromkeys(row["names"], "present")}]},
    "test_positive": lambda row: {
        "microbiology": [{"id": "t", "test": row["tests"][0], "result": "positive"}]
    },
    "test_negative": lambda row: {
        "microbiology": [{"id": "t", "test": row["tests"][0], "result": "negative"}]
    },
    "lab_above": lambda row: {
        "labs": [{"id": "l", "analyte": row["analytes"][0], "value": 2, "unit": "1", "high": 1}]
    },
    "lab_below": lambda row: {
        "labs": [{"id": name, "analyte": name, "value": 1, "unit": "1", "low": 2} for name in row["analytes"]]
    },
    "histology": lambda row: {
        "specimens": [
            {
                "id": "s",
                "site": "lung" if row.get("is_chest") else "",
                "histology": f"{row.get('status', '')} {row['words'][0]}".strip(),
            }
        ]
    },
    "invasion": lambda row: {"specimens": [{"id": "s", "invasion": {row["names"][0]: "present"}}]},
    "molecular": lambda row: {
        "molecular": [{"id": "m", "genes": [{"gene": row["genes"][0], "result": "positive"}]}]
    },
    "sex": lambda row: {"patient": {"sex": row["value"]}},
    "smoking": lambda row: {"patient": {"smoking": row["values"][0]}},
    "age": lambda row: {
        "patient": {"age_years": row["to_years"], "smoking": row.get("smoking", ["never"])[0]}
    },
    "stable": lambda _: {
        "studies": [STUDY, {"id": "b", "modality": "ct", "change": "unchanged", "compared_with": "ct"}]
    },
}
FINDINGS = load_rules("differential", "2026-11").rows("finding")


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: row.id)
def test_every_finding_can_be_found_and_is_not_stated_in_an_empty_case(row):
    assert look_up(row, Case("empty")) == (Presence.NOT_STATED, ())
    history = {row["with_history"]: "present"} if row.get("with_history") else {}
    found = look_up(row, make_case(SIGNS[row["kind"]](row) | ({"history": history} if history else {})))
    assert found.state is Presence.PRESENT
    assert found.facts


def test_every_finding_counts_for_or_against_some_cause():
    used = {
        name
        for row in load_rules("differential", "2026-11").rows("diagnosis")
        for key in ("proof", "decisive", "supporting", "context", "against", "weak_against")
        for name in row.get(key, ())
    }
    assert used == {row.id for row in FINDINGS}


@pytest.mark.parametrize(
    ("value", "high", "state"),
    [(1.1, 1.0, "present"), (1.0, 1.0, "absent"), (5.0, None, "not_stated")],
)
def test_a_value_is_raised_above_the_laboratorys_own_limit_only(value, high, state):
    row = next(row for row in FINDINGS if row.id == "alp_raised")
    lab = {"id": "l", "analyte": "alp", "value": value, "unit": "U/L"} | ({"high": high} if high else {})
    assert look_up(row, make_case({"labs": [lab]})).state == state


def test_an_age_bound_includes_itself():
    row = next(row for row in FINDINGS if row.id == "age_at_most_30")
    assert look_up(row, make_case({"patient": {"age_years": 30}})).state is Presence.PRESENT
    assert look_up(row, make_case({"patient": {"age_years": 31}})).state is Presence.ABSENT


@pytest.mark.parametrize(("uniform", "words"), [("present", "uniform size"), ("absent", "varying size")])
def test_the_sizes_are_named_as_recorded(uniform, words):
    study = STUDY | {"nodules": {"distribution": "random", "is_uniform": uniform}}
    causes = rank_diagnoses(make_case({"studies": [study]}))
    tuberculosis = next(cause for cause in causes if cause.id == "miliary_tuberculosis")
    assert words in tuberculosis.list_names(is_for=uniform == "present")


@pytest.mark.parametrize(
    ("study", "rule"),
    [
        ({"modality": "xray"}, "differential.detection.radiograph_kwong"),
        (
            {"modality": "ct", "findings": {"ill_defined_nodules": "present"}},
            "differential.detection.missed_choe",
        ),
        ({"modality": "ct", "findings": {"ill_defined_nodules": "absent"}}, None),
        ({"modality": "mri"}, None),
    ],
)
def test_how_well_imaging_shows_tuberculosis_is_told_once_for_what_was_done(study, rule):
    case = make_case({"studies": [{"id": "a", **study}, {"id": "b", **study}]})
    found = [a.rule_id for a in assess(case) if a.rule_id.startswith("differential.detection")]
    assert found == ([rule] if rule else [])


def bcg_case(**facts):
    base = {"history": {"bcg_instillation": "present"}, "studies": [{"id": "ct", "modality": "ct"}]}
    base["studies"][0]["nodules"] = {"is_diffuse": "present"}
    return make_case(base | facts)


def test_a_negative_culture_after_bcg_is_said_to_exclude_nothing():
    culture = [{"id": "c", "test": "tb_culture", "material": "bal", "result": "negative"}]
    found = [a for a in assess(bcg_case(microbiology=culture)) if a.rule_id.endswith("negative_after_bcg")]
    assert [a.verdict for a in found] == [Verdict.NOT_ASSESSABLE]
    assert not [a for a in assess(bcg_case()) if a.rule_id.endswith("negative_after_bcg")]


@pytest.mark.parametrize(
    ("facts", "open_tests"),
    [
        ({}, "mycobacterial culture with species, biopsy"),
        ({"microbiology": [{"id": "c", "test": "bcg_species", "result": "negative"}]}, "biopsy"),
        (
            {"specimens": [{"id": "s", "site": "lung", "histology": "granulomas"}]},
            "mycobacterial culture with species",
        ),
        ({"specimens": [{"id": "s", "site": "lung"}]}, "mycobacterial culture with species, biopsy"),
    ],
)
def test_a_test_that_is_done_is_not_named_as_the_next(facts, open_tests):
    cause = next(a for a in assess(bcg_case(**facts)) if a.rule_id == "differential.disseminated_bcg")
    assert cause.statement.endswith(f"next test named by the sources: {open_tests}.")
