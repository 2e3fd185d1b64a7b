"""Two scans compared, as a table on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miliary.model.comparison import Comparison


def show_comparison(found: Comparison) -> None:
    """Print two scans beside each other as a table that a person can read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in _rows(found):
        table.add_row(name, text)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print()
    console.print(table)


def _rows(found: Comparison) -> list[tuple[str, str]]:
    from miliary.model.nodules import Fate

    total, lesion = found.total, found.lesion
    simulated = "   (simulated, no patient)" if found.is_simulated else ""
    fates = ", ".join(f"{found.tracks.count(fate):,} {fate.words}" for fate in Fate)
    apart = "" if found.days_between is None else f", {found.days_between} days apart"
    rows = [
        (
            f"{found.baseline.name} -> {found.followup.name}",
            f"{found.comparability.verdict.value}{apart}{simulated}",
        ),
        ("because", "; ".join(found.comparability.reasons)),
        (
            "volume ratio",
            f"{_interval(total.volume_ratio)}   (nodules of {found.min_diameter_mm:.2g} mm and more)",
        ),
        ("count ratio", f"{_interval(total.count_ratio)}   ({found.count_diameter_mm:.2g} mm and more)"),
        ("category", f"{found.category.value}: {found.category_reason} (exploratory, by volume, not RECIST)"),
        ("nodules", f"{total.baseline.n_reported:,} -> {total.followup.n_reported:,} reported"),
        ("tracks", found.doubt or fates),
        *_describe_unseen(found),
        ("lesion", f"{_mm(lesion.baseline_mm)} -> {_mm(lesion.followup_mm)}"),
        (
            "RECIST 1.1, targets",
            found.recist.target_response or found.recist.reason_of("target_response"),
        ),
    ]
    rows += [
        ("new, for a reader", f"{o.kind.value.replace('_', ' ')} of {o.volume_ml:.0f} mL, {o.side} {o.zone}")
        for o in found.opacities
    ]
    return rows + [("warning", f"{w.message} [{w.code}]") for w in found.warnings]


def _describe_unseen(found: Comparison) -> list[tuple[str, str]]:
    """A line on what may be left of the nodules that are no longer seen."""
    unseen = found.unseen
    if unseen is None or not unseen.n:
        return []
    if unseen.remain is None:
        return [("no longer seen", f"how many of {unseen.n:,} may remain is not told: {unseen.reason}")]
    text = (
        f"of {unseen.n:,}, an estimated {unseen.remain:,.0f} ({unseen.low:,.0f} to {unseen.high:,.0f}) may "
    )
    return [("no longer seen", text + "remain below what the follow-up shows")]


def _interval(ratio: Any) -> str:
    if ratio.value is None:
        return f"not told: {ratio.reason}"
    return f"{ratio.value:.3f}, 95 % interval {ratio.low:.3f} to {ratio.high:.3f}"


def _mm(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} mm"
