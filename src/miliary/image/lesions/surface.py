"""Cut vessels from a lesion where they leave its surface.

A smooth surface is fitted around the lesion that what stands out of it hardly moves. What stands out and
goes on is a vessel and ends there; what stands out and ends is a lobe of the lesion and stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DEGREES, ROUNDS = (2, 4), 12
# Beyond this an excess counts less and less; lobes are that high, vessels higher.
SCALE_MM = 0.7
STEP_MM = 0.35
EXCESS_MM, KEPT_MM, BESIDE_MM = 0.8, 0.3, 2.0
# What reaches further beyond the surface than this, or this share of the radius, goes on.
REACH_MM, REACH_SHARE = 3.0, 0.3


def find_vessels(mask: Mask, dense: Mask, center_zyx: F64, spacing_mm: F64, directions: F64) -> Mask:
    """What of the dense tissue at a lesion is a vessel that touches it or leads into it.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        The lesion with its cavity filled, vessels included as far as they were followed.
    dense : ndarray of bool, same shape
        All that is dense, whether the lesion's or not.
    center_zyx : ndarray, shape (3,)
        Middle of the lesion as an index.
    spacing_mm : ndarray, shape (3,)
    directions : ndarray, shape (n, 3)
        Unit vectors (z, y, x) spread evenly.

    Returns
    -------
    ndarray of bool
        Empty where the middle is not in the mask.
    """
    vessels = np.zeros_like(mask)
    if not mask[tuple(np.round(center_zyx).astype(int))]:
        return vessels
    way = _measure_ways(mask, center_zyx, spacing_mm, directions)
    weights, level = fit_surface(directions, way)
    least = max(REACH_MM, REACH_SHARE * float(np.median(way)))
    points = np.argwhere(mask | dense)
    offset = (points - center_zyx) * spacing_mm
    away = np.linalg.norm(offset, axis=1)
    # What is far within or beyond the surface decides nothing.
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
        beside = ndimage.distance_transform_edt(~goes_on, sampling=spacing_mm) < BESIDE_MM
        vessels = beside & (beyond > KEPT_MM)
    return np.asarray(vessels)


def fit_surface(directions: F64, way_mm: F64) -> tuple[F64, F64]:
    """A smooth surface through most of the ways, that single long ones do not pull outward.

    Returns the weights of its terms and its own ways along the directions [mm].
    """
    level: F64 = np.full(len(way_mm), np.median(way_mm))
    weights: F64 = np.zeros(0)
    for degree in DEGREES:
        terms = _expand(directions, degree)
        for _ in range(ROUNDS):
            excess = np.maximum(way_mm - level, 0.0)
            trust = 1.0 / (1.0 + (excess / SCALE_MM) ** 2)
            found = np.linalg.lstsq(terms * trust[:, None], way_mm * trust, rcond=None)[0]
            weights = np.asarray(found, dtype=np.float64)
            level = np.asarray(terms @ weights)
    return weights, level


def _expand(unit: F64, degree: int) -> F64:
    """Products of the components of unit vectors of this degree and one less: all smooth functions below."""
    powers = unit.T[:, None, :] ** np.arange(degree + 1)[None, :, None]
    terms = [
        powers[0, a] * powers[1, b] * powers[2, n - a - b]
        for n in (degree, degree - 1)
        for a in range(n + 1)
        for b in range(n + 1 - a)
    ]
    return np.stack(terms, axis=1)


def _measure_ways(mask: Mask, center: F64, spacing: F64, directions: F64) -> F64:
    """Way from the middle to where the mask is first left [mm]."""
    longest = float(np.linalg.norm(np.asarray(mask.shape) * spacing))
    steps = np.arange(0.0, longest, STEP_MM)
    at = np.round(center + steps[None, :, None] * (directions / spacing)[:, None, :]).astype(int)
    inside = ((at >= 0) & (at < mask.shape)).all(axis=2)
    at = np.clip(at, 0, np.asarray(mask.shape) - 1)
    left = ~(mask[at[..., 0], at[..., 1], at[..., 2]] & inside)
    return np.asarray((left.argmax(axis=1) - 0.5) * STEP_MM)
