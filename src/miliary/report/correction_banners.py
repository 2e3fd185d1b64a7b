"""What readers changed: which numbers hold it, which do not yet, and the command that brings it in."""

from __future__ import annotations

from collections.abc import Iterator

from miliary.model.saved.scan_summary import CorrectionSummary
from miliary.model.study import PendingCorrections, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.measures import find_measured


def list_corrections(study: StudyResult, catalog: Catalog) -> tuple[str, ...]:
    """List what a page has to say of readers' corrections before its first number.

    Origin and authorship are two things: a simulated scan that a reader corrected stays simulated, so its
    numbers do not say by themselves that a hand is in them.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    tuple of str
        One sentence for each scan that was measured with corrections, then one for each member whose numbers
        lack some, with the command that brings them in.
    """
    return (*_list_applied(study, catalog), *(_say_pending(one, study, catalog) for one in study.pending))


def _list_applied(study: StudyResult, catalog: Catalog) -> Iterator[str]:
    for scan, summary in find_measured(study):
        if summary.corrections is not None and _count(summary.corrections):
            yield catalog(
                "page.corrected",
                scan=catalog.word(scan.label),
                rejected=summary.corrections.n_rejected or 0,
                added=summary.corrections.n_added or 0,
                lesions=summary.corrections.n_lesions or 0,
                unplaced=len(summary.corrections.not_placed),
            )


def _count(applied: CorrectionSummary) -> int:
    found = (applied.n_rejected, applied.n_added, applied.n_lesions, len(applied.not_placed))
    return sum(n or 0 for n in found)


def _say_pending(pending: PendingCorrections, study: StudyResult, catalog: Catalog) -> str:
    return catalog(
        "page.corrections",
        n=pending.n,
        scan=catalog.word(pending.scan),
        member=pending.path,
        command=_find_command(pending, study),
    )


def _find_command(pending: PendingCorrections, study: StudyResult) -> str:
    """The command that makes the member anew: measure a scan, or compare measured scans."""
    paths = {scan.label: scan.path for scan in study.scans}
    for compared in study.comparisons:
        if compared.path == pending.path:
            both = " ".join(f"STUDY/{paths.get(x, x)}" for x in (compared.baseline, compared.followup))
            return f"miliary compare {both} --out STUDY/{compared.path}"
    where = "RESULT" if pending.path == "." else f"STUDY/{pending.path}"
    return f"miliary ct {where} --apply-corrections"
