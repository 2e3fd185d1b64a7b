"""N of lung TNM: stations and sides of involved nodes."""

from __future__ import annotations

import re
from itertools import product

from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.clinical.tnm.category import TnmCategory, categories, sort_categories
from miliary.clinical.tnm.read_sites import read_sites
from miliary.clinical.tnm.separate_nodules import primary_side
from miliary.model.assessment import Input
from miliary.model.case import Node, Staging
from miliary.model.vocabulary import Presence, Side

_STATION = re.compile(r"(\d{1,2}[ap]?)\s*([RL])?(?:[is])?\Z", re.IGNORECASE)


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
    recorded = {node.id for node in staging.nodes}
    read = read_sites(staging)
    staging = read.staging
    involved = [node for node in staging.nodes if node.involved is Presence.PRESENT]
    undecided = [node for node in staging.nodes if node.involved is Presence.NOT_STATED]
    regional = [
        (node, found) for node in involved if (found := node_classes(node, staging, book=book)) != {"M"}
    ]
    stated = _combine_nodes(regional, book)
    unknown = list(read.unknown_nodes)
    values = set(stated) or {"N0"}
    if read.unknown_nodes:
        stated = {"N3"} if stated == {"N3"} else set()
        values = {n for n in order if order.index(n) >= min(map(order.index, values))}
    if undecided or not staging.nodes_assessed:
        unknown.append("whether further nodes are involved")
        values = {n for n in order if order.index(n) >= min(map(order.index, values))}
    if not regional and staging.nodes_assessed and not undecided and not read.unknown_nodes:
        stated = {"N0"}
    if any(len(found) > 1 for _, found in regional):
        unknown.append("station or side of an involved node")
    return TnmCategory(
        "N",
        sort_categories(stated, order),
        sort_categories(values, order),
        tuple(dict.fromkeys(_describe_node(node, found) for node, found in regional)),
        tuple(unknown),
        tuple(dict.fromkeys(_station_rows(regional, book))),
        tuple(
            Input(
                f"staging.{'nodes' if node.id in recorded else 'metastases'}[{node.id}]",
                _describe_station(node),
            )
            for node, _ in regional
        )
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
