"""The published definitions of "miliary" judged by what was measured on one CT.

Our own rule, stated as such: lesions of 8 mm and more are left out; a limit on size is kept where the 90th
percentile of the diameters, measuring error taken out, lies within it with its whole 95 % interval. What
"profuse", "diffuse" and "uniform" ask of numbers is ours too (rules ``bridge``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from miliary.clinical.miliary.bridge import is_in_both_lungs
from miliary.clinical.miliary.evaluate import (
    Criterion,
    NoduleFacts,
    Quantity,
    assess_definition,
    compare_count,
    decide,
    to_presence,
)
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Plain
from miliary.model.vocabulary import Origin

Interval = tuple[float, float]

_THRESHOLDS = (
    "max_diameter_mm",
    "inclusive",
    "distribution",
    "more_than_nodules",
    "min_lung_fraction",
    "diffuse",
    "bilateral",
    "uniform",
    "profuse",
)


@dataclass(frozen=True)
class MeasuredPattern:
    """What was measured of the small nodules of one CT; None where it could not be.

    Parameters
    ----------
    n_right, n_left : int
        Nodules of each lung, lesions and calcified ones left out.
    expected_false : float
        Of them.
    by_third : tuple of int
        Nodules of the six thirds of both lungs.
    n_lesions : int
        Large lesions that were left out.
    p90_mm, p90_ci95_mm : float, (low, high)
        90th percentile of the diameters, measuring error taken out [mm].
    size_reason : str
        Why they are None.
    lung_fraction, lung_fraction_ci95 : float, (low, high)
        Share of the lungs involved.
    pattern, pattern_reason : str
        Label of the spatial pattern, and why it is that.
    cv, cv_err : float
        Spread of the diameters over their mean, measuring error taken out; its one-sigma error.
    slice_thickness_mm : float
    is_simulated : bool
    doubt : str
        Why the detections of this scan cannot be taken for nodules; no definition can be judged then.
    """

    n_right: int
    n_left: int
    expected_false: float = 0.0
    by_third: tuple[int, ...] = ()
    n_lesions: int = 0
    p90_mm: float | None = None
    p90_ci95_mm: Interval | None = None
    size_reason: str = ""
    lung_fraction: float | None = None
    lung_fraction_ci95: Interval | None = None
    pattern: str | None = None
    pattern_reason: str = ""
    cv: float | None = None
    cv_err: float | None = None
    slice_thickness_mm: float | None = None
    is_simulated: bool = False
    doubt: str = ""

    @property
    def n(self) -> int:
        """Nodules of both lungs."""
        return self.n_right + self.n_left


def assess_measured(facts: MeasuredPattern, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Judge every published definition by what was measured.

    Parameters
    ----------
    facts : MeasuredPattern
    rules : RuleBook, optional
        Edition of the definitions; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        One per definition, in the order of the rules.
    """
    book = rules or find_rules("definition")
    readings = find_rules("bridge")
    found = read_measured_facts(facts, readings)
    return tuple(assess_definition(row, found, book) for row in book.rows("definition"))


def summarize_definitions(
    assessments: tuple[Assessment, ...], rules: RuleBook | None = None
) -> tuple[dict[str, Any], ...]:
    """The block ``definitions`` of ``scan.json``.

    Parameters
    ----------
    assessments : tuple of Assessment
        From `assess_measured`.
    rules : RuleBook, optional
        The edition they were judged by; the newest packaged one by default.

    Returns
    -------
    tuple of dict
        Per definition its id, title, verdict, reason, inputs, thresholds and source.
    """
    book = rules or find_rules("definition")
    return tuple(
        _summarize(item, row, book) for item, row in zip(assessments, book.rows("definition"), strict=True)
    )


def _summarize(item: Assessment, row: RuleRow, book: RuleBook) -> dict[str, Any]:
    cited = [book.citations[name] for name in row.citations]
    return {
        "id": row.id,
        "title": str(row["name"]),
        "verdict": item.verdict.value,
        "statement": item.statement,
        "reason": item.reason,
        "inputs": [{"path": path, "value": _short(value)} for path, value in item.inputs],
        "threshold": {name: row.get(name) for name in _THRESHOLDS if row.get(name) is not None},
        "source": "; ".join(c.text + (f", doi {c.doi}" if c.doi else "") for c in cited),
        "basis": item.basis.value,
        "edition": item.edition,
    }


