"""Lung TNM: T, N, M and stage group from findings, in the edition asked for.

What is not stated stays open: each axis has the categories that the stated findings allow (`stated`) and
those that nothing excludes (`values`). A category is never read out of silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules, list_editions, load_rules
from miliary.clinical.tnm.category import T_ORDER, TnmCategory, sort_categories
from miliary.clinical.tnm.contradictions import find_contradictions
from miliary.clinical.tnm.m_category import derive_m
from miliary.clinical.tnm.n_category import derive_n
from miliary.clinical.tnm.read_sites import read_sites
from miliary.clinical.tnm.separate_nodules import (
    list_metastatic_nodules,
    list_undecided_nodules,
    nodule_places,
)
from miliary.clinical.tnm.several_tumors import (
    assess_several,
    lepidic_sizes_mm,
    pneumonic_rows,
    pneumonic_t_ways,
    without_lepidic_nodules,
)
from miliary.clinical.tnm.tumor_size import size_row, solid_part_rows
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Staging
from miliary.model.vocabulary import Lobe, Presence

# --- T ----------------------------------------------------------------------------------------------


def derive_t(staging: Staging, *, book: RuleBook) -> TnmCategory:
    """T from the size of the primary, what it involves, and nodules of the same lung.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    TnmCategory
    """
    special = _derive_special_t(staging, book)
    if special is not None:
        return special
    staging = read_sites(without_lepidic_nodules(staging)).staging
    sizes, used, because, inputs = _list_size_categories(staging, book)
    features, feature_rows, feature_because, feature_inputs = _list_structure_categories(staging, book)
    ways: list[set[str | None]] = [{feature} for feature in features]
    open_ways: list[set[str | None]] = []
    unknown = [_name_missing_size(staging)] if len(sizes) > 1 else []
    _add_nodule_ways(staging, book, ways, open_ways, unknown)
    ways += pneumonic_t_ways(staging, book=book)
    if not staging.invasion_assessed and (left := _unknown_structures(staging, book)):
        open_ways.append({None, *left})
        unknown.append("what the primary involves")
    if not staging.nodules_assessed:
        open_ways.append({None, "T3", "T4"})
        unknown.append("whether there are tumor nodules in other places of this lung")
    known = staging.size_mm is not None or staging.solid_mm is not None or bool(ways)
    stated = _combine(sizes, ways) if known else set()
    values = _combine(sizes, [*ways, *open_ways])
    nodule_rows, nodule_because, nodule_inputs = _describe_nodules(staging, book)
    return TnmCategory(
        "T",
        sort_categories(stated, T_ORDER),
        sort_categories(values, T_ORDER),
        tuple(because + feature_because + nodule_because),
        tuple(unknown),
        tuple(used + feature_rows + nodule_rows),
        tuple(inputs + feature_inputs + nodule_inputs),
    )


def _name_missing_size(staging: Staging) -> str:
    """The size that T waits for: none is stated, or the one stated contradicts the solid part."""
    size, solid = staging.size_mm, staging.solid_mm
    if size is not None and solid is not None and solid > size:
        return "a size of the primary that its solid part does not exceed"
    return "the size of the primary"


def _derive_special_t(staging: Staging, book: RuleBook) -> TnmCategory | None:
    """T that does not come from a size."""
    mi = book.row("t_minimally_invasive")
    size, invasive = staging.size_mm, staging.invasive_mm
    small = (size is None or size <= mi["max_size_mm"]) and (
        invasive is None or invasive <= mi["max_invasive_mm"]
    )
    for name, is_so, row_id in (
        ("positive_cytology_only", staging.positive_cytology_only is Presence.PRESENT, "t_cytology_only"),
        ("primary", staging.primary is Presence.ABSENT, "t_absent"),
        ("in_situ", staging.in_situ is Presence.PRESENT, "t_in_situ"),
        (
            "is_minimally_invasive",
            staging.is_minimally_invasive is Presence.PRESENT and small,
            "t_minimally_invasive",
        ),
        (
            "is_superficial_spreading",
            staging.is_superficial_spreading is Presence.PRESENT,
            "t_superficial_spreading",
        ),
    ):
        if is_so:
            row = book.row(row_id)
            given = Input(f"staging.{name}", getattr(staging, name).value)
            only = (row["category"],)
            return TnmCategory("T", only, only, (row["means"],), rows=(row_id,), inputs=(given,))
    return None


def _list_size_categories(
    staging: Staging, book: RuleBook
) -> tuple[set[str], list[str], list[str], list[Input]]:
    """Categories that the size allows; of a part-solid tumor the solid part is measured."""
    name = "solid_mm" if staging.solid_mm is not None else "size_mm"
    size = staging.solid_mm if staging.solid_mm is not None else staging.size_mm
    if size is None:
        return {row["category"] for row in book.rows("sizes")}, [], [], []
    largest = max([size, *lepidic_sizes_mm(staging)])
    inputs = [Input(f"staging.{name}", size)]
    if largest > size:
        inputs += [Input(f"staging.other_tumors[{t.id}].size_mm", t.size_mm) for t in staging.other_tumors]
    if largest > size or staging.solid_mm is None:
        row = size_row(largest, book=book)
        return {row["category"]}, [row.id], [f"{row['category']} by size ({largest:g} mm)"], inputs
    rows = solid_part_rows(staging.solid_mm, staging.size_mm, book=book)
    names = " or ".join(dict.fromkeys(row["category"] for row in rows))
    text = f"{names} by size ({largest:g} mm)"
    if rows[0].table == "subsolid" and staging.size_mm is not None:
        text = f"{names} by {rows[0]['means']} ({largest:g} mm solid of {staging.size_mm:g} mm)"
        inputs.append(Input("staging.size_mm", staging.size_mm))
    return {row["category"] for row in rows}, [row.id for row in rows], [text], inputs


def _list_structure_categories(
    staging: Staging, book: RuleBook
) -> tuple[list[str], list[str], list[str], list[Input]]:
    found = [
        row for row in book.rows("structures") if staging.invades.get(row["structure"]) is Presence.PRESENT
    ]
    return (
        [row["category"] for row in found],
        [row.id for row in found],
        [f"{row['category']} by {row['structure'].replace('_', ' ')}" for row in found],
        [Input(f"staging.invades.{row['structure']}", "present") for row in found],
    )


def _unknown_structures(staging: Staging, book: RuleBook) -> set[str]:
    return {
        row["category"]
        for row in book.rows("structures")
        if not staging.invades.get(row["structure"], Presence.NOT_STATED).is_known
    }


def _add_nodule_ways(
    staging: Staging,
    book: RuleBook,
    ways: list[set[str | None]],
    open_ways: list[set[str | None]],
    unknown: list[str],
) -> None:
    """What nodules do to T, stated ones and undecided ones apart."""
    by_place = {row["place"]: row["category"] for row in book.rows("nodules")}
    for nodules in list_metastatic_nodules(staging):
        found = {by_place[place] for place in nodule_places(nodules, staging)}
        t_only: set[str | None] = {c if c.startswith("T") else None for c in found}
        if t_only != {None}:
            ways.append(t_only)
    for nodules in list_undecided_nodules(staging):
        found = {by_place[place] for place in nodule_places(nodules, staging)}
        open_ways.append({None, *(c for c in found if c.startswith("T"))})
    if list_undecided_nodules(staging):
        unknown.append("whether the separate nodules are metastases")


def _describe_nodules(staging: Staging, book: RuleBook) -> tuple[list[str], list[str], list[Input]]:
    rows, words, inputs = [], [], []
    for nodules in list_metastatic_nodules(staging):
        places = nodule_places(nodules, staging) - {"contralateral_lung"}
        for row in book.rows("nodules"):
            if places == {row["place"]}:
                rows.append(row.id)
                words.append(f"{row['category']} by nodules {row['means']}")
                path = f"staging.separate_nodules[{nodules.id}]"
                inputs.append(Input(path, str(nodules.lobe or nodules.side)))
    for row in pneumonic_rows(staging, book=book, axis="T"):
        rows.append(row.id)
        words.append(f"{row['category']} by {row['means']}")
        inputs.append(Input("staging.pneumonic_lobes", ", ".join(staging.pneumonic_lobes)))
    return rows, list(dict.fromkeys(words)), inputs


def _combine(sizes: set[str], ways: Iterable[set[str | None]]) -> set[str]:
    """Highest category over size and features, for every way things may be."""
    found = set(sizes)
    for way in ways:
        found = {_raise_t(base, feature) for base in found for feature in way}
    return found


def _raise_t(base: str, feature: str | None) -> str:
    if feature is None:
        return base
    feature = "T2a" if feature == "T2" else feature
    return max(base, feature, key=T_ORDER.index)


# --- group ------------------------------------------------------------------------------------------


def stage_group(t: str, n: str, m: str, *, book: RuleBook) -> str | None:
    """The published stage group of one combination.

    Parameters
    ----------
    t, n, m : str
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    str or None
        None where the edition publishes none.
    """
    row = _group_row(t, n, m, book)
    return None if row is None else row["stage"]


def _group_row(t: str, n: str, m: str, book: RuleBook) -> RuleRow | None:
    if m != "M0":
        return next((row for row in book.rows("m_groups") if row["m"] == m), None)
    return next((row for row in book.rows("groups") if (row["t"], row["n"]) == (t, n)), None)


def derive_group(t: TnmCategory, n: TnmCategory, m: TnmCategory, *, book: RuleBook) -> TnmCategory:
    """Stage groups that the stated categories, and those not excluded, allow.

    ``none published`` stands for combinations without a group.
    """
    # A stated M1 decides alone; otherwise an axis about which nothing was stated leaves all of it open.
    parts = [axis.stated or axis.values for axis in (t, n, m)]
    stated = _groups(*parts, book=book) if m.stated else []
    values = _groups(t.values, n.values, m.values, book=book)
    rows = [row.id for t1, n1, m1 in product(*parts) if (row := _group_row(t1, n1, m1, book)) is not None]
    because = (f"{t.label or 'T not known'}, {n.label or 'N not known'}, {m.label or 'M not known'}",)
    unknown = tuple(dict.fromkeys((*t.unknown, *n.unknown, *m.unknown)))
    inputs = (*t.inputs, *n.inputs, *m.inputs)
    return TnmCategory(
        "group", tuple(stated), tuple(values), because, unknown, tuple(dict.fromkeys(rows)), inputs
    )


def _groups(ts: Iterable[str], ns: Iterable[str], ms: Iterable[str], *, book: RuleBook) -> list[str]:
    found = {stage_group(t, n, m, book=book) or "none published" for t, n, m in product(ts, ns, ms)}
    return sorted(found)


def derive_stage(case: Case, *, book: RuleBook) -> tuple[TnmCategory, TnmCategory, TnmCategory, TnmCategory]:
    """T, N, M and stage group of a case in one edition.

    Parameters
    ----------
    case : Case
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of TnmCategory
        Four, in that order.
    """
    t, n, m = (derive(case.staging, book=book) for derive in (derive_t, derive_n, derive_m))
    return t, n, m, derive_group(t, n, m, book=book)


# --- assessments ------------------------------------------------------------------------------------


def assess(case: Case) -> tuple[Assessment, ...]:
    """T, N, M and stage group of a case in every edition of the rules, the oldest first.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
        Ids ``tnm.t``, ``tnm.n``, ``tnm.m``, ``tnm.group``, ``tnm.several_tumors``, ``tnm.site_word``,
        ``tnm.side_and_lobe`` and ``tnm.solid_and_size``.
    """
    stages = (found for edition in list_editions("tnm") for found in assess_stage(case, edition=edition))
    return (*stages, *_ask_sites(case), *find_contradictions(case))


def _ask_sites(case: Case) -> Iterator[Assessment]:
    """Words for a place that the vocabulary does not hold, with the nearest it does."""
    book = find_rules("sites")
    for path, reading in read_sites(case.staging).unknown:
        near = " or ".join(f"'{word}'" for word in reading.nearest)
        yield Assessment(
            rule_id="tnm.site_word",
            title="Word for a site of disease",
            verdict=Verdict.NOT_ASSESSABLE,
            severity=Severity.QUERY,
            statement=f"'{reading.unknown}' is not in the list of sites ({book.edition}); the nearest words "
            f"of the list are {near}. It is counted neither as a metastasis in the chest nor outside it.",
            reason=f"which site '{reading.unknown}' means is not known",
            values=reading.nearest,
            inputs=(Input(path, reading.unknown),),
            origin=case.origin,
            **book.credit("contralateral_lung", "nonregional_node", "node_unnamed"),
        )


def assess_stage(case: Case, *, edition: str) -> tuple[Assessment, ...]:
    """T, N, M and stage group of a case in one edition.

    Parameters
    ----------
    case : Case
    edition : str
        As in 9.

    Returns
    -------
    tuple of Assessment
    """
    book = load_rules("tnm", edition)
    stage = derive_stage(case, book=book)
    axes = tuple(_assess_category(case, category, book) for category in stage)
    return (*axes, *assess_several(case, book=book, t=stage[0].label))


def _assess_category(case: Case, category: TnmCategory, book: RuleBook) -> Assessment:
    name = "stage group" if category.axis == "group" else f"{category.axis} category"
    label = category.label if category.axis != "group" else _only(category.stated)
    is_open = len(category.values) > 1 or category.label is None
    open_text = "; not stated: " + ", ".join(category.unknown) if category.unknown and is_open else ""
    others = [value for value in category.values if label and not value.startswith(label.split()[0])]
    more = f"; not excluded: {', '.join(others)}" if others else ""
    credit = book.credit(*category.rows) if category.rows else book.credit(*book.rows("sizes")[:1])
    if label is None:
        statement = f"The {name} of lung cancer ({book.edition}th edition) cannot be told."
        reason = "not stated: " + ", ".join(category.unknown)
        if not category.unknown:
            reason = "the stated findings leave several open"
    else:
        basis = "; ".join(category.because) or "no further finding"
        statement = f"{label} in the {book.edition}th edition: {basis}{more}{open_text}."
        reason = ""
    return Assessment(
        rule_id="tnm." + category.axis.lower(),
        title=f"Lung cancer {name}, {book.edition}th edition",
        verdict=Verdict.MET if label is not None else Verdict.NOT_ASSESSABLE,
        severity=Severity.INFO,
        statement=statement,
        reason=reason,
        value=label,
        values=category.values,
        inputs=category.inputs,
        origin=case.origin,
        **credit,
    )


def _only(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def lobes_named(staging: Staging) -> tuple[Lobe, ...]:
    """Lobes in which separate nodules are recorded by name.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    tuple of Lobe
    """
    return tuple(nodules.lobe for nodules in staging.separate_nodules if nodules.lobe is not None)
