"""Laboratory values: folds of their limits, trends over treatment, markers, and where amylase comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from miliary.clinical.labs.lab_ranges import (
    convert_lab,
    drugs,
    find_analyte,
    find_range,
    find_treatment_start,
    is_before_treatment,
    load_labs,
)
from miliary.clinical.record.tumor import has_tumor
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, LabResult, days_between, path_of
from miliary.model.vocabulary import Finding, History, Presence, Result, Symptom

_TOTAL, _PANCREATIC, _SALIVARY = "amylase_total", "amylase_pancreatic", "amylase_salivary"
_FRACTION = "amylase_salivary_fraction"


def assess(case: Case) -> tuple[Assessment, ...]:
    """Everything that follows from the laboratory values of a case.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
        Ids start with ``labs.``.
    """
    return (
        *_assess_units(case),
        *_assess_folds(case),
        *_assess_missing_ranges(case),
        *_assess_cutoffs(case),
        *_assess_unreported_markers(case),
        *_assess_trends(case),
        *_assess_amylase(case),
    )


def _name(analyte: str) -> str:
    row = find_analyte(analyte)
    return row["name"] if row is not None else analyte.replace("_", " ")


def _input(lab: LabResult, field: str = "value") -> Input:
    return Input(path_of("labs", lab.id, field), getattr(lab, field))


def _list_with_value(case: Case) -> Iterator[LabResult]:
    return (lab for lab in case.labs if lab.value is not None)


# --- single values --------------------------------------------------------------------------------------


def _assess_units(case: Case) -> Iterator[Assessment]:
    """A unit that cannot belong to its analyte; moles are left alone, for they need a molar mass."""
    for lab in _list_with_value(case):
        row = find_analyte(lab.analyte)
        if row is None or not lab.unit or convert_lab(lab, row["unit"]) is not None:
            continue
        if lab.unit.endswith("mol/L"):
            continue
        yield Assessment(
            rule_id="labs.unit",
            title="Unit of a laboratory value",
            verdict=Verdict.NOT_MET,
            severity=Severity.ERROR,
            statement=f"{row['name']} in {lab.unit} cannot be compared with {row['unit']}, its usual unit.",
            inputs=(_input(lab), _input(lab, "unit")),
            origin=lab.origin,
            **load_labs().credit(row),
        )


def find_fold(case: Case, lab: LabResult) -> float | None:
    """A laboratory value as a multiple of its upper limit.

    Parameters
    ----------
    case : Case
    lab : LabResult

    Returns
    -------
    float or None
        None where the value or its upper limit is not known.
    """
    high = find_range(case, lab).high
    return None if lab.value is None or not high else lab.value / high


def _assess_folds(case: Case) -> Iterator[Assessment]:
    book = load_labs()
    for lab in _list_with_value(case):
        fold, row = find_fold(case, lab), find_analyte(lab.analyte)
        if fold is None or fold <= 1.0 or row is None or lab.comparator == "<":
            continue
        limits = find_range(case, lab)
        rows = (row,) if limits.row is None else (row, limits.row)
        yield Assessment(
            rule_id="labs.fold",
            title="Value above its upper limit",
            verdict=Verdict.MET,
            severity=Severity.INFO,
            statement=(
                f"{row['name']} {lab.comparator}{lab.value:g} {lab.unit} is {fold:.2f} times the upper limit "
                f"of {limits.words}."
            ),
            value=round(fold, 4),
            inputs=(_input(lab), _input(lab, "high")),
            origin=lab.origin,
            **book.credit(*rows),
        )


def _assess_missing_ranges(case: Case) -> Iterator[Assessment]:
    bare = [
        lab
        for lab in _list_with_value(case)
        if lab.low is None and lab.high is None and find_analyte(lab.analyte)
    ]
    if bare:
        names = ", ".join(dict.fromkeys(_name(lab.analyte) for lab in bare))
        yield _raise_lab_finding(
            "range_missing",
            "Reference range",
            Severity.QUERY,
            f"The laboratory's reference range is not stated for {names}.",
            bare,
            field="high",
        )


def _raise_lab_finding(
    row_id: str,
    title: str,
    severity: Severity,
    statement: str,
    labs: Sequence[LabResult],
    *,
    field: str = "value",
) -> Assessment:
    """An outcome of one of the findings in the rules."""
    book = load_labs()
    row = book.row(row_id)
    return Assessment(
        rule_id=f"labs.{row_id}",
        title=title,
        verdict=Verdict.MET,
        severity=severity,
        statement=statement,
        inputs=tuple(_input(lab, field) for lab in labs),
        facts_item=row.get("facts_item"),
        origin=labs[0].origin if labs else Assessment.origin,
        **book.credit(row),
    )


def _assess_cutoffs(case: Case) -> Iterator[Assessment]:
    """A value that one assay's cut-off calls normal and another's raised."""
    for row in load_labs().rows("cutoff"):
        for lab in _list_with_value(case):
            value = convert_lab(lab, row["unit"]) if lab.analyte == row["analyte"] else None
            fold, limits = find_fold(case, lab), find_range(case, lab)
            if value is None or fold is None or fold > 1.0 or value <= row["high"] or lab.method:
                continue
            yield _raise_lab_finding(
                row.id,
                "Cut-off of another assay",
                Severity.NOTE,
                f"{_name(lab.analyte)} {lab.value:g} {lab.unit} is within {limits.words} but above the "
                f"{row['high']:g} {row['unit']} of {row['name']}; the assay is not stated.",
                [lab],
            )


def _assess_unreported_markers(case: Case) -> Iterator[Assessment]:
    if not case.has_claim("tumor_markers_not_raised"):
        return
    reported = {lab.analyte for lab in _list_with_value(case)}
    missing = [name for name in load_labs().row("markers_unreported")["expected"] if name not in reported]
    if missing:
        yield _raise_lab_finding(
            "markers_unreported",
            "Tumor markers not reported",
            Severity.NOTE,
            f"Tumor markers are said not to be raised; not reported: {', '.join(map(_name, missing))}.",
            [lab for lab in _list_with_value(case) if _is_marker(lab)],
        )


def _is_marker(lab: LabResult) -> bool:
    row = find_analyte(lab.analyte)
    return row is not None and bool(row.get("is_marker", False))


# --- trends ---------------------------------------------------------------------------------------------


def _assess_trends(case: Case) -> Iterator[Assessment]:
    """Each analyte's last value against its last one before treatment."""
    start = find_treatment_start(case)
    for analyte in dict.fromkeys(lab.analyte for lab in _list_with_value(case)):
        labs = [lab for lab in _list_with_value(case) if lab.analyte == analyte and start is not None]
        before = [lab for lab in labs if is_before_treatment(case, lab)]
        after = [lab for lab in labs if is_before_treatment(case, lab) is False]
        row = find_analyte(analyte)
        if not before or not after or row is None:
            continue
        first, last = _latest(before), _latest(after)
        old, new = convert_lab(first, row["unit"]), convert_lab(last, row["unit"])
        if old is None or new is None or old <= 0 or first.comparator or last.comparator:
            continue
        yield _describe_trend(first, last, old, new, row)


