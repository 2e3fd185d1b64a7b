"""Dates of a record told as days in what leaves it: results hold no date of a patient."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from miliary.exchange.case.record import find_day_zero
from miliary.model.assessment import Assessment, Input, Plain
from miliary.model.case import Case, When

_DATE = re.compile(r"(?<![\d-])\d{4}-\d{2}-\d{2}(?![\d-])")


def count_days(case: Case, assessments: Iterable[Assessment]) -> tuple[Assessment, ...]:
    """The same assessments with every date of the case written as ``day N``.

    Parameters
    ----------
    case : Case
        Its dates are counted from its day zero; other dates (of an approval, say) stay.
    assessments : iterable of Assessment
    """
    zero, _ = find_day_zero(case)
    dates = set(_dates(case))
    zero = zero or min(dates, default=None)
    if zero is None:
        return tuple(assessments)
    days = {date.isoformat(): f"day {(date - zero).days}" for date in dates}

    def tell(value: Any) -> Any:
        return _DATE.sub(lambda m: days.get(m[0], m[0]), value) if isinstance(value, str) else value

    def tell_input(given: Input) -> Input:
        value: Plain = tell(given.value)
        return Input(given.path, value)

    return tuple(
        replace(
            a,
            statement=tell(a.statement),
            reason=tell(a.reason),
            value=tell(a.value),
            values=tuple(tell(value) for value in a.values),
            inputs=tuple(tell_input(given) for given in a.inputs),
        )
        for a in assessments
    )


def _dates(value: Any) -> Iterator[dt.date]:
    """Every date that anything in a case has."""
    if isinstance(value, When):
        if value.date is not None:
            yield value.date
    elif is_dataclass(value):
        for spec in fields(value):
            yield from _dates(getattr(value, spec.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _dates(item)
