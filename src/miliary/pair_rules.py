"""What the rules of comparability make of two measured scans: may they be compared, and what is left out.

Joins rows of the rule file, which the numerics do not know, with measures, which the rules do not make.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from miliary.clinical import comparability as rules
from miliary.clinical.rulebook import RuleBook
from miliary.errors import InputError
from miliary.image.pair import lesion_change
from miliary.image.pair.common_lung import CommonLung
from miliary.image.pair.compared_side import ComparedSide
from miliary.image.pair.opacity import find_new_opacities
from miliary.image.pair.region_response import MeasuredResponse, measure_response
from miliary.model.comparison import (
    Comparability,
    ComparabilityVerdict,
    Exam,
    LesionChange,
    Opacity,
    RecistSummary,
)
from miliary.model.saved.codec import from_json
from miliary.model.saved.scan_summary import LesionSummary
from miliary.model.transform import Transform

Lesions = tuple[LesionSummary, ...]


def check_pair(
    baseline: Exam,
    followup: Exam,
    common: CommonLung,
    registration: dict[str, float | None],
    book: RuleBook,
    *,
    is_one_patient: bool,
) -> str:
    """What speaks against one patient although it is known to be one; empty where nothing does.

    Parameters
    ----------
    baseline, followup : Exam
    common : CommonLung
        Lung that both scans show.
    registration : dict of str to float or None
        Measures of the registration, ``agreement`` among them.
    book : RuleBook
        Rules of comparability.
    is_one_patient : bool
        Whether it is known that both scans show one patient.

    Returns
    -------
    str

    Raises
    ------
    InputError
        The scans show different lungs, or different parts of them.
    """
    agreement = registration["agreement"]
    problem = rules.find_impossibility(
        coverage=common.coverage, agreement=None if is_one_patient else agreement, book=book
    )
    if problem:
        raise InputError(f"{baseline.name} and {followup.name} {problem}")
    return rules.find_impossibility(coverage=1.0, agreement=agreement, book=book)


def judge_scans(
    baseline: Exam,
    followup: Exam,
    sides: tuple[ComparedSide, ComparedSide],
    common: CommonLung,
    book: RuleBook,
) -> Comparability:
    """Whether the scans may be compared, from how each was made and how well it shows nodules.

    Parameters
    ----------
    baseline, followup : Exam
    sides : pair of ComparedSide
        Their nodules in the common lung, and how well each scan shows nodules.
    common : CommonLung
    book : RuleBook

    Returns
    -------
    Comparability
    """
    exams = (baseline, followup)
    sizes = sides[0].nodules["diameter_mm"]
    blur = [exam.summary.psf.mean_sigma_mm for exam in exams]
    noise = [exam.summary.noise.sd_hu for exam in exams]
    thickness = [
        exam.summary.acquisition.slice_thickness_mm or exam.scan.grid.spacing_zyx_mm[0] for exam in exams
    ]
    facts = rules.PairFacts(
        coverage=common.coverage,
        lung_volume_ratio=float(common.followup_ml.sum() / max(common.baseline_ml.sum(), 1e-6)),
        slice_thickness_mm=(thickness[0], thickness[1]),
        blur_mm=(blur[0], blur[1]),
        noise_hu=(noise[0], noise[1]),
        d50_mm=(sides[0].detectability.d50_mm, sides[1].detectability.d50_mm),
        median_diameter_mm=float(np.median(sizes)) if len(sizes) else None,
        doubts=(_state_doubt(baseline), _state_doubt(followup)),
    )
    return rules.judge_pair(facts, book)


def _state_doubt(exam: Exam) -> str:
    """Why a scan lies outside what was validated; empty where it does not, or where its file is older."""
    validity = exam.summary.validity
    return "" if validity is None or not exam.summary.doubt else "; ".join(validity.reasons)


def find_opacities(
    baseline: Exam, followup: Exam, transform: Transform, lesions: Sequence[Lesions], book: RuleBook
) -> tuple[tuple[Opacity, ...], npt.NDArray[np.bool_]]:
    """New opacities, and the parts of the lung that leave the ratio for them.

    Parameters
    ----------
    baseline, followup : Exam
    transform : Transform
        Baseline points to follow-up points.
    lesions : pair of tuple of LesionSummary
        Large lesions of both scans, which are no new opacities.
    book : RuleBook

    Returns
    -------
    opacities : tuple of Opacity
    is_dense : ndarray of bool, shape (6,)
        Parts of the lung (side and zone) of which too large a share became opaque.
    """
    numbers = rules.read_numbers(book.row("new_opacity"))
    found, share = find_new_opacities(
        baseline.scan,
        baseline.lungs,
        followup.scan,
        transform,
        min_rise_hu=numbers["min_rise_hu"],
        consolidation_min_hu=numbers["consolidation_min_hu"],
        min_volume_ml=numbers["min_volume_ml"],
        lesions_mm=lesion_change.list_spheres_at_baseline(lesions[0], lesions[1], transform),
    )
    return found, share > numbers["max_zone_share"]


def measure_allowed_response(
    sides: tuple[ComparedSide, ComparedSide],
    common: CommonLung,
    gate: Comparability,
    is_dense: npt.NDArray[np.bool_],
    book: RuleBook,
) -> MeasuredResponse:
    """Burden and ratio of the lung and its parts, as far as the gate allows a ratio.

    Parameters
    ----------
    sides : pair of ComparedSide
    common : CommonLung
    gate : Comparability
        Verdict on the pair.
    is_dense : ndarray of bool, shape (6,)
        Parts that leave the total for their new opacities.
    book : RuleBook

    Returns
    -------
    MeasuredResponse
        Without ratios where the scans are not comparable, without totals of a scan whose marks cannot be
        counted.
    """
    shared = book.row("shared_error")
    is_like = gate.verdict is ComparabilityVerdict.COMPARABLE
    is_refused = gate.verdict is ComparabilityVerdict.NOT_COMPARABLE
    found = measure_response(
        sides,
        common,
        is_dense=is_dense,
        is_like=is_like,
        correlation=shared["comparable"] if is_like else shared["after_correction"],
        refusal="the scans are not comparable: " + "; ".join(gate.reasons) if is_refused else "",
    )
    return found.withhold((sides[0].doubt, sides[1].doubt))


def judge_dominant_lesion(lesion: LesionChange, days: int | None) -> RecistSummary:
    """Target response by the longest diameter of the dominant lesion alone.

    Parameters
    ----------
    lesion : LesionChange
    days : int or None
        From baseline to follow-up.

    Returns
    -------
    RecistSummary
    """
    before = {} if lesion.baseline_mm is None else {"dominant": lesion.baseline_mm}
    judged = rules.judge_targets(before, {"dominant": lesion.followup_mm}, days=days)
    return from_json(RecistSummary, judged, name="recist").value
