"""The rows of the acceptance table: which scans each needs, what is taken from them, what it must reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from validation.cases import CASES, Case

Figures = Mapping[str, Any]
Extract = Callable[[Figures, Mapping[str, Figures]], float]

BIASED_BINS = ("1.5-2", "2-2.5", "2.5-3")


@dataclass(frozen=True)
class Metric:
    """One figure per scan with its bar.

    Parameters
    ----------
    label : str
    tag : str
        Scans it is taken from.
    bar, aim : float or None
        None for what is only reported.
    extract : callable
    line : tuple of str
        Start of the section's title and of the measure's name in `RESULTS.md`.
    is_ceiling : bool
        Small is good.
    digits : int
    """

    label: str
    tag: str
    bar: float | None
    aim: float | None
    extract: Extract
    line: tuple[str, str]
    is_ceiling: bool = False
    digits: int = 3

    def meets(self, value: float, limit: float | None) -> bool:
        """Whether a value reaches a limit; without a limit every value does."""
        if limit is None:
            return True
        return value <= limit if self.is_ceiling else value >= limit


@dataclass(frozen=True)
class Row:
    """One row of the table; `id` is also its key in `RESULTS.md`."""

    id: str
    title: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Measured:
    """A metric over the scans that have it."""

    metric: Metric
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean over the scans."""
        return math.fsum(self.values.values()) / len(self.values)

    @property
    def worst(self) -> tuple[str, float]:
        """Name and value of the worst scan."""
        pick = max if self.metric.is_ceiling else min
        return pick(self.values.items(), key=lambda item: item[1])

    @property
    def state(self) -> str:
        """How far the bar is reached, by the worst scan first."""
        if self.metric.bar is None:
            return "reported"
        if self.metric.meets(self.worst[1], self.metric.aim):
            return "aim met"
        if self.metric.meets(self.worst[1], self.metric.bar):
            return "met"
        return "met by the mean only" if self.metric.meets(self.mean, self.metric.bar) else "not met"

    def __str__(self) -> str:
        text = f"{self.metric.label} {self.mean_text}"
        return text if len(self.values) == 1 else f"{text} (worst {self.worst_text})"

    @property
    def mean_text(self) -> str:
        """The mean with the digits it deserves."""
        return f"{self.mean:.{self.metric.digits}f}"

    @property
    def worst_text(self) -> str:
        """Value and name of the worst scan."""
        name, value = self.worst
        return f"{value:.{self.metric.digits}f}, {name}"


def _share(name: str, table: str = "sensitivity") -> Extract:
    def extract(figures: Figures, _: Mapping[str, Figures]) -> float:
        hits, n = figures["score"][table][name]
        return hits / n if n else math.nan

    return extract


def _score(name: str) -> Extract:
    return lambda figures, _: float(figures["score"][name])


def _marks_per_litre(figures: Figures, _: Mapping[str, Figures]) -> float:
    return float(figures["marks_per_litre"])


def _volume_error(figures: Figures, _: Mapping[str, Figures]) -> float:
    return abs(float(figures["score"]["volume_ratio"]) - 1)


def _diameter_error(figures: Figures, _: Mapping[str, Figures]) -> float:
    return float(figures["score"]["diameter"]["1.5-3"][1])


def _diameter_bias(name: str) -> Extract:
    return lambda figures, _: abs(float(figures["score"]["diameter"][name][2]))


def _dice(figures: Figures, _: Mapping[str, Figures]) -> float:
    return float(min(figures["lungs"]["dice"].values()))


def _pleural(figures: Figures, _: Mapping[str, Figures]) -> float:
    inside, n = figures["lungs"]["pleural_inside"]
    return inside / n if n else math.nan


def _volume_shift(figures: Figures, others: Mapping[str, Figures]) -> float:
    """Change of lung volume between the ill scan and the healthy one of the same patient."""
    seed = next(case.seed for case in CASES if case.name == figures["name"])
    healthy = [c.name for c in CASES if c.seed == seed and "shift-without" in c.tags and c.name in others]
    if not healthy:
        return math.nan
    return abs(figures["found_litres"] / others[healthy[0]]["found_litres"] - 1)


_PER_LITRE = _score("false_per_litre")
_SENSITIVITY = "Sensitivity, simulated"
_FALSE = "False marks, simulated"
_VOLUME = ("Size", "total nodule volume")


def _real_metrics(
    tag: str, limits: Mapping[str, tuple[float, float]], per_litre: tuple[float, float]
) -> tuple[Metric, ...]:
    section = "Real lung " + tag.removeprefix("real-")
    shares = tuple(
        Metric(f"{name} mm", tag, bar, aim, _share(name), (section, f"inserted {name} mm"))
        for name, (bar, aim) in limits.items()
    )
    line = (section, "marks per litre, nothing inserted")
    rate = Metric("per litre un-inserted", tag, *per_litre, _marks_per_litre, line, is_ceiling=True, digits=1)
    return (*shares, rate)


