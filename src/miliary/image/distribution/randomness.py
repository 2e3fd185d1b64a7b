"""Spatial pattern of nodules: random, perilymphatic or centrilobular, tested against random placements.

The reference is a set of uniform points of the same lungs, each weighted by the probability that a nodule
there is reported, times broad gradients (height, front to back, side) fitted to the nodules, since
hematogenous disease has such gradients too. Random placements are drawn from it. Three results follow:

1. Evidence: shares in contact with pleura and vessels, pairs, nearest neighbors, each with its effect size.
2. A joint Monte-Carlo test of randomness [1]_. Each placement draws its own error of the probability of
   detection, so that with many nodules a small bias does not become significant.
3. Probabilities of the patterns, from counts by zone and pairs, under distributions of effect sizes per
   pattern (``weights/pattern.json``), since the strength of the effect in a patient is not known.

References
----------
.. [1] Besag J, Diggle PJ, J R Stat Soc C 1977;26:327-333.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from miliary.errors import WeightsError
from miliary.image.anatomy.surroundings import Surroundings
from miliary.image.distribution.context import measure_context, read_through
from miliary.image.distribution.evidence import (
    MEASURES,
    PAIR_EDGES_MM,
    CountedSets,
    Counts,
    list_curves,
    list_evidence,
    list_gradients,
)
from miliary.image.distribution.locations import ZONES, Locations, measure_locations
from miliary.image.distribution.neighborhood import Neighborhood
from miliary.image.kernels import loops, point_counts
from miliary.image.weights.card import PATTERN, read_card
from miliary.model.pattern import SPATIAL_CLASSES, Pattern, PatternLabel, SizeUniformity

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MIN_NODULES = 30
# Nodules less certain than this are too often vessels, and would look like nodules attached to vessels.
CERTAIN_PROBABILITY = 0.6
MAX_USED = 2000
N_REFERENCE = 14_000
N_PLACEMENTS = 199
# Closer than this, two detections may be one nodule, and nodules exclude each other.
APART_MM = 2.0
# Placements whose smallest distance is compared with that of the nodules: exceeding all 40 has p = 2.5 %.
MINIMA_COMPARED = 40
# Apparent thickness of a fissure on the coarse grid; smallest area that is stated.
SHEET_MM, LEAST_FISSURE_CM2 = 1.5, 5.0
NO_PATTERN = "not used"

# Margin on the radii of injected nodules that are used; width, in the logarithm of the radius, of averages
# over them; lower limit of the standard deviation of a probability of detection.
SIZE_MATCH_MM, SIZE_LOG_WIDTH = 0.2, 0.15
MIN_LOG_SD = 0.05


PAIR_COLUMNS = slice(len(ZONES) - 1, len(ZONES) + 1)


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
    if (made["sure_probability"], made["least_log_sd"]) != (CERTAIN_PROBABILITY, MIN_LOG_SD):
        raise WeightsError(f"{PATTERN}: made with other settings of the pattern; run `make train`")
    return model


@dataclass(frozen=True)
class InjectedNodules:
    """Nodules injected at random positions of a scan, and which of them were found.

    Parameters
    ----------
    position_mm : ndarray of float64, shape (n, 3)
        (z, y, x) in the frame of the surroundings [mm].
    diameter_mm : ndarray of float64, shape (n,)
        True diameters [mm].
    is_found : ndarray of bool, shape (n,)
        Whether reported with at least `CERTAIN_PROBABILITY`.
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
    injected: InjectedNodules | None = None,
    neighborhood: Neighborhood | None = None,
    seed: int = 0,
) -> Pattern:
    """Estimate the spatial pattern of the nodules of one scan.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        Centers (z, y, x) in the frame of `surroundings` [mm].
    diameter_mm : ndarray, shape (n,)
        Diameters [mm]; NaN where not measured.
    diameter_mm_err : ndarray, shape (n,), optional
        One-sigma errors of the diameters [mm], for the uniformity of size; 0 when not given.
    probability : ndarray, shape (n,), optional
        Probability of being a nodule, 0 to 1. Nodules below `CERTAIN_PROBABILITY` are not used; all are used
        when not given.
    surroundings : Surroundings
        Maps of the lungs, vessels and fissures.
    injected : InjectedNodules, optional
        Adjust the probability of detection to this scan; the packaged one is used when not given.
    neighborhood : Neighborhood, optional
        What lies around each of the n nodules; only their patchiness is looked at when not given.
    seed : int
        Seed of the random placements.

    Returns
    -------
    Pattern
        ``indeterminate`` with fewer than 30 certain nodules, or ``none`` where they are no more than false
        positives alone can explain. Where what lies around the marks does not fit nodules,
        ``airway_centred``, ``other`` or ``indeterminate``, with the reason.
    """
    n_reported = len(position_mm)
    size = estimate_uniformity(diameter_mm, diameter_mm_err)
    if probability is not None:
        is_sure = probability >= CERTAIN_PROBABILITY
        position_mm, diameter_mm = position_mm[is_sure], diameter_mm[is_sure]
        neighborhood = None if neighborhood is None else neighborhood.select(is_sure)
    n = len(position_mm)
    if n < MIN_NODULES or surroundings.lung_mm3 == 0:
        return _withhold(n_reported, n, surroundings.lung_mm3 / 1e6, size, seed)
    rng = np.random.default_rng([seed, 31])
    radius = (
        np.nan_to_num(
            diameter_mm, nan=float(np.nanmedian(diameter_mm)) if np.isfinite(diameter_mm).any() else 2.0
        )
        / 2
    )
    nodules = measure_locations(surroundings, position_mm, radius)
    n_drawn = min(n, MAX_USED)
    nodules = _thin(nodules, n_drawn, rng)
    observed = _count(nodules, None, APART_MM)
    reference = _draw_reference(surroundings, nodules.radius_mm, rng)
    chance, log_sd = _estimate_detection(reference, nodules, surroundings, injected)
    weight = _weigh(reference, nodules, chance)
    null = _place_at_random(np.log(weight), log_sd, reference, observed, n_drawn, rng)
    log_observed, log_null = observed.counts.log_measures(), null.counts.log_measures()
    probabilities = _class_probabilities(
        observed.counts, null.counts, n_reported / (surroundings.lung_mm3 / 1e6)
    )
    label, reason = _decide(probabilities)
    evidence = list_evidence(log_observed[0], log_null, observed.counts)
    chosen = [draw[draw >= 0] for draw in null.draws]
    context = measure_context(nodules.position_mm, reference.position_mm, chosen, neighborhood)
    found = read_through(context, label, pleura_ratio=evidence[0].ratio)
    if found is not None:
        (label, reason), probabilities = found, {}
    return Pattern(
        label=label,
        reason=reason,
        probabilities=probabilities,
        n_nodules=n_reported,
        n_used=len(nodules),
        size=size,
        randomness_p=_test_jointly(*_ignore_missing_fissures(log_observed[0], log_null)),
        evidence=evidence,
        gradients=list_gradients(nodules, reference, chance),
        fissures=_describe_fissures(surroundings),
        completeness="shipped" if injected is None else "measured",
        n_placements=N_PLACEMENTS,
        seed=seed,
        curves=list_curves(nodules, reference, observed, null),
        context=context,
        doubt="" if found is None else reason,
    )


