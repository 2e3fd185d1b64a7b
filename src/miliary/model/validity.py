"""`Validity`: whether a scan lies inside what the program was validated on, criterion by criterion, in words.

Outside, marks are still listed, but nothing is inferred from them: corrected numbers, pattern, extent, sizes,
definitions and response are "not measurable", with the same reason everywhere.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ValidityVerdict(enum.StrEnum):
    """Where a scan lies by one criterion; `not_measured` where the scan does not tell."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    NOT_MEASURED = "not_measured"


class ValidityCriterion(enum.StrEnum):
    """What a scan is judged by."""

    SLICE_THICKNESS = "slice_thickness"
    SLICE_STEP = "slice_step"
    PIXEL_SIZE = "pixel_size"
    SAMPLING = "sampling"
    KERNEL = "kernel"
    NOISE = "noise"
    NOISE_TEXTURE = "noise_texture"
    MOTION = "motion"
    OPAQUE_LUNG = "opaque_lung"
    SHARE_OF_NODULES = "share_of_nodules"
    CLASSES_OF_MARKS = "classes_of_marks"
    INVERTED_CONTRAST = "inverted_contrast"


@dataclass(frozen=True)
class ValidityCheck:
    """One criterion.

    Parameters
    ----------
    criterion : ValidityCriterion
    verdict : ValidityVerdict
    value : float or None
        What was measured; None where it was not.
    unit : str
        Of the value and its limits; empty for a share or a ratio.
    least, most : float or None
        Range that was validated; None where it has no such end.
    reason : str
        Why the scan is outside, or why it was not measured, in words; empty inside.
    basis : str
        Where the limits come from.
    """

    criterion: ValidityCriterion
    verdict: ValidityVerdict
    value: float | None = None
    unit: str = ""
    least: float | None = None
    most: float | None = None
    reason: str = ""
    basis: str = ""


@dataclass(frozen=True)
class Validity:
    """All criteria of one scan."""

    checks: tuple[ValidityCheck, ...] = ()

    @property
    def verdict(self) -> ValidityVerdict:
        """Outside where any criterion is, else inside; not measured where there is no criterion."""
        verdicts = {check.verdict for check in self.checks}
        if ValidityVerdict.OUTSIDE in verdicts:
            return ValidityVerdict.OUTSIDE
        return ValidityVerdict.INSIDE if ValidityVerdict.INSIDE in verdicts else ValidityVerdict.NOT_MEASURED

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the scan is outside, one phrase per criterion; empty where it is not."""
        return tuple(c.reason for c in self.checks if c.verdict is ValidityVerdict.OUTSIDE)

    @property
    def doubt(self) -> str:
        """Why nothing may be inferred from the marks, as one sentence; empty where it may."""
        return state_doubt(self.reasons)


def state_doubt(reasons: tuple[str, ...]) -> str:
    """The sentence in place of every number that a scan outside what was validated does not give.

    Parameters
    ----------
    reasons : tuple of str
        Of `Validity.reasons`.

    Returns
    -------
    str
        Empty where there are none.
    """
    if not reasons:
        return ""
    return "not measurable: the scan is outside what was validated (" + "; ".join(reasons) + ")"
