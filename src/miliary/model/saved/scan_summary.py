"""`ScanSummary`: what `scan.json` holds of one chest CT, field for field.

Numbers are rounded to the digits that mean something; volumes, masks and pictures are in other files. A field
that is None is not known, and `missing_reasons` says why. An older file may lack what later versions added:
those fields are None too. What the keys mean is said once, in the published schema (`scan.schema.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miliary.model.assessment import Basis, Input, Verdict
from miliary.model.ct_result import LungCheck, Stage
from miliary.model.lesion import LOBE_NOT_DETERMINED, Attachment, LesionAttenuation
from miliary.model.nodules import Attenuation
from miliary.model.pattern import PatternLabel
from miliary.model.saved.codec import SavedRecord, saved
from miliary.model.scan import ScanWarning, Side, Zone
from miliary.model.validity import ValidityCriterion, ValidityVerdict, state_doubt
from miliary.model.vocabulary import Lobe, Origin

SCAN_KIND = "miliary.ct"
SCAN_VERSION = "1.0"

Range95 = tuple[float, float]
PointLps = tuple[float, float, float]


@dataclass(frozen=True)
class GeometrySummary(SavedRecord):
    """Grid of the scan in memory; arrays are (z, y, x), points patient LPS millimeters."""

    shape_zyx: tuple[int, int, int] | None = None
    spacing_zyx_mm: PointLps | None = None
    origin_lps_mm: PointLps | None = None
    axes_lps: tuple[PointLps, PointLps, PointLps] | None = None
    voxel_volume_mm3: float | None = None


@dataclass(frozen=True)
class AcquisitionSummary(SavedRecord):
    """How the scan was made, as far as its files say; nothing that identifies a person."""

    modality: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    kvp: float | None = None
    exposure_mas: float | None = None
    contrast_agent: bool | None = None
    patient_position: str | None = None
    source_format: str | None = None
    n_files: int | None = None
    series_choice: str | None = None


@dataclass(frozen=True)
class LungSummary(SavedRecord):
    """Lung volumes [mL]; `is_cut_off`: lung reaches the edge of the scan; `source`: found, or which mask.

    `opaque_ml` is lung without air, at least, which the other volumes leave out where the mask does.
    """

    right_ml: float | None = None
    left_ml: float | None = None
    total_ml: float | None = None
    opaque_ml: float | None = saved(default=None, omit_default=True)
    opaque_right_ml: float | None = saved(default=None, omit_default=True)
    opaque_left_ml: float | None = saved(default=None, omit_default=True)
    is_cut_off: bool | None = None
    source: str | None = saved(default=None, omit_default=True)
    checks: tuple[LungCheck, ...] = saved(default=(), omit_default=True)


@dataclass(frozen=True)
class NoiseSummary(SavedRecord):
    """Standard deviation of the noise in the lung [HU] and its in-plane correlation length [mm]."""

    sd_hu: float | None = None
    correlation_mm: float | None = None


@dataclass(frozen=True)
class BlurSummary(SavedRecord):
    """Blur of the scan as a Gaussian: one-sigma widths and full widths at half maximum [mm]."""

    sigma_xy_mm: float | None = None
    sigma_z_mm: float | None = None
    fwhm_xy_mm: float | None = None
    fwhm_z_mm: float | None = None
    source: str | None = None

    @property
    def mean_sigma_mm(self) -> float | None:
        """Geometric mean of the one-sigma widths along the three axes [mm]; None where they are not known."""
        if self.sigma_xy_mm is None or self.sigma_z_mm is None:
            return None
        return float(self.sigma_xy_mm ** (2 / 3) * self.sigma_z_mm ** (1 / 3))


@dataclass(frozen=True)
class ValidityCheckSummary(SavedRecord):
    """One criterion of validity: what was measured, the range that was validated, and why it is outside."""

    criterion: ValidityCriterion
    verdict: ValidityVerdict
    value: float | None = None
    unit: str = ""
    least: float | None = saved(default=None, omit_default=True)
    most: float | None = saved(default=None, omit_default=True)
    reason: str = ""
    basis: str = ""


@dataclass(frozen=True)
class ValiditySummary(SavedRecord):
    """Whether the scan lies inside what the program was validated on, and by which criteria it does not."""

    verdict: ValidityVerdict | None = None
    reasons: tuple[str, ...] = ()
    checks: tuple[ValidityCheckSummary, ...] = ()

    @property
    def doubt(self) -> str:
        """Why nothing may be inferred from the marks, as one sentence; empty where it may."""
        return state_doubt(self.reasons) if self.verdict is ValidityVerdict.OUTSIDE else ""


@dataclass(frozen=True)
class SideSummary(SavedRecord):
    """Nodules of one lung, calcified ones left out."""

    count: int | None = None
    count_per_litre: float | None = None
    total_volume_mm3: float | None = None
    total_volume_mm3_err: float | None = None
    by_zone: Mapping[Zone, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DiameterHistogram(SavedRecord):
    """Number of nodules between successive edges [mm], and above the last."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    n_above: int | None = None


