"""Several tumor foci of one lung cancer: pneumonic type, lepidic foci, several primaries.

How foci are read is never guessed: a case says so in `staging.pattern`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.clinical.tnm.tumor_size import size_row, solid_part_rows
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Staging
from miliary.model.vocabulary import Lobe, TumorPattern

_SAME, _OTHER, _FAR = "same_lobe", "other_ipsilateral_lobe", "contralateral_lung"


def find_pneumonic(staging: Staging, *, book: RuleBook) -> tuple[frozenset[str], ...]:
    """Rows that a pneumonic type fulfills: one set for each lobe that may be the primary's.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of frozenset of str
        Ids of rows; empty where the case is not of that type or names no lobes.
    """
    if staging.pattern is not TumorPattern.PNEUMONIC or not staging.pneumonic_lobes:
        return ()
    by_place = {row["place"]: row.id for row in book.rows("pneumonic")}
    ways = (_locate_lobes(home, staging.pneumonic_lobes) for home in _possible_homes(staging))
    return tuple(dict.fromkeys(frozenset(by_place[place] for place in places) for places in ways))


def _possible_homes(staging: Staging) -> tuple[Lobe, ...]:
    """Lobes in which the primary may lie: its own, else those consolidated on its side, else all of them."""
    if staging.lobe is not None:
        return (staging.lobe,)
    lobes = staging.pneumonic_lobes
    return tuple(lobe for lobe in lobes if staging.side in (None, lobe.side)) or lobes


def _locate_lobes(home: Lobe, lobes: tuple[Lobe, ...]) -> frozenset[str]:
    return frozenset(_SAME if lobe is home else _OTHER if lobe.side is home.side else _FAR for lobe in lobes)


def pneumonic_t_ways(staging: Staging, *, book: RuleBook) -> list[set[str | None]]:
    """What a pneumonic type does to T.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    list of set
        Empty, or one set of categories of which one holds; None in it stands for no effect.
    """
    found = find_pneumonic(staging, book=book)
    if not found:
        return []
    highest = {
        max((book.row(name)["category"] for name in way if book.row(name)["category"] != "M1a"), default=None)
        for way in found
    }
    return [highest]


def pneumonic_rows(staging: Staging, *, book: RuleBook, axis: str) -> tuple[RuleRow, ...]:
    """Rows on the pneumonic type that hold whichever lobe the primary lies in.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.
    axis : str
        T or M.

    Returns
    -------
    tuple of RuleRow
        At most one, that of the highest category.
    """
    found = find_pneumonic(staging, book=book)
    sure = frozenset.intersection(*found) if found else frozenset()
    rows = [row for row in book.rows("pneumonic") if row.id in sure and row["category"].startswith(axis)]
    return tuple(sorted(rows, key=lambda row: row["category"])[-1:])


def lepidic_sizes_mm(staging: Staging) -> list[float]:
    """Sizes of the further foci of a multifocal lepidic tumor.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    list of float
        [mm]; of a part-solid focus the size of its solid part. Empty for tumors of another type.
    """
    if staging.pattern is not TumorPattern.MULTIFOCAL_LEPIDIC:
        return []
    sizes = (t.size_mm if t.solid_mm is None else t.solid_mm for t in staging.other_tumors)
    return [size for size in sizes if size is not None]


def assess_several(case: Case, *, book: RuleBook, t: str | None) -> Iterator[Assessment]:
    """How several tumor foci are staged in one edition.

    Parameters
    ----------
    case : Case
    book : RuleBook
        Of the TNM edition.
    t : str or None
        The T category of the primary; None where it is not known.

    Yields
    ------
    Assessment
        At most one: each primary on its own, or the highest T with the number of foci.
    """
    staging = case.staging
    row = next((r for r in book.rows("several") if r["pattern"] == staging.pattern), None)
    if row is None:
        return
    inputs = (
        Input("staging.pattern", str(staging.pattern)),
        *(Input(f"staging.other_tumors[{t.id}].size_mm", t.size_mm) for t in staging.other_tumors),
    )
    if staging.pattern is TumorPattern.SYNCHRONOUS_PRIMARIES:
        statement, values, reason = _describe_primaries(staging, book)
    else:
        statement, values, reason = _describe_lepidic_foci(staging, t)
    yield Assessment(
        rule_id="tnm.several_tumors",
        title=f"Several tumors, {book.edition}th edition",
        verdict=Verdict.NOT_ASSESSABLE if reason else Verdict.MET,
        severity=Severity.QUERY if reason else Severity.INFO,
        statement=statement,
        reason=reason,
        values=values,
        inputs=inputs,
        origin=case.origin,
        **book.credit(row),
    )


def _describe_primaries(staging: Staging, book: RuleBook) -> tuple[str, tuple[str, ...], str]:
    """T of every further primary by its size; nodes and metastases belong to none of them by themselves."""
    texts = []
    for tumor in staging.other_tumors:
        size = tumor.size_mm if tumor.solid_mm is None else tumor.solid_mm
        where = f"{tumor.id}" + (f" ({tumor.lobe})" if tumor.lobe is not None else "")
        if size is None:
            texts.append(f"{where}: T not told, no size is stated")
            continue
        rows: tuple[RuleRow, ...] = (size_row(size, book=book),)
        if tumor.solid_mm is not None:
            rows = solid_part_rows(tumor.solid_mm, tumor.size_mm, book=book)
        names = " or ".join(dict.fromkeys(row["category"] for row in rows))
        texts.append(f"{where}: {names} by size ({size:g} mm)")
    if not texts:
        return (
            "Several primaries are stated, of which only one is described; each is staged on its own.",
            (),
            "the other primaries are not described",
        )
    listed = "; ".join(texts)
    statement = (
        f"Several primaries, each staged on its own; beside the one staged above: {listed}. To which of them "
        "nodes and metastases belong, the sizes do not tell."
    )
    return statement, tuple(texts), ""


def _describe_lepidic_foci(staging: Staging, t: str | None) -> tuple[str, tuple[str, ...], str]:
    """The highest T with the number of foci, or m where it is not known."""
    number = len(staging.other_tumors) + 1 if staging.other_tumors else None
    if t is None:
        return ("Multifocal lepidic tumor: its T cannot be told.", (), "no size of any focus is stated")
    words = (f"{t}({number})", f"{t}(m)") if number is not None else (f"{t}(m)",)
    return f"Multifocal lepidic tumor: the highest T counts, written {' or '.join(words)}.", words, ""


def without_lepidic_nodules(staging: Staging) -> Staging:
    """The findings without the foci of a multifocal lepidic tumor, which are no separate tumor nodules.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    Staging
        Unchanged for tumors of another type.
    """
    if staging.pattern is not TumorPattern.MULTIFOCAL_LEPIDIC:
        return staging
    return replace(staging, separate_nodules=(), nodules_assessed=True)
