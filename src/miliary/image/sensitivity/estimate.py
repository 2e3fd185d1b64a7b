"""Completeness of one scan: the steps from injected nodules to corrected counts and volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.nodules.detect import DetectionRun
from miliary.image.sensitivity import excess, unfolding
from miliary.image.sensitivity.false_positives import BAND, estimate_false_positives
from miliary.image.sensitivity.injection import N_INJECTED, Recovery, inject_and_recover
from miliary.image.sensitivity.location_factor import Crowding, estimate_location_factor, measure_crowding
from miliary.image.sensitivity.unfolding import (
    CENTERS_MM,
    EDGES_MM,
    CompletenessCurve,
    Corrected,
    SizeResponse,
)
from miliary.model.completeness import LEAST_DIAMETER_MM, Completeness, Estimate, FalseMarks, Threshold
from miliary.model.ct_result import Noise, Psf
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.pattern import PatternLabel
from miliary.model.scan import ScanWarning

F64 = npt.NDArray[np.float64]

# Diameters at which the curve and the cumulative numbers are stated.
CURVE_MM = np.round(np.geomspace(0.6, 10.0, 57), 3)
STEP_MM = 0.1
LAST_MM = 6.0
# From this diameter a nodule is reported as a lesion and not corrected.
LARGEST_MM = 8.0
# With half of the nodules missed at a larger diameter, most of a miliary disease is not seen.
MAX_DIAMETER_50_MM = 2.0
# One-sigma uncertainties beyond sampling, from development scans: relative, of all diameters together, larger
# where the blur was not calibrated on nodules; and of the log-odds of detection, since real nodules are no
# balls.
SCALE_ERROR = 0.016
ASSUMED_SCALE_ERROR = 0.07
MODEL_ERROR = 0.2
N_CURVES = 400
# Limits [mm] of typical nodules, and the relative error of their diameter beyond which nothing is corrected.
TYPICAL_MM, MAX_BIAS = (2.0, 2.5), 0.2
# Diameter for which the effect of the location of nodules is stated.
LOCATION_MM = 2.0


@dataclass(frozen=True)
class ReportedNodules:
    """The reported nodules that count as disease, and the candidates around the threshold.

    Parameters
    ----------
    position_mm : ndarray of float64, shape (n, 3)
        Centers (z, y, x) from the first voxel of the box [mm].
    diameter_mm : ndarray of float64, shape (n,)
        Measured diameters [mm].
    probability : ndarray of float64, shape (n,)
        Probability of being a nodule, 0 to 1.
    margin : ndarray of float64, shape (m,)
        Log-odds minus those of the threshold of all candidates down to `injection.LOWEST_MARGIN`.
    litres : float
        Volume of the lungs [L].
    slice_mm : float
        Slice thickness [mm].
    """

    position_mm: F64
    diameter_mm: F64
    probability: F64
    margin: F64
    litres: float
    slice_mm: float


def list_reported(
    nodules: Nodules, position_mm: F64, margin: F64, *, litres: float, slice_mm: float
) -> ReportedNodules:
    """Select the nodules whose count is corrected: not calcified, no lesions, not added by a reader.

    Nodules that a reader added are left out, since the correction already estimates how many were missed.

    Parameters
    ----------
    nodules : Nodules
        All n nodules of the scan.
    position_mm : ndarray, shape (n, 3)
        Their centers (z, y, x) from the first voxel of the box [mm].
    margin : ndarray, shape (m,)
        From `injection.list_margins`.
    litres : float
        Volume of the lungs [L].
    slice_mm : float
        Slice thickness [mm].

    Returns
    -------
    ReportedNodules
    """
    size = nodules["diameter_mm"]
    disease = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & np.isfinite(size)
    disease &= (size < LARGEST_MM) & ~nodules.is_reader_added
    return ReportedNodules(
        position_mm[disease], size[disease], nodules["probability"][disease], margin, litres, slice_mm
    )


def estimate_completeness(
    detection: DetectionRun,
    nodules: Nodules,
    position_mm: F64,
    margin: F64,
    *,
    litres: float,
    slice_mm: float,
    n_injected: int = N_INJECTED,
    seed: int = 0,
    recovery: Recovery | None = None,
) -> Completeness:
    """Measure the completeness of one scan with injected nodules, and correct its count and volume.

    Parameters
    ----------
    detection : DetectionRun
        The run that reported the nodules.
    nodules : Nodules
        All n nodules, measured, including those that a reader added.
    position_mm : ndarray, shape (n, 3)
        Their centers (z, y, x) from the first voxel of the box [mm].
    margin : ndarray, shape (m,)
        From `injection.list_margins`.
    litres : float
        Volume of the lungs [L].
    slice_mm : float
        Slice thickness [mm].
    n_injected : int
        Number of nodules to inject.
    seed : int
        Seed of all random numbers.
    recovery : Recovery, optional
        Result of an earlier injection into this scan, used instead of a new one.

    Returns
    -------
    Completeness
        With the reason, and without corrected numbers, where the scan does not allow them.
    """
    recovery = recovery or inject_and_recover(detection, n=n_injected, seed=seed)
    reported = list_reported(nodules, position_mm, margin, litres=litres, slice_mm=slice_mm)
    background_hu = measure_background(detection)
    crowding = compare_crowding(detection, recovery, reported, background_hu=background_hu)
    found = correct_for_completeness(
        recovery, reported, detection.noise, detection.psf, crowding=crowding, seed=seed
    )
    check = excess.check_excess(
        found,
        excess.measure_blobness(detection.box, detection.smooth_hu),
        psf=detection.psf,
        spacing_zyx_mm=detection.box.spacing_zyx_mm,
        background_hu=background_hu,
    )
    found = replace(found, excess=check)
    return include_reader_added(found, nodules) if nodules.is_reader_added.any() else found


def compare_crowding(
    detection: DetectionRun, recovery: Recovery, reported: ReportedNodules, *, background_hu: float
) -> Crowding:
    """Measure how crowded the surroundings of the injected and of the reported nodules are.

    Parameters
    ----------
    detection : DetectionRun
        The lungs.
    recovery : Recovery
        The injected nodules.
    reported : ReportedNodules
        The reported nodules.
    background_hu : float
        Attenuation of the lung between vessels [HU].

    Returns
    -------
    Crowding
    """
    groups = ((recovery.position_mm, recovery.diameter_mm), (reported.position_mm, reported.diameter_mm))
    return Crowding(
        *(
            measure_crowding(detection.box, detection.smooth_hu, *group, background_hu=background_hu)
            for group in groups
        )
    )


def list_warnings(completeness: Completeness | None, pattern: PatternLabel) -> tuple[ScanWarning, ...]:
    """Warnings for whoever uses the corrected numbers.

    Parameters
    ----------
    completeness : Completeness or None
        None where it was not measured; then there are no warnings.
    pattern : PatternLabel
        Spatial pattern of the nodules.

    Returns
    -------
    tuple of ScanWarning
    """
    if completeness is None:
        return ()
    out = []
    if completeness.at_least and pattern is PatternLabel.PERILYMPHATIC:
        text = (
            "The corrected count is likely too low: it is learned at random places, and of nodules that sit "
            "on vessels and pleura more are missed."
        )
        out.append(ScanWarning("count_too_low_on_surfaces", text))
    if completeness.excess is not None and not completeness.excess.agrees:
        total = completeness.excess.total_volume_mm3
        text = (
            f"The corrected volume disagrees with that of all blob-like attenuation, {total.value:.0f} mm3 "
            f"({total.low:.0f} to {total.high:.0f}): look at the marks before relying on it."
        )
        out.append(ScanWarning("excess_disagrees", text))
    return tuple(out)


def measure_background(detection: DetectionRun) -> float:
    """Median attenuation of the lung.

    Parameters
    ----------
    detection : DetectionRun
        The lungs.

    Returns
    -------
    float
        Attenuation [HU]; -850 where there is no lung.
    """
    inside = detection.smooth_hu[detection.box.labels > 0]
    return float(np.median(inside[:: max(1, len(inside) // 100_000)])) if len(inside) else -850.0


def include_reader_added(found: Completeness, nodules: Nodules) -> Completeness:
    """Raise corrected numbers to at least what the program and a reader have counted together.

    Parameters
    ----------
    found : Completeness
        Corrected numbers from the nodules that the program reported.
    nodules : Nodules
        All nodules, including those that a reader added.

    Returns
    -------
    Completeness
    """
    size, volume = nodules["diameter_mm"], nodules["volume_mm3"]
    disease = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & (size < LARGEST_MM)
    rows = []
    for row in found.at_least:
        counted = disease & (size >= row.diameter_mm)
        rows.append(
            replace(
                row,
                count=_raise_to(row.count, float(np.count_nonzero(counted))),
                total_volume_mm3=_raise_to(row.total_volume_mm3, float(volume[counted].sum())),
            )
        )
    return replace(found, at_least=tuple(rows))


def _raise_to(estimate: Estimate, least: float) -> Estimate:
    return Estimate(*(max(value, least) for value in (estimate.value, estimate.low, estimate.high)))


def correct_for_completeness(
    recovery: Recovery,
    reported: ReportedNodules,
    noise: Noise,
    psf: Psf,
    *,
    crowding: Crowding | None = None,
    seed: int = 0,
) -> Completeness:
    """Correct count and volume of the reported nodules, from the recovery of injected ones.

    Parameters
    ----------
    recovery : Recovery
        Injected nodules and which of them were found.
    reported : ReportedNodules
        The reported nodules.
    noise : Noise
        Noise of the scan.
    psf : Psf
        Blur of the scan; its `source` decides the uncertainty of all diameters.
    crowding : Crowding, optional
        Without it the reported nodules are assumed to lie at random, like the injected ones.
    seed : int
        Seed of all random numbers.

    Returns
    -------
    Completeness
        With the reason, and without corrected numbers, where half of the nodules are found only beyond 2 mm,
        where too few injected nodules were found, or where diameters cannot be measured.
    """
    curve = unfolding.fit_curve(recovery)
    stated = _state_curve(recovery, curve, seed)
    reason = _find_reason(recovery, stated.diameter_50_mm, psf)
    if reason:
        return replace(stated, reason=reason)
    response = unfolding.measure_response(recovery)
    typical = np.abs(np.interp(np.log(TYPICAL_MM), np.log(CENTERS_MM), response.bias))
    if typical.max() > MAX_BIAS:
        reason = (
            f"not measurable: simulated nodules of {TYPICAL_MM[int(typical.argmax())]:g} mm are measured "
            f"{100 * np.expm1(typical.max()):.0f} % wrong on this scan, since its blur could not be told"
        )
        return replace(stated, reason=reason)
    counted = unfolding.count_by_diameter(reported.diameter_mm)
    false_positives, log_sd, false = _estimate_false(recovery, reported, counted, curve, response, noise)
    location = None
    if crowding is not None:
        location = estimate_location_factor(
            recovery, crowding, reported.diameter_mm, reported.probability, seed=seed
        )
    corrected = unfolding.correct_counts(
        counted,
        false,
        curve,
        response,
        false_log_sd=log_sd,
        scale_error=SCALE_ERROR if psf.source == "nodules" else ASSUMED_SCALE_ERROR,
        model_error=MODEL_ERROR,
        location=location,
        seed=seed,
    )
    least = max(LEAST_DIAMETER_MM, float(stated.diameter_50_mm or LEAST_DIAMETER_MM))
    return replace(
        stated,
        size_bias=_row(np.expm1(np.interp(CURVE_MM, CENTERS_MM, response.bias))),
        size_scatter=_row(np.interp(CURVE_MM, CENTERS_MM, response.scatter)),
        false_marks=false_positives,
        at_least=_state_thresholds(corrected, least),
        edges_mm=_row(EDGES_MM),
        counts=_row(np.where(corrected.number < unfolding.TRACE, 0.0, corrected.number)),
        place_factor=None if location is None else float(location.at(np.array([LOCATION_MM]))[0]),
    )


def _state_curve(recovery: Recovery, curve: CompletenessCurve, seed: int) -> Completeness:
    """The part of `Completeness` that follows from the injected nodules alone."""
    drawn = curve.draw(CURVE_MM, N_CURVES, np.random.default_rng([seed, 53]))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    levels = np.unique(recovery.diameter_mm)
    # Neighboring levels together: some fifty nodules make one point of a figure.
    groups = np.array_split(levels, max(1, len(levels) // 3)) if len(levels) else []
    inside = [np.isin(recovery.diameter_mm, group) for group in groups]
    return Completeness(
        n_injected=len(recovery),
        n_found=int(np.count_nonzero(recovery.is_found)),
        curve_mm=_row(CURVE_MM),
        curve=_row(curve.at(CURVE_MM)),
        curve_low=_row(low),
        curve_high=_row(high),
        points_mm=tuple(float(np.exp(np.mean(np.log(group)))) for group in groups),
        points=tuple(float(np.mean(recovery.is_found[rows])) for rows in inside),
        points_n=tuple(int(np.count_nonzero(rows)) for rows in inside),
        size_bias=_row(np.zeros(len(CURVE_MM))),
        size_scatter=_row(np.zeros(len(CURVE_MM))),
        diameter_50_mm=curve.find_diameter_mm(0.5),
        diameter_90_mm=curve.find_diameter_mm(0.9),
    )


def _find_reason(recovery: Recovery, diameter_50_mm: float | None, psf: Psf) -> str:
    """Why this scan cannot be corrected; empty where it can."""
    if psf.source == "unclear":
        return "not measurable: the blur of this scan could not be told, its marks are too wide for nodules"
    n_found = int(np.count_nonzero(recovery.is_found))
    if n_found < unfolding.MIN_FOUND or diameter_50_mm is None:
        return f"not measurable: of {len(recovery)} simulated nodules {n_found} were found on this scan"
    if diameter_50_mm > MAX_DIAMETER_50_MM:
        return (
            f"not measurable: half of the nodules are found only from {diameter_50_mm:.1f} mm on "
            f"(limit {MAX_DIAMETER_50_MM:g} mm); thinner slices would show smaller ones"
        )
    return ""


def _estimate_false(
    recovery: Recovery,
    reported: ReportedNodules,
    counted: F64,
    curve: CompletenessCurve,
    response: SizeResponse,
    noise: Noise,
) -> tuple[FalseMarks, float, F64]:
    """Expected false positives, one-sigma error of their logarithm, and number per bin, shape (bins,)."""
    weight = unfolding.count_by_diameter(reported.diameter_mm, 1.0 - reported.probability)
    shape = weight / max(float(weight.sum()), 1e-9)
    in_band = _find_share_in_band(recovery)
    nodules_in_band = 0.0
    # The missed nodules in the band depend on the number of false positives and the reverse: iterate.
    for _ in range(3):
        found, log_sd = estimate_false_positives(
            reported.margin,
            reported.probability,
            nodules_in_band=nodules_in_band,
            n_reported=len(reported.diameter_mm),
            litres=reported.litres,
            slice_mm=reported.slice_mm,
            noise=noise,
        )
        false = np.minimum(found.expected.value * shape, 0.95 * counted)
        number = unfolding.unfold(counted, false, curve.at(CENTERS_MM), response.matrix)
        nodules_in_band = float(number @ in_band)
    return found, log_sd, false


def _find_share_in_band(recovery: Recovery) -> F64:
    """Share of nodules that become candidates in `BAND`, per bin of true diameter, shape (bins,)."""
    margin = np.nan_to_num(recovery.margin, nan=-np.inf)
    inside = (margin >= BAND[0]) & (margin < BAND[1])
    weight = np.exp(-0.5 * ((np.log(recovery.diameter_mm) - np.log(CENTERS_MM)[:, None]) / 0.1) ** 2) + 1e-12
    return np.asarray((weight @ inside) / weight.sum(axis=1))


def _state_thresholds(corrected: Corrected, least_mm: float) -> tuple[Threshold, ...]:
    """Corrected numbers of at least `least_mm`, and of at least each further 0.1 mm."""
    first = np.ceil(least_mm / STEP_MM + 1e-6) * STEP_MM
    at = [least_mm, *np.round(np.arange(first, LAST_MM + 1e-6, STEP_MM), 3)]
    return tuple(Threshold(float(d), *corrected.measure(float(d))) for d in at)


def _row(values: F64) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
