"""`simulate_pair`: one chest scanned twice, with a known course of its disease in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.image.simulate.acquisition import ScanProtocol
from miliary.image.simulate.chest import (
    ChestModel,
    SimulatedScan,
    build_chest,
    demo_case,
    draw_bodies,
    frame_box,
    read_hard_negatives,
    render_scan,
)
from miliary.image.simulate.chest_anatomy import AnatomyParameters, draw_anatomy
from miliary.image.simulate.nodule_population import Body, DominantLesion, NodulePopulation
from miliary.model.scan import Grid
from miliary.model.transform import Transform

FloatArray = npt.NDArray[np.float64]

_NODE_MM = 12.0


@dataclass(frozen=True)
class Course:
    """What became of a patient between two scans.

    Parameters
    ----------
    kept_share : float
        Share of the nodules that are still there.
    volume_factor : float
        Volume of those over their volume before.
    n_new : int
        New nodules, drawn from the same population.
    lesion_factor : float
        Diameter of the lesion over its diameter before.
    inspiration : float
        Lung volume over that of the first scan.
    shift_lps_mm : tuple of float
        How differently the patient lies on the table [mm].
    """

    kept_share: float = 1.0
    volume_factor: float = 1.0
    n_new: int = 0
    lesion_factor: float = 1.0
    inspiration: float = 1.0
    shift_lps_mm: tuple[float, float, float] = (4.0, -6.0, 9.0)


@dataclass(frozen=True)
class SimulatedPair:
    """Two simulated scans of one chest.

    Parameters
    ----------
    baseline, followup : SimulatedScan
    baseline_id : ndarray of int, one per row of the follow-up's truth
        Id of the same nodule in the baseline's truth, 0 where it is new.
    motion : Transform
        Points of the follow-up to points of the baseline.
    """

    baseline: SimulatedScan
    followup: SimulatedScan
    baseline_id: npt.NDArray[np.int64]
    motion: Transform


def simulate_pair(
    protocol: ScanProtocol,
    *,
    seed: int,
    course: Course,
    followup_protocol: ScanProtocol | None = None,
    population: NodulePopulation | None = None,
    lesion: DominantLesion | None = None,
    n_calcified: int = 0,
    hard_negatives: bool = False,
    anatomy: AnatomyParameters | None = None,
    n_threads: int = 2,
) -> SimulatedPair:
    """Simulate a patient scanned twice.

    Parameters
    ----------
    protocol : ScanProtocol
        Of the baseline, and of the follow-up unless that has its own.
    seed : int
        The same seed and parameters give the same pair bit for bit.
    course : Course
    followup_protocol : ScanProtocol, optional
    population, lesion, n_calcified, hard_negatives, anatomy, n_threads
        As in `simulate_scan`.

    Returns
    -------
    SimulatedPair
    """
    patient = draw_patient(
        protocol,
        seed=seed,
        population=population,
        lesion=lesion,
        n_calcified=n_calcified,
        hard_negatives=hard_negatives,
        anatomy=anatomy,
    )
    baseline = scan_patient(patient, protocol, n_threads=n_threads)
    followup, origin, motion = follow_patient(
        patient, followup_protocol or protocol, course=course, n_threads=n_threads
    )
    return SimulatedPair(baseline, followup, origin, motion)


@dataclass(frozen=True)
class SimulatedPatient:
    """A chest with its disease at baseline, to be scanned as often as wanted."""

    model: ChestModel
    bodies: list[Body]
    kinds: list[str]
    population: NodulePopulation | None
    box_zyx_mm: FloatArray
    seed: int


def draw_patient(
    protocol: ScanProtocol,
    *,
    seed: int,
    population: NodulePopulation | None = None,
    lesion: DominantLesion | None = None,
    n_calcified: int = 0,
    hard_negatives: bool = False,
    anatomy: AnatomyParameters | None = None,
) -> SimulatedPatient:
    """Draw a chest and the disease in it; parameters as of `simulate_pair`."""
    shape = draw_anatomy(seed) if anatomy is None else anatomy
    model = build_chest(shape, read_hard_negatives(hard_negatives, seed=seed))
    box = frame_box(protocol, shape)
    bodies, kinds = draw_bodies(
        model, box, seed=seed, population=population, lesion=lesion, n_calcified=n_calcified
    )
    return SimulatedPatient(model, bodies, kinds, population, box, seed)


def scan_patient(patient: SimulatedPatient, protocol: ScanProtocol, *, n_threads: int = 2) -> SimulatedScan:
    """Scan a patient as drawn."""
    return render_scan(
        protocol, patient.model, patient.bodies, patient.kinds, seed=patient.seed, n_threads=n_threads
    )


def follow_patient(
    patient: SimulatedPatient, protocol: ScanProtocol, *, course: Course, repeat: int = 0, n_threads: int = 2
) -> tuple[SimulatedScan, npt.NDArray[np.int64], Transform]:
    """Scan a patient after a course.

    Parameters
    ----------
    patient : SimulatedPatient
    protocol : ScanProtocol
    course : Course
    repeat : int
        Draws another breath, other noise and other nodules that are gone.
    n_threads : int

    Returns
    -------
    scan : SimulatedScan
    baseline_id : ndarray of int, one per row of its truth
        Id at baseline, 0 for a new nodule.
    motion : Transform
        Points of this scan to points of the baseline.
    """
    seed = patient.seed + 7919 + 104_729 * repeat
    motion = _draw_motion(patient.model.anatomy, course, seed)
    bodies, kinds, origin = _follow(patient.bodies, patient.kinds, course, seed)
    if course.n_new and patient.population is not None:
        new, new_kinds = draw_bodies(
            patient.model,
            patient.box_zyx_mm,
            seed=seed,
            population=replace(patient.population, n=course.n_new),
        )
        bodies, kinds = bodies + new, kinds + new_kinds
        origin = np.concatenate([origin, np.zeros(len(new), dtype=np.int64)])
    scan = render_scan(
        protocol,
        patient.model,
        _carry(bodies, motion),
        kinds,
        seed=seed,
        motion=motion,
        n_threads=n_threads,
    )
    return scan, origin, motion


def _follow(
    bodies: list[Body], kinds: list[str], course: Course, seed: int
) -> tuple[list[Body], list[str], npt.NDArray[np.int64]]:
    """The bodies that are left, what they are, and their ids at baseline."""
    rng = np.random.default_rng([seed, 31])
    later, later_kinds, origin = [], [], []
    chance = rng.random(len(bodies))
    for number, (body, kind) in enumerate(zip(bodies, kinds, strict=True)):
        factor = 1.0
        if kind == "nodule":
            if chance[number] >= course.kept_share:
                continue
            factor = course.volume_factor ** (1.0 / 3.0)
        elif kind == "lesion":
            if course.lesion_factor <= 0:
                continue
            factor = course.lesion_factor
        # A cavity closes from outside in: its wall keeps its thickness.
        wall_mm = body.diameter_mm - body.hollow_mm
        hollow = max(factor * body.diameter_mm - wall_mm, 0.0) if body.hollow_mm > 0 else 0.0
        later.append(replace(body, diameter_mm=factor * body.diameter_mm, hollow_mm=hollow))
        later_kinds.append(kind)
        origin.append(number + 1)
    return later, later_kinds, np.array(origin, dtype=np.int64)


def _carry(bodies: list[Body], motion: Transform) -> list[Body]:
    """The bodies where they lie on the follow-up; their size does not change with the lung's."""
    if not bodies:
        return []
    points = np.array([body.center_zyx_mm[::-1] for body in bodies])
    moved = motion.invert_points(points)
    return [replace(b, center_zyx_mm=p[::-1].copy()) for b, p in zip(bodies, moved, strict=True)]


