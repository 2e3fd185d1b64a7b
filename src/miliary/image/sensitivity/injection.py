"""Simulated nodules put into a scan's own voxels, and how many of them come back.

Every nodule is put into a copy of its surroundings of its own, so that none sees another: there, the chain
runs as it did on the scan (same classifier, same share of nodules, same blur). What is missed is counted in
this way; false marks are not, see `false_marks`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from miliary.image.anatomy import regions
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.kernels import loops
from miliary.image.nodules import describe, features, find, judge, measure
from miliary.image.nodules.detect import DetectionRun
from miliary.model.ct_result import Psf
from miliary.model.nodules import Attenuation

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

N_INJECTED = 600
DIAMETERS_MM = np.geomspace(0.75, 5.5, 40)
# Half a patch: what may be marked, and how far the features of such a mark see.
REACH_MM = 3.0
PATCH_HALF_MM = 11.0
# Marks farther from the middle of a patch than this meet those of the next patch in a fit.
OTHERS_MM = 7.5
CHUNK = 64
HIT_MM = 1.5
# How far below the threshold candidates are still told apart: those tell how many above it are false.
LOWEST_MARGIN = -3.0
# A place as dense as this is inside a vessel or the chest wall: there is no room for a nodule.
DENSE_HU = -400.0


@dataclass(frozen=True)
class Recovery:
    """Injected nodules and what became of them, every array of shape (n,).

    `diameter_mm` true; `is_found`; `measured_mm` NaN where missed; `margin` log-odds of its likeliest mark
    over those of the threshold, NaN where there is none within `LOWEST_MARGIN`; `depth_mm` below the pleura;
    `height` share of the lung's height, 0 at the base; `position_mm` (n, 3) from the first voxel of the box.
    """

    diameter_mm: F64
    is_found: npt.NDArray[np.bool_]
    measured_mm: F64
    margin: F64
    depth_mm: F64
    height: F64
    position_mm: F64

    def __len__(self) -> int:
        return len(self.diameter_mm)

    def find_surer(self, probability: float, threshold: float) -> npt.NDArray[np.bool_]:
        """Which are found by a mark of at least this probability, where `threshold` was that of reporting."""
        margin = np.nan_to_num(self.margin, nan=-np.inf)
        return np.asarray(self.is_found & (margin >= measure_margin(np.asarray(probability), threshold)))


def inject_and_recover(detection: DetectionRun, *, n: int = N_INJECTED, seed: int = 0) -> Recovery:
    """Put nodules of 0.75 to 5.5 mm at random places of the lungs and run the chain there.

    Parameters
    ----------
    detection : DetectionRun
    n : int
        Number of nodules, spread evenly over the logarithm of the diameter.
    seed : int

    Returns
    -------
    Recovery
        A nodule is found when a mark lies within max(1.5 mm, its radius), nearer to it than to a mark that
        was there without it, and is not taken for calcium.
    """
    box = detection.box
    rng = np.random.default_rng([seed, 51])
    level = rng.permutation(np.arange(n) % len(DIAMETERS_MM))
    place = _draw_places(detection, DIAMETERS_MM[level], rng)
    level = level[: len(place)]
    templates = _render_templates(detection.psf)
    found = np.zeros(len(place), dtype=bool)
    measured, margin = np.full(len(place), np.nan), np.full(len(place), np.nan)
    depth = regions.measure_depth(box.labels, box.spacing_zyx_mm, place)
    for first in range(0, len(place), CHUNK):
        rows = slice(first, min(first + CHUNK, len(place)))
        found[rows], measured[rows], margin[rows] = _recover_chunk(
            detection, place[rows], level[rows], templates
        )
    filled = np.flatnonzero(box.labels.any(axis=(1, 2)))
    height = (place[:, 0] - filled[0]) / max(1, filled[-1] - filled[0]) if len(place) else np.empty(0)
    position = place * np.asarray(box.spacing_zyx_mm)
    return Recovery(DIAMETERS_MM[level], found, measured, margin, depth, height, position)


def _draw_places(detection: DetectionRun, diameter_mm: F64, rng: np.random.Generator) -> F64:
    """Random places in the lungs as fractional indices of the box, shape (m, 3), m <= n.

    Anywhere but inside what is as dense as a nodule, and inside marks that are there: two nodules in one
    place are one.
    """
    box = detection.box
    spacing = np.asarray(box.spacing_zyx_mm)
    inside = np.flatnonzero(box.labels)
    if not len(inside):
        return np.empty((0, 3))
    tree = cKDTree(detection.position_mm) if len(detection.position_mm) else None
    out = np.full((len(diameter_mm), 3), np.nan)
    for _ in range(20):
        todo = np.flatnonzero(np.isnan(out[:, 0]))
        if not len(todo):
            break
        pick = inside[rng.integers(0, len(inside), len(todo))]
        index = np.stack(np.unravel_index(pick, box.labels.shape), axis=1).astype(np.float64)
        index += rng.uniform(-0.5, 0.5, index.shape)
        free = detection.smooth_hu.ravel()[pick] < DENSE_HU
        if tree is not None:
            distance, other = tree.query(index * spacing)
            free |= distance < 1.0 * detection.diameter_mm[other]
            free &= distance >= 0.5 * (diameter_mm[todo] + detection.diameter_mm[other])
        out[todo[free]] = index[free]
    return out[~np.isnan(out[:, 0])]


@dataclass(frozen=True)
class _Templates:
    """Blurred balls of all diameters, one octant each, on a grid finer than the blur."""

    share: F32
    first: I64
    shape: I64
    step_mm: F64


def _render_templates(psf: Psf) -> _Templates:
    sigma = np.array([psf.sigma_z_mm, psf.sigma_xy_mm, psf.sigma_xy_mm])
    widest = sigma * np.array([1.0, measure.RING_WIDTH if psf.ring > 0 else 1.0, 1.0])
    widest[2] = widest[1]
    step = np.minimum(sigma / 4.0, 0.2)
    parts, shapes = [], []
    for diameter in DIAMETERS_MM:
        fine = np.minimum(step, diameter / 8.0)
        fold = np.ceil(step / fine).astype(int)
        share = _render_octant(float(diameter), sigma, widest, step / fold, psf.ring)
        share = share[tuple(slice(None, None, int(k)) for k in fold)]
        parts.append(share.astype(np.float32).ravel())
        shapes.append(share.shape)
    first = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    return _Templates(np.concatenate(parts), first.astype(np.int64), np.asarray(shapes, dtype=np.int64), step)


def _render_octant(diameter: float, sigma: F64, widest: F64, step: F64, ring: float) -> F64:
    """One octant of a ball blurred by the PSF, as share of the ball's own attenuation."""
    radius = 0.5 * diameter
    half = np.ceil((radius + 4.0 * widest) / step).astype(int) + 1
    z, y, x = (np.arange(h) * s for h, s in zip(half, step, strict=True))
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    ball = np.clip(0.5 - (distance - radius) / float(step.mean()), 0.0, 1.0)
    weight = np.ones(half[0])[:, None, None] * np.ones(half[1])[:, None] * np.ones(half[2])
    # The planes through the centre are shared between octants.
    weight[0] *= 0.5
    weight[:, 0] *= 0.5
    weight[:, :, 0] *= 0.5
    ball *= (np.pi * diameter**3 / 48.0) / (float((ball * weight).sum()) * float(np.prod(step)))

    def blur(factor: float) -> F64:
        wide = sigma * np.array([1.0, factor, factor]) / step
        return np.asarray(ndimage.gaussian_filter(ball, wide, mode="mirror", truncate=4.0))

    if ring == 0.0:
        return blur(1.0)
    return (1.0 + ring) * blur(1.0) - ring * blur(measure.RING_WIDTH)


