"""`Lesion`: one large lesion (8 mm and more), solid or cavitary, as `miliary ct` reports it.

Everything that counts nodules leaves out what is listed here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from miliary.model.scan import Side, Zone
from miliary.model.vocabulary import Lobe, Origin

MIN_LONG_AXIS_MM = 8.0
LOBE_NOT_DETERMINED = "not_determined"

PointLpsMm = tuple[float, float, float]


class Attachment(enum.StrEnum):
    """What a lesion lies against."""

    NONE = "none"
    PLEURA = "pleura"
    MEDIASTINUM = "mediastinum"
    HILUM = "hilum"
    DIAPHRAGM = "diaphragm"


class LesionAttenuation(enum.StrEnum):
    """What a lesion is made of: all solid, a solid part in ground glass, or ground glass alone."""

    SOLID = "solid"
    PART_SOLID = "part_solid"
    GROUND_GLASS = "ground_glass"


@dataclass(frozen=True)
class Wall:
    """Cavity of a lesion and the wall around it.

    Parameters
    ----------
    cavity_volume_mm3 : float
        Gas inside the lesion.
    mean_mm, min_mm, max_mm : float
        Thickness of the wall from the inner surface to the nearest point of the outer one; the extremes
        are the 2nd and 98th percentile over the inner surface, since the last voxel is noise.
    """

    cavity_volume_mm3: float
    mean_mm: float
    min_mm: float
    max_mm: float


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Parameters
    ----------
    id : int
        Number in this scan, from 1, largest first.
    long_axis_mm : float
        Longest diameter in an axial slice, as RECIST 1.1 takes it.
    long_axis_ends_lps_mm : pair of (x, y, z)
        Its end points.
    short_axis_mm : float
        Longest diameter perpendicular to it in the same slice.
    short_axis_ends_lps_mm : pair of (x, y, z)
    volume_mm3 : float
        Whole lesion, cavity and ground glass included.
    density_hu : float
        Mean attenuation of the solid part, away from its edges; of the ground glass where there is none.
    centroid_lps_mm : (x, y, z)
    side : Side
    zone : Zone
        Third of the height of the lung of that side.
    lobe : Lobe or None
        None where it cannot be told.
    lobe_confidence : float
        Probability of the likeliest lobe, also where it is too low for `lobe` to name it.
    lobe_reason : str
        Why `lobe` is None; empty where it is told.
    attachment : Attachment
    wall : Wall or None
        None for a lesion without a cavity.
    origin : Origin
        `measured` where the program found it, `corrected` where it stands at a point that a reader gave.
    attenuation : LesionAttenuation
    part_axis_mm : float or None
        Longest axial diameter of the solid part of a part-solid lesion, 0 in ground glass alone; None for a
        solid lesion, see `solid_axis_mm`.
    """

    id: int
    long_axis_mm: float
    long_axis_ends_lps_mm: tuple[PointLpsMm, PointLpsMm]
    short_axis_mm: float
    short_axis_ends_lps_mm: tuple[PointLpsMm, PointLpsMm]
    volume_mm3: float
    density_hu: float
    centroid_lps_mm: PointLpsMm
    side: Side
    zone: Zone
    lobe: Lobe | None = None
    lobe_confidence: float = 0.0
    lobe_reason: str = ""
    attachment: Attachment = Attachment.NONE
    wall: Wall | None = None
    origin: Origin = Origin.MEASURED
    attenuation: LesionAttenuation = LesionAttenuation.SOLID
    part_axis_mm: float | None = None

    @property
    def is_cavitary(self) -> bool:
        """It holds a cavity."""
        return self.wall is not None

    @property
    def solid_axis_mm(self) -> float:
        """Longest axial diameter of what is solid [mm]; 0 in ground glass alone. It makes the T category."""
        return self.long_axis_mm if self.part_axis_mm is None else self.part_axis_mm
