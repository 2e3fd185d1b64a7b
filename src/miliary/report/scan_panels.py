"""What the page shows of the scans and of their comparisons, as plain rows and drawings."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.report import charts
from miliary.report.catalog import Catalog
from miliary.report.reading import (
    JsonObject,
    as_number,
    find,
    items,
    number,
    numbers,
    pair,
    text,
    words,
    write_number,
)
from miliary.report.sources import Sources

ZONES = ("upper", "middle", "lower")
SIDES = ("right", "left")
# Slabs are kept without loss while the page stays small.
_LOSSLESS_BYTES = 9_000_000
_SLAB_WORDS = {"baseline": 0, "followup": 1}
_EXCESS_CI = "corrected.excess_check.total_volume_mm3_ci95"
# Kinds of slabs that a comparison saves, both scans in one frame.
PAIRED = ("slab", "compared_slab")


@dataclass(frozen=True)
class Shown:
    """A picture on the page: data address, what lies over it, and its words."""

    name: str
    address: str
    over: Markup
    alt: str
    caption: str
    width: int
    height: int
    plane: str = ""
    thickness: str = ""
    level: int = 0
    n_marks: int = 0


@dataclass(frozen=True)
class SlabRow:
    """The same level of one scan or of several, side by side."""

    plane: str
    thickness: str
    level: int
    title: str
    shown: tuple[Shown, ...]


@dataclass
class Pictures:
    """Turns saved pictures into data addresses, smaller ones once the page grows."""

    is_lossy: bool = False
    used: dict[str, int] = field(default_factory=dict)

    def address(self, picture: Picture) -> str:
        """A ``data:`` address of the picture."""
        data, media_type = picture.data, picture.media_type
        if self.is_lossy and media_type == "image/png" and len(data) > 30_000:
            # A picture damaged inside goes as it is: the browser shows its alternative text.
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                data, media_type = _as_jpeg(data), "image/jpeg"
        return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _as_jpeg(data: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("L" if image.mode in {"L", "I", "1"} else "RGB").save(out, "JPEG", quality=82)
    return out.getvalue()


def choose_pictures(study: StudyResult) -> Pictures:
    """Without loss where all pictures together are small enough."""
    groups: list[Sequence[Picture]] = [s.pictures for s in study.scans]
    groups += [c.pictures for c in study.comparisons]
    groups.append(study.radiographs)
    return Pictures(is_lossy=sum(len(p.data) for group in groups for p in group) > _LOSSLESS_BYTES)


def member_of(saved: SavedScan | SavedComparison) -> str:
    """Path of a member's summary in the study."""
    file = "scan.json" if isinstance(saved, SavedScan) else "response.json"
    return file if saved.path == "." else f"{saved.path}/{file}"


