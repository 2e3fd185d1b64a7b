"""Whether two scans may be compared, which series to compare, and what their difference is called.

All numbers are in ``rules/comparability``. The gate answers before anything is compared, and every output
carries its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miliary.clinical.recist.criteria import (
    CavityReading,
    NewLesionStatus,
    RecistResponse,
    TargetReading,
    Visit,
    find_time_points,
    read_limits,
    read_target,
)
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.comparison import Category, Comparability, ComparabilityVerdict, Interval, SeriesFacts

_NAMES = {
    "slice_thickness": "slice thickness",
    "blur": "blur",
    "noise": "noise",
    "lung_volume": "volume of the common lung",
}


@dataclass(frozen=True)
class PairFacts:
    """What is known of two registered scans when their comparability is judged; None where it is not known.

    Parameters
    ----------
    coverage : float
        Share of the lung that both scans show, 0 to 1; the smaller of both scans' shares.
    lung_volume_ratio : float
        Volume of the lung that both show, follow-up over baseline.
    slice_thickness_mm, blur_mm, noise_hu : pair of float or None
        Of baseline and follow-up; blur is the geometric mean of the one-sigma widths [mm].
    d50_mm : pair of float or None
        Diameter at which half of the nodules are found [mm].
    median_diameter_mm : float or None
        Of the nodules at baseline [mm].
    doubts : pair of str
        Why each scan lies outside what was validated; empty where it does not.
    """

    coverage: float
    lung_volume_ratio: float
    slice_thickness_mm: tuple[float | None, float | None] = (None, None)
    blur_mm: tuple[float | None, float | None] = (None, None)
    noise_hu: tuple[float | None, float | None] = (None, None)
    d50_mm: tuple[float | None, float | None] = (None, None)
    median_diameter_mm: float | None = None
    doubts: tuple[str, str] = ("", "")


def load_comparison_rules() -> RuleBook:
    """The rules for comparing two scans: what refuses or limits it, and categories of change.

    Returns
    -------
    RuleBook

    Raises
    ------
    RuleError
        If the rule file is missing or damaged.
    """
    return find_rules("comparability")


def judge_pair(facts: PairFacts, book: RuleBook) -> Comparability:
    """Whether two registered scans may be compared.

    Parameters
    ----------
    facts : PairFacts
    book : RuleBook
        The rules ``comparability``.

    Returns
    -------
    Comparability
        Not comparable where any limit of the table ``refusal`` is broken, comparable after correction
        where the protocols differ, otherwise comparable; with the reasons.
    """
    refusals = _find_refusals(facts, book)
    differences = _find_differences(facts, book)
    if refusals:
        verdict = ComparabilityVerdict.NOT_COMPARABLE
    elif differences:
        verdict = ComparabilityVerdict.AFTER_CORRECTION
    else:
        verdict = ComparabilityVerdict.COMPARABLE
    return Comparability(
        verdict=verdict,
        reasons=tuple(refusals + differences) or ("same protocol and lung volume",),
        facts={
            "common_coverage": facts.coverage,
            "lung_volume_ratio": facts.lung_volume_ratio,
            "slice_thickness_ratio": _divide(facts.slice_thickness_mm),
            "blur_ratio": _divide(facts.blur_mm),
            "noise_ratio": _divide(facts.noise_hu),
            "baseline_d50_mm": facts.d50_mm[0],
            "followup_d50_mm": facts.d50_mm[1],
            "baseline_median_diameter_mm": facts.median_diameter_mm,
        },
        edition=book.label,
    )


def _divide(pair: tuple[float | None, float | None]) -> float | None:
    """Follow-up over baseline."""
    before, after = pair
    return None if not before or after is None else after / before


def _find_refusals(facts: PairFacts, book: RuleBook) -> list[str]:
    found = [
        f"the {name} scan is outside what was validated: {doubt}"
        for name, doubt in zip(("baseline", "follow-up"), facts.doubts, strict=True)
        if doubt
    ]
    least = book.row("common_coverage")["min"]
    if facts.coverage < least:
        found.append(f"only {facts.coverage:.0%} of the lung is on both scans, {least:.0%} are needed")
    limits = book.row("lung_volume_ratio")
    if not limits["min"] <= facts.lung_volume_ratio <= limits["max"]:
        found.append(
            f"the common lung has {facts.lung_volume_ratio:.2f} times its volume at baseline, outside "
            f"{limits['min']:g} to {limits['max']:g}"
        )
    median = facts.median_diameter_mm
    for name, d50 in zip(("baseline", "follow-up"), facts.d50_mm, strict=True):
        if d50 is not None and median and d50 > book.row("visible_diameter")["max_ratio"] * median:
            found.append(
                f"the {name} scan finds half of the nodules only from {d50:.1f} mm on, more than the median "
                f"diameter of {median:.1f} mm at baseline"
            )
    return found


def _find_differences(facts: PairFacts, book: RuleBook) -> list[str]:
    ratios = {
        "slice_thickness": _divide(facts.slice_thickness_mm),
        "blur": _divide(facts.blur_mm),
        "noise": _divide(facts.noise_hu),
        "lung_volume": facts.lung_volume_ratio,
    }
    found = []
    for name, ratio in ratios.items():
        limit = book.row(name)["max_ratio"]
        if ratio is not None and not 1.0 / limit <= ratio <= limit:
            found.append(f"{_NAMES[name]} differs by a factor of {ratio:.2f}, more than {limit:g} either way")
    return found


# --- what is no pair -------------------------------------------------------------------------------------


def find_impossibility(*, coverage: float, agreement: float | None, book: RuleBook) -> str:
    """Why two scans cannot be a pair of one patient's lungs; empty where they can.

    Parameters
    ----------
    coverage : float
        Share of the lung that both scans show.
    agreement : float or None
        Share of the compared positions that look alike after registration, 0 to 1.
    book : RuleBook
    """
    if coverage < book.row("overlap")["min"]:
        return f"have only {coverage:.0%} of the lung in common; give two scans of the whole chest"
    if agreement is not None and agreement < book.row("agreement")["min"]:
        return (
            f"do not look like the same lungs (only {agreement:.0%} of places agree after registration); "
            "check that both are of one patient"
        )
    return ""


def judge_baseline(days_to_treatment: int | None, book: RuleBook) -> str:
    """What is wrong with the time of the baseline scan; empty where nothing is, or nothing is known.

    Parameters
    ----------
    days_to_treatment : int or None
        From the baseline scan to the start of treatment.
    book : RuleBook
    """
    if days_to_treatment is None:
        return ""
    most = book.row("baseline_timing")["max_days_before_treatment"]
    if days_to_treatment < 0:
        return f"the baseline scan was made {-days_to_treatment} days after treatment began"
    if days_to_treatment > most:
        return (
            f"the baseline scan was made {days_to_treatment} days before treatment began, "
            f"more than {most} days"
        )
    return ""


# --- which series ----------------------------------------------------------------------------------------


def choose_series_pair(
    baseline: Sequence[SeriesFacts], followup: Sequence[SeriesFacts]
) -> tuple[int, int, str]:
    """The best-matched pair of series of two studies: the first difference decides.

    1. both reach as far as the longest of their study (80 %);
    2. both original axial images;
    3. the smaller ratio of slice thicknesses (classes of 30 %);
    4. the same kind of kernel, sharp or smooth;
    5. the thinner slices;
    6. the smoother kernels;
    7. the first.

    Parameters
    ----------
    baseline, followup : sequence of SeriesFacts
        At least one each.

    Returns
    -------
    i, j : int
        Places in the two lists.
    reason : str
        In words.
    """
    pairs = [(i, j) for i in range(len(baseline)) for j in range(len(followup))]
    ranked = sorted(pairs, key=lambda p: (_rank_pair(baseline, followup, *p), p))
    i, j = ranked[0]
    reason = f"{baseline[i].describe()} with {followup[j].describe()}"
    if len(pairs) > 1:
        best, second = (_rank_pair(baseline, followup, *p) for p in ranked[:2])
        why = next((w for w, a, b in zip(_WHY, best, second, strict=True) if a != b), "first of equals")
        reason += f"; best-matched of {len(pairs)} pairs ({why})"
    return i, j, reason


_WHY = (
    "longer coverage",
    "original axial images",
    "closer slice thickness",
    "the same kind of kernel",
    "thinner slices",
    "smoother kernels",
)


def _rank_pair(
    baseline: Sequence[SeriesFacts], followup: Sequence[SeriesFacts], i: int, j: int
) -> tuple[float, ...]:
    a, b = baseline[i], followup[j]
    short = sum(
        one.coverage_mm < 0.8 * max(s.coverage_mm for s in series)
        for one, series in ((a, baseline), (b, followup))
    )
    thick, thin = max(a.thickness_mm, b.thickness_mm), max(min(a.thickness_mm, b.thickness_mm), 0.1)
    sharp = [one.is_sharp for one in (a, b)]
    return (
        float(short),
        float((not a.is_primary) + (not b.is_primary)),
        float(int(max(thick / thin - 1.0, 0.0) / 0.3)),
        float(sharp[0] != sharp[1]),
        thick,
        float(sum(bool(one) for one in sharp)),
    )


# --- what the change is called -----------------------------------------------------------------------------


def name_change(ratio: Interval, verdict: ComparabilityVerdict, book: RuleBook) -> tuple[Category, str]:
    """The exploratory category of a volume ratio, and why it is that or none.

    Given only where the whole 95 % interval lies on one side of the limits.
    """
    if verdict is ComparabilityVerdict.NOT_COMPARABLE:
        return Category.INDETERMINATE, "the scans are not comparable"
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return Category.INDETERMINATE, ratio.reason
    low = 1.0 + book.row("decreased")["max_change"]
    high = 1.0 + book.row("increased")["min_change"]
    span = f"the 95 % interval {ratio.low:.2f} to {ratio.high:.2f}"
    if ratio.high <= low:
        return Category.DECREASED, f"{span} lies below {low:.3f}"
    if ratio.low >= high:
        return Category.INCREASED, f"{span} lies above {high:.3f}"
    if low < ratio.low and ratio.high < high:
        return Category.STABLE, f"{span} lies between {low:.3f} and {high:.3f}"
    crossed = " and ".join(f"{limit:.3f}" for limit in (low, high) if ratio.low <= limit <= ratio.high)
    return Category.INDETERMINATE, f"{span} crosses {crossed}"


def judge_targets(
    baseline_mm: Mapping[str, float], followup_mm: Mapping[str, float | None], *, days: int | None
) -> dict[str, Any]:
    """RECIST 1.1 from target lesions alone, as plain JSON values.

    Parameters
    ----------
    baseline_mm, followup_mm : mapping of str to number
        Longest diameter of each target [mm]; 0 where it is no longer seen, None where it is not evaluated.
    days : int or None
        From baseline to follow-up.

    Returns
    -------
    dict
        ``target_response`` is None with a reason where there is no target. What non-target lesions and new
        lesions say is for a person to judge.
    """
    book = find_rules("recist")
    limits = read_limits(book)
    statement = (
        "Nodules below 10 mm are non-measurable by RECIST 1.1 and thus non-target disease: whether they are "
        "no longer seen, persist or have unequivocally progressed is for a reader to judge, and so are new "
        "lesions."
    )
    targets = {name: mm for name, mm in baseline_mm.items() if mm >= limits["mass_min_mm"]}
    found: dict[str, Any] = {"edition": book.label, "non_target": "reader", "statement": statement}
    if not targets:
        reason = f"no lesion of at least {limits['mass_min_mm']:g} mm was measured at baseline"
        return {**found, "target_response": None, "target_response_reason": reason, "targets": []}
    visits = [
        Visit(0, {n: TargetReading(mm) for n, mm in targets.items()}),
        Visit(
            days or 0,
            {n: read_target(followup_mm.get(n), cavity=CavityReading.WHOLE) for n in targets},
            new=NewLesionStatus.NOT_STATED,
        ),
    ]
    point = find_time_points(visits, book=book)[0]
    rows = [
        {"id": n, "baseline_mm": round(mm, 1), **_followup(followup_mm.get(n))} for n, mm in targets.items()
    ]
    change = point.from_baseline_percent
    return {
        **found,
        "target_response": None if point.target is RecistResponse.NONE else point.target.value,
        **(
            {"change_percent": None, "change_percent_reason": "a target was not measured on the follow-up"}
            if change is None
            else {"change_percent": round(change, 1)}
        ),
        "targets": rows,
    }


def _followup(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"followup_mm": None, "followup_mm_reason": "not measured"}
    return {"followup_mm": round(value, 1)}


def read_numbers(row: RuleRow) -> dict[str, Any]:
    """The data of a row as plain values, without the text that explains it.

    Parameters
    ----------
    row : RuleRow

    Returns
    -------
    dict
        Every datum of the row but `meaning`, by its key.
    """
    return {name: value for name, value in row.data.items() if name != "meaning"}