def _draw_motion(p: AnatomyParameters, course: Course, seed: int) -> Transform:
    """Follow-up points to baseline points: another breath and another place on the table.

    The lung keeps its top and its back; its volume changes mostly along the body and by how much the
    chest is lifted. A gentle swell bends everything by a few millimetres.
    """
    along, deep, wide = (course.inspiration ** (-power) for power in (0.6, 0.3, 0.1))
    matrix = np.diag([wide, deep, along])
    fixed = np.array([0.0, 0.8 * p.half_depth_mm, p.lung_height_mm])
    offset = fixed - matrix @ (fixed + np.asarray(course.shift_lps_mm))
    low = np.array([-1.3 * p.half_width_mm, -1.6 * p.half_depth_mm, -60.0])
    high = np.array([1.3 * p.half_width_mm, 1.6 * p.half_depth_mm, p.lung_height_mm + 60.0])
    n = np.ceil((high - low) / _NODE_MM).astype(int) + 1
    grid = Grid(
        (int(n[2]), int(n[1]), int(n[0])), (_NODE_MM,) * 3, (float(low[0]), float(low[1]), float(low[2]))
    )
    x, y, z = np.moveaxis(
        grid.lps_from_index(np.moveaxis(np.indices(grid.shape_zyx), 0, -1).astype(np.float64)), -1, 0
    )
    rng = np.random.default_rng([seed, 32])
    phase = rng.uniform(0, 2 * np.pi, 6)
    wave = 2 * np.pi / rng.uniform(110.0, 170.0, 6)
    field = np.stack(
        [
            1.2 * np.sin(wave[0] * z + phase[0]) * np.cos(wave[1] * y + phase[1]),
            1.5 * np.sin(wave[2] * z + phase[2]) * np.cos(wave[3] * x + phase[3]),
            2.0 * np.sin(wave[4] * x + phase[4]) * np.sin(wave[5] * y + phase[5]),
        ],
        axis=-1,
    )
    return Transform(matrix, offset, grid, field.astype(np.float32))


def demo_pair() -> dict[str, Any]:
    """Parameters of the embedded example, as keywords of `simulate_pair` (with ``protocol``).

    In the likeness of the index case: thousands of nodules and a cavity of 19 mm in the left upper lobe;
    three months later few and small nodules and a smaller lesion.
    """
    return {
        **demo_case(),
        "course": Course(
            kept_share=0.25, volume_factor=0.5, lesion_factor=0.6, inspiration=0.93, shift_lps_mm=(5, -4, 8)
        ),
    }


DEMO_DAYS = 91