def estimate_uniformity(diameter_mm: F64, diameter_mm_err: F64 | None) -> SizeUniformity:
    """Coefficient of variation of the diameters, corrected for measurement error.

    Parameters
    ----------
    diameter_mm : ndarray, shape (n,)
        Diameters [mm]; NaN where not measured.
    diameter_mm_err : ndarray, shape (n,), or None
        One-sigma errors [mm]; None counts as 0.

    Returns
    -------
    SizeUniformity
        Without values, and with the reason, for fewer than five diameters.
    """
    error = np.zeros(len(diameter_mm)) if diameter_mm_err is None else diameter_mm_err
    good = np.isfinite(diameter_mm) & np.isfinite(error)
    size, error = diameter_mm[good], error[good]
    n = len(size)
    if n < 5:
        return SizeUniformity(None, None, None, "fewer than five diameters")
    mean, variance = float(size.mean()), float(size.var(ddof=1))
    measured = float(np.sqrt(variance)) / mean
    # The median, since a few very uncertain diameters must not affect the others.
    left = variance - float(np.median(error) ** 2)
    fourth = float(((size - mean) ** 4).mean())
    variance_err = float(np.sqrt(max(fourth - variance**2, 0.0) / n))
    if left <= 0:
        return SizeUniformity(0.0, float(np.sqrt(variance_err)) / mean, measured)
    cv = float(np.sqrt(left)) / mean
    return SizeUniformity(cv, 0.5 * variance_err / float(np.sqrt(left)) / mean, measured)


