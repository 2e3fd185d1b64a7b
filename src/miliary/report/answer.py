"""The answer in five lines: burden, pattern and definition, stage, driver and therapy, response.

Every sentence repeats what was saved and says where; nothing is weighed here. Sentences of different origin
stand apart, so that what was simulated never runs into what was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.reading import JsonObject, find, items, number, pair, text, words, write_number
from miliary.report.sources import Sources, join

_POSITIVE = "positive"
_OPEN_GENES = ("not_stated", "not_tested", "failed", "negative_method_insufficient")


@dataclass(frozen=True)
class Sentence:
    """One statement with the origin of its facts."""

    said: Markup
    origin: str


@dataclass(frozen=True)
class Line:
    """One of the five lines: its name and what can be said, or why nothing can."""

    name: str
    title: str
    sentences: tuple[Sentence, ...]
    missing: str


def write_answer(study: StudyResult, catalog: Catalog, sources: Sources) -> list[Line]:
    """The five lines in their order."""
    writer = _Writer(study, catalog, sources)
    parts = {
        "burden": writer.burden(),
        "pattern": writer.pattern(),
        "stage": writer.stage(),
        "driver": writer.driver(),
        "response": writer.response(),
    }
    return [
        Line(name, catalog(f"answer.{name}"), tuple(said), catalog(f"answer.no_{name}"))
        for name, said in parts.items()
    ]


def select(case: JsonObject, start: str) -> list[JsonObject]:
    """Assessments whose rule begins with these words."""
    return [a for a in items(case, "assessments") if text(a, "rule_id").startswith(start)]


def sort_editions(assessments: Iterable[JsonObject]) -> list[JsonObject]:
    """The newest edition first."""
    return sorted(assessments, key=lambda a: text(a, "edition"), reverse=True)


class _Writer:
    def __init__(self, study: StudyResult, catalog: Catalog, sources: Sources) -> None:
        self.study, self.t, self.sources = study, catalog, sources
        self.case_member = study.case_path

    def _number(self, scan: SavedScan | SavedComparison, name: str, style: str = ",.0f") -> Markup | str:
        value = number(scan.summary, name)
        if value is None:
            return self.t("answer.unknown")
        file = "scan.json" if isinstance(scan, SavedScan) else "response.json"
        member = file if scan.path == "." else f"{scan.path}/{file}"
        return self.sources.number(write_number(value, style), member, name)

    def _interval(self, scan: SavedScan | SavedComparison, name: str, style: str = ",.0f") -> str:
        found = pair(scan.summary, name)
        if found is None:
            return ""
        low, high = (write_number(v, style) for v in found)
        return " " + self.t("answer.interval", low=low, high=high)

    def _say(self, key: str, /, **facts: object) -> Markup:
        return Markup(self.t(key)).format(**facts)  # noqa: S704  the catalog is ours; format escapes the facts

    def burden(self) -> Iterator[Sentence]:
        for scan in self.study.scans:
            if not scan.summary:
                continue
            yield Sentence(self._burden_of(scan), text(scan.summary, "origin") or "measured")

    def _burden_of(self, scan: SavedScan) -> Markup:
        name = self.t.word(scan.label)
        if number(scan.summary, "corrected.count") is not None:
            return self._say(
                "answer.corrected",
                scan=name,
                count=self._number(scan, "corrected.count"),
                count_ci=self._interval(scan, "corrected.count_ci95"),
                smallest=self._number(scan, "corrected.min_diameter_mm", ".1f"),
                volume=self._number(scan, "corrected.total_volume_mm3"),
                volume_ci=self._interval(scan, "corrected.total_volume_mm3_ci95"),
            )
        return self._say(
            "answer.uncorrected",
            scan=name,
            count=self._number(scan, "nodules.count"),
            volume=self._number(scan, "nodules.total_volume_mm3"),
            error=self._number(scan, "nodules.total_volume_mm3_err"),
        )

    def pattern(self) -> Iterator[Sentence]:
        for scan in self.study.scans:
            label = text(scan.summary, "pattern.label")
            origin = text(scan.summary, "origin") or "measured"
            name = self.t.word(scan.label)
            if label:
                share = number(scan.summary, f"pattern.probabilities.{label}")
                chance = (
                    self._number(scan, f"pattern.probabilities.{label}", ".0%") if share is not None else ""
                )
                key = "answer.pattern_chance" if chance else "answer.pattern_only"
                yield Sentence(self._say(key, scan=name, pattern=self.t.word(label), chance=chance), origin)
            verdicts = items(scan.summary, "definitions")
            if verdicts:
                yield Sentence(self._definitions(name, verdicts, scan), origin)
        yield from self._case_definitions()

    def _definitions(self, name: str, verdicts: list[JsonObject], scan: SavedScan) -> Markup:
        member = "scan.json" if scan.path == "." else f"{scan.path}/scan.json"
        return self._say(
            "answer.definitions",
            scan=name,
            **self._tally([(text(v, "verdict"), text(v, "title") or text(v, "id")) for v in verdicts]),
            note=self.sources.footnote(member, "definitions"),
        )

    def _tally(self, verdicts: list[tuple[str, str]]) -> dict[str, object]:
        met = [title.removesuffix(".") for verdict, title in verdicts if verdict == "met"]
        return {
            "n": len(verdicts),
            "met": len(met),
            "which": f" ({', '.join(met)})" if met else "",
            "not_met": sum(verdict == "not_met" for verdict, _ in verdicts),
            "open": sum(verdict == "not_assessable" for verdict, _ in verdicts),
        }

    def _case_definitions(self) -> Iterator[Sentence]:
        found = [a for a in select(self.study.case, "definition.") if text(a, "severity") == "info"]
        by_origin: dict[str, list[JsonObject]] = {}
        for assessment in found:
            by_origin.setdefault(text(assessment, "origin"), []).append(assessment)
        for origin, group in by_origin.items():
            verdicts = [(text(a, "verdict"), text(a, "statement").partition(":")[0]) for a in group]
            yield Sentence(
                self._say(
                    "answer.definitions",
                    scan=self.t("answer.record"),
                    **self._tally(verdicts),
                    note=self.sources.footnote(self.case_member, "assessments: definition"),
                ),
                origin,
            )

    def stage(self) -> Iterator[Sentence]:
        for group in sort_editions(select(self.study.case, "tnm.group")):
            edition = text(group, "edition")
            parts = [
                str(find(a, "value"))
                for letter in ("t", "n", "m")
                for a in select(self.study.case, f"tnm.{letter}")
                if text(a, "rule_id") == f"tnm.{letter}"
                and text(a, "edition") == edition
                and find(a, "value")
            ]
            value = find(group, "value") or " / ".join(words(group, "values"))
            if not value:
                continue
            said = self._say(
                "answer.stage_group",
                group=value,
                edition=edition.replace("tnm", "TNM"),
                parts=" ".join(parts),
                note=self.sources.footnote(self.case_member, "assessments: tnm"),
            )
            yield Sentence(said, text(group, "origin"))
        errors = [
            a for a in select(self.study.case, "tnm.asserted") if text(a, "severity") in {"error", "query"}
        ]
        if errors:
            yield Sentence(self._say("answer.stage_queries", n=len(errors)), text(errors[0], "origin"))

    def driver(self) -> Iterator[Sentence]:
        genes = select(self.study.case, "drivers.gene.")
        note = self.sources.footnote(self.case_member, "assessments: drivers") if genes else ""
        for gene in genes:
            if find(gene, "value") == _POSITIVE:
                detail = ", ".join(words(gene, "values"))
                said = self._say(
                    "answer.positive",
                    gene=_gene_name(gene),
                    detail=f" ({detail})" if detail else "",
                    note=note,
                )
                yield Sentence(said, text(gene, "origin"))
        unknown = [_gene_name(gene) for gene in genes if find(gene, "value") in _OPEN_GENES]
        if unknown:
            said = self._say("answer.open_genes", genes=", ".join(unknown), note=note)
            yield Sentence(said, text(genes[0], "origin"))
        drugs = [e for e in items(self.study.case, "record.events") if text(e, "kind") == "treatment"]
        for drug in drugs:
            dose = text(drug, "detail")
            said = self._say("answer.drug", drug=text(drug, "label"), dose=f", {dose}" if dose else "")
            yield Sentence(said, text(drug, "origin"))
        queries = [
            a for a in select(self.study.case, "therapy.") if text(a, "severity") in {"error", "query"}
        ]
        if queries:
            yield Sentence(self._say("answer.therapy_queries", n=len(queries)), text(queries[0], "origin"))

    def response(self) -> Iterator[Sentence]:
        for compared in self.study.comparisons:
            yield from self._compared(compared)
        yield from self._nadir()
        recist = [
            a for a in select(self.study.case, "recist.") if text(a, "rule_id") == "recist.best_response"
        ]
        for best in recist:
            reason = text(best, "reason")
            said = join(
                [text(best, "statement"), f" {self.t('answer.because', reason=reason)}" if reason else ""], ""
            )
            note = self.sources.footnote(self.case_member, "assessments: recist")
            yield Sentence(join([said, note], ""), text(best, "origin"))
        for event in items(self.study.case, "record.events"):
            if text(event, "kind") == "response":
                said = self._say("answer.in_words", words=text(event, "label"))
                yield Sentence(said, text(event, "origin"))

    def _nadir(self) -> Iterator[Sentence]:
        """Where the last of several follow-ups stands against the smallest burden so far."""
        series, nadir = self.study.series, text(self.study.series, "nadir")
        points = items(series, "time_points")
        ratio = number(points[-1], "ratio_to_nadir") if points else None
        if not nadir or len(points) < 2 or ratio is None:
            return
        shown = self.sources.number(
            write_number(ratio, ".3g"),
            self.study.series_path,
            f"time_points[{len(points) - 1}].ratio_to_nadir",
        )
        said = self._say(
            "answer.nadir",
            nadir=self.t.word(nadir),
            last=self.t.word(text(points[-1], "followup")),
            ratio=shown,
        )
        yield Sentence(said, text(series, "origin") or "measured")

    def _compared(self, compared: SavedComparison) -> Iterator[Sentence]:
        summary = compared.summary
        if not summary:
            return
        origin = text(summary, "origin") or "measured"
        names = {"a": self.t.word(compared.baseline), "b": self.t.word(compared.followup)}
        verdict = text(summary, "comparability.verdict")
        category = text(summary, "response.category")
        if number(summary, "response.volume_ratio") is not None:
            said = self._say(
                "answer.ratio",
                **names,
                ratio=self._number(compared, "response.volume_ratio", ".3g"),
                ci=self._interval(compared, "response.volume_ratio_ci95", ".3g"),
                category=self.t.word(category) if category else self.t("answer.unknown"),
                gate=self.t.word(verdict) if verdict else self.t("answer.unknown"),
            )
            yield Sentence(said, origin)
        else:
            reason = text(summary, "response.volume_ratio_reason") or "; ".join(
                words(summary, "comparability.reasons")
            )
            said = self._say(
                "answer.no_ratio", **names, reason=reason, gate=self.t.word(verdict or "not_assessable")
            )
            yield Sentence(said, origin)
        target = text(summary, "recist.target_response")
        if target:
            change = number(summary, "recist.change_percent")
            shown: Markup | str = ""
            if change is not None:
                shown = self._say(
                    "answer.target_change", change=self._number(compared, "recist.change_percent", "+.1f")
                )
            said = self._say(
                "answer.targets", a=names["a"], b=names["b"], response=self.t.word(target), change=shown
            )
            yield Sentence(said, origin)
        if number(summary, "lesion.baseline_mm") is not None:
            yield Sentence(
                self._say(
                    "answer.lesion",
                    before=self._number(compared, "lesion.baseline_mm", ".1f"),
                    after=self._number(compared, "lesion.followup_mm", ".1f"),
                ),
                origin,
            )


def _gene_name(assessment: JsonObject) -> str:
    return (
        text(assessment, "statement").partition(":")[0] or text(assessment, "rule_id").split(".")[-1].upper()
    )