def _short(value: Plain) -> Plain:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def read_measured_facts(measured: MeasuredPattern, readings: RuleBook) -> NoduleFacts:
    """What was measured of the small nodules of one CT, for the definitions to be judged by.

    Parameters
    ----------
    measured : MeasuredPattern
    readings : RuleBook
        The rules ``bridge``: what "profuse", "diffuse", "uniform" and "bilateral" ask of numbers.

    Returns
    -------
    NoduleFacts
        Numbers with their 95 % intervals. The 90th percentile of the diameters is what a limit on size is
        compared with; detections that are expected to be false do not count.
    """
    true_ones = measured.n - measured.expected_false
    count = Quantity(Input("nodules.count", measured.n), true_ones, true_ones)
    is_known = measured.pattern not in (None, "indeterminate")
    return NoduleFacts(
        size=_read_size(measured),
        count=count,
        lung_fraction=_read_fraction(measured),
        distribution=Input("pattern.label", measured.pattern),
        is_distribution_known=is_known,
        distribution_reason=measured.pattern_reason or "the pattern was not assessed",
        properties={
            "diffuse": _is_diffuse(measured, readings.row("diffuse")["min_per_third"]),
            "bilateral": _is_bilateral(measured, readings),
            "uniform": _is_uniform(measured, float(readings.row("uniform")["max_cv"])),
            "profuse": compare_count(
                count, int(readings.row("profuse")["more_than_nodules"]), word="profuse: "
            ),
        },
        slice_thickness=Input("acquisition.slice_thickness_mm", measured.slice_thickness_mm),
        is_measured=True,
        doubt=measured.doubt,
        origin=Origin.SIMULATED if measured.is_simulated else Origin.MEASURED,
    )


def _read_size(measured: MeasuredPattern) -> Quantity:
    fact = Input("true_sizes.p90_mm", measured.p90_mm)
    if measured.p90_mm is None or measured.p90_ci95_mm is None:
        return Quantity(fact, reason=measured.size_reason or "no size measured")
    low, high = measured.p90_ci95_mm
    seen = f"90th percentile {measured.p90_mm:.2f} mm, {low:.2f} to {high:.2f}"
    return Quantity(fact, low, high, seen=seen, too_close=seen)


def _read_fraction(measured: MeasuredPattern) -> Quantity:
    fact = Input("extent.lung_fraction_involved", measured.lung_fraction)
    if measured.lung_fraction is None or measured.lung_fraction_ci95 is None:
        return Quantity(fact)
    low, high = measured.lung_fraction_ci95
    return Quantity(fact, low, high, too_close=f"{low:.0%} to {high:.0%}")


def _is_bilateral(measured: MeasuredPattern, readings: RuleBook) -> Criterion:
    both = is_in_both_lungs(measured.n_right, measured.n_left, book=readings)
    text = f"{measured.n_right} right, {measured.n_left} left"
    return Criterion(to_presence(both), Input("nodules.by_side", text), "both lungs")


def _is_diffuse(measured: MeasuredPattern, least: int) -> Criterion:
    wording = f"diffuse: at least {least} nodules in each third of both lungs"
    fewest = min(measured.by_third, default=None)
    fact = Input("extent.by_third", fewest)
    if fewest is None:
        return decide(Quantity(fact), wording, lambda value: value >= least)
    true_ones = fewest - measured.expected_false / len(measured.by_third)
    return decide(Quantity(fact, true_ones, true_ones), wording, lambda value: value >= least)


def _is_uniform(measured: MeasuredPattern, limit: float) -> Criterion:
    wording = f"uniform: spread of diameters at most {limit:.0%} of their mean"
    fact = Input("pattern.size_uniformity.cv", measured.cv)
    cv = Quantity(fact, reason="not measured")
    if measured.cv is not None:
        error = 1.96 * (measured.cv_err or 0.0)
        cv = Quantity(fact, measured.cv - error, measured.cv + error, too_close=f"{measured.cv:.2f}")
    return decide(cv, wording, lambda value: value <= limit)
