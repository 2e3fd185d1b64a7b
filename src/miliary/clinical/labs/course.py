"""Measured burden and laboratory values on one axis of time.

Pairs are shown as they are. A correlation is computed from the fourth pair on and never called a cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from miliary.clinical.labs.lab_ranges import (
    convert_lab,
    find_analyte,
    find_treatment_start,
    load_labs,
)
from miliary.clinical.rulebook import RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, LabResult, Study, When, days_between, path_of
from miliary.model.vocabulary import Origin

if TYPE_CHECKING:
    from miliary.model.saved.scan_summary import ScanSummary


class Pair(NamedTuple):
    """A measured scan and the nearest value of one analyte; `day` counts from treatment, else first scan."""

    day: int
    study: Study
    volume_mm3: float
    lab: LabResult
    value: float


def assess_course(case: Case, scans: Mapping[str, ScanSummary]) -> tuple[Assessment, ...]:
    """Total volume of nodules beside each tumor marker and amylase, scan by scan.

    Parameters
    ----------
    case : Case
    scans : mapping of str to ScanSummary
        What was measured on each study that was, by the id of the study.

    Returns
    -------
    tuple of Assessment
        One ``course.burden`` per analyte that has a value near at least one scan.
    """
    analytes = dict.fromkeys(lab.analyte for lab in case.labs)
    rows = [row for name in analytes if (row := find_analyte(name)) is not None and _is_followed(row)]
    return tuple(found for row in rows for found in _assess_analyte(case, scans, row))


def _is_followed(row: RuleRow) -> bool:
    return bool(row.get("is_marker", False)) or row.id.startswith("amylase")


def _assess_analyte(case: Case, scans: Mapping[str, ScanSummary], row: RuleRow) -> Iterator[Assessment]:
    pairs = find_pairs(case, scans, row)
    if not pairs:
        return
    book = load_labs()
    least = int(book.row("correlation_min_points")["value"])
    shown = tuple(
        f"day {p.day}: {p.volume_mm3:.4g} mm3, {row['name']} {p.value:g} {row['unit']}" for p in pairs
    )
    n_pairs = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''}"
    rank = correlate_ranks([(p.volume_mm3, p.value) for p in pairs]) if len(pairs) >= least else None
    tail = f"no correlation is claimed from {n_pairs}" if rank is None else f"rank correlation {rank:+.2f}"
    tail += "" if rank is None else f" over {n_pairs}, which shows no cause"
    reason = ""
    if rank is None:
        reason = f"{n_pairs}; {least} are needed" if len(pairs) < least else "one of the two never changes"
    yield Assessment(
        rule_id="course.burden",
        title="Burden and a laboratory value",
        verdict=Verdict.NOT_ASSESSABLE if rank is None else Verdict.MET,
        severity=Severity.INFO,
        statement=f"Volume of nodules and {row['name']}: {'; '.join(shown)}; {tail}.",
        reason=reason,
        value=None if rank is None else round(rank, 4),
        values=shown,
        inputs=tuple(
            given
            for p in pairs
            for given in (
                Input(path_of("studies", p.study.id, "when"), str(p.study.when)),
                Input(path_of("labs", p.lab.id, "value"), p.lab.value),
            )
        ),
        origin=Origin.SIMULATED if _is_simulated(pairs, scans) else Origin.MEASURED,
        **book.credit(row, "correlation_min_points", "pair_window_days"),
    )


def _is_simulated(pairs: Sequence[Pair], scans: Mapping[str, ScanSummary]) -> bool:
    origins = {scans[p.study.id].origin for p in pairs} | {p.lab.origin for p in pairs}
    return Origin.SIMULATED in origins


def find_pairs(case: Case, scans: Mapping[str, ScanSummary], row: RuleRow) -> tuple[Pair, ...]:
    """For each measured scan with a known time the nearest value of an analyte, in order of time.

    A value beyond a limit (``<``, ``>``) or in a unit that cannot be converted stands beside nothing.
    """
    window = load_labs().row("pair_window_days")["value"]
    zero = find_treatment_start(case) or next(
        (study.when for study in case.studies if study.id in scans and study.when.is_known), When()
    )
    found: list[Pair] = []
    for study in case.studies:
        volume = _volume(scans.get(study.id))
        day = days_between(zero, study.when)
        near = [
            (abs(days), lab, value)
            for lab in case.labs
            if lab.analyte == row.id
            and not lab.comparator
            and (value := convert_lab(lab, row["unit"])) is not None
            and (days := days_between(study.when, lab.when)) is not None
            and abs(days) <= window
        ]
        if volume is not None and day is not None and near:
            _, lab, value = min(near, key=lambda item: item[0])
            found.append(Pair(day, study, volume, lab, value))
    return tuple(sorted(found, key=lambda pair: pair.day))


def _volume(scan: ScanSummary | None) -> float | None:
    return None if scan is None or scan.doubt else scan.nodules.total_volume_mm3


def correlate_ranks(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where one side never changes."""
    left, right = (_rank([pair[side] for pair in pairs]) for side in (0, 1))
    middle = (len(pairs) + 1) / 2
    across = sum((a - middle) * (b - middle) for a, b in zip(left, right, strict=True))
    spread = [sum((rank - middle) ** 2 for rank in ranks) for ranks in (left, right)]
    scale = float((spread[0] * spread[1]) ** 0.5)
    return across / scale if scale > 0 else None


def _rank(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]
