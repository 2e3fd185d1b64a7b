"""`series.json` from saved comparisons: each follow-up against the baseline, and the nadir."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def summarize_saved_series(found: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """What ``series.json`` holds, from the saved summaries of comparisons with one baseline.

    Parameters
    ----------
    found : sequence of (path, summary)
        Path of each comparison as the series names it, and the content of its ``response.json``, in the
        order of time.

    Returns
    -------
    dict
        As `miliary.followup.summarize_series` gives for the comparisons themselves, to the six digits that
        the files hold.
    """
    from miliary.clinical.comparability import find_nadir

    ratios = [summary["response"]["volume_ratio"] for _, summary in found]
    points = []
    for place, (path, summary) in enumerate(found):
        response, ratio = summary["response"], ratios[place]
        lowest = find_nadir(ratios[: place + 1])
        least = None if lowest is None else ratios[lowest]
        points.append(
            {
                "followup": summary["followup"]["label"],
                "days_between": summary["days_between"],
                "comparability": summary["comparability"]["verdict"],
                "volume_ratio": ratio,
                "volume_ratio_ci95": response.get("volume_ratio_ci95"),
                "ratio_to_nadir": ratio / least if ratio is not None and least else None,
                "category": response["category"],
                "lesion_mm": summary["lesion"]["followup_mm"],
                "path": path,
            }
        )
    nadir = find_nadir(ratios)
    is_simulated = any(summary["origin"] == "simulated" for _, summary in found)
    return {
        "origin": "simulated" if is_simulated else "measured",
        "baseline": found[0][1]["baseline"]["label"],
        "nadir": None if nadir is None else points[nadir]["followup"],
        "time_points": points,
    }
