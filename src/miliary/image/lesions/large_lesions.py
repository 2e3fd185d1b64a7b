"""Find lesions of 8 mm and more: compact dense bodies in the lungs, including cavities.

From the center of every dense body thicker than a vessel, rays are cast in all directions. A lesion ends
after about the same distance in all of them; a vessel, a hilum or the edge of the heart does not. A mass on
the pleura is dense beyond it too; there a ray ends at a smooth outline of the lung.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.anatomy import regions
from miliary.image.anatomy.lobes import CoarseLungs, estimate_lobes
from miliary.image.kernels import loops
from miliary.image.lesions.expected_lung import continue_surface
from miliary.image.lesions.field import LesionField, make_field
from miliary.image.lesions.ground_glass import (
    GroundGlass,
    find_ground_glass,
    find_haze,
    is_halo,
    measure_around,
    solid_axis_mm,
)
from miliary.image.lesions.opacities import (
    MIN_DEPTH_MM,
    OpaqueTissue,
    ThickPart,
    UndecidedOpacity,
    find_attached,
    find_opaque_tissue,
    find_thick_parts,
    measure_opaque,
)
from miliary.image.lesions.outline import (
    RIM_MM,
    FindOutside,
    LesionOutline,
    measure_axes,
    measure_density,
    measure_wall,
    outline_lesion,
    smooth_distances,
)
from miliary.image.lesions.rays import (
    FEW,
    MANY,
    MAX_STRETCH,
    RAY_HU,
    Rays,
    cast,
    center_rays,
    list_ball,
    list_starts,
    make_tissue,
    screen,
)
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, Lungs, OpaqueLung, Psf
from miliary.model.lesion import MIN_LONG_AXIS_MM, Attachment, Lesion, LesionAttenuation, PointLpsMm
from miliary.model.scan import Scan, Side, Zone
from miliary.model.vocabulary import Origin

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SCREEN_SLACK = 0.3
ATTACHED_SHARE = 0.04
SEED_CLEARANCE_MM, MAX_SEED_STRETCH, MAX_ENDLESS_SHARE = 4.0, 3.0, 0.2
# Rays end at the diaphragm or toward the midline from this cosine of their mean direction on. The hilum:
# height above the base, and depth from the front, as shares of those of the lung.
DOWNWARD, INWARD = 0.6, 0.5
HILUM_HEIGHT, HILUM_DEPTH = (0.4, 0.7), (0.33, 0.67)
# Smallest share of the ball around the longest diameter that a lesion fills; a plate or a strand fills less.
MIN_FILL = 0.15
SAME_LESION_MM, KNOWN_MM = 2.0, 6.0
# Consolidation is both fainter than solid tissue and blurred at its edge; a lesion is at most one of these.
FAINT_HU, SOFT_EDGE_MM = -25.0, 1.5


@dataclass(frozen=True)
class LesionsFound:
    """Lesions of one scan with their voxels.

    Parameters
    ----------
    lesions : tuple of Lesion
        In order of decreasing volume, numbered from 1.
    shapes : tuple of LesionOutline
        One per lesion, in the same order.
    opacities : tuple of UndecidedOpacity
        Opaque lung of which it is not decided whether it is a mass, largest first.
    opaque : OpaqueLung
        Volume of what is opaque of each lung, solid lesions included.
    """

    lesions: tuple[Lesion, ...]
    shapes: tuple[LesionOutline, ...]
    opacities: tuple[UndecidedOpacity, ...] = ()
    opaque: OpaqueLung = field(default_factory=OpaqueLung)

    def contains(self, index_zyx: F64, *, margin_mm: float = 1.5) -> Mask:
        """Which points (n, 3), as indices of the scan, lie within `margin_mm` of a lesion; shape (n,)."""
        inside = np.zeros(len(index_zyx), dtype=bool)
        for shape in self.shapes:
            inside |= shape.contains(index_zyx, margin_mm=margin_mm)
        return inside


def find_lesions(
    scan: Scan, lungs: Lungs, *, psf: Psf, seeds_lps_mm: Iterable[Sequence[float]] = ()
) -> LesionsFound:
    """Find and measure the lesions of a scan whose longest axial diameter is 8 mm or more.

    Parameters
    ----------
    scan : Scan
        The scan.
    lungs : Lungs
        Lung labels on its grid.
    psf : Psf
        Blur of the scan, to correct the thickness of walls.
    seeds_lps_mm : iterable of (x, y, z)
        Points in or on lesions that a reader marked [mm]. The dense body around each is measured whatever its
        shape or size, and replaces a lesion found there.

    Returns
    -------
    LesionsFound
        Empty where there are none. Thick opaque lung that is not compact is an opacity, no lesion; it is
        measured with a seed.
    """
    if not lungs.labels.any():
        return LesionsFound((), ())
    field = make_field(scan, lungs)
    compact = _find_compact(field)
    opaque = find_opaque_tissue(field)
    attached = [rays for rays in find_attached(opaque) if not _is_free_body(field, rays, compact)]
    seen = []
    for seed in seeds_lps_mm:
        is_wide = _is_in_opaque(opaque, scan, seed)
        known = attached if is_wide else compact
        given = _follow_seed(opaque.field if is_wide else field, scan, seed, known)
        if given is not None:
            seen.append((given, Origin.CORRECTED, is_wide))
    seen += [(rays, Origin.MEASURED, True) for rays in attached]
    seen += [(rays, Origin.MEASURED, False) for rays in compact]
    found: list[tuple[Lesion, LesionOutline]] = []
    for rays, origin, is_wide in seen:
        center = field.index_in_scan(rays.center)
        if any(shape.contains(center[None], margin_mm=SAME_LESION_MM)[0] for _, shape in found):
            continue
        measured = _measure(scan, lungs, psf, field, rays, origin, wide=opaque.field if is_wide else None)
        if measured is not None:
            found.append(measured)
    found = _add_ground_glass(scan, field, found)
    thick = find_thick_parts(opaque)
    opacities = _list_opacities(scan, opaque, thick, [shape for _, shape in found])
    solid = [shape for lesion, shape in found if lesion.attenuation is LesionAttenuation.SOLID]
    volume = measure_opaque(opaque, thick, solid)
    if not found:
        return LesionsFound((), (), opacities, volume)
    found.sort(key=lambda pair: -pair[0].volume_mm3)
    coarse = CoarseLungs(field.hu, field.labels, field.spacing_mm)
    centroids = scan.grid.index_from_lps([lesion.centroid_lps_mm for lesion, _ in found]).reshape(-1, 3)
    sides = [lesion.side for lesion, _ in found]
    lobes = estimate_lobes(coarse, field.index_here(centroids), sides)
    lesions = tuple(
        replace(lesion, id=number, lobe=lobe.lobe, lobe_confidence=lobe.confidence, lobe_reason=lobe.reason)
        for number, ((lesion, _), lobe) in enumerate(zip(found, lobes, strict=True), start=1)
    )
    return LesionsFound(lesions, tuple(shape for _, shape in found), opacities, volume)


def _add_ground_glass(
    scan: Scan, field: LesionField, found: list[tuple[Lesion, LesionOutline]]
) -> list[tuple[Lesion, LesionOutline]]:
    """The lesions with ground glass around them taken in, and those of ground glass alone."""
    haze = find_haze(field)
    out = []
    for lesion, shape in found:
        center = field.index_here(shape.start + shape.centroid_zyx)
        is_free = lesion.wall is None and lesion.attachment is Attachment.NONE
        halo = measure_around(scan, field, haze, center) if is_free else None
        if halo is not None and is_halo(halo, lesion.long_axis_mm, lesion.volume_mm3):
            solid_mm = solid_axis_mm(halo) or lesion.long_axis_mm
            out.append((_with_glass(scan, lesion, halo, min(solid_mm, lesion.long_axis_mm)), halo.shape))
        else:
            out.append((lesion, shape))
    for glass in find_ground_glass(scan, field, haze):
        middle = (glass.shape.start + glass.shape.centroid_zyx)[None]
        if any(shape.contains(middle, margin_mm=SAME_LESION_MM)[0] for _, shape in out):
            continue
        sides, zones = regions.locate(field.labels, field.index_here(middle))
        lesion = Lesion(
            id=0,
            long_axis_mm=0.0,
            long_axis_ends_lps_mm=(_point(middle[0]), _point(middle[0])),
            short_axis_mm=0.0,
            short_axis_ends_lps_mm=(_point(middle[0]), _point(middle[0])),
            volume_mm3=0.0,
            density_hu=measure_density(glass.solid) if glass.solid is not None else glass.density_hu,
            centroid_lps_mm=_point(scan.grid.lps_from_index(middle[0])),
            side=Side(sides[0]),
            zone=Zone(zones[0]),
        )
        out.append((_with_glass(scan, lesion, glass, solid_axis_mm(glass)), glass.shape))
    return out


def _with_glass(scan: Scan, lesion: Lesion, glass: GroundGlass, part_axis_mm: float) -> Lesion:
    """The lesion with the diameters and the volume of its ground glass."""
    axes = measure_axes(glass.shape)
    return replace(
        lesion,
        long_axis_mm=axes.long_mm,
        long_axis_ends_lps_mm=_place_ends(scan, glass.shape, axes.long_ends),
        short_axis_mm=axes.short_mm,
        short_axis_ends_lps_mm=_place_ends(scan, glass.shape, axes.short_ends),
        volume_mm3=glass.shape.volume_mm3,
        attenuation=LesionAttenuation.PART_SOLID if part_axis_mm > 0.0 else LesionAttenuation.GROUND_GLASS,
        part_axis_mm=part_axis_mm,
    )


def _place_ends(scan: Scan, shape: LesionOutline, index: F64) -> tuple[PointLpsMm, PointLpsMm]:
    """Ends of a diameter in the patient."""
    first, last = scan.grid.lps_from_index(shape.start + index)
    return _point(first), _point(last)


def _list_opacities(
    scan: Scan, opaque: OpaqueTissue, thick: Sequence[ThickPart], shapes: Sequence[LesionOutline]
) -> tuple[UndecidedOpacity, ...]:
    """Thick opaque tissue in no lesion."""
    field = opaque.field
    out = []
    for part in thick:
        place, volume = part.thickest, part.volume_ml
        index = field.index_in_scan(place)[None]
        if not any(shape.contains(index, margin_mm=KNOWN_MM)[0] for shape in shapes):
            out.append(UndecidedOpacity(_point(scan.grid.lps_from_index(index[0])), volume))
    return tuple(out)


def _find_compact(field: LesionField) -> list[Rays]:
    """Rays of all compact bodies, in order of decreasing radius."""
    starts = list_starts(field)
    centers = np.empty_like(starts)
    stretch = np.empty(len(starts))
    loops.run_rows(screen, len(starts), make_tissue(field), starts, FEW, centers, stretch)
    found = [cast(field, center, MANY) for center in centers[stretch <= MAX_STRETCH + SCREEN_SLACK]]
    return sorted((rays for rays in found if rays.is_compact), key=lambda rays: -rays.radius_mm)


def _follow_seed(
    field: LesionField, scan: Scan, seed_lps_mm: Sequence[float], compact: Sequence[Rays]
) -> Rays | None:
    """Rays from the center of the body at a reader's point; None where there is no dense tissue near it."""
    index = scan.grid.index_from_lps(np.asarray(seed_lps_mm, dtype=np.float64))
    start = np.clip(field.index_here(index), 0, np.asarray(field.hu.shape) - 1.0)
    # A compact body that was found has a better center than the point.
    for rays in compact:
        if np.linalg.norm((rays.center - start) * field.spacing_mm) < rays.radius_mm:
            return rays
    centered = center_rays(field, start)
    if centered is not None and centered.endless_share < MAX_ENDLESS_SHARE:
        away = np.linalg.norm((centered.center - start) * field.spacing_mm)
        if away < centered.radius_mm + SEED_CLEARANCE_MM and centered.stretch < MAX_SEED_STRETCH:
            return centered
    near = list_ball(field.spacing_mm, SEED_CLEARANCE_MM) + np.round(start).astype(int)
    near = near[((near >= 0) & (near < field.hu.shape)).all(axis=1)]
    dense = near[field.hu[tuple(near.T)] > RAY_HU]
    if not len(dense):
        return None
    return cast(field, dense[np.argmin(((dense - start) ** 2).sum(axis=1))].astype(np.float64), MANY)


