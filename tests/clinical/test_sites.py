"""Words for a place of disease: what each means for N and M, and what is asked back."""

from __future__ import annotations

import pytest

from miliary.clinical.recist.criteria import read_limits
from miliary.clinical.recist.measurable import find_selection_problems
from miliary.clinical.record import consistency
from miliary.clinical.rulebook import load_rules
from miliary.clinical.tnm.site_words import canonical_site, read_site
from miliary.clinical.tnm.staging import assess
from miliary.model.assessment import Assessment, Severity, Verdict
from tests.clinical.cases import make_case

COMPLETE = {
    "primary": "present",
    "side": "right",
    "lobe": "RUL",
    "size_mm": 25,
    "invasion_assessed": True,
    "nodules_assessed": True,
    "nodes_assessed": True,
    "metastases_assessed": True,
}
ROWS = load_rules("sites", "2026-11").rows("site")


def stage(*sites: str, count: str | None = "single", **facts: object) -> dict[str, Assessment]:
    """T, N, M and group in the ninth edition, of a tumor of the right upper lobe with these metastases."""
    items = [{"id": f"m{n}", "site": site, "count": count} for n, site in enumerate(sites)]
    case = make_case({"staging": COMPLETE | {"metastases": items} | facts})
    return {a.rule_id: a for a in assess(case) if a.edition != "tnm 8"}


@pytest.mark.parametrize(
    "site",
    [
        *(
            "malignant pleural effusion",
            "pleural effusion",
            "pleural effusion, malignant",
            "胸水",
            "癌性胸水",
        ),
        *("contralateral lung", "contralateral lung nodules", "left lung", "LUL", "対側肺転移", "both lungs"),
        *("pericardial effusion", "malignant pericardial effusion", "pericardial nodules", "心嚢水"),
        *("pleural dissemination", "Pleural nodules", "胸膜播種", "pleura", "pleural_effusion"),
    ],
)
@pytest.mark.parametrize("count", ["single", "multiple", None])
def test_disease_within_the_chest_is_m1a(site, count):
    found = stage(site, count=count)
    assert (found["tnm.m"].value, found["tnm.group"].value) == ("M1a", "IVA")
    assert found["tnm.n"].value == "N0"


@pytest.mark.parametrize(
    ("site", "n", "m"),
    [
        ("supraclavicular node", "N3", "M0"),
        ("supraclavicular lymph nodes", "N3", "M0"),
        ("left supraclavicular LN", "N3", "M0"),
        ("鎖骨上窩リンパ節", "N3", "M0"),
        ("scalene node", "N3", "M0"),
        ("contralateral hilar lymph node", "N3", "M0"),
        ("left mediastinal nodes", "N3", "M0"),
        ("right hilar lymph nodes", "N1", "M0"),
        ("同側肺門リンパ節", "N1", "M0"),
        ("4R node", "N2a", "M0"),
        ("subcarinal lymph node", "N2a", "M0"),
        ("axillary lymph node", "N0", "M1b"),
        ("retroperitoneal lymph node", "N0", "M1b"),
    ],
)
def test_a_lymph_node_is_staged_by_its_station(site, n, m):
    found = stage(site)
    assert (found["tnm.n"].value, found["tnm.m"].value) == (n, m)


@pytest.mark.parametrize(
    ("sites", "m"),
    [
        (("spine", "rib"), "M1c1"),
        (("spine and rib",), "M1c1"),
        (("L4", "iliac bone", "skull"), "M1c1"),
        (("腰椎", "肋骨"), "M1c1"),
        (("left adrenal", "right adrenal"), "M1c1"),
        (("both adrenals",), "M1c1"),
        (("両側副腎",), "M1c1"),
        (("liver", "hepatic"), "M1c1"),
        (("brain", "cerebellum"), "M1c1"),
        (("liver", "bone"), "M1c2"),
        (("liver, bone",), "M1c2"),
        (("肝転移", "骨転移"), "M1c2"),
        (("spine",), "M1b"),
        (("brain metastasis",), "M1b"),
        (("malignant pleural effusion", "spine"), "M1b"),
        (("supraclavicular node", "liver", "rib"), "M1c2"),
    ],
)
def test_words_for_one_organ_system_count_as_one(sites, m):
    assert stage(*sites)["tnm.m"].value == m


def test_words_of_number_count_where_no_number_is_given():
    assert stage("multiple bone metastases", count=None)["tnm.m"].value == "M1c1"
    assert stage("solitary brain metastasis", count=None)["tnm.m"].value == "M1b"
    assert stage("bone", count=None)["tnm.m"].values == ("M1b", "M1c1")