@dataclass(frozen=True)
class DiameterSummary(SavedRecord):
    """Distribution of the `n` diameters [mm] that were measured; `cv` is their relative spread."""

    n: int | None = None
    mean: float | None = None
    median: float | None = None
    sd: float | None = None
    cv: float | None = None
    p10: float | None = None
    p90: float | None = None
    histogram: DiameterHistogram = field(default_factory=DiameterHistogram)


@dataclass(frozen=True)
class NoduleSummary(SavedRecord):
    """The burden: reported nodules without the calcified ones."""

    count: int | None = None
    count_per_litre: float | None = None
    total_volume_mm3: float | None = None
    total_volume_mm3_err: float | None = None
    total_excess_mass_mg: float | None = None
    by_attenuation: Mapping[Attenuation, int] = field(default_factory=dict)
    by_side: Mapping[Side, SideSummary] = field(default_factory=dict)
    by_zone: Mapping[Zone, int] = field(default_factory=dict)
    diameter_mm: DiameterSummary = field(default_factory=DiameterSummary)


@dataclass(frozen=True)
class CalcifiedSummary(SavedRecord):
    """Calcified nodules, which no other number holds."""

    count: int | None = None
    total_volume_mm3: float | None = None


@dataclass(frozen=True)
class CorrectedTotal:
    """Corrected number and total volume of the nodules of at least a diameter, with 95 % intervals."""

    diameter_mm: float
    count: float
    count_ci95: Range95
    total_volume_mm3: float
    total_volume_mm3_ci95: Range95


@dataclass(frozen=True)
class SizeDistribution:
    """Corrected number of nodules between successive diameters."""

    edges_mm: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True)
class FalsePositiveSummary(SavedRecord):
    """Marks expected to be no nodules, among those reported; `per_litre` of lung."""

    source: str | None = None
    expected: float | None = None
    expected_ci95: Range95 | None = None
    per_litre: float | None = None
    by_probabilities: float | None = None
    by_table: float | None = None


@dataclass(frozen=True)
class ExcessSummary:
    """Total nodular volume without detection, and whether it agrees with the corrected one."""

    total_volume_mm3: float
    total_volume_mm3_ci95: Range95
    agrees: bool


@dataclass(frozen=True)
class CorrectedSummary(SavedRecord):
    """Number and volume corrected for what the scan misses, of nodules of at least `min_diameter_mm`.

    `found_count` are the marks of that size, `explanation` says why the corrected number is below it.
    """

    min_diameter_mm: float | None = None
    count: float | None = None
    count_ci95: Range95 | None = None
    found_count: int | None = saved(default=None, omit_default=True)
    explanation: str = saved(default="", omit_default=True)
    total_volume_mm3: float | None = None
    total_volume_mm3_ci95: Range95 | None = None
    count_at_least_1_mm: float | None = None
    at_least: tuple[CorrectedTotal, ...] = ()
    size_distribution: SizeDistribution | None = None
    false_marks: FalsePositiveSummary | None = None
    excess_check: ExcessSummary | None = None


