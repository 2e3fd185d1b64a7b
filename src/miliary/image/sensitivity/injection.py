"""Inject simulated nodules into the voxels of a scan and measure how many the detector finds.

Each nodule is added to its own copy of its surroundings, so that injected nodules do not influence each
other. There the detector runs as it did on the scan: same classifier, same share of nodules, same blur. This
measures the nodules missed; for false positives see `false_positives`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

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
# Radius around an injected nodule in which candidates count, and half a patch: how far their features reach.
REACH_MM = 3.0
PATCH_HALF_MM = 11.0
# Nodules farther from the center of a patch than this would be fitted together with those of the next patch.
OTHERS_MM = 7.5
CHUNK = 64
HIT_MM = 1.5
# Lowest margin listed: the candidates just below the threshold determine the number of false positives.
LOWEST_MARGIN = -3.0
# A point as dense as this is inside a vessel or the chest wall, where no nodule can be.
DENSE_HU = -400.0


@dataclass(frozen=True)
class Recovery:
    """Injected nodules, n of them, and whether the detector found them.

    Parameters
    ----------
    diameter_mm : ndarray of float64, shape (n,)
        True diameters [mm].
    is_found : ndarray of bool, shape (n,)
        Whether the nodule was reported.
    measured_mm : ndarray of float64, shape (n,)
        Measured diameters [mm]; NaN where missed.
    margin : ndarray of float64, shape (n,)
        Log-odds of its most probable candidate minus those of the threshold; NaN where there is no candidate
        down to `LOWEST_MARGIN`.
    depth_mm : ndarray of float64, shape (n,)
        Depth below the pleura [mm].
    height : ndarray of float64, shape (n,)
        Height in the lungs as a share of their height, 0 at the base.
    position_mm : ndarray of float64, shape (n, 3)
        Centers (z, y, x) from the first voxel of the box [mm].
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

    def is_found_at(self, probability: float, threshold: float) -> npt.NDArray[np.bool_]:
        """Which nodules would be found with a stricter threshold.

        Parameters
        ----------
        probability : float
            The stricter threshold, 0 to 1.
        threshold : float
            The threshold of reporting on the scan, 0 to 1.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        margin = np.nan_to_num(self.margin, nan=-np.inf)
        return np.asarray(self.is_found & (margin >= measure_margin(np.asarray(probability), threshold)))


def inject_and_recover(detection: DetectionRun, *, n: int = N_INJECTED, seed: int = 0) -> Recovery:
    """Inject nodules of 0.75 to 5.5 mm at random positions of the lungs and run the detector there.

    Parameters
    ----------
    detection : DetectionRun
        The run on the scan itself.
    n : int
        Number of nodules, distributed evenly over the logarithm of the diameter.
    seed : int
        Seed of the positions.

    Returns
    -------
    Recovery
        A nodule is found where a nodule is reported within max(1.5 mm, its radius), nearer to it than any
        that is reported without it, and not classified as calcified. Fewer than `n` rows where there is no
        room.
    """
    box = detection.box
    rng = np.random.default_rng([seed, 51])
    level = rng.permutation(np.arange(n) % len(DIAMETERS_MM))
    index = _draw_positions(detection, DIAMETERS_MM[level], rng)
    level = level[: len(index)]
    templates = _render_templates(detection.psf)
    found = np.zeros(len(index), dtype=bool)
    measured, margin = np.full(len(index), np.nan), np.full(len(index), np.nan)
    depth = regions.measure_depth(box.labels, box.spacing_zyx_mm, index)
    for first in range(0, len(index), CHUNK):
        rows = slice(first, min(first + CHUNK, len(index)))
        found[rows], measured[rows], margin[rows] = _recover_chunk(
            detection, index[rows], level[rows], templates
        )
    filled = np.flatnonzero(box.labels.any(axis=(1, 2)))
    height = (index[:, 0] - filled[0]) / max(1, filled[-1] - filled[0]) if len(index) else np.empty(0)
    position = index * np.asarray(box.spacing_zyx_mm)
    return Recovery(DIAMETERS_MM[level], found, measured, margin, depth, height, position)


def _draw_positions(detection: DetectionRun, diameter_mm: F64, rng: np.random.Generator) -> F64:
    """Random positions in the lungs as fractional indices of the box, shape (m, 3), m <= n.

    Not inside tissue as dense as a nodule, except on a reported nodule, and not overlapping a reported
    nodule: two nodules in one position are one.
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


