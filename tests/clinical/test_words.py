"""The clinician's words: a negation is no presence, a doubt no proof, and an unknown word is asked back."""

import pytest

from miliary.clinical.record.diagnosis_words import (
    DiagnosisStatus,
    find_status,
    is_from_chest,
    list_names,
    read_diagnosis,
)
from miliary.clinical.record.differential import rank_diagnoses
from miliary.clinical.record.microbiology_words import find_test
from miliary.clinical.record.tumor import has_tumor, list_other_proof
from miliary.clinical.registry import assess_case
from miliary.clinical.rulebook import find_rules
from miliary.model.assessment import Severity, Verdict
from miliary.model.case import Specimen
from tests.clinical.cases import make_case, read_rows

TEXTS = read_rows("words/diagnoses.toml", "text")
WORDS = find_rules("words")
CT = {
    "id": "ct",
    "modality": "ct",
    "nodules": {"is_diffuse": "present", "is_bilateral": "present", "distribution": "random"},
}
XRAY = {"id": "x", "modality": "xray", "nodules": {"is_innumerable": "present", "is_bilateral": "present"}}


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row["text"])
def test_a_text_says_what_its_row_says(row):
    reading = read_diagnosis(row["text"])
    assert [f"{m.entity} {m.status.value}" for m in reading.mentions] == row["said"]
    assert list(reading.unknown) == row.get("unknown", [])


@pytest.mark.parametrize("row", WORDS.rows("entity"), ids=lambda row: row.id)
def test_every_name_of_a_diagnosis_is_read_as_it_and_can_be_denied(row):
    for name in list_names(row):
        plain = [m for m in read_diagnosis(name).mentions if m.entity == row.id]
        denied = f"{name}を認めず" if not name.isascii() else f"no evidence of {name}"
        assert [m.status for m in plain] == [DiagnosisStatus.CONFIRMED], name
        assert [m.status for m in read_diagnosis(denied).mentions] == [DiagnosisStatus.NEGATED], denied


CUES = [
    (cue, name)
    for cue in WORDS.rows("cue")
    if cue["status"] in ("negated", "suspected", "not_this_tissue")
    for name in (*cue["names"], *cue.get("names_ja", ()))
]


@pytest.mark.parametrize(("cue", "name"), CUES, ids=[f"{cue.id}: {name}" for cue, name in CUES])
def test_every_word_of_negation_or_doubt_keeps_a_diagnosis_from_being_confirmed(cue, name):
    text = f"{name} melanoma" if cue["stands"] == "before" else f"melanoma {name}"
    (mention,) = read_diagnosis(text).mentions
    assert mention.status.value == cue["status"]


def test_no_name_means_two_things():
    for table in ("entity", "test"):
        names = [(name, row.id) for row in WORDS.rows(table) for name in list_names(row)]
        assert len({name for name, _ in names}) == len({*names})


def case_of(histology="", *, study=CT, site="lung", **facts):
    specimens = [{"id": "b", "site": site, "histology": histology}] if histology else []
    return make_case({"studies": [study], "specimens": specimens, **facts})


def results_of(*pairs):
    return [
        {"id": f"t{number}", "test": name, "result": result} for number, (name, result) in enumerate(pairs)
    ]


def find(case, rule):
    return [item for item in assess_case(case) if item.rule_id == rule]


@pytest.mark.parametrize(
    "histology",
    [
        *("no evidence of adenocarcinoma", "negative for adenocarcinoma", "adenocarcinoma was ruled out"),
        *("no malignancy", "腺癌を認めず", "腺癌なし", "adenocarcinoma: absent"),
    ],
)
def test_denied_adenocarcinoma_counts_against_it_and_no_rule_takes_it_for_one(histology):
    denied, silent = case_of(histology), case_of()
    steps = {cause.id: cause.steps for cause in rank_diagnoses(denied)}
    before = {cause.id: cause.steps for cause in rank_diagnoses(silent)}
    assert steps["lung_adenocarcinoma"] == before["lung_adenocarcinoma"] - 1
    assert not [a for a in assess_case(denied) if a.rule_id.startswith("drivers.")]


