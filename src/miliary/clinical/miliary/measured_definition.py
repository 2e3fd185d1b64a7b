"""The published definitions of "miliary" judged by what was measured on one CT.

Our own rule, stated as such: lesions of 8 mm and more are left out; a limit on size is kept where the 90th
percentile of the diameters, measuring error taken out, lies within it with its whole 95 % interval. What
"profuse", "diffuse" and "uniform" ask of numbers is ours too (rules ``bridge``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from miliary.clinical.miliary.bridge import is_in_both_lungs
from miliary.clinical.miliary.definition import Criterion, judge
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Plain, Severity, Verdict
from miliary.model.vocabulary import Origin, Presence

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
    return tuple(_assess_row(row, facts, book, readings) for row in book.rows("definition"))


def summarize_definitions(
    assessments: tuple[Assessment, ...], rules: RuleBook | None = None
) -> tuple[dict[str, Any], ...]:
    """`definitions` of ``scan.json``: verdict, reason, inputs, threshold and source of each."""
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


def _assess_row(row: RuleRow, facts: MeasuredPattern, book: RuleBook, readings: RuleBook) -> Assessment:
    name = str(row["name"])
    criteria = list(_list_criteria(row, facts, book, readings))
    if row.get("text_not_read"):
        verdict, reason = Verdict.NOT_ASSESSABLE, "its wording has not been read"
    else:
        verdict, reason = judge(criteria)
        if verdict is Verdict.MET and row.get("reader_judgment"):
            verdict, reason = Verdict.NOT_ASSESSABLE, "it asks for a reader's judgment as well"
    return Assessment(
        f"definition.{row.id}",
        f"Miliary by {name}",
        verdict,
        Severity.INFO,
        f"{name}: {verdict.value.replace('_', ' ')}, by what was measured.",
        reason,
        inputs=tuple(criterion.fact for criterion in criteria),
        origin=Origin.SIMULATED if facts.is_simulated else Origin.MEASURED,
        **book.credit(row),
    )


def _list_criteria(
    row: RuleRow, facts: MeasuredPattern, book: RuleBook, readings: RuleBook
) -> Iterator[Criterion]:
    if row.get("max_diameter_mm") is not None:
        yield _compare_size(row, facts, book)
    if row.get("distribution"):
        yield _compare_pattern(str(row["distribution"]), facts)
    if row.get("more_than_nodules") is not None:
        yield _compare_count(facts, int(row["more_than_nodules"]), "")
    if row.get("min_lung_fraction") is not None:
        yield _compare_fraction(facts, float(row["min_lung_fraction"]))
    if row.get("diffuse"):
        yield _is_diffuse(facts, readings.row("diffuse")["min_per_third"])
    if row.get("bilateral"):
        both = is_in_both_lungs(facts.n_right, facts.n_left, book=find_rules("bridge"))
        text = f"{facts.n_right} right, {facts.n_left} left"
        yield Criterion(_present(both), Input("nodules.by_side", text), "both lungs")
    if row.get("uniform"):
        yield _is_uniform(facts, float(readings.row("uniform")["max_cv"]))
    if row.get("profuse"):
        yield _compare_count(facts, int(readings.row("profuse")["more_than_nodules"]), "profuse: ")


def _present(state: object) -> Presence:
    return Presence.PRESENT if state else Presence.ABSENT


def _compare_size(row: RuleRow, facts: MeasuredPattern, book: RuleBook) -> Criterion:
    """Decided where the whole interval of the 90th percentile lies on one side of the limit."""
    limit, inclusive = float(row["max_diameter_mm"]), bool(row["inclusive"])
    wording = f"nodule diameter {'at most' if inclusive else 'below'} {limit:g} mm"
    fact = Input("true_sizes.p90_mm", facts.p90_mm)
    if facts.p90_mm is None or facts.p90_ci95_mm is None:
        return Criterion(Presence.NOT_STATED, fact, f"{wording} ({facts.size_reason or 'no size measured'})")
    thickness = book.row("slice_thickness")
    if (
        facts.slice_thickness_mm is not None
        and facts.slice_thickness_mm > thickness["max_slice_thickness_mm"]
        and limit <= thickness["below_diameter_mm"]
    ):
        fact = Input("acquisition.slice_thickness_mm", facts.slice_thickness_mm)
        return Criterion(Presence.NOT_STATED, fact, f"{wording} (slices too thick to size it)")
    low, high = facts.p90_ci95_mm
    seen = f"90th percentile {facts.p90_mm:.2f} mm, {low:.2f} to {high:.2f}"
    if high < limit or (inclusive and high <= limit):
        return Criterion(Presence.PRESENT, fact, wording)
    if low > limit or (not inclusive and low >= limit):
        return Criterion(Presence.ABSENT, fact, f"{wording} ({seen})")
    return Criterion(Presence.NOT_STATED, fact, f"{wording} (too close to tell: {seen})")


def _compare_pattern(wanted: str, facts: MeasuredPattern) -> Criterion:
    fact = Input("pattern.label", facts.pattern)
    wording = f"{wanted} distribution"
    if facts.pattern in (None, "indeterminate"):
        reason = facts.pattern_reason or "the pattern was not assessed"
        return Criterion(Presence.NOT_STATED, fact, f"{wording} ({reason})")
    return Criterion(_present(facts.pattern == wanted), fact, wording)


def _compare_count(facts: MeasuredPattern, more_than: int, word: str) -> Criterion:
    """Marks that are expected to be false do not count."""
    wording = f"{word}more than {more_than} nodules"
    true_ones = facts.n - facts.expected_false
    return Criterion(_present(true_ones > more_than), Input("nodules.count", facts.n), wording)


def _compare_fraction(facts: MeasuredPattern, more_than: float) -> Criterion:
    wording = f"more than {more_than:.0%} of the lung"
    fact = Input("extent.lung_fraction_involved", facts.lung_fraction)
    if facts.lung_fraction is None or facts.lung_fraction_ci95 is None:
        return Criterion(Presence.NOT_STATED, fact, wording)
    low, high = facts.lung_fraction_ci95
    if low <= more_than < high:
        return Criterion(Presence.NOT_STATED, fact, f"{wording} (too close to tell: {low:.0%} to {high:.0%})")
    return Criterion(_present(low > more_than), fact, wording)


def _is_diffuse(facts: MeasuredPattern, least: int) -> Criterion:
    wording = f"diffuse: at least {least} nodules in each third of both lungs"
    fact = Input("extent.by_third", min(facts.by_third, default=None))
    if not facts.by_third:
        return Criterion(Presence.NOT_STATED, fact, wording)
    false_each = facts.expected_false / len(facts.by_third)
    return Criterion(_present(min(facts.by_third) - false_each >= least), fact, wording)


def _is_uniform(facts: MeasuredPattern, limit: float) -> Criterion:
    wording = f"uniform: spread of diameters at most {limit:.0%} of their mean"
    fact = Input("pattern.size_uniformity.cv", facts.cv)
    if facts.cv is None:
        return Criterion(Presence.NOT_STATED, fact, f"{wording} (not measured)")
    error = 1.96 * (facts.cv_err or 0.0)
    if facts.cv - error <= limit < facts.cv + error:
        return Criterion(Presence.NOT_STATED, fact, f"{wording} (too close to tell: {facts.cv:.2f})")
    return Criterion(_present(facts.cv <= limit), fact, wording)
