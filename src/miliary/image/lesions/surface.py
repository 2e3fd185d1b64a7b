"""Cut vessels from a lesion where they leave its surface.

A smooth surface is fitted to the lesion robustly, so that protrusions hardly affect it. A protrusion that
continues is a vessel and is cut off at the surface; one that ends is a lobe of the lesion and kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DEGREES, ROUNDS = (2, 4), 12
# Scale of the robust weight: lobes protrude by about this much, vessels by more.
SCALE_MM = 0.7
STEP_MM = 0.35
# A vessel is searched beyond the first distance from the surface, and removed beyond the second, up to the
# third around it.
EXCESS_MM, KEPT_MM, AROUND_MM = 0.8, 0.3, 2.0
# A protrusion continues if it reaches farther beyond the surface than this, and than this share of the
# radius.
REACH_MM, REACH_SHARE = 3.0, 0.3


def find_vessels(mask: Mask, dense: Mask, center_zyx: F64, spacing_mm: F64, directions: F64) -> Mask:
    """Find the parts of dense tissue at a lesion that are vessels touching it or leading into it.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        The lesion with its cavity filled, vessels included as far as they were followed.
    dense : ndarray of bool, same shape
        All dense tissue, whether of the lesion or not.
    center_zyx : ndarray, shape (3,)
        Center of the lesion as an index of `mask`.
    spacing_mm : ndarray, shape (3,)
        Voxel spacing (z, y, x) [mm].
    directions : ndarray, shape (n, 3)
        Evenly distributed unit vectors (z, y, x).

    Returns
    -------
    ndarray of bool, same shape
        True in vessels; nowhere true if the center is not in the mask.
    """
    vessels = np.zeros_like(mask)
    if not mask[tuple(np.round(center_zyx).astype(int))]:
        return vessels
    distance = _measure_distances(mask, center_zyx, spacing_mm, directions)
    weights, level = fit_surface(directions, distance)
    least = max(REACH_MM, REACH_SHARE * float(np.median(distance)))
    points = np.argwhere(mask | dense)
    offset = (points - center_zyx) * spacing_mm
    away = np.linalg.norm(offset, axis=1)
    # Points far inside or beyond the surface do not matter.
    near = (away > level.min() - least) & (away < level.max() + 2.0 * least)
    points, offset, away = points[near], offset[near], away[near]
    surface = _expand(offset / np.maximum(away, 1e-9)[:, None], DEGREES[-1]) @ weights
    beyond = np.full(mask.shape, -np.inf, dtype=np.float32)
    beyond[tuple(points.T)] = away - surface
    labels, n = ndimage.label(dense & (beyond > EXCESS_MM))
    reach = np.zeros(n + 1)
    np.maximum.at(reach, labels[tuple(points.T)], away - surface)
    reach[0] = 0.0
    goes_on = (reach > least)[labels]
    if goes_on.any():
        around = ndimage.distance_transform_edt(~goes_on, sampling=spacing_mm) < AROUND_MM
        vessels = around & (beyond > KEPT_MM)
    return np.asarray(vessels)


def fit_surface(directions: F64, distance_mm: F64) -> tuple[F64, F64]:
    """Fit a smooth closed surface robustly to distances from its center.

    Polynomials on the sphere, fitted by iteratively reweighted least squares in which distances beyond the
    surface count less.

    Parameters
    ----------
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x).
    distance_mm : ndarray, shape (n,)
        Distance to the surface along each direction [mm].

    Returns
    -------
    weights : ndarray of float64
        Coefficients of the terms.
    level : ndarray of float64, shape (n,)
        Distance of the fitted surface along each direction [mm].
    """
    level: F64 = np.full(len(distance_mm), np.median(distance_mm))
    weights: F64 = np.zeros(0)
    for degree in DEGREES:
        terms = _expand(directions, degree)
        for _ in range(ROUNDS):
            excess = np.maximum(distance_mm - level, 0.0)
            trust = 1.0 / (1.0 + (excess / SCALE_MM) ** 2)
            found = np.linalg.lstsq(terms * trust[:, None], distance_mm * trust, rcond=None)[0]
            weights = np.asarray(found, dtype=np.float64)
            level = np.asarray(terms @ weights)
    return weights, level


def _expand(unit: F64, degree: int) -> F64:
    """Monomials of unit vectors (n, 3) of this degree and one less, which span all lower degrees too."""
    powers = unit.T[:, None, :] ** np.arange(degree + 1)[None, :, None]
    terms = [
        powers[0, a] * powers[1, b] * powers[2, n - a - b]
        for n in (degree, degree - 1)
        for a in range(n + 1)
        for b in range(n + 1 - a)
    ]
    return np.stack(terms, axis=1)


def _measure_distances(mask: Mask, center: F64, spacing: F64, directions: F64) -> F64:
    """Distance from the center to where the mask is first left [mm], along each direction."""
    longest = float(np.linalg.norm(np.asarray(mask.shape) * spacing))
    steps = np.arange(0.0, longest, STEP_MM)
    at = np.round(center + steps[None, :, None] * (directions / spacing)[:, None, :]).astype(int)
    inside = ((at >= 0) & (at < mask.shape)).all(axis=2)
    at = np.clip(at, 0, np.asarray(mask.shape) - 1)
    left = ~(mask[at[..., 0], at[..., 1], at[..., 2]] & inside)
    return np.asarray((left.argmax(axis=1) - 0.5) * STEP_MM)
