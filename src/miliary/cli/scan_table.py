"""What was measured on one scan, as a table on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miliary.model.saved.scan_summary import (
        CompletenessSummary,
        CorrectedSummary,
        CorrectionSummary,
        DiameterSummary,
        LesionSummary,
        ScanSummary,
    )
    from miliary.model.scan import ScanWarning

# What is lost, misplaced or was not read comes before what makes a number less sharp.
_GRAVE = (
    *("outside_validity", "lungs_cut_off", "lung_touches_field_edge", "single_lung", "fill_beyond_field"),
    *("forms_disagree", "orientation_unknown", "passes_left_out", "overlapping_passes", "empty_files"),
    *("series_refused", "unit_unknown", "rescale_missing", "interleaved_acquisitions"),
)


def show_scan(summary: ScanSummary) -> None:
    """Print what was measured on one scan as a table that a person can read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _summary_rows(summary):
        table.add_row(name, text)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print()
    console.print(table)


def _summary_rows(summary: ScanSummary) -> list[tuple[str, str]]:
    """Name and text of each line of the summary."""
    nodules, lungs, blur = summary.nodules, summary.lungs, summary.psf
    sides = [
        f"{side}: {part.count} (" + ", ".join(f"{zone} {n}" for zone, n in part.by_zone.items()) + ")"
        for side, part in nodules.by_side.items()
    ]
    volume = f"{_text(nodules.total_volume_mm3, ',.0f')} +- {_text(nodules.total_volume_mm3_err, ',.0f')}"
    number = f"{_text(nodules.count, ',')}   {_text(nodules.count_per_litre, '.4g')} per litre of lung"
    where = [("" if place else "where", text) for place, text in enumerate(sides)]
    found = [
        ("nodules", number),
        ("total volume", f"{volume} mm3 (solid-equivalent)"),
        *_describe_corrected(summary.corrected, summary.completeness),
        ("diameter", _describe_sizes(nodules.diameter_mm)),
        *_describe_lesions(summary.lesions),
        *where,
        ("attenuation", ", ".join(f"{name} {n}" for name, n in nodules.by_attenuation.items())),
        ("calcified, apart", _text(summary.calcified.count, "d")),
    ]
    # Outside of what was validated most marks may be false: nothing is made of them, neither size nor sum.
    marks = [("marks, not counted", number), *where, *_describe_lesions(summary.lesions)]
    rows = [
        *_describe_validity(summary),
        *(marks if summary.doubt else found),
        *_describe_corrections(summary.corrections),
        ("lungs", f"right {_text(lungs.right_ml, ',.0f')} mL, left {_text(lungs.left_ml, ',.0f')} mL"),
        *([("not seen", f"{lungs.opaque_ml:,.0f} mL of opaque lung")] if lungs.opaque_ml else []),
        ("noise", f"{_text(summary.noise.sd_hu, '.1f')} HU"),
        (
            "blur (FWHM)",
            f"{_text(blur.fwhm_xy_mm, '.2f')} mm in plane, {_text(blur.fwhm_z_mm, '.2f')} mm along z",
        ),
    ]
    rows += [] if summary.doubt else _describe_answer(summary)
    return rows + [("warning", f"{w.message} [{w.code}]") for w in _by_gravity(summary)]


def _by_gravity(summary: ScanSummary) -> list[ScanWarning]:
    """Warnings, those that may change every number first; what stands at the head already is left out."""
    told = [w for w in summary.warnings if w.code != "outside_validity" or not summary.doubt]
    return sorted(told, key=lambda w: _GRAVE.index(w.code) if w.code in _GRAVE else len(_GRAVE))


def _describe_validity(summary: ScanSummary) -> list[tuple[str, str]]:
    """A line for each reason why the scan lies outside what was validated."""
    if summary.validity is None or not summary.doubt:
        return []
    reasons = summary.validity.reasons
    consequence = "marks are listed for a reader; no count, volume, pattern or response can be told from them"
    return [*(("" if place else "outside validity", r) for place, r in enumerate(reasons)), ("", consequence)]


