"""Turn fits into rows of the nodule table: volume, attenuation class, location and flags."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy import regions
from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules.features import FEATURE_NAMES
from miliary.image.nodules.measure import REFERENCE_HU, Fit
from miliary.image.quality.blur import profile_fwhm_mm
from miliary.model.ct_result import Noise, Psf
from miliary.model.nodules import COLUMN_NAMES, Attenuation, NoduleFlag, Nodules
from miliary.model.scan import Grid

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

MG_PER_HU_MM3 = 0.001
MIN_CONTRAST_HU = 100.0
# Brighter than any soft tissue by more than noise: calcium.
CALCIFIED_HU = 160.0
CALCIFIED_EXCESS_HU = 100.0
# Half-maximum width over that of a solid ball of the same excess: broader means less dense.
SUBSOLID_WIDTH_RATIO = 1.22
RESOLVED_FWHM = 2.0
ATTACHED_BRIGHTNESS = 0.45
POOR_MISFIT = 2.5
EDGE_MM = 3.0
COLUMN = {name: number for number, name in enumerate(FEATURE_NAMES)}


def describe_nodules(
    fit: Fit,
    features: F32,
    probability: F64,
    *,
    box: LungBox,
    grid: Grid,
    psf: Psf,
    noise: Noise,
    is_clipped: bool,
) -> Nodules:
    """Make the nodule table of fitted nodules.

    Parameters
    ----------
    fit : Fit
        Fits of n nodules.
    features : ndarray of float32, shape (n, features)
        Features of the same nodules, from `features.measure_features`.
    probability : ndarray, shape (n,)
        Probability of being a nodule, 0 to 1.
    box : LungBox
        The lungs.
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
    Nodules
        One row per nodule in the given order, numbered from 1; no rows for n = 0.
    """
    n = len(probability)
    if not n:
        return Nodules.empty()
    index = fit.position_mm / np.asarray(box.spacing_zyx_mm)
    volume, volume_err = measure_volume(fit)
    diameter = np.cbrt(6.0 * volume / np.pi)
    depth = regions.measure_distance_to_surface(box.labels, box.spacing_zyx_mm, index)
    side, zone = regions.locate(box.labels, index)
    point = grid.lps_from_index(index + np.asarray(box.start_zyx))
    attenuation = classify_attenuation(fit, features, diameter, psf=psf, noise=noise)
    flags = _collect_flags(
        fit, features, diameter, depth, attenuation, index=index, box=box, grid=grid, is_clipped=is_clipped
    )
    values = (
        np.arange(1, n + 1, dtype=np.int64),
        *point.T,
        diameter,
        diameter / 3.0 * volume_err / volume,
        volume,
        volume_err,
        fit.excess_hu_mm3 * MG_PER_HU_MM3,
        probability,
        attenuation,
        side,
        zone,
        depth,
        flags,
    )
    return Nodules(dict(zip(COLUMN_NAMES, values, strict=True)))


def measure_volume(fit: Fit) -> tuple[F64, F64]:
    """Solid-equivalent volume of each fitted nodule.

    The volume of a nodule of `REFERENCE_HU` with the same integrated excess attenuation.

    Parameters
    ----------
    fit : Fit
        Fits of n nodules.

    Returns
    -------
    volume_mm3, volume_mm3_err : ndarray of float64, shape (n,)
        Volume and its one-sigma error [mm3].
    """
    # Inside dense tissue a solid nodule has hardly any contrast, and the quotient would diverge.
    contrast = np.maximum(REFERENCE_HU - fit.background_hu, MIN_CONTRAST_HU)
    return fit.excess_hu_mm3 / contrast, fit.excess_hu_mm3_err / contrast


def classify_attenuation(
    fit: Fit, features: F32, diameter: F64, *, psf: Psf, noise: Noise
) -> npt.NDArray[np.object_]:
    """Attenuation class of each nodule: solid, subsolid, calcified or unresolved.

    Parameters
    ----------
    fit : Fit
        Fits of n nodules.
    features : ndarray of float32, shape (n, features)
        Features of the same nodules.
    diameter : ndarray, shape (n,)
        Solid-equivalent diameters [mm].
    psf : Psf
        Blur of the scan.
    noise : Noise
        Noise of the scan.

    Returns
    -------
    ndarray of str (object), shape (n,)
        Values of `Attenuation`; ``unresolved`` below two blur widths, where size and density cannot be
        separated, unless plainly calcified.
    """
    fwhm = float(np.cbrt(np.prod(profile_fwhm_mm(psf))))
    # Half-maximum width of a solid ball of this diameter in the smoothed volume: size and blur in squares.
    blur = np.hypot(fwhm, 0.5 * 2.3548)
    expected = np.sqrt((0.92 * diameter) ** 2 + 0.8 * blur**2)
    ratio = features[:, COLUMN["width_mid"]] / expected
    # A sharp kernel makes solid nodules overshoot too, so the peak is compared with that of the model.
    bright = fit.peak_hu > CALCIFIED_HU + 2.0 * noise.sd_hu
    bright &= fit.peak_hu - fit.model_peak_hu > CALCIFIED_EXCESS_HU + 2.0 * noise.sd_hu
    resolved = diameter >= RESOLVED_FWHM * fwhm
    return np.select(
        [bright, ~resolved, ratio > SUBSOLID_WIDTH_RATIO],
        [Attenuation.CALCIFIED.value, Attenuation.UNRESOLVED.value, Attenuation.SUBSOLID.value],
        Attenuation.SOLID.value,
    ).astype(object)


def _collect_flags(
    fit: Fit,
    features: F32,
    diameter: F64,
    depth: F64,
    attenuation: npt.NDArray[np.object_],
    *,
    index: F64,
    box: LungBox,
    grid: Grid,
    is_clipped: bool,
) -> npt.NDArray[np.object_]:
    """`;`-joined flags of each row."""
    height = (index[:, 0] + box.start_zyx[0]) * grid.spacing_zyx_mm[0]
    top = (grid.shape_zyx[0] - 1) * grid.spacing_zyx_mm[0]
    pleura = depth < 0.5 * diameter + 0.7
    conditions = {
        NoduleFlag.VESSEL_ATTACHED: (features[:, COLUMN["branch1_3.3"]] > ATTACHED_BRIGHTNESS) & ~pleura,
        NoduleFlag.PLEURA_ATTACHED: pleura,
        NoduleFlag.BLENDED: _find_blends(fit.position_mm, diameter),
        NoduleFlag.FIT_POOR: fit.misfit > POOR_MISFIT,
        NoduleFlag.BELOW_RESOLUTION: attenuation == Attenuation.UNRESOLVED.value,
        NoduleFlag.CLIPPED_HU: np.full(len(index), is_clipped),
        NoduleFlag.EDGE_OF_SCAN: (height < EDGE_MM) | (height > top - EDGE_MM),
    }
    out = np.empty(len(index), dtype=object)
    for row in range(len(index)):
        out[row] = ";".join(flag.value for flag, where in conditions.items() if where[row])
    return out


def _find_blends(position_mm: F64, diameter: F64) -> npt.NDArray[np.bool_]:
    """Which nodules have a blurred outline that overlaps that of a neighbor."""
    from scipy.spatial import cKDTree

    blended = np.zeros(len(position_mm), dtype=bool)
    if len(position_mm) > 1:
        distance, other = cKDTree(position_mm).query(position_mm, k=2)
        blended = distance[:, 1] < 0.5 * (diameter + diameter[other[:, 1]]) + 1.0
    return blended
