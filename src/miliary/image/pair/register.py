"""Lung-to-lung registration of two scans of one patient: affine, then deformable.

Small patches of the baseline are searched in the follow-up by normalized correlation; a smooth displacement
field is fitted to the matches, stiff where there is none or where neighbors disagree, and the search is
repeated on finer grids. Only the inside of the lungs is compared: everything denser than `CEILING_HU` looks
the same, so the lungs are free to slide along the chest wall. Correlation is insensitive to the higher
density of a lung in expiration; nodules and lesions, which may appear and vanish, are replaced by lung.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from miliary.image.kernels import loops
from miliary.image.kernels.resample import resample_volume
from miliary.image.pair import displacement_field
from miliary.image.pair.patch_search import PatchGeometry, choose_centers, correlate, find_peaks
from miliary.model.ct_result import LABEL_LEFT, LABEL_RIGHT, Lungs
from miliary.model.scan import Grid, Scan
from miliary.model.transform import Transform

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

WORK_MM = 1.5
FLOOR_HU, CEILING_HU = -1000.0, -250.0
MARGIN_MM = 6.0
NOISE_HU = 25.0
DISEASE_RIM_MM = 1.0
PAINT_BLOCK = 3
MIN_SCORE = 0.25
# Share of the voxels of a patch that are statistically independent.
INDEPENDENT_SHARE = 0.1
PEAK_ERROR_VOXELS = 0.3
MIN_JACOBIAN = 0.1
AGREE_MM = 2.0
CLOSE_SHARE = 0.75
MIN_CUT_MM2 = 100.0
CUT_RIM_MM = 4.0
MIN_SURFACE_POINTS = 50
# Patches are found again mainly where the map is good: on four pairs of known motion of two development lungs
# the true mean error was 1.6 to 2.0 times that at these patches.
UNSEEN_FACTOR = 1.8


@dataclass(frozen=True)
class Registration:
    """Map from baseline to follow-up, and how well it is known.

    Parameters
    ----------
    transform : Transform
        From points of the baseline to points of the follow-up.
    tre_estimate_mm : float
        Estimated mean target registration error [mm]: that at found patches that the map was not fitted to,
        times `UNSEEN_FACTOR`. Infinite where no patch was found.
    agreement : float
        Share of these patches found within 2 mm of the mapped position, 0 to 1; low for different patients.
    overlap : float
        Dice coefficient of the mapped lungs, 0 to 1.
    fixed_coverage, moving_coverage : float
        Share of the lungs of each scan inside the field of view of the other, 0 to 1.
    min_jacobian : float
        Smallest Jacobian determinant in the box of the lungs.
    folded_share : float
        Share of the nodes of the field with a Jacobian determinant of 0 or less; 0 by construction.
    n_landmarks : int
        Patches that the final field was fitted to.
    seconds : float
        Computing time [s].
    """

    transform: Transform
    tre_estimate_mm: float
    agreement: float
    overlap: float
    fixed_coverage: float
    moving_coverage: float
    min_jacobian: float
    folded_share: float
    n_landmarks: int
    seconds: float


@dataclass(frozen=True)
class RegistrationRound:
    """Settings of one search and fit.

    Parameters
    ----------
    coarseness : int
        Side of a voxel in working voxels.
    cell : int
        Distance of patches in these voxels.
    search : PatchGeometry
        Size of a patch and of its search.
    stiff_mm : float
        Length over which the field is stiff [mm].
    node_mm : float
        Distance of the nodes of the field [mm].
    """

    coarseness: int
    cell: int
    search: PatchGeometry
    stiff_mm: float
    node_mm: float


ROUNDS = (
    RegistrationRound(2, 6, PatchGeometry(6, 2, 6), 20.0, 20.0),
    RegistrationRound(2, 4, PatchGeometry(4, 1, 3), 10.0, 12.0),
    RegistrationRound(1, 6, PatchGeometry(5, 2, 3), 6.0, 8.0),
    RegistrationRound(1, 5, PatchGeometry(5, 2, 2), 4.0, 6.0),
    RegistrationRound(1, 4, PatchGeometry(4, 2, 2), 4.0, 6.0),
)
CHECK = RegistrationRound(1, 8, PatchGeometry(4, 1, 3), 0.0, 0.0)
COUPLINGS = (0.0, 0.002, 0.008)


@dataclass(frozen=True)
class _Cuts:
    """Faces of the field of view that cut through a lung, as (axis, whether at the far end)."""

    grid: Grid
    faces: tuple[tuple[int, bool], ...]

    def are_far(self, points_lps_mm: F64, margin_mm: float) -> npt.NDArray[np.bool_]:
        """Which points (n, 3) lie at least `margin_mm` inside every such face."""
        index = self.grid.index_from_lps(points_lps_mm)
        far = np.ones(len(index), dtype=bool)
        for axis, is_far_end in self.faces:
            depth = self.grid.shape_zyx[axis] - 1 - index[:, axis] if is_far_end else index[:, axis]
            far &= depth * self.grid.spacing_zyx_mm[axis] >= margin_mm
        return far


@dataclass(frozen=True)
class _WorkingVolume:
    """The lungs on a working grid, from 0 for air to 1 for tissue and everything outside the lungs."""

    image: F32
    labels: Labels
    grid: Grid
    cuts: _Cuts

    def coarsen(self, factor: int) -> _WorkingVolume:
        """Means of blocks of `factor` voxels a side."""
        if factor == 1:
            return self
        shape = [n - n % factor for n in self.image.shape]
        crop = self.image[: shape[0], : shape[1], : shape[2]]
        blocks = crop.reshape(
            shape[0] // factor, factor, shape[1] // factor, factor, shape[2] // factor, factor
        )
        image = np.ascontiguousarray(blocks.mean(axis=(1, 3, 5)))
        half = factor // 2
        labels = self.labels[half : shape[0] : factor, half : shape[1] : factor, half : shape[2] : factor]
        spacing = np.asarray(self.grid.spacing_zyx_mm) * factor
        grid = _regrid(self.grid, np.full(3, (factor - 1) / 2.0), image.shape, spacing)
        return _WorkingVolume(image, np.ascontiguousarray(labels), grid, self.cuts)

    def pad(self, n: int) -> _WorkingVolume:
        """The same with `n` voxels of tissue around it."""
        grid = self.grid.crop((-n, -n, -n), [s + 2 * n for s in self.grid.shape_zyx])
        image = np.pad(self.image, n, constant_values=1.0)
        return _WorkingVolume(image, np.pad(self.labels, n), grid, self.cuts)


def register_lungs(
    fixed: Scan,
    fixed_lungs: Lungs,
    moving: Scan,
    moving_lungs: Lungs,
    *,
    fixed_disease: npt.ArrayLike | None = None,
    moving_disease: npt.ArrayLike | None = None,
) -> Registration:
    """Register the lungs of two scans of one patient.

    Parameters
    ----------
    fixed, moving : Scan
        Baseline and follow-up.
    fixed_lungs, moving_lungs : Lungs
        Their lung labels.
    fixed_disease, moving_disease : array-like, shape (n, 4), optional
        Center (x, y, z) in LPS [mm] and radius [mm] of nodules and lesions of either scan. They are replaced
        by lung, so that the map follows vessels and surface only and does not compensate growth or shrinkage.

    Returns
    -------
    Registration

    Raises
    ------
    ValueError
        The labels of a scan are empty, or the scans show no lung of the same side.
    """
    began = time.perf_counter()
    a = _make_working_volume(fixed, fixed_lungs.labels, fixed_disease)
    b = _make_working_volume(moving, moving_lungs.labels, moving_disease)
    transform = _align(a, b)
    n_landmarks = 0
    for settings in ROUNDS:
        transform, n_landmarks = _refine(a, b, transform, settings)
    error_mm, agreement = _check(a, b, transform)
    mapped = resample_volume(b.labels, b.grid, a.grid, transform=transform, fill=0.0, order=0) > 0
    own = a.labels > 0
    both = int(np.count_nonzero(own)) + int(np.count_nonzero(mapped))
    overlap = 2.0 * int(np.count_nonzero(own & mapped)) / max(1, both)
    jacobian = transform.jacobian()
    return Registration(
        transform=transform,
        tre_estimate_mm=error_mm,
        agreement=agreement,
        overlap=overlap,
        fixed_coverage=_covered(transform.apply(_points_of(a)), moving.grid),
        moving_coverage=_covered(transform.invert_points(_points_of(b)), fixed.grid),
        min_jacobian=transform.min_jacobian(),
        folded_share=float(np.mean(jacobian <= 0.0)),
        n_landmarks=n_landmarks,
        seconds=time.perf_counter() - began,
    )


def _make_working_volume(scan: Scan, labels: Labels, disease: npt.ArrayLike | None) -> _WorkingVolume:
    """The box around the lungs at `WORK_MM`, averaged in plane."""
    filled = [np.flatnonzero(labels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(filled[0]):
        raise ValueError("the labels hold no lung")
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    low = np.array([f[0] for f in filled]) * spacing - MARGIN_MM
    size = (np.array([f[-1] for f in filled]) * spacing + MARGIN_MM) - low
    n = np.ceil(size / WORK_MM).astype(int) + 1
    # Resampled finer than needed, then averaged over blocks: a cheap anti-aliasing filter.
    fold = np.maximum(1, np.rint(WORK_MM / spacing)).astype(int)
    step = WORK_MM / fold
    grid = _regrid(scan.grid, (low - (WORK_MM - step) / 2.0) / spacing, n * fold, step)
    fine = resample_volume(scan.voxels_hu, scan.grid, grid, fill=CEILING_HU)
    np.clip(fine, FLOOR_HU, CEILING_HU, out=fine)
    blocks = fine.reshape(n[0], fold[0], n[1], fold[1], n[2], fold[2])
    image = (blocks.mean(axis=(1, 3, 5)) - FLOOR_HU) / (CEILING_HU - FLOOR_HU)
    work = _regrid(scan.grid, low / spacing, n, np.full(3, WORK_MM))
    own = resample_volume(labels, scan.grid, work, order=0, fill=0.0).astype(np.uint8)
    image = np.ascontiguousarray(image, dtype=np.float32)
    image[~ndimage.binary_dilation(own > 0, iterations=1)] = 1.0
    if disease is not None and len(np.asarray(disease)):
        image = _replace_by_lung(image, own > 0, work, np.asarray(disease, dtype=np.float64))
    return _WorkingVolume(image, own, work, _find_cuts(labels, scan.grid))


def _find_cuts(labels: Labels, grid: Grid) -> _Cuts:
    """Faces of the field of view where the lung fills more than `MIN_CUT_MM2` of the outermost voxels."""
    faces = []
    for axis in range(3):
        area = grid.voxel_volume_mm3 / grid.spacing_zyx_mm[axis]
        for is_far_end in (False, True):
            plane = labels.take(-1 if is_far_end else 0, axis=axis)
            if np.count_nonzero(plane) * area > MIN_CUT_MM2:
                faces.append((axis, is_far_end))
    return _Cuts(grid, tuple(faces))


def _replace_by_lung(image: F32, inside: npt.NDArray[np.bool_], grid: Grid, disease: F64) -> F32:
    """Replace balls by the mean of the lung around them, leaving the surface of the lungs as it is."""
    hidden = np.zeros(image.shape, dtype=bool)
    for center, radius in zip(
        grid.index_from_lps(disease[:, :3]), disease[:, 3] + DISEASE_RIM_MM, strict=True
    ):
        reach = radius / WORK_MM
        low = np.maximum(np.floor(center - reach).astype(int), 0)
        high = np.minimum(np.ceil(center + reach).astype(int) + 1, image.shape)
        if (high <= low).any():
            continue
        axes = [np.arange(a, b) - p for a, b, p in zip(low, high, center, strict=True)]
        ball = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= reach**2
        hidden[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= ball
    out = image.copy()
    out[hidden] = _lung_around(image, inside & ~hidden)[hidden]
    return out


def _lung_around(image: F32, known: npt.NDArray[np.bool_]) -> F32:
    """Smooth mean of the known voxels, computed on blocks of voxels since it varies slowly."""
    n = PAINT_BLOCK
    shape = [-(-size // n) * n for size in image.shape]
    pad = [(0, wide - size) for wide, size in zip(shape, image.shape, strict=True)]
    blocks = [
        np.pad(part, pad).reshape(shape[0] // n, n, shape[1] // n, n, shape[2] // n, n).mean(axis=(1, 3, 5))
        for part in (known.astype(np.float32), np.where(known, image, np.float32(0.0)))
    ]
    mean = np.full(blocks[0].shape, image[known].mean() if known.any() else 1.0, dtype=np.float32)
    # Narrow means replace wide ones where they contain enough lung.
    for width in (6.0, 2.0, 0.8):
        share, total = (loops.filter_gaussian(np.ascontiguousarray(b), (width,) * 3) for b in blocks)
        enough = share > 0.2
        mean[enough] = total[enough] / share[enough]
    shape_of = Grid((image.shape[0], image.shape[1], image.shape[2]), (1.0, 1.0, 1.0))
    coarse = _regrid(shape_of, np.full(3, (n - 1) / 2.0), mean.shape, np.full(3, float(n)))
    return resample_volume(mean, coarse, shape_of)


def _regrid(grid: Grid, first_zyx: F64, shape_zyx: npt.ArrayLike, spacing_zyx_mm: F64) -> Grid:
    """A grid of other voxels along the same axes, from a fractional index of the given one."""
    nz, ny, nx = (int(n) for n in np.asarray(shape_zyx))
    dz, dy, dx = (float(s) for s in spacing_zyx_mm)
    x, y, z = (float(v) for v in grid.lps_from_index(first_zyx))
    return Grid((nz, ny, nx), (dz, dy, dx), (x, y, z), grid.axes_lps)


def _points_of(view: _WorkingVolume) -> F64:
    """Every fourth voxel of the lungs along each axis, as LPS points (n, 3) [mm]."""
    index = np.argwhere(view.labels[::4, ::4, ::4] > 0) * 4.0
    return view.grid.lps_from_index(index)


def _covered(points: F64, grid: Grid) -> float:
    """Share of points inside the field of view of a grid."""
    index = grid.index_from_lps(points)
    inside = (index >= -0.5) & (index <= np.asarray(grid.shape_zyx) - 0.5)
    return float(inside.all(axis=1).mean())


def _align(fixed: _WorkingVolume, moving: _WorkingVolume, *, n_steps: int = 24) -> Transform:
    """Affine map that aligns the surfaces of the lungs, each side with its own, by iterative closest points.

    Starts from equal centers and from equal apices and keeps the better fit. At the end, the worst quarter of
    the surface is ignored, so that lungs cut off at different heights align where both are imaged; at the
    start it is used in half of the attempts, since it also shows a change of size.
    """
    a, b = _surfaces(fixed), _surfaces(moving)
    sides = [side for side in a if side in b]
    if not sides:
        raise ValueError("the scans show no lung of the same side")
    points = [np.concatenate([part[s] for s in sides]) for part in (a, b)]
    top = points[1][:, 2].max() - points[0][:, 2].max()
    middle = points[1].mean(axis=0) - points[0].mean(axis=0)
    best: tuple[float, Transform] | None = None
    for rise, first_share in product((middle[2], top), (0.95, CLOSE_SHARE)):
        start = Transform.affine(np.eye(3), [middle[0], middle[1], rise])
        shares = [first_share] * (n_steps // 2) + [CLOSE_SHARE] * (n_steps - n_steps // 2)
        miss, found = _iterate_closest([a[s] for s in sides], [b[s] for s in sides], start, shares)
        if best is None or miss < best[0]:
            best = (miss, found)
    assert best is not None
    return best[1]


def _surfaces(view: _WorkingVolume) -> dict[int, F64]:
    """Surface points (n, 3) per label, about 3 mm apart, without those where the scan cuts the lung."""
    out = {}
    for side in (LABEL_RIGHT, LABEL_LEFT):
        own = np.asarray(view.labels[::2, ::2, ::2] == side)
        rim = np.argwhere(own & ~ndimage.binary_erosion(own))
        points = view.grid.lps_from_index(rim[:: max(1, len(rim) // 2500)] * 2.0)
        points = points[view.cuts.are_far(points, CUT_RIM_MM)]
        if len(points) > MIN_SURFACE_POINTS:
            out[side] = points
    return out


def _iterate_closest(
    fixed: Sequence[F64], moving: Sequence[F64], start: Transform, shares: Sequence[float]
) -> tuple[float, Transform]:
    """Iterative closest points in both directions; `shares` is the share of pairs used in each step.

    Returns the mean distance of the pairs used last [mm], and the map.
    """
    matrix, offset = start.matrix, start.offset_lps_mm
    targets = [cKDTree(m) for m in moving]
    miss = np.inf
    for step, share in enumerate(shares):
        pairs, distances = [], []
        for own, other, target in zip(fixed, moving, targets, strict=True):
            mapped = own @ matrix.T + offset
            distance, nearest = target.query(mapped)
            pairs.append((own, other[nearest]))
            distances.append(distance)
            distance, nearest = cKDTree(mapped).query(other)
            pairs.append((own[nearest], other))
            distances.append(distance)
        p = np.concatenate([pair[0] for pair in pairs])
        q = np.concatenate([pair[1] for pair in pairs])
        distance = np.concatenate(distances)
        near = distance <= np.quantile(distance, share)
        miss = float(distance[near].mean())
        if step < len(shares) // 4:
            offset = offset + np.mean(q[near] - (p[near] @ matrix.T + offset), axis=0)
            continue
        matrix, offset = _fit_affine(p[near], q[near], ridge=0.02)
    return miss, Transform.affine(matrix, offset)


def _fit_affine(p: F64, q: F64, *, ridge: float) -> tuple[F64, F64]:
    """Least-squares affine map of p (n, 3) to q (n, 3), regularized towards the identity matrix."""
    center_p, center_q = p.mean(axis=0), q.mean(axis=0)
    x, y = p - center_p, q - center_q
    square = x.T @ x
    eased = square + ridge * np.trace(square) / 3.0 * np.eye(3)
    matrix = np.linalg.solve(eased, x.T @ (y - x)).T + np.eye(3)
    return matrix, center_q - matrix @ center_p


def _search_patches(
    a: _WorkingVolume,
    b: _WorkingVolume,
    transform: Transform,
    settings: RegistrationRound,
    *,
    start: int = 0,
    depth: int = 0,
) -> tuple[_WorkingVolume, npt.NDArray[np.int64], F32]:
    """Padded baseline, patch centers (`depth` voxels below the surface), and correlation at all offsets."""
    fixed = a.coarsen(settings.coarseness).pad(settings.search.margin + 1)
    other = b.coarsen(settings.coarseness)
    warped = resample_volume(other.image, other.grid, fixed.grid, transform=transform, fill=1.0)
    inside = fixed.labels > 0
    if depth:
        inside = ndimage.distance_transform_cdt(inside, metric="chessboard") > depth
    centers = choose_centers(fixed.image, inside, settings.cell, start=start)
    # Where a scan cuts a lung, the lung appears to have a surface, which must not be matched.
    points = fixed.grid.lps_from_index(centers)
    margin_mm = settings.search.radius * WORK_MM * settings.coarseness
    far = a.cuts.are_far(points, margin_mm) & b.cuts.are_far(transform.apply(points), margin_mm)
    centers = centers[far]
    floor = (NOISE_HU / (CEILING_HU - FLOOR_HU)) ** 2
    return fixed, centers, correlate(fixed.image, warped, centers, settings.search, floor=floor)


def _refine(
    a: _WorkingVolume, b: _WorkingVolume, transform: Transform, settings: RegistrationRound
) -> tuple[Transform, int]:
    """One round: search around the mapped positions, and fit a new field to the matches."""
    fixed, centers, scores = _search_patches(a, b, transform, settings)
    step = fixed.grid.step_lps_mm
    per_mm: F64 = np.linalg.inv(step).astype(np.float64)
    points = fixed.grid.lps_from_index(centers)
    nodes_grid = _nodes(a.grid, settings.node_mm)
    nodes = displacement_field.weigh_nodes(nodes_grid, points)
    index = np.moveaxis(np.indices(nodes_grid.shape_zyx), 0, -1).reshape(-1, 3)
    node_points = nodes_grid.lps_from_index(index)
    field = transform.displacement_at(node_points).reshape(*nodes_grid.shape_zyx, 3)
    affine = points @ transform.matrix.T + transform.offset_lps_mm
    before = transform.displacement_at(points)
    lung_mm3 = float(np.count_nonzero(a.labels)) * a.grid.voxel_volume_mm3
    used = 0
    for coupling in COUPLINGS:
        expected = ((nodes @ field.reshape(-1, 3)) - before) @ per_mm
        offset, score, curvature = find_peaks(scores, expected, coupling)
        found = score > MIN_SCORE
        target = transform.apply(points + offset @ step) - affine
        precision = _precision(score, curvature, settings, per_mm)
        for _ in range(3):
            residual = np.linalg.norm(target - nodes @ field.reshape(-1, 3), axis=1)
            scale = max(0.5 * WORK_MM * settings.coarseness, 1.5 * float(np.median(residual[found])))
            trust = np.where(found, 1.0 / np.square(1.0 + np.square(residual / scale)), 0.0)
            weight = precision * trust[:, None, None]
            typical = float(np.trace(weight, axis1=1, axis2=2).sum()) / 3.0 / lung_mm3
            field = displacement_field.fit_field(
                nodes_grid, nodes, target, weight, start=field, stiffness=typical * settings.stiff_mm**4
            )
        used = int(np.count_nonzero(trust > 0.25))
    return _unfold(transform, nodes_grid, field), used


def _precision(score: F64, curvature: F64, settings: RegistrationRound, per_mm: F64) -> F64:
    """Inverse covariance [1/mm2] of the position of each peak, from its curvature and height."""
    n = settings.search.n_samples * INDEPENDENT_SHARE
    sure = n * np.clip(score, 0.0, 0.99) / (1.0 - np.square(np.clip(score, 0.0, 0.99)))
    values, axes = np.linalg.eigh(curvature * sure[:, None, None])
    values = np.maximum(values, 0.0)
    values = values / (1.0 + values * PEAK_ERROR_VOXELS**2)
    capped = np.einsum("nij,nj,nkj->nik", axes, values, axes)
    return np.asarray(np.einsum("ai,nij,bj->nab", per_mm, capped, per_mm))


def _nodes(grid: Grid, spacing_mm: float) -> Grid:
    """Grid of nodes over a working grid and two cells more on every side."""
    size = (np.asarray(grid.shape_zyx) - 1) * np.asarray(grid.spacing_zyx_mm)
    n = np.ceil(size / spacing_mm).astype(int) + 1
    middle = (np.asarray(grid.shape_zyx) - 1) / 2.0
    first = middle - (n - 1) / 2.0 * spacing_mm / np.asarray(grid.spacing_zyx_mm)
    whole = _regrid(grid, first, n, np.full(3, spacing_mm))
    return whole.crop((-2, -2, -2), n + 4)


def _unfold(transform: Transform, grid: Grid, field: F64) -> Transform:
    """The transform with a new field, smoothed until its Jacobian determinant is positive everywhere."""
    wanted = replace(transform, grid=grid, displacement_lps_mm=np.ascontiguousarray(field, dtype=np.float32))
    for _ in range(20):
        if wanted.min_jacobian() > MIN_JACOBIAN:
            break
        field = ndimage.gaussian_filter(field, (1.0, 1.0, 1.0, 0.0), mode="nearest")
        wanted = replace(wanted, displacement_lps_mm=np.ascontiguousarray(field, dtype=np.float32))
    return wanted


def _check(a: _WorkingVolume, b: _WorkingVolume, transform: Transform) -> tuple[float, float]:
    """Estimated mean error [mm] from patches that the map was not fitted to, and the share that agrees."""
    # Away from the surface, which can be aligned between different patients too.
    fixed, centers, scores = _search_patches(a, b, transform, CHECK, start=-3, depth=CHECK.search.radius)
    if not len(centers):
        return float("inf"), 0.0
    offset, score, _ = find_peaks(scores, np.zeros((len(centers), 3)), 0.0)
    miss = np.linalg.norm(offset @ fixed.grid.step_lps_mm, axis=1)
    found = score > 2.0 * MIN_SCORE
    agrees = found & (miss < AGREE_MM)
    error_mm = UNSEEN_FACTOR * float(miss[found].mean()) if found.any() else float("inf")
    return error_mm, float(agrees.mean())