def _describe_corrected(
    corrected: CorrectedSummary, completeness: CompletenessSummary
) -> list[tuple[str, str]]:
    """What is there, not only what was found, and what size the scan shows at all."""
    count, volume = corrected.count_ci95, corrected.total_volume_mm3_ci95
    if corrected.count is None or corrected.total_volume_mm3 is None or count is None or volume is None:
        return [("corrected", corrected.reason_of("count"))]
    half, most = completeness.diameter_50_mm, completeness.diameter_90_mm
    least = f"{_text(corrected.min_diameter_mm, '.2f')} mm"
    number = f"{corrected.count:,.0f} ({count[0]:,.0f} to {count[1]:,.0f}) of {least} or more"
    size = f"{corrected.total_volume_mm3:,.0f} ({volume[0]:,.0f} to {volume[1]:,.0f}) mm3"
    shares = _say_share("half", half, completeness.reason_of("diameter_50_mm"))
    shares += "; " + _say_share("nine tenths", most, completeness.reason_of("diameter_90_mm"))
    why = [("", corrected.explanation)] if corrected.explanation else []
    return [("corrected", f"{number}, {size}"), *why, ("completeness", shares)]


def _say_share(share: str, diameter_mm: float | None, reason: str) -> str:
    """From which diameter on a share of the nodules is found, or why that is not known."""
    if diameter_mm is None:
        return f"{share}: not known" + (f" ({reason})" if reason else "")
    return f"{share} are found from {diameter_mm:.2f} mm"


def _describe_answer(summary: ScanSummary) -> list[tuple[str, str]]:
    """What a reader wants to know in the end: false marks, pattern, definitions, share of the lung."""
    rows = []
    marks = summary.corrected.false_marks
    if marks is not None and marks.expected is not None:
        limits = marks.expected_ci95
        span = f" ({limits[0]:,.0f} to {limits[1]:,.0f})" if limits else ""
        rows.append(("false marks", f"{marks.expected:,.0f}{span} expected among those found"))
    extent = summary.extent.lung_fraction_involved
    if extent is not None:
        rows.append(("share of lung", f"{extent:.0%} of the lungs lie near a nodule"))
    if summary.pattern.label is not None:
        rows.append(("pattern", _describe_pattern(summary)))
    if summary.definitions:
        met = [one.title for one in summary.definitions if one.verdict == "met"]
        n_open = sum(one.verdict == "not_assessable" for one in summary.definitions)
        names = f" ({', '.join(met)})" if met else ""
        total = len(summary.definitions)
        rows.append(("miliary", f"{len(met)} of {total} definitions met{names}, {n_open} cannot be told"))
    return rows


def _describe_pattern(summary: ScanSummary) -> str:
    pattern = summary.pattern
    label = pattern.label or ""
    chance = pattern.probabilities.get(pattern.label) if pattern.label else None
    text = label + (f", probability {chance:.0%} among the patterns known" if chance is not None else "")
    test = pattern.randomness
    if test.p_value is not None:
        verdict = "rejected" if test.is_rejected else "not rejected"
        text += f"; placement wholly at random is {verdict} (p = {test.p_value:.2g})"
    return text


def _describe_lesions(lesions: Sequence[LesionSummary]) -> list[tuple[str, str]]:
    """A line for each large lesion."""
    rows = []
    for lesion in lesions:
        words = [f"{_text(lesion.long_axis_mm, '.1f')} x {_text(lesion.short_axis_mm, '.1f')} mm"]
        if lesion.is_cavitary:
            wall = (lesion.wall_thickness_mm, lesion.wall_thickness_min_mm, lesion.wall_thickness_max_mm)
            words.append("cavitary, wall {} mm ({} to {})".format(*(_text(mm, ".1f") for mm in wall)))
        if lesion.attenuation is not None and lesion.attenuation.value != "solid":
            kind = lesion.attenuation.value.replace("_", "-")
            words.append(f"{kind}, solid part {_text(lesion.solid_axis_mm, '.1f')} mm")
        words.append(f"{lesion.lobe or f'{lesion.side} lung'}, {lesion.zone} zone")
        rows.append((f"lesion {lesion.id}", ", ".join(words)))
    return rows


def _describe_corrections(applied: CorrectionSummary | None) -> list[tuple[str, str]]:
    """A line on what a reader changed, where a reader was asked."""
    if applied is None:
        return []
    said = f"rejected {applied.n_rejected}, added {applied.n_added}"
    return [("by a reader", f"{said}, lesions corrected {applied.n_lesions}")]


def _text(value: float | None, style: str) -> str:
    return "not known" if value is None else format(value, style)


def _describe_sizes(sizes: DiameterSummary) -> str:
    if not sizes.n:
        return "no nodules"
    low, high = _text(sizes.p10, ".2f"), _text(sizes.p90, ".2f")
    return f"median {_text(sizes.median, '.2f')} mm, 10th to 90th percentile {low} to {high} mm"