def _is_in_opaque(opaque: OpaqueTissue, scan: Scan, seed_lps_mm: Sequence[float]) -> bool:
    """Whether a reader's point lies in thick tissue that lung would take."""
    index = opaque.field.index_here(scan.grid.index_from_lps(np.asarray(seed_lps_mm, dtype=np.float64)))
    at = np.round(index).astype(int)
    if (at < 0).any() or (at >= opaque.field.hu.shape).any():
        return False
    return bool(opaque.depth_mm[tuple(at)] >= MIN_DEPTH_MM and not opaque.field.labels[tuple(at)])


def _is_free_body(field: LesionField, rays: Rays, compact: Sequence[Rays]) -> bool:
    """Whether the rays start in a compact body that touches nothing in the narrow outline."""
    return any(
        body.hull_share <= ATTACHED_SHARE
        and np.linalg.norm((body.center - rays.center) * field.spacing_mm) < body.radius_mm
        for body in compact
    )


def _find_surface(field: LesionField, rays: Rays) -> FindOutside | None:
    """What lies outside the lung around an attached body, by continuing the surface of the lung behind it."""
    depth = continue_surface(field, rays.center, MANY, smooth_distances(MANY, rays.distance_mm))
    if depth is None:
        return None

    def find_outside(view: tuple[slice, ...]) -> Mask:
        at = [field.index_along(axis, np.arange(v.start, v.stop)) for axis, v in enumerate(view)]
        fine = ndimage.map_coordinates(depth, np.stack(np.meshgrid(*at, indexing="ij")), order=1, cval=np.nan)
        return np.asarray(fine < RIM_MM)

    return find_outside


