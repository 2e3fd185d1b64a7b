"""`miliary vocabulary`: every list, a word in any of them, and what is no list."""

from __future__ import annotations

import json

import pytest

from miliary.cli.main import main
from miliary.clinical.rulebook import find_rules
from miliary.model.vocabulary import ANALYTES, GENES, History, Symptom
from miliary.workflow.word_lists import find_listed_words, list_words


def run(capsys, *arguments):
    code = main(["vocabulary", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_without_a_list_the_names_of_all_are_shown(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(list_words())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("symptoms", {str(word) for word in Symptom}),
        ("history", {str(word) for word in History}),
        ("analytes", ANALYTES),
        ("genes", GENES),
        ("drugs", {str(row["drug"]) for row in find_rules("therapy").rows("name")}),
        ("nodes", {row.id for row in find_rules("sites").rows("site") if row["category"] == "node"}),
        ("procedures", {"ebus_tbna"}),
        ("adverse-events", {row.id for row in find_rules("ctcae").rows("term")}),
        ("microbiology", {"tb_naat"}),
    ],
)
def test_a_list_holds_its_words(name, words):
    assert set(words) <= {word.word for word in list_words()[name]}


def test_a_word_is_found_in_any_list_by_any_spelling(capsys):
    code, out, _ = run(capsys, "--find", "ザーコリ", "--json")
    assert code == 0
    assert [word["word"] for word in json.loads(out)["drugs"]] == ["crizotinib"]
    assert "crizotinib" in run(capsys, "drugs", "--find", "Xalkori")[1]


def test_a_slip_finds_the_word_it_is_near():
    found = [word.word for word in find_listed_words("alectnib", list_words())["drugs"]]
    assert "alectinib" in found
    assert len(found) < 5


@pytest.mark.parametrize(
    ("arguments", "words"), [(("drgs",), "did you mean 'drugs'"), (("--find", "qqqqqq"), "no list holds")]
)
def test_what_is_no_list_or_no_word_is_refused(capsys, arguments, words):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert words in err
