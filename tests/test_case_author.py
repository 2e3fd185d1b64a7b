"""What an author of a case report needs beside the facts: references and a look at what may identify."""

from __future__ import annotations

import json

import pytest

from miliary.cli.main import main
from miliary.clinical.record.identity_risks import list_identity_risks
from miliary.exchange.case.source_list import list_references, render_references
from miliary.model.saved.case_summary import CitationSummary
from tests.clinical.cases import make_case

ARTICLE = CitationSummary("Kwong et al., Chest 1996;110:339", "read", "10.1378/chest.110.2.339")


def test_an_article_is_told_apart_into_its_parts():
    (item,) = list_references({"kwong_1996": ARTICLE})
    assert (item["type"], item["container-title"], item["volume"], item["page"]) == (
        *("article-journal", "Chest"),
        *("110", "339"),
    )
    assert item["issued"]["date-parts"] == [[1996]]


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("ris", ["TY  - JOUR", "JO  - Chest", "DO  - 10.1378/chest.110.2.339", "ER  - "]),
        ("bib", ["@article{kwong_1996,", "journal = {Chest}", "year = {1996}"]),
    ],
)
def test_references_are_written_for_a_reference_manager(style, words):
    text = render_references(list_references({"kwong_1996": ARTICLE}), style)
    assert all(word in text for word in words)


def test_a_source_in_other_words_is_kept_whole():
    (item,) = list_references({}, ["Records of the ward, 2021"])
    assert item["type"] == "document"
    assert item["title"] == "Records of the ward, 2021"


def test_the_command_writes_all_sources(root, tmp_path, capsys):
    out = tmp_path / "refs.json"
    assert main(["case", "references", str(root / "examples" / "index-case"), "--out", str(out)]) == 0
    items = json.loads(out.read_text("utf-8"))
    assert "2911" in items[0]["title"]
    assert len(items) > 10
    assert main(["case", "references", str(root / "examples" / "index-case"), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"patient": {"age_years": 93}}, "90 or over"),
        ({"studies": [{"modality": "ct", "when": "2021-03-09"}]}, "exact dates"),
        ({"specimens": [{"place": "Saitama Hospital"}]}, "a place"),
        ({"studies": [{"note": "検診で指摘、山田様"}]}, "a name"),
        ({"treatments": [{"name": "x", "note": "chart 12345678"}]}, "a number"),
        ({"claims": [{"kind": "miliary", "text": "the mayor of a small town"}]}, "few people"),
    ],
)
def test_what_may_identify_a_patient_is_named(facts, word):
    assert any(word in risk for risk in list_identity_risks(make_case(facts)))


def test_a_case_in_days_without_names_has_no_such_risk():
    facts = {"patient": {"age_years": 62}, "studies": [{"modality": "ct", "when": "day 9"}]}
    assert list_identity_risks(make_case(facts)) == ()
