"""Limits and baselines of laboratory values: the laboratory's own range first, a named default second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.case import Case, LabResult, Treatment, When, days_between
from miliary.model.units import convert_value


@dataclass(frozen=True)
class ReferenceRange:
    """Limits of normal for one laboratory value, in the unit of the value.

    Attributes
    ----------
    low, high : float or None
        None where that side has no limit or it is not known.
    row : RuleRow or None
        The default range of the rules that was used; None where the laboratory reported its own.
    """

    low: float | None = None
    high: float | None = None
    row: RuleRow | None = None

    @property
    def words(self) -> str:
        """Where the limits come from."""
        return f"a default range ({self.row['setting']})" if self.row else "the laboratory's range"


def load_labs() -> RuleBook:
    """The rules for laboratory values, in the newest edition.

    Returns
    -------
    RuleBook

    Raises
    ------
    RuleError
        If the rule file is missing or damaged.
    """
    return find_rules("labs")


def find_analyte(name: str) -> RuleRow | None:
    """What the rules know of an analyte: name, unit, LOINC code, kind.

    Parameters
    ----------
    name : str
        As in a case, such as ``amylase_total``.

    Returns
    -------
    RuleRow or None
        None if the analyte is not in the rules.
    """
    return next((row for row in load_labs().rows("analyte") if row.id == name), None)


def is_enzyme(name: str) -> bool:
    """Whether an analyte is an enzyme measured by its activity, so that U and IU mean the same.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
        False for an analyte that is not in the rules.
    """
    row = find_analyte(name)
    return row is not None and bool(row.get("is_enzyme", False))


def convert_lab(lab: LabResult, to: str) -> float | None:
    """A laboratory value in another unit.

    Parameters
    ----------
    lab : LabResult
    to : str
        The unit wanted, in UCUM.

    Returns
    -------
    float or None
        None where the value or its unit is not stated, or the units cannot be converted into each other;
        between mass and substance only with the molar mass of the table ``molar_mass``.
    """
    if lab.value is None or not lab.unit:
        return None
    found = convert_value(lab.value, lab.unit, to, is_enzyme=is_enzyme(lab.analyte))
    return _convert_moles(lab, to) if found is None else found


def _convert_moles(lab: LabResult, to: str) -> float | None:
    """Between mass and amount of substance, where the rules hold the molar mass of the analyte."""
    rows = [row for row in load_labs().rows("molar_mass") if lab.analyte in row["analytes"]]
    for row in rows:
        grams, moles = (convert_value(lab.value or 0.0, lab.unit, unit) for unit in ("g/L", "mmol/L"))
        if grams is not None:
            return convert_value(1000.0 * grams / row["grams_per_mole"], "mmol/L", to)
        if moles is not None:
            return convert_value(moles * row["grams_per_mole"] / 1000.0, "g/L", to)
    return None


def find_range(case: Case, lab: LabResult) -> ReferenceRange:
    """The limits to judge a value by, in its own unit.

    A default is used only where the case says in which country the patient was seen, and the sex where the
    range depends on it.
    """
    if lab.low is not None or lab.high is not None:
        return ReferenceRange(lab.low, lab.high)
    analyte = find_analyte(lab.analyte)
    for row in load_labs().rows("range"):
        fits = row["analyte"] == lab.analyte and row["setting"] == case.patient.region.upper()
        if analyte is None or not fits or row.get("sex") not in {None, case.patient.sex}:
            continue
        low, high = (_in_unit(row.get(side), analyte, lab) for side in ("low", "high"))
        return ReferenceRange(low, high, row) if low is not None or high is not None else ReferenceRange()
    return ReferenceRange()


def _in_unit(limit: float | None, analyte: RuleRow, lab: LabResult) -> float | None:
    if limit is None or not lab.unit:
        return None
    return convert_value(limit, analyte["unit"], lab.unit, is_enzyme=bool(analyte.get("is_enzyme", False)))


def find_treatment_start(case: Case) -> When | None:
    """When the first drug with a stated start was begun.

    Parameters
    ----------
    case : Case

    Returns
    -------
    When or None
        None where no drug has a stated start.
    """
    starts = [treatment.start for treatment in drugs(case) if treatment.start.is_known]
    first: When | None = None
    for start in starts:
        if first is None or (days_between(first, start) or 0) < 0:
            first = start
    return first


def drugs(case: Case) -> tuple[Treatment, ...]:
    """The treatments of a case that are drugs.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Treatment
        In the order of the case.
    """
    return tuple(treatment for treatment in case.treatments if treatment.kind == "drug")


def is_before_treatment(case: Case, lab: LabResult) -> bool | None:
    """Whether a laboratory value was taken before treatment began, or on that day.

    Parameters
    ----------
    case : Case
    lab : LabResult

    Returns
    -------
    bool or None
        True also where the case has no drug; None where the dates do not tell.
    """
    if lab.is_baseline or not drugs(case):
        return True
    start = find_treatment_start(case)
    days = days_between(lab.when, start) if start is not None else None
    return None if days is None else days >= 0


def find_baseline(case: Case, lab: LabResult) -> LabResult | None:
    """The value that a laboratory value is compared with.

    Parameters
    ----------
    case : Case
    lab : LabResult

    Returns
    -------
    LabResult or None
        The value of the same analyte that is marked as baseline, or else the last one before treatment; None
        without either.
    """
    same = [other for other in case.labs if other.analyte == lab.analyte and other.value is not None]
    marked = [other for other in same if other.is_baseline]
    if marked:
        return marked[0]
    before = [other for other in same if drugs(case) and is_before_treatment(case, other)]
    return _find_latest(before)


def _find_latest(labs: Sequence[LabResult]) -> LabResult | None:
    latest: LabResult | None = None
    for lab in labs:
        if latest is None or (days_between(latest.when, lab.when) or 0) >= 0:
            latest = lab
    return latest
