"""Which lesions count for RECIST: measurable or not, legal targets, new or not. Knows no case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from miliary.clinical.recist.criteria import RecistLimits
from miliary.clinical.rulebook import RuleBook
from miliary.clinical.tnm.site_words import canonical_site


class Measurability(StrEnum):
    """Whether a lesion can be followed by its size. `NORMAL` is no disease."""

    MEASURABLE = "measurable"
    NON_MEASURABLE = "non_measurable"
    NORMAL = "normal"
    NOT_ASSESSABLE = "not_assessable"


@dataclass(frozen=True)
class BaselineLesion:
    """What was recorded of one lesion at baseline.

    Attributes
    ----------
    kind : str
        As in a case: mass, node, lytic, blastic, effusion...
    longest_mm, short_axis_mm : float or None
        [mm]; None where not stated.
    method : str
        ct, mri, caliper or radiograph.
    slice_mm : float or None
        Slice thickness [mm]; None where not stated.
    soft_tissue_mm : float or None
        Size of the soft-tissue part of a bone lesion [mm]; None where not stated.
    is_irradiated, has_progressed : bool or None
        Whether it was irradiated, and has grown since; None where not stated.
    """

    kind: str
    longest_mm: float | None = None
    short_axis_mm: float | None = None
    method: str = "ct"
    slice_mm: float | None = None
    soft_tissue_mm: float | None = None
    is_irradiated: bool | None = None
    has_progressed: bool | None = None


def classify_lesion(
    look: BaselineLesion, *, book: RuleBook, limits: RecistLimits
) -> tuple[Measurability, str]:
    """Whether a lesion is measurable by RECIST 1.1.

    Parameters
    ----------
    look : BaselineLesion
    book : RuleBook
        The rules ``recist``.
    limits : RecistLimits

    Returns
    -------
    measurability : Measurability
    reason : str
        Why it is not measurable, or why that cannot be decided; empty where it is.
    """
    if look.kind in book.row("no_disease")["names"]:
        return Measurability.NORMAL, f"a {look.kind.replace('_', ' ')} is no disease"
    if look.kind in book.row("never_measurable")["names"]:
        return Measurability.NON_MEASURABLE, f"{look.kind.replace('_', ' ')} is never measurable"
    if look.kind == "cyst":
        return Measurability.NOT_ASSESSABLE, "it is not said whether the cyst is simple or a metastasis"
    if look.is_irradiated and not look.has_progressed:
        return _classify_irradiated(look)
    if look.kind == "node":
        return _classify_node(look, limits)
    if look.kind == "lytic":
        return _classify_size(look.soft_tissue_mm, limits["soft_tissue_min_mm"], "the soft-tissue part")
    return _classify_mass(look, limits)


def _classify_irradiated(look: BaselineLesion) -> tuple[Measurability, str]:
    if look.has_progressed is None:
        return Measurability.NOT_ASSESSABLE, "it was irradiated and growth since is not stated"
    return Measurability.NON_MEASURABLE, "it was irradiated and has not grown since"


def _classify_node(look: BaselineLesion, limits: RecistLimits) -> tuple[Measurability, str]:
    size_mm = look.short_axis_mm
    if size_mm is None:
        return Measurability.NOT_ASSESSABLE, "its short axis is not stated"
    if size_mm < limits["node_normal_below_mm"]:
        return Measurability.NORMAL, f"a short axis of {size_mm:g} mm is normal"
    return _classify_size(size_mm, limits["node_target_min_mm"], "the short axis")


def _classify_mass(look: BaselineLesion, limits: RecistLimits) -> tuple[Measurability, str]:
    if look.method in {"radiograph", "caliper"}:
        return _classify_size(look.longest_mm, limits[f"{look.method}_min_mm"], f"by {look.method} it")
    smallest_mm = limits["mass_min_mm"]
    if look.longest_mm is None or look.longest_mm < smallest_mm:
        return _classify_size(look.longest_mm, smallest_mm, "the longest diameter")
    if look.slice_mm is None:
        # Slices of usual thickness leave no doubt about a lesion that even a radiograph would measure.
        if look.longest_mm >= limits["radiograph_min_mm"]:
            return Measurability.MEASURABLE, ""
        return Measurability.NOT_ASSESSABLE, "the slice thickness is not stated"
    if look.slice_mm > limits["thin_slice_max_mm"]:
        smallest_mm = max(smallest_mm, limits["thick_slice_factor"] * look.slice_mm)
    return _classify_size(look.longest_mm, smallest_mm, "the longest diameter")


def _classify_size(size_mm: float | None, smallest_mm: float, what: str) -> tuple[Measurability, str]:
    if size_mm is None:
        return Measurability.NOT_ASSESSABLE, f"{what} is not stated"
    if size_mm >= smallest_mm:
        return Measurability.MEASURABLE, ""
    return Measurability.NON_MEASURABLE, f"{what} is {size_mm:g} mm, {smallest_mm:g} mm would be needed"


def normalize_organ(organ: str) -> str:
    """One name for all organs that RECIST counts as one: both lungs, all nodes, liver and hepatic.

    Parameters
    ----------
    organ : str
        As recorded.

    Returns
    -------
    str
        In lower case; the words as recorded where the vocabulary of sites does not know them.
    """
    words = organ.lower().replace("_", " ").split()
    for whole in ("lung", "node", "kidney", "adrenal", "breast", "ovary"):
        if any(word.startswith(whole) for word in words):
            return whole
    return canonical_site(organ) or " ".join(words)


def find_selection_problems(
    organs: Sequence[str], *, baseline_day: int | None, limits: RecistLimits
) -> tuple[str, ...]:
    """What is wrong with a choice of targets, as sorted ids.

    Parameters
    ----------
    organs : sequence of str
        Organ of each target.
    baseline_day : int or None
        Day of the baseline scan, counted from the start of treatment; None where not known.
    limits : RecistLimits
    """
    found = []
    if len(organs) > limits["max_targets"]:
        found.append("too_many_targets")
    counts = Counter(normalize_organ(organ) for organ in organs if organ)
    if any(count > limits["max_targets_per_organ"] for count in counts.values()):
        found.append("too_many_in_organ")
    if baseline_day is not None and baseline_day > 0:
        found.append("baseline_after_start")
    if baseline_day is not None and -baseline_day > limits["baseline_max_days"]:
        found.append("baseline_too_early")
    return tuple(sorted(found))


class NewLesion(StrEnum):
    """Whether a finding is a lesion that was not there before."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"


def classify_new_finding(
    *, seen_on: str, is_unequivocal: bool, baseline_pet: str = "", on_ct: str = ""
) -> NewLesion:
    """Whether a finding is a new lesion.

    Parameters
    ----------
    seen_on : str
        ct, mri, fdg_pet...
    is_unequivocal : bool
        Neither artifact nor flare nor anything but tumor.
    baseline_pet : str
        The baseline FDG scan at this site: negative, none (not made), or "" where not stated.
    on_ct : str
        What CT shows at the site of the uptake: new_site, not_seen, known_site_not_progressing.
    """
    if not is_unequivocal:
        return NewLesion.UNDECIDED
    if seen_on != "fdg_pet" or baseline_pet == "negative":
        return NewLesion.YES
    if baseline_pet == "none":
        by_ct = {"new_site": NewLesion.YES, "known_site_not_progressing": NewLesion.NO}
        return by_ct.get(on_ct, NewLesion.UNDECIDED)
    return NewLesion.UNDECIDED
