"""What scans the program was validated on, and where one scan lies by each criterion.

The ranges stand here and nowhere else, each with where it comes from: physics of the scanner, the protocols
that training and validation hold, or what was measured on scans with and without nodules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.model.ct_result import Noise, Psf
from miliary.model.scan import Scan, ScanWarning
from miliary.model.validity import Validity, ValidityCheck, ValidityVerdict
from miliary.model.validity import ValidityCriterion as By


@dataclass(frozen=True)
class ValidatedRange:
    """Range of one criterion.

    Parameters
    ----------
    least, most : float or None
        Ends of the range, which belong to it; None where it has no such end.
    unit : str
        Of both; empty for a share or a ratio.
    below, above : str
        What a value outside means, in words; ``{value}`` and ``{limit}`` are filled in.
    basis : str
        Where the range comes from.
    """

    least: float | None
    most: float | None
    unit: str
    below: str
    above: str
    basis: str


# A share is written with six digits; closer to a limit than this it lies on it.
NEARNESS = 1e-6
# Cubes of lung [mm] that are opaque from this mean attenuation on, and how much of one must be lung.
OPAQUE_MM, OPAQUE_HU, OPAQUE_INSIDE = 8.0, -400.0, 0.9

RANGES: dict[By, ValidatedRange] = {
    By.SLICE_THICKNESS: ValidatedRange(
        None,
        3.5,
        "mm",
        "",
        "slices of {value:.3g} mm are thicker than {limit:.3g} mm, in which a nodule of 1-3 mm is lost",
        "physics: a slice spreads a nodule over its thickness; validated on slices of 0.6 to 3 mm",
    ),
    By.SLICE_STEP: ValidatedRange(
        None,
        1.25,
        "",
        "",
        "slices lie {value:.2g} times their thickness apart: lung between them was not scanned",
        "physics: beyond one thickness the slices leave gaps; a quarter is left to rounded headers",
    ),
    By.PIXEL_SIZE: ValidatedRange(
        None,
        1.4,
        "mm",
        "",
        "pixels of {value:.2g} mm are larger than {limit:.2g} mm and cannot carry nodules of 1-3 mm",
        "physics: 1.37 mm are a field of 700 mm in 512 pixels, the largest that scanners reconstruct; "
        "validated on simulated pixels up to 1.3 mm",
    ),
    By.SAMPLING: ValidatedRange(
        0.9,
        None,
        "",
        "edges are only {value:.2g} pixels wide: pixels are left out, and structures come out in pieces",
        "",
        "sampling theorem: a point spread narrower than about a pixel is not carried by the pixels; "
        "reconstructions of 512 pixels have 1.2 or more",
    ),
    By.KERNEL: ValidatedRange(
        0.5,
        2.8,
        "mm",
        "points are only {value:.2g} mm wide, sharper than any chest kernel that was validated",
        "points are {value:.2g} mm wide, smoother than any chest kernel that was validated",
        "published kernels of chest CT have full widths at half maximum of 0.6 mm (sharpest lung kernels) to "
        "1.8 mm (smoothest body kernels); room is left for the pixel",
    ),
    By.NOISE: ValidatedRange(
        None,
        90.0,
        "HU",
        "",
        "noise of {value:.0f} HU is above {limit:.0f} HU, which no validation holds",
        "validated on simulated noise of 5 to 80 HU in the lung",
    ),
    By.NOISE_TEXTURE: ValidatedRange(
        None,
        1.0,
        "mm",
        "",
        "the grain of the noise is {value:.2g} mm wide, coarser than any that was validated",
        "validated on simulated grain of 0.2 to 0.6 mm; kernels of real scans seen have 0.2 to 0.5",
    ),
    By.OPAQUE_LUNG: ValidatedRange(
        None,
        0.3,
        "",
        "",
        "{value:.0%} of the lung is opaque, where nodules cannot be told from what is around them",
        "our choice: with nearly a third of the lung hidden a count says little of the whole",
    ),
    By.INVERTED_CONTRAST: ValidatedRange(
        None,
        0.25,
        "",
        "",
        "attenuation mirrored about the background, which holds no nodules, is marked as well: that is "
        "{value:.0%} of the marks",
        "chosen between scans whose marks are mostly nodules and mostly none, on development seeds "
        "(python -m validation.protocols report)",
    ),
    By.CLASSES_OF_MARKS: ValidatedRange(
        None,
        0.93,
        "",
        "",
        "{value:.0%} of the marks are too small to be resolved, and nothing else speaks for them",
        "measured on simulated scans of many protocols: small nodules in thick slices reach 1.0 as well, so "
        "it is judged only where the blur is at a limit or mirrored contrast is marked too",
    ),
    By.SHARE_OF_NODULES: ValidatedRange(
        None,
        0.05 - NEARNESS,
        "",
        "",
        "the estimated share of nodules among the candidates lies at its upper limit, and the marks do not "
        "look like nodules",
        "the upper limit of the estimate; judged only where nearly all marks are too small to be resolved",
    ),
}

UNCLEAR = "what is marked is wider than any scanner blurs, so most of it is no nodule"


def judge(criterion: By, value: float | None, *, unknown: str = "it was not measured") -> ValidityCheck:
    """Where a value lies in the validated range of a criterion.

    Parameters
    ----------
    criterion : ValidityCriterion
        One of `RANGES`.
    value : float or None
        In the unit of its range; None or not finite where it is not known.
    unknown : str
        Why it is not known.

    Returns
    -------
    ValidityCheck
    """
    span = RANGES[criterion]
    if value is None or not math.isfinite(value):
        return ValidityCheck(
            criterion,
            ValidityVerdict.NOT_MEASURED,
            None,
            span.unit,
            span.least,
            span.most,
            unknown,
            span.basis,
        )
    reason = ""
    if span.most is not None and value > span.most:
        reason = span.above.format(value=value, limit=span.most)
    elif span.least is not None and value < span.least:
        reason = span.below.format(value=value, limit=span.least)
    verdict = ValidityVerdict.OUTSIDE if reason else ValidityVerdict.INSIDE
    return ValidityCheck(criterion, verdict, value, span.unit, span.least, span.most, reason, span.basis)


def check_sampling(scan: Scan, psf: Psf, noise: Noise) -> tuple[ValidityCheck, ...]:
    """What the scan shows before anything is marked: its slices, pixels, edges and noise.

    Parameters
    ----------
    scan : Scan
    psf : Psf
        Blur from the edge of the skin, its `edge_pixels` among it.
    noise : Noise

    Returns
    -------
    tuple of ValidityCheck
    """
    step, *pixels = scan.grid.spacing_zyx_mm
    thickness = scan.acquisition.slice_thickness_mm
    return (
        judge(By.SLICE_THICKNESS, max(thickness or 0.0, step)),
        judge(
            By.SLICE_STEP,
            step / thickness if thickness else None,
            unknown="the file does not state the slice thickness",
        ),
        judge(By.PIXEL_SIZE, max(pixels)),
        judge(By.SAMPLING, psf.edge_pixels, unknown="no clean edge of the skin is in the field of view"),
        judge(By.NOISE, noise.sd_hu if noise.sd_hu > 0 else None, unknown="the scan shows too little lung"),
        judge(
            By.NOISE_TEXTURE,
            noise.correlation_mm if noise.sd_hu > 0 else None,
            unknown="the scan shows too little lung",
        ),
        ValidityCheck(By.MOTION, ValidityVerdict.NOT_MEASURED, reason="motion is not measured on the scan"),
    )


def check_opaque(
    voxels_hu: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    spacing_zyx_mm: tuple[float, float, float],
) -> ValidityCheck:
    """How much of the lung is opaque.

    Parameters
    ----------
    voxels_hu : ndarray of float32, shape (z, y, x)
        Attenuation [HU].
    labels : ndarray of uint8, same shape
        0 outside the lungs.
    spacing_zyx_mm : tuple of float
        Distance between voxel centers [mm].

    Returns
    -------
    ValidityCheck
        Of the share of cubes of 8 mm inside the lung mask whose mean attenuation is that of solid tissue:
        small nodules and vessels do not fill one. What the mask leaves out is not in it.
    """
    size = [max(1, round(OPAQUE_MM / step)) for step in spacing_zyx_mm]
    counts = [n // k for n, k in zip(labels.shape, size, strict=True)]
    whole = tuple(slice(0, n * k) for n, k in zip(counts, size, strict=True))
    split = [part for pair in zip(counts, size, strict=True) for part in pair]
    inside = (labels[whole] > 0).reshape(split).mean(axis=(1, 3, 5)) > OPAQUE_INSIDE
    mean_hu = voxels_hu[whole].reshape(split).mean(axis=(1, 3, 5), dtype=np.float64)
    share = float(np.mean(mean_hu[inside] > OPAQUE_HU)) if inside.any() else None
    return judge(By.OPAQUE_LUNG, share, unknown="the scan shows too little lung")


def check_kernel(psf: Psf) -> ValidityCheck:
    """Whether a published kernel can have the blur that was found.

    Parameters
    ----------
    psf : Psf
        As the marks tell it where they do.

    Returns
    -------
    ValidityCheck
        Of the full width at half maximum in plane. Outside also where what the marks tell contradicts every
        scanner. An estimate that lies at a limit makes the marks doubtful, which are judged by what else they
        show.
    """
    found = judge(By.KERNEL, psf.sigma_xy_mm * math.sqrt(8.0 * math.log(2.0)))
    if psf.source != "unclear":
        return found
    reason = f"{found.reason}; {UNCLEAR}" if found.reason else UNCLEAR
    return replace(found, verdict=ValidityVerdict.OUTSIDE, reason=reason)


def warn_outside(validity: Validity) -> tuple[ScanWarning, ...]:
    """What a reader of the result must know first.

    Parameters
    ----------
    validity : Validity

    Returns
    -------
    tuple of ScanWarning
        `outside_validity` where the scan is; nothing where it is not.
    """
    if not validity.doubt:
        return ()
    message = (
        f"The scan is outside what was validated: {'; '.join(validity.reasons)}. Its marks are listed for a "
        "reader; counts, volumes, pattern, definitions and response cannot be told from them."
    )
    return (ScanWarning("outside_validity", message),)
