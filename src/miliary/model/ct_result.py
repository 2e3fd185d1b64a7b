"""`CtResult`: everything measured on one chest CT, as `miliary ct` writes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.model.completeness import Completeness, summarize_completeness, summarize_corrected
from miliary.model.corrections import AppliedCorrections, summarize_applied
from miliary.model.extent import Extent, TrueSizes, summarize_extent, summarize_true_sizes
from miliary.model.figure import Figure
from miliary.model.lesion import Lesion, summarize_lesion
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.pattern import Pattern, summarize_pattern
from miliary.model.scan import Acquisition, Grid, ScanWarning, Side, SourceOrder, Zone

if TYPE_CHECKING:
    import pandas as pd

LABEL_RIGHT, LABEL_LEFT = 1, 2
# Share of a summed volume that blur and reference density leave open for all nodules alike: a blur known
# to 2 % in each direction moves every volume by about 4 %, 20 HU of the reference by 2 %.
COMMON_VOLUME_ERROR = 0.05

SCHEMA_VERSION = "1.0"
SUMMARY_KIND = "miliary.ct"
HISTOGRAM_EDGES_MM = tuple(0.5 * i for i in range(17))

_NO_NODULES = "no nodules were reported"
_FWHM_PER_SIGMA = 2.354820045


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
        Lung touches the first or last slice, so part of it was not scanned.
    """

    labels: npt.NDArray[np.uint8]
    voxel_volume_mm3: float
    is_cut_off: bool = False

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
    stop: `xy`, `z`, `ring`.
    """

    sigma_xy_mm: float
    sigma_z_mm: float
    source: str = "assumed"
    ring: float = 0.0
    least_sigma_z_mm: float = 0.0
    at_limit: tuple[str, ...] = ()


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
    noise : Noise
    psf : Psf
    nodules : Nodules
        All rows reported at `threshold`, calcified ones included.
    threshold : float
        The one operating point: probability from which a candidate is reported.
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
    threshold: float
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

    @property
    def burden(self) -> Nodules:
        """The nodules that count as disease: calcified ones left out."""
        return self.nodules.select(self.nodules["attenuation"] != Attenuation.CALCIFIED.value)

    @property
    def lung_litres(self) -> float:
        """Volume of both lungs [L]."""
        return (self.right_ml + self.left_ml) / 1000.0

    def to_frame(self) -> pd.DataFrame:
        """The nodules as a pandas DataFrame, one row each."""
        return self.nodules.to_frame()


def summarize(result: CtResult) -> dict[str, Any]:
    """What `scan.json` holds: plain JSON values, described by the published schema.

    Counts, sizes and volumes under `nodules` are the burden; calcified nodules are counted apart.
    What cannot be told is None with a sibling ``..._reason``. Holds no date, path or identity.
    """
    burden = result.burden
    calcified = result.nodules["attenuation"] == Attenuation.CALCIFIED.value
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": SUMMARY_KIND,
        "origin": _tell_origin(result),
        "geometry": {**asdict(result.grid), "voxel_volume_mm3": _short(result.grid.voxel_volume_mm3)},
        "acquisition": _summarize_acquisition(result.acquisition),
        "warnings": [asdict(warning) for warning in result.warnings],
        "lungs": {
            "right_ml": _short(result.right_ml),
            "left_ml": _short(result.left_ml),
            "total_ml": _short(result.right_ml + result.left_ml),
            "is_cut_off": result.lungs.is_cut_off,
        },
        "noise": {
            **_told("sd_hu", result.noise.sd_hu, "the noise could not be measured"),
            **_told("correlation_mm", result.noise.correlation_mm, "the noise could not be measured"),
        },
        "psf": _summarize_psf(result.psf),
        "nodules": {
            **_summarize_counts(burden, result.lung_litres),
            "total_excess_mass_mg": _short(np.nansum(burden["excess_mass_mg"])),
            "by_attenuation": _count_values(
                burden["attenuation"], [a for a in Attenuation if a is not Attenuation.CALCIFIED]
            ),
            "by_side": _summarize_sides(result),
            "by_zone": _count_values(burden["zone"], Zone),
            "diameter_mm": _summarize_sizes(burden["diameter_mm"]),
        },
        "calcified": {
            "count": int(np.count_nonzero(calcified)),
            "total_volume_mm3": _short(np.nansum(result.nodules["volume_mm3"][calcified])),
        },
        "corrected": summarize_corrected(result.completeness),
        "completeness": summarize_completeness(result.completeness),
        "pattern": summarize_pattern(result.pattern),
        "lesions": [summarize_lesion(lesion) for lesion in result.lesions],
        "extent": summarize_extent(result.extent),
        "true_sizes": summarize_true_sizes(result.true_sizes),
        "definitions": [dict(definition) for definition in result.definitions],
        "operating_point": {
            "threshold": _short(result.threshold),
            "n_candidates": result.n_candidates,
            "reference_hu": _short(result.reference_hu),
        },
        **({"corrections": summarize_applied(result.corrections)} if result.corrections else {}),
        "provenance": dict(result.provenance),
        "stages": [{"name": stage.name, "seconds": round(stage.seconds, 3)} for stage in result.stages],
    }


def _tell_origin(result: CtResult) -> str:
    """Simulated stays simulated whoever looked at it; what a reader changed is no longer measured alone."""
    if result.acquisition.source_format == "simulated":
        return "simulated"
    changes = result.corrections
    is_changed = changes is not None and (changes.n_rejected or changes.n_added or changes.n_lesions)
    return "corrected" if is_changed else "measured"


def _short(value: float) -> float:
    """A measured number with the digits that mean something."""
    return float(f"{float(value):.6g}")


def _told(name: str, value: float | None, reason: str) -> dict[str, Any]:
    """A number that may be missing: its value, or None and why."""
    if value is None or not np.isfinite(value):
        return {name: None, f"{name}_reason": reason}
    return {name: _short(value)}


def _count_values(values: npt.NDArray[Any], names: Iterable[str]) -> dict[str, int]:
    return {str(name): int(np.count_nonzero(values == str(name))) for name in names}


def _summarize_acquisition(acquisition: Acquisition) -> dict[str, Any]:
    reasons = {"series_choice": "there was nothing to choose between"}
    facts: dict[str, Any] = {}
    for name, value in asdict(acquisition).items():
        facts[name] = value
        if value is None:
            facts[f"{name}_reason"] = reasons.get(name, "not stated in the file")
    return facts


def _summarize_psf(psf: Psf) -> dict[str, Any]:
    return {
        "sigma_xy_mm": _short(psf.sigma_xy_mm),
        "sigma_z_mm": _short(psf.sigma_z_mm),
        "fwhm_xy_mm": _short(psf.sigma_xy_mm * _FWHM_PER_SIGMA),
        "fwhm_z_mm": _short(psf.sigma_z_mm * _FWHM_PER_SIGMA),
        "source": psf.source,
    }


def _summarize_counts(nodules: Nodules, litres: float) -> dict[str, Any]:
    """Count, density per litre of lung and total volume with its error, common part included."""
    total = np.nansum(nodules["volume_mm3"])
    independent = np.sqrt(np.nansum(np.square(nodules["volume_mm3_err"])))
    density = len(nodules) / litres if litres > 0 else None
    return {
        "count": len(nodules),
        **_told("count_per_litre", density, "this lung has no volume in the scan"),
        "total_volume_mm3": _short(total),
        "total_volume_mm3_err": _short(np.hypot(independent, COMMON_VOLUME_ERROR * total)),
    }


def _summarize_sides(result: CtResult) -> dict[str, Any]:
    burden = result.burden
    sides = {}
    for side, volume_ml in ((Side.RIGHT, result.right_ml), (Side.LEFT, result.left_ml)):
        here = burden.select(burden["side"] == side.value)
        counts = _summarize_counts(here, volume_ml / 1000.0)
        sides[side.value] = {**counts, "by_zone": _count_values(here["zone"], Zone)}
    return sides


def _summarize_sizes(diameter_mm: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Distribution of diameters; those that could not be measured are left out of it."""
    sizes = diameter_mm[np.isfinite(diameter_mm)]
    n = len(sizes)
    mean = float(sizes.mean()) if n else None
    sd = float(sizes.std(ddof=1)) if n > 1 else None
    few = _NO_NODULES if n == 0 else "one nodule has no spread"
    p10, median, p90 = np.percentile(sizes, [10, 50, 90]) if n else (None, None, None)
    counts, _ = np.histogram(sizes, bins=[*HISTOGRAM_EDGES_MM, np.inf])
    return {
        "n": n,
        **_told("mean", mean, _NO_NODULES),
        **_told("median", median, _NO_NODULES),
        **_told("sd", sd, few),
        **_told("cv", sd / mean if sd is not None and mean else None, few),
        **_told("p10", p10, _NO_NODULES),
        **_told("p90", p90, _NO_NODULES),
        "histogram": {
            "edges": list(HISTOGRAM_EDGES_MM),
            "counts": [int(count) for count in counts[:-1]],
            "n_above": int(counts[-1]),
        },
    }
