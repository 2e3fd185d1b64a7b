"""`series.json` from saved comparisons: each follow-up against the baseline, and the nadir."""

from __future__ import annotations

from collections.abc import Sequence

from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary, TimePointSummary
from miliary.model.vocabulary import Origin


def summarize_saved_series(found: Sequence[tuple[str, ComparisonSummary]]) -> SeriesSummary:
    """What ``series.json`` holds, from the saved summaries of comparisons with one baseline.

    Parameters
    ----------
    found : sequence of (path, ComparisonSummary)
        Path of each comparison as the series names it, and the content of its ``response.json``, in the
        order of time; at least one.

    Returns
    -------
    SeriesSummary
        As `summarize_series` gives for the comparisons themselves, to the six digits that the files hold.
    """
    from miliary.clinical.comparability import find_nadir

    ratios = [summary.response.volume_ratio for _, summary in found]
    points = []
    for place, (path, summary) in enumerate(found):
        ratio, lowest = ratios[place], find_nadir(ratios[: place + 1])
        least = None if lowest is None else ratios[lowest]
        points.append(
            TimePointSummary(
                followup=summary.followup.label or "",
                days_between=summary.days_between,
                comparability=summary.comparability.verdict,
                volume_ratio=ratio,
                volume_ratio_ci95=summary.response.volume_ratio_ci95,
                ratio_to_nadir=ratio / least if ratio is not None and least else None,
                category=summary.response.category,
                lesion_mm=summary.lesion.followup_mm,
                path=path,
            )
        )
    nadir = find_nadir(ratios)
    is_simulated = any(summary.origin is Origin.SIMULATED for _, summary in found)
    return SeriesSummary(
        origin=Origin.SIMULATED if is_simulated else Origin.MEASURED,
        baseline=found[0][1].baseline.label or "",
        nadir=None if nadir is None else points[nadir].followup,
        time_points=tuple(points),
    )