def _latest(labs: Sequence[LabResult]) -> LabResult:
    latest = labs[0]
    for lab in labs[1:]:
        if (days_between(latest.when, lab.when) or 0) >= 0:
            latest = lab
    return latest


def _describe_trend(first: LabResult, last: LabResult, old: float, new: float, row: RuleRow) -> Assessment:
    change = 100.0 * (new - old) / old
    direction = "unchanged" if new == old else "risen" if new > old else "fallen"
    return Assessment(
        rule_id="labs.trend",
        title="Trend over treatment",
        verdict=Verdict.MET,
        severity=Severity.INFO,
        statement=f"{row['name']} has {direction} from {old:g} to {new:g} {row['unit']} ({change:+.1f} %)."
        if new != old
        else f"{row['name']} is unchanged at {new:g} {row['unit']}.",
        value=direction,
        inputs=(_input(first), _input(last)),
        origin=last.origin,
        **load_labs().credit(row),
    )


# --- amylase --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AmylaseEvidence:
    """Evidence for a tumor that produces amylase.

    Attributes
    ----------
    items : mapping of str to bool or None
        Each item of the table ``tier``: shown, ruled out, or None where it is not stated.
    is_inferred : bool
        Whether the share that is not pancreatic was only inferred by subtraction.
    """

    items: Mapping[str, bool | None]
    is_inferred: bool = False

    def find_tiers(self, tiers: Sequence[RuleRow]) -> tuple[str, ...]:
        """Levels still possible, in ascending order; what is not stated may yet turn out either way.

        Tissue proof counts only where it was shown: nothing else can replace it.
        """
        shown = {**self.items, "tissue": bool(self.items.get("tissue"))}
        met = [tier.id for tier in tiers if all(shown[need] for need in tier["needs"])]
        open_ = [tier.id for tier in tiers if all(shown[need] is not False for need in tier["needs"])]
        return tuple(dict.fromkeys([*met[-1:], *(name for name in open_ if name not in met)]))


