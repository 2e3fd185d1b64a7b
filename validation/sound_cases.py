"""Random cases that a case file could hold: what they refer to is there, and ranges stand upright."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache

from miliary.exchange.case.encode import decode_case, encode_case
from miliary.model.case import Case
from miliary.model.vocabulary import CLAIM_KINDS
from validation.case_generator import make_case


@cache
def make_sound_cases(n: int) -> tuple[Case, ...]:
    """`n` random cases that can be written to a file and read."""
    found: list[Case] = []
    for case in _candidates():
        if len(found) == n:
            break
        found.append(case)
    return tuple(found)


def _candidates() -> Iterator[Case]:
    for seed in range(10_000):
        case = make_case(seed)
        case = replace(case, claims=tuple(c for c in case.claims if c.kind in CLAIM_KINDS))
        patient = replace(case.patient, height_cm=None) if case.patient else case.patient
        case = _mend(replace(case, patient=patient), case)
        # Through the reader once: words that a file cannot tell apart are then told apart no more.
        yield decode_case(encode_case(case), name="case")


def _mend(value, case):
    """Point to studies and specimens that are there."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    known = {"specimen": case.specimens, "compared_with": case.studies, "lab": case.labs}
    changed = {}
    for spec in fields(value):
        held = getattr(value, spec.name)
        if spec.name == "study" and isinstance(held, str):
            changed["study"] = case.studies[0].id if case.studies else ""
        elif spec.name in known:
            changed[spec.name] = known[spec.name][-1].id if held and known[spec.name] else ""
        elif spec.name == "about":
            changed["about"] = (case.labs[0].id,) if held and case.labs else ()
        elif spec.name in ("merged_into", "low"):
            changed[spec.name] = type(held)() if isinstance(held, str) else None
        elif spec.name == "measurements":
            changed["measurements"] = tuple(_mend(m, case) for m in held[:1]) if case.studies else ()
        elif isinstance(held, tuple):
            changed[spec.name] = tuple(_mend(item, case) for item in held)
        else:
            changed[spec.name] = _mend(held, case)
    return replace(value, **changed)
