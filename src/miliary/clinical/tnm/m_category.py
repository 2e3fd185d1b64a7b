"""M of lung TNM: metastases in and outside the chest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from miliary.clinical.rulebook import RuleBook
from miliary.clinical.tnm.category import TnmCategory, categories, sort_categories
from miliary.clinical.tnm.n_category import node_classes
from miliary.clinical.tnm.read_sites import PlacedSite, SitesRead, read_sites
from miliary.clinical.tnm.separate_nodules import (
    list_metastatic_nodules,
    list_undecided_nodules,
    nodule_places,
)
from miliary.clinical.tnm.several_tumors import pneumonic_rows, without_lepidic_nodules
from miliary.model.assessment import Input
from miliary.model.case import Staging
from miliary.model.vocabulary import Count, Presence


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
    read = read_sites(without_lepidic_nodules(staging))
    staging = read.staging
    stated: set[str] = set()
    because, inputs, rows = _derive_thoracic_m(read, book, stated)
    outside = _list_extrathoracic_sites(read, book)
    if outside:
        far, words, far_inputs, far_rows = _derive_extrathoracic_m(outside, book)
        stated = far
        because, inputs, rows = because + words, inputs + far_inputs, rows + far_rows
    unknown = [*read.unknown_words]
    if any(len(nodule_places(n, staging)) == 3 for n in list_metastatic_nodules(staging)):
        unknown.append("in which lung the separate nodules lie")
    is_open = bool(unknown)
    lowest = min((order.index(m) for m in stated), default=0)
    values = set(stated) or {"M0"}
    unsure = any(m.presence is Presence.NOT_STATED for m in staging.metastases) or list_undecided_nodules(
        staging
    )
    if is_open:
        values = {m for m in order if order.index(m) >= lowest}
        stated = stated if len(values) == 1 else set()
    if unsure or not staging.metastases_assessed:
        unknown.append("whether there are further metastases")
        values = {m for m in order if order.index(m) >= lowest}
    elif not stated and not is_open:
        stated = {"M0"}
    return TnmCategory(
        "M",
        sort_categories(stated, order),
        sort_categories(values, order),
        tuple(because),
        tuple(unknown),
        tuple(dict.fromkeys(rows)),
        tuple(inputs) or (Input("staging.metastases_assessed", staging.metastases_assessed),),
    )


def _derive_thoracic_m(
    read: SitesRead, book: RuleBook, stated: set[str]
) -> tuple[list[str], list[Input], list[str]]:
    """M1a; added to `stated`."""
    staging = read.staging
    recorded = {item.id for item in staging.metastases}
    because, inputs, rows = [], [], []
    row = book.row("nodules_contralateral_lung")
    for nodules in list_metastatic_nodules(staging):
        if nodule_places(nodules, staging) == {"contralateral_lung"}:
            stated.add(row["category"])
            because.append(f"{row['category']} by nodules {row['means']}")
            section = "metastases" if nodules.id in recorded else "separate_nodules"
            path = f"staging.{section}[{nodules.id}]"
            inputs.append(Input(path, str(nodules.lobe or nodules.side)))
            rows.append(row.id)
    for row in pneumonic_rows(staging, book=book, axis="M"):
        stated.add(row["category"])
        because.append(f"{row['category']} by {row['means']}")
        inputs.append(Input("staging.pneumonic_lobes", ", ".join(staging.pneumonic_lobes)))
        rows.append(row.id)
    for place in read.sites:
        if place.named.row["category"] == "M1a":
            m1a = book.row("m1a")
            stated.add(m1a["category"])
            because.append(f"{m1a['category']} by {place.named.text.replace('_', ' ')}")
            inputs.append(Input(f"staging.metastases[{place.item.id}].site", place.item.site))
            rows.append(m1a.id)
    return list(dict.fromkeys(because)), inputs, rows


@dataclass(frozen=True)
class _ExtrathoracicSite:
    """One site outside the chest: its organ system and how many metastases there may be (1 or 2+)."""

    system: str
    counts: frozenset[int]
    words: str
    given: Input
    row: str = ""


def _list_extrathoracic_sites(read: SitesRead, book: RuleBook) -> list[_ExtrathoracicSite]:
    found = []
    for place in read.sites:
        if place.named.row["category"] != "M1a":
            given = Input(f"staging.metastases[{place.item.id}].site", place.item.site)
            system = place.named.row["system"]
            found.append(_ExtrathoracicSite(system, _possible_counts(place), place.named.text, given))
    for node in read.staging.nodes:
        if node.involved is not Presence.PRESENT or node_classes(node, read.staging, book=book) != {"M"}:
            continue
        written = read.nodes.get(node.id)
        if written is None:
            given = Input(f"staging.nodes[{node.id}].station", node.station)
            counts = frozenset({1})
        else:
            given = Input(f"staging.metastases[{written.item.id}].site", written.item.site)
            counts = _possible_counts(written)
        found.append(
            _ExtrathoracicSite("nonregional_nodes", counts, f"{node.station} node", given, "stations_beyond")
        )
    return found


def _possible_counts(place: PlacedSite) -> frozenset[int]:
    count = place.item.count or place.named.count
    both_sides = place.named.side == "both" and place.named.row.get("paired", False)
    if count is Count.MULTIPLE or both_sides or len(place.item.places) > 1:
        return frozenset({2})
    if count is Count.SINGLE:
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
