"""Which series of a study is read: written rules, and the reason in words.

The rules, first difference decides:

1. at least 10 slices over at least 30 mm;
2. shows lung over at least 80 % of the length that the series with most lung does, measured on some slices;
   where no series shows lung, reaches at least 80 % as far as the longest;
3. original rather than derived images, and axial rather than coronal or sagittal ones;
4. thinner slices (classes up to 1.25, 2, 3, 5 mm);
5. smoother rather than sharper kernel: nodules are found and weighed best without edge overshoot;
6. more slices; then the lower series number; then the order of the file names.

A series that cannot be read gives way to the next that shows as much of the lungs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from miliary.errors import ScanReadError
from miliary.exchange.dicom.header import CtSlice
from miliary.exchange.volumes.scan_checks import MIN_COVERAGE_MM, MIN_SLICES, thickness_class

_LOCALIZER_WORDS = frozenset({"LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM", "SCANOGRAM"})
_NO_SLICE_WORDS = frozenset(
    {
        "MIP",
        "MINIP",
        "PROJECTION",
        "PERFUSION",
        "RENDERED",
        "VOLREN",
        "PATIENT",
        "DOSE",
        "SCREEN",
    }
)
# Of what the best series shows, so much is as good.
AS_MUCH = 0.8
_SHARP_WORDS = ("LUNG", "BONE", "EDGE", "DETAIL", "SHARP", "HRCT")


@dataclass(frozen=True)
class Series:
    """The slices of one series and what the rules look at."""

    slices: tuple[CtSlice, ...]
    n_positions: int
    step_mm: float
    coverage_mm: float
    is_original: bool
    is_axial: bool
    chest_mm: float | None = None
    n_joined: int = 1

    @property
    def number(self) -> int | None:
        """Series number of the scanner."""
        return self.slices[0].series_number

    @property
    def thickness_mm(self) -> float:
        """Nominal thickness, or the step where it is not given or smaller."""
        return max(self.slices[0].thickness_mm or 0.0, self.step_mm)

    @property
    def kernel(self) -> str | None:
        """Reconstruction kernel."""
        return self.slices[0].kernel

    @property
    def is_usable(self) -> bool:
        """Long enough to be a chest."""
        return self.n_positions >= MIN_SLICES and self.coverage_mm >= MIN_COVERAGE_MM

    def describe(self) -> str:
        """The series in words, without anything that identifies."""
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        noun = "slice" if len(self.slices) == 1 else "slices"
        joined = f" joined from {self.n_joined} series of one or a few" if self.n_joined > 1 else ""
        return f"{len(self.slices)} {noun} of {self.thickness_mm:.4g} mm{kernel}{joined}"


@dataclass(frozen=True)
class SeriesChoice:
    """A series to read, the sentence that says why, how many there were, and the others in words."""

    series: Series
    reason: str
    n_series: int
    others: str = ""


MeasureChest = Callable[[Series], float | None]


def rank_series(
    slices: Sequence[CtSlice], *, name: str, series: str | None, measure_chest: MeasureChest | None = None
) -> list[SeriesChoice]:
    """The series that may be read, the best first; the others serve where it cannot be.

    Parameters
    ----------
    slices : sequence of CtSlice
        All CT slices of the input.
    name : str
        The input as messages name it.
    series : str or None
        Series number, or position in the list counted from 1 (also as "#2"); `None` to apply the rules.
    measure_chest : callable, optional
        Length over which a series shows lung [mm]; asked only where there is a choice.

    Returns
    -------
    list of SeriesChoice
        One where a series was asked for; otherwise every one that shows about as much of the chest.

    Raises
    ------
    ScanReadError
        Only localizers, or no such series; the message lists the choices.
    """
    candidates = group_series(slices)
    if not candidates:
        raise ScanReadError(
            f"{name} holds only localizers or derived pictures ({len(slices)} images), no stack of CT "
            "slices; give the folder of the axial series"
        )
    if series is not None:
        index = _find(candidates, series, name=name)
        reason = f"{_label(candidates, index)}: {candidates[index].describe()}; asked for"
        return [SeriesChoice(candidates[index], reason, len(candidates))]
    if measure_chest is not None and sum(c.is_usable for c in candidates) > 1:
        candidates = [replace(c, chest_mm=measure_chest(c)) if c.is_usable else c for c in candidates]
    ranks = _rank_all(candidates)
    order = sorted(range(len(candidates)), key=lambda i: (ranks[i], i))
    choices = []
    for place, index in enumerate(order):
        if place and ranks[index][:2] > ranks[order[0]][:2]:
            break  # shows less of the chest: no stand-in for one that cannot be read
        reason = f"{_label(candidates, index)}: {candidates[index].describe()}"
        others = [i for i in order if i != index]
        if others:
            reason += f"; {_why(ranks[index], ranks[others[0]], by_lungs=_shows_lungs(candidates))}"
        named = _list_others(candidates, index, others)
        choices.append(SeriesChoice(candidates[index], reason, len(candidates), named))
    return choices


def is_sharp_kernel(kernel: str | None) -> bool | None:
    """Whether a kernel enhances edges, from its name; `None` where the name says nothing."""
    if not kernel:
        return None
    word = kernel.upper().split("/")[0].strip()
    if any(sharp in word for sharp in _SHARP_WORDS):
        return True
    if word in {"D", "E", "L"} or re.fullmatch(r"Y[A-D]", word):  # Philips
        return True
    if match := re.fullmatch(r"[BHIQT][A-Z]?(\d\d)[A-Z]?.*", word):  # Siemens: B31f, Br44d, I70f
        return int(match[1]) >= 50
    if match := re.fullmatch(r"FC(\d\d)", word):  # Toshiba, Canon: 30s bone, 50s and 80s lung
        return int(match[1]) >= 30
    if word in {"STANDARD", "SOFT", "CHEST", "A", "B", "C"}:
        return False
    return None


def rank_kernel(kernel: str | None) -> float:
    """0 for a smooth kernel, 1 for a sharp one, one half where its name says nothing."""
    sharp = is_sharp_kernel(kernel)
    return 0.5 if sharp is None else float(sharp)


def group_series(slices: Sequence[CtSlice]) -> list[Series]:
    """The series that are stacks of slices, by series number and then file name."""
    groups: dict[str, list[CtSlice]] = defaultdict(list)
    for one in slices:
        if not one.type_words & (_LOCALIZER_WORDS | _NO_SLICE_WORDS):
            groups[one.series_key].append(one)
    whole = {key: members for key, members in groups.items() if len(members) >= MIN_SLICES}
    small = [members for key, members in groups.items() if key not in whole]
    found = [_summarize(tuple(part)) for members in whole.values() for part in _split_by_grid(members)]
    found += [
        replace(_summarize(tuple(one for members in parts for one in members)), n_joined=len(parts))
        for parts in _join_small(small)
    ]
    return sorted(found, key=lambda s: (s.number is None, s.number or 0, min(m.name for m in s.slices)))


def _split_by_grid(members: list[CtSlice]) -> list[list[CtSlice]]:
    """Parts of one series that lie on grids of their own: reformats and targeted reconstructions.

    A few slices of another matrix, or of another direction with the same matrix, stay where they are, so that
    the series is refused and none goes missing unseen; a few that differ in both (a scout) do not.
    """
    parts: list[list[CtSlice]] = []
    for one in members:
        part = next((part for part in parts if _is_on_grid(part[0], one)), None)
        if part is None:
            parts.append([one])
        else:
            part.append(one)
    main = max(parts, key=len)
    if len(main) < MIN_SLICES:
        return [members]
    rest, own = list(main), []
    for part in parts:
        if part is not main:
            is_scout = _lies_across(part[0], main[0]) and not _has_same_pixels(part[0], main[0])
            if len(part) >= MIN_SLICES or is_scout:
                own.append(part)
            else:
                rest += part
    return [rest, *own]


def _is_on_grid(one: CtSlice, other: CtSlice) -> bool:
    """Whether two slices have one matrix, pixel spacing and direction; what is not said may be the same."""
    return not _lies_across(one, other) and _has_same_pixels(one, other)


def _has_same_pixels(one: CtSlice, other: CtSlice) -> bool:
    if one.shape != other.shape:
        return False
    if one.spacing_mm is None or other.spacing_mm is None or min(one.spacing_mm) <= 0.0:
        return True
    return all(abs(a / b - 1.0) < 1e-3 for a, b in zip(other.spacing_mm, one.spacing_mm, strict=True))


def _lies_across(one: CtSlice, other: CtSlice) -> bool:
    axes = (
        [slice_.row_axis_lps or () for slice_ in (one, other)],
        [slice_.column_axis_lps or () for slice_ in (one, other)],
    )
    return any(a and b and float(np.dot(a, b)) < 0.99 for a, b in axes)


def _join_small(groups: Sequence[list[CtSlice]]) -> list[list[list[CtSlice]]]:
    """Series of a few slices each, joined where together they are one stack: some exports give each a UID.

    Some give each slice a series number of its own as well, and some a study.
    """
    joined: list[list[list[CtSlice]]] = []
    rest = list(groups)
    for keep in (2, 1, 0):
        alike: dict[tuple[object, ...], list[list[CtSlice]]] = defaultdict(list)
        for members in rest:
            one = members[0]
            axes = (one.row_axis_lps or ()) + (one.column_axis_lps or ())
            key = (
                *(one.study_key, one.series_number)[:keep],
                *(one.shape, one.kernel, one.thickness_mm, one.spacing_mm),
                *(round(v, 3) for v in axes),
            )
            alike[key].append(members)
        whole = [parts for parts in alike.values() if sum(map(len, parts)) >= MIN_SLICES]
        joined += whole
        rest = [members for parts in alike.values() if parts not in whole for members in parts]
    return joined + [[members] for members in rest]


def _list_others(candidates: Sequence[Series], chosen: int, others: Sequence[int]) -> str:
    study = candidates[chosen].slices[0].study_key
    shown = []
    for i in others[:4]:
        is_other = candidates[i].slices[0].study_key != study
        note = " (another examination)" if is_other else ""
        shown.append(f"#{i + 1} {candidates[i].describe()}{note}")
    return ", ".join(shown) + (f" and {len(others) - 4} more" if len(others) > 4 else "")


def _summarize(slices: tuple[CtSlice, ...]) -> Series:
    first = slices[0]
    words = first.type_words
    n, step, coverage, is_axial = len(slices), 0.0, 0.0, False
    if first.row_axis_lps is not None and first.column_axis_lps is not None:
        normal = np.cross(first.row_axis_lps, first.column_axis_lps)
        is_axial = bool(abs(normal[2]) > np.abs(normal[:2]).max())
        along = np.sort([np.dot(s.position_lps_mm, normal) for s in slices if s.position_lps_mm is not None])
        if along.size:
            distinct = along[np.concatenate([[True], np.diff(along) > 0.01])]
            n = distinct.size
            step = float(np.median(np.diff(distinct))) if n > 1 else 0.0
            coverage = float(distinct[-1] - distinct[0]) + step
    return Series(
        slices=slices,
        n_positions=n,
        step_mm=step,
        coverage_mm=coverage,
        is_original="DERIVED" not in words,
        is_axial=is_axial,
    )


_REASONS = (
    "long enough to be a chest",
    "reaches further",
    "original axial images",
    "thinner slices",
    "smoother kernel",
    "more slices",
)


def _rank_all(candidates: Sequence[Series]) -> list[tuple[float, ...]]:
    """One rank each; lungs count where any series shows some, length where none does."""
    if _shows_lungs(candidates):
        most = max(c.chest_mm or 0.0 for c in candidates)
        return [_rank(c, is_short=(c.chest_mm or 0.0) < AS_MUCH * most) for c in candidates]
    longest = max((c.coverage_mm for c in candidates if c.is_usable), default=0.0)
    return [_rank(c, is_short=c.coverage_mm < AS_MUCH * longest) for c in candidates]


def _shows_lungs(candidates: Sequence[Series]) -> bool:
    return any(c.chest_mm for c in candidates)


def _rank(series: Series, *, is_short: bool) -> tuple[float, ...]:
    """Smaller is better; one entry per rule, in the order of `_REASONS`."""
    return (
        float(not series.is_usable),
        float(is_short),
        float(not series.is_original) + float(not series.is_axial),
        float(thickness_class(series.thickness_mm)),
        rank_kernel(series.kernel),
        -float(series.n_positions),
    )


def _why(best: tuple[float, ...], second: tuple[float, ...], *, by_lungs: bool) -> str:
    for reason, a, b in zip(_REASONS, best, second, strict=True):
        if a != b:
            if reason != "reaches further":
                return f"chosen for {reason}"
            return f"chosen because it {'shows more of the lungs' if by_lungs else reason}"
    return "chosen as the first of equal series"


def _label(candidates: Sequence[Series], index: int) -> str:
    number = candidates[index].number
    named = "" if number is None else f" (number {number})"
    return f"series {index + 1} of {len(candidates)}{named}"


def _find(candidates: Sequence[Series], series: str, *, name: str) -> int:
    wanted = series.strip()
    by_number = [i for i, c in enumerate(candidates) if c.number is not None and str(c.number) == wanted]
    if len(by_number) == 1:
        return by_number[0]
    digits = wanted.removeprefix("#")
    if not by_number and digits.isdecimal() and 1 <= int(digits) <= len(candidates):
        return int(digits) - 1
    problem = "names more than one series" if by_number else "names no series"
    choices = "; ".join(f"#{i + 1} number {c.number}: {c.describe()}" for i, c in enumerate(candidates))
    raise ScanReadError(f"{name}: series {wanted!r} {problem}; choose one of {choices}")
