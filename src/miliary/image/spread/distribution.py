"""How nodules are spread: random, perilymphatic or centrilobular, beside random places in the same lungs.

The reference is a set of uniform points of the same lungs, each with a weight: the chance that a nodule there
is reported, times broad gradients (height, front to back, side) fitted to the nodules, since spread by the
blood has such gradients too. Random placements are drawn from it. Three things follow:

1. Evidence: shares in contact with pleura and vessels, pairs, nearest neighbors, each with its effect size.
2. A joint Monte-Carlo test of randomness, exact where the reference is; each placement has its own draw of
   what is not known about the chance of detection, so that many nodules do not make a small bias significant.
3. Probabilities of the patterns, from counts by zone and pairs under ranges of effect sizes per pattern
   (``weights/pattern.json``). Ranges, not means: nobody knows how strong a patient's effect is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr

from miliary.errors import WeightsError
from miliary.image.anatomy.surroundings import REACH_MM, Surroundings
from miliary.image.kernels import loops, point_counts
from miliary.image.weights.card import PATTERN, read_card
from miliary.model.pattern import CLASSES, Curve, Evidence, Pattern, PatternLabel, SizeUniformity

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MIN_NODULES = 30
# Marks less certain than this are too often vessels, which would look like nodules that lie at vessels.
SURE_PROBABILITY = 0.6
MAX_USED = 2000
N_REFERENCE = 14_000
N_PLACEMENTS = 199
# Below this two marks may be one nodule, and nodules keep each other out.
APART_MM = 2.0
PAIR_EDGES_MM = np.array([2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0])
CLOSE_BINS, WIDE_BINS = slice(1, 4), slice(4, 7)
# Placements whose least distance is compared with that of the nodules: all of 40 is 2.5 % by chance.
MINIMA_COMPARED = 40
CONTACT_MM, RIM_MM, NEAR_MM = 1.0, 2.5, 3.0
# Nodules that bulge into the pleura have their middle nearer to it than their radius.
LEAST_DEPTH_RADII = 0.8
# Thickness of a fissure on the coarse grid; area that is worth naming.
SHEET_MM, LEAST_FISSURE_CM2 = 1.5, 5.0
NO_PATTERN = "not used"

# Radii of trials beyond those of the nodules that count; width of the logarithm of a radius over which trials
# tell of each other; what stays unknown at best.
SIZE_MATCH_MM, SIZE_LOG_WIDTH = 0.2, 0.15
LEAST_LOG_SD = 0.05

ZONES = ("pleura_contact", "pleura_rim", "fissure_contact", "vessel_contact", "vessel_near", "free")
MEASURES = (*ZONES[:-1], "close_pairs", "wide_pairs", "nearest_neighbor")
_MEANINGS = {
    "pleura_contact": "share of nodules that touch the pleura",
    "pleura_rim": "share of nodules 1 to 2.5 mm off the pleura",
    "fissure_contact": "share of nodules farther in that touch a visible fissure",
    "vessel_contact": "share of the other nodules that touch a visible vessel",
    "vessel_near": "share of the other nodules 1 to 3 mm from a visible vessel",
    "close_pairs": "pairs of nodules 3 to 6 mm apart (pair correlation)",
    "wide_pairs": "pairs of nodules 6 to 12 mm apart (pair correlation)",
    "nearest_neighbor": "mean distance to the nearest other nodule (Clark-Evans)",
}
PAIR_COLUMNS = slice(len(ZONES) - 1, len(ZONES) + 1)
_UNITS = {"close_pairs": "pairs", "wide_pairs": "pairs", "nearest_neighbor": "mm"}


@dataclass(frozen=True)
class Places:
    """Points with their surroundings, sorted by height.

    `zone` is the number of the point's entry in `ZONES`; `deep_mm` the depth without limit; `side` the
    label of the lung.
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

    def select(self, keep: npt.NDArray[Any]) -> Places:
        """The points of a mask or index array."""
        return Places(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def can_hold(self) -> npt.NDArray[np.bool_]:
        """Which points a nodule can be at: not inside a vessel, not half outside the lung."""
        return (self.vessel_mm > 0) & (self.depth_mm > LEAST_DEPTH_RADII * self.radius_mm)

    def visible(self) -> Places:
        """The points where a nodule could be seen: not within a vessel."""
        return self.select(self.vessel_mm > 0)


@dataclass(frozen=True)
class _Counts:
    """Of k sets of points: sizes, counts by zone, pairs by distance, mean distance to the nearest."""

    size: F64
    zone: F64
    pairs: F64
    nearest_mm: F64

    def log_measures(self) -> F64:
        """Logarithm of each of `MEASURES`, shape (k, measures); empty counts are half a nodule."""
        inner = self.size - self.zone[:, 0] - self.zone[:, 1]
        other = inner - self.zone[:, 2]
        n_pairs = 0.5 * self.size * (self.size - 1)
        columns = [
            (self.zone[:, 0] + 0.5) / (self.size + 1),
            (self.zone[:, 1] + 0.5) / (self.size + 1),
            (self.zone[:, 2] + 0.5) / (inner + 1),
            (self.zone[:, 3] + 0.5) / (other + 1),
            (self.zone[:, 4] + 0.5) / (other + 1),
            (self.pairs[:, CLOSE_BINS].sum(axis=1) + 0.5) / n_pairs,
            (self.pairs[:, WIDE_BINS].sum(axis=1) + 0.5) / n_pairs,
            self.nearest_mm,
        ]
        return np.log(np.stack(columns, axis=1))


@lru_cache(maxsize=1)
def read_model() -> Mapping[str, Any]:
    """Read the packaged ``pattern.json``: chance of detection by zone, and effect sizes by pattern.

    Returns
    -------
    mapping
        `detection`: by zone (`ZONES`) and radius [mm] the chance of detection over that in the free lung and
        the spread of its logarithm between scans. `geometry_log_sd`: the part of that spread, by zone, which
        no injected nodule shows: whether nodules bulge out of the lung, how much of a fissure one hides that
        lies on it, and how far nodules and vessels run into each other. `classes`: prior and effect sizes of
        each pattern.

    Raises
    ------
    WeightsError
        The packaged model files do not belong together, or were made with other settings than this code.
    """
    model = read_card().documents[PATTERN]
    made = model["made_with"]
    if (made["sure_probability"], made["least_log_sd"]) != (SURE_PROBABILITY, LEAST_LOG_SD):
        raise WeightsError(f"{PATTERN}: made with other settings of the pattern; run `make train`")
    return model


@dataclass(frozen=True)
class Trials:
    """Nodules put at random places of this scan, and which of them came back: arrays of one length.

    `position_mm` (n, 3) is (z, y, x) in the frame of the surroundings; found is what is as certain as
    `SURE_PROBABILITY`.
    """

    position_mm: F64
    diameter_mm: F64
    is_found: npt.NDArray[np.bool_]


def estimate_pattern(
    position_mm: F64,
    diameter_mm: F64,
    *,
    diameter_mm_err: F64 | None = None,
    probability: F64 | None = None,
    surroundings: Surroundings,
    trials: Trials | None = None,
    seed: int = 0,
) -> Pattern:
    """Spatial pattern of the nodules of one scan.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        (z, y, x) [mm] in the frame of `surroundings`.
    diameter_mm : ndarray, shape (n,)
        NaN where unknown.
    diameter_mm_err : ndarray, optional
        One-sigma errors, for the uniformity of size.
    probability : ndarray, optional
        Of being a nodule: where given, only those of `SURE_PROBABILITY` and more are used.
    surroundings : Surroundings
    trials : Trials, optional
        Measure the chance of detection on this scan; by default it is the packaged one.
    seed : int
        Of the random placements.

    Returns
    -------
    Pattern
        `indeterminate` under 30 certain nodules, or `none` where they are no more than false marks make.
    """
    n_marks = len(position_mm)
    size = estimate_uniformity(diameter_mm, diameter_mm_err)
    if probability is not None:
        is_sure = probability >= SURE_PROBABILITY
        position_mm, diameter_mm = position_mm[is_sure], diameter_mm[is_sure]
    n = len(position_mm)
    if n < MIN_NODULES or surroundings.lung_mm3 == 0:
        return _withhold(n_marks, n, surroundings.lung_mm3 / 1e6, size, seed)
    rng = np.random.default_rng([seed, 31])
    radius = (
        np.nan_to_num(
            diameter_mm, nan=float(np.nanmedian(diameter_mm)) if np.isfinite(diameter_mm).any() else 2.0
        )
        / 2
    )
    nodules = measure_places(surroundings, position_mm, radius)
    n_drawn = min(n, MAX_USED)
    nodules = _thin(nodules, n_drawn, rng)
    observed = _count(nodules, None, APART_MM)
    reference = _draw_reference(surroundings, nodules.radius_mm, rng)
    chance, log_sd = _find_chance(reference, nodules, surroundings, trials)
    weight = _weigh(reference, nodules, chance)
    null = _place_at_random(np.log(weight), log_sd, reference, observed, n_drawn, rng)
    log_observed, log_null = observed.counts.log_measures(), null.counts.log_measures()
    probabilities = _weigh_classes(observed.counts, null.counts, n_marks / (surroundings.lung_mm3 / 1e6))
    label, reason = _decide(probabilities)
    return Pattern(
        label=label,
        reason=reason,
        probabilities=probabilities,
        n_nodules=n_marks,
        n_used=len(nodules),
        size=size,
        randomness_p=_test_jointly(*_forget_hidden(log_observed[0], log_null)),
        evidence=_list_evidence(log_observed[0], log_null, observed.counts),
        gradients=_list_gradients(nodules, reference, chance),
        fissures=_tell_fissures(surroundings),
        completeness="shipped" if trials is None else "measured",
        n_placements=N_PLACEMENTS,
        seed=seed,
        curves=_list_curves(nodules, reference, observed, null),
    )


def estimate_uniformity(diameter_mm: F64, diameter_mm_err: F64 | None) -> SizeUniformity:
    """Coefficient of variation of the diameters, measurement error taken out in squares."""
    error = np.zeros(len(diameter_mm)) if diameter_mm_err is None else diameter_mm_err
    good = np.isfinite(diameter_mm) & np.isfinite(error)
    size, error = diameter_mm[good], error[good]
    n = len(size)
    if n < 5:
        return SizeUniformity(None, None, None, "fewer than five diameters")
    mean, variance = float(size.mean()), float(size.var(ddof=1))
    measured = float(np.sqrt(variance)) / mean
    # Median: a few very uncertain diameters say nothing about the others.
    left = variance - float(np.median(error) ** 2)
    fourth = float(((size - mean) ** 4).mean())
    variance_err = float(np.sqrt(max(fourth - variance**2, 0.0) / n))
    if left <= 0:
        return SizeUniformity(0.0, float(np.sqrt(variance_err)) / mean, measured)
    cv = float(np.sqrt(left)) / mean
    return SizeUniformity(cv, 0.5 * variance_err / float(np.sqrt(left)) / mean, measured)


def measure_places(surroundings: Surroundings, position_mm: F64, radius_mm: F64) -> Places:
    """Surroundings of points, sorted by height."""
    order = np.argsort(position_mm[:, 0], kind="stable")
    position, radius = np.ascontiguousarray(position_mm[order]), radius_mm[order]
    depth = surroundings.measure_depth_mm(position)
    vessel = surroundings.measure_vessel_mm(position)
    fissure = surroundings.measure_fissure_mm(position)
    deep = surroundings.measure_deep_mm(position)
    # Halves of lungs, for points on the rim too: the nearest cell of a lung need not be the point's own.
    side = surroundings.side_of(position)
    zone = _zone_of(depth - radius, fissure - radius, vessel - radius)
    return Places(position, radius, depth, vessel, fissure, deep, side, zone)


def _zone_of(pleura_gap_mm: F64, fissure_gap_mm: F64, vessel_gap_mm: F64) -> I64:
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


def _withhold(n_marks: int, n_sure: int, litres: float, size: SizeUniformity, seed: int) -> Pattern:
    """No pattern for few nodules."""
    false_per_litre = float(read_model()["false_marks"]["none_below_per_litre"])
    if n_marks <= false_per_litre * litres or n_marks == 0:
        label, reason = PatternLabel.NONE, f"{n_marks} nodules are no more than false marks alone can make"
    elif n_marks < MIN_NODULES:
        label, reason = PatternLabel.INDETERMINATE, f"{n_marks} nodules are fewer than {MIN_NODULES}"
    else:
        text = f"{n_sure} of {n_marks} nodules are certain enough, fewer than {MIN_NODULES}"
        label, reason = PatternLabel.INDETERMINATE, text
    return Pattern(label, reason, {}, n_marks, n_sure, size, fissures=NO_PATTERN, seed=seed)


def _tell_fissures(surroundings: Surroundings) -> str:
    """How much of the fissures was seen: what is not seen counts as free lung."""
    cm2 = float(np.count_nonzero(surroundings.fissure) * np.prod(surroundings.cell_mm)) / 100.0 / SHEET_MM
    if cm2 < LEAST_FISSURE_CM2:
        return "not seen on this scan: contact is with the outer surface of the lungs only"
    return f"used where seen, about {cm2:.0f} cm2"


def _thin(nodules: Places, n: int, rng: np.random.Generator) -> Places:
    """Of `n` nodules those that are no closer than `APART_MM`; placements are thinned alike."""
    if len(nodules) > n:
        nodules = nodules.select(np.sort(rng.choice(len(nodules), n, replace=False)))
    kept, sizes = _keep_apart(nodules.position_mm, np.arange(len(nodules), dtype=np.int32)[None], APART_MM)
    return nodules.select(kept[0, : sizes[0]])


def _keep_apart(points_mm: F64, draws: I32, apart_mm: float) -> tuple[I32, I64]:
    kept = np.empty_like(draws)
    loops.run_rows(point_counts.drop_close, len(draws), points_mm, draws, kept, apart_mm)
    return kept, (kept >= 0).sum(axis=1)


def _draw_reference(surroundings: Surroundings, radius_mm: F64, rng: np.random.Generator) -> Places:
    """Uniform points where a nodule can be."""
    points = surroundings.draw_points(N_REFERENCE, rng)
    places = measure_places(surroundings, points, rng.choice(radius_mm, N_REFERENCE))
    return places.select(places.can_hold())


def _find_chance(
    reference: Places, nodules: Places, surroundings: Surroundings, trials: Trials | None
) -> tuple[F64, F64]:
    """Chance of detection at the reference points, and how well its logarithm is known.

    By zone, relative to the free lung. Trials of about the nodules' size tell by how much the packaged chance
    of each zone is off on this scan.
    """
    chance, spread = _look_up(reference)
    if trials is None:
        return chance, spread
    low, high = np.quantile(nodules.radius_mm, [0.1, 0.9])
    size = trials.diameter_mm / 2
    alike = (size >= low - SIZE_MATCH_MM) & (size <= high + SIZE_MATCH_MM)
    tried = measure_places(surroundings, trials.position_mm[alike], size[alike])
    found = trials.is_found[alike][np.argsort(trials.position_mm[alike][:, 0], kind="stable")]
    can_be = tried.can_hold()
    log_factor, log_sd = _compare_zones(
        tried.select(can_be), found[can_be], float(np.median(nodules.radius_mm))
    )
    return chance * np.exp(log_factor[reference.zone]), log_sd[reference.zone]


def _look_up(places: Places) -> tuple[F64, F64]:
    """Packaged chance of detection over that in the free lung, and the spread of its logarithm."""
    detection = read_model()["detection"]
    rows = np.arange(len(places))
    chance, spread = (
        np.stack([np.interp(places.radius_mm, detection["radius_mm"], detection[z][name]) for z in ZONES])
        for name in ("chance", "log_sd")
    )
    return chance[places.zone, rows], spread[places.zone, rows]


def _compare_zones(tried: Places, found: npt.NDArray[np.bool_], radius_mm: float) -> tuple[F64, F64]:
    """Logarithm of what was found over what the packaged chance expects, by zone, and what stays unknown.

    The latter at `radius_mm`.
    """
    model = read_model()
    detection = model["detection"]
    expected = _look_up(tried)[0] * _rate_in_free_lung(tried, found)
    log_factor, log_sd = np.zeros(len(ZONES)), np.zeros(len(ZONES))
    for k, name in enumerate(ZONES[:-1]):
        here = tried.zone == k
        geometry = float(model["geometry_log_sd"].get(name, 0.0))
        # Scans differ by the packaged spread without its part that is geometry.
        spread = float(np.interp(radius_mm, detection["radius_mm"], detection[name]["log_sd"]))
        between = max(spread**2 - geometry**2, LEAST_LOG_SD**2)
        p = np.clip(expected[here], 0.01, 0.99)
        counting = float((p * (1 - p)).sum() + 0.5) / float(p.sum() + 0.5) ** 2
        seen = np.log((np.count_nonzero(found[here]) + 0.5) / (p.sum() + 0.5))
        log_factor[k] = between / (between + counting) * float(seen)
        log_sd[k] = np.sqrt(between * counting / (between + counting) + max(geometry, LEAST_LOG_SD) ** 2)
    return log_factor, log_sd


def _rate_in_free_lung(tried: Places, found: npt.NDArray[np.bool_]) -> F64:
    """Share found of the trials in the free lung that are about as large as each trial."""
    free = tried.zone == len(ZONES) - 1
    log_radius = np.log(tried.radius_mm)
    weight = np.exp(-0.5 * ((log_radius[:, None] - log_radius[free]) / SIZE_LOG_WIDTH) ** 2)
    return np.asarray((weight @ found[free] + 0.5) / (weight.sum(axis=1) + 1.0))


def _weigh(reference: Places, nodules: Places, chance: F64) -> F64:
    """Weights of the reference points, mean 1: chance of detection times fitted broad gradients."""
    low, high = reference.position_mm.min(axis=0), reference.position_mm.max(axis=0)
    scale = np.maximum(high - low, 1.0)
    rows = [_broad_terms(p, low, scale) for p in (reference, nodules)]
    tilted = _tilt(chance, rows[0], rows[1].mean(axis=0), len(nodules))
    return tilted / tilted.mean()


def _broad_terms(places: Places, low: F64, scale: F64) -> F64:
    at = 2 * (places.position_mm - low) / scale - 1
    is_left = np.where(at[:, 2] > 0, 1.0, -1.0)
    if (places.side > 0).any():
        is_left = np.where(places.side == 2, 1.0, np.where(places.side == 1, -1.0, is_left))
    return np.stack([at[:, 0], at[:, 0] ** 2, at[:, 1], is_left], axis=1)


def _tilt(weight: F64, rows: F64, target: F64, n: int) -> F64:
    """Exponential tilt of weights that gives `rows` the mean `target`; weak prior against steep slopes."""
    slope = np.zeros(rows.shape[1])
    for _ in range(25):
        tilted = weight * np.exp(np.clip(rows @ slope, -6, 6))
        tilted /= tilted.sum()
        mean = tilted @ rows
        curve = (rows - mean).T @ ((rows - mean) * tilted[:, None])
        step = np.linalg.solve(n * curve + np.eye(len(slope)), n * (target - mean) - slope)
        slope = slope + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-4:
            break
    return np.asarray(weight * np.exp(np.clip(rows @ slope, -6, 6)))


def _place_at_random(
    log_weight: F64, log_sd: F64, reference: Places, observed: _Counted, n: int, rng: np.random.Generator
) -> _Counted:
    """Random placements, as far apart as the nodules where these keep a distance that chance does not."""
    null = _count(reference, _draw_placements(log_weight, log_sd, reference.zone, n, rng), APART_MM)
    apart = float(np.nanmin(observed.nearest_mm))
    if apart <= float(np.nanmin(null.nearest_mm[:MINIMA_COMPARED], axis=1).max()):
        return null
    # Nodules that keep apart have no room for each other; that is no pattern.
    wanted = n
    for _ in range(2):
        few = _draw_placements(log_weight, log_sd, reference.zone, wanted, rng, n_placements=8)
        kept = _keep_apart(reference.position_mm, few, apart)[1].mean()
        wanted = round(wanted * float(observed.sizes[0]) / max(kept, 1.0))
    return _count(reference, _draw_placements(log_weight, log_sd, reference.zone, wanted, rng), apart)


def _draw_placements(
    log_weight: F64,
    log_sd: F64,
    zone: I64,
    n: int,
    rng: np.random.Generator,
    n_placements: int = N_PLACEMENTS,
) -> I32:
    """Random placements (k, n) as ascending rows of the reference, each with its own chances of detection."""
    spread, center = log_sd.astype(np.float32), log_weight.astype(np.float32)
    n = min(n, len(center) // 2)
    placed = np.empty((n_placements, n), np.int32)
    for k in range(n_placements):
        bias = rng.standard_normal(len(ZONES), dtype=np.float32)[zone] * spread
        # The n largest of weight times exponential noise are a draw without replacement.
        noise = np.maximum(rng.standard_exponential(len(center), dtype=np.float32), np.float32(1e-30))
        key = center + bias - np.log(noise)
        placed[k] = np.sort(np.argpartition(key, -n)[-n:])
    return placed


@dataclass(frozen=True)
class _Counted:
    counts: _Counts
    nearest_mm: F64
    draws: I32
    sizes: I64


def _count(places: Places, draws: I32 | None, apart_mm: float) -> _Counted:
    """Counts over sets of points; all of them where no draws are given."""
    if draws is None:
        draws = np.arange(len(places), dtype=np.int32)[None]
    draws, sizes = _keep_apart(places.position_mm, draws, apart_mm)
    pairs = np.zeros((len(draws), len(PAIR_EDGES_MM) - 1))
    nearest = np.full(draws.shape, np.nan)
    loops.run_rows(
        point_counts.count_neighbors,
        len(draws),
        places.position_mm,
        draws,
        sizes,
        PAIR_EDGES_MM,
        pairs,
        nearest,
    )
    zone = np.stack(
        [((places.zone[draws] == k) & (draws >= 0)).sum(axis=1) for k in range(len(ZONES))], axis=1
    )
    counts = _Counts(sizes.astype(float), zone.astype(float), pairs, np.nanmean(nearest, axis=1))
    return _Counted(counts, nearest, draws, sizes)


def _forget_hidden(observed: F64, null: F64) -> tuple[F64, F64]:
    """Measures of all sets, with fissural contact no less than its median.

    A nodule hides a faint fissure that it lies on, so that few at fissures tell nothing; many do.
    """
    pool = np.concatenate([observed[None], null])
    column = MEASURES.index("fissure_contact")
    pool[:, column] = np.maximum(pool[:, column], np.median(pool[:, column]))
    return pool[0], pool[1:]


def _test_jointly(observed: F64, null: F64) -> float:
    """Rank of the observed measures' distance from the middle of all sets, itself among them.

    With the observed set in the mean and covariance every set is treated alike, so the test keeps its level
    whatever the distribution.
    """
    pool = np.concatenate([observed[None], null])
    centered = pool - pool.mean(axis=0)
    covariance = centered.T @ centered / (len(pool) - 1)
    covariance += 1e-9 * np.eye(len(covariance))
    distance = np.einsum("ki,ki->k", centered, np.linalg.solve(covariance, centered.T).T)
    return float(np.count_nonzero(distance >= distance[0] - 1e-12) / len(pool))


def _list_evidence(observed: F64, null: F64, counts: _Counts) -> tuple[Evidence, ...]:
    center, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    out = []
    n_pairs = 0.5 * float(counts.size[0] * (counts.size[0] - 1))
    for k, name in enumerate(MEASURES):
        difference = float(observed[k] - center[k])
        low, high = np.quantile(null[:, k], [0.025, 0.975]) - center[k]
        below = np.count_nonzero(null[:, k] <= observed[k])
        above = np.count_nonzero(null[:, k] >= observed[k])
        scale = n_pairs if name.endswith("pairs") else 1.0
        out.append(
            Evidence(
                name=name,
                meaning=_MEANINGS[name],
                unit=_UNITS.get(name, ""),
                value=scale * float(np.exp(observed[k])),
                expected=scale * float(np.exp(center[k])),
                ratio=float(np.exp(difference)),
                ratio_low=float(np.exp(difference - max(high, 1.96 * float(spread[k])))),
                ratio_high=float(np.exp(difference - min(low, -1.96 * float(spread[k])))),
                p_value=min(1.0, 2 * (min(below, above) + 1) / (len(null) + 1)),
            )
        )
    return tuple(out)


def _list_gradients(nodules: Places, reference: Places, chance: F64) -> tuple[Evidence, ...]:
    """Density ratios of parts of the lungs, over those of detectable random nodules without gradient."""
    height = reference.position_mm[:, 0]
    low, high = np.quantile(height, [0.0, 1.0])
    thirds = low + (high - low) * np.array([1 / 3, 2 / 3])
    outer = float(np.median(reference.deep_mm))
    middle = float(np.median(reference.position_mm[:, 1]))
    parts: tuple[tuple[str, str, Callable[[Places], tuple[Any, Any]]], ...] = (
        (
            "upper_to_lower",
            "density in the upper third over that in the lower third of the lungs' height",
            lambda p: (p.position_mm[:, 0] > thirds[1], p.position_mm[:, 0] <= thirds[0]),
        ),
        (
            "left_to_right",
            "density in the left lung over that in the right",
            lambda p: (p.side == 2, p.side == 1),
        ),
        (
            "outer_to_inner",
            "density in the outer half over that in the inner half of the lungs by depth",
            lambda p: (p.deep_mm <= outer, p.deep_mm > outer),
        ),
        (
            "back_to_front",
            "density in the back half over that in the front half of the lungs",
            lambda p: (p.position_mm[:, 1] > middle, p.position_mm[:, 1] <= middle),
        ),
    )
    return tuple(
        _compare_parts(name, text, part(nodules), part(reference), chance) for name, text, part in parts
    )


def _compare_parts(
    name: str, meaning: str, nodule: tuple[Any, Any], reference: tuple[Any, Any], chance: F64
) -> Evidence:
    n_a, n_b = (float(np.count_nonzero(part)) for part in nodule)
    v_a, v_b = (float(chance[part].sum()) for part in reference)
    if v_a < 50 * chance.mean() or v_b < 50 * chance.mean():
        nan = np.nan
        return Evidence(name, meaning, "", nan, 1.0, nan, nan, nan, nan)
    ratio = (n_a + 0.5) / (n_b + 0.5) * v_b / v_a
    err = float(np.sqrt(1 / (n_a + 0.5) + 1 / (n_b + 0.5) + chance.mean() * (1 / v_a + 1 / v_b)))
    p_value = float(2 * ndtr(-abs(np.log(ratio)) / err))
    return Evidence(
        name,
        meaning,
        "",
        ratio,
        1.0,
        ratio,
        ratio * float(np.exp(-1.96 * err)),
        ratio * float(np.exp(1.96 * err)),
        p_value,
    )


def _weigh_classes(observed: _Counts, null: _Counts, per_litre: float) -> dict[PatternLabel, float]:
    """Posterior probabilities of `CLASSES`."""
    model = read_model()
    share = null.zone.sum(axis=0) + 0.5
    share /= share.sum()
    log_null = null.log_measures()[:, PAIR_COLUMNS]
    gap = observed.log_measures()[0, PAIR_COLUMNS] - log_null.mean(axis=0)
    variance = log_null.var(axis=0, ddof=1) + float(model["pair_log_sd"]) ** 2
    count = observed.zone[0]
    # Effect sizes are known to a few percent at best: more nodules than this make nothing surer.
    temper = min(1.0, float(model["max_nodules"]) / max(float(observed.size[0]), 1.0))
    score = {}
    for name in CLASSES[:3]:
        score[name] = _score_class(name, share, count, gap, variance, temper)
    total = np.array([score[name] for name in CLASSES[:3]]) + np.log(
        [model["classes"][name.value]["prior"] for name in CLASSES[:3]]
    )
    # The ranges may not hold what this patient has: no evidence makes a pattern certain.
    doubt = float(model["doubt"])
    posterior = (1.0 - doubt) * np.exp(total - logsumexp(total)) + doubt / len(total)
    none = _chance_of_none(per_litre)
    return {
        **dict(zip(CLASSES[:3], (float(p) * (1 - none) for p in posterior), strict=True)),
        CLASSES[3]: none,
    }


def _score_class(name: PatternLabel, share: F64, count: F64, gap: F64, variance: F64, temper: float) -> float:
    """Log likelihood of a class: mean over its draws of effect sizes."""
    effect = _draw_effects(name.value)
    n_zones = len(ZONES) - 1
    rate = share * np.exp(np.column_stack([effect[:, :n_zones], np.zeros(len(effect))]))
    rate /= rate.sum(axis=1, keepdims=True)
    by_zone = temper * (np.log(rate) @ count)
    by_pairs = -0.5 * (((gap - effect[:, n_zones:]) ** 2) / variance).sum(axis=1)
    return float(logsumexp(by_zone + by_pairs) - np.log(len(effect)))


@lru_cache(maxsize=4)
def _draw_effects(name: str, n: int = 3000) -> F64:
    """Draws of the log effect sizes (zones over the free lung, close and wide pairs) of a class."""
    ways = read_model()["classes"][name]["ways"]
    rng = np.random.default_rng([5, len(name)])
    parts = []
    for way in ways:
        draws = np.asarray(way["mean"]) + np.asarray(way["sd"]) * rng.standard_normal(
            (n // len(ways), len(way["mean"]))
        )
        parts.append(draws)
    return np.concatenate(parts)


def _chance_of_none(per_litre: float) -> float:
    """Chance that so many marks per litre are all false."""
    false = read_model()["false_marks"]
    z = (np.log(max(per_litre, 1e-3)) - np.log(float(false["median_per_litre"]))) / float(false["log_sd"])
    healthy = float(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / float(false["log_sd"]))
    # With disease any order of magnitude of the density is as likely as another.
    diseased = 1.0 / float(np.log(2000.0 / 3.0))
    if z < 0:
        return 0.5
    prior = float(false["prior_none"])
    return float(prior * healthy / (prior * healthy + (1 - prior) * diseased))


def _decide(probabilities: Mapping[PatternLabel, float]) -> tuple[PatternLabel, str]:
    best = max(probabilities, key=lambda name: probabilities[name])
    if probabilities[best] < float(read_model()["least_probability"]):
        return PatternLabel.INDETERMINATE, "no pattern is clearly more probable than the others"
    return best, f"the most probable pattern, with probability {probabilities[best]:.2f}"


def _list_curves(nodules: Places, reference: Places, observed: _Counted, null: _Counted) -> tuple[Curve, ...]:
    """What the figure shows: shares by distance, pair correlation, nearest neighbors."""
    gap_edges = np.arange(0.0, 11.0)
    near_edges = np.linspace(0.0, 2.5 * float(np.nanmedian(observed.nearest_mm)), 13)
    pair_middle = 0.5 * (PAIR_EDGES_MM[1:] + PAIR_EDGES_MM[:-1])
    pairs = null.counts.pairs / (null.counts.size * (null.counts.size - 1))[:, None]
    seen = observed.counts.pairs / (observed.counts.size * (observed.counts.size - 1))[:, None]
    mean = np.maximum(pairs.mean(axis=0), 1e-12)
    nearest = [_histogram(values[np.isfinite(values)], near_edges) for values in null.nearest_mm]
    return (
        _compare_gaps("gap to the pleura", gap_edges, "depth_mm", nodules, reference, null),
        _compare_gaps(
            "gap to the nearest visible fissure", gap_edges[:6], "fissure_mm", nodules, reference, null
        ),
        _compare_gaps("gap to the nearest visible vessel", gap_edges, "vessel_mm", nodules, reference, null),
        _make_curve(
            "pair correlation", "distance between two nodules [mm]", pair_middle, seen[0] / mean, pairs / mean
        ),
        _make_curve(
            "distance to the nearest nodule",
            "distance [mm]",
            0.5 * (near_edges[1:] + near_edges[:-1]),
            _histogram(observed.nearest_mm[0], near_edges),
            np.stack(nearest),
        ),
    )


def _compare_gaps(
    name: str, edges: F64, field: str, nodules: Places, reference: Places, null: _Counted
) -> Curve:
    """Shares of nodules by the gap between their surface and something."""
    gap = _gap(reference, field)
    bin_ = np.minimum(np.digitize(gap, edges) - 1, len(edges) - 1)
    rows = [row[row >= 0] for row in null.draws]
    n = len(edges)
    shares = np.stack([np.bincount(bin_[row], minlength=n)[: n - 1] for row in rows]).astype(np.float64)
    shares /= np.maximum(null.counts.size, 1.0)[:, None]
    seen = _gap(nodules, field)
    return _make_curve(name, "gap [mm]", 0.5 * (edges[1:] + edges[:-1]), _histogram(seen, edges), shares)


def _gap(places: Places, field: str) -> F64:
    """From a nodule's surface; infinite beyond the reach of the search."""
    distance = getattr(places, field)
    return np.asarray(np.where(distance < REACH_MM, np.maximum(distance - places.radius_mm, 0.0), np.inf))


def _histogram(values: F64, edges: F64) -> F64:
    counts, _ = np.histogram(values, bins=edges)
    return np.asarray(counts / max(1, len(values)), dtype=np.float64)


def _make_curve(name: str, x_label: str, x: F64, observed: F64, null: F64) -> Curve:
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    parts = (x, observed, null.mean(axis=0), low, high)
    return Curve(name, x_label, *(tuple(float(value) for value in part) for part in parts))
