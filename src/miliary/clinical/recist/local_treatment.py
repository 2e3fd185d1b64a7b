"""Operations and radiation of followed lesions: a change behind them is no response to a drug."""

from __future__ import annotations

from collections.abc import Iterator

from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.clinical.tnm.site_words import canonical_site
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, RecordedLesion, Treatment, days_between, path_of

_LOCAL = {"surgery": "operated on", "radiation": "irradiated"}


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Followed lesions whose organ was operated on or irradiated after they were first measured.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the rules ``recist``; the default one otherwise.

    Returns
    -------
    tuple of Assessment
        One query per lesion and treatment; empty where no local treatment names a site.
    """
    book = rules or find_rules("recist")
    local = [item for item in case.treatments if item.kind in _LOCAL and item.site]
    return tuple(
        found for lesion in case.lesions for item in local for found in _compare(lesion, item, case, book)
    )


def _compare(lesion: RecordedLesion, item: Treatment, case: Case, book: RuleBook) -> Iterator[Assessment]:
    if not lesion.organ or _organ_of(lesion.organ) != _organ_of(item.site):
        return
    times = {study.id: study.when for study in case.studies}
    days = [days_between(times[m.study], item.start) for m in lesion.measurements if m.study in times]
    known = [day for day in days if day is not None]
    if len(known) < 2 or not any(day >= 0 for day in known) or not any(day <= 0 for day in known):
        return  # not between two measurements
    yield Assessment(
        f"recist.local_treatment.{lesion.id}.{item.id}",
        "Local treatment of a followed lesion",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"The {item.site} was {_LOCAL[item.kind]} ({item.name}, {item.start}) between two measurements of "
        f"{lesion.id} ({lesion.organ}): if this lesion was treated, its change is no response to a drug.",
        "whether this lesion was treated is not stated",
        inputs=(
            Input(path_of("treatments", item.id, "site"), item.site),
            Input(path_of("treatments", item.id, "start"), str(item.start)),
            Input(path_of("lesions", lesion.id, "organ"), lesion.organ),
        ),
        origin=item.origin,
        **book.credit("max_targets"),
    )


def _organ_of(words: str) -> str:
    """The organ of a site, without lobe or place."""
    return canonical_site(words).partition("_")[0]
