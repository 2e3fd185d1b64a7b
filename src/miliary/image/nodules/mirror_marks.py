"""Marks on mirrored attenuation: what the detector finds where, by definition, no nodule is.

Attenuation is mirrored about the local background of the lung, in some blocks of the scan, and searched and
scored as the scan was. Noise has no preferred sign, so a detector that marks noise, streaks or the ripple of
a kernel marks as much there; a nodule becomes a dark spot and is not marked. The excess that vessels and
nodules turn into a lack of attenuation is cut off a few standard deviations below, or each would be ringed by
false maxima.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit, logit

from miliary.image.anatomy import regions
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import features, find, judge
from miliary.image.nodules.detect import DetectionRun

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# Side of a block, what it must hold of lung, and how much lung is searched in all.
BLOCK_MM, LUNG_SHARE, SAMPLE_L = 36.0, 0.75, 0.15
# Features reach this far beyond a block.
REACH_MM = 9.0
BACKGROUND_MM = 6.0
CUT_SIGMAS = 3.0


@dataclass(frozen=True)
class MirrorMarks:
    """Marks of the mirrored blocks, marks of the scan in the same blocks, and how much lung they are [L]."""

    n: int
    n_found: int
    litres: float

    @property
    def ratio(self) -> float:
        """Mirrored marks over those of the scan, one added to these, since there may be none."""
        return self.n / (self.n_found + 1.0)


def count_mirror_marks(detection: DetectionRun, *, seed: int = 0) -> MirrorMarks:
    """Search and score some blocks of the lungs with their attenuation mirrored.

    Parameters
    ----------
    detection : DetectionRun
        The run that marked the scan; its share of nodules and its threshold are used.
    seed : int
        Of the choice of blocks.

    Returns
    -------
    MirrorMarks
    """
    box = detection.box
    spacing = np.asarray(box.spacing_zyx_mm)
    size = np.maximum(1, np.round(BLOCK_MM / spacing)).astype(np.int64)
    index = detection.position_mm / spacing
    n, n_found, n_voxels = 0, 0, 0
    for corner in _choose_blocks(box, size, seed):
        made, searched = _count_in_block(detection, corner, size)
        n, n_voxels = n + made, n_voxels + searched
        n_found += int(
            np.count_nonzero(np.all((index >= corner - 0.5) & (index < corner + size - 0.5), axis=1))
        )
        if n_voxels * float(np.prod(spacing)) / 1e6 >= SAMPLE_L:
            break
    return MirrorMarks(n, n_found, n_voxels * float(np.prod(spacing)) / 1e6)


def _choose_blocks(box: LungBox, size: I64, seed: int) -> I64:
    """First voxels of blocks that are mostly lung, in random order, shape (n, 3)."""
    counts = np.asarray(box.labels.shape) // size
    if not counts.all():
        return np.empty((0, 3), dtype=np.int64)
    whole = tuple(slice(0, int(k * s)) for k, s in zip(counts, size, strict=True))
    cells = (box.labels[whole] > 0).reshape(counts[0], size[0], counts[1], size[1], counts[2], size[2])
    blocks = np.argwhere(cells.mean(axis=(1, 3, 5)) >= LUNG_SHARE).astype(np.int64)
    return np.random.default_rng([seed, 61]).permutation(blocks) * size


def _count_in_block(detection: DetectionRun, corner: I64, size: I64) -> tuple[int, int]:
    """Marks of one mirrored block, and its voxels of lung."""
    box = detection.box
    reach = np.ceil(REACH_MM / np.asarray(box.spacing_zyx_mm)).astype(np.int64)
    low = np.maximum(corner - reach, 0)
    high = np.minimum(corner + size + reach, box.labels.shape)
    view = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    inner = tuple(slice(int(a), int(a + s)) for a, s in zip(corner - low, size, strict=True))
    labels = np.zeros([int(b - a) for a, b in zip(low, high, strict=True)], dtype=np.uint8)
    labels[inner] = box.labels[view][inner] > 0
    mirrored = mirror_attenuation(
        box.voxels_hu[view], box.labels[view] > 0, box.spacing_zyx_mm, noise_hu=detection.noise.sd_hu
    )
    packed = LungBox(mirrored, labels, (0, 0, 0), box.spacing_zyx_mm)
    return _count_marks(detection, packed, low), int(np.count_nonzero(labels))


def mirror_attenuation(
    voxels_hu: F32,
    is_lung: npt.NDArray[np.bool_],
    spacing_zyx_mm: tuple[float, float, float],
    *,
    noise_hu: float,
) -> F32:
    """Mirror the lung about its local background.

    Parameters
    ----------
    voxels_hu : ndarray of float32, shape (z, y, x)
        Attenuation [HU].
    is_lung : ndarray of bool, same shape
    spacing_zyx_mm : tuple of float
        Distance between voxel centers [mm].
    noise_hu : float
        Standard deviation of the noise [HU]; what is more than three of them above the background is cut to
        three.

    Returns
    -------
    ndarray of float32, same shape
        Mirrored attenuation [HU]; outside the lung the background goes on.
    """
    cut = np.float32(CUT_SIGMAS * max(noise_hu, 1.0))
    width = [BACKGROUND_MM / step for step in spacing_zyx_mm]
    middle = np.float32(np.median(voxels_hu[is_lung])) if is_lung.any() else np.float32(0.0)
    limited = np.where(is_lung, np.minimum(voxels_hu, middle + cut), np.float32(0.0))
    weight = ndimage.gaussian_filter(is_lung.astype(np.float32), width, truncate=3.0)
    background = ndimage.gaussian_filter(limited, width, truncate=3.0) / np.maximum(weight, 1e-3)
    background = np.where(weight > 1e-3, background, middle).astype(np.float32)
    excess = np.where(is_lung, np.minimum(voxels_hu - background, cut), np.float32(0.0))
    return np.asarray(background - excess, dtype=np.float32)


def _count_marks(detection: DetectionRun, packed: LungBox, low: I64) -> int:
    """Candidates of a block that would be reported."""
    classifier = detection.classifier
    smooth = find.smooth_finest(packed)
    candidates = find.find_candidates(packed, smooth, response_sd_hu=detection.response_sd_hu)
    if len(candidates):
        quick = features.measure_quick_features(smooth, candidates, packed)
        candidates = candidates.select(judge.screen_candidates(quick, classifier))
    if not len(candidates):
        return 0
    depth = regions.measure_depth(
        detection.box.labels, packed.spacing_zyx_mm, candidates.index_zyx + low.astype(np.float64)
    )
    table = features.measure_features(
        smooth, candidates, packed, depth_mm=depth, noise=detection.noise, psf=detection.psf_assumed
    )
    score = judge.estimate_score(table, classifier)
    probability = expit(score + logit(detection.share) - logit(classifier.prior))
    position_mm = candidates.index_zyx * np.asarray(packed.spacing_zyx_mm)
    return len(judge.select_reported(position_mm, probability, classifier.threshold))
