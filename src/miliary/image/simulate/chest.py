"""Simulate a whole chest CT with exact truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError
from miliary.image.kernels.resample import resample_volume
from miliary.image.simulate.acquisition import ScanProtocol, acquire, average_slices
from miliary.image.simulate.airway_disease import MUCUS_HU, DiseaseObjects, grow_disease
from miliary.image.simulate.around_body import paint_around, place_devices
from miliary.image.simulate.artifacts import add_artifacts, blur_motion
from miliary.image.simulate.chest_anatomy import (
    AnatomyParameters,
    CoarseField,
    HardNegatives,
    build_fields,
    draw_anatomy,
    midline_x_mm,
)
from miliary.image.simulate.disease_fields import alter_fields
from miliary.image.simulate.lung_texture import paint_texture
from miliary.image.simulate.negatives import draw_sheets, paint_plaques, paint_sheets
from miliary.image.simulate.nodule_population import (
    SHAPES,
    Body,
    DominantLesion,
    NodulePopulation,
    PositionSampler,
    draw_body,
    draw_centers,
    draw_diameters,
    paste,
    render_body,
)
from miliary.image.simulate.other_findings import (
    NO_OTHER_FINDINGS,
    OtherFindings,
    make_table,
    read_other_findings,
)
from miliary.image.simulate.raster import ChestFields, Material, add_tubes, blend, paint_chest, run_slabs
from miliary.image.simulate.vessels import ChestTrees, TubeSegments, grow_trees
from miliary.model.nodules import COLUMN_NAMES, Attenuation, NoduleFlag
from miliary.model.scan import Acquisition, Grid, Scan, ScanWarning, Side, Zone
from miliary.model.transform import Transform

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

TRUTH_COLUMN_NAMES = (*COLUMN_NAMES, "kind", "density_hu", "shape")
SUBSOLID_BELOW_HU = -100.0
CALCIFIED_ABOVE_HU = 150.0
AIR_IN_AIRWAYS_HU = -990.0
AERATED_BELOW_HU = -500.0
METAL = ("lead", "port", "pacemaker_lead")


@dataclass(frozen=True)
class SimulatedScan:
    """A simulated scan and its truth.

    Parameters
    ----------
    scan : Scan
        The scan, with a warning that it is simulated.
    truth : mapping of str to ndarray
        Columns `TRUTH_COLUMN_NAMES`, one row per nodule, calcified nodule and lesion.
    lung_labels : ndarray of uint8, shape (z, y, x)
        1 right lung, 2 left lung, 0 elsewhere.
    anatomy : AnatomyParameters
        Shape of the chest.
    findings : mapping of str to ndarray
        Columns `FINDING_COLUMN_NAMES`, one row per discrete finding of `other_findings` that is not a nodule:
        ``bud``, ``shadow``, ``mucus_plug``, ``plate`` and pieces of devices. Whatever is not in `truth` is no
        nodule; these are the places where one is most easily taken for one.
    """

    scan: Scan
    truth: Mapping[str, npt.NDArray[Any]]
    lung_labels: npt.NDArray[np.uint8]
    anatomy: AnatomyParameters
    findings: Mapping[str, npt.NDArray[Any]] = field(default_factory=lambda: make_table([]))


def simulate_scan(
    protocol: ScanProtocol,
    *,
    seed: int,
    population: NodulePopulation | None = None,
    lesion: DominantLesion | None = None,
    n_calcified: int = 0,
    hard_negatives: bool | HardNegatives | Mapping[str, Any] = False,
    other_findings: bool | OtherFindings | Mapping[str, float] = False,
    anatomy: AnatomyParameters | None = None,
    n_threads: int = 2,
) -> SimulatedScan:
    """Simulate one chest CT.

    Parameters
    ----------
    protocol : ScanProtocol
        Grid, blur, slice profile and noise.
    seed : int
        The same seed and parameters give the same scan bit for bit.
    population : NodulePopulation, optional
        Small nodules; none by default.
    lesion : DominantLesion, optional
        One large lesion; none by default.
    n_calcified : int
        Number of calcified granulomas of 1.5 to 5 mm and 200 to 800 HU.
    hard_negatives : bool, HardNegatives or mapping
        Findings that may be mistaken for nodules: True draws a mixture, a mapping gives fields of
        `HardNegatives`.
    other_findings : bool, OtherFindings or mapping
        Other disease, artifacts, and things beside the body: True draws a mixture, a mapping gives severities
        (0 to 1) by the fields of `OtherFindings`.
    anatomy : AnatomyParameters, optional
        Shape of the chest; drawn from the seed by default.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    SimulatedScan
        Voxels are int16.

    Raises
    ------
    InputError
        The nodules or the lesion do not fit into the lungs, or a kind of finding is not known.
    """
    p = draw_anatomy(seed) if anatomy is None else anatomy
    model = build_chest(
        p,
        read_hard_negatives(hard_negatives, seed=seed),
        read_other_findings(other_findings, seed=seed),
    )
    bodies, kinds = draw_bodies(
        model,
        frame_box(protocol, p),
        seed=seed,
        population=population,
        lesion=lesion,
        n_calcified=n_calcified,
    )
    return render_scan(protocol, model, bodies, kinds, seed=seed, n_threads=n_threads)


@dataclass(frozen=True)
class ChestModel:
    """One chest without disease, ready to be rendered on any grid.

    Parameters
    ----------
    anatomy : AnatomyParameters
        Its shape.
    hard : HardNegatives
        Findings that may be mistaken for nodules.
    chest : CoarseField
        Its tissues as smooth fields.
    trees : ChestTrees
        Its vessels and airways.
    other : OtherFindings
        Other disease, artifacts, and things beside the body.
    objects : DiseaseObjects
        What other disease adds as objects.
    """

    anatomy: AnatomyParameters
    hard: HardNegatives
    chest: CoarseField
    trees: ChestTrees
    other: OtherFindings = NO_OTHER_FINDINGS
    objects: DiseaseObjects = field(default_factory=DiseaseObjects)


def build_chest(
    anatomy: AnatomyParameters, hard: HardNegatives, other: OtherFindings = NO_OTHER_FINDINGS
) -> ChestModel:
    """Build the fields of a chest and grow its vessels and airways.

    Parameters
    ----------
    anatomy : AnatomyParameters
        Shape of the chest.
    hard : HardNegatives
        Findings that may be mistaken for nodules.
    other : OtherFindings
        Other disease, artifacts, and things beside the body.

    Returns
    -------
    ChestModel
    """
    chest = build_fields(anatomy, hard)
    if not other:
        return ChestModel(anatomy, hard, chest, grow_trees(anatomy, chest, hard))
    chest = alter_fields(anatomy, chest, other)
    trees, objects = grow_disease(anatomy, chest, grow_trees(anatomy, chest, hard), other)
    return ChestModel(anatomy, hard, chest, trees, other, objects)


def render_scan(
    protocol: ScanProtocol,
    model: ChestModel,
    bodies: list[Body],
    kinds: list[str],
    *,
    seed: int,
    motion: Transform | None = None,
    n_threads: int = 2,
) -> SimulatedScan:
    """Scan a chest with nodules in it.

    Parameters
    ----------
    protocol : ScanProtocol
        Grid, blur, slice profile and noise.
    model : ChestModel
        The chest.
    bodies : list of Body
        Nodules and lesions at their positions on this scan.
    kinds : list of str
        ``nodule``, ``calcified`` or ``lesion``, one per body.
    seed : int
        Seed of the noise.
    motion : Transform, optional
        Maps points of this scan to points of the chest as built, where the chest has moved. Lung is denser
        where it has shrunk.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    SimulatedScan
    """
    p, hard, chest, trees, other = model.anatomy, model.hard, model.chest, model.trees, model.other
    start, grid = _frame(protocol, p)
    n = protocol.n_sub_slices
    fine_step = np.array(protocol.spacing_zyx_mm) / (n, 1, 1)
    fine_start = start - [(n - 1) / 2 * fine_step[0], 0, 0]
    fine_shape = (protocol.shape_zyx[0] * n, *protocol.shape_zyx[1:])

    volume = np.empty(fine_shape, np.float32)
    depth = np.empty(fine_shape, np.float32)
    _paint_background(volume, depth, p, chest, fine_start, fine_step, n_threads)
    surface = depth if motion is None else _move(depth, fine_start, fine_step, motion, fill=-99.0)
    labels = _labels(surface[(n - 1) // 2 :: n], surface[n // 2 :: n], p, start, protocol)
    share = depth
    share.fill(0)
    _paint_trees(volume, share, p, trees, fine_start, fine_step, n_threads)
    _paint_negatives(volume, share, p, hard, chest, fine_start, fine_step, n_threads)
    rows = _paint_other(volume, share, model, fine_start, fine_step, n_threads) if other else []
    if motion is not None:
        volume = _move(volume, fine_start, fine_step, motion, fill=-1000.0)
        _change_density(volume, surface > 0, fine_start, fine_step, motion)
    for body in bodies:
        _paint_body(volume, body, fine_start, fine_step)
    truth = _truth(bodies, kinds, p, chest, trees, labels, start, protocol)

    is_thin = n == 1 and protocol.slice_thickness_mm <= protocol.spacing_zyx_mm[0]
    slices = volume if is_thin else average_slices(volume, protocol)
    if other.motion > 0:
        blur_motion(slices, protocol, other.motion, seed=seed)
    image = acquire(slices, protocol, seed=seed, n_threads=n_threads)
    if other:
        metal = np.array([row[1] for row in rows if row[0] in METAL]).reshape(-1, 3)
        metal = (metal - start) / protocol.spacing_zyx_mm
        add_artifacts(image, protocol, other, metal_zyx=metal, seed=seed)
    if protocol.clip_low_hu is not None:
        np.maximum(image, protocol.clip_low_hu, out=image)
    voxels = np.clip(np.rint(image, out=image), -32768, 32767).astype(np.int16)
    scan = Scan(voxels, grid, _acquisition(protocol), (_label(),))
    return SimulatedScan(scan, truth, labels, p, make_table(rows))


def _fine_grid(shape: tuple[int, ...], start: FloatArray, step: FloatArray) -> Grid:
    return Grid(
        (shape[0], shape[1], shape[2]),
        (float(step[0]), float(step[1]), float(step[2])),
        (float(start[2]), float(start[1]), float(start[0])),
    )


def _move(
    values: Float32Array, start: FloatArray, step: FloatArray, motion: Transform, *, fill: float
) -> Float32Array:
    """Values at each voxel after the chest has moved."""
    grid = _fine_grid(values.shape, start, step)
    return resample_volume(values, grid, grid, transform=motion, fill=fill)


def _change_density(
    volume: Float32Array,
    is_lung: npt.NDArray[np.bool_],
    start: FloatArray,
    step: FloatArray,
    motion: Transform,
) -> None:
    """Adapt the density of aerated lung to its change in volume; vessels keep theirs."""
    grid = _fine_grid(volume.shape, start, step)
    if motion.grid is None:
        factor = np.full(volume.shape, np.linalg.det(motion.matrix), np.float32)
    else:
        factor = resample_volume(motion.jacobian().astype(np.float32), motion.grid, grid, fill=1.0)
    aerated = is_lung & (volume < AERATED_BELOW_HU)
    volume[aerated] = (volume[aerated] + 1000.0) * factor[aerated] - 1000.0


def read_hard_negatives(given: bool | HardNegatives | Mapping[str, Any], *, seed: int) -> HardNegatives:
    """Convert the argument `hard_negatives` of `simulate_scan`.

    Parameters
    ----------
    given : bool, HardNegatives or mapping
        True draws a mixture, False means none, a mapping gives fields.
    seed : int
        Seed of the mixture.

    Returns
    -------
    HardNegatives
    """
    if isinstance(given, HardNegatives):
        return given
    if isinstance(given, Mapping):
        return HardNegatives(**given)
    return HardNegatives.draw(seed) if given else HardNegatives()


def _label() -> ScanWarning:
    return ScanWarning("simulated", "This scan is simulated and shows no patient.")


def _acquisition(protocol: ScanProtocol) -> Acquisition:
    return Acquisition(
        modality="CT",
        manufacturer="miliary",
        model="simulated chest",
        slice_thickness_mm=protocol.slice_thickness_mm,
        source_format="simulated",
    )


def _frame(protocol: ScanProtocol, p: AnatomyParameters) -> tuple[FloatArray, Grid]:
    """Center of voxel 0 in the body frame (z, y, x) [mm], and the grid; body frame and LPS coincide."""
    center = protocol.center_lps_mm or (0.0, 0.25 * p.kyphosis_mm, 0.5 * p.lung_height_mm)
    shape, step = np.array(protocol.shape_zyx), np.array(protocol.spacing_zyx_mm)
    start = np.array(center[::-1]) - (shape - 1) / 2 * step
    grid = Grid(
        protocol.shape_zyx, protocol.spacing_zyx_mm, (float(start[2]), float(start[1]), float(start[0]))
    )
    return start, grid


def frame_box(protocol: ScanProtocol, p: AnatomyParameters) -> FloatArray:
    """Field of view of a scan.

    Parameters
    ----------
    protocol : ScanProtocol
        Grid of the scan.
    p : AnatomyParameters
        The chest that it is centered on.

    Returns
    -------
    ndarray of float64, shape (2, 3)
        First and last voxel center (z, y, x) in the body frame [mm].
    """
    start, _ = _frame(protocol, p)
    return np.stack([start, start + (np.array(protocol.shape_zyx) - 1) * protocol.spacing_zyx_mm])


def _paint_background(
    volume: Float32Array,
    depth: Float32Array,
    p: AnatomyParameters,
    chest: CoarseField,
    start: FloatArray,
    step: FloatArray,
    n_threads: int,
) -> None:
    names = ("lung", "body", "bone", "tissue", "air", "fissure")
    fields = ChestFields(chest.origin_zyx_mm, chest.spacing_mm, *(chest.values[name] for name in names))
    material = Material(_texture(p.seed), p.texture_hu, p.fissure_thickness_mm, p.bone_hu)

    def task(first: int, last: int) -> None:
        paint_chest(volume, depth, first, last, start, step, fields, material)

    run_slabs(task, len(volume), n_threads=n_threads)


def _texture(seed: int) -> Float32Array:
    """Fine-grained unit-variance texture that repeats without a seam."""
    from scipy import ndimage

    rng = np.random.default_rng([seed, 6])
    tile = ndimage.gaussian_filter(rng.standard_normal((80, 80, 80), dtype=np.float32), 0.8, mode="wrap")
    tile /= tile.std()
    return np.pad(tile, (0, 1), mode="wrap")


def _labels(
    below: Float32Array, above: Float32Array, p: AnatomyParameters, start: FloatArray, protocol: ScanProtocol
) -> npt.NDArray[np.uint8]:
    """Lung labels at the voxel centres of the scan."""
    z = start[0] + np.arange(protocol.shape_zyx[0]) * protocol.spacing_zyx_mm[0]
    x = start[2] + np.arange(protocol.shape_zyx[2]) * protocol.spacing_zyx_mm[2]
    labels = np.zeros(protocol.shape_zyx, np.uint8)
    for i, height in enumerate(z):
        sides = np.where(x < midline_x_mm(p, height), 1, 2).astype(np.uint8)
        labels[i] = (below[i] + above[i] > 0) * sides[None, :]
    return labels


def _paint_tubes(
    share: Float32Array, pieces: TubeSegments, start: FloatArray, step: FloatArray, n_threads: int
) -> None:
    high = start + np.array(share.shape) * step
    margin = pieces.radius_mm.max(axis=1)[:, None] + step.max() + 1
    low_end, high_end = pieces.ends_zyx_mm.min(axis=1), pieces.ends_zyx_mm.max(axis=1)
    near = np.all((high_end > start - margin) & (low_end < high + margin), axis=1)
    ends, radius = (
        np.ascontiguousarray(pieces.ends_zyx_mm[near]),
        np.ascontiguousarray(pieces.radius_mm[near]),
    )
    run_slabs(
        lambda first, last: add_tubes(share, first, last, start, step, ends, radius, 0.45),
        len(share),
        n_threads=n_threads,
    )


def _paint_trees(
    volume: Float32Array,
    share: Float32Array,
    p: AnatomyParameters,
    trees: ChestTrees,
    start: FloatArray,
    step: FloatArray,
    n_threads: int,
) -> None:
    _paint_tubes(share, trees.vessels, start, step, n_threads)
    _paint_tubes(share, trees.walls, start, step, n_threads)
    run_slabs(lambda a, b: blend(volume, share, a, b, p.vessel_hu, True), len(volume), n_threads=n_threads)
    _paint_tubes(share, trees.lumens, start, step, n_threads)
    run_slabs(
        lambda a, b: blend(volume, share, a, b, AIR_IN_AIRWAYS_HU, False), len(volume), n_threads=n_threads
    )


def _paint_negatives(
    volume: Float32Array,
    share: Float32Array,
    p: AnatomyParameters,
    hard: HardNegatives,
    chest: CoarseField,
    start: FloatArray,
    step: FloatArray,
    n_threads: int,
) -> None:
    sheets = draw_sheets(p, chest, hard)
    if len(sheets):
        paint_sheets(share, sheets, start, step)
        run_slabs(lambda a, b: blend(volume, share, a, b, 30.0, True), len(volume), n_threads=n_threads)
    if hard.n_plaques:
        paint_plaques(volume, p, chest, hard, start, step)


def _paint_other(
    volume: Float32Array,
    share: Float32Array,
    model: ChestModel,
    start: FloatArray,
    step: FloatArray,
    n_threads: int,
) -> list[tuple[str, FloatArray, float]]:
    """Draw other disease and what lies beside the body; kind, center and diameter of its discrete parts."""
    p, chest, other, objects = model.anatomy, model.chest, model.other, model.objects
    rows = list(objects.rows)
    paint_texture(volume, p, chest, other, start, step)
    tubes = [(objects.filled, MUCUS_HU)] if len(objects.filled.radius_mm) else []
    if other.devices > 0:
        for kind, pieces, hu in place_devices(p, chest, other.devices):
            tubes.append((pieces, hu))
            size = 2 * pieces.radius_mm.mean(axis=1)
            rows += [(kind, e.mean(axis=0), float(d)) for e, d in zip(pieces.ends_zyx_mm, size, strict=True)]
    for pieces, hu in tubes:
        _paint_tubes(share, pieces, start, step, n_threads)
        run_slabs(partial(_raise_to, volume, share, hu), len(volume), n_threads=n_threads)
    if objects.plates:
        paint_sheets(share, objects.plates, start, step)
        run_slabs(lambda a, b: blend(volume, share, a, b, 30.0, True), len(volume), n_threads=n_threads)
    last = start + step * volume.shape
    for body in objects.buds:
        if np.all((body.center_zyx_mm > start - 10.0) & (body.center_zyx_mm < last + 10.0)):
            _paint_body(volume, body, start, step)
    paint_around(volume, p, chest, other, start, step)
    return rows


def _raise_to(volume: Float32Array, share: Float32Array, hu: float, first: int, last: int) -> None:
    blend(volume, share, first, last, hu, True)


def draw_bodies(
    model: ChestModel,
    box: FloatArray,
    *,
    seed: int,
    population: NodulePopulation | None = None,
    lesion: DominantLesion | None = None,
    n_calcified: int = 0,
) -> tuple[list[Body], list[str]]:
    """Draw all nodules and lesions inside a box.

    Parameters
    ----------
    model : ChestModel
        The chest.
    box : ndarray, shape (2, 3)
        From `frame_box`.
    seed : int
        Seed of all random numbers.
    population, lesion, n_calcified
        As for `simulate_scan`.

    Returns
    -------
    bodies : list of Body
        The lesion first, then calcified nodules, then nodules.
    kinds : list of str
        ``lesion``, ``calcified`` or ``nodule``, one per body.

    Raises
    ------
    InputError
        They do not fit into the lungs.
    """
    chest, trees = model.chest, model.trees
    bodies: list[Body] = []
    kinds: list[str] = []
    rng = np.random.default_rng([seed, 8])
    if lesion is not None:
        bodies.append(_lesion_body(lesion, chest, box, rng))
        kinds.append("lesion")
    calcified = NodulePopulation(n_calcified, (1.5, 5.0), "lognormal", (200.0, 800.0))
    for kind, group in (("calcified", calcified), ("nodule", population)):
        if group is None or group.n == 0 or group.pattern == "none":
            continue
        diameters = draw_diameters(group, rng)
        taken = np.array([b.center_zyx_mm for b in bodies]).reshape(-1, 3)
        radii = np.array([b.diameter_mm / 2 for b in bodies])
        sampler = PositionSampler(chest, trees, group.pattern, rng, box)
        centers = draw_centers(
            sampler, diameters, min_gap_mm=group.min_gap_mm, taken=taken, taken_radii=radii
        )
        for center, diameter in zip(centers, diameters, strict=True):
            low, high = (-600.0, -200.0) if rng.random() < group.subsolid_share else group.density_hu
            shape = group.shape or str(rng.choice(SHAPES))
            bodies.append(
                draw_body(
                    center,
                    float(diameter),
                    float(rng.uniform(low, high)),
                    shape=shape,
                    axis_ratio=group.axis_ratio,
                    rng=rng,
                )
            )
            kinds.append(kind)
    return bodies, kinds


def _lesion_body(
    lesion: DominantLesion,
    chest: CoarseField,
    box: FloatArray,
    rng: np.random.Generator,
) -> Body:
    side = 1 if lesion.side == Side.RIGHT.value else 2
    low, high = _lung_heights(chest, side)
    third = {Zone.LOWER.value: 0, Zone.MIDDLE.value: 1, Zone.UPPER.value: 2}[lesion.zone]
    index = np.argwhere((chest.values["lung"] > lesion.diameter_mm / 2 + 2) & (chest.values["side"] == side))
    points = index * chest.spacing_mm + chest.origin_zyx_mm
    share = (points[:, 0] - low) / (high - low) * 3
    r = lesion.diameter_mm / 2
    good = (share > third + 0.1) & (share < third + 0.9)
    good &= np.all((points > box[0] + r) & (points < box[1] - r), axis=1)
    if not good.any():
        raise InputError(
            f"lesion of {lesion.diameter_mm:g} mm finds no room in the {lesion.side} {lesion.zone} zone "
            "inside the field of view; make it smaller or the field larger"
        )
    center = points[good][rng.integers(int(good.sum()))] + rng.uniform(-1, 1, 3)
    hollow = 0.0 if lesion.wall_mm is None else max(lesion.diameter_mm - 2 * lesion.wall_mm, 0.0)
    return draw_body(
        center,
        lesion.diameter_mm,
        lesion.density_hu,
        shape="lobulated",
        axis_ratio=1.2,
        rng=rng,
        hollow_mm=hollow,
    )


def _lung_heights(chest: CoarseField, side: int) -> tuple[float, float]:
    """Lowest and highest z of one lung [mm]."""
    mask = (chest.values["lung"] > 0) & (chest.values["side"] == side)
    rows = np.flatnonzero(mask.any(axis=(1, 2)))
    if len(rows) == 0:
        return 0.0, 1.0
    z = chest.origin_zyx_mm[0] + chest.spacing_mm * rows
    return float(z[0]), float(z[-1])


def _paint_body(volume: Float32Array, body: Body, start: FloatArray, step: FloatArray) -> None:
    """Raise the attenuation where the body lies, then hollow it out."""
    low, share = render_body(body, start, step)
    where, part = paste(volume, low, share)
    if part.size:
        local = volume[where]
        local += (np.minimum(part, 1.0) * np.maximum(body.density_hu - local, 0)).astype(np.float32)
    if body.hollow_mm > 0:
        low, share = render_body(body, start, step, diameter_mm=body.hollow_mm)
        where, part = paste(volume, low, share)
        if part.size:
            local = volume[where]
            local += (np.minimum(part, 1.0) * (-980.0 - local)).astype(np.float32)


def _truth(
    bodies: list[Body],
    kinds: list[str],
    p: AnatomyParameters,
    chest: CoarseField,
    trees: ChestTrees,
    labels: npt.NDArray[np.uint8],
    start: FloatArray,
    protocol: ScanProtocol,
) -> dict[str, npt.NDArray[Any]]:
    """The truth table."""
    n = len(bodies)
    centers = np.array([b.center_zyx_mm for b in bodies]).reshape(-1, 3)
    diameter = np.array([b.diameter_mm for b in bodies])
    density = np.array([b.density_hu for b in bodies])
    volume = np.array([b.volume_mm3 for b in bodies])
    hollow = np.array([np.pi / 6 * b.hollow_mm**3 for b in bodies])
    around = chest.sample("air", centers) if n else np.zeros(0)
    mass = (volume - hollow) * (density - around) + hollow * (-980.0 - around)
    right = centers[:, 2] < midline_x_mm(p, centers[:, 0])
    zone = np.empty(n, object)
    z_mm = start[0] + np.arange(labels.shape[0]) * protocol.spacing_zyx_mm[0]
    for side, mine in ((1, right), (2, ~right)):
        rows = np.flatnonzero((labels == side).any(axis=(1, 2)))
        low, high = (z_mm[rows[0]], z_mm[rows[-1]]) if len(rows) else (0.0, 1.0)
        third = np.clip((centers[:, 0] - low) / max(high - low, 1e-6) * 3, 0, 2.999).astype(int)
        names = np.array([Zone.LOWER.value, Zone.MIDDLE.value, Zone.UPPER.value], dtype=object)
        zone[mine] = names[third[mine]]
    depth = chest.sample("lung", centers) if n else np.zeros(0)
    attenuation = np.where(
        density > CALCIFIED_ABOVE_HU,
        Attenuation.CALCIFIED.value,
        np.where(density < SUBSOLID_BELOW_HU, Attenuation.SUBSOLID.value, Attenuation.SOLID.value),
    )
    zeros = np.zeros(n)
    values: dict[str, npt.NDArray[Any]] = {
        "id": np.arange(1, n + 1),
        "x_mm": centers[:, 2],
        "y_mm": centers[:, 1],
        "z_mm": centers[:, 0],
        "diameter_mm": diameter,
        "diameter_mm_err": zeros,
        "volume_mm3": volume,
        "volume_mm3_err": zeros,
        "excess_mass_mg": mass / 1000.0,
        "probability": np.ones(n),
        "attenuation": attenuation.astype(object),
        "side": np.where(right, Side.RIGHT.value, Side.LEFT.value).astype(object),
        "zone": zone,
        "distance_to_pleura_mm": depth,
        "flags": _flags(centers, diameter / 2, depth, trees),
        "kind": np.array(kinds, dtype=object),
        "density_hu": density,
        "shape": np.array([b.shape for b in bodies], dtype=object),
    }
    return {name: values[name] for name in TRUTH_COLUMN_NAMES}


def _flags(centers: FloatArray, radii: FloatArray, depth: FloatArray, trees: ChestTrees) -> npt.NDArray[Any]:
    """Which nodules touch the pleura or a vessel."""
    from scipy.spatial import cKDTree

    flags = np.full(len(centers), "", dtype=object)
    if len(centers) == 0:
        return flags
    ends, radius = trees.vessels.ends_zyx_mm, trees.vessels.radius_mm.mean(axis=1)
    big = radius > 0.4
    points = np.concatenate([ends[big, 0], ends[big].mean(axis=1), ends[big, 1]])
    reach = np.tile(radius[big], 3)
    on_vessel = np.zeros(len(centers), bool)
    if len(points):
        tree = cKDTree(points)
        for i, near in enumerate(tree.query_ball_point(centers, radii + 9.0)):
            if near:
                gap = np.linalg.norm(points[near] - centers[i], axis=1) - reach[near]
                on_vessel[i] = bool(gap.min() < radii[i])
    on_pleura = depth < radii + 0.3
    for i in range(len(centers)):
        names = [NoduleFlag.VESSEL_ATTACHED.value] * bool(on_vessel[i])
        names += [NoduleFlag.PLEURA_ATTACHED.value] * bool(on_pleura[i])
        flags[i] = ";".join(names)
    return flags


def demo_case() -> dict[str, Any]:
    """Parameters of the example patient at baseline, as keywords of `simulate_scan` (with ``protocol``)."""
    return {
        "protocol": ScanProtocol(
            shape_zyx=(200, 320, 320),
            spacing_zyx_mm=(1.5, 1.1, 1.1),
            psf_fwhm_mm=1.5,
            slice_thickness_mm=1.5,
            edge_overshoot=0.03,
            noise_sd_hu=20.0,
            noise_correlation_mm=0.35,
        ),
        "seed": 2024,
        "population": NodulePopulation(3000, (1.5, 3.0), "uniform", (20.0, 60.0), "random"),
        "lesion": DominantLesion(19.0, 4.0, "left", "upper"),
        "n_calcified": 6,
    }
