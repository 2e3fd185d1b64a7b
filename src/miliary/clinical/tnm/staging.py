"""Lung TNM: T, N, M and stage group from findings, in the edition asked for.

What is not stated stays open: each axis has the categories that the stated findings allow (`stated`) and
those that nothing excludes (`values`). A category is never read out of silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from miliary.clinical.rulebook import RuleBook, RuleRow, list_editions, load_rules
from miliary.clinical.tnm.several_tumors import (
    assess_several,
    lepidic_sizes_mm,
    pneumonic_rows,
    pneumonic_t_ways,
    without_lepidic_nodules,
)
from miliary.clinical.tnm.tumor_size import size_row
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, Metastasis, Node, SeparateNodules, Staging
from miliary.model.vocabulary import Count, Lobe, Presence, Side

T_ORDER = ("T0", "Tis", "T1mi", "T1a", "T1b", "T1c", "T2a", "T2b", "T3", "T4")
_STATION = re.compile(r"(\d{1,2}[ap]?)\s*([RL])?(?:[is])?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class TnmCategory:
    """What the findings say of one axis of the classification.

    Attributes
    ----------
    axis : str
        T, N, M or group.
    stated : tuple of str
        Categories that the stated findings allow, ascending; empty where nothing was stated that gives one.
    values : tuple of str
        Categories that nothing excludes, ascending.
    because, unknown : tuple of str
        What the category rests on and what is not stated, in words.
    rows : tuple of str
        Ids of the rules used.
    inputs : tuple of Input
        The facts used.
    """

    axis: str
    stated: tuple[str, ...]
    values: tuple[str, ...]
    because: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()

    @property
    def label(self) -> str | None:
        """The category in short: one, or the parent that all stated ones share."""
        if not self.stated:
            return None
        if len(self.stated) == 1:
            return self.stated[0]
        if set(self.stated) >= {"N2a", "N2b"} and self.stated[0] == "N2a":
            return "N2 (a/b not assignable)"
        if self.axis == "N":
            return self.stated[0]
        shared = _shared_start(self.stated)
        return shared if shared in ("T1", "T2", "M1", "M1c") else None


def _shared_start(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def categories(axis: str, book: RuleBook) -> tuple[str, ...]:
    """Every category of one axis in an edition.

    Parameters
    ----------
    axis : str
        T, N or M.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of str
        Ascending.
    """
    if axis == "T":
        return ("TX", *T_ORDER)
    if axis == "N":
        # Editions that split N2 have its parts in a table.
        split = tuple(row["category"] for row in book.rows("n2_split")) or ("N2",)
        return ("N0", "N1", *split, "N3")
    return ("M0", *(row["m"] for row in book.rows("m_groups")))


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
    staging = without_lepidic_nodules(staging)
    sizes, used, because, inputs = _list_size_categories(staging, book)
    features, feature_rows, feature_because, feature_inputs = _list_structure_categories(staging, book)
    ways: list[set[str | None]] = [{feature} for feature in features]
    open_ways: list[set[str | None]] = []
    unknown = ["the size of the primary"] if len(sizes) > 1 else []
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
        _sorted_by(stated, T_ORDER),
        _sorted_by(values, T_ORDER),
        tuple(because + feature_because + nodule_because),
        tuple(unknown),
        tuple(used + feature_rows + nodule_rows),
        tuple(inputs + feature_inputs + nodule_inputs),
    )


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
    row = size_row(largest, book=book)
    text = f"{row['category']} by size ({largest:g} mm)"
    inputs = [Input(f"staging.{name}", size)]
    if largest > size:
        inputs += [Input(f"staging.other_tumors[{t.id}].size_mm", t.size_mm) for t in staging.other_tumors]
    return {row["category"]}, [row.id], [text], inputs


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


def primary_side(staging: Staging) -> Side | None:
    """Side of the primary, taken from its lobe where that is stated.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    Side or None
        None where neither is stated.
    """
    return staging.lobe.side if staging.lobe is not None else staging.side


def nodule_places(nodules: SeparateNodules, staging: Staging) -> frozenset[str]:
    """Where separate nodules may lie relative to the primary.

    Parameters
    ----------
    nodules : SeparateNodules
    staging : Staging

    Returns
    -------
    frozenset of str
        Of ``same_lobe``, ``other_ipsilateral_lobe`` and ``contralateral_lung`` those that are possible.
    """
    side = nodules.lobe.side if nodules.lobe is not None else nodules.side
    home = primary_side(staging)
    if side is None or home is None:
        return frozenset({"same_lobe", "other_ipsilateral_lobe", "contralateral_lung"})
    if side is not home:
        return frozenset({"contralateral_lung"})
    if nodules.is_diffuse is Presence.PRESENT:
        return frozenset({"other_ipsilateral_lobe"})
    if nodules.lobe is None or staging.lobe is None:
        return frozenset({"same_lobe", "other_ipsilateral_lobe"})
    same = nodules.lobe is staging.lobe
    return frozenset({"same_lobe" if same else "other_ipsilateral_lobe"})


def _list_metastatic_nodules(staging: Staging) -> list[SeparateNodules]:
    return [
        n
        for n in staging.separate_nodules
        if n.presence is Presence.PRESENT and n.are_metastases is Presence.PRESENT
    ]


def _list_undecided_nodules(staging: Staging) -> list[SeparateNodules]:
    """Nodules that nobody has called metastases or excluded from being such."""
    return [
        n
        for n in staging.separate_nodules
        if n.presence is Presence.PRESENT and n.are_metastases is Presence.NOT_STATED
    ]


def _add_nodule_ways(
    staging: Staging,
    book: RuleBook,
    ways: list[set[str | None]],
    open_ways: list[set[str | None]],
    unknown: list[str],
) -> None:
    """What nodules do to T, stated ones and undecided ones apart."""
    by_place = {row["place"]: row["category"] for row in book.rows("nodules")}
    for nodules in _list_metastatic_nodules(staging):
        found = {by_place[place] for place in nodule_places(nodules, staging)}
        t_only: set[str | None] = {c if c.startswith("T") else None for c in found}
        if t_only != {None}:
            ways.append(t_only)
    for nodules in _list_undecided_nodules(staging):
        found = {by_place[place] for place in nodule_places(nodules, staging)}
        open_ways.append({None, *(c for c in found if c.startswith("T"))})
    if _list_undecided_nodules(staging):
        unknown.append("whether the separate nodules are metastases")


def _describe_nodules(staging: Staging, book: RuleBook) -> tuple[list[str], list[str], list[Input]]:
    rows, words, inputs = [], [], []
    for nodules in _list_metastatic_nodules(staging):
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


def _sorted_by(found: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(found, key=order.index))


# --- N ----------------------------------------------------------------------------------------------


def derive_n(staging: Staging, *, book: RuleBook) -> TnmCategory:
    """N from the stations of involved nodes and their sides against that of the primary.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    TnmCategory
    """
    order = categories("N", book)
    involved = [node for node in staging.nodes if node.involved is Presence.PRESENT]
    undecided = [node for node in staging.nodes if node.involved is Presence.NOT_STATED]
    regional = [
        (node, found) for node in involved if (found := node_classes(node, staging, book=book)) != {"M"}
    ]
    stated = _combine_nodes(regional, book)
    unknown = []
    values = set(stated) or {"N0"}
    if undecided or not staging.nodes_assessed:
        unknown.append("whether further nodes are involved")
        values = {n for n in order if order.index(n) >= min(map(order.index, values))}
    if not regional and staging.nodes_assessed and not undecided:
        stated = {"N0"}
    if any(len(found) > 1 for _, found in regional):
        unknown.append("station or side of an involved node")
    return TnmCategory(
        "N",
        _sorted_by(stated, order),
        _sorted_by(values, order),
        tuple(dict.fromkeys(_describe_node(node, found) for node, found in regional)),
        tuple(unknown),
        tuple(dict.fromkeys(_station_rows(regional, book))),
        tuple(Input(f"staging.nodes[{node.id}]", _describe_station(node)) for node, _ in regional)
        or (Input("staging.nodes_assessed", staging.nodes_assessed),),
    )


def parse_station(node: Node) -> tuple[str, Side | None]:
    """Station and side of a node, from ``10R`` as from separate fields.

    Parameters
    ----------
    node : Node

    Returns
    -------
    station : str
        In lower case, without the side.
    side : Side or None
        None where it is not stated.
    """
    match = _STATION.match(node.station.strip())
    if match is None:
        return node.station.strip().lower().replace(" ", "_"), node.side
    side = {"R": Side.RIGHT, "L": Side.LEFT}.get((match[2] or "").upper(), node.side)
    return match[1].lower(), side


def _station_row(station: str, book: RuleBook) -> RuleRow | None:
    return next((row for row in book.rows("stations") if station in row["stations"]), None)


def node_classes(node: Node, staging: Staging, *, book: RuleBook) -> set[str]:
    """The categories that one involved node may mean.

    Parameters
    ----------
    node : Node
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    set of str
        Of N1, N2, N3 and M (not a regional node); several where station or side is not stated.
    """
    station, side = parse_station(node)
    row = _station_row(station, book)
    if row is None:
        return {"N1", "N2", "N3"}
    side = Side(row["fixed_side"]) if "fixed_side" in row.data else side
    home = primary_side(staging)
    if side is None or home is None:
        return {row["ipsilateral"], row["contralateral"]}
    return {row["ipsilateral"] if side is home else row["contralateral"]}


def _combine_nodes(regional: list[tuple[Node, set[str]]], book: RuleBook) -> set[str]:
    """The categories that these nodes allow together."""
    if not regional:
        return set()
    highest = {max(choice) for choice in product(*(found - {"M"} for _, found in regional))}
    if not book.rows("n2_split") or "N2" not in highest:
        return highest
    return (highest - {"N2"}) | _split_n2(regional, book)


def _split_n2(regional: list[tuple[Node, set[str]]], book: RuleBook) -> set[str]:
    """N2a for one N2 station, N2b for several; both where the stations cannot be distinguished."""
    certain: set[str] = set()
    possible: set[str] = set()
    is_vague = False
    for node, found in regional:
        station, _ = parse_station(node)
        if "N2" not in found:
            continue
        if _STATION.match(node.station.strip()) is None and station != "subcarinal":
            is_vague = True
        else:
            possible.add(station)
            certain |= {station} if found == {"N2"} else set()
    least = max(len(certain), 1)
    most = max(len(possible) + (2 if is_vague else 0), 1)
    return {
        row["category"]
        for row in book.rows("n2_split")
        if row["min_stations"] <= most and row.get("max_stations", most) >= least
    }


def _describe_station(node: Node) -> str:
    station, side = parse_station(node)
    return " ".join(word for word in (station or "station not stated", side) if word)


def _describe_node(node: Node, found: set[str]) -> str:
    return f"{' or '.join(sorted(found))} by node {_describe_station(node)}"


def _station_rows(regional: list[tuple[Node, set[str]]], book: RuleBook) -> list[str]:
    rows = [_station_row(parse_station(node)[0], book) for node, _ in regional]
    return [row.id for row in rows if row is not None]


# --- M ----------------------------------------------------------------------------------------------


def derive_m(staging: Staging, *, book: RuleBook) -> TnmCategory:
    """M from nodules of the other lung and metastases in and outside the chest; the highest counts.

    Parameters
    ----------
    staging : Staging
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    TnmCategory
    """
    order = categories("M", book)
    staging = without_lepidic_nodules(staging)
    stated: set[str] = set()
    because, inputs, rows = _derive_thoracic_m(staging, book, stated)
    outside = _list_extrathoracic_sites(staging, book)
    if outside:
        far, words, far_inputs, far_rows = _derive_extrathoracic_m(outside, book)
        stated = far
        because, inputs, rows = because + words, inputs + far_inputs, rows + far_rows
    unknown = []
    lowest = min((order.index(m) for m in stated), default=0)
    values = set(stated) or {"M0"}
    unsure = any(m.presence is Presence.NOT_STATED for m in staging.metastases) or _list_undecided_nodules(
        staging
    )
    if unsure or not staging.metastases_assessed:
        unknown.append("whether there are further metastases")
        values = {m for m in order if order.index(m) >= lowest}
    elif not stated:
        stated = {"M0"}
    return TnmCategory(
        "M",
        _sorted_by(stated, order),
        _sorted_by(values, order),
        tuple(because),
        tuple(unknown),
        tuple(dict.fromkeys(rows)),
        tuple(inputs) or (Input("staging.metastases_assessed", staging.metastases_assessed),),
    )


def _derive_thoracic_m(
    staging: Staging, book: RuleBook, stated: set[str]
) -> tuple[list[str], list[Input], list[str]]:
    """M1a; added to `stated`."""
    because, inputs, rows = [], [], []
    row = book.row("nodules_contralateral_lung")
    for nodules in _list_metastatic_nodules(staging):
        if nodule_places(nodules, staging) == {"contralateral_lung"}:
            stated.add(row["category"])
            because.append(f"{row['category']} by nodules {row['means']}")
            path = f"staging.separate_nodules[{nodules.id}]"
            inputs.append(Input(path, str(nodules.lobe or nodules.side)))
            rows.append(row.id)
    for row in pneumonic_rows(staging, book=book, axis="M"):
        stated.add(row["category"])
        because.append(f"{row['category']} by {row['means']}")
        inputs.append(Input("staging.pneumonic_lobes", ", ".join(staging.pneumonic_lobes)))
        rows.append(row.id)
    for item in _present(staging):
        site = _site_row(item.site, book)
        if site is not None and site["category"] == "M1a":
            stated.add("M1a")
            because.append(f"M1a by {item.site.replace('_', ' ')}")
            inputs.append(Input(f"staging.metastases[{item.id}].site", item.site))
            rows.append(site.id)
    return list(dict.fromkeys(because)), inputs, rows


def _present(staging: Staging) -> list[Metastasis]:
    return [item for item in staging.metastases if item.presence is Presence.PRESENT]


def _site_row(site: str, book: RuleBook) -> RuleRow | None:
    return next((row for row in book.rows("sites") if row["site"] == site), None)


@dataclass(frozen=True)
class _ExtrathoracicSite:
    """One site outside the chest: its organ system and how many metastases there may be (1 or 2+)."""

    system: str
    counts: frozenset[int]
    words: str
    given: Input
    row: str


def _list_extrathoracic_sites(staging: Staging, book: RuleBook) -> list[_ExtrathoracicSite]:
    found = []
    for item in _present(staging):
        row = _site_row(item.site, book)
        if row is None or row["category"] != "M1a":
            system = row["system"] if row is not None else item.site
            given = Input(f"staging.metastases[{item.id}].site", item.site)
            found.append(
                _ExtrathoracicSite(system, _possible_counts(item), item.site, given, row.id if row else "")
            )
    for node in staging.nodes:
        if node.involved is Presence.PRESENT and node_classes(node, staging, book=book) == {"M"}:
            given = Input(f"staging.nodes[{node.id}].station", node.station)
            words = f"{node.station} node"
            found.append(
                _ExtrathoracicSite("nonregional_nodes", frozenset({1}), words, given, "stations_beyond")
            )
    return found


def _possible_counts(item: Metastasis) -> frozenset[int]:
    if item.count is Count.MULTIPLE or len(item.places) > 1:
        return frozenset({2})
    if item.count is Count.SINGLE:
        return frozenset({1})
    return frozenset({1, 2})


def _derive_extrathoracic_m(
    outside: list[_ExtrathoracicSite], book: RuleBook
) -> tuple[set[str], list[str], list[Input], list[str]]:
    totals = {sum(choice) for choice in product(*(item.counts for item in outside))}
    several_systems = len({item.system for item in outside}) > 1
    is_split = all(row.id != "m1c" for row in book.rows("extrathoracic"))
    many = "m1c" if not is_split else "m1c2" if several_systems else "m1c1"
    used = [book.row(name) for name in dict.fromkeys("m1b" if n == 1 else many for n in sorted(totals))]
    sites = ", ".join(dict.fromkeys(item.words.replace("_", " ") for item in outside))
    categories_found = {row["category"] for row in used}
    words = [f"{' or '.join(sorted(categories_found))} by metastases outside the chest ({sites})"]
    rows = [row.id for row in used] + [item.row for item in outside if item.row]
    return categories_found, words, [item.given for item in outside], rows


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
        Ids ``tnm.t``, ``tnm.n``, ``tnm.m``, ``tnm.group`` and ``tnm.several_tumors``.
    """
    return tuple(found for edition in list_editions("tnm") for found in assess_stage(case, edition=edition))


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
