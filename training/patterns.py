"""Places of nodules by pattern in the shipped simulator's anatomies, and what the detector makes of them.

An `Anatomy` is what the ways need to know of a chest: depth, fissures, vessels, tips of arteries. Its
`surroundings` come from one rendering without nodules, so that many sets of nodules can be tried on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from miliary.image.anatomy.lung_box import crop_to_lungs
from miliary.image.anatomy.surroundings import Surroundings, find_surroundings
from miliary.image.distribution.randomness import CERTAIN_PROBABILITY, InjectedNodules
from miliary.image.nodules import find
from miliary.image.nodules.detect import DetectionRun, measure_nodules, score_candidates, search_lungs
from miliary.image.quality.blur import estimate_psf
from miliary.image.quality.noise import estimate_noise
from miliary.image.sensitivity.injection import Recovery, inject_and_recover
from miliary.image.simulate import NodulePopulation, ScanProtocol, draw_anatomy, simulate_scan
from miliary.image.simulate.chest_anatomy import HardNegatives, build_fields
from miliary.image.simulate.nodule_population import accept_apart
from miliary.image.simulate.vessels import grow_trees
from miliary.model.ct_result import Lungs
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.scan import Scan

F64 = npt.NDArray[np.float64]
Field = Callable[[F64], F64]


@dataclass(frozen=True)
class Anatomy:
    """A chest to place nodules in; points are (z, y, x) mm in its own frame.

    Parameters
    ----------
    depth_mm, fissure_mm : callable
        Distance below the lungs' surface (negative outside) and to the nearest fissure, of points (n, 3).
    axis_mm, axis_radius_mm : ndarray, shape (m, 2, 3) and (m,)
        Pieces of vessels wide enough to see.
    tips_mm : ndarray, shape (t, 3)
        Ends of the arteries.
    inside_mm : ndarray, shape (k, 3)
        Uniform points of the lungs within the scan.
    low_mm, high_mm : ndarray, shape (3,)
        The scan's field of view.
    scan : Scan
        Without nodules, unless asked for.
    labels : ndarray of uint8
        True lungs on the grid of the scan.
    """

    depth_mm: Field
    fissure_mm: Field
    axis_mm: F64
    axis_radius_mm: F64
    tips_mm: F64
    inside_mm: F64
    low_mm: F64
    high_mm: F64
    scan: Scan
    labels: npt.NDArray[np.uint8]

    def keep(self, points: F64, radius: F64, *, depth_radii: float = 0.95) -> npt.NDArray[np.bool_]:
        """Which points lie in the field of view and deep enough."""
        seen = np.all((points >= self.low_mm) & (points <= self.high_mm), axis=1)
        return np.asarray(seen & (self.depth_mm(points) >= depth_radii * radius))

    def uniform(self, n: int, rng: np.random.Generator) -> F64:
        """Uniform points of the lungs."""
        return self.inside_mm[rng.integers(0, len(self.inside_mm), n)] + rng.uniform(-0.5, 0.5, (n, 3))

    def slide(self, field: Field, points: F64, level: F64) -> F64:
        """Points moved along the gradient of a field to a level of it."""
        for _ in range(4):
            gradient = np.stack(
                [(field(points + step) - field(points - step)) / 2.0 for step in np.eye(3)], axis=1
            )
            norm = np.maximum((gradient**2).sum(axis=1), 0.05)
            points = points + (np.clip(level - field(points), -4, 4) / norm)[:, None] * gradient
        return points


Way = Callable[[Anatomy, int, F64, np.random.Generator], F64]


def make_anatomy(seed: int, *, population: NodulePopulation | None = None) -> Anatomy:
    """A crop of the shipped simulator's chest of a seed; with nodules in its scan where asked for."""
    rng = np.random.default_rng([seed, 41])
    parameters = draw_anatomy(seed)
    hard = HardNegatives()
    chest = build_fields(parameters, hard)
    trees = grow_trees(parameters, chest, hard)
    pixel, step = float(rng.uniform(0.65, 0.85)), float(rng.choice([0.7, 1.0, 1.0, 1.25, 2.0]))
    shape = (round(115 / step), round(115 / pixel), round(115 / pixel))
    lung = chest.values["lung"]
    cells = np.argwhere((lung > 20) & (lung < 45)) * chest.spacing_mm + chest.origin_zyx_mm
    z, y, x = cells[rng.integers(0, len(cells))]
    is_sharp = rng.random() < 0.4
    protocol = ScanProtocol(
        shape_zyx=shape,
        spacing_zyx_mm=(step, pixel, pixel),
        center_lps_mm=(float(x), float(y), float(z)),
        slice_thickness_mm=step,
        psf_fwhm_mm=float(rng.uniform(1.0, 1.25) if is_sharp else rng.uniform(1.15, 1.6)),
        edge_overshoot=float(rng.uniform(0.05, 0.25)) if is_sharp else 0.0,
        noise_sd_hu=float(rng.uniform(15, 60) if is_sharp else rng.uniform(10, 40)),
    )
    made = simulate_scan(protocol, seed=seed, anatomy=parameters, population=population, n_threads=1)
    grid = made.scan.grid
    low = np.asarray(grid.origin_lps_mm)[::-1]
    high = low + (np.asarray(grid.shape_zyx) - 1) * grid.spacing_zyx_mm
    cells = np.argwhere(chest.values["lung"] > -chest.spacing_mm) * chest.spacing_mm + chest.origin_zyx_mm
    cells = np.repeat(cells, 27, axis=0) + np.tile(
        np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(-1, 3), (len(cells), 1)
    )
    cells = cells[np.all((cells >= low) & (cells <= high), axis=1)]
    cells = cells[chest.sample("lung", cells) > -0.5]
    radius = trees.vessels.radius_mm.mean(axis=1)
    return Anatomy(
        lambda points: chest.sample("lung", points),
        lambda points: chest.sample("fissure", points),
        trees.vessels.ends_zyx_mm[radius > 0.35],
        radius[radius > 0.35],
        trees.tips_zyx_mm,
        cells,
        low,
        high,
        made.scan,
        made.lung_labels,
    )


