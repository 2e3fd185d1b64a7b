"""One evaluation of the published definitions of "miliary", whoever supplies the facts.

`NoduleFacts` holds what is known of the small nodules of one CT, as an interval for each number and with the
reason for what is unknown. `miliary.clinical.miliary.definition` fills it from a record,
`miliary.clinical.miliary.measured_definition` from measurements; `assess_definition` judges one definition
by it. What is not known leaves a definition open and never rules it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.vocabulary import Origin, Presence

# Properties that definitions ask for in words; each is a key of the rules and of `NoduleFacts.properties`.
PROPERTIES = ("diffuse", "bilateral", "uniform", "profuse")


class Criterion(NamedTuple):
    """One condition of a definition: whether it is met, the fact that decides, and the condition in words."""

    state: Presence
    fact: Input
    wording: str


@dataclass(frozen=True)
class Quantity:
    """A number that definitions limit, known as an interval.

    Attributes
    ----------
    fact : Input
        Where the number stands and its value as reported; None as value where it is not known.
    low, high : float or None
        Interval in which the true value lies, in the unit of the fact; equal where the number is taken as
        exact, None where it is not known.
    reason : str
        Why it is not known; empty where the source simply does not say it.
    seen : str
        The number and its interval in words, for a condition that is not met; empty to leave it out.
    too_close : str
        The interval in words, for a condition whose limit lies within it.
    lower_bounds : tuple of Input
        Stated values of other kinds that the number cannot be below, such as the median of diameters for
        their maximum.
    """

    fact: Input
    low: float | None = None
    high: float | None = None
    reason: str = ""
    seen: str = ""
    too_close: str = ""
    lower_bounds: tuple[Input, ...] = ()


@dataclass(frozen=True)
class NoduleFacts:
    """What is known of the small nodules of one CT.

    Attributes
    ----------
    size : Quantity
        The diameter [mm] that limits on nodule size are compared with.
    count : Quantity
        Number of nodules.
    lung_fraction : Quantity
        Share of the lungs that is involved, 0 to 1.
    distribution : Input
        The distribution of the nodules: random, perilymphatic or centrilobular where it is known.
    is_distribution_known : bool
        False where the source names none, or one such as "indeterminate" that says none.
    distribution_reason : str
        Why the distribution is not known; empty where the source simply does not say it.
    properties : mapping of str to Criterion
        Whether the nodules are diffuse, bilateral, uniform and profuse, by the keys of `PROPERTIES`.
    slice_thickness : Input
        Thickness of the slices [mm]; None as value where unknown.
    is_measured : bool
        Whether the facts were measured by this program rather than stated by a reader.
    origin : Origin
    doubt : str
        Why nothing can be judged by these facts; empty where it can.
    """

    size: Quantity
    count: Quantity
    lung_fraction: Quantity
    distribution: Input
    properties: Mapping[str, Criterion]
    slice_thickness: Input
    is_distribution_known: bool
    distribution_reason: str = ""
    is_measured: bool = False
    origin: Origin = Origin.RECORDED
    doubt: str = ""


def assess_definition(row: RuleRow, facts: NoduleFacts | None, book: RuleBook) -> Assessment:
    """Judge one published definition of "miliary" by what is known of the nodules.

    Parameters
    ----------
    row : RuleRow
        The definition, of the table ``definition``.
    facts : NoduleFacts or None
        None where no CT says anything of small nodules.
    book : RuleBook
        The definitions.

    Returns
    -------
    Assessment
        Met where every condition is met, not met where one is not, otherwise not assessable with the
        conditions that are open. A definition that asks for a reader's judgment is never met by measurements
        alone.
    """
    name = str(row["name"])
    criteria: list[Criterion] = []
    if row.get("text_not_read"):
        verdict, reason = Verdict.NOT_ASSESSABLE, "its wording has not been read"
    elif facts is None:
        verdict, reason = Verdict.NOT_ASSESSABLE, "no CT states a nodule pattern"
    elif facts.doubt:
        verdict, reason = Verdict.NOT_ASSESSABLE, facts.doubt
    else:
        criteria = list(list_criteria(row, facts, book))
        verdict, reason = judge(criteria)
        if verdict is Verdict.MET and facts.is_measured and row.get("reader_judgment"):
            verdict, reason = Verdict.NOT_ASSESSABLE, "it asks for a reader's judgment as well"
    by_what = ", by what was measured" if facts is not None and facts.is_measured else ""
    return Assessment(
        f"definition.{row.id}",
        f"Miliary by {name}",
        verdict,
        Severity.INFO,
        f"{name}: {verdict.value.replace('_', ' ')}{by_what}.",
        reason,
        inputs=tuple(criterion.fact for criterion in criteria),
        origin=facts.origin if facts is not None else Origin.RECORDED,
        **book.credit(row),
    )


def judge(criteria: list[Criterion]) -> tuple[Verdict, str]:
    """Verdict of several conditions that must all be met.

    Parameters
    ----------
    criteria : list of Criterion

    Returns
    -------
    verdict : Verdict
        Not met where one condition is not met, otherwise not assessable where one is not known, otherwise
        met.
    reason : str
        The conditions that decide; empty where all are met.
    """
    failed = [criterion.wording for criterion in criteria if criterion.state is Presence.ABSENT]
    if failed:
        return Verdict.NOT_MET, "not fulfilled: " + ", ".join(failed)
    unknown = [criterion.wording for criterion in criteria if criterion.state is Presence.NOT_STATED]
    if unknown:
        return Verdict.NOT_ASSESSABLE, "not stated: " + ", ".join(unknown)
    return Verdict.MET, ""


def list_criteria(row: RuleRow, facts: NoduleFacts, book: RuleBook) -> Iterator[Criterion]:
    """Every condition that a definition states, each decided by the facts.

    Parameters
    ----------
    row : RuleRow
        The definition.
    facts : NoduleFacts
    book : RuleBook
        The definitions.

    Yields
    ------
    Criterion
        Size, distribution, number, share of the lung, then the properties in the order of `PROPERTIES`.
    """
    if row.get("max_diameter_mm") is not None:
        yield _compare_size(row, facts, book)
    if row.get("distribution"):
        yield _compare_distribution(str(row["distribution"]), facts)
    if row.get("more_than_nodules") is not None:
        yield compare_count(facts.count, int(row["more_than_nodules"]))
    if row.get("min_lung_fraction") is not None:
        limit = float(row["min_lung_fraction"])
        wording = f"more than {limit:.0%} of the lung"
        yield decide(facts.lung_fraction, wording, lambda value: value > limit)
    yield from (facts.properties[key] for key in PROPERTIES if row.get(key))


def to_presence(state: object) -> Presence:
    """A yes or no as the state of a condition.

    Parameters
    ----------
    state : object
        True or false by its truth value.

    Returns
    -------
    Presence
        Present for true, absent for false.
    """
    return Presence.PRESENT if state else Presence.ABSENT


def compare_count(count: Quantity, more_than: int, *, word: str = "") -> Criterion:
    """Whether there are more nodules than a limit.

    Parameters
    ----------
    count : Quantity
    more_than : int
        The limit; the count must exceed it.
    word : str
        What the condition is called, put before it.
    """
    return decide(count, f"{word}more than {more_than} nodules", lambda value: value > more_than)


def decide(quantity: Quantity, wording: str, is_met: Callable[[float], bool]) -> Criterion:
    """Decide a condition on a number that is known as an interval.

    Parameters
    ----------
    quantity : Quantity
    wording : str
        The condition in words.
    is_met : callable
        Whether a value meets the condition; it must change at one value only.

    Returns
    -------
    Criterion
        Present or absent where the whole interval agrees, else not stated, with the reason in its wording.
    """
    if quantity.low is None or quantity.high is None:
        reason = f" ({quantity.reason})" if quantity.reason else ""
        return Criterion(Presence.NOT_STATED, quantity.fact, f"{wording}{reason}")
    ends = (is_met(quantity.low), is_met(quantity.high))
    if all(ends):
        return Criterion(Presence.PRESENT, quantity.fact, wording)
    if any(ends) or math.isnan(quantity.low) or math.isnan(quantity.high):
        return Criterion(
            Presence.NOT_STATED, quantity.fact, f"{wording} (too close to tell: {quantity.too_close})"
        )
    seen = f" ({quantity.seen})" if quantity.seen else ""
    return Criterion(Presence.ABSENT, quantity.fact, f"{wording}{seen}")


def _compare_size(row: RuleRow, facts: NoduleFacts, book: RuleBook) -> Criterion:
    """The limit on nodule size; slices too thick to size such nodules leave it open."""
    limit, inclusive = float(row["max_diameter_mm"]), bool(row["inclusive"])
    wording = f"nodule diameter {'at most' if inclusive else 'below'} {limit:g} mm"

    def is_within(value: float) -> bool:
        return value <= limit if inclusive else value < limit

    if facts.size.low is None and facts.size.reason:
        return decide(facts.size, wording, is_within)
    thickness_mm = facts.slice_thickness.value
    rule = book.row("slice_thickness")
    if (
        isinstance(thickness_mm, int | float)
        and thickness_mm > rule["max_slice_thickness_mm"]
        and limit <= rule["below_diameter_mm"]
    ):
        wording = f"{wording} (slices too thick to size it)"
        return Criterion(Presence.NOT_STATED, facts.slice_thickness, wording)
    if facts.size.low is None:
        # The largest nodule is at least as large as any other figure: that can only rule the limit out.
        for bound in facts.size.lower_bounds:
            if isinstance(bound.value, int | float) and not is_within(bound.value):
                return Criterion(Presence.ABSENT, bound, wording)
    return decide(facts.size, wording, is_within)


def _compare_distribution(wanted: str, facts: NoduleFacts) -> Criterion:
    wording = f"{wanted} distribution"
    if not facts.is_distribution_known:
        reason = f" ({facts.distribution_reason})" if facts.distribution_reason else ""
        return Criterion(Presence.NOT_STATED, facts.distribution, f"{wording}{reason}")
    return Criterion(to_presence(facts.distribution.value == wanted), facts.distribution, wording)