ROWS: tuple[Row, ...] = (
    Row(
        "sens-1.5-3",
        "sensitivity, 1.5-3 mm solid, simulated, 1-1.25 mm slices",
        (
            Metric("all", "sens", 0.94, 0.98, _share("1.5-3"), (_SENSITIVITY, "1.5-3 mm")),
            Metric(
                "attached", "sens", None, None, _share("1.5-3", "sensitivity_attached"),
                (_SENSITIVITY, "1.5-3 mm, attached"),
            ),
            Metric(
                "isolated", "sens", None, None, _share("1.5-3", "sensitivity_isolated"),
                (_SENSITIVITY, "1.5-3 mm, isolated"),
            ),
        ),
    ),
    Row(
        "sens-1-1.5",
        "sensitivity, 1.0-1.5 mm",
        (Metric("all", "sens", 0.65, 0.85, _share("1-1.5"), (_SENSITIVITY, "1.0-1.5 mm")),),
    ),
    Row(
        "precision",
        "precision, 1,000 nodules in >= 4 L",
        (Metric("precision", "precision", 0.95, 0.98, _score("precision"), (_FALSE, "precision")),),
    ),
    Row(
        "false-healthy",
        "false marks per litre, healthy simulated lung",
        (Metric("per litre", "healthy", 5, 1, _PER_LITRE, (_FALSE, "healthy"), is_ceiling=True, digits=2),),
    ),
    Row(
        "false-hard",
        "false marks per litre, simulated lung with hard negatives",
        (Metric("per litre", "hard", 8, 2, _PER_LITRE, (_FALSE, "with hard"), is_ceiling=True, digits=2),),
    ),
    Row(
        "lowdose",
        "low dose (noise SD 55 HU)",
        (
            Metric("2-3 mm", "lowdose", 0.85, 0.95, _share("2-3"), (_SENSITIVITY, "low dose")),
            Metric("per litre", "lowdose", 8, 2, _PER_LITRE, (_FALSE, "low dose"), is_ceiling=True, digits=2),
        ),
    ),
    Row(
        "real-0314",
        "real lung 0314 (1.0 mm, sharp kernel), model trained without that patient",
        _real_metrics("real-0314", {"1.5-2": (0.75, 0.9), "2-3": (0.90, 0.97)}, (30, 8)),
    ),
    Row(
        "real-lungfcp",
        "real lung lungfcp (2.0 mm at 1.0 mm step), shipped weights",
        _real_metrics("real-lungfcp", {"2-3": (0.88, 0.96)}, (15, 4)),
    ),
    Row(
        "real-0001",
        "real lung 0001 (2.5 mm), shipped weights",
        _real_metrics("real-0001", {"2-3": (0.70, 0.9)}, (15, 4)),
    ),
    Row(
        "volume",
        "total nodule volume, 1-1.25 mm slices: relative error",
        (Metric("error", "volume", 0.10, 0.04, _volume_error, _VOLUME, is_ceiling=True),),
    ),
    Row(
        "diameter",
        "diameter, 1.5-3 mm: median absolute error; signed bias of each 0.5 mm bin [mm]",
        (
            Metric(
                "median abs", "diameter", 0.2, 0.08, _diameter_error, ("Size", "diameter, 1.5-3 mm"),
                is_ceiling=True,
            ),
            *(
                Metric(
                    f"bias {name}", "diameter", 0.15, 0.04, _diameter_bias(name),
                    ("Size", f"diameter, signed bias, {low}"),
                    is_ceiling=True,
                )
                for name, low in zip(BIASED_BINS, ("1.5", "2.0", "2.5"), strict=True)
            ),
        ),
    ),
    Row(
        "lungs",
        "lungs: smallest Dice; volume shift from 0 to 5,000 nodules + mass; pleural nodules inside",
        (
            Metric("Dice", "lungs", 0.98, 0.995, _dice, ("Lungs", "Dice"), digits=4),
            Metric(
                "shift", "shift-with", 0.01, 0.003, _volume_shift, ("Lungs", "volume shift"),
                is_ceiling=True, digits=4,
            ),
            Metric("pleural inside", "lungs", 0.98, 1.0, _pleural, ("Lungs", "pleural"), digits=4),
        ),
    ),
)  # fmt: skip


def measure_row(row: Row, results: Mapping[str, Figures]) -> list[Measured]:
    """Every metric of a row over the scans that were run; metrics without any scan are left out."""
    measured = []
    for metric in row.metrics:
        values = {
            name: metric.extract(results[name], results)
            for name in names_of(metric.tag)
            if name in results and "error" not in results[name]
        }
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        if values:
            measured.append(Measured(metric, values))
    return measured


def names_of(tag: str) -> list[str]:
    """Names of the cases with a tag."""
    return [case.name for case in CASES if tag in case.tags]


def cases_of_row(row: Row) -> list[Case]:
    """Cases a row needs, the healthy partners of the volume shift included."""
    tags = {metric.tag for metric in row.metrics}
    tags |= {"shift-without"} if "shift-with" in tags else set()
    return [case for case in CASES if case.tags & tags]