def crop_anatomy(anatomy: Anatomy, extent_mm: float, rng: np.random.Generator) -> Anatomy:
    """A cube of the scan around a place in the lungs, more lung than not where one is found."""
    grid = anatomy.scan.grid
    size = [
        min(n, round(extent_mm / step)) for n, step in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True)
    ]
    best, view = 0.0, tuple(slice(0, n) for n in size)
    for _ in range(12):
        middle = grid.index_from_lps(anatomy.uniform(1, rng)[:, ::-1])[0]
        start = [
            int(np.clip(m - k // 2, 0, n - k)) for m, k, n in zip(middle, size, grid.shape_zyx, strict=True)
        ]
        here = tuple(slice(a, a + k) for a, k in zip(start, size, strict=True))
        share = float((anatomy.labels[here] > 0).mean()) * rng.uniform(0.5, 1.0)
        if share > best:
            best, view = share, here
    low = np.array([s.start for s in view])
    scan = Scan(
        np.ascontiguousarray(anatomy.scan.voxels_hu[view]), grid.crop(low, size), anatomy.scan.acquisition
    )
    low_mm = anatomy.low_mm + low * grid.spacing_zyx_mm
    high_mm = low_mm + (np.asarray(size) - 1) * grid.spacing_zyx_mm
    inside = anatomy.inside_mm
    inside = inside[np.all((inside >= low_mm) & (inside <= high_mm), axis=1)]
    return replace(
        anatomy,
        inside_mm=inside,
        low_mm=low_mm,
        high_mm=high_mm,
        scan=scan,
        labels=np.ascontiguousarray(anatomy.labels[view]),
    )


def look_around(anatomy: Anatomy, position_mm: F64, diameter_mm: F64) -> tuple[Surroundings, F64]:
    """Surroundings in the anatomy without nodules, and the given points in their frame."""
    box = crop_to_lungs(anatomy.scan, Lungs(anatomy.labels, anatomy.scan.grid.voxel_volume_mm3))
    shift = anatomy.low_mm + np.asarray(box.start_zyx) * box.spacing_zyx_mm
    found = find_surroundings(box, find.smooth_finest(box), position_mm - shift, diameter_mm)
    return found, shift


def draw_diameters(n: int, rng: np.random.Generator) -> F64:
    """Diameters [mm] of one set of nodules: of one size or mixed."""
    low = rng.uniform(1.0, 2.0)
    return rng.uniform(low, low + rng.uniform(0.5, 2.0), n)


def place_nodules(way: Way, anatomy: Anatomy, diameter_mm: F64, rng: np.random.Generator) -> F64:
    """Locations that do not overlap; fewer than asked for where there is no room."""
    radius = diameter_mm / 2
    out = np.full((len(radius), 3), np.nan)
    for _ in range(40):
        todo = np.flatnonzero(np.isnan(out[:, 0]))
        if not len(todo):
            break
        points = way(anatomy, len(todo), radius[todo], rng)
        good = np.isfinite(points).all(axis=1)
        good &= np.all((points >= anatomy.low_mm) & (points <= anatomy.high_mm), axis=1)
        points, todo = points[good], todo[good]
        done = ~np.isnan(out[:, 0])
        apart = accept_apart(points, radius[todo], min_gap_mm=0.2, taken=out[done], taken_radii=radius[done])
        out[todo[apart]] = points[apart]
    return out


def _reject(points: F64, keep: npt.NDArray[np.bool_]) -> F64:
    return np.where(keep[:, None], points, np.nan)


def place_uniform(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Random: uniform in the lung, inside the pleura."""
    points = anatomy.uniform(n, rng)
    return _reject(points, anatomy.keep(points, radius))


def place_downward(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Random with a gradient, as of spread by the blood: three times as dense at the base as at the top."""
    points = anatomy.uniform(4 * n, rng)
    height = (points[:, 0] - anatomy.low_mm[0]) / (anatomy.high_mm[0] - anatomy.low_mm[0])
    points = points[rng.random(len(points)) < np.exp(-1.2 * height)]
    points = np.resize(points, (n, 3)) if len(points) else np.full((n, 3), np.nan)
    return _reject(points, anatomy.keep(points, radius, depth_radii=0.6))


def _on_pleura(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    points = anatomy.uniform(12 * n, rng)
    points = points[anatomy.depth_mm(points) < 6.0]
    if not len(points):
        return np.full((n, 3), np.nan)
    points = points[rng.integers(0, len(points), n)]
    return anatomy.slide(anatomy.depth_mm, points, radius + rng.uniform(0, 0.8, n))


def _on_fissure(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    points = anatomy.uniform(12 * n, rng)
    points = points[np.abs(anatomy.fissure_mm(points)) < 5.0]
    if not len(points):
        return np.full((n, 3), np.nan)
    points = points[rng.integers(0, len(points), n)]
    side = np.sign(anatomy.fissure_mm(points))
    return anatomy.slide(anatomy.fissure_mm, points, side * radius * rng.uniform(0, 1.1, n))


def _on_vessels(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    middle = anatomy.axis_mm.mean(axis=1)
    near = np.flatnonzero(np.all((middle > anatomy.low_mm) & (middle < anatomy.high_mm), axis=1))
    if not len(near):
        return np.full((n, 3), np.nan)
    length = np.linalg.norm(anatomy.axis_mm[near, 1] - anatomy.axis_mm[near, 0], axis=1)
    weight = length * np.sqrt(np.clip(anatomy.axis_radius_mm[near] - 0.3, 0, 2.0))
    pick = near[rng.choice(len(near), n, p=weight / weight.sum())]
    ends = anatomy.axis_mm[pick]
    along = ends[:, 1] - ends[:, 0]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    aside = np.cross(along, rng.standard_normal((n, 3)))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True) + 1e-9
    t = rng.random((n, 1))
    reach = anatomy.axis_radius_mm[pick] + radius * rng.uniform(0.7, 1.1, n)
    return np.asarray(ends[:, 0] * (1 - t) + ends[:, 1] * t + aside * reach[:, None])


def place_on_interstitium(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Perilymphatic: 40 % on the pleura, 20 % on fissures, 40 % beside vessels."""
    return mix_perilymphatic(anatomy, n, radius, rng, shares=(0.4, 0.2, 0.4))


def place_in_galaxies(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Perilymphatic in clusters, mostly beside vessels; clusters have about a dozen members."""
    seeds = mix_perilymphatic(
        anatomy, max(3, n // 12), radius[:1].repeat(max(3, n // 12)), rng, shares=(0.3, 0.2, 0.5)
    )
    seeds = seeds[np.isfinite(seeds).all(axis=1)]
    if not len(seeds):
        return np.full((n, 3), np.nan)
    pool = mix_perilymphatic(anatomy, 6 * n, np.resize(radius, 6 * n), rng, shares=(0.3, 0.2, 0.5))
    pool = pool[np.isfinite(pool).all(axis=1)]
    near = cKDTree(seeds).query(pool)[0]
    chosen = pool[rng.random(len(pool)) < np.exp(-((near / 8.0) ** 2)) + 0.05]
    out = np.full((n, 3), np.nan)
    chosen = chosen[rng.permutation(len(chosen))[:n]]
    out[: len(chosen)] = chosen
    return out


def mix_perilymphatic(
    anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator, *, shares: tuple[float, float, float]
) -> F64:
    """On pleura, fissures and vessels in given shares."""
    kind = rng.choice(3, n, p=shares)[:, None]
    ways = [way(anatomy, n, radius, rng) for way in (_on_pleura, _on_fissure, _on_vessels)]
    points = np.where(kind == 0, ways[0], np.where(kind == 1, ways[1], ways[2]))
    return _reject(points, anatomy.keep(np.nan_to_num(points, nan=-1e6), radius, depth_radii=0.9))


def place_at_tips(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Centrilobular: around the tips of arteries, at least 2.5 mm off the pleura."""
    tips = anatomy.tips_mm
    tips = tips[np.all((tips > anatomy.low_mm) & (tips < anatomy.high_mm), axis=1)]
    if not len(tips):
        return np.full((n, 3), np.nan)
    away = rng.standard_normal((n, 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    points = tips[rng.integers(0, len(tips), n)] + away * (radius + rng.exponential(0.6, n))[:, None]
    return _reject(points, anatomy.keep(points, radius + 2.5, depth_radii=1.0))


def place_in_rosettes(anatomy: Anatomy, n: int, radius: F64, rng: np.random.Generator) -> F64:
    """Centrilobular: one to six around the middle of each of some lobules, which keep 8 mm apart."""
    tries = anatomy.uniform(max(60, 3 * n), rng)
    tries = tries[(anatomy.depth_mm(tries) > 5.0) & (np.abs(anatomy.fissure_mm(tries)) > 4.0)]
    tries = tries[
        accept_apart(
            tries, np.zeros(len(tries)), min_gap_mm=8.0, taken=np.empty((0, 3)), taken_radii=np.empty(0)
        )
    ]
    if not len(tries):
        return np.full((n, 3), np.nan)
    tries = tries[: max(1, n // 2)]
    away = rng.standard_normal((n, 3))
    away *= (rng.uniform(1.0, 3.5, n) / np.linalg.norm(away, axis=1))[:, None]
    points = tries[rng.integers(0, len(tries), n)] + away
    good = anatomy.keep(points, radius + 2.0, depth_radii=1.0) & (
        np.abs(anatomy.fissure_mm(points)) > radius + 1.5
    )
    return _reject(points, good)


TRAINING_WAYS: dict[str, dict[str, Way]] = {
    "random": {"uniform": place_uniform, "downward": place_downward},
    "perilymphatic": {"interstitium": place_on_interstitium, "galaxies": place_in_galaxies},
    "centrilobular": {"tips": place_at_tips, "rosettes": place_in_rosettes},
}


@dataclass(frozen=True)
class Marks:
    """What is reported: (z, y, x) [mm] from the first voxel of the box, diameters, their errors, probability.

    `trials` are of the same scan, where they were asked for.
    """

    position_mm: F64
    diameter_mm: F64
    diameter_mm_err: F64
    probability: F64
    surroundings: Surroundings
    trials: InjectedNodules | None = None


def detect(scan: Scan, labels: npt.NDArray[np.uint8], *, n_trials: int = 0, seed: int = 0) -> Marks:
    """Find, judge and measure as the pipeline does, in given lungs: a crop has none that could be found."""
    chain, nodules = _run_chain(scan, labels, seed)
    nodules = nodules.select(nodules["attenuation"] != Attenuation.CALCIFIED.value)
    index = scan.grid.index_from_lps(nodules.position_lps_mm) - np.asarray(chain.box.start_zyx)
    place = index * np.asarray(chain.box.spacing_zyx_mm)
    around = find_surroundings(chain.box, chain.smooth_hu, place, nodules["diameter_mm"])
    trials = None
    if n_trials:
        tried = _try(chain, n_trials, seed)
        trials = InjectedNodules(tried.position_mm, tried.diameter_mm, tried.is_found)
    return Marks(
        place, nodules["diameter_mm"], nodules["diameter_mm_err"], nodules["probability"], around, trials
    )


def try_one_by_one(anatomy: Anatomy, n: int, *, share: float, seed: int) -> tuple[Recovery, Surroundings]:
    """What becomes of `n` nodules at random places, each as if it were alone, and what is around them.

    Found is what is as certain as a pattern asks. `share` is that of nodules among candidates, as a scan with
    many of them would have it.
    """
    chain, nodules = _run_chain(anatomy.scan, anatomy.labels, seed)
    tried = _try(replace(chain, share=share), n, seed)
    return tried, find_surroundings(chain.box, chain.smooth_hu, chain.position_mm, nodules["diameter_mm"])


def _try(chain: DetectionRun, n: int, seed: int) -> Recovery:
    tried = inject_and_recover(chain, n=n, seed=seed)
    return replace(tried, is_found=tried.is_found_at(CERTAIN_PROBABILITY, chain.classifier.threshold))


def detect_one_by_one(anatomy: Anatomy, n: int, *, share: float, seed: int) -> Marks:
    """Of nodules tried one by one, those of 1.1 to 3.4 mm that were found."""
    tried, around = try_one_by_one(anatomy, n, share=share, seed=seed)
    found = tried.is_found & (tried.diameter_mm > 1.1) & (tried.diameter_mm < 3.4)
    measured = tried.measured_mm[found]
    return Marks(
        tried.position_mm[found], measured, np.full(len(measured), 0.1), np.ones(len(measured)), around
    )


def _run_chain(scan: Scan, labels: npt.NDArray[np.uint8], seed: int) -> tuple[DetectionRun, Nodules]:
    mask = Lungs(labels, scan.grid.voxel_volume_mm3)
    noise, psf = estimate_noise(scan, mask, seed=seed), estimate_psf(scan)
    search = search_lungs(scan, mask)
    judged = score_candidates(search, noise=noise, psf=psf)
    detection, _, nodules = measure_nodules(
        search, judged, grid=scan.grid, noise=noise, psf=psf, is_clipped=False
    )
    return detection, nodules