@pytest.mark.parametrize(
    ("site", "nearest"),
    [
        ("livr", "liver"),
        ("adrenla", "adrenal"),
        ("benign pleural effusion", "pleural effusion"),
        ("possible liver", "liver"),
        ("suprclavicular node", "supraclavicular node"),
        ("副賢", "副腎"),
        ("chest wall", ""),
        ("elsewhere", ""),
    ],
)
def test_a_word_that_no_list_holds_is_asked_back_and_leaves_m_open(site, nearest):
    found = stage(site)
    asked = found["tnm.site_word"]
    assert (asked.verdict, asked.severity) == (Verdict.NOT_ASSESSABLE, Severity.QUERY)
    assert len(asked.values) == 3
    assert nearest in (*asked.values, "")
    m = found["tnm.m"]
    assert (m.verdict, m.value) == (Verdict.NOT_ASSESSABLE, None)
    assert site in m.reason
    assert m.values == ("M0", "M1a", "M1b", "M1c1", "M1c2")


def test_an_unknown_word_beside_a_known_site_raises_nothing_and_excludes_nothing_above():
    found = stage("pleura", "livr")["tnm.m"]
    assert found.value is None
    assert found.values == ("M1a", "M1b", "M1c1", "M1c2")
    assert stage("liver", "bone", "livr")["tnm.m"].value == "M1c2"


def test_a_word_that_may_be_a_node_leaves_n_open_too():
    assert stage("suprclavicular node")["tnm.n"].value is None
    assert stage("livr")["tnm.n"].value == "N0"


def test_the_lung_without_a_side_leaves_m0_and_m1a_open():
    found = stage("lung")
    assert found["tnm.m"].value is None
    assert found["tnm.m"].values[:2] == ("M0", "M1a")
    assert (stage("RLL")["tnm.t"].value, stage("RLL")["tnm.m"].value) == ("T4", "M0")


def test_a_site_said_to_be_free_counts_for_nothing():
    items = [{"id": "m", "site": "livr", "presence": "absent"}]
    case = make_case({"staging": COMPLETE | {"metastases": items}})
    assert {a.value for a in assess(case) if a.rule_id == "tnm.m"} == {"M0"}


@pytest.mark.parametrize(
    ("station", "n", "m"),
    [
        ("right hilar", "N1", "M0"),
        ("Supraclavicular lymph nodes", "N3", "M0"),
        ("inguinal", "N0", "M1b"),
        ("鎖骨上窩", "N3", "M0"),
        ("thoracic duct", None, None),
    ],
)
def test_the_station_of_a_node_is_read_by_the_same_words(station, n, m):
    found = stage(nodes=[{"id": "n", "station": station, "involved": "present"}])
    assert (found["tnm.n"].value, found["tnm.m"].value) == (n, m)
    assert ("tnm.site_word" in found) == (n is None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_word_of_the_list_names_its_own_row_alone(row):
    for word in (row.id, *row["words"], *row["words_ja"]):
        assert canonical_site(word) == row.id
        assert canonical_site(word.upper()) == row.id
    for form in ("metastases to the {}", "{} metastasis"):
        assert canonical_site(form.format(row["words"][0])) == row.id
    assert read_site(f"no {row['words'][0]}").sites == ()


@pytest.mark.parametrize("word", ["bone", "spine", "rib", "vertebra", "骨"])
def test_a_bone_by_any_of_its_names_is_asked_for_its_course(word):
    facts = {"staging": {"metastases": [{"id": "m", "site": word}]}, "treatments": [{"id": "t", "name": "x"}]}
    raised = {a.rule_id for a in consistency.assess(make_case(facts)) if a.is_raised}
    assert "consistency.bone_follow_up" in raised
    readings = [{"study": name, "longest_mm": 20} for name in ("a", "b")]
    lesion = {"id": "l", "organ": word, "measurements": readings}
    studies = [{"id": name, "modality": "ct"} for name in ("a", "b")]
    denosumab = {"id": "z", "name": "denosumab"}
    drugs = [*facts["treatments"], denosumab]
    followed = facts | {"lesions": [lesion], "studies": studies, "treatments": drugs}
    raised = {a.rule_id for a in consistency.assess(make_case(followed)) if a.is_raised}
    assert "consistency.bone_follow_up" not in raised


@pytest.mark.parametrize("word", ["liver", "hepatic"])
def test_imaging_that_denies_a_site_contradicts_it_by_any_of_its_names(word):
    study = {"id": "ct", "modality": "ct", "findings": {"liver_lesions": "absent"}}
    facts = {"staging": {"metastases": [{"id": "m", "site": word}]}, "studies": [study]}
    rules = {a.rule_id.partition(".m")[0] for a in consistency.assess(make_case(facts)) if a.is_raised}
    assert any("imaging_and_sites" in rule for rule in rules)


@pytest.mark.parametrize(
    ("organs", "is_too_many"),
    [
        (("liver", "hepatic", "hepatic"), True),
        (("spine", "rib", "bone"), True),
        (("liver", "spine", "rib"), False),
        (("left kidney", "right kidney", "kidney"), True),
    ],
)
def test_targets_are_counted_by_organ_whatever_it_is_called(organs, is_too_many):
    limits = read_limits(load_rules("recist", "1.1"))
    problems = find_selection_problems(organs, baseline_day=0, limits=limits)
    assert ("too_many_in_organ" in problems) is is_too_many
