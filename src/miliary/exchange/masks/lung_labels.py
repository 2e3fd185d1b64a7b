"""Which labels of a mask mean the right and the left lung.

Names come first where a file carries them (DICOM SEG, NRRD of 3D Slicer, NIfTI of TotalSegmentator). Without
names the numbers decide: one number is lung of both sides; 1 and 2 are the right and the left lung, as
lungmask's R231 writes them; 1 to 5 are the lobes of its LTRCLobes; 10 to 14 the lobes of TotalSegmentator's
task `total` among its other organs, 13 to 17 those of its first edition. Where two readings are possible the
one whose right lung lies on the patient's right is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.model.ct_result import LABEL_BOTH, LABEL_LEFT, LABEL_RIGHT

TOTAL_LOBES = {10: LABEL_LEFT, 11: LABEL_LEFT, 12: LABEL_RIGHT, 13: LABEL_RIGHT, 14: LABEL_RIGHT}
TOTAL_LOBES_FIRST = {13: LABEL_LEFT, 14: LABEL_LEFT, 15: LABEL_RIGHT, 16: LABEL_RIGHT, 17: LABEL_RIGHT}
LTRC_LOBES = {1: LABEL_LEFT, 2: LABEL_LEFT, 3: LABEL_RIGHT, 4: LABEL_RIGHT, 5: LABEL_RIGHT}
R231 = {1: LABEL_RIGHT, 2: LABEL_LEFT}
_LUNG_WORDS = frozenset(("lung", "lungs", "lobe", "lobes", "pulmonary"))
# What lies in a lung, or is not one; a name that holds such a word is passed over.
_OTHER_WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        """
        airway airways artery arteries bronchi bronchus cancer carcinoma consolidation cyst effusion emphysema
        fissure fissures gtv infiltrate infiltration lesion lesions lymph mass metastases metastasis neoplasm
        nodule nodules opacity pleural thymus thyroid trachea tumor tumour vein veins vessel vessels
        temporal frontal occipital parietal liver hepatic brain
        """,
    )
)


@dataclass(frozen=True)
class LabelReading:
    """How the labels of a mask are read.

    Parameters
    ----------
    maker : str
        What such labels are called, for the result: a few words.
    sides : mapping of int to int
        Label of the mask to 1 right lung, 2 left lung, 3 lung of a side that it does not say; labels that are
        not listed are no lung.
    """

    maker: str
    sides: Mapping[int, int]


def side_of_name(name: str) -> int | None:
    """The side that a label's name says: 1 right, 2 left, 3 lung without a side; None where it is no lung.

    Parameters
    ----------
    name : str
        Such as "lung_upper_lobe_left", "Right lung" or "Left and right lungs".

    Returns
    -------
    int or None
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    if not words & _LUNG_WORDS or words & _OTHER_WORDS:
        return None
    is_right, is_left = "right" in words, "left" in words
    if is_right == is_left:
        # A lobe without a side could be either; lungs without a side are both.
        return LABEL_BOTH if words & {"lung", "lungs"} and not words & {"lobe", "lobes"} else None
    return LABEL_RIGHT if is_right else LABEL_LEFT


def read_labels(
    values: npt.NDArray[np.generic], names: Mapping[int, str], columns: npt.NDArray[np.float64], *, name: str
) -> LabelReading:
    """What the labels of a mask mean.

    Parameters
    ----------
    values : ndarray of integers, shape (z, y, x)
        The mask in canonical order, x towards the patient's left; 0 is outside.
    names : mapping of int to str
        Names of labels, as far as the file has them.
    columns : ndarray of float64, shape (x,)
        Place of each column towards the left [mm].
    name : str
        The file as messages call it.

    Returns
    -------
    LabelReading

    Raises
    ------
    ScanReadError
        Empty, or no labels of lungs that are known.
    """
    spreads = _list_spreads(values, columns)
    if not spreads:
        raise ScanReadError(f"{name}: the mask is empty; give a mask of the lungs")
    named = {label: side for label in spreads if (side := side_of_name(names.get(label, ""))) is not None}
    if named:
        return LabelReading("labels by their names", _prefer_sides(named))
    found = set(spreads)
    possible = [reading for reading in _list_readings(found) if _fits(reading.sides, spreads)]
    if possible:
        return possible[0]
    if len(found) == 2 and max(found) <= 255:
        # Two lungs whichever way they are numbered; which is which is seen from where they lie.
        return LabelReading("two labels", dict.fromkeys(found, LABEL_BOTH))
    listed = ", ".join(str(label) for label in sorted(found)[:6]) + (", ..." if len(found) > 6 else "")
    raise ScanReadError(
        f"{name}: holds the labels {listed}, which are not known as lungs; give one label for the lungs, 1 "
        "and 2 for the right and the left one, or labels of TotalSegmentator or lungmask"
    )


@dataclass(frozen=True)
class _Spread:
    """Where a label lies along x [mm]: its mean, and the range that holds nine tenths of it."""

    center: float
    low: float
    high: float


def _list_spreads(values: npt.NDArray[np.generic], columns: npt.NDArray[np.float64]) -> dict[int, _Spread]:
    """Where each label lies along x."""
    highest = int(values.max(initial=0))
    count = np.zeros((values.shape[2], highest + 1), dtype=np.int64)
    for column in range(len(count)):
        count[column] = np.bincount(values[:, :, column].ravel(), minlength=highest + 1)
    out = {}
    for label in np.flatnonzero(count.sum(axis=0)):
        if label > 0:
            share = np.cumsum(count[:, label]) / count[:, label].sum()
            low, high = (float(columns[np.searchsorted(share, level)]) for level in (0.05, 0.95))
            center = float(count[:, label] @ columns / count[:, label].sum())
            out[int(label)] = _Spread(center, min(low, high), max(low, high))
    return out


def _list_readings(found: set[int]) -> Iterator[LabelReading]:
    """Readings of the numbers, the likeliest first."""
    if len(found) == 1:
        yield LabelReading("one label", dict.fromkeys(found, LABEL_BOTH))
        return
    if found <= set(R231):
        yield LabelReading("labels of lungmask R231", R231)
    if found <= set(LTRC_LOBES):
        yield LabelReading("labels of lungmask LTRCLobes", LTRC_LOBES)
    editions = [(TOTAL_LOBES, ""), (TOTAL_LOBES_FIRST, " (first edition)")]
    for sides, edition in sorted(editions, key=lambda one: -len(found & set(one[0]))):
        if len(found & set(sides)) > 1:
            own = {label: side for label, side in sides.items() if label in found}
            yield LabelReading(f"labels of TotalSegmentator{edition}", own)


def _fits(sides: Mapping[int, int], spreads: Mapping[int, _Spread]) -> bool:
    """The right lung lies to the right of the left one, and labels of one lung lie above each other."""
    right, left = (
        [spreads[k] for k, side in sides.items() if side == label and k in spreads]
        for label in (LABEL_RIGHT, LABEL_LEFT)
    )
    if right and left:
        return max(one.center for one in right) < min(one.center for one in left)
    parts = right or left
    return not parts or max(one.low for one in parts) < min(one.high for one in parts)


def _prefer_sides(named: dict[int, int]) -> dict[int, int]:
    """Without lungs of both sides where both are there one by one too."""
    sides = {label: side for label, side in named.items() if side != LABEL_BOTH}
    return sides if set(sides.values()) == {LABEL_RIGHT, LABEL_LEFT} else named
