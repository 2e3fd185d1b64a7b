"""Whether the lungs that were found can be lungs, and what of them a scan does not show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.errors import NoLungsError
from miliary.image.anatomy.coarse import Coarse
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, LungCheck, OpaqueLung
from miliary.model.scan import ScanWarning

Mask = npt.NDArray[np.bool_]
Sides = npt.NDArray[np.int32]

NAMES = {LABEL_RIGHT: "right", LABEL_LEFT: "left"}
VOLUME_RATIO = (0.5, 2.5)
# Lung on the edge of the field [mm2] from which it counts as cut.
CUT_MM2 = 300.0
# Two lungs share this part of the height of the lower one, and their centers lie at about one depth [mm].
COMMON_HEIGHT_SHARE, MAX_DEPTH_STEP_MM = 0.4, 70.0
# Share of the cross-section of the body that one lung takes, in the slice where it is largest.
SECTION_SHARE = (0.02, 0.45)
# Change of the cross-section over 5 mm, as a share of the largest one.
STEP_MM, MAX_STEP_SHARE = 5.0, 0.6
# Share of the lungs darker or denser than these [HU].
GAS_HU, DENSE_HU, MAX_GAS_SHARE, MAX_DENSE_SHARE = -960.0, -600.0, 0.5, 0.5
SOFT_HU = -300.0
# Bone that a scan has to show for ribs to be looked for [mL].
MIN_BONE_ML = 10.0
# Bone round the lungs: attenuation of a block [HU], area in a slice [mm2], how far from the lungs and on how
# many of the slices looked at.
BONE_HU, RIB_MM2, RIB_REACH_MM, RIB_STEP_MM, MIN_RIB_SHARE, MIN_RIB_SLICES = 150.0, 40.0, 25.0, 12.0, 0.6, 6
# Opaque lung is looked for above the domes and away from the great vessels and, lower down, the heart. What
# is thinner than a sliver comes from chests that are not quite mirror images.
DOME_SHARE, VESSELS_MM, SLIVER_MM = 0.3, 40.0, 20.0
# The heart: below this share of the height, in front of this share of the depth, and so far from the midline.
HEART_HEIGHT_SHARE, HEART_DEPTH_SHARE = 0.65, 0.7
HEART_MM = {LABEL_RIGHT: 70.0, LABEL_LEFT: 110.0}
OPAQUE_GRID_MM, OPAQUE_ML, MIN_MIDLINE_SLICES = 4.6, 50.0, 4
# Share of the lungs from which air that was left out is said.
LEFT_OUT_SHARE = 0.03
# Where one lung ends this much higher than the other, more than the liver has raised it.
MAX_BASE_STEP_MM = 60.0


@dataclass(frozen=True)
class Cut:
    """Where lungs reach the edge of the scan.

    Parameters
    ----------
    field_mm2, ends_mm2 : dict of int to float
        Surface of each lung on the edge of the field of view and on the first and last slice, by label.
    surface_mm2 : dict of int to float
        The whole surface of each lung.
    scale : float
        Size of the chest relative to an adult's.
    """

    field_mm2: dict[int, float]
    ends_mm2: dict[int, float]
    surface_mm2: dict[int, float]
    scale: float

    @property
    def is_cut(self) -> bool:
        """The edge of the field of view cuts a lung."""
        return sum(self.field_mm2.values()) > CUT_MM2 * self.scale**2

    def share(self, label: int) -> float:
        """Share of the surface of one lung that lies on the edge of the field of view."""
        return self.field_mm2[label] / max(self.surface_mm2[label], 1e-9)


def measure_cut(coarse: Coarse, sides: Sides, shape_zyx: tuple[int, int, int]) -> Cut:
    """Surface of each lung on the edge of the scan.

    Parameters
    ----------
    coarse : Coarse
    sides : ndarray of int32, shape of the coarse grid
        1 right lung, 2 left lung.
    shape_zyx : tuple of int
        Of the scan, in voxels.

    Returns
    -------
    Cut
    """
    area = [np.prod(coarse.spacing_mm) / s for s in coarse.spacing_mm]
    inside = np.ones(sides.shape[1:], dtype=bool) if coarse.field is None else coarse.field
    # The part of the scan that holds the body may end before the scan does.
    starts = [o == 0 for o in coarse.offset_yx]
    stops = [
        o + n * f >= full
        for o, n, f, full in zip(
            coarse.offset_yx, sides.shape[1:], coarse.factor[1:], shape_zyx[1:], strict=True
        )
    ]
    padded = np.pad(~inside, 1)
    padded[0], padded[-1] = starts[0], stops[0]
    padded[:, 0], padded[:, -1] = starts[1], stops[1]
    beyond_y = padded[:-2, 1:-1].astype(int) + padded[2:, 1:-1]
    beyond_x = padded[1:-1, :-2].astype(int) + padded[1:-1, 2:]
    field, ends, surface = {}, {}, {}
    for label in NAMES:
        own = sides == label
        count = own.sum(axis=0)
        field[label] = float((count * inside * (beyond_y * area[1] + beyond_x * area[2])).sum())
        ends[label] = float(np.count_nonzero(own[[0, -1]]) * area[0])
        faces = [np.count_nonzero(np.diff(own, axis=a)) * area[a] for a in range(3)]
        surface[label] = float(sum(faces)) + field[label] + ends[label]
    return Cut(field, ends, surface, coarse.scale)


def check_lungs(
    coarse: Coarse,
    sides: Sides,
    *,
    cut: Cut,
    is_cut_off: bool,
    has_airways: bool = True,
    left_out_ml: float = 0.0,
    is_side_sure: bool = True,
) -> tuple[tuple[ScanWarning, ...], tuple[LungCheck, ...]]:
    """Whether what was found, or given, can be lungs.

    Parameters
    ----------
    coarse : Coarse
    sides : ndarray of int32, shape of the coarse grid
        1 right lung, 2 left lung.
    cut : Cut
    is_cut_off : bool
        Lung reaches the edge of the scan.
    has_airways : bool
        Trachea or main bronchi were found and left out.
    left_out_ml : float
        Air with the density of lung that belongs to neither lung [mL].
    is_side_sure : bool
        The side of a lone lung is seen from where it lies, or from its outline and what lies beside it.

    Returns
    -------
    warnings : tuple of ScanWarning
        `lungs_cut_off`, `lung_touches_field_edge`, `single_lung`, `lung_volume_ratio`,
        `lung_size_implausible`, `lung_outline_uneven`, `lung_attenuation_unusual`, `opaque_lung`,
        `lung_base_raised`, `lung_air_left_out`, `lung_outside_ribs`, `airways_not_found`.
    checks : tuple of LungCheck
        The same as numbers: what each looks at, and whether it holds.

    Raises
    ------
    NoLungsError
        The two lungs do not lie side by side.
    """
    out = []
    if is_cut_off:
        out.append(ScanWarning("lungs_cut_off", "Part of the lungs lies outside the scan."))
    if cut.is_cut:
        shares = " and ".join(f"{cut.share(a):.0%} of the {NAMES[a]} lung" for a in NAMES if cut.field_mm2[a])
        out.append(
            ScanWarning(
                "lung_touches_field_edge",
                f"The field of view cuts the lungs: of the surface {shares} lies on its edge; what lies "
                "beyond is not measured.",
            )
        )
    surface = max(sum(cut.surface_mm2.values()), 1e-9)
    ends_mm2 = sum(cut.ends_mm2.values())
    checks = [
        LungCheck("within_field", not cut.is_cut, sum(cut.field_mm2.values()) / surface),
        LungCheck("within_slices", ends_mm2 <= CUT_MM2 * coarse.scale**2, ends_mm2 / surface),
    ]
    for warn in (
        _check_volumes(coarse, sides, left_out_ml, is_side_sure=is_side_sure),
        _check_sections(coarse, sides, is_cut=cut.is_cut),
        _check_ribs(coarse, sides),
        _check_attenuation(coarse, sides),
    ):
        out += warn[0]
        checks += warn[1]
    if not has_airways:
        out.append(ScanWarning("airways_not_found", "No trachea was found; airways may count as lung."))
    return tuple(out), tuple(checks)


Checked = tuple[list[ScanWarning], list[LungCheck]]


def _check_volumes(coarse: Coarse, sides: Sides, left_out_ml: float, *, is_side_sure: bool) -> Checked:
    """A missing lung, two that differ, and air that was left out."""
    out = []
    ml = {label: float(np.count_nonzero(sides == label)) * coarse.voxel_ml for label in NAMES}
    checks = [LungCheck("two_lungs", all(ml.values()), float(sum(v > 0 for v in ml.values())))]
    if not all(ml.values()):
        out.append(_warn_single(ml, is_side_sure=is_side_sure))
        checks.append(LungCheck("side_known", is_side_sure, 1.0 if is_side_sure else 0.0))
    else:
        _require_side_by_side(coarse, sides)
        ratio = ml[LABEL_RIGHT] / ml[LABEL_LEFT]
        is_usual = VOLUME_RATIO[0] < ratio < VOLUME_RATIO[1]
        checks.append(LungCheck("volume_by_side", is_usual, ratio))
        if not is_usual:
            out.append(
                ScanWarning(
                    "lung_volume_ratio",
                    f"The right lung measures {ratio:.1f} times the left one; check the lung mask.",
                )
            )
        out += _warn_opaque(coarse, sides)
    if left_out_ml > LEFT_OUT_SHARE * sum(ml.values()):
        out.append(
            ScanWarning(
                "lung_air_left_out",
                f"{left_out_ml:.0f} mL of air with the density of lung lie beside neither lung and were left "
                "out; check the lung mask.",
            )
        )
    return out, checks


def _warn_single(ml: dict[int, float], *, is_side_sure: bool) -> ScanWarning:
    """That one lung is missing."""
    found = max(ml, key=lambda label: ml[label])
    missing = NAMES[LABEL_LEFT if found == LABEL_RIGHT else LABEL_RIGHT]
    which = (
        f"by its place and outline it is the {NAMES[found]} one. The {missing} one"
        if is_side_sure
        else f"its side is not determined: it is listed as the {NAMES[found]} one. The other one"
    )
    return ScanWarning(
        "single_lung",
        f"Only one lung was found ({ml[found]:.0f} mL); {which} lies outside the field of view, is removed "
        "or holds no air.",
    )


def _check_ribs(coarse: Coarse, sides: Sides) -> Checked:
    """Whether bone lies round the lungs, on the outer side of each."""
    reach = [max(1, round(RIB_REACH_MM * coarse.scale / d)) for d in coarse.spacing_mm[1:]]
    block_mm2 = coarse.spacing_mm[1] * coarse.spacing_mm[2]
    bone = coarse.hu > BONE_HU
    k = np.flatnonzero((sides > 0).any(axis=(1, 2)))
    if len(k) < MIN_RIB_SLICES or np.count_nonzero(bone) * coarse.voxel_ml < coarse.scale_ml(MIN_BONE_ML):
        # Too few slices, or a scan without bone: nothing can be told.
        return [], []
    k = k[:: max(1, round(RIB_STEP_MM * coarse.scale / coarse.spacing_mm[0]))]
    seen = []
    for plane, lungs in zip(bone[k], sides[k] > 0, strict=True):
        rows, columns = (np.flatnonzero(lungs.any(axis=axis)) for axis in (1, 0))
        view = plane[
            max(0, rows[0] - reach[0]) : rows[-1] + 1 + reach[0],
            max(0, columns[0] - reach[1]) : columns[-1] + 1 + reach[1],
        ]
        seen.append(np.count_nonzero(view) * block_mm2 > RIB_MM2 * coarse.scale**2)
    share = float(np.mean(seen))
    if share >= MIN_RIB_SHARE:
        return [], [LungCheck("inside_ribs", True, share)]
    text = (
        f"Bone lies round the lungs on {share:.0%} of their slices only, at least {MIN_RIB_SHARE:.0%} are "
        "expected; check the lung mask."
    )
    return [ScanWarning("lung_outside_ribs", text)], [LungCheck("inside_ribs", False, share)]


def _require_side_by_side(coarse: Coarse, sides: Sides) -> None:
    """Raise `NoLungsError` for two lungs that lie one over, or one behind, the other."""
    heights, depths = {}, {}
    for label in NAMES:
        own = sides == label
        heights[label] = np.flatnonzero(own.any(axis=(1, 2)))
        count = own.sum(axis=(0, 2))
        depths[label] = float(np.average(np.arange(len(count)), weights=count)) * coarse.spacing_mm[1]
    right, left = heights[LABEL_RIGHT], heights[LABEL_LEFT]
    common = min(right[-1], left[-1]) - max(right[0], left[0]) + 1
    share = common / min(right[-1] - right[0] + 1, left[-1] - left[0] + 1)
    step = abs(depths[LABEL_RIGHT] - depths[LABEL_LEFT])
    if share < COMMON_HEIGHT_SHARE or step > MAX_DEPTH_STEP_MM * coarse.scale:
        raise NoLungsError(
            f"the two largest parts of air in the body are not two lungs: they share {max(share, 0.0):.0%} "
            f"of their height and lie {step:.0f} mm apart from front to back; expected two lungs side by "
            "side, check the series and its field of view"
        )


def _check_sections(coarse: Coarse, sides: Sides, *, is_cut: bool) -> Checked:
    """Cross-sections of impossible size, and jumps from slice to slice."""
    out = []
    shares, jumps, is_smooth = [], [], True
    area = coarse.spacing_mm[1] * coarse.spacing_mm[2] / 100.0
    for label, name in NAMES.items():
        section = (sides == label).sum(axis=(1, 2)) * area
        if not section.any():
            continue
        k = int(section.argmax())
        body = np.prod(np.minimum(np.diff(coarse.rows[k]), sides.shape[1])) * area
        body *= np.prod(np.minimum(np.diff(coarse.columns[k]), sides.shape[2])) * np.pi / 4.0
        share = float(section[k] / max(float(body), 1e-9))
        shares.append(share)
        if not SECTION_SHARE[0] < share < SECTION_SHARE[1] and not is_cut:
            out.append(
                ScanWarning(
                    "lung_size_implausible",
                    f"The {name} lung takes {share:.0%} of the cross-section of the body where it is largest "
                    f"({section[k]:.0f} cm2), outside {SECTION_SHARE[0]:.0%} to {SECTION_SHARE[1]:.0%}; "
                    "check the lung mask.",
                )
            )
        step = max(1, round(STEP_MM * coarse.scale / coarse.spacing_mm[0]))
        jump = np.abs(section[step:] - section[:-step])
        allowed = MAX_STEP_SHARE * section[k] * step * coarse.spacing_mm[0] / (STEP_MM * coarse.scale)
        if len(jump):
            per_step = STEP_MM * coarse.scale / (step * coarse.spacing_mm[0])
            jumps.append(float(jump.max() / section[k] * per_step))
        if len(jump) and jump.max() > allowed:
            is_smooth = False
            at = int(jump.argmax())
            out.append(
                ScanWarning(
                    "lung_outline_uneven",
                    f"The cross-section of the {name} lung changes from {section[at]:.0f} to "
                    f"{section[at + step]:.0f} cm2 over {step * coarse.spacing_mm[0]:.0f} mm near slice "
                    f"{at * coarse.factor[0] + 1}; check the lung mask.",
                )
            )
    checks = []
    if shares and not is_cut:
        is_plausible = all(SECTION_SHARE[0] < share < SECTION_SHARE[1] for share in shares)
        checks.append(LungCheck("section_of_body", is_plausible, max(shares)))
    if jumps:
        checks.append(LungCheck("smooth_between_slices", is_smooth, max(jumps)))
    return out, checks


def _check_attenuation(coarse: Coarse, sides: Sides) -> Checked:
    """Attenuation that is not that of lung."""
    hu = coarse.hu[sides > 0]
    gas, dense = float(np.mean(hu < GAS_HU)), float(np.mean(hu > DENSE_HU))
    is_lung = gas <= MAX_GAS_SHARE and dense <= MAX_DENSE_SHARE
    checks = [LungCheck("attenuation_of_lung", is_lung, 1.0 - gas - dense)]
    if is_lung:
        return [], checks
    return [
        ScanWarning(
            "lung_attenuation_unusual",
            f"Of what was taken for lung {gas:.0%} is darker than {GAS_HU:.0f} HU and {dense:.0%} denser "
            f"than {DENSE_HU:.0f} HU; check the lung mask.",
        )
    ], checks


def measure_opaque_ml(coarse: Coarse, sides: Sides) -> dict[int, float]:
    """Soft tissue where lung would lie by the mirror image of the other lung [mL], by label.

    Above the domes of the diaphragm, and on the left away from the heart, the two halves of a chest are alike
    to within slivers. Lost on both sides alike it is not seen.

    Parameters
    ----------
    coarse : Coarse
    sides : ndarray of int32, shape of the coarse grid
        1 right lung, 2 left lung.

    Returns
    -------
    dict of int to float
        A lower bound: what is less than 2 cm thick is left out.
    """
    stride = tuple(max(1, round(OPAQUE_GRID_MM * coarse.scale / d)) for d in coarse.spacing_mm)
    middles = _find_midline(coarse, sides)[:: stride[0]] / stride[2]
    steps = tuple(slice(None, None, n) for n in stride)
    sides, hu = sides[steps], coarse.hu[steps]
    spacing = [d * n / coarse.scale for d, n in zip(coarse.spacing_mm, stride, strict=True)]
    filled = np.flatnonzero((sides > 0).any(axis=(1, 2)))
    if not len(filled):
        return {}
    height = filled[-1] - filled[0]
    low = filled[0] + int(DOME_SHARE * height)
    heart_top = max(0, filled[0] + int(HEART_HEIGHT_SHARE * height) - low)
    rows = np.flatnonzero((sides > 0).any(axis=(0, 2)))
    heart_back = rows[0] + int(HEART_DEPTH_SHARE * (rows[-1] - rows[0]))
    view = slice(low, filled[-1] + 1)
    lungs, soft = sides[view], hu[view] > SOFT_HU
    midline, columns = middles[view, None], np.arange(sides.shape[2])
    mirrored = np.rint(2.0 * midline - columns).astype(int)
    valid = ((mirrored >= 0) & (mirrored < sides.shape[2]))[:, None]
    mirrored = np.clip(mirrored, 0, sides.shape[2] - 1)[:, None]
    off_mm = np.abs(columns - midline)[:, None] * spacing[2]
    sliver = max(1, round(0.5 * SLIVER_MM / spacing[2]))
    out = {}
    for label in NAMES:
        other = LABEL_RIGHT + LABEL_LEFT - label
        missing = np.take_along_axis(lungs == other, mirrored, axis=2) & soft & valid & (off_mm > VESSELS_MM)
        missing[:heart_top, :heart_back] &= off_mm[:heart_top] > HEART_MM[label]
        core = ndimage.binary_opening(missing, iterations=sliver)
        if core.any():
            # The opening rounds what it leaves; its rim is given back, slivers are not followed.
            core = ndimage.binary_dilation(core, iterations=sliver, mask=missing)
        out[label] = float(np.count_nonzero(core)) * coarse.voxel_ml * math.prod(stride)
    return out


def find_opaque(coarse: Coarse, sides: Sides) -> OpaqueLung:
    """What `measure_opaque_ml` finds and is more than two halves of a chest differ by.

    Parameters
    ----------
    coarse : Coarse
    sides : ndarray of int32, shape of the coarse grid
        1 right lung, 2 left lung.

    Returns
    -------
    OpaqueLung
        Nothing where one lung was not found: whether it is opaque or gone is not seen.
    """
    if not all((sides == label).any() for label in NAMES):
        return OpaqueLung()
    opaque_ml = measure_opaque_ml(coarse, sides)
    right_ml, left_ml = (opaque_ml.get(label, 0.0) for label in (LABEL_RIGHT, LABEL_LEFT))
    least_ml = coarse.scale_ml(OPAQUE_ML)
    return OpaqueLung(right_ml if right_ml > least_ml else 0.0, left_ml if left_ml > least_ml else 0.0)


def _find_midline(coarse: Coarse, sides: Sides) -> npt.NDArray[np.float64]:
    """Index along x of the middle of the body in each slice (k): a straight line, as patients lie askew.

    Halfway between the sides of the body; where one of them is not seen, between the outer ends of the lungs.
    """
    k = np.flatnonzero((sides > 0).any(axis=(1, 2)))
    if len(k) < MIN_MIDLINE_SLICES:
        return np.full(len(sides), 0.5 * (sides.shape[2] - 1) if coarse.midline is None else coarse.midline)
    middle = 0.5 * (coarse.columns[k].sum(axis=1) - 1.0)
    if coarse.midline is None:
        both = [(plane == LABEL_RIGHT).any() and (plane == LABEL_LEFT).any() for plane in sides[k]]
        k = k[np.asarray(both)]
        ends = np.array([np.flatnonzero((plane > 0).any(axis=0))[[0, -1]] for plane in sides[k]])
        if len(k) < MIN_MIDLINE_SLICES:
            return np.full(len(sides), 0.5 * (sides.shape[2] - 1))
        width = ends[:, 1] - ends[:, 0]
        k, middle = k[width > 0.6 * width.max()], ends.mean(axis=1)[width > 0.6 * width.max()]
    line = np.polyfit(k, middle, 1)
    # Once more without what lies far off, as at the shoulders.
    error = np.abs(np.polyval(line, k) - middle)
    near = error <= max(np.quantile(error, 0.75), 1.0)
    return np.asarray(np.polyval(np.polyfit(k[near], middle[near], 1), np.arange(len(sides))))


def _warn_opaque(coarse: Coarse, sides: Sides) -> list[ScanWarning]:
    """Lung without air, and a lung that ends too high."""
    out = []
    opaque = find_opaque(coarse, sides)
    for label, ml in ((LABEL_RIGHT, opaque.right_ml), (LABEL_LEFT, opaque.left_ml)):
        if ml > 0.0:
            out.append(
                ScanWarning(
                    "opaque_lung",
                    f"About {ml:.0f} mL of soft tissue lies where the {NAMES[label]} lung would by the "
                    "mirror image of the other one: consolidation, collapse, a mass or fluid; no nodules are "
                    "looked for there.",
                )
            )
    lowest = {label: np.flatnonzero((sides == label).any(axis=(1, 2)))[0] for label in NAMES}
    step = (lowest[LABEL_RIGHT] - lowest[LABEL_LEFT]) * coarse.spacing_mm[0]
    if abs(step) > MAX_BASE_STEP_MM * coarse.scale:
        high = NAMES[LABEL_RIGHT if step > 0 else LABEL_LEFT]
        out.append(
            ScanWarning(
                "lung_base_raised",
                f"The {high} lung ends {abs(step):.0f} mm above the other one: a raised diaphragm, or lung "
                "below it that holds no air; no nodules are looked for there.",
            )
        )
    return out