@dataclass(frozen=True)
class DetectionCurve:
    """Probability of detection by true diameter, its 95 % limits, and bias and scatter of measured sizes."""

    diameter_mm: tuple[float, ...]
    probability: tuple[float, ...]
    ci95_low: tuple[float, ...]
    ci95_high: tuple[float, ...]
    size_bias: tuple[float, ...]
    size_scatter: tuple[float, ...]


@dataclass(frozen=True)
class DetectionPoints:
    """Share of injected nodules that was found, by class of diameter."""

    diameter_mm: tuple[float, ...]
    share_found: tuple[float, ...]
    n_injected: tuple[int, ...]


@dataclass(frozen=True)
class CompletenessSummary(SavedRecord):
    """What share of nodules this scan shows."""

    diameter_50_mm: float | None = None
    diameter_90_mm: float | None = None
    n_injected: int | None = None
    n_found: int | None = None
    place_factor: float | None = None
    curve: DetectionCurve | None = None
    points: DetectionPoints | None = None


@dataclass(frozen=True)
class RandomnessSummary(SavedRecord):
    """Test against random placement."""

    p_value: float | None = saved(default=None, reason_last=True)
    is_rejected: bool | None = saved(default=None, reason_last=True)
    level: float | None = None
    n_placements: int | None = None


@dataclass(frozen=True)
class PatternMeasure:
    """One measure of the pattern beside what randomly placed nodules would show."""

    name: str
    meaning: str
    unit: str
    value: float | None
    expected: float | None
    ratio: float | None
    ratio_ci95: tuple[float | None, float | None]
    p_value: float | None


@dataclass(frozen=True)
class UniformitySummary(SavedRecord):
    """Relative spread of the diameters, with the error of measuring them taken out (`cv`) and in."""

    cv: float | None = saved(default=None, reason_last=True)
    cv_err: float | None = saved(default=None, reason_last=True)
    cv_measured: float | None = saved(default=None, reason_last=True)


def _is_assessed(pattern: PatternSummary) -> bool:
    return pattern.label is not None


@dataclass(frozen=True)
class PatternSummary(SavedRecord):
    """How the nodules are distributed over the lungs; where `label` is None nothing else is known."""

    label: PatternLabel | None = None
    reason: str = saved(default="", when=_is_assessed)
    probabilities: Mapping[PatternLabel, float | None] = saved(
        default_factory=dict, when=_is_assessed, reason_last=True
    )
    n_nodules: int | None = saved(default=None, when=_is_assessed)
    n_used: int | None = saved(default=None, when=_is_assessed)
    randomness: RandomnessSummary = saved(default_factory=RandomnessSummary, when=_is_assessed)
    evidence: tuple[PatternMeasure, ...] = saved(default=(), when=_is_assessed)
    gradients: tuple[PatternMeasure, ...] = saved(default=(), when=_is_assessed)
    size_uniformity: UniformitySummary = saved(default_factory=UniformitySummary, when=_is_assessed)
    fissures: str | None = saved(default=None, when=_is_assessed)
    completeness: str | None = saved(default=None, when=_is_assessed)
    seed: int | None = saved(default=None, when=_is_assessed)


@dataclass(frozen=True)
class LesionSummary(SavedRecord):
    """One lesion of 8 mm or more; `lobe` is None where it could not be determined."""

    id: int
    origin: Origin | None = None
    long_axis_mm: float | None = None
    long_axis_ends_lps_mm: tuple[PointLps, PointLps] | None = None
    short_axis_mm: float | None = None
    short_axis_ends_lps_mm: tuple[PointLps, PointLps] | None = None
    volume_mm3: float | None = None
    density_hu: float | None = None
    centroid_lps_mm: PointLps | None = None
    side: Side | None = None
    zone: Zone | None = None
    lobe: Lobe | None = saved(default=None, none_as=LOBE_NOT_DETERMINED)
    lobe_confidence: float | None = None
    is_attached_to: Attachment | None = None
    is_cavitary: bool | None = None
    attenuation: LesionAttenuation | None = saved(default=None, omit_default=True)
    solid_axis_mm: float | None = saved(default=None, omit_default=True)
    cavity_volume_mm3: float | None = saved(default=None, reason_last=True)
    wall_thickness_mm: float | None = saved(default=None, reason_last=True)
    wall_thickness_min_mm: float | None = saved(default=None, reason_last=True)
    wall_thickness_max_mm: float | None = saved(default=None, reason_last=True)


