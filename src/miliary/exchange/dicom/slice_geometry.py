"""From slices in any order to one regular stack, or a refusal that names the file at fault.

Only ImagePositionPatient, ImageOrientationPatient and PixelSpacing count. File names, instance numbers
and SOP instance UIDs are never looked at: scanners and exports repeat and shuffle them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.dicom.header import CtSlice
from miliary.exchange.dicom.series import rank_kernel
from miliary.exchange.volumes.scan_checks import (
    MAX_EXTENT_MM,
    MAX_ORIGIN_MM,
    MIN_COVERAGE_MM,
    MIN_SLICES,
    check_spacing,
    thickness_class,
)
from miliary.model.scan import FloatArray, ScanWarning

_SAME_POSITION_MM = 0.01
_MAX_TILT_DEGREE = 0.5
# Of acquisitions that reach about as far the thinner one is read.
_AS_LONG = 0.8

SamePixels = Callable[[CtSlice, CtSlice], bool]


@dataclass(frozen=True)
class Stack:
    """Slices in order along their normal.

    Parameters
    ----------
    slices : tuple of CtSlice
    spacing_mm : tuple of float
        Distance between slices, rows and columns [mm].
    origin_lps_mm : tuple of float
        Centre of the first pixel of the first slice [mm].
    axes_lps : ndarray, shape (3, 3)
        Directions of the slice, row and column index, one per row.
    warnings : tuple of ScanWarning
    """

    slices: tuple[CtSlice, ...]
    spacing_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float]
    axes_lps: FloatArray
    warnings: tuple[ScanWarning, ...] = ()

    @property
    def coverage_mm(self) -> float:
        """Length of the stack [mm]."""
        return self.spacing_mm[0] * len(self.slices)


def stack_slices(slices: Sequence[CtSlice], *, name: str, same_pixels: SamePixels) -> Stack:
    """One regular stack of the slices of a series.

    Parameters
    ----------
    slices : sequence of CtSlice
        In any order.
    name : str
        The input as messages name it.
    same_pixels : callable
        Whether two slices hold the same picture; asked only for slices at one position.

    Returns
    -------
    Stack

    Raises
    ------
    ScanGeometryError
        Mixed orientation or matrix, gantry tilt, missing slices, uneven spacing, different slices at
        one position that cannot be told apart, too few or too thick slices.
    ScanReadError
        A slice without position, orientation, spacing or pixels.
    """
    _check_headers(slices)
    _check_consistent(slices)
    try:
        stack = _regular_stack(slices, same_pixels)
    except ScanGeometryError:
        untangled = _untangle(slices, same_pixels)
        if untangled is None:
            raise
        stack = untangled
    _check_extent(stack, name=name)
    _check_place(stack, name=name)
    return replace(stack, warnings=(*stack.warnings, *_slice_warnings(stack)))


def _check_headers(slices: Sequence[CtSlice]) -> None:
    for one in slices:
        if not one.pixels.is_present:
            raise ScanReadError(f"{one.name} has no pixel data; it is truncated: copy it again")
        if one.position_lps_mm is None or one.row_axis_lps is None or one.column_axis_lps is None:
            raise ScanReadError(
                f"{one.name} has no ImagePositionPatient or ImageOrientationPatient, so its "
                "place is not known; export the original axial series"
            )
        if one.spacing_mm is None or min(one.spacing_mm) <= 0.0:
            raise ScanReadError(f"{one.name} has no valid PixelSpacing; export the original axial series")


def _check_consistent(slices: Sequence[CtSlice]) -> None:
    first = slices[0]
    row, column = np.asarray(first.row_axis_lps), np.asarray(first.column_axis_lps)
    spacing = _array(first.spacing_mm)
    unit = np.array([row @ row, column @ column, row @ column])
    if np.abs(unit - (1.0, 1.0, 0.0)).max() > 0.01:
        raise ScanGeometryError(
            f"{first.name}: its row and column directions are not perpendicular unit vectors; "
            "export the original axial series"
        )
    for one in slices:
        if one.shape != first.shape or np.abs(_array(one.spacing_mm) / spacing - 1.0).max() > 1e-3:
            raise ScanGeometryError(
                f"{one.name} and {first.name} differ in matrix or pixel spacing within one series; "
                "export one reconstruction alone"
            )
        turn = np.abs(np.concatenate([_array(one.row_axis_lps) - row, _array(one.column_axis_lps) - column]))
        if turn.max() > 2e-3:
            raise ScanGeometryError(
                f"{one.name} and {first.name} are differently oriented within one series; "
                "export one orientation alone"
            )


def _array(values: Sequence[float] | None) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


def _axes(first: CtSlice) -> FloatArray:
    """Slice, row-index and column-index directions, made exactly orthonormal."""
    along_row = _array(first.row_axis_lps)
    along_row = along_row / np.linalg.norm(along_row)
    normal = np.cross(along_row, _array(first.column_axis_lps))
    normal /= np.linalg.norm(normal)
    return np.stack([normal, np.cross(normal, along_row), along_row])


def _regular_stack(slices: Sequence[CtSlice], same_pixels: SamePixels) -> Stack:
    axes = _axes(slices[0])
    ordered = sorted(slices, key=lambda s: (float(axes[0] @ _array(s.position_lps_mm)), s.name, s.frame))
    _check_tilt(ordered, axes)
    ordered, warnings = _drop_duplicates(ordered, axes, same_pixels)
    along = _along(ordered, axes)
    if len(ordered) == 1:
        step = slices[0].thickness_mm or 1.0
    else:
        # Positions are decimal strings: what is below a nanometre is arithmetic, not geometry.
        step = round(float(along[-1] - along[0]) / (len(ordered) - 1), 6)
        warnings += _check_steps(ordered, along)
    row_mm, column_mm = slices[0].spacing_mm or (1.0, 1.0)
    x, y, z = ordered[0].position_lps_mm or (0.0, 0.0, 0.0)
    return Stack(
        slices=tuple(ordered),
        spacing_mm=(step, row_mm, column_mm),
        origin_lps_mm=(x, y, z),
        axes_lps=axes,
        warnings=tuple(warnings),
    )


def _along(slices: Sequence[CtSlice], axes: FloatArray) -> FloatArray:
    return np.array([axes[0] @ _array(s.position_lps_mm) for s in slices])


def _check_tilt(ordered: Sequence[CtSlice], axes: FloatArray) -> None:
    """Refuse slices that do not lie straight above each other."""
    points = np.array([s.position_lps_mm for s in ordered])
    local = (points - points[0]) @ axes.T
    along, shift = local[:, 0], local[:, 1:]
    if along[-1] - along[0] < 1.0:
        return
    centred = along - along.mean()
    drift = centred @ (shift - shift.mean(axis=0)) / (centred @ centred)
    tilt = float(np.degrees(np.arctan(np.hypot(*drift))))
    if tilt > _MAX_TILT_DEGREE:
        raise ScanGeometryError(
            f"{ordered[0].name}: the slices are sheared by {tilt:.1f} degrees (gantry tilt); "
            "export the scan corrected for tilt or resampled to straight axial slices"
        )
    rest = np.abs(shift - shift.mean(axis=0) - centred[:, None] * drift).max(axis=1)
    worst = int(rest.argmax())
    if rest[worst] > 0.3:
        raise ScanGeometryError(
            f"{ordered[worst].name} is shifted sideways by {rest[worst]:.1f} mm against the other slices; "
            "export one acquisition alone"
        )


def _drop_duplicates(
    ordered: Sequence[CtSlice], axes: FloatArray, same_pixels: SamePixels
) -> tuple[list[CtSlice], list[ScanWarning]]:
    kept = [ordered[0]]
    dropped: list[CtSlice] = []
    along = _along(ordered, axes)
    last = along[0]
    for one, position in zip(ordered[1:], along[1:], strict=True):
        if position - last >= _SAME_POSITION_MM:
            kept.append(one)
            last = position
        elif same_pixels(kept[-1], one):
            dropped.append(one)
        else:
            raise ScanGeometryError(
                f"{kept[-1].name} and {one.name} are different slices at the same position: several "
                "acquisitions or phases in one series; export one of them alone"
            )
    if not dropped:
        return kept, []
    # By place and not by file: a file's name may be a person's.
    text = f"{len(dropped)} repeated slices were left out, the first of them at z {_z(dropped[0])} mm"
    return kept, [ScanWarning("duplicated_slices", text)]


def _check_steps(ordered: Sequence[CtSlice], along: FloatArray) -> list[ScanWarning]:
    steps = np.diff(along)
    step = float(np.median(steps))
    widest = int(steps.argmax())
    before, after = ordered[widest], ordered[widest + 1]
    if steps[widest] > 1.5 * step:
        n_missing = max(1, round(steps[widest] / step) - 1)
        raise ScanGeometryError(
            f"{n_missing} {'slice is' if n_missing == 1 else 'slices are'} missing between {before.name} "
            f"and {after.name} (z {_z(before)} and {_z(after)} mm, {steps[widest]:.2f} mm apart where "
            f"{step:.2f} mm is the rule); export the complete series"
        )
    deviation = np.abs(along - np.linspace(along[0], along[-1], along.size))
    worst = int(deviation.argmax())
    if np.abs(steps - step).max() > max(0.1 * step, 0.03) or deviation[worst] > max(0.25 * step, 0.05):
        raise ScanGeometryError(
            f"the slices are unevenly spaced ({steps.min():.2f} to {steps.max():.2f} mm, for example at "
            f"{before.name}); export one acquisition with even spacing"
        )
    if deviation[worst] > 0.02 * step + 0.005:
        text = f"slices deviate by up to {deviation[worst]:.2f} mm from an even spacing of {step:.2f} mm"
        return [ScanWarning("uneven_positions", text)]
    return []


def _z(one: CtSlice) -> str:
    return "?" if one.position_lps_mm is None else f"{one.position_lps_mm[2]:.1f}"


def _untangle(slices: Sequence[CtSlice], same_pixels: SamePixels) -> Stack | None:
    """The best regular part of an interleaved series, split by what its headers say; `None` if none.

    Parts count only where they really interleave: a hole in a single acquisition must not be passed over
    by taking the longer side of it.
    """
    for key in range(len(slices[0].split_keys)):
        parts: dict[str, list[CtSlice]] = defaultdict(list)
        for one in slices:
            parts[one.split_keys[key]].append(one)
        if len(parts) < 2:
            continue
        stacks = [stack for part in parts.values() if (stack := _usable_part(part, same_pixels)) is not None]
        if not stacks:
            continue
        longest = max(stack.coverage_mm for stack in stacks)
        best = min(
            (stack for stack in stacks if stack.coverage_mm >= _AS_LONG * longest),
            key=lambda s: (
                _thickness_class(s),
                rank_kernel(s.slices[0].kernel),
                *(-round(s.coverage_mm, 1), s.spacing_mm[0], s.slices[0].name),
            ),
        )
        along = _along(best.slices, best.axes_lps)
        chosen = set(best.slices)
        rest = [s for s in slices if s not in chosen]
        others = _along(rest, best.axes_lps)
        if not np.any((others > along[0] - 1e-3) & (others < along[-1] + 1e-3)):
            continue
        beyond = [s for s, z in zip(rest, others, strict=True) if not along[0] - 0.5 < z < along[-1] + 0.5]
        if joined := _join_passes(best, _go_on(best, list(parts.values())), same_pixels):
            return joined
        text = (
            f"the series interleaves {len(parts)} acquisitions ({len(slices)} slices); the best regular "
            f"one, {len(best.slices)} slices at {best.spacing_mm[0]:.4g} mm, was read, the rest left out"
        )
        warnings = [*best.warnings, ScanWarning("interleaved_acquisitions", text)]
        return replace(best, warnings=(*warnings, *_warn_of_rest(best, _along(beyond, best.axes_lps))))
    return None


def _thickness_class(stack: Stack) -> int:
    return thickness_class(max(stack.slices[0].thickness_mm or 0.0, stack.spacing_mm[0]))


def _go_on(best: Stack, parts: Sequence[Sequence[CtSlice]]) -> list[CtSlice]:
    """Of passes that overlap, one after the other, the slices with which each goes on where the last ends."""
    along = _along(best.slices, best.axes_lps)
    low, high = float(along[0]), float(along[-1])
    added: list[CtSlice] = []
    left = [(part, _along(part, best.axes_lps)) for part in parts if part[0] not in best.slices]
    while left:
        # The one that overlaps most of what there is comes next.
        left.sort(key=lambda item: min(high, float(item[1].max())) - max(low, float(item[1].min())))
        part, places = left.pop()
        added += [one for one, z in zip(part, places, strict=True) if not low - 0.5 < z < high + 0.5]
        low, high = min(low, float(places.min())), max(high, float(places.max()))
    return added


def _join_passes(best: Stack, beyond: Sequence[CtSlice], same_pixels: SamePixels) -> Stack | None:
    """Overlapping passes of one scan as one stack, where they stand on the same steps; `None` where not."""
    if not beyond:
        return None
    try:
        whole = _regular_stack([*best.slices, *beyond], same_pixels)
    except ScanGeometryError:
        return None
    if len({one.thickness_mm for one in whole.slices}) > 1 or len({one.kernel for one in whole.slices}) > 1:
        return None
    text = (
        f"the series holds passes that overlap; {len(best.slices)} slices of one and {len(beyond)} of the "
        "others, which go on where it ends, were read as one scan: where they meet, breathing may repeat or "
        "hide a part"
    )
    return replace(whole, warnings=(*whole.warnings, ScanWarning("overlapping_passes", text)))


def _warn_of_rest(best: Stack, beyond: FloatArray) -> list[ScanWarning]:
    """What the slices left out show and the ones read do not."""
    if beyond.size == 0:
        return []
    along = _along(best.slices, best.axes_lps)
    missed = max(0.0, float(along[0] - beyond.min())) + max(0.0, float(beyond.max() - along[-1]))
    if missed <= 2.0 * best.spacing_mm[0]:
        return []
    share = missed / (missed + best.coverage_mm)
    text = (
        f"slices left out reach {missed:.0f} mm beyond those read: {share:.0%} of the patient's length in "
        "this series was not measured"
    )
    return [ScanWarning("passes_left_out", text)]


def _usable_part(part: Sequence[CtSlice], same_pixels: SamePixels) -> Stack | None:
    try:
        stack = _regular_stack(part, same_pixels)
    except ScanGeometryError:
        return None
    return stack if len(stack.slices) >= MIN_SLICES and stack.coverage_mm >= MIN_COVERAGE_MM else None


def _check_extent(stack: Stack, *, name: str) -> None:
    n = len(stack.slices)
    if n == 1:
        raise ScanGeometryError(f"{name} holds a single slice; give the folder of the whole series")
    check_spacing(stack.spacing_mm, name=name)
    if n < MIN_SLICES or stack.coverage_mm < MIN_COVERAGE_MM:
        raise ScanGeometryError(
            f"{name}: only {n} slices over {stack.coverage_mm:.0f} mm, at least {MIN_SLICES} over "
            f"{MIN_COVERAGE_MM:.0f} mm are needed; give the whole series"
        )


def _check_place(stack: Stack, *, name: str) -> None:
    sizes = (len(stack.slices), *stack.slices[0].shape)
    extent = max(n * step for n, step in zip(sizes, stack.spacing_mm, strict=True))
    if max(map(abs, stack.origin_lps_mm)) > MAX_ORIGIN_MM or extent > MAX_EXTENT_MM:
        raise ScanGeometryError(
            f"{name}: its slices lie where no scanner has them, or are meters wide; correct their position "
            "and spacing"
        )


def _slice_warnings(stack: Stack) -> list[ScanWarning]:
    first = stack.slices[0]
    step = stack.spacing_mm[0]
    warnings = []
    if abs(first.tilt_degree) > _MAX_TILT_DEGREE:
        text = (
            f"the header names a gantry tilt of {first.tilt_degree:g} degrees while the slices lie straight; "
            "taken as corrected"
        )
        warnings.append(ScanWarning("gantry_tilt_corrected", text))
    if first.thickness_mm is not None and first.thickness_mm < 0.9 * step:
        text = (
            f"slices are {first.thickness_mm:g} mm thick at {step:.4g} mm steps: nodules between are missed"
        )
        warnings.append(ScanWarning("gaps_between_slices", text))
    if any(s.pixels.is_lossy for s in stack.slices):
        warnings.append(ScanWarning("lossy_compression", "the pixels were compressed with loss"))
    if "DERIVED" in first.type_words:
        warnings.append(ScanWarning("derived_images", "the images are derived (reformatted or processed)"))
    return warnings
