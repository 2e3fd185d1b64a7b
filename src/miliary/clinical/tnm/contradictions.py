"""Findings of a staging that cannot be true together: a side and a lobe, a part and the whole."""

from __future__ import annotations

from collections.abc import Iterator

from miliary.clinical.rulebook import find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, RecordedLesion, SeparateNodules, Staging, Tumor

_Sized = Staging | Tumor
_Sided = Staging | Tumor | SeparateNodules | RecordedLesion


def find_contradictions(case: Case) -> Iterator[Assessment]:
    """Sides that contradict their lobe, and parts of a tumor that are larger than the tumor.

    Parameters
    ----------
    case : Case

    Yields
    ------
    Assessment
        Errors ``tnm.side_and_lobe`` and ``tnm.solid_and_size``, one for each item.
    """
    staging = case.staging
    sized: list[tuple[str, str, _Sized]] = [("staging", "The primary", staging)]
    sized += [(f"staging.other_tumors[{t.id}]", f"Tumor {t.id}", t) for t in staging.other_tumors]
    sided: list[tuple[str, str, _Sided]] = [*sized]
    sided += [
        (f"staging.separate_nodules[{n.id}]", f"The separate nodules {n.id}", n)
        for n in staging.separate_nodules
    ]
    sided += [(f"lesions[{lesion.id}]", f"Lesion {lesion.id}", lesion) for lesion in case.lesions]
    for path, name, item in sided:
        if item.side is not None and item.lobe is not None and item.lobe.side is not item.side:
            facts = (Input(f"{path}.side", item.side.value), Input(f"{path}.lobe", item.lobe.value))
            statement = f"{name} is recorded on the {item.side} side and in the {item.lobe}, a lobe of the "
            yield _contradiction(case, "side_and_lobe", f"{statement}{item.lobe.side} lung.", facts)
    for path, name, tumor in sized:
        for part in ("solid_mm", "invasive_mm"):
            size_mm = getattr(tumor, part, None)
            if size_mm is None or tumor.size_mm is None or size_mm <= tumor.size_mm:
                continue
            facts = (Input(f"{path}.{part}", size_mm), Input(f"{path}.size_mm", tumor.size_mm))
            words = f"{name} has a {part.removesuffix('_mm')} part of {size_mm:g} mm, larger than the tumor "
            yield _contradiction(case, "solid_and_size", f"{words}itself ({tumor.size_mm:g} mm).", facts)


def _contradiction(case: Case, name: str, statement: str, facts: tuple[Input, ...]) -> Assessment:
    return Assessment(
        rule_id="tnm.side_and_lobe" if name == "side_and_lobe" else "tnm.solid_and_size",
        title="Contradiction in the findings",
        verdict=Verdict.MET,
        severity=Severity.ERROR,
        statement=statement,
        inputs=facts,
        origin=case.origin,
        **find_rules("tnm").credit("size_t1a"),
    )
