"""Response by diameter: of the target lesions that were measured, and of the lesions in the record."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from miliary.model.comparison import TargetSummary
from miliary.model.saved.case_summary import RecordedLesionSummary
from miliary.model.saved.comparison_summary import ComparisonSummary
from miliary.model.study import SavedComparison, StudyResult
from miliary.model.vocabulary import Origin
from miliary.report.assessments import AssessmentRow, make_rows
from miliary.report.catalog import Catalog
from miliary.report.formatting import format_number
from miliary.report.measures import find_compared, locate, make_cell, make_empty_cell, name_pair
from miliary.report.paths import find_reason, follow
from miliary.report.section import Section
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
class LesionReadings:
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
    lesions: tuple[LesionReadings, ...]
    assessments: tuple[AssessmentRow, ...]
    source: str


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[RecistContent]:
    """The section on response by diameter."""
    lesions = study.case.record.lesions if study.case else ()
    studies = tuple(dict.fromkeys(size.study for lesion in lesions for size in lesion.measurements))
    content = RecistContent(
        targets=tuple(
            _make_table(compared, summary, catalog, sources)
            for compared, summary in find_compared(study)
            # A comparison made by an earlier version holds neither an edition nor a reason.
            if summary.recist.edition is not None or find_reason(summary, "recist.target_response")
        ),
        studies=studies,
        lesions=tuple(_make_lesion(lesion, studies, catalog) for lesion in lesions),
        assessments=make_rows(study.case, "recist.", catalog),
        source=f"{study.case_path}: record.lesions",
    )
    return Section("recist", catalog("section.recist"), "sections/recist.html", content)


def _make_table(
    compared: SavedComparison, summary: ComparisonSummary, catalog: Catalog, sources: Sources
) -> TargetTable:
    recist = summary.recist
    return TargetTable(
        title=name_pair(compared, catalog),
        rows=tuple(
            TargetRow(
                catalog.texts.get(f"word.target_{target.id}", target.id),
                _make_diameter(compared, target, f"recist.targets[{index}].baseline_mm", sources),
                _make_diameter(compared, target, f"recist.targets[{index}].followup_mm", sources),
            )
            for index, target in enumerate(recist.targets)
        ),
        change=make_cell(compared, "recist.change_percent", sources, style="+.1f"),
        response=recist.target_response or "",
        reason=find_reason(recist, "target_response"),
        statement=recist.statement or "",
        origin=summary.origin or Origin.MEASURED,
        note=sources.footnote(locate(compared), "recist"),
    )


def _make_diameter(compared: SavedComparison, target: TargetSummary, path: str, sources: Sources) -> Markup:
    """Diameter of one target lesion [mm]; `path` is that in the file of the comparison."""
    name = path.rpartition(".")[2]
    value = follow(target, name)
    if value is None:
        return make_empty_cell(find_reason(target, name))
    return sources.number(format_number(value, ".1f"), locate(compared), path, note=False)


def _make_lesion(lesion: RecordedLesionSummary, studies: tuple[str, ...], catalog: Catalog) -> LesionReadings:
    parts = (lesion.organ, lesion.kind.replace("_", " "), lesion.lobe)
    return LesionReadings(
        id=lesion.id,
        kind=", ".join(filter(None, parts)),
        role=catalog.word(lesion.role) if lesion.role else catalog("word.not_stated"),
        cells=tuple(_describe_size(lesion, study, catalog) for study in studies),
    )


def _describe_size(lesion: RecordedLesionSummary, study: str, catalog: Catalog) -> str:
    """Diameters of a lesion in one study, else its state; a dash where it was not looked at."""
    for size in lesion.measurements:
        if size.study == study:
            diameters_mm = [d for d in (size.longest_mm, size.short_axis_mm) if d is not None]
            if diameters_mm:
                return " \u00d7 ".join(f"{d:g}" for d in diameters_mm) + " mm"
            return catalog.word(size.state) if size.state else ""
    return "\u2013"
