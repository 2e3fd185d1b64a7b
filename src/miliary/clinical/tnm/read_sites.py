"""The places of disease of a case, in the terms that T, N and M are derived from.

A place written as a metastatic site may be a lymph node or a nodule of the lung of the primary: it is read
as what it is, and what the vocabulary does not hold is set apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from miliary.clinical.rulebook import find_rules
from miliary.clinical.tnm.separate_nodules import primary_side
from miliary.clinical.tnm.site_words import NamedSite, SiteReading, read_site, side_of
from miliary.model.case import Metastasis, Node, SeparateNodules, Staging
from miliary.model.vocabulary import Lobe, Presence, Side

_CODE = re.compile(r"\d{1,2}[ap]?\s*[RL]?[is]?\Z", re.IGNORECASE)
_NODE_WORDS = ("node", "nodal", "lymph", "ln", "リンパ")


@dataclass(frozen=True)
class PlacedSite:
    """One site of a recorded metastasis, with what the vocabulary says of it."""

    item: Metastasis
    named: NamedSite


@dataclass(frozen=True)
class SitesRead:
    """The places of a staging, read.

    Attributes
    ----------
    staging : Staging
        With the stations of nodes in canonical words, and with the nodes and the nodules of the lung that
        were written as metastatic sites.
    sites : tuple of PlacedSite
        Metastases in the pleura, the pericardium and the other lung, and in organs outside the chest.
    nodes : mapping of str to PlacedSite
        Metastases that are lymph nodes, by their ids.
    unknown : tuple of (str, SiteReading)
        Path in the case, and reading, of the words that are not in the vocabulary.
    """

    staging: Staging
    sites: tuple[PlacedSite, ...]
    nodes: dict[str, PlacedSite]
    unknown: tuple[tuple[str, SiteReading], ...]

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """What is not stated in known words, as `TnmCategory.unknown` has it."""
        return tuple(f"which site '{reading.unknown}' means" for _, reading in self.unknown)

    @property
    def unknown_nodes(self) -> tuple[str, ...]:
        """Those of `unknown_words` that may be lymph nodes."""
        return tuple(
            words
            for words, (path, reading) in zip(self.unknown_words, self.unknown, strict=True)
            if ".nodes" in path or any(word in reading.unknown.lower() for word in _NODE_WORDS)
        )


def read_sites(staging: Staging) -> SitesRead:
    """Read every word for a place of a staging by the vocabulary of sites.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    SitesRead
    """
    home = primary_side(staging)
    sites: list[PlacedSite] = []
    placed_nodes: dict[str, PlacedSite] = {}
    nodules: list[SeparateNodules] = []
    unknown: list[tuple[str, SiteReading]] = []
    nodes: list[Node] = []
    for node in staging.nodes:
        read, reading = _read_station(node, home)
        nodes.append(read)
        if reading is not None:
            unknown.append((f"staging.nodes[{node.id}].station", reading))
    for item in staging.metastases:
        if item.presence is not Presence.PRESENT:
            continue
        reading = read_site(item.site)
        if reading.unknown or not reading.sites:
            unknown.append((f"staging.metastases[{item.id}].site", reading))
        for number, named in enumerate(reading.sites):
            place = PlacedSite(item, named)
            item_id = item.id if number == 0 else f"{item.id}.{number + 1}"
            match named.row["category"]:
                case "node":
                    nodes.append(_as_node(place, item_id, home))
                    placed_nodes[item_id] = place
                case "lung":
                    nodules.append(_as_nodules(place, item_id, home))
                case _:
                    sites.append(place)
    read_staging = replace(
        staging, nodes=tuple(nodes), separate_nodules=(*staging.separate_nodules, *nodules)
    )
    return SitesRead(read_staging, tuple(sites), placed_nodes, tuple(unknown))


def _read_station(node: Node, home: Side | None) -> tuple[Node, SiteReading | None]:
    """A node with the canonical word of its station; the reading of a word that is not known."""
    text = node.station.strip()
    if not text or _CODE.match(text) or text.lower().replace(" ", "_") in _plain_stations():
        return node, None
    reading = read_site(text)
    if not _names_node(reading):
        reading = read_site(f"{text} node")
    if _names_node(reading):
        named = reading.sites[0]
        return replace(node, station=named.station, side=side_of(named, home) or node.side), None
    return node, replace(reading, unknown=text)


def _names_node(reading: SiteReading) -> bool:
    return len(reading.sites) == 1 and reading.sites[0].row["category"] == "node"


def _plain_stations() -> frozenset[str]:
    """Words of stations that the rules of TNM hold themselves."""
    book = find_rules("tnm")
    return frozenset(name for row in book.rows("stations") for name in row["stations"])


def _as_node(place: PlacedSite, item_id: str, home: Side | None) -> Node:
    return Node(
        item_id,
        station=place.named.station,
        side=side_of(place.named, home),
        involved=Presence.PRESENT,
        proof=place.item.proof,
        origin=place.item.origin,
    )


def _as_nodules(place: PlacedSite, item_id: str, home: Side | None) -> SeparateNodules:
    lobe = place.named.row.get("lobe")
    side = side_of(place.named, home)
    if "ipsilateral" in place.named.text.lower() or "同側" in place.named.text:
        side = home
    return SeparateNodules(
        item_id,
        side=None if lobe else side,
        lobe=Lobe(lobe) if lobe else None,
        are_metastases=Presence.PRESENT,
        origin=place.item.origin,
    )
