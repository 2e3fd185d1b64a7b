"""`CtResult`: everything measured on one chest CT."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.model.completeness import Completeness
from miliary.model.corrections import AppliedCorrections
from miliary.model.extent import Extent, TrueSizes
from miliary.model.figure import Figure
from miliary.model.lesion import Lesion
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.pattern import Pattern
from miliary.model.scan import Acquisition, Grid, ScanWarning, Side, SourceOrder
from miliary.model.validity import Validity

if TYPE_CHECKING:
    import pandas as pd

LABEL_RIGHT, LABEL_LEFT = 1, 2
# In a mask from outside: lung of which it does not say the side.
LABEL_BOTH = 3
# Share of a summed volume that blur and reference density leave open for all nodules alike: a blur known
# to 2 % in each direction moves every volume by about 4 %, 20 HU of the reference by 2 %.
COMMON_VOLUME_ERROR = 0.05
# Where the lungs come from when the program looked for them itself.
FOUND_LUNGS = "found"


@dataclass(frozen=True)
class LungCheck:
    """One thing that lungs must be: its name, whether they are, and the number that says so.

    The names are those of ``lungs.checks`` in `scan.json`; what cannot be told on a scan is not listed.
    """

    name: str
    is_met: bool
    value: float


@dataclass(frozen=True)
class LungMask:
    """Lungs that were outlined elsewhere, on the grid of a scan.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) of the scan
        0 outside, 1 right lung, 2 left lung, 3 lung of which the mask does not say the side.
    source : str
        What it was read from, in words; it names no file.
    warnings : tuple of ScanWarning
        What was said while it was read.
    """

    labels: npt.NDArray[np.uint8]
    source: str
    warnings: tuple[ScanWarning, ...] = ()


@dataclass(frozen=True)
class OpaqueLung:
    """Volume of lung that holds no air, beside or inside the mask [mL]: nothing can be seen there."""

    right_ml: float = 0.0
    left_ml: float = 0.0

    @property
    def total_ml(self) -> float:
        """Of both lungs [mL]."""
        return self.right_ml + self.left_ml

    def at_least(self, other: OpaqueLung) -> OpaqueLung:
        """The larger volume of each side, of two lower bounds."""
        return OpaqueLung(max(self.right_ml, other.right_ml), max(self.left_ml, other.left_ml))


@dataclass(frozen=True)
class Lungs:
    """Both lungs on the grid of the scan.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) of the scan
        0 outside, 1 right lung, 2 left lung. Vessels, nodules and lesions inside a lung belong to it;
        trachea and main bronchi do not.
    voxel_volume_mm3 : float
    is_cut_off : bool
        Lung touches the edge of the scan or of the field of view, so part of it was not scanned.
    source : str
        ``found``, or what a mask from outside was read from, in words.
    checks : tuple of LungCheck
        What lungs must be, and whether these are; empty where nothing was checked.
    opaque : OpaqueLung
        Soft tissue where lung would lie by the mirror image of the other one, at least.
    """

    labels: npt.NDArray[np.uint8]
    voxel_volume_mm3: float
    is_cut_off: bool = False
    source: str = FOUND_LUNGS
    checks: tuple[LungCheck, ...] = ()
    opaque: OpaqueLung = field(default_factory=OpaqueLung)

    def volume_ml(self, side: Side) -> float:
        """Volume of one lung [mL]."""
        label = LABEL_RIGHT if side is Side.RIGHT else LABEL_LEFT
        return float(np.count_nonzero(self.labels == label)) * self.voxel_volume_mm3 / 1000.0


@dataclass(frozen=True)
class Psf:
    """Blur of the scan: one-sigma widths [mm] of its core in plane and along z.

    `ring` is the share by which a sharp kernel undershoots around what is bright, 0 for a plain Gaussian.
    `source` says what told it: `nodules`, the `edge` of the skin, or nothing (`assumed`); `unclear` where the
    marks contradict all of them. `least_sigma_z_mm` is the width along z that a slice of this thickness
    cannot fall below, 0 where the thickness is not known; `at_limit` names the estimates that physics had to
    stop: `xy`, `z`, `ring`. `edge_pixels` is the full width at half maximum of the skin's edge in pixels, as
    measured; None where too few clean edges were found.
    """

    sigma_xy_mm: float
    sigma_z_mm: float
    source: str = "assumed"
    ring: float = 0.0
    least_sigma_z_mm: float = 0.0
    at_limit: tuple[str, ...] = ()
    edge_pixels: float | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """Probability from which the candidates of one scan are reported, and why.

    `threshold` was lowered from `default`, that of the weights, as long as few false positives were to be
    expected beside many nodules, or raised where hardly anything is found; both 0 to 1. `expected_false` is
    their expected number at `threshold`; None where too few candidates were there to tell.
    """

    threshold: float
    default: float
    expected_false: float | None = None


@dataclass(frozen=True)
class Noise:
    """Voxel noise in the lung [HU] and its in-plane correlation length [mm] (0 for white noise)."""

    sd_hu: float
    correlation_mm: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One step of the work: name, wall time [s]."""

    name: str
    seconds: float


