"""Small simulated scans with known truth, for the bars of completeness: crops of one lung.

Every scan is a seed and a source; `draw_recipe` says what it is, `make_crop` makes it. Seeds from 900000 on
are for validation, those below were used while the method was made.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan
from miliary.model.scan import Scan
from validation.independent import Disease, Protocol, simulate_independent
from validation.independent_render import Optics

F64 = npt.NDArray[np.float64]

# Of the crop's border, where the lung is cut and filters see it: nothing is counted there.
BORDER_MM = 10.0
SLICES_MM = (0.6, 0.8, 1.0, 1.0, 1.25, 1.25, 2.0, 2.5)
COUNTS = {"shipped": (80, 200, 400, 700, 1000), "independent": (100, 300, 500, 700)}
EXTENT_MM = {"shipped": (115.0, 120.0, 115.0), "independent": (160.0, 180.0, 230.0)}
# Every fifth one is larger and full of nodules.
LARGE_MM, LARGE_COUNT = (150.0, 150.0, 135.0), 1600


@dataclass(frozen=True)
class Recipe:
    """One small scan: where its anatomy comes from and how it was made."""

    source: str
    seed: int
    slice_mm: float
    step_mm: float
    pixel_mm: float
    fwhm_mm: float
    overshoot: float
    tail: float
    noise_hu: float
    extent_mm: tuple[float, float, float]
    n: int
    diameter_mm: tuple[float, float]
    distribution: str
    pattern: str = "random"


@dataclass(frozen=True)
class Crop:
    """A small scan, the labels of the lung inside its border, and the nodules whose center is there."""

    recipe: Recipe
    scan: Scan
    labels: npt.NDArray[np.uint8]
    position_lps_mm: F64
    diameter_mm: F64
    density_hu: F64


def draw_recipe(source: str, seed: int, *, slices_mm: tuple[float, ...] = SLICES_MM) -> Recipe:
    """A protocol and a disease, the same for the same seed."""
    rng = np.random.default_rng([seed, 41])
    slice_mm = float(rng.choice(slices_mm))
    sharp = rng.random() < 0.4
    low, high, distribution = [
        (0.8, 3.2, "uniform"),
        (1.0, 3.0, "uniform"),
        (0.9, 2.8, "lognormal"),
        (1.1, 4.0, "lognormal"),
    ][int(rng.integers(4))]
    if source == "independent":
        distribution = "uniform"
    is_large = source == "shipped" and seed % 5 == 0
    return Recipe(
        source=source,
        seed=seed,
        slice_mm=slice_mm,
        step_mm=slice_mm if rng.random() < 0.8 else 0.8 * slice_mm,
        pixel_mm=float(rng.uniform(0.6, 0.8)),
        fwhm_mm=float(rng.uniform(1.0, 1.25) if sharp else rng.uniform(1.2, 1.6)),
        overshoot=float(rng.uniform(0.05, 0.25)) if sharp else 0.0,
        tail=float(rng.choice([0.0, 0.1])),
        noise_hu=float(rng.uniform(15, 60) if sharp else rng.uniform(10, 50)),
        extent_mm=LARGE_MM if is_large else EXTENT_MM[source],
        n=LARGE_COUNT if is_large else int(rng.choice(COUNTS[source])),
        diameter_mm=(low, high),
        distribution=distribution,
    )


def make_crop(recipe: Recipe) -> Crop:
    """Simulate the scan of a recipe."""
    return _make_independent(recipe) if recipe.source == "independent" else _make_shipped(recipe)


@functools.lru_cache(maxsize=1)
def _protocol_center(seed: int) -> tuple[float, float, float]:
    """A place in one lung, alternately right and left."""
    rng = np.random.default_rng([seed, 42])
    side = -1.0 if seed % 2 else 1.0
    return (
        side * float(rng.uniform(65, 85)),
        float(rng.uniform(-15, 25)),
        float(rng.uniform(95, 160)),
    )


def _make_shipped(recipe: Recipe) -> Crop:
    nz, ny, nx = (round(mm / step) for mm, step in zip(recipe.extent_mm, _steps(recipe), strict=True))
    protocol = ScanProtocol(
        shape_zyx=(nz, ny, nx),
        spacing_zyx_mm=_steps(recipe),
        psf_fwhm_mm=recipe.fwhm_mm,
        psf_tail=recipe.tail,
        slice_thickness_mm=recipe.slice_mm,
        edge_overshoot=recipe.overshoot,
        noise_sd_hu=recipe.noise_hu,
        center_lps_mm=_protocol_center(recipe.seed),
    )
    population = NodulePopulation(recipe.n, recipe.diameter_mm, recipe.distribution, pattern=recipe.pattern)
    made = simulate_scan(protocol, seed=recipe.seed, population=population if recipe.n else None, n_threads=1)
    truth = {name: np.asarray(values) for name, values in made.truth.items()}
    point = np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)
    return _cut(recipe, made.scan, made.lung_labels, point, truth["diameter_mm"], truth["density_hu"])


def _make_independent(recipe: Recipe) -> Crop:
    nz, ny, nx = (round(mm / step) for mm, step in zip(recipe.extent_mm, _steps(recipe), strict=True))
    protocol = Protocol(
        shape_zyx=(nz, ny, nx),
        spacing_zyx_mm=_steps(recipe),
        optics=Optics(fwhm_mm=recipe.fwhm_mm, overshoot=2.0 * recipe.overshoot, slice_mm=recipe.slice_mm),
        noise_hu=recipe.noise_hu,
    )
    made = simulate_independent(
        recipe.seed, protocol=protocol, disease=Disease(n_nodules=recipe.n, diameter_mm=recipe.diameter_mm)
    )
    truth = made.truth
    point = truth[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=np.float64).reshape(-1, 3)
    return _cut(
        recipe,
        made.scan,
        made.labels,
        point,
        truth["diameter_mm"].to_numpy(),
        truth["density_hu"].to_numpy(),
    )


def _steps(recipe: Recipe) -> tuple[float, float, float]:
    return (recipe.step_mm, recipe.pixel_mm, recipe.pixel_mm)


def _cut(
    recipe: Recipe,
    scan: Scan,
    labels: npt.NDArray[np.uint8],
    point: F64,
    diameter: npt.NDArray[np.generic],
    density: npt.NDArray[np.generic],
) -> Crop:
    """Take the border off the labels and leave out the nodules that lie there."""
    border = np.ceil(BORDER_MM / np.asarray(scan.grid.spacing_zyx_mm)).astype(int)
    inner = np.zeros_like(labels)
    view = tuple(slice(b, n - b) for b, n in zip(border, labels.shape, strict=True))
    inner[view] = labels[view]
    inside = is_inside(scan, point)
    return Crop(
        replace(recipe),
        scan,
        inner,
        point[inside],
        diameter[inside].astype(np.float64),
        density[inside].astype(np.float64),
    )


def is_inside(scan: Scan, position_lps_mm: F64) -> npt.NDArray[np.bool_]:
    """Whether points lie inside the border."""
    border = np.ceil(BORDER_MM / np.asarray(scan.grid.spacing_zyx_mm))
    index = scan.grid.index_from_lps(position_lps_mm)
    shape = np.asarray(scan.grid.shape_zyx)
    return np.asarray(np.all((index >= border - 0.5) & (index < shape - border - 0.5), axis=1))
