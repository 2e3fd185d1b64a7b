"""Apply a reader's corrections to the nodule table: remove false positives, add missed nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy import regions
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules import describe, features, measure
from miliary.image.nodules.find import SCALES_MM, Candidates
from miliary.model.corrections import (
    NOT_PLACED_CODE,
    AppliedCorrections,
    Correction,
    CorrectionKind,
    CorrectionSet,
)
from miliary.model.ct_result import Noise, Psf
from miliary.model.nodules import NoduleFlag, Nodules
from miliary.model.scan import Grid, ScanWarning

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

# Measuring the scan again reports the same nodules; a new version of the program may shift them a little.
SAME_NODULE_MM = 1.5
# A click may be a voxel or two off the center of the nodule.
CLICK_MM = 1.5
OUTSIDE_LUNG_MM = 4.0


def correct_nodules(
    nodules: Nodules,
    corrections: CorrectionSet,
    *,
    box: LungBox,
    smooth_hu: F32,
    grid: Grid,
    psf: Psf,
    noise: Noise,
    is_clipped: bool,
) -> tuple[Nodules, AppliedCorrections]:
    """Apply a reader's corrections to the reported nodules.

    Parameters
    ----------
    nodules : Nodules
        Nodules that the program reports.
    corrections : CorrectionSet
        What the reader changed.
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `find.smooth_finest` [HU].
    grid : Grid
        Grid of the whole scan.
    psf : Psf
        Blur of the scan.
    noise : Noise
        Noise of the scan.
    is_clipped : bool
        Whether attenuation above that of soft tissue was cut off in the file.

    Returns
    -------
    nodules : Nodules
        Reported nodules keep their ids; rejected ones are removed. Added ones follow with new ids, measured
        like all others, with probability 1 and the flag ``reader_added``.
    applied : AppliedCorrections
        How many corrections were applied, and the numbers of those that could not be; `n_lesions` is 0, since
        lesions are corrected elsewhere.
    """
    rejected = [c for c in corrections.active if c.kind is CorrectionKind.REJECT_NODULE]
    added = [c for c in corrections.active if c.kind is CorrectionKind.ADD_NODULE]
    keep, lost = _find_rejected(nodules, rejected)
    kept = nodules.select(keep)
    start = np.asarray(box.start_zyx)
    index = grid.index_from_lps(_positions(added)) - start
    placed, at = _snap_clicks(index, kept, box=box, smooth_hu=smooth_hu, grid=grid)
    lost += [c.number for c, is_placed in zip(added, placed, strict=True) if not is_placed]
    new = _measure_added(
        at, kept, box=box, smooth_hu=smooth_hu, grid=grid, psf=psf, noise=noise, is_clipped=is_clipped
    )
    first_id = int(nodules["id"].max(initial=0)) + 1
    applied = AppliedCorrections(
        applied_through=corrections.through,
        n_rejected=int(np.count_nonzero(~keep)),
        n_added=len(new),
        not_placed=tuple(sorted(lost)),
    )
    return _append(kept, new, first_id), applied


def list_warnings(applied: AppliedCorrections) -> tuple[ScanWarning, ...]:
    """Warnings for corrections that could not be applied.

    Parameters
    ----------
    applied : AppliedCorrections
        From `correct_nodules`.

    Returns
    -------
    tuple of ScanWarning
        One for each number in `applied.not_placed`.
    """
    return tuple(
        ScanWarning(
            NOT_PLACED_CODE,
            f"correction {number} found no place: there is no such mark, or no lung without one; look again",
        )
        for number in applied.not_placed
    )


def _positions(corrections: Sequence[Correction]) -> F64:
    points = [c.position_lps_mm for c in corrections if c.position_lps_mm is not None]
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def _find_rejected(
    nodules: Nodules, rejected: Sequence[Correction]
) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Which rows to keep, and the numbers of the corrections that match no row."""
    keep = np.ones(len(nodules), dtype=bool)
    lost = []
    for correction, point in zip(rejected, _positions(rejected), strict=True):
        distance = np.linalg.norm(nodules.position_lps_mm - point, axis=1)
        # Of two nodules at the same distance the id decides which one was meant.
        distance = np.where(nodules["id"] == correction.nodule_id, distance - 0.01, distance)
        distance = np.where(keep, distance, np.inf)
        row = int(np.argmin(distance)) if len(distance) else -1
        if row >= 0 and distance[row] < SAME_NODULE_MM:
            keep[row] = False
        else:
            lost.append(correction.number)
    return keep, lost