class _Templates(NamedTuple):
    """Blurred balls of all diameters, one octant each, on a grid finer than the blur.

    `share` holds all octants flat; that of diameter k starts at ``first[k]`` and has shape ``shape[k]``.
    """

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
    """One octant of a ball blurred by the PSF, as a share of the attenuation of the ball."""
    radius = 0.5 * diameter
    half = np.ceil((radius + 4.0 * widest) / step).astype(int) + 1
    z, y, x = (np.arange(h) * s for h, s in zip(half, step, strict=True))
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    ball = np.clip(0.5 - (distance - radius) / float(step.mean()), 0.0, 1.0)
    weight = np.ones(half[0])[:, None, None] * np.ones(half[1])[:, None] * np.ones(half[2])
    # Octants share the planes through the center, so these count half.
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


class _PatchSource(NamedTuple):
    """The box that patches are copied from: voxels and smoothed voxels [HU], labels, spacing [mm]."""

    volume: F32
    smooth: F32
    labels: npt.NDArray[np.uint8]
    spacing: F64


class _Injected(NamedTuple):
    """The nodules: center as fractional index, first voxel of the patch, number of the diameter."""

    center: F64
    corner: I64
    level: I64


class _PatchSettings(NamedTuple):
    """Half a patch [voxels], radius in which a nodule may be found [mm], texture and nodule density [HU]."""

    half: I64
    reach: float
    texture: float
    density: float


@nb.njit(nogil=True, cache=True)
def _fill_patches(begin, end, source, injected, templates, settings, out, mask):  # type: ignore[no-untyped-def]
    """Copy the surroundings of each nodule and add it; set the mask where it may be found."""
    volume, smooth, labels, spacing = source
    center, corner, level = injected
    octants, first, shape, step = templates
    half, reach, texture, density = settings
    size = 2 * half + 1
    nz, ny, nx = volume.shape
    values = np.empty(13 * 13 * 13, dtype=np.float32)
    sorting = loops.make_sorting(values.shape[0])
    for m in range(begin, end):
        k = level[m]
        octant = octants[first[k] : first[k + 1]]
        sz, sy, sx = shape[k]
        # The local background: a low quantile of the smoothed neighborhood.
        n = 0
        for dz in range(-6, 7):
            z = min(max(round(center[m, 0] + dz * 0.8 / spacing[0]), 0), nz - 1)
            for dy in range(-6, 7):
                y = min(max(round(center[m, 1] + dy * 0.8 / spacing[1]), 0), ny - 1)
                for dx in range(-6, 7):
                    x = min(max(round(center[m, 2] + dx * 0.8 / spacing[2]), 0), nx - 1)
                    values[n] = smooth[z, y, x]
                    n += 1
        loops.sort_floats(values, sorting)
        around = values[int(0.35 * n)]
        for a in range(size[0]):
            z = min(max(corner[m, 0] + a, 0), nz - 1)
            pz = abs(corner[m, 0] + a - center[m, 0]) * spacing[0]
            for b in range(size[1]):
                y = min(max(corner[m, 1] + b, 0), ny - 1)
                py = abs(corner[m, 1] + b - center[m, 1]) * spacing[1]
                for c in range(size[2]):
                    x = min(max(corner[m, 2] + c, 0), nx - 1)
                    px = abs(corner[m, 2] + c - center[m, 2]) * spacing[2]
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
                        # Noise is neither replaced nor scaled; tissue clearly denser than the lung is.
                        above = smooth[z, y, x] - around
                        weight = min(max((above - 3 * texture) / (2 * texture + 40.0), 0.0), 1.0)
                        value += filled * max(density - around - weight * above, 0.0)
                    out[row, b, c] = min(max(value, -1024.0), 1500.0)