def split_amylase(case: Case) -> tuple[LabResult, LabResult, float, float] | None:
    """Amylase that is not pancreatic, by subtraction of values of the same day.

    Parameters
    ----------
    case : Case

    Returns
    -------
    (LabResult, LabResult, float, float) or None
        Total and pancreatic amylase, their difference [U/L] and its share of the total (0 to 1); None where
        no two such values belong together.
    """
    for total in (lab for lab in _list_with_value(case) if lab.analyte == _TOTAL):
        for part in (lab for lab in _list_with_value(case) if lab.analyte == _PANCREATIC):
            days = days_between(total.when, part.when)
            whole, pancreatic = convert_lab(total, "U/L"), convert_lab(part, "U/L")
            if days not in {0, None} or (days is None and str(total.when) != str(part.when)):
                continue
            if whole and pancreatic is not None and pancreatic <= whole:
                return total, part, whole - pancreatic, (whole - pancreatic) / whole
    return None


def _assess_amylase(case: Case) -> Iterator[Assessment]:
    yield from _describe_split(case)
    evidence = weigh_amylase(case)
    if not evidence.items["raised"] and not case.has_claim("amylase_producing_tumor"):
        return
    yield _describe_tier(case, evidence)
    labs = [lab for lab in _list_with_value(case) if lab.analyte in {_TOTAL, _PANCREATIC}]
    missing = _list_sources_not_excluded(case)
    if missing:
        yield _raise_lab_finding(
            "amylase_not_excluded",
            "Other sources of amylase",
            Severity.QUERY,
            f"Other sources of a raised amylase are not ruled out; not stated: {', '.join(missing)}.",
            labs,
        )
    for lab in labs:
        fold, limits = find_fold(case, lab), find_range(case, lab)
        if lab.analyte == _PANCREATIC and fold is not None and fold > 1.0:
            yield _raise_lab_finding(
                "pancreatic_raised",
                "Pancreatic amylase",
                Severity.NOTE,
                f"Pancreatic amylase is itself {fold:.2f} times the upper limit of {limits.words}.",
                [lab],
            )
    if evidence.items["tissue"] is None and case.specimens:
        yield _raise_lab_finding(
            "tissue_untested",
            "Amylase in the tumor",
            Severity.QUERY,
            "Tissue was taken, but no stain for amylase is stated: that the tumor makes it is not shown.",
            labs,
        )


def _describe_split(case: Case) -> Iterator[Assessment]:
    split = split_amylase(case)
    if split is None:
        return
    total, part, rest, share = split
    yield Assessment(
        rule_id="labs.amylase_split",
        title="Amylase that is not pancreatic",
        verdict=Verdict.MET,
        severity=Severity.INFO,
        statement=(
            f"{rest:g} U/L of amylase, {100 * share:.1f} % of the total, is not pancreatic; inferred by "
            "subtraction, not by electrophoresis."
        ),
        value=round(rest, 4),
        inputs=(_input(total), _input(part)),
        origin=total.origin,
        **load_labs().credit("non_pancreatic_share"),
    )


def weigh_amylase(case: Case) -> AmylaseEvidence:
    """The evidence for a tumor that produces amylase.

    Parameters
    ----------
    case : Case

    Returns
    -------
    AmylaseEvidence
        Each item true, false, or None where it is not stated.
    """
    lipase = [lab for lab in _list_with_value(case) if lab.analyte == "lipase"]
    folds = [fold for lab in lipase if (fold := find_fold(case, lab)) is not None]
    share, is_inferred = _find_share(case)
    least = load_labs().row("non_pancreatic_share")["min_fraction"]
    return AmylaseEvidence(
        {
            "raised": _is_raised(case),
            "non_pancreatic": None if share is None else share >= least,
            "lipase_normal": all(fold <= 1.0 for fold in folds) if folds else None,
            "glands_normal": _are_glands_normal(case),
            "falls_with_response": _has_fallen(case),
            "tissue": _read_tissue_stain(case),
        },
        is_inferred,
    )


def _is_raised(case: Case) -> bool | None:
    folds = [find_fold(case, lab) for lab in _list_with_value(case) if lab.analyte == _TOTAL]
    known = [fold for fold in folds if fold is not None]
    return any(fold > 1.0 for fold in known) if known else None


