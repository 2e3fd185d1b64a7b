"""Points in the lungs with their distances to pleura, fissures and vessels, and the zone that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy.surroundings import Surroundings

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

# Gap [mm] between the surface of a nodule and a structure that counts as contact, rim and near.
CONTACT_MM, RIM_MM, NEAR_MM = 1.0, 2.5, 3.0
# Nodules that bulge into the pleura have their center nearer to it than their radius.
LEAST_DEPTH_RADII = 0.8

# Zones in order of precedence; a point belongs to the first that applies.
ZONES = ("pleura_contact", "pleura_rim", "fissure_contact", "vessel_contact", "vessel_near", "free")


@dataclass(frozen=True)
class Locations:
    """Points in the lungs, n of them sorted by height, with their distances to structures.

    Parameters
    ----------
    position_mm : ndarray of float64, shape (n, 3)
        (z, y, x) in the frame of the surroundings [mm].
    radius_mm : ndarray of float64, shape (n,)
        Radius of the nodule at each point, real or assumed [mm].
    depth_mm, vessel_mm, fissure_mm : ndarray of float64, shape (n,)
        Distance of the center to the surface of the lung, to the nearest vessel and to the nearest fissure
        [mm], limited as in `Surroundings`.
    deep_mm : ndarray of float64, shape (n,)
        Depth below the surface without upper limit [mm].
    side : ndarray of uint8, shape (n,)
        Lung label: 0 outside, 1 right, 2 left.
    zone : ndarray of int64, shape (n,)
        Number of the zone in `ZONES`.
    """

    position_mm: F64
    radius_mm: F64
    depth_mm: F64
    vessel_mm: F64
    fissure_mm: F64
    deep_mm: F64
    side: npt.NDArray[np.uint8]
    zone: I64

    def __len__(self) -> int:
        return len(self.position_mm)

    def select(self, keep: npt.NDArray[Any]) -> Locations:
        """The points of a boolean mask or of an array of rows."""
        return Locations(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def can_hold_nodule(self) -> npt.NDArray[np.bool_]:
        """Which points can hold a nodule: not inside a vessel, not half outside the lung; shape (n,)."""
        return (self.vessel_mm > 0) & (self.depth_mm > LEAST_DEPTH_RADII * self.radius_mm)

    def visible(self) -> Locations:
        """The points where a nodule would be visible: not inside a vessel."""
        return self.select(self.vessel_mm > 0)


def measure_locations(surroundings: Surroundings, position_mm: F64, radius_mm: F64) -> Locations:
    """Measure distances of points to pleura, vessels and fissures.

    Parameters
    ----------
    surroundings : Surroundings
        Maps of the lungs.
    position_mm : ndarray, shape (n, 3)
        Points (z, y, x) in the frame of the surroundings [mm].
    radius_mm : ndarray, shape (n,)
        Radius of the nodule at each point [mm].

    Returns
    -------
    Locations
        Sorted by height (z), not in the given order.
    """
    order = np.argsort(position_mm[:, 0], kind="stable")
    position, radius = np.ascontiguousarray(position_mm[order]), radius_mm[order]
    depth = surroundings.measure_depth_mm(position)
    vessel = surroundings.measure_vessel_mm(position)
    fissure = surroundings.measure_fissure_mm(position)
    deep = surroundings.measure_deep_mm(position)
    side = surroundings.side_of(position)
    zone = _zone_of(depth - radius, fissure - radius, vessel - radius)
    return Locations(position, radius, depth, vessel, fissure, deep, side, zone)


def _zone_of(pleura_gap_mm: F64, fissure_gap_mm: F64, vessel_gap_mm: F64) -> I64:
    """Number of the first zone that applies, from the gaps between the surface of a nodule and structures."""
    return np.select(
        [
            pleura_gap_mm < CONTACT_MM,
            pleura_gap_mm < RIM_MM,
            fissure_gap_mm < CONTACT_MM,
            vessel_gap_mm < CONTACT_MM,
            vessel_gap_mm < NEAR_MM,
        ],
        range(len(ZONES) - 1),
        len(ZONES) - 1,
    ).astype(np.int64)