def _measure(
    scan: Scan,
    lungs: Lungs,
    psf: Psf,
    field: LesionField,
    rays: Rays,
    origin: Origin,
    *,
    wide: LesionField | None,
) -> tuple[Lesion, LesionOutline] | None:
    """Measure the lesion around the center of the rays; None where it is no lesion."""
    is_attached = rays.hull_share > ATTACHED_SHARE
    center = field.index_in_scan(rays.center)
    shape = outline_lesion(
        scan,
        lungs,
        center,
        directions=MANY,
        distance_mm=rays.distance_mm,
        is_attached=is_attached,
        is_compact=wide is not None or rays.is_compact,
        surface=_find_surface(wide, rays) if wide is not None else None,
    )
    if shape is None:
        return None
    axes = measure_axes(shape)
    ball_mm3 = np.pi / 6.0 * axes.long_mm**3
    wall, density = measure_wall(shape, psf), measure_density(shape)
    is_patch = wall is None and density < FAINT_HU and shape.edge_mm > SOFT_EDGE_MM
    is_other = axes.long_mm < MIN_LONG_AXIS_MM or shape.volume_mm3 < MIN_FILL * ball_mm3 or is_patch
    if is_other and origin is not Origin.CORRECTED:
        return None
    centroid = shape.start + shape.centroid_zyx
    sides, zones = regions.locate(field.labels, field.index_here(centroid)[None])

    attachment = Attachment.NONE
    if is_attached:
        attachment = _name_attachment(rays, field, Side(sides[0]))
    lesion = Lesion(
        id=0,
        long_axis_mm=axes.long_mm,
        long_axis_ends_lps_mm=_place_ends(scan, shape, axes.long_ends),
        short_axis_mm=axes.short_mm,
        short_axis_ends_lps_mm=_place_ends(scan, shape, axes.short_ends),
        volume_mm3=shape.volume_mm3,
        density_hu=density,
        centroid_lps_mm=_point(scan.grid.lps_from_index(centroid)),
        side=Side(sides[0]),
        zone=Zone(zones[0]),
        attachment=attachment,
        wall=wall,
        origin=origin,
    )
    return lesion, shape


