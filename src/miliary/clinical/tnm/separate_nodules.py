"""Where separate tumor nodules lie relative to the primary, and which of them count as metastases."""

from __future__ import annotations

from miliary.model.case import SeparateNodules, Staging
from miliary.model.vocabulary import Presence, Side


def primary_side(staging: Staging) -> Side | None:
    """Side of the primary, taken from its lobe where that is stated.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    Side or None
        None where neither is stated, and where the two contradict each other.
    """
    if staging.lobe is None or staging.side in (None, staging.lobe.side):
        return staging.lobe.side if staging.lobe is not None else staging.side
    return None


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


def list_metastatic_nodules(staging: Staging) -> list[SeparateNodules]:
    """Nodules that somebody has called metastases."""
    return [
        n
        for n in staging.separate_nodules
        if n.presence is Presence.PRESENT and n.are_metastases is Presence.PRESENT
    ]


def list_undecided_nodules(staging: Staging) -> list[SeparateNodules]:
    """Nodules that nobody has called metastases or excluded from being such."""
    return [
        n
        for n in staging.separate_nodules
        if n.presence is Presence.PRESENT and n.are_metastases is Presence.NOT_STATED
    ]
