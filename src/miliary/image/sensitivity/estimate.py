"""Completeness of one scan, and what its marks stand for: the steps from injection to corrected numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.nodules.detect import DetectionRun
from miliary.image.sensitivity import excess, unfolding
from miliary.image.sensitivity.false_positives import BAND, estimate_false_marks
from miliary.image.sensitivity.injection import N_INJECTED, Recovery, inject_and_recover
from miliary.image.sensitivity.placement import Crowding, estimate_place_factor, measure_crowding
from miliary.image.sensitivity.unfolding import CENTERS_MM, EDGES_MM, VOLUMES_MM3, Corrected, Curve, Response
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
# From this size on a mark is a lesion of its own, not one of many.
LARGEST_MM = 8.0
# Beyond this half of the nodules of a miliary disease are not seen, and what is seen does not tell of them.
MAX_DIAMETER_50_MM = 2.0
# One-sigma uncertainties beyond sampling, from development scans: of all diameters together, and more
# where too few nodules told the blur; and of the odds of detection, since real nodules are no balls.
SCALE_ERROR = 0.016
ASSUMED_SCALE_ERROR = 0.07
MODEL_ERROR = 0.2
N_CURVES = 400
# Where nodules of these sizes are measured as wrongly as this, sizes mean nothing.
TYPICAL_MM, MAX_BIAS = (2.0, 2.5), 0.2
# Diameter for which the effect of the marks' places is stated.
PLACE_MM = 2.0


@dataclass(frozen=True)
class Marks:
    """The reported marks that count as disease, and the candidates around the threshold.

    Parameters
    ----------
    position_mm : ndarray, shape (n, 3)
        (z, y, x) from the first voxel of the box [mm].
    diameter_mm, probability : ndarray, shape (n,)
    margin : ndarray, shape (m,)
        Log-odds over the threshold of all candidates down to `injection.LOWEST_MARGIN`.
    litres : float
        Of lung.
    slice_mm : float
        Thickness of a slice.
    """

    position_mm: F64
    diameter_mm: F64
    probability: F64
    margin: F64
    litres: float
    slice_mm: float


def list_marks(nodules: Nodules, position_mm: F64, margin: F64, *, litres: float, slice_mm: float) -> Marks:
    """The marks of a scan that are corrected: neither calcified, as large as a lesion, nor a reader's.

    What a reader added is among what the program is already expected to miss.

    Parameters
    ----------
    nodules : Nodules
    position_mm : ndarray, shape (n, 3)
        Of all nodules, from the first voxel of the box [mm].
    margin : ndarray, shape (m,)
    litres, slice_mm : float
        As for `Marks`.

    Returns
    -------
    Marks
    """
    size = nodules["diameter_mm"]
    disease = (nodules["attenuation"] != Attenuation.CALCIFIED.value) & np.isfinite(size)
    disease &= (size < LARGEST_MM) & ~nodules.is_reader_added
    return Marks(
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
    """Inject, recover, and correct the numbers of one scan.

    Parameters
    ----------
    detection : DetectionRun
        How the marks were made.
    nodules : Nodules
        All marks, measured.
    position_mm : ndarray, shape (n, 3)
        Where they are, from the first voxel of the box [mm].
    margin : ndarray, shape (m,)
        From `injection.list_margins`.
    litres : float
        Of lung.
    slice_mm : float
        Thickness of a slice.
    n_injected : int
    seed : int
    recovery : Recovery, optional
        What was injected already, instead.

    Returns
    -------
    Completeness
    """
    recovery = recovery or inject_and_recover(detection, n=n_injected, seed=seed)
    marks = list_marks(nodules, position_mm, margin, litres=litres, slice_mm=slice_mm)
    background_hu = measure_background(detection)
    crowding = compare_crowding(detection, recovery, marks, background_hu=background_hu)
    found = correct_marks(recovery, marks, detection.noise, detection.psf, crowding=crowding, seed=seed)
    check = excess.check_excess(
        found,
        excess.measure_blobness(detection.box, detection.smooth_hu),
        psf=detection.psf,
        spacing_zyx_mm=detection.box.spacing_zyx_mm,
        background_hu=background_hu,
    )
    found = replace(found, excess=check)
    return hold_added(found, nodules) if nodules.is_reader_added.any() else found


def compare_crowding(
    detection: DetectionRun, recovery: Recovery, marks: Marks, *, background_hu: float
) -> Crowding:
    """How crowded the places of the injected nodules and of the marks are."""
    places = ((recovery.position_mm, recovery.diameter_mm), (marks.position_mm, marks.diameter_mm))
    return Crowding(
        *(
            measure_crowding(detection.box, detection.smooth_hu, *place, background_hu=background_hu)
            for place in places
        )
    )


def list_warnings(completeness: Completeness | None, pattern: PatternLabel) -> tuple[ScanWarning, ...]:
    """What a reader of the corrected numbers must know."""
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
    """Attenuation of the lung between vessels."""
    inside = detection.smooth_hu[detection.box.labels > 0]
    return float(np.median(inside[:: max(1, len(inside) // 100_000)])) if len(inside) else -850.0


def hold_added(found: Completeness, nodules: Nodules) -> Completeness:
    """Corrected numbers that are never below what the program and the reader have counted.

    Parameters
    ----------
    found : Completeness
        From the program's marks alone.
    nodules : Nodules
        All marks, the reader's included.
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