class StageClock:
    """Names and times the stages of one run; `progress` is called with each name as it starts."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self.stages: list[Stage] = []
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        if self._progress is not None:
            self._progress(name)
        start = time.perf_counter()
        yield
        self.stages.append(Stage(name, time.perf_counter() - start))


@dataclass(frozen=True)
class CtResult:
    """What was found and measured on one scan.

    Parameters
    ----------
    grid, acquisition, source_order
        Those of the scan.
    warnings : tuple of ScanWarning
        Of the reader and of every stage.
    lungs : Lungs
    right_ml, left_ml : float
        Lung volumes [mL].
    opaque : OpaqueLung or None
        Volume of lung that holds no air; None where it was not measured.
    noise : Noise
    psf : Psf
    nodules : Nodules
        All rows reported at the operating point, calcified ones included.
    operating_point : OperatingPoint
        Probability from which a candidate is reported on this scan.
    n_candidates : int
        Candidates that were judged.
    reference_hu : float
        Density of the solid-equivalent volume [HU].
    stages : tuple of Stage
    provenance : mapping
        Versions, settings, seed, weights' SHA-256; plain JSON values.
    preview_rgb : ndarray of uint8, shape (rows, columns, 3), or None
    figures : tuple of Figure
        Pictures for a report; saved beside the summary, not in it.
    pattern : Pattern or None
        How the nodules are spread over the lungs.
    corrections : AppliedCorrections or None
        What of a reader's corrections is in it; None where none were asked for.
    lesions : tuple of Lesion
        Lesions of 8 mm and more; no count or volume of nodules includes them.
    extent : Extent or None
        How much of the lungs holds nodules.
    true_sizes : TrueSizes or None
        Sizes of the nodules, measuring error taken out.
    definitions : tuple of mapping
        Published definitions of "miliary", each with its verdict; plain JSON values.
    completeness : Completeness or None
        What share of nodules this scan shows, and the numbers corrected for it; None where not asked for.
    validity : Validity
        Whether the scan lies inside what the program was validated on; outside, nothing but the marks holds.
    """

    grid: Grid
    acquisition: Acquisition
    source_order: SourceOrder
    warnings: tuple[ScanWarning, ...]
    lungs: Lungs
    right_ml: float
    left_ml: float
    noise: Noise
    psf: Psf
    nodules: Nodules
    operating_point: OperatingPoint
    n_candidates: int
    reference_hu: float
    stages: tuple[Stage, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    preview_rgb: npt.NDArray[np.uint8] | None = None
    figures: tuple[Figure, ...] = ()
    pattern: Pattern | None = None
    corrections: AppliedCorrections | None = None
    lesions: tuple[Lesion, ...] = ()
    extent: Extent | None = None
    true_sizes: TrueSizes | None = None
    definitions: tuple[Mapping[str, Any], ...] = ()
    completeness: Completeness | None = None
    validity: Validity = field(default_factory=Validity)
    opaque: OpaqueLung | None = None

    def __repr__(self) -> str:
        thing = "marks outside validity" if self.validity.doubt else "nodules"
        lungs = f"lungs {self.right_ml + self.left_ml:,.0f} mL"
        return f"CtResult({len(self.burden):,} {thing}, {len(self.lesions)} lesions, {lungs})"

    def _repr_html_(self) -> str:
        """The preview and the main numbers, as a notebook shows them."""
        from miliary.model.result_html import show_result

        return show_result(self)

    def paint(self) -> npt.NDArray[np.int32]:
        """Paint the nodules on the grid of the scan: a model of them, not their outline.

        A nodule of 1-3 mm is smaller than the blur of a CT and has no outline that could be drawn. What is
        painted is the sphere of its solid-equivalent volume around its measured center.

        Returns
        -------
        ndarray of int32, shape (z, y, x) of the grid
            The number of the nodule (column ``id``), 0 elsewhere. At least the voxel of its center is
            painted; where spheres meet the larger number stands.
        """
        from miliary.model.result_html import paint_spheres

        return paint_spheres(self.grid, self.burden)

    @property
    def burden(self) -> Nodules:
        """The nodules that count as disease: calcified ones left out."""
        return self.nodules.select(self.nodules["attenuation"] != Attenuation.CALCIFIED.value)

    @property
    def threshold(self) -> float:
        """Probability from which a candidate is reported on this scan, 0 to 1."""
        return self.operating_point.threshold

    @property
    def lung_litres(self) -> float:
        """Volume of both lungs [L]."""
        return (self.right_ml + self.left_ml) / 1000.0

    def to_frame(self) -> pd.DataFrame:
        """The nodules as a pandas DataFrame, one row each."""
        return self.nodules.to_frame()
