"""`Assessment`: what one rule says of one case, what it looked at, and on whose authority."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from miliary.model.saved.codec import saved
from miliary.model.vocabulary import Origin

Plain = str | int | float | bool | None


class Verdict(StrEnum):
    """What a rule looks for is there, is not there, or cannot be told."""

    MET = "met"
    NOT_MET = "not_met"
    NOT_ASSESSABLE = "not_assessable"


class Severity(StrEnum):
    """What an outcome asks of the reader: nothing, knowing it, an answer, a correction."""

    INFO = "info"
    NOTE = "note"
    QUERY = "query"
    ERROR = "error"


class Basis(StrEnum):
    """How the citation behind a rule was seen: read, quoted by another, or not checked."""

    READ = "read"
    SECONDARY = "secondary"
    UNVERIFIED = "unverified"


class Input(NamedTuple):
    """A fact a rule looked at: its path in the case and the value found there (None: not stated)."""

    path: str
    value: Plain


@dataclass(frozen=True)
class Assessment:
    """One rule's outcome.

    Parameters
    ----------
    rule_id : str
        Dotted lower_snake, system first: ``tnm.stage_group``.
    title : str
        What the rule is about, in a few words.
    verdict : Verdict
    severity : Severity
        Of this outcome, not of the rule: INFO where the reader has nothing to do.
    statement : str
        One plain sentence that says nothing about a fact which was not stated.
    reason : str
        Why it cannot be told; needed when not assessable.
    value : str, number or None
        The result where there is one.
    values : tuple of str
        All results still possible, where the inputs leave several open.
    inputs : tuple of Input
    edition : str
        Rules used, as in ``tnm 9``.
    citations : tuple of str
        Ids of citations in the rule file.
    basis : Basis
        The weakest of the rows used.
    as_of : date or None
        When the rows were last known to hold.
    origin : Origin
        Of the facts used.
    facts_item : str or None
        Number of the finding in the list of what a careful reader finds (``j6``).

    Raises
    ------
    ValueError
        If it is not assessable without a reason, or names no rule or no statement.
    """

    rule_id: str
    title: str
    verdict: Verdict
    severity: Severity
    statement: str
    reason: str = saved(default="", omit_default=True)
    value: Plain = saved(default=None, omit_default=True)
    values: tuple[str, ...] = saved(default=(), omit_default=True)
    inputs: tuple[Input, ...] = saved(default=(), omit_default=True)
    edition: str = saved(default="", omit_default=True)
    citations: tuple[str, ...] = saved(default=(), omit_default=True)
    basis: Basis = Basis.READ
    as_of: dt.date | None = saved(default=None, omit_default=True)
    origin: Origin = Origin.RECORDED
    facts_item: str | None = saved(default=None, omit_default=True)

    def __post_init__(self) -> None:
        if not self.rule_id or not self.statement:
            raise ValueError("an assessment needs a rule_id and a statement")
        if self.verdict is Verdict.NOT_ASSESSABLE and not self.reason:
            raise ValueError(f"{self.rule_id}: not assessable needs a reason")

    @property
    def is_raised(self) -> bool:
        """It asks something of the reader."""
        return self.severity is not Severity.INFO