@pytest.mark.parametrize(
    "histology",
    [
        *(
            "metastatic papillary thyroid carcinoma",
            "follicular carcinoma of the thyroid",
            "甲状腺乳頭癌の転移",
        ),
        *(
            "metastatic melanoma",
            "悪性黒色腫",
            "clear cell renal cell carcinoma",
            "腎細胞癌",
            "choriocarcinoma",
        ),
        *("invasive ductal carcinoma of the breast", "colonic adenocarcinoma", "metastatic osteosarcoma"),
        *("adenocarcinoma of the pancreas", "metastatic adenocarcinoma of colorectal origin", "前立腺癌"),
    ],
)
@pytest.mark.parametrize("study", [CT, XRAY], ids=["CT", "radiograph"])
def test_a_tumor_of_another_organ_in_lung_tissue_is_metastatic_and_not_staged_as_lung_cancer(
    histology, study
):
    case = case_of(histology, study=study, symptoms={"fever": "present", "hemoptysis": "present"})
    (ranking,) = find(case, "differential.ranking")
    assert ranking.values[0] == "hematogenous_metastases"
    assert "Settled by tissue" in ranking.statement
    (cause,) = find(case, "differential.hematogenous_metastases")
    assert cause.verdict is Verdict.MET
    assert "next test" not in cause.statement
    assert not [a for a in assess_case(case) if a.rule_id.startswith("tnm.")]
    assert find(case, "words.no_lung_stage")


def test_the_same_tumor_in_another_organ_counts_without_settling_the_lung():
    case = case_of("papillary thyroid carcinoma", site="thyroid")
    (ranking,) = find(case, "differential.ranking")
    assert ranking.values[0] == "hematogenous_metastases"
    assert "Settled" not in ranking.statement


@pytest.mark.parametrize(
    "histology",
    ["no melanoma", "suspicious for melanoma", "history of melanoma", "melanoma?", "黒色腫の疑い"],
)
def test_a_tumor_that_is_not_confirmed_settles_nothing(histology):
    case = case_of(histology)
    assert not any(cause.proof for cause in rank_diagnoses(case))
    assert list_other_proof(case) == ()


def test_an_adenocarcinoma_on_record_is_staged():
    assert [a for a in assess_case(case_of("adenocarcinoma")) if a.rule_id.startswith("tnm.")]


@pytest.mark.parametrize(
    "histology",
    [
        *("necrotizing granulomas with acid-fast bacilli", "caseating granulomas, acid-fast bacilli present"),
        *("granulomas with caseous necrosis and acid fast organisms", "乾酪性肉芽腫、抗酸菌陽性"),
    ],
)
def test_acid_fast_bacilli_in_tissue_put_tuberculosis_first_and_do_not_raise_sarcoidosis(histology):
    ranked = {cause.id: cause for cause in rank_diagnoses(case_of(histology))}
    assert next(iter(ranked)) == "miliary_tuberculosis"
    before = {cause.id: cause.steps for cause in rank_diagnoses(case_of())}
    assert ranked["sarcoidosis"].steps < before["sarcoidosis"]


@pytest.mark.parametrize(
    "histology",
    [
        "noncaseating granulomas with giant cells",
        "Non-caseating granulomas; no AFB",
        "非乾酪性肉芽腫を認める",
    ],
)
def test_granulomas_without_caseation_speak_for_sarcoidosis(histology):
    findings = {"symmetric_hilar_nodes": "present", "ground_glass": "present"}
    nodules = {"is_diffuse": "present", "zone": "upper"}
    case = case_of(histology, study={"id": "c", "modality": "ct", "findings": findings, "nodules": nodules})
    (ranking,) = find(case, "differential.ranking")
    assert ranking.values[0] == "sarcoidosis"
    assert "granulomas" in find(case, "differential.sarcoidosis")[0].statement


@pytest.mark.parametrize(
    ("test", "cause"),
    [
        ("Histoplasma capsulatum culture", "histoplasmosis"),
        ("histoplasma_culture", "histoplasmosis"),
        ("Coccidioides culture", "coccidioidomycosis"),
        ("culture for Cryptococcus", "cryptococcosis_blastomycosis_candida"),
        ("mycobacterial culture", "miliary_tuberculosis"),
        ("結核菌PCR", "miliary_tuberculosis"),
    ],
)
def test_a_culture_puts_its_organism_first_in_spite_of_indirect_findings(test, cause):
    against = [("histoplasma_antigen", "negative"), ("coccidioides_serology", "positive")]
    case = case_of(
        microbiology=results_of(*against, (test, "positive")),
        symptoms={"fever": "present"},
        history={"immunosuppression": "present", "rheumatoid_arthritis": "present"},
    )
    (ranking,) = find(case, "differential.ranking")
    assert ranking.values[0] == cause
    assert "Settled by tissue or culture" in ranking.statement