@nb.njit(nogil=True, cache=True)
def _fill_patches(  # type: ignore[no-untyped-def]
    begin, end, volume, smooth, labels, place, corner, half, spacing, level, octants, first, shape, step,
    reach, texture, density, out, mask,
):  # fmt: skip
    """Copy the surroundings of each place and add its nodule; mark where it may be found."""
    size = 2 * half + 1
    nz, ny, nx = volume.shape
    values = np.empty(13 * 13 * 13, dtype=np.float32)
    sorting = loops.make_sorting(values.shape[0])
    for m in range(begin, end):
        k = level[m]
        octant = octants[first[k] : first[k + 1]]
        sz, sy, sx = shape[k]
        # What is around: a low quantile of the smoothed neighborhood.
        n = 0
        for dz in range(-6, 7):
            z = min(max(round(place[m, 0] + dz * 0.8 / spacing[0]), 0), nz - 1)
            for dy in range(-6, 7):
                y = min(max(round(place[m, 1] + dy * 0.8 / spacing[1]), 0), ny - 1)
                for dx in range(-6, 7):
                    x = min(max(round(place[m, 2] + dx * 0.8 / spacing[2]), 0), nx - 1)
                    values[n] = smooth[z, y, x]
                    n += 1
        loops.sort_floats(values, sorting)
        around = values[int(0.35 * n)]
        for a in range(size[0]):
            z = min(max(corner[m, 0] + a, 0), nz - 1)
            pz = abs(corner[m, 0] + a - place[m, 0]) * spacing[0]
            for b in range(size[1]):
                y = min(max(corner[m, 1] + b, 0), ny - 1)
                py = abs(corner[m, 1] + b - place[m, 1]) * spacing[1]
                for c in range(size[2]):
                    x = min(max(corner[m, 2] + c, 0), nx - 1)
                    px = abs(corner[m, 2] + c - place[m, 2]) * spacing[2]
                    value = volume[z, y, x]
                    row = m * size[0] + a
                    near = pz * pz + py * py + px * px < reach * reach
                    mask[row, b, c] = 1 if near and labels[z, y, x] > 0 else 0
                    fz, fy, fx = pz / step[0], py / step[1], px / step[2]
                    if fz < sz - 1 and fy < sy - 1 and fx < sx - 1:
                        i, j, r = int(fz), int(fy), int(fx)
                        wz, wy, wx = fz - i, fy - j, fx - r
                        p = (i * sy + j) * sx + r
                        q = p + sy * sx
                        low = (octant[p] * (1 - wx) + octant[p + 1] * wx) * (1 - wy)
                        low += (octant[p + sx] * (1 - wx) + octant[p + sx + 1] * wx) * wy
                        high = (octant[q] * (1 - wx) + octant[q + 1] * wx) * (1 - wy)
                        high += (octant[q + sx] * (1 - wx) + octant[q + sx + 1] * wx) * wy
                        filled = low * (1 - wz) + high * wz
                        # Noise is neither replaced nor scaled; what clearly stands above the lung is.
                        above = smooth[z, y, x] - around
                        weight = min(max((above - 3 * texture) / (2 * texture + 40.0), 0.0), 1.0)
                        value += filled * max(density - around - weight * above, 0.0)
                    out[row, b, c] = min(max(value, -1024.0), 1500.0)