def _recover_chunk(
    detection: DetectionRun, center: F64, level: I64, templates: _Templates
) -> tuple[npt.NDArray[np.bool_], F64, F64]:
    """Which of the nodules are found, their measured diameters [mm], and their margins."""
    spacing = np.asarray(detection.box.spacing_zyx_mm)
    half = np.ceil(PATCH_HALF_MM / spacing).astype(np.int64)
    size = 2 * half + 1
    corner = np.rint(center).astype(np.int64) - half
    shape = (len(center) * int(size[0]), int(size[1]), int(size[2]))
    voxels, mask = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    texture = float(np.hypot(0.4 * detection.noise.sd_hu, 10.0))
    source = _PatchSource(detection.box.voxels_hu, detection.smooth_hu, detection.box.labels, spacing)
    injected = _Injected(center, corner, level)
    settings = _PatchSettings(half, REACH_MM - find.MASK_MARGIN_MM, texture, measure.REFERENCE_HU)
    loops.run_rows(_fill_patches, len(center), source, injected, templates, settings, voxels, mask)
    # From an index of the box to one of the packed patches.
    shift = np.arange(len(center))[:, None] * np.array([size[0], 0, 0]) - corner
    packed = LungBox(voxels, mask, (0, 0, 0), detection.box.spacing_zyx_mm)
    target_mm = (center + shift) * spacing
    owner, index, table, probability = _score(detection, packed, target_mm, shift)
    threshold = detection.classifier.threshold
    rows = judge.select_reported(index * spacing, probability, lower_threshold(threshold))
    margin = measure_margin(probability[rows], threshold)
    distance = np.linalg.norm(index[rows] * spacing - target_mm[owner[rows]], axis=1)
    near = distance < np.maximum(HIT_MM, 0.5 * DIAMETERS_MM[level[owner[rows]]])
    best = np.full(len(center), -np.inf)
    np.maximum.at(best, owner[rows][near], margin[near])
    best[np.isinf(best)] = np.nan
    rows = rows[margin >= 0.0]
    found, measured = _match_injected(
        detection, packed, target_mm, shift, owner[rows], index[rows], table[rows], level
    )
    return found, measured, best


def lower_threshold(threshold: float) -> float:
    """Probability that corresponds to `LOWEST_MARGIN` below a threshold.

    Parameters
    ----------
    threshold : float
        Probability from which candidates are reported, 0 to 1.

    Returns
    -------
    float
    """
    return float(expit(logit(threshold) + LOWEST_MARGIN))


def list_margins(position_mm: F64, probability: F64, threshold: float) -> F64:
    """Margins of all candidates of a scan down to `LOWEST_MARGIN`.

    Of candidates close together only the most probable counts, as in `judge.select_reported`.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        Positions of the candidates [mm].
    probability : ndarray, shape (n,)
        Probability of being a nodule, 0 to 1.
    threshold : float
        Probability from which candidates are reported, 0 to 1.

    Returns
    -------
    ndarray of float64, shape (m,)
        Log-odds minus those of the threshold.
    """
    rows = judge.select_reported(position_mm, probability, lower_threshold(threshold))
    return measure_margin(probability[rows], threshold)


def measure_margin(probability: F64, threshold: float) -> F64:
    """Log-odds of probabilities minus those of a threshold.

    Parameters
    ----------
    probability : ndarray
        Probabilities, 0 to 1; limited to 1e-9 from either end.
    threshold : float
        Probability from which candidates are reported, 0 to 1.

    Returns
    -------
    ndarray of float64, shape of `probability`
    """
    return np.asarray(logit(np.clip(probability, 1e-9, 1.0 - 1e-9)) - logit(threshold))


def _score(detection: DetectionRun, packed: LungBox, target_mm: F64, shift: I64) -> tuple[I64, F64, F32, F64]:
    """Candidates near the injected nodules: number of the nodule, index, features and probability."""
    spacing = np.asarray(packed.spacing_zyx_mm)
    smooth = find.smooth_finest(packed)
    candidates = find.find_candidates(packed, smooth, response_sd_hu=detection.response_sd_hu)
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


def _match_injected(
    detection: DetectionRun,
    packed: LungBox,
    target_mm: F64,
    shift: I64,
    owner: I64,
    index: F64,
    table: F32,
    level: I64,
) -> tuple[npt.NDArray[np.bool_], F64]:
    """Fit what is reported in the patches; which nodules are found, and their measured diameters [mm]."""
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
    # Sorted so that the nearest hit of each nodule is written last.
    for row in np.flatnonzero(hit)[np.argsort(-distance[hit], kind="stable")]:
        found[owner[row]] = True
        measured[owner[row]] = diameter[row]
    return found, measured


@dataclass(frozen=True)
class _Others:
    """Nodules reported on the scan itself, at their positions in the packed patches."""

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