@dataclass(frozen=True)
class ExtentSummary(SavedRecord):
    """How much of the lungs holds nodules; `by_third` counts nodules, as in ``right.upper``."""

    lung_fraction_involved: float | None = None
    lung_fraction_involved_ci95: Range95 | None = None
    cell_mm: float | None = None
    n_cells: float | None = None
    false_per_litre: float | None = None
    by_third: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrueSizeSummary(SavedRecord):
    """Median and 90th percentile of the diameters [mm], error of measuring taken out."""

    n: int | None = None
    median_mm: float | None = saved(default=None, reason_last=True)
    p90_mm: float | None = saved(default=None, reason_last=True)
    p90_ci95_mm: Range95 | None = saved(default=None, reason_last=True)


@dataclass(frozen=True)
class DefinitionVerdict:
    """One published definition of "miliary", judged by what was measured."""

    id: str
    title: str
    verdict: Verdict
    statement: str
    reason: str = ""
    inputs: tuple[Input, ...] = ()
    threshold: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    basis: Basis | None = None
    edition: str = ""


@dataclass(frozen=True)
class OperatingPointSummary(SavedRecord):
    """Probability from which a candidate is reported, how many there were, and the reference density [HU].

    `threshold` was lowered from `default` as long as few false positives were to be expected beside many
    nodules, or raised where hardly anything is found; `expected_false` is their number at `threshold`, left
    out where the candidates were too few to tell.
    """

    threshold: float | None = None
    default: float | None = saved(default=None, omit_default=True)
    expected_false: float | None = saved(default=None, omit_default=True)
    n_candidates: int | None = None
    reference_hu: float | None = None


@dataclass(frozen=True)
class CorrectionSummary(SavedRecord):
    """What of a reader's corrections the numbers hold, up to the one of number `applied_through`."""

    origin: Origin | None = None
    applied_through: int | None = None
    n_rejected: int | None = None
    n_added: int | None = None
    n_lesions: int | None = None
    not_placed: tuple[int, ...] = ()


@dataclass(frozen=True)
class ScanSummary(SavedRecord):
    """What `scan.json` holds: everything measured on one scan, without volumes and pictures.

    Counts, sizes and volumes under `nodules` are the burden; calcified nodules are counted apart.
    `corrections` is None where a reader's corrections were not asked for. Holds no date, path or identity.
    """

    schema_version: str | None = SCAN_VERSION
    kind: str = SCAN_KIND
    origin: Origin | None = None
    geometry: GeometrySummary = field(default_factory=GeometrySummary)
    acquisition: AcquisitionSummary = field(default_factory=AcquisitionSummary)
    warnings: tuple[ScanWarning, ...] = ()
    validity: ValiditySummary | None = saved(default=None, omit_default=True)
    lungs: LungSummary = field(default_factory=LungSummary)
    noise: NoiseSummary = field(default_factory=NoiseSummary)
    psf: BlurSummary = field(default_factory=BlurSummary)
    nodules: NoduleSummary = field(default_factory=NoduleSummary)
    calcified: CalcifiedSummary = field(default_factory=CalcifiedSummary)
    corrected: CorrectedSummary = field(default_factory=CorrectedSummary)
    completeness: CompletenessSummary = field(default_factory=CompletenessSummary)
    pattern: PatternSummary = field(default_factory=PatternSummary)
    lesions: tuple[LesionSummary, ...] = ()
    extent: ExtentSummary = field(default_factory=ExtentSummary)
    true_sizes: TrueSizeSummary = field(default_factory=TrueSizeSummary)
    definitions: tuple[DefinitionVerdict, ...] = ()
    operating_point: OperatingPointSummary = field(default_factory=OperatingPointSummary)
    corrections: CorrectionSummary | None = saved(default=None, omit_default=True)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()

    @property
    def doubt(self) -> str:
        """Why nothing may be inferred from the marks; empty where it may, or an older file does not say."""
        return "" if self.validity is None else self.validity.doubt
