"""Lungs that were outlined elsewhere: sides named from where they lie, and looked at as found ones are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy import lung_checks, lung_sides, segmentation
from miliary.image.anatomy.body import measure_body
from miliary.image.anatomy.coarse import Coarse, measure_coarse
from miliary.model.ct_result import LABEL_BOTH, LABEL_LEFT, LABEL_RIGHT, Lungs
from miliary.model.scan import Scan, ScanWarning

Labels = npt.NDArray[np.uint8]

# Aerated lung is darker than this [HU]; share of a mask that has to be, and below which it is doubtful.
AERATED_HU, MIN_AERATED, USUAL_AERATED = -400, 0.3, 0.6
# Lung that the program finds and the mask leaves out, as a share, from which it is said.
LEFT_OUT_SHARE = 0.05
MIN_MASK_ML = 20.0


def take_lungs(scan: Scan, labels: Labels, source: str) -> tuple[Lungs, tuple[ScanWarning, ...]]:
    """Both lungs of a mask that was made elsewhere.

    Parameters
    ----------
    scan : Scan
    labels : ndarray of uint8, shape (z, y, x) of the scan
        0 outside, 1 right lung, 2 left lung, 3 lung of which the mask does not say the side.
    source : str
        What the mask was read from, in words.

    Returns
    -------
    lungs : Lungs
        With the sides by their place: what lies to the patient's right is the right lung.
    warnings : tuple of ScanWarning
        `lung_mask_sides_swapped`, `lung_mask_dense`, `lung_mask_differs`, and those of
        `lung_checks.check_lungs`.

    Raises
    ------
    NoLungsError
        The mask is nearly empty, does not lie on lung, or holds two parts that do not lie side by side.
    """
    volume_ml = np.count_nonzero(labels) * scan.grid.voxel_volume_mm3 / 1000.0
    if volume_ml < MIN_MASK_ML:
        raise NoLungsError(
            f"the lung mask holds {volume_ml:.0f} mL inside the scan; give the mask of this scan"
        )
    warnings = list(_check_air(scan, labels))
    coarse = measure_coarse(scan, measure_body(scan))
    labels, was_swapped = _name_sides(labels, coarse)
    if was_swapped:
        text = "The lung mask calls the lung on the patient's left the right one; the sides were swapped."
        warnings.append(ScanWarning("lung_mask_sides_swapped", text))
    sides = _sample(labels, coarse).astype(np.int32)
    cut = lung_checks.measure_cut(coarse, sides, scan.grid.shape_zyx)
    is_cut_off = segmentation.is_cut_off(labels, scan) or cut.is_cut
    said, checks = lung_checks.check_lungs(coarse, sides, cut=cut, is_cut_off=is_cut_off)
    warnings += [*said, *_compare_with_found(scan, labels)]
    opaque = lung_checks.find_opaque(coarse, sides)
    return Lungs(labels, scan.grid.voxel_volume_mm3, is_cut_off, source, checks, opaque), tuple(warnings)


def _check_air(scan: Scan, labels: Labels) -> list[ScanWarning]:
    """Whether the mask lies on air-filled lung.

    Raises
    ------
    NoLungsError
        It does not.
    """
    step = tuple(max(1, n // 200) for n in labels.shape)
    view = tuple(slice(None, None, n) for n in step)
    own = scan.voxels_hu[view][labels[view] > 0]
    share = float(np.mean(own < AERATED_HU)) if own.size else 0.0
    text = f"{share:.0%} of the lung mask is darker than {AERATED_HU} HU"
    if share < MIN_AERATED:
        raise NoLungsError(f"only {text}: it does not lie on the lungs; give the mask of this scan")
    if share < USUAL_AERATED:
        return [ScanWarning("lung_mask_dense", f"Only {text}: lung without air, or a mask of another scan.")]
    return []


def _sample(labels: Labels, coarse: Coarse) -> Labels:
    """The labels at the centers of the coarse blocks."""
    start = (0, *coarse.offset_yx)
    index = [
        np.minimum(o + np.arange(n) * f + f // 2, m - 1)
        for o, n, f, m in zip(start, coarse.hu.shape, coarse.factor, labels.shape, strict=True)
    ]
    return labels[np.ix_(*index)]


def _name_sides(labels: Labels, coarse: Coarse) -> tuple[Labels, bool]:
    """Labels 1 and 2 alone, the right lung on the patient's right; whether the mask had them swapped."""
    if (labels == LABEL_BOTH).any():
        labels = _divide(labels, coarse)
    x = [
        lung_sides.center_x(labels == label) for label in (LABEL_RIGHT, LABEL_LEFT) if (labels == label).any()
    ]
    if len(x) == 2 and x[0] > x[1]:
        swapped = np.array([0, LABEL_LEFT, LABEL_RIGHT], dtype=np.uint8)
        return swapped[labels], True
    return labels, False


def _divide(labels: Labels, coarse: Coarse) -> Labels:
    """Lung without a side given to the right or the left lung by its place."""
    mask = _sample(labels, coarse) > 0
    parts, sizes = lung_sides.label_parts(mask)
    order = [int(index) for index in np.argsort(sizes)[::-1] if sizes[index] > 0]
    if not order:
        return np.where(labels > 0, np.uint8(LABEL_RIGHT), np.uint8(0))
    sides = lung_sides.choose_lungs(coarse, parts, sizes, order)
    if sides.max() == 1:
        sides *= lung_sides.name_single(coarse, sides > 0)[0]
    elif lung_sides.center_x(sides == 1) > lung_sides.center_x(sides == 2):
        sides = np.where(sides > 0, 3 - sides, 0).astype(np.int32)
    # Each voxel of the mask goes to the side that is nearest on the coarse grid.
    nearest = ndimage.distance_transform_edt(
        sides == 0, sampling=coarse.spacing_mm, return_distances=False, return_indices=True
    )
    field = sides[tuple(nearest)].astype(np.uint8)
    start = (0, *coarse.offset_yx)
    index = [
        np.clip((np.arange(m) - o) // f, 0, n - 1)
        for o, n, f, m in zip(start, coarse.hu.shape, coarse.factor, labels.shape, strict=True)
    ]
    return np.where(labels == LABEL_BOTH, field[np.ix_(*index)], labels)


def _compare_with_found(scan: Scan, labels: Labels) -> list[ScanWarning]:
    """Where the program finds lung that the mask leaves out; nothing where it finds no lungs."""
    try:
        found, _ = segmentation.find_lungs(scan)
    except NoLungsError:
        return []
    own_ml, left_out_ml = (
        np.count_nonzero(one) * scan.grid.voxel_volume_mm3 / 1000.0
        for one in (labels > 0, (found.labels > 0) & (labels == 0))
    )
    if left_out_ml <= LEFT_OUT_SHARE * (own_ml + left_out_ml):
        return []
    return [
        ScanWarning(
            "lung_mask_differs",
            f"The lung mask leaves out {left_out_ml:.0f} mL that the program takes for lung "
            f"({left_out_ml / (own_ml + left_out_ml):.0%}); nothing is looked for there.",
        )
    ]