def withhold_pattern(pattern: Pattern, reason: str) -> Pattern:
    """A result without pattern, where the reported nodules do not allow one.

    Parameters
    ----------
    pattern : Pattern
        What was estimated from them.
    reason : str
        Why it does not hold.

    Returns
    -------
    Pattern
        Indeterminate, without probabilities and evidence.
    """
    return Pattern(
        PatternLabel.INDETERMINATE,
        reason,
        {},
        pattern.n_nodules,
        pattern.n_used,
        pattern.size,
        fissures=NO_PATTERN,
        seed=pattern.seed,
    )


def _withhold(n_reported: int, n_sure: int, litres: float, size: SizeUniformity, seed: int) -> Pattern:
    """The result without pattern, for too few nodules."""
    false_per_litre = float(read_model()["false_marks"]["none_below_per_litre"])
    if n_reported <= false_per_litre * litres or n_reported == 0:
        label, reason = PatternLabel.NONE, f"{n_reported} nodules are no more than false marks alone can make"
    elif n_reported < MIN_NODULES:
        label, reason = PatternLabel.INDETERMINATE, f"{n_reported} nodules are fewer than {MIN_NODULES}"
    else:
        text = f"{n_sure} of {n_reported} nodules are certain enough, fewer than {MIN_NODULES}"
        label, reason = PatternLabel.INDETERMINATE, text
    return Pattern(label, reason, {}, n_reported, n_sure, size, fissures=NO_PATTERN, seed=seed)


def _describe_fissures(surroundings: Surroundings) -> str:
    """Text on how much of the fissures is visible; what is not visible counts as free lung."""
    cm2 = float(np.count_nonzero(surroundings.fissure) * np.prod(surroundings.cell_mm)) / 100.0 / SHEET_MM
    if cm2 < LEAST_FISSURE_CM2:
        return "not seen on this scan: contact is with the outer surface of the lungs only"
    return f"used where seen, about {cm2:.0f} cm2"


def _thin(nodules: Locations, n: int, rng: np.random.Generator) -> Locations:
    """Draw `n` nodules and drop those closer than `APART_MM` to another; placements are thinned alike."""
    if len(nodules) > n:
        nodules = nodules.select(np.sort(rng.choice(len(nodules), n, replace=False)))
    kept, sizes = _keep_apart(nodules.position_mm, np.arange(len(nodules), dtype=np.int32)[None], APART_MM)
    return nodules.select(kept[0, : sizes[0]])


def _keep_apart(points_mm: F64, draws: I32, apart_mm: float) -> tuple[I32, I64]:
    """Thin draws (k, m) of points to a minimum distance: rows kept, followed by -1, and their number (k,)."""
    kept = np.empty_like(draws)
    loops.run_rows(point_counts.drop_close, len(draws), points_mm, draws, kept, apart_mm)
    return kept, (kept >= 0).sum(axis=1)


def _draw_reference(surroundings: Surroundings, radius_mm: F64, rng: np.random.Generator) -> Locations:
    """Uniform points of the lungs that can hold a nodule."""
    points = surroundings.draw_points(N_REFERENCE, rng)
    locations = measure_locations(surroundings, points, rng.choice(radius_mm, N_REFERENCE))
    return locations.select(locations.can_hold_nodule())