class ScanPanels:
    """Makes the panels of all scans of a study."""

    def __init__(self, study: StudyResult, catalog: Catalog, sources: Sources) -> None:
        self.study, self.t, self.sources = study, catalog, sources
        self.pictures = choose_pictures(study)
        self.scans = [scan for scan in study.scans if scan.summary or scan.pictures]

    def name(self, label: str) -> str:
        """A scan's name as the page says it."""
        return self.t.word(label)

    def _is_simulated(self, saved: SavedScan | SavedComparison) -> bool:
        return text(saved.summary, "origin") == "simulated"

    def show(self, picture: Picture, saved: SavedScan | SavedComparison | None, label: str) -> Shown:
        """One picture with its marks and words."""
        about = picture.about
        size = numbers(about, "size_px")
        width, height = (int(size[0]), int(size[1])) if len(size) == 2 else _measure(picture.data)
        marks = about.get("marks")
        n_marks = len(marks) if isinstance(marks, list) else 0
        caption = self._caption(picture)
        is_simulated = saved is not None and self._is_simulated(saved)
        alt = f"{label}: {caption}" + (f"; {self.t('slabs.n_marks', n=n_marks)}" if n_marks else "")
        return Shown(
            name=picture.name,
            address=self.pictures.address(picture) if picture.data else "",
            over=charts.draw_marks(
                {**about, "size_px": [width, height]},
                scale_word="50 mm",
                watermark=self.t("page.simulated") if is_simulated else "",
            )
            if about
            else Markup(""),
            alt=alt + (f" ({self.t('word.simulated')})" if is_simulated else ""),
            caption=caption,
            width=width,
            height=height,
            plane=text(about, "plane"),
            thickness=f"{number(about, 'thickness_mm') or 0:g}",
            level=int(number(about, "level") or 0),
            n_marks=n_marks,
        )

    def _caption(self, picture: Picture) -> str:
        about = picture.about
        if picture.kind == "radiograph":
            return caption_radiograph(about, self.t)
        if picture.kind in PAIRED:
            window, place = numbers(about, "window_hu"), number(about, "position_mm")
            return self.t(
                "slabs.caption",
                plane=self.t.word(text(about, "plane")),
                thickness=f"{number(about, 'thickness_mm') or 0:g}",
                position="" if place is None else self.t("slabs.position", mm=f"{place:.0f}"),
                low=f"{window[0]:g}".replace("-", "\u2212") if len(window) == 2 else "?",
                high=f"{window[1]:g}".replace("-", "\u2212") if len(window) == 2 else "?",
            )
        known = f"figure.{picture.kind if about else picture.name}"
        if picture.kind == "lesion" and text(about, "title"):
            return f"{text(about, 'title')}; {self.t(known)}"
        return self.t.texts.get(known) or text(about, "title") or picture.name.replace("_", " ")

    def slab_rows(self) -> list[SlabRow]:
        """Slabs by plane, thickness and level; registered pairs where a comparison saved them."""
        paired = [
            (p, compared)
            for compared in self.study.comparisons
            for p in compared.pictures
            if p.kind in PAIRED and p.data
        ]
        if paired:
            paired.sort(key=lambda item: _SLAB_WORDS.get(_side_of(item[0]), 2))
            several = len({compared.path for _, compared in paired}) > 1
            shown = [
                (self.show(p, compared, name), name, self._pair_name(compared) if several else "")
                for p, compared in paired
                if (name := self.name(_label_of(p, compared)))
            ]
        else:
            shown = [
                (self.show(p, scan, self.name(scan.label)), self.name(scan.label), "")
                for scan in self.scans
                for p in scan.pictures
                if p.kind == "slab" and p.data
            ]
        return self._group(shown)

    def _pair_name(self, compared: SavedComparison) -> str:
        return f"{self.name(compared.baseline)} \u2192 {self.name(compared.followup)}"

    def _group(self, shown: Sequence[tuple[Shown, str, str]]) -> list[SlabRow]:
        """Rows by plane, thickness, pair and level; two comparisons never share a row."""
        order = {pair_name: n for n, pair_name in enumerate(dict.fromkeys(p for *_, p in shown))}
        rows: dict[tuple[str, float, int, int], list[Shown]] = {}
        titles = {}
        for one, name, pair_name in shown:
            titled = Shown(**{**one.__dict__, "caption": f"{name}: {one.caption}"})
            key = (one.plane, float(one.thickness), order[pair_name], one.level)
            rows.setdefault(key, []).append(titled)
            title = self.t(
                "slabs.row" if one.level else "slabs.row_one",
                plane=self.t.word(one.plane),
                thickness=one.thickness,
                level=one.level,
            )
            titles[key] = f"{pair_name}: {title}" if pair_name else title
        return [
            SlabRow(key[0], group[0].thickness, key[3], titles[key], tuple(group))
            for key, group in sorted(rows.items(), key=lambda item: item[0])
        ]

    def is_registered(self) -> bool:
        """Whether the pairs shown were brought into one frame."""
        return any(p.kind in PAIRED and p.data for c in self.study.comparisons for p in c.pictures)

    def of_kind(self, kind: str) -> list[Shown]:
        """Every picture of a kind, scan by scan."""
        found = []
        for scan in self.scans:
            for picture in scan.pictures:
                if picture.data and (picture.kind == kind or (not picture.about and picture.name == kind)):
                    one = self.show(picture, scan, self.name(scan.label))
                    found.append(
                        Shown(**{**one.__dict__, "caption": f"{self.name(scan.label)}: {one.caption}"})
                    )
        return found

    def compared_pictures(self) -> list[Shown]:
        """Pictures of comparisons that are no slabs."""
        found = []
        for compared in self.study.comparisons:
            label = self._pair_name(compared)
            for picture in compared.pictures:
                if picture.data and picture.kind not in PAIRED:
                    one = self.show(picture, compared, label)
                    found.append(Shown(**{**one.__dict__, "caption": f"{label}: {one.caption}"}))
        return found

    def radiographs(self) -> list[Shown]:
        """Radiographs that a person put into the study."""
        shown = [self.show(picture, None, "") for picture in self.study.radiographs]
        return [Shown(**{**one.__dict__, "alt": one.caption}) for one in shown]

    def needs_a_look(self) -> bool:
        """Whether some radiograph does not say that its pixels name nobody."""
        return any(picture.about.get("burned_in") is not False for picture in self.study.radiographs)

    def burden_maps(self) -> list[tuple[str, Markup]]:
        """Maps of all scans on one scale."""
        found = [(s, p) for s in self.scans for p in s.pictures if p.kind == "burden_map"]
        peak = charts.find_map_peak(p.about for _, p in found)
        sides = {side: self.t.word(side) for side in SIDES}
        return [
            (
                self._titled(scan),
                charts.draw_burden_map(
                    picture.about,
                    title=f"{self._titled(scan)}: {self.t('map.alt')}",
                    peak=peak,
                    words=sides,
                ),
            )
            for scan, picture in found
        ]

    def _titled(self, scan: SavedScan) -> str:
        simulated = f" ({self.t('word.simulated')})" if self._is_simulated(scan) else ""
        return self.name(scan.label) + simulated

    def histogram(self) -> Markup | None:
        """Sizes of all scans side by side."""
        edges: list[float] = []
        series = []
        for scan in self.scans:
            here = numbers(scan.summary, "nodules.diameter_mm.histogram.edges")
            counts = numbers(scan.summary, "nodules.diameter_mm.histogram.counts")
            if not here or len(counts) != len(here) - 1 or (edges and here != edges):
                continue
            edges = here
            above = number(scan.summary, "nodules.diameter_mm.histogram.n_above") or 0.0
            series.append(charts.Series(self._titled(scan), [*counts, above]))
        if not series:
            return None
        last = next((i for i in range(len(edges) - 1, -1, -1) if any(s.values[i] for s in series)), 0)
        shown = [charts.Series(s.name, s.values[: last + 1]) for s in series]
        return charts.draw_histogram(
            edges,
            shown,
            title=self.t("sizes.alt"),
            x_label=self.t("sizes.x"),
            y_label=self.t("sizes.y"),
        )

    def completeness(self) -> Markup | None:
        """Chance of being found by diameter, all scans in one drawing."""
        curves = []
        for scan in self.scans:
            d50, d90 = (number(scan.summary, f"completeness.diameter_{n}_mm") for n in (50, 90))
            curve = charts.read_curve(scan.summary)
            if curve is None and d50 is None and d90 is None:
                continue
            empty: Mapping[str, Sequence[float]] = {"x": [], "y": [], "low": [], "high": []}
            curves.append((self._titled(scan), curve or empty, d50, d90))
        if not curves:
            return None
        return charts.draw_completeness(
            curves,
            title=self.t("completeness.alt"),
            x_label=self.t("sizes.x"),
            y_label=self.t("completeness.y"),
        )

    def uncorrected(self) -> list[str]:
        """Names of the scans whose counts are as found, with the reason if one was saved."""
        found = []
        for scan in self.scans:
            if scan.summary and number(scan.summary, "corrected.count") is None:
                reason = text(scan.summary, "corrected.count_reason") or text(
                    scan.summary, "corrected_reason"
                )
                found.append(self._titled(scan) + (f" ({reason})" if reason else ""))
        return found

    def evidence(self) -> list[tuple[str, Markup, list[JsonObject]]]:
        """The pattern's evidence, scan by scan."""
        found = []
        for scan in self.scans:
            rows = items(scan.summary, "pattern.evidence") + items(scan.summary, "pattern.gradients")
            if rows:
                drawing = charts.draw_effects(
                    rows,
                    title=f"{self._titled(scan)}: {self.t('pattern.alt')}",
                    label=self.t("pattern.as_random"),
                )
                found.append((self._titled(scan), drawing, rows))
        return found

    def probabilities(self) -> list[tuple[str, list[tuple[str, Markup]], str]]:
        """Probability of each pattern, and the reason of the label."""
        found = []
        for scan in self.scans:
            given = find(scan.summary, "pattern.probabilities")
            shares = [
                (
                    self.t.word(name),
                    self._cell(scan, f"pattern.probabilities.{name}", ".0%"),
                )
                for name in (given if isinstance(given, Mapping) else {})
            ]
            reason = text(scan.summary, "pattern.reason")
            if shares or reason:
                found.append((self._titled(scan), shares, reason))
        return found

    def _cell(self, saved: SavedScan | SavedComparison, name: str, style: str = ",.0f") -> Markup:
        value = number(saved.summary, name)
        if value is None:
            reason = text(saved.summary, f"{name}_reason")
            return Markup('<span class="none">{0}</span>').format(reason or "\u2013")
        return self.sources.number(write_number(value, style), member_of(saved), name, note=False)

    def facts(self) -> list[tuple[str, list[Markup]]]:
        """One row for each measure, one column for each scan."""
        rows = (
            ("corrected_count", "corrected.count", ",.0f", "corrected.count_ci95"),
            ("corrected_volume", "corrected.total_volume_mm3", ",.0f", "corrected.total_volume_mm3_ci95"),
            ("at_least_1", "corrected.count_at_least_1_mm", ",.0f", "corrected.count_at_least_1_mm_ci95"),
            ("false_marks", "corrected.false_marks.expected", ",.0f", "corrected.false_marks.expected_ci95"),
            ("excess", "corrected.excess_check.total_volume_mm3", ",.0f", _EXCESS_CI),
            ("count", "nodules.count", ",.0f", ""),
            ("per_litre", "nodules.count_per_litre", ",.0f", ""),
            ("volume", "nodules.total_volume_mm3", ",.0f", ""),
            ("mass", "nodules.total_excess_mass_mg", ",.0f", ""),
            ("median", "nodules.diameter_mm.median", ".2f", ""),
            ("p90", "nodules.diameter_mm.p90", ".2f", ""),
            ("d50", "completeness.diameter_50_mm", ".2f", ""),
            ("d90", "completeness.diameter_90_mm", ".2f", ""),
            ("involved", "extent.lung_fraction_involved", ".1%", ""),
            ("calcified", "calcified.count", ",.0f", ""),
            ("lungs", "lungs.total_ml", ",.0f", ""),
            ("noise", "noise.sd_hu", ".1f", ""),
            ("slice", "acquisition.slice_thickness_mm", ".2f", ""),
        )
        scans = [scan for scan in self.scans if scan.summary]
        return [
            (self.t(f"facts.{key}"), [self._with_interval(scan, name, style, ci) for scan in scans])
            for key, name, style, ci in rows
            if any(
                find(scan.summary, name) is not None or text(scan.summary, f"{name}_reason") for scan in scans
            )
        ]

    def disagreements(self) -> list[str]:
        """Scans whose count and whose excess of mass tell different totals."""
        return [
            self._titled(scan)
            for scan in self.scans
            if find(scan.summary, "corrected.excess_check.agrees") is False
        ]

    def _with_interval(self, scan: SavedScan, name: str, style: str, ci: str) -> Markup:
        cell = self._cell(scan, name, style)
        found = pair(scan.summary, ci) if ci else None
        if found is None:
            return cell
        low, high = (write_number(v, style) for v in found)
        return cell + Markup(" <span class='ci'>({0}\u2013{1})</span>").format(low, high)

    def summarized(self) -> list[SavedScan]:
        """The scans whose summary could be read."""
        return [scan for scan in self.scans if scan.summary]

    def zones(self) -> list[tuple[str, str, list[Markup]]]:
        """Counts by side and zone, a column for each scan."""
        rows = []
        scans = self.summarized()
        for side in SIDES:
            for zone in ZONES:
                name = f"nodules.by_side.{side}.by_zone.{zone}"
                if any(number(scan.summary, name) is not None for scan in scans):
                    cells = [self._cell(scan, name) for scan in scans]
                    rows.append((self.t.word(side), self.t.word(zone), cells))
        for side in SIDES:
            name = f"nodules.by_side.{side}.total_volume_mm3"
            if any(number(scan.summary, name) is not None for scan in scans):
                cells = [self._cell(scan, name) for scan in scans]
                rows.append((self.t.word(side), self.t("zones.volume"), cells))
        return rows

    def lesions(self) -> list[tuple[str, JsonObject, list[tuple[str, Markup]]]]:
        """Every lesion of every scan with its measures."""
        found = []
        names = (
            ("long_axis_mm", ".1f"),
            ("short_axis_mm", ".1f"),
            ("volume_mm3", ",.0f"),
            ("cavity_volume_mm3", ",.0f"),
            ("wall_thickness_mm", ".1f"),
            ("wall_thickness_min_mm", ".1f"),
            ("wall_thickness_max_mm", ".1f"),
            ("density_hu", ".0f"),
        )
        for scan in self.scans:
            for lesion in items(scan.summary, "lesions"):
                cells = []
                for name, style in names:
                    value = as_number(lesion.get(name))
                    if value is not None:
                        place = f"lesions[{lesion.get('id', '?')}].{name}"
                        shown = self.sources.number(
                            write_number(value, style), member_of(scan), place, note=False
                        )
                        cells.append((self.t(f"lesion.{name}"), shown))
                where = [text(lesion, n) for n in ("side", "zone", "lobe") if text(lesion, n)]
                if where:
                    cells.append((self.t("lesion.where"), Markup.escape(", ".join(map(self.t.word, where)))))
                found.append((self._titled(scan), lesion, cells))
        return found

    def definitions(self) -> list[tuple[str, list[JsonObject]]]:
        """The definition matrix of every scan that has one."""
        return [
            (self._titled(scan), rows) for scan in self.scans if (rows := items(scan.summary, "definitions"))
        ]

    def gates(self) -> list[dict[str, Any]]:
        """The comparability gate and the response of every comparison."""
        return [self._gate(compared) for compared in self.study.comparisons if compared.summary]

    def _gate(self, compared: SavedComparison) -> dict[str, Any]:
        summary = compared.summary
        facts = find(summary, "comparability")
        shown = [
            (
                self.t.texts.get(f"alike.{name}") or self.t.word(name),
                self._cell(compared, f"comparability.{name}", ".3g"),
            )
            for name in (facts if isinstance(facts, Mapping) else {})
            if number(facts, name) is not None
        ]
        measures = (
            ("volume_ratio", "response.volume_ratio", ".3g", "response.volume_ratio_ci95"),
            ("count_ratio", "response.count_ratio", ".3g", "response.count_ratio_ci95"),
            ("lesion_before", "lesion.baseline_mm", ".1f", ""),
            ("lesion_after", "lesion.followup_mm", ".1f", ""),
            ("days", "days_between", ".0f", ""),
        )
        rows = []
        for key, name, style, ci in measures:
            if find(summary, name) is None and not text(summary, f"{name}_reason"):
                continue
            cell = self._cell(compared, name, style)
            found = pair(summary, ci) if ci else None
            if found:
                low, high = (write_number(v, style) for v in found)
                cell += Markup(" <span class='ci'>({0}\u2013{1})</span>").format(low, high)
            rows.append((self.t(f"gate.{key}"), cell))
        tracks = find(summary, "tracks")
        return {
            "title": self._pair_name(compared),
            "verdict": text(summary, "comparability.verdict") or "not_assessable",
            "reasons": words(summary, "comparability.reasons"),
            "facts": shown,
            "rows": rows,
            "category": text(summary, "response.category"),
            "category_reason": text(summary, "response.category_reason"),
            "category_kind": text(summary, "response.category_kind"),
            "zones": self._zone_ratios(compared),
            "tracks": [
                (self.t.word(name), self._cell(compared, f"tracks.{name}"))
                for name in (tracks if isinstance(tracks, Mapping) else {})
            ],
            "opacities": [
                self.t(
                    "gate.opacity",
                    kind=self.t.word(text(o, "kind")),
                    side=self.t.word(text(o, "side")),
                    zone=self.t.word(text(o, "zone")),
                    ml=f"{number(o, 'volume_ml') or 0:.0f}",
                )
                for o in items(summary, "new_opacities")
            ],
            "is_simulated": self._is_simulated(compared),
            "note": self.sources.footnote(member_of(compared), "comparability"),
        }

    def targets(self) -> list[dict[str, Any]]:
        """RECIST of the target lesions that each comparison measured."""
        return [
            {
                "title": self._pair_name(compared),
                "edition": text(compared.summary, "recist.edition"),
                "rows": [
                    (
                        text(target, "id") or "?",
                        *(
                            self._measured(compared, f"recist.targets[{index}]", target, name, ".1f")
                            for name in ("baseline_mm", "followup_mm")
                        ),
                    )
                    for index, target in enumerate(items(compared.summary, "recist.targets"))
                ],
                "change": self._cell(compared, "recist.change_percent", "+.1f"),
                "response": text(compared.summary, "recist.target_response"),
                "reason": text(compared.summary, "recist.target_response_reason"),
                "statement": text(compared.summary, "recist.statement"),
                "origin": text(compared.summary, "origin") or "measured",
                "note": self.sources.footnote(member_of(compared), "recist"),
            }
            for compared in self.study.comparisons
            if isinstance(find(compared.summary, "recist"), Mapping)
        ]

    def _measured(self, saved: SavedComparison, place: str, row: JsonObject, name: str, style: str) -> Markup:
        value = number(row, name)
        if value is None:
            return Markup('<span class="none">{0}</span>').format(text(row, f"{name}_reason") or "\u2013")
        return self.sources.number(
            write_number(value, style), member_of(saved), f"{place}.{name}", note=False
        )

    def series(self) -> list[dict[str, Any]]:
        """Every follow-up against the baseline, the smallest ratio of volumes marked."""
        nadir, path = text(self.study.series, "nadir"), self.study.series_path
        rows = []
        for index, point in enumerate(items(self.study.series, "time_points")):
            place = f"time_points[{index}]"
            cells = []
            for name, style in (
                ("days_between", ".0f"),
                ("volume_ratio", ".3g"),
                ("ratio_to_nadir", ".3g"),
                ("lesion_mm", ".1f"),
            ):
                value, ci = number(point, name), pair(point, f"{name}_ci95")
                cell = Markup("\u2013")
                if value is not None:
                    cell = self.sources.number(
                        write_number(value, style), path, f"{place}.{name}", note=False
                    )
                if ci:
                    cell += Markup(" <span class='ci'>({0:.3g}\u2013{1:.3g})</span>").format(*ci)
                cells.append(cell)
            label = text(point, "followup")
            rows.append(
                {
                    "name": self.name(label),
                    "is_nadir": bool(nadir) and label == nadir,
                    "cells": cells,
                    "verdict": text(point, "comparability") or "not_assessable",
                    "category": text(point, "category"),
                }
            )
        return rows

    def _zone_ratios(self, compared: SavedComparison) -> list[tuple[str, Markup, str]]:
        rows = []
        found = items(compared.summary, "response.by_side") + items(compared.summary, "response.by_zone")
        for index, region in enumerate(found):
            where = " ".join(self.t.word(text(region, n)) for n in ("side", "zone") if text(region, n))
            value, ci = number(region, "volume_ratio"), pair(region, "volume_ratio_ci95")
            shown = Markup('<span class="none">{0}</span>').format(
                text(region, "volume_ratio_reason") or text(region, "excluded_because") or "\u2013"
            )
            if value is not None:
                said = f"{value:.3g}" + (f" ({ci[0]:.3g}\u2013{ci[1]:.3g})" if ci else "")
                shown = self.sources.number(
                    said, member_of(compared), f"response.regions[{index}]", note=False
                )
            rows.append((where, shown, text(region, "excluded_because")))
        return rows