def _snap_clicks(
    index_zyx: F64, kept: Nodules, *, box: LungBox, smooth_hu: F32, grid: Grid
) -> tuple[list[bool], F64]:
    """Move each click to the nearest peak; which clicks are valid, and the peaks of those.

    Clicks outside the lungs or on a reported nodule are not valid.
    """
    spacing = np.asarray(box.spacing_zyx_mm)
    margin = np.maximum(1, np.round(OUTSIDE_LUNG_MM / spacing)).astype(int)
    taken = (grid.index_from_lps(kept.position_lps_mm) - np.asarray(box.start_zyx)) * spacing
    placed, at = [], []
    for click in index_zyx:
        center = np.rint(click).astype(int)
        if (center < 0).any() or (center >= box.voxels_hu.shape).any():
            placed.append(False)
            continue
        if not box.labels[_window(center, margin, box.voxels_hu.shape)].any():
            placed.append(False)
            continue
        peak = _find_peak(center, spacing, smooth_hu)
        is_free = not len(taken) or np.linalg.norm(taken - peak * spacing, axis=1).min() >= SAME_NODULE_MM
        placed.append(is_free)
        if is_free:
            at.append(peak.astype(np.float64))
            taken = np.concatenate([taken, [peak * spacing]])
    return placed, np.array(at, dtype=np.float64).reshape(-1, 3)


def _find_peak(center: npt.NDArray[np.int_], spacing_mm: F64, smooth_hu: F32) -> npt.NDArray[np.int_]:
    """The brightest local maximum near a voxel; the voxel itself where there is none.

    Not simply the brightest voxel, which near the pleura or a vessel would belong to these.
    """
    near_mm = max(CLICK_MM, float(spacing_mm.max()))
    reach = np.floor(near_mm / spacing_mm + 1e-6).astype(int)
    best, best_hu = center, -np.inf
    for step in np.ndindex(*(2 * reach + 1)):
        here = center + np.asarray(step) - reach
        is_inside = (here >= 0).all() and (here < smooth_hu.shape).all()
        if not is_inside or np.linalg.norm((here - center) * spacing_mm) > near_mm + 1e-6:
            continue
        value = smooth_hu[tuple(here)]
        if value > best_hu and value >= smooth_hu[_window(here, np.ones(3, int), smooth_hu.shape)].max():
            best, best_hu = here, value
    return best


def _window(
    center: npt.NDArray[np.int_], reach: npt.NDArray[np.int_], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    low, high = np.maximum(center - reach, 0), np.minimum(center + reach + 1, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _measure_added(
    index_zyx: F64,
    kept: Nodules,
    *,
    box: LungBox,
    smooth_hu: F32,
    grid: Grid,
    psf: Psf,
    noise: Noise,
    is_clipped: bool,
) -> Nodules:
    """Rows of the added nodules, fitted together with the reported nodules around them."""
    n = len(index_zyx)
    if not n:
        return Nodules.empty()
    spacing = np.asarray(box.spacing_zyx_mm)
    others = grid.index_from_lps(kept.position_lps_mm) - np.asarray(box.start_zyx)
    gaps = np.linalg.norm((others[:, None] - index_zyx[None]) * spacing, axis=2)
    index = np.concatenate([index_zyx, others[(gaps < measure.NEIGHBOR_MM).any(axis=1)]])
    n_scales = len(SCALES_MM)
    candidates = Candidates(
        index_zyx=index,
        scale=np.zeros(len(index), dtype=np.int64),
        # Filter responses are for the classifier only; nothing measured here uses them.
        responses_hu=np.zeros((len(index), n_scales), dtype=np.float32),
        response_sd_hu=np.ones(n_scales),
    )
    depth = regions.measure_depth(box.labels, box.spacing_zyx_mm, index)
    table = features.measure_features(smooth_hu, candidates, box, depth_mm=depth, noise=noise, psf=psf)
    start = {
        name: table[:, features.FEATURE_NAMES.index(name)].astype(np.float64)
        for name in ("background_hu", "contrast_hu")
    }
    fit = measure.fit_balls(box, index * spacing, **start, psf=psf, noise=noise)
    rows = describe.describe_nodules(
        fit,
        table,
        np.ones(len(index)),
        box=box,
        grid=grid,
        psf=psf,
        noise=noise,
        is_clipped=is_clipped,
    )
    return rows.select(np.arange(n))


def _append(kept: Nodules, new: Nodules, first_id: int) -> Nodules:
    """The kept rows, then the new ones with new ids and the flag of the reader."""
    columns = {name: np.concatenate([kept[name], new[name]]) for name in kept.columns}
    n = len(kept)
    columns["id"][n:] = np.arange(first_id, first_id + len(new))
    flags = [f"{flag};{NoduleFlag.READER_ADDED.value}".lstrip(";") for flag in new["flags"]]
    columns["flags"][n:] = flags
    return replace(kept, columns=columns)
