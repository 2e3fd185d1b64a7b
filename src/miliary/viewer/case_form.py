"""The form for a case: its fields and words, what the page sends, and the same `case.yaml` as by hand.

The page sends the whole content of its fields; it is laid over the case as the file has it, so that what the
form does not know stays, checked as `miliary case check` does, and written in place or refused with a reason.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from miliary.clinical.record.rule_words import list_rule_words
from miliary.errors import CaseError, InputError
from miliary.exchange.case.case_file import CASE_NAME, inspect_case_text
from miliary.exchange.case.edit_case import (
    PLACE,
    edit_case_text,
    read_plain_case,
    save_case_text,
    stamp_text,
)
from miliary.exchange.case.record_words import load_record_words
from miliary.model import vocabulary

MAX_BYTES = 512 * 1024
MAX_ITEMS = 500
_LONGEST = 2000


@cache
def load_form() -> dict[str, Any]:
    """Sections, fields and words of the form.

    Returns
    -------
    dict
        As ``case_form.toml`` has them.
    """
    text = resources.files("miliary.viewer").joinpath("case_form.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def list_pick_words() -> dict[str, list[tuple[str, str]]]:
    """Words to pick from.

    Returns
    -------
    dict of str to list of (str, str)
        By the name that a field has them under: each word with a Japanese spelling, empty where none is held.
    """
    spelled = load_record_words()
    enums: dict[str, Iterable[str]] = {
        "symptom": map(str, vocabulary.Symptom),
        "history": map(str, vocabulary.History),
        "modality": map(str, vocabulary.Modality),
        **{name: spelled[name] for name in ("region", "stain")},
        "gene": sorted(vocabulary.GENES),
        "analyte": sorted(vocabulary.ANALYTES),
        "unit": sorted(vocabulary.UNITS),
    }
    lists = {
        name: [(word, _find_japanese(spelled.get(name, {}).get(word, ()))) for word in words]
        for name, words in enums.items()
    }
    rules = list_rule_words()
    for name, listed in (
        *(("organ", ("organs",)), ("procedure", ("procedures",)), ("test", ("microbiology",))),
        *(("material", ("materials",)), ("drug", ("drugs",)), ("site", ("sites", "nodes"))),
    ):
        words = [word for part in listed for word in rules[part]]
        lists[name] = [(w.word.replace("_", " "), _find_japanese(w.spellings)) for w in words]
    lists["event"] = [(w.spellings[0], _find_japanese(w.spellings)) for w in rules["adverse-events"]]
    return lists


def _find_japanese(spellings: Iterable[str]) -> str:
    return next((name for name in spellings if not name.isascii()), "")


def find_case_folder(folder: Path) -> Path:
    """Where the case of a study lies, or is to be made.

    Parameters
    ----------
    folder : path
        The study.

    Returns
    -------
    path
        ``case/`` where it holds the case or there are scans, else the folder itself.
    """
    for place in (folder / "case", folder):
        if (place / CASE_NAME).is_file():
            return place
    return folder / "case" if (folder / "ct").is_dir() else folder


def read_form(folder: Path) -> dict[str, Any]:
    """What the page starts with.

    Parameters
    ----------
    folder : path
        Of the case; need not hold one.

    Returns
    -------
    dict
        ``content`` as plain values, every item of a list with its place; ``stamp`` of the file; ``form``,
        ``labels``, ``choices`` and ``words``; ``problems`` of the file as it is.

    Raises
    ------
    CaseError
        The file is no case.
    """
    text = _read_text(folder)
    content = _with_places(read_plain_case(text)) if text else {"schema_version": "1.0", "id": "case-1"}
    return {
        "content": content,
        "stamp": stamp_text(text) if text else "",
        "form": load_form()["section"],
        "labels": load_form()["words"],
        "choices": load_form()["choices"],
        "words": list_pick_words(),
        "problems": list(inspect_case_text(text)) if text else [],
    }


def check_form(folder: Path, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The problems of what the page holds, as `miliary case check` says them.

    Parameters
    ----------
    folder : path
    sent : mapping
        ``content`` as `read_form` gave it, changed.

    Returns
    -------
    dict
        ``problems``, one line each.
    """
    try:
        text = edit_case_text(_read_text(folder), _read_content(sent))
    except CaseError as error:
        return {"problems": [str(error)]}
    return {"problems": list(inspect_case_text(text))}


def save_form(folder: Path, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Write what the page holds.

    Parameters
    ----------
    folder : path
    sent : mapping
        ``content`` and ``stamp``.

    Returns
    -------
    dict
        As `read_form`, of the file as it now is.

    Raises
    ------
    InputError
        It holds a problem, would lose a comment, was changed by somebody else, or cannot be written.
    """
    text = _read_text(folder)
    stamp = str(sent.get("stamp", ""))
    if stamp != (stamp_text(text) if text else ""):
        raise CaseError(f"{CASE_NAME}: was changed by somebody else; load it again")
    save_case_text(folder, edit_case_text(text, _read_content(sent)), stamp=stamp)
    return read_form(folder)


def _read_text(folder: Path) -> str:
    file = folder / CASE_NAME
    try:
        if not file.exists():
            return ""
        if file.stat().st_size > MAX_BYTES:
            raise CaseError(f"{CASE_NAME}: is too large for the form; change it in an editor")
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise CaseError(f"{CASE_NAME}: is not UTF-8 text; mend it in an editor first") from None
    except OSError as error:
        raise CaseError(f"{CASE_NAME}: cannot be read ({(error.strerror or 'error').lower()})") from None


def _with_places(value: Any) -> Any:
    """The same content, each item of a list that is a mapping with its place in it."""
    if isinstance(value, dict):
        return {key: _with_places(child) for key, child in value.items()}
    if isinstance(value, list):
        return [
            {**_with_places(item), PLACE: str(number)} if isinstance(item, dict) else item
            for number, item in enumerate(value)
        ]
    return value


def _read_content(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The content that the page sent: strings, lists and mappings, and not too many of them."""
    content = sent.get("content")
    if not isinstance(content, dict):
        raise InputError("the form sends its content")
    _check_values(content, 0, [0])
    return copy.deepcopy(content)


def _check_values(value: Any, depth: int, count: list[int]) -> None:
    count[0] += 1
    if depth > 8 or count[0] > 40 * MAX_ITEMS:
        raise InputError("the form holds less than that")
    if isinstance(value, dict):
        for key, child in value.items():
            if len(key) > 100:
                raise InputError("a name of a field is shorter than that")
            _check_values(child, depth + 1, count)
    elif isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise InputError(f"a list has at most {MAX_ITEMS} items here")
        for child in value:
            _check_values(child, depth + 1, count)
    elif not isinstance(value, str) or len(value) > _LONGEST or any(ord(sign) < 32 for sign in value):
        raise InputError("a field holds one line of text")
