"""What the page shows of the case: saved assessments and the record, as plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miliary.model.study import StudyResult
from miliary.report.answer import select, sort_editions
from miliary.report.catalog import Catalog
from miliary.report.reading import JsonObject, find, items, number, text, words

SEVERITIES = ("error", "query", "note")
# Signs that need no color: an outcome is read in black and white too.
SIGNS: Mapping[str, str] = {
    "met": "\u25cf",
    "not_met": "\u25cb",
    "not_assessable": "?",
    "error": "\u2716",
    "query": "?",
    "note": "i",
    "info": "\u00b7",
}
_TNM_PARTS = ("t", "n", "m", "group")


@dataclass(frozen=True)
class Row:
    """One assessment on the page."""

    sign: str
    lead_sign: str
    lead: str
    verdict: str
    severity: str
    title: str
    statement: str
    reason: str
    rule: str
    origin: str
    cited: str
    inputs: str


class CasePanels:
    """Makes the panels of the case of a study; all are empty where there is none."""

    def __init__(self, study: StudyResult, catalog: Catalog) -> None:
        self.case, self.t = study.case, catalog
        self.record: JsonObject = find(self.case, "record") or {}

    def _row(self, assessment: JsonObject) -> Row:
        verdict = text(assessment, "verdict") or "not_assessable"
        severity = text(assessment, "severity") or "info"
        statement, reason = text(assessment, "statement"), text(assessment, "reason").rstrip(".")
        unknown = self.t("word.not_stated")
        inputs = [
            f"{text(i, 'path')} = {unknown if find(i, 'value') is None else find(i, 'value')}"
            for i in items(assessment, "inputs")
        ]
        return Row(
            sign=SIGNS.get(verdict, "?"),
            lead_sign=SIGNS.get(severity if severity in SEVERITIES else verdict, "?"),
            lead=self._lead(assessment, severity, verdict),
            verdict=verdict,
            severity=severity,
            title=text(assessment, "title"),
            statement=statement,
            reason="" if reason.removeprefix("not stated: ") in statement else reason,
            rule=text(assessment, "rule_id"),
            origin=text(assessment, "origin"),
            cited=self._cited(assessment),
            inputs="; ".join(inputs),
        )

    def _lead(self, assessment: JsonObject, severity: str, verdict: str) -> str:
        """What stands before a statement: how grave it is, or an outcome that the words do not say.

        That a plain fact holds needs no word; that a definition or an item is met does.
        """
        if severity in SEVERITIES:
            return self.t(f"lead.{severity}")
        judges = text(assessment, "rule_id").startswith(("definition.", "care."))
        return self.t.word(verdict) if judges or verdict != "met" else ""

    def _cited(self, assessment: JsonObject) -> str:
        edition = text(assessment, "edition")
        basis = text(assessment, "basis")
        said = [edition] if edition else []
        said += [f"[{name}]" for name in words(assessment, "citations")[:4]]
        if basis and basis != "read":
            said.append(self.t.word(basis))
        return " ".join(said)

    def queries(self) -> list[tuple[str, str, list[Row]]]:
        """Everything that asks something of the reader, the gravest first."""
        found = []
        for severity in SEVERITIES:
            rows = [self._row(a) for a in items(self.case, "assessments") if text(a, "severity") == severity]
            if rows:
                found.append((severity, SIGNS[severity], rows))
        return found

    def tnm(self) -> tuple[list[str], list[tuple[str, list[JsonObject | None]]]]:
        """Editions, and for T, N, M and group what each edition gives."""
        found = sort_editions(select(self.case, "tnm."))
        editions = list(dict.fromkeys(text(a, "edition") for a in found if text(a, "rule_id") == "tnm.group"))
        rows = []
        for part in _TNM_PARTS:
            cells = [
                next(
                    (
                        a
                        for a in found
                        if text(a, "rule_id") == f"tnm.{part}" and text(a, "edition") == edition
                    ),
                    None,
                )
                for edition in editions
            ]
            if any(cells):
                rows.append((part.upper() if part != "group" else self.t("tnm.group"), cells))
        return editions, rows

    def asserted_stage(self) -> list[Row]:
        """What was found in the stage as somebody wrote it."""
        rows = select(self.case, "tnm.asserted")
        return [self._row(a) for a in rows if text(a, "severity") != "info"]

    def rows(self, start: str, *, skip: Sequence[str] = ()) -> list[Row]:
        """Assessments of one kind of rule."""
        return [
            self._row(a)
            for a in select(self.case, start)
            if not any(text(a, "rule_id").startswith(prefix) for prefix in skip)
        ]

    def drivers(self) -> tuple[list[str], list[tuple[str, JsonObject, list[str]]]]:
        """Names of the tests, and for every gene its outcome and what each test said."""
        tests = items(self.record, "tests")
        names = [text(test, "label") or text(test, "id") for test in tests]
        rows = []
        for gene in select(self.case, "drivers.gene."):
            name = text(gene, "statement").partition(":")[0]
            cells = [self._tested(test, name) for test in tests]
            rows.append((name, gene, cells))
        return names, rows

    def _tested(self, test: JsonObject, name: str) -> str:
        said = []
        for gene in items(test, "genes"):
            if text(gene, "gene").upper() == name.upper():
                parts = [self.t.word(text(gene, "result")), text(gene, "alteration"), text(gene, "partner")]
                said.append(" ".join(filter(None, parts)))
        return "; ".join(said)

    def differential(self) -> list[dict[str, Any]]:
        """Ranked diagnoses with what speaks for and against them, and what was not stated."""
        rows = []
        for assessment in select(self.case, "differential."):
            values = words(assessment, "values")
            parts = {
                key: next((v.removeprefix(start).strip() for v in values if v.startswith(start)), "")
                for key, start in (
                    ("for", "for:"),
                    ("against", "against:"),
                    ("missing", "not stated:"),
                    ("next", "next test named by the sources:"),
                )
            }
            place = number(assessment, "value")
            if place is not None and any(parts.values()):
                name = text(assessment, "statement").partition(", place")[0]
                rows.append({"place": int(place), "name": name, **parts, "row": self._row(assessment)})
        return sorted(rows, key=lambda row: row["place"])

    def differential_notes(self) -> list[Row]:
        """Ranking as a whole, published frequencies and open exclusions."""
        return [
            self._row(a)
            for a in select(self.case, "differential.")
            if number(a, "value") is None or not words(a, "values")
        ]

    def care(self) -> tuple[Row | None, list[Row]]:
        """The score and the items of the CARE checklist."""
        score = next(iter(self.rows("care.score")), None)
        return score, self.rows("care.item")

    def recist_lesions(self) -> tuple[list[str], list[tuple[JsonObject, list[str]]]]:
        """Studies in which a lesion was measured, and every lesion's state in each."""
        lesions = items(self.record, "lesions")
        studies = list(
            dict.fromkeys(text(m, "study") for lesion in lesions for m in items(lesion, "measurements"))
        )
        return studies, [(lesion, [self._lesion_in(lesion, s) for s in studies]) for lesion in lesions]

    def _lesion_in(self, lesion: JsonObject, study: str) -> str:
        for measurement in items(lesion, "measurements"):
            if text(measurement, "study") == study:
                longest, short = number(measurement, "longest_mm"), number(measurement, "short_axis_mm")
                sizes = " \u00d7 ".join(f"{v:g}" for v in (longest, short) if v is not None)
                state = self.t.word(text(measurement, "state")) if text(measurement, "state") else ""
                return f"{sizes} mm" if sizes else state
        return "\u2013"

    def events(self) -> list[JsonObject]:
        """The record's events."""
        return items(self.record, "events")

    def labs(self) -> list[JsonObject]:
        """The record's laboratory values."""
        return items(self.record, "labs")

    def citations(self) -> list[tuple[str, str, str, str, str]]:
        """Id, text, DOI, basis and the rules that cite it."""
        by_name: dict[str, list[str]] = {}
        for assessment in items(self.case, "assessments"):
            for name in words(assessment, "citations"):
                by_name.setdefault(name, []).append(text(assessment, "rule_id"))
        cited = find(self.case, "citations")
        found = []
        for name, about in cited.items() if isinstance(cited, Mapping) else []:
            rules = list(dict.fromkeys(rule.partition(".")[0] for rule in by_name.get(name, [])))
            found.append(
                (name, text(about, "text"), text(about, "doi"), text(about, "basis"), ", ".join(rules))
            )
        return found

    def editions(self) -> list[str]:
        """Every rule edition that an assessment used."""
        return sorted({text(a, "edition") for a in items(self.case, "assessments") if text(a, "edition")})
