"""Burden of each part of the commonly covered lung on both scans, and the ratios between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from miliary.image.pair import burden_ratio
from miliary.image.pair.common_lung import PARTS, CommonLung
from miliary.image.pair.compared_side import ComparedSide
from miliary.image.sensitivity.estimate import STEP_MM
from miliary.image.sensitivity.false_positives import read_table
from miliary.model.comparison import Burden, Exam, Interval, RegionResponse
from miliary.model.scan import ScanWarning, Side

F64 = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Relative error that all volumes of one scan share, beyond what both scans share: its blur.
_COMMON_ERROR = 0.03
_DENSE = "new shadows on the follow-up"


@dataclass(frozen=True)
class MeasuredResponse:
    """The answer of a comparison in numbers.

    Parameters
    ----------
    regions : tuple of RegionResponse
        Both lungs, then the six zones.
    total : RegionResponse
        The commonly covered lung without excluded zones.
    min_diameter_mm, count_diameter_mm : float
        Smallest diameter [mm] of the totals, and of the counts.
    is_corrected : bool
        Whether what each scan misses was corrected for.
    """

    regions: tuple[RegionResponse, ...]
    total: RegionResponse
    min_diameter_mm: float
    count_diameter_mm: float
    is_corrected: bool

    def withhold(self, doubts: tuple[str, str]) -> MeasuredResponse:
        """The same without the totals of scans whose marks cannot be counted.

        Parameters
        ----------
        doubts : pair of str
            Why not, of baseline and follow-up; empty where they can.
        """

        def without(region: RegionResponse) -> RegionResponse:
            before, after = (
                burden.withhold(doubt) if doubt else burden
                for burden, doubt in zip((region.baseline, region.followup), doubts, strict=True)
            )
            return replace(region, baseline=before, followup=after)

        return replace(self, regions=tuple(map(without, self.regions)), total=without(self.total))


@dataclass(frozen=True)
class _Setting:
    """What the measurement of every region has in common."""

    sides: tuple[ComparedSide, ComparedSide]
    samples: tuple[burden_ratio.ComparedNodules, burden_ratio.ComparedNodules]
    lung_ml: tuple[F64, F64]
    diameters_mm: tuple[float, float]
    is_corrected: bool
    is_weighed: bool
    correlation: float
    refusal: str


def measure_response(
    sides: Sequence[ComparedSide],
    common: CommonLung,
    *,
    is_dense: BoolArray,
    is_like: bool,
    correlation: float,
    refusal: str,
) -> MeasuredResponse:
    """Measure burden and ratio of the lung, of each side and of each zone.

    Parameters
    ----------
    sides : pair of ComparedSide
        Baseline and follow-up.
    common : CommonLung
    is_dense : ndarray of bool, shape (6,)
        Parts that leave the total for their new opacities.
    is_like : bool
        The scans were made alike, so that what is wrong with both cancels in the ratio.
    correlation : float
        Of the errors that are not a scan's own.
    refusal : str
        Why no ratio may be given; empty where it may.
    """
    first, second = sides
    shown = (first.detectability, second.detectability)
    least = _round_up(max(one.min_diameter_mm for one in shown))
    counted = max(*(_round_up(one.d90_mm or least) for one in shown), least)
    is_corrected = all(one.is_measured for one in shown)
    setting = _Setting(
        (first, second),
        (_sample(first), _sample(second)),
        (common.baseline_ml, common.followup_ml),
        (least, counted),
        is_corrected=is_corrected,
        is_weighed=is_like or not is_corrected,
        correlation=correlation,
        refusal=refusal,
    )
    used = [number for number in range(len(PARTS)) if not is_dense[number]]
    total = _measure_region(setting, used, side="both", zone=None)
    return MeasuredResponse(
        tuple(_list_regions(setting, used)), total, least, counted, is_corrected=is_corrected
    )


def _list_regions(setting: _Setting, used: Sequence[int]) -> Iterator[RegionResponse]:
    for side in Side:
        own = [number for number in used if PARTS[number][0] is side]
        yield _measure_region(setting, own, side=side.value, zone=None)
    for number, (side, zone) in enumerate(PARTS):
        yield _measure_region(
            setting,
            [number],
            side=side.value,
            zone=zone.value,
            excluded="" if number in used else _DENSE,
        )


def _measure_region(
    setting: _Setting, parts: Sequence[int], *, side: str, zone: str | None, excluded: str | None = None
) -> RegionResponse:
    """Both burdens of some parts of the lung; a region of no parts is excluded.

    The burdens are the corrected totals of each scan wherever there are any, as its own summary states them.
    Ratios of like scans are made nodule by nodule: what is wrong with both alike, as marks that are no
    nodules or the volume of what touches a vessel, cancels there, while each scan's own estimate of it would
    add its noise. Unlike scans are wrong in different ways and need the corrected totals of each.
    """
    stated = _share_totals if setting.is_corrected else _weigh
    before, after = (stated(setting, which, parts) for which in (0, 1))
    why = excluded if excluded is not None else "" if parts else _DENSE
    if setting.refusal:
        nothing = Interval(None, reason=setting.refusal)
        return RegionResponse(side, zone, before, after, nothing, nothing, why)
    weighed = (
        tuple(_weigh(setting, which, parts) for which in (0, 1)) if setting.is_weighed else (before, after)
    )
    volumes, counts = map(_total_volume, weighed), map(_total_count, weighed)
    return RegionResponse(
        side,
        zone,
        before,
        after,
        burden_ratio.estimate_ratio(*volumes, correlation=setting.correlation),
        burden_ratio.estimate_ratio(*counts, correlation=setting.correlation),
        why,
    )


def _total_volume(burden: Burden) -> burden_ratio.TotalWithError:
    return burden_ratio.TotalWithError(burden.volume_mm3, burden.volume_mm3_err, burden.volume_mm3_own_err)


def _total_count(burden: Burden) -> burden_ratio.TotalWithError:
    return burden_ratio.TotalWithError(burden.count, burden.count_err, burden.count_own_err)


def _round_up(diameter_mm: float) -> float:
    """The next diameter [mm] that the corrected totals of a scan are stated at."""
    return round(math.ceil(diameter_mm / STEP_MM - 1e-6) * STEP_MM, 3)


def _weigh(setting: _Setting, which: int, parts: Sequence[int]) -> Burden:
    """What one scan shows in parts of the lung, each nodule standing for those like it that are missed."""
    least, counted = setting.diameters_mm
    return burden_ratio.measure_burden(
        _select(setting, which, parts),
        lung_ml=float(setting.lung_ml[which][list(parts)].sum()),
        min_diameter_mm=least,
        count_diameter_mm=counted,
        false_positives=_expect_false_positives(counted),
        common_err=_COMMON_ERROR,
    )


def _share_totals(setting: _Setting, which: int, parts: Sequence[int]) -> Burden:
    """Share of parts of the lung in the corrected totals of one scan."""
    side, lung_ml = setting.sides[which], setting.lung_ml[which]
    least, counted = setting.diameters_mm
    here_ml = float(lung_ml[list(parts)].sum())
    return burden_ratio.share_burden(
        _select(setting, which, parts),
        setting.samples[which],
        volume_mm3=side.detectability.corrected_volume(least),
        count=side.detectability.corrected_count(counted),
        lung_ml=here_ml,
        lung_share=here_ml / max(float(lung_ml.sum()), 1e-6),
        min_diameter_mm=least,
        count_diameter_mm=counted,
    )


def _select(setting: _Setting, which: int, parts: Sequence[int]) -> burden_ratio.ComparedNodules:
    sample, place = setting.samples[which], setting.sides[which].place
    return sample.select(np.isin(sample.part, parts) & place.is_common)


def _sample(side: ComparedSide) -> burden_ratio.ComparedNodules:
    nodules, shown = side.nodules, side.detectability
    return burden_ratio.ComparedNodules(
        volume_mm3=nodules["volume_mm3"],
        volume_mm3_err=np.nan_to_num(nodules["volume_mm3_err"]),
        diameter_mm=nodules["diameter_mm"],
        diameter_mm_err=np.nan_to_num(nodules["diameter_mm_err"]),
        # What a reader added stands for itself: what the program misses was not asked of the reader.
        completeness=np.where(nodules.is_reader_added, 1.0, shown.at(nodules["diameter_mm"])),
        completeness_err=shown.error_at(nodules["diameter_mm"]),
        part=side.place.part,
    )


def _expect_false_positives(count_diameter_mm: float) -> burden_ratio.FalsePositiveRate:
    # The scan's own summary does not state how many it has.
    rate = read_table().unknown_scan
    share = float(np.clip(1.5 / max(count_diameter_mm, 0.1), 0.2, 1.0))
    return burden_ratio.FalsePositiveRate(
        rate.per_litre, rate.per_litre_sd, rate.volume_mm3, rate.volume_mm3_sd, share
    )


def list_warnings(
    exams: Sequence[Exam], sides: Sequence[ComparedSide], measured: MeasuredResponse, *, n_opacities: int
) -> Iterator[ScanWarning]:
    """What a reader of the ratio must know of both scans.

    Parameters
    ----------
    exams, sides : pair
        Baseline and follow-up.
    measured : MeasuredResponse
    n_opacities : int
        New opacities on the follow-up.
    """
    if not measured.is_corrected:
        text = "what each scan misses was not measured: totals and counts are as reported, uncorrected"
        yield ScanWarning("uncorrected", text)
    for exam, side in zip(exams, sides, strict=True):
        if measured.is_corrected and side.detectability.d90_mm is None:
            text = (
                f"{exam.name}: nine of ten nodules are found at no diameter; counts are made from "
                f"{measured.count_diameter_mm:.2g} mm on and rest on the correction"
            )
            yield ScanWarning("no_90_percent_diameter", text)
        if exam.summary.lungs.is_cut_off:
            yield ScanWarning("lung_cut_off", f"{exam.name}: a part of the lung was not scanned")
    if n_opacities:
        text = f"{n_opacities} new shadows on the follow-up are for a reader to judge"
        yield ScanWarning("new_opacities", text)
