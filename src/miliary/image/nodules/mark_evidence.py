"""What the marks of a scan say about whether they are nodules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from miliary.image.nodules.detect import DetectionRun
from miliary.image.nodules.mirror_marks import MirrorMarks, count_mirror_marks
from miliary.image.quality import validated_range
from miliary.model.nodules import Attenuation, Nodules
from miliary.model.validity import ValidityCheck, ValidityVerdict
from miliary.model.validity import ValidityCriterion as By

# Fewer marks than these say nothing as a whole, and are few enough for a reader to look at.
LEAST_MARKS, LEAST_PER_LITRE = 20, 10.0
# Share of marks that mirrored attenuation makes as well, from which on other doubts count.
ALSO_MIRRORED = 0.05
# Fewer marks than this on mirrored attenuation are chance.
LEAST_MIRRORED = 5
FEW = "the scan has too few marks to judge them as a whole"


def check_marks(detection: DetectionRun, nodules: Nodules, *, litres: float) -> tuple[ValidityCheck, ...]:
    """Judge the marks of a scan as a whole.

    Parameters
    ----------
    detection : DetectionRun
        The run that made them; its blur is that calibrated on them.
    nodules : Nodules
        The marks.
    litres : float
        Volume of the lungs [L].

    Returns
    -------
    tuple of ValidityCheck
        Marks that mirrored attenuation makes as well, marks too small to be resolved, and the share of
        nodules among the candidates.
    """
    n = len(nodules)
    if n < LEAST_MARKS or litres <= 0 or n / litres < LEAST_PER_LITRE:
        return (
            validated_range.judge(By.INVERTED_CONTRAST, None, unknown=FEW),
            validated_range.judge(By.CLASSES_OF_MARKS, None, unknown=FEW),
            validated_range.judge(By.SHARE_OF_NODULES, None, unknown=FEW),
        )
    unresolved = float(np.mean(nodules["attenuation"] == Attenuation.UNRESOLVED.value))
    return judge_marks(
        count_mirror_marks(detection),
        unresolved=unresolved,
        share=detection.share,
        is_blur_doubtful=bool(detection.psf.at_limit) or detection.psf.source == "unclear",
    )


def judge_marks(
    mirror: MirrorMarks, *, unresolved: float, share: float, is_blur_doubtful: bool
) -> tuple[ValidityCheck, ...]:
    """The same from numbers.

    Parameters
    ----------
    mirror : MirrorMarks
        Marks on mirrored attenuation.
    unresolved : float
        Share of them that is too small to be resolved, 0 to 1.
    share : float
        Estimated share of nodules among the candidates, 0 to 1.
    is_blur_doubtful : bool
        The blur that the marks tell lies at a limit of physics, or beyond it.

    Returns
    -------
    tuple of ValidityCheck
    """
    if mirror.litres <= 0:
        inverted = validated_range.judge(
            By.INVERTED_CONTRAST, None, unknown="the lungs hold no block to mirror"
        )
    else:
        # Dark spots, as those of emphysema, are bright when mirrored but large: noise makes small marks only.
        made = mirror.ratio * unresolved if mirror.n >= LEAST_MIRRORED else 0.0
        inverted = validated_range.judge(By.INVERTED_CONTRAST, made)
    is_doubtful = is_blur_doubtful or (inverted.value or 0.0) >= ALSO_MIRRORED
    classes = validated_range.judge(By.CLASSES_OF_MARKS, unresolved)
    classes = classes if is_doubtful else _accept(classes)
    shares = validated_range.judge(By.SHARE_OF_NODULES, share)
    # By themselves small marks are small nodules, and a high share is much disease.
    return (
        inverted,
        classes,
        shares if classes.verdict is ValidityVerdict.OUTSIDE else _accept(shares),
    )


def _accept(check: ValidityCheck) -> ValidityCheck:
    """The check of a value that nothing else makes doubtful."""
    return replace(check, verdict=ValidityVerdict.INSIDE, reason="", most=None)
