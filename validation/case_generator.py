"""Random cases with random gaps: what rules must take without an exception.

``python -m validation.case_generator 10000`` runs every rule over that many and says what broke; a second
number is the first seed, so that a long run can be made in parts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import random
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from miliary.clinical.registry import assess_case
from miliary.exchange.case.case_file import read_case
from miliary.exchange.case.decode import LIMITS
from miliary.model import case as nouns
from miliary.model.assessment import Assessment
from miliary.model.case import Case, When
from miliary.model.vocabulary import ANALYTES, CLAIM_KINDS, UNITS, Presence

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "index-case"
_GENES = ("EGFR", "ALK", "ROS1", "BRAF", "KRAS", "MET", "RET", "NTRK1", "ERBB2", "NRG1", "TP53", "other:ABC1")
_DRUGS = (
    "alectinib",
    "crizotinib",
    "lorlatinib",
    "brigatinib",
    "osimertinib",
    "pembrolizumab",
    "denosumab",
    "x",
)
# What text fields may hold; others get a plain word.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "analyte": tuple(sorted(ANALYTES)),
    "unit": (*sorted(UNITS), "IU/L", "mg", "mg", "U/L", "ng/mL"),
    "gene": _GENES,
    "target": (*_GENES, "PD-L1", "amylase"),
    "name": _DRUGS,
    "kind": (*CLAIM_KINDS, "drug", "mass", "node", "miliary_nodules", "bone", "effusion", "surgery"),
    "station": ("1R", "4R", "4L", "5", "7", "10L", "11R", "4", "mediastinal", "axillary", "hilar", "odd"),
    "site": ("bone", "brain", "liver", "pleura", "adrenal", "contralateral_lung", "lung", "nose"),
    "region": ("JP", "US", "EU", "KR", "XX"),
    "test": ("igra", "igra_tspot", "igra_quantiferon", "tb_culture", "tb_naat", "afb_smear", "hiv"),
    "term": (
        "skin rash",
        "rash maculo-papular",
        "serum amylase increased",
        "alt increased",
        "Fatigue",
        "odd",
    ),
    "ctcae_edition": ("5.0", "6.0", "4.03", "v5.0"),
    "tnm": ("cT4aN2M1c", "T1bN0M0", "pT2aN1", "cT4N2bM1c2", "TXNXM1a", "stage four"),
    "group": ("IV", "IVB", "Stage IV", "IIIA", "odd"),
    "edition": ("8", "9", "7", "8th"),
    "assay": ("Oncomine Dx Target Test", "FISH", "Foundation", "odd"),
    "clone": ("D5F3", "5A4", "22C3", "D4D6"),
    "analytes": ("dna", "rna", "protein"),
    "material": ("tissue", "plasma", "blood", "sputum", "bal"),
    "change": ("increased", "decreased", "unchanged"),
    "comparator": ("<", ">"),
    "category": ("CR", "PR", "SD", "PD", "odd"),
    "criteria": ("recist_1_1", "irecist"),
    "organ": ("lung", "node", "bone", "liver", "pleura", "brain"),
    "role": ("target", "non_target", "new"),
    "histology": ("adenocarcinoma", "squamous cell carcinoma", "granuloma"),
    "alteration": ("fusion", "rearrangement", "ex19del", "L858R", "V600E", "G12C", "exon 14"),
    "symptom_severity": ("mild", "moderate", "severe"),
    "population": ("nsclc", "adjuvant", "alcl"),
    "proof": ("imaging", "cytology", "histology"),
    "status": ("alive", "dead", "lost"),
}


def make_case(seed: int) -> Case:
    """One random case; the same seed gives the same case. How much is stated varies from case to case.

    Even seeds give cases at random throughout; odd ones the worked example with gaps and other values.
    """
    maker = _Maker(seed)
    return maker.make() if seed % 2 == 0 else maker.vary(_read_example())


@cache
def _read_example() -> Case:
    return read_case(EXAMPLE)


class _Maker:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  not for secrets
        self._stated = self._random.choice((0.1, 0.4, 0.7, 0.95))
        self._n = 0

    def make(self) -> Case:
        return self._record(Case)

    def vary(self, record: Any) -> Any:
        """A record with some of its facts gone and some others in their place."""
        hints = typing.get_type_hints(type(record), vars(nouns))
        values = {}
        for spec in dataclasses.fields(record):
            value, chance = getattr(record, spec.name), self._random.random()
            is_needed = spec.name in ("id", "study") or spec.default is spec.default_factory
            if is_needed or chance > 0.35:
                values[spec.name] = self._vary_value(value)
            elif chance < 0.1:
                values[spec.name] = self._value(hints[spec.name], spec.name)
        return type(record)(**values)

    def _vary_value(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._vary_value(item) for item in value if self._random.random() > 0.1)
        if isinstance(value, Mapping):
            return {key: held for key, held in value.items() if self._random.random() > 0.3}
        return self.vary(value) if dataclasses.is_dataclass(value) and not isinstance(value, When) else value

    def _record(self, kind: type) -> Any:
        hints = typing.get_type_hints(kind, vars(nouns))
        values = {}
        for spec in dataclasses.fields(kind):
            if spec.name == "id":
                self._n += 1
                values["id"] = f"i{self._n}"
            elif self._random.random() < self._stated or spec.default is spec.default_factory:
                values[spec.name] = self._value(hints[spec.name], spec.name)
        return kind(**values)

    def _value(self, hint: Any, name: str) -> Any:
        if isinstance(hint, types.UnionType):
            hint = next(part for part in typing.get_args(hint) if part is not type(None))
        outer = typing.get_origin(hint)
        if outer is tuple:
            inner = typing.get_args(hint)[0]
            return tuple(self._value(inner, name) for _ in range(self._random.choice((0, 1, 1, 2, 3))))
        if outer is Mapping:
            keys = typing.get_args(hint)[0]
            names = (
                list(keys) if isinstance(keys, type) and issubclass(keys, enum.Enum) else ["a", "lymphatic"]
            )
            return {key: self._pick(tuple(Presence)) for key in names if self._random.random() < 0.3}
        if hint is When:
            return self._when()
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            return self._record(hint)
        return self._scalar(hint, name)

    def _scalar(self, hint: Any, name: str) -> Any:
        if issubclass(hint, enum.Enum):
            return self._pick(tuple(hint))
        if hint is bool:
            return self._random.random() < 0.5
        if hint is str:
            return self._pick(_WORDS.get(name, ("word", "")))
        low, high = LIMITS.get(name, (0.0, 1e9))
        top = self._pick((high, min(high, 200.0), min(high, 10.0)))
        number = self._pick((low, top, self._random.uniform(max(low, -top), top)))
        return int(number) if hint is int else round(number, 3)

    def _when(self) -> When:
        way = self._random.randrange(4)
        if way == 0:
            return When(date=dt.date(2018, 1, 1) + dt.timedelta(days=self._random.randrange(2500)))
        if way == 1:
            return When(day=self._random.randrange(-200, 900))
        return When(text="later") if way == 2 else When()

    def _pick(self, choices: tuple[Any, ...]) -> Any:
        return self._random.choice(choices)


_STEP = re.compile(r"([a-z_]+)(?:\[([^\]]+)\])?\Z")


def find_invented(case: Case, assessments: tuple[Assessment, ...]) -> Iterator[str]:
    """Inputs whose value stands in an assessment although the case does not state it."""
    for assessment in assessments:
        for path, value in assessment.inputs:
            if value in (None, "", False, 0, "not_stated", Presence.NOT_STATED):
                continue
            is_known, stated = _look_up(case, path)
            if is_known and stated in (None, "", (), Presence.NOT_STATED):
                yield f"{assessment.rule_id}: {path} = {value!r}, not stated"


def _look_up(case: Case, path: str) -> tuple[bool, Any]:
    """Whether a path names a field of the case, and what it holds there."""
    here: Any = case
    for part in _split(path):
        match = _STEP.match(part)
        if isinstance(here, Mapping):
            return True, here.get(part, Presence.NOT_STATED)
        if match is None or not hasattr(here, match[1]):
            return False, None
        here = getattr(here, match[1])
        if match[2]:
            found = [item for item in here if getattr(item, "id", None) == match[2]]
            if not found:
                return False, None
            here = found[0]
    return True, here


def _split(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+(?:\[[^\]]*\])?", path)


def main(arguments: list[str]) -> int:
    """Run every rule over so many random cases; 1 if anything broke."""
    number = int(arguments[0]) if arguments else 10_000
    first = int(arguments[1]) if len(arguments) > 1 else 0
    n_broken = 0
    for seed in range(first, first + number):
        case = make_case(seed)
        try:
            problems = list(find_invented(case, assess_case(case)))
        except Exception as error:  # noqa: BLE001  every kind of failure is counted
            problems = [f"{type(error).__name__}: {error}"]
        for problem in problems:
            n_broken += 1
            print(f"seed {seed}: {problem}")
    print(f"{number} cases from seed {first}, {n_broken} problems")
    return 1 if n_broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
