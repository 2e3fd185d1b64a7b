"""`inputs.json`: what each part of a study rests on, so that what is out of date is known.

::

    schema_version, kind
    members.<member>.rests_on        what went into it, by name: hashes, settings, versions
    members.<member>.result_sha256   its main files when they were written
    problems                         what was out of date or could not be made when the study was last run

Members are named by their place in the study: ``ct/baseline``, ``compare/baseline__followup``, ``case``,
``report``. Names of files and folders, dates and identifiers enter as parts of hashes only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from miliary import __version__
from miliary.model.saved.codec import to_json
from miliary.model.saved.study_index import StudyProblem
from miliary.model.saved.study_inputs import StudyRecord

INPUTS_NAME = "inputs.json"
STALE, NOT_MADE = "stale", "not_made"

# What a reader is shown for a part of `rests_on` that is not what it was.
_REASONS = {
    "input": "its files have changed",
    "settings": "it was made with other settings",
    "lungs": "its lung mask has changed",
    "program": "it was made by another version of the program",
    "weights": "it was made with other model weights",
    "rules": "it was made with other rules",
    "recheck": "rules have passed their recheck date since",
    "corrections": "a reader made corrections since",
    "radiographs": "the radiographs have changed",
    "scans": "scans that the case points to have changed",
    "problems": "what is out of date has changed",
}
# The files of a member that stand for the whole of it.
_MAIN_FILES = {
    "ct": ("scan.json", "nodules.csv"),
    "compare": ("response.json",),
    "case": ("case.json",),
    "report": ("report.html",),
}
_BLOCK = 2**20


def read_record(study: str | Path) -> StudyRecord:
    """Read what the members of a study rest on; empty where there is no such file or it is damaged."""
    from miliary.exchange.folders.open_result import open_study_inputs

    return open_study_inputs(study)


def write_record(study: str | Path, record: StudyRecord) -> None:
    """Write `inputs.json`, whole or not at all."""
    members = {
        name: replace(row, rests_on=dict(sorted(row.rests_on.items())))
        for name, row in sorted(record.members.items())
    }
    content = to_json(replace(record, members=members))
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor, draft = tempfile.mkstemp(prefix=".inputs.", dir=study)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        Path(draft).replace(Path(study) / INPUTS_NAME)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def find_changes(study: str | Path, member: str, rests_on: Mapping[str, str], record: StudyRecord) -> str:
    """Why a member has to be made; empty where it is current.

    Parameters
    ----------
    study : path
    member : str
    rests_on : mapping of str to str
        What it would rest on if it were made now.
    record : StudyRecord

    Returns
    -------
    str
        ``new``, or what has changed since it was made.
    """
    known = record.members.get(member)
    there = digest_member(study, member)
    if known is None or not there:
        return "new"
    changed = [
        name for name in (*rests_on, *known.rests_on) if rests_on.get(name) != known.rests_on.get(name)
    ]
    reasons = [_REASONS.get(name, f"{name} has changed") for name in dict.fromkeys(changed)]
    if there != known.result_sha256:
        reasons.append("it was changed since it was written")
    return "; ".join(reasons)


def check_saved_study(study: str | Path) -> tuple[StudyProblem, ...]:
    """What of a saved study is out of date, as far as the study itself shows.

    Parameters
    ----------
    study : path
        A folder that `run_study` wrote; any other gives nothing.

    Returns
    -------
    tuple of StudyProblem
        What the last run could not bring up to date, and members that rest on others which were changed
        since.
    """
    from miliary.model.saved.study_index import StudyProblem

    record = read_record(study)
    problems = list(record.problems)
    named = {problem.member for problem in problems}
    for member, known in record.members.items():
        if member == "report" or member in named or not digest_member(study, member):
            continue
        for base, sha in known.rests_on.items():
            if base.startswith("ct/") and digest_member(study, base) != sha:
                problems.append(StudyProblem(member, STALE, f"{base} has changed"))
                break
    return tuple(problems)


def digest_member(study: str | Path, member: str) -> str:
    """SHA-256 of the main files of a member; empty where one is missing."""
    place = Path(study) if member == "report" else Path(study) / member
    digest = hashlib.sha256()
    try:
        for name in _MAIN_FILES[member.partition("/")[0]]:
            digest.update((place / name).read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()


def digest_values(values: object) -> str:
    """SHA-256 of plain JSON values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 of files: the name given to each and its bytes.

    Parameters
    ----------
    files : iterable of (name, path)

    Raises
    ------
    OSError
        A file cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in files:
        one = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                one.update(block)
        digest.update(f"{len(name)}:{name}:".encode())
        digest.update(one.digest())
    return digest.hexdigest()


def digest_scan(path: str | Path) -> str:
    """SHA-256 of what a scan is read from: names and bytes of its files.

    Parameters
    ----------
    path : path
        A file, with the data file that its header names; or a folder with everything visible in it. Names
        are relative to the folder; of a file only the ending counts.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    from miliary.exchange.dicom.files import FolderFiles

    place = Path(path)
    if place.is_dir():
        return digest_files((name, place / name) for name in FolderFiles(place).names)
    files = [("".join(place.suffixes[-2:]).lower(), place)]
    if place.suffix.lower() in {".mhd", ".nhdr"}:
        header = place.read_bytes()
        beside = sorted(other for other in place.parent.iterdir() if other.is_file() and other != place)
        files += [(other.suffix.lower(), other) for other in beside if other.name.encode() in header]
    return digest_files(files)


def state_program(*, with_weights: bool = False, with_rules: bool = False) -> dict[str, str]:
    """What of this program a result rests on: its version and, where asked, its weights and rules."""
    found = {"program": __version__}
    if with_weights:
        found["weights"] = digest_weights()
    if with_rules:
        found["rules"] = _digest_resources("miliary.clinical", "rules")
    return found


def digest_weights() -> str:
    """SHA-256 of the model files of the package."""
    return _digest_resources("miliary.image", "weights")


def is_of_this_program(provenance: Mapping[str, Any]) -> bool:
    """Whether a result was measured by this version of the program with these weights."""
    shas = {
        hashlib.sha256(file.read_bytes()).hexdigest()
        for _, file in _list_resources("miliary.image", "weights")
    }
    return provenance.get("miliary_version") == __version__ and provenance.get("weights_sha256") in shas


def _digest_resources(package: str, folder: str) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(_list_resources(package, folder), key=lambda item: item[0]):
        digest.update(f"{name}:".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _list_resources(package: str, folder: str) -> Iterator[tuple[str, Traversable]]:
    pending = [("", resources.files(package).joinpath(folder))]
    while pending:
        prefix, place = pending.pop()
        for entry in place.iterdir():
            if entry.is_dir():
                pending.append((f"{prefix}{entry.name}/", entry))
            elif not entry.name.endswith((".py", ".pyc")):
                yield f"{prefix}{entry.name}", entry
