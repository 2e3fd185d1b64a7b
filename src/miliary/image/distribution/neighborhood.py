"""What lies around and between the marks of a scan: strands that join them, dense lung, holes, patches.

Disease of the airways and of the lung itself makes marks too: buds on filled bronchioles, walls of cysts,
knots of a net of lines. Such marks are joined by strands of soft tissue, lie in dense or destroyed lung, or
crowd in patches, as nodules spread by the blood do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.anatomy.lung_box import LungBox

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Marks whose surfaces are this far apart, and centers no farther than that, are looked at for a strand.
LEAST_GAP_MM, REACH_MM = 1.5, 9.0
# A strand: nowhere between them less than this share of the way from lung to soft tissue.
STRAND_SHARE, SOFT_TISSUE_HU = 0.15, 40.0
SHELL_MM = (2.0, 3.5)
N_DIRECTIONS, N_ALONG = 24, 9
DENSE_ABOVE_LUNG_HU = 130.0
# Below the lung by that many of its own spreads, within limits [HU].
AIR_SPREADS, AIR_BELOW_LUNG_HU = 2.2, (60.0, 95.0)


@dataclass(frozen=True)
class Neighborhood:
    """What lies around n marks.

    Parameters
    ----------
    is_joined : ndarray of bool, shape (n,)
        A strand of soft tissue leads to another mark.
    has_partner : ndarray of bool, shape (n,)
        Another mark is near enough for that.
    in_dense : ndarray of bool, shape (n,)
        Around the mark the lung is denser than usual, on most sides.
    beside_air : ndarray of bool, shape (n,)
        Around the mark there is air in place of lung, on a fifth of the sides.
    """

    is_joined: Bool
    has_partner: Bool
    in_dense: Bool
    beside_air: Bool

    def select(self, keep: Bool) -> Neighborhood:
        """What lies around the marks of a mask."""
        return Neighborhood(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def look_at_neighborhood(box: LungBox, smooth_hu: F32, position_mm: F64, diameter_mm: F64) -> Neighborhood:
    """Look at what lies around and between marks.

    Parameters
    ----------
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        The box after the Gaussian of the finest scale [HU].
    position_mm : ndarray, shape (n, 3)
        Centers (z, y, x) from the first voxel of the box [mm].
    diameter_mm : ndarray, shape (n,)
        Diameters [mm]; NaN counts as 2 mm.

    Returns
    -------
    Neighborhood
    """
    n = len(position_mm)
    none = np.zeros(n, dtype=bool)
    inside = smooth_hu[::4, ::4, ::4][box.labels[::4, ::4, ::4] > 0]
    if n == 0 or not len(inside):
        return Neighborhood(none, none, none, none)
    lung_hu = float(np.median(inside))
    spread = lung_hu - float(np.quantile(inside, 0.16))
    air_hu = lung_hu - float(np.clip(AIR_SPREADS * spread, *AIR_BELOW_LUNG_HU))
    spacing = np.asarray(box.spacing_zyx_mm)
    radius = np.nan_to_num(diameter_mm, nan=2.0) / 2
    shell, in_lung = _sample_shells(box, smooth_hu, position_mm, radius)
    counted = np.maximum(in_lung.sum(axis=1), 1)
    dense = ((shell > lung_hu + DENSE_ABOVE_LUNG_HU) & in_lung).sum(axis=1) / counted
    airy = ((shell < air_hu) & in_lung).sum(axis=1) / counted
    is_joined, has_partner = none.copy(), none.copy()
    pairs = cKDTree(position_mm).query_pairs(REACH_MM, output_type="ndarray")
    if len(pairs):
        away = np.linalg.norm(position_mm[pairs[:, 0]] - position_mm[pairs[:, 1]], axis=1)
        gap = away - radius[pairs].sum(axis=1)
        pairs, away = pairs[gap > LEAST_GAP_MM], away[gap > LEAST_GAP_MM]
        has_partner[pairs.ravel()] = True
        share = np.linspace(0, 1, N_ALONG)[None, :, None]
        between = position_mm[pairs[:, 0], None] * (1 - share) + position_mm[pairs[:, 1], None] * share
        along = _sample(smooth_hu, between.reshape(-1, 3) / spacing).reshape(len(pairs), N_ALONG)
        floor = lung_hu + STRAND_SHARE * (SOFT_TISSUE_HU - lung_hu)
        is_joined[pairs[along.min(axis=1) > floor].ravel()] = True
    return Neighborhood(is_joined, has_partner, dense > 0.6, airy > 0.2)


def _sample(values: F32, index: F64) -> F64:
    return np.asarray(ndimage.map_coordinates(values, index.T, order=1, mode="nearest"), dtype=np.float64)


def _sample_shells(box: LungBox, smooth_hu: F32, position_mm: F64, radius_mm: F64) -> tuple[F64, Bool]:
    """Attenuation on two shells around each mark [HU], shape (n, samples), and which of them are lung."""
    # Golden angles cover the sphere evenly.
    k = np.arange(N_DIRECTIONS) + 0.5
    z, turn = 1 - 2 * k / N_DIRECTIONS, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    way = np.stack([z, flat * np.sin(turn), flat * np.cos(turn)], axis=1)
    away = np.concatenate([way * d for d in SHELL_MM])
    reach = 1.0 + radius_mm[:, None, None] / np.linalg.norm(away, axis=1)[None, :, None]
    index = (position_mm[:, None] + away[None] * reach) / np.asarray(box.spacing_zyx_mm)
    nearest = np.rint(index).astype(np.int64)
    seen = np.all((nearest >= 0) & (nearest < box.labels.shape), axis=2)
    clipped = np.clip(nearest, 0, np.asarray(box.labels.shape) - 1)
    inside = seen & (box.labels[tuple(np.moveaxis(clipped, 2, 0))] > 0)
    return _sample(smooth_hu, index.reshape(-1, 3)).reshape(inside.shape), inside