def _name_attachment(rays: Rays, field: LesionField, side: Side) -> Attachment:
    """What the rays that meet the outline meet there.

    Below, with no air of that lung under the center: the diaphragm. Toward the midline with the other lung
    beyond: the mediastinum, or its hilum in the middle of the height and depth of the lung, where the bronchi
    enter. Else the pleura.
    """
    met = MANY[rays.end == 1].mean(axis=0)
    met /= max(float(np.linalg.norm(met)), 1e-9)
    own, other = (LABEL_RIGHT, LABEL_LEFT) if side is Side.RIGHT else (LABEL_LEFT, LABEL_RIGHT)
    labels = field.labels
    z, y, x = np.clip(np.round(rays.center).astype(int), 0, np.asarray(labels.shape) - 1)
    has_air_below = (labels[:z, y, x] == own) & (field.hu[:z, y, x] < RAY_HU)
    if met[0] < -DOWNWARD and not has_air_below.any():
        return Attachment.DIAPHRAGM
    inward = 1.0 if side is Side.RIGHT else -1.0
    line = labels[z, y, x:] if side is Side.RIGHT else labels[z, y, :x]
    if met[2] * inward < INWARD or not (line == other).any():
        return Attachment.PLEURA
    height, depth = (_place_along(labels == own, axis, at) for axis, at in ((0, z), (1, y)))
    is_hilar = HILUM_HEIGHT[0] < height < HILUM_HEIGHT[1] and HILUM_DEPTH[0] < depth < HILUM_DEPTH[1]
    return Attachment.HILUM if is_hilar else Attachment.MEDIASTINUM


def _place_along(lung: Mask, axis: int, index: int) -> float:
    """Place of an index within the extent of a lung along an axis, 0 to 1."""
    filled = np.flatnonzero(lung.any(axis=tuple({0, 1, 2} - {axis})))
    return (index - int(filled[0])) / max(1, int(filled[-1]) - int(filled[0]))


def _point(values: npt.ArrayLike) -> PointLpsMm:
    x, y, z = (float(value) for value in np.asarray(values))
    return x, y, z