def correct_marks(
    recovery: Recovery,
    marks: Marks,
    noise: Noise,
    psf: Psf,
    *,
    crowding: Crowding | None = None,
    seed: int = 0,
) -> Completeness:
    """Corrected numbers from injected nodules that were recovered.

    Parameters
    ----------
    recovery : Recovery
    marks : Marks
    noise : Noise
    psf : Psf
    crowding : Crowding, optional
        Without it nodules are taken to lie as the injected ones do.
    seed : int

    Returns
    -------
    Completeness
        Without corrected numbers, and with the reason, where half of the nodules are found only beyond 2 mm.
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
    marked = unfolding.count_marks(marks.diameter_mm)
    false_marks, spread, false = _estimate_false(recovery, marks, marked, curve, response, noise)
    place = None
    if crowding is not None:
        place = estimate_place_factor(recovery, crowding, marks.diameter_mm, marks.probability, seed=seed)
    corrected = unfolding.correct_counts(
        marked,
        false,
        curve,
        response,
        false_spread=spread,
        scale_error=SCALE_ERROR if psf.source == "nodules" else ASSUMED_SCALE_ERROR,
        model_error=MODEL_ERROR,
        place=place,
        seed=seed,
    )
    least = max(LEAST_DIAMETER_MM, float(stated.diameter_50_mm or LEAST_DIAMETER_MM))
    return replace(
        stated,
        size_bias=_row(np.expm1(np.interp(CURVE_MM, CENTERS_MM, response.bias))),
        size_scatter=_row(np.interp(CURVE_MM, CENTERS_MM, response.scatter)),
        false_marks=false_marks,
        at_least=_state_thresholds(corrected, least),
        edges_mm=_row(EDGES_MM),
        counts=_row(corrected.number),
        place_factor=None if place is None else float(place.at(np.array([PLACE_MM]))[0]),
    )


def _state_curve(recovery: Recovery, curve: Curve, seed: int) -> Completeness:
    """Everything that injection alone tells."""
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
    recovery: Recovery, marks: Marks, marked: F64, curve: Curve, response: Response, noise: Noise
) -> tuple[FalseMarks, float, F64]:
    """False marks in all, spread of the logarithm, and per bin of measured diameter."""
    weight = unfolding.count_marks(marks.diameter_mm, 1.0 - marks.probability)
    shape = weight / max(float(weight.sum()), 1e-9)
    in_band = _find_share_in_band(recovery)
    nodules_in_band = 0.0
    # Missed nodules in the band follow from their number, which follows from the false marks.
    for _ in range(3):
        found, spread = estimate_false_marks(
            marks.margin,
            marks.probability,
            nodules_in_band=nodules_in_band,
            n_marks=len(marks.diameter_mm),
            litres=marks.litres,
            slice_mm=marks.slice_mm,
            noise=noise,
        )
        false = np.minimum(found.expected.value * shape, 0.95 * marked)
        number = unfolding.unfold(marked, false, curve.at(CENTERS_MM), response.matrix)
        nodules_in_band = float(number @ in_band)
    return found, spread, false


def _find_share_in_band(recovery: Recovery) -> F64:
    """Share of nodules that become candidates in the band, per bin of true diameter."""
    margin = np.nan_to_num(recovery.margin, nan=-np.inf)
    inside = (margin >= BAND[0]) & (margin < BAND[1])
    weight = np.exp(-0.5 * ((np.log(recovery.diameter_mm) - np.log(CENTERS_MM)[:, None]) / 0.1) ** 2) + 1e-12
    return np.asarray((weight @ inside) / weight.sum(axis=1))


def _state_thresholds(corrected: Corrected, least_mm: float) -> tuple[Threshold, ...]:
    first = np.ceil(least_mm / STEP_MM + 1e-6) * STEP_MM
    at = [least_mm, *np.round(np.arange(first, LAST_MM + 1e-6, STEP_MM), 3)]
    return tuple(
        Threshold(float(d), corrected.measure(float(d)), corrected.measure(float(d), VOLUMES_MM3)) for d in at
    )


def _row(values: F64) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