def _find_share(case: Case) -> tuple[float | None, bool]:
    """Share of amylase that is not pancreatic, and whether it was only inferred by subtraction."""
    totals = [lab for lab in _list_with_value(case) if lab.analyte == _TOTAL]
    for lab in _list_with_value(case):
        if lab.analyte == _FRACTION and (share := convert_lab(lab, "1")) is not None:
            return share, False
        if lab.analyte == _SALIVARY and totals:
            part, whole = convert_lab(lab, "U/L"), convert_lab(totals[0], "U/L")
            if part is not None and whole:
                return part / whole, False
    split = split_amylase(case)
    return (None if split is None else split[3]), True


def _are_glands_normal(case: Case) -> bool | None:
    """Pancreas and salivary glands were both looked at and found normal."""
    wanted = (Finding.PANCREAS_ABNORMAL, Finding.SALIVARY_GLANDS_ABNORMAL)
    seen = [{study.finding(name) for study in case.studies} for name in wanted]
    if any(Presence.PRESENT in states for states in seen):
        return False
    return True if all(Presence.ABSENT in states for states in seen) else None


def _has_fallen(case: Case) -> bool | None:
    """Total amylase fell under treatment; a stated fall without a value leaves it open."""
    for found in _assess_trends(case):
        if found.inputs[0].path in {
            path_of("labs", lab.id, "value") for lab in case.labs if lab.analyte == _TOTAL
        }:
            return found.value == "fallen"
    return None


def _read_tissue_stain(case: Case) -> bool | None:
    results = {stain.result for stain in case.immunostains if stain.target.lower() == "amylase"}
    if Result.POSITIVE in results:
        return True
    return False if Result.NEGATIVE in results else None


def _describe_tier(case: Case, evidence: AmylaseEvidence) -> Assessment:
    book = load_labs()
    if not has_tumor(case):
        return _refuse_tier(case, book)
    tiers = evidence.find_tiers(book.rows("tier"))
    missing = [name.replace("_", " ") for name, shown in evidence.items.items() if shown is None]
    against = [name.replace("_", " ") for name, shown in evidence.items.items() if shown is False]
    is_open = len(tiers) > 1 or (not tiers and not against)
    words = " or ".join(tiers) if tiers else "no level is reached"
    how = " The share that is not pancreatic is inferred by subtraction." if evidence.is_inferred else ""
    contrary = f" Against it: {', '.join(against)} (shown not to be so)." if against else ""
    return Assessment(
        rule_id="labs.amylase_tumor",
        title="Evidence for a tumor that makes amylase",
        verdict=Verdict.NOT_ASSESSABLE if is_open else Verdict.MET if tiers else Verdict.NOT_MET,
        severity=Severity.NOTE,
        statement=f"Amylase-producing tumor: {words}, by this project's levels of evidence.{how}{contrary}",
        reason=f"not stated: {', '.join(missing)}" if is_open else "",
        value=tiers[0] if len(tiers) == 1 else None,
        values=tiers,
        inputs=tuple(
            _input(lab) for lab in case.labs if lab.analyte in {_TOTAL, _PANCREATIC, _SALIVARY, "lipase"}
        ),
        origin=case.origin,
        **book.credit("possible", "probable", "definite", "serum_alone", "fall_with_treatment"),
    )


def _refuse_tier(case: Case, book: RuleBook) -> Assessment:
    """Amylase alone is no evidence for a tumor that makes it: there must be a tumor."""
    return Assessment(
        rule_id="labs.amylase_tumor",
        title="Evidence for a tumor that makes amylase",
        verdict=Verdict.NOT_ASSESSABLE,
        severity=Severity.NOTE,
        statement="Amylase is raised, but the record holds no tumor, so none is rated as its source.",
        reason="no tumor is on record",
        inputs=tuple(
            _input(lab) for lab in case.labs if lab.analyte in {_TOTAL, _PANCREATIC, _SALIVARY, "lipase"}
        ),
        origin=case.origin,
        **book.credit("serum_alone"),
    )


def _list_sources_not_excluded(case: Case) -> list[str]:
    """What else raises amylase and is not said to be absent or normal."""
    row = load_labs().row("amylase_not_excluded")
    measured = {lab.analyte for lab in _list_with_value(case)}
    missing = [_name(name).lower() for name in row["tests"] if name not in measured]
    missing += [name.replace("_", " ") for name in row["exclusions"] if not case.past(History(name)).is_known]
    missing += [
        name.replace("_", " ") for name in row["symptoms"] if not case.symptom(Symptom(name)).is_known
    ]
    if drugs(case) and _has_fallen(case) is None:
        missing.append("a value under treatment")
    return missing