def _recover_chunk(
    detection: DetectionRun, place: F64, level: I64, templates: _Templates
) -> tuple[npt.NDArray[np.bool_], F64, F64]:
    """Which of the nodules are found, their measured diameters, and their margins."""
    spacing = np.asarray(detection.box.spacing_zyx_mm)
    half = np.ceil(PATCH_HALF_MM / spacing).astype(np.int64)
    size = 2 * half + 1
    corner = np.rint(place).astype(np.int64) - half
    shape = (len(place) * int(size[0]), int(size[1]), int(size[2]))
    voxels, mask = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    texture = float(np.hypot(0.4 * detection.noise.sd_hu, 10.0))
    loops.run_rows(
        _fill_patches, len(place), detection.box.voxels_hu, detection.smooth_hu, detection.box.labels, place,
        corner, half, spacing, level, templates.share, templates.first, templates.shape, templates.step_mm,
        REACH_MM - find.MASK_MARGIN_MM, texture, measure.REFERENCE_HU, voxels, mask,
    )  # fmt: skip
    # From an index of the box to one of the packed patches.
    shift = np.arange(len(place))[:, None] * np.array([size[0], 0, 0]) - corner
    packed = LungBox(voxels, mask, (0, 0, 0), detection.box.spacing_zyx_mm)
    target_mm = (place + shift) * spacing
    owner, index, table, probability = _judge(detection, packed, target_mm, shift)
    threshold = detection.classifier.threshold
    rows = judge.select_marks(index * spacing, probability, lower_threshold(threshold))
    margin = measure_margin(probability[rows], threshold)
    distance = np.linalg.norm(index[rows] * spacing - target_mm[owner[rows]], axis=1)
    near = distance < np.maximum(HIT_MM, 0.5 * DIAMETERS_MM[level[owner[rows]]])
    best = np.full(len(place), -np.inf)
    np.maximum.at(best, owner[rows][near], margin[near])
    best[np.isinf(best)] = np.nan
    rows = rows[margin >= 0.0]
    found, measured = _match(
        detection, packed, target_mm, shift, owner[rows], index[rows], table[rows], level
    )
    return found, measured, best


def lower_threshold(threshold: float) -> float:
    """Probability at the lowest margin that is looked at."""
    return float(expit(logit(threshold) + LOWEST_MARGIN))


def list_margins(position_mm: F64, probability: F64, threshold: float) -> F64:
    """Margins of all candidates of a scan down to the lowest one, those too near a likelier one left out."""
    rows = judge.select_marks(position_mm, probability, lower_threshold(threshold))
    return measure_margin(probability[rows], threshold)


def measure_margin(probability: F64, threshold: float) -> F64:
    """Log-odds over those of the threshold."""
    return np.asarray(logit(np.clip(probability, 1e-9, 1.0 - 1e-9)) - logit(threshold))


