"""From lungs to marks in three steps: search, judge, measure.

One chain for the command line, for training and for validation, so that what is validated is what runs.
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
from miliary.model.ct_result import Lungs, Noise, Psf
from miliary.model.nodules import Nodules
from miliary.model.scan import Grid, Scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Search:
    """What stands out in the lungs.

    Parameters
    ----------
    box : LungBox
    smooth_hu : ndarray of float32, shape of the box
        At the finest scale.
    candidates : Candidates
    """

    box: LungBox
    smooth_hu: F32
    candidates: Candidates


@dataclass(frozen=True)
class Judged:
    """Candidates that passed the screen, n of them, and which are reported.

    Parameters
    ----------
    classifier : Classifier
    index_zyx : ndarray, shape (n, 3)
        In the box.
    position_mm : ndarray, shape (n, 3)
        (z, y, x) from the first voxel of the box [mm].
    table : ndarray of float32, shape (n, features)
    probability : ndarray, shape (n,)
    share : float
        Share of nodules among all candidates of this scan.
    rows : ndarray of int64, shape (m,)
        Those that are reported.
    """

    classifier: Classifier
    index_zyx: F64
    position_mm: F64
    table: F32
    probability: F64
    share: float
    rows: I64

    def leave_out(self, inside: npt.NDArray[np.bool_]) -> Judged:
        """Without the reported candidates for which `inside`, shape (m,), holds."""
        return replace(self, rows=self.rows[~inside])

    def start(self) -> dict[str, F64]:
        """Starting values of the fit of the reported ones."""
        return {
            name: self.table[self.rows, features.FEATURE_NAMES.index(name)].astype(np.float64)
            for name in ("background_hu", "contrast_hu")
        }


@dataclass(frozen=True)
class DetectionRun:
    """How the marks of a scan were made: all that it takes to do the same to an injected nodule.

    Parameters
    ----------
    box : LungBox
    smooth_hu : ndarray of float32
        From `find.smooth_finest`.
    classifier : Classifier
    share : float
        Share of nodules among the candidates of this scan.
    spread_hu : ndarray, shape (scales,)
        Of the responses, from `find.find_candidates`.
    noise : Noise
    psf_assumed, psf : Psf
        Blur as it was before the nodules themselves told it, and after.
    position_mm : ndarray, shape (n, 3)
        Marks of the scan (z, y, x) from the first voxel of the box [mm].
    background_hu, contrast_hu, diameter_mm : ndarray, shape (n,)
        Starting values of the fit at the marks, and fitted diameters.
    """

    box: LungBox
    smooth_hu: F32
    classifier: Classifier
    share: float
    spread_hu: F64
    noise: Noise
    psf_assumed: Psf
    psf: Psf
    position_mm: F64
    background_hu: F64
    contrast_hu: F64
    diameter_mm: F64


def search_lungs(scan: Scan, lungs: Lungs) -> Search:
    """List everything in the lungs that may be a nodule."""
    box = crop_to_lungs(scan, lungs)
    smooth = find.smooth_finest(box)
    return Search(box, smooth, find.find_candidates(box, smooth))


def judge_candidates(search: Search, *, noise: Noise, psf: Psf) -> Judged:
    """Give each candidate its probability; `psf` is the blur before the nodules tell it."""
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
    rows = judge.select_marks(position_mm, probability, classifier.threshold)
    return Judged(classifier, kept.index_zyx, position_mm, table, probability, share, rows)


def measure_marks(
    search: Search, judged: Judged, *, grid: Grid, noise: Noise, psf: Psf, is_clipped: bool
) -> tuple[DetectionRun, Fit, Nodules]:
    """Calibrate the blur on the marks, fit them, and describe them.

    Parameters
    ----------
    search : Search
    judged : Judged
    grid : Grid
        Of the scan.
    noise : Noise
    psf : Psf
        Blur before the nodules tell it.
    is_clipped : bool
        Whether high attenuation was cut off in the file.

    Returns
    -------
    DetectionRun
        How the marks were made; its `psf` is the calibrated blur.
    Fit
    Nodules
    """
    box, rows, start = search.box, judged.rows, judged.start()
    place = judged.position_mm[rows]
    blur = measure.calibrate_psf(box, place, **start, psf=psf, noise=noise)
    fit = measure.fit_balls(box, place, **start, psf=blur, noise=noise)
    nodules = describe.describe_nodules(
        fit,
        judged.table[rows],
        judged.probability[rows],
        box=box,
        grid=grid,
        psf=blur,
        noise=noise,
        is_clipped=is_clipped,
    )
    detection = DetectionRun(
        box=box,
        smooth_hu=search.smooth_hu,
        classifier=judged.classifier,
        share=judged.share,
        spread_hu=search.candidates.spread_hu,
        noise=noise,
        psf_assumed=psf,
        psf=blur,
        position_mm=place,
        **start,
        diameter_mm=np.cbrt(6.0 / np.pi * describe.measure_volume(fit)[0]),
    )
    return detection, fit, nodules