def test_a_negative_culture_settles_nothing():
    case = case_of(microbiology=results_of(("histoplasma_culture", "negative")))
    assert not any(cause.proof for cause in rank_diagnoses(case))


BCG = {"bcg_instillation": "present", "malignancy_bladder": "present"}


@pytest.mark.parametrize(
    "tests",
    [
        (("GeneXpert MTB/RIF", "positive"),),
        (("tb_naat", "positive"), ("tb_culture", "positive"), ("afb_smear", "negative")),
        (("PCR for M. tuberculosis complex", "positive"), ("MGIT", "positive")),
    ],
)
def test_a_test_of_the_complex_does_not_put_tuberculosis_before_bcg_after_instillations(tests):
    symptoms = dict.fromkeys(("fever", "night_sweats", "weight_loss"), "present")
    case = case_of(history=BCG, symptoms=symptoms, microbiology=results_of(*tests))
    assert next(iter(cause.id for cause in rank_diagnoses(case))) == "disseminated_bcg"
    (query,) = find(case, "differential.inseparable")
    assert "BCG" in query.statement
    without = case_of(symptoms=symptoms, microbiology=results_of(*tests))
    assert rank_diagnoses(without)[0].id == "miliary_tuberculosis"
    assert not find(without, "differential.inseparable")


def test_a_named_species_settles_it():
    tests = results_of(("tb_culture", "positive"), ("M. bovis BCG", "positive"))
    case = case_of(history=BCG, microbiology=tests)
    assert rank_diagnoses(case)[0].proof == ("bcg species identified",)
    assert not find(case, "differential.inseparable")


def test_a_negative_culture_does_not_exclude_bcg():
    case = case_of(history=BCG, microbiology=results_of(("tb_culture", "negative")))
    assert rank_diagnoses(case)[0].id == "disseminated_bcg"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *(
            (name, "tb_naat")
            for name in ("GeneXpert MTB/RIF", "Xpert MTB/RIF Ultra", "PCR for M. tuberculosis")
        ),
        *((name, "tb_naat") for name in ("TB-PCR", "tb_naat", "Xpert® MTB/RIF", "結核菌PCR", "TB-LAMP")),
        *(
            (name, "igra_quantiferon")
            for name in ("QuantiFERON", "QuantiFERON-TB Gold Plus", "QFT-Plus", "QFT")
        ),
        *((name, "igra_tspot") for name in ("T-SPOT", "T-SPOT.TB", "T-SPOT®.TB", "Ｔスポット")),
        ("Ziehl-Neelsen stain", "afb_smear"),
        ("Mycobacterial culture", "tb_culture"),
        ("varicella zoster PCR", "varicella_pcr"),
        ("varicella", ""),
        ("frobnicator", ""),
    ],
)
def test_a_test_is_known_by_the_names_clinicians_use(name, known):
    assert find_test(name) == known


def test_a_release_assay_by_its_trade_name_is_judged_as_one():
    case = case_of(microbiology=results_of(("QuantiFERON-TB Gold", "negative")))
    assert find(case, "differential.tuberculosis_open")
    assert "likelihood ratio 0.31" in find(case, "differential.miliary_tuberculosis")[0].statement


def test_an_unknown_test_is_asked_back_with_the_nearest_names_and_counts_for_nothing():
    case = case_of(microbiology=results_of(("Genexprt MTB-RIF", "positive")))
    (query,) = find(case, "words.unknown_test")
    assert query.severity is Severity.QUERY
    assert "genexpert mtb rif" in query.values
    assert [c.steps for c in rank_diagnoses(case)] == [c.steps for c in rank_diagnoses(case_of())]


def test_an_unknown_word_of_a_report_is_asked_back_with_the_nearest_words():
    case = case_of("lung adenokarcinoma")
    (query,) = find(case, "words.unknown_diagnosis")
    assert "'adenokarcinoma' (nearest known: adenocarcinoma" in query.statement
    assert [c.steps for c in rank_diagnoses(case)] == [c.steps for c in rank_diagnoses(case_of())]


