"""Questions that start a case, answered as a clinician would."""

from __future__ import annotations

from miliary.cli.main import main
from miliary.exchange.case.ask_case import QUESTIONS, ask_case
from miliary.exchange.case.case_file import read_case
from miliary.model.vocabulary import Finding, Presence, Symptom

ANSWERS = {
    "Age in years": ["sixty", "62"],  # the first is asked again
    "Sex": ["女性"],
    "Country of care": ["Japan"],
    "Symptoms that are present, with commas": ["coughh", "咳嗽, SOB"],
    "First imaging study (CT, chest X-ray, PET-CT)": ["chest CT"],
    "  its date": ["2021/3/9"],
    "  findings, with commas": ["GGO, cavity"],
    "Tissue or fluid taken from": ["lung"],
    "  histology, as the report says it": ["adenocarcinoma"],
    "Gene that was altered": ["ALK"],
    "  alteration": ["EML4-ALK"],
    "Sites of metastases, with commas": ["bone, brain"],
    "Drug": ["Alecensa"],
    "  dose per intake in mg": ["300"],
    "  how often a day": ["BID"],
}


def test_answers_become_a_case_and_wrong_ones_are_asked_again(tmp_path):
    left = {words: list(answers) for words, answers in ANSWERS.items()}
    told = []

    def ask(words):
        return left[words].pop(0) if left.get(words) else ""

    ask_case(tmp_path / "c", ask, told.append)
    case = read_case(tmp_path / "c")
    assert (case.patient.age_years, case.patient.sex, case.patient.region) == (62, "female", "JP")
    assert case.symptom(Symptom.DYSPNEA) is Presence.PRESENT
    assert case.studies[0].finding(Finding.GROUND_GLASS) is Presence.PRESENT
    assert [m.site for m in case.staging.metastases] == ["bone", "brain"]
    assert (case.treatments[0].dose, case.treatments[0].times_per_day) == (300, 2)
    assert case.molecular[0].genes[0].alteration == "EML4-ALK"
    assert len(told) == 2
    assert "'cough'" in told[1]


def test_the_command_takes_answers_from_its_input(tmp_path, monkeypatch, capsys):
    answers = iter(["case-7", "55"] + [""] * len(QUESTIONS))
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    assert main(["case", "new", str(tmp_path / "c"), "--ask"]) == 0
    assert "case.yaml" in capsys.readouterr().out
    case = read_case(tmp_path / "c")
    assert (case.id, case.patient.age_years) == ("case-7", 55)
