"""Detect nodules in three steps: search the lungs, score the candidates, measure those that are reported.

The command line, training and validation call the same steps, so that what is validated is what runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.anatomy import regions
from miliary.image.anatomy.lung_box import LungBox, crop_to_lungs
from miliary.image.nodules import describe, features, find, judge, measure
from miliary.image.nodules.find import Candidates
from miliary.image.nodules.judge import Classifier
from miliary.image.nodules.measure import Fit
from miliary.image.nodules.operating_point import choose_operating_point
from miliary.model.ct_result import Lungs, Noise, OperatingPoint, Psf
from miliary.model.nodules import Nodules
from miliary.model.scan import Grid, Scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CandidateSearch:
    """The lungs and the candidates found in them.

    Parameters
    ----------
    box : LungBox
        The part of the scan that was searched.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        The box after the Gaussian of the finest scale [HU].
    candidates : Candidates
        Positions that may be nodules.
    """

    box: LungBox
    smooth_hu: F32
    candidates: Candidates


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates that passed the screen, n of them, with their probabilities, and which are reported.

    Parameters
    ----------
    classifier : Classifier
        The classifier that scored them; its `threshold` is that of this scan.
    operating_point : OperatingPoint
        How that threshold was chosen.
    index_zyx : ndarray of float64, shape (n, 3)
        Position as a fractional index of the box.
    position_mm : ndarray of float64, shape (n, 3)
        Position (z, y, x) from the first voxel of the box [mm].
    table : ndarray of float32, shape (n, features)
        Features, with columns `features.FEATURE_NAMES`.
    probability : ndarray of float64, shape (n,)
        Probability of being a nodule, 0 to 1.
    share : float
        Estimated share of nodules among all candidates of this scan, 0 to 1.
    rows : ndarray of int64, shape (m,)
        Rows of the candidates that are reported as nodules.
    """

    classifier: Classifier
    operating_point: OperatingPoint
    index_zyx: F64
    position_mm: F64
    table: F32
    probability: F64
    share: float
    rows: I64

    def exclude(self, inside: npt.NDArray[np.bool_]) -> ScoredCandidates:
        """A copy that does not report some of the candidates.

        Parameters
        ----------
        inside : ndarray of bool, shape (m,)
            True for each reported candidate to drop.
        """
        return replace(self, rows=self.rows[~inside])

    def start(self) -> dict[str, F64]:
        """Background and contrast [HU], shape (m,) each, to start the fit of the reported candidates."""
        return {
            name: self.table[self.rows, features.FEATURE_NAMES.index(name)].astype(np.float64)
            for name in ("background_hu", "contrast_hu")
        }


@dataclass(frozen=True)
class DetectionRun:
    """One run of the detector on a scan: everything needed to repeat it on voxels with injected nodules.

    Parameters
    ----------
    box : LungBox
        The lungs.
    smooth_hu : ndarray of float32, shape (z, y, x) of the box
        From `find.smooth_finest` [HU].
    classifier : Classifier
        The classifier that scored the candidates; its `threshold` is that of this scan.
    share : float
        Estimated share of nodules among the candidates of this scan, 0 to 1.
    response_sd_hu : ndarray of float64, shape (scales,)
        Robust standard deviation of the responses, from `find.find_candidates` [HU].
    noise : Noise
        Noise of the scan.
    psf_assumed, psf : Psf
        Blur before and after its calibration on the reported nodules.
    position_mm : ndarray of float64, shape (n, 3)
        Reported nodules (z, y, x) from the first voxel of the box [mm].
    background_hu, contrast_hu : ndarray of float64, shape (n,)
        Starting values of their fit [HU].
    diameter_mm : ndarray of float64, shape (n,)
        Their fitted diameters [mm].
    """

    box: LungBox
    smooth_hu: F32
    classifier: Classifier
    share: float
    response_sd_hu: F64
    noise: Noise
    psf_assumed: Psf
    psf: Psf
    position_mm: F64
    background_hu: F64
    contrast_hu: F64
    diameter_mm: F64