def caption_radiograph(about: Mapping[str, object], catalog: Catalog) -> str:
    """Number, view and side of a radiograph, as far as its file says them."""
    keys = (
        f"radiograph.{text(about, 'view')}",
        f"radiograph.left_is_{text(about, 'left_of_picture')}",
        "radiograph.raw" if about.get("is_raw") is True else "",
    )
    said = [catalog("radiograph.caption", n=f"{number(about, 'number') or 1:g}")]
    return "; ".join(said + [catalog(key) for key in keys if key in catalog.texts])


def _side_of(picture: Picture) -> str:
    """Which of its two scans a comparison's slab shows, from its entry or its name."""
    stated = text(picture.about, "scan")
    return stated or picture.name.partition("_")[0]


def _label_of(picture: Picture, compared: SavedComparison) -> str:
    """The scan's own name: with three scans two of them are follow-ups."""
    side = _side_of(picture)
    return {"baseline": compared.baseline, "followup": compared.followup}.get(side) or side


def _measure(data: bytes) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (UnidentifiedImageError, OSError, ValueError):
        return (1, 1)


def count_origins(study: StudyResult) -> set[str]:
    """Every origin that stands in the study."""
    found: Iterable[str] = (
        [text(s.summary, "origin") for s in study.scans]
        + [text(c.summary, "origin") for c in study.comparisons]
        + [text(study.case, "origin")]
        + [text(a, "origin") for a in items(study.case, "assessments")]
    )
    return {origin for origin in found if origin}
