"""What every reader checks whatever the format: Hounsfield units, clipping, spacing, contrast agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.model.scan import Acquisition, Grid, ScanWarning

MIN_SLICES, MIN_COVERAGE_MM = 10, 30.0
MAX_SPACING_MM = 5.0
# The finest clinical scanners reach 0.1 mm; no table is longer, and none stands ten meters from its origin.
MIN_SPACING_MM, MAX_EXTENT_MM, MAX_ORIGIN_MM = 0.05, 2500.0, 10_000.0
# Slices within one of these are as good as each other [mm].
THICKNESS_CLASSES_MM = (1.25, 2.0, 3.0, 5.0)
PADDING_HU = -1024
PADDING_BELOW_HU = -1500
_SAMPLE_SIZE = 1_000_000
# Extended-scale scanners reach 30 000 HU in metal, but only there.
_METAL_HU, _METAL_SHARE = 5000, 0.02


def replace_padding(values_hu: npt.NDArray[Any]) -> int:
    """Set everything at or below -1500 HU to -1024, in place; return how many voxels that were.

    Nothing physical is less dense than vacuum (-1000 HU, with noise and undershoot down to about
    -1300); scanners mark what lies outside their field of view by -2000, -2048 or -3024.
    """
    if values_hu.size == 0 or values_hu.min() > PADDING_BELOW_HU:
        return 0
    outside = values_hu <= PADDING_BELOW_HU
    values_hu[outside] = PADDING_HU
    return int(np.count_nonzero(outside))


def thickness_class(thickness_mm: float) -> int:
    """Which class of `THICKNESS_CLASSES_MM` a thickness falls into; 0 is the thinnest."""
    return sum(thickness_mm > limit + 1e-3 for limit in THICKNESS_CLASSES_MM)


def check_grid(grid: Grid, *, name: str) -> None:
    """Refuse a grid that no chest CT can have.

    Raises
    ------
    ScanGeometryError
        Voxels too coarse, too fine or too many, too few slices, or a place that is none.
    """
    n, step = grid.shape_zyx[0], grid.spacing_zyx_mm[0]
    check_spacing(grid.spacing_zyx_mm, name=name)
    if n < MIN_SLICES or n * step < MIN_COVERAGE_MM:
        raise ScanGeometryError(
            f"{name}: only {n} slices over {n * step:.0f} mm, at least {MIN_SLICES} over "
            f"{MIN_COVERAGE_MM:.0f} mm are needed; give the whole scan"
        )
    check_place(grid, name=name)


def check_spacing(spacing_mm: Sequence[float], *, name: str) -> None:
    """Refuse voxels that are coarser or finer than those of any chest CT.

    Raises
    ------
    ScanGeometryError
    """
    highest, lowest = max(spacing_mm), min(spacing_mm)
    if highest >= 100.0 or lowest < MIN_SPACING_MM:
        wrong = highest if highest >= 100.0 else lowest
        raise ScanGeometryError(
            f"{name}: voxels are said to be {wrong:.3g} mm apart, which is no CT of a person; is the unit of "
            "its spacing right (mm, not micrometers or meters)? Write it in mm"
        )
    if highest > MAX_SPACING_MM + 1e-3:
        raise ScanGeometryError(
            f"{name}: voxels are {highest:.4g} mm apart, at most {MAX_SPACING_MM:g} mm can be measured; "
            "use a thin reconstruction"
        )


def check_place(grid: Grid, *, name: str) -> None:
    """Refuse a volume larger than any table, or so far away that coordinates lose their meaning.

    Raises
    ------
    ScanGeometryError
    """
    extent = max(n * step for n, step in zip(grid.shape_zyx, grid.spacing_zyx_mm, strict=True))
    if extent > MAX_EXTENT_MM:
        raise ScanGeometryError(
            f"{name}: it is {extent / 1000:.3g} m long, which is no CT of a person; correct its spacing"
        )
    away = max(map(abs, grid.origin_lps_mm))
    if away > MAX_ORIGIN_MM:
        raise ScanGeometryError(
            f"{name}: its first voxel is said to lie {away / 1000:.3g} m from the origin, which is no place "
            "in a scanner; correct its origin"
        )


def check_hounsfield(voxels_hu: npt.NDArray[Any], *, name: str) -> None:
    """Refuse numbers that cannot be the attenuation of a chest in air.

    Parameters
    ----------
    voxels_hu : ndarray, shape (z, y, x)
        Padding already replaced by -1024.
    name : str
        The input as the message names it.

    Raises
    ------
    ScanReadError
        No air, no soft tissue, soft tissue at the wrong place of the scale, or far too much beyond bone.
    """
    sample, middle = _samples(voxels_hu)
    if sample.size and float(sample.min()) == float(sample.max()):
        raise ScanReadError(f"{name}: every voxel is {float(sample.min()):g}; expected a CT in HU")
    if np.mean(sample > _METAL_HU) > _METAL_SHARE:
        raise ScanReadError(
            f"{name}: {np.mean(sample > _METAL_HU):.0%} of the voxels lie above {_METAL_HU} HU, as after a "
            "16-bit overflow or a wrong rescale; export the series again as CT in HU"
        )
    remedy = "are these Hounsfield units? Export the series again with its rescale slope and intercept"
    if np.mean(sample < -500) < 0.003:
        raise ScanReadError(
            f"{name}: implausible HU: hardly a voxel is as thin as air or lung (below -500); {remedy}"
        )
    tissue = middle[(middle > -500) & (middle < 3000)]
    if tissue.size < 0.03 * middle.size:
        raise ScanReadError(
            f"{name}: implausible HU: hardly a voxel in the middle of the scan is as dense as "
            f"tissue; {remedy}"
        )
    median = float(np.median(tissue))
    if not -200.0 < median < 250.0:
        raise ScanReadError(
            f"{name}: implausible HU: tissue has a median of {median:.0f}, expected about 40; {remedy}"
        )


def find_clipping(voxels_hu: npt.NDArray[Any]) -> tuple[ScanWarning, ...]:
    """Warnings about values piled up at the lower or upper end of the stored range."""
    _, middle = _samples(voxels_hu, margin=0.15)
    warnings = []
    low = float(middle.min())
    thin = middle[middle < -900]
    share = float(np.mean(thin <= low)) if thin.size > 100 else 0.0
    if low > -1100.0 and share > 0.05:
        warnings.append(
            ScanWarning(
                "clipped_low",
                f"{share:.0%} of the voxels below -900 HU stand at {low:.0f} HU: the scan was clipped there, "
                "so noise and air are biased upwards",
            )
        )
    high = float(middle.max())
    n_top = int(np.count_nonzero(middle >= high))
    n_near = int(np.count_nonzero(middle >= high - 100))
    if high > 200.0 and n_top >= 20 and n_top > 0.5 * n_near:
        warnings.append(
            ScanWarning(
                "clipped_high",
                f"values are clipped at {high:.0f} HU, so dense calcification and metal are underestimated",
            )
        )
    return tuple(warnings)


def find_limits(grid: Grid, acquisition: Acquisition) -> tuple[ScanWarning, ...]:
    """Warnings about slices too thick or overlapping, oblique axes and contrast agent."""
    warnings = []
    step = grid.spacing_zyx_mm[0]
    thickness = max(acquisition.slice_thickness_mm or 0.0, step)
    if thickness > 3.0:
        text = f"slices are {thickness:.4g} mm thick: nodules of 1-3 mm are under-resolved"
        warnings.append(ScanWarning("thick_slices", text))
    if thickness > 1.05 * step:
        text = f"slices of {thickness:.4g} mm overlap at steps of {step:.4g} mm: neighbors share their noise"
        warnings.append(ScanWarning("overlapping_slices", text))
    cosine = min(abs(axis[2 - i]) for i, axis in enumerate(grid.axes_lps))
    if cosine < 0.95:
        turn = float(np.degrees(np.arccos(cosine)))
        text = f"the image axes are turned by {turn:.0f} degrees against the patient's axes"
        warnings.append(ScanWarning("oblique_axes", text))
    if acquisition.contrast_agent:
        text = "contrast agent was given: vessels and enhancing tissue are denser than the reference density"
        warnings.append(ScanWarning("contrast_agent", text))
    return tuple(warnings)


def _samples(
    voxels_hu: npt.NDArray[Any], *, margin: float = 0.25
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A regular sample of all voxels, and of those in the middle of every slice."""
    stride = max(1, round((voxels_hu.size / _SAMPLE_SIZE) ** (1.0 / 3.0)))
    _, ny, nx = voxels_hu.shape
    y, x = int(ny * margin), int(nx * margin)
    middle = voxels_hu[::stride, y : ny - y : stride, x : nx - x : stride]
    return voxels_hu[::stride, ::stride, ::stride].ravel(), middle.ravel()