def _estimate_detection(
    reference: Locations, nodules: Locations, surroundings: Surroundings, injected: InjectedNodules | None
) -> tuple[F64, F64]:
    """Probability of detection at the reference points, and the standard deviation of its logarithm.

    By zone, relative to the free lung. Injected nodules of about the size of the reported ones adjust the
    packaged probability of each zone to this scan.
    """
    chance, log_sd = _look_up_detection(reference)
    if injected is None:
        return chance, log_sd
    low, high = np.quantile(nodules.radius_mm, [0.1, 0.9])
    size = injected.diameter_mm / 2
    alike = (size >= low - SIZE_MATCH_MM) & (size <= high + SIZE_MATCH_MM)
    tested = measure_locations(surroundings, injected.position_mm[alike], size[alike])
    found = injected.is_found[alike][np.argsort(injected.position_mm[alike][:, 0], kind="stable")]
    can_be = tested.can_hold_nodule()
    log_factor, log_sd = _compare_zones(
        tested.select(can_be), found[can_be], float(np.median(nodules.radius_mm))
    )
    return chance * np.exp(log_factor[reference.zone]), log_sd[reference.zone]


def _look_up_detection(points: Locations) -> tuple[F64, F64]:
    """Packaged probability of detection over that in the free lung, and the SD of its logarithm."""
    detection = read_model()["detection"]
    rows = np.arange(len(points))
    chance, log_sd = (
        np.stack([np.interp(points.radius_mm, detection["radius_mm"], detection[z][name]) for z in ZONES])
        for name in ("chance", "log_sd")
    )
    return chance[points.zone, rows], log_sd[points.zone, rows]


def _compare_zones(tested: Locations, found: npt.NDArray[np.bool_], radius_mm: float) -> tuple[F64, F64]:
    """Logarithm of found over expected nodules by zone, and the remaining SD of it at `radius_mm`.

    Expected by the packaged probability of detection; shrunk towards it by the number of injected nodules.
    """
    model = read_model()
    detection = model["detection"]
    expected = _look_up_detection(tested)[0] * _rate_in_free_lung(tested, found)
    log_factor, log_sd = np.zeros(len(ZONES)), np.zeros(len(ZONES))
    for k, name in enumerate(ZONES[:-1]):
        here = tested.zone == k
        geometry = float(model["geometry_log_sd"].get(name, 0.0))
        # Scans differ by the packaged standard deviation without the part that is geometry.
        packaged_sd = float(np.interp(radius_mm, detection["radius_mm"], detection[name]["log_sd"]))
        between = max(packaged_sd**2 - geometry**2, MIN_LOG_SD**2)
        p = np.clip(expected[here], 0.01, 0.99)
        counting = float((p * (1 - p)).sum() + 0.5) / float(p.sum() + 0.5) ** 2
        seen = np.log((np.count_nonzero(found[here]) + 0.5) / (p.sum() + 0.5))
        log_factor[k] = between / (between + counting) * float(seen)
        log_sd[k] = np.sqrt(between * counting / (between + counting) + max(geometry, MIN_LOG_SD) ** 2)
    return log_factor, log_sd


def _rate_in_free_lung(tested: Locations, found: npt.NDArray[np.bool_]) -> F64:
    """Share found of the injected nodules in the free lung that are about as large as each."""
    free = tested.zone == len(ZONES) - 1
    log_radius = np.log(tested.radius_mm)
    weight = np.exp(-0.5 * ((log_radius[:, None] - log_radius[free]) / SIZE_LOG_WIDTH) ** 2)
    return np.asarray((weight @ found[free] + 0.5) / (weight.sum(axis=1) + 1.0))


def _weigh(reference: Locations, nodules: Locations, chance: F64) -> F64:
    """Weights of the reference points, mean 1: probability of detection times fitted broad gradients."""
    low, high = reference.position_mm.min(axis=0), reference.position_mm.max(axis=0)
    scale = np.maximum(high - low, 1.0)
    rows = [_broad_terms(p, low, scale) for p in (reference, nodules)]
    tilted = _tilt(chance, rows[0], rows[1].mean(axis=0), len(nodules))
    return tilted / tilted.mean()


