"""Questions that start a case: answers in a clinician's words, checked one by one, written as `case.yaml`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case_text
from miliary.exchange.case.encode import write_case
from miliary.model.case import Case


class Question(NamedTuple):
    """One question, and the field that its answer goes to.

    Attributes
    ----------
    words : str
    path : tuple of str
        Section and field; a section that is a list gets one item of all its answers.
    """

    words: str
    path: tuple[str, ...]


_SPLIT = ("symptoms", "history")
QUESTIONS = (
    Question("Pseudonym of the case (no name, no hospital number)", ("id",)),
    Question("Age in years", ("patient", "age_years")),
    Question("Sex", ("patient", "sex")),
    Question("Country of care", ("patient", "region")),
    Question("Smoking (never, former, current)", ("patient", "smoking")),
    Question("ECOG performance status", ("patient", "ecog")),
    Question("Symptoms that are present, with commas", ("symptoms",)),
    Question("History, with commas", ("history",)),
    Question("First imaging study (CT, chest X-ray, PET-CT)", ("studies", "modality")),
    Question("  its date", ("studies", "when")),
    Question("  findings, with commas", ("studies", "findings")),
    Question("Tissue or fluid taken from", ("specimens", "site")),
    Question("  by", ("specimens", "procedure")),
    Question("  histology, as the report says it", ("specimens", "histology")),
    Question("Gene that was altered", ("molecular", "gene")),
    Question("  alteration", ("molecular", "alteration")),
    Question("Size of the primary in mm", ("staging", "size_mm")),
    Question("Sites of metastases, with commas", ("staging", "metastases")),
    Question("Drug", ("treatments", "name")),
    Question("  dose per intake in mg", ("treatments", "dose")),
    Question("  how often a day", ("treatments", "times_per_day")),
    Question("  first day", ("treatments", "start")),
)
_LISTS = ("studies", "specimens", "treatments")
_MANY = ("findings", "metastases", *_SPLIT)


def ask_case(folder: str | Path, ask: Callable[[str], str], tell: Callable[[str], None]) -> Path:
    """Put the questions of `QUESTIONS` and write what was answered.

    Parameters
    ----------
    folder : path
        Gets ``case.yaml``.
    ask : callable
        Puts one question and returns the answer; an empty one states nothing.
    tell : callable
        Says why an answer was not taken; the question is put again.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    CaseError
        A question was answered wrongly to the end of the input.
    OutputError
        There is a case already, or none can be written there.
    """
    content: dict[str, Any] = {"schema_version": "1.0", "id": "case-1"}
    for question in QUESTIONS:
        _put(question, content, ask, tell)
    return write_case(_read(content), folder)


def _put(
    question: Question, content: dict[str, Any], ask: Callable[[str], str], tell: Callable[[str], None]
) -> None:
    """Ask until the answer can be read."""
    while True:
        answer = ask(question.words).strip()
        if not answer:
            return
        trial = _add(json.loads(json.dumps(content)), question.path, answer)
        try:
            _read(trial)
        except CaseError as error:
            tell(str(error).partition(": ")[2] or str(error))
            continue
        content.clear()
        content.update(trial)
        return


def _add(content: dict[str, Any], path: tuple[str, ...], answer: str) -> dict[str, Any]:
    """The content with one answer more."""
    value: Any = [part.strip() for part in answer.replace("、", ",").split(",") if part.strip()]
    value = value if path[-1] in _MANY else answer
    if len(path) == 1:
        content[path[0]] = value
        return content
    section, field = path
    if section == "molecular":
        report = content.setdefault(section, [{"genes": [{"result": "positive"}]}])[0]
        report["genes"][0][field] = value
    elif section in _LISTS:
        content.setdefault(section, [{"unit": "mg"} if section == "treatments" else {}])[0][field] = value
    else:
        content.setdefault(section, {})[field] = value
    return content


def _read(content: dict[str, Any]) -> Case:
    return read_case_text(json.dumps(content, ensure_ascii=False), name="answer")
