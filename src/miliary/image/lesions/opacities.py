"""Bodies that touch mediastinum, hilum, chest wall or diaphragm, and opaque lung whose nature stays open.

Both are looked for inside the wide outline of the lungs (`expected_lung`). A mass there is compact: rays from
its center end after about the same way. What is thick and not compact may be consolidation, collapse or a
mass that runs on into other tissue; it is said, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy import regions
from miliary.image.lesions.expected_lung import find_midline, find_wide_hull
from miliary.image.lesions.field import LesionField
from miliary.image.lesions.outline import LesionOutline
from miliary.image.lesions.rays import Rays, center_rays, list_peaks
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, OpaqueLung
from miliary.model.lesion import MIN_LONG_AXIS_MM, PointLpsMm
from miliary.model.scan import ScanWarning

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SOLID_HU = -300.0
# A center is at least this deep in dense tissue; two centers of one body are nearer than this share of it.
MIN_DEPTH_MM, SAME_BODY_SHARE, MAX_STARTS = 4.0, 0.7, 120
# A body is attached from this share of the rays on that end at the outline; a mass in the angle between
# mediastinum and wall ends there in most.
ATTACHED_SHARE, MAX_ATTACHED_SHARE, MAX_ATTACHED_STRETCH = 0.04, 0.65, 1.7
# Healthy hila and the roots of great vessels are up to 11 mm deep in the outline.
OPAQUE_DEPTH_MM, OPAQUE_ML = 14.0, 15.0
# Less opaque lung than this is no matter for a warning.
SAID_ML = 15.0


@dataclass(frozen=True)
class UndecidedOpacity:
    """Opaque lung of which it is not decided whether it is a mass.

    Parameters
    ----------
    position_lps_mm : (x, y, z)
        Where it is thickest.
    volume_ml : float
        Opaque tissue around that place inside the outline of the lung [mL].
    """

    position_lps_mm: PointLpsMm
    volume_ml: float


@dataclass(frozen=True)
class OpaqueTissue:
    """Dense tissue inside the wide outline of the lungs.

    Parameters
    ----------
    field : LesionField
        With the wide outline as its hull.
    depth_mm : ndarray of float32, shape of the field
        Depth in the dense tissue, 0 outside.
    """

    field: LesionField
    depth_mm: F32


def find_opaque_tissue(field: LesionField) -> OpaqueTissue:
    """Dense tissue where lung would lie.

    Parameters
    ----------
    field : LesionField
        The lungs.

    Returns
    -------
    OpaqueTissue
    """
    wide = replace(field, hull=find_wide_hull(field))
    dense = wide.hull & (ndimage.uniform_filter(field.hu, 3) > SOLID_HU)
    depth = regions.measure_distance(np.pad(dense, 1), field.spacing_mm)[1:-1, 1:-1, 1:-1]
    return OpaqueTissue(wide, depth)


def find_attached(opaque: OpaqueTissue) -> list[Rays]:
    """Rays of the compact bodies that reach the wide outline.

    Parameters
    ----------
    opaque : OpaqueTissue

    Returns
    -------
    list of Rays
        In order of decreasing radius.
    """
    found = []
    starts = list_peaks(
        opaque.depth_mm,
        opaque.field.spacing_mm,
        min_depth_mm=MIN_DEPTH_MM,
        same_body_share=SAME_BODY_SHARE,
        max_n=MAX_STARTS,
    )
    for start in starts:
        rays = center_rays(opaque.field, start)
        if rays is None or rays.hull_share <= ATTACHED_SHARE or 2.0 * rays.radius_mm < MIN_LONG_AXIS_MM:
            continue
        if rays.ends_within(MAX_ATTACHED_SHARE, MAX_ATTACHED_STRETCH):
            found.append(rays)
    return sorted(found, key=lambda rays: -rays.radius_mm)


def warn_opacities(opacities: Sequence[UndecidedOpacity]) -> tuple[ScanWarning, ...]:
    """Say where opaque lung lies that may be a mass.

    Parameters
    ----------
    opacities : sequence of UndecidedOpacity
        Largest first.

    Returns
    -------
    tuple of ScanWarning
        One of code `opacity_undecided` for each, with the option that measures it.
    """
    out = []
    for one in opacities:
        x, y, z = one.position_lps_mm
        out.append(
            ScanWarning(
                "opacity_undecided",
                f"A large opacity (about {one.volume_ml:.0f} mL, thickest at {x:.0f}, {y:.0f}, {z:.0f} mm) "
                "touches mediastinum or wall and is not compact: consolidation, collapse and a mass look "
                f"alike here. To measure it, point at it: --lesion={x:.0f},{y:.0f},{z:.0f}",
            )
        )
    return tuple(out)


@dataclass(frozen=True)
class ThickPart:
    """One thick part of the opaque tissue, whether it belongs to a lesion or not.

    Parameters
    ----------
    thickest : ndarray of float64, shape (3,)
        Its thickest place, as an index of the field.
    volume_ml : float
        Opaque tissue around that place inside the outline of the lung [mL].
    voxels : ndarray of int64, shape (n, 3)
        That tissue, as indices of the field.
    """

    thickest: F64
    volume_ml: float
    voxels: npt.NDArray[np.int64]


def find_thick_parts(opaque: OpaqueTissue) -> list[ThickPart]:
    """Thick parts of the opaque tissue.

    Parameters
    ----------
    opaque : OpaqueTissue

    Returns
    -------
    list of ThickPart
        Largest first; healthy hila are thinner than what is listed.
    """
    core = opaque.depth_mm >= OPAQUE_DEPTH_MM
    labels, n = ndimage.label(core)
    if not n:
        return []
    grown = ndimage.distance_transform_edt(labels == 0, sampling=opaque.field.spacing_mm, return_indices=True)
    away, nearest = grown
    around = (opaque.depth_mm > 0) & (away <= OPAQUE_DEPTH_MM)
    owner = labels[tuple(nearest)]
    voxel_ml = float(np.prod(opaque.field.spacing_mm)) / 1000.0
    found = []
    for number in range(1, n + 1):
        own = labels == number
        place = np.array(np.unravel_index(int(np.argmax(np.where(own, opaque.depth_mm, 0.0))), own.shape))
        voxels = np.argwhere(around & (owner == number))
        volume = len(voxels) * voxel_ml
        if volume >= OPAQUE_ML:
            found.append(ThickPart(place.astype(np.float64), volume, voxels))
    return sorted(found, key=lambda part: -part.volume_ml)


def measure_opaque(
    opaque: OpaqueTissue, thick: Sequence[ThickPart], solid: Sequence[LesionOutline]
) -> OpaqueLung:
    """Volume of lung that holds no air, so that no nodule can be seen in it.

    Parameters
    ----------
    opaque : OpaqueTissue
    thick : sequence of ThickPart
        Of that tissue.
    solid : sequence of LesionOutline
        Solid lesions, whether the lung mask holds them or not.

    Returns
    -------
    OpaqueLung
        What is thinner than thick parts and in no lesion is left out: a lower bound.
    """
    field = opaque.field
    is_opaque = np.zeros(field.hu.shape, dtype=bool)
    for part in thick:
        is_opaque[tuple(part.voxels.T)] = True
    for shape in solid:
        voxels = field.index_here(np.argwhere(shape.mask) + shape.start)
        blocks = np.clip(np.rint(voxels), 0, np.asarray(field.hu.shape) - 1).astype(np.int64)
        blocks, n_voxels = np.unique(blocks, axis=0, return_counts=True)
        is_filled = n_voxels > 0.5 * np.prod(field.factor)
        is_opaque[tuple(blocks[is_filled].T)] = True
    voxel_ml = float(np.prod(field.spacing_mm)) / 1000.0
    total_ml = float(np.count_nonzero(is_opaque)) * voxel_ml
    present = {label for label in (LABEL_RIGHT, LABEL_LEFT) if (field.labels == label).any()}
    if len(present) == 1:
        return OpaqueLung(total_ml, 0.0) if LABEL_RIGHT in present else OpaqueLung(0.0, total_ml)
    middle = find_midline(field.labels)[:, None, None]
    is_right = np.arange(field.hu.shape[2]) < middle
    right_ml = float(np.count_nonzero(is_opaque & is_right)) * voxel_ml
    return OpaqueLung(right_ml, total_ml - right_ml)


def warn_opaque(opaque: OpaqueLung, seen_ml: float) -> tuple[ScanWarning, ...]:
    """Say how much of the lungs cannot be searched.

    Parameters
    ----------
    opaque : OpaqueLung
    seen_ml : float
        Volume of the lung mask [mL].

    Returns
    -------
    tuple of ScanWarning
        `lung_not_seen` from `SAID_ML` on.
    """
    if opaque.total_ml < SAID_ML:
        return ()
    share = opaque.total_ml / max(opaque.total_ml + seen_ml, 1.0)
    text = (
        f"At least {opaque.total_ml:.0f} mL of lung ({share:.0%}) hold no air: consolidation, collapse, a "
        "mass or fluid. No nodule can be seen there; counts and volumes are those of the rest."
    )
    return (ScanWarning("lung_not_seen", text),)