def _broad_terms(points: Locations, low: F64, scale: F64) -> F64:
    """Terms (n, 4) of the broad gradients: height, its square, front to back, side."""
    at = 2 * (points.position_mm - low) / scale - 1
    is_left = np.where(at[:, 2] > 0, 1.0, -1.0)
    if (points.side > 0).any():
        is_left = np.where(points.side == 2, 1.0, np.where(points.side == 1, -1.0, is_left))
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
    log_weight: F64,
    log_sd: F64,
    reference: Locations,
    observed: CountedSets,
    n: int,
    rng: np.random.Generator,
) -> CountedSets:
    """Random placements, with the minimum distance of the nodules where that is larger than at random."""
    null = _count(reference, _draw_placements(log_weight, log_sd, reference.zone, n, rng), APART_MM)
    apart = float(np.nanmin(observed.nearest_mm))
    if apart <= float(np.nanmin(null.nearest_mm[:MINIMA_COMPARED], axis=1).max()):
        return null
    # Nodules of some size exclude each other; that alone is no pattern.
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
    """Random placements (k, n) as ascending rows of the reference, each with its own detection error."""
    sd, center = log_sd.astype(np.float32), log_weight.astype(np.float32)
    n = min(n, len(center) // 2)
    placed = np.empty((n_placements, n), np.int32)
    for k in range(n_placements):
        bias = rng.standard_normal(len(ZONES), dtype=np.float32)[zone] * sd
        # The n largest of weight over exponential noise are a weighted draw without replacement.
        noise = np.maximum(rng.standard_exponential(len(center), dtype=np.float32), np.float32(1e-30))
        key = center + bias - np.log(noise)
        placed[k] = np.sort(np.argpartition(key, -n)[-n:])
    return placed


def _count(points: Locations, draws: I32 | None, apart_mm: float) -> CountedSets:
    """Counts over sets of points; over all points where no draws are given."""
    if draws is None:
        draws = np.arange(len(points), dtype=np.int32)[None]
    draws, sizes = _keep_apart(points.position_mm, draws, apart_mm)
    pairs = np.zeros((len(draws), len(PAIR_EDGES_MM) - 1))
    nearest = np.full(draws.shape, np.nan)
    loops.run_rows(
        point_counts.count_neighbors,
        len(draws),
        points.position_mm,
        draws,
        sizes,
        PAIR_EDGES_MM,
        pairs,
        nearest,
    )
    zone = np.stack(
        [((points.zone[draws] == k) & (draws >= 0)).sum(axis=1) for k in range(len(ZONES))], axis=1
    )
    counts = Counts(sizes.astype(float), zone.astype(float), pairs, np.nanmean(nearest, axis=1))
    return CountedSets(counts, nearest, draws, sizes)


def _ignore_missing_fissures(observed: F64, null: F64) -> tuple[F64, F64]:
    """Measures of all sets, with contact with fissures raised to at least its median.

    A nodule hides a faint fissure that it lies on, so few nodules at fissures are no evidence; many are.
    """
    pool = np.concatenate([observed[None], null])
    column = MEASURES.index("fissure_contact")
    pool[:, column] = np.maximum(pool[:, column], np.median(pool[:, column]))
    return pool[0], pool[1:]


def _test_jointly(observed: F64, null: F64) -> float:
    """P value of the Mahalanobis distance of the observed measures from the center of all sets.

    The observed set is included in mean and covariance, so that all sets are exchangeable and the test keeps
    its level for any distribution.
    """
    pool = np.concatenate([observed[None], null])
    centered = pool - pool.mean(axis=0)
    covariance = centered.T @ centered / (len(pool) - 1)
    covariance += 1e-9 * np.eye(len(covariance))
    distance = np.einsum("ki,ki->k", centered, np.linalg.solve(covariance, centered.T).T)
    return float(np.count_nonzero(distance >= distance[0] - 1e-12) / len(pool))


def _class_probabilities(observed: Counts, null: Counts, per_litre: float) -> dict[PatternLabel, float]:
    """Posterior probability of each of `CLASSES`."""
    model = read_model()
    share = null.zone.sum(axis=0) + 0.5
    share /= share.sum()
    log_null = null.log_measures()[:, PAIR_COLUMNS]
    gap = observed.log_measures()[0, PAIR_COLUMNS] - log_null.mean(axis=0)
    variance = log_null.var(axis=0, ddof=1) + float(model["pair_log_sd"]) ** 2
    count = observed.zone[0]
    # Effect sizes are known to a few percent at best, so the evidence of more nodules than this is limited.
    temper = min(1.0, float(model["max_nodules"]) / max(float(observed.size[0]), 1.0))
    score = {}
    for name in SPATIAL_CLASSES:
        score[name] = _score_class(name, share, count, gap, variance, temper)
    total = np.array([score[name] for name in SPATIAL_CLASSES]) + np.log(
        [model["classes"][name.value]["prior"] for name in SPATIAL_CLASSES]
    )
    # The distributions of effects may not cover this patient, so no pattern becomes certain.
    doubt = float(model["doubt"])
    posterior = (1.0 - doubt) * np.exp(total - logsumexp(total)) + doubt / len(total)
    none = _probability_of_none(per_litre)
    return {
        **dict(zip(SPATIAL_CLASSES, (float(p) * (1 - none) for p in posterior), strict=True)),
        PatternLabel.NONE: none,
    }


def _score_class(name: PatternLabel, share: F64, count: F64, gap: F64, variance: F64, temper: float) -> float:
    """Log marginal likelihood of a class: mean over draws of its effect sizes."""
    effect = _draw_effects(name.value)
    n_zones = len(ZONES) - 1
    rate = share * np.exp(np.column_stack([effect[:, :n_zones], np.zeros(len(effect))]))
    rate /= rate.sum(axis=1, keepdims=True)
    by_zone = temper * (np.log(rate) @ count)
    by_pairs = -0.5 * (((gap - effect[:, n_zones:]) ** 2) / variance).sum(axis=1)
    return float(logsumexp(by_zone + by_pairs) - np.log(len(effect)))


@lru_cache(maxsize=len(SPATIAL_CLASSES))
def _draw_effects(name: str, n: int = 3000) -> F64:
    """Draws (n, effects) of the log effect sizes of a class: zones over free lung, close and wide pairs."""
    ways = read_model()["classes"][name]["ways"]
    rng = np.random.default_rng([5, len(name)])
    parts = []
    for way in ways:
        draws = np.asarray(way["mean"]) + np.asarray(way["sd"]) * rng.standard_normal(
            (n // len(ways), len(way["mean"]))
        )
        parts.append(draws)
    return np.concatenate(parts)


def _probability_of_none(per_litre: float) -> float:
    """Probability that all nodules are false positives, given their number per liter."""
    false = read_model()["false_marks"]
    z = (np.log(max(per_litre, 1e-3)) - np.log(float(false["median_per_litre"]))) / float(false["log_sd"])
    healthy = float(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / float(false["log_sd"]))
    # With disease, every order of magnitude of the density is taken as equally probable.
    diseased = 1.0 / float(np.log(2000.0 / 3.0))
    if z < 0:
        return 0.5
    prior = float(false["prior_none"])
    return float(prior * healthy / (prior * healthy + (1 - prior) * diseased))


def _decide(probabilities: Mapping[PatternLabel, float]) -> tuple[PatternLabel, str]:
    """The label and its reason."""
    best = max(probabilities, key=lambda name: probabilities[name])
    if probabilities[best] < float(read_model()["least_probability"]):
        return PatternLabel.INDETERMINATE, "no pattern is clearly more probable than the others"
    return best, f"the most probable pattern, with probability {probabilities[best]:.2f}"