def test_a_sentence_that_can_be_read_in_two_ways_is_asked_back():
    (query,) = find(case_of("no malignancy, caseating granulomas"), "words.unclear_diagnosis")
    assert query.values == ("caseating granuloma",)


@pytest.mark.parametrize("histology", ["adenocarcinoma", "腺癌", "noncaseating granulomas", ""])
def test_a_plain_report_raises_no_question(histology):
    case = case_of(histology, microbiology=results_of(("igra", "negative")))
    assert not [a for a in assess_case(case) if a.rule_id.startswith("words.") and a.is_raised]


def test_acute_varicella_on_a_radiograph_leads_and_says_what_a_radiograph_lacks():
    case = case_of(
        study=XRAY,
        symptoms={"fever": "present", "skin_lesions": "present"},
        history={"varicella_now": "present"},
        microbiology=results_of(("varicella zoster PCR", "positive")),
    )
    (ranking,) = find(case, "differential.ranking")
    assert ranking.values[0] == "viral_embolic"
    assert "radiograph" in ranking.statement


def test_two_proofs_are_both_named():
    case = case_of("metastatic melanoma", microbiology=results_of(("tb_culture", "positive")))
    (ranking,) = find(case, "differential.ranking")
    assert {*ranking.values[:2]} == {"miliary_tuberculosis", "hematogenous_metastases"}
    assert " and " in ranking.statement.partition("First")[0]


@pytest.mark.parametrize(
    ("text", "entities", "status"),
    [
        ("no adenocarcinoma. adenocarcinoma.", ("adenocarcinoma",), DiagnosisStatus.UNCLEAR),
        ("no malignancy", ("melanoma",), DiagnosisStatus.NEGATED),
        ("no melanoma", ("adenocarcinoma",), None),
        ("noncaseating granuloma", ("granuloma",), DiagnosisStatus.CONFIRMED),
        ("no malignancy; melanoma", ("melanoma",), DiagnosisStatus.CONFIRMED),
        ("", ("melanoma",), None),
    ],
)
def test_a_text_is_asked_for_a_diagnosis_and_its_kinds(text, entities, status):
    assert find_status(text, entities) is status


@pytest.mark.parametrize(
    ("site", "procedure", "is_chest"),
    [
        ("lung", "", True),
        ("RUL", "", True),
        ("右肺", "", True),
        ("", "transbronchial biopsy", True),
        ("thyroid", "TBLB", False),
        ("", "", False),
        ("lunga", "", False),
    ],
)
def test_where_a_specimen_is_from(site, procedure, is_chest):
    assert is_from_chest(Specimen("s", site=site, procedure=procedure)) is is_chest


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, False),
        ({"history": {"malignancy_other": "absent"}}, False),
        ({"history": {"malignancy_other": "present"}}, True),
        ({"specimens": [{"id": "s", "histology": "no malignancy"}]}, False),
        ({"specimens": [{"id": "s", "histology": "suspected lymphoma"}]}, True),
        ({"staging": {"size_mm": 20}}, True),
        ({"staging": {"primary": "absent"}}, False),
    ],
)
def test_a_tumor_is_on_record_where_something_says_so(facts, expected):
    assert has_tumor(make_case(facts)) is expected


def test_notes_and_comments_are_read_by_no_rule():
    stain = {"id": "i", "target": "ALK", "result": "positive"}
    plain = case_of("adenocarcinoma", immunostains=[stain])
    noted = case_of("adenocarcinoma", immunostains=[stain | {"note": "no, tuberculosis with melanoma"}])
    assert assess_case(plain) == assess_case(noted)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, False),
        ({"history": {"malignancy_bladder": "present"}}, False),
        ({"specimens": [{"id": "s", "site": "lung", "histology": "noncaseating granulomas"}]}, False),
        ({"specimens": [{"id": "s", "site": "lung", "histology": "squamous cell carcinoma"}]}, True),
        ({"specimens": [{"id": "s", "site": "lung", "histology": "腺癌の疑い"}]}, True),
        ({"staging": {"size_mm": 20}}, True),
        ({"history": {"malignancy_lung": "present"}}, True),
    ],
)
def test_only_a_patient_who_may_have_lung_cancer_is_staged(facts, expected):
    found = {a.rule_id for a in assess_case(make_case(facts))}
    assert ("tnm.t" in found) is expected
    assert ("words.no_lung_stage" in found) is not expected
