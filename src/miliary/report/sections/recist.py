"""Response by diameter: of the target lesions that were measured, and of the lesions in the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.study import SavedComparison, StudyResult
from miliary.report.assessments import AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import locate_member, make_cell, make_empty_cell, name_pair
from miliary.report.reading import JsonObject, find, items, number, text
from miliary.report.sections.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class TargetRow:
    """One target lesion with its diameter before and after."""

    name: str
    before: Markup
    after: Markup


@dataclass(frozen=True)
class TargetTable:
    """Response of the target lesions that one comparison measured.

    Parameters
    ----------
    title : str
        Names of both scans.
    note : Markup
        Footnote.
    origin : str
    rows : tuple of TargetRow
    change : Markup
        Change of the sum of diameters [%].
    response : str
        CR, PR, SD, PD or NE; empty where it was not judged.
    reason, statement : str
    """

    title: str
    note: Markup
    origin: str
    rows: tuple[TargetRow, ...]
    change: Markup
    response: str
    reason: str
    statement: str


@dataclass(frozen=True)
class RecordedLesion:
    """One lesion of the record; a cell for each study in which any lesion was measured."""

    id: str
    kind: str
    role: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class RecistContent:
    """Measured targets, then the lesions of the record by study, then what the rules say."""

    targets: tuple[TargetTable, ...]
    studies: tuple[str, ...]
    lesions: tuple[RecordedLesion, ...]
    assessments: tuple[AssessmentRow, ...]
    source: str


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[RecistContent]:
    """The section on response by diameter."""
    lesions = items(study.case, "record.lesions")
    studies = tuple(
        dict.fromkeys(text(m, "study") for lesion in lesions for m in items(lesion, "measurements"))
    )
    content = RecistContent(
        targets=tuple(
            _make_table(compared, catalog, sources)
            for compared in study.comparisons
            if isinstance(find(compared.summary, "recist"), Mapping)
        ),
        studies=studies,
        lesions=tuple(_make_lesion(lesion, studies, catalog) for lesion in lesions),
        assessments=make_rows(study.case, "recist.", catalog),
        source=f"{study.case_path}: record.lesions",
    )
    return Section("recist", catalog("section.recist"), "sections/recist.html", content)


def _make_table(compared: SavedComparison, catalog: Catalog, sources: Sources) -> TargetTable:
    summary = compared.summary
    rows = tuple(
        _make_target(compared, target, f"recist.targets[{index}]", catalog, sources)
        for index, target in enumerate(items(summary, "recist.targets"))
    )
    return TargetTable(
        title=name_pair(compared, catalog),
        note=sources.footnote(locate_member(compared), "recist"),
        origin=text(summary, "origin") or "measured",
        rows=rows,
        change=make_cell(compared, "recist.change_percent", sources, style="+.1f"),
        response=text(summary, "recist.target_response"),
        reason=text(summary, "recist.target_response_reason"),
        statement=text(summary, "recist.statement"),
    )


def _make_target(
    compared: SavedComparison, target: JsonObject, path: str, catalog: Catalog, sources: Sources
) -> TargetRow:
    name = text(target, "id") or "?"
    cells = []
    for key in ("baseline_mm", "followup_mm"):
        value = number(target, key)
        if value is None:
            cells.append(make_empty_cell(text(target, f"{key}_reason")))
        else:
            label = format_number(value, ".1f")
            cells.append(sources.number(label, locate_member(compared), f"{path}.{key}", note=False))
    return TargetRow(catalog.texts.get(f"word.target_{name}", name), cells[0], cells[1])


def _make_lesion(lesion: JsonObject, studies: tuple[str, ...], catalog: Catalog) -> RecordedLesion:
    parts = (text(lesion, "organ"), text(lesion, "kind").replace("_", " "), text(lesion, "lobe"))
    role = text(lesion, "role")
    return RecordedLesion(
        id=text(lesion, "id") or "?",
        kind=", ".join(filter(None, parts)),
        role=catalog.word(role) if role else catalog("word.not_stated"),
        cells=tuple(_describe_measurement(lesion, study, catalog) for study in studies),
    )


def _describe_measurement(lesion: JsonObject, study: str, catalog: Catalog) -> str:
    """Diameters of a lesion in one study, else its state; a dash where it was not looked at."""
    for measurement in items(lesion, "measurements"):
        if text(measurement, "study") == study:
            diameters_mm = (number(measurement, "longest_mm"), number(measurement, "short_axis_mm"))
            sizes = " \u00d7 ".join(f"{v:g}" for v in diameters_mm if v is not None)
            state = text(measurement, "state")
            return f"{sizes} mm" if sizes else catalog.word(state) if state else ""
    return "\u2013"