def search_lungs(scan: Scan, lungs: Lungs) -> CandidateSearch:
    """Crop a scan to its lungs and list every position that may be a nodule.

    Parameters
    ----------
    scan : Scan
        The scan; not modified.
    lungs : Lungs
        Lung labels on the grid of the scan.

    Returns
    -------
    CandidateSearch

    Raises
    ------
    ValueError
        The labels hold no lung.
    """
    box = crop_to_lungs(scan, lungs)
    smooth = find.smooth_finest(box)
    return CandidateSearch(box, smooth, find.find_candidates(box, smooth))


def score_candidates(search: CandidateSearch, *, noise: Noise, psf: Psf) -> ScoredCandidates:
    """Give each candidate its probability of being a nodule, and select those that are reported.

    Parameters
    ----------
    search : CandidateSearch
        The candidates.
    noise : Noise
        Noise of the scan.
    psf : Psf
        Blur of the scan before its calibration on the nodules.

    Returns
    -------
    ScoredCandidates
        Candidates dropped by the screen are left out.

    Raises
    ------
    WeightsError
        The packaged classifier cannot be used.
    """
    box, candidates = search.box, search.candidates
    classifier = judge.read_classifier()
    quick = features.measure_quick_features(search.smooth_hu, candidates, box)
    kept = candidates.select(judge.screen_candidates(quick, classifier))
    depth = regions.measure_depth(box.labels, box.spacing_zyx_mm, kept.index_zyx)
    table = features.measure_features(search.smooth_hu, kept, box, depth_mm=depth, noise=noise, psf=psf)
    score = judge.estimate_score(table, classifier)
    probability, share = judge.estimate_probability(
        score, classifier.prior, n_dropped=len(candidates) - len(kept)
    )
    position_mm = kept.index_zyx * np.asarray(box.spacing_zyx_mm)
    point = choose_operating_point(
        position_mm, score, probability, default=classifier.threshold, litres=box.lung_litres
    )
    rows = judge.select_reported(position_mm, probability, point.threshold)
    return ScoredCandidates(
        classifier=replace(classifier, threshold=point.threshold),
        operating_point=point,
        index_zyx=kept.index_zyx,
        position_mm=position_mm,
        table=table,
        probability=probability,
        share=share,
        rows=rows,
    )


def measure_nodules(
    search: CandidateSearch, scored: ScoredCandidates, *, grid: Grid, noise: Noise, psf: Psf, is_clipped: bool
) -> tuple[DetectionRun, Fit, Nodules]:
    """Calibrate the blur on the reported nodules, fit them, and make their table.

    Parameters
    ----------
    search : CandidateSearch
        The lungs.
    scored : ScoredCandidates
        The candidates and which of them are reported.
    grid : Grid
        Grid of the whole scan.
    noise : Noise
        Noise of the scan.
    psf : Psf
        Blur of the scan before its calibration on the nodules.
    is_clipped : bool
        Whether attenuation above that of soft tissue was cut off in the file.

    Returns
    -------
    run : DetectionRun
        What is needed to repeat the detection; its `psf` is the calibrated blur.
    fit : Fit
        The fits of the reported nodules.
    nodules : Nodules
        Their table, one row per nodule in the same order.
    """
    box, rows, start = search.box, scored.rows, scored.start()
    position_mm = scored.position_mm[rows]
    blur = measure.calibrate_psf(box, position_mm, **start, psf=psf, noise=noise)
    fit = measure.fit_balls(box, position_mm, **start, psf=blur, noise=noise)
    nodules = describe.describe_nodules(
        fit,
        scored.table[rows],
        scored.probability[rows],
        box=box,
        grid=grid,
        psf=blur,
        noise=noise,
        is_clipped=is_clipped,
    )
    run = DetectionRun(
        box=box,
        smooth_hu=search.smooth_hu,
        classifier=scored.classifier,
        share=scored.share,
        response_sd_hu=search.candidates.response_sd_hu,
        noise=noise,
        psf_assumed=psf,
        psf=blur,
        position_mm=position_mm,
        **start,
        diameter_mm=np.cbrt(6.0 / np.pi * describe.measure_volume(fit)[0]),
    )
    return run, fit, nodules
