"""`StudyInputs`: what `inputs.json` holds, the content hashes that each member of a study rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from miliary.model.saved.study_index import StudyProblem

INPUTS_KIND = "miliary.inputs"
INPUTS_VERSION = "1.0"


@dataclass(frozen=True)
class MemberRecord:
    """What one member of a study rests on.

    Parameters
    ----------
    rests_on : mapping of str to str
        Content hash of everything that the member was made from, by what it is: the files of the scan, the
        settings, the program, its model weights and rules, other members.
    result_sha256 : str
        SHA-256 of the member's main files; empty where it is not there.
    """

    rests_on: Mapping[str, str]
    result_sha256: str


@dataclass(frozen=True)
class StudyRecord:
    """The content of `inputs.json`.

    Parameters
    ----------
    members : mapping of str to MemberRecord
        By the member's folder in the study, as in ``ct/baseline``.
    problems : tuple of StudyProblem
        Members that are out of date or could not be made.
    schema_version, kind : str
    """

    members: Mapping[str, MemberRecord] = field(default_factory=dict)
    problems: tuple[StudyProblem, ...] = ()
    schema_version: str = INPUTS_VERSION
    kind: str = INPUTS_KIND
