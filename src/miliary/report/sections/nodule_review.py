"""Nodules for a reader of the follow-up: new, grown, shrunk and no longer seen, each with both scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from miliary.model.nodules import Fate
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.study import Picture, SavedComparison, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.measures import find_compared, name_pair
from miliary.report.pictures import FOLLOWED_KIND, PagePicture, PictureRenderer, find_entry, find_pictures
from miliary.report.section import Section
from miliary.report.sources import Sources

_ORDER = (Fate.NEW, Fate.GROWN, Fate.SHRUNK, Fate.NO_LONGER_SEEN)
# What a reader asks for first stands open.
_OPEN = frozenset({Fate.NEW, Fate.GROWN})


@dataclass(frozen=True)
class ReviewedNodule:
    """One nodule: its close-up, its number, and lines on where it lies and how large it is."""

    picture: PagePicture
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class FateGroup:
    """All nodules of one fate: how many there are, and those that have a picture."""

    fate: str
    count: str
    shown: str
    nodules: tuple[ReviewedNodule, ...]
    is_open: bool


@dataclass(frozen=True)
class PairReview:
    """One comparison: what it could have shown at least, and the nodules by their fate."""

    title: str
    limits: tuple[str, ...]
    groups: tuple[FateGroup, ...]
    unmatched: str
    has_pictures: bool


@dataclass(frozen=True)
class ReviewContent:
    """Every comparison of the study."""

    pairs: tuple[PairReview, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[ReviewContent]:
    """The section on single nodules of the follow-up."""
    renderer = PictureRenderer(study, catalog)
    pairs = tuple(
        _review(compared, summary, renderer) for compared, summary in find_compared(study) if summary.tracks
    )
    return Section("review", catalog("section.review"), "sections/nodule_review.html", ReviewContent(pairs))


def _review(compared: SavedComparison, summary: ComparisonSummary, renderer: PictureRenderer) -> PairReview:
    pictures = find_pictures(compared.pictures, (FOLLOWED_KIND,))
    groups = tuple(_make_groups(compared, summary, pictures, renderer))
    return PairReview(
        title=name_pair(compared, renderer.t),
        limits=tuple(_say_limits(summary, renderer.t)),
        groups=groups,
        unmatched=_say_unmatched(summary, renderer.t),
        has_pictures=bool(pictures),
    )


def _make_groups(
    compared: SavedComparison,
    summary: ComparisonSummary,
    pictures: Iterable[Picture],
    renderer: PictureRenderer,
) -> Iterator[FateGroup]:
    by_fate: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_fate.setdefault(str(find_entry(picture).facts.get("fate", "")), []).append(picture)
    for fate in _ORDER:
        if fate not in summary.tracks:
            continue
        shown = by_fate.get(fate.value, [])
        is_part = len(shown) < summary.tracks[fate]
        yield FateGroup(
            fate=renderer.t.word(fate),
            # No link: it would stand within what folds and unfolds; the table of the gate has it.
            count=f"{summary.tracks[fate]:,}",
            shown=renderer.t("review.largest", n=len(shown)) if shown and is_part else "",
            nodules=tuple(_show_nodule(one, compared, renderer) for one in shown),
            is_open=fate in _OPEN,
        )


def _show_nodule(picture: Picture, compared: SavedComparison, renderer: PictureRenderer) -> ReviewedNodule:
    t, facts = renderer.t, find_entry(picture).facts
    label = t("review.pair", a=t.word(compared.baseline), b=t.word(compared.followup))
    where = " ".join(t.word(str(facts[name])) for name in ("side", "zone") if facts.get(name))
    return ReviewedNodule(
        picture=renderer.render(picture, compared, label),
        title=t("review.nodule", n=facts.get("track_id", "?")),
        lines=tuple(filter(None, (where, _say_place(facts, t), *_say_sizes(facts, t)))),
    )


def _say_place(facts: Any, catalog: Catalog) -> str:
    point = facts.get("position_lps_mm")
    if not isinstance(point, list | tuple) or len(point) != 3:
        return ""
    x, y, z = (f"{value:.0f}" if isinstance(value, int | float) else "?" for value in point)
    return catalog("review.place", x=x, y=y, z=z)


def _say_sizes(facts: Any, catalog: Catalog) -> Iterator[str]:
    """Volumes before and after, the change with its error, and how sure the fate is."""
    before, after = (_format(facts.get(f"{scan}_volume_mm3")) for scan in ("baseline", "followup"))
    yield catalog("review.volume", before=before, after=after)
    change, error = facts.get("volume_change_fraction"), facts.get("volume_change_fraction_err")
    if isinstance(change, int | float) and isinstance(error, int | float):
        yield catalog("review.change", change=f"{100 * change:+.0f}", error=f"{196 * error:.0f}")
    probability = facts.get("probability")
    if isinstance(probability, int | float):
        yield catalog("review.probability", p=f"{100 * probability:.0f}")


def _format(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else "\u2013"


def _say_limits(summary: ComparisonSummary, catalog: Catalog) -> Iterator[str]:
    """In words, what change of one nodule this pair could have shown at least."""
    for change in summary.smallest_changes:
        size = f"{change.diameter_mm:g}"
        shrinkage = "?" if change.shrinkage is None else f"{100 * change.shrinkage:.0f}"
        if change.growth is None:
            yield catalog("review.no_growth", size=size, shrinkage=shrinkage)
        else:
            yield catalog(
                "review.limit",
                size=size,
                growth=f"{100 * change.growth:.0f}",
                larger=f"{change.diameter_mm * (1.0 + change.growth) ** (1 / 3):.1f}",
                shrinkage=shrinkage,
            )


def _say_unmatched(summary: ComparisonSummary, catalog: Catalog) -> str:
    """How many nodules could not be told from their neighbors and have no fate; empty where none."""
    seen = [summary.tracks.get(fate, 0) for fate in (Fate.KEPT, Fate.SHRUNK, Fate.GROWN)]
    before = (summary.baseline.nodule_count or 0) - sum(seen) - summary.tracks.get(Fate.NO_LONGER_SEEN, 0)
    after = (summary.followup.nodule_count or 0) - sum(seen) - summary.tracks.get(Fate.NEW, 0)
    if before <= 0 and after <= 0:
        return ""
    return catalog("review.unmatched", before=max(before, 0), after=max(after, 0))