def _judge(detection: DetectionRun, packed: LungBox, target_mm: F64, shift: I64) -> tuple[I64, F64, F32, F64]:
    """Candidates near the injected nodules: whose they are, index, features and probability."""
    spacing = np.asarray(packed.spacing_zyx_mm)
    smooth = find.smooth_finest(packed)
    candidates = find.find_candidates(packed, smooth, spread_hu=detection.spread_hu)
    distance, owner = cKDTree(target_mm).query(candidates.index_zyx * spacing) if len(candidates) else _none()
    near = np.flatnonzero(distance < REACH_MM)
    candidates, owner = candidates.select(near), owner[near]
    quick = features.measure_quick_features(smooth, candidates, packed)
    passed = judge.screen_candidates(quick, detection.classifier)
    candidates, owner = candidates.select(passed), owner[passed]
    original = candidates.index_zyx - shift[owner]
    depth = regions.measure_depth(detection.box.labels, packed.spacing_zyx_mm, original)
    table = features.measure_features(
        smooth, candidates, packed, depth_mm=depth, noise=detection.noise, psf=detection.psf_assumed
    )
    prior = detection.classifier.prior
    score = judge.estimate_score(table, detection.classifier)
    probability = expit(score + logit(detection.share) - logit(prior))
    return owner, candidates.index_zyx, table, np.asarray(probability)


def _none() -> tuple[F64, I64]:
    return np.empty(0), np.empty(0, dtype=np.int64)


def _match(
    detection: DetectionRun,
    packed: LungBox,
    target_mm: F64,
    shift: I64,
    owner: I64,
    index: F64,
    table: F32,
    level: I64,
) -> tuple[npt.NDArray[np.bool_], F64]:
    """Fit the marks and give each injected nodule its own, where there is one."""
    spacing = np.asarray(packed.spacing_zyx_mm)
    found, measured = np.zeros(len(target_mm), dtype=bool), np.full(len(target_mm), np.nan)
    others, others_owner = _list_others(detection, target_mm, shift)
    position = index * spacing
    columns = [features.FEATURE_NAMES.index(name) for name in ("background_hu", "contrast_hu")]
    start = table[:, columns].astype(np.float64)
    distant = np.linalg.norm(others.position - target_mm[others_owner], axis=1) >= REACH_MM
    if not len(position):
        return found, measured
    fit = measure.fit_balls(
        packed,
        np.concatenate([position, others.position[distant]]),
        background_hu=np.concatenate([start[:, 0], others.background[distant]]),
        contrast_hu=np.concatenate([start[:, 1], others.contrast[distant]]),
        psf=detection.psf,
        noise=detection.noise,
    )
    own = {field.name: getattr(fit, field.name)[: len(position)] for field in fields(fit)}
    fit = replace(fit, **own)
    diameter = np.cbrt(6.0 * describe.measure_volume(fit)[0] / np.pi)
    attenuation = describe.classify_attenuation(
        fit, table, diameter, psf=detection.psf, noise=detection.noise
    )
    distance = np.linalg.norm(position - target_mm[owner], axis=1)
    hit = distance < np.maximum(HIT_MM, 0.5 * DIAMETERS_MM[level[owner]])
    hit &= attenuation != Attenuation.CALCIFIED.value
    if len(others.position):
        other_mm, _ = cKDTree(others.position).query(position)
        hit &= distance < other_mm
    # The nearest hit of each comes last and stays.
    for row in np.flatnonzero(hit)[np.argsort(-distance[hit], kind="stable")]:
        found[owner[row]] = True
        measured[owner[row]] = diameter[row]
    return found, measured


@dataclass(frozen=True)
class _Others:
    """Marks that were in the scan before, as they lie in the packed patches."""

    position: F64
    background: F64
    contrast: F64


def _list_others(detection: DetectionRun, target_mm: F64, shift: I64) -> tuple[_Others, I64]:
    spacing = np.asarray(detection.box.spacing_zyx_mm)
    if not len(detection.position_mm):
        return _Others(np.empty((0, 3)), np.empty(0), np.empty(0)), np.empty(0, dtype=np.int64)
    tree = cKDTree(detection.position_mm)
    near = tree.query_ball_point(target_mm - shift * spacing, OTHERS_MM)
    owner = np.repeat(np.arange(len(target_mm)), [len(rows) for rows in near])
    rows = np.concatenate([np.asarray(sorted(r), dtype=np.int64) for r in near])
    position = detection.position_mm[rows] + (shift * spacing)[owner]
    return _Others(position, detection.background_hu[rows], detection.contrast_hu[rows]), owner
